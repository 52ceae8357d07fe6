// Values out of config.json, and the parts of a description that families share.
#include "nn/families/family.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

// model_desc_check has the exact limits; these keep sums and allocations small until it runs.
enum { LARGEST_SIZE = 1 << 20, LARGEST_VOCAB = 1 << 22, LARGEST_LAYERS = 1 << 10, LARGEST_CONTEXT = 1 << 30 };
enum { TENSORS_A_BLOCK = 20, ROPES = 4 };

static void fail(family_builder *b, llm_status code, const char *format, va_list args)
{
    if (b->status == LLM_OK) b->status = error_set_v(b->err, code, format, args);
}

void family_unsupported(family_builder *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(b, LLM_UNSUPPORTED_FORMAT, format, args);
    va_end(args);
}

void family_damaged(family_builder *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(b, LLM_LOAD_FAILED, format, args);
    va_end(args);
}

static void no_memory(family_builder *b)
{
    if (b->status == LLM_OK) b->status = error_no_memory(b->err, "a model description");
}

bool family_has(const family_builder *b, const char *key)
{
    yyjson_val *value = yyjson_obj_get(b->values, key);
    return value && !yyjson_is_null(value);
}

static void require_key(family_builder *b, const char *key)
{
    if (!family_has(b, key)) family_damaged(b, "\"%s\" is missing", key);
}

int family_int(family_builder *b, const char *key, int fallback, int smallest, int largest)
{
    int64_t value;
    if (b->status != LLM_OK) return fallback;
    b->status = json_get_int(b->values, key, fallback, &value, b->err);
    if (family_has(b, key) && (value < smallest || value > largest))
        family_damaged(b, "\"%s\" is %lld: it must be from %d to %d", key, (long long)value, smallest,
                       largest);
    return b->status == LLM_OK ? (int)value : fallback;
}

double family_number(family_builder *b, const char *key, double fallback)
{
    double value;
    if (b->status != LLM_OK) return fallback;
    if (isnan(fallback)) require_key(b, key);
    if (b->status == LLM_OK) b->status = json_get_double(b->values, key, fallback, &value, b->err);
    if (b->status != LLM_OK) return fallback;
    if (!(fabs(value) <= 1e30)) family_damaged(b, "\"%s\" is out of range", key);
    return value;
}

double family_positive(family_builder *b, const char *key, double fallback)
{
    double value = family_number(b, key, fallback);
    if (b->status == LLM_OK && !(value >= 1e-30)) family_damaged(b, "\"%s\" must be positive", key);
    return value;
}

bool family_bool(family_builder *b, const char *key, bool fallback)
{
    bool value = fallback;
    if (b->status == LLM_OK) b->status = json_get_bool(b->values, key, fallback, &value, b->err);
    return value;
}

yyjson_val *family_array(family_builder *b, const char *key, int length)
{
    yyjson_val *array = NULL;
    if (b->status != LLM_OK) return NULL;
    b->status = json_get_array(b->values, key, &array, b->err);
    if (b->status != LLM_OK || !array) return NULL;
    if (yyjson_arr_size(array) != (size_t)length)
        family_damaged(b, "\"%s\" has %zu items for %d layers", key, yyjson_arr_size(array), length);
    return b->status == LLM_OK ? array : NULL;
}

static int read_size(family_builder *b, const char *key, int fallback, int largest)
{
    if (fallback == SIZE_REQUIRED) require_key(b, key);
    return family_int(b, key, fallback, 1, largest);
}

