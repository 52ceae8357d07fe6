// llmlocal: MLX language models from C.
//
// This header is the whole public interface. In short:
//     llm_service *service = llm_service_create(NULL, &err);        loads models as they are asked for
//     llm_model_spec_init(&spec, "path/to/an-mlx-model");
//     llm_stream *answer = llm_service_generate(service, &spec, "Hello!", NULL, &err);
//     while (llm_stream_next(answer, LLM_FOREVER, &chunk, &err) == LLM_OK) ...
// An llm_backend is one model and its session, for who wants to decide alone when it is loaded.
//
// Conventions
//   Ownership  Every pointer given to a function is borrowed for that call only; what it needs later it copies.
//              `create`/`generate`/... return an owned object with a `free` of its own; free(NULL) does nothing.
//              Strings returned by functions with `_copy` in their name are freed with llm_free.
//   Options    are structs whose first member is `size`; an `_init` function sets it and the defaults. NULL where
//              options are expected means the defaults. A value outside its range is LLM_INVALID_ARGUMENT.
//   Text       is UTF-8; other bytes in a prompt or message are LLM_INVALID_ARGUMENT.
//   Errors     are returned as llm_status; the `llm_error *err` that stands last receives code, text and amounts. It
//              may be NULL. A function that returns a pointer returns NULL on an error.
//   Threads    Every function may be called from any thread. One stream is read by one thread at a time. Nothing
//              blocks but loading, prefetching, unloading, scoring, a session's save, load and transcript,
//              llm_stream_next with a timeout, and freeing something that runs. An object is freed once, when no other
//              call on it is running. Callbacks of the library may cancel, and ask the backend or service for its
//              state, but not wait for it: it waits for them.
//   Manners    The library never prints, exits, aborts or touches signals. Messages go to llm_set_log's callback.
#ifndef LLMLOCAL_H
#define LLMLOCAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LLM_API __attribute__((visibility("default"))) // what the shared library exports
#else
#define LLM_API
#endif

#define LLM_VERSION "0.1.0" // of this header; llm_version says that of the library

// ---- Errors ----------------------------------------------------------------------------------------------------

// How a call ended.
typedef enum llm_status {
    LLM_OK = 0,
    LLM_END,                  // a stream: after its last chunk
    LLM_TIMEOUT,              // a stream: nothing came in the time given
    LLM_INVALID_ARGUMENT,
    LLM_OUT_OF_MEMORY,        // an allocation failed
    LLM_IO_ERROR,             // a file could not be read or written
    LLM_DOWNLOAD_FAILED,
    LLM_LOAD_FAILED,          // a model's files are damaged or contradict each other
    LLM_INSUFFICIENT_MEMORY,  // `required` and `available` bytes
    LLM_INSUFFICIENT_STORAGE, // likewise
    LLM_MODEL_NOT_LOADED,
    LLM_LOAD_IN_PROGRESS,
    LLM_CANCELLED,
    LLM_ADAPTER_MERGE_FAILED,
    LLM_UNSUPPORTED_FORMAT,   // a model family, feature or file format that this build does not know
    LLM_CONTEXT_EXCEEDED,     // `required` tokens against `available`
    LLM_BUSY,                 // another answer runs, and the caller asked not to wait
    LLM_TEMPLATE_ERROR,       // a chat template is wrong, or refused its input
    LLM_INTERNAL_ERROR
} llm_status;

// What went wrong, for a person. `message` is never empty when a call has failed.
typedef struct llm_error {
    llm_status code;
    uint64_t required, available; // bytes or tokens where the code speaks of them, else 0
    char message[500];
} llm_error;

LLM_API const char *llm_status_name(llm_status status); // "load failed"; valid for ever
LLM_API const char *llm_version(void); // of the library: "0.1.0"; valid for ever
LLM_API void llm_free(void *copy); // for what `_copy` functions returned
LLM_API char *llm_string_copy(const char *text); // an owned copy for callbacks that return one

// Where messages go that are not errors; NULL (the default): nowhere. level: 0 debug, 1 information, 2 warning.
typedef void (*llm_log_function)(void *user, int level, const char *message);
LLM_API void llm_set_log(llm_log_function function, void *user);

// ---- What to load ----------------------------------------------------------------------------------------------

// Where an adapter is.
typedef enum llm_adapter_kind { LLM_ADAPTER_NONE, LLM_ADAPTER_DIRECTORY, LLM_ADAPTER_HUB, LLM_ADAPTER_GITHUB } llm_adapter_kind;

// A LoRA or DoRA adapter to put on the base model, in the format of mlx-lm or of PEFT. A tensor of it that does not fit
// the model is LLM_ADAPTER_MERGE_FAILED, before any weight is read. Kinds other than directories: LLM_UNSUPPORTED_FORMAT.
typedef struct llm_adapter {
    llm_adapter_kind kind;
    const char *source;     // directory, Hugging Face id, or GitHub "owner/repository"
    const char *tag;        // GitHub: the release; NULL: the newest. Hugging Face: the revision; NULL: "main"
    const char *asset;      // GitHub: the file of the release, a zip or tar.gz
} llm_adapter;

// A value type: compared and hashed by content, where NULL is the same as what it stands for. Pointers are borrowed
// from the caller.
typedef struct llm_model_spec {
    size_t size;
    const char *id;             // the name the application knows it by; NULL: `base`
    const char *base;           // a directory (a path with '/' at its start, "./" or "../", or that exists), a preset, or a Hugging Face id
    const char *revision;       // of a Hugging Face repository; NULL: "main"
    llm_adapter adapter;
    int context_length;         // tokens; 0: what the model was made for
    const char *display_name, *description; // NULL: none
    uint64_t estimated_memory;  // bytes; 0: unknown. Takes the place of the library's own estimate
} llm_model_spec;

// How large a model is, for people.
typedef enum llm_size_tier { LLM_TIER_UNKNOWN, LLM_TIER_TINY, LLM_TIER_SMALL, LLM_TIER_MEDIUM, LLM_TIER_LARGE, LLM_TIER_EXTRA_LARGE } llm_size_tier;

