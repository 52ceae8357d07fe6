// Parses what expressions are made of: names, literals, lists, dicts and tuples; and what can be assigned to.
#include "text/jinja_parser.h"
#include <string.h>

jnode *jparser_constant(jparser *p, jvalue value, uint32_t line)
{
    jnode *node = jparser_node(p, JN_CONST, line);
    node->constant = value;
    return node;
}

static jnode *parse_name(jparser *p, bool with_namespace)
{
    jtoken token = jparser_next(p);
    const jstring *name = token.text;
    if (jstring_is(name, "true") || jstring_is(name, "True"))
        return jparser_constant(p, jbool(true), token.line);
    if (jstring_is(name, "false") || jstring_is(name, "False"))
        return jparser_constant(p, jbool(false), token.line);
    if (jstring_is(name, "none") || jstring_is(name, "None")) return jparser_constant(p, jnone(), token.line);
    bool is_reference = with_namespace && jparser_skip(p, JT_DOT);
    jnode *node = jparser_node(p, is_reference ? JN_NSREF : JN_NAME, token.line);
    node->name.name = name;
    if (is_reference) node->name.attribute = jparser_expect(p, JT_NAME).text;
    return node;
}

// Adjacent string literals are one.
static jnode *parse_string(jparser *p)
{
    jtoken token = jparser_next(p);
    const jstring *text = token.text;
    if (p->current.type != JT_STRING) return jparser_constant(p, jstr(text), token.line);
    size_t capacity = text->length * 2 + 64, length = text->length;
    char *joined = jinja_parse_alloc(p->parse, capacity, 1);
    memcpy(joined, text->data, length);
    while (p->current.type == JT_STRING) {
        text = jparser_next(p).text;
        if (length + text->length > capacity) {
            capacity = (length + text->length) * 2;
            char *larger = jinja_parse_alloc(p->parse, capacity, 1);
            memcpy(larger, joined, length);
            joined = larger;
        }
        memcpy(joined + length, text->data, text->length);
        length += text->length;
    }
    return jparser_constant(p, jstr(jinja_parse_string(p->parse, joined, length)), token.line);
}

static jnode *parse_list(jparser *p)
{
    jnode *node = jparser_node(p, JN_LIST, jparser_next(p).line);
    while (p->current.type != JT_RBRACKET) {
        if (node->list.items.count) jparser_expect(p, JT_COMMA);
        if (p->current.type == JT_RBRACKET) break;
        jparser_append(p, node, &node->list.items, jparser_expression(p, true));
    }
    jparser_expect(p, JT_RBRACKET);
    return node;
}

static jnode *parse_dict(jparser *p)
{
    jnode *node = jparser_node(p, JN_DICT, jparser_next(p).line);
    while (p->current.type != JT_RBRACE) {
        if (node->list.items.count) jparser_expect(p, JT_COMMA);
        if (p->current.type == JT_RBRACE) break;
        jparser_append(p, node, &node->list.items, jparser_expression(p, true));
        jparser_expect(p, JT_COLON);
        jparser_append(p, node, &node->list.items, jparser_expression(p, true));
    }
    jparser_expect(p, JT_RBRACE);
    return node;
}

// Jinja2 means to end tuples at `in` and `recursive` too, but tests for them wrongly.
static bool at_tuple_end(const jparser *p)
{
    jtoken_type type = p->current.type;
    return type == JT_VARIABLE_END || type == JT_BLOCK_END || type == JT_RPAREN;
}

typedef enum tuple_style {
    TUPLE_FULL,
    TUPLE_NO_CONDITIONAL,
    TUPLE_TARGET,
    TUPLE_NAMESPACE_TARGET
} tuple_style;

static jnode *parse_tuple(jparser *p, tuple_style style, bool parenthesised)
{
    uint32_t line = p->current.line;
    jnode *node = jparser_node(p, JN_TUPLE, line);
    jnodes *items = &node->list.items;
    bool is_tuple = false;
    for (;;) {
        if (items->count) jparser_expect(p, JT_COMMA);
        if (at_tuple_end(p)) break;
        jparser_append(p, node, items,
                       style >= TUPLE_TARGET ? jparser_primary(p, style == TUPLE_NAMESPACE_TARGET)
                                             : jparser_expression(p, style == TUPLE_FULL));
        if (p->current.type != JT_COMMA) break;
        is_tuple = true;
        node->line = p->current.line;
    }
    if (!is_tuple && items->count) return items->items[0];
    if (!is_tuple && !parenthesised) {
        int length;
        const char *got = jparser_describe(&p->current, &length);
        jinja_parse_fail(p->parse, p->current.line, "Expected an expression, got '%.*s'", length, got);
    }
    return node;
}

