// Pairs the tensors of a description with those of the files, by mlx-lm's rules: an entry for the module's
// path in "quantization" decides; without one a module that has scales is quantised as the shapes say.
#include "nn/weights.h"
#include "base/mem.h"
#include "formats/affine.h"
#include <stdio.h>
#include <string.h>

typedef struct resolver {
    const model_desc *desc;
    const model_config *config;
    const safetensors_model *files;
    model_weights *weights;
    bool *used;                     // [files->num_tensors]
    yyjson_val **entries;           // the values of config->quantization
    strmap entry_of;                // module path: index into entries
    uint64_t dense, packed[9][3];   // parameters of matrices: unquantised, and by bits and log2(group / 32)
    uint64_t elements[DTYPE_COUNT]; // unquantised ones and scales, by type
    llm_error *err;
} resolver;

// How one tensor is stored.
typedef struct storage {
    bool quantised, inferred;
    int64_t bits, group_size;
} storage;

static const safetensors_tensor *find_tensor(resolver *r, const char *name)
{
    uint32_t index;
    if (!strmap_get(&r->files->by_name, name, strlen(name), &index)) return NULL;
    r->used[index] = true;
    return r->files->tensors[index];
}

// "[64, 32] of BF16"
static void describe(const safetensors_tensor *tensor, char *text, size_t capacity)
{
    size_t used = 0;
    for (int i = 0; i < tensor->num_dims && used < capacity; i++)
        used += (size_t)snprintf(text + used, capacity - used, "%s%zu", i ? ", " : "[", tensor->shape[i]);
    if (used < capacity)
        snprintf(text + used, capacity - used, "%s of %s", tensor->num_dims ? "]" : "[]",
                 dtype_name(tensor->type));
}

static llm_status wrong_shape(resolver *r, const safetensors_tensor *tensor, size_t rows, size_t cols,
                              const char *type)
{
    char text[160];
    describe(tensor, text, sizeof text);
    return error_set(r->err, LLM_LOAD_FAILED, "tensor %.150s is %s; the model needs [%zu, %zu] of %s",
                     tensor->name, text, rows, cols, type);
}

// A vector (rows 1) may have one dimension.
static bool has_shape(const safetensors_tensor *tensor, size_t rows, size_t cols)
{
    if (tensor->num_dims == 1) return rows == 1 && tensor->shape[0] == cols;
    return tensor->num_dims == 2 && tensor->shape[0] == rows && tensor->shape[1] == cols;
}

static bool is_weight_type(dtype type)
{
    return type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16;
}

// A module's path followed by another part's name: "model.norm" + ".scales". False when it is too long for
// any tensor of ours.
static bool part_name(const tensor_desc *wanted, const char *part, char *name, size_t capacity)
{
    size_t length = strlen(wanted->name) - strlen(".weight");
    return snprintf(name, capacity, "%.*s%s", (int)length, wanted->name, part) < (int)capacity;
}

static bool is_module(const tensor_desc *wanted)
{
    size_t length = strlen(wanted->name), suffix = strlen(".weight");
    return wanted->rows > 1 && length > suffix && strcmp(wanted->name + length - suffix, ".weight") == 0;
}

static llm_status read_numbers(resolver *r, yyjson_val *object, storage *s)
{
    const char *mode;
    llm_status status = json_get_int(object, "bits", 4, &s->bits, r->err);
    if (status == LLM_OK) status = json_get_int(object, "group_size", 64, &s->group_size, r->err);
    if (status == LLM_OK) status = json_get_string(object, "mode", "affine", &mode, r->err);
    if (status == LLM_OK && strcmp(mode, "affine") != 0)
        return error_set(r->err, LLM_UNSUPPORTED_FORMAT, "quantisation mode \"%.60s\" is not supported",
                         mode);
    s->quantised = true;
    return status;
}

// What config.json says about a module, else what the shapes say.
static llm_status find_storage(resolver *r, const tensor_desc *wanted, const safetensors_tensor *weight,
                               storage *s)
{
    char name[256];
    uint32_t index;
    *s = (storage){0};
    if (!r->config->quantization || !is_module(wanted)) return LLM_OK;
    if (!part_name(wanted, "", name, sizeof name)) return LLM_OK;
    if (strmap_get(&r->entry_of, name, strlen(name), &index)) {
        yyjson_val *entry = r->entries[index];
        if (yyjson_is_false(entry)) return LLM_OK;
        if (yyjson_is_true(entry)) return read_numbers(r, r->config->quantization, s);
        if (yyjson_is_obj(entry)) return read_numbers(r, entry, s);
        return error_set(r->err, LLM_LOAD_FAILED,
                         "\"quantization\" says neither numbers nor true or false for %.150s", name);
    }
    part_name(wanted, ".scales", name, sizeof name);
    const safetensors_tensor *scales = safetensors_model_find(r->files, name);
    if (!scales) return LLM_OK;
    s->quantised = s->inferred = true;
    if (weight->num_dims == 2 && scales->num_dims == 2 && scales->shape[1] > 0 &&
        weight->shape[1] <= SIZE_MAX / 32) {
        s->group_size = (int64_t)((size_t)wanted->cols / scales->shape[1]);
        s->bits = (int64_t)(weight->shape[1] * 32 / (size_t)wanted->cols);
    }
    return LLM_OK;
}

