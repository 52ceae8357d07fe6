// Fits the tensors of an adapter's file to a model's: names to linears, shapes, and the arrays that engines take.
#include "nn/adapter.h"
#include "base/mem.h"
#include "nn/adapter_config.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_LIMIT = 1 << 22, NAME_SIZE = 256 };

// How a format names and lays out the parts of a module.
typedef struct adapter_format {
    const char *config_name; // for messages
    const char *file;
    const char *suffixes[NUM_PARTS];
    const char *other_magnitude; // as some versions write it
    bool transposed;             // A is [cols, rank] and B [rank, rows]
} adapter_format;

static const adapter_format mlx_format = {"MLX", "adapters.safetensors", {".lora_a", ".lora_b", ".m"}, NULL, true};
static const adapter_format peft_format = {"PEFT",
                                           "adapter_model.safetensors",
                                           {".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"},
                                           ".lora_magnitude_vector.weight",
                                           false};

// What the file has for one tensor of the model.
typedef struct adapter_module {
    const safetensors_tensor *parts[NUM_PARTS];
    int64_t rank;
    float scale;
} adapter_module;

typedef struct adapter_reader {
    const model_files *base;
    const model_desc *desc;
    const adapter_format *format;
    adapter_config config;
    safetensors_file file;
    strmap tensor_of;        // name of a tensor of the model: its index
    adapter_module *modules; // [desc->num_tensors]
    bool shapes_only;        // the values are not looked at
    adapter *out;
    llm_error *err;
} adapter_reader;

// ---- Names

// The part that a name ends with; *length is how much of it stands before. False: it ends with none.
static bool split_name(const adapter_reader *r, const char *name, adapter_part *part, size_t *length)
{
    size_t whole = strlen(name);
    for (int i = 0; i < NUM_PARTS + 1; i++) {
        const char *suffix = i < NUM_PARTS ? r->format->suffixes[i] : r->format->other_magnitude;
        size_t size = suffix ? strlen(suffix) : 0;
        if (!suffix || size >= whole || strcmp(name + whole - size, suffix) != 0) continue;
        *part = i < NUM_PARTS ? (adapter_part)i : PART_MAGNITUDE;
        *length = whole - size;
        return true;
    }
    return false;
}

// Where Hugging Face's models keep what ours have under the embedding's path; the longest come first.
static const char *const peft_roots[] = {"model.language_model.layers.", "language_model.model.layers.", "language_model.layers.",
                                         "model.layers.", "layers."};

// The model's name for a module of PEFT's; false: none that we know. Writes at most NAME_SIZE bytes.
static bool peft_to_model(const model_desc *desc, const char *module, char *name)
{
    const char *embedding = desc->tensors[desc->embedding].name, *head = desc->tensors[desc->head.weight].name;
    size_t root = strlen(embedding) - strlen("embed_tokens.weight"); // "model." stays
    for (size_t i = 0; i < sizeof peft_roots / sizeof *peft_roots; i++) {
        size_t length = strlen(peft_roots[i]);
        if (strncmp(module, peft_roots[i], length) != 0) continue;
        return snprintf(name, NAME_SIZE, "%.*slayers.%s", (int)root, embedding, module + length) < NAME_SIZE;
    }
    if (strcmp(module, "lm_head") == 0 && desc->head.weight != desc->embedding)
        return snprintf(name, NAME_SIZE, "%.*s", (int)(strlen(head) - strlen(".weight")), head) < NAME_SIZE;
    if (strstr(module, "embed_tokens")) return snprintf(name, NAME_SIZE, "%.*sembed_tokens", (int)root, embedding) < NAME_SIZE;
    return false;
}

static int block_of(const char *name)
{
    int block;
    const char *layers = strstr(name, "layers.");
    return layers && sscanf(layers, "layers.%9d.", &block) == 1 ? block : -1;
}

static llm_status unknown_tensor(adapter_reader *r, const char *name)
{
    return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "the adapter's tensor %.150s belongs to no linear layer of the model", name);
}

