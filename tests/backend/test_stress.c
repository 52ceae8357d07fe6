// Threads that load, ask, cancel, unload and free all at once, each with sessions of its own. What is checked: slots that must be alone are,
// none is called without a model, and every stream ends as a stream should. LLMLOCAL_STRESS_SECONDS says how
// long (5).
#include "testing.h"
#include "client/scripted.h"
#include <stdlib.h>
#include <unistd.h>

enum { NUM_THREADS = 6, OPEN_STREAMS = 4, OPEN_SESSIONS = 2 };

typedef struct round_state {
    llm_backend *backend;
    const char *bases[2];   // what loads
    atomic_bool over;       // no more calls on the backend
    pthread_barrier_t calm; // all have seen that
    atomic_int bad_streams;
    atomic_int ends[3]; // ended, cancelled, failed
} round_state;

typedef struct actor {
    round_state *round;
    pthread_t thread;
    uint64_t random;
    llm_stream *open[OPEN_STREAMS]; // by this thread
    llm_session *sessions[OPEN_SESSIONS];
    char path[200]; // of a saved session
} actor;

// ---- Sessions of the scripted backend -----------------------------------------------------------------------

static atomic_int live_states;

static llm_status create_state(void *state, void **session, llm_error *err)
{
    (void)err;
    scripted_enter(state, true);
    *session = malloc(1); // so that sanitizers see what is used after it is freed
    atomic_fetch_add(&live_states, 1);
    return scripted_leave(state, LLM_OK);
}

static void free_state(void *state, void *session)
{
    scripted_enter(state, true);
    free(session);
    atomic_fetch_sub(&live_states, 1);
    scripted_leave(state, LLM_OK);
}

static llm_status reset_state(void *state, void *session, llm_error *err)
{
    (void)err;
    scripted_enter(state, true);
    *(char *)session = 0;
    return scripted_leave(state, LLM_OK);
}

static llm_status save_state(void *state, void *session, const char *system_prompt, const char *path, llm_error *err)
{
    (void)system_prompt;
    (void)path;
    return reset_state(state, session, err);
}

static llm_status load_state(void *state, void *session, const char *path, char **system_prompt, llm_error *err)
{
    *system_prompt = llm_string_copy(path);
    return reset_state(state, session, err);
}

static char *messages_of(void *state, void *session, llm_error *err)
{
    reset_state(state, session, err);
    return llm_string_copy("[]");
}

static llm_status generate_in(void *state, const llm_request *request, llm_stream_writer *writer, llm_error *err)
{
    if (request->kind == LLM_REQUEST_PROMPT) *(char *)request->session = 1;
    return scripted_generate(state, request, writer, err);
}

static uint32_t draw(actor *a, uint32_t below)
{
    a->random = a->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(a->random >> 33) % below;
}

// Reads up to `limit` chunks, or to the end when that is negative, and checks how the stream ends.
static void read_some(actor *a, llm_stream *stream, int limit)
{
    llm_chunk chunk = {0};
    llm_error err;
    llm_status status = LLM_OK;
    bool info = false, wrong = false;
    while (limit-- != 0 &&
           (status = llm_stream_next(stream, limit < 0 ? LLM_FOREVER : 1, &chunk, &err)) == LLM_OK) {
        wrong |= info; // nothing comes after the info chunk
        info |= chunk.kind == LLM_CHUNK_INFO;
        if (chunk.kind == LLM_CHUNK_TEXT) wrong |= !chunk.length || chunk.text[chunk.length];
    }
    if (status == LLM_OK || status == LLM_TIMEOUT) return;
    // A session that goes on and on is too long for its model one day.
    wrong |= status != LLM_END && status != LLM_CANCELLED && status != LLM_CONTEXT_EXCEEDED;
    wrong |= llm_stream_next(stream, 0, &chunk, &err) != status;
    if (wrong) atomic_fetch_add(&a->round->bad_streams, 1);
    atomic_fetch_add(&a->round->ends[status == LLM_END ? 0 : status == LLM_CANCELLED ? 1 : 2], 1);
}

