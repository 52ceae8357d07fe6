// Gives every variable its place, by the rules of Jinja2's compiler (idtracking): a scope decides once, when
// it is entered, where each of its names comes from - the context, an outer scope or nowhere yet. Macros,
// call blocks, recursive loops and loop filters run in activations of their own and reach outwards through
// `hops`.
#include "text/jinja_builtin.h"
#include "text/jinja_parser.h"
#include <string.h>

typedef struct function {
    struct function *outer;
    struct ident *idents; // newest first
    uint32_t num_slots;
} function;

typedef struct ident { // one Python local: scopes of equal depth in one function share it
    const jstring *name;
    uint32_t level, slot;
    function *owner;
    bool undeclared; // a parameter whose default is still to be set
    struct ident *next;
} ident;

typedef struct name_load {
    ident *target, *from;
    int kind; // of jload
    const jstring *name;
} name_load;

typedef struct symbols {
    struct symbols *parent;
    function *owner;
    uint32_t level;
    ident **refs;
    size_t num_refs, refs_capacity;
    name_load *loads;
    size_t num_loads, loads_capacity;
    const jstring **stores;
    size_t num_stores, stores_capacity;
} symbols;

typedef struct frame {
    symbols *symbols;
    bool toplevel, soft, in_loop;
} frame;

typedef struct resolver {
    jparser *parser;
    struct jinja_template *tmpl;
    jnode **next_block;
    uint64_t work;
} resolver;

static const uint64_t MAX_WORK = 200000000; // a hostile template's scopes may be quadratic

static void resolve_body(resolver *r, frame *f, jnodes *body);
static void resolve_expression(resolver *r, const frame *f, jnode *node, bool soft);

// ---- walking ----

static void visit_all(const jnodes *nodes, jvisitor visit, void *user)
{
    for (size_t i = 0; i < nodes->count; i++) visit(user, nodes->items[i]);
}

static void visit_one(jnode *node, jvisitor visit, void *user)
{
    if (node) visit(user, node);
}

static void visit_call(const jcall_syntax *call, jvisitor visit, void *user)
{
    visit_all(&call->arguments, visit, user);
    visit_all(&call->keywords, visit, user);
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
    case JN_COMPARE: visit_all(&node->list.items, visit, user); break;
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
        visit_all(&node->branch->body, visit, user);
        visit_all(&node->branch->elifs, visit, user);
        visit_all(&node->branch->otherwise, visit, user);
        break;
    case JN_FOR:
        visit(user, node->loop->target);
        visit(user, node->loop->iter);
        visit_all(&node->loop->body, visit, user);
        visit_all(&node->loop->otherwise, visit, user);
        visit_one(node->loop->test, visit, user);
        break;
    case JN_ASSIGN:
    case JN_ASSIGN_BLOCK:
        visit(user, node->assign->target);
        visit_one(node->assign->value, visit, user);
        visit_one(node->assign->filter, visit, user);
        visit_all(&node->assign->body, visit, user);
        break;
    case JN_WITH:
    case JN_SCOPE:
    case JN_FILTER_BLOCK:
        visit_all(&node->with->targets, visit, user);
        visit_all(&node->with->values, visit, user);
        visit_all(&node->with->body, visit, user);
        visit_one(node->with->filter, visit, user);
        break;
    case JN_MACRO:
    case JN_CALL_BLOCK:
    case JN_GENERATION:
        visit_one(node->macro.call, visit, user);
        visit_all(&node->macro.syntax->parameters, visit, user);
        visit_all(&node->macro.syntax->defaults, visit, user);
        visit_all(&node->macro.syntax->body, visit, user);
        break;
    case JN_BLOCK: visit_all(&node->block->body, visit, user); break;
    case JN_NO_LOADER: visit(user, node->load->source); break;
    default: break;
    }
}

// Which of `names` are read in the nodes before anything sets them (blocks are not entered).
typedef struct undeclared_search {
    const jstring *names[3];
    bool found[3];
} undeclared_search;

static void search_undeclared(void *user, jnode *node)
{
    undeclared_search *search = user;
    if (node->kind == JN_BLOCK) return;
    if (node->kind == JN_NAME)
        for (int i = 0; i < 3; i++) {
            if (search->names[i] != node->name.name) continue;
            if (node->op == JUSE_LOAD)
                search->found[i] = true;
            else if (!search->found[i])
                search->names[i] = NULL;
        }
    jinja_visit_children(node, search_undeclared, user);
}

