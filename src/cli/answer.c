// Printing answers: as text while they come, or as one JSON object at the end.
#include "cli/answer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct printing {
    const answer_options *options;
    text answer, reasoning;
    text logprobs; // JSON: the elements of an array
    bool has_info;
    llm_finish_reason reason;
    llm_stats stats;
    int32_t *tokens;
    int num_tokens;
    bool ends_line; // the text shown so far ends with a line feed
} printing;

// ---- JSON -------------------------------------------------------------------------------------------------

static void append_logprob(text *t, const char *format, const llm_token_logprob *token)
{
    char piece[80];
    char number[32] = "null";
    if (isfinite(token->logprob)) snprintf(number, sizeof number, "%.9g", (double)token->logprob);
    text_append(t, piece, (size_t)snprintf(piece, sizeof piece, format, token->token, number));
}

// {"token", "logprob", "top": [[id, logprob], …]}
static void keep_logprobs(text *t, const llm_chunk *chunk)
{
    if (t->length) text_append(t, ",", 1);
    append_logprob(t, "{\"token\":%d,\"logprob\":%s,\"top\":[", &chunk->logprobs[0]);
    for (int i = 1; i < chunk->num_logprobs; i++)
        append_logprob(t, i > 1 ? ",[%d,%s]" : "[%d,%s]", &chunk->logprobs[i]);
    text_append(t, "]}", 2);
}

static void print_stats_json(const llm_stats *stats, double load_seconds)
{
    out_format(
        "{\"prompt_tokens\":%d,\"cached_prompt_tokens\":%d,\"generated_tokens\":%d,\"load_seconds\":%.6f,"
        "\"prefill_seconds\":%.6f,\"decode_seconds\":%.6f,\"first_token_seconds\":%.6f}",
        stats->prompt_tokens, stats->cached_prompt_tokens, stats->generated_tokens,
        stats->load_seconds + load_seconds, stats->prefill_seconds, stats->decode_seconds,
        stats->first_token_seconds);
}

static void print_json(const printing *p)
{
    out_string("{\"text\":");
    out_json_string(p->answer.data, p->answer.length);
    if (p->reasoning.length) {
        out_string(",\"reasoning\":");
        out_json_string(p->reasoning.data, p->reasoning.length);
    }
    out_string(",\"ids\":[");
    for (int i = 0; i < p->num_tokens; i++) out_format("%s%d", i ? "," : "", p->tokens[i]);
    out_format("],\"finish_reason\":\"%s\",", llm_finish_reason_name(p->reason));
    if (p->logprobs.length) out_format("\"logprobs\":[%s],", p->logprobs.data);
    out_string("\"stats\":");
    print_stats_json(&p->stats, p->options->load_seconds);
    out_string("}\n");
}

// ---- Text -------------------------------------------------------------------------------------------------

static double rate(int count, double seconds)
{
    return seconds > 0 ? count / seconds : 0;
}

void answer_print_stats(const llm_stats *stats, double load_seconds)
{
    int fresh = stats->prompt_tokens - stats->cached_prompt_tokens;
    fprintf(stderr, "[prompt: %d tokens", stats->prompt_tokens);
    if (stats->cached_prompt_tokens) fprintf(stderr, ", %d of them kept", stats->cached_prompt_tokens);
    // The first token of an answer comes with the prompt, so that decoding made one less.
    fprintf(stderr, ", %.1f/s; answer: %d tokens, %.1f/s; first after %.3f s",
            rate(fresh, stats->prefill_seconds), stats->generated_tokens,
            rate(stats->generated_tokens > 0 ? stats->generated_tokens - 1 : 0, stats->decode_seconds),
            stats->first_token_seconds);
    if (load_seconds > 0) fprintf(stderr, "; loaded in %.3f s", load_seconds);
    fprintf(stderr, "]\n");
}

static void keep_info(printing *p, const llm_chunk *chunk)
{
    p->has_info = true;
    p->reason = chunk->finish_reason;
    p->stats = chunk->stats;
    p->num_tokens = chunk->num_tokens;
    p->tokens = grow_or_exit(NULL, (size_t)chunk->num_tokens + 1, sizeof *p->tokens);
    if (chunk->num_tokens) memcpy(p->tokens, chunk->tokens, (size_t)chunk->num_tokens * sizeof *p->tokens);
}

static void take_chunk(printing *p, const llm_chunk *chunk)
{
    bool json = p->options->json;
    switch (chunk->kind) {
    case LLM_CHUNK_TEXT:
        if (json)
            text_append(&p->answer, chunk->text, chunk->length);
        else
            out_text(chunk->text, chunk->length);
        p->ends_line = chunk->text[chunk->length - 1] == '\n';
        break;
    case LLM_CHUNK_REASONING:
        if (json)
            text_append(&p->reasoning, chunk->text, chunk->length);
        else
            fprintf(stderr, "%s", chunk->text);
        break;
    case LLM_CHUNK_LOGPROBS: keep_logprobs(&p->logprobs, chunk); break;
    case LLM_CHUNK_INFO: keep_info(p, chunk); break;
    case LLM_CHUNK_TOOL_CALL: break; // nobody offers tools
    }
}

// Reads to the end; what ended it.
static llm_status read_all(printing *p, llm_stream *stream, llm_error *err)
{
    llm_chunk chunk;
    llm_status status = LLM_OK;
    for (bool cancelled = false; status == LLM_OK || status == LLM_TIMEOUT;) {
        status = llm_stream_next(stream, 100, &chunk, err);
        if (status == LLM_OK) take_chunk(p, &chunk);
        if (cancelled || !(interrupted() || out_failed())) continue;
        llm_stream_cancel(stream);
        cancelled = true;
    }
    return status;
}

int answer_print(llm_stream *stream, const answer_options *options, llm_stats *stats)
{
    llm_error err;
    printing p = {.options = options};
    int code = EXIT_DONE;
    llm_status status = read_all(&p, stream, &err);
    if (!options->json && !p.ends_line) out_text("\n", 1);
    if (options->json && p.has_info) print_json(&p);
    fflush(stdout);
    if (status == LLM_CANCELLED)
        code = interrupted() ? EXIT_INTERRUPTED : EXIT_FAILED;
    else if (status != LLM_END)
        code = fail(&err);
    if (p.has_info && !options->quiet && !out_failed()) answer_print_stats(&p.stats, options->load_seconds);
    if (p.has_info && stats) *stats = p.stats;
    text_free(&p.answer);
    text_free(&p.reasoning);
    text_free(&p.logprobs);
    free(p.tokens);
    llm_stream_free(stream);
    return code;
}