LLM_API void llm_model_spec_init(llm_model_spec *spec, const char *name); // borrows name
LLM_API bool llm_model_spec_equal(const llm_model_spec *a, const llm_model_spec *b); // by content
LLM_API uint64_t llm_model_spec_hash(const llm_model_spec *spec); // of the content: equal specs have equal hashes
LLM_API llm_model_spec *llm_model_spec_copy(const llm_model_spec *spec); // one block, llm_free; NULL without memory
LLM_API char *llm_model_spec_json_copy(const llm_model_spec *spec); // an object; NULL without memory
LLM_API llm_model_spec *llm_model_spec_from_json_copy(const char *json, llm_error *err); // unknown members are ignored
// By estimated_memory: tiny < 1 GiB <= small < 3 <= medium < 8 <= large < 20 <= extra large.
LLM_API llm_size_tier llm_model_spec_tier(const llm_model_spec *spec);

// ---- How to generate -------------------------------------------------------------------------------------------

// A thumb on the scale for one token.
typedef struct llm_logit_bias {
    int32_t token;
    float bias; // added to the token's logit; -INFINITY forbids the token
} llm_logit_bias;

// An adapter that an answer goes through: llm_backend_add_adapter has loaded it under this name; "default" is the model
// spec's own.
typedef struct llm_adapter_use {
    const char *name;
    float strength; // 1: as it was trained; -100 to 100
} llm_adapter_use;

// A function that the model may ask for.
typedef struct llm_tool {
    const char *name, *description;
    const char *parameters; // JSON schema as text; NULL: no parameters
} llm_tool;

// Answers a tool call: returns the result as text (llm_string_copy), or NULL with err filled, whose message the model is
// then told. Called on a thread of the library's, one call at a time; the arguments are a JSON object that fits the schema.
typedef char *(*llm_tool_dispatch)(void *user, const char *name, const char *arguments_json, llm_error *err);

// The tools of a JSON array, each {"type":"function","function":{"name","description","parameters"}} or the inner object
// alone: one block of *num_tools tools (llm_free).
LLM_API llm_tool *llm_tools_from_json_copy(const char *json, int *num_tools, llm_error *err);

#define LLM_NO_ADAPTERS (-1) // as num_adapters: not even the model spec's own

// How to choose tokens, when to stop, and what the model may use. Behind each member: its default.
typedef struct llm_generation_config {
    size_t size;
    int max_tokens;            // 1024; at least 1
    float temperature;         // 0.7; 0: greedy; at most 100
    float top_p;               // 0.9; 1: off; above 0
    int top_k;                 // 0: off
    float min_p;               // 0: off; keep tokens with at least this share of the best one's probability
    float repetition_penalty;  // 1: off; divides positive and multiplies negative logits of tokens seen lately; 0 < x <= 100
    float presence_penalty, frequency_penalty; // 0: off; subtracted once, and once for each time seen; -100 to 100
    int penalty_window;        // 64: how many of the latest tokens the penalties look at; at least 1
    uint64_t seed;             // 0: a fresh one each time; else the same answer every time
    const char *const *stop;   // strings that end the answer; they are not part of it; at most 256
    int num_stop;
    const llm_logit_bias *logit_bias;
    int num_logit_bias;
    int logprobs;              // 0: none; N, at most 1000: each token's log-probability and those of the N - 1 likeliest others, as chunks
    bool ignore_end;           // go on after the model's end token (benchmarks)
    bool no_wait;              // LLM_BUSY instead of waiting for the answer that runs
    const llm_tool *tools;     // what the model may call; a chat template that knows none: LLM_UNSUPPORTED_FORMAT
    int num_tools;
    llm_tool_dispatch dispatch; // runs the calls, and the same answer goes on, at most 16 times; NULL: calls end the answer
    void *dispatch_user;
    const char *template_json; // an object whose members the chat template sees, e.g. {"enable_thinking":false}
    const llm_adapter_use *adapters; // for this request; they add up. A session that goes on with others reads its prompt anew
    int num_adapters;          // 0: the model spec's adapter, if it has one; LLM_NO_ADAPTERS: the bare model; at most 16
    // 0: off; N, at most 32: where the latest tokens stood before in prompt or answer, up to N of those that followed there are
    // verified in one step, when that has paid lately. The answer is the same, sampled or greedy, sooner where it repeats its
    // prompt. 7 is a good number. On engines whose rounding depends on the number of tokens (mlx) near ties may fall differently.
    int speculate;
} llm_generation_config;

LLM_API void llm_generation_config_init(llm_generation_config *config);
// Whether every member is in its range, before there is a model to ask.
LLM_API llm_status llm_generation_config_check(const llm_generation_config *config, llm_error *err);

// One turn of a conversation.
typedef struct llm_message {
    const char *role;          // "system", "user", "assistant", "tool"
    const char *content;
    const char *reasoning;     // an assistant's; the chat template keeps or drops it; NULL: none
    const char *tool_calls_json; // an assistant's calls, [{"id":…,"function":{"name":…,"arguments":{…}}}]; NULL: none
    const char *tool_call_id, *name; // of a tool's result; NULL: none
} llm_message;

// What a tool call came to.
typedef struct llm_tool_result {
    const char *tool_call_id; // the chunk's
    const char *content;
} llm_tool_result;

// ---- A running answer ------------------------------------------------------------------------------------------

// What a chunk is a piece of.
typedef enum llm_chunk_kind { LLM_CHUNK_TEXT, LLM_CHUNK_REASONING, LLM_CHUNK_TOOL_CALL, LLM_CHUNK_LOGPROBS, LLM_CHUNK_INFO } llm_chunk_kind;

// Why an answer ended: the model's own end or a stop string, the token or context limit, a cancel, calls for the caller.
typedef enum llm_finish_reason { LLM_FINISH_STOP, LLM_FINISH_LENGTH, LLM_FINISH_CANCELLED, LLM_FINISH_TOOL_CALL } llm_finish_reason;
LLM_API const char *llm_finish_reason_name(llm_finish_reason reason); // "stop", "length", "cancelled", "tool_call"

