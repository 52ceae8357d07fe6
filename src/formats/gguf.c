// Reading GGUF: header, metadata and tensor list of a mapped file, every length checked against what is left
// of it.
#include "formats/gguf.h"
#include "base/half.h"
#include "base/mem.h"
#include <string.h>

enum { KEY_LIMIT = 65535, NAME_LIMIT = 255, NESTING_LIMIT = 4, DEFAULT_ALIGNMENT = 32 };

// X(type number, name): types that exist but cannot be read; for messages only.
#define OTHER_TYPES(X) \
    X(9, "Q8_1") \
    X(10, "Q2_K") X(11, "Q3_K") X(15, "Q8_K") X(16, "IQ2_XXS") X(17, "IQ2_XS") X(18, "IQ3_XXS") \
        X(19, "IQ1_S") X(20, "IQ4_NL") X(21, "IQ3_S") X(22, "IQ2_S") X(23, "IQ4_XS") X(24, "I8") \
            X(25, "I16") X(26, "I32") X(27, "I64") X(28, "F64") X(29, "IQ1_M") X(34, "TQ1_0") X(35, "TQ2_0") \
                X(39, "MXFP4")

typedef struct type_info {
    uint32_t number;
    const char *name;
    size_t block, block_size; // values, bytes; 0: cannot be read
} type_info;

static const type_info tensor_types[] = {
#define X(name, number, values, bytes) {number, #name, values, bytes},
    GGUF_TENSOR_TYPES(X)
#undef X
#define X(number, name) {number, name, 0, 0},
        OTHER_TYPES(X)
#undef X
};

static const type_info *find_type(uint32_t number)
{
    for (size_t i = 0; i < sizeof tensor_types / sizeof *tensor_types; i++)
        if (tensor_types[i].number == number) return &tensor_types[i];
    return NULL;
}

const char *gguf_type_name(gguf_tensor_type type) { return find_type((uint32_t)type)->name; }
size_t gguf_type_block(gguf_tensor_type type) { return find_type((uint32_t)type)->block; }
size_t gguf_type_block_size(gguf_tensor_type type) { return find_type((uint32_t)type)->block_size; }

