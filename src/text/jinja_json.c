// json.dumps.
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"
#include <math.h>
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
