// Every golden model: its description builds, its weights resolve, and the description means what MLX
// computes.
#include "testing.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/description.h"
#include "nn/golden_models.h"
#include "nn/reference_forward.h"
#include <math.h>
#include <stdlib.h>

static llm_error err;

// One forward over prompt and greedy answer: logits at the stated positions, argmax at each answered one.
static double check_case(const char *name)
{
    golden g;
    int32_t ids[MAX_TOKENS];
    open_golden(name, &g);
    int vocab = g.files.desc.vocab_size, prompt = read_ids(yyjson_obj_get(g.root, "ids"), ids, 0);
    int total = read_ids(yyjson_obj_get(g.root, "greedy"), ids, prompt);
    assert_true(prompt > 0 && total > prompt);
    float *logits = mem_alloc((size_t)total * (size_t)vocab * sizeof *logits);
    assert_true(reference_forward(&g.files.desc, g.files.weights.views, ids, total, logits));
    double worst = compare_logits(&g, logits);
    if (!(worst <= 1e-3)) fail_msg("%s: the logits differ by %.2e", name, worst);
    for (int i = prompt; i < total; i++)
        if (largest_logit(logits + (size_t)(i - 1) * (size_t)vocab, vocab) != ids[i])
            fail_msg("%s: token %d differs", name, i);
    mem_free(logits);
    close_golden(&g);
    return worst;
}

static void test_descriptions_compute_what_mlx_computes(void **state)
{
    (void)state;
    char *names[MAX_CASES];
    int count = list_cases(names);
    double worst = 0;
    assert_true(count >= 55);
    for (int i = 0; i < count; i++) {
        double error = check_case(names[i]);
        if (getenv("LLMLOCAL_VERBOSE")) print_message("%-28s %.1e\n", names[i], error);
        worst = fmax(worst, error);
        mem_free(names[i]);
    }
    print_message("%d models, largest relative difference %.1e\n", count, worst);
}

// The tiny models' contexts are too short to tell all rope parameters apart.
static void test_frequencies_of_real_configurations(void **state)
{
    (void)state;
    char *path = path_join(GOLDEN_DIR, "rope.json");
    yyjson_doc *doc;
    yyjson_val *item, *value;
    size_t i, count, j, num_frequencies;
    int with_base = 0;
    assert_ok(json_read_file(path, 1 << 20, &doc, &err));
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "cases"), i, count, item)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(item, "name"));
        size_t length;
        char *text = yyjson_val_write(yyjson_obj_get(item, "config"), 0, &length);
        model_config config;
        model_desc desc;
        assert_ok(config_read(text, length, NULL, 0, &config, &err));
        assert_ok(description_build(&config, NULL, &desc, &err));
        const rope_desc *rope = &desc.ropes[0];
        assert_true(fabs(rope->scale - yyjson_get_num(yyjson_obj_get(item, "scale"))) < 1e-6);
        yyjson_arr_foreach(yyjson_obj_get(item, "inv_freq"), j, num_frequencies, value)
        {
            double expected = yyjson_get_num(value);
            if (fabs(rope->inv_freq[j] - expected) > 3e-6 * expected)
                fail_msg("%s: frequency %d is %.8g, not %.8g", name, (int)j, (double)rope->inv_freq[j],
                         expected);
            double series = rope->position_scale / pow(rope->base, 2.0 * (double)j / rope->dims);
            if (rope->base > 0 && fabs(series - expected) > 3e-6 * expected)
                fail_msg("%s: frequency %d is not of base %.8g", name, (int)j, (double)rope->base);
        }
        with_base += rope->base > 0;
        assert_int_equal(num_frequencies, rope->dims / 2);
        model_desc_free(&desc);
        config_close(&config);
        free(text);
    }
    assert_true(count >= 8 && with_base >= 2 && with_base < (int)count);
    json_free(doc);
    mem_free(path);
}

