// Reads numbers, names and strings within tags, as Jinja2's regular expressions and Python's literals do.
#include "text/jinja_lexer.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// (\d+_)*\d+ : where it ends, `position` itself if it is not there.
static size_t skip_digits(const jlexer *lexer, size_t position)
{
    size_t end = position;
    while (is_digit(jlexer_at(lexer, end)) ||
           (end > position && jlexer_at(lexer, end) == '_' && is_digit(jlexer_at(lexer, end + 1))))
        end++;
    return end;
}

static size_t match_float(const jlexer *lexer, size_t position)
{
    size_t end = skip_digits(lexer, position), fraction = 0;
    if (end == position || (position > 0 && lexer->source[position - 1] == '.')) return 0;
    if (jlexer_at(lexer, end) == '.' && skip_digits(lexer, end + 1) > end + 1)
        fraction = skip_digits(lexer, end + 1);
    size_t mantissa = fraction ? fraction : end, exponent = mantissa + 1;
    if ((jlexer_at(lexer, mantissa) | 32) == 'e') {
        if (jlexer_at(lexer, exponent) == '+' || jlexer_at(lexer, exponent) == '-') exponent++;
        if (skip_digits(lexer, exponent) > exponent) return skip_digits(lexer, exponent);
    }
    return fraction;
}

static int digit_value(char c)
{
    if (is_digit(c)) return c - '0';
    char lower = (char)(c | 32);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
}

static size_t match_integer(const jlexer *lexer, size_t position, int *base)
{
    char kind = (char)(jlexer_at(lexer, position + 1) | 32);
    *base = 10;
    if (jlexer_at(lexer, position) == '0' && (kind == 'b' || kind == 'o' || kind == 'x')) {
        int prefixed = kind == 'b' ? 2 : kind == 'o' ? 8 : 16;
        size_t end = position + 2;
        for (;;) {
            size_t digit = end + (jlexer_at(lexer, end) == '_');
            if (digit >= lexer->length || digit_value(jlexer_at(lexer, digit)) >= prefixed) break;
            end = digit + 1;
        }
        if (end > position + 2) return *base = prefixed, end;
    }
    if (!is_digit(jlexer_at(lexer, position))) return 0;
    bool zero = jlexer_at(lexer, position) == '0';
    size_t end = position + 1;
    for (;;) {
        size_t digit = end + (jlexer_at(lexer, end) == '_');
        if (!is_digit(jlexer_at(lexer, digit)) || (zero && jlexer_at(lexer, digit) != '0')) return end;
        end = digit + 1;
    }
}

static jtoken number_token(jlexer *lexer, size_t end, int base, bool is_float)
{
    jtoken token = jlexer_token(lexer, is_float ? JT_FLOAT : JT_INTEGER, lexer->line);
    size_t length = 0, begin = lexer->position + (base == 10 ? 0 : 2);
    char *digits = jinja_parse_alloc(lexer->parse, end - begin + 1, 1);
    for (size_t i = begin; i < end; i++)
        if (lexer->source[i] != '_') digits[length++] = lexer->source[i];
    digits[length] = 0;
    if (is_float) {
        token.number = jfloat(jinja_read_double(digits, length));
    } else {
        uint64_t number = 0;
        bool overflow = false;
        for (size_t i = 0; i < length; i++) {
            overflow |= __builtin_mul_overflow(number, (uint64_t)base, &number);
            overflow |= __builtin_add_overflow(number, (uint64_t)digit_value(digits[i]), &number);
        }
        if (overflow || number > INT64_MAX)
            jinja_parse_fail(lexer->parse, lexer->line, "integer %s is out of range: 64 bits are supported",
                             digits);
        token.number = jint((int64_t)number);
    }
    jlexer_advance(lexer, end);
    return token;
}

static bool is_word(uint32_t c)
{
    return c == '_' || (c < 0x80 ? jinja_is_alnum(c) : jinja_is_alnum(c) || jinja_is_identifier_part(c));
}

static size_t match_name(const jlexer *lexer, size_t position)
{
    while (position < lexer->length) {
        uint32_t c;
        size_t bytes = jinja_decode(lexer->source + position, &c);
        if (!is_word(c)) break;
        position += bytes;
    }
    return position;
}

static jtoken name_token(jlexer *lexer, size_t end)
{
    jtoken token = jlexer_token(lexer, JT_NAME, lexer->line);
    for (size_t i = lexer->position; i < end;) {
        uint32_t c;
        bool first = i == lexer->position;
        i += jinja_decode(lexer->source + i, &c);
        if (!(first ? jinja_is_identifier_start(c) : jinja_is_identifier_part(c)))
            jinja_parse_fail(lexer->parse, lexer->line, "Invalid character in identifier");
    }
    token.text = jinja_parse_string(lexer->parse, lexer->source + lexer->position, end - lexer->position);
    jlexer_advance(lexer, end);
    return token;
}

