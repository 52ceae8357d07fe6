// Parses statements: bodies and tags, with Jinja2's messages.
#include "text/jinja_parser.h"
#include <string.h>

typedef struct jtag {
    const jstring *name;
    struct jtag *outer;
} jtag;

typedef struct jends {
    const char *const *names; // NULL-terminated
    struct jends *outer;
} jends;

static void parse_statements(jparser *p, jnode *node, jnodes *body, const char *const *ends, bool drop);

// ---- what went wrong ----

static bool is_expected(const jparser *p, const jstring *name)
{
    for (const jends *ends = p->ends; ends; ends = ends->outer)
        for (const char *const *end = ends->names; *end; end++)
            if (jstring_is(name, *end)) return true;
    return false;
}

// `name` NULL: the template ended too early.
static _Noreturn void fail_unknown_tag(jparser *p, const jstring *name, uint32_t line)
{
    buf text = {.data = jinja_parse_alloc(p->parse, 2048, 1), .capacity = 2048};
    if (name)
        buf_printf(&text, "Encountered unknown tag '%.*s'.", (int)(name->length < 300 ? name->length : 300),
                   name->data);
    else
        buf_append_string(&text, "Unexpected end of template.");
    if (p->ends) {
        bool nesting = name && is_expected(p, name);
        buf_append_string(&text,
                          nesting ? " You probably made a nesting mistake. Jinja is expecting this tag, but "
                                    "currently looking for "
                                  : " Jinja was looking for the following tags: ");
        for (const char *const *end = p->ends->names; *end; end++)
            buf_printf(&text, "%s'%s'", end == p->ends->names ? "" : " or ", *end);
        buf_append_char(&text, '.');
    }
    if (p->tags)
        buf_printf(&text, " The innermost block that needs to be closed is '%.*s'.",
                   (int)p->tags->name->length, p->tags->name->data);
    jinja_parse_fail(p->parse, line, "%s", text.data);
}

// ---- statements ----

static jnode *parse_for(jparser *p, uint32_t line)
{
    jnode *node = jparser_node(p, JN_FOR, line);
    jfor *loop = node->loop = jinja_parse_alloc(p->parse, 1, sizeof *loop);
    loop->target = jparser_adopt(p, node, jparser_target(p, false, false));
    jparser_expect_name(p, "in");
    loop->iter = jparser_adopt(p, node, jparser_tuple(p, false));
    if (jparser_skip_name(p, "if")) loop->test = jparser_adopt(p, node, jparser_expression(p, true));
    loop->recursive = jparser_skip_name(p, "recursive");
    parse_statements(p, node, &loop->body, (const char *const[]){"endfor", "else", NULL}, false);
    jtoken end = jparser_next(p);
    if (!jstring_is(end.text, "endfor"))
        parse_statements(p, node, &loop->otherwise, (const char *const[]){"endfor", NULL}, true);
    return node;
}

static jnode *parse_if(jparser *p, uint32_t line)
{
    jnode *result = jparser_node(p, JN_IF, line), *node = result;
    for (;;) {
        node->branch = jinja_parse_alloc(p->parse, 1, sizeof *node->branch);
        node->branch->test = jparser_adopt(p, node, jparser_tuple(p, false));
        parse_statements(p, node, &node->branch->body, (const char *const[]){"elif", "else", "endif", NULL},
                         false);
        if (node != result) jparser_adopt(p, result, node);
        jtoken token = jparser_next(p);
        if (jstring_is(token.text, "else")) {
            parse_statements(p, result, &result->branch->otherwise, (const char *const[]){"endif", NULL},
                             true);
        } else if (jstring_is(token.text, "elif")) {
            node = jparser_node(p, JN_IF, p->current.line);
            jparser_append(p, NULL, &result->branch->elifs, node);
            continue;
        }
        return result;
    }
}