// Which tensor of the model a tensor of the adapter is about. `module` receives the module's path as the config
// knows it.
static llm_status find_target(adapter_reader *r, const safetensors_tensor *t, adapter_part *part, int *target, char *module)
{
    char name[NAME_SIZE], weight[NAME_SIZE];
    size_t length;
    uint32_t index;
    if (strstr(t->name, "lora_embedding_"))
        return error_set(r->err, LLM_UNSUPPORTED_FORMAT, "the adapter changes the embedding (%.150s), which is not supported", t->name);
    if (!split_name(r, t->name, part, &length) || length >= NAME_SIZE - sizeof ".weight") return unknown_tensor(r, t->name);
    snprintf(module, NAME_SIZE, "%.*s", (int)length, t->name);
    if (r->config.peft) {
        size_t root = strncmp(module, "base_model.model.", 17) == 0 ? 17 : 0;
        memmove(module, module + root, length - root + 1);
        if (!peft_to_model(r->desc, module, name)) return unknown_tensor(r, t->name);
    } else
        memcpy(name, module, length + 1);
    if (snprintf(weight, sizeof weight, "%.*s.weight", NAME_SIZE - 8, name) >= (int)sizeof weight ||
        !strmap_get(&r->tensor_of, weight, strlen(weight), &index))
        return unknown_tensor(r, t->name);
    if ((int)index == r->desc->embedding)
        return error_set(r->err, LLM_UNSUPPORTED_FORMAT, "the adapter changes the embedding (%.150s), which is not supported", t->name);
    if (!model_desc_is_linear(r->desc, (int)index)) return unknown_tensor(r, t->name);
    if (!adapter_config_covers(&r->config, module, block_of(module), r->desc->num_blocks))
        return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "adapter_config.json leaves out the layer of the adapter's tensor %.150s", t->name);
    *target = (int)index;
    return LLM_OK;
}

// ---- Shapes

static llm_status check_shape(adapter_reader *r, const safetensors_tensor *t, size_t rows, size_t cols)
{
    bool vector = rows == 0, fits = vector ? t->num_dims == 1 && t->shape[0] == cols
                                           : t->num_dims == 2 && t->shape[0] == rows && t->shape[1] == cols;
    char have[100] = "", need[60];
    if (fits && (t->type == DTYPE_F32 || t->type == DTYPE_F16 || t->type == DTYPE_BF16)) return LLM_OK;
    for (int i = 0; i < t->num_dims && strlen(have) < 70; i++)
        snprintf(have + strlen(have), sizeof have - strlen(have), "%s%zu", i ? ", " : "", t->shape[i]);
    if (vector) snprintf(need, sizeof need, "[%zu]", cols);
    else snprintf(need, sizeof need, "[%zu, %zu]", rows, cols);
    return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "the adapter's tensor %.150s is [%s] of %s; the model needs %s of F32, F16 or BF16",
                     t->name, have, dtype_name(t->type), need);
}

static llm_status check_finite(adapter_reader *r, const safetensors_tensor *t)
{
    float values[256];
    size_t size = dtype_size(t->type), count = t->size / size;
    for (size_t i = 0; i < count; i += 256) {
        size_t n = count - i < 256 ? count - i : 256;
        dtype_to_float(t->type, t->data + i * size, values, n);
        for (size_t k = 0; k < n; k++)
            if (!isfinite(values[k]))
                return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "the adapter's tensor %.150s has a value that is not a number", t->name);
    }
    return LLM_OK;
}

// PEFT puts a copy of the head beside its adapter. It has to be the model's: a trained or enlarged one is no adapter.
// Against a quantised head only the shape can be checked.
static llm_status check_base_copy(adapter_reader *r, const safetensors_tensor *t)
{
    const weight_view *view = &r->base->weights.views[r->desc->head.weight];
    llm_status status = check_shape(r, t, (size_t)view->rows, (size_t)view->cols);
    if (status != LLM_OK || view->bits || r->shapes_only) return status;
    float *rows = mem_alloc_zero((size_t)view->cols, 2 * sizeof *rows), *copy = rows + view->cols;
    if (!rows) return error_no_memory(r->err, "an adapter");
    for (int row = 0; status == LLM_OK && row < view->rows; row++) {
        weight_view_row(view, row, rows);
        dtype_to_float(t->type, t->data + (size_t)row * (size_t)view->cols * dtype_size(t->type), copy, (size_t)view->cols);
        for (int i = 0; status == LLM_OK && i < view->cols; i++)
            if (!(fabsf(copy[i] - rows[i]) <= 0.01f * fabsf(rows[i]) + 1e-6f)) // rounded to 16 bits, perhaps
                status = error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "the adapter's tensor %.150s is not the model's own", t->name);
    }
    mem_free(rows);
    return status;
}

