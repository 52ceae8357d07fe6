// Filters over numbers and values of any kind.
#include "text/jinja_builtin.h"
#include "text/jinja_number.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool given(jvalue v)
{
    return v.kind != J_MISSING;
}
static bool given_some(jvalue v)
{
    return v.kind != J_MISSING && v.kind != J_NONE;
}
static bool flag(jrender *r, jvalue v)
{
    return given(v) && jinja_truth(r, v);
}

static jvalue filter_abs(jrender *r, jvalue *v)
{
    if (v[0].kind == J_FLOAT) return jfloat(fabs(v[0].real));
    if (!jis_integer(v[0])) jinja_raise(r, "bad operand type for abs(): '%s'", jinja_type_name(v[0]));
    return jinteger(v[0]) < 0 ? jinja_unary(r, JO_NEG, v[0]) : jint(jinteger(v[0]));
}

static jvalue filter_attr(jrender *r, jvalue *v)
{
    jvalue value;
    jinja_hash(r, v[1]);
    if (v[1].kind != J_STRING)
        jinja_raise(r, "attribute name must be string, not '%s'", jinja_type_name(v[1]));
    if (jinja_member(r, v[0], v[1].string, &value)) return jinja_attribute(r, v[0], v[1].string);
    return jinja_undefined_member(r, v[0], v[1]);
}

static jvalue filter_default(jrender *r, jvalue *v)
{
    bool absent = v[0].kind == J_UNDEFINED || (flag(r, v[2]) && !jinja_truth(r, v[0]));
    if (!absent) return v[0];
    return given(v[1]) ? v[1] : jstr(JINJA_STRING(""));
}

static jvalue filter_int(jrender *r, jvalue *v)
{
    jvalue value = v[0], otherwise = given(v[1]) ? v[1] : jint(0), result;
    double number;
    if (jis_integer(value)) return jint(jinteger(value));
    if (value.kind == J_BIG) return value;
    if (value.kind == J_UNDEFINED) jinja_raise_undefined(r, value.undefined);
    if (value.kind == J_FLOAT) {
        if (isinf(value.real)) jinja_raise(r, "cannot convert float infinity to integer");
        number = value.real;
    } else if (value.kind != J_STRING) {
        return otherwise;
    } else {
        jvalue base = given(v[2]) ? v[2] : jint(10);
        if (jis_integer(base) && jinja_parse_integer(r, value.string, jinteger(base), &result)) return result;
        if (!jinja_parse_float(r, value.string, &number)) return otherwise;
    }
    if (isnan(number) || isinf(number)) return otherwise;
    if (fabs(number) >= 0x1p63) jinja_raise_overflow(r);
    return jint((int64_t)number);
}

static jvalue filter_float(jrender *r, jvalue *v)
{
    double number;
    jvalue value = v[0];
    if (value.kind == J_FLOAT) return value;
    if (jis_integer(value)) return jfloat((double)jinteger(value));
    if (value.kind == J_BIG) return jfloat(strtod(value.string->data, NULL));
    if (value.kind == J_UNDEFINED) jinja_raise_undefined(r, value.undefined);
    if (value.kind == J_STRING && jinja_parse_float(r, value.string, &number)) return jfloat(number);
    return given(v[1]) ? v[1] : jfloat(0);
}

// ---- round ----

static jvalue round_integer(jrender *r, int64_t value, int64_t digits)
{
    if (digits >= 0) return jint(value);
    if (digits < -18) return jint(0);
    int64_t unit = 1;
    for (; digits; digits++) unit *= 10;
    int64_t rest = ((value % unit) + unit) % unit, low;
    if (__builtin_sub_overflow(value, rest, &low)) jinja_raise_overflow(r);
    bool up = rest > unit / 2 || (rest == unit / 2 && (low / unit) % 2 != 0);
    if (up && __builtin_add_overflow(low, unit, &low)) jinja_raise_overflow(r);
    return jint(low);
}

