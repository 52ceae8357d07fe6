// Model specs as values: compare, hash, copy, JSON.
#include "client/spec.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "client/options.h"
#include <limits.h>
#include <string.h>

// Every string of a spec; those of the adapter have a name in its JSON object.
static const struct spec_string {
    const char *name;
    size_t offset;
    bool of_adapter;
} strings[] = {
    {"id", offsetof(llm_model_spec, id), false},
    {"base", offsetof(llm_model_spec, base), false},
    {"revision", offsetof(llm_model_spec, revision), false},
    {"display_name", offsetof(llm_model_spec, display_name), false},
    {"description", offsetof(llm_model_spec, description), false},
    {"source", offsetof(llm_model_spec, adapter.source), true},
    {"tag", offsetof(llm_model_spec, adapter.tag), true},
    {"asset", offsetof(llm_model_spec, adapter.asset), true},
};
#define NUM_STRINGS (sizeof strings / sizeof *strings)

static const char *const adapter_kinds[] = {"none", "directory", "hub", "github"};
#define NUM_ADAPTER_KINDS (sizeof adapter_kinds / sizeof *adapter_kinds)

static const char **string_at(llm_model_spec *spec, size_t i)
{
    return (const char **)(void *)((char *)spec + strings[i].offset);
}

// ---- Reading ----------------------------------------------------------------------------------------------

void llm_model_spec_init(llm_model_spec *spec, const char *name)
{
    if (spec) *spec = (llm_model_spec){.size = sizeof *spec, .base = name};
}

llm_status spec_read(const llm_model_spec *spec, llm_model_spec *whole, llm_error *err)
{
    llm_model_spec_init(whole, NULL);
    if (!spec) return error_set(err, LLM_INVALID_ARGUMENT, "the model spec is NULL");
    return options_read(whole, sizeof *whole, spec, "llm_model_spec_init", err);
}

const char *spec_id(const llm_model_spec *spec)
{
    return spec->id ? spec->id : spec->base;
}
const char *spec_revision(const llm_model_spec *spec)
{
    return spec->revision ? spec->revision : "main";
}

static bool is_empty(const char *text)
{
    return !text || !*text;
}

static llm_status check_adapter(const llm_adapter *adapter, llm_error *err)
{
    if ((size_t)adapter->kind >= NUM_ADAPTER_KINDS)
        return error_set(err, LLM_INVALID_ARGUMENT, "spec.adapter.kind is %d, which is no kind of adapter",
                         (int)adapter->kind);
    if (adapter->kind == LLM_ADAPTER_NONE) return LLM_OK;
    if (is_empty(adapter->source))
        return error_set(err, LLM_INVALID_ARGUMENT, "spec.adapter.source is missing");
    if (adapter->kind == LLM_ADAPTER_GITHUB && is_empty(adapter->asset))
        return error_set(err, LLM_INVALID_ARGUMENT,
                         "spec.adapter.asset is missing: which file of the GitHub release is the adapter?");
    return LLM_OK;
}

llm_status spec_check(const llm_model_spec *spec, llm_error *err)
{
    if (is_empty(spec->base))
        return error_set(err, LLM_INVALID_ARGUMENT,
                         "spec.base is missing: a directory, a preset or a hub id");
    if (spec->context_length < 0)
        return error_set(err, LLM_INVALID_ARGUMENT, "spec.context_length is %d; it must be 0 or more",
                         spec->context_length);
    return check_adapter(&spec->adapter, err);
}

llm_status spec_read_checked(const llm_model_spec *spec, llm_model_spec *whole, llm_error *err)
{
    llm_status status = spec_read(spec, whole, err);
    return status == LLM_OK ? spec_check(whole, err) : status;
}

llm_status spec_check_adapter(const llm_adapter *adapter, llm_error *err)
{
    if (!adapter || adapter->kind == LLM_ADAPTER_NONE) return error_set(err, LLM_INVALID_ARGUMENT, "the adapter is missing");
    return check_adapter(adapter, err);
}

// ---- Values -----------------------------------------------------------------------------------------------

