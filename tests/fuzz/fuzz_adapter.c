// Any bytes as an adapter: first a line for adapter_config.json, then the safetensors file. What opens is finite and lies
// inside the model.
#include "nn/adapter.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static model_files base;
static char folder[] = "/tmp/llmlocal-fuzz-XXXXXX";

static void write_file(const char *name, const uint8_t *data, size_t size)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) abort();
}

static void clean_up(void)
{
    static const char *const names[] = {"adapter_config.json", "adapters.safetensors", "adapter_model.safetensors"};
    char path[200];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    model_files_close(&base);
}

static void start(void)
{
    llm_error err;
    if (base.desc.num_tensors) return;
    atexit(clean_up);
    if (!mkdtemp(folder) || model_files_open(FUZZ_MODEL, &base, &err) != LLM_OK) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    if (!end) return 0;
    adapter a;
    llm_error err = {0};
    write_file("adapter_config.json", data, (size_t)(end - data));
    write_file("adapters.safetensors", end + 1, (size_t)(data + size - end - 1));
    write_file("adapter_model.safetensors", end + 1, (size_t)(data + size - end - 1));
    if (adapter_open(folder, &base, &a, &err) != LLM_OK) {
        if (!err.message[0]) abort();
        return 0;
    }
    float sum = 0;
    for (int i = 0; i < a.num_layers; i++) {
        const adapter_layer *layer = &a.layers[i];
        if (!model_desc_is_linear(&base.desc, layer->tensor)) abort();
        const tensor_desc *t = &base.desc.tensors[layer->tensor];
        float *row = calloc((size_t)t->cols, sizeof *row);
        for (int r = 0; row && r < t->rows; r++) {
            if (layer->gain && !isfinite(layer->gain[r])) abort();
            adapter_merge_row(layer, r, t->cols, row);
            sum += row[0];
        }
        free(row);
    }
    __asm__ volatile("" : : "r"(&sum) : "memory"); // the reads must happen
    adapter_close(&a);
    return 0;
}
