// An engine's estimate is what its load and its sequences take, for every tiny model.
#include "testing.h"
#include "base/mem.h"
#include "nn/golden_models.h"

static llm_error err;

static void forward_all(engine_seq *seq, engine_model *model, int count, int vocab_size)
{
    int32_t tokens[ENGINE_ESTIMATE_CALL];
    float *logits = mem_alloc((size_t)vocab_size * sizeof *logits);
    for (int done = 0; done < count; done += ENGINE_ESTIMATE_CALL) {
        int part = count - done < ENGINE_ESTIMATE_CALL ? count - done : ENGINE_ESTIMATE_CALL;
        for (int i = 0; i < part; i++) tokens[i] = (done + i) % vocab_size;
        engine_batch_item item = {seq, tokens, part, 1, false};
        assert_ok(engine_forward(model, &item, 1, logits, &err));
    }
    mem_free(logits);
}

static void compare_with_load(const char *name, engine_precision precision)
{
    golden g;
    engine *device;
    engine_model *model;
    engine_seq *seq;
    engine_memory estimate, real;
    open_golden(name, &g);
    const model_desc *desc = &g.files.desc;
    int tokens = desc->context_length < 700 ? desc->context_length : 700;
    engine_weights weights = weights_for_engine(&g.files.weights);
    assert_ok(engine_open("cpu", &(engine_options){.precision = precision, .num_threads = 2}, &device, &err));
    assert_ok(engine_estimate(device, desc, &weights, tokens, &estimate, &err));
    assert_ok(engine_model_load(device, desc, &weights, NULL, NULL, &model, &err));
    assert_ok(engine_seq_create(model, &seq, &err));
    engine_model_memory(model, &real);
    uint64_t fixed = real.work_bytes;
    forward_all(seq, model, tokens, desc->vocab_size);
    engine_model_memory(model, &real);
    bool windowed = false;
    for (int i = 0; i < desc->num_blocks; i++) windowed |= desc->blocks[i].attention.window > 0;
    // Windowed layers are counted while a call runs; afterwards they have dropped what nobody sees.
    bool kv_right = windowed ? real.kv_bytes <= estimate.kv_bytes : real.kv_bytes == estimate.kv_bytes;
    if (real.weights_bytes != estimate.weights_bytes || !kv_right || real.work_bytes > estimate.work_bytes ||
        estimate.work_bytes - fixed > (4 << 20) || estimate.peak_bytes != estimate.weights_bytes + estimate.kv_bytes + estimate.work_bytes)
        fail_msg("%s, %d tokens: estimated %llu + %llu + %llu, real %llu + %llu + %llu", name, tokens,
                 (unsigned long long)estimate.weights_bytes, (unsigned long long)estimate.kv_bytes, (unsigned long long)estimate.work_bytes,
                 (unsigned long long)real.weights_bytes, (unsigned long long)real.kv_bytes, (unsigned long long)real.work_bytes);
    engine_seq_free(seq);
    engine_model_free(model);
    engine_close(device);
    close_golden(&g);
}

static void test_an_estimate_is_what_a_load_takes(void **state)
{
    (void)state;
    char *names[MAX_CASES];
    int count = list_cases(names);
    assert_true(count > 50);
    for (int i = 0; i < count; i++) {
        compare_with_load(names[i], i % 2 ? PRECISION_EXACT : PRECISION_FAST);
        mem_free(names[i]);
    }
}

// What an engine without an estimate of its own is taken to need.
static void test_the_general_estimate(void **state)
{
    (void)state;
    golden g;
    engine *device;
    engine_memory special, general;
    open_golden("llama-q4-g64", &g);
    engine_weights weights = weights_for_engine(&g.files.weights);
    assert_ok(engine_open("cpu", &(engine_options){.num_threads = 1, .kv_bits = 32}, &device, &err));
    assert_ok(engine_estimate(device, &g.files.desc, &weights, 64, &special, &err));
    engine_estimate_as_stored(&g.files.desc, &weights, 64, &general);
    assert_int_equal(2 * general.kv_bytes, special.kv_bytes); // it takes 16 bits to be usual
    uint64_t vectors = g.files.weights.total_bytes - general.weights_bytes;
    assert_int_equal(vectors, 0);
    assert_true(general.work_bytes > 0);
    engine_close(device);
    close_golden(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_estimate_is_what_a_load_takes),
        cmocka_unit_test(test_the_general_estimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
