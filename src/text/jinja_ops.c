// Operators: arithmetic, membership, length. Types and messages are Python's.
#include "text/jinja_render.h"
#include <errno.h>
#include <math.h>
#include <string.h>

static const char *const signs[] = {
    [JO_ADD] = "+",       [JO_SUB] = "-", [JO_MUL] = "*",           [JO_DIV] = "/",
    [JO_FLOORDIV] = "//", [JO_MOD] = "%", [JO_POW] = "** or pow()",
};

static bool is_number(jvalue v)
{
    return v.kind == J_BOOL || v.kind == J_INT || v.kind == J_FLOAT || v.kind == J_BIG;
}
static bool is_sequence(jvalue v)
{
    return v.kind == J_STRING || v.kind == J_LIST || v.kind == J_TUPLE;
}

static double to_double(jrender *r, jvalue v)
{
    if (v.kind == J_FLOAT) return v.real;
    if (v.kind == J_BIG) jinja_raise_overflow(r);
    return (double)jinteger(v);
}

static _Noreturn void unsupported(jrender *r, joperator op, jvalue a, jvalue b)
{
    jinja_raise(r, "unsupported operand type(s) for %s: '%s' and '%s'", signs[op], jinja_type_name(a),
                jinja_type_name(b));
}

// ---- numbers ----

static int64_t floor_divide(int64_t a, int64_t b)
{
    int64_t quotient = a / b;
    return a % b != 0 && (a % b < 0) != (b < 0) ? quotient - 1 : quotient;
}

static jvalue power_of_integers(jrender *r, int64_t base, int64_t exponent)
{
    int64_t result = 1;
    bool overflow = false;
    if (exponent < 0) {
        if (base == 0) jinja_raise(r, "0.0 cannot be raised to a negative power");
        return jfloat(pow((double)base, (double)exponent));
    }
    while (exponent > 0 && !overflow) {
        if (exponent & 1) overflow |= __builtin_mul_overflow(result, base, &result);
        exponent >>= 1;
        if (exponent) overflow |= __builtin_mul_overflow(base, base, &base);
    }
    if (overflow) jinja_raise_overflow(r);
    return jint(result);
}

static jvalue integers(jrender *r, joperator op, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool overflow = false;
    switch (op) {
    case JO_ADD: overflow = __builtin_add_overflow(a, b, &result); break;
    case JO_SUB: overflow = __builtin_sub_overflow(a, b, &result); break;
    case JO_MUL: overflow = __builtin_mul_overflow(a, b, &result); break;
    case JO_DIV:
        if (b == 0) jinja_raise(r, "division by zero");
        return jfloat((double)((long double)a / (long double)b));
    case JO_FLOORDIV:
    case JO_MOD:
        if (b == 0)
            jinja_raise(r, op == JO_MOD ? "integer modulo by zero" : "integer division or modulo by zero");
        if (b == -1) return op == JO_MOD ? jint(0) : integers(r, JO_SUB, 0, a);
        return jint(op == JO_MOD ? a - floor_divide(a, b) * b : floor_divide(a, b));
    default: return power_of_integers(r, a, b);
    }
    if (overflow) jinja_raise_overflow(r);
    return jint(result);
}

static double modulo(double a, double b)
{
    double rest = fmod(a, b);
    if (rest == 0) return copysign(0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
}

static double floor_quotient(double a, double b)
{
    double quotient = (a - modulo(a, b)) / b;
    if (quotient == 0) return copysign(0, a / b);
    double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

static jvalue power_of_doubles(jrender *r, double a, double b)
{
    if (a == 0 && b < 0) jinja_raise(r, "0.0 cannot be raised to a negative power");
    if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b))
        jinja_raise(r, "complex numbers are not supported");
    double result = pow(a, b);
    if (isinf(result) && isfinite(a) && isfinite(b)) jinja_raise(r, "(34, 'Numerical result out of range')");
    return jfloat(result);
}

static jvalue doubles(jrender *r, joperator op, double a, double b)
{
    switch (op) {
    case JO_ADD: return jfloat(a + b);
    case JO_SUB: return jfloat(a - b);
    case JO_MUL: return jfloat(a * b);
    case JO_DIV:
        if (b == 0) jinja_raise(r, "float division by zero");
        return jfloat(a / b);
    case JO_FLOORDIV:
        if (b == 0) jinja_raise(r, "float floor division by zero");
        return jfloat(floor_quotient(a, b));
    case JO_MOD:
        if (b == 0) jinja_raise(r, "float modulo");
        return jfloat(modulo(a, b));
    default: return power_of_doubles(r, a, b);
    }
}

