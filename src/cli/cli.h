// What the files of the command share: its subcommands, options and manners. It uses only the public header.
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include <llmlocal.h>
#include <stddef.h>
#include <stdio.h>

// Exit codes, as the manual page has them.
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130, GO_ON = -1 };

// ---- Subcommands ------------------------------------------------------------------------------------------

typedef struct subcommand {
    const char *name, *arguments, *summary;
    int min_arguments, max_arguments;
    int (*run)(const struct subcommand *self, int argc,
               char **argv); // argv[0] is the name; returns the exit code
} subcommand;

int run_main(const subcommand *self, int argc, char **argv);
int chat_main(const subcommand *self, int argc, char **argv);
int convert_main(const subcommand *self, int argc, char **argv);
int fuse_main(const subcommand *self, int argc, char **argv);
int show_main(const subcommand *self, int argc, char **argv);
int tokenize_main(const subcommand *self, int argc, char **argv);
int template_main(const subcommand *self, int argc, char **argv);
int score_main(const subcommand *self, int argc, char **argv);
int perplexity_main(const subcommand *self, int argc, char **argv);
int bench_main(const subcommand *self, int argc, char **argv);
int pull_main(const subcommand *self, int argc, char **argv);
int list_main(const subcommand *self, int argc, char **argv);
int rm_main(const subcommand *self, int argc, char **argv);
int prune_main(const subcommand *self, int argc, char **argv);
int models_main(const subcommand *self, int argc, char **argv);
int ps_main(const subcommand *self, int argc, char **argv);
int engines_main(const subcommand *self, int argc, char **argv);
const char *running_subcommand(void); // its name

// ---- Options ----------------------------------------------------------------------------------------------

typedef enum option_kind {
    OPTION_FLAG,
    OPTION_INT,
    OPTION_SEED,
    OPTION_FLOAT,
    OPTION_TEXT,
    OPTION_CALL
} option_kind;

// One row of a table: `offset` is that of a bool, int, uint64_t, float or const char * in the group's target.
// The function of OPTION_CALL takes the value itself; it returns a phrase that says what is wrong, or NULL.
typedef struct option {
    char letter;       // 0: none
    const char *name;  // without the dashes; NULL: only a letter
    const char *value; // what its value is called; NULL for flags
    option_kind kind;
    size_t offset;
    const char *help;
    const char *(*call)(void *target, const char *value);
} option;

typedef struct option_group {
    const option *options;
    size_t count;
    void *target;
} option_group;

#define OPTIONS(table, target)                                                                               \
    {                                                                                                        \
        table, sizeof(table) / sizeof *(table), target                                                       \
    }

// Reads the arguments. GO_ON, or the exit code after help was printed or something was wrong. `arguments`
// receives what is no option, at most self->max_arguments; the rest of it is NULL.
int options_parse(const subcommand *self, const option_group *groups, size_t num_groups, int argc,
                  char **argv, const char **arguments);
int usage_error(const subcommand *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

// ---- Errors and interruptions -----------------------------------------------------------------------------

// Prints "llmlocal: <message>"; returns the exit code that fits.
int fail(const llm_error *err);
int fail_with(const char *format, ...) __attribute__((format(printf, 1, 2)));

void interrupt_install(
    void); // Ctrl-C from now on only sets a flag; a second one before it is cleared ends the program
bool interrupted(void);
void interrupt_clear(void);

// ---- Input and output -------------------------------------------------------------------------------------

// A growing text. Running out of memory ends the program: it has nothing better to do.
typedef struct text {
    char *data; // always ends with a NUL once anything was appended
    size_t length, capacity;
} text;

void text_append(text *t, const void *bytes, size_t length);
void text_append_json(text *t, const char *bytes, size_t length); // as a JSON string
void text_free(text *t);
void *grow_or_exit(void *block, size_t count, size_t size);

// The whole of a file, "-" being standard input. GO_ON, or an exit code after an error message.
int read_whole(const char *path, text *content);

void out_text(const char *bytes, size_t length); // shown at once; made harmless on a terminal
void err_text(const char *bytes, size_t length); // likewise on standard error
void out_string(const char *string);
void out_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void out_json_string(const char *bytes, size_t length);
void out_json_number(double value); // null when it is none
void out_json_member(const char *name, const char *value); // "name":"value", with a comma behind; NULL is null
void out_size(uint64_t bytes);                             // ten columns: "  96.4 MB"
const char *fit_text(llm_memory_fit fit);                  // "fits here"
bool out_failed(void);
int out_finish(int code); // flushes; `code`, or EXIT_FAILED when not everything could be written

// Walks the members of a JSON object: *at begins at its text and moves on; false after the last.
typedef struct json_member {
    const char *key, *value; // not ended by a NUL; the key without quotes
    size_t key_length, value_length;
} json_member;
bool json_next(const char **at, json_member *member);
double json_number(const char *json, const char *key, double fallback);

#endif
