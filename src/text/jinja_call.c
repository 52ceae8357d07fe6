// Calls: anything callable, and arguments put in the order of a Python function's parameters.
#include "text/jinja_builtin.h"
#include "text/jinja_render.h"
#include <string.h>

static jvalue call_joiner(jjoiner *joiner)
{
    if (joiner->used) return joiner->separator;
    joiner->used = true;
    return jstr(JINJA_STRING(""));
}

jvalue jinja_call(jrender *r, jvalue callee, const jarguments *arguments)
{
    switch (callee.kind) {
    case J_FUNCTION: return callee.function->call(r, callee, arguments);
    case J_METHOD: return callee.method->call(r, callee.method->self, arguments);
    case J_MACRO: return jinja_call_macro(r, callee.macro, arguments);
    case J_LOOP: return jinja_call_loop(r, callee.loop, arguments);
    case J_JOINER:
        if (arguments->count + arguments->num_keywords)
            jinja_raise(r, "Joiner.__call__() takes 1 positional argument but %zu were given",
                        arguments->count + arguments->num_keywords + 1);
        return call_joiner(callee.joiner);
    case J_BLOCK: return jinja_call_block(r, callee.block->block);
    case J_UNDEFINED: jinja_raise_undefined(r, callee.undefined);
    default: jinja_raise(r, "'%s' object is not callable", jinja_type_name(callee));
    }
}

// ---- binding ----

typedef struct parameter_names {
    const char *name[JBUILTIN_MAX_PARAMETERS];
    size_t length[JBUILTIN_MAX_PARAMETERS], count;
} parameter_names;

static parameter_names split_names(const char *parameters)
{
    parameter_names names = {.count = 0};
    for (const char *c = parameters; *c;) {
        size_t length = strcspn(c, " ");
        names.name[names.count] = c;
        names.length[names.count++] = length;
        c += length;
        c += *c == ' ';
    }
    return names;
}

static size_t find_parameter(const parameter_names *names, const jstring *name)
{
    size_t i = 0;
    while (i < names->count &&
           (names->length[i] != name->length || memcmp(names->name[i], name->data, name->length) != 0))
        i++;
    return i;
}

static _Noreturn void too_many(jrender *r, const char *python, size_t required, size_t most, size_t given)
{
    if (required < most)
        jinja_raise(r, "%s() takes from %zu to %zu positional arguments but %zu were given", python, required,
                    most, given);
    jinja_raise(r, "%s() takes %zu positional argument%s but %zu %s given", python, most,
                most == 1 ? "" : "s", given, given == 1 ? "was" : "were");
}

static _Noreturn void missing(jrender *r, const char *python, const parameter_names *names, size_t required,
                              const jvalue *bound)
{
    size_t count = 0, shown = 0, begin = jtext_begin(r);
    for (size_t i = 0; i < required; i++) count += bound[i].kind == J_MISSING;
    buf_printf(&r->text, "%s() missing %zu required positional argument%s: ", python, count,
               count == 1 ? "" : "s");
    for (size_t i = 0; i < required; i++) {
        if (bound[i].kind != J_MISSING) continue;
        if (shown) buf_append_string(&r->text, shown + 1 < count ? ", " : count == 2 ? " and " : ", and ");
        buf_printf(&r->text, "'%.*s'", (int)names->length[i], names->name[i]);
        shown++;
    }
    jinja_raise_text(r, jtext_end(r, begin).string);
}

void jinja_bind(jrender *r, const char *python, const char *parameters, size_t required, size_t hidden,
                const jarguments *arguments, jvalue *bound)
{
    parameter_names names = split_names(parameters);
    for (size_t i = 0; i < names.count; i++)
        bound[i] = i < arguments->count ? arguments->items[i] : jmissing();
    for (size_t k = 0; k < arguments->num_keywords; k++) {
        const jstring *name = arguments->keywords[k].name;
        size_t i = find_parameter(&names, name);
        if (i == names.count)
            jinja_raise(r, "%s() got an unexpected keyword argument '%.*s'", python, JFMT(name));
        if (bound[i].kind != J_MISSING)
            jinja_raise(r, "%s() got multiple values for argument '%.*s'", python, JFMT(name));
        bound[i] = arguments->keywords[k].value;
    }
    if (arguments->count > names.count)
        too_many(r, python, required + hidden, names.count + hidden, arguments->count + hidden);
    for (size_t i = 0; i < required; i++)
        if (bound[i].kind == J_MISSING) missing(r, python, &names, required, bound);
}

// Functions of C that take one argument, and those of the operator module, say it differently.
static void bind_native(jrender *r, const jbuiltin *builtin, const jarguments *arguments, jvalue *bound)
{
    const char *name = builtin->python + 1;
    if (arguments->num_keywords)
        jinja_raise(r, "%s%s() takes no keyword arguments", *builtin->python == '=' ? "_operator." : "",
                    name);
    if (arguments->count != builtin->required) {
        if (*builtin->python == '=')
            jinja_raise(r, "%s expected 2 arguments, got %zu", name, arguments->count);
        jinja_raise(r, "%s() takes exactly one argument (%zu given)", name, arguments->count);
    }
    for (size_t i = 0; i < arguments->count; i++) bound[i] = arguments->items[i];
}

jvalue jinja_call_builtin(jrender *r, const jbuiltin *builtin, jvalue value, const jarguments *arguments)
{
    if (!builtin->parameters) return builtin->call_any(r, value, arguments);
    jvalue bound[JBUILTIN_MAX_PARAMETERS], few[JBUILTIN_MAX_PARAMETERS];
    jarguments all = {.count = arguments->count + 1,
                      .keywords = arguments->keywords,
                      .num_keywords = arguments->num_keywords};
    all.items = all.count <= JBUILTIN_MAX_PARAMETERS ? few : jinja_alloc(r, all.count, sizeof *all.items);
    all.items[0] = value;
    for (size_t i = 0; i < arguments->count; i++) all.items[i + 1] = arguments->items[i];
    if (*builtin->python == '!' || *builtin->python == '=')
        bind_native(r, builtin, &all, bound);
    else
        jinja_bind(r, builtin->python, builtin->parameters, builtin->required, builtin->hidden, &all, bound);
    return builtin->call(r, bound);
}

// ---- filters and tests by name ----

static _Noreturn void no_such(jrender *r, const char *kind, jvalue name)
{
    const jstring *shown = jinja_repr(r, name);
    if (name.kind != J_UNDEFINED) jinja_raise(r, "No %s named %.*s.", kind, JFMT(shown));
    jinja_raise(r, "No %s named %.*s. (%.*s; did you forget to quote the callable name?)", kind, JFMT(shown),
                JFMT(jinja_undefined_message(r, name.undefined)));
}

jvalue jinja_call_filter(jrender *r, jvalue name, jvalue value, const jarguments *arguments)
{
    jinja_hash(r, name);
    const jbuiltin *builtin = name.kind == J_STRING ? jinja_find_filter(name.string) : NULL;
    if (!builtin) no_such(r, "filter", name);
    return jinja_call_builtin(r, builtin, value, arguments);
}

jvalue jinja_call_test(jrender *r, jvalue name, jvalue value, const jarguments *arguments)
{
    jinja_hash(r, name);
    const jbuiltin *builtin = name.kind == J_STRING ? jinja_find_test(name.string) : NULL;
    if (!builtin) no_such(r, "test", name);
    return jinja_call_builtin(r, builtin, value, arguments);
}
