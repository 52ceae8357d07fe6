// Runs statements.
#include "text/jinja_render.h"
#include <string.h>

typedef enum flow { RUN_ON, RUN_BREAK, RUN_CONTINUE } flow;

static flow run_body(jrender *r, const jnodes *body);

// ---- variables ----

static jvalue *slot_at(jrender *r, jslot slot)
{
    jactivation *activation = r->activation;
    for (uint32_t hops = slot.hops; hops; hops--) activation = activation->outer;
    return &activation->slots[slot.index];
}

jvalue jinja_resolve_name(jrender *r, const jstring *name)
{
    jvalue value;
    if (r->locals && jdict_find(r->locals, name, &value)) return value;
    if (jdict_find(r->exported, name, &value)) return value;
    if (jdict_find(r->context, name, &value)) return value;
    return jinja_global(name);
}

static void enter_scope(jrender *r, const jscope *scope)
{
    jvalue *slots = r->activation->slots;
    for (size_t i = 0; i < scope->count; i++) {
        const jload *load = &scope->loads[i];
        if (load->kind == JLOAD_CONTEXT)
            slots[load->slot] = jinja_resolve_name(r, load->name);
        else if (load->kind == JLOAD_COPY)
            slots[load->slot] = *slot_at(r, load->from);
        else if (load->kind == JLOAD_MISSING)
            slots[load->slot] = jmissing();
    }
}

static void leave_scope(jrender *r, const jscope *scope)
{
    for (size_t i = 0; i < scope->count; i++) r->activation->slots[scope->loads[i].slot] = jmissing();
}

// A new activation becomes the current one; the old one is returned to be put back.
static jactivation *push_activation(jrender *r, const jcode *code, jactivation *outer)
{
    jactivation *before = r->activation,
                *fresh = jinja_alloc(r, 1, sizeof *fresh + code->num_slots * sizeof(jvalue));
    fresh->outer = outer;
    r->activation = fresh;
    return before;
}

static void set_namespace(jrender *r, const jnode *target, jvalue value)
{
    const jvalue *space = slot_at(r, target->name.slot);
    if (space->kind != J_NAMESPACE) jinja_raise(r, "cannot assign attribute on non-namespace object");
    if (target->name.attribute->data[0] == '_')
        jinja_raise(r,
                    "Chat templates cannot store underscore-prefixed attributes on a namespace, but got "
                    "'%.*s'. Please rename the attribute.",
                    JFMT(target->name.attribute));
    jdict_set(r, space->dict, jstr(target->name.attribute), value);
}

static void assign(jrender *r, const jnode *target, jvalue value);

static void unpack(jrender *r, const jnodes *targets, jvalue value)
{
    jiterator it;
    jvalue extra, *items = jinja_alloc(r, targets->count + 1, sizeof *items);
    size_t count = 0;
    if (!jinja_is_iterable(value))
        jinja_raise(r, "cannot unpack non-iterable %s object", jinja_type_name(value));
    jiterator_begin(r, value, &it);
    while (count < targets->count && jiterator_next(r, &it, &items[count])) count++;
    if (count < targets->count)
        jinja_raise(r, "not enough values to unpack (expected %zu, got %zu)", targets->count, count);
    if (jiterator_next(r, &it, &extra))
        jinja_raise(r, "too many values to unpack (expected %zu)", targets->count);
    for (size_t i = 0; i < count; i++) assign(r, targets->items[i], items[i]);
}

static void assign(jrender *r, const jnode *target, jvalue value)
{
    if (target->kind == JN_TUPLE) {
        unpack(r, &target->list.items, value);
    } else if (target->kind == JN_NSREF) {
        set_namespace(r, target, value);
    } else {
        *slot_at(r, target->name.slot) = value;
        if (target->exported && r->tmpl->blocks) jdict_set(r, r->exported, jstr(target->name.name), value);
    }
}

static void run_assign(jrender *r, const jassign *statement)
{
    for (size_t i = 0; i < statement->num_namespaces; i++)
        if (slot_at(r, statement->namespaces[i])->kind != J_NAMESPACE)
            jinja_raise(r, "cannot assign attribute on non-namespace object");
    assign(r, statement->target, jinja_evaluate(r, statement->value));
}

