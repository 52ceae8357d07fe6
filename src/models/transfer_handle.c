// One handle of curl's: its options, the headers and the body of its answer.
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "models/transfer_parts.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// ---- Addresses --------------------------------------------------------------------------------------------

void url_host(const char *url, char *host, size_t capacity)
{
    const char *begin = strstr(url, "://");
    begin = begin ? begin + 3 : url;
    size_t length = strcspn(begin, "/?#");
    const char *user_end = memchr(begin, '@', length);
    if (user_end) length -= (size_t)(user_end + 1 - begin), begin = user_end + 1;
    snprintf(host, capacity, "%.*s", (int)(length < capacity ? length : capacity - 1), begin);
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part, unsigned flags)
{
    char *x = NULL, *y = NULL;
    bool same = curl_url_get(a, part, &x, flags) == CURLUE_OK &&
                curl_url_get(b, part, &y, flags) == CURLUE_OK && strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

bool url_same_origin(const char *a, const char *b)
{
    CURLU *x = curl_url(), *y = curl_url();
    bool same = x && y && curl_url_set(x, CURLUPART_URL, a, 0) == CURLUE_OK &&
                curl_url_set(y, CURLUPART_URL, b, 0) == CURLUE_OK && same_part(x, y, CURLUPART_SCHEME, 0) &&
                same_part(x, y, CURLUPART_HOST, 0) && same_part(x, y, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    curl_url_cleanup(x);
    curl_url_cleanup(y);
    return same;
}

// ---- Headers ----------------------------------------------------------------------------------------------

typedef struct header_row {
    const char *name;
    size_t offset, size;
} header_row;

#define ROW(name, member)                                                                                    \
    {                                                                                                        \
        name, offsetof(transfer_headers, member), sizeof((transfer_headers *)0)->member                      \
    }
static const header_row header_rows[] = {
    ROW("etag", etag),
    ROW("x-linked-etag", linked_etag),
    ROW("x-linked-size", linked_size),
    ROW("x-error-code", error_code),
    ROW("x-error-message", error_message),
    ROW("content-range", content_range),
};

static void keep_header(transfer_headers *headers, const char *name, size_t name_length, const char *value,
                        size_t length)
{
    for (size_t i = 0; i < sizeof header_rows / sizeof *header_rows; i++) {
        const header_row *row = &header_rows[i];
        if (strlen(row->name) != name_length || strncasecmp(row->name, name, name_length) != 0 ||
            length >= row->size)
            continue;
        char *place = (char *)headers + row->offset;
        for (size_t k = 0; k < length; k++)
            place[k] = (unsigned char)value[k] < ' ' || value[k] == 0x7F ? '?' : value[k];
        place[length] = 0;
    }
    if (name_length == 11 && strncasecmp(name, "retry-after", 11) == 0 && length > 0 && length < 9 &&
        value[0] >= '0' && value[0] <= '9')
        headers->retry_after = atoi(value); // a date is not understood: the usual pause
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    transfer *t = user;
    size_t length = size * count, end = length;
    const char *colon = memchr(line, ':', length);
    if (length >= 5 && strncmp(line, "HTTP/", 5) == 0) t->headers = (transfer_headers){.retry_after = -1};
    if (!colon) return length;
    const char *value = colon + 1;
    while (end > 0 && (line[end - 1] == '\r' || line[end - 1] == '\n' || line[end - 1] == ' ')) end--;
    while (value < line + end && (*value == ' ' || *value == '\t')) value++;
    if (value <= line + end)
        keep_header(&t->headers, line, (size_t)(colon - line), value, (size_t)(line + end - value));
    return length;
}

// ---- Body -------------------------------------------------------------------------------------------------

// "bytes 100-199/200": where the part begins, and the whole length or -1.
static bool read_range(const char *text, uint64_t *first, int64_t *total)
{
    unsigned long long from, to, all;
    *total = -1;
    if (sscanf(text, "bytes %llu-%llu/%llu", &from, &to, &all) == 3 && all <= INT64_MAX)
        *total = (int64_t)all;
    else if (sscanf(text, "bytes %llu-%llu/*", &from, &to) != 2)
        return false;
    *first = from;
    return true;
}

static int begin_body(transfer *t)
{
    curl_off_t length = -1;
    int64_t total = -1;
    uint64_t first = 0;
    t->began = true;
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (t->http_status == 206) {
        if (!read_range(t->headers.content_range, &first, &total) || first != t->offset) {
            error_set(&t->error, LLM_DOWNLOAD_FAILED,
                      "cannot get %s: the server sent another part than was asked for", t->name);
            if (t->methods->restart) t->methods->restart(t);
            return TRANSFER_AGAIN;
        }
        return t->methods->begin(t, false, total, &t->error);
    }
    return t->methods->begin(t, true, length, &t->error);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    transfer *t = user;
    size_t length = size * count;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->http_status);
    if (t->http_status < 200 || t->http_status > 299) return length; // an error's page
    if (!t->began) t->outcome = begin_body(t);
    if (t->outcome == LLM_OK) t->outcome = t->methods->write(t, bytes, length, &t->error);
    if (t->outcome != LLM_OK) return CURL_WRITEFUNC_ERROR;
    t->received += length;
    return length;
}

// ---- Opening ----------------------------------------------------------------------------------------------

static void initialize(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

llm_status transfer_multi_open(transfer_run *run, llm_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialize);
    run->multi = curl_multi_init();
    return run->multi ? LLM_OK : error_no_memory(err, "transfers");
}

static bool add_header(transfer *t, const char *name, const char *value)
{
    buf line = {0};
    buf_printf(&line, "%s: %s", name, value);
    struct curl_slist *longer = line.failed ? NULL : curl_slist_append(t->list, line.data);
    buf_free(&line);
    if (longer) t->list = longer;
    return longer != NULL;
}

static bool add_headers(transfer *t, const char *url)
{
    char range[60];
    snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)t->offset);
    if (t->token) {
        buf bearer = {0};
        buf_printf(&bearer, "Bearer %s", t->token);
        bool added =
            !url_same_origin(t->url, url) || (!bearer.failed && add_header(t, "Authorization", bearer.data));
        buf_free(&bearer);
        if (!added) return false;
    }
    return add_header(t, "Accept", t->accept ? t->accept : "*/*") &&
           (t->offset == 0 || add_header(t, "Range", range));
}