static llm_status find_part(resolver *r, const tensor_desc *wanted, const char *part,
                            const safetensors_tensor **found)
{
    char name[256];
    *found = part_name(wanted, part, name, sizeof name) ? find_tensor(r, name) : NULL;
    return *found ? LLM_OK : error_set(r->err, LLM_LOAD_FAILED, "tensor %s is missing", name);
}

static llm_status resolve_quantised(resolver *r, const tensor_desc *wanted, const storage *s,
                                    weight_view *view, weight_source *source)
{
    size_t rows = (size_t)wanted->rows, cols = (size_t)wanted->cols;
    llm_status status = find_part(r, wanted, ".scales", &source->scales);
    if (status != LLM_OK) return status;
    if (source->scales->type == DTYPE_U8)
        return error_set(
            r->err, LLM_UNSUPPORTED_FORMAT,
            "tensor %.150s: a quantisation with 8-bit scales (mxfp4, nvfp4, mxfp8) is not supported",
            wanted->name);
    if (s->bits < 0 || s->bits > 32 || s->group_size < 0 || s->group_size > 65536 ||
        !affine_supported((int)s->bits, (int)s->group_size))
        return error_set(r->err, LLM_UNSUPPORTED_FORMAT,
                         "tensor %.150s: quantisation to %lld bits in groups of %lld is not supported",
                         wanted->name, (long long)s->bits, (long long)s->group_size);
    size_t words = cols * (size_t)s->bits / 32, groups = cols / (size_t)s->group_size;
    if (cols % (size_t)s->group_size)
        return error_set(r->err, LLM_LOAD_FAILED, "tensor %.150s: %zu columns are not whole groups of %d",
                         wanted->name, cols, (int)s->group_size);
    if (source->weight->type != DTYPE_U32 || !has_shape(source->weight, rows, words))
        return wrong_shape(r, source->weight, rows, words, "U32");
    if (!is_weight_type(source->scales->type) || !has_shape(source->scales, rows, groups))
        return wrong_shape(r, source->scales, rows, groups, "F32, F16 or BF16");
    status = find_part(r, wanted, ".biases", &source->biases);
    if (status != LLM_OK) return status;
    if (source->biases->type != source->scales->type || !has_shape(source->biases, rows, groups))
        return wrong_shape(r, source->biases, rows, groups, dtype_name(source->scales->type));
    view->bits = (int)s->bits;
    view->group_size = (int)s->group_size;
    view->scale_type = source->scales->type;
    view->scales = source->scales->data;
    view->biases = source->biases->data;
    return LLM_OK;
}

static llm_status check_dense(resolver *r, const tensor_desc *wanted, const safetensors_tensor *weight)
{
    if (weight->type == DTYPE_U32 && is_module(wanted))
        return error_set(r->err, LLM_LOAD_FAILED,
                         "tensor %.150s is packed, but config.json does not say how it is quantised",
                         weight->name);
    if (!is_weight_type(weight->type) || !has_shape(weight, (size_t)wanted->rows, (size_t)wanted->cols))
        return wrong_shape(r, weight, (size_t)wanted->rows, (size_t)wanted->cols, "F32, F16 or BF16");
    return LLM_OK;
}

static void count(resolver *r, const tensor_desc *wanted, const weight_view *view,
                  const weight_source *source)
{
    model_weights *w = r->weights;
    uint64_t elements = (uint64_t)wanted->rows * (uint64_t)wanted->cols;
    w->num_parameters += elements;
    w->total_bytes += source->weight->size;
    if (view->bits) {
        w->total_bytes += source->scales->size + source->biases->size;
        r->packed[view->bits][view->group_size / 64] += elements;
        r->elements[view->scale_type] += elements / (uint64_t)view->group_size;
    } else {
        r->elements[view->type] += elements;
        if (is_module(wanted)) r->dense += elements;
    }
}

