// Attention over up to four pages of integers, over the vector operations of the simd_<isa>.h that the including file
// chose. Query rows are taken in blocks of up to MAX_ROWS, so that a key or value is loaded once for the block. A row's
// scores come first, then their weights, as integers again, then the weighted values: products and their sums are exact,
// and the rest of a row's arithmetic is the same in every block, so its result does not depend on the rows beside it.
#include <string.h>

// How integers lie: pages of 8 bits, unpacked ones, or the high bytes of 16.
typedef enum integer_form { BYTES, UNPACKED, HIGH_BYTES } integer_form;

// What MAX_ROWS or fewer neighbouring rows have in common, and their scratch.
typedef struct segment_rows {
    const attention_segment_args *args;
    const char *keys[KV_SEGMENT_PAGES], *values[KV_SEGMENT_PAGES];
    const char *ahead, *ahead_end; // what is still to come near of a piece; NULL: nothing
    int pieces_left;               // behind it
    int first;                // row
    int begin, end;           // slots that some row sees
    float value_limit;        // weights from which on a value's low bytes matter
    float step[MAX_ROWS];     // a row's weights are integers times this
    unsigned matter[KV_SEGMENT_TOKENS / V_LANES]; // slots whose low values matter to some row: V_LANES bits each
    float *scores;            // [rows][score_stride]
    size_t score_stride;
    int16_t (*weights)[KV_SEGMENT_TOKENS]; // [rows]
} segment_rows;

ALWAYS_INLINE int32_t pair_at(const int16_t *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return pair;
}

ALWAYS_INLINE int pair_bytes(integer_form form) { return form == UNPACKED ? 4 : 2; }

// Vector `i` of pairs from `data` on.
ALWAYS_INLINE vpairs load_pairs(integer_form form, const char *data, int i)
{
    return form == UNPACKED ? v_load_i16_pairs((const int16_t *)(const void *)data + i * V_LANES * 2)
                            : v_load_i8_pairs((const int8_t *)data + i * V_LANES * 2);
}

ALWAYS_INLINE vpairs load_pairs_part(integer_form form, const char *data, int count)
{
    return form == UNPACKED ? v_load_i16_pairs_part((const int16_t *)(const void *)data, count)
                            : v_load_i8_pairs_part((const int8_t *)data, count);
}

enum { LINE = 64 };

static void begin_segment(segment_rows *block)
{
    for (int page = 0; page < block->args->num_pages; page++) {
        block->keys[page] = block->args->pages[page].keys;
        block->values[page] = block->args->pages[page].values;
    }
    block->pieces_left = block->args->num_ahead;
}

// Before a loop that calls fetch_ahead: another piece, if one has come near.
static void choose_piece(segment_rows *block)
{
    if (block->ahead < block->ahead_end || block->pieces_left == 0) return;
    const kv_piece *piece = &block->args->ahead[block->args->num_ahead - block->pieces_left--];
    block->ahead = piece->data;
    block->ahead_end = block->ahead + piece->bytes;
}

// Of what will be read next as many bytes come near as are read meanwhile.
ALWAYS_INLINE void fetch_ahead(segment_rows *block, int bytes)
{
    if (block->ahead >= block->ahead_end) return;
    UNROLL for (int at = 0; at < bytes; at += LINE) __builtin_prefetch(block->ahead + at, 0, 2);
    block->ahead += bytes > LINE ? bytes : LINE;
}

ALWAYS_INLINE void clear_sums(int rows, int width, vpairs sums[MAX_ROWS][PAGE_VECTORS])
{
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int i = 0; i < width; i++) sums[row][i] = v_no_pairs();
    }
}

// sums[row][...] += the row's pair times `width` vectors of pairs; rows' pairs are `stride` integers apart.
ALWAYS_INLINE void add_dots(int rows, int width, const int16_t *pairs, size_t stride, const vpairs *vectors, vpairs sums[MAX_ROWS][PAGE_VECTORS])
{
    UNROLL for (int row = 0; row < rows; row++) {
        vpairs factor = v_set_pair(pair_at(pairs + (size_t)row * stride));
        UNROLL for (int i = 0; i < width; i++) sums[row][i] = v_dot_pairs(sums[row][i], factor, vectors[i]);
    }
}

