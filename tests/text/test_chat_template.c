// Templates render as Jinja2 does, byte for byte, errors included: all golden files, which Jinja2 itself made
// as transformers configures it (tools/make_template_golden.py); and the rules of finding a model's template.
#include "testing.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/chat_template.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static llm_error err;

typedef struct tally {
    int cases, errors, differences;
} tally;

// 2026-01-02T03:04:05Z, the time in the golden files.
static const int64_t golden_now = 1767323045;

// An error has Jinja2's message. Where Python itself found the fault, it adds a place in the code that Jinja2
// made: there is none here.
static bool has_message(const char *expected)
{
    char message[2000];
    snprintf(message, sizeof message, "%s", expected);
    char *place = strstr(message, " (<template>, line");
    if (place) *place = 0;
    return strstr(err.message, message) != NULL;
}

static void check_case(const char *name, const jinja_template *parsed, yyjson_val *test, tally *t)
{
    buf out = {0};
    jinja_options options;
    jinja_options_init(&options);
    options.now = golden_now;
    options.now_is_utc = true;
    yyjson_val *error = yyjson_obj_get(test, "error"), *output = yyjson_obj_get(test, "output");
    llm_status status = parsed ? jinja_render(parsed, yyjson_obj_get(test, "context"), &options, &out, &err)
                               : LLM_TEMPLATE_ERROR;
    bool same = error ? status == LLM_TEMPLATE_ERROR && has_message(yyjson_get_str(error))
                      : status == LLM_OK && out.length == yyjson_get_len(output) &&
                            (out.length == 0 || memcmp(out.data, yyjson_get_str(output), out.length) == 0);
    t->cases++;
    t->errors += error != NULL;
    if (!same) {
        t->differences++;
        print_message("%s: %s\n  not %s\n", name, status == LLM_OK ? out.data : err.message,
                      yyjson_get_str(error ? error : output));
    }
    buf_free(&out);
}

static void check_template(const char *name, yyjson_val *golden, tally *t)
{
    yyjson_val *source = yyjson_obj_get(golden, "template"), *test;
    size_t i, count;
    jinja_template *parsed = NULL;
    const char *feature = yyjson_get_str(yyjson_obj_get(golden, "name"));
    jinja_parse(yyjson_get_str(source), yyjson_get_len(source), &parsed, &err);
    yyjson_arr_foreach(yyjson_obj_get(golden, "cases"), i, count, test)
        check_case(feature ? feature : name, parsed, test, t);
    jinja_template_free(parsed);
}

static void test_templates_render_as_jinja2_does(void **state)
{
    (void)state;
    char path[1000];
    tally t = {0};
    int files = 0;
    DIR *directory = opendir(GOLDEN_DIR "/templates");
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        yyjson_doc *doc;
        if (!strstr(entry->d_name, ".json")) continue;
        snprintf(path, sizeof path, "%s/templates/%s", GOLDEN_DIR, entry->d_name);
        assert_ok(json_read_file(path, 16 << 20, &doc, &err));
        yyjson_val *root = yyjson_doc_get_root(doc), *item;
        size_t i, count;
        if (yyjson_is_obj(root)) check_template(entry->d_name, root, &t);
        yyjson_arr_foreach(root, i, count, item) check_template(entry->d_name, item, &t);
        json_free(doc);
        files++;
    }
    closedir(directory);
    print_message("%d files, %d cases, %d of them errors\n", files, t.cases, t.errors);
    assert_true(files >= 30 && t.cases > 300 && t.errors > 30);
    assert_int_equal(t.differences, 0);
}

