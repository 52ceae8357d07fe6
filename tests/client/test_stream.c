// Streams by themselves: order, merging, bounds, waiting, descriptors, cancellation, ends.
#include "testing.h"
#include "base/mem.h"
#include "client/stream.h"
#include "client/wait.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// The descriptor's other form, as on systems without eventfd.
#define READY_FD_PIPE
#define ready_fd_open pipe_fd_open
#define ready_fd_set pipe_fd_set
#define ready_fd_close pipe_fd_close
#include "client/ready_fd.c"

static llm_error err;
static llm_chunk chunk;

static llm_stream *create_stream(size_t bytes)
{
    llm_stream *stream = stream_create(bytes, &err);
    assert_non_null(stream);
    assert_true(stream_start(stream, NULL, NULL));
    return stream;
}

static llm_status put(llm_stream *stream, const char *text)
{
    return llm_writer_text(stream_writer(stream), text, strlen(text));
}

static void finish(llm_stream *stream, llm_status status, const llm_error *why)
{
    stream_detach(stream);
    stream_end(stream, status, why);
    stream_release(stream);
}

#define assert_text(expected)                                                                                \
    do {                                                                                                     \
        assert_ok(llm_stream_next(stream, LLM_FOREVER, &chunk, &err));                                       \
        assert_int_equal(chunk.kind, LLM_CHUNK_TEXT);                                                        \
        assert_string_equal(chunk.text, expected);                                                           \
        assert_int_equal(chunk.length, strlen(expected));                                                    \
    } while (0)

static void test_text_then_info_then_end_for_ever(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    assert_error(llm_stream_next(stream, 0, &chunk, &err), LLM_TIMEOUT, "0 milliseconds");
    assert_int_equal(put(stream, "one"), LLM_OK);
    assert_text("one");
    int32_t tokens[] = {4, 5, 6};
    llm_chunk info = {
        .kind = LLM_CHUNK_INFO, .finish_reason = LLM_FINISH_LENGTH, .tokens = tokens, .num_tokens = 3};
    info.stats.generated_tokens = 3;
    assert_int_equal(llm_writer_chunk(stream_writer(stream), &info), LLM_OK);
    tokens[0] = 0;
    assert_int_equal(llm_stream_next(stream, 0, &chunk, &err), LLM_TIMEOUT); // not before the backend is done
    finish(stream, LLM_OK, NULL);
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_int_equal(chunk.kind, LLM_CHUNK_INFO);
    assert_int_equal(chunk.finish_reason, LLM_FINISH_LENGTH);
    assert_int_equal(chunk.num_tokens, 3);
    assert_int_equal(chunk.tokens[0], 4);
    assert_true(chunk.stats.first_token_seconds > 0);
    for (int i = 0; i < 3; i++) assert_int_equal(llm_stream_next(stream, LLM_FOREVER, &chunk, &err), LLM_END);
    llm_stream_free(stream);
}

static void test_slow_readers_get_adjacent_text_at_once(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    llm_chunk thought = {.kind = LLM_CHUNK_REASONING, .text = "hm", .length = 2};
    assert_int_equal(llm_writer_chunk(stream_writer(stream), &thought), LLM_OK);
    assert_int_equal(put(stream, "a"), LLM_OK);
    assert_int_equal(put(stream, ""), LLM_OK);
    assert_int_equal(put(stream, "b\xC3\xA9"), LLM_OK);
    assert_int_equal(llm_writer_chunk(stream_writer(stream), &thought), LLM_OK);
    finish(stream, LLM_OK, NULL);
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_int_equal(chunk.kind, LLM_CHUNK_REASONING);
    assert_text("ab\xC3\xA9");
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_int_equal(chunk.kind, LLM_CHUNK_REASONING);
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_int_equal(chunk.kind, LLM_CHUNK_INFO);
    assert_int_equal(chunk.finish_reason, LLM_FINISH_STOP); // made by the library
    llm_stream_free(stream);
}

