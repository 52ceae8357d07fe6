// Gemma 3, text: norms before and after each part, head norms, windowed layers with a rope of their own
// between global ones. Alone (gemma3_text) or as the language model of the multimodal wrapper (gemma3), whose
// other parts are not used.
#include "nn/families/family.h"
#include "base/half.h"
#include <math.h>
#include <string.h>

// Whether each layer slides: the pattern's every last layer is global; layer_types, where given, says it
// outright.
typedef struct gemma3_layers {
    int pattern;
    bool listed;
    yyjson_arr_iter types;
} gemma3_layers;

static bool next_slides(family_builder *b, gemma3_layers *layers, int i)
{
    if (!layers->listed) return (i + 1) % layers->pattern != 0;
    const char *name = yyjson_get_str(yyjson_arr_iter_next(&layers->types));
    if (name && strcmp(name, "sliding_attention") == 0) return true;
    if (!name || strcmp(name, "full_attention") != 0)
        family_unsupported(b, "layer type \"%.60s\" is not supported", name ? name : "?");
    return false;
}

// transformers 5 has one set of rope parameters for each kind of layer.
static family_rope read_rope(family_builder *b, const family_sizes *s, const char *kind, const char *base_key,
                             double base, yyjson_val *scaling)
{
    family_rope rope = {.dims = s->head_dim, .scaling = scaling, .max_positions = s->context};
    yyjson_val *values = b->values, *nested = yyjson_obj_get(yyjson_obj_get(values, "rope_parameters"), kind);
    if (nested && !family_has(b, base_key)) {
        b->values = rope.scaling = nested;
        base_key = "rope_theta";
    }
    rope.base = family_positive(b, base_key, base);
    b->values = values;
    return rope;
}

static attention_desc gemma3_attention(family_builder *b, const family_sizes *s, int rope, int window,
                                       double query_scalar)
{
    attention_desc attention = family_attention(b, s, rope, false, false);
    attention.q_norm = family_norm(b, "self_attn.q_norm", s->head_dim, s->norm_eps, 1);
    attention.k_norm = family_norm(b, "self_attn.k_norm", s->head_dim, s->norm_eps, 1);
    attention.scale = (float)(1 / sqrt(query_scalar));
    attention.window = window;
    return attention;
}

static void build_layers(family_builder *b, const family_sizes *s, gemma3_layers *layers, int window,
                         double query_scalar, int global_rope, int local_rope)
{
    for (int i = 0; i < s->layers; i++) {
        block_desc *block = family_block(b, i);
        bool slides = next_slides(b, layers, i);
        block->pre_attention = family_norm(b, "input_layernorm", s->hidden, s->norm_eps, 1);
        block->attention =
            gemma3_attention(b, s, slides ? local_rope : global_rope, slides ? window : 0, query_scalar);
        block->post_attention = family_norm(b, "post_attention_layernorm", s->hidden, s->norm_eps, 1);
        block->pre_ffn = family_norm(b, "pre_feedforward_layernorm", s->hidden, s->norm_eps, 1);
        block->ffn = family_ffn(b, s, ACTIVATION_GELU_TANH, false);
        block->post_ffn = family_norm(b, "post_feedforward_layernorm", s->hidden, s->norm_eps, 1);
    }
}

// The head is tied when the files have none, whatever the config says; without files, when the config says
// so.
static bool head_is_tied(family_builder *b)
{
    bool tied = family_bool(b, "tie_word_embeddings", true);
    if (!b->files) return tied;
    return !safetensors_model_find(b->files, b->root[0] ? "language_model.lm_head.weight" : "lm_head.weight");
}

static void build(family_builder *b, family_sizes defaults)
{
    family_sizes s = family_read_sizes(b, defaults);
    int window = family_int(b, "sliding_window", 512, 1, 1 << 30);
    gemma3_layers layers = {.pattern = family_int(b, "sliding_window_pattern", 6, 1, 1 << 20)};
    yyjson_val *layer_types = family_array(b, "layer_types", s.layers);
    layers.listed = layer_types != NULL;
    layers.types = yyjson_arr_iter_with(layer_types);
    yyjson_val *scaling = NULL;
    if (b->status == LLM_OK) b->status = json_get_object(b->values, "rope_scaling", &scaling, b->err);
    family_rope global = read_rope(b, &s, "full_attention", "rope_theta", 1000000, scaling);
    family_rope local = read_rope(b, &s, "sliding_attention", "rope_local_base_freq", 10000, NULL);
    double query_scalar = family_positive(b, "query_pre_attn_scalar", 256);
    family_check_gelu_tanh(b);
    if (!family_begin(b, &s, 1)) return;
    b->desc->embedding_scale =
        bf16_to_float(float_to_bf16((float)sqrt(s.hidden))); // as the model was trained
    int global_rope = family_add_rope(b, &global), local_rope = family_add_rope(b, &local);
    build_layers(b, &s, &layers, window, query_scalar, global_rope, local_rope);
    family_head(b, head_is_tied(b));
}

static const family_sizes gemma3_text_sizes = {.hidden = 1152,
                                               .layers = 26,
                                               .intermediate = 6912,
                                               .vocab = 262144,
                                               .heads = 4,
                                               .kv_heads = 1,
                                               .head_dim = 256,
                                               .context = 32768,
                                               .norm_eps = 1e-6};

void family_gemma3_text(family_builder *b)
{
    build(b, gemma3_text_sizes);
}

void family_gemma3(family_builder *b)
{
    family_sizes defaults = gemma3_text_sizes;
    defaults.heads = 8;
    defaults.kv_heads = 4;
    defaults.vocab = family_int(b, "vocab_size", 262208, 1, 1 << 22); // the wrapper's, never text_config's
    b->root = "language_model.";
    b->own_vocab = true;
    if (!family_has(b, "text_config")) family_damaged(b, "\"text_config\" is missing");
    if (b->status == LLM_OK) b->status = json_get_object(b->values, "text_config", &b->values, b->err);
    if (b->status == LLM_OK) build(b, defaults);
}
