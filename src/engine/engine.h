// The seam between models and devices: a small, whole-model interface, so that each engine may fuse as it
// likes. One call, engine_forward, serves prefill, decode, several sequences at once, and scoring.
//
// Threads: calls on one engine_model (its sequences included) must not overlap; the caller serialises them.
// Only engine_interrupt and engine_model_memory may be called at any time from any thread.
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H
#include "engine/model_desc.h"
#include "formats/dtype.h"

// Appended to, never reordered; a plugin built for another version is refused.
#define ENGINE_API_VERSION 4

typedef enum engine_precision { PRECISION_FAST, PRECISION_EXACT } engine_precision;

typedef struct engine_options {
    engine_precision precision;
    int num_threads;        // 0: as many as the processor and the cgroup allow
    int kv_bits;            // 0: the engine's usual (16; 32 in exact precision)
    uint64_t cache_limit;   // bytes of freed memory an engine may keep for reuse
    uint64_t memory_limit;  // bytes that an engine may use in all, and that the system is to keep resident for it, from
    uint64_t wired_limit;   // a model's load on; 0: as the engine does. Engines without such limits ignore them
} engine_options;

// The bytes behind one tensor_desc. They are borrowed, and may be read only until engine_model_load returns;
// `release` (may be NULL) tells their owner that the pages of a tensor can go: all of it has been read, or a part whose
// rest will be mapped again. It may be called more than once for a tensor.
typedef struct weight_view {
    dtype type;             // DTYPE_F32, F16 or BF16; DTYPE_U32 for affine
    int rows, cols;         // logical: elements, not words
    const void *data;       // dense: [rows, cols]; affine: [rows, cols * bits / 32] words
    int bits, group_size;   // affine quantisation (formats/affine.h); bits 0: dense
    dtype scale_type;       // of scales and biases, F32, F16 or BF16
    const void *scales, *biases; // [rows, cols / group_size]
} weight_view;

typedef struct engine_weights {
    const weight_view *views; // [desc->num_tensors]
    void (*release)(void *user, int tensor);
    void *user;
} engine_weights;

typedef struct engine engine;
typedef struct engine_model engine_model;
typedef struct engine_seq engine_seq;
typedef struct engine_adapter engine_adapter;

// One sequence's part of a batch: its next `num_tokens` tokens. Logits are wanted for the last `num_logits` of them. One token
// alone may be computed more precisely than several; `precise` asks for that precision for each of several: the CPU
// engine's results are then bit for bit those of forwarding them one by one, another engine's may differ by rounding. Until
// the next forward, trimming to any length that was reached by precise tokens of the last one works, windows or not.
typedef struct engine_batch_item {
    engine_seq *seq;
    const int32_t *tokens;
    int num_tokens, num_logits;
    bool precise;
} engine_batch_item;

// A low-rank change to the product of one weight W [rows, cols] with x, before the bias and in float32:
//     y += strength * (b (a x) + gain * (W x))
// LoRA's y += scale B A x has b = scale B and no gain. DoRA, whose rows of W + scale B A are scaled to the lengths m,
// has gain = m / |W + scale B A| - 1 and b = (gain + 1) scale B.
typedef struct adapter_layer {
    int tensor;        // of the description: read by linears, not the embedding; each at most once in an adapter
    int rank;
    const float *a;    // [rank, cols]
    const float *b;    // [rows, rank]: all rows of the tensor, also where several linears share it
    const float *gain; // [rows]; NULL: zeros
} adapter_layer;

// An adapter that takes part in a sequence. Several add up.
typedef struct adapter_use {
    engine_adapter *adapter;
    float strength; // 1: as trained
} adapter_use;

typedef struct engine_memory {
    uint64_t weights_bytes;  // packed weights in memory, adapters included
    uint64_t kv_bytes;       // of all sequences
    uint64_t work_bytes;     // scratch buffers
    uint64_t cache_bytes, peak_bytes;
} engine_memory;

