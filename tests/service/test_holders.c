// What processes tell each other about the models they hold: records, the folder they are in, and what is left of a process that
// was killed.
#include "testing.h"
#include "files.h"
#include "service/holders.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static llm_error err;
static char *folder; // XDG_RUNTIME_DIR of the running test

static int set_up(void **state)
{
    if (make_folder(state)) return -1;
    folder = *state;
    setenv("XDG_RUNTIME_DIR", folder, 1);
    return 0;
}

static llm_holder *list(int *count)
{
    llm_holder *holders = llm_holders_copy(count, &err);
    if (!holders) fail_msg("%s", err.message);
    return holders;
}

static int count_holders(void)
{
    int count;
    llm_free(list(&count));
    return count;
}

static size_t count_files(void)
{
    return count_entries(path_in(folder, "llmlocal"));
}

static llm_backend *load(int context)
{
    llm_model_spec spec;
    llm_backend *backend = llm_mlx_backend_create(&(llm_mlx_options){sizeof(llm_mlx_options), .num_threads = 1}, &err);
    llm_model_spec_init(&spec, golden("models/chat"));
    spec.id = "tiny\nchat";
    spec.context_length = context;
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    return backend;
}

static void pause_ms(int milliseconds)
{
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000L}, NULL);
}

// ---- Of this process --------------------------------------------------------------------------------------

static void answer(llm_backend *backend)
{
    llm_generation_config config;
    llm_generation_config_init(&config);
    config.max_tokens = 5;
    config.temperature = 0;
    config.ignore_end = true;
    llm_stream *stream = llm_backend_generate(backend, "Hello.", &config, &err);
    assert_ok(llm_stream_consume(stream, NULL, NULL, &err));
    llm_stream_free(stream);
}

static void test_what_a_backend_holds(void **state)
{
    (void)state;
    int count;
    llm_memory memory;
    assert_int_equal(count_holders(), 0);
    int64_t before = (int64_t)time(NULL);
    llm_backend *backend = load(200);
    assert_int_equal(count_holders(), 0); // nobody asked for it
    llm_announcement *a = llm_announcement_create(backend, "test \"quoted\"", &err);
    assert_non_null(a);
    llm_holder *h = list(&count);
    assert_int_equal(count, 1);
    assert_ok(llm_backend_memory(backend, &memory, &err));
    assert_int_equal(h->pid, getpid());
    assert_string_equal(h->program, "test \"quoted\"");
    assert_string_equal(h->model, "tiny\nchat");
    assert_string_equal(h->engine, "cpu");
    assert_int_equal(h->weights_bytes, memory.weights_bytes);
    assert_int_equal(h->kv_bytes, 0);
    assert_int_equal(h->work_bytes, memory.work_bytes);
    assert_true(h->resident_bytes > 1000000);
    assert_int_equal(h->context_tokens, 0);
    assert_int_equal(h->context_length, 200);
    assert_true(h->since >= before && h->since <= (int64_t)time(NULL));
    llm_free(h);
    answer(backend);
    pause_ms(1200);
    h = list(&count);
    assert_ok(llm_backend_memory(backend, &memory, &err));
    assert_true(memory.context_tokens > 5 && memory.context_tokens < 200);
    assert_int_equal(h->context_tokens, memory.context_tokens);
    assert_true(h->kv_bytes > 0);
    assert_int_equal(h->kv_bytes, memory.kv_bytes);
    llm_free(h);
    llm_backend_unload(backend);
    pause_ms(1200);
    assert_int_equal(count_holders(), 0);
    assert_int_equal(count_files(), 1); // it may load again
    llm_announcement_free(a);
    assert_int_equal(count_files(), 0);
    llm_backend_free(backend);
    llm_announcement_free(NULL);
    assert_null(llm_announcement_create(NULL, "x", &err));
    assert_error(err.code, LLM_INVALID_ARGUMENT, "backend");
    assert_null(llm_holders_copy(NULL, &err));
}

