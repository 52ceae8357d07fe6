// Sessions on disk. One safetensors file:
//   metadata "llmlocal_session"   JSON: version, model {name, fingerprint}, engine {name, precision, state}, system_prompt,
//                                 messages
//   "tokens"                      I32 [tokens]: the ledger
//   "layers.<n>.keys", ".values"  [tokens kept, kv_heads, head_dim], in the type of the engine's KV cache
#ifndef BACKEND_SESSION_FILE_H
#define BACKEND_SESSION_FILE_H
#include "backend/session.h"
#include "formats/safetensors.h"

// What is in such a file. Everything but the arrays has been checked by itself; session_file_array checks those.
typedef struct session_file {
    safetensors_file file;
    char *text; // behind the document
    yyjson_doc *doc;
    const char *model_name, *fingerprint, *engine, *precision; // of the document
    const char *system_prompt;                                 // NULL: none
    int64_t state;                                             // version of what the engine saves
    message_list transcript;
    token_list tokens;
} session_file;

// LLM_UNSUPPORTED_FORMAT: no session, or one of a later version; LLM_LOAD_FAILED: damaged. On failure nothing is held.
llm_status session_file_open(const char *path, session_file *file, llm_error *err);
void session_file_close(session_file *file); // a zeroed struct is fine

// Fills one array for engine_seq_restore. A missing one, another type or shape are LLM_LOAD_FAILED.
llm_status session_file_array(const session_file *file, engine_state_array *array, llm_error *err);

// Session to file and back. On an error, and while *system_prompt (owned, mem_free; NULL: none) is not set, `s` is as
// it was.
llm_status session_save(const session *s, const loaded_model *model, const char *system_prompt, const char *path, llm_error *err);
llm_status session_load(session *s, loaded_model *model, const char *path, char **system_prompt, llm_error *err);

#endif
