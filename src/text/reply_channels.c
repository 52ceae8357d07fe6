// gpt-oss: messages on channels. <|channel|>analysis<|message|> is reasoning, a message to=functions.f is a call, every
// other is text; <|end|>, <|call|>, <|return|> or the next header end one.
#include "text/reply_parser_state.h"
#include <string.h>

enum { TAG_START, TAG_CHANNEL, TAG_END, NUM_END_TAGS = 5, TAG_MESSAGE = NUM_END_TAGS, NUM_TAGS };

// The first ones end a message.
static const char *const tags[NUM_TAGS] = {"<|start|>", "<|channel|>", "<|end|>", "<|call|>", "<|return|>", "<|message|>"};

static const char *pending(const reply_parser *p) { return p->held.data ? p->held.data + p->decided : ""; }
static size_t pending_length(const reply_parser *p) { return p->held.length - p->decided; }

llm_status reply_channels_begin(reply_parser *p, const char *prompt, size_t length, llm_error *err)
{
    static const char role[] = "<|start|>assistant";
    const char *from = prompt, *last = NULL, *end = prompt + length;
    while (length > 0 && (from = memmem(from, (size_t)(end - from), role, sizeof role - 1))) last = from += sizeof role - 1;
    p->state = IN_HEADER;
    // What the prompt has of the first header is read as if the model had written it.
    return last && last < end ? reply_parser_push(p, last, (size_t)(end - last), err) : LLM_OK;
}

// Whether what stands where a header should be could be one.
static bool may_be_header(const char *text, size_t length)
{
    static const char *const beginnings[] = {"to=", "assistant", "analysis", "commentary", "final", "<|constrain|>"};
    while (length > 0 && (*text == ' ' || *text == '\n')) text++, length--;
    if (length == 0) return true;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        size_t n = strlen(beginnings[i]);
        if (memcmp(text, beginnings[i], n < length ? n : length) == 0) return true;
    }
    for (int i = 0; i < NUM_TAGS; i++) {
        size_t n = strlen(tags[i]);
        if (memcmp(text, tags[i], n < length ? n : length) == 0) return true;
    }
    return false;
}

static bool has_text(const char *text, size_t length, const char *part)
{
    return memmem(text, length, part, strlen(part)) != NULL;
}

static llm_status begin_message(reply_parser *p, const char *header, size_t length, llm_error *err)
{
    const char *to = memmem(header, length, "to=", 3);
    reply_begin_part(p);
    buf_clear(&p->called);
    p->kind = has_text(header, length, "analysis") ? REPLY_REASONING : REPLY_TEXT;
    p->state = IN_MESSAGE;
    p->any_message = true;
    p->drops_message = false;
    if (!to) return LLM_OK;
    to += 3;
    size_t rest = (size_t)(header + length - to), n = 0;
    if (rest >= 10 && memcmp(to, "functions.", 10) == 0) to += 10, rest -= 10;
    while (n < rest && !strchr(" \t\r\n<", to[n])) n++;
    buf_append(&p->called, to, n);
    p->state = IN_CALL;
    p->scanned = 0;
    return p->called.failed ? error_no_memory(err, "a tool call") : LLM_OK;
}

static llm_status header_step(reply_parser *p, bool *more, llm_error *err)
{
    const char *message = tags[TAG_MESSAGE], *text = pending(p);
    size_t length = pending_length(p);
    tag_match match = reply_find_tag(p, &message, 1, text, length);
    bool header = match.at <= REPLY_MAX_HEADER && may_be_header(text, match.at);
    if (match.tag == 0 && header) {
        p->decided += match.at + strlen(message);
        *more = true;
        return begin_message(p, text, match.at, err);
    }
    if (header && !p->finishing) return LLM_OK;
    if (header && (p->any_message || has_text(text, length, "<|"))) { // the answer ended inside a header
        p->decided += length;
        return LLM_OK;
    }
    // A message without a header.
    p->state = IN_MESSAGE;
    p->drops_message = false;
    p->kind = REPLY_TEXT;
    *more = true;
    return LLM_OK;
}

static void end_message(reply_parser *p, int tag)
{
    p->decided += strlen(tags[tag]);
    reply_begin_part(p);
    p->state = IN_HEADER;
}

static llm_status message_step(reply_parser *p, bool *more, llm_error *err)
{
    tag_match match = reply_find_tag(p, tags, NUM_END_TAGS, pending(p), pending_length(p));
    llm_status status = p->drops_message ? LLM_OK : reply_emit(p, p->kind, pending(p), match.at, err);
    p->decided += match.at;
    if (status != LLM_OK || match.tag < 0) return status;
    end_message(p, match.tag);
    *more = true;
    return LLM_OK;
}

static llm_status call_step(reply_parser *p, bool *more, llm_error *err)
{
    const char *text = pending(p);
    size_t length = pending_length(p), from = p->scanned < length ? p->scanned : length;
    tag_match match = reply_find_tag(p, tags, NUM_END_TAGS, text + from, length - from);
    p->scanned = from + match.at;
    if (p->scanned > REPLY_MAX_SECTION) {
        p->state = IN_MESSAGE;
        *more = p->drops_message = true;
        return reply_reject(p, "malformed", "the call is longer than a mebibyte", NULL, 0, "", 0, err);
    }
    if (match.tag < 0 && !p->finishing) return LLM_OK;
    call_section section = {.tools = p->tools, .text = text, .length = p->scanned, .closed = match.tag >= 0,
                            .on_call = reply_emit_call, .user = p};
    p->raw = text;
    p->raw_length = section.length;
    const char *name = p->called.data ? p->called.data : "";
    llm_status status = reply_calls_read_arguments(&section, name, p->called.length, err);
    p->decided += section.length;
    if (match.tag >= 0) end_message(p, match.tag);
    else reply_begin_part(p), p->state = IN_HEADER;
    *more = true;
    return status;
}

llm_status reply_channels_step(reply_parser *p, bool *more, llm_error *err)
{
    switch (p->state) {
    case IN_HEADER: return header_step(p, more, err);
    case IN_CALL: return call_step(p, more, err);
    default: return message_step(p, more, err);
    }
}