// Bytes of a metadata value with a fixed size; 0 for strings, arrays and unknown types.
static size_t value_size(uint32_t type)
{
    static const uint8_t sizes[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
        [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static uint64_t read_number(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}

// A place in the file. Reading past the end sets `cut` and gives zeros from then on.
typedef struct cursor {
    const uint8_t *at;
    size_t left;
    bool cut;
} cursor;

static const uint8_t *take(cursor *c, uint64_t size)
{
    if (c->cut || size > c->left) {
        c->cut = true;
        return NULL;
    }
    const uint8_t *bytes = c->at;
    c->at += size;
    c->left -= (size_t)size;
    return bytes;
}

static uint64_t take_number(cursor *c, size_t size)
{
    const uint8_t *bytes = take(c, size);
    return bytes ? read_number(bytes, size) : 0;
}

static gguf_string take_string(cursor *c)
{
    uint64_t length = take_number(c, 8);
    const uint8_t *text = take(c, length);
    return text ? (gguf_string){(const char *)text, (size_t)length} : (gguf_string){0};
}

// Steps over one value. False: a type that does not exist, or arrays nested too deep.
static bool skip_value(cursor *c, uint32_t type, int depth)
{
    size_t size = value_size(type);
    if (size) return take(c, size), true;
    if (type == GGUF_STRING) return take_string(c), true;
    if (type != GGUF_ARRAY || depth == NESTING_LIMIT) return false;
    uint32_t element = (uint32_t)take_number(c, 4);
    uint64_t count = take_number(c, 8);
    size = value_size(element);
    if (size) {
        if (count > c->left / size)
            c->cut = true;
        else
            take(c, count * size);
        return true;
    }
    // Every element takes at least 8 bytes of the file, so `cut` ends this loop soon enough.
    for (uint64_t i = 0; i < count && !c->cut; i++)
        if (!skip_value(c, element, depth + 1)) return false;
    return element == GGUF_STRING || element == GGUF_ARRAY;
}

static llm_status read_value(gguf_file *file, cursor *c, llm_error *err)
{
    gguf_value *value = &file->values[file->num_values];
    value->key = take_string(c);
    uint32_t type = (uint32_t)take_number(c, 4), other;
    if (c->cut) return error_set(err, LLM_LOAD_FAILED, "the metadata is cut off");
    int shown = value->key.length < 60 ? (int)value->key.length : 60;
    if (value->key.length == 0 || value->key.length > KEY_LIMIT ||
        memchr(value->key.text, 0, value->key.length))
        return error_set(err, LLM_LOAD_FAILED, "a metadata key is not valid");
    if (strmap_get(&file->values_by_key, value->key.text, value->key.length, &other))
        return error_set(err, LLM_LOAD_FAILED, "the metadata key %.*s is there twice", shown,
                         value->key.text);
    cursor start = *c;
    if (!skip_value(c, type, 0))
        return error_set(err, LLM_LOAD_FAILED, "metadata %.*s has an unknown type", shown, value->key.text);
    if (c->cut) return error_set(err, LLM_LOAD_FAILED, "metadata %.*s is cut off", shown, value->key.text);
    value->type = value->element_type = (gguf_value_type)type;
    value->count = 1;
    if (type == GGUF_ARRAY) {
        value->element_type = (gguf_value_type)take_number(&start, 4);
        value->count = take_number(&start, 8);
    }
    value->data = start.at;
    if (!strmap_put(&file->values_by_key, value->key.text, value->key.length, (uint32_t)file->num_values))
        return error_no_memory(err, "GGUF metadata");
    file->num_values++;
    return LLM_OK;
}

static llm_status read_dims(gguf_tensor *tensor, cursor *c, llm_error *err)
{
    uint32_t count = (uint32_t)take_number(c, 4);
    if (count > GGUF_MAX_DIMS)
        return error_set(err, LLM_LOAD_FAILED, "tensor %s: %u dimensions", tensor->name, count);
    tensor->num_dims = (int)count;
    tensor->rows = tensor->columns = 1;
    for (int i = 0; i < GGUF_MAX_DIMS; i++) tensor->shape[i] = 1;
    for (int i = 0; i < tensor->num_dims; i++) {
        size_t dim = take_number(c, 8);
        tensor->shape[tensor->num_dims - 1 - i] = dim;
        if (i == 0)
            tensor->columns = dim;
        else if (!mem_multiply(tensor->rows, dim, &tensor->rows))
            dim = 0;
        if (dim == 0 && !c->cut)
            return error_set(err, LLM_LOAD_FAILED, "tensor %s: its shape is not valid", tensor->name);
    }
    return LLM_OK;
}

static llm_status read_type(gguf_tensor *tensor, cursor *c, llm_error *err)
{
    uint32_t number = (uint32_t)take_number(c, 4);
    if (c->cut) return LLM_OK; // the caller says so
    const type_info *type = find_type(number);
    if (!type)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "tensor %s has the unknown type %u", tensor->name,
                         number);
    if (!type->block)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "tensor %s has the type %s, which is not supported",
                         tensor->name, type->name);
    tensor->type = (gguf_tensor_type)number;
    if (tensor->columns % type->block)
        return error_set(err, LLM_LOAD_FAILED, "tensor %s: rows of %zu values are no whole blocks of %s",
                         tensor->name, tensor->columns, type->name);
    if (!mem_multiply(tensor->columns / type->block, type->block_size, &tensor->row_size))
        return error_set(err, LLM_LOAD_FAILED, "tensor %s: its shape is not valid", tensor->name);
    return LLM_OK;
}

// Reads one tensor's entry; its name is copied to *names, which moves on. *offset counts from the data's
// start.
static llm_status read_tensor(gguf_file *file, cursor *c, char **names, uint64_t *offset, llm_error *err)
{
    gguf_tensor *tensor = &file->tensors[file->num_tensors];
    gguf_string name = take_string(c);
    uint32_t other;
    if (c->cut) return error_set(err, LLM_LOAD_FAILED, "the list of tensors is cut off");
    if (name.length == 0 || name.length > NAME_LIMIT || memchr(name.text, 0, name.length))
        return error_set(err, LLM_LOAD_FAILED, "the name of tensor %zu is not valid", file->num_tensors);
    tensor->name = memcpy(*names, name.text, name.length);
    (*names)[name.length] = 0;
    *names += name.length + 1;
    if (strmap_get(&file->tensors_by_name, tensor->name, name.length, &other))
        return error_set(err, LLM_LOAD_FAILED, "tensor %s is there twice", tensor->name);
    llm_status status = read_dims(tensor, c, err);
    if (status == LLM_OK) status = read_type(tensor, c, err);
    if (status != LLM_OK) return status;
    *offset = take_number(c, 8);
    if (c->cut) return error_set(err, LLM_LOAD_FAILED, "the list of tensors is cut off");
    if (!strmap_put(&file->tensors_by_name, tensor->name, name.length, (uint32_t)file->num_tensors))
        return error_no_memory(err, "a list of tensors");
    file->num_tensors++;
    return LLM_OK;
}

// Data follow each other in the list's order, each padded to the alignment (the last need not be).
static llm_status place_tensors(gguf_file *file, const uint64_t *offsets, size_t data_start, size_t alignment,
                                llm_error *err)
{
    if (!mem_add(data_start, alignment - 1, &data_start)) data_start = SIZE_MAX;
    data_start &= ~(alignment - 1);
    size_t data_size = data_start < file->map.size ? file->map.size - data_start : 0, expected = 0;
    for (size_t i = 0; i < file->num_tensors; i++) {
        gguf_tensor *tensor = &file->tensors[i];
        size_t size;
        if (offsets[i] != expected)
            return error_set(err, LLM_LOAD_FAILED, "tensor %s: its offset is wrong", tensor->name);
        if (!mem_multiply(tensor->rows, tensor->row_size, &size) || expected > data_size ||
            size > data_size - expected)
            return error_set(err, LLM_LOAD_FAILED, "tensor %s: its data is past the end of the file",
                             tensor->name);
        tensor->data = file->map.data + data_start + expected;
        expected =
            (expected + size + alignment - 1) & ~(alignment - 1); // at most twice a mapped size: no overflow
    }
    return LLM_OK;
}

static llm_status read_alignment(gguf_file *file, size_t *alignment, llm_error *err)
{
    int64_t value;
    llm_status status = gguf_get_int(file, "general.alignment", DEFAULT_ALIGNMENT, &value, err);
    if (status != LLM_OK) return status;
    if (value <= 0 || value > 1 << 20 || (value & (value - 1)))
        return error_set(err, LLM_LOAD_FAILED, "general.alignment is not valid");
    *alignment = (size_t)value;
    return LLM_OK;
}

static llm_status read_head(gguf_file *file, cursor *c, uint64_t *num_tensors, uint64_t *num_values,
                            llm_error *err)
{
    const uint8_t *magic = take(c, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0) return error_set(err, LLM_LOAD_FAILED, "not a GGUF file");
    file->version = (uint32_t)take_number(c, 4);
    *num_tensors = take_number(c, 8);
    *num_values = take_number(c, 8);
    if (c->cut) return error_set(err, LLM_LOAD_FAILED, "the header is cut off");
    if (file->version && !(file->version & 0xFFFF))
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "big-endian GGUF is not supported");
    if (file->version != 2 && file->version != 3)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "GGUF version %u is not supported", file->version);
    // The smallest value takes 8 + 1 + 4 + 1 bytes, the smallest tensor entry 8 + 1 + 4 + 4 + 8.
    if (*num_values > c->left / 14 || *num_tensors > c->left / 25)
        return error_set(err, LLM_LOAD_FAILED, "the file is too short for what its header promises");
    if (*num_values > UINT32_MAX || *num_tensors > UINT32_MAX)
        return error_set(err, LLM_LOAD_FAILED, "too many entries");
    return LLM_OK;
}

