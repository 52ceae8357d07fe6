// Inside the CPU engine: the loaded model, the buffers of a forward pass, and what its files share.
#ifndef ENGINE_CPU_CPU_ENGINE_H
#define ENGINE_CPU_CPU_ENGINE_H
#include "engine/cpu/kernels/kernels.h"
#include "engine/cpu/kv.h"
#include "engine/cpu/pool.h"
#include "engine/engine.h"

extern const engine_methods cpu_engine_methods;

// Tokens that go through the layers together: more amortise the unpacking of weights, fewer fit the caches.
enum { MAX_CHUNK_ROWS = 256 };
// Rows whose logits are computed together when they need a buffer of their own.
enum { LOGIT_ROWS = 16 };
// So few rows are done sooner than a second thread has come.
enum { FEW_ROWS = 2 };

typedef struct cpu_engine {
    const kernels *kernels;
    thread_pool *pool;
    engine_precision precision;
    dtype kv_type;          // DTYPE_F32, or integers with scales: I16 or I8
    char device[128];
} cpu_engine;

typedef struct cpu_linear {
    packed_matrix matrix;
    float *bias; // [rows] or NULL
} cpu_linear;

typedef struct cpu_norm {
    norm_kind kind;
    int size;
    float eps;
    float *weight; // the description's offset is added in; NULL: ones
    float *bias;
} cpu_norm;

typedef struct cpu_block {
    cpu_norm pre_attention, post_attention, pre_ffn, post_ffn, q_norm, k_norm;
    cpu_linear q, k, v, o, gate, up, down;
} cpu_block;

// Activations that linears read: float32, and as integers for each group size that some weight wants.
typedef struct activations {
    float *values;          // [rows][stride]
    size_t stride;
    quantized_rows by_32, by_64, by_128; // `hi` NULL: no weight of this model has such groups
} activations;

// What a thread makes for itself in a chunk of few rows: product.c.
typedef struct own_rows {
    _Alignas(64) unsigned step; // of work.step: the last one that the thread has made the input for
    float *hidden[2];       // [FEW_ROWS][hidden]: the residual stream after step s in s % 2
    float *result;
    activations input;
} own_rows;

typedef struct attention_unit attention_unit; // attention.c

// Buffers for MAX_CHUNK_ROWS rows. Row strides are multiples of 16 floats.
typedef struct work_buffers {
    float *hidden;          // [rows][hidden]: the residual stream
    float *result;          // [rows][hidden]: what a block adds to it
    float *q, *k, *v;       // [rows][heads * head_dim]
    float *gate, *up;       // [rows][ffn size]
    activations input;      // [rows][widest input of a linear]
    own_rows *own;          // [num_own]: for each thread
    size_t num_own;
    unsigned step;          // counts the inputs that threads have made for themselves
    size_t hidden_stride, q_stride, kv_stride, ffn_stride;
    float *cosine, *sine;   // [ropes][rows][max rope dims / 2]
    size_t rope_stride;     // floats of one row
    float *logits;          // [LOGIT_ROWS][padded vocabulary], when the vocabulary is no multiple of a tile
    uint8_t *attention;     // [threads][attention_bytes]
    size_t attention_bytes; // attention_scratch_bytes
    float *partial;         // scores and results of attention segments: see attention.c
    size_t partial_capacity; // floats
    attention_unit *units;  // of a layer, as many as a pass has needed
    size_t units_capacity;
    size_t bytes;           // of all of these
} work_buffers;

typedef struct cpu_model {
    cpu_engine *engine;
    model_desc desc;        // a deep copy of what the forward pass reads; owned
    kv_layout kv;
    uint8_t *weights;       // the data of every matrix, one after another
    packed_matrix embedding;
    cpu_block *blocks;
    cpu_norm final_norm;
    cpu_linear head;        // matrix.data is NULL when tied: the embedding serves
    work_buffers work;
    uint64_t weights_bytes;
    _Atomic uint64_t kv_bytes;
    float *inner;           // [MAX_CHUNK_ROWS][inner_stride]: what lora.c computes in between; NULL: no sequence has had adapters
    size_t inner_stride;
    _Atomic uint64_t adapter_bytes;
    _Atomic uint64_t partial_bytes; // of work.partial, for figures asked for during a forward pass
    atomic_bool interrupted;
} cpu_model;

