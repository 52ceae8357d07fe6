// What a chat feels like beside tokens per second: how soon a cancellation takes effect, how soon the next request runs,
// how much of a second turn is read anew, and what memory an unload leaves.
//     bench-session MODEL [exact|fast] [REPETITIONS] [ENGINE]
#include "order.h"
#include <llmlocal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REPETITIONS = 1000, LONG_PROMPT = 4000 };

static llm_error err;
static llm_backend *backend;
static int repetitions = 30, long_prompt = LONG_PROMPT;

static void stop(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, err.message);
    exit(1);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void sleep_seconds(double time)
{
    struct timespec span = {(time_t)time, (long)((time - (double)(time_t)time) * 1e9)};
    nanosleep(&span, NULL);
}

static void print_times(const char *what, double *times, int count)
{
    qsort(times, (size_t)count, sizeof *times, by_value);
    printf("%-44s median %7.2f ms, max %7.2f ms (%d)\n", what, times[count / 2] * 1e3, times[count - 1] * 1e3, count);
}

// Reads to the end; the info chunk's numbers, and when the first chunk came.
static llm_status drain(llm_stream *stream, llm_stats *stats, double *first)
{
    llm_chunk chunk;
    llm_status status;
    if (!stream) stop("no stream");
    while ((status = llm_stream_next(stream, LLM_FOREVER, &chunk, &err)) == LLM_OK) {
        if (first && *first == 0) *first = seconds();
        if (stats && chunk.kind == LLM_CHUNK_INFO) *stats = chunk.stats;
    }
    llm_stream_free(stream);
    return status;
}

static llm_generation_config greedy(int max_tokens)
{
    llm_generation_config config;
    llm_generation_config_init(&config);
    config.temperature = 0;
    config.ignore_end = true;
    config.max_tokens = max_tokens;
    return config;
}

// A short request in a fresh chat, from the call to its first chunk.
static double next_request(void)
{
    llm_generation_config config = greedy(4);
    llm_backend_reset(backend, &err);
    double begin = seconds(), first = 0;
    if (drain(llm_backend_generate(backend, "Hello!", &config, &err), NULL, &first) != LLM_END) stop("a request");
    return first - begin;
}

static llm_stream *begin_long_prompt(int first_token)
{
    static int32_t tokens[LONG_PROMPT];
    llm_generation_config config = greedy(1);
    for (int i = 0; i < long_prompt; i++) tokens[i] = 100 + (i * 7919) % 2000;
    tokens[0] = 100 + first_token; // nothing is shared with the prompt before
    llm_stream *stream = llm_backend_complete_tokens(backend, tokens, long_prompt, &config, &err);
    if (!stream) stop("a long prompt");
    return stream;
}

// From the cancellation to the end of the stream; negative: it had ended before.
static double cancel(llm_stream *stream)
{
    double begin = seconds();
    llm_stream_cancel(stream);
    return drain(stream, NULL, NULL) == LLM_CANCELLED ? seconds() - begin : -1;
}

static void measure_prefill(void)
{
    static double cancels[MAX_REPETITIONS], nexts[MAX_REPETITIONS];
    int count = 0;
    double begin = seconds();
    llm_stats stats = {0};
    if (drain(begin_long_prompt(0), &stats, NULL) != LLM_END) stop("a long prompt");
    double whole = seconds() - begin;
    printf("a prompt of %d tokens is read in %.0f ms\n", stats.prompt_tokens, whole * 1e3);
    for (int i = 0; i < repetitions; i++) {
        llm_stream *stream = begin_long_prompt(1 + i);
        sleep_seconds(whole * (0.02 + 0.9 * (i + 0.5) / repetitions));
        double time = cancel(stream);
        if (time < 0) continue;
        cancels[count] = time;
        nexts[count++] = next_request();
    }
    if (!count) return;
    print_times("cancel in a long prefill", cancels, count);
    print_times("next request, to its first token, after it", nexts, count);
}

