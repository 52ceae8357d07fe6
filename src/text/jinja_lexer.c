// Splits a template into tokens as Jinja2's regular expressions do, with trim_blocks and lstrip_blocks.
#include "text/jinja_lexer.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"
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

char jlexer_at(const jlexer *lexer, size_t position)
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

void jlexer_advance(jlexer *lexer, size_t end)
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

jtoken jlexer_token(const jlexer *lexer, jtoken_type type, uint32_t line)
{
    (void)lexer;
    return (jtoken){.type = type, .line = line};
}

// Where "{% raw %}" at `position` ends; 0: it is not there.
static size_t match_raw_begin(const jlexer *lexer, size_t position)
{
    if (!looking_at(lexer, position, "{%")) return 0;
    position += 2;
    if (jlexer_at(lexer, position) == '-' || jlexer_at(lexer, position) == '+') position++;
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
    return position + (jlexer_at(lexer, position + 2) == '\n' ? 3 : 2);
}

static size_t match_comment_end(const jlexer *lexer, size_t position)
{
    if (looking_at(lexer, position, "+#}")) return position + 3;
    if (looking_at(lexer, position, "-#}")) return skip_space(lexer, position + 3);
    if (!looking_at(lexer, position, "#}")) return 0;
    return position + (jlexer_at(lexer, position + 2) == '\n' ? 3 : 2);
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
    *sign = jlexer_at(lexer, position) == '-' || jlexer_at(lexer, position) == '+'
                ? jlexer_at(lexer, position)
                : 0;
    position = skip_space(lexer, position + (*sign != 0));
    if (!looking_at(lexer, position, "endraw")) return 0;
    return match_block_end(lexer, skip_space(lexer, position + 6));
}

static jtoken data_token(jlexer *lexer, size_t begin, size_t end)
{
    jtoken token = jlexer_token(lexer, JT_DATA, lexer->line);
    token.text = jinja_parse_string(lexer->parse, lexer->source + begin, end - begin);
    return token;
}

static size_t find_tag(const jlexer *lexer, size_t position)
{
    for (; position < lexer->length; position++) {
        const char *brace = memchr(lexer->source + position, '{', lexer->length - position);
        if (!brace) return lexer->length;
        position = (size_t)(brace - lexer->source);
        char next = jlexer_at(lexer, position + 1);
        if (next == '%' || next == '#' || next == '{') return position;
    }
    return lexer->length;
}

// Enters the tag at the current position; true if it gives a token.
static bool begin_tag(jlexer *lexer, jtoken *token)
{
    size_t raw = match_raw_begin(lexer, lexer->position);
    char kind = jlexer_at(lexer, lexer->position + 1), sign = jlexer_at(lexer, lexer->position + 2);
    uint32_t line = lexer->line;
    lexer->begin_pending = false;
    lexer->state = raw           ? JSTATE_RAW
                   : kind == '#' ? JSTATE_COMMENT
                   : kind == '%' ? JSTATE_BLOCK
                                 : JSTATE_VARIABLE;
    jlexer_advance(lexer, raw ? raw : lexer->position + (sign == '-' || sign == '+' ? 3 : 2));
    if (lexer->state != JSTATE_BLOCK && lexer->state != JSTATE_VARIABLE) return false;
    *token = jlexer_token(lexer, lexer->state == JSTATE_BLOCK ? JT_BLOCK_BEGIN : JT_VARIABLE_BEGIN, line);
    return true;
}

static bool next_in_root(jlexer *lexer, jtoken *token)
{
    size_t begin = lexer->position, tag = find_tag(lexer, begin), end = tag;
    if (tag < lexer->length) {
        char sign = jlexer_at(lexer, tag + 2);
        end = text_end(lexer, begin, tag, sign, jlexer_at(lexer, tag + 1) == '{');
        lexer->begin_pending = true;
    }
    bool has_text = end > begin;
    if (has_text) *token = data_token(lexer, begin, end);
    jlexer_advance(lexer, tag);
    return has_text;
}

static void skip_comment(jlexer *lexer)
{
    for (size_t i = lexer->position; i < lexer->length; i++) {
        size_t end = match_comment_end(lexer, i);
        if (!end) continue;
        jlexer_advance(lexer, end);
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
        jlexer_advance(lexer, end);
        lexer->state = JSTATE_ROOT;
        return stop > begin;
    }
    if (lexer->position < lexer->length)
        jinja_parse_fail(lexer->parse, lexer->line, "Missing end of raw directive");
    return false;
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
            jtoken token = jlexer_token(lexer, type, lexer->line);
            if (length == 1) balance(lexer, descriptions[type][0]);
            jlexer_advance(lexer, lexer->position + length);
            return token;
        }
    unexpected_character(lexer);
}

static bool next_in_tag(jlexer *lexer, jtoken *token)
{
    bool block = lexer->state == JSTATE_BLOCK;
    size_t end = 0;
    if (!lexer->depth)
        end = block ? match_block_end(lexer, lexer->position) : match_variable_end(lexer, lexer->position);
    if (end) {
        *token = jlexer_token(lexer, block ? JT_BLOCK_END : JT_VARIABLE_END, lexer->line);
        jlexer_advance(lexer, end);
        lexer->state = JSTATE_ROOT;
        return true;
    }
    end = skip_space(lexer, lexer->position);
    if (end > lexer->position) {
        jlexer_advance(lexer, end);
        return false;
    }
    if (!jlexer_literal(lexer, token)) *token = operator_token(lexer);
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
    return jlexer_token(lexer, JT_EOF, lexer->line);
}