static void test_every_kind_is_copied(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    char arguments[] = "{\"x\":1}", id[] = "call_1", name[] = "f", error[] = "no such tool";
    llm_chunk call = {.kind = LLM_CHUNK_TOOL_CALL,
                      .text = arguments,
                      .tool_call_id = id,
                      .tool_name = name,
                      .tool_error = error};
    llm_token_logprob logprobs[] = {{3, -0.5f}, {9, -1.5f}};
    llm_chunk likely = {.kind = LLM_CHUNK_LOGPROBS, .logprobs = logprobs, .num_logprobs = 2};
    assert_int_equal(llm_writer_chunk(stream_writer(stream), &call), LLM_OK);
    assert_int_equal(llm_writer_chunk(stream_writer(stream), &likely), LLM_OK);
    call.tool_error = NULL;
    assert_int_equal(llm_writer_chunk(stream_writer(stream), &call), LLM_OK);
    memset(arguments, 'x', 3), memset(id, 'x', 3), name[0] = error[0] = 'x', logprobs[1].token = 0;
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_int_equal(chunk.kind, LLM_CHUNK_TOOL_CALL);
    assert_string_equal(chunk.text, "{\"x\":1}");
    assert_int_equal(chunk.length, 7);
    assert_string_equal(chunk.tool_call_id, "call_1");
    assert_string_equal(chunk.tool_name, "f");
    assert_string_equal(chunk.tool_error, "no such tool");
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_int_equal(chunk.kind, LLM_CHUNK_LOGPROBS);
    assert_int_equal(chunk.num_logprobs, 2);
    assert_int_equal(chunk.logprobs[1].token, 9);
    assert_true(chunk.logprobs[1].logprob == -1.5f);
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_null(chunk.tool_error);
    finish(stream, LLM_OK, NULL);
    llm_stream_free(stream);
}

static void test_timeouts_take_their_time(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    int64_t before = clock_nanoseconds();
    assert_int_equal(llm_stream_next(stream, 30, &chunk, &err), LLM_TIMEOUT);
    assert_true(clock_nanoseconds() - before >= 30000000);
    finish(stream, LLM_OK, NULL);
    llm_stream_free(stream);
}

// ---- A writer on another thread ---------------------------------------------------------------------------

typedef struct writing {
    llm_stream *stream;
    int count; // numbers to write
    int written;
    llm_status status; // of the last one
} writing;

static void *write_numbers(void *user)
{
    writing *w = user;
    for (w->written = 0; w->written < w->count; w->written++) {
        char text[16];
        snprintf(text, sizeof text, "%d ", w->written);
        w->status = put(w->stream, text);
        if (w->status != LLM_OK) break;
    }
    finish(w->stream, w->status, NULL);
    return NULL;
}

static void test_a_small_queue_loses_nothing(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(1000);
    writing w = {stream, 20000, 0, LLM_OK};
    pthread_t thread;
    pthread_create(&thread, NULL, write_numbers, &w);
    char *all = calloc(1, 200000), *end = all;
    while (llm_stream_next(stream, LLM_FOREVER, &chunk, &err) == LLM_OK)
        if (chunk.kind == LLM_CHUNK_TEXT) memcpy(end, chunk.text, chunk.length), end += chunk.length;
    pthread_join(thread, NULL);
    char *at = all;
    for (int i = 0; i < w.count; i++) assert_int_equal(strtol(at, &at, 10), i);
    free(all);
    llm_stream_free(stream);
}

