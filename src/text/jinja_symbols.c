// Collects which names a scope reads and sets, and decides where each comes from when the scope is entered:
// the rules of Jinja2's idtracking.
#include "text/jinja_symbols.h"
#include <string.h>

static const uint64_t MAX_WORK = 200000000; // a hostile template's scopes may be quadratic

// ---- walking ----

void jinja_visit_all(const jnodes *nodes, jvisitor visit, void *user)
{
    for (size_t i = 0; i < nodes->count; i++) visit(user, nodes->items[i]);
}

static void visit_one(jnode *node, jvisitor visit, void *user)
{
    if (node) visit(user, node);
}

static void visit_call(const jcall_syntax *call, jvisitor visit, void *user)
{
    jinja_visit_all(&call->arguments, visit, user);
    jinja_visit_all(&call->keywords, visit, user);
    visit_one(call->star, visit, user);
    visit_one(call->star_star, visit, user);
}

void jinja_visit_children(jnode *node, jvisitor visit, void *user)
{
    switch (node->kind) {
    case JN_TUPLE:
    case JN_LIST:
    case JN_DICT:
    case JN_CONCAT:
    case JN_COMPARE: jinja_visit_all(&node->list.items, visit, user); break;
    case JN_CONDITIONAL:
        visit_one(node->conditional.test, visit, user);
        visit_one(node->conditional.yes, visit, user);
        visit_one(node->conditional.no, visit, user);
        break;
    case JN_BINARY:
    case JN_UNARY:
    case JN_OUTPUT:
        visit_one(node->binary.left, visit, user);
        visit_one(node->binary.right, visit, user);
        break;
    case JN_ATTRIBUTE: visit(user, node->attribute.object); break;
    case JN_SUBSCRIPT:
        visit(user, node->subscript.object);
        visit(user, node->subscript.index);
        break;
    case JN_SLICE:
        visit_one(node->slice.start, visit, user);
        visit_one(node->slice.stop, visit, user);
        visit_one(node->slice.step, visit, user);
        break;
    case JN_CALL:
    case JN_FILTER:
    case JN_TEST:
        visit_one(node->apply.object, visit, user);
        visit_call(node->apply.call, visit, user);
        break;
    case JN_IF:
        visit(user, node->branch->test);
        jinja_visit_all(&node->branch->body, visit, user);
        jinja_visit_all(&node->branch->elifs, visit, user);
        jinja_visit_all(&node->branch->otherwise, visit, user);
        break;
    case JN_FOR:
        visit(user, node->loop->target);
        visit(user, node->loop->iter);
        jinja_visit_all(&node->loop->body, visit, user);
        jinja_visit_all(&node->loop->otherwise, visit, user);
        visit_one(node->loop->test, visit, user);
        break;
    case JN_ASSIGN:
    case JN_ASSIGN_BLOCK:
        visit(user, node->assign->target);
        visit_one(node->assign->value, visit, user);
        visit_one(node->assign->filter, visit, user);
        jinja_visit_all(&node->assign->body, visit, user);
        break;
    case JN_WITH:
    case JN_SCOPE:
    case JN_FILTER_BLOCK:
        jinja_visit_all(&node->with->targets, visit, user);
        jinja_visit_all(&node->with->values, visit, user);
        jinja_visit_all(&node->with->body, visit, user);
        visit_one(node->with->filter, visit, user);
        break;
    case JN_MACRO:
    case JN_CALL_BLOCK:
    case JN_GENERATION:
        visit_one(node->macro.call, visit, user);
        jinja_visit_all(&node->macro.syntax->parameters, visit, user);
        jinja_visit_all(&node->macro.syntax->defaults, visit, user);
        jinja_visit_all(&node->macro.syntax->body, visit, user);
        break;
    case JN_BLOCK: jinja_visit_all(&node->block->body, visit, user); break;
    case JN_NO_LOADER: visit(user, node->load->source); break;
    default: break;
    }
}

void jinja_search_undeclared(void *user, jnode *node)
{
    jundeclared *search = user;
    if (node->kind == JN_BLOCK) return;
    if (node->kind == JN_NAME)
        for (int i = 0; i < 3; i++) {
            if (search->names[i] != node->name.name) continue;
            if (node->op == JUSE_LOAD)
                search->found[i] = true;
            else if (!search->found[i])
                search->names[i] = NULL;
        }
    jinja_visit_children(node, jinja_search_undeclared, user);
}

// ---- symbols of one scope ----

void *jresolver_grow(jresolver *r, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return items;
    size_t larger = *capacity ? *capacity * 2 : 8;
    void *copy = jinja_parse_alloc(r->parser->parse, larger, size);
    if (count) memcpy(copy, items, count * size);
    *capacity = larger;
    return copy;
}

