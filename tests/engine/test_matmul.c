// The matrix products of every instruction set: against double precision, and bit for bit against plain C,
// whatever the number of tokens in a call and the split of tiles among calls.
#include "testing.h"
#include "base/mem.h"
#include "engine/cpu/kernels/kernels.h"
#include "engine/random_weights.h"
#include <math.h>
#include <stdio.h>

static llm_error err;
static const int all_bits[] = {2, 3, 4, 5, 6, 8}, all_groups[] = {32, 64, 128};
static const dtype float_types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
static const kernels *tables[8];
static int num_tables;

enum { MAX_TOKENS = 17 };

typedef struct problem {
    random_weights weights;
    packed_matrix packed;
    int rows, cols, num_tokens, width; // width: rows of whole tiles
    size_t x_stride, y_stride;
    float *x; // [num_tokens][x_stride]
    quantized_rows quantized;
    float *y, *expected; // [num_tokens][y_stride]
} problem;

static quantized_rows new_quantized(int num_rows, int cols, int group_size)
{
    size_t count = (size_t)num_rows * (size_t)cols, groups = count / (size_t)group_size;
    return (quantized_rows){.num_rows = num_rows,
                            .cols = cols,
                            .group_size = group_size,
                            .hi = mem_alloc_aligned(64, count),
                            .lo = mem_alloc_aligned(64, count),
                            .scale = malloc(groups * sizeof(float)),
                            .sum = malloc(groups * sizeof(float)),
                            .narrow = malloc((size_t)num_rows),
                            .wide = malloc(count / 32)};
}

static void free_quantized(quantized_rows *q)
{
    mem_free(q->hi), mem_free(q->lo), free(q->scale), free(q->sum), free(q->narrow), free(q->wide);
}

// Activations that make the largest sums; `sum` follows them.
static void set_extremes(quantized_rows *q)
{
    int count = q->num_rows * q->cols;
    memset(q->hi, random_bits() % 2 ? 127 : -127, (size_t)count);
    memset(q->lo, random_bits() % 2 ? 63 : -64, (size_t)count);
    if (random_bits() % 2) { // narrow rows, all of whose quads are wide, or none
        memset(q->narrow, 1, (size_t)q->num_rows);
        memset(q->wide, 255, (size_t)count / 32);
    }
    if (q->narrow[0] && random_bits() % 2) {
        memset(q->wide, 0, (size_t)count / 32);
        memset(q->hi, 0, (size_t)count);
        memset(q->lo, random_bits() % 2 ? 127 : -127, (size_t)count);
    }
    for (int group = 0; group < count / q->group_size; group++)
        q->sum[group] = (float)(q->group_size * (128 * q->hi[0] + q->lo[0])) * q->scale[group];
}

static problem new_problem(random_weights weights, int num_tokens)
{
    problem p = {
        .weights = weights, .rows = weights.view.rows, .cols = weights.view.cols, .num_tokens = num_tokens};
    assert_ok(packed_matrix_create(&p.packed, &weights.view, p.rows, &err));
    packed_matrix_fill(&p.packed, &weights.view, 0, 0, p.packed.num_tiles);
    p.width = p.packed.num_tiles * TILE_ROWS;
    p.x_stride = (size_t)(p.cols + random_int(0, 5));
    p.y_stride = (size_t)(p.width + random_int(0, 5));
    p.x = malloc((size_t)num_tokens * p.x_stride * sizeof(float));
    p.y = malloc((size_t)num_tokens * p.y_stride * sizeof(float));
    p.expected = malloc((size_t)num_tokens * p.y_stride * sizeof(float));
    for (size_t i = 0; i < (size_t)num_tokens * p.x_stride; i++) {
        float wild = random_bits() % 50 ? 1.0f : 30.0f;
        p.x[i] = random_bits() % 20 ? random_unit() * wild : 0.0f;
    }
    if (weights.view.type == DTYPE_U32) {
        p.quantized = new_quantized(num_tokens, p.cols, weights.view.group_size);
        uint64_t kind = random_bits() % 4; // rows of one kind, of both, or extremes
        for (int t = 0; t < num_tokens; t++) {
            bool narrow = kind == 0 || (kind == 1 && random_bits() % 2);
            tables[0]->quantize_rows(p.x + (size_t)t * p.x_stride, p.x_stride, 1, narrow, &p.quantized, t);
        }
        if (kind == 3) set_extremes(&p.quantized);
    }
    return p;
}

