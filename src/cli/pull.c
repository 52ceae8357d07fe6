// llmlocal pull: a model of the hub into the cache.
#include "cli/model.h"
#include <string.h>
#include <unistd.h>

typedef struct pull_options {
    const char *revision;
    bool quiet, verbose;
} pull_options;

static const option pull_table[] = {
    {0, "revision", "NAME", OPTION_TEXT, offsetof(pull_options, revision),
     "A branch, a tag or a commit; main.", NULL},
    {'q', "quiet", NULL, OPTION_FLAG, offsetof(pull_options, quiet), "Show no progress.", NULL},
    {'v', "verbose", NULL, OPTION_FLAG, offsetof(pull_options, verbose), "Print the library's messages.",
     NULL},
};

static void show_state(const char *name, const llm_download_state *state, double seconds)
{
    if (!state->total_bytes) {
        fprintf(stderr, "\r\033[K%s: asking the hub", name);
        return;
    }
    double rate = seconds > 0.5 ? (double)state->received_bytes / seconds : 0;
    double left = (double)(state->total_bytes - state->done_bytes);
    fprintf(stderr, "\r\033[K%s: %.1f of %.1f MB (%d %%), %d of %d files", name,
            (double)state->done_bytes * 1e-6, (double)state->total_bytes * 1e-6,
            (int)(100 * (double)state->done_bytes / (double)state->total_bytes), state->files_done,
            state->num_files);
    if (rate > 1000) fprintf(stderr, ", %.1f MB/s, %.0f s left", rate * 1e-6, left / rate);
}

static llm_status wait_for(llm_download *download, const char *name, bool shown, llm_error *err)
{
    double began = now_seconds();
    for (;;) {
        llm_download_state state;
        llm_status status = llm_download_wait(download, 100, err);
        llm_download_get_state(download, &state);
        if (status != LLM_TIMEOUT) {
            if (shown) fprintf(stderr, "\r\033[K");
            return status;
        }
        if (interrupted()) llm_download_cancel(download);
        if (shown) show_state(name, &state, now_seconds() - began);
    }
}

static int pull(const pull_options *options, const char *model)
{
    llm_error err;
    llm_model_spec spec;
    llm_download_state state;
    llm_model_spec_init(&spec, model);
    spec.revision = options->revision;
    interrupt_install();
    llm_download *download = llm_download_start(&spec, &err);
    if (!download) return fail(&err);
    llm_status status = wait_for(download, model, isatty(STDERR_FILENO) && !options->quiet, &err);
    int code = status == LLM_OK ? EXIT_DONE : fail(&err);
    llm_download_get_state(download, &state);
    char *directory = llm_download_directory_copy(download);
    if (directory) {
        out_text(directory, strlen(directory));
        out_string("\n");
        if (!options->quiet)
            fprintf(stderr, "%s: %.1f MB, of these %.1f MB downloaded\n", model,
                    (double)state.total_bytes * 1e-6, (double)state.received_bytes * 1e-6);
    }
    llm_free(directory);
    llm_download_free(download);
    return code;
}

int pull_main(const subcommand *self, int argc, char **argv)
{
    pull_options options = {0};
    const char *arguments[1];
    const option_group groups[] = {OPTIONS(pull_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, arguments);
    if (code != GO_ON) return code;
    print_messages(options.verbose);
    return out_finish(pull(&options, arguments[0]));
}
