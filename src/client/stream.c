// A stream: a bounded queue of chunks between the thread that generates and the one that reads.
// It knows nothing of backends; who writes and how a request is run is client/backend.c's matter.
#include "client/stream.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "client/ready_fd.h"
#include "client/wait.h"
#include <stdatomic.h>
#include <string.h>

struct llm_stream_writer {
    llm_stream *stream;
};

// A chunk that waits, in one block with all it points to.
typedef struct node {
    struct node *next;
    llm_chunk chunk;
    size_t capacity; // bytes at `data`
    _Alignas(llm_token_logprob) char data[];
} node;

// Text nodes have room for more, so that text which the reader is slow to take is put together.
enum { TEXT_NODE_BYTES = 256 };

struct llm_stream {
    llm_stream_writer writer;
    atomic_int owners;
    int64_t created_ns;

    // Cancellation. Its lock is held while the hook runs and never taken with `lock` held.
    pthread_mutex_t cancel_lock;
    stream_cancel_hook hook;
    void *hook_user;
    bool started;
    atomic_bool cancelled;

    pthread_mutex_t lock; // for all that follows
    pthread_cond_t readable, writable;
    ready_fd fd;
    node *first, *last; // oldest and newest that wait
    node *current;      // lent to the reader
    size_t queued_bytes, queue_bytes;
    bool refused;      // a chunk was turned away because of a cancellation
    llm_error failure; // what went wrong in writing; code LLM_OK: nothing
    double first_token_seconds;
    llm_chunk info; // the last chunk, handed out once the answer has ended
    int32_t *info_tokens;
    bool has_info;
    bool ended;
    llm_error end; // code LLM_OK: LLM_END
};

// ---- Life -------------------------------------------------------------------------------------------------

llm_stream *stream_create(size_t queue_bytes, llm_error *err)
{
    llm_stream *stream = mem_alloc_zero(1, sizeof *stream);
    if (!stream) return error_no_memory(err, "a stream"), NULL;
    stream->writer.stream = stream;
    stream->queue_bytes = queue_bytes;
    stream->fd = READY_FD_CLOSED;
    stream->created_ns = clock_nanoseconds();
    atomic_init(&stream->owners, 2);
    atomic_init(&stream->cancelled, false);
    bool locks = !pthread_mutex_init(&stream->cancel_lock, NULL) && !pthread_mutex_init(&stream->lock, NULL);
    if (locks && wait_init(&stream->readable) && wait_init(&stream->writable)) return stream;
    mem_free(stream);
    error_no_memory(err, "a stream's locks");
    return NULL;
}

llm_stream_writer *stream_writer(llm_stream *stream)
{
    return &stream->writer;
}

static void free_nodes(node *n)
{
    while (n) {
        node *next = n->next;
        mem_free(n);
        n = next;
    }
}

void stream_retain(llm_stream *stream)
{
    atomic_fetch_add(&stream->owners, 1);
}

void stream_release(llm_stream *stream)
{
    if (atomic_fetch_sub(&stream->owners, 1) != 1) return;
    free_nodes(stream->first);
    mem_free(stream->current);
    mem_free(stream->info_tokens);
    ready_fd_close(&stream->fd);
    pthread_cond_destroy(&stream->readable);
    pthread_cond_destroy(&stream->writable);
    pthread_mutex_destroy(&stream->lock);
    pthread_mutex_destroy(&stream->cancel_lock);
    mem_free(stream);
}

// ---- Running, cancelling, ending --------------------------------------------------------------------------

bool stream_start(llm_stream *stream, stream_cancel_hook hook, void *user)
{
    pthread_mutex_lock(&stream->cancel_lock);
    bool go = !atomic_load(&stream->cancelled);
    if (go) {
        stream->started = true;
        stream->hook = hook;
        stream->hook_user = user;
    }
    pthread_mutex_unlock(&stream->cancel_lock);
    return go;
}

void stream_detach(llm_stream *stream)
{
    pthread_mutex_lock(&stream->cancel_lock);
    stream->hook = NULL;
    pthread_mutex_unlock(&stream->cancel_lock);
}

void llm_stream_cancel(llm_stream *stream)
{
    if (!stream) return;
    pthread_mutex_lock(&stream->cancel_lock);
    bool first = !atomic_exchange(&stream->cancelled, true);
    if (first) {
        pthread_mutex_lock(&stream->lock);
        pthread_cond_broadcast(&stream->writable);
        pthread_mutex_unlock(&stream->lock);
    }
    if (!stream->started)
        stream_end(stream, LLM_CANCELLED, NULL);
    else if (first && stream->hook)
        stream->hook(stream->hook_user);
    pthread_mutex_unlock(&stream->cancel_lock);
}

