// Reading lenient literals without recursion: a stack of the brackets that are open.
#include "text/reply_literal.h"
#include "base/utf8.h"
#include <string.h>

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '.' || c == '-';
}

static bool at_end(const literal_reader *r) { return r->at >= r->length; }

static literal_result malformed(literal_reader *r, const char *why)
{
    r->why = why;
    return LITERAL_MALFORMED;
}

void literal_skip_space(literal_reader *r)
{
    while (!at_end(r) && is_space(r->text[r->at])) r->at++;
}

size_t literal_name_length(const literal_reader *r)
{
    size_t n = 0;
    while (r->at + n < r->length && is_name(r->text[r->at + n])) n++;
    return n;
}

// ---- Strings ----------------------------------------------------------------------------------------------

// `digits` hexadecimal digits at text[at], -1: they are not there.
static int64_t read_hex(const literal_reader *r, size_t at, int digits)
{
    int64_t value = 0;
    for (int i = 0; i < digits; i++) {
        char c = at + (size_t)i < r->length ? r->text[at + (size_t)i] : 0;
        int digit = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

// \uXXXX, as a pair where it is the first half of one; \xXX. `at` is behind the letter.
static literal_result read_code(literal_reader *r, int digits)
{
    int64_t code = read_hex(r, r->at, digits), low;
    if (code < 0) return r->at + (size_t)digits > r->length ? LITERAL_INCOMPLETE : malformed(r, "an escape in a string is not hexadecimal");
    r->at += (size_t)digits;
    bool pair = code >= 0xD800 && code < 0xDC00 && r->at + 6 <= r->length && r->text[r->at] == '\\' && r->text[r->at + 1] == 'u';
    if (pair && (low = read_hex(r, r->at + 2, 4)) >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        r->at += 6;
    }
    buf_append_utf8(&r->scratch, (uint32_t)code);
    return LITERAL_READ;
}

// A backslash and what it stands for; one that stands for nothing is itself, as in Python.
static literal_result read_escape(literal_reader *r)
{
    static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
    if (r->at + 1 >= r->length) return LITERAL_INCOMPLETE;
    char c = r->text[r->at + 1];
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) buf_append_char(&r->scratch, to[simple - from]);
    if (!simple && c != 'u' && c != 'x') {
        buf_append_char(&r->scratch, '\\');
        r->at++;
        return LITERAL_READ;
    }
    r->at += 2;
    return simple ? LITERAL_READ : read_code(r, c == 'u' ? 4 : 2);
}

static literal_result read_string(literal_reader *r)
{
    char quote = r->text[r->at++];
    buf_clear(&r->scratch);
    while (!at_end(r) && r->text[r->at] != quote) {
        literal_result result = LITERAL_READ;
        if (r->text[r->at] == '\\')
            result = read_escape(r);
        else
            buf_append_char(&r->scratch, r->text[r->at++]);
        if (result != LITERAL_READ) return result;
    }
    if (at_end(r)) return LITERAL_INCOMPLETE;
    r->at++;
    buf_append_json_string(r->out, r->scratch.data ? r->scratch.data : "", r->scratch.length);
    return LITERAL_READ;
}

static bool at_delimiter(const literal_reader *r)
{
    size_t n = r->delimiter ? strlen(r->delimiter) : 0;
    return n > 0 && r->length - r->at >= n && memcmp(r->text + r->at, r->delimiter, n) == 0;
}

static literal_result read_delimited(literal_reader *r)
{
    size_t n = strlen(r->delimiter);
    const char *begin = r->text + r->at + n, *end = memmem(begin, r->length - r->at - n, r->delimiter, n);
    if (!end) return LITERAL_INCOMPLETE;
    buf_append_json_string(r->out, begin, (size_t)(end - begin));
    r->at = (size_t)(end - r->text) + n;
    return LITERAL_READ;
}

static bool at_string(const literal_reader *r)
{
    return at_delimiter(r) || r->text[r->at] == '"' || r->text[r->at] == '\'';
}

static literal_result read_any_string(literal_reader *r) { return at_delimiter(r) ? read_delimited(r) : read_string(r); }

// ---- Numbers and words ------------------------------------------------------------------------------------

static size_t count_digits(const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && is_digit(text[n])) n++;
    return n;
}

// A number of JSON or Python, as JSON writes it: ".5", "1." and "+1" get what they lack. 0: it is none.
static bool append_number(buf *out, const char *text, size_t length)
{
    bool minus = length > 0 && text[0] == '-';
    size_t i = minus || (length > 0 && text[0] == '+') ? 1 : 0, digits = count_digits(text + i, length - i), begin = i;
    while (digits > 1 && text[begin] == '0') begin++, digits--; // 007 is 7
    i = begin + digits;
    size_t fraction = 0, fraction_at = i + 1;
    bool point = i < length && text[i] == '.';
    if (point) fraction = count_digits(text + fraction_at, length - fraction_at), i = fraction_at + fraction;
    if (digits + fraction == 0) return false;
    size_t exponent_at = i, exponent = 0;
    if (i < length && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < length && (text[i] == '+' || text[i] == '-')) i++;
        if (!(exponent = count_digits(text + i, length - i))) return false;
        i += exponent;
    }
    if (i != length) return false;
    if (minus) buf_append_char(out, '-');
    buf_append(out, digits ? text + begin : "0", digits ? digits : 1);
    if (point) buf_append_char(out, '.');
    if (point) buf_append(out, fraction ? text + fraction_at : "0", fraction ? fraction : 1);
    if (exponent) buf_append(out, text + exponent_at, length - exponent_at);
    return true;
}