static llm_status take_tensor(adapter_reader *r, const safetensors_tensor *t)
{
    char module[NAME_SIZE];
    if (r->config.peft && strcmp(t->name, "base_model.model.lm_head.base_layer.weight") == 0 && r->desc->head.weight != r->desc->embedding)
        return check_base_copy(r, t);
    adapter_part part = PART_A;
    int target = 0;
    llm_status status = find_target(r, t, &part, &target, module);
    if (status != LLM_OK) return status;
    adapter_module *m = &r->modules[target];
    const tensor_desc *weight = &r->desc->tensors[target];
    m->rank = adapter_config_rank(&r->config, module);
    m->scale = (float)adapter_config_scale(&r->config, module);
    if (part == PART_MAGNITUDE && !r->config.dora)
        return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "the adapter's tensor %.150s is of DoRA, and adapter_config.json does not speak of it",
                         t->name);
    if (m->parts[part]) return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "the adapter's tensor %.150s stands there twice", t->name);
    if (m->rank < 1 || !isfinite(m->scale))
        return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "adapter_config.json gives %.150s a rank of %lld", t->name, (long long)m->rank);
    size_t rank = (size_t)m->rank, rows = (size_t)weight->rows, cols = (size_t)weight->cols;
    if (part == PART_MAGNITUDE) status = check_shape(r, t, 0, rows);
    else if (part == PART_A) status = r->format->transposed ? check_shape(r, t, cols, rank) : check_shape(r, t, rank, cols);
    else status = r->format->transposed ? check_shape(r, t, rank, rows) : check_shape(r, t, rows, rank);
    if (status == LLM_OK && !r->shapes_only) status = check_finite(r, t);
    m->parts[part] = t;
    return status;
}

static llm_status check_complete(adapter_reader *r)
{
    for (int i = 0; i < r->desc->num_tensors; i++) {
        const adapter_module *m = &r->modules[i];
        const char *missing = !m->parts[PART_A] ? "A" : !m->parts[PART_B] ? "B" : r->config.dora && !m->parts[PART_MAGNITUDE] ? "magnitude" : NULL;
        if ((m->parts[PART_A] || m->parts[PART_B] || m->parts[PART_MAGNITUDE]) && missing)
            return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "the adapter has no %s for %.150s, but other parts", missing,
                             r->desc->tensors[i].name);
        r->out->num_layers += m->parts[PART_A] != NULL;
    }
    if (r->out->num_layers == 0) return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "the adapter changes nothing: it has no tensors");
    return LLM_OK;
}

// ---- Arrays

// Row-major floats; `transposed`: of the tensor [cols, rows].
static float *read_floats(arena *memory, const safetensors_tensor *t, size_t rows, size_t cols, bool transposed, float *scratch)
{
    float *values = arena_alloc_array(memory, rows, cols * sizeof *values);
    if (!values) return NULL;
    if (!transposed) {
        dtype_to_float(t->type, t->data, values, rows * cols);
        return values;
    }
    for (size_t col = 0; col < cols; col++) {
        dtype_to_float(t->type, t->data + col * rows * dtype_size(t->type), scratch, rows);
        for (size_t row = 0; row < rows; row++) values[row * cols + col] = scratch[row];
    }
    return values;
}

