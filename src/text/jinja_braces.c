// str.format: fields, conversions and format specifications.
#include "text/jinja_format.h"
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <string.h>

typedef struct braces {
    jrender *r;
    const jarguments *arguments;
    int64_t next; // of automatic numbering; -1: fields are numbered by hand
    bool markup;
} braces;

// ---- specifications: [[fill]align][sign][z][#][0][width][grouping][.precision][type] ----

static int64_t spec_number(jrender *r, const jstring *s, size_t *i)
{
    int64_t number = 0;
    for (; *i < s->length && s->data[*i] >= '0' && s->data[*i] <= '9'; ++*i) {
        number = number * 10 + (s->data[*i] - '0');
        if (number > INT32_MAX) jinja_raise(r, "Too many decimal digits in format string");
    }
    return number;
}

static jformat_spec parse_spec(jrender *r, const jstring *s, jvalue value)
{
    jformat_spec spec = {.fill = JINJA_STRING(" "), .precision = -1, .keyed = jmissing()};
    size_t i = 0, first = 0;
    bool filled = false;
    uint32_t c;
    if (s->length) first = jinja_decode(s->data, &c);
    if (first && first < s->length && strchr("<>^=", s->data[first])) {
        spec.fill = jinja_string_part(r, s, 0, first).string;
        spec.align = s->data[first];
        filled = true;
        i = first + 1;
    } else if (s->length && strchr("<>^=", s->data[0])) {
        spec.align = s->data[i++];
    }
    if (i < s->length && strchr("+- ", s->data[i])) spec.sign = s->data[i++];
    if (i < s->length && s->data[i] == '#') spec.alternate = true, i++;
    if (!filled && i < s->length && s->data[i] == '0') {
        spec.fill = JINJA_STRING("0");
        if (!spec.align && value.kind != J_STRING) spec.align = '=';
        i++;
    }
    spec.width = spec_number(r, s, &i);
    if (i < s->length && (s->data[i] == ',' || s->data[i] == '_')) spec.separator = s->data[i++];
    if (i < s->length && s->data[i] == '.') {
        size_t begin = ++i;
        spec.precision = spec_number(r, s, &i);
        if (i == begin) jinja_raise(r, "Format specifier missing precision");
    }
    if (i < s->length) spec.type = s->data[i++];
    if (i < s->length)
        jinja_raise(r, "Invalid format specifier '%.*s' for object of type '%s'", JFMT(s),
                    jinja_type_name(value));
    char type = spec.type ? spec.type : value.kind == J_STRING ? 's' : 'd';
    if (spec.separator && !strchr(spec.separator == ',' ? "defgEFG%" : "defgEFG%boxX", type))
        jinja_raise(r, "Cannot specify '%c' with '%c'.", spec.separator, type);
    return spec;
}

static _Noreturn void unknown_code(jrender *r, const jformat_spec *spec, jvalue value)
{
    jinja_raise(r, "Unknown format code '%c' for object of type '%s'", spec->type, jinja_type_name(value));
}

static void format_character(jrender *r, jformat_spec *spec, int64_t code)
{
    size_t begin = jtext_begin(r);
    if (spec->sign) jinja_raise(r, "Sign not allowed with integer format specifier 'c'");
    if (spec->alternate) jinja_raise(r, "Alternate form (#) not allowed with integer format specifier 'c'");
    if (code < 0 || code > 0x10FFFF) jinja_raise(r, "%%c arg not in range(0x110000)");
    jtext_char(r, (uint32_t)code);
    if (!spec->align || spec->align == '=') spec->align = '>';
    jinja_format_string(r, spec, jtext_end(r, begin).string);
}

