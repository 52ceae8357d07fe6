// Norms, rotary positions, activations, soft caps and the storing of keys and values, over the vector
// operations of the simd_<isa>.h that the including file chose. Loops step by whole vectors; the last may be
// partial.
#include "engine/cpu/kernels/simd_math.h"
#include "engine/cpu/kernels/tables.h"
#include "engine/cpu/kernels/vector_math.h"
#include <math.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// A vector of which `left` elements exist, V_LANES or more for a whole one.
ALWAYS_INLINE vfloat load(const float *p, int left)
{
    return left >= V_LANES ? v_load(p) : v_load_part(p, left);
}

ALWAYS_INLINE void store(float *p, vfloat x, int left)
{
    if (left >= V_LANES)
        v_store(p, x);
    else
        v_store_part(p, x, left);
}

// Sum of x, or of (x - mean)^2, in four vectors of partial sums.
ALWAYS_INLINE float sum_of(const float *x, int n, bool squares, float mean)
{
    enum { STREAMS = 4 };
    vfloat sums[STREAMS] = {v_set(0), v_set(0), v_set(0), v_set(0)}, centre = v_set(mean);
    int i = 0;
    for (; i + STREAMS * V_LANES <= n; i += STREAMS * V_LANES)
        for (int s = 0; s < STREAMS; s++) {
            vfloat value = v_load(x + i + s * V_LANES), distance = v_sub(value, centre);
            sums[s] = squares ? v_fma(distance, distance, sums[s]) : v_add(sums[s], value);
        }
    for (; i < n; i += V_LANES) {
        vfloat value = load(x + i, n - i), distance = v_sub(value, centre);
        if (n - i < V_LANES) distance = v_select_lanes(distance, v_set(0), 0, n - i);
        sums[0] = squares ? v_fma(distance, distance, sums[0]) : v_add(sums[0], value);
    }
    return v_reduce_add(v_add(v_add(sums[0], sums[1]), v_add(sums[2], sums[3])));
}

void KERNEL(rms_norm)(const float *x, const float *weight, int n, float eps, float *y)
{
    vfloat scale = v_set(1.0f / sqrtf(sum_of(x, n, true, 0) / (float)n + eps));
    for (int i = 0; i < n; i += V_LANES) {
        vfloat value = v_mul(load(x + i, n - i), scale);
        if (weight) value = v_mul(value, load(weight + i, n - i));
        store(y + i, value, n - i);
    }
}

void KERNEL(layer_norm)(const float *x, const float *weight, const float *bias, int n, float eps, float *y)
{
    float mean = sum_of(x, n, false, 0) / (float)n;
    vfloat scale = v_set(1.0f / sqrtf(sum_of(x, n, true, mean) / (float)n + eps)), centre = v_set(mean);
    for (int i = 0; i < n; i += V_LANES) {
        vfloat value = v_mul(v_sub(load(x + i, n - i), centre), scale);
        vfloat offset = bias ? load(bias + i, n - i) : v_set(0);
        store(y + i, v_fma(value, load(weight + i, n - i), offset), n - i);
    }
}

ALWAYS_INLINE void turn(vfloat *a, vfloat *b, vfloat cosine, vfloat sine, vfloat scale)
{
    vfloat turned_a = v_fnma(*b, sine, v_mul(*a, cosine)), turned_b = v_fma(*a, sine, v_mul(*b, cosine));
    *a = v_mul(turned_a, scale);
    *b = v_mul(turned_b, scale);
}

// Pairs (2i, 2i + 1); the last few go through a copy.
static void rope_neighbours(float *head, const float *cosine, const float *sine, int pairs, float scale)
{
    for (int i = 0; i < pairs; i += V_LANES) {
        float copy[2 * V_LANES] = {0}, *at = head + 2 * i;
        int left = pairs - i;
        size_t part = (size_t)left * 2 * sizeof *head;
        vfloat a, b;
        if (left < V_LANES) at = memcpy(copy, at, part);
        v_load_pairs(at, &a, &b);
        turn(&a, &b, load(cosine + i, left), load(sine + i, left), v_set(scale));
        v_store_pairs(at, a, b);
        if (left < V_LANES) memcpy(head + 2 * i, copy, part);
    }
}

