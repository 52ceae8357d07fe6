// Numbers out of text, as Python's int() and float() read them.
#ifndef TEXT_JINJA_NUMBER_H
#define TEXT_JINJA_NUMBER_H
#include "text/jinja_value.h"

bool jinja_parse_integer(jrender *r, const jstring *text, int64_t base, jvalue *value); // false: not one
bool jinja_parse_float(jrender *r, const jstring *text, double *value);

#endif
