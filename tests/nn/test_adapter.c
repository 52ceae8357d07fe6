// Reading adapters: what they say, what does not fit, what is refused by name; files are written here, hostile ones too.
#include "testing.h"
#include "base/buf.h"
#include "files.h"
#include "formats/safetensors.h"
#include "nn/golden_adapters.h"
#include <math.h>

static llm_error err;

// llama-tied: 2 layers, hidden 32, q_proj [32, 32], v_proj [16, 32], down_proj [32, 32].
#define BASE "llama-tied"
#define MLX_CONFIG "{\"fine_tune_type\":\"lora\",\"num_layers\":1,\"lora_parameters\":{\"rank\":2,\"scale\":3,\"dropout\":0.5}}"
#define PEFT_CONFIG(more) "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":6,\"target_modules\":[\"v_proj\"]" more "}"
#define V_PROJ "model.layers.1.self_attn.v_proj"
#define PEFT_V "base_model.model." V_PROJ

typedef struct tensor {
    const char *name;
    dtype type;
    int num_dims;
    size_t shape[3];
} tensor;

static float values[64 * 64];

// Writes an adapter; tensors end with one without a name. Element i of each is 1 / (i + 1), or `values` says so.
static void write_adapter(const char *folder, const char *config, const char *file, const tensor *tensors)
{
    safetensors_entry entries[16] = {{0}};
    size_t count = 0;
    for (; tensors[count].name; count++) {
        entries[count] = (safetensors_entry){.name = tensors[count].name, .type = tensors[count].type, .num_dims = tensors[count].num_dims, .data = values};
        memcpy(entries[count].shape, tensors[count].shape, sizeof tensors[count].shape);
    }
    write_bytes(path_in(folder, "adapter_config.json"), config, strlen(config));
    unlink(path_in(folder, "adapters.safetensors"));
    unlink(path_in(folder, "adapter_model.safetensors"));
    assert_ok(safetensors_write(path_in(folder, file), entries, count, NULL, NULL, &err));
}

static void open_base(model_files *files)
{
    char *directory = golden_base_path(BASE);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) values[i] = 1.0f / (float)(i + 1);
    assert_ok(model_files_open(directory, files, &err));
    mem_free(directory);
}

static const tensor mlx_good[] = {{V_PROJ ".lora_a", DTYPE_F32, 2, {32, 2}}, {V_PROJ ".lora_b", DTYPE_F32, 2, {2, 16}}, {0}};
static const tensor peft_good[] = {{PEFT_V ".lora_A.weight", DTYPE_F32, 2, {2, 32}}, {PEFT_V ".lora_B.weight", DTYPE_F32, 2, {16, 2}}, {0}};

static void test_arrays_are_as_engines_want_them(void **state)
{
    model_files files;
    adapter a;
    open_base(&files);
    write_adapter(*state, MLX_CONFIG, "adapters.safetensors", mlx_good);
    assert_ok(adapter_open(*state, &files, &a, &err));
    assert_string_equal(a.format, "MLX LoRA");
    assert_int_equal(a.num_layers, 1);
    const adapter_layer *layer = a.layers;
    assert_string_equal(files.desc.tensors[layer->tensor].name, V_PROJ ".weight");
    assert_int_equal(layer->rank, 2);
    assert_null(layer->gain);
    for (int r = 0; r < 2; r++) { // both transposed, the scale in b
        for (int i = 0; i < 32; i++) assert_true(layer->a[r * 32 + i] == values[i * 2 + r]);
        for (int i = 0; i < 16; i++) assert_true(layer->b[i * 2 + r] == 3 * values[r * 16 + i]);
    }
    adapter_close(&a);
    write_adapter(*state, PEFT_CONFIG(",\"use_rslora\":true"), "adapter_model.safetensors", peft_good);
    assert_ok(adapter_open(*state, &files, &a, &err));
    assert_string_equal(a.format, "PEFT LoRA");
    for (int i = 0; i < 64; i++) assert_true(a.layers->a[i] == values[i]);
    for (int i = 0; i < 32; i++) assert_true(fabsf(a.layers->b[i] - 6 / sqrtf(2) * values[i]) < 1e-6f);
    adapter_close(&a);
    model_files_close(&files);
}

