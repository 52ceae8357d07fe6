// Attributes, subscripts and slices, by the rules of the immutable sandbox.
#include "text/jinja_render.h"
#include <string.h>

// ---- subscripts ----

static bool position_of(jvalue index, size_t count, size_t *position)
{
    int64_t i = jinteger(index);
    if (i < 0) i += (int64_t)count;
    *position = (size_t)i;
    return i >= 0 && (uint64_t)i < count;
}

// Python's object[index]; false where it raises a TypeError or LookupError.
static bool subscript(jrender *r, jvalue object, jvalue index, jvalue *value)
{
    size_t position, length;
    switch (object.kind) {
    case J_LIST:
    case J_TUPLE:
        if (!jis_integer(index) || !position_of(index, object.list->count, &position)) return false;
        return *value = object.list->items[position], true;
    case J_STRING:
        jinja_pass_over(r, object.string->length);
        if (!jis_integer(index) || !position_of(index, object.string->chars, &position)) return false;
        return *value = jinja_character(r, object.string, jinja_offset(object.string, position), &length),
               true;
    case J_RANGE:
        if (!jis_integer(index) || !position_of(index, object.range->count, &position)) return false;
        return *value = jint(object.range->start + (int64_t)position * object.range->step), true;
    case J_DICT:
        if (!jinja_is_hashable(r, index)) return false;
        return jdict_get(r, object.dict, index, value);
    case J_UNDEFINED: jinja_raise_undefined(r, object.undefined);
    case J_SELF:
        for (const jnode *node = r->tmpl->blocks; node && index.kind == J_STRING; node = node->block->next)
            if (jstring_equals(node->block->name, index.string))
                return *value = (jvalue){.kind = J_BLOCK, .block = node}, true;
        return false;
    default: return false;
    }
}

// ---- attributes ----

static bool is_mutator(jvalue object, const jstring *name)
{
    static const char *const of_list[] = {"append", "clear",  "pop",    "reverse", "insert",
                                          "sort",   "extend", "remove", NULL};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    const char *const *names = object.kind == J_LIST ? of_list : object.kind == J_DICT ? of_dict : NULL;
    for (; names && *names; names++)
        if (jstring_is(name, *names)) return true;
    return false;
}

// Attributes that Python gives every object. All of them are forbidden.
static bool is_internal(const jstring *name)
{
    static const char *const names[] = {
        "class",        "delattr",  "dir",          "doc",    "eq",        "format",        "ge",
        "getattribute", "getstate", "gt",           "hash",   "init",      "init_subclass", "le",
        "lt",           "ne",       "new",          "reduce", "reduce_ex", "repr",          "setattr",
        "sizeof",       "str",      "subclasshook",
    };
    if (name->length < 5 || memcmp(name->data, "__", 2) != 0 ||
        memcmp(name->data + name->length - 2, "__", 2) != 0)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == name->length - 4 && memcmp(names[i], name->data + 2, name->length - 4) == 0)
            return true;
    return false;
}

static bool loop_member(jrender *r, jloop *loop, const jstring *name, jvalue *value)
{
    if (jstring_is(name, "index"))
        *value = jint(loop->index0 + 1);
    else if (jstring_is(name, "index0"))
        *value = jint(loop->index0);
    else if (jstring_is(name, "first"))
        *value = jbool(loop->index0 == 0);
    else if (jstring_is(name, "depth"))
        *value = jint(loop->depth0 + 1);
    else if (jstring_is(name, "depth0"))
        *value = jint(loop->depth0);
    else if (jstring_is(name, "length"))
        *value = jint(jloop_length(r, loop));
    else if (jstring_is(name, "revindex"))
        *value = jint(jloop_length(r, loop) - loop->index0);
    else if (jstring_is(name, "revindex0"))
        *value = jint(jloop_length(r, loop) - loop->index0 - 1);
    else if (jstring_is(name, "previtem"))
        *value =
            loop->index0 == 0 ? jinja_undefined_hint(r, "there is no previous item", NULL) : loop->before;
    else if (jstring_is(name, "last") || jstring_is(name, "nextitem")) {
        if (loop->after.kind == J_MISSING && !jiterator_next(r, loop->source, &loop->after))
            loop->after = jmissing();
        bool last = loop->after.kind == J_MISSING;
        if (name->length == 4)
            *value = jbool(last);
        else
            *value = last ? jinja_undefined_hint(r, "there is no next item", NULL) : loop->after;
    } else {
        return false;
    }
    return true;
}