static llm_status read_file(gguf_file *file, llm_error *err)
{
    cursor c = {file->map.data, file->map.size, false};
    uint64_t num_tensors = 0, num_values = 0, *offsets = NULL;
    llm_status status = read_head(file, &c, &num_tensors, &num_values, err);
    if (status != LLM_OK) return status;
    file->values = mem_alloc_zero(num_values, sizeof *file->values);
    if (!file->values || !strmap_init(&file->values_by_key, num_values))
        return error_no_memory(err, "GGUF metadata");
    while (status == LLM_OK && file->num_values < num_values) status = read_value(file, &c, err);
    if (status != LLM_OK) return status;

    size_t alignment = 0,
           names_size = c.left < num_tensors * (NAME_LIMIT + 1) ? c.left : num_tensors * (NAME_LIMIT + 1);
    status = read_alignment(file, &alignment, err);
    if (status != LLM_OK) return status;
    file->names = mem_alloc(names_size);
    file->tensors = mem_alloc_zero(num_tensors, sizeof *file->tensors);
    offsets = mem_alloc_zero(num_tensors, sizeof *offsets);
    if (!file->names || !file->tensors || !offsets || !strmap_init(&file->tensors_by_name, num_tensors))
        status = error_no_memory(err, "a list of tensors");
    for (char *names = file->names; status == LLM_OK && file->num_tensors < num_tensors;)
        status = read_tensor(file, &c, &names, &offsets[file->num_tensors], err);
    if (status == LLM_OK)
        status = place_tensors(file, offsets, (size_t)(c.at - file->map.data), alignment, err);
    mem_free(offsets);
    return status;
}

