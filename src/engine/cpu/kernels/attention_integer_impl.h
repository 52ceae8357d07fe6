// Attention over up to four pages of integers, over the vector operations of the simd_<isa>.h that the including file
// chose. Query rows are taken in blocks of up to MAX_ROWS, so that a key or value is loaded once for the block. A row's
// scores come first, then their weights, as integers again, then the weighted values: products and their sums are exact,
// and the rest of a row's arithmetic is the same in every block, so its result does not depend on the rows beside it.
#include <string.h>

// What MAX_ROWS or fewer neighbouring rows have in common, and their scratch.
typedef struct segment_rows {
    const attention_segment_args *args;
    int first;                // row
    int begin, end;           // slots that some row sees
    float step[MAX_ROWS];     // a row's weights are integers times this
    _Alignas(64) float scores[MAX_ROWS][KV_SEGMENT_TOKENS];
    _Alignas(64) int16_t weights[MAX_ROWS][KV_SEGMENT_TOKENS];
} segment_rows;

ALWAYS_INLINE int32_t pair_at(const int16_t *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return pair;
}

// Vector `i` of pairs from `data` on.
ALWAYS_INLINE vpairs load_pairs(bool wide, const char *data, int i)
{
    return wide ? v_load_i16_pairs((const int16_t *)(const void *)data + i * V_LANES * 2)
                : v_load_i8_pairs((const int8_t *)data + i * V_LANES * 2);
}

ALWAYS_INLINE vpairs load_pairs_part(bool wide, const char *data, int count)
{
    return wide ? v_load_i16_pairs_part((const int16_t *)(const void *)data, count)
                : v_load_i8_pairs_part((const int8_t *)data, count);
}

// `width` vectors of pairs, at most four cache lines, come near.
ALWAYS_INLINE void fetch(bool wide, int width, const char *data)
{
    int bytes = width * V_LANES * (wide ? 4 : 2);
    __builtin_prefetch(data, 0, 2);
    if (bytes > 64) __builtin_prefetch(data + 64, 0, 2);
    if (bytes > 128) __builtin_prefetch(data + 128, 0, 2), __builtin_prefetch(data + 192, 0, 2);
}

// scores[row][slot ...] of a page, for `width` vectors of slots: query . key, group by group. Meanwhile the page's values
// come near; the first block does it for all.
ALWAYS_INLINE void score_slots(segment_rows *block, bool wide, int rows, int width, int page, int slot)
{
    const attention_segment_args *args = block->args;
    const dtype type = wide ? DTYPE_I16 : DTYPE_I8;
    const size_t pair_bytes = wide ? 4 : 2;
    const int head_dim = args->head_dim, group_dims = kv_group_dims(type, head_dim);
    const size_t stride = (size_t)kv_even(head_dim);
    const float *key_scale = (const float *)args->keys[page] + slot;
    const char *keys = (const char *)args->keys[page] + kv_key_scale_bytes(type, head_dim) + (size_t)slot * pair_bytes;
    const int16_t *query = args->queries + (size_t)block->first * stride;
    const char *next = (const char *)args->values[page] + (size_t)slot * pair_bytes;
    for (int dim = 0; dim < head_dim; dim += group_dims, key_scale += KV_PAGE_TOKENS) {
        const int16_t *query_end = query + (dim + group_dims < head_dim ? group_dims : head_dim - dim);
        vpairs sums[MAX_ROWS][PAGE_VECTORS], key[PAGE_VECTORS];
        UNROLL for (int row = 0; row < rows; row++) {
            UNROLL for (int i = 0; i < width; i++) sums[row][i] = v_no_pairs();
        }
        for (; query < query_end; query += 2, keys += KV_PAGE_TOKENS * pair_bytes, next += KV_PAGE_TOKENS * pair_bytes) {
            if (block->first == 0) fetch(wide, width, next);
            UNROLL for (int i = 0; i < width; i++) key[i] = load_pairs(wide, keys, i);
            UNROLL for (int row = 0; row < rows; row++) {
                vpairs factor = v_set_pair(pair_at(query + (size_t)row * stride));
                UNROLL for (int i = 0; i < width; i++) sums[row][i] = v_dot_pairs(sums[row][i], factor, key[i]);
            }
        }
        UNROLL for (int row = 0; row < rows; row++) {
            float *scores = block->scores[row] + page * KV_PAGE_TOKENS + slot;
            vfloat scale = v_set(args->query_scales[block->first + row]);
            UNROLL for (int i = 0; i < width; i++) {
                vfloat part = v_mul(v_from_sums(sums[row][i]), v_mul(v_load(key_scale + i * V_LANES), scale));
                v_store(scores + i * V_LANES, dim == 0 ? part : v_add(v_load(scores + i * V_LANES), part));
            }
        }
    }
}