// A file {"context", "cases": [[template, output] or [template, null, error]]}; returns how many cases
// differ.
static int count_differences(const char *path, size_t *count)
{
    yyjson_doc *doc;
    assert_ok(json_read_file(path, 16 << 20, &doc, &err));
    yyjson_val *root = yyjson_doc_get_root(doc), *test;
    size_t i;
    int differences = 0;
    yyjson_arr_foreach(yyjson_obj_get(root, "cases"), i, *count, test)
    {
        yyjson_val *source = yyjson_arr_get(test, 0), *output = yyjson_arr_get(test, 1),
                   *error = yyjson_arr_get(test, 2);
        jinja_template *parsed = NULL;
        jinja_options options;
        buf out = {0};
        jinja_options_init(&options);
        options.now = golden_now;
        options.now_is_utc = true;
        llm_status status = jinja_parse(yyjson_get_str(source), yyjson_get_len(source), &parsed, &err);
        if (status == LLM_OK)
            status = jinja_render(parsed, yyjson_obj_get(root, "context"), &options, &out, &err);
        const char *text = out.data ? out.data : "";
        bool same = error ? status == LLM_TEMPLATE_ERROR && has_message(yyjson_get_str(error))
                          : status == LLM_OK && out.length == yyjson_get_len(output) &&
                                memcmp(text, yyjson_get_str(output), out.length) == 0;
        if (!same) {
            differences++;
            print_message("%s\n   gives %s%s\n   not   %s%s\n", yyjson_get_str(source),
                          status == LLM_OK ? "" : "error: ", status == LLM_OK ? text : err.message,
                          error ? "error: " : "", yyjson_get_str(error ? error : output));
        }
        buf_free(&out);
        jinja_template_free(parsed);
    }
    json_free(doc);
    return differences;
}

// Every filter, test, method and operator, one by one (tools/make_jinja_golden.py).
static void test_expressions_evaluate_as_in_jinja2(void **state)
{
    (void)state;
    size_t count;
    assert_int_equal(count_differences(GOLDEN_DIR "/jinja.json", &count), 0);
    assert_true(count > 300);
}

// What a grammar makes up: every feature in company of every other (tools/compare_jinja.py --golden).
static void test_random_templates_render_as_in_jinja2(void **state)
{
    (void)state;
    size_t count;
    assert_int_equal(count_differences(GOLDEN_DIR "/jinja-random.json", &count), 0);
    assert_true(count > 1200);
}

static char folder[] = "/tmp/llmlocal-template-XXXXXX";

static void put(const char *name, const char *text)
{
    char *path = path_join(folder, name);
    assert_ok(file_write(path, text, strlen(text), &err));
    mem_free(path);
}

static void drop(const char *name)
{
    char *path = path_join(folder, name);
    unlink(path);
    mem_free(path);
}

static void expect(const char *arguments, const char *output)
{
    chat_template *chat;
    yyjson_doc *doc;
    buf out = {0};
    assert_ok(chat_template_load(folder, &chat, &err));
    assert_ok(json_read(arguments, strlen(arguments), "arguments", &doc, &err));
    assert_ok(chat_template_render(chat, yyjson_doc_get_root(doc), NULL, &out, &err));
    assert_string_equal(out.data ? out.data : "", output);
    buf_free(&out);
    json_free(doc);
    chat_template_free(chat);
}