// What an answer took; of one that ran tools, the sums over its passes.
typedef struct llm_stats {
    int prompt_tokens;         // all of the rendered prompt
    int cached_prompt_tokens;  // of these, already in the KV cache
    int generated_tokens;      // the end token not counted
    double load_seconds;       // of the model, when this request loaded it; else 0
    double prefill_seconds, decode_seconds;
    double first_token_seconds; // from the request (waiting for others included) to the first chunk
    int proposed_tokens, accepted_tokens; // config.speculate: verified ahead, and of these, part of the answer
} llm_stats;

// A token and how likely it was.
typedef struct llm_token_logprob {
    int32_t token;
    float logprob; // natural logarithm
} llm_token_logprob;

// A piece of an answer. Pointers are valid until the next call on the stream; members of other kinds are 0.
typedef struct llm_chunk {
    llm_chunk_kind kind;
    const char *text;          // TEXT, REASONING: valid UTF-8, `length` bytes and a NUL; TOOL_CALL: the arguments, a JSON object
    size_t length;
    const char *tool_call_id, *tool_name; // TOOL_CALL; the name is NULL where a rejected call has none
    // TOOL_CALL: NULL, or why the call was rejected: it begins with "malformed", "incomplete", "unknown tool" or "bad
    // arguments". `text` is then what the model wrote. The model is told by itself; the call has no result to give.
    const char *tool_error;
    const llm_token_logprob *logprobs;    // LOGPROBS: first the token that was chosen, then the likeliest ones
    int num_logprobs;
    llm_finish_reason finish_reason; // INFO
    llm_stats stats;                 // INFO
    const int32_t *tokens;           // INFO: the ids of the answer, `num_tokens` of them
    int num_tokens;
} llm_chunk;

// A running answer, the caller's. It outlives its model and its backend.
typedef struct llm_stream llm_stream;
#define LLM_FOREVER (-1) // a timeout that never comes

// LLM_OK with a chunk; LLM_TIMEOUT after `timeout_ms` (0 does not wait); LLM_END after the last chunk; LLM_CANCELLED
// after the last chunk of a cancelled answer; or the error that the answer ended with. Each of the last three comes
// again with every further call. An answer that ended or was cancelled has exactly one info chunk, the last of all;
// one that failed has none. Text that waits for a slow reader is put together, so chunks say nothing about tokens.
LLM_API llm_status llm_stream_next(llm_stream *stream, int timeout_ms, llm_chunk *chunk, llm_error *err);
LLM_API void llm_stream_cancel(llm_stream *stream); // any thread; the answer ends within a token or a prefill step
LLM_API int llm_stream_fd(llm_stream *stream);      // readable while llm_stream_next(stream, 0, ...) has something; the stream's own; -1: no descriptor to be had
LLM_API void llm_stream_free(llm_stream *stream);   // cancels and waits if it still runs

// Calls on_chunk for each chunk until the end; a non-zero return cancels, and is the last call. Returns LLM_OK at the
// end, LLM_CANCELLED, or the error.
typedef int (*llm_chunk_function)(void *user, const llm_chunk *chunk);
LLM_API llm_status llm_stream_consume(llm_stream *stream, llm_chunk_function on_chunk, void *user, llm_error *err);

// ---- Backends --------------------------------------------------------------------------------------------------

// One model at a time and its chat session.
typedef struct llm_backend llm_backend;

// fraction in [0, 1]; return non-zero to stop the load, which then ends with LLM_CANCELLED. Any thread, one at a time.
typedef int (*llm_progress_function)(void *user, const char *what, double fraction);

// What a backend uses.
typedef struct llm_memory {
    uint64_t weights_bytes, kv_bytes, work_bytes; // of the loaded model
    uint64_t resident_bytes, peak_resident_bytes; // of the process
    uint64_t cache_bytes, peak_bytes; // of the engine: freed memory that it keeps; the most that it has used so far
    int context_tokens, context_length; // tokens that the sequence of the latest answer holds, and may hold; of a service: 0
} llm_memory;

// The same spec: nothing happens. Another: the old model is unloaded first. During a load: LLM_LOAD_IN_PROGRESS. A load
// that fails leaves no model; a spec that is no spec (LLM_INVALID_ARGUMENT) leaves the old one.
LLM_API llm_status llm_backend_load(llm_backend *backend, const llm_model_spec *spec, llm_progress_function progress,
                                    void *user, llm_error *err);
// Cancels the answer that runs and those that wait for it, waits for them, and frees the model. A load that runs is
// stopped and ends with LLM_CANCELLED.
LLM_API void llm_backend_unload(llm_backend *backend);
LLM_API bool llm_backend_is_loaded(llm_backend *backend); // false during a load
LLM_API llm_model_spec *llm_backend_current_model_copy(llm_backend *backend); // NULL: none

// Requests return at once with a stream. They run one after another in the order in which they were made (with
// config.no_wait: LLM_BUSY instead of waiting). An answer that nobody reads holds up the others after a megabyte.
// Without a model, and during a load: LLM_MODEL_NOT_LOADED.

// Continues the session: the prompt is the next user message, the answer joins the transcript.
LLM_API llm_stream *llm_backend_generate(llm_backend *backend, const char *prompt, const llm_generation_config *config, llm_error *err);
// Continues the session after an answer that ended with tool calls: exactly one result for each call that was not
// rejected (none at all where all were). A call that nobody answers is left so by the next prompt.
LLM_API llm_stream *llm_backend_continue(llm_backend *backend, const llm_tool_result *results, int num_results,
                                         const llm_generation_config *config, llm_error *err);
// Answers a whole conversation, and leaves the session alone. Results of tools are messages of the role "tool". What the
// prompt shares with the latest such request, or completion, is not read again.
LLM_API llm_stream *llm_backend_generate_messages(llm_backend *backend, const llm_message *messages, int num_messages,
                                                  const llm_generation_config *config, llm_error *err);