llm_status gguf_open(const char *path, gguf_file *file, llm_error *err)
{
    *file = (gguf_file){0};
    llm_status status = file_map_open(path, &file->map, err);
    if (status != LLM_OK) return status;
    status = read_file(file, err);
    if (status != LLM_OK) {
        error_prefix(err, "%s", path);
        gguf_close(file);
    }
    return status;
}

void gguf_close(gguf_file *file)
{
    strmap_free(&file->values_by_key);
    strmap_free(&file->tensors_by_name);
    mem_free(file->values);
    mem_free(file->tensors);
    mem_free(file->names);
    file_map_close(&file->map);
    *file = (gguf_file){0};
}

const gguf_value *gguf_find(const gguf_file *file, const char *key)
{
    uint32_t index;
    return strmap_get(&file->values_by_key, key, strlen(key), &index) ? &file->values[index] : NULL;
}

const gguf_tensor *gguf_find_tensor(const gguf_file *file, const char *name)
{
    uint32_t index;
    return strmap_get(&file->tensors_by_name, name, strlen(name), &index) ? &file->tensors[index] : NULL;
}

void gguf_release(const gguf_file *file, const gguf_tensor *tensor)
{
    file_map_release(&file->map, (size_t)(tensor->data - file->map.data), tensor->rows * tensor->row_size);
}

// Typed access.

static bool to_int(gguf_value_type type, const uint8_t *data, int64_t *value)
{
    uint64_t bits = read_number(data, value_size(type));
    switch (type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_BOOL: *value = (int64_t)bits; return true;
    case GGUF_U64: *value = (int64_t)bits; return bits <= INT64_MAX;
    case GGUF_I8: *value = (int8_t)bits; return true;
    case GGUF_I16: *value = (int16_t)bits; return true;
    case GGUF_I32: *value = (int32_t)bits; return true;
    case GGUF_I64: *value = (int64_t)bits; return true;
    default: return false;
    }
}

static bool to_double(gguf_value_type type, const uint8_t *data, double *value)
{
    int64_t whole;
    if (type == GGUF_F32)
        *value = (double)bits_to_float((uint32_t)read_number(data, 4));
    else if (type == GGUF_F64)
        memcpy(value, data, 8);
    else if (type != GGUF_BOOL && to_int(type, data, &whole))
        *value = (double)whole;
    else
        return false;
    return true;
}

static llm_status wrong_type(const char *key, const char *wanted, llm_error *err)
{
    return error_set(err, LLM_LOAD_FAILED, "GGUF metadata %s is not %s", key, wanted);
}

