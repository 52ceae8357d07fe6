// A description executed one part after the other. No caches, no blocks, no threads: nothing to get wrong.
#include "nn/reference_forward.h"
#include "base/mem.h"
#include "formats/affine.h"
#include <math.h>
#include <string.h>

typedef struct forward {
    const model_desc *desc;
    const weight_view *views;
    int n;               // tokens
    float *row;          // one dequantised row of a weight
    float *h, *x, *part; // [n, hidden]
    float *q, *attended; // [n, heads * head_dim]
    float *k, *v;        // [n, kv_heads * head_dim]
    float *gate, *up;    // [n, intermediate]
} forward;

static void read_row(const weight_view *view, int row, float *out)
{
    if (view->bits) {
        affine_matrix m = {view->data,         view->scales,       view->biases, view->scale_type,
                           (size_t)view->rows, (size_t)view->cols, view->bits,   view->group_size};
        affine_dequantize(&m, (size_t)row, 1, out);
    } else {
        size_t row_size = (size_t)view->cols * dtype_size(view->type);
        dtype_to_float(view->type, (const char *)view->data + (size_t)row * row_size, out,
                       (size_t)view->cols);
    }
}

// out [n, linear->rows] = x [n, linear->cols] W^T + b
static void apply_linear(forward *f, const linear_desc *linear, const float *x, float *out)
{
    for (int r = 0; r < linear->rows; r++) {
        float bias = 0;
        if (linear->bias != NO_TENSOR) {
            read_row(&f->views[linear->bias], 0, f->row);
            bias = f->row[linear->row_begin + r];
        }
        read_row(&f->views[linear->weight], linear->row_begin + r, f->row);
        for (int t = 0; t < f->n; t++) {
            double sum = 0;
            for (int i = 0; i < linear->cols; i++) sum += (double)x[(size_t)t * linear->cols + i] * f->row[i];
            out[(size_t)t * linear->rows + r] = (float)(sum + bias);
        }
    }
}

// Normalises each run of norm->size among `count` elements; `in` may be `out`.
static void apply_norm(forward *f, const norm_desc *norm, const float *in, float *out, size_t count)
{
    if (norm->kind == NORM_NONE) {
        memmove(out, in, count * sizeof *out);
        return;
    }
    for (size_t begin = 0; begin < count; begin += (size_t)norm->size) {
        double mean = 0, squares = 0;
        for (int i = 0; i < norm->size && norm->kind == NORM_LAYER; i++)
            mean += in[begin + i] / (double)norm->size;
        for (int i = 0; i < norm->size; i++) squares += (in[begin + i] - mean) * (in[begin + i] - mean);
        double factor = 1 / sqrt(squares / norm->size + norm->eps);
        for (int i = 0; i < norm->size; i++) out[begin + i] = (float)((in[begin + i] - mean) * factor);
    }
    if (norm->weight != NO_TENSOR) {
        read_row(&f->views[norm->weight], 0, f->row);
        for (size_t i = 0; i < count; i++) out[i] *= f->row[i % (size_t)norm->size] + norm->weight_offset;
    }
    if (norm->bias != NO_TENSOR) {
        read_row(&f->views[norm->bias], 0, f->row);
        for (size_t i = 0; i < count; i++) out[i] += f->row[i % (size_t)norm->size];
    }
}

// Turns every head of x [n, heads, head_dim] by its position.
static void apply_rope(const forward *f, const rope_desc *rope, float *x, int heads, int head_dim)
{
    for (int t = 0; t < f->n; t++)
        for (int head = 0; head < heads; head++)
            for (int i = 0; i < rope->dims / 2; i++) {
                float *values = x + ((size_t)t * heads + head) * head_dim;
                float *a = values + (rope->traditional ? 2 * i : i);
                float *b = values + (rope->traditional ? 2 * i + 1 : i + rope->dims / 2);
                double angle = (double)t * rope->inv_freq[i], re = *a * rope->scale, im = *b * rope->scale;
                *a = (float)(re * cos(angle) - im * sin(angle));
                *b = (float)(re * sin(angle) + im * cos(angle));
            }
}

// One query head at position t over the keys it sees.
static void attend(forward *f, const attention_desc *a, int t, int head)
{
    int kv_head = head / (a->num_heads / a->num_kv_heads),
        first = a->window && t >= a->window ? t - a->window + 1 : 0;
    size_t kv_stride = (size_t)a->num_kv_heads * a->head_dim, kv_begin = (size_t)kv_head * a->head_dim;
    const float *query = f->q + ((size_t)t * a->num_heads + head) * a->head_dim;
    float *out = f->attended + ((size_t)t * a->num_heads + head) * a->head_dim;
    double largest = -INFINITY, total = 0;
    for (int j = first; j <= t; j++) {
        double score = 0;
        for (int i = 0; i < a->head_dim; i++) score += (double)query[i] * f->k[j * kv_stride + kv_begin + i];
        score *= a->scale;
        if (a->score_softcap > 0) score = a->score_softcap * tanh(score / a->score_softcap);
        f->row[j] = (float)score;
        largest = fmax(largest, score);
    }
    for (int j = first; j <= t; j++) total += exp(f->row[j] - largest);
    for (int i = 0; i < a->head_dim; i++) {
        double sum = 0;
        for (int j = first; j <= t; j++) sum += exp(f->row[j] - largest) * f->v[j * kv_stride + kv_begin + i];
        out[i] = (float)(sum / total);
    }
}

