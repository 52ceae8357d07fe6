// Filters over sequences and dicts. Those that are generators in Jinja2 are lazy here too.
#include "text/jinja_builtin.h"
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <string.h>

static bool given(jvalue v)
{
    return v.kind != J_MISSING;
}
static bool given_some(jvalue v)
{
    return v.kind != J_MISSING && v.kind != J_NONE;
}
// The argument `reverse` of sorted(), which takes integers only.
static bool reversed(jrender *r, jvalue v)
{
    return given(v) && jinja_index(r, v, "'%s' object cannot be interpreted as an integer") != 0;
}

static bool flag(jrender *r, jvalue v)
{
    return given(v) && jinja_truth(r, v);
}

// ---- attributes by path ----

typedef struct getter {
    jlist *parts; // names and numbers; empty: the item itself
    bool ignore_case;
    jvalue otherwise; // for what is undefined; J_MISSING: none
} getter;

static bool all_digits(const jstring *s)
{
    for (size_t i = 0; i < s->length;) {
        uint32_t c;
        i += jinja_decode(s->data + i, &c);
        if (!jinja_is_digit(c)) return false;
    }
    return s->length > 0;
}

static void add_part(jrender *r, jlist *parts, const jstring *name)
{
    int64_t number = 0;
    if (!all_digits(name) || name->length > 18 || !jis_ascii(name)) {
        jlist_append(r, parts, jstr(name));
        return;
    }
    for (size_t i = 0; i < name->length; i++) number = number * 10 + (name->data[i] - '0');
    jlist_append(r, parts, jint(number));
}

static jlist *split_on(jrender *r, const jstring *s, char separator)
{
    jlist *parts = jlist_new(r, 0);
    size_t begin = 0;
    for (size_t i = 0; i <= s->length; i++) {
        if (i < s->length && s->data[i] != separator) continue;
        jlist_append(r, parts, jinja_string_part(r, s, begin, i));
        begin = i + 1;
    }
    return parts;
}

static getter new_getter(jrender *r, jvalue attribute, bool ignore_case, jvalue otherwise)
{
    getter g = {jlist_new(r, 1), ignore_case, otherwise.kind == J_NONE ? jmissing() : otherwise};
    if (attribute.kind == J_STRING) {
        const jlist *names = split_on(r, attribute.string, '.');
        for (size_t i = 0; i < names->count; i++) add_part(r, g.parts, names->items[i].string);
    } else if (given_some(attribute)) {
        jlist_append(r, g.parts, attribute);
    }
    return g;
}

static jvalue get(jrender *r, const getter *g, jvalue item)
{
    for (size_t i = 0; i < g->parts->count; i++) {
        item = jinja_item(r, item, g->parts->items[i]);
        if (item.kind == J_UNDEFINED && given(g->otherwise)) item = g->otherwise;
    }
    if (g->ignore_case && item.kind == J_STRING) return jinja_change_case(r, item.string, JCASE_LOWER);
    return item;
}

// ---- order ----

static jvalue filter_sort(jrender *r, jvalue *v)
{
    jlist *items = jinja_collect(r, v[0]), *keys = jlist_new(r, items->count), *names;
    bool ignore_case = !flag(r, v[2]), backwards = reversed(r, v[1]);
    names = v[3].kind == J_STRING ? split_on(r, v[3].string, ',') : jlist_new(r, 1);
    if (v[3].kind != J_STRING) jlist_append(r, names, given(v[3]) ? v[3] : jnone());
    getter *getters = jinja_alloc(r, names->count, sizeof *getters);
    for (size_t i = 0; i < names->count; i++)
        getters[i] = new_getter(r, names->items[i], ignore_case, jmissing());
    for (size_t i = 0; i < items->count; i++) {
        jlist *key = jlist_new(r, names->count);
        for (size_t k = 0; k < names->count; k++) jlist_append(r, key, get(r, &getters[k], items->items[i]));
        jlist_append(r, keys, jinja_list(key));
    }
    jinja_sort(r, items, keys, backwards);
    return jinja_list(items);
}

static const jdict *needs_items(jrender *r, jvalue value)
{
    if (value.kind == J_UNDEFINED) jinja_raise_undefined(r, value.undefined);
    if (value.kind != J_DICT) jinja_raise(r, "'%s' object has no attribute 'items'", jinja_type_name(value));
    return value.dict;
}