static flow run_assign_block(jrender *r, const jassign *statement)
{
    size_t begin = jtext_begin(r);
    enter_scope(r, &statement->scope);
    flow after = run_body(r, &statement->body);
    jvalue text = jtext_end(r, begin);
    if (after != RUN_ON) return after;
    if (statement->filter) {
        r->captured = text;
        text = jinja_evaluate(r, statement->filter);
    }
    assign(r, statement->target, r->escapes ? jinja_markup(r, jstr(jinja_str(r, text))) : text);
    leave_scope(r, &statement->scope);
    return RUN_ON;
}

// What filter and call blocks give is joined to the output as it is: it must be a string.
static void write_string(jrender *r, jvalue value)
{
    if (value.kind != J_STRING)
        jinja_raise(r, "sequence item 0: expected str instance, %s found", jinja_type_name(value));
    jtext_string(r, value.string);
}

static flow run_filter_block(jrender *r, const jwith *statement, bool escapes)
{
    size_t begin = jtext_begin(r);
    enter_scope(r, &statement->scope);
    flow after = run_body(r, &statement->body);
    r->captured = jtext_end(r, begin);
    if (escapes) r->captured = jinja_markup(r, r->captured);
    if (after != RUN_ON) return after;
    write_string(r, jinja_evaluate(r, statement->filter));
    leave_scope(r, &statement->scope);
    return RUN_ON;
}

static flow run_with(jrender *r, const jwith *statement)
{
    enter_scope(r, &statement->scope);
    for (size_t i = 0; i < statement->targets.count; i++)
        assign(r, statement->targets.items[i], jinja_evaluate(r, statement->values.items[i]));
    flow after = run_body(r, &statement->body);
    if (after == RUN_ON) leave_scope(r, &statement->scope);
    return after;
}

// As in Jinja2, a break out of the scope leaves its setting behind.
static flow run_scope(jrender *r, const jwith *statement, bool escapes)
{
    bool before = r->escapes;
    r->escapes = escapes;
    flow after = run_with(r, statement);
    if (after == RUN_ON) r->escapes = before;
    return after;
}

// ---- loops ----

typedef struct loop_filter {
    const jfor *loop;
    jactivation *activation; // of the filter
    jiterator source;
    bool started;
} loop_filter;

// What the filter yields: the target's value, made anew from its variables.
static jvalue target_value(jrender *r, const jnode *target)
{
    if (target->kind != JN_TUPLE) return *slot_at(r, target->name.slot);
    jlist *list = jlist_new(r, target->list.items.count);
    for (size_t i = 0; i < target->list.items.count; i++)
        jlist_append(r, list, target_value(r, target->list.items.items[i]));
    return jinja_tuple(list);
}

static bool next_filtered(jrender *r, jiterator *it, jvalue *item)
{
    loop_filter *filter = it->state;
    jactivation *before = r->activation;
    r->activation = filter->activation;
    if (!filter->started) {
        enter_scope(r, &filter->loop->test_code.scope);
        jiterator_begin(r, it->source, &filter->source);
        filter->started = true;
    }
    bool found = false;
    while (!found && jiterator_next(r, &filter->source, item)) {
        assign(r, filter->loop->test_target, *item);
        found = jinja_truth(r, jinja_evaluate(r, filter->loop->test));
    }
    if (found) *item = target_value(r, filter->loop->test_target);
    r->activation = before;
    return found;
}

// `definer`: the activation in which the loop stands.
static jvalue filtered(jrender *r, const jfor *loop, jvalue iterable, jactivation *definer)
{
    loop_filter *filter = jinja_alloc(r, 1, sizeof *filter);
    jactivation *before = push_activation(r, &loop->test_code, definer);
    filter->loop = loop;
    filter->activation = r->activation;
    r->activation = before;
    return jinja_generator(r, next_filtered, iterable, filter);
}