static llm_status resolve_tensor(resolver *r, int i)
{
    const tensor_desc *wanted = &r->desc->tensors[i];
    weight_source *source = &r->weights->sources[i];
    weight_view *view = &r->weights->views[i];
    storage s;
    source->weight = find_tensor(r, wanted->name);
    if (!source->weight)
        return error_set(r->err, LLM_LOAD_FAILED,
                         "tensor %.150s is missing; the model needs it with shape [%d, %d]", wanted->name,
                         wanted->rows, wanted->cols);
    *view = (weight_view){.type = source->weight->type,
                          .rows = wanted->rows,
                          .cols = wanted->cols,
                          .data = source->weight->data};
    llm_status status = find_storage(r, wanted, source->weight, &s);
    if (status != LLM_OK) return status;
    status =
        s.quantised ? resolve_quantised(r, wanted, &s, view, source) : check_dense(r, wanted, source->weight);
    if (status == LLM_OK) count(r, wanted, view, source);
    return status;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

// What mlx-lm's sanitize drops: stored rotary frequencies, a head that is tied all the same, the parts of a
// multimodal model that text does not pass through.
static bool is_dropped(const model_desc *desc, const char *name)
{
    if (strstr(name, "rotary_emb.inv_freq")) return true;
    bool tied = desc->head.weight == desc->embedding, wrapped = strcmp(desc->family, "gemma3") == 0;
    if (wrapped && (starts_with(name, "vision_tower.") || starts_with(name, "multi_modal_projector.")))
        return true;
    return tied && starts_with(name, wrapped ? "language_model.lm_head." : "lm_head.");
}

// A tensor that nothing reads means that the description misses a part of the model.
static llm_status check_leftovers(resolver *r)
{
    for (size_t i = 0; i < r->files->num_tensors; i++) {
        const char *name = r->files->tensors[i]->name;
        if (r->used[i] || is_dropped(r->desc, name)) continue;
        size_t length = strlen(name);
        bool scales = length > 7 && (strcmp(name + length - 7, ".scales") == 0 ||
                                     strcmp(name + length - 7, ".biases") == 0);
        return error_set(r->err, LLM_LOAD_FAILED, "tensor %.150s is in the files, but %s", name,
                         scales ? "config.json does not say that it is quantised"
                                : "config.json describes a model without it");
    }
    return LLM_OK;
}

static void summarise(resolver *r)
{
    model_weights *w = r->weights;
    uint64_t most = 0, total = r->dense, most_elements = 0;
    for (int bits = 0; bits < 9; bits++)
        for (int group = 0; group < 3; group++) {
            uint64_t number = r->packed[bits][group];
            total += number;
            if (number > most) most = number, w->bits = bits, w->group_size = 32 << group;
        }
    w->mixed = most && most != total;
    for (int type = 0; type < DTYPE_COUNT; type++)
        if (r->elements[type] > most_elements) most_elements = r->elements[type], w->type = (dtype)type;
}

static llm_status index_entries(resolver *r)
{
    yyjson_val *key;
    size_t num_entries = yyjson_obj_size(r->config->quantization), i = 0;
    r->entries = mem_alloc_zero(num_entries + 1, sizeof *r->entries);
    if (!r->entries || !strmap_init(&r->entry_of, num_entries))
        return error_no_memory(r->err, "the quantisation map");
    yyjson_obj_iter keys = yyjson_obj_iter_with(r->config->quantization);
    while ((key = yyjson_obj_iter_next(&keys))) {
        r->entries[i] = yyjson_obj_iter_get_val(key);
        if (!strmap_put(&r->entry_of, yyjson_get_str(key), yyjson_get_len(key), (uint32_t)i++))
            return error_no_memory(r->err, "the quantisation map");
    }
    return LLM_OK;
}

static llm_status resolve(resolver *r)
{
    model_weights *w = r->weights;
    w->num_tensors = r->desc->num_tensors;
    w->views = mem_alloc_zero((size_t)w->num_tensors, sizeof *w->views);
    w->sources = mem_alloc_zero((size_t)w->num_tensors, sizeof *w->sources);
    r->used = mem_alloc_zero(r->files->num_tensors + 1, sizeof *r->used);
    if (!w->views || !w->sources || !r->used) return error_no_memory(r->err, "the table of weights");
    llm_status status = index_entries(r);
    for (int i = 0; i < w->num_tensors && status == LLM_OK; i++) status = resolve_tensor(r, i);
    if (status == LLM_OK) status = check_leftovers(r);
    if (status == LLM_OK) summarise(r);
    return status;
}

llm_status weights_resolve(const model_desc *desc, const model_config *config, const safetensors_model *files,
                           model_weights *weights, llm_error *err)
{
    resolver r = {.desc = desc, .config = config, .files = files, .weights = weights, .err = err};
    *weights = (model_weights){0};
    llm_status status = resolve(&r);
    strmap_free(&r.entry_of);
    mem_free(r.entries);
    mem_free(r.used);
    if (status != LLM_OK) weights_free(weights);
    return status;
}

void weights_free(model_weights *weights)
{
    mem_free(weights->views);
    mem_free(weights->sources);
    *weights = (model_weights){0};
}

static void release_tensor(void *user, int tensor)
{
    const weight_source *source = &((const model_weights *)user)->sources[tensor];
    safetensors_release(source->weight);
    if (source->scales) safetensors_release(source->scales);
    if (source->biases) safetensors_release(source->biases);
}

engine_weights weights_for_engine(model_weights *weights)
{
    return (engine_weights){.views = weights->views, .release = release_tensor, .user = weights};
}

void weight_view_row(const weight_view *view, int row, float *out)
{
    size_t cols = (size_t)view->cols, at = (size_t)row * cols;
    if (!view->bits) {
        dtype_to_float(view->type, (const uint8_t *)view->data + at * dtype_size(view->type), out, cols);
        return;
    }
    affine_matrix matrix = {.weight = view->data, .scales = view->scales, .biases = view->biases, .scale_type = view->scale_type,
                            .rows = (size_t)view->rows, .columns = cols, .bits = view->bits, .group_size = view->group_size};
    affine_dequantize(&matrix, (size_t)row, 1, out);
}
