// Reasoning and tool calls in answers: the golden file (tools/make_reply_golden.py, which asks mlx-lm's parsers), cut in every
// way; real chat templates, whose own rendering of a call must be read back; schemas; limits.
#include "testing.h"
#include "files.h"
#include "text/chat_template.h"
#include "text/reply_parser.h"

static llm_error err;

// ---- Events as JSON, pieces of the same kind put together ---------------------------------------------------

typedef struct listing {
    buf json;
    buf piece;
    reply_event_kind kind;
    int calls;
} listing;

static void end_piece(listing *l)
{
    if (!l->piece.length) return;
    buf_append_string(&l->json, l->kind == REPLY_TEXT ? "[\"text\"," : "[\"reasoning\",");
    buf_append_json_string(&l->json, l->piece.data, l->piece.length);
    buf_append_string(&l->json, "],");
    buf_clear(&l->piece);
}

static llm_status list_event(void *user, const reply_event *event, llm_error *e)
{
    listing *l = user;
    (void)e;
    if (event->kind != l->kind) end_piece(l);
    l->kind = event->kind;
    if (event->kind == REPLY_TEXT || event->kind == REPLY_REASONING) {
        buf_append(&l->piece, event->text, event->length);
        return LLM_OK;
    }
    l->calls++;
    buf_append_string(&l->json, event->kind == REPLY_CALL ? "[\"call\"," : "[\"rejected\",");
    const char *first = event->kind == REPLY_CALL ? event->name : event->why;
    buf_append_json_string(&l->json, first, event->kind == REPLY_CALL ? strlen(first) : strcspn(first, ":"));
    if (event->kind == REPLY_CALL) buf_printf(&l->json, ",%s", event->text);
    buf_append_string(&l->json, "],");
    return LLM_OK;
}

// The events of an answer that is pushed in pieces of `step` bytes, 0: of random length. Owned.
static char *list_events(const reply_format *format, const tool_set *tools, const char *prompt, const char *answer, size_t step)
{
    listing l = {.kind = REPLY_TEXT};
    reply_parser *p;
    size_t length = strlen(answer);
    buf_append_char(&l.json, '[');
    assert_ok(reply_parser_create(format, tools, prompt, strlen(prompt), list_event, &l, &p, &err));
    for (size_t i = 0, n; i < length; i += n) {
        n = step ? step : (size_t)rand() % 7 + 1;
        if (n > length - i) n = length - i;
        assert_ok(reply_parser_push(p, answer + i, n, &err));
    }
    assert_ok(reply_parser_finish(p, &err));
    reply_parser_free(p);
    end_piece(&l);
    if (l.json.length > 1) l.json.length--;
    buf_append_char(&l.json, ']');
    buf_free(&l.piece);
    return buf_take(&l.json);
}

// As yyjson writes it, so that texts can be compared.
static char *normal(const char *json)
{
    yyjson_doc *doc;
    buf out = {0};
    assert_ok(json_read(json, strlen(json), "events", &doc, &err));
    json_append(&out, yyjson_doc_get_root(doc));
    json_free(doc);
    return buf_take(&out);
}

static tool_set *make_tools(yyjson_val *array)
{
    char *parameters[8];
    llm_tool tools[8] = {0};
    tool_set *set;
    size_t i, count;
    yyjson_val *tool;
    yyjson_arr_foreach(array, i, count, tool)
    {
        buf schema = {0};
        yyjson_val *function = yyjson_obj_get(tool, "function");
        json_append(&schema, yyjson_obj_get(function, "parameters"));
        parameters[i] = buf_take(&schema);
        tools[i] = (llm_tool){yyjson_get_str(yyjson_obj_get(function, "name")), "", parameters[i]};
    }
    assert_ok(tool_set_create(tools, (int)count, &set, &err));
    for (i = 0; i < count; i++) mem_free(parameters[i]);
    return set;
}

