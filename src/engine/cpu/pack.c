// Cuts weight matrices into tiles (pack.h has the layout). It knows nothing of instruction sets: every kernel
// reads the same tiles.
#include "engine/cpu/pack.h"
#include "engine/cpu/kernels/tile.h"
#include "base/mem.h"

enum { MAX_GROUP = 128, CACHE_LINE = 64 };

static llm_status check_view(const weight_view *view, int rows, llm_error *err)
{
    if (rows < 1 || rows > view->rows || view->cols < 1)
        return error_set(err, LLM_INVALID_ARGUMENT, "a weight of %d x %d has no %d rows to pack", view->rows,
                         view->cols, rows);
    if (view->type != DTYPE_U32) {
        if (view->type == DTYPE_F32 || view->type == DTYPE_F16 || view->type == DTYPE_BF16) return LLM_OK;
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "weights of type %s are not supported",
                         dtype_name(view->type));
    }
    bool known_bits = (view->bits >= 2 && view->bits <= 6) || view->bits == 8;
    bool known_group = view->group_size == 32 || view->group_size == 64 || view->group_size == MAX_GROUP;
    if (!known_bits || !known_group || view->cols % view->group_size != 0)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "%d bits in groups of %d over %d inputs are not supported",
                         view->bits, view->group_size, view->cols);
    if (view->scale_type != DTYPE_F32 && view->scale_type != DTYPE_F16 && view->scale_type != DTYPE_BF16)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "scales of type %s are not supported",
                         dtype_name(view->scale_type));
    return LLM_OK;
}

