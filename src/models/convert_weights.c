// How each tensor is stored, and its bytes.
//
// A GGUF file is taken over without loss where MLX can hold it. Its 4-, 5- and 8-bit types are groups of 32
// values scale * q + bias, as MLX's are (CONVERT_BLOCKS); scales and biases stay float16, as GGUF has them
// (the products of Q4_K and Q5_K are rounded to it). Q6_K has a scale for every 16 values, which MLX cannot
// hold: it becomes 8 bits in groups of 32, fitted with the rounded scale (CONVERT_FIT).
//
// MLX promotes float16 with float32, or with bfloat16, to float32; so a model should be of one type
// throughout, or all of its activations turn float32 in MLX. Scales being float16, everything else becomes
// float16 where float16 holds it exactly: in practice always, since norms and biases come from 8 bits of
// mantissa and moderate exponents. What float16 cannot hold stays as it is: exactness before speed, and
// mlx-lm loads it all the same.
//
// With a number of bits asked for, or from a Hugging Face directory, everything is as mlx-lm's convert has
// it: cast to the model's type first, then mx.quantize (CONVERT_MLX).
#include "models/convert_job.h"
#include "base/half.h"
#include "base/mem.h"
#include "formats/affine.h"
#include "formats/gguf_block.h"
#include <math.h>
#include <string.h>

enum { GGUF_GROUP = 32, FIT_BITS = 8 };

// Reading.

// llama.cpp stores the two halves of a head interleaved: its rows 2 * i and 2 * i + 1 are our i and half + i.
static size_t source_index(size_t index, size_t count, size_t heads)
{
    if (heads == 0) return index;
    size_t head_rows = count / heads, half = head_rows / 2, in_head = index % head_rows;
    return index - in_head + in_head % half * 2 + in_head / half;
}

static dtype source_type(const convert_tensor *t)
{
    if (t->safetensors) return t->safetensors->type;
    return t->gguf->type == GGUF_TYPE_F16    ? DTYPE_F16
           : t->gguf->type == GGUF_TYPE_BF16 ? DTYPE_BF16
                                             : DTYPE_F32;
}

// The bytes of a row as the source has them, or NULL if its values have to be computed.
static const uint8_t *raw_row(const convert_tensor *t, size_t row)
{
    if (t->safetensors) return t->safetensors->data + row * t->columns * dtype_size(t->safetensors->type);
    bool is_float =
        t->gguf->type == GGUF_TYPE_F32 || t->gguf->type == GGUF_TYPE_F16 || t->gguf->type == GGUF_TYPE_BF16;
    if (!is_float || t->minus_one || (t->permuted_heads && t->num_dims == 1)) return NULL;
    return t->gguf->data + source_index(row, t->rows, t->permuted_heads) * t->gguf->row_size;
}

// One row of final values. `scratch` has room for another row.
static void read_row(const convert_tensor *t, size_t row, float *values, float *scratch)
{
    if (t->safetensors) {
        dtype_to_float(t->safetensors->type, raw_row(t, row), values, t->columns);
        return;
    }
    if (t->num_dims == 1 && t->permuted_heads) {
        gguf_dequantize(t->gguf, 0, 1, scratch);
        for (size_t i = 0; i < t->columns; i++)
            values[i] = scratch[source_index(i, t->columns, t->permuted_heads)];
    } else {
        gguf_dequantize(t->gguf, source_index(row, t->rows, t->permuted_heads), 1, values);
    }
    for (size_t i = 0; t->minus_one && i < t->columns; i++) values[i] -= 1.0f;
}

static float rounded(dtype type, float value)
{
    unsigned char bytes[8];
    float back = value;
    if (dtype_from_float(type, &value, bytes, 1)) dtype_to_float(type, bytes, &back, 1);
    return back;
}

// The source's pages have been read; they need not stay in memory.
static void release(const convert_job *job, const convert_tensor *t)
{
    if (t->safetensors)
        safetensors_release(t->safetensors);
    else
        gguf_release(job->gguf, t->gguf);
}

