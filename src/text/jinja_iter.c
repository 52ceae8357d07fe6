// Iteration over everything that Python iterates over, lazily where Python is lazy.
#include "text/jinja_render.h"
#include <string.h>

static bool next_of_list(jrender *r, jiterator *it, jvalue *item)
{
    (void)r;
    if (it->position >= it->source.list->count) return false;
    *item = it->source.list->items[it->position++];
    return true;
}

static bool next_of_string(jrender *r, jiterator *it, jvalue *item)
{
    size_t length;
    if (it->position >= it->source.string->length) return false;
    jstring plain = *it->source.string;
    plain.markup = false; // str.__iter__ knows nothing of Markup
    *item = jinja_character(r, &plain, it->position, &length);
    it->position += length;
    return true;
}

static bool next_of_keys(jrender *r, jiterator *it, jvalue *item)
{
    (void)r;
    if (it->position >= it->source.dict->count) return false;
    *item = it->source.dict->entries[it->position++].key;
    return true;
}

static jvalue view_item(jrender *r, const jview *view, size_t i)
{
    const jentry *entry = &view->dict->entries[i];
    if (view->kind == JVIEW_ITEMS) return jinja_pair(r, entry->key, entry->value);
    return view->kind == JVIEW_KEYS ? entry->key : entry->value;
}

static bool next_of_view(jrender *r, jiterator *it, jvalue *item)
{
    if (it->position >= it->source.view->dict->count) return false;
    *item = view_item(r, it->source.view, it->position++);
    return true;
}

static bool next_of_range(jrender *r, jiterator *it, jvalue *item)
{
    (void)r;
    const jrange *range = it->source.range;
    if (it->position >= range->count) return false;
    *item = jint(range->start + (int64_t)it->position++ * range->step);
    return true;
}

static bool next_of_nothing(jrender *r, jiterator *it, jvalue *item)
{
    (void)r, (void)it, (void)item;
    return false;
}

static bool next_of_iterator(jrender *r, jiterator *it, jvalue *item)
{
    return jiterator_next(r, it->source.iterator, item);
}

static bool next_of_loop(jrender *r, jiterator *it, jvalue *item)
{
    jvalue value;
    if (!jloop_next(r, it->source.loop, &value)) return false;
    *item = jinja_pair(r, value, it->source);
    return true;
}

void jiterator_begin(jrender *r, jvalue value, jiterator *it)
{
    *it = (jiterator){.source = value};
    switch (value.kind) {
    case J_LIST:
    case J_TUPLE: it->next = next_of_list; break;
    case J_STRING: it->next = next_of_string; break;
    case J_DICT: it->next = next_of_keys; break;
    case J_VIEW: it->next = next_of_view; break;
    case J_RANGE: it->next = next_of_range; break;
    case J_UNDEFINED: it->next = next_of_nothing; break;
    case J_ITERATOR: it->next = next_of_iterator; break;
    case J_LOOP: it->next = next_of_loop; break;
    case J_SELF: jinja_raise(r, "0"); // the KeyError of self[0]
    default: jinja_raise(r, "'%s' object is not iterable", jinja_type_name(value));
    }
}

// A generator that is entered while it runs fails, as Python's do; one that ended stays at its end.
bool jiterator_next(jrender *r, jiterator *it, jvalue *item)
{
    if (it->finished) return false;
    if (it->running) jinja_raise(r, "generator already executing");
    jinja_step(r, 1);
    jinja_enter(r);
    it->running = true;
    bool found = it->next(r, it, item);
    it->running = false;
    it->finished = !found;
    jinja_leave(r);
    return found;
}

jlist *jinja_collect(jrender *r, jvalue iterable)
{
    jiterator it;
    jvalue item;
    size_t known = iterable.kind == J_LIST || iterable.kind == J_TUPLE ? iterable.list->count : 0;
    jiterator_begin(r, iterable, &it);
    jlist *list = jlist_new(r, known);
    while (jiterator_next(r, &it, &item)) jlist_append(r, list, item);
    return list;
}

jvalue jinja_generator(jrender *r, bool (*next)(jrender *, jiterator *, jvalue *), jvalue source, void *state)
{
    jiterator *it = jinja_alloc(r, 1, sizeof *it);
    *it = (jiterator){.next = next, .type = "generator", .source = source, .state = state};
    return (jvalue){.kind = J_ITERATOR, .iterator = it};
}

// ---- backwards ----

static bool next_backwards(jrender *r, jiterator *it, jvalue *item)
{
    if (it->position == 0) return false;
    size_t i = --it->position;
    jvalue source = it->source;
    switch (source.kind) {
    case J_LIST:
    case J_TUPLE: *item = source.list->items[i]; break;
    case J_DICT: *item = source.dict->entries[i].key; break;
    case J_VIEW: *item = view_item(r, source.view, i); break;
    default: *item = jint(source.range->start + (int64_t)i * source.range->step);
    }
    return true;
}

static bool next_character_backwards(jrender *r, jiterator *it, jvalue *item)
{
    size_t end = it->position, length;
    if (end == 0) return false;
    do it->position--;
    while (((unsigned char)it->source.string->data[it->position] & 0xC0) == 0x80);
    *item = jinja_character(r, it->source.string, it->position, &length);
    return true;
}

jvalue jinja_reversed(jrender *r, jvalue value)
{
    static const char *const view_types[] = {
        [JVIEW_KEYS] = "dict_reversekeyiterator",
        [JVIEW_VALUES] = "dict_reversevalueiterator",
        [JVIEW_ITEMS] = "dict_reverseitemiterator",
    };
    const char *type;
    size_t count;
    switch (value.kind) {
    case J_LIST: type = "list_reverseiterator", count = value.list->count; break;
    case J_TUPLE: type = "reversed", count = value.list->count; break;
    case J_STRING: type = "reversed", count = value.string->length; break;
    case J_DICT: type = "dict_reversekeyiterator", count = value.dict->count; break;
    case J_VIEW: type = view_types[value.view->kind], count = value.view->dict->count; break;
    case J_RANGE: type = "range_iterator", count = value.range->count; break;
    case J_UNDEFINED: type = "reversed", count = 0; break;
    default: return jmissing();
    }
    jvalue it =
        jinja_generator(r, value.kind == J_STRING ? next_character_backwards : next_backwards, value, NULL);
    it.iterator->type = type;
    it.iterator->position = count;
    return it;
}

// ---- loops ----

bool jloop_next(jrender *r, jloop *loop, jvalue *item)
{
    if (loop->after.kind != J_MISSING) {
        *item = loop->after;
        loop->after = jmissing();
    } else if (!jiterator_next(r, loop->source, item)) {
        return false;
    }
    loop->index0++;
    loop->before = loop->current;
    loop->current = *item;
    return true;
}

// The length of what is iterated; a generator is run to its end for it.
int64_t jloop_length(jrender *r, jloop *loop)
{
    if (loop->length >= 0) return loop->length;
    if (jinja_has_length(loop->iterable)) return loop->length = jinja_length(r, loop->iterable);
    jlist *rest = jlist_new(r, 0);
    jvalue item;
    while (jiterator_next(r, loop->source, &item)) jlist_append(r, rest, item);
    jiterator_begin(r, jinja_list(rest), loop->source);
    return loop->length = (int64_t)rest->count + loop->index0 + 1 + (loop->after.kind != J_MISSING);
}
