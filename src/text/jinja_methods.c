// The methods of strings.
#include "text/jinja_methods.h"
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <stdlib.h>
#include <string.h>

// ---- arguments, with the messages of Python's C functions ----

void jmethod_no_keywords(jrender *r, const char *type, const char *name, const jarguments *a)
{
    if (a->num_keywords) jinja_raise(r, "%s.%s() takes no keyword arguments", type, name);
}

void jmethod_none(jrender *r, const char *type, const char *name, const jarguments *a)
{
    jmethod_no_keywords(r, type, name, a);
    if (a->count) jinja_raise(r, "%s.%s() takes no arguments (%zu given)", type, name, a->count);
}

jvalue jmethod_one(jrender *r, const char *type, const char *name, const jarguments *a)
{
    jmethod_no_keywords(r, type, name, a);
    if (a->count != 1) jinja_raise(r, "%s.%s() takes exactly one argument (%zu given)", type, name, a->count);
    return a->items[0];
}

void jmethod_between(jrender *r, const char *type, const char *name, const jarguments *a, size_t least,
                     size_t most)
{
    jmethod_no_keywords(r, type, name, a);
    size_t bound = a->count < least ? least : most;
    if (a->count < least || a->count > most)
        jinja_raise(r, "%s expected %s %zu argument%s, got %zu", name,
                    a->count < least ? "at least" : "at most", bound, bound == 1 ? "" : "s", a->count);
}

// Functions that take keywords: at most two parameters here.
static void keyworded(jrender *r, const char *name, const jarguments *a, const char *first,
                      const char *second, jvalue bound[2])
{
    const char *names[2] = {first, second};
    size_t most = second ? 2 : 1;
    bound[0] = bound[1] = jmissing();
    if (a->count + a->num_keywords > most)
        jinja_raise(r, "%s() takes at most %zu argument%s (%zu given)", name, most, most == 1 ? "" : "s",
                    a->count + a->num_keywords);
    for (size_t i = 0; i < a->count; i++) bound[i] = a->items[i];
    for (size_t k = 0; k < a->num_keywords; k++) {
        size_t i = 0;
        while (i < most && !jstring_is(a->keywords[k].name, names[i])) i++;
        if (i == most)
            jinja_raise(r, "'%.*s' is an invalid keyword argument for %s()", JFMT(a->keywords[k].name), name);
        if (bound[i].kind != J_MISSING)
            jinja_raise(r, "argument for %s() given by name ('%s') and position (%zu)", name, names[i],
                        i + 1);
        bound[i] = a->keywords[k].value;
    }
}

static int64_t integer(jrender *r, jvalue v)
{
    return jinja_index(r, v, "'%s' object cannot be interpreted as an integer");
}

static const jstring *string_argument(jrender *r, jvalue v, const char *message)
{
    if (v.kind != J_STRING) jinja_raise(r, message, jinja_type_name(v));
    return v.string;
}

// ---- case and classes ----

