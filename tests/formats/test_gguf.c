// GGUF: values and tensors of files that gguf-py wrote, and hostile ones.
#include "testing.h"
#include "files.h"
#include "base/buf.h"
#include "formats/gguf.h"
#include "formats/gguf_block.h"

static llm_error err;

// Putting files together.

static void put(buf *b, uint64_t value, size_t size) { buf_append(b, &value, size); }
static void put_text(buf *b, const char *text) { put(b, strlen(text), 8), buf_append_string(b, text); }

static void begin(buf *b, uint32_t version, uint64_t tensors, uint64_t values)
{
    buf_clear(b);
    buf_append_string(b, "GGUF");
    put(b, version, 4);
    put(b, tensors, 8);
    put(b, values, 8);
}

static void put_key(buf *b, const char *key, uint32_t type) { put_text(b, key), put(b, type, 4); }

static void put_tensor(buf *b, const char *name, uint32_t type, uint64_t rows, uint64_t columns,
                       uint64_t offset)
{
    put_text(b, name);
    put(b, 2, 4);
    put(b, columns, 8);
    put(b, rows, 8);
    put(b, type, 4);
    put(b, offset, 8);
}

static void pad(buf *b, size_t more)
{
    while (b->length % 32) buf_append_char(b, 0);
    for (size_t i = 0; i < more; i++) buf_append_char(b, (char)i);
}

static llm_status open_made(const char *folder, const buf *b, gguf_file *file)
{
    const char *path = path_in(folder, "made.gguf");
    write_bytes(path, b->data, b->length);
    return gguf_open(path, file, &err);
}

static void test_every_type_dequantises_as_gguf_py(void **state)
{
    (void)state;
    gguf_file file;
    yyjson_doc *doc = read_json(golden("formats/quants.json"));
    assert_ok(gguf_open(golden("formats/quants.gguf"), &file, &err));
    assert_int_equal(file.num_tensors, yyjson_obj_size(yyjson_doc_get_root(doc)));
    unsigned seen = 0;
    for (size_t i = 0; i < file.num_tensors; i++) {
        const gguf_tensor *t = &file.tensors[i];
        float *values = mem_alloc_zero(t->rows * t->columns, sizeof *values);
        for (size_t r = 0; r < t->rows; r += 8)
            gguf_dequantize(t, r, t->rows - r < 8 ? t->rows - r : 8, values + r * t->columns);
        const char *expected = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), t->name));
        if (strcmp(hash_words(values, t->rows * t->columns * sizeof *values), expected) != 0)
            fail_msg("%s (%s)", t->name, gguf_type_name(t->type));
        mem_free(values);
        seen |= 1u << t->type;
        gguf_release(&file, t);
    }
    assert_int_equal(seen, 1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 7 | 1u << 8 | 7u << 12);
    gguf_close(&file);
    json_free(doc);
    assert_ok(gguf_open(golden("formats/olmo2.gguf"), &file, &err)); // bfloat16
    const gguf_tensor *t = gguf_find_tensor(&file, "output.weight");
    assert_int_equal(t->type, GGUF_TYPE_BF16);
    assert_int_equal(t->shape[0], 64);
    assert_int_equal(t->shape[1], 32);
    assert_int_equal(t->row_size, 64);
    float row[32];
    gguf_dequantize(t, 1, 1, row);
    uint32_t bits;
    memcpy(&bits, row, 4);
    assert_int_equal(bits >> 16, t->data[64] | t->data[65] << 8);
    assert_int_equal(bits & 0xFFFF, 0);
    gguf_close(&file);
}

static void test_groups_say_the_same_as_dequantising(void **state)
{
    (void)state;
    gguf_file file;
    assert_ok(gguf_open(golden("formats/quants.gguf"), &file, &err));
    size_t checked = 0;
    for (size_t i = 0; i < file.num_tensors; i++) {
        const gguf_tensor *t = &file.tensors[i];
        int bits = gguf_group_bits(t->type);
        if (!bits) continue;
        float *row = mem_alloc_zero(t->columns, sizeof *row);
        gguf_dequantize(t, 2, 1, row);
        for (size_t g = 0; g < t->columns / 32; g++) {
            gguf_group group;
            float scale, bias;
            gguf_read_group(t->type, t->data + 2 * t->row_size, g, &group);
            gguf_read_scale(t->type, t->data + 2 * t->row_size, g, &scale, &bias);
            assert_true(scale == group.scale && bias == group.bias);
            for (size_t k = 0; k < 32; k++, checked++) {
                assert_true(group.q[k] < 1 << bits);
                assert_true(group.scale * (float)group.q[k] + group.bias == row[g * 32 + k]);
            }
        }
        mem_free(row);
    }
    assert_true(checked > 500);
    gguf_close(&file);
}

