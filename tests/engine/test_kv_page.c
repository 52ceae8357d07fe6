// Pages of the KV cache: how tokens get into them, and attention over pages of integers, every table against softmax in
// double precision over what the integers stand for; and against itself, bit by bit, when rows are grouped otherwise.
#include "testing.h"
#include "engine/cpu/kernels/kernels.h"
#include "edge.h"
#include <math.h>
#include <stdbool.h>

enum { MAX_ROWS_TESTED = 40, MAX_HEAD_DIM = 256 };

static const kernels *tables[8];
static int num_tables;
static const dtype types[] = {DTYPE_I16, DTYPE_I8};
static const int head_dims[] = {1, 3, 5, 8, 13, 32, 33, 40, 64, 72, 80, 96, 100, 128, 192, 256};
enum { NUM_HEAD_DIMS = sizeof head_dims / sizeof *head_dims };

typedef struct page {
    edge planes[KV_PLANES];
    kv_page data;
} page;

static page page_alloc(dtype type, int head_dim)
{
    page p;
    void *planes[KV_PLANES];
    for (kv_plane i = 0; i < KV_PLANES; i++) {
        p.planes[i] = edge_alloc(kv_plane_bytes(i, type, head_dim));
        planes[i] = p.planes[i].data;
    }
    p.data = kv_page_of(planes);
    return p;
}

static void page_free(page *p)
{
    for (int i = 0; i < KV_PLANES; i++) edge_free(&p->planes[i]);
}

// High byte at `at`, and low byte at `low` of its plane where there are such.
static int integer(dtype type, const void *high, int at, const int8_t *low, int low_at)
{
    int byte = ((const int8_t *)high)[at];
    return type == DTYPE_I16 ? 64 * byte + low[low_at] : byte;
}

// What a page says: the oracle of the layout, element by element.
static float key_of(dtype type, const page *p, int head_dim, int slot, int dim)
{
    if (type == DTYPE_F32) return ((const float *)p->data.keys)[dim * KV_PAGE_TOKENS + slot];
    int group = type == DTYPE_I8 && head_dim > 32 ? 32 : head_dim, pairs = (head_dim + 1) / 2;
    int value = integer(type, p->data.keys, (dim / 2 * KV_PAGE_TOKENS + slot) * 2 + dim % 2, p->data.low_keys,
                        ((slot / 16 * pairs + dim / 2) * 16 + slot % 16) * 2 + dim % 2);
    return p->data.key_scales[dim / group * KV_PAGE_TOKENS + slot] * (float)value;
}

static float value_of(dtype type, const page *p, int head_dim, int slot, int dim)
{
    if (type == DTYPE_F32) return ((const float *)p->data.values)[slot * head_dim + dim];
    int at = (slot / 2 * head_dim + dim) * 2 + slot % 2;
    return p->data.value_scales[slot] * (float)integer(type, p->data.values, at, p->data.low_values, at);
}

// ---- Storing

static float awkward_float(void)
{
    switch (random_below(8)) {
    case 0: return 0;
    case 1: return ldexpf(random_float(), random_below(200) - 100);
    default: return random_float() * 4;
    }
}

static float largest(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i]));
    return most;
}

static void check_near(const char *what, float got, float wanted, float most, dtype type)
{
    float step = type == DTYPE_F32 ? 0 : most / (type == DTYPE_I8 ? 127 : 8159);
    if (!(fabsf(got - wanted) <= step * 0.501f)) fail_msg("%s: %.9g, not %.9g (largest %.9g)", what, got, wanted, most);
}

