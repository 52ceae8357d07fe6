// Conversion: families from GGUF against the models they were made from, MLX's own quantisation, tokenizers,
// failures.
#include "testing.h"
#include "files.h"
#include "base/buf.h"
#include "formats/affine.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/convert.h"

static llm_error err;

static void convert(const char *source, const char *target, const convert_options *options,
                    convert_report *report)
{
    assert_ok(convert_model(source, target, options, report, &err));
}

// Members of `expected` that `actual` has with another value; integers and floats compare as numbers.
static void assert_members(yyjson_val *actual, yyjson_val *expected, const char *const *but, const char *what)
{
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(expected, i, n, key, value)
    {
        const char *name = yyjson_get_str(key);
        bool skip = false;
        for (size_t k = 0; but && but[k]; k++) skip |= strcmp(but[k], name) == 0;
        if (skip) continue;
        yyjson_val *found = yyjson_obj_get(actual, name);
        if (!found) fail_msg("%s: \"%s\" is missing", what, name);
        bool same = yyjson_is_num(value)
                        ? yyjson_is_num(found) && (float)yyjson_get_num(value) == (float)yyjson_get_num(found)
                        : yyjson_equals(value, found);
        if (!same && yyjson_is_obj(value))
            assert_members(found, value, NULL, name);
        else if (!same)
            fail_msg("%s: \"%s\" differs", what, name);
    }
}

static void assert_same_tensors(const char *a_path, const char *b_path)
{
    safetensors_model a, b;
    assert_ok(safetensors_model_open(a_path, &a, &err));
    assert_ok(safetensors_model_open(b_path, &b, &err));
    assert_int_equal(a.num_tensors, b.num_tensors);
    for (size_t i = 0; i < a.num_tensors; i++) {
        const safetensors_tensor *x = a.tensors[i], *y = safetensors_model_find(&b, x->name);
        if (!y || x->type != y->type || x->size != y->size ||
            memcmp(x->shape, y->shape, sizeof x->shape) != 0 || memcmp(x->data, y->data, x->size) != 0)
            fail_msg("%s of %s", x->name, a_path);
    }
    safetensors_model_close(&a);
    safetensors_model_close(&b);
}

// The GGUF files were written from the golden models as llama.cpp's converter does: converting them gives
// those back.
static void test_every_family_comes_back_from_gguf(void **state)
{
    static const char *const cases[] = {"llama-untied-mqa",
                                        "llama-biases",
                                        "llama-rope-llama3",
                                        "llama-rope-linear",
                                        "qwen2-tied",
                                        "qwen3-yarn",
                                        "gemma2",
                                        "gemma3-text",
                                        "phi3-longrope",
                                        "phi3-partial-gqa-tied",
                                        "smollm3",
                                        "granite",
                                        "olmo2"};
    // GGUF does not say these: llama.cpp derives the first from the model's size, and ignores the others.
    static const char *const unsaid[] = {"query_pre_attn_scalar", "sliding_window", "use_sliding_window",
                                         NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char source[100], folder[600];
        convert_report report;
        snprintf(source, sizeof source, "formats/%s.gguf", cases[i]);
        snprintf(folder, sizeof folder, "%s", path_in(*state, cases[i]));
        const char *model = path_in(golden("models"), cases[i]);
        convert(golden(source), folder, NULL, &report);
        assert_int_equal(report.num_exact, report.num_tensors);
        assert_int_equal(report.num_lines, 0);
        convert_report_free(&report);
        assert_same_tensors(folder, model);
        yyjson_doc *actual = read_json(path_in(folder, "config.json")),
                   *expected = read_json(path_in(model, "config.json"));
        bool gemma = strncmp(cases[i], "gemma", 5) == 0;
        assert_members(yyjson_doc_get_root(actual), yyjson_doc_get_root(expected),
                       gemma || strcmp(cases[i], "qwen2-tied") == 0 ? unsaid : NULL, cases[i]);
        if (gemma)
            assert_int_equal(yyjson_get_int(yyjson_obj_get(yyjson_doc_get_root(actual), "sliding_window")),
                             8);
        json_free(actual);
        json_free(expected);
    }
}

