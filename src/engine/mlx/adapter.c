// Adapters: low-rank changes beside the weights, for the rows of the sequences that use them. Computed in float32, rounded
// to the type of x and added to the product and its bias, as mlx-lm does.
#include "base/mem.h"
#include "engine/mlx/mlx_engine.h"

// What an adapter adds to one linear: strength * (b (a x) + gain * (W x)).
typedef struct piece {
    mx_array *a, *b; // [cols, rank], [rank, rows]; NULL: nothing
    mx_array *gain;  // [rows] or NULL
} piece;

struct mlx_adapter {
    mlx_model *model;
    piece *pieces; // [num_pieces], by the number of a linear
    int num_pieces;
    uint64_t bytes;
};

int mlx_linear_number(int block, int place) { return 1 + block * BLOCK_LINEARS + place; }

static const linear_desc *linear_at(const model_desc *desc, int number)
{
    int block = (number - 1) / BLOCK_LINEARS;
    const linear_desc *linears[BLOCK_LINEARS];
    if (block == desc->num_blocks) return &desc->head;
    block_desc_linears(&desc->blocks[block], linears);
    return linears[(number - 1) % BLOCK_LINEARS];
}

// ---- Loading

static uint64_t layer_bytes(const model_desc *desc, const adapter_layer *layer)
{
    const tensor_desc *tensor = &desc->tensors[layer->tensor];
    return sizeof(float) * ((uint64_t)layer->rank * ((uint64_t)tensor->cols + (uint64_t)tensor->rows) + (uint64_t)(layer->gain ? tensor->rows : 0));
}

// [rows, cols], kept the other way round.
static mx_array *load_transposed(mx_scope *s, const float *data, int rows, int cols)
{
    mx_array *a = mx_from_data(s, data, DTYPE_F32, (int[]){rows, cols}, 2);
    return mx_keep(s, mx_contiguous(s, mx_swap_axes(s, a, 0, 1)));
}

// A linear may read some rows of the tensor only. Linears of one tensor share `a`.
static bool load_piece(mx_scope *s, const adapter_layer *layer, const linear_desc *linear, const mx_array *a, piece *target)
{
    const float *b = layer->b + (size_t)linear->row_begin * (size_t)layer->rank;
    target->a = mx_keep(s, a);
    target->b = load_transposed(s, b, linear->rows, layer->rank);
    if (layer->gain) target->gain = mx_keep(s, mx_from_data(s, layer->gain + linear->row_begin, DTYPE_F32, &linear->rows, 1));
    return mx_eval(s, (mx_array *[]){target->a, target->b, target->gain}, layer->gain ? 3 : 2);
}

static llm_status load_layer(mlx_adapter *adapter, const adapter_layer *layer, llm_error *err)
{
    mx_scope *s = adapter->model->scope;
    const model_desc *desc = &adapter->model->desc;
    mx_array *a = load_transposed(s, layer->a, layer->rank, desc->tensors[layer->tensor].cols);
    bool loaded = a;
    for (int number = 1; loaded && number < adapter->num_pieces; number++) {
        const linear_desc *linear = linear_at(desc, number);
        if (linear->weight == layer->tensor) loaded = load_piece(s, layer, linear, a, &adapter->pieces[number]);
    }
    mx_release(a);
    adapter->bytes += layer_bytes(desc, layer);
    return loaded ? LLM_OK : mlx_error(s, "an adapter", err);
}

llm_status mlx_adapter_load(mlx_model *model, const adapter_layer *layers, int num_layers, mlx_adapter **out, llm_error *err)
{
    *out = NULL;
    mlx_adapter *adapter = mem_alloc_zero(1, sizeof *adapter);
    if (!adapter) return error_no_memory(err, "an adapter");
    *adapter = (mlx_adapter){.model = model, .num_pieces = mlx_linear_number(model->desc.num_blocks, 0) + 1};
    adapter->pieces = mem_alloc_zero((size_t)adapter->num_pieces, sizeof *adapter->pieces);
    uint64_t total = 0;
    for (int i = 0; i < num_layers; i++) total += layer_bytes(&model->desc, &layers[i]);
    llm_status status = adapter->pieces ? mlx_check_limit(model->scope, total, "the adapter", err) : error_no_memory(err, "an adapter");
    for (int i = 0; status == LLM_OK && i < num_layers; i++) status = load_layer(adapter, &layers[i], err);
    atomic_fetch_add(&model->adapter_bytes, adapter->bytes);
    mlx_note_memory(model);
    if (status != LLM_OK) mlx_adapter_free(adapter);
    else *out = adapter;
    return status;
}

void mlx_adapter_free(mlx_adapter *adapter)
{
    for (int i = 0; adapter->pieces && i < adapter->num_pieces; i++) {
        mx_release(adapter->pieces[i].a);
        mx_release(adapter->pieces[i].b);
        mx_release(adapter->pieces[i].gain);
    }
    atomic_fetch_sub(&adapter->model->adapter_bytes, adapter->bytes);
    mlx_note_memory(adapter->model);
    mem_free(adapter->pieces);
    mem_free(adapter);
}

void mlx_seq_set_adapters(mlx_seq *seq, mlx_adapter *const *adapters, const float *strengths, int count)
{
    seq->num_adapters = count;
    for (int i = 0; i < count; i++) seq->adapters[i] = (mlx_adapter_use){adapters[i], strengths[i]};
}

// ---- Applying

// Of one adapter, in float32; NULL: nothing.
static mx_array *change_of(mx_scope *s, const mlx_adapter_use *use, const mlx_linear *l, const mx_array *x, const mx_array *y)
{
    const piece *p = &use->adapter->pieces[l->number];
    if (!p->a) return NULL;
    mx_array *change = mx_matmul(s, mx_matmul(s, x, p->a), p->b);
    if (p->gain) {
        mx_array *product = mx_astype(s, y, DTYPE_F32);
        if (l->bias) product = mx_subtract(s, product, l->bias);
        change = mx_add(s, change, mx_multiply(s, product, p->gain));
    }
    return use->strength == 1 ? change : mx_multiply(s, change, mx_scalar(s, use->strength, change));
}

static mx_array *change_of_all(mx_scope *s, const mlx_seq *seq, const mlx_linear *l, const mx_array *x, const mx_array *y)
{
    mx_array *sum = NULL;
    for (int i = 0; i < seq->num_adapters; i++) {
        mx_array *change = change_of(s, &seq->adapters[i], l, x, y);
        sum = sum && change ? mx_add(s, sum, change) : change ? change : sum;
    }
    return sum;
}

mx_array *graph_adapt(mlx_graph *g, const mlx_linear *l, mx_array *x, mx_array *y)
{
    mx_scope *s = g->s;
    bool changed = false;
    dtype type = DTYPE_F32;
    if (l->number == 0) return y;
    mx_type(x, &type);
    for (int i = 0; i < g->num_runs; i++) {
        const mlx_run *run = &g->runs[i];
        bool all = g->num_runs == 1;
        mx_array *input = all ? x : mx_slice(s, x, 1, run->row, run->row + run->rows);
        mx_array *part = all ? y : mx_slice(s, y, 1, run->row, run->row + run->rows);
        mx_array *change = change_of_all(s, run->seq, l, input, part);
        g->parts[i] = change ? mx_add(s, part, mx_astype(s, change, type)) : part;
        changed |= change != NULL;
    }
    if (!changed) return y;
    return g->num_runs == 1 ? g->parts[0] : mx_concatenate(s, g->parts, g->num_runs, 1);
}
