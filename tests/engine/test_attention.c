// Attention over float32 pages, every table against softmax in double precision; and against itself, bit by bit, when
// the rows are grouped into other calls.
#include "testing.h"
#include "engine/cpu/kernels/kernels.h"
#include "edge.h"
#include <math.h>
#include <stdbool.h>

enum { MAX_ROWS_TESTED = 80, MAX_HEAD_DIM = 256, MAX_PAGES = 4 };

static const kernels *tables[8];
static int num_tables;

// A sequence of pages and the rows that attend to it.
typedef struct problem {
    int rows, head_dim, pages;
    float softcap;
    edge queries, keys[MAX_PAGES], values[MAX_PAGES];
    int begin[MAX_PAGES][MAX_ROWS_TESTED], end[MAX_PAGES][MAX_ROWS_TESTED];
} problem;

// Where the rows' state lives while a table works; out ends where memory ends.
typedef struct row_state {
    float max[MAX_ROWS_TESTED], sum[MAX_ROWS_TESTED];
    float out[MAX_ROWS_TESTED * MAX_HEAD_DIM];
} row_state;

static float element(const edge *page, int index)
{
    return ((float *)page->data)[index];
}

static void set_element(edge *page, int index, float value)
{
    ((float *)page->data)[index] = value;
}

static void set_slot(problem *p, int page, int slot, float key_scale, float constant)
{
    for (int i = 0; i < p->head_dim; i++) {
        set_element(&p->keys[page], i * KV_PAGE_TOKENS + slot,
                    constant != 0 ? constant : random_float() * key_scale);
        set_element(&p->values[page], slot * p->head_dim + i, constant != 0 ? constant : random_float());
    }
}

static bool anyone_sees(const problem *p, int page, int slot)
{
    for (int row = 0; row < p->rows; row++)
        if (p->begin[page][row] <= slot && slot < p->end[page][row]) return true;
    return false;
}

// Slots that no row sees hold NaN.
static void fill_pages(problem *p, float key_scale)
{
    size_t bytes = (size_t)(p->head_dim * KV_PAGE_TOKENS) * sizeof(float);
    for (int page = 0; page < p->pages; page++) {
        p->keys[page] = edge_alloc(bytes);
        p->values[page] = edge_alloc(bytes);
        for (int slot = 0; slot < KV_PAGE_TOKENS; slot++)
            set_slot(p, page, slot, key_scale, anyone_sees(p, page, slot) ? 0 : NAN);
    }
}

// Ranges as decoding and prefilling make them: rows of `group` heads a token, causal, with a window or not.
static void causal_ranges(problem *p, int group, int window)
{
    int tokens = (p->rows + group - 1) / group,
        length = p->pages * KV_PAGE_TOKENS - random_below(KV_PAGE_TOKENS);
    for (int row = 0; row < p->rows; row++) {
        int position = length - tokens + row / group,
            from = window && position + 1 > window ? position + 1 - window : 0;
        for (int page = 0; page < p->pages; page++) {
            int begin = from - page * KV_PAGE_TOKENS, end = position + 1 - page * KV_PAGE_TOKENS;
            p->begin[page][row] = begin < 0 ? 0 : begin > KV_PAGE_TOKENS ? KV_PAGE_TOKENS : begin;
            p->end[page][row] = end < 0 ? 0 : end > KV_PAGE_TOKENS ? KV_PAGE_TOKENS : end;
        }
    }
}

static void random_ranges(problem *p)
{
    for (int page = 0; page < p->pages; page++)
        for (int row = 0; row < p->rows; row++) {
            int a = random_below(KV_PAGE_TOKENS + 1), b = random_below(KV_PAGE_TOKENS + 1);
            p->begin[page][row] = random_below(4) ? a : 0;
            p->end[page][row] = random_below(4) ? b : KV_PAGE_TOKENS;
        }
}

static void problem_free(problem *p)
{
    edge_free(&p->queries);
    for (int page = 0; page < p->pages; page++) edge_free(&p->keys[page]), edge_free(&p->values[page]);
}

static void start(row_state *s)
{
    memset(s, 0, sizeof *s);
    for (int row = 0; row < MAX_ROWS_TESTED; row++) s->max[row] = -INFINITY;
}

// Rows [first, first + rows) over one page.
static void attend_page(const kernels *table, const problem *p, int page, int first, int rows, row_state *s)
{
    static _Alignas(64) float scores[MAX_ROWS_TESTED * KV_PAGE_TOKENS];
    size_t bytes = (size_t)(rows * p->head_dim) * sizeof(float);
    edge out = edge_alloc(bytes);
    float *rows_out = s->out + first * p->head_dim;
    for (int i = 0; i < rows * KV_PAGE_TOKENS; i++) scores[i] = NAN;
    memcpy(out.data, rows_out, bytes);
    attention_page_args args = {.queries = (float *)p->queries.data + first * p->head_dim,
                                .num_queries = rows,
                                .head_dim = p->head_dim,
                                .keys = p->keys[page].data,
                                .values = p->values[page].data,
                                .begin = p->begin[page] + first,
                                .end = p->end[page] + first,
                                .softcap = p->softcap,
                                .max = s->max + first,
                                .sum = s->sum + first,
                                .out = out.data,
                                .scores = scores};
    table->attention_page(&args);
    memcpy(rows_out, out.data, bytes);
    edge_free(&out);
}

