// Gives every variable its place, by the rules of Jinja2's compiler (idtracking): a scope decides once, when
// it is entered, where each of its names comes from - the context, an outer scope or nowhere yet. Macros,
// call blocks, recursive loops and loop filters run in activations of their own and reach outwards through
// `hops`.
#include "text/jinja_builtin.h"
#include "text/jinja_symbols.h"
#include <string.h>

typedef struct frame {
    jsymbols *symbols;
    bool toplevel, soft, in_loop;
} frame;

static void resolve_body(jresolver *r, frame *f, jnodes *body);
static void resolve_expression(jresolver *r, const frame *f, jnode *node, bool soft);

static frame inner_frame(jresolver *r, const frame *f)
{
    return (frame){.symbols = jsymbols_new(r, f->symbols, f->symbols->owner), .in_loop = f->in_loop};
}

static frame function_frame(jresolver *r, const frame *outer)
{
    jscope_function *owner = jinja_parse_alloc(r->parser->parse, 1, sizeof *owner);
    owner->outer = outer ? outer->symbols->owner : NULL;
    return (frame){.symbols = jsymbols_new(r, outer ? outer->symbols : NULL, owner)};
}

static jslot slot_of(const frame *f, const jident *target)
{
    jslot slot = {0, target->slot};
    for (const jscope_function *owner = f->symbols->owner; owner != target->owner; owner = owner->outer)
        slot.hops++;
    return slot;
}

static jident *reference(jresolver *r, const frame *f, const jstring *name, uint32_t line)
{
    jident *target = jsymbols_find(r, f->symbols, name);
    if (!target)
        jinja_parse_fail(r->parser->parse, line,
                         "Tried to resolve a name to a reference that was unknown to the frame ('%.*s')",
                         (int)name->length, name->data);
    return target;
}

static void make_scope(jresolver *r, const frame *f, jscope *scope)
{
    const jsymbols *s = f->symbols;
    scope->loads = jinja_parse_alloc(r->parser->parse, s->num_loads, sizeof *scope->loads);
    scope->count = s->num_loads;
    for (size_t i = 0; i < s->num_loads; i++) {
        const jname_load *load = &s->loads[i];
        scope->loads[i] = (jload){.kind = load->kind, .slot = load->target->slot, .name = load->name};
        if (load->from) scope->loads[i].from = slot_of(f, load->from);
    }
}

static void resolve_name(jresolver *r, const frame *f, jnode *node)
{
    jident *target = reference(r, f, node->name.name, node->line);
    node->name.slot = slot_of(f, target);
    node->exported = node->kind == JN_NAME && node->op == JUSE_STORE && f->toplevel;
    node->check = true;
    for (const jsymbols *s = f->symbols; s; s = s->parent) {
        const jname_load *load = jsymbols_load(r, s, target);
        if (!load) continue;
        node->check = load->kind != JLOAD_PARAMETER || target->undeclared;
        break;
    }
}

typedef struct expression_walk {
    jresolver *r;
    const frame *f;
    bool soft;
} expression_walk;

static void resolve_child(void *user, jnode *node)
{
    const expression_walk *walk = user;
    resolve_expression(walk->r, walk->f, node, walk->soft);
}

static void find_builtin(jresolver *r, jnode *node, bool soft)
{
    const jstring *name = node->apply.name;
    bool is_filter = node->kind == JN_FILTER;
    node->apply.builtin = is_filter ? jinja_find_filter(name) : jinja_find_test(name);
    if (!node->apply.builtin && !soft)
        jinja_parse_fail(r->parser->parse, node->line, "No %s named '%.*s'.", is_filter ? "filter" : "test",
                         (int)name->length, name->data);
}

static void resolve_expression(jresolver *r, const frame *f, jnode *node, bool soft)
{
    if (node->kind == JN_NAME || node->kind == JN_NSREF) {
        resolve_name(r, f, node);
        return;
    }
    if (node->kind == JN_FILTER || node->kind == JN_TEST) find_builtin(r, node, soft);
    expression_walk walk = {r, f, soft || node->kind == JN_CONDITIONAL};
    jinja_visit_children(node, resolve_child, &walk);
}

