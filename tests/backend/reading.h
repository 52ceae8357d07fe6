// Reads a whole answer: its text, its figures, how it ended.
#ifndef TESTS_BACKEND_READING_H
#define TESTS_BACKEND_READING_H
#include "testing.h"

typedef struct answer {
    char text[8000];
    llm_stats stats;
    llm_status status;
} answer;

// Frees the stream; `err` has already what the call that made it said.
static inline answer read_answer(llm_stream *stream, llm_error *err)
{
    answer a = {0};
    llm_chunk chunk;
    size_t length = 0;
    if (!stream) fail_msg("no stream: %s", err->message);
    while ((a.status = llm_stream_next(stream, LLM_FOREVER, &chunk, err)) == LLM_OK) {
        if (chunk.kind == LLM_CHUNK_INFO) a.stats = chunk.stats;
        if (chunk.kind != LLM_CHUNK_TEXT) continue;
        assert_true(length + chunk.length < sizeof a.text);
        memcpy(a.text + length, chunk.text, chunk.length);
        length += chunk.length;
    }
    llm_stream_free(stream);
    return a;
}

#endif
