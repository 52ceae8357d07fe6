// A model description as an MLX graph. Nothing is computed here.
#include "engine/mlx/mlx_engine.h"

static bool same_adapters(const mlx_seq *a, const mlx_seq *b)
{
    bool same = a->num_adapters == b->num_adapters;
    for (int i = 0; same && i < a->num_adapters; i++)
        same = a->adapters[i].adapter == b->adapters[i].adapter && a->adapters[i].strength == b->adapters[i].strength;
    return same;
}

void graph_begin_rows(mlx_graph *g)
{
    g->num_runs = 0;
    g->adapted = false;
}

void graph_add_rows(mlx_graph *g, const mlx_seq *seq, int rows)
{
    mlx_run *last = g->num_runs ? &g->runs[g->num_runs - 1] : NULL;
    if (rows == 0) return;
    g->adapted |= seq->num_adapters > 0;
    if (last && same_adapters(last->seq, seq)) last->rows += rows;
    else g->runs[g->num_runs++] = (mlx_run){seq, last ? last->row + last->rows : 0, rows};
}

static mx_array *linear(mlx_graph *g, const mlx_linear *l, mx_array *x)
{
    mx_scope *s = g->s;
    mx_array *y = l->bits ? mx_quantized_linear(s, x, l->weight, l->scales, l->biases, l->group_size, l->bits)
                          : mx_linear(s, x, l->weight, l->bias);
    if (l->bits && l->bias) y = mx_add(s, y, l->bias);
    return g->adapted ? graph_adapt(g, l, x, y) : y;
}

// Normalises pieces of norm->size of rows [1, rows, cols].
static mx_array *normalise(mx_scope *s, const mlx_norm *norm, mx_array *x)
{
    if (norm->kind == NORM_NONE || !x) return x;
    int rows = mx_dim(x, 1), cols = mx_dim(x, 2);
    bool pieces = cols != norm->size;
    if (pieces) x = mx_reshape(s, x, (int[]){1, rows, cols / norm->size, norm->size}, 4);
    x = norm->kind == NORM_RMS ? mx_rms_norm(s, x, norm->weight, norm->eps) : mx_layer_norm(s, x, norm->weight, norm->bias, norm->eps);
    return pieces ? mx_reshape(s, x, (int[]){1, rows, cols}, 3) : x;
}

static mx_array *scaled(mx_scope *s, mx_array *x, float factor)
{
    return factor == 1 ? x : mx_multiply(s, x, mx_scalar(s, factor, x));
}

void graph_embed(mlx_graph *g, const mx_array *tokens)
{
    const mlx_linear *e = &g->model->embedding;
    mx_array *rows = mx_take(g->s, e->weight, tokens, 0);
    if (e->bits)
        rows = mx_dequantize(g->s, rows, mx_take(g->s, e->scales, tokens, 0), mx_take(g->s, e->biases, tokens, 0), e->group_size, e->bits);
    g->hidden = scaled(g->s, rows, g->model->desc.embedding_scale);
}

// ---- Attention

// [1, rows, heads * head_dim] to [1, heads, rows, head_dim]
static mx_array *split_heads(mx_scope *s, mx_array *x, int rows, int heads, int head_dim)
{
    return mx_swap_axes(s, mx_reshape(s, x, (int[]){1, rows, heads, head_dim}, 4), 1, 2);
}

static mx_array *turn(const mlx_graph *g, const attention_desc *attention, mx_array *x, int position)
{
    if (attention->rope < 0) return x;
    const rope_desc *rope = &g->model->desc.ropes[attention->rope];
    if (rope->scale != 1 && rope->dims == attention->head_dim) x = scaled(g->s, x, rope->scale);
    else if (rope->scale != 1) x = mx_slice_update(g->s, x, scaled(g->s, mx_slice(g->s, x, 3, 0, rope->dims), rope->scale), 3, 0);
    return mx_rope(g->s, x, rope->dims, rope->traditional, position, rope->base, rope->position_scale, g->model->rope_freqs[attention->rope]);
}

static mx_array *mask_of(const mlx_graph *g, mlx_span *span, int window, int first)
{
    int which = window > 0;
    if (!span->masks[which] || span->mask_windows[which] != window) {
        int end = span->position + span->rows;
        mx_release(span->masks[which]);
        span->masks[which] = mx_keep(g->s, mx_mask(g->s, span->position, end, first, end, window));
        span->mask_windows[which] = window;
    }
    return span->masks[which];
}

// Scores are capped before the mask, which MLX's fused attention cannot do.
static mx_array *capped_attention(const mlx_graph *g, const attention_desc *a, mx_array *q, mx_array *k, mx_array *v, const mx_array *mask)
{
    mx_scope *s = g->s;
    int rows = mx_dim(q, 2), keys = mx_dim(k, 2), repeats = a->num_heads / a->num_kv_heads;
    q = mx_reshape(s, scaled(s, q, a->scale), (int[]){1, a->num_kv_heads, repeats * rows, a->head_dim}, 4);
    mx_array *scores = mx_softcap(s, mx_matmul(s, q, mx_swap_axes(s, k, 2, 3)), a->score_softcap);
    scores = mx_reshape(s, scores, (int[]){1, a->num_heads, rows, keys}, 4);
    if (mask) scores = mx_where(s, mask, scores);
    scores = mx_reshape(s, mx_softmax(s, scores), (int[]){1, a->num_kv_heads, repeats * rows, keys}, 4);
    return mx_reshape(s, mx_matmul(s, scores, v), (int[]){1, a->num_heads, rows, a->head_dim}, 4);
}

