// llmlocal score: for each token of a text, how likely the next one was.
#include "cli/model.h"
#include "cli/tokens.h"
#include <stdlib.h>

typedef struct score_options {
    model_options model;
    const char *text_file, *ids;
    int top;
    bool json;
} score_options;

static const option score_table[] = {
    {0, "text-file", "FILE", OPTION_TEXT, offsetof(score_options, text_file),
     "Score this text; -: standard input.", NULL},
    {0, "ids", "1,2,3", OPTION_TEXT, offsetof(score_options, ids), "Score these tokens.", NULL},
    {0, "top", "N", OPTION_INT, offsetof(score_options, top), "Print the N likeliest next tokens, too; 0.",
     NULL},
    {0, "json", NULL, OPTION_FLAG, offsetof(score_options, json), "Print one JSON object.", NULL},
};

// {"token", "next_logprob", "top": [[id, logprob], …]}
static int print_json(void *user, int position, int32_t token, double next_logprob,
                      const llm_token_logprob *top, int num_top)
{
    (void)user;
    out_format("%s{\"token\":%d,\"next_logprob\":", position ? "," : "", token);
    out_json_number(next_logprob);
    out_string(",\"top\":[");
    for (int i = 0; i < num_top; i++) {
        out_format("%s[%d,", i ? "," : "", top[i].token);
        out_json_number((double)top[i].logprob);
        out_string("]");
    }
    out_string("]}");
    return interrupted() || out_failed();
}

// position, token, log-probability of the next token, likeliest next tokens
static int print_row(void *user, int position, int32_t token, double next_logprob,
                     const llm_token_logprob *top, int num_top)
{
    (void)user;
    out_format("%d\t%d\t%.6f", position, token, next_logprob);
    for (int i = 0; i < num_top; i++) out_format("\t%d:%.6f", top[i].token, (double)top[i].logprob);
    out_string("\n");
    return interrupted() || out_failed();
}

static int score_tokens(const score_options *options, const char *model, const int32_t *tokens, int count)
{
    int code;
    llm_error err;
    llm_backend *backend = model_load(&options->model, model, NULL, &code);
    if (!backend) return code;
    if (options->json) {
        out_string("{\"ids\":[");
        for (int i = 0; i < count; i++) out_format("%s%d", i ? "," : "", tokens[i]);
        out_string("],\"positions\":[");
    }
    llm_status status = llm_backend_score(backend, tokens, count, options->top,
                                          options->json ? print_json : print_row, NULL, &err);
    if (status == LLM_OK && options->json) out_string("]}\n");
    code = status == LLM_OK ? EXIT_DONE : out_failed() ? EXIT_FAILED : fail(&err);
    model_unload(backend);
    return code;
}

int score_main(const subcommand *self, int argc, char **argv)
{
    const char *arguments[1];
    score_options options = {0};
    int32_t *tokens = NULL;
    int count = 0;
    const option_group groups[] = {OPTIONS(score_table, &options),
                                   OPTIONS(model_option_table, &options.model)};
    int code = options_parse(self, groups, 2, argc, argv, arguments);
    if (code == GO_ON && !options.text_file == !options.ids)
        code = usage_error(self, "either --text-file or --ids is needed");
    if (code == GO_ON && options.top < 0) code = usage_error(self, "--top is negative");
    if (code == GO_ON && options.text_file)
        code = tokens_of_file(arguments[0], options.text_file, &tokens, &count);
    if (code == GO_ON && options.ids && !tokens_of_list(options.ids, &tokens, &count))
        code = usage_error(self, "--ids: \"%s\" is not a list of tokens", options.ids);
    if (code == GO_ON && !count) code = fail_with("there is nothing to score");
    if (code == GO_ON) code = score_tokens(&options, arguments[0], tokens, count);
    free(tokens);
    return out_finish(code);
}
