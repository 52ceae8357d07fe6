// One render: its memory, bounds and failures, and the operations on values that its parts share. A failure
// is a jump to where the render began (as in Lua): functions return values, and what they allocated dies with
// the arena. Only `text` is outside of it.
#ifndef TEXT_JINJA_RENDER_H
#define TEXT_JINJA_RENDER_H
#include <setjmp.h>
#include "base/buf.h"
#include "text/jinja.h"
#include "text/jinja_ast.h"
#include "text/jinja_value.h"

typedef struct jactivation { // variables of one running piece of code
    struct jactivation *outer;
    jvalue slots[];
} jactivation;

typedef struct jmacro {
    const jmacro_syntax *syntax;
    jactivation *outer; // where it was defined
} jmacro;

typedef struct jloop { // Jinja2's LoopContext
    jiterator *source;
    jvalue iterable;
    int64_t index0, depth0, length; // length: -1 until somebody asks
    jvalue current, before, after;  // J_MISSING: none
    jlist *changed;                 // arguments of the last changed(), or NULL
    const jfor *recursive;          // NULL: cannot be called
    jactivation *outer;             // of the recursive loop
} jloop;

int64_t jloop_length(jrender *r, jloop *loop);
bool jloop_next(jrender *r, jloop *loop, jvalue *item);

struct jrender {
    const struct jinja_template *tmpl;
    jinja_options options;
    arena memory;
    buf text; // the output so far; strings are built behind it and cut off again
    jmp_buf failed;
    llm_error *err;
    llm_status status;
    uint64_t steps;
    uint32_t depth;
    jdict *context;  // what the caller gave
    jdict *exported; // what the template set at its top level
    jdict *locals;   // of the scoped block that runs, or NULL
    jactivation *activation;
    bool escapes;    // what runs is in {% autoescape true %}
    jvalue captured; // what a filter or set block passes to its filter
};

enum { JINJA_MAX_DEPTH = 1800 };

// Failures. The message is Python's str() of the exception.
_Noreturn void jinja_raise(jrender *r, const char *format, ...) PRINTF_LIKE(2, 3);
_Noreturn void jinja_raise_text(jrender *r, const jstring *message);
_Noreturn void jinja_raise_undefined(jrender *r, const jundefined *undefined);
_Noreturn void jinja_raise_overflow(jrender *r);

// Bounds.
void jinja_step(jrender *r, size_t count);
static inline void jinja_pass_over(jrender *r, size_t bytes)
{
    r->steps += bytes / 512;
} // of text; the next step checks
void jinja_enter(jrender *r);
static inline void jinja_leave(jrender *r)
{
    r->depth--;
}

// Memory of the render, cleared.
void *jinja_alloc(jrender *r, size_t count, size_t size);

// Strings. Those made "of" bytes borrow them: they must live as long as the render.
jvalue jinja_string_of(jrender *r, const char *data, size_t length);
jvalue jinja_string_part(jrender *r, const jstring *whole, size_t begin,
                         size_t end); // bytes; keeps the markup
jvalue jinja_string_copy(jrender *r, const char *data, size_t length);
jvalue jinja_literal(jrender *r, const char *text); // of a C literal
jvalue jinja_character(jrender *r, const jstring *s, size_t byte, size_t *length);
size_t jinja_offset(const jstring *s, size_t character); // its byte; the length when there are fewer
jvalue jinja_markup(jrender *r, jvalue string);
jvalue jinja_escape(jrender *r, jvalue value); // markupsafe.escape

// Building a string: begin, append to r->text, end. Nests like brackets.
static inline size_t jtext_begin(const jrender *r)
{
    return r->text.length;
}
void jtext_add(jrender *r, const char *data, size_t length);
void jtext_string(jrender *r, const jstring *s);
void jtext_literal(jrender *r, const char *text);
void jtext_char(jrender *r, uint32_t c);
void jtext_check(jrender *r); // after direct use of r->text
jvalue jtext_end(jrender *r, size_t begin);
void jinja_write(jrender *r, jvalue value);              // str() of it
void jinja_write_value(jrender *r, jvalue value);        // repr() of it
const jstring *jinja_str(jrender *r, jvalue value);      // str()
const jstring *jinja_soft_str(jrender *r, jvalue value); // str() that keeps markup
const jstring *jinja_repr(jrender *r, jvalue value);
#define JFMT(s) (int)((s)->length > 400 ? 400 : (s)->length), (s)->data // for "%.*s" in messages

// Containers.
jlist *jlist_new(jrender *r, size_t capacity);
void jlist_append(jrender *r, jlist *list, jvalue item);
jvalue jinja_list(jlist *list);
jvalue jinja_tuple(jlist *list);
jvalue jinja_pair(jrender *r, jvalue a, jvalue b); // a tuple
jdict *jdict_new(jrender *r);
void jdict_set(jrender *r, jdict *dict, jvalue key, jvalue value);
bool jdict_get(jrender *r, const jdict *dict, jvalue key, jvalue *value);
jentry *jdict_entry(jrender *r, const jdict *dict, jvalue key, uint64_t hash); // NULL: it is not there
bool jdict_find(const jdict *dict, const jstring *key, jvalue *value);
jvalue jinja_from_json(jrender *r, yyjson_val *json);