// Continues plain text, no template: special tokens are added as the tokenizer does. Leaves the session alone.
LLM_API llm_stream *llm_backend_complete(llm_backend *backend, const char *text, const llm_generation_config *config, llm_error *err);
// Continues tokens.
LLM_API llm_stream *llm_backend_complete_tokens(llm_backend *backend, const int32_t *tokens, int num_tokens,
                                                const llm_generation_config *config, llm_error *err);

// Of the session; requests made from now on see it. It stays when models come and go. NULL: none.
LLM_API llm_status llm_backend_set_system_prompt(llm_backend *backend, const char *text, llm_error *err);
LLM_API char *llm_backend_system_prompt_copy(llm_backend *backend); // NULL: none
// Forgets the transcript, keeps the system prompt. Requests made before it still have their session.
LLM_API llm_status llm_backend_reset(llm_backend *backend, llm_error *err);
LLM_API void llm_backend_cancel(llm_backend *backend); // the answer (or scoring) that runs or is next to run, if any
LLM_API llm_status llm_backend_memory(llm_backend *backend, llm_memory *memory, llm_error *err); // does not wait for answers

// Scores tokens: for each position `on_position` receives the token, the log-probability of the token that follows
// (NAN at the last), and the `num_top` likeliest next tokens. Non-zero stops with LLM_CANCELLED. Blocks; waits for the
// answers that were asked for before.
typedef int (*llm_score_function)(void *user, int position, int32_t token, double next_logprob,
                                  const llm_token_logprob *top, int num_top);
LLM_API llm_status llm_backend_score(llm_backend *backend, const int32_t *tokens, int num_tokens, int num_top,
                                     llm_score_function on_position, void *user, llm_error *err);

// Adapters beside the loaded model, whose weights stay untouched: requests choose among them (config.adapters), so they
// are switched from one request or session to the next. They go when the model does. Both block, and wait for the requests
// that were made before. A name that is there already: LLM_INVALID_ARGUMENT; an adapter for which there is no memory now:
// LLM_INSUFFICIENT_MEMORY.
LLM_API llm_status llm_backend_add_adapter(llm_backend *backend, const char *name, const llm_adapter *adapter, llm_error *err);
// A name that is not there, and the spec's own: LLM_INVALID_ARGUMENT.
LLM_API llm_status llm_backend_remove_adapter(llm_backend *backend, const char *name, llm_error *err);

// Unloads first; streams of it end with LLM_CANCELLED. Sessions of it stay valid, without a model for ever.
LLM_API void llm_backend_free(llm_backend *backend);

// ---- Sessions --------------------------------------------------------------------------------------------------

// A chat: a transcript, a system prompt, and what the model has read of them. A backend has one of its own, which
// llm_backend_generate, _continue, _set_system_prompt, _system_prompt_copy and _reset speak of; more may share its model. Sessions
// know nothing of each other, and the requests of all run one after another in the order in which they were made.
// When a model is unloaded, or another loaded, a session is empty, keeps its system prompt, and goes on with what is
// loaded next.
typedef struct llm_session llm_session;

// Needs no model yet. LLM_UNSUPPORTED_FORMAT: the backend has one session only.
LLM_API llm_session *llm_session_create(llm_backend *backend, llm_error *err);
// Its answers end with LLM_CANCELLED, the one that runs and those that wait. Does not block. Not for the backend's own.
LLM_API void llm_session_free(llm_session *session);
LLM_API llm_session *llm_backend_session(llm_backend *backend); // the backend's own, borrowed: it ends with the backend

// As llm_backend_generate, in this session.
LLM_API llm_stream *llm_session_generate(llm_session *session, const char *prompt, const llm_generation_config *config, llm_error *err);
// As llm_backend_continue, in this session.
LLM_API llm_stream *llm_session_continue(llm_session *session, const llm_tool_result *results, int num_results, const llm_generation_config *config, llm_error *err);
LLM_API llm_status llm_session_set_system_prompt(llm_session *session, const char *text, llm_error *err); // NULL: none
LLM_API char *llm_session_system_prompt_copy(llm_session *session);                                       // NULL: none
LLM_API llm_status llm_session_reset(llm_session *session, llm_error *err); // forgets the transcript, keeps the system prompt

// The next three block, and wait for the answers that were asked for before; LLM_CANCELLED when an unload comes first.

// The transcript as a JSON array of messages, without the system prompt: {"role":"user","content":"..."}, and
// "reasoning_content", "tool_calls", "tool_call_id", "name" where a message has them. Without a model: "[]".
LLM_API char *llm_session_messages_json_copy(llm_session *session, llm_error *err);
// Writes transcript, system prompt, and what the model has read, so that an answer after llm_session_load is the
// answer that would have come without it, and reads no more tokens. A safetensors file that only its owner may read;
// who reads it meanwhile sees the old one or the new one. Without a model: LLM_MODEL_NOT_LOADED.
LLM_API llm_status llm_session_save(llm_session *session, const char *path, llm_error *err);
// Replaces all of the session, the system prompt included; on an error it is as it was. A session of another model is
// LLM_INVALID_ARGUMENT with both names, a damaged file LLM_LOAD_FAILED, what is no session LLM_UNSUPPORTED_FORMAT. A
// file of another engine or precision gives transcript and system prompt: the next answer reads them again, and a
// warning goes to the log.
LLM_API llm_status llm_session_load(llm_session *session, const char *path, llm_error *err);

// ---- Memory ----------------------------------------------------------------------------------------------------

// What a machine has for this process.
typedef struct llm_system_memory {
    uint64_t total_bytes;     // of the machine, or the limit of the process's control group where that is lower
    uint64_t available_bytes; // what can still be had of that, caches that the system would give up included
    float stall_percent;      // of the last ten seconds in which some task waited for memory (Linux); else 0
} llm_system_memory;
// Linux: /proc and cgroup versions 1 and 2, up to the root.
LLM_API llm_status llm_system_memory_read(llm_system_memory *memory, llm_error *err);

