// config.json and generation_config.json from GGUF metadata, as Hugging Face writes them for each family.
#include "models/convert_job.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_LIMIT = 1 << 30, FACTORS_LIMIT = 4096, EOS_LIMIT = 8 };

void convert_put_float(buf *text, float value)
{
    char digits[40];
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        for (char *c = digits; *c; c++)
            if (*c == ',') *c = '.'; // whatever the locale says
        if (precision == 9 || (float)strtod(digits, NULL) == value) break;
    }
    buf_append_string(text, digits);
    if (!strpbrk(digits, ".e")) buf_append_string(text, ".0");
}

// Metadata under "<arch>.<name>".

static void make_key(const convert_config *c, const char *name, char *key, size_t capacity)
{
    snprintf(key, capacity, "%s.%s", convert_families[c->family].arch, name);
}

// A size: a number, or an array with the same number for every layer. `fallback` < 0: it must be there.
static llm_status get_size(const convert_config *c, const char *name, int64_t fallback, int64_t *value,
                           llm_error *err)
{
    char key[100];
    make_key(c, name, key, sizeof key);
    const gguf_value *found = gguf_find(c->file, key);
    *value = fallback;
    if (!found && fallback < 0) return error_set(err, LLM_LOAD_FAILED, "GGUF metadata %s is missing", key);
    if (found && found->type == GGUF_ARRAY) {
        int64_t *items;
        size_t count;
        llm_status status = gguf_get_ints(c->file, key, &items, &count, err);
        if (status != LLM_OK) return status;
        bool same = count > 0;
        for (size_t i = 0; i < count; i++) same = same && items[i] == items[0];
        if (same) *value = items[0];
        mem_free(items);
        if (!same) return error_set(err, LLM_UNSUPPORTED_FORMAT, "%s differs from layer to layer", key);
    } else {
        llm_status status = gguf_get_int(c->file, key, fallback, value, err);
        if (status != LLM_OK) return status;
    }
    if (found && (*value < 0 || *value > SIZE_LIMIT || (*value == 0 && fallback < 0)))
        return error_set(err, LLM_LOAD_FAILED, "GGUF metadata %s is not a valid size", key);
    return LLM_OK;
}

static llm_status get_real(const convert_config *c, const char *name, double fallback, double *value,
                           llm_error *err)
{
    char key[100];
    make_key(c, name, key, sizeof key);
    llm_status status = gguf_get_double(c->file, key, fallback, value, err);
    if (status == LLM_OK && !isfinite((float)*value))
        return error_set(err, LLM_LOAD_FAILED, "GGUF metadata %s is not a finite number", key);
    return status;
}

static llm_status find_family(const gguf_file *file, int *family, llm_error *err)
{
    gguf_string arch;
    llm_status status = gguf_get_string(file, "general.architecture", &arch, err);
    if (status != LLM_OK) return status;
    if (!arch.text) return error_set(err, LLM_LOAD_FAILED, "GGUF metadata general.architecture is missing");
    for (int i = 0; i < CONVERT_NUM_FAMILIES; i++) {
        const char *known = convert_families[i].arch;
        if (strlen(known) != arch.length || memcmp(known, arch.text, arch.length) != 0) continue;
        *family = i;
        return LLM_OK;
    }
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "the model family %.*s cannot be converted from GGUF",
                     arch.length < 60 ? (int)arch.length : 60, arch.text);
}

// Rotation. Readers look for the kind of scaling under "type" or under "rope_type", by their age: both are
// written.

// The factors of a rope table; NULL in *factors when the file has none of that name.
static llm_status read_factors(const convert_config *c, const char *name, float **factors, size_t *count,
                               llm_error *err)
{
    const gguf_tensor *tensor = gguf_find_tensor(c->file, name);
    *factors = NULL;
    *count = 0;
    if (!tensor) return LLM_OK;
    if (tensor->rows != 1 || tensor->columns > FACTORS_LIMIT || (int64_t)tensor->columns * 2 != c->rope_dims)
        return error_set(err, LLM_LOAD_FAILED, "tensor %s does not fit the rotated dimensions", name);
    *factors = mem_alloc_zero(tensor->columns, sizeof **factors);
    if (!*factors) return error_no_memory(err, name);
    gguf_dequantize(tensor, 0, 1, *factors);
    *count = tensor->columns;
    for (size_t i = 0; i < *count; i++) {
        if (isfinite((*factors)[i]) && (*factors)[i] > 0) continue;
        mem_free(*factors);
        *factors = NULL;
        return error_set(err, LLM_LOAD_FAILED, "tensor %s holds something that is no factor", name);
    }
    return LLM_OK;
}