static void test_blocks_are_taken_over_without_loss(void **state)
{
    gguf_file file;
    safetensors_model model;
    convert_report report;
    const char *folder = path_in(*state, "quants");
    convert(golden("formats/quants.gguf"), folder, NULL, &report);
    assert_int_equal(report.num_tensors, 12);
    assert_int_equal(report.num_exact, 9); // all but Q4_K, Q5_K, Q6_K
    assert_int_equal(report.num_lines, 3);
    assert_non_null(strstr(report.lines[0], "blk.0.attn_q.weight (Q4_K): scales rounded to float16"));
    assert_non_null(
        strstr(report.lines[2], "token_embd.weight (Q6_K) requantised to 8 bits, groups of 32: max error"));
    convert_report_free(&report);
    assert_ok(gguf_open(golden("formats/quants.gguf"), &file, &err));
    assert_ok(safetensors_model_open(folder, &model, &err));
    static const struct {
        const char *gguf, *module;
        int bits;
        float tolerance;
    } rows[] = {
        {"blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj", 8, 0},
        {"blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj", 4, 0},
        {"blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj", 4, 0},
        {"blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj", 5, 0},
        {"blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj", 5, 0},
        {"token_embd.weight", "model.embed_tokens", 8, 0.0285f},
        {"blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj", 5, 0.001f}, // rows reordered: row 0 stays
        {"blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj", 4, 0.0005f},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const gguf_tensor *t = gguf_find_tensor(&file, rows[i].gguf);
        char names[3][100];
        const safetensors_tensor *parts[3];
        static const char *const suffixes[] = {"weight", "scales", "biases"};
        for (int p = 0; p < 3; p++) {
            snprintf(names[p], sizeof *names, "%s.%s", rows[i].module, suffixes[p]);
            assert_non_null(parts[p] = safetensors_model_find(&model, names[p]));
        }
        assert_int_equal(parts[1]->type, DTYPE_F16);
        affine_matrix m = {parts[0]->data, parts[1]->data, parts[2]->data, DTYPE_F16,
                           t->rows,        t->columns,     rows[i].bits,   32};
        bool permuted = rows[i].tolerance > 0 && rows[i].gguf[0] == 'b';
        float expected[256], actual[256];
        for (size_t r = 0; r < t->rows; r++) {
            // A head of 16: its rows 0-7 are llama.cpp's even ones, 8-15 the odd ones.
            size_t from = permuted ? r / 16 * 16 + r % 8 * 2 + r % 16 / 8 : r;
            gguf_dequantize(t, from, 1, expected);
            affine_dequantize(&m, r, 1, actual);
            for (size_t c = 0; c < t->columns; c++) {
                float difference = expected[c] - actual[c];
                if (difference > rows[i].tolerance || -difference > rows[i].tolerance)
                    fail_msg("%s [%zu, %zu]: %g, not %g", rows[i].gguf, r, c, (double)actual[c],
                             (double)expected[c]);
            }
        }
    }
    yyjson_doc *config = read_json(path_in(folder, "config.json"));
    yyjson_val *quantization = yyjson_obj_get(yyjson_doc_get_root(config), "quantization");
    assert_true(
        yyjson_equals(quantization, yyjson_obj_get(yyjson_doc_get_root(config), "quantization_config")));
    int64_t top = yyjson_get_int(yyjson_obj_get(quantization, "bits"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        yyjson_val *own = yyjson_obj_get(quantization, rows[i].module);
        assert_int_equal(own ? yyjson_get_int(yyjson_obj_get(own, "bits")) : top, rows[i].bits);
    }
    assert_null(yyjson_obj_get(quantization, "lm_head")); // float16
    json_free(config);
    safetensors_model_close(&model);
    gguf_close(&file);
}

static void check_hf_case(const char *folder, yyjson_val *c)
{
    const char *name = yyjson_get_str(yyjson_obj_get(c, "case"));
    char target[600];
    snprintf(target, sizeof target, "%s/%s", folder, name);
    convert_options options = {.bits = yyjson_get_int(yyjson_obj_get(c, "bits")),
                               .group_size = yyjson_get_int(yyjson_obj_get(c, "group_size"))};
    convert(path_in(golden("models"), name), target, &options, NULL);
    safetensors_model model;
    assert_ok(safetensors_model_open(target, &model, &err));
    yyjson_val *tensors = yyjson_obj_get(c, "tensors");
    assert_int_equal(model.num_tensors, yyjson_obj_size(tensors));
    for (size_t i = 0; i < model.num_tensors; i++) {
        yyjson_val *expected = yyjson_obj_get(tensors, model.tensors[i]->name),
                   *shape = yyjson_arr_get_first(expected);
        if (!expected) fail_msg("%s: %s", name, model.tensors[i]->name);
        assert_int_equal(yyjson_arr_size(shape), model.tensors[i]->num_dims);
        for (int d = 0; d < model.tensors[i]->num_dims; d++)
            assert_int_equal(yyjson_get_uint(yyjson_arr_get(shape, (size_t)d)), model.tensors[i]->shape[d]);
        if (strcmp(hash_words(model.tensors[i]->data, model.tensors[i]->size),
                   yyjson_get_str(yyjson_arr_get_last(expected))) != 0)
            fail_msg("%s: %s", name, model.tensors[i]->name);
    }
    safetensors_model_close(&model);
    yyjson_doc *config = read_json(path_in(target, "config.json"));
    assert_int_equal(yyjson_obj_size(yyjson_doc_get_root(config)),
                     yyjson_obj_size(yyjson_obj_get(c, "config")));
    // While it loads a model, mlx-lm writes defaults into the config's text part; we leave it as it is.
    static const char *const but[] = {"text_config", NULL};
    assert_members(yyjson_doc_get_root(config), yyjson_obj_get(c, "config"), but, name);
    assert_members(yyjson_obj_get(yyjson_obj_get(c, "config"), "text_config"),
                   yyjson_obj_get(yyjson_doc_get_root(config), "text_config"), NULL, name);
    json_free(config);
    yyjson_doc *index = read_json(path_in(target, "model.safetensors.index.json"));
    yyjson_val *metadata = yyjson_obj_get(yyjson_doc_get_root(index), "metadata");
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(metadata, "total_parameters")),
                     yyjson_get_uint(yyjson_obj_get(c, "parameters")));
    json_free(index);
}