// Whether a model fits. Loads, llm_service_check_memory and the command all judge by this one rule.
typedef enum llm_memory_fit {
    LLM_FITS,       // right now
    LLM_FITS_LATER, // it is at most 80 % of total_bytes, but more than available_bytes
    LLM_FITS_NEVER  // it is more than 80 % of total_bytes, or `memory` is NULL
} llm_memory_fit;
// `bytes`: an estimate's total.
LLM_API llm_memory_fit llm_memory_fits(uint64_t bytes, const llm_system_memory *memory);

// Figures from elsewhere: for tests, and for applications with a budget of their own. Any thread.
typedef llm_status (*llm_memory_function)(void *user, llm_system_memory *memory, llm_error *err);

// ---- The MLX backend -------------------------------------------------------------------------------------------

// What to compute with.
typedef enum llm_precision { LLM_PRECISION_FAST, LLM_PRECISION_EXACT } llm_precision;

// What the MLX backend runs on.
typedef struct llm_mlx_options {
    size_t size;
    const char *engine;       // "cpu", "mlx" (a plugin), or NULL / "auto": the best one on this machine
    int num_threads;          // 0: as many as the processor and the cgroup allow
    llm_precision precision;  // FAST: integer activations (cpu), the model's own types (mlx); EXACT: float32 throughout
    // Bytes. The engine "mlx" has one set of limits for the whole process, that of the latest load; "cpu" has none.
    uint64_t gpu_cache_limit;  // 20 MiB: freed memory an engine may keep
    uint64_t gpu_memory_limit; // 0: the engine's own; a load or a context that goes beyond it is LLM_INSUFFICIENT_MEMORY
    uint64_t gpu_wired_limit;  // that the system keeps resident for the GPU (Metal only); 0: the engine's own
    llm_memory_function memory; // what a load must fit into; NULL: llm_system_memory_read
    void *memory_user;
    // Bits of a number in the KV cache of the engine "cpu": 8, 16 or 32. 0: 16, and 32 with EXACT, which has no other. 8 is half
    // the memory and, in long contexts, the speed of short ones; answers differ more than by the rest of FAST.
    int kv_bits;
} llm_mlx_options;

LLM_API void llm_mlx_options_init(llm_mlx_options *options);
// Runs models in MLX's format. Its loads estimate first what the model takes (llm_model_estimate_memory), and are
// LLM_INSUFFICIENT_MEMORY, with both amounts, before any weight is read unless that fits now (llm_memory_fits).
LLM_API llm_backend *llm_mlx_backend_create(const llm_mlx_options *options, llm_error *err);

// By the headers of the model's files alone.
typedef struct llm_memory_estimate {
    uint64_t weights_bytes;      // as the engine keeps them, the spec's adapter included
    uint64_t kv_bytes_per_token; // of the KV cache, before any window is full
    uint64_t kv_bytes;           // of the KV cache with `context_length` tokens in it
    uint64_t work_bytes;         // buffers, tokenizer, and what only loading takes
    uint64_t total_bytes;        // the sum, or spec.estimated_memory where that is set
    int context_length;          // the spec's; where it says none, the model's, but no more than 4096
} llm_memory_estimate;
// Reads the headers of the files of a model, and of the spec's adapter, that are on this machine, and nothing more.
LLM_API llm_status llm_model_estimate_memory(const llm_model_spec *spec, const llm_mlx_options *options,
                                             llm_memory_estimate *estimate, llm_error *err);

// An engine: what models run on.
typedef struct llm_engine_info {
    char name[32], device[128], isa[32], version[32];
    bool available;
    char reason[200]; // why it is not available
    int num_threads;
    uint64_t memory_bytes; // that the device has
} llm_engine_info;
// Fills in those that this library has, `capacity` at most; returns how many there are.
LLM_API int llm_engines(llm_engine_info *engines, int capacity);
// The one that runs the backend's models.
LLM_API llm_status llm_backend_engine_info(llm_backend *backend, llm_engine_info *info, llm_error *err);

// Bytes a second that `num_threads` (0: all) read from memory right now.
LLM_API double llm_measure_read_bandwidth(int num_threads);

// ---- The service -----------------------------------------------------------------------------------------------

// What an application usually talks to: it names a model with each request, and the service loads it, keeps up to
// `max_models` of them, and gives memory back when the machine runs short of it.
typedef struct llm_service llm_service;

// Makes one backend; called `max_models` times by llm_service_create, and never again.
typedef llm_backend *(*llm_backend_factory)(void *user, llm_error *err);

// How short of memory the machine is.
typedef enum llm_pressure { LLM_PRESSURE_NONE, LLM_PRESSURE_WARNING, LLM_PRESSURE_CRITICAL } llm_pressure;
// Says how it is right now; asked by the thread that watches.
typedef llm_pressure (*llm_pressure_function)(void *user);
// Told on that thread, when the models have been unloaded.
typedef void (*llm_pressure_callback)(void *user, llm_pressure pressure, int models_unloaded);

// What a service is made of.
typedef struct llm_service_options {
    size_t size;
    const llm_mlx_options *mlx;         // of the service's backends; NULL: the defaults
    int max_models;                     // 1; models in memory at once, each in a backend of its own; 1 to 64
    llm_backend_factory create_backend; // NULL: llm_mlx_backend_create(mlx); the service frees what it returns
    void *create_backend_user;
    llm_pressure_function pressure;     // NULL: the machine's and the control group's
    void *pressure_user;
    int pressure_interval_ms;           // 500: how often it is asked; at least 1
    llm_pressure_callback on_pressure;  // NULL: nobody is told
    void *on_pressure_user;
} llm_service_options;

LLM_API void llm_service_options_init(llm_service_options *options);
// Loads nothing yet.
LLM_API llm_service *llm_service_create(const llm_service_options *options, llm_error *err);
LLM_API void llm_service_free(llm_service *service); // unloads all; streams of it end with LLM_CANCELLED

// Requests return at once with a stream; a load that is needed happens before its first chunk, ends the stream when it
// fails, can be cancelled like the answer, and is in stats.load_seconds. `spec` NULL: that of the latest request (none:
// LLM_MODEL_NOT_LOADED).
// A model that is loaded answers. Another takes the place of the one that was used longest ago and is idle: nothing that
// runs is stopped for it. Each model runs one answer at a time; a request for one that is busy, or for another while all
// are busy, waits for its turn, oldest first (with config.no_wait: LLM_BUSY). When memory does not suffice for a model,
// idle ones are unloaded before the load is given up.

