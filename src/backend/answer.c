// The generation loop.
#include "backend/answer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "nn/sampler.h"
#include "text/detokenizer.h"
#include "text/stop_strings.h"
#include <string.h>
#include <sys/random.h>

// Tokens of one forward call: a cancellation is noticed between calls, and inside them between layers.
enum { PREFILL_CHUNK = 512 };

typedef struct answer {
    loaded_model *model;
    session *session;
    const llm_generation_config *config;
    llm_stream_writer *writer;
    sampler *sampler;
    detokenizer *detokenizer;
    stop_strings *stops;
    float *logits;           // [vocab_size]
    token_list history;      // prompt and answer: what penalties look at
    token_list generated;
    buf piece, visible;      // decoded text before and after the stop strings
    buf *text;
    llm_stats stats;
    llm_error *err;
} answer;

static llm_status create_sampler(answer *a)
{
    const llm_generation_config *config = a->config;
    sampler_options options;
    sampler_options_init(&options);
    options.temperature = config->temperature;
    options.top_p = config->top_p;
    options.top_k = config->top_k;
    options.min_p = config->min_p;
    options.repetition_penalty = config->repetition_penalty;
    options.presence_penalty = config->presence_penalty;
    options.frequency_penalty = config->frequency_penalty;
    options.repetition_context = options.presence_context = options.frequency_context = config->penalty_window;
    options.seed = config->seed;
    if (options.seed == 0 && getrandom(&options.seed, sizeof options.seed, GRND_NONBLOCK) < 0)
        options.seed = (uint64_t)clock_nanoseconds();
    options.logprobs = config->logprobs > 0;
    options.top_logprobs = config->logprobs > 1 ? config->logprobs : 0;
    if (options.top_logprobs > SAMPLER_MAX_TOP_LOGPROBS)
        return error_set(a->err, LLM_INVALID_ARGUMENT, "logprobs is %d; this backend gives at most %d", config->logprobs,
                         SAMPLER_MAX_TOP_LOGPROBS);
    sampler_bias *biases = mem_alloc_zero((size_t)config->num_logit_bias, sizeof *biases);
    if (!biases) return error_no_memory(a->err, "the sampler");
    for (int i = 0; i < config->num_logit_bias; i++)
        biases[i] = (sampler_bias){config->logit_bias[i].token, config->logit_bias[i].bias};
    options.biases = biases;
    options.num_biases = config->num_logit_bias;
    llm_status status = sampler_create(&options, a->model->vocab_size, &a->sampler, a->err);
    mem_free(biases);
    return status;
}

static llm_status forward(answer *a, const int32_t *tokens, int count, bool want_logits)
{
    engine_batch_item item = {a->session->seq, tokens, count, want_logits ? 1 : 0};
    if (!token_list_append(&a->session->ledger, tokens, (size_t)count)) return error_no_memory(a->err, "the ledger of tokens");
    llm_status status = engine_forward(a->model->weights, &item, 1, a->logits, a->err);
    if (status != LLM_OK) a->session->ledger.count -= (size_t)count;
    return status;
}

static llm_status prefill(answer *a, const token_list *tokens)
{
    llm_status status = LLM_OK;
    int done = session_reuse(a->session, tokens), total = (int)tokens->count;
    a->stats.prompt_tokens = total;
    a->stats.cached_prompt_tokens = done;
    while (status == LLM_OK && done < total) {
        if (llm_writer_cancelled(a->writer)) return error_set(a->err, LLM_CANCELLED, "the answer was cancelled");
        int count = total - done < PREFILL_CHUNK ? total - done : PREFILL_CHUNK;
        status = forward(a, tokens->ids + done, count, done + count == total);
        done += count;
    }
    return status;
}

// Writes what the stop strings let through, and keeps it for the transcript.
static llm_status write_visible(answer *a)
{
    if (a->piece.failed || a->visible.failed || !buf_append(a->text, a->visible.data, a->visible.length))
        return error_no_memory(a->err, "the answer's text");
    llm_status status = LLM_OK;
    if (a->visible.length) status = llm_writer_text(a->writer, a->visible.data, a->visible.length);
    if (status != LLM_OK) error_set(a->err, status, "the answer was stopped: %s", llm_status_name(status));
    buf_clear(&a->piece);
    buf_clear(&a->visible);
    return status;
}

static llm_status write_token(answer *a, int32_t token)
{
    llm_status status = detokenizer_push(a->detokenizer, token, &a->piece, a->err);
    if (status == LLM_OK) status = stop_strings_push(a->stops, a->piece.data, a->piece.length, &a->visible, a->err);
    return status == LLM_OK ? write_visible(a) : status;
}

static llm_status write_rest(answer *a)
{
    llm_status status = detokenizer_finish(a->detokenizer, &a->piece, a->err);
    if (status == LLM_OK) status = stop_strings_push(a->stops, a->piece.data, a->piece.length, &a->visible, a->err);
    if (status == LLM_OK) status = stop_strings_finish(a->stops, &a->visible, a->err);
    return status == LLM_OK ? write_visible(a) : status;
}

