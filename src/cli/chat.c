// llmlocal chat: a conversation at the terminal. Standard input that is no terminal is one prompt.
#include "cli/answer.h"
#include "cli/generation.h"
#include "cli/model.h"
#include "cli/prompt.h"
#include <errno.h>
#include <histedit.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct chat_options {
    generation_options generation;
    model_options model;
    const char *session; // file of the conversation; NULL: it is not kept
} chat_options;

static const option chat_option_table[] = {
    {0, "session", "FILE", OPTION_TEXT, offsetof(chat_options, session), "Go on with the conversation in FILE, and keep it there.", NULL},
};

typedef struct chat {
    const chat_options *options;
    llm_backend *backend;
    llm_stats last; // of the latest answer
    bool answered;
    bool changed; // since it was kept
    EditLine *editor;
    History *history;
} chat;

// ---- Commands: what begins with a slash -------------------------------------------------------------------

typedef struct chat_command {
    const char *name, *argument, *help;
    bool (*run)(chat *c, const char *argument); // false: leave
} chat_command;

static bool set_system(chat *c, const char *argument)
{
    llm_error err;
    if (llm_backend_set_system_prompt(c->backend, *argument ? argument : NULL, &err) != LLM_OK)
        fail(&err);
    else
        fprintf(stderr, *argument ? "[the system prompt is set]\n" : "[there is no system prompt now]\n");
    c->changed = true;
    return true;
}

static bool reset(chat *c, const char *argument)
{
    llm_error err;
    (void)argument;
    if (llm_backend_reset(c->backend, &err) != LLM_OK)
        fail(&err);
    else
        fprintf(stderr, "[the conversation begins anew]\n");
    c->changed = true;
    return true;
}

static bool save(chat *c, const char *argument)
{
    llm_error err;
    if (llm_session_save(llm_backend_session(c->backend), argument, &err) != LLM_OK)
        fail(&err);
    else
        fprintf(stderr, "[saved]\n");
    return true;
}

static bool load(chat *c, const char *argument)
{
    llm_error err;
    if (llm_session_load(llm_backend_session(c->backend), argument, &err) != LLM_OK)
        fail(&err);
    else
        fprintf(stderr, "[the conversation in %s goes on]\n", argument);
    c->changed = true;
    return true;
}

static bool show_stats(chat *c, const char *argument)
{
    llm_memory memory;
    (void)argument;
    if (c->answered)
        answer_print_stats(&c->last, 0);
    else
        fprintf(stderr, "[there was no answer yet]\n");
    if (llm_backend_memory(c->backend, &memory, NULL) == LLM_OK)
        fprintf(stderr, "[memory: weights %.1f MB, context %.1f MB, process %.1f MB]\n",
                (double)memory.weights_bytes * 1e-6, (double)memory.kv_bytes * 1e-6,
                (double)memory.resident_bytes * 1e-6);
    return true;
}

static bool leave(chat *c, const char *argument)
{
    (void)c;
    (void)argument;
    return false;
}

static bool print_help(chat *c, const char *argument);

static const chat_command commands[] = {
    {"/system", "TEXT", "Set the system prompt; without a text there is none.", set_system},
    {"/reset", "", "Forget the conversation, keep the system prompt.", reset},
    {"/save", "FILE", "Write the conversation to a file, with what the model has read of it.", save},
    {"/load", "FILE", "Go on with a conversation that was saved.", load},
    {"/stats", "", "Print the numbers of the latest answer.", show_stats},
    {"/help", "", "Print this.", print_help},
    {"/quit", "", "Leave, as Ctrl-D does.", leave},
};

static bool print_help(chat *c, const char *argument)
{
    (void)c;
    (void)argument;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(stderr, "%-8s %-5s %s\n", commands[i].name, commands[i].argument, commands[i].help);
    fprintf(stderr, "Ctrl-C ends an answer.\n");
    return true;
}

static bool run_command(chat *c, const char *line)
{
    size_t length = strcspn(line, " \t");
    const char *argument = line + length + strspn(line + length, " \t");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].name) == length && !strncmp(commands[i].name, line, length))
            return commands[i].run(c, argument);
    fprintf(stderr, "[there is no command %.*s; /help lists them]\n", (int)length, line);
    return true;
}

// ---- Turns ------------------------------------------------------------------------------------------------

static int answer_turn(chat *c, const char *prompt, bool quiet)
{
    llm_error err;
    answer_options shown = {.quiet = quiet, .no_reasoning = c->options->generation.no_reasoning};
    llm_stream *stream = llm_backend_generate(c->backend, prompt, &c->options->generation.config, &err);
    if (!stream) return fail(&err);
    int code = answer_print(stream, &shown, &c->last);
    c->answered |= code == EXIT_DONE || code == EXIT_INTERRUPTED;
    c->changed |= code == EXIT_DONE;
    return code;
}

