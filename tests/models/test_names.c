// From a name to a directory, and downloads by the public interface: presets, GGUF files, hub ids; pause, resume, cancel.
#include "testing.h"
#include "base/clock.h"
#include "models/adapter_source.h"
#include "models/import.h"
#include "models/presets.h"
#include "models/resolve.h"
#include "hub_server.h"
#include <fcntl.h>
#include <sys/stat.h>

#define ID "mlx-community/Tiny"
#define GGUF GOLDEN_DIR "/../fuzz/corpus/convert/byte-level.gguf"

static llm_error err;
static char *folder;

static int start_test(void **state)
{
    (void)state;
    return start_fresh(&folder);
}

static int end_test(void **state)
{
    (void)state;
    if (chdir("/")) return -1;
    return remove_folder((void **)&folder);
}

static llm_status resolve(const char *name, char **directory)
{
    llm_model_spec spec;
    llm_model_spec_init(&spec, name);
    return model_resolve(&spec, NULL, NULL, directory, &err);
}

// ---- Names ------------------------------------------------------------------------------------------------

static void test_unknown_name(void **state)
{
    char *directory;
    (void)state;
    assert_error(resolve("what is this", &directory), LLM_LOAD_FAILED,
                 "there is no model \"what is this\": neither a directory, nor a preset of that name, nor a hub id (owner/name)");
    assert_error(resolve("/nowhere", &directory), LLM_LOAD_FAILED, "there is no model /nowhere");
    assert_error(resolve("./nowhere", &directory), LLM_LOAD_FAILED, "there is no model ./nowhere");
    write_bytes(path_in(folder, "file.txt"), "x", 1);
    assert_error(resolve(path_in(folder, "file.txt"), &directory), LLM_LOAD_FAILED, "is neither a directory nor a .gguf file");
    char *log = server_log();
    assert_string_equal(log, "");
    free(log);
}

static void test_directory_comes_first(void **state)
{
    char *directory;
    (void)state;
    assert_ok(file_make_directory(path_in(folder, "some/model"), &err));
    assert_int_equal(chdir(folder), 0);
    assert_ok(resolve("some/model", &directory));
    assert_string_equal(directory, "some/model");
    mem_free(directory);
    setenv("HF_ENDPOINT", "nonsense", 1);
    assert_ok(resolve("some/model", &directory));
    mem_free(directory);
    assert_error(resolve("some/other", &directory), LLM_INVALID_ARGUMENT, "HF_ENDPOINT is \"nonsense\"");
}

static void test_cached_only(void **state)
{
    char *directory;
    llm_model_spec spec;
    (void)state;
    put_chat_model(ID);
    llm_model_spec_init(&spec, ID);
    assert_false(llm_cache_has(&spec));
    assert_error(model_resolve_directory(ID, &directory, &err), LLM_DOWNLOAD_FAILED, "\"llmlocal pull\" gets it");
    assert_null(llm_model_info_json_copy(&spec, &err));
    assert_ok(resolve(ID, &directory));
    mem_free(directory);
    assert_true(llm_cache_has(&spec));
    char *json = llm_model_info_json_copy(&spec, &err);
    assert_non_null(json);
    llm_free(json);
    spec.revision = "v1/x";
    assert_false(llm_cache_has(&spec));
    spec.revision = "../x";
    assert_error(model_resolve(&spec, NULL, NULL, &directory, &err), LLM_INVALID_ARGUMENT, "is no revision");
    spec.revision = NULL;
    spec.adapter = (llm_adapter){.kind = LLM_ADAPTER_HUB, .source = "some/lora"};
    assert_false(llm_cache_has(&spec));
}

static int note_what(void *user, const char *what, double fraction)
{
    assert_true(fraction >= 0 && fraction <= 1);
    if (strstr(what, "downloading " ID)) *(int *)user |= 1;
    if (strstr(what, "MB")) *(int *)user |= 2;
    if (strstr(what, "loading weights")) *(int *)user |= 4;
    return 0;
}

static int refuse(void *user, const char *what, double fraction)
{
    (void)user, (void)what, (void)fraction;
    return 1;
}

