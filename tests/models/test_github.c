// Adapters from GitHub releases, from a hub on loopback: which release, what may be in an archive, what stays.
#include "testing.h"
#include "base/buf.h"
#include "models/adapter_source.h"
#include "models/archive.h"
#include "models/github.h"
#include "hub_server.h"
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#define REPOSITORY "someone/loras"

static llm_error err;
static char *folder;
static hub_settings settings;

static int start_test(void **state)
{
    (void)state;
    if (start_fresh(&folder)) return -1;
    return hub_settings_read(&settings, &err) == LLM_OK ? 0 : -1;
}

static int end_test(void **state)
{
    (void)state;
    hub_settings_free(&settings);
    return remove_folder((void **)&folder);
}

// ---- Archives ---------------------------------------------------------------------------------------------

typedef struct entry {
    const char *name, *content; // content NULL: a folder
    const char *symlink, *hardlink;
    size_t zeros; // instead of content
} entry;

static void write_entry(struct archive *a, const entry *e)
{
    static const char zeros[4096];
    struct archive_entry *header = archive_entry_new();
    size_t length = e->zeros ? e->zeros : e->content ? strlen(e->content) : 0;
    archive_entry_set_pathname(header, e->name);
    archive_entry_set_filetype(header, e->symlink ? AE_IFLNK : e->content || e->zeros || e->hardlink ? AE_IFREG : AE_IFDIR);
    archive_entry_set_perm(header, 0755);
    archive_entry_set_size(header, (la_int64_t)length);
    if (e->symlink) archive_entry_set_symlink(header, e->symlink);
    if (e->hardlink) archive_entry_set_hardlink(header, e->hardlink);
    archive_write_header(a, header);
    if (e->content) archive_write_data(a, e->content, length);
    for (size_t at = 0; at < e->zeros; at += sizeof zeros) archive_write_data(a, zeros, e->zeros - at < sizeof zeros ? e->zeros - at : sizeof zeros);
    archive_entry_free(header);
}

static void make_archive(const char *path, bool zip, const entry *entries, size_t count)
{
    struct archive *a = archive_write_new();
    if (zip) archive_write_set_format_zip(a);
    else archive_write_set_format_pax_restricted(a), archive_write_add_filter_gzip(a);
    assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) write_entry(a, &entries[i]);
    archive_write_close(a);
    archive_write_free(a);
}

static const char *release_path(const char *tag, const char *asset)
{
    const char *release = path_in(path_in(server.root, "releases/" REPOSITORY), tag);
    assert_ok(file_make_directory(release, &err));
    return path_in(release, asset);
}

static void put_adapter(const char *tag, const char *asset, const char *rank)
{
    const entry entries[] = {{.name = "lora/"}, {.name = "lora/adapter_config.json", .content = rank},
                             {.name = "lora/adapters.safetensors", .content = "weights"}, {.name = "./README.md", .content = "x"}};
    make_archive(release_path(tag, asset), strstr(asset, ".zip") != NULL, entries, 4);
}

static llm_status get(const char *tag, const char *asset, bool newest, char **directory)
{
    static const resolve_watch watch;
    llm_adapter adapter = {.kind = LLM_ADAPTER_GITHUB, .source = REPOSITORY, .tag = tag, .asset = asset};
    return newest ? adapter_pull(&adapter, &watch, directory, &err) : adapter_resolve(&adapter, NULL, NULL, directory, &err);
}

static void assert_rank(const char *directory, const char *rank)
{
    size_t length;
    char *text = read_bytes(path_in(directory, "adapter_config.json"), &length);
    assert_string_equal(text, rank);
    mem_free(text);
}

// ---- Releases ---------------------------------------------------------------------------------------------

static void test_tag_and_asset(void **state)
{
    static const char *const assets[] = {"lora.zip", "lora.tar.gz", "lora.tgz"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char *directory;
        put_adapter("v1", assets[i], "{\"rank\":1}");
        assert_ok(get("v1", assets[i], false, &directory));
        assert_string_equal(path_base_name(directory), "lora");
        assert_rank(directory, "{\"rank\":1}");
        free(server_log());
        char *again;
        assert_ok(get("v1", assets[i], false, &again));
        assert_string_equal(directory, again);
        char *log = server_log();
        assert_string_equal(log, ""); // from the cache
        free(log);
        mem_free(directory);
        mem_free(again);
    }
    const char *release = path_in(folder, "xdg/llmlocal/github/" REPOSITORY "/v1");
    DIR *dir = opendir(release);
    for (struct dirent *e; (e = readdir(dir));) assert_null(strstr(e->d_name, ".archive.incomplete"));
    closedir(dir);
    assert_false(file_exists(path_in(release, "lora.zip.archive")));
}

