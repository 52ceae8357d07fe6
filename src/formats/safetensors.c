// Reading safetensors: one mapped file, every field of its header checked, and a directory of such files.
#include "formats/safetensors.h"
#include "base/json.h"
#include "base/mem.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_LIMIT = 100000000, INDEX_LIMIT = 100000000, TENSOR_LIMIT = UINT32_MAX / 2 };

// Where a tensor's bytes are, while its header is read: offsets count from the end of the header.
typedef struct span {
    uint64_t begin, end;
} span;

static llm_status bad_tensor(const char *name, const char *what, llm_error *err)
{
    return error_set(err, LLM_LOAD_FAILED, "tensor %s: %s", name, what);
}

static llm_status read_shape(yyjson_val *array, safetensors_tensor *tensor, llm_error *err)
{
    if (!yyjson_is_arr(array)) return bad_tensor(tensor->name, "\"shape\" is not an array", err);
    if (yyjson_arr_size(array) > SAFETENSORS_MAX_DIMS)
        return bad_tensor(tensor->name, "more than 8 dimensions", err);
    for (int i = 0; i < SAFETENSORS_MAX_DIMS; i++) tensor->shape[i] = 1;
    tensor->num_dims = (int)yyjson_arr_size(array);
    tensor->size = dtype_size(tensor->type);
    for (int i = 0; i < tensor->num_dims; i++) {
        yyjson_val *dim = yyjson_arr_get(array, (size_t)i);
        if (!yyjson_is_uint(dim))
            return bad_tensor(tensor->name, "\"shape\" holds something that is no size", err);
        tensor->shape[i] = yyjson_get_uint(dim);
        if (!mem_multiply(tensor->size, tensor->shape[i], &tensor->size))
            return bad_tensor(tensor->name, "its shape is too large", err);
    }
    return LLM_OK;
}

static llm_status read_offsets(yyjson_val *array, const safetensors_tensor *tensor, span *where,
                               llm_error *err)
{
    yyjson_val *begin = yyjson_arr_get(array, 0), *end = yyjson_arr_get(array, 1);
    if (yyjson_arr_size(array) != 2 || !yyjson_is_uint(begin) || !yyjson_is_uint(end))
        return bad_tensor(tensor->name, "\"data_offsets\" is not a pair of offsets", err);
    *where = (span){yyjson_get_uint(begin), yyjson_get_uint(end)};
    if (where->end < where->begin || where->end - where->begin != tensor->size)
        return error_set(err, LLM_LOAD_FAILED,
                         "tensor %s: its offsets %llu to %llu do not fit its shape, %zu bytes", tensor->name,
                         (unsigned long long)where->begin, (unsigned long long)where->end, tensor->size);
    return LLM_OK;
}

static llm_status read_type(yyjson_val *value, safetensors_tensor *tensor, llm_error *err)
{
    if (!yyjson_is_str(value)) return bad_tensor(tensor->name, "\"dtype\" is not a string", err);
    if (dtype_from_name(yyjson_get_str(value), yyjson_get_len(value), &tensor->type)) return LLM_OK;
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "tensor %s: its type %.20s is not supported", tensor->name,
                     yyjson_get_str(value));
}

static llm_status read_tensor(yyjson_val *info, safetensors_tensor *tensor, span *where, llm_error *err)
{
    if (!yyjson_is_obj(info)) return bad_tensor(tensor->name, "its entry is not an object", err);
    yyjson_val *type = NULL, *shape = NULL, *offsets = NULL;
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(info, i, n, key, value)
    {
        yyjson_val **slot = yyjson_equals_str(key, "dtype")          ? &type
                            : yyjson_equals_str(key, "shape")        ? &shape
                            : yyjson_equals_str(key, "data_offsets") ? &offsets
                                                                     : NULL;
        if (slot && *slot)
            return error_set(err, LLM_LOAD_FAILED, "tensor %s: \"%s\" is there twice", tensor->name,
                             yyjson_get_str(key));
        if (slot) *slot = value;
    }
    llm_status status = read_type(type, tensor, err);
    if (status == LLM_OK) status = read_shape(shape, tensor, err);
    if (status == LLM_OK) status = read_offsets(offsets, tensor, where, err);
    return status;
}

