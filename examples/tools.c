// Tools that the answer runs by itself: tools [MODEL [PROMPT]]; without a model the mock backend, which does as it is told.
#include <llmlocal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int fail(const llm_error *err)
{
    fprintf(stderr, "%s\n", err->message);
    return 1;
}

// The arguments fit the schema: a real program reads them with its JSON library.
static char *run_tool(void *user, const char *name, const char *arguments, llm_error *err)
{
    char text[100] = "";
    (void)user;
    if (!strcmp(name, "roll_dice")) {
        const char *sides = strstr(arguments, "\"sides\":");
        long most = sides ? strtol(sides + 8, NULL, 10) : 6;
        snprintf(text, sizeof text, "{\"rolled\": %ld}", most > 0 ? 1 + rand() % most : 0);
    } else if (!strcmp(name, "today")) {
        time_t now = time(NULL);
        strftime(text, sizeof text, "%A, %d %B %Y", localtime(&now));
    }
    if (*text) return llm_string_copy(text);
    snprintf(err->message, sizeof err->message, "%s is not there today", name); // the model is told
    return NULL;
}

static int show(void *user, const llm_chunk *chunk)
{
    (void)user;
    if (chunk->kind == LLM_CHUNK_TEXT) fwrite(chunk->text, 1, chunk->length, stdout);
    if (chunk->kind == LLM_CHUNK_TOOL_CALL)
        printf("[%s %s%s%s]\n", chunk->tool_name ? chunk->tool_name : "?", chunk->text, chunk->tool_error ? ": " : "",
               chunk->tool_error ? chunk->tool_error : "");
    return fflush(stdout);
}

int main(int argc, char **argv)
{
    const llm_tool tools[] = {
        {"roll_dice", "Rolls one dice.", "{\"type\":\"object\",\"properties\":{\"sides\":{\"type\":\"integer\"}},\"required\":[\"sides\"]}"},
        {"today", "Says which day it is.", NULL}};
    llm_error err;
    llm_model_spec spec;
    llm_generation_config config;
    llm_model_spec_init(&spec, argc > 1 ? argv[1] : "mock");
    llm_generation_config_init(&config);
    config.tools = tools;
    config.num_tools = 2;
    config.dispatch = run_tool;
    llm_backend *backend = argc > 1 ? llm_mlx_backend_create(NULL, &err) : llm_mock_backend_create(&err);
    if (!backend || llm_backend_load(backend, &spec, NULL, NULL, &err) != LLM_OK) return fail(&err);
    llm_stream *answer = llm_backend_generate(backend, argc > 2 ? argv[2] : "call roll_dice {\"sides\":1}", &config, &err);
    if (!answer || llm_stream_consume(answer, show, NULL, &err) != LLM_OK) return fail(&err);
    putchar('\n');
    llm_stream_free(answer);
    llm_backend_free(backend);
    return 0;
}
