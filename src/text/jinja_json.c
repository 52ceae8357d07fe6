// JSON: the caller's values in, and json.dumps.
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer {
    jrender *r;
    const jjson_style *style;
    size_t level;
} writer;

static void write_value(writer *w, jvalue value);

static void write_escape(jrender *r, uint32_t c)
{
    static const char *const short_forms[] = {['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f",
                                              ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\"};
    if (c < sizeof short_forms / sizeof *short_forms && short_forms[c]) {
        jtext_literal(r, short_forms[c]);
        return;
    }
    if (c >= 0x10000) {
        buf_printf(&r->text, "\\u%04x", (unsigned)(0xD800 + ((c - 0x10000) >> 10)));
        c = 0xDC00 + ((c - 0x10000) & 0x3FF);
    }
    buf_printf(&r->text, "\\u%04x", (unsigned)c);
    jtext_check(r);
}

static void write_string(writer *w, const jstring *s)
{
    jtext_add(w->r, "\"", 1);
    size_t clean = 0; // start of the bytes that need no escape
    for (size_t i = 0; i < s->length;) {
        unsigned char byte = (unsigned char)s->data[i];
        uint32_t c = byte;
        size_t bytes = 1;
        bool escape = byte < 0x20 || byte == '"' || byte == '\\';
        if (w->style->ensure_ascii && byte >= 0x7F) {
            bytes = jinja_decode(s->data + i, &c);
            escape = true;
        }
        if (escape) {
            jtext_add(w->r, s->data + clean, i - clean);
            write_escape(w->r, c);
            clean = i + bytes;
        }
        i += bytes;
    }
    jtext_add(w->r, s->data + clean, s->length - clean);
    jtext_add(w->r, "\"", 1);
}

static void write_float(jrender *r, double value)
{
    if (isnan(value))
        jtext_literal(r, "NaN");
    else if (isinf(value))
        jtext_literal(r, value < 0 ? "-Infinity" : "Infinity");
    else
        jinja_write_value(r, jfloat(value));
}

static void break_line(writer *w)
{
    if (!w->style->indent) return;
    jtext_add(w->r, "\n", 1);
    for (size_t i = 0; i < w->level; i++) jtext_string(w->r, w->style->indent);
}

static void begin_item(writer *w, size_t i)
{
    if (i) jtext_string(w->r, w->style->item_separator);
    break_line(w);
}

static void write_list(writer *w, const jlist *list)
{
    jtext_add(w->r, "[", 1);
    w->level++;
    for (size_t i = 0; i < list->count; i++) {
        begin_item(w, i);
        write_value(w, list->items[i]);
    }
    w->level--;
    if (list->count) break_line(w);
    jtext_add(w->r, "]", 1);
}

static void write_key(writer *w, jvalue key)
{
    if (key.kind == J_STRING) {
        write_string(w, key.string);
        return;
    }
    if (key.kind > J_FLOAT || key.kind < J_NONE)
        jinja_raise(w->r, "keys must be str, int, float, bool or None, not %s", jinja_type_name(key));
    jtext_add(w->r, "\"", 1);
    write_value(w, key);
    jtext_add(w->r, "\"", 1);
}

static void write_dict(writer *w, const jdict *dict)
{
    const jlist *order = NULL;
    if (w->style->sort_keys) {
        jlist *items =
            jinja_collect(w->r, (jvalue){.kind = J_VIEW, .view = &(jview){(jdict *)dict, JVIEW_ITEMS}});
        jinja_sort(w->r, items, NULL, false);
        order = items;
    }
    jtext_add(w->r, "{", 1);
    w->level++;
    for (size_t i = 0; i < dict->count; i++) {
        begin_item(w, i);
        write_key(w, order ? order->items[i].list->items[0] : dict->entries[i].key);
        jtext_string(w->r, w->style->key_separator);
        write_value(w, order ? order->items[i].list->items[1] : dict->entries[i].value);
    }
    w->level--;
    if (dict->count) break_line(w);
    jtext_add(w->r, "}", 1);
}

static void write_value(writer *w, jvalue value)
{
    jrender *r = w->r;
    jinja_step(r, 1);
    jinja_enter(r);
    switch (value.kind) {
    case J_NONE: jtext_literal(r, "null"); break;
    case J_BOOL: jtext_literal(r, value.boolean ? "true" : "false"); break;
    case J_INT:
    case J_BIG: jinja_write_value(r, value); break;
    case J_FLOAT: write_float(r, value.real); break;
    case J_STRING: write_string(w, value.string); break;
    case J_LIST:
    case J_TUPLE: write_list(w, value.list); break;
    case J_DICT: write_dict(w, value.dict); break;
    default: jinja_raise(r, "Object of type %s is not JSON serializable", jinja_type_name(value));
    }
    jinja_leave(r);
}

jvalue jinja_to_json(jrender *r, jvalue value, const jjson_style *style)
{
    size_t begin = jtext_begin(r);
    writer w = {r, style, 0};
    write_value(&w, value);
    return jtext_end(r, begin);
}

// ---- from JSON ----

static jvalue number_from_json(jrender *r, yyjson_val *json)
{
    if (yyjson_is_sint(json)) return jint(yyjson_get_sint(json));
    if (yyjson_is_real(json)) return jfloat(yyjson_get_real(json));
    uint64_t number = yyjson_get_uint(json);
    if (number <= INT64_MAX) return jint((int64_t)number);
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    jvalue big = jinja_string_copy(r, digits, (size_t)length);
    big.kind = J_BIG;
    return big;
}

// A number kept as text (YYJSON_READ_BIGNUM_AS_RAW).
static jvalue raw_from_json(jrender *r, yyjson_val *json)
{
    jvalue number = jinja_string_copy(r, yyjson_get_raw(json), yyjson_get_len(json));
    const char *text = number.string->data;
    if (strpbrk(text, ".eE")) return jfloat(strtod(text, NULL));
    errno = 0;
    long long small = strtoll(text, NULL, 10);
    if (!errno) return jint(small);
    number.kind = J_BIG;
    return number;
}

static jvalue container_from_json(jrender *r, yyjson_val *json)
{
    size_t i, count;
    yyjson_val *key, *item;
    jinja_enter(r);
    if (yyjson_is_arr(json)) {
        jlist *list = jlist_new(r, yyjson_arr_size(json));
        yyjson_arr_foreach(json, i, count, item) jlist_append(r, list, jinja_from_json(r, item));
        jinja_leave(r);
        return jinja_list(list);
    }
    jdict *dict = jdict_new(r);
    yyjson_obj_foreach(json, i, count, key, item) jdict_set(
        r, dict, jinja_string_of(r, yyjson_get_str(key), yyjson_get_len(key)), jinja_from_json(r, item));
    jinja_leave(r);
    return (jvalue){.kind = J_DICT, .dict = dict};
}

jvalue jinja_from_json(jrender *r, yyjson_val *json)
{
    switch (yyjson_get_type(json)) {
    case YYJSON_TYPE_BOOL: return jbool(yyjson_get_bool(json));
    case YYJSON_TYPE_NUM: return number_from_json(r, json);
    case YYJSON_TYPE_RAW: return raw_from_json(r, json);
    case YYJSON_TYPE_STR: return jinja_string_of(r, yyjson_get_str(json), yyjson_get_len(json));
    case YYJSON_TYPE_ARR:
    case YYJSON_TYPE_OBJ: return container_from_json(r, json);
    default: return jnone();
    }
}