// What the reader is told in the end. Holds the lock.
static void decide_end(llm_stream *stream, llm_status status, const llm_error *err)
{
    llm_error *end = &stream->end;
    if (stream->failure.code != LLM_OK) {
        *end = stream->failure;
    } else if (status == LLM_CANCELLED || (status == LLM_OK && stream->refused)) {
        error_set(end, LLM_CANCELLED, "the answer was cancelled");
    } else if (status < LLM_OK || status == LLM_END || status == LLM_TIMEOUT || status > LLM_INTERNAL_ERROR) {
        error_set(end, LLM_INTERNAL_ERROR, "the backend ended an answer with status %d", (int)status);
    } else if (status != LLM_OK) {
        error_set(end, status, "%s", llm_status_name(status));
        if (err && err->code == status && err->message[0]) *end = *err;
    }
}

// Every answer that was not an error has an info chunk, whatever the backend wrote. Holds the lock.
static void complete_info(llm_stream *stream)
{
    stream->has_info = stream->end.code == LLM_OK || stream->end.code == LLM_CANCELLED;
    stream->info.kind = LLM_CHUNK_INFO;
    if (stream->end.code == LLM_CANCELLED) stream->info.finish_reason = LLM_FINISH_CANCELLED;
    if (stream->info.stats.first_token_seconds <= 0)
        stream->info.stats.first_token_seconds = stream->first_token_seconds;
}

void stream_end(llm_stream *stream, llm_status status, const llm_error *err)
{
    pthread_mutex_lock(&stream->lock);
    if (!stream->ended) {
        stream->ended = true;
        decide_end(stream, status, err);
        complete_info(stream);
        ready_fd_set(&stream->fd, true);
        pthread_cond_broadcast(&stream->readable);
    }
    pthread_mutex_unlock(&stream->lock);
}

// ---- Writing ----------------------------------------------------------------------------------------------

bool llm_writer_cancelled(llm_stream_writer *writer)
{
    return atomic_load(&writer->stream->cancelled);
}

// Puts a failure into the stream; the backend is to stop with it. Holds the lock.
static llm_status fail_writing(llm_stream *stream, llm_status code, const char *why)
{
    if (stream->failure.code == LLM_OK) error_set(&stream->failure, code, "%s", why);
    return stream->failure.code;
}

// Waits until there is room. Holds the lock.
static llm_status wait_for_room(llm_stream *stream)
{
    for (;;) {
        if (stream->failure.code != LLM_OK) return stream->failure.code;
        if (stream->has_info)
            return fail_writing(stream, LLM_INTERNAL_ERROR, "the backend wrote on after the info chunk");
        if (atomic_load(&stream->cancelled)) return stream->refused = true, LLM_CANCELLED;
        if (stream->queued_bytes < stream->queue_bytes) return LLM_OK;
        pthread_cond_wait(&stream->writable, &stream->lock);
    }
}

static node *create_node(const llm_chunk *chunk, size_t capacity)
{
    size_t bytes;
    node *n = mem_add(sizeof *n, capacity, &bytes) ? mem_alloc(bytes) : NULL;
    if (!n) return NULL;
    *n = (node){.chunk = {.kind = chunk->kind}, .capacity = capacity};
    return n;
}

static void append_node(llm_stream *stream, node *n)
{
    if (stream->first)
        stream->last->next = n;
    else
        stream->first = n;
    stream->last = n;
    stream->queued_bytes += sizeof *n + n->capacity;
    ready_fd_set(&stream->fd, true);
    pthread_cond_signal(&stream->readable);
}

// Adds to the newest node, if that is of the same kind and has room. Holds the lock.
static bool merge_text(llm_stream *stream, llm_chunk_kind kind, const char *text, size_t length)
{
    node *last = stream->first ? stream->last : NULL;
    if (!last || last->chunk.kind != kind || last->capacity - last->chunk.length <= length) return false;
    memcpy(last->data + last->chunk.length, text, length);
    last->chunk.length += length;
    last->data[last->chunk.length] = 0;
    return true;
}

