// Estimates against what real models take, and models that do not fit. LLMLOCAL_TEST_MODELS names the folder with the
// real models; without it, and where no control group can be made, tests are skipped, loudly.
#include "testing.h"
#include "base/buf.h"
#include "fake_system.h"
#include "models/memory.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static llm_error err;

// ---- Estimates -------------------------------------------------------------------------------------------

static void test_an_estimate_may_run_out_of_memory(void **state)
{
    (void)state;
    llm_model_spec spec;
    llm_memory_estimate estimate;
    llm_model_spec_init(&spec, golden("models/chat"));
    long n = 0;
    for (;; n++) {
        mem_fail_after(n);
        llm_status status = llm_model_estimate_memory(&spec, NULL, &estimate, &err);
        mem_fail_after(-1);
        if (status == LLM_OK) break;
        assert_int_equal(status, LLM_OUT_OF_MEMORY);
    }
    assert_true(n > 20);
}

static void test_contexts_and_overrides(void **state)
{
    (void)state;
    llm_model_spec spec;
    llm_memory_estimate whole, half, exact;
    llm_mlx_options options;
    llm_model_spec_init(&spec, golden("models/chat"));
    assert_ok(llm_model_estimate_memory(&spec, NULL, &whole, &err));
    assert_int_equal(whole.context_length, 256); // the model's
    assert_int_equal(whole.total_bytes, whole.weights_bytes + whole.kv_bytes + whole.work_bytes);
    assert_int_equal(whole.kv_bytes, 256 * whole.kv_bytes_per_token);
    spec.context_length = 128;
    assert_ok(llm_model_estimate_memory(&spec, NULL, &half, &err));
    assert_int_equal(half.context_length, 128);
    assert_int_equal(2 * half.kv_bytes, whole.kv_bytes);
    spec.context_length = 1000;
    llm_mlx_options_init(&options);
    options.precision = LLM_PRECISION_EXACT;
    assert_ok(llm_model_estimate_memory(&spec, &options, &exact, &err));
    assert_int_equal(exact.context_length, 256);
    assert_true(exact.kv_bytes > whole.kv_bytes && exact.kv_bytes < 2 * whole.kv_bytes); // float32, and 16 bits with scales
    spec.estimated_memory = 12345;
    assert_ok(llm_model_estimate_memory(&spec, NULL, &whole, &err));
    assert_int_equal(whole.total_bytes, 12345);
    assert_error(llm_model_estimate_memory(&spec, NULL, NULL, &err), LLM_INVALID_ARGUMENT, "NULL");
    assert_error(llm_model_estimate_memory(NULL, NULL, &whole, &err), LLM_INVALID_ARGUMENT, "NULL");
    llm_model_spec_init(&spec, "no/such/model");
    assert_error(llm_model_estimate_memory(&spec, NULL, &whole, &err), LLM_LOAD_FAILED, "no/such/model");
    options.engine = "abacus";
    llm_model_spec_init(&spec, golden("models/chat"));
    assert_error(llm_model_estimate_memory(&spec, &options, &whole, &err), LLM_UNSUPPORTED_FORMAT, "abacus");
}

