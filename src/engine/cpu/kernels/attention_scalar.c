// Attention over pages of keys and values, and their storing, in plain C: the oracle of the vector variants.
#include "engine/cpu/kernels/tables.h"
#include <math.h>
#include <string.h>

// Dimension `dim` of a key or value in a page of integers; of 16 bits `by_high` of the high byte alone.
static int key_at(dtype type, int head_dim, const kv_page *page, int slot, int dim, bool by_high)
{
    int high = ((const int8_t *)page->keys)[kv_key_at(type, slot, dim)];
    return type == DTYPE_I16 ? kv_join(high, by_high ? 0 : page->low_keys[kv_low_key_at(head_dim, slot, dim)]) : high;
}

static int value_at(dtype type, int head_dim, const kv_page *page, int slot, int dim, bool by_high)
{
    size_t at = kv_value_at(type, head_dim, slot, dim);
    int high = ((const int8_t *)page->values)[at];
    return type == DTYPE_I16 ? kv_join(high, by_high ? 0 : page->low_values[at]) : high;
}

static void store(dtype type, void *data, size_t index, int8_t *low, size_t low_index, float value)
{
    if (type == DTYPE_F32) ((float *)data)[index] = value;
    else ((int8_t *)data)[index] = (int8_t)(type == DTYPE_I16 ? kv_high((int)value) : (int)value);
    if (type == DTYPE_I16) low[low_index] = (int8_t)kv_low((int)value);
}

// The largest magnitude becomes the largest integer. A NaN or an infinity makes the scale NaN: it shows in every product.
static float scale_of(dtype type, const float *x, int n)
{
    float largest = 0, zeros = 0;
    for (int i = 0; i < n; i++) largest = fmaxf(largest, fabsf(x[i])), zeros += x[i] * 0;
    return largest / (float)kv_largest(type) + zeros;
}

static float as_integer(float x, float scale)
{
    float value = scale > 0 && isfinite(scale) ? rintf(x * (1 / scale)) : 0;
    return isfinite(value) ? value : 0; // the scale was too small to have an inverse
}

void kv_store_scalar(const float *key, const float *value, int head_dim, dtype type, int slot, const kv_page *page)
{
    int group = type == DTYPE_F32 ? head_dim : kv_group_dims(type, head_dim);
    float value_scale = scale_of(type, value, head_dim);
    if (type != DTYPE_F32) page->value_scales[slot] = value_scale;
    for (int first = 0; first < head_dim; first += group) {
        int last = first + group < head_dim ? first + group : head_dim;
        float scale = scale_of(type, key + first, last - first);
        if (type != DTYPE_F32) page->key_scales[first / group * KV_PAGE_TOKENS + slot] = scale;
        for (int i = first; i < last; i++)
            store(type, page->keys, kv_key_at(type, slot, i), page->low_keys, kv_low_key_at(head_dim, slot, i), type == DTYPE_F32 ? key[i] : as_integer(key[i], scale));
    }
    if (type != DTYPE_F32 && head_dim % 2) store(type, page->keys, kv_key_at(type, slot, head_dim), page->low_keys, kv_low_key_at(head_dim, slot, head_dim), 0);
    for (int i = 0; i < head_dim; i++) {
        size_t at = kv_value_at(type, head_dim, slot, i);
        store(type, page->values, at, page->low_values, at, type == DTYPE_F32 ? value[i] : as_integer(value[i], value_scale));
    }
}

static float cap(float score, float softcap) { return softcap != 0 ? softcap * tanhf(score / softcap) : score; }

static float score_of(const attention_page_args *args, const float *query, int slot)
{
    float score = 0;
    for (int i = 0; i < args->head_dim; i++)
        score += query[i] * args->keys[kv_key_at(DTYPE_F32, slot, i)];
    return cap(score, args->softcap);
}

static void attend_row(const attention_page_args *args, int row)
{
    int head_dim = args->head_dim, begin = args->begin[row], end = args->end[row];
    const float *query = args->queries + (size_t)row * (size_t)head_dim;
    float *out = args->out + (size_t)row * (size_t)head_dim,
          *scores = args->scores + (size_t)row * KV_PAGE_TOKENS;
    float max = args->max[row];
    for (int slot = begin; slot < end; slot++) {
        scores[slot] = score_of(args, query, slot);
        max = fmaxf(max, scores[slot]);
    }
    if (begin >= end || max == -INFINITY) return;

    float rescale = expf(args->max[row] - max); // 0 at the first page, where max was -infinity
    args->max[row] = max;
    args->sum[row] *= rescale;
    for (int i = 0; i < head_dim; i++) out[i] *= rescale;
    for (int slot = begin; slot < end; slot++) {
        float weight = expf(scores[slot] - max);
        args->sum[row] += weight;
        for (int i = 0; i < head_dim; i++)
            out[i] += weight * args->values[kv_value_at(DTYPE_F32, head_dim, slot, i)];
    }
}

void attention_page_scalar(const attention_page_args *args)
{
    for (int row = 0; row < args->num_queries; row++) attend_row(args, row);
}