static void test_newest_release(void **state)
{
    char *directory;
    (void)state;
    put_adapter("v1", "lora.zip", "{\"rank\":1}");
    assert_ok(get(NULL, "lora.zip", false, &directory));
    assert_rank(directory, "{\"rank\":1}");
    mem_free(directory);
    put_adapter("v2", "lora.zip", "{\"rank\":2}");
    llm_adapter adapter = {.kind = LLM_ADAPTER_GITHUB, .source = REPOSITORY, .tag = "v1", .asset = "lora.zip"};
    char *tag = llm_adapter_latest_tag_copy(&adapter, &err);
    assert_string_equal(tag, "v2");
    llm_free(tag);
    assert_ok(get(NULL, "lora.zip", false, &directory)); // what is there will do
    assert_rank(directory, "{\"rank\":1}");
    mem_free(directory);
    assert_ok(get(NULL, "lora.zip", true, &directory));
    assert_rank(directory, "{\"rank\":2}");
    mem_free(directory);
    adapter.kind = LLM_ADAPTER_HUB;
    assert_null(llm_adapter_latest_tag_copy(&adapter, &err));
    assert_int_equal(err.code, LLM_INVALID_ARGUMENT);
}

static void test_asset_that_was_replaced(void **state)
{
    char *directory;
    (void)state;
    put_adapter("release/1", "lora.zip", "{\"rank\":1}");
    assert_true(file_exists(release_path("release/1", "lora.zip")));
    put_adapter("v1", "lora.zip", "{\"rank\":1}");
    assert_ok(get("v1", "lora.zip", false, &directory));
    mem_free(directory);
    put_adapter("v1", "lora.zip", "{\"rank\":8}");
    assert_ok(get("v1", "lora.zip", true, &directory));
    assert_rank(directory, "{\"rank\":8}");
    mem_free(directory);
}

static void test_offline(void **state)
{
    char *directory;
    (void)state;
    put_adapter("v1", "lora.zip", "{\"rank\":1}");
    setenv("HF_HUB_OFFLINE", "1", 1);
    assert_error(get("v1", "lora.zip", false, &directory), LLM_DOWNLOAD_FAILED, "HF_HUB_OFFLINE forbids");
    unsetenv("HF_HUB_OFFLINE");
    assert_ok(get("v1", "lora.zip", false, &directory));
    mem_free(directory);
    setenv("HF_HUB_OFFLINE", "1", 1);
    assert_ok(get("v1", "lora.zip", true, &directory));
    mem_free(directory);
    llm_adapter adapter = {.kind = LLM_ADAPTER_GITHUB, .source = REPOSITORY};
    assert_null(llm_adapter_latest_tag_copy(&adapter, &err));
}

static void test_what_is_not_there(void **state)
{
    char *directory;
    (void)state;
    assert_error(get("v1", "lora.zip", false, &directory), LLM_DOWNLOAD_FAILED, "GitHub knows no release \"v1\" of someone/loras");
    assert_error(get(NULL, "lora.zip", false, &directory), LLM_DOWNLOAD_FAILED, "GitHub knows no release of someone/loras");
    put_adapter("v1", "lora.zip", "{}");
    assert_error(get("v1", "other.zip", false, &directory), LLM_DOWNLOAD_FAILED, "has no asset \"other.zip\"");
    server_faults("[{\"on\":\"hub\",\"path\":\"/releases/\",\"status\":403}]");
    assert_error(get("v1", "lora.zip", false, &directory), LLM_DOWNLOAD_FAILED, "GITHUB_TOKEN allows more");
    server_faults("[{\"on\":\"hub\",\"path\":\"/releases/\",\"status\":401}]");
    assert_error(get("v1", "lora.zip", false, &directory), LLM_DOWNLOAD_FAILED, "refuses the token");
    server_faults("[{\"on\":\"hub\",\"path\":\"/releases/\",\"body\":\"[]\"}]");
    assert_error(get("v1", "lora.zip", false, &directory), LLM_DOWNLOAD_FAILED, "has no tag");
    server_faults("[{\"on\":\"hub\",\"path\":\"/releases/\",\"change\":{\"tag_name\":\"../../../../x\"}}]");
    assert_error(get(NULL, "lora.zip", false, &directory), LLM_DOWNLOAD_FAILED, "a tag that no path can have");
    const entry plain = {.name = "README.md", .content = "x"};
    make_archive(release_path("v1", "text.zip"), true, &plain, 1);
    assert_error(get("v1", "text.zip", false, &directory), LLM_UNSUPPORTED_FORMAT, "is no adapter: it has no adapter_config.json");
}

