// llmlocal convert: a model directory from another format.
#include "cli/model.h"

typedef struct convert_options {
    int bits, group_size;
} convert_options;

static const option convert_table[] = {
    {0, "bits", "N", OPTION_INT, offsetof(convert_options, bits),
     "Quantise to 2, 3, 4, 5, 6 or 8 bits; 0: keep what is there.", NULL},
    {0, "group-size", "N", OPTION_INT, offsetof(convert_options, group_size),
     "Weights that share a scale: 32, 64 or 128; 64.", NULL},
};

static void print_report(void *user, int level, const char *message)
{
    (void)user;
    (void)level;
    hide_progress();
    fprintf(stderr, "%s\n", message);
}

int convert_main(const subcommand *self, int argc, char **argv)
{
    llm_error err;
    const char *arguments[2];
    convert_options options = {0};
    const option_group groups[] = {OPTIONS(convert_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, arguments);
    if (code != GO_ON) return code;
    llm_convert_options settings;
    llm_convert_options_init(&settings);
    settings.bits = options.bits;
    settings.group_size = options.group_size;
    settings.progress = show_progress;
    settings.report = print_report;
    interrupt_install();
    llm_status status = llm_convert(arguments[0], arguments[1], &settings, &err);
    hide_progress();
    return status == LLM_OK ? EXIT_DONE : fail(&err);
}
