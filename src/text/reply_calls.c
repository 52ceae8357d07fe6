// Readers of call sections, one for each syntax.
#include "text/reply_calls.h"
#include "text/reply_literal.h"
#include <string.h>

typedef struct reading {
    const call_section *section;
    literal_reader in; // `at` is where all of the readers stand
    buf json;          // arguments
    bool in_list;      // of Python calls
    bool begun;        // the tag before a call was just read
    llm_error *err;
} reading;

typedef struct span {
    const char *text;
    size_t length;
} span;

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static span trimmed(const char *text, size_t length)
{
    while (length > 0 && is_space(text[0])) text++, length--;
    while (length > 0 && is_space(text[length - 1])) length--;
    return (span){text, length};
}

static bool at_text(const reading *r, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    return n > 0 && r->in.length - r->in.at >= n && memcmp(r->in.text + r->in.at, text, n) == 0;
}

static bool skip_text(reading *r, const char *text)
{
    if (!at_text(r, text)) return false;
    r->in.at += strlen(text);
    return true;
}

// Where `text` begins next; the end if nowhere.
static size_t find_text(const reading *r, size_t from, const char *text)
{
    const char *found = text ? memmem(r->in.text + from, r->in.length - from, text, strlen(text)) : NULL;
    return found ? (size_t)(found - r->in.text) : r->in.length;
}

// What stands between calls, and the brackets that models write too many of. False at the end.
static bool skip_between(reading *r)
{
    const char *const *parts = r->section->format->parts;
    bool named = r->section->format->syntax == CALLS_NAMED;
    r->begun = false;
    while (r->in.at < r->in.length) {
        char c = r->in.text[r->in.at];
        if (named && skip_text(r, parts[1])) {
            r->begun = true;
        } else if (!named || !skip_text(r, parts[2])) {
            if (!c || !strchr(" \t\r\n,;}]`", c)) return true;
            r->in_list &= c != ']';
            r->in.at++;
        }
    }
    return false;
}

// Behind the calls of a section without an end there may be text.
static bool is_text(const reading *r)
{
    char c = r->in.text[r->in.at];
    bool literal = r->section->format->syntax == CALLS_LITERAL || r->section->format->syntax == CALLS_NAMED;
    return !r->section->closed && literal && !r->in_list && !r->begun && c != '{' && c != '[';
}

static llm_status give(reading *r, const read_call *call)
{
    if (r->json.failed || r->in.scratch.failed) return error_no_memory(r->err, "a tool call");
    return r->section->on_call(r->section->user, call, r->err);
}

// Reading ends behind a failure. The answer may have ended inside the call; a closed section cannot be incomplete.
static llm_status give_failure(reading *r, literal_result result, const char *why, span name)
{
    bool incomplete = result == LITERAL_INCOMPLETE && !r->section->closed;
    if (result == LITERAL_INCOMPLETE) why = "the call is not finished";
    read_call call = {.outcome = incomplete ? CALL_INCOMPLETE : CALL_MALFORMED, .name = name.text, .name_length = name.length, .why = why};
    r->in.at = r->in.length;
    return give(r, &call);
}

static llm_status give_call(reading *r, span name, span id)
{
    read_call call = {.outcome = CALL_READ, .name = name.text, .name_length = name.length, .id = id.text, .id_length = id.length,
                      .arguments = r->json.data ? r->json.data : "{}"};
    return give(r, &call);
}

// Reads a literal into r->json.
static literal_result read_json(reading *r)
{
    buf_clear(&r->json);
    r->in.out = &r->json;
    return literal_read(&r->in);
}

// ---- {"name": …, "arguments": {…}} ------------------------------------------------------------------------

static yyjson_val *first_of(yyjson_val *object, const char *const *names, size_t count)
{
    yyjson_val *found = NULL;
    for (size_t i = 0; i < count && !found; i++) found = yyjson_obj_get(object, names[i]);
    return found;
}

