// Attention over the KV cache. The work is cut into units: one kv head, some tokens of one sequence. A unit's pages
// are taken in segments of KV_SEGMENT_PAGES, each by softmax from scratch, merged in order within their group, and groups in
// order. When there are few units (decoding), groups or segments are shared out to threads; the arithmetic is the same either
// way, so results depend neither on threads nor on what else is in the batch. Over 16 bits, the rows of a token that attends by
// itself read low bytes only where scores by the high bytes say that they matter; where there are many segments, the scores of
// all come first. Each call of a kernel is told which planes will be read next, and asks for them meanwhile.
#include "base/mem.h"
#include "engine/cpu/cpu_engine.h"
#include <math.h>
#include <string.h>

enum {
    UNIT_QUERIES = 96,    // query rows (tokens times heads of one kv head) a unit has at most, if one token has no more;
    UNIT_FLOATS = 192 * 64, // more where heads are so small that their results stay in a core's caches
    UNITS_PER_THREAD = 4, // from here on a unit is an item; with fewer, a group or a segment is
    GROUP_SEGMENTS = 4,   // group g holds segments [g * GROUP_SEGMENTS, (g + 1) * GROUP_SEGMENTS)
    GROUPS_PER_THREAD = 2, // from here on a group is an item: between two items a thread's reading stops, and merging takes another's results
    FEW_SEGMENTS = 4,      // for which a pass of their own costs more than it saves: each is read by its own largest score
};

struct attention_unit {
    const chunk_span *span;
    int kv_head, token, tokens;        // tokens [token, token + tokens) of the span
    bool by_high_bytes;                // the rows of one token, over 16 bits
    bool scores_first;                 // of all segments, in a pass of their own
    int page_begin, page_end;          // that any of its queries sees
    int segment_begin, segment_end;    // segment s holds pages [s * KV_SEGMENT_PAGES, (s + 1) * KV_SEGMENT_PAGES)
    int first_item;                    // of its segments, when they are shared out
    size_t partial;                    // where its segments' results begin in work.partial
};

typedef struct attention_job {
    cpu_model *model;
    int layer, dim, shared;            // shared: query heads of one kv head
    const attention_desc *desc;
    attention_unit *units;
    int num_units, num_items;
    bool items_are_groups;             // or segments, when units are shared out
    bool scores_first;                 // some unit's
    size_t score_floats;               // of a unit by high bytes, at most
    attention_store store;             // by the thread that attends; NULL: done
    void *store_arg;
} attention_job;

static size_t state_floats(int queries, int dim) { return (size_t)queries * (size_t)(dim + 2); }

enum {
    NUM_STATES = 3,   // of a unit in work: of all of it, of a group, of a segment
    AHEAD_PIECES = KV_PLANES * KV_SEGMENT_PAGES,
};

static attention_state state_at(float *memory, int queries)
{
    return (attention_state){memory, memory + queries, memory + 2 * queries};
}

// A power of two, so that a full chunk makes units of one size.
static int unit_tokens(int shared, int head_dim)
{
    int tokens = 1, queries = UNIT_FLOATS / head_dim > UNIT_QUERIES ? UNIT_FLOATS / head_dim : UNIT_QUERIES;
    while (tokens * 2 * shared <= queries && tokens < MAX_CHUNK_ROWS) tokens *= 2;
    return tokens;
}

static bool shares_segments(int num_units, int threads) { return num_units < UNITS_PER_THREAD * threads; }

static size_t unpacked_integers(dtype kv_type, int head_dim)
{
    return kv_type == DTYPE_I16 ? (KV_SEGMENT_PAGES * kv_unpacked(head_dim) + 31) & ~(size_t)31 : 0;
}

