// Any bytes as a GGUF file: metadata of every kind is read, and the first row of every tensor dequantised.
#include "base/mem.h"
#include "formats/gguf.h"
#include "memory_file.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_value(const gguf_file *file, const gguf_value *value)
{
    char key[200];
    int64_t whole, *ints;
    double real;
    bool flag;
    float *floats;
    gguf_string text, *texts;
    size_t count;
    if (value->key.length >= sizeof key) return;
    memcpy(key, value->key.text, value->key.length);
    key[value->key.length] = 0;
    if (gguf_find(file, key) != value) abort();
    gguf_get_int(file, key, 0, &whole, NULL);
    gguf_get_double(file, key, 0, &real, NULL);
    gguf_get_bool(file, key, false, &flag, NULL);
    gguf_get_string(file, key, &text, NULL);
    gguf_get_ints(file, key, &ints, &count, NULL);
    gguf_get_floats(file, key, &floats, &count, NULL);
    gguf_get_strings(file, key, &texts, &count, NULL);
    for (size_t i = 0; texts && i < count; i++)
        if (texts[i].length && memchr(texts[i].text, 0xFF, texts[i].length) == texts)
            abort(); // reads all of it
    mem_free(ints);
    mem_free(floats);
    mem_free(texts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[40];
    gguf_file file;
    llm_error err;
    int fd = memory_file(data, size, path);
    if (fd < 0) return 0;
    if (gguf_open(path, &file, &err) == LLM_OK) {
        for (size_t i = 0; i < file.num_values; i++) read_value(&file, &file.values[i]);
        for (size_t i = 0; i < file.num_tensors; i++) {
            const gguf_tensor *t = &file.tensors[i];
            float *row = mem_alloc_zero(t->columns, sizeof *row);
            if (row) gguf_dequantize(t, t->rows - 1, 1, row);
            mem_free(row);
        }
        gguf_close(&file);
    } else if (!err.message[0])
        abort();
    close(fd);
    return 0;
}