static jvalue round_float(jrender *r, double value, int64_t digits)
{
    if (!isfinite(value) || digits > 323) return jfloat(value);
    if (digits < -308) return jfloat(copysign(0, value));
    if (digits >= 0) {
        if (digits > 340) return jfloat(value);
        size_t begin = jtext_begin(r);
        buf_printf(&r->text, "%.*f", (int)digits, value);
        return jfloat(strtod(jtext_end(r, begin).string->data, NULL));
    }
    double unit = pow(10, (double)-digits), quotient = nearbyint(value / unit);
    return jfloat(quotient * unit);
}

static jvalue filter_round(jrender *r, jvalue *v)
{
    jvalue value = v[0], precision = given(v[1]) ? v[1] : jint(0);
    const jstring *method = given(v[2]) && v[2].kind == J_STRING ? v[2].string : JINJA_STRING("common");
    bool ceiling = jstring_is(method, "ceil"), floored = jstring_is(method, "floor");
    if (given(v[2])) jinja_hash(r, v[2]);
    if ((given(v[2]) && v[2].kind != J_STRING) || (!ceiling && !floored && !jstring_is(method, "common")))
        jinja_raise(r, "method must be common, ceil or floor");
    if (ceiling || floored) {
        jvalue unit = jinja_binary(r, JO_POW, jint(10), precision),
               scaled = jinja_binary(r, JO_MUL, value, unit);
        if (scaled.kind != J_FLOAT && !jis_integer(scaled))
            jinja_raise(r, "must be real number, not %s", jinja_type_name(scaled));
        if (scaled.kind == J_FLOAT) {
            if (isnan(scaled.real)) jinja_raise(r, "cannot convert float NaN to integer");
            if (isinf(scaled.real)) jinja_raise(r, "cannot convert float infinity to integer");
            scaled.real = ceiling ? ceil(scaled.real) : floor(scaled.real);
            if (fabs(scaled.real) < 0x1p63) scaled = jint((int64_t)scaled.real);
        }
        return jinja_binary(r, JO_DIV, scaled, unit);
    }
    if (value.kind != J_FLOAT && !jis_integer(value))
        jinja_raise(r, "type %s doesn't define __round__ method", jinja_type_name(value));
    if (precision.kind == J_NONE) {
        if (jis_integer(value)) return jint(jinteger(value));
        if (isnan(value.real)) jinja_raise(r, "cannot convert float NaN to integer");
        if (isinf(value.real)) jinja_raise(r, "cannot convert float infinity to integer");
        if (fabs(value.real) >= 0x1p63) jinja_raise_overflow(r);
        return jint((int64_t)nearbyint(value.real));
    }
    int64_t digits = jinja_index(r, precision, "'%s' object cannot be interpreted as an integer");
    return value.kind == J_FLOAT ? round_float(r, value.real, digits)
                                 : round_integer(r, jinteger(value), digits);
}

// ---- text of values ----

static jvalue filter_tojson(jrender *r, jvalue *v)
{
    bool on_lines = given_some(v[2]);
    jjson_style style = {.item_separator = on_lines ? JINJA_STRING(",") : JINJA_STRING(", "),
                         .key_separator = JINJA_STRING(": ")};
    style.ensure_ascii = flag(r, v[1]);
    style.sort_keys = flag(r, v[4]);
    if (on_lines)
        style.indent = v[2].kind == J_STRING ? v[2].string
                                             : jinja_binary(r, JO_MUL, jstr(JINJA_STRING(" ")), v[2]).string;
    if (given_some(v[3])) {
        if (!jinja_is_iterable(v[3]))
            jinja_raise(r, "cannot unpack non-iterable %s object", jinja_type_name(v[3]));
        const jlist *pair = jinja_collect(r, v[3]);
        if (pair->count < 2) jinja_raise(r, "not enough values to unpack (expected 2, got %zu)", pair->count);
        if (pair->count > 2) jinja_raise(r, "too many values to unpack (expected 2)");
        for (size_t i = 2; i > 0; i--)
            if (pair->items[i - 1].kind != J_STRING)
                jinja_raise(r, "make_encoder() argument %d must be str, not %s", i == 2 ? 5 : 6,
                            jinja_type_name(pair->items[i - 1]));
        style.item_separator = pair->items[0].string;
        style.key_separator = pair->items[1].string;
    }
    return jinja_to_json(r, v[0], &style);
}