static llm_status check_metadata(yyjson_val *metadata, llm_error *err)
{
    if (!yyjson_is_obj(metadata)) return error_set(err, LLM_LOAD_FAILED, "\"__metadata__\" is not an object");
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(metadata, i, n, key, value)
    {
        if (!yyjson_is_str(value))
            return error_set(err, LLM_LOAD_FAILED, "metadata \"%.60s\" is not a string", yyjson_get_str(key));
    }
    return LLM_OK;
}

// Room for all names in one block, and for the tensors. The metadata entry is counted, too: a little too
// much.
static llm_status allocate(safetensors_file *file, yyjson_val *header, span **spans, llm_error *err)
{
    size_t count = yyjson_obj_size(header), names = 1, i, n;
    if (count > TENSOR_LIMIT) return error_set(err, LLM_LOAD_FAILED, "too many tensors");
    yyjson_val *key, *value;
    yyjson_obj_foreach(header, i, n, key, value) names += yyjson_get_len(key) + 1;
    file->names = mem_alloc(names);
    file->tensors = mem_alloc_zero(count + 1, sizeof *file->tensors);
    *spans = mem_alloc_zero(count + 1, sizeof **spans);
    if (!file->names || !file->tensors || !*spans || !strmap_init(&file->by_name, count + 1))
        return error_no_memory(err, "a list of tensors");
    return LLM_OK;
}

static llm_status read_header(safetensors_file *file, yyjson_val *header, span *spans, llm_error *err)
{
    char *names = file->names;
    bool metadata_seen = false;
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(header, i, n, key, value)
    {
        const char *name = yyjson_get_str(key);
        size_t length = yyjson_get_len(key);
        if (strlen(name) != length) return error_set(err, LLM_LOAD_FAILED, "a tensor's name holds a NUL");
        if (yyjson_equals_str(key, "__metadata__")) {
            if (metadata_seen) return error_set(err, LLM_LOAD_FAILED, "\"__metadata__\" is there twice");
            metadata_seen = true;
            llm_status status = check_metadata(value, err);
            if (status != LLM_OK) return status;
            continue;
        }
        uint32_t other;
        if (strmap_get(&file->by_name, name, length, &other))
            return bad_tensor(name, "it is there twice", err);
        safetensors_tensor *tensor = &file->tensors[file->num_tensors];
        memcpy(names, name, length + 1);
        tensor->name = names;
        tensor->file = file;
        names += length + 1;
        llm_status status = read_tensor(value, tensor, &spans[file->num_tensors], err);
        if (status != LLM_OK) return status;
        if (!strmap_put(&file->by_name, tensor->name, length, (uint32_t)file->num_tensors))
            return error_no_memory(err, "a list of tensors");
        file->num_tensors++;
    }
    return LLM_OK;
}

static int by_data(const void *a, const void *b)
{
    const safetensors_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->size < y->size ? -1
                             : x->size > y->size; // an empty tensor before the one that begins where it lies
}

// Turns offsets into pointers and demands that the data are a gapless sequence that fills the file.
static llm_status place_tensors(safetensors_file *file, const span *spans, size_t data_offset, llm_error *err)
{
    size_t data_size = file->map.size - data_offset, expected = 0;
    for (size_t i = 0; i < file->num_tensors; i++) {
        if (spans[i].end > data_size)
            return bad_tensor(file->tensors[i].name, "its data is past the end of the file", err);
        file->tensors[i].data = file->map.data + data_offset + spans[i].begin;
    }
    if (file->num_tensors) qsort(file->tensors, file->num_tensors, sizeof *file->tensors, by_data);
    for (size_t i = 0; i < file->num_tensors; i++) {
        const safetensors_tensor *tensor = &file->tensors[i];
        size_t offset = (size_t)(tensor->data - file->map.data) - data_offset;
        if (offset < expected) return bad_tensor(tensor->name, "its data overlaps another tensor's", err);
        if (offset > expected) return bad_tensor(tensor->name, "there is a gap before its data", err);
        expected += tensor->size;
        strmap_put(&file->by_name, tensor->name, strlen(tensor->name),
                   (uint32_t)i); // there already, with room to spare: cannot fail
    }
    if (expected != data_size)
        return error_set(err, LLM_LOAD_FAILED, "%zu bytes follow the last tensor", data_size - expected);
    return LLM_OK;
}