// Keeps the conversation in the file of --session, if there is something new.
static int keep(chat *c)
{
    llm_error err;
    if (!c->options->session || !c->changed) return EXIT_DONE;
    if (llm_session_save(llm_backend_session(c->backend), c->options->session, &err) != LLM_OK) return fail(&err);
    c->changed = false;
    return EXIT_DONE;
}

static int resume(chat *c)
{
    llm_error err;
    const char *path = c->options->session;
    if (!path || access(path, F_OK) != 0) return EXIT_DONE;
    if (llm_session_load(llm_backend_session(c->backend), path, &err) != LLM_OK) return fail(&err);
    if (!c->options->generation.quiet) fprintf(stderr, "[the conversation in %s goes on]\n", path);
    return EXIT_DONE;
}

static const char *show_prompt(EditLine *editor)
{
    (void)editor;
    return "> ";
}

static bool open_editor(chat *c)
{
    HistEvent event;
    c->editor = el_init("llmlocal", stdin, isatty(STDOUT_FILENO) ? stdout : stderr, stderr);
    c->history = history_init();
    if (!c->editor || !c->history) return false;
    history(c->history, &event, H_SETSIZE, 1000);
    el_set(c->editor, EL_PROMPT, show_prompt);
    el_set(c->editor, EL_EDITOR, "emacs");
    el_set(c->editor, EL_HIST, history, c->history);
    el_source(c->editor, NULL);
    return true;
}

// The next line without its end. NULL: the user has left. An interrupted line is an empty one.
static char *read_line(chat *c, text *line)
{
    int count;
    HistEvent event;
    line->length = 0;
    text_append(line, "", 0);
    const char *typed = el_gets(c->editor, &count);
    if (interrupted()) {
        interrupt_clear();
        el_reset(c->editor);
        fputs("\n", stderr);
        return line->data;
    }
    if (!typed || count <= 0) return NULL;
    text_append(line, typed, strcspn(typed, "\n"));
    if (line->length) history(c->history, &event, H_ENTER, typed);
    return line->data;
}

static int talk(chat *c)
{
    text line = {0};
    bool go_on = open_editor(c);
    int code = go_on ? EXIT_DONE : fail_with("the terminal cannot be used");
    while (go_on && read_line(c, &line)) {
        if (line.data[0] == '/')
            go_on = run_command(c, line.data);
        else if (line.data[strspn(line.data, " \t")])
            answer_turn(c, line.data, true);
        keep(c);
        if (interrupted()) fprintf(stderr, "[interrupted]\n");
        interrupt_clear();
        if (out_failed()) go_on = false;
    }
    if (c->editor) el_end(c->editor);
    if (c->history) history_end(c->history);
    text_free(&line);
    return code;
}

static int chat_with_model(const chat_options *options, const char *model, const char *only_prompt)
{
    int code;
    llm_error err;
    double load_seconds;
    chat c = {.options = options};
    c.backend = model_load(&options->model, model, &load_seconds, &code);
    if (!c.backend) return code;
    const char *system = options->generation.system;
    if ((code = resume(&c)) != EXIT_DONE) {
        // said already
    } else if (system && llm_backend_set_system_prompt(c.backend, system, &err) != LLM_OK) {
        code = fail(&err);
    } else if (only_prompt) {
        code = answer_turn(&c, only_prompt, options->generation.quiet);
        if (code == EXIT_DONE) code = keep(&c);
    } else {
        if (!options->generation.quiet)
            fprintf(stderr, "[loaded in %.2f s; /help lists the commands]\n", load_seconds);
        code = talk(&c);
    }
    model_unload(c.backend);
    return code;
}

int chat_main(const subcommand *self, int argc, char **argv)
{
    chat_options options = {0};
    const char *arguments[1];
    text prompt = {0};
    const option_group groups[] = {OPTIONS(generation_option_table, &options.generation),
                                   OPTIONS(model_option_table, &options.model), OPTIONS(chat_option_table, &options)};
    generation_init(&options.generation);
    int code = options_parse(self, groups, 3, argc, argv, arguments);
    if (code == GO_ON && options.generation.config.logprobs)
        code = usage_error(self, "--logprobs is for llmlocal run --json");
    if (code == GO_ON) code = generation_check(&options.generation);
    bool terminal = isatty(STDIN_FILENO);
    if (code == GO_ON && !terminal) code = prompt_read(NULL, true, &prompt);
    if (code == GO_ON) code = chat_with_model(&options, arguments[0], terminal ? NULL : prompt.data);
    text_free(&prompt);
    generation_free(&options.generation);
    return out_finish(code);
}
