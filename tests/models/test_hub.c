// Pulling from a hub on loopback: every rule of the transfer, with the faults that test it.
#include "testing.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "models/hub.h"
#include "models/transfer.h"
#include "hub_server.h"
#include <sys/stat.h>

#define ID "mlx-community/Tiny"
enum { WEIGHTS = 300000 };

static llm_error err;
static char *folder; // of the running test
static hub_settings settings;
static buf messages; // of the log

static void take_message(void *user, int level, const char *message)
{
    (void)user, (void)level;
    buf_printf(&messages, "%s\n", message);
}

static int start_test(void **state)
{
    (void)state;
    if (start_fresh(&folder)) return -1;
    put_model(ID, WEIGHTS);
    hub_settings_read(&settings, &err);
    settings.retry_ms = 5;
    buf_clear(&messages);
    llm_set_log(take_message, NULL);
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    llm_set_log(NULL, NULL);
    hub_settings_free(&settings);
    return remove_folder((void **)&folder);
}

static void read_settings(void)
{
    hub_settings_free(&settings);
    assert_ok(hub_settings_read(&settings, &err));
    settings.retry_ms = 5;
}

static hub_progress last_progress;
static int progress_calls;
static bool note_progress(void *user, const hub_progress *p)
{
    (void)user;
    if (p->total_bytes) assert_true(p->done_bytes <= p->total_bytes);
    last_progress = *p;
    progress_calls++;
    return true;
}

static char *result; // of the latest pull
static llm_status pull_id(const char *id)
{
    hub_request request = {.id = id, .revision = "main", .progress = note_progress};
    mem_free(result);
    result = NULL;
    last_progress = (hub_progress){0};
    return hub_pull(&settings, &request, &result, &err);
}

static llm_status pull(void)
{
    return pull_id(ID);
}

static const char *in_result(const char *name)
{
    assert_non_null(result);
    return path_in(result, name);
}

static void assert_whole(void)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "chat_template.jinja",
                                        "model.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(same_file(in_result(names[i]), path_in(path_in(server.root, ID), names[i])));
}

static const char *blobs(void)
{
    return path_in(settings.cache, "models--mlx-community--Tiny/blobs");
}

static size_t count_partial(void)
{
    size_t count = 0;
    DIR *dir = opendir(blobs());
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += strstr(entry->d_name, ".incomplete") != NULL;
    if (dir) closedir(dir);
    return count;
}

// ---- What a pull leaves -----------------------------------------------------------------------------------

static void test_layout(void **state)
{
    char target[200] = "", commit[100];
    size_t length;
    (void)state;
    assert_ok(pull());
    assert_whole();
    assert_int_equal(count_entries(result), 4); // README.md, .bin and folders were left out
    assert_int_equal(count_partial(), 0);
    assert_int_equal(last_progress.done_bytes, last_progress.total_bytes);
    assert_int_equal(last_progress.received_bytes, last_progress.total_bytes);
    assert_int_equal(last_progress.files_done, 4);
    assert_true(last_progress.total_bytes > WEIGHTS && last_progress.total_bytes < WEIGHTS + 100);
    assert_true(readlink(in_result("model.safetensors"), target, sizeof target - 1) > 0);
    assert_int_equal(strncmp(target, "../../blobs/", 12), 0);
    assert_int_equal(strlen(target), 12 + 64);
    char *ref = read_bytes(path_in(settings.cache, "models--mlx-community--Tiny/refs/main"), &length);
    snprintf(commit, sizeof commit, "%s", path_base_name(result));
    assert_string_equal(ref, commit);
    mem_free(ref);
}

static void test_second_pull_gets_nothing(void **state)
{
    (void)state;
    assert_ok(pull());
    free(server_log());
    assert_ok(pull());
    assert_int_equal(last_progress.received_bytes, 0);
    assert_int_equal(last_progress.done_bytes, last_progress.total_bytes);
    char *log = server_log();
    assert_int_equal(count_in(log, "\n"), 1); // the question what main is now
    free(log);
}