static llm_stream *ask(actor *a)
{
    static const int32_t tokens[] = {1, 2, 3};
    static const llm_message message = {.role = "user", .content = "from a conversation"};
    llm_generation_config config;
    llm_generation_config_init(&config);
    config.no_wait = !draw(a, 4);
    config.max_tokens = 20;
    switch (draw(a, 4)) {
    case 0: return llm_backend_complete(a->round->backend, "some text", &config, NULL);
    case 1: return llm_backend_complete_tokens(a->round->backend, tokens, 3, &config, NULL);
    case 2: return llm_backend_generate_messages(a->round->backend, &message, 1, &config, NULL);
    default: break;
    }
    llm_session *session = a->sessions[draw(a, OPEN_SESSIONS)];
    if (!session) return llm_backend_generate(a->round->backend, "a prompt of five words", &config, NULL);
    return llm_session_generate(session, "a prompt of a session", &config, NULL);
}

static void act_on_session(actor *a)
{
    llm_session **slot = &a->sessions[draw(a, OPEN_SESSIONS)];
    if (!*slot) {
        *slot = llm_session_create(a->round->backend, NULL);
        return;
    }
    switch (draw(a, 8)) {
    case 0: llm_session_save(*slot, a->path, NULL); break;
    case 1: llm_session_load(*slot, a->path, NULL); break;
    case 2: llm_free(llm_session_messages_json_copy(*slot, NULL)); break;
    case 3: llm_session_reset(*slot, NULL); break;
    case 4: llm_session_set_system_prompt(*slot, draw(a, 2) ? "be brief" : NULL, NULL); break;
    case 5: llm_free(llm_session_system_prompt_copy(*slot)); break;
    default:
        llm_session_free(*slot); // its answers may run
        *slot = NULL;
    }
}

static int score_position(void *user, int position, int32_t token, double next, const llm_token_logprob *top,
                          int num_top)
{
    (void)position;
    (void)token;
    (void)next;
    (void)top;
    (void)num_top;
    return !draw(user, 20);
}

static int load_progress(void *user, const char *what, double fraction)
{
    (void)what;
    (void)fraction;
    return !draw(user, 30);
}

static void act_on_stream(actor *a)
{
    llm_stream **slot = &a->open[draw(a, OPEN_STREAMS)];
    if (!*slot) {
        *slot = ask(a);
        if (*slot && !draw(a, 4)) llm_stream_fd(*slot);
        return;
    }
    switch (draw(a, 5)) {
    case 0: llm_stream_cancel(*slot); return;
    case 1: read_some(a, *slot, 3); return;
    case 2: read_some(a, *slot, -1); break;
    default: break;
    }
    llm_stream_free(*slot);
    *slot = NULL;
}

static void act_on_backend(actor *a)
{
    static const int32_t tokens[] = {1, 2, 3};
    llm_backend *backend = a->round->backend;
    llm_model_spec spec;
    llm_memory memory;
    llm_engine_info info;
    uint32_t which = draw(a, 2);
    llm_model_spec_init(&spec, a->round->bases[which]);
    spec.context_length = which ? 0 : 200;
    switch (draw(a, 12)) {
    case 0:
    case 1:
    case 2: llm_backend_load(backend, &spec, draw(a, 2) ? load_progress : NULL, a, NULL); break;
    case 3: llm_backend_unload(backend); break;
    case 4:
    case 5: llm_backend_cancel(backend); break;
    case 6: llm_backend_reset(backend, NULL); break;
    case 7: llm_backend_set_system_prompt(backend, draw(a, 3) ? "be quick" : NULL, NULL); break;
    case 8: llm_backend_score(backend, tokens, 3, 0, score_position, a, NULL); break;
    case 9: llm_backend_memory(backend, &memory, NULL); break;
    case 10: llm_backend_engine_info(backend, &info, NULL); break;
    case 11: llm_free(llm_backend_current_model_copy(backend)); break;
    }
}

static void *actor_main(void *user)
{
    actor *a = user;
    while (!atomic_load(&a->round->over)) {
        switch (draw(a, 5)) {
        case 0: act_on_backend(a); break;
        case 1: act_on_session(a); break;
        default: act_on_stream(a);
        }
    }
    pthread_barrier_wait(&a->round->calm);
    // So may sessions.
    for (int i = 0; i < OPEN_SESSIONS; i++) {
        if (a->sessions[i] && draw(a, 2)) llm_session_reset(a->sessions[i], NULL);
        llm_session_free(a->sessions[i]);
    }
    // The backend is being freed now; what is open ends by itself, or is freed by us first.
    for (int i = 0; i < OPEN_STREAMS; i++) {
        if (a->open[i] && draw(a, 2)) read_some(a, a->open[i], -1);
        llm_stream_free(a->open[i]);
    }
    return NULL;
}