static void test_structure_of_llama_and_its_kin(void **state)
{
    (void)state;
    golden g;
    open_golden("llama-tied", &g);
    const model_desc *d = &g.files.desc;
    assert_string_equal(d->family, "llama");
    assert_int_equal(d->context_length, 256);
    assert_int_equal(d->head.weight, d->embedding);
    assert_int_equal(d->num_tensors, 2 + 2 * 9);
    assert_string_equal(d->tensors[d->blocks[1].attention.k.weight].name,
                        "model.layers.1.self_attn.k_proj.weight");
    assert_int_equal(d->blocks[0].attention.k.bias, NO_TENSOR);
    assert_int_equal(d->blocks[0].attention.window, 0);
    close_golden(&g);
    open_golden("llama-layer-types", &g);
    assert_int_equal(g.files.desc.blocks[0].attention.window, 8);
    assert_int_equal(g.files.desc.blocks[1].attention.window, 0);
    close_golden(&g);
    open_golden("smollm3", &g);
    assert_int_equal(g.files.desc.blocks[2].attention.rope, 0);
    assert_int_equal(g.files.desc.blocks[3].attention.rope, -1);
    close_golden(&g);
    open_golden("granite", &g);
    d = &g.files.desc;
    assert_true(d->embedding_scale == 6 && d->logit_scale == 0.25f && d->blocks[0].residual_scale == 0.3f);
    assert_true(d->blocks[0].attention.scale == 0.2f);
    close_golden(&g);
    open_golden("olmo2", &g);
    const block_desc *block = &g.files.desc.blocks[0];
    assert_int_equal(block->pre_attention.kind, NORM_NONE);
    assert_int_equal(block->post_attention.kind, NORM_RMS);
    assert_int_equal(block->attention.k_norm.size, 16);
    close_golden(&g);
}

static void test_structure_of_gemma_and_phi(void **state)
{
    (void)state;
    golden g;
    open_golden("gemma3-wrapper", &g);
    const model_desc *d = &g.files.desc;
    assert_string_equal(d->tensors[d->embedding].name, "language_model.model.embed_tokens.weight");
    assert_true(d->embedding_scale == 6.3125f); // the square root of 40 in bfloat16
    assert_int_equal(d->blocks[1].attention.window, 8);
    assert_int_equal(d->blocks[2].attention.window, 0);
    assert_int_not_equal(d->blocks[1].attention.rope, d->blocks[2].attention.rope);
    assert_true(d->final_norm.weight_offset == 1);
    close_golden(&g);
    open_golden("gemma3-text-untied-linear", &g);
    assert_int_not_equal(g.files.desc.head.weight, g.files.desc.embedding); // the files have a head
    close_golden(&g);
    open_golden("phi3-su-partial", &g);
    const attention_desc *a = &g.files.desc.blocks[0].attention;
    const ffn_desc *f = &g.files.desc.blocks[0].ffn;
    assert_true(a->q.weight == a->k.weight && a->k.weight == a->v.weight && f->gate.weight == f->up.weight);
    assert_int_equal(a->v.row_begin, 48);
    assert_int_equal(f->up.row_begin, 32);
    assert_int_equal(g.files.desc.ropes[0].dims, 12);
    assert_true(fabs(g.files.desc.ropes[0].scale - sqrt(1 + log(512 / 16.0) / log(16))) < 1e-6);
    close_golden(&g);
}

static void test_summary_of_quantised_models(void **state)
{
    (void)state;
    golden g;
    open_golden("llama-q-mixed", &g);
    const model_weights *w = &g.files.weights;
    assert_int_equal(w->bits, 4);
    assert_int_equal(w->group_size, 64);
    assert_true(w->mixed);
    assert_int_equal(w->type, DTYPE_BF16);
    double bits = model_files_bits_per_weight(&g.files);
    assert_true(bits > 4 && bits < 16);
    close_golden(&g);
    open_golden("llama-q2-g32", &g);
    assert_false(g.files.weights.mixed);
    assert_int_equal(g.files.weights.bits, 2);
    assert_int_equal(g.files.weights.group_size, 32);
    close_golden(&g);
    open_golden("llama-rope-llama3", &g);
    assert_int_equal(g.files.weights.bits, 0);
    assert_int_equal(g.files.weights.type, DTYPE_F32);
    assert_int_equal(g.files.weights.total_bytes, 4 * g.files.weights.num_parameters);
    engine_weights views = weights_for_engine(&g.files.weights);
    for (int i = 0; i < g.files.desc.num_tensors; i++) views.release(views.user, i);
    close_golden(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptions_compute_what_mlx_computes),
        cmocka_unit_test(test_frequencies_of_real_configurations),
        cmocka_unit_test(test_structure_of_llama_and_its_kin),
        cmocka_unit_test(test_structure_of_gemma_and_phi),
        cmocka_unit_test(test_summary_of_quantised_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