// Planning.

llm_status convert_parse_dtype(const char *name, dtype *type, llm_error *err)
{
    if (strcmp(name, "float16") == 0)
        *type = DTYPE_F16;
    else if (strcmp(name, "bfloat16") == 0)
        *type = DTYPE_BF16;
    else if (strcmp(name, "float32") == 0)
        *type = DTYPE_F32;
    else
        return error_set(err, LLM_INVALID_ARGUMENT, "the type %.40s is not float16, bfloat16 or float32",
                         name);
    return LLM_OK;
}

const char *convert_dtype_name(dtype type)
{
    return type == DTYPE_F16 ? "float16" : type == DTYPE_BF16 ? "bfloat16" : "float32";
}

static void plan_as_mlx(convert_job *job, convert_tensor *t)
{
    int bits = job->options->bits, group_size = job->options->group_size;
    t->type = source_type(t);
    if (job->type != DTYPE_COUNT && dtype_is_float(t->type)) t->type = job->type;
    if (bits == 0 || !t->is_matrix || t->columns % (size_t)group_size) {
        job->report->num_exact += t->type == source_type(t) && raw_row(t, 0);
        return;
    }
    // mlx-lm's Granite asks for 8 bits where a layer's small values would suffer.
    bool delicate = strstr(t->module, "self_attn.o_proj") || strstr(t->module, "mlp.down_proj") ||
                    strcmp(t->module, "lm_head") == 0;
    if (job->granite && delicate && t->columns % 64 == 0) bits = 8, group_size = 64;
    t->bits = bits;
    t->group_size = group_size;
    t->method = CONVERT_MLX;
}

// Does `type` hold every value of the tensor?
static llm_status holds(const convert_tensor *t, dtype type, bool *exact, llm_error *err)
{
    *exact = true;
    if (type == DTYPE_F32 || (source_type(t) == type && raw_row(t, 0))) return LLM_OK;
    float *values = mem_alloc_zero(t->columns, 2 * sizeof *values);
    if (!values) return error_no_memory(err, "a row of weights");
    for (size_t row = 0; *exact && row < t->rows; row++) {
        read_row(t, row, values, values + t->columns);
        for (size_t i = 0; i < t->columns; i++)
            *exact &= float_to_bits(rounded(type, values[i])) == float_to_bits(values[i]);
    }
    mem_free(values);
    return LLM_OK;
}

static llm_status plan_plain(convert_job *job, convert_tensor *t, llm_error *err)
{
    bool exact;
    t->type = job->type;
    llm_status status = holds(t, t->type, &exact, err);
    if (status != LLM_OK) return status;
    if (!exact && job->options->dtype)
        return convert_note(job, err, "%s rounded to %s", t->gguf->name, convert_dtype_name(t->type));
    job->report->num_exact++;
    if (exact) return LLM_OK;
    t->type = source_type(t);
    return convert_note(job, err, "%s stays %s: %s cannot hold it exactly", t->gguf->name,
                        convert_dtype_name(t->type), convert_dtype_name(job->type));
}

// What rounding the scales of a tensor to `type` would do.
typedef struct scale_check {
    bool overflow;
    float max_error, max_weight; // of the weights
} scale_check;

static void check_scales(const convert_tensor *t, dtype type, scale_check *check)
{
    float max_q = (float)((1 << t->bits) - 1);
    *check = (scale_check){0};
    for (size_t row = 0; row < t->rows; row++) {
        const uint8_t *bytes = t->gguf->data + row * t->gguf->row_size;
        for (size_t g = 0; g < t->columns / GGUF_GROUP; g++) {
            float scale, bias;
            gguf_read_scale(t->gguf->type, bytes, g, &scale, &bias);
            float scale_error = rounded(type, scale) - scale, bias_error = rounded(type, bias) - bias;
            if ((isfinite(scale) && !isfinite(scale_error)) || (isfinite(bias) && !isfinite(bias_error)))
                check->overflow = true;
            // Both are linear in q: the extremes lie at its ends.
            check->max_error =
                fmaxf(check->max_error, fmaxf(fabsf(bias_error), fabsf(max_q * scale_error + bias_error)));
            check->max_weight = fmaxf(check->max_weight, fmaxf(fabsf(bias), fabsf(max_q * scale + bias)));
        }
    }
}