// The rows that DoRA makes have its lengths.
static void test_dora_gives_rows_their_lengths(void **state)
{
    (void)state;
    const char *const names[] = {"llama-dora", "phi3-dora-fused", "peft-dora", NULL};
    for (int n = 0; names[n]; n++) {
        golden_adapter g;
        safetensors_file file;
        float row[256], magnitudes[256];
        open_golden_adapter(names[n], &g);
        bool peft = strncmp(names[n], "peft", 4) == 0;
        assert_ok(safetensors_open(path_in(g.directory, peft ? "adapter_model.safetensors" : "adapters.safetensors"), &file, &err));
        for (int i = 0; i < g.adapter.num_layers; i++) {
            const adapter_layer *layer = &g.adapter.layers[i];
            const tensor_desc *weight = &g.files.desc.tensors[layer->tensor];
            char name[300];
            snprintf(name, sizeof name, "%s%.*s%s", peft ? "base_model.model." : "", (int)strlen(weight->name) - 7, weight->name,
                     peft ? ".lora_magnitude_vector" : ".m");
            const safetensors_tensor *magnitude = safetensors_find(&file, name);
            assert_non_null(magnitude);
            dtype_to_float(magnitude->type, magnitude->data, magnitudes, (size_t)weight->rows);
            for (int r = 0; r < weight->rows; r++) {
                double sum = 0;
                weight_view_row(&g.files.weights.views[layer->tensor], r, row);
                adapter_merge_row(layer, r, weight->cols, row);
                for (int c = 0; c < weight->cols; c++) sum += (double)row[c] * (double)row[c];
                assert_true(fabs(sqrt(sum) - fabs((double)magnitudes[r])) < 1e-5 * (1 + fabs((double)magnitudes[r])));
            }
        }
        safetensors_close(&file);
        close_golden_adapter(&g);
    }
}

typedef struct refusal {
    const char *config;
    tensor tensors[3];
    llm_status code;
    const char *message;
} refusal;

static void check_refusals(const char *folder, const char *file, const refusal *refusals, size_t count)
{
    model_files files;
    adapter a;
    open_base(&files);
    for (size_t i = 0; i < count; i++) {
        tensor tensors[4] = {{0}};
        memcpy(tensors, refusals[i].tensors, sizeof refusals[i].tensors);
        write_adapter(folder, refusals[i].config, file, tensors);
        llm_status status = adapter_open(folder, &files, &a, &err);
        if (status != refusals[i].code || !strstr(err.message, refusals[i].message))
            fail_msg("%s, tensor %s: got %s, \"%s\"", refusals[i].config, tensors[0].name, llm_status_name(status), err.message);
        assert_null(a.layers);
    }
    model_files_close(&files);
}

#define GOOD_A {V_PROJ ".lora_a", DTYPE_F32, 2, {32, 2}}
#define GOOD_B {V_PROJ ".lora_b", DTYPE_F32, 2, {2, 16}}