static jnode *parse_set(jparser *p, uint32_t line)
{
    jnode *target = jparser_target(p, false, true);
    bool plain = jparser_skip(p, JT_ASSIGN);
    jnode *node = jparser_node(p, plain ? JN_ASSIGN : JN_ASSIGN_BLOCK, line);
    jassign *assign = node->assign = jinja_parse_alloc(p->parse, 1, sizeof *assign);
    assign->target = jparser_adopt(p, node, target);
    if (plain) {
        assign->value = jparser_adopt(p, node, jparser_tuple(p, true));
        return node;
    }
    assign->filter = jparser_filter(p, NULL, false);
    if (assign->filter) jparser_adopt(p, node, assign->filter);
    parse_statements(p, node, &assign->body, (const char *const[]){"endset", NULL}, true);
    return node;
}

static jnode *parse_with(jparser *p, uint32_t line)
{
    jnode *node = jparser_node(p, JN_WITH, line);
    jwith *with = node->with = jinja_parse_alloc(p->parse, 1, sizeof *with);
    while (p->current.type != JT_BLOCK_END) {
        if (with->targets.count) jparser_expect(p, JT_COMMA);
        jparser_append(p, node, &with->targets, jparser_target(p, false, false));
        jparser_expect(p, JT_ASSIGN);
        jparser_append(p, node, &with->values, jparser_expression(p, true));
    }
    parse_statements(p, node, &with->body, (const char *const[]){"endwith", NULL}, true);
    return node;
}

static jnode *parse_autoescape(jparser *p, uint32_t line)
{
    jnode *node = jparser_node(p, JN_SCOPE, line);
    bool before = p->escapes;
    node->with = jinja_parse_alloc(p->parse, 1, sizeof *node->with);
    const jnode *option = jparser_expression(p, true);
    if (option->kind != JN_CONST || option->constant.kind != J_BOOL)
        jinja_parse_fail(p->parse, line, "autoescape of anything but true and false is not supported");
    node->escapes = p->escapes = option->constant.boolean;
    parse_statements(p, node, &node->with->body, (const char *const[]){"endautoescape", NULL}, true);
    p->escapes = before;
    return node;
}

static jnode *parse_filter_block(jparser *p, uint32_t line)
{
    jnode *node = jparser_node(p, JN_FILTER_BLOCK, line);
    node->with = jinja_parse_alloc(p->parse, 1, sizeof *node->with);
    node->with->filter = jparser_adopt(p, node, jparser_filter(p, NULL, true));
    parse_statements(p, node, &node->with->body, (const char *const[]){"endfilter", NULL}, true);
    return node;
}

static void parse_signature(jparser *p, jnode *node, jmacro_syntax *macro)
{
    jparser_expect(p, JT_LPAREN);
    while (p->current.type != JT_RPAREN) {
        if (macro->parameters.count) jparser_expect(p, JT_COMMA);
        jnode *parameter = jparser_target(p, true, false);
        parameter->op = JUSE_PARAMETER;
        if (jparser_skip(p, JT_ASSIGN))
            jparser_append(p, node, &macro->defaults, jparser_expression(p, true));
        else if (macro->defaults.count)
            jinja_parse_fail(p->parse, p->current.line, "non-default argument follows default argument");
        jparser_append(p, node, &macro->parameters, parameter);
    }
    jparser_expect(p, JT_RPAREN);
}

static jnode *macro_node(jparser *p, jnode_kind kind, uint32_t line)
{
    jnode *node = jparser_node(p, kind, line);
    node->macro.syntax = jinja_parse_alloc(p->parse, 1, sizeof *node->macro.syntax);
    return node;
}

static jnode *parse_macro(jparser *p, uint32_t line)
{
    jnode *node = macro_node(p, JN_MACRO, line);
    node->macro.syntax->name = jparser_target(p, true, false)->name.name;
    parse_signature(p, node, node->macro.syntax);
    parse_statements(p, node, &node->macro.syntax->body, (const char *const[]){"endmacro", NULL}, true);
    return node;
}

static jnode *parse_call_block(jparser *p, uint32_t line)
{
    jnode *node = macro_node(p, JN_CALL_BLOCK, line);
    if (p->current.type == JT_LPAREN) parse_signature(p, node, node->macro.syntax);
    node->macro.call = jparser_adopt(p, node, jparser_expression(p, true));
    if (node->macro.call->kind != JN_CALL) jinja_parse_fail(p->parse, line, "expected call");
    parse_statements(p, node, &node->macro.syntax->body, (const char *const[]){"endcall", NULL}, true);
    return node;
}

