// The table of compute kernels. One file per instruction set fills a table; kernels_select picks one at start.
// Kernels are pure: pointers and sizes in, results out; no allocation, no threads, no globals. Every variant agrees
// with the plain C one (the oracle) within rounding; quantize_rows and the products agree to the last bit, whatever
// the split of tiles and tokens among calls (matmul_scalar.c has the order of operations). Rows of y, and scratch, are
// 64-byte aligned by the caller where a comment says so; other pointers need no alignment.
#ifndef ENGINE_CPU_KERNELS_H
#define ENGINE_CPU_KERNELS_H
#include "engine/cpu/kernels/kv_page.h"
#include "engine/cpu/pack.h"

// Activations as 15-bit integers in two bytes: x[t][i] = scale[t][i / group] * (128 * hi[t][i] + lo[t][i]), with
// hi in [-127, 127] and lo in [-64, 63] for the integer nearest to x / scale, scale = max|x| of the group / 16319.
// A NaN or an infinity makes the group's scale so: it shows in every product. `sum` is the sum of the group's quantised
// values times their scale, which the bias term of affine weights needs.
// A narrow row has 8 bits for most inputs: quads (four neighbouring inputs) whose hi is 0 have lo in [-127, 127], and
// one dot serves them. The step is the same over the whole row, but finer in groups that are small throughout: it is
// chosen so that an eighth of the quads, those with the largest magnitudes, keep hi.
typedef struct quantized_rows {
    int num_rows, cols, group_size;
    int8_t *hi, *lo;    // [num_rows][cols], 64-byte aligned
    float *scale, *sum; // [num_rows][cols / group_size]
    uint8_t *narrow;    // [num_rows]: 1: `wide` says where hi is not 0
    uint8_t *wide;      // [num_rows][cols / 32]: bit j: hi of quad j of these 32 inputs is not 0. 255 in rows that are not narrow
} quantized_rows;

// Attention of `num_queries` query rows (the heads of one kv head, for one or several tokens) over one page of
// float32 keys and values, by online softmax: max, sum and out go from page to page. Start: max = -INFINITY, sum = 0,
// out = 0. The result after the last page is out / sum.
typedef struct attention_page_args {
    const float *queries;     // [num_queries][head_dim], already times the attention scale
    int num_queries, head_dim;
    const float *keys, *values; // a page: kv_page.h
    const int *begin, *end;   // [num_queries]: the query sees slots [begin, end) of the page; empty if begin >= end
    float softcap;            // 0: none; applied to the scores before the softmax
    float *max, *sum;         // [num_queries]
    float *out;               // [num_queries][head_dim]
    float *scores;            // scratch [num_queries][KV_PAGE_TOKENS], 64-byte aligned
} attention_page_args;

// Attention of query rows over up to KV_SEGMENT_PAGES pages of integers, from scratch; attention_merge joins segments.
// Pages of 16 bits can be read whole (attention_segment, for many rows), or, for the rows of one token, in two passes that
// read low bytes only where they matter: attention_scores over all segments by the high bytes alone, then
// attention_values, which knows the largest score of all. Low bytes of a block of KV_BLOCK_TOKENS keys are read where
// some row's weight comes within e^-KV_KEY_NATS of the largest, those of a pair of values within e^-KV_VALUE_NATS; of values,
// rows that are weighed together decide, a few neighbouring ones.
#define KV_KEY_NATS 7.0f
#define KV_VALUE_NATS 4.5f
typedef struct kv_piece {
    const void *data;
    size_t bytes;              // whole cache lines
} kv_piece;
typedef struct attention_segment_args {
    const int16_t *queries;    // [num_queries][kv_even(head_dim)], from attention_query
    const float *query_scales; // [num_queries]
    int num_queries, head_dim;
    dtype kv_type;             // DTYPE_I16 or DTYPE_I8
    const kv_page *pages;      // [num_pages], at most KV_SEGMENT_PAGES: that some row sees
    int num_pages;
    const kv_piece *ahead;     // [num_ahead]: what will be read next; it comes near meanwhile, in this order
    int num_ahead;
    const int *begin, *end;    // [num_queries]: the query sees slots [begin, end) of the segment; empty if begin >= end
    float softcap;
    float *max, *sum;          // [num_queries]: what weights are relative to, a score, and their sum; -INFINITY and 0: sees nothing
    float *out;                // [num_queries][head_dim]
    int16_t *unpacked;         // scratch of attention_segment for 16 bits: KV_SEGMENT_PAGES * kv_unpacked(head_dim)
    float *scores;             // [num_queries][score_stride], between the two passes; the second overwrites them
    size_t score_stride;       // at least KV_SEGMENT_TOKENS
    float *largest;            // [num_queries]: of the scores, before the softcap: the first pass raises it
} attention_segment_args;

