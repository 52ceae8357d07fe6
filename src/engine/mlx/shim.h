// MLX's C++ interface as plain C: the only way from this engine to libmlx. All calls come from one thread (worker.h),
// because MLX's streams belong to threads.
//
// Operations build a graph lazily in a scope, which owns every array that they return. The first failure is kept in
// the scope, and each later call does nothing and returns NULL, so a graph is built without checks and checked once.
// No exception leaves this interface, and nothing here ends the process.
#ifndef ENGINE_MLX_SHIM_H
#define ENGINE_MLX_SHIM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#include "formats/dtype.h"

typedef struct mx_array mx_array; // a node of the graph, computed or not
typedef struct mx_scope mx_scope;

typedef enum mx_failure { MX_NO_FAILURE, MX_FAILED, MX_NO_MEMORY } mx_failure;

mx_scope *mx_scope_create(void); // NULL without memory
void mx_scope_free(mx_scope *s);
void mx_scope_clear(mx_scope *s);               // drops its arrays and its failure
mx_failure mx_scope_failure(const mx_scope *s);
const char *mx_scope_message(const mx_scope *s); // MLX's words

// ---- Arrays that outlive the scope

mx_array *mx_keep(mx_scope *s, const mx_array *a); // owned: mx_release
void mx_release(mx_array *a);                      // mx_release(NULL) does nothing
// What `a` was made from, going back along first inputs to what has been computed; `a` itself when that is computed.
// Owned; NULL when nothing on the way is. After a failed evaluation this finds an array before its last updates.
mx_array *mx_keep_computed(const mx_array *a);
int mx_dim(const mx_array *a, int axis);
uint64_t mx_bytes(const mx_array *a);
bool mx_type(const mx_array *a, dtype *type);      // false: a type that dtype.h does not have

// ---- Evaluation. Both drop the scope's arrays first, so that intermediate results go as soon as they are used:
// what is to be read or used afterwards has been kept.

bool mx_eval(mx_scope *s, mx_array *const *arrays, int count);       // and waits
bool mx_async_eval(mx_scope *s, mx_array *const *arrays, int count); // begins
// Computes `a` and copies it, row by row, to `bytes` bytes at `target`; its size must be just that.
bool mx_read(mx_scope *s, const mx_array *a, void *target, size_t bytes);

// Test hook: lets `count` more evaluations succeed; later ones compute half of what was asked for and fail. A negative
// count switches it off. Exported from the plugin.
__attribute__((visibility("default"))) void mx_fail_after(long count);

// Where the time of evaluations goes, for bench/bench_mlx.c; exported from the plugin. `begin`: in mx_async_eval, where
// MLX launches; `wait`: until mx_eval and mx_read return.
typedef struct mx_costs {
    double begin_seconds, wait_seconds;
} mx_costs;
__attribute__((visibility("default"))) void mx_get_costs(mx_costs *costs);
// Is told the name of each operation that is evaluated from now on, views included; NULL: nobody. Exported from the plugin.
typedef void (*mx_visit)(void *user, const char *name);
__attribute__((visibility("default"))) void mx_visit_operations(mx_visit visit, void *user);

// ---- Making arrays

// Copies; `data` need not be aligned.
mx_array *mx_from_data(mx_scope *s, const void *data, dtype type, const int *shape, int dims);
mx_array *mx_zeros(mx_scope *s, dtype type, const int *shape, int dims);
mx_array *mx_scalar(mx_scope *s, float value, const mx_array *like); // of the type of `like`
// [1, 1, q_end - q_begin, k_end - k_begin] of bool: whether the token at position q sees the one at k, which is not
// after it and, with a window, among its latest `window` ones.
mx_array *mx_mask(mx_scope *s, int q_begin, int q_end, int k_begin, int k_end, int window);

// ---- Shapes

mx_array *mx_astype(mx_scope *s, const mx_array *a, dtype type);
mx_array *mx_reshape(mx_scope *s, const mx_array *a, const int *shape, int dims);
mx_array *mx_swap_axes(mx_scope *s, const mx_array *a, int axis1, int axis2);
mx_array *mx_slice(mx_scope *s, const mx_array *a, int axis, int begin, int end);
mx_array *mx_slice_update(mx_scope *s, const mx_array *a, const mx_array *update, int axis, int begin);
mx_array *mx_contiguous(mx_scope *s, const mx_array *a); // in memory row by row
mx_array *mx_concatenate(mx_scope *s, mx_array *const *arrays, int count, int axis);
mx_array *mx_take(mx_scope *s, const mx_array *a, const mx_array *indices, int axis);