static void test_names(void **state)
{
    char *directory;
    static const char *const sources[] = {"x", "a/b/c", "../x", "a/..", "a/b?c", "/a", "a/"};
    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        llm_adapter adapter = {.kind = LLM_ADAPTER_GITHUB, .source = sources[i], .asset = "a.zip"};
        assert_error(adapter_resolve(&adapter, NULL, NULL, &directory, &err), LLM_INVALID_ARGUMENT, "is no GitHub repository");
    }
    assert_error(get("../x", "a.zip", false, &directory), LLM_INVALID_ARGUMENT, "is no tag");
    assert_error(get("v1", "../a.zip", false, &directory), LLM_INVALID_ARGUMENT, "is no name of an asset");
    assert_error(get("v1", NULL, false, &directory), LLM_INVALID_ARGUMENT, "which file");
}

static void test_token_and_damage(void **state)
{
    char *directory;
    (void)state;
    put_adapter("v1", "lora.zip", "{\"rank\":1}");
    setenv("GITHUB_TOKEN", "gh_token", 1);
    server_faults("[{\"on\":\"cdn\",\"path\":\"lora\",\"corrupt\":true},{\"on\":\"cdn\",\"path\":\"lora\",\"cut\":50}]");
    assert_ok(get("v1", "lora.zip", false, &directory));
    assert_rank(directory, "{\"rank\":1}");
    mem_free(directory);
    char *log = server_log();
    for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
        if (strstr(line, "\"side\": \"cdn\"")) assert_non_null(strstr(line, "\"authorization\": null"));
        else assert_non_null(strstr(line, "Bearer gh_token"));
    }
    free(log);
    put_adapter("v2", "lora.zip", "{\"rank\":1}");
    server_faults("[{\"on\":\"hub\",\"path\":\"/releases/tags\",\"asset\":{\"digest\":null}}]"); // as of old releases
    assert_ok(get("v2", "lora.zip", false, &directory));
    mem_free(directory);
}

static void test_list_remove_prune(void **state)
{
    int count, removed;
    uint64_t freed;
    char *directory;
    (void)state;
    put_adapter("v1", "lora.zip", "{\"rank\":1}");
    assert_ok(get("v1", "lora.zip", false, &directory));
    mem_free(directory);
    const char *release = path_in(folder, "xdg/llmlocal/github/" REPOSITORY "/v1");
    write_bytes(path_in(release, "other.zip.archive.incomplete"), "12345", 5);
    assert_ok(file_make_directory(path_in(release, "other.zip.unpacking-abcdef"), &err));
    write_bytes(path_in(release, "other.zip.unpacking-abcdef/file"), "123", 3);
    llm_cached_model *models = llm_cache_list_copy(&count, &err);
    assert_int_equal(count, 1);
    assert_int_equal(models[0].kind, LLM_CACHED_GITHUB);
    assert_string_equal(models[0].id, REPOSITORY "@v1/lora.zip");
    assert_true(models[0].size_bytes > 10);
    llm_free(models);
    assert_ok(llm_cache_prune(&freed, &removed, &err));
    assert_int_equal(freed, 8);
    assert_int_equal(removed, 2);
    assert_true(file_is_directory(path_in(release, "lora.zip")));
    assert_ok(llm_cache_remove(REPOSITORY "@v1/lora.zip", &freed, &err));
    assert_true(freed > 10);
    models = llm_cache_list_copy(&count, &err);
    assert_int_equal(count, 0);
    llm_free(models);
    assert_error(llm_cache_remove(REPOSITORY "@v1/lora.zip", &freed, &err), LLM_INVALID_ARGUMENT, "is not in the cache");
}

