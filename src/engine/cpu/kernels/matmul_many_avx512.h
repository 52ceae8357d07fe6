// Affine weights times many tokens with VNNI, for matmul_affine_avx512.c: some groups of two tiles, a panel, are unpacked to
// a byte a value once, and stay in the first-level cache while all tokens pass by. The order of the floating-point
// operations is that of matmul_scalar.c: what a panel has come to waits in y for the tiles' next panel.
#ifndef ENGINE_CPU_MATMUL_MANY_AVX512_H
#define ENGINE_CPU_MATMUL_MANY_AVX512_H
#include "engine/cpu/kernels/matmul_avx512.h"

// Four tokens keep the sums in registers, and do enough with a value that was loaded: two tiles by 3, 5 and 6 tokens are
// slower, as are 3 and 4 tiles.
enum { PANEL_INPUTS = 640, PANEL_GROUPS = PANEL_INPUTS / 32, PANEL_TILES = 2, PANEL_TOKENS = 4 };

typedef struct panel {
    int first, num_groups;                                          // groups [first, first + num_groups)
    _Alignas(64) uint8_t values[PANEL_INPUTS / 4][PANEL_TILES][64]; // of quads
    float scales[PANEL_GROUPS][PANEL_TILES][TILE_ROWS], biases[PANEL_GROUPS][PANEL_TILES][TILE_ROWS];
} panel;

INLINE void unpack_panel(panel *p, const packed_matrix *w, int tile, int num_tiles, const int bits)
{
    const size_t scale_bytes = tile_scale_bytes(w->scale_type), group_bytes = tile_group_bytes(bits, w->group_size, w->scale_type);
    for (int r = 0; r < num_tiles; r++) {
        const uint8_t *data = tile_at(w, tile + r) + (size_t)p->first * group_bytes;
        uint8_t(*values)[PANEL_TILES][64] = p->values;
        for (int group = 0; group < p->num_groups; group++, data += group_bytes) {
            vec_store(p->scales[group][r], load_floats(w->scale_type, data));
            vec_store(p->biases[group][r], load_floats(w->scale_type, data + scale_bytes));
            for (int octet = 0; octet < w->group_size / 32; octet++, values += 8)
                UNROLL for (int j = 0; j < 8; j++)
                    _mm512_store_si512(values[j][r], quad_values(data + 2 * scale_bytes, bits, w->group_size, octet, j));
        }
    }
}

typedef __m512i panel_dots[PANEL_TILES][PANEL_TOKENS];

// A quad of every token, from `x` on.
INLINE void add_quad(panel_dots dots, const uint8_t (*values)[64], const int8_t *x, size_t cols, const int num_tiles, const int num_tokens)
{
    UNROLL for (int t = 0; t < num_tokens; t++)
    {
        __m512i quad = broadcast(x + (size_t)t * cols);
        UNROLL for (int r = 0; r < num_tiles; r++) dots[r][t] = _mm512_dpbusd_epi32(dots[r][t], _mm512_load_si512(values[r]), quad);
    }
}

// One byte of a group's inputs.
INLINE void add_group(panel_dots dots, const uint8_t (*values)[PANEL_TILES][64], const int8_t *x, size_t cols, int group_size,
                      const int num_tiles, const int num_tokens)
{
    for (int quad = 0; quad < group_size / 4; quad += 8)
        UNROLL for (int j = 0; j < 8; j++)
            add_quad(dots, values[quad + j], x + 4 * (quad + j), cols, num_tiles, num_tokens);
}

// The quads of one token that have a hi. To take those that some of the tokens have for all of them would be more dots.
INLINE void add_wide_quads(panel_dots dots, const uint8_t (*values)[PANEL_TILES][64], const int8_t *hi, unsigned quads, const int num_tiles,
                           const int token)
{
    for (; quads; quads &= quads - 1) {
        int quad = __builtin_ctz(quads);
        __m512i quad_hi = broadcast(hi + 4 * quad);
        UNROLL for (int r = 0; r < num_tiles; r++)
            dots[r][token] = _mm512_dpbusd_epi32(dots[r][token], _mm512_load_si512(values[quad][r]), quad_hi);
    }
}

