// Attention over the KV cache. The work is cut into units: one kv head, some tokens of one sequence. A unit's pages
// are taken in segments of SEGMENT_PAGES, each by online softmax from scratch, merged in order. When there are
// few units (decoding), segments are shared out to threads; the arithmetic is the same either way, so results
// depend neither on threads nor on what else is in the batch.
#include "base/mem.h"
#include "engine/cpu/cpu_engine.h"
#include <math.h>
#include <string.h>

enum {
    SEGMENT_PAGES = 4,
    UNIT_QUERIES = 64,    // query rows (tokens times heads of one kv head) a unit aims at
    FEW_UNITS = 16,       // up to here segments are items of their own
};

typedef struct attention_unit {
    const chunk_span *span;
    int kv_head, token, tokens;        // tokens [token, token + tokens) of the span
    int page_begin, page_end;          // that any of its queries sees
    int segment_begin, segment_end;    // segment s holds pages [s * SEGMENT_PAGES, (s + 1) * SEGMENT_PAGES)
    size_t partial;                    // where its segments' results begin in work.partial
} attention_unit;

typedef struct attention_item {
    int unit, segment;
} attention_item;

typedef struct attention_job {
    cpu_model *model;
    int layer, dim, shared;            // shared: query heads of one kv head
    const attention_desc *desc;
    attention_unit *units;
    attention_item *items;             // when segments are shared out
    int num_units, num_items;
} attention_job;

// What online softmax has come to: max [queries], sum [queries], out [queries][dim].
typedef struct softmax_state {
    float *max, *sum, *out;
} softmax_state;

static size_t state_floats(int queries, int dim) { return (size_t)queries * (size_t)(dim + 2); }

static softmax_state state_at(float *memory, int queries)
{
    return (softmax_state){memory, memory + queries, memory + 2 * queries};
}

static int queries_per_unit(int shared) { return shared >= UNIT_QUERIES ? shared : UNIT_QUERIES / shared * shared; }

// Per thread: scores, gathered queries, two softmax states and the visible ranges of one unit.
size_t attention_scratch_bytes(const model_desc *desc)
{
    size_t most = 0;
    for (int i = 0; i < desc->num_blocks; i++) {
        const attention_desc *attention = &desc->blocks[i].attention;
        int queries = queries_per_unit(attention->num_heads / attention->num_kv_heads);
        size_t floats = (size_t)queries * (size_t)(KV_PAGE_TOKENS + attention->head_dim) + 2 * state_floats(queries, attention->head_dim);
        size_t bytes = floats * sizeof(float) + 2 * (size_t)queries * sizeof(int);
        if (bytes > most) most = bytes;
    }
    return (most + 63) & ~(size_t)63;
}

size_t attention_partial_bytes(const model_desc *desc, int tokens)
{
    size_t most = 0;
    for (int i = 0; i < desc->num_blocks; i++) {
        const attention_desc *attention = &desc->blocks[i].attention;
        int seen = attention->window && attention->window < tokens ? attention->window : tokens;
        size_t segments = (size_t)seen / (SEGMENT_PAGES * KV_PAGE_TOKENS) + 2;
        size_t units = (size_t)attention->num_kv_heads > FEW_UNITS ? 0 : FEW_UNITS / (size_t)attention->num_kv_heads * (size_t)attention->num_kv_heads;
        int queries = queries_per_unit(attention->num_heads / attention->num_kv_heads);
        size_t bytes = units * segments * state_floats(queries, attention->head_dim) * sizeof(float);
        if (bytes > most) most = bytes;
    }
    return most;
}

typedef struct unit_scratch {
    float *scores, *queries;
    int *begin, *end;
    softmax_state total, segment;
} unit_scratch;

static int num_queries(const attention_job *job, const attention_unit *unit) { return unit->tokens * job->shared; }

