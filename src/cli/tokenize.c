// llmlocal tokenize: all of standard input as tokens, with the special ones that plain text gets.
#include "cli/cli.h"
#include <stddef.h>

typedef struct tokenize_options {
    bool json;
} tokenize_options;

static const option tokenize_table[] = {
    {0, "json", NULL, OPTION_FLAG, offsetof(tokenize_options, json), "Print one JSON array.", NULL},
};

static void print_tokens(const int32_t *tokens, int count, bool json)
{
    if (json) out_string("[");
    for (int i = 0; i < count; i++) out_format("%s%d", !i ? "" : json ? "," : " ", tokens[i]);
    out_string(json ? "]\n" : "\n");
}

int tokenize_main(const subcommand *self, int argc, char **argv)
{
    llm_error err;
    llm_model_spec spec;
    text input = {0};
    int32_t *tokens = NULL;
    int num_tokens;
    const char *arguments[1];
    tokenize_options options = {0};
    const option_group groups[] = {OPTIONS(tokenize_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, arguments);
    if (code != GO_ON) return code;
    llm_model_spec_init(&spec, arguments[0]);
    llm_tokenizer *tokenizer = llm_tokenizer_create(&spec, &err);
    if (!tokenizer) return fail(&err);
    code = read_whole("-", &input);
    if (code == GO_ON && llm_tokenizer_encode_copy(tokenizer, input.data, input.length, true, &tokens,
                                                   &num_tokens, &err) != LLM_OK)
        code = fail(&err);
    if (code == GO_ON) {
        print_tokens(tokens, num_tokens, options.json);
        code = EXIT_DONE;
    }
    llm_free(tokens);
    text_free(&input);
    llm_tokenizer_free(tokenizer);
    return out_finish(code);
}