void adapter_merge_row(const adapter_layer *layer, int row, int cols, float *weights)
{
    const float *b = layer->b + (size_t)row * (size_t)layer->rank;
    float kept = layer->gain ? layer->gain[row] + 1 : 1;
    for (int col = 0; layer->gain && col < cols; col++) weights[col] *= kept;
    for (int r = 0; r < layer->rank; r++) {
        const float *a = layer->a + (size_t)r * (size_t)cols;
        for (int col = 0; col < cols; col++) weights[col] += b[r] * a[col];
    }
}

// DoRA: the rows of W + b a get the lengths m. `scratch` holds a row of W.
static void apply_magnitude(const weight_view *weight, const float *magnitude, adapter_layer *layer, float *b, float *gain, float *scratch)
{
    for (int row = 0; row < weight->rows; row++) {
        double sum = 0;
        weight_view_row(weight, row, scratch);
        layer->gain = NULL;
        adapter_merge_row(layer, row, weight->cols, scratch);
        for (int col = 0; col < weight->cols; col++) sum += (double)scratch[col] * (double)scratch[col];
        double kept = sum > 0 ? (double)magnitude[row] / sqrt(sum) : 0; // a row of zeros stays one
        gain[row] = (float)(kept - 1);
        for (int r = 0; r < layer->rank; r++) b[(size_t)row * (size_t)layer->rank + (size_t)r] *= (float)kept;
    }
    layer->gain = gain;
}

static llm_status make_layer(adapter_reader *r, int tensor, adapter_layer *layer, float *scratch)
{
    const adapter_module *m = &r->modules[tensor];
    const tensor_desc *weight = &r->desc->tensors[tensor];
    size_t rank = (size_t)m->rank, rows = (size_t)weight->rows, cols = (size_t)weight->cols;
    arena *memory = &r->out->memory;
    float *a = read_floats(memory, m->parts[PART_A], rank, cols, r->format->transposed, scratch);
    float *b = read_floats(memory, m->parts[PART_B], rows, rank, r->format->transposed, scratch);
    if (!a || !b) return error_no_memory(r->err, "an adapter");
    for (size_t i = 0; i < rows * rank; i++) b[i] *= m->scale;
    *layer = (adapter_layer){.tensor = tensor, .rank = (int)rank, .a = a, .b = b};
    if (!r->config.dora) return LLM_OK;
    float *magnitude = read_floats(memory, m->parts[PART_MAGNITUDE], 1, rows, false, scratch);
    float *gain = arena_alloc_array(memory, rows, sizeof *gain);
    if (!magnitude || !gain) return error_no_memory(r->err, "an adapter");
    apply_magnitude(&r->base->weights.views[tensor], magnitude, layer, b, gain, scratch);
    for (size_t i = 0; i < rows; i++)
        if (!isfinite(gain[i]))
            return error_set(r->err, LLM_ADAPTER_MERGE_FAILED, "the adapter's tensor %.150s is out of range", m->parts[PART_MAGNITUDE]->name);
    return LLM_OK;
}

// In place of arrays that are not read.
static const float no_values[1];

static llm_status list_shapes(adapter_reader *r)
{
    r->out->layers = arena_alloc_array(&r->out->memory, (size_t)r->out->num_layers, sizeof *r->out->layers);
    if (!r->out->layers) return error_no_memory(r->err, "an adapter");
    for (int i = 0, at = 0; i < r->desc->num_tensors; i++)
        if (r->modules[i].parts[PART_A])
            r->out->layers[at++] = (adapter_layer){.tensor = i, .rank = (int)r->modules[i].rank, .gain = r->config.dora ? no_values : NULL};
    return LLM_OK;
}

static llm_status make_layers(adapter_reader *r)
{
    size_t longest = 1;
    for (int i = 0; i < r->desc->num_tensors; i++) {
        const tensor_desc *t = &r->desc->tensors[i];
        size_t longer = (size_t)(t->rows > t->cols ? t->rows : t->cols);
        if (r->modules[i].parts[PART_A] && longer > longest) longest = longer;
        if (r->modules[i].parts[PART_A] && (size_t)r->modules[i].rank > longest) longest = (size_t)r->modules[i].rank;
    }
    float *scratch = mem_alloc_zero(longest, sizeof *scratch);
    r->out->layers = arena_alloc_array(&r->out->memory, (size_t)r->out->num_layers, sizeof *r->out->layers);
    llm_status status = scratch && r->out->layers ? LLM_OK : error_no_memory(r->err, "an adapter");
    for (int i = 0, at = 0; status == LLM_OK && i < r->desc->num_tensors; i++)
        if (r->modules[i].parts[PART_A]) status = make_layer(r, i, &r->out->layers[at++], scratch);
    mem_free(scratch);
    return status;
}

