// The inside of llm_backend, shared by backend.c (models come and go), answers.c (requests run) and session.c (chats).
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

// Who uses the loaded model right now. A turn is a caller's thread that scores, saves or restores. A brief use is a
// slot that answers at once and makes nobody busy.
typedef enum backend_owner { OWNER_NOBODY, OWNER_ANSWER, OWNER_TURN, OWNER_BRIEF } backend_owner;

struct llm_session {
    llm_backend *backend;
    llm_session *next;   // of the backend's list of living ones, or of discarded ones
    void *state;         // of session_create; NULL: not yet made. The model owner's; the lock's while models come and go
    char *system_prompt; // of requests to come; NULL: none
    bool fresh;          // reset was asked for: what is asked next begins anew
};

// A place in the queue: a request that the worker runs, or, without a stream, a waiting thread.
typedef struct job {
    struct job *next;
    llm_stream *stream;
    arena memory; // of the request
    llm_request request;
    llm_session *session; // NULL: it concerns none
    bool fresh;   // the session was reset before this was asked for
    bool dropped; // of a turn: it will not come
} job;

struct llm_backend {
    llm_backend_methods table;
    const llm_backend_methods *methods; // the table
    void *state;
    int references; // the application's, and one of each session but the own one
    pthread_mutex_t lock;
    pthread_cond_t changed; // of any field
    backend_phase phase;
    backend_owner owner;
    llm_model_spec *model; // what is loaded
    llm_session own;
    llm_session *sessions;  // the living ones, the own one included
    llm_session *discarded; // freed while the model was in use: their states go when it is free
    char *told_prompt;      // what set_system_prompt was last called with; NULL: none, as after a load
    job *first, *last;      // what waits, oldest first
    llm_stream *running;    // of the request that runs; the worker owns it
    llm_session *running_session;
    atomic_bool stop_load, stop_score;
    int callers;  // threads inside load, unload and turns
    bool closing; // llm_backend_free has begun
    bool has_worker;
    pthread_t worker;
};

// Drops what waits and stops what runs; returns when nobody uses the model. Holds the lock, and lets go of it
// in between: the phase must already keep new requests out.
void answers_stop(llm_backend *backend);
void answers_join(llm_backend *backend); // ends the worker; `closing` is set and nothing waits
void answers_drop(llm_backend *backend, const llm_session *session); // cancels what waits of it. Holds the lock
void answers_cancel(llm_backend *backend); // what runs, or is about to. Holds the lock, opens it in between
llm_stream *answers_submit(llm_backend *backend, llm_session *session, const llm_request *request, llm_error *err);

// A caller's turn in the queue: waits for it; on LLM_OK the model is the caller's until answers_end_turn. *fresh (may be
// NULL): the session (may be NULL) was reset before. `what` is for the error.
llm_status answers_take_turn(llm_backend *backend, llm_session *session, const char *what, bool *fresh, llm_error *err);
void answers_end_turn(llm_backend *backend);

// All hold the lock.
bool backend_is_free(const llm_backend *backend); // nobody uses the model and nothing waits
void backend_own(llm_backend *backend, backend_owner owner);
void backend_release(llm_backend *backend); // the end of that, after discarded sessions are gone; may open the lock before

// Of sessions. The first two are called by the model's owner without the lock.
llm_status session_begin(llm_session *session, bool fresh, llm_error *err); // makes its state, or empties it
llm_status session_tell_prompt(llm_backend *backend, const char *text, llm_error *err);
void sessions_bury(llm_backend *backend);  // frees the discarded ones; holds the lock, opens it in between
void sessions_empty(llm_backend *backend); // the model goes: frees all states, as above
void backend_drop_reference(llm_backend *backend);

// Makes sure that a slot that failed has said why.
llm_status backend_slot_status(const llm_backend *backend, const char *slot, llm_status status,
                               llm_error *err);

#endif
