// Attention over one page of float32 keys and values, over the vector operations of the simd_<isa>.h that the
// including file chose. Query rows are taken in blocks of up to MAX_ROWS, so that a key or value is loaded
// once for the block; every sum of products lives in a register and runs over one index from 0
// up. The arithmetic of a row is therefore the same in every block: its result does not depend on the rows
// beside it, to the last bit.
#include "engine/cpu/kernels/simd_math.h"
#include "engine/cpu/kernels/tables.h"
#include <math.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum { MAX_ROWS = 6, PAGE_VECTORS = KV_PAGE_TOKENS / V_LANES };

// What MAX_ROWS or fewer neighbouring rows have in common.
typedef struct row_block {
    const attention_page_args *args;
    int first;                // row
    int begin, end;           // slots that some row sees
    int core_begin, core_end; // slots that every row sees
    float rescale[MAX_ROWS];  // of sum and out, when the maximum rises
} row_block;

// Vectors a row in a tile of sums: the largest power of two for which the registers hold the sums, a vector
// of inputs for each of the width (one row needs no more than one at a time) and the factor they are
// multiplied by.
ALWAYS_INLINE int tile_width(int rows)
{
    int fits = (V_REGISTERS - 1) / (rows + (rows > 1));
    int width = fits >= 16 ? 16 : fits >= 8 ? 8 : fits >= 4 ? 4 : fits >= 2 ? 2 : 1;
    return width < PAGE_VECTORS ? width : PAGE_VECTORS;
}

ALWAYS_INLINE vfloat capped(vfloat score, float softcap)
{
    return softcap != 0 ? v_mul(v_set(softcap), v_tanh(v_mul(score, v_set(1 / softcap)))) : score;
}

// While the first block scores a tile, the values of the tile's slots come near, a share with each dimension;
// and its first tile brings near the keys further on.
ALWAYS_INLINE void prefetch(const attention_page_args *args, int slot, int slots, size_t dim,
                            bool keys_too)
{
    enum { LINE = 64, DIMS_AHEAD = 24 };
    size_t element = sizeof(float), share = (size_t)slots * element, row = KV_PAGE_TOKENS * element;
    uintptr_t values =
        (uintptr_t)args->values + ((size_t)slot * (size_t)args->head_dim + dim * (size_t)slots) * element;
    uintptr_t keys =
        (uintptr_t)args->keys + (dim + DIMS_AHEAD) * row; // may lie beyond the page: it is only a hint
    for (size_t at = 0; at < share; at += LINE) __builtin_prefetch((const void *)(values + at), 0, 3);
    if (!keys_too) return;
    for (size_t at = 0; at < row; at += LINE) __builtin_prefetch((const void *)(keys + at), 0, 3);
}

// scores[row][slot ...] = query[row] . key[slot] for `width` vectors of slots
ALWAYS_INLINE void score_tile(const row_block *block, int rows, int width, int first_slot,
                              int slot)
{
    const attention_page_args *args = block->args;
    size_t head_dim = (size_t)args->head_dim;
    const float *query = args->queries + (size_t)block->first * head_dim;
    float *scores = args->scores + (size_t)block->first * KV_PAGE_TOKENS + slot;
    vfloat sums[MAX_ROWS][PAGE_VECTORS], key[PAGE_VECTORS];
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int i = 0; i < width; i++) sums[row][i] = v_set(0);
    }
    for (size_t dim = 0; dim < head_dim; dim++) {
        size_t at = dim * KV_PAGE_TOKENS + (size_t)slot;
        if (block->first == 0) prefetch(args, slot, width * V_LANES, dim, slot == first_slot);
        UNROLL for (int i = 0; i < width; i++) key[i] = v_load(args->keys + at + (size_t)(i * V_LANES));
        UNROLL for (int row = 0; row < rows; row++) {
            vfloat factor = v_set(query[(size_t)row * head_dim + dim]);
            UNROLL for (int i = 0; i < width; i++) sums[row][i] = v_fma(factor, key[i], sums[row][i]);
        }
    }
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int i = 0; i < width; i++)
            v_store(scores + row * KV_PAGE_TOKENS + i * V_LANES, sums[row][i]);
    }
}

