// llm_fuse: a model directory whose weights have an adapter in them. Weights that the adapter changes are dequantised,
// changed and quantised as they were, each rounded once to the model's own type; all else is copied byte for byte.
#include "base/mem.h"
#include "client/options.h"
#include "client/spec.h"
#include "formats/affine.h"
#include "models/adapter_source.h"
#include "models/new_directory.h"
#include "models/resolve.h"
#include "nn/adapter.h"
#include <dirent.h>
#include <math.h>
#include <string.h>

#define COPY_LIMIT ((size_t)1 << 30)
enum { CONFIG_LIMIT = 1 << 24 };

// Where an entry of the new files comes from: a tensor as it was, or a part of a matrix that is made.
typedef struct fuse_source {
    int tensor; // of the description; -1: as it was
    int part;   // 0: weight, 1: scales, 2: biases
} fuse_source;

typedef struct fuse_job {
    llm_fuse_options options;
    const char *source, *directory; // directory: where files are written
    model_files files;
    adapter adapter;
    const adapter_layer **layer_of; // [num_tensors]; NULL: none
    int *tensor_of;                 // [files.tensors.num_tensors]: of the description; -1: none
    safetensors_entry *entries;
    fuse_source *sources;
    size_t num_entries;
    float *row;                    // the longest
    uint8_t *row_bytes, *made[3];  // weight, scales, biases of the matrix that is being written
    uint64_t bytes;                // of all entries
    uint64_t done, total;          // of those that are made
} fuse_job;

// ---- What is written

static bool is_made(const fuse_job *job, int tensor)
{
    return tensor >= 0 && (job->layer_of[tensor] || (job->options.dequantize && job->files.weights.views[tensor].bits));
}

static size_t entry_bytes(const safetensors_entry *entry)
{
    size_t size = dtype_size(entry->type);
    for (int i = 0; i < entry->num_dims; i++) size *= entry->shape[i];
    return size;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), size = strlen(end);
    return length >= size && strcmp(text + length - size, end) == 0;
}

static void add_entry(fuse_job *job, const safetensors_tensor *t, dtype type, size_t last_dim, fuse_source source)
{
    safetensors_entry *entry = &job->entries[job->num_entries];
    *entry = (safetensors_entry){.name = t->name, .type = type, .num_dims = t->num_dims};
    memcpy(entry->shape, t->shape, sizeof entry->shape);
    if (source.tensor < 0) entry->data = t->data;
    else entry->shape[t->num_dims - 1] = last_dim;
    job->bytes += entry_bytes(entry);
    if (source.tensor >= 0) job->total += entry_bytes(entry);
    job->sources[job->num_entries++] = source;
}

// A matrix's weight, and right after it its scales and biases.
static void add_made(fuse_job *job, int tensor)
{
    const weight_view *view = &job->files.weights.views[tensor];
    const weight_source *source = &job->files.weights.sources[tensor];
    size_t cols = (size_t)view->cols;
    if (!view->bits || job->options.dequantize) {
        add_entry(job, source->weight, view->bits ? view->scale_type : view->type, cols, (fuse_source){tensor, 0});
        return;
    }
    add_entry(job, source->weight, DTYPE_U32, cols * (size_t)view->bits / 32, (fuse_source){tensor, 0});
    add_entry(job, source->scales, view->scale_type, cols / (size_t)view->group_size, (fuse_source){tensor, 1});
    add_entry(job, source->biases, view->scale_type, cols / (size_t)view->group_size, (fuse_source){tensor, 2});
}

static size_t index_of(const fuse_job *job, const safetensors_tensor *t)
{
    uint32_t index = 0;
    strmap_get(&job->files.tensors.by_name, t->name, strlen(t->name), &index);
    return index;
}

static llm_status plan(fuse_job *job, llm_error *err)
{
    const safetensors_model *files = &job->files.tensors;
    size_t count = files->num_tensors, tensors = (size_t)job->files.desc.num_tensors;
    job->layer_of = mem_alloc_zero(tensors, sizeof *job->layer_of);
    job->tensor_of = mem_alloc_zero(count, sizeof *job->tensor_of);
    job->entries = mem_alloc_zero(count, sizeof *job->entries);
    job->sources = mem_alloc_zero(count, sizeof *job->sources);
    if (!job->layer_of || !job->tensor_of || !job->entries || !job->sources) return error_no_memory(err, "a list of tensors");
    for (int i = 0; i < job->adapter.num_layers; i++) job->layer_of[job->adapter.layers[i].tensor] = &job->adapter.layers[i];
    for (size_t i = 0; i < count; i++) job->tensor_of[i] = -1;
    for (int i = 0; i < (int)tensors; i++) {
        const weight_source *source = &job->files.weights.sources[i];
        const safetensors_tensor *parts[] = {source->weight, source->scales, source->biases};
        for (int p = 0; p < 3; p++)
            if (parts[p]) job->tensor_of[index_of(job, parts[p])] = i;
    }
    for (size_t i = 0; i < count; i++) {
        const safetensors_tensor *t = files->tensors[i];
        int tensor = job->tensor_of[i];
        if (tensor < 0 && job->options.dequantize && ends_with(t->name, ".scales"))
            return error_set(err, LLM_UNSUPPORTED_FORMAT, "tensor %.150s belongs to a part that cannot be dequantised", t->name);
        if (!is_made(job, tensor)) add_entry(job, t, t->type, 0, (fuse_source){-1, 0});
        else if (t == job->files.weights.sources[tensor].weight) add_made(job, tensor);
    }
    return LLM_OK;
}

