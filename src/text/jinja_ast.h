// The parsed template: nodes as in Jinja2's own syntax tree, with every variable resolved to a slot.
#ifndef TEXT_JINJA_AST_H
#define TEXT_JINJA_AST_H
#include "base/arena.h"
#include "base/error.h"
#include "text/jinja_value.h"

typedef enum jnode_kind {
    // expressions
    JN_CONST,
    JN_NAME,
    JN_NSREF, // ns.attribute as a target
    JN_TUPLE,
    JN_LIST,
    JN_DICT, // items: keys and values in turn
    JN_CONDITIONAL,
    JN_BINARY,
    JN_UNARY,
    JN_CONCAT,
    JN_COMPARE, // items: operands; operators beside them
    JN_ATTRIBUTE,
    JN_SUBSCRIPT,
    JN_SLICE,
    JN_CALL,
    JN_FILTER,
    JN_TEST,
    // statements
    JN_DATA,
    JN_OUTPUT,
    JN_IF,
    JN_FOR,
    JN_ASSIGN,
    JN_ASSIGN_BLOCK,
    JN_WITH,
    JN_MACRO,
    JN_CALL_BLOCK,
    JN_GENERATION, // a call block whose caller's text is printed
    JN_FILTER_BLOCK,
    JN_SCOPE, // autoescape false
    JN_BLOCK,
    JN_BREAK,
    JN_CONTINUE,
    JN_NO_LOADER // include, import, extends: fail when they run
} jnode_kind;

typedef enum joperator {
    JO_ADD,
    JO_SUB,
    JO_MUL,
    JO_DIV,
    JO_FLOORDIV,
    JO_MOD,
    JO_POW,
    JO_AND,
    JO_OR,
    JO_NOT,
    JO_NEG,
    JO_POS,
    JO_EQ,
    JO_NE,
    JO_LT,
    JO_LE,
    JO_GT,
    JO_GE,
    JO_IN,
    JO_NOT_IN
} joperator;

typedef enum jname_use { JUSE_LOAD, JUSE_STORE, JUSE_PARAMETER } jname_use;

typedef struct jnode jnode;

typedef struct jnodes {
    jnode **items;
    size_t count, capacity;
} jnodes;

// A variable's place: `hops` functions outwards, then a slot of that function's activation.
typedef struct jslot {
    uint32_t hops, index;
} jslot;

// What a scope does when it is entered: every variable of its own gets a value.
typedef struct jload {
    enum { JLOAD_CONTEXT, JLOAD_COPY, JLOAD_MISSING, JLOAD_PARAMETER } kind;
    uint32_t slot;
    jslot from;          // JLOAD_COPY
    const jstring *name; // JLOAD_CONTEXT
} jload;

typedef struct jscope {
    jload *loads;
    size_t count;
} jscope;

// Code that runs in an activation of its own: the template, macros, call blocks, recursive loops, loop
// filters, blocks.
typedef struct jcode {
    uint32_t num_slots;
    jscope scope;
} jcode;

typedef struct jcall_syntax { // arguments of a call, filter or test
    jnodes arguments;
    jnodes keywords;               // the values
    const jstring **keyword_names; // as many
    jnode *star, *star_star;
} jcall_syntax;

typedef struct jmacro_syntax {
    const jstring *name; // NULL: a call block's caller
    jnodes parameters, defaults, body;
    jcode code;
    bool uses_caller, uses_kwargs, uses_varargs;
    uint32_t caller_slot, kwargs_slot, varargs_slot;
} jmacro_syntax;

typedef struct jfor {
    jnode *target, *iter, *test, *test_target; // the target twice: the filter sets variables of its own
    jnodes body, otherwise;
    jscope body_scope, else_scope;
    jcode test_code, code; // `code`: of a recursive loop
    uint32_t loop_slot;
    bool recursive, extended; // extended: has the variable `loop`
} jfor;

typedef struct jassign {
    jnode *target, *value, *filter;
    jnodes body; // of a set block
    jscope scope;
    jslot *namespaces; // variables that must hold namespaces
    size_t num_namespaces;
} jassign;

typedef struct jwith {
    jnodes targets, values, body;
    jscope scope;
    jnode *filter;
} jwith;

typedef struct jbranch {
    jnode *test;
    jnodes body, elifs, otherwise; // elifs are IFs
} jbranch;

typedef struct jblock {
    const jstring *name;
    jnodes body;
    jcode code;
    bool scoped, required, uses_self;
    uint32_t self_slot;
    jnode *next;
    const jstring **local_names; // scoped: the variables that it sees, and where they are
    jslot *locals;
    size_t num_locals;
} jblock;

typedef struct jload_failure { // include, import, extends
    jnode *source;
    const jstring **names;
    size_t num_names;
} jload_failure;

struct jnode {
    jnode_kind kind;
    uint8_t op;      // joperator, or jname_use of a name
    bool check;      // a name: may hold nothing, then it is undefined
    bool escapes;    // stands in {% autoescape true %}; such a scope itself
    bool exported;   // a name or macro set at the top level: blocks see it
    uint16_t height; // of the tree below, bounded so that walking it is
    uint32_t line;
    union {
        jvalue constant;
        const jstring *data;
        struct {
            const jstring *name, *attribute;
            jslot slot;
        } name; // NAME, NSREF
        struct {
            jnodes items;
            uint8_t *operators; // COMPARE: before each item but the first
        } list;                 // TUPLE, LIST, DICT, CONCAT, COMPARE
        struct {
            jnode *test, *yes, *no;
        } conditional;
        struct {
            jnode *left, *right;
        } binary; // BINARY, UNARY (left), OUTPUT (left)
        struct {
            jnode *object;
            const jstring *name;
        } attribute;
        struct {
            jnode *object, *index;
        } subscript;
        struct {
            jnode *start, *stop, *step;
        } slice;
        struct {
            jnode *object; // FILTER: NULL in a filter or set block
            const jstring *name;
            const struct jbuiltin *builtin; // NULL: there is no such filter or test
            jcall_syntax *call;
        } apply; // CALL, FILTER, TEST
        struct {
            jmacro_syntax *syntax;
            jnode *call;
            jslot slot;
        } macro; // MACRO, CALL_BLOCK, GENERATION
        jbranch *branch;
        jfor *loop;
        jassign *assign; // ASSIGN, ASSIGN_BLOCK
        jwith *with;     // WITH, SCOPE, FILTER_BLOCK
        jblock *block;
        jload_failure *load;
    };
};

struct jinja_template {
    arena memory;
    jnodes body;
    jcode code;
    jnode *blocks;      // a list
    uint32_t self_slot; // valid if uses_self
    bool uses_self;
};

// Walks the child nodes in the order in which Jinja2 does.
typedef void (*jvisitor)(void *user, jnode *child);
void jinja_visit_children(jnode *node, jvisitor visit, void *user);

#endif
