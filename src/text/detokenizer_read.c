// Reading the decoders.
#include "text/detokenizer_steps.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <string.h>

enum { DEEPEST_SEQUENCE = 8 };

static llm_status copy_member(yyjson_val *json, const char *key, const char *fallback, char **out,
                              llm_error *err) {
    const char *text;
    llm_status status = json_get_string(json, key, fallback, &text, err);
    if (status == LLM_OK && !text) return error_set(err, LLM_LOAD_FAILED, "a decoder without \"%s\"", key);
    if (status != LLM_OK) return status;
    *out = mem_copy_string(text);
    return *out ? LLM_OK : error_no_memory(err, "decoders");
}

static llm_status read_character(yyjson_val *json, const char *key, uint32_t *c, llm_error *err) {
    yyjson_val *text = yyjson_obj_get(json, key);
    size_t length = yyjson_get_len(text);
    if (!yyjson_is_str(text) || !length || utf8_decode(yyjson_get_str(text), length, c) != length)
        return error_set(err, LLM_LOAD_FAILED, "a decoder's \"%s\" must be one character", key);
    return LLM_OK;
}

static llm_status read_strip(yyjson_val *json, decoder_step *step, llm_error *err) {
    int64_t start, stop;
    llm_status status = read_character(json, "content", &step->character, err);
    if (status == LLM_OK) status = json_get_int(json, "start", 0, &start, err);
    if (status == LLM_OK) status = json_get_int(json, "stop", 0, &stop, err);
    if (status == LLM_OK && (start < 0 || stop < 0))
        status = error_set(err, LLM_LOAD_FAILED, "a decoder strips fewer than none");
    if (status != LLM_OK) return status;
    step->start = (size_t)start;
    step->stop = (size_t)stop;
    return LLM_OK;
}

static llm_status read_replace(yyjson_val *json, decoder_step *step, llm_error *err) {
    llm_status status = copy_member(json, "content", NULL, &step->text, err);
    return status == LLM_OK ? pattern_read(json, &step->pattern, err) : status;
}

static llm_status read_metaspace(yyjson_val *json, decoder_step *step, llm_error *err) {
    const char *scheme;
    bool prefix;
    llm_status status = read_character(json, "replacement", &step->character, err);
    if (status == LLM_OK) status = json_get_bool(json, "add_prefix_space", true, &prefix, err);
    if (status == LLM_OK)
        status = json_get_string(json, "prepend_scheme", prefix ? "always" : "never", &scheme, err);
    if (status == LLM_OK) step->keeps_first = strcmp(scheme, "never") == 0;
    return status;
}

static llm_status read_wordpiece(yyjson_val *json, decoder_step *step, llm_error *err) {
    llm_status status = copy_member(json, "prefix", "##", &step->text, err);
    return status == LLM_OK ? json_get_bool(json, "cleanup", true, &step->cleanup, err) : status;
}

static llm_status read_bpe(yyjson_val *json, decoder_step *step, llm_error *err) {
    llm_status status = copy_member(json, "suffix", "</w>", &step->text, err);
    if (status == LLM_OK && !step->text[0])
        status = error_set(err, LLM_UNSUPPORTED_FORMAT, "a BPE decoder with an empty suffix");
    return status;
}

static llm_status read_ctc(yyjson_val *json, decoder_step *step, llm_error *err) {
    llm_status status = copy_member(json, "pad_token", "<pad>", &step->text, err);
    if (status == LLM_OK) status = copy_member(json, "word_delimiter_token", "|", &step->delimiter, err);
    if (status == LLM_OK) status = json_get_bool(json, "cleanup", true, &step->cleanup, err);
    return status;
}

static llm_status read_nothing(yyjson_val *json, decoder_step *step, llm_error *err) {
    (void)json, (void)step, (void)err;
    return LLM_OK;
}

static llm_status read_step(yyjson_val *json, decoder *d, int depth, llm_error *err);

static llm_status read_sequence(yyjson_val *json, decoder *d, int depth, llm_error *err) {
    size_t index, count;
    yyjson_val *item, *list = yyjson_obj_get(json, "decoders");
    if (!yyjson_is_arr(list))
        return error_set(err, LLM_LOAD_FAILED, "a decoder sequence without \"decoders\"");
    if (depth == DEEPEST_SEQUENCE)
        return error_set(err, LLM_UNSUPPORTED_FORMAT, "decoder sequences nested too deep");
    llm_status status = LLM_OK;
    yyjson_arr_foreach(list, index, count, item) if (status == LLM_OK) status =
        read_step(item, d, depth + 1, err);
    return status;
}

static llm_status read_step(yyjson_val *json, decoder *d, int depth, llm_error *err) {
    static const struct {
        const char *type;
        decoder_kind kind;
        llm_status (*read)(yyjson_val *, decoder_step *, llm_error *);
    } readers[] = {
        {"ByteLevel", DECODER_BYTE_LEVEL, read_nothing},
        {"ByteFallback", DECODER_BYTE_FALLBACK, read_nothing},
        {"Fuse", DECODER_FUSE, read_nothing},
        {"Strip", DECODER_STRIP, read_strip},
        {"Replace", DECODER_REPLACE, read_replace},
        {"Metaspace", DECODER_METASPACE, read_metaspace},
        {"WordPiece", DECODER_WORDPIECE, read_wordpiece},
        {"BPEDecoder", DECODER_BPE, read_bpe},
        {"CTC", DECODER_CTC, read_ctc},
    };
    const char *type;
    llm_status status = json_get_string(json, "type", "", &type, err);
    if (status != LLM_OK) return status;
    if (strcmp(type, "Sequence") == 0) return read_sequence(json, d, depth, err);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (strcmp(type, readers[i].type) != 0) continue;
        if (d->count == DECODER_MOST_STEPS)
            return error_set(err, LLM_UNSUPPORTED_FORMAT, "more than %d decoders", DECODER_MOST_STEPS);
        decoder_step *step = &d->steps[d->count++];
        *step = (decoder_step){.kind = readers[i].kind};
        status = readers[i].read(json, step, err);
        step->text_length = step->text ? strlen(step->text) : 0;
        return status;
    }
    return error_set(err, LLM_UNSUPPORTED_FORMAT, "the decoder \"%.40s\" is not supported", type);
}

llm_status decoder_read(yyjson_val *json, decoder *out, llm_error *err) {
    *out = (decoder){.is_null = !json || yyjson_is_null(json)};
    if (out->is_null) return LLM_OK;
    llm_status status = read_step(json, out, 0, err);
    if (status != LLM_OK) decoder_free(out);
    return status;
}

void decoder_free(decoder *d) {
    for (size_t i = 0; i < d->count; i++) {
        pattern_free(&d->steps[i].pattern);
        mem_free(d->steps[i].text);
        mem_free(d->steps[i].delimiter);
    }
    *d = (decoder){0};
}