static void test_what_is_known_of_a_model_has_it(void **state)
{
    (void)state;
    llm_model_spec spec;
    llm_memory_estimate estimate;
    yyjson_doc *doc;
    llm_model_spec_init(&spec, golden("models/chat"));
    assert_ok(llm_model_estimate_memory(&spec, NULL, &estimate, &err));
    char *json = llm_model_info_json_copy(&spec, &err);
    assert_non_null(json);
    assert_ok(json_read(json, strlen(json), "info", &doc, &err));
    yyjson_val *memory = yyjson_obj_get(yyjson_doc_get_root(doc), "memory");
    const struct {
        const char *name;
        uint64_t value;
    } members[] = {{"weights_bytes", estimate.weights_bytes}, {"kv_bytes_per_token", estimate.kv_bytes_per_token},
                   {"kv_bytes", estimate.kv_bytes},           {"work_bytes", estimate.work_bytes},
                   {"total_bytes", estimate.total_bytes},     {"context_length", 256}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        assert_int_equal(yyjson_get_uint(yyjson_obj_get(memory, members[i].name)), members[i].value);
    json_free(doc);
    llm_free(json);
}

// The tiny model with a context of 8000 tokens.
static void widen_model(const char *folder)
{
    static const char key[] = "\"max_position_embeddings\": 256";
    char config[4000], text[4000];
    assert_true(file_read_start(golden("models/llama-tied/config.json"), config, sizeof config));
    char *found = strstr(config, key);
    assert_non_null(found);
    snprintf(text, sizeof text, "%.*s\"max_position_embeddings\": 8000%s", (int)(found - config), config, found + strlen(key));
    put(folder, "config.json", text);
    assert_int_equal(symlink(golden("models/llama-tied/model.safetensors"), path_in(folder, "model.safetensors")), 0);
}

static void test_the_longest_context(void **state)
{
    llm_model_spec spec;
    llm_memory_estimate at, above;
    int tokens, most = 8000;
    widen_model(*state);
    llm_model_spec_init(&spec, *state);
    assert_ok(llm_model_estimate_memory(&spec, NULL, &at, &err));
    assert_int_equal(at.context_length, 4096); // when nobody says
    assert_ok(memory_longest_context(&spec, NULL, UINT64_MAX, &tokens, &err));
    assert_int_equal(tokens, most);
    spec.context_length = most;
    assert_ok(llm_model_estimate_memory(&spec, NULL, &at, &err));
    assert_ok(memory_longest_context(&spec, NULL, at.total_bytes, &tokens, &err));
    assert_int_equal(tokens, most);
    assert_ok(memory_longest_context(&spec, NULL, at.total_bytes - 1, &tokens, &err));
    assert_true(tokens > 0 && tokens < most && tokens % 256 == 0);
    spec.context_length = tokens;
    assert_ok(llm_model_estimate_memory(&spec, NULL, &at, &err));
    spec.context_length = tokens + 256;
    assert_ok(llm_model_estimate_memory(&spec, NULL, &above, &err));
    assert_ok(memory_longest_context(&spec, NULL, above.total_bytes - 1, &tokens, &err));
    assert_int_equal(tokens, at.context_length);
    assert_ok(memory_longest_context(&spec, NULL, 1000, &tokens, &err));
    assert_int_equal(tokens, 0);
}

// ---- A model that does not fit ----------------------------------------------------------------------------

static llm_status say_figures(void *user, llm_system_memory *memory, llm_error *failure)
{
    if (!user) return error_set(failure, LLM_IO_ERROR, "the oracle is silent");
    *memory = *(llm_system_memory *)user;
    return LLM_OK;
}

static int count_progress(void *user, const char *what, double fraction)
{
    (void)what, (void)fraction;
    ++*(int *)user;
    return 0;
}

static void keep_message(void *user, int level, const char *message)
{
    (void)level;
    snprintf(user, 500, "%s", message);
}

static void test_a_model_must_fit_what_is_available(void **state)
{
    (void)state;
    llm_system_memory figures = {.total_bytes = 64 * GIB};
    llm_mlx_options options;
    llm_model_spec spec;
    llm_memory_estimate estimate;
    int progress = 0;
    llm_model_spec_init(&spec, golden("models/chat"));
    assert_ok(llm_model_estimate_memory(&spec, NULL, &estimate, &err));
    llm_mlx_options_init(&options);
    options.num_threads = 1;
    options.memory = say_figures;
    options.memory_user = &figures;
    llm_backend *backend = llm_mlx_backend_create(&options, &err);
    assert_non_null(backend);
    figures.available_bytes = estimate.total_bytes - 1;
    assert_error(llm_backend_load(backend, &spec, count_progress, &progress, &err), LLM_INSUFFICIENT_MEMORY, "available");
    assert_true(strstr(err.message, "models/chat") && strstr(err.message, "256 tokens"));
    assert_int_equal(err.required, estimate.total_bytes);
    assert_int_equal(err.available, estimate.total_bytes - 1);
    assert_int_equal(progress, 0); // no weight was looked at
    assert_false(llm_backend_is_loaded(backend));
    figures.available_bytes = estimate.total_bytes;
    assert_ok(llm_backend_load(backend, &spec, count_progress, &progress, &err));
    assert_true(progress > 0);
    spec.estimated_memory = 65 * GIB; // who knows better has the last word
    assert_error(llm_backend_load(backend, &spec, NULL, NULL, &err), LLM_INSUFFICIENT_MEMORY, "65.0 GiB");
    assert_int_equal(err.required, 65 * GIB);
    figures.available_bytes = 1000;
    spec.estimated_memory = 1000;
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    llm_backend_free(backend);
}

static void test_without_figures_everything_fits_and_the_log_says_so(void **state)
{
    (void)state;
    char message[500] = "";
    llm_mlx_options options;
    llm_model_spec spec;
    llm_model_spec_init(&spec, golden("models/chat"));
    llm_mlx_options_init(&options);
    options.num_threads = 1;
    options.memory = say_figures;
    llm_set_log(keep_message, message);
    llm_backend *backend = llm_mlx_backend_create(&options, &err);
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    llm_set_log(NULL, NULL);
    assert_non_null(strstr(message, "the oracle is silent"));
    llm_backend_free(backend);
}

// Llama 3.1 405B as declared in bfloat16, 812 GB: headers, and a hole where the weights would be.
typedef struct huge {
    buf header;
    uint64_t offset;
} huge;

static void declare(huge *h, const char *name, uint64_t rows, uint64_t cols)
{
    uint64_t bytes = 2 * rows * (cols ? cols : 1);
    buf_printf(&h->header, "%s\"%s.weight\":{\"dtype\":\"BF16\",\"shape\":[%llu", h->header.length > 1 ? "," : "", name, (unsigned long long)rows);
    if (cols) buf_printf(&h->header, ",%llu", (unsigned long long)cols);
    buf_printf(&h->header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)h->offset, (unsigned long long)(h->offset + bytes));
    h->offset += bytes;
}

