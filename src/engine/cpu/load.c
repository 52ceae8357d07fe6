// Loading: packs every weight matrix into tiles, in parallel, and gives the mapped files back piece by piece.
#include "base/mem.h"
#include "engine/cpu/cpu_engine.h"
#include <stdlib.h>
#include <string.h>

typedef struct loader {
    cpu_model *model;
    const model_desc *desc;
    const engine_weights *weights;
    engine_progress progress;
    void *user;
    int *uses;              // [num_tensors]: matrices that still wait for this tensor
    size_t done, total;     // bytes of packed matrices: filled, and all
    bool measure;           // shapes and sizes only: nothing is allocated for weights or read
    llm_error *err;
} loader;

// A vector as float32; *out stays NULL for NO_TENSOR.
static llm_status load_vector(loader *l, int tensor, int begin, int count, float offset, float **out)
{
    if (tensor == NO_TENSOR) return LLM_OK;
    const weight_view *view = &l->weights->views[tensor];
    if (view->bits || !dtype_is_float(view->type))
        return error_set(l->err, LLM_UNSUPPORTED_FORMAT, "%s must not be quantised", l->desc->tensors[tensor].name);
    if (l->measure) return LLM_OK;
    *out = mem_alloc_zero((size_t)count, sizeof **out);
    if (!*out) return error_no_memory(l->err, "a vector of weights");
    dtype_to_float(view->type, (const uint8_t *)view->data + (size_t)begin * dtype_size(view->type), *out, (size_t)count);
    for (int i = 0; i < count; i++) (*out)[i] += offset;
    return LLM_OK;
}

static llm_status load_norm(loader *l, const norm_desc *desc, cpu_norm *norm)
{
    *norm = (cpu_norm){.kind = desc->kind, .size = desc->size, .eps = desc->eps};
    if (desc->kind == NORM_NONE) return LLM_OK;
    llm_status status = load_vector(l, desc->weight, 0, desc->size, desc->weight_offset, &norm->weight);
    if (status == LLM_OK) status = load_vector(l, desc->bias, 0, desc->size, 0, &norm->bias);
    return status;
}

enum {
    TILES_PER_ITEM = 8,
    SLICE_BYTES = 16 << 20, // of a large matrix, after which its file's pages are given back
};

typedef struct fill_job {
    packed_matrix *matrix;
    const weight_view *view;
    int row_begin, first_tile, end_tile;
} fill_job;

static void fill_tiles(void *arg, int item, int thread)
{
    (void)thread;
    const fill_job *job = arg;
    int begin = job->first_tile + item * TILES_PER_ITEM, end = begin + TILES_PER_ITEM;
    if (end > job->end_tile) end = job->end_tile;
    packed_matrix_fill(job->matrix, job->view, job->row_begin, begin, end);
}

// Fills a matrix that `plan` has shaped; it takes the next bytes of the model's weights.
static llm_status load_matrix(loader *l, int tensor, int row_begin, packed_matrix *matrix)
{
    const weight_view *view = &l->weights->views[tensor];
    if (l->measure) return LLM_OK;
    matrix->data = l->model->weights + l->done;
    int slice = (int)(SLICE_BYTES / matrix->tile_bytes) + 1;
    bool last_use = --l->uses[tensor] == 0;
    for (int tile = 0; tile < matrix->num_tiles; tile += slice) {
        int end = matrix->num_tiles - tile < slice ? matrix->num_tiles : tile + slice;
        fill_job job = {matrix, view, row_begin, tile, end};
        thread_pool_run(l->model->engine->pool, (end - tile + TILES_PER_ITEM - 1) / TILES_PER_ITEM, fill_tiles, &job);
        if (last_use && l->weights->release) l->weights->release(l->weights->user, tensor);
    }
    l->done += packed_matrix_bytes(matrix);
    if (l->progress && !l->progress(l->user, (double)l->done / (double)l->total))
        return error_set(l->err, LLM_CANCELLED, "the load was cancelled");
    return LLM_OK;
}

static llm_status load_linear(loader *l, const linear_desc *desc, cpu_linear *linear)
{
    if (desc->weight == NO_TENSOR) return LLM_OK;
    llm_status status = load_matrix(l, desc->weight, desc->row_begin, &linear->matrix);
    if (status == LLM_OK) status = load_vector(l, desc->bias, desc->row_begin, desc->rows, 0, &linear->bias);
    return status;
}

// Where a block has what block_desc_linears lists.
static void block_places(cpu_block *block, cpu_linear *places[BLOCK_LINEARS])
{
    cpu_linear *all[BLOCK_LINEARS] = {&block->q, &block->k, &block->v, &block->o, &block->gate, &block->up, &block->down};
    memcpy(places, all, sizeof all);
}

