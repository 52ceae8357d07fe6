// Fingerprints: a 64-bit FNV-1a over what makes a model the one it is.
#include "backend/fingerprint.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

enum { SAMPLE_BYTES = 64, NUM_SAMPLES = 3, CONFIG_LIMIT = 64 << 20 };

static void add_bytes(uint64_t *hash, const void *bytes, size_t length)
{
    const uint8_t *data = bytes;
    for (size_t i = 0; i < length; i++) *hash = (*hash ^ data[i]) * UINT64_C(0x100000001b3);
}

static void add_number(uint64_t *hash, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(number >> (8 * i));
    add_bytes(hash, bytes, sizeof bytes);
}

static void add_text(uint64_t *hash, const char *text)
{
    add_bytes(hash, text ? text : "", text ? strlen(text) + 1 : 1);
}

// The beginning, the middle and the end.
static void add_samples(uint64_t *hash, const uint8_t *data, size_t size)
{
    size_t length = size < SAMPLE_BYTES ? size : SAMPLE_BYTES;
    for (size_t i = 0; i < NUM_SAMPLES; i++) add_bytes(hash, data + (size - length) / (NUM_SAMPLES - 1) * i, length);
}

static void add_tensor(uint64_t *hash, const safetensors_tensor *tensor)
{
    add_text(hash, tensor ? tensor->name : NULL);
    if (!tensor) return;
    add_text(hash, dtype_name(tensor->type));
    for (int i = 0; i < tensor->num_dims; i++) add_number(hash, tensor->shape[i]);
    add_samples(hash, tensor->data, tensor->size);
}

static llm_status add_config(uint64_t *hash, const char *directory, llm_error *err)
{
    char *path = path_join(directory, "config.json"), *text = NULL;
    size_t length = 0;
    llm_status status = path ? file_read(path, CONFIG_LIMIT, &text, &length, err) : error_no_memory(err, "a path");
    add_bytes(hash, text, length);
    mem_free(text);
    mem_free(path);
    return status;
}

// By the factor `a`, which is as it was stored: the others are computed from what was.
static void add_adapter(uint64_t *hash, const model_files *files, const adapter *a)
{
    add_number(hash, (uint64_t)a->num_layers);
    for (int i = 0; i < a->num_layers; i++) {
        const adapter_layer *layer = &a->layers[i];
        size_t cols = (size_t)files->desc.tensors[layer->tensor].cols;
        add_number(hash, (uint64_t)layer->tensor);
        add_number(hash, (uint64_t)layer->rank);
        add_samples(hash, (const uint8_t *)layer->a, (size_t)layer->rank * cols * sizeof *layer->a);
    }
}

llm_status model_fingerprint(const char *directory, const model_files *files, const adapter *own, char text[FINGERPRINT_SIZE],
                             llm_error *err)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    llm_status status = add_config(&hash, directory, err);
    for (int i = 0; i < files->weights.num_tensors; i++) {
        const weight_source *source = &files->weights.sources[i];
        add_tensor(&hash, source->weight);
        add_tensor(&hash, source->scales);
        add_tensor(&hash, source->biases);
        add_number(&hash, (uint64_t)files->weights.views[i].bits);
    }
    add_adapter(&hash, files, own);
    snprintf(text, FINGERPRINT_SIZE, "%016llx", (unsigned long long)hash);
    return status;
}