// Per thread: a segment's unpacked pages, gathered queries (as floats, or as integers and scales), scores, states and the
// visible ranges of a unit.
size_t attention_scratch_bytes(const model_desc *desc, dtype kv_type)
{
    size_t most = 0;
    for (int i = 0; i < desc->num_blocks; i++) {
        const attention_desc *attention = &desc->blocks[i].attention;
        int shared = attention->num_heads / attention->num_kv_heads, queries = unit_tokens(shared, attention->head_dim) * shared;
        size_t floats = (size_t)queries * (size_t)(KV_PAGE_TOKENS + kv_even(attention->head_dim) + 1) +
                        NUM_STATES * state_floats(queries, attention->head_dim);
        size_t bytes = floats * sizeof(float) + 2 * (size_t)queries * sizeof(int) +
                       unpacked_integers(kv_type, attention->head_dim) * sizeof(int16_t);
        if (bytes > most) most = bytes;
    }
    return (most + 63) & ~(size_t)63;
}

// What is between the passes of a unit of `queries` rows: the largest score of each row, of each segment, and all scores.
static size_t score_floats(int queries, size_t segments) { return (size_t)queries * (1 + segments + segments * KV_SEGMENT_TOKENS); }

size_t attention_partial_bytes(const model_desc *desc, int tokens, int threads)
{
    size_t most = 0;
    for (int i = 0; i < desc->num_blocks; i++) {
        const attention_desc *attention = &desc->blocks[i].attention;
        int shared = attention->num_heads / attention->num_kv_heads, queries = unit_tokens(shared, attention->head_dim) * shared;
        int seen = attention->window && attention->window < tokens ? attention->window : tokens;
        size_t segments = (size_t)seen / KV_SEGMENT_TOKENS + 2, heads = (size_t)attention->num_kv_heads, units = heads;
        while (shares_segments((int)(units + heads), threads)) units += heads;
        size_t places = units > (size_t)threads ? units : (size_t)threads, floats = places * score_floats(shared, segments);
        if (shares_segments((int)units, threads)) floats += units * segments * state_floats(queries, attention->head_dim);
        if (floats * sizeof(float) > most) most = floats * sizeof(float);
    }
    return most;
}

// Pages of a segment that the unit sees, from page `first` on: none of a segment beyond the last one.
typedef struct seen_pages {
    int segment;                       // -1: not looked up
    int first, count;
    kv_page pages[KV_SEGMENT_PAGES];
} seen_pages;

typedef struct unit_scratch {
    int16_t *unpacked;
    float *scores;
    float *queries;                    // [queries][dim], for float pages
    int16_t *integers;                 // [queries][kv_even(dim)], for integer pages
    float *scales;                     // [queries], of the integers
    int *begin, *end;
    attention_state total, group, segment;
    seen_pages seen[2];                // of segment s in s % 2: that which a kernel is called with, and the next one
    kv_piece ahead[AHEAD_PIECES];      // of the call
} unit_scratch;

static int num_segments(const attention_unit *unit) { return unit->segment_end - unit->segment_begin; }
static int num_queries(const attention_job *job, const attention_unit *unit) { return unit->tokens * job->shared; }
static dtype kv_type(const attention_job *job) { return job->model->kv.type; }

static void gather_queries(const attention_job *job, const attention_unit *unit, const unit_scratch *s)
{
    const work_buffers *work = &job->model->work;
    for (int i = 0; i < num_queries(job, unit); i++) {
        size_t row = (size_t)(unit->span->row + unit->token + i / job->shared), head = (size_t)(unit->kv_head * job->shared + i % job->shared);
        const float *query = work->q + row * work->q_stride + head * (size_t)job->dim;
        if (kv_type(job) == DTYPE_F32) memcpy(s->queries + (size_t)i * (size_t)job->dim, query, (size_t)job->dim * sizeof *query);
        else s->scales[i] = job->model->engine->kernels->attention_query(query, job->dim, kv_type(job), s->integers + (size_t)(i * kv_even(job->dim)));
    }
}

