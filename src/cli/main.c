// llmlocal: the command. Finds the subcommand and lets it run.
#include "cli/cli.h"
#include <locale.h>
#include <signal.h>
#include <string.h>

static const subcommand subcommands[] = {
    {"run", "MODEL [PROMPT]", "Answer one prompt.", 1, 2, run_main},
    {"chat", "MODEL", "Talk with a model.", 1, 1, chat_main},
    {"convert", "SOURCE DESTINATION", "Make a model directory from a GGUF file or a Hugging Face directory.",
     2, 2, convert_main},
    {"fuse", "MODEL DESTINATION", "Make a model directory with an adapter in its weights.", 2, 2, fuse_main},
    {"show", "MODEL", "Print what is known of a model.", 1, 1, show_main},
    {"tokenize", "MODEL", "Print the tokens of the text on standard input.", 1, 1, tokenize_main},
    {"template", "MODEL", "Render the chat template.", 1, 1, template_main},
    {"score", "MODEL", "Print the log-probability of each token of a text.", 1, 1, score_main},
    {"perplexity", "MODEL FILE", "Measure how well a model predicts a text.", 2, 2, perplexity_main},
    {"bench", "MODEL", "Measure how fast a model runs.", 1, 1, bench_main},
    {"pull", "MODEL", "Download a model, or bring it up to date.", 1, 1, pull_main},
    {"list", "", "List the models in the cache.", 0, 0, list_main},
    {"rm", "MODEL", "Remove a model from the cache.", 1, 1, rm_main},
    {"prune", "", "Remove what interrupted downloads left in the cache.", 0, 0, prune_main},
    {"models", "", "List known models and which of them fit here.", 0, 0, models_main},
    {"ps", "", "List the models that programs of this user have in memory.", 0, 0, ps_main},
    {"engines", "", "List what models can run on here.", 0, 0, engines_main},
};
#define NUM_SUBCOMMANDS (sizeof subcommands / sizeof *subcommands)

static void print_help(FILE *file)
{
    fprintf(file, "usage: llmlocal SUBCOMMAND [OPTIONS] [ARGUMENTS]\n"
                  "MLX language models on this machine.\n\nsubcommands:\n");
    for (size_t i = 0; i < NUM_SUBCOMMANDS; i++)
        fprintf(file, "  %-11s %s\n", subcommands[i].name, subcommands[i].summary);
    fprintf(file, "\n"
                  "options:\n"
                  "  -h, --help     Print this, or with a subcommand what that takes.\n"
                  "  --version      Print the version.\n\n"
                  "MODEL is a model directory, a GGUF file, a preset (llmlocal models) or a Hugging Face id\n"
                  "(owner/name), which is downloaded when it is first used.\n"
                  "exit codes: 0 done, 1 it failed, 2 wrong usage, 130 interrupted\n");
}

static const subcommand *find_subcommand(const char *name)
{
    for (size_t i = 0; i < NUM_SUBCOMMANDS; i++)
        if (!strcmp(subcommands[i].name, name)) return &subcommands[i];
    return NULL;
}

static const char *running = "";

const char *running_subcommand(void)
{
    return running;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, ""); // for line editing; numbers stay as C writes them
    signal(SIGPIPE, SIG_IGN);
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(name, "--version")) {
        out_format("llmlocal %s\n", llm_version());
        return out_finish(EXIT_DONE);
    }
    if (!strcmp(name, "-h") || !strcmp(name, "--help") || (!strcmp(name, "help") && argc == 2)) {
        print_help(stdout);
        return out_finish(EXIT_DONE);
    }
    if (!strcmp(name, "help")) {
        static char help[] = "--help";
        char *words[] = {argv[2], help, NULL};
        const subcommand *topic = find_subcommand(argv[2]);
        if (topic) return topic->run(topic, 2, words);
        name = argv[2];
    }
    const subcommand *found = find_subcommand(name);
    if (found) {
        running = found->name;
        return found->run(found, argc - 1, argv + 1);
    }
    fail_with("\"%s\" is no subcommand (llmlocal --help lists them)", name);
    return EXIT_USAGE;
}
