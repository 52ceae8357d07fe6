// What str's methods do, over UTF-8.
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <string.h>

static jvalue keep_markup(jrender *r, const jstring *origin, jvalue result)
{
    return origin->markup ? jinja_markup(r, result) : result;
}

// ---- case ----

static size_t previous(const jstring *s, size_t i, uint32_t *c)
{
    do i--;
    while (((unsigned char)s->data[i] & 0xC0) == 0x80);
    jinja_decode(s->data + i, c);
    return i;
}

// A capital sigma at `i` ends a word: after a cased letter and not before one, looking past what is
// ignorable.
static bool is_final_sigma(const jstring *s, size_t i)
{
    uint32_t c = 0;
    size_t before = i, after = i + 2;
    bool cased = false;
    while (before > 0) {
        before = previous(s, before, &c);
        if (jinja_is_case_ignorable(c)) continue;
        cased = jinja_is_cased(c);
        break;
    }
    if (!cased) return false;
    while (after < s->length) {
        after += jinja_decode(s->data + after, &c);
        if (!jinja_is_case_ignorable(c)) return !jinja_is_cased(c);
    }
    return true;
}

static size_t lower_at(const jstring *s, size_t i, uint32_t c, uint32_t out[3])
{
    if (c != 0x3A3) return jinja_to_lower(c, out);
    return out[0] = is_final_sigma(s, i) ? 0x3C2 : 0x3C3, 1;
}

static size_t change_character(const jstring *s, size_t i, uint32_t c, jcase change, bool *in_word,
                               uint32_t out[3])
{
    bool inside = *in_word;
    switch (change) {
    case JCASE_UPPER: return jinja_to_upper(c, out);
    case JCASE_LOWER: return lower_at(s, i, c, out);
    case JCASE_FOLD: return jinja_to_folded(c, out);
    case JCASE_CAPITALIZE: return i == 0 ? jinja_to_title(c, out) : lower_at(s, i, c, out);
    case JCASE_TITLE:
        *in_word = jinja_is_cased(c);
        return inside ? lower_at(s, i, c, out) : jinja_to_title(c, out);
    default:
        if (jinja_is_upper(c)) return lower_at(s, i, c, out);
        if (jinja_is_lower(c)) return jinja_to_upper(c, out);
        return out[0] = c, 1;
    }
}

jvalue jinja_change_case(jrender *r, const jstring *s, jcase change)
{
    size_t begin = jtext_begin(r);
    bool in_word = false;
    jinja_step(r, s->length / 16);
    for (size_t i = 0; i < s->length;) {
        uint32_t c, out[3];
        size_t bytes = jinja_decode(s->data + i, &c),
               count = change_character(s, i, c, change, &in_word, out);
        for (size_t k = 0; k < count; k++) buf_append_utf8(&r->text, out[k]);
        i += bytes;
    }
    return keep_markup(r, s, jtext_end(r, begin));
}

bool jinja_is_cased_as(const jstring *s, bool upper)
{
    bool found = false;
    for (size_t i = 0; i < s->length;) {
        uint32_t c;
        i += jinja_decode(s->data + i, &c);
        if (jinja_is_title(c) || (upper ? jinja_is_lower(c) : jinja_is_upper(c))) return false;
        found |= upper ? jinja_is_upper(c) : jinja_is_lower(c);
    }
    return found;
}

// ---- strip, replace, center, join ----

static bool is_stripped(jrender *r, uint32_t c, const jstring *chars)
{
    if (!chars) return jinja_is_space(c);
    jinja_step(r, chars->length / 16);
    for (size_t i = 0; i < chars->length;) {
        uint32_t other;
        i += jinja_decode(chars->data + i, &other);
        if (other == c) return true;
    }
    return false;
}

jvalue jinja_strip(jrender *r, const jstring *s, const jstring *chars, bool left, bool right)
{
    size_t begin = 0, end = s->length;
    uint32_t c;
    while (left && begin < end) {
        size_t bytes = jinja_decode(s->data + begin, &c);
        if (!is_stripped(r, c, chars)) break;
        begin += bytes;
    }
    while (right && end > begin) {
        size_t start = previous(s, end, &c);
        if (!is_stripped(r, c, chars)) break;
        end = start;
    }
    jinja_step(r, (s->length - (end - begin)) / 16);
    return jinja_string_part(r, s, begin, end);
}