static void check_store(const kernels *table, int head_dim, dtype type)
{
    static float keys[KV_PAGE_TOKENS][MAX_HEAD_DIM], values[KV_PAGE_TOKENS][MAX_HEAD_DIM];
    page p = page_alloc(type, head_dim), twin = page_alloc(type, head_dim);
    for (kv_plane plane = 0; plane < KV_PLANES; plane++) {
        size_t bytes = kv_plane_bytes(plane, type, head_dim);
        memset(p.planes[plane].data, 0x55, bytes), memset(twin.planes[plane].data, 0x55, bytes);
    }
    for (int round = 0; round < 2 * KV_PAGE_TOKENS; round++) { // written again, too
        int slot = round < KV_PAGE_TOKENS ? round : random_below(KV_PAGE_TOKENS);
        for (int i = 0; i < head_dim; i++) keys[slot][i] = awkward_float(), values[slot][i] = awkward_float();
        table->kv_store(keys[slot], values[slot], head_dim, type, slot, &p.data);
        tables[0]->kv_store(keys[slot], values[slot], head_dim, type, slot, &twin.data);
    }
    for (kv_plane plane = 0; plane < KV_PLANES; plane++) // the same bits on every instruction set
        assert_memory_equal(p.planes[plane].data, twin.planes[plane].data, kv_plane_bytes(plane, type, head_dim));
    int group = type == DTYPE_I8 && head_dim > 32 ? 32 : head_dim;
    for (int slot = 0; slot < KV_PAGE_TOKENS; slot++)
        for (int i = 0; i < head_dim; i++) {
            int first = i / group * group, count = first + group < head_dim ? group : head_dim - first;
            check_near("key", key_of(type, &p, head_dim, slot, i), keys[slot][i], largest(keys[slot] + first, count), type);
            check_near("value", value_of(type, &p, head_dim, slot, i), values[slot][i], largest(values[slot], head_dim), type);
        }
    page_free(&p), page_free(&twin);
}

static void test_keys_and_values_are_stored_to_half_a_step(void **state)
{
    (void)state;
    for (int t = 0; t < num_tables; t++)
        for (int i = 0; i < NUM_HEAD_DIMS; i++) {
            check_store(tables[t], head_dims[i], DTYPE_F32);
            check_store(tables[t], head_dims[i], DTYPE_I16);
            check_store(tables[t], head_dims[i], DTYPE_I8);
        }
}

static void test_what_is_no_number_shows(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int t = 0; t < num_tables; t++)
        for (int type = 0; type < 2; type++)
            for (int at = 0; at < 72; at += 7) {
                float good[72] = {1}, spoilt[72] = {1};
                page p = page_alloc(types[type], 72);
                spoilt[at] = bad[at % 3];
                tables[t]->kv_store(spoilt, good, 72, types[type], 5, &p.data);
                assert_true(isnan(key_of(types[type], &p, 72, 5, at)) && value_of(types[type], &p, 72, 5, 0) == 1);
                tables[t]->kv_store(good, spoilt, 72, types[type], 5, &p.data);
                assert_true(isnan(value_of(types[type], &p, 72, 5, 3)) && key_of(types[type], &p, 72, 5, 0) == 1);
                page_free(&p);
            }
}

// ---- Attending

typedef struct problem {
    dtype type;
    int rows, head_dim, pages;
    float softcap;
    edge queries;
    page page[KV_SEGMENT_PAGES];
    int begin[MAX_ROWS_TESTED], end[MAX_ROWS_TESTED];
} problem;

typedef struct results {
    float max[MAX_ROWS_TESTED], sum[MAX_ROWS_TESTED], out[MAX_ROWS_TESTED * MAX_HEAD_DIM];
} results;

static bool anyone_sees(const problem *p, int slot)
{
    for (int row = 0; row < p->rows; row++)
        if (p->begin[row] <= slot && slot < p->end[row]) return true;
    return false;
}

// What nobody sees is NaN.
static void fill_slot(problem *p, int slot, float key_scale, bool seen)
{
    float key[MAX_HEAD_DIM], value[MAX_HEAD_DIM];
    for (int i = 0; i < p->head_dim; i++) {
        key[i] = seen ? random_float() * key_scale : NAN;
        value[i] = seen ? random_float() : NAN;
    }
    tables[0]->kv_store(key, value, p->head_dim, p->type, slot % KV_PAGE_TOKENS, &p->page[slot / KV_PAGE_TOKENS].data);
}

