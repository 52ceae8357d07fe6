// The forward pass: a batch's tokens go through all layers in chunks of rows; each step is one job of the pool.
#include "base/mem.h"
#include "engine/cpu/products.h"
#include <math.h>
#include <string.h>

// Every later token attends to the first ones of a text, whose activations are the largest: their errors would be
// everywhere.
enum { PRECISE_POSITIONS = 4 };

// One chunk: rows of several sequences.
typedef struct chunk {
    cpu_model *model;
    const block_desc *desc;   // of the layer that runs
    cpu_block *block;
    int layer;
    int num_rows, num_spans, num_logit_rows;
    chunk_span *spans;
    int32_t tokens[MAX_CHUNK_ROWS];
    int positions[MAX_CHUNK_ROWS];
    int spans_of[MAX_CHUNK_ROWS];       // row -> span
    bool narrow[MAX_CHUNK_ROWS];        // the row is part of a prompt: its activations are quantised with fewer bits
    bool few;                           // so few rows that steps between products are done where a product's results are: see below
    int logit_rows[MAX_CHUNK_ROWS];     // rows whose logits are wanted
} chunk;

// ---- Running and being interrupted

static bool is_interrupted(const cpu_model *model)
{
    return atomic_load_explicit(&model->interrupted, memory_order_relaxed);
}

typedef struct guarded {
    const cpu_model *model;
    pool_function function;
    void *arg;
} guarded;

static void run_guarded(void *arg, int item, int thread)
{
    const guarded *g = arg;
    if (!is_interrupted(g->model)) g->function(g->arg, item, thread);
}

void cpu_model_run(cpu_model *model, int num_items, pool_function function, void *arg)
{
    guarded g = {model, function, arg};
    thread_pool_run(model->engine->pool, num_items, run_guarded, &g);
}

static void shape_input(cpu_model *model, int cols, int rows) { activations_shape(&model->work.input, cols, rows); }

// ---- Steps over rows

enum { FEW_ROWS = 3 }; // fewer are done sooner than a second thread has come

typedef void (*row_function)(chunk *c, int row);
typedef struct row_job {
    chunk *chunk;
    row_function function;
    int rows_per_item;
} row_job;

static void row_item(void *arg, int item, int thread)
{
    (void)thread;
    const row_job *job = arg;
    int end = (item + 1) * job->rows_per_item;
    if (end > job->chunk->num_rows) end = job->chunk->num_rows;
    for (int row = item * job->rows_per_item; row < end; row++) job->function(job->chunk, row);
}

static void for_rows(chunk *c, row_function function)
{
    int threads = thread_pool_size(c->model->engine->pool);
    row_job job = {c, function, c->num_rows < FEW_ROWS ? c->num_rows : c->num_rows < 32 ? (c->num_rows + threads - 1) / threads : 16};
    cpu_model_run(c->model, (c->num_rows + job.rows_per_item - 1) / job.rows_per_item, row_item, &job);
}

// y = norm(x) in pieces of norm->size; a copy without one.
static void apply_norm(const kernels *k, const cpu_norm *norm, const float *x, float *y, int n)
{
    if (norm->kind == NORM_NONE && x != y) memcpy(y, x, (size_t)n * sizeof *y);
    for (int i = 0; norm->kind != NORM_NONE && i < n; i += norm->size) {
        if (norm->kind == NORM_RMS) k->rms_norm(x + i, norm->weight, norm->size, norm->eps, y + i);
        else k->layer_norm(x + i, norm->weight, norm->bias, norm->size, norm->eps, y + i);
    }
}

static void add_bias(const kernels *k, const cpu_linear *linear, float *y)
{
    if (linear->bias) k->add_scaled(y, linear->bias, 1, linear->matrix.rows);
}

static float *hidden_row(const chunk *c, int row) { return c->model->work.hidden + (size_t)row * c->model->work.hidden_stride; }
static float *result_row(const chunk *c, int row) { return c->model->work.result + (size_t)row * c->model->work.hidden_stride; }
static float *input_row(const chunk *c, int row) { return c->model->work.input.values + (size_t)row * c->model->work.input.stride; }