// Numbers are compared as values, so that 2.0 is 2.
static void check_case(yyjson_val *test, const tool_set *tools)
{
    const char *name = yyjson_get_str(yyjson_obj_get(test, "name")), *answer = yyjson_get_str(yyjson_obj_get(test, "answer"));
    const char *prompt = yyjson_get_str(yyjson_obj_get(test, "prompt"));
    reply_format format = reply_format_choose(yyjson_get_str(yyjson_obj_get(test, "template")), NULL, true);
    buf expected = {0};
    json_append(&expected, yyjson_obj_get(test, "events"));
    for (size_t step = 0; step < 40; step = step < 9 ? step + 1 : 4000) {
        char *events = list_events(&format, tools, prompt, answer, step), *same = normal(events);
        if (strcmp(same, expected.data) != 0) fail_msg("%s in pieces of %zu:\n  %s\nnot\n  %s", name, step, same, expected.data);
        mem_free(events);
        mem_free(same);
    }
    buf_free(&expected);
}

static void test_golden_replies(void **state)
{
    (void)state;
    size_t i, count;
    yyjson_val *test;
    yyjson_doc *doc = read_json(golden("replies.json"));
    yyjson_val *root = yyjson_doc_get_root(doc);
    tool_set *tools = make_tools(yyjson_obj_get(root, "tools"));
    srand(1);
    yyjson_arr_foreach(yyjson_obj_get(root, "cases"), i, count, test) check_case(test, tools);
    assert_true(count > 90);
    tool_set_free(tools);
    json_free(doc);
}

// ---- Real templates -----------------------------------------------------------------------------------------

// What is chosen for each of the real templates; those that are not here make no calls and do not reason.
static const struct real_template {
    const char *name, *calls, *reasoning;
    bool reads_back; // the template writes calls, and as the model does
} real_templates[] = {
    {"command_a", "Cohere", "<|START_THINKING|>", false},
    {"command_a_rag", "Cohere", "<|START_THINKING|>", true},
    {"command_a_tool_use", "Cohere", "<|START_THINKING|>", true},
    {"deepseek_v3", "DeepSeek", "<think>", true},
    {"exaone4", "Hermes", "<think>", true},
    {"falcon_h1", "Hermes", NULL, false},
    {"gemma4", "Gemma 4", "<|channel>thought", true},
    {"jamba", "Jamba", NULL, true},
    {"llama3_2_vision", "JSON as the answer", NULL, true},
    {"llama4", "Llama 4", NULL, true},
    {"mistral_v2v3", "Mistral", NULL, true},
    {"mistral_v3_tekken", "Mistral", NULL, true},
    {"phi_4", NULL, "<think>", false},
    {"qwen3", "Hermes", "<think>", true},
    {"qwen3_5", "Hermes", "<think>", true},
    {"qwen_25", "Hermes", NULL, true},
};

static void render(const chat_template *chat, const char *json, buf *out)
{
    yyjson_doc *doc;
    assert_ok(json_read(json, strlen(json), "arguments", &doc, &err));
    assert_ok(chat_template_render(chat, yyjson_doc_get_root(doc), NULL, out, &err));
    json_free(doc);
}

#define USER "{\"role\":\"user\",\"content\":\"x\"}"
#define CALL(arguments) ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"abcdefghi\",\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"arguments\":" arguments "}}]}"

// The prompt, and what the template writes behind it for a call, as if the model had.
static void check_reading_back(const char *name, const chat_template *chat, const reply_format *format, const tool_set *tools)
{
    buf prompt = {0}, whole = {0};
    bool text = strcmp(name, "deepseek_v3") == 0; // takes arguments as text
    render(chat, "{\"messages\":[" USER "],\"add_generation_prompt\":true}", &prompt);
    render(chat, text ? "{\"messages\":[" USER CALL("\"{\\\"city\\\": \\\"Paris\\\", \\\"days\\\": 2}\"") "]}"
                      : "{\"messages\":[" USER CALL("{\"city\":\"Paris\",\"days\":2}") "]}", &whole);
    size_t shared = 0;
    while (shared < prompt.length && shared < whole.length && prompt.data[shared] == whole.data[shared]) shared++;
    while (shared > 0 && strchr("<|", whole.data[shared - 1])) shared--; // not inside a tag
    char *events = list_events(format, tools, "", whole.data + shared, 3);
    if (!strstr(events, "[\"call\",\"get_weather\",{\"city\":\"Paris\",\"days\":2}]"))
        fail_msg("%s writes\n%s\nwhich is read as\n%s", name, whole.data + shared, events);
    mem_free(events);
    buf_free(&prompt);
    buf_free(&whole);
}

