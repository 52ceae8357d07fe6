// An import is named after its file and a digest of path, size, time and converter; beside it <name>.json
// says where it is from.
#include "models/import.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "models/convert.h"
#include "models/digest.h"
#include "models/file_lock.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CONVERTER = 1 }; // another number where the converter makes something else of the same file

char *import_folder(const hub_settings *settings)
{
    return path_join(settings->own_cache, "imports");
}

typedef struct import {
    const char *path; // of the file, absolute, without links
    struct stat st;
    llm_progress_function progress;
    void *user;
    bool stopped;
    char name[120];
    char *folder, *directory, *lock, *note;
} import;

// ---- Names ------------------------------------------------------------------------------------------------

static llm_status name_import(import *job, llm_error *err)
{
    digest sum;
    char text[DIGEST_TEXT], facts[100];
    const char *base = path_base_name(job->path);
    snprintf(facts, sizeof facts, "%c%lld %lld.%09ld %d", 0, (long long)job->st.st_size,
             (long long)job->st.st_mtim.tv_sec, job->st.st_mtim.tv_nsec, CONVERTER);
    llm_status status = digest_begin(&sum, DIGEST_SHA256, 0, err);
    if (status != LLM_OK) return status;
    digest_add(&sum, job->path, strlen(job->path));
    digest_add(&sum, facts, 1 + strlen(facts + 1));
    digest_end(&sum, text);
    size_t length = strlen(base);
    if (length > 5 && base[length - 5] == '.') length -= 5; // ".gguf"
    snprintf(job->name, sizeof job->name, "%.*s-%.16s", (int)(length < 90 ? length : 90), base, text);
    if (job->name[0] == '.') job->name[0] = '_';
    return LLM_OK;
}

static char *named(const import *job, const char *before, const char *after)
{
    buf b = {0};
    buf_printf(&b, "%s/%s%s%s", job->folder, before, job->name, after);
    return buf_take(&b);
}

static llm_status name_paths(import *job, const hub_settings *settings, llm_error *err)
{
    llm_status status = name_import(job, err);
    if (status != LLM_OK) return status;
    job->folder = import_folder(settings);
    if (!job->folder) return error_no_memory(err, "a path");
    job->directory = named(job, "", "");
    job->lock = named(job, ".locks/", ".lock");
    job->note = named(job, "", ".json");
    return job->directory && job->lock && job->note ? LLM_OK : error_no_memory(err, "a path");
}

// ---- Converting -------------------------------------------------------------------------------------------

static bool is_done(const import *job)
{
    char *config = path_join(job->directory, "config.json");
    bool done = config && file_exists(config);
    mem_free(config);
    return done;
}

static bool pass_progress(void *user, double done)
{
    import *job = user;
    if (job->progress && job->progress(job->user, "importing the GGUF file", done)) job->stopped = true;
    return !job->stopped;
}

static bool should_stop(void *user)
{
    return !pass_progress(user, 0);
}

static llm_status write_note(const import *job, llm_error *err)
{
    buf json = {0};
    buf_append_string(&json, "{\"source\":");
    buf_append_json_string(&json, job->path, strlen(job->path));
    buf_printf(&json, ",\"size\":%lld}\n", (long long)job->st.st_size);
    llm_status status =
        json.failed ? error_no_memory(err, "a note") : file_write(job->note, json.data, json.length, err);
    buf_free(&json);
    return status;
}

static llm_status make_import(import *job, llm_error *err)
{
    int lock = -1;
    convert_options options = {.progress = pass_progress, .user = job};
    llm_status status = file_lock_wait(job->lock, should_stop, job, &lock, err);
    if (status != LLM_OK) return status;
    if (!is_done(job)) {
        status = write_note(job, err);
        if (status == LLM_OK) status = convert_model(job->path, job->directory, &options, NULL, err);
    }
    file_lock_release(&lock);
    return status;
}

llm_status import_gguf(const hub_settings *settings, const char *path, llm_progress_function progress,
                       void *user, char **directory, llm_error *err)
{
import job = {.progress = progress, .user = user };
    *directory = NULL;
    char *real = realpath(path, NULL);
    job.path = real;
    if (!real || stat(real, &job.st) != 0) {
        llm_status status = error_set(err, LLM_IO_ERROR, "cannot open %s: %s", path, strerror(errno));
        free(real);
        return status;
    }
    llm_status status = name_paths(&job, settings, err);
    if (status == LLM_OK && !is_done(&job)) status = make_import(&job, err);
    if (status == LLM_OK)
        *directory = job.directory;
    else
        mem_free(job.directory);
    mem_free(job.folder);
    mem_free(job.lock);
    mem_free(job.note);
    free(real);
    return status;
}

char *import_source(const char *folder, const char *name)
{
    llm_error ignored;
    yyjson_doc *doc = NULL;
    buf path = {0};
    char *source = NULL;
    buf_printf(&path, "%s/%s.json", folder, name);
    if (!path.failed && json_read_file(path.data, 100000, &doc, &ignored) == LLM_OK) {
        const char *text = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "source"));
        source = text ? mem_copy_string(text) : NULL;
    }
    json_free(doc);
    buf_free(&path);
    return source;
}
