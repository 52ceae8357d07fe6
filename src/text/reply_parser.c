// The flow of the reply parser: what has come is looked at from `decided` on, by the state it is in, as far as it is certain.
#include "text/reply_parser_state.h"
#include "base/mem.h"
#include "text/reply_literal.h"
#include <string.h>

static const char *pending(const reply_parser *p) { return p->held.data ? p->held.data + p->decided : ""; }
static size_t pending_length(const reply_parser *p) { return p->held.length - p->decided; }

// ---- Finding tags -----------------------------------------------------------------------------------------

// The longest of the tags at `text`; -1: none. *partial: a longer text could begin with one.
static int tag_at(const char *const *tags, int count, const char *text, size_t length, bool *partial)
{
    int best = -1;
    size_t best_length = 0;
    *partial = false;
    for (int i = 0; i < count; i++) {
        size_t n = tags[i] ? strlen(tags[i]) : 0;
        if (n == 0 || memcmp(text, tags[i], n < length ? n : length) != 0) continue;
        if (n > length) *partial = true;
        else if (n > best_length) best = i, best_length = n;
    }
    return best;
}

tag_match reply_find_tag(const reply_parser *p, const char *const *tags, int count, const char *text, size_t length)
{
    for (size_t at = 0; at < length; at++) {
        bool partial;
        int tag = tag_at(tags, count, text + at, length - at, &partial);
        if (partial && !p->finishing) return (tag_match){at, -1};
        if (tag >= 0) return (tag_match){at, tag};
    }
    return (tag_match){length, -1};
}

// ---- Text -------------------------------------------------------------------------------------------------

typedef enum verdict { NO, MAYBE, YES } verdict;

static size_t space_length(const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && strchr(" \t\r\n", text[n]) && text[n]) n++;
    return n;
}

// Whether an object begins as a call: {"name", …
static verdict looks_like_object(const char *text, size_t length)
{
    static const char *const keys[] = {"\"name\"", "\"type\"", "\"function\"", "\"parameters\"", "\"arguments\"", "\"tool_name\""};
    size_t at = 1 + space_length(text + 1, length - 1);
    if (at > REPLY_MAX_SPACE) return NO;
    if (at == length) return MAYBE;
    bool partial;
    int key = tag_at(keys, sizeof keys / sizeof *keys, text + at, length - at, &partial);
    return key >= 0 ? YES : partial ? MAYBE : NO;
}

// Whether a list begins as calls: [{"name", … or [f(
static verdict looks_like_list(const char *text, size_t length)
{
    size_t at = 1 + space_length(text + 1, length - 1);
    if (at > REPLY_MAX_SPACE) return NO;
    if (at == length) return MAYBE;
    if (text[at] == '{') return looks_like_object(text + at, length - at);
    size_t name = literal_name_length(&(literal_reader){.text = text, .length = length, .at = at});
    if (name == 0 || name > REPLY_MAX_NAME) return NO;
    if (at + name == length) return MAYBE;
    return text[at + name] == '(' ? YES : NO;
}

// Whether the answer begins as a call without tags.
static verdict begins_bare(const reply_parser *p)
{
    const call_format *calls = p->format.calls;
    const char *text = pending(p);
    size_t length = pending_length(p), at = space_length(text, length);
    if (!calls || !calls->bare || !p->at_start || p->no_bare) return NO;
    if (at > REPLY_MAX_SPACE) return NO;
    if (at == length) return MAYBE;
    if (text[at] == '{') return looks_like_object(text + at, length - at);
    return text[at] == '[' ? looks_like_list(text + at, length - at) : NO;
}

static void begin_section(reply_parser *p, const call_tags *tags)
{
    p->state = IN_SECTION;
    p->tags = tags;
    p->scanned = p->quoted_close = 0;
    p->quote = 0;
    p->escaped = false;
}

enum { TAG_REASONING, TAG_CALLS, TAG_DROPPED = TAG_CALLS + 2, NUM_TEXT_TAGS = TAG_DROPPED + 4 };

static void list_text_tags(const reply_parser *p, const char *tags[NUM_TEXT_TAGS])
{
    const reasoning_format *reasoning = p->format.reasoning;
    const call_format *calls = p->format.calls;
    memset(tags, 0, NUM_TEXT_TAGS * sizeof *tags);
    if (reasoning) {
        tags[TAG_REASONING] = reasoning->open;
        memcpy(tags + TAG_DROPPED, reasoning->dropped, sizeof reasoning->dropped);
    }
    if (!calls) return;
    for (int i = 0; i < 2; i++) tags[TAG_CALLS + i] = calls->tags[i].open;
    memcpy(tags + TAG_DROPPED + 2, calls->dropped, sizeof calls->dropped);
}