static llm_status write_text(llm_stream *stream, llm_chunk_kind kind, const char *text, size_t length)
{
    if (!length) return LLM_OK;
    if (!utf8_valid(text, length))
        return fail_writing(stream, LLM_INTERNAL_ERROR, "the backend wrote text that is not valid UTF-8");
    if (merge_text(stream, kind, text, length)) return LLM_OK;
    node *n =
        create_node(&(llm_chunk){.kind = kind}, length < TEXT_NODE_BYTES ? TEXT_NODE_BYTES : length + 1);
    if (!n) return fail_writing(stream, LLM_OUT_OF_MEMORY, "no memory for the text of the answer");
    memcpy(n->data, text, length);
    n->data[length] = 0;
    n->chunk.text = n->data;
    n->chunk.length = length;
    append_node(stream, n);
    return LLM_OK;
}

// Copies a string to *end and moves *end behind it.
static const char *place_string(char **end, const char *text)
{
    if (!text) return NULL;
    size_t bytes = strlen(text) + 1;
    char *place = memcpy(*end, text, bytes);
    *end += bytes;
    return place;
}

static llm_status write_tool_call(llm_stream *stream, const llm_chunk *chunk)
{
    const char *texts[] = {chunk->text, chunk->tool_call_id, chunk->tool_name, chunk->tool_error};
    size_t bytes = 0;
    for (int i = 0; i < 4; i++) bytes += texts[i] ? strlen(texts[i]) + 1 : 0;
    node *n = create_node(chunk, bytes);
    if (!n) return fail_writing(stream, LLM_OUT_OF_MEMORY, "no memory for a tool call of the answer");
    char *end = n->data;
    n->chunk.text = place_string(&end, chunk->text);
    n->chunk.length = chunk->text ? strlen(chunk->text) : 0;
    n->chunk.tool_call_id = place_string(&end, chunk->tool_call_id);
    n->chunk.tool_name = place_string(&end, chunk->tool_name);
    n->chunk.tool_error = place_string(&end, chunk->tool_error);
    append_node(stream, n);
    return LLM_OK;
}

static llm_status write_logprobs(llm_stream *stream, const llm_chunk *chunk)
{
    size_t count = chunk->num_logprobs > 0 ? (size_t)chunk->num_logprobs : 0;
    if (!count) return LLM_OK;
    node *n = create_node(chunk, count * sizeof *chunk->logprobs);
    if (!n)
        return fail_writing(stream, LLM_OUT_OF_MEMORY, "no memory for the log-probabilities of the answer");
    memcpy(n->data, chunk->logprobs, count * sizeof *chunk->logprobs);
    n->chunk.logprobs = (const llm_token_logprob *)(void *)n->data;
    n->chunk.num_logprobs = (int)count;
    append_node(stream, n);
    return LLM_OK;
}

// Kept until the end; taken even when the answer was cancelled, since it says how far it came.
static llm_status write_info(llm_stream *stream, const llm_chunk *chunk)
{
    size_t count = chunk->tokens && chunk->num_tokens > 0 ? (size_t)chunk->num_tokens : 0;
    if (stream->has_info)
        return fail_writing(stream, LLM_INTERNAL_ERROR, "the backend wrote on after the info chunk");
    if (count &&
        !(stream->info_tokens = (int32_t *)(void *)mem_copy_bytes(chunk->tokens, count * sizeof(int32_t))))
        return fail_writing(stream, LLM_OUT_OF_MEMORY, "no memory for the tokens of the answer");
    stream->info = (llm_chunk){.finish_reason = chunk->finish_reason,
                               .stats = chunk->stats,
                               .tokens = stream->info_tokens,
                               .num_tokens = (int)count};
    stream->has_info = true;
    return LLM_OK;
}

static llm_status write_chunk(llm_stream *stream, const llm_chunk *chunk)
{
    switch (chunk->kind) {
    case LLM_CHUNK_TEXT:
    case LLM_CHUNK_REASONING:
        return write_text(stream, chunk->kind, chunk->text, chunk->text ? chunk->length : 0);
    case LLM_CHUNK_TOOL_CALL: return write_tool_call(stream, chunk);
    case LLM_CHUNK_LOGPROBS: return write_logprobs(stream, chunk);
    case LLM_CHUNK_INFO: return write_info(stream, chunk);
    }
    return fail_writing(stream, LLM_INTERNAL_ERROR, "the backend wrote a chunk of no known kind");
}

