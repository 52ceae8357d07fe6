// Checks of methods' arguments, with the messages of Python's C functions.
#include "text/jinja_methods.h"
#include "text/jinja_render.h"

void jmethod_no_keywords(jrender *r, const char *type, const char *name, const jarguments *a)
{
    if (a->num_keywords) jinja_raise(r, "%s.%s() takes no keyword arguments", type, name);
}

void jmethod_none(jrender *r, const char *type, const char *name, const jarguments *a)
{
    jmethod_no_keywords(r, type, name, a);
    if (a->count) jinja_raise(r, "%s.%s() takes no arguments (%zu given)", type, name, a->count);
}

jvalue jmethod_one(jrender *r, const char *type, const char *name, const jarguments *a)
{
    jmethod_no_keywords(r, type, name, a);
    if (a->count != 1) jinja_raise(r, "%s.%s() takes exactly one argument (%zu given)", type, name, a->count);
    return a->items[0];
}

void jmethod_between(jrender *r, const char *type, const char *name, const jarguments *a, size_t least,
                     size_t most)
{
    jmethod_no_keywords(r, type, name, a);
    size_t bound = a->count < least ? least : most;
    if (a->count < least || a->count > most)
        jinja_raise(r, "%s expected %s %zu argument%s, got %zu", name,
                    a->count < least ? "at least" : "at most", bound, bound == 1 ? "" : "s", a->count);
}

void jmethod_keyworded(jrender *r, const char *name, const jarguments *a, const char *first,
                       const char *second, jvalue bound[2])
{
    const char *names[2] = {first, second};
    size_t most = second ? 2 : 1;
    bound[0] = bound[1] = jmissing();
    if (a->count + a->num_keywords > most)
        jinja_raise(r, "%s() takes at most %zu argument%s (%zu given)", name, most, most == 1 ? "" : "s",
                    a->count + a->num_keywords);
    for (size_t i = 0; i < a->count; i++) bound[i] = a->items[i];
    for (size_t k = 0; k < a->num_keywords; k++) {
        size_t i = 0;
        while (i < most && !jstring_is(a->keywords[k].name, names[i])) i++;
        if (i == most)
            jinja_raise(r, "'%.*s' is an invalid keyword argument for %s()", JFMT(a->keywords[k].name), name);
        if (bound[i].kind != J_MISSING)
            jinja_raise(r, "argument for %s() given by name ('%s') and position (%zu)", name, names[i],
                        i + 1);
        bound[i] = a->keywords[k].value;
    }
}

int64_t jmethod_integer(jrender *r, jvalue v)
{
    return jinja_index(r, v, "'%s' object cannot be interpreted as an integer");
}

const jstring *jmethod_string(jrender *r, jvalue v, const char *message)
{
    if (v.kind != J_STRING) jinja_raise(r, message, jinja_type_name(v));
    return v.string;
}
