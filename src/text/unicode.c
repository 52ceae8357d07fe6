// Character classes by binary search; normal forms over utf8proc's tables.
#include "text/unicode.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/unicode_tables.h"
#include <string.h>
#include <utf8proc.h>

static bool contains(const unicode_range *ranges, size_t count, uint32_t c) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c < ranges[middle].first)
            high = middle;
        else if (c > ranges[middle].last)
            low = middle + 1;
        else
            return true;
    }
    return false;
}

static const unicode_offset *find_offset(const unicode_offset *rows, size_t count, uint32_t c) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c < rows[middle].first)
            high = middle;
        else if (c > rows[middle].last)
            low = middle + 1;
        else
            return &rows[middle];
    }
    return NULL;
}

bool unicode_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool unicode_is_numeric(uint32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9';
    return contains(unicode_numeric, unicode_numeric_count, c);
}

bool unicode_is_word(uint32_t c) {
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    return contains(unicode_word, unicode_word_count, c);
}

bool unicode_is_punctuation(uint32_t c) {
    if (c < 0x80) return c > ' ' && c < 0x7F && (!unicode_is_word(c) || c == '_');
    return contains(unicode_punctuation, unicode_punctuation_count, c);
}

bool unicode_is_control(uint32_t c) {
    if (c < 0x80) return (c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7F;
    return contains(unicode_control, unicode_control_count, c);
}

bool unicode_is_nonspacing(uint32_t c) {
    return c >= 0x300 && contains(unicode_nonspacing, unicode_nonspacing_count, c);
}

bool unicode_is_combining(uint32_t c) {
    return c >= 0x300 && contains(unicode_combining, unicode_combining_count, c);
}

int unicode_script(uint32_t c) {
    const unicode_offset *row = find_offset(unicode_scripts, unicode_scripts_count, c ? c : 1);
    return row ? row->value : 0;
}

size_t unicode_lower(uint32_t c, uint32_t lower[2]) {
    lower[0] = c;
    if (c < 0x80) {
        if (c >= 'A' && c <= 'Z') lower[0] = c + 32;
        return 1;
    }
    if (c == 0x130) return lower[0] = 'i', lower[1] = 0x307, 2; // the only lower case of two characters
    const unicode_offset *row = find_offset(unicode_lower_offsets, unicode_lower_offsets_count, c);
    lower[0] = row ? c + (uint32_t)row->value : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

// --- normal forms ---

typedef struct codepoints {
    int32_t *items;
    size_t count, capacity;
} codepoints;

static bool decompose(codepoints *list, uint32_t c, utf8proc_option_t options) {
    enum { LONGEST_DECOMPOSITION = 18 };
    if (!mem_grow((void **)&list->items, &list->capacity, list->count + LONGEST_DECOMPOSITION,
                  sizeof *list->items))
        return false;
    int32_t *room = list->items + list->count;
    room[0] = (int32_t)c;
    utf8proc_ssize_t made = 1;
    if (c >= 0x80 && !contains(unicode_undecomposed, unicode_undecomposed_count, c))
        made = utf8proc_decompose_char((utf8proc_int32_t)c, room, LONGEST_DECOMPOSITION, options, NULL);
    list->count += made > 0 && made <= LONGEST_DECOMPOSITION ? (size_t)made : 1;
    return true;
}

static int combining_class(int32_t c) {
    if (c < 0x300 || contains(unicode_unordered, unicode_unordered_count, (uint32_t)c)) return 0;
    return (int)utf8proc_get_property(c)->combining_class;
}

typedef struct mark {
    int32_t c;
    int class;
} mark;

static void merge_marks(mark *marks, mark *spare, size_t count) {
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = start + width < count ? start + width : count;
            size_t end = start + 2 * width < count ? start + 2 * width : count;
            for (size_t a = start, b = middle, k = start; k < end; k++)
                spare[k] =
                    b >= end || (a < middle && marks[a].class <= marks[b].class) ? marks[a++] : marks[b++];
        }
        memcpy(marks, spare, count * sizeof *marks);
    }
}

// Sorts a run of marks by class, stably: by insertion when short, by merging when someone wrote thousands of
// them.
static bool sort_marks(int32_t *items, size_t count) {
    enum { SHORT = 16 };
    mark local[2 * SHORT], *marks = local;
    if (count > SHORT && !(marks = mem_alloc_zero(count, 2 * sizeof *marks))) return false;
    for (size_t i = 0; i < count; i++) marks[i] = (mark){items[i], combining_class(items[i])};
    merge_marks(marks, marks + count, count);
    for (size_t i = 0; i < count; i++) items[i] = marks[i].c;
    if (marks != local) mem_free(marks);
    return true;
}

static bool order_marks(codepoints *list) {
    for (size_t i = 0; i < list->count;) {
        size_t start = i;
        while (i < list->count && combining_class(list->items[i])) i++;
        if (i - start > 1 && !sort_marks(list->items + start, i - start)) return false;
        if (i == start) i++;
    }
    return true;
}

static void normalize_run(unicode_form form, const char *text, size_t length, codepoints *list, buf *out) {
    bool composes = form == UNICODE_NFC || form == UNICODE_NFKC;
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    if (form == UNICODE_NFKC || form == UNICODE_NFKD) options |= UTF8PROC_COMPAT;
    list->count = 0;
    bool fits = true;
    for (size_t i = 0; i < length && fits;) {
        uint32_t c;
        i += utf8_decode(text + i, length - i, &c);
        fits = decompose(list, c, options);
    }
    if (!fits || !order_marks(list)) {
        out->failed = true;
        return;
    }
    utf8proc_ssize_t count = (utf8proc_ssize_t)list->count;
    if (composes) count = utf8proc_normalize_utf32(list->items, count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < count; i++) buf_append_utf8(out, (uint32_t)list->items[i]);
}

static bool is_relevant(unicode_form form, uint32_t c) {
    if (form != UNICODE_NFC) return c >= 0x80;
    return c >= 0x300 && contains(unicode_nfc_relevant, unicode_nfc_relevant_count, c);
}

// Only runs of characters that the form can change are taken apart, each with the character before it, onto
// which its marks may fall; a run begins anew at any other character.
void unicode_normalize(unicode_form form, const char *text, size_t length, buf *out) {
    codepoints list = {0};
    size_t copied = 0, previous = 0;
    for (size_t i = 0; i < length;) {
        uint32_t c = (unsigned char)text[i];
        size_t bytes = c < 0x80 ? 1 : utf8_decode(text + i, length - i, &c);
        if (!bytes) bytes = 1; // callers check the text; never loop here
        if (!is_relevant(form, c)) {
            previous = i;
            i += bytes;
            continue;
        }
        size_t end = i + bytes;
        for (size_t more;
             end < length && (more = utf8_decode(text + end, length - end, &c)) && is_relevant(form, c);)
            end += more;
        buf_append(out, text + copied, previous - copied);
        normalize_run(form, text + previous, end - previous, &list, out);
        copied = previous = i = end;
    }
    buf_append(out, text + copied, length - copied);
    mem_free(list.items);
}

size_t unicode_grapheme(const char *text, size_t length) {
    uint32_t c, next;
    utf8proc_int32_t state = 0;
    size_t end = utf8_decode(text, length, &c);
    if (!end) return length ? 1 : 0;
    for (size_t bytes; end < length && (bytes = utf8_decode(text + end, length - end, &next));
         end += bytes, c = next)
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)c, (utf8proc_int32_t)next, &state)) break;
    return end;
}
