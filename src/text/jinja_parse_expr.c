// Parses expressions: Jinja2's recursive descent, one function a precedence level.
#include "text/jinja_parser.h"
#include <string.h>

static jnode *parse_unary(jparser *p, bool with_filter);
static jnode *parse_conditional(jparser *p);

static jnode *binary(jparser *p, joperator op, jnode *left, jnode *right, uint32_t line)
{
    jnode *node = jparser_node(p, JN_BINARY, line);
    node->op = op;
    node->binary.left = jparser_adopt(p, node, left);
    node->binary.right = jparser_adopt(p, node, right);
    return node;
}

static jnode *unary(jparser *p, joperator op, jnode *operand, uint32_t line)
{
    jnode *node = jparser_node(p, JN_UNARY, line);
    node->op = op;
    node->binary.left = jparser_adopt(p, node, operand);
    return node;
}

static jnode *parse_pow(jparser *p)
{
    uint32_t line = p->current.line;
    jnode *left = parse_unary(p, true);
    while (jparser_skip(p, JT_POW)) {
        left = binary(p, JO_POW, left, parse_unary(p, true), line);
        line = p->current.line;
    }
    return left;
}

static jnode *parse_product(jparser *p)
{
    uint32_t line = p->current.line;
    jnode *left = parse_pow(p);
    for (;;) {
        jtoken_type type = p->current.type;
        if (type != JT_MUL && type != JT_DIV && type != JT_FLOORDIV && type != JT_MOD) return left;
        joperator op = type == JT_MUL   ? JO_MUL
                       : type == JT_DIV ? JO_DIV
                       : type == JT_MOD ? JO_MOD
                                        : JO_FLOORDIV;
        jparser_next(p);
        left = binary(p, op, left, parse_pow(p), line);
        line = p->current.line;
    }
}

static jnode *parse_concat(jparser *p)
{
    uint32_t line = p->current.line;
    jnode *first = parse_product(p);
    if (p->current.type != JT_TILDE) return first;
    jnode *node = jparser_node(p, JN_CONCAT, line);
    jparser_append(p, node, &node->list.items, first);
    while (jparser_skip(p, JT_TILDE)) jparser_append(p, node, &node->list.items, parse_product(p));
    return node;
}

static jnode *parse_sum(jparser *p)
{
    uint32_t line = p->current.line;
    jnode *left = parse_concat(p);
    while (p->current.type == JT_ADD || p->current.type == JT_SUB) {
        joperator op = jparser_next(p).type == JT_ADD ? JO_ADD : JO_SUB;
        left = binary(p, op, left, parse_concat(p), line);
        line = p->current.line;
    }
    return left;
}

// Takes a comparison operator if one is there.
static bool take_comparison(jparser *p, uint8_t *op)
{
    switch (p->current.type) {
    case JT_EQ: *op = JO_EQ; break;
    case JT_NE: *op = JO_NE; break;
    case JT_LT: *op = JO_LT; break;
    case JT_LTEQ: *op = JO_LE; break;
    case JT_GT: *op = JO_GT; break;
    case JT_GTEQ: *op = JO_GE; break;
    default: {
        jtoken following;
        if (jparser_skip_name(p, "in")) return *op = JO_IN, true;
        if (!jparser_at_name(p, "not")) return false;
        following = jparser_look(p);
        if (following.type != JT_NAME || !jstring_is(following.text, "in")) return false;
        jparser_next(p);
        *op = JO_NOT_IN;
    }
    }
    jparser_next(p);
    return true;
}

static jnode *parse_comparison(jparser *p)
{
    uint32_t line = p->current.line;
    jnode *first = parse_sum(p), *node = NULL;
    size_t capacity = 0;
    uint8_t op;
    while (take_comparison(p, &op)) {
        if (!node) {
            node = jparser_node(p, JN_COMPARE, line);
            jparser_append(p, node, &node->list.items, first);
        }
        size_t count = node->list.items.count;
        if (count + 1 > capacity) {
            capacity = capacity ? capacity * 2 : 4;
            uint8_t *larger = jinja_parse_alloc(p->parse, capacity, 1);
            if (count > 1) memcpy(larger, node->list.operators, count);
            node->list.operators = larger;
        }
        node->list.operators[count] = op;
        jparser_append(p, node, &node->list.items, parse_sum(p));
    }
    return node ? node : first;
}

static jnode *parse_not(jparser *p)
{
    if (!jparser_at_name(p, "not")) return parse_comparison(p);
    jparser_enter(p);
    uint32_t line = jparser_next(p).line;
    jnode *node = unary(p, JO_NOT, parse_not(p), line);
    p->depth--;
    return node;
}

static jnode *parse_and(jparser *p)
{
    uint32_t line = p->current.line;
    jnode *left = parse_not(p);
    while (jparser_skip_name(p, "and")) {
        left = binary(p, JO_AND, left, parse_not(p), line);
        line = p->current.line;
    }
    return left;
}