static void attend(const kernels *table, const problem *p, row_state *s)
{
    start(s);
    for (int page = 0; page < p->pages; page++) attend_page(table, p, page, 0, p->rows, s);
}

// Softmax of one row in double. `uncertainty`: how far float32 scores may be off.
static bool reference(const problem *p, int row, double *out, double *uncertainty)
{
    double scores[MAX_PAGES * KV_PAGE_TOKENS], max = -INFINITY, sum = 0, largest = 0;
    const float *query = (float *)p->queries.data + row * p->head_dim;
    for (int page = 0; page < p->pages; page++)
        for (int slot = p->begin[page][row]; slot < p->end[page][row]; slot++) {
            double score = 0, size = 0;
            for (int i = 0; i < p->head_dim; i++) {
                double product = (double)query[i] * element(&p->keys[page], i * KV_PAGE_TOKENS + slot);
                score += product, size += fabs(product);
            }
            if (p->softcap != 0) score = p->softcap * tanh(score / p->softcap);
            scores[page * KV_PAGE_TOKENS + slot] = score;
            max = fmax(max, score), largest = fmax(largest, size);
        }
    for (int i = 0; i < p->head_dim; i++) out[i] = 0;
    for (int page = 0; page < p->pages; page++)
        for (int slot = p->begin[page][row]; slot < p->end[page][row]; slot++) {
            double weight = exp(scores[page * KV_PAGE_TOKENS + slot] - max);
            sum += weight;
            for (int i = 0; i < p->head_dim; i++)
                out[i] += weight * element(&p->values[page], slot * p->head_dim + i);
        }
    for (int i = 0; i < p->head_dim; i++) out[i] /= sum;
    *uncertainty = 2e-6 + largest * 0x1p-22;
    return sum > 0;
}

static void check_against_reference(const kernels *table, const problem *p, const row_state *s)
{
    double wanted[MAX_HEAD_DIM], uncertainty;
    for (int row = 0; row < p->rows; row++) {
        if (!reference(p, row, wanted, &uncertainty)) {
            assert_true(s->max[row] == -INFINITY && s->sum[row] == 0);
            continue;
        }
        for (int i = 0; i < p->head_dim; i++) {
            double got = (double)s->out[row * p->head_dim + i] / s->sum[row];
            if (!(fabs(got - wanted[i]) <= uncertainty))
                fail_msg("%s: %d rows of %d, row %d [%d]: %.9g, not %.9g (allowed %.3g)", table->isa, p->rows,
                         p->head_dim, row, i, got, wanted[i], uncertainty);
        }
    }
}

static void check_same(const kernels *table, const problem *p, int row, const row_state *a,
                       const row_state *b)
{
    size_t bytes = (size_t)p->head_dim * sizeof(float);
    if (memcmp(a->out + row * p->head_dim, b->out + row * p->head_dim, bytes) != 0 ||
        a->max[row] != b->max[row] || a->sum[row] != b->sum[row])
        fail_msg("%s: %d rows of %d: row %d depends on how rows are grouped", table->isa, p->rows,
                 p->head_dim, row);
}

// The rows in calls of every size from 1 to 7 give the same bits as all in one call.
static void check_grouping(const kernels *table, const problem *p, const row_state *together)
{
    static row_state apart;
    for (int size = 1; size <= 7; size++) {
        start(&apart);
        for (int page = 0; page < p->pages; page++)
            for (int first = 0; first < p->rows; first += size)
                attend_page(table, p, page, first, first + size < p->rows ? size : p->rows - first, &apart);
        for (int row = 0; row < p->rows; row++) check_same(table, p, row, together, &apart);
    }
}

static void check(const problem *p)
{
    static row_state together;
    for (int t = 0; t < num_tables; t++) {
        attend(tables[t], p, &together);
        check_against_reference(tables[t], p, &together);
        check_grouping(tables[t], p, &together);
    }
}

static problem new_problem(int rows, int head_dim, int pages, float softcap, float query_scale)
{
    problem p = {.rows = rows, .head_dim = head_dim, .pages = pages, .softcap = softcap};
    p.queries = edge_random(rows * head_dim, query_scale);
    return p;
}

static const int head_dims[] = {1, 5, 32, 40, 64, 72, 80, 96, 100, 128, 192, 256};
enum { NUM_HEAD_DIMS = sizeof head_dims / sizeof *head_dims };

