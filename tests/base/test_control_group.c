// How many processors the control groups leave: their own quota and those of the groups around them.
#include "testing.h"
#include "fake_system.h"
#include "base/cpu.h"

static void test_version_2_up_to_the_root(void **state)
{
    const char *root = *state;
    assert_int_equal(cpu_quota(root), 0);
    put_version2(root, "/outer/inner");
    assert_int_equal(cpu_quota(root), 0); // no controller
    put(root, "sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
    assert_int_equal(cpu_quota(root), 0);
    put(root, "sys/fs/cgroup/outer/cpu.max", "350000 100000\n");
    assert_int_equal(cpu_quota(root), 4); // a part of a processor is one
    put(root, "sys/fs/cgroup/outer/inner/cpu.max", "100000 50000\n");
    assert_int_equal(cpu_quota(root), 2);
    put(root, "sys/fs/cgroup/outer/inner/cpu.max", "900000 100000\n");
    assert_int_equal(cpu_quota(root), 4); // the outer group's is less
}

static void test_version_1(void **state)
{
    const char *root = *state;
    put(root, "proc/self/cgroup", "5:cpu,cpuacct:/x/y\n4:memory:/a\n0::/\n");
    put(root, "proc/self/mountinfo",
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpuacct,cpu\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put(root, "sys/fs/cgroup/cpu/x/y/cpu.cfs_quota_us", "-1\n"); // none
    put(root, "sys/fs/cgroup/cpu/x/y/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpu_quota(root), 0);
    put(root, "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "60000\n");
    put(root, "sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "20000\n");
    assert_int_equal(cpu_quota(root), 3);
}

static void test_senseless_files_are_no_limit(void **state)
{
    const char *root = *state;
    static const char *const texts[] = {"", "x", "-5 100000", "100000 0", "100000 -1", "0 100000", "99999999999999999999 100000", "9223372036854775807 1"};
    put_version2(root, "/");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put(root, "sys/fs/cgroup/cpu.max", texts[i]);
        int quota = cpu_quota(root);
        if (quota < 0 || (i < 6 && quota != 0)) fail_msg("\"%s\": %d", texts[i], quota);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_version_2_up_to_the_root, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_version_1, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_senseless_files_are_no_limit, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