static void put_values(buf *b)
{
    put_key(b, "u8", GGUF_U8), put(b, 200, 1);
    put_key(b, "i8", GGUF_I8), put(b, (uint8_t)-3, 1);
    put_key(b, "u16", GGUF_U16), put(b, 60000, 2);
    put_key(b, "i16", GGUF_I16), put(b, (uint16_t)-300, 2);
    put_key(b, "i32", GGUF_I32), put(b, (uint32_t)-5, 4);
    put_key(b, "u64", GGUF_U64), put(b, UINT64_MAX, 8);
    put_key(b, "i64", GGUF_I64), put(b, (uint64_t)-7, 8);
    put_key(b, "f32", GGUF_F32), put(b, 0x3FC00000, 4);
    put_key(b, "f64", GGUF_F64), put(b, 0x4004000000000000, 8);
    put_key(b, "yes", GGUF_BOOL), put(b, 1, 1);
    put_key(b, "text", GGUF_STRING), put_text(b, "hello");
    put_key(b, "texts", GGUF_ARRAY), put(b, GGUF_STRING, 4), put(b, 2, 8), put_text(b, "a"), put_text(b, "");
    put_key(b, "ints", GGUF_ARRAY), put(b, GGUF_I16, 4), put(b, 2, 8), put(b, 5, 2), put(b, (uint16_t)-1, 2);
    put_key(b, "floats", GGUF_ARRAY), put(b, GGUF_F32, 4), put(b, 1, 8), put(b, 0x3FC00000, 4);
    put_key(b, "nested", GGUF_ARRAY), put(b, GGUF_ARRAY, 4), put(b, 2, 8);
    for (int i = 0; i < 2; i++) put(b, GGUF_U8, 4), put(b, 1, 8), put(b, 1, 1);
    put_key(b, "none", GGUF_ARRAY), put(b, GGUF_U8, 4), put(b, 0, 8);
}

