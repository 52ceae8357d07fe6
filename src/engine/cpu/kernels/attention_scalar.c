// Attention over pages of keys and values, and their storing, in plain C: the oracle of the vector variants.
#include "engine/cpu/kernels/tables.h"
#include <math.h>

// Element `index` of a page's integers.
static int integer_at(dtype type, const void *data, size_t index)
{
    return type == DTYPE_I16 ? ((const int16_t *)data)[index] : ((const int8_t *)data)[index];
}

static void store(dtype type, void *data, size_t index, float value)
{
    if (type == DTYPE_F32) ((float *)data)[index] = value;
    else if (type == DTYPE_I16) ((int16_t *)data)[index] = (int16_t)value;
    else ((int8_t *)data)[index] = (int8_t)value;
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

void kv_store_scalar(const float *key, const float *value, int head_dim, dtype type, int slot, void *keys, void *values)
{
    char *key_data = (char *)keys + kv_key_scale_bytes(type, head_dim);
    char *value_data = (char *)values + kv_value_scale_bytes(type);
    int group = type == DTYPE_F32 ? head_dim : kv_group_dims(type, head_dim);
    float value_scale = scale_of(type, value, head_dim);
    if (type != DTYPE_F32) ((float *)values)[slot] = value_scale;
    for (int first = 0; first < head_dim; first += group) {
        int last = first + group < head_dim ? first + group : head_dim;
        float scale = scale_of(type, key + first, last - first);
        if (type != DTYPE_F32) ((float *)keys)[first / group * KV_PAGE_TOKENS + slot] = scale;
        for (int i = first; i < last; i++)
            store(type, key_data, kv_key_at(type, slot, i), type == DTYPE_F32 ? key[i] : as_integer(key[i], scale));
    }
    if (type != DTYPE_F32 && head_dim % 2) store(type, key_data, kv_key_at(type, slot, head_dim), 0);
    for (int i = 0; i < head_dim; i++)
        store(type, value_data, kv_value_at(type, head_dim, slot, i),
              type == DTYPE_F32 ? value[i] : as_integer(value[i], value_scale));
}

static float score_of(const attention_page_args *args, const float *query, int slot)
{
    float score = 0;
    for (int i = 0; i < args->head_dim; i++)
        score += query[i] * args->keys[kv_key_at(DTYPE_F32, slot, i)];
    return args->softcap != 0 ? args->softcap * tanhf(score / args->softcap) : score;
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

static float integer_score(const attention_segment_args *args, int row, int slot)
{
    dtype type = args->kv_type;
    const void *keys = args->keys[slot / KV_PAGE_TOKENS];
    const int16_t *query = args->queries + (size_t)row * (size_t)kv_even(args->head_dim);
    int at = slot % KV_PAGE_TOKENS, group = kv_group_dims(type, args->head_dim);
    const char *integers = (const char *)keys + kv_key_scale_bytes(type, args->head_dim);
    float score = 0;
    for (int first = 0; first < args->head_dim; first += group) {
        int32_t sum = 0;
        for (int i = first; i < first + group && i < args->head_dim; i++)
            sum += query[i] * integer_at(type, integers, kv_key_at(type, at, i));
        score += (float)sum * ((const float *)keys)[first / group * KV_PAGE_TOKENS + at];
    }
    score *= args->query_scales[row];
    return args->softcap != 0 ? args->softcap * tanhf(score / args->softcap) : score;
}

static void attend_segment_row(const attention_segment_args *args, int row)
{
    float scores[KV_SEGMENT_TOKENS], max = -INFINITY, sum = 0, *out = args->out + (size_t)row * (size_t)args->head_dim;
    int begin = args->begin[row], end = args->end[row];
    for (int slot = begin; slot < end; slot++) {
        scores[slot] = integer_score(args, row, slot);
        max = fmaxf(max, scores[slot]);
    }
    for (int i = 0; i < args->head_dim; i++) out[i] = 0;
    for (int slot = begin; slot < end; slot++) {
        const void *values = args->values[slot / KV_PAGE_TOKENS];
        const char *integers = (const char *)values + kv_value_scale_bytes(args->kv_type);
        int at = slot % KV_PAGE_TOKENS;
        float weight = expf(scores[slot] - max), scaled = weight * ((const float *)values)[at];
        sum += weight;
        for (int i = 0; i < args->head_dim; i++)
            out[i] += scaled * (float)integer_at(args->kv_type, integers, kv_value_at(args->kv_type, args->head_dim, at, i));
    }
    args->max[row] = max;
    args->sum[row] = sum;
}

void attention_segment_scalar(const attention_segment_args *args)
{
    for (int row = 0; row < args->num_queries; row++) attend_segment_row(args, row);
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
