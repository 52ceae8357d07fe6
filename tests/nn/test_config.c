// Configurations and weights that are wrong, strange or hostile: each gives a clean error that names what it
// is about.
#include "testing.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/description.h"
#include "nn/model.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static llm_error err;

#define SIZES                                                                                                \
    "\"hidden_size\":32,\"num_hidden_layers\":2,\"intermediate_size\":48,\"num_attention_heads\":4,"         \
    "\"num_key_value_heads\":2,\"head_dim\":8,\"rms_norm_eps\":1e-5,\"vocab_size\":64,"                      \
    "\"max_position_embeddings\":256,\"tie_word_embeddings\":true,\"rope_theta\":1e4"
#define LLAMA "{\"model_type\":\"llama\"," SIZES

static char *golden_path(const char *name, const char *file)
{
    char *models = path_join(GOLDEN_DIR, "models"), *folder = path_join(models, name),
         *path = path_join(folder, file);
    mem_free(models);
    mem_free(folder);
    return path;
}

// Reads a configuration and describes the model.
static llm_status describe(const char *text, model_desc *desc)
{
    model_config config;
    *desc = (model_desc){0};
    err.message[0] = 0;
    llm_status status = config_read(text, strlen(text), NULL, 0, &config, &err);
    if (status != LLM_OK) return status;
    status = description_build(&config, NULL, desc, &err);
    config_close(&config);
    return status;
}

static void expect_refusal(const char *text, llm_status code, const char *named)
{
    model_desc desc;
    llm_status status = describe(text, &desc);
    model_desc_free(&desc);
    if (status != code || !strstr(err.message, named))
        fail_msg("%s\ngave \"%s\": %s", text, llm_status_name(status), status == LLM_OK ? "" : err.message);
}

