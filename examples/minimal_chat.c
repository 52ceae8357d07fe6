// A chat with a model: minimal_chat [MODEL]. One line is one turn; the backend keeps the conversation.
#include <llmlocal.h>
#include <stdio.h>

static int fail(const llm_error *err)
{
    fprintf(stderr, "%s\n", err->message);
    return 1;
}

int main(int argc, char **argv)
{
    llm_error err;
    llm_model_spec spec;
    llm_model_spec_init(&spec, argc > 1 ? argv[1] : "default");
    llm_backend *backend = llm_mlx_backend_create(NULL, &err);
    if (!backend || llm_backend_load(backend, &spec, NULL, NULL, &err) != LLM_OK) return fail(&err);

    char line[4096];
    while (fputs("> ", stdout), fflush(stdout), fgets(line, sizeof line, stdin)) {
        llm_stream *answer = llm_backend_generate(backend, line, NULL, &err);
        if (!answer) return fail(&err);
        llm_chunk chunk;
        llm_status status;
        while ((status = llm_stream_next(answer, LLM_FOREVER, &chunk, &err)) == LLM_OK)
            if (chunk.kind == LLM_CHUNK_TEXT) fwrite(chunk.text, 1, chunk.length, stdout), fflush(stdout);
        if (status != LLM_END) return fail(&err);
        llm_stream_free(answer);
        putchar('\n');
    }
    llm_backend_free(backend);
    return 0;
}