static void check_real(const char *name, const char *source, const struct real_template *expected, const tool_set *tools)
{
    chat_template *chat;
    yyjson_doc *doc;
    static const char config[] = "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}";
    reply_format format = reply_format_choose(source, NULL, true);
    assert_ok(json_read(config, strlen(config), "config", &doc, &err));
    assert_ok(chat_template_create(source, strlen(source), yyjson_doc_get_root(doc), &chat, &err));
    assert_string_equal(format.calls ? format.calls->name : "", expected && expected->calls ? expected->calls : "");
    assert_string_equal(format.reasoning ? format.reasoning->open : "", expected && expected->reasoning ? expected->reasoning : "");
    if (expected && expected->reads_back) check_reading_back(name, chat, &format, tools);
    chat_template_free(chat);
    json_free(doc);
}

static void test_real_templates(void **state)
{
    (void)state;
    int found = 0;
    yyjson_doc *replies = read_json(golden("replies.json"));
    tool_set *tools = make_tools(yyjson_obj_get(yyjson_doc_get_root(replies), "tools"));
    DIR *dir = opendir(golden("templates"));
    for (struct dirent *entry; (entry = readdir(dir));) {
        char *dot = strstr(entry->d_name, ".json");
        if (!dot || strcmp(entry->d_name, "features.json") == 0) continue;
        yyjson_doc *doc = read_json(path_in(golden("templates"), entry->d_name));
        *dot = 0;
        const struct real_template *expected = NULL;
        for (size_t i = 0; i < sizeof real_templates / sizeof *real_templates; i++)
            if (strcmp(real_templates[i].name, entry->d_name) == 0) expected = &real_templates[i];
        print_message("%s\n", entry->d_name);
        check_real(entry->d_name, yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "template")), expected, tools);
        json_free(doc);
        found++;
    }
    closedir(dir);
    assert_int_equal(found, 36);
    tool_set_free(tools);
    json_free(replies);
}

// ---- Schemas ------------------------------------------------------------------------------------------------

typedef struct schema_case {
    const char *schema, *arguments, *why; // NULL: it fits
} schema_case;

static const schema_case schema_cases[] = {
    {"{}", "{\"a\":1}", NULL},
    {"{\"type\":\"object\"}", "[1]", "must have an object"},
    {"{\"properties\":{\"a\":{\"type\":\"integer\"}}}", "{\"a\":1.0}", NULL},
    {"{\"properties\":{\"a\":{\"type\":\"integer\"}}}", "{\"a\":1.5}", "\"a\" must be of type integer, not real"},
    {"{\"properties\":{\"a\":{\"type\":[\"string\",\"null\"]}}}", "{\"a\":null}", NULL},
    {"{\"properties\":{\"a\":{\"type\":[\"string\",\"null\"]}}}", "{\"a\":1}", "\"a\" is of none of the types"},
    {"{\"properties\":{\"a\":{\"enum\":[\"x\",2]}}}", "{\"a\":2}", NULL},
    {"{\"properties\":{\"a\":{\"enum\":[\"x\",2]}}}", "{\"a\":3}", "\"a\" must be one of \"x\", 2"},
    {"{\"properties\":{\"a\":{\"const\":5}}}", "{\"a\":4}", "\"a\" is not the only value"},
    {"{\"properties\":{\"a\":{\"items\":{\"type\":\"number\"}}}}", "{\"a\":[1,2.5]}", NULL},
    {"{\"properties\":{\"a\":{\"items\":{\"type\":\"number\"}}}}", "{\"a\":[1,\"x\"]}", "\"a\" must be of type number"},
    {"{\"properties\":{\"a\":{\"properties\":{\"b\":{\"type\":\"boolean\"}},\"required\":[\"b\"]}}}", "{\"a\":{}}", "\"a\" lacks \"b\""},
    {"{\"properties\":{\"a\":{\"properties\":{\"b\":{\"type\":\"boolean\"}}}}}", "{\"a\":{\"b\":0}}", "\"b\" must be of type boolean"},
    {"{\"properties\":{\"a\":{}},\"additionalProperties\":false}", "{\"b\":0}", "not declared: \"b\""},
    {"{\"properties\":{\"a\":{}},\"additionalProperties\":{\"type\":\"string\"}}", "{\"b\":0}", "\"b\" must be of type string"},
    {"{\"required\":[\"a\"]}", "{\"b\":0}", "the call lacks \"a\""},
    {"{\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}}}", "{\"a\":null}", NULL},
    {"{\"properties\":{\"a\":{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}}}", "{\"a\":1}", "\"a\" fits none"},
    {"{\"properties\":{\"a\":{\"allOf\":[{\"type\":\"number\"},{\"minimum\":3}]}}}", "{\"a\":2}", "\"a\" must be at least 3"},
    {"{\"properties\":{\"a\":{\"maximum\":3,\"type\":\"integer\"}}}", "{\"a\":4}", "\"a\" must be at most 3"},
    {"{\"properties\":{\"a\":{\"maxLength\":2}}}", "{\"a\":\"\u00e9\u00e9\"}", NULL},
    {"{\"properties\":{\"a\":{\"maxLength\":2}}}", "{\"a\":\"abc\"}", "\"a\" must have at most so many characters: 2"},
    {"{\"properties\":{\"a\":{\"minItems\":1}}}", "{\"a\":[]}", "\"a\" must have at least so many items: 1"},
    {"{\"properties\":{\"a\":{\"$ref\":\"#/x\",\"pattern\":\"^z\",\"type\":\"thing\"}}}", "{\"a\":1}", NULL}, // not understood
    {"{\"properties\":[1],\"required\":3,\"anyOf\":{},\"type\":7}", "{\"a\":1}", NULL},                  // no schema
};

