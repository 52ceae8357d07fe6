// llmlocal engines: what models can run on here.
#include "cli/cli.h"
#include <stddef.h>

typedef struct engines_options {
    bool json;
} engines_options;

static const option engines_table[] = {
    {0, "json", NULL, OPTION_FLAG, offsetof(engines_options, json), "Print one JSON array.", NULL},
};

static void print_json(const llm_engine_info *engine)
{
    out_string("{");
    out_json_member("name", engine->name);
    out_json_member("device", engine->device);
    out_json_member("isa", engine->isa);
    out_json_member("version", engine->version);
    out_json_member("reason", engine->reason);
    out_format("\"available\":%s,\"threads\":%d,\"memory_bytes\":%llu}", engine->available ? "true" : "false",
               engine->num_threads, (unsigned long long)engine->memory_bytes);
}

static void print_line(const llm_engine_info *engine)
{
    if (engine->available)
        out_format("%-8s %s, %s, %d threads, %.1f GB, version %s\n", engine->name, engine->device,
                   engine->isa, engine->num_threads, (double)engine->memory_bytes * 1e-9, engine->version);
    else
        out_format("%-8s not available: %s\n", engine->name, engine->reason);
}

int engines_main(const subcommand *self, int argc, char **argv)
{
    llm_engine_info engines[16];
    engines_options options = {0};
    const option_group groups[] = {OPTIONS(engines_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, NULL);
    if (code != GO_ON) return code;
    int count = llm_engines(engines, 16);
    if (count > 16) count = 16;
    if (options.json) out_string("[");
    for (int i = 0; i < count; i++) {
        if (options.json && i) out_string(",");
        options.json ? print_json(&engines[i]) : print_line(&engines[i]);
    }
    if (options.json) out_string("]\n");
    return out_finish(EXIT_DONE);
}