family_sizes family_read_sizes(family_builder *b, family_sizes defaults)
{
    family_sizes s = defaults;
    s.hidden = read_size(b, "hidden_size", s.hidden, LARGEST_SIZE);
    s.layers = read_size(b, "num_hidden_layers", s.layers, LARGEST_LAYERS);
    s.intermediate = read_size(b, "intermediate_size", s.intermediate, LARGEST_SIZE);
    if (!b->own_vocab) s.vocab = read_size(b, "vocab_size", s.vocab, LARGEST_VOCAB);
    s.heads = read_size(b, "num_attention_heads", s.heads, LARGEST_SIZE);
    s.kv_heads = read_size(b, "num_key_value_heads", s.kv_heads, LARGEST_SIZE);
    s.head_dim = read_size(b, "head_dim", s.head_dim, LARGEST_SIZE);
    s.context = read_size(b, "max_position_embeddings", s.context, LARGEST_CONTEXT);
    s.norm_eps = family_number(b, "rms_norm_eps", s.norm_eps < 0 ? (double)NAN : s.norm_eps);
    if (b->status != LLM_OK) return s;
    if (s.kv_heads == SIZE_DERIVED) s.kv_heads = s.heads;
    if (s.head_dim == SIZE_DERIVED) s.head_dim = s.hidden / s.heads;
    if (s.head_dim < 1)
        family_damaged(b, "\"num_attention_heads\" is more than \"hidden_size\"");
    else if ((int64_t)s.heads * s.head_dim > LARGEST_SIZE || (int64_t)s.kv_heads * s.head_dim > LARGEST_SIZE)
        family_damaged(b, "%d attention heads of size %d are too many", s.heads, s.head_dim);
    return s;
}

void family_check_activation(family_builder *b, const char *const *names)
{
    const char *name = NULL;
    const char *key = family_has(b, "hidden_activation") ? "hidden_activation" : "hidden_act";
    if (b->status != LLM_OK) return;
    b->status = json_get_string(b->values, key, NULL, &name, b->err);
    if (b->status != LLM_OK || !name) return;
    for (; *names; names++)
        if (strcmp(name, *names) == 0) return;
    family_unsupported(b, "activation \"%.60s\" is not supported in this family", name);
}

void family_check_silu(family_builder *b)
{
    family_check_activation(b, (const char *const[]){"silu", "swish", NULL});
}

// Old Gemma configs say "gelu" and mean its tanh form.
void family_check_gelu_tanh(family_builder *b)
{
    family_check_activation(b, (const char *const[]){"gelu_pytorch_tanh", "gelu_new", "gelu", NULL});
}

static int add_tensor(family_builder *b, int rows, int cols, const char *name, const char *suffix)
{
    char text[200];
    model_desc *d = b->desc;
    if (b->status != LLM_OK) return NO_TENSOR;
    if (d->num_tensors == b->tensor_capacity) {
        b->status = error_set(b->err, LLM_INTERNAL_ERROR, "more tensors than a family may have");
        return NO_TENSOR;
    }
    int length = snprintf(text, sizeof text, "%s%s%s%s", b->root, b->scope, name, suffix);
    char *copy = arena_copy(&d->memory, text, (size_t)length);
    if (!copy) return no_memory(b), NO_TENSOR;
    d->tensors[d->num_tensors] = (tensor_desc){copy, rows, cols};
    return d->num_tensors++;
}

norm_desc family_norm(family_builder *b, const char *name, int size, double eps, float weight_offset)
{
    return (norm_desc){.kind = NORM_RMS,
                       .weight = add_tensor(b, 1, size, name, ".weight"),
                       .bias = NO_TENSOR,
                       .size = size,
                       .eps = (float)eps,
                       .weight_offset = weight_offset};
}

linear_desc family_linear(family_builder *b, const char *name, int rows, int cols, bool with_bias)
{
    linear_desc linear = {.rows = rows, .cols = cols, .bias = NO_TENSOR};
    linear.weight = add_tensor(b, rows, cols, name, ".weight");
    if (with_bias) linear.bias = add_tensor(b, 1, rows, name, ".bias");
    return linear;
}

linear_desc family_rows(linear_desc whole, int row_begin, int rows)
{
    whole.row_begin += row_begin;
    whole.rows = rows;
    return whole;
}