// ---- symbols of one scope ----

static void *grow(resolver *r, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return items;
    size_t larger = *capacity ? *capacity * 2 : 8;
    void *copy = jinja_parse_alloc(r->parser->parse, larger, size);
    if (count) memcpy(copy, items, count * size);
    *capacity = larger;
    return copy;
}

static void work(resolver *r, size_t amount)
{
    r->work += amount + 1;
    if (r->work > MAX_WORK)
        jinja_parse_fail(r->parser->parse, 1, "the template has too many variables and scopes");
}

static ident *own_ref(resolver *r, const symbols *s, const jstring *name)
{
    work(r, s->num_refs);
    for (size_t i = 0; i < s->num_refs; i++)
        if (s->refs[i]->name == name) return s->refs[i];
    return NULL;
}

static ident *find_ref(resolver *r, const symbols *s, const jstring *name)
{
    ident *found = NULL;
    for (; s && !found; s = s->parent) found = own_ref(r, s, name);
    return found;
}

static name_load *own_load(resolver *r, const symbols *s, const ident *target)
{
    work(r, s->num_loads);
    for (size_t i = 0; i < s->num_loads; i++)
        if (s->loads[i].target == target) return &s->loads[i];
    return NULL;
}

static void set_load(resolver *r, symbols *s, ident *target, int kind, ident *from)
{
    name_load load = {target, from, kind, target->name}, *old = own_load(r, s, target);
    if (old) {
        *old = load;
        return;
    }
    s->loads = grow(r, s->loads, s->num_loads, &s->loads_capacity, sizeof *s->loads);
    s->loads[s->num_loads++] = load;
}

static bool is_stored(resolver *r, const symbols *s, const jstring *name)
{
    work(r, s->num_stores);
    for (size_t i = 0; i < s->num_stores; i++)
        if (s->stores[i] == name) return true;
    return false;
}

static void add_store(resolver *r, symbols *s, const jstring *name)
{
    if (is_stored(r, s, name)) return;
    s->stores = grow(r, s->stores, s->num_stores, &s->stores_capacity, sizeof *s->stores);
    s->stores[s->num_stores++] = name;
}

static ident *ident_of(resolver *r, function *owner, uint32_t level, const jstring *name)
{
    for (ident *i = owner->idents; i; i = i->next, work(r, 0))
        if (i->name == name && i->level == level) return i;
    ident *fresh = jinja_parse_alloc(r->parser->parse, 1, sizeof *fresh);
    *fresh = (ident){
        .name = name, .level = level, .slot = owner->num_slots++, .owner = owner, .next = owner->idents};
    return owner->idents = fresh;
}

static void add_ref(resolver *r, symbols *s, ident *target)
{
    if (own_ref(r, s, target->name)) return;
    s->refs = grow(r, s->refs, s->num_refs, &s->refs_capacity, sizeof *s->refs);
    s->refs[s->num_refs++] = target;
}

static ident *define_ref(resolver *r, symbols *s, const jstring *name, int kind, ident *from)
{
    ident *target = ident_of(r, s->owner, s->level, name);
    add_ref(r, s, target);
    set_load(r, s, target, kind, from);
    return target;
}

static ident *declare_parameter(resolver *r, symbols *s, const jstring *name)
{
    add_store(r, s, name);
    return define_ref(r, s, name, JLOAD_PARAMETER, NULL);
}

static void store_name(resolver *r, symbols *s, const jstring *name)
{
    add_store(r, s, name);
    if (own_ref(r, s, name)) return;
    ident *outer = s->parent ? find_ref(r, s->parent, name) : NULL;
    define_ref(r, s, name, outer ? JLOAD_COPY : JLOAD_MISSING, outer);
}

static void load_name(resolver *r, symbols *s, const jstring *name)
{
    if (!find_ref(r, s, name)) define_ref(r, s, name, JLOAD_CONTEXT, NULL);
}

static symbols *copy_symbols(resolver *r, const symbols *s)
{
    symbols *copy = jinja_parse_alloc(r->parser->parse, 1, sizeof *copy);
    *copy = *s;
    work(r, s->num_refs + s->num_loads + s->num_stores);
    copy->refs_capacity = copy->loads_capacity = copy->stores_capacity = 0;
    copy->refs = grow(r, s->refs, s->num_refs, &(size_t){s->num_refs}, sizeof *s->refs);
    copy->refs_capacity = s->num_refs ? s->num_refs * 2 : 8;
    copy->loads = grow(r, s->loads, s->num_loads, &(size_t){s->num_loads}, sizeof *s->loads);
    copy->loads_capacity = s->num_loads ? s->num_loads * 2 : 8;
    copy->stores = grow(r, s->stores, s->num_stores, &(size_t){s->num_stores}, sizeof *s->stores);
    copy->stores_capacity = s->num_stores ? s->num_stores * 2 : 8;
    return copy;
}

