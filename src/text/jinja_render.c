// What every part of a render needs: failing, staying within bounds, memory, and turning values into text.
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/jinja_unicode.h"
#include <string.h>

// ---- failures and bounds ----

void jinja_raise(jrender *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    r->status = error_set_v(r->err, LLM_TEMPLATE_ERROR, format, args);
    va_end(args);
    longjmp(r->failed, 1);
}

void jinja_raise_text(jrender *r, const jstring *message)
{
    size_t length = message->length < sizeof r->err->message ? message->length : sizeof r->err->message;
    jinja_raise(r, "%.*s", (int)length, message->data);
}

void jinja_raise_undefined(jrender *r, const jundefined *undefined)
{
    jinja_raise_text(r, jinja_undefined_message(r, undefined));
}

void jinja_raise_overflow(jrender *r)
{
    jinja_raise(r, "integer overflow: integers have 64 bits here");
}

static _Noreturn void no_memory(jrender *r)
{
    r->status = error_no_memory(r->err, "rendering a template");
    longjmp(r->failed, 1);
}

void jinja_step(jrender *r, size_t count)
{
    r->steps += count;
    if (r->steps > r->options.max_steps)
        jinja_raise(r, "the template ran for more than %llu steps", (unsigned long long)r->options.max_steps);
}

void jinja_enter(jrender *r)
{
    if (++r->depth > JINJA_MAX_DEPTH) jinja_raise(r, "maximum recursion depth exceeded");
}

void *jinja_alloc(jrender *r, size_t count, size_t size)
{
    size_t limit = r->options.max_memory;
    if (size && count > limit / size) count = SIZE_MAX / size;
    if (count * size > limit || r->memory.total > limit - count * size)
        jinja_raise(r, "the template's values need more than %zu bytes", limit);
    void *block = arena_alloc_array(&r->memory, count, size);
    if (!block) no_memory(r);
    return block;
}

// ---- building text ----

void jtext_check(jrender *r)
{
    if (!r->text.failed) return;
    if (r->text.length > r->text.limit / 2)
        jinja_raise(r, "the template's output is larger than %zu bytes", r->options.max_output);
    no_memory(r);
}

void jtext_add(jrender *r, const char *data, size_t length)
{
    if (length > r->text.limit - r->text.length)
        jinja_raise(r, "the template's output is larger than %zu bytes", r->options.max_output);
    if (!buf_append(&r->text, data, length)) no_memory(r);
    jinja_pass_over(r, length);
}

void jtext_string(jrender *r, const jstring *s)
{
    jtext_add(r, s->data, s->length);
}
void jtext_literal(jrender *r, const char *text)
{
    jtext_add(r, text, strlen(text));
}

void jtext_char(jrender *r, uint32_t c)
{
    buf_append_utf8(&r->text, c);
    jtext_check(r);
}

jvalue jtext_end(jrender *r, size_t begin)
{
    jtext_check(r);
    jvalue string = jinja_string_copy(r, r->text.data ? r->text.data + begin : "", r->text.length - begin);
    r->text.length = begin;
    return string;
}

static void write_items(jrender *r, const jlist *list, const char *open, const char *close)
{
    jtext_literal(r, open);
    for (size_t i = 0; i < list->count; i++) {
        if (i) jtext_literal(r, ", ");
        jinja_write_value(r, list->items[i]);
    }
    jtext_literal(r, close);
}

static void write_dict(jrender *r, const jdict *dict)
{
    jtext_literal(r, "{");
    for (size_t i = 0; i < dict->count; i++) {
        if (i) jtext_literal(r, ", ");
        jinja_write_value(r, dict->entries[i].key);
        jtext_literal(r, ": ");
        jinja_write_value(r, dict->entries[i].value);
    }
    jtext_literal(r, "}");
}

static void write_view(jrender *r, const jview *view)
{
    const jdict *dict = view->dict;
    jtext_literal(r, jinja_type_name((jvalue){.kind = J_VIEW, .view = (jview *)view}));
    jtext_literal(r, "([");
    for (size_t i = 0; i < dict->count; i++) {
        jtext_literal(r, i ? ", " : "");
        if (view->kind == JVIEW_ITEMS) jtext_literal(r, "(");
        if (view->kind != JVIEW_VALUES) jinja_write_value(r, dict->entries[i].key);
        if (view->kind == JVIEW_ITEMS) jtext_literal(r, ", ");
        if (view->kind != JVIEW_KEYS) jinja_write_value(r, dict->entries[i].value);
        if (view->kind == JVIEW_ITEMS) jtext_literal(r, ")");
    }
    jtext_literal(r, "])");
}

static void write_range(jrender *r, const jrange *range)
{
    buf_printf(&r->text, "range(%lld, %lld", (long long)range->start, (long long)range->stop);
    if (range->step != 1) buf_printf(&r->text, ", %lld", (long long)range->step);
    buf_append_char(&r->text, ')');
}

static void write_macro(jrender *r, const jmacro *macro)
{
    jtext_literal(r, "<Macro ");
    if (macro->syntax->name)
        jinja_write_value(r, jstr(macro->syntax->name));
    else
        jtext_literal(r, "anonymous");
    jtext_literal(r, ">");
}

// Things whose text in Python holds an address.
static void write_object(jrender *r, jvalue value)
{
    jtext_literal(r, "<");
    if (value.kind == J_METHOD) {
        jtext_literal(r, "built-in method ");
        jtext_literal(r, value.method->name);
        jtext_literal(r, " of ");
        value = value.method->self;
    }
    jtext_string(r, jinja_object_type(r, value));
    jtext_literal(r, ">");
}