static llm_status plan_blocks(convert_job *job, convert_tensor *t, llm_error *err)
{
    scale_check check;
    t->bits = gguf_group_bits(t->gguf->type);
    t->group_size = GGUF_GROUP;
    t->method = CONVERT_BLOCKS;
    t->type = job->type;
    check_scales(t, t->type, &check);
    if (check.overflow) {
        t->type = DTYPE_F32;
        job->report->num_exact++;
        return convert_note(job, err, "%s (%s): its scales stay float32, %s cannot hold them", t->gguf->name,
                            gguf_type_name(t->gguf->type), convert_dtype_name(job->type));
    }
    if (check.max_error == 0) {
        job->report->num_exact++;
        return LLM_OK;
    }
    return convert_note(job, err, "%s (%s): scales rounded to %s, max error %.2g in weights up to %.2g",
                        t->gguf->name, gguf_type_name(t->gguf->type), convert_dtype_name(t->type),
                        (double)check.max_error, (double)check.max_weight);
}

static llm_status plan_lossless(convert_job *job, convert_tensor *t, llm_error *err)
{
    if (t->is_matrix && gguf_group_bits(t->gguf->type)) return plan_blocks(job, t, err);
    if (!t->is_matrix || t->gguf->type != GGUF_TYPE_Q6_K) return plan_plain(job, t, err);
    t->bits = FIT_BITS;
    t->group_size = GGUF_GROUP;
    t->method = CONVERT_FIT;
    t->type = job->type;
    return LLM_OK;
}

// The type of the whole model: float16 with quantised blocks, else the one that its matrices have.
static dtype common_type(const convert_job *job)
{
    size_t counts[DTYPE_COUNT] = {0};
    for (size_t i = 0; i < job->num_tensors; i++) {
        const convert_tensor *t = &job->tensors[i];
        if (!t->is_matrix) continue;
        if (t->gguf->type == GGUF_TYPE_Q6_K || gguf_group_bits(t->gguf->type)) return DTYPE_F16;
        counts[source_type(t)]++;
    }
    dtype most = counts[DTYPE_BF16] >= counts[DTYPE_F16] ? DTYPE_BF16 : DTYPE_F16;
    return counts[DTYPE_F32] > counts[most] ? DTYPE_F32 : most;
}

llm_status convert_plan(convert_job *job, llm_error *err)
{
    llm_status status = LLM_OK;
    if (!job->mlx_rules) job->type = common_type(job);
    if (job->options->dtype) status = convert_parse_dtype(job->options->dtype, &job->type, err);
    for (size_t i = 0; status == LLM_OK && i < job->num_tensors; i++) {
        convert_tensor *t = &job->tensors[i];
        if (job->mlx_rules) {
            plan_as_mlx(job, t);
        } else {
            status = plan_lossless(job, t, err);
            release(job, t);
        }
    }
    return status;
}

// Writing.

// Buffers for one tensor at a time.
typedef struct writer {
    convert_job *job;
    const size_t *tensor_of; // of an entry
    uint8_t *weight, *scales, *biases;
    size_t weight_capacity, scales_capacity, biases_capacity;
    float *row, *scratch; // the longest row
    uint8_t *row_bytes;
    double done, total; // bytes of the source
} writer;

