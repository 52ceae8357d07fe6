// Saving and restoring sessions.
#include "backend/session_file.h"
#include "backend/adapters.h"
#include "backend/transcript.h"
#include "base/log.h"
#include "base/mem.h"
#include <string.h>

// FILE_VERSION: of the JSON. STATE_VERSION: raised when an engine's arrays change their meaning.
enum { FILE_VERSION = 1, STATE_VERSION = 1 };

static const char metadata_key[] = "llmlocal_session";

static const char *precision_name(const loaded_model *model)
{
    if (model->precision == LLM_PRECISION_EXACT) return "exact";
    return model->kv_bits == 8 ? "fast, 8 bit cache" : model->kv_bits == 32 ? "fast, 32 bit cache" : "fast";
}

static const char *engine_name(const loaded_model *model)
{
    engine_info info;
    engine_get_info(model->device, &info);
    return info.name;
}

// ---- Saving -------------------------------------------------------------------------------------------------

typedef struct collected {
    safetensors_entry *entries;
    size_t count, capacity;
} collected;

static llm_status collect(void *user, engine_state_array *array, llm_error *err)
{
    collected *c = user;
    size_t row = (size_t)array->shape[1] * (size_t)array->shape[2] * dtype_size(array->type);
    if (!mem_grow((void **)&c->entries, &c->capacity, c->count + 1, sizeof *c->entries)) return error_no_memory(err, "a saved session");
    safetensors_entry *entry = &c->entries[c->count];
    *entry = (safetensors_entry){.name = mem_copy_string(array->name), .type = array->type, .num_dims = 3};
    for (int i = 0; i < 3; i++) entry->shape[i] = (size_t)array->shape[i];
    entry->data = mem_copy_bytes(array->data, (size_t)array->shape[0] * row);
    c->count++;
    return entry->name && entry->data ? LLM_OK : error_no_memory(err, "a saved session");
}

static void free_collected(collected *c)
{
    for (size_t i = 0; i < c->count; i++) {
        mem_free((void *)(uintptr_t)c->entries[i].name);
        mem_free((void *)(uintptr_t)c->entries[i].data);
    }
    mem_free(c->entries);
}

static void append_text(buf *json, const char *before, const char *text)
{
    buf_append_string(json, before);
    if (text) buf_append_json_string(json, text, strlen(text));
    else buf_append_string(json, "null");
}

static void describe(const session *s, const loaded_model *model, const char *system_prompt, buf *json)
{
    buf_printf(json, "{\"version\":%d,\"model\":{", FILE_VERSION);
    append_text(json, "\"name\":", model->name);
    append_text(json, ",\"fingerprint\":", model->fingerprint);
    append_text(json, "},\"engine\":{\"name\":", engine_name(model));
    append_text(json, ",\"precision\":", precision_name(model));
    buf_printf(json, ",\"state\":%d}", STATE_VERSION);
    append_text(json, ",\"system_prompt\":", system_prompt);
    buf_append_string(json, ",\"messages\":");
    transcript_to_json(&s->transcript, json);
    buf_append_char(json, '}');
}

// What was read through other adapters than the model's own is of no use to who loads the session: it is read again.
llm_status session_save(const session *s, loaded_model *model, const char *system_prompt, const char *path, llm_error *err)
{
    buf json = {0};
    collected c = {0};
    bool reusable = adapters_are_default(model, s->seq);
    engine_state_array ledger = {.name = "tokens", .type = DTYPE_I32, .shape = {reusable ? (int64_t)s->ledger.count : 0, 1, 1},
                                 .data = s->ledger.ids};
    describe(s, model, system_prompt, &json);
    llm_status status = json.failed ? error_no_memory(err, "a saved session") : collect(&c, &ledger, err);
    if (status == LLM_OK) c.entries[0].num_dims = 1;
    if (status == LLM_OK && reusable) status = engine_seq_save(s->seq, collect, &c, err);
    if (status == LLM_OK) status = safetensors_write_private(path, metadata_key, json.data, c.entries, c.count, err);
    free_collected(&c);
    buf_free(&json);
    return status;
}

