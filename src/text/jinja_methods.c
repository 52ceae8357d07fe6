// The methods of strings.
#include "text/jinja_methods.h"
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <stdlib.h>
#include <string.h>

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
    prefix = jmethod_string(r, jmethod_one(r, "str", "removeprefix", a),
                            "removeprefix() argument must be str, not %s");
    return has_prefix(s, prefix) ? jinja_string_part(r, s, prefix->length, s->length) : self;
}

static jvalue str_removesuffix(jrender *r, jvalue self, const jarguments *a)
{
    const jstring *s = self.string, *suffix;
    suffix = jmethod_string(r, jmethod_one(r, "str", "removesuffix", a),
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

const char *jmethod_find_last(jrender *r, const char *data, size_t length, const jstring *sub)
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
    const char *found = last ? jmethod_find_last(r, data, length, what.sub)
                             : memmem(data, length, what.sub->data, what.sub->length);
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
    const jstring *from = jmethod_string(r, a->items[0], "replace() argument 1 must be str, not %s");
    const jstring *to = jmethod_string(r, a->items[1], "replace() argument 2 must be str, not %s");
    if (self.string->markup) to = jinja_escape(r, a->items[1]).string;
    return jinja_replace(r, self.string, from, to, a->count > 2 ? jmethod_integer(r, a->items[2]) : -1);
}

// ---- padding ----

static const jstring *fill_argument(jrender *r, jvalue self, const jarguments *a)
{
    if (a->count < 2) return JINJA_STRING(" ");
    const jstring *fill =
        jmethod_string(r, a->items[1], "The fill character must be a unicode character, not %s");
    if (self.string->markup) fill = jinja_escape(r, a->items[1]).string;
    if (fill->chars != 1) jinja_raise(r, "The fill character must be exactly one character long");
    return fill;
}

static jvalue justify(jrender *r, jvalue self, const jarguments *a, const char *name, bool left)
{
    jmethod_between(r, "str", name, a, 1, 2);
    int64_t width = jmethod_integer(r, a->items[0]), margin = width - (int64_t)self.string->chars;
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
    int64_t width = jmethod_integer(r, a->items[0]);
    return jinja_center(r, self.string, width, fill_argument(r, self, a));
}

static jvalue str_zfill(jrender *r, jvalue self, const jarguments *a)
{
    int64_t width = jmethod_integer(r, jmethod_one(r, "str", "zfill", a)),
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
    jmethod_keyworded(r, "expandtabs", a, "tabsize", NULL, bound);
    int64_t size = bound[0].kind == J_MISSING ? 8 : jmethod_integer(r, bound[0]), column = 0;
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
    ROW(capitalize),
    ROW(casefold),
    ROW(center),
    ROW(count),
    ROW(encode),
    ROW(endswith),
    ROW(expandtabs),
    ROW(find),
    ROW(format),
    ROW(format_map),
    ROW(index),
    ROW(isalnum),
    ROW(isalpha),
    ROW(isascii),
    ROW(isdecimal),
    ROW(isdigit),
    ROW(isidentifier),
    ROW(islower),
    ROW(isnumeric),
    ROW(isprintable),
    ROW(isspace),
    ROW(istitle),
    ROW(isupper),
    {"join", jmethod_str_join},
    ROW(ljust),
    ROW(lower),
    ROW(lstrip),
    {"maketrans", str_translate},
    {"partition", jmethod_str_partition},
    ROW(removeprefix),
    ROW(removesuffix),
    ROW(replace),
    ROW(rfind),
    ROW(rindex),
    ROW(rjust),
    {"rpartition", jmethod_str_rpartition},
    {"rsplit", jmethod_str_rsplit},
    ROW(rstrip),
    {"split", jmethod_str_split},
    {"splitlines", jmethod_str_splitlines},
    ROW(startswith),
    ROW(strip),
    ROW(swapcase),
    ROW(title),
    ROW(translate),
    ROW(upper),
    ROW(zfill),
    {NULL, NULL},
};