static void resolve_all(jresolver *r, const frame *f, const jnodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) resolve_expression(r, f, nodes->items[i], f->soft);
}

// Python finds two parameters of one name, under the name that Jinja2 gives them.
static void check_duplicates(jresolver *r, const frame *f, const jmacro_syntax *macro)
{
    for (size_t i = 0; i < macro->parameters.count; i++)
        for (size_t k = 0; k < i; k++) {
            const jstring *name = macro->parameters.items[i]->name.name;
            jresolver_work(r, 0);
            if (macro->parameters.items[k]->name.name != name) continue;
            buf shown = {.data = jinja_parse_alloc(r->parser->parse, name->length + 16, 1),
                         .capacity = name->length + 16};
            buf_printf(&shown, "l_%u_%.*s", (unsigned)f->symbols->level, (int)name->length, name->data);
            jparser_fail_late(r->parser, macro->parameters.items[i]->line,
                              "duplicate argument '%.*s' in function definition",
                              jinja_parse_string(r->parser->parse, shown.data, shown.length));
            return;
        }
}

// A macro, a call block's caller or a generation block: parameters, defaults and body.
static void resolve_macro_body(jresolver *r, const frame *outer, jmacro_syntax *macro)
{
    jparser *p = r->parser;
    frame f = function_frame(r, outer);
    size_t num_parameters = macro->parameters.count, first_default = num_parameters - macro->defaults.count;
    check_duplicates(r, &f, macro);
    for (size_t i = 0; i < num_parameters; i++)
        jsymbols_collect_target(r, f.symbols, macro->parameters.items[i]);
    jsymbols_collect(r, f.symbols, &macro->defaults);
    jsymbols_collect(r, f.symbols, &macro->body);
    jundeclared search = {
        {jparser_intern(p, "caller", 6), jparser_intern(p, "kwargs", 6), jparser_intern(p, "varargs", 7)},
        {0}};
    const jstring *special[3] = {search.names[0], search.names[1], search.names[2]};
    jinja_visit_all(&macro->body, jinja_search_undeclared, &search);
    bool explicit[3] = {0};
    for (size_t i = 0; i < num_parameters; i++)
        for (int k = 0; k < 3; k++) {
            const jnode *parameter = macro->parameters.items[i];
            if (parameter->name.name != special[k]) continue;
            explicit[k] = true;
            if (k == 0 && search.found[0] && i < first_default)
                jinja_parse_fail(p->parse, parameter->line,
                                 "When defining macros or call blocks the special \"caller\" argument must "
                                 "be omitted or be "
                                 "given a default.");
        }
    bool *uses[3] = {&macro->uses_caller, &macro->uses_kwargs, &macro->uses_varargs};
    uint32_t *slots[3] = {&macro->caller_slot, &macro->kwargs_slot, &macro->varargs_slot};
    for (int k = 0; k < 3; k++) {
        *uses[k] = search.found[k] && (k == 0 || !explicit[k]);
        if (*uses[k] && !explicit[k]) *slots[k] = jsymbols_declare(r, f.symbols, special[k])->slot;
    }
    for (size_t i = 0; i < num_parameters; i++)
        jsymbols_own(r, f.symbols, macro->parameters.items[i]->name.name)->undeclared = true;
    for (size_t i = 0; i < num_parameters; i++) {
        resolve_name(r, &f, macro->parameters.items[i]);
        if (i >= first_default) resolve_expression(r, &f, macro->defaults.items[i - first_default], false);
        jsymbols_own(r, f.symbols, macro->parameters.items[i]->name.name)->undeclared = false;
    }
    resolve_body(r, &f, &macro->body);
    make_scope(r, &f, &macro->code.scope);
    macro->code.num_slots = f.symbols->owner->num_slots;
}

