// Finds a directory's chat template and builds the variables that transformers gives it.
#include "text/chat_template.h"
#include "base/file.h"
#include "base/mem.h"
#include <string.h>

enum { MAX_TEMPLATES = 16, MAX_TOKENS = 16 };
#define MAX_TEMPLATE_BYTES ((size_t)4 << 20)
#define MAX_CONFIG_BYTES ((size_t)64 << 20)

typedef struct named_template {
    char *name, *source;
    jinja_template *parsed;
} named_template;

typedef struct special_token {
    char *name, *text;
} special_token;

struct chat_template {
    named_template templates[MAX_TEMPLATES]; // the first is the default one
    int num_templates;
    special_token tokens[MAX_TOKENS];
    int num_tokens;
};

void chat_template_free(chat_template *chat)
{
    if (!chat) return;
    for (int i = 0; i < chat->num_templates; i++) {
        mem_free(chat->templates[i].name);
        mem_free(chat->templates[i].source);
        jinja_template_free(chat->templates[i].parsed);
    }
    for (int i = 0; i < chat->num_tokens; i++) {
        mem_free(chat->tokens[i].name);
        mem_free(chat->tokens[i].text);
    }
    mem_free(chat);
}

// ---- Templates

static named_template *find_template(chat_template *chat, const char *name)
{
    for (int i = 0; i < chat->num_templates; i++)
        if (strcmp(chat->templates[i].name, name) == 0) return &chat->templates[i];
    return NULL;
}

// A name that is there already keeps its text: the first source found wins. The default one is moved to the front.
static llm_status add_template(chat_template *chat, const char *name, const char *source, size_t length, llm_error *err)
{
    if (find_template(chat, name)) return LLM_OK;
    if (chat->num_templates == MAX_TEMPLATES) return error_set(err, LLM_LOAD_FAILED, "more than %d chat templates", MAX_TEMPLATES);
    named_template added = {mem_copy_string(name), mem_copy_bytes(source, length), NULL};
    llm_status status = added.name && added.source ? jinja_parse(source, length, &added.parsed, err)
                                                   : error_no_memory(err, "a chat template");
    if (status != LLM_OK) {
        if (status == LLM_TEMPLATE_ERROR) error_prefix(err, "chat template \"%s\"", name);
        mem_free(added.name);
        mem_free(added.source);
        return status;
    }
    int at = chat->num_templates++;
    if (strcmp(name, "default") == 0) {
        memmove(chat->templates + 1, chat->templates, (size_t)at * sizeof *chat->templates);
        at = 0;
    }
    chat->templates[at] = added;
    return LLM_OK;
}

// A text, or a list of {"name", "template"}.
static llm_status add_from_json(chat_template *chat, yyjson_val *value, llm_error *err)
{
    if (yyjson_is_str(value)) return add_template(chat, "default", yyjson_get_str(value), yyjson_get_len(value), err);
    if (!yyjson_is_arr(value)) return error_set(err, LLM_LOAD_FAILED, "\"chat_template\" must be a text or a list");
    size_t index, count;
    yyjson_val *item;
    llm_status status = LLM_OK;
    yyjson_arr_foreach(value, index, count, item)
    {
        yyjson_val *name = yyjson_obj_get(item, "name"), *source = yyjson_obj_get(item, "template");
        if (!yyjson_is_str(name) || !yyjson_is_str(source))
            return error_set(err, LLM_LOAD_FAILED, "a \"chat_template\" list needs \"name\" and \"template\" in each item");
        status = add_template(chat, yyjson_get_str(name), yyjson_get_str(source), yyjson_get_len(source), err);
        if (status != LLM_OK) break;
    }
    return status;
}

// The file `name` in the directory, if it is there: *found says so.
static llm_status add_from_file(chat_template *chat, const char *directory, const char *name, const char *template_name, bool *found,
                                llm_error *err)
{
    char *path = path_join(directory, name), *text = NULL;
    size_t length = 0;
    *found = path && file_exists(path);
    llm_status status = path ? LLM_OK : error_no_memory(err, "a path");
    if (*found) status = file_read(path, MAX_TEMPLATE_BYTES, &text, &length, err);
    if (*found && status == LLM_OK) status = add_template(chat, template_name, text, length, err);
    mem_free(text);
    mem_free(path);
    return status;
}