static bool write_huge(const char *folder)
{
    static const struct { const char *name; int rows, cols; } parts[] = {
        {"self_attn.q_proj", 16384, 16384}, {"self_attn.k_proj", 1024, 16384}, {"self_attn.v_proj", 1024, 16384},
        {"self_attn.o_proj", 16384, 16384}, {"mlp.gate_proj", 53248, 16384},   {"mlp.up_proj", 53248, 16384},
        {"mlp.down_proj", 16384, 53248},    {"input_layernorm", 16384, 0},     {"post_attention_layernorm", 16384, 0}};
    huge h = {0};
    buf_append_char(&h.header, '{');
    declare(&h, "model.embed_tokens", 128256, 16384);
    declare(&h, "lm_head", 128256, 16384);
    declare(&h, "model.norm", 16384, 0);
    for (int layer = 0; layer < 126; layer++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            char name[100];
            snprintf(name, sizeof name, "model.layers.%d.%s", layer, parts[i].name);
            declare(&h, name, (uint64_t)parts[i].rows, (uint64_t)parts[i].cols);
        }
    buf_append_char(&h.header, '}');
    assert_false(h.header.failed);
    put(folder, "config.json",
        "{\"model_type\":\"llama\",\"hidden_size\":16384,\"intermediate_size\":53248,\"num_hidden_layers\":126,\"num_attention_heads\":128,"
        "\"num_key_value_heads\":8,\"vocab_size\":128256,\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-5,\"rope_theta\":500000,\"tie_word_embeddings\":false}");
    uint64_t length = h.header.length;
    int fd = open(path_in(folder, "model.safetensors"), O_WRONLY | O_CREAT, 0600);
    bool written = fd >= 0 && write(fd, &length, 8) == 8 && write(fd, h.header.data, (size_t)length) == (ssize_t)length &&
                   ftruncate(fd, (off_t)(8 + length + h.offset)) == 0;
    if (fd >= 0) close(fd);
    buf_free(&h.header);
    return written;
}

static void test_a_model_of_812_gb_is_refused_by_its_headers(void **state)
{
    llm_model_spec spec;
    llm_memory before, after;
    if (!write_huge(*state)) {
        print_message("SKIPPED: no file of 812 GB with a hole can be made here\n");
        return;
    }
    llm_system_memory machine;
    assert_ok(llm_system_memory_read(&machine, &err));
    llm_model_spec_init(&spec, *state);
    llm_backend *backend = llm_mlx_backend_create(NULL, &err);
    assert_ok(llm_backend_memory(backend, &before, &err));
    assert_error(llm_backend_load(backend, &spec, NULL, NULL, &err), LLM_INSUFFICIENT_MEMORY, "available");
    print_message("%s\n", err.message);
    assert_true(err.required > 811 * (uint64_t)1000000000 && err.required < 830 * (uint64_t)1000000000);
    assert_true(err.available <= machine.total_bytes);
    assert_ok(llm_backend_memory(backend, &after, &err));
    assert_true(after.resident_bytes < before.resident_bytes + 20 * MIB);
    llm_backend_free(backend);
}

// ---- A real control group ---------------------------------------------------------------------------------

static bool write_number(const char *folder, const char *name, long long number)
{
    char text[32];
    int fd = open(path_in(folder, name), O_WRONLY | O_CLOEXEC);
    int length = snprintf(text, sizeof text, "%lld\n", number);
    bool written = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0) close(fd);
    return written;
}