static void test_directories_quantise_as_mlx_lm_does(void **state)
{
    yyjson_doc *doc = read_json(golden("formats/convert_hf.json"));
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, c) check_hf_case(*state, c);
    assert_int_equal(n, 6);
    json_free(doc);
}

static void test_a_directory_can_only_be_copied(void **state)
{
    convert_report report;
    const char *folder = path_in(*state, "copy");
    convert(golden("models/chat"), folder, NULL, &report);
    assert_same_tensors(folder, golden("models/chat"));
    assert_int_equal(report.num_exact, report.num_tensors);
    convert_report_free(&report);
    size_t a_length, b_length;
    char *a = read_bytes(path_in(folder, "tokenizer.json"), &a_length),
         *b = read_bytes(golden("models/chat/tokenizer.json"), &b_length);
    assert_int_equal(a_length, b_length);
    assert_memory_equal(a, b, a_length);
    mem_free(a);
    mem_free(b);
    assert_true(file_exists(path_in(folder, "chat_template.jinja")));
    yyjson_doc *config = read_json(path_in(folder, "config.json"));
    assert_null(yyjson_obj_get(yyjson_doc_get_root(config), "quantization"));
    json_free(config);
    // Cast to another type.
    folder = path_in(*state, "cast");
    convert(golden("models/chat"), folder, &(convert_options){.dtype = "float32"}, NULL);
    safetensors_model model;
    assert_ok(safetensors_model_open(folder, &model, &err));
    for (size_t i = 0; i < model.num_tensors; i++) assert_int_equal(model.tensors[i]->type, DTYPE_F32);
    safetensors_model_close(&model);
}

// GGUF with bits is what the original with bits is, in bfloat16.
static void test_gguf_with_bits_equals_the_original_with_bits(void **state)
{
    convert_options options = {.bits = 4, .group_size = 32};
    static const char *const cases[] = {"gemma2", "olmo2", "qwen2-tied"};
    for (size_t i = 0; i < 3; i++) {
        char source[100], a[600], b[600];
        snprintf(source, sizeof source, "formats/%s.gguf", cases[i]);
        snprintf(a, sizeof a, "%s/a-%s", (char *)*state, cases[i]);
        snprintf(b, sizeof b, "%s/b-%s", (char *)*state, cases[i]);
        convert(golden(source), a, &options, NULL);
        options.dtype = "bfloat16";
        convert(path_in(golden("models"), cases[i]), b, &options, NULL);
        options.dtype = NULL;
        assert_same_tensors(a, b);
    }
}

static yyjson_val *in(yyjson_doc *doc, const char *pointer) { return yyjson_doc_ptr_get(doc, pointer); }

