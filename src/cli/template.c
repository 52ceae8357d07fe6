// llmlocal template: the chat template over messages, as text and nothing else.
#include "cli/cli.h"
#include <stddef.h>
#include <string.h>

typedef struct template_options {
    const char *messages;
} template_options;

static const option template_table[] = {
    {0, "messages", "FILE", OPTION_TEXT, offsetof(template_options, messages),
     "JSON object with \"messages\" and what else the template reads; -: standard input.", NULL},
};

int template_main(const subcommand *self, int argc, char **argv)
{
    llm_error err;
    llm_model_spec spec;
    text json = {0};
    const char *arguments[1];
    template_options options = {0};
    const option_group groups[] = {OPTIONS(template_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, arguments);
    if (code == GO_ON && !options.messages) code = usage_error(self, "--messages is missing");
    if (code == GO_ON) code = read_whole(options.messages, &json);
    if (code == GO_ON && memchr(json.data, 0, json.length))
        code = fail_with("%s: not JSON: it contains a zero byte", options.messages);
    if (code != GO_ON) return text_free(&json), code;
    llm_model_spec_init(&spec, arguments[0]);
    llm_tokenizer *tokenizer = llm_tokenizer_create(&spec, &err);
    char *rendered = tokenizer ? llm_tokenizer_render_copy(tokenizer, json.data, &err) : NULL;
    code = rendered ? EXIT_DONE : fail(&err);
    if (rendered) out_text(rendered, strlen(rendered));
    llm_free(rendered);
    llm_tokenizer_free(tokenizer);
    text_free(&json);
    return out_finish(code);
}