// ---- The whole adapter

static llm_status index_tensors(adapter_reader *r)
{
    r->modules = mem_alloc_zero((size_t)r->desc->num_tensors, sizeof *r->modules);
    bool complete = r->modules && strmap_init(&r->tensor_of, (size_t)r->desc->num_tensors);
    for (int i = 0; complete && i < r->desc->num_tensors; i++)
        complete = strmap_put(&r->tensor_of, r->desc->tensors[i].name, strlen(r->desc->tensors[i].name), (uint32_t)i);
    return complete ? LLM_OK : error_no_memory(r->err, "an adapter");
}

static llm_status open_file(adapter_reader *r, const char *directory)
{
    char *path = path_join(directory, r->format->file), *pickle = path_join(directory, "adapter_model.bin");
    llm_status status = path && pickle ? LLM_OK : error_no_memory(r->err, directory);
    if (status == LLM_OK && r->config.peft && !file_exists(path) && file_exists(pickle))
        status = error_set(r->err, LLM_UNSUPPORTED_FORMAT, "%s is a pickle, which is not read: save the adapter as safetensors", pickle);
    if (status == LLM_OK) status = safetensors_open(path, &r->file, r->err);
    mem_free(path);
    mem_free(pickle);
    return status;
}

static llm_status read_config(adapter_reader *r, const char *directory, yyjson_doc **doc)
{
    char *path = path_join(directory, "adapter_config.json");
    if (!path) return error_no_memory(r->err, directory);
    llm_status status = json_read_file(path, CONFIG_LIMIT, doc, r->err);
    if (status == LLM_OK && (status = adapter_config_read(yyjson_doc_get_root(*doc), &r->config, r->err)) != LLM_OK)
        error_prefix(r->err, "%s", path);
    r->format = r->config.peft ? &peft_format : &mlx_format;
    mem_free(path);
    return status;
}

static llm_status open_adapter(const char *directory, const model_files *base, bool shapes_only, adapter *a, llm_error *err)
{
    static const char *const names[2][2] = {{"MLX LoRA", "MLX DoRA"}, {"PEFT LoRA", "PEFT DoRA"}};
    yyjson_doc *doc = NULL;
    *a = (adapter){0};
    arena_init(&a->memory);
    adapter_reader r = {.base = base, .desc = &base->desc, .shapes_only = shapes_only, .out = a, .err = err};
    llm_status status = read_config(&r, directory, &doc);
    if (status == LLM_OK) status = open_file(&r, directory);
    if (status == LLM_OK) status = index_tensors(&r);
    for (size_t i = 0; status == LLM_OK && i < r.file.num_tensors; i++) status = take_tensor(&r, &r.file.tensors[i]);
    if (status == LLM_OK) status = check_complete(&r);
    if (status == LLM_OK) status = shapes_only ? list_shapes(&r) : make_layers(&r);
    a->format = names[r.config.peft][r.config.dora];
    strmap_free(&r.tensor_of);
    mem_free(r.modules);
    safetensors_close(&r.file);
    json_free(doc);
    if (status != LLM_OK) adapter_close(a);
    return status;
}

llm_status adapter_open(const char *directory, const model_files *base, adapter *a, llm_error *err)
{
    return open_adapter(directory, base, false, a, err);
}

llm_status adapter_open_shapes(const char *directory, const model_files *base, adapter *a, llm_error *err)
{
    return open_adapter(directory, base, true, a, err);
}

void adapter_close(adapter *a)
{
    arena_free(&a->memory);
    *a = (adapter){0};
}
