// Inside the MLX engine: the loaded model, its sequences, and what its files share. Everything here but the table of
// mlx_engine.c runs on the worker thread.
#ifndef ENGINE_MLX_MLX_ENGINE_H
#define ENGINE_MLX_MLX_ENGINE_H
#include "engine/engine.h"
#include "engine/mlx/shim.h"
#include <stdatomic.h>

typedef struct mlx_engine {
    mx_device device;
    engine_precision precision;
    uint64_t cache_limit, memory_limit, wired_limit; // 0 for the last two: MLX's own
    int chunk_rows;                     // tokens that go through the layers together
    bool by_layer;                      // evaluate layer after layer, so that interrupts come through
    bool ahead;                         // compute the next token while the host chooses this one
} mlx_engine;

typedef struct mlx_linear {
    mx_array *weight, *scales, *biases; // scales and biases NULL: dense
    mx_array *bias;
    int bits, group_size;
    int number; // mlx_linear_number, by which adapters know it; 0: the embedding, which none changes
} mlx_linear;

typedef struct mlx_norm {
    norm_kind kind;
    int size;
    float eps;
    mx_array *weight, *bias; // the description's offset is added in
} mlx_norm;

typedef struct mlx_block {
    mlx_norm pre_attention, post_attention, pre_ffn, post_ffn, q_norm, k_norm;
    mlx_linear q, k, v, o, gate, up, down;
    dtype kv_type; // of its keys and values, as MLX's promotion of types gives it
} mlx_block;

typedef struct mlx_seq mlx_seq;

// A step that was begun before its token was known to be wanted: the one likeliest after `guess`.
typedef struct mlx_ahead {
    mlx_seq *seq;        // NULL: none
    int position;        // of the token it begins with
    mx_array *logits;    // [1, 1, vocab] of float32
    mx_array *choice;    // [1, 1]: its likeliest next token
} mlx_ahead;

typedef struct mlx_model {
    mlx_engine *engine;
    model_desc desc; // a deep copy; owned
    mlx_linear embedding, head; // head.weight NULL: tied
    mlx_block *blocks;
    mlx_norm final_norm;
    mx_array **rope_freqs; // [num_ropes]
    mx_scope *scope;       // of whatever is being computed
    mlx_ahead ahead;
    const mlx_seq *guessed_seq; // whose last logits had their maximum at `guess`, for position guessed_position
    int guessed_position, guess, hits; // hits: how many guesses in a row were taken
    uint64_t weights_bytes;
    _Atomic uint64_t adapter_bytes, kv_bytes, active_bytes, cache_bytes, peak_bytes; // figures for any thread
    atomic_bool interrupted;
} mlx_model;

// Keys and values of one layer: [1, kv_heads, capacity, head_dim], of positions from `first` on. What lies beyond the
// sequence's length is garbage.
typedef struct mlx_kv {
    mx_array *keys, *values; // NULL: none yet
    int first, capacity;
} mlx_kv;

typedef struct mlx_adapter mlx_adapter;

typedef struct mlx_adapter_use {
    mlx_adapter *adapter;
    float strength;
} mlx_adapter_use;

struct mlx_seq {
    mlx_model *model;
    int length;
    mlx_kv *layers; // [num_blocks]
    uint64_t bytes;
    mlx_adapter_use adapters[ENGINE_MAX_ADAPTERS];
    int num_adapters;
};

// Turns a scope's failure into an error, and clears the scope. `what` was being done.
llm_status mlx_error(mx_scope *s, const char *what, llm_error *err);
// Reads MLX's figures, and holds its cache to the limit.
void mlx_note_memory(mlx_model *model);
// LLM_INSUFFICIENT_MEMORY when `bytes` more for `what` would go beyond the memory limit, which MLX itself takes as advice.
llm_status mlx_check_limit(mx_scope *s, uint64_t bytes, const char *what, llm_error *err);

// ---- load.c
llm_status mlx_model_load(mlx_engine *engine, const model_desc *desc, const engine_weights *weights, engine_progress progress,
                          void *user, mlx_model **out, llm_error *err);
void mlx_model_free(mlx_model *model);

// ---- kv.c
llm_status mlx_seq_create(mlx_model *model, mlx_seq **out, llm_error *err);
void mlx_seq_free(mlx_seq *seq);
llm_status mlx_seq_trim(mlx_seq *seq, int length, llm_error *err);
llm_status mlx_seq_fork(mlx_seq *seq, mlx_seq **out, llm_error *err);
llm_status mlx_seq_save(mlx_seq *seq, engine_state_function sink, void *user, llm_error *err);
llm_status mlx_seq_restore(mlx_seq *seq, int length, engine_state_function source, void *user, llm_error *err);
// Room for `tokens` more in every layer. Windowed layers let go of what nothing will see again.
llm_status mlx_seq_reserve(mlx_seq *seq, int tokens, llm_error *err);
// After a failed evaluation: goes back to arrays that have been computed.
void mlx_seq_settle(mlx_seq *seq);

// ---- adapter.c
// Of a block's linear, in the order of block_desc_linears; of the head: block num_blocks, place 0.
int mlx_linear_number(int block, int place);
llm_status mlx_adapter_load(mlx_model *model, const adapter_layer *layers, int num_layers, mlx_adapter **out, llm_error *err);
void mlx_adapter_free(mlx_adapter *adapter);
void mlx_seq_set_adapters(mlx_seq *seq, mlx_adapter *const *adapters, const float *strengths, int count); // of an empty one

// ---- graph.c
// Rows of a chunk that belong to one sequence, at positions [position, position + rows).
typedef struct mlx_span {
    mlx_seq *seq;
    int row, rows, position;
    mx_array *masks[2]; // for layers without and with a window, made when first needed; kept
    int mask_windows[2];
} mlx_span;

// Rows next to each other whose sequences have the same adapters.
typedef struct mlx_run {
    const mlx_seq *seq; // one of them
    int row, rows;
} mlx_run;

// The graph of one chunk as far as it is built.
typedef struct mlx_graph {
    mlx_model *model;
    mx_scope *s;
    mlx_span *spans;
    int num_spans, num_rows;
    mx_array *hidden; // [1, num_rows, hidden_size]
    mx_array **parts; // [num_spans]: room for what is computed for each span or run
    mlx_run *runs;    // of the rows that linears are given
    int num_runs;
    bool adapted;     // any of them has adapters
} mlx_graph;

// Says whose rows the linears are given from now on: first none, then some more.
void graph_begin_rows(mlx_graph *g);
void graph_add_rows(mlx_graph *g, const mlx_seq *seq, int rows);

void graph_embed(mlx_graph *g, const mx_array *tokens); // [1, num_rows]
// One layer. The keys and values of each span's sequence go into next[span], kept.
void graph_layer(mlx_graph *g, int layer, mlx_kv *next);
mx_array *graph_head(mlx_graph *g, const mx_array *hidden); // logits [1, rows, vocab] of float32
// adapter.c: y = W x + bias, with what the adapters of each row's sequence add to it.
mx_array *graph_adapt(mlx_graph *g, const mlx_linear *l, mx_array *x, mx_array *y);

// ---- forward.c
llm_status mlx_forward(mlx_model *model, const engine_batch_item *items, mlx_seq *const *seqs, int num_items, float *logits,
                       llm_error *err);
void mlx_forget_ahead(mlx_model *model, const mlx_seq *seq); // of this sequence; NULL: of any
// Finds the types of keys and values, which only the graph knows; a model that cannot be computed fails here.
llm_status mlx_model_probe(mlx_model *model, llm_error *err);

#endif
