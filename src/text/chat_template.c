// Finds a model's chat template and calls it as transformers' apply_chat_template does.
#include "text/chat_template.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/jinja_render.h"
#include <string.h>

typedef struct special_token {
    const char *name, *text;
    struct special_token *next;
} special_token;

typedef struct named_template {
    const char *source;
    jinja_template *parsed; // NULL: there is none
} named_template;

struct chat_template {
    arena memory;
    special_token *tokens;
    named_template main, tool_use; // main: the only one, or the one named "default"
};

enum { MAX_CONFIG = 256 << 20 };

// ---- special tokens ----

static special_token *find_token(const chat_template *chat, const char *name)
{
    special_token *token = chat->tokens;
    while (token && strcmp(token->name, name) != 0) token = token->next;
    return token;
}

const char *chat_template_token(const chat_template *chat, const char *name)
{
    const special_token *token = find_token(chat, name);
    return token ? token->text : NULL;
}

static bool set_token(chat_template *chat, const char *name, const char *text)
{
    special_token *token = find_token(chat, name);
    if (!token) {
        token = arena_alloc(&chat->memory, sizeof *token);
        if (!token || !(token->name = arena_copy(&chat->memory, name, strlen(name)))) return false;
        token->next = chat->tokens;
        chat->tokens = token;
    }
    token->text = arena_copy(&chat->memory, text, strlen(text));
    return token->text != NULL;
}

// A token is a text or an object with its "content".
static const char *token_text(yyjson_val *value)
{
    return yyjson_get_str(yyjson_is_obj(value) ? yyjson_obj_get(value, "content") : value);
}

static bool is_token_name(const char *name)
{
    size_t length = strlen(name);
    return length > 6 && strcmp(name + length - 6, "_token") == 0;
}

// Takes every "..._token" of an object and the members of its "extra_special_tokens".
static llm_status read_tokens(chat_template *chat, yyjson_val *object, llm_error *err)
{
    size_t i, count;
    yyjson_val *key, *value;
    yyjson_val *extra = yyjson_obj_get(object, "extra_special_tokens");
    yyjson_obj_foreach(object, i, count, key, value)
    {
        const char *text = token_text(value);
        if (!is_token_name(yyjson_get_str(key)) || !text) continue;
        if (!set_token(chat, yyjson_get_str(key), text)) return error_no_memory(err, "special tokens");
    }
    if (!yyjson_is_obj(extra)) return LLM_OK;
    yyjson_obj_foreach(extra, i, count, key, value)
    {
        const char *text = token_text(value);
        if (text && !set_token(chat, yyjson_get_str(key), text))
            return error_no_memory(err, "special tokens");
    }
    return LLM_OK;
}

// ---- templates ----

static llm_status set_template(chat_template *chat, named_template *named, const char *source, size_t length,
                               llm_error *err)
{
    jinja_template_free(named->parsed);
    named->parsed = NULL;
    named->source = arena_copy(&chat->memory, source, length);
    if (!named->source) return error_no_memory(err, "a chat template");
    return jinja_parse(source, length, &named->parsed, err);
}

static llm_status set_named(chat_template *chat, const char *name, yyjson_val *text, llm_error *err)
{
    named_template *named = strcmp(name, "default") == 0    ? &chat->main
                            : strcmp(name, "tool_use") == 0 ? &chat->tool_use
                                                            : NULL;
    if (!named) return LLM_OK;
    if (!yyjson_is_str(text))
        return error_set(err, LLM_LOAD_FAILED, "the chat template \"%s\" must be a string", name);
    return set_template(chat, named, yyjson_get_str(text), yyjson_get_len(text), err);
}

// A "chat_template" member: a text, a list of {"name", "template"} or an object of texts.
static llm_status read_template(chat_template *chat, yyjson_val *value, llm_error *err)
{
    size_t i, count;
    yyjson_val *key, *item;
    llm_status status = LLM_OK;
    if (yyjson_is_str(value))
        return set_template(chat, &chat->main, yyjson_get_str(value), yyjson_get_len(value), err);
    if (yyjson_is_arr(value)) {
        yyjson_arr_foreach(value, i, count, item)
        {
            const char *name = yyjson_get_str(yyjson_obj_get(item, "name"));
            if (!name) return error_set(err, LLM_LOAD_FAILED, "a chat template in a list must have a name");
            status = set_named(chat, name, yyjson_obj_get(item, "template"), err);
            if (status != LLM_OK) return status;
        }
        return LLM_OK;
    }
    if (!yyjson_is_obj(value))
        return error_set(err, LLM_LOAD_FAILED, "\"chat_template\" must be a string or a list");
    yyjson_obj_foreach(value, i, count, key, item)
    {
        status = set_named(chat, yyjson_get_str(key), item, err);
        if (status != LLM_OK) return status;
    }
    return LLM_OK;
}