static void check_tokenizer(const char *folder, const char *name, bool has_template)
{
    char source[100], target[600], expected_path[100];
    snprintf(source, sizeof source, "formats/%s.gguf", name);
    snprintf(expected_path, sizeof expected_path, "formats/%s.json", name);
    snprintf(target, sizeof target, "%s/%s", folder, name);
    convert(golden(source), target, NULL, NULL);
    yyjson_doc *actual = read_json(path_in(target, "tokenizer.json")),
               *expected = read_json(golden(expected_path));
    static const char *const members[] = {"/version",        "/added_tokens",    "/normalizer",
                                          "/pre_tokenizer",  "/decoder",         "/model/vocab",
                                          "/model/merges",   "/model/type",      "/model/byte_fallback",
                                          "/model/fuse_unk", "/model/unk_token", "/model/ignore_merges"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!yyjson_equals(in(actual, members[i]), in(expected, members[i])))
            fail_msg("%s: %s", name, members[i]);
    if (!yyjson_is_null(in(expected, "/post_processor")))
        assert_true(yyjson_equals(in(actual, "/post_processor"), in(expected, "/post_processor")));
    json_free(actual);
    json_free(expected);
    yyjson_doc *config = read_json(path_in(target, "tokenizer_config.json"));
    assert_int_equal(yyjson_is_str(in(config, "/chat_template")), has_template);
    assert_true(yyjson_get_bool(in(config, "/add_bos_token")));
    assert_string_equal(yyjson_get_str(in(config, "/eos_token")), has_template ? "<|eot_id|>" : "</s>");
    json_free(config);
}

static void test_tokenizers_equal_the_library(void **state)
{
    check_tokenizer(*state, "spm", false);
    check_tokenizer(*state, "spm-no-prefix", false);
    check_tokenizer(*state, "bpe", true);
    yyjson_doc *bpe = read_json(path_in(path_in(*state, "bpe"), "tokenizer.json"));
    assert_string_equal(yyjson_get_str(in(bpe, "/post_processor/single/0/SpecialToken/id")),
                        "<|begin_of_text|>");
    assert_int_equal(yyjson_get_int(in(bpe, "/post_processor/pair/3/Sequence/type_id")), 1);
    json_free(bpe);
}

static void test_ends_of_answers_are_listed(void **state)
{
    const char *folder = path_in(*state, "ends");
    convert(golden("formats/llama-untied-mqa.gguf"), folder, NULL, NULL);
    yyjson_doc *doc = read_json(path_in(folder, "generation_config.json"));
    assert_int_equal(yyjson_get_int(in(doc, "/eos_token_id")), 39);
    assert_int_equal(yyjson_get_int(in(doc, "/bos_token_id")), 38);
    json_free(doc);
}

// A copy of a golden GGUF with the first place of `from` replaced by `to` (as long).
static const char *patched(const char *folder, const char *name, const char *from, const char *to,
                           size_t size)
{
    char source[100];
    size_t length;
    snprintf(source, sizeof source, "formats/%s.gguf", name);
    char *data = read_bytes(golden(source), &length), *at = memmem(data, length, from, size);
    if (!at) fail_msg("%s has no %s", name, from);
    memcpy(at, to, size);
    const char *path = path_in(folder, "patched.gguf");
    write_bytes(path, data, length);
    mem_free(data);
    return path;
}

#define PATCH(name, from, to) patched(*state, name, from, to, sizeof(from) - 1)

