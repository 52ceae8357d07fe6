// Streaming decode. Tokens flow through the decoder's steps as fragments of text and token ends; each step
// holds back only what its next input could still change.
#include "text/detokenizer.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_parts.h"
#include <string.h>

typedef struct stage {
    buf token;       // the token under way, for steps that need it whole
    buf held;        // bytes or text held back
    size_t tokens;   // how many have ended
    size_t stripped; // STRIP: at the start of this token
    size_t pending;  // STRIP: characters that go if the token ends here
    bool inside;     // STRIP: past what is stripped at the start
    bool has_held;   // BPE, CTC: `held` is a token
} stage;

struct detokenizer {
    const tokenizer *tok;
    const decoder *decoder;
    bool skip_special;
    size_t tokens;
    stage stages[DECODER_MOST_STEPS];
    pattern_scratch patterns;
    buf cleaned[2];
    buf *out;
    llm_error *err;
    llm_status status; // of the call under way
};

static void send_text(detokenizer *d, size_t index, const char *text, size_t length);
static void send_end(detokenizer *d, size_t index);

static void send_token(detokenizer *d, size_t index, const char *text, size_t length) {
    send_text(d, index, text, length);
    send_end(d, index);
}

// --- steps that work on fragments ---

// Rust's from_utf8_lossy: each longest beginning of a character that cannot be completed becomes one U+FFFD.
static void send_lossy(detokenizer *d, size_t index, buf *bytes, bool is_last) {
    size_t done = 0, end = is_last ? bytes->length : utf8_complete_prefix(bytes->data, bytes->length);
    for (size_t i = 0; i < end;) {
        uint32_t c;
        size_t length = utf8_decode(bytes->data + i, end - i, &c);
        if (length) {
            i += length;
            continue;
        }
        if (i > done) send_text(d, index, bytes->data + done, i - done);
        send_text(d, index, "\xEF\xBF\xBD", 3);
        size_t broken = 1;
        while (broken < 3 && i + broken < end && utf8_complete_prefix(bytes->data + i, broken + 1) == 0)
            broken++;
        done = i += broken;
    }
    if (end > done) send_text(d, index, bytes->data + done, end - done);
    memmove(bytes->data, bytes->data + end, bytes->length - end);
    bytes->length -= end;
}

static void metaspace_text(detokenizer *d, size_t index, const char *text, size_t length) {
    const decoder_step *step = &d->decoder->steps[index];
    bool drops = d->stages[index].tokens == 0 && !step->keeps_first;
    char mark[4];
    size_t mark_length = utf8_encode(step->character, mark);
    const char *found;
    while ((found = memmem(text, length, mark, mark_length))) {
        size_t before = (size_t)(found - text);
        if (before) send_text(d, index + 1, text, before);
        if (!drops) send_text(d, index + 1, " ", 1);
        text += before + mark_length;
        length -= before + mark_length;
    }
    if (length) send_text(d, index + 1, text, length);
}

static void strip_text(detokenizer *d, size_t index, const char *text, size_t length) {
    const decoder_step *step = &d->decoder->steps[index];
    stage *s = &d->stages[index];
    char content[4];
    size_t content_length = utf8_encode(step->character, content), sent = 0, bytes;
    for (size_t i = 0; i < length; i += bytes) {
        uint32_t c;
        bytes = utf8_decode(text + i, length - i, &c);
        if (!bytes) bytes = 1, c = 0xFFFD;
        bool is_content = c == step->character;
        if (!s->inside && is_content && s->stripped < step->start) {
            s->stripped++;
            sent = i + bytes;
            continue;
        }
        s->inside = true;
        if (!step->stop) continue;
        if (!is_content) {
            for (; s->pending; s->pending--) send_text(d, index + 1, content, content_length);
        } else {
            if (i > sent) send_text(d, index + 1, text + sent, i - sent);
            sent = i + bytes;
            if (s->pending == step->stop)
                send_text(d, index + 1, content, content_length);
            else
                s->pending++;
        }
    }
    if (length > sent) send_text(d, index + 1, text + sent, length - sent);
}

// --- steps that need a whole token ---

static void send_bytes_held(detokenizer *d, size_t index) {
    buf *held = &d->stages[index].held;
    if (!held->length) return;
    if (utf8_valid(held->data, held->length))
        send_token(d, index + 1, held->data, held->length);
    else
        for (size_t i = 0; i < held->length; i++) send_token(d, index + 1, "\xEF\xBF\xBD", 3);
    buf_clear(held);
}