attention_desc family_attention_of(const family_sizes *s, int rope, linear_desc q, linear_desc k,
                                   linear_desc v, linear_desc o)
{
    static const norm_desc no_norm = {.weight = NO_TENSOR, .bias = NO_TENSOR};
    return (attention_desc){.q = q,
                            .k = k,
                            .v = v,
                            .o = o,
                            .q_norm = no_norm,
                            .k_norm = no_norm,
                            .num_heads = s->heads,
                            .num_kv_heads = s->kv_heads,
                            .head_dim = s->head_dim,
                            .scale = (float)(1 / sqrt(s->head_dim)),
                            .rope = rope};
}

attention_desc family_attention(family_builder *b, const family_sizes *s, int rope, bool qkv_bias,
                                bool o_bias)
{
    int q_size = s->heads * s->head_dim, kv_size = s->kv_heads * s->head_dim;
    linear_desc q = family_linear(b, "self_attn.q_proj", q_size, s->hidden, qkv_bias);
    linear_desc k = family_linear(b, "self_attn.k_proj", kv_size, s->hidden, qkv_bias);
    linear_desc v = family_linear(b, "self_attn.v_proj", kv_size, s->hidden, qkv_bias);
    return family_attention_of(s, rope, q, k, v,
                               family_linear(b, "self_attn.o_proj", s->hidden, q_size, o_bias));
}

ffn_desc family_ffn(family_builder *b, const family_sizes *s, activation_kind activation, bool with_bias)
{
    return (ffn_desc){
        .gate = family_linear(b, "mlp.gate_proj", s->intermediate, s->hidden, with_bias),
        .up = family_linear(b, "mlp.up_proj", s->intermediate, s->hidden, with_bias),
        .down = family_linear(b, "mlp.down_proj", s->hidden, s->intermediate, with_bias),
        .activation = activation,
        .size = s->intermediate,
    };
}

bool family_begin(family_builder *b, const family_sizes *s, float norm_offset)
{
    model_desc *d = b->desc;
    if (b->status != LLM_OK) return false;
    b->tensor_capacity = s->layers * TENSORS_A_BLOCK + 4;
    d->blocks = arena_alloc_array(&d->memory, (size_t)s->layers, sizeof *d->blocks);
    d->tensors = arena_alloc_array(&d->memory, (size_t)b->tensor_capacity, sizeof *d->tensors);
    d->ropes = arena_alloc_array(&d->memory, ROPES, sizeof *d->ropes);
    if (!d->blocks || !d->tensors || !d->ropes) return no_memory(b), false;
    d->vocab_size = s->vocab;
    d->hidden_size = s->hidden;
    d->num_blocks = s->layers;
    d->context_length = s->context;
    d->embedding_scale = d->logit_scale = 1;
    snprintf(b->scope, sizeof b->scope, "model.");
    d->embedding = add_tensor(b, s->vocab, s->hidden, "embed_tokens", ".weight");
    d->final_norm = family_norm(b, "norm", s->hidden, s->norm_eps, norm_offset);
    return b->status == LLM_OK;
}

block_desc *family_block(family_builder *b, int i)
{
    static const norm_desc no_norm = {.weight = NO_TENSOR, .bias = NO_TENSOR};
    block_desc *block = &b->desc->blocks[i];
    snprintf(b->scope, sizeof b->scope, "model.layers.%d.", i);
    *block = (block_desc){.pre_attention = no_norm,
                          .post_attention = no_norm,
                          .pre_ffn = no_norm,
                          .post_ffn = no_norm,
                          .residual_scale = 1};
    return block;
}

void family_head(family_builder *b, bool tied)
{
    model_desc *d = b->desc;
    b->scope[0] = 0;
    if (tied)
        d->head = (linear_desc){
            .weight = d->embedding, .bias = NO_TENSOR, .rows = d->vocab_size, .cols = d->hidden_size};
    else
        d->head = family_linear(b, "lm_head", d->vocab_size, d->hidden_size, false);
}
