// Formatting: the % operator and str.format, with the sandbox's rules for fields.
#include "text/jinja_format.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PRECISION = 5000 };

// ---- one number or string in its field ----

static void pad(jrender *r, const jstring *fill, int64_t count)
{
    if (count <= 0) return;
    jinja_step(r, (uint64_t)count);
    for (; count; count--) jtext_string(r, fill);
}

// Writes sign, prefix and digits into the field; `align` '=' puts the fill after the prefix.
static void write_field(jrender *r, const jformat_spec *spec, const char *prefix, const jstring *body,
                        char align)
{
    size_t prefix_length = strlen(prefix);
    int64_t margin = spec->width - (int64_t)(prefix_length + body->chars), left = 0;
    if (align == '>')
        left = margin;
    else if (align == '^')
        left = margin > 0 ? margin / 2 : 0;
    if (align != '=') pad(r, spec->fill, left);
    jtext_literal(r, prefix);
    if (align == '=') pad(r, spec->fill, margin);
    jtext_string(r, body);
    if (align == '<' || align == '^') pad(r, spec->fill, margin - left);
}

// Puts separators between groups of the leading digits, with zeros before them up to `width` characters:
// Python's _PyUnicode_InsertThousandsGrouping. The rest (fraction, exponent) stays as it is.
static const jstring *group_digits(jrender *r, const jformat_spec *spec, const char *digits, int64_t width)
{
    size_t group = spec->type && strchr("xXob", spec->type) ? 4 : 3, length = strlen(digits), whole = 0;
    while (whole < length && (group == 4 || (digits[whole] >= '0' && digits[whole] <= '9'))) whole++;
    if (!whole) return jinja_literal(r, digits).string; // inf and nan
    width -= (int64_t)(length - whole);
    size_t capacity = whole * 2 + (width > 0 ? (size_t)width : 0) * 2 + 8, at = capacity, left = whole;
    char *out = jinja_alloc(r, capacity + length - whole + 1, 1);
    for (bool first = true;; first = false) {
        int64_t wanted = (int64_t)left > width ? (int64_t)left : width;
        size_t count = wanted < 1 ? 1 : wanted < (int64_t)group ? (size_t)wanted : group;
        if (!first) out[--at] = spec->separator;
        for (size_t i = 0; i < count; i++) out[--at] = left ? digits[--left] : '0';
        width -= (int64_t)count;
        if (left == 0 && width <= 0) break;
        width--;
    }
    memcpy(out + capacity, digits + whole, length - whole);
    return jinja_string_of(r, out + at, capacity - at + length - whole).string;
}

static void write_digits(jrender *r, const jformat_spec *spec, bool negative, const char *base,
                         const char *digits, char align)
{
    char prefix[4];
    const char *sign = negative ? "-" : spec->sign == '+' ? "+" : spec->sign == ' ' ? " " : "";
    snprintf(prefix, sizeof prefix, "%s%s", sign, base);
    bool zeros = align == '=' && jstring_is(spec->fill, "0");
    if (spec->width > (int64_t)r->options.max_output) jinja_raise(r, "width too big");
    const jstring *body =
        spec->separator ? group_digits(r, spec, digits, zeros ? spec->width - (int64_t)strlen(prefix) : 0)
                        : jinja_literal(r, digits).string;
    write_field(r, spec, prefix, body, align);
}

void jinja_format_integer(jrender *r, const jformat_spec *spec, int64_t value)
{
    char digits[72];
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    char type = spec->type ? spec->type : 'd', align = spec->align ? spec->align : '>';
    const char *base = "";
    if (type == 'x' || type == 'X')
        snprintf(digits, sizeof digits, type == 'x' ? "%llx" : "%llX", (unsigned long long)magnitude);
    else if (type == 'o')
        snprintf(digits, sizeof digits, "%llo", (unsigned long long)magnitude);
    else if (type == 'b') {
        size_t length = 0;
        for (int bit = magnitude ? 63 - __builtin_clzll(magnitude) : 0; bit >= 0; bit--)
            digits[length++] = (char)('0' + (magnitude >> bit & 1));
        digits[length] = 0;
    } else {
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)magnitude);
    }
    if (spec->alternate)
        base = type == 'x' ? "0x" : type == 'X' ? "0X" : type == 'o' ? "0o" : type == 'b' ? "0b" : "";
    size_t length = strlen(digits);
    if (spec->precision > (int64_t)length) { // of % only: at least so many digits
        size_t count = (size_t)spec->precision;
        char *longer = jinja_alloc(r, count + 1, 1);
        memset(longer, '0', count - length);
        memcpy(longer + count - length, digits, length);
        write_digits(r, spec, value < 0, base, longer, align);
        return;
    }
    write_digits(r, spec, value < 0, base, digits, align);
}