static void set_options(transfer_run *run, transfer *t, const char *url)
{
    CURL *easy = t->easy;
    long stall = run->settings->stall_seconds;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    // Separate connections bring more than one that is shared.
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    if (run->settings->ca_file) curl_easy_setopt(easy, CURLOPT_CAINFO, run->settings->ca_file);
    if (run->settings->ca_folder) curl_easy_setopt(easy, CURLOPT_CAPATH, run->settings->ca_folder);
    curl_easy_setopt(easy, CURLOPT_NOBODY, (long)t->head);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "llmlocal/" LLM_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->list);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, stall);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, stall);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->curl_error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
}

llm_status transfer_open(transfer_run *run, transfer *t, llm_error *err)
{
    char host[200];
    const char *url = t->now_url ? t->now_url : t->url;
    t->curl_error[0] = 0;
    t->headers = (transfer_headers){.retry_after = -1};
    t->outcome = LLM_OK;
    t->began = false;
    t->http_status = 0;
    t->easy = curl_easy_init();
    bool opened = t->easy && add_headers(t, url);
    if (opened) set_options(run, t, url);
    opened = opened && curl_multi_add_handle(run->multi, t->easy) == CURLM_OK;
    if (!opened) {
        if (t->easy) curl_easy_cleanup(t->easy);
        t->easy = NULL;
        return error_no_memory(err, t->name);
    }
    run->running++;
    t->phase = PHASE_RUNNING;
    url_host(url, host, sizeof host);
    log_message(LOG_DEBUG, "getting %s from %s%s", t->name, host, t->offset ? ", the rest" : "");
    return LLM_OK;
}
