// The loop over curl's multi interface. Redirects are followed here and not by curl, so that it is plain to
// see where a token goes: to the host it is for.
#include "models/transfer.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "models/transfer_parts.h"
#include <string.h>
#include <time.h>

enum { MAX_REDIRECTS = 10, POLL_MS = 100, LONGEST_PAUSE = 300, WAIT_MS = 100 };
static const int64_t millisecond = 1000000;

// ---- Ends of a try ----------------------------------------------------------------------------------------

static void release_handle(transfer_run *run, transfer *t)
{
    if (t->easy) {
        curl_multi_remove_handle(run->multi, t->easy);
        curl_easy_cleanup(t->easy);
        run->running--;
    }
    curl_slist_free_all(t->list);
    t->easy = t->list = NULL;
}

static void settle(transfer *t, phase_kind phase)
{
    t->phase = (int)phase;
    mem_free(t->now_url);
    t->now_url = NULL;
}

static void fail_transfer(transfer *t, llm_status status)
{
    if (t->error.code != status || !t->error.message[0])
        error_set(&t->error, status, "cannot get %s: %s", t->name, llm_status_name(status));
    settle(t, PHASE_FAILED);
}

// Another try, later; t->error says what was wrong with this one.
static void try_later(transfer_run *run, transfer *t, int seconds)
{
    char reason[sizeof t->error.message];
    if (t->received > t->received_before) t->tries = 0; // it does come, if slowly
    t->received_before = t->received;
    if (++t->tries >= run->settings->max_tries) {
        memcpy(reason, t->error.message, sizeof reason);
        error_set(&t->error, LLM_DOWNLOAD_FAILED, "%s (%d tries)", reason, t->tries);
        settle(t, PHASE_FAILED);
        return;
    }
    int64_t pause = (int64_t)run->settings->retry_ms << (t->tries - 1 < 6 ? t->tries - 1 : 6);
    if (seconds >= 0) pause = (int64_t)(seconds < LONGEST_PAUSE ? seconds : LONGEST_PAUSE) * 1000;
    log_message(LOG_INFO, "%s; trying again in %.1f s", t->error.message, (double)pause / 1000);
    t->not_before = clock_nanoseconds() + pause * millisecond;
    settle(t, PHASE_WAITING);
}

static void handle_outcome(transfer_run *run, transfer *t, int outcome)
{
    if (outcome == LLM_OK || outcome == TRANSFER_SKIP)
        settle(t, PHASE_DONE);
    else if (outcome == TRANSFER_AGAIN)
        try_later(run, t, -1);
    else
        fail_transfer(t, (llm_status)outcome);
}

// ---- Answers ----------------------------------------------------------------------------------------------

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool is_passing(long status)
{
    return status == 408 || status == 429 || (status >= 500 && status <= 599);
}

// The next address; NULL with t->error set where it must not be followed.
static char *redirect_target(transfer *t)
{
    char *url = NULL;
    char from[200], to[200] = "";
    const char *now = t->now_url ? t->now_url : t->url;
    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &url);
    url_host(now, from, sizeof from);
    if (url) url_host(url, to, sizeof to);
    const char *wrong = !url                             ? "leads nowhere"
                        : ++t->redirects > MAX_REDIRECTS ? "is one of too many"
                        : strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0
                            ? "leads to something that is not HTTP"
                        : strncmp(now, "https://", 8) == 0 && strncmp(url, "https://", 8) != 0
                            ? "gives up encryption"
                            : NULL;
    if (wrong)
        return error_set(&t->error, LLM_DOWNLOAD_FAILED, "cannot get %s: the redirect from %s %s", t->name,
                         from, wrong),
               NULL;
    char *copy = mem_copy_string(url);
    if (!copy) error_no_memory(&t->error, t->name);
    return copy;
}

static void explain_status(transfer_run *run, transfer *t)
{
    char host[200];
    url_host(t->now_url ? t->now_url : t->url, host, sizeof host);
    error_set(&t->error, LLM_DOWNLOAD_FAILED, "cannot get %s: %s answered %ld%s%s", t->name, host,
              t->http_status, t->headers.error_message[0] ? ": " : "", t->headers.error_message);
    if (is_passing(t->http_status)) {
        try_later(run, t, t->headers.retry_after);
    } else {
        // An answer of another host than the hub itself says nothing about the repository.
        if (t->explain && url_same_origin(t->url, t->now_url ? t->now_url : t->url)) t->explain(t, &t->error);
        settle(t, PHASE_FAILED);
    }
}

