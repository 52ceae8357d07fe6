// What the kernel's files say about memory: /proc, both versions of control groups, and files that make no sense.
#include "testing.h"
#include "base/system_memory.h"
#include "fake_system.h"

static llm_error err;
static llm_system_memory memory;

static void expect(const char *root, uint64_t total, uint64_t available)
{
    assert_ok(system_memory_read(root, &memory, &err));
    if (memory.total_bytes != total || memory.available_bytes != available)
        fail_msg("total %llu MiB, available %llu MiB; not %llu and %llu", (unsigned long long)(memory.total_bytes / MIB),
                 (unsigned long long)(memory.available_bytes / MIB), (unsigned long long)(total / MIB),
                 (unsigned long long)(available / MIB));
}

static void test_this_machine(void **state)
{
    (void)state;
    memory_signs signs;
    assert_ok(llm_system_memory_read(&memory, &err));
    assert_true(memory.total_bytes > 64 * MIB);
    assert_true(memory.available_bytes > 0 && memory.available_bytes <= memory.total_bytes);
    assert_error(llm_system_memory_read(NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    memory_signs_read("", &signs);
}

static void test_a_machine_without_groups(void **state)
{
    const char *root = *state;
    assert_error(system_memory_read(root, &memory, &err), LLM_IO_ERROR, "meminfo");
    put_meminfo(root);
    expect(root, 16 * GIB, 8 * GIB);
    assert_true(memory.stall_percent <= 0);
    put_stall(root, "proc/pressure/memory", 12.5, 1000);
    expect(root, 16 * GIB, 8 * GIB);
    assert_true(memory.stall_percent > 12.4f && memory.stall_percent < 12.6f);
    // A kernel before 3.14.
    put(root, "proc/meminfo", "MemTotal: 2048 kB\nMemFree: 100 kB\nBuffers: 20 kB\nCached: 3 kB\n");
    expect(root, 2 * MIB, 123 * 1024);
}

static void test_version_2_up_to_the_root(void **state)
{
    const char *root = *state;
    put_meminfo(root);
    put_version2(root, "/outer/inner");
    expect(root, 16 * GIB, 8 * GIB); // no controller
    put(root, "sys/fs/cgroup/outer/inner/memory.max", "max\n");
    put(root, "sys/fs/cgroup/outer/inner/memory.current", "1073741824\n");
    expect(root, 16 * GIB, 8 * GIB);
    put(root, "sys/fs/cgroup/outer/memory.max", "4294967296\n");
    put(root, "sys/fs/cgroup/outer/memory.current", "3221225472\n");
    expect(root, 4 * GIB, 1 * GIB);
    put(root, "sys/fs/cgroup/outer/memory.stat", "anon 5\nfile 6\ninactive_file 1073741824\nactive_file 536870912\n");
    expect(root, 4 * GIB, 5 * GIB / 2); // caches can be had
    put(root, "sys/fs/cgroup/outer/memory.high", "3758096384\n");
    expect(root, 7 * GIB / 2, 2 * GIB);
    put(root, "sys/fs/cgroup/outer/inner/memory.max", "2147483648\n");
    expect(root, 2 * GIB, 1 * GIB);
    put(root, "sys/fs/cgroup/outer/inner/memory.max", "1000000\n"); // less than what is in use
    expect(root, 1000000, 0);
}

static void test_version_1(void **state)
{
    const char *root = *state;
    put_meminfo(root);
    put(root, "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/a/b\n0::/\n");
    put(root, "proc/self/mountinfo",
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put(root, "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    put(root, "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "3221225472\n");
    put(root, "sys/fs/cgroup/memory/a/memory.usage_in_bytes", "2147483648\n");
    put(root, "sys/fs/cgroup/memory/a/memory.stat", "cache 1\ntotal_inactive_file 104857600\ntotal_active_file 0\n");
    expect(root, 3 * GIB, 1 * GIB + 100 * MIB);
}

static void test_a_container_sees_its_part(void **state)
{
    const char *root = *state;
    put_meminfo(root);
    put(root, "proc/self/cgroup", "4:memory:/docker/abc/inner\n");
    put(root, "proc/self/mountinfo", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
    put(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n");
    put(root, "sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "1073741824\n");
    expect(root, 1 * GIB, 1 * GIB);
    // Outside of the mount's part, or above the namespace: what the mount itself says.
    put(root, "proc/self/cgroup", "4:memory:/docker/abcdef\n");
    expect(root, 2 * GIB, 1 * GIB);
    put(root, "proc/self/cgroup", "4:memory:/../../etc\n");
    expect(root, 2 * GIB, 1 * GIB);
}

static void test_files_that_make_no_sense(void **state)
{
    const char *root = *state;
    static const char *const odd[] = {"", "max", "-1\n", "18446744073709551616\n", "99999999999999999999999\n", "zero\n", "\n\n"};
    put_meminfo(root);
    put_version2(root, "/g");
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        put(root, "sys/fs/cgroup/g/memory.max", odd[i]);
        put(root, "sys/fs/cgroup/g/memory.current", odd[i]);
        put(root, "sys/fs/cgroup/g/memory.stat", odd[i]);
        expect(root, 16 * GIB, 8 * GIB);
    }
    static char line[100000];
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    put(root, "sys/fs/cgroup/g/memory.max", "1073741824\n");
    put(root, "sys/fs/cgroup/g/memory.current", "0\n");
    put(root, "sys/fs/cgroup/g/memory.stat", line);
    expect(root, 1 * GIB, 1 * GIB);
    put(root, "sys/fs/cgroup/g/memory.stat", "inactive_file 18446744073709551615\nactive_file 18446744073709551615\n");
    expect(root, 1 * GIB, 1 * GIB);
    // Lines that are too long are skipped, others still read.
    char *text = malloc(sizeof line + 200);
    snprintf(text, sizeof line + 200, "%s30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", line);
    put(root, "proc/self/mountinfo", text);
    expect(root, 1 * GIB, 1 * GIB);
    free(text);
    static const char *const mounts[] = {"", "-\n", " - \n", "1 2 3 - cgroup2\n", "1 2 3 / - cgroup2 x y\n", "a b c d e - cgroup2 x\n"};
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        put(root, "proc/self/mountinfo", mounts[i]);
        expect(root, 16 * GIB, 8 * GIB);
    }
    static const char *const members[] = {"", ":", "0:", "0::", "::", "0:x:/g\n", "x::/g\n"};
    put_version2(root, "/g");
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        put(root, "proc/self/cgroup", members[i]);
        expect(root, 16 * GIB, 8 * GIB);
    }
    static const char *const infos[] = {"", "MemTotal: x\n", "MemTotal: 18446744073709551615 kB\n", "Total: 5 kB\n"};
    for (size_t i = 0; i < sizeof infos / sizeof *infos; i++) {
        put(root, "proc/meminfo", infos[i]);
        assert_error(system_memory_read(root, &memory, &err), LLM_IO_ERROR, "meminfo");
    }
    put(root, "proc/meminfo", "MemTotal: 1024 kB\nMemAvailable: 4096 kB\n"); // more than there is
    expect(root, 1 * MIB, 1 * MIB);
}

static void test_stalls(void **state)
{
    (void)state;
    memory_stall stall;
    assert_true(memory_stall_parse("some avg10=1.50 avg60=0.00 avg300=0.00 total=123456\nfull avg10=0.00 total=9\n", &stall));
    assert_true(stall.percent > 1.49 && stall.percent < 1.51);
    assert_int_equal(stall.total_us, 123456);
    static const char *const wrong[] = {"", "some", "full avg10=1 total=1\n", "some avg10=1\n", "some total=1\n",
                                        "some avg10=-1 total=1\n", "some avg10=nan total=1\n", "some avg10=101 total=1\n",
                                        "some avg10=1 total=x\n", "some avg10=1 total=99999999999999999999\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (memory_stall_parse(wrong[i], &stall)) fail_msg("taken: %s", wrong[i]);
}

static void test_signs(void **state)
{
    const char *root = *state;
    memory_signs signs;
    memory_signs_read(root, &signs);
    assert_false(signs.has_stall);
    put_version2(root, "/a/b");
    put(root, "sys/fs/cgroup/a/b/memory.events", "low 9\nhigh 3\nmax 100\noom 1\noom_kill 50\n");
    put(root, "sys/fs/cgroup/a/memory.events", "low 9\nhigh 4\nmax 100\noom 0\n");
    put_stall(root, "sys/fs/cgroup/a/b/memory.pressure", 0, 500);
    memory_signs_read(root, &signs);
    assert_int_equal(signs.throttled, 7);
    assert_int_equal(signs.out_of_memory, 1);
    assert_true(signs.has_stall && signs.stall_us == 500);
    put_stall(root, "proc/pressure/memory", 0, 700);
    memory_signs_read(root, &signs);
    assert_int_equal(signs.stall_us, 700);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_machine),
        in_folder(test_a_machine_without_groups),
        in_folder(test_version_2_up_to_the_root),
        in_folder(test_version_1),
        in_folder(test_a_container_sees_its_part),
        in_folder(test_files_that_make_no_sense),
        cmocka_unit_test(test_stalls),
        in_folder(test_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