static void embed_row(chunk *c, int row)
{
    float *hidden = hidden_row(c, row);
    packed_matrix_row(&c->model->embedding, c->tokens[row], hidden);
    if (c->model->desc.embedding_scale != 1)
        c->model->engine->kernels->softcap(hidden, c->model->desc.hidden_size, c->model->desc.embedding_scale, 0);
    for (int r = 0; r < c->model->desc.num_ropes; r++) {
        const rope_desc *rope = &c->model->desc.ropes[r];
        size_t at = ((size_t)r * MAX_CHUNK_ROWS + (size_t)row) * c->model->work.rope_stride;
        for (int i = 0; i < rope->dims / 2; i++) {
            float angle = (float)c->positions[row] * rope->inv_freq[i];
            c->model->work.cosine[at + (size_t)i] = cosf(angle);
            c->model->work.sine[at + (size_t)i] = sinf(angle);
        }
    }
}

static void attention_group(const chunk *c, matmul_group *group)
{
    const work_buffers *work = &c->model->work;
    group->input = &work->input;
    matmul_group_add(group, &c->block->q, work->q, work->q_stride);
    matmul_group_add(group, &c->block->k, work->k, work->kv_stride);
    matmul_group_add(group, &c->block->v, work->v, work->kv_stride);
}

static void before_attention(chunk *c, int row)
{
    matmul_group group = {0};
    attention_group(c, &group);
    apply_norm(c->model->engine->kernels, &c->block->pre_attention, hidden_row(c, row), input_row(c, row), c->model->desc.hidden_size);
    matmul_group_quantize(c->model, &group, row, c->narrow[row]);
}

static void turn(const chunk *c, float *heads, int num_heads, int row)
{
    const attention_desc *attention = &c->desc->attention;
    if (attention->rope < 0) return;
    const rope_desc *rope = &c->model->desc.ropes[attention->rope];
    size_t at = ((size_t)attention->rope * MAX_CHUNK_ROWS + (size_t)row) * c->model->work.rope_stride;
    for (int head = 0; head < num_heads; head++)
        c->model->engine->kernels->rope(heads + (size_t)head * (size_t)attention->head_dim, c->model->work.cosine + at,
                                        c->model->work.sine + at, rope->dims, rope->traditional, rope->scale);
}

// Norm, position and scale of some heads' queries. A norm over all heads needs all of them.
static void finish_queries(chunk *c, int row, int head, int count)
{
    const kernels *k = c->model->engine->kernels;
    const attention_desc *attention = &c->desc->attention;
    float *q = c->model->work.q + (size_t)row * c->model->work.q_stride + (size_t)head * (size_t)attention->head_dim;
    apply_norm(k, &c->block->q_norm, q, q, count * attention->head_dim);
    turn(c, q, count, row);
    k->softcap(q, count * attention->head_dim, attention->scale, 0);
}

// Norm and position of some heads' keys; they and the values go to the cache.
static void finish_keys(chunk *c, int row, int head, int count)
{
    const kernels *k = c->model->engine->kernels;
    const attention_desc *attention = &c->desc->attention;
    size_t dim = (size_t)attention->head_dim, at = (size_t)row * c->model->work.kv_stride + (size_t)head * dim;
    float *key = c->model->work.k + at, *value = c->model->work.v + at;
    apply_norm(k, &c->block->k_norm, key, key, count * attention->head_dim);
    turn(c, key, count, row);
    const kv_cache *cache = &c->spans[c->spans_of[row]].seq->cache;
    int page = c->positions[row] / KV_PAGE_TOKENS, slot = c->positions[row] % KV_PAGE_TOKENS;
    for (int end = head + count; head < end; head++, key += dim, value += dim)
        k->kv_store(key, value, attention->head_dim, cache->layout->type, slot, kv_cache_keys(cache, c->layer, head, page),
                    kv_cache_values(cache, c->layer, head, page));
}

static void store_row(chunk *c, int row)
{
    const kernels *k = c->model->engine->kernels;
    const work_buffers *work = &c->model->work;
    add_bias(k, &c->block->q, work->q + (size_t)row * work->q_stride);
    add_bias(k, &c->block->k, work->k + (size_t)row * work->kv_stride);
    add_bias(k, &c->block->v, work->v + (size_t)row * work->kv_stride);
    finish_queries(c, row, 0, c->desc->attention.num_heads);
    finish_keys(c, row, 0, c->desc->attention.num_kv_heads);
}

