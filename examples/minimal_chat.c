// A chat with a model: minimal_chat [MODEL]. One line is one turn; the service loads the model and keeps the conversation.
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
    llm_service *service = llm_service_create(NULL, &err);
    if (!service) return fail(&err);

    char line[4096];
    while (fputs("> ", stdout), fflush(stdout), fgets(line, sizeof line, stdin)) {
        llm_stream *answer = llm_service_generate(service, &spec, line, NULL, &err);
        if (!answer) return fail(&err);
        llm_chunk chunk;
        llm_status status;
        while ((status = llm_stream_next(answer, LLM_FOREVER, &chunk, &err)) == LLM_OK)
            if (chunk.kind == LLM_CHUNK_TEXT) fwrite(chunk.text, 1, chunk.length, stdout), fflush(stdout);
        if (status != LLM_END) return fail(&err);
        llm_stream_free(answer);
        putchar('\n');
    }
    llm_service_free(service);
    return 0;
}