// After an if: what any branch sets may or may not be set, so it starts with its outer value.
static void merge_branches(resolver *r, symbols *s, symbols *branches[3])
{
    size_t num_before = s->num_stores;
    const jstring **fresh = NULL;
    size_t num_fresh = 0, capacity = 0;
    for (int b = 0; b < 3; b++)
        for (size_t i = num_before; i < branches[b]->num_stores; i++) {
            fresh = grow(r, fresh, num_fresh, &capacity, sizeof *fresh);
            fresh[num_fresh++] = branches[b]->stores[i];
        }
    for (int b = 0; b < 3; b++) {
        for (size_t i = 0; i < branches[b]->num_refs; i++) add_ref(r, s, branches[b]->refs[i]);
        for (size_t i = 0; i < branches[b]->num_loads; i++) {
            name_load *load = &branches[b]->loads[i];
            set_load(r, s, load->target, load->kind, load->from);
        }
        for (size_t i = num_before; i < branches[b]->num_stores; i++) add_store(r, s, branches[b]->stores[i]);
    }
    for (size_t i = 0; i < num_fresh; i++) {
        ident *target = find_ref(r, s, fresh[i]),
              *outer = s->parent ? find_ref(r, s->parent, fresh[i]) : NULL;
        set_load(r, s, target, outer ? JLOAD_COPY : JLOAD_CONTEXT, outer);
    }
}

// ---- collecting the symbols of a scope ----

typedef struct collector {
    resolver *r;
    symbols *symbols;
    bool as_parameter;
} collector;

static void collect(void *user, jnode *node);

static void collect_all(collector *c, const jnodes *nodes)
{
    visit_all(nodes, collect, c);
}

static symbols *collect_branch(collector *c, const jnodes *body)
{
    symbols *original = c->symbols, *branch = copy_symbols(c->r, original);
    c->symbols = branch;
    collect_all(c, body);
    c->symbols = original;
    return branch;
}

static void collect_if(collector *c, const jbranch *branch)
{
    collect(c, branch->test);
    symbols *branches[3];
    branches[0] = collect_branch(c, &branch->body);
    branches[1] = collect_branch(c, &branch->elifs);
    branches[2] = collect_branch(c, &branch->otherwise);
    merge_branches(c->r, c->symbols, branches);
}

static void collect_name(collector *c, const jnode *node)
{
    const jstring *name = node->name.name;
    if (c->as_parameter || node->op == JUSE_PARAMETER)
        declare_parameter(c->r, c->symbols, name);
    else if (node->op == JUSE_STORE)
        store_name(c->r, c->symbols, name);
    else
        load_name(c->r, c->symbols, name);
}