void jresolver_work(jresolver *r, size_t amount)
{
    r->work += amount + 1;
    if (r->work > MAX_WORK)
        jinja_parse_fail(r->parser->parse, 1, "the template has too many variables and scopes");
}

jident *jsymbols_own(jresolver *r, const jsymbols *s, const jstring *name)
{
    jresolver_work(r, s->num_refs);
    for (size_t i = 0; i < s->num_refs; i++)
        if (s->refs[i]->name == name) return s->refs[i];
    return NULL;
}

jident *jsymbols_find(jresolver *r, const jsymbols *s, const jstring *name)
{
    jident *found = NULL;
    for (; s && !found; s = s->parent) found = jsymbols_own(r, s, name);
    return found;
}

jname_load *jsymbols_load(jresolver *r, const jsymbols *s, const jident *target)
{
    jresolver_work(r, s->num_loads);
    for (size_t i = 0; i < s->num_loads; i++)
        if (s->loads[i].target == target) return &s->loads[i];
    return NULL;
}

static void set_load(jresolver *r, jsymbols *s, jident *target, int kind, jident *from)
{
    jname_load load = {target, from, kind, target->name}, *old = jsymbols_load(r, s, target);
    if (old) {
        *old = load;
        return;
    }
    s->loads = jresolver_grow(r, s->loads, s->num_loads, &s->loads_capacity, sizeof *s->loads);
    s->loads[s->num_loads++] = load;
}

static bool is_stored(jresolver *r, const jsymbols *s, const jstring *name)
{
    jresolver_work(r, s->num_stores);
    for (size_t i = 0; i < s->num_stores; i++)
        if (s->stores[i] == name) return true;
    return false;
}

static void add_store(jresolver *r, jsymbols *s, const jstring *name)
{
    if (is_stored(r, s, name)) return;
    s->stores = jresolver_grow(r, s->stores, s->num_stores, &s->stores_capacity, sizeof *s->stores);
    s->stores[s->num_stores++] = name;
}

static jident *ident_of(jresolver *r, jscope_function *owner, uint32_t level, const jstring *name)
{
    for (jident *i = owner->idents; i; i = i->next, jresolver_work(r, 0))
        if (i->name == name && i->level == level) return i;
    jident *fresh = jinja_parse_alloc(r->parser->parse, 1, sizeof *fresh);
    *fresh = (jident){
        .name = name, .level = level, .slot = owner->num_slots++, .owner = owner, .next = owner->idents};
    return owner->idents = fresh;
}

static void add_ref(jresolver *r, jsymbols *s, jident *target)
{
    if (jsymbols_own(r, s, target->name)) return;
    s->refs = jresolver_grow(r, s->refs, s->num_refs, &s->refs_capacity, sizeof *s->refs);
    s->refs[s->num_refs++] = target;
}

static jident *define_ref(jresolver *r, jsymbols *s, const jstring *name, int kind, jident *from)
{
    jident *target = ident_of(r, s->owner, s->level, name);
    add_ref(r, s, target);
    set_load(r, s, target, kind, from);
    return target;
}

jident *jsymbols_declare(jresolver *r, jsymbols *s, const jstring *name)
{
    add_store(r, s, name);
    return define_ref(r, s, name, JLOAD_PARAMETER, NULL);
}

static void store_name(jresolver *r, jsymbols *s, const jstring *name)
{
    add_store(r, s, name);
    if (jsymbols_own(r, s, name)) return;
    jident *outer = s->parent ? jsymbols_find(r, s->parent, name) : NULL;
    define_ref(r, s, name, outer ? JLOAD_COPY : JLOAD_MISSING, outer);
}

static void load_name(jresolver *r, jsymbols *s, const jstring *name)
{
    if (!jsymbols_find(r, s, name)) define_ref(r, s, name, JLOAD_CONTEXT, NULL);
}

static jsymbols *copy_symbols(jresolver *r, const jsymbols *s)
{
    jsymbols *copy = jinja_parse_alloc(r->parser->parse, 1, sizeof *copy);
    *copy = *s;
    jresolver_work(r, s->num_refs + s->num_loads + s->num_stores);
    copy->refs_capacity = copy->loads_capacity = copy->stores_capacity = 0;
    copy->refs = jresolver_grow(r, s->refs, s->num_refs, &(size_t){s->num_refs}, sizeof *s->refs);
    copy->refs_capacity = s->num_refs ? s->num_refs * 2 : 8;
    copy->loads = jresolver_grow(r, s->loads, s->num_loads, &(size_t){s->num_loads}, sizeof *s->loads);
    copy->loads_capacity = s->num_loads ? s->num_loads * 2 : 8;
    copy->stores = jresolver_grow(r, s->stores, s->num_stores, &(size_t){s->num_stores}, sizeof *s->stores);
    copy->stores_capacity = s->num_stores ? s->num_stores * 2 : 8;
    return copy;
}

