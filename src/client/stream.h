// The writing end of a stream, for whoever runs the request. A stream has two owners, its reader and its
// writer, and lives until both have let go; so an answer may outlive the backend that gave it.
#ifndef CLIENT_STREAM_H
#define CLIENT_STREAM_H
#include "base/error.h"

// Bytes that wait for a slow reader before the writer is held up.
#define STREAM_QUEUE_BYTES ((size_t)1 << 20)

typedef void (*stream_cancel_hook)(void *user);

llm_stream *stream_create(size_t queue_bytes, llm_error *err); // owned twice: llm_stream_free, stream_release
llm_stream_writer *stream_writer(llm_stream *stream);          // borrows

// The request begins to run. From here a cancellation calls `hook`, until stream_detach returns. False: it
// was cancelled before, and has ended with that.
bool stream_start(llm_stream *stream, stream_cancel_hook hook, void *user);
void stream_detach(llm_stream *stream);

// The answer is over; only the first call counts. `status` is what generate returned and `err` what it said.
void stream_end(llm_stream *stream, llm_status status, const llm_error *err);

void stream_retain(llm_stream *stream);
void stream_release(llm_stream *stream);

#endif