// ---- Matrices

static llm_status check_row(const fuse_job *job, int tensor, dtype type, const uint8_t *bytes, float *back, llm_error *err)
{
    const weight_view *view = &job->files.weights.views[tensor];
    dtype_to_float(type, bytes, back, (size_t)view->cols);
    for (int i = 0; i < view->cols; i++)
        if (!isfinite(back[i]))
            return error_set(err, LLM_ADAPTER_MERGE_FAILED, "the merged %.150s has a value that %s cannot hold",
                             job->files.desc.tensors[tensor].name, dtype_name(type));
    return LLM_OK;
}

static llm_status make_matrix(fuse_job *job, int tensor, llm_error *err)
{
    const weight_view *view = &job->files.weights.views[tensor];
    const adapter_layer *layer = job->layer_of[tensor];
    bool quantise = view->bits && !job->options.dequantize;
    dtype type = view->bits ? view->scale_type : view->type;
    size_t cols = (size_t)view->cols, row_bytes = quantise ? affine_row_size(cols, view->bits) : cols * dtype_size(type);
    size_t scale_bytes = quantise ? cols / (size_t)view->group_size * dtype_size(type) : 0, rows = (size_t)view->rows;
    size_t sizes[3] = {rows * row_bytes, rows * scale_bytes, rows * scale_bytes};
    for (int part = 0; part < 3; part++) {
        mem_free(job->made[part]);
        job->made[part] = mem_alloc(sizes[part] + 1);
        if (!job->made[part]) return error_no_memory(err, "a merged matrix");
    }
    llm_status status = LLM_OK;
    for (size_t row = 0; status == LLM_OK && row < rows; row++) {
        uint8_t *target = quantise ? job->row_bytes : job->made[0] + row * row_bytes;
        weight_view_row(view, (int)row, job->row);
        if (layer) adapter_merge_row(layer, (int)row, view->cols, job->row);
        dtype_from_float(type, job->row, target, cols);
        status = check_row(job, tensor, type, target, job->row, err);
        if (status == LLM_OK && quantise)
            affine_quantize(type, target, 1, cols, view->bits, view->group_size, job->made[0] + row * row_bytes,
                            job->made[1] + row * scale_bytes, job->made[2] + row * scale_bytes);
    }
    return status;
}

static llm_status next_entry(void *user, size_t index, const void **data, llm_error *err)
{
    fuse_job *job = user;
    fuse_source source = job->sources[index];
    llm_status status = LLM_OK;
    if (job->options.progress && job->options.progress(job->options.user, "merging", (double)job->done / (double)(job->total + 1)) != 0)
        return error_set(err, LLM_CANCELLED, "the merge was cancelled");
    if (source.part == 0) status = make_matrix(job, source.tensor, err);
    *data = job->made[source.part];
    job->done += entry_bytes(&job->entries[index]);
    return status;
}

static llm_status write_weights(fuse_job *job, llm_error *err)
{
    size_t longest = 1;
    for (int i = 0; i < job->files.desc.num_tensors; i++)
        if ((size_t)job->files.desc.tensors[i].cols > longest) longest = (size_t)job->files.desc.tensors[i].cols;
    job->row = mem_alloc_zero(longest, sizeof *job->row);
    job->row_bytes = mem_alloc_zero(longest, sizeof(float));
    if (!job->row || !job->row_bytes) return error_no_memory(err, "a row of weights");
    return safetensors_model_write(job->directory, job->entries, job->num_entries, SAFETENSORS_SHARD_LIMIT,
                                   job->files.weights.num_parameters, next_entry, job, err);
}

// ---- The other files

static llm_status write_file(const fuse_job *job, const char *name, const void *data, size_t length, llm_error *err)
{
    char *path = path_join(job->directory, name);
    if (!path) return error_no_memory(err, name);
    llm_status status = file_write(path, data, length, err);
    mem_free(path);
    return status;
}