// After an if: what any branch sets may or may not be set, so it starts with its outer value.
static void merge_branches(jresolver *r, jsymbols *s, jsymbols *branches[3])
{
    size_t num_before = s->num_stores;
    const jstring **fresh = NULL;
    size_t num_fresh = 0, capacity = 0;
    for (int b = 0; b < 3; b++)
        for (size_t i = num_before; i < branches[b]->num_stores; i++) {
            fresh = jresolver_grow(r, fresh, num_fresh, &capacity, sizeof *fresh);
            fresh[num_fresh++] = branches[b]->stores[i];
        }
    for (int b = 0; b < 3; b++) {
        for (size_t i = 0; i < branches[b]->num_refs; i++) add_ref(r, s, branches[b]->refs[i]);
        for (size_t i = 0; i < branches[b]->num_loads; i++) {
            jname_load *load = &branches[b]->loads[i];
            set_load(r, s, load->target, load->kind, load->from);
        }
        for (size_t i = num_before; i < branches[b]->num_stores; i++) add_store(r, s, branches[b]->stores[i]);
    }
    for (size_t i = 0; i < num_fresh; i++) {
        jident *target = jsymbols_find(r, s, fresh[i]),
               *outer = s->parent ? jsymbols_find(r, s->parent, fresh[i]) : NULL;
        set_load(r, s, target, outer ? JLOAD_COPY : JLOAD_CONTEXT, outer);
    }
}

// ---- collecting the symbols of a scope ----

typedef struct collector {
    jresolver *r;
    jsymbols *symbols;
    bool as_parameter;
} collector;

static void collect(void *user, jnode *node);

static void collect_all(collector *c, const jnodes *nodes)
{
    jinja_visit_all(nodes, collect, c);
}

static jsymbols *collect_branch(collector *c, const jnodes *body)
{
    jsymbols *original = c->symbols, *branch = copy_symbols(c->r, original);
    c->symbols = branch;
    collect_all(c, body);
    c->symbols = original;
    return branch;
}

static void collect_if(collector *c, const jbranch *branch)
{
    collect(c, branch->test);
    jsymbols *branches[3];
    branches[0] = collect_branch(c, &branch->body);
    branches[1] = collect_branch(c, &branch->elifs);
    branches[2] = collect_branch(c, &branch->otherwise);
    merge_branches(c->r, c->symbols, branches);
}

static void collect_name(collector *c, const jnode *node)
{
    const jstring *name = node->name.name;
    if (c->as_parameter || node->op == JUSE_PARAMETER)
        jsymbols_declare(c->r, c->symbols, name);
    else if (node->op == JUSE_STORE)
        store_name(c->r, c->symbols, name);
    else
        load_name(c->r, c->symbols, name);
}

static void collect(void *user, jnode *node)
{
    collector *c = user;
    jresolver_work(c->r, 1);
    switch (node->kind) {
    case JN_NAME: collect_name(c, node); break;
    case JN_NSREF: load_name(c->r, c->symbols, node->name.name); break;
    case JN_IF: collect_if(c, node->branch); break;
    case JN_MACRO: store_name(c->r, c->symbols, node->macro.syntax->name); break;
    case JN_NO_LOADER:
        collect(c, node->load->source);
        for (size_t i = 0; i < node->load->num_names; i++) store_name(c->r, c->symbols, node->load->names[i]);
        break;
    case JN_ASSIGN:
        collect(c, node->assign->value);
        collect(c, node->assign->target);
        break;
    case JN_ASSIGN_BLOCK: collect(c, node->assign->target); break;
    case JN_FOR: collect(c, node->loop->iter); break;
    case JN_CALL_BLOCK: collect(c, node->macro.call); break;
    case JN_FILTER_BLOCK: collect(c, node->with->filter); break;
    case JN_WITH: collect_all(c, &node->with->values); break;
    case JN_GENERATION:
    case JN_SCOPE:
    case JN_BLOCK: break;
    default: jinja_visit_children(node, collect, c);
    }
}

void jsymbols_collect(jresolver *r, jsymbols *s, const jnodes *body)
{
    collector c = {r, s, false};
    collect_all(&c, body);
}

void jsymbols_collect_target(jresolver *r, jsymbols *s, jnode *target)
{
    collector c = {r, s, true};
    collect(&c, target);
}

// One expression of the scope.
void jsymbols_collect_node(jresolver *r, jsymbols *s, jnode *node)
{
    collector c = {r, s, false};
    collect(&c, node);
}

jsymbols *jsymbols_new(jresolver *r, jsymbols *parent, jscope_function *owner)
{
    jsymbols *s = jinja_parse_alloc(r->parser->parse, 1, sizeof *s);
    s->parent = parent;
    s->owner = owner;
    s->level = parent ? parent->level + 1 : 0;
    return s;
}