static void test_load_by_id(void **state)
{
    int seen = 0;
    llm_chunk chunk;
    llm_model_spec spec;
    (void)state;
    put_chat_model(ID);
    llm_model_spec_init(&spec, ID);
    llm_backend *backend = llm_mlx_backend_create(NULL, &err);
    assert_error(llm_backend_load(backend, &spec, refuse, NULL, &err), LLM_CANCELLED, "cancelled");
    assert_ok(llm_backend_load(backend, &spec, note_what, &seen, &err));
    assert_int_equal(seen, 7);
    llm_stream *answer = llm_backend_generate(backend, "hi", NULL, &err);
    assert_int_equal(llm_stream_next(answer, LLM_FOREVER, &chunk, &err), LLM_OK);
    llm_stream_free(answer);
    llm_backend_free(backend);
}

// ---- Presets ----------------------------------------------------------------------------------------------

static void test_presets(void **state)
{
    static const char *const needed[] = {"SmolLM2", "Qwen3", "LFM2", "Llama-3.2", "Llama-3.1", "Llama-3.3", "gemma-2-", "gemma-3-", "gemma-3n",
                                         "granite", "SmolLM3", "Phi-", "Mistral", "DeepSeek-R1-Distill", "gpt-oss", "72B"};
    const llm_preset *preset, *before = NULL;
    int count = 0, run = 0;
    unsigned found = 0;
    (void)state;
    for (; (preset = llm_preset_at(count)); count++) {
        assert_true(!before || before->memory_bytes <= preset->memory_bytes);
        assert_true(preset->memory_bytes > preset->num_parameters / 2 && preset->download_bytes > preset->num_parameters / 2);
        assert_true(preset->context_length >= 4096);
        assert_ptr_equal(preset_find(preset->name), preset);
        assert_true(strlen(preset->licence) > 0 && strncmp(preset->hub_id, "mlx-community/", 14) == 0);
        for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
            if (strstr(preset->hub_id, needed[i])) found |= 1u << i;
        // A type of model runs if a family reads it; these are the ones that do.
        static const char known[] = " llama mistral qwen2 qwen3 gemma2 gemma3 gemma3_text phi3 smollm3 granite olmo2 ";
        char word[40];
        snprintf(word, sizeof word, " %s ", preset->family);
        if (strstr(known, word)) assert_true(preset->runs);
        run += preset->runs;
        before = preset;
    }
    assert_true(count >= 40);
    assert_true(run >= 40);
    assert_int_equal(found, (1u << sizeof needed / sizeof *needed) - 1);
    assert_null(llm_preset_at(-1));
    assert_null(preset_find("nonsense"));
    assert_string_equal(preset_find("default")->hub_id, "mlx-community/SmolLM2-135M-Instruct");
    assert_false(llm_preset_at(count - 1)->runs); // GPT-OSS 120B, for now
}

static void test_preset_from_hub_or_folder(void **state)
{
    char *directory;
    (void)state;
    put_chat_model("mlx-community/SmolLM2-135M-Instruct");
    assert_ok(resolve("smollm2", &directory));
    assert_non_null(strstr(directory, "models--mlx-community--SmolLM2-135M-Instruct/snapshots/"));
    mem_free(directory);
    assert_ok(file_make_directory(path_in(folder, "models/smollm2-135m-instruct"), &err)); // as `make chat` does
    assert_ok(resolve("default", &directory));
    assert_string_equal(directory, path_in(folder, "models/smollm2-135m-instruct"));
    mem_free(directory);
}

// ---- GGUF files -------------------------------------------------------------------------------------------

static void copy_gguf(const char *path)
{
    size_t length;
    char *data = read_bytes(GGUF, &length);
    write_bytes(path, data, length);
    mem_free(data);
}

