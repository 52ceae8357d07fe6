// Splits a template into tokens as Jinja2's regular expressions do, with trim_blocks and lstrip_blocks.
#include "text/jinja_lexer.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"
#include <stdio.h>
#include <string.h>

static const char *const descriptions[] = {
#define X(name, description) [JT_##name] = description,
    JINJA_TOKENS(X)
#undef X
};

const char *jinja_token_description(jtoken_type type)
{
    return descriptions[type];
}

void jinja_parse_fail(jparse *parse, uint32_t line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    parse->status = error_set_v(parse->err, LLM_TEMPLATE_ERROR, format, args);
    va_end(args);
    if (parse->err) error_prefix(parse->err, "line %u", (unsigned)line);
    longjmp(parse->failed, 1);
}

void *jinja_parse_alloc(jparse *parse, size_t count, size_t size)
{
    void *block = arena_alloc_array(parse->memory, count, size);
    if (block) return block;
    parse->status = error_no_memory(parse->err, "a template");
    longjmp(parse->failed, 1);
}

const jstring *jinja_parse_string(jparse *parse, const char *text, size_t length)
{
    jstring *string = jinja_parse_alloc(parse, 1, sizeof *string);
    *string = (jstring){text, length, utf8_count(text, length), false};
    return string;
}

// Copies the source with \r\n and \r as \n, without one newline at its end.
void jlexer_init(jlexer *lexer, jparse *parse, const char *source, size_t length)
{
    char *copy = jinja_parse_alloc(parse, length + 1, 1);
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        bool pair = source[i] == '\r' && i + 1 < length && source[i + 1] == '\n';
        if (!pair) copy[used++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (used && copy[used - 1] == '\n') used--;
    copy[used] = 0;
    *lexer = (jlexer){.parse = parse, .source = copy, .length = used, .line = 1, .line_starting = true};
}

static char at(const jlexer *lexer, size_t position)
{
    return position < lexer->length ? lexer->source[position] : 0;
}

static bool looking_at(const jlexer *lexer, size_t position, const char *text)
{
    size_t length = strlen(text);
    return position <= lexer->length && lexer->length - position >= length &&
           memcmp(lexer->source + position, text, length) == 0;
}

static size_t skip_space(const jlexer *lexer, size_t position)
{
    while (position < lexer->length) {
        uint32_t c;
        size_t bytes = jinja_decode(lexer->source + position, &c);
        if (!jinja_is_space(c)) break;
        position += bytes;
    }
    return position;
}

// Moves to `end`, counting lines.
static void advance(jlexer *lexer, size_t end)
{
    for (size_t i = lexer->position; i < end; i++) lexer->line += lexer->source[i] == '\n';
    if (end > lexer->position) lexer->line_starting = lexer->source[end - 1] == '\n';
    lexer->position = end;
}

// Where the text that ends at `end` ends without white space.
static size_t strip_end(const jlexer *lexer, size_t begin, size_t end)
{
    while (end > begin) {
        size_t start = end - 1;
        while (start > begin && ((unsigned char)lexer->source[start] & 0xC0) == 0x80) start--;
        uint32_t c;
        jinja_decode(lexer->source + start, &c);
        if (!jinja_is_space(c)) break;
        end = start;
    }
    return end;
}

// lstrip_blocks: where the text [begin, end) before a tag ends, when only white space stands before the tag
// on its line.
static size_t strip_line(const jlexer *lexer, size_t begin, size_t end)
{
    size_t line = end;
    while (line > begin && lexer->source[line - 1] != '\n') line--;
    if (line == begin && !lexer->line_starting) return end;
    return skip_space(lexer, line) >= end ? line : end;
}

static size_t text_end(const jlexer *lexer, size_t begin, size_t end, char sign, bool is_variable)
{
    if (sign == '-') return strip_end(lexer, begin, end);
    return sign != '+' && !is_variable ? strip_line(lexer, begin, end) : end;
}

static jtoken token_of(const jlexer *lexer, jtoken_type type, uint32_t line)
{
    (void)lexer;
    return (jtoken){.type = type, .line = line};
}

// Where "{% raw %}" at `position` ends; 0: it is not there.
static size_t match_raw_begin(const jlexer *lexer, size_t position)
{
    if (!looking_at(lexer, position, "{%")) return 0;
    position += 2;
    if (at(lexer, position) == '-' || at(lexer, position) == '+') position++;
    position = skip_space(lexer, position);
    if (!looking_at(lexer, position, "raw")) return 0;
    position = skip_space(lexer, position + 3);
    if (looking_at(lexer, position, "-%}")) return skip_space(lexer, position + 3);
    return looking_at(lexer, position, "%}") ? position + 2 : 0;
}

// Where a block end at `position` ends; 0: none is there.
static size_t match_block_end(const jlexer *lexer, size_t position)
{
    if (looking_at(lexer, position, "+%}")) return position + 3;
    if (looking_at(lexer, position, "-%}")) return skip_space(lexer, position + 3);
    if (!looking_at(lexer, position, "%}")) return 0;
    return position + (at(lexer, position + 2) == '\n' ? 3 : 2);
}

static size_t match_comment_end(const jlexer *lexer, size_t position)
{
    if (looking_at(lexer, position, "+#}")) return position + 3;
    if (looking_at(lexer, position, "-#}")) return skip_space(lexer, position + 3);
    if (!looking_at(lexer, position, "#}")) return 0;
    return position + (at(lexer, position + 2) == '\n' ? 3 : 2);
}

static size_t match_variable_end(const jlexer *lexer, size_t position)
{
    if (looking_at(lexer, position, "-}}")) return skip_space(lexer, position + 3);
    return looking_at(lexer, position, "}}") ? position + 2 : 0;
}

// Where "{% endraw %}" at `position` ends, and its sign; 0: it is not there.
static size_t match_raw_end(const jlexer *lexer, size_t position, char *sign)
{
    if (!looking_at(lexer, position, "{%")) return 0;
    position += 2;
    *sign = at(lexer, position) == '-' || at(lexer, position) == '+' ? at(lexer, position) : 0;
    position = skip_space(lexer, position + (*sign != 0));
    if (!looking_at(lexer, position, "endraw")) return 0;
    return match_block_end(lexer, skip_space(lexer, position + 6));
}

static jtoken data_token(jlexer *lexer, size_t begin, size_t end)
{
    jtoken token = token_of(lexer, JT_DATA, lexer->line);
    token.text = jinja_parse_string(lexer->parse, lexer->source + begin, end - begin);
    return token;
}

static size_t find_tag(const jlexer *lexer, size_t position)
{
    for (; position < lexer->length; position++) {
        const char *brace = memchr(lexer->source + position, '{', lexer->length - position);
        if (!brace) return lexer->length;
        position = (size_t)(brace - lexer->source);
        char next = at(lexer, position + 1);
        if (next == '%' || next == '#' || next == '{') return position;
    }
    return lexer->length;
}

// Enters the tag at the current position; true if it gives a token.
static bool begin_tag(jlexer *lexer, jtoken *token)
{
    size_t raw = match_raw_begin(lexer, lexer->position);
    char kind = at(lexer, lexer->position + 1), sign = at(lexer, lexer->position + 2);
    uint32_t line = lexer->line;
    lexer->begin_pending = false;
    lexer->state = raw           ? JSTATE_RAW
                   : kind == '#' ? JSTATE_COMMENT
                   : kind == '%' ? JSTATE_BLOCK
                                 : JSTATE_VARIABLE;
    advance(lexer, raw ? raw : lexer->position + (sign == '-' || sign == '+' ? 3 : 2));
    if (lexer->state != JSTATE_BLOCK && lexer->state != JSTATE_VARIABLE) return false;
    *token = token_of(lexer, lexer->state == JSTATE_BLOCK ? JT_BLOCK_BEGIN : JT_VARIABLE_BEGIN, line);
    return true;
}

static bool next_in_root(jlexer *lexer, jtoken *token)
{
    size_t begin = lexer->position, tag = find_tag(lexer, begin), end = tag;
    if (tag < lexer->length) {
        char sign = at(lexer, tag + 2);
        end = text_end(lexer, begin, tag, sign, at(lexer, tag + 1) == '{');
        lexer->begin_pending = true;
    }
    bool has_text = end > begin;
    if (has_text) *token = data_token(lexer, begin, end);
    advance(lexer, tag);
    return has_text;
}

static void skip_comment(jlexer *lexer)
{
    for (size_t i = lexer->position; i < lexer->length; i++) {
        size_t end = match_comment_end(lexer, i);
        if (!end) continue;
        advance(lexer, end);
        lexer->state = JSTATE_ROOT;
        return;
    }
    if (lexer->position < lexer->length)
        jinja_parse_fail(lexer->parse, lexer->line, "Missing end of comment tag");
}

static bool next_in_raw(jlexer *lexer, jtoken *token)
{
    for (size_t i = lexer->position; i < lexer->length; i++) {
        char sign;
        size_t end = match_raw_end(lexer, i, &sign), begin = lexer->position;
        if (!end) continue;
        size_t stop = text_end(lexer, begin, i, sign, false);
        if (stop > begin) *token = data_token(lexer, begin, stop);
        advance(lexer, end);
        lexer->state = JSTATE_ROOT;
        return stop > begin;
    }
    if (lexer->position < lexer->length)
        jinja_parse_fail(lexer->parse, lexer->line, "Missing end of raw directive");
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// (\d+_)*\d+ : where it ends, `position` itself if it is not there.
static size_t skip_digits(const jlexer *lexer, size_t position)
{
    size_t end = position;
    while (is_digit(at(lexer, end)) ||
           (end > position && at(lexer, end) == '_' && is_digit(at(lexer, end + 1))))
        end++;
    return end;
}

static size_t match_float(const jlexer *lexer, size_t position)
{
    size_t end = skip_digits(lexer, position), fraction = 0;
    if (end == position || (position > 0 && lexer->source[position - 1] == '.')) return 0;
    if (at(lexer, end) == '.' && skip_digits(lexer, end + 1) > end + 1)
        fraction = skip_digits(lexer, end + 1);
    size_t mantissa = fraction ? fraction : end, exponent = mantissa + 1;
    if ((at(lexer, mantissa) | 32) == 'e') {
        if (at(lexer, exponent) == '+' || at(lexer, exponent) == '-') exponent++;
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
    char kind = (char)(at(lexer, position + 1) | 32);
    *base = 10;
    if (at(lexer, position) == '0' && (kind == 'b' || kind == 'o' || kind == 'x')) {
        int prefixed = kind == 'b' ? 2 : kind == 'o' ? 8 : 16;
        size_t end = position + 2;
        for (;;) {
            size_t digit = end + (at(lexer, end) == '_');
            if (digit >= lexer->length || digit_value(at(lexer, digit)) >= prefixed) break;
            end = digit + 1;
        }
        if (end > position + 2) return *base = prefixed, end;
    }
    if (!is_digit(at(lexer, position))) return 0;
    bool zero = at(lexer, position) == '0';
    size_t end = position + 1;
    for (;;) {
        size_t digit = end + (at(lexer, end) == '_');
        if (!is_digit(at(lexer, digit)) || (zero && at(lexer, digit) != '0')) return end;
        end = digit + 1;
    }
}

static jtoken number_token(jlexer *lexer, size_t end, int base, bool is_float)
{
    jtoken token = token_of(lexer, is_float ? JT_FLOAT : JT_INTEGER, lexer->line);
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
    advance(lexer, end);
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
    jtoken token = token_of(lexer, JT_NAME, lexer->line);
    for (size_t i = lexer->position; i < end;) {
        uint32_t c;
        bool first = i == lexer->position;
        i += jinja_decode(lexer->source + i, &c);
        if (!(first ? jinja_is_identifier_start(c) : jinja_is_identifier_part(c)))
            jinja_parse_fail(lexer->parse, lexer->line, "Invalid character in identifier");
    }
    token.text = jinja_parse_string(lexer->parse, lexer->source + lexer->position, end - lexer->position);
    advance(lexer, end);
    return token;
}

static size_t match_string(const jlexer *lexer, size_t position)
{
    char quote = at(lexer, position);
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
    jtoken token = token_of(lexer, JT_STRING, lexer->line);
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
    advance(lexer, end);
    return token;
}

static void push_bracket(jlexer *lexer, char closing)
{
    if (lexer->depth == lexer->brackets_capacity) {
        size_t capacity = lexer->brackets_capacity ? lexer->brackets_capacity * 2 : 32;
        char *larger = jinja_parse_alloc(lexer->parse, capacity, 1);
        if (lexer->depth) memcpy(larger, lexer->brackets, lexer->depth);
        lexer->brackets = larger;
        lexer->brackets_capacity = capacity;
    }
    lexer->brackets[lexer->depth++] = closing;
}

static void balance(jlexer *lexer, char c)
{
    if (c == '{')
        push_bracket(lexer, '}');
    else if (c == '(')
        push_bracket(lexer, ')');
    else if (c == '[')
        push_bracket(lexer, ']');
    else if (c == '}' || c == ')' || c == ']') {
        if (!lexer->depth) jinja_parse_fail(lexer->parse, lexer->line, "unexpected '%c'", c);
        char expected = lexer->brackets[--lexer->depth];
        if (expected != c)
            jinja_parse_fail(lexer->parse, lexer->line, "unexpected '%c', expected '%c'", c, expected);
    }
}

static _Noreturn void unexpected_character(jlexer *lexer)
{
    uint32_t c;
    char *room = jinja_parse_alloc(lexer->parse, 32, 1);
    buf shown = {.data = room, .capacity = 32};
    size_t bytes = jinja_decode(lexer->source + lexer->position, &c);
    jinja_write_repr(&shown, lexer->source + lexer->position, bytes);
    jinja_parse_fail(lexer->parse, lexer->line, "unexpected char %s at %zu", shown.data,
                     utf8_count(lexer->source, lexer->position));
}

static jtoken operator_token(jlexer *lexer)
{
    for (size_t length = 2; length >= 1; length--)
        for (jtoken_type type = JT_ADD; type <= JT_TILDE; type++) {
            if (strlen(descriptions[type]) != length ||
                !looking_at(lexer, lexer->position, descriptions[type]))
                continue;
            jtoken token = token_of(lexer, type, lexer->line);
            if (length == 1) balance(lexer, descriptions[type][0]);
            advance(lexer, lexer->position + length);
            return token;
        }
    unexpected_character(lexer);
}

static bool next_in_tag(jlexer *lexer, jtoken *token)
{
    bool block = lexer->state == JSTATE_BLOCK;
    size_t end = 0;
    int base;
    if (!lexer->depth)
        end = block ? match_block_end(lexer, lexer->position) : match_variable_end(lexer, lexer->position);
    if (end) {
        *token = token_of(lexer, block ? JT_BLOCK_END : JT_VARIABLE_END, lexer->line);
        advance(lexer, end);
        lexer->state = JSTATE_ROOT;
        return true;
    }
    end = skip_space(lexer, lexer->position);
    if (end > lexer->position) {
        advance(lexer, end);
        return false;
    }
    if ((end = match_float(lexer, lexer->position)))
        *token = number_token(lexer, end, 10, true);
    else if ((end = match_integer(lexer, lexer->position, &base)))
        *token = number_token(lexer, end, base, false);
    else if ((end = match_name(lexer, lexer->position)) > lexer->position)
        *token = name_token(lexer, end);
    else if ((end = match_string(lexer, lexer->position)))
        *token = string_token(lexer, end);
    else
        *token = operator_token(lexer);
    return true;
}

jtoken jlexer_next(jlexer *lexer)
{
    jtoken token;
    while (lexer->begin_pending || lexer->position < lexer->length) {
        if (lexer->begin_pending) {
            if (begin_tag(lexer, &token)) return token;
        } else if (lexer->state == JSTATE_ROOT) {
            if (next_in_root(lexer, &token)) return token;
        } else if (lexer->state == JSTATE_COMMENT) {
            skip_comment(lexer);
        } else if (lexer->state == JSTATE_RAW) {
            if (next_in_raw(lexer, &token)) return token;
        } else if (next_in_tag(lexer, &token)) {
            return token;
        }
    }
    return token_of(lexer, JT_EOF, lexer->line);
}
