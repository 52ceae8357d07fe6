// Packed weights give back what the files hold, and refuse what they cannot hold.
#include "testing.h"
#include "engine/cpu/pack.h"
#include "base/mem.h"
#include "engine/random_weights.h"

static llm_error err;
static const int all_bits[] = {2, 3, 4, 5, 6, 8}, all_groups[] = {32, 64, 128};
static const dtype float_types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};

// Packs rows [row_begin, row_begin + rows) and compares every one of them.
static void check_rows(const random_weights *w, int row_begin, int rows)
{
    packed_matrix m;
    assert_ok(packed_matrix_create(&m, &w->view, rows, &err));
    assert_int_equal(m.num_tiles, (rows + 15) / 16);
    assert_int_equal(m.tile_bytes % 64, 0);
    assert_int_equal((uintptr_t)m.data % 64, 0);
    assert_true(packed_matrix_bytes(&m) == m.tile_bytes * (size_t)m.num_tiles);
    int middle = m.num_tiles / 2;
    packed_matrix_fill(&m, &w->view, row_begin, middle, m.num_tiles);
    packed_matrix_fill(&m, &w->view, row_begin, 0, middle);
    float *row = malloc((size_t)m.cols * sizeof *row);
    for (int r = 0; r < m.num_tiles * 16; r++) {
        packed_matrix_row(&m, r, row);
        for (int col = 0; col < m.cols; col++) {
            float expected = r < rows ? random_weights_value(w, row_begin + r, col) : 0.0f;
            if (memcmp(&row[col], &expected, sizeof expected) != 0)
                fail_msg("bits %d group %d type %d row %d col %d: %g, not %g", m.bits, m.group_size, (int)m.type,
                         r, col, (double)row[col], (double)expected);
        }
    }
    free(row);
    packed_matrix_free(&m);
    assert_null(m.data);
}

static void test_affine_rows_come_back(void **state)
{
    (void)state;
    for (size_t b = 0; b < 6; b++)
        for (size_t g = 0; g < 3; g++)
            for (size_t s = 0; s < 3; s++) {
                int rows = random_int(1, 40), cols = all_groups[g] * random_int(1, 3), skip = random_int(0, 3);
                random_weights w = random_affine(all_bits[b], all_groups[g], float_types[s], rows + skip, cols);
                check_rows(&w, skip, rows);
                random_weights_free(&w);
            }
}

static void test_dense_rows_come_back(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++)
        for (size_t t = 0; t < 3; t++) {
            int rows = random_int(1, 40), skip = random_int(0, 3);
            random_weights w = random_dense(float_types[t], rows + skip, random_int(1, 70));
            check_rows(&w, skip, rows);
            random_weights_free(&w);
        }
}

static void test_unknown_kinds_are_refused(void **state)
{
    (void)state;
    packed_matrix m;
    weight_view good = {.type = DTYPE_U32,
                        .rows = 16,
                        .cols = 128,
                        .bits = 4,
                        .group_size = 64,
                        .scale_type = DTYPE_F16},
                v = good;
    assert_ok(packed_matrix_create(&m, &good, 16, &err));
    packed_matrix_free(&m);
    assert_error(packed_matrix_create(&m, &good, 17, &err), LLM_INVALID_ARGUMENT, "17 rows");
    assert_error(packed_matrix_create(&m, &good, 0, &err), LLM_INVALID_ARGUMENT, "0 rows");
    v.bits = 7;
    assert_error(packed_matrix_create(&m, &v, 16, &err), LLM_UNSUPPORTED_FORMAT, "7 bits");
    v = good, v.group_size = 16;
    assert_error(packed_matrix_create(&m, &v, 16, &err), LLM_UNSUPPORTED_FORMAT, "groups of 16");
    v = good, v.cols = 96;
    assert_error(packed_matrix_create(&m, &v, 16, &err), LLM_UNSUPPORTED_FORMAT, "over 96 inputs");
    v = good, v.scale_type = DTYPE_I8;
    assert_error(packed_matrix_create(&m, &v, 16, &err), LLM_UNSUPPORTED_FORMAT, "scales of type I8");
    v = good, v.type = DTYPE_F64;
    assert_error(packed_matrix_create(&m, &v, 16, &err), LLM_UNSUPPORTED_FORMAT, "F64");
}

static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    packed_matrix m;
    weight_view v = {.type = DTYPE_F32, .rows = 16, .cols = 16};
    mem_fail_after(0);
    llm_status status = packed_matrix_create(&m, &v, 16, &err);
    mem_fail_after(-1);
    assert_int_equal(status, LLM_OUT_OF_MEMORY);
    assert_null(m.data);
    packed_matrix_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_affine_rows_come_back),
        cmocka_unit_test(test_dense_rows_come_back),
        cmocka_unit_test(test_unknown_kinds_are_refused),
        cmocka_unit_test(test_no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