// As in Jinja2's generated code, only an iteration that reaches its end keeps the else branch from running.
static flow run_loop(jrender *r, const jfor *loop, jvalue iterable, int64_t depth, jactivation *definer)
{
    jiterator source;
    jloop context = {.source = &source, .index0 = -1, .length = -1, .depth0 = depth, .outer = definer},
          *shared = NULL;
    bool completed = false;
    jvalue item;
    if (loop->extended) r->activation->slots[loop->loop_slot] = jmissing();
    if (loop->test) iterable = filtered(r, loop, iterable, definer);
    jiterator_begin(r, iterable, &source);
    if (loop->extended) {
        shared = jinja_alloc(r, 1, sizeof *shared); // closures and `loop` itself may outlive this function
        *shared = context;
        shared->source = jinja_alloc(r, 1, sizeof source);
        *shared->source = source;
        shared->iterable = iterable;
        if (loop->recursive) shared->recursive = loop;
    }
    while (shared ? jloop_next(r, shared, &item) : jiterator_next(r, &source, &item)) {
        assign(r, loop->target, item);
        if (shared) r->activation->slots[loop->loop_slot] = (jvalue){.kind = J_LOOP, .loop = shared};
        enter_scope(r, &loop->body_scope);
        flow after = run_body(r, &loop->body);
        if (after == RUN_ON) completed = true;
        if (after == RUN_BREAK) break;
    }
    leave_scope(r, &loop->body_scope);
    if (completed || !loop->otherwise.count) return RUN_ON;
    enter_scope(r, &loop->else_scope);
    flow after = run_body(r, &loop->otherwise);
    leave_scope(r, &loop->else_scope);
    return after;
}

static jvalue run_recursive(jrender *r, const jfor *loop, jvalue iterable, int64_t depth,
                            jactivation *definer)
{
    size_t begin = jtext_begin(r);
    jinja_enter(r);
    jactivation *before = push_activation(r, &loop->code, definer);
    run_loop(r, loop, iterable, depth, definer);
    r->activation = before;
    jinja_leave(r);
    return jtext_end(r, begin);
}

jvalue jinja_call_loop(jrender *r, jloop *loop, const jarguments *arguments)
{
    if (arguments->count + arguments->num_keywords == 0)
        jinja_raise(r, "LoopContext.__call__() missing 1 required positional argument: 'iterable'");
    if (arguments->count + arguments->num_keywords > 1)
        jinja_raise(r, "LoopContext.__call__() takes 2 positional arguments but %zu were given",
                    arguments->count + 1);
    if (!loop->recursive)
        jinja_raise(r, "The loop must have the 'recursive' marker to be called recursively.");
    jvalue iterable = arguments->count ? arguments->items[0] : arguments->keywords[0].value;
    return run_recursive(r, loop->recursive, iterable, loop->depth0 + 1, loop->outer);
}

static flow run_for(jrender *r, const jfor *loop)
{
    jvalue iterable = jinja_evaluate(r, loop->iter);
    if (!loop->recursive) return run_loop(r, loop, iterable, 0, r->activation);
    jinja_write(r, run_recursive(r, loop, iterable, 0, r->activation));
    return RUN_ON;
}

// ---- macros ----

static jvalue new_macro(jrender *r, const jmacro_syntax *syntax)
{
    jmacro *macro = jinja_alloc(r, 1, sizeof *macro);
    *macro = (jmacro){syntax, r->activation};
    return (jvalue){.kind = J_MACRO, .macro = macro};
}

static const jstring *macro_name(jrender *r, const jmacro_syntax *syntax)
{
    return jinja_repr(r, syntax->name ? jstr(syntax->name) : jnone());
}

// Takes a keyword out of the arguments; J_MISSING if it is not there.
static jvalue take_keyword(const jarguments *arguments, bool *taken, const jstring *name)
{
    for (size_t i = 0; i < arguments->num_keywords; i++)
        if (!taken[i] && jstring_equals(arguments->keywords[i].name, name))
            return taken[i] = true, arguments->keywords[i].value;
    return jmissing();
}

