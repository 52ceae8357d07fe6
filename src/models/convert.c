// The frame of a conversion: options, sources, the report.
#include "models/convert_job.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/affine.h"
#include "models/new_directory.h"
#include <stdio.h>
#include <string.h>

llm_status convert_note(convert_job *job, llm_error *err, const char *format, ...)
{
    convert_report *report = job->report;
    buf line = {0};
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_append_string(&line, text);
    char *owned = buf_take(&line);
    if (!owned ||
        !mem_grow((void **)&report->lines, &report->capacity, report->num_lines + 1, sizeof *report->lines)) {
        mem_free(owned);
        return error_no_memory(err, "a report");
    }
    report->lines[report->num_lines++] = owned;
    return LLM_OK;
}

void convert_report_free(convert_report *report)
{
    for (size_t i = 0; i < report->num_lines; i++) mem_free(report->lines[i]);
    mem_free(report->lines);
    *report = (convert_report){0};
}

convert_tensor *convert_add(convert_job *job, const char *module, const char *suffix)
{
    char *module_copy = arena_copy(&job->memory, module, strlen(module));
    char *suffix_copy = arena_copy(&job->memory, suffix, strlen(suffix));
    if (!module_copy || !suffix_copy ||
        !mem_grow((void **)&job->tensors, &job->capacity, job->num_tensors + 1, sizeof *job->tensors))
        return NULL;
    convert_tensor *tensor = &job->tensors[job->num_tensors++];
    *tensor = (convert_tensor){.module = module_copy, .suffix = suffix_copy};
    return tensor;
}

void convert_set_shape(convert_tensor *tensor, int num_dims, const size_t *shape)
{
    tensor->num_dims = num_dims;
    tensor->rows = tensor->columns = 1;
    for (int i = 0; i < num_dims; i++) {
        tensor->shape[i] = shape[i];
        if (i < num_dims - 1)
            tensor->rows *= shape[i];
        else
            tensor->columns = shape[i];
    }
}

llm_status convert_write_file(const convert_job *job, const char *name, buf *text, llm_error *err)
{
    char *path = path_join(job->directory, name);
    llm_status status = LLM_OK;
    if (!path || text->failed)
        status = error_no_memory(err, name);
    else
        status = file_write(path, text->data, text->length, err);
    mem_free(path);
    buf_free(text);
    return status;
}

static llm_status check_options(convert_options *options, llm_error *err)
{
    dtype unused;
    if (options->group_size == 0) options->group_size = 64;
    if (options->bits != 0 && !affine_supported(options->bits, options->group_size))
        return error_set(
            err, LLM_INVALID_ARGUMENT,
            "%d bits in groups of %d: MLX has 2, 3, 4, 5, 6 and 8 bits in groups of 32, 64 and 128",
            options->bits, options->group_size);
    return options->dtype ? convert_parse_dtype(options->dtype, &unused, err) : LLM_OK;
}

static uint64_t planned_size(const convert_job *job)
{
    uint64_t total = 0;
    for (size_t i = 0; i < job->num_tensors; i++) {
        const convert_tensor *t = &job->tensors[i];
        uint64_t values = (uint64_t)t->rows * t->columns;
        total += t->bits ? values / 8 * (uint64_t)t->bits +
                               values / (uint64_t)t->group_size * 2 * dtype_size(t->type)
                         : values * dtype_size(t->type);
    }
    return total;
}

static llm_status convert_into(void *user, const char *directory, llm_error *err)
{
    convert_job *job = user;
    job->directory = directory;
    gguf_file file = {0};
    safetensors_model model = {0};
    bool from_directory = file_is_directory(job->source);
    llm_status status =
        from_directory ? convert_from_directory(job, &model, err) : gguf_open(job->source, &file, err);
    if (status == LLM_OK && !from_directory) {
        status = convert_from_gguf(job, &file, err);
        if (status != LLM_OK) error_prefix(err, "%s", job->source);
    }
    if (status == LLM_OK) status = new_directory_check_space(job->directory, planned_size(job), err);
    if (status == LLM_OK) status = convert_write_weights(job, err);
    gguf_close(&file);
    safetensors_model_close(&model);
    return status;
}

llm_status convert_model(const char *source, const char *destination, const convert_options *options,
                         convert_report *report, llm_error *err)
{
    convert_options chosen = options ? *options : (convert_options){0};
    convert_report unwanted = {0};
    convert_job job = {.options = &chosen, .report = report ? report : &unwanted, .source = source};
    *job.report = (convert_report){0};
    arena_init(&job.memory);
    llm_status status = check_options(&chosen, err);
    if (status == LLM_OK) status = new_directory_make(destination, convert_into, &job, err);
    if (status == LLM_OK && chosen.progress) chosen.progress(chosen.user, 1);
    mem_free(job.tensors);
    arena_free(&job.memory);
    convert_report_free(&unwanted);
    return status;
}