// Makes a group below this process's own, limited to `bytes`. False where that is not allowed.
static bool make_group(char folder[600], long long bytes)
{
    char text[4096], *line = NULL;
    bool version_1 = false;
    if (!file_read_start("/proc/self/cgroup", text, sizeof text)) return false;
    if ((line = strstr(text, ":memory:"))) version_1 = true, line += strlen(":memory:");
    else if ((line = strstr(text, "0::"))) line += strlen("0::");
    if (!line) return false;
    line[strcspn(line, "\n")] = 0;
    snprintf(folder, 600, "/sys/fs/cgroup%s%.400s/llmlocal-test-%d", version_1 ? "/memory" : "", line, (int)getpid());
    if (mkdir(folder, 0700)) return false;
    if (write_number(folder, version_1 ? "memory.limit_in_bytes" : "memory.max", bytes)) return true;
    rmdir(folder);
    return false;
}

// What the child saw.
typedef struct seen {
    llm_status big, small;
    uint64_t total, required, available;
    llm_status figures;
} seen;

static void try_in_group(const char *group, seen *s)
{
    llm_model_spec spec;
    llm_system_memory figures;
    if (!write_number(group, "cgroup.procs", (long long)getpid())) return;
    s->figures = llm_system_memory_read(&figures, &err);
    s->total = figures.total_bytes;
    llm_backend *backend = llm_mlx_backend_create(&(llm_mlx_options){sizeof(llm_mlx_options), .num_threads = 1}, &err);
    llm_model_spec_init(&spec, golden("models/chat"));
    spec.estimated_memory = 256 * MIB;
    s->big = llm_backend_load(backend, &spec, NULL, NULL, &err);
    s->required = err.required;
    s->available = err.available;
    spec.estimated_memory = 0;
    s->small = llm_backend_load(backend, &spec, NULL, NULL, &err);
    llm_backend_free(backend);
}

static void *share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memory;
}