static void format_number(jrender *r, jformat_spec *spec, jvalue value)
{
    if (spec->type && strchr("eEfFgG%", spec->type)) {
        jinja_format_float(r, spec, value.kind == J_FLOAT ? value.real : (double)jinteger(value));
    } else if (value.kind == J_FLOAT) {
        if (spec->type && spec->type != 'n') unknown_code(r, spec, value);
        jinja_format_float(r, spec, value.real);
    } else {
        if (spec->type && !strchr("bcdnoxX", spec->type)) unknown_code(r, spec, value);
        if (spec->precision >= 0) jinja_raise(r, "Precision not allowed in integer format specifier");
        if (spec->type == 'c')
            format_character(r, spec, jinteger(value));
        else
            jinja_format_integer(r, spec, jinteger(value));
    }
}

static void format_value(jrender *r, jvalue value, const jstring *text)
{
    if (!text->length) {
        jinja_write(r, value);
        return;
    }
    if (value.kind != J_STRING && value.kind != J_FLOAT && !jis_integer(value))
        jinja_raise(r, "unsupported format string passed to %s.__format__", jinja_type_name(value));
    jformat_spec spec = parse_spec(r, text, value);
    if (value.kind != J_STRING) {
        format_number(r, &spec, value);
        return;
    }
    if (spec.type && spec.type != 's') unknown_code(r, &spec, value);
    if (spec.sign == ' ') jinja_raise(r, "Space not allowed in string format specifier");
    if (spec.sign) jinja_raise(r, "Sign not allowed in string format specifier");
    if (spec.alternate) jinja_raise(r, "Alternate form (#) not allowed in string format specifier");
    if (spec.align == '=') jinja_raise(r, "'=' alignment not allowed in string format specifier");
    jinja_format_string(r, &spec, value.string);
}

// ---- fields ----

static bool all_digits(const jstring *s)
{
    for (size_t i = 0; i < s->length; i++)
        if (s->data[i] < '0' || s->data[i] > '9') return false;
    return s->length > 0;
}

static int64_t number_of(jrender *r, const jstring *s)
{
    size_t i = 0;
    return spec_number(r, s, &i);
}

static jvalue first_value(braces *b, const jstring *name)
{
    jrender *r = b->r;
    if (!name->length || all_digits(name)) {
        if (!name->length && b->next < 0)
            jinja_raise(r, "cannot switch from manual field specification to automatic field numbering");
        if (name->length && b->next > 0)
            jinja_raise(r, "cannot switch from manual field specification to automatic field numbering");
        int64_t index = name->length ? number_of(r, name) : b->next++;
        if (name->length) b->next = -1;
        if ((uint64_t)index >= b->arguments->count) jinja_raise(r, "tuple index out of range");
        return b->arguments->items[index];
    }
    for (size_t i = 0; i < b->arguments->num_keywords; i++)
        if (jstring_equals(b->arguments->keywords[i].name, name)) return b->arguments->keywords[i].value;
    jinja_raise(r, "%.*s", JFMT(jinja_repr(r, jstr(name))));
}

static jvalue field_value(braces *b, const jstring *field)
{
    jrender *r = b->r;
    size_t i = 0;
    while (i < field->length && field->data[i] != '.' && field->data[i] != '[') i++;
    jvalue value = first_value(b, jinja_string_part(r, field, 0, i).string);
    while (i < field->length) {
        bool attribute = field->data[i] == '.';
        if (!attribute && field->data[i] != '[')
            jinja_raise(r, "Only '.' or '[' may follow ']' in format field specifier");
        size_t begin = ++i;
        while (i < field->length &&
               (attribute ? field->data[i] != '.' && field->data[i] != '[' : field->data[i] != ']'))
            i++;
        if (!attribute && i == field->length) jinja_raise(r, "Missing ']' in format string");
        if (i == begin) jinja_raise(r, "Empty attribute in format string");
        const jstring *name = jinja_string_part(r, field, begin, i).string;
        if (attribute)
            value = jinja_attribute(r, value, name);
        else
            value = jinja_item(r, value, all_digits(name) ? jint(number_of(r, name)) : jstr(name));
        i += !attribute;
    }
    return value;
}

static void format_text(braces *b, const jstring *format, int depth);