#define CASE_METHOD(method, change)                                                                          \
    static jvalue str_##method(jrender *r, jvalue self, const jarguments *a)                                 \
    {                                                                                                        \
        jmethod_none(r, "str", #method, a);                                                                  \
        return jinja_change_case(r, self.string, change);                                                    \
    }
CASE_METHOD(upper, JCASE_UPPER)
CASE_METHOD(lower, JCASE_LOWER)
CASE_METHOD(title, JCASE_TITLE)
CASE_METHOD(capitalize, JCASE_CAPITALIZE)
CASE_METHOD(swapcase, JCASE_SWAP)
CASE_METHOD(casefold, JCASE_FOLD)

static bool all_characters(const jstring *s, bool (*test)(uint32_t), bool when_empty)
{
    for (size_t i = 0; i < s->length;) {
        uint32_t c;
        i += jinja_decode(s->data + i, &c);
        if (!test(c)) return false;
    }
    return s->length || when_empty;
}

static bool is_ascii(uint32_t c)
{
    return c < 0x80;
}

#define CLASS_METHOD(method, test, when_empty)                                                               \
    static jvalue str_##method(jrender *r, jvalue self, const jarguments *a)                                 \
    {                                                                                                        \
        jmethod_none(r, "str", #method, a);                                                                  \
        return jbool(all_characters(self.string, test, when_empty));                                         \
    }
CLASS_METHOD(isdigit, jinja_is_digit, false)
CLASS_METHOD(isalpha, jinja_is_alpha, false)
CLASS_METHOD(isalnum, jinja_is_alnum, false)
CLASS_METHOD(isspace, jinja_is_space, false)
CLASS_METHOD(isdecimal, jinja_is_decimal, false)
CLASS_METHOD(isnumeric, jinja_is_numeric, false)
CLASS_METHOD(isascii, is_ascii, true)
CLASS_METHOD(isprintable, jinja_is_printable, true)

static jvalue str_isupper(jrender *r, jvalue self, const jarguments *a)
{
    jmethod_none(r, "str", "isupper", a);
    return jbool(jinja_is_cased_as(self.string, true));
}

static jvalue str_islower(jrender *r, jvalue self, const jarguments *a)
{
    jmethod_none(r, "str", "islower", a);
    return jbool(jinja_is_cased_as(self.string, false));
}

static jvalue str_istitle(jrender *r, jvalue self, const jarguments *a)
{
    const jstring *s = self.string;
    bool found = false, in_word = false;
    jmethod_none(r, "str", "istitle", a);
    for (size_t i = 0; i < s->length;) {
        uint32_t c;
        i += jinja_decode(s->data + i, &c);
        bool upper = jinja_is_upper(c) || jinja_is_title(c), lower = jinja_is_lower(c);
        if ((upper && in_word) || (lower && !in_word)) return jbool(false);
        in_word = upper || lower;
        found |= in_word;
    }
    return jbool(found);
}

static jvalue str_isidentifier(jrender *r, jvalue self, const jarguments *a)
{
    const jstring *s = self.string;
    jmethod_none(r, "str", "isidentifier", a);
    for (size_t i = 0; i < s->length;) {
        uint32_t c;
        bool first = i == 0;
        i += jinja_decode(s->data + i, &c);
        if (first ? !jinja_is_identifier_start(c) : !jinja_is_identifier_part(c)) return jbool(false);
    }
    return jbool(s->length > 0);
}

// ---- strip and friends ----

static jvalue strip(jrender *r, jvalue self, const jarguments *a, const char *name, bool left, bool right)
{
    const jstring *chars = NULL;
    jmethod_between(r, "str", name, a, 0, 1);
    if (a->count && a->items[0].kind != J_NONE) {
        if (a->items[0].kind != J_STRING) jinja_raise(r, "%s arg must be None or str", name);
        chars = a->items[0].string;
    }
    return jinja_strip(r, self.string, chars, left, right);
}

static jvalue str_strip(jrender *r, jvalue self, const jarguments *a)
{
    return strip(r, self, a, "strip", true, true);
}
static jvalue str_lstrip(jrender *r, jvalue self, const jarguments *a)
{
    return strip(r, self, a, "lstrip", true, false);
}
static jvalue str_rstrip(jrender *r, jvalue self, const jarguments *a)
{
    return strip(r, self, a, "rstrip", false, true);
}

static bool has_prefix(const jstring *s, const jstring *prefix)
{
    return s->length >= prefix->length && memcmp(s->data, prefix->data, prefix->length) == 0;
}

static bool has_suffix(const jstring *s, const jstring *suffix)
{
    return s->length >= suffix->length &&
           memcmp(s->data + s->length - suffix->length, suffix->data, suffix->length) == 0;
}

static jvalue str_removeprefix(jrender *r, jvalue self, const jarguments *a)
{
    const jstring *s = self.string, *prefix;
    prefix = string_argument(r, jmethod_one(r, "str", "removeprefix", a),
                             "removeprefix() argument must be str, not %s");
    return has_prefix(s, prefix) ? jinja_string_part(r, s, prefix->length, s->length) : self;
}

static jvalue str_removesuffix(jrender *r, jvalue self, const jarguments *a)
{
    const jstring *s = self.string, *suffix;
    suffix = string_argument(r, jmethod_one(r, "str", "removesuffix", a),
                             "removesuffix() argument must be str, not %s");
    return has_suffix(s, suffix) ? jinja_string_part(r, s, 0, s->length - suffix->length) : self;
}

// ---- searching ----

typedef struct search {
    const jstring *sub; // NULL: a tuple, in `subs`
    const jlist *subs;
    size_t begin, end; // bytes of the part that is searched
    bool beyond;       // the part begins after the end of the string
} search;

static int64_t clip(int64_t i, int64_t length)
{
    if (i < 0) i += length;
    return i < 0 ? 0 : i;
}

// The arguments (sub, start, end) that find, count, startswith and others share.
static search search_arguments(jrender *r, jvalue self, const jarguments *a, const char *name, bool tuple)
{
    jmethod_no_keywords(r, "str", name, a);
    if (a->count < 1) jinja_raise(r, "%s() takes at least 1 argument (0 given)", name);
    if (a->count > 3) jinja_raise(r, "%s() takes at most 3 arguments (%zu given)", name, a->count);
    const jstring *s = self.string;
    int64_t length = (int64_t)s->chars, bounds[2] = {0, INT64_MAX};
    for (size_t i = 1; i < a->count; i++)
        if (a->items[i].kind != J_NONE)
            bounds[i - 1] = jinja_index(r, a->items[i],
                                        "slice indices must be integers or None or have an __index__ method");
    int64_t end = bounds[1] > length ? length : clip(bounds[1], length), start = clip(bounds[0], length);
    search found = {
        .begin = jinja_offset(s, (size_t)start), .end = jinja_offset(s, (size_t)end), .beyond = start > end};
    if (tuple && a->items[0].kind == J_TUPLE) {
        found.subs = a->items[0].list;
    } else if (a->items[0].kind != J_STRING) {
        if (tuple)
            jinja_raise(r, "%s first arg must be str or a tuple of str, not %s", name,
                        jinja_type_name(a->items[0]));
        jinja_raise(r, "must be str, not %s", jinja_type_name(a->items[0]));
    } else {
        found.sub = a->items[0].string;
    }
    return found;
}

static const char *find_last(jrender *r, const char *data, size_t length, const jstring *sub)
{
    if (sub->length > length) return NULL;
    for (size_t i = length - sub->length + 1; i > 0; i--, jinja_step(r, sub->length / 64))
        if (memcmp(data + i - 1, sub->data, sub->length) == 0) return data + i - 1;
    return NULL;
}

// The character where it is found, -1 where not.
static int64_t find(jrender *r, jvalue self, const jarguments *a, const char *name, bool last)
{
    search what = search_arguments(r, self, a, name, false);
    if (what.beyond) return -1;
    const char *data = self.string->data + what.begin;
    size_t length = what.end - what.begin;
    jinja_step(r, length / 16);
    const char *found =
        last ? find_last(r, data, length, what.sub) : memmem(data, length, what.sub->data, what.sub->length);
    if (!found) return -1;
    return (int64_t)utf8_count(self.string->data, (size_t)(found - self.string->data));
}

static int64_t must_find(jrender *r, jvalue self, const jarguments *a, const char *name, bool last)
{
    int64_t found = find(r, self, a, name, last);
    if (found < 0) jinja_raise(r, "substring not found");
    return found;
}

static jvalue str_find(jrender *r, jvalue self, const jarguments *a)
{
    return jint(find(r, self, a, "find", false));
}
static jvalue str_rfind(jrender *r, jvalue self, const jarguments *a)
{
    return jint(find(r, self, a, "rfind", true));
}
static jvalue str_index(jrender *r, jvalue self, const jarguments *a)
{
    return jint(must_find(r, self, a, "index", false));
}
static jvalue str_rindex(jrender *r, jvalue self, const jarguments *a)
{
    return jint(must_find(r, self, a, "rindex", true));
}

static jvalue str_count(jrender *r, jvalue self, const jarguments *a)
{
    search what = search_arguments(r, self, a, "count", false);
    int64_t count = 0;
    if (what.beyond) return jint(0);
    if (!what.sub->length)
        return jint((int64_t)utf8_count(self.string->data + what.begin, what.end - what.begin) + 1);
    jinja_step(r, (what.end - what.begin) / 16);
    for (size_t i = what.begin;; count++) {
        const char *found = memmem(self.string->data + i, what.end - i, what.sub->data, what.sub->length);
        if (!found) return jint(count);
        i = (size_t)(found - self.string->data) + what.sub->length;
    }
}

static jvalue starts_or_ends(jrender *r, jvalue self, const jarguments *a, const char *name,
                             bool (*has)(const jstring *, const jstring *))
{
    search what = search_arguments(r, self, a, name, true);
    const jstring *part = what.beyond ? NULL : jinja_string_part(r, self.string, what.begin, what.end).string;
    if (what.sub) return jbool(part && has(part, what.sub));
    for (size_t i = 0; i < what.subs->count; i++) {
        jvalue sub = what.subs->items[i];
        if (sub.kind != J_STRING)
            jinja_raise(r, "tuple for %s must only contain str, not %s", name, jinja_type_name(sub));
        if (part && has(part, sub.string)) return jbool(true);
    }
    return jbool(false);
}

static jvalue str_startswith(jrender *r, jvalue self, const jarguments *a)
{
    return starts_or_ends(r, self, a, "startswith", has_prefix);
}

static jvalue str_endswith(jrender *r, jvalue self, const jarguments *a)
{
    return starts_or_ends(r, self, a, "endswith", has_suffix);
}

static jvalue str_replace(jrender *r, jvalue self, const jarguments *a)
{
    jmethod_between(r, "str", "replace", a, 2, 3);
    const jstring *from = string_argument(r, a->items[0], "replace() argument 1 must be str, not %s");
    const jstring *to = string_argument(r, a->items[1], "replace() argument 2 must be str, not %s");
    if (self.string->markup) to = jinja_escape(r, a->items[1]).string;
    return jinja_replace(r, self.string, from, to, a->count > 2 ? integer(r, a->items[2]) : -1);
}

// ---- splitting and joining ----

static void append_part(jrender *r, jlist *parts, const jstring *s, size_t begin, size_t end)
{
    jlist_append(r, parts, jinja_string_part(r, s, begin, end));
}

static jlist *split_at(jrender *r, const jstring *s, const jstring *separator, int64_t limit)
{
    jlist *parts = jlist_new(r, 0);
    size_t i = 0;
    jinja_step(r, s->length / 16);
    for (; limit != 0; limit--) {
        const char *found = memmem(s->data + i, s->length - i, separator->data, separator->length);
        if (!found) break;
        append_part(r, parts, s, i, (size_t)(found - s->data));
        i = (size_t)(found - s->data) + separator->length;
    }
    append_part(r, parts, s, i, s->length);
    return parts;
}

static void reverse(jlist *list)
{
    for (size_t i = 0; i < list->count / 2; i++) {
        jvalue item = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = item;
    }
}

static jlist *rsplit_at(jrender *r, const jstring *s, const jstring *separator, int64_t limit)
{
    jlist *parts = jlist_new(r, 0);
    size_t end = s->length;
    jinja_step(r, s->length / 16);
    for (; limit != 0; limit--) {
        const char *found = find_last(r, s->data, end, separator);
        if (!found) break;
        append_part(r, parts, s, (size_t)(found - s->data) + separator->length, end);
        end = (size_t)(found - s->data);
    }
    append_part(r, parts, s, 0, end);
    reverse(parts);
    return parts;
}

// Where the run of (not) white space that ends at `end` begins.
static size_t skip_back(const jstring *s, size_t end, bool space)
{
    while (end > 0) {
        size_t start = end - 1;
        uint32_t c;
        while (((unsigned char)s->data[start] & 0xC0) == 0x80) start--;
        jinja_decode(s->data + start, &c);
        if (jinja_is_space(c) != space) break;
        end = start;
    }
    return end;
}

static jlist *rsplit_space(jrender *r, const jstring *s, int64_t limit)
{
    jlist *parts = jlist_new(r, 0);
    size_t end = skip_back(s, s->length, true);
    jinja_step(r, s->length / 16);
    for (; end > 0 && limit != 0; limit--) {
        size_t begin = skip_back(s, end, false);
        append_part(r, parts, s, begin, end);
        end = skip_back(s, begin, true);
    }
    if (end > 0) append_part(r, parts, s, 0, end);
    reverse(parts);
    return parts;
}

static jvalue split(jrender *r, jvalue self, const jarguments *a, const char *name, bool from_right)
{
    jvalue bound[2];
    keyworded(r, name, a, "sep", "maxsplit", bound);
    int64_t limit = bound[1].kind == J_MISSING ? -1 : integer(r, bound[1]);
    if (limit < 0) limit = -1;
    if (bound[0].kind == J_MISSING || bound[0].kind == J_NONE)
        return jinja_list(from_right ? rsplit_space(r, self.string, limit)
                                     : jinja_split_space(r, self.string, limit));
    const jstring *separator = string_argument(r, bound[0], "must be str or None, not %s");
    if (!separator->length) jinja_raise(r, "empty separator");
    return jinja_list(from_right ? rsplit_at(r, self.string, separator, limit)
                                 : split_at(r, self.string, separator, limit));
}

static jvalue str_split(jrender *r, jvalue self, const jarguments *a)
{
    return split(r, self, a, "split", false);
}
static jvalue str_rsplit(jrender *r, jvalue self, const jarguments *a)
{
    return split(r, self, a, "rsplit", true);
}

static jvalue str_splitlines(jrender *r, jvalue self, const jarguments *a)
{
    jvalue bound[2];
    keyworded(r, "splitlines", a, "keepends", NULL, bound);
    bool keep = bound[0].kind != J_MISSING &&
                (jis_integer(bound[0]) ? jinteger(bound[0]) != 0 : jinja_truth(r, bound[0]));
    return jinja_list(jinja_split_lines(r, self.string, keep));
}

static jvalue partition(jrender *r, jvalue self, const jarguments *a, const char *name, bool last)
{
    const jstring *s = self.string,
                  *separator = string_argument(r, jmethod_one(r, "str", name, a), "must be str, not %s");
    if (!separator->length) jinja_raise(r, "empty separator");
    const char *found = last ? find_last(r, s->data, s->length, separator)
                             : memmem(s->data, s->length, separator->data, separator->length);
    size_t at = found  ? (size_t)(found - s->data)
                : last ? 0
                       : s->length,
           after = found ? at + separator->length : at;
    jlist *parts = jlist_new(r, 3);
    append_part(r, parts, s, 0, at);
    append_part(r, parts, s, at, after);
    append_part(r, parts, s, after, s->length);
    return jinja_tuple(parts);
}

static jvalue str_partition(jrender *r, jvalue self, const jarguments *a)
{
    return partition(r, self, a, "partition", false);
}
static jvalue str_rpartition(jrender *r, jvalue self, const jarguments *a)
{
    return partition(r, self, a, "rpartition", true);
}

static jvalue str_join(jrender *r, jvalue self, const jarguments *a)
{
    jvalue iterable = jmethod_one(r, "str", "join", a);
    if (!jinja_is_iterable(iterable)) jinja_raise(r, "can only join an iterable");
    jlist *items = jinja_collect(r, iterable);
    for (size_t i = 0; i < items->count; i++) {
        if (self.string->markup) items->items[i] = jinja_escape(r, items->items[i]);
        if (items->items[i].kind != J_STRING)
            jinja_raise(r, "sequence item %zu: expected str instance, %s found", i,
                        jinja_type_name(items->items[i]));
    }
    jvalue joined = jinja_join(r, self.string, items);
    return self.string->markup ? jinja_markup(r, joined) : joined;
}

// ---- padding ----

static const jstring *fill_argument(jrender *r, jvalue self, const jarguments *a)
{
    if (a->count < 2) return JINJA_STRING(" ");
    const jstring *fill =
        string_argument(r, a->items[1], "The fill character must be a unicode character, not %s");
    if (self.string->markup) fill = jinja_escape(r, a->items[1]).string;
    if (fill->chars != 1) jinja_raise(r, "The fill character must be exactly one character long");
    return fill;
}

static jvalue justify(jrender *r, jvalue self, const jarguments *a, const char *name, bool left)
{
    jmethod_between(r, "str", name, a, 1, 2);
    int64_t width = integer(r, a->items[0]), margin = width - (int64_t)self.string->chars;
    const jstring *fill = fill_argument(r, self, a);
    size_t begin = jtext_begin(r);
    if (margin <= 0) return self;
    jinja_step(r, (uint64_t)margin);
    if (left) jtext_string(r, self.string);
    for (int64_t i = 0; i < margin; i++) jtext_string(r, fill);
    if (!left) jtext_string(r, self.string);
    jvalue result = jtext_end(r, begin);
    return self.string->markup ? jinja_markup(r, result) : result;
}

static jvalue str_ljust(jrender *r, jvalue self, const jarguments *a)
{
    return justify(r, self, a, "ljust", true);
}
static jvalue str_rjust(jrender *r, jvalue self, const jarguments *a)
{
    return justify(r, self, a, "rjust", false);
}

static jvalue str_center(jrender *r, jvalue self, const jarguments *a)
{
    jmethod_between(r, "str", "center", a, 1, 2);
    int64_t width = integer(r, a->items[0]);
    return jinja_center(r, self.string, width, fill_argument(r, self, a));
}

static jvalue str_zfill(jrender *r, jvalue self, const jarguments *a)
{
    int64_t width = integer(r, jmethod_one(r, "str", "zfill", a)),
            margin = width - (int64_t)self.string->chars;
    const jstring *s = self.string;
    size_t begin = jtext_begin(r), sign = s->length && (s->data[0] == '+' || s->data[0] == '-');
    if (margin <= 0) return self;
    jinja_step(r, (uint64_t)margin);
    jtext_add(r, s->data, sign);
    for (int64_t i = 0; i < margin; i++) jtext_add(r, "0", 1);
    jtext_add(r, s->data + sign, s->length - sign);
    return jtext_end(r, begin);
}

static jvalue str_expandtabs(jrender *r, jvalue self, const jarguments *a)
{
    jvalue bound[2];
    keyworded(r, "expandtabs", a, "tabsize", NULL, bound);
    int64_t size = bound[0].kind == J_MISSING ? 8 : integer(r, bound[0]), column = 0;
    const jstring *s = self.string;
    size_t begin = jtext_begin(r);
    for (size_t i = 0; i < s->length; i++) {
        char c = s->data[i];
        if (c != '\t') {
            jtext_add(r, &c, 1);
            if (((unsigned char)c & 0xC0) != 0x80) column++;
            if (c == '\n' || c == '\r') column = 0;
        } else if (size > 0) {
            int64_t spaces = size - column % size;
            jinja_step(r, (uint64_t)spaces);
            for (; spaces; spaces--, column++) jtext_add(r, " ", 1);
        }
    }
    return jtext_end(r, begin);
}

// ---- formatting, and what there is not ----

static jvalue str_format(jrender *r, jvalue self, const jarguments *a)
{
    return jinja_format_braces(r, self.string, a);
}

static jvalue str_format_map(jrender *r, jvalue self, const jarguments *a)
{
    if (a->num_keywords) jinja_raise(r, "format_map() takes no keyword arguments");
    if (a->count != 1) jinja_raise(r, "format_map() takes exactly one argument (%zu given)", a->count);
    if (a->items[0].kind != J_DICT)
        jinja_raise(r, "format_map() of a %s is not supported", jinja_type_name(a->items[0]));
    const jdict *dict = a->items[0].dict;
    jarguments keywords = {.num_keywords = 0};
    keywords.keywords = jinja_alloc(r, dict->count + 1, sizeof *keywords.keywords);
    for (size_t i = 0; i < dict->count; i++)
        if (dict->entries[i].key.kind == J_STRING)
            keywords.keywords[keywords.num_keywords++] =
                (jkeyword){dict->entries[i].key.string, dict->entries[i].value};
    return jinja_format_braces(r, self.string, &keywords);
}

static jvalue str_encode(jrender *r, jvalue self, const jarguments *a)
{
    (void)self, (void)a;
    jinja_raise(r, "str.encode() is not supported: templates have no bytes");
}

static jvalue str_translate(jrender *r, jvalue self, const jarguments *a)
{
    (void)self, (void)a;
    jinja_raise(r, "str.translate() and str.maketrans() are not supported");
}

#define ROW(name)                                                                                            \
    {                                                                                                        \
#name, str_##name                                                                                    \
    }
const jmethod_row jmethods_of_string[] = {
    ROW(capitalize),   ROW(casefold),     ROW(center),       ROW(count),
    ROW(encode),       ROW(endswith),     ROW(expandtabs),   ROW(find),
    ROW(format),       ROW(format_map),   ROW(index),        ROW(isalnum),
    ROW(isalpha),      ROW(isascii),      ROW(isdecimal),    ROW(isdigit),
    ROW(isidentifier), ROW(islower),      ROW(isnumeric),    ROW(isprintable),
    ROW(isspace),      ROW(istitle),      ROW(isupper),      ROW(join),
    ROW(ljust),        ROW(lower),        ROW(lstrip),       {"maketrans", str_translate},
    ROW(partition),    ROW(removeprefix), ROW(removesuffix), ROW(replace),
    ROW(rfind),        ROW(rindex),       ROW(rjust),        ROW(rpartition),
    ROW(rsplit),       ROW(rstrip),       ROW(split),        ROW(splitlines),
    ROW(startswith),   ROW(strip),        ROW(swapcase),     ROW(title),
    ROW(translate),    ROW(upper),        ROW(zfill),        {NULL, NULL},
};