// ---- Arithmetic

mx_array *mx_add(mx_scope *s, const mx_array *a, const mx_array *b);
mx_array *mx_subtract(mx_scope *s, const mx_array *a, const mx_array *b);
mx_array *mx_multiply(mx_scope *s, const mx_array *a, const mx_array *b);
mx_array *mx_divide(mx_scope *s, const mx_array *a, const mx_array *b);
mx_array *mx_add_clipped(mx_scope *s, const mx_array *a, const mx_array *b); // of float16, without infinities
mx_array *mx_softcap(mx_scope *s, const mx_array *a, float cap);             // cap * tanh(a / cap)
mx_array *mx_where(mx_scope *s, const mx_array *mask, const mx_array *a);    // the lowest value where the mask is false
mx_array *mx_softmax(mx_scope *s, const mx_array *a);                        // of the last axis, in float32
mx_array *mx_argmax(mx_scope *s, const mx_array *a);                         // of the last axis
mx_array *mx_matmul(mx_scope *s, const mx_array *a, const mx_array *b);

typedef enum mx_activation { MX_SILU, MX_GELU, MX_GELU_TANH, MX_RELU2 } mx_activation;
// activation(a), or activation(a) * b. Compiled to one kernel on a GPU; on a processor MLX would run a compiler for it.
mx_array *mx_activate(mx_scope *s, mx_activation kind, const mx_array *a, const mx_array *b);

// ---- Layers

// x W^T + bias, W [rows, cols]; bias may be NULL
mx_array *mx_linear(mx_scope *s, const mx_array *x, const mx_array *weight, const mx_array *bias);
mx_array *mx_quantized_linear(mx_scope *s, const mx_array *x, const mx_array *weight, const mx_array *scales,
                              const mx_array *biases, int group_size, int bits);
mx_array *mx_dequantize(mx_scope *s, const mx_array *weight, const mx_array *scales, const mx_array *biases, int group_size,
                        int bits);
mx_array *mx_rms_norm(mx_scope *s, const mx_array *x, const mx_array *weight, float eps); // weight may be NULL
mx_array *mx_layer_norm(mx_scope *s, const mx_array *x, const mx_array *weight, const mx_array *bias, float eps);
// x [..., tokens, head_dim], the first of them at `position`. Either a base, and what positions are multiplied by, or base 0
// and `freqs`, 1 / inv_freq: in a model's own type MLX's kernels for the two differ in the last bits.
mx_array *mx_rope(mx_scope *s, const mx_array *x, int dims, bool traditional, int position, float base, float position_scale,
                  const mx_array *freqs);
// q, k, v [batch, heads, tokens, head_dim]. `causal`: the last query sees all keys, each before it one fewer. `mask`: of
// mx_mask, or NULL.
mx_array *mx_attention(mx_scope *s, const mx_array *q, const mx_array *k, const mx_array *v, float scale, bool causal,
                       const mx_array *mask);

// ---- Memory, of the whole process

typedef struct mx_memory {
    uint64_t active, peak, cache;
} mx_memory;
mx_memory mx_get_memory(mx_scope *s); // zeros after a failure
bool mx_reset_peak_memory(mx_scope *s);
bool mx_set_cache_limit(mx_scope *s, uint64_t bytes);
bool mx_set_memory_limit(mx_scope *s, uint64_t bytes); // 0: what it was at first
uint64_t mx_memory_limit(mx_scope *s);
bool mx_set_wired_limit(mx_scope *s, uint64_t bytes);  // 0: none, as at first
bool mx_clear_cache(mx_scope *s);

// ---- The device

typedef struct mx_device {
    bool gpu;
    char name[128], kind[32]; // kind: "metal", "cuda", "cpu"
    uint64_t memory;          // bytes; 0: unknown
} mx_device;
// Chooses the device of all arrays to come.
bool mx_open_device(mx_scope *s, bool gpu_wanted, mx_device *device);
bool mx_has_gpu(void);
const char *mx_version(void);

#ifdef __cplusplus
}
#endif
#endif