static void test_schemas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof schema_cases / sizeof *schema_cases; i++) {
        const schema_case *c = &schema_cases[i];
        tool_set *set;
        yyjson_doc *doc;
        char why[300] = "";
        assert_ok(tool_set_create(&(llm_tool){"f", NULL, c->schema}, 1, &set, &err));
        assert_ok(json_read(c->arguments, strlen(c->arguments), "arguments", &doc, &err));
        bool fits = tool_set_check(set, 0, yyjson_doc_get_root(doc), why, sizeof why);
        if (fits != !c->why || (c->why && !strstr(why, c->why))) fail_msg("%s on %s: \"%s\"", c->schema, c->arguments, why);
        json_free(doc);
        tool_set_free(set);
    }
}

static void test_bare_text_gets_the_type_of_the_schema(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"{\"type\":\"string\"}", "5", "\"5\""},          {"{\"type\":\"integer\"}", " 5 ", "5"},
        {"{\"type\":\"integer\"}", "five", "\"five\""},   {"{\"type\":\"boolean\"}", "True", "true"},
        {"{\"type\":\"string\"}", "null", "\"null\""},    {"{\"type\":[\"string\",\"null\"]}", "null", "null"},
        {"{\"type\":\"object\"}", "{'a': 1}", "{\"a\":1}"}, {"{\"anyOf\":[{\"type\":\"number\"},{\"type\":\"string\"}]}", "1e3", "1e3"},
        {"{\"type\":\"array\"}", "[1,]", "[1]"},          {"{}", "5", "5"},
        {"{}", "a \"b\"", "\"a \\\"b\\\"\""},             {"{\"enum\":[1,2]}", "2", "2"},
        {"{\"type\":\"number\"}", ".5", "0.5"},           {"{\"type\":\"number\"}", "+1.", "1.0"},
        {"{\"type\":\"integer\"}", "007", "7"},           {"{\"type\":\"string\"}", "", "\"\""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        yyjson_doc *doc;
        buf out = {0};
        assert_ok(json_read(cases[i][0], strlen(cases[i][0]), "schema", &doc, &err));
        tool_value_append(&out, yyjson_doc_get_root(doc), cases[i][1], strlen(cases[i][1]));
        assert_string_equal(out.data, cases[i][2]);
        buf_free(&out);
        json_free(doc);
    }
}

// ---- Limits -------------------------------------------------------------------------------------------------

static char *repeat(const char *before, const char *text, size_t times, const char *behind)
{
    buf out = {0};
    buf_append_string(&out, before);
    for (size_t i = 0; i < times; i++) buf_append_string(&out, text);
    buf_append_string(&out, behind);
    return buf_take(&out);
}