#define LLAMA3_LOW 1.0
#define LLAMA3_HIGH 4.0

static double wavelength(const convert_config *c, size_t pair)
{
    return 2 * M_PI * pow(c->rope_theta, 2.0 * (double)pair / (double)c->rope_dims);
}

// The factor that Llama 3's rule gives a dimension pair (transformers, modeling_rope_utils.py).
static double llama3_factor(const convert_config *c, size_t pair, double factor, double original)
{
    double length = wavelength(c, pair);
    if (length < original / LLAMA3_HIGH) return 1;
    if (length > original / LLAMA3_LOW) return factor;
    double smooth = (original / length - LLAMA3_LOW) / (LLAMA3_HIGH - LLAMA3_LOW);
    return 1 / ((1 - smooth) / factor + smooth);
}

// How far the factors are from those of Llama 3's rule with an original context of `original`, relatively.
static double llama3_misfit(const convert_config *c, const float *factors, size_t count, double factor,
                            double original)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, fabs((double)factors[i] / llama3_factor(c, i, factor, original) - 1));
    return worst;
}

// The original context length that a factor between the extremes gives away; 0 if there is no such factor.
static double llama3_original(const convert_config *c, const float *factors, size_t count, double factor)
{
    for (size_t i = 0; i < count; i++) {
        double f = (double)factors[i];
        if (f < 1.001 || f > factor * 0.999) continue;
        double smooth = (1 / f - 1 / factor) / (1 - 1 / factor);
        return round(wavelength(c, i) * (LLAMA3_LOW + smooth * (LLAMA3_HIGH - LLAMA3_LOW)));
    }
    return 0;
}

// llama.cpp keeps only the outcome of Llama 3's scaling: a factor for each pair. All models that use it have
// the same two frequency factors; what is left is found from the factors, or by trying where all of them are
// extreme.
static llm_status put_llama3(convert_config *c, const float *factors, size_t count, llm_error *err)
{
    double factor = 1;
    for (size_t i = 0; i < count; i++) factor = fmax(factor, (double)factors[i]);
    double original = llama3_original(c, factors, count, factor);
    for (double guess = 64; original == 0 && guess <= 1 << 20; guess *= 2)
        if (llama3_misfit(c, factors, count, factor, guess) < 1e-3) original = guess;
    if (original < 1 || original > SIZE_LIMIT || llama3_misfit(c, factors, count, factor, original) > 1e-3)
        return error_set(err, LLM_UNSUPPORTED_FORMAT,
                         "rope_freqs.weight is not a scaling that config.json can name");
    buf_append_string(&c->rope_scaling, "{\"factor\": ");
    convert_put_float(&c->rope_scaling, (float)factor);
    buf_printf(&c->rope_scaling,
               ", \"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0, "
               "\"original_max_position_embeddings\": %.0f, \"rope_type\": \"llama3\", \"type\": \"llama3\"}",
               original);
    return LLM_OK;
}

static void put_factors(buf *text, const char *name, const float *factors, size_t count)
{
    buf_printf(text, "\"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
        if (i) buf_append_string(text, ", ");
        convert_put_float(text, factors[i]);
    }
    buf_append_char(text, ']');
}

static llm_status put_longrope(convert_config *c, llm_error *err)
{
    float *longer, *shorter = NULL;
    size_t num_long, num_short = 0;
    llm_status status = read_factors(c, "rope_factors_long.weight", &longer, &num_long, err);
    if (status == LLM_OK) status = read_factors(c, "rope_factors_short.weight", &shorter, &num_short, err);
    if (status == LLM_OK && (longer || shorter)) {
        if (!longer || !shorter) {
            status = error_set(err, LLM_LOAD_FAILED, "only one of the two rope_factors tensors is there");
        } else {
            buf_append_char(&c->rope_scaling, '{');
            put_factors(&c->rope_scaling, "long_factor", longer, num_long);
            buf_printf(&c->rope_scaling, ", \"original_max_position_embeddings\": %lld, ",
                       (long long)c->original_context);
            put_factors(&c->rope_scaling, "short_factor", shorter, num_short);
            buf_append_string(&c->rope_scaling, ", \"rope_type\": \"longrope\", \"type\": \"longrope\"}");
        }
    }
    mem_free(longer);
    mem_free(shorter);
    return status;
}

