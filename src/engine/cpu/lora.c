// Adapters of the CPU engine: low-rank changes beside the packed weights, applied to the rows of the sequences that
// use them after each product and before its bias. All in float32, with the kernels of dense weights.
#include "base/mem.h"
#include "engine/cpu/cpu_engine.h"
#include <string.h>

// What an adapter does to one linear: result += strength * (b (a x) + gain * result).
typedef struct lora_piece {
    packed_matrix a, b; // [rank, cols], [rows, rank]; a.data NULL: nothing
    float *gain;        // [rows] or NULL
} lora_piece;

struct cpu_adapter {
    cpu_model *model;
    lora_piece *pieces; // [num_blocks + 1][LORA_PLACES]; of the last row only the head's is used
    int num_pieces;
    size_t rank_stride; // floats of one row of a x, whichever the piece
    uint64_t bytes;
};

// Rows and tiles of one item of work: what it computes fits the stack and the first-level cache.
enum { ITEM_ROWS = 32, ITEM_TILES = 8, ITEM_WIDTH = ITEM_TILES * TILE_ROWS };
// Products of less than this many multiplications are not worth waking other threads for.
enum { MIN_SHARED_WORK = 1 << 17 };

// ---- Loading

static const linear_desc *linear_at(const model_desc *desc, int block, lora_place place)
{
    if (block == desc->num_blocks) return place == LORA_HEAD ? &desc->head : NULL;
    const linear_desc *linears[BLOCK_LINEARS];
    block_desc_linears(&desc->blocks[block], linears);
    return linears[place];
}

static llm_status pack_floats(const float *values, int rows, int cols, int row_begin, int row_count, packed_matrix *matrix,
                              llm_error *err)
{
    weight_view view = {.type = DTYPE_F32, .rows = rows, .cols = cols, .data = values};
    llm_status status = packed_matrix_create(matrix, &view, row_count, err);
    if (status == LLM_OK) packed_matrix_fill(matrix, &view, row_begin, 0, matrix->num_tiles);
    return status;
}

// What one linear's piece will take. *stride is raised to its row of a x.
static llm_status measure_piece(const tensor_desc *tensor, const adapter_layer *layer, const linear_desc *linear, uint64_t *bytes,
                                size_t *stride, llm_error *err)
{
    packed_matrix a, b;
    weight_view inner = {.type = DTYPE_F32, .rows = layer->rank, .cols = tensor->cols};
    weight_view outer = {.type = DTYPE_F32, .rows = tensor->rows, .cols = layer->rank};
    llm_status status = packed_matrix_shape(&a, &inner, layer->rank, err);
    if (status == LLM_OK) status = packed_matrix_shape(&b, &outer, linear->rows, err);
    if (status != LLM_OK) return status;
    *bytes += packed_matrix_bytes(&a) + packed_matrix_bytes(&b);
    if (layer->gain) *bytes += (size_t)linear->rows * sizeof *layer->gain;
    if ((size_t)a.num_tiles * TILE_ROWS > *stride) *stride = (size_t)a.num_tiles * TILE_ROWS;
    return LLM_OK;
}

// A linear may read some rows of the tensor only.
static llm_status load_piece(cpu_adapter *adapter, const adapter_layer *layer, const linear_desc *linear, lora_piece *piece,
                             llm_error *err)
{
    const tensor_desc *tensor = &adapter->model->desc.tensors[layer->tensor];
    llm_status status = pack_floats(layer->a, layer->rank, tensor->cols, 0, layer->rank, &piece->a, err);
    if (status == LLM_OK)
        status = pack_floats(layer->b, tensor->rows, layer->rank, linear->row_begin, linear->rows, &piece->b, err);
    if (status == LLM_OK && layer->gain) {
        piece->gain = mem_alloc_zero((size_t)linear->rows, sizeof *piece->gain);
        if (!piece->gain) return error_no_memory(err, "an adapter");
        memcpy(piece->gain, layer->gain + linear->row_begin, (size_t)linear->rows * sizeof *piece->gain);
        adapter->bytes += (size_t)linear->rows * sizeof *piece->gain;
    }
    if (status != LLM_OK) return status;
    adapter->bytes += packed_matrix_bytes(&piece->a) + packed_matrix_bytes(&piece->b);
    size_t rank_stride = (size_t)piece->a.num_tiles * TILE_ROWS;
    if (rank_stride > adapter->rank_stride) adapter->rank_stride = rank_stride;
    return LLM_OK;
}

static lora_piece *piece_at(const cpu_adapter *adapter, int block, lora_place place)
{
    return &adapter->pieces[block * LORA_PLACES + (int)place];
}

