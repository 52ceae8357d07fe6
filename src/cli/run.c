// llmlocal run: one prompt, one answer.
#include "cli/answer.h"
#include "cli/generation.h"
#include "cli/model.h"
#include "cli/prompt.h"

typedef struct run_options {
    generation_options generation;
    model_options model;
    bool json, raw;
    const char *tools; // a file
} run_options;

static const option run_table[] = {
    {0, "json", NULL, OPTION_FLAG, offsetof(run_options, json), "Print one JSON object.", NULL},
    {0, "raw", NULL, OPTION_FLAG, offsetof(run_options, raw),
     "Continue the text itself, without the chat template.", NULL},
    {0, "tools", "FILE", OPTION_TEXT, offsetof(run_options, tools),
     "A JSON array of tools; calls are printed as JSON, a line each.", NULL},
};

static int answer_prompt(const run_options *options, const char *model, const char *prompt)
{
    int code;
    llm_error err;
    answer_options shown = {.json = options->json, .quiet = options->generation.quiet,
                            .no_reasoning = options->generation.no_reasoning};
    llm_backend *backend = model_load(&options->model, model, &shown.load_seconds, &code);
    if (!backend) return code;
    const char *system = options->generation.system;
    llm_stream *stream = NULL;
    llm_status status = system ? llm_backend_set_system_prompt(backend, system, &err) : LLM_OK;
    if (status == LLM_OK)
        stream = options->raw ? llm_backend_complete(backend, prompt, &options->generation.config, &err)
                              : llm_backend_generate(backend, prompt, &options->generation.config, &err);
    code = stream ? answer_print(stream, &shown, NULL) : fail(&err);
    model_unload(backend);
    return code;
}

// Into the config; *tools is to be freed.
static int read_tools(run_options *options, llm_tool **tools)
{
    text json = {0};
    llm_error err;
    int code = read_whole(options->tools, &json);
    if (code != GO_ON) return code;
    text_append(&json, "", 0);
    *tools = llm_tools_from_json_copy(json.data, &options->generation.config.num_tools, &err);
    options->generation.config.tools = *tools;
    if (!*tools) code = fail_with("%s: %s", options->tools, err.message);
    text_free(&json);
    return code;
}

int run_main(const subcommand *self, int argc, char **argv)
{
    run_options options = {0};
    const char *arguments[2];
    text prompt = {0};
    llm_tool *tools = NULL;
    const option_group groups[] = {OPTIONS(run_table, &options),
                                   OPTIONS(generation_option_table, &options.generation),
                                   OPTIONS(model_option_table, &options.model)};
    generation_init(&options.generation);
    int code = options_parse(self, groups, 3, argc, argv, arguments);
    if (code == GO_ON && options.raw && options.generation.system)
        code = usage_error(self, "--raw has no system prompt");
    if (code == GO_ON && options.generation.config.logprobs && !options.json)
        code = usage_error(self, "--logprobs needs --json");
    if (code == GO_ON && options.raw && options.tools)
        code = usage_error(self, "--raw calls no tools");
    if (code == GO_ON && options.tools) code = read_tools(&options, &tools);
    if (code == GO_ON) code = generation_check(&options.generation);
    if (code == GO_ON) code = prompt_read(arguments[1], !options.raw, &prompt);
    if (code == GO_ON) code = answer_prompt(&options, arguments[0], prompt.data);
    text_free(&prompt);
    llm_free(tools);
    generation_free(&options.generation);
    return out_finish(code);
}
