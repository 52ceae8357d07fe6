// llmlocal bench: speed of a model, as medians over repetitions.
#include "cli/model.h"
#include <stdlib.h>
#include <string.h>

typedef struct bench_options {
    model_options model;
    int prompt, generate, repetitions;
    bool json;
} bench_options;

static const option bench_table[] = {
    {'p', "prompt", "N", OPTION_INT, offsetof(bench_options, prompt), "Tokens of the prompt; 512.", NULL},
    {'n', "generate", "N", OPTION_INT, offsetof(bench_options, generate), "Tokens of the answer; 128.", NULL},
    {'r', "repetitions", "N", OPTION_INT, offsetof(bench_options, repetitions),
     "Measured runs, after one that warms up; 5.", NULL},
    {0, "json", NULL, OPTION_FLAG, offsetof(bench_options, json), "Print one JSON object.", NULL},
};

enum { MAX_REPETITIONS = 1000 };

typedef struct bench_result {
    llm_engine_info engine;
    llm_memory memory;
    double load_ms, read_gbps;
    int prompt_tokens, generated_tokens;
    double first_ms[MAX_REPETITIONS], prefill_tps[MAX_REPETITIONS], decode_tps[MAX_REPETITIONS];
} bench_result;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

// Waits for the answer and keeps its numbers; interruptions cancel it.
static llm_status measure_answer(llm_stream *stream, llm_stats *stats, llm_error *err)
{
    llm_chunk chunk;
    llm_status status = LLM_OK;
    while (status == LLM_OK || status == LLM_TIMEOUT) {
        status = llm_stream_next(stream, 100, &chunk, err);
        if (status == LLM_OK && chunk.kind == LLM_CHUNK_INFO) *stats = chunk.stats;
        if (interrupted()) llm_stream_cancel(stream);
    }
    llm_stream_free(stream);
    return status == LLM_END ? LLM_OK : status;
}

// Different tokens in each run, so that nothing can be reused.
static void fill_prompt(int32_t *tokens, int count, int vocab_size, int run)
{
    uint32_t random = 12345u + (uint32_t)run;
    for (int i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((random >> 8) % (uint32_t)vocab_size);
    }
}

static llm_status run_once(llm_backend *backend, const bench_options *options, int vocab_size, int run,
                           llm_stats *stats, llm_error *err)
{
    llm_generation_config config;
    llm_generation_config_init(&config);
    config.max_tokens = options->generate;
    config.temperature = 0;
    config.ignore_end = true;
    int32_t *tokens = grow_or_exit(NULL, (size_t)options->prompt, sizeof *tokens);
    fill_prompt(tokens, options->prompt, vocab_size, run);
    llm_stream *stream = llm_backend_complete_tokens(backend, tokens, options->prompt, &config, err);
    free(tokens);
    return stream ? measure_answer(stream, stats, err) : err->code;
}

static double rate(int count, double seconds)
{
    return seconds > 0 ? count / seconds : 0;
}

static llm_status run_all(llm_backend *backend, const bench_options *options, int vocab_size,
                          bench_result *result, llm_error *err)
{
    llm_status status = LLM_OK;
    for (int run = -1; status == LLM_OK && run < options->repetitions; run++) {
        llm_stats stats = {0};
        status = run_once(backend, options, vocab_size, run, &stats, err);
        show_progress(NULL, "measuring", (run + 1.0) / options->repetitions);
        if (run < 0) continue; // the first one warms up
        result->prompt_tokens = stats.prompt_tokens;
        result->generated_tokens = stats.generated_tokens;
        result->first_ms[run] = stats.first_token_seconds * 1e3;
        result->prefill_tps[run] =
            rate(stats.prompt_tokens - stats.cached_prompt_tokens, stats.prefill_seconds);
        // The first token comes with the prompt: decoding makes the others.
        result->decode_tps[run] = rate(stats.generated_tokens - 1, stats.decode_seconds);
    }
    hide_progress();
    return status;
}