// Continues the model's session, which lives as long as the model stays loaded.
LLM_API llm_stream *llm_service_generate(llm_service *service, const llm_model_spec *spec, const char *prompt,
                                         const llm_generation_config *config, llm_error *err);
// Continues the model's session with the results of its calls, as llm_backend_continue does.
LLM_API llm_stream *llm_service_continue(llm_service *service, const llm_model_spec *spec, const llm_tool_result *results,
                                         int num_results, const llm_generation_config *config, llm_error *err);
// Answers a whole conversation, and leaves the session alone.
LLM_API llm_stream *llm_service_generate_messages(llm_service *service, const llm_model_spec *spec, const llm_message *messages,
                                                  int num_messages, const llm_generation_config *config, llm_error *err);

// Loads the model in its turn, as a request would, and waits for that. Loaded already: LLM_OK at once.
LLM_API llm_status llm_service_prefetch(llm_service *service, const llm_model_spec *spec, llm_progress_function progress,
                                        void *user, llm_error *err);
LLM_API bool llm_service_is_cached(llm_service *service, const llm_model_spec *spec); // its files are on this machine
// What is loaded, the latest used first: an array of *count specs in one block (llm_free); NULL without memory.
LLM_API llm_model_spec **llm_service_loaded_models_copy(llm_service *service, int *count);
// Cancels the requests for the model (NULL: for all), those that run and those that wait, waits for them, and frees it.
LLM_API void llm_service_unload(llm_service *service, const llm_model_spec *spec);
LLM_API void llm_service_cancel(llm_service *service); // the answers and loads that run; what waits goes on

// Of every model's session; requests made from now on see it. NULL: none.
LLM_API llm_status llm_service_set_system_prompt(llm_service *service, const char *text, llm_error *err);
LLM_API char *llm_service_system_prompt_copy(llm_service *service); // NULL: none
LLM_API void llm_service_reset(llm_service *service); // requests made from now on begin new sessions
// Of the latest answer that ended or was cancelled; false: there was none.
LLM_API bool llm_service_last_stats(llm_service *service, llm_stats *stats);
LLM_API llm_status llm_service_memory(llm_service *service, llm_memory *memory, llm_error *err); // of all loaded models

// While memory is watched, a pressure that rises (to a warning, or from there to critical) unloads every model: answers
// that run or wait end with LLM_CANCELLED, and what they have written so far can still be read. The next request loads
// again. Without a function in the options: on Linux a warning is memory stalls (PSI) for 15 % of the time between two
// looks, less than 5 % of the memory available, or a cgroup that was throttled (memory.high); critical is stalls for 50 %,
// less than 2 % available, or a cgroup that ran out (oom); on macOS, what the system says.
LLM_API llm_status llm_service_start_monitoring(llm_service *service, llm_error *err); // watching already: LLM_OK
LLM_API void llm_service_stop_monitoring(llm_service *service);                        // waits for the thread that watches

// Whether the model's estimate (filled in; may be NULL) fits now or later (llm_memory_fits): LLM_OK, or LLM_INSUFFICIENT_MEMORY
// with the amounts. What is in use right now does not count.
LLM_API llm_status llm_service_check_memory(llm_service *service, const llm_model_spec *spec, llm_memory_estimate *estimate,
                                            llm_error *err);
// The longest context within the same bounds, at most the one the model was made for; spec.estimated_memory does not count.
// LLM_INSUFFICIENT_MEMORY: there is none.
LLM_API llm_status llm_service_recommended_context(llm_service *service, const llm_model_spec *spec, int *tokens, llm_error *err);

// ---- Who holds models ------------------------------------------------------------------------------------------
//
// A program may let the other processes of its user see what a backend holds; nothing is told unless it asks for that. It is
// told by a file in $XDG_RUNTIME_DIR/llmlocal (without that: /tmp/llmlocal-UID), which nobody else may read.

// As long as it lives, llm_holders_copy of every process has the backend's model.
typedef struct llm_announcement llm_announcement;
// `program` says who that is, for people: "llmlocal chat". A thread keeps the figures up to half a second old.
LLM_API llm_announcement *llm_announcement_create(llm_backend *backend, const char *program, llm_error *err);
LLM_API void llm_announcement_free(llm_announcement *announcement); // before its backend

// A model in some process's memory.
typedef struct llm_holder {
    int64_t pid;
    const char *program, *model, *engine; // the announcement's word, the spec's id, the engine's name
    uint64_t weights_bytes, kv_bytes, work_bytes, resident_bytes; // as in llm_memory
    int context_tokens, context_length;   // likewise
    int64_t since;                        // seconds since 1970
} llm_holder;
// What this user's processes hold now, by pid: *count of them in one block (llm_free). What ended processes left is removed.
LLM_API llm_holder *llm_holders_copy(int *count, llm_error *err);

// ---- One's own backend -----------------------------------------------------------------------------------------

#define LLM_BACKEND_API 2 // the version of llm_backend_methods; tables of version 1 are taken, too

// The end of a stream that a backend writes to.
typedef struct llm_stream_writer llm_stream_writer;

// What is asked for: the session's next turn, a whole conversation, that text or tokens go on, or that the session's last
// answer goes on with the results of its calls.
typedef enum llm_request_kind { LLM_REQUEST_PROMPT, LLM_REQUEST_MESSAGES, LLM_REQUEST_TEXT, LLM_REQUEST_TOKENS, LLM_REQUEST_RESULTS } llm_request_kind;

// What `generate` is to answer. Pointers are valid until it returns.
typedef struct llm_request {
    llm_request_kind kind;
    const char *text;               // PROMPT, TEXT
    const llm_message *messages;    // MESSAGES; RESULTS (only for tables from version 2): of the role "tool"
    int num_messages;
    const int32_t *tokens;          // TOKENS
    int num_tokens;
    const llm_generation_config *config; // never NULL, always checked
    const char *system_prompt;      // PROMPT, RESULTS: the session's when the request was made; NULL: none
    void *session;                  // PROMPT, RESULTS: what session_create made; NULL: the backend has no such slot
} llm_request;