static bool has_template(const chat_template *chat)
{
    return chat->main.parsed || chat->tool_use.parsed;
}

// ---- the files of a directory ----

// Reads a template file if it is there.
static llm_status read_jinja_file(chat_template *chat, named_template *named, const char *directory,
                                  const char *name, llm_error *err)
{
    char *path = path_join(directory, name), *source = NULL;
    size_t length;
    if (!path) return error_no_memory(err, name);
    llm_status status = LLM_OK;
    if (file_exists(path)) {
        status = file_read(path, MAX_CONFIG, &source, &length, err);
        if (status == LLM_OK && (status = set_template(chat, named, source, length, err)) != LLM_OK)
            error_prefix(err, "%s", path);
    }
    mem_free(source);
    mem_free(path);
    return status;
}

typedef llm_status (*json_reader)(chat_template *chat, yyjson_val *root, llm_error *err);

// Reads a JSON file if it is there.
static llm_status read_json_file(chat_template *chat, const char *directory, const char *name,
                                 json_reader read, llm_error *err)
{
    yyjson_doc *doc = NULL;
    char *path = path_join(directory, name);
    if (!path) return error_no_memory(err, name);
    llm_status status = LLM_OK;
    if (file_exists(path)) {
        status = json_read_file(path, MAX_CONFIG, &doc, err);
        if (status == LLM_OK && !yyjson_is_obj(yyjson_doc_get_root(doc)))
            status = error_set(err, LLM_LOAD_FAILED, "%s must be a JSON object", path);
        else if (status == LLM_OK && (status = read(chat, yyjson_doc_get_root(doc), err)) != LLM_OK)
            error_prefix(err, "%s", path);
    }
    json_free(doc);
    mem_free(path);
    return status;
}

static llm_status read_template_member(chat_template *chat, yyjson_val *root, llm_error *err)
{
    yyjson_val *value = yyjson_obj_get(root, "chat_template");
    return has_template(chat) || !value || yyjson_is_null(value) ? LLM_OK : read_template(chat, value, err);
}

static llm_status read_tokenizer_config(chat_template *chat, yyjson_val *root, llm_error *err)
{
    llm_status status = read_tokens(chat, root, err);
    if (status == LLM_OK) status = read_template_member(chat, root, err);
    if (status == LLM_OK && yyjson_obj_get(root, "added_tokens_decoder") &&
        !set_token(chat, "", "")) // see below
        status = error_no_memory(err, "special tokens");
    return status;
}

// transformers reads special_tokens_map.json only where tokenizer_config.json has no added_tokens_decoder;
// the token without a name says so.
static llm_status read_token_map(chat_template *chat, yyjson_val *root, llm_error *err)
{
    return find_token(chat, "") ? LLM_OK : read_tokens(chat, root, err);
}

static llm_status read_directory(chat_template *chat, const char *directory, llm_error *err)
{
    llm_status status = read_jinja_file(chat, &chat->main, directory, "chat_template.jinja", err);
    if (status == LLM_OK)
        status = read_jinja_file(chat, &chat->main, directory, "chat_templates/default.jinja", err);
    if (status == LLM_OK)
        status = read_jinja_file(chat, &chat->tool_use, directory, "chat_templates/tool_use.jinja", err);
    if (status == LLM_OK)
        status = read_json_file(chat, directory, "tokenizer_config.json", read_tokenizer_config, err);
    if (status == LLM_OK)
        status = read_json_file(chat, directory, "chat_template.json", read_template_member, err);
    if (status == LLM_OK)
        status = read_json_file(chat, directory, "special_tokens_map.json", read_token_map, err);
    return status;
}

static chat_template *new_chat_template(llm_error *err)
{
    chat_template *chat = mem_alloc_zero(1, sizeof *chat);
    if (!chat) error_no_memory(err, "a chat template");
    return chat;
}

llm_status chat_template_load(const char *directory, chat_template **result, llm_error *err)
{
    *result = NULL;
    chat_template *chat = new_chat_template(err);
    if (!chat) return LLM_OUT_OF_MEMORY;
    llm_status status = read_directory(chat, directory, err);
    if (status == LLM_OK && has_template(chat))
        *result = chat;
    else
        chat_template_free(chat);
    return status;
}

llm_status chat_template_create(const char *source, size_t length, yyjson_val *tokenizer_config,
                                chat_template **result, llm_error *err)
{
    *result = NULL;
    chat_template *chat = new_chat_template(err);
    if (!chat) return LLM_OUT_OF_MEMORY;
    llm_status status = set_template(chat, &chat->main, source, length, err);
    if (status == LLM_OK && tokenizer_config) status = read_tokens(chat, tokenizer_config, err);
    if (status == LLM_OK)
        *result = chat;
    else
        chat_template_free(chat);
    return status;
}