// The thread's scratch, with the unit's queries gathered.
static unit_scratch prepare_unit(const attention_job *job, const attention_unit *unit, int thread)
{
    int queries = num_queries(job, unit);
    unit_scratch s;
    s.unpacked = (int16_t *)(void *)(job->model->work.attention + (size_t)thread * job->model->work.attention_bytes);
    s.scores = (float *)(void *)(s.unpacked + unpacked_integers(kv_type(job), job->dim));
    s.queries = s.scores + (size_t)queries * KV_PAGE_TOKENS;
    s.integers = (int16_t *)(void *)s.queries;
    s.scales = s.queries + (size_t)(queries * kv_even(job->dim));
    float *states = s.scales + queries;
    s.total = state_at(states, queries);
    s.group = state_at(states + state_floats(queries, job->dim), queries);
    s.segment = state_at(states + 2 * state_floats(queries, job->dim), queries);
    s.begin = (int *)(void *)(states + NUM_STATES * state_floats(queries, job->dim));
    s.end = s.begin + queries;
    s.seen[0].segment = s.seen[1].segment = -1;
    gather_queries(job, unit, &s);
    return s;
}

static int first_seen(const attention_desc *desc, int position)
{
    int first = desc->window ? position - desc->window + 1 : 0;
    return first > 0 ? first : 0;
}