static void bind_rest(jrender *r, const jmacro_syntax *syntax, const jarguments *arguments, const bool *taken)
{
    jvalue *slots = r->activation->slots;
    size_t num_parameters = syntax->parameters.count;
    jdict *kwargs = syntax->uses_kwargs ? jdict_new(r) : NULL;
    const jstring *first = NULL;
    bool has_caller = false;
    for (size_t i = 0; i < arguments->num_keywords; i++) {
        if (taken[i]) continue;
        const jstring *name = arguments->keywords[i].name;
        if (kwargs) jdict_set(r, kwargs, jstr(name), arguments->keywords[i].value);
        if (!first) first = name;
        has_caller |= jstring_is(name, "caller");
    }
    if (kwargs)
        slots[syntax->kwargs_slot] = (jvalue){.kind = J_DICT, .dict = kwargs};
    else if (has_caller)
        jinja_raise(r,
                    "macro %.*s was invoked with two values for the special caller argument. This is most "
                    "likely a bug.",
                    JFMT(macro_name(r, syntax)));
    else if (first)
        jinja_raise(r, "macro %.*s takes no keyword argument %.*s", JFMT(macro_name(r, syntax)),
                    JFMT(jinja_repr(r, jstr(first))));
    if (syntax->uses_varargs) {
        jlist *varargs = jlist_new(r, 0);
        for (size_t i = num_parameters; i < arguments->count; i++)
            jlist_append(r, varargs, arguments->items[i]);
        slots[syntax->varargs_slot] = jinja_tuple(varargs);
    } else if (arguments->count > num_parameters) {
        jinja_raise(r, "macro %.*s takes not more than %zu argument(s)", JFMT(macro_name(r, syntax)),
                    num_parameters);
    }
}

static void bind_macro(jrender *r, const jmacro_syntax *syntax, const jarguments *arguments)
{
    jvalue *slots = r->activation->slots;
    size_t num_parameters = syntax->parameters.count;
    bool found_caller = false, *taken = jinja_alloc(r, arguments->num_keywords + 1, sizeof *taken);
    for (size_t i = 0; i < num_parameters; i++) {
        const jnode *parameter = syntax->parameters.items[i];
        jvalue *slot = &slots[parameter->name.slot.index];
        *slot =
            i < arguments->count ? arguments->items[i] : take_keyword(arguments, taken, parameter->name.name);
        found_caller |= jstring_is(parameter->name.name, "caller");
    }
    if (syntax->uses_caller && !found_caller) {
        jvalue caller = take_keyword(arguments, taken, JINJA_STRING("caller"));
        if (caller.kind == J_MISSING || caller.kind == J_NONE)
            caller = jinja_undefined_hint(r, "No caller defined", JINJA_STRING("caller"));
        slots[syntax->caller_slot] = caller;
    }
    bind_rest(r, syntax, arguments, taken);
}

static void set_defaults(jrender *r, const jmacro_syntax *syntax)
{
    size_t num_parameters = syntax->parameters.count, first_default = num_parameters - syntax->defaults.count;
    for (size_t i = 0; i < num_parameters; i++) {
        const jnode *parameter = syntax->parameters.items[i];
        jvalue *slot = &r->activation->slots[parameter->name.slot.index];
        if (slot->kind != J_MISSING) continue;
        if (i >= first_default) {
            *slot = jinja_evaluate(r, syntax->defaults.items[i - first_default]);
        } else {
            size_t begin = jtext_begin(r);
            jtext_literal(r, "parameter ");
            jinja_write_value(r, jstr(parameter->name.name));
            jtext_literal(r, " was not provided");
            *slot = jinja_undefined_hint(r, jtext_end(r, begin).string->data, parameter->name.name);
        }
    }
}

jvalue jinja_call_macro(jrender *r, jmacro *macro, const jarguments *arguments)
{
    const jmacro_syntax *syntax = macro->syntax;
    jactivation *before = push_activation(r, &syntax->code, macro->outer);
    jinja_enter(r);
    bind_macro(r, syntax, arguments);
    size_t begin = jtext_begin(r);
    enter_scope(r, &syntax->code.scope);
    set_defaults(r, syntax);
    run_body(r, &syntax->body);
    jinja_leave(r);
    r->activation = before;
    jvalue text = jtext_end(r, begin);
    return r->escapes ? jinja_markup(r, text) : text;
}

static void run_macro(jrender *r, const jnode *node)
{
    jvalue macro = new_macro(r, node->macro.syntax);
    *slot_at(r, node->macro.slot) = macro;
    if (node->exported && r->tmpl->blocks) jdict_set(r, r->exported, jstr(node->macro.syntax->name), macro);
}