static jnode *parse_or(jparser *p)
{
    uint32_t line = p->current.line;
    jnode *left = parse_and(p);
    while (jparser_skip_name(p, "or")) {
        left = binary(p, JO_OR, left, parse_and(p), line);
        line = p->current.line;
    }
    return left;
}

static jnode *parse_conditional(jparser *p)
{
    jparser_enter(p);
    uint32_t line = p->current.line;
    jnode *value = parse_or(p);
    while (jparser_skip_name(p, "if")) {
        jnode *node = jparser_node(p, JN_CONDITIONAL, line);
        node->conditional.yes = jparser_adopt(p, node, value);
        node->conditional.test = jparser_adopt(p, node, parse_or(p));
        if (jparser_skip_name(p, "else")) node->conditional.no = jparser_adopt(p, node, parse_conditional(p));
        value = node;
        line = p->current.line;
    }
    p->depth--;
    return value;
}

jnode *jparser_expression(jparser *p, bool with_conditional)
{
    if (with_conditional) return parse_conditional(p);
    jparser_enter(p);
    jnode *node = parse_or(p);
    p->depth--;
    return node;
}

static jnode *parse_subscribed(jparser *p)
{
    uint32_t line = p->current.line;
    jnode *start = NULL;
    if (p->current.type != JT_COLON) {
        start = jparser_expression(p, true);
        if (p->current.type != JT_COLON) return start;
    }
    jparser_next(p);
    jnode *node = jparser_node(p, JN_SLICE, line);
    if (start) node->slice.start = jparser_adopt(p, node, start);
    if (p->current.type != JT_COLON && p->current.type != JT_RBRACKET && p->current.type != JT_COMMA)
        node->slice.stop = jparser_adopt(p, node, jparser_expression(p, true));
    if (jparser_skip(p, JT_COLON) && p->current.type != JT_RBRACKET && p->current.type != JT_COMMA)
        node->slice.step = jparser_adopt(p, node, jparser_expression(p, true));
    return node;
}

static jnode *subscript(jparser *p, jnode *object, jnode *index, uint32_t line)
{
    jnode *node = jparser_node(p, JN_SUBSCRIPT, line);
    node->subscript.object = jparser_adopt(p, node, object);
    node->subscript.index = jparser_adopt(p, node, index);
    return node;
}

static jnode *parse_subscript(jparser *p, jnode *object)
{
    jtoken token = jparser_next(p);
    if (token.type == JT_DOT) {
        jtoken name = jparser_next(p);
        if (name.type == JT_INTEGER)
            return subscript(p, object, jparser_constant(p, name.number, name.line), token.line);
        if (name.type != JT_NAME) jinja_parse_fail(p->parse, name.line, "expected name or number");
        jnode *node = jparser_node(p, JN_ATTRIBUTE, token.line);
        node->attribute.object = jparser_adopt(p, node, object);
        node->attribute.name = name.text;
        return node;
    }
    jnode *tuple = jparser_node(p, JN_TUPLE, token.line);
    jnodes *items = &tuple->list.items;
    while (p->current.type != JT_RBRACKET) {
        if (items->count) jparser_expect(p, JT_COMMA);
        jparser_append(p, tuple, items, parse_subscribed(p));
    }
    jparser_expect(p, JT_RBRACKET);
    for (size_t i = 0; items->count > 1 && i < items->count; i++)
        if (items->items[i]->kind == JN_SLICE) jparser_fail_late(p, token.line, "invalid syntax", NULL);
    return subscript(p, object, items->count == 1 ? items->items[0] : tuple, token.line);
}

static void append_keyword(jparser *p, jnode *node, jcall_syntax *call, const jstring *name, jnode *value)
{
    size_t count = call->keywords.count, capacity = call->keywords.capacity;
    jparser_append(p, node, &call->keywords, value);
    if (call->keywords.capacity != capacity) {
        const jstring **larger = jinja_parse_alloc(p->parse, call->keywords.capacity, sizeof *larger);
        if (count) memcpy(larger, call->keyword_names, count * sizeof *larger);
        call->keyword_names = larger;
    }
    call->keyword_names[count] = name;
}

static void parse_argument(jparser *p, jnode *node, jcall_syntax *call, uint32_t line)
{
    bool valid;
    if (p->current.type == JT_MUL) {
        valid = !call->star && !call->star_star;
        if (valid) jparser_next(p), call->star = jparser_adopt(p, node, jparser_expression(p, true));
    } else if (p->current.type == JT_POW) {
        valid = !call->star_star;
        if (valid) jparser_next(p), call->star_star = jparser_adopt(p, node, jparser_expression(p, true));
    } else if (p->current.type == JT_NAME && jparser_look(p).type == JT_ASSIGN) {
        valid = !call->star_star;
        if (valid) {
            jtoken name = jparser_next(p);
            jparser_next(p);
            append_keyword(p, node, call, name.text, jparser_expression(p, true));
        }
    } else {
        valid = !call->star && !call->star_star && !call->keywords.count;
        if (valid) jparser_append(p, node, &call->arguments, jparser_expression(p, true));
    }
    if (!valid) jinja_parse_fail(p->parse, line, "invalid syntax for function call expression");
}