typedef struct engine_info {
    const char *name, *device, *isa, *version; // valid as long as the engine
    int num_threads;
    uint64_t memory_bytes;  // that the device has; 0: the machine's
    int prefill_tokens;     // of a prompt that are best forwarded together; 0: any number
} engine_info;

// Receives or provides a sequence's arrays, layer by layer, when it is saved or restored.
typedef struct engine_state_array {
    char name[64];          // "layers.3.keys", "layers.3.values"
    dtype type;
    int64_t shape[3];       // [tokens, kv_heads, head_dim]
    int64_t first_position; // of the first token kept (windowed layers drop the older ones)
    void *data;
} engine_state_array;
typedef llm_status (*engine_state_function)(void *user, engine_state_array *array, llm_error *err);

// return false to stop the load with LLM_CANCELLED
typedef bool (*engine_progress)(void *user, double fraction);

// What an engine implements; engine.c dispatches. Rows are appended only.
typedef struct engine_methods {
    int api_version;
    const char *name;
    llm_status (*open)(const engine_options *options, void **state, llm_error *err);
    void (*close)(void *state);
    void (*info)(void *state, engine_info *info);
    llm_status (*supports)(void *state, const model_desc *desc, llm_error *err);
    llm_status (*model_load)(void *state, const model_desc *desc, const engine_weights *weights, engine_progress progress,
                             void *user, void **model, llm_error *err);
    void (*model_free)(void *model);
    void (*model_memory)(void *model, engine_memory *memory);
    llm_status (*seq_create)(void *model, void **seq, llm_error *err);
    void (*seq_free)(void *seq);
    int (*seq_length)(void *seq);
    llm_status (*seq_trim)(void *seq, int length, llm_error *err);
    llm_status (*seq_fork)(void *seq, void **copy, llm_error *err);
    llm_status (*seq_save)(void *seq, engine_state_function sink, void *user, llm_error *err);
    llm_status (*seq_restore)(void *seq, int length, engine_state_function source, void *user, llm_error *err);
    llm_status (*forward)(void *model, const engine_batch_item *items, void *const *seqs, int num_items, float *logits,
                          llm_error *err);
    void (*interrupt)(void *model, bool on);
    void (*set_cache_limit)(void *state, uint64_t bytes);
    void (*clear_cache)(void *state);
    // NULL: engine_estimate_as_stored
    llm_status (*estimate)(void *state, const model_desc *desc, const engine_weights *weights, int num_tokens,
                           engine_memory *memory, llm_error *err);
    // Version 3: adapters. NULL, all three: the engine has no adapters.
    llm_status (*adapter_load)(void *model, const adapter_layer *layers, int num_layers, void **adapter, llm_error *err);
    void (*adapter_free)(void *adapter);
    // The sequence is empty. Its forks have the same adapters; the arrays are the caller's.
    llm_status (*seq_set_adapters)(void *seq, void *const *adapters, const float *strengths, int count, llm_error *err);
    // NULL: the arrays as given
    llm_status (*adapter_estimate)(void *state, const model_desc *desc, const adapter_layer *layers, int num_layers,
                                   engine_memory *memory, llm_error *err);
} engine_methods;

// `name`: "cpu", "mlx", or "auto"/NULL for the best one here. Unknown or missing: LLM_UNSUPPORTED_FORMAT with the reason.
llm_status engine_open(const char *name, const engine_options *options, engine **out, llm_error *err);
void engine_close(engine *e); // its models must be gone
void engine_get_info(engine *e, engine_info *info);
int engine_names(const char **names, int capacity); // built in, or opened at run time where installed; returns how many there are

// LLM_UNSUPPORTED_FORMAT says which feature of the description this engine lacks.
llm_status engine_supports(engine *e, const model_desc *desc, llm_error *err);