jvalue jinja_replace(jrender *r, const jstring *s, const jstring *from, const jstring *to, int64_t count)
{
    size_t begin = jtext_begin(r), i = 0;
    uint64_t left = count < 0 ? UINT64_MAX : (uint64_t)count;
    jinja_step(r, s->length / 64);
    for (; left && !from->length; left--) { // between all characters
        jtext_string(r, to);
        if (i >= s->length) break;
        uint32_t c;
        size_t bytes = jinja_decode(s->data + i, &c);
        jtext_add(r, s->data + i, bytes);
        i += bytes;
    }
    while (left && from->length) {
        const char *found = memmem(s->data + i, s->length - i, from->data, from->length);
        if (!found) break;
        jtext_add(r, s->data + i, (size_t)(found - s->data) - i);
        jtext_string(r, to);
        i = (size_t)(found - s->data) + from->length;
        left--;
    }
    jtext_add(r, s->data + i, s->length - i);
    return keep_markup(r, s, jtext_end(r, begin));
}

static void pad(jrender *r, const jstring *fill, int64_t count)
{
    if (count > 0) jinja_step(r, (size_t)count);
    for (; count > 0; count--) jtext_string(r, fill);
}

jvalue jinja_center(jrender *r, const jstring *s, int64_t width, const jstring *fill)
{
    int64_t length = (int64_t)s->chars, margin = width > length ? width - length : 0;
    int64_t left = margin / 2 + (margin & width & 1);
    size_t begin = jtext_begin(r);
    if (margin > (int64_t)r->options.max_output) margin = (int64_t)r->options.max_output + 1, left = margin;
    pad(r, fill, left);
    jtext_string(r, s);
    pad(r, fill, margin - left);
    return keep_markup(r, s, jtext_end(r, begin));
}

jvalue jinja_join(jrender *r, const jstring *separator, const jlist *strings)
{
    size_t begin = jtext_begin(r);
    jinja_step(r, strings->count);
    for (size_t i = 0; i < strings->count; i++) {
        if (i) jtext_string(r, separator);
        jtext_string(r, strings->items[i].string);
    }
    return jtext_end(r, begin);
}

// ---- splitting ----

jlist *jinja_split_lines(jrender *r, const jstring *s, bool keep_ends)
{
    jlist *lines = jlist_new(r, 0);
    size_t begin = 0;
    jinja_step(r, s->length / 16);
    for (size_t i = 0; i < s->length;) {
        uint32_t c;
        size_t start = i;
        i += jinja_decode(s->data + i, &c);
        if (!jinja_is_line_end(c)) continue;
        if (c == '\r' && i < s->length && s->data[i] == '\n') i++;
        jlist_append(r, lines, jinja_string_part(r, s, begin, keep_ends ? i : start));
        begin = i;
    }
    if (begin < s->length) jlist_append(r, lines, jinja_string_part(r, s, begin, s->length));
    return lines;
}

static size_t skip(const jstring *s, size_t i, bool space)
{
    while (i < s->length) {
        uint32_t c;
        size_t bytes = jinja_decode(s->data + i, &c);
        if (jinja_is_space(c) != space) break;
        i += bytes;
    }
    return i;
}

// `limit` splits at most (negative: all); what is left after them loses only the white space before it.
jlist *jinja_split_space(jrender *r, const jstring *s, int64_t limit)
{
    jlist *parts = jlist_new(r, 0);
    size_t i = skip(s, 0, true);
    jinja_step(r, s->length / 16);
    for (; i < s->length && limit != 0; limit--) {
        size_t end = skip(s, i, false);
        jlist_append(r, parts, jinja_string_part(r, s, i, end));
        i = skip(s, end, true);
    }
    if (i < s->length) jlist_append(r, parts, jinja_string_part(r, s, i, s->length));
    return parts;
}