static void take_answer(transfer_run *run, transfer *t)
{
    if (is_redirect(t->http_status) && !(t->head && t->headers.linked_etag[0])) {
        char *next = redirect_target(t);
        release_handle(run, t);
        mem_free(t->now_url);
        t->now_url = next;
        if (next)
            t->phase = PHASE_READY;
        else
            settle(t, PHASE_FAILED);
        return;
    }
    release_handle(run, t);
    if (t->http_status == 416 && t->offset > 0 && t->methods->restart) {
        t->methods->restart(t);
        error_set(&t->error, LLM_DOWNLOAD_FAILED, "cannot get %s: the server has no byte %llu of it", t->name,
                  (unsigned long long)t->offset);
        try_later(run, t, 0);
    } else if (t->http_status >= 200 && t->http_status < 300 && t->http_status != 204) {
        int outcome = LLM_OK;
        if (!t->head && !t->began) outcome = t->methods->begin(t, true, 0, &t->error); // an empty body
        if (outcome == LLM_OK && t->methods->finish) outcome = t->methods->finish(t, &t->error);
        handle_outcome(run, t, outcome);
    } else if (t->head && t->headers.linked_etag[0]) {
        handle_outcome(run, t, t->methods->finish(t, &t->error));
    } else {
        explain_status(run, t);
    }
}

// A server that is not who it should be, or a proxy that refuses, will be the same next time.
static bool is_final(CURLcode code, long proxy_status)
{
    if (proxy_status >= 400 && proxy_status <= 499 && proxy_status != 408 && proxy_status != 429) return true;
    return code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT || code == CURLE_OUT_OF_MEMORY ||
           code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_FAILED_INIT;
}

// By OpenSSL's numbers: the certificate's issuer, or the certificate itself, is not known here.
static bool is_unknown_authority(long verified)
{
    return verified >= 18 && verified <= 21;
}

static void take_failure(transfer_run *run, transfer *t, CURLcode code)
{
    char host[200];
    long verified = 0, proxy_status = 0;
    url_host(t->now_url ? t->now_url : t->url, host, sizeof host);
    curl_easy_getinfo(t->easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    release_handle(run, t);
    if (t->outcome != LLM_OK) {
        handle_outcome(run, t, t->outcome);
        return;
    }
    const char *reason = t->curl_error[0] ? t->curl_error : curl_easy_strerror(code);
    if (code == CURLE_OPERATION_TIMEDOUT && t->began) reason = "nothing came any more";
    error_set(&t->error, code == CURLE_OUT_OF_MEMORY ? LLM_OUT_OF_MEMORY : LLM_DOWNLOAD_FAILED,
              "cannot get %s from %s: %s%s", t->name, host, reason,
              code == CURLE_PEER_FAILED_VERIFICATION && is_unknown_authority(verified)
                  ? " (SSL_CERT_FILE may name a file of certificates to trust)"
                  : "");
    if (is_final(code, proxy_status))
        settle(t, PHASE_FAILED);
    else
        try_later(run, t, -1);
}

static void take_messages(transfer_run *run)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(run->multi, &left));) {
        if (message->msg != CURLMSG_DONE) continue;
        transfer *t = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &t->http_status);
        if (code == CURLE_OK && t->outcome == LLM_OK)
            take_answer(run, t);
        else
            take_failure(run, t, code);
    }
}

// ---- The loop ---------------------------------------------------------------------------------------------

static void start(transfer_run *run, transfer *t)
{
    if (t->phase == PHASE_WAITING) {
        int outcome = t->methods->prepare ? t->methods->prepare(t, &t->error) : LLM_OK;
        if (outcome == TRANSFER_WAIT) {
            t->not_before = clock_nanoseconds() + WAIT_MS * millisecond;
            return;
        }
        if (outcome != LLM_OK) {
            handle_outcome(run, t, outcome);
            return;
        }
        t->redirects = 0;
    }
    llm_status status = transfer_open(run, t, &t->error);
    if (status != LLM_OK) {
        curl_slist_free_all(t->list);
        t->list = NULL;
        fail_transfer(t, status);
    }
}