static bool macro_member(jrender *r, const jmacro *macro, const jstring *name, jvalue *value)
{
    const jmacro_syntax *syntax = macro->syntax;
    if (jstring_is(name, "name"))
        *value = syntax->name ? jstr(syntax->name) : jnone();
    else if (jstring_is(name, "catch_kwargs"))
        *value = jbool(syntax->uses_kwargs);
    else if (jstring_is(name, "catch_varargs"))
        *value = jbool(syntax->uses_varargs);
    else if (jstring_is(name, "caller"))
        *value = jbool(syntax->uses_caller);
    else if (jstring_is(name, "arguments")) {
        jlist *names = jlist_new(r, syntax->parameters.count);
        for (size_t i = 0; i < syntax->parameters.count; i++)
            jlist_append(r, names, jstr(syntax->parameters.items[i]->name.name));
        *value = jinja_tuple(names);
    } else {
        return false;
    }
    return true;
}

static bool block_member(jrender *r, const jblock *block, const jstring *name, jvalue *value)
{
    if (jstring_is(name, "name")) return *value = jstr(block->name), true;
    if (!jstring_is(name, "super")) return false;
    size_t begin = jtext_begin(r);
    jtext_literal(r, "there is no parent block called ");
    jinja_write_value(r, jstr(block->name));
    jtext_literal(r, ".");
    return *value = jinja_undefined_hint(r, jtext_end(r, begin).string->data, JINJA_STRING("super")), true;
}

static bool number_member(jvalue number, const jstring *name, jvalue *value)
{
    bool is_real = jstring_is(name, "real"), is_imaginary = jstring_is(name, "imag");
    bool is_float = number.kind == J_FLOAT;
    if (!is_real && !is_imaginary &&
        (is_float || (!jstring_is(name, "numerator") && !jstring_is(name, "denominator"))))
        return false;
    if (is_float)
        *value = is_real ? number : jfloat(0);
    else if (is_imaginary)
        *value = jint(0);
    else if (jstring_is(name, "denominator"))
        *value = jint(1);
    else
        *value = number.kind == J_BIG ? number : jint(jinteger(number));
    return true;
}

static bool data_member(jrender *r, jvalue object, const jstring *name, jvalue *value)
{
    switch (object.kind) {
    case J_BOOL:
    case J_INT:
    case J_BIG:
    case J_FLOAT: return number_member(object, name, value);
    case J_TUPLE:
        if (!object.list->is_group) return false;
        if (jstring_is(name, "grouper")) return *value = object.list->items[0], true;
        if (jstring_is(name, "list")) return *value = object.list->items[1], true;
        return false;
    case J_RANGE:
        if (jstring_is(name, "start")) return *value = jint(object.range->start), true;
        if (jstring_is(name, "stop")) return *value = jint(object.range->stop), true;
        if (jstring_is(name, "step")) return *value = jint(object.range->step), true;
        return false;
    case J_VIEW:
        if (!jstring_is(name, "mapping")) return false;
        return *value = (jvalue){.kind = J_DICT, .dict = object.view->dict}, true;
    case J_LOOP: return loop_member(r, object.loop, name, value);
    case J_MACRO: return macro_member(r, object.macro, name, value);
    case J_NAMESPACE: return jdict_find(object.dict, name, value);
    case J_CYCLER:
        if (jstring_is(name, "current"))
            return *value = object.cycler->items->items[object.cycler->position], true;
        if (jstring_is(name, "pos")) return *value = jint((int64_t)object.cycler->position), true;
        if (jstring_is(name, "items")) return *value = jinja_tuple(object.cycler->items), true;
        return false;
    case J_JOINER:
        if (jstring_is(name, "sep")) return *value = object.joiner->separator, true;
        if (jstring_is(name, "used")) return *value = jbool(object.joiner->used), true;
        return false;
    case J_BLOCK: return block_member(r, object.block->block, name, value);
    default: return false;
    }
}

bool jinja_member(jrender *r, jvalue object, const jstring *name, jvalue *value)
{
    const char *stable;
    jcallback call;
    if (object.kind == J_UNDEFINED && !is_internal(name)) {
        bool internal = name->length >= 4 && memcmp(name->data, "__", 2) == 0 &&
                        memcmp(name->data + name->length - 2, "__", 2) == 0;
        if (internal) return false;
        jinja_raise_undefined(r, object.undefined);
    }
    if (data_member(r, object, name, value)) return true;
    if (object.kind == J_NAMESPACE) return jstring_is(name, "__class__") ? (*value = jnone(), true) : false;
    if (is_internal(name) || is_mutator(object, name)) return *value = jnone(), true;
    if (!jinja_find_method(object, name, &stable, &call)) return false;
    jmethod *method = jinja_alloc(r, 1, sizeof *method);
    *method = (jmethod){object, stable, call};
    *value = (jvalue){.kind = J_METHOD, .method = method};
    return true;
}

static bool is_safe(jvalue object, const jstring *name)
{
    return (name->length == 0 || name->data[0] != '_') && !is_mutator(object, name);
}

jvalue jinja_attribute(jrender *r, jvalue object, const jstring *name)
{
    jvalue value;
    if (jinja_member(r, object, name, &value))
        return is_safe(object, name) ? value : jinja_forbidden(r, object, name);
    if (subscript(r, object, jstr(name), &value)) return value;
    return jinja_undefined_member(r, object, jstr(name));
}

