// Norms, rope, activations, soft caps and key-value stores of every table against double precision.
#include "testing.h"
#include "base/half.h"
#include "engine/cpu/kernels/kernels.h"
#include "engine/cpu/kernels/vector_math.h"
#include "edge.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static const kernels *tables[8];
static int num_tables;

// Sizes around every vector length, and larger ones.
static const int sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 40, 63, 64, 65, 127, 576, 1000, 4099};
enum { NUM_SIZES = sizeof sizes / sizeof *sizes, MAX_SIZE = 4099 };

static void check(const char *what, const kernels *table, int n, int i, double got, double wanted,
                  double tolerance)
{
    if (!(fabs(got - wanted) <= tolerance))
        fail_msg("%s %s n %d [%d]: %.9g, not %.9g (by %.3g, allowed %.3g)", table->isa, what, n, i, got,
                 wanted, got - wanted, tolerance);
}

typedef struct vector_apply {
    const char *isa;
    void (*apply)(vector_function function, const float *x, int n, float *y);
} vector_apply;

static const vector_apply applies[] = {
#if defined(__x86_64__)
    {"avx2", vector_apply_avx2},
    {"avx512vnni", vector_apply_avx512},
#elif defined(__aarch64__)
    {"neon", vector_apply_neon},
#endif
    {"", NULL}};

static double exact(vector_function function, double x)
{
    return function == VECTOR_EXP ? exp(x) : function == VECTOR_EXP2 ? exp2(x) : function == VECTOR_TANH ? tanh(x) : erf(x);
}

// The distance in units of the last place that the exact value has as a float32.
static double distance(float got, double wanted)
{
    if (isinf(got))
        return (double)got * wanted > 0 && fabs(wanted) >= (double)FLT_MAX * (1 - 0x1p-24) ? 0 : INFINITY;
    if (isinf((float)wanted))
        return fabsf(got) == FLT_MAX && fabs(wanted) < (double)FLT_MAX * (1 + 0x1p-22) ? 1 : INFINITY;
    int exponent;
    frexp(wanted, &exponent);
    return fabs((double)got - wanted) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static void check_function(const vector_apply *apply, vector_function function)
{
    enum { BLOCK = 1003 };
    static const char *const names[] = {"exp", "tanh", "erf", "exp2"};
    const double allowed = function == VECTOR_EXP2 ? 3e-6 * 0x1p24 : 4;
#if defined(__x86_64__)
    const uint32_t step = 1009;
#else
    const uint32_t step = 100003; // under an emulator
#endif
    float x[BLOCK], y[BLOCK];
    double worst = 0;
    float worst_at = 0;
    for (uint64_t bits = 0; bits < 0x100000000u;) {
        for (int i = 0; i < BLOCK; i++, bits += step) {
            x[i] = bits_to_float((uint32_t)bits);
            if (!isfinite(x[i]) || (function == VECTOR_EXP2 && x[i] > 127)) x[i] = 0;
        }
        apply->apply(function, x, BLOCK, y);
        for (int i = 0; i < BLOCK; i++) {
            double error = distance(y[i], exact(function, x[i]));
            if (!(error <= worst)) worst = error, worst_at = x[i];
            if (!(error <= allowed))
                fail_msg("%s %s(%.9g): %.9g, by %g ulp", apply->isa, names[function], x[i], y[i], error);
        }
    }
    print_message("%s %s: at most %.2f ulp, at %g\n", apply->isa, names[function], worst, worst_at);
}

static void test_elementary_functions_over_all_floats(void **state)
{
    (void)state;
    for (const vector_apply *apply = applies; apply->apply; apply++) {
        bool runs = false;
        for (int t = 0; t < num_tables; t++) runs |= strcmp(tables[t]->isa, apply->isa) == 0;
        if (!runs) continue;
        for (int function = VECTOR_EXP; function <= VECTOR_EXP2; function++) {
            bool power = function == VECTOR_EXP || function == VECTOR_EXP2;
            float limits[4] = {INFINITY, -INFINITY, NAN, 0};
            check_function(apply, (vector_function)function);
            apply->apply((vector_function)function, limits, 4, limits);
            if (function != VECTOR_EXP2) assert_true(limits[0] == (power ? INFINITY : 1));
            assert_true(limits[1] == (power ? 0 : -1));
            assert_true(isnan(limits[2]));
            assert_true(limits[3] == power);
        }
    }
}

static void check_rms_norm(const kernels *table, int n, float magnitude, bool weighted, bool in_place)
{
    edge x = edge_random(n, magnitude), weight = edge_random(n, 2),
         result = edge_alloc((size_t)n * sizeof(float));
    float *y = in_place ? x.data : result.data, copy[MAX_SIZE];
    memcpy(copy, x.data, (size_t)n * sizeof(float));
    table->rms_norm(x.data, weighted ? weight.data : NULL, n, 1e-6f, y);
    double squares = 0;
    for (int i = 0; i < n; i++) squares += (double)copy[i] * copy[i];
    double scale = 1 / sqrt(squares / n + (double)1e-6f);
    for (int i = 0; i < n; i++) {
        double wanted = copy[i] * scale * (weighted ? ((float *)weight.data)[i] : 1);
        check("rms_norm", table, n, i, y[i], wanted, 1e-6 * fabs(wanted) + 1e-37);
    }
    edge_free(&x), edge_free(&weight), edge_free(&result);
}

static void test_rms_norm(void **state)
{
    (void)state;
    for (int t = 0; t < num_tables; t++)
        for (int s = 0; s < NUM_SIZES; s++)
            for (int variant = 0; variant < 4; variant++) {
                check_rms_norm(tables[t], sizes[s], 1, variant & 1, variant & 2);
                check_rms_norm(tables[t], sizes[s], 1e4f, variant & 1, variant & 2);
                check_rms_norm(tables[t], sizes[s], 1e-5f, variant & 1, variant & 2);
            }
}

static void check_layer_norm(const kernels *table, int n, float offset, bool biased, bool in_place)
{
    edge x = edge_random(n, 1), weight = edge_random(n, 2), bias = edge_random(n, 1);
    edge result = edge_alloc((size_t)n * sizeof(float));
    float *y = in_place ? x.data : result.data, copy[MAX_SIZE];
    for (int i = 0; i < n; i++) ((float *)x.data)[i] += offset;
    memcpy(copy, x.data, (size_t)n * sizeof(float));
    table->layer_norm(x.data, weight.data, biased ? bias.data : NULL, n, 1e-5f, y);
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) sum += copy[i];
    for (int i = 0; i < n; i++) squares += (copy[i] - sum / n) * (copy[i] - sum / n);
    double scale = 1 / sqrt(squares / n + (double)1e-5f);
    for (int i = 0; i < n; i++) {
        double wanted = (copy[i] - sum / n) * scale * ((float *)weight.data)[i];
        if (biased) wanted += ((float *)bias.data)[i];
        // The mean is a float32: its error counts against the spread of the values.
        double tolerance = 2e-6 + 2e-7 * (fabs(offset) + 1) * scale * 2;
        check("layer_norm", table, n, i, y[i], wanted, tolerance);
    }
    edge_free(&x), edge_free(&weight), edge_free(&bias), edge_free(&result);
}