jnode *jparser_tuple(jparser *p, bool with_conditional)
{
    return parse_tuple(p, with_conditional ? TUPLE_FULL : TUPLE_NO_CONDITIONAL, false);
}

jnode *jparser_primary(jparser *p, bool with_namespace)
{
    int length;
    const char *got;
    jnode *node = NULL;
    jparser_enter(p);
    jtoken token = p->current;
    switch (token.type) {
    case JT_NAME: node = parse_name(p, with_namespace); break;
    case JT_STRING: node = parse_string(p); break;
    case JT_INTEGER:
    case JT_FLOAT: node = jparser_constant(p, jparser_next(p).number, token.line); break;
    case JT_LPAREN:
        jparser_next(p);
        node = parse_tuple(p, TUPLE_FULL, true);
        jparser_expect(p, JT_RPAREN);
        break;
    case JT_LBRACKET: node = parse_list(p); break;
    case JT_LBRACE: node = parse_dict(p); break;
    default:
        got = jparser_describe(&token, &length);
        jinja_parse_fail(p->parse, token.line, "unexpected '%.*s'", length, got);
    }
    p->depth--;
    return node;
}

static const char *class_name(const jnode *node)
{
    static const char *const kinds[] = {
        [JN_CONST] = "const",       [JN_NAME] = "name",       [JN_TUPLE] = "tuple",
        [JN_LIST] = "list",         [JN_DICT] = "dict",       [JN_CONDITIONAL] = "condexpr",
        [JN_CONCAT] = "concat",     [JN_COMPARE] = "compare", [JN_ATTRIBUTE] = "getattr",
        [JN_SUBSCRIPT] = "getitem", [JN_CALL] = "call",       [JN_FILTER] = "filter",
        [JN_TEST] = "test",
    };
    static const char *const operators[] = {
        [JO_ADD] = "add", [JO_SUB] = "sub", [JO_MUL] = "mul", [JO_DIV] = "div", [JO_FLOORDIV] = "floordiv",
        [JO_MOD] = "mod", [JO_POW] = "pow", [JO_AND] = "and", [JO_OR] = "or",   [JO_NOT] = "not",
        [JO_NEG] = "neg", [JO_POS] = "pos",
    };
    return node->kind == JN_BINARY || node->kind == JN_UNARY ? operators[node->op] : kinds[node->kind];
}

static bool can_assign(const jnode *node)
{
    if (node->kind != JN_TUPLE) return node->kind == JN_NAME || node->kind == JN_NSREF;
    for (size_t i = 0; i < node->list.items.count; i++)
        if (!can_assign(node->list.items.items[i])) return false;
    return true;
}

static void set_store(jnode *node)
{
    if (node->kind == JN_NAME) node->op = JUSE_STORE;
    for (size_t i = 0; node->kind == JN_TUPLE && i < node->list.items.count; i++)
        set_store(node->list.items.items[i]);
}

jnode *jparser_target(jparser *p, bool name_only, bool with_namespace)
{
    jnode *node;
    if (name_only) {
        jtoken token = jparser_expect(p, JT_NAME);
        node = jparser_node(p, JN_NAME, token.line);
        node->name.name = token.text;
        for (const char *const *word =
                 (const char *const[]){"true", "false", "none", "True", "False", "None", NULL};
             *word; word++)
            if (jstring_is(token.text, *word))
                jinja_parse_fail(p->parse, token.line, "can't assign to 'name'");
    } else {
        node = parse_tuple(p, with_namespace ? TUPLE_NAMESPACE_TARGET : TUPLE_TARGET, false);
    }
    if (!can_assign(node)) jinja_parse_fail(p->parse, node->line, "can't assign to '%s'", class_name(node));
    set_store(node);
    return node;
}
