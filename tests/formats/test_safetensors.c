// safetensors: reading MLX's files, writing, and refusing everything that is not right.
#include "testing.h"
#include "files.h"
#include "base/buf.h"
#include "formats/safetensors.h"

static llm_error err;

// A file with this header and `data_size` zero bytes after it.
static const char *make_file(const char *folder, const char *header, size_t data_size)
{
    const char *path = path_in(folder, "made.safetensors");
    buf b = {0};
    uint64_t length = strlen(header);
    buf_append(&b, &length, 8);
    buf_append_string(&b, header);
    for (size_t i = 0; i < data_size; i++) buf_append_char(&b, 0);
    write_bytes(path, b.data, b.length);
    buf_free(&b);
    return path;
}

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void test_reads_what_mlx_wrote(void **state)
{
    (void)state;
    safetensors_model model;
    assert_ok(safetensors_model_open(golden("models/llama-q-mixed"), &model, &err));
    const safetensors_tensor *t = safetensors_model_find(&model, "model.embed_tokens.weight");
    assert_non_null(t);
    assert_int_equal(t->type, DTYPE_U32);
    assert_int_equal(t->num_dims, 2);
    assert_int_equal(t->size, t->shape[0] * t->shape[1] * 4);
    assert_int_equal(t->shape[2], 1);
    assert_ptr_equal(t, safetensors_find(t->file, "model.embed_tokens.weight"));
    assert_null(safetensors_model_find(&model, "model.embed_tokens"));
    assert_null(safetensors_find(t->file, ""));
    uint8_t first = t->data[0];
    safetensors_release(t);
    assert_int_equal(t->data[0], first);
    safetensors_model_close(&model);
    safetensors_model_close(&model);
}

static void test_reads_shards(void **state)
{
    (void)state;
    safetensors_model model;
    assert_ok(safetensors_model_open(golden("models/llama-mha-sharded"), &model, &err));
    assert_int_equal(model.num_files, 3);
    size_t total = 0;
    for (size_t i = 0; i < model.num_tensors; i++) {
        total += model.tensors[i]->size;
        assert_ptr_equal(safetensors_model_find(&model, model.tensors[i]->name), model.tensors[i]);
    }
    assert_int_equal(total, model.total_size);
    safetensors_model_close(&model);
}

static void test_headers_of_every_good_kind(void **state)
{
    safetensors_file file;
    static const char *const good[] = {
        "{\"__metadata__\":{\"format\":\"mlx\"},\"a\":" T("F32", "[1,2]", "[0,8]") "}",
        "{\"__metadata__\":null,\"a\":" T("F32", "[1,2]", "[0,8]") "}",
        "{\"b\":" T("U8", "[4]", "[4,8]") ",\"a\":" T("BF16", "[2,1]",
                                                      "[0,4]") "}   ", // in any order, padded
        "{\"scalar\":" T("I64", "[]", "[0,8]") "}",
        "{\"a\":" T("F64", "[1]", "[0,8]") ",\"empty\":" T("F32", "[3,0]", "[0,0]") ",\"z\":" T("I8", "[0]",
                                                                                                "[8,8]") "}",
        "{\"more\":{\"dtype\":\"BOOL\",\"note\":1,\"shape\":[1,1,1,1,1,1,1,8],\"data_offsets\":[0,8]}}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_ok(safetensors_open(make_file(*state, good[i], 8), &file, &err));
        for (size_t k = 0; k < file.num_tensors; k++) {
            const safetensors_tensor *t = &file.tensors[k];
            assert_true(t->data >= file.map.data && t->data + t->size <= file.map.data + file.map.size);
            assert_ptr_equal(safetensors_find(&file, t->name), t);
        }
        safetensors_close(&file);
    }
    assert_ok(safetensors_open(make_file(*state, "{}", 0), &file, &err));
    assert_int_equal(file.num_tensors, 0);
    safetensors_close(&file);
}