static void test_several_backends_of_a_process(void **state)
{
    (void)state;
    int count;
    llm_backend *backends[3];
    llm_announcement *a[3];
    for (int i = 0; i < 3; i++) backends[i] = load(100 + i), a[i] = llm_announcement_create(backends[i], "x", &err);
    llm_holder *h = list(&count);
    assert_int_equal(count, 3);
    assert_int_equal(h[0].context_length + h[1].context_length + h[2].context_length, 303);
    llm_free(h);
    for (int i = 0; i < 3; i++) llm_announcement_free(a[i]), llm_backend_free(backends[i]);
    assert_int_equal(count_files(), 0);
}

// ---- Of others --------------------------------------------------------------------------------------------

static pid_t start_holder(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (!child) {
        llm_backend *backend = load(128);
        llm_announcement *a = llm_announcement_create(backend, "child", &err);
        if (!a || write(ready[1], "x", 1) != 1) _exit(1);
        pause();
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void test_a_killed_process_is_forgotten(void **state)
{
    (void)state;
    int count, status;
    pid_t first = start_holder(), second = start_holder();
    llm_holder *h = list(&count);
    assert_int_equal(count, 2);
    assert_true((h[0].pid == first && h[1].pid == second) || (h[0].pid == second && h[1].pid == first));
    llm_free(h);
    kill(first, SIGKILL);
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_int_equal(count_files(), 2);
    h = list(&count);
    assert_int_equal(count, 1);
    assert_int_equal(h->pid, second);
    assert_string_equal(h->program, "child");
    llm_free(h);
    assert_int_equal(count_files(), 1); // removed
    kill(second, SIGSTOP);              // it hangs, but it is there
    assert_int_equal(count_holders(), 1);
    kill(second, SIGKILL);
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_int_equal(count_holders(), 0);
    assert_int_equal(count_files(), 0);
}

// A file with these contents that somebody holds, as if he were a process of ours.
static int hold(const char *name, const void *data, size_t length)
{
    const char *path = path_in(path_in(folder, "llmlocal"), name);
    write_bytes(path, data, length);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    return fd;
}

static void test_strange_files_are_skipped(void **state)
{
    (void)state;
    static char huge[20 * HOLDER_RECORD];
    char wrong_pid[HOLDER_RECORD + 1];
    buf record = {0};
    llm_holder holder = {.pid = getpid(), .program = "p", .model = "m", .engine = "e", .context_length = 9};
    assert_int_equal(count_holders(), 0); // makes the folder
    const char *inner = path_in(folder, "llmlocal");
    memset(huge, '[', sizeof huge);
    assert_true(holder_write(&holder, &record));
    int held[] = {hold("huge", huge, sizeof huge), hold("junk", "\0\xff{]", 4), hold("empty", "", 0), hold("number", "7", 1),
                  hold("half", record.data, 40), hold("good", record.data, record.length)};
    holder.pid = 2147483000; // of nobody
    assert_true(holder_write(&holder, &record));
    memcpy(wrong_pid, record.data, record.length);
    int nobody = hold("nobody", wrong_pid, record.length);
    assert_int_equal(symlink("/etc/passwd", path_in(inner, "link")), 0);
    assert_int_equal(symlink(path_in(inner, "good"), path_in(inner, "link-to-good")), 0);
    assert_int_equal(mkfifo(path_in(inner, "fifo"), 0600), 0);
    assert_int_equal(mkdir(path_in(inner, "directory"), 0700), 0);
    write_bytes(path_in(inner, "stale"), record.data, record.length);
    size_t files = count_files();
    assert_int_equal(count_holders(), 1); // the good one
    assert_int_equal(count_files(), files - 1); // the stale one is gone
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) close(held[i]);
    close(nobody);
    assert_int_equal(count_holders(), 0);
    assert_true(file_exists("/etc/passwd"));
    buf_free(&record);
}

static void test_records(void **state)
{
    (void)state;
    char *texts, *name = malloc(HOLDER_RECORD);
    buf record = {0};
    llm_holder read, holder = {.pid = 12,
                               .program = "a \"b\" \x1b[31m",
                               .model = "\xe6\x97\xa5\xe6\x9c\xac",
                               .engine = "",
                               .weights_bytes = UINT64_MAX,
                               .kv_bytes = 1,
                               .work_bytes = 2,
                               .resident_bytes = 3,
                               .context_tokens = 4,
                               .context_length = INT32_MAX,
                               .since = 1800000000};
    assert_true(holder_write(&holder, &record));
    assert_int_equal(record.length, HOLDER_RECORD);
    assert_true(holder_read(record.data, record.length, &read, &texts));
    assert_string_equal(read.program, holder.program);
    assert_string_equal(read.model, holder.model);
    assert_string_equal(read.engine, "");
    assert_true(read.weights_bytes == UINT64_MAX && read.kv_bytes == 1 && read.work_bytes == 2 && read.resident_bytes == 3);
    assert_true(read.pid == 12 && read.since == 1800000000 && read.context_tokens == 4 && read.context_length == INT32_MAX);
    mem_free(texts);
    memset(name, 'x', HOLDER_RECORD - 1);
    name[HOLDER_RECORD - 1] = 0;
    holder.model = name;
    assert_false(holder_write(&holder, &record)); // too long: nothing is announced rather than half of it
    static const char *const wrong[] = {"{}", "[]", "null", "{\"pid\":-1}", "{\"pid\":\"1\"}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(holder_read(wrong[i], strlen(wrong[i]), &read, &texts));
    free(name);
    buf_free(&record);
}

// ---- The folder -------------------------------------------------------------------------------------------

static void test_only_a_folder_of_ours_will_do(void **state)
{
    (void)state;
    char *path;
    const char *inner = path_in(folder, "llmlocal");
    struct stat st;
    assert_int_equal(count_holders(), 0);
    assert_int_equal(stat(inner, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(chmod(inner, 0755), 0);
    assert_null(llm_holders_copy(&(int){0}, &err));
    assert_error(err.code, LLM_IO_ERROR, "only this user may enter");
    llm_backend *backend = load(64);
    assert_null(llm_announcement_create(backend, "x", &err));
    assert_error(err.code, LLM_IO_ERROR, inner);
    llm_backend_free(backend);
    rmdir(inner);
    assert_int_equal(symlink("/tmp", inner), 0);
    assert_error(holders_folder(&path, &err), LLM_IO_ERROR, "only this user may enter");
    assert_null(path);
    unlink(inner);
    write_bytes(inner, "x", 1);
    assert_error(holders_folder(&path, &err), LLM_IO_ERROR, "only this user may enter");
    if (geteuid() == 0) {
        unlink(inner);
        assert_int_equal(mkdir(inner, 0700) | chown(inner, 12345, 12345), 0);
        assert_error(holders_folder(&path, &err), LLM_IO_ERROR, "only this user may enter");
    }
    setenv("XDG_RUNTIME_DIR", "/proc/no/such/folder", 1);
    assert_error(holders_folder(&path, &err), LLM_IO_ERROR, "/proc/no/such/folder/llmlocal: No such file");
    char fallback[60];
    snprintf(fallback, sizeof fallback, "/tmp/llmlocal-%lu", (unsigned long)geteuid());
    for (int i = 0; i < 2; i++) { // not set; no path that means anything to others
        if (i) setenv("XDG_RUNTIME_DIR", "relative", 1);
        else unsetenv("XDG_RUNTIME_DIR");
        assert_ok(holders_folder(&path, &err));
        assert_string_equal(path, fallback);
        mem_free(path);
    }
}

static void test_allocations_may_fail(void **state)
{
    (void)state;
    llm_backend *backend = load(64);
    llm_announcement *a = NULL;
    long n = 0;
    for (; !a; n++) {
        mem_fail_after(n);
        a = llm_announcement_create(backend, "x", &err);
        mem_fail_after(-1);
        if (!a) assert_int_equal(err.code, LLM_OUT_OF_MEMORY);
    }
    assert_true(n > 3);
    llm_holder *h = NULL;
    for (n = 0; !h; n++) {
        int count;
        mem_fail_after(n);
        h = llm_holders_copy(&count, &err);
        mem_fail_after(-1);
        if (!h) assert_int_equal(err.code, LLM_OUT_OF_MEMORY);
    }
    llm_free(h);
    llm_announcement_free(a);
    assert_int_equal(count_files(), 0);
    llm_backend_free(backend);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, set_up, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(test_what_a_backend_holds),     in_folder(test_several_backends_of_a_process),
        in_folder(test_a_killed_process_is_forgotten), in_folder(test_strange_files_are_skipped),
        in_folder(test_records),                  in_folder(test_only_a_folder_of_ours_will_do),
        in_folder(test_allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