static llm_status put_yarn(convert_config *c, double factor, llm_error *err)
{
    static const struct {
        const char *gguf, *config;
    } extras[] = {{"rope.scaling.yarn_attn_factor", "attention_factor"},
                  {"rope.scaling.yarn_beta_fast", "beta_fast"},
                  {"rope.scaling.yarn_beta_slow", "beta_slow"}};
    buf_append_char(&c->rope_scaling, '{');
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
        char key[100];
        double value;
        make_key(c, extras[i].gguf, key, sizeof key);
        if (!gguf_find(c->file, key)) continue;
        llm_status status = get_real(c, extras[i].gguf, 1, &value, err);
        if (status != LLM_OK) return status;
        buf_printf(&c->rope_scaling, "\"%s\": ", extras[i].config);
        convert_put_float(&c->rope_scaling, (float)value);
        buf_append_string(&c->rope_scaling, ", ");
    }
    if (c->original_context == 0)
        return error_set(err, LLM_LOAD_FAILED, "YaRN without its original context length");
    buf_append_string(&c->rope_scaling, "\"factor\": ");
    convert_put_float(&c->rope_scaling, (float)factor);
    buf_printf(&c->rope_scaling,
               ", \"original_max_position_embeddings\": %lld, \"rope_type\": \"yarn\", \"type\": \"yarn\"}",
               (long long)c->original_context);
    return LLM_OK;
}

static bool is_text(gguf_string s, const char *text)
{
    return s.length == strlen(text) && memcmp(s.text, text, s.length) == 0;
}

static llm_status read_scaling(convert_config *c, llm_error *err)
{
    char key[100];
    gguf_string type;
    double factor;
    float *factors;
    size_t count;
    make_key(c, "rope.scaling.type", key, sizeof key);
    llm_status status = gguf_get_string(c->file, key, &type, err);
    if (status == LLM_OK) status = get_real(c, "rope.scale_linear", 1, &factor, err); // what old files have
    if (status == LLM_OK) status = get_real(c, "rope.scaling.factor", factor, &factor, err);
    if (status == LLM_OK)
        status = get_size(c, "rope.scaling.original_context_length", 0, &c->original_context, err);
    if (status == LLM_OK) status = read_factors(c, "rope_freqs.weight", &factors, &count, err);
    if (status != LLM_OK) return status;
    if (factors) status = put_llama3(c, factors, count, err);
    mem_free(factors);
    if (status != LLM_OK || c->rope_scaling.length) return status;
    if (c->family == CONVERT_PHI3) return put_longrope(c, err);
    if (factor == 1 || (type.text && is_text(type, "none"))) return LLM_OK;
    if (!(factor > 0)) return error_set(err, LLM_LOAD_FAILED, "the rope scaling factor is not valid");
    if (type.text && is_text(type, "yarn")) return put_yarn(c, factor, err);
    if (type.text && !is_text(type, "linear"))
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the rope scaling %.*s is not supported",
                         type.length < 40 ? (int)type.length : 40, type.text);
    buf_append_string(&c->rope_scaling, "{\"factor\": ");
    convert_put_float(&c->rope_scaling, (float)factor);
    buf_append_string(&c->rope_scaling, ", \"rope_type\": \"linear\", \"type\": \"linear\"}");
    return LLM_OK;
}

// Reading.

static llm_status read_sizes(convert_config *c, llm_error *err)
{
    static const struct {
        const char *name;
        int64_t fallback;
        size_t offset;
    } sizes[] = {
        {"embedding_length", -1, offsetof(convert_config, hidden_size)},
        {"block_count", -1, offsetof(convert_config, num_layers)},
        {"feed_forward_length", -1, offsetof(convert_config, intermediate_size)},
        {"attention.head_count", -1, offsetof(convert_config, num_heads)},
        {"context_length", -1, offsetof(convert_config, context)},
        {"attention.head_count_kv", 0, offsetof(convert_config, num_kv_heads)},
        {"attention.key_length", 0, offsetof(convert_config, head_dim)},
        {"rope.dimension_count", 0, offsetof(convert_config, rope_dims)},
        {"attention.sliding_window", 0, offsetof(convert_config, sliding_window)},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t value;
        llm_status status = get_size(c, sizes[i].name, sizes[i].fallback, &value, err);
        if (status != LLM_OK) return status;
        memcpy((char *)c + sizes[i].offset, &value, sizeof value);
    }
    if (c->num_kv_heads == 0) c->num_kv_heads = c->num_heads;
    c->has_head_dim = c->head_dim != 0;
    if (!c->has_head_dim && c->hidden_size % c->num_heads)
        return error_set(err, LLM_LOAD_FAILED, "%lld heads do not divide the hidden size",
                         (long long)c->num_heads);
    if (!c->has_head_dim) c->head_dim = c->hidden_size / c->num_heads;
    if (c->rope_dims == 0) c->rope_dims = c->head_dim;
    return LLM_OK;
}