// Turns the scores of a row into exp(score - max), 0 for slots that it does not see; returns how much the
// sums of earlier pages shrink.
static __attribute__((noinline)) float weigh_row(const attention_page_args *args, int row)
{
    float *scores = args->scores + (size_t)row * KV_PAGE_TOKENS;
    int begin = args->begin[row], end = args->end[row];
    bool whole = begin <= 0 && end >= KV_PAGE_TOKENS;
    vfloat weight[PAGE_VECTORS], top = v_set(-INFINITY), sum = v_set(0);
    UNROLL for (int i = 0; i < PAGE_VECTORS; i++) {
        weight[i] = capped(v_load(scores + i * V_LANES), args->softcap);
        if (!whole)
            weight[i] = v_select_lanes(weight[i], v_set(-INFINITY), begin - i * V_LANES, end - i * V_LANES);
        top = v_max(top, weight[i]);
    }
    float old_max = args->max[row], page_max = v_reduce_max(top),
          max = page_max > old_max ? page_max : old_max;
    vfloat base = v_set(max == -INFINITY ? 0 : max); // nothing but -infinity yet: weights of 0, not NaN
    UNROLL for (int i = 0; i < PAGE_VECTORS; i++) {
        weight[i] = v_exp(v_sub(weight[i], base));
        v_store(scores + i * V_LANES, weight[i]);
        sum = v_add(sum, weight[i]);
    }
    float rescale = max > old_max ? v_first(v_exp(v_sub(v_set(old_max), base))) : 1;
    args->sum[row] = args->sum[row] * rescale + v_reduce_add(sum);
    args->max[row] = max;
    return rescale;
}

// One slot's values times each row's weight for it, onto the sums; `checked`: only for rows that see the
// slot.
ALWAYS_INLINE void add_values(const row_block *block, bool checked, int rows, int width, int part,
                              int slot, int column, vfloat sums[MAX_ROWS][PAGE_VECTORS])
{
    const attention_page_args *args = block->args;
    size_t at = (size_t)slot * (size_t)args->head_dim + (size_t)column;
    const float *weights = args->scores + (size_t)block->first * KV_PAGE_TOKENS + slot;
    vfloat value[PAGE_VECTORS];
    UNROLL for (int i = 0; i < width; i++) value[i] =
        part ? v_load_part(args->values + at, part) : v_load(args->values + at + (size_t)(i * V_LANES));
    UNROLL for (int row = 0; row < rows; row++) {
        if (checked && (slot < args->begin[block->first + row] || slot >= args->end[block->first + row]))
            continue;
        vfloat factor = v_set(weights[row * KV_PAGE_TOKENS]);
        UNROLL for (int i = 0; i < width; i++) sums[row][i] = v_fma(factor, value[i], sums[row][i]);
    }
}

// out[row][column ...] = out * rescale + weights[row] . values, for `width` vectors of columns or, if `part`
// is not 0, for that many columns. Slots that a row does not see are left out, not multiplied by 0: they may
// hold anything.
ALWAYS_INLINE void value_tile(const row_block *block, int rows, int width, int part, int column)
{
    size_t head_dim = (size_t)block->args->head_dim;
    float *out = block->args->out + (size_t)block->first * head_dim + column;
    vfloat sums[MAX_ROWS][PAGE_VECTORS];
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int i = 0; i < width; i++) {
            const float *from = out + (size_t)row * head_dim + i * V_LANES;
            sums[row][i] = v_mul(part ? v_load_part(from, part) : v_load(from), v_set(block->rescale[row]));
        }
    }
    for (int slot = block->begin; slot < block->core_begin; slot++)
        add_values(block, true, rows, width, part, slot, column, sums);
    for (int slot = block->core_begin; slot < block->core_end; slot++)
        add_values(block, false, rows, width, part, slot, column, sums);
    for (int slot = block->core_end; slot < block->end; slot++)
        add_values(block, true, rows, width, part, slot, column, sums);
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int i = 0; i < width; i++) {
            float *to = out + (size_t)row * head_dim + i * V_LANES;
            if (part)
                v_store_part(to, sums[row][i], part);
            else
                v_store(to, sums[row][i]);
        }
    }
}

// Tiles of one width while they fit; returns the first column that is left.
ALWAYS_INLINE int add_values_by(const row_block *block, int rows, int width, int column)
{
    if (width > tile_width(rows)) return column;
    for (; column + width * V_LANES <= block->args->head_dim; column += width * V_LANES)
        value_tile(block, rows, width, 0, column);
    return column;
}

ALWAYS_INLINE void add_all_values(const row_block *block, int rows)
{
    int column = 0, head_dim = block->args->head_dim;
    column = add_values_by(block, rows, 16, column);
    column = add_values_by(block, rows, 8, column);
    column = add_values_by(block, rows, 4, column);
    column = add_values_by(block, rows, 2, column);
    column = add_values_by(block, rows, 1, column);
    if (column < head_dim) value_tile(block, rows, 1, head_dim - column, column);
}

static void find_slots(row_block *block, int rows)
{
    const int *begin = block->args->begin + block->first, *end = block->args->end + block->first;
    block->begin = KV_PAGE_TOKENS;
    block->end = block->core_begin = 0;
    block->core_end = KV_PAGE_TOKENS;
    for (int row = 0; row < rows; row++) {
        if (begin[row] < end[row] && begin[row] < block->begin) block->begin = begin[row];
        if (begin[row] < end[row] && end[row] > block->end) block->end = end[row];
        if (begin[row] > block->core_begin) block->core_begin = begin[row];
        if (end[row] < block->core_end) block->core_end = end[row];
    }
    if (block->core_begin >= block->core_end) block->core_begin = block->core_end = block->end;
}

