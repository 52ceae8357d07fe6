// The cache as it is kept: what is listed, what removing and pruning take away, and what damage does not stop.
#include "testing.h"
#include "models/file_lock.h"
#include "models/hub.h"
#include "models/resolve.h"
#include "hub_server.h"
#include <sys/stat.h>

#define ONE "mlx-community/One"
#define TWO "mlx-community/Two"

static llm_error err;
static char *folder;

static int start_test(void **state)
{
    (void)state;
    if (start_fresh(&folder)) return -1;
    put_model(ONE, 5000);
    put_model(TWO, 7000);
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    return remove_folder((void **)&folder);
}

static char *get(const char *id) // mem_free
{
    char *directory;
    llm_model_spec spec;
    llm_model_spec_init(&spec, id);
    assert_ok(model_resolve(&spec, NULL, NULL, &directory, &err));
    return directory;
}

static void get_both(void)
{
    mem_free(get(ONE));
    mem_free(get(TWO));
}

static const char *in_cache(const char *path)
{
    return path_in(path_in(folder, "home/hub"), path);
}

static bool is_cached(const char *id)
{
    llm_model_spec spec;
    llm_model_spec_init(&spec, id);
    return llm_cache_has(&spec);
}

static const char *in_repository(const char *id, const char *path)
{
    char name[200];
    snprintf(name, sizeof name, "models--%.*s--%s/%s", (int)strcspn(id, "/"), id, strchr(id, '/') + 1, path);
    return in_cache(name);
}

// ---- Listing ----------------------------------------------------------------------------------------------

static void test_list(void **state)
{
    int count;
    (void)state;
    llm_cached_model *models = llm_cache_list_copy(&count, &err);
    assert_non_null(models);
    assert_int_equal(count, 0);
    llm_free(models);
    get_both();
    assert_ok(file_make_directory(in_cache("datasets--some--data"), &err));
    assert_ok(file_make_directory(in_cache("models--nonsense"), &err));
    write_bytes(in_cache("version.txt"), "1", 1);
    models = llm_cache_list_copy(&count, &err);
    assert_int_equal(count, 2);
    assert_string_equal(models[0].id, ONE);
    assert_string_equal(models[1].id, TWO);
    assert_int_equal(models[0].kind, LLM_CACHED_HUB);
    assert_int_equal(strlen(models[0].commit), 40);
    assert_true(file_exists(path_in(models[0].directory, "config.json")));
    assert_true(models[0].size_bytes > 5000 && models[0].size_bytes < 5200);
    assert_int_equal(models[0].partial_bytes, 0);
    assert_true(models[0].changed_at > 1700000000);
    llm_free(models);
    assert_null(llm_cache_list_copy(NULL, &err));
}

// Whatever is damaged: the list says what it can, the next load repairs it.
static void test_damage(void **state)
{
    int count;
    (void)state;
    for (int damage = 0; damage < 8; damage++) {
        char *directory = get(ONE);
        assert_true(is_cached(ONE));
        switch (damage) {
        case 0: write_bytes(in_repository(ONE, "refs/main"), "\0\1\2", 3); break;
        case 1: remove_tree(in_repository(ONE, "refs")); break;
        case 2: remove_tree(in_repository(ONE, "blobs")); break;
        case 3: unlink(path_in(directory, "config.json")); break;
        case 4: remove_tree(in_repository(ONE, "snapshots")); break;
        case 5: unlink(path_in(directory, "tokenizer.json")), assert_int_equal(symlink("/nonexistent", path_in(directory, "tokenizer.json")), 0); break;
        case 6: unlink(path_in(directory, "model.safetensors")), assert_int_equal(symlink("model.safetensors", path_in(directory, "model.safetensors")), 0); break;
        default: remove_tree(in_repository(ONE, "snapshots")), write_bytes(in_repository(ONE, "snapshots"), "x", 1); break;
        }
        assert_false(is_cached(ONE));
        llm_cached_model *models = llm_cache_list_copy(&count, &err);
        assert_int_equal(count, 1);
        assert_string_equal(models[0].id, ONE);
        if (damage > 1) assert_null(models[0].directory);
        llm_free(models);
        mem_free(directory);
        if (damage == 7) unlink(in_repository(ONE, "snapshots"));
        directory = get(ONE);
        assert_true(same_file(path_in(directory, "model.safetensors"), path_in(path_in(server.root, ONE), "model.safetensors")));
        mem_free(directory);
    }
}