static void test_layer_norm(void **state)
{
    (void)state;
    for (int t = 0; t < num_tables; t++)
        for (int s = 0; s < NUM_SIZES; s++)
            for (int variant = 0; variant < 4; variant++) {
                check_layer_norm(tables[t], sizes[s], 0, variant & 1, variant & 2);
                if (sizes[s] > 4) check_layer_norm(tables[t], sizes[s], 100, variant & 1, variant & 2);
            }
}

static void check_rope(const kernels *table, int head_dim, int dims, bool traditional, float scale)
{
    int pairs = dims / 2;
    edge head = edge_random(head_dim, 3), cosine = edge_random(pairs, 1), sine = edge_random(pairs, 1);
    float before[256], *c = cosine.data, *s = sine.data, *after = head.data;
    memcpy(before, head.data, (size_t)head_dim * sizeof(float));
    table->rope(head.data, c, s, dims, traditional, scale);
    for (int i = 0; i < pairs; i++) {
        int first = traditional ? 2 * i : i, second = traditional ? 2 * i + 1 : i + pairs;
        double a = before[first], b = before[second];
        check("rope", table, dims, first, after[first], (a * c[i] - b * s[i]) * scale, 2e-6);
        check("rope", table, dims, second, after[second], (a * s[i] + b * c[i]) * scale, 2e-6);
    }
    assert_memory_equal(after + dims, before + dims, (size_t)(head_dim - dims) * sizeof(float));
    edge_free(&head), edge_free(&cosine), edge_free(&sine);
}

static void test_rope_turns_the_leading_elements_only(void **state)
{
    (void)state;
    static const int dims[] = {2, 4, 6, 8, 14, 16, 18, 20, 32, 34, 40, 64, 66, 80, 96, 128, 256};
    for (int t = 0; t < num_tables; t++)
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
            for (int traditional = 0; traditional < 2; traditional++) {
                check_rope(tables[t], dims[i], dims[i], traditional, 1);
                if (dims[i] < 240) check_rope(tables[t], dims[i] + 13, dims[i], traditional, 1.19f);
            }
}

static double activation_of(activation_kind kind, double x)
{
    switch (kind) {
    case ACTIVATION_SILU: return x / (1 + exp(-x));
    case ACTIVATION_GELU: return 0.5 * x * erfc(-x / sqrt(2));
    case ACTIVATION_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case ACTIVATION_RELU2: return x > 0 ? x * x : 0;
    }
    return 0;
}

