// An answer in an event loop: event_loop MODEL PROMPT. The loop sleeps in poll() until the answer or the
// keyboard has something; Enter cancels. The same descriptor goes into epoll, kqueue, GLib or libuv. MODEL
// "mock" needs no model.
#include <llmlocal.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(const llm_error *err)
{
    fprintf(stderr, "%s\n", err->message);
    return 1;
}

// Prints what has come, without waiting. Returns LLM_TIMEOUT while there will be more.
static llm_status print_what_is_there(llm_stream *answer, llm_error *err)
{
    llm_chunk chunk;
    llm_status status;
    while ((status = llm_stream_next(answer, 0, &chunk, err)) == LLM_OK) {
        if (chunk.kind == LLM_CHUNK_TEXT) fwrite(chunk.text, 1, chunk.length, stdout);
        if (chunk.kind == LLM_CHUNK_INFO)
            printf("\n[%d tokens, %s]\n", chunk.stats.generated_tokens,
                   llm_finish_reason_name(chunk.finish_reason));
    }
    fflush(stdout);
    return status;
}

static llm_status run_loop(llm_stream *answer, llm_error *err)
{
    llm_status status = LLM_TIMEOUT;
    struct pollfd sources[] = {{.fd = llm_stream_fd(answer), .events = POLLIN},
                               {.fd = STDIN_FILENO, .events = POLLIN}};
    while (status == LLM_TIMEOUT) {
        poll(sources, 2, -1);
        if (sources[0].revents) status = print_what_is_there(answer, err);
        if (sources[1].revents) {
            char typed[256];
            if (read(STDIN_FILENO, typed, sizeof typed) > 0)
                llm_stream_cancel(answer);
            else
                sources[1].fd = -1; // closed: nobody will type
        }
    }
    return status;
}

int main(int argc, char **argv)
{
    llm_error err;
    llm_model_spec spec;
    if (argc != 3) return fprintf(stderr, "usage: event_loop MODEL PROMPT\n"), 2;
    llm_model_spec_init(&spec, argv[1]);
    llm_backend *backend =
        strcmp(argv[1], "mock") ? llm_mlx_backend_create(NULL, &err) : llm_mock_backend_create(&err);
    if (!backend || llm_backend_load(backend, &spec, NULL, NULL, &err) != LLM_OK) return fail(&err);
    llm_stream *answer = llm_backend_generate(backend, argv[2], NULL, &err);
    if (!answer) return fail(&err);

    llm_status status = run_loop(answer, &err);
    llm_stream_free(answer);
    llm_backend_free(backend);
    return status == LLM_END || status == LLM_CANCELLED ? 0 : fail(&err);
}
