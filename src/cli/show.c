// llmlocal show: what is known of a model from its headers.
#include "cli/model.h"
#include <stdlib.h>
#include <string.h>

typedef struct show_options {
    bool json;
    model_options model;
} show_options;

static const option show_table[] = {
    {0, "context", "N", OPTION_INT, offsetof(show_options, model.context), "Count the memory for so many tokens of context.", NULL},
    {0, "adapter", "WHERE", OPTION_TEXT, offsetof(show_options, model.adapter), "Count an adapter, as for run.", NULL},
    {0, "json", NULL, OPTION_FLAG, offsetof(show_options, json), "Print one JSON object.", NULL},
};

// Amounts of bytes as people read them: 4 columns, "96.4 MB".
static void print_value(const json_member *member, bool bytes)
{
    bool quoted = member->value_length >= 2 && member->value[0] == '"';
    double value = bytes ? strtod(member->value, NULL) : 0;
    if (bytes && value >= 1e9)
        out_format("%.2f GB", value * 1e-9);
    else if (bytes && value >= 1e5)
        out_format("%.1f MB", value * 1e-6);
    else if (bytes)
        out_format("%.1f kB", value * 1e-3);
    else
        out_text(member->value + quoted, member->value_length - 2 * quoted);
}

// One line a member; those of an object inside carry its name.
static void print_members(const char *json, const char *prefix)
{
    json_member member;
    for (const char *at = json; json_next(&at, &member);) {
        char name[80];
        if (member.value_length && member.value[0] == '{' && !*prefix) {
            snprintf(name, sizeof name, "%.*s.", (int)member.key_length, member.key);
            print_members(member.value, name);
            continue;
        }
        snprintf(name, sizeof name, "%s%.*s", prefix, (int)member.key_length, member.key);
        char *unit = strstr(name, "_bytes");
        if (unit) memmove(unit, unit + 6, strlen(unit + 6) + 1);
        out_format("%-25s ", name);
        print_value(&member, unit != NULL);
        out_string("\n");
    }
}

int show_main(const subcommand *self, int argc, char **argv)
{
    llm_error err;
    llm_model_spec spec;
    const char *arguments[1];
    show_options options = {0};
    const option_group groups[] = {OPTIONS(show_table, &options)};
    int code = options_parse(self, groups, 1, argc, argv, arguments);
    if (code != GO_ON) return code;
    model_spec_init(&options.model, arguments[0], &spec);
    char *json = llm_model_info_json_copy(&spec, &err);
    if (!json) return fail(&err);
    if (options.json)
        out_format("%s\n", json);
    else
        print_members(json, "");
    llm_free(json);
    return out_finish(EXIT_DONE);
}