static llm_status read_file(safetensors_file *file, llm_error *err)
{
    uint64_t length = 0;
    if (file->map.size < 8) return error_set(err, LLM_LOAD_FAILED, "too short to be safetensors");
    for (int i = 7; i >= 0; i--) length = length << 8 | file->map.data[i];
    if (length > HEADER_LIMIT)
        return error_set(err, LLM_LOAD_FAILED, "its header claims %llu bytes: not safetensors",
                         (unsigned long long)length);
    if (length > file->map.size - 8) return error_set(err, LLM_LOAD_FAILED, "its header is cut off");
    if (length == 0 || file->map.data[8] != '{')
        return error_set(err, LLM_LOAD_FAILED, "its header is no JSON object");
    yyjson_doc *doc;
    span *spans = NULL;
    llm_status status = json_read((const char *)file->map.data + 8, (size_t)length, "header", &doc, err);
    if (status != LLM_OK) return status;
    yyjson_val *header = yyjson_doc_get_root(doc);
    status = allocate(file, header, &spans, err);
    if (status == LLM_OK) status = read_header(file, header, spans, err);
    if (status == LLM_OK) status = place_tensors(file, spans, 8 + (size_t)length, err);
    mem_free(spans);
    json_free(doc);
    return status;
}

llm_status safetensors_open(const char *path, safetensors_file *file, llm_error *err)
{
    *file = (safetensors_file){0};
    llm_status status = file_map_open(path, &file->map, err);
    if (status != LLM_OK) return status;
    status = read_file(file, err);
    if (status != LLM_OK) {
        error_prefix(err, "%s", path);
        safetensors_close(file);
    }
    return status;
}

void safetensors_close(safetensors_file *file)
{
    strmap_free(&file->by_name);
    mem_free(file->tensors);
    mem_free(file->names);
    file_map_close(&file->map);
    *file = (safetensors_file){0};
}

const safetensors_tensor *safetensors_find(const safetensors_file *file, const char *name)
{
    uint32_t index;
    return strmap_get(&file->by_name, name, strlen(name), &index) ? &file->tensors[index] : NULL;
}

llm_status safetensors_metadata_copy(const safetensors_file *file, const char *key, char **text, llm_error *err)
{
    uint64_t length = 0;
    yyjson_doc *doc;
    *text = NULL;
    for (int i = 7; i >= 0; i--) length = length << 8 | file->map.data[i];
    llm_status status = json_read((const char *)file->map.data + 8, (size_t)length, "header", &doc, err);
    if (status != LLM_OK) return status;
    yyjson_val *value = yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(doc), "__metadata__"), key);
    if (value && strlen(yyjson_get_str(value)) != yyjson_get_len(value))
        status = error_set(err, LLM_LOAD_FAILED, "metadata \"%s\" holds a NUL", key);
    else if (value && !(*text = mem_copy_string(yyjson_get_str(value)))) status = error_no_memory(err, key);
    json_free(doc);
    return status;
}

void safetensors_release(const safetensors_tensor *tensor)
{
    file_map_release(&tensor->file->map, (size_t)(tensor->data - tensor->file->map.data), tensor->size);
}

// The directory.