// A panel times some tokens; `whole`: every hi counts. It, num_tiles and num_tokens are constants after inlining.
INLINE void panel_block(const panel *p, int tile, const quantized_rows *x, int token, float *y, size_t y_stride, const bool whole,
                        const int num_tiles, const int num_tokens)
{
    const int group_size = x->group_size;
    const size_t cols = (size_t)x->cols, num_groups = cols / (size_t)group_size;
    const size_t at = (size_t)token * cols + (size_t)(p->first * group_size), group_at = (size_t)token * num_groups + (size_t)p->first;
    const int8_t *hi = x->hi + at, *lo = x->lo + at;
    const float *x_scale = x->scale + group_at, *x_sum = x->sum + group_at;
    const uint8_t(*values)[PANEL_TILES][64] = p->values;
    y += (size_t)token * y_stride + (size_t)tile * TILE_ROWS;
    vec sums[PANEL_TILES][PANEL_TOKENS];
    UNROLL for (int r = 0; r < num_tiles; r++) UNROLL for (int t = 0; t < num_tokens; t++)
        sums[r][t] = p->first ? vec_load(y + (size_t)t * y_stride + r * TILE_ROWS) : vec_zero();
    for (int group = 0; group < p->num_groups; group++, hi += group_size, lo += group_size, values += group_size / 4) {
        panel_dots dots;
        UNROLL for (int r = 0; r < num_tiles; r++) UNROLL for (int t = 0; t < num_tokens; t++) dots[r][t] = _mm512_setzero_si512();
        if (whole) add_group(dots, values, hi, cols, group_size, num_tiles, num_tokens);
        else {
            UNROLL for (int t = 0; t < num_tokens; t++)
                add_wide_quads(dots, values, hi + (size_t)t * cols, wide_quads_of(x, token + t, p->first + group), num_tiles, t);
        }
        UNROLL for (int r = 0; r < num_tiles; r++) UNROLL for (int t = 0; t < num_tokens; t++) dots[r][t] = _mm512_slli_epi32(dots[r][t], 7);
        add_group(dots, values, lo, cols, group_size, num_tiles, num_tokens);
        UNROLL for (int r = 0; r < num_tiles; r++)
        {
            vec scale = vec_load(p->scales[group][r]), bias = vec_load(p->biases[group][r]);
            UNROLL for (int t = 0; t < num_tokens; t++)
            {
                vec factor = vec_mul(scale, vec_splat(x_scale[(size_t)t * num_groups + (size_t)group]));
                sums[r][t] = vec_multiply_add(vec_of(dots[r][t]), factor, sums[r][t]);
                sums[r][t] = vec_fma(bias, x_sum[(size_t)t * num_groups + (size_t)group], sums[r][t]);
            }
        }
    }
    UNROLL for (int r = 0; r < num_tiles; r++) UNROLL for (int t = 0; t < num_tokens; t++)
        vec_store(y + (size_t)t * y_stride + r * TILE_ROWS, sums[r][t]);
}

typedef void unpack_function(panel *p, const packed_matrix *w, int tile, int num_tiles);
typedef void panel_function(const panel *p, int tile, const quantized_rows *x, int token, float *y, size_t y_stride);

#define UNPACK(bits)                                                                               \
    static void unpack_panel_##bits(panel *p, const packed_matrix *w, int tile, int num_tiles)     \
    {                                                                                              \
        unpack_panel(p, w, tile, num_tiles, bits);                                                 \
    }
UNPACK(2) UNPACK(3) UNPACK(4) UNPACK(5) UNPACK(6) UNPACK(8)
static unpack_function *const unpack_panels[9] = {[2] = unpack_panel_2, [3] = unpack_panel_3, [4] = unpack_panel_4,
                                                  [5] = unpack_panel_5, [6] = unpack_panel_6, [8] = unpack_panel_8};

#define PANEL(whole, tiles, tokens)                                                                                                  \
    static void panel_##whole##_##tiles##x##tokens(const panel *p, int tile, const quantized_rows *x, int token, float *y, size_t y_stride) \
    {                                                                                                                                \
        panel_block(p, tile, x, token, y, y_stride, whole, tiles, tokens);                                                           \
    }
#define PANEL_NAME(whole, tiles, tokens) panel_##whole##_##tiles##x##tokens,
#define FOR_PANEL_TOKENS(X, whole, tiles) X(whole, tiles, 1) X(whole, tiles, 2) X(whole, tiles, 3) X(whole, tiles, 4)
FOR_PANEL_TOKENS(PANEL, 0, 1) FOR_PANEL_TOKENS(PANEL, 0, 2) FOR_PANEL_TOKENS(PANEL, 1, 1) FOR_PANEL_TOKENS(PANEL, 1, 2)
static panel_function *const panel_blocks[2][PANEL_TILES][PANEL_TOKENS] = {
    {{FOR_PANEL_TOKENS(PANEL_NAME, 0, 1)}, {FOR_PANEL_TOKENS(PANEL_NAME, 0, 2)}},
    {{FOR_PANEL_TOKENS(PANEL_NAME, 1, 1)}, {FOR_PANEL_TOKENS(PANEL_NAME, 1, 2)}},
};

static void multiply_panel(const panel *p, int tile, int num_tiles, const quantized_rows *x, int token_begin, int token_end, float *y, size_t y_stride)
{
    for (int token = token_begin, count; token < token_end; token += count) {
        int left = token_end - token, blocks = (left + PANEL_TOKENS - 1) / PANEL_TOKENS;
        count = (left + blocks - 1) / blocks; // blocks of nearly equal size
        bool whole = true;
        for (int t = 0; x->narrow && t < count; t++) whole = whole && !x->narrow[token + t];
        panel_blocks[whole][num_tiles - 1][count - 1](p, tile, x, token, y, y_stride);
    }
}

static void matmul_affine_many(const packed_matrix *w, int tile_begin, int tile_end, const quantized_rows *x, int token_begin,
                               int token_end, float *y, size_t y_stride)
{
    panel p;
    int groups = w->cols / w->group_size, panels = (w->cols + PANEL_INPUTS - 1) / PANEL_INPUTS;
    int most = (groups + panels - 1) / panels; // panels of nearly equal size
    for (int tile = tile_begin; tile < tile_end; tile += PANEL_TILES) {
        int num_tiles = tile_end - tile < PANEL_TILES ? tile_end - tile : PANEL_TILES;
        for (p.first = 0; p.first < groups; p.first += most) {
            p.num_groups = groups - p.first < most ? groups - p.first : most;
            unpack_panels[w->bits](&p, w, tile, num_tiles);
            multiply_panel(&p, tile, num_tiles, x, token_begin, token_end, y, y_stride);
        }
    }
}

#endif
