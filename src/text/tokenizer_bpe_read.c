// Reading a BPE model: options, and the merges as a hash table from a pair of ids to rank and merged id.
#include "text/tokenizer_bpe.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include "text/tokenizer_bytes.h"
#include <stdio.h>
#include <string.h>

void read_byte_tokens(const vocab *v, int32_t ids[256]) {
    for (int i = 0; i < 256; i++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)i & 0xFF);
        ids[i] = vocab_find(v, text, 6);
    }
}

static llm_status copy_text(yyjson_val *json, const char *key, char **out, size_t *length, llm_error *err) {
    const char *text;
    llm_status status = json_get_string(json, key, NULL, &text, err);
    if (status != LLM_OK || !text || !*text) return status;
    *length = yyjson_get_len(yyjson_obj_get(json, key));
    *out = mem_copy_bytes(text, *length);
    return *out ? LLM_OK : error_no_memory(err, "the model");
}

static llm_status read_options(yyjson_val *json, const vocab *v, bpe *out, llm_error *err) {
    const char *unknown;
    double dropout;
    llm_status status = json_get_double(json, "dropout", 0, &dropout, err);
    if (status == LLM_OK && dropout != 0)
        status = error_set(err, LLM_UNSUPPORTED_FORMAT, "a BPE model with dropout");
    if (status == LLM_OK) status = json_get_bool(json, "fuse_unk", false, &out->fuse_unknown, err);
    if (status == LLM_OK) status = json_get_bool(json, "byte_fallback", false, &out->byte_fallback, err);
    if (status == LLM_OK) status = json_get_bool(json, "ignore_merges", false, &out->ignore_merges, err);
    if (status == LLM_OK)
        status = copy_text(json, "continuing_subword_prefix", &out->prefix, &out->prefix_length, err);
    if (status == LLM_OK)
        status = copy_text(json, "end_of_word_suffix", &out->suffix, &out->suffix_length, err);
    if (status == LLM_OK) status = json_get_string(json, "unk_token", NULL, &unknown, err);
    if (status != LLM_OK) return status;
    out->has_unknown = unknown != NULL;
    out->unknown_id =
        unknown ? vocab_find(v, unknown, yyjson_get_len(yyjson_obj_get(json, "unk_token"))) : -1;
    return LLM_OK;
}

// --- merges ---

// A merge as the file has it, and what is known of it so far. Merges are worked on in batches, a stage at a
// time, so that the memory which the next stage needs is on its way.
typedef struct merge_line {
    const char *left, *right;
    size_t left_length, right_length;
    uint32_t left_hash, right_hash, merged_hash;
    int32_t left_id, right_id, id;
} merge_line;

enum { BATCH = 32, LONGEST_MERGED = 4096 };

static llm_status split_line(yyjson_val *value, size_t index, merge_line *line, llm_error *err) {
    *line = (merge_line){0};
    if (yyjson_is_arr(value) && yyjson_arr_size(value) == 2) {
        yyjson_val *left = yyjson_arr_get_first(value), *right = yyjson_arr_get_last(value);
        if (yyjson_is_str(left) && yyjson_is_str(right)) {
            line->left = yyjson_get_str(left);
            line->left_length = yyjson_get_len(left);
            line->right = yyjson_get_str(right);
            line->right_length = yyjson_get_len(right);
        }
    } else if (yyjson_is_str(value)) {
        const char *text = yyjson_get_str(value), *space = memchr(text, ' ', yyjson_get_len(value));
        size_t length = yyjson_get_len(value);
        if (space && !memchr(space + 1, ' ', (size_t)(text + length - space - 1))) {
            line->left = text;
            line->left_length = (size_t)(space - text);
            line->right = space + 1;
            line->right_length = length - line->left_length - 1;
        }
    }
    if (!line->left)
        return error_set(err, LLM_LOAD_FAILED, "merge %zu of the model is not a pair of tokens", index);
    return LLM_OK;
}

static llm_status missing_token(const char *text, size_t length, size_t index, llm_error *err) {
    return error_set(err, LLM_LOAD_FAILED,
                     "merge %zu of the model names \"%.*s\", which is not in the vocabulary", index,
                     (int)(length < 60 ? length : 60), text);
}

static llm_status find_ids(const vocab *v, const bpe *b, merge_line *lines, size_t count, size_t first,
                           llm_error *err) {
    char merged[LONGEST_MERGED];
    for (size_t i = 0; i < count; i++) {
        merge_line *line = &lines[i];
        line->left_hash = vocab_hash(v, line->left, line->left_length);
        line->right_hash = vocab_hash(v, line->right, line->right_length);
        size_t skip = b->prefix_length, length = line->left_length + line->right_length - skip;
        if (line->right_length < skip || line->left_length > LONGEST_MERGED ||
            line->right_length > LONGEST_MERGED || length > LONGEST_MERGED)
            return error_set(err, LLM_UNSUPPORTED_FORMAT, "merge %zu of the model is too long or too short",
                             first + i);
        memcpy(merged, line->left, line->left_length);
        memcpy(merged + line->left_length, line->right + skip, line->right_length - skip);
        line->merged_hash = vocab_hash(v, merged, length);
        vocab_expect(v, line->left_hash);
        vocab_expect(v, line->right_hash);
        vocab_expect(v, line->merged_hash);
    }
    for (size_t i = 0; i < count; i++) {
        vocab_expect_text(v, lines[i].left_hash);
        vocab_expect_text(v, lines[i].right_hash);
        vocab_expect_text(v, lines[i].merged_hash);
    }
    for (size_t i = 0; i < count; i++) {
        merge_line *line = &lines[i];
        size_t length = line->left_length + line->right_length - b->prefix_length;
        line->left_id = vocab_find_hashed(v, line->left, line->left_length, line->left_hash);
        line->right_id = vocab_find_hashed(v, line->right, line->right_length, line->right_hash);
        memcpy(merged, line->left, line->left_length);
        memcpy(merged + line->left_length, line->right + b->prefix_length,
               line->right_length - b->prefix_length);
        line->id = vocab_find_hashed(v, merged, length, line->merged_hash);
        if (line->left_id < 0) return missing_token(line->left, line->left_length, first + i, err);
        if (line->right_id < 0) return missing_token(line->right, line->right_length, first + i, err);
        if (line->id < 0) return missing_token(merged, length, first + i, err);
        __builtin_prefetch(&b->merges[bpe_hash(b, line->left_id, line->right_id) & b->mask], 1);
    }
    return LLM_OK;
}

