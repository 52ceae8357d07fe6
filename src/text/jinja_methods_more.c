// The methods of everything but strings.
#include "text/jinja_builtin.h"
#include "text/jinja_methods.h"
#include "text/jinja_render.h"
#include <math.h>
#include <string.h>

static bool same(jrender *r, jvalue a, jvalue b)
{
    return jinja_identical(a, b) || jinja_equal(r, a, b);
}

// ---- lists and tuples ----

static jvalue list_index(jrender *r, jvalue self, const jarguments *a)
{
    const jlist *list = self.list;
    int64_t count = (int64_t)list->count, bounds[2] = {0, INT64_MAX};
    jmethod_between(r, jinja_type_name(self), "index", a, 1, 3);
    for (size_t i = 1; i < a->count; i++) {
        bounds[i - 1] =
            jinja_index(r, a->items[i], "slice indices must be integers or have an __index__ method");
        if (bounds[i - 1] < 0) bounds[i - 1] = bounds[i - 1] + count < 0 ? 0 : bounds[i - 1] + count;
    }
    jinja_step(r, list->count);
    for (int64_t i = bounds[0]; i < count && i < bounds[1]; i++)
        if (same(r, list->items[i], a->items[0])) return jint(i);
    if (self.kind == J_TUPLE) jinja_raise(r, "tuple.index(x): x not in tuple");
    jinja_raise(r, "%.*s is not in list", JFMT(jinja_repr(r, a->items[0])));
}

static jvalue list_count(jrender *r, jvalue self, const jarguments *a)
{
    jvalue item = jmethod_one(r, jinja_type_name(self), "count", a);
    int64_t count = 0;
    jinja_step(r, self.list->count);
    for (size_t i = 0; i < self.list->count; i++) count += same(r, self.list->items[i], item);
    return jint(count);
}

static jvalue list_copy(jrender *r, jvalue self, const jarguments *a)
{
    jmethod_none(r, "list", "copy", a);
    return jinja_list(jinja_collect(r, self));
}

// ---- dicts ----

static jvalue dict_get(jrender *r, jvalue self, const jarguments *a)
{
    jvalue value;
    jmethod_between(r, "dict", "get", a, 1, 2);
    if (jdict_get(r, self.dict, a->items[0], &value)) return value;
    return a->count > 1 ? a->items[1] : jnone();
}

static jvalue view(jrender *r, jvalue self, const jarguments *a, const char *name, enum jview_kind kind)
{
    jmethod_none(r, "dict", name, a);
    jview *view = jinja_alloc(r, 1, sizeof *view);
    *view = (jview){self.dict, kind};
    return (jvalue){.kind = J_VIEW, .view = view};
}

static jvalue dict_keys(jrender *r, jvalue self, const jarguments *a)
{
    return view(r, self, a, "keys", JVIEW_KEYS);
}
static jvalue dict_values(jrender *r, jvalue self, const jarguments *a)
{
    return view(r, self, a, "values", JVIEW_VALUES);
}
static jvalue dict_items(jrender *r, jvalue self, const jarguments *a)
{
    return view(r, self, a, "items", JVIEW_ITEMS);
}

static jvalue dict_copy(jrender *r, jvalue self, const jarguments *a)
{
    jmethod_none(r, "dict", "copy", a);
    jdict *copy = jdict_new(r);
    for (size_t i = 0; i < self.dict->count; i++)
        jdict_set(r, copy, self.dict->entries[i].key, self.dict->entries[i].value);
    return (jvalue){.kind = J_DICT, .dict = copy};
}

static jvalue dict_fromkeys(jrender *r, jvalue self, const jarguments *a)
{
    jiterator it;
    jvalue key;
    (void)self;
    jmethod_between(r, "dict", "fromkeys", a, 1, 2);
    jiterator_begin(r, a->items[0], &it);
    jdict *dict = jdict_new(r);
    while (jiterator_next(r, &it, &key)) jdict_set(r, dict, key, a->count > 1 ? a->items[1] : jnone());
    return (jvalue){.kind = J_DICT, .dict = dict};
}

static jvalue view_isdisjoint(jrender *r, jvalue self, const jarguments *a)
{
    jiterator it;
    jvalue item;
    jiterator_begin(r, jmethod_one(r, jinja_type_name(self), "isdisjoint", a), &it);
    while (jiterator_next(r, &it, &item))
        if (jinja_contains(r, self, item)) return jbool(false);
    return jbool(true);
}

// ---- numbers and ranges ----

static jvalue int_bit_length(jrender *r, jvalue self, const jarguments *a)
{
    jmethod_none(r, "int", "bit_length", a);
    int64_t value = jinteger(self);
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    return jint(magnitude ? 64 - __builtin_clzll(magnitude) : 0);
}

static jvalue int_conjugate(jrender *r, jvalue self, const jarguments *a)
{
    jmethod_none(r, jinja_type_name(self), "conjugate", a);
    return self.kind == J_BOOL ? jint(jinteger(self)) : self;
}

