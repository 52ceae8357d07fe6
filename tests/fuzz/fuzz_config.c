// config.json (and, after a zero byte, generation_config.json) to a checked description.
#include "nn/description.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *generation = size ? memchr(data, 0, size) : NULL;
    size_t length = generation ? (size_t)(generation - text) : size;
    model_config config;
    model_desc desc;
    llm_error err;
    if (generation) generation++;
    size_t generation_length = generation ? size - length - 1 : 0;
    if (config_read(text, length, generation, generation_length, &config, &err) != LLM_OK) return 0;
    if (description_build(&config, NULL, &desc, &err) == LLM_OK) model_desc_free(&desc);
    config_close(&config);
    return 0;
}
