// Events of the reply parser: text with its white space, calls that were checked.
#include "text/reply_parser_state.h"
#include "base/utf8.h"
#include <stdio.h>
#include <string.h>

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static llm_status emit_piece(reply_parser *p, const char *text, size_t length, llm_error *err)
{
    return length ? p->on_event(p->user, &(reply_event){.kind = p->kind, .text = text, .length = length}, err) : LLM_OK;
}

llm_status reply_emit(reply_parser *p, reply_event_kind kind, const char *text, size_t length, llm_error *err)
{
    if (kind != p->kind) buf_clear(&p->space);
    p->kind = kind;
    size_t end = length, begin = 0;
    while (end > 0 && is_space(text[end - 1])) end--;
    if (p->skips_space)
        while (begin < end && is_space(text[begin])) begin++;
    if (end > begin) {
        bool joined = p->space.length > 0 && buf_append(&p->space, text + begin, end - begin);
        llm_status status = joined ? emit_piece(p, p->space.data, p->space.length, err) : emit_piece(p, text + begin, end - begin, err);
        if (status != LLM_OK) return status;
        if (!p->space.failed) buf_clear(&p->space);
        p->skips_space = p->at_start = false;
    }
    if (!p->skips_space) buf_append(&p->space, text + end, length - end);
    return p->space.failed ? error_no_memory(err, "the answer's text") : LLM_OK;
}

void reply_begin_part(reply_parser *p)
{
    buf_clear(&p->space);
    p->skips_space = p->at_start = true;
    p->no_bare = false;
}

llm_status reply_emit_rest(reply_parser *p, llm_error *err)
{
    llm_status status = p->kind == REPLY_TEXT ? emit_piece(p, p->space.data, p->space.length, err) : LLM_OK;
    buf_clear(&p->space);
    return status;
}

// ---- Calls ------------------------------------------------------------------------------------------------

// Copies into p->text, one behind the other, each with a NUL. The offset; failure is sticky.
static size_t keep(reply_parser *p, const char *text, size_t length)
{
    size_t at = p->text.length;
    buf_append(&p->text, text, length);
    buf_append_char(&p->text, 0);
    return at;
}

static llm_status give(reply_parser *p, const char *why, const char *name, size_t name_length, const char *id, size_t id_length,
                       const char *text, size_t length, llm_error *err)
{
    buf_clear(&p->text);
    size_t text_at = keep(p, text, length), name_at = keep(p, name, name_length), id_at = keep(p, id, id_length);
    if (p->text.failed) return error_no_memory(err, "a tool call");
    const char *all = p->text.data;
    reply_event event = {.kind = why ? REPLY_REJECTED : REPLY_CALL, .text = all + text_at, .length = length,
                         .name = name ? all + name_at : NULL, .id = id ? all + id_at : NULL, .why = why};
    return p->on_event(p->user, &event, err);
}

// Names that were cut in the middle of a character.
static void make_valid(char *text, size_t length)
{
    uint32_t c;
    for (size_t i = 0, n; i < length; i += n) {
        n = utf8_decode(text + i, length - i, &c);
        if (n == 0) text[i] = '?', n = 1;
    }
}

llm_status reply_reject(reply_parser *p, const char *reason, const char *detail, const char *name, size_t name_length,
                        const char *text, size_t length, llm_error *err)
{
    buf why = {.limit = 600};
    if (detail) buf_printf(&why, "%s: %.500s", reason, detail);
    make_valid(why.data, why.length);
    llm_status status = give(p, why.data && !why.failed ? why.data : reason, name, name_length, NULL, 0, text, length, err);
    buf_free(&why);
    return status;
}

// An id is written into prompts again: only what cannot be a tag is kept.
static bool is_plain_id(const char *id, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!(id[i] >= '0' && id[i] <= '9') && !(id[i] >= 'a' && id[i] <= 'z') && !(id[i] >= 'A' && id[i] <= 'Z') && !strchr("_.:-", id[i]))
            return false;
    return length > 0 && length <= 128;
}

static llm_status check_call(reply_parser *p, const read_call *call, int tool, llm_error *err)
{
    char why[400];
    yyjson_doc *doc;
    llm_error reason;
    size_t length = strlen(call->arguments);
    llm_status status = json_read(call->arguments, length, "the arguments", &doc, &reason);
    if (status == LLM_OUT_OF_MEMORY) return error_no_memory(err, "a tool call");
    if (status != LLM_OK)
        return reply_reject(p, "malformed", "a number is out of range", call->name, call->name_length, call->arguments, length, err);
    bool fit = tool_set_check(p->tools, tool, yyjson_doc_get_root(doc), why, sizeof why);
    json_free(doc);
    if (!fit) return reply_reject(p, "bad arguments", why, call->name, call->name_length, call->arguments, length, err);
    bool has_id = p->format.calls && p->format.calls->keeps_ids && is_plain_id(call->id, call->id_length);
    return give(p, NULL, call->name, call->name_length, has_id ? call->id : NULL, has_id ? call->id_length : 0, call->arguments, length, err);
}

llm_status reply_emit_call(void *parser, const read_call *call, llm_error *err)
{
    reply_parser *p = parser;
    size_t raw_length = utf8_complete_prefix(p->raw, p->raw_length > 4000 ? 4000 : p->raw_length);
    if (p->calls >= REPLY_MAX_CALLS) return LLM_OK;
    if (++p->calls == REPLY_MAX_CALLS) return reply_reject(p, "malformed", "too many calls in one answer", NULL, 0, "", 0, err);
    if (call->outcome != CALL_READ) {
        const char *reason = call->outcome == CALL_INCOMPLETE ? "incomplete" : "malformed";
        const char *why = call->outcome == CALL_INCOMPLETE ? "the answer ended inside the call" : call->why;
        return reply_reject(p, reason, why, call->name, call->name_length, p->raw, raw_length, err);
    }
    int tool = tool_set_find(p->tools, call->name, call->name_length);
    if (tool >= 0) return check_call(p, call, tool, err);
    char name[100];
    snprintf(name, sizeof name, "\"%.*s\"", call->name_length > 80 ? 80 : (int)call->name_length, call->name);
    return reply_reject(p, "unknown tool", name, call->name, call->name_length, call->arguments, strlen(call->arguments), err);
}