// The thread's scratch, with the unit's queries gathered: [tokens][shared][dim].
static unit_scratch prepare_unit(const attention_job *job, const attention_unit *unit, int thread)
{
    const work_buffers *work = &job->model->work;
    int queries = num_queries(job, unit);
    unit_scratch s;
    s.scores = (float *)(void *)(work->attention + (size_t)thread * attention_scratch_bytes(&job->model->desc));
    s.queries = s.scores + (size_t)queries * KV_PAGE_TOKENS;
    float *states = s.queries + (size_t)queries * (size_t)job->dim;
    s.total = state_at(states, queries);
    s.segment = state_at(states + state_floats(queries, job->dim), queries);
    s.begin = (int *)(void *)(states + 2 * state_floats(queries, job->dim));
    s.end = s.begin + queries;
    size_t row_floats = (size_t)job->shared * (size_t)job->dim;
    for (int t = 0; t < unit->tokens; t++) {
        size_t row = (size_t)(unit->span->row + unit->token + t);
        memcpy(s.queries + (size_t)t * row_floats, work->q + row * work->q_stride + (size_t)unit->kv_head * row_floats,
               row_floats * sizeof(float));
    }
    return s;
}

static int first_seen(const attention_desc *desc, int position)
{
    int first = desc->window ? position - desc->window + 1 : 0;
    return first > 0 ? first : 0;
}

