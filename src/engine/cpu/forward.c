// The forward pass: a batch's tokens go through all layers in chunks of rows; each step is one job of the pool.
#include "base/mem.h"
#include "engine/cpu/cpu_engine.h"
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

// ---- Linears

// Matrices that read the same input, and where their results go.
typedef struct matmul_group {
    const packed_matrix *matrices[3];
    float *results[3];
    size_t strides[3];
    int count;
} matmul_group;

typedef struct matmul_job {
    cpu_model *model;
    const matmul_group *group;
    int num_rows, tiles_per_item, rows_per_item;
    int first_item[4];        // of each matrix, among the items of the same rows; the last is their sum
} matmul_job;

static void add_to_group(matmul_group *group, const cpu_linear *linear, float *result, size_t stride)
{
    if (!linear->matrix.data) return;
    group->matrices[group->count] = &linear->matrix;
    group->results[group->count] = result;
    group->strides[group->count++] = stride;
}

static bool uses_integers(const cpu_model *model, const packed_matrix *matrix)
{
    return matrix->bits && model->engine->precision == PRECISION_FAST;
}

static quantized_rows *integers_for(cpu_model *model, const packed_matrix *matrix)
{
    activations *input = &model->work.input;
    return matrix->group_size == 32 ? &input->by_32 : matrix->group_size == 64 ? &input->by_64 : &input->by_128;
}

static void matmul_item(void *arg, int item, int thread)
{
    (void)thread;
    const matmul_job *job = arg;
    int which = 0, among = item % job->first_item[3];
    while (among >= job->first_item[which + 1]) which++;
    const packed_matrix *matrix = job->group->matrices[which];
    int tile = (among - job->first_item[which]) * job->tiles_per_item, tile_end = tile + job->tiles_per_item;
    int row = item / job->first_item[3] * job->rows_per_item, row_end = row + job->rows_per_item;
    if (tile_end > matrix->num_tiles) tile_end = matrix->num_tiles;
    if (row_end > job->num_rows) row_end = job->num_rows;
    const kernels *k = job->model->engine->kernels;
    const activations *input = &job->model->work.input;
    float *result = job->group->results[which];
    size_t stride = job->group->strides[which];
    if (uses_integers(job->model, matrix))
        k->matmul_affine(matrix, tile, tile_end, integers_for(job->model, matrix), row, row_end, result, stride);
    else k->matmul_float(matrix, tile, tile_end, input->values, input->stride, row, row_end, result, stride);
}

enum { STREAM_ROWS = 8, ITEM_ROWS = 128 };

// Few rows wait for memory: long runs of tiles. Many rows wait for arithmetic: pieces that fit the caches, those of the same
// rows side by side, so that a thread finds its rows where it left them; an even number of tiles, which kernels take in pairs.
static void run_group(cpu_model *model, const matmul_group *group, int num_rows)
{
    int threads = thread_pool_size(model->engine->pool), tiles = 0, row_items = (num_rows + ITEM_ROWS - 1) / ITEM_ROWS;
    matmul_job job = {.model = model, .group = group, .num_rows = num_rows, .rows_per_item = (num_rows + row_items - 1) / row_items};
    for (int i = 0; i < group->count; i++) tiles += group->matrices[i]->num_tiles;
    job.tiles_per_item = tiles / (threads * 4) > 1 ? tiles / (threads * 4) : 1;
    if (num_rows > STREAM_ROWS) job.tiles_per_item += job.tiles_per_item % 2;
    for (int i = 0; i < group->count; i++)
        job.first_item[i + 1] = job.first_item[i] + (group->matrices[i]->num_tiles + job.tiles_per_item - 1) / job.tiles_per_item;
    for (int i = group->count; i < 3; i++) job.first_item[i + 1] = job.first_item[group->count];
    cpu_model_run(model, job.first_item[3] * row_items, matmul_item, &job);
}

// Makes the integer forms of a row of the input that the matrices read. shape_input has said how wide
// they are.
static void quantize_input(cpu_model *model, const matmul_group *group, int row, bool narrow)
{
    activations *input = &model->work.input;
    const quantized_rows *done[3];
    for (int i = 0, forms = 0; i < group->count; i++) {
        if (!uses_integers(model, group->matrices[i])) continue;
        const quantized_rows *rows = integers_for(model, group->matrices[i]);
        bool again = false;
        for (int j = 0; j < forms; j++) again |= done[j] == rows;
        if (again) continue;
        done[forms++] = rows;
        model->engine->kernels->quantize_rows(input->values + (size_t)row * input->stride, input->stride, 1, narrow, rows, row);
    }
}

// Sets the shape that the next products read.
static void shape_input(cpu_model *model, int cols, int rows)
{
    quantized_rows *forms[3] = {&model->work.input.by_32, &model->work.input.by_64, &model->work.input.by_128};
    for (int i = 0; i < 3; i++) forms[i]->cols = cols, forms[i]->num_rows = rows;
}

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
    add_to_group(group, &c->block->q, work->q, work->q_stride);
    add_to_group(group, &c->block->k, work->k, work->kv_stride);
    add_to_group(group, &c->block->v, work->v, work->kv_stride);
}