static problem new_problem(dtype type, int rows, int head_dim, int pages, float softcap, float query_scale)
{
    problem p = {.type = type, .rows = rows, .head_dim = head_dim, .pages = pages, .softcap = softcap};
    p.queries = edge_random(rows * head_dim, query_scale);
    for (int i = 0; i < pages; i++) p.page[i] = page_alloc(type, head_dim);
    return p;
}

static void fill(problem *p, float key_scale)
{
    for (int slot = 0; slot < p->pages * KV_PAGE_TOKENS; slot++) fill_slot(p, slot, key_scale, anyone_sees(p, slot));
}

static void problem_free(problem *p)
{
    edge_free(&p->queries);
    for (int i = 0; i < p->pages; i++) page_free(&p->page[i]);
}

// Rows of `group` heads a token, causal, with a window or not.
static void causal_ranges(problem *p, int group, int window)
{
    int tokens = (p->rows + group - 1) / group, length = p->pages * KV_PAGE_TOKENS - random_below(KV_PAGE_TOKENS);
    for (int row = 0; row < p->rows; row++) {
        int position = length - tokens + row / group;
        p->begin[row] = window && position + 1 > window ? position + 1 - window : 0;
        p->end[row] = position + 1 > 0 ? position + 1 : 0;
    }
}

static void random_ranges(problem *p)
{
    int slots = p->pages * KV_PAGE_TOKENS;
    for (int row = 0; row < p->rows; row++) {
        int a = random_below(slots + 1), b = random_below(slots + 1);
        p->begin[row] = random_below(4) ? a : 0;
        p->end[row] = random_below(4) ? b : slots;
    }
}

// With what will be read next, some lines and more: a hint that changes nothing.
static void set_pages(attention_segment_args *args, const problem *p, bool with_hints)
{
    static char next[1 << 16];
    static const kv_piece ahead[] = {{next, 64}, {next + 128, 192}, {next + 512, sizeof next - 512}};
    static kv_page pages[KV_SEGMENT_PAGES];
    for (int i = 0; i < p->pages; i++) pages[i] = p->page[i].data;
    args->pages = pages, args->num_pages = p->pages;
    if (with_hints) args->ahead = ahead, args->num_ahead = 1 + random_below(3);
}

static void attend_rows(const kernels *table, const problem *p, int first, int rows, results *r)
{
    static int16_t integers[MAX_ROWS_TESTED * MAX_HEAD_DIM];
    float scales[MAX_ROWS_TESTED];
    for (int row = 0; row < rows; row++)
        scales[row] = table->attention_query((float *)p->queries.data + (first + row) * p->head_dim, p->head_dim, p->type,
                                             integers + row * kv_even(p->head_dim));
    edge out = edge_alloc((size_t)(rows * p->head_dim) * sizeof(float));
    edge unpacked = edge_alloc((size_t)p->pages * kv_unpacked(p->head_dim) * sizeof(int16_t));
    attention_segment_args args = {.queries = integers, .query_scales = scales, .num_queries = rows, .head_dim = p->head_dim,
                                   .kv_type = p->type, .begin = p->begin + first, .end = p->end + first, .softcap = p->softcap,
                                   .max = r->max + first, .sum = r->sum + first, .out = out.data, .unpacked = unpacked.data};
    set_pages(&args, p, first % 2);
    table->attention_segment(&args);
    edge_free(&unpacked);
    memcpy(r->out + first * p->head_dim, out.data, (size_t)(rows * p->head_dim) * sizeof(float));
    edge_free(&out);
}

// fmax, whose loops the cross compiler (GCC 12 for arm64) cannot compile.
static double larger(double a, double b) { return a > b ? a : b; }

// A query's step is at most (largest / 32767 + size / 260000), size the sum of magnitudes; errors of the dimensions are independent.
static double score_error(const float *query, int head_dim, double largest_key)
{
    double size = 0;
    for (int i = 0; i < head_dim; i++) size += fabs((double)query[i]);
    return (size / 260000 + largest(query, head_dim) / 32767) * sqrt(head_dim) * largest_key + 1e-6 * size * largest_key;
}

