// Printing answers: as text while they come, or as one JSON object at the end.
#include "cli/answer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct printing {
    const answer_options *options;
    text answer, reasoning;
    text logprobs; // JSON: the elements of an array
    text calls;    // JSON: likewise
    bool has_info;
    llm_finish_reason reason;
    llm_stats stats;
    int32_t *tokens;
    int num_tokens;
    bool has_text;   // was shown
    bool ends_line;  // with a line feed
    bool reasons;    // reasoning is being shown
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
        "\"prefill_seconds\":%.6f,\"decode_seconds\":%.6f,\"first_token_seconds\":%.6f,"
        "\"proposed_tokens\":%d,\"accepted_tokens\":%d}",
        stats->prompt_tokens, stats->cached_prompt_tokens, stats->generated_tokens,
        stats->load_seconds + load_seconds, stats->prefill_seconds, stats->decode_seconds,
        stats->first_token_seconds, stats->proposed_tokens, stats->accepted_tokens);
}

static void print_json(const printing *p)
{
    out_string("{\"text\":");
    out_json_string(p->answer.data, p->answer.length);
    if (p->reasoning.length) {
        out_string(",\"reasoning\":");
        out_json_string(p->reasoning.data, p->reasoning.length);
    }
    if (p->calls.length) out_format(",\"tool_calls\":[%s]", p->calls.data);
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
    if (stats->proposed_tokens > 0)
        fprintf(stderr, "; %d of %d proposed tokens accepted", stats->accepted_tokens, stats->proposed_tokens);
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

// Dimmed, on standard error: what is read from standard output is the answer alone.
static void show_reasoning(printing *p, const llm_chunk *chunk)
{
    if (p->options->no_reasoning) return;
    if (!p->reasons && isatty(STDERR_FILENO)) fputs("\033[2m", stderr);
    p->reasons = true;
    err_text(chunk->text, chunk->length);
}

static void end_reasoning(printing *p)
{
    if (!p->reasons) return;
    fputs(isatty(STDERR_FILENO) ? "\033[0m\n\n" : "\n", stderr);
    p->reasons = false;
}

static void append_member(text *t, const char *name, const char *value)
{
    text_append(t, name, strlen(name));
    text_append_json(t, value, strlen(value));
}

// {"id", "name", "arguments"}, or with "error" and what was written as "text".
static void append_call(text *t, const llm_chunk *chunk)
{
    append_member(t, "{\"id\":", chunk->tool_call_id);
    if (chunk->tool_name) append_member(t, ",\"name\":", chunk->tool_name);
    if (chunk->tool_error) {
        append_member(t, ",\"error\":", chunk->tool_error);
        append_member(t, ",\"text\":", chunk->text);
    } else {
        text_append(t, ",\"arguments\":", 13);
        text_append(t, chunk->text, chunk->length);
    }
    text_append(t, "}", 1);
}

// A line of its own, so that a program can read the calls.
static void show_call(printing *p, const llm_chunk *chunk)
{
    if (p->options->json) {
        if (p->calls.length) text_append(&p->calls, ",", 1);
        append_call(&p->calls, chunk);
        return;
    }
    text line = {0};
    append_call(&line, chunk);
    if (p->has_text && !p->ends_line) out_text("\n", 1);
    out_text(line.data, line.length);
    out_text("\n", 1);
    p->ends_line = true;
    text_free(&line);
}

static void take_chunk(printing *p, const llm_chunk *chunk)
{
    bool json = p->options->json;
    if (chunk->kind != LLM_CHUNK_REASONING) end_reasoning(p);
    switch (chunk->kind) {
    case LLM_CHUNK_TEXT:
        if (json)
            text_append(&p->answer, chunk->text, chunk->length);
        else
            out_text(chunk->text, chunk->length);
        p->has_text = true;
        p->ends_line = chunk->text[chunk->length - 1] == '\n';
        break;
    case LLM_CHUNK_REASONING:
        if (json)
            text_append(&p->reasoning, chunk->text, chunk->length);
        else
            show_reasoning(p, chunk);
        break;
    case LLM_CHUNK_LOGPROBS: keep_logprobs(&p->logprobs, chunk); break;
    case LLM_CHUNK_INFO: keep_info(p, chunk); break;
    case LLM_CHUNK_TOOL_CALL: show_call(p, chunk); break;
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
    end_reasoning(&p);
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
    text_free(&p.calls);
    free(p.tokens);
    llm_stream_free(stream);
    return code;
}
