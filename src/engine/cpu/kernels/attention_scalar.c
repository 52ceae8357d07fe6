// Attention over one page of keys and values in plain C: the oracle of the vector variants.
#include "engine/cpu/kernels/tables.h"
#include "base/half.h"
#include <math.h>

static const float F16_LARGEST = 65504;

static float load(dtype type, const void *data, size_t index)
{
    return type == DTYPE_F16 ? f16_to_float(((const uint16_t *)data)[index]) : ((const float *)data)[index];
}

// Values too large for float16 become its largest number: one infinity would spoil every later sum.
static void store(dtype type, void *data, size_t index, float value)
{
    if (type == DTYPE_F32)
        ((float *)data)[index] = value;
    else
        ((uint16_t *)data)[index] = float_to_f16(value > F16_LARGEST    ? F16_LARGEST
                                                 : value < -F16_LARGEST ? -F16_LARGEST
                                                                        : value);
}

void kv_store_scalar(const float *key, const float *value, int head_dim, dtype kv_type, int slot, void *keys,
                     void *values)
{
    for (int i = 0; i < head_dim; i++) {
        store(kv_type, keys, (size_t)i * KV_PAGE_TOKENS + (size_t)slot, key[i]);
        store(kv_type, values, (size_t)slot * (size_t)head_dim + (size_t)i, value[i]);
    }
}

static float score_of(const attention_page_args *args, const float *query, int slot)
{
    float score = 0;
    for (int i = 0; i < args->head_dim; i++)
        score += query[i] * load(args->kv_type, args->keys, (size_t)i * KV_PAGE_TOKENS + (size_t)slot);
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
            out[i] += weight * load(args->kv_type, args->values, (size_t)slot * (size_t)head_dim + (size_t)i);
    }
}

void attention_page_scalar(const attention_page_args *args)
{
    for (int row = 0; row < args->num_queries; row++) attend_row(args, row);
}