static void test_causal_ranges_and_windows(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_HEAD_DIMS; i++)
        for (int variant = 0; variant < 8; variant++) {
            int group = 1 + random_below(5),
                rows = variant & 1 ? group : 1 + random_below(MAX_ROWS_TESTED - 1);
            problem p = new_problem(rows, head_dims[i], 1 + variant % MAX_PAGES, variant == 5 ? 50 : 0, 1);
            causal_ranges(&p, group, variant & 4 ? 1 + random_below(100) : 0);
            fill_pages(&p, 1);
            check(&p);
            problem_free(&p);
        }
}

static void test_any_ranges(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_HEAD_DIMS; i++)
        for (int variant = 0; variant < 6; variant++) {
            problem p = new_problem(1 + random_below(20), head_dims[i], 3, variant == 4 ? 30 : 0, 1);
            random_ranges(&p);
            fill_pages(&p, 1);
            check(&p);
            problem_free(&p);
        }
}

// Scores of about +-1e4, where all weight goes to a few slots, and with them capped.
static void test_huge_scores(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        problem p = new_problem(9, 64, 3, variant & 2 ? 30 : 0, 100);
        causal_ranges(&p, 3, 0);
        fill_pages(&p, 30);
        check(&p);
        problem_free(&p);
    }
}

// A value that only some rows see is NaN: the others must not notice, in whatever block they are.
static void test_slots_out_of_range_do_not_leak(void **state)
{
    (void)state;
    static row_state clean, dirty;
    for (int t = 0; t < num_tables; t++)
        for (int rows = 2; rows <= 14; rows++) {
            problem p = new_problem(rows, 72, 1, 0, 1);
            for (int row = 0; row < rows; row++) p.begin[0][row] = row & 1, p.end[0][row] = 60 - row % 3;
            fill_pages(&p, 1);
            attend(tables[t], &p, &clean);
            set_slot(&p, 0, 0, 1, NAN);  // seen by even rows
            set_slot(&p, 0, 59, 1, NAN); // by every third
            attend(tables[t], &p, &dirty);
            for (int row = 0; row < rows; row++)
                if (row & 1 && row % 3) check_same(tables[t], &p, row, &clean, &dirty);
            problem_free(&p);
        }
}

static void test_an_empty_range_changes_nothing(void **state)
{
    (void)state;
    static row_state before, after;
    for (int t = 0; t < num_tables; t++)
        for (int rows = 1; rows <= 8; rows++) {
            problem p = new_problem(rows, 40, 1, 0, 1);
            for (int row = 0; row < rows; row++) p.begin[0][row] = 0, p.end[0][row] = KV_PAGE_TOKENS;
            fill_pages(&p, 1);
            attend(tables[t], &p, &before);
            for (int empty = 0; empty < rows; empty++)
                p.begin[0][empty] = 7, p.end[0][empty] = empty & 1 ? 7 : 3;
            if (rows > 4) p.end[0][2] = 64; // others beside them work on
            after = before;
            attend_page(tables[t], &p, 0, 0, rows, &after);
            for (int row = 0; row < rows; row++)
                if (rows <= 4 || row != 2) check_same(tables[t], &p, row, &before, &after);
            if (rows > 4) assert_true(after.sum[2] > before.sum[2]);
            problem_free(&p);
        }
}

// Scores that overflow to -infinity weigh nothing, also when there is nothing else yet.
static void test_scores_of_minus_infinity(void **state)
{
    (void)state;
    static row_state s;
    for (int t = 0; t < num_tables; t++) {
        problem p = new_problem(5, 64, 2, 0, 1);
        for (int row = 0; row < p.rows; row++)
            for (int page = 0; page < 2; page++) p.begin[page][row] = 0, p.end[page][row] = KV_PAGE_TOKENS;
        fill_pages(&p, 1);
        for (int row = 0; row < p.rows; row++) ((float *)p.queries.data)[row * p.head_dim] = 3e38f;
        for (int i = 0; i < 2 * KV_PAGE_TOKENS; i++)
            set_element(&p.keys[i / KV_PAGE_TOKENS], i % KV_PAGE_TOKENS, i == 100 ? 0 : -1e30f);
        start(&s);
        attend_page(tables[t], &p, 0, 0, p.rows, &s);
        for (int row = 0; row < p.rows; row++) assert_true(s.max[row] == -INFINITY && s.sum[row] == 0);
        attend_page(tables[t], &p, 1, 0, p.rows, &s);
        for (int row = 0; row < p.rows; row++) {
            assert_true(isfinite(s.max[row]) && s.sum[row] == 1);
            for (int i = 0; i < p.head_dim; i++)
                assert_true(s.out[row * p.head_dim + i] == element(&p.values[1], 36 * p.head_dim + i));
        }
        problem_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_causal_ranges_and_windows),
        cmocka_unit_test(test_any_ranges),
        cmocka_unit_test(test_huge_scores),
        cmocka_unit_test(test_slots_out_of_range_do_not_leak),
        cmocka_unit_test(test_an_empty_range_changes_nothing),
        cmocka_unit_test(test_scores_of_minus_infinity),
    };
    num_tables = kernels_available(tables, 8);
    if (num_tables > 8) num_tables = 8;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