static void test_new_commit_shares_blobs(void **state)
{
    (void)state;
    assert_ok(pull());
    char *old = mem_copy_string(result);
    put_text(ID, "config.json", "{\"model_type\":\"llama\",\"newer\":true}");
    assert_ok(pull());
    assert_string_not_equal(result, old);
    assert_true(last_progress.received_bytes < 100);
    assert_whole();
    assert_true(file_exists(path_in(old, "config.json")));
    mem_free(old);
}

static void test_revisions(void **state)
{
    (void)state;
    char *path = NULL;
    hub_request request = {.id = ID, .revision = "v1/x"};
    assert_ok(hub_pull(&settings, &request, &path, &err));
    assert_true(file_exists(path_in(settings.cache, "models--mlx-community--Tiny/refs/v1/x")));
    request.revision = path_base_name(path); // a commit gets no ref
    char *again = NULL;
    assert_ok(hub_pull(&settings, &request, &again, &err));
    assert_string_equal(path, again);
    assert_int_equal(count_entries(path_in(settings.cache, "models--mlx-community--Tiny/refs")), 1);
    mem_free(again);
    request.revision = "nowhere";
    assert_error(hub_pull(&settings, &request, &again, &err), LLM_DOWNLOAD_FAILED,
                 "has no revision \"nowhere\"");
    request.revision = "../../x";
    assert_error(hub_pull(&settings, &request, &again, &err), LLM_INVALID_ARGUMENT, "is no revision");
    mem_free(path);
}

static void test_hub_without_sizes(void **state)
{
    (void)state;
    put_text(ID, ".bare", ""); // then HEAD requests tell
    assert_ok(pull());
    assert_whole();
    char *log = server_log();
    assert_int_equal(count_in(log, "\"HEAD\""), 4);
    free(log);
    assert_int_equal(count_partial(), 0);
}

static void test_same_content_twice(void **state)
{
    (void)state;
    put_text(ID, "special_tokens_map.json", "{}"); // as tokenizer.json
    assert_ok(pull());
    assert_int_equal(count_entries(blobs()), 4);
    assert_true(same_file(in_result("special_tokens_map.json"), in_result("tokenizer.json")));
}

static void test_empty_file(void **state)
{
    (void)state;
    put_text(ID, "merges.txt", "");
    assert_ok(pull());
    assert_true(file_exists(in_result("merges.txt")));
}

// ---- Tokens -----------------------------------------------------------------------------------------------

static void assert_token_stays_home(void)
{
    char *log = server_log();
    assert_true(count_in(log, "Bearer hf_right") > 0);
    char *copy = strdup(log);
    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) {
        if (strstr(line, "\"side\": \"cdn\""))
            assert_non_null(strstr(line, "\"authorization\": null"));
        else
            assert_non_null(strstr(line, "Bearer hf_right"));
    }
    assert_true(count_in(log, "\"side\": \"cdn\"") > 0);
    assert_null(strstr(messages.data ? messages.data : "", "hf_right"));
    assert_null(strstr(messages.data ? messages.data : "", "signature"));
    free(copy);
    free(log);
}

static void test_token_from_environment(void **state)
{
    (void)state;
    put_text(ID, ".gated", "");
    setenv("HF_TOKEN", " hf_right\n", 1);
    read_settings();
    assert_ok(pull());
    assert_whole();
    assert_token_stays_home();
}

static void test_token_from_files(void **state)
{
    (void)state;
    put_text(ID, ".gated", "");
    assert_ok(file_make_directory(path_in(folder, "home"), &err));
    write_bytes(path_in(folder, "home/token"), "hf_right\n", 9);
    read_settings();
    assert_ok(pull());
    assert_token_stays_home();
    write_bytes(path_in(folder, "other"), "hf_weak", 7);
    setenv("HF_TOKEN_PATH", path_in(folder, "other"), 1);
    read_settings();
    assert_string_equal(settings.token, "hf_weak");
    setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", 1);
    read_settings();
    assert_null(settings.token);
}