// Softmax of one row in double. `allowed`: what rounding of the query and of the weights may cost.
static bool reference(const problem *p, int row, double *out, double *allowed)
{
    double scores[KV_SEGMENT_TOKENS], max = -INFINITY, sum = 0, largest_key = 0, largest_value = 0;
    const float *query = (float *)p->queries.data + row * p->head_dim;
    for (int i = 0; i < p->head_dim; i++) out[i] = 0;
    for (int slot = p->begin[row]; slot < p->end[row]; slot++) {
        double score = 0;
        for (int i = 0; i < p->head_dim; i++) {
            double key = key_of(p->type, &p->page[slot / KV_PAGE_TOKENS], p->head_dim, slot % KV_PAGE_TOKENS, i);
            largest_key = larger(largest_key, fabs(key));
            score += query[i] * key;
        }
        if (p->softcap != 0) score = p->softcap * tanh(score / p->softcap);
        scores[slot] = score, max = fmax(max, score);
    }
    for (int slot = p->begin[row]; slot < p->end[row]; slot++) {
        double weight = exp(scores[slot] - max);
        sum += weight;
        for (int i = 0; i < p->head_dim; i++) {
            double value = value_of(p->type, &p->page[slot / KV_PAGE_TOKENS], p->head_dim, slot % KV_PAGE_TOKENS, i);
            largest_value = larger(largest_value, fabs(value));
            out[i] += weight * value;
        }
    }
    *allowed = largest_value * (2 * score_error(query, p->head_dim, largest_key) + 6e-4);
    for (int i = 0; i < p->head_dim; i++) out[i] /= sum;
    return p->begin[row] < p->end[row];
}

static void check_against_reference(const kernels *table, const problem *p, const results *r)
{
    double wanted[MAX_HEAD_DIM], allowed;
    for (int row = 0; row < p->rows; row++) {
        if (!reference(p, row, wanted, &allowed)) {
            assert_true(r->max[row] == -INFINITY && r->sum[row] == 0);
            for (int i = 0; i < p->head_dim; i++) assert_true(r->out[row * p->head_dim + i] == 0);
            continue;
        }
        for (int i = 0; i < p->head_dim; i++) {
            double got = (double)r->out[row * p->head_dim + i] / r->sum[row];
            if (!(fabs(got - wanted[i]) <= allowed))
                fail_msg("%s: %d rows of %d, %s, row %d [%d]: %.9g, not %.9g (allowed %.3g)", table->isa, p->rows, p->head_dim,
                         dtype_name(p->type), row, i, got, wanted[i], allowed);
        }
    }
}

static void check_same(const kernels *table, const problem *p, int row, const results *a, const results *b)
{
    size_t bytes = (size_t)p->head_dim * sizeof(float);
    if (memcmp(a->out + row * p->head_dim, b->out + row * p->head_dim, bytes) != 0 || a->max[row] != b->max[row] ||
        a->sum[row] != b->sum[row])
        fail_msg("%s: %d rows of %d: row %d depends on others", table->isa, p->rows, p->head_dim, row);
}

static void check(const problem *p)
{
    static results together, apart;
    for (int t = 0; t < num_tables; t++) {
        attend_rows(tables[t], p, 0, p->rows, &together);
        check_against_reference(tables[t], p, &together);
        for (int size = 1; size <= 7; size++) {
            for (int first = 0; first < p->rows; first += size)
                attend_rows(tables[t], p, first, first + size < p->rows ? size : p->rows - first, &apart);
            for (int row = 0; row < p->rows; row++) check_same(tables[t], p, row, &together, &apart);
        }
    }
}

static void test_causal_ranges_and_windows(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_HEAD_DIMS; i++)
        for (int variant = 0; variant < 8; variant++) {
            int group = 1 + random_below(5), rows = variant & 1 ? group : 1 + random_below(MAX_ROWS_TESTED - 1);
            problem p = new_problem(types[variant >> 1 & 1], rows, head_dims[i], 1 + random_below(KV_SEGMENT_PAGES), variant == 5 ? 50 : 0, 1);
            causal_ranges(&p, group, variant & 4 ? 1 + random_below(200) : 0);
            fill(&p, 1);
            check(&p);
            problem_free(&p);
        }
}