static void test_what_cannot_be_converted_says_so(void **state)
{
    const char *target = path_in(*state, "never");
    static const struct {
        const char *name, *from, *to;
        size_t size;
        llm_status code;
        const char *why;
    } bad[] = {
#define ROW(name, from, to, code, why) {name, from, to, sizeof(from) - 1, code, why}
        ROW("olmo2", "olmo2", "olmo9", LLM_UNSUPPORTED_FORMAT, "the model family olmo9"),
        ROW("olmo2", "general.architecture", "general.architextura", LLM_LOAD_FAILED,
            "general.architecture is missing"),
        ROW("olmo2", "olmo2.block_count", "olmo2.block_xount", LLM_LOAD_FAILED,
            "olmo2.block_count is missing"),
        ROW("olmo2", "blk.1.ffn_up", "blk.1.ffn_xp", LLM_LOAD_FAILED, "blk.1.ffn_up.weight is missing"),
        ROW("llama-biases", "blk.1.ffn_up.bias", "blk.1.ffn_up.xxxx", LLM_UNSUPPORTED_FORMAT,
            "blk.1.ffn_up.xxxx does not belong"),
        ROW("qwen2-tied", "blk.1.attn_q.bias", "blk.1.attn_q.xxxx", LLM_LOAD_FAILED,
            "blk.1.attn_q.bias is missing"),
        ROW("olmo2", "tokenizer.ggml.model\x08\0\0\0\x04\0\0\0\0\0\0\0gpt2",
            "tokenizer.ggml.model\x08\0\0\0\x04\0\0\0\0\0\0\0bert", LLM_UNSUPPORTED_FORMAT,
            "tokenizer model bert"),
        ROW("olmo2", "gpt-2", "gpt-7", LLM_UNSUPPORTED_FORMAT, "pre-tokenizer gpt-7"),
        ROW("olmo2", "tokenizer.ggml.tokens", "tokenizer.ggml.tokenx", LLM_LOAD_FAILED, "0 tokens"),
        ROW("olmo2", "tokenizer.ggml.merges", "tokenizer.ggml.xerges", LLM_LOAD_FAILED, "merges is missing"),
        ROW("olmo2", "th e", "th__", LLM_LOAD_FAILED, "merge 1 is not a pair"),
        ROW("olmo2", "[PAD30]", "[PAD\xFF\xFF]", LLM_LOAD_FAILED, "token 30 is not valid text"),
        ROW("spm", "tokenizer.ggml.scores", "tokenizer.ggml.scorex", LLM_LOAD_FAILED, "scores are missing"),
        ROW("qwen3-yarn", "rope.scaling.original_context_length", "rope.scaling.original_context_lengtx",
            LLM_LOAD_FAILED, "YaRN"),
        ROW("qwen3-yarn", "\x04\0\0\0\0\0\0\0yarn", "\x04\0\0\0\0\0\0\0yeti", LLM_UNSUPPORTED_FORMAT,
            "rope scaling yeti"),
        ROW("qwen3-yarn", "attention.value_length\x04\0\0\0\x10", "attention.value_length\x04\0\0\0\x11",
            LLM_UNSUPPORTED_FORMAT, "values"),
        ROW("llama-rope-llama3", "rope.freq_base\x06\0\0\0\x00\x40\x1C\x46",
            "rope.freq_base\x06\0\0\0\x00\x40\x1C\x49", LLM_UNSUPPORTED_FORMAT, "rope_freqs"),
        ROW("llama-rope-llama3", "rope.freq_base\x06\0\0\0\x00\x40\x1C\x46",
            "rope.freq_base\x06\0\0\0\x00\x40\x1C\xC9", LLM_LOAD_FAILED, "rope base"),
        ROW("llama-rope-llama3", "rope.freq_base\x06\0\0\0\x00\x40\x1C\x46",
            "rope.freq_base\x06\0\0\0\x00\x00\x80\x7F", LLM_LOAD_FAILED, "finite"),
        ROW("phi3-longrope", "rope_factors_short", "rope_factors_xhort", LLM_LOAD_FAILED,
            "only one of the two"),
        ROW("llama-rope-linear", "head_count_kv\x04\0\0\0\x02", "head_count_kv\x04\0\0\0\x03",
            LLM_LOAD_FAILED, "heads"),
        ROW("llama-rope-linear", "rope.dimension_count\x04\0\0\0\x08", "rope.dimension_count\x04\0\0\0\x04",
            LLM_UNSUPPORTED_FORMAT, "partial rotation"),
#undef ROW
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *source = patched(*state, bad[i].name, bad[i].from, bad[i].to, bad[i].size);
        llm_status status = convert_model(source, target, NULL, NULL, &err);
        if (status != bad[i].code || !strstr(err.message, bad[i].why))
            fail_msg("%s, %s: %s: \"%s\"", bad[i].name, bad[i].from, llm_status_name(status), err.message);
        assert_int_equal(count_entries(*state), 1); // the patched file alone
    }
}

static bool stop_after_two(void *user, double done)
{
    int *calls = user;
    assert_true(done >= 0 && done <= 1);
    return ++*calls < 3;
}

