// The inside of llm_service: slots with a backend and a thread each, and the requests that wait for one.
//
// One mutex guards the fields. A slot's thread has its backend for itself while `request` is set, and whoever
// has raised `claims` once it is not; neither holds the lock while it calls the backend.
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H
#include "base/arena.h"
#include "base/error.h"
#include "service/pressure.h"
#include <pthread.h>
#include <stdatomic.h>

// What a slot's thread runs: an answer, or, without a stream, only a load.
typedef struct request {
    struct request *next;
    llm_model_spec *spec;  // owned, until the slot takes it over with the model
    llm_stream *stream;    // NULL: a thread waits for `done`
    arena memory;          // of `body`
    llm_request body;
    uint64_t session;      // service->session when it was made
    double made;           // when, by clock_seconds
    double load_seconds, first_token_seconds; // 0: it found the model loaded; there was none yet
    llm_stats stats;       // of the answer, once it has an info chunk
    bool has_stats;
    llm_progress_function progress; // of a load; NULL: none
    void *progress_user;
    atomic_bool stop;      // a load is to end
    bool done;
    llm_status status;     // of a load that is done
    llm_error err;
} request;

typedef struct slot {
    struct llm_service *service;
    llm_backend *backend;
    pthread_t thread;
    bool has_thread;
    request *request;      // runs
    llm_model_spec *model; // in memory; NULL: none
    int claims;            // threads that unload it, or wait to: nothing starts
    uint64_t session;      // of the model's session: older than a request's, it is reset
    uint64_t last_used;    // by service->clock
} slot;

// The thread that watches memory. `control` is held by starting and stopping, `lock` guards `stop`.
typedef struct monitor {
    pthread_mutex_t control, lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool runs, stop;
    pressure_watch watch;
} monitor;

struct llm_service {
    llm_service_options options; // but for its mlx options:
    llm_mlx_options mlx;
    char *engine_name;           // behind mlx.engine
    monitor monitor;
    pthread_mutex_t lock; // for all that follows
    pthread_cond_t changed; // of any field
    bool closing;
    slot *slots;
    int num_slots;
    request *first, *last;  // what waits, oldest first
    llm_model_spec *latest; // of the latest request; NULL: none was made
    char *system_prompt;    // of requests to come; NULL: none
    uint64_t session;       // a reset begins the next one
    uint64_t clock;         // counts uses
    llm_stats last_stats;
    bool has_stats;
};

// ---- service.c
int service_unload_all(llm_service *service); // returns how many models that were

// ---- monitor.c
bool monitor_init(monitor *m);
void monitor_free(monitor *m); // it does not run

// ---- requests.c. With the lock held
void requests_dispatch(llm_service *service); // starts what can run
void request_end(request *r, llm_status status, const llm_error *err); // ends its stream and frees it, or tells who waits
// Ends what waits for `spec` (NULL: for any) as cancelled.
void requests_drop(llm_service *service, const llm_model_spec *spec);

// ---- slots.c
void *slot_main(void *slot); // the thread
// The slot that has the model or is about to, else the one to put it into. NULL: all are busy. With the lock held.
slot *slot_for(llm_service *service, const llm_model_spec *spec);
bool slot_holds(const slot *s, const llm_model_spec *spec); // loaded, or being loaded. With the lock held
// Cancels what runs in it. Holds the lock, and lets go of it in between.
void slot_cancel(slot *s);
// Cancels what runs in it, waits, and frees its model if that is still `spec` (NULL: any); false: it is not. As above.
bool slot_unload(slot *s, const llm_model_spec *spec);

#endif