static void before_attention(chunk *c, int row)
{
    matmul_group group = {0};
    attention_group(c, &group);
    apply_norm(c->model->engine->kernels, &c->block->pre_attention, hidden_row(c, row), input_row(c, row), c->model->desc.hidden_size);
    quantize_input(c->model, &group, row, c->narrow[row]);
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

// Biases, norms and position of queries and keys; keys and values go to the cache.
static void store_row(chunk *c, int row)
{
    const kernels *k = c->model->engine->kernels;
    const work_buffers *work = &c->model->work;
    const attention_desc *attention = &c->desc->attention;
    float *q = work->q + (size_t)row * work->q_stride, *key = work->k + (size_t)row * work->kv_stride;
    float *value = work->v + (size_t)row * work->kv_stride;
    int q_size = attention->num_heads * attention->head_dim, kv_size = attention->num_kv_heads * attention->head_dim;
    add_bias(k, &c->block->q, q);
    add_bias(k, &c->block->k, key);
    add_bias(k, &c->block->v, value);
    apply_norm(k, &c->block->q_norm, q, q, q_size);
    apply_norm(k, &c->block->k_norm, key, key, kv_size);
    turn(c, q, attention->num_heads, row);
    turn(c, key, attention->num_kv_heads, row);
    k->softcap(q, q_size, attention->scale, 0);
    const kv_cache *cache = &c->spans[c->spans_of[row]].seq->cache;
    int page = c->positions[row] / KV_PAGE_TOKENS, slot = c->positions[row] % KV_PAGE_TOKENS;
    for (int head = 0; head < attention->num_kv_heads; head++) {
        size_t at = (size_t)head * (size_t)attention->head_dim;
        k->kv_store(key + at, value + at, attention->head_dim, cache->layout->type, slot,
                    kv_cache_keys(cache, c->layer, head, page), kv_cache_values(cache, c->layer, head, page));
    }
}

static void quantize_attention(chunk *c, int row)
{
    matmul_group group = {0};
    add_to_group(&group, &c->block->o, NULL, 0);
    quantize_input(c->model, &group, row, c->narrow[row]);
}

static void ffn_group(const chunk *c, matmul_group *group)
{
    const work_buffers *work = &c->model->work;
    add_to_group(group, &c->block->gate, work->gate, work->ffn_stride);
    add_to_group(group, &c->block->up, work->up, work->ffn_stride);
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
    quantize_input(c->model, &group, row, c->narrow[row]);
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
    add_to_group(&group, &c->block->down, NULL, 0);
    quantize_input(c->model, &group, row, c->narrow[row]);
}

static void after_ffn(chunk *c, int row) { add_result(c, row, &c->block->down, &c->block->post_ffn); }

// ---- A layer, and the head

// What adapters change of a product, before its bias.
static void adapt(const chunk *c, lora_place place, float *result, size_t stride)
{
    lora_add(c->model, c->spans, c->num_spans, c->layer, place, result, stride);
}

static llm_status run_layer(chunk *c, int layer, llm_error *err)
{
    cpu_model *model = c->model;
    work_buffers *work = &model->work;
    c->layer = layer;
    c->desc = &model->desc.blocks[layer];
    c->block = &model->blocks[layer];
    matmul_group qkv = {0}, output = {0}, gate_up = {0}, down = {0};
    attention_group(c, &qkv);
    add_to_group(&output, &c->block->o, work->result, work->hidden_stride);
    ffn_group(c, &gate_up);
    add_to_group(&down, &c->block->down, work->result, work->hidden_stride);

    shape_input(model, model->desc.hidden_size, c->num_rows);
    for_rows(c, before_attention);
    run_group(model, &qkv, c->num_rows);
    adapt(c, LORA_Q, work->q, work->q_stride);
    adapt(c, LORA_K, work->k, work->kv_stride);
    adapt(c, LORA_V, work->v, work->kv_stride);
    for_rows(c, store_row);
    llm_status status = attention_run(model, layer, c->spans, c->num_spans, err);
    if (status != LLM_OK) return status;
    shape_input(model, c->block->o.matrix.cols, c->num_rows);
    for_rows(c, quantize_attention);
    run_group(model, &output, c->num_rows);
    adapt(c, LORA_O, work->result, work->hidden_stride);
    shape_input(model, model->desc.hidden_size, c->num_rows);
    for_rows(c, between_attention_and_ffn);
    run_group(model, &gate_up, c->num_rows);
    adapt(c, LORA_GATE, work->gate, work->ffn_stride);
    adapt(c, LORA_UP, work->up, work->ffn_stride);
    shape_input(model, c->desc->ffn.size, c->num_rows);
    for_rows(c, activate_row);
    run_group(model, &down, c->num_rows);
    adapt(c, LORA_DOWN, work->result, work->hidden_stride);
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
    matmul_group group = {.matrices = {matrix}, .results = {result}, .strides = {stride}, .count = 1};
    shape_input(model, model->desc.hidden_size, end - begin);
    for (int i = begin; i < end; i++) {
        apply_norm(model->engine->kernels, &model->final_norm, hidden_row(c, c->logit_rows[i]), input_row(c, i - begin), model->desc.hidden_size);
        quantize_input(model, &group, i - begin, false);
    }
    run_group(model, &group, end - begin);
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
