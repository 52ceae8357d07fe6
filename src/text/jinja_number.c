// Reads numbers: white space around them, underscores between digits and digits of any script are fine.
#include "text/jinja_number.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"
#include <string.h>

// The text without white space around it, every decimal digit as ASCII; other characters beyond ASCII as '?'.
static const char *plain(jrender *r, const jstring *text)
{
    const jstring *s = jinja_strip(r, text, NULL, true, true).string;
    char *out = jinja_alloc(r, s->chars + 1, 1);
    size_t used = 0;
    for (size_t i = 0; i < s->length;) {
        uint32_t c;
        i += jinja_decode(s->data + i, &c);
        int digit = c < 0x80 ? -1 : jinja_decimal_value(c);
        out[used++] = c < 0x80 && c ? (char)c : digit >= 0 ? (char)('0' + digit) : '?';
    }
    return out;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    char lower = (char)(c | 32);
    return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
}

bool jinja_parse_integer(jrender *r, const jstring *text, int64_t base, jvalue *value)
{
    const char *s = plain(r, text);
    bool negative = *s == '-', overflow = false, any = false, after_prefix = false;
    if (base != 0 && (base < 2 || base > 36)) return false;
    if (*s == '-' || *s == '+') s++;
    char kind = s[0] == '0' ? (char)(s[1] | 32) : 0;
    int64_t prefixed = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (prefixed && (base == 0 || base == prefixed)) s += 2, base = prefixed, after_prefix = true;
    if (base == 0) {
        base = 10;
        if (s[0] == '0' && strspn(s, "0_") != strlen(s)) return false; // old octal
    }
    uint64_t number = 0;
    for (; *s; s++) {
        if (*s == '_' && (any || after_prefix) && digit_of(s[1]) < base) s++;
        if (digit_of(*s) >= base) return false;
        overflow |= __builtin_mul_overflow(number, (uint64_t)base, &number);
        overflow |= __builtin_add_overflow(number, (uint64_t)digit_of(*s), &number);
        any = true;
    }
    if (!any) return false;
    if (overflow || number > (uint64_t)INT64_MAX + negative) jinja_raise_overflow(r);
    *value = jint(negative ? (int64_t)(0 - number) : (int64_t)number);
    return true;
}

// Digits with single underscores between them; returns the end, or `s` if there is none.
static const char *skip_digits(const char *s, char **out)
{
    const char *c = s;
    while (digit_of(*c) < 10 || (c > s && *c == '_' && digit_of(c[1]) < 10)) {
        if (*c != '_') *(*out)++ = *c;
        c++;
    }
    return c;
}

bool jinja_parse_float(jrender *r, const jstring *text, double *value)
{
    const char *s = plain(r, text), *digits = s, *fraction;
    char *clean = jinja_alloc(r, strlen(s) + 1, 1), *out = clean;
    if (*s == '-' || *s == '+') *out++ = *s++;
    if (strcasecmp(s, "inf") == 0 || strcasecmp(s, "infinity") == 0 || strcasecmp(s, "nan") == 0) {
        memcpy(out, s, strlen(s));
        return *value = jinja_read_double(clean, strlen(clean)), true;
    }
    digits = s;
    s = skip_digits(s, &out);
    bool any = s > digits;
    if (*s == '.') {
        *out++ = *s++;
        fraction = s;
        s = skip_digits(s, &out);
        any |= s > fraction;
    }
    if (!any) return false;
    if ((*s | 32) == 'e') {
        *out++ = *s++;
        if (*s == '-' || *s == '+') *out++ = *s++;
        digits = s;
        s = skip_digits(s, &out);
        if (s == digits) return false;
    }
    if (*s) return false;
    return *value = jinja_read_double(clean, (size_t)(out - clean)), true;
}
