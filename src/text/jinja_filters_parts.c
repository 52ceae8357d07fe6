// Filters that hand out parts, one at a time: the items of dicts, batches and slices.
#include "text/jinja_builtin.h"
#include "text/jinja_render.h"

static bool given_some(jvalue v)
{
    return v.kind != J_MISSING && v.kind != J_NONE;
}

static bool next_item(jrender *r, jiterator *it, jvalue *item)
{
    if (it->source.kind == J_UNDEFINED) return false;
    if (it->source.kind != J_DICT) jinja_raise(r, "Can only get item pairs from a mapping.");
    if (it->position >= it->source.dict->count) return false;
    const jentry *entry = &it->source.dict->entries[it->position++];
    *item = jinja_pair(r, entry->key, entry->value);
    return true;
}

jvalue jinja_filter_items(jrender *r, jvalue *v)
{
    return jinja_generator(r, next_item, v[0], NULL);
}

typedef struct batches {
    jvalue size, fill;
    jiterator source;
    jvalue pending; // the item that did not fit into the last batch
    bool started;
} batches;

static bool next_batch(jrender *r, jiterator *it, jvalue *item)
{
    batches *b = it->state;
    jlist *batch = jlist_new(r, 0);
    jvalue next;
    if (!b->started) {
        b->started = true;
        jiterator_begin(r, it->source, &b->source);
    }
    if (b->pending.kind != J_MISSING) jlist_append(r, batch, b->pending);
    b->pending = jmissing();
    while (jiterator_next(r, &b->source, &next)) {
        if (jinja_equal(r, jint((int64_t)batch->count), b->size)) {
            b->pending = next;
            return *item = jinja_list(batch), true;
        }
        jlist_append(r, batch, next);
    }
    if (!batch->count) return false;
    if (given_some(b->fill) && jinja_compare(r, JO_LT, jint((int64_t)batch->count), b->size)) {
        jvalue missing = jinja_binary(r, JO_SUB, b->size, jint((int64_t)batch->count));
        jlist *one = jlist_new(r, 1);
        jlist_append(r, one, b->fill);
        *item = jinja_binary(r, JO_ADD, jinja_list(batch), jinja_binary(r, JO_MUL, jinja_list(one), missing));
        return true;
    }
    return *item = jinja_list(batch), true;
}

jvalue jinja_filter_batch(jrender *r, jvalue *v)
{
    batches *b = jinja_alloc(r, 1, sizeof *b);
    *b = (batches){.size = v[1], .fill = v[2], .pending = jmissing()};
    return jinja_generator(r, next_batch, v[0], b);
}

typedef struct slices {
    jlist *items;
    jvalue count, fill;
    int64_t number, per_slice, with_extra, offset, limit;
} slices;

static bool next_slice(jrender *r, jiterator *it, jvalue *item)
{
    slices *s = it->state;
    if (!s->items) {
        s->items = jinja_collect(r, it->source);
        jvalue length = jint((int64_t)s->items->count);
        jvalue per_slice = jinja_binary(r, JO_FLOORDIV, length, s->count),
               extra = jinja_binary(r, JO_MOD, length, s->count);
        s->limit = jinja_index(r, s->count, "'%s' object cannot be interpreted as an integer");
        s->per_slice = jinteger(per_slice);
        s->with_extra = jinteger(extra);
    }
    if (s->number >= s->limit) return false;
    int64_t begin = s->offset + s->number * s->per_slice;
    if (s->number < s->with_extra) s->offset++;
    int64_t end = s->offset + (s->number + 1) * s->per_slice;
    jlist *part = jlist_new(r, 0);
    for (int64_t i = begin; i < end && i < (int64_t)s->items->count; i++)
        jlist_append(r, part, s->items->items[i]);
    if (given_some(s->fill) && s->number >= s->with_extra) jlist_append(r, part, s->fill);
    s->number++;
    return *item = jinja_list(part), true;
}

jvalue jinja_filter_slice(jrender *r, jvalue *v)
{
    slices *s = jinja_alloc(r, 1, sizeof *s);
    s->count = v[1];
    s->fill = v[2];
    return jinja_generator(r, next_slice, v[0], s);
}