static void test_unknown_features_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *named;
    } cases[] = {
        {"{\"model_type\":\"mamba\"}", "model type \"mamba\""},
        {LLAMA ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", "rope type \"dynamic\""},
        {LLAMA ",\"rope_scaling\":{\"rope_type\":\"mrope\"}}", "rope type \"mrope\""},
        {LLAMA ",\"hidden_act\":\"relu\"}", "activation \"relu\""},
        {LLAMA ",\"num_local_experts\":8}", "num_local_experts"},
        {LLAMA ",\"quantization\":{\"bits\":4,\"group_size\":32,\"mode\":\"mxfp4\"}}", "mode \"mxfp4\""},
        {LLAMA ",\"quantization_config\":{\"quant_method\":\"gptq\"}}", "method \"gptq\""},
        {LLAMA ",\"quantization_config\":{\"bits\":4}}", "method \"unknown\""},
        {LLAMA ",\"quantize_activations\":true}", "quantize_activations"},
        {LLAMA ",\"model_file\":\"m.py\"}", "model_file"},
        {LLAMA ",\"layer_types\":[\"full_attention\",\"linear_attention\"]}",
         "layer type \"linear_attention\""},
        {"{\"model_type\":\"gemma2\"," SIZES ",\"hidden_activation\":\"silu\"}", "activation \"silu\""},
        {"{\"model_type\":\"gemma3_text\"," SIZES ",\"layer_types\":[\"full_attention\",7]}", "layer type"},
        {"{\"model_type\":\"qwen3\"," SIZES ",\"attention_bias\":true}", "attention_bias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refusal(cases[i].text, LLM_UNSUPPORTED_FORMAT, cases[i].named);
}

static void test_missing_and_impossible_values_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *named;
    } cases[] = {
        {"[1]", "not a JSON object"},
        {"{}", "\"model_type\" is missing"},
        {"{\"model_type\":7}", "\"model_type\" must be a string"},
        {"{\"model_type\":\"llama\"}", "\"hidden_size\" is missing"},
        {"{\"model_type\":\"qwen3\",\"hidden_size\":32}", "is missing"},
        {"{\"model_type\":\"gemma3\"}", "\"text_config\" is missing"},
        {"{\"model_type\":\"granite\"," SIZES "}", "\"attention_multiplier\" is missing"},
        {"{\"model_type\":\"llama\",\"hidden_size\":1e12}", "\"hidden_size\""},
        {"{\"model_type\":\"llama\",\"hidden_size\":-4}", "\"hidden_size\""},
        {"{\"model_type\":\"llama\",\"hidden_size\":\"32\"}", "\"hidden_size\" must be a whole number"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", "\"factor\" is missing"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", "\"factor\" must be positive"},
        {LLAMA ",\"rope_scaling\":7}", "\"rope_scaling\" must be an object"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4}}",
         "high_freq_factor"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"longrope\"}}", "original_max_position_embeddings"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"longrope\",\"original_max_position_embeddings\":64,\"long_"
               "factor\":[1]}}",
         "\"long_factor\" must be a list of 4"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"longrope\",\"original_max_position_embeddings\":64,\"long_"
               "factor\":[1,1,-1,1]}}",
         "positive numbers"},
        {LLAMA ",\"layer_types\":[\"full_attention\"]}", "\"layer_types\" has 1 items for 2 layers"},
        {LLAMA ",\"layer_types\":[\"sliding_attention\",\"full_attention\"]}",
         "\"sliding_window\" is missing"},
        {"{\"model_type\":\"smollm3\"," SIZES ",\"no_rope_layers\":[1]}", "\"no_rope_layers\" has 1 items"},
        {"{\"model_type\":\"smollm3\"," SIZES ",\"no_rope_layers\":[1,\"x\"]}", "list of 0 and 1"},
        {"{\"model_type\":\"phi3\"," SIZES ",\"partial_rotary_factor\":1.5}", "partial_rotary_factor"},
        {"{\"model_type\":\"phi3\"," SIZES ",\"partial_rotary_factor\":0.4}", "must be even"},
        {LLAMA ",\"eos_token_id\":\"</s>\"}", "\"eos_token_id\""},
        {LLAMA ",\"eos_token_id\":[1,-1]}", "\"eos_token_id\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refusal(cases[i].text, LLM_LOAD_FAILED, cases[i].named);
    expect_refusal(
        "{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":1,\"intermediate_size\":32,"
        "\"num_attention_heads\":3,\"num_key_value_heads\":2,\"head_dim\":8,\"rms_norm_eps\":1e-5,\"vocab_"
        "size\":9}",
        LLM_UNSUPPORTED_FORMAT, "number of attention heads");
}

// Configurations of newer transformers say the same elsewhere.
static void test_rope_parameters_of_newer_configs(void **state)
{
    (void)state;
    model_desc desc;
    assert_ok(describe(
        "{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":1,\"intermediate_size\":32,"
        "\"num_attention_heads\":4,\"rms_norm_eps\":1e-5,\"vocab_size\":9,"
        "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2,\"rope_theta\":1e6}}",
        &desc));
    assert_true(fabs(desc.ropes[0].inv_freq[1] - 0.5 / pow(1e6, 0.25)) < 1e-8);
    assert_true(desc.ropes[0].base == 1e6f && desc.ropes[0].position_scale == 0.5f);
    assert_int_equal(desc.context_length, 2048);
    model_desc_free(&desc);
    assert_ok(describe(
        "{\"model_type\":\"gemma3_text\",\"head_dim\":8,\"num_hidden_layers\":2,\"layer_types\":"
        "[\"full_attention\",\"sliding_attention\"],\"rope_parameters\":{\"full_attention\":{\"rope_type\":"
        "\"linear\",\"factor\":8,\"rope_theta\":5e5},\"sliding_attention\":{\"rope_theta\":2e4}}}",
        &desc));
    const rope_desc *global = &desc.ropes[desc.blocks[0].attention.rope],
                    *local = &desc.ropes[desc.blocks[1].attention.rope];
    assert_true(fabs(global->inv_freq[1] - 1 / 8.0 / pow(5e5, 0.25)) < 1e-8);
    assert_true(global->base == 5e5f && global->position_scale == 0.125f && local->base == 2e4f && local->position_scale == 1);
    assert_true(fabs(local->inv_freq[1] - 1 / pow(2e4, 0.25)) < 1e-8);
    assert_int_equal(desc.blocks[0].attention.window, 0);
    assert_int_equal(desc.blocks[1].attention.window, 512);
    model_desc_free(&desc);
}

