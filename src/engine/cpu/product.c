// Steps over rows and the products that read what they make: the pieces of a forward pass that go to the thread pool.
//
// Many rows: a step is a job whose items are rows, then the product one whose items are tiles. Few rows: what one core
// has written comes to another slowly, so that handing over the input takes as long as making it. There each thread
// that gets an item of the product makes the whole input for itself first, in buffers of its own, and the step costs no
// job and no waiting. The arithmetic is the same.
#include "engine/cpu/forward.h"
#include <string.h>

enum {
    MANY_TILES = 8,          // so many of an item make that taking it from the pool costs nothing
    STREAM_ROWS = 8,         // up to so many wait for memory
    ITEM_ROWS = 128,         // at most
};

typedef struct product_job {
    chunk *chunk;
    const product_group *group;
    row_function make_input;         // each thread for itself; NULL: the shared input is made
    int cols, num_rows, num_tiles;   // tiles of all matrices, one after another
    int tile_step, tile_items;       // the tiles are cut, at multiples of tile_step, into so many items
    int row_items, rows_per_item;
} product_job;

void add_to_group(product_group *group, const cpu_linear *linear, float *result, size_t stride)
{
    if (!linear->matrix.data) return;
    group->linears[group->count] = linear;
    group->results[group->count] = result;
    group->strides[group->count++] = stride;
}

static bool uses_integers(const cpu_model *model, const packed_matrix *matrix)
{
    return matrix->bits && model->engine->precision == PRECISION_FAST;
}

static const quantized_rows *integers_for(const activations *input, const packed_matrix *matrix)
{
    return matrix->group_size == 32 ? &input->by_32 : matrix->group_size == 64 ? &input->by_64 : &input->by_128;
}

void quantize_input(const chunk *c, const product_group *group, int row, bool narrow, const activations *input)
{
    const quantized_rows *done[3];
    for (int i = 0, forms = 0; i < group->count; i++) {
        const packed_matrix *matrix = &group->linears[i]->matrix;
        if (!uses_integers(c->model, matrix)) continue;
        const quantized_rows *rows = integers_for(input, matrix);
        bool again = false;
        for (int j = 0; j < forms; j++) again |= done[j] == rows;
        if (again) continue;
        done[forms++] = rows;
        c->model->engine->kernels->quantize_rows(input->values + (size_t)row * input->stride, input->stride, 1, narrow, rows, row);
    }
}

// Sets the shape that the next products read.
static void shape_input(activations *input, int cols, int rows)
{
    quantized_rows *forms[3] = {&input->by_32, &input->by_64, &input->by_128};
    for (int i = 0; i < 3; i++) forms[i]->cols = cols, forms[i]->num_rows = rows;
}

// ---- Steps

typedef struct row_job {
    chunk *chunk;
    row_function function;
    row_buffers buffers;
    int num_rows, rows_per_item;
} row_job;

static void row_item(void *arg, int item, int thread)
{
    (void)thread;
    const row_job *job = arg;
    int end = (item + 1) * job->rows_per_item;
    if (end > job->num_rows) end = job->num_rows;
    for (int row = item * job->rows_per_item; row < end; row++) job->function(job->chunk, row, &job->buffers);
}

static row_buffers shared_buffers(work_buffers *work) { return (row_buffers){work->hidden, work->result, &work->input}; }

static row_buffers own_buffers(own_rows *own) { return (row_buffers){own->hidden[own->step % 2], own->result, &own->input}; }

void for_rows(chunk *c, int num_rows, row_function function)
{
    work_buffers *work = &c->model->work;
    int threads = thread_pool_size(c->model->engine->pool);
    row_job job = {c, function, c->own ? own_buffers(&work->own[0]) : shared_buffers(work), num_rows,
                   num_rows <= FEW_ROWS ? FEW_ROWS : num_rows < 32 ? (num_rows + threads - 1) / threads : 16};
    cpu_model_run(c->model, (num_rows + job.rows_per_item - 1) / job.rows_per_item, row_item, &job);
}

void begin_own_steps(chunk *c) { c->model->work.own[0].step = ++c->model->work.step; }

