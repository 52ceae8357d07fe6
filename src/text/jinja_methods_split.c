// The methods of strings that take them apart and put them together.
#include "text/jinja_methods.h"
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <string.h>

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
        const char *found = jmethod_find_last(r, s->data, end, separator);
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
    jmethod_keyworded(r, name, a, "sep", "maxsplit", bound);
    int64_t limit = bound[1].kind == J_MISSING ? -1 : jmethod_integer(r, bound[1]);
    if (limit < 0) limit = -1;
    if (bound[0].kind == J_MISSING || bound[0].kind == J_NONE)
        return jinja_list(from_right ? rsplit_space(r, self.string, limit)
                                     : jinja_split_space(r, self.string, limit));
    const jstring *separator = jmethod_string(r, bound[0], "must be str or None, not %s");
    if (!separator->length) jinja_raise(r, "empty separator");
    return jinja_list(from_right ? rsplit_at(r, self.string, separator, limit)
                                 : split_at(r, self.string, separator, limit));
}

jvalue jmethod_str_split(jrender *r, jvalue self, const jarguments *a)
{
    return split(r, self, a, "split", false);
}
jvalue jmethod_str_rsplit(jrender *r, jvalue self, const jarguments *a)
{
    return split(r, self, a, "rsplit", true);
}

jvalue jmethod_str_splitlines(jrender *r, jvalue self, const jarguments *a)
{
    jvalue bound[2];
    jmethod_keyworded(r, "splitlines", a, "keepends", NULL, bound);
    bool keep = bound[0].kind != J_MISSING &&
                (jis_integer(bound[0]) ? jinteger(bound[0]) != 0 : jinja_truth(r, bound[0]));
    return jinja_list(jinja_split_lines(r, self.string, keep));
}

static jvalue partition(jrender *r, jvalue self, const jarguments *a, const char *name, bool last)
{
    const jstring *s = self.string,
                  *separator = jmethod_string(r, jmethod_one(r, "str", name, a), "must be str, not %s");
    if (!separator->length) jinja_raise(r, "empty separator");
    const char *found = last ? jmethod_find_last(r, s->data, s->length, separator)
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

jvalue jmethod_str_partition(jrender *r, jvalue self, const jarguments *a)
{
    return partition(r, self, a, "partition", false);
}
jvalue jmethod_str_rpartition(jrender *r, jvalue self, const jarguments *a)
{
    return partition(r, self, a, "rpartition", true);
}

jvalue jmethod_str_join(jrender *r, jvalue self, const jarguments *a)
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