static void test_end_tokens_and_sampling_advice(void **state)
{
    (void)state;
    static const char text[] = LLAMA ",\"eos_token_id\":5,\"text_config\":{\"eos_token_id\":9}}";
    static const char advice[] =
        "{\"eos_token_id\":[2,0],\"temperature\":0.6,\"top_k\":20,\"do_sample\":true}";
    model_config config;
    assert_ok(config_read(text, strlen(text), NULL, 0, &config, &err));
    assert_int_equal(config.num_eos_ids, 1);
    assert_int_equal(config.eos_ids[0], 5);
    assert_true(config.sampling.do_sample == -1 && config.sampling.temperature == -1 &&
                config.sampling.top_k == -1);
    config_close(&config);
    assert_ok(config_read(text, strlen(text), advice, strlen(advice), &config, &err));
    assert_int_equal(config.num_eos_ids, 2);
    assert_int_equal(config.eos_ids[1], 0);
    assert_true(config.sampling.temperature == 0.6f && config.sampling.top_k == 20 &&
                config.sampling.do_sample == 1);
    assert_true(config.sampling.top_p == -1);
    config_close(&config);
    static const char *const wrong[] = {
        "{\"temperature\":-2}", "{\"top_k\":-7}", "{\"top_p\":\"x\"}", "[]", "{", "{\"eos_token_id\":{}}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_error(config_read(text, strlen(text), wrong[i], strlen(wrong[i]), &config, &err),
                     LLM_LOAD_FAILED, "generation_config.json");
    char *directory = golden_path("chat", "");
    model_files files;
    assert_ok(model_files_open(directory, &files, &err));
    assert_int_equal(files.config.num_eos_ids, 2);
    assert_int_equal(files.config.eos_ids[0], 2);
    assert_int_equal(files.config.eos_ids[1], 0);
    model_files_close(&files);
    mem_free(directory);
}

// Every scalar of every golden configuration replaced by every strange value, with the model's own files
// beside it.
static const char *const golden_cases[] = {
    "llama-q-mixed",         "llama-layer-types",      "llama-rope-llama3",     "llama-rope-yarn",
    "qwen2-q6-g32",          "qwen3-untied-v5-config", "qwen3-q-inferred",      "gemma2",
    "gemma3-text-q4-g32",    "gemma3-wrapper",         "phi3-longrope",         "phi3-linear",
    "phi3-partial-gqa-tied", "smollm3-list",           "granite-untied-biases", "olmo2-head-dim"};
static const char *const strange_values[] = {
    "0",    "1",     "-1",     "3",     "65536", "2147483647", "-9223372036854775808",
    "1e30", "1e308", "1e-300", "\"x\"", "null",  "true",       "false",
    "[]",   "[1]",   "{}"};

static void try_mutation(const char *text, size_t length, const safetensors_model *tensors, int *opened)
{
    model_config config;
    model_desc desc = {0};
    model_weights weights = {0};
    err.message[0] = 0;
    llm_status status = config_read(text, length, NULL, 0, &config, &err);
    if (status == LLM_OK) {
        status = description_build(&config, tensors, &desc, &err);
        if (status == LLM_OK) status = weights_resolve(&desc, &config, tensors, &weights, &err);
        *opened += status == LLM_OK;
        weights_free(&weights);
        model_desc_free(&desc);
        config_close(&config);
    }
    bool clean = status == LLM_OK ||
                 ((status == LLM_LOAD_FAILED || status == LLM_UNSUPPORTED_FORMAT) && err.message[0]);
    if (!clean) fail_msg("%.*s\ngave \"%s\"", (int)length, text, llm_status_name(status));
}