// ---- What an archive may not do -----------------------------------------------------------------------------

static llm_status unpack(const char *path, const archive_limits *limits)
{
    static int next;
    char name[40];
    snprintf(name, sizeof name, "unpacked-%d", next++);
    assert_ok(file_make_directory(path_in(folder, name), &err));
    return archive_unpack(path, "a.zip", path_in(folder, name), limits, NULL, NULL, &err);
}

static const archive_limits plenty = {.bytes = 1 << 20, .entries = 100};

static void test_hostile_entries(void **state)
{
    static const struct {
        entry e;
        const char *message;
    } rows[] = {
        {{.name = "../evil", .content = "x"}, "would leave its folder"},
        {{.name = "/tmp/llmlocal-evil", .content = "x"}, "would leave its folder"},
        {{.name = "a/../../evil", .content = "x"}, "would leave its folder"},
        {{.name = "link", .symlink = "/etc/passwd"}, "is no plain file"},
        {{.name = "folder-link", .symlink = ".."}, "is no plain file"},
        {{.name = "hard", .hardlink = "first"}, "is no plain file"},
    };
    (void)state;
    for (int zip = 0; zip < 2; zip++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const entry entries[] = {{.name = "first", .content = "1"}, rows[i].e};
            if (zip && rows[i].e.hardlink) continue; // a zip has none
            make_archive(path_in(folder, "a"), zip, entries, 2);
            assert_error(unpack(path_in(folder, "a"), &plenty), LLM_LOAD_FAILED, rows[i].message);
        }
    assert_false(file_exists("/tmp/llmlocal-evil"));
    assert_false(file_exists(path_in(folder, "evil")));
    const entry twice[] = {{.name = "a", .content = "1"}, {.name = "a", .content = "2"}};
    make_archive(path_in(folder, "a"), true, twice, 2);
    assert_error(unpack(path_in(folder, "a"), &plenty), LLM_LOAD_FAILED, "cannot make \"a\"");
}

static void test_bombs(void **state)
{
    static char names[150][20];
    entry entries[150];
    (void)state;
    for (int zip = 0; zip < 2; zip++) {
        const entry large = {.name = "zeros", .zeros = (1 << 20) + 1};
        make_archive(path_in(folder, "bomb"), zip, &large, 1);
        assert_error(unpack(path_in(folder, "bomb"), &plenty), LLM_LOAD_FAILED, "unpacks to more than 1048576 bytes");
        for (int i = 0; i < 150; i++) {
            snprintf(names[i], sizeof names[i], "file-%d", i);
            entries[i] = (entry){.name = names[i], .content = "x"};
        }
        make_archive(path_in(folder, "many"), zip, entries, 150);
        assert_error(unpack(path_in(folder, "many"), &plenty), LLM_LOAD_FAILED, "has more than 100 entries");
    }
}

static void test_no_archives(void **state)
{
    size_t length;
    (void)state;
    write_bytes(path_in(folder, "text"), "this is no archive, and long enough to be told from one", 54);
    assert_error(unpack(path_in(folder, "text"), &plenty), LLM_UNSUPPORTED_FORMAT, "neither a zip nor a tar.gz");
    assert_error(unpack(path_in(folder, "nothing"), &plenty), LLM_UNSUPPORTED_FORMAT, "neither a zip nor a tar.gz");
    char *noise = make_noise(200000, 3);
    noise[199999] = 0;
    for (int i = 0; i < 199999; i++) noise[i] |= 1; // no zero byte: text
    const entry one = {.name = "file", .content = noise};
    make_archive(path_in(folder, "whole"), false, &one, 1);
    char *bytes = read_bytes(path_in(folder, "whole"), &length);
    write_bytes(path_in(folder, "half"), bytes, length / 2);
    assert_error(unpack(path_in(folder, "half"), &plenty), LLM_LOAD_FAILED, "is damaged");
    mem_free(bytes);
    free(noise);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tag_and_asset), TEST(test_newest_release), TEST(test_asset_that_was_replaced), TEST(test_offline),
        TEST(test_what_is_not_there), TEST(test_names), TEST(test_token_and_damage), TEST(test_list_remove_prune),
        TEST(test_hostile_entries), TEST(test_bombs), TEST(test_no_archives),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