static void test_failures_leave_nothing_behind(void **state)
{
    const char *folder = *state, *target = path_in(folder, "out"), *source = golden("formats/olmo2.gguf");
    int calls = 0;
    convert_options stopping = {.progress = stop_after_two, .user = &calls};
    assert_error(convert_model(source, target, &stopping, NULL, &err), LLM_CANCELLED, "cancelled");
    assert_int_equal(calls, 3);
    assert_int_equal(count_entries(folder), 0);
    assert_error(convert_model(path_in(folder, "none.gguf"), target, NULL, NULL, &err), LLM_IO_ERROR,
                 "none.gguf");
    assert_error(convert_model(source, path_in(folder, "no/parent"), NULL, NULL, &err), LLM_IO_ERROR,
                 "no/parent");
    assert_error(convert_model(source, "", NULL, NULL, &err), LLM_INVALID_ARGUMENT, "no name");
    assert_error(convert_model(source, target, &(convert_options){.bits = 7}, NULL, &err),
                 LLM_INVALID_ARGUMENT, "7 bits");
    assert_error(convert_model(source, target, &(convert_options){.bits = 4, .group_size = 48}, NULL, &err),
                 LLM_INVALID_ARGUMENT, "48");
    assert_error(convert_model(source, target, &(convert_options){.dtype = "int8"}, NULL, &err),
                 LLM_INVALID_ARGUMENT, "int8");
    assert_int_equal(count_entries(folder), 0);

    write_bytes(target, "x", 1);
    assert_error(convert_model(source, target, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "exists already");
    unlink(target);
    assert_ok(file_make_directory(target, &err));
    convert(source, path_in(folder, "out//"), NULL, NULL); // empty: fine; a slash at the end, too
    assert_true(file_exists(path_in(target, "config.json")));
    assert_error(convert_model(source, target, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "exists already");
    assert_int_equal(count_entries(folder), 1);
}

static void write_config(const char *folder, const char *text)
{
    write_bytes(path_in(folder, "config.json"), text, strlen(text));
}

static void test_bad_directories_are_refused(void **state)
{
    char folder[600];
    const char *target = path_in(*state, "out");
    snprintf(folder, sizeof folder, "%s/in", (char *)*state);
    assert_ok(file_make_directory(folder, &err));
    assert_error(convert_model(folder, target, NULL, NULL, &err), LLM_IO_ERROR, "config.json");
    static const struct {
        const char *config, *why;
        llm_status code;
    } bad[] = {
        {"{", "not valid JSON", LLM_LOAD_FAILED},
        {"{}", "model_type", LLM_LOAD_FAILED},
        {"{\"model_type\":5}", "model_type", LLM_LOAD_FAILED},
        {"{\"model_type\":\"rwkv9\"}", "rwkv9", LLM_UNSUPPORTED_FORMAT},
        {"{\"model_type\":\"llama\",\"quantization\":{\"bits\":4}}", "MLX model already",
         LLM_INVALID_ARGUMENT},
        {"{\"model_type\":\"llama\",\"quantization_config\":{}}", "quantised already",
         LLM_UNSUPPORTED_FORMAT},
        {"{\"model_type\":\"gemma3\",\"text_config\":{\"quantization_config\":{}}}", "quantised already",
         LLM_UNSUPPORTED_FORMAT},
        {"{\"model_type\":\"llama\",\"torch_dtype\":5}", "torch_dtype", LLM_LOAD_FAILED},
        {"{\"model_type\":\"llama\"}", "no model*.safetensors", LLM_LOAD_FAILED},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_config(folder, bad[i].config);
        assert_error(convert_model(folder, target, NULL, NULL, &err), bad[i].code, bad[i].why);
    }
    static const double real = 1;
    safetensors_entry entries[] = {{"nodot", DTYPE_F32, 0, {0}, &real},
                                   {"a.weight", DTYPE_F64, 0, {0}, &real}};
    const char *weights = path_in(folder, "model.safetensors");
    assert_ok(safetensors_write(weights, NULL, 0, NULL, NULL, &err));
    assert_error(convert_model(folder, target, NULL, NULL, &err), LLM_LOAD_FAILED, "no tensors");
    assert_ok(safetensors_write(weights, entries, 1, NULL, NULL, &err));
    assert_error(convert_model(folder, target, NULL, NULL, &err), LLM_LOAD_FAILED, "nodot");
    assert_ok(safetensors_write(weights, entries + 1, 1, NULL, NULL, &err));
    assert_error(convert_model(folder, target, NULL, NULL, &err), LLM_UNSUPPORTED_FORMAT, "float64");
    write_bytes(path_in(folder, "generation_config.json"), "[", 1);
    assert_error(convert_model(folder, target, NULL, NULL, &err), LLM_LOAD_FAILED, "generation_config");
    assert_int_equal(count_entries(*state), 1);
}

// Directory to directory: dropped tensors, the config's order and its edits.
static void test_a_directory_is_tidied_as_mlx_lm_does(void **state)
{
    char folder[600], target[600];
    snprintf(folder, sizeof folder, "%s/in", (char *)*state);
    snprintf(target, sizeof target, "%s/out", (char *)*state);
    assert_ok(file_make_directory(folder, &err));
    static const float values[64];
    static const int64_t ids[2] = {3, 4};
    const safetensors_entry entries[] = {
        {"model.embed_tokens.weight", DTYPE_F32, 2, {1, 64}, values},
        {"model.layers.0.odd.weight", DTYPE_F32, 2, {2, 24}, values}, // 24 columns: no whole groups
        {"model.layers.0.self_attn.rotary_emb.inv_freq", DTYPE_F32, 1, {4}, values},
        {"lm_head.weight", DTYPE_F32, 2, {1, 64}, values},
        {"model.position.ids", DTYPE_I64, 1, {2}, ids},
    };
    assert_ok(safetensors_write(path_in(folder, "model.safetensors"), entries, 5, NULL, NULL, &err));
    write_config(folder, "{\"z\":[1,{\"k\":\"v\"}],\"model_type\":\"llama\",\"_name_or_path\":\"x\",\"vision_"
                         "config\":{},\"eos_token_id\":1,"
                         "\"a\":1e-5,\"tie_word_embeddings\":true,\"torch_dtype\":\"float16\"}");
    write_bytes(path_in(folder, "generation_config.json"), "{\"eos_token_id\":[7,8]}", 22);
    convert(folder, target, &(convert_options){.bits = 8}, NULL);
    safetensors_model model;
    assert_ok(safetensors_model_open(target, &model, &err));
    assert_int_equal(model.num_tensors, 5);
    assert_int_equal(safetensors_model_find(&model, "model.embed_tokens.scales")->type, DTYPE_F16);
    assert_int_equal(safetensors_model_find(&model, "model.layers.0.odd.weight")->type, DTYPE_F16);
    const safetensors_tensor *kept = safetensors_model_find(&model, "model.position.ids");
    assert_int_equal(kept->type, DTYPE_I64);
    assert_memory_equal(kept->data, ids, sizeof ids);
    safetensors_model_close(&model);
    size_t length;
    char *text = read_bytes(path_in(target, "config.json"), &length);
    assert_null(strstr(text, "vision_config"));
    assert_null(strstr(text, "_name_or_path"));
    assert_true(strstr(text, "\"a\"") < strstr(text, "\"eos_token_id\""));
    assert_true(strstr(text, "\"quantization_config\"") < strstr(text, "\"tie_word_embeddings\""));
    mem_free(text);
    yyjson_doc *doc = read_json(path_in(target, "config.json"));
    assert_int_equal(yyjson_get_int(in(doc, "/eos_token_id/1")), 8);
    assert_string_equal(yyjson_get_str(in(doc, "/z/1/k")), "v");
    assert_int_equal(yyjson_get_int(in(doc, "/quantization/group_size")), 64);
    json_free(doc);
    convert(folder, path_in(*state, "cast"), &(convert_options){.dtype = "bfloat16"}, NULL);
    doc = read_json(path_in(path_in(*state, "cast"), "config.json"));
    assert_string_equal(yyjson_get_str(in(doc, "/torch_dtype")), "bfloat16");
    json_free(doc);
}

// Of a multimodal Gemma 3, the text part alone.
static void test_only_the_text_part_is_taken(void **state)
{
    char folder[600], target[600];
    snprintf(folder, sizeof folder, "%s/in", (char *)*state);
    snprintf(target, sizeof target, "%s/out", (char *)*state);
    assert_ok(file_make_directory(folder, &err));
    static const float values[64];
    const safetensors_entry entries[] = {
        {"language_model.model.embed_tokens.weight", DTYPE_F32, 2, {1, 64}, values},
        {"vision_tower.vision_model.post_layernorm.weight", DTYPE_F32, 1, {8}, values},
        {"multi_modal_projector.mm_soft_emb_norm.weight", DTYPE_F32, 1, {8}, values},
    };
    assert_ok(safetensors_write(path_in(folder, "model.safetensors"), entries, 3, NULL, NULL, &err));
    write_config(folder,
                 "{\"model_type\":\"gemma3\",\"vision_config\":{},\"text_config\":{\"dtype\":\"bfloat16\"}}");
    convert(folder, target, &(convert_options){.bits = 4}, NULL);
    safetensors_model model;
    assert_ok(safetensors_model_open(target, &model, &err));
    assert_int_equal(model.num_tensors, 3);
    assert_int_equal(safetensors_model_find(&model, "language_model.model.embed_tokens.biases")->type,
                     DTYPE_BF16);
    safetensors_model_close(&model);
}

// A GGUF that has something float16 cannot hold: it stays as it was, and the report says so.
static void test_what_the_type_cannot_hold_stays(void **state)
{
    size_t length;
    char *data = read_bytes(golden("formats/quants.gguf"), &length);
    const char *path = path_in(*state, "big.gguf");
    write_bytes(path, data, length);
    gguf_file file;
    assert_ok(gguf_open(path, &file, &err));
    size_t norm = (size_t)(gguf_find_tensor(&file, "output_norm.weight")->data - file.map.data);
    size_t block = (size_t)(gguf_find_tensor(&file, "blk.0.attn_v.weight")->data - file.map.data);
    gguf_close(&file);
    float big = 1e6f;
    memcpy(data + norm, &big, sizeof big);
    memcpy(data + block, "\x00\x70", 2); // a Q8_0 scale of 8192: its bias would be -2^20
    write_bytes(path, data, length);
    mem_free(data);
    convert_report report;
    const char *target = path_in(*state, "out");
    convert(path, target, NULL, &report);
    assert_int_equal(report.num_exact, 9);
    buf all = {0};
    for (size_t i = 0; i < report.num_lines; i++) buf_printf(&all, "%s\n", report.lines[i]);
    assert_non_null(strstr(all.data, "output_norm.weight stays float32: float16 cannot hold it exactly"));
    assert_non_null(strstr(all.data, "blk.0.attn_v.weight (Q8_0): its scales stay float32"));
    buf_free(&all);
    convert_report_free(&report);
    safetensors_model model;
    assert_ok(safetensors_model_open(target, &model, &err));
    const safetensors_tensor *t = safetensors_model_find(&model, "model.norm.weight");
    assert_int_equal(t->type, DTYPE_F32);
    assert_memory_equal(t->data, &big, sizeof big);
    t = safetensors_model_find(&model, "model.layers.0.self_attn.v_proj.biases");
    float bias;
    assert_int_equal(t->type, DTYPE_F32);
    memcpy(&bias, t->data, sizeof bias);
    assert_true(bias == -1048576.0f);
    safetensors_model_close(&model);
    // Asked for a type: rounded to it, and said.
    convert(path, path_in(*state, "cast"), &(convert_options){.dtype = "bfloat16"}, &report);
    assert_true(report.num_lines > 3);
    convert_report_free(&report);
}

static void test_every_failed_allocation_is_reported(void **state)
{
    static const char *const sources[] = {"formats/quants.gguf", "formats/spm.gguf",
                                          "models/llama-mha-sharded"};
    for (size_t i = 0; i < 3; i++) {
        char target[600];
        snprintf(target, sizeof target, "%s/out%zu", (char *)*state, i);
        convert_options options = {.bits = i == 2 ? 4 : 0, .group_size = 32};
        for (long allowed = 0;; allowed += allowed < 300 ? 1 : 17) {
            convert_report report;
            mem_fail_after(allowed);
            llm_status status = convert_model(golden(sources[i]), target, &options, &report, &err);
            mem_fail_after(-1);
            convert_report_free(&report);
            if (status == LLM_OK) break;
            if (status != LLM_OUT_OF_MEMORY) fail_msg("%s after %ld: %s", sources[i], allowed, err.message);
            if (count_entries(*state) != i) fail_msg("%s after %ld leaves something", sources[i], allowed);
        }
    }
}

int main(void)
{
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_every_family_comes_back_from_gguf),
        WITH_FOLDER(test_blocks_are_taken_over_without_loss),
        WITH_FOLDER(test_directories_quantise_as_mlx_lm_does),
        WITH_FOLDER(test_a_directory_can_only_be_copied),
        WITH_FOLDER(test_gguf_with_bits_equals_the_original_with_bits),
        WITH_FOLDER(test_tokenizers_equal_the_library),
        WITH_FOLDER(test_ends_of_answers_are_listed),
        WITH_FOLDER(test_what_cannot_be_converted_says_so),
        WITH_FOLDER(test_failures_leave_nothing_behind),
        WITH_FOLDER(test_bad_directories_are_refused),
        WITH_FOLDER(test_a_directory_is_tidied_as_mlx_lm_does),
        WITH_FOLDER(test_only_the_text_part_is_taken),
        WITH_FOLDER(test_what_the_type_cannot_hold_stays),
        WITH_FOLDER(test_every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
