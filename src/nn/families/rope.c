// Rotary frequencies. Every scaling kind ends as a period per pair of elements (MLX calls them freqs) and one
// factor; inv_freq is the inverse. Computed in double and rounded once.
#include "nn/families/family.h"
#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

// One rope while it is computed: periods [dims / 2].
typedef struct rope_work {
    family_builder *b; // its `values` are the scaling object's
    const family_rope *rope;
    double *periods;
    int count;
    double scale;
    double base, position_scale; // as in rope_desc
} rope_work;

static void scale_none(rope_work *w)
{
    w->base = w->rope->base;
}

static void scale_linear(rope_work *w)
{
    double factor = family_positive(w->b, "factor", NAN);
    for (int i = 0; i < w->count; i++) w->periods[i] *= factor;
    w->base = w->rope->base;
    w->position_scale = 1 / factor;
}

// Long wavelengths are stretched by the factor, short ones kept, and those between interpolated.
static void scale_llama3(rope_work *w)
{
    double factor = family_positive(w->b, "factor", NAN);
    double low = family_positive(w->b, "low_freq_factor", 1),
           high = family_positive(w->b, "high_freq_factor", 4);
    double original = family_positive(w->b, "original_max_position_embeddings", 8192);
    if (w->b->status == LLM_OK && !(high > low))
        family_damaged(w->b, "\"high_freq_factor\" must exceed \"low_freq_factor\"");
    for (int i = 0; i < w->count && w->b->status == LLM_OK; i++) {
        double wavelength = 2 * PI * w->periods[i];
        double smooth = (original / wavelength - low) / (high - low);
        if (wavelength > original / low)
            w->periods[i] *= factor;
        else if (wavelength > original / high)
            w->periods[i] /= (1 - smooth) / factor + smooth;
    }
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

// The (fractional) pair that turns `rotations` times within the original context.
static double yarn_pair(const rope_work *w, double original, double rotations)
{
    return w->rope->dims * log(original / (rotations * 2 * PI)) / (2 * log(w->rope->base));
}

static void scale_yarn(rope_work *w)
{
    double factor = family_positive(w->b, "factor", NAN);
    double original = family_positive(w->b, "original_max_position_embeddings", 4096);
    double beta_fast = family_positive(w->b, "beta_fast", 32),
           beta_slow = family_positive(w->b, "beta_slow", 1);
    double mscale = family_number(w->b, "mscale", 1),
           mscale_all_dim = family_number(w->b, "mscale_all_dim", 0);
    if (w->b->status != LLM_OK) return;
    double low = fmax(floor(yarn_pair(w, original, beta_fast)), 0);
    double high = fmin(ceil(yarn_pair(w, original, beta_slow)), w->rope->dims - 1);
    if (low == high) high += 0.001;
    for (int i = 0; i < w->count; i++) {
        double ramp = fmin(fmax((i - low) / (high - low), 0), 1), plain = w->periods[i],
               stretched = factor * plain;
        w->periods[i] = stretched * plain / (stretched * (1 - ramp) + plain * ramp);
    }
    w->scale = yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all_dim);
}

// mlx-lm uses the long factors at every length, and so the same frequencies throughout a conversation.
static void scale_longrope(rope_work *w)
{
    family_builder *b = w->b;
    double fallback = w->rope->original_max_positions > 0 ? w->rope->original_max_positions : (double)NAN;
    double original = family_positive(b, "original_max_position_embeddings", fallback);
    yyjson_val *factors = yyjson_obj_get(b->values, "long_factor"), *item;
    if (b->status == LLM_OK && !(original > 1))
        family_damaged(b, "\"original_max_position_embeddings\" must exceed 1");
    if (b->status == LLM_OK && (!yyjson_is_arr(factors) || yyjson_arr_size(factors) != (size_t)w->count))
        family_damaged(b, "\"long_factor\" must be a list of %d numbers", w->count);
    if (b->status != LLM_OK) return;
    yyjson_arr_iter items = yyjson_arr_iter_with(factors);
    for (int i = 0; i < w->count && (item = yyjson_arr_iter_next(&items)); i++) {
        double factor = yyjson_get_num(item);
        if (!(factor >= 1e-30 && factor <= 1e30))
            family_damaged(b, "\"long_factor\" must have positive numbers only");
        w->periods[i] *= factor;
    }
    double stretch = w->rope->max_positions / original;
    w->scale = stretch <= 1 ? 1 : sqrt(1 + log(stretch) / log(original));
}