static void test_bad_headers_are_refused(void **state)
{
    static const struct {
        const char *header, *why;
        llm_status code;
    } bad[] = {
        {"[]", "no JSON object", LLM_LOAD_FAILED},
        {"{\"a\":", "not valid JSON", LLM_LOAD_FAILED},
        {"{\"a\":1}", "not an object", LLM_LOAD_FAILED},
        {"{\"__metadata__\":[]}", "__metadata__", LLM_LOAD_FAILED},
        {"{\"__metadata__\":{\"x\":1}}", "not a string", LLM_LOAD_FAILED},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", "twice", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"a\":" T("F32", "[2]", "[0,8]") "}", "twice", LLM_LOAD_FAILED},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "twice",
         LLM_LOAD_FAILED},
        {"{\"a\\u0000b\":" T("F32", "[2]", "[0,8]") "}", "NUL", LLM_LOAD_FAILED},
        {"{\"a\":" T("F8_E4M3", "[8]", "[0,8]") "}", "F8_E4M3", LLM_UNSUPPORTED_FORMAT},
        {"{\"a\":{\"dtype\":5,\"shape\":[2],\"data_offsets\":[0,8]}}", "dtype", LLM_LOAD_FAILED},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "dtype", LLM_LOAD_FAILED},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", "shape", LLM_LOAD_FAILED},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "data_offsets", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", "8 dimensions", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[-2]", "[0,8]") "}", "no size", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[2.0]", "[0,8]") "}", "no size", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[4611686018427387905]", "[0,4]") "}", "too large", LLM_LOAD_FAILED},
        {"{\"a\":" T("U8", "[4294967296,4294967296]", "[0,0]") "}", "too large", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[2]", "[0,4]") "}", "do not fit", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[2]", "[8,0]") "}", "do not fit", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[2]", "[0,8,8]") "}", "pair", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[2]", "[0,-8]") "}", "pair", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[2]", "\"08\"") "}", "pair", LLM_LOAD_FAILED},
        {"{\"a\":" T("F32", "[2]", "[8,16]") "}", "past the end", LLM_LOAD_FAILED},
        {"{\"a\":" T("U8", "[1]", "[18446744073709551614,18446744073709551615]") "}", "past the end",
         LLM_LOAD_FAILED},
        {"{\"a\":" T("U8", "[4]", "[4,8]") "}", "gap", LLM_LOAD_FAILED},
        {"{\"a\":" T("U8", "[4]", "[0,4]") "}", "follow the last", LLM_LOAD_FAILED},
        {"{\"a\":" T("U8", "[8]", "[0,8]") ",\"b\":" T("U8", "[4]", "[4,8]") "}", "overlaps",
         LLM_LOAD_FAILED},
        {"{\"a\":" T("U8", "[8]", "[0,8]") ",\"b\":" T("U8", "[8]", "[0,8]") "}", "overlaps",
         LLM_LOAD_FAILED},
    };
    safetensors_file file;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_error(safetensors_open(make_file(*state, bad[i].header, 8), &file, &err), bad[i].code,
                     bad[i].why);
    assert_non_null(strstr(err.message, "made.safetensors"));
}

static void test_header_lengths_are_checked(void **state)
{
    safetensors_file file;
    const char *path = path_in(*state, "made.safetensors");
    write_bytes(path, "", 0);
    assert_error(safetensors_open(path, &file, &err), LLM_LOAD_FAILED, "too short");
    write_bytes(path, "\x00\x00\x00\x00\x00\x00\x00\x00", 8);
    assert_error(safetensors_open(path, &file, &err), LLM_LOAD_FAILED, "no JSON object");
    write_bytes(path, "\x03\x00\x00\x00\x00\x00\x00\x00{}", 10);
    assert_error(safetensors_open(path, &file, &err), LLM_LOAD_FAILED, "cut off");
    write_bytes(path, "\x01\xE1\xF5\x05\x00\x00\x00\x00{}", 10); // 100 000 001
    assert_error(safetensors_open(path, &file, &err), LLM_LOAD_FAILED, "claims");
    write_bytes(path, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10);
    assert_error(safetensors_open(path, &file, &err), LLM_LOAD_FAILED, "claims");
    assert_error(safetensors_open(path_in(*state, "none"), &file, &err), LLM_IO_ERROR, "none");
}