static void insert_merge(bpe *b, const merge_line *line, size_t rank) {
    size_t i = bpe_hash(b, line->left_id, line->right_id) & b->mask;
    while (b->merges[i].left >= 0 &&
           (b->merges[i].left != line->left_id || b->merges[i].right != line->right_id))
        i = (i + 1) & b->mask;
    b->merges[i] = (bpe_merge){line->left_id, line->right_id, (uint32_t)rank,
                               line->id}; // the last of equal pairs counts
}

// --- cutting at marks ---

static const char mark[] = "\xE2\x96\x81";

static bool ends_with_byte_token(const merge_line *line) {
    return line->left_length >= 6 && line->left[line->left_length - 1] == '>' &&
           memcmp(line->left + line->left_length - 6, "<0x", 3) == 0;
}

static uint32_t last_character(const char *text, size_t length) {
    uint32_t c = 0;
    size_t start = length;
    while (start > 0 && ((unsigned char)text[--start] & 0xC0) == 0x80) continue;
    utf8_decode(text + start, length - start, &c);
    return c;
}

// A merge whose right part begins with the mark forbids a cut after the last character of its left part.
static void note_joined(bpe *b, const merge_line *line) {
    if (line->left_id == b->unknown_id || line->right_id == b->unknown_id) b->cuts_at_marks = false;
    if (!b->cuts_at_marks || line->right_length < 3 || memcmp(line->right, mark, 3) != 0) return;
    uint32_t c = last_character(line->left, line->left_length);
    if (c == 0x2581) return;
    for (size_t i = 0; i < b->num_joined; i++)
        if (b->joined[i] == c) return;
    bool room = b->num_joined < sizeof b->joined / sizeof *b->joined;
    if (!room || !line->left_length || ends_with_byte_token(line))
        b->cuts_at_marks = false;
    else
        b->joined[b->num_joined++] = c;
}

static llm_status read_merges(yyjson_val *list, const vocab *v, bpe *b, llm_error *err) {
    size_t index, total = yyjson_arr_size(list), count, pending = 0, capacity = 16, rank = 0;
    yyjson_val *value;
    merge_line lines[BATCH];
    if (!yyjson_is_arr(list)) return error_set(err, LLM_LOAD_FAILED, "the BPE model has no merges");
    if (total > VOCAB_LARGEST_ID * 4u)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "a BPE model with %zu merges", total);
    while (capacity / 2 < total) capacity *= 2;
    b->mask = capacity - 1;
    if (!(b->merges = mem_alloc(capacity * sizeof *b->merges))) return error_no_memory(err, "the merges");
    memset(b->merges, 0xFF, capacity * sizeof *b->merges);
    yyjson_arr_foreach(list, index, count, value) {
        bool version = yyjson_is_str(value) && strncmp(yyjson_get_str(value), "#version", 8) == 0;
        llm_status status = version ? LLM_OK : split_line(value, index, &lines[pending], err);
        pending += !version;
        if (status == LLM_OK && (pending == BATCH || index + 1 == count)) {
            status = find_ids(v, b, lines, pending, rank, err);
            for (size_t i = 0; i < pending && status == LLM_OK; i++) {
                insert_merge(b, &lines[i], rank++);
                note_joined(b, &lines[i]);
            }
            pending = 0;
        }
        if (status != LLM_OK) return status;
    }
    return LLM_OK;
}

static void read_alphabet(const vocab *v, bpe *b) {
    b->whole_alphabet = true;
    for (int i = 0; i < 256; i++) {
        char text[2];
        b->alphabet_ids[i] = vocab_find(v, text, byte_level_encode((uint8_t)i, text));
        if (b->alphabet_ids[i] < 0) b->whole_alphabet = false;
    }
}

llm_status bpe_read(yyjson_val *json, const vocab *v, bpe *out, llm_error *err) {
    *out =
        (bpe){.seed = hash_bytes("merges", 6)}; // differs in every process: files cannot be built to collide
    llm_status status = read_options(json, v, out, err);
    out->cuts_at_marks = !out->prefix && !out->suffix && !out->ignore_merges && vocab_find(v, mark, 3) >= 0;
    if (status == LLM_OK) status = read_merges(yyjson_obj_get(json, "merges"), v, out, err);
    if (status != LLM_OK) {
        bpe_free(out);
        return status;
    }
    read_byte_tokens(v, out->byte_ids);
    read_alphabet(v, out);
    return LLM_OK;
}

void bpe_free(bpe *b) {
    mem_free(b->merges);
    mem_free(b->prefix);
    mem_free(b->suffix);
    *b = (bpe){0};
}
