// tokenizer.json and tokenizer_config.json from GGUF metadata: byte-level BPE ("gpt2") and SentencePiece
// ("llama"), whose merges are derived from its scores.
#include "models/convert_job.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// tokenizer.ggml.token_type
enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE };
enum { VOCAB_LIMIT = 1 << 22, TOKEN_LENGTH_LIMIT = 4096, TEMPLATE_LIMIT = 1 << 20 };

typedef struct vocabulary {
    const gguf_file *file;
    gguf_string *tokens;
    int64_t *types;      // NULL: all normal
    float *scores;       // SentencePiece only
    gguf_string *merges; // byte-level only
    size_t count, num_merges;
    strmap by_text; // the last of equal tokens wins
    bool is_spm;
    const convert_pretokenizer *pre; // byte-level only
    bool add_bos, add_eos, add_space_prefix;
    int64_t bos, eos, unk, pad; // -1: none
} vocabulary;

static int64_t type_of(const vocabulary *v, size_t id) { return v->types ? v->types[id] : TOKEN_NORMAL; }

static bool find(const vocabulary *v, const char *text, size_t length, uint32_t *id)
{
    return strmap_get(&v->by_text, text, length, id);
}

// Reading.

static llm_status read_id(const vocabulary *v, const char *key, int64_t fallback, int64_t *id, llm_error *err)
{
    llm_status status = gguf_get_int(v->file, key, fallback, id, err);
    if (status == LLM_OK && (*id < 0 || (uint64_t)*id >= v->count))
        *id = -1; // llama.cpp writes 2^32 - 1 for none
    return status;
}

static llm_status read_ids(vocabulary *v, llm_error *err)
{
    llm_status status = read_id(v, "tokenizer.ggml.bos_token_id", v->is_spm ? 1 : -1, &v->bos, err);
    if (status == LLM_OK)
        status = read_id(v, "tokenizer.ggml.eos_token_id", v->is_spm ? 2 : -1, &v->eos, err);
    if (status == LLM_OK)
        status = read_id(v, "tokenizer.ggml.unknown_token_id", v->is_spm ? 0 : -1, &v->unk, err);
    if (status == LLM_OK) status = read_id(v, "tokenizer.ggml.padding_token_id", -1, &v->pad, err);
    bool bos_default = v->is_spm || v->pre->add_bos;
    if (status == LLM_OK)
        status = gguf_get_bool(v->file, "tokenizer.ggml.add_bos_token", bos_default, &v->add_bos, err);
    if (status == LLM_OK)
        status = gguf_get_bool(v->file, "tokenizer.ggml.add_eos_token", false, &v->add_eos, err);
    if (status == LLM_OK)
        status =
            gguf_get_bool(v->file, "tokenizer.ggml.add_space_prefix", v->is_spm, &v->add_space_prefix, err);
    v->add_bos = v->add_bos && v->bos >= 0;
    v->add_eos = v->add_eos && v->eos >= 0;
    return status;
}

static llm_status index_tokens(vocabulary *v, llm_error *err)
{
    if (v->count == 0 || v->count > VOCAB_LIMIT)
        return error_set(err, LLM_LOAD_FAILED, "the vocabulary has %zu tokens", v->count);
    if (!strmap_init(&v->by_text, v->count)) return error_no_memory(err, "a vocabulary");
    for (size_t id = 0; id < v->count; id++) {
        gguf_string t = v->tokens[id];
        if (t.length == 0 || t.length > TOKEN_LENGTH_LIMIT || !utf8_valid(t.text, t.length))
            return error_set(err, LLM_LOAD_FAILED, "token %zu is not valid text", id);
        if (!strmap_put(&v->by_text, t.text, t.length, (uint32_t)id))
            return error_no_memory(err, "a vocabulary");
    }
    return LLM_OK;
}

static llm_status read_kind(vocabulary *v, convert_job *job, llm_error *err)
{
    gguf_string model, pre;
    llm_status status = gguf_get_string(v->file, "tokenizer.ggml.model", &model, err);
    if (status == LLM_OK) status = gguf_get_string(v->file, "tokenizer.ggml.pre", &pre, err);
    if (status != LLM_OK) return status;
    if (!model.text) return error_set(err, LLM_LOAD_FAILED, "GGUF metadata tokenizer.ggml.model is missing");
    v->is_spm = model.length == 5 && memcmp(model.text, "llama", 5) == 0;
    if (v->is_spm) return LLM_OK;
    if (model.length != 4 || memcmp(model.text, "gpt2", 4) != 0)
        return error_set(err, LLM_UNSUPPORTED_FORMAT,
                         "the tokenizer model %.*s cannot be converted from GGUF",
                         model.length < 40 ? (int)model.length : 40, model.text);
    if (!pre.text) {
        pre = (gguf_string){"default", 7};
        status = convert_note(
            job, err, "the file does not say how its tokenizer cuts words: llama.cpp's default is taken");
    }
    v->pre = convert_find_pretokenizer(pre);
    if (!v->pre)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "the pre-tokenizer %.*s is not known",
                         pre.length < 40 ? (int)pre.length : 40, pre.text);
    return status;
}

