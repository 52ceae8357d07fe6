// Rounds of answer and tools.
#include "backend/turn.h"
#include "backend/prompt.h"
#include "backend/tool_messages.h"
#include "base/mem.h"
#include <string.h>

typedef struct turn {
    loaded_model *model;
    session *session;
    const llm_generation_config *config;
    llm_stream_writer *writer;
    tool_set *tools; // NULL: none
    llm_stats stats; // of all passes
    token_list generated;
    llm_finish_reason reason;
    llm_error *err;
} turn;

static llm_status write_info(turn *t)
{
    llm_chunk chunk = {.kind = LLM_CHUNK_INFO, .finish_reason = t->reason, .stats = t->stats, .tokens = t->generated.ids,
                       .num_tokens = (int)t->generated.count};
    return llm_writer_chunk(t->writer, &chunk);
}

static llm_status add_up(turn *t, const answer_pass *pass)
{
    const llm_stats *from = &pass->stats;
    t->stats.prompt_tokens += from->prompt_tokens;
    t->stats.cached_prompt_tokens += from->cached_prompt_tokens;
    t->stats.generated_tokens += from->generated_tokens;
    t->stats.proposed_tokens += from->proposed_tokens;
    t->stats.accepted_tokens += from->accepted_tokens;
    t->stats.prefill_seconds += from->prefill_seconds;
    t->stats.decode_seconds += from->decode_seconds;
    t->reason = pass->reason;
    return token_list_append(&t->generated, pass->generated.ids, pass->generated.count) ? LLM_OK : error_no_memory(t->err, "the answer's tokens");
}

// ---- The transcript of a pass -----------------------------------------------------------------------------

static void append_calls(buf *json, const answer_pass *pass)
{
    for (size_t i = 0; i < pass->num_calls; i++) {
        const answer_call *call = &pass->calls[i];
        buf_append_char(json, i > 0 ? ',' : '[');
        tool_call_append(json, call->id, call->name, call->arguments, call->error);
    }
    buf_append_char(json, ']');
}

static llm_status add_answer(const answer_pass *pass, message_list *added, llm_error *err)
{
    buf calls = {0};
    if (pass->num_calls > 0) append_calls(&calls, pass);
    llm_message message = {.role = "assistant", .content = pass->text.data ? pass->text.data : "",
                           .reasoning = pass->reasoning.length > 0 ? pass->reasoning.data : NULL, .tool_calls_json = calls.data};
    llm_status status = calls.failed ? error_no_memory(err, "the transcript") : message_list_add(added, &message, err);
    buf_free(&calls);
    return status;
}

// ---- Tools ------------------------------------------------------------------------------------------------

// A tool that fails is the model's to deal with.
static llm_status dispatch(turn *t, const answer_call *call, message_list *added)
{
    const llm_generation_config *config = t->config;
    llm_error why = {0};
    char *result = config->dispatch(config->dispatch_user, call->name, call->arguments, &why);
    llm_status status = result ? tool_result_add(added, call->id, call->name, result, t->err)
                               : tool_failure_add(added, call->id, call->name, why.message[0] ? why.message : "the tool failed", t->err);
    llm_free(result);
    return status;
}

// The results of all calls. Without a dispatch only of those that were rejected; the others are the caller's to give.
static llm_status add_results(turn *t, const answer_pass *pass, bool dispatches, message_list *added)
{
    llm_status status = LLM_OK;
    for (size_t i = 0; i < pass->num_calls && status == LLM_OK; i++) {
        const answer_call *call = &pass->calls[i];
        if (llm_writer_cancelled(t->writer)) return error_set(t->err, LLM_CANCELLED, "the answer was cancelled");
        if (call->error) status = tool_failure_add(added, call->id, call->name, call->error, t->err);
        else if (dispatches) status = dispatch(t, call, added);
    }
    return status;
}

// ---- Passes -----------------------------------------------------------------------------------------------

// One pass and, where it made calls, their results. *again: the model is to go on.
static llm_status run_pass(turn *t, const prompt_messages *messages, int number, message_list *added, bool *again)
{
    buf prompt = {0};
    token_list tokens = {0};
    const llm_generation_config *config = t->config;
    answer_pass pass = {.tokens = &tokens, .prompt = &prompt, .tools = t->tools, .number = number,
                        .max_tokens = config->max_tokens - t->stats.generated_tokens};
    llm_status status = prompt_from_messages(t->model, messages, config, &prompt, &tokens, t->err);
    if (status == LLM_OK) {
        status = answer_run(t->model, t->session, config, &pass, t->writer, t->err);
        llm_status added_up = add_up(t, &pass);
        if (status == LLM_OK) status = added_up;
    }
    bool dispatches = config->dispatch && number < TURN_MAX_ROUNDS && pass.reason == LLM_FINISH_TOOL_CALL;
    *again = status == LLM_OK && dispatches && t->stats.generated_tokens < config->max_tokens;
    if (status == LLM_OK) status = add_answer(&pass, added, t->err);
    if (status == LLM_OK) status = add_results(t, &pass, *again, added);
    answer_pass_free(&pass);
    token_list_free(&tokens);
    buf_free(&prompt);
    return status;
}

static llm_status end_turn(turn *t, llm_status status)
{
    if (status == LLM_CANCELLED) t->reason = LLM_FINISH_CANCELLED;
    if (status == LLM_OK || status == LLM_CANCELLED) {
        llm_status written = write_info(t);
        if (status == LLM_OK && written != LLM_OK) status = error_set(t->err, written, "the answer was stopped: %s", llm_status_name(written));
    }
    token_list_free(&t->generated);
    tool_set_free(t->tools);
    return status;
}

llm_status turn_run(loaded_model *model, session *s, const llm_message *history, int num_history, message_list *added,
                    const llm_generation_config *config, llm_stream_writer *writer, llm_error *err)
{
    turn t = {.model = model, .session = s, .config = config, .writer = writer, .err = err};
    llm_status status = config->num_tools > 0 ? tool_set_create(config->tools, config->num_tools, &t.tools, err) : LLM_OK;
    bool again = true;
    for (int number = 0; again && status == LLM_OK; number++) {
        prompt_messages messages = {history, num_history, added->items, added->count};
        status = run_pass(&t, &messages, number, added, &again);
    }
    return end_turn(&t, status);
}

llm_status turn_complete(loaded_model *model, session *s, const token_list *tokens, const llm_generation_config *config,
                         llm_stream_writer *writer, llm_error *err)
{
    turn t = {.model = model, .session = s, .config = config, .writer = writer, .err = err};
    answer_pass pass = {.tokens = tokens, .max_tokens = config->max_tokens};
    llm_status status = answer_run(model, s, config, &pass, writer, err), added_up = add_up(&t, &pass);
    answer_pass_free(&pass);
    return end_turn(&t, status == LLM_OK ? added_up : status);
}
