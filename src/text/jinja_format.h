// A field of a formatted string.
#ifndef TEXT_JINJA_FORMAT_H
#define TEXT_JINJA_FORMAT_H
#include "text/jinja_value.h"

typedef struct jformat_spec {
    const jstring *fill;
    char align; // '<' '>' '^' '=', 0: by type
    char sign;  // '+' ' ' or 0
    char type;  // 0: by value
    char separator;
    bool alternate, zero, from_percent;
    int64_t width, precision; // precision -1: none
    jvalue keyed;             // the value of %(key)s, or J_MISSING
} jformat_spec;

// Each appends to the render's text.
void jinja_format_integer(jrender *r, const jformat_spec *spec, int64_t value);
void jinja_format_float(jrender *r, const jformat_spec *spec, double value);
void jinja_format_string(jrender *r, const jformat_spec *spec, const jstring *s);

#endif
