// Getting things over HTTP: several at a time, with retries, redirects, resumption and stall limits, over
// libcurl. What becomes of the bytes is the business of each transfer's methods.
#ifndef MODELS_TRANSFER_H
#define MODELS_TRANSFER_H
#include "models/hub_settings.h"
#include <stdatomic.h>

typedef struct transfer transfer;

enum { TRANSFER_AGAIN = -1, TRANSFER_WAIT = -2, TRANSFER_SKIP = -3 }; // beside llm_status

// Each returns an llm_status, LLM_OK to go on. All are called from the thread that runs transfers_run.
typedef struct transfer_methods {
    // Before each try; sets t->offset, from which on the rest is wanted. TRANSFER_WAIT: not now, ask again
    // soon. TRANSFER_SKIP: there is nothing to get. NULL: nothing to prepare.
    int (*prepare)(transfer *t, llm_error *err);
    // The body begins: at t->offset, or at 0 when the server sends all of it. `total` of the whole, -1
    // unknown.
    int (*begin)(transfer *t, bool from_start, int64_t total, llm_error *err);
    int (*write)(transfer *t, const void *bytes, size_t length, llm_error *err);
    // The body has ended. TRANSFER_AGAIN: another try is needed; err says why, in case there are no more.
    int (*finish)(transfer *t, llm_error *err);
    // The server asked not to be bothered with this offset (416): the next try begins at 0.
    void (*restart)(transfer *t);
} transfer_methods;

typedef struct transfer_headers { // of the latest answer
    char etag[200], linked_etag[200], linked_size[24], error_code[40], error_message[200], location[20];
    char content_range[80];
    int retry_after; // seconds; -1: not said
} transfer_headers;

struct transfer {
    const transfer_methods *methods;
    void *user;       // the methods'
    void *context;    // explain's
    const char *name; // for messages
    const char *url;
    const char *token;  // NULL: none. Sent to the url's scheme, host and port and to no other
    const char *accept; // NULL: anything
    bool head;          // ask for the headers only
    // Turns an answer that is no success into an error; NULL: "the server answered <status>".
    llm_status (*explain)(const transfer *t, llm_error *err);
    uint64_t offset; // where the body continues
    // Results.
    long http_status;
    transfer_headers headers;
    uint64_t received; // bytes of bodies
    // Private.
    struct transfer_run *run;
    void *easy, *list;
    char *now_url; // after redirects
    int phase, tries, redirects;
    int64_t not_before; // nanoseconds of the clock
    int outcome;        // of a method that stopped the body; LLM_OK
    bool began;
    uint64_t received_before;
    llm_error error;
    char curl_error[256];
};

typedef enum transfer_order { TRANSFER_GO, TRANSFER_PAUSE, TRANSFER_STOP } transfer_order;

typedef struct transfer_control {
    const atomic_int *order;      // a transfer_order, read ten times a second or more; NULL: always GO
    bool (*progress)(void *user); // called about ten times a second; false: stop. NULL: none
    void *user;
} transfer_control;

// Runs all to their ends. The first that fails ends the others: its error. Stopped: LLM_CANCELLED. While
// paused, there are no connections.
llm_status transfers_run(transfer *list, size_t count, const hub_settings *settings,
                         const transfer_control *control, llm_error *err);

// Gets a document of at most `limit` bytes into *body, owned (mem_free), NUL-terminated. `t` has url and so
// on.
llm_status transfer_document(transfer *t, size_t limit, const hub_settings *settings,
                             const transfer_control *control, char **body, size_t *length, llm_error *err);

// "https://host:port/path?query" to "host:port".
void url_host(const char *url, char *host, size_t capacity);
bool url_same_origin(const char *a, const char *b);

#endif
