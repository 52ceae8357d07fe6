// Attention of one token's rows over pages of 16 bits, of which all high bytes are read, but low bytes only where they
// matter (kernels.h): what a token reads of a long context is little more than half. After attention_integer_impl.h, in the
// same file.

// The rows of one token see the same slots.
static void begin_high_bytes(segment_rows *block, const attention_segment_args *args)
{
    *block = (segment_rows){.args = args, .score_stride = args->score_stride, .begin = args->begin[0], .end = args->end[0]};
    begin_segment(block);
}

static void fetch_bytes(const void *data, int bytes)
{
    for (int at = 0; at < bytes; at += LINE) __builtin_prefetch((const char *)data + at, 0, 2);
}

// All at once: they are needed soon.
static void fetch_scales(const attention_segment_args *args, kv_plane plane)
{
    for (int page = 0; page < args->num_pages; page++) fetch_bytes(kv_plane_of(&args->pages[page], plane), KV_PAGE_TOKENS * sizeof(float));
}

static void take_rows(segment_rows *block, int first)
{
    block->first = first;
    block->scores = block->args->scores + (size_t)first * block->score_stride;
}

static void score_high_bytes(segment_rows *block, int rows)
{
#define CALL(n) score_pages(block, HIGH_BYTES, n, first_slot(block), last_slot(block))
    WITH_ROWS(CALL, rows)
#undef CALL
}

static float largest_score(const float *scores, int begin, int end, float largest)
{
    vfloat top = v_set(largest);
    for (int i = begin / V_LANES * V_LANES; i < end; i += V_LANES)
        top = v_max(top, seen(false, v_load(scores + i), -INFINITY, i, begin, end));
    return v_reduce_max(top);
}

void KERNEL(attention_scores)(const attention_segment_args *args)
{
    segment_rows block;
    begin_high_bytes(&block, args);
    if (block.begin >= block.end) return;
    fetch_scales(args, KV_KEY_SCALES);
    for (int rows, first = 0; first < args->num_queries; first += rows) {
        rows = rows_of_block(first, args->num_queries);
        take_rows(&block, first);
        score_high_bytes(&block, rows);
        for (int row = 0; row < rows; row++)
            args->largest[first + row] = largest_score(block.scores + (size_t)row * block.score_stride, block.begin, block.end, args->largest[first + row]);
    }
}

static float capped_score(float score, float softcap) { return softcap != 0 ? softcap * tanhf(score / softcap) : score; }

// The score, before the softcap, whose weight is e^-nats of that of the largest.
static float score_below(float largest, float softcap, float nats)
{
    float below = capped_score(largest, softcap) - nats;
    if (softcap == 0) return below;
    return below <= -softcap ? -INFINITY : softcap * atanhf(below / softcap);
}

// Of slots [slot, slot + V_LANES), those in [begin, end).
static unsigned lanes_between(int slot, int begin, int end)
{
    unsigned from = slot < begin ? ~0u << (begin - slot) : ~0u;
    return end - slot < V_LANES ? from & ((1u << (end - slot)) - 1) : from;
}

// Blocks of keys in which the score of some row, in a slot that is seen, comes within KV_KEY_NATS of its largest, by their first
// slots.
static int list_key_blocks(segment_rows *block, int *slots)
{
    const attention_segment_args *args = block->args;
    unsigned bits[KV_SEGMENT_TOKENS / V_LANES] = {0};
    for (int row = 0; row < args->num_queries; row++) {
        choose_piece(block);
        const float *scores = args->scores + (size_t)row * args->score_stride;
        vfloat limit = v_set(score_below(args->largest[row], args->softcap, KV_KEY_NATS));
        for (int i = block->begin / V_LANES; i * V_LANES < block->end; i++) fetch_ahead(block, LINE), bits[i] |= v_greater(v_load(scores + i * V_LANES), limit);
    }
    int count = 0;
    for (int slot = block->begin / KV_BLOCK_TOKENS * KV_BLOCK_TOKENS; slot < block->end; slot += KV_BLOCK_TOKENS) {
        unsigned any = 0;
        for (int at = slot; at < slot + KV_BLOCK_TOKENS && at < block->end; at += V_LANES)
            any |= bits[at / V_LANES] & lanes_between(at, block->begin, block->end);
        if (any) slots[count++] = slot;
    }
    return count;
}