static void write_container(jrender *r, jvalue value)
{
    jinja_enter(r);
    switch (value.kind) {
    case J_LIST: write_items(r, value.list, "[", "]"); break;
    case J_TUPLE: write_items(r, value.list, "(", value.list->count == 1 ? ",)" : ")"); break;
    case J_DICT: write_dict(r, value.dict); break;
    case J_VIEW: write_view(r, value.view); break;
    default:
        jtext_literal(r, "<Namespace ");
        write_dict(r, value.dict);
        jtext_literal(r, ">");
    }
    jinja_leave(r);
}

void jinja_write_value(jrender *r, jvalue value)
{
    jinja_step(r, 1);
    switch (value.kind) {
    case J_MISSING: jtext_literal(r, "missing"); break;
    case J_UNDEFINED: jtext_literal(r, "Undefined"); break;
    case J_NONE: jtext_literal(r, "None"); break;
    case J_BOOL: jtext_literal(r, value.boolean ? "True" : "False"); break;
    case J_INT: buf_printf(&r->text, "%lld", (long long)value.integer); break;
    case J_BIG: jtext_string(r, value.string); break;
    case J_FLOAT: jinja_write_double(&r->text, value.real); break;
    case J_STRING:
        if (value.string->markup) jtext_literal(r, "Markup(");
        jinja_write_repr(&r->text, value.string->data, value.string->length);
        if (value.string->markup) jtext_literal(r, ")");
        break;
    case J_LIST:
    case J_TUPLE:
    case J_DICT:
    case J_VIEW:
    case J_NAMESPACE: write_container(r, value); break;
    case J_RANGE: write_range(r, value.range); break;
    case J_FUNCTION: jtext_literal(r, value.function->shown); break;
    case J_MACRO: write_macro(r, value.macro); break;
    case J_LOOP: {
        long long length = jloop_length(r, value.loop);
        buf_printf(&r->text, "<LoopContext %lld/%lld>", (long long)value.loop->index0 + 1, length);
        break;
    }
    case J_SELF: jtext_literal(r, "<TemplateReference None>"); break;
    default: write_object(r, value);
    }
    jtext_check(r);
}

void jinja_write(jrender *r, jvalue value)
{
    if (value.kind == J_STRING)
        jtext_string(r, value.string);
    else if (value.kind != J_UNDEFINED)
        jinja_write_value(r, value);
}

const jstring *jinja_repr(jrender *r, jvalue value)
{
    size_t begin = jtext_begin(r);
    jinja_write_value(r, value);
    return jtext_end(r, begin).string;
}

const jstring *jinja_str(jrender *r, jvalue value)
{
    if (value.kind == J_STRING && !value.string->markup) return value.string;
    if (value.kind == J_STRING) {
        jstring *plain = jinja_alloc(r, 1, sizeof *plain);
        *plain = *value.string;
        plain->markup = false;
        return plain;
    }
    return value.kind == J_UNDEFINED ? JINJA_STRING("") : jinja_repr(r, value);
}

const jstring *jinja_soft_str(jrender *r, jvalue value)
{
    return value.kind == J_STRING ? value.string : jinja_str(r, value);
}

// ---- undefined values ----

static jvalue undefined_value(jrender *r, jundefined content)
{
    jundefined *undefined = jinja_alloc(r, 1, sizeof *undefined);
    *undefined = content;
    return (jvalue){.kind = J_UNDEFINED, .undefined = undefined};
}

jvalue jinja_undefined_name(jrender *r, const jstring *name)
{
    return undefined_value(r, (jundefined){.object = jmissing(), .name = jstr(name)});
}

jvalue jinja_undefined_member(jrender *r, jvalue object, jvalue name)
{
    return undefined_value(r, (jundefined){.object = object, .name = name});
}

jvalue jinja_undefined_hint(jrender *r, const char *hint, const jstring *name)
{
    return undefined_value(r, (jundefined){.hint = jinja_string_copy(r, hint, strlen(hint)).string,
                                           .object = jmissing(),
                                           .name = name ? jstr(name) : jnone()});
}

jvalue jinja_forbidden(jrender *r, jvalue object, const jstring *name)
{
    return undefined_value(r, (jundefined){.object = object, .name = jstr(name), .forbidden = true});
}

const jstring *jinja_undefined_message(jrender *r, const jundefined *undefined)
{
    size_t begin = jtext_begin(r);
    if (undefined->hint) return undefined->hint;
    if (undefined->forbidden) {
        jtext_literal(r, "access to attribute ");
        jinja_write_value(r, undefined->name);
        jtext_literal(r, " of '");
        jtext_literal(r, jinja_type_name(undefined->object));
        jtext_literal(r, "' object is unsafe.");
    } else if (undefined->object.kind == J_MISSING) {
        jinja_write_value(r, undefined->name);
        jtext_literal(r, " is undefined");
    } else if (undefined->name.kind != J_STRING) {
        jtext_string(r, jinja_object_type(r, undefined->object));
        jtext_literal(r, " has no element ");
        jinja_write_value(r, undefined->name);
    } else {
        jinja_write_value(r, jstr(jinja_object_type(r, undefined->object)));
        jtext_literal(r, " has no attribute ");
        jinja_write_value(r, undefined->name);
    }
    return jtext_end(r, begin).string;
}