// ---- sequences ----

static jvalue add_strings(jrender *r, jvalue a, jvalue b)
{
    bool markup = a.string->markup || b.string->markup;
    if (!markup) return jinja_concat(r, a.string, b.string);
    jvalue left = jinja_escape(r, a), right = jinja_escape(r, b);
    return jinja_markup(r, jinja_concat(r, left.string, right.string));
}

static jvalue add_lists(jrender *r, jvalue a, jvalue b)
{
    jlist *sum = jlist_new(r, a.list->count + b.list->count);
    jinja_step(r, a.list->count + b.list->count);
    for (size_t i = 0; i < a.list->count; i++) jlist_append(r, sum, a.list->items[i]);
    for (size_t i = 0; i < b.list->count; i++) jlist_append(r, sum, b.list->items[i]);
    return a.kind == J_LIST ? jinja_list(sum) : jinja_tuple(sum);
}

static jvalue add(jrender *r, jvalue a, jvalue b)
{
    if (is_sequence(a) && a.kind == b.kind)
        return a.kind == J_STRING ? add_strings(r, a, b) : add_lists(r, a, b);
    if (b.kind == J_UNDEFINED) jinja_raise_undefined(r, b.undefined);
    if (!is_sequence(a) || (a.kind == J_STRING && a.string->markup)) unsupported(r, JO_ADD, a, b);
    const char *type = a.kind == J_STRING ? "str" : a.kind == J_LIST ? "list" : "tuple";
    jinja_raise(r, "can only concatenate %s (not \"%s\") to %s", type, jinja_type_name(b), type);
}

static size_t times(jrender *r, size_t count, int64_t factor)
{
    size_t total;
    if (factor <= 0 || count == 0) return 0;
    if (__builtin_mul_overflow(count, (uint64_t)factor, &total) || total > r->options.max_memory)
        jinja_raise(r, "the template's values need more than %zu bytes", r->options.max_memory);
    return total;
}

static jvalue repeat_string(jrender *r, const jstring *s, int64_t factor)
{
    size_t total = times(r, s->length, factor);
    char *data = jinja_alloc(r, total + 1, 1);
    jinja_step(r, total / 64);
    if (s->length == 1)
        memset(data, s->data[0], total);
    else
        for (size_t i = 0; i < total; i += s->length) memcpy(data + i, s->data, s->length);
    jvalue result = jinja_string_of(r, data, total);
    return s->markup ? jinja_markup(r, result) : result;
}

static jvalue repeat_list(jrender *r, jvalue sequence, int64_t factor)
{
    const jlist *list = sequence.list;
    size_t total = times(r, list->count, factor);
    jlist *result = jlist_new(r, total);
    jinja_step(r, total);
    for (size_t i = 0; i < total; i++) jlist_append(r, result, list->items[i % list->count]);
    return sequence.kind == J_LIST ? jinja_list(result) : jinja_tuple(result);
}

static jvalue multiply(jrender *r, jvalue a, jvalue b)
{
    if (a.kind == J_UNDEFINED) jinja_raise_undefined(r, a.undefined);
    bool a_markup = a.kind == J_STRING && a.string->markup, b_markup = b.kind == J_STRING && b.string->markup;
    if ((a_markup && !jis_integer(b)) || (b_markup && !jis_integer(a))) // Markup asks for an integer itself
        jinja_raise(r, "'%s' object cannot be interpreted as an integer", jinja_type_name(a_markup ? b : a));
    if (b.kind == J_UNDEFINED) jinja_raise_undefined(r, b.undefined);
    if (!is_sequence(a) && !is_sequence(b)) unsupported(r, JO_MUL, a, b);
    jvalue sequence = is_sequence(a) ? a : b, factor = is_sequence(a) ? b : a;
    if (factor.kind == J_BIG) jinja_raise(r, "cannot fit 'int' into an index-sized integer");
    if (!jis_integer(factor))
        jinja_raise(r, "can't multiply sequence by non-int of type '%s'", jinja_type_name(factor));
    return sequence.kind == J_STRING ? repeat_string(r, sequence.string, jinteger(factor))
                                     : repeat_list(r, sequence, jinteger(factor));
}

