// Phi 3 and 4 mini: query, key and value in one matrix, gate and up in another; partial and long rope.
// The config's sliding_window is left out, as in mlx-lm.
#include "nn/families/family.h"

static family_rope read_rope(family_builder *b, const family_sizes *s)
{
    double turning_part = family_positive(b, "partial_rotary_factor", 1);
    if (turning_part > 1) family_damaged(b, "\"partial_rotary_factor\" is more than 1");
    return (family_rope){.dims = (int)(s->head_dim * (turning_part > 1 ? 1 : turning_part)),
                         .base = family_rope_base(b, 10000),
                         .traditional = family_bool(b, "rope_traditional", false),
                         .scaling = family_rope_scaling(b),
                         .max_positions = s->context,
                         .original_max_positions =
                             family_int(b, "original_max_position_embeddings", 4096, 2, 1 << 30)};
}

static attention_desc fused_attention(family_builder *b, const family_sizes *s, int rope)
{
    int q_size = s->heads * s->head_dim, kv_size = s->kv_heads * s->head_dim;
    linear_desc qkv = family_linear(b, "self_attn.qkv_proj", q_size + 2 * kv_size, s->hidden, false);
    return family_attention_of(s, rope, family_rows(qkv, 0, q_size), family_rows(qkv, q_size, kv_size),
                               family_rows(qkv, q_size + kv_size, kv_size),
                               family_linear(b, "self_attn.o_proj", s->hidden, q_size, false));
}

static ffn_desc fused_ffn(family_builder *b, const family_sizes *s)
{
    linear_desc gate_up = family_linear(b, "mlp.gate_up_proj", 2 * s->intermediate, s->hidden, false);
    return (ffn_desc){.gate = family_rows(gate_up, 0, s->intermediate),
                      .up = family_rows(gate_up, s->intermediate, s->intermediate),
                      .down = family_linear(b, "mlp.down_proj", s->hidden, s->intermediate, false),
                      .activation = ACTIVATION_SILU,
                      .size = s->intermediate};
}

void family_phi3(family_builder *b)
{
    family_sizes s = family_read_sizes(
        b, (family_sizes){
               .kv_heads = SIZE_DERIVED, .head_dim = SIZE_DERIVED, .context = 131072, .norm_eps = -1});
    if (b->status == LLM_OK) s.head_dim = s.hidden / s.heads; // never from the config
    family_rope rope = read_rope(b, &s);
    bool tied = family_bool(b, "tie_word_embeddings", false);
    family_check_silu(b);
    if (!family_begin(b, &s, 0)) return;
    int turning = family_add_rope(b, &rope);
    for (int i = 0; i < s.layers; i++) {
        block_desc *block = family_block(b, i);
        block->pre_attention = family_norm(b, "input_layernorm", s.hidden, s.norm_eps, 0);
        block->attention = fused_attention(b, &s, turning);
        block->pre_ffn = family_norm(b, "post_attention_layernorm", s.hidden, s.norm_eps, 0);
        block->ffn = fused_ffn(b, &s);
    }
    family_head(b, tied);
}