// Pairs (i, i + pairs)
static void rope_halves(float *head, const float *cosine, const float *sine, int pairs, float scale)
{
    for (int i = 0; i < pairs; i += V_LANES) {
        int left = pairs - i;
        vfloat a = load(head + i, left), b = load(head + pairs + i, left);
        turn(&a, &b, load(cosine + i, left), load(sine + i, left), v_set(scale));
        store(head + i, a, left);
        store(head + pairs + i, b, left);
    }
}

void KERNEL(rope)(float *head, const float *cosine, const float *sine, int dims, bool traditional,
                  float scale)
{
    (traditional ? rope_neighbours : rope_halves)(head, cosine, sine, dims / 2, scale);
}

ALWAYS_INLINE vfloat sigmoid_times(vfloat x, vfloat slope) // x / (1 + exp(-slope))
{
    return v_div(x, v_add(v_set(1), v_exp(v_sub(v_set(0), slope))));
}

ALWAYS_INLINE vfloat activation(activation_kind kind, vfloat x)
{
    switch (kind) {
    case ACTIVATION_SILU: return sigmoid_times(x, x);
    case ACTIVATION_GELU:
        return v_mul(v_mul(v_set(0.5f), x), v_add(v_set(1), v_erf(v_mul(x, v_set(0x1.6a09e6p-1f)))));
    case ACTIVATION_GELU_TANH: { // (1 + tanh(u)) / 2 is the sigmoid of 2 u, u = sqrt(2 / pi) (x + 0.044715
                                 // x^3)
        vfloat cubic = v_fma(v_mul(v_set(0.044715f), x), x, v_set(1));
        return sigmoid_times(x, v_mul(v_mul(v_set(0x1.988454p+0f), x), cubic));
    }
    case ACTIVATION_RELU2: {
        vfloat positive = v_max(v_set(0), x);
        return v_mul(positive, positive);
    }
    }
    return x;
}

ALWAYS_INLINE void activate_all(activation_kind kind, const float *gate, const float *up, int n, float *y)
{
    for (int i = 0; i < n; i += V_LANES) {
        vfloat value = activation(kind, load(gate + i, n - i));
        if (up) value = v_mul(value, load(up + i, n - i));
        store(y + i, value, n - i);
    }
}

void KERNEL(activate)(activation_kind kind, const float *gate, const float *up, int n, float *y)
{
    switch (kind) { // one loop each
    case ACTIVATION_SILU: activate_all(ACTIVATION_SILU, gate, up, n, y); break;
    case ACTIVATION_GELU: activate_all(ACTIVATION_GELU, gate, up, n, y); break;
    case ACTIVATION_GELU_TANH: activate_all(ACTIVATION_GELU_TANH, gate, up, n, y); break;
    case ACTIVATION_RELU2: activate_all(ACTIVATION_RELU2, gate, up, n, y); break;
    }
}

void KERNEL(add_scaled)(float *y, const float *x, float scale, int n)
{
    for (int i = 0; i < n; i += V_LANES)
        store(y + i, v_fma(v_set(scale), load(x + i, n - i), load(y + i, n - i)), n - i);
}

void KERNEL(softcap)(float *x, int n, float scale, float cap)
{
    float inner = cap != 0 ? scale / cap : scale;
    for (int i = 0; i < n; i += V_LANES) {
        vfloat value = v_mul(load(x + i, n - i), v_set(inner));
        if (cap != 0) value = v_mul(v_set(cap), v_tanh(value));
        store(x + i, value, n - i);
    }
}

