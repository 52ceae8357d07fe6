// The filter wordwrap: Python's textwrap with its rules for hyphens.
#include "text/jinja_builtin.h"
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <string.h>

typedef struct wrap {
    jrender *r;
    int64_t width;
    bool break_long, break_hyphens;
    uint32_t *c; // characters of the paragraph
    size_t count;
    size_t *bytes; // where each begins; one more for the end
    const jstring *text;
    size_t *chunks; // where chunks begin, in characters; one more for the end
    size_t num_chunks;
} wrap;

static bool is_blank(uint32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
static bool is_word(uint32_t c)
{
    return c == '_' || jinja_is_alnum(c);
}
static bool is_letter(uint32_t c)
{
    return is_word(c) && !jinja_is_decimal(c);
} // [^\d\W]
static uint32_t at(const wrap *w, size_t i)
{
    return i < w->count ? w->c[i] : 0;
}
static bool letter_at(const wrap *w, size_t i)
{
    return i < w->count && is_letter(w->c[i]);
}

static bool before_dash(uint32_t c)
{
    return is_word(c) || (c < 0x80 && c && strchr("!\"'&.,?", (int)c));
}

// The end of a run of two or more dashes at `i` that a word character follows; 0: there is none.
static size_t dashes(const wrap *w, size_t i)
{
    size_t end = i;
    while (at(w, end) == '-') end++;
    return end >= i + 2 && end < w->count && is_word(w->c[end]) ? end : 0;
}

// A word may be broken after the hyphen at `i`.
static bool is_hyphen(const wrap *w, size_t i)
{
    if (at(w, i) != '-') return false;
    bool two_letters = i >= 2 && letter_at(w, i - 1) && letter_at(w, i - 2);
    bool letter_dash = i >= 3 && letter_at(w, i - 1) && w->c[i - 2] == '-' && letter_at(w, i - 3);
    if (!two_letters && !letter_dash) return false;
    return letter_at(w, i + 1) && letter_at(w, at(w, i + 2) == '-' ? i + 3 : i + 2);
}

static size_t chunk_end(const wrap *w, size_t begin)
{
    size_t i = begin;
    if (is_blank(w->c[i])) {
        while (i < w->count && is_blank(w->c[i])) i++;
        return i;
    }
    if (w->break_hyphens && begin && before_dash(w->c[begin - 1]) && dashes(w, begin))
        return dashes(w, begin);
    for (i++; i < w->count && !is_blank(w->c[i]); i++) {
        if (!w->break_hyphens) continue;
        if (i >= begin + 1 && is_hyphen(w, i)) return i + 1;
        if (before_dash(w->c[i - 1]) && dashes(w, i)) return i;
    }
    return i;
}

// What is dropped at the ends of lines: white space of any kind, though only ASCII's separates words.
static bool is_droppable(const wrap *w, size_t begin, size_t end)
{
    while (begin < end && jinja_is_space(w->c[begin])) begin++;
    return begin == end;
}

static void append_line(wrap *w, jlist *lines, size_t first, size_t end)
{
    if (first < end)
        jlist_append(w->r, lines, jinja_string_part(w->r, w->text, w->bytes[first], w->bytes[end]));
}

// Breaks a chunk that is wider than a line; returns how many of its characters go on this line.
static size_t break_chunk(const wrap *w, size_t begin, size_t end, size_t most)
{
    size_t cut = begin + most;
    if (w->break_hyphens && end - begin > most)
        for (size_t i = cut; i > begin + 1; i--) {
            if (w->c[i - 1] != '-') continue;
            bool other = false;
            for (size_t k = begin; k + 1 < i; k++) other |= w->c[k] != '-';
            if (other) return i - begin;
            break;
        }
    return most;
}

static void wrap_chunks(wrap *w, jlist *lines)
{
    size_t chunk = 0, start = 0; // `start`: the characters of the current chunk that are left begin here
    if (w->num_chunks) start = w->chunks[0];
    while (chunk < w->num_chunks) {
        if (lines->count && is_droppable(w, start, w->chunks[chunk + 1])) {
            start = w->chunks[++chunk];
            if (chunk == w->num_chunks) break;
        }
        size_t first = start, end = start, last_begin = start; // of the last piece on the line
        while (chunk < w->num_chunks && (int64_t)(w->chunks[chunk + 1] - first) <= w->width) {
            last_begin = end;
            end = start = w->chunks[++chunk];
        }
        bool is_long = chunk < w->num_chunks && (int64_t)(w->chunks[chunk + 1] - start) > w->width;
        if (is_long && (w->break_long || end == first)) {
            size_t chunk_end = w->chunks[chunk + 1];
            last_begin = end;
            if (w->break_long)
                end = start += break_chunk(w, start, chunk_end, (size_t)w->width - (end - first));
            else
                end = start = w->chunks[++chunk]; // as wide as it is
        }
        // Python drops the last piece of the line when it is blank, an empty one too
        append_line(w, lines, first, is_droppable(w, last_begin, end) ? last_begin : end);
        jinja_step(w->r, 1 + end - first);
    }
}

static void wrap_paragraph(wrap *w, const jstring *text, jlist *lines)
{
    jrender *r = w->r;
    w->text = text;
    w->count = 0;
    w->c = jinja_alloc(r, text->chars + 1, sizeof *w->c);
    w->bytes = jinja_alloc(r, text->chars + 1, sizeof *w->bytes);
    w->chunks = jinja_alloc(r, text->chars + 1, sizeof *w->chunks);
    for (size_t i = 0; i < text->length;) {
        w->bytes[w->count] = i;
        i += jinja_decode(text->data + i, &w->c[w->count++]);
    }
    w->bytes[w->count] = text->length;
    w->num_chunks = 0;
    for (size_t i = 0; i < w->count; i = chunk_end(w, i)) w->chunks[w->num_chunks++] = i;
    w->chunks[w->num_chunks] = w->count;
    wrap_chunks(w, lines);
}

jvalue jinja_filter_wordwrap(jrender *r, jvalue *v)
{
    const jstring *separator = JINJA_STRING("\n");
    if (v[0].kind == J_UNDEFINED) jinja_raise_undefined(r, v[0].undefined);
    if (v[0].kind != J_STRING)
        jinja_raise(r, "'%s' object has no attribute 'splitlines'", jinja_type_name(v[0]));
    if (v[3].kind != J_MISSING && v[3].kind != J_NONE) {
        if (v[3].kind == J_UNDEFINED) jinja_raise_undefined(r, v[3].undefined);
        if (v[3].kind != J_STRING)
            jinja_raise(r, "'%s' object has no attribute 'join'", jinja_type_name(v[3]));
        separator = v[3].string;
    }
    jlist *paragraphs = jinja_split_lines(r, v[0].string, false), *all = jlist_new(r, 0);
    wrap w = {.r = r, .width = 79};
    w.break_long = v[2].kind == J_MISSING || jinja_truth(r, v[2]);
    w.break_hyphens = v[4].kind == J_MISSING || jinja_truth(r, v[4]);
    for (size_t i = 0; i < paragraphs->count; i++) {
        jlist *lines = jlist_new(r, 0);
        jvalue width = v[1].kind == J_MISSING ? jint(79) : v[1];
        if (jinja_compare(r, JO_LE, width, jint(0)))
            jinja_raise(r, "invalid width %.*s (must be > 0)", JFMT(jinja_repr(r, width)));
        w.width = jinja_index(r, width, "'%s' object cannot be interpreted as an integer");
        wrap_paragraph(&w, paragraphs->items[i].string, lines);
        jlist_append(r, all, jinja_join(r, separator, lines));
    }
    return jinja_join(r, separator, all);
}
