// What the parts of the converter share: the list of tensors to write and how each comes about.
#ifndef MODELS_CONVERT_JOB_H
#define MODELS_CONVERT_JOB_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/convert.h"

typedef struct convert_tensor {
    const char *module; // "model.layers.0.mlp.down_proj"
    const char *suffix; // "weight" or "bias"
    bool is_matrix;     // the weight of a linear layer or an embedding: what can be quantised

    // The source: one of the two.
    const gguf_tensor *gguf;
    const safetensors_tensor *safetensors;
    size_t permuted_heads; // > 0: the rows of each of so many heads lie in llama.cpp's order
    bool minus_one;        // llama.cpp stores 1 + weight

    // The shape, as written.
    int num_dims;
    size_t shape[SAFETENSORS_MAX_DIMS];
    size_t rows, columns; // a vector is one row

    // How it is written: plain in `type`, or quantised with scales and biases in `type`.
    dtype type;
    int bits, group_size; // bits 0: plain
    enum { CONVERT_BLOCKS, CONVERT_FIT, CONVERT_MLX } method; // see convert_weights.c
} convert_tensor;

typedef struct convert_job {
    const convert_options *options;
    convert_report *report;
    const gguf_file *gguf;          // the source, when it is a GGUF file
    const char *source, *directory; // directory: where files are written, complete only in the end
    arena memory;                   // names
    convert_tensor *tensors;
    size_t num_tensors, capacity;
    bool mlx_rules; // decide and round as mlx-lm's convert does (bits given, or a Hugging Face source)
    bool granite;   // mlx-lm keeps some of Granite's layers at 8 bits
    dtype type;     // chosen for the model
} convert_job;

// convert_report: adds a formatted line.
llm_status convert_note(convert_job *job, llm_error *err, const char *format, ...) PRINTF_LIKE(3, 4);

// Adds a cleared tensor to the job; borrows nothing. NULL without memory.
convert_tensor *convert_add(convert_job *job, const char *module, const char *suffix);
void convert_set_shape(convert_tensor *tensor, int num_dims, const size_t *shape);

// Weights. Planning fills type, bits, group size and method of every tensor.
llm_status convert_plan(convert_job *job, llm_error *err);
llm_status convert_write_weights(convert_job *job, llm_error *err);
// Appends ',"quantization": {…}, "quantization_config": {…}' as members of config.json, nothing if none is quantised.
void convert_put_quantization(const convert_job *job, buf *text);
llm_status convert_parse_dtype(const char *name, dtype *type, llm_error *err);
const char *convert_dtype_name(dtype type); // "bfloat16"

// Sources. Each lists the tensors, plans, and writes every file but the weights.
llm_status convert_from_gguf(convert_job *job, const gguf_file *file, llm_error *err);
llm_status convert_from_directory(convert_job *job, safetensors_model *model, llm_error *err);

// GGUF: families and tensor names (convert_names.c).
enum { CONVERT_LLAMA, CONVERT_QWEN2, CONVERT_QWEN3, CONVERT_GEMMA2, CONVERT_GEMMA3, CONVERT_PHI3, CONVERT_SMOLLM3,
       CONVERT_GRANITE, CONVERT_OLMO2, CONVERT_NUM_FAMILIES };

typedef struct convert_family {
    const char *arch;         // GGUF: general.architecture
    const char *model_type;   // config.json
    const char *architecture; // config.json
    bool permuted;            // llama.cpp reorders the rows of q and k
    bool norm_plus_one;       // llama.cpp adds 1 to norm weights
} convert_family;

extern const convert_family convert_families[CONVERT_NUM_FAMILIES];
llm_status convert_list_gguf(convert_job *job, const gguf_file *file, int family, int64_t num_layers,
                             int64_t num_heads, int64_t num_kv_heads, llm_error *err);
bool convert_has(const convert_job *job, const char *module, const char *suffix);

// GGUF: config.json, generation_config.json (convert_config.c), tokenizer files (convert_tokenizer.c).
typedef struct convert_config {
    const gguf_file *file;
    int family;
    int64_t hidden_size, num_layers, intermediate_size, num_heads, num_kv_heads, head_dim, context, vocab_size;
    int64_t rope_dims, original_context, sliding_window;
    bool has_head_dim; // the file says it; else it follows from hidden size and heads
    double rms_eps, rope_theta, rope_local_theta;
    double attention_scale, embedding_scale, residual_scale, logit_scale, attention_softcap, final_softcap;
    buf rope_scaling; // JSON, empty: none
} convert_config;

llm_status convert_read_config(const gguf_file *file, convert_config *config, llm_error *err);
llm_status convert_write_config(convert_job *job, const convert_config *config, llm_error *err);
llm_status convert_write_tokenizer(convert_job *job, const gguf_file *file, size_t vocab_size, llm_error *err);
// The "pre_tokenizer" of a byte-level tokenizer that GGUF calls `name` (convert_pretokenizer.c).
typedef struct convert_pretokenizer {
    const char *names;      // space-separated
    const char *splits[6];  // regular expressions applied one after the other; none: GPT-2's own
    bool digits;            // single digits first, then GPT-2's own
    bool ignore_merges;     // a word that is a token is that token, whatever the merges say
    bool add_bos;           // unless the file says otherwise
    bool nfc;               // text is normalised first
} convert_pretokenizer;
const convert_pretokenizer *convert_find_pretokenizer(gguf_string name); // NULL: unknown
void convert_put_pretokenizer(const convert_pretokenizer *pre, buf *text);

// Writes text to a file of the new directory; a buffer that failed is out of memory.
llm_status convert_write_file(const convert_job *job, const char *name, buf *text, llm_error *err);

// JSON numbers in a buffer: the shortest text that gives the same float32.
void convert_put_float(buf *text, float value);

#endif