// Appends the span's keys and values to those of its sequence, and attends. q, k, v: [1, rows, heads * head_dim].
static mx_array *attend(const mlx_graph *g, mlx_span *span, int layer, mx_array *q, mx_array *k, mx_array *v, mlx_kv *next)
{
    mx_scope *s = g->s;
    const attention_desc *a = &g->model->desc.blocks[layer].attention;
    const mlx_kv *kv = &span->seq->layers[layer];
    int end = span->position + span->rows, first = a->window && span->position - a->window + 1 > 0 ? span->position - a->window + 1 : 0;
    q = turn(g, a, split_heads(s, q, span->rows, a->num_heads, a->head_dim), span->position);
    k = turn(g, a, split_heads(s, k, span->rows, a->num_kv_heads, a->head_dim), span->position);
    v = split_heads(s, v, span->rows, a->num_kv_heads, a->head_dim);
    if (kv->keys) {
        mx_array *keys = mx_slice_update(s, kv->keys, k, 2, span->position - kv->first);
        mx_array *values = mx_slice_update(s, kv->values, v, 2, span->position - kv->first);
        *next = (mlx_kv){mx_keep(s, keys), mx_keep(s, values), kv->first, kv->capacity};
        k = mx_slice(s, keys, 2, first - kv->first, end - kv->first);
        v = mx_slice(s, values, 2, first - kv->first, end - kv->first);
    } else // a probe, which keeps nothing
        *next = (mlx_kv){.keys = mx_keep(s, k), .values = mx_keep(s, v)};
    // Without a mask, the last row sees all keys from `first` on.
    bool all_seen = !a->window || end - 1 - first < a->window;
    mx_array *mask = span->rows == 1 || (all_seen && a->score_softcap == 0) ? NULL : mask_of(g, span, a->window, first);
    mx_array *y = a->score_softcap != 0 ? capped_attention(g, a, q, k, v, mask)
                                        : mx_attention(s, q, k, v, a->scale, span->rows > 1, mask);
    return mx_reshape(s, mx_swap_axes(s, y, 1, 2), (int[]){1, span->rows, a->num_heads * a->head_dim}, 3);
}

static mx_array *rows_of(const mlx_graph *g, mx_array *x, const mlx_span *span)
{
    return g->num_spans == 1 ? x : mx_slice(g->s, x, 1, span->row, span->row + span->rows);
}

// Linears and norms take all rows at once; each sequence attends for itself.
static mx_array *attention(mlx_graph *g, int layer, mx_array *x, mlx_kv *next)
{
    mx_scope *s = g->s;
    const mlx_block *block = &g->model->blocks[layer];
    mx_array *q = normalise(s, &block->q_norm, linear(g, &block->q, x));
    mx_array *k = normalise(s, &block->k_norm, linear(g, &block->k, x));
    mx_array *v = linear(g, &block->v, x);
    for (int i = 0; i < g->num_spans; i++) {
        mlx_span *span = &g->spans[i];
        g->parts[i] = attend(g, span, layer, rows_of(g, q, span), rows_of(g, k, span), rows_of(g, v, span), &next[i]);
    }
    return linear(g, &block->o, g->num_spans == 1 ? g->parts[0] : mx_concatenate(s, g->parts, g->num_spans, 1));
}

// ---- A layer, and the head

static mx_array *feed_forward(mlx_graph *g, const mlx_block *block, const ffn_desc *desc, mx_array *x)
{
    static const mx_activation kinds[] = {[ACTIVATION_SILU] = MX_SILU, [ACTIVATION_GELU] = MX_GELU, [ACTIVATION_GELU_TANH] = MX_GELU_TANH,
                                          [ACTIVATION_RELU2] = MX_RELU2};
    mx_scope *s = g->s;
    mx_array *up = linear(g, &block->up, x);
    mx_activation kind = kinds[desc->activation];
    mx_array *y = block->gate.weight ? mx_activate(s, kind, linear(g, &block->gate, x), up) : mx_activate(s, kind, up, NULL);
    return linear(g, &block->down, y);
}

// In float16, the residual stream of models that normalise what they add to it (Gemma) leaves the type's range: mlx-lm
// cuts it off there.
static mx_array *add_part(mx_scope *s, mx_array *hidden, mx_array *part, const mlx_norm *norm, float scale)
{
    dtype type;
    part = scaled(s, normalise(s, norm, part), scale);
    bool clip = norm->kind != NORM_NONE && hidden && mx_type(hidden, &type) && type == DTYPE_F16;
    return clip ? mx_add_clipped(s, hidden, part) : mx_add(s, hidden, part);
}

void graph_layer(mlx_graph *g, int layer, mlx_kv *next)
{
    mx_scope *s = g->s;
    const mlx_block *block = &g->model->blocks[layer];
    const block_desc *desc = &g->model->desc.blocks[layer];
    mx_array *part = attention(g, layer, normalise(s, &block->pre_attention, g->hidden), next);
    mx_array *hidden = add_part(s, g->hidden, part, &block->post_attention, desc->residual_scale);
    part = feed_forward(g, block, &desc->ffn, normalise(s, &block->pre_ffn, hidden));
    g->hidden = add_part(s, hidden, part, &block->post_ffn, desc->residual_scale);
}

mx_array *graph_head(mlx_graph *g, const mx_array *hidden)
{
    mx_scope *s = g->s;
    const mlx_model *model = g->model;
    mlx_linear head = model->head;
    if (!head.weight) {
        head = model->embedding;
        head.bias = model->head.bias;
    }
    mx_array *x = normalise(s, &model->final_norm, (mx_array *)(uintptr_t)hidden);
    mx_array *logits = scaled(s, linear(g, &head, x), model->desc.logit_scale);
    if (model->desc.logit_softcap != 0) logits = mx_softcap(s, logits, model->desc.logit_softcap);
    return mx_astype(s, logits, DTYPE_F32);
}