static void test_mlx_adapters_that_do_not_fit(void **state)
{
    static const refusal refusals[] = {
        {MLX_CONFIG, {GOOD_A, {V_PROJ ".lora_b", DTYPE_F32, 2, {2, 24}}}, LLM_ADAPTER_MERGE_FAILED, V_PROJ ".lora_b is [2, 24] of F32; the model needs [2, 16]"},
        {MLX_CONFIG, {{V_PROJ ".lora_a", DTYPE_F32, 2, {32, 3}}, GOOD_B}, LLM_ADAPTER_MERGE_FAILED, "lora_a is [32, 3]"},
        {MLX_CONFIG, {{V_PROJ ".lora_a", DTYPE_F32, 1, {64}}, GOOD_B}, LLM_ADAPTER_MERGE_FAILED, "lora_a is [64]"},
        {MLX_CONFIG, {{V_PROJ ".lora_a", DTYPE_F32, 3, {1, 32, 2}}, GOOD_B}, LLM_ADAPTER_MERGE_FAILED, "lora_a is [1, 32, 2]"},
        {MLX_CONFIG, {{V_PROJ ".lora_a", DTYPE_I32, 2, {32, 2}}, GOOD_B}, LLM_ADAPTER_MERGE_FAILED, "of I32"},
        {MLX_CONFIG, {GOOD_A}, LLM_ADAPTER_MERGE_FAILED, "no B for " V_PROJ},
        {MLX_CONFIG, {GOOD_B}, LLM_ADAPTER_MERGE_FAILED, "no A for " V_PROJ},
        {MLX_CONFIG, {GOOD_A, GOOD_B, {V_PROJ ".m", DTYPE_F32, 1, {16}}}, LLM_ADAPTER_MERGE_FAILED, "DoRA"},
        {MLX_CONFIG, {{0}}, LLM_ADAPTER_MERGE_FAILED, "no tensors"},
        {MLX_CONFIG, {{"model.layers.0.self_attn.v_proj.lora_a", DTYPE_F32, 2, {32, 2}}}, LLM_ADAPTER_MERGE_FAILED, "leaves out"},
        {MLX_CONFIG, {{"model.layers.9.self_attn.v_proj.lora_a", DTYPE_F32, 2, {32, 2}}}, LLM_ADAPTER_MERGE_FAILED, "layers.9.self_attn.v_proj.lora_a belongs to no"},
        {MLX_CONFIG, {{"model.layers.1.mlp.experts.lora_a", DTYPE_F32, 2, {32, 2}}}, LLM_ADAPTER_MERGE_FAILED, "belongs to no"},
        {MLX_CONFIG, {{"model.norm.lora_a", DTYPE_F32, 2, {32, 2}}}, LLM_ADAPTER_MERGE_FAILED, "belongs to no"},
        {MLX_CONFIG, {{V_PROJ ".weight", DTYPE_F32, 2, {16, 32}}}, LLM_ADAPTER_MERGE_FAILED, "belongs to no"},
        {MLX_CONFIG, {{".lora_a", DTYPE_F32, 2, {16, 32}}}, LLM_ADAPTER_MERGE_FAILED, "belongs to no"},
        {MLX_CONFIG, {{"model.embed_tokens.lora_a", DTYPE_F32, 2, {64, 2}}}, LLM_UNSUPPORTED_FORMAT, "embedding"},
        {"{\"num_layers\":1,\"lora_parameters\":{\"rank\":2,\"scale\":1,\"keys\":[\"self_attn.q_proj\",\"v_proj\"]}}", {GOOD_A, GOOD_B}, LLM_ADAPTER_MERGE_FAILED, "leaves out"},
        {"{\"fine_tune_type\":\"full\",\"num_layers\":1,\"lora_parameters\":null}", {GOOD_A}, LLM_UNSUPPORTED_FORMAT, "\"full\""},
        {"{\"fine_tune_type\":\"dora\",\"num_layers\":1,\"lora_parameters\":{\"rank\":2,\"scale\":1}}", {GOOD_A, GOOD_B}, LLM_ADAPTER_MERGE_FAILED, "no magnitude"},
        {"{\"lora_parameters\":{\"rank\":2,\"scale\":1}}", {GOOD_A}, LLM_LOAD_FAILED, "lora_layers"},
        {"{\"num_layers\":1}", {GOOD_A}, LLM_LOAD_FAILED, "lora_parameters"},
        {"{\"num_layers\":1,\"lora_parameters\":{\"rank\":2,\"alpha\":4}}", {GOOD_A}, LLM_LOAD_FAILED, "\"scale\" is missing"},
        {"{\"num_layers\":1,\"lora_parameters\":{\"rank\":0,\"scale\":1}}", {GOOD_A}, LLM_LOAD_FAILED, "rank is 0"},
        {"{\"num_layers\":1,\"lora_parameters\":{\"rank\":9999999999,\"scale\":1}}", {GOOD_A}, LLM_LOAD_FAILED, "rank is 9999999999"},
        {"{\"num_layers\":1,\"lora_parameters\":{\"rank\":2,\"scale\":1e300}}", {GOOD_A}, LLM_LOAD_FAILED, "scale is out of range"},
        {"{\"num_layers\":1,\"lora_parameters\":{\"rank\":2,\"scale\":1,\"keys\":[3]}}", {GOOD_A}, LLM_LOAD_FAILED, "keys"},
        {"[]", {GOOD_A}, LLM_LOAD_FAILED, "adapter_config.json: it is no JSON object"},
        {"{\"num_layers\":", {GOOD_A}, LLM_LOAD_FAILED, "adapter_config.json"},
    };
    check_refusals(*state, "adapters.safetensors", refusals, sizeof refusals / sizeof *refusals);
}