static void test_any_ranges(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_HEAD_DIMS; i++)
        for (int variant = 0; variant < 6; variant++) {
            problem p = new_problem(types[variant & 1], 1 + random_below(20), head_dims[i], 3, variant == 4 ? 30 : 0, 1);
            random_ranges(&p);
            fill(&p, 1);
            check(&p);
            problem_free(&p);
        }
}

// Products at the limit of what 32 bits hold: all dimensions, and all weights, at their largest.
static void test_sums_do_not_overflow(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_HEAD_DIMS; i++)
        for (int variant = 0; variant < 4; variant++) {
            problem p = new_problem(types[variant & 1], 3, head_dims[i], KV_SEGMENT_PAGES, 0, 1);
            float key[MAX_HEAD_DIM], value[MAX_HEAD_DIM];
            for (int d = 0; d < p.head_dim; d++) key[d] = variant & 2 ? -1 : 1, value[d] = 3;
            for (int row = 0; row < 3; row++) p.begin[row] = row, p.end[row] = KV_SEGMENT_TOKENS;
            for (int slot = 0; slot < KV_SEGMENT_TOKENS; slot++)
                tables[0]->kv_store(key, value, p.head_dim, p.type, slot % KV_PAGE_TOKENS, &p.page[slot / KV_PAGE_TOKENS].data);
            for (int d = 0; d < 3 * p.head_dim; d++) ((float *)p.queries.data)[d] = 1;
            check(&p);
            problem_free(&p);
        }
}

// Scores of thousands, where all weight goes to a few slots, and with them capped. The largest must come out right: which
// one it is is what rounding may change when two are near.
static void test_huge_scores(void **state)
{
    (void)state;
    static results r;
    for (int t = 0; t < num_tables; t++)
        for (int variant = 0; variant < 4; variant++) {
            problem p = new_problem(types[variant & 1], 9, 64, 3, variant & 2 ? 30 : 0, 100);
            causal_ranges(&p, 3, 0);
            fill(&p, 30);
            attend_rows(tables[t], &p, 0, p.rows, &r);
            for (int row = 0; row < p.rows; row++) {
                assert_true(isfinite(r.max[row]) && r.sum[row] >= 1);
                for (int i = 0; i < 64; i++) assert_true(fabsf(r.out[row * 64 + i]) <= r.sum[row] * 1.001f);
            }
            problem_free(&p);
        }
}

// A value that only some rows see is NaN: the others must not notice.
static void test_slots_out_of_range_do_not_leak(void **state)
{
    (void)state;
    static results clean, dirty;
    for (int t = 0; t < num_tables; t++)
        for (int rows = 2; rows <= 14; rows++) {
            problem p = new_problem(types[rows & 1], rows, 72, 2, 0, 1);
            for (int row = 0; row < rows; row++) p.begin[row] = row & 1, p.end[row] = 100 - row % 3;
            fill(&p, 1);
            attend_rows(tables[t], &p, 0, rows, &clean);
            fill_slot(&p, 0, 1, false);  // seen by even rows
            fill_slot(&p, 99, 1, false); // by every third
            attend_rows(tables[t], &p, 0, rows, &dirty);
            for (int row = 0; row < rows; row++)
                if (row & 1 && row % 3) check_same(tables[t], &p, row, &clean, &dirty);
                else assert_true(isnan(dirty.out[row * 72]) || isnan(dirty.sum[row]));
            problem_free(&p);
        }
}