static void run_generation(jrender *r, const jmacro_syntax *syntax)
{
    jactivation *before = push_activation(r, &syntax->code, r->activation);
    bind_macro(r, syntax, &(const jarguments){0});
    enter_scope(r, &syntax->code.scope);
    run_body(r, &syntax->body);
    r->activation = before;
}

// ---- blocks ----

static void run_block_code(jrender *r, const jblock *block)
{
    jactivation *before = push_activation(r, &block->code, NULL);
    jinja_enter(r);
    if (block->uses_self) r->activation->slots[block->self_slot] = (jvalue){.kind = J_SELF};
    enter_scope(r, &block->code.scope);
    run_body(r, &block->body);
    jinja_leave(r);
    r->activation = before;
}

static void run_block(jrender *r, const jblock *block)
{
    jdict *before = r->locals;
    if (block->required) jinja_raise(r, "Required block '%.*s' not found", JFMT(block->name));
    if (block->scoped) {
        jdict *locals = jdict_new(r);
        for (size_t i = 0; before && i < before->count; i++)
            jdict_set(r, locals, before->entries[i].key, before->entries[i].value);
        for (size_t i = 0; i < block->num_locals; i++) {
            jvalue value = *slot_at(r, block->locals[i]);
            if (value.kind != J_MISSING) jdict_set(r, locals, jstr(block->local_names[i]), value);
        }
        r->locals = locals;
    }
    run_block_code(r, block);
    r->locals = before;
}

jvalue jinja_call_block(jrender *r, const jblock *block)
{
    jdict *before = r->locals;
    size_t begin = jtext_begin(r);
    r->locals = NULL;
    run_block_code(r, block);
    r->locals = before;
    return jtext_end(r, begin);
}

// ---- everything ----

static flow run_if(jrender *r, const jbranch *branch)
{
    if (jinja_truth(r, jinja_evaluate(r, branch->test))) return run_body(r, &branch->body);
    for (size_t i = 0; i < branch->elifs.count; i++) {
        const jbranch *other = branch->elifs.items[i]->branch;
        if (jinja_truth(r, jinja_evaluate(r, other->test))) return run_body(r, &other->body);
    }
    return run_body(r, &branch->otherwise);
}

static flow run_statement(jrender *r, const jnode *node)
{
    switch (node->kind) {
    case JN_DATA: jtext_string(r, node->data); break;
    case JN_OUTPUT: {
        jvalue value = jinja_evaluate(r, node->binary.left);
        jinja_write(r, node->escapes ? jinja_escape(r, value) : value);
        break;
    }
    case JN_IF: return run_if(r, node->branch);
    case JN_FOR: return run_for(r, node->loop);
    case JN_ASSIGN: run_assign(r, node->assign); break;
    case JN_ASSIGN_BLOCK: return run_assign_block(r, node->assign);
    case JN_WITH: return run_with(r, node->with);
    case JN_SCOPE: return run_scope(r, node->with, node->escapes);
    case JN_FILTER_BLOCK: return run_filter_block(r, node->with, node->escapes);
    case JN_MACRO: run_macro(r, node); break;
    case JN_CALL_BLOCK:
        write_string(r, jinja_evaluate_call(r, node->macro.call, new_macro(r, node->macro.syntax)));
        break;
    case JN_GENERATION: run_generation(r, node->macro.syntax); break;
    case JN_BLOCK: run_block(r, node->block); break;
    case JN_BREAK: return RUN_BREAK;
    case JN_CONTINUE: return RUN_CONTINUE;
    default:
        jinja_evaluate(r, node->load->source);
        jinja_raise(r, "no loader for this environment specified");
    }
    return RUN_ON;
}

static flow run_body(jrender *r, const jnodes *body)
{
    flow after = RUN_ON;
    jinja_enter(r);
    for (size_t i = 0; i < body->count && after == RUN_ON; i++) {
        jinja_step(r, 1);
        after = run_statement(r, body->items[i]);
    }
    jinja_leave(r);
    return after;
}

void jinja_run_template(jrender *r)
{
    push_activation(r, &r->tmpl->code, NULL);
    if (r->tmpl->uses_self) r->activation->slots[r->tmpl->self_slot] = (jvalue){.kind = J_SELF};
    enter_scope(r, &r->tmpl->code.scope);
    run_body(r, &r->tmpl->body);
}