static void test_cancelling_wakes_a_held_up_writer(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(1000);
    writing w = {stream, 1 << 30, 0, LLM_OK};
    pthread_t thread;
    pthread_create(&thread, NULL, write_numbers, &w);
    assert_ok(llm_stream_next(stream, LLM_FOREVER, &chunk, &err));
    usleep(20000); // let it fill the queue
    llm_stream_cancel(stream);
    pthread_join(thread, NULL);
    assert_int_equal(w.status, LLM_CANCELLED);
    llm_status status;
    int infos = 0;
    while ((status = llm_stream_next(stream, 0, &chunk, &err)) == LLM_OK)
        infos += chunk.kind == LLM_CHUNK_INFO;
    assert_int_equal(status, LLM_CANCELLED);
    assert_int_equal(infos, 1);
    assert_int_equal(chunk.kind, LLM_CHUNK_INFO);
    assert_int_equal(chunk.finish_reason, LLM_FINISH_CANCELLED);
    assert_error(llm_stream_next(stream, 0, &chunk, &err), LLM_CANCELLED, "cancelled");
    llm_stream_free(stream);
}

static void test_free_cancels_and_waits(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(1000);
    writing w = {stream, 1 << 30, 0, LLM_OK};
    pthread_t thread;
    pthread_create(&thread, NULL, write_numbers, &w);
    llm_stream_free(stream);
    pthread_join(thread, NULL);
    assert_int_equal(w.status, LLM_CANCELLED);
    llm_stream_free(NULL);
    llm_stream_cancel(NULL);
}

// ---- Descriptors ------------------------------------------------------------------------------------------

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

static void test_the_descriptor_says_when_there_is_something(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    int fd = llm_stream_fd(stream);
    assert_true(fd >= 0);
    assert_int_equal(llm_stream_fd(stream), fd);
    assert_false(readable(fd));
    put(stream, "a");
    llm_writer_chunk(stream_writer(stream),
                     &(llm_chunk){.kind = LLM_CHUNK_REASONING, .text = "b", .length = 1});
    assert_true(readable(fd));
    llm_stream_next(stream, 0, &chunk, &err);
    assert_true(readable(fd)); // one more
    llm_stream_next(stream, 0, &chunk, &err);
    assert_false(readable(fd));
    finish(stream, LLM_OK, NULL);
    assert_true(readable(fd));
    for (int i = 0; i < 3; i++)
        llm_stream_next(stream, 0, &chunk, &err), assert_true(readable(fd)); // for ever
    llm_stream_free(stream);
    assert_int_equal(llm_stream_fd(NULL), -1);
}

static void test_a_late_descriptor_is_right_at_once(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    put(stream, "a");
    assert_true(readable(llm_stream_fd(stream)));
    finish(stream, LLM_OK, NULL);
    llm_stream_free(stream);
}

static void test_the_pipe_form_of_a_descriptor(void **state)
{
    (void)state;
    ready_fd fd;
    assert_true(pipe_fd_open(&fd));
    assert_int_not_equal(fd.read, fd.write);
    for (int i = 0; i < 3; i++) {
        assert_false(readable(fd.read));
        pipe_fd_set(&fd, true);
        pipe_fd_set(&fd, true);
        assert_true(readable(fd.read));
        pipe_fd_set(&fd, false);
    }
    pipe_fd_close(&fd);
    assert_int_equal(fd.read, -1);
    pipe_fd_set(&fd, true);
}

// ---- Ends -------------------------------------------------------------------------------------------------

static void test_errors_end_a_stream_without_info(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    llm_error why = {.code = LLM_CONTEXT_EXCEEDED, .required = 300, .available = 256, .message = "too long"};
    put(stream, "a");
    finish(stream, LLM_CONTEXT_EXCEEDED, &why);
    assert_text("a");
    for (int i = 0; i < 2; i++) {
        assert_error(llm_stream_next(stream, 0, &chunk, &err), LLM_CONTEXT_EXCEEDED, "too long");
        assert_int_equal(err.required, 300);
        assert_int_equal(err.available, 256);
    }
    llm_stream_free(stream);
}