typedef struct replacement {
    size_t name_end;
    char conversion;
    size_t spec_begin, spec_end; // equal: none
    size_t end;                  // after the closing brace
} replacement;

// The format specification that begins at `i`, with the fields in it, up to its closing brace.
static void parse_spec_end(jrender *r, const jstring *format, size_t i, replacement *field)
{
    field->spec_begin = i;
    for (size_t depth = 1; i < format->length; i++) {
        if (format->data[i] == '{') depth++;
        if (format->data[i] == '}' && --depth == 0) {
            field->spec_end = i;
            field->end = i + 1;
            return;
        }
    }
    jinja_raise(r, "unmatched '{' in format spec");
}

// Parses name[!conversion][:specification]} from `begin` on.
static replacement parse_field(jrender *r, const jstring *format, size_t begin)
{
    replacement field = {.conversion = 0};
    size_t i = begin;
    char c = 0;
    for (; i < format->length; i++) {
        c = format->data[i];
        if (c == '{') jinja_raise(r, "unexpected '{' in field name");
        if (c == '}' || c == ':' || c == '!') break;
        if (c == '[')
            while (i + 1 < format->length && format->data[i + 1] != ']') i++;
    }
    if (i >= format->length) jinja_raise(r, "expected '}' before end of string");
    field.name_end = i++;
    field.end = i;
    if (c == '!') {
        if (i >= format->length) jinja_raise(r, "end of string while looking for conversion specifier");
        field.conversion = format->data[i++];
        c = i < format->length ? format->data[i++] : ':';
        field.end = i;
        if (c != '}' && c != ':') jinja_raise(r, "expected ':' after conversion specifier");
    }
    if (c == ':') parse_spec_end(r, format, i, &field);
    return field;
}

static jvalue convert(jrender *r, jvalue value, char conversion)
{
    if (!conversion) return value;
    if (conversion == 'r' || conversion == 'a') return jstr(jinja_repr(r, value));
    if (conversion == 's') return jstr(jinja_str(r, value));
    jinja_raise(r, "Unknown conversion specifier %c", conversion);
}

static void format_field(braces *b, const jstring *format, size_t begin, const replacement *field, int depth)
{
    jrender *r = b->r;
    jvalue value = field_value(b, jinja_string_part(r, format, begin, field->name_end).string);
    value = convert(r, value, field->conversion);
    size_t mark = jtext_begin(r);
    if (field->spec_end > field->spec_begin)
        format_text(b, jinja_string_part(r, format, field->spec_begin, field->spec_end).string, depth - 1);
    const jstring *spec = jtext_end(r, mark).string;
    format_value(r, value, spec);
    if (b->markup) {
        jvalue text = jtext_end(r, mark);
        bool safe = value.kind == J_STRING && value.string->markup;
        jtext_string(r, jinja_escape(r, safe ? jinja_markup(r, text) : text).string);
    }
}

static void format_text(braces *b, const jstring *format, int depth)
{
    jrender *r = b->r;
    if (depth < 0) jinja_raise(r, "Max string recursion exceeded");
    for (size_t i = 0; i < format->length;) {
        char c = format->data[i], next = i + 1 < format->length ? format->data[i + 1] : 0;
        if (c != '{' && c != '}') {
            jtext_add(r, &c, 1);
            i++;
        } else if (c == next) {
            jtext_add(r, &c, 1);
            i += 2;
        } else if (c == '}' || !next) {
            jinja_raise(r, "Single '%c' encountered in format string", c);
        } else {
            replacement field = parse_field(r, format, i + 1);
            format_field(b, format, i + 1, &field, depth);
            i = field.end;
        }
    }
}

jvalue jinja_format_braces(jrender *r, const jstring *format, const jarguments *arguments)
{
    braces b = {r, arguments, 0, format->markup};
    size_t begin = jtext_begin(r);
    format_text(&b, format, 2);
    jvalue result = jtext_end(r, begin);
    return format->markup ? jinja_markup(r, result) : result;
}
