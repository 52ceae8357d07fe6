// The frame of a conversion: options, the temporary directory that becomes the destination in the end, the
// report.
#include "models/convert_job.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/affine.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

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

// The destination.

static llm_status system_error(llm_error *err, const char *doing, const char *path)
{
    char text[100];
    const char *reason = strerror_r(errno, text, sizeof text);
    return error_set(err, LLM_IO_ERROR, "cannot %s %s: %s", doing, path, reason);
}

static bool is_empty_directory(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) return false;
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(dir));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    return empty;
}

static llm_status check_destination(const char *path, llm_error *err)
{
    if (!*path) return error_set(err, LLM_INVALID_ARGUMENT, "the destination has no name");
    if (!file_exists(path) || is_empty_directory(path)) return LLM_OK;
    return error_set(err, LLM_INVALID_ARGUMENT, "the destination %s exists already", path);
}

// Removes a directory and the files in it: it is ours, and flat.
static void remove_directory(const char *path)
{
    DIR *dir = opendir(path);
    if (dir) {
        for (struct dirent *entry; (entry = readdir(dir));) unlinkat(dirfd(dir), entry->d_name, 0);
        closedir(dir);
    }
    rmdir(path);
}

// `temporary` is a template for mkdtemp beside the destination, so that the final rename stays on one file
// system.
static llm_status make_temporary(const char *temporary, llm_error *err)
{
    if (!mkdtemp((char *)(uintptr_t)temporary)) return system_error(err, "create", temporary);
    mode_t mask = umask(0);
    umask(mask);
    if (chmod(temporary, 0777 & ~mask) == 0) return LLM_OK;
    llm_status status = system_error(err, "create", temporary);
    remove_directory(temporary);
    return status;
}

static llm_status check_space(const convert_job *job, uint64_t needed, llm_error *err)
{
    struct statvfs fs;
    if (statvfs(job->directory, &fs) != 0) return LLM_OK; // writing will tell
    uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (needed <= available) return LLM_OK;
    return error_set_amounts(err, LLM_INSUFFICIENT_STORAGE, needed, available,
                             "the converted model needs %llu MB, there are %llu MB free",
                             (unsigned long long)(needed >> 20), (unsigned long long)(available >> 20));
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

static llm_status convert_into(convert_job *job, llm_error *err)
{
    gguf_file file = {0};
    safetensors_model model = {0};
    bool from_directory = file_is_directory(job->source);
    llm_status status =
        from_directory ? convert_from_directory(job, &model, err) : gguf_open(job->source, &file, err);
    if (status == LLM_OK && !from_directory) {
        status = convert_from_gguf(job, &file, err);
        if (status != LLM_OK) error_prefix(err, "%s", job->source);
    }
    if (status == LLM_OK) status = check_space(job, planned_size(job), err);
    if (status == LLM_OK) status = convert_write_weights(job, err);
    gguf_close(&file);
    safetensors_model_close(&model);
    return status;
}

// Into a temporary directory first; `destination` has no slash at its end.
static llm_status convert_beside(convert_job *job, const char *destination, llm_error *err)
{
    buf temporary = {0};
    buf_printf(&temporary, "%s.converting-XXXXXX", destination);
    if (temporary.failed) return error_no_memory(err, destination);
    llm_status status = make_temporary(temporary.data, err);
    if (status == LLM_OK) {
        job->directory = temporary.data;
        status = convert_into(job, err);
        // rename replaces an empty directory, and nothing else
        if (status == LLM_OK && rename(temporary.data, destination) != 0)
            status = system_error(err, "create", destination);
        if (status != LLM_OK) remove_directory(temporary.data);
    }
    buf_free(&temporary);
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
    size_t length = strlen(destination);
    while (length > 1 && destination[length - 1] == '/') length--;
    char *target = mem_copy_bytes(destination, length);
    llm_status status = target ? check_options(&chosen, err) : error_no_memory(err, destination);
    if (status == LLM_OK) status = check_destination(target, err);
    if (status == LLM_OK) status = convert_beside(&job, target, err);
    if (status == LLM_OK && chosen.progress) chosen.progress(chosen.user, 1);
    mem_free(target);
    mem_free(job.tensors);
    arena_free(&job.memory);
    convert_report_free(&unwanted);
    return status;
}