#define PEFT_A {PEFT_V ".lora_A.weight", DTYPE_F32, 2, {2, 32}}
#define PEFT_B {PEFT_V ".lora_B.weight", DTYPE_F32, 2, {16, 2}}

static void test_peft_adapters_that_do_not_fit(void **state)
{
    static const refusal refusals[] = {
        {PEFT_CONFIG(",\"modules_to_save\":[\"lm_head\"]"), {PEFT_A, PEFT_B}, LLM_UNSUPPORTED_FORMAT, "\"modules_to_save\" (lm_head)"},
        {PEFT_CONFIG(",\"bias\":\"all\""), {PEFT_A, PEFT_B}, LLM_UNSUPPORTED_FORMAT, "\"bias\" (all)"},
        {PEFT_CONFIG(",\"lora_bias\":true"), {PEFT_A, PEFT_B}, LLM_UNSUPPORTED_FORMAT, "lora_bias"},
        {PEFT_CONFIG(",\"alora_invocation_tokens\":[1]"), {PEFT_A, PEFT_B}, LLM_UNSUPPORTED_FORMAT, "alora"},
        {"{\"peft_type\":\"IA3\"}", {PEFT_A, PEFT_B}, LLM_UNSUPPORTED_FORMAT, "\"IA3\""},
        {PEFT_CONFIG(",\"rank_pattern\":{\"^v.*\":4}"), {PEFT_A, PEFT_B}, LLM_UNSUPPORTED_FORMAT, "^v.*"},
        {PEFT_CONFIG(",\"rank_pattern\":{\"v_proj\":\"x\"}"), {PEFT_A, PEFT_B}, LLM_LOAD_FAILED, "rank_pattern"},
        {PEFT_CONFIG(",\"rank_pattern\":{\"v_proj\":4}"), {PEFT_A, PEFT_B}, LLM_ADAPTER_MERGE_FAILED, "the model needs [4, 32]"},
        {PEFT_CONFIG(",\"rank_pattern\":{\"v_proj\":0}"), {PEFT_A, PEFT_B}, LLM_ADAPTER_MERGE_FAILED, "a rank of 0"},
        {PEFT_CONFIG(",\"use_dora\":true"), {PEFT_A, PEFT_B}, LLM_ADAPTER_MERGE_FAILED, "no magnitude"},
        {PEFT_CONFIG(""), {{PEFT_V ".lora_A.weight", DTYPE_F32, 2, {32, 2}}}, LLM_ADAPTER_MERGE_FAILED, "is [32, 2]"},
        {PEFT_CONFIG(""), {{"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight", DTYPE_F32, 2, {2, 32}}}, LLM_ADAPTER_MERGE_FAILED, "leaves out"},
        {PEFT_CONFIG(""), {{"base_model.model.model.vision_tower.layers.1.self_attn.v_proj.lora_A.weight", DTYPE_F32, 2, {2, 32}}}, LLM_ADAPTER_MERGE_FAILED, "vision_tower"},
        {PEFT_CONFIG(""), {{"base_model.model.lm_head.lora_A.weight", DTYPE_F32, 2, {2, 32}}}, LLM_ADAPTER_MERGE_FAILED, "lm_head"}, // tied
        {PEFT_CONFIG(""), {{"base_model.model.lm_head.weight", DTYPE_F32, 2, {2, 32}}}, LLM_ADAPTER_MERGE_FAILED, "lm_head"},
        {PEFT_CONFIG(""), {{"base_model.model.model.embed_tokens.lora_embedding_A", DTYPE_F32, 2, {2, 64}}}, LLM_UNSUPPORTED_FORMAT, "embedding"},
        {PEFT_CONFIG(""), {PEFT_A, PEFT_B, {V_PROJ ".lora_A.weight", DTYPE_F32, 2, {2, 32}}}, LLM_ADAPTER_MERGE_FAILED, "twice"},
        {PEFT_CONFIG(",\"use_rslora\":3"), {PEFT_A}, LLM_LOAD_FAILED, "use_rslora"},
    };
    check_refusals(*state, "adapter_model.safetensors", refusals, sizeof refusals / sizeof *refusals);
}