static void apply_attention(forward *f, const attention_desc *a)
{
    apply_linear(f, &a->q, f->x, f->q);
    apply_linear(f, &a->k, f->x, f->k);
    apply_linear(f, &a->v, f->x, f->v);
    apply_norm(f, &a->q_norm, f->q, f->q, (size_t)f->n * a->num_heads * a->head_dim);
    apply_norm(f, &a->k_norm, f->k, f->k, (size_t)f->n * a->num_kv_heads * a->head_dim);
    if (a->rope >= 0) {
        apply_rope(f, &f->desc->ropes[a->rope], f->q, a->num_heads, a->head_dim);
        apply_rope(f, &f->desc->ropes[a->rope], f->k, a->num_kv_heads, a->head_dim);
    }
    for (int t = 0; t < f->n; t++)
        for (int head = 0; head < a->num_heads; head++) attend(f, a, t, head);
    apply_linear(f, &a->o, f->attended, f->part);
}

static double activate(activation_kind kind, double x)
{
    switch (kind) {
    case ACTIVATION_SILU: return x / (1 + exp(-x));
    case ACTIVATION_GELU: return 0.5 * x * (1 + erf(x / sqrt(2)));
    case ACTIVATION_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case ACTIVATION_RELU2: return x > 0 ? x * x : 0;
    }
    return NAN;
}

static void apply_ffn(forward *f, const ffn_desc *ffn)
{
    bool gated = ffn->gate.weight != NO_TENSOR;
    apply_linear(f, &ffn->up, f->x, f->up);
    if (gated) apply_linear(f, &ffn->gate, f->x, f->gate);
    for (size_t i = 0; i < (size_t)f->n * ffn->size; i++)
        f->up[i] = (float)(gated ? activate(ffn->activation, f->gate[i]) * f->up[i]
                                 : activate(ffn->activation, f->up[i]));
    apply_linear(f, &ffn->down, f->up, f->part);
}

static void add_part(forward *f, const norm_desc *norm, float scale)
{
    size_t count = (size_t)f->n * f->desc->hidden_size;
    apply_norm(f, norm, f->part, f->part, count);
    for (size_t i = 0; i < count; i++) f->h[i] += scale * f->part[i];
}

static void apply_block(forward *f, const block_desc *block)
{
    size_t count = (size_t)f->n * f->desc->hidden_size;
    apply_norm(f, &block->pre_attention, f->h, f->x, count);
    apply_attention(f, &block->attention);
    add_part(f, &block->post_attention, block->residual_scale);
    apply_norm(f, &block->pre_ffn, f->h, f->x, count);
    apply_ffn(f, &block->ffn);
    add_part(f, &block->post_ffn, block->residual_scale);
}

static void run(forward *f, const int32_t *tokens, float *logits)
{
    const model_desc *d = f->desc;
    for (int t = 0; t < f->n; t++) {
        float *h = f->h + (size_t)t * d->hidden_size;
        read_row(&f->views[d->embedding], tokens[t], h);
        for (int i = 0; i < d->hidden_size; i++) h[i] *= d->embedding_scale;
    }
    for (int i = 0; i < d->num_blocks; i++) apply_block(f, &d->blocks[i]);
    apply_norm(f, &d->final_norm, f->h, f->x, (size_t)f->n * d->hidden_size);
    apply_linear(f, &d->head, f->x, logits);
    for (size_t i = 0; i < (size_t)f->n * d->vocab_size; i++) {
        logits[i] *= d->logit_scale;
        if (d->logit_softcap > 0) logits[i] = d->logit_softcap * (float)tanh(logits[i] / d->logit_softcap);
    }
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

bool reference_forward(const model_desc *d, const weight_view *views, const int32_t *tokens, int num_tokens,
                       float *logits)
{
    forward f = {.desc = d, .views = views, .n = num_tokens};
    size_t n = (size_t)num_tokens, hidden = (size_t)d->hidden_size, row = n, q = 0, kv = 0, ffn = 0;
    for (int i = 0; i < num_tokens; i++)
        if (tokens[i] < 0 || tokens[i] >= d->vocab_size) return false;
    for (int i = 0; i < d->num_tensors; i++) row = larger(row, (size_t)d->tensors[i].cols);
    for (int i = 0; i < d->num_blocks; i++) {
        q = larger(q, (size_t)d->blocks[i].attention.q.rows);
        kv = larger(kv, (size_t)d->blocks[i].attention.k.rows);
        ffn = larger(ffn, (size_t)d->blocks[i].ffn.size);
    }
    float *memory = mem_alloc_zero(row + n * (3 * hidden + 2 * q + 2 * kv + 2 * ffn), sizeof *memory);
    if (!memory) return false;
    f.row = memory;
    f.h = f.row + row;
    f.x = f.h + n * hidden;
    f.part = f.x + n * hidden;
    f.q = f.part + n * hidden;
    f.attended = f.q + n * q;
    f.k = f.attended + n * q;
    f.v = f.k + n * kv;
    f.gate = f.v + n * kv;
    f.up = f.gate + n * ffn;
    run(&f, tokens, logits);
    mem_free(memory);
    return true;
}
