// The records of the processes that hold a model: format, folder, list.
#include "service/holders.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HOLDERS = 10000 };

// ---- The folder -------------------------------------------------------------------------------------------

llm_status holders_folder(char **folder, llm_error *err)
{
    buf path = {0};
    struct stat st;
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && runtime[0] == '/') buf_printf(&path, "%s/llmlocal", runtime);
    else buf_printf(&path, "/tmp/llmlocal-%lu", (unsigned long)geteuid());
    *folder = buf_take(&path);
    if (!*folder) return error_no_memory(err, "a path");
    if (mkdir(*folder, 0700) == 0 || errno == EEXIST) errno = 0;
    bool ours = !errno && lstat(*folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077);
    if (ours) return LLM_OK;
    error_set(err, LLM_IO_ERROR, "cannot use %s: %s", *folder,
              errno ? strerror(errno) : "it is not a folder that only this user may enter");
    mem_free(*folder);
    *folder = NULL;
    return LLM_IO_ERROR;
}

// ---- Records ----------------------------------------------------------------------------------------------

typedef struct number_row {
    const char *name;
    size_t offset;
} number_row;

static const number_row number_rows[] = {
    {"weights_bytes", offsetof(llm_holder, weights_bytes)}, {"kv_bytes", offsetof(llm_holder, kv_bytes)},
    {"work_bytes", offsetof(llm_holder, work_bytes)},       {"resident_bytes", offsetof(llm_holder, resident_bytes)},
};
enum { NUM_NUMBERS = sizeof number_rows / sizeof *number_rows };

static void append_text(buf *b, const char *name, const char *text)
{
    buf_printf(b, ",\"%s\":", name);
    buf_append_json_string(b, text, strlen(text));
}

bool holder_write(const llm_holder *h, buf *record)
{
    buf_clear(record);
    buf_printf(record, "{\"pid\":%lld,\"since\":%lld,\"context_tokens\":%d,\"context_length\":%d", (long long)h->pid, (long long)h->since,
               h->context_tokens, h->context_length);
    append_text(record, "program", h->program);
    append_text(record, "model", h->model);
    append_text(record, "engine", h->engine);
    for (int i = 0; i < NUM_NUMBERS; i++)
        buf_printf(record, ",\"%s\":%llu", number_rows[i].name,
                   (unsigned long long)*(const uint64_t *)(const void *)((const char *)h + number_rows[i].offset));
    buf_append_string(record, "}");
    if (record->failed || record->length >= HOLDER_RECORD) return false;
    while (record->length < HOLDER_RECORD - 1 && buf_append_char(record, ' ')) {}
    return buf_append_char(record, '\n');
}

// The strings one after another, in one block.
static bool read_texts(yyjson_val *root, llm_holder *h, char **texts)
{
    static const char *const names[] = {"program", "model", "engine"};
    const char **places[] = {&h->program, &h->model, &h->engine};
    buf all = {0};
    size_t starts[3];
    bool right = true;
    for (int i = 0; i < 3; i++) {
        const char *text = yyjson_get_str(yyjson_obj_get(root, names[i]));
        right = right && text && strlen(text) == yyjson_get_len(yyjson_obj_get(root, names[i]));
        starts[i] = all.length;
        if (right) buf_append(&all, text, strlen(text) + 1);
    }
    *texts = buf_take(&all);
    right = right && *texts;
    for (int i = 0; right && i < 3; i++) *places[i] = *texts + starts[i];
    if (!right) mem_free(*texts), *texts = NULL;
    return right;
}

static bool read_count(yyjson_val *root, const char *name, int64_t most, int64_t *value)
{
    yyjson_val *number = yyjson_obj_get(root, name);
    *value = yyjson_get_sint(number);
    return yyjson_is_int(number) && *value >= 0 && *value <= most;
}

static bool read_numbers(yyjson_val *root, llm_holder *h)
{
    int64_t tokens, length;
    bool right = read_count(root, "pid", INT32_MAX, &h->pid) && h->pid > 0 && read_count(root, "since", INT64_MAX, &h->since) &&
                 read_count(root, "context_tokens", INT32_MAX, &tokens) && read_count(root, "context_length", INT32_MAX, &length);
    for (int i = 0; right && i < NUM_NUMBERS; i++) {
        yyjson_val *number = yyjson_obj_get(root, number_rows[i].name);
        right = yyjson_is_uint(number);
        *(uint64_t *)(void *)((char *)h + number_rows[i].offset) = yyjson_get_uint(number);
    }
    if (right) h->context_tokens = (int)tokens, h->context_length = (int)length;
    return right;
}

