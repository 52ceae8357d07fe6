// llmlocal models: the presets, and which of them fit here.
#include "cli/cli.h"
#include <stddef.h>
#include <string.h>

typedef struct models_options {
    bool json;
} models_options;

static const option models_table[] = {
    {0, "json", NULL, OPTION_FLAG, offsetof(models_options, json), "Print one JSON array.", NULL},
};

static void print_member(const char *name, const char *value)
{
    out_format("\"%s\":", name);
    out_json_string(value, strlen(value));
    out_string(",");
}

static void print_json(const llm_preset *p, bool fits)
{
    out_string("{");
    print_member("name", p->name);
    print_member("hub_id", p->hub_id);
    print_member("family", p->family);
    print_member("licence", p->licence);
    out_format("\"parameters\":%llu,\"download_bytes\":%llu,\"memory_bytes\":%llu,\"context_length\":%d,",
               (unsigned long long)p->num_parameters, (unsigned long long)p->download_bytes,
               (unsigned long long)p->memory_bytes, p->context_length);
    const struct {
        const char *name;
        bool value;
    } flags[] = {{"fits", fits},
                 {"runs", p->runs},
                 {"tools", p->tools},
                 {"reasoning", p->reasoning},
                 {"japanese", p->japanese}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        out_format("%s\"%s\":%s", i ? "," : "", flags[i].name, flags[i].value ? "true" : "false");
    out_string("}");
}

static void print_line(const llm_preset *p, bool fits)
{
    out_format("%-19s %6.2f GB %6.2f GB %7d  %-16s %s%s%s  %-13s %s\n", p->name,
               (double)p->download_bytes * 1e-9, (double)p->memory_bytes * 1e-9, p->context_length, p->family,
               p->tools ? "T" : "-", p->reasoning ? "R" : "-", p->japanese ? "J" : "-",
               !p->runs ? "not supported"
               : fits   ? "fits here"
                        : "does not fit",
               p->hub_id);
}

int models_main(const subcommand *self, int argc, char **argv)
{
    models_options options = {0};
    const option_group groups[] = {OPTIONS(models_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, NULL);
    if (code != GO_ON) return code;
    llm_error err;
    llm_system_memory memory;
    if (llm_system_memory_read(&memory, &err) != LLM_OK) return fail(&err);
    if (options.json)
        out_string("[");
    else
        out_format("%-19s %9s %9s %7s  %-16s %s  %-13s %s\n", "name", "download", "memory", "context",
                   "family", "can", "here", "hub id");
    const llm_preset *preset;
    for (int i = 0; (preset = llm_preset_at(i)); i++) {
        bool fits = preset->memory_bytes <= memory.total_bytes;
        if (options.json && i) out_string(",\n");
        options.json ? print_json(preset, fits) : print_line(preset, fits);
    }
    if (options.json)
        out_string("]\n");
    else
        out_format(
            "memory here: %.2f GB; T tools, R reasoning, J Japanese; sizes are computed, not measured\n",
            (double)memory.total_bytes * 1e-9);
    return out_finish(EXIT_DONE);
}