static void test_token_with_line_feed_inside(void **state)
{
    hub_settings other;
    (void)state;
    setenv("HF_TOKEN", "hf_x\r\nX-Evil: 1", 1);
    assert_error(hub_settings_read(&other, &err), LLM_INVALID_ARGUMENT, "HF_TOKEN holds no token");
    assert_null(strstr(err.message, "Evil"));
}

static void test_redirect_elsewhere_on_api(void **state)
{
    char faults[300];
    (void)state;
    setenv("HF_TOKEN", "hf_right", 1);
    read_settings();
    snprintf(faults, sizeof faults,
             "[{\"on\":\"hub\",\"path\":\"/api/\",\"redirect\":\"http://127.0.0.2:%d/api/stolen\"}]",
             server.cdn_port);
    server_faults(faults);
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "answered 404");
    assert_token_stays_home();
}

// ---- Refusals ---------------------------------------------------------------------------------------------

static void test_gated(void **state)
{
    (void)state;
    put_text(ID, ".gated", "");
    assert_error(pull(), LLM_DOWNLOAD_FAILED,
                 "mlx-community/Tiny is gated: accept its terms at http://127.0.0.1:");
    assert_non_null(strstr(err.message, "set HF_TOKEN"));
    setenv("HF_TOKEN", "hf_weak", 1);
    read_settings();
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "as the user whom the token belongs to");
    setenv("HF_TOKEN", "hf_wrong", 1);
    read_settings();
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "refuses the token");
    assert_null(strstr(err.message, "hf_wrong"));
}

static void test_missing_repository(void **state)
{
    (void)state;
    assert_error(pull_id("nobody/nothing"), LLM_DOWNLOAD_FAILED, "there is no repository nobody/nothing");
    assert_non_null(strstr(err.message, "private or gated"));
    setenv("HF_TOKEN", "hf_right", 1);
    read_settings();
    assert_error(pull_id("nobody/nothing"), LLM_DOWNLOAD_FAILED, "there is no repository nobody/nothing");
    assert_false(file_exists(path_in(settings.cache, "models--nobody--nothing")));
}

static void test_private_repository(void **state)
{
    (void)state;
    put_text(ID, ".private", "");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "it is private or gated");
    setenv("HF_TOKEN", "hf_right", 1);
    read_settings();
    assert_ok(pull());
}

static void test_bad_ids(void **state)
{
    static const char *const ids[] = {"",      "x",      "/x",   "x/",   "a/b/c", "../x",  "a/..",
                                      "a/b c", "a--b/c", "a/.b", "a/-b", "a/b.",  "a/b\n", "a/%2e"};
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        assert_error(pull_id(ids[i]), LLM_INVALID_ARGUMENT, "is no hub id");
}

static void test_offline(void **state)
{
    (void)state;
    setenv("HF_HUB_OFFLINE", "1", 1);
    read_settings();
    free(server_log());
    assert_error(pull(), LLM_DOWNLOAD_FAILED,
                 "is not in the cache, or not all of it, and HF_HUB_OFFLINE forbids");
    settings.offline = false;
    assert_ok(pull());
    char *online = mem_copy_string(result);
    settings.offline = true;
    free(server_log());
    assert_ok(pull());
    assert_string_equal(result, online);
    char *log = server_log();
    assert_string_equal(log, "");
    free(log);
    mem_free(online);
}

static void test_no_server(void **state)
{
    (void)state;
    setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
    read_settings();
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "cannot get mlx-community/Tiny from 127.0.0.1:1");
    assert_non_null(strstr(err.message, "6 tries"));
}

// ---- Faults on the way ------------------------------------------------------------------------------------

static void test_server_errors_are_retried(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"status\":503},{\"on\":\"hub\",\"path\":\"/"
                  "config.json\",\"status\":500,\"times\":2},"
                  "{\"on\":\"cdn\",\"path\":\"model\",\"status\":502},{\"on\":\"hub\",\"path\":\"tokenizer."
                  "json\",\"drop\":true}]");
    assert_ok(pull());
    assert_whole();
}