static void free_problem(problem *p)
{
    if (p->quantized.hi) free_quantized(&p->quantized);
    packed_matrix_free(&p->packed);
    random_weights_free(&p->weights);
    free(p->x), free(p->y), free(p->expected);
}

static void multiply(const kernels *k, const problem *p, bool exact, int tile_begin, int tile_end, int token_begin,
                     int token_end, float *y)
{
    if (exact)
        k->matmul_float(&p->packed, tile_begin, tile_end, p->x, p->x_stride, token_begin, token_end, y,
                        p->y_stride);
    else
        k->matmul_affine(&p->packed, tile_begin, tile_end, &p->quantized, token_begin, token_end, y, p->y_stride);
}

// The activation that a product sees, as a double.
static double activation(const problem *p, bool exact, int token, int col)
{
    if (exact) return (double)p->x[(size_t)token * p->x_stride + (size_t)col];
    const quantized_rows *q = &p->quantized;
    size_t at = (size_t)(token * p->cols + col), group = at / (size_t)q->group_size;
    return (128 * q->hi[at] + q->lo[at]) * (double)q->scale[group];
}

// One output in double precision, and a bound for what float32 arithmetic may be away from it.
// Exact: a sum of n products has a relative error of n * 2^-24 of the sum of magnitudes, and an affine weight
// comes with two roundings, of |scale * q| + |weight|. Integer: two products and roundings a group instead of n.
static void reference(const problem *p, bool exact, int token, int row, double *value, double *bound)
{
    double sum = 0, magnitude = 0;
    const weight_view *v = &p->weights.view;
    for (int col = 0; col < p->cols; col++) {
        double x = activation(p, exact, token, col), weight, size;
        if (v->type == DTYPE_U32) {
            float scale, bias;
            random_weights_group(&p->weights, row, col, &scale, &bias);
            double scaled = (double)scale * random_weights_q(&p->weights, row, col);
            weight = scaled + (double)bias, size = fabs(scaled) + fabs((double)bias);
        } else {
            weight = (double)random_weights_value(&p->weights, row, col), size = fabs(weight);
        }
        sum += weight * x;
        magnitude += size * fabs(x);
    }
    int operations = exact ? p->cols / 2 + 4 : 2 * (p->cols / v->group_size) + 4;
    *value = sum;
    *bound = magnitude * operations * 0x1p-24 + 1e-37;
}

static void check_against_double(const problem *p, bool exact)
{
    multiply(tables[0], p, exact, 0, p->packed.num_tiles, 0, p->num_tokens, p->expected);
    for (int token = 0; token < p->num_tokens; token++)
        for (int row = 0; row < p->width; row++) {
            double value = 0, bound = 0;
            float got = p->expected[(size_t)token * p->y_stride + (size_t)row];
            if (row < p->rows) reference(p, exact, token, row, &value, &bound);
            if (!(fabs((double)got - value) <= bound))
                fail_msg("%d bits group %d, %d x %d, token %d row %d: %.9g, not %.9g +- %.2g", p->packed.bits,
                         p->packed.group_size, p->rows, p->cols, token, row, (double)got, value, bound);
        }
}

static void compare_with_scalar(const kernels *k, const problem *p, bool exact, const char *how)
{
    for (int token = 0; token < p->num_tokens; token++) {
        size_t at = (size_t)token * p->y_stride;
        if (memcmp(p->y + at, p->expected + at, (size_t)p->width * sizeof(float)) == 0) continue;
        for (int row = 0; row < p->width; row++)
            if (memcmp(&p->y[at + (size_t)row], &p->expected[at + (size_t)row], sizeof(float)) != 0)
                fail_msg("%s %s, %s: type %d, %d bits group %d scales %d, %d x %d, %d tokens: token %d row %d is "
                         "%.9g, not %.9g",
                         k->isa, exact ? "float" : "int", how, (int)p->packed.type, p->packed.bits,
                         p->packed.group_size, (int)p->packed.scale_type, p->rows, p->cols, p->num_tokens, token,
                         row, (double)p->y[at + (size_t)row], (double)p->expected[at + (size_t)row]);
    }
}

// All at once, then in random pieces: the same bits.
static void check_all_tables(problem *p, bool exact)
{
    size_t bytes = (size_t)p->num_tokens * p->y_stride * sizeof(float);
    check_against_double(p, exact);
    for (int i = 0; i < num_tables; i++) {
        memset(p->y, 0xEE, bytes);
        multiply(tables[i], p, exact, 0, p->packed.num_tiles, 0, p->num_tokens, p->y);
        compare_with_scalar(tables[i], p, exact, "at once");
        memset(p->y, 0xEE, bytes);
        for (int tile = 0, next; tile < p->packed.num_tiles; tile = next) {
            next = random_int(tile + 1, p->packed.num_tiles);
            for (int token = 0, end; token < p->num_tokens; token = end) {
                end = random_int(token + 1, p->num_tokens);
                multiply(tables[i], p, exact, tile, next, token, end, p->y);
            }
        }
        compare_with_scalar(tables[i], p, exact, "in pieces");
    }
}