static jnode *parse_generation(jparser *p, uint32_t line)
{
    jnode *node = macro_node(p, JN_GENERATION, line);
    parse_statements(p, node, &node->macro.syntax->body, (const char *const[]){"endgeneration", NULL}, true);
    return node;
}

static bool is_blank(const jnodes *body)
{
    for (size_t i = 0; i < body->count; i++) {
        const jnode *node = body->items[i];
        if (node->kind != JN_DATA) return false;
        for (size_t k = 0; k < node->data->length; k++)
            if (!strchr(" \t\n\r\f\v", node->data->data[k])) return false;
    }
    return true;
}

static jnode *parse_block(jparser *p, uint32_t line)
{
    jnode *node = jparser_node(p, JN_BLOCK, line);
    jblock *block = node->block = jinja_parse_alloc(p->parse, 1, sizeof *block);
    block->name = jparser_expect(p, JT_NAME).text;
    block->scoped = jparser_skip_name(p, "scoped");
    block->required = jparser_skip_name(p, "required");
    if (p->current.type == JT_SUB)
        jinja_parse_fail(
            p->parse, p->current.line,
            "Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an "
            "underscore instead.");
    bool escapes = p->escapes;
    p->escapes = false; // blocks are compiled apart
    parse_statements(p, node, &block->body, (const char *const[]){"endblock", NULL}, true);
    p->escapes = escapes;
    if (block->required && !is_blank(&block->body))
        jinja_parse_fail(p->parse, p->current.line,
                         "Required blocks can only contain comments or whitespace");
    if (p->current.type == JT_NAME && p->current.text == block->name) jparser_next(p);
    return node;
}

static bool parse_context_option(jparser *p)
{
    if (!jparser_at_name(p, "with") && !jparser_at_name(p, "without")) return false;
    jtoken following = jparser_look(p);
    if (following.type != JT_NAME || !jstring_is(following.text, "context")) return false;
    jparser_next(p);
    jparser_next(p);
    return true;
}

static void add_import(jparser *p, jload_failure *load, const jstring *name)
{
    const jstring **larger = jinja_parse_alloc(p->parse, load->num_names + 1, sizeof *larger);
    if (load->num_names) memcpy(larger, load->names, load->num_names * sizeof *larger);
    load->names = larger;
    load->names[load->num_names++] = name;
}

static void parse_import_names(jparser *p, jload_failure *load)
{
    for (;;) {
        if (load->num_names) jparser_expect(p, JT_COMMA);
        if (p->current.type != JT_NAME) jparser_expect(p, JT_NAME);
        if (parse_context_option(p)) return;
        jnode *target = jparser_target(p, true, false);
        if (target->name.name->data[0] == '_')
            jinja_parse_fail(p->parse, target->line, "names starting with an underline can not be imported");
        if (load->num_names >= 100) jinja_parse_fail(p->parse, target->line, "too many imported names");
        if (jparser_skip_name(p, "as")) target = jparser_target(p, true, false);
        add_import(p, load, target->name.name);
        if (parse_context_option(p) || p->current.type != JT_COMMA) return;
    }
}

static jnode *parse_loading(jparser *p, const jstring *tag, uint32_t line)
{
    jnode *node = jparser_node(p, JN_NO_LOADER, line);
    jload_failure *load = node->load = jinja_parse_alloc(p->parse, 1, sizeof *load);
    load->source = jparser_adopt(p, node, jparser_expression(p, true));
    node->op = jstring_is(tag, "extends");
    if (jstring_is(tag, "import")) {
        jparser_expect_name(p, "as");
        add_import(p, load, jparser_target(p, true, false)->name.name);
    } else if (jstring_is(tag, "from")) {
        jparser_expect_name(p, "import");
        parse_import_names(p, load);
        return node;
    } else if (jstring_is(tag, "include") && jparser_at_name(p, "ignore")) {
        jtoken following = jparser_look(p);
        if (following.type == JT_NAME && jstring_is(following.text, "missing"))
            jparser_next(p), jparser_next(p);
    }
    if (!node->op) parse_context_option(p);
    return node;
}