// The chosen token first, then the likeliest others.
static llm_status write_logprobs(answer *a, const sampler_result *result)
{
    if (a->config->logprobs == 0) return LLM_OK;
    llm_token_logprob all[SAMPLER_MAX_TOP_LOGPROBS + 1];
    int count = 0;
    all[count++] = (llm_token_logprob){result->token, result->logprob};
    for (int i = 0; i < result->num_top && count < a->config->logprobs; i++)
        if (result->top[i].token != result->token) all[count++] = (llm_token_logprob){result->top[i].token, result->top[i].logprob};
    llm_chunk chunk = {.kind = LLM_CHUNK_LOGPROBS, .logprobs = all, .num_logprobs = count};
    llm_status status = llm_writer_chunk(a->writer, &chunk);
    if (status != LLM_OK) error_set(a->err, status, "the answer was stopped: %s", llm_status_name(status));
    return status;
}

static llm_status decode(answer *a, llm_finish_reason *reason)
{
    int room = a->model->context_length - (int)a->history.count;
    int limit = a->config->max_tokens < room ? a->config->max_tokens : room;
    *reason = LLM_FINISH_LENGTH;
    while (a->stats.generated_tokens < limit) {
        sampler_result result;
        if (llm_writer_cancelled(a->writer)) return error_set(a->err, LLM_CANCELLED, "the answer was cancelled");
        llm_status status = sampler_sample(a->sampler, a->logits, a->history.ids, a->history.count, &result, a->err);
        if (status != LLM_OK) return status;
        if (loaded_model_is_end(a->model, result.token) && !a->config->ignore_end) {
            *reason = LLM_FINISH_STOP;
            break;
        }
        a->stats.generated_tokens++;
        if (!token_list_append(&a->history, &result.token, 1) || !token_list_append(&a->generated, &result.token, 1))
            return error_no_memory(a->err, "the answer's tokens");
        status = write_logprobs(a, &result);
        if (status == LLM_OK) status = write_token(a, result.token);
        if (status != LLM_OK) return status;
        if (stop_strings_matched(a->stops) >= 0) {
            *reason = LLM_FINISH_STOP;
            break;
        }
        if (a->stats.generated_tokens < limit && (status = forward(a, &result.token, 1, true)) != LLM_OK) return status;
    }
    return LLM_OK;
}

static llm_status write_info(answer *a, llm_finish_reason reason)
{
    llm_chunk chunk = {.kind = LLM_CHUNK_INFO, .finish_reason = reason, .stats = a->stats, .tokens = a->generated.ids,
                       .num_tokens = (int)a->generated.count};
    return llm_writer_chunk(a->writer, &chunk);
}

static llm_status prepare(answer *a, const token_list *tokens)
{
    if (tokens->count == 0) return error_set(a->err, LLM_INVALID_ARGUMENT, "the prompt is empty");
    if (tokens->count > (size_t)a->model->context_length)
        return error_set_amounts(a->err, LLM_CONTEXT_EXCEEDED, tokens->count, (uint64_t)a->model->context_length,
                                 "the prompt has %zu tokens, the context holds %d", tokens->count, a->model->context_length);
    a->logits = mem_alloc_zero((size_t)a->model->vocab_size, sizeof *a->logits);
    if (!a->logits || !token_list_append(&a->history, tokens->ids, tokens->count)) return error_no_memory(a->err, "an answer");
    llm_status status = session_use_adapters(a->session, a->model, a->config, a->err);
    if (status == LLM_OK) status = create_sampler(a);
    if (status == LLM_OK) status = detokenizer_create(a->model->tok, true, &a->detokenizer, a->err);
    if (status == LLM_OK) status = stop_strings_create(a->config->stop, (size_t)a->config->num_stop, &a->stops, a->err);
    return status;
}

static void release(answer *a)
{
    sampler_free(a->sampler);
    detokenizer_free(a->detokenizer);
    stop_strings_free(a->stops);
    mem_free(a->logits);
    token_list_free(&a->history);
    token_list_free(&a->generated);
    buf_free(&a->piece);
    buf_free(&a->visible);
}

llm_status answer_run(loaded_model *model, session *s, const token_list *tokens, const llm_generation_config *config,
                      llm_stream_writer *writer, buf *text, llm_error *err)
{
    answer a = {.model = model, .session = s, .config = config, .writer = writer, .text = text, .err = err};
    llm_finish_reason reason = LLM_FINISH_CANCELLED;
    engine_interrupt(model->weights, false); // a cancellation from now on is seen by the writer, too
    double begin = clock_seconds(), first;
    llm_status status = prepare(&a, tokens);
    if (status == LLM_OK) status = prefill(&a, tokens);
    first = clock_seconds();
    a.stats.prefill_seconds = first - begin;
    if (status == LLM_OK) status = decode(&a, &reason);
    if (status == LLM_OK) status = write_rest(&a);
    a.stats.decode_seconds = clock_seconds() - first;
    if (status == LLM_CANCELLED) reason = LLM_FINISH_CANCELLED;
    if (status == LLM_OK || status == LLM_CANCELLED) {
        llm_status written = write_info(&a, reason);
        if (status == LLM_OK && written != LLM_OK) status = error_set(err, written, "the answer was stopped: %s", llm_status_name(written));
    }
    release(&a);
    return status;
}