// Segments joined are softmax over all of them; a segment of which nothing is seen changes nothing.
static void test_merging(void **state)
{
    (void)state;
    for (int t = 0; t < num_tables; t++)
        for (int i = 0; i < NUM_HEAD_DIMS; i++) {
            int rows = 1 + random_below(MAX_ROWS_TESTED - 1), dim = head_dims[i];
            edge a = edge_random(rows * (dim + 2), 1), b = edge_random(rows * (dim + 2), 1), before = edge_alloc((size_t)(rows * (dim + 2)) * sizeof(float));
            attention_state total = {a.data, (float *)a.data + rows, (float *)a.data + 2 * rows};
            attention_state part = {b.data, (float *)b.data + rows, (float *)b.data + 2 * rows};
            for (int row = 0; row < rows; row++) {
                total.sum[row] = 1 + fabsf(total.sum[row]), part.sum[row] = 1 + fabsf(part.sum[row]);
                if (row % 5 == 1) part.max[row] = -INFINITY, part.sum[row] = 0;
                if (row % 5 == 2) total.max[row] = -INFINITY, total.sum[row] = 0;
                if (row % 5 == 3) part.max[row] = -INFINITY, part.sum[row] = 0, total.max[row] = -INFINITY, total.sum[row] = 0;
                for (int d = 0; d < dim; d++) {
                    if (part.sum[row] == 0) part.out[row * dim + d] = 0;
                    if (total.sum[row] == 0) total.out[row * dim + d] = 0;
                }
            }
            memcpy(before.data, a.data, (size_t)(rows * (dim + 2)) * sizeof(float));
            const float *old_max = before.data, *old_sum = old_max + rows, *old_out = old_sum + rows;
            tables[t]->attention_merge(rows, dim, total, part);
            for (int row = 0; row < rows; row++) {
                double top = fmax(old_max[row], part.max[row]);
                bool empty = top == -INFINITY;
                double keep = empty ? 0 : exp(old_max[row] - top), add = empty ? 0 : exp(part.max[row] - top);
                assert_true(total.max[row] == (float)top);
                assert_true(fabs(total.sum[row] - (keep * old_sum[row] + add * part.sum[row])) < 1e-6 * (1 + total.sum[row]));
                for (int d = 0; d < dim; d++) {
                    double wanted = keep * old_out[row * dim + d] + add * part.out[row * dim + d];
                    assert_true(fabs(total.out[row * dim + d] - wanted) < 1e-6);
                }
            }
            edge_free(&a), edge_free(&b), edge_free(&before);
        }
}

// ---- By high bytes

// One token's rows in two passes; scores of other segments are at most `above` more than the largest here.
static void attend_by_high_bytes(const kernels *table, const problem *p, float above, results *r)
{
    static int16_t integers[MAX_ROWS_TESTED * MAX_HEAD_DIM];
    float scales[MAX_ROWS_TESTED], largest[MAX_ROWS_TESTED];
    edge scores = edge_alloc((size_t)(p->rows * KV_SEGMENT_TOKENS) * sizeof(float)), out = edge_alloc((size_t)(p->rows * p->head_dim) * sizeof(float));
    for (int row = 0; row < p->rows; row++) {
        scales[row] = table->attention_query((float *)p->queries.data + row * p->head_dim, p->head_dim, p->type, integers + row * kv_even(p->head_dim));
        largest[row] = -INFINITY;
    }
    attention_segment_args args = {.queries = integers, .query_scales = scales, .num_queries = p->rows, .head_dim = p->head_dim,
                                   .kv_type = p->type, .begin = p->begin, .end = p->end, .softcap = p->softcap, .max = r->max, .sum = r->sum,
                                   .out = out.data, .scores = scores.data, .score_stride = KV_SEGMENT_TOKENS, .largest = largest};
    set_pages(&args, p, p->rows % 2);
    table->attention_scores(&args);
    for (int row = 0; row < p->rows; row++) largest[row] += above;
    table->attention_values(&args);
    memcpy(r->out, out.data, (size_t)(p->rows * p->head_dim) * sizeof(float));
    edge_free(&scores), edge_free(&out);
}

static problem new_token(int rows, int head_dim, int pages, float softcap, float query_scale)
{
    problem p = new_problem(DTYPE_I16, rows, head_dim, pages, softcap, query_scale);
    int begin = random_below(2) ? random_below(pages * KV_PAGE_TOKENS) : 0, end = begin + 1 + random_below(pages * KV_PAGE_TOKENS - begin);
    for (int row = 0; row < rows; row++) p.begin[row] = begin, p.end[row] = end;
    fill(&p, 1);
    return p;
}