typedef struct cpu_adapter cpu_adapter;

typedef struct cpu_adapter_use {
    cpu_adapter *adapter;
    float strength;
} cpu_adapter_use;

typedef struct cpu_seq {
    cpu_model *model;
    kv_cache cache;
    cpu_adapter_use adapters[ENGINE_MAX_ADAPTERS];
    int num_adapters;
} cpu_seq;

// ---- load.c
llm_status cpu_model_load(cpu_engine *engine, const model_desc *desc, const engine_weights *weights,
                          engine_progress progress, void *user, cpu_model **out, llm_error *err);
void cpu_model_free(cpu_model *model);
llm_status cpu_model_estimate(cpu_engine *engine, const model_desc *desc, const engine_weights *weights, int num_tokens,
                              engine_memory *memory, llm_error *err);

// ---- forward.c
// As thread_pool_run; after an interrupt the items that are left do nothing, so that it takes effect within an item.
// Their results are garbage then, and the pass ends with LLM_CANCELLED.
void cpu_model_run(cpu_model *model, int num_items, pool_function function, void *arg);
llm_status cpu_forward(cpu_model *model, const engine_batch_item *items, cpu_seq *const *seqs, int num_items, float *logits,
                       llm_error *err);

// ---- attention.c
// Rows of a chunk that belong to one sequence and follow each other: `rows` rows from row `row`, at positions
// [position, position + rows).
typedef struct chunk_span {
    cpu_seq *seq;
    int row, rows, position;
    bool alone;             // each token attends as if it came by itself
} chunk_span;

size_t attention_scratch_bytes(const model_desc *desc, dtype kv_type);
size_t attention_partial_bytes(const model_desc *desc, int tokens, int threads); // at most, for a sequence of this many
// Whether every span is one row that sees one segment: then a thread that attends with a head needs nothing of another head.
bool attention_is_short(const chunk_span *spans, int num_spans);
// Makes work.q (scaled, turned) and the KV cache complete for a row and a kv head.
typedef void (*attention_store)(void *arg, int row, int kv_head);
// Reads work.q and the KV cache; writes work.input.values [rows][heads * head_dim]. Where attention is short, `store` may be left
// to it; otherwise NULL.
llm_status attention_run(cpu_model *model, int layer, const chunk_span *spans, int num_spans, attention_store store, void *arg,
                         llm_error *err);

// ---- lora.c
typedef enum lora_place { LORA_Q, LORA_K, LORA_V, LORA_O, LORA_GATE, LORA_UP, LORA_DOWN, LORA_PLACES = BLOCK_LINEARS, LORA_HEAD = 0 } lora_place;

llm_status cpu_adapter_estimate(const model_desc *desc, const adapter_layer *layers, int num_layers, engine_memory *memory,
                                llm_error *err);
llm_status cpu_adapter_load(cpu_model *model, const adapter_layer *layers, int num_layers, cpu_adapter **out, llm_error *err);
void cpu_adapter_free(cpu_adapter *adapter);
llm_status cpu_seq_set_adapters(cpu_seq *seq, cpu_adapter *const *adapters, const float *strengths, int count, llm_error *err);
// After the product of a linear (of `block`; the head's is num_blocks) and before its bias: adds what the adapters of
// each span's sequence change, to `result` [chunk rows][stride]. Reads the linear's input as float32 from
// work.input.values. Sequences without adapters are not touched.
void lora_add(cpu_model *model, const chunk_span *spans, int num_spans, int block, lora_place place, float *result, size_t stride);

#endif