static llm_status load_block(loader *l, const block_desc *desc, cpu_block *block)
{
    const struct { const norm_desc *desc; cpu_norm *norm; } norms[] = {
        {&desc->pre_attention, &block->pre_attention}, {&desc->post_attention, &block->post_attention},
        {&desc->pre_ffn, &block->pre_ffn}, {&desc->post_ffn, &block->post_ffn},
        {&desc->attention.q_norm, &block->q_norm}, {&desc->attention.k_norm, &block->k_norm}};
    const linear_desc *linears[BLOCK_LINEARS];
    cpu_linear *places[BLOCK_LINEARS];
    block_desc_linears(desc, linears);
    block_places(block, places);
    llm_status status = LLM_OK;
    for (size_t i = 0; status == LLM_OK && i < sizeof norms / sizeof *norms; i++) status = load_norm(l, norms[i].desc, norms[i].norm);
    for (int i = 0; status == LLM_OK && i < BLOCK_LINEARS; i++) status = load_linear(l, linears[i], places[i]);
    return status;
}

static llm_status plan_matrix(loader *l, int tensor, int rows, packed_matrix *matrix)
{
    llm_status status = packed_matrix_shape(matrix, &l->weights->views[tensor], rows, l->err);
    if (status != LLM_OK) return error_prefix(l->err, "%s", l->desc->tensors[tensor].name);
    l->uses[tensor]++;
    return mem_add(l->total, packed_matrix_bytes(matrix), &l->total) ? LLM_OK : error_no_memory(l->err, "packed weights");
}

static llm_status plan_linear(loader *l, const linear_desc *desc, cpu_linear *linear)
{
    return desc->weight == NO_TENSOR ? LLM_OK : plan_matrix(l, desc->weight, desc->rows, &linear->matrix);
}

// Shapes every matrix and gets the memory for all of them: one piece, so that it can lie on huge pages.
static llm_status plan(loader *l)
{
    const model_desc *desc = l->desc;
    cpu_model *model = l->model;
    l->uses = mem_alloc_zero((size_t)desc->num_tensors, sizeof *l->uses);
    model->blocks = mem_alloc_zero((size_t)desc->num_blocks, sizeof *model->blocks);
    if (!l->uses || !model->blocks) return error_no_memory(l->err, "a model");
    llm_status status = plan_matrix(l, desc->embedding, desc->vocab_size, &model->embedding);
    for (int i = 0; status == LLM_OK && i < desc->num_blocks; i++) {
        const linear_desc *linears[BLOCK_LINEARS];
        cpu_linear *places[BLOCK_LINEARS];
        block_desc_linears(&desc->blocks[i], linears);
        block_places(&model->blocks[i], places);
        for (int j = 0; status == LLM_OK && j < BLOCK_LINEARS; j++) status = plan_linear(l, linears[j], places[j]);
    }
    if (status == LLM_OK && !model_desc_is_tied(desc)) status = plan_linear(l, &desc->head, &model->head);
    if (status != LLM_OK) return status;
    model->weights_bytes = l->total;
    if (l->measure) return LLM_OK;
    model->weights = mem_alloc_large(l->total);
    return model->weights ? LLM_OK : error_no_memory(l->err, "packed weights");
}

// ---- Buffers

static size_t padded(size_t floats) { return (floats + 15) & ~(size_t)15; }
static void widen(size_t *width, int value) { if (padded((size_t)value) > *width) *width = padded((size_t)value); }

// `complete` NULL: only counts.
static float *buffer(work_buffers *work, size_t rows, size_t stride, bool *complete)
{
    work->bytes += rows * stride * sizeof(float);
    if (!complete) return NULL;
    float *memory = mem_alloc_aligned(64, (rows * stride + 16) * sizeof(float));
    if (!memory) *complete = false;
    return memory;
}