static void quantize_attention(chunk *c, int row)
{
    matmul_group group = {0};
    matmul_group_add(&group, &c->block->o, NULL, 0);
    matmul_group_quantize(c->model, &group, row, c->narrow[row]);
}

static void ffn_group(const chunk *c, matmul_group *group)
{
    const work_buffers *work = &c->model->work;
    group->input = &work->input;
    matmul_group_add(group, &c->block->gate, work->gate, work->ffn_stride);
    matmul_group_add(group, &c->block->up, work->up, work->ffn_stride);
}

// hidden += residual_scale * norm(result + bias)
static void add_result(chunk *c, int row, const cpu_linear *linear, const cpu_norm *norm)
{
    const kernels *k = c->model->engine->kernels;
    float *result = result_row(c, row);
    int size = c->model->desc.hidden_size;
    add_bias(k, linear, result);
    apply_norm(k, norm, result, result, size);
    k->add_scaled(hidden_row(c, row), result, c->desc->residual_scale, size);
}

static void between_attention_and_ffn(chunk *c, int row)
{
    matmul_group group = {0};
    ffn_group(c, &group);
    add_result(c, row, &c->block->o, &c->block->post_attention);
    apply_norm(c->model->engine->kernels, &c->block->pre_ffn, hidden_row(c, row), input_row(c, row), c->model->desc.hidden_size);
    matmul_group_quantize(c->model, &group, row, c->narrow[row]);
}

static void activate_row(chunk *c, int row)
{
    const kernels *k = c->model->engine->kernels;
    const work_buffers *work = &c->model->work;
    float *gate = work->gate + (size_t)row * work->ffn_stride, *up = work->up + (size_t)row * work->ffn_stride;
    int size = c->desc->ffn.size;
    bool gated = c->block->gate.matrix.data != NULL;
    if (gated) add_bias(k, &c->block->gate, gate);
    add_bias(k, &c->block->up, up);
    k->activate(c->desc->ffn.activation, gated ? gate : up, gated ? up : NULL, size, input_row(c, row));
    matmul_group group = {0};
    matmul_group_add(&group, &c->block->down, NULL, 0);
    matmul_group_quantize(c->model, &group, row, c->narrow[row]);
}

static void after_ffn(chunk *c, int row) { add_result(c, row, &c->block->down, &c->block->post_ffn); }

// ---- Few rows

// A step between two products that one thread does alone costs decoding twice: the others wait, and it fetches from their
// caches what they computed. So with few rows an item of a product goes on with its results: with heads of queries, or of keys and
// values, and with parts of the feed-forward as large as a group of the next product's input. Adapters, which come between the product
// and the rest, and narrow rows, whose quantisation looks at all of the row, take the other way.

static void add_part_bias(const chunk *c, const cpu_linear *linear, int begin, int end, float *result, size_t stride)
{
    for (int row = 0; linear->bias && row < c->num_rows; row++)
        c->model->engine->kernels->add_scaled(result + (size_t)row * stride + begin, linear->bias + begin, 1, end - begin);
}

// Results [begin, end) of one linear, or of two whose tiles alternate in memory, for every row, biases included.
static void multiply_part(const chunk *c, int begin, int end, const cpu_linear *a, float *result_a, const cpu_linear *b, float *result_b, size_t stride)
{
    const activations *input = &c->model->work.input;
    int tile_end = (end + TILE_ROWS - 1) / TILE_ROWS, step = b ? 1 : tile_end;
    for (int tile = begin / TILE_ROWS; tile < tile_end; tile += step) {
        int last = tile + step < tile_end ? tile + step : tile_end;
        multiply_tiles(c->model, input, &a->matrix, tile, last, 0, c->num_rows, result_a, stride);
        if (b) multiply_tiles(c->model, input, &b->matrix, tile, last, 0, c->num_rows, result_b, stride);
    }
    add_part_bias(c, a, begin, end, result_a, stride);
    if (b) add_part_bias(c, b, begin, end, result_b, stride);
}

// Keys and values come first: these items are the largest.
static void head_item(void *arg, int item, int thread)
{
    (void)thread;
    chunk *c = arg;
    const work_buffers *work = &c->model->work;
    const attention_desc *attention = &c->desc->attention;
    bool keys = item < attention->num_kv_heads;
    int head = keys ? item : item - attention->num_kv_heads, begin = head * attention->head_dim, end = begin + attention->head_dim;
    if (keys) multiply_part(c, begin, end, &c->block->k, work->k, &c->block->v, work->v, work->kv_stride);
    else multiply_part(c, begin, end, &c->block->q, work->q, NULL, NULL, work->q_stride);
    for (int row = 0; row < c->num_rows; row++) (keys ? finish_keys : finish_queries)(c, row, head, 1);
}