static size_t tile_size(const packed_matrix *m)
{
    size_t cols = (size_t)m->cols;
    switch (m->type) {
    case DTYPE_F32: return cols * TILE_ROWS * 4;
    case DTYPE_F16: return (cols * TILE_ROWS * 2 + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    case DTYPE_BF16: return (cols + 1) / 2 * TILE_ROWS * 4;
    default: return cols / (size_t)m->group_size * tile_group_bytes(m->bits, m->group_size, m->scale_type);
    }
}

llm_status packed_matrix_shape(packed_matrix *m, const weight_view *view, int rows, llm_error *err)
{
    size_t bytes;
    *m = (packed_matrix){0};
    llm_status status = check_view(view, rows, err);
    if (status != LLM_OK) return status;
    packed_matrix shape = {.type = view->type,
                           .rows = rows,
                           .cols = view->cols,
                           .num_tiles = (int)(((unsigned)rows + TILE_ROWS - 1) / TILE_ROWS)};
    if (view->type == DTYPE_U32) {
        shape.bits = view->bits;
        shape.group_size = view->group_size;
        shape.scale_type = view->scale_type;
    }
    shape.tile_bytes = tile_size(&shape);
    if (!mem_multiply((size_t)shape.num_tiles, shape.tile_bytes, &bytes)) return error_no_memory(err, "packed weights");
    *m = shape;
    return LLM_OK;
}

llm_status packed_matrix_create(packed_matrix *m, const weight_view *view, int rows, llm_error *err)
{
    llm_status status = packed_matrix_shape(m, view, rows, err);
    if (status == LLM_OK && !(m->data = mem_alloc_large(packed_matrix_bytes(m)))) {
        *m = (packed_matrix){0};
        status = error_no_memory(err, "packed weights");
    }
    return status;
}

void packed_matrix_free(packed_matrix *m)
{
    mem_free(m->data);
    *m = (packed_matrix){0};
}

size_t packed_matrix_bytes(const packed_matrix *m)
{
    return (size_t)m->num_tiles * m->tile_bytes;
}

// Four values of `bits` bits side by side, the first one lowest, to a byte each.
static inline uint32_t spread(uint32_t four, int bits)
{
    uint32_t mask = (1u << bits) - 1;
    return (four & mask) | (four >> bits & mask) << 8 | (four >> 2 * bits & mask) << 16 |
           (uint32_t)((uint64_t)four >> 3 * bits & mask) << 24;
}

// A group's values of one row: quads[k] has inputs 4k to 4k + 3 in its bytes.
static inline void unpack_row(const uint8_t *packed, int bits, int group_size, uint32_t *quads)
{
    uint8_t padded[MAX_GROUP + 4] = {0}; // so that the last quad can be read as a whole word
    uint32_t four;
    memcpy(padded, packed, (size_t)(group_size * bits / 8));
    for (int k = 0; k < group_size / 4; k++) {
        int bit = 4 * bits * k;
        memcpy(&four, padded + bit / 8, 4);
        quads[k] = spread(four >> bit % 8, bits);
    }
}

// A plane of `width` bits, those from bit `shift` up, of a group's quads [16][group_size / 4].
static inline uint8_t *write_plane(uint8_t *target, const uint32_t (*quads)[MAX_GROUP / 4], int group_size,
                                   int width, int shift)
{
    int quads_per_chunk = 8 / width;
    uint32_t mask = ((1u << width) - 1) * 0x01010101u;
    for (int k = 0; k < group_size / 4; k += quads_per_chunk, target += CACHE_LINE)
        for (int row = 0; row < TILE_ROWS; row++) {
            uint32_t word = 0;
            for (int j = 0; j < quads_per_chunk; j++) word |= (quads[row][k + j] >> shift & mask) << width * j;
            memcpy(target + 4 * row, &word, 4);
        }
    return target;
}

static void fill_affine_tile(const packed_matrix *m, const weight_view *view, int first_row, int num_rows,
                             uint8_t *tile)
{
    size_t num_groups = (size_t)(m->cols / m->group_size), scale_size = m->scale_type == DTYPE_F32 ? 4 : 2;
    size_t group_words = (size_t)(m->group_size * m->bits / 8), row_bytes = num_groups * group_words;
    size_t scale_bytes = tile_scale_bytes(m->scale_type);
    plane_widths widths = tile_planes(m->bits);
    uint32_t quads[TILE_ROWS][MAX_GROUP / 4] = {{0}};
    for (size_t group = 0; group < num_groups; group++) {
        memset(tile, 0, 2 * scale_bytes);
        for (int r = 0; r < num_rows; r++) {
            size_t row = (size_t)(first_row + r), at = (row * num_groups + group) * scale_size;
            memcpy(tile + (size_t)r * scale_size, (const uint8_t *)view->scales + at, scale_size);
            memcpy(tile + scale_bytes + (size_t)r * scale_size, (const uint8_t *)view->biases + at, scale_size);
            unpack_row((const uint8_t *)view->data + row * row_bytes + group * group_words, m->bits, m->group_size,
                       quads[r]);
        }
        tile = write_plane(tile + 2 * scale_bytes, quads, m->group_size, widths.low, 0);
        if (widths.high) tile = write_plane(tile, quads, m->group_size, widths.high, widths.low);
    }
}

// Where input `col` of row `row` of a dense tile lies, in elements.
static inline size_t dense_index(dtype type, int row, size_t col)
{
    return type == DTYPE_BF16 ? col / 2 * (2 * TILE_ROWS) + (size_t)row * 2 + col % 2
                              : col * TILE_ROWS + (size_t)row;
}

static void fill_dense_tile(const packed_matrix *m, const weight_view *view, int first_row, int num_rows,
                            uint8_t *tile)
{
    size_t cols = (size_t)m->cols, size = m->type == DTYPE_F32 ? 4 : 2;
    memset(tile, 0, m->tile_bytes);
    for (int r = 0; r < num_rows; r++) {
        const uint8_t *source = (const uint8_t *)view->data + (size_t)(first_row + r) * cols * size;
        for (size_t col = 0; col < cols; col++)
            memcpy(tile + dense_index(m->type, r, col) * size, source + col * size, size);
    }
}

void packed_matrix_fill(packed_matrix *m, const weight_view *view, int row_begin, int tile_begin, int tile_end)
{
    for (int tile = tile_begin; tile < tile_end; tile++) {
        int left = m->rows - tile * TILE_ROWS, num_rows = left < TILE_ROWS ? left : TILE_ROWS;
        uint8_t *target = m->data + (size_t)tile * m->tile_bytes;
        if (m->type == DTYPE_U32)
            fill_affine_tile(m, view, row_begin + tile * TILE_ROWS, num_rows, target);
        else
            fill_dense_tile(m, view, row_begin + tile * TILE_ROWS, num_rows, target);
    }
}

static void affine_row(const packed_matrix *m, const uint8_t *tile, int row, float *out)
{
    size_t scale_bytes = tile_scale_bytes(m->scale_type);
    size_t stride = tile_group_bytes(m->bits, m->group_size, m->scale_type);
    for (int group = 0; group < m->cols / m->group_size; group++, tile += stride) {
        float scale = tile_float(m->scale_type, tile, (size_t)row);
        float bias = tile_float(m->scale_type, tile + scale_bytes, (size_t)row);
        for (int i = 0; i < m->group_size; i++)
            *out++ = scale * (float)tile_value(tile + 2 * scale_bytes, m->bits, m->group_size, row, i) + bias;
    }
}

void packed_matrix_row(const packed_matrix *m, int row, float *out)
{
    const uint8_t *tile = tile_at(m, row / TILE_ROWS);
    if (m->type == DTYPE_U32) {
        affine_row(m, tile, row % TILE_ROWS, out);
        return;
    }
    for (int col = 0; col < m->cols; col++)
        out[col] = tile_float(m->type, tile, dense_index(m->type, row % TILE_ROWS, (size_t)col));
}
