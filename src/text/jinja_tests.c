// Tests (`is ...`), and the tables in which filters and tests are found.
#include "text/jinja_builtin.h"
#include "text/jinja_render.h"
#include <string.h>

static bool is_number(jvalue v)
{
    return v.kind == J_BOOL || v.kind == J_INT || v.kind == J_BIG || v.kind == J_FLOAT;
}

static jvalue rest_is(jrender *r, jvalue value, jvalue divisor, int64_t rest)
{
    return jbool(jinja_equal(r, jinja_binary(r, JO_MOD, value, divisor), jint(rest)));
}

static jvalue test_odd(jrender *r, jvalue *v)
{
    return rest_is(r, v[0], jint(2), 1);
}
static jvalue test_even(jrender *r, jvalue *v)
{
    return rest_is(r, v[0], jint(2), 0);
}
static jvalue test_divisibleby(jrender *r, jvalue *v)
{
    return rest_is(r, v[0], v[1], 0);
}

#define KIND_TEST(name, condition)                                                                           \
    static jvalue test_##name(jrender *r, jvalue *v)                                                         \
    {                                                                                                        \
        (void)r;                                                                                             \
        return jbool(condition);                                                                             \
    }
KIND_TEST(defined, v[0].kind != J_UNDEFINED)
KIND_TEST(undefined, v[0].kind == J_UNDEFINED)
KIND_TEST(none, v[0].kind == J_NONE)
KIND_TEST(boolean, v[0].kind == J_BOOL)
KIND_TEST(false, v[0].kind == J_BOOL && !v[0].boolean)
KIND_TEST(true, v[0].kind == J_BOOL && v[0].boolean)
KIND_TEST(integer, v[0].kind == J_INT || v[0].kind == J_BIG)
KIND_TEST(float, v[0].kind == J_FLOAT)
KIND_TEST(string, v[0].kind == J_STRING)
KIND_TEST(mapping, v[0].kind == J_DICT)
KIND_TEST(number, is_number(v[0]))
KIND_TEST(escaped, v[0].kind == J_STRING && v[0].string->markup)
KIND_TEST(iterable, jinja_is_iterable(v[0]))
KIND_TEST(callable, jinja_is_callable(v[0]))
KIND_TEST(sequence, jinja_has_length(v[0]) && v[0].kind != J_VIEW && v[0].kind != J_LOOP)
KIND_TEST(sameas, jinja_identical(v[0], v[1]))
KIND_TEST(lower, jinja_is_cased_as(jinja_str(r, v[0]), false))
KIND_TEST(upper, jinja_is_cased_as(jinja_str(r, v[0]), true))
KIND_TEST(in, jinja_contains(r, v[1], v[0]))
KIND_TEST(filter, (jinja_hash(r, v[0]), v[0].kind == J_STRING && jinja_find_filter(v[0].string)))
KIND_TEST(test, (jinja_hash(r, v[0]), v[0].kind == J_STRING && jinja_find_test(v[0].string)))
KIND_TEST(eq, jinja_equal(r, v[0], v[1]))
KIND_TEST(ne, !jinja_equal(r, v[0], v[1]))
KIND_TEST(gt, jinja_compare(r, JO_GT, v[0], v[1]))
KIND_TEST(ge, jinja_compare(r, JO_GE, v[0], v[1]))
KIND_TEST(lt, jinja_compare(r, JO_LT, v[0], v[1]))
KIND_TEST(le, jinja_compare(r, JO_LE, v[0], v[1]))

#define ONE(name)                                                                                            \
    {                                                                                                        \
#name, "test_" #name, "value", 1, 0, test_##name, NULL                                               \
    }
#define COMPARISON(name, operation)                                                                          \
    {                                                                                                        \
        name, "=" #operation, "a b", 2, 0, test_##operation, NULL                                            \
    }
static const jbuiltin tests[] = {
    ONE(odd),
    ONE(even),
    ONE(defined),
    ONE(undefined),
    ONE(none),
    ONE(boolean),
    ONE(false),
    ONE(true),
    ONE(integer),
    ONE(float),
    ONE(lower),
    ONE(upper),
    ONE(string),
    ONE(mapping),
    ONE(number),
    ONE(sequence),
    ONE(iterable),
    ONE(escaped),
    {"divisibleby", "test_divisibleby", "value num", 2, 0, test_divisibleby, NULL},
    {"filter", "test_filter", "value", 1, 1, test_filter, NULL},
    {"test", "test_test", "value", 1, 1, test_test, NULL},
    {"callable", "!callable", "obj", 1, 0, test_callable, NULL},
    {"sameas", "test_sameas", "value other", 2, 0, test_sameas, NULL},
    {"in", "test_in", "value seq", 2, 0, test_in, NULL},
    COMPARISON("==", eq),
    COMPARISON("eq", eq),
    COMPARISON("equalto", eq),
    COMPARISON("!=", ne),
    COMPARISON("ne", ne),
    COMPARISON(">", gt),
    COMPARISON("gt", gt),
    COMPARISON("greaterthan", gt),
    COMPARISON("ge", ge),
    COMPARISON(">=", ge),
    COMPARISON("<", lt),
    COMPARISON("lt", lt),
    COMPARISON("lessthan", lt),
    COMPARISON("<=", le),
    COMPARISON("le", le),
    {0},
};

static const jbuiltin *find(const jbuiltin *table, const jstring *name)
{
    for (; table->name; table++)
        if (jstring_is(name, table->name)) return table;
    return NULL;
}

const jbuiltin *jinja_find_test(const jstring *name)
{
    return find(tests, name);
}

const jbuiltin *jinja_find_filter(const jstring *name)
{
    const jbuiltin *found = find(jinja_text_filters, name);
    if (!found) found = find(jinja_sequence_filters, name);
    return found ? found : find(jinja_value_filters, name);
}
