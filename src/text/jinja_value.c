// What Python says of any value, and of any two of them.
#include "base/strmap.h"
#include "text/jinja_render.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- kinds ----

const char *jinja_type_name(jvalue value)
{
    static const char *const names[] = {
        [J_MISSING] = "_MissingType",
        [J_UNDEFINED] = "Undefined",
        [J_NONE] = "NoneType",
        [J_BOOL] = "bool",
        [J_INT] = "int",
        [J_BIG] = "int",
        [J_FLOAT] = "float",
        [J_STRING] = "str",
        [J_LIST] = "list",
        [J_TUPLE] = "tuple",
        [J_DICT] = "dict",
        [J_RANGE] = "range",
        [J_MACRO] = "Macro",
        [J_LOOP] = "LoopContext",
        [J_NAMESPACE] = "TemplateNamespace",
        [J_CYCLER] = "Cycler",
        [J_JOINER] = "Joiner",
        [J_BLOCK] = "BlockReference",
        [J_SELF] = "TemplateReference",
    };
    static const char *const views[] = {
        [JVIEW_KEYS] = "dict_keys", [JVIEW_VALUES] = "dict_values", [JVIEW_ITEMS] = "dict_items"};
    switch (value.kind) {
    case J_STRING: return value.string->markup ? "Markup" : "str";
    case J_TUPLE: return value.list->is_group ? "_GroupTuple" : "tuple";
    case J_VIEW: return views[value.view->kind];
    case J_ITERATOR: return value.iterator->type;
    case J_FUNCTION: return value.function->type;
    case J_METHOD: return value.method->self.kind <= J_VIEW ? "builtin_function_or_method" : "method";
    default: return names[value.kind];
    }
}

const jstring *jinja_object_type(jrender *r, jvalue value)
{
    const char *module = "";
    if (value.kind == J_NONE) return JINJA_STRING("None");
    if (value.kind == J_UNDEFINED || value.kind == J_MACRO || value.kind == J_LOOP || value.kind == J_BLOCK ||
        value.kind == J_SELF)
        module = "jinja2.runtime.";
    if (value.kind == J_CYCLER || value.kind == J_JOINER) module = "jinja2.utils.";
    if (value.kind == J_NAMESPACE) module = "transformers.utils.chat_template_utils.";
    if (value.kind == J_FUNCTION && strcmp(value.function->type, "TemplateDict") == 0)
        module = "transformers.utils.chat_template_utils.";
    if (value.kind == J_STRING && value.string->markup) module = "markupsafe.";
    if (value.kind == J_TUPLE && value.list->is_group) module = "jinja2.filters.";
    size_t begin = jtext_begin(r);
    jtext_literal(r, module);
    jtext_literal(r, jinja_type_name(value));
    jtext_literal(r, " object");
    return jtext_end(r, begin).string;
}

bool jinja_truth(jrender *r, jvalue value)
{
    (void)r;
    switch (value.kind) {
    case J_UNDEFINED:
    case J_NONE: return false;
    case J_BOOL: return value.boolean;
    case J_INT: return value.integer != 0;
    case J_FLOAT: return value.real != 0;
    case J_STRING: return value.string->length != 0;
    case J_LIST:
    case J_TUPLE: return value.list->count != 0;
    case J_DICT: return value.dict->count != 0;
    case J_RANGE: return value.range->count != 0;
    case J_VIEW: return value.view->dict->count != 0;
    case J_LOOP: return jinja_length(r, value) != 0;
    default: return true;
    }
}

bool jinja_is_callable(jvalue value)
{
    switch (value.kind) {
    case J_UNDEFINED:
    case J_FUNCTION:
    case J_METHOD:
    case J_MACRO:
    case J_LOOP:
    case J_JOINER:
    case J_BLOCK: return true;
    default: return false;
    }
}

bool jinja_has_length(jvalue value)
{
    switch (value.kind) {
    case J_UNDEFINED:
    case J_STRING:
    case J_LIST:
    case J_TUPLE:
    case J_DICT:
    case J_RANGE:
    case J_VIEW:
    case J_LOOP: return true;
    default: return false;
    }
}

bool jinja_is_iterable(jvalue value)
{
    return jinja_has_length(value) || value.kind == J_ITERATOR || value.kind == J_SELF;
}

// ---- hashing ----

static uint64_t hash_integer(int64_t i)
{
    return hash_bytes(&i, sizeof i);
}

static uint64_t hash_double(double d)
{
    if (d == floor(d) && d >= -0x1p63 && d < 0x1p63) return hash_integer((int64_t)d);
    return hash_bytes(&d, sizeof d);
}

static uint64_t hash_pointer(const void *pointer)
{
    return hash_bytes(&pointer, sizeof pointer);
}

static uint64_t hash_range(const jrange *range)
{
    int64_t parts[3] = {(int64_t)range->count, range->count ? range->start : 0,
                        range->count > 1 ? range->step : 0};
    return hash_bytes(parts, sizeof parts);
}