static jvalue float_is_integer(jrender *r, jvalue self, const jarguments *a)
{
    jmethod_none(r, "float", "is_integer", a);
    return jbool(isfinite(self.real) && self.real == floor(self.real));
}

static jvalue range_index(jrender *r, jvalue self, const jarguments *a)
{
    jvalue item = jmethod_one(r, "range", "index", a);
    if (!jinja_contains(r, self, item))
        jinja_raise(r, jis_integer(item) ? "%.*s is not in range" : "sequence.index(x): x not in sequence",
                    JFMT(jinja_repr(r, item)));
    int64_t value = item.kind == J_FLOAT ? (int64_t)item.real : jinteger(item);
    return jint((value - self.range->start) / self.range->step);
}

static jvalue range_count(jrender *r, jvalue self, const jarguments *a)
{
    return jint(jinja_contains(r, self, jmethod_one(r, "range", "count", a)));
}

// ---- what Jinja2 adds ----

static jvalue loop_cycle(jrender *r, jvalue self, const jarguments *a)
{
    if (a->num_keywords)
        jinja_raise(r, "LoopContext.cycle() got an unexpected keyword argument '%.*s'",
                    JFMT(a->keywords[0].name));
    if (!a->count) jinja_raise(r, "no items for cycling given");
    return a->items[(uint64_t)self.loop->index0 % a->count];
}

static jvalue loop_changed(jrender *r, jvalue self, const jarguments *a)
{
    jlist *values = jlist_new(r, a->count);
    if (a->num_keywords)
        jinja_raise(r, "LoopContext.changed() got an unexpected keyword argument '%.*s'",
                    JFMT(a->keywords[0].name));
    for (size_t i = 0; i < a->count; i++) jlist_append(r, values, a->items[i]);
    bool changed =
        !self.loop->changed || !jinja_equal(r, jinja_tuple(self.loop->changed), jinja_tuple(values));
    if (changed) self.loop->changed = values;
    return jbool(changed);
}

static jvalue cycler_next(jrender *r, jvalue self, const jarguments *a)
{
    jinja_bind(r, "Cycler.next", "", 0, 1, a, NULL);
    jvalue item = self.cycler->items->items[self.cycler->position];
    self.cycler->position = (self.cycler->position + 1) % self.cycler->items->count;
    return item;
}

static jvalue cycler_reset(jrender *r, jvalue self, const jarguments *a)
{
    jinja_bind(r, "Cycler.reset", "", 0, 1, a, NULL);
    self.cycler->position = 0;
    return jnone();
}

// ---- the tables ----

static const jmethod_row of_list[] = {{"index", list_index},
                                      {"count", list_count},
                                      {"copy", list_copy},
                                      {NULL, NULL}};
static const jmethod_row of_tuple[] = {{"index", list_index}, {"count", list_count}, {NULL, NULL}};
static const jmethod_row of_dict[] = {
    {"get", dict_get},   {"items", dict_items},       {"keys", dict_keys}, {"values", dict_values},
    {"copy", dict_copy}, {"fromkeys", dict_fromkeys}, {NULL, NULL}};
static const jmethod_row of_view[] = {{"isdisjoint", view_isdisjoint}, {NULL, NULL}};
static const jmethod_row of_int[] = {{"bit_length", int_bit_length},
                                     {"conjugate", int_conjugate},
                                     {NULL, NULL}};
static const jmethod_row of_float[] = {{"is_integer", float_is_integer},
                                       {"conjugate", int_conjugate},
                                       {NULL, NULL}};
static const jmethod_row of_range[] = {{"index", range_index}, {"count", range_count}, {NULL, NULL}};
static const jmethod_row of_loop[] = {{"cycle", loop_cycle}, {"changed", loop_changed}, {NULL, NULL}};
static const jmethod_row of_cycler[] = {{"next", cycler_next}, {"reset", cycler_reset}, {NULL, NULL}};
static const jmethod_row of_dict_type[] = {{"fromkeys", dict_fromkeys}, {NULL, NULL}};

static const jmethod_row *methods_of(jvalue object)
{
    switch (object.kind) {
    case J_STRING: return jmethods_of_string;
    case J_LIST: return of_list;
    case J_TUPLE: return of_tuple;
    case J_DICT: return of_dict;
    case J_VIEW: return object.view->kind == JVIEW_VALUES ? NULL : of_view;
    case J_BOOL:
    case J_INT: return of_int;
    case J_FLOAT: return of_float;
    case J_RANGE: return of_range;
    case J_LOOP: return of_loop;
    case J_CYCLER: return of_cycler;
    case J_FUNCTION: return strcmp(object.function->type, "TemplateDict") == 0 ? of_dict_type : NULL;
    default: return NULL;
    }
}

bool jinja_find_method(jvalue object, const jstring *name, const char **stable_name, jcallback *call)
{
    for (const jmethod_row *row = methods_of(object); row && row->name; row++) {
        if (!jstring_is(name, row->name)) continue;
        *stable_name = row->name;
        *call = row->call;
        return true;
    }
    return false;
}