static void measure_decode(void)
{
    static double cancels[MAX_REPETITIONS], nexts[MAX_REPETITIONS], calm[MAX_REPETITIONS];
    llm_generation_config config = greedy(1000);
    int count = 0;
    for (int i = 0; i < repetitions; i++) {
        llm_generation_config few = greedy(4);
        llm_backend_reset(backend, &err);
        if (drain(llm_backend_generate(backend, "Tell me a long story.", &few, &err), NULL, NULL) != LLM_END) stop("an answer");
        calm[i] = next_request();
    }
    for (int i = 0; i < repetitions; i++) {
        llm_chunk chunk;
        llm_backend_reset(backend, &err);
        llm_stream *stream = llm_backend_generate(backend, "Tell me a long story.", &config, &err);
        if (!stream || llm_stream_next(stream, LLM_FOREVER, &chunk, &err) != LLM_OK) stop("an answer");
        sleep_seconds(0.05 + 0.0007 * i);
        double time = cancel(stream);
        if (time < 0) continue;
        cancels[count] = time;
        nexts[count++] = next_request();
    }
    print_times("cancel in decoding", cancels, count);
    print_times("next request, to its first token, after it", nexts, count);
    print_times("the same request after a whole answer", calm, repetitions);
}

static void print_turn(const char *what, const llm_stats *stats)
{
    printf("%-44s %d tokens, %d of them kept, %d read\n", what, stats->prompt_tokens, stats->cached_prompt_tokens,
           stats->prompt_tokens - stats->cached_prompt_tokens);
}

static void measure_turns(void)
{
    static const char *const prompts[] = {"What is the capital of France? Answer in two sentences.", "And of Italy?"};
    llm_generation_config config = greedy(100);
    llm_stats stats = {0};
    char path[100];
    config.ignore_end = false;
    snprintf(path, sizeof path, "/tmp/llmlocal-bench-%d", (int)getpid());
    llm_session *own = llm_backend_session(backend), *other = llm_session_create(backend, &err);
    llm_backend_reset(backend, &err);
    drain(llm_session_generate(own, prompts[0], &config, &err), &stats, NULL);
    print_turn("first turn: prompt of", &stats);
    double begin = seconds();
    if (!other || llm_session_save(own, path, &err) != LLM_OK) stop("saving");
    double saved = seconds();
    if (llm_session_load(other, path, &err) != LLM_OK) stop("loading");
    printf("saved in %.1f ms, loaded in %.1f ms\n", (saved - begin) * 1e3, (seconds() - saved) * 1e3);
    drain(llm_session_generate(own, prompts[1], &config, &err), &stats, NULL);
    print_turn("second turn: prompt of", &stats);
    drain(llm_session_generate(other, prompts[1], &config, &err), &stats, NULL);
    print_turn("second turn of the restored session: of", &stats);
    llm_session_free(other);
    remove(path);
}

static void print_resident(const char *what)
{
    llm_memory memory;
    if (llm_backend_memory(backend, &memory, &err) != LLM_OK) stop("memory");
    printf("%-44s %.1f MB (weights %.1f, context %.1f)\n", what, (double)memory.resident_bytes * 1e-6,
           (double)memory.weights_bytes * 1e-6, (double)memory.kv_bytes * 1e-6);
}

int main(int argc, char **argv)
{
    llm_model_spec spec;
    llm_mlx_options options;
    llm_engine_info info;
    if (argc < 2) return fprintf(stderr, "usage: bench-session MODEL [exact|fast] [REPETITIONS] [ENGINE]\n"), 2;
    llm_model_spec_init(&spec, argv[1]);
    llm_mlx_options_init(&options);
    if (argc > 2 && !strcmp(argv[2], "exact")) options.precision = LLM_PRECISION_EXACT;
    if (argc > 3) repetitions = atoi(argv[3]);
    if (argc > 4) options.engine = argv[4];
    if (repetitions < 1 || repetitions > MAX_REPETITIONS) return fprintf(stderr, "repetitions: 1 to %d\n", MAX_REPETITIONS), 2;
    backend = llm_mlx_backend_create(&options, &err);
    if (!backend) stop("the backend");
    print_resident("resident before a model is loaded");
    if (llm_backend_load(backend, &spec, NULL, NULL, &err) != LLM_OK) stop("loading");
    if (llm_backend_engine_info(backend, &info, &err) == LLM_OK)
        printf("%s on %s (%s, %d threads), %s\n", info.name, info.device, info.isa, info.num_threads,
               options.precision == LLM_PRECISION_EXACT ? "exact" : "fast");
    measure_turns();
    measure_decode();
    measure_prefill();
    print_resident("resident with the model");
    llm_backend_unload(backend);
    print_resident("resident after unload");
    llm_backend_free(backend);
    return 0;
}
