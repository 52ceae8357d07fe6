// Writing safetensors: a header, then the tensors' bytes as they come; and a sharded model with its index.
#include "formats/safetensors.h"
#include "base/buf.h"
#include "base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static llm_status entry_size(const safetensors_entry *entry, size_t *size, llm_error *err)
{
    *size = dtype_size(entry->type);
    bool fits = entry->num_dims >= 0 && entry->num_dims <= SAFETENSORS_MAX_DIMS;
    for (int i = 0; fits && i < entry->num_dims; i++) fits = mem_multiply(*size, entry->shape[i], size);
    if (fits) return LLM_OK;
    return error_set(err, LLM_INVALID_ARGUMENT, "tensor %s has no valid shape", entry->name);
}

// What is written beside the tensors.
typedef struct file_kind {
    const char *key, *text; // of one more metadata entry; NULL: none
    mode_t mode;
} file_kind;

static const file_kind model_kind = {.mode = 0644};

// The length of the header, the header, and spaces until the data begins on a multiple of 8.
static llm_status make_header(const file_kind *kind, const safetensors_entry *entries, size_t count, buf *header, llm_error *err)
{
    size_t offset = 0;
    buf_append(header, "\0\0\0\0\0\0\0\0", 8);
    buf_append_string(header, "{\"__metadata__\":{\"format\":\"mlx\"");
    if (kind->key) {
        buf_printf(header, ",\"%s\":", kind->key);
        buf_append_json_string(header, kind->text, strlen(kind->text));
    }
    buf_append_char(header, '}');
    for (size_t i = 0; i < count; i++) {
        size_t size;
        llm_status status = entry_size(&entries[i], &size, err);
        if (status != LLM_OK) return status;
        buf_append_char(header, ',');
        buf_append_json_string(header, entries[i].name, strlen(entries[i].name));
        buf_printf(header, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(entries[i].type));
        for (int d = 0; d < entries[i].num_dims; d++)
            buf_printf(header, "%s%zu", d ? "," : "", entries[i].shape[d]);
        buf_printf(header, "],\"data_offsets\":[%zu,%zu]}", offset, offset + size);
        if (!mem_add(offset, size, &offset))
            return error_set(err, LLM_INVALID_ARGUMENT, "the tensors are too large");
    }
    buf_append_char(header, '}');
    while (header->length % 8 && !header->failed) buf_append_char(header, ' ');
    if (header->failed) return error_no_memory(err, "a safetensors header");
    uint64_t length = header->length - 8;
    for (int i = 0; i < 8; i++) header->data[i] = (char)(length >> (8 * i));
    return LLM_OK;
}

static llm_status cannot_write(const char *path, llm_error *err)
{
    char text[100];
    const char *reason = strerror_r(errno, text, sizeof text);
    return error_set(err, LLM_IO_ERROR, "cannot write %s: %s", path, reason);
}

// `first` is the index of entries[0] in the whole model, for `fill`.
static llm_status write_data(FILE *stream, const char *path, const safetensors_entry *entries, size_t count,
                             size_t first, safetensors_fill fill, void *user, llm_error *err)
{
    for (size_t i = 0; i < count; i++) {
        size_t size;
        const void *data = entries[i].data;
        llm_status status = entry_size(&entries[i], &size, err);
        if (status == LLM_OK && !data && size > 0) {
            if (!fill) return error_set(err, LLM_INVALID_ARGUMENT, "tensor %s has no data", entries[i].name);
            status = fill(user, first + i, &data, err);
        }
        if (status != LLM_OK) return status;
        if (size > 0 && fwrite(data, 1, size, stream) != size) return cannot_write(path, err);
    }
    return LLM_OK;
}

static llm_status write_file(const char *path, const file_kind *kind, const safetensors_entry *entries, size_t count,
                             size_t first, safetensors_fill fill, void *user, llm_error *err)
{
    buf header = {0}, temporary = {0};
    FILE *stream = NULL;
    int fd = -1;
    llm_status status = make_header(kind, entries, count, &header, err);
    if (status != LLM_OK) goto done;
    buf_printf(&temporary, "%s.XXXXXX", path);
    if (temporary.failed) {
        status = error_no_memory(err, path);
        goto done;
    }
    fd = mkstemp(temporary.data);
    stream = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!stream) {
        status = cannot_write(path, err);
        if (fd >= 0) close(fd);
        goto done;
    }
    if (fwrite(header.data, 1, header.length, stream) != header.length) status = cannot_write(path, err);
    if (status == LLM_OK) status = write_data(stream, path, entries, count, first, fill, user, err);
    if (status == LLM_OK && fchmod(fd, kind->mode) != 0) status = cannot_write(path, err);
    if (fclose(stream) != 0 && status == LLM_OK) status = cannot_write(path, err);
    if (status == LLM_OK && rename(temporary.data, path) != 0) status = cannot_write(path, err);