static bool heads_stand_alone(const chunk *c)
{
    const attention_desc *attention = &c->desc->attention;
    const cpu_norm *norms[] = {&c->block->q_norm, &c->block->k_norm};
    bool alone = c->few && attention->head_dim % TILE_ROWS == 0 &&
                 attention->num_heads + attention->num_kv_heads >= 2 * thread_pool_size(c->model->engine->pool);
    for (int i = 0; i < 2; i++) alone = alone && (norms[i]->kind == NORM_NONE || norms[i]->size == attention->head_dim);
    return alone;
}

// Inputs [begin, end) of the down projection, as integers if it wants them. Both are whole groups.
static void quantize_part(const chunk *c, int row, int begin, int end)
{
    const activations *next = &c->model->work.few;
    const packed_matrix *matrix = &c->block->down.matrix;
    if (!uses_integers(c->model, matrix)) return;
    quantized_rows part = *activations_integers(next, matrix);
    size_t at = (size_t)row * (size_t)part.cols + (size_t)begin, group = at / (size_t)part.group_size;
    part.num_rows = 1, part.cols = end - begin;
    part.hi += at, part.lo += at, part.wide += at / 32;
    part.scale += group, part.sum += group;
    part.narrow += row;
    c->model->engine->kernels->quantize_rows(next->values + (size_t)row * next->stride + begin, next->stride, 1, false, &part, 0);
}

// Results of an item: whole tiles, and whole groups of what comes next. Items are as large as in other products: between two
// of them a thread's stream from memory stops.
static int ffn_part(const chunk *c)
{
    int group = c->block->down.matrix.group_size == 128 ? 128 : 64, items = ITEMS_PER_THREAD * thread_pool_size(c->model->engine->pool);
    return (c->desc->ffn.size / items + group - 1) / group * group;
}

static void ffn_item(void *arg, int item, int thread)
{
    (void)thread;
    chunk *c = arg;
    const work_buffers *work = &c->model->work;
    int size = c->desc->ffn.size, part = ffn_part(c), begin = item * part, end = begin + part < size ? begin + part : size;
    bool gated = c->block->gate.matrix.data != NULL;
    if (gated) multiply_part(c, begin, end, &c->block->gate, work->gate, &c->block->up, work->up, work->ffn_stride);
    else multiply_part(c, begin, end, &c->block->up, work->up, NULL, NULL, work->ffn_stride);
    for (int row = 0; row < c->num_rows; row++) {
        const float *up = work->up + (size_t)row * work->ffn_stride + begin, *gate = work->gate + (size_t)row * work->ffn_stride + begin;
        c->model->engine->kernels->activate(c->desc->ffn.activation, gated ? gate : up, gated ? up : NULL, end - begin,
                                            work->few.values + (size_t)row * work->few.stride + begin);
        quantize_part(c, row, begin, end);
    }
}

static bool is_few(const chunk *c)
{
    bool few = c->num_rows <= MAX_FEW_ROWS && thread_pool_size(c->model->engine->pool) > 1; // one thread waits for nobody
    for (int row = 0; few && row < c->num_rows; row++) few = !c->narrow[row];
    for (int span = 0; few && span < c->num_spans; span++) few = c->spans[span].seq->num_adapters == 0;
    return few;
}

// ---- A layer, and the head

// What adapters change of a product, before its bias.
static void adapt(const chunk *c, lora_place place, float *result, size_t stride)
{
    lora_add(c->model, c->spans, c->num_spans, c->layer, place, result, stride);
}

static void project_heads(chunk *c)
{
    work_buffers *work = &c->model->work;
    matmul_group group = {0};
    attention_group(c, &group);
    matmul_group_run(c->model, &group, c->num_rows);
    adapt(c, LORA_Q, work->q, work->q_stride);
    adapt(c, LORA_K, work->k, work->kv_stride);
    adapt(c, LORA_V, work->v, work->kv_stride);
    for_rows(c, store_row);
}

