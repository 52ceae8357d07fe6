// A pull by the command, killed again and again; two at once. LLMLOCAL_COMMAND says where the command is.
#include "testing.h"
#include "models/digest.h"
#include "hub_server.h"
#include <time.h>

#define ID "mlx-community/Large"
enum { WEIGHTS = 6 << 20, KILLS = 50 };

static char *folder;

static int start_test(void **state)
{
    (void)state;
    if (start_fresh(&folder)) return -1;
    put_model(ID, WEIGHTS);
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    return remove_folder((void **)&folder);
}

static pid_t start_pull(void)
{
    const char *command = getenv("LLMLOCAL_COMMAND");
    if (!command || access(command, X_OK)) fail_msg("LLMLOCAL_COMMAND is no program");
    pid_t child = fork();
    if (child) return child;
    FILE *out = freopen(path_in(folder, "out"), "a", stdout),
         *errors = freopen(path_in(folder, "errors"), "a", stderr);
    if (out && errors) execl(command, "llmlocal", "pull", ID, "--verbose", (char *)NULL);
    _exit(127);
}

static int exit_code(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) fail_msg("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool find_in(const char *path, const char *end, char *found, size_t capacity)
{
    bool there = false;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name), tail = strlen(end);
        if (entry->d_name[0] == '.' || length < tail || strcmp(entry->d_name + length - tail, end) != 0)
            continue;
        snprintf(found, capacity, "%s/%s", path, entry->d_name);
        there = true;
    }
    if (dir) closedir(dir);
    return there;
}

static void assert_whole(void)
{
    char snapshot[600];
    assert_true(find_in(path_in(folder, "home/hub/models--mlx-community--Large/snapshots"), "", snapshot,
                        sizeof snapshot));
    assert_true(same_file(path_in(snapshot, "model.safetensors"),
                          path_in(path_in(server.root, ID), "model.safetensors")));
    assert_true(
        same_file(path_in(snapshot, "config.json"), path_in(path_in(server.root, ID), "config.json")));
    char partial[600];
    assert_false(find_in(path_in(folder, "home/hub/models--mlx-community--Large/blobs"), ".incomplete",
                         partial, sizeof partial));
}

// A snapshot exists only when all of it does, at whatever moment the process ends.
static void assert_no_half_snapshot(void)
{
    char snapshot[600];
    if (!find_in(path_in(folder, "home/hub/models--mlx-community--Large/snapshots"), "", snapshot,
                 sizeof snapshot))
        return;
    if (file_exists(path_in(snapshot, "config.json"))) assert_whole();
}

static long partial_size(void)
{
    char partial[600];
    if (!find_in(path_in(folder, "home/hub/models--mlx-community--Large/blobs"), ".incomplete", partial,
                 sizeof partial))
        return 0;
    FILE *file = fopen(partial, "r");
    if (!file) return 0;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    return size;
}

static void test_killed_fifty_times(void **state)
{
    int killed = 0, went_on = 0;
    (void)state;
    // About ten seconds in all, so that fifty kills fall everywhere in it.
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"rate\":600000,\"times\":1000}]");
    for (int i = 0; i < 2 * KILLS && killed < KILLS; i++) {
        long before = partial_size();
        pid_t child = start_pull();
        nanosleep(&(struct timespec){.tv_nsec = (20 + i * 37 % 250) * 1000000L}, NULL);
        kill(child, SIGKILL);
        int code = exit_code(child);
        killed += code == 128 + SIGKILL;
        went_on += partial_size() > before && before > 0;
        assert_no_half_snapshot();
    }
    server_faults("[]");
    assert_int_equal(exit_code(start_pull()), 0);
    assert_whole();
    print_message("killed %d times, %d of them further than the time before\n", killed, went_on);
    assert_int_equal(killed, KILLS);
    assert_true(went_on > 5);
}

static void test_two_at_once(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"rate\":6000000,\"times\":1000}]");
    pid_t first = start_pull(), second = start_pull();
    assert_int_equal(exit_code(first), 0);
    assert_int_equal(exit_code(second), 0);
    assert_whole();
    char *log = server_log();
    assert_int_equal(count_in(log, "\"side\": \"cdn\""), 1); // one of them waited
    free(log);
}

static void test_one_of_two_dies(void **state)
{
    (void)state;
    server_faults("[{\"on\":\"cdn\",\"path\":\"model\",\"rate\":6000000,\"times\":1000}]");
    pid_t first = start_pull();
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    pid_t second = start_pull();
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    kill(first, SIGKILL);
    exit_code(first);
    assert_int_equal(exit_code(second), 0); // takes over, from where the first one was
    assert_whole();
    char *log = server_log();
    assert_int_equal(count_in(log, "\"side\": \"cdn\""), 2);
    assert_true(count_in(log, "\"range\": \"bytes=") > 0);
    free(log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_killed_fifty_times), TEST(test_two_at_once),
                                       TEST(test_one_of_two_dies)};
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
