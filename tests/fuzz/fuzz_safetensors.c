// Any bytes as a safetensors file: what opens has every tensor inside the file.
#include "formats/safetensors.h"
#include "memory_file.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[40];
    safetensors_file file;
    llm_error err;
    int fd = memory_file(data, size, path);
    if (fd < 0) return 0;
    if (safetensors_open(path, &file, &err) == LLM_OK) {
        unsigned sum = 0;
        for (size_t i = 0; i < file.num_tensors; i++) {
            const safetensors_tensor *t = &file.tensors[i];
            if (safetensors_find(&file, t->name) != t) abort();
            for (size_t k = 0; k < t->size; k++) sum += t->data[k];
        }
        safetensors_close(&file);
        __asm__ volatile("" : : "r"(sum)); // the reads must happen
    } else if (!err.message[0])
        abort();
    close(fd);
    return 0;
}