// Pairs of values, by their first slots, that matter to some row of the block.
static int list_value_pairs(const segment_rows *block, int *slots)
{
    int count = 0;
    for (int i = block->begin / V_LANES; i * V_LANES < block->end; i++)
        for (unsigned pairs = (block->matter[i] | block->matter[i] >> 1) & 0x5555u; pairs; pairs &= pairs - 1)
            slots[count++] = i * V_LANES + __builtin_ctz(pairs);
    return count;
}

static const char *low_keys(const segment_rows *block, int slot)
{
    return (const char *)block->args->pages[slot / KV_PAGE_TOKENS].low_keys + kv_low_key_at(block->args->head_dim, slot % KV_PAGE_TOKENS, 0);
}

static const char *low_values(const segment_rows *block, int slot)
{
    return (const char *)block->args->pages[slot / KV_PAGE_TOKENS].low_values + kv_value_at(DTYPE_I16, block->args->head_dim, slot % KV_PAGE_TOKENS, 0);
}

// What the low bytes of a block of keys change in the scores; meanwhile those of another, if `next` is not NULL, come near.
ALWAYS_INLINE void add_low_keys(const segment_rows *block, int rows, int slot, const char *next)
{
    enum { WIDTH = KV_BLOCK_TOKENS / V_LANES, PAIR_BYTES = 2 * KV_BLOCK_TOKENS };
    const attention_segment_args *args = block->args;
    const size_t stride = (size_t)kv_even(args->head_dim);
    const int16_t *query = args->queries + (size_t)block->first * stride, *query_end = query + stride;
    const float *key_scale = args->pages[slot / KV_PAGE_TOKENS].key_scales + slot % KV_PAGE_TOKENS;
    const bool twice = 2 * WIDTH * (rows + 1) < V_REGISTERS; // two sums are there for each score: the next dot does not wait for the last
    vpairs sums[MAX_ROWS][PAGE_VECTORS], others[MAX_ROWS][PAGE_VECTORS], key[WIDTH];
    clear_sums(rows, WIDTH, sums);
    clear_sums(rows, WIDTH, others);
    const char *low = low_keys(block, slot);
    for (; twice && query + 2 < query_end; query += 4, low += 2 * PAIR_BYTES) {
        if (next) __builtin_prefetch(next, 0, 2), next += 2 * PAIR_BYTES;
        UNROLL for (int i = 0; i < WIDTH; i++) key[i] = load_pairs(HIGH_BYTES, low, i);
        add_dots(rows, WIDTH, query, stride, key, sums);
        UNROLL for (int i = 0; i < WIDTH; i++) key[i] = load_pairs(HIGH_BYTES, low + PAIR_BYTES, i);
        add_dots(rows, WIDTH, query + 2, stride, key, others);
    }
    for (; query < query_end; query += 2, low += PAIR_BYTES) {
        if (next) __builtin_prefetch(next, 0, 2), next += PAIR_BYTES;
        UNROLL for (int i = 0; i < WIDTH; i++) key[i] = load_pairs(HIGH_BYTES, low, i);
        add_dots(rows, WIDTH, query, stride, key, sums);
    }
    UNROLL for (int row = 0; row < rows; row++) {
        float *scores = block->scores + (size_t)row * block->score_stride + slot;
        vfloat scale = v_set(args->query_scales[block->first + row]);
        UNROLL for (int i = 0; i < WIDTH; i++) {
            vfloat part = v_mul(v_from_sums(twice ? v_add_sums(sums[row][i], others[row][i]) : sums[row][i]), v_mul(v_load(key_scale + i * V_LANES), scale));
            v_store(scores + i * V_LANES, v_add(v_load(scores + i * V_LANES), part));
        }
    }
}