static void test_metadata_is_typed(void **state)
{
    buf b = {0};
    gguf_file file;
    begin(&b, 2, 0, 16);
    put_values(&b);
    assert_ok(open_made(*state, &b, &file));
    int64_t whole, *ints;
    double real;
    bool flag;
    gguf_string text, *texts;
    float *floats;
    size_t count;
    static const struct {
        const char *key;
        int64_t value;
    } expected[] = {{"u8", 200}, {"i8", -3},  {"u16", 60000}, {"i16", -300},
                    {"i32", -5}, {"i64", -7}, {"absent", 42}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_ok(gguf_get_int(&file, expected[i].key, 42, &whole, &err));
        assert_int_equal(whole, expected[i].value);
    }
    assert_error(gguf_get_int(&file, "u64", 1, &whole, &err), LLM_LOAD_FAILED, "u64");
    assert_int_equal(whole, 1);
    assert_error(gguf_get_int(&file, "text", 1, &whole, &err), LLM_LOAD_FAILED, "text");
    assert_error(gguf_get_int(&file, "yes", 1, &whole, &err), LLM_LOAD_FAILED, "yes");
    assert_ok(gguf_get_double(&file, "f32", 0, &real, &err));
    assert_true(real == 1.5);
    assert_ok(gguf_get_double(&file, "f64", 0, &real, &err));
    assert_true(real == 2.5);
    assert_ok(gguf_get_double(&file, "i8", 0, &real, &err));
    assert_true(real == -3);
    assert_error(gguf_get_double(&file, "yes", 0, &real, &err), LLM_LOAD_FAILED, "yes");
    assert_ok(gguf_get_bool(&file, "yes", false, &flag, &err));
    assert_true(flag);
    assert_error(gguf_get_bool(&file, "u8", false, &flag, &err), LLM_LOAD_FAILED, "u8");
    assert_ok(gguf_get_string(&file, "text", &text, &err));
    assert_int_equal(text.length, 5);
    assert_memory_equal(text.text, "hello", 5);
    assert_ok(gguf_get_string(&file, "absent", &text, &err));
    assert_null(text.text);
    assert_error(gguf_get_string(&file, "u8", &text, &err), LLM_LOAD_FAILED, "u8");
    assert_ok(gguf_get_strings(&file, "texts", &texts, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(texts[0].length, 1);
    assert_int_equal(texts[1].length, 0);
    mem_free(texts);
    assert_ok(gguf_get_ints(&file, "ints", &ints, &count, &err));
    assert_int_equal(ints[1], -1);
    mem_free(ints);
    assert_ok(gguf_get_floats(&file, "floats", &floats, &count, &err));
    assert_true(count == 1 && floats[0] == 1.5f);
    mem_free(floats);
    assert_ok(gguf_get_floats(&file, "ints", &floats, &count, &err));
    assert_true(floats[0] == 5);
    mem_free(floats);
    assert_ok(gguf_get_strings(&file, "absent", &texts, &count, &err));
    assert_null(texts);
    assert_error(gguf_get_strings(&file, "nested", &texts, &count, &err), LLM_LOAD_FAILED, "nested");
    assert_error(gguf_get_ints(&file, "texts", &ints, &count, &err), LLM_LOAD_FAILED, "texts");
    assert_error(gguf_get_floats(&file, "nested", &floats, &count, &err), LLM_LOAD_FAILED, "nested");
    assert_error(gguf_get_ints(&file, "u8", &ints, &count, &err), LLM_LOAD_FAILED, "not an array");
    assert_null(ints);
    assert_ok(gguf_get_ints(&file, "none", &ints, &count, &err));
    assert_int_equal(count, 0);
    mem_free(ints);
    gguf_close(&file);

    for (size_t cut = 0; cut < b.length; cut++) { // every prefix is too short
        buf part = {.data = b.data, .length = cut};
        if (open_made(*state, &part, &file) != LLM_LOAD_FAILED) fail_msg("cut at %zu", cut);
    }
    buf_free(&b);
}

static void test_tensors_are_placed_and_aligned(void **state)
{
    buf b = {0};
    gguf_file file;
    begin(&b, 3, 2, 1);
    put_key(&b, "general.alignment", GGUF_U32), put(&b, 64, 4);
    put_tensor(&b, "one", GGUF_TYPE_F32, 1, 3, 0);
    put_text(&b, "cube"), put(&b, 3, 4), put(&b, 2, 8), put(&b, 3, 8), put(&b, 4, 8),
        put(&b, GGUF_TYPE_F16, 4), put(&b, 64, 8);
    while (b.length % 64) buf_append_char(&b, 0);
    pad(&b, 64 + 48);
    assert_ok(open_made(*state, &b, &file));
    const gguf_tensor *cube = gguf_find_tensor(&file, "cube");
    assert_int_equal(cube->shape[0], 4);
    assert_int_equal(cube->shape[2], 2);
    assert_int_equal(cube->rows, 12);
    assert_int_equal(cube->columns, 2);
    assert_int_equal(cube->data[0], 64);
    assert_int_equal((cube->data - file.map.data) % 64, 0);
    assert_null(gguf_find_tensor(&file, "two"));
    assert_null(gguf_find(&file, "none"));
    gguf_close(&file);
    b.length--;
    assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "cube: its data is past the end");
    buf_free(&b);
}

// One tensor "w", made wrong by the arguments.
static llm_status open_tensor(const char *folder, const char *name, uint32_t type, uint64_t rows,
                              uint64_t columns, uint64_t offset)
{
    buf b = {0};
    gguf_file file;
    begin(&b, 3, 1, 0);
    put_tensor(&b, name, type, rows, columns, offset);
    pad(&b, 4096);
    llm_status status = open_made(folder, &b, &file);
    if (status == LLM_OK) gguf_close(&file);
    buf_free(&b);
    return status;
}

static void test_bad_tensors_are_refused(void **state)
{
    char long_name[300];
    memset(long_name, 'n', sizeof long_name);
    long_name[299] = 0;
    assert_ok(open_tensor(*state, "w", GGUF_TYPE_F32, 32, 32, 0));
    assert_error(open_tensor(*state, "w", GGUF_TYPE_F32, 32, 33, 0), LLM_LOAD_FAILED, "past the end");
    assert_error(open_tensor(*state, "w", GGUF_TYPE_F32, 1, 1, 32), LLM_LOAD_FAILED, "offset");
    assert_error(open_tensor(*state, "w", GGUF_TYPE_F32, 0, 32, 0), LLM_LOAD_FAILED, "shape");
    assert_error(open_tensor(*state, "w", GGUF_TYPE_F32, 32, 0, 0), LLM_LOAD_FAILED, "shape");
    assert_error(open_tensor(*state, "w", GGUF_TYPE_F32, (uint64_t)1 << 62, 1, 0), LLM_LOAD_FAILED,
                 "past the end");
    assert_error(open_tensor(*state, "w", GGUF_TYPE_F32, 1, (uint64_t)1 << 62, 0), LLM_LOAD_FAILED, "shape");
    assert_error(open_tensor(*state, "w", GGUF_TYPE_F16, UINT64_MAX, UINT64_MAX, 0), LLM_LOAD_FAILED,
                 "shape");
    assert_error(open_tensor(*state, "w", GGUF_TYPE_Q4_0, 1, 48, 0), LLM_LOAD_FAILED,
                 "no whole blocks of Q4_0");
    assert_error(open_tensor(*state, "w", GGUF_TYPE_Q6_K, 1, 128, 0), LLM_LOAD_FAILED,
                 "no whole blocks of Q6_K");
    assert_error(open_tensor(*state, "blk.0.w", 20, 1, 32, 0), LLM_UNSUPPORTED_FORMAT,
                 "blk.0.w has the type IQ4_NL");
    assert_error(open_tensor(*state, "blk.0.w", 9999, 1, 32, 0), LLM_UNSUPPORTED_FORMAT, "unknown type 9999");
    assert_error(open_tensor(*state, "", GGUF_TYPE_F32, 1, 32, 0), LLM_LOAD_FAILED, "name");
    assert_error(open_tensor(*state, long_name, GGUF_TYPE_F32, 1, 32, 0), LLM_LOAD_FAILED, "name");
    buf b = {0};
    gguf_file file;
    begin(&b, 3, 2, 0);
    put_tensor(&b, "w", GGUF_TYPE_F32, 1, 8, 0);
    put_tensor(&b, "w", GGUF_TYPE_F32, 1, 8, 32);
    pad(&b, 64);
    assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "w is there twice");
    begin(&b, 3, 1, 0);
    put_text(&b, "w"), put(&b, 5, 4);
    pad(&b, 256);
    assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "5 dimensions");
    buf_free(&b);
}

