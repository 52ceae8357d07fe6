// Loading: weights become MLX arrays, tensor by tensor; exact precision makes every float a float32.
#include "base/mem.h"
#include "engine/mlx/mlx_engine.h"
#include <string.h>

typedef struct loader {
    mlx_model *model;
    mx_scope *s;
    const model_desc *desc;
    const engine_weights *weights;
    engine_progress progress;
    void *user;
    int *uses;         // [num_tensors]: linears that still wait for this tensor
    size_t done, total; // bytes read
    llm_error *err;
} loader;

// Rows [begin, begin + rows) of an array of `cols` elements a row, computed and kept.
static mx_array *load_array(loader *l, const void *data, dtype type, int begin, int rows, int cols)
{
    size_t offset = (size_t)begin * (size_t)cols * dtype_size(type);
    mx_array *a = mx_from_data(l->s, (const uint8_t *)data + offset, type, (int[]){rows, cols}, 2);
    if (dtype_is_float(type) && l->model->engine->precision == PRECISION_EXACT) a = mx_astype(l->s, a, DTYPE_F32);
    mx_array *kept = mx_keep(l->s, a);
    if (kept && !mx_eval(l->s, &kept, 1)) {
        mx_release(kept);
        kept = NULL;
    }
    l->model->weights_bytes += mx_bytes(kept);
    return kept;
}

static llm_status check_scope(loader *l, int tensor)
{
    return mx_scope_failure(l->s) == MX_NO_FAILURE ? LLM_OK : mlx_error(l->s, l->desc->tensors[tensor].name, l->err);
}

// A vector, plus `offset`; *out stays NULL for NO_TENSOR.
static llm_status load_vector(loader *l, int tensor, int begin, int count, float offset, mx_array **out)
{
    if (tensor == NO_TENSOR) return LLM_OK;
    const weight_view *view = &l->weights->views[tensor];
    if (view->bits || !dtype_is_float(view->type))
        return error_set(l->err, LLM_UNSUPPORTED_FORMAT, "%s must not be quantised", l->desc->tensors[tensor].name);
    mx_array *a = mx_from_data(l->s, (const uint8_t *)view->data + (size_t)begin * dtype_size(view->type), view->type, &count, 1);
    if (l->model->engine->precision == PRECISION_EXACT) a = mx_astype(l->s, a, DTYPE_F32);
    if (offset != 0) a = mx_add(l->s, a, mx_scalar(l->s, offset, a));
    *out = mx_keep(l->s, a);
    if (*out) mx_eval(l->s, out, 1);
    l->model->weights_bytes += mx_bytes(*out);
    return check_scope(l, tensor);
}

static llm_status load_norm(loader *l, const norm_desc *desc, mlx_norm *norm)
{
    *norm = (mlx_norm){.kind = desc->kind, .size = desc->size, .eps = desc->eps};
    if (desc->kind == NORM_NONE) return LLM_OK;
    llm_status status = load_vector(l, desc->weight, 0, desc->size, desc->weight_offset, &norm->weight);
    return status == LLM_OK ? load_vector(l, desc->bias, 0, desc->size, 0, &norm->bias) : status;
}

static size_t row_bytes(const weight_view *view)
{
    if (!view->bits) return (size_t)view->cols * dtype_size(view->type);
    size_t groups = (size_t)(view->cols / view->group_size);
    return (size_t)view->cols * (size_t)view->bits / 8 + 2 * groups * dtype_size(view->scale_type);
}

static llm_status load_matrix(loader *l, int tensor, int begin, int rows, mlx_linear *linear)
{
    const weight_view *view = &l->weights->views[tensor];
    if (view->bits) {
        int groups = view->cols / view->group_size;
        linear->bits = view->bits;
        linear->group_size = view->group_size;
        linear->weight = load_array(l, view->data, DTYPE_U32, begin, rows, (int)((int64_t)view->cols * view->bits / 32));
        linear->scales = load_array(l, view->scales, view->scale_type, begin, rows, groups);
        linear->biases = load_array(l, view->biases, view->scale_type, begin, rows, groups);
    } else
        linear->weight = load_array(l, view->data, view->type, begin, rows, view->cols);
    llm_status status = check_scope(l, tensor);
    if (status != LLM_OK) return status;
    if (--l->uses[tensor] == 0 && l->weights->release) l->weights->release(l->weights->user, tensor);
    l->done += (size_t)rows * row_bytes(view);
    if (l->progress && !l->progress(l->user, (double)l->done / (double)l->total))
        return error_set(l->err, LLM_CANCELLED, "the load was cancelled");
    return LLM_OK;
}