static void widen_ffn(chunk *c)
{
    work_buffers *work = &c->model->work;
    matmul_group group = {0};
    ffn_group(c, &group);
    matmul_group_run(c->model, &group, c->num_rows);
    adapt(c, LORA_GATE, work->gate, work->ffn_stride);
    adapt(c, LORA_UP, work->up, work->ffn_stride);
    shape_input(c->model, c->desc->ffn.size, c->num_rows);
    for_rows(c, activate_row);
}

static void project_back(chunk *c, const activations *input, const cpu_linear *linear, lora_place place)
{
    work_buffers *work = &c->model->work;
    matmul_group group = {.input = input};
    matmul_group_add(&group, linear, work->result, work->hidden_stride);
    matmul_group_run(c->model, &group, c->num_rows);
    adapt(c, place, work->result, work->hidden_stride);
}

static llm_status run_layer(chunk *c, int layer, llm_error *err)
{
    cpu_model *model = c->model;
    work_buffers *work = &model->work;
    c->layer = layer;
    c->desc = &model->desc.blocks[layer];
    c->block = &model->blocks[layer];
    shape_input(model, model->desc.hidden_size, c->num_rows);
    for_rows(c, before_attention);
    if (heads_stand_alone(c)) cpu_model_run(model, c->desc->attention.num_heads + c->desc->attention.num_kv_heads, head_item, c);
    else project_heads(c);
    llm_status status = attention_run(model, layer, c->spans, c->num_spans, err);
    if (status != LLM_OK) return status;
    shape_input(model, c->block->o.matrix.cols, c->num_rows);
    for_rows(c, quantize_attention);
    project_back(c, &work->input, &c->block->o, LORA_O);
    shape_input(model, model->desc.hidden_size, c->num_rows);
    for_rows(c, between_attention_and_ffn);
    if (c->few) {
        activations_shape(&work->few, c->desc->ffn.size, c->num_rows);
        cpu_model_run(model, (c->desc->ffn.size + ffn_part(c) - 1) / ffn_part(c), ffn_item, c);
    } else widen_ffn(c);
    project_back(c, c->few ? &work->few : &work->input, &c->block->down, LORA_DOWN);
    for_rows(c, after_ffn);
    return LLM_OK;
}

static void finish_logits(cpu_model *model, float *logits)
{
    const kernels *k = model->engine->kernels;
    const model_desc *desc = &model->desc;
    if (model->head.bias) k->add_scaled(logits, model->head.bias, 1, desc->vocab_size);
    if (desc->logit_scale != 1 || desc->logit_softcap != 0)
        k->softcap(logits, desc->vocab_size, desc->logit_scale, desc->logit_softcap);
}

// Logits of rows [begin, end) of the wanted ones, at `logits` [end - begin][vocab].
static void run_head(chunk *c, int begin, int end, float *logits)
{
    cpu_model *model = c->model;
    const packed_matrix *matrix = model->head.matrix.data ? &model->head.matrix : &model->embedding;
    size_t vocab = (size_t)model->desc.vocab_size, stride = (vocab + 15) & ~(size_t)15;
    bool direct = stride == vocab;
    float *result = direct ? logits : model->work.logits;
    matmul_group group = {.input = &model->work.input, .matrices = {matrix}, .results = {result}, .strides = {stride}, .count = 1};
    shape_input(model, model->desc.hidden_size, end - begin);
    for (int i = begin; i < end; i++) {
        apply_norm(model->engine->kernels, &model->final_norm, hidden_row(c, c->logit_rows[i]), input_row(c, i - begin), model->desc.hidden_size);
        matmul_group_quantize(model, &group, i - begin, false);
    }
    matmul_group_run(model, &group, end - begin);
    for (int i = begin; i < end; i++) { // the rows that matter lie apart in the chunk, and side by side here
        chunk_span row = {.seq = c->spans[c->spans_of[c->logit_rows[i]]].seq, .row = i - begin, .rows = 1};
        lora_add(model, &row, 1, model->desc.num_blocks, LORA_HEAD, result, stride);
    }
    for (int i = 0; i < end - begin; i++) {
        float *row = logits + (size_t)i * vocab;
        if (!direct) memcpy(row, result + (size_t)i * stride, vocab * sizeof *row);
        finish_logits(model, row);
    }
}

