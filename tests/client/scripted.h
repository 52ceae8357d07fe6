// A backend that does what a test says: gates hold its slots until the test opens them; calls are noted.
#ifndef TESTS_SCRIPTED_H
#define TESTS_SCRIPTED_H
#include "testing.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct scripted {
    atomic_bool hold_load, hold_generate, hold_score; // closed gates
    atomic_bool deaf;                                 // generate and load do not listen to cancellations
    _Atomic llm_status load_result, generate_result, reset_result, prompt_result;
    atomic_int loads, unloads, generates, scores, cancels, resets, prompts, destroyed;
    atomic_int inside;   // slots that run now, of those that must be alone
    atomic_int overlaps; // how often there was more than one
    atomic_bool loaded;
    atomic_int misuses; // calls without a model
    pthread_mutex_t lock;
    char log[4000]; // one word a call: "load:m generate:hello reset …"
} scripted;

static void scripted_note(scripted *s, const char *what, const char *detail)
{
    pthread_mutex_lock(&s->lock);
    size_t length = strlen(s->log);
    snprintf(s->log + length, sizeof s->log - length, "%s%s%s ", what, detail ? ":" : "",
             detail ? detail : "");
    pthread_mutex_unlock(&s->lock);
}

static void scripted_pause(void)
{
    nanosleep(&(struct timespec){0, 200000}, NULL);
}

static void scripted_enter(scripted *s, bool needs_model)
{
    if (atomic_fetch_add(&s->inside, 1)) atomic_fetch_add(&s->overlaps, 1);
    if (needs_model && !atomic_load(&s->loaded)) atomic_fetch_add(&s->misuses, 1);
}

static llm_status scripted_leave(scripted *s, llm_status status)
{
    atomic_fetch_sub(&s->inside, 1);
    return status;
}

static llm_status scripted_load(void *state, const llm_model_spec *spec, llm_progress_function progress,
                                void *user, llm_error *err)
{
    scripted *s = state;
    (void)err; // says nothing: the library must
    scripted_enter(s, false);
    if (atomic_load(&s->loaded)) atomic_fetch_add(&s->misuses, 1);
    scripted_note(s, "load", spec->base);
    atomic_fetch_add(&s->loads, 1);
    llm_status status = atomic_load(&s->load_result);
    do {
        if (progress(user, "part", 0.5) && !atomic_load(&s->deaf)) status = LLM_CANCELLED;
        if (atomic_load(&s->hold_load)) scripted_pause();
    } while (atomic_load(&s->hold_load) && status == LLM_OK);
    atomic_store(&s->loaded, status == LLM_OK);
    return scripted_leave(s, status);
}

static void scripted_unload(void *state)
{
    scripted *s = state;
    scripted_enter(s, true);
    scripted_note(s, "unload", NULL);
    atomic_fetch_add(&s->unloads, 1);
    atomic_store(&s->loaded, false);
    scripted_leave(s, LLM_OK);
}

static llm_status scripted_generate(void *state, const llm_request *request, llm_stream_writer *writer,
                                    llm_error *err)
{
    scripted *s = state;
    (void)err;
    scripted_enter(s, true);
    const char *text = request->text               ? request->text
                       : request->num_messages > 0 ? request->messages[0].content
                                                   : "tokens";
    scripted_note(s, "generate", text);
    if (request->system_prompt) scripted_note(s, "system", request->system_prompt);
    atomic_fetch_add(&s->generates, 1);
    llm_status status = llm_writer_text(writer, text, strlen(text));
    while (status == LLM_OK && atomic_load(&s->hold_generate)) {
        scripted_pause();
        if (llm_writer_cancelled(writer) && !atomic_load(&s->deaf)) status = LLM_CANCELLED;
    }
    return scripted_leave(s, status == LLM_OK ? atomic_load(&s->generate_result) : status);
}

static void scripted_destroy(void *state)
{
    atomic_fetch_add(&((scripted *)state)->destroyed, 1);
}

static llm_status scripted_set_system_prompt(void *state, const char *text, llm_error *err)
{
    scripted *s = state;
    (void)err;
    scripted_enter(s, true);
    scripted_note(s, "prompt", text ? text : "-");
    atomic_fetch_add(&s->prompts, 1);
    return scripted_leave(s, atomic_load(&s->prompt_result));
}

static llm_status scripted_reset(void *state, llm_error *err)
{
    scripted *s = state;
    (void)err;
    scripted_enter(s, true);
    scripted_note(s, "reset", NULL);
    atomic_fetch_add(&s->resets, 1);
    return scripted_leave(s, atomic_load(&s->reset_result));
}

static void scripted_cancel(void *state)
{
    atomic_fetch_add(&((scripted *)state)->cancels, 1);
}

static llm_status scripted_memory(void *state, llm_memory *memory, llm_error *err)
{
    (void)err;
    if (!atomic_load(&((scripted *)state)->loaded)) atomic_fetch_add(&((scripted *)state)->misuses, 1);
    memory->weights_bytes = 1234;
    return LLM_OK;
}

static llm_status scripted_score(void *state, const int32_t *tokens, int num_tokens, int num_top,
                                 llm_score_function on_position, void *user, llm_error *err)
{
    scripted *s = state;
    (void)err;
    (void)num_top;
    scripted_enter(s, true);
    scripted_note(s, "score", NULL);
    atomic_fetch_add(&s->scores, 1);
    llm_status status = LLM_OK;
    for (int i = 0; i < num_tokens && status == LLM_OK; i++) {
        while (atomic_load(&s->hold_score) && !on_position(user, i, tokens[i], -1.0, NULL, 0))
            scripted_pause();
        if (on_position(user, i, tokens[i], -1.0, NULL, 0)) status = LLM_CANCELLED;
    }
    return scripted_leave(s, status);
}

static llm_status scripted_engine_info(void *state, llm_engine_info *info, llm_error *err)
{
    (void)state;
    (void)err;
    snprintf(info->name, sizeof info->name, "scripted");
    return LLM_OK;
}

static const llm_backend_methods scripted_methods = {
    .api_version = LLM_BACKEND_API,
    .name = "scripted",
    .load = scripted_load,
    .unload = scripted_unload,
    .generate = scripted_generate,
    .destroy = scripted_destroy,
    .set_system_prompt = scripted_set_system_prompt,
    .reset = scripted_reset,
    .cancel = scripted_cancel,
    .memory = scripted_memory,
    .score = scripted_score,
    .engine_info = scripted_engine_info,
};

// Waits, at most ten seconds, until the condition holds.
#define wait_for(condition)                                                                                  \
    do {                                                                                                     \
        int tries_ = 50000;                                                                                  \
        while (!(condition) && tries_--) scripted_pause();                                                   \
        if (!(condition)) fail_msg("never: %s", #condition);                                                 \
    } while (0)

#endif
