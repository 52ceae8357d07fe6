// Options about the model and what it runs on, and the backend they make.
#ifndef CLI_MODEL_H
#define CLI_MODEL_H
#include "cli/cli.h"

typedef struct model_options {
    const char *engine;
    int threads;
    llm_precision precision;
    int kv_bits;
    int context;
    int cache_limit, memory_limit; // MiB
    const char *adapter;
    bool verbose;
} model_options;

extern const option model_option_table[9];

// Loads the model, lets `llmlocal ps` see it, and shows how that goes, if anybody is watching. NULL after an error message; *code is then
// the exit code. *load_seconds (may be NULL) is how long it took.
llm_backend *model_load(const model_options *options, const char *model, double *load_seconds, int *code);
void model_unload(llm_backend *backend); // of model_load
// What --adapter says; borrows the text, and has room for one of GitHub.
llm_adapter adapter_from_text(const char *text);
void model_spec_init(const model_options *options, const char *model, llm_model_spec *spec);

int show_progress(void *user, const char *what,
                  double fraction); // an llm_progress_function; stops when interrupted
void hide_progress(void);
void print_messages(bool all); // the library's, to standard error; else only warnings
double now_seconds(void);

#endif