static void print_result(const bench_options *options, bench_result *r)
{
    const bool json = options->json;
    int runs = options->repetitions;
    double decode_tps = median(r->decode_tps, runs);
    const struct {
        const char *name, *format, *text;
        double value;
    } rows[] = {
        {"engine", NULL, r->engine.name, 0},
        {"device", NULL, r->engine.device, 0},
        {"isa", NULL, r->engine.isa, 0},
        {"threads", "%.0f", NULL, r->engine.num_threads},
        {"weights_bytes", "%.0f", NULL, (double)r->memory.weights_bytes},
        {"load_ms", "%.1f", NULL, r->load_ms},
        {"ttft_ms", "%.2f", NULL, median(r->first_ms, runs)},
        {"prompt_tokens", "%.0f", NULL, r->prompt_tokens},
        {"prefill_tps", "%.2f", NULL, median(r->prefill_tps, runs)},
        {"gen_tokens", "%.0f", NULL, r->generated_tokens},
        {"decode_tps", "%.2f", NULL, decode_tps},
        {"decode_gbps", "%.3f", NULL, decode_tps * (double)r->memory.weights_bytes * 1e-9},
        {"read_gbps", "%.3f", NULL, r->read_gbps},
        {"peak_rss_bytes", "%.0f", NULL, (double)r->memory.peak_resident_bytes},
        {"repetitions", "%.0f", NULL, runs},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        out_format(json ? "%s\"%s\":" : "%s%-15s ", !json ? "" : i ? "," : "{", rows[i].name);
        if (rows[i].format)
            out_format(rows[i].format, rows[i].value);
        else if (json)
            out_json_string(rows[i].text, strlen(rows[i].text));
        else
            out_string(rows[i].text);
        if (!json) out_string("\n");
    }
    if (json) out_string("}\n");
}

static int bench_model(const bench_options *options, const char *model, int vocab_size, bench_result *result)
{
    int code;
    llm_error err;
    llm_backend *backend = model_load(&options->model, model, &result->load_ms, &code);
    if (!backend) return code;
    result->load_ms *= 1e3;
    llm_status status = llm_backend_engine_info(backend, &result->engine, &err);
    if (status == LLM_OK) status = run_all(backend, options, vocab_size, result, &err);
    if (status == LLM_OK) status = llm_backend_memory(backend, &result->memory, &err);
    if (status == LLM_OK) {
        result->read_gbps = llm_measure_read_bandwidth(options->model.threads) * 1e-9;
        print_result(options, result);
    }
    model_unload(backend);
    return status == LLM_OK ? EXIT_DONE : fail(&err);
}

int bench_main(const subcommand *self, int argc, char **argv)
{
    llm_error err;
    llm_model_spec spec;
    const char *arguments[1];
    static bench_result result;
    bench_options options = {.prompt = 512, .generate = 128, .repetitions = 5};
    const option_group groups[] = {OPTIONS(bench_table, &options),
                                   OPTIONS(model_option_table, &options.model)};
    int code = options_parse(self, groups, 2, argc, argv, arguments);
    if (code != GO_ON) return code;
    if (options.prompt < 1 || options.generate < 1 || options.repetitions < 1 ||
        options.repetitions > MAX_REPETITIONS)
        return usage_error(self, "-p, -n and -r must be at least 1, and -r at most %d", MAX_REPETITIONS);
    model_spec_init(&options.model, arguments[0], &spec);
    char *json = llm_model_info_json_copy(&spec, &err);
    if (!json) return fail(&err);
    double vocab_size = json_number(json, "vocab_size", 0);
    llm_free(json);
    if (!(vocab_size >= 1 && vocab_size < 1e9))
        return fail_with("%s: its vocabulary is of no known size", arguments[0]);
    return out_finish(bench_model(&options, arguments[0], (int)vocab_size, &result));
}