ALWAYS_INLINE void add_low_key_blocks(const segment_rows *block, int rows, const int *slots, int count)
{
    enum { AHEAD = 3 };
    bool first = block->first == 0; // the others find them near
    for (int i = 0; first && i < count && i < AHEAD; i++) fetch_bytes(low_keys(block, slots[i]), kv_even(block->args->head_dim) * KV_BLOCK_TOKENS);
    for (int i = 0; i < count; i++)
        add_low_keys(block, rows, slots[i], first && i + AHEAD < count ? low_keys(block, slots[i + AHEAD]) : NULL);
}

static void refine_scores(segment_rows *block, int rows, const int *slots, int count)
{
#define CALL(n) add_low_key_blocks(block, n, slots, count)
    WITH_ROWS(CALL, rows)
#undef CALL
}

// What the low bytes of some pairs of values add to out[row][column ...].
ALWAYS_INLINE void sum_low_values(const segment_rows *block, int rows, int width, int part, int column, const int *slots, int count)
{
    vpairs sums[MAX_ROWS][PAGE_VECTORS], value[PAGE_VECTORS];
    clear_sums(rows, width, sums);
    for (int at = 0; at < count; at++) {
        const char *low = low_values(block, slots[at]) + 2 * column;
        UNROLL for (int i = 0; i < width; i++) value[i] = part ? load_pairs_part(HIGH_BYTES, low, part) : load_pairs(HIGH_BYTES, low, i);
        add_dots(rows, width, block->weights[0] + slots[at], KV_SEGMENT_TOKENS, value, sums);
    }
    put_sums(block, rows, width, part, column, 1, true, sums);
}

ALWAYS_INLINE void sum_all_low_values(const segment_rows *block, int rows, const int *slots, int count)
{
    const int head_dim = block->args->head_dim, width = tile_width(rows);
    int column = 0;
    for (; column + width * V_LANES <= head_dim; column += width * V_LANES) sum_low_values(block, rows, width, 0, column, slots, count);
    for (; column + V_LANES <= head_dim; column += V_LANES) sum_low_values(block, rows, 1, 0, column, slots, count);
    if (column < head_dim) sum_low_values(block, rows, 1, head_dim - column, column, slots, count);
}

static void sum_high_and_low(segment_rows *block, int rows, const int *slots, int count)
{
#define CALL(n) sum_all_values(block, HIGH_BYTES, n), sum_all_low_values(block, n, slots, count)
    WITH_ROWS(CALL, rows)
#undef CALL
}

static __attribute__((noinline)) void weigh_row_by_high(segment_rows *block, int row)
{
    const attention_segment_args *args = block->args;
    int from = first_slot(block), to = last_slot(block);
    float max = capped_score(args->largest[block->first + row], args->softcap);
    if (sees_all(block, row, from, to)) weigh_slots(block, true, true, row, from, to, max);
    else weigh_slots(block, true, false, row, from, to, max);
}

void KERNEL(attention_values)(const attention_segment_args *args)
{
    _Alignas(64) int16_t weights[MAX_ROWS][KV_SEGMENT_TOKENS];
    segment_rows block;
    begin_high_bytes(&block, args);
    block.weights = weights;
    if (block.begin >= block.end) {
        clear_rows(&block, args->num_queries);
        return;
    }
    int slots[KV_SEGMENT_TOKENS / 2];
    fetch_scales(args, KV_VALUE_SCALES);
    int count = list_key_blocks(&block, slots);
    for (int rows, first = 0; first < args->num_queries; first += rows) {
        rows = rows_of_block(first, args->num_queries);
        take_rows(&block, first);
        refine_scores(&block, rows, slots, count);
    }
    block.value_limit = expf(-KV_VALUE_NATS);
    for (int rows, first = 0; first < args->num_queries; first += rows) {
        rows = rows_of_block(first, args->num_queries);
        take_rows(&block, first);
        memset(block.matter, 0, sizeof block.matter);
        for (int row = 0; row < rows; row++) weigh_row_by_high(&block, row);
        count = list_value_pairs(&block, slots);
        for (int i = 0; i < count; i++) fetch_bytes(low_values(&block, slots[i]), 2 * args->head_dim);
        sum_high_and_low(&block, rows, slots, count);
    }
}
