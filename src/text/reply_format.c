// The table of reply formats.
#include "text/reply_format.h"
#include <string.h>

// The first row that fits counts, so that tags which several formats share come last.
static const call_format call_formats[] = {
    {"MiniMax", {"<minimax:tool_call>"}, NULL, CALLS_XML, {{"<minimax:tool_call>", "</minimax:tool_call>", false}},
     {"<invoke name=", "<parameter name=", "</parameter>", "</invoke>"}, false, false, {0}},
    {"DeepSeek DSML", {"｜DSML｜"}, NULL, CALLS_XML, {{"<｜DSML｜function_calls>", "</｜DSML｜function_calls>", false}},
     {"<｜DSML｜invoke name=", "<｜DSML｜parameter name=", "</｜DSML｜parameter>", "</｜DSML｜invoke>"}, false, false, {0}},
    {"Gemma 4", {"<|tool_call>", "<tool_call|>"}, NULL, CALLS_GEMMA, {{"<|tool_call>", "<tool_call|>", false}},
     {"<|\"|>"}, false, false, {0}},
    {"FunctionGemma", {"<start_function_call>"}, NULL, CALLS_GEMMA, {{"<start_function_call>", "<end_function_call>", false}},
     {"<escape>"}, false, false, {0}},
    {"LongCat", {"<longcat_tool_call>"}, NULL, CALLS_KEYS, {{"<longcat_tool_call>", "</longcat_tool_call>", false}},
     {"<longcat_arg_key>", "</longcat_arg_key>", "<longcat_arg_value>", "</longcat_arg_value>"}, false, false, {0}},
    {"GLM", {"<arg_key>"}, NULL, CALLS_KEYS, {{"<tool_call>", "</tool_call>", false}},
     {"<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"}, false, false, {0}},
    {"LFM2", {"<|tool_list_start|>"}, "<|tool_call_start|>", CALLS_LITERAL, {{"<|tool_call_start|>", "<|tool_call_end|>", false}},
     {0}, false, false, {0}},
    {"Seed", {"<seed:tool_call>"}, NULL, CALLS_XML, {{"<seed:tool_call>", "</seed:tool_call>", false}},
     {"<function=", "<parameter=", "</parameter>", "</function>"}, false, false, {0}},
    {"Qwen3-Coder", {"<function=", "<parameter="}, NULL, CALLS_XML, {{"<tool_call>", "</tool_call>", false}, {"<function=", "</function>", true}},
     {"<function=", "<parameter=", "</parameter>", "</function>"}, false, false, {0}},
    {"MiniCPM", {"<function name=", "<param name="}, NULL, CALLS_XML, {{"<function name=", "</function>", true}},
     {"<function name=", "<param name=", "</param>", "</function>"}, false, false, {0}},
    {"Functionary", {"<function="}, NULL, CALLS_XML, {{"<function=", "</function>", true}},
     {"<function=", "<parameter=", "</parameter>", "</function>"}, false, false, {0}},
    {"Kimi", {"<|tool_calls_section_begin|>"}, NULL, CALLS_NAMED, {{"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", false}},
     {"<|tool_call_argument_begin|>", "<|tool_call_begin|>", "<|tool_call_end|>"}, false, true, {0}},
    {"DeepSeek", {"<｜tool▁calls▁begin｜>"}, NULL, CALLS_NAMED, {{"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", false}},
     {"<｜tool▁sep｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"}, false, false, {0}},
    {"Mistral", {"[TOOL_CALLS]"}, NULL, CALLS_NAMED, {{"[TOOL_CALLS]", NULL, false}},
     {"[ARGS]", "[TOOL_CALLS]"}, false, false, {0}},
    {"Cohere", {"<|START_ACTION|>"}, NULL, CALLS_LITERAL, {{"<|START_ACTION|>", "<|END_ACTION|>", false}}, {0}, false, false,
     {"<|START_RESPONSE|>", "<|END_RESPONSE|>"}},
    {"Apertus", {"<|tools_prefix|>"}, NULL, CALLS_LITERAL, {{"<|tools_prefix|>", "<|tools_suffix|>", false}}, {0}, false, false, {0}},
    {"Nemotron", {"<TOOLCALL>"}, NULL, CALLS_LITERAL, {{"<TOOLCALL>", "</TOOLCALL>", false}}, {0}, false, false, {0}},
    {"Jamba", {"<tool_calls>"}, NULL, CALLS_LITERAL, {{"<tool_calls>", "</tool_calls>", false}}, {0}, false, false, {0}},
    {"Phi-4-mini", {"<|/tool|>"}, "<|/tool_call|>", CALLS_LITERAL, {{"<|tool_call|>", "<|/tool_call|>", false}}, {0}, true, false, {0}},
    {"Granite", {"<|tool_call|>"}, NULL, CALLS_LITERAL, {{"<|tool_call|>", NULL, false}, {"<tool_call>", "</tool_call>", false}},
     {0}, false, false, {0}},
    {"Hermes", {"<tool_call>"}, NULL, CALLS_LITERAL, {{"<tool_call>", "</tool_call>", false}}, {0}, false, false, {0}},
    {"Llama 4", {"<|python_start|>"}, NULL, CALLS_LITERAL, {{0}}, {0}, true, false, {"<|python_start|>", "<|python_end|>"}},
    {"Llama 3", {"<|python_tag|>"}, "<|python_tag|>", CALLS_LITERAL, {{"<|python_tag|>", NULL, false}}, {0}, true, false, {0}},
    {"JSON as the answer", {"\"name\": function name", "\"parameters\":"}, NULL, CALLS_LITERAL, {{0}}, {0}, true, false, {0}},
    {"Python calls as the answer", {"[func_name1("}, NULL, CALLS_LITERAL, {{0}}, {0}, true, false, {0}},
    {"Gemma 3", {"```tool_code"}, NULL, CALLS_LITERAL, {{"```tool_code", "```", false}}, {0}, false, false, {0}},
};

