// The generation loop.
#include "backend/answer.h"
#include "backend/call_id.h"
#include "backend/speculation.h"
#include "base/clock.h"
#include "base/mem.h"
#include "nn/sampler.h"
#include "text/detokenizer.h"
#include "text/reply_parser.h"
#include "text/stop_strings.h"
#include <string.h>
#include <sys/random.h>

// Tokens of one forward call: a cancellation is noticed between calls, and inside them between layers.
// An engine that is fast enough says how many it likes best.
enum { PREFILL_CHUNK = 512 };

typedef struct answer {
    loaded_model *model;
    session *session;
    const llm_generation_config *config;
    llm_stream_writer *writer;
    sampler *sampler;
    detokenizer *detokenizer;
    stop_strings *stops;
    float *logits;           // [1 + config->speculate][vocab_size]
    speculation ahead;
    int limit;               // tokens of the answer at most
    token_list history;      // prompt and answer: what penalties look at
    reply_format format;
    reply_parser *parser;    // NULL: the text is the answer
    buf piece, visible;      // decoded text, and text behind the stop strings
    answer_pass *pass;
    uint64_t first_id;       // where the ids of calls come from
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
    options.seed = config->seed ? config->seed + (uint64_t)a->pass->number : 0;
    if (options.seed == 0 && getrandom(&options.seed, sizeof options.seed, GRND_NONBLOCK) < 0)
        options.seed = (uint64_t)clock_nanoseconds();
    a->first_id = call_id_seed(options.seed, a->pass->tokens->count);
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

// The last `num_logits` tokens' logits go to a->logits.
static llm_status forward(answer *a, const int32_t *tokens, int count, int num_logits, bool precise)
{
    engine_batch_item item = {a->session->seq, tokens, count, num_logits, precise};
    if (!token_list_append(&a->session->ledger, tokens, (size_t)count)) return error_no_memory(a->err, "the ledger of tokens");
    llm_status status = engine_forward(a->model->weights, &item, 1, a->logits, a->err);
    if (status != LLM_OK) a->session->ledger.count -= (size_t)count;
    return status;
}

static llm_status prefill(answer *a)
{
    const token_list *tokens = a->pass->tokens;
    llm_status status = LLM_OK;
    int done = session_reuse(a->session, tokens), total = (int)tokens->count;
    int chunk = a->model->prefill_tokens > 0 ? a->model->prefill_tokens : PREFILL_CHUNK;
    a->pass->stats.prompt_tokens = total;
    a->pass->stats.cached_prompt_tokens = done;
    while (status == LLM_OK && done < total) {
        if (llm_writer_cancelled(a->writer)) return error_set(a->err, LLM_CANCELLED, "the answer was cancelled");
        int count = total - done < chunk ? total - done : chunk;
        status = forward(a, tokens->ids + done, count, done + count == total, false);
        done += count;
    }
    return status;
}

static llm_status stopped(answer *a, llm_status status)
{
    return status == LLM_OK ? LLM_OK : error_set(a->err, status, "the answer was stopped: %s", llm_status_name(status));
}

// ---- What the reader sees ---------------------------------------------------------------------------------

// Writes what the stop strings let through, and keeps it for the transcript.
static llm_status write_visible(answer *a)
{
    if (a->visible.failed || !buf_append(&a->pass->text, a->visible.data, a->visible.length))
        return error_no_memory(a->err, "the answer's text");
    llm_status status = LLM_OK;
    if (a->visible.length) status = llm_writer_text(a->writer, a->visible.data, a->visible.length);
    buf_clear(&a->visible);
    return stopped(a, status);
}

static llm_status write_text(answer *a, const char *text, size_t length)
{
    llm_status status = stop_strings_push(a->stops, text, length, &a->visible, a->err);
    return status == LLM_OK ? write_visible(a) : status;
}

static llm_status write_reasoning(answer *a, const reply_event *event)
{
    if (!buf_append(&a->pass->reasoning, event->text, event->length)) return error_no_memory(a->err, "the answer's text");
    llm_chunk chunk = {.kind = LLM_CHUNK_REASONING, .text = event->text, .length = event->length};
    return stopped(a, llm_writer_chunk(a->writer, &chunk));
}

static llm_status keep_call(answer *a, const reply_event *event, answer_call **kept)
{
    answer_pass *pass = a->pass;
    char id[CALL_ID_SIZE];
    call_id_make(a->first_id + pass->num_calls, id);
    if (!mem_grow((void **)&pass->calls, &pass->calls_capacity, pass->num_calls + 1, sizeof *pass->calls))
        return error_no_memory(a->err, "a tool call");
    answer_call *call = *kept = &pass->calls[pass->num_calls++];
    *call = (answer_call){.id = mem_copy_string(event->id ? event->id : id),
                          .name = event->name ? mem_copy_string(event->name) : NULL,
                          .arguments = mem_copy_string(event->text),
                          .error = event->why ? mem_copy_string(event->why) : NULL};
    bool complete = call->id && call->arguments && (call->name || !event->name) && (call->error || !event->why);
    return complete ? LLM_OK : error_no_memory(a->err, "a tool call");
}

// Text that the stop strings held back comes before the call.
static llm_status write_call(answer *a, const reply_event *event)
{
    answer_call *call = NULL;
    llm_status status = stop_strings_finish(a->stops, &a->visible, a->err);
    if (status == LLM_OK) status = write_visible(a);
    if (status == LLM_OK) status = keep_call(a, event, &call);
    if (status != LLM_OK) return status;
    llm_chunk chunk = {.kind = LLM_CHUNK_TOOL_CALL, .text = call->arguments, .tool_call_id = call->id, .tool_name = call->name,
                       .tool_error = call->error};
    return stopped(a, llm_writer_chunk(a->writer, &chunk));
}

// What comes behind a stop string is no part of the answer.
static llm_status on_event(void *user, const reply_event *event, llm_error *err)
{
    answer *a = user;
    (void)err; // it is a->err
    if (stop_strings_matched(a->stops) >= 0) return LLM_OK;
    if (event->kind == REPLY_TEXT) return write_text(a, event->text, event->length);
    return event->kind == REPLY_REASONING ? write_reasoning(a, event) : write_call(a, event);
}

static llm_status write_piece(answer *a)
{
    llm_status status = LLM_OK;
    if (a->piece.failed) return error_no_memory(a->err, "the answer's text");
    if (a->parser) status = reply_parser_push(a->parser, a->piece.data ? a->piece.data : "", a->piece.length, a->err);
    else if (a->piece.length) status = write_text(a, a->piece.data, a->piece.length);
    buf_clear(&a->piece);
    return status;
}

// Special tokens are no text, but some of them are tags that the parser must see.
static bool is_hidden(const answer *a, int32_t token)
{
    size_t length;
    if (!tokenizer_is_special(a->model->tok, token)) return false;
    const char *text = tokenizer_token_text(a->model->tok, token, &length);
    return !a->parser || !text || !reply_format_shows(&a->format, text, length);
}

static llm_status write_token(answer *a, int32_t token)
{
    llm_status status = is_hidden(a, token) ? LLM_OK : detokenizer_push(a->detokenizer, token, &a->piece, a->err);
    return status == LLM_OK ? write_piece(a) : status;
}

static llm_status write_rest(answer *a)
{
    llm_status status = detokenizer_finish(a->detokenizer, &a->piece, a->err);
    if (status == LLM_OK) status = write_piece(a);
    if (status == LLM_OK && a->parser) status = reply_parser_finish(a->parser, a->err);
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
    return stopped(a, llm_writer_chunk(a->writer, &chunk));
}

// ---- The model --------------------------------------------------------------------------------------------

// Samples the next token from a row of logits and writes it. *more: the answer goes on behind it.
static llm_status take_token(answer *a, float *logits, int32_t *token, bool *more)
{
    sampler_result result;
    *more = false;
    if (llm_writer_cancelled(a->writer)) return error_set(a->err, LLM_CANCELLED, "the answer was cancelled");
    llm_status status = sampler_sample(a->sampler, logits, a->history.ids, a->history.count, &result, a->err);
    if (status != LLM_OK) return status;
    *token = result.token;
    if (loaded_model_is_end(a->model, result.token) && !a->config->ignore_end) {
        a->pass->reason = LLM_FINISH_STOP;
        return LLM_OK;
    }
    a->pass->stats.generated_tokens++;
    if (!token_list_append(&a->history, &result.token, 1) || !token_list_append(&a->pass->generated, &result.token, 1))
        return error_no_memory(a->err, "the answer's tokens");
    status = write_logprobs(a, &result);
    if (status == LLM_OK) status = write_token(a, result.token);
    if (status != LLM_OK) return status;
    bool stop = stop_strings_matched(a->stops) >= 0;
    if (stop) a->pass->reason = LLM_FINISH_STOP;
    *more = !stop && a->pass->stats.generated_tokens < a->limit;
    return LLM_OK;
}

// Takes tokens for as long as they are the proposed ones, whose logits are there already, and one more: each is sampled from
// what the model says behind the tokens before it, as without proposals. Then the sequence forgets those that were wrong.
static llm_status take_tokens(answer *a, bool *more)
{
    int right = 0, proposed = a->ahead.count;
    llm_status status;
    for (int row = 0;; row++) {
        int32_t token;
        status = take_token(a, a->logits + (size_t)row * (size_t)a->model->vocab_size, &token, more);
        if (status != LLM_OK || !*more || row == proposed || token != a->ahead.tokens[row]) break;
        right++;
    }
    if (*more) speculation_judged(&a->ahead, right);
    a->pass->stats.proposed_tokens += proposed;
    a->pass->stats.accepted_tokens += right;
    if (right == proposed) return status;
    size_t length = a->session->ledger.count - (size_t)(proposed - right);
    llm_status trimmed = engine_seq_trim(a->session->seq, (int)length, status == LLM_OK ? a->err : NULL);
    if (trimmed == LLM_OK) a->session->ledger.count = length;
    return status == LLM_OK ? trimmed : status;
}

// Forwards the latest token, and behind it what may follow.
static llm_status forward_step(answer *a)
{
    int32_t tokens[1 + SPECULATION_MOST];
    tokens[0] = a->history.ids[a->history.count - 1];
    if (!speculation_propose(&a->ahead, a->history.ids, a->history.count, a->limit - a->pass->stats.generated_tokens - 1))
        return error_no_memory(a->err, "the index of tokens");
    int rows = 1 + a->ahead.count;
    memcpy(tokens + 1, a->ahead.tokens, (size_t)a->ahead.count * sizeof *tokens);
    double begin = clock_seconds();
    llm_status status = forward(a, tokens, rows, rows, rows > 1);
    speculation_timed(&a->ahead, rows, clock_seconds() - begin);
    return status;
}

static llm_status decode(answer *a)
{
    int room = a->model->context_length - (int)a->history.count;
    a->limit = a->pass->max_tokens < room ? a->pass->max_tokens : room;
    a->pass->reason = LLM_FINISH_LENGTH;
    bool more = a->limit > 0;
    llm_status status = LLM_OK;
    while (more) {
        status = take_tokens(a, &more);
        if (status == LLM_OK && more) status = forward_step(a);
        if (status != LLM_OK) return status;
    }
    return status;
}

static llm_status create_parser(answer *a)
{
    const buf *prompt = a->pass->prompt;
    if (!prompt) return LLM_OK;
    a->format = loaded_model_reply_format(a->model, a->pass->tools != NULL);
    if (reply_format_is_plain(&a->format)) return LLM_OK;
    return reply_parser_create(&a->format, a->pass->tools, prompt->data ? prompt->data : "", prompt->length, on_event, a, &a->parser, a->err);
}

static llm_status prepare(answer *a)
{
    const token_list *tokens = a->pass->tokens;
    if (tokens->count == 0) return error_set(a->err, LLM_INVALID_ARGUMENT, "the prompt is empty");
    if (tokens->count > (size_t)a->model->context_length)
        return error_set_amounts(a->err, LLM_CONTEXT_EXCEEDED, tokens->count, (uint64_t)a->model->context_length,
                                 "the prompt has %zu tokens, the context holds %d", tokens->count, a->model->context_length);
    speculation_begin(&a->ahead, a->config->speculate);
    a->logits = mem_alloc_zero((size_t)a->model->vocab_size, (size_t)(1 + a->ahead.most) * sizeof *a->logits);
    if (!a->logits || !token_list_append(&a->history, tokens->ids, tokens->count)) return error_no_memory(a->err, "an answer");
    llm_status status = session_use_adapters(a->session, a->model, a->config, a->err);
    if (status == LLM_OK) status = create_sampler(a);
    if (status == LLM_OK) status = detokenizer_create(a->model->tok, false, &a->detokenizer, a->err);
    if (status == LLM_OK) status = stop_strings_create(a->config->stop, (size_t)a->config->num_stop, &a->stops, a->err);
    return status == LLM_OK ? create_parser(a) : status;
}

static void release(answer *a)
{
    sampler_free(a->sampler);
    detokenizer_free(a->detokenizer);
    stop_strings_free(a->stops);
    reply_parser_free(a->parser);
    speculation_free(&a->ahead);
    mem_free(a->logits);
    token_list_free(&a->history);
    buf_free(&a->piece);
    buf_free(&a->visible);
}

llm_status answer_run(loaded_model *model, session *s, const llm_generation_config *config, answer_pass *pass,
                      llm_stream_writer *writer, llm_error *err)
{
    answer a = {.model = model, .session = s, .config = config, .writer = writer, .pass = pass, .err = err};
    engine_interrupt(model->weights, false); // a cancellation from now on is seen by the writer, too
    double begin = clock_seconds(), first;
    llm_status status = prepare(&a);
    if (status == LLM_OK) status = prefill(&a);
    first = clock_seconds();
    pass->stats.prefill_seconds = first - begin;
    if (status == LLM_OK) status = decode(&a);
    if (status == LLM_OK) status = write_rest(&a);
    if (status == LLM_OK && pass->num_calls > 0 && pass->reason == LLM_FINISH_STOP) pass->reason = LLM_FINISH_TOOL_CALL;
    pass->stats.decode_seconds = clock_seconds() - first;
    release(&a);
    return status;
}

void answer_pass_free(answer_pass *pass)
{
    for (size_t i = 0; i < pass->num_calls; i++) {
        mem_free(pass->calls[i].id);
        mem_free(pass->calls[i].name);
        mem_free(pass->calls[i].arguments);
        mem_free(pass->calls[i].error);
    }
    mem_free(pass->calls);
    buf_free(&pass->text);
    buf_free(&pass->reasoning);
    token_list_free(&pass->generated);
}