static void test_no_truncation_is_taken_for_whole(void **state)
{
    size_t length;
    char *whole = read_bytes(golden("models/olmo2-q3-g128/model.safetensors"), &length);
    uint64_t header = 0;
    memcpy(&header, whole, 8);
    const char *path = path_in(*state, "cut.safetensors");
    safetensors_file file;
    for (size_t cut = 0; cut < length;
         cut += cut < 16 || cut + 40 > header ? 1 + (cut > header + 16) * 97 : 13) {
        write_bytes(path, whole, cut);
        if (safetensors_open(path, &file, &err) != LLM_LOAD_FAILED)
            fail_msg("cut at %zu: %s", cut, err.message);
    }
    // Any one changed byte of the header is refused or leaves everything in range.
    for (size_t at = 0; at < 8 + header; at += 7) {
        char saved = whole[at];
        whole[at] = (char)(saved ^ (at % 3 == 0 ? 0x10 : at % 3 == 1 ? 1 : 4));
        write_bytes(path, whole, length);
        if (safetensors_open(path, &file, &err) == LLM_OK) {
            for (size_t i = 0; i < file.num_tensors; i++)
                assert_true(file.tensors[i].data + file.tensors[i].size <= file.map.data + file.map.size);
            safetensors_close(&file);
        }
        whole[at] = saved;
    }
    mem_free(whole);
}