static llm_status read_vocabulary(vocabulary *v, convert_job *job, llm_error *err)
{
    size_t num_types, num_scores;
    llm_status status = read_kind(v, job, err);
    if (status == LLM_OK)
        status = gguf_get_strings(v->file, "tokenizer.ggml.tokens", &v->tokens, &v->count, err);
    if (status == LLM_OK)
        status = gguf_get_ints(v->file, "tokenizer.ggml.token_type", &v->types, &num_types, err);
    if (status == LLM_OK && v->is_spm)
        status = gguf_get_floats(v->file, "tokenizer.ggml.scores", &v->scores, &num_scores, err);
    if (status == LLM_OK && !v->is_spm)
        status = gguf_get_strings(v->file, "tokenizer.ggml.merges", &v->merges, &v->num_merges, err);
    if (status != LLM_OK) return status;
    if (v->types && num_types != v->count)
        return error_set(err, LLM_LOAD_FAILED, "%zu token types for %zu tokens", num_types, v->count);
    if (v->is_spm && (!v->scores || num_scores != v->count))
        return error_set(err, LLM_LOAD_FAILED, "the vocabulary's scores are missing or of another length");
    if (!v->is_spm && !v->merges)
        return error_set(err, LLM_LOAD_FAILED, "GGUF metadata tokenizer.ggml.merges is missing");
    status = index_tokens(v, err);
    return status == LLM_OK ? read_ids(v, err) : status;
}

static void free_vocabulary(vocabulary *v)
{
    strmap_free(&v->by_text);
    mem_free(v->tokens);
    mem_free(v->types);
    mem_free(v->scores);
    mem_free(v->merges);
}

// Merges of SentencePiece. It merges, again and again, the two neighbours that make the token with the best
// score; BPE takes the pair that comes first in its list. So: every way to cut a token into two tokens, best
// tokens first.

typedef struct spm_merge {
    float score;
    uint32_t token, left, right;
} spm_merge;

static int by_score(const void *a, const void *b)
{
    const spm_merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->token != y->token) return x->token < y->token ? -1 : 1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

static llm_status derive_merges(const vocabulary *v, spm_merge **merges, size_t *count, llm_error *err)
{
    size_t capacity = 0;
    *merges = NULL;
    *count = 0;
    for (size_t id = 0; id < v->count; id++) {
        gguf_string t = v->tokens[id];
        if (type_of(v, id) != TOKEN_NORMAL) continue;
        uint32_t unused, left, right;
        for (size_t cut = utf8_decode(t.text, t.length, &unused); cut < t.length;
             cut += utf8_decode(t.text + cut, t.length - cut, &unused)) {
            if (!find(v, t.text, cut, &left) || !find(v, t.text + cut, t.length - cut, &right)) continue;
            if (!mem_grow((void **)merges, &capacity, *count + 1, sizeof **merges))
                return error_no_memory(err, "merges");
            float score = isnan(v->scores[id]) ? -INFINITY : v->scores[id];
            (*merges)[(*count)++] = (spm_merge){score, (uint32_t)id, left, right};
        }
    }
    if (*count) qsort(*merges, *count, sizeof **merges, by_score);
    return LLM_OK;
}

// Writing.

static void put_string(buf *text, gguf_string s) { buf_append_json_string(text, s.text, s.length); }

static void put_pair(buf *text, bool *first, gguf_string left, gguf_string right)
{
    buf_append_string(text, *first ? "[" : ", [");
    put_string(text, left);
    buf_append_string(text, ", ");
    put_string(text, right);
    buf_append_char(text, ']');
    *first = false;
}

static llm_status put_spm_merges(const vocabulary *v, buf *text, llm_error *err)
{
    spm_merge *merges;
    size_t count;
    bool first = true;
    llm_status status = derive_merges(v, &merges, &count, err);
    for (size_t i = 0; status == LLM_OK && i < count; i++)
        put_pair(text, &first, v->tokens[merges[i].left], v->tokens[merges[i].right]);
    mem_free(merges);
    return status;
}