static jvalue filter_dictsort(jrender *r, jvalue *v)
{
    bool by_value = given(v[2]) && v[2].kind == J_STRING && jstring_is(v[2].string, "value");
    bool by_key = !given(v[2]) || (v[2].kind == J_STRING && jstring_is(v[2].string, "key"));
    if (!by_key && !by_value) jinja_raise(r, "You can only sort by either \"key\" or \"value\"");
    const jdict *dict = needs_items(r, v[0]);
    bool backwards = reversed(r, v[3]);
    jlist *items = jlist_new(r, dict->count), *keys = jlist_new(r, dict->count);
    getter g = new_getter(r, jnone(), !flag(r, v[1]), jmissing());
    for (size_t i = 0; i < dict->count; i++) {
        jlist_append(r, items, jinja_pair(r, dict->entries[i].key, dict->entries[i].value));
        jlist_append(r, keys, get(r, &g, by_value ? dict->entries[i].value : dict->entries[i].key));
    }
    jinja_sort(r, items, keys, backwards);
    return jinja_list(items);
}

static jvalue extreme(jrender *r, jvalue *v, joperator op)
{
    jiterator it;
    jvalue best, item;
    jiterator_begin(r, v[0], &it);
    if (!jiterator_next(r, &it, &best))
        return jinja_undefined_hint(r, "No aggregated item, sequence was empty.", NULL);
    getter g = new_getter(r, v[2], !flag(r, v[1]), jmissing());
    jvalue best_key = get(r, &g, best);
    while (jiterator_next(r, &it, &item)) {
        jvalue key = get(r, &g, item);
        if (!jinja_compare(r, op, key, best_key)) continue;
        best = item;
        best_key = key;
    }
    return best;
}

static jvalue filter_min(jrender *r, jvalue *v)
{
    return extreme(r, v, JO_LT);
}
static jvalue filter_max(jrender *r, jvalue *v)
{
    return extreme(r, v, JO_GT);
}

static jvalue filter_groupby(jrender *r, jvalue *v)
{
    jlist *items = jinja_collect(r, v[0]), *keys = jlist_new(r, items->count), *groups = jlist_new(r, 0),
          *members = NULL;
    bool case_sensitive = flag(r, v[3]);
    getter key_of = new_getter(r, v[1], !case_sensitive, v[2]), shown = new_getter(r, v[1], false, v[2]);
    for (size_t i = 0; i < items->count; i++) jlist_append(r, keys, get(r, &key_of, items->items[i]));
    jinja_sort(r, items, keys, false);
    for (size_t i = 0; i < items->count; i++) {
        if (i == 0 || !(jinja_identical(keys->items[i - 1], keys->items[i]) ||
                        jinja_equal(r, keys->items[i - 1], keys->items[i]))) {
            members = jlist_new(r, 0);
            jvalue group = jinja_pair(r, get(r, &shown, items->items[i]), jinja_list(members));
            group.list->is_group = true;
            jlist_append(r, groups, group);
        }
        jlist_append(r, members, items->items[i]);
    }
    return jinja_list(groups);
}

// ---- single items and sums ----

static jvalue filter_first(jrender *r, jvalue *v)
{
    jiterator it;
    jvalue item;
    jiterator_begin(r, v[0], &it);
    return jiterator_next(r, &it, &item)
               ? item
               : jinja_undefined_hint(r, "No first item, sequence was empty.", NULL);
}

static jvalue filter_last(jrender *r, jvalue *v)
{
    jvalue backwards = jinja_reversed(r, v[0]), item;
    if (!given(backwards)) jinja_raise(r, "'%s' object is not reversible", jinja_type_name(v[0]));
    return jiterator_next(r, backwards.iterator, &item)
               ? item
               : jinja_undefined_hint(r, "No last item, sequence was empty.", NULL);
}

static jvalue filter_reverse(jrender *r, jvalue *v)
{
    if (v[0].kind == J_STRING) return jinja_slice(r, v[0], jnone(), jnone(), jint(-1));
    jvalue backwards = jinja_reversed(r, v[0]);
    if (given(backwards)) return backwards;
    if (!jinja_is_iterable(v[0])) jinja_raise(r, "argument must be iterable");
    jlist *list = jinja_collect(r, v[0]);
    for (size_t i = 0; i < list->count / 2; i++) {
        jvalue item = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = item;
    }
    return jinja_list(list);
}

static jvalue filter_sum(jrender *r, jvalue *v)
{
    jiterator it;
    jvalue total = given(v[2]) ? v[2] : jint(0), item;
    getter g = new_getter(r, v[1], false, jmissing());
    jiterator_begin(r, v[0], &it);
    if (total.kind == J_STRING) jinja_raise(r, "sum() can't sum strings [use ''.join(seq) instead]");
    while (jiterator_next(r, &it, &item)) total = jinja_binary(r, JO_ADD, total, get(r, &g, item));
    return total;
}