static const reasoning_format reasoning_formats[] = {
    {"<think>", "</think>", {0}},
    {"<|begin_of_thought|>", "<|end_of_thought|>", {"<|begin_of_solution|>", "<|end_of_solution|>"}},
    {"[THINK]", "[/THINK]", {0}},
    {"<seed:think>", "</seed:think>", {0}},
    {"<|START_THINKING|>", "<|END_THINKING|>", {"<|START_RESPONSE|>", "<|END_RESPONSE|>"}},
    {"<|channel>thought", "<channel|>", {0}},
    {"<longcat_think>", "</longcat_think>", {0}},
    {"<|think:start|>", "<|think:end|>", {0}},
    {"<|inner_prefix|>", "<|inner_suffix|>", {0}},
    {"◁think▷", "◁/think▷", {0}},
    {"<reasoning>", "</reasoning>", {0}},
    {"<thinking>", "</thinking>", {0}},
    {"<thought>", "</thought>", {0}},
    {"Here is my thought process:", "Here is my response:", {0}},
};

static bool has(const char *source, const char *text) { return source && strstr(source, text); }

static bool has_token(const tokenizer *tok, const char *text)
{
    return tok && tokenizer_token_id(tok, text, strlen(text)) >= 0;
}

static bool fits(const call_format *row, const char *source, const tokenizer *tok)
{
    bool first = has(source, row->in_template[0]);
    return (first && (!row->in_template[1] || has(source, row->in_template[1]))) ||
           (row->in_vocabulary && has_token(tok, row->in_vocabulary));
}

reply_format reply_format_choose(const char *source, const tokenizer *tok, bool with_tools)
{
    reply_format format = {.channels = has(source, "<|channel|>") && has(source, "<|message|>")};
    if (format.channels) return format;
    for (size_t i = 0; i < sizeof reasoning_formats / sizeof *reasoning_formats && !format.reasoning; i++) {
        const reasoning_format *row = &reasoning_formats[i];
        bool tokens = has_token(tok, row->open) && has_token(tok, row->close);
        if (tokens || has(source, row->close)) format.reasoning = row;
    }
    for (size_t i = 0; with_tools && i < sizeof call_formats / sizeof *call_formats && !format.calls; i++)
        if (fits(&call_formats[i], source, tok)) format.calls = &call_formats[i];
    return format;
}

bool reply_format_is_plain(const reply_format *format)
{
    return !format->reasoning && !format->calls && !format->channels;
}

static bool is_part(const char *tag, const char *token, size_t length)
{
    return tag && memmem(tag, strlen(tag), token, length);
}

static bool any_part(const char *const *tags, size_t count, const char *token, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (is_part(tags[i], token, length)) return true;
    return false;
}

bool reply_format_shows(const reply_format *format, const char *token, size_t length)
{
    static const char *const channel_tags[] = {"<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|call|>", "<|return|>"};
    if (length == 0) return false;
    if (format->channels) return any_part(channel_tags, sizeof channel_tags / sizeof *channel_tags, token, length);
    const reasoning_format *reasoning = format->reasoning;
    const call_format *calls = format->calls;
    if (reasoning && (is_part(reasoning->open, token, length) || is_part(reasoning->close, token, length) ||
                      any_part(reasoning->dropped, 2, token, length)))
        return true;
    if (!calls) return false;
    for (int i = 0; i < 2; i++)
        if (is_part(calls->tags[i].open, token, length) || is_part(calls->tags[i].close, token, length)) return true;
    return any_part(calls->parts, 4, token, length) || any_part(calls->dropped, 2, token, length) ||
           (calls->syntax == CALLS_NAMED && is_part("[CALL_ID]", token, length));
}