// The object in a JSON file of the directory; *doc is NULL when there is no such file.
static llm_status read_config(const char *directory, const char *name, yyjson_doc **doc, llm_error *err)
{
    char *path = path_join(directory, name);
    *doc = NULL;
    if (!path) return error_no_memory(err, "a path");
    llm_status status = file_exists(path) ? json_read_file(path, MAX_CONFIG_BYTES, doc, err) : LLM_OK;
    if (*doc && !yyjson_is_obj(yyjson_doc_get_root(*doc))) {
        status = error_set(err, LLM_LOAD_FAILED, "%s must be a JSON object", path);
        json_free(*doc);
        *doc = NULL;
    }
    mem_free(path);
    return status;
}

static llm_status add_templates(chat_template *chat, const char *directory, yyjson_val *config, llm_error *err)
{
    bool found;
    llm_status status = add_from_file(chat, directory, "chat_template.jinja", "default", &found, err);
    if (status == LLM_OK && found) return add_from_file(chat, directory, "chat_templates/tool_use.jinja", "tool_use", &found, err);
    yyjson_doc *doc = NULL;
    if (status == LLM_OK) status = read_config(directory, "chat_template.json", &doc, err);
    yyjson_val *value = yyjson_obj_get(yyjson_doc_get_root(doc), "chat_template");
    if (!value) value = yyjson_obj_get(config, "chat_template");
    if (status == LLM_OK && value && !yyjson_is_null(value)) status = add_from_json(chat, value, err);
    json_free(doc);
    return status;
}

// ---- Special tokens

const char *chat_template_token(const chat_template *chat, const char *name)
{
    for (int i = 0; i < chat->num_tokens; i++)
        if (strcmp(chat->tokens[i].name, name) == 0) return chat->tokens[i].text;
    return NULL;
}

// A token is a text or {"content": text}.
static llm_status add_tokens(chat_template *chat, yyjson_val *config, llm_error *err)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        yyjson_val *value = yyjson_obj_get(config, names[i]);
        if (yyjson_is_obj(value)) value = yyjson_obj_get(value, "content");
        if (!yyjson_is_str(value) || chat_template_token(chat, names[i]) || chat->num_tokens == MAX_TOKENS) continue;
        special_token token = {mem_copy_string(names[i]), mem_copy_bytes(yyjson_get_str(value), yyjson_get_len(value))};
        chat->tokens[chat->num_tokens++] = token;
        if (!token.name || !token.text) return error_no_memory(err, "special tokens");
    }
    return LLM_OK;
}

// ---- Opening

llm_status chat_template_create(const char *source, size_t length, yyjson_val *tokenizer_config, chat_template **chat,
                                llm_error *err)
{
    *chat = NULL;
    chat_template *made = mem_alloc_zero(1, sizeof *made);
    if (!made) return error_no_memory(err, "a chat template");
    llm_status status = add_template(made, "default", source, length, err);
    if (status == LLM_OK) status = add_tokens(made, tokenizer_config, err);
    if (status == LLM_OK) *chat = made;
    else chat_template_free(made);
    return status;
}

llm_status chat_template_load(const char *directory, chat_template **chat, llm_error *err)
{
    yyjson_doc *config = NULL, *map = NULL;
    *chat = NULL;
    chat_template *made = mem_alloc_zero(1, sizeof *made);
    if (!made) return error_no_memory(err, "a chat template");
    llm_status status = read_config(directory, "tokenizer_config.json", &config, err);
    if (status == LLM_OK) status = read_config(directory, "special_tokens_map.json", &map, err);
    if (status == LLM_OK) status = add_templates(made, directory, yyjson_doc_get_root(config), err);
    if (status == LLM_OK) status = add_tokens(made, yyjson_doc_get_root(config), err);
    if (status == LLM_OK) status = add_tokens(made, yyjson_doc_get_root(map), err);
    json_free(config);
    json_free(map);
    if (status == LLM_OK && made->num_templates > 0) *chat = made;
    else chat_template_free(made);
    return status;
}

