// The values a template computes with: Python's, as far as templates can see them. Values live in the arena
// of one render (constants in the template's) and never change after they are shared, except namespaces,
// cyclers, joiners, loops and iterators.
#ifndef TEXT_JINJA_VALUE_H
#define TEXT_JINJA_VALUE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct jrender jrender; // one render, see jinja_render.h

typedef enum jkind {
    J_MISSING, // no value: an unset variable or an argument that was not given
    J_UNDEFINED,
    J_NONE,
    J_BOOL,
    J_INT,
    J_BIG, // an integer of the context beyond 64 bits: its digits, good for printing and comparing only
    J_FLOAT,
    J_STRING,
    J_LIST,
    J_TUPLE,
    J_DICT,
    J_RANGE,
    J_VIEW, // keys(), values() or items() of a dict
    J_ITERATOR,
    J_FUNCTION, // a global
    J_METHOD,   // bound to its object
    J_MACRO,
    J_LOOP,
    J_NAMESPACE,
    J_CYCLER,
    J_JOINER,
    J_BLOCK, // self.name
    J_SELF
} jkind;

typedef struct jstring {
    const char *data; // UTF-8, not always NUL-terminated
    size_t length;    // bytes
    size_t chars;     // code points; == length exactly when all are ASCII
    bool markup;      // markupsafe's Markup: what is added to it gets escaped
} jstring;

typedef struct jvalue {
    jkind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        const jstring *string; // J_STRING, J_BIG
        struct jlist *list;    // J_LIST, J_TUPLE
        struct jdict *dict;    // J_DICT, J_NAMESPACE
        struct jrange *range;
        struct jview *view;
        struct jiterator *iterator;
        struct jundefined *undefined;
        const struct jfunction *function;
        struct jmethod *method;
        struct jmacro *macro;
        struct jloop *loop;
        struct jcycler *cycler;
        struct jjoiner *joiner;
        const struct jnode *block;
        void *pointer;
    };
} jvalue;

typedef struct jlist {
    jvalue *items;
    size_t count, capacity;
    bool is_group; // a tuple of groupby: .grouper and .list
} jlist;

typedef struct jentry {
    jvalue key, value;
    uint64_t hash;
} jentry;

typedef struct jdict { // in order of insertion
    jentry *entries;
    size_t count, capacity;
    uint32_t *index; // open addressing, entry number + 1; NULL while the dict is small
    size_t mask;
} jdict;

typedef struct jrange {
    int64_t start, stop, step;
    size_t count;
} jrange;

typedef struct jview {
    jdict *dict;
    enum jview_kind { JVIEW_KEYS, JVIEW_VALUES, JVIEW_ITEMS } kind;
} jview;

typedef struct jundefined {
    const jstring *hint; // NULL: made from object and name
    jvalue object;       // J_MISSING: a variable
    jvalue name;
    bool forbidden; // by the sandbox
} jundefined;

typedef struct jkeyword {
    const jstring *name;
    jvalue value;
} jkeyword;

typedef struct jarguments {
    jvalue *items;
    size_t count;
    jkeyword *keywords;
    size_t num_keywords;
} jarguments;

typedef jvalue (*jcallback)(jrender *r, jvalue self, const jarguments *arguments);

typedef struct jfunction {
    const char *name;
    const char *shown; // what str() gives
    const char *type;
    jcallback call;
} jfunction;

typedef struct jmethod {
    jvalue self;
    const char *name;
    jcallback call;
} jmethod;

typedef struct jcycler {
    jlist *items;
    size_t position;
} jcycler;

typedef struct jjoiner {
    jvalue separator;
    bool used;
} jjoiner;

// An iterator: `next` gives one item or false at the end. Sources over containers need no allocation.
typedef struct jiterator {
    bool (*next)(jrender *r, struct jiterator *it, jvalue *item);
    const char *type; // Python's name of it: "generator", "list_reverseiterator", ...
    jvalue source;
    size_t position;
    struct jiterator *inner; // what it draws from
    void *state;             // of map, select, batch, ...
    bool running;            // a generator cannot be entered twice
    bool finished;
} jiterator;

// A constant string of an ASCII literal, alive for ever; inside functions.
#define JINJA_STRING(text)                                                                                   \
    (__extension__({                                                                                         \
        static const jstring constant_ = {text, sizeof(text) - 1, sizeof(text) - 1, false};                  \
        &constant_;                                                                                          \
    }))

static inline jvalue jnone(void)
{
    return (jvalue){.kind = J_NONE};
}
static inline jvalue jmissing(void)
{
    return (jvalue){.kind = J_MISSING};
}
static inline jvalue jbool(bool b)
{
    return (jvalue){.kind = J_BOOL, .boolean = b};
}
static inline jvalue jint(int64_t i)
{
    return (jvalue){.kind = J_INT, .integer = i};
}
static inline jvalue jfloat(double d)
{
    return (jvalue){.kind = J_FLOAT, .real = d};
}
static inline jvalue jstr(const jstring *s)
{
    return (jvalue){.kind = J_STRING, .string = s};
}
static inline bool jis(jvalue v, jkind kind)
{
    return v.kind == kind;
}
static inline bool jis_ascii(const jstring *s)
{
    return s->chars == s->length;
}
static inline bool jis_integer(jvalue v)
{
    return v.kind == J_INT || v.kind == J_BOOL;
} // isinstance(v, int)
static inline int64_t jinteger(jvalue v)
{
    return v.kind == J_BOOL ? (int64_t)v.boolean : v.integer;
}

bool jstring_equals(const jstring *a, const jstring *b);
bool jstring_is(const jstring *a, const char *text);
int jstring_compare(const jstring *a, const jstring *b); // by code points
size_t utf8_count(const char *text, size_t length);      // characters of valid UTF-8

#endif
