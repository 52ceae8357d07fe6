// The command and the hub: pull, list, rm, prune, models, and run with a name, against a hub on loopback.
#include "testing.h"
#include "base/json.h"
#include "models/hub_server.h"
#include <signal.h>
#include <sys/stat.h>

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
    assert_in(errors, "nothing is in the cache");
    run("pull " ID);
    assert_code(0);
    assert_in(errors, "MB of memory with 256 tokens of context: fits here\n");
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

// What is in the cache is known by its files; what is too large is said before it is asked for.
static void test_what_fits(void **state)
{
    (void)state;
    put_chat_model("mlx-community/SmolLM2-135M-Instruct");
    run("pull smollm2");
    assert_code(0);
    run("models");
    assert_in(out, "\n* smollm2 ");
    assert_in(out, "of which a model may take 80 %");
    run("models --json");
    yyjson_doc *doc = parse();
    yyjson_val *root = yyjson_doc_get_root(doc), *preset;
    uint64_t estimate = 0;
    llm_system_memory memory;
    assert_ok(llm_system_memory_read(&memory, &err));
    yyjson_arr_iter walk = yyjson_arr_iter_with(root);
    while ((preset = yyjson_arr_iter_next(&walk))) {
        uint64_t bytes = yyjson_get_uint(yyjson_obj_get(preset, "memory_bytes"));
        bool cached = strcmp(yyjson_get_str(yyjson_obj_get(preset, "name")), "smollm2") == 0;
        assert_int_equal(yyjson_get_bool(yyjson_obj_get(preset, "cached")), cached);
        assert_int_equal(yyjson_get_bool(yyjson_obj_get(preset, "fits")), llm_memory_fits(bytes, &memory) != LLM_FITS_NEVER);
        if (cached) estimate = bytes;
    }
    json_free(doc);
    run("show smollm2 --json");
    doc = parse();
    yyjson_val *shown = yyjson_obj_get(yyjson_doc_get_root(doc), "memory");
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(shown, "total_bytes")), estimate);
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(shown, "machine_bytes")), memory.total_bytes);
    assert_true(yyjson_get_bool(yyjson_obj_get(shown, "fits")));
    json_free(doc);
    run("show smollm2 --context 100");
    assert_code(0);
    assert_in(out, "memory.context_length     100\n");
    assert_in(out, "memory.fits               true\n");
    assert_null(strstr(out, "_bytes"));
    run("show smollm2 --adapter /no/such/adapter");
    assert_code(1);
    assert_in(errors, "there is no adapter directory /no/such/adapter");
    if (memory.total_bytes > (uint64_t)70 << 30) return;
    run("pull gpt-oss-120b");
    assert_code(1); // the hub here does not have it
    assert_in(errors, "gpt-oss-120b: takes about 64.0 GB of memory, and a model may take 80 %");
    assert_in(errors, "it does not fit\n");
}

static void test_ps(void **state)
{
    (void)state;
    setenv("XDG_RUNTIME_DIR", folder, 1);
    run("ps");
    assert_code(0);
    assert_string_equal(out, "");
    assert_in(errors, "no program of this user has a model in memory");
    run("ps --json");
    assert_string_equal(out, "[]\n");
    run("pull -q " ID);
    FILE *text = fopen(path_in(folder, "long.txt"), "w");
    for (int i = 0; i < 300000; i++) fprintf(text, "word %d ", i);
    fclose(text);
    pid_t child = fork();
    if (!child) {
        if (freopen("/dev/null", "w", stdout))
            execl(getenv("LLMLOCAL_COMMAND"), "llmlocal", "perplexity", ID, path_in(folder, "long.txt"), "--threads", "1", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 600; i++) {
        run("ps --json");
        if (strstr(out, "perplexity")) break;
        usleep(50000);
    }
    yyjson_doc *doc = parse();
    yyjson_val *first = yyjson_arr_get_first(yyjson_doc_get_root(doc));
    assert_int_equal(yyjson_get_int(yyjson_obj_get(first, "pid")), child);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(first, "program")), "llmlocal perplexity");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(first, "model")), ID);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(first, "engine")), "cpu");
    assert_int_equal(yyjson_get_int(yyjson_obj_get(first, "context_length")), 256);
    assert_true(yyjson_get_uint(yyjson_obj_get(first, "weights_bytes")) > 10000);
    assert_true(yyjson_get_uint(yyjson_obj_get(first, "resident_bytes")) > 1000000);
    json_free(doc);
    run("ps");
    assert_in(out, "pid  program");
    assert_in(out, "llmlocal perplexity");
    assert_in(out, "  " ID "\n");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    run("ps --json");
    assert_string_equal(out, "[]\n");
    unsetenv("XDG_RUNTIME_DIR");
}

// Folders that cannot be read or written are said to be that, not to be empty.
static void test_a_cache_out_of_reach(void **state)
{
    (void)state;
    static const char *const words[] = {"list", "prune", "rm a/b", "pull " ID};
    write_bytes(path_in(folder, "file"), "x", 1);
    setenv("HF_HUB_CACHE", path_in(folder, "file"), 1);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        run(words[i]);
        assert_code(1);
        assert_in(errors, "/file");
        assert_in(errors, "Not a directory");
    }
    run("models");
    assert_code(0);
    unsetenv("HF_HUB_CACHE");
}

static void test_a_full_disk(void **state)
{
    (void)state;
    char line[700], home[600];
    const char *small = path_in(folder, "small");
    assert_int_equal(mkdir(small, 0700), 0);
    snprintf(line, sizeof line, "mount -t tmpfs -o size=2m tmpfs '%s' 2>/dev/null", small);
    if (system(line) != 0) {
        print_message("SKIPPED: no file system can be mounted here\n");
        return;
    }
    snprintf(home, sizeof home, "%s", getenv("HF_HOME"));
    setenv("HF_HOME", small, 1);
    put_model("mlx-community/Large", 3000000);
    run("pull mlx-community/Large");
    assert_code(1);
    assert_in(errors, "no room in ");
    assert_in(errors, "3.0 MB are needed, 2.1 MB are free");
    char *noise = make_noise(2500000, 5);
    write_bytes(path_in(small, "fill"), noise, 1500000);
    put_file("mlx-community/Middle", "model.safetensors", noise, 1200000);
    free(noise);
    put_text("mlx-community/Middle", "config.json", "{}");
    put_text("mlx-community/Middle", "tokenizer.json", "{}");
    run("pull mlx-community/Middle");
    assert_code(1);
    assert_in(errors, "no room");
    assert_int_equal(unlink(path_in(small, "fill")), 0);
    run("pull mlx-community/Middle");
    assert_code(0);
    run("list");
    assert_in(out, "  mlx-community/Middle\n");
    setenv("HF_HOME", home, 1);
    snprintf(line, sizeof line, "umount '%s'", small);
    assert_int_equal(system(line), 0);
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
                                       TEST(test_what_fits), TEST(test_ps), TEST(test_a_cache_out_of_reach), TEST(test_a_full_disk),
                                       TEST(test_token_is_never_printed), TEST(test_proxy), TEST(test_interrupted)};
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