static void take_blocks(writer *w, const convert_tensor *t)
{
    size_t groups = t->columns / GGUF_GROUP, group_bytes = affine_row_size(GGUF_GROUP, t->bits),
           scale_size = dtype_size(t->type);
    for (size_t row = 0; row < t->rows; row++) {
        const uint8_t *source =
            t->gguf->data + source_index(row, t->rows, t->permuted_heads) * t->gguf->row_size;
        for (size_t g = 0; g < groups; g++) {
            gguf_group group;
            size_t at = row * groups + g;
            gguf_read_group(t->gguf->type, source, g, &group);
            affine_pack(group.q, GGUF_GROUP, t->bits, w->weight + at * group_bytes);
            dtype_from_float(t->type, &group.scale, w->scales + at * scale_size, 1);
            dtype_from_float(t->type, &group.bias, w->biases + at * scale_size, 1);
        }
    }
}

// A value of `type` not above (up: not below) x, at most a step or two away.
static float rounded_towards(dtype type, float x, bool up)
{
    float value = rounded(type, x);
    if (up ? value >= x : value <= x) return value;
    float step = fabsf(x) * (type == DTYPE_BF16 ? 0x1p-7f : 0x1p-10f) + 0x1p-24f;
    return rounded(type, up ? x + step : x - step);
}

// 8 bits for a group: the scale and bias are rounded first, outwards, so that the q make up for it.
static void fit_group(const float *w, dtype type, float *scale, float *bias, uint8_t *q)
{
    float low = w[0], high = w[0];
    for (int i = 1; i < GGUF_GROUP; i++) {
        low = fminf(low, w[i]);
        high = fmaxf(high, w[i]);
    }
    *bias = rounded_towards(type, low, false);
    *scale = rounded_towards(type, (high - *bias) / 255, true);
    for (int i = 0; i < GGUF_GROUP; i++) {
        float x = *scale > 0 ? rintf((w[i] - *bias) / *scale) : 0;
        q[i] = (uint8_t)(x > 255 ? 255 : x > 0 ? x : 0);
    }
}

static llm_status fit_blocks(writer *w, const convert_tensor *t, llm_error *err)
{
    size_t groups = t->columns / GGUF_GROUP, scale_size = dtype_size(t->type);
    float max_error = 0, max_weight = 0;
    for (size_t row = 0; row < t->rows; row++) {
        read_row(t, row, w->row, w->scratch);
        for (size_t g = 0; g < groups; g++) {
            float scale, bias, *values = w->row + g * GGUF_GROUP;
            size_t at = row * groups + g;
            uint8_t *q = w->weight + at * GGUF_GROUP;
            fit_group(values, t->type, &scale, &bias, q);
            if (!isfinite(scale) || !isfinite(bias))
                return error_set(err, LLM_UNSUPPORTED_FORMAT, "tensor %s has values that %s cannot hold",
                                 t->gguf->name, convert_dtype_name(t->type));
            dtype_from_float(t->type, &scale, w->scales + at * scale_size, 1);
            dtype_from_float(t->type, &bias, w->biases + at * scale_size, 1);
            for (int i = 0; i < GGUF_GROUP; i++) {
                max_error = fmaxf(max_error, fabsf(scale * (float)q[i] + bias - values[i]));
                max_weight = fmaxf(max_weight, fabsf(values[i]));
            }
        }
    }
    return convert_note(w->job, err,
                        "%s (%s) requantised to 8 bits, groups of 32: max error %.2g in weights up to %.2g",
                        t->gguf->name, gguf_type_name(t->gguf->type), (double)max_error, (double)max_weight);
}

static void quantize_as_mlx(writer *w, const convert_tensor *t)
{
    size_t row_size = affine_row_size(t->columns, t->bits),
           scales_size = t->columns / (size_t)t->group_size * dtype_size(t->type);
    for (size_t row = 0; row < t->rows; row++) {
        const void *source = source_type(t) == t->type ? raw_row(t, row) : NULL;
        if (!source) {
            read_row(t, row, w->row, w->scratch);
            dtype_from_float(t->type, w->row, w->row_bytes, t->columns);
            source = w->row_bytes;
        }
        affine_quantize(t->type, source, 1, t->columns, t->bits, t->group_size, w->weight + row * row_size,
                        w->scales + row * scales_size, w->biases + row * scales_size);
    }
}