// ---- Reading ------------------------------------------------------------------------------------------------

static llm_status require_text(yyjson_val *object, const char *key, const char **text, llm_error *err)
{
    llm_status status = json_get_string(object, key, NULL, text, err);
    if (status != LLM_OK) return status;
    return *text ? LLM_OK : error_set(err, LLM_LOAD_FAILED, "\"%s\" is missing", key);
}

static llm_status read_description(session_file *f, llm_error *err)
{
    yyjson_val *root = yyjson_doc_get_root(f->doc), *model = NULL, *engine = NULL, *messages = NULL;
    int64_t version = 0;
    if (!yyjson_is_obj(root)) return error_set(err, LLM_LOAD_FAILED, "its description is not an object");
    llm_status status = json_get_int(root, "version", 0, &version, err);
    if (status == LLM_OK && version != FILE_VERSION)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "it is of version %lld, this library reads version %d", (long long)version, FILE_VERSION);
    if (status == LLM_OK) status = json_get_object(root, "model", &model, err);
    if (status == LLM_OK) status = require_text(model, "name", &f->model_name, err);
    if (status == LLM_OK) status = require_text(model, "fingerprint", &f->fingerprint, err);
    if (status == LLM_OK) status = json_get_object(root, "engine", &engine, err);
    if (status == LLM_OK) status = require_text(engine, "name", &f->engine, err);
    if (status == LLM_OK) status = require_text(engine, "precision", &f->precision, err);
    if (status == LLM_OK) status = json_get_int(engine, "state", 0, &f->state, err);
    if (status == LLM_OK) status = json_get_string(root, "system_prompt", NULL, &f->system_prompt, err);
    if (status == LLM_OK && f->system_prompt && strlen(f->system_prompt) != yyjson_get_len(yyjson_obj_get(root, "system_prompt")))
        status = error_set(err, LLM_LOAD_FAILED, "\"system_prompt\" holds a NUL");
    if (status == LLM_OK) status = json_get_array(root, "messages", &messages, err);
    return status == LLM_OK ? transcript_from_json(messages, &f->transcript, err) : status;
}

static llm_status read_tokens(session_file *f, llm_error *err)
{
    const safetensors_tensor *tensor = safetensors_find(&f->file, "tokens");
    if (!tensor || tensor->type != DTYPE_I32 || tensor->num_dims != 1 || tensor->shape[0] > INT32_MAX)
        return error_set(err, LLM_LOAD_FAILED, "its list of tokens is missing or damaged");
    int32_t *ids = mem_alloc(tensor->size);
    if (!ids) return error_no_memory(err, "the ledger of tokens");
    memcpy(ids, tensor->data, tensor->size);
    llm_status status = token_list_append(&f->tokens, ids, tensor->shape[0]) ? LLM_OK : error_no_memory(err, "the ledger of tokens");
    mem_free(ids);
    return status;
}

llm_status session_file_open(const char *path, session_file *f, llm_error *err)
{
    *f = (session_file){0};
    llm_status status = safetensors_open(path, &f->file, err);
    if (status != LLM_OK) return status;
    status = safetensors_metadata_copy(&f->file, metadata_key, &f->text, err);
    if (status == LLM_OK && !f->text) status = error_set(err, LLM_UNSUPPORTED_FORMAT, "this is not a saved session");
    if (status == LLM_OK) status = json_read(f->text, strlen(f->text), "its description", &f->doc, err);
    if (status == LLM_OK) status = read_description(f, err);
    if (status == LLM_OK) status = read_tokens(f, err);
    if (status == LLM_OK) return LLM_OK;
    error_prefix(err, "%s", path);
    session_file_close(f);
    return status;
}

void session_file_close(session_file *f)
{
    message_list_free(&f->transcript);
    token_list_free(&f->tokens);
    json_free(f->doc);
    mem_free(f->text);
    safetensors_close(&f->file);
    *f = (session_file){0};
}