done:
    if (status != LLM_OK && fd >= 0) unlink(temporary.data);
    buf_free(&temporary);
    buf_free(&header);
    return status;
}

llm_status safetensors_write(const char *path, const safetensors_entry *entries, size_t num_entries,
                             safetensors_fill fill, void *user, llm_error *err)
{
    return write_file(path, &model_kind, entries, num_entries, 0, fill, user, err);
}

llm_status safetensors_write_private(const char *path, const char *key, const char *text, const safetensors_entry *entries,
                                     size_t num_entries, llm_error *err)
{
    file_kind kind = {key, text, 0600};
    return write_file(path, &kind, entries, num_entries, 0, NULL, NULL, err);
}

// One shard: entries [begin, end).
typedef struct shard {
    size_t begin, end;
} shard;

// Cuts the list as mlx-lm does: a shard is closed by the tensor that would take it over the limit.
static llm_status cut_shards(const safetensors_entry *entries, size_t count, size_t limit, shard **shards,
                             size_t *num_shards, size_t *total, llm_error *err)
{
    size_t capacity = 0, filled = 0;
    *shards = NULL;
    *num_shards = *total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size;
        llm_status status = entry_size(&entries[i], &size, err);
        if (status != LLM_OK) return status;
        if (!mem_add(*total, size, total))
            return error_set(err, LLM_INVALID_ARGUMENT, "the tensors are too large");
        if (*num_shards == 0 || size > limit || filled > limit - size) {
            if (!mem_grow((void **)shards, &capacity, *num_shards + 1, sizeof **shards))
                return error_no_memory(err, "a list of shards");
            (*shards)[(*num_shards)++] = (shard){i, i};
            filled = 0;
        }
        (*shards)[*num_shards - 1].end = i + 1;
        filled += size;
    }
    return LLM_OK;
}

static void shard_name(size_t index, size_t count, char *name, size_t capacity)
{
    if (count == 1)
        snprintf(name, capacity, "model.safetensors");
    else
        snprintf(name, capacity, "model-%05zu-of-%05zu.safetensors", index + 1, count);
}

// A line of the index: which shard has the tensor.
typedef struct index_line {
    const char *name;
    size_t shard;
} index_line;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const index_line *)a)->name, ((const index_line *)b)->name);
}

static llm_status write_index(const char *directory, const safetensors_entry *entries, size_t count,
                              const shard *shards, size_t num_shards, size_t total, uint64_t parameters,
                              llm_error *err)
{
    buf text = {0};
    llm_status status = LLM_OK;
    char *path = path_join(directory, "model.safetensors.index.json");
    index_line *lines = mem_alloc_zero(count, sizeof *lines);
    if (!path || !lines) {
        status = error_no_memory(err, "a list of tensors");
        goto done;
    }
    for (size_t s = 0; s < num_shards; s++)
        for (size_t i = shards[s].begin; i < shards[s].end; i++) lines[i] = (index_line){entries[i].name, s};
    if (count) qsort(lines, count, sizeof *lines, by_name);
    buf_printf(
        &text,
        "{\n    \"metadata\": {\n        \"total_size\": %zu,\n        \"total_parameters\": %llu\n    },\n"
        "    \"weight_map\": {",
        total, (unsigned long long)parameters);
    for (size_t i = 0; i < count; i++) {
        char name[60];
        shard_name(lines[i].shard, num_shards, name, sizeof name);
        buf_append_string(&text, i ? ",\n        " : "\n        ");
        buf_append_json_string(&text, lines[i].name, strlen(lines[i].name));
        buf_printf(&text, ": \"%s\"", name);
    }
    buf_append_string(&text, "\n    }\n}");
    status = text.failed ? error_no_memory(err, path) : file_write(path, text.data, text.length, err);
done:
    buf_free(&text);
    mem_free(lines);
    mem_free(path);
    return status;
}

llm_status safetensors_model_write(const char *directory, const safetensors_entry *entries,
                                   size_t num_entries, size_t shard_limit, uint64_t total_parameters,
                                   safetensors_fill fill, void *user, llm_error *err)
{
    shard *shards;
    size_t num_shards, total;
    llm_status status = cut_shards(entries, num_entries, shard_limit, &shards, &num_shards, &total, err);
    for (size_t s = 0; status == LLM_OK && s < num_shards; s++) {
        char name[60];
        shard_name(s, num_shards, name, sizeof name);
        char *path = path_join(directory, name);
        size_t begin = shards[s].begin;
        if (!path)
            status = error_no_memory(err, directory);
        else
            status = write_file(path, &model_kind, entries + begin, shards[s].end - begin, begin, fill, user, err);
        mem_free(path);
    }
    if (status == LLM_OK)
        status =
            write_index(directory, entries, num_entries, shards, num_shards, total, total_parameters, err);
    mem_free(shards);
    return status;
}