// What a model would take, by its description and the shapes of its weights, whose bytes are not read: the weights in
// memory, the KV cache of one sequence of `num_tokens` tokens that were forwarded in calls of at most
// ENGINE_ESTIMATE_CALL, and the buffers; peak_bytes is their sum.
enum { ENGINE_ESTIMATE_CALL = 512 };
llm_status engine_estimate(engine *e, const model_desc *desc, const engine_weights *weights, int num_tokens,
                           engine_memory *memory, llm_error *err);
// What an adapter adds to that, by its shapes: weights and buffers. Its arrays are not read; of `gain` it counts whether it is NULL.
llm_status engine_estimate_adapter(engine *e, const model_desc *desc, const adapter_layer *layers, int num_layers,
                                   engine_memory *memory, llm_error *err);
// The tensors as stored, a KV cache of 16 bits, and buffers of one call.
void engine_estimate_as_stored(const model_desc *desc, const engine_weights *weights, int num_tokens, engine_memory *memory);

// Copies the description's and the weights' content as it needs; both can go when it returns.
llm_status engine_model_load(engine *e, const model_desc *desc, const engine_weights *weights, engine_progress progress,
                             void *user, engine_model **out, llm_error *err);
void engine_model_free(engine_model *model); // its sequences must be gone
void engine_model_memory(engine_model *model, engine_memory *memory);

// KV state of one timeline. It grows as tokens are forwarded.
llm_status engine_seq_create(engine_model *model, engine_seq **out, llm_error *err);
void engine_seq_free(engine_seq *seq);
int engine_seq_length(engine_seq *seq); // tokens it holds

// Forgets all but the first `length` tokens. LLM_INVALID_ARGUMENT when a windowed layer no longer has what it
// would need: the caller starts the sequence again (trim to 0 always works).
llm_status engine_seq_trim(engine_seq *seq, int length, llm_error *err);
llm_status engine_seq_fork(engine_seq *seq, engine_seq **out, llm_error *err); // shares what it can
llm_status engine_seq_save(engine_seq *seq, engine_state_function sink, void *user, llm_error *err);

// Fills an empty sequence of `length` tokens: `source` is asked for each array by name, type and shape set.
llm_status engine_seq_restore(engine_seq *seq, int length, engine_state_function source, void *user, llm_error *err);

// Appends each item's tokens to its sequence (a sequence may stand in one item only) and writes the wanted
// logits, item after item: [sum of num_logits, vocab_size]. On an error or an interrupt (LLM_CANCELLED) every
// sequence is as it was before.
llm_status engine_forward(engine_model *model, const engine_batch_item *items, int num_items, float *logits, llm_error *err);

// Adapters lie beside a model: its weights stay as they are, and sequences without adapters compute the same bits as
// ever. `desc` is the one that the model was loaded with; the layers are copied. LLM_UNSUPPORTED_FORMAT: this engine has
// no adapters. engine_adapter_free lets go of it; its memory goes with the last sequence that uses it.
llm_status engine_adapter_load(engine_model *model, const model_desc *desc, const adapter_layer *layers, int num_layers,
                               engine_adapter **out, llm_error *err);
void engine_adapter_free(engine_adapter *adapter);

// Which adapters the sequence's tokens go through from now on; none, after its creation. The same ones as before:
// nothing happens. Others: what the sequence holds was computed without them, and it is emptied.
enum { ENGINE_MAX_ADAPTERS = 16 };
llm_status engine_seq_set_adapters(engine_seq *seq, const adapter_use *uses, int count, llm_error *err);
bool engine_seq_has_adapters(const engine_seq *seq, const adapter_use *uses, int count); // exactly these

// While on, a forward that runs ends soon with LLM_CANCELLED, and later ones at once. Any thread.
void engine_interrupt(engine_model *model, bool on);

void engine_set_cache_limit(engine *e, uint64_t bytes);
void engine_clear_cache(engine *e);

#endif
