// llmlocal perplexity: the mean surprise of a model over a text, window by window.
#include "cli/model.h"
#include "cli/tokens.h"
#include <math.h>
#include <stdlib.h>

typedef struct perplexity_options {
    model_options model;
    int window, stride;
    bool json;
} perplexity_options;

static const option perplexity_table[] = {
    {0, "window", "N", OPTION_INT, offsetof(perplexity_options, window),
     "Tokens of a window; the context length, 512 at most.", NULL},
    {0, "stride", "N", OPTION_INT, offsetof(perplexity_options, stride),
     "Tokens from window to window; the window, so that none overlap.", NULL},
    {0, "json", NULL, OPTION_FLAG, offsetof(perplexity_options, json), "Print one JSON object.", NULL},
};

// Sums over the tokens that no window before has predicted.
typedef struct tally {
    int begin;     // of the window in the text
    int predicted; // tokens of the text, from its start, that have been predicted or skipped
    int count;
    double sum; // of negative log-probabilities
} tally;

static int add_position(void *user, int position, int32_t token, double next_logprob,
                        const llm_token_logprob *top, int num_top)
{
    tally *t = user;
    int next = t->begin + position + 1;
    (void)token;
    (void)top;
    (void)num_top;
    if (isnan(next_logprob) || next < t->predicted) return interrupted();
    t->sum -= next_logprob;
    t->count++;
    t->predicted = next + 1;
    return interrupted();
}

static llm_status score_windows(llm_backend *backend, const int32_t *tokens, int count, int window,
                                int stride, tally *t, llm_error *err)
{
    llm_status status = LLM_OK;
    for (t->begin = 0; status == LLM_OK && t->begin + 1 < count; t->begin += stride) {
        int length = count - t->begin < window ? count - t->begin : window;
        status = llm_backend_score(backend, tokens + t->begin, length, 0, add_position, t, err);
        show_progress(NULL, "scoring", (double)(t->begin + length) / count);
        if (t->begin + length == count) break;
    }
    hide_progress();
    return status;
}

static void print_tally(const tally *t, int count, int window, int stride, bool json)
{
    double mean = t->count ? t->sum / t->count : NAN;
    if (!json) {
        out_format("tokens      %d (%d predicted, windows of %d every %d)\n", count, t->count, window,
                   stride);
        out_format("mean NLL    %.6f\nperplexity  %.4f\n", mean, exp(mean));
        return;
    }
    out_format("{\"tokens\":%d,\"predicted\":%d,\"window\":%d,\"stride\":%d,\"mean_nll\":", count, t->count,
               window, stride);
    out_json_number(mean);
    out_string(",\"perplexity\":");
    out_json_number(exp(mean));
    out_string("}\n");
}

// The model's context length, from its headers.
static int context_length(const model_options *options, const char *model, int *code)
{
    llm_error err;
    llm_model_spec spec;
    model_spec_init(options, model, &spec);
    char *json = llm_model_info_json_copy(&spec, &err);
    if (!json) return *code = fail(&err), 0;
    double length = json_number(json, "context_length", 0);
    llm_free(json);
    if (options->context > 0 && options->context < length) return options->context;
    return length > 0 && length < 1e9 ? (int)length : 512;
}

static int measure(const perplexity_options *options, const char *model, const int32_t *tokens, int count)
{
    int code;
    llm_error err;
    tally t = {.predicted = 1}; // nothing predicts the first token
    int context = context_length(&options->model, model, &code);
    if (!context) return code;
    int window = options->window ? options->window : context < 512 ? context : 512;
    int stride = options->stride ? options->stride : window;
    llm_backend *backend = model_load(&options->model, model, NULL, &code);
    if (!backend) return code;
    llm_status status = score_windows(backend, tokens, count, window, stride, &t, &err);
    if (status == LLM_OK) print_tally(&t, count, window, stride, options->json);
    model_unload(backend);
    return status == LLM_OK ? EXIT_DONE : fail(&err);
}

int perplexity_main(const subcommand *self, int argc, char **argv)
{
    const char *arguments[2];
    perplexity_options options = {0};
    int32_t *tokens = NULL;
    int count = 0;
    const option_group groups[] = {OPTIONS(perplexity_table, &options),
                                   OPTIONS(model_option_table, &options.model)};
    int code = options_parse(self, groups, 2, argc, argv, arguments);
    if (code == GO_ON && (options.window < 0 || options.window == 1))
        code = usage_error(self, "--window must be at least 2");
    if (code == GO_ON && (options.stride < 0 || (options.window && options.stride > options.window)))
        code = usage_error(self, "--stride must be at least 1 and at most the window");
    if (code == GO_ON) code = tokens_of_file(arguments[0], arguments[1], &tokens, &count);
    if (code == GO_ON && count < 2)
        code = fail_with("%s: a text of at least two tokens is needed", arguments[1]);
    if (code == GO_ON) code = measure(&options, arguments[0], tokens, count);
    free(tokens);
    return out_finish(code);
}