static int clamp(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

static void compute_segment(const attention_job *job, const attention_unit *unit, int segment, const unit_scratch *scratch,
                            softmax_state state)
{
    int queries = num_queries(job, unit);
    for (int i = 0; i < queries; i++) state.max[i] = -INFINITY, state.sum[i] = 0;
    memset(state.out, 0, (size_t)queries * (size_t)job->dim * sizeof(float));
    int page = segment * SEGMENT_PAGES, last = page + SEGMENT_PAGES;
    if (page < unit->page_begin) page = unit->page_begin;
    if (last > unit->page_end) last = unit->page_end;
    const kv_cache *cache = &unit->span->seq->cache;
    for (; page < last; page++) {
        int first = page * KV_PAGE_TOKENS;
        for (int i = 0; i < queries; i++) {
            int position = unit->span->position + unit->token + i / job->shared;
            scratch->begin[i] = clamp(first_seen(job->desc, position) - first, 0, KV_PAGE_TOKENS);
            scratch->end[i] = clamp(position + 1 - first, 0, KV_PAGE_TOKENS);
        }
        job->model->engine->kernels->attention_page(&(attention_page_args){
            .queries = scratch->queries,
            .num_queries = queries,
            .head_dim = job->dim,
            .kv_type = cache->layout->type,
            .keys = kv_cache_keys(cache, job->layer, unit->kv_head, page),
            .values = kv_cache_values(cache, job->layer, unit->kv_head, page),
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

// total = total joined with part
static void merge_segment(const attention_job *job, int queries, softmax_state total, softmax_state part)
{
    const kernels *k = job->model->engine->kernels;
    for (int i = 0; i < queries; i++) {
        if (part.max[i] == -INFINITY) continue; // this query sees nothing of the segment
        float top = fmaxf(total.max[i], part.max[i]);
        float keep = total.max[i] == -INFINITY ? 0 : expf(total.max[i] - top), add = expf(part.max[i] - top);
        float *out = total.out + (size_t)i * (size_t)job->dim;
        if (keep != 1) k->softcap(out, job->dim, keep, 0);
        k->add_scaled(out, part.out + (size_t)i * (size_t)job->dim, add, job->dim);
        total.sum[i] = keep * total.sum[i] + add * part.sum[i];
        total.max[i] = top;
    }
}

// out / sum into the output projection's input.
static void write_unit(const attention_job *job, const attention_unit *unit, softmax_state total)
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
    unit_scratch scratch = prepare_unit(job, unit, thread);
    compute_segment(job, unit, unit->segment_begin, &scratch, scratch.total);
    for (int segment = unit->segment_begin + 1; segment < unit->segment_end; segment++) {
        compute_segment(job, unit, segment, &scratch, scratch.segment);
        merge_segment(job, num_queries(job, unit), scratch.total, scratch.segment);
    }
    write_unit(job, unit, scratch.total);
}

static softmax_state partial_state(const attention_job *job, const attention_unit *unit, int segment)
{
    int queries = num_queries(job, unit);
    size_t index = (size_t)(segment - unit->segment_begin);
    return state_at(job->model->work.partial + unit->partial + index * state_floats(queries, job->dim), queries);
}

static void run_one_segment(void *arg, int index, int thread)
{
    const attention_job *job = arg;
    const attention_unit *unit = &job->units[job->items[index].unit];
    unit_scratch scratch = prepare_unit(job, unit, thread);
    int segment = job->items[index].segment;
    compute_segment(job, unit, segment, &scratch, partial_state(job, unit, segment));
}

static void merge_unit(const attention_job *job, const attention_unit *unit)
{
    softmax_state total = partial_state(job, unit, unit->segment_begin);
    for (int segment = unit->segment_begin + 1; segment < unit->segment_end; segment++)
        merge_segment(job, num_queries(job, unit), total, partial_state(job, unit, segment));
    write_unit(job, unit, total);
}

static int unit_tokens(const attention_job *job) { return queries_per_unit(job->shared) / job->shared; }

static int count_units(const attention_job *job, const chunk_span *spans, int num_spans)
{
    int count = 0;
    for (int s = 0; s < num_spans; s++)
        count += (spans[s].rows + unit_tokens(job) - 1) / unit_tokens(job) * job->desc->num_kv_heads;
    return count;
}

static void add_units(attention_job *job, const chunk_span *span)
{
    for (int token = 0; token < span->rows; token += unit_tokens(job)) {
        int tokens = span->rows - token < unit_tokens(job) ? span->rows - token : unit_tokens(job);
        int begin = first_seen(job->desc, span->position + token) / KV_PAGE_TOKENS;
        int end = (span->position + token + tokens - 1) / KV_PAGE_TOKENS + 1;
        for (int head = 0; head < job->desc->num_kv_heads; head++)
            job->units[job->num_units++] = (attention_unit){
                span, head, token, tokens, begin, end, begin / SEGMENT_PAGES, (end - 1) / SEGMENT_PAGES + 1, 0};
    }
}

static llm_status run_by_segments(attention_job *job, llm_error *err)
{
    work_buffers *work = &job->model->work;
    size_t floats = 0;
    int count = 0;
    for (int u = 0; u < job->num_units; u++) {
        attention_unit *unit = &job->units[u];
        int segments = unit->segment_end - unit->segment_begin;
        unit->partial = floats;
        floats += (size_t)segments * state_floats(num_queries(job, unit), job->dim);
        count += segments;
    }
    job->items = mem_alloc_zero((size_t)count, sizeof *job->items);
    if (!job->items || !mem_grow((void **)&work->partial, &work->partial_capacity, floats, sizeof(float)))
        return error_no_memory(err, "attention");
    atomic_store_explicit(&job->model->partial_bytes, work->partial_capacity * sizeof(float), memory_order_relaxed);
    for (int u = 0; u < job->num_units; u++)
        for (int segment = job->units[u].segment_begin; segment < job->units[u].segment_end; segment++)
            job->items[job->num_items++] = (attention_item){u, segment};
    cpu_model_run(job->model, job->num_items, run_one_segment, job);
    for (int u = 0; u < job->num_units; u++) merge_unit(job, &job->units[u]);
    return LLM_OK;
}

llm_status attention_run(cpu_model *model, int layer, const chunk_span *spans, int num_spans, llm_error *err)
{
    const attention_desc *desc = &model->desc.blocks[layer].attention;
    attention_job job = {.model = model, .layer = layer, .desc = desc, .dim = desc->head_dim,
                         .shared = desc->num_heads / desc->num_kv_heads};
    job.units = mem_alloc_zero((size_t)count_units(&job, spans, num_spans), sizeof *job.units);
    if (!job.units) return error_no_memory(err, "attention");
    for (int s = 0; s < num_spans; s++) add_units(&job, &spans[s]);
    llm_status status = LLM_OK;
    if (job.num_units <= FEW_UNITS) status = run_by_segments(&job, err);
    else cpu_model_run(model, job.num_units, run_whole_unit, &job);
    mem_free(job.units);
    mem_free(job.items);
    return status;
}
