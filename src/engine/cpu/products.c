// Products of a chunk's rows with the matrices that read them, cut into items for the thread pool, and the integers that
// those read.
#include "engine/cpu/products.h"

typedef struct matmul_job {
    cpu_model *model;
    const matmul_group *group;
    int num_rows, tiles_per_item, rows_per_item, row_items;
    int first_item[4];        // of each matrix; the last is their sum
} matmul_job;

enum { ITEM_BYTES = 512 << 10 }; // of weights, at most, where rows are few

void matmul_group_add(matmul_group *group, const cpu_linear *linear, float *result, size_t stride)
{
    if (!linear->matrix.data) return;
    group->matrices[group->count] = &linear->matrix;
    group->results[group->count] = result;
    group->strides[group->count++] = stride;
}

bool uses_integers(const cpu_model *model, const packed_matrix *matrix)
{
    return matrix->bits && model->engine->precision == PRECISION_FAST;
}

const quantized_rows *activations_integers(const activations *input, const packed_matrix *matrix)
{
    return matrix->group_size == 32 ? &input->by_32 : matrix->group_size == 64 ? &input->by_64 : &input->by_128;
}

void multiply_tiles(const cpu_model *model, const activations *input, const packed_matrix *matrix, int tile, int tile_end,
                    int row, int row_end, float *result, size_t stride)
{
    const kernels *k = model->engine->kernels;
    if (uses_integers(model, matrix)) k->matmul_affine(matrix, tile, tile_end, activations_integers(input, matrix), row, row_end, result, stride);
    else k->matmul_float(matrix, tile, tile_end, input->values, input->stride, row, row_end, result, stride);
}

static void matmul_item(void *arg, int item, int thread)
{
    (void)thread;
    const matmul_job *job = arg;
    int which = 0;
    while (item >= job->first_item[which + 1]) which++;
    const packed_matrix *matrix = job->group->matrices[which];
    item -= job->first_item[which];
    int tile = item / job->row_items * job->tiles_per_item, tile_end = tile + job->tiles_per_item;
    int row = item % job->row_items * job->rows_per_item, row_end = row + job->rows_per_item;
    if (tile_end > matrix->num_tiles) tile_end = matrix->num_tiles;
    if (row_end > job->num_rows) row_end = job->num_rows;
    multiply_tiles(job->model, job->group->input, matrix, tile, tile_end, row, row_end, job->group->results[which], job->group->strides[which]);
}

// Few rows wait for memory: a thread's items follow each other, so that it reads one stream, and are small enough that
// none waits long for another's last one. Many rows wait for arithmetic: pieces that fit the caches.
void matmul_group_run(cpu_model *model, const matmul_group *group, int num_rows)
{
    int threads = thread_pool_size(model->engine->pool), tiles = 0;
    matmul_job job = {.model = model, .group = group, .num_rows = num_rows};
    for (int i = 0; i < group->count; i++) tiles += group->matrices[i]->num_tiles;
    job.rows_per_item = num_rows < 64 ? num_rows : 64;
    job.row_items = (num_rows + job.rows_per_item - 1) / job.rows_per_item;
    job.tiles_per_item = tiles / (threads * ITEMS_PER_THREAD);
    for (int i = 0; num_rows <= MAX_FEW_ROWS && i < group->count; i++) {
        int most = (int)(ITEM_BYTES / group->matrices[i]->tile_bytes);
        if (job.tiles_per_item > most) job.tiles_per_item = most;
    }
    if (job.tiles_per_item < 1) job.tiles_per_item = 1;
    for (int i = 0; i < group->count; i++)
        job.first_item[i + 1] = job.first_item[i] +
                                (group->matrices[i]->num_tiles + job.tiles_per_item - 1) / job.tiles_per_item * job.row_items;
    for (int i = group->count; i < 3; i++) job.first_item[i + 1] = job.first_item[group->count];
    cpu_model_run(model, job.first_item[group->count], matmul_item, &job);
}

void matmul_group_quantize(cpu_model *model, const matmul_group *group, int row, bool narrow)
{
    const activations *input = &model->work.input;
    const quantized_rows *done[3];
    for (int i = 0, forms = 0; i < group->count; i++) {
        if (!uses_integers(model, group->matrices[i])) continue;
        const quantized_rows *rows = activations_integers(input, group->matrices[i]);
        bool again = false;
        for (int j = 0; j < forms; j++) again |= done[j] == rows;
        if (again) continue;
        done[forms++] = rows;
        model->engine->kernels->quantize_rows(input->values + (size_t)row * input->stride, input->stride, 1, narrow, rows, row);
    }
}

void activations_shape(activations *input, int cols, int rows)
{
    quantized_rows *forms[3] = {&input->by_32, &input->by_64, &input->by_128};
    for (int i = 0; i < 3; i++) forms[i]->cols = cols, forms[i]->num_rows = rows;
}