// Slots [i, i + V_LANES) of a row that sees [begin, end): x, or `outside` where it sees nothing.
ALWAYS_INLINE vfloat seen(bool whole, vfloat x, float outside, int i, int begin, int end)
{
    return whole ? x : v_select_lanes(x, v_set(outside), begin - i, end - i);
}

// A row's maximum, sum, and weights as integers. A weight has its value's scale in it.
ALWAYS_INLINE void weigh_slots(segment_rows *block, bool whole, int row, int from, int to)
{
    const attention_segment_args *args = block->args;
    int begin = args->begin[block->first + row], end = args->end[block->first + row];
    float *scores = block->scores[row];
    vfloat top = v_set(-INFINITY), sum = v_set(0), largest = v_set(0), total = v_set(0);
    for (int i = from; i < to; i += V_LANES) {
        vfloat score = v_load(scores + i);
        if (args->softcap != 0)
            score = v_mul(v_set(args->softcap), v_tanh(v_mul(score, v_set(1 / args->softcap))));
        score = seen(whole, score, -INFINITY, i, begin, end);
        if (args->softcap != 0 || !whole) v_store(scores + i, score);
        top = v_max(top, score);
    }
    float max = v_reduce_max(top);
    vfloat base = v_set(max == -INFINITY ? 0 : max);
    for (int i = from; i < to; i += V_LANES) {
        const float *scales = (const float *)args->values[i / KV_PAGE_TOKENS] + i % KV_PAGE_TOKENS;
        vfloat weight = v_exp(v_sub(v_load(scores + i), base));
        vfloat scaled = seen(whole, v_mul(weight, v_load(scales)), 0, i, begin, end);
        sum = v_add(sum, weight);
        total = v_add(total, scaled);
        largest = v_max(largest, scaled);
        v_store(scores + i, scaled);
    }
    // Small enough that no integer is beyond its type and no sum of products overflows.
    float step = v_reduce_max(largest) * (1.0f / KV_FACTOR_MAX) + v_reduce_add(total) / kv_sum_limit(args->kv_type);
    vfloat inverse = v_set(step > 0 ? 1 / step : 0);
    for (int i = from; i < to; i += V_LANES) v_store_i16(block->weights[row] + i, v_mul(v_load(scores + i), inverse));
    args->max[block->first + row] = max;
    args->sum[block->first + row] = v_reduce_add(sum);
    block->step[row] = step;
}

static __attribute__((noinline)) void weigh_segment_row(segment_rows *block, int row, int from, int to)
{
    int begin = block->args->begin[block->first + row], end = block->args->end[block->first + row];
    if (begin <= from && end >= to) weigh_slots(block, true, row, from, to);
    else weigh_slots(block, false, row, from, to);
}

// Weighted values of slots [slot, slot_end) of one page onto the sums; meanwhile `next`, if there is one, comes near.
ALWAYS_INLINE void add_page_values(const segment_rows *block, bool wide, int rows, int width, int part, const char *values,
                                   const char *next, int slot, int slot_end, vpairs sums[MAX_ROWS][PAGE_VECTORS])
{
    const size_t step = (size_t)block->args->head_dim * (wide ? 4 : 2);
    vpairs value[PAGE_VECTORS];
    for (; slot < slot_end; slot += 2, values += step) {
        if (next) fetch(wide, width, next), next += step;
        UNROLL for (int i = 0; i < width; i++) value[i] = part ? load_pairs_part(wide, values, part) : load_pairs(wide, values, i);
        UNROLL for (int row = 0; row < rows; row++) {
            vpairs factor = v_set_pair(pair_at(block->weights[row] + slot));
            UNROLL for (int i = 0; i < width; i++) sums[row][i] = v_dot_pairs(sums[row][i], factor, value[i]);
        }
    }
}

