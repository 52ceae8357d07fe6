// Gemma 2: norms before and after each part, softcapped scores and logits, tied head. Every layer sees
// everything, as in mlx-lm, which leaves the config's sliding_window out.
#include "nn/families/family.h"
#include <math.h>

void family_gemma2(family_builder *b)
{
    family_sizes s = family_read_sizes(b, (family_sizes){.context = 8192, .norm_eps = -1});
    family_rope rope = {.dims = s.head_dim,
                        .base = family_rope_base(b, 10000),
                        .traditional = family_bool(b, "rope_traditional", false)};
    double score_softcap = family_positive(b, "attn_logit_softcapping", 50);
    double logit_softcap = family_positive(b, "final_logit_softcapping", 30);
    double query_scalar = family_positive(b, "query_pre_attn_scalar", 144);
    family_check_gelu_tanh(b);
    if (!family_begin(b, &s, 1)) return;
    b->desc->embedding_scale = (float)sqrt(s.hidden);
    b->desc->logit_softcap = (float)logit_softcap;
    int turning = family_add_rope(b, &rope);
    for (int i = 0; i < s.layers; i++) {
        block_desc *block = family_block(b, i);
        block->pre_attention = family_norm(b, "input_layernorm", s.hidden, s.norm_eps, 1);
        block->attention = family_attention(b, &s, turning, false, false);
        block->attention.scale = (float)(1 / sqrt(query_scalar));
        block->attention.score_softcap = (float)score_softcap;
        block->post_attention = family_norm(b, "post_attention_layernorm", s.hidden, s.norm_eps, 1);
        block->pre_ffn = family_norm(b, "pre_feedforward_layernorm", s.hidden, s.norm_eps, 1);
        block->ffn = family_ffn(b, &s, ACTIVATION_GELU_TANH, false);
        block->post_ffn = family_norm(b, "post_feedforward_layernorm", s.hidden, s.norm_eps, 1);
    }
    family_head(b, true);
}