// The input of this step's product, made when the thread first asks. The residual stream goes from one buffer to the
// other, so that a thread that has not taken part in the step before can take it from the caller, which always has.
static const activations *own_input(const product_job *job, int thread)
{
    chunk *c = job->chunk;
    work_buffers *work = &c->model->work;
    own_rows *own = &work->own[thread];
    if (own->step == work->step) return &own->input;
    const own_rows *last = own->step == work->step - 1 ? own : &work->own[0];
    memcpy(own->hidden[work->step % 2], last->hidden[(work->step - 1) % 2], (size_t)c->num_rows * work->hidden_stride * sizeof(float));
    own->step = work->step;
    shape_input(&own->input, job->cols, job->num_rows);
    row_buffers buffers = own_buffers(own);
    for (int row = 0; row < job->num_rows; row++) job->make_input(c, row, &buffers);
    return &own->input;
}

// ---- Products

// Tiles [tile, tile_end) of one matrix, for rows [row, row_end).
static void multiply(const product_job *job, int which, int tile, int tile_end, int row, int row_end, const activations *input)
{
    const kernels *k = job->chunk->model->engine->kernels;
    const cpu_linear *linear = job->group->linears[which];
    const packed_matrix *matrix = &linear->matrix;
    float *result = job->group->results[which];
    size_t stride = job->group->strides[which];
    if (uses_integers(job->chunk->model, matrix))
        k->matmul_affine(matrix, tile, tile_end, integers_for(input, matrix), row, row_end, result, stride);
    else k->matmul_float(matrix, tile, tile_end, input->values, input->stride, row, row_end, result, stride);
    if (!linear->bias || job->chunk->adapted) return;
    int begin = tile * TILE_ROWS, end = tile_end * TILE_ROWS < matrix->rows ? tile_end * TILE_ROWS : matrix->rows;
    for (; row < row_end; row++) k->add_scaled(result + (size_t)row * stride + begin, linear->bias + begin, 1, end - begin);
}

static int num_steps(const product_job *job) { return (job->num_tiles + job->tile_step - 1) / job->tile_step; }

static int item_begin(const product_job *job, int item)
{
    return (int)((int64_t)num_steps(job) * item / job->tile_items) * job->tile_step;
}

static int within(int tile, int count) { return tile < 0 ? 0 : tile < count ? tile : count; }

static void product_item(void *arg, int item, int thread)
{
    const product_job *job = arg;
    const activations *input = job->make_input ? own_input(job, thread) : &job->chunk->model->work.input;
    int tile = item_begin(job, item % job->tile_items), tile_end = item_begin(job, item % job->tile_items + 1);
    int row = item / job->tile_items * job->rows_per_item, row_end = row + job->rows_per_item;
    if (row_end > job->num_rows) row_end = job->num_rows;
    for (int i = 0; i < job->group->count; i++) {
        int count = job->group->linears[i]->matrix.num_tiles, begin = within(tile, count), end = within(tile_end, count);
        if (begin < end) multiply(job, i, begin, end, row, row_end, input);
        tile -= count, tile_end -= count;
    }
}

// Few rows wait for memory: long runs of tiles. Many rows wait for arithmetic: pieces that fit the caches, those of the same
// rows side by side, so that a thread finds its rows where it left them; an even number of tiles, which kernels take in pairs.
void run_group(chunk *c, const product_group *group, int cols, int num_rows, row_function make_input)
{
    cpu_model *model = c->model;
    int threads = thread_pool_size(model->engine->pool);
    product_job job = {.chunk = c, .group = group, .cols = cols, .num_rows = num_rows};
    for (int i = 0; i < group->count; i++) job.num_tiles += group->linears[i]->matrix.num_tiles;
    job.row_items = (num_rows + ITEM_ROWS - 1) / ITEM_ROWS;
    job.rows_per_item = (num_rows + job.row_items - 1) / job.row_items;
    job.tile_step = num_rows > STREAM_ROWS ? 2 : 1;
    job.tile_items = threads * 4;
    while (c->own && job.tile_items > threads && job.num_tiles < job.tile_items * MANY_TILES) job.tile_items -= threads;
    if (job.tile_items > num_steps(&job)) job.tile_items = num_steps(&job);
    if (c->own) {
        job.make_input = make_input;
        model->work.step++;
    } else {
        shape_input(&model->work.input, cols, num_rows);
        for_rows(c, num_rows, make_input);
    }
    cpu_model_run(model, job.tile_items * job.row_items, product_item, &job);
    if (c->own) own_input(&job, 0); // in case that others had taken all the items
}