jvalue jinja_binary(jrender *r, joperator op, jvalue a, jvalue b)
{
    if (jis_integer(a) && jis_integer(b)) return integers(r, op, jinteger(a), jinteger(b));
    if (is_number(a) && is_number(b)) return doubles(r, op, to_double(r, a), to_double(r, b));
    if (op == JO_MOD && a.kind == J_STRING) return jinja_format_percent(r, a.string, b);
    if (op == JO_ADD && a.kind != J_UNDEFINED) return add(r, a, b);
    if (op == JO_MUL) return multiply(r, a, b);
    if (a.kind == J_UNDEFINED) jinja_raise_undefined(r, a.undefined);
    if (b.kind == J_UNDEFINED) jinja_raise_undefined(r, b.undefined);
    unsupported(r, op, a, b);
}

jvalue jinja_unary(jrender *r, joperator op, jvalue a)
{
    if (op == JO_NOT) return jbool(!jinja_truth(r, a));
    if (jis_integer(a)) return op == JO_NEG ? integers(r, JO_SUB, 0, jinteger(a)) : jint(jinteger(a));
    if (a.kind == J_FLOAT) return jfloat(op == JO_NEG ? -a.real : a.real);
    if (a.kind == J_UNDEFINED) jinja_raise_undefined(r, a.undefined);
    if (a.kind == J_BIG && op == JO_POS) return a;
    if (a.kind == J_BIG) jinja_raise_overflow(r);
    jinja_raise(r, "bad operand type for unary %s: '%s'", op == JO_NEG ? "-" : "+", jinja_type_name(a));
}

// ---- membership and length ----

static bool range_contains(const jrange *range, jvalue item)
{
    if (item.kind == J_FLOAT) {
        if (item.real != floor(item.real) || fabs(item.real) > 0x1p62) return false;
        item = jint((int64_t)item.real);
    }
    if (!jis_integer(item) || !range->count) return false;
    __int128 offset = (__int128)jinteger(item) - range->start;
    if (offset % range->step != 0) return false;
    offset /= range->step;
    return offset >= 0 && offset < (__int128)range->count;
}

static bool iterator_contains(jrender *r, jvalue container, jvalue item)
{
    jiterator it;
    jvalue other;
    jiterator_begin(r, container, &it);
    while (jiterator_next(r, &it, &other))
        if (jinja_identical(item, other) || jinja_equal(r, item, other)) return true;
    return false;
}

static bool items_contain(jrender *r, const jdict *dict, jvalue item)
{
    jvalue value;
    if (item.kind != J_TUPLE || item.list->count != 2 || !jdict_get(r, dict, item.list->items[0], &value))
        return false;
    return jinja_identical(value, item.list->items[1]) || jinja_equal(r, value, item.list->items[1]);
}

bool jinja_contains(jrender *r, jvalue container, jvalue item)
{
    jvalue ignored;
    switch (container.kind) {
    case J_STRING:
        if (item.kind != J_STRING)
            jinja_raise(r, "'in <string>' requires string as left operand, not %s", jinja_type_name(item));
        jinja_step(r, container.string->length / 64);
        return memmem(container.string->data, container.string->length, item.string->data,
                      item.string->length) != NULL;
    case J_DICT: return jdict_get(r, container.dict, item, &ignored);
    case J_VIEW:
        if (container.view->kind == JVIEW_KEYS) return jdict_get(r, container.view->dict, item, &ignored);
        if (container.view->kind == JVIEW_ITEMS) return items_contain(r, container.view->dict, item);
        return iterator_contains(r, container, item);
    case J_RANGE: return range_contains(container.range, item);
    case J_LIST:
    case J_TUPLE:
    case J_ITERATOR: return iterator_contains(r, container, item);
    case J_UNDEFINED: return false;
    default: jinja_raise(r, "argument of type '%s' is not iterable", jinja_type_name(container));
    }
}

int64_t jinja_length(jrender *r, jvalue value)
{
    switch (value.kind) {
    case J_UNDEFINED: return 0;
    case J_STRING: return (int64_t)value.string->chars;
    case J_LIST:
    case J_TUPLE: return (int64_t)value.list->count;
    case J_DICT: return (int64_t)value.dict->count;
    case J_RANGE: return (int64_t)value.range->count;
    case J_VIEW: return (int64_t)value.view->dict->count;
    case J_LOOP: return jloop_length(r, value.loop);
    default: jinja_raise(r, "object of type '%s' has no len()", jinja_type_name(value));
    }
}

int64_t jinja_index(jrender *r, jvalue value, const char *message)
{
    if (jis_integer(value)) return jinteger(value);
    if (value.kind == J_BIG) jinja_raise(r, "Python int too large to convert to C ssize_t");
    jinja_raise(r, message, jinja_type_name(value));
}