static int clamp(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

// Which slots of [0, slots) behind position `first` each query sees.
static void find_ranges(const attention_job *job, const attention_unit *unit, int first, int slots, const unit_scratch *scratch)
{
    for (int i = 0; i < num_queries(job, unit); i++) {
        int position = unit->span->position + unit->token + i / job->shared;
        scratch->begin[i] = clamp(first_seen(job->desc, position) - first, 0, slots);
        scratch->end[i] = clamp(position + 1 - first, 0, slots);
    }
}

// A segment's pages that the unit sees.
static void segment_pages(const attention_unit *unit, int segment, int *begin, int *end)
{
    *begin = clamp(segment * KV_SEGMENT_PAGES, unit->page_begin, unit->page_end);
    *end = clamp((segment + 1) * KV_SEGMENT_PAGES, unit->page_begin, unit->page_end);
}

// Float pages, one after another.
static void compute_floats(const attention_job *job, const attention_unit *unit, int segment, const unit_scratch *scratch, attention_state state)
{
    int queries = num_queries(job, unit), page, last;
    segment_pages(unit, segment, &page, &last);
    const kv_cache *cache = &unit->span->seq->cache;
    for (int i = 0; i < queries; i++) state.max[i] = -INFINITY, state.sum[i] = 0;
    memset(state.out, 0, (size_t)queries * (size_t)job->dim * sizeof(float));
    for (; page < last; page++) {
        kv_page data = kv_cache_page(cache, job->layer, unit->kv_head, page);
        find_ranges(job, unit, page * KV_PAGE_TOKENS, KV_PAGE_TOKENS, scratch);
        job->model->engine->kernels->attention_page(&(attention_page_args){
            .queries = scratch->queries,
            .num_queries = queries,
            .head_dim = job->dim,
            .keys = data.keys,
            .values = data.values,
            .begin = scratch->begin,
            .end = scratch->end,
            .softcap = job->desc->score_softcap,
            .max = state.max,
            .sum = state.sum,
            .out = state.out,
            .scores = scratch->scores,
        });
    }
}

// ---- Integers

// They stay in the scratch, so that those of the next segment, which come near, need no second look when its turn comes.
static const seen_pages *find_pages(const attention_job *job, const attention_unit *unit, int segment, unit_scratch *scratch)
{
    int last;
    seen_pages *seen = &scratch->seen[segment % 2];
    if (seen->segment == segment) return seen;
    seen->segment = segment;
    segment_pages(unit, segment, &seen->first, &last);
    seen->count = last - seen->first;
    kv_cache_pages(&unit->span->seq->cache, job->layer, unit->kv_head, seen->first, seen->count, seen->pages);
    return seen;
}

static attention_segment_args integer_args(const attention_job *job, const attention_unit *unit, int segment, unit_scratch *scratch)
{
    const seen_pages *own = find_pages(job, unit, segment, scratch);
    find_ranges(job, unit, own->first * KV_PAGE_TOKENS, own->count * KV_PAGE_TOKENS, scratch);
    return (attention_segment_args){
        .queries = scratch->integers,
        .query_scales = scratch->scales,
        .num_queries = num_queries(job, unit),
        .head_dim = job->dim,
        .kv_type = kv_type(job),
        .pages = own->pages,
        .num_pages = own->count,
        .begin = scratch->begin,
        .end = scratch->end,
        .softcap = job->desc->score_softcap,
        .unpacked = scratch->unpacked,
        .ahead = scratch->ahead,
    };
}

// A plane of pages [begin, end) is to come near. What lies in one piece is one.
static void add_ahead(attention_segment_args *args, unit_scratch *scratch, const seen_pages *seen, int begin, int end, kv_plane plane)
{
    size_t bytes = kv_plane_bytes(plane, args->kv_type, args->head_dim);
    for (int i = begin; bytes > 0 && i < end && i < seen->count; i++) {
        const char *data = kv_plane_of(&seen->pages[i], plane);
        kv_piece *last = args->num_ahead > 0 ? &scratch->ahead[args->num_ahead - 1] : NULL;
        if (last && (const char *)last->data + last->bytes == data) last->bytes += bytes;
        else scratch->ahead[args->num_ahead++] = (kv_piece){data, bytes};
    }
}

static void put_state(attention_segment_args *args, attention_state state) { args->max = state.max, args->sum = state.sum, args->out = state.out; }

static void compute_integers(const attention_job *job, const attention_unit *unit, int segment, unit_scratch *scratch, attention_state state)
{
    attention_segment_args args = integer_args(job, unit, segment, scratch);
    const seen_pages *own = find_pages(job, unit, segment, scratch), *next = find_pages(job, unit, segment + 1, scratch);
    bool whole = kv_type(job) == DTYPE_I16; // unpacked before it is read, for many rows
    add_ahead(&args, scratch, whole ? next : own, 0, KV_SEGMENT_PAGES, KV_VALUES);
    add_ahead(&args, scratch, next, 0, KV_SEGMENT_PAGES, KV_KEYS);
    for (kv_plane plane = KV_KEY_SCALES; plane < KV_PLANES; plane++) add_ahead(&args, scratch, next, 0, KV_SEGMENT_PAGES, plane);
    put_state(&args, state);
    job->model->engine->kernels->attention_segment(&args);
}

// ---- By high bytes

// Of a unit. `place`: the unit's among the units, or the thread that does all of it.
typedef struct pass_scores {
    float *largest;            // [queries]
    float *segment_largest;    // [segments][queries]
    float *scores;             // [queries][stride]
    size_t stride;
} pass_scores;

static pass_scores scores_at(const attention_job *job, const attention_unit *unit, int place)
{
    size_t segments = (size_t)num_segments(unit), queries = (size_t)num_queries(job, unit);
    float *memory = job->model->work.partial + (size_t)place * job->score_floats;
    return (pass_scores){memory, memory + queries, memory + queries * (1 + segments), segments * KV_SEGMENT_TOKENS};
}

static float *largest_of_segment(const attention_unit *unit, int segment, pass_scores scores, int queries)
{
    return scores.segment_largest + (size_t)(segment - unit->segment_begin) * (size_t)queries;
}

static attention_segment_args pass_args(const attention_job *job, const attention_unit *unit, int segment, unit_scratch *scratch, pass_scores scores)
{
    attention_segment_args args = integer_args(job, unit, segment, scratch);
    args.scores = scores.scores + (size_t)(segment - unit->segment_begin) * KV_SEGMENT_TOKENS;
    args.score_stride = scores.stride;
    args.largest = largest_of_segment(unit, segment, scores, args.num_queries);
    return args;
}

// The keys of the next page come near while those of one are read.
static void score_segment(const attention_job *job, const attention_unit *unit, int segment, unit_scratch *scratch, attention_segment_args *args)
{
    add_ahead(args, scratch, find_pages(job, unit, segment, scratch), 1, KV_SEGMENT_PAGES, KV_KEYS);
    add_ahead(args, scratch, find_pages(job, unit, segment + 1, scratch), 0, 1, KV_KEYS);
    for (int i = 0; i < args->num_queries; i++) args->largest[i] = -INFINITY;
    job->model->engine->kernels->attention_scores(args);
}

// The first pass over segments [segment, end).
static void score_segments(const attention_job *job, const attention_unit *unit, int segment, int end, unit_scratch *scratch, pass_scores scores)
{
    for (; segment < end; segment++) {
        attention_segment_args args = pass_args(job, unit, segment, scratch, scores);
        score_segment(job, unit, segment, scratch, &args);
    }
}

static void find_largest(const attention_job *job, const attention_unit *unit, pass_scores scores)
{
    int queries = num_queries(job, unit), segments = num_segments(unit);
    for (int i = 0; i < queries; i++) {
        scores.largest[i] = -INFINITY;
        for (int s = 0; s < segments; s++) scores.largest[i] = fmaxf(scores.largest[i], scores.segment_largest[s * queries + i]);
    }
}

// While the values of a segment are weighed, those of the next one come near, or its own ones, whose scores have just been made.
static void weigh_segment(const attention_job *job, const attention_unit *unit, int segment, unit_scratch *scratch, pass_scores scores,
                          attention_state state)
{
    attention_segment_args args = pass_args(job, unit, segment, scratch, scores);
    if (unit->scores_first) args.largest = scores.largest;
    else score_segment(job, unit, segment, scratch, &args);
    args.num_ahead = 0;
    add_ahead(&args, scratch, find_pages(job, unit, unit->scores_first ? segment + 1 : segment, scratch), 0, KV_SEGMENT_PAGES, KV_VALUES);
    put_state(&args, state);
    job->model->engine->kernels->attention_values(&args);
}

// ---- A unit

static void compute_segment(const attention_job *job, const attention_unit *unit, int segment, unit_scratch *scratch, int place,
                            attention_state state)
{
    if (unit->by_high_bytes) weigh_segment(job, unit, segment, scratch, scores_at(job, unit, place), state);
    else if (kv_type(job) == DTYPE_F32) compute_floats(job, unit, segment, scratch, state);
    else compute_integers(job, unit, segment, scratch, state);
}

static void merge(const attention_job *job, const attention_unit *unit, attention_state total, attention_state part)
{
    job->model->engine->kernels->attention_merge(num_queries(job, unit), job->dim, total, part);
}

// Segments [segment, end) of one group.
static void compute_segments(const attention_job *job, const attention_unit *unit, int segment, int end, unit_scratch *scratch, int place,
                             attention_state state)
{
    compute_segment(job, unit, segment, scratch, place, state);
    for (segment++; segment < end; segment++) {
        compute_segment(job, unit, segment, scratch, place, scratch->segment);
        merge(job, unit, state, scratch->segment);
    }
}

static int group_end(const attention_unit *unit, int segment)
{
    int end = (segment / GROUP_SEGMENTS + 1) * GROUP_SEGMENTS;
    return end < unit->segment_end ? end : unit->segment_end;
}

// out / sum into the output projection's input.
static void write_unit(const attention_job *job, const attention_unit *unit, attention_state total)
{
    const activations *output = &job->model->work.input;
    for (int i = 0; i < num_queries(job, unit); i++) {
        size_t row = (size_t)(unit->span->row + unit->token + i / job->shared);
        int head = unit->kv_head * job->shared + i % job->shared;
        float *result = output->values + row * output->stride + (size_t)head * (size_t)job->dim;
        memcpy(result, total.out + (size_t)i * (size_t)job->dim, (size_t)job->dim * sizeof(float));
        job->model->engine->kernels->softcap(result, job->dim, 1 / total.sum[i], 0);
    }
}

static void run_whole_unit(void *arg, int index, int thread)
{
    const attention_job *job = arg;
    const attention_unit *unit = &job->units[index];
    if (job->store) job->store(job->store_arg, unit->span->row, unit->kv_head);
    unit_scratch scratch = prepare_unit(job, unit, thread);
    if (unit->scores_first) {
        pass_scores scores = scores_at(job, unit, thread);
        score_segments(job, unit, unit->segment_begin, unit->segment_end, &scratch, scores);
        find_largest(job, unit, scores);
    }
    for (int begin = unit->segment_begin, end; begin < unit->segment_end; begin = end) {
        end = group_end(unit, begin);
        compute_segments(job, unit, begin, end, &scratch, thread, begin == unit->segment_begin ? scratch.total : scratch.group);
        if (begin > unit->segment_begin) merge(job, unit, scratch.total, scratch.group);
    }
    write_unit(job, unit, scratch.total);
}

static attention_state partial_state(const attention_job *job, const attention_unit *unit, int segment)
{
    int queries = num_queries(job, unit);
    size_t index = (size_t)(segment - unit->segment_begin);
    return state_at(job->model->work.partial + unit->partial + index * state_floats(queries, job->dim), queries);
}

static int unit_index(const attention_job *job, const attention_unit *unit) { return (int)(unit - job->units); }

// Segments [begin, end) of a unit are an item's.
static const attention_unit *unit_of_item(const attention_job *job, int item, int *begin, int *end)
{
    const attention_unit *unit = job->units;
    while (unit + 1 < job->units + job->num_units && item >= unit[1].first_item) unit++;
    int index = item - unit->first_item, group = unit->segment_begin / GROUP_SEGMENTS + index;
    *begin = !job->items_are_groups ? unit->segment_begin + index : index == 0 ? unit->segment_begin : group * GROUP_SEGMENTS;
    *end = job->items_are_groups ? group_end(unit, *begin) : *begin + 1;
    return unit;
}

static void score_item(void *arg, int item, int thread)
{
    const attention_job *job = arg;
    int segment, end;
    const attention_unit *unit = unit_of_item(job, item, &segment, &end);
    if (!unit->scores_first) return;
    unit_scratch scratch = prepare_unit(job, unit, thread);
    score_segments(job, unit, segment, end, &scratch, scores_at(job, unit, unit_index(job, unit)));
}

static void run_item(void *arg, int item, int thread)
{
    const attention_job *job = arg;
    int segment, end;
    const attention_unit *unit = unit_of_item(job, item, &segment, &end);
    unit_scratch scratch = prepare_unit(job, unit, thread);
    compute_segments(job, unit, segment, end, &scratch, unit_index(job, unit), partial_state(job, unit, segment));
}

// The first segment's state of a group, or of a unit, becomes that of all of it.
static void merge_unit(const attention_job *job, const attention_unit *unit)
{
    attention_state total = partial_state(job, unit, unit->segment_begin);
    for (int begin = unit->segment_begin, end; begin < unit->segment_end; begin = end) {
        attention_state group = partial_state(job, unit, begin);
        end = group_end(unit, begin);
        for (int segment = begin + 1; !job->items_are_groups && segment < end; segment++) merge(job, unit, group, partial_state(job, unit, segment));
        if (begin > unit->segment_begin) merge(job, unit, total, group);
    }
    write_unit(job, unit, total);
}

static bool by_high_bytes(const attention_job *job, const chunk_span *span) { return span->alone && kv_type(job) == DTYPE_I16; }

static int tokens_of_units(const attention_job *job, const chunk_span *span) { return by_high_bytes(job, span) ? 1 : unit_tokens(job->shared, job->dim); }

static int count_units(const attention_job *job, const chunk_span *spans, int num_spans)
{
    int count = 0;
    for (int s = 0; s < num_spans; s++) {
        int tokens = tokens_of_units(job, &spans[s]);
        count += (spans[s].rows + tokens - 1) / tokens * job->desc->num_kv_heads;
    }
    return count;
}

static void add_unit(attention_job *job, const chunk_span *span, int kv_head, int token, int tokens)
{
    int begin = first_seen(job->desc, span->position + token) / KV_PAGE_TOKENS, end = (span->position + token + tokens - 1) / KV_PAGE_TOKENS + 1;
    attention_unit *unit = &job->units[job->num_units];
    *unit = (attention_unit){.span = span, .kv_head = kv_head, .token = token, .tokens = tokens, .by_high_bytes = by_high_bytes(job, span),
                             .page_begin = begin, .page_end = end, .segment_begin = begin / KV_SEGMENT_PAGES,
                             .segment_end = (end - 1) / KV_SEGMENT_PAGES + 1};
    job->num_units++;
    if (!unit->by_high_bytes) return;
    size_t floats = score_floats(tokens * job->shared, (size_t)num_segments(unit));
    if (floats > job->score_floats) job->score_floats = floats;
    unit->scores_first = num_segments(unit) > FEW_SEGMENTS;
    job->scores_first |= unit->scores_first;
}

// Tokens that read the same pages follow each other.
static void add_units(attention_job *job, const chunk_span *span)
{
    int tokens = tokens_of_units(job, span);
    for (int head = 0; head < job->desc->num_kv_heads; head++)
        for (int token = 0; token < span->rows; token += tokens)
            add_unit(job, span, head, token, span->rows - token < tokens ? span->rows - token : tokens);
}

// Room in work.partial: for the scores of some units, and behind them for what segments come to.
static llm_status reserve(attention_job *job, size_t floats, llm_error *err)
{
    work_buffers *work = &job->model->work;
    if (!mem_grow((void **)&work->partial, &work->partial_capacity, floats, sizeof(float))) return error_no_memory(err, "attention");
    atomic_store_explicit(&job->model->partial_bytes, work->partial_capacity * sizeof(float), memory_order_relaxed);
    return LLM_OK;
}

static int num_groups(const attention_unit *unit)
{
    return (unit->segment_end - 1) / GROUP_SEGMENTS - unit->segment_begin / GROUP_SEGMENTS + 1;
}

static llm_status run_by_segments(attention_job *job, llm_error *err)
{
    size_t floats = (size_t)job->num_units * job->score_floats;
    int groups = 0;
    for (int u = 0; u < job->num_units; u++) groups += num_groups(&job->units[u]);
    job->items_are_groups = groups >= GROUPS_PER_THREAD * thread_pool_size(job->model->engine->pool);
    for (int u = 0; u < job->num_units; u++) {
        attention_unit *unit = &job->units[u];
        unit->partial = floats;
        unit->first_item = job->num_items;
        floats += (size_t)num_segments(unit) * state_floats(num_queries(job, unit), job->dim);
        job->num_items += job->items_are_groups ? num_groups(unit) : num_segments(unit);
    }
    llm_status status = reserve(job, floats, err);
    if (status != LLM_OK) return status;
    if (job->scores_first) cpu_model_run(job->model, job->num_items, score_item, job);
    for (int u = 0; u < job->num_units; u++)
        if (job->units[u].scores_first) find_largest(job, &job->units[u], scores_at(job, &job->units[u], u));
    cpu_model_run(job->model, job->num_items, run_item, job);
    for (int u = 0; u < job->num_units; u++) merge_unit(job, &job->units[u]);
    return LLM_OK;
}

bool attention_is_short(const chunk_span *spans, int num_spans)
{
    bool is_short = true;
    for (int s = 0; s < num_spans; s++) is_short &= spans[s].rows == 1 && spans[s].position < KV_SEGMENT_TOKENS;
    return is_short;
}

static bool has_segments_to_share(const attention_job *job)
{
    bool several = false;
    for (int u = 0; u < job->num_units; u++) several |= num_segments(&job->units[u]) > 1;
    return several && shares_segments(job->num_units, thread_pool_size(job->model->engine->pool));
}

llm_status attention_run(cpu_model *model, int layer, const chunk_span *spans, int num_spans, attention_store store, void *arg,
                         llm_error *err)
{
    const attention_desc *desc = &model->desc.blocks[layer].attention;
    work_buffers *work = &model->work;
    attention_job job = {.model = model, .layer = layer, .desc = desc, .dim = desc->head_dim,
                         .shared = desc->num_heads / desc->num_kv_heads, .store = store, .store_arg = arg};
    if (!mem_grow((void **)&work->units, &work->units_capacity, (size_t)count_units(&job, spans, num_spans), sizeof *work->units))
        return error_no_memory(err, "attention");
    job.units = work->units;
    for (int s = 0; s < num_spans; s++) add_units(&job, &spans[s]);
    if (has_segments_to_share(&job)) return run_by_segments(&job, err);
    llm_status status = reserve(&job, (size_t)thread_pool_size(model->engine->pool) * job.score_floats, err);
    if (status != LLM_OK) return status;
    cpu_model_run(model, job.num_units, run_whole_unit, &job);
    return LLM_OK;
}
