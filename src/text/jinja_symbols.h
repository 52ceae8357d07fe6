// Names of the scopes of a template while it is compiled.
#ifndef TEXT_JINJA_SYMBOLS_H
#define TEXT_JINJA_SYMBOLS_H
#include "text/jinja_parser.h"

typedef struct jscope_function { // code with an activation of its own
    struct jscope_function *outer;
    struct jident *idents; // newest first
    uint32_t num_slots;
} jscope_function;

typedef struct jident { // one Python local: scopes of equal depth in one function share it
    const jstring *name;
    uint32_t level, slot;
    jscope_function *owner;
    bool undeclared; // a parameter whose default is still to be set
    struct jident *next;
} jident;

typedef struct jname_load {
    jident *target, *from;
    int kind; // of jload
    const jstring *name;
} jname_load;

typedef struct jsymbols { // of one scope
    struct jsymbols *parent;
    jscope_function *owner;
    uint32_t level;
    jident **refs; // names that are its own
    size_t num_refs, refs_capacity;
    jname_load *loads; // what they are when it is entered
    size_t num_loads, loads_capacity;
    const jstring **stores; // names that it sets
    size_t num_stores, stores_capacity;
} jsymbols;

typedef struct jresolver {
    jparser *parser;
    struct jinja_template *tmpl;
    jnode **next_block;
    uint64_t work;
} jresolver;

void *jresolver_grow(jresolver *r, void *items, size_t count, size_t *capacity, size_t size);
void jresolver_work(jresolver *r, size_t amount); // fails when the template has cost too much

jsymbols *jsymbols_new(jresolver *r, jsymbols *parent, jscope_function *owner);
void jsymbols_collect(jresolver *r, jsymbols *s, const jnodes *body);
void jsymbols_collect_node(jresolver *r, jsymbols *s, jnode *node);
void jsymbols_collect_target(jresolver *r, jsymbols *s, jnode *target);   // its names are parameters
jident *jsymbols_declare(jresolver *r, jsymbols *s, const jstring *name); // a parameter
jident *jsymbols_own(jresolver *r, const jsymbols *s, const jstring *name);
jident *jsymbols_find(jresolver *r, const jsymbols *s, const jstring *name);      // in outer scopes too
jname_load *jsymbols_load(jresolver *r, const jsymbols *s, const jident *target); // of this scope

// Which of `names` are read in the nodes before anything sets them (blocks are not entered).
typedef struct jundeclared {
    const jstring *names[3];
    bool found[3];
} jundeclared;

void jinja_search_undeclared(void *user, jnode *node);
void jinja_visit_all(const jnodes *nodes, jvisitor visit, void *user);

#endif