// Arguments may be an object, or one as text.
static llm_status give_object(reading *r, yyjson_val *object)
{
    static const char *const name_keys[] = {"name", "tool_name", "function"};
    static const char *const argument_keys[] = {"arguments", "parameters", "args"};
    yyjson_val *inner = yyjson_obj_get(object, "function"), *key = NULL;
    if (yyjson_is_obj(inner)) object = inner;
    yyjson_val *name = first_of(object, name_keys, 3), *arguments = first_of(object, argument_keys, 3);
    if (!name && yyjson_obj_size(object) == 1) { // {"get_weather": {…}}
        key = unsafe_yyjson_get_first(object);
        name = key;
        arguments = unsafe_yyjson_get_next(key);
    }
    bool bare = r->section->bare;
    if (!yyjson_is_str(name) || yyjson_get_len(name) == 0 || (bare && !arguments) || (key && !yyjson_is_obj(arguments)))
        return give_failure(r, LITERAL_MALFORMED, "the call has no name", (span){0});
    span called = {yyjson_get_str(name), yyjson_get_len(name)};
    buf_clear(&r->json);
    if (yyjson_is_str(arguments)) {
        literal_reader text = {.text = yyjson_get_str(arguments), .length = yyjson_get_len(arguments), .out = &r->json};
        bool read = literal_read(&text) == LITERAL_READ;
        buf_free(&text.scratch);
        if (!read) return give_failure(r, LITERAL_MALFORMED, "the arguments are a text that is no JSON", called);
    } else if (arguments && !yyjson_is_null(arguments)) {
        json_append(&r->json, arguments);
    } else {
        buf_append_string(&r->json, "{}");
    }
    return give_call(r, called, (span){0});
}

static llm_status give_objects(reading *r, yyjson_val *value)
{
    llm_status status = LLM_OK;
    size_t i, count;
    yyjson_val *one;
    if (yyjson_is_obj(value)) return give_object(r, value);
    if (!yyjson_is_arr(value)) return give_failure(r, LITERAL_MALFORMED, "a call is no JSON object", (span){0});
    yyjson_arr_foreach(value, i, count, one)
    {
        if (status != LLM_OK) break;
        if (yyjson_is_obj(one)) status = give_object(r, one);
        else status = give_failure(r, LITERAL_MALFORMED, "a call is no JSON object", (span){0});
    }
    return status;
}

static llm_status read_objects(reading *r)
{
    yyjson_doc *doc;
    llm_error unused;
    literal_result result = read_json(r);
    if (result != LITERAL_READ) return give_failure(r, result, r->in.why, (span){0});
    if (r->json.failed) return error_no_memory(r->err, "a tool call");
    llm_status status = json_read(r->json.data, r->json.length, "a tool call", &doc, &unused);
    if (status == LLM_OUT_OF_MEMORY) return error_no_memory(r->err, "a tool call");
    if (status != LLM_OK) return give_failure(r, LITERAL_MALFORMED, "a number is out of range", (span){0});
    status = give_objects(r, yyjson_doc_get_root(doc));
    json_free(doc);
    return status;
}

// ---- [f(a=1), g()] ----------------------------------------------------------------------------------------

static literal_result read_keywords(reading *r)
{
    literal_reader *in = &r->in;
    buf_clear(&r->json);
    in->out = &r->json;
    buf_append_char(&r->json, '{');
    for (bool first = true;; first = false) {
        literal_skip_space(in);
        if (in->at == in->length) return LITERAL_INCOMPLETE;
        if (skip_text(r, ")")) break;
        if (!first && !skip_text(r, ",")) return in->why = "a comma between arguments is missing", LITERAL_MALFORMED;
        literal_skip_space(in);
        if (!first && skip_text(r, ")")) break;
        size_t length = literal_name_length(in);
        const char *key = in->text + in->at;
        in->at += length;
        literal_skip_space(in);
        if (in->at == in->length) return LITERAL_INCOMPLETE;
        if (length == 0 || !skip_text(r, "=")) return in->why = "an argument has no name", LITERAL_MALFORMED;
        if (!first) buf_append_char(&r->json, ',');
        buf_append_json_string(&r->json, key, length);
        buf_append_char(&r->json, ':');
        literal_result result = literal_read(in);
        if (result != LITERAL_READ) return result;
    }
    buf_append_char(&r->json, '}');
    return LITERAL_READ;
}

