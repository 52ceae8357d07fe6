// llmlocal list, rm and prune: what is in the cache, and less of it.
#include "cli/cli.h"
#include <stddef.h>
#include <string.h>
#include <time.h>

static void print_name(const char *text)
{
    out_text(text, strlen(text));
}

// ---- list -------------------------------------------------------------------------------------------------

typedef struct list_options {
    bool json;
} list_options;

static const option list_table[] = {
    {0, "json", NULL, OPTION_FLAG, offsetof(list_options, json), "Print one JSON array.", NULL},
};

static void print_json(const llm_cached_model *model)
{
    static const char *const kinds[] = {"hub", "import", "github"};
    out_string("{");
    out_json_member("kind", kinds[model->kind]);
    out_json_member("id", model->id);
    out_json_member("directory", model->directory);
    out_json_member("commit", model->commit);
    out_format("\"size_bytes\":%llu,\"partial_bytes\":%llu,\"changed_at\":%lld}",
               (unsigned long long)model->size_bytes, (unsigned long long)model->partial_bytes,
               (long long)model->changed_at);
}

static void print_line(const llm_cached_model *model)
{
    char date[20] = "-";
    time_t when = (time_t)model->changed_at;
    struct tm local;
    if (when > 0 && localtime_r(&when, &local)) strftime(date, sizeof date, "%Y-%m-%d", &local);
    out_size(model->size_bytes);
    out_format("  %-10s  %-12.12s  ", date,
               model->commit                   ? model->commit
               : model->kind == LLM_CACHED_HUB ? "-"
                                               : "imported");
    print_name(model->id);
    if (!model->directory)
        out_string("  (not complete)");
    else if (model->partial_bytes)
        out_string("  (with unfinished files)");
    out_string("\n");
}

int list_main(const subcommand *self, int argc, char **argv)
{
    int count;
    llm_error err;
    list_options options = {0};
    const option_group groups[] = {OPTIONS(list_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, NULL);
    if (code != GO_ON) return code;
    llm_cached_model *models = llm_cache_list_copy(&count, &err);
    if (!models) return fail(&err);
    if (options.json) out_string("[");
    for (int i = 0; i < count; i++) {
        if (options.json && i) out_string(",\n");
        options.json ? print_json(&models[i]) : print_line(&models[i]);
    }
    if (options.json) out_string("]\n");
    llm_free(models);
    return out_finish(EXIT_DONE);
}

// ---- rm and prune -----------------------------------------------------------------------------------------

int rm_main(const subcommand *self, int argc, char **argv)
{
    llm_error err;
    uint64_t freed;
    const char *arguments[1];
    int code = options_parse(self, NULL, 0, argc, argv, arguments);
    if (code != GO_ON) return code;
    if (llm_cache_remove(arguments[0], &freed, &err) != LLM_OK) return fail(&err);
    out_size(freed);
    out_string(" freed\n");
    return out_finish(EXIT_DONE);
}

int prune_main(const subcommand *self, int argc, char **argv)
{
    int removed;
    llm_error err;
    uint64_t freed;
    int code = options_parse(self, NULL, 0, argc, argv, NULL);
    if (code != GO_ON) return code;
    if (llm_cache_prune(&freed, &removed, &err) != LLM_OK) return fail(&err);
    out_size(freed);
    out_format(" freed, %d unfinished %s removed\n", removed, removed == 1 ? "file" : "files");
    return out_finish(EXIT_DONE);
}