static void check_affine(bool exact)
{
    for (size_t b = 0; b < 6; b++)
        for (size_t g = 0; g < 3; g++)
            for (size_t s = 0; s < 3; s++)
                for (int num_tokens = 1; num_tokens <= MAX_TOKENS; num_tokens++) {
                    int rows = random_int(1, 70), cols = all_groups[g] * (num_tokens < MAX_TOKENS ? random_int(1, 4) : random_int(21, 45)); // also wider than a panel
                    problem p = new_problem(random_affine(all_bits[b], all_groups[g], float_types[s], rows, cols),
                                            num_tokens);
                    check_all_tables(&p, exact);
                    free_problem(&p);
                }
}

static void test_integer_products_of_all_kinds(void **state)
{
    (void)state;
    check_affine(false);
}

static void test_float_products_of_affine_weights(void **state)
{
    (void)state;
    check_affine(true);
}

static void test_float_products_of_dense_weights(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++)
        for (int num_tokens = 1; num_tokens <= 2 * MAX_TOKENS; num_tokens++)
            for (int round = 0; round < 3; round++) {
                problem p =
                    new_problem(random_dense(float_types[t], random_int(1, 70), random_int(1, 200)), num_tokens);
                check_all_tables(&p, true);
                free_problem(&p);
            }
}

// Long rows: many passes over the tokens, sums that lose no bits.
static void test_long_rows(void **state)
{
    (void)state;
    for (size_t b = 0; b < 6; b++) {
        problem p = new_problem(random_affine(all_bits[b], 128, DTYPE_BF16, 48, 128 * 90), 15);
        check_all_tables(&p, false);
        check_all_tables(&p, true);
        free_problem(&p);
    }
}

// Where hi may be 0, and where lo then has 8 bits; at most one quad in eight keeps hi.
static void check_wide_quads(const quantized_rows *q, int row, bool narrow)
{
    int count = 0, at = row * q->cols;
    assert_int_equal(q->narrow[row], narrow);
    for (int quad = 0; quad < q->cols / 4; quad++) {
        bool wide = q->wide[(at + 4 * quad) / 32] >> quad % 8 & 1;
        count += wide;
        for (int i = at + 4 * quad; i < at + 4 * quad + 4; i++) {
            if (!wide) assert_int_equal(q->hi[i], 0);
            assert_true(wide ? q->lo[i] >= -64 && q->lo[i] <= 63 : q->lo[i] >= -127);
        }
    }
    assert_true(narrow ? count <= q->cols / 4 / 8 : count == q->cols / 4);
}

static void check_quantised(const float *x, size_t stride, int rows, int cols, int group_size, bool narrow, bool finite)
{
    quantized_rows expected = new_quantized(rows + 1, cols, group_size);
    size_t count = (size_t)(rows * cols), groups = count / (size_t)group_size, skip = (size_t)cols;
    size_t skip_groups = skip / (size_t)group_size;
    tables[0]->quantize_rows(x, stride, rows, narrow, &expected, 1);
    for (int i = 1; i < num_tables; i++) {
        quantized_rows got = new_quantized(rows + 1, cols, group_size);
        int middle = rows / 2;
        tables[i]->quantize_rows(x, stride, middle, narrow, &got, 1);
        tables[i]->quantize_rows(x + (size_t)middle * stride, stride, rows - middle, narrow, &got, 1 + middle);
        assert_memory_equal(got.hi + skip, expected.hi + skip, count);
        assert_memory_equal(got.lo + skip, expected.lo + skip, count);
        assert_memory_equal(got.narrow + 1, expected.narrow + 1, (size_t)rows);
        assert_memory_equal(got.wide + skip / 32, expected.wide + skip / 32, count / 32);
        assert_memory_equal(got.scale + skip_groups, expected.scale + skip_groups, groups * sizeof(float));
        assert_memory_equal(got.sum + skip_groups, expected.sum + skip_groups, groups * sizeof(float));
        free_quantized(&got);
    }
    for (int row = 0; row < rows; row++) {
        if (finite) check_wide_quads(&expected, row + 1, narrow);
        for (int col = 0; col < cols; col++) {
            size_t at = skip + (size_t)(row * cols + col);
            float scale = expected.scale[at / (size_t)group_size], value = x[(size_t)row * stride + (size_t)col];
            int q = 128 * expected.hi[at] + expected.lo[at];
            assert_true(abs(q) <= 16319);
            if (!isfinite(scale)) continue;
            // half a step, and the roundings of scale, its inverse and the product: 3 * 2^-24 of at most 16319
            // steps
            if (fabs((double)value - q * (double)scale) > 0.5032 * (double)scale + 0x1p-100)
                fail_msg("%g became %d * %g", (double)value, q, (double)scale);
        }
    }
    free_quantized(&expected);
}

