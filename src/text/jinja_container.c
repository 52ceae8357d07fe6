// Strings, lists and dicts in the arena of a render.
#include "base/strmap.h"
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <string.h>

// ---- strings ----

bool jstring_equals(const jstring *a, const jstring *b)
{
    return a == b || (a->length == b->length && memcmp(a->data, b->data, a->length) == 0);
}

bool jstring_is(const jstring *a, const char *text)
{
    size_t length = strlen(text);
    return a->length == length && memcmp(a->data, text, length) == 0;
}

// UTF-8 sorts by bytes as by code points.
int jstring_compare(const jstring *a, const jstring *b)
{
    size_t common = a->length < b->length ? a->length : b->length;
    int order = common ? memcmp(a->data, b->data, common) : 0;
    if (order) return order < 0 ? -1 : 1;
    return (a->length > b->length) - (a->length < b->length);
}

size_t utf8_count(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

jvalue jinja_string_of(jrender *r, const char *data, size_t length)
{
    jstring *string = jinja_alloc(r, 1, sizeof *string);
    *string = (jstring){data, length, utf8_count(data, length), false};
    jinja_pass_over(r, length);
    return jstr(string);
}

jvalue jinja_string_part(jrender *r, const jstring *whole, size_t begin, size_t end)
{
    jstring *string = jinja_alloc(r, 1, sizeof *string);
    size_t length = end - begin;
    jinja_pass_over(r, length);
    *string = (jstring){whole->data + begin, length,
                        jis_ascii(whole) ? length : utf8_count(whole->data + begin, length), whole->markup};
    return jstr(string);
}

jvalue jinja_string_copy(jrender *r, const char *data, size_t length)
{
    char *copy = jinja_alloc(r, length + 1, 1);
    if (length) memcpy(copy, data, length);
    return jinja_string_of(r, copy, length);
}

jvalue jinja_literal(jrender *r, const char *text)
{
    return jinja_string_of(r, text, strlen(text));
}

jvalue jinja_character(jrender *r, const jstring *s, size_t byte, size_t *length)
{
    uint32_t c;
    *length = jinja_decode(s->data + byte, &c);
    return jinja_string_part(r, s, byte, byte + *length);
}

size_t jinja_offset(const jstring *s, size_t character)
{
    if (character >= s->chars) return s->length;
    if (jis_ascii(s)) return character;
    size_t byte = 0;
    for (; character; character--)
        for (byte++; byte < s->length && ((unsigned char)s->data[byte] & 0xC0) == 0x80;) byte++;
    return byte;
}

jvalue jinja_markup(jrender *r, jvalue string)
{
    jstring *copy = jinja_alloc(r, 1, sizeof *copy);
    *copy = *string.string;
    copy->markup = true;
    return jstr(copy);
}

jvalue jinja_escape(jrender *r, jvalue value)
{
    if (value.kind == J_STRING && value.string->markup) return value;
    const jstring *text = jinja_str(r, value);
    size_t begin = jtext_begin(r);
    for (size_t i = 0; i < text->length; i++) {
        char c = text->data[i];
        if (c == '&')
            jtext_literal(r, "&amp;");
        else if (c == '<')
            jtext_literal(r, "&lt;");
        else if (c == '>')
            jtext_literal(r, "&gt;");
        else if (c == '\'')
            jtext_literal(r, "&#39;");
        else if (c == '"')
            jtext_literal(r, "&#34;");
        else
            jtext_add(r, &c, 1);
    }
    return jinja_markup(r, jtext_end(r, begin));
}

jvalue jinja_concat(jrender *r, const jstring *a, const jstring *b)
{
    char *data = jinja_alloc(r, a->length + b->length + 1, 1);
    jstring *joined = jinja_alloc(r, 1, sizeof *joined);
    if (a->length) memcpy(data, a->data, a->length);
    if (b->length) memcpy(data + a->length, b->data, b->length);
    *joined = (jstring){data, a->length + b->length, a->chars + b->chars, false};
    return jstr(joined);
}

// ---- lists ----

jlist *jlist_new(jrender *r, size_t capacity)
{
    jlist *list = jinja_alloc(r, 1, sizeof *list);
    if (capacity) list->items = jinja_alloc(r, capacity, sizeof *list->items);
    list->capacity = capacity;
    return list;
}

void jlist_append(jrender *r, jlist *list, jvalue item)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        jvalue *larger = jinja_alloc(r, capacity, sizeof *larger);
        if (list->count) memcpy(larger, list->items, list->count * sizeof *larger);
        list->items = larger;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
}

