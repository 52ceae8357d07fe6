// Parsing a template once, rendering it any number of times.
#include "text/jinja.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/jinja_parser.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"

void jinja_options_init(jinja_options *options)
{
    *options =
        (jinja_options){.now = -1, .max_steps = 200000000, .max_output = 64 << 20, .max_memory = 256 << 20};
}

static void parse_all(jparser *p, jinja_template *tmpl, const char *source, size_t length)
{
    if (!strmap_init(&p->interned, 64)) {
        p->parse->status = error_no_memory(p->parse->err, "a template");
        longjmp(p->parse->failed, 1);
    }
    jlexer_init(&p->lexer, p->parse, source, length);
    jinja_parse_body(p, tmpl);
    jinja_resolve(p, tmpl);
}

llm_status jinja_parse(const char *source, size_t length, jinja_template **result, llm_error *err)
{
    *result = NULL;
    if (length > JINJA_MAX_SOURCE)
        return error_set(err, LLM_TEMPLATE_ERROR, "the template is too large: %zu bytes, the limit is %d",
                         length, JINJA_MAX_SOURCE);
    if (!utf8_valid(source, length))
        return error_set(err, LLM_TEMPLATE_ERROR, "the template is not valid UTF-8");
    jinja_template *tmpl = mem_alloc_zero(1, sizeof *tmpl);
    if (!tmpl) return error_no_memory(err, "a template");
    arena_init(&tmpl->memory);
    jparse parse = {.memory = &tmpl->memory, .err = err};
    jparser parser = {.parse = &parse};
    locale_t before = jinja_enter_locale();
    if (setjmp(parse.failed) == 0) parse_all(&parser, tmpl, source, length);
    jinja_leave_locale(before);
    strmap_free(&parser.interned);
    if (parse.status != LLM_OK) {
        jinja_template_free(tmpl);
        return parse.status;
    }
    *result = tmpl;
    return LLM_OK;
}

void jinja_template_free(jinja_template *tmpl)
{
    if (!tmpl) return;
    arena_free(&tmpl->memory);
    mem_free(tmpl);
}

llm_status jinja_render_prepared(const jinja_template *tmpl, void (*prepare)(jrender *r, const void *user),
                                 const void *user, const jinja_options *options, buf *out, llm_error *err)
{
    jrender r = {.tmpl = tmpl, .err = err};
    jinja_options_init(&r.options);
    if (options) r.options = *options;
    arena_init(&r.memory);
    r.text.limit = r.options.max_output;
    locale_t before = jinja_enter_locale();
    if (setjmp(r.failed) == 0) {
        r.context = jdict_new(&r);
        r.exported = jdict_new(&r);
        prepare(&r, user);
        jinja_run_template(&r);
    }
    jinja_leave_locale(before);
    if (r.status == LLM_OK && !buf_append(out, r.text.data, r.text.length))
        r.status = error_no_memory(err, "a rendered template");
    buf_free(&r.text);
    arena_free(&r.memory);
    return r.status;
}

static void set_variables(jrender *r, const void *context)
{
    yyjson_val *object = (yyjson_val *)context;
    if (object && !yyjson_is_obj(object)) jinja_raise(r, "a template's variables must be an object");
    if (object) r->context = jinja_from_json(r, object).dict;
}

llm_status jinja_render(const jinja_template *tmpl, yyjson_val *context, const jinja_options *options,
                        buf *out, llm_error *err)
{
    return jinja_render_prepared(tmpl, set_variables, context, options, out, err);
}
