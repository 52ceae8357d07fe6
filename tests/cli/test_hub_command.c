// The command and the hub: pull, list, rm, prune, models, and run with a name, against a hub on loopback.
#include "testing.h"
#include "base/json.h"
#include "models/hub_server.h"
#include <signal.h>

#define ID "mlx-community/Chat"

static llm_error err;
static char *folder;
static char out[200000], errors[20000];
static int code;

static int start_test(void **state)
{
    (void)state;
    if (start_fresh(&folder)) return -1;
    put_chat_model(ID);
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    unsetenv("http_proxy");
    unsetenv("no_proxy");
    return remove_folder((void **)&folder);
}

static void read_text(const char *path, char *text, size_t capacity)
{
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(text, 1, capacity - 1, file) : 0;
    if (file) fclose(file);
    text[length] = 0;
}

static void run(const char *words)
{
    char line[2000];
    snprintf(line, sizeof line, "'%s' %s >%s 2>%s </dev/null", getenv("LLMLOCAL_COMMAND"), words, path_in(folder, "out"), path_in(folder, "errors"));
    int status = system(line);
    code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    read_text(path_in(folder, "out"), out, sizeof out);
    read_text(path_in(folder, "errors"), errors, sizeof errors);
}

#define assert_code(expected)                                                                                \
    do {                                                                                                     \
        if (code != (expected)) fail_msg("exit code %d: %s", code, errors);                                  \
    } while (0)
#define assert_in(text, part)                                                                                \
    do {                                                                                                     \
        if (!strstr(text, part)) fail_msg("\"%s\" is not in \"%s\"", part, text);                            \
    } while (0)

static yyjson_doc *parse(void)
{
    yyjson_doc *doc;
    assert_code(0);
    assert_ok(json_read(out, strlen(out), "output", &doc, &err));
    return doc;
}

static void test_pull_list_rm(void **state)
{
    (void)state;
    run("list");
    assert_code(0);
    assert_string_equal(out, "");
    run("pull " ID);
    assert_code(0);
    assert_in(out, "/home/hub/models--mlx-community--Chat/snapshots/");
    assert_in(errors, ID ": 0.1 MB, of these 0.1 MB downloaded");
    run("pull -q " ID);
    assert_code(0);
    assert_string_equal(errors, "");
    run("list");
    assert_code(0);
    assert_in(out, "0.1 MB");
    assert_in(out, "  " ID "\n");
    run("list --json");
    yyjson_doc *doc = parse();
    yyjson_val *first = yyjson_arr_get_first(yyjson_doc_get_root(doc));
    assert_string_equal(yyjson_get_str(yyjson_obj_get(first, "id")), ID);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(first, "kind")), "hub");
    assert_true(yyjson_get_uint(yyjson_obj_get(first, "size_bytes")) > 50000);
    json_free(doc);
    run("show " ID);
    assert_code(0);
    assert_in(out, "llama");
    run("rm " ID);
    assert_code(0);
    assert_in(out, "0.1 MB freed\n");
    run("rm " ID);
    assert_code(2);
    assert_in(errors, ID " is not in the cache");
    run("show " ID);
    assert_code(1);
    assert_in(errors, "\"llmlocal pull\" gets it");
}

static void test_run_by_id(void **state)
{
    (void)state;
    run("run " ID " hi --max-tokens 3");
    assert_code(0);
    assert_true(strlen(out) > 0);
    setenv("HF_HUB_OFFLINE", "1", 1);
    run("run " ID " hi --max-tokens 3");
    assert_code(0);
    run("run mlx-community/Other hi");
    assert_code(1);
    assert_in(errors, "mlx-community/Other is not in the cache, or not all of it, and HF_HUB_OFFLINE forbids to download it");
    unsetenv("HF_HUB_OFFLINE");
    run("run nonsense hi");
    assert_code(1);
    assert_in(errors, "neither a directory, nor a preset of that name, nor a hub id");
    run("run nobody/nothing hi");
    assert_code(1);
    assert_in(errors, "there is no repository nobody/nothing");
}

static void test_prune(void **state)
{
    (void)state;
    run("pull " ID);
    write_bytes(path_in(folder, "home/hub/models--mlx-community--Chat/blobs/abcd.incomplete"), "12345", 5);
    run("list");
    assert_in(out, "(with unfinished files)");
    run("prune");
    assert_code(0);
    assert_in(out, "0.0 MB freed, 1 unfinished file removed\n");
    run("list");
    assert_null(strstr(out, "unfinished"));
}

static void test_models(void **state)
{
    (void)state;
    run("models");
    assert_code(0);
    assert_in(out, "fits here");
    assert_in(out, "not supported");
    assert_in(out, "mlx-community/Qwen3-4B-4bit");
    assert_in(out, "memory here: ");
    run("models --json");
    yyjson_doc *doc = parse();
    yyjson_val *root = yyjson_doc_get_root(doc), *preset;
    assert_true(yyjson_arr_size(root) >= 40);
    yyjson_arr_iter walk = yyjson_arr_iter_with(root);
    while ((preset = yyjson_arr_iter_next(&walk))) {
        assert_true(yyjson_is_bool(yyjson_obj_get(preset, "fits")) && yyjson_is_bool(yyjson_obj_get(preset, "runs")));
        assert_true(yyjson_get_uint(yyjson_obj_get(preset, "memory_bytes")) > 100000000);
    }
    json_free(doc);
}

static void test_token_is_never_printed(void **state)
{
    (void)state;
    setenv("HF_TOKEN", "hf_right", 1);
    put_text(ID, ".gated", "");
    run("pull -v " ID);
    assert_code(0);
    assert_in(errors, "debug: getting");
    assert_null(strstr(errors, "hf_right"));
    assert_null(strstr(errors, "signature"));
    setenv("HF_TOKEN", "hf_unknown", 1);
    run("pull -v " ID);
    assert_code(1);
    assert_in(errors, "refuses the token");
    assert_null(strstr(errors, "hf_unknown"));
}

static void test_proxy(void **state)
{
    char proxy[60];
    (void)state;
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", server.hub_port);
    setenv("HF_ENDPOINT", "http://hub.invalid", 1); // only the proxy knows it
    setenv("http_proxy", proxy, 1);
    setenv("no_proxy", "127.0.0.2", 1);
    run("pull " ID);
    assert_code(0);
    char *log = server_log();
    assert_in(log, "\"path\": \"http://hub.invalid/api/models/" ID "/revision/main?blobs=true\"");
    free(log);
}

static void test_interrupted(void **state)
{
    (void)state;
    put_model("mlx-community/Slow", 3000000);
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"rate\":300000,\"times\":100}]");
    char line[1000];
    // The shell's job ignores interrupts where it is in the background; the command sets its own handler.
    snprintf(line, sizeof line, "-c 'exec 1>/dev/null; \"%s\" pull mlx-community/Slow & child=$!; sleep 2; kill -INT $child; wait $child'", getenv("LLMLOCAL_COMMAND"));
    char whole[1200];
    snprintf(whole, sizeof whole, "sh %s", line);
    int status = system(whole);
    assert_int_equal(WEXITSTATUS(status), 130);
    run("list");
    assert_in(out, "mlx-community/Slow  (not complete)");
    server_faults("[]");
    run("pull mlx-community/Slow");
    assert_code(0);
    assert_null(strstr(errors, "3.0 MB, of these 3.0 MB downloaded"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_pull_list_rm), TEST(test_run_by_id), TEST(test_prune), TEST(test_models),
                                       TEST(test_token_is_never_printed), TEST(test_proxy), TEST(test_interrupted)};
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
