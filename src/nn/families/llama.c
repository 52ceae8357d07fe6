// Llama, and Mistral, which is the same model: pre-norms, gated SiLU, optional biases, windows only where
// layer_types asks for them.
#include "nn/families/family.h"
#include <string.h>

// The layer's window; layer_types absent: none.
static int read_window(family_builder *b, yyjson_val *layer_type, int window)
{
    const char *name = layer_type ? yyjson_get_str(layer_type) : "full_attention";
    if (name && strcmp(name, "full_attention") == 0) return 0;
    if (!name || strcmp(name, "sliding_attention") != 0)
        family_unsupported(b, "layer type \"%.60s\" is not supported", name ? name : "?");
    else if (window == 0)
        family_damaged(b, "\"sliding_window\" is missing, but layers slide");
    return window;
}

void family_llama(family_builder *b)
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
    int window = family_int(b, "sliding_window", 0, 1, 1 << 30);
    yyjson_val *layer_types = family_array(b, "layer_types", s.layers);
    family_check_silu(b);
    if (!family_begin(b, &s, 0)) return;
    int turning = family_add_rope(b, &rope);
    yyjson_arr_iter types = yyjson_arr_iter_with(layer_types);
    for (int i = 0; i < s.layers; i++) {
        block_desc *block = family_block(b, i);
        block->pre_attention = family_norm(b, "input_layernorm", s.hidden, s.norm_eps, 0);
        block->attention = family_attention(b, &s, turning, attention_bias, attention_bias);
        block->attention.window = read_window(b, yyjson_arr_iter_next(&types), window);
        block->pre_ffn = family_norm(b, "post_attention_layernorm", s.hidden, s.norm_eps, 0);
        block->ffn = family_ffn(b, &s, ACTIVATION_SILU, mlp_bias);
    }
    family_head(b, tied);
}

void family_mistral(family_builder *b)
{
    family_llama(b);
}