static void parse_arguments(jparser *p, jnode *node, jcall_syntax *call)
{
    uint32_t line = jparser_expect(p, JT_LPAREN).line;
    bool first = true;
    while (p->current.type != JT_RPAREN) {
        if (!first) {
            jparser_expect(p, JT_COMMA);
            if (p->current.type == JT_RPAREN) break;
        }
        parse_argument(p, node, call, line);
        first = false;
    }
    jparser_expect(p, JT_RPAREN);
    for (size_t i = 0; i < call->keywords.count; i++)
        for (size_t k = 0; k < i && call->keywords.count < 100; k++)
            if (call->keyword_names[i] == call->keyword_names[k])
                jparser_fail_late(p, line, "keyword argument repeated: %.*s", call->keyword_names[i]);
}

static jnode *application(jparser *p, jnode_kind kind, jnode *object, const jstring *name, uint32_t line)
{
    jnode *node = jparser_node(p, kind, line);
    node->apply.call = jinja_parse_alloc(p->parse, 1, sizeof *node->apply.call);
    if (object) node->apply.object = jparser_adopt(p, node, object);
    node->apply.name = name;
    return node;
}

static jnode *parse_call(jparser *p, jnode *object)
{
    jnode *node = application(p, JN_CALL, object, NULL, p->current.line);
    parse_arguments(p, node, node->apply.call);
    return node;
}

static jnode *parse_postfix(jparser *p, jnode *node)
{
    for (;;) {
        jtoken_type type = p->current.type;
        if (type == JT_DOT || type == JT_LBRACKET)
            node = parse_subscript(p, node);
        else if (type == JT_LPAREN)
            node = parse_call(p, node);
        else
            return node;
    }
}

// A name with dots.
static const jstring *parse_dotted(jparser *p)
{
    const jstring *name = jparser_expect(p, JT_NAME).text;
    while (jparser_skip(p, JT_DOT)) {
        const jstring *part = jparser_expect(p, JT_NAME).text;
        char *joined = jinja_parse_alloc(p->parse, name->length + part->length + 1, 1);
        memcpy(joined, name->data, name->length);
        joined[name->length] = '.';
        memcpy(joined + name->length + 1, part->data, part->length);
        name = jparser_intern(p, joined, name->length + part->length + 1);
    }
    return name;
}

jnode *jparser_filter(jparser *p, jnode *object, bool start_inline)
{
    while (start_inline || p->current.type == JT_PIPE) {
        if (!start_inline) jparser_next(p);
        uint32_t line = p->current.line;
        jnode *node = application(p, JN_FILTER, object, parse_dotted(p), line);
        if (p->current.type == JT_LPAREN) parse_arguments(p, node, node->apply.call);
        object = node;
        start_inline = false;
    }
    return object;
}

static bool at_test_argument(const jparser *p)
{
    switch (p->current.type) {
    case JT_NAME:
        return !jparser_at_name(p, "else") && !jparser_at_name(p, "or") && !jparser_at_name(p, "and");
    case JT_STRING:
    case JT_INTEGER:
    case JT_FLOAT:
    case JT_LPAREN:
    case JT_LBRACKET:
    case JT_LBRACE: return true;
    default: return false;
    }
}

static jnode *parse_test(jparser *p, jnode *object)
{
    uint32_t line = jparser_next(p).line;
    bool negated = jparser_skip_name(p, "not");
    jnode *node = application(p, JN_TEST, object, parse_dotted(p), line);
    if (p->current.type == JT_LPAREN) {
        parse_arguments(p, node, node->apply.call);
    } else if (at_test_argument(p)) {
        if (jparser_at_name(p, "is"))
            jinja_parse_fail(p->parse, p->current.line, "You cannot chain multiple tests with is");
        jparser_append(p, node, &node->apply.call->arguments, parse_postfix(p, jparser_primary(p, false)));
    }
    return negated ? unary(p, JO_NOT, node, line) : node;
}

static jnode *parse_unary(jparser *p, bool with_filter)
{
    jnode *node;
    uint32_t line = p->current.line;
    if (p->current.type == JT_SUB || p->current.type == JT_ADD) {
        jparser_enter(p);
        joperator op = jparser_next(p).type == JT_SUB ? JO_NEG : JO_POS;
        node = unary(p, op, parse_unary(p, false), line);
        p->depth--;
    } else {
        node = jparser_primary(p, false);
    }
    node = parse_postfix(p, node);
    while (with_filter) {
        if (p->current.type == JT_PIPE)
            node = jparser_filter(p, node, false);
        else if (jparser_at_name(p, "is"))
            node = parse_test(p, node);
        else if (p->current.type == JT_LPAREN)
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}