static void collect(void *user, jnode *node)
{
    collector *c = user;
    work(c->r, 1);
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

static void collect_body(resolver *r, const frame *f, const jnodes *body)
{
    collector c = {r, f->symbols, false};
    collect_all(&c, body);
}

static void collect_parameters(resolver *r, const frame *f, jnode *target)
{
    collector c = {r, f->symbols, true};
    collect(&c, target);
}

// ---- resolving ----

static symbols *new_symbols(resolver *r, symbols *parent, function *owner)
{
    symbols *s = jinja_parse_alloc(r->parser->parse, 1, sizeof *s);
    s->parent = parent;
    s->owner = owner;
    s->level = parent ? parent->level + 1 : 0;
    return s;
}

static frame inner_frame(resolver *r, const frame *f)
{
    return (frame){.symbols = new_symbols(r, f->symbols, f->symbols->owner), .in_loop = f->in_loop};
}

static frame function_frame(resolver *r, const frame *outer)
{
    function *owner = jinja_parse_alloc(r->parser->parse, 1, sizeof *owner);
    owner->outer = outer ? outer->symbols->owner : NULL;
    return (frame){.symbols = new_symbols(r, outer ? outer->symbols : NULL, owner)};
}

static jslot slot_of(const frame *f, const ident *target)
{
    jslot slot = {0, target->slot};
    for (const function *owner = f->symbols->owner; owner != target->owner; owner = owner->outer) slot.hops++;
    return slot;
}

static ident *reference(resolver *r, const frame *f, const jstring *name, uint32_t line)
{
    ident *target = find_ref(r, f->symbols, name);
    if (!target)
        jinja_parse_fail(r->parser->parse, line,
                         "Tried to resolve a name to a reference that was unknown to the frame ('%.*s')",
                         (int)name->length, name->data);
    return target;
}

static void make_scope(resolver *r, const frame *f, jscope *scope)
{
    const symbols *s = f->symbols;
    scope->loads = jinja_parse_alloc(r->parser->parse, s->num_loads, sizeof *scope->loads);
    scope->count = s->num_loads;
    for (size_t i = 0; i < s->num_loads; i++) {
        const name_load *load = &s->loads[i];
        scope->loads[i] = (jload){.kind = load->kind, .slot = load->target->slot, .name = load->name};
        if (load->from) scope->loads[i].from = slot_of(f, load->from);
    }
}

static void resolve_name(resolver *r, const frame *f, jnode *node)
{
    ident *target = reference(r, f, node->name.name, node->line);
    node->name.slot = slot_of(f, target);
    node->exported = node->kind == JN_NAME && node->op == JUSE_STORE && f->toplevel;
    node->check = true;
    for (const symbols *s = f->symbols; s; s = s->parent) {
        const name_load *load = own_load(r, s, target);
        if (!load) continue;
        node->check = load->kind != JLOAD_PARAMETER || target->undeclared;
        break;
    }
}

typedef struct expression_walk {
    resolver *r;
    const frame *f;
    bool soft;
} expression_walk;

static void resolve_child(void *user, jnode *node)
{
    const expression_walk *walk = user;
    resolve_expression(walk->r, walk->f, node, walk->soft);
}

static void find_builtin(resolver *r, jnode *node, bool soft)
{
    const jstring *name = node->apply.name;
    bool is_filter = node->kind == JN_FILTER;
    node->apply.builtin = is_filter ? jinja_find_filter(name) : jinja_find_test(name);
    if (!node->apply.builtin && !soft)
        jinja_parse_fail(r->parser->parse, node->line, "No %s named '%.*s'.", is_filter ? "filter" : "test",
                         (int)name->length, name->data);
}

static void resolve_expression(resolver *r, const frame *f, jnode *node, bool soft)
{
    if (node->kind == JN_NAME || node->kind == JN_NSREF) {
        resolve_name(r, f, node);
        return;
    }
    if (node->kind == JN_FILTER || node->kind == JN_TEST) find_builtin(r, node, soft);
    expression_walk walk = {r, f, soft || node->kind == JN_CONDITIONAL};
    jinja_visit_children(node, resolve_child, &walk);
}

static void resolve_all(resolver *r, const frame *f, const jnodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) resolve_expression(r, f, nodes->items[i], f->soft);
}

