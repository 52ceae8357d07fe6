// OLMo 2: norms only after each part, query and key normalised over the whole projection before they turn.
#include "nn/families/family.h"

void family_olmo2(family_builder *b)
{
    family_sizes s = family_read_sizes(
        b,
        (family_sizes){.kv_heads = SIZE_DERIVED, .head_dim = SIZE_DERIVED, .context = 2048, .norm_eps = -1});
    family_rope rope = {.dims = s.head_dim,
                        .base = family_rope_base(b, 10000),
                        .traditional = family_bool(b, "rope_traditional", false),
                        .scaling = family_rope_scaling(b),
                        .max_positions = s.context};
    bool attention_bias = family_bool(b, "attention_bias", false),
         mlp_bias = family_bool(b, "mlp_bias", false);
    bool tied = family_bool(b, "tie_word_embeddings", true);
    family_check_silu(b);
    if (!family_begin(b, &s, 0)) return;
    int turning = family_add_rope(b, &rope);
    for (int i = 0; i < s.layers; i++) {
        block_desc *block = family_block(b, i);
        block->attention = family_attention(b, &s, turning, attention_bias, attention_bias);
        block->attention.q_norm = family_norm(b, "self_attn.q_norm", s.heads * s.head_dim, s.norm_eps, 0);
        block->attention.k_norm = family_norm(b, "self_attn.k_norm", s.kv_heads * s.head_dim, s.norm_eps, 0);
        block->post_attention = family_norm(b, "post_attention_layernorm", s.hidden, s.norm_eps, 0);
        block->ffn = family_ffn(b, &s, ACTIVATION_SILU, mlp_bias);
        block->post_ffn = family_norm(b, "post_feedforward_layernorm", s.hidden, s.norm_eps, 0);
    }
    family_head(b, tied);
}