static void test_server_errors_that_stay(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"status\":500,\"times\":100}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "cannot get model.safetensors: 127.0.0.");
    assert_non_null(strstr(err.message, "answered 500 (6 tries)"));
}

static void test_retry_after(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"status\":429,\"headers\":{\"Retry-After\":\"1\"}}]");
    double began = clock_seconds();
    assert_ok(pull());
    assert_true(clock_seconds() - began >= 0.9);
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"status\":429,\"headers\":{\"Retry-After\":\"0\"}}]");
    settings.retry_ms = 60000;
    began = clock_seconds();
    assert_ok(pull());
    assert_true(clock_seconds() - began < 10);
}

static void test_cut_off(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"cut\":50000,\"times\":3}]");
    assert_ok(pull());
    assert_whole();
    char *log = server_log();
    assert_int_equal(count_in(log, "\"bytes=50000-\""), 2); // of the hub and of the CDN
    assert_int_equal(count_in(log, "\"bytes=150000-\""), 2);
    free(log);
    assert_int_equal(last_progress.received_bytes, last_progress.total_bytes);
}

static void test_stall(void **state)
{
    (void)state;
    setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1", 1);
    read_settings();
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"stall\":70000}]");
    double began = clock_seconds();
    assert_ok(pull());
    assert_true(clock_seconds() - began < 20);
    assert_whole();
    assert_non_null(strstr(messages.data, "nothing came any more"));
}

static void test_server_without_ranges(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"cut\":50000},{\"on\":\"cdn\",\"path\":\"model\","
                  "\"no_range\":true}]");
    assert_ok(pull());
    assert_whole();
}

static void test_wrong_range(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"cut\":50000},{\"on\":\"cdn\",\"path\":\"model\","
                  "\"wrong_range\":true}]");
    assert_ok(pull());
    assert_whole();
}

static void test_damage_is_got_again(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"corrupt\":true},{\"on\":\"hub\",\"path\":\"/"
                  "tokenizer.json\",\"corrupt\":true}]");
    assert_ok(pull());
    assert_whole();
}

static void test_damage_that_stays(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"corrupt\":true,\"times\":100}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "model.safetensors arrived damaged: its SHA-256 is");
    assert_int_equal(count_partial(), 0);
    put_text(ID, "added.json", "{\"new\": 1}");
    server_faults("[{\"on\":\"hub\",\"path\":\"/added.json\",\"corrupt\":true,\"times\":100}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "added.json arrived damaged: its git digest is");
    assert_false(file_exists(path_in(settings.cache, "models--mlx-community--Tiny/refs/main")));
    assert_false(file_exists(path_in(settings.cache, "models--mlx-community--Tiny/snapshots")));
}

static void test_length_not_said(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"short\":true,\"chunked\":true}]");
    assert_ok(pull()); // the last byte comes with the second try
    assert_whole();
    char *log = server_log();
    assert_int_equal(count_in(log, "\"bytes=299999-\""), 2);
    free(log);
}

static void test_wrong_length(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"short\":true,\"times\":100}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "the server has 299999 bytes of it, and 300000 were announced");
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"long\":true,\"times\":100}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "the server has 300001 bytes of it");
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"long\":true,\"chunked\":true,\"times\":100}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "the server sends more than the 300000 bytes");
}

static void test_redirects(void **state)
{
    char faults[300];
    (void)state;
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"redirect\":\"/api/models/mlx-community/Tiny/"
                  "revision/main?blobs=true\"}]");
    assert_ok(pull());
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"redirect\":\"/api/round\",\"times\":100}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "is one of too many");
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"redirect\":\"file:///etc/passwd\"}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "leads to something that is not HTTP");
    snprintf(faults, sizeof faults, "[{\"on\":\"hub\",\"path\":\"/api/\",\"status\":302}]");
    server_faults(faults);
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "leads nowhere");
}