// Dicts with their keys in order, as pprint shows them.
static jvalue sorted_copy(jrender *r, jvalue value)
{
    jinja_enter(r);
    if (value.kind == J_DICT) {
        jlist *items = jinja_collect(r, (jvalue){.kind = J_VIEW, .view = &(jview){value.dict, JVIEW_ITEMS}});
        for (size_t i = 1; i < value.dict->count; i++)
            if (value.dict->entries[i].key.kind != value.dict->entries[0].key.kind)
                jinja_raise(r, "pprint of a dict with keys of several types is not supported");
        jdict *sorted = jdict_new(r);
        jinja_sort(r, items, NULL, false);
        for (size_t i = 0; i < items->count; i++)
            jdict_set(r, sorted, items->items[i].list->items[0],
                      sorted_copy(r, items->items[i].list->items[1]));
        value.dict = sorted;
    } else if (value.kind == J_LIST || value.kind == J_TUPLE) {
        jlist *copy = jlist_new(r, value.list->count);
        for (size_t i = 0; i < value.list->count; i++)
            jlist_append(r, copy, sorted_copy(r, value.list->items[i]));
        value.list = copy;
    }
    jinja_leave(r);
    return value;
}

static jvalue filter_pprint(jrender *r, jvalue *v)
{
    const jstring *text = jinja_repr(r, sorted_copy(r, v[0]));
    if (text->chars > 80) jinja_raise(r, "pprint of what does not fit on one line is not supported");
    return jstr(text);
}

static jvalue filter_filesizeformat(jrender *r, jvalue *v)
{
    static const char *const decimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
    static const char *const binary[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
    bool is_binary = flag(r, v[1]);
    double bytes, base = is_binary ? 1024 : 1000, unit = base;
    jvalue value = v[0];
    if (value.kind == J_UNDEFINED) jinja_raise_undefined(r, value.undefined);
    if (value.kind == J_STRING) {
        if (!jinja_parse_float(r, value.string, &bytes))
            jinja_raise(r, "could not convert string to float: %.*s", JFMT(jinja_repr(r, value)));
    } else if (value.kind == J_FLOAT || jis_integer(value)) {
        bytes = value.kind == J_FLOAT ? value.real : (double)jinteger(value);
    } else {
        jinja_raise(r, "float() argument must be a string or a real number, not '%s'",
                    jinja_type_name(value));
    }
    if (bytes == 1) return jinja_literal(r, "1 Byte");
    size_t begin = jtext_begin(r), i = 0;
    if (bytes < base) {
        buf_printf(&r->text, "%lld Bytes", (long long)bytes);
        return jtext_end(r, begin);
    }
    for (unit = base * base; i < 7 && !(bytes < unit); i++) unit *= base;
    buf_printf(&r->text, "%.1f %s", base * bytes / unit, is_binary ? binary[i] : decimal[i]);
    return jtext_end(r, begin);
}

const jbuiltin jinja_value_filters[] = {
    JINJA_BUILTIN("abs", "!abs", "x", 1, 0, filter_abs),
    JINJA_BUILTIN("attr", "do_attr", "obj name", 2, 1, filter_attr),
    JINJA_BUILTIN("d", "do_default", "value default_value boolean", 1, 0, filter_default),
    JINJA_BUILTIN("default", "do_default", "value default_value boolean", 1, 0, filter_default),
    JINJA_BUILTIN("filesizeformat", "do_filesizeformat", "value binary", 1, 0, filter_filesizeformat),
    JINJA_BUILTIN("float", "do_float", "value default", 1, 0, filter_float),
    JINJA_BUILTIN("int", "do_int", "value default base", 1, 0, filter_int),
    JINJA_BUILTIN("pprint", "do_pprint", "value", 1, 0, filter_pprint),
    JINJA_BUILTIN("round", "do_round", "value precision method", 1, 0, filter_round),
    JINJA_BUILTIN("tojson", "_cached_compile_jinja_template.<locals>.tojson",
                  "x ensure_ascii indent separators sort_keys", 1, 0, filter_tojson),
    {0},
};