jvalue jinja_item(jrender *r, jvalue object, jvalue index)
{
    jvalue value;
    if (subscript(r, object, index, &value)) return value;
    if (index.kind == J_STRING && jinja_member(r, object, index.string, &value))
        return is_safe(object, index.string) ? value : jinja_forbidden(r, object, index.string);
    return jinja_undefined_member(r, object, index);
}

// ---- slices ----

static bool slice_index(jrender *r, jvalue v, int64_t *index)
{
    if (v.kind == J_NONE || v.kind == J_MISSING) return false;
    if (v.kind == J_BIG) return *index = v.string->data[0] == '-' ? INT64_MIN : INT64_MAX, true;
    if (!jis_integer(v)) jinja_raise(r, "slice indices must be integers or None or have an __index__ method");
    return *index = jinteger(v), true;
}

static int64_t clamp(int64_t index, int64_t count, int64_t step)
{
    if (index < 0) index = index < -count ? (step < 0 ? -1 : 0) : index + count;
    int64_t last = step < 0 ? count - 1 : count;
    return index > last ? last : index;
}

// The slice of `count` items: its first, the stride and how many; `end` is where it ends.
static size_t slice_bounds(jrender *r, int64_t count, jvalue start, jvalue stop, jvalue step, int64_t *first,
                           int64_t *stride, int64_t *end)
{
    int64_t from, to;
    *stride = 1;
    slice_index(r, step, stride);
    if (*stride == 0) jinja_raise(r, "slice step cannot be zero");
    if (*stride < -INT64_MAX) *stride = -INT64_MAX;
    from = slice_index(r, start, &from) ? clamp(from, count, *stride) : *stride < 0 ? count - 1 : 0;
    to = slice_index(r, stop, &to) ? clamp(to, count, *stride) : *stride < 0 ? -1 : count;
    *first = from;
    *end = to;
    if (*stride > 0) return from < to ? (size_t)((to - from - 1) / *stride + 1) : 0;
    return from > to ? (size_t)((from - to - 1) / -*stride + 1) : 0;
}

static jvalue slice_string(jrender *r, const jstring *s, int64_t first, int64_t stride, size_t count)
{
    if (count == 0) return jinja_string_part(r, s, 0, 0);
    if (stride == 1)
        return jinja_string_part(r, s, jinja_offset(s, (size_t)first),
                                 jinja_offset(s, (size_t)first + count));
    jinja_step(r, s->length / 64 + count);
    size_t *offsets = NULL, begin = jtext_begin(r);
    if (!jis_ascii(s)) {
        offsets = jinja_alloc(r, s->chars + 1, sizeof *offsets);
        size_t chars = 0;
        for (size_t i = 0; i < s->length; i++)
            if (((unsigned char)s->data[i] & 0xC0) != 0x80) offsets[chars++] = i;
        offsets[chars] = s->length;
    }
    for (size_t i = 0; i < count; i++) {
        size_t k = (size_t)(first + (int64_t)i * stride), at = offsets ? offsets[k] : k;
        jtext_add(r, s->data + at, offsets ? offsets[k + 1] - at : 1);
    }
    jvalue result = jtext_end(r, begin);
    return s->markup ? jinja_markup(r, result) : result;
}

jvalue jinja_slice(jrender *r, jvalue object, jvalue start, jvalue stop, jvalue step)
{
    int64_t first, stride, end;
    size_t count;
    switch (object.kind) {
    case J_STRING:
        count = slice_bounds(r, (int64_t)object.string->chars, start, stop, step, &first, &stride, &end);
        return slice_string(r, object.string, first, stride, count);
    case J_LIST:
    case J_TUPLE: {
        count = slice_bounds(r, (int64_t)object.list->count, start, stop, step, &first, &stride, &end);
        jlist *list = jlist_new(r, count);
        jinja_step(r, count);
        for (size_t i = 0; i < count; i++)
            jlist_append(r, list, object.list->items[first + (int64_t)i * stride]);
        return object.kind == J_LIST ? jinja_list(list) : jinja_tuple(list);
    }
    case J_RANGE: {
        count = slice_bounds(r, (int64_t)object.range->count, start, stop, step, &first, &stride, &end);
        jrange *range = jinja_alloc(r, 1, sizeof *range);
        const jrange *whole = object.range;
        *range = (jrange){whole->start + first * whole->step, whole->start + end * whole->step, 0, count};
        if (__builtin_mul_overflow(whole->step, stride, &range->step)) jinja_raise_overflow(r);
        return (jvalue){.kind = J_RANGE, .range = range};
    }
    case J_DICT: jinja_raise(r, "unhashable type: 'slice'");
    case J_UNDEFINED: jinja_raise_undefined(r, object.undefined);
    default: jinja_raise(r, "'%s' object is not subscriptable", jinja_type_name(object));
    }
}