// ---- Hostile answers --------------------------------------------------------------------------------------

static void test_hostile_names(void **state)
{
    static const char *const names[] = {"../../../evil.gguf", "/tmp/evil.gguf", "a/../../evil.gguf",
                                        "a\\\\..\\\\b.gguf",  "a//b.gguf",      "evil\\u0001.json"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char faults[300];
        snprintf(faults, sizeof faults, "[{\"on\":\"hub\",\"path\":\"/api/\",\"add_files\":[\"%s\"]}]",
                 names[i]);
        server_faults(faults);
        assert_error(pull(), LLM_DOWNLOAD_FAILED, "would leave its folder");
    }
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"add_files\":[\"../../evil.json\"]}]");
    assert_ok(pull()); // nothing of a subfolder is wanted
    assert_int_equal(count_entries(result), 4);
}

static void test_hostile_answers(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"change\":{\"sha\":\"../../../../tmp/x\"}}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "no commit");
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"change\":{\"siblings\":7}}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "no list of files");
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"change\":{\"siblings\":[{}]}}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "a file without a name");
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/\",\"body\":\"<html>log in to the hotel</html>\"}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "not valid JSON");
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/"
                  "\",\"change_files\":{\"model.safetensors\":{\"lfs\":{\"size\":300000,\"sha256\":\"../../"
                  "../evil\"}}}}]");
    assert_ok(pull()); // asks for the header instead, which has a name
    server_faults("[{\"on\":\"hub\",\"path\":\"/api/"
                  "\",\"change_files\":{\"model.safetensors\":{\"lfs\":{\"size\":99999999999999999,"
                  "\"sha256\":\"\"}}}}]");
    assert_ok(pull());
}

static void test_repositories_without_models(void **state)
{
    (void)state;
    put_text("some/torch", "pytorch_model.bin", "x");
    put_text("some/torch", "config.json", "{}");
    assert_error(pull_id("some/torch"), LLM_UNSUPPORTED_FORMAT, "neither safetensors nor a whole GGUF file");
    put_text("some/split", "m-00001-of-00002.gguf", "x");
    assert_error(pull_id("some/split"), LLM_UNSUPPORTED_FORMAT, "neither safetensors nor a whole GGUF file");
    put_text("some/many", "m.Q8_0.gguf", "x");
    put_text("some/many", "m.Q2_K.gguf", "y");
    assert_error(pull_id("some/many"), LLM_UNSUPPORTED_FORMAT,
                 "has 2 GGUF files: say which one, as owner/name/file.gguf");
    put_text("some/many", "m.Q4_K_M.gguf", "z");
    assert_ok(pull_id("some/many"));
    assert_string_equal(path_base_name(result), "m.Q4_K_M.gguf");
}

// ---- Room, orders, copies in the cache --------------------------------------------------------------------

static uint64_t room;
static bool tell_room(const char *path, uint64_t *bytes)
{
    assert_true(file_is_directory(path));
    *bytes = room;
    return true;
}

static void test_no_room(void **state)
{
    (void)state;
    settings.free_space = tell_room;
    room = 1000;
    free(server_log());
    assert_error(pull(), LLM_INSUFFICIENT_STORAGE, "no room in");
    assert_int_equal(err.available, 1000);
    assert_true(err.required > WEIGHTS && err.required < WEIGHTS + 100);
    char *log = server_log();
    assert_int_equal(count_in(log, "resolve"), 0); // said before anything is got
    free(log);
    room = err.required;
    assert_ok(pull());
}

static bool stop_in_the_middle(void *user, const hub_progress *p)
{
    (void)user;
    return p->done_bytes < WEIGHTS / 4;
}