static void test_gguf_file(void **state)
{
    int count;
    uint64_t freed;
    char *first, *second;
    struct stat before, after;
    (void)state;
    const char *path = path_in(folder, "model.gguf");
    copy_gguf(path);
    assert_ok(resolve(path, &first));
    assert_true(file_exists(path_in(first, "config.json")));
    assert_int_equal(stat(path_in(first, "config.json"), &before), 0);
    assert_ok(resolve(path, &second)); // not converted again
    assert_string_equal(first, second);
    assert_int_equal(stat(path_in(first, "config.json"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    mem_free(second);
    llm_cached_model *models = llm_cache_list_copy(&count, &err);
    assert_int_equal(count, 1);
    assert_int_equal(models[0].kind, LLM_CACHED_IMPORT);
    assert_string_equal(models[0].id, path);
    assert_string_equal(models[0].directory, first);
    llm_free(models);
    // Another file of that name is another model.
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_ok(resolve(path, &second));
    assert_string_not_equal(first, second);
    mem_free(second);
    assert_ok(llm_cache_remove(path, &freed, &err)); // both
    assert_true(freed > 1000);
    assert_false(file_exists(first));
    models = llm_cache_list_copy(&count, &err);
    assert_int_equal(count, 0);
    llm_free(models);
    mem_free(first);
    write_bytes(path, "this is none", 12);
    assert_int_not_equal(resolve(path, &first), LLM_OK);
    assert_non_null(strstr(err.message, "model.gguf"));
}

static void test_gguf_of_a_repository(void **state)
{
    size_t length;
    char *first, *second;
    (void)state;
    char *data = read_bytes(GGUF, &length);
    put_file("some/gguf", "tiny.Q8_0.gguf", data, length);
    put_text("some/gguf", "README.md", "x");
    mem_free(data);
    assert_ok(resolve("some/gguf", &first));
    assert_true(file_exists(path_in(first, "model.safetensors")));
    free(server_log());
    assert_ok(resolve("some/gguf", &second));
    assert_string_equal(first, second);
    mem_free(second);
    assert_ok(resolve("some/gguf/tiny.Q8_0.gguf", &second));
    assert_string_equal(first, second);
    char *log = server_log();
    assert_string_equal(log, "");
    free(log);
    mem_free(second);
    mem_free(first);
    assert_error(resolve("some/gguf/other.gguf", &first), LLM_DOWNLOAD_FAILED, "has no file \"other.gguf\"");
    assert_error(resolve("some/gguf/../x.gguf", &first), LLM_LOAD_FAILED, "there is no model");
}

static void test_prune_imports(void **state)
{
    int removed;
    uint64_t freed;
    (void)state;
    const char *left = path_in(folder, "xdg/llmlocal/imports/m-0123.converting-abcdef");
    assert_ok(file_make_directory(left, &err));
    write_bytes(path_in(left, "model.safetensors"), "1234", 4);
    assert_ok(llm_cache_prune(&freed, &removed, &err));
    assert_int_equal(freed, 4);
    assert_int_equal(removed, 1);
    assert_false(file_exists(left));
}

// ---- Downloads by the public interface ----------------------------------------------------------------------

static llm_download *start(const char *id)
{
    llm_model_spec spec;
    llm_model_spec_init(&spec, id);
    llm_download *download = llm_download_start(&spec, &err);
    assert_non_null(download);
    return download;
}

static void wait_for_bytes(llm_download *download, uint64_t bytes)
{
    llm_download_state state = {0};
    double began = clock_seconds();
    while (state.done_bytes < bytes && clock_seconds() - began < 60) {
        llm_download_wait(download, 20, NULL);
        llm_download_get_state(download, &state);
    }
    assert_true(state.done_bytes >= bytes);
}

static void test_download(void **state)
{
    llm_download_state s;
    (void)state;
    put_model(ID, 100000);
    llm_download *download = start(ID);
    assert_ok(llm_download_wait(download, LLM_FOREVER, &err));
    assert_ok(llm_download_wait(download, 0, &err));
    llm_download_get_state(download, &s);
    assert_int_equal(s.done_bytes, s.total_bytes);
    assert_int_equal(s.files_done, 4);
    char *directory = llm_download_directory_copy(download);
    assert_true(file_exists(path_in(directory, "config.json")));
    llm_free(directory);
    llm_download_free(download);
    download = start("nobody/nothing");
    assert_error(llm_download_wait(download, LLM_FOREVER, &err), LLM_DOWNLOAD_FAILED, "there is no repository");
    assert_null(llm_download_directory_copy(download));
    llm_download_free(download);
    llm_download_free(NULL);
    assert_error(llm_download_wait(NULL, 0, &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_null(llm_download_directory_copy(NULL));
    assert_null(llm_download_start(NULL, &err));
}

static void test_pause_resume_cancel(void **state)
{
    llm_download_state s, later;
    (void)state;
    put_model(ID, 1000000);
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"rate\":500000,\"times\":100}]");
    llm_download *download = start(ID);
    wait_for_bytes(download, 100000);
    llm_download_pause(download);
    llm_download_wait(download, 500, NULL);
    llm_download_get_state(download, &s);
    assert_true(s.paused);
    assert_int_equal(llm_download_wait(download, 700, &err), LLM_TIMEOUT);
    llm_download_get_state(download, &later);
    assert_int_equal(s.done_bytes, later.done_bytes); // nothing moves
    assert_true(s.done_bytes < s.total_bytes);
    llm_download_resume(download);
    wait_for_bytes(download, s.done_bytes + 100000);
    llm_download_cancel(download);
    llm_download_resume(download); // too late
    assert_error(llm_download_wait(download, LLM_FOREVER, &err), LLM_CANCELLED, "cancelled");
    llm_download_get_state(download, &s);
    llm_download_free(download);
    server_faults("[]");
    download = start(ID);
    assert_ok(llm_download_wait(download, LLM_FOREVER, &err));
    llm_download_get_state(download, &later);
    assert_true(later.received_bytes <= later.total_bytes - s.done_bytes + 500000 / 5); // went on from there
    llm_download_free(download);
    download = start(ID);
    llm_download_free(download); // while it runs
}

static void test_adapters_come_along(void **state)
{
    char *directory;
    llm_model_spec spec;
    (void)state;
    put_model(ID, 1000);
    put_text("some/lora", "adapter_config.json", "{}");
    put_text("some/lora", "adapters.safetensors", "weights");
    put_text("some/lora", "0000100_adapters.safetensors", "a checkpoint");
    put_text("some/lora", "tokenizer.json", "not wanted");
    llm_model_spec_init(&spec, ID);
    spec.adapter = (llm_adapter){.kind = LLM_ADAPTER_HUB, .source = "some/lora"};
    llm_download *download = llm_download_start(&spec, &err);
    assert_ok(llm_download_wait(download, LLM_FOREVER, &err));
    llm_download_free(download);
    assert_true(llm_cache_has(&spec));
    free(server_log());
    assert_ok(adapter_directory(&spec.adapter, &directory, &err));
    assert_true(file_exists(path_in(directory, "adapters.safetensors")));
    assert_false(file_exists(path_in(directory, "tokenizer.json")));
    mem_free(directory);
    char *log = server_log();
    assert_string_equal(log, "");
    free(log);
    spec.adapter.source = ID;
    assert_error(adapter_directory(&spec.adapter, &directory, &err), LLM_UNSUPPORTED_FORMAT, "the repository is no adapter");
    spec.adapter = (llm_adapter){.kind = LLM_ADAPTER_DIRECTORY, .source = folder};
    assert_ok(adapter_directory(&spec.adapter, &directory, &err));
    assert_string_equal(directory, folder);
    mem_free(directory);
    spec.adapter.source = "/nowhere";
    assert_error(adapter_directory(&spec.adapter, &directory, &err), LLM_LOAD_FAILED, "there is no adapter directory /nowhere");
    assert_error(adapter_directory(&(llm_adapter){0}, &directory, &err), LLM_INVALID_ARGUMENT, "no adapter");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unknown_name), TEST(test_directory_comes_first), TEST(test_cached_only), TEST(test_load_by_id), TEST(test_presets),
        TEST(test_preset_from_hub_or_folder), TEST(test_gguf_file), TEST(test_gguf_of_a_repository), TEST(test_prune_imports),
        TEST(test_download), TEST(test_pause_resume_cancel), TEST(test_adapters_come_along),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
