// llmlocal fuse: a model directory with an adapter in its weights.
#include "cli/model.h"

typedef struct fuse_options {
    const char *adapter;
    bool dequantize;
} fuse_options;

static const option fuse_table[] = {
    {0, "adapter", "WHERE", OPTION_TEXT, offsetof(fuse_options, adapter),
     "The LoRA or DoRA adapter: a directory, a Hugging Face id, or github:OWNER/NAME@TAG/FILE.", NULL},
    {0, "dequantize", NULL, OPTION_FLAG, offsetof(fuse_options, dequantize), "Write unquantised weights.", NULL},
};

int fuse_main(const subcommand *self, int argc, char **argv)
{
    llm_error err;
    llm_model_spec spec;
    const char *arguments[2];
    fuse_options options = {0};
    const option_group groups[] = {OPTIONS(fuse_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, arguments);
    if (code != GO_ON) return code;
    if (!options.adapter) return usage_error(self, "--adapter is missing");
    llm_fuse_options settings;
    llm_fuse_options_init(&settings);
    settings.dequantize = options.dequantize;
    settings.progress = show_progress;
    llm_model_spec_init(&spec, arguments[0]);
    spec.adapter = adapter_from_text(options.adapter);
    interrupt_install();
    llm_status status = llm_fuse(&spec, arguments[1], &settings, &err);
    hide_progress();
    return status == LLM_OK ? EXIT_DONE : fail(&err);
}