// What two specs are compared by: NULL replaced by what it stands for; an absent adapter has no strings.
static void normalise(const llm_model_spec *spec, llm_model_spec *plain)
{
    if (spec_read(spec, plain, NULL) != LLM_OK) return;
    plain->id = spec_id(plain);
    plain->revision = spec_revision(plain);
    if (plain->adapter.kind == LLM_ADAPTER_NONE) plain->adapter = (llm_adapter){0};
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

bool llm_model_spec_equal(const llm_model_spec *a, const llm_model_spec *b)
{
    if (!a || !b) return a == b;
    llm_model_spec x, y;
    normalise(a, &x);
    normalise(b, &y);
    for (size_t i = 0; i < NUM_STRINGS; i++)
        if (!same_text(*string_at(&x, i), *string_at(&y, i))) return false;
    return x.adapter.kind == y.adapter.kind && x.context_length == y.context_length &&
           x.estimated_memory == y.estimated_memory;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 32;
}

uint64_t llm_model_spec_hash(const llm_model_spec *spec)
{
    if (!spec) return 0;
    llm_model_spec plain;
    normalise(spec, &plain);
    uint64_t hash =
        mix(mix((uint64_t)plain.adapter.kind + 1, (uint64_t)plain.context_length), plain.estimated_memory);
    for (size_t i = 0; i < NUM_STRINGS; i++) {
        const char *text = *string_at(&plain, i);
        hash = mix(hash, text ? hash_bytes(text, strlen(text)) : 1);
    }
    return hash;
}

// Bytes of the strings; false when they are too many.
static bool count_strings(llm_model_spec *spec, size_t *total)
{
    for (size_t i = 0; i < NUM_STRINGS; i++) {
        const char *text = *string_at(spec, i);
        if (text && !mem_add(*total, strlen(text) + 1, total)) return false;
    }
    return true;
}

// Copies the strings to *end, and moves *end behind them.
static void place_strings(llm_model_spec *spec, char **end)
{
    for (size_t i = 0; i < NUM_STRINGS; i++) {
        const char *text = *string_at(spec, i);
        if (!text) continue;
        size_t bytes = strlen(text) + 1;
        *string_at(spec, i) = memcpy(*end, text, bytes);
        *end += bytes;
    }
}

llm_model_spec *llm_model_spec_copy(const llm_model_spec *spec)
{
    llm_model_spec whole;
    size_t total = sizeof whole;
    if (spec_read(spec, &whole, NULL) != LLM_OK || !count_strings(&whole, &total)) return NULL;
    llm_model_spec *copy = mem_alloc(total);
    if (!copy) return NULL;
    *copy = whole;
    char *end = (char *)(copy + 1);
    place_strings(copy, &end);
    return copy;
}

llm_model_spec **spec_copy_all(const llm_model_spec *const *specs, size_t count)
{
    size_t each = sizeof(llm_model_spec *) + sizeof(llm_model_spec), total = count * each;
    for (size_t i = 0; i < count; i++) {
        llm_model_spec whole = *specs[i];
        if (!count_strings(&whole, &total)) return NULL;
    }
    llm_model_spec **pointers = mem_alloc(total);
    if (!pointers) return NULL;
    llm_model_spec *copies = (llm_model_spec *)(void *)(pointers + count);
    char *end = (char *)(copies + count);
    for (size_t i = 0; i < count; i++) {
        copies[i] = *specs[i];
        pointers[i] = &copies[i];
        place_strings(&copies[i], &end);
    }
    return pointers;
}

llm_size_tier llm_model_spec_tier(const llm_model_spec *spec)
{
    static const uint64_t gib = 1 << 30;
    llm_model_spec whole;
    if (spec_read(spec, &whole, NULL) != LLM_OK || !whole.estimated_memory) return LLM_TIER_UNKNOWN;
    if (whole.estimated_memory < 1 * gib) return LLM_TIER_TINY;
    if (whole.estimated_memory < 3 * gib) return LLM_TIER_SMALL;
    if (whole.estimated_memory < 8 * gib) return LLM_TIER_MEDIUM;
    if (whole.estimated_memory < 20 * gib) return LLM_TIER_LARGE;
    return LLM_TIER_EXTRA_LARGE;
}

// ---- JSON: {"id", "base", "revision", "adapter": {"kind", "source", …}, …}; what is not set is left out ---

static void append_key(buf *b, const char *key)
{
    if (b->data[b->length - 1] != '{') buf_append_char(b, ',');
    buf_append_json_string(b, key, strlen(key));
    buf_append_char(b, ':');
}

static void append_strings(buf *b, llm_model_spec *spec, bool of_adapter)
{
    for (size_t i = 0; i < NUM_STRINGS && !b->failed; i++) {
        const char *text = *string_at(spec, i);
        if (!text || strings[i].of_adapter != of_adapter) continue;
        append_key(b, strings[i].name);
        buf_append_json_string(b, text, strlen(text));
    }
}

char *llm_model_spec_json_copy(const llm_model_spec *spec)
{
    llm_model_spec whole;
    if (spec_read(spec, &whole, NULL) != LLM_OK || (size_t)whole.adapter.kind >= NUM_ADAPTER_KINDS)
        return NULL;
    buf b = {0};
    if (!buf_append_char(&b, '{')) return NULL;
    append_strings(&b, &whole, false);
    if (!b.failed && whole.adapter.kind != LLM_ADAPTER_NONE) {
        append_key(&b, "adapter");
        buf_printf(&b, "{\"kind\":\"%s\"", adapter_kinds[whole.adapter.kind]);
        append_strings(&b, &whole, true);
        buf_append_char(&b, '}');
    }
    if (!b.failed && whole.context_length) {
        append_key(&b, "context_length");
        buf_printf(&b, "%d", whole.context_length);
    }
    if (!b.failed && whole.estimated_memory) {
        append_key(&b, "estimated_memory");
        buf_printf(&b, "%llu", (unsigned long long)whole.estimated_memory);
    }
    buf_append_char(&b, '}');
    return buf_take(&b);
}

static llm_status read_strings(yyjson_val *object, bool of_adapter, llm_model_spec *spec, llm_error *err)
{
    for (size_t i = 0; i < NUM_STRINGS; i++) {
        if (strings[i].of_adapter != of_adapter) continue;
        const char **text = string_at(spec, i);
        llm_status status = json_get_string(object, strings[i].name, NULL, text, err);
        if (status != LLM_OK) return status;
        if (*text && strlen(*text) != yyjson_get_len(yyjson_obj_get(object, strings[i].name)))
            return error_set(err, LLM_INVALID_ARGUMENT, "\"%s\" contains a zero byte", strings[i].name);
    }
    return LLM_OK;
}

static llm_status read_adapter(yyjson_val *object, llm_model_spec *spec, llm_error *err)
{
    const char *kind;
    llm_status status = json_get_string(object, "kind", "none", &kind, err);
    if (status != LLM_OK) return status;
    size_t k = 0;
    while (k < NUM_ADAPTER_KINDS && strcmp(kind, adapter_kinds[k])) k++;
    if (k == NUM_ADAPTER_KINDS)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "adapter kind \"%.100s\" is not known", kind);
    spec->adapter.kind = (llm_adapter_kind)k;
    return read_strings(object, true, spec, err);
}