static void test_unfinished_entry(void **state)
{
    int count;
    (void)state;
    assert_ok(file_make_directory(in_repository(ONE, "blobs"), &err));
    write_bytes(in_repository(ONE, "blobs/abc.incomplete"), "12345", 5);
    llm_cached_model *models = llm_cache_list_copy(&count, &err);
    assert_int_equal(count, 1);
    assert_null(models[0].directory);
    assert_null(models[0].commit);
    assert_int_equal(models[0].partial_bytes, 5);
    llm_free(models);
}

// A snapshot that Python left unfinished, as its own listing tells.
static void test_listing_of_python_tools(void **state)
{
    (void)state;
    char tree[100], text[200];
    char *directory = get(ONE);
    snprintf(tree, sizeof tree, "trees/%s.json", path_base_name(directory));
    assert_ok(file_make_directory(in_repository(ONE, "trees"), &err));
    snprintf(text, sizeof text, "{\"format_version\":1,\"files\":{\"config.json\":{},\"README.md\":{},\"x/y.json\":{}}}");
    write_bytes(in_repository(ONE, tree), text, strlen(text));
    assert_true(is_cached(ONE));
    snprintf(text, sizeof text, "{\"format_version\":1,\"files\":{\"config.json\":{},\"generation_config.json\":{}}}");
    write_bytes(in_repository(ONE, tree), text, strlen(text));
    assert_false(is_cached(ONE));
    write_bytes(in_repository(ONE, tree), "{", 1); // damaged: nobody knows
    assert_true(is_cached(ONE));
    mem_free(directory);
}

static void test_missing_shard(void **state)
{
    (void)state;
    static const char index[] = "{\"weight_map\":{\"a\":\"model-1.safetensors\",\"b\":\"model-2.safetensors\"}}";
    put_text("some/shards", "config.json", "{}");
    put_text("some/shards", "tokenizer.json", "{}");
    put_text("some/shards", "model.safetensors.index.json", index);
    put_text("some/shards", "model-1.safetensors", "1");
    put_text("some/shards", "model-2.safetensors", "2");
    put_text("some/shards", "consolidated.safetensors", "all of it again");
    char *directory = get("some/shards");
    assert_false(file_exists(path_in(directory, "consolidated.safetensors")));
    assert_true(is_cached("some/shards"));
    unlink(path_in(directory, "model-2.safetensors"));
    assert_false(is_cached("some/shards"));
    mem_free(directory);
}

// ---- Removing ---------------------------------------------------------------------------------------------