// In cache lines of its own: threads that write their own rows do not disturb each other.
static void *cleared(size_t bytes)
{
    void *memory = mem_alloc_aligned(64, bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

static void quantized_buffer(work_buffers *work, quantized_rows *rows, int group_size, size_t num_rows, size_t cols, bool *complete)
{
    size_t bytes = num_rows * cols, groups = num_rows * (cols / (size_t)group_size + 1);
    work->bytes += 2 * bytes + bytes / 32 + num_rows + 2 * groups * sizeof(float);
    if (!complete) return;
    *rows = (quantized_rows){.group_size = group_size, .hi = mem_alloc_aligned(64, bytes), .lo = mem_alloc_aligned(64, bytes),
                             .scale = cleared(groups * sizeof(float)), .sum = cleared(groups * sizeof(float)),
                             .narrow = cleared(num_rows), .wide = cleared(bytes / 32)};
    if (!rows->hi || !rows->lo || !rows->scale || !rows->sum || !rows->narrow || !rows->wide) *complete = false;
}

static void create_activations(work_buffers *work, activations *input, size_t rows, const bool wanted[3], bool *complete)
{
    quantized_rows *forms[3] = {&input->by_32, &input->by_64, &input->by_128};
    input->stride = work->input.stride;
    input->values = buffer(work, rows, input->stride, complete);
    for (int i = 0; i < 3; i++)
        if (wanted[i]) quantized_buffer(work, forms[i], 32 << i, rows, input->stride, complete);
}

static void create_own_rows(work_buffers *work, size_t threads, const bool wanted[3], bool *complete)
{
    work->bytes += threads * sizeof(own_rows);
    if (complete && !(work->own = mem_alloc_aligned(_Alignof(own_rows), threads * sizeof *work->own))) *complete = false;
    for (size_t i = 0; i < threads; i++) {
        own_rows unused, *own = work->own ? &work->own[i] : &unused;
        *own = (own_rows){0};
        for (int j = 0; j < 2; j++) own->hidden[j] = buffer(work, FEW_ROWS, work->hidden_stride, work->own ? complete : NULL);
        own->result = buffer(work, FEW_ROWS, work->hidden_stride, work->own ? complete : NULL);
        create_activations(work, &own->input, FEW_ROWS, wanted, work->own ? complete : NULL);
    }
    if (work->own) work->num_own = threads;
}

// Notes that a matrix of this model reads integers in groups of its size.
static void note_matrix(const cpu_model *model, const packed_matrix *matrix, bool wanted[3])
{
    if (matrix->num_tiles && matrix->bits && model->engine->precision == PRECISION_FAST)
        wanted[matrix->group_size == 32 ? 0 : matrix->group_size == 64 ? 1 : 2] = true;
}

static void create_buffers(cpu_model *model, bool *complete)
{
    const model_desc *desc = &model->desc;
    work_buffers *work = &model->work;
    size_t input = 0, rope_dims = 0;
    bool wanted[3] = {false};
    widen(&work->hidden_stride, desc->hidden_size);
    widen(&input, desc->hidden_size);
    note_matrix(model, model->head.matrix.num_tiles ? &model->head.matrix : &model->embedding, wanted);
    for (int i = 0; i < desc->num_blocks; i++) {
        const attention_desc *attention = &desc->blocks[i].attention;
        const linear_desc *linears[BLOCK_LINEARS];
        cpu_linear *places[BLOCK_LINEARS];
        widen(&work->q_stride, attention->q.rows);
        widen(&work->kv_stride, attention->k.rows);
        widen(&work->ffn_stride, desc->blocks[i].ffn.size);
        block_desc_linears(&desc->blocks[i], linears);
        block_places(&model->blocks[i], places);
        for (int j = 0; j < BLOCK_LINEARS; j++) {
            if (linears[j]->weight == NO_TENSOR) continue;
            widen(&input, linears[j]->cols);
            note_matrix(model, &places[j]->matrix, wanted);
        }
    }
    for (int i = 0; i < desc->num_ropes; i++) widen(&rope_dims, desc->ropes[i].dims / 2);
    work->rope_stride = rope_dims;
    work->input.stride = input;
    size_t rows = MAX_CHUNK_ROWS;
    work->hidden = buffer(work, rows, work->hidden_stride, complete);
    work->result = buffer(work, rows, work->hidden_stride, complete);
    work->q = buffer(work, rows, work->q_stride, complete);
    work->k = buffer(work, rows, work->kv_stride, complete);
    work->v = buffer(work, rows, work->kv_stride, complete);
    work->gate = buffer(work, rows, work->ffn_stride, complete);
    work->up = buffer(work, rows, work->ffn_stride, complete);
    create_activations(work, &work->input, rows, wanted, complete);
    size_t threads = (size_t)thread_pool_size(model->engine->pool);
    create_own_rows(work, threads, wanted, complete);
    work->cosine = buffer(work, rows * (size_t)desc->num_ropes, rope_dims, complete);
    work->sine = buffer(work, rows * (size_t)desc->num_ropes, rope_dims, complete);
    if (desc->vocab_size % TILE_ROWS) work->logits = buffer(work, LOGIT_ROWS, padded((size_t)desc->vocab_size), complete);
    work->attention_bytes = attention_scratch_bytes(desc, model->engine->kv_type);
    work->bytes += threads * work->attention_bytes;
    if (complete && !(work->attention = mem_alloc_aligned(64, threads * work->attention_bytes))) *complete = false;
}

// ---- The whole model

static llm_status load_all(loader *l)
{
    cpu_model *model = l->model;
    const model_desc *desc = l->desc;
    bool complete = true;
    llm_status status = model_desc_copy(desc, &model->desc, l->err);
    if (status == LLM_OK) status = plan(l);
    if (status == LLM_OK) status = kv_layout_create(&model->kv, desc, model->engine->kv_type, l->err);
    if (status == LLM_OK) status = load_matrix(l, desc->embedding, 0, &model->embedding);
    for (int i = 0; status == LLM_OK && i < desc->num_blocks; i++) status = load_block(l, &desc->blocks[i], &model->blocks[i]);
    if (status == LLM_OK) status = load_norm(l, &desc->final_norm, &model->final_norm);
    if (status == LLM_OK && !model_desc_is_tied(desc)) status = load_linear(l, &desc->head, &model->head);
    if (status == LLM_OK && model_desc_is_tied(desc)) status = load_vector(l, desc->head.bias, 0, desc->vocab_size, 0, &model->head.bias);
    if (status == LLM_OK) create_buffers(model, l->measure ? NULL : &complete);
    return complete ? status : error_no_memory(l->err, "the buffers of a forward pass");
}

static llm_status run_loader(loader *l, cpu_engine *engine)
{
    l->model = mem_alloc_zero(1, sizeof *l->model);
    if (!l->model) return error_no_memory(l->err, "a model");
    l->model->engine = engine;
    llm_status status = load_all(l);
    mem_free(l->uses);
    return status;
}

llm_status cpu_model_load(cpu_engine *engine, const model_desc *desc, const engine_weights *weights,
                          engine_progress progress, void *user, cpu_model **out, llm_error *err)
{
    loader l = {.desc = desc, .weights = weights, .progress = progress, .user = user, .err = err};
    llm_status status = run_loader(&l, engine);
    if (status != LLM_OK) cpu_model_free(l.model);
    *out = status == LLM_OK ? l.model : NULL;
    return status;
}

// The same walk as a load, so that the two cannot differ.
llm_status cpu_model_estimate(cpu_engine *engine, const model_desc *desc, const engine_weights *weights, int num_tokens,
                              engine_memory *memory, llm_error *err)
{
    loader l = {.desc = desc, .weights = weights, .measure = true, .err = err};
    llm_status status = run_loader(&l, engine);
    if (status == LLM_OK) {
        memory->weights_bytes = l.model->weights_bytes;
        memory->kv_bytes = kv_layout_bytes(&l.model->kv, num_tokens, ENGINE_ESTIMATE_CALL);
        memory->work_bytes = l.model->work.bytes + attention_partial_bytes(desc, num_tokens, thread_pool_size(engine->pool));
    }
    cpu_model_free(l.model);
    return status;
}

static void free_norm(cpu_norm *norm)
{
    mem_free(norm->weight);
    mem_free(norm->bias);
}

static void free_quantized(quantized_rows *rows)
{
    mem_free(rows->hi);
    mem_free(rows->lo);
    mem_free(rows->scale);
    mem_free(rows->sum);
    mem_free(rows->narrow);
    mem_free(rows->wide);
}

static void free_activations(activations *input)
{
    mem_free(input->values);
    free_quantized(&input->by_32);
    free_quantized(&input->by_64);
    free_quantized(&input->by_128);
}

static void free_buffers(work_buffers *work)
{
    float *floats[] = {work->hidden, work->result, work->q, work->k, work->v, work->gate, work->up,
                       work->cosine, work->sine, work->logits, work->partial};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) mem_free(floats[i]);
    free_activations(&work->input);
    for (size_t i = 0; i < work->num_own; i++) {
        own_rows *own = &work->own[i];
        mem_free(own->hidden[0]);
        mem_free(own->hidden[1]);
        mem_free(own->result);
        free_activations(&own->input);
    }
    mem_free(work->own);
    mem_free(work->attention);
    mem_free(work->units);
}

static void free_block(cpu_block *block)
{
    cpu_norm *norms[] = {&block->pre_attention, &block->post_attention, &block->pre_ffn, &block->post_ffn, &block->q_norm, &block->k_norm};
    cpu_linear *linears[] = {&block->q, &block->k, &block->v, &block->o, &block->gate, &block->up, &block->down};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) free_norm(norms[i]);
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) mem_free(linears[i]->bias);
}

void cpu_model_free(cpu_model *model)
{
    if (!model) return;
    for (int i = 0; model->blocks && i < model->desc.num_blocks; i++) free_block(&model->blocks[i]);
    mem_free(model->blocks);
    mem_free(model->weights);
    free_norm(&model->final_norm);
    mem_free(model->head.bias);
    free_buffers(&model->work);
    mem_free(model->inner);
    kv_layout_free(&model->kv);
    model_desc_free(&model->desc);
    mem_free(model);
}
