// The forward pass: a batch's tokens go through all layers in chunks of rows. product.c says which steps are jobs of the pool.
#include "base/mem.h"
#include "engine/cpu/forward.h"
#include <math.h>
#include <string.h>

// Every later token attends to the first ones of a text, whose activations are the largest: their errors would be
// everywhere.
enum { PRECISE_POSITIONS = 4 };

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

// ---- Steps over rows

// y = norm(x) in pieces of norm->size; a copy without one.
static void apply_norm(const kernels *k, const cpu_norm *norm, const float *x, float *y, int n)
{
    if (norm->kind == NORM_NONE && x != y) memcpy(y, x, (size_t)n * sizeof *y);
    for (int i = 0; norm->kind != NORM_NONE && i < n; i += norm->size) {
        if (norm->kind == NORM_RMS) k->rms_norm(x + i, norm->weight, norm->size, norm->eps, y + i);
        else k->layer_norm(x + i, norm->weight, norm->bias, norm->size, norm->eps, y + i);
    }
}

static float *hidden_row(const chunk *c, int row, const row_buffers *b) { return b->hidden + (size_t)row * c->model->work.hidden_stride; }
static float *input_row(int row, const row_buffers *b) { return b->input->values + (size_t)row * b->input->stride; }

static void embed_row(chunk *c, int row, const row_buffers *b)
{
    float *hidden = hidden_row(c, row, b);
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

static void attention_group(const chunk *c, product_group *group)
{
    const work_buffers *work = &c->model->work;
    add_to_group(group, &c->block->q, work->q, work->q_stride);
    add_to_group(group, &c->block->k, work->k, work->kv_stride);
    add_to_group(group, &c->block->v, work->v, work->kv_stride);
}

// hidden += residual_scale * norm(result of a layer's attention or feed-forward)
static void add_result(const chunk *c, int layer, const cpu_norm *norm, int row, const row_buffers *b)
{
    const kernels *k = c->model->engine->kernels;
    size_t at = (size_t)row * c->model->work.hidden_stride;
    const float *result = c->model->work.result + at;
    int size = c->model->desc.hidden_size;
    if (norm->kind != NORM_NONE) {
        apply_norm(k, norm, result, b->result + at, size);
        result = b->result + at;
    }
    k->add_scaled(hidden_row(c, row, b), result, c->model->desc.blocks[layer].residual_scale, size);
}

static void add_ffn_result(const chunk *c, int layer, int row, const row_buffers *b)
{
    if (layer >= 0) add_result(c, layer, &c->model->blocks[layer].post_ffn, row, b);
}

static void before_attention(chunk *c, int row, const row_buffers *b)
{
    product_group group = {0};
    attention_group(c, &group);
    add_ffn_result(c, c->layer - 1, row, b);
    apply_norm(c->model->engine->kernels, &c->block->pre_attention, hidden_row(c, row, b), input_row(row, b), c->model->desc.hidden_size);
    quantize_input(c, &group, row, c->narrow[row], b->input);
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

// Norms of the queries that share key and value heads [begin, end), and of the keys.
static void norm_heads(const chunk *c, int row, int begin, int end)
{
    const work_buffers *work = &c->model->work;
    const kernels *k = c->model->engine->kernels;
    int dim = c->desc->attention.head_dim, q_dim = c->desc->attention.num_heads / c->desc->attention.num_kv_heads * dim;
    float *q = work->q + (size_t)row * work->q_stride + begin * q_dim, *key = work->k + (size_t)row * work->kv_stride + begin * dim;
    apply_norm(k, &c->block->q_norm, q, q, (end - begin) * q_dim);
    apply_norm(k, &c->block->k_norm, key, key, (end - begin) * dim);
}

// Position of a head's key and of the queries that share it; key and value go to the cache.
static void turn_and_store(const chunk *c, int row, int head)
{
    const kernels *k = c->model->engine->kernels;
    const work_buffers *work = &c->model->work;
    const attention_desc *attention = &c->desc->attention;
    int dim = attention->head_dim, shared = attention->num_heads / attention->num_kv_heads;
    float *q = work->q + (size_t)row * work->q_stride + head * shared * dim;
    float *key = work->k + (size_t)row * work->kv_stride + head * dim, *value = work->v + (size_t)row * work->kv_stride + head * dim;
    turn(c, q, shared, row);
    turn(c, key, 1, row);
    k->softcap(q, shared * dim, attention->scale, 0);
    const kv_cache *cache = &c->spans[c->spans_of[row]].seq->cache;
    kv_page page = kv_cache_page(cache, c->layer, head, c->positions[row] / KV_PAGE_TOKENS);
    k->kv_store(key, value, dim, cache->layout->type, c->positions[row] % KV_PAGE_TOKENS, &page);
}

static void store_row(chunk *c, int row, const row_buffers *b)
{
    (void)b;
    norm_heads(c, row, 0, c->desc->attention.num_kv_heads);
    for (int head = 0; head < c->desc->attention.num_kv_heads; head++) turn_and_store(c, row, head);
}

static void store_head(void *arg, int row, int head)
{
    const chunk *c = arg;
    norm_heads(c, row, head, head + 1);
    turn_and_store(c, row, head);
}

// Whether the thread that attends with a head can store it, too: so nothing is handed over.
static bool is_stored_by_heads(const chunk *c)
{
    const cpu_norm *norms[] = {&c->block->q_norm, &c->block->k_norm};
    for (int i = 0; i < 2; i++)
        if (norms[i]->kind != NORM_NONE && norms[i]->size != c->desc->attention.head_dim) return false;
    return c->own && attention_is_short(c->spans, c->num_spans);
}

// Attention has written the shared input.
static void quantize_attention(chunk *c, int row, const row_buffers *b)
{
    const activations *attended = &c->model->work.input;
    product_group group = {0};
    add_to_group(&group, &c->block->o, NULL, 0);
    if (b->input != attended)
        memcpy(input_row(row, b), attended->values + (size_t)row * attended->stride, (size_t)c->block->o.matrix.cols * sizeof(float));
    quantize_input(c, &group, row, c->narrow[row], b->input);
}

static void ffn_group(const chunk *c, product_group *group)
{
    const work_buffers *work = &c->model->work;
    add_to_group(group, &c->block->gate, work->gate, work->ffn_stride);
    add_to_group(group, &c->block->up, work->up, work->ffn_stride);
}

static void before_ffn(chunk *c, int row, const row_buffers *b)
{
    product_group group = {0};
    ffn_group(c, &group);
    add_result(c, c->layer, &c->block->post_attention, row, b);
    apply_norm(c->model->engine->kernels, &c->block->pre_ffn, hidden_row(c, row, b), input_row(row, b), c->model->desc.hidden_size);
    quantize_input(c, &group, row, c->narrow[row], b->input);
}

static void activate_row(chunk *c, int row, const row_buffers *b)
{
    const work_buffers *work = &c->model->work;
    const float *gate = work->gate + (size_t)row * work->ffn_stride, *up = work->up + (size_t)row * work->ffn_stride;
    bool gated = c->block->gate.matrix.data != NULL;
    c->model->engine->kernels->activate(c->desc->ffn.activation, gated ? gate : up, gated ? up : NULL, c->desc->ffn.size, input_row(row, b));
    product_group group = {0};
    add_to_group(&group, &c->block->down, NULL, 0);
    quantize_input(c, &group, row, c->narrow[row], b->input);
}

// ---- A layer, and the head

// What adapters change of a product comes before its bias.
static void adapt(const chunk *c, lora_place place, const cpu_linear *linear, float *result, size_t stride)
{
    if (!c->adapted) return;
    lora_add(c->model, c->spans, c->num_spans, c->layer, place, result, stride);
    for (int row = 0; linear->bias && row < c->num_rows; row++)
        c->model->engine->kernels->add_scaled(result + (size_t)row * stride, linear->bias, 1, linear->matrix.rows);
}

static llm_status run_layer(chunk *c, int layer, llm_error *err)
{
    cpu_model *model = c->model;
    work_buffers *work = &model->work;
    c->layer = layer;
    c->desc = &model->desc.blocks[layer];
    c->block = &model->blocks[layer];
    product_group qkv = {0}, output = {0}, gate_up = {0}, down = {0};
    attention_group(c, &qkv);
    add_to_group(&output, &c->block->o, work->result, work->hidden_stride);
    ffn_group(c, &gate_up);
    add_to_group(&down, &c->block->down, work->result, work->hidden_stride);

    int hidden = model->desc.hidden_size, rows = c->num_rows;
    run_group(c, &qkv, hidden, rows, before_attention);
    adapt(c, LORA_Q, &c->block->q, work->q, work->q_stride);
    adapt(c, LORA_K, &c->block->k, work->k, work->kv_stride);
    adapt(c, LORA_V, &c->block->v, work->v, work->kv_stride);
    bool by_heads = is_stored_by_heads(c);
    if (!by_heads) for_rows(c, rows, store_row);
    llm_status status = attention_run(model, layer, c->spans, c->num_spans, by_heads ? store_head : NULL, c, err);
    if (status != LLM_OK) return status;
    run_group(c, &output, c->block->o.matrix.cols, rows, quantize_attention);
    adapt(c, LORA_O, &c->block->o, work->result, work->hidden_stride);
    run_group(c, &gate_up, hidden, rows, before_ffn);
    adapt(c, LORA_GATE, &c->block->gate, work->gate, work->ffn_stride);
    adapt(c, LORA_UP, &c->block->up, work->up, work->ffn_stride);
    run_group(c, &down, c->desc->ffn.size, rows, activate_row);
    adapt(c, LORA_DOWN, &c->block->down, work->result, work->hidden_stride);
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

static const packed_matrix *head_matrix(const cpu_model *model)
{
    return model->head.matrix.data ? &model->head.matrix : &model->embedding;
}

// The rows whose logits are wanted lie apart in the chunk, and side by side in the input of the head.
static void before_head(chunk *c, int row, const row_buffers *b)
{
    cpu_linear head = {.matrix = *head_matrix(c->model)};
    product_group group = {0};
    add_to_group(&group, &head, NULL, 0);
    int from = c->logit_rows[c->first_logit_row + row];
    add_ffn_result(c, c->model->desc.num_blocks - 1, from, b);
    apply_norm(c->model->engine->kernels, &c->model->final_norm, hidden_row(c, from, b), input_row(row, b), c->model->desc.hidden_size);
    quantize_input(c, &group, row, false, b->input);
}

// Logits of rows [begin, end) of the wanted ones, at `logits` [end - begin][vocab].
static void run_head(chunk *c, int begin, int end, float *logits)
{
    cpu_model *model = c->model;
    cpu_linear head = {.matrix = *head_matrix(model)};
    size_t vocab = (size_t)model->desc.vocab_size, stride = (vocab + 15) & ~(size_t)15;
    bool direct = stride == vocab;
    float *result = direct ? logits : model->work.logits;
    product_group group = {0};
    add_to_group(&group, &head, result, stride);
    c->first_logit_row = begin;
    run_group(c, &group, model->desc.hidden_size, end - begin, before_head);
    for (int i = begin; c->adapted && i < end; i++) {
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
    if (c->own) begin_own_steps(c);
    for_rows(c, c->num_rows, embed_row);
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
    c->adapted = false;
    for (int i = 0; i < num_items && c->num_rows < MAX_CHUNK_ROWS; i++) {
        int rows = items[i].num_tokens - done[i], room = MAX_CHUNK_ROWS - c->num_rows;
        if (rows > room) rows = room;
        bool alone = items[i].num_tokens == 1 || items[i].precise;
        if (rows == 0) continue;
        c->spans[c->num_spans] = (chunk_span){seqs[i], c->num_rows, rows, start[i] + done[i], alone};
        for (int t = 0; t < rows; t++, c->num_rows++) {
            c->tokens[c->num_rows] = items[i].tokens[done[i] + t];
            c->positions[c->num_rows] = start[i] + done[i] + t;
            c->spans_of[c->num_rows] = c->num_spans;
            c->narrow[c->num_rows] = !alone && start[i] + done[i] + t >= PRECISE_POSITIONS;
            if (done[i] + t >= items[i].num_tokens - items[i].num_logits) c->logit_rows[c->num_logit_rows++] = c->num_rows;
        }
        c->adapted |= seqs[i]->num_adapters > 0;
        c->num_spans++;
        done[i] += rows;
    }
    c->own = c->num_rows <= FEW_ROWS && !c->adapted;
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