static const struct scaling_kind {
    const char *name;
    void (*apply)(rope_work *w);
} scaling_kinds[] = {
    {"default", scale_none}, {"linear", scale_linear},     {"llama3", scale_llama3},
    {"yarn", scale_yarn},    {"longrope", scale_longrope}, {"su", scale_longrope},
};

// mlx-lm looks at "type" first, then at the newer "rope_type".
static const struct scaling_kind *find_kind(family_builder *b)
{
    const char *newer = NULL, *name = NULL;
    if (b->status == LLM_OK) b->status = json_get_string(b->values, "rope_type", "default", &newer, b->err);
    if (b->status == LLM_OK) b->status = json_get_string(b->values, "type", newer, &name, b->err);
    if (b->status != LLM_OK) return NULL;
    for (size_t i = 0; i < sizeof scaling_kinds / sizeof *scaling_kinds; i++)
        if (strcmp(scaling_kinds[i].name, name) == 0) return &scaling_kinds[i];
    family_unsupported(b, "rope type \"%.60s\" is not supported", name);
    return NULL;
}

int family_add_rope(family_builder *b, const family_rope *rope)
{
    model_desc *d = b->desc;
    if (b->status == LLM_OK && (rope->dims < 2 || rope->dims % 2))
        family_damaged(b, "the position embedding turns %d elements of a head: that must be even",
                       rope->dims);
    if (b->status == LLM_OK && !(rope->base > 1 && rope->base <= 1e15))
        family_damaged(b, "\"rope_theta\" is out of range");
    if (b->status != LLM_OK) return -1;
    rope_work w = {.b = b, .rope = rope, .count = rope->dims / 2, .scale = 1, .position_scale = 1};
    w.periods = arena_alloc_array(&d->memory, (size_t)w.count, sizeof *w.periods);
    float *inv_freq = arena_alloc_array(&d->memory, (size_t)w.count, sizeof *inv_freq);
    if (!w.periods || !inv_freq) {
        b->status = error_no_memory(b->err, "a model description");
        return -1;
    }
    for (int i = 0; i < w.count; i++) w.periods[i] = pow(rope->base, 2.0 * i / rope->dims);
    yyjson_val *values = b->values;
    b->values = rope->scaling;
    const struct scaling_kind *kind = find_kind(b);
    if (kind) kind->apply(&w);
    b->values = values;
    if (b->status != LLM_OK) return -1;
    for (int i = 0; i < w.count; i++) inv_freq[i] = (float)(1 / w.periods[i]);
    d->ropes[d->num_ropes] = (rope_desc){rope->dims,     rope->traditional, inv_freq,
                                          (float)w.scale, (float)w.base,     (float)w.position_scale};
    return d->num_ropes++;
}

// transformers 5 keeps both under rope_parameters.
double family_rope_base(family_builder *b, double fallback)
{
    yyjson_val *values = b->values;
    if (!family_has(b, "rope_theta") && family_has(b, "rope_parameters"))
        b->values = yyjson_obj_get(values, "rope_parameters");
    double base = family_positive(b, "rope_theta", fallback);
    b->values = values;
    return base;
}

yyjson_val *family_rope_scaling(family_builder *b)
{
    yyjson_val *scaling = NULL;
    const char *key = family_has(b, "rope_scaling") ? "rope_scaling" : "rope_parameters";
    if (b->status == LLM_OK) b->status = json_get_object(b->values, key, &scaling, b->err);
    return scaling;
}