static llm_status copy_file(const fuse_job *job, const char *name, llm_error *err)
{
    char *path = path_join(job->source, name), *data = NULL;
    size_t length;
    if (!path) return error_no_memory(err, name);
    llm_status status = file_read(path, COPY_LIMIT, &data, &length, err);
    if (status == LLM_OK) status = write_file(job, name, data, length, err);
    mem_free(data);
    mem_free(path);
    return status;
}

static void *json_malloc(void *ctx, size_t size) { return (void)ctx, mem_alloc(size); }
static void *json_realloc(void *ctx, void *block, size_t old_size, size_t size) { return (void)ctx, (void)old_size, mem_realloc(block, 1, size); }
static void json_release(void *ctx, void *block) { (void)ctx, mem_free(block); }

// config.json without a word of quantisation.
static llm_status write_plain_config(const fuse_job *job, llm_error *err)
{
    static const yyjson_alc memory = {json_malloc, json_realloc, json_release, NULL};
    size_t length;
    yyjson_mut_doc *doc = yyjson_doc_mut_copy(job->files.config.doc, &memory);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    if (!root) return error_no_memory(err, "config.json");
    yyjson_mut_obj_remove_key(root, "quantization");
    yyjson_mut_obj_remove_key(root, "quantization_config");
    char *text = yyjson_mut_write_opts(doc, YYJSON_WRITE_PRETTY, &memory, &length, NULL);
    llm_status status = text ? write_file(job, "config.json", text, length, err) : error_no_memory(err, "config.json");
    mem_free(text);
    yyjson_mut_doc_free(doc);
    return status;
}

// Configuration, tokenizer and template, as MLX tools take them along.
static bool is_copied(const char *name)
{
    static const char *const kinds[] = {".json", ".jinja", ".txt", ".model", ".tiktoken"};
    bool known = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) known = known || ends_with(name, kinds[i]);
    return known && name[0] != '.' && !ends_with(name, ".index.json");
}

static llm_status copy_files(const fuse_job *job, llm_error *err)
{
    DIR *dir = opendir(job->source);
    if (!dir) return error_set(err, LLM_IO_ERROR, "cannot read the directory %s", job->source);
    llm_status status = LLM_OK;
    for (struct dirent *entry; status == LLM_OK && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (!is_copied(name)) continue;
        if (job->options.dequantize && strcmp(name, "config.json") == 0) status = write_plain_config(job, err);
        else status = copy_file(job, name, err);
    }
    closedir(dir);
    return status;
}

static llm_status fuse_into(void *user, const char *directory, llm_error *err)
{
    fuse_job *job = user;
    job->directory = directory;
    llm_status status = new_directory_check_space(directory, job->bytes, err);
    if (status == LLM_OK) status = copy_files(job, err);
    if (status == LLM_OK) status = write_weights(job, err);
    return status;
}

// ---- The whole

static void free_job(fuse_job *job)
{
    for (int part = 0; part < 3; part++) mem_free(job->made[part]);
    mem_free(job->row);
    mem_free(job->row_bytes);
    mem_free(job->layer_of);
    mem_free(job->tensor_of);
    mem_free(job->entries);
    mem_free(job->sources);
    adapter_close(&job->adapter);
    model_files_close(&job->files);
}

void llm_fuse_options_init(llm_fuse_options *options) { *options = (llm_fuse_options){.size = sizeof *options}; }

static llm_status fuse(const llm_model_spec *spec, const char *destination, fuse_job *job, llm_error *err)
{
    char *adapter = NULL, *base = NULL;
    llm_status status = spec_check_adapter(&spec->adapter, err);
    if (status == LLM_OK) status = adapter_directory(&spec->adapter, &adapter, err);
    if (status == LLM_OK) status = model_resolve_directory(spec->base, &base, err);
    if (status == LLM_OK) status = model_files_open(base, &job->files, err);
    if (status == LLM_OK) status = adapter_open(adapter, &job->files, &job->adapter, err);
    job->source = base;
    if (status == LLM_OK) status = plan(job, err);
    if (status == LLM_OK) status = new_directory_make(destination, fuse_into, job, err);
    free_job(job);
    mem_free(adapter);
    mem_free(base);
    return status;
}

llm_status llm_fuse(const llm_model_spec *spec, const char *destination, const llm_fuse_options *options, llm_error *err)
{
    llm_model_spec whole;
    fuse_job job = {0};
    if (!destination) return error_set(err, LLM_INVALID_ARGUMENT, "the destination is NULL");
    llm_fuse_options_init(&job.options);
    llm_status status = options ? options_read(&job.options, sizeof job.options, options, "llm_fuse_options_init", err) : LLM_OK;
    if (status == LLM_OK) status = spec_read_checked(spec, &whole, err);
    return status == LLM_OK ? fuse(&whole, destination, &job, err) : status;
}