bool jinja_is_hashable(jrender *r, jvalue value)
{
    bool hashable = true;
    if (value.kind == J_VIEW) return value.view->kind == JVIEW_VALUES;
    if (value.kind != J_TUPLE) return value.kind != J_LIST && value.kind != J_DICT;
    jinja_enter(r);
    for (size_t i = 0; i < value.list->count; i++) hashable &= jinja_is_hashable(r, value.list->items[i]);
    jinja_leave(r);
    return hashable;
}

uint64_t jinja_hash(jrender *r, jvalue value)
{
    uint64_t hash = 0x345678;
    switch (value.kind) {
    case J_UNDEFINED: return 1;
    case J_NONE: return 2;
    case J_BOOL:
    case J_INT: return hash_integer(jinteger(value));
    case J_FLOAT: return hash_double(value.real);
    case J_BIG:
    case J_STRING:
        jinja_pass_over(r, value.string->length);
        return hash_bytes(value.string->data, value.string->length);
    case J_TUPLE:
        jinja_enter(r);
        for (size_t i = 0; i < value.list->count; i++)
            hash = hash * 1000003 ^ jinja_hash(r, value.list->items[i]);
        jinja_leave(r);
        return hash;
    case J_RANGE: return hash_range(value.range);
    case J_LIST:
    case J_DICT: jinja_raise(r, "unhashable type: '%s'", jinja_type_name(value));
    case J_VIEW:
        if (value.view->kind != JVIEW_VALUES) jinja_raise(r, "unhashable type: '%s'", jinja_type_name(value));
        return hash_pointer(value.view);
    default: return hash_pointer(value.pointer);
    }
}

// ---- equality ----

static bool is_number(jvalue v)
{
    return v.kind == J_BOOL || v.kind == J_INT || v.kind == J_FLOAT || v.kind == J_BIG;
}

// Sign of a - b for an integer and a double that is not NaN, exactly.
static int compare_mixed(int64_t a, double b)
{
    if (b >= 0x1p63) return -1;
    if (b < -0x1p63) return 1;
    int64_t whole = (int64_t)b;
    if (a != whole) return a < whole ? -1 : 1;
    double rest = b - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}

static int compare_big(jvalue a, jvalue b)
{
    bool a_negative = a.string->data[0] == '-', b_negative = b.string->data[0] == '-';
    if (a_negative != b_negative) return a_negative ? -1 : 1;
    int order = a.string->length != b.string->length ? (a.string->length < b.string->length ? -1 : 1)
                                                     : jstring_compare(a.string, b.string);
    return a_negative ? -order : order;
}

// Good enough to compare: a big integer is beyond every 64-bit one, and beyond most doubles that templates
// hold.
static double big_to_double(jvalue big)
{
    return strtod(big.string->data, NULL);
}

// Sign of a - b of two numbers; 2 when one is NaN.
static int compare_numbers(jvalue a, jvalue b)
{
    if (a.kind == J_BIG && b.kind == J_BIG) return compare_big(a, b);
    if (a.kind == J_BIG) a = jfloat(big_to_double(a));
    if (b.kind == J_BIG) b = jfloat(big_to_double(b));
    if ((a.kind == J_FLOAT && isnan(a.real)) || (b.kind == J_FLOAT && isnan(b.real))) return 2;
    if (a.kind == J_FLOAT && b.kind == J_FLOAT) return (a.real > b.real) - (a.real < b.real);
    if (a.kind == J_FLOAT) return -compare_mixed(jinteger(b), a.real);
    if (b.kind == J_FLOAT) return compare_mixed(jinteger(a), b.real);
    int64_t x = jinteger(a), y = jinteger(b);
    return (x > y) - (x < y);
}

bool jinja_identical(jvalue a, jvalue b)
{
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case J_NONE:
    case J_MISSING: return true;
    case J_BOOL: return a.boolean == b.boolean;
    case J_INT: return a.integer == b.integer;
    case J_FLOAT: return a.real == b.real;
    case J_STRING: return a.string->markup == b.string->markup && jstring_equals(a.string, b.string);
    case J_LIST: return a.list == b.list;
    case J_TUPLE: return a.list == b.list || (!a.list->count && !b.list->count);
    default: return a.pointer == b.pointer;
    }
}

static bool same(jrender *r, jvalue a, jvalue b)
{
    return jinja_identical(a, b) || jinja_equal(r, a, b);
}

static bool equal_lists(jrender *r, const jlist *a, const jlist *b)
{
    if (a->count != b->count) return false;
    jinja_step(r, a->count);
    for (size_t i = 0; i < a->count; i++)
        if (!same(r, a->items[i], b->items[i])) return false;
    return true;
}