static void start_waiting(transfer_run *run)
{
    int64_t now = clock_nanoseconds();
    for (size_t i = 0; i < run->count && run->running < run->settings->max_parallel; i++) {
        transfer *t = &run->list[i];
        if (t->phase == PHASE_READY || (t->phase == PHASE_WAITING && now >= t->not_before)) start(run, t);
    }
}

// Back to waiting: what has come is kept by the methods.
static void drop_connections(transfer_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        transfer *t = &run->list[i];
        release_handle(run, t);
        if (t->phase == PHASE_RUNNING || t->phase == PHASE_READY) settle(t, PHASE_WAITING);
        t->not_before = 0;
    }
}

static const transfer *find_failed(const transfer_run *run, size_t *open)
{
    *open = 0;
    for (size_t i = 0; i < run->count; i++) {
        if (run->list[i].phase == PHASE_FAILED) return &run->list[i];
        *open += run->list[i].phase != PHASE_DONE;
    }
    return NULL;
}

static llm_status step(transfer_run *run, bool *paused)
{
    int alive;
    int order = run->control->order ? atomic_load(run->control->order) : TRANSFER_GO;
    if (order == TRANSFER_STOP || (run->control->progress && !run->control->progress(run->control->user)))
        return LLM_CANCELLED;
    if (order == TRANSFER_PAUSE) {
        if (!*paused) drop_connections(run);
        *paused = true;
        nanosleep(&(struct timespec){.tv_nsec = 50 * millisecond}, NULL);
        return LLM_OK;
    }
    *paused = false;
    start_waiting(run);
    curl_multi_perform(run->multi, &alive);
    take_messages(run);
    return LLM_OK;
}

static llm_status loop(transfer_run *run, llm_error *err)
{
    bool paused = false;
    for (;;) {
        size_t open;
        if (step(run, &paused) != LLM_OK) return error_set(err, LLM_CANCELLED, "the download was cancelled");
        const transfer *failed = find_failed(run, &open);
        if (failed) {
            if (err) *err = failed->error;
            return failed->error.code;
        }
        if (!open) return LLM_OK;
        // Where something can begin at once, there is nothing to wait for.
        bool ready = false;
        for (size_t i = 0; i < run->count; i++)
            ready |= run->list[i].phase == PHASE_READY && run->running < run->settings->max_parallel;
        if (!paused && !ready) curl_multi_poll(run->multi, NULL, 0, POLL_MS, NULL);
    }
}

llm_status transfers_run(transfer *list, size_t count, const hub_settings *settings,
                         const transfer_control *control, llm_error *err)
{
    static const transfer_control none;
    transfer_run run = {
        .list = list, .count = count, .settings = settings, .control = control ? control : &none};
    llm_status status = transfer_multi_open(&run, err);
    if (status != LLM_OK) return status;
    for (size_t i = 0; i < count; i++) list[i].run = &run;
    status = loop(&run, err);
    for (size_t i = 0; i < count; i++) {
        release_handle(&run, &list[i]);
        mem_free(list[i].now_url);
        list[i].now_url = NULL;
    }
    curl_multi_cleanup(run.multi);
    return status;
}

// ---- Documents --------------------------------------------------------------------------------------------

static int begin_document(transfer *t, bool from_start, int64_t total, llm_error *err)
{
    buf *body = t->user;
    (void)from_start, (void)total, (void)err;
    buf_clear(body);
    return LLM_OK;
}

static int write_document(transfer *t, const void *bytes, size_t length, llm_error *err)
{
    buf *body = t->user;
    if (buf_append(body, bytes, length)) return LLM_OK;
    if (length <= body->limit && body->length + length <= body->limit)
        return (int)error_no_memory(err, t->name);
    return (int)error_set(err, LLM_DOWNLOAD_FAILED, "cannot get %s: the answer is longer than %zu bytes",
                          t->name, body->limit);
}

llm_status transfer_document(transfer *t, size_t limit, const hub_settings *settings,
                             const transfer_control *control, char **body, size_t *length, llm_error *err)
{
    static const transfer_methods methods = {.begin = begin_document, .write = write_document};
    buf text = {.limit = limit};
    t->methods = &methods;
    t->user = &text;
    *body = NULL;
    llm_status status = transfers_run(t, 1, settings, control, err);
    *length = text.length;
    if (status == LLM_OK && !(*body = buf_take(&text))) status = error_no_memory(err, t->name);
    buf_free(&text);
    return status;
}
