// repr() of strings and floats.
#include "text/jinja_text.h"
#include "base/mem.h"
#include "text/jinja_unicode.h"
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static locale_t c_locale;

static void make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

locale_t jinja_enter_locale(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_locale);
    return c_locale ? uselocale(c_locale) : (locale_t)0;
}

void jinja_leave_locale(locale_t before)
{
    if (before) uselocale(before);
}

static void write_escaped(buf *out, uint32_t c, const char *bytes, size_t length, char quote)
{
    if (c == '\\' || c == (uint32_t)quote)
        buf_append_char(out, '\\'), buf_append_char(out, (char)c);
    else if (c == '\n')
        buf_append(out, "\\n", 2);
    else if (c == '\r')
        buf_append(out, "\\r", 2);
    else if (c == '\t')
        buf_append(out, "\\t", 2);
    else if (jinja_is_printable(c))
        buf_append(out, bytes, length);
    else if (c < 0x100)
        buf_printf(out, "\\x%02x", (unsigned)c);
    else if (c < 0x10000)
        buf_printf(out, "\\u%04x", (unsigned)c);
    else
        buf_printf(out, "\\U%08x", (unsigned)c);
}

void jinja_write_repr(buf *out, const char *text, size_t length)
{
    bool single = length && memchr(text, '\'', length), twofold = length && memchr(text, '"', length);
    char quote = single && !twofold ? '"' : '\'';
    buf_append_char(out, quote);
    for (size_t i = 0; i < length;) {
        uint32_t c;
        size_t bytes = jinja_decode(text + i, &c);
        write_escaped(out, c, text + i, bytes, quote);
        i += bytes;
    }
    buf_append_char(out, quote);
}

// Fifteen digits survive the way to a normal double and back, so that the first of 15, 16 and 17 digits that
// reads back as the value is the shortest once its zeros are gone.
int jinja_shortest_digits(double value, char digits[20])
{
    char text[40];
    int precision = fabs(value) < DBL_MIN ? 0 : 14;
    do snprintf(text, sizeof text, "%.*e", precision, fabs(value));
    while (strtod(text, NULL) != fabs(value) && ++precision < 17);
    size_t count = 0;
    const char *c = text;
    for (; *c != 'e'; c++)
        if (*c != '.') digits[count++] = *c;
    while (count > 1 && digits[count - 1] == '0') count--;
    digits[count] = 0;
    return atoi(c + 1);
}

void jinja_write_double(buf *out, double value)
{
    char digits[20];
    if (isnan(value)) {
        buf_append_string(out, "nan");
        return;
    }
    if (signbit(value)) buf_append_char(out, '-');
    if (isinf(value)) {
        buf_append_string(out, "inf");
        return;
    }
    int exponent = jinja_shortest_digits(value, digits), count = (int)strlen(digits);
    if (exponent < -4 || exponent >= 16) {
        buf_append_char(out, digits[0]);
        if (count > 1) buf_printf(out, ".%s", digits + 1);
        buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        buf_append_string(out, "0.");
        for (int i = exponent + 1; i < 0; i++) buf_append_char(out, '0');
        buf_append_string(out, digits);
    } else {
        for (int i = 0; i <= exponent; i++) buf_append_char(out, i < count ? digits[i] : '0');
        buf_append_char(out, '.');
        buf_append_string(out, count > exponent + 1 ? digits + exponent + 1 : "0");
    }
}

double jinja_read_double(const char *text, size_t length)
{
    char *copy = mem_copy_bytes(text, length);
    double value = copy ? strtod(copy, NULL) : 0;
    mem_free(copy);
    return value;
}