// out[row][column ...] = weights[row] . values, for `width` vectors of columns or, if `part` is not 0, for that many
// columns.
ALWAYS_INLINE void sum_values(const segment_rows *block, bool wide, int rows, int width, int part, int column)
{
    const attention_segment_args *args = block->args;
    const dtype type = wide ? DTYPE_I16 : DTYPE_I8;
    const size_t head_dim = (size_t)args->head_dim, size = wide ? 2 : 1;
    vpairs sums[MAX_ROWS][PAGE_VECTORS];
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int i = 0; i < width; i++) sums[row][i] = v_no_pairs();
    }
    for (int slot = block->begin & ~1, slot_end; slot < block->end; slot = slot_end) {
        int page = slot / KV_PAGE_TOKENS;
        slot_end = (page + 1) * KV_PAGE_TOKENS < block->end ? (page + 1) * KV_PAGE_TOKENS : block->end;
        size_t at = kv_value_at(type, args->head_dim, slot % KV_PAGE_TOKENS, column) * size;
        const char *values = (const char *)args->values[page] + kv_value_scale_bytes(type) + at;
        const char *next = block->first == 0 && args->next_keys[page] ? (const char *)args->next_keys[page] + at : NULL;
        if (next) add_page_values(block, wide, rows, width, part, values, next, slot, slot_end, sums);
        else add_page_values(block, wide, rows, width, part, values, NULL, slot, slot_end, sums);
    }
    float *out = args->out + (size_t)block->first * head_dim + column;
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int i = 0; i < width; i++) {
            float *to = out + (size_t)row * head_dim + i * V_LANES;
            vfloat result = v_mul(v_from_sums(sums[row][i]), v_set(block->step[row]));
            if (part) v_store_part(to, result, part);
            else v_store(to, result);
        }
    }
}

// Tiles of one width while they fit; returns the first column that is left.
ALWAYS_INLINE int sum_values_by(const segment_rows *block, bool wide, int rows, int width, int column)
{
    if (width > tile_width(rows)) return column;
    for (; column + width * V_LANES <= block->args->head_dim; column += width * V_LANES)
        sum_values(block, wide, rows, width, 0, column);
    return column;
}

ALWAYS_INLINE void sum_all_values(const segment_rows *block, bool wide, int rows)
{
    int column = 0, head_dim = block->args->head_dim;
    column = sum_values_by(block, wide, rows, 16, column);
    column = sum_values_by(block, wide, rows, 8, column);
    column = sum_values_by(block, wide, rows, 4, column);
    column = sum_values_by(block, wide, rows, 2, column);
    column = sum_values_by(block, wide, rows, 1, column);
    if (column < head_dim) sum_values(block, wide, rows, 1, head_dim - column, column);
}

// Which slots some row of the block sees; false if none sees any.
static bool find_segment_slots(segment_rows *block, int rows)
{
    const int *begin = block->args->begin + block->first, *end = block->args->end + block->first;
    block->begin = KV_SEGMENT_TOKENS;
    block->end = 0;
    for (int row = 0; row < rows; row++) {
        if (begin[row] >= end[row]) continue;
        if (begin[row] < block->begin) block->begin = begin[row];
        if (end[row] > block->end) block->end = end[row];
    }
    return block->begin < block->end;
}

static void clear_rows(const segment_rows *block, int rows)
{
    const attention_segment_args *args = block->args;
    for (int row = block->first; row < block->first + rows; row++) args->max[row] = -INFINITY, args->sum[row] = 0;
    memset(args->out + (size_t)block->first * (size_t)args->head_dim, 0,
           (size_t)rows * (size_t)args->head_dim * sizeof(float));
}

ALWAYS_INLINE void attend_segment(segment_rows *block, bool wide, int rows)
{
    int width = tile_width(rows);
    if (!find_segment_slots(block, rows)) {
        clear_rows(block, rows);
        return;
    }
    int from = block->begin / KV_PAGE_TOKENS * KV_PAGE_TOKENS;
    int to = (block->end + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS * KV_PAGE_TOKENS;
    for (int at = from; at < to; at += width * V_LANES)
        score_slots(block, wide, rows, width, at / KV_PAGE_TOKENS, at % KV_PAGE_TOKENS);
    for (int row = 0; row < rows; row++) weigh_segment_row(block, row, from, to);
    sum_all_values(block, wide, rows);
}

// The number of rows and the type are constants within each call, so that the sums stay in registers.
ALWAYS_INLINE void attend_segment_rows(segment_rows *block, bool wide, int rows)
{
    switch (rows) {
    case 1: attend_segment(block, wide, 1); break;
    case 2: attend_segment(block, wide, 2); break;
    case 3: attend_segment(block, wide, 3); break;
    case 4: attend_segment(block, wide, 4); break;
    case 5: attend_segment(block, wide, 5); break;
    default: attend_segment(block, wide, MAX_ROWS); break;
    }
}

void KERNEL(attention_segment)(const attention_segment_args *args)
{
    segment_rows block;
    block.args = args;
    for (int rows, first = 0; first < args->num_queries; first += rows) {
        int left = args->num_queries - first, blocks = (left + MAX_ROWS - 1) / MAX_ROWS;
        rows = (left + blocks - 1) / blocks; // blocks of nearly equal size
        block.first = first;
        if (args->kv_type == DTYPE_I16) attend_segment_rows(&block, true, rows);
        else attend_segment_rows(&block, false, rows);
    }
}
