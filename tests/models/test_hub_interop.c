// One cache for us and the real huggingface_hub, in both directions. LLMLOCAL_HUGGINGFACE_HUB is the folder it is in
// (tools/setup.sh --test makes it).
#include "testing.h"
#include "base/buf.h"
#include "models/resolve.h"
#include "hub_server.h"

#define ID "mlx-community/Shared"
enum { WEIGHTS = 400000 };

static llm_error err;
static char *folder;
static bool has_python_library;

static int start_test(void **state)
{
    (void)state;
    if (start_fresh(&folder)) return -1;
    put_model(ID, WEIGHTS);
    setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1", 1);
    setenv("HF_HUB_DISABLE_TELEMETRY", "1", 1);
    const char *library = getenv("LLMLOCAL_HUGGINGFACE_HUB");
    has_python_library = library && file_is_directory(path_in(library, "huggingface_hub"));
    if (has_python_library) setenv("PYTHONPATH", library, 1);
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    return remove_folder((void **)&folder);
}

#define need_python_library()                                                                                \
    do {                                                                                                     \
        if (!has_python_library) {                                                                           \
            print_message("SKIPPED: no huggingface_hub (LLMLOCAL_HUGGINGFACE_HUB); `make test` provides it\n"); \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

static FILE *start_python(const char *step)
{
    char command[1000];
    snprintf(command, sizeof command, "python3 %s/../models/hub_interop.py %s " ID, GOLDEN_DIR, step);
    return popen(command, "r");
}

static char *end_python(FILE *pipe) // its last line; free
{
    char *line = calloc(1, 2000), text[2000];
    while (fgets(text, sizeof text, pipe)) strcpy(line, text);
    line[strcspn(line, "\n")] = 0;
    assert_int_equal(pclose(pipe), 0);
    return line;
}

static char *python(const char *step)
{
    return end_python(start_python(step));
}

static void assert_whole(const char *directory)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(same_file(path_in(directory, names[i]), path_in(path_in(server.root, ID), names[i])));
}

static llm_download_state last;
static char *pull(void) // llm_free
{
    llm_model_spec spec;
    llm_model_spec_init(&spec, ID);
    llm_download *download = llm_download_start(&spec, &err);
    assert_ok(llm_download_wait(download, LLM_FOREVER, &err));
    llm_download_get_state(download, &last);
    char *directory = llm_download_directory_copy(download);
    llm_download_free(download);
    return directory;
}

// What Python downloaded is used as it is.
static void test_python_then_we(void **state)
{
    char *directory;
    llm_model_spec spec;
    (void)state;
    need_python_library();
    char *folder_of_python = python("download");
    llm_model_spec_init(&spec, ID);
    assert_true(llm_cache_has(&spec));
    free(server_log());
    setenv("HF_HUB_OFFLINE", "1", 1);
    assert_ok(model_resolve(&spec, NULL, NULL, &directory, &err));
    unsetenv("HF_HUB_OFFLINE");
    assert_string_equal(directory, folder_of_python);
    assert_whole(directory);
    char *log = server_log();
    assert_string_equal(log, "");
    free(log);
    mem_free(directory);
    directory = pull();
    assert_string_equal(directory, folder_of_python);
    assert_int_equal(last.received_bytes, 0);
    assert_int_equal(last.done_bytes, last.total_bytes);
    llm_free(directory);
    uint64_t freed;
    assert_ok(llm_cache_remove(ID, &freed, &err));
    assert_true(freed > WEIGHTS);
    free(folder_of_python);
}

// What we downloaded, Python finds offline, and downloads no more of it.
static void test_we_then_python(void **state)
{
    (void)state;
    need_python_library();
    char *ours = pull(), *offline = python("offline");
    assert_string_equal(ours, offline);
    char *size = python("scan");
    assert_true(strtoull(size, NULL, 10) > WEIGHTS);
    free(server_log());
    char *online = python("download");
    assert_string_equal(ours, online);
    char *log = server_log();
    assert_int_equal(count_in(log, "\"side\": \"cdn\""), 0);
    assert_whole(ours);
    free(python("delete"));
    llm_model_spec spec;
    llm_model_spec_init(&spec, ID);
    assert_false(llm_cache_has(&spec));
    free(log);
    free(online);
    free(size);
    free(offline);
    llm_free(ours);
}

// What each of them began, and at the same time: one waits for the other's lock.
static void test_at_once(void **state)
{
    (void)state;
    need_python_library();
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"rate\":80000,\"times\":10}]"); // five seconds
    FILE *other = start_python("download");
    char *log = NULL;
    for (int i = 0, begun = 0; i < 600 && !begun; i++) { // until Python has the lock
        usleep(50000);
        free(log);
        log = server_log();
        begun = count_in(log, "\"side\": \"cdn\"");
    }
    assert_int_equal(count_in(log, "\"side\": \"cdn\""), 1);
    char *ours = pull(), *its = end_python(other);
    assert_string_equal(ours, its);
    assert_whole(ours);
    free(log);
    log = server_log();
    assert_int_equal(count_in(log, "\"side\": \"cdn\""), 0); // the weights were got once
    free(log);
    free(its);
    llm_free(ours);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_python_then_we), TEST(test_we_then_python), TEST(test_at_once)};
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