static void test_bad_heads_are_refused(void **state)
{
    buf b = {0};
    gguf_file file;
    begin(&b, 1, 0, 0);
    assert_error(open_made(*state, &b, &file), LLM_UNSUPPORTED_FORMAT, "version 1");
    begin(&b, 4, 0, 0);
    assert_error(open_made(*state, &b, &file), LLM_UNSUPPORTED_FORMAT, "version 4");
    begin(&b, 0x03000000, 0, 0);
    assert_error(open_made(*state, &b, &file), LLM_UNSUPPORTED_FORMAT, "big-endian");
    begin(&b, 3, 0, UINT64_MAX);
    assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "too short");
    begin(&b, 3, UINT64_MAX / 2, 0);
    assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "too short");
    b.data[0] = 'g';
    assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "not a GGUF");
    assert_error(gguf_open(path_in(*state, "none"), &file, &err), LLM_IO_ERROR, "none");

    static const struct {
        const char *key;
        uint32_t type, element;
        uint64_t count;
        const char *why;
    } bad[] = {
        {"", GGUF_U32, 0, 0, "key"},
        {"k", 13, 0, 0, "unknown type"},
        {"k", 0xFFFFFFFF, 0, 0, "unknown type"},
        {"k", GGUF_ARRAY, 77, 0, "unknown type"},
        {"k", GGUF_ARRAY, GGUF_U64, (uint64_t)1 << 61, "cut off"},
        {"k", GGUF_ARRAY, GGUF_STRING, UINT64_MAX, "cut off"},
        {"k", GGUF_ARRAY, GGUF_ARRAY, UINT64_MAX, "type"},
        {"k", GGUF_STRING, 0xFFFFFFFF, UINT64_MAX, "cut off"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(&b, 3, 0, 1);
        put_key(&b, bad[i].key, bad[i].type);
        put(&b, bad[i].element, 4);
        put(&b, bad[i].count, 8);
        for (int k = 0; k < 8; k++) put(&b, UINT64_MAX, 8);
        assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, bad[i].why);
    }
    begin(&b, 3, 0, 1); // arrays in arrays in arrays ...
    put_key(&b, "deep", GGUF_ARRAY);
    for (int i = 0; i < 1000; i++) put(&b, GGUF_ARRAY, 4), put(&b, 1, 8);
    assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "deep");
    begin(&b, 3, 0, 2);
    put_key(&b, "k", GGUF_U8), put(&b, 1, 1), put_key(&b, "k", GGUF_U8), put(&b, 1, 1);
    assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "k is there twice");
    static const uint32_t alignments[] = {0, 24, 1u << 21};
    for (size_t i = 0; i < 3; i++) {
        begin(&b, 3, 0, 1);
        put_key(&b, "general.alignment", GGUF_U32), put(&b, alignments[i], 4);
        assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "alignment");
    }
    begin(&b, 3, 0, 1);
    put_key(&b, "general.alignment", GGUF_STRING), put_text(&b, "x");
    assert_error(open_made(*state, &b, &file), LLM_LOAD_FAILED, "alignment");
    buf_free(&b);
}