// What a backend implements. Slots are appended, never moved. NULL slots have the default said behind them. `state`
// is what llm_backend_create was given. The library calls one slot at a time, except cancel, memory and engine_info,
// and all but load, destroy, cancel and engine_info only while a model is loaded. `err` is never NULL.
typedef struct llm_backend_methods {
    int api_version;  // LLM_BACKEND_API
    const char *name;
    // `progress` is never NULL; when it returns non-zero, stop and return LLM_CANCELLED. Leaves nothing loaded on an error,
    // and a session without a transcript and a system prompt otherwise.
    llm_status (*load)(void *state, const llm_model_spec *spec, llm_progress_function progress, void *user, llm_error *err);
    void (*unload)(void *state); // none: load, unload and generate must be there
    // Runs on a thread of the library's: writes the answer, returns LLM_OK or the error that ends the stream. A writer
    // function that returns anything but LLM_OK means: stop now and return that. The info chunk is written last, also
    // by a cancelled answer; where it is missing, the library makes one without numbers.
    llm_status (*generate)(void *state, const llm_request *request, llm_stream_writer *writer, llm_error *err);
    void (*destroy)(void *state);                                                    // nothing
    // Called when the text has changed, before the next PROMPT or RESULTS at the latest. Default: `system_prompt` of requests says it.
    llm_status (*set_system_prompt)(void *state, const char *text, llm_error *err);
    llm_status (*reset)(void *state, llm_error *err);                                // nothing
    void (*cancel)(void *state);              // nothing: the writer's functions say so; any thread, around generate
    // At once, at any time while a model is loaded. The process's figures are the library's.
    llm_status (*memory)(void *state, llm_memory *memory, llm_error *err);           // the process's figures only
    llm_status (*score)(void *state, const int32_t *tokens, int num_tokens, int num_top, llm_score_function on_position,
                        void *user, llm_error *err);                                 // LLM_UNSUPPORTED_FORMAT
    // At once, at any time but during load and unload.
    llm_status (*engine_info)(void *state, llm_engine_info *info, llm_error *err);   // LLM_UNSUPPORTED_FORMAT

    // From version 2: sessions. Without session_create there is the backend's own session only. With it every session,
    // the own one included, gets its state at its first use after a load and loses it before unload; set_system_prompt
    // and reset are not called then. `session` is what session_create made.
    llm_status (*session_create)(void *state, void **session, llm_error *err);       // LLM_UNSUPPORTED_FORMAT
    void (*session_free)(void *state, void *session);                                // none: must be there if session_create is
    llm_status (*session_reset)(void *state, void *session, llm_error *err);         // session_free, session_create
    llm_status (*session_save)(void *state, void *session, const char *system_prompt, const char *path,
                               llm_error *err);                                      // LLM_UNSUPPORTED_FORMAT
    // On LLM_OK *system_prompt is NULL or an llm_string_copy, which the library takes. On an error the session is as it was.
    llm_status (*session_load)(void *state, void *session, const char *path, char **system_prompt,
                               llm_error *err);                                      // LLM_UNSUPPORTED_FORMAT
    // As llm_session_messages_json_copy; an llm_string_copy, which the library takes.
    char *(*session_messages_json)(void *state, void *session, llm_error *err);      // LLM_UNSUPPORTED_FORMAT

    // Adapters, by name.
    llm_status (*add_adapter)(void *state, const char *name, const llm_adapter *adapter, llm_error *err); // LLM_UNSUPPORTED_FORMAT
    llm_status (*remove_adapter)(void *state, const char *name, llm_error *err);     // LLM_UNSUPPORTED_FORMAT
} llm_backend_methods;

// Copies `methods` and takes `state`: llm_backend_free calls destroy. On an error the state stays the caller's.
LLM_API llm_backend *llm_backend_create(const llm_backend_methods *methods, void *state, llm_error *err);

// Each blocks while the reader is slow and returns LLM_CANCELLED when the answer is to stop (or LLM_OUT_OF_MEMORY, or
// LLM_INTERNAL_ERROR for text that is not UTF-8, which then end the stream).
LLM_API llm_status llm_writer_text(llm_stream_writer *writer, const char *text, size_t length);
LLM_API llm_status llm_writer_chunk(llm_stream_writer *writer, const llm_chunk *chunk); // likewise, of any kind; copied
LLM_API bool llm_writer_cancelled(llm_stream_writer *writer); // the answer is to stop

// A backend for tests of applications: answers "echo: <last user text>" word by word, without a model. Any spec loads.
// Words count as tokens, and the tokens of an answer are numbered from 0; of the settings it keeps max_tokens, stop and
// tools: "call NAME {…}" calls that tool, and the answer goes on with "echo: <result>". "think WORDS" is reasoned, then echoed.
LLM_API llm_backend *llm_mock_backend_create(llm_error *err);

// ---- A model's text side, without its weights ------------------------------------------------------------------

typedef struct llm_tokenizer llm_tokenizer; // immutable; any thread

// Reads a model's tokenizer and chat template only.
LLM_API llm_tokenizer *llm_tokenizer_create(const llm_model_spec *spec, llm_error *err);
LLM_API void llm_tokenizer_free(llm_tokenizer *tokenizer);
// *tokens is an owned copy (llm_free) of *num_tokens ids.
LLM_API llm_status llm_tokenizer_encode_copy(const llm_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
                                             int32_t **tokens, int *num_tokens, llm_error *err);
// The text of tokens; with skip_special without those that are no text.
LLM_API char *llm_tokenizer_decode_copy(const llm_tokenizer *tokenizer, const int32_t *tokens, int num_tokens,
                                        bool skip_special, llm_error *err);
