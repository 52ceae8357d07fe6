// Qwen 3 (dense): pre-norms, a norm on each head's query and key, no biases.
#include "nn/families/family.h"
#include <math.h>

void family_qwen3(family_builder *b)
{
    family_sizes s = family_read_sizes(b, (family_sizes){.context = SIZE_REQUIRED, .norm_eps = -1});
    family_rope rope = {.dims = s.head_dim,
                        .base = family_rope_base(b, NAN),
                        .scaling = family_rope_scaling(b),
                        .max_positions = s.context};
    if (!family_has(b, "tie_word_embeddings")) family_damaged(b, "\"tie_word_embeddings\" is missing");
    bool tied = family_bool(b, "tie_word_embeddings", false);
    if (family_bool(b, "attention_bias", false))
        family_unsupported(b, "\"attention_bias\" is not supported in qwen3");
    family_check_silu(b);
    if (!family_begin(b, &s, 0)) return;
    int turning = family_add_rope(b, &rope);
    for (int i = 0; i < s.layers; i++) {
        block_desc *block = family_block(b, i);
        block->pre_attention = family_norm(b, "input_layernorm", s.hidden, s.norm_eps, 0);
        block->attention = family_attention(b, &s, turning, false, false);
        block->attention.q_norm = family_norm(b, "self_attn.q_norm", s.head_dim, s.norm_eps, 0);
        block->attention.k_norm = family_norm(b, "self_attn.k_norm", s.head_dim, s.norm_eps, 0);
        block->pre_ffn = family_norm(b, "post_attention_layernorm", s.hidden, s.norm_eps, 0);
        block->ffn = family_ffn(b, &s, ACTIVATION_SILU, false);
    }
    family_head(b, tied);
}