// scores[row][slot ...] of a page, for `width` vectors of slots: query . key, group by group.
ALWAYS_INLINE void score_slots(segment_rows *block, integer_form form, int rows, int width, int page, int slot)
{
    const attention_segment_args *args = block->args;
    const size_t bytes = (size_t)pair_bytes(form), stride = (size_t)kv_even(args->head_dim);
    choose_piece(block);
    const int head_dim = args->head_dim, group_dims = kv_group_dims(form == BYTES ? DTYPE_I8 : DTYPE_I16, head_dim);
    const float *key_scale = args->pages[page].key_scales + slot;
    const char *keys = block->keys[page] + (size_t)slot * bytes;
    const int16_t *query = args->queries + (size_t)block->first * stride;
    for (int dim = 0; dim < head_dim; dim += group_dims, key_scale += KV_PAGE_TOKENS) {
        const int16_t *query_end = query + (dim + group_dims < head_dim ? group_dims : head_dim - dim);
        vpairs sums[MAX_ROWS][PAGE_VECTORS], key[PAGE_VECTORS];
        clear_sums(rows, width, sums);
        for (; query < query_end; query += 2, keys += KV_PAGE_TOKENS * bytes) {
            fetch_ahead(block, width * V_LANES * (int)bytes);
            UNROLL for (int i = 0; i < width; i++) key[i] = load_pairs(form, keys, i);
            add_dots(rows, width, query, stride, key, sums);
        }
        UNROLL for (int row = 0; row < rows; row++) {
            float *scores = block->scores + (size_t)row * block->score_stride + page * KV_PAGE_TOKENS + slot;
            vfloat scale = v_set(args->query_scales[block->first + row] * (form == HIGH_BYTES ? 1 << KV_LOW_BITS : 1));
            UNROLL for (int i = 0; i < width; i++) {
                vfloat part = v_mul(v_from_sums(sums[row][i]), v_mul(v_load(key_scale + i * V_LANES), scale));
                v_store(scores + i * V_LANES, dim == 0 ? part : v_add(v_load(scores + i * V_LANES), part));
            }
        }
    }
}

// Scores of all slots between `from` and `to`, which are multiples of a page.
ALWAYS_INLINE void score_pages(segment_rows *block, integer_form form, int rows, int from, int to)
{
    int width = tile_width(rows);
    for (int at = from; at < to; at += width * V_LANES)
        score_slots(block, form, rows, width, at / KV_PAGE_TOKENS, at % KV_PAGE_TOKENS);
}

// Slots [i, i + V_LANES) of a row that sees [begin, end): x, or `outside` where it sees nothing.
ALWAYS_INLINE vfloat seen(bool whole, vfloat x, float outside, int i, int begin, int end)
{
    return whole ? x : v_select_lanes(x, v_set(outside), begin - i, end - i);
}

// A row's largest score, and what it does not see at -infinity.
ALWAYS_INLINE float cap_slots(segment_rows *block, bool whole, int row, int from, int to)
{
    const attention_segment_args *args = block->args;
    int begin = args->begin[block->first + row], end = args->end[block->first + row];
    float *scores = block->scores + (size_t)row * block->score_stride;
    vfloat top = v_set(-INFINITY);
    for (int i = from; i < to; i += V_LANES) {
        vfloat score = seen(whole, capped(v_load(scores + i), args->softcap), -INFINITY, i, begin, end);
        if (args->softcap != 0 || !whole) v_store(scores + i, score);
        top = v_max(top, score);
    }
    return v_reduce_max(top);
}

// A row's sum, and weights as integers, against `max`: the largest score of scores that are capped, or, if `by_high`, of those by
// high bytes, which the largest of these is near to; then what matters is noted, too. A weight has its value's scale in it.
ALWAYS_INLINE void weigh_slots(segment_rows *block, bool by_high, bool whole, int row, int from, int to, float max)
{
    const attention_segment_args *args = block->args;
    int begin = args->begin[block->first + row], end = args->end[block->first + row];
    float *scores = block->scores + (size_t)row * block->score_stride;
    vfloat sum = v_set(0), largest = v_set(0), total = v_set(0);
    if (by_high) choose_piece(block);
    vfloat base = v_set(max == -INFINITY ? 0 : max), limit = v_set(block->value_limit);
    for (int page = from; page < to; page += KV_PAGE_TOKENS) {
        const float *scales = args->pages[page / KV_PAGE_TOKENS].value_scales;
        for (int i = page; i < page + KV_PAGE_TOKENS; i += V_LANES, scales += V_LANES) {
            vfloat score = v_load(scores + i);
            if (by_high) score = seen(whole, capped(score, args->softcap), -INFINITY, i, begin, end);
            vfloat weight = v_exp2(v_mul(v_sub(score, base), v_set(LOG2_E)));
            if (by_high) fetch_ahead(block, 2 * LINE), block->matter[i / V_LANES] |= v_greater(weight, limit);
            vfloat scaled = seen(whole, v_mul(weight, v_load(scales)), 0, i, begin, end);
            sum = v_add(sum, weight);
            total = v_add(total, scaled);
            largest = v_max(largest, scaled);
            v_store(scores + i, scaled);
        }
    }
    // Small enough that no integer is beyond its type and no sum of products overflows.
    float step = v_reduce_max(largest) * (1.0f / KV_FACTOR_MAX) + v_reduce_add(total) / kv_sum_limit(args->kv_type);
    vfloat inverse = v_set(step > 0 ? 1 / step : 0);
    for (int i = from; i < to; i += V_LANES) v_store_i16(block->weights[row] + i, v_mul(v_load(scores + i), inverse));
    args->max[block->first + row] = max;
    args->sum[block->first + row] = v_reduce_add(sum);
    block->step[row] = step;
}

