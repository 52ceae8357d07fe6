// SmolLM3: Llama with no position embedding in every fourth layer, or in those that no_rope_layers marks with
// 0.
#include "nn/families/family.h"

void family_smollm3(family_builder *b)
{
    family_llama(b);
    int layers = b->desc->num_blocks;
    int interval = family_int(b, "no_rope_layer_interval", 4, 1, 1 << 30);
    yyjson_val *turns = family_array(b, "no_rope_layers", layers);
    if (b->status != LLM_OK) return;
    yyjson_arr_iter items = yyjson_arr_iter_with(turns);
    for (int i = 0; i < layers; i++) {
        yyjson_val *item = yyjson_arr_iter_next(&items);
        if (turns && !yyjson_is_int(item) && !yyjson_is_bool(item)) {
            family_damaged(b, "\"no_rope_layers\" must be a list of 0 and 1");
            return;
        }
        bool turn = turns ? yyjson_get_uint(item) != 0 || yyjson_is_true(item) : (i + 1) % interval != 0;
        if (!turn) b->desc->blocks[i].attention.rope = -1;
    }
}