static const kv_page *page_of(const problem *p, int slot) { return &p->page[slot / KV_PAGE_TOKENS].data; }

static int8_t *low_key(const problem *p, int slot, int dim)
{
    int at = slot % KV_PAGE_TOKENS, pairs = (p->head_dim + 1) / 2;
    return page_of(p, slot)->low_keys + ((at / 16 * pairs + dim / 2) * 16 + at % 16) * 2 + dim % 2;
}

static int value_at(const problem *p, int slot, int dim) { return (slot % KV_PAGE_TOKENS / 2 * p->head_dim + dim) * 2 + slot % 2; }

static double score_of(const problem *p, int row, int slot, bool with_low)
{
    const float *query = (float *)p->queries.data + row * p->head_dim;
    double sum = 0;
    int at = slot % KV_PAGE_TOKENS;
    for (int i = 0; i < p->head_dim; i++) {
        int high = 64 * ((int8_t *)page_of(p, slot)->keys)[(i / 2 * KV_PAGE_TOKENS + at) * 2 + i % 2], low = *low_key(p, slot, i);
        sum += (double)query[i] * (with_low ? high + low : high);
    }
    return sum * page_of(p, slot)->key_scales[at];
}

static double capped(const problem *p, double score) { return p->softcap != 0 ? p->softcap * tanh(score / p->softcap) : score; }

// What the rule of kernels.h says: whose low bytes count, and all scores. False if it is too near to call.
typedef struct rule {
    bool key[KV_SEGMENT_TOKENS], value[KV_SEGMENT_TOKENS];
    double scores[MAX_ROWS_TESTED][KV_SEGMENT_TOKENS], largest[MAX_ROWS_TESTED];
} rule;

static bool matters(const problem *p, const rule *r, int first, int count, double nats, bool *sure)
{
    bool any = false;
    for (int row = 0; row < p->rows; row++)
        for (int slot = first; slot < first + count; slot++) {
            if (slot < p->begin[0] || slot >= p->end[0]) continue;
            double distance = capped(p, r->scores[row][slot]) - (capped(p, r->largest[row]) - nats);
            any |= distance > 0;
            *sure &= fabs(distance) > 0.01;
        }
    return any;
}

static bool apply_rule(const problem *p, float above, rule *r)
{
    bool sure = true;
    *r = (rule){0};
    for (int row = 0; row < p->rows; row++) {
        r->largest[row] = -INFINITY;
        for (int slot = p->begin[0]; slot < p->end[0]; slot++)
            r->scores[row][slot] = score_of(p, row, slot, false), r->largest[row] = larger(r->largest[row], r->scores[row][slot]);
        r->largest[row] += above;
    }
    for (int slot = 0; slot < KV_SEGMENT_TOKENS; slot++) r->key[slot] = slot % 16 ? r->key[slot - 1] : matters(p, r, slot, 16, (double)KV_KEY_NATS, &sure);
    for (int row = 0; row < p->rows; row++)
        for (int slot = p->begin[0]; slot < p->end[0]; slot++)
            if (r->key[slot]) r->scores[row][slot] = score_of(p, row, slot, true);
    for (int slot = 0; slot < KV_SEGMENT_TOKENS; slot++) r->value[slot] = slot % 2 ? r->value[slot - 1] : matters(p, r, slot, 2, (double)KV_VALUE_NATS, &sure);
    return sure;
}