// The newest positions are kept: array->shape[0] is how many there are in all.
llm_status session_file_array(const session_file *f, engine_state_array *array, llm_error *err)
{
    const safetensors_tensor *tensor = safetensors_find(&f->file, array->name);
    if (!tensor) return error_set(err, LLM_LOAD_FAILED, "\"%s\" is missing", array->name);
    if (tensor->type != array->type || tensor->num_dims != 3 || tensor->shape[0] > (size_t)array->shape[0] ||
        tensor->shape[1] != (size_t)array->shape[1] || tensor->shape[2] != (size_t)array->shape[2])
        return error_set(err, LLM_LOAD_FAILED, "\"%s\" has another type or shape than %s [at most %lld, %lld, %lld]", array->name,
                         dtype_name(array->type), (long long)array->shape[0], (long long)array->shape[1], (long long)array->shape[2]);
    array->first_position = array->shape[0] - (int64_t)tensor->shape[0];
    if (tensor->size > 0) memcpy(array->data, tensor->data, tensor->size);
    return LLM_OK;
}

// ---- Restoring ----------------------------------------------------------------------------------------------

static llm_status give_array(void *user, engine_state_array *array, llm_error *err) { return session_file_array(user, array, err); }

static llm_status check_model(const session_file *f, const loaded_model *model, const char *path, llm_error *err)
{
    if (strcmp(f->fingerprint, model->fingerprint) == 0) return LLM_OK;
    return error_set(err, LLM_INVALID_ARGUMENT, "%s is a session of the model \"%.150s\" (%.16s), not of the loaded \"%.150s\" (%s)", path,
                     f->model_name, f->fingerprint, model->name, model->fingerprint);
}

// Why the engine cannot take what the file's engine has saved; NULL: it can.
static const char *reason_to_read_again(const session_file *f, const loaded_model *model)
{
    if (strcmp(f->engine, engine_name(model)) != 0) return "it is of another engine";
    if (strcmp(f->precision, precision_name(model)) != 0) return "it is of another precision";
    if (f->state != STATE_VERSION) return "another version of the library has written it";
    if (f->tokens.count > (size_t)model->context_length) return "it is longer than the context";
    return NULL;
}

static llm_status check_tokens(const session_file *f, const loaded_model *model, llm_error *err)
{
    for (size_t i = 0; i < f->tokens.count; i++)
        if (f->tokens.ids[i] < 0 || f->tokens.ids[i] >= model->vocab_size)
            return error_set(err, LLM_LOAD_FAILED, "token %zu is %d, which is not in the vocabulary of %d", i, f->tokens.ids[i], model->vocab_size);
    return LLM_OK;
}

static llm_status restore_sequence(session_file *f, const loaded_model *model, session *fresh, const char *path, llm_error *err)
{
    const char *reason = reason_to_read_again(f, model);
    if (reason) {
        log_message(LOG_WARNING, "%s: what the model has read cannot be used, since %s: the next answer reads it again", path, reason);
        return LLM_OK;
    }
    llm_status status = check_tokens(f, model, err);
    if (status == LLM_OK && f->tokens.count > 0) status = engine_seq_restore(fresh->seq, (int)f->tokens.count, give_array, f, err);
    if (status == LLM_OK) {
        fresh->ledger = f->tokens;
        f->tokens = (token_list){0};
    }
    return status == LLM_OK ? LLM_OK : error_prefix(err, "%s", path);
}

llm_status session_load(session *s, loaded_model *model, const char *path, char **system_prompt, llm_error *err)
{
    session_file f;
    session fresh = {0};
    *system_prompt = NULL;
    llm_status status = session_file_open(path, &f, err);
    if (status != LLM_OK) return status;
    status = check_model(&f, model, path, err);
    if (status == LLM_OK) status = session_create(model, &fresh, err);
    if (status == LLM_OK) status = restore_sequence(&f, model, &fresh, path, err);
    if (status == LLM_OK && f.system_prompt && !(*system_prompt = mem_copy_string(f.system_prompt)))
        status = error_no_memory(err, "the system prompt");
    if (status == LLM_OK) {
        fresh.transcript = f.transcript;
        f.transcript = (message_list){0};
        session old = *s;
        *s = fresh;
        fresh = old;
    }
    session_free(&fresh);
    session_file_close(&f);
    return status;
}
