// A description's deep copy, for engines: theirs outlives the loader's.
#include "engine/model_desc.h"
#include <string.h>

static void *duplicate(arena *memory, const void *source, size_t count, size_t size)
{
    void *copy = arena_alloc_array(memory, count, size);
    if (copy && count) memcpy(copy, source, count * size);
    return copy;
}

llm_status model_desc_copy(const model_desc *desc, model_desc *copy, llm_error *err)
{
    *copy = *desc;
    arena_init(&copy->memory);
    arena *memory = &copy->memory;
    copy->family = arena_copy(memory, desc->family, strlen(desc->family));
    copy->blocks = duplicate(memory, desc->blocks, (size_t)desc->num_blocks, sizeof *desc->blocks);
    copy->ropes = duplicate(memory, desc->ropes, (size_t)desc->num_ropes, sizeof *desc->ropes);
    copy->tensors = duplicate(memory, desc->tensors, (size_t)desc->num_tensors, sizeof *desc->tensors);
    bool complete = copy->family && copy->blocks && copy->ropes && copy->tensors;
    for (int i = 0; complete && i < desc->num_tensors; i++) {
        copy->tensors[i].name = arena_copy(memory, desc->tensors[i].name, strlen(desc->tensors[i].name));
        complete = copy->tensors[i].name != NULL;
    }
    for (int i = 0; complete && i < desc->num_ropes; i++) {
        copy->ropes[i].inv_freq = duplicate(memory, desc->ropes[i].inv_freq, (size_t)desc->ropes[i].dims / 2, sizeof(float));
        complete = copy->ropes[i].inv_freq != NULL;
    }
    if (complete) return LLM_OK;
    model_desc_free(copy);
    return error_no_memory(err, "a model description");
}