static void cast_plain(writer *w, const convert_tensor *t)
{
    size_t row_size = t->columns * dtype_size(t->type);
    for (size_t row = 0; row < t->rows; row++) {
        const uint8_t *raw = source_type(t) == t->type ? raw_row(t, row) : NULL;
        if (raw) {
            memcpy(w->weight + row * row_size, raw, row_size);
            continue;
        }
        read_row(t, row, w->row, w->scratch);
        dtype_from_float(t->type, w->row, w->weight + row * row_size, t->columns);
    }
}

static llm_status make_tensor(writer *w, const convert_tensor *t, llm_error *err)
{
    size_t weight_size =
        t->rows * (t->bits ? affine_row_size(t->columns, t->bits) : t->columns * dtype_size(t->type));
    size_t scales_size = t->bits ? t->rows * (t->columns / (size_t)t->group_size) * dtype_size(t->type) : 0;
    if (!mem_grow((void **)&w->weight, &w->weight_capacity, weight_size, 1) ||
        !mem_grow((void **)&w->scales, &w->scales_capacity, scales_size, 1) ||
        !mem_grow((void **)&w->biases, &w->biases_capacity, scales_size, 1))
        return error_no_memory(err, "a converted tensor");
    llm_status status = LLM_OK;
    if (t->bits == 0)
        cast_plain(w, t);
    else if (t->method == CONVERT_BLOCKS)
        take_blocks(w, t);
    else if (t->method == CONVERT_FIT)
        status = fit_blocks(w, t, err);
    else
        quantize_as_mlx(w, t);
    release(w->job, t);
    return status;
}

// safetensors_fill: a tensor is made when its weight is asked for; its scales and biases come right after.
static llm_status fill(void *user, size_t index, const void **data, llm_error *err)
{
    writer *w = user;
    const convert_options *options = w->job->options;
    size_t part = 0;
    while (part < index && w->tensor_of[index - part - 1] == w->tensor_of[index]) part++;
    *data = part == 0 ? w->weight : part == 1 ? w->scales : w->biases;
    if (part > 0) return LLM_OK;
    const convert_tensor *t = &w->job->tensors[w->tensor_of[index]];
    if (options->progress && !options->progress(options->user, w->done / w->total))
        return error_set(err, LLM_CANCELLED, "the conversion was cancelled");
    llm_status status = make_tensor(w, t, err);
    *data = w->weight;
    w->done += (double)t->rows * (double)t->columns;
    return status;
}

static bool add_entry(convert_job *job, const convert_tensor *t, const char *suffix, safetensors_entry *entry)
{
    size_t capacity = strlen(t->module) + strlen(suffix) + 2;
    char *name = arena_alloc(&job->memory, capacity);
    if (!name) return false;
    *entry = (safetensors_entry){.name = name, .type = t->type, .num_dims = t->num_dims};
    memcpy(entry->shape, t->shape, sizeof entry->shape);
    strcpy(name, t->module);
    strcat(strcat(name, "."), suffix);
    return true;
}

static bool add_entries(convert_job *job, const convert_tensor *t, safetensors_entry *entries, size_t *count)
{
    safetensors_entry *weight = &entries[*count];
    if (!add_entry(job, t, t->suffix, weight)) return false;
    *count += 1;
    if (t->bits == 0) return true;
    weight->type = DTYPE_U32;
    weight->shape[1] = t->columns * (size_t)t->bits / 32;
    if (!add_entry(job, t, "scales", weight + 1) || !add_entry(job, t, "biases", weight + 2)) return false;
    weight[1].shape[1] = weight[2].shape[1] = t->columns / (size_t)t->group_size;
    *count += 2;
    return true;
}