static jnode *output(jparser *p, jnode *expression)
{
    jnode *node = jparser_node(p, JN_OUTPUT, expression->line);
    node->binary.left = jparser_adopt(p, node, expression);
    return node;
}

static void parse_print(jparser *p, jnode *parent, jnodes *body)
{
    for (size_t count = 0; p->current.type != JT_BLOCK_END; count++) {
        if (count) jparser_expect(p, JT_COMMA);
        jparser_append(p, parent, body, output(p, jparser_expression(p, true)));
    }
}

// The statement whose tag name is the current token; NULL: nothing to add.
static jnode *parse_tag(jparser *p, jnode *parent, jnodes *body)
{
    static const struct {
        const char *name;
        jnode *(*parse)(jparser *p, uint32_t line);
    } tags[] = {
        {"for", parse_for},
        {"if", parse_if},
        {"set", parse_set},
        {"with", parse_with},
        {"macro", parse_macro},
        {"call", parse_call_block},
        {"block", parse_block},
        {"filter", parse_filter_block},
        {"generation", parse_generation},
        {"autoescape", parse_autoescape},
    };
    jtoken token = p->current;
    const jstring *name = token.text;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (jstring_is(name, tags[i].name)) return jparser_next(p), tags[i].parse(p, token.line);
    if (jstring_is(name, "print")) return jparser_next(p), parse_print(p, parent, body), NULL;
    if (jstring_is(name, "break") || jstring_is(name, "continue"))
        return jparser_next(p),
               jparser_node(p, jstring_is(name, "break") ? JN_BREAK : JN_CONTINUE, token.line);
    if (jstring_is(name, "include") || jstring_is(name, "import") || jstring_is(name, "from") ||
        jstring_is(name, "extends"))
        return jparser_next(p), parse_loading(p, name, token.line);
    p->tags = p->tags->outer;
    fail_unknown_tag(p, name, token.line);
}

static void parse_statement(jparser *p, jnode *parent, jnodes *body)
{
    if (p->current.type != JT_NAME) jinja_parse_fail(p->parse, p->current.line, "tag name expected");
    jtag tag = {p->current.text, p->tags};
    p->tags = &tag;
    jparser_enter(p);
    jnode *node = parse_tag(p, parent, body);
    if (node) jparser_append(p, parent, body, node);
    p->depth--;
    p->tags = tag.outer;
}

static bool at_end_tag(const jparser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (jparser_at_name(p, *ends)) return true;
    return false;
}

// Statements until one of the end tags (NULL: until the end), which stays the current token.
static void parse_body(jparser *p, jnode *parent, jnodes *body, const char *const *ends)
{
    jends scope = {ends, p->ends};
    if (ends) p->ends = &scope;
    while (p->current.type != JT_EOF) {
        jtoken token = p->current;
        if (token.type == JT_DATA) {
            jnode *node = jparser_node(p, JN_DATA, token.line);
            node->data = token.text;
            jparser_append(p, parent, body, node);
            jparser_next(p);
        } else if (token.type == JT_VARIABLE_BEGIN) {
            jparser_next(p);
            jparser_append(p, parent, body, output(p, jparser_tuple(p, true)));
            jparser_expect(p, JT_VARIABLE_END);
        } else {
            jparser_expect(p, JT_BLOCK_BEGIN);
            if (at_end_tag(p, ends)) break;
            parse_statement(p, parent, body);
            jparser_expect(p, JT_BLOCK_END);
        }
    }
    p->ends = scope.outer;
}

static void parse_statements(jparser *p, jnode *node, jnodes *body, const char *const *ends, bool drop)
{
    jparser_skip(p, JT_COLON);
    jparser_expect(p, JT_BLOCK_END);
    parse_body(p, node, body, ends);
    if (p->current.type == JT_EOF) {
        jends scope = {ends, p->ends};
        p->ends = &scope;
        fail_unknown_tag(p, NULL, p->current.line);
    }
    if (drop) jparser_next(p);
}

void jinja_parse_body(jparser *p, struct jinja_template *tmpl)
{
    p->current = (jtoken){.type = JT_DATA, .line = 1};
    jparser_next(p);
    parse_body(p, NULL, &tmpl->body, NULL);
}
