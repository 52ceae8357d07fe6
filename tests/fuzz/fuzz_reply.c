// An answer: the first byte chooses a format, the second how the rest is cut. Whatever comes in pieces must give the events
// that it gives at once.
#include "text/reply_parser.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// By these the format is chosen, as by a chat template's source.
static const char *const sources[] = {
    "<tool_call> <think> </think>",
    "<function= <parameter= </think>",
    "<arg_key> </think>",
    "<|tool_list_start|>",
    "[TOOL_CALLS] [THINK] [/THINK]",
    "<|tool_call> <tool_call|> <|channel>thought <channel|>",
    "<start_function_call>",
    "<|tool_calls_section_begin|> ◁think▷ ◁/think▷",
    "<minimax:tool_call>",
    "｜DSML｜ </think>",
    "<function name= <param name=",
    "<function=",
    "<｜tool▁calls▁begin｜> </think>",
    "<|START_ACTION|> <|END_THINKING|>",
    "<|tools_prefix|>",
    "<|tool_call|> Here is my thought process: Here is my response:",
    "<|python_start|>",
    "<|python_tag|>",
    "```tool_code",
    "<longcat_tool_call> </longcat_think>",
    "<|channel|> <|message|>",
};

static const llm_tool tools[] = {
    {"f", NULL, "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":1},\"b\":{\"type\":[\"string\",\"null\"]},"
                "\"c\":{\"type\":\"array\",\"items\":{\"enum\":[1,\"x\"]}},\"d\":{\"type\":\"object\",\"required\":[\"e\"],"
                "\"additionalProperties\":{\"anyOf\":[{\"type\":\"number\"},{\"type\":\"boolean\"}]}}}}"},
    {"g.h", NULL, "{\"type\":\"object\",\"additionalProperties\":false}"},
};

// All events as one text, pieces of the same kind put together.
typedef struct listing {
    buf text;
    reply_event_kind kind;
    bool begun;
} listing;

static llm_status list_event(void *user, const reply_event *event, llm_error *err)
{
    listing *l = user;
    (void)err;
    bool piece = event->kind == REPLY_TEXT || event->kind == REPLY_REASONING;
    if (event->kind == REPLY_CALL && event->text[0] != '{') abort();
    if (event->kind == REPLY_REJECTED && !event->why) abort();
    if (!piece && strlen(event->text) > event->length) abort();
    if (!piece || !l->begun || event->kind != l->kind) buf_printf(&l->text, "\n#%d ", (int)event->kind);
    l->begun = true;
    l->kind = event->kind;
    if (!piece) buf_printf(&l->text, "%s|%s|%s|", event->name ? event->name : "-", event->id ? event->id : "-", event->why ? event->why : "-");
    buf_append(&l->text, event->text, event->length);
    return LLM_OK;
}

static void list(const reply_format *format, const tool_set *set, const char *prompt, const char *text, size_t length, uint32_t cut, listing *l)
{
    llm_error err;
    reply_parser *p;
    *l = (listing){.kind = REPLY_TEXT};
    if (reply_parser_create(format, set, prompt, strlen(prompt), list_event, l, &p, &err) != LLM_OK) abort();
    for (size_t i = 0, n; i < length; i += n) {
        cut = cut * 1664525 + 1013904223;
        n = cut == 0 || cut % 7 == 0 ? 1 : cut >> 28;
        if (n == 0 || n > length - i) n = length - i < 3 ? length - i : 3;
        if (reply_parser_push(p, text + i, n, &err) != LLM_OK) abort();
    }
    if (reply_parser_finish(p, &err) != LLM_OK) abort();
    reply_parser_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    llm_error err;
    tool_set *set;
    if (size < 2) return 0;
    const char *source = sources[data[0] % (sizeof sources / sizeof *sources)], *prompt = data[1] & 1 ? "<think>\n" : "<|start|>assistant";
    const char *text = (const char *)data + 2;
    reply_format format = reply_format_choose(source, NULL, true);
    if (tool_set_create(tools, 2, &set, &err) != LLM_OK) abort();
    listing whole = {0}, pieces;
    reply_parser *p;
    if (reply_parser_create(&format, set, prompt, strlen(prompt), list_event, &whole, &p, &err) != LLM_OK) abort();
    if (reply_parser_push(p, text, size - 2, &err) != LLM_OK || reply_parser_finish(p, &err) != LLM_OK) abort();
    reply_parser_free(p);
    list(&format, set, prompt, text, size - 2, data[1], &pieces);
    bool same = whole.text.length == pieces.text.length && (!whole.text.length || !memcmp(whole.text.data, pieces.text.data, whole.text.length));
    if (!same) {
        fprintf(stderr, "whole:%s\npieces:%s\n", whole.text.data ? whole.text.data : "", pieces.text.data ? pieces.text.data : "");
        abort();
    }
    buf_free(&whole.text);
    buf_free(&pieces.text);
    tool_set_free(set);
    return 0;
}