bool holder_read(const char *record, size_t length, llm_holder *holder, char **texts)
{
    yyjson_doc *doc = NULL;
    llm_error ignored;
    *holder = (llm_holder){0};
    *texts = NULL;
    bool right = length <= HOLDER_RECORD && json_read(record, length, "a record", &doc, &ignored) == LLM_OK;
    right = right && read_numbers(yyjson_doc_get_root(doc), holder) && read_texts(yyjson_doc_get_root(doc), holder, texts);
    json_free(doc);
    return right;
}

// ---- The list ---------------------------------------------------------------------------------------------

typedef struct holder_list {
    llm_holder *items;
    char **texts; // of each
    size_t count, capacity, text_capacity;
    bool failed;
} holder_list;

// Takes `texts`.
static void add(holder_list *list, const llm_holder *holder, char *texts)
{
    if (!mem_grow((void **)&list->items, &list->capacity, list->count + 1, sizeof *list->items) ||
        !mem_grow((void **)&list->texts, &list->text_capacity, list->count + 1, sizeof *list->texts)) {
        list->failed = true;
        mem_free(texts);
        return;
    }
    list->items[list->count] = *holder;
    list->texts[list->count++] = texts;
}

// Whether the file's process lives. The file of one that does not is removed, unless it was changed for another meanwhile.
static bool is_alive(int fd, int folder, const char *name)
{
    struct stat ours, there;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) return errno == EWOULDBLOCK;
    if (fstat(fd, &ours) == 0 && fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && ours.st_ino == there.st_ino)
        unlinkat(folder, name, 0);
    return false;
}

static void look_at(holder_list *list, int folder, const char *name)
{
    char record[HOLDER_RECORD], *texts;
    struct stat st;
    llm_holder holder;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    bool right = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && is_alive(fd, folder, name);
    ssize_t length = right ? pread(fd, record, sizeof record, 0) : -1;
    close(fd);
    if (length <= 0 || !holder_read(record, (size_t)length, &holder, &texts)) return;
    if (*holder.model && (kill((pid_t)holder.pid, 0) == 0 || errno == EPERM)) add(list, &holder, texts);
    else mem_free(texts);
}

// One block: the items, then their strings.
static llm_holder *flatten(holder_list *list)
{
    size_t size = list->count * sizeof *list->items + 1;
    for (size_t i = 0; i < list->count; i++)
        size += strlen(list->items[i].program) + strlen(list->items[i].model) + strlen(list->items[i].engine) + 3;
    llm_holder *block = list->failed ? NULL : mem_alloc(size);
    char *at = block ? (char *)(block + list->count) : NULL;
    for (size_t i = 0; block && i < list->count; i++) {
        block[i] = list->items[i];
        const char **places[] = {&block[i].program, &block[i].model, &block[i].engine};
        for (int k = 0; k < 3; k++) {
            size_t length = strlen(*places[k]) + 1;
            *places[k] = memcpy(at, *places[k], length);
            at += length;
        }
    }
    return block;
}

static int by_pid(const void *a, const void *b)
{
    const llm_holder *x = a, *y = b;
    if (x->pid != y->pid) return x->pid < y->pid ? -1 : 1;
    return strcmp(x->model, y->model);
}

llm_holder *llm_holders_copy(int *count, llm_error *err)
{
    char *folder;
    holder_list list = {0};
    if (!count) return error_set(err, LLM_INVALID_ARGUMENT, "count is NULL"), NULL;
    *count = 0;
    if (holders_folder(&folder, err) != LLM_OK) return NULL;
    DIR *dir = opendir(folder);
    int seen = 0;
    for (struct dirent *entry; dir && seen < MAX_HOLDERS && (entry = readdir(dir)); seen++)
        if (entry->d_name[0] != '.') look_at(&list, dirfd(dir), entry->d_name);
    if (dir) closedir(dir);
    if (list.count) qsort(list.items, list.count, sizeof *list.items, by_pid);
    llm_holder *block = flatten(&list);
    if (block) *count = (int)list.count;
    else error_no_memory(err, "a list of processes");
    for (size_t i = 0; i < list.count; i++) mem_free(list.texts[i]);
    mem_free(list.texts);
    mem_free(list.items);
    mem_free(folder);
    return block;
}