static void resolve_macro(jresolver *r, frame *f, jnode *node)
{
    resolve_macro_body(r, f, node->macro.syntax);
    if (node->kind == JN_CALL_BLOCK) resolve_expression(r, f, node->macro.call, f->soft);
    if (node->kind != JN_MACRO) return;
    node->macro.slot = slot_of(f, reference(r, f, node->macro.syntax->name, node->line));
    node->exported = f->toplevel;
}

typedef struct loop_check {
    jresolver *r;
    const jstring *loop;
    bool has_scoped_block;
} loop_check;

static void check_loop(void *user, jnode *node)
{
    loop_check *check = user;
    jresolver_work(check->r, 0);
    if (node->kind == JN_NAME && node->op == JUSE_STORE && node->name.name == check->loop)
        jinja_parse_fail(check->r->parser->parse, node->line,
                         "Can't assign to special loop variable in for-loop target");
    if (node->kind == JN_BLOCK && node->block->scoped) check->has_scoped_block = true;
    jinja_visit_children(node, check_loop, user);
}

static void find_scoped_block(void *user, jnode *node)
{
    loop_check *check = user;
    jresolver_work(check->r, 0);
    if (node->kind == JN_BLOCK && node->block->scoped) check->has_scoped_block = true;
    jinja_visit_children(node, find_scoped_block, user);
}

static jnode *copy_target(jresolver *r, const jnode *node)
{
    jnode *copy = jinja_parse_alloc(r->parser->parse, 1, sizeof *copy);
    *copy = *node;
    if (node->kind != JN_TUPLE) return copy;
    copy->list.items = (jnodes){0};
    for (size_t i = 0; i < node->list.items.count; i++)
        jparser_append(r->parser, NULL, &copy->list.items, copy_target(r, node->list.items.items[i]));
    return copy;
}

// The filter of a loop is a generator of its own: it sets the target's variables in its own activation.
static void resolve_loop_test(jresolver *r, const frame *f, jfor *loop)
{
    frame test = function_frame(r, f);
    loop->test_target = copy_target(r, loop->target);
    jsymbols_collect_target(r, test.symbols, loop->target);
    jsymbols_collect_node(r, test.symbols, loop->test);
    resolve_expression(r, &test, loop->test_target, false);
    resolve_expression(r, &test, loop->test, false);
    make_scope(r, &test, &loop->test_code.scope);
    loop->test_code.num_slots = test.symbols->owner->num_slots;
}

static void resolve_for(jresolver *r, frame *f, jnode *node)
{
    jfor *loop = node->loop;
    const jstring *loop_name = jparser_intern(r->parser, "loop", 4);
    jundeclared search = {{loop_name}, {0}};
    jinja_visit_all(&loop->body, jinja_search_undeclared, &search);
    loop_check check = {r, loop_name, false};
    find_scoped_block(&check, node);
    loop->extended = loop->recursive || search.found[0] || check.has_scoped_block;

    frame outer = *f, body, otherwise;
    if (loop->recursive)
        outer = function_frame(r, f); // only its owner matters: the scopes below hang under `f`
    body = (frame){.symbols = jsymbols_new(r, f->symbols, outer.symbols->owner), .in_loop = true};
    otherwise = (frame){.symbols = jsymbols_new(r, f->symbols, outer.symbols->owner),
                        .in_loop = f->in_loop && !loop->recursive};
    if (loop->extended) loop->loop_slot = jsymbols_declare(r, body.symbols, loop_name)->slot;
    jsymbols_collect_target(r, body.symbols, loop->target);
    jsymbols_collect(r, body.symbols, &loop->body);
    jsymbols_collect(r, otherwise.symbols, &loop->otherwise);
    if (loop->test) resolve_loop_test(r, f, loop);
    check_loop(&check, node);
    resolve_expression(r, &body, loop->target, false);
    resolve_expression(r, f, loop->iter, f->soft);
    resolve_body(r, &body, &loop->body);
    resolve_body(r, &otherwise, &loop->otherwise);
    make_scope(r, &body, &loop->body_scope);
    make_scope(r, &otherwise, &loop->else_scope);
    if (loop->recursive) loop->code.num_slots = outer.symbols->owner->num_slots;
}