static void test_no_truncation_and_no_changed_byte_leads_outside(void **state)
{
    size_t length;
    char *whole = read_bytes(golden("formats/llama-rope-linear.gguf"), &length);
    const char *path = path_in(*state, "cut.gguf");
    gguf_file file;
    size_t head = length - 16000;
    for (size_t cut = 0; cut < length; cut += cut < head ? 1 : 499) {
        write_bytes(path, whole, cut);
        if (gguf_open(path, &file, &err) != LLM_LOAD_FAILED) fail_msg("cut at %zu: %s", cut, err.message);
    }
    for (size_t at = 0; at < head; at++) {
        char saved = whole[at];
        whole[at] = (char)(saved ^ (at % 3 == 0 ? 0x80 : at % 3 == 1 ? 1 : 0x3F));
        write_bytes(path, whole, length);
        if (gguf_open(path, &file, &err) == LLM_OK) {
            for (size_t i = 0; i < file.num_tensors; i++) {
                const gguf_tensor *t = &file.tensors[i];
                assert_true(t->data + t->rows * t->row_size <= file.map.data + file.map.size);
            }
            gguf_close(&file);
        }
        whole[at] = saved;
    }
    mem_free(whole);
}

static void test_every_failed_allocation_is_reported(void **state)
{
    (void)state;
    for (long allowed = 0;; allowed++) {
        gguf_file file;
        mem_fail_after(allowed);
        llm_status status = gguf_open(golden("formats/quants.gguf"), &file, &err);
        mem_fail_after(-1);
        if (status == LLM_OK) {
            gguf_string *items;
            size_t count;
            assert_true(allowed >= 6);
            mem_fail_after(0);
            assert_error(gguf_get_strings(&file, "tokenizer.ggml.tokens", &items, &count, &err),
                         LLM_OUT_OF_MEMORY, "tokens");
            mem_fail_after(-1);
            gguf_close(&file);
            break;
        }
        assert_int_equal(status, LLM_OUT_OF_MEMORY);
    }
}

int main(void)
{
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_dequantises_as_gguf_py),
        cmocka_unit_test(test_groups_say_the_same_as_dequantising),
        WITH_FOLDER(test_metadata_is_typed),
        WITH_FOLDER(test_tensors_are_placed_and_aligned),
        WITH_FOLDER(test_bad_tensors_are_refused),
        WITH_FOLDER(test_bad_heads_are_refused),
        WITH_FOLDER(test_no_truncation_and_no_changed_byte_leads_outside),
        cmocka_unit_test(test_every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
