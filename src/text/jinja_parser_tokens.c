// What the parsers of statements and of expressions stand on: nodes, names, and the token stream.
#include "text/jinja_parser.h"
#include <string.h>

enum { MAX_DEPTH = 150 };

// ---- nodes ----

jnode *jparser_node(jparser *p, jnode_kind kind, uint32_t line)
{
    jnode *node = jinja_parse_alloc(p->parse, 1, sizeof *node);
    node->kind = kind;
    node->line = line;
    node->escapes = p->escapes;
    return node;
}

jnode *jparser_adopt(jparser *p, jnode *parent, jnode *child)
{
    if (child->height >= JINJA_MAX_HEIGHT)
        jinja_parse_fail(p->parse, child->line, "the template is nested too deeply: more than %d levels",
                         JINJA_MAX_HEIGHT);
    if (parent->height <= child->height) parent->height = (uint16_t)(child->height + 1);
    return child;
}

void jparser_append(jparser *p, jnode *parent, jnodes *list, jnode *child)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        jnode **larger = jinja_parse_alloc(p->parse, capacity, sizeof *larger);
        if (list->count) memcpy(larger, list->items, list->count * sizeof *larger);
        list->items = larger;
        list->capacity = capacity;
    }
    list->items[list->count++] = parent ? jparser_adopt(p, parent, child) : child;
}

void jparser_enter(jparser *p)
{
    if (++p->depth > MAX_DEPTH)
        jinja_parse_fail(p->parse, p->current.line, "the template is nested too deeply: more than %d levels",
                         MAX_DEPTH);
}

const jstring *jparser_intern(jparser *p, const char *text, size_t length)
{
    uint32_t number;
    if (strmap_get(&p->interned, text, length, &number)) return p->names[number];
    if (p->num_names == p->names_capacity) {
        size_t capacity = p->names_capacity ? p->names_capacity * 2 : 64;
        const jstring **larger = jinja_parse_alloc(p->parse, capacity, sizeof *larger);
        if (p->num_names) memcpy(larger, p->names, p->num_names * sizeof *larger);
        p->names = larger;
        p->names_capacity = capacity;
    }
    const jstring *name = jinja_parse_string(p->parse, text, length);
    p->names[p->num_names] = name;
    if (!strmap_put(&p->interned, text, length, (uint32_t)p->num_names)) {
        p->parse->status = error_no_memory(p->parse->err, "a template");
        longjmp(p->parse->failed, 1);
    }
    p->num_names++;
    return name;
}

void jparser_fail_late(jparser *p, uint32_t line, const char *format, const jstring *name)
{
    if (p->late_error) return;
    p->late_error = format;
    p->late_name = name;
    p->late_line = line;
}

// ---- the token stream ----

static jtoken fetch(jparser *p)
{
    if (p->has_pushed) {
        p->has_pushed = false;
        return p->pushed;
    }
    if (p->current.type == JT_EOF) return p->current;
    jtoken token = jlexer_next(&p->lexer);
    if (token.type == JT_NAME) token.text = jparser_intern(p, token.text->data, token.text->length);
    if (token.type == JT_EOF) token.line = p->current.line;
    return token;
}

jtoken jparser_next(jparser *p)
{
    jtoken token = p->current;
    p->current = fetch(p);
    return token;
}

jtoken jparser_look(jparser *p)
{
    jtoken current = jparser_next(p);
    p->pushed = p->current;
    p->has_pushed = true;
    p->current = current;
    return p->pushed;
}

bool jparser_at_name(const jparser *p, const char *name)
{
    return p->current.type == JT_NAME && jstring_is(p->current.text, name);
}

bool jparser_skip_name(jparser *p, const char *name)
{
    bool found = jparser_at_name(p, name);
    if (found) jparser_next(p);
    return found;
}

bool jparser_skip(jparser *p, jtoken_type type)
{
    bool found = p->current.type == type;
    if (found) jparser_next(p);
    return found;
}

const char *jparser_describe(const jtoken *token, int *length)
{
    const char *text = token->type == JT_NAME ? token->text->data : jinja_token_description(token->type);
    *length = (int)(token->type == JT_NAME ? token->text->length : strlen(text));
    return text;
}

static _Noreturn void fail_expected(jparser *p, const char *expected)
{
    int length;
    const char *got = jparser_describe(&p->current, &length);
    if (p->current.type == JT_EOF)
        jinja_parse_fail(p->parse, p->current.line, "unexpected end of template, expected '%s'.", expected);
    jinja_parse_fail(p->parse, p->current.line, "expected token '%s', got '%.*s'", expected, length, got);
}

jtoken jparser_expect(jparser *p, jtoken_type type)
{
    if (p->current.type != type) fail_expected(p, jinja_token_description(type));
    return jparser_next(p);
}

void jparser_expect_name(jparser *p, const char *name)
{
    if (!jparser_skip_name(p, name)) fail_expected(p, name);
}