// Renders the chat template. `json` is an object: messages, tools, add_generation_prompt (default true), and whatever else the
// template reads.
LLM_API char *llm_tokenizer_render_copy(const llm_tokenizer *tokenizer, const char *json, llm_error *err);

// ---- Models by name: the hub, its cache, presets ------------------------------------------------------------------
//
// Loading downloads what it needs. With these a program does so at a time of its own choosing, and looks after the disk.
// The cache is that of Hugging Face's Python tools, in both directions: HF_HOME and HF_HUB_CACHE say where it is, HF_TOKEN or
// `hf auth login` who you are, HF_ENDPOINT and HF_HUB_OFFLINE what they say there.

// A download that runs on a thread of its own.
typedef struct llm_download llm_download;

// How far a download is.
typedef struct llm_download_state {
    uint64_t done_bytes, total_bytes; // of all files, those included that were there before; total 0: not known yet
    uint64_t received_bytes;          // over the network, by this download
    int files_done, num_files;
    bool paused;
} llm_download_state;

// Begins to bring the newest commit of the spec's revision into the cache, on a thread of its own; what an earlier download
// left unfinished is continued. A directory is "brought" at once. An adapter of the spec comes along.
LLM_API llm_download *llm_download_start(const llm_model_spec *spec, llm_error *err);
// LLM_OK when all is there and verified, LLM_TIMEOUT while it runs, LLM_CANCELLED, or what went wrong; the last three come again.
LLM_API llm_status llm_download_wait(llm_download *download, int timeout_ms, llm_error *err);
// At once, at any time.
LLM_API void llm_download_get_state(llm_download *download, llm_download_state *state);
LLM_API void llm_download_pause(llm_download *download);  // closes the connections; what came stays
LLM_API void llm_download_resume(llm_download *download); // goes on where it stopped
LLM_API void llm_download_cancel(llm_download *download); // what came stays for the next download
LLM_API char *llm_download_directory_copy(llm_download *download); // NULL until it is done
LLM_API void llm_download_free(llm_download *download);   // cancels and waits if it still runs

// Where an entry of the cache comes from.
typedef enum llm_cached_kind { LLM_CACHED_HUB, LLM_CACHED_IMPORT, LLM_CACHED_GITHUB } llm_cached_kind;

// An entry of the cache.
typedef struct llm_cached_model {
    llm_cached_kind kind;
    const char *id;         // "owner/name"; IMPORT: the GGUF file it came from; GITHUB: "owner/repository@tag/asset"
    const char *directory;  // of the newest commit, or of what was made; NULL: nothing is whole
    const char *commit;     // HUB: 40 digits; else NULL
    uint64_t size_bytes;    // on disk, unfinished files included
    uint64_t partial_bytes; // of these, in unfinished files
    int64_t changed_at;     // seconds since 1970
} llm_cached_model;

// What is in the cache, sorted by id: *count of them in one block (llm_free). Damaged entries are listed without a directory.
LLM_API llm_cached_model *llm_cache_list_copy(int *count, llm_error *err);
// Whether loading the spec would need the network.
LLM_API bool llm_cache_has(const llm_model_spec *spec);
// Removes everything of this id, and nothing of another. *freed_bytes (may be NULL): what that frees. LLM_BUSY while a process
// downloads it, LLM_INVALID_ARGUMENT when it is not in the cache.
LLM_API llm_status llm_cache_remove(const char *id, uint64_t *freed_bytes, llm_error *err);
// Removes what interrupted downloads, imports and removals left behind, but not what a process is at work on.
LLM_API llm_status llm_cache_prune(uint64_t *freed_bytes, int *num_removed, llm_error *err);

// The tag of the newest release of a GitHub adapter's repository: another than adapter->tag means there is something new. Asks
// GitHub. NULL on an error.
LLM_API char *llm_adapter_latest_tag_copy(const llm_adapter *adapter, llm_error *err);

// A known model. Sizes are computed from its number of weights and their bits, not measured.
typedef struct llm_preset {
    const char *name;           // for llm_model_spec.base
    const char *hub_id;
    const char *family;         // model_type of its config.json
    const char *licence;        // an SPDX name where there is one
    uint64_t num_parameters;
    uint64_t download_bytes, memory_bytes; // memory: weights, 4096 tokens of context and work space
    int context_length;
    bool runs;                  // its family is one that this version runs
    bool tools, reasoning, japanese; // what it was made for, by its makers' word
} llm_preset;
LLM_API const llm_preset *llm_preset_at(int index); // sorted by memory; NULL after the last; valid for ever

// ---- Models on disk --------------------------------------------------------------------------------------------

// What is known of a model from its headers, as a JSON object.
LLM_API char *llm_model_info_json_copy(const llm_model_spec *spec, llm_error *err);

// What a conversion makes.
typedef struct llm_convert_options {
    size_t size;
    int bits;       // 0: keep what is there (lossless where the format allows); else 2, 3, 4, 5, 6, 8
    int group_size; // 0: 64; else 32, 64, 128
    llm_progress_function progress;
    void *user;
    llm_log_function report; // receives a line for each thing worth knowing (what was requantised, …)
} llm_convert_options;
LLM_API void llm_convert_options_init(llm_convert_options *options);

// How to merge.
typedef struct llm_fuse_options {
    size_t size;
    bool dequantize; // write plain weights; else those that the adapter changes are quantised anew as they were
    llm_progress_function progress;
    void *user;
} llm_fuse_options;
LLM_API void llm_fuse_options_init(llm_fuse_options *options); // sets `size` and the defaults

// Makes an MLX directory of the spec's model with the spec's adapter in its weights, for any program that reads MLX's
// format. What the adapter does not change is copied. The destination as in llm_convert.
LLM_API llm_status llm_fuse(const llm_model_spec *spec, const char *destination, const llm_fuse_options *options, llm_error *err);

// Makes an MLX directory from a GGUF file or an unquantised Hugging Face directory. The destination must not
// exist or be empty; a failed conversion leaves nothing behind.
LLM_API llm_status llm_convert(const char *source, const char *destination, const llm_convert_options *options, llm_error *err);

#ifdef __cplusplus
}
#endif
#endif
