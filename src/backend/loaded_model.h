// A model in memory: its text side and its engine. Made from a spec, owned by the MLX backend.
#ifndef BACKEND_LOADED_MODEL_H
#define BACKEND_LOADED_MODEL_H
#include "backend/fingerprint.h"
#include "backend/template_traits.h"
#include "engine/engine.h"
#include "nn/config.h"
#include "text/reply_format.h"
#include "text/tokenizer.h"
#include <stdatomic.h>

typedef struct named_adapter {
    char *name;
    engine_adapter *adapter;
} named_adapter;

typedef struct loaded_model {
    tokenizer *tok;
    chat_template *chat;  // NULL: the model has none and continues plain text
    template_traits traits; // of it, once they were needed
    engine *device;
    engine_model *weights;
    int vocab_size, context_length;
    atomic_int context_tokens; // that the latest answer's sequence holds; read by any thread
    int prefill_tokens;   // that the engine likes in one call; 0: any number
    int32_t eos_ids[CONFIG_MAX_EOS_IDS];
    int num_eos_ids;
    char *directory;
    named_adapter *adapters; // backend/adapters.h
    int num_adapters;
    size_t adapter_capacity;
    char *name; // of the spec, owned
    char fingerprint[FINGERPRINT_SIZE];
    llm_precision precision;
    int kv_bits;              // as the options say
} loaded_model;

// Progress may be NULL. On failure nothing is held.
llm_status loaded_model_open(const llm_model_spec *spec, const llm_mlx_options *options, llm_progress_function progress,
                             void *user, loaded_model *model, llm_error *err);
void loaded_model_close(loaded_model *model); // a zeroed struct is fine
reply_format loaded_model_reply_format(const loaded_model *model, bool with_tools);
bool loaded_model_is_end(const loaded_model *model, int32_t token);

// The text side alone: tokenizer, and template if there is one.
llm_status text_side_open(const char *directory, tokenizer **tok, chat_template **chat, llm_error *err);

#endif
