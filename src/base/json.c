// JSON reading: errors name the file, the place and the key.
#include "base/json.h"
#include "base/file.h"
#include "base/mem.h"
#include <string.h>

static void *json_malloc(void *ctx, size_t size) { return (void)ctx, mem_alloc(size); }
static void *json_realloc(void *ctx, void *block, size_t old_size, size_t size)
{
    return (void)ctx, (void)old_size, mem_realloc(block, 1, size);
}
static void json_release(void *ctx, void *block) { (void)ctx, mem_free(block); }
static const yyjson_alc json_memory = {json_malloc, json_realloc, json_release, NULL};

static llm_status read_failed(const yyjson_read_err *why, const char *name, llm_error *err)
{
    if (why->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) return error_no_memory(err, name);
    return error_set(err, LLM_LOAD_FAILED, "%s: not valid JSON at byte %zu: %s", name, why->pos, why->msg);
}

llm_status json_read(const char *text, size_t length, const char *name, yyjson_doc **doc, llm_error *err)
{
    yyjson_read_err why;
    // yyjson does not write to the text without YYJSON_READ_INSITU.
    *doc = yyjson_read_opts((char *)(uintptr_t)text, length, YYJSON_READ_NOFLAG, &json_memory, &why);
    return *doc ? LLM_OK : read_failed(&why, name, err);
}

// A file's text becomes the document's own: strings are read in place, which halves the memory of large files.
llm_status json_read_file(const char *path, size_t limit, yyjson_doc **doc, llm_error *err)
{
    char *text;
    size_t length;
    yyjson_read_err why;
    *doc = NULL;
    llm_status status = file_read(path, limit, &text, &length, err);
    if (status != LLM_OK) return status;
    char *padded = mem_realloc(text, 1, length + YYJSON_PADDING_SIZE);
    if (!padded) {
        mem_free(text);
        return error_no_memory(err, path);
    }
    memset(padded + length, 0, YYJSON_PADDING_SIZE);
    *doc = yyjson_read_opts(padded, length, YYJSON_READ_INSITU, &json_memory, &why);
    if (*doc) return (*doc)->str_pool = padded, LLM_OK; // freed with the document
    mem_free(padded);
    return read_failed(&why, path, err);
}

const char *json_members(const char *text, size_t *length)
{
    static const char white_space[] = " \t\r\n";
    const char *begin = strchr(text, '{') + 1, *end = strrchr(text, '}');
    begin += strspn(begin, white_space);
    *length = end > begin ? (size_t)(end - begin) : 0;
    return begin;
}

bool json_append(buf *out, yyjson_val *value)
{
    size_t length;
    char *text = yyjson_val_write_opts(value, YYJSON_WRITE_NOFLAG, &json_memory, &length, NULL);
    if (text) buf_append(out, text, length);
    else out->failed = true;
    mem_free(text);
    return !out->failed;
}

void json_free(yyjson_doc *doc) { yyjson_doc_free(doc); }

// NULL when the key is absent or null.
static yyjson_val *member(yyjson_val *object, const char *key)
{
    yyjson_val *value = yyjson_obj_get(object, key);
    return yyjson_is_null(value) ? NULL : value;
}

static llm_status wrong_type(const char *key, yyjson_val *value, const char *wanted, llm_error *err)
{
    return error_set(err, LLM_LOAD_FAILED, "\"%s\" must be %s, not %s", key, wanted, yyjson_get_type_desc(value));
}

llm_status json_get_bool(yyjson_val *object, const char *key, bool fallback, bool *value, llm_error *err)
{
    yyjson_val *found = member(object, key);
    *value = found ? yyjson_get_bool(found) : fallback;
    return !found || yyjson_is_bool(found) ? LLM_OK : wrong_type(key, found, "true or false", err);
}

llm_status json_get_int(yyjson_val *object, const char *key, int64_t fallback, int64_t *value, llm_error *err)
{
    yyjson_val *found = member(object, key);
    *value = fallback;
    if (!found) return LLM_OK;
    double real = yyjson_get_num(found);
    bool whole = yyjson_is_int(found) || (yyjson_is_real(found) && real > -9e15 && real < 9e15 && real == (double)(int64_t)real);
    if (!whole || (yyjson_is_uint(found) && yyjson_get_uint(found) > INT64_MAX))
        return wrong_type(key, found, "a whole number", err);
    *value = yyjson_is_int(found) ? yyjson_get_sint(found) : (int64_t)real;
    return LLM_OK;
}

llm_status json_get_double(yyjson_val *object, const char *key, double fallback, double *value, llm_error *err)
{
    yyjson_val *found = member(object, key);
    *value = found ? yyjson_get_num(found) : fallback;
    return !found || yyjson_is_num(found) ? LLM_OK : wrong_type(key, found, "a number", err);
}

llm_status json_get_string(yyjson_val *object, const char *key, const char *fallback, const char **value, llm_error *err)
{
    yyjson_val *found = member(object, key);
    *value = found ? yyjson_get_str(found) : fallback;
    return !found || yyjson_is_str(found) ? LLM_OK : wrong_type(key, found, "a string", err);
}

llm_status json_get_object(yyjson_val *object, const char *key, yyjson_val **value, llm_error *err)
{
    *value = member(object, key);
    return !*value || yyjson_is_obj(*value) ? LLM_OK : wrong_type(key, *value, "an object", err);
}

llm_status json_get_array(yyjson_val *object, const char *key, yyjson_val **value, llm_error *err)
{
    *value = member(object, key);
    return !*value || yyjson_is_arr(*value) ? LLM_OK : wrong_type(key, *value, "an array", err);
}