static jvalue filter_join(jrender *r, jvalue *v)
{
    jiterator it;
    jvalue item;
    const jstring *separator = given(v[1]) ? jinja_soft_str(r, v[1]) : JINJA_STRING("");
    getter g = new_getter(r, v[2], false, jmissing());
    jlist *strings = jlist_new(r, 0);
    bool markup = r->escapes && separator->markup;
    jiterator_begin(r, v[0], &it);
    while (jiterator_next(r, &it, &item)) {
        jlist_append(r, strings, jstr(jinja_soft_str(r, get(r, &g, item))));
        markup |= r->escapes && strings->items[strings->count - 1].string->markup;
    }
    if (!markup) return jstr(jinja_str(r, jinja_join(r, separator, strings)));
    for (size_t i = 0; i < strings->count; i++) strings->items[i] = jinja_escape(r, strings->items[i]);
    return jinja_markup(r, jinja_join(r, jinja_escape(r, jstr(separator)).string, strings));
}

static jvalue filter_length(jrender *r, jvalue *v)
{
    return jint(jinja_length(r, v[0]));
}
static jvalue filter_list(jrender *r, jvalue *v)
{
    return jinja_list(jinja_collect(r, v[0]));
}

// ---- generators ----

// What map, select and the others remember between items.
typedef struct pipeline {
    jvalue name; // of a filter or test; J_MISSING: none
    jarguments arguments;
    getter get;
    bool reject, by_attribute, started, empty;
    jiterator source;
} pipeline;

static jarguments copy_arguments(jrender *r, const jarguments *a)
{
    jarguments copy = {.count = a->count, .num_keywords = a->num_keywords};
    copy.items = jinja_alloc(r, a->count + 1, sizeof *copy.items);
    copy.keywords = jinja_alloc(r, a->num_keywords + 1, sizeof *copy.keywords);
    for (size_t i = 0; i < a->count; i++) copy.items[i] = a->items[i];
    for (size_t i = 0; i < a->num_keywords; i++) copy.keywords[i] = a->keywords[i];
    return copy;
}

static void drop_arguments(jarguments *a, size_t count)
{
    a->items += count;
    a->count -= count;
}

static void prepare_map(jrender *r, pipeline *p)
{
    jvalue attribute = jmissing(), otherwise = jmissing();
    const jstring *unexpected = NULL;
    for (size_t i = 0; i < p->arguments.num_keywords; i++) {
        const jkeyword *keyword = &p->arguments.keywords[i];
        if (jstring_is(keyword->name, "attribute"))
            attribute = keyword->value;
        else if (jstring_is(keyword->name, "default"))
            otherwise = keyword->value;
        else if (!unexpected)
            unexpected = keyword->name;
    }
    if (!p->arguments.count && given(attribute)) {
        if (unexpected)
            jinja_raise(r, "Unexpected keyword argument %.*s", JFMT(jinja_repr(r, jstr(unexpected))));
        p->get = new_getter(r, attribute, false, otherwise);
        return;
    }
    if (!p->arguments.count) jinja_raise(r, "map requires a filter argument");
    p->name = p->arguments.items[0];
    drop_arguments(&p->arguments, 1);
}

static void prepare_select(jrender *r, pipeline *p)
{
    p->get = new_getter(r, jmissing(), false, jmissing());
    if (p->by_attribute) {
        if (!p->arguments.count) jinja_raise(r, "Missing parameter for attribute name");
        p->get = new_getter(r, p->arguments.items[0], false, jmissing());
        drop_arguments(&p->arguments, 1);
    }
    if (!p->arguments.count) return;
    p->name = p->arguments.items[0];
    drop_arguments(&p->arguments, 1);
}

static bool start(jrender *r, pipeline *p, jvalue source, void (*prepare)(jrender *, pipeline *))
{
    if (!p->started) {
        p->started = true;
        p->empty = !jinja_truth(r, source);
        if (p->empty) return false;
        prepare(r, p);
        jiterator_begin(r, source, &p->source);
    }
    return !p->empty;
}

static bool next_mapped(jrender *r, jiterator *it, jvalue *item)
{
    pipeline *p = it->state;
    if (!start(r, p, it->source, prepare_map) || !jiterator_next(r, &p->source, item)) return false;
    *item = given(p->name) ? jinja_call_filter(r, p->name, *item, &p->arguments) : get(r, &p->get, *item);
    return true;
}

static bool next_selected(jrender *r, jiterator *it, jvalue *item)
{
    pipeline *p = it->state;
    if (!start(r, p, it->source, prepare_select)) return false;
    while (jiterator_next(r, &p->source, item)) {
        jvalue value = get(r, &p->get, *item);
        if (given(p->name)) value = jinja_call_test(r, p->name, value, &p->arguments);
        if (jinja_truth(r, value) != p->reject) return true;
    }
    return false;
}

