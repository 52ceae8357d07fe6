// The inside of llm_backend, shared by backend.c (models come and go) and answers.c (requests run).
//
// One mutex guards the fields; slots of the table are called without it, except the two that answer at once
// (memory, engine_info). While `owner` is not nobody, or the phase is loading or unloading, one thread has
// `state` for itself.
#ifndef CLIENT_BACKEND_H
#define CLIENT_BACKEND_H
#include "base/arena.h"
#include "base/error.h"
#include <pthread.h>
#include <stdatomic.h>

typedef enum backend_phase { PHASE_IDLE, PHASE_LOADING, PHASE_LOADED, PHASE_UNLOADING } backend_phase;

// Who uses the loaded model right now. A brief use is a slot that answers at once and makes nobody busy.
typedef enum backend_owner { OWNER_NOBODY, OWNER_ANSWER, OWNER_SCORE, OWNER_BRIEF } backend_owner;

// A place in the queue: a request that the worker runs, or, without a stream, a waiting thread.
typedef struct job {
    struct job *next;
    llm_stream *stream;
    arena memory; // of the request
    llm_request request;
    bool fresh;   // the session was reset before this request was made
    bool dropped; // of a turn: it will not come
} job;

struct llm_backend {
    const llm_backend_methods *methods;
    void *state;
    pthread_mutex_t lock;
    pthread_cond_t changed; // of any field
    backend_phase phase;
    backend_owner owner;
    llm_model_spec *model; // what is loaded
    char *system_prompt;   // of requests to come; NULL: none
    char *told_prompt;     // what set_system_prompt was last called with; NULL: none, as after a load
    bool fresh;            // reset was asked for: the next request begins a new session
    job *first, *last;     // what waits, oldest first
    llm_stream *running;   // of the request that runs; the worker owns it
    atomic_bool stop_load, stop_score;
    int callers;  // threads inside load, unload and score
    bool closing; // llm_backend_free has begun
    bool has_worker;
    pthread_t worker;
};

// Drops what waits and stops what runs; returns when nobody uses the model. Holds the lock, and lets go of it
// in between: the phase must already keep new requests out.
void answers_stop(llm_backend *backend);
void answers_join(llm_backend *backend); // ends the worker; `closing` is set and nothing waits

// Waits until everything before it in the queue is done; then the model is the caller's until the end of the turn. Not
// under the lock. After an error there is no turn.
llm_status answers_take_turn(llm_backend *backend, llm_error *err);
void answers_end_turn(llm_backend *backend);

// Makes sure that a slot that failed has said why.
llm_status backend_slot_status(const llm_backend *backend, const char *slot, llm_status status,
                               llm_error *err);

#endif
