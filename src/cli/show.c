// llmlocal show: what is known of a model from its headers.
#include "cli/model.h"

typedef struct show_options {
    bool json;
} show_options;

static const option show_table[] = {
    {0, "json", NULL, OPTION_FLAG, offsetof(show_options, json), "Print one JSON object.", NULL},
};

// One line a member; those of an object inside carry its name.
static void print_members(const char *json, const char *prefix)
{
    json_member member;
    for (const char *at = json; json_next(&at, &member);) {
        bool quoted = member.value_length >= 2 && member.value[0] == '"';
        char name[80];
        snprintf(name, sizeof name, "%s%.*s", prefix, (int)member.key_length, member.key);
        if (member.value_length && member.value[0] == '{' && !*prefix) {
            snprintf(name, sizeof name, "%.*s.", (int)member.key_length, member.key);
            print_members(member.value, name);
            continue;
        }
        out_format("%-25s ", name);
        out_text(member.value + quoted, member.value_length - 2 * quoted);
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
    llm_model_spec_init(&spec, arguments[0]);
    char *json = llm_model_info_json_copy(&spec, &err);
    if (!json) return fail(&err);
    if (options.json)
        out_format("%s\n", json);
    else
        print_members(json, "");
    llm_free(json);
    return out_finish(EXIT_DONE);
}