static llm_status read_reals(convert_config *c, llm_error *err)
{
    static const struct {
        const char *name;
        double fallback;
        size_t offset;
    } reals[] = {
        {"attention.layer_norm_rms_epsilon", -1, offsetof(convert_config, rms_eps)},
        {"rope.freq_base", 10000, offsetof(convert_config, rope_theta)},
        {"rope.freq_base_swa", 10000, offsetof(convert_config, rope_local_theta)},
        {"attention.scale", 0, offsetof(convert_config, attention_scale)},
        {"embedding_scale", 1, offsetof(convert_config, embedding_scale)},
        {"residual_scale", 1, offsetof(convert_config, residual_scale)},
        {"logit_scale", 1, offsetof(convert_config, logit_scale)},
        {"attn_logit_softcapping", 0, offsetof(convert_config, attention_softcap)},
        {"final_logit_softcapping", 0, offsetof(convert_config, final_softcap)},
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        double value;
        llm_status status = get_real(c, reals[i].name, reals[i].fallback, &value, err);
        if (status != LLM_OK) return status;
        memcpy((char *)c + reals[i].offset, &value, sizeof value);
    }
    if (!(c->rms_eps >= 0) || !(c->rope_theta > 0))
        return error_set(err, LLM_LOAD_FAILED,
                         "GGUF metadata lacks the norm's epsilon or has an impossible rope base");
    return LLM_OK;
}

// What the table of families has no words for.
static llm_status refuse_features(const convert_config *c, llm_error *err)
{
    int64_t experts, value_length, splits;
    llm_status status = get_size(c, "expert_count", 0, &experts, err);
    if (status == LLM_OK) status = get_size(c, "attention.value_length", c->head_dim, &value_length, err);
    if (status == LLM_OK) status = gguf_get_int(c->file, "split.count", 1, &splits, err);
    if (status != LLM_OK) return status;
    const char *what = NULL;
    if (experts)
        what = "a mixture of experts";
    else if (value_length != c->head_dim)
        what = "values of another size than keys";
    else if (splits > 1)
        what = "a file that is one of several parts";
    else if (c->rope_dims != c->head_dim && c->family != CONVERT_PHI3)
        what = "a partial rotation";
    else if (c->family == CONVERT_OLMO2 && c->sliding_window)
        what = "OLMo 2 with a sliding window (OLMo 3)";
    if (what) return error_set(err, LLM_UNSUPPORTED_FORMAT, "%s cannot be converted from GGUF", what);
    return LLM_OK;
}

llm_status convert_read_config(const gguf_file *file, convert_config *c, llm_error *err)
{
    *c = (convert_config){.file = file};
    llm_status status = find_family(file, &c->family, err);
    if (status == LLM_OK) status = read_sizes(c, err);
    if (status == LLM_OK) status = read_reals(c, err);
    if (status == LLM_OK) status = refuse_features(c, err);
    if (status == LLM_OK) status = read_scaling(c, err);
    const gguf_tensor *embedding = gguf_find_tensor(file, "token_embd.weight");
    c->vocab_size = embedding ? (int64_t)embedding->rows : 0;
    return status;
}

// Writing: members in the order of their names, as mlx-lm sorts them.

static void put_key(buf *text, const char *key) { buf_printf(text, ",\n    \"%s\": ", key); }
static void put_int(buf *text, const char *key, int64_t value)
{
    put_key(text, key), buf_printf(text, "%lld", (long long)value);
}
static void put_real(buf *text, const char *key, double value)
{
    put_key(text, key), convert_put_float(text, (float)value);
}
static void put_bool(buf *text, const char *key, bool value)
{
    put_key(text, key), buf_append_string(text, value ? "true" : "false");
}
static void put_text(buf *text, const char *key, const char *value)
{
    put_key(text, key), buf_printf(text, "\"%s\"", value);
}