// Reasoning begins an answer, or what comes behind calls; elsewhere its tag is text, so that an answer may speak of it.
static llm_status text_step(reply_parser *p, bool *more, llm_error *err)
{
    const char *tags[NUM_TEXT_TAGS], *text = pending(p);
    size_t length = pending_length(p);
    verdict bare = begins_bare(p);
    if (bare == MAYBE && !p->finishing) return LLM_OK;
    if (bare == YES) return begin_section(p, NULL), *more = true, LLM_OK;
    if (length > space_length(text, length)) p->no_bare = true;
    list_text_tags(p, tags);
    tag_match match = reply_find_tag(p, tags, NUM_TEXT_TAGS, text, length);
    llm_status status = reply_emit(p, REPLY_TEXT, text, match.at, err);
    p->decided += match.at;
    if (status != LLM_OK || match.tag < 0) return status;
    size_t tag_length = strlen(tags[match.tag]);
    *more = true;
    if (match.tag == TAG_REASONING && !p->at_start) {
        p->decided += tag_length;
        return reply_emit(p, REPLY_TEXT, tags[match.tag], tag_length, err);
    }
    bool call = match.tag >= TAG_CALLS && match.tag < TAG_DROPPED;
    const call_tags *section = call ? &p->format.calls->tags[match.tag - TAG_CALLS] : NULL;
    if (!section || !section->kept) p->decided += tag_length;
    reply_begin_part(p);
    if (section) begin_section(p, section);
    else if (match.tag == TAG_REASONING) p->state = IN_REASONING;
    return LLM_OK;
}

static llm_status reasoning_step(reply_parser *p, bool *more, llm_error *err)
{
    const char *close = p->format.reasoning->close;
    tag_match match = reply_find_tag(p, &close, 1, pending(p), pending_length(p));
    llm_status status = reply_emit(p, REPLY_REASONING, pending(p), match.at, err);
    p->decided += match.at;
    if (status != LLM_OK || match.tag < 0) return status;
    p->decided += strlen(close);
    reply_begin_part(p);
    p->state = IN_TEXT;
    *more = true;
    return LLM_OK;
}

// ---- Sections of calls ------------------------------------------------------------------------------------

static bool has_strings(const reply_parser *p)
{
    return !p->ignores_quotes && (p->format.calls->syntax == CALLS_LITERAL || p->format.calls->syntax == CALLS_NAMED);
}

// Follows the strings of JSON and Python, so that a tag inside one does not end the section. A line feed ends a string: it was none.
static void follow_quotes(reply_parser *p, char c)
{
    if (p->quote) {
        if (p->escaped) p->escaped = false;
        else if (c == '\\') p->escaped = true;
        else if (c == p->quote || c == '\n') p->quote = 0;
    } else if (c == '"' || c == '\'') {
        p->quote = c;
    }
}

// Looks for the closing tag from `scanned` on. True: it is at *at.
static bool find_close(reply_parser *p, size_t *at)
{
    const char *close = p->tags ? p->tags->close : NULL, *text = pending(p);
    size_t length = pending_length(p);
    for (; close && p->scanned < length && p->scanned <= REPLY_MAX_SECTION; p->scanned++) {
        bool partial;
        int tag = tag_at(&close, 1, text + p->scanned, length - p->scanned, &partial);
        if (partial && !p->finishing) return false;
        if (tag == 0 && !(has_strings(p) && p->quote)) return *at = p->scanned, true;
        if (tag == 0 && !p->quoted_close) p->quoted_close = p->scanned;
        if (has_strings(p)) follow_quotes(p, text[p->scanned]);
    }
    if (!close) p->scanned = length;
    return false;
}

static llm_status read_section(reply_parser *p, size_t length, bool closed, size_t *used, llm_error *err)
{
    call_section section = {.format = p->format.calls, .tools = p->tools, .text = pending(p), .length = length, .closed = closed,
                            .bare = !p->tags, .on_call = reply_emit_call, .user = p};
    p->raw = section.text;
    p->raw_length = length;
    return reply_calls_read(&section, used, err);
}

static llm_status end_section(reply_parser *p, size_t at, llm_error *err)
{
    size_t used, behind = at + strlen(p->tags->close);
    llm_status status = read_section(p, p->tags->kept ? behind : at, true, &used, err);
    p->decided += behind;
    p->state = IN_TEXT;
    reply_begin_part(p);
    return status;
}

// Without tags anything may be text: a call is one that reads as such, or that names a tool.
typedef struct bare_check {
    bool is_call;
} bare_check;

static llm_status check_bare(void *user, const read_call *call, llm_error *err)
{
    (void)err;
    ((bare_check *)user)->is_call |= call->outcome == CALL_READ;
    return LLM_OK;
}

static bool is_call(reply_parser *p, llm_status *status, llm_error *err)
{
    bare_check check = {false};
    size_t used;
    call_section section = {.format = p->format.calls, .tools = p->tools, .text = pending(p), .length = pending_length(p),
                            .bare = true, .on_call = check_bare, .user = &check};
    *status = reply_calls_read(&section, &used, err);
    return check.is_call || tool_set_is_named(p->tools, section.text, section.length);
}

