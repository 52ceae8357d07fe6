// Transcript and ledger.
#include "backend/session.h"
#include "backend/adapters.h"
#include "base/mem.h"

llm_status session_create(loaded_model *model, session *s, llm_error *err)
{
    *s = (session){0};
    return engine_seq_create(model->weights, &s->seq, err);
}

void session_reset(session *s)
{
    for (int i = 0; i < s->num_messages; i++) mem_free((void *)(uintptr_t)s->messages[i].content);
    s->num_messages = 0;
}

void session_free(session *s)
{
    session_reset(s);
    engine_seq_free(s->seq);
    token_list_free(&s->ledger);
    mem_free(s->messages);
    *s = (session){0};
}

llm_status session_messages(const session *s, const char *system_prompt, const char *prompt, llm_message **messages, int *count,
                            llm_error *err)
{
    llm_message *all = mem_alloc_zero((size_t)s->num_messages + 2, sizeof *all);
    *count = 0;
    *messages = all;
    if (!all) return error_no_memory(err, "a conversation");
    if (system_prompt) all[(*count)++] = (llm_message){.role = "system", .content = system_prompt};
    for (int i = 0; i < s->num_messages; i++) all[(*count)++] = s->messages[i];
    all[(*count)++] = (llm_message){.role = "user", .content = prompt};
    return LLM_OK;
}

llm_status session_add_turn(session *s, const char *prompt, const char *answer, llm_error *err)
{
    char *user = mem_copy_string(prompt), *assistant = mem_copy_string(answer);
    if (!user || !assistant ||
        !mem_grow((void **)&s->messages, &s->capacity, (size_t)s->num_messages + 2, sizeof *s->messages)) {
        mem_free(user);
        mem_free(assistant);
        return error_no_memory(err, "the transcript");
    }
    s->messages[s->num_messages++] = (llm_message){.role = "user", .content = user};
    s->messages[s->num_messages++] = (llm_message){.role = "assistant", .content = assistant};
    return LLM_OK;
}

llm_status session_use_adapters(session *s, loaded_model *model, const llm_generation_config *config, llm_error *err)
{
    llm_status status = adapters_use(model, s->seq, config, err);
    if (engine_seq_length(s->seq) == 0) s->ledger.count = 0;
    return status;
}

int session_reuse(session *s, const token_list *tokens)
{
    size_t shared = 0;
    while (shared < s->ledger.count && shared + 1 < tokens->count && s->ledger.ids[shared] == tokens->ids[shared]) shared++;
    // A windowed layer may have dropped what lies before the cut: then everything is read again.
    if (engine_seq_trim(s->seq, (int)shared, NULL) != LLM_OK) {
        shared = 0;
        engine_seq_trim(s->seq, 0, NULL);
    }
    s->ledger.count = shared;
    return (int)shared;
}