static void test_quantised_activations(void **state)
{
    (void)state;
    static const float specials[] = {0.0f, -0.0f, 1e-38f, -1e-42f, 1e-31f, 3.4e38f, -3.4e38f, INFINITY, -INFINITY};
    for (int round = 0; round < 400; round++) {
        int group_size = all_groups[round % 3], rows = random_int(1, 5), cols = group_size * random_int(1, 4);
        size_t stride = (size_t)(cols + random_int(0, 3)), count = (size_t)rows * stride;
        float *x = malloc(count * sizeof *x), scale = exp2f((float)random_int(-110, 100));
        for (size_t i = 0; i < count; i++) {
            x[i] = random_bits() % 8 ? random_unit() * scale : 0.0f;
            if (round >= 200 && random_bits() % 40 == 0) x[i] = specials[random_bits() % 9];
            if (round >= 300 && random_bits() % 60 == 0) x[i] = bits_to_float((uint32_t)random_bits()); // NaNs too
        }
        check_quantised(x, stride, rows, cols, group_size, false, round < 200);
        check_quantised(x, stride, rows, cols, group_size, true, round < 200);
        free(x);
    }
}

// x / scale that lies half way goes to the even neighbour.
static void test_ties_round_to_even(void **state)
{
    (void)state;
    float x[32] = {16319.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 64.5f, 63.5f, -64.5f};
    static const int expected[] = {16319, 0, 2, 2, 0, -2, -2, 64, 64, -64};
    for (int i = 0; i < num_tables; i++) {
        quantized_rows q = new_quantized(1, 32, 32);
        tables[i]->quantize_rows(x, 32, 1, false, &q, 0);
        assert_true(q.scale[0] == 1.0f);
        for (int k = 0; k < 10; k++) assert_int_equal(128 * q.hi[k] + q.lo[k], expected[k]);
        free_quantized(&q);
    }
}

// A NaN or an infinity is not swallowed: the products of its group show it.
static void test_overflows_stay_visible(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < num_tables; i++)
        for (int k = 0; k < 3; k++) {
            problem p = new_problem(random_affine(4, 32, DTYPE_F16, 16, 96), 2);
            p.x[40] = bad[k];
            tables[i]->quantize_rows(p.x, p.x_stride, 2, random_bits() % 2, &p.quantized, 0);
            tables[i]->matmul_affine(&p.packed, 0, 1, &p.quantized, 0, 2, p.y, p.y_stride);
            for (int row = 0; row < 16; row++) {
                assert_false(isfinite(p.y[row]));
                assert_true(isfinite(p.y[p.y_stride + (size_t)row]));
            }
            free_problem(&p);
        }
}

static void test_the_wanted_table_is_selected(void **state)
{
    (void)state;
    unsetenv("LLMLOCAL_ISA");
    assert_string_equal(kernels_select()->isa, tables[num_tables - 1]->isa);
    for (int i = 0; i < num_tables; i++) {
        setenv("LLMLOCAL_ISA", tables[i]->isa, 1);
        assert_ptr_equal(kernels_select(), tables[i]);
    }
    setenv("LLMLOCAL_ISA", "abacus", 1);
    assert_string_equal(kernels_select()->isa, tables[num_tables - 1]->isa);
    unsetenv("LLMLOCAL_ISA");
}

int main(void)
{
    num_tables = kernels_available(tables, 8);
    for (int i = 0; i < num_tables; i++) printf("testing %s\n", tables[i]->isa);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integer_products_of_all_kinds),
        cmocka_unit_test(test_float_products_of_affine_weights),
        cmocka_unit_test(test_float_products_of_dense_weights),
        cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_quantised_activations),
        cmocka_unit_test(test_ties_round_to_even),
        cmocka_unit_test(test_overflows_stay_visible),
        cmocka_unit_test(test_the_wanted_table_is_selected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