// Python finds two parameters of one name, under the name that Jinja2 gives them.
static void check_duplicates(resolver *r, const frame *f, const jmacro_syntax *macro)
{
    for (size_t i = 0; i < macro->parameters.count; i++)
        for (size_t k = 0; k < i; k++) {
            const jstring *name = macro->parameters.items[i]->name.name;
            work(r, 0);
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
static void resolve_macro_body(resolver *r, const frame *outer, jmacro_syntax *macro)
{
    jparser *p = r->parser;
    frame f = function_frame(r, outer);
    size_t num_parameters = macro->parameters.count, first_default = num_parameters - macro->defaults.count;
    check_duplicates(r, &f, macro);
    for (size_t i = 0; i < num_parameters; i++) collect_parameters(r, &f, macro->parameters.items[i]);
    collect_body(r, &f, &macro->defaults);
    collect_body(r, &f, &macro->body);
    undeclared_search search = {
        {jparser_intern(p, "caller", 6), jparser_intern(p, "kwargs", 6), jparser_intern(p, "varargs", 7)},
        {0}};
    const jstring *special[3] = {search.names[0], search.names[1], search.names[2]};
    visit_all(&macro->body, search_undeclared, &search);
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
        if (*uses[k] && !explicit[k]) *slots[k] = declare_parameter(r, f.symbols, special[k])->slot;
    }
    for (size_t i = 0; i < num_parameters; i++)
        own_ref(r, f.symbols, macro->parameters.items[i]->name.name)->undeclared = true;
    for (size_t i = 0; i < num_parameters; i++) {
        resolve_name(r, &f, macro->parameters.items[i]);
        if (i >= first_default) resolve_expression(r, &f, macro->defaults.items[i - first_default], false);
        own_ref(r, f.symbols, macro->parameters.items[i]->name.name)->undeclared = false;
    }
    resolve_body(r, &f, &macro->body);
    make_scope(r, &f, &macro->code.scope);
    macro->code.num_slots = f.symbols->owner->num_slots;
}

static void resolve_macro(resolver *r, frame *f, jnode *node)
{
    resolve_macro_body(r, f, node->macro.syntax);
    if (node->kind == JN_CALL_BLOCK) resolve_expression(r, f, node->macro.call, f->soft);
    if (node->kind != JN_MACRO) return;
    node->macro.slot = slot_of(f, reference(r, f, node->macro.syntax->name, node->line));
    node->exported = f->toplevel;
}

typedef struct loop_check {
    resolver *r;
    const jstring *loop;
    bool has_scoped_block;
} loop_check;

static void check_loop(void *user, jnode *node)
{
    loop_check *check = user;
    work(check->r, 0);
    if (node->kind == JN_NAME && node->op == JUSE_STORE && node->name.name == check->loop)
        jinja_parse_fail(check->r->parser->parse, node->line,
                         "Can't assign to special loop variable in for-loop target");
    if (node->kind == JN_BLOCK && node->block->scoped) check->has_scoped_block = true;
    jinja_visit_children(node, check_loop, user);
}

static void find_scoped_block(void *user, jnode *node)
{
    loop_check *check = user;
    work(check->r, 0);
    if (node->kind == JN_BLOCK && node->block->scoped) check->has_scoped_block = true;
    jinja_visit_children(node, find_scoped_block, user);
}

static jnode *copy_target(resolver *r, const jnode *node)
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
static void resolve_loop_test(resolver *r, const frame *f, jfor *loop)
{
    frame test = function_frame(r, f);
    loop->test_target = copy_target(r, loop->target);
    collect_parameters(r, &test, loop->target);
    collector c = {r, test.symbols, false};
    collect(&c, loop->test);
    resolve_expression(r, &test, loop->test_target, false);
    resolve_expression(r, &test, loop->test, false);
    make_scope(r, &test, &loop->test_code.scope);
    loop->test_code.num_slots = test.symbols->owner->num_slots;
}

static void resolve_for(resolver *r, frame *f, jnode *node)
{
    jfor *loop = node->loop;
    const jstring *loop_name = jparser_intern(r->parser, "loop", 4);
    undeclared_search search = {{loop_name}, {0}};
    visit_all(&loop->body, search_undeclared, &search);
    loop_check check = {r, loop_name, false};
    find_scoped_block(&check, node);
    loop->extended = loop->recursive || search.found[0] || check.has_scoped_block;

    frame outer = *f, body, otherwise;
    if (loop->recursive)
        outer = function_frame(r, f); // only its owner matters: the scopes below hang under `f`
    body = (frame){.symbols = new_symbols(r, f->symbols, outer.symbols->owner), .in_loop = true};
    otherwise = (frame){.symbols = new_symbols(r, f->symbols, outer.symbols->owner),
                        .in_loop = f->in_loop && !loop->recursive};
    if (loop->extended) loop->loop_slot = declare_parameter(r, body.symbols, loop_name)->slot;
    collect_parameters(r, &body, loop->target);
    collect_body(r, &body, &loop->body);
    collect_body(r, &otherwise, &loop->otherwise);
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
    resolver *r;
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
        work(search->r, assign->num_namespaces);
    }
    if (node->kind == JN_TUPLE) jinja_visit_children(node, find_namespaces, user);
}

static void resolve_assign(resolver *r, frame *f, jnode *node)
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
    collect_body(r, &block, &assign->body);
    resolve_body(r, &block, &assign->body);
    resolve_expression(r, f, assign->target, f->soft);
    if (assign->filter) resolve_expression(r, &block, assign->filter, false);
    make_scope(r, &block, &assign->scope);
}