static void test_values_that_are_no_numbers(void **state)
{
    model_files files;
    adapter a;
    open_base(&files);
    values[5] = NAN;
    write_adapter(*state, MLX_CONFIG, "adapters.safetensors", mlx_good);
    assert_error(adapter_open(*state, &files, &a, &err), LLM_ADAPTER_MERGE_FAILED, "lora_a has a value that is not a number");
    model_files_close(&files);
}

static void test_files_that_are_missing(void **state)
{
    model_files files;
    adapter a;
    open_base(&files);
    assert_error(adapter_open("/nowhere", &files, &a, &err), LLM_IO_ERROR, "/nowhere/adapter_config.json");
    write_adapter(*state, MLX_CONFIG, "adapters.safetensors", mlx_good);
    unlink(path_in(*state, "adapters.safetensors"));
    assert_error(adapter_open(*state, &files, &a, &err), LLM_IO_ERROR, "adapters.safetensors");
    write_bytes(path_in(*state, "adapter_config.json"), PEFT_CONFIG(""), strlen(PEFT_CONFIG("")));
    write_bytes(path_in(*state, "adapter_model.bin"), "PK", 2);
    assert_error(adapter_open(*state, &files, &a, &err), LLM_UNSUPPORTED_FORMAT, "pickle");
    model_files_close(&files);
}

// PEFT saves the head that it adapts; another one than the model's is refused.
static void test_a_head_that_is_not_the_models(void **state)
{
    golden_adapter g;
    adapter a;
    size_t length;
    open_golden_adapter("peft-head", &g);
    char *config = read_bytes(path_in(g.directory, "adapter_config.json"), &length);
    write_bytes(path_in(*state, "adapter_config.json"), config, length);
    mem_free(config);
    static const tensor other[] = {{"base_model.model.lm_head.base_layer.weight", DTYPE_F32, 2, {64, 32}}, {0}};
    safetensors_entry entry = {.name = other->name, .type = DTYPE_F32, .num_dims = 2, .shape = {64, 32}, .data = values};
    assert_ok(safetensors_write(path_in(*state, "adapter_model.safetensors"), &entry, 1, NULL, NULL, &err));
    assert_error(adapter_open(*state, &g.files, &a, &err), LLM_ADAPTER_MERGE_FAILED, "is not the model's own");
    entry.shape[0] = 65;
    assert_ok(safetensors_write(path_in(*state, "adapter_model.safetensors"), &entry, 1, NULL, NULL, &err));
    assert_error(adapter_open(*state, &g.files, &a, &err), LLM_ADAPTER_MERGE_FAILED, "is [65, 32]");
    close_golden_adapter(&g);
}

static void test_every_failed_allocation_is_reported(void **state)
{
    (void)state;
    golden_adapter g;
    adapter a;
    open_golden_adapter("phi3-dora-fused", &g);
    llm_status status = LLM_OUT_OF_MEMORY;
    int failures = 0;
    for (; status == LLM_OUT_OF_MEMORY; failures++) {
        mem_fail_after(failures);
        status = adapter_open(g.directory, &g.files, &a, &err);
        mem_fail_after(-1);
    }
    assert_int_equal(status, LLM_OK);
    assert_true(failures > 8);
    adapter_close(&a);
    close_golden_adapter(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arrays_are_as_engines_want_them, make_folder, remove_folder),
        cmocka_unit_test(test_dora_gives_rows_their_lengths),
        cmocka_unit_test_setup_teardown(test_mlx_adapters_that_do_not_fit, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_peft_adapters_that_do_not_fit, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_values_that_are_no_numbers, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_files_that_are_missing, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_head_that_is_not_the_models, make_folder, remove_folder),
        cmocka_unit_test(test_every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