jvalue jinja_list(jlist *list)
{
    return (jvalue){.kind = J_LIST, .list = list};
}
jvalue jinja_tuple(jlist *list)
{
    return (jvalue){.kind = J_TUPLE, .list = list};
}

jvalue jinja_pair(jrender *r, jvalue a, jvalue b)
{
    jlist *pair = jlist_new(r, 2);
    jlist_append(r, pair, a);
    jlist_append(r, pair, b);
    return jinja_tuple(pair);
}

// ---- dicts ----

enum { SMALL_DICT = 8 };

jdict *jdict_new(jrender *r)
{
    return jinja_alloc(r, 1, sizeof(jdict));
}

static bool key_matches(jrender *r, const jentry *entry, jvalue key, uint64_t hash)
{
    if (entry->hash != hash) return false;
    if (entry->key.kind == J_STRING && key.kind == J_STRING)
        return jstring_equals(entry->key.string, key.string);
    return jinja_identical(entry->key, key) || jinja_equal(r, entry->key, key);
}

jentry *jdict_entry(jrender *r, const jdict *dict, jvalue key, uint64_t hash)
{
    if (!dict->index) {
        for (size_t i = 0; i < dict->count; i++)
            if (key_matches(r, &dict->entries[i], key, hash)) return &dict->entries[i];
        return NULL;
    }
    for (size_t i = hash & dict->mask; dict->index[i]; i = (i + 1) & dict->mask)
        if (key_matches(r, &dict->entries[dict->index[i] - 1], key, hash))
            return &dict->entries[dict->index[i] - 1];
    return NULL;
}

static void index_entry(jdict *dict, size_t number)
{
    size_t i = dict->entries[number].hash & dict->mask;
    while (dict->index[i]) i = (i + 1) & dict->mask;
    dict->index[i] = (uint32_t)(number + 1);
}

static void grow_dict(jrender *r, jdict *dict)
{
    size_t capacity = dict->capacity ? dict->capacity * 2 : 4;
    if (capacity > UINT32_MAX / 4)
        jinja_raise(r, "a dict of more than %zu entries is not supported", dict->count);
    jentry *larger = jinja_alloc(r, capacity, sizeof *larger);
    if (dict->count) memcpy(larger, dict->entries, dict->count * sizeof *larger);
    dict->entries = larger;
    dict->capacity = capacity;
    if (capacity <= SMALL_DICT) return;
    dict->index = jinja_alloc(r, capacity * 2, sizeof *dict->index);
    dict->mask = capacity * 2 - 1;
    for (size_t i = 0; i < dict->count; i++) index_entry(dict, i);
}

void jdict_set(jrender *r, jdict *dict, jvalue key, jvalue value)
{
    uint64_t hash = jinja_hash(r, key);
    jentry *entry = jdict_entry(r, dict, key, hash);
    if (entry) {
        entry->value = value;
        return;
    }
    if (dict->count == dict->capacity) grow_dict(r, dict);
    dict->entries[dict->count] = (jentry){key, value, hash};
    if (dict->index) index_entry(dict, dict->count);
    dict->count++;
}

bool jdict_get(jrender *r, const jdict *dict, jvalue key, jvalue *value)
{
    const jentry *entry = jdict_entry(r, dict, key, jinja_hash(r, key));
    if (entry) *value = entry->value;
    return entry != NULL;
}

bool jdict_find(const jdict *dict, const jstring *key, jvalue *value)
{
    const jentry *entry = jdict_entry(NULL, dict, jstr(key), hash_bytes(key->data, key->length));
    if (entry) *value = entry->value;
    return entry != NULL;
}