// A NaN or an infinity makes the scale NaN: it shows in every product.
ALWAYS_INLINE float scale_of(dtype type, const float *x, int n)
{
    vfloat largest = v_set(0), zeros = v_set(0);
    for (int i = 0; i < n; i += V_LANES) {
        vfloat value = load(x + i, n - i);
        largest = v_max(largest, v_abs(value));
        zeros = v_fma(value, v_set(0), zeros);
    }
    return v_reduce_max(largest) / (float)kv_largest(type) + v_reduce_add(zeros);
}

// x / scale as integers of 16 bits, with room for V_LANES more behind them.
ALWAYS_INLINE void to_integers(const float *x, int n, float scale, int16_t *integers)
{
    vfloat inverse = v_set(scale > 0 && scale < INFINITY && 1 / scale < INFINITY ? 1 / scale : 0);
    for (int i = 0; i < n; i += V_LANES) v_store_i16(integers + i, v_mul(load(x + i, n - i), inverse));
}

ALWAYS_INLINE void store_integer(dtype type, int integer, int8_t *plane, size_t at, int8_t *low, size_t low_at)
{
    plane[at] = (int8_t)(type == DTYPE_I16 ? kv_high(integer) : integer);
    if (type == DTYPE_I16) low[low_at] = (int8_t)kv_low(integer);
}

// One group of dimensions; pair by pair, since neighbouring slots are other threads'.
static void store_key(const float *key, int head_dim, int first, int count, dtype type, int slot, const kv_page *page)
{
    enum { PIECE = 64 };
    int16_t integers[PIECE + V_LANES];
    float *scale = page->key_scales + first / kv_group_dims(type, head_dim) * KV_PAGE_TOKENS + slot;
    *scale = scale_of(type, key + first, count);
    for (int at = 0; at < count; at += PIECE) {
        int n = count - at < PIECE ? count - at : PIECE;
        to_integers(key + first + at, n, *scale, integers);
        integers[n] = n % 2 ? 0 : integers[n];
        for (int i = 0; i < n; i += 2) {
            size_t to = kv_key_at(type, slot, first + at + i), low = kv_low_key_at(head_dim, slot, first + at + i);
            for (size_t j = 0; j < 2; j++) store_integer(type, integers[i + (int)j], page->keys, to + j, page->low_keys, low + j);
        }
    }
}

static void store_value(const float *value, int head_dim, dtype type, int slot, const kv_page *page)
{
    enum { PIECE = 64 };
    int16_t integers[PIECE + V_LANES];
    float *scale = page->value_scales + slot;
    *scale = scale_of(type, value, head_dim);
    for (int at = 0; at < head_dim; at += PIECE) {
        int n = head_dim - at < PIECE ? head_dim - at : PIECE;
        to_integers(value + at, n, *scale, integers);
        for (int i = 0; i < n; i++) {
            size_t to = kv_value_at(type, head_dim, slot, at + i);
            store_integer(type, integers[i], page->values, to, page->low_values, to);
        }
    }
}

void KERNEL(kv_store)(const float *key, const float *value, int head_dim, dtype type, int slot, const kv_page *page)
{
    if (type == DTYPE_F32) {
        for (int i = 0; i < head_dim; i++) ((float *)page->keys)[kv_key_at(type, slot, i)] = key[i];
        memcpy((float *)page->values + kv_value_at(type, head_dim, slot, 0), value, (size_t)head_dim * sizeof *value);
        return;
    }
    int group = kv_group_dims(type, head_dim);
    for (int first = 0; first < head_dim; first += group)
        store_key(key, head_dim, first, head_dim - first < group ? head_dim - first : group, type, slot, page);
    store_value(value, head_dim, type, slot, page);
}

void KERNEL(vector_apply)(vector_function function, const float *x, int n, float *y)
{
    for (int i = 0; i < n; i += V_LANES) {
        vfloat value = load(x + i, n - i);
        value = function == VECTOR_EXP    ? v_exp(value)
                : function == VECTOR_EXP2 ? v_exp2(value)
                : function == VECTOR_TANH ? v_tanh(value)
                                          : v_erf(value);
        store(y + i, value, n - i);
    }
}
