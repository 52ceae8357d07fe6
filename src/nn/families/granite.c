// Granite 3 (dense): Llama with factors on embedding, scores, residuals and logits, all required.
#include "nn/families/family.h"
#include <math.h>

static bool required_bool(family_builder *b, const char *key)
{
    if (!family_has(b, key)) family_damaged(b, "\"%s\" is missing", key);
    return family_bool(b, key, false);
}

void family_granite(family_builder *b)
{
    family_sizes s = family_read_sizes(b, (family_sizes){.head_dim = SIZE_DERIVED, .norm_eps = -1});
    if (b->status == LLM_OK) s.head_dim = s.hidden / s.heads; // never from the config
    double attention_scale = family_positive(b, "attention_multiplier", NAN);
    double embedding_scale = family_positive(b, "embedding_multiplier", NAN);
    double residual_scale = family_number(b, "residual_multiplier", NAN);
    double logit_divisor = family_positive(b, "logits_scaling", NAN);
    bool attention_bias = required_bool(b, "attention_bias"), mlp_bias = required_bool(b, "mlp_bias");
    bool tied = family_bool(b, "tie_word_embeddings", true);
    family_rope rope = {.dims = s.head_dim,
                        .base = family_rope_base(b, NAN),
                        .scaling = family_rope_scaling(b),
                        .max_positions = s.context};
    family_check_silu(b);
    if (!family_begin(b, &s, 0)) return;
    b->desc->embedding_scale = (float)embedding_scale;
    b->desc->logit_scale = (float)(1 / logit_divisor);
    int turning = family_add_rope(b, &rope);
    for (int i = 0; i < s.layers; i++) {
        block_desc *block = family_block(b, i);
        block->pre_attention = family_norm(b, "input_layernorm", s.hidden, s.norm_eps, 0);
        block->attention = family_attention(b, &s, turning, attention_bias, attention_bias);
        block->attention.scale = (float)attention_scale;
        block->pre_ffn = family_norm(b, "post_attention_layernorm", s.hidden, s.norm_eps, 0);
        block->ffn = family_ffn(b, &s, ACTIVATION_SILU, mlp_bias);
        block->residual_scale = (float)residual_scale;
    }
    family_head(b, tied);
}
