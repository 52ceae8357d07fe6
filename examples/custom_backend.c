// A backend of one's own: three functions and a table. This one spells what it is told.
#include <llmlocal.h>
#include <stdio.h>
#include <string.h>

typedef struct speller {
    int spelled; // letters, over all answers
} speller;

static llm_status speller_load(void *state, const llm_model_spec *spec, llm_progress_function progress,
                               void *user, llm_error *err)
{
    (void)err;
    ((speller *)state)->spelled = 0;
    return progress(user, spec->base, 1.0) ? LLM_CANCELLED : LLM_OK;
}

static void speller_unload(void *state)
{
    printf("[%d letters]\n", ((speller *)state)->spelled);
}

// Runs on a thread of the library's. Writing blocks while the reader is slow, and fails when it is to stop.
static llm_status speller_generate(void *state, const llm_request *request, llm_stream_writer *writer,
                                   llm_error *err)
{
    speller *s = state;
    if (!request->text) {
        *err = (llm_error){.code = LLM_UNSUPPORTED_FORMAT, .message = "a speller spells plain prompts only"};
        return err->code;
    }
    for (const char *letter = request->text; *letter; letter++) {
        char text[] = {*letter & 0x80 ? '?' : *letter, '-', 0};
        llm_status status = llm_writer_text(writer, text, letter[1] ? 2 : 1);
        if (status != LLM_OK) return status;
        s->spelled++;
    }
    return LLM_OK; // the library adds the info chunk
}

static const llm_backend_methods speller_methods = {
    .api_version = LLM_BACKEND_API,
    .name = "speller",
    .load = speller_load,
    .unload = speller_unload,
    .generate = speller_generate,
};

static int print_chunk(void *user, const llm_chunk *chunk)
{
    (void)user;
    if (chunk->kind == LLM_CHUNK_TEXT) fwrite(chunk->text, 1, chunk->length, stdout);
    if (chunk->kind == LLM_CHUNK_INFO) printf(" (%s)\n", llm_finish_reason_name(chunk->finish_reason));
    return 0; // anything else would cancel
}

int main(void)
{
    llm_error err;
    speller state;
    llm_model_spec spec;
    llm_model_spec_init(&spec, "alphabet");
    llm_backend *backend = llm_backend_create(&speller_methods, &state, &err);
    llm_stream *answer = NULL;
    llm_status status = backend ? llm_backend_load(backend, &spec, NULL, NULL, &err) : err.code;
    if (status == LLM_OK) answer = llm_backend_generate(backend, "hello", NULL, &err);
    if (answer) status = llm_stream_consume(answer, print_chunk, NULL, &err);
    if (!answer || status != LLM_OK) fprintf(stderr, "%s\n", err.message);
    llm_stream_free(answer);
    llm_backend_free(backend);
    return status == LLM_OK ? 0 : 1;
}