// What softmax over a part of the tokens has come to: the whole is out / sum.
typedef struct attention_state {
    float *max, *sum;          // [num_queries]
    float *out;                // [num_queries][head_dim]
} attention_state;

typedef struct kernels {
    const char *isa; // "scalar", "avx2", "avx512", "avx512vnni", "neon"

    // Row t of x [num_rows][x_stride] into rows [first, first + num_rows) of `out`.
    void (*quantize_rows)(const float *x, size_t x_stride, int num_rows, bool narrow, const quantized_rows *out, int first);

    // y[t][16 * tile ...] = W x[t] for tiles [tile_begin, tile_end) and tokens [token_begin, token_end); y row t
    // starts at y + t * y_stride and has room for num_tiles * 16 floats.
    void (*matmul_affine)(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x, int token_begin,
                          int token_end, float *y, size_t y_stride);
    // The same with float32 activations x [t * x_stride]; affine (exact precision) or dense weights.
    void (*matmul_float)(const packed_matrix *w, int tile_begin, int tile_end, const float *x, size_t x_stride,
                         int token_begin, int token_end, float *y, size_t y_stride);

    void (*attention_page)(const attention_page_args *args);
    // A query, already times the attention scale, as integers [kv_even(head_dim)] times the scale that is returned.
    float (*attention_query)(const float *query, int head_dim, dtype kv_type, int16_t *integers);
    void (*attention_segment)(const attention_segment_args *args);
    void (*attention_scores)(const attention_segment_args *args); // 16 bits, and all rows see the same slots
    void (*attention_values)(const attention_segment_args *args);
    void (*attention_merge)(int num_queries, int head_dim, attention_state total, attention_state part); // total += part
    // One token's key and value [head_dim] into slot `slot` of a page.
    void (*kv_store)(const float *key, const float *value, int head_dim, dtype kv_type, int slot, const kv_page *page);

    void (*rms_norm)(const float *x, const float *weight, int n, float eps, float *y); // y may be x; weight NULL: ones
    void (*layer_norm)(const float *x, const float *weight, const float *bias, int n, float eps, float *y); // bias may be NULL
    // Turns one head [head_dim] in place by cos, sin [dims / 2], times scale.
    void (*rope)(float *head, const float *cosine, const float *sine, int dims, bool traditional, float scale);
    void (*activate)(activation_kind kind, const float *gate, const float *up, int n, float *y); // y = act(gate) * up; up NULL: act(gate)
    void (*add_scaled)(float *y, const float *x, float scale, int n); // y += scale * x
    void (*softcap)(float *x, int n, float scale, float cap);         // x = cap * tanh(x * scale / cap); cap 0: x *= scale
} kernels;

// The best table for this processor, or the one named by the environment variable LLMLOCAL_ISA if it can run
// here (an unknown or impossible name is ignored with a log message).
const kernels *kernels_select(void);

// Every table that can run here, for tests; the first is the plain C one. Returns how many.
int kernels_available(const kernels **tables, int capacity);

#endif
