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

// Says so beforehand where a known model does not fit here: it may be for another machine.
static void warn_if_large(const char *model)
{
    llm_system_memory memory;
    const llm_preset *p;
    for (int i = 0; (p = llm_preset_at(i)); i++)
        if (!strcmp(p->name, model) || !strcmp(p->hub_id, model)) break;
    if (!p || llm_system_memory_read(&memory, NULL) != LLM_OK || llm_memory_fits(p->memory_bytes, &memory) != LLM_FITS_NEVER) return;
    fprintf(stderr, "%s: takes about %.1f GB of memory, and a model may take 80 %% of the %.1f GB here: it does not fit\n", model,
            (double)p->memory_bytes * 1e-9, (double)memory.total_bytes * 1e-9);
}

// What loading it will take, now that its files are here. Nothing of what is no model that runs.
static void show_memory(const llm_model_spec *spec)
{
    llm_memory_estimate estimate;
    llm_system_memory memory;
    if (llm_model_estimate_memory(spec, NULL, &estimate, NULL) != LLM_OK || llm_system_memory_read(&memory, NULL) != LLM_OK) return;
    fprintf(stderr, "; takes %.1f MB of memory with %d tokens of context: %s", (double)estimate.total_bytes * 1e-6,
            estimate.context_length, fit_text(llm_memory_fits(estimate.total_bytes, &memory)));
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
    if (!options->quiet) warn_if_large(model);
    llm_download *download = llm_download_start(&spec, &err);
    if (!download) return fail(&err);
    llm_status status = wait_for(download, model, isatty(STDERR_FILENO) && !options->quiet, &err);
    int code = status == LLM_OK ? EXIT_DONE : fail(&err);
    llm_download_get_state(download, &state);
    char *directory = llm_download_directory_copy(download);
    if (directory) {
        out_text(directory, strlen(directory));
        out_string("\n");
        if (!options->quiet) {
            fprintf(stderr, "%s: %.1f MB, of these %.1f MB downloaded", model, (double)state.total_bytes * 1e-6,
                    (double)state.received_bytes * 1e-6);
            show_memory(&spec);
            fprintf(stderr, "\n");
        }
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