static int hex_value(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// The byte of "<0xAB>", -1: it is another token. A plus sign counts as a digit to the left, as in Rust.
static int byte_token(const char *text, size_t length) {
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = text[3] == '+' ? 0 : hex_value(text[3]), low = hex_value(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static void byte_fallback_token(detokenizer *d, size_t index, const char *text, size_t length) {
    int byte = byte_token(text, length);
    if (byte >= 0) {
        buf_append_char(&d->stages[index].held, (char)byte);
        return;
    }
    send_bytes_held(d, index);
    send_token(d, index + 1, text, length);
}

static void byte_level_token(detokenizer *d, size_t index, const char *text, size_t length) {
    buf *held = &d->stages[index].held;
    size_t before = held->length, bytes;
    for (size_t i = 0; i < length; i += bytes) {
        uint32_t c;
        bytes = utf8_decode(text + i, length - i, &c);
        int byte = bytes ? byte_level_value(c) : -1;
        if (byte < 0) { // a character outside of the alphabet: the token stands for itself
            held->length = before;
            buf_append(held, text, length);
            break;
        }
        buf_append_char(held, (char)byte);
    }
    if (!held->failed && held->length) send_lossy(d, index + 1, held, false);
}

static void replace_token(detokenizer *d, size_t index, const char *text, size_t length) {
    const decoder_step *step = &d->decoder->steps[index];
    pattern_search search = pattern_begin(&step->pattern, &d->patterns, text, length);
    size_t start, end, done = 0;
    llm_status found;
    while ((found = pattern_next(&search, &start, &end, d->err)) == LLM_OK) {
        if (start > done) send_text(d, index + 1, text + done, start - done);
        send_text(d, index + 1, step->text, step->text_length);
        done = end;
    }
    if (found != LLM_END) d->status = found;
    send_token(d, index + 1, text + done, length - done);
}

// Appends `text` with all of `from` replaced.
static void replace_all(buf *out, const char *text, size_t length, const char *from, const char *to) {
    size_t from_length = strlen(from);
    const char *found;
    while (from_length && length && (found = memmem(text, length, from, from_length))) {
        buf_append(out, text, (size_t)(found - text));
        buf_append_string(out, to);
        length -= (size_t)(found - text) + from_length;
        text = found + from_length;
    }
    buf_append(out, text, length);
}

static const char *contents(const buf *b) {
    return b->data ? b->data : "";
}

// Replaces in *text, which ends up in one of the two buffers.
static void rewrite(detokenizer *d, buf **text, const char *from, const char *to) {
    buf *next = *text == &d->cleaned[0] ? &d->cleaned[1] : &d->cleaned[0];
    buf_clear(next);
    replace_all(next, contents(*text), (*text)->length, from, to);
    *text = next;
}

static void clean_up(detokenizer *d, buf **text) {
    static const char *const rules[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) rewrite(d, text, rules[i][0], rules[i][1]);
}

static void wordpiece_token(detokenizer *d, size_t index, const char *text, size_t length) {
    const decoder_step *step = &d->decoder->steps[index];
    buf *result = &d->cleaned[0];
    buf_clear(result);
    if (d->stages[index].tokens) {
        bool continues = length >= step->text_length && memcmp(text, step->text, step->text_length) == 0;
        if (continues)
            text += step->text_length, length -= step->text_length;
        else
            buf_append_char(result, ' ');
    }
    buf_append(result, text, length);
    if (step->cleanup) clean_up(d, &result);
    send_token(d, index + 1, contents(result), result->length);
}

static void send_bpe_held(detokenizer *d, size_t index, const char *replacement) {
    stage *s = &d->stages[index];
    if (!s->has_held) return;
    buf_clear(&d->cleaned[0]);
    replace_all(&d->cleaned[0], contents(&s->held), s->held.length, d->decoder->steps[index].text,
                replacement);
    s->has_held = false;
    send_token(d, index + 1, contents(&d->cleaned[0]), d->cleaned[0].length);
}

static void hold_token(stage *s, const char *text, size_t length) {
    buf_clear(&s->held);
    buf_append(&s->held, text, length);
    s->has_held = true;
}

static void bpe_token(detokenizer *d, size_t index, const char *text, size_t length) {
    send_bpe_held(d, index, " ");
    hold_token(&d->stages[index], text, length);
}

static void ctc_token(detokenizer *d, size_t index, const char *text, size_t length) {
    const decoder_step *step = &d->decoder->steps[index];
    stage *s = &d->stages[index];
    if (s->has_held && s->held.length == length && memcmp(s->held.data, text, length) == 0) return;
    hold_token(s, text, length);
    buf *result = &s->held;
    rewrite(d, &result, step->text, "");
    if (step->cleanup) {
        clean_up(d, &result);
        rewrite(d, &result, step->delimiter, " ");
    }
    if (result->length) send_token(d, index + 1, contents(result), result->length);
}

static void whole_token(detokenizer *d, size_t index, const char *text, size_t length) {
    switch (d->decoder->steps[index].kind) {
    case DECODER_BYTE_LEVEL: byte_level_token(d, index, text, length); break;
    case DECODER_BYTE_FALLBACK: byte_fallback_token(d, index, text, length); break;
    case DECODER_REPLACE: replace_token(d, index, text, length); break;
    case DECODER_WORDPIECE: wordpiece_token(d, index, text, length); break;
    case DECODER_BPE: bpe_token(d, index, text, length); break;
    case DECODER_CTC: ctc_token(d, index, text, length); break;
    default: break;
    }
}

// --- the flow ---

static void send_text(detokenizer *d, size_t index, const char *text, size_t length) {
    if (index == d->decoder->count) {
        buf_append(d->out, text, length);
        return;
    }
    switch (d->decoder->steps[index].kind) {
    case DECODER_FUSE: send_text(d, index + 1, text, length); break;
    case DECODER_METASPACE: metaspace_text(d, index, text, length); break;
    case DECODER_STRIP: strip_text(d, index, text, length); break;
    default: buf_append(&d->stages[index].token, text, length); break;
    }
}

static void send_end(detokenizer *d, size_t index) {
    if (index == d->decoder->count) return;
    stage *s = &d->stages[index];
    switch (d->decoder->steps[index].kind) {
    case DECODER_FUSE: break;
    case DECODER_STRIP:
        s->stripped = s->pending = 0;
        s->inside = false;
        send_end(d, index + 1);
        break;
    case DECODER_METASPACE: send_end(d, index + 1); break;
    default:
        if (!s->token.failed) whole_token(d, index, contents(&s->token), s->token.length);
        if (s->token.failed || s->held.failed) d->status = LLM_OUT_OF_MEMORY;
        buf_clear(&s->token);
    }
    s->tokens++;
}

// All tokens have come: each step lets go of what it holds.
static void send_finish(detokenizer *d, size_t index) {
    if (index == d->decoder->count) return;
    stage *s = &d->stages[index];
    switch (d->decoder->steps[index].kind) {
    case DECODER_FUSE: send_end(d, index + 1); break;
    case DECODER_BYTE_LEVEL:
        if (s->held.length) send_lossy(d, index + 1, &s->held, true);
        send_end(d, index + 1);
        break;
    case DECODER_BYTE_FALLBACK: send_bytes_held(d, index); break;
    case DECODER_BPE: send_bpe_held(d, index, ""); break;
    default: break;
    }
    send_finish(d, index + 1);
}

static llm_status result(detokenizer *d, buf *out, llm_error *err) {
    bool failed = out->failed || d->cleaned[0].failed || d->cleaned[1].failed;
    if (failed || d->status == LLM_OUT_OF_MEMORY) return error_no_memory(err, "decoded text");
    return d->status;
}

static void reset(detokenizer *d) {
    for (size_t i = 0; i < d->decoder->count; i++) {
        stage *s = &d->stages[i];
        buf_clear(&s->token);
        buf_clear(&s->held);
        *s = (stage){.token = s->token, .held = s->held};
    }
    buf_clear(&d->cleaned[0]);
    buf_clear(&d->cleaned[1]);
    d->tokens = 0;
}

llm_status detokenizer_create(const tokenizer *tok, bool skip_special, detokenizer **out, llm_error *err) {
    detokenizer *d = *out = mem_alloc_zero(1, sizeof *d);
    if (!d) return error_no_memory(err, "a detokenizer");
    d->tok = tok;
    d->decoder = &tok->decoder;
    d->skip_special = skip_special;
    return LLM_OK;
}

void detokenizer_free(detokenizer *d) {
    if (!d) return;
    for (size_t i = 0; i < DECODER_MOST_STEPS; i++) {
        buf_free(&d->stages[i].token);
        buf_free(&d->stages[i].held);
    }
    buf_free(&d->cleaned[0]);
    buf_free(&d->cleaned[1]);
    pattern_scratch_free(&d->patterns);
    mem_free(d);
}

llm_status detokenizer_push(detokenizer *d, int32_t id, buf *out, llm_error *err) {
    size_t length;
    const char *text = tokenizer_decoded_token(d->tok, id, &length);
    if (!text || (d->skip_special && tokenizer_is_special(d->tok, id))) return LLM_OK;
    d->out = out;
    d->err = err;
    d->status = LLM_OK;
    if (d->decoder->is_null && d->tokens) buf_append_char(out, ' ');
    d->tokens++;
    send_token(d, 0, text, length);
    return result(d, out, err);
}

llm_status detokenizer_finish(detokenizer *d, buf *out, llm_error *err) {
    d->out = out;
    d->err = err;
    d->status = LLM_OK;
    send_finish(d, 0);
    llm_status status = result(d, out, err);
    reset(d);
    return status;
}

llm_status tokenizer_decode(const tokenizer *tok, const int32_t *ids, size_t count, bool skip_special,
                            buf *out, llm_error *err) {
    detokenizer *d;
    size_t before = out->length;
    llm_status status = detokenizer_create(tok, skip_special, &d, err);
    for (size_t i = 0; i < count && status == LLM_OK; i++) status = detokenizer_push(d, ids[i], out, err);
    if (status == LLM_OK) status = detokenizer_finish(d, out, err);
    detokenizer_free(d);
    if (status != LLM_OK && out->data) out->data[out->length = before] = 0;
    return status;
}