void chat_template_free(chat_template *chat)
{
    if (!chat) return;
    jinja_template_free(chat->main.parsed);
    jinja_template_free(chat->tool_use.parsed);
    arena_free(&chat->memory);
    mem_free(chat);
}

const char *chat_template_source(const chat_template *chat)
{
    return chat->main.parsed ? chat->main.source : chat->tool_use.source;
}

const char *chat_template_tool_source(const chat_template *chat)
{
    return chat->tool_use.parsed ? chat->tool_use.source : chat->main.source;
}

// ---- rendering ----

typedef struct chat_call {
    const chat_template *chat;
    yyjson_val *arguments;
} chat_call;

static void set_variable(jrender *r, const char *name, jvalue value)
{
    jdict_set(r, r->context, jinja_literal(r, name), value);
}

static jvalue reasoning_of(const jdict *message)
{
    jvalue value;
    if (jdict_find(message, JINJA_STRING("reasoning_content"), &value)) return value;
    if (jdict_find(message, JINJA_STRING("thinking"), &value)) return value;
    return jdict_find(message, JINJA_STRING("reasoning"), &value) ? value : jmissing();
}

// Without the members that are null, and with reasoning under the names that templates read.
static jvalue message_of(jrender *r, yyjson_val *json)
{
    size_t i, count;
    yyjson_val *key, *value;
    jdict *message = jdict_new(r);
    yyjson_obj_foreach(json, i, count, key, value)
    {
        if (!yyjson_is_null(value))
            jdict_set(r, message, jinja_string_of(r, yyjson_get_str(key), yyjson_get_len(key)),
                      jinja_from_json(r, value));
    }
    jvalue reasoning = reasoning_of(message), thinking;
    if (reasoning.kind == J_MISSING) return (jvalue){.kind = J_DICT, .dict = message};
    jdict *whole = jdict_new(r);
    if (!jdict_find(message, JINJA_STRING("thinking"), &thinking)) thinking = reasoning;
    jdict_set(r, whole, jstr(JINJA_STRING("thinking")), thinking);
    for (i = 0; i < message->count; i++)
        jdict_set(r, whole, message->entries[i].key, message->entries[i].value);
    jdict_set(r, whole, jstr(JINJA_STRING("reasoning_content")), reasoning);
    return (jvalue){.kind = J_DICT, .dict = whole};
}

static void set_arguments(jrender *r, const void *user)
{
    const chat_call *call = user;
    size_t i, count;
    yyjson_val *key, *value, *message;
    for (const special_token *token = call->chat->tokens; token; token = token->next)
        if (token->name[0]) set_variable(r, token->name, jinja_literal(r, token->text));
    set_variable(r, "tools", jnone());
    set_variable(r, "documents", jnone());
    set_variable(r, "add_generation_prompt", jbool(false));
    yyjson_obj_foreach(call->arguments, i, count, key, value)
    {
        if (yyjson_equals_str(key, "messages")) continue;
        jdict_set(r, r->context, jinja_string_of(r, yyjson_get_str(key), yyjson_get_len(key)),
                  jinja_from_json(r, value));
    }
    jlist *messages = jlist_new(r, 0);
    yyjson_arr_foreach(yyjson_obj_get(call->arguments, "messages"), i, count, message)
        jlist_append(r, messages, message_of(r, message));
    set_variable(r, "messages", jinja_list(messages));
}

static llm_status check_messages(yyjson_val *arguments, llm_error *err)
{
    size_t i, count;
    yyjson_val *message, *messages = yyjson_obj_get(arguments, "messages");
    if (!yyjson_is_arr(messages))
        return error_set(err, LLM_INVALID_ARGUMENT, "a chat template's \"messages\" must be an array");
    if (!yyjson_arr_size(messages))
        return error_set(err, LLM_INVALID_ARGUMENT, "the conversation has no messages");
    yyjson_arr_foreach(messages, i, count, message) if (!yyjson_is_obj(message)) return error_set(
        err, LLM_INVALID_ARGUMENT, "message %zu must be an object", i + 1);
    return LLM_OK;
}

llm_status chat_template_render(const chat_template *chat, yyjson_val *arguments,
                                const jinja_options *options, buf *out, llm_error *err)
{
    chat_call call = {chat, arguments};
    yyjson_val *tools = yyjson_obj_get(arguments, "tools");
    llm_status status = check_messages(arguments, err);
    if (status != LLM_OK) return status;
    bool has_tools = tools && !yyjson_is_null(tools);
    const jinja_template *tmpl =
        has_tools && chat->tool_use.parsed ? chat->tool_use.parsed : chat->main.parsed;
    if (!tmpl)
        return error_set(err, LLM_TEMPLATE_ERROR,
                         "the model has a chat template for tools only, and none named \"default\"");
    return jinja_render_prepared(tmpl, set_arguments, &call, options, out, err);
}