static int mutate_values(const char *text, const safetensors_model *tensors, int *opened)
{
    int tried = 0;
    for (const char *colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
        const char *begin = colon + 1 + strspn(colon + 1, " \n");
        size_t size = strcspn(begin, ",}\n]");
        for (size_t i = 0; i < sizeof strange_values / sizeof *strange_values; i++) {
            buf mutated = {0};
            buf_append(&mutated, text, (size_t)(begin - text));
            buf_append_string(&mutated, strange_values[i]);
            if (*begin != '{' && *begin != '[')
                buf_append_string(&mutated, begin + size);
            else
                buf_append_string(&mutated, "}"); // cut off there
            try_mutation(mutated.data, mutated.length, tensors, opened);
            buf_free(&mutated);
            tried++;
        }
    }
    return tried;
}

static void test_mutated_configurations_end_cleanly(void **state)
{
    (void)state;
    int tried = 0, opened = 0;
    for (size_t i = 0; i < sizeof golden_cases / sizeof *golden_cases; i++) {
        char *directory = golden_path(golden_cases[i], ""),
             *path = golden_path(golden_cases[i], "config.json"), *text;
        safetensors_model tensors;
        size_t length;
        assert_ok(file_read(path, 1 << 20, &text, &length, &err));
        assert_ok(safetensors_model_open(directory, &tensors, &err));
        tried += mutate_values(text, &tensors, &opened);
        safetensors_model_close(&tensors);
        mem_free(text);
        mem_free(path);
        mem_free(directory);
    }
    assert_true(tried > 3000 && opened > tried / 20 && opened < tried);
    print_message("%d mutations, %d still a model\n", tried, opened);
}

// A copy of a golden model with one thing changed, in a directory of its own.
typedef struct changed_model {
    char directory[40];
    safetensors_model source;
    safetensors_entry entries[100];
    size_t num_entries;
    char *config;
} changed_model;

static void begin_change(changed_model *m, const char *name)
{
    size_t length;
    char *directory = golden_path(name, ""), *path = golden_path(name, "config.json");
    assert_ok(safetensors_model_open(directory, &m->source, &err));
    assert_ok(file_read(path, 1 << 20, &m->config, &length, &err));
    m->num_entries = 0;
    for (size_t i = 0; i < m->source.num_tensors; i++) {
        const safetensors_tensor *tensor = m->source.tensors[i];
        assert_true(m->num_entries < 99);
        safetensors_entry *entry = &m->entries[m->num_entries++];
        *entry = (safetensors_entry){tensor->name, tensor->type, tensor->num_dims, {0}, tensor->data};
        memcpy(entry->shape, tensor->shape, sizeof entry->shape);
    }
    mem_free(directory);
    mem_free(path);
}