typedef struct reference_search {
    jresolver *r;
    const frame *f;
    jassign *assign;
} reference_search;

static void find_namespaces(void *user, jnode *node)
{
    reference_search *search = user;
    jassign *assign = search->assign;
    if (node->kind == JN_NSREF) {
        jslot slot = slot_of(search->f, reference(search->r, search->f, node->name.name, node->line));
        for (size_t i = 0; i < assign->num_namespaces; i++)
            if (assign->namespaces[i].hops == slot.hops && assign->namespaces[i].index == slot.index) return;
        jslot *larger =
            jinja_parse_alloc(search->r->parser->parse, assign->num_namespaces + 1, sizeof *larger);
        if (assign->num_namespaces)
            memcpy(larger, assign->namespaces, assign->num_namespaces * sizeof *larger);
        larger[assign->num_namespaces++] = slot;
        assign->namespaces = larger;
        jresolver_work(search->r, assign->num_namespaces);
    }
    if (node->kind == JN_TUPLE) jinja_visit_children(node, find_namespaces, user);
}

static void resolve_assign(jresolver *r, frame *f, jnode *node)
{
    jassign *assign = node->assign;
    if (node->kind == JN_ASSIGN) {
        reference_search search = {r, f, assign};
        find_namespaces(&search, assign->target);
        resolve_expression(r, f, assign->target, f->soft);
        resolve_expression(r, f, assign->value, f->soft);
        return;
    }
    frame block = inner_frame(r, f);
    jsymbols_collect(r, block.symbols, &assign->body);
    resolve_body(r, &block, &assign->body);
    resolve_expression(r, f, assign->target, f->soft);
    if (assign->filter) resolve_expression(r, &block, assign->filter, false);
    make_scope(r, &block, &assign->scope);
}

static void resolve_with(jresolver *r, frame *f, jnode *node)
{
    jwith *with = node->with;
    frame inner = inner_frame(r, f);
    for (size_t i = 0; i < with->targets.count; i++)
        jsymbols_collect_target(r, inner.symbols, with->targets.items[i]);
    jsymbols_collect(r, inner.symbols, &with->body);
    if (with->filter) jsymbols_collect_node(r, inner.symbols, with->filter);
    resolve_all(r, &inner, &with->targets);
    resolve_all(r, f, &with->values);
    resolve_body(r, &inner, &with->body);
    if (with->filter) resolve_expression(r, &inner, with->filter, false);
    make_scope(r, &inner, &with->scope);
}

static void resolve_if(jresolver *r, frame *f, const jbranch *branch)
{
    frame soft = *f;
    soft.soft = true;
    resolve_expression(r, &soft, branch->test, true);
    resolve_body(r, &soft, (jnodes *)&branch->body);
    for (size_t i = 0; i < branch->elifs.count; i++) resolve_if(r, &soft, branch->elifs.items[i]->branch);
    resolve_body(r, &soft, (jnodes *)&branch->otherwise);
}

// A scoped block sees the local variables of the place where it stands.
static void resolve_block_place(jresolver *r, const frame *f, jblock *block)
{
    size_t names_capacity = 0, slots_capacity = 0;
    for (const jsymbols *s = f->symbols; block->scoped && s; s = s->parent)
        for (size_t i = 0; i < s->num_stores; i++) {
            size_t known = 0;
            while (known < block->num_locals && block->local_names[known] != s->stores[i]) known++;
            if (known < block->num_locals) continue;
            jresolver_work(r, known);
            block->local_names =
                jresolver_grow(r, block->local_names, known, &names_capacity, sizeof *block->local_names);
            block->locals = jresolver_grow(r, block->locals, known, &slots_capacity, sizeof *block->locals);
            block->local_names[known] = s->stores[i];
            block->locals[known] = slot_of(f, jsymbols_find(r, f->symbols, s->stores[i]));
            block->num_locals++;
        }
}

