// Evaluates expressions.
#include "text/jinja_builtin.h"
#include "text/jinja_render.h"

static jvalue eval_name(jrender *r, const jnode *node)
{
    const jactivation *activation = r->activation;
    for (uint32_t hops = node->name.slot.hops; hops; hops--) activation = activation->outer;
    jvalue value = activation->slots[node->name.slot.index];
    return value.kind == J_MISSING && node->check ? jinja_undefined_name(r, node->name.name) : value;
}

static jvalue eval_list(jrender *r, const jnode *node)
{
    jlist *list = jlist_new(r, node->list.items.count);
    for (size_t i = 0; i < node->list.items.count; i++)
        jlist_append(r, list, jinja_evaluate(r, node->list.items.items[i]));
    return node->kind == JN_LIST ? jinja_list(list) : jinja_tuple(list);
}

static jvalue eval_dict(jrender *r, const jnode *node)
{
    jdict *dict = jdict_new(r);
    for (size_t i = 0; i < node->list.items.count; i += 2) {
        jvalue key = jinja_evaluate(r, node->list.items.items[i]);
        jdict_set(r, dict, key, jinja_evaluate(r, node->list.items.items[i + 1]));
    }
    return (jvalue){.kind = J_DICT, .dict = dict};
}

static jvalue eval_conditional(jrender *r, const jnode *node)
{
    if (jinja_truth(r, jinja_evaluate(r, node->conditional.test)))
        return jinja_evaluate(r, node->conditional.yes);
    if (node->conditional.no) return jinja_evaluate(r, node->conditional.no);
    size_t begin = jtext_begin(r);
    buf_printf(&r->text,
               "the inline if-expression on line %u evaluated to false and no else section was defined.",
               (unsigned)node->line);
    return jinja_undefined_hint(r, jtext_end(r, begin).string->data, NULL);
}

static jvalue eval_binary(jrender *r, const jnode *node)
{
    jvalue left = jinja_evaluate(r, node->binary.left);
    if (node->op == JO_AND) return jinja_truth(r, left) ? jinja_evaluate(r, node->binary.right) : left;
    if (node->op == JO_OR) return jinja_truth(r, left) ? left : jinja_evaluate(r, node->binary.right);
    return jinja_binary(r, node->op, left, jinja_evaluate(r, node->binary.right));
}

static jvalue eval_concat(jrender *r, const jnode *node)
{
    jlist *parts = jlist_new(r, node->list.items.count);
    for (size_t i = 0; i < node->list.items.count; i++)
        jlist_append(r, parts, jinja_evaluate(r, node->list.items.items[i]));
    size_t begin = jtext_begin(r);
    bool markup = false;
    for (size_t i = 0; i < parts->count; i++)
        markup |= node->escapes && parts->items[i].kind == J_STRING && parts->items[i].string->markup;
    for (size_t i = 0; i < parts->count; i++)
        jinja_write(r, markup ? jinja_escape(r, parts->items[i]) : parts->items[i]);
    return markup ? jinja_markup(r, jtext_end(r, begin)) : jtext_end(r, begin);
}

static bool compare(jrender *r, joperator op, jvalue left, jvalue right)
{
    switch (op) {
    case JO_EQ: return jinja_equal(r, left, right);
    case JO_NE: return !jinja_equal(r, left, right);
    case JO_IN: return jinja_contains(r, right, left);
    case JO_NOT_IN: return !jinja_contains(r, right, left);
    default: return jinja_compare(r, op, left, right);
    }
}

static jvalue eval_comparison(jrender *r, const jnode *node)
{
    jvalue left = jinja_evaluate(r, node->list.items.items[0]);
    for (size_t i = 1; i < node->list.items.count; i++) {
        jvalue right = jinja_evaluate(r, node->list.items.items[i]);
        if (!compare(r, node->list.operators[i], left, right)) return jbool(false);
        left = right;
    }
    return jbool(true);
}

static jvalue eval_optional(jrender *r, const jnode *node)
{
    return node ? jinja_evaluate(r, node) : jnone();
}

static jvalue eval_subscript(jrender *r, const jnode *node)
{
    const jnode *index = node->subscript.index;
    jvalue object = jinja_evaluate(r, node->subscript.object);
    if (index->kind != JN_SLICE) return jinja_item(r, object, jinja_evaluate(r, index));
    jvalue start = eval_optional(r, index->slice.start), stop = eval_optional(r, index->slice.stop);
    return jinja_slice(r, object, start, stop, eval_optional(r, index->slice.step));
}

// ---- calls ----

static void add_keyword(jrender *r, jarguments *arguments, const jstring *name, jvalue value)
{
    for (size_t i = 0; i < arguments->num_keywords; i++)
        if (jstring_equals(arguments->keywords[i].name, name))
            jinja_raise(
                r,
                "jinja2.sandbox.SandboxedEnvironment.call() got multiple values for keyword argument '%.*s'",
                JFMT(name));
    arguments->keywords[arguments->num_keywords++] = (jkeyword){name, value};
}