// The same as integers have it, but with weights as they are: the variants round them to 15 bits or so.
float attention_query_scalar(const float *query, int head_dim, dtype kv_type, int16_t *integers)
{
    float largest = 0, total = 0;
    for (int i = 0; i < head_dim; i++) largest = fmaxf(largest, fabsf(query[i])), total += fabsf(query[i]);
    float scale = largest * (1.0f / KV_FACTOR_MAX) + total / kv_sum_limit(kv_type);
    for (int i = 0; i < kv_even(head_dim); i++) integers[i] = (int16_t)(i < head_dim ? as_integer(query[i], scale) : 0);
    return scale;
}

// query . key, before the softcap, `by_high` of the high bytes alone.
static float integer_score(const attention_segment_args *args, int row, int slot, bool by_high)
{
    dtype type = args->kv_type;
    const kv_page *page = &args->pages[slot / KV_PAGE_TOKENS];
    const int16_t *query = args->queries + (size_t)row * (size_t)kv_even(args->head_dim);
    int at = slot % KV_PAGE_TOKENS, group = kv_group_dims(type, args->head_dim);
    float score = 0;
    for (int first = 0; first < args->head_dim; first += group) {
        int32_t sum = 0;
        for (int i = first; i < first + group && i < args->head_dim; i++)
            sum += query[i] * key_at(type, args->head_dim, page, at, i, by_high);
        score += (float)sum * page->key_scales[first / group * KV_PAGE_TOKENS + at];
    }
    return score * args->query_scales[row];
}

// Softmax over scores [begin, end), and the values it weighs: of a slot the high bytes alone where `precise` is 0.
static void weigh_values(const attention_segment_args *args, int row, const float *scores, const bool *precise)
{
    float max = -INFINITY, sum = 0, *out = args->out + (size_t)row * (size_t)args->head_dim;
    int begin = args->begin[row], end = args->end[row];
    for (int slot = begin; slot < end; slot++) max = fmaxf(max, cap(scores[slot], args->softcap));
    for (int i = 0; i < args->head_dim; i++) out[i] = 0;
    for (int slot = begin; slot < end; slot++) {
        const kv_page *page = &args->pages[slot / KV_PAGE_TOKENS];
        int at = slot % KV_PAGE_TOKENS;
        float weight = expf(cap(scores[slot], args->softcap) - max), scaled = weight * page->value_scales[at];
        sum += weight;
        for (int i = 0; i < args->head_dim; i++)
            out[i] += scaled * (float)value_at(args->kv_type, args->head_dim, page, at, i, !precise[slot]);
    }
    args->max[row] = max;
    args->sum[row] = sum;
}

void attention_segment_scalar(const attention_segment_args *args)
{
    float scores[KV_SEGMENT_TOKENS];
    bool precise[KV_SEGMENT_TOKENS];
    memset(precise, true, sizeof precise);
    for (int row = 0; row < args->num_queries; row++) {
        for (int slot = args->begin[row]; slot < args->end[row]; slot++) scores[slot] = integer_score(args, row, slot, false);
        weigh_values(args, row, scores, precise);
    }
}

void attention_scores_scalar(const attention_segment_args *args)
{
    for (int row = 0; row < args->num_queries; row++)
        for (int slot = args->begin[row]; slot < args->end[row]; slot++) {
            float *score = args->scores + (size_t)row * args->score_stride + slot;
            *score = integer_score(args, row, slot, true);
            args->largest[row] = fmaxf(args->largest[row], *score);
        }
}

// Whether some row's score in slots [slot, slot + count) that are seen comes within `nats` of its largest.
static bool matters(const attention_segment_args *args, int slot, int count, float nats)
{
    bool any = false;
    for (int row = 0; row < args->num_queries; row++)
        for (int i = slot; i < slot + count; i++) {
            if (i < args->begin[row] || i >= args->end[row]) continue;
            float score = args->scores[(size_t)row * args->score_stride + (size_t)i];
            any |= cap(score, args->softcap) > cap(args->largest[row], args->softcap) - nats;
        }
    return any;
}

void attention_values_scalar(const attention_segment_args *args)
{
    bool precise[KV_SEGMENT_TOKENS];
    for (int slot = 0; slot < KV_SEGMENT_TOKENS; slot += KV_BLOCK_TOKENS)
        memset(precise + slot, matters(args, slot, KV_BLOCK_TOKENS, KV_KEY_NATS), KV_BLOCK_TOKENS);
    for (int row = 0; row < args->num_queries; row++)
        for (int slot = args->begin[row]; slot < args->end[row]; slot++)
            if (precise[slot]) args->scores[(size_t)row * args->score_stride + (size_t)slot] = integer_score(args, row, slot, false);
    for (int slot = 0; slot < KV_SEGMENT_TOKENS; slot += 2) precise[slot] = precise[slot + 1] = matters(args, slot, 2, KV_VALUE_NATS);
    for (int row = 0; row < args->num_queries; row++) weigh_values(args, row, args->scores + (size_t)row * args->score_stride, precise);
}

void attention_merge_scalar(int num_queries, int head_dim, attention_state total, attention_state part)
{
    for (int row = 0; row < num_queries; row++) {
        if (part.max[row] == -INFINITY) continue;
        float top = fmaxf(total.max[row], part.max[row]);
        float keep = expf(total.max[row] - top), add = expf(part.max[row] - top);
        for (size_t i = (size_t)row * (size_t)head_dim; i < (size_t)(row + 1) * (size_t)head_dim; i++)
            total.out[i] = keep * total.out[i] + add * part.out[i];
        total.sum[row] = keep * total.sum[row] + add * part.sum[row];
        total.max[row] = top;
    }
}