static bool equal_dicts(jrender *r, const jdict *a, const jdict *b)
{
    jvalue other;
    if (a->count != b->count) return false;
    jinja_step(r, a->count);
    for (size_t i = 0; i < a->count; i++) {
        const jentry *entry = jdict_entry(r, b, a->entries[i].key, a->entries[i].hash);
        if (!entry) return false;
        other = entry->value;
        if (!same(r, a->entries[i].value, other)) return false;
    }
    return true;
}

static bool equal_ranges(const jrange *a, const jrange *b)
{
    if (a->count != b->count) return false;
    return !a->count || (a->start == b->start && (a->count == 1 || a->step == b->step));
}

// Views of keys and items are sets.
static bool equal_views(jrender *r, const jview *a, const jview *b)
{
    if (a == b) return true;
    if (a->kind == JVIEW_VALUES || b->kind == JVIEW_VALUES || a->kind != b->kind ||
        a->dict->count != b->dict->count)
        return false;
    if (a->kind == JVIEW_ITEMS) return equal_dicts(r, a->dict, b->dict);
    for (size_t i = 0; i < a->dict->count; i++)
        if (!jdict_entry(r, b->dict, a->dict->entries[i].key, a->dict->entries[i].hash)) return false;
    return true;
}

bool jinja_equal(jrender *r, jvalue a, jvalue b)
{
    bool equal;
    if (is_number(a) && is_number(b)) return compare_numbers(a, b) == 0;
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case J_UNDEFINED:
    case J_NONE: return true;
    case J_STRING:
        if (r) jinja_pass_over(r, a.string->length);
        return jstring_equals(a.string, b.string);
    case J_LIST:
    case J_TUPLE:
    case J_DICT:
        if (r) jinja_enter(r), jinja_step(r, 1);
        equal = a.kind == J_DICT ? equal_dicts(r, a.dict, b.dict) : equal_lists(r, a.list, b.list);
        if (r) jinja_leave(r);
        return equal;
    case J_RANGE: return equal_ranges(a.range, b.range);
    case J_VIEW: return equal_views(r, a.view, b.view);
    case J_METHOD: return a.method->call == b.method->call && jinja_identical(a.method->self, b.method->self);
    default: return a.pointer == b.pointer;
    }
}

// ---- order ----

static bool accept(joperator op, int order)
{
    if (order == 2) return false; // NaN
    return op == JO_LT ? order < 0 : op == JO_LE ? order <= 0 : op == JO_GT ? order > 0 : order >= 0;
}

static bool compare_lists(jrender *r, joperator op, const jlist *a, const jlist *b)
{
    size_t i = 0;
    jinja_step(r, a->count);
    while (i < a->count && i < b->count && same(r, a->items[i], b->items[i])) i++;
    if (i == a->count || i == b->count) return accept(op, (a->count > b->count) - (a->count < b->count));
    return jinja_compare(r, op, a->items[i], b->items[i]);
}

static bool is_subset(jrender *r, const jview *a, const jview *b)
{
    for (size_t i = 0; i < a->dict->count; i++) {
        const jentry *mine = &a->dict->entries[i], *entry = jdict_entry(r, b->dict, mine->key, mine->hash);
        if (!entry || (a->kind == JVIEW_ITEMS && !same(r, mine->value, entry->value))) return false;
    }
    return true;
}

static bool compare_views(jrender *r, joperator op, const jview *a, const jview *b)
{
    if (op == JO_GT || op == JO_GE) return compare_views(r, op == JO_GT ? JO_LT : JO_LE, b, a);
    if (a->kind != b->kind) return a->dict->count == 0 && (op == JO_LE || b->dict->count);
    return is_subset(r, a, b) && (op == JO_LE || a->dict->count < b->dict->count);
}

bool jinja_compare(jrender *r, joperator op, jvalue a, jvalue b)
{
    static const char *const signs[] = {[JO_LT] = "<", [JO_LE] = "<=", [JO_GT] = ">", [JO_GE] = ">="};
    if (is_number(a) && is_number(b)) return accept(op, compare_numbers(a, b));
    if (a.kind == J_STRING) jinja_pass_over(r, a.string->length);
    if (a.kind == J_STRING && b.kind == J_STRING) return accept(op, jstring_compare(a.string, b.string));
    if (a.kind == b.kind && (a.kind == J_LIST || a.kind == J_TUPLE)) {
        jinja_enter(r);
        bool result = compare_lists(r, op, a.list, b.list);
        jinja_leave(r);
        return result;
    }
    if (a.kind == J_VIEW && b.kind == J_VIEW && a.view->kind != JVIEW_VALUES && b.view->kind != JVIEW_VALUES)
        return compare_views(r, op, a.view, b.view);
    if (a.kind == J_UNDEFINED) jinja_raise_undefined(r, a.undefined);
    if (b.kind == J_UNDEFINED) jinja_raise_undefined(r, b.undefined);
    jinja_raise(r, "'%s' not supported between instances of '%s' and '%s'", signs[op], jinja_type_name(a),
                jinja_type_name(b));
}