static llm_status read_python_call(reading *r)
{
    span name = {r->in.text + r->in.at, literal_name_length(&r->in)};
    r->in.at += name.length;
    literal_skip_space(&r->in);
    if (r->in.at == r->in.length) return give_failure(r, LITERAL_INCOMPLETE, NULL, (span){0});
    if (name.length == 0 || !skip_text(r, "(")) return give_failure(r, LITERAL_MALFORMED, "neither JSON nor a call f(a=1)", (span){0});
    literal_result result = read_keywords(r);
    return result == LITERAL_READ ? give_call(r, name, (span){0}) : give_failure(r, result, r->in.why, name);
}

static llm_status read_literal(reading *r)
{
    size_t before = r->in.at;
    if (r->in.text[r->in.at] == '{') return read_objects(r);
    if (skip_text(r, "[")) {
        literal_skip_space(&r->in);
        if (r->in.at == r->in.length || r->in.text[r->in.at] == '{' || r->in.text[r->in.at] == ']') {
            r->in.at = before;
            return read_objects(r);
        }
        r->in_list = true;
    }
    return read_python_call(r); // the bracket behind the last one is skipped between calls
}

// ---- <function=f><parameter=a>…</parameter></function> ----------------------------------------------------

// A name, in quotes or not, up to the '>' of its tag, which is skipped. Empty: there is none.
static span read_tag_name(reading *r)
{
    size_t end = find_text(r, r->in.at, ">");
    span name = trimmed(r->in.text + r->in.at, end - r->in.at);
    r->in.at = end < r->in.length ? end + 1 : end;
    bool quoted = name.length > 0 && (name.text[0] == '"' || name.text[0] == '\'');
    char quote = quoted ? name.text[0] : '>';
    name.text += quoted;
    name.length -= quoted;
    size_t n = 0;
    while (n < name.length && name.text[n] != quote && !is_space(name.text[n])) n++;
    name.length = n;
    return name;
}

// Without the line feeds around it, and out of a CDATA section.
static span argument_text(const char *text, size_t length)
{
    static const char begin[] = "<![CDATA[", end[] = "]]>";
    span inner = trimmed(text, length);
    if (inner.length >= 12 && memcmp(inner.text, begin, 9) == 0 && memcmp(inner.text + inner.length - 3, end, 3) == 0)
        return (span){inner.text + 9, inner.length - 12};
    if (length > 0 && text[0] == '\n') text++, length--;
    if (length > 0 && text[length - 1] == '\n') length--;
    return (span){text, length};
}

