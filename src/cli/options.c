// Options from tables: one table parses, and prints the help.
#include "cli/cli.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int usage_error(const subcommand *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "llmlocal %s: ", self->name);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nusage: llmlocal %s [OPTIONS] %s\n", self->name, self->arguments);
    return EXIT_USAGE;
}

// ---- Help -------------------------------------------------------------------------------------------------

static void print_option(const option *o)
{
    char left[64];
    const char *space = o->value ? " " : "", *value = o->value ? o->value : "";
    if (o->letter && o->name)
        snprintf(left, sizeof left, "-%c, --%s%s%s", o->letter, o->name, space, value);
    else if (o->letter)
        snprintf(left, sizeof left, "-%c%s%s", o->letter, space, value);
    else
        snprintf(left, sizeof left, "--%s%s%s", o->name, space, value);
    printf("  %-26s %s\n", left, o->help);
}

static void print_help(const subcommand *self, const option_group *groups, size_t num_groups)
{
    printf("usage: llmlocal %s [OPTIONS]%s%s\n%s\n\noptions:\n", self->name, *self->arguments ? " " : "",
           self->arguments, self->summary);
    for (size_t g = 0; g < num_groups; g++)
        for (size_t i = 0; i < groups[g].count; i++) print_option(&groups[g].options[i]);
    print_option(&(option){'h', "help", NULL, OPTION_FLAG, 0, "Print this.", NULL});
}

// ---- Values -----------------------------------------------------------------------------------------------

static const char *read_int(const char *value, int *number)
{
    char *end;
    errno = 0;
    long long wide = strtoll(value, &end, 10);
    if (end == value || *end) return "is not a whole number";
    if (errno || wide < INT_MIN || wide > INT_MAX) return "is too large";
    *number = (int)wide;
    return NULL;
}

static const char *read_seed(const char *value, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long wide = strtoull(value, &end, 10);
    if (end == value || *end || strchr(value, '-')) return "is not a whole number of 0 or more";
    if (errno) return "is too large";
    *number = wide;
    return NULL;
}

static const char *read_float(const char *value, float *number)
{
    char *end;
    float wide = strtof(value, &end);
    if (end == value || *end) return "is not a number";
    *number = wide;
    return NULL;
}

static const char *store(const option *o, void *target, const char *value)
{
    void *place = (char *)target + o->offset;
    switch (o->kind) {
    case OPTION_FLAG: return *(bool *)place = true, NULL;
    case OPTION_INT: return read_int(value, place);
    case OPTION_SEED: return read_seed(value, place);
    case OPTION_FLOAT: return read_float(value, place);
    case OPTION_TEXT: return *(const char **)place = value, NULL;
    case OPTION_CALL: return o->call(target, value);
    }
    return "is of no known kind";
}

// ---- Arguments --------------------------------------------------------------------------------------------

// Finds the option that `word` names; *value is what follows '=', or the letter.
static const option *find_option(const option_group *groups, size_t num_groups, const char *word,
                                 void **target, const char **value)
{
    bool is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1);
    size_t length = is_long ? strcspn(name, "=") : 1;
    *value = is_long ? (name[length] ? name + length + 1 : NULL) : name[1] ? name + 1 : NULL;
    for (size_t g = 0; g < num_groups; g++) {
        for (size_t i = 0; i < groups[g].count; i++) {
            const option *o = &groups[g].options[i];
            *target = groups[g].target;
            if (!is_long && o->letter == *name) return o;
            if (is_long && o->name && strlen(o->name) == length && !strncmp(o->name, name, length)) return o;
        }
    }
    return NULL;
}

// Reads the option at argv[*at] and moves on to its last word.
static int parse_option(const subcommand *self, const option_group *groups, size_t num_groups, int argc,
                        char **argv, int *at)
{
    void *target;
    const char *value, *word = argv[*at];
    const option *o = find_option(groups, num_groups, word, &target, &value);
    if (!o) return usage_error(self, "there is no option %s", word);
    int shown = (int)(word[1] == '-' ? strcspn(word, "=") : 2); // the option itself
    if (!o->value && value) return usage_error(self, "%.*s takes no value", shown, word);
    if (o->value && !value && *at + 1 >= argc)
        return usage_error(self, "%s needs a value (%s)", word, o->value);
    if (o->value && !value) value = argv[++*at];
    const char *wrong = store(o, target, value);
    return wrong ? usage_error(self, "%.*s: \"%s\" %s", shown, word, value, wrong) : GO_ON;
}

int options_parse(const subcommand *self, const option_group *groups, size_t num_groups, int argc,
                  char **argv, const char **arguments)
{
    int count = 0;
    bool only_arguments = false;
    for (int i = 0; i < self->max_arguments; i++) arguments[i] = NULL;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!only_arguments && !strcmp(word, "--")) {
            only_arguments = true;
        } else if (!only_arguments && (!strcmp(word, "-h") || !strcmp(word, "--help"))) {
            print_help(self, groups, num_groups);
            return out_finish(EXIT_DONE);
        } else if (!only_arguments && word[0] == '-' && word[1]) {
            int code = parse_option(self, groups, num_groups, argc, argv, &i);
            if (code != GO_ON) return code;
        } else if (count < self->max_arguments) {
            arguments[count++] = word;
        } else {
            return usage_error(self, "there is no place for \"%s\"", word);
        }
    }
    return count < self->min_arguments ? usage_error(self, "arguments are missing") : GO_ON;
}