// No type: as repr() or, with a precision, as 'g' but always with a digit after the point.
static void write_plain_double(jrender *r, const jformat_spec *spec, double value)
{
    char digits[40];
    int precision = spec->precision < 0    ? 17
                    : spec->precision == 0 ? 1
                                           : (int)spec->precision,
        count, exponent;
    if (!isfinite(value)) {
        jinja_write_value(r, jfloat(value));
        return;
    }
    char *text = precision < 30 ? digits : jinja_alloc(r, (size_t)precision + 16, 1), *mantissa = text;
    if (spec->precision < 0) {
        exponent = jinja_shortest_digits(value, text);
        precision = 17;
    } else {
        snprintf(text, (size_t)precision + 10, "%.*e", precision - 1, value);
        char *e = strchr(text, 'e');
        exponent = atoi(e + 1);
        *e = 0;
        if (precision > 1) memmove(text + 1, text + 2, strlen(text + 2) + 1);
    }
    count = (int)strlen(mantissa);
    while (!(spec->alternate && spec->precision >= 0) && count > 1 && mantissa[count - 1] == '0') count--;
    mantissa[count] = 0;
    if (exponent < -4 || exponent >= (spec->precision < 0 ? 16 : precision - 1)) {
        buf_printf(&r->text, "%c%s%s", mantissa[0], count > 1 || spec->alternate ? "." : "", mantissa + 1);
        buf_printf(&r->text, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) jtext_literal(r, "0.");
    for (int i = exponent + 1; i < 0; i++) jtext_literal(r, "0");
    for (int i = 0; i < count || i <= exponent; i++) {
        if (i == exponent + 1 && exponent >= 0) jtext_literal(r, ".");
        jtext_add(r, i < count ? mantissa + i : "0", 1);
    }
    if (count <= exponent + 1) jtext_literal(r, ".0");
}

static const char *format_double(jrender *r, const jformat_spec *spec, double value)
{
    char type = spec->type == '%' ? 'f' : spec->type == 'n' ? 'g' : spec->type, format[8];
    size_t begin = jtext_begin(r);
    if (!type) {
        write_plain_double(r, spec, value);
    } else {
        snprintf(format, sizeof format, "%%%s.*%c", spec->alternate ? "#" : "", type);
        buf_printf(&r->text, format, spec->precision < 0 ? 6 : (int)spec->precision, value);
    }
    if (spec->type == '%') buf_append_char(&r->text, '%');
    return jtext_end(r, begin).string->data;
}

void jinja_format_float(jrender *r, const jformat_spec *spec, double value)
{
    char align = spec->align ? spec->align : '>';
    if (spec->type == '%') value *= 100;
    bool negative = signbit(value) && !isnan(value);
    if (spec->precision > MAX_PRECISION) jinja_raise(r, "precision too big");
    jformat_spec finite = *spec;
    if (!isfinite(value) && align == '=' && spec->from_percent) finite.fill = JINJA_STRING(" "), align = '>';
    write_digits(r, &finite, negative, "", format_double(r, spec, fabs(value)), align);
}

void jinja_format_string(jrender *r, const jformat_spec *spec, const jstring *s)
{
    if (spec->precision >= 0 && (uint64_t)spec->precision < s->chars)
        s = jinja_string_part(r, s, 0, jinja_offset(s, (size_t)spec->precision)).string;
    write_field(r, spec, "", s, spec->align ? spec->align : '<');
}

// ---- the % operator ----

typedef struct percent {
    jrender *r;
    const jstring *format;
    size_t position;
    jvalue arguments; // the tuple or the one value
    size_t used;
    bool markup;
} percent;

static jvalue next_argument(percent *p)
{
    bool tuple = p->arguments.kind == J_TUPLE;
    size_t count = tuple ? p->arguments.list->count : 1;
    if (p->used >= count) jinja_raise(p->r, "not enough arguments for format string");
    jvalue value = tuple ? p->arguments.list->items[p->used] : p->arguments;
    p->used++;
    return value;
}

static char take(percent *p)
{
    if (p->position >= p->format->length) jinja_raise(p->r, "incomplete format");
    return p->format->data[p->position++];
}

static bool is_mapping(jvalue v)
{
    return v.kind == J_DICT || v.kind == J_LIST || v.kind == J_RANGE || v.kind == J_UNDEFINED;
}

// %(key)s: the argument is a member of the mapping.
static jvalue keyed_argument(percent *p)
{
    size_t begin = p->position, depth = 1;
    if (!is_mapping(p->arguments)) jinja_raise(p->r, "format requires a mapping");
    while (depth && p->position < p->format->length) {
        char c = p->format->data[p->position++];
        depth += c == '(' ? 1 : 0;
        depth -= c == ')' ? 1 : 0;
    }
    if (depth) jinja_raise(p->r, "incomplete format key");
    jvalue key = jinja_string_part(p->r, p->format, begin, p->position - 1), value;
    if (p->arguments.kind == J_UNDEFINED) jinja_raise_undefined(p->r, p->arguments.undefined);
    if (p->arguments.kind != J_DICT)
        jinja_raise(p->r, "%s indices must be integers or slices, not str", jinja_type_name(p->arguments));
    if (!jdict_get(p->r, p->arguments.dict, key, &value))
        jinja_raise(p->r, "%.*s", JFMT(jinja_repr(p->r, key)));
    return value;
}

// A width or precision: digits, or * for the next argument.
static int64_t take_number(percent *p, int64_t otherwise, bool is_width, jformat_spec *spec)
{
    int64_t number = 0;
    bool any = false;
    if (p->position < p->format->length && p->format->data[p->position] == '*') {
        p->position++;
        jvalue value = next_argument(p);
        if (!jis_integer(value)) jinja_raise(p->r, "* wants int");
        number = jinteger(value);
        if (number < 0 && is_width) spec->align = '<', number = -number;
        return number < 0 ? 0 : number;
    }
    while (p->position < p->format->length && p->format->data[p->position] >= '0' &&
           p->format->data[p->position] <= '9') {
        number = number * 10 + (p->format->data[p->position++] - '0');
        any = true;
        if (number > INT32_MAX) jinja_raise(p->r, is_width ? "width too big" : "precision too big");
    }
    return any ? number : otherwise;
}

static void percent_integer(percent *p, jformat_spec *spec, jvalue value)
{
    bool decimal = spec->type == 'd' || spec->type == 'i' || spec->type == 'u';
    char type = spec->type;
    if (decimal) spec->type = 'd';
    if (value.kind == J_FLOAT && decimal) {
        if (isnan(value.real)) jinja_raise(p->r, "cannot convert float NaN to integer");
        if (isinf(value.real)) jinja_raise(p->r, "cannot convert float infinity to integer");
        if (fabs(value.real) >= 0x1p63) jinja_raise_overflow(p->r);
        value = jint((int64_t)value.real);
    }
    if (value.kind == J_UNDEFINED && decimal) jinja_raise_undefined(p->r, value.undefined);
    if (value.kind == J_BIG) {
        jinja_format_string(p->r, spec, value.string);
        return;
    }
    if (!jis_integer(value))
        jinja_raise(p->r, "%%%c format: %s is required, not %s", type,
                    decimal ? "a real number" : "an integer", jinja_type_name(value));
    jinja_format_integer(p->r, spec, jinteger(value));
}

static void percent_character(percent *p, jformat_spec *spec, jvalue value)
{
    char bytes[4];
    if (value.kind == J_STRING && value.string->chars == 1) {
        jinja_format_string(p->r, spec, value.string);
        return;
    }
    if (!jis_integer(value)) jinja_raise(p->r, "%%c requires int or char");
    if (jinteger(value) < 0 || jinteger(value) > 0x10FFFF)
        jinja_raise(p->r, "%%c arg not in range(0x110000)");
    size_t begin = jtext_begin(p->r);
    (void)bytes;
    jtext_char(p->r, (uint32_t)jinteger(value));
    jinja_format_string(p->r, spec, jtext_end(p->r, begin).string);
}

static const jstring *percent_text(percent *p, jvalue value, char type)
{
    const jstring *text = type == 's' ? jinja_str(p->r, value) : jinja_repr(p->r, value);
    if (!p->markup) return text;
    return jinja_escape(p->r, type == 's' && value.kind == J_STRING ? value : jstr(text)).string;
}

static void percent_value(percent *p, jformat_spec *spec)
{
    jvalue value = spec->keyed;
    if (!spec->align) spec->align = spec->zero && !strchr("srac", spec->type) ? '=' : '>';
    if (spec->align == '=') spec->fill = JINJA_STRING("0");
    switch (spec->type) {
    case 's':
    case 'r':
    case 'a': jinja_format_string(p->r, spec, percent_text(p, value, spec->type)); break;
    case 'c':
        spec->precision = -1;
        percent_character(p, spec, value);
        break;
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X': percent_integer(p, spec, value); break;
    default:
        if (value.kind == J_UNDEFINED) jinja_raise_undefined(p->r, value.undefined);
        if (value.kind != J_FLOAT && !jis_integer(value))
            jinja_raise(p->r, "must be real number, not %s", jinja_type_name(value));
        jinja_format_float(p->r, spec, value.kind == J_FLOAT ? value.real : (double)jinteger(value));
    }
}

static void percent_field(percent *p)
{
    jformat_spec spec = {
        .fill = JINJA_STRING(" "), .precision = -1, .keyed = jmissing(), .from_percent = true};
    char c = take(p);
    if (c == '%') {
        jtext_literal(p->r, "%");
        return;
    }
    if (c == '(') {
        spec.keyed = keyed_argument(p);
        c = take(p);
    }
    for (; c && strchr("-+ #0", c); c = take(p)) {
        if (c == '-')
            spec.align = '<';
        else if (c == '+')
            spec.sign = '+';
        else if (c == ' ' && spec.sign != '+')
            spec.sign = ' ';
        else if (c == '#')
            spec.alternate = true;
        else if (c == '0')
            spec.zero = true;
    }
    p->position--;
    spec.width = take_number(p, 0, true, &spec);
    c = take(p);
    if (c == '.') {
        spec.precision = take_number(p, 0, false, &spec);
        c = take(p);
    }
    if (c == 'l' || c == 'h' || c == 'L') c = take(p);
    spec.type = c;
    if (spec.keyed.kind == J_MISSING) spec.keyed = next_argument(p);
    if (!c || !strchr("sracdiuoxXeEfFgG", c)) {
        uint32_t codepoint;
        jinja_decode(p->format->data + p->position - 1, &codepoint);
        jinja_raise(p->r, "unsupported format character '%c' (0x%x) at index %zu",
                    codepoint >= ' ' && codepoint < 0x7F ? (char)codepoint : '?', (unsigned)codepoint,
                    utf8_count(p->format->data, p->position - 1));
    }
    percent_value(p, &spec);
}

jvalue jinja_format_percent(jrender *r, const jstring *format, jvalue arguments)
{
    percent p = {.r = r, .format = format, .arguments = arguments, .markup = format->markup};
    size_t begin = jtext_begin(r);
    while (p.position < format->length) {
        const char *sign = memchr(format->data + p.position, '%', format->length - p.position);
        size_t end = sign ? (size_t)(sign - format->data) : format->length;
        jtext_add(r, format->data + p.position, end - p.position);
        p.position = end;
        if (!sign) break;
        p.position++;
        percent_field(&p);
    }
    size_t count = arguments.kind == J_TUPLE ? arguments.list->count : is_mapping(arguments) ? 0 : 1;
    if (p.used < count) jinja_raise(r, "not all arguments converted during string formatting");
    jvalue result = jtext_end(r, begin);
    return format->markup ? jinja_markup(r, result) : result;
}