static jvalue new_pipeline(jrender *r, jvalue source, const jarguments *a,
                           bool (*next)(jrender *, jiterator *, jvalue *), bool reject, bool by_attribute)
{
    pipeline *p = jinja_alloc(r, 1, sizeof *p);
    *p = (pipeline){.name = jmissing(),
                    .arguments = copy_arguments(r, a),
                    .reject = reject,
                    .by_attribute = by_attribute};
    return jinja_generator(r, next, source, p);
}

static jvalue filter_map(jrender *r, jvalue v, const jarguments *a)
{
    return new_pipeline(r, v, a, next_mapped, false, false);
}
static jvalue filter_select(jrender *r, jvalue v, const jarguments *a)
{
    return new_pipeline(r, v, a, next_selected, false, false);
}
static jvalue filter_reject(jrender *r, jvalue v, const jarguments *a)
{
    return new_pipeline(r, v, a, next_selected, true, false);
}
static jvalue filter_selectattr(jrender *r, jvalue v, const jarguments *a)
{
    return new_pipeline(r, v, a, next_selected, false, true);
}
static jvalue filter_rejectattr(jrender *r, jvalue v, const jarguments *a)
{
    return new_pipeline(r, v, a, next_selected, true, true);
}

static bool next_unique(jrender *r, jiterator *it, jvalue *item)
{
    pipeline *p = it->state;
    jdict *seen = it->inner ? it->inner->state : NULL;
    jvalue ignored;
    if (!p->started) {
        p->started = true;
        jiterator_begin(r, it->source, &p->source);
    }
    while (jiterator_next(r, &p->source, item)) {
        jvalue key = get(r, &p->get, *item);
        if (jdict_get(r, seen, key, &ignored)) continue;
        jdict_set(r, seen, key, jnone());
        return true;
    }
    return false;
}

static jvalue filter_unique(jrender *r, jvalue *v)
{
    pipeline *p = jinja_alloc(r, 1, sizeof *p);
    p->get = new_getter(r, v[2], !flag(r, v[1]), jmissing());
    jvalue generator = jinja_generator(r, next_unique, v[0], p);
    generator.iterator->inner = jinja_alloc(r, 1, sizeof *generator.iterator->inner);
    generator.iterator->inner->state = jdict_new(r);
    return generator;
}

static jvalue filter_random(jrender *r, jvalue value, const jarguments *a)
{
    (void)value, (void)a;
    jinja_raise(r, "the filter random is not supported: prompts are reproducible");
}

const jbuiltin jinja_sequence_filters[] = {
    JINJA_BUILTIN("batch", "do_batch", "value linecount fill_with", 2, 0, jinja_filter_batch),
    JINJA_BUILTIN("count", "!len", "obj", 1, 0, filter_length),
    JINJA_BUILTIN("dictsort", "do_dictsort", "value case_sensitive by reverse", 1, 0, filter_dictsort),
    JINJA_BUILTIN("first", "sync_do_first", "seq", 1, 1, filter_first),
    JINJA_BUILTIN("groupby", "sync_do_groupby", "value attribute default case_sensitive", 2, 1,
                  filter_groupby),
    JINJA_BUILTIN("items", "do_items", "value", 1, 0, jinja_filter_items),
    JINJA_BUILTIN("join", "sync_do_join", "value d attribute", 1, 1, filter_join),
    JINJA_BUILTIN("last", "do_last", "seq", 1, 1, filter_last),
    JINJA_BUILTIN("length", "!len", "obj", 1, 0, filter_length),
    JINJA_BUILTIN("list", "sync_do_list", "value", 1, 0, filter_list),
    JINJA_BUILTIN_ANY("map", "sync_do_map", filter_map),
    JINJA_BUILTIN("max", "do_max", "value case_sensitive attribute", 1, 1, filter_max),
    JINJA_BUILTIN("min", "do_min", "value case_sensitive attribute", 1, 1, filter_min),
    JINJA_BUILTIN_ANY("random", "do_random", filter_random),
    JINJA_BUILTIN_ANY("reject", "sync_do_reject", filter_reject),
    JINJA_BUILTIN_ANY("rejectattr", "sync_do_rejectattr", filter_rejectattr),
    JINJA_BUILTIN("reverse", "do_reverse", "value", 1, 0, filter_reverse),
    JINJA_BUILTIN_ANY("select", "sync_do_select", filter_select),
    JINJA_BUILTIN_ANY("selectattr", "sync_do_selectattr", filter_selectattr),
    JINJA_BUILTIN("slice", "sync_do_slice", "value slices fill_with", 2, 0, jinja_filter_slice),
    JINJA_BUILTIN("sort", "do_sort", "value reverse case_sensitive attribute", 1, 1, filter_sort),
    JINJA_BUILTIN("sum", "sync_do_sum", "iterable attribute start", 1, 1, filter_sum),
    JINJA_BUILTIN("unique", "sync_do_unique", "value case_sensitive attribute", 1, 1, filter_unique),
    {0},
};
