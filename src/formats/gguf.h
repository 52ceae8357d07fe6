// GGUF, versions 2 and 3 (little-endian): metadata and tensors of a mapped file, and rows as float32.
#ifndef FORMATS_GGUF_H
#define FORMATS_GGUF_H
#include "base/error.h"
#include "base/file.h"
#include "base/strmap.h"

enum { GGUF_MAX_DIMS = 4 };

typedef enum gguf_value_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING, GGUF_ARRAY, GGUF_U64,
    GGUF_I64, GGUF_F64
} gguf_value_type;

// X(name, number in the file, values a block, bytes a block): the tensor types that can be read.
#define GGUF_TENSOR_TYPES(X) \
    X(F32, 0, 1, 4) X(F16, 1, 1, 2) X(Q4_0, 2, 32, 18) X(Q4_1, 3, 32, 20) X(Q5_0, 6, 32, 22) X(Q5_1, 7, 32, 24) \
    X(Q8_0, 8, 32, 34) X(Q4_K, 12, 256, 144) X(Q5_K, 13, 256, 176) X(Q6_K, 14, 256, 210) X(BF16, 30, 1, 2)

typedef enum gguf_tensor_type {
#define X(name, number, values, bytes) GGUF_TYPE_##name = number,
    GGUF_TENSOR_TYPES(X)
#undef X
} gguf_tensor_type;

const char *gguf_type_name(gguf_tensor_type type);  // "Q4_K"
size_t gguf_type_block(gguf_tensor_type type);      // values a block
size_t gguf_type_block_size(gguf_tensor_type type); // bytes a block

typedef struct gguf_string { // borrowed from the mapping, not NUL-terminated, not necessarily UTF-8
    const char *text;
    size_t length;
} gguf_string;

typedef struct gguf_value {
    gguf_string key;
    gguf_value_type type, element_type; // element_type: of an array
    uint64_t count;                     // elements of an array, else 1
    const uint8_t *data;                // the value's bytes in the file, not aligned
} gguf_value;

typedef struct gguf_tensor {
    const char *name; // NUL-terminated, lives as long as the file
    gguf_tensor_type type;
    int num_dims;
    size_t shape[GGUF_MAX_DIMS]; // outermost FIRST (the file has it reversed); 1 past num_dims
    size_t rows, columns;        // columns: the innermost dimension, rows: the product of the others
    size_t row_size;             // bytes
    const uint8_t *data;         // rows * row_size bytes, not necessarily aligned
} gguf_tensor;

typedef struct gguf_file {
    file_map map;
    uint32_t version;
    gguf_value *values;
    size_t num_values;
    gguf_tensor *tensors; // in the file's order
    size_t num_tensors;
    strmap values_by_key, tensors_by_name;
    char *names;
} gguf_file;

// Checks every field. A tensor type that is not in the list is LLM_UNSUPPORTED_FORMAT naming tensor and type.
llm_status gguf_open(const char *path, gguf_file *file, llm_error *err);
void gguf_close(gguf_file *file); // a zeroed file is fine
const gguf_value *gguf_find(const gguf_file *file, const char *key);          // NULL: none
const gguf_tensor *gguf_find_tensor(const gguf_file *file, const char *name); // NULL: none
void gguf_release(const gguf_file *file, const gguf_tensor *tensor);          // its pages no longer count as ours

// Typed access: an absent key gives the default; a value of another kind is LLM_LOAD_FAILED naming the key.
// Any integer type converts when the value fits; float from F32 and F64 (and integers). An absent string's
// text is NULL.
llm_status gguf_get_int(const gguf_file *file, const char *key, int64_t fallback, int64_t *value, llm_error *err);
llm_status gguf_get_double(const gguf_file *file, const char *key, double fallback, double *value, llm_error *err);
llm_status gguf_get_bool(const gguf_file *file, const char *key, bool fallback, bool *value, llm_error *err);
llm_status gguf_get_string(const gguf_file *file, const char *key, gguf_string *value, llm_error *err);

// Arrays, returned owned (mem_free) in *items; absent gives NULL and a count of 0. Numbers convert as above.
llm_status gguf_get_strings(const gguf_file *file, const char *key, gguf_string **items, size_t *count,
                            llm_error *err);
llm_status gguf_get_ints(const gguf_file *file, const char *key, int64_t **items, size_t *count,
                         llm_error *err);
llm_status gguf_get_floats(const gguf_file *file, const char *key, float **items, size_t *count,
                           llm_error *err);

// Rows [first, first + count) into [count, columns], as gguf-py dequantises them, bit for bit.
void gguf_dequantize(const gguf_tensor *tensor, size_t first, size_t count, float *values);

#endif