llm_status convert_write_weights(convert_job *job, llm_error *err)
{
    size_t count = 0, longest = 1;
    uint64_t parameters = 0;
    llm_status status = error_no_memory(err, "a list of tensors");
    writer w = {.job = job, .total = 1};
    safetensors_entry *entries = mem_alloc_zero(job->num_tensors, 3 * sizeof *entries);
    size_t *tensor_of = mem_alloc_zero(job->num_tensors, 3 * sizeof *tensor_of);
    if (!entries || !tensor_of) goto done;
    for (size_t i = 0; i < job->num_tensors; i++) {
        const convert_tensor *t = &job->tensors[i];
        size_t first = count;
        if (!add_entries(job, t, entries, &count)) goto done;
        while (first < count) tensor_of[first++] = i;
        if (t->columns > longest) longest = t->columns;
        parameters += t->rows * t->columns;
    }
    for (size_t i = 0; i < count; i++) {
        size_t size = dtype_size(entries[i].type);
        for (int d = 0; d < entries[i].num_dims; d++) size *= entries[i].shape[d];
        job->report->total_bytes += size;
    }
    w.total += (double)parameters;
    w.tensor_of = tensor_of;
    w.row = mem_alloc_zero(longest, sizeof *w.row);
    w.scratch = mem_alloc_zero(longest, sizeof *w.scratch);
    w.row_bytes = mem_alloc_zero(longest, sizeof(float));
    if (!w.row || !w.scratch || !w.row_bytes) goto done;
    job->report->num_tensors = job->num_tensors;
    status = safetensors_model_write(job->directory, entries, count, SAFETENSORS_SHARD_LIMIT, parameters,
                                     fill, &w, err);
done:
    mem_free(w.row);
    mem_free(w.scratch);
    mem_free(w.row_bytes);
    mem_free(w.weight);
    mem_free(w.scales);
    mem_free(w.biases);
    mem_free(entries);
    mem_free(tensor_of);
    return status;
}

// config.json's part.

static bool same_form(const convert_tensor *a, int bits, int group_size)
{
    return a->bits == bits && a->group_size == group_size;
}

// The form that most quantised tensors have: the one that the config names once for all.
static void common_form(const convert_job *job, int *bits, int *group_size)
{
    size_t most = 0;
    *bits = job->mlx_rules ? job->options->bits : 0;
    *group_size = job->options->group_size;
    for (size_t i = 0; !job->mlx_rules && i < job->num_tensors; i++) {
        const convert_tensor *t = &job->tensors[i];
        if (!t->bits || same_form(t, *bits, *group_size)) continue;
        size_t count = 0;
        for (size_t k = 0; k < job->num_tensors; k++)
            count += same_form(&job->tensors[k], t->bits, t->group_size);
        if (count <= most) continue;
        most = count;
        *bits = t->bits;
        *group_size = t->group_size;
    }
}

void convert_put_quantization(const convert_job *job, buf *text)
{
    int bits, group_size;
    common_form(job, &bits, &group_size);
    if (bits == 0) return;
    static const char *const keys[] = {"quantization", "quantization_config"};
    for (int k = 0; k < 2; k++) {
        buf_printf(text,
                   ",\n    \"%s\": {\n        \"group_size\": %d,\n        \"bits\": %d,\n        \"mode\": "
                   "\"affine\"",
                   keys[k], group_size, bits);
        for (size_t i = 0; i < job->num_tensors; i++) {
            const convert_tensor *t = &job->tensors[i];
            if (!t->bits || same_form(t, bits, group_size)) continue;
            buf_append_string(text, ",\n        ");
            buf_append_json_string(text, t->module, strlen(t->module));
            buf_printf(text, ": {\n            \"group_size\": %d,\n            \"bits\": %d\n        }",
                       t->group_size, t->bits);
        }
        buf_append_string(text, "\n    }");
    }
}