static bool is_model_file(const char *name)
{
    static const char suffix[] = ".safetensors";
    size_t length = strlen(name);
    return strncmp(name, "model", 5) == 0 && length >= 5 + sizeof suffix - 1 &&
           strcmp(name + length - (sizeof suffix - 1), suffix) == 0;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// Names of a directory's model files, sorted; each and the list owned.
static llm_status list_model_files(const char *directory, char ***names, size_t *count, llm_error *err)
{
    size_t capacity = 0;
    *names = NULL;
    *count = 0;
    DIR *dir = opendir(directory);
    if (!dir) return error_set(err, LLM_IO_ERROR, "cannot open the folder %s", directory);
    llm_status status = LLM_OK;
    for (struct dirent *entry; status == LLM_OK && (entry = readdir(dir));) {
        if (!is_model_file(entry->d_name)) continue;
        char *copy = mem_copy_string(entry->d_name);
        if (!copy || !mem_grow((void **)names, &capacity, *count + 1, sizeof **names)) {
            mem_free(copy);
            status = error_no_memory(err, directory);
        } else {
            (*names)[(*count)++] = copy;
        }
    }
    closedir(dir);
    if (*count) qsort(*names, *count, sizeof **names, by_text);
    return status;
}

// Every shard in the index's weight_map must be one of the files: no slash can get in, nothing can be
// missing.
static llm_status check_index(const char *directory, char **names, size_t count, llm_error *err)
{
    char *path = path_join(directory, "model.safetensors.index.json");
    if (!path) return error_no_memory(err, directory);
    llm_status status = LLM_OK;
    yyjson_doc *doc = NULL;
    if (file_exists(path)) status = json_read_file(path, INDEX_LIMIT, &doc, err);
    yyjson_val *map = NULL, *key, *shard;
    if (doc) {
        status = json_get_object(yyjson_doc_get_root(doc), "weight_map", &map, err);
        if (status != LLM_OK) error_prefix(err, "%s", path);
    }
    size_t i, n;
    const char *last = NULL; // shards come in long runs
    yyjson_obj_foreach(map, i, n, key, shard)
    {
        const char *name = yyjson_get_str(shard);
        if (!name)
            status = error_set(err, LLM_LOAD_FAILED, "%s: the shard of %.100s is not a string", path,
                               yyjson_get_str(key));
        else if (last && strcmp(last, name) == 0)
            continue;
        else if (!count || !bsearch(&name, names, count, sizeof *names, by_text))
            status = error_set(err, LLM_LOAD_FAILED,
                               "%s names the shard %.100s, which is not in the folder as model*.safetensors",
                               path, name);
        if (status != LLM_OK) break;
        last = name;
    }
    json_free(doc);
    mem_free(path);
    return status;
}

// One list and one map over all files.
static llm_status join_files(safetensors_model *model, llm_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < model->num_files; i++) total += model->files[i].num_tensors;
    model->tensors = mem_alloc_zero(total + 1, sizeof *model->tensors);
    if (total > TENSOR_LIMIT || !model->tensors || !strmap_init(&model->by_name, total))
        return error_no_memory(err, "a list of tensors");
    for (size_t i = 0; i < model->num_files; i++) {
        for (size_t k = 0; k < model->files[i].num_tensors; k++) {
            const safetensors_tensor *tensor = &model->files[i].tensors[k];
            uint32_t other;
            if (strmap_get(&model->by_name, tensor->name, strlen(tensor->name), &other))
                return bad_tensor(tensor->name, "two files of the model have it", err);
            if (!strmap_put(&model->by_name, tensor->name, strlen(tensor->name),
                            (uint32_t)model->num_tensors))
                return error_no_memory(err, "a list of tensors");
            model->tensors[model->num_tensors++] = tensor;
            model->total_size += tensor->size;
        }
    }
    return LLM_OK;
}

static llm_status open_files(const char *directory, char **names, size_t count, safetensors_model *model,
                             llm_error *err)
{
    model->files = mem_alloc_zero(count, sizeof *model->files);
    if (!model->files) return error_no_memory(err, directory);
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(directory, names[i]);
        if (!path) return error_no_memory(err, directory);
        llm_status status = safetensors_open(path, &model->files[i], err);
        mem_free(path);
        if (status != LLM_OK) return status;
        model->num_files++;
    }
    return join_files(model, err);
}

llm_status safetensors_model_open(const char *directory, safetensors_model *model, llm_error *err)
{
    char **names;
    size_t count;
    *model = (safetensors_model){0};
    llm_status status = list_model_files(directory, &names, &count, err);
    if (status == LLM_OK) status = check_index(directory, names, count, err);
    if (status == LLM_OK && count == 0)
        status = error_set(err, LLM_LOAD_FAILED, "no model*.safetensors in %s", directory);
    if (status == LLM_OK) status = open_files(directory, names, count, model, err);
    for (size_t i = 0; i < count; i++) mem_free(names[i]);
    mem_free(names);
    if (status != LLM_OK) safetensors_model_close(model);
    return status;
}

void safetensors_model_close(safetensors_model *model)
{
    for (size_t i = 0; i < model->num_files; i++) safetensors_close(&model->files[i]);
    strmap_free(&model->by_name);
    mem_free(model->tensors);
    mem_free(model->files);
    *model = (safetensors_model){0};
}

const safetensors_tensor *safetensors_model_find(const safetensors_model *model, const char *name)
{
    uint32_t index;
    return strmap_get(&model->by_name, name, strlen(name), &index) ? model->tensors[index] : NULL;
}
