// What a family file writes with: typed reading of config values, and the parts of a model_desc, each one
// call. The first failure is kept and later calls do nothing, so that a family reads as a plain list of what
// the model has.
#ifndef NN_FAMILIES_FAMILY_H
#define NN_FAMILIES_FAMILY_H
#include "formats/safetensors.h"
#include "nn/config.h"
#include "engine/model_desc.h"

typedef struct family_builder {
    const model_config *config;
    const safetensors_model *files; // NULL: unknown
    yyjson_val *values;             // the object that sizes are read from
    const char *root;               // stands before every tensor name: "" or "language_model."
    bool own_vocab;                 // the family set the vocabulary size: not read from `values`
    char scope[64];                 // stands before the tensor names of the current block: "model.layers.3."
    model_desc *desc;
    int tensor_capacity;
    llm_status status; // the first failure
    llm_error *err;
} family_builder;

typedef void (*family_function)(family_builder *b);

// In a family_sizes of defaults: the key must be there, or its value follows from others.
enum { SIZE_REQUIRED = 0, SIZE_DERIVED = -1 };

typedef struct family_sizes {
    int hidden, layers, intermediate, vocab;
    int heads, kv_heads, head_dim; // derived: as many kv heads as heads; hidden / heads
    int context;                   // max_position_embeddings
    double norm_eps;               // negative in defaults: required
} family_sizes;

// Reads the sizes; each member of `defaults` stands for an absent key.
family_sizes family_read_sizes(family_builder *b, family_sizes defaults);

// Optional values: absent or null gives the default.
int family_int(family_builder *b, const char *key, int fallback, int smallest, int largest);
double family_number(family_builder *b, const char *key, double fallback); // finite; NAN as default: required
double family_positive(family_builder *b, const char *key, double fallback);
bool family_bool(family_builder *b, const char *key, bool fallback);
bool family_has(const family_builder *b, const char *key); // there and not null
yyjson_val *family_array(family_builder *b, const char *key,
                         int length); // of that many items; NULL when absent
void family_unsupported(family_builder *b, const char *format, ...) PRINTF_LIKE(2, 3);
void family_damaged(family_builder *b, const char *format, ...) PRINTF_LIKE(2, 3);

// hidden_act or hidden_activation, where given, must be one of these names (NULL ends them).
void family_check_activation(family_builder *b, const char *const *names);
void family_check_silu(family_builder *b);
void family_check_gelu_tanh(family_builder *b);

// Makes room for the blocks and adds embedding and final norm (RMS with `norm_offset`); false once anything
// failed.
bool family_begin(family_builder *b, const family_sizes *s, float norm_offset);

// Block i with no parts yet; the names of parts that follow begin "model.layers.<i>.".
block_desc *family_block(family_builder *b, int i);
norm_desc family_norm(family_builder *b, const char *name, int size, double eps, float weight_offset);

// "<name>.weight" and, with_bias, "<name>.bias"
linear_desc family_linear(family_builder *b, const char *name, int rows, int cols, bool with_bias);
linear_desc family_rows(linear_desc whole, int row_begin, int rows); // some rows of a fused projection

// Plain attention over these projections: scale 1 / sqrt(head_dim), no norms, no window, the given rope (-1:
// none).
attention_desc family_attention_of(const family_sizes *s, int rope, linear_desc q, linear_desc k,
                                   linear_desc v, linear_desc o);

// The same over self_attn.{q,k,v,o}_proj.
attention_desc family_attention(family_builder *b, const family_sizes *s, int rope, bool qkv_bias,
                                bool o_bias);
ffn_desc family_ffn(family_builder *b, const family_sizes *s, activation_kind activation,
                    bool with_bias); // mlp.{gate,up,down}_proj

// The output head: the embedding again, or "lm_head".
void family_head(family_builder *b, bool tied);

typedef struct family_rope {
    int dims;
    double base;
    bool traditional;
    yyjson_val *scaling;           // rope_scaling; NULL: none
    double max_positions;          // longrope only
    double original_max_positions; // longrope: used when `scaling` has none; 0: required there
} family_rope;

// Adds a rope and returns its index. Scaling kinds: default, linear, llama3, yarn, longrope (and its old name
// su).
int family_add_rope(family_builder *b, const family_rope *rope);

// rope_theta and rope_scaling of the values, wherever this version of the config keeps them.
double family_rope_base(family_builder *b, double fallback);
yyjson_val *family_rope_scaling(family_builder *b);

#define FAMILY_LIST(X)                                                                                       \
    X(gemma2)                                                                                                \
    X(gemma3) X(gemma3_text) X(granite) X(llama) X(mistral) X(olmo2) X(phi3) X(qwen2) X(qwen3) X(smollm3)
#define X(name) void family_##name(family_builder *b);
FAMILY_LIST(X)
#undef X

#endif