static const char *const words[][2] = {{"true", "true"}, {"false", "false"}, {"null", "null"},
                                       {"True", "true"}, {"False", "false"}, {"None", "null"}};

static literal_result read_word(literal_reader *r)
{
    const char *text = r->text + r->at;
    literal_reader digits = *r;
    digits.at += *text == '+';
    size_t length = literal_name_length(&digits) + (*text == '+');
    while (length > 0 && r->at + length < r->length && text[length] == '+' && (text[length - 1] == 'e' || text[length - 1] == 'E')) {
        length++;
        while (r->at + length < r->length && is_digit(text[length])) length++;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strlen(words[i][0]) != length || memcmp(words[i][0], text, length) != 0) continue;
        r->at += length;
        buf_append_string(r->out, words[i][1]);
        return LITERAL_READ;
    }
    if (append_number(r->out, text, length)) return r->at += length, LITERAL_READ;
    if (!r->delimiter) return r->at + length == r->length ? LITERAL_INCOMPLETE : malformed(r, "a value is neither a string, a number nor a word of JSON");
    for (length = 0; r->at + length < r->length && !strchr(",}]", text[length]); length++)
        if (text[length] == 0) return malformed(r, "a value holds a zero byte");
    if (r->at + length == r->length) return LITERAL_INCOMPLETE;
    buf_append_json_string(r->out, text, length);
    r->at += length;
    return LITERAL_READ;
}

// ---- Values -----------------------------------------------------------------------------------------------

static literal_result read_key(literal_reader *r)
{
    literal_result result = LITERAL_READ;
    literal_skip_space(r);
    if (at_end(r)) return LITERAL_INCOMPLETE;
    size_t bare = r->delimiter ? literal_name_length(r) : 0;
    if (bare) buf_append_json_string(r->out, r->text + r->at, bare), r->at += bare;
    else if (at_string(r)) result = read_any_string(r);
    else return malformed(r, "a key is not a string");
    if (result != LITERAL_READ) return result;
    literal_skip_space(r);
    if (at_end(r)) return LITERAL_INCOMPLETE;
    if (r->text[r->at] != ':') return malformed(r, "there is no colon behind a key");
    r->at++;
    buf_append_char(r->out, ':');
    return LITERAL_READ;
}

typedef struct brackets {
    char close[LITERAL_MAX_DEPTH]; // what ends each of those that are open
    int depth;
} brackets;

// Behind a value: closes what closes, and goes on to the next member. *more: a value comes.
static literal_result after_value(literal_reader *r, brackets *open, bool *more)
{
    bool comma = false;
    *more = false;
    while (open->depth > 0) {
        char close = open->close[open->depth - 1];
        literal_skip_space(r);
        if (at_end(r)) return LITERAL_INCOMPLETE;
        char c = r->text[r->at];
        if (c == close) {
            r->at++;
            buf_append_char(r->out, close);
            open->depth--;
            comma = false;
        } else if (comma) {
            buf_append_char(r->out, ',');
            *more = true;
            return close == '}' ? read_key(r) : LITERAL_READ;
        } else if (c == ',') {
            r->at++;
            comma = true;
        } else {
            return malformed(r, "a comma or a closing bracket is missing");
        }
    }
    return LITERAL_READ;
}

// At an opening bracket. *more: a value comes; else it was empty and is closed.
static literal_result open_bracket(literal_reader *r, brackets *open, bool *more)
{
    bool object = r->text[r->at] == '{';
    *more = true;
    if (open->depth == LITERAL_MAX_DEPTH) return malformed(r, "values are nested too deep");
    r->at++;
    open->close[open->depth++] = object ? '}' : ']';
    buf_append_char(r->out, object ? '{' : '[');
    literal_skip_space(r);
    if (at_end(r)) return LITERAL_INCOMPLETE;
    if (r->text[r->at] == open->close[open->depth - 1]) return *more = false, LITERAL_READ;
    return object ? read_key(r) : LITERAL_READ;
}

literal_result literal_read(literal_reader *r)
{
    brackets open = {.depth = 0};
    literal_result result = LITERAL_READ;
    for (bool more = true; more && result == LITERAL_READ;) {
        literal_skip_space(r);
        if (at_end(r)) return LITERAL_INCOMPLETE;
        if (r->text[r->at] == '{' || r->text[r->at] == '[') {
            result = open_bracket(r, &open, &more);
            if (more) continue;
        } else {
            result = at_string(r) ? read_any_string(r) : read_word(r);
        }
        if (result == LITERAL_READ) result = after_value(r, &open, &more);
    }
    return result;
}
