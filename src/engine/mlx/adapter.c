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

// ---- Loading

typedef struct adapter_loader {
    mlx_adapter *adapter;
    const adapter_layer *layers;
    int num_layers;
    uint64_t total; // bytes
    llm_error *err;
} adapter_loader;

typedef llm_status (*linear_visit)(adapter_loader *l, const adapter_layer *layer, const linear_desc *linear, piece *target);

static llm_status visit_linear(adapter_loader *l, const linear_desc *linear, int number, linear_visit visit)
{
    for (int i = 0; linear->weight != NO_TENSOR && i < l->num_layers; i++)
        if (l->layers[i].tensor == linear->weight) return visit(l, &l->layers[i], linear, &l->adapter->pieces[number]);
    return LLM_OK;
}

// All linears that the adapter changes.
static llm_status visit_all(adapter_loader *l, linear_visit visit)
{
    const model_desc *desc = &l->adapter->model->desc;
    llm_status status = visit_linear(l, &desc->head, mlx_linear_number(desc->num_blocks, 0), visit);
    for (int block = 0; block < desc->num_blocks; block++) {
        const linear_desc *linears[BLOCK_LINEARS];
        block_desc_linears(&desc->blocks[block], linears);
        for (int i = 0; status == LLM_OK && i < BLOCK_LINEARS; i++) status = visit_linear(l, linears[i], mlx_linear_number(block, i), visit);
    }
    return status;
}

static llm_status count_piece(adapter_loader *l, const adapter_layer *layer, const linear_desc *linear, piece *target)
{
    (void)target;
    l->total += sizeof(float) * ((uint64_t)layer->rank * ((uint64_t)linear->cols + (uint64_t)linear->rows) + (uint64_t)(layer->gain ? linear->rows : 0));
    return LLM_OK;
}

// [rows, cols], kept the other way round.
static mx_array *load_transposed(mx_scope *s, const float *data, int rows, int cols)
{
    mx_array *a = mx_from_data(s, data, DTYPE_F32, (int[]){rows, cols}, 2);
    return mx_keep(s, mx_contiguous(s, mx_swap_axes(s, a, 0, 1)));
}

// A linear may read some rows of the tensor only.
static llm_status load_piece(adapter_loader *l, const adapter_layer *layer, const linear_desc *linear, piece *target)
{
    mx_scope *s = l->adapter->model->scope;
    const float *b = layer->b + (size_t)linear->row_begin * (size_t)layer->rank;
    target->a = load_transposed(s, layer->a, layer->rank, linear->cols);
    target->b = load_transposed(s, b, linear->rows, layer->rank);
    if (layer->gain) target->gain = mx_keep(s, mx_from_data(s, layer->gain + linear->row_begin, DTYPE_F32, &linear->rows, 1));
    mx_array *all[3] = {target->a, target->b, target->gain};
    if (!mx_eval(s, all, layer->gain ? 3 : 2)) return mlx_error(s, "an adapter", l->err);
    for (int i = 0; i < 3; i++) l->adapter->bytes += mx_bytes(all[i]);
    return LLM_OK;
}

llm_status mlx_adapter_load(mlx_model *model, const adapter_layer *layers, int num_layers, mlx_adapter **out, llm_error *err)
{
    *out = NULL;
    mlx_adapter *adapter = mem_alloc_zero(1, sizeof *adapter);
    if (!adapter) return error_no_memory(err, "an adapter");
    *adapter = (mlx_adapter){.model = model, .num_pieces = mlx_linear_number(model->desc.num_blocks, 0) + 1};
    adapter->pieces = mem_alloc_zero((size_t)adapter->num_pieces, sizeof *adapter->pieces);
    adapter_loader l = {.adapter = adapter, .layers = layers, .num_layers = num_layers, .err = err};
    llm_status status = adapter->pieces ? visit_all(&l, count_piece) : error_no_memory(err, "an adapter");
    if (status == LLM_OK) status = mlx_check_limit(model->scope, l.total, "the adapter", err);
    if (status == LLM_OK) status = visit_all(&l, load_piece);
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