static llm_status load_linear(loader *l, const linear_desc *desc, int number, mlx_linear *linear)
{
    if (desc->weight == NO_TENSOR) return LLM_OK;
    linear->number = number;
    llm_status status = load_matrix(l, desc->weight, desc->row_begin, desc->rows, linear);
    return status == LLM_OK ? load_vector(l, desc->bias, desc->row_begin, desc->rows, 0, &linear->bias) : status;
}

enum { BLOCK_NORMS = 6 };
typedef struct norm_pair {
    const norm_desc *desc;
    mlx_norm *norm;
} norm_pair;

// Where a block has what block_desc_linears lists.
static void block_places(mlx_block *block, mlx_linear *places[BLOCK_LINEARS])
{
    mlx_linear *all[BLOCK_LINEARS] = {&block->q, &block->k, &block->v, &block->o, &block->gate, &block->up, &block->down};
    memcpy(places, all, sizeof all);
}

static llm_status load_block(loader *l, int number, const block_desc *desc, mlx_block *block)
{
    const norm_pair norms[BLOCK_NORMS] = {
        {&desc->pre_attention, &block->pre_attention}, {&desc->post_attention, &block->post_attention},
        {&desc->pre_ffn, &block->pre_ffn}, {&desc->post_ffn, &block->post_ffn},
        {&desc->attention.q_norm, &block->q_norm}, {&desc->attention.k_norm, &block->k_norm}};
    const linear_desc *linears[BLOCK_LINEARS];
    mlx_linear *places[BLOCK_LINEARS];
    block_desc_linears(desc, linears);
    block_places(block, places);
    llm_status status = LLM_OK;
    for (int i = 0; status == LLM_OK && i < BLOCK_NORMS; i++) status = load_norm(l, norms[i].desc, norms[i].norm);
    for (int i = 0; status == LLM_OK && i < BLOCK_LINEARS; i++) status = load_linear(l, linears[i], mlx_linear_number(number, i), places[i]);
    return status;
}

// Where a base says them, MLX computes the frequencies itself, as in mlx-lm; else it takes 1 / inv_freq. A pair that does
// not turn has an infinite one.
static llm_status load_ropes(loader *l)
{
    mlx_model *model = l->model;
    for (int i = 0; i < l->desc->num_ropes; i++) {
        const rope_desc *rope = &l->desc->ropes[i];
        int pairs = rope->dims / 2;
        if (rope->base > 0) continue;
        mx_array *inverse = mx_from_data(l->s, rope->inv_freq, DTYPE_F32, &pairs, 1);
        model->rope_freqs[i] = mx_keep(l->s, mx_divide(l->s, mx_scalar(l->s, 1, inverse), inverse));
        if (model->rope_freqs[i]) mx_eval(l->s, &model->rope_freqs[i], 1);
    }
    return mx_scope_failure(l->s) == MX_NO_FAILURE ? LLM_OK : mlx_error(l->s, "the position embedding", l->err);
}

static void count_use(loader *l, const linear_desc *linear)
{
    if (linear->weight == NO_TENSOR) return;
    l->uses[linear->weight]++;
    l->total += (size_t)linear->rows * row_bytes(&l->weights->views[linear->weight]);
}

static llm_status plan(loader *l)
{
    const model_desc *desc = l->desc;
    mlx_model *model = l->model;
    l->uses = mem_alloc_zero((size_t)desc->num_tensors, sizeof *l->uses);
    model->blocks = mem_alloc_zero((size_t)desc->num_blocks, sizeof *model->blocks);
    model->rope_freqs = mem_alloc_zero((size_t)desc->num_ropes, sizeof *model->rope_freqs);
    model->scope = l->s = mx_scope_create();
    if (!l->uses || !model->blocks || !model->rope_freqs || !l->s) return error_no_memory(l->err, "a model");
    count_use(l, &(linear_desc){.weight = desc->embedding, .rows = desc->vocab_size});
    if (!model_desc_is_tied(desc)) count_use(l, &desc->head);
    for (int i = 0; i < desc->num_blocks; i++) {
        const linear_desc *linears[BLOCK_LINEARS];
        block_desc_linears(&desc->blocks[i], linears);
        for (int j = 0; j < BLOCK_LINEARS; j++) count_use(l, linears[j]);
    }
    return LLM_OK;
}