static void check_limit(const char *source, char *answer, const char *expected)
{
    tool_set *tools;
    reply_format format = reply_format_choose(source, NULL, true);
    assert_ok(tool_set_create(&(llm_tool){"now", NULL, NULL}, 1, &tools, &err));
    for (size_t step = 1000; step < 100000000; step *= 1000) {
        char *events = list_events(&format, tools, "<|start|>assistant", answer, step);
        if (!strstr(events, expected)) fail_msg("%.300s", events);
        mem_free(events);
    }
    mem_free(answer);
    tool_set_free(tools);
}

static void test_limits(void **state)
{
    (void)state;
    check_limit("<tool_call>", repeat("<tool_call>", "x ", 1 << 20, "</tool_call> behind"), "[[\"rejected\",\"malformed\"],[\"text\",\"behind\"]]");
    check_limit("[TOOL_CALLS]", repeat("[TOOL_CALLS]", "x ", 1 << 20, ""), "[[\"rejected\",\"malformed\"]]");
    check_limit("<|channel|><|message|>", repeat("<|channel|>commentary to=functions.now<|message|>", "x ", 1 << 20, "<|call|>"), "[[\"rejected\",\"malformed\"]]");
    check_limit("<|channel|><|message|>", repeat("<|channel|>", "final ", 1000, "<|message|>a"), "final");
    check_limit("<tool_call>", repeat("<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":", "[", 1 << 16, ""), "[[\"rejected\",\"malformed\"]]");
    check_limit("<|python_tag|>", repeat("", " ", 1 << 16, "{\"name\":\"now\",\"parameters\":{}}"), "\\\"now\\\"");
    char *many = repeat("<tool_call>[", "{\"name\":\"now\"},", 1000, "]</tool_call>");
    tool_set *tools;
    listing l = {.kind = REPLY_TEXT};
    reply_parser *p;
    reply_format format = reply_format_choose("<tool_call>", NULL, true);
    assert_ok(tool_set_create(&(llm_tool){"now", NULL, NULL}, 1, &tools, &err));
    assert_ok(reply_parser_create(&format, tools, "", 0, list_event, &l, &p, &err));
    assert_ok(reply_parser_push(p, many, strlen(many), &err));
    assert_int_equal(l.calls, 256);
    reply_parser_free(p);
    buf_free(&l.json);
    tool_set_free(tools);
    mem_free(many);
}

static llm_status refuse(void *user, const reply_event *event, llm_error *e)
{
    (void)event;
    return ++*(int *)user > 1 ? error_set(e, LLM_CANCELLED, "no more") : LLM_OK;
}

static void test_the_function_may_stop_the_parser(void **state)
{
    (void)state;
    int count = 0;
    reply_parser *p;
    reply_format format = reply_format_choose("<think></think>", NULL, true);
    assert_ok(reply_parser_create(&format, NULL, "", 0, refuse, &count, &p, &err));
    assert_error(reply_parser_push(p, "<think>a</think>b", 17, &err), LLM_CANCELLED, "no more");
    reply_parser_free(p);
    reply_parser_free(NULL);
}

static void test_special_tokens_that_are_tags_are_shown(void **state)
{
    (void)state;
    reply_format format = reply_format_choose("<think></think> <tool_call>", NULL, true);
    assert_true(reply_format_shows(&format, "<think>", 7));
    assert_true(reply_format_shows(&format, "</tool_call>", 12));
    assert_false(reply_format_shows(&format, "<|im_end|>", 10));
    format = reply_format_choose("<think></think> <tool_call>", NULL, false);
    assert_false(reply_format_shows(&format, "<tool_call>", 11)); // without tools it is text, and special tokens are none
    format = reply_format_choose("<|channel|><|message|>", NULL, false);
    assert_true(reply_format_shows(&format, "<|channel|>", 11));
    assert_false(reply_format_shows(&format, "<|endoftext|>", 13));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_replies),
        cmocka_unit_test(test_real_templates),
        cmocka_unit_test(test_schemas),
        cmocka_unit_test(test_bare_text_gets_the_type_of_the_schema),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_the_function_may_stop_the_parser),
        cmocka_unit_test(test_special_tokens_that_are_tags_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