static void test_remove(void **state)
{
    uint64_t freed;
    (void)state;
    get_both();
    char *two = get(TWO);
    // A blob that is another repository's, reached by a link.
    char target[300] = "";
    assert_true(readlink(path_in(two, "model.safetensors"), target, sizeof target - 1) > 0);
    char away[600];
    snprintf(away, sizeof away, "../../models--mlx-community--Two/blobs/%s", path_base_name(target));
    assert_int_equal(symlink(away, in_repository(ONE, "blobs/0123456789012345678901234567890123456789")), 0);
    assert_ok(llm_cache_remove(ONE, &freed, &err));
    assert_true(freed > 5000 && freed < 5200);
    assert_false(is_cached(ONE));
    assert_false(file_exists(in_cache("models--mlx-community--One")));
    assert_false(file_exists(in_cache(".locks/models--mlx-community--One")));
    assert_true(is_cached(TWO));
    assert_true(same_file(path_in(two, "model.safetensors"), path_in(path_in(server.root, TWO), "model.safetensors")));
    mem_free(two);
    assert_error(llm_cache_remove(ONE, &freed, &err), LLM_INVALID_ARGUMENT, "mlx-community/One is not in the cache");
    assert_int_equal(freed, 0);
    assert_error(llm_cache_remove("../../x", &freed, &err), LLM_INVALID_ARGUMENT, "is not in the cache");
    assert_error(llm_cache_remove(NULL, NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
}

static void test_remove_during_a_download(void **state)
{
    int lock;
    (void)state;
    get_both();
    assert_ok(file_lock_try(in_cache(".locks/models--mlx-community--One/abc.lock"), &lock, &err));
    assert_error(llm_cache_remove(ONE, NULL, &err), LLM_BUSY, "is being downloaded");
    assert_true(is_cached(ONE));
    file_lock_release(&lock);
    assert_ok(llm_cache_remove(ONE, NULL, &err));
}

static void test_prune(void **state)
{
    int lock, removed;
    uint64_t freed;
    (void)state;
    get_both();
    write_bytes(in_repository(ONE, "blobs/aaaa.incomplete"), "12345", 5);
    write_bytes(in_repository(ONE, "blobs/bbbb.01234567.incomplete"), "123", 3); // as newer Python tools name them
    write_bytes(in_repository(TWO, "blobs/cccc.incomplete"), "1", 1);
    assert_ok(file_make_directory(in_cache(".removing-models--x--y-1/blobs"), &err));
    write_bytes(in_cache(".removing-models--x--y-1/blobs/z"), "1234567", 7);
    assert_ok(file_lock_try(in_cache(".locks/models--mlx-community--Two/cccc.lock"), &lock, &err)); // somebody is at it
    assert_ok(llm_cache_prune(&freed, &removed, &err));
    assert_int_equal(freed, 15);
    assert_int_equal(removed, 3);
    assert_true(file_exists(in_repository(TWO, "blobs/cccc.incomplete")));
    file_lock_release(&lock);
    assert_ok(llm_cache_prune(&freed, &removed, &err));
    assert_int_equal(removed, 1);
    assert_true(is_cached(ONE) && is_cached(TWO));
    assert_ok(llm_cache_prune(NULL, NULL, &err));
}

// ---- Where the cache is -----------------------------------------------------------------------------------

static void assert_cache(const char *expected)
{
    hub_settings settings;
    assert_ok(hub_settings_read(&settings, &err));
    assert_string_equal(settings.cache, expected);
    hub_settings_free(&settings);
}

static void test_places(void **state)
{
    (void)state;
    assert_cache(path_in(folder, "home/hub"));
    setenv("HF_HUB_CACHE", "/somewhere/hub/", 1);
    assert_cache("/somewhere/hub");
    unsetenv("HF_HUB_CACHE");
    setenv("HUGGINGFACE_HUB_CACHE", "/older", 1);
    assert_cache("/older");
    unsetenv("HUGGINGFACE_HUB_CACHE");
    unsetenv("HF_HOME");
    assert_cache(path_in(folder, "xdg/huggingface/hub"));
    char *home = strdup(getenv("HOME") ? getenv("HOME") : "/");
    setenv("HOME", "/home/ada", 1);
    setenv("HF_HOME", "~/hf", 1);
    assert_cache("/home/ada/hf/hub");
    unsetenv("HF_HOME");
    unsetenv("XDG_CACHE_HOME");
    assert_cache("/home/ada/.cache/huggingface/hub");
    setenv("HOME", home, 1);
    free(home);
}

static void test_bad_settings(void **state)
{
    hub_settings settings;
    (void)state;
    setenv("HF_ENDPOINT", "ftp://x", 1);
    assert_error(hub_settings_read(&settings, &err), LLM_INVALID_ARGUMENT, "HF_ENDPOINT is \"ftp://x\"");
    setenv("HF_ENDPOINT", "http://x//", 1);
    assert_ok(hub_settings_read(&settings, &err));
    assert_string_equal(settings.endpoint, "http://x");
    hub_settings_free(&settings);
    setenv("HF_HUB_DOWNLOAD_TIMEOUT", "soon", 1);
    assert_error(hub_settings_read(&settings, &err), LLM_INVALID_ARGUMENT, "must be 1 to 3600 seconds");
    unsetenv("HF_HUB_DOWNLOAD_TIMEOUT");
    setenv("GITHUB_API_URL", "github", 1);
    assert_error(hub_settings_read(&settings, &err), LLM_INVALID_ARGUMENT, "GITHUB_API_URL");
    assert_null(llm_cache_list_copy(&(int){0}, &err));
    assert_error(llm_cache_prune(NULL, NULL, &err), LLM_INVALID_ARGUMENT, "GITHUB_API_URL");
    assert_error(llm_cache_remove(ONE, NULL, &err), LLM_INVALID_ARGUMENT, "GITHUB_API_URL");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_list), TEST(test_damage), TEST(test_unfinished_entry), TEST(test_listing_of_python_tools), TEST(test_missing_shard),
        TEST(test_remove), TEST(test_remove_during_a_download), TEST(test_prune), TEST(test_places), TEST(test_bad_settings),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