ALWAYS_INLINE void attend(row_block *block, int rows)
{
    const attention_page_args *args = block->args;
    int width = tile_width(rows), slots = width * V_LANES;
    find_slots(block, rows);
    if (block->begin >= block->end) return;
    int first_slot = block->begin / slots * slots;
    for (int slot = first_slot; slot < block->end; slot += slots)
        score_tile(block, rows, width, first_slot, slot);
    for (int row = 0; row < rows; row++) {
        int at = block->first + row;
        block->rescale[row] = args->begin[at] < args->end[at] ? weigh_row(args, at) : 1;
    }
    add_all_values(block, rows);
}

// The number of rows is a constant within each call, so that the sums stay in registers.
ALWAYS_INLINE void attend_some(row_block *block, int rows)
{
    switch (rows) {
    case 1: attend(block, 1); break;
    case 2: attend(block, 2); break;
    case 3: attend(block, 3); break;
    case 4: attend(block, 4); break;
    case 5: attend(block, 5); break;
    default: attend(block, MAX_ROWS); break;
    }
}

void KERNEL(attention_page)(const attention_page_args *args)
{
    row_block block = {.args = args};
    for (int rows; block.first < args->num_queries; block.first += rows) {
        int left = args->num_queries - block.first, blocks = (left + MAX_ROWS - 1) / MAX_ROWS;
        rows = (left + blocks - 1) / blocks; // blocks of nearly equal size
        attend_some(&block, rows);
    }
}

// Joins two results: weights relative to another maximum are worth less. Factors are made for V_LANES rows at a time.
void KERNEL(attention_merge)(int num_queries, int head_dim, attention_state total, attention_state part)
{
    float keep[V_LANES], add[V_LANES];
    for (int first = 0; first < num_queries; first += V_LANES) {
        int rows = num_queries - first < V_LANES ? num_queries - first : V_LANES;
        bool whole = rows == V_LANES;
        float *max = total.max + first, *sum = total.sum + first;
        vfloat old = whole ? v_load(max) : v_load_part(max, rows);
        vfloat new = whole ? v_load(part.max + first) : v_load_part(part.max + first, rows);
        vfloat top = v_max(old, new), base = v_select_less(top, v_set(-3e38f), v_set(0), top);
        vfloat factor = v_exp(v_sub(old, base)), other = v_exp(v_sub(new, base));
        v_store(keep, factor);
        v_store(add, other);
        vfloat sums = v_mul(factor, whole ? v_load(sum) : v_load_part(sum, rows));
        sums = v_fma(other, whole ? v_load(part.sum + first) : v_load_part(part.sum + first, rows), sums);
        if (whole) v_store(max, top), v_store(sum, sums);
        else v_store_part(max, top, rows), v_store_part(sum, sums, rows);
        for (int row = 0; row < rows; row++) {
            size_t at = (size_t)(first + row) * (size_t)head_dim;
            for (int i = 0; i < head_dim; i += V_LANES) {
                int left = head_dim - i;
                bool full = left >= V_LANES;
                float *out = total.out + at + i;
                const float *from = part.out + at + i;
                vfloat kept = v_mul(v_set(keep[row]), full ? v_load(out) : v_load_part(out, left));
                kept = v_fma(v_set(add[row]), full ? v_load(from) : v_load_part(from, left), kept);
                if (full) v_store(out, kept);
                else v_store_part(out, kept, left);
            }
        }
    }
}

// As integers whose magnitude and whose sum of magnitudes let no product with the cache overflow.
float KERNEL(attention_query)(const float *query, int head_dim, dtype kv_type, int16_t *integers)
{
    vfloat largest = v_set(0), total = v_set(0);
    for (int i = 0; i < head_dim; i += V_LANES) {
        vfloat size = v_abs(head_dim - i >= V_LANES ? v_load(query + i) : v_load_part(query + i, head_dim - i));
        largest = v_max(largest, size);
        total = v_add(total, size);
    }
    float scale = v_reduce_max(largest) * (1.0f / KV_FACTOR_MAX) + v_reduce_add(total) / kv_sum_limit(kv_type);
    vfloat inverse = v_set(scale > 0 ? 1 / scale : 0);
    for (int i = 0; i < head_dim; i += V_LANES) {
        int left = kv_even(head_dim) - i;
        int16_t whole[V_LANES];
        vfloat x = v_mul(inverse, head_dim - i >= V_LANES ? v_load(query + i) : v_load_part(query + i, head_dim - i));
        v_store_i16(left >= V_LANES ? integers + i : whole, x);
        if (left < V_LANES) memcpy(integers + i, whole, (size_t)left * sizeof *whole);
    }
    return scale;
}
