// llmlocal models: the presets, which of them fit here, and which are in the cache.
#include "cli/cli.h"
#include <stddef.h>

typedef struct models_options {
    bool json;
} models_options;

static const option models_table[] = {
    {0, "json", NULL, OPTION_FLAG, offsetof(models_options, json), "Print one JSON array.", NULL},
};

// A preset on this machine.
typedef struct preset_here {
    const llm_preset *preset;
    bool cached;
    uint64_t memory_bytes; // of one in the cache: by its files
    llm_memory_fit fit;
} preset_here;

static preset_here look_at(const llm_preset *preset, const llm_system_memory *memory)
{
    llm_model_spec spec;
    llm_memory_estimate estimate;
    preset_here here = {.preset = preset, .memory_bytes = preset->memory_bytes};
    llm_model_spec_init(&spec, preset->name);
    here.cached = llm_cache_has(&spec);
    if (here.cached && llm_model_estimate_memory(&spec, NULL, &estimate, NULL) == LLM_OK)
        here.memory_bytes = estimate.total_bytes;
    here.fit = llm_memory_fits(here.memory_bytes, memory);
    return here;
}

static void print_json(const preset_here *here)
{
    const llm_preset *p = here->preset;
    out_string("{");
    out_json_member("name", p->name);
    out_json_member("hub_id", p->hub_id);
    out_json_member("family", p->family);
    out_json_member("licence", p->licence);
    out_format("\"parameters\":%llu,\"download_bytes\":%llu,\"memory_bytes\":%llu,\"context_length\":%d,",
               (unsigned long long)p->num_parameters, (unsigned long long)p->download_bytes,
               (unsigned long long)here->memory_bytes, p->context_length);
    const struct {
        const char *name;
        bool value;
    } flags[] = {{"fits", here->fit != LLM_FITS_NEVER},
                 {"fits_now", here->fit == LLM_FITS},
                 {"cached", here->cached},
                 {"runs", p->runs},
                 {"tools", p->tools},
                 {"reasoning", p->reasoning},
                 {"japanese", p->japanese}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        out_format("%s\"%s\":%s", i ? "," : "", flags[i].name, flags[i].value ? "true" : "false");
    out_string("}");
}

static void print_line(const preset_here *here)
{
    const llm_preset *p = here->preset;
    out_format("%s %-19s ", here->cached ? "*" : " ", p->name);
    out_size(p->download_bytes);
    out_string(" ");
    out_size(here->memory_bytes);
    out_format(" %7d  %-16s %s%s%s  %-13s %s\n", p->context_length, p->family, p->tools ? "T" : "-",
               p->reasoning ? "R" : "-", p->japanese ? "J" : "-", p->runs ? fit_text(here->fit) : "not supported",
               p->hub_id);
}

static void print_end(const llm_system_memory *memory)
{
    out_string("memory here:");
    out_size(memory->total_bytes);
    out_string(" (a model may take 80 % of it), available now:");
    out_size(memory->available_bytes);
    out_string("\n* in the cache; T tools, R reasoning, J Japanese; memory with 4096 tokens of context\n"
               "sizes of what is not in the cache are computed, not measured\n");
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
        out_format("  %-19s %10s %10s %7s  %-16s %s  %-13s %s\n", "name", "download", "memory", "context", "family",
                   "can", "here", "hub id");
    const llm_preset *preset;
    for (int i = 0; (preset = llm_preset_at(i)); i++) {
        preset_here here = look_at(preset, &memory);
        if (options.json && i) out_string(",\n");
        options.json ? print_json(&here) : print_line(&here);
    }
    if (options.json)
        out_string("]\n");
    else
        print_end(&memory);
    return out_finish(EXIT_DONE);
}
