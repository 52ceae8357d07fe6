// A model's architecture as data. nn/families fills it once from config.json; every engine executes the same
// description. It holds no weights: a tensor is an index into `tensors`, and engine.h's weights give the bytes
// under the same index.
//
// One block computes, with h [tokens, hidden] the residual stream and every optional part left out:
//   a = attention(norm(h, pre_attention));   h += residual_scale * norm(a, post_attention)
//   f = ffn(norm(h, pre_ffn));               h += residual_scale * norm(f, post_ffn)
#ifndef ENGINE_MODEL_DESC_H
#define ENGINE_MODEL_DESC_H
#include "base/arena.h"
#include "base/error.h"

enum { NO_TENSOR = -1 };

// A tensor that the model needs, by its whole name in the files. Quantised or not is the files'
// business: weights say so.
typedef struct tensor_desc {
    const char *name;   // "model.layers.0.self_attn.q_proj.weight"
    int rows, cols;     // a vector has rows = 1
} tensor_desc;

// y[rows] = W x + b, where W is rows [row_begin, row_begin + rows) of a tensor: fused projections (phi3's
// qkv_proj) are several linears over one tensor.
typedef struct linear_desc {
    int weight;         // index into tensors, NO_TENSOR: this linear does not exist
    int bias;           // likewise; a vector of all rows of the tensor
    int row_begin, rows, cols;
} linear_desc;

typedef enum norm_kind { NORM_NONE, NORM_RMS, NORM_LAYER } norm_kind;

// NORM_RMS: y = x / sqrt(mean(x^2) + eps) * (weight + weight_offset)
typedef struct norm_desc {
    norm_kind kind;
    int weight, bias;    // indices into tensors, NO_TENSOR: none
    int size;            // elements that are normalised together
    float eps;
    float weight_offset; // 1 for the Gemma family, which stores weight - 1
} norm_desc;

// Rotary position embedding as frequencies: every scaling kind (linear, llama3, yarn, longrope) is already in
// them. Element i of a head turns by position * inv_freq[i].
typedef struct rope_desc {
    int dims;              // leading elements of each head that turn; even
    bool traditional;      // pairs (2i, 2i+1) instead of (i, i + dims/2)
    const float *inv_freq; // [dims / 2], 1 / (frequency base ^ (2i / dims)) after scaling
    float scale;           // the turned elements are multiplied by this (longrope, yarn); else 1
    float base;            // where inv_freq[i] is position_scale / base^(2i / dims), for an engine that computes it
    float position_scale;  // in its own way; base 0: inv_freq is no such series
} rope_desc;

typedef struct attention_desc {
    linear_desc q, k, v, o;   // q: [num_heads * head_dim], k and v: [num_kv_heads * head_dim], o: [hidden]
    norm_desc q_norm, k_norm; // of size head_dim (each head) or of the whole projection (olmo2); NORM_NONE: none
    int num_heads, num_kv_heads, head_dim;
    float scale;              // the scores' factor, usually 1 / sqrt(head_dim)
    float score_softcap;      // s = cap * tanh(s / cap) before the mask; 0: none
    int window;               // sees this many latest positions, its own included; 0: all
    int rope;                 // index into ropes; -1: no position embedding
} attention_desc;

typedef enum activation_kind { ACTIVATION_SILU, ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_RELU2 } activation_kind;

// gated: down(activation(gate(x)) * up(x)); not gated (gate absent): down(activation(up(x)))
typedef struct ffn_desc {
    linear_desc gate, up, down;
    activation_kind activation;
    int size; // the intermediate size
} ffn_desc;

typedef struct block_desc {
    norm_desc pre_attention, post_attention, pre_ffn, post_ffn;
    attention_desc attention;
    ffn_desc ffn;
    float residual_scale; // 1 but for Granite
} block_desc;

typedef struct model_desc {
    const char *family;       // model_type of config.json
    int vocab_size, hidden_size, num_blocks, context_length;
    int embedding;            // tensor [vocab_size, hidden_size]
    float embedding_scale;    // h = embedding[token] * embedding_scale
    block_desc *blocks;
    norm_desc final_norm;
    linear_desc head;         // may name the embedding tensor (tied)
    float logit_scale;        // logits are multiplied by this (Granite: 1 / logits_scaling), then softcapped
    float logit_softcap;      // 0: none
    rope_desc *ropes;
    int num_ropes;
    tensor_desc *tensors;
    int num_tensors;
    arena memory;             // owns everything the pointers above reach
} model_desc;

void model_desc_free(model_desc *desc); // frees what it owns, not the struct itself
llm_status model_desc_copy(const model_desc *desc, model_desc *copy, llm_error *err); // deep

// Checks that every index and size in a description fits the others, so that engines need not: dimensions are
// positive and bounded, heads divide, linears lie inside their tensors. LLM_UNSUPPORTED_FORMAT names what does not fit.
llm_status model_desc_check(const model_desc *desc, llm_error *err);

// A block's linears in the order in which they are used: q, k, v, o, gate, up, down. Borrowed; one that the block does
// not have has no weight.
enum { BLOCK_LINEARS = 7 };
void block_desc_linears(const block_desc *block, const linear_desc *linears[BLOCK_LINEARS]);

// Whether the output head is the whole embedding.
bool model_desc_is_tied(const model_desc *desc);

// Whether linears read this tensor, and no embedding does: what adapters may change. `tensor` may be any number.
bool model_desc_is_linear(const model_desc *desc, int tensor);

#endif