// Opens and closes the gates, so that loads and answers take their time now and then.
static void shake(scripted *script, actor *dice, int steps)
{
    for (int i = 0; i < steps; i++) {
        if (script) {
            atomic_store(&script->hold_load, !draw(dice, 3));
            atomic_store(&script->hold_generate, !draw(dice, 3));
            atomic_store(&script->hold_score, !draw(dice, 4));
            atomic_store(&script->load_result, draw(dice, 5) ? LLM_OK : LLM_LOAD_FAILED);
        }
        nanosleep(&(struct timespec){0, (long)draw(dice, 3000000)}, NULL);
    }
    if (!script) return;
    atomic_store(&script->hold_load, false);
    atomic_store(&script->hold_generate, false);
    atomic_store(&script->hold_score, false);
}

static void run_round(uint64_t seed, scripted *script, round_state *round)
{
    actor actors[NUM_THREADS] = {0}, dice = {.random = seed * 77};
    atomic_store(&round->over, false);
    pthread_barrier_init(&round->calm, NULL, NUM_THREADS + 1);
    for (int i = 0; i < NUM_THREADS; i++) {
        actors[i].round = round;
        actors[i].random = seed * 1000 + (uint64_t)i;
        snprintf(actors[i].path, sizeof actors[i].path, "%s/llmlocal-stress-%d-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
                 (int)getpid(), i);
        assert_int_equal(pthread_create(&actors[i].thread, NULL, actor_main, &actors[i]), 0);
    }
    shake(script, &dice, 60);
    atomic_store(&round->over, true);
    pthread_barrier_wait(&round->calm);
    llm_backend_free(round->backend);
    for (int i = 0; i < NUM_THREADS; i++) {
        pthread_join(actors[i].thread, NULL);
        remove(actors[i].path);
    }
    pthread_barrier_destroy(&round->calm);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double duration(void)
{
    const char *text = getenv("LLMLOCAL_STRESS_SECONDS");
    return text ? atof(text) : 6;
}

static void test_threads_race(void **state)
{
    (void)state;
    round_state round = {0};
    scripted script = {0};
    llm_error err;
    int rounds = 0;
    llm_backend_methods table = scripted_methods;
    table.generate = generate_in;
    table.session_create = create_state;
    table.session_free = free_state;
    table.session_reset = reset_state;
    table.session_save = save_state;
    table.session_load = load_state;
    table.session_messages_json = messages_of;
    pthread_mutex_init(&script.lock, NULL);
    for (double end = seconds() + duration(); seconds() < end; rounds++) {
        bool scripted_round = rounds % 3 == 0;
        script.log[0] = 0;
        round.bases[0] = round.bases[1] = GOLDEN_DIR "/models/chat";
        round.backend =
            scripted_round ? llm_backend_create(&table, &script, &err)
            : rounds % 3 == 1
                ? llm_mock_backend_create(&err)
                : llm_mlx_backend_create(&(llm_mlx_options){sizeof(llm_mlx_options), .num_threads = 2}, &err);
        if (!round.backend) fail_msg("%s", err.message);
        run_round((uint64_t)rounds + 1, scripted_round ? &script : NULL, &round);
    }
    print_message(
        "%d rounds: %d loads, %d unloads of the scripted one; %d answers ended, %d cancelled, %d too long\n",
        rounds, script.loads, script.unloads, round.ends[0], round.ends[1], round.ends[2]);
    assert_int_equal(round.bad_streams, 0);
    assert_int_equal(script.overlaps, 0);
    assert_int_equal(script.misuses, 0);
    assert_int_equal(script.inside, 0);
    assert_int_equal(live_states, 0);
    assert_int_equal(script.destroyed, (rounds + 2) / 3);
    assert_true(round.ends[0] > 0 && round.ends[1] > 0 && script.unloads > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads_race)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