static void resolve_with(resolver *r, frame *f, jnode *node)
{
    jwith *with = node->with;
    frame inner = inner_frame(r, f);
    for (size_t i = 0; i < with->targets.count; i++) collect_parameters(r, &inner, with->targets.items[i]);
    collect_body(r, &inner, &with->body);
    if (with->filter) {
        collector c = {r, inner.symbols, false};
        collect(&c, with->filter);
    }
    resolve_all(r, &inner, &with->targets);
    resolve_all(r, f, &with->values);
    resolve_body(r, &inner, &with->body);
    if (with->filter) resolve_expression(r, &inner, with->filter, false);
    make_scope(r, &inner, &with->scope);
}

static void resolve_if(resolver *r, frame *f, const jbranch *branch)
{
    frame soft = *f;
    soft.soft = true;
    resolve_expression(r, &soft, branch->test, true);
    resolve_body(r, &soft, (jnodes *)&branch->body);
    for (size_t i = 0; i < branch->elifs.count; i++) resolve_if(r, &soft, branch->elifs.items[i]->branch);
    resolve_body(r, &soft, (jnodes *)&branch->otherwise);
}

// A scoped block sees the local variables of the place where it stands.
static void resolve_block_place(resolver *r, const frame *f, jblock *block)
{
    size_t names_capacity = 0, slots_capacity = 0;
    for (const symbols *s = f->symbols; block->scoped && s; s = s->parent)
        for (size_t i = 0; i < s->num_stores; i++) {
            size_t known = 0;
            while (known < block->num_locals && block->local_names[known] != s->stores[i]) known++;
            if (known < block->num_locals) continue;
            work(r, known);
            block->local_names =
                grow(r, block->local_names, known, &names_capacity, sizeof *block->local_names);
            block->locals = grow(r, block->locals, known, &slots_capacity, sizeof *block->locals);
            block->local_names[known] = s->stores[i];
            block->locals[known] = slot_of(f, find_ref(r, f->symbols, s->stores[i]));
            block->num_locals++;
        }
}

static void resolve_statement(resolver *r, frame *f, jnode *node)
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

static void resolve_body(resolver *r, frame *f, jnodes *body)
{
    for (size_t i = 0; i < body->count; i++) resolve_statement(r, f, body->items[i]);
}

// Lists the blocks, at any depth, in the order of the text.
static void find_blocks(void *user, jnode *node)
{
    resolver *r = user;
    if (node->kind == JN_BLOCK) {
        for (const jnode *other = r->tmpl->blocks; other; other = other->block->next, work(r, 0))
            if (other->block->name == node->block->name)
                jinja_parse_fail(r->parser->parse, node->line, "block '%.*s' defined twice",
                                 (int)node->block->name->length, node->block->name->data);
        *r->next_block = node;
        r->next_block = &node->block->next;
    }
    jinja_visit_children(node, find_blocks, user);
}

// Declares `self` where it is read; true if it is.
static bool declare_self(resolver *r, const frame *f, const jnodes *body, uint32_t *slot)
{
    undeclared_search search = {{jparser_intern(r->parser, "self", 4)}, {0}};
    const jstring *name = search.names[0];
    visit_all(body, search_undeclared, &search);
    if (search.found[0]) *slot = declare_parameter(r, f->symbols, name)->slot;
    return search.found[0];
}

static void resolve_block(resolver *r, jblock *block)
{
    frame f = function_frame(r, NULL);
    block->uses_self = declare_self(r, &f, &block->body, &block->self_slot);
    collect_body(r, &f, &block->body);
    resolve_body(r, &f, &block->body);
    make_scope(r, &f, &block->code.scope);
    block->code.num_slots = f.symbols->owner->num_slots;
}

void jinja_resolve(jparser *p, struct jinja_template *tmpl)
{
    resolver r = {.parser = p, .tmpl = tmpl, .next_block = &tmpl->blocks};
    visit_all(&tmpl->body, find_blocks, &r);
    frame root = function_frame(&r, NULL);
    root.toplevel = true;
    tmpl->uses_self = declare_self(&r, &root, &tmpl->body, &tmpl->self_slot);
    collect_body(&r, &root, &tmpl->body);
    resolve_body(&r, &root, &tmpl->body);
    make_scope(&r, &root, &tmpl->code.scope);
    tmpl->code.num_slots = root.symbols->owner->num_slots;
    for (jnode *node = tmpl->blocks; node; node = node->block->next) resolve_block(&r, node->block);
    if (p->late_error)
        jinja_parse_fail(p->parse, p->late_line, p->late_error, p->late_name ? (int)p->late_name->length : 0,
                         p->late_name ? p->late_name->data : "");
}