// "left right"; the parts themselves hold no space: byte-level tokens spell it differently.
static llm_status put_merges(const vocabulary *v, buf *text, llm_error *err)
{
    bool first = true;
    for (size_t i = 0; i < v->num_merges; i++) {
        gguf_string m = v->merges[i];
        const char *space = m.length > 1 ? memchr(m.text + 1, ' ', m.length - 1) : NULL;
        size_t left = space ? (size_t)(space - m.text) : 0;
        if (!space || left + 1 >= m.length || !utf8_valid(m.text, m.length))
            return error_set(err, LLM_LOAD_FAILED, "merge %zu is not a pair of tokens", i);
        put_pair(text, &first, (gguf_string){m.text, left}, (gguf_string){space + 1, m.length - left - 1});
    }
    return LLM_OK;
}

static void put_added_tokens(const vocabulary *v, buf *text)
{
    bool first = true;
    for (size_t id = 0; id < v->count; id++) {
        uint32_t last;
        bool special = type_of(v, id) == TOKEN_CONTROL;
        if (!special && type_of(v, id) != TOKEN_USER) continue;
        if (find(v, v->tokens[id].text, v->tokens[id].length, &last) && last != id) continue;
        buf_printf(text, "%s\n    {\"id\": %zu, \"content\": ", first ? "" : ",", id);
        put_string(text, v->tokens[id]);
        buf_printf(text,
                   ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                   "\"special\": %s}",
                   special ? "true" : "false");
        first = false;
    }
}

static void put_vocab(const vocabulary *v, buf *text)
{
    bool first = true;
    for (size_t id = 0; id < v->count; id++) {
        uint32_t last;
        if (find(v, v->tokens[id].text, v->tokens[id].length, &last) && last != id) continue;
        if (!first) buf_append_string(text, ", ");
        put_string(text, v->tokens[id]);
        buf_printf(text, ": %zu", id);
        first = false;
    }
}

// What bos and eos stand around text: "single" or "pair" of the post-processor.
static void put_sequence(const vocabulary *v, buf *text, const char *sequence, int type_id)
{
    int64_t ends[2] = {v->add_bos ? v->bos : -1, v->add_eos ? v->eos : -1};
    for (int end = 0; end < 2; end++) {
        if (end == 1)
            buf_printf(text, "{\"Sequence\": {\"id\": \"%s\", \"type_id\": %d}}", sequence, type_id);
        if (ends[end] < 0) continue;
        if (end == 1) buf_append_string(text, ", ");
        buf_append_string(text, "{\"SpecialToken\": {\"id\": ");
        put_string(text, v->tokens[ends[end]]);
        buf_printf(text, ", \"type_id\": %d}}%s", type_id, end == 0 ? ", " : "");
    }
}

static void put_special(const vocabulary *v, buf *text, int64_t id, bool *first)
{
    buf_append_string(text, *first ? "" : ", ");
    put_string(text, v->tokens[id]);
    buf_append_string(text, ": {\"id\": ");
    put_string(text, v->tokens[id]);
    buf_printf(text, ", \"ids\": [%lld], \"tokens\": [", (long long)id);
    put_string(text, v->tokens[id]);
    buf_append_string(text, "]}");
    *first = false;
}

static void put_post_processor(const vocabulary *v, buf *text)
{
    bool first = true;
    if (!v->add_bos && !v->add_eos) {
        buf_append_string(text, "null");
        return;
    }
    buf_append_string(text, "{\"type\": \"TemplateProcessing\", \"single\": [");
    put_sequence(v, text, "A", 0);
    buf_append_string(text, "], \"pair\": [");
    put_sequence(v, text, "A", 0);
    buf_append_string(text, ", ");
    put_sequence(v, text, "B", 1);
    buf_append_string(text, "], \"special_tokens\": {");
    if (v->add_bos) put_special(v, text, v->bos, &first);
    if (v->add_eos && !(v->add_bos && v->eos == v->bos)) put_special(v, text, v->eos, &first);
    buf_append_string(text, "}}");
}

#define REPLACE(from, to) \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \"" from "\"}, \"content\": \"" to "\"}"
#define BLANK "\u2581" // SentencePiece's space

