// The two steps from tokens to a template that can run.
#ifndef TEXT_JINJA_PARSER_H
#define TEXT_JINJA_PARSER_H
#include "base/strmap.h"
#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

enum { JINJA_MAX_HEIGHT = 400, JINJA_MAX_SOURCE = 16 << 20 };

typedef struct jparser {
    jparse *parse;
    jlexer lexer;
    jtoken current, pushed;
    bool has_pushed, escapes; // escapes: inside {% autoescape true %}
    uint32_t depth;           // of nested parsing functions
    strmap interned;          // names: equal ones are one pointer
    const jstring **names;
    size_t num_names, names_capacity;
    struct jtag *tags;        // open tags, innermost first
    const char *late_error;   // what Python finds wrong with the generated code, once Jinja2 is content
    const jstring *late_name; // shown in it, or NULL
    uint32_t late_line;
    struct jends *ends; // what ends the open bodies, innermost first
} jparser;

const jstring *jparser_intern(jparser *p, const char *text, size_t length);
void jinja_parse_body(jparser *p, struct jinja_template *tmpl);
void jinja_resolve(jparser *p, struct jinja_template *tmpl); // scopes, slots, filters and tests

// Shared by the parser of statements and that of expressions.
jnode *jparser_node(jparser *p, jnode_kind kind, uint32_t line);
jnode *jparser_adopt(jparser *p, jnode *parent, jnode *child); // returns the child
void jparser_append(jparser *p, jnode *parent, jnodes *list, jnode *child);
void jparser_enter(jparser *p); // one level deeper; fails when that is too deep
jtoken jparser_next(jparser *p);
jtoken jparser_look(jparser *p);
bool jparser_at_name(const jparser *p, const char *name);
bool jparser_skip_name(jparser *p, const char *name);
bool jparser_skip(jparser *p, jtoken_type type);
jtoken jparser_expect(jparser *p, jtoken_type type);
void jparser_expect_name(jparser *p, const char *name);
const char *jparser_describe(const jtoken *token, int *length); // not NUL-terminated

void jparser_fail_late(jparser *p, uint32_t line, const char *format,
                       const jstring *name); // the first one counts

jnode *jparser_expression(jparser *p, bool with_conditional);
jnode *jparser_primary(jparser *p, bool with_namespace);
jnode *jparser_tuple(jparser *p, bool with_conditional);
jnode *jparser_constant(jparser *p, jvalue value, uint32_t line);
jnode *jparser_target(jparser *p, bool name_only, bool with_namespace);
jnode *jparser_filter(jparser *p, jnode *object, bool start_inline);

#endif