static void put_token(const convert_config *c, buf *text, const char *key, const char *gguf_key)
{
    int64_t id;
    if (gguf_get_int(c->file, gguf_key, -1, &id, NULL) == LLM_OK && id >= 0 && id < c->vocab_size)
        put_int(text, key, id);
}

// The scale of the scores is 1 / sqrt(this): the head's size, but in the largest models of each generation,
// as llama.cpp tells them by their depth.
static int64_t query_scalar(const convert_config *c)
{
    bool largest = c->num_layers == (c->family == CONVERT_GEMMA2 ? 46 : 62);
    return largest ? c->hidden_size / c->num_heads : c->head_dim;
}

static llm_status put_gemma_window(const convert_config *c, buf *text, llm_error *err)
{
    int64_t pattern;
    const gguf_value *found = gguf_find(c->file, "gemma3.attention.sliding_window_pattern");
    llm_status status = found && found->type == GGUF_ARRAY
                            ? LLM_OK
                            : get_size(c, "attention.sliding_window_pattern", 6, &pattern, err);
    if (status != LLM_OK) return status;
    if (found && found->type == GGUF_ARRAY) pattern = 6; // a flag a layer: the family has this one pattern
    put_int(text, "sliding_window", c->sliding_window ? c->sliding_window : 512);
    put_int(text, "sliding_window_pattern", c->sliding_window && pattern > 0 ? pattern : 1);
    return LLM_OK;
}

static void put_head(const convert_job *job, const convert_config *c, buf *text)
{
    int f = c->family;
    bool gemma = f == CONVERT_GEMMA2 || f == CONVERT_GEMMA3;
    bool llama = f == CONVERT_LLAMA || f == CONVERT_SMOLLM3 || f == CONVERT_GRANITE;
    if (f != CONVERT_QWEN2) // its q, k and v always have biases, its output never
        put_bool(text, "attention_bias",
                 llama && convert_has(job, "model.layers.0.self_attn.q_proj", "bias"));
    if (f == CONVERT_GRANITE)
        put_real(text, "attention_multiplier",
                 c->attention_scale > 0 ? c->attention_scale : 1 / sqrt((double)c->head_dim));
    if (f == CONVERT_GEMMA2)
        put_real(text, "attn_logit_softcapping", c->attention_softcap > 0 ? c->attention_softcap : 50);
    put_token(c, text, "bos_token_id", "tokenizer.ggml.bos_token_id");
    if (f == CONVERT_GRANITE) put_real(text, "embedding_multiplier", c->embedding_scale);
    put_token(c, text, "eos_token_id", "tokenizer.ggml.eos_token_id");
    if (f == CONVERT_GEMMA2)
        put_real(text, "final_logit_softcapping", c->final_softcap > 0 ? c->final_softcap : 30);
    if (gemma || f == CONVERT_QWEN3 || c->has_head_dim) put_int(text, "head_dim", c->head_dim);
    put_text(text, gemma ? "hidden_activation" : "hidden_act", gemma ? "gelu_pytorch_tanh" : "silu");
    put_int(text, "hidden_size", c->hidden_size);
    put_int(text, "intermediate_size", c->intermediate_size);
    if (f == CONVERT_GRANITE) put_real(text, "logits_scaling", c->logit_scale);
    put_int(text, "max_position_embeddings", c->context);
    if (llama) put_bool(text, "mlp_bias", convert_has(job, "model.layers.0.mlp.gate_proj", "bias"));
    put_text(text, "model_type", convert_families[f].model_type);
    if (f == CONVERT_SMOLLM3) {
        put_int(text, "no_rope_layer_interval", 4);
        put_key(text, "no_rope_layers"); // 1: rotated
        for (int64_t i = 0; i < c->num_layers; i++)
            buf_printf(text, "%s%d", i ? ", " : "[", (i + 1) % 4 != 0);
        buf_append_char(text, ']');
    }
}