// A folder with these files, each an empty model or a copy of `text`.
static void test_folders(void **state)
{
    safetensors_model model;
    const char *folder = *state, *index = path_in(folder, "model.safetensors.index.json");
    static const char one[] = "\x43\x00\x00\x00\x00\x00\x00\x00{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
                              "offsets\":[0,1]}}              X";
    assert_error(safetensors_model_open(path_in(folder, "none"), &model, &err), LLM_IO_ERROR, "none");
    assert_error(safetensors_model_open(folder, &model, &err), LLM_LOAD_FAILED, "no model*.safetensors");
    size_t size = sizeof one - 1;
    write_bytes(path_in(folder, "adapters.safetensors"), one, size); // another name: not looked at
    write_bytes(path_in(folder, "model-1.safetensors"), one, size);
    assert_ok(safetensors_model_open(folder, &model, &err));
    assert_int_equal(model.num_tensors, 1);
    assert_int_equal(*safetensors_model_find(&model, "t")->data, 'X');
    safetensors_model_close(&model);

    write_bytes(path_in(folder, "model-2.safetensors"), one, size);
    assert_error(safetensors_model_open(folder, &model, &err), LLM_LOAD_FAILED, "two files");
    write_bytes(path_in(folder, "model-2.safetensors"), "\x02\0\0\0\0\0\0\0{}", 10);

    static const struct {
        const char *index, *why;
    } bad[] = {
        {"{\"weight_map\":{\"t\":\"model-1.safetensors\",\"u\":\"model-3.safetensors\"}}", "model-3"},
        {"{\"weight_map\":{\"t\":\"../model-1.safetensors\"}}", "not in the folder"},
        {"{\"weight_map\":{\"t\":\"adapters.safetensors\"}}", "not in the folder"},
        {"{\"weight_map\":{\"t\":7}}", "not a string"},
        {"{\"weight_map\":7}", "weight_map"},
        {"{\"weight_map\"", "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_bytes(index, bad[i].index, strlen(bad[i].index));
        assert_error(safetensors_model_open(folder, &model, &err), LLM_LOAD_FAILED, bad[i].why);
    }
    static const char good[] =
        "{\"weight_map\":{\"t\":\"model-1.safetensors\",\"u\":\"model-1.safetensors\"}}";
    write_bytes(index, good, sizeof good - 1);
    assert_ok(safetensors_model_open(folder, &model, &err));
    safetensors_model_close(&model);
    write_bytes(path_in(folder, "model-2.safetensors"), "garbage", 7);
    assert_error(safetensors_model_open(folder, &model, &err), LLM_LOAD_FAILED, "model-2");
}

static llm_status fill_with_index(void *user, size_t index, const void **data, llm_error *error)
{
    static uint8_t bytes[64];
    size_t *stop = user;
    if (index == *stop) return error_set(error, LLM_CANCELLED, "stopped");
    memset(bytes, (int)index + 1, sizeof bytes);
    *data = bytes;
    return LLM_OK;
}

static const safetensors_entry entries[] = {
    {"b.weight", DTYPE_U32, 2, {2, 5}, NULL}, {"a \"quoted\"\n", DTYPE_BF16, 1, {3}, NULL},
    {"scalar", DTYPE_F32, 0, {0}, NULL},      {"empty", DTYPE_F16, 2, {4, 0}, NULL},
    {"big", DTYPE_U8, 1, {60}, NULL},
};

static void check_written(const safetensors_tensor *t, size_t index)
{
    assert_non_null(t);
    assert_int_equal(t->type, entries[index].type);
    assert_int_equal(t->num_dims, entries[index].num_dims);
    for (int d = 0; d < t->num_dims; d++) assert_int_equal(t->shape[d], entries[index].shape[d]);
    for (size_t i = 0; i < t->size; i++) assert_int_equal(t->data[i], index + 1);
}

static void test_writing_round_trips(void **state)
{
    const char *path = path_in(*state, "written.safetensors");
    size_t never = 99;
    safetensors_file file;
    assert_ok(safetensors_write(path, entries, 5, fill_with_index, &never, &err));
    assert_ok(safetensors_open(path, &file, &err));
    assert_int_equal(file.num_tensors, 5);
    for (size_t i = 0; i < 5; i++) check_written(safetensors_find(&file, entries[i].name), i);
    assert_int_equal((safetensors_find(&file, "b.weight")->data - file.map.data) % 8, 0);
    assert_non_null(memmem(file.map.data, file.map.size, "\"__metadata__\":{\"format\":\"mlx\"}", 31));
    safetensors_close(&file);

    float value = 2.5f;
    safetensors_entry given = {"v", DTYPE_F32, 1, {1}, &value};
    assert_ok(safetensors_write(path, &given, 1, NULL, NULL, &err));
    assert_ok(safetensors_open(path, &file, &err));
    assert_memory_equal(file.tensors[0].data, &value, 4);
    safetensors_close(&file);
    assert_ok(safetensors_write(path, NULL, 0, NULL, NULL, &err));
    assert_ok(safetensors_open(path, &file, &err));
    safetensors_close(&file);
}

static void test_sharding_follows_the_limit(void **state)
{
    const char *folder = *state;
    size_t never = 99;
    safetensors_model model;
    // 40 + 6 | 4 + 0 + 60 is too much: "big" goes into a file of its own.
    assert_ok(safetensors_model_write(folder, entries, 5, 50, 77, fill_with_index, &never, &err));
    assert_true(file_exists(path_in(folder, "model-00001-of-00002.safetensors")));
    assert_ok(safetensors_model_open(folder, &model, &err));
    assert_int_equal(model.num_files, 2);
    for (size_t i = 0; i < 5; i++) check_written(safetensors_model_find(&model, entries[i].name), i);
    assert_int_equal(model.files[1].num_tensors, 1);
    safetensors_model_close(&model);
    yyjson_doc *doc = read_json(path_in(folder, "model.safetensors.index.json"));
    yyjson_val *metadata = yyjson_obj_get(yyjson_doc_get_root(doc), "metadata");
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(metadata, "total_size")), 110);
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(metadata, "total_parameters")), 77);
    yyjson_val *map = yyjson_obj_get(yyjson_doc_get_root(doc), "weight_map");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(map, "big")), "model-00002-of-00002.safetensors");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(map, "scalar")), "model-00001-of-00002.safetensors");
    json_free(doc);
}