static size_t match_string(const jlexer *lexer, size_t position)
{
    char quote = jlexer_at(lexer, position);
    if (quote != '"' && quote != '\'') return 0;
    for (size_t i = position + 1; i < lexer->length; i++) {
        if (lexer->source[i] == quote) return i + 1;
        if (lexer->source[i] == '\\') i++;
    }
    return 0;
}

// Reads `count` hexadecimal digits at text[*i]; fails with Python's message when there are fewer.
static uint32_t read_hex(jlexer *lexer, const char *text, size_t length, size_t *i, size_t count,
                         const char *name)
{
    uint32_t value = 0;
    for (size_t k = 0; k < count; k++, (*i)++) {
        if (*i >= length || digit_value(text[*i]) > 15)
            jinja_parse_fail(lexer->parse, lexer->line, "truncated %s escape", name);
        value = value << 4 | (uint32_t)digit_value(text[*i]);
    }
    return value;
}

// The escape after a backslash at text[*i].
static void unescape(jlexer *lexer, const char *text, size_t length, size_t *i, buf *out)
{
    static const char simple[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    unsigned char c = (unsigned char)text[(*i)++];
    if (c == '\n') return;
    for (size_t k = 0; k + 1 < sizeof simple - 1; k += 2)
        if ((unsigned char)simple[k] == c) {
            buf_append_char(out, simple[k + 1]);
            return;
        }
    if (c >= '0' && c <= '7') {
        uint32_t value = (uint32_t)(c - '0');
        for (int k = 0; k < 2 && *i < length && text[*i] >= '0' && text[*i] <= '7'; k++)
            value = value << 3 | (uint32_t)(text[(*i)++] - '0');
        buf_append_utf8(out, value);
    } else if (c == 'x') {
        buf_append_utf8(out, read_hex(lexer, text, length, i, 2, "\\xXX"));
    } else if (c == 'u') {
        buf_append_utf8(out, read_hex(lexer, text, length, i, 4, "\\uXXXX"));
    } else if (c == 'U') {
        uint32_t value = read_hex(lexer, text, length, i, 8, "\\UXXXXXXXX");
        if (value > 0x10FFFF) jinja_parse_fail(lexer->parse, lexer->line, "illegal Unicode character");
        buf_append_utf8(out, value);
    } else if (c == 'N') {
        jinja_parse_fail(lexer->parse, lexer->line, "\\N escapes are not supported in templates");
    } else if (c < 0x80) {
        buf_append_char(out, '\\');
        buf_append_char(out, (char)c);
    } else { // Jinja2 escapes it itself first, and the two backslashes become one
        uint32_t codepoint;
        *i += jinja_decode(text + *i - 1, &codepoint) - 1;
        buf_printf(out,
                   codepoint < 0x100     ? "\\x%02x"
                   : codepoint < 0x10000 ? "\\u%04x"
                                         : "\\U%08x",
                   (unsigned)codepoint);
    }
}

static jtoken string_token(jlexer *lexer, size_t end)
{
    jtoken token = jlexer_token(lexer, JT_STRING, lexer->line);
    const char *text = lexer->source + lexer->position + 1;
    size_t length = end - lexer->position - 2;
    if (!memchr(text, '\\', length)) {
        token.text = jinja_parse_string(lexer->parse, text, length);
    } else {
        // Escapes never grow but for \<non-ASCII>, which gives at most ten bytes for three
        char *room = jinja_parse_alloc(lexer->parse, length * 4 + 16, 1);
        buf out = {.data = room, .capacity = length * 4 + 16};
        for (size_t i = 0; i < length;) {
            if (text[i] == '\\') {
                i++;
                unescape(lexer, text, length, &i, &out);
            } else {
                buf_append_char(&out, text[i++]);
            }
        }
        token.text = jinja_parse_string(lexer->parse, room, out.length);
    }
    jlexer_advance(lexer, end);
    return token;
}

bool jlexer_literal(jlexer *lexer, jtoken *token)
{
    size_t end;
    int base;
    if ((end = match_float(lexer, lexer->position)))
        *token = number_token(lexer, end, 10, true);
    else if ((end = match_integer(lexer, lexer->position, &base)))
        *token = number_token(lexer, end, base, false);
    else if ((end = match_name(lexer, lexer->position)) > lexer->position)
        *token = name_token(lexer, end);
    else if ((end = match_string(lexer, lexer->position)))
        *token = string_token(lexer, end);
    else
        return false;
    return true;
}