// The answer ended inside a section.
static llm_status finish_section(reply_parser *p, bool *more, llm_error *err)
{
    llm_status status = LLM_OK;
    size_t used;
    if (p->quoted_close) { // the quotes were broken, not the tags
        p->ignores_quotes = true;
        return *more = true, end_section(p, p->quoted_close, err);
    }
    p->state = IN_TEXT;
    *more = true;
    if (!p->tags && !is_call(p, &status, err)) return p->no_bare = true, status;
    status = read_section(p, pending_length(p), false, &used, err);
    p->decided += used;
    reply_begin_part(p);
    p->no_bare = true;
    return status;
}

static llm_status section_step(reply_parser *p, bool *more, llm_error *err)
{
    size_t at;
    if (find_close(p, &at)) return *more = true, end_section(p, at, err);
    if (p->scanned > REPLY_MAX_SECTION) {
        p->state = IN_OVERLONG;
        *more = true;
        return reply_reject(p, "malformed", "the call is longer than a mebibyte", NULL, 0, "", 0, err);
    }
    return p->finishing ? finish_section(p, more, err) : LLM_OK;
}

static llm_status overlong_step(reply_parser *p, bool *more)
{
    const char *close = p->tags ? p->tags->close : NULL;
    tag_match match = reply_find_tag(p, &close, 1, pending(p), pending_length(p));
    p->decided += match.at;
    if (match.tag < 0) return LLM_OK;
    p->decided += strlen(close);
    p->state = IN_TEXT;
    reply_begin_part(p);
    *more = true;
    return LLM_OK;
}

// ---- All of it --------------------------------------------------------------------------------------------

static llm_status step(reply_parser *p, bool *more, llm_error *err)
{
    switch (p->state) {
    case IN_TEXT: return text_step(p, more, err);
    case IN_REASONING: return reasoning_step(p, more, err);
    case IN_SECTION: return section_step(p, more, err);
    case IN_OVERLONG: return overlong_step(p, more);
    default: return reply_channels_step(p, more, err);
    }
}

static llm_status run(reply_parser *p, llm_error *err)
{
    llm_status status = LLM_OK;
    bool more = true;
    while (more && status == LLM_OK && (pending_length(p) > 0 || p->state == IN_SECTION || p->state == IN_CALL)) {
        more = false;
        status = step(p, &more, err);
    }
    // Not at every push: moving what is left would cost its length each time.
    if (p->decided > p->held.length / 2) {
        memmove(p->held.data, p->held.data + p->decided, p->held.length - p->decided);
        p->held.length -= p->decided;
        p->decided = 0;
    }
    return status;
}

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t n = strlen(end);
    return length >= n && memcmp(text + length - n, end, n) == 0;
}

static llm_status begin(reply_parser *p, const char *prompt, size_t length, llm_error *err)
{
    if (p->format.channels) return reply_channels_begin(p, prompt, length, err);
    while (length > 0 && strchr(" \t\r\n", prompt[length - 1]) && prompt[length - 1]) length--;
    if (p->format.reasoning && ends_with(prompt, length, p->format.reasoning->open)) {
        p->state = IN_REASONING;
        reply_begin_part(p);
    }
    return LLM_OK;
}

llm_status reply_parser_create(const reply_format *format, const tool_set *tools, const char *prompt, size_t prompt_length,
                               reply_function on_event, void *user, reply_parser **out, llm_error *err)
{
    reply_parser *p = *out = mem_alloc_zero(1, sizeof *p);
    if (!p) return error_no_memory(err, "an answer's parser");
    *p = (reply_parser){.format = *format, .tools = tools, .on_event = on_event, .user = user, .at_start = true};
    llm_status status = tools ? LLM_OK : tool_set_create(NULL, 0, &p->no_tools, err);
    if (!tools) p->tools = p->no_tools;
    if (status == LLM_OK) status = begin(p, prompt, prompt_length, err);
    if (status == LLM_OK) return LLM_OK;
    reply_parser_free(p);
    *out = NULL;
    return status;
}

void reply_parser_free(reply_parser *p)
{
    if (!p) return;
    buf_free(&p->held);
    buf_free(&p->space);
    buf_free(&p->called);
    buf_free(&p->text);
    tool_set_free(p->no_tools);
    mem_free(p);
}

llm_status reply_parser_push(reply_parser *p, const char *text, size_t length, llm_error *err)
{
    if (!buf_append(&p->held, text, length)) return error_no_memory(err, "the answer's text");
    return run(p, err);
}

llm_status reply_parser_finish(reply_parser *p, llm_error *err)
{
    p->finishing = true;
    llm_status status = run(p, err);
    if (status == LLM_OK) status = reply_emit_rest(p, err);
    buf_clear(&p->held);
    p->decided = 0;
    return status;
}