static void test_failed_writing_leaves_nothing(void **state)
{
    const char *folder = *state;
    size_t stop = 2;
    assert_error(safetensors_write(path_in(folder, "x"), entries, 5, fill_with_index, &stop, &err),
                 LLM_CANCELLED, "stopped");
    assert_error(safetensors_write(path_in(folder, "x"), entries, 1, NULL, NULL, &err), LLM_INVALID_ARGUMENT,
                 "no data");
    safetensors_entry huge = {"h", DTYPE_F32, 2, {(size_t)1 << 40, (size_t)1 << 40}, NULL};
    assert_error(safetensors_write(path_in(folder, "x"), &huge, 1, NULL, NULL, &err), LLM_INVALID_ARGUMENT,
                 "shape");
    assert_error(safetensors_model_write(folder, &huge, 1, 50, 0, NULL, NULL, &err), LLM_INVALID_ARGUMENT,
                 "shape");
    safetensors_entry pair[2] = {{"h", DTYPE_U8, 1, {SIZE_MAX / 2 + 1}, NULL},
                                 {"i", DTYPE_U8, 1, {SIZE_MAX / 2 + 1}, NULL}};
    assert_error(safetensors_model_write(folder, pair, 2, 50, 0, NULL, NULL, &err), LLM_INVALID_ARGUMENT,
                 "too large");
    assert_error(safetensors_write(path_in(folder, "x"), pair, 2, NULL, NULL, &err), LLM_INVALID_ARGUMENT,
                 "too large");
    assert_error(safetensors_write(path_in(folder, "none/x"), entries, 0, NULL, NULL, &err), LLM_IO_ERROR,
                 "none/x");
    if (access("/dev/full", W_OK) == 0)
        assert_error(safetensors_write("/dev/x/y", entries, 0, NULL, NULL, &err), LLM_IO_ERROR, "/dev/x/y");
    assert_int_equal(count_entries(folder), 0);
}

static void test_every_failed_allocation_is_reported(void **state)
{
    size_t never = 99;
    for (long allowed = 0;; allowed++) {
        safetensors_model model;
        mem_fail_after(allowed);
        llm_status status = safetensors_model_open(golden("models/llama-mha-sharded"), &model, &err);
        mem_fail_after(-1);
        if (status == LLM_OK) {
            assert_true(allowed > 10);
            safetensors_model_close(&model);
            break;
        }
        assert_int_equal(status, LLM_OUT_OF_MEMORY);
    }
    for (long allowed = 0;; allowed++) {
        mem_fail_after(allowed);
        llm_status status = safetensors_model_write(*state, entries, 5, 50, 1, fill_with_index, &never, &err);
        mem_fail_after(-1);
        if (status == LLM_OK) break;
        assert_int_equal(status, LLM_OUT_OF_MEMORY);
    }
}

int main(void)
{
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_mlx_wrote),
        cmocka_unit_test(test_reads_shards),
        WITH_FOLDER(test_headers_of_every_good_kind),
        WITH_FOLDER(test_bad_headers_are_refused),
        WITH_FOLDER(test_header_lengths_are_checked),
        WITH_FOLDER(test_no_truncation_is_taken_for_whole),
        WITH_FOLDER(test_folders),
        WITH_FOLDER(test_writing_round_trips),
        WITH_FOLDER(test_sharding_follows_the_limit),
        WITH_FOLDER(test_failed_writing_leaves_nothing),
        WITH_FOLDER(test_every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