static void resolve_statement(jresolver *r, frame *f, jnode *node)
{
    switch (node->kind) {
    case JN_OUTPUT: resolve_expression(r, f, node->binary.left, f->soft); break;
    case JN_IF: resolve_if(r, f, node->branch); break;
    case JN_FOR: resolve_for(r, f, node); break;
    case JN_ASSIGN:
    case JN_ASSIGN_BLOCK: resolve_assign(r, f, node); break;
    case JN_WITH:
    case JN_SCOPE:
    case JN_FILTER_BLOCK: resolve_with(r, f, node); break;
    case JN_MACRO:
    case JN_CALL_BLOCK:
    case JN_GENERATION: resolve_macro(r, f, node); break;
    case JN_BLOCK: resolve_block_place(r, f, node->block); break;
    case JN_BREAK:
        if (!f->in_loop) jparser_fail_late(r->parser, node->line, "'break' outside loop", NULL);
        break;
    case JN_CONTINUE:
        if (!f->in_loop) jparser_fail_late(r->parser, node->line, "'continue' not properly in loop", NULL);
        break;
    case JN_NO_LOADER:
        if (node->op && !f->toplevel)
            jinja_parse_fail(r->parser->parse, node->line, "cannot use extend from a non top-level scope");
        resolve_expression(r, f, node->load->source, f->soft);
        break;
    default: break;
    }
}

static void resolve_body(jresolver *r, frame *f, jnodes *body)
{
    for (size_t i = 0; i < body->count; i++) resolve_statement(r, f, body->items[i]);
}

// Lists the blocks, at any depth, in the order of the text.
static void find_blocks(void *user, jnode *node)
{
    jresolver *r = user;
    if (node->kind == JN_BLOCK) {
        for (const jnode *other = r->tmpl->blocks; other; other = other->block->next, jresolver_work(r, 0))
            if (other->block->name == node->block->name)
                jinja_parse_fail(r->parser->parse, node->line, "block '%.*s' defined twice",
                                 (int)node->block->name->length, node->block->name->data);
        *r->next_block = node;
        r->next_block = &node->block->next;
    }
    jinja_visit_children(node, find_blocks, user);
}

// Declares `self` where it is read; true if it is.
static bool declare_self(jresolver *r, const frame *f, const jnodes *body, uint32_t *slot)
{
    jundeclared search = {{jparser_intern(r->parser, "self", 4)}, {0}};
    const jstring *name = search.names[0];
    jinja_visit_all(body, jinja_search_undeclared, &search);
    if (search.found[0]) *slot = jsymbols_declare(r, f->symbols, name)->slot;
    return search.found[0];
}

static void resolve_block(jresolver *r, jblock *block)
{
    frame f = function_frame(r, NULL);
    block->uses_self = declare_self(r, &f, &block->body, &block->self_slot);
    jsymbols_collect(r, f.symbols, &block->body);
    resolve_body(r, &f, &block->body);
    make_scope(r, &f, &block->code.scope);
    block->code.num_slots = f.symbols->owner->num_slots;
}

void jinja_resolve(jparser *p, struct jinja_template *tmpl)
{
    jresolver r = {.parser = p, .tmpl = tmpl, .next_block = &tmpl->blocks};
    jinja_visit_all(&tmpl->body, find_blocks, &r);
    frame root = function_frame(&r, NULL);
    root.toplevel = true;
    tmpl->uses_self = declare_self(&r, &root, &tmpl->body, &tmpl->self_slot);
    jsymbols_collect(&r, root.symbols, &tmpl->body);
    resolve_body(&r, &root, &tmpl->body);
    make_scope(&r, &root, &tmpl->code.scope);
    tmpl->code.num_slots = root.symbols->owner->num_slots;
    for (jnode *node = tmpl->blocks; node; node = node->block->next) resolve_block(&r, node->block);
    if (p->late_error)
        jinja_parse_fail(p->parse, p->late_line, p->late_error, p->late_name ? (int)p->late_name->length : 0,
                         p->late_name ? p->late_name->data : "");
}
