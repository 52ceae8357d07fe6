// Affine quantisation and element types against MLX's own results (tests/golden/formats/affine.json).
#include "testing.h"
#include "files.h"
#include "formats/affine.h"
#include "base/half.h"
#include <math.h>

static void hex_to_bytes(const char *hex, void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        ((uint8_t *)bytes)[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static size_t number(yyjson_val *object, const char *key)
{
    return yyjson_get_uint(yyjson_obj_get(object, key));
}
static const char *text(yyjson_val *object, const char *key)
{
    return yyjson_get_str(yyjson_obj_get(object, key));
}

// Room for the golden input: 12 rows of 128.
typedef struct results {
    float source[12 * 128], values[12 * 128];
    uint8_t typed[12 * 128 * 4], weight[12 * 128], scales[12 * 4 * 4], biases[12 * 4 * 4];
} results;

static void check_case(results *r, yyjson_val *c, size_t rows, size_t columns)
{
    dtype type;
    int bits = (int)number(c, "bits"), group = (int)number(c, "group_size");
    assert_true(dtype_from_name(text(c, "type"), strlen(text(c, "type")), &type));
    assert_true(dtype_from_float(type, r->source, r->typed, rows * columns));
    affine_quantize(type, r->typed, rows, columns, bits, group, r->weight, r->scales, r->biases);
    size_t scales_size = rows * (columns / (size_t)group) * dtype_size(type);
    assert_string_equal(hash_words(r->weight, rows * affine_row_size(columns, bits)), text(c, "weight"));
    assert_string_equal(hash_words(r->scales, scales_size), text(c, "scales"));
    assert_string_equal(hash_words(r->biases, scales_size), text(c, "biases"));
    affine_matrix m = {r->weight, r->scales, r->biases, type, rows, columns, bits, group};
    memset(r->values, 0, sizeof r->values);
    affine_dequantize(&m, 0, 5, r->values);
    affine_dequantize(&m, 5, rows - 5, r->values + 5 * columns);
    assert_string_equal(hash_words(r->values, rows * columns * sizeof(float)), text(c, "values"));
}

static void test_quantising_equals_mlx(void **state)
{
    (void)state;
    yyjson_doc *doc = read_json(golden("formats/affine.json"));
    yyjson_val *root = yyjson_doc_get_root(doc), *c;
    static results r;
    size_t rows = number(root, "rows"), columns = number(root, "columns"), i, n;
    assert_int_equal(rows * columns, 12 * 128);
    hex_to_bytes(text(root, "input"), r.source, rows * columns * sizeof(float));
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "cases")), 54);
    yyjson_arr_foreach(yyjson_obj_get(root, "cases"), i, n, c) check_case(&r, c, rows, columns);

    // Three bits straddle words: the bytes of the first row, one by one.
    uint8_t expected[48];
    hex_to_bytes(text(root, "three_bits"), expected, sizeof expected);
    affine_quantize(DTYPE_F32, r.source, 1, columns, 3, 32, r.weight, r.scales, r.biases);
    assert_memory_equal(r.weight, expected, sizeof expected);
    json_free(doc);
}

static void test_packing_round_trips(void **state)
{
    (void)state;
    uint8_t values[256], back[256], packed[256];
    for (int bits = 2; bits <= 8; bits++) {
        if (!affine_supported(bits, 32)) continue;
        for (size_t i = 0; i < 256; i++) values[i] = (uint8_t)((i * 37 + 11) & ((1u << bits) - 1));
        affine_pack(values, 256, bits, packed);
        affine_matrix m = {.weight = packed, .rows = 4, .columns = 64, .bits = bits, .group_size = 32};
        affine_unpack(&m, 0, 1, back);
        affine_unpack(&m, 1, 3, back + 64);
        assert_memory_equal(values, back, sizeof values);
        // Value i is bits i * bits and on of one little-endian stream.
        for (size_t i = 0; i < 256; i++) {
            unsigned q = 0;
            for (int b = 0; b < bits; b++) {
                size_t at = i * (size_t)bits + (size_t)b;
                q |= (unsigned)(packed[at / 8] >> (at % 8) & 1) << b;
            }
            assert_int_equal(q, values[i]);
        }
    }
}

static void test_only_what_mlx_has_is_supported(void **state)
{
    (void)state;
    assert_false(affine_supported(7, 64));
    assert_false(affine_supported(1, 64));
    assert_false(affine_supported(16, 64));
    assert_false(affine_supported(4, 16));
    assert_true(affine_supported(5, 128));
}

static void test_a_nan_is_a_number_all_the_same(void **state)
{
    (void)state;
    float row[32] = {1, 2, 3, NAN, INFINITY, -INFINITY};
    uint8_t weight[32];
    float scale, bias;
    affine_quantize(DTYPE_F32, row, 1, 32, 8, 32, weight, &scale, &bias); // must not be undefined behaviour
    row[4] = row[5] = 0;
    affine_quantize(DTYPE_F32, row, 1, 32, 8, 32, weight, &scale, &bias);
    assert_int_equal(weight[3], 0);
    assert_true(scale * (float)weight[2] + bias == 3.0f);
}

static void test_types_have_names_and_sizes(void **state)
{
    (void)state;
    for (int i = 0; i < DTYPE_COUNT; i++) {
        dtype back;
        const char *name = dtype_name((dtype)i);
        assert_true(dtype_from_name(name, strlen(name), &back));
        assert_int_equal(back, i);
        assert_true(dtype_size(back) > 0);
    }
    dtype unused;
    assert_false(dtype_from_name("F8_E4M3", 7, &unused));
    assert_false(dtype_from_name("BF1", 3, &unused));
    assert_false(dtype_from_name("", 0, &unused));
    assert_int_equal(dtype_size(DTYPE_F64), 8);
    assert_false(dtype_is_float(DTYPE_U32));
    assert_true(dtype_is_float(DTYPE_BF16));
}

static void test_floats_convert_unaligned(void **state)
{
    (void)state;
    static const dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64};
    float source[] = {0, -1, 0.5f, 1024, -0.09375f}, back[5];
    unsigned char bytes[41];
    for (size_t i = 0; i < 4; i++) {
        memset(back, 0xFF, sizeof back);
        assert_true(dtype_from_float(types[i], source, bytes + 1, 5));
        assert_true(dtype_to_float(types[i], bytes + 1, back, 5));
        assert_memory_equal(source, back, sizeof source);
    }
    assert_false(dtype_to_float(DTYPE_I32, bytes, back, 1));
    assert_false(dtype_from_float(DTYPE_BOOL, back, bytes, 1));
    float inexact = 1.0f + 0x1p-9f;
    dtype_from_float(DTYPE_BF16, &inexact, bytes, 1);
    assert_int_equal(bytes[0] | bytes[1] << 8, 0x3F80); // a tie goes to even
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantising_equals_mlx),
        cmocka_unit_test(test_packing_round_trips),
        cmocka_unit_test(test_only_what_mlx_has_is_supported),
        cmocka_unit_test(test_a_nan_is_a_number_all_the_same),
        cmocka_unit_test(test_types_have_names_and_sizes),
        cmocka_unit_test(test_floats_convert_unaligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