static safetensors_entry *entry_named(changed_model *m, const char *name)
{
    for (size_t i = 0; i < m->num_entries; i++)
        if (strcmp(m->entries[i].name, name) == 0) return &m->entries[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

// Writes the changed model and opens it.
static llm_status open_changed(changed_model *m)
{
    model_files files;
    strcpy(m->directory, "/tmp/llmlocal-test-XXXXXX");
    assert_non_null(mkdtemp(m->directory));
    char *config = path_join(m->directory, "config.json"),
         *weights = path_join(m->directory, "model.safetensors");
    assert_ok(file_write(config, m->config, strlen(m->config), &err));
    assert_ok(safetensors_write(weights, m->entries, m->num_entries, NULL, NULL, &err));
    llm_status status = model_files_open(m->directory, &files, &err);
    if (status == LLM_OK) model_files_close(&files);
    unlink(config);
    unlink(weights);
    rmdir(m->directory);
    mem_free(config);
    mem_free(weights);
    mem_free(m->config);
    safetensors_model_close(&m->source);
    return status;
}

static void replace_in_config(changed_model *m, const char *old, const char *new)
{
    char *place = strstr(m->config, old);
    buf b = {0};
    assert_non_null(place);
    buf_append(&b, m->config, (size_t)(place - m->config));
    buf_append_string(&b, new);
    buf_append_string(&b, place + strlen(old));
    mem_free(m->config);
    m->config = buf_take(&b);
}

#define Q_PROJ "model.layers.0.self_attn.q_proj"

static void test_tensors_that_do_not_fit_are_named(void **state)
{
    (void)state;
    changed_model m;
    begin_change(&m, "llama-tied");
    entry_named(&m, Q_PROJ ".weight")->name = Q_PROJ ".wait";
    assert_error(open_changed(&m), LLM_LOAD_FAILED,
                 "tensor " Q_PROJ ".weight is missing; the model needs it with shape [32, 32]");
    begin_change(&m, "llama-tied");
    safetensors_entry *entry = entry_named(&m, Q_PROJ ".weight");
    entry->shape[0] = 16, entry->shape[1] = 64;
    assert_error(open_changed(&m), LLM_LOAD_FAILED,
                 Q_PROJ ".weight is [16, 64] of BF16; the model needs [32, 32]");
    begin_change(&m, "llama-tied");
    entry_named(&m, Q_PROJ ".weight")->type = DTYPE_I16;
    assert_error(open_changed(&m), LLM_LOAD_FAILED, "of I16; the model needs [32, 32] of F32, F16 or BF16");
    begin_change(&m, "llama-biases");
    replace_in_config(&m, "\"attention_bias\": true", "\"attention_bias\": false");
    assert_error(open_changed(&m), LLM_LOAD_FAILED, "config.json describes a model without it");
    begin_change(&m, "llama-tied");
    entry_named(&m, "model.norm.weight")->type = DTYPE_U16;
    assert_error(open_changed(&m), LLM_LOAD_FAILED, "model.norm.weight is [32] of U16");
}

static void test_quantisation_that_does_not_fit_is_named(void **state)
{
    (void)state;
    changed_model m;
    begin_change(&m, "llama-q4-g64");
    entry_named(&m, Q_PROJ ".biases")->name = Q_PROJ ".b";
    assert_error(open_changed(&m), LLM_LOAD_FAILED, Q_PROJ ".biases is missing");
    begin_change(&m, "llama-q4-g64");
    entry_named(&m, Q_PROJ ".biases")->type = DTYPE_F16; // scales are BF16
    assert_error(open_changed(&m), LLM_LOAD_FAILED,
                 Q_PROJ ".biases is [64, 1] of F16; the model needs [64, 1] of BF16");
    begin_change(&m, "llama-q4-g64");
    entry_named(&m, Q_PROJ ".weight")->type = DTYPE_I32;
    assert_error(open_changed(&m), LLM_LOAD_FAILED, "of I32; the model needs [64, 8] of U32");
    begin_change(&m, "llama-q4-g64");
    replace_in_config(&m, "\"quantization\": {",
                      "\"quantization\": { \"" Q_PROJ "\": {\"bits\": 8, \"group_size\": 64},");
    assert_error(open_changed(&m), LLM_LOAD_FAILED,
                 Q_PROJ ".weight is [64, 8] of U32; the model needs [64, 16] of U32");
    begin_change(&m, "llama-q4-g64");
    replace_in_config(&m, "\"quantization\": {",
                      "\"quantization\": { \"" Q_PROJ "\": {\"bits\": 7, \"group_size\": 64},");
    assert_error(open_changed(&m), LLM_UNSUPPORTED_FORMAT, "quantisation to 7 bits in groups of 64");
    begin_change(&m, "llama-q4-g64");
    replace_in_config(&m, "\"quantization\": {",
                      "\"quantization\": { \"" Q_PROJ "\": {\"mode\": \"nvfp4\"},");
    assert_error(open_changed(&m), LLM_UNSUPPORTED_FORMAT, "mode \"nvfp4\"");
    begin_change(&m, "llama-q4-g64");
    replace_in_config(&m, "\"quantization\": {", "\"quantization\": { \"" Q_PROJ "\": false,");
    assert_error(open_changed(&m), LLM_LOAD_FAILED, "is packed");
    begin_change(&m, "llama-q4-g64");
    replace_in_config(&m, "\"quantization\": {", "\"quantization\": { \"" Q_PROJ "\": 4,");
    assert_error(open_changed(&m), LLM_LOAD_FAILED, "neither numbers nor true or false");
    begin_change(&m, "llama-q4-g64");
    replace_in_config(&m, "\"quantization\": {",
                      "\"quantization\": { \"" Q_PROJ "\": true,"); // the top-level numbers
    assert_int_equal(open_changed(&m), LLM_OK);
    begin_change(&m, "llama-q4-g64-f32"); // has no quantization_config beside it
    replace_in_config(&m, "\"quantization\": {", "\"other\": {");
    assert_error(open_changed(&m), LLM_LOAD_FAILED, "is packed");
    begin_change(&m, "llama-q4-g64");
    safetensors_entry *scales = entry_named(&m, Q_PROJ ".scales");
    scales->type = DTYPE_U8, scales->shape[1] = 2;
    assert_error(open_changed(&m), LLM_UNSUPPORTED_FORMAT, "8-bit scales");
}

// What other tools leave in the files and mlx-lm drops.
static void test_known_leftovers_are_dropped(void **state)
{
    (void)state;
    static const float zeros[64] = {0};
    changed_model m;
    begin_change(&m, "llama-tied");
    m.entries[m.num_entries++] =
        (safetensors_entry){"model.layers.0.self_attn.rotary_emb.inv_freq", DTYPE_F32, 1, {4}, zeros};
    assert_int_equal(open_changed(&m), LLM_OK);
    begin_change(&m, "llama-tied");
    m.entries[m.num_entries++] = (safetensors_entry){"lm_head.weight", DTYPE_F32, 1, {4}, zeros};
    assert_int_equal(open_changed(&m), LLM_OK);
    begin_change(&m, "gemma3-wrapper");
    m.entries[m.num_entries++] = (safetensors_entry){"vision_tower.x.weight", DTYPE_F32, 1, {4}, zeros};
    assert_int_equal(open_changed(&m), LLM_OK);
    begin_change(&m, "llama-tied");
    m.entries[m.num_entries++] = (safetensors_entry){"vision_tower.x.weight", DTYPE_F32, 1, {4}, zeros};
    assert_error(open_changed(&m), LLM_LOAD_FAILED, "vision_tower.x.weight");
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    char *directory = golden_path("llama-q-mixed", "");
    model_files files;
    llm_status status = LLM_OUT_OF_MEMORY;
    long i;
    for (i = 0; i < 10000 && status != LLM_OK; i++) {
        mem_fail_after(i);
        status = model_files_open(directory, &files, &err);
        mem_fail_after(-1);
        if (status != LLM_OK) assert_int_equal(status, LLM_OUT_OF_MEMORY);
    }
    assert_true(i > 20 && status == LLM_OK);
    model_files_close(&files);
    mem_free(directory);
    assert_int_equal(model_files_open("/nonexistent", &files, NULL), LLM_IO_ERROR);
}

static void test_families_are_listed(void **state)
{
    (void)state;
    const char *names[50];
    int count = description_families(names, 50);
    assert_int_equal(count, 11);
    assert_string_equal(names[0], "gemma2");
    assert_int_equal(description_families(NULL, 0), count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_features_are_named),
        cmocka_unit_test(test_missing_and_impossible_values_are_named),
        cmocka_unit_test(test_rope_parameters_of_newer_configs),
        cmocka_unit_test(test_end_tokens_and_sampling_advice),
        cmocka_unit_test(test_mutated_configurations_end_cleanly),
        cmocka_unit_test(test_tensors_that_do_not_fit_are_named),
        cmocka_unit_test(test_quantisation_that_does_not_fit_is_named),
        cmocka_unit_test(test_known_leftovers_are_dropped),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_families_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