static llm_status run_chunk(chunk *c, float **logits, llm_error *err)
{
    c->few = is_few(c);
    for_rows(c, embed_row);
    for (int layer = 0; layer < c->model->desc.num_blocks; layer++) {
        if (is_interrupted(c->model)) break;
        llm_status status = run_layer(c, layer, err);
        if (status != LLM_OK) return status;
    }
    for (int i = 0; i < c->num_logit_rows && !is_interrupted(c->model); i += LOGIT_ROWS) {
        int end = i + LOGIT_ROWS < c->num_logit_rows ? i + LOGIT_ROWS : c->num_logit_rows;
        run_head(c, i, end, *logits);
        *logits += (size_t)(end - i) * (size_t)c->model->desc.vocab_size;
    }
    return is_interrupted(c->model) ? error_set(err, LLM_CANCELLED, "the forward pass was interrupted") : LLM_OK;
}

// ---- A batch

// Puts up to MAX_CHUNK_ROWS of the batch's remaining tokens into the chunk; `done` counts each item's tokens.
static void fill_chunk(chunk *c, const engine_batch_item *items, cpu_seq *const *seqs, const int *start, int *done, int num_items)
{
    c->num_rows = c->num_spans = c->num_logit_rows = 0;
    for (int i = 0; i < num_items && c->num_rows < MAX_CHUNK_ROWS; i++) {
        int rows = items[i].num_tokens - done[i], room = MAX_CHUNK_ROWS - c->num_rows;
        if (rows > room) rows = room;
        if (rows == 0) continue;
        c->spans[c->num_spans] = (chunk_span){seqs[i], c->num_rows, rows, start[i] + done[i]};
        for (int t = 0; t < rows; t++, c->num_rows++) {
            c->tokens[c->num_rows] = items[i].tokens[done[i] + t];
            c->positions[c->num_rows] = start[i] + done[i] + t;
            c->spans_of[c->num_rows] = c->num_spans;
            c->narrow[c->num_rows] = items[i].num_tokens > 1 && !items[i].precise && start[i] + done[i] + t >= PRECISE_POSITIONS;
            if (done[i] + t >= items[i].num_tokens - items[i].num_logits) c->logit_rows[c->num_logit_rows++] = c->num_rows;
        }
        c->num_spans++;
        done[i] += rows;
    }
}

llm_status cpu_forward(cpu_model *model, const engine_batch_item *items, cpu_seq *const *seqs, int num_items, float *logits,
                       llm_error *err)
{
    llm_status status = LLM_OK;
    chunk *c = mem_alloc_zero(1, sizeof *c);
    int *done = mem_alloc_zero((size_t)num_items, 2 * sizeof *done), *start = done + num_items;
    chunk_span *spans = mem_alloc_zero((size_t)num_items, sizeof *spans);
    if (!c || !done || !spans) status = error_no_memory(err, "a forward pass");
    for (int i = 0; status == LLM_OK && i < num_items; i++) {
        start[i] = seqs[i]->cache.length;
        if (items[i].num_tokens > model->desc.context_length - start[i])
            status = error_set_amounts(err, LLM_CONTEXT_EXCEEDED, (uint64_t)start[i] + (uint64_t)items[i].num_tokens,
                                       (uint64_t)model->desc.context_length, "%lld tokens exceed the context of %d",
                                       (long long)start[i] + items[i].num_tokens, model->desc.context_length);
        if (status != LLM_OK) break;
        kv_cache_drop_unseen(&seqs[i]->cache); // what precise tokens kept; they can no longer be trimmed
        status = kv_cache_reserve(&seqs[i]->cache, items[i].num_tokens, err);
    }
    if (status == LLM_OK) {
        c->model = model;
        c->spans = spans;
        for (;;) {
            fill_chunk(c, items, seqs, start, done, num_items);
            if (c->num_rows == 0) break;
            if ((status = run_chunk(c, &logits, err)) != LLM_OK) break;
        }
    }
    // Only now do the sequences grow: after an error they are as they were, but for room that they keep.
    for (int i = 0; status == LLM_OK && i < num_items; i++) {
        kv_cache_advance(&seqs[i]->cache, items[i].num_tokens);
        if (!items[i].precise) kv_cache_drop_unseen(&seqs[i]->cache);
    }
    mem_free(c);
    mem_free(done);
    mem_free(spans);
    return status;
}