// MLX has one set of limits for the whole process: those of the latest load.
static llm_status check_memory(loader *l)
{
    const mlx_engine *engine = l->model->engine;
    mx_set_cache_limit(l->s, engine->cache_limit);
    mx_set_memory_limit(l->s, engine->memory_limit);
    mx_set_wired_limit(l->s, engine->wired_limit);
    if (mx_scope_failure(l->s) != MX_NO_FAILURE) return mlx_error(l->s, "setting its limits", l->err);
    return mlx_check_limit(l->s, l->total, "the weights", l->err);
}

static llm_status load_all(loader *l)
{
    const model_desc *desc = l->desc;
    mlx_model *model = l->model;
    llm_status status = plan(l);
    if (status == LLM_OK) status = check_memory(l);
    if (status == LLM_OK) status = load_matrix(l, desc->embedding, 0, desc->vocab_size, &model->embedding);
    for (int i = 0; status == LLM_OK && i < desc->num_blocks; i++) status = load_block(l, i, &desc->blocks[i], &model->blocks[i]);
    if (status == LLM_OK) status = load_norm(l, &desc->final_norm, &model->final_norm);
    if (status == LLM_OK && !model_desc_is_tied(desc)) status = load_linear(l, &desc->head, mlx_linear_number(desc->num_blocks, 0), &model->head);
    if (status == LLM_OK && model_desc_is_tied(desc)) status = load_vector(l, desc->head.bias, 0, desc->vocab_size, 0, &model->head.bias);
    if (status == LLM_OK) status = load_ropes(l);
    if (status == LLM_OK) status = mlx_model_probe(model, l->err);
    return status;
}

llm_status mlx_model_load(mlx_engine *engine, const model_desc *desc, const engine_weights *weights, engine_progress progress,
                          void *user, mlx_model **out, llm_error *err)
{
    mlx_model *model = mem_alloc_zero(1, sizeof *model);
    if (!model) return error_no_memory(err, "a model");
    model->engine = engine;
    loader l = {.model = model, .desc = desc, .weights = weights, .progress = progress, .user = user, .err = err};
    llm_status status = model_desc_copy(desc, &model->desc, err);
    if (status == LLM_OK) status = load_all(&l);
    mem_free(l.uses);
    if (status == LLM_OK) mlx_note_memory(model);
    if (status != LLM_OK) mlx_model_free(model);
    else *out = model;
    return status;
}

static void free_norm(mlx_norm *norm)
{
    mx_release(norm->weight);
    mx_release(norm->bias);
}

static void free_linear(mlx_linear *linear)
{
    mx_array *arrays[] = {linear->weight, linear->scales, linear->biases, linear->bias};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) mx_release(arrays[i]);
}

static void free_block(mlx_block *block)
{
    mlx_norm *norms[] = {&block->pre_attention, &block->post_attention, &block->pre_ffn, &block->post_ffn, &block->q_norm, &block->k_norm};
    mlx_linear *places[BLOCK_LINEARS];
    block_places(block, places);
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) free_norm(norms[i]);
    for (int i = 0; i < BLOCK_LINEARS; i++) free_linear(places[i]);
}

// Gives everything back to the system: MLX's cache holds nothing of a model that is gone.
void mlx_model_free(mlx_model *model)
{
    if (!model) return;
    mlx_forget_ahead(model, NULL);
    for (int i = 0; model->blocks && i < model->desc.num_blocks; i++) free_block(&model->blocks[i]);
    mem_free(model->blocks);
    free_linear(&model->embedding);
    free_linear(&model->head);
    free_norm(&model->final_norm);
    for (int i = 0; model->rope_freqs && i < model->desc.num_ropes; i++) mx_release(model->rope_freqs[i]);
    mem_free(model->rope_freqs);
    if (model->scope) {
        mx_scope_clear(model->scope);
        mx_clear_cache(model->scope);
    }
    mx_scope_free(model->scope);
    model_desc_free(&model->desc);
    mem_free(model);
}