llm_status llm_writer_chunk(llm_stream_writer *writer, const llm_chunk *chunk)
{
    llm_stream *stream = writer->stream;
    pthread_mutex_lock(&stream->lock);
    if (stream->first_token_seconds <= 0 && chunk->kind != LLM_CHUNK_INFO)
        stream->first_token_seconds = (double)(clock_nanoseconds() - stream->created_ns) * 1e-9;
    llm_status status = chunk->kind == LLM_CHUNK_INFO ? LLM_OK : wait_for_room(stream);
    if (status == LLM_OK) status = write_chunk(stream, chunk);
    pthread_mutex_unlock(&stream->lock);
    return status;
}

llm_status llm_writer_text(llm_stream_writer *writer, const char *text, size_t length)
{
    return llm_writer_chunk(writer, &(llm_chunk){.kind = LLM_CHUNK_TEXT, .text = text, .length = length});
}

// ---- Reading ----------------------------------------------------------------------------------------------

// False when the time is over. Holds the lock.
static bool wait_for_chunk(llm_stream *stream, int timeout_ms)
{
    int64_t deadline = timeout_ms > 0 ? clock_nanoseconds() + (int64_t)timeout_ms * 1000000 : 0;
    while (!stream->first && !stream->ended) {
        if (timeout_ms < 0)
            pthread_cond_wait(&stream->readable, &stream->lock);
        else if (clock_nanoseconds() < deadline)
            wait_until(&stream->readable, &stream->lock, deadline);
        else
            return false;
    }
    return true;
}

// Lends the oldest chunk to the reader. Holds the lock.
static void take_chunk(llm_stream *stream, llm_chunk *chunk)
{
    node *n = stream->first;
    stream->first = n->next;
    n->next = NULL;
    stream->current = n;
    stream->queued_bytes -= sizeof *n + n->capacity;
    if (stream->queued_bytes < stream->queue_bytes) pthread_cond_signal(&stream->writable);
    ready_fd_set(&stream->fd, stream->first || stream->ended);
    if (chunk) *chunk = n->chunk;
}

static llm_status next_locked(llm_stream *stream, int timeout_ms, llm_chunk *chunk, llm_error *err)
{
    mem_free(stream->current);
    stream->current = NULL;
    if (!wait_for_chunk(stream, timeout_ms))
        return error_set(err, LLM_TIMEOUT, "nothing came within %d milliseconds", timeout_ms);
    if (stream->first) return take_chunk(stream, chunk), LLM_OK;
    if (stream->has_info) {
        stream->has_info = false;
        if (chunk) *chunk = stream->info;
        return LLM_OK;
    }
    if (stream->end.code == LLM_OK) return LLM_END;
    if (err) *err = stream->end;
    return stream->end.code;
}

llm_status llm_stream_next(llm_stream *stream, int timeout_ms, llm_chunk *chunk, llm_error *err)
{
    if (!stream) return error_set(err, LLM_INVALID_ARGUMENT, "the stream is NULL");
    pthread_mutex_lock(&stream->lock);
    llm_status status = next_locked(stream, timeout_ms, chunk, err);
    pthread_mutex_unlock(&stream->lock);
    return status;
}

int llm_stream_fd(llm_stream *stream)
{
    if (!stream) return -1;
    pthread_mutex_lock(&stream->lock);
    if (stream->fd.read < 0 && ready_fd_open(&stream->fd))
        ready_fd_set(&stream->fd, stream->first || stream->ended);
    int fd = stream->fd.read;
    pthread_mutex_unlock(&stream->lock);
    return fd;
}

void llm_stream_free(llm_stream *stream)
{
    if (!stream) return;
    llm_stream_cancel(stream);
    pthread_mutex_lock(&stream->lock);
    while (!stream->ended) pthread_cond_wait(&stream->readable, &stream->lock);
    pthread_mutex_unlock(&stream->lock);
    stream_release(stream);
}

llm_status llm_stream_consume(llm_stream *stream, llm_chunk_function on_chunk, void *user, llm_error *err)
{
    llm_chunk chunk;
    llm_status status;
    while ((status = llm_stream_next(stream, LLM_FOREVER, &chunk, err)) == LLM_OK) {
        if (!on_chunk || !on_chunk(user, &chunk)) continue;
        llm_stream_cancel(stream);
        while (llm_stream_next(stream, LLM_FOREVER, NULL, NULL) == LLM_OK) {}
        return error_set(err, LLM_CANCELLED, "the answer was cancelled");
    }
    return status == LLM_END ? LLM_OK : status;
}