// Properties and comparison.
const char *jinja_type_name(jvalue value);                  // type(value).__name__
const jstring *jinja_object_type(jrender *r, jvalue value); // "dict object", as Jinja2 says
bool jinja_truth(jrender *r, jvalue value);
bool jinja_equal(jrender *r, jvalue a, jvalue b);
bool jinja_identical(jvalue a, jvalue b);
bool jinja_compare(jrender *r, joperator op, jvalue a, jvalue b); // JO_LT ... JO_GE
bool jinja_contains(jrender *r, jvalue container, jvalue item);
bool jinja_is_hashable(jrender *r, jvalue value);
uint64_t jinja_hash(jrender *r, jvalue value);
bool jinja_has_length(jvalue value);
int64_t jinja_length(jrender *r, jvalue value);
bool jinja_is_callable(jvalue value);
bool jinja_is_iterable(jvalue value);

// Iteration. An iterator over a container lives where the caller puts it.
void jiterator_begin(jrender *r, jvalue value, jiterator *it); // fails for what cannot be iterated
bool jiterator_next(jrender *r, jiterator *it, jvalue *item);
jlist *jinja_collect(jrender *r, jvalue iterable); // list(iterable)
jvalue jinja_generator(jrender *r, bool (*next)(jrender *, jiterator *, jvalue *), jvalue source,
                       void *state);
void jinja_sort(jrender *r, jlist *list, const jlist *keys,
                bool reverse);                   // stable, in place; keys NULL: the items
jvalue jinja_reversed(jrender *r, jvalue value); // reversed(); J_MISSING when it cannot be

// Operations.
jvalue jinja_binary(jrender *r, joperator op, jvalue a, jvalue b);
jvalue jinja_unary(jrender *r, joperator op, jvalue a);
jvalue jinja_concat(jrender *r, const jstring *a, const jstring *b);
jvalue jinja_format_percent(jrender *r, const jstring *format, jvalue arguments);
jvalue jinja_format_braces(jrender *r, const jstring *format, const jarguments *arguments);
jvalue jinja_attribute(jrender *r, jvalue object, const jstring *name); // environment.getattr
jvalue jinja_item(jrender *r, jvalue object, jvalue index);             // environment.getitem
jvalue jinja_slice(jrender *r, jvalue object, jvalue start, jvalue stop, jvalue step);
bool jinja_member(jrender *r, jvalue object, const jstring *name,
                  jvalue *value); // Python's getattr; false: it has none
bool jinja_find_method(jvalue object, const jstring *name, const char **stable_name, jcallback *call);
int64_t jinja_index(jrender *r, jvalue value, const char *message); // an integer argument

// Strings' methods that filters use as well.
typedef enum jcase { JCASE_UPPER, JCASE_LOWER, JCASE_CAPITALIZE, JCASE_TITLE, JCASE_SWAP, JCASE_FOLD } jcase;
jvalue jinja_change_case(jrender *r, const jstring *s, jcase change);
bool jinja_is_cased_as(const jstring *s, bool upper); // str.isupper(), str.islower()
jvalue jinja_strip(jrender *r, const jstring *s, const jstring *chars, bool left,
                   bool right); // chars NULL: white space
jvalue jinja_replace(jrender *r, const jstring *s, const jstring *from, const jstring *to, int64_t count);
jvalue jinja_center(jrender *r, const jstring *s, int64_t width, const jstring *fill);
jlist *jinja_split_lines(jrender *r, const jstring *s, bool keep_ends);
jlist *jinja_split_space(jrender *r, const jstring *s, int64_t limit);
jvalue jinja_join(jrender *r, const jstring *separator, const jlist *strings); // of strings only

// Undefined values.
jvalue jinja_undefined_name(jrender *r, const jstring *name);
jvalue jinja_undefined_member(jrender *r, jvalue object, jvalue name);
jvalue jinja_undefined_hint(jrender *r, const char *hint, const jstring *name);
jvalue jinja_forbidden(jrender *r, jvalue object, const jstring *name);
const jstring *jinja_undefined_message(jrender *r, const jundefined *undefined);

// Running.
jvalue jinja_call(jrender *r, jvalue callee, const jarguments *arguments);
jvalue jinja_call_filter(jrender *r, jvalue name, jvalue value, const jarguments *arguments);
jvalue jinja_call_test(jrender *r, jvalue name, jvalue value, const jarguments *arguments);
jvalue jinja_evaluate(jrender *r, const jnode *node);
jvalue jinja_evaluate_call(jrender *r, const jnode *call,
                           jvalue caller); // caller: J_MISSING, or passed by keyword
jvalue jinja_call_macro(jrender *r, jmacro *macro, const jarguments *arguments);
jvalue jinja_call_loop(jrender *r, jloop *loop, const jarguments *arguments);
jvalue jinja_call_block(jrender *r, const jblock *block);
jvalue jinja_resolve_name(jrender *r, const jstring *name); // from the context; J_MISSING if it is not there
void jinja_run_template(jrender *r);
jvalue jinja_global(const jstring *name); // J_MISSING if there is none

// jinja_render, with `prepare` to fill r->context.
llm_status jinja_render_prepared(const jinja_template *tmpl, void (*prepare)(jrender *r, const void *user),
                                 const void *user, const jinja_options *options, buf *out, llm_error *err);

// JSON, as json.dumps writes it.
typedef struct jjson_style {
    const jstring *indent; // NULL: on one line
    const jstring *item_separator, *key_separator;
    bool ensure_ascii, sort_keys;
} jjson_style;
jvalue jinja_to_json(jrender *r, jvalue value, const jjson_style *style);

#endif