static void check_by_rule(const kernels *table, const problem *p, const rule *rule, const results *r)
{
    for (int row = 0; row < p->rows; row++) {
        double max = -INFINITY, sum = 0, out[MAX_HEAD_DIM] = {0};
        for (int slot = p->begin[0]; slot < p->end[0]; slot++) max = larger(max, capped(p, rule->scores[row][slot]));
        for (int slot = p->begin[0]; slot < p->end[0]; slot++) {
            double weight = exp(capped(p, rule->scores[row][slot]) - max);
            int at = slot % KV_PAGE_TOKENS;
            sum += weight;
            for (int i = 0; i < p->head_dim; i++) {
                int high = 64 * ((int8_t *)page_of(p, slot)->values)[value_at(p, slot, i)];
                int low = rule->value[slot] ? page_of(p, slot)->low_values[value_at(p, slot, i)] : 0;
                out[i] += weight * (high + low) * (double)page_of(p, slot)->value_scales[at];
            }
        }
        double allowed = 2 * score_error((float *)p->queries.data + row * p->head_dim, p->head_dim, 1) + 6e-4; // keys and values are at most 1
        for (int i = 0; i < p->head_dim; i++)
            if (!(fabs(r->out[row * p->head_dim + i] / r->sum[row] - out[i] / sum) <= allowed))
                fail_msg("%s: %d rows of %d [%d]: %.9g, not %.9g", table->isa, p->rows, p->head_dim, i, (double)(r->out[row * p->head_dim + i] / r->sum[row]), out[i] / sum);
    }
}

// The low bytes that do not count become noise, and what is not seen becomes large.
static void spoil(const problem *p, const rule *rule)
{
    for (int slot = 0; slot < p->pages * KV_PAGE_TOKENS; slot++)
        for (int i = 0; i < p->head_dim; i++) {
            bool is_seen = slot >= p->begin[0] && slot < p->end[0];
            if (!is_seen || !rule->key[slot]) *low_key(p, slot, i) = (int8_t)(random_below(64) - 32);
            if (!is_seen || !rule->value[slot]) page_of(p, slot)->low_values[value_at(p, slot, i)] = (int8_t)(random_below(64) - 32);
            if (!is_seen) page_of(p, slot)->key_scales[slot % KV_PAGE_TOKENS] = 100;
        }
}

static void test_low_bytes_count_where_they_matter(void **state)
{
    (void)state;
    static results r, again;
    static rule rule;
    int sure = 0, spared = 0, refined = 0;
    for (int i = 0; i < NUM_HEAD_DIMS; i++)
        for (int variant = 0; variant < 24; variant++) {
            float above = variant % 3 == 0 ? 0 : 2.0f * (float)(variant % 3), size = 20 / sqrtf((float)head_dims[i]);
            problem p = new_token(1 + random_below(variant % 4 ? 5 : 20), head_dims[i], 1 + random_below(KV_SEGMENT_PAGES), variant % 5 == 4 ? 10 : 0, size);
            if (!apply_rule(&p, above, &rule)) {
                problem_free(&p);
                continue;
            }
            sure++;
            for (int slot = p.begin[0]; slot < p.end[0]; slot++) spared += !rule.key[slot] + !rule.value[slot], refined += rule.key[slot] + rule.value[slot];
            for (int t = 0; t < num_tables; t++) {
                attend_by_high_bytes(tables[t], &p, above, &r);
                check_by_rule(tables[t], &p, &rule, &r);
            }
            attend_by_high_bytes(tables[num_tables - 1], &p, above, &r);
            spoil(&p, &rule);
            attend_by_high_bytes(tables[num_tables - 1], &p, above, &again);
            for (int row = 0; row < p.rows; row++) check_same(tables[num_tables - 1], &p, row, &r, &again);
            problem_free(&p);
        }
    assert_true(sure > 50 && spared > 1000 && refined > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_values_are_stored_to_half_a_step),
        cmocka_unit_test(test_what_is_no_number_shows),
        cmocka_unit_test(test_causal_ranges_and_windows),
        cmocka_unit_test(test_any_ranges),
        cmocka_unit_test(test_sums_do_not_overflow),
        cmocka_unit_test(test_huge_scores),
        cmocka_unit_test(test_slots_out_of_range_do_not_leak),
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_low_bytes_count_where_they_matter),
    };
    num_tables = kernels_available(tables, 8);
    if (num_tables > 8) num_tables = 8;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