static const adapter_layer *find_layer(const adapter_layer *layers, int num_layers, int tensor)
{
    for (int i = 0; i < num_layers; i++)
        if (layers[i].tensor == tensor) return &layers[i];
    return NULL;
}

llm_status cpu_adapter_estimate(const model_desc *desc, const adapter_layer *layers, int num_layers, engine_memory *memory,
                                llm_error *err)
{
    size_t stride = 0;
    llm_status status = LLM_OK;
    for (int block = 0; status == LLM_OK && block <= desc->num_blocks; block++)
        for (int place = 0; status == LLM_OK && place < LORA_PLACES; place++) {
            const linear_desc *linear = linear_at(desc, block, (lora_place)place);
            const adapter_layer *layer = linear ? find_layer(layers, num_layers, linear->weight) : NULL;
            if (layer) status = measure_piece(&desc->tensors[layer->tensor], layer, linear, &memory->weights_bytes, &stride, err);
        }
    memory->work_bytes = MAX_CHUNK_ROWS * stride * sizeof(float);
    return status;
}

llm_status cpu_adapter_load(cpu_model *model, const adapter_layer *layers, int num_layers, cpu_adapter **out, llm_error *err)
{
    *out = NULL;
    cpu_adapter *adapter = mem_alloc_zero(1, sizeof *adapter);
    if (!adapter) return error_no_memory(err, "an adapter");
    adapter->model = model;
    adapter->num_pieces = (model->desc.num_blocks + 1) * LORA_PLACES;
    adapter->pieces = mem_alloc_zero((size_t)adapter->num_pieces, sizeof *adapter->pieces);
    llm_status status = adapter->pieces ? LLM_OK : error_no_memory(err, "an adapter");
    for (int block = 0; status == LLM_OK && block <= model->desc.num_blocks; block++)
        for (int place = 0; status == LLM_OK && place < LORA_PLACES; place++) {
            const linear_desc *linear = linear_at(&model->desc, block, (lora_place)place);
            const adapter_layer *layer = linear ? find_layer(layers, num_layers, linear->weight) : NULL;
            if (layer) status = load_piece(adapter, layer, linear, piece_at(adapter, block, (lora_place)place), err);
        }
    atomic_fetch_add(&model->adapter_bytes, adapter->bytes);
    if (status != LLM_OK) cpu_adapter_free(adapter);
    else *out = adapter;
    return status;
}

void cpu_adapter_free(cpu_adapter *adapter)
{
    for (int i = 0; adapter->pieces && i < adapter->num_pieces; i++) {
        packed_matrix_free(&adapter->pieces[i].a);
        packed_matrix_free(&adapter->pieces[i].b);
        mem_free(adapter->pieces[i].gain);
    }
    atomic_fetch_sub(&adapter->model->adapter_bytes, adapter->bytes);
    mem_free(adapter->pieces);
    mem_free(adapter);
}

llm_status cpu_seq_set_adapters(cpu_seq *seq, cpu_adapter *const *adapters, const float *strengths, int count, llm_error *err)
{
    cpu_model *model = seq->model;
    size_t stride = 0;
    for (int i = 0; i < count; i++) stride += adapters[i]->rank_stride;
    if (stride > model->inner_stride) {
        float *inner = mem_alloc_aligned(64, MAX_CHUNK_ROWS * stride * sizeof *inner);
        if (!inner) return error_no_memory(err, "adapters");
        mem_free(model->inner);
        model->inner = inner;
        model->inner_stride = stride;
    }
    seq->num_adapters = count;
    for (int i = 0; i < count; i++) seq->adapters[i] = (cpu_adapter_use){adapters[i], strengths[i]};
    return LLM_OK;
}

// ---- Applying

// The rows of one span, for one linear. Its adapters' a x stand side by side in the rows of model->inner.
typedef struct lora_job {
    cpu_model *model;
    const chunk_span *span;
    int block;
    lora_place place;
    float *result; // of row 0 of the chunk
    size_t stride;
    const packed_matrix *shape; // a b of this linear: rows and tiles are the same for every adapter
    int tile_items;
    size_t work;   // multiplications
} lora_job;

static const lora_piece *job_piece(const lora_job *job, int use)
{
    return piece_at(job->span->seq->adapters[use].adapter, job->block, job->place);
}

static void item_rows(const lora_job *job, int item, int *begin, int *count)
{
    *begin = item * ITEM_ROWS;
    *count = job->span->rows - *begin < ITEM_ROWS ? job->span->rows - *begin : ITEM_ROWS;
}

