// llmlocal ps: the models that programs of this user have in memory.
#include "cli/cli.h"
#include <stddef.h>
#include <string.h>
#include <time.h>

typedef struct ps_options {
    bool json;
} ps_options;

static const option ps_table[] = {
    {0, "json", NULL, OPTION_FLAG, offsetof(ps_options, json), "Print one JSON array.", NULL},
};

static void print_json(const llm_holder *holder)
{
    out_format("{\"pid\":%lld,", (long long)holder->pid);
    out_json_member("program", holder->program);
    out_json_member("model", holder->model);
    out_json_member("engine", holder->engine);
    out_format("\"weights_bytes\":%llu,\"kv_bytes\":%llu,\"work_bytes\":%llu,\"resident_bytes\":%llu,",
               (unsigned long long)holder->weights_bytes, (unsigned long long)holder->kv_bytes,
               (unsigned long long)holder->work_bytes, (unsigned long long)holder->resident_bytes);
    out_format("\"context_tokens\":%d,\"context_length\":%d,\"since\":%lld}", holder->context_tokens,
               holder->context_length, (long long)holder->since);
}

static void print_column(const char *text, int width)
{
    int length = (int)strlen(text);
    out_text(text, (size_t)length);
    out_format("%*s", length < width ? width - length + 2 : 2, "");
}

static void print_line(const llm_holder *holder)
{
    const uint64_t sizes[] = {holder->weights_bytes, holder->kv_bytes, holder->work_bytes, holder->resident_bytes};
    char context[40], since[24] = "-";
    time_t when = (time_t)holder->since;
    struct tm local;
    if (localtime_r(&when, &local)) strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S", &local);
    snprintf(context, sizeof context, "%d/%d", holder->context_tokens, holder->context_length);
    out_format("%7lld  ", (long long)holder->pid);
    print_column(holder->program, 16);
    print_column(holder->engine, 6);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) out_size(sizes[i]), out_string("  ");
    out_format("%13s  %s  ", context, since);
    out_text(holder->model, strlen(holder->model));
    out_string("\n");
}

int ps_main(const subcommand *self, int argc, char **argv)
{
    int count;
    llm_error err;
    ps_options options = {0};
    const option_group groups[] = {OPTIONS(ps_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, NULL);
    if (code != GO_ON) return code;
    llm_holder *holders = llm_holders_copy(&count, &err);
    if (!holders) return fail(&err);
    if (options.json)
        out_string("[");
    else if (count)
        out_format("%7s  %-16s  %-6s  %10s  %10s  %10s  %10s  %13s  %-19s  %s\n", "pid", "program", "engine", "weights",
                   "KV cache", "work", "resident", "context", "since", "model");
    for (int i = 0; i < count; i++) {
        if (options.json && i) out_string(",\n");
        options.json ? print_json(&holders[i]) : print_line(&holders[i]);
    }
    if (options.json) out_string("]\n");
    if (!options.json && !count) fprintf(stderr, "no program of this user has a model in memory\n");
    llm_free(holders);
    return out_finish(EXIT_DONE);
}