static llm_status read_numbers(yyjson_val *object, llm_model_spec *spec, llm_error *err)
{
    int64_t context_length, memory;
    llm_status status = json_get_int(object, "context_length", 0, &context_length, err);
    if (status == LLM_OK) status = json_get_int(object, "estimated_memory", 0, &memory, err);
    if (status != LLM_OK) return status;
    if (context_length < 0 || context_length > INT_MAX)
        return error_set(err, LLM_INVALID_ARGUMENT, "\"context_length\" is %lld; it must be 0 to %d",
                         (long long)context_length, INT_MAX);
    if (memory < 0)
        return error_set(err, LLM_INVALID_ARGUMENT, "\"estimated_memory\" is %lld; it must be 0 or more",
                         (long long)memory);
    spec->context_length = (int)context_length;
    spec->estimated_memory = (uint64_t)memory;
    return LLM_OK;
}

static llm_status read_object(yyjson_val *object, llm_model_spec *spec, llm_error *err)
{
    yyjson_val *adapter;
    if (!yyjson_is_obj(object))
        return error_set(err, LLM_INVALID_ARGUMENT, "a model spec must be a JSON object");
    llm_status status = read_strings(object, false, spec, err);
    if (status == LLM_OK) status = json_get_object(object, "adapter", &adapter, err);
    if (status == LLM_OK && adapter) status = read_adapter(adapter, spec, err);
    if (status == LLM_OK) status = read_numbers(object, spec, err);
    return status == LLM_OK ? spec_check(spec, err) : status;
}

llm_model_spec *llm_model_spec_from_json_copy(const char *json, llm_error *err)
{
    yyjson_doc *doc = NULL;
    llm_model_spec spec, *copy = NULL;
    llm_model_spec_init(&spec, NULL);
    if (!json) return error_set(err, LLM_INVALID_ARGUMENT, "the model spec is NULL"), NULL;
    llm_status status = json_read(json, strlen(json), "model spec", &doc, err);
    if (status == LLM_OK) status = read_object(yyjson_doc_get_root(doc), &spec, err);
    if (status == LLM_OK && !(copy = llm_model_spec_copy(&spec))) error_no_memory(err, "a model spec");
    // The text comes from the caller and not from a model's files.
    if (status == LLM_LOAD_FAILED && err) err->code = LLM_INVALID_ARGUMENT;
    json_free(doc);
    return copy;
}