static void test_the_limit_of_a_control_group_counts(void **state)
{
    (void)state;
    char group[600];
    if (!make_group(group, 128 * (long long)MIB)) {
        print_message("SKIPPED: no control group can be made here\n");
        return;
    }
    seen *s = share(sizeof *s);
    int status;
    pid_t child = fork();
    if (!child) {
        try_in_group(group, s);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    rmdir(group);
    assert_int_equal(status, 0);
    assert_int_equal(s->figures, LLM_OK);
    assert_int_equal(s->total, 128 * MIB);
    assert_int_equal(s->big, LLM_INSUFFICIENT_MEMORY);
    assert_int_equal(s->required, 256 * MIB);
    assert_true(s->available > 0 && s->available <= 128 * MIB);
    assert_int_equal(s->small, LLM_OK);
    munmap(s, sizeof *s);
}

// ---- Real models ------------------------------------------------------------------------------------------

typedef struct measured {
    llm_status status;
    llm_memory_estimate estimate;
    llm_memory before, during, after;
} measured;

// In a process of its own, so that its peak is the model's. `adapter`: a directory; NULL: none.
static void measure(const char *directory, const char *adapter, measured *m)
{
    enum { CONTEXT = 2048 };
    static int32_t tokens[CONTEXT - 16];
    llm_model_spec spec;
    llm_generation_config config;
    llm_model_spec_init(&spec, directory);
    spec.context_length = CONTEXT;
    if (adapter) spec.adapter = (llm_adapter){.kind = LLM_ADAPTER_DIRECTORY, .source = adapter};
    llm_generation_config_init(&config);
    config.max_tokens = 16;
    config.ignore_end = true;
    for (int i = 0; i < CONTEXT - 16; i++) tokens[i] = 100 + i * 7 % 5000;
    llm_backend *backend = llm_mlx_backend_create(NULL, &err);
    llm_backend_memory(backend, &m->before, &err);
    m->status = llm_backend_load(backend, &spec, NULL, NULL, &err);
    if (m->status != LLM_OK) return;
    llm_stream *stream = llm_backend_complete_tokens(backend, tokens, CONTEXT - 16, &config, &err);
    while ((m->status = llm_stream_next(stream, LLM_FOREVER, NULL, &err)) == LLM_OK) llm_backend_memory(backend, &m->during, &err);
    llm_backend_memory(backend, &m->after, &err);
    llm_stream_free(stream);
    llm_backend_free(backend);
    if (m->status == LLM_END) m->status = llm_model_estimate_memory(&spec, NULL, &m->estimate, &err);
}

static bool is_instrumented(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

// A real model's directory; NULL, loudly, where there is none or it cannot be measured.
static const char *find_real(const char *name)
{
    const char *folder = getenv("LLMLOCAL_TEST_MODELS"), *directory = path_in(folder ? folder : "", name);
    if (!is_instrumented() && folder && file_is_directory(directory)) return directory;
    print_message("SKIPPED: %s\n", is_instrumented() ? "sanitizers take memory of their own" : "no LLMLOCAL_TEST_MODELS; `make test` provides them");
    return NULL;
}

static void compare_with_growth(const char *name, const char *directory, const char *adapter)
{
    measured *m = share(sizeof *m);
    int status;
    pid_t child = fork();
    if (!child) {
        measure(directory, adapter, m);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(m->status, LLM_OK);
    double grown = (double)(m->after.peak_resident_bytes - m->before.resident_bytes), estimate = (double)m->estimate.total_bytes;
    print_message("%s: estimated %.1f MB, the process grew by %.1f MB at its peak (%+.1f %%)\n", name, estimate / 1e6, grown / 1e6,
                  100 * (estimate - grown) / grown);
    assert_int_equal(m->estimate.weights_bytes, m->during.weights_bytes);
    assert_true(m->during.kv_bytes <= m->estimate.kv_bytes);
    assert_true(estimate > 0.95 * grown && estimate < 1.15 * grown);
    munmap(m, sizeof *m);
}

static void test_estimates_of_real_models(void **state)
{
    (void)state;
    static const char *const names[] = {"smollm2", "smollm2-4bit", "gemma3-4bit"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *directory = find_real(names[i]);
        if (directory) compare_with_growth(names[i], directory, NULL);
    }
}

// An adapter of zeros for every linear layer of SmolLM2, in mlx-lm's format and 16 bits.
static void write_wide_adapter(const char *folder, int rank)
{
    static const struct { const char *name; int rows, cols; } parts[] = {
        {"self_attn.q_proj", 576, 576}, {"self_attn.k_proj", 192, 576}, {"self_attn.v_proj", 192, 576}, {"self_attn.o_proj", 576, 576},
        {"mlp.gate_proj", 1536, 576},   {"mlp.up_proj", 1536, 576},     {"mlp.down_proj", 576, 1536}};
    buf header = {0};
    uint64_t offset = 0;
    char config[200];
    for (int layer = 0; layer < 30; layer++)
        for (size_t i = 0; i < 2 * sizeof parts / sizeof *parts; i++) {
            int a = parts[i / 2].cols, b = parts[i / 2].rows;
            uint64_t end = offset + 2 * (uint64_t)rank * (uint64_t)(i % 2 ? b : a);
            buf_printf(&header, "%s\"model.layers.%d.%s.lora_%c\":{\"dtype\":\"F16\",\"shape\":[%d,%d],\"data_offsets\":[%llu,%llu]}",
                       offset ? "," : "{", layer, parts[i / 2].name, i % 2 ? 'b' : 'a', i % 2 ? rank : a, i % 2 ? b : rank,
                       (unsigned long long)offset, (unsigned long long)end);
            offset = end;
        }
    buf_append_char(&header, '}');
    assert_false(header.failed);
    snprintf(config, sizeof config, "{\"fine_tune_type\":\"lora\",\"num_layers\":30,\"lora_parameters\":{\"rank\":%d,\"scale\":2.0,\"dropout\":0.0}}", rank);
    put(folder, "adapter_config.json", config);
    uint64_t length = header.length;
    int fd = open(path_in(folder, "adapters.safetensors"), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0 && write(fd, &length, 8) == 8 && write(fd, header.data, (size_t)length) == (ssize_t)length);
    assert_int_equal(ftruncate(fd, (off_t)(8 + length + offset)), 0);
    close(fd);
    buf_free(&header);
}

// Small and large: of the large one, loading takes more than the answer does.
static void test_estimates_with_adapters(void **state)
{
    static const int ranks[] = {16, 128};
    const char *directory = find_real("smollm2-4bit");
    for (int i = 0; directory && i < 2; i++) {
        char name[60];
        snprintf(name, sizeof name, "smollm2-4bit with an adapter of rank %d", ranks[i]);
        write_wide_adapter(*state, ranks[i]);
        compare_with_growth(name, directory, *state);
        unlink(path_in(*state, "adapters.safetensors"));
    }
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_estimate_may_run_out_of_memory),
        cmocka_unit_test(test_contexts_and_overrides),
        cmocka_unit_test(test_what_is_known_of_a_model_has_it),
        in_folder(test_the_longest_context),
        cmocka_unit_test(test_a_model_must_fit_what_is_available),
        cmocka_unit_test(test_without_figures_everything_fits_and_the_log_says_so),
        in_folder(test_a_model_of_812_gb_is_refused_by_its_headers),
        cmocka_unit_test(test_the_limit_of_a_control_group_counts),
        cmocka_unit_test(test_estimates_of_real_models),
        in_folder(test_estimates_with_adapters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
