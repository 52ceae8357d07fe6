// Qwen 2 and 2.5: Llama's shape with biases on query, key and value. use_sliding_window is left out, as
// mlx-lm does.
#include "nn/families/family.h"

void family_qwen2(family_builder *b)
{
    family_sizes s =
        family_read_sizes(b, (family_sizes){.head_dim = SIZE_DERIVED, .context = 32768, .norm_eps = -1});
    if (b->status == LLM_OK) s.head_dim = s.hidden / s.heads; // never from the config
    family_rope rope = {.dims = s.head_dim,
                        .base = family_rope_base(b, 1000000),
                        .traditional = family_bool(b, "rope_traditional", false),
                        .scaling = family_rope_scaling(b),
                        .max_positions = s.context};
    bool tied = family_bool(b, "tie_word_embeddings", true);
    family_check_silu(b);
    if (!family_begin(b, &s, 0)) return;
    int turning = family_add_rope(b, &rope);
    for (int i = 0; i < s.layers; i++) {
        block_desc *block = family_block(b, i);
        block->pre_attention = family_norm(b, "input_layernorm", s.hidden, s.norm_eps, 0);
        block->attention = family_attention(b, &s, turning, true, false);
        block->pre_ffn = family_norm(b, "post_attention_layernorm", s.hidden, s.norm_eps, 0);
        block->ffn = family_ffn(b, &s, ACTIVATION_SILU, false);
    }
    family_head(b, tied);
}