static llm_status put_tail(const convert_job *job, const convert_config *c, buf *text, llm_error *err)
{
    int f = c->family;
    bool gemma = f == CONVERT_GEMMA2 || f == CONVERT_GEMMA3;
    llm_status status = LLM_OK;
    put_int(text, "num_attention_heads", c->num_heads);
    put_int(text, "num_hidden_layers", c->num_layers);
    put_int(text, "num_key_value_heads", c->num_kv_heads);
    if (f == CONVERT_PHI3)
        put_int(text, "original_max_position_embeddings",
                c->original_context ? c->original_context : c->context);
    if (f == CONVERT_PHI3)
        put_real(text, "partial_rotary_factor", (double)c->rope_dims / (double)c->head_dim);
    convert_put_quantization(job, text);
    if (gemma) put_int(text, "query_pre_attn_scalar", query_scalar(c));
    if (f == CONVERT_GRANITE) put_real(text, "residual_multiplier", c->residual_scale);
    put_real(text, "rms_norm_eps", c->rms_eps);
    if (f == CONVERT_GEMMA3) put_real(text, "rope_local_base_freq", c->rope_local_theta);
    if (c->rope_scaling.length)
        put_key(text, "rope_scaling"), buf_append(text, c->rope_scaling.data, c->rope_scaling.length);
    put_real(text, "rope_theta", c->rope_theta);
    if (f == CONVERT_GEMMA3)
        status = put_gemma_window(c, text, err);
    else if ((f == CONVERT_GEMMA2 || f == CONVERT_PHI3) && c->sliding_window)
        put_int(text, "sliding_window", c->sliding_window);
    put_bool(text, "tie_word_embeddings", !convert_has(job, "lm_head", "weight"));
    put_text(text, "torch_dtype", convert_dtype_name(job->type));
    put_int(text, "vocab_size", c->vocab_size);
    return status;
}

// Tokens that end an answer: what the file names, and ends of turns that its template writes.
static llm_status list_ends(const convert_config *c, int64_t *ids, size_t *count, llm_error *err)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    static const char *const turns[] = {"<|im_end|>",    "<|eot_id|>",      "<|end|>",
                                        "<end_of_turn>", "<|end_of_text|>", "<|endoftext|>"};
    gguf_string template, *tokens;
    size_t num_tokens;
    *count = 0;
    llm_status status = gguf_get_string(c->file, "tokenizer.chat_template", &template, err);
    if (status == LLM_OK)
        status = gguf_get_strings(c->file, "tokenizer.ggml.tokens", &tokens, &num_tokens, err);
    if (status != LLM_OK) return status;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        int64_t id;
        bool given = gguf_get_int(c->file, keys[k], -1, &id, NULL) == LLM_OK && id >= 0 && id < c->vocab_size;
        for (size_t i = 0; i < *count; i++) given = given && ids[i] != id;
        if (given) ids[(*count)++] = id;
    }
    for (size_t id = 0; id < num_tokens && *count < EOS_LIMIT; id++) {
        bool ends = false;
        for (size_t k = 0; k < sizeof turns / sizeof *turns; k++)
            ends |= is_text(tokens[id], turns[k]) && template.text &&
                    memmem(template.text, template.length, turns[k], strlen(turns[k]));
        for (size_t i = 0; i < *count; i++) ends = ends && ids[i] != (int64_t)id;
        if (ends) ids[(*count)++] = (int64_t)id;
    }
    mem_free(tokens);
    return LLM_OK;
}

static llm_status write_generation_config(const convert_job *job, const convert_config *c, llm_error *err)
{
    buf text = {0};
    int64_t ids[EOS_LIMIT];
    size_t count;
    llm_status status = list_ends(c, ids, &count, err);
    if (status != LLM_OK) return status;
    buf_append_string(&text, "{\n    \"_from_model_config\": true");
    put_token(c, &text, "bos_token_id", "tokenizer.ggml.bos_token_id");
    if (count == 1) put_int(&text, "eos_token_id", ids[0]);
    if (count > 1) put_key(&text, "eos_token_id");
    for (size_t i = 0; count > 1 && i < count; i++)
        buf_printf(&text, "%s%lld", i ? ", " : "[", (long long)ids[i]);
    if (count > 1) buf_append_char(&text, ']');
    put_token(c, &text, "pad_token_id", "tokenizer.ggml.padding_token_id");
    buf_append_string(&text, "\n}\n");
    return convert_write_file(job, "generation_config.json", &text, err);
}

llm_status convert_write_config(convert_job *job, const convert_config *c, llm_error *err)
{
    buf text = {0};
    buf_printf(&text, "{\n    \"architectures\": [\n        \"%s\"\n    ]",
               convert_families[c->family].architecture);
    put_head(job, c, &text);
    llm_status status = put_tail(job, c, &text, err);
    buf_append_string(&text, "\n}\n");
    if (status != LLM_OK)
        buf_free(&text);
    else
        status = convert_write_file(job, "config.json", &text, err);
    return status == LLM_OK ? write_generation_config(job, c, err) : status;
}