llm_status gguf_get_int(const gguf_file *file, const char *key, int64_t fallback, int64_t *value,
                        llm_error *err)
{
    const gguf_value *found = gguf_find(file, key);
    *value = fallback;
    if (!found || (found->type != GGUF_BOOL && to_int(found->type, found->data, value))) return LLM_OK;
    *value = fallback;
    return wrong_type(key, "a whole number", err);
}

llm_status gguf_get_double(const gguf_file *file, const char *key, double fallback, double *value,
                           llm_error *err)
{
    const gguf_value *found = gguf_find(file, key);
    *value = fallback;
    return !found || to_double(found->type, found->data, value) ? LLM_OK : wrong_type(key, "a number", err);
}

llm_status gguf_get_bool(const gguf_file *file, const char *key, bool fallback, bool *value, llm_error *err)
{
    const gguf_value *found = gguf_find(file, key);
    *value = found && found->type == GGUF_BOOL ? found->data[0] != 0 : fallback;
    return !found || found->type == GGUF_BOOL ? LLM_OK : wrong_type(key, "true or false", err);
}

llm_status gguf_get_string(const gguf_file *file, const char *key, gguf_string *value, llm_error *err)
{
    const gguf_value *found = gguf_find(file, key);
    *value = (gguf_string){0};
    if (!found) return LLM_OK;
    if (found->type != GGUF_STRING) return wrong_type(key, "a string", err);
    *value = (gguf_string){(const char *)found->data + 8, (size_t)read_number(found->data, 8)};
    return LLM_OK;
}

// The array under `key` and room for its elements; *items stays NULL when it is absent.
static llm_status begin_array(const gguf_file *file, const char *key, size_t item_size,
                              const gguf_value **array, void **items, size_t *count, llm_error *err)
{
    *items = NULL;
    *count = 0;
    *array = gguf_find(file, key);
    if (!*array) return LLM_OK;
    if ((*array)->type != GGUF_ARRAY) return wrong_type(key, "an array", err);
    *items = mem_alloc_zero((*array)->count, item_size);
    if (!*items) return error_no_memory(err, key);
    *count = (size_t)(*array)->count;
    return LLM_OK;
}

static llm_status end_array(const char *key, const char *wanted, void **items, size_t *count, llm_error *err)
{
    mem_free(*items);
    *items = NULL;
    *count = 0;
    return wrong_type(key, wanted, err);
}

llm_status gguf_get_strings(const gguf_file *file, const char *key, gguf_string **items, size_t *count,
                            llm_error *err)
{
    const gguf_value *array;
    llm_status status = begin_array(file, key, sizeof **items, &array, (void **)items, count, err);
    if (status != LLM_OK || !array) return status;
    if (array->element_type != GGUF_STRING)
        return end_array(key, "an array of strings", (void **)items, count, err);
    cursor c = {array->data, file->map.size - (size_t)(array->data - file->map.data), false};
    for (size_t i = 0; i < *count; i++) (*items)[i] = take_string(&c);
    return LLM_OK;
}

llm_status gguf_get_ints(const gguf_file *file, const char *key, int64_t **items, size_t *count,
                         llm_error *err)
{
    const gguf_value *array;
    llm_status status = begin_array(file, key, sizeof **items, &array, (void **)items, count, err);
    if (status != LLM_OK || !array) return status;
    size_t size = value_size(array->element_type);
    for (size_t i = 0; i < *count; i++)
        if (!to_int(array->element_type, array->data + i * size, &(*items)[i]))
            return end_array(key, "an array of whole numbers", (void **)items, count, err);
    return LLM_OK;
}

llm_status gguf_get_floats(const gguf_file *file, const char *key, float **items, size_t *count,
                           llm_error *err)
{
    const gguf_value *array;
    llm_status status = begin_array(file, key, sizeof **items, &array, (void **)items, count, err);
    if (status != LLM_OK || !array) return status;
    size_t size = value_size(array->element_type);
    for (size_t i = 0; i < *count; i++) {
        double value;
        if (!to_double(array->element_type, array->data + i * size, &value))
            return end_array(key, "an array of numbers", (void **)items, count, err);
        (*items)[i] = (float)value;
    }
    return LLM_OK;
}
