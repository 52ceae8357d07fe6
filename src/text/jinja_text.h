// Numbers and strings as Python writes them, without a render around it. Numbers need the C locale
// (jinja_enter_locale).
#ifndef TEXT_JINJA_TEXT_H
#define TEXT_JINJA_TEXT_H
#include <locale.h>
#include <stddef.h>
#include "base/buf.h"
#if defined(__APPLE__)
#include <xlocale.h>
#endif

void jinja_write_repr(buf *out, const char *text, size_t length); // a string with quotes and escapes
void jinja_write_double(buf *out, double value);                  // repr(float)
double jinja_read_double(const char *text, size_t length); // of digits with an optional fraction and exponent
int jinja_shortest_digits(double value,
                          char digits[20]); // of a finite value: digits, and the exponent of the first

locale_t jinja_enter_locale(void); // this thread formats numbers as C does; returns what was before
void jinja_leave_locale(locale_t before);

#endif