static void test_cancel_and_continue(void **state)
{
    (void)state;
    hub_request request = {.id = ID, .revision = "main", .progress = stop_in_the_middle};
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"rate\":400000}]");
    mem_free(result);
    assert_error(hub_pull(&settings, &request, &result, &err), LLM_CANCELLED, "cancelled");
    assert_int_equal(count_partial(), 1);
    settings.free_space = tell_room; // only the rest needs room
    room = WEIGHTS * 3 / 4 + 1000;
    assert_ok(pull());
    assert_whole();
    assert_true(last_progress.received_bytes < WEIGHTS * 3 / 4 + 1000);
}

static void test_foreign_partial_file(void **state)
{
    (void)state;
    char name[100];
    assert_ok(pull());
    snprintf(name, sizeof name, "%s/", blobs());
    char target[300] = "";
    assert_true(readlink(in_result("model.safetensors"), target, sizeof target - 1) > 0);
    char *blob = mem_copy_string(path_in(blobs(), path_base_name(target)));
    char partial[600];
    snprintf(partial, sizeof partial, "%s.incomplete", blob);
    char *noise = make_noise(WEIGHTS + 5, 99);
    // Bytes of something else: found out, and got again.
    unlink(blob);
    write_bytes(partial, noise, 1000);
    assert_ok(pull());
    assert_whole();
    // Longer than the file.
    unlink(blob);
    write_bytes(partial, noise, WEIGHTS + 5);
    assert_ok(pull());
    assert_whole();
    // All of it, but without its name yet: nothing is got.
    assert_int_equal(rename(blob, partial), 0);
    assert_ok(pull());
    assert_whole();
    assert_int_equal(last_progress.received_bytes, 0);
    // All bytes, but others.
    unlink(blob);
    write_bytes(partial, noise, WEIGHTS);
    assert_ok(pull());
    assert_whole();
    // A blob that was cut short.
    assert_int_equal(truncate(blob, 10), 0);
    assert_ok(pull());
    assert_whole();
    assert_non_null(strstr(messages.data, "wrong size"));
    free(noise);
    mem_free(blob);
}

static void test_damaged_ref(void **state)
{
    char commit[41];
    (void)state;
    assert_ok(pull());
    char *repository = cache_repository(&settings, ID);
    const char *ref = path_in(repository, "refs/main");
    static const char *const damage[] = {"", "x", "../../../../etc",
                                         "0123456789012345678901234567890123456789\nx"};
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        write_bytes(ref, damage[i], strlen(damage[i]));
        assert_false(cache_read_ref(repository, "main", commit));
        assert_null(cache_find(&settings, ID, "main", HUB_MODEL, NULL));
        assert_ok(pull());
        assert_true(cache_read_ref(repository, "main", commit));
    }
    mem_free(repository);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_layout),
        TEST(test_second_pull_gets_nothing),
        TEST(test_new_commit_shares_blobs),
        TEST(test_revisions),
        TEST(test_hub_without_sizes),
        TEST(test_same_content_twice),
        TEST(test_empty_file),
        TEST(test_token_from_environment),
        TEST(test_token_from_files),
        TEST(test_token_with_line_feed_inside),
        TEST(test_redirect_elsewhere_on_api),
        TEST(test_gated),
        TEST(test_missing_repository),
        TEST(test_private_repository),
        TEST(test_bad_ids),
        TEST(test_offline),
        TEST(test_no_server),
        TEST(test_server_errors_are_retried),
        TEST(test_server_errors_that_stay),
        TEST(test_retry_after),
        TEST(test_cut_off),
        TEST(test_stall),
        TEST(test_server_without_ranges),
        TEST(test_wrong_range),
        TEST(test_damage_is_got_again),
        TEST(test_damage_that_stays),
        TEST(test_wrong_length),
        TEST(test_length_not_said),
        TEST(test_redirects),
        TEST(test_hostile_names),
        TEST(test_hostile_answers),
        TEST(test_repositories_without_models),
        TEST(test_no_room),
        TEST(test_cancel_and_continue),
        TEST(test_foreign_partial_file),
        TEST(test_damaged_ref),
    };
    int failed = cmocka_run_group_tests(tests, start_server, stop_server);
    mem_free(result);
    buf_free(&messages);
    return failed;
}