static bool sees_all(const segment_rows *block, int row, int from, int to)
{
    return block->args->begin[block->first + row] <= from && block->args->end[block->first + row] >= to;
}

static __attribute__((noinline)) void weigh_segment_row(segment_rows *block, int row, int from, int to)
{
    if (sees_all(block, row, from, to)) weigh_slots(block, false, true, row, from, to, cap_slots(block, true, row, from, to));
    else weigh_slots(block, false, false, row, from, to, cap_slots(block, false, row, from, to));
}

// Weighted values of slots [slot, slot_end) of one page onto the sums; meanwhile `bytes` a step come near.
ALWAYS_INLINE void add_page_values(segment_rows *block, integer_form form, int rows, int width, int part, const char *values,
                                   int bytes, int slot, int slot_end, vpairs sums[MAX_ROWS][PAGE_VECTORS])
{
    const size_t step = (size_t)(block->args->head_dim * pair_bytes(form));
    vpairs value[PAGE_VECTORS];
    for (; slot < slot_end; slot += 2, values += step) {
        fetch_ahead(block, bytes);
        UNROLL for (int i = 0; i < width; i++) value[i] = part ? load_pairs_part(form, values, part) : load_pairs(form, values, i);
        add_dots(rows, width, block->weights[0] + slot, KV_SEGMENT_TOKENS, value, sums);
    }
}

// out[row][column ...], for `width` vectors of columns or, if `part` is not 0, for that many columns: sums times the
// row's step times `unit`, added to what is there or instead of it.
ALWAYS_INLINE void put_sums(const segment_rows *block, int rows, int width, int part, int column, float unit, bool add,
                            vpairs sums[MAX_ROWS][PAGE_VECTORS])
{
    size_t head_dim = (size_t)block->args->head_dim;
    float *out = block->args->out + (size_t)block->first * head_dim + column;
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int i = 0; i < width; i++) {
            float *to = out + (size_t)row * head_dim + i * V_LANES;
            vfloat result = v_mul(v_from_sums(sums[row][i]), v_set(block->step[row] * unit));
            if (add) result = v_add(part ? v_load_part(to, part) : v_load(to), result);
            if (part) v_store_part(to, result, part);
            else v_store(to, result);
        }
    }
}

// Whether a line at each of the steps that are left is less than what is still to come near.
static bool lags_behind(const segment_rows *block, int width, int column)
{
    int tiles = (block->args->head_dim - column + width * V_LANES - 1) / (width * V_LANES);
    return block->ahead_end - block->ahead > (ptrdiff_t)tiles * (block->end - block->begin) / 2 * LINE;
}

// out[row][column ...] = weights[row] . values
ALWAYS_INLINE void sum_values(segment_rows *block, integer_form form, int rows, int width, int part, int column)
{
    vpairs sums[MAX_ROWS][PAGE_VECTORS];
    clear_sums(rows, width, sums);
    bool lag = lags_behind(block, width, column);
    for (int slot = block->begin & ~1, slot_end; slot < block->end; slot = slot_end) {
        int page = slot / KV_PAGE_TOKENS;
        slot_end = (page + 1) * KV_PAGE_TOKENS < block->end ? (page + 1) * KV_PAGE_TOKENS : block->end;
        size_t at = kv_value_at(DTYPE_I16, block->args->head_dim, slot % KV_PAGE_TOKENS, column) * (size_t)pair_bytes(form) / 2;
        choose_piece(block);
        const char *values = block->values[page] + at;
        if (form == HIGH_BYTES && !lag) add_page_values(block, form, rows, width, part, values, LINE, slot, slot_end, sums);
        else add_page_values(block, form, rows, width, part, values, width * V_LANES * pair_bytes(form), slot, slot_end, sums);
    }
    put_sums(block, rows, width, part, column, form == HIGH_BYTES ? 1 << KV_LOW_BITS : 1, false, sums);
}

// Tiles of one width while they fit; returns the first column that is left.
ALWAYS_INLINE int sum_values_by(segment_rows *block, integer_form form, int rows, int width, int column)
{
    if (width > tile_width(rows)) return column;
    for (; column + width * V_LANES <= block->args->head_dim; column += width * V_LANES)
        sum_values(block, form, rows, width, 0, column);
    return column;
}