static void append_argument(reading *r, int tool, span name, span text)
{
    yyjson_val *schema = tool >= 0 ? tool_set_argument(r->section->tools, tool, name.text, name.length) : NULL;
    buf_append_string(&r->json, r->json.length > 1 ? "," : "");
    buf_append_json_string(&r->json, name.text, name.length);
    buf_append_char(&r->json, ':');
    tool_value_append(&r->json, schema, text.text, text.length);
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static llm_status read_xml_arguments(reading *r, span name)
{
    const char *const *parts = r->section->format->parts;
    int tool = tool_set_find(r->section->tools, name.text, name.length);
    buf_clear(&r->json);
    buf_append_char(&r->json, '{');
    for (;;) {
        size_t next = find_text(r, r->in.at, parts[1]), end = least(find_text(r, r->in.at, parts[3]), find_text(r, r->in.at, parts[0]));
        if (next >= end) {
            if (end == r->in.length && !r->section->closed) return give_failure(r, LITERAL_INCOMPLETE, NULL, name);
            r->in.at = end;
            break;
        }
        r->in.at = next + strlen(parts[1]);
        span key = read_tag_name(r);
        size_t begin = r->in.at, stop = find_text(r, begin, parts[2]);
        if (stop == r->in.length && !r->section->closed) return give_failure(r, LITERAL_INCOMPLETE, NULL, name);
        if (stop == r->in.length) stop = least(find_text(r, begin, parts[1]), find_text(r, begin, parts[3]));
        if (key.length == 0) return give_failure(r, LITERAL_MALFORMED, "an argument has no name", name);
        append_argument(r, tool, key, argument_text(r->in.text + begin, stop - begin));
        r->in.at = stop;
        skip_text(r, parts[2]);
    }
    buf_append_char(&r->json, '}');
    skip_text(r, parts[3]);
    return give_call(r, name, (span){0});
}

static llm_status read_xml(reading *r)
{
    const char *const *parts = r->section->format->parts;
    size_t begin = find_text(r, r->in.at, parts[0]);
    if (begin == r->in.length)
        return give_failure(r, r->section->closed ? LITERAL_MALFORMED : LITERAL_INCOMPLETE, "the call has no name", (span){0});
    r->in.at = begin + strlen(parts[0]);
    span name = read_tag_name(r);
    if (name.length == 0)
        return give_failure(r, r->in.at == r->in.length ? LITERAL_INCOMPLETE : LITERAL_MALFORMED, "the call has no name", (span){0});
    literal_skip_space(&r->in);
    if (!at_text(r, "{")) return read_xml_arguments(r, name);
    literal_result result = read_json(r); // <function=f>{"a":1}</function>
    if (result != LITERAL_READ) return give_failure(r, result, r->in.why, name);
    literal_skip_space(&r->in);
    skip_text(r, parts[3]);
    return give_call(r, name, (span){0});
}

// ---- f<arg_key>a</arg_key><arg_value>1</arg_value> --------------------------------------------------------

static llm_status read_keys(reading *r)
{
    const char *const *parts = r->section->format->parts;
    if (at_text(r, "{") || at_text(r, "[")) return read_literal(r);
    size_t end = find_text(r, r->in.at, parts[0]);
    span name = trimmed(r->in.text + r->in.at, end - r->in.at);
    for (size_t i = 0; i < name.length; i++)
        if (is_space(name.text[i])) return give_failure(r, LITERAL_MALFORMED, "the call is no name with arguments in tags", (span){0});
    if (name.length == 0) return give_failure(r, LITERAL_MALFORMED, "the call has no name", (span){0});
    if (end == r->in.length && !r->section->closed) return give_failure(r, LITERAL_INCOMPLETE, NULL, name);
    int tool = tool_set_find(r->section->tools, name.text, name.length);
    buf_clear(&r->json);
    buf_append_char(&r->json, '{');
    for (r->in.at = end; skip_text(r, parts[0]);) {
        size_t key_end = find_text(r, r->in.at, parts[1]);
        span key = trimmed(r->in.text + r->in.at, key_end - r->in.at);
        size_t value = find_text(r, key_end, parts[2]), value_end = find_text(r, value, parts[3]);
        if (value_end == r->in.length) return give_failure(r, LITERAL_INCOMPLETE, NULL, name);
        value += strlen(parts[2]);
        append_argument(r, tool, key, trimmed(r->in.text + value, value_end - value));
        r->in.at = value_end + strlen(parts[3]);
        literal_skip_space(&r->in);
    }
    buf_append_char(&r->json, '}');
    if (r->in.at < r->in.length) return give_failure(r, LITERAL_MALFORMED, "there is text between the arguments", name);
    return r->section->closed ? give_call(r, name, (span){0}) : give_failure(r, LITERAL_INCOMPLETE, NULL, name);
}

// ---- call:f{a:<|"|>x<|"|>} --------------------------------------------------------------------------------

static llm_status read_gemma(reading *r)
{
    literal_skip_space(&r->in);
    if (!skip_text(r, "call:"))
        return give_failure(r, r->in.length - r->in.at < 5 ? LITERAL_INCOMPLETE : LITERAL_MALFORMED, "the call does not begin with call:", (span){0});
    span name = {r->in.text + r->in.at, literal_name_length(&r->in)};
    r->in.at += name.length;
    literal_skip_space(&r->in);
    if (r->in.at == r->in.length) return give_failure(r, LITERAL_INCOMPLETE, NULL, (span){0});
    if (name.length == 0 || !at_text(r, "{")) return give_failure(r, LITERAL_MALFORMED, "the call is no name with arguments in braces", (span){0});
    r->in.delimiter = r->section->format->parts[0];
    literal_result result = read_json(r);
    return result == LITERAL_READ ? give_call(r, name, (span){0}) : give_failure(r, result, r->in.why, name);
}

// ---- f[ARGS]{"a":1} ---------------------------------------------------------------------------------------

// What stands before the separator: the name, and with it an id ("functions.f:0", "f[CALL_ID]x").
static void read_header(const call_format *format, span header, span *name, span *id)
{
    const char *mark = memmem(header.text, header.length, "[CALL_ID]", 9), *end = header.text + header.length;
    *name = trimmed(header.text, mark ? (size_t)(mark - header.text) : header.length);
    *id = mark ? trimmed(mark + 9, (size_t)(end - mark - 9)) : (span){0};
    if (!format->keeps_ids) return;
    *id = *name;
    if (name->length > 10 && memcmp(name->text, "functions.", 10) == 0) name->text += 10, name->length -= 10;
    size_t digits = 0;
    while (digits < name->length && name->text[name->length - 1 - digits] >= '0' && name->text[name->length - 1 - digits] <= '9') digits++;
    if (digits > 0 && digits + 1 < name->length && name->text[name->length - 1 - digits] == ':') name->length -= digits + 1;
}

static llm_status read_named(reading *r)
{
    const call_format *format = r->section->format;
    if (at_text(r, "{") || at_text(r, "[")) return read_literal(r);
    size_t separator = find_text(r, r->in.at, format->parts[0]);
    if (separator == r->in.length) return give_failure(r, LITERAL_INCOMPLETE, NULL, (span){0});
    span name, id, header = {r->in.text + r->in.at, separator - r->in.at};
    read_header(format, header, &name, &id);
    r->in.at = separator + strlen(format->parts[0]);
    literal_skip_space(&r->in);
    if (r->in.at < r->in.length && !at_text(r, "{")) { // function<sep>f, then the arguments in a fence
        size_t brace = find_text(r, r->in.at, "{"), line = find_text(r, r->in.at, "\n");
        name = trimmed(r->in.text + r->in.at, least(line, brace) - r->in.at);
        r->in.at = brace;
    }
    if (name.length == 0) return give_failure(r, LITERAL_MALFORMED, "the call has no name", (span){0});
    literal_result result = read_json(r);
    return result == LITERAL_READ ? give_call(r, name, id) : give_failure(r, result, r->in.why, name);
}

// ---- All of it --------------------------------------------------------------------------------------------

llm_status reply_calls_read(const call_section *section, size_t *used, llm_error *err)
{
    static llm_status (*const readers[])(reading *) = {
        [CALLS_LITERAL] = read_literal, [CALLS_XML] = read_xml, [CALLS_KEYS] = read_keys, [CALLS_GEMMA] = read_gemma, [CALLS_NAMED] = read_named};
    reading r = {.section = section, .in = {.text = section->text, .length = section->length}, .err = err};
    llm_status status = LLM_OK;
    bool any = false;
    while (status == LLM_OK && skip_between(&r)) {
        if (any && is_text(&r)) break;
        any = true;
        status = readers[section->format->syntax](&r);
    }
    *used = r.in.at;
    if (!any && status == LLM_OK) status = give_failure(&r, section->closed ? LITERAL_MALFORMED : LITERAL_INCOMPLETE, "there is no call", (span){0});
    if (!any) *used = section->length;
    buf_free(&r.json);
    buf_free(&r.in.scratch);
    return status;
}

llm_status reply_calls_read_arguments(const call_section *section, const char *name, size_t name_length, llm_error *err)
{
    reading r = {.section = section, .in = {.text = section->text, .length = section->length}, .err = err};
    literal_result result = read_json(&r);
    span called = {name, name_length};
    literal_skip_space(&r.in);
    if (result == LITERAL_READ && r.in.at < r.in.length) result = LITERAL_MALFORMED, r.in.why = "there is text behind the arguments";
    llm_status status = result == LITERAL_READ ? give_call(&r, called, (span){0}) : give_failure(&r, result, r.in.why, called);
    buf_free(&r.json);
    buf_free(&r.in.scratch);
    return status;
}