static void check_activate(const kernels *table, activation_kind kind, int n, float magnitude, bool gated,
                           bool in_place)
{
    edge gate = edge_random(n, magnitude), up = edge_random(n, 2),
         result = edge_alloc((size_t)n * sizeof(float));
    float *y = in_place ? gate.data : result.data, copy[MAX_SIZE];
    memcpy(copy, gate.data, (size_t)n * sizeof(float));
    table->activate(kind, gate.data, gated ? up.data : NULL, n, y);
    for (int i = 0; i < n; i++) {
        double factor = gated ? ((float *)up.data)[i] : 1, value = activation_of(kind, copy[i]);
        // 1 + erf and 1 + tanh lose what lies below the last place of 1; silu has nothing to lose.
        double lost = kind == ACTIVATION_GELU || kind == ACTIVATION_GELU_TANH ? 2e-7 * fabs(copy[i]) : 0;
        check("activate", table, n, i, y[i], value * factor,
              (6e-7 * fabs(value) + lost) * fabs(factor) + 1e-37);
    }
    edge_free(&gate), edge_free(&up), edge_free(&result);
}

static void test_activations(void **state)
{
    (void)state;
    for (int t = 0; t < num_tables; t++)
        for (int kind = ACTIVATION_SILU; kind <= ACTIVATION_RELU2; kind++)
            for (int s = 0; s < NUM_SIZES; s++)
                for (int variant = 0; variant < 4; variant++) {
                    check_activate(tables[t], (activation_kind)kind, sizes[s], 1, variant & 1, variant & 2);
                    check_activate(tables[t], (activation_kind)kind, sizes[s], 30, variant & 1, variant & 2);
                }
}

static void test_activations_have_limits_and_no_nan(void **state)
{
    (void)state;
    static const float large[] = {20, 88, 90, 1e3f, 1e10f, 1e19f, 1e30f, FLT_MAX};
    enum { COUNT = sizeof large / sizeof *large };
    for (int t = 0; t < num_tables; t++)
        for (int kind = ACTIVATION_SILU; kind <= ACTIVATION_RELU2; kind++)
            for (int i = 0; i < COUNT; i++) {
                float x[2] = {large[i], -large[i]}, y[2];
                tables[t]->activate((activation_kind)kind, x, NULL, 2, y);
                if (kind == ACTIVATION_RELU2)
                    assert_true(y[0] == x[0] * x[0]);
                else
                    check("limit", tables[t], 2, 0, y[0], x[0], 1e-6 * x[0]);
                check("limit", tables[t], 2, 1, y[1], 0, 1e-7);
            }
}

static void check_add_scaled(const kernels *table, int n)
{
    edge y = edge_random(n, 1), x = edge_random(n, 1);
    float before[MAX_SIZE];
    memcpy(before, y.data, (size_t)n * sizeof(float));
    table->add_scaled(y.data, x.data, 0.22f, n);
    for (int i = 0; i < n; i++)
        check("add_scaled", table, n, i, ((float *)y.data)[i],
              before[i] + (double)0.22f * ((float *)x.data)[i], 1.5e-7);
    edge_free(&y), edge_free(&x);
}

static void check_softcap(const kernels *table, int n, float magnitude, float scale, float cap)
{
    edge x = edge_random(n, magnitude);
    float before[MAX_SIZE];
    memcpy(before, x.data, (size_t)n * sizeof(float));
    table->softcap(x.data, n, scale, cap);
    for (int i = 0; i < n; i++) {
        double scaled = (double)before[i] * scale, wanted = cap != 0 ? cap * tanh(scaled / cap) : scaled;
        check("softcap", table, n, i, ((float *)x.data)[i], wanted, 6e-7 * fabs(wanted));
    }
    edge_free(&x);
}

static void test_add_scaled_and_softcap(void **state)
{
    (void)state;
    for (int t = 0; t < num_tables; t++)
        for (int s = 0; s < NUM_SIZES; s++) {
            check_add_scaled(tables[t], sizes[s]);
            check_softcap(tables[t], sizes[s], 100, 1, 30);
            check_softcap(tables[t], sizes[s], 1e5f, 0.1f, 30);
            check_softcap(tables[t], sizes[s], 1, 1, 50);
            check_softcap(tables[t], sizes[s], 100, 0.125f, 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementary_functions_over_all_floats),
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_rope_turns_the_leading_elements_only),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_activations_have_limits_and_no_nan),
        cmocka_unit_test(test_add_scaled_and_softcap),
    };
    num_tables = kernels_available(tables, 8);
    if (num_tables > 8) num_tables = 8;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