static void test_the_template_and_its_variables_are_found(void **state)
{
    (void)state;
    chat_template *chat;
    assert_non_null(mkdtemp(folder));
    assert_ok(chat_template_load(folder, &chat, &err));
    assert_null(chat);
    put("tokenizer_config.json", "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</"
                                 "s>\"},\"chat_template\":\"{{bos_token}}{{eos_token}}{{x}}{{tools}}\"}");
    expect("{\"messages\":[{\"role\":\"user\"}],\"x\":1}", "<s></s>1None");
    expect("{\"messages\":[{\"role\":\"user\"}],\"bos_token\":\"!\",\"tools\":[1]}", "!</s>[1]");
    put("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"tools\"},{"
                                 "\"name\":\"default\",\"template\":\"plain\"}]}");
    expect("{\"messages\":[{\"role\":\"user\"}]}", "plain");
    expect("{\"messages\":[{\"role\":\"user\"}],\"tools\":null}", "plain");
    expect("{\"messages\":[{\"role\":\"user\"}],\"tools\":[1]}", "tools");
    put("tokenizer_config.json", "{}");
    put("chat_template.json", "{\"chat_template\":\"{{pad_token}}{% for m in messages %}{{m.role}}{{m.x is "
                              "defined}}{% endfor %}\"}");
    put("special_tokens_map.json", "{\"pad_token\":\"<p>\"}");
    expect("{\"messages\":[{\"role\":\"user\",\"x\":null}]}", "<p>userFalse");
    put("chat_template.json", "{\"chat_template\":\"{{messages[0]}}\"}");
    expect("{\"messages\":[{\"a\":1,\"thinking\":\"t\"}]}",
           "{'thinking': 't', 'a': 1, 'reasoning_content': 't'}");
    expect("{\"messages\":[{\"reasoning\":\"r\",\"thinking\":null}]}",
           "{'thinking': 'r', 'reasoning': 'r', 'reasoning_content': 'r'}");
    put("chat_template.json", "{\"chat_template\":\"{{pad_token}}{{image_token}}{{x_token}}\"}");
    put("tokenizer_config.json",
        "{\"pad_token\":\"<c>\",\"image_token\":\"<i>\",\"extra_special_tokens\":{\"x_token\":\"<x>\"}}");
    expect("{\"messages\":[{}]}", "<p><i><x>"); // the map replaces what the config says ...
    put("tokenizer_config.json", "{\"pad_token\":\"<c>\",\"added_tokens_decoder\":{}}");
    expect("{\"messages\":[{}]}", "<c>"); // ... but where the config lists the added tokens
    put("tokenizer_config.json", "{}");
    put("chat_template.jinja", "from a file");
    expect("{\"messages\":[{\"role\":\"user\"}]}", "from a file");
    assert_ok(chat_template_load(folder, &chat, &err));
    assert_string_equal(chat_template_source(chat), "from a file");
    assert_string_equal(chat_template_token(chat, "pad_token"), "<p>");
    assert_null(chat_template_token(chat, "bos_token"));
    buf out = {0};
    assert_error(chat_template_render(chat, NULL, NULL, &out, &err), LLM_INVALID_ARGUMENT,
                 "must be an array");
    yyjson_doc *doc;
    assert_ok(json_read("{\"messages\":[]}", 15, "arguments", &doc, &err));
    assert_error(chat_template_render(chat, yyjson_doc_get_root(doc), NULL, &out, &err), LLM_INVALID_ARGUMENT,
                 "no messages");
    json_free(doc);
    assert_ok(json_read("{\"messages\":[7]}", 16, "arguments", &doc, &err));
    assert_error(chat_template_render(chat, yyjson_doc_get_root(doc), NULL, &out, &err), LLM_INVALID_ARGUMENT,
                 "an object");
    json_free(doc);
    chat_template_free(chat);
    put("chat_template.jinja", "{% if %}");
    assert_error(chat_template_load(folder, &chat, &err), LLM_TEMPLATE_ERROR, "line 1");
    drop("chat_template.jinja");
    drop("chat_template.json");
    put("tokenizer_config.json", "[]");
    assert_error(chat_template_load(folder, &chat, &err), LLM_LOAD_FAILED, "must be a JSON object");
    put("tokenizer_config.json", "{\"chat_template\":7}");
    assert_error(chat_template_load(folder, &chat, &err), LLM_LOAD_FAILED, "a string or a list");
    put("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"default\"}]}");
    assert_error(chat_template_load(folder, &chat, &err), LLM_LOAD_FAILED, "must be a string");
    put("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"1\"}]}");
    assert_ok(chat_template_load(folder, &chat, &err));
    assert_ok(json_read("{\"messages\":[{\"role\":\"user\"}]}", 30, "arguments", &doc, &err));
    assert_error(chat_template_render(chat, yyjson_doc_get_root(doc), NULL, &out, &err), LLM_TEMPLATE_ERROR,
                 "none named");
    json_free(doc);
    chat_template_free(chat);
    drop("tokenizer_config.json");
    drop("special_tokens_map.json");
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_templates_render_as_jinja2_does),
        cmocka_unit_test(test_expressions_evaluate_as_in_jinja2),
        cmocka_unit_test(test_random_templates_render_as_in_jinja2),
        cmocka_unit_test(test_the_template_and_its_variables_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