const char *chat_template_source(const chat_template *chat) { return chat->templates[0].source; }

// ---- Rendering

// Messages lose their null members, as transformers' own preparation does.
static yyjson_mut_val *copy_messages(yyjson_mut_doc *doc, yyjson_val *messages)
{
    if (!yyjson_is_arr(messages)) return yyjson_val_mut_copy(doc, messages);
    yyjson_mut_val *list = yyjson_mut_arr(doc);
    size_t i, j, count, members;
    yyjson_val *message, *key, *value;
    yyjson_arr_foreach(messages, i, count, message)
    {
        yyjson_mut_val *copy = yyjson_is_obj(message) ? yyjson_mut_obj(doc) : yyjson_val_mut_copy(doc, message);
        if (!copy || !yyjson_mut_arr_append(list, copy)) return NULL;
        if (!yyjson_is_obj(message)) continue;
        yyjson_obj_foreach(message, j, members, key, value)
        {
            if (yyjson_is_null(value)) continue;
            if (!yyjson_mut_obj_add(copy, yyjson_val_mut_copy(doc, key), yyjson_val_mut_copy(doc, value))) return NULL;
        }
    }
    return list;
}

// The template's variables, or NULL without memory.
static yyjson_doc *make_context(const chat_template *chat, yyjson_val *arguments)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
    bool complete = root != NULL;
    if (complete) yyjson_mut_doc_set_root(doc, root);
    for (int i = 0; complete && i < chat->num_tokens; i++)
        if (!yyjson_obj_get(arguments, chat->tokens[i].name))
            complete = yyjson_mut_obj_add_str(doc, root, chat->tokens[i].name, chat->tokens[i].text);
    static const char *const none[] = {"tools", "documents"};
    for (size_t i = 0; complete && i < sizeof none / sizeof *none; i++)
        if (!yyjson_obj_get(arguments, none[i])) complete = yyjson_mut_obj_add_null(doc, root, none[i]);
    size_t index, count;
    yyjson_val *key, *value;
    yyjson_obj_foreach(arguments, index, count, key, value)
    {
        yyjson_mut_val *copy = yyjson_equals_str(key, "messages") ? copy_messages(doc, value) : yyjson_val_mut_copy(doc, value);
        complete = complete && yyjson_mut_obj_add(root, yyjson_val_mut_copy(doc, key), copy);
    }
    yyjson_doc *context = complete ? yyjson_mut_doc_imut_copy(doc, NULL) : NULL;
    yyjson_mut_doc_free(doc);
    return context;
}

static const jinja_template *choose(const chat_template *chat, yyjson_val *arguments, llm_error *err)
{
    const named_template *tool_use = find_template((chat_template *)(uintptr_t)chat, "tool_use");
    yyjson_val *tools = yyjson_obj_get(arguments, "tools");
    if (tool_use && tools && !yyjson_is_null(tools)) return tool_use->parsed;
    if (chat->num_templates == 1 || strcmp(chat->templates[0].name, "default") == 0) return chat->templates[0].parsed;
    error_set(err, LLM_TEMPLATE_ERROR, "the model has several chat templates and none is the default");
    return NULL;
}

llm_status chat_template_render(const chat_template *chat, yyjson_val *arguments, const jinja_options *options, buf *out,
                                llm_error *err)
{
    if (!yyjson_is_obj(arguments)) return error_set(err, LLM_INVALID_ARGUMENT, "a chat template's arguments must be a JSON object");
    const jinja_template *parsed = choose(chat, arguments, err);
    if (!parsed) return LLM_TEMPLATE_ERROR;
    yyjson_doc *context = make_context(chat, arguments);
    if (!context) return error_no_memory(err, "a chat template's variables");
    llm_status status = jinja_render(parsed, yyjson_doc_get_root(context), options, out, err);
    yyjson_doc_free(context);
    return status;
}