static void test_an_end_without_words_gets_some(void **state)
{
    (void)state;
    static const struct {
        int given;
        llm_status expected;
        const char *text;
    } cases[] = {{LLM_IO_ERROR, LLM_IO_ERROR, "input/output error"},
                 {LLM_END, LLM_INTERNAL_ERROR, "status 1"},
                 {LLM_TIMEOUT, LLM_INTERNAL_ERROR, "status 2"},
                 {-3, LLM_INTERNAL_ERROR, "status -3"},
                 {99, LLM_INTERNAL_ERROR, "status 99"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
        finish(stream, (llm_status)cases[i].given, &(llm_error){0});
        assert_error(llm_stream_next(stream, 0, &chunk, &err), cases[i].expected, cases[i].text);
        llm_stream_free(stream);
    }
}

static void test_cancelled_before_it_ran(void **state)
{
    (void)state;
    llm_stream *stream = stream_create(STREAM_QUEUE_BYTES, &err);
    llm_stream_cancel(stream);
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_int_equal(chunk.finish_reason, LLM_FINISH_CANCELLED);
    assert_int_equal(llm_stream_next(stream, 0, &chunk, &err), LLM_CANCELLED);
    assert_false(stream_start(stream, NULL, NULL));
    stream_end(stream, LLM_OK, NULL); // too late
    assert_int_equal(llm_stream_next(stream, 0, &chunk, &err), LLM_CANCELLED);
    stream_release(stream);
    llm_stream_free(stream);
}

static void test_a_finished_answer_is_not_cancelled(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    put(stream, "all");
    llm_stream_cancel(stream);
    finish(stream, LLM_OK, NULL); // it had nothing more to say
    assert_text("all");
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_int_equal(chunk.finish_reason, LLM_FINISH_STOP);
    assert_int_equal(llm_stream_next(stream, 0, &chunk, &err), LLM_END);
    llm_stream_cancel(stream);
    assert_int_equal(llm_stream_next(stream, 0, &chunk, &err), LLM_END);
    llm_stream_free(stream);
}

static void test_a_backend_that_does_not_listen_is_cancelled_all_the_same(void **state)
{
    (void)state;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    llm_stream_cancel(stream);
    assert_true(llm_writer_cancelled(stream_writer(stream)));
    assert_int_equal(put(stream, "lost"), LLM_CANCELLED);
    llm_chunk info = {.kind = LLM_CHUNK_INFO, .finish_reason = LLM_FINISH_STOP, .stats.generated_tokens = 7};
    assert_int_equal(llm_writer_chunk(stream_writer(stream), &info), LLM_OK);
    finish(stream, LLM_OK, NULL);
    assert_ok(llm_stream_next(stream, 0, &chunk, &err));
    assert_int_equal(chunk.finish_reason, LLM_FINISH_CANCELLED);
    assert_int_equal(chunk.stats.generated_tokens, 7);
    assert_int_equal(llm_stream_next(stream, 0, &chunk, &err), LLM_CANCELLED);
    llm_stream_free(stream);
}

static void test_what_a_backend_must_not_write(void **state)
{
    (void)state;
    llm_chunk info = {.kind = LLM_CHUNK_INFO}, odd = {.kind = (llm_chunk_kind)40};
    for (int i = 0; i < 4; i++) {
        llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
        llm_status status = LLM_OK;
        if (i == 0) status = put(stream, "\xFF");
        if (i == 1) llm_writer_chunk(stream_writer(stream), &info), status = put(stream, "more");
        if (i == 2)
            llm_writer_chunk(stream_writer(stream), &info),
                status = llm_writer_chunk(stream_writer(stream), &info);
        if (i == 3) status = llm_writer_chunk(stream_writer(stream), &odd);
        assert_int_equal(status, LLM_INTERNAL_ERROR);
        finish(stream, LLM_OK, NULL); // even if it does not pass it on
        assert_error(llm_stream_next(stream, 0, &chunk, &err), LLM_INTERNAL_ERROR, "the backend wrote");
        llm_stream_free(stream);
    }
}

static void test_failed_allocations_end_the_stream(void **state)
{
    (void)state;
    int32_t token = 1;
    llm_token_logprob logprob = {1, 0};
    const llm_chunk chunks[] = {{.kind = LLM_CHUNK_TEXT, .text = "a", .length = 1},
                                {.kind = LLM_CHUNK_TOOL_CALL, .text = "{}"},
                                {.kind = LLM_CHUNK_LOGPROBS, .logprobs = &logprob, .num_logprobs = 1},
                                {.kind = LLM_CHUNK_INFO, .tokens = &token, .num_tokens = 1}};
    for (int i = 0; i < 4; i++) {
        llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
        mem_fail_after(0);
        llm_status status = llm_writer_chunk(stream_writer(stream), &chunks[i]);
        mem_fail_after(-1);
        assert_int_equal(status, LLM_OUT_OF_MEMORY);
        assert_int_equal(put(stream, "more"), LLM_OUT_OF_MEMORY);
        finish(stream, LLM_OK, NULL);
        assert_error(llm_stream_next(stream, 0, &chunk, &err), LLM_OUT_OF_MEMORY, "no memory for");
        llm_stream_free(stream);
    }
    mem_fail_after(0);
    assert_null(stream_create(STREAM_QUEUE_BYTES, &err));
    mem_fail_after(-1);
    assert_int_equal(err.code, LLM_OUT_OF_MEMORY);
}

// ---- Pushing ----------------------------------------------------------------------------------------------

static int stop_at_second(void *user, const llm_chunk *c)
{
    int *calls = user;
    assert_true(c->kind == LLM_CHUNK_TEXT || c->kind == LLM_CHUNK_INFO);
    return ++*calls == 2;
}

static int never_stop(void *user, const llm_chunk *c)
{
    return (void)c, ++*(int *)user, 0;
}

static void test_consume(void **state)
{
    (void)state;
    int calls = 0;
    llm_stream *stream = create_stream(STREAM_QUEUE_BYTES);
    put(stream, "a");
    finish(stream, LLM_OK, NULL);
    assert_ok(llm_stream_consume(stream, never_stop, &calls, &err));
    assert_int_equal(calls, 2);
    llm_stream_free(stream);

    stream = create_stream(1000);
    writing w = {stream, 1 << 30, 0, LLM_OK};
    pthread_t thread;
    calls = 0;
    pthread_create(&thread, NULL, write_numbers, &w);
    assert_error(llm_stream_consume(stream, stop_at_second, &calls, &err), LLM_CANCELLED, "cancelled");
    assert_int_equal(calls, 2);
    pthread_join(thread, NULL);
    llm_stream_free(stream);
    assert_error(llm_stream_consume(NULL, never_stop, &calls, &err), LLM_INVALID_ARGUMENT, "NULL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_then_info_then_end_for_ever),
        cmocka_unit_test(test_slow_readers_get_adjacent_text_at_once),
        cmocka_unit_test(test_every_kind_is_copied),
        cmocka_unit_test(test_timeouts_take_their_time),
        cmocka_unit_test(test_a_small_queue_loses_nothing),
        cmocka_unit_test(test_cancelling_wakes_a_held_up_writer),
        cmocka_unit_test(test_free_cancels_and_waits),
        cmocka_unit_test(test_the_descriptor_says_when_there_is_something),
        cmocka_unit_test(test_a_late_descriptor_is_right_at_once),
        cmocka_unit_test(test_the_pipe_form_of_a_descriptor),
        cmocka_unit_test(test_errors_end_a_stream_without_info),
        cmocka_unit_test(test_an_end_without_words_gets_some),
        cmocka_unit_test(test_cancelled_before_it_ran),
        cmocka_unit_test(test_a_finished_answer_is_not_cancelled),
        cmocka_unit_test(test_a_backend_that_does_not_listen_is_cancelled_all_the_same),
        cmocka_unit_test(test_what_a_backend_must_not_write),
        cmocka_unit_test(test_failed_allocations_end_the_stream),
        cmocka_unit_test(test_consume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