// a x of some rows, for every adapter.
static void inner_item(void *arg, int item, int thread)
{
    (void)thread;
    const lora_job *job = arg;
    const activations *input = &job->model->work.input;
    int begin, count;
    item_rows(job, item, &begin, &count);
    size_t at = 0;
    for (int use = 0; use < job->span->seq->num_adapters; use++) {
        const lora_piece *piece = job_piece(job, use);
        if (!piece->a.data) continue;
        job->model->engine->kernels->matmul_float(&piece->a, 0, piece->a.num_tiles,
                                                  input->values + (size_t)(job->span->row + begin) * input->stride, input->stride, 0, count,
                                                  job->model->inner + (size_t)begin * job->model->inner_stride + at, job->model->inner_stride);
        at += (size_t)piece->a.num_tiles * TILE_ROWS;
    }
}

// Adds to `sum` what one adapter changes of `width` results of one row.
static void add_change(const kernels *k, const lora_piece *piece, int first, int width, float strength, const float *result,
                       const float *product, float *sum)
{
    k->add_scaled(sum, product, strength, width);
    for (int i = 0; piece->gain && i < width; i++) sum[i] += strength * piece->gain[first + i] * result[i];
}

// Some results of some rows. They are read until all changes are known, and then written.
static void outer_item(void *arg, int item, int thread)
{
    (void)thread;
    const lora_job *job = arg;
    _Alignas(64) float product[ITEM_ROWS * ITEM_WIDTH], sum[ITEM_ROWS * ITEM_WIDTH];
    const kernels *k = job->model->engine->kernels;
    int begin, count, tile = item % job->tile_items * ITEM_TILES, first = tile * TILE_ROWS;
    item_rows(job, item / job->tile_items, &begin, &count);
    int tiles = job->shape->num_tiles - tile < ITEM_TILES ? job->shape->num_tiles - tile : ITEM_TILES;
    int width = job->shape->rows - first < ITEM_WIDTH ? job->shape->rows - first : ITEM_WIDTH;
    float *result = job->result + (size_t)(job->span->row + begin) * job->stride + first;
    memset(sum, 0, (size_t)count * ITEM_WIDTH * sizeof *sum);
    size_t at = 0;
    for (int use = 0; use < job->span->seq->num_adapters; use++) {
        const lora_piece *piece = job_piece(job, use);
        if (!piece->a.data) continue;
        packed_matrix part = piece->b; // these tiles as a matrix of their own, so that the product lies at its start
        part.data += (size_t)tile * part.tile_bytes;
        part.num_tiles = tiles;
        part.rows = width;
        k->matmul_float(&part, 0, tiles, job->model->inner + (size_t)begin * job->model->inner_stride + at, job->model->inner_stride, 0,
                        count, product, ITEM_WIDTH);
        for (int row = 0; row < count; row++)
            add_change(k, piece, first, width, job->span->seq->adapters[use].strength, result + (size_t)row * job->stride,
                       product + row * ITEM_WIDTH, sum + row * ITEM_WIDTH);
        at += (size_t)piece->a.num_tiles * TILE_ROWS;
    }
    for (int row = 0; row < count; row++) k->add_scaled(result + (size_t)row * job->stride, sum + row * ITEM_WIDTH, 1, width);
}

static void run_items(lora_job *job, int num_items, pool_function function)
{
    if (job->work >= MIN_SHARED_WORK) thread_pool_run(job->model->engine->pool, num_items, function, job);
    else
        for (int i = 0; i < num_items; i++) function(job, i, 0);
}

void lora_add(cpu_model *model, const chunk_span *spans, int num_spans, int block, lora_place place, float *result, size_t stride)
{
    for (int s = 0; s < num_spans; s++) {
        lora_job job = {.model = model, .span = &spans[s], .block = block, .place = place, .result = result, .stride = stride};
        for (int use = 0; use < spans[s].seq->num_adapters; use++) {
            const lora_piece *piece = job_piece(&job, use);
            if (!piece->a.data) continue;
            job.shape = &piece->b;
            job.work += (size_t)spans[s].rows * (size_t)piece->a.rows * ((size_t)piece->a.cols + (size_t)piece->b.rows);
        }
        if (!job.shape) continue;
        int row_items = (spans[s].rows + ITEM_ROWS - 1) / ITEM_ROWS;
        job.tile_items = (job.shape->num_tiles + ITEM_TILES - 1) / ITEM_TILES;
        run_items(&job, row_items, inner_item);
        run_items(&job, row_items * job.tile_items, outer_item);
    }
}