ALWAYS_INLINE void sum_all_values(segment_rows *block, integer_form form, int rows)
{
    int column = 0, head_dim = block->args->head_dim;
    column = sum_values_by(block, form, rows, 16, column);
    column = sum_values_by(block, form, rows, 8, column);
    column = sum_values_by(block, form, rows, 4, column);
    column = sum_values_by(block, form, rows, 2, column);
    column = sum_values_by(block, form, rows, 1, column);
    if (column < head_dim) sum_values(block, form, rows, 1, head_dim - column, column);
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

// The pages that the block's slots are in.
static int first_slot(const segment_rows *block) { return block->begin / KV_PAGE_TOKENS * KV_PAGE_TOKENS; }
static int last_slot(const segment_rows *block) { return (block->end + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS * KV_PAGE_TOKENS; }

ALWAYS_INLINE void attend_segment(segment_rows *block, integer_form form, int rows)
{
    if (!find_segment_slots(block, rows)) {
        clear_rows(block, rows);
        return;
    }
    int from = first_slot(block), to = last_slot(block);
    score_pages(block, form, rows, from, to);
    for (int row = 0; row < rows; row++) weigh_segment_row(block, row, from, to);
    sum_all_values(block, form, rows);
}

// `call` with a constant number of rows, so that the sums stay in registers.
#define WITH_ROWS(call, rows) \
    switch (rows) { \
    case 1: call(1); break; \
    case 2: call(2); break; \
    case 3: call(3); break; \
    case 4: call(4); break; \
    case 5: call(5); break; \
    default: call(MAX_ROWS); break; \
    }

// Rows of the next block, if blocks of at most MAX_ROWS shall have nearly equal sizes.
static int rows_of_block(int first, int num_queries)
{
    int left = num_queries - first, blocks = (left + MAX_ROWS - 1) / MAX_ROWS;
    return (left + blocks - 1) / blocks;
}

static void attend_bytes(segment_rows *block, int rows)
{
#define CALL(n) attend_segment(block, BYTES, n)
    WITH_ROWS(CALL, rows)
#undef CALL
}

static void attend_unpacked(segment_rows *block, int rows)
{
#define CALL(n) attend_segment(block, UNPACKED, n)
    WITH_ROWS(CALL, rows)
#undef CALL
}

static void unpack_values(int16_t *to, const kv_page *page, int head_dim)
{
    for (int i = 0; i < KV_PAGE_TOKENS * head_dim; i += 2 * V_LANES)
        v_join_bytes(to + i, (const int8_t *)page->values + i, page->low_values + i, KV_LOW_BITS);
}

// A key's low bytes lie in blocks of slots.
static void unpack_keys(int16_t *to, const kv_page *page, int head_dim)
{
    enum { PIECE = 2 * V_LANES, BLOCK = 2 * KV_BLOCK_TOKENS };
    const int8_t *high = page->keys, *low = page->low_keys;
    for (int slot = 0; slot < KV_PAGE_TOKENS; slot += KV_BLOCK_TOKENS)
        for (int pair = 0; pair < kv_even(head_dim) / 2; pair++, low += BLOCK)
            for (int i = 0; i < BLOCK; i += PIECE) {
                size_t at = (size_t)(pair * KV_PAGE_TOKENS + slot) * 2 + (size_t)i;
                v_join_bytes(to + at, high + at, low + i, KV_LOW_BITS);
            }
}

// Pages of 16 bits that some row sees, as 16-bit integers.
static void unpack_pages(segment_rows *block)
{
    const attention_segment_args *args = block->args;
    if (!find_segment_slots(block, args->num_queries)) return;
    for (int page = block->begin / KV_PAGE_TOKENS; page * KV_PAGE_TOKENS < block->end; page++) {
        int16_t *keys = args->unpacked + (size_t)page * kv_unpacked(args->head_dim), *values = keys + kv_unpacked_keys(args->head_dim);
        unpack_keys(keys, &args->pages[page], args->head_dim);
        unpack_values(values, &args->pages[page], args->head_dim);
        block->keys[page] = (const char *)keys;
        block->values[page] = (const char *)values;
    }
}

void KERNEL(attention_segment)(const attention_segment_args *args)
{
    _Alignas(64) float scores[MAX_ROWS * KV_SEGMENT_TOKENS];
    _Alignas(64) int16_t weights[MAX_ROWS][KV_SEGMENT_TOKENS];
    segment_rows block = {.args = args, .scores = scores, .score_stride = KV_SEGMENT_TOKENS, .weights = weights};
    bool bytes = args->kv_type == DTYPE_I8;
    begin_segment(&block);
    if (!bytes) unpack_pages(&block);
    for (int rows; block.first < args->num_queries; block.first += rows) {
        rows = rows_of_block(block.first, args->num_queries);
        if (bytes) attend_bytes(&block, rows);
        else attend_unpacked(&block, rows);
        block.ahead_end = block.ahead, block.pieces_left = 0; // what is ahead has come near while the first rows attended
    }
}