// Normalizer to decoder: a leading space is added and taken off again where the model was trained so (Llama
// 2).
static void put_spm_pipeline(const vocabulary *v, buf *text)
{
    if (v->add_space_prefix)
        buf_append_string(
            text, "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"" BLANK
                  "\"}, " REPLACE(" ", BLANK) "]}");
    else
        buf_append_string(text, REPLACE(" ", BLANK));
    buf_append_string(text, ",\n  \"pre_tokenizer\": null,\n  \"post_processor\": ");
    put_post_processor(v, text);
    buf_append_string(text, ",\n  \"decoder\": {\"type\": \"Sequence\", \"decoders\": [" REPLACE(
                                BLANK, " ") ", {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}");
    if (v->add_space_prefix)
        buf_append_string(text, ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}");
    buf_append_string(text, "]}");
}

static void put_byte_pipeline(const vocabulary *v, buf *text)
{
    buf_append_string(text, v->pre->nfc ? "{\"type\": \"NFC\"}" : "null");
    buf_append_string(text, ",\n  \"pre_tokenizer\": ");
    convert_put_pretokenizer(v->pre, text);
    buf_append_string(text, ",\n  \"post_processor\": ");
    put_post_processor(v, text);
    buf_append_string(
        text,
        ",\n  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
        "\"use_regex\": true}");
}

static llm_status put_tokenizer(const vocabulary *v, buf *text, llm_error *err)
{
    buf_append_string(
        text,
        "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [");
    put_added_tokens(v, text);
    buf_append_string(text, "\n  ],\n  \"normalizer\": ");
    if (v->is_spm)
        put_spm_pipeline(v, text);
    else
        put_byte_pipeline(v, text);
    buf_append_string(text, ",\n  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (v->is_spm && v->unk >= 0)
        put_string(text, v->tokens[v->unk]);
    else
        buf_append_string(text, "null");
    const char *spm = v->is_spm ? "true" : "false";
    buf_printf(text,
               ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": %s, "
               "\"byte_fallback\": %s, "
               "\"ignore_merges\": %s,\n  \"vocab\": {",
               spm, spm, v->pre && v->pre->ignore_merges ? "true" : "false");
    put_vocab(v, text);
    buf_append_string(text, "},\n  \"merges\": [");
    llm_status status = v->is_spm ? put_spm_merges(v, text, err) : put_merges(v, text, err);
    buf_append_string(text, "]}\n}\n");
    return status;
}

static void put_token(const vocabulary *v, buf *text, const char *key, int64_t id)
{
    if (id < 0) return;
    buf_printf(text, ",\n    \"%s\": ", key);
    put_string(text, v->tokens[id]);
}

static llm_status write_tokenizer_config(const convert_job *job, const vocabulary *v, llm_error *err)
{
    buf text = {0};
    gguf_string template;
    llm_status status = gguf_get_string(v->file, "tokenizer.chat_template", &template, err);
    if (status != LLM_OK) return status;
    if (template.length > TEMPLATE_LIMIT || (template.text && !utf8_valid(template.text, template.length)))
        return error_set(err, LLM_LOAD_FAILED, "the chat template is too long or not valid text");
    buf_printf(&text, "{\n    \"add_bos_token\": %s,\n    \"add_eos_token\": %s",
               v->add_bos ? "true" : "false", v->add_eos ? "true" : "false");
    put_token(v, &text, "bos_token", v->bos);
    if (template.text) {
        buf_append_string(&text, ",\n    \"chat_template\": ");
        put_string(&text, template);
    }
    buf_append_string(&text, ",\n    \"clean_up_tokenization_spaces\": false");
    put_token(v, &text, "eos_token", v->eos);
    put_token(v, &text, "pad_token", v->pad);
    buf_append_string(&text, ",\n    \"tokenizer_class\": \"PreTrainedTokenizerFast\"");
    if (v->is_spm) put_token(v, &text, "unk_token", v->unk);
    buf_append_string(&text, "\n}\n");
    return convert_write_file(job, "tokenizer_config.json", &text, err);
}

llm_status convert_write_tokenizer(convert_job *job, const gguf_file *file, size_t vocab_size, llm_error *err)
{
    vocabulary v = {.file = file};
    buf text = {0};
    llm_status status = read_vocabulary(&v, job, err);
    if (status == LLM_OK && v.count > vocab_size)
        status = error_set(err, LLM_LOAD_FAILED, "%zu tokens, but embeddings for %zu", v.count, vocab_size);
    if (status == LLM_OK) status = put_tokenizer(&v, &text, err);
    if (status == LLM_OK) status = convert_write_file(job, "tokenizer.json", &text, err);
    if (status == LLM_OK) status = write_tokenizer_config(job, &v, err);
    buf_free(&text);
    free_vocabulary(&v);
    return status;
}