static void add_star(jrender *r, jarguments *arguments, jvalue star)
{
    if (!jinja_is_iterable(star))
        jinja_raise(r, "Value after * must be an iterable, not %s", jinja_type_name(star));
    const jlist *more = jinja_collect(r, star);
    jvalue *items = jinja_alloc(r, arguments->count + more->count + 1, sizeof *items);
    for (size_t i = 0; i < arguments->count; i++) items[i] = arguments->items[i];
    for (size_t i = 0; i < more->count; i++) items[arguments->count + i] = more->items[i];
    arguments->items = items;
    arguments->count += more->count;
}

static void add_star_star(jrender *r, jarguments *arguments, jvalue mapping)
{
    if (mapping.kind != J_DICT)
        jinja_raise(r,
                    "jinja2.sandbox.SandboxedEnvironment.call() argument after ** must be a mapping, not %s",
                    jinja_type_name(mapping));
    const jdict *dict = mapping.dict;
    jkeyword *keywords = jinja_alloc(r, arguments->num_keywords + dict->count + 1, sizeof *keywords);
    for (size_t i = 0; i < arguments->num_keywords; i++) keywords[i] = arguments->keywords[i];
    arguments->keywords = keywords;
    jinja_step(r, (arguments->num_keywords + dict->count) * dict->count / 16);
    for (size_t i = 0; i < dict->count; i++) {
        if (dict->entries[i].key.kind != J_STRING) jinja_raise(r, "keywords must be strings");
        add_keyword(r, arguments, dict->entries[i].key.string, dict->entries[i].value);
    }
}

static jarguments eval_arguments(jrender *r, const jcall_syntax *call, size_t extra_keywords)
{
    jarguments arguments = {.count = call->arguments.count, .num_keywords = call->keywords.count};
    if (arguments.count) arguments.items = jinja_alloc(r, arguments.count, sizeof *arguments.items);
    size_t num_keywords = arguments.num_keywords + extra_keywords;
    if (num_keywords) arguments.keywords = jinja_alloc(r, num_keywords, sizeof *arguments.keywords);
    for (size_t i = 0; i < arguments.count; i++)
        arguments.items[i] = jinja_evaluate(r, call->arguments.items[i]);
    for (size_t i = 0; i < arguments.num_keywords; i++)
        arguments.keywords[i] =
            (jkeyword){call->keyword_names[i], jinja_evaluate(r, call->keywords.items[i])};
    if (call->star) add_star(r, &arguments, jinja_evaluate(r, call->star));
    if (call->star_star) add_star_star(r, &arguments, jinja_evaluate(r, call->star_star));
    return arguments;
}

jvalue jinja_evaluate_call(jrender *r, const jnode *node, jvalue caller)
{
    jvalue callee = jinja_evaluate(r, node->apply.object);
    bool has_caller = caller.kind != J_MISSING;
    jarguments arguments = eval_arguments(r, node->apply.call, has_caller);
    if (has_caller && node->apply.call->star_star) { // the list was made anew, without room for one more
        jkeyword *keywords = jinja_alloc(r, arguments.num_keywords + 1, sizeof *keywords);
        for (size_t i = 0; i < arguments.num_keywords; i++) keywords[i] = arguments.keywords[i];
        arguments.keywords = keywords;
    }
    if (has_caller) add_keyword(r, &arguments, JINJA_STRING("caller"), caller);
    return jinja_call(r, callee, &arguments);
}

static jvalue eval_filter(jrender *r, const jnode *node)
{
    jvalue value = node->apply.object ? jinja_evaluate(r, node->apply.object) : r->captured;
    jarguments arguments = eval_arguments(r, node->apply.call, 0);
    if (!node->apply.builtin)
        jinja_raise(r, "No %s named '%.*s' found.", node->kind == JN_FILTER ? "filter" : "test",
                    JFMT(node->apply.name));
    return jinja_call_builtin(r, node->apply.builtin, value, &arguments);
}

static jvalue evaluate(jrender *r, const jnode *node)
{
    switch (node->kind) {
    case JN_CONST: return node->constant;
    case JN_NAME: return eval_name(r, node);
    case JN_TUPLE:
    case JN_LIST: return eval_list(r, node);
    case JN_DICT: return eval_dict(r, node);
    case JN_CONDITIONAL: return eval_conditional(r, node);
    case JN_BINARY: return eval_binary(r, node);
    case JN_UNARY: return jinja_unary(r, node->op, jinja_evaluate(r, node->binary.left));
    case JN_CONCAT: return eval_concat(r, node);
    case JN_COMPARE: return eval_comparison(r, node);
    case JN_ATTRIBUTE:
        return jinja_attribute(r, jinja_evaluate(r, node->attribute.object), node->attribute.name);
    case JN_SUBSCRIPT: return eval_subscript(r, node);
    case JN_CALL: return jinja_evaluate_call(r, node, jmissing());
    case JN_FILTER:
    case JN_TEST: return eval_filter(r, node);
    default: jinja_raise(r, "invalid syntax");
    }
}

jvalue jinja_evaluate(jrender *r, const jnode *node)
{
    jinja_step(r, 1);
    jinja_enter(r);
    jvalue value = evaluate(r, node);
    jinja_leave(r);
    return value;
}
