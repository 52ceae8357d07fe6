// Running the pre-tokenizers: each step hands its pieces to the next one as soon as they are known.
#include "text/pretokenizer.h"
#include "base/utf8.h"
#include "text/tokenizer_bytes.h"
#include <string.h>

typedef struct run {
    const pretokenizer *p;
    pretokenizer_scratch *scratch;
    piece_receiver *receive;
    void *user;
    llm_error *err;
} run;

static llm_status run_step(const run *r, size_t step, const normal_text *text);

// Hands [start, end) of `text` to the step after `step`.
static llm_status pass(const run *r, size_t step, const normal_text *text, size_t start, size_t end) {
    if (start == end) return LLM_OK;
    if (step + 1 == r->p->count) return r->receive(r->user, text->text + start, end - start, r->err);
    normal_text piece = {text->text + start, end - start, 0};
    if (text->head > start) piece.head = (text->head < end ? text->head : end) - start;
    return run_step(r, step + 1, &piece);
}

// --- delimiters and what is between them ---

// Parts come in order, each a delimiter or not; one is held back where it may grow.
typedef struct splitter {
    const run *r;
    size_t step;
    const normal_text *text;
    split_behavior behavior;
    bool inverted;
    bool holds, held_is_delimiter, previous_was_delimiter;
    size_t held_start, held_end;
} splitter;

static llm_status release(splitter *s) {
    if (!s->holds) return LLM_OK;
    s->holds = false;
    return pass(s->r, s->step, s->text, s->held_start, s->held_end);
}

static llm_status hold(splitter *s, size_t start, size_t end, bool is_delimiter) {
    llm_status status = release(s);
    s->holds = true;
    s->held_is_delimiter = is_delimiter;
    s->held_start = start;
    s->held_end = end;
    return status;
}

static llm_status add_part(splitter *s, size_t start, size_t end, bool is_delimiter) {
    is_delimiter ^= s->inverted;
    bool previous = s->previous_was_delimiter, grows = false;
    s->previous_was_delimiter = is_delimiter;
    switch (s->behavior) {
    case SPLIT_REMOVED: return is_delimiter ? LLM_OK : pass(s->r, s->step, s->text, start, end);
    case SPLIT_ISOLATED: return pass(s->r, s->step, s->text, start, end);
    case SPLIT_CONTIGUOUS: grows = is_delimiter == previous; break;
    case SPLIT_MERGED_WITH_PREVIOUS: grows = is_delimiter && !previous; break;
    case SPLIT_MERGED_WITH_NEXT: grows = !is_delimiter && s->held_is_delimiter; break;
    }
    if (!grows || !s->holds) return hold(s, start, end, is_delimiter);
    s->held_end = end;
    s->held_is_delimiter = is_delimiter;
    return LLM_OK;
}

static llm_status split_by_pattern(const run *r, size_t index, const normal_text *text) {
    const pretokenizer_step *step = &r->p->steps[index];
    splitter s = {
        .r = r, .step = index, .text = text, .behavior = step->behavior, .inverted = step->inverted};
    pattern_search search = pattern_begin(&step->pattern, r->scratch->patterns, text->text, text->length);
    size_t start, end, done = 0;
    llm_status status = LLM_OK, found;
    while (status == LLM_OK && (found = pattern_next(&search, &start, &end, r->err)) != LLM_END) {
        if (found != LLM_OK) return found;
        if (start > done) status = add_part(&s, done, start, false);
        if (status == LLM_OK) status = add_part(&s, start, end, true);
        done = end;
    }
    if (status == LLM_OK && done < text->length) status = add_part(&s, done, text->length, false);
    return status == LLM_OK ? release(&s) : status;
}

static bool is_delimiter(const pretokenizer_step *step, uint32_t c) {
    return step->is_delimiter ? step->is_delimiter(c) : c == step->character;
}

static llm_status split_by_class(const run *r, size_t index, const normal_text *text) {
    const pretokenizer_step *step = &r->p->steps[index];
    splitter s = {.r = r, .step = index, .text = text, .behavior = step->behavior};
    llm_status status = LLM_OK;
    size_t done = 0, bytes;
    for (size_t i = 0; i < text->length && status == LLM_OK; i += bytes) {
        uint32_t c = (unsigned char)text->text[i];
        bytes = c < 0x80 ? 1 : utf8_decode(text->text + i, text->length - i, &c);
        if (!bytes) bytes = 1;
        if (!is_delimiter(step, c)) continue;
        if (i > done) status = add_part(&s, done, i, false);
        if (status == LLM_OK) status = add_part(&s, i, i + bytes, true);
        done = i + bytes;
    }
    if (status == LLM_OK && done < text->length) status = add_part(&s, done, text->length, false);
    return status == LLM_OK ? release(&s) : status;
}

// --- the others ---

static llm_status split_words(const run *r, size_t index, const normal_text *text) {
    enum { SPACE, WORD, OTHER } kind = SPACE, previous = SPACE;
    size_t start = 0, bytes;
    llm_status status = LLM_OK;
    for (size_t i = 0; i < text->length && status == LLM_OK; i += bytes, previous = kind) {
        uint32_t c;
        bytes = utf8_decode(text->text + i, text->length - i, &c);
        if (!bytes) bytes = 1, c = 0xFFFD;
        kind = unicode_is_word(c) ? WORD : unicode_is_space(c) ? SPACE : OTHER;
        if (kind == previous) continue;
        if (previous != SPACE) status = pass(r, index, text, start, i);
        start = i;
    }
    return status == LLM_OK && previous != SPACE ? pass(r, index, text, start, text->length) : status;
}

static void append_marked(buf *out, const char *text, size_t length, const char *mark, size_t mark_length) {
    for (size_t i = 0; i < length;) {
        const char *space = memchr(text + i, ' ', length - i);
        size_t end = space ? (size_t)(space - text) : length;
        buf_append(out, text + i, end - i);
        if (space) buf_append(out, mark, mark_length);
        i = end + (space != NULL);
    }
}

// Pieces begin at the marks.
static llm_status split_at_marks(const run *r, size_t index, const normal_text *text, const char *mark,
                                 size_t mark_length) {
    splitter s = {.r = r, .step = index, .text = text, .behavior = SPLIT_MERGED_WITH_NEXT};
    llm_status status = LLM_OK;
    size_t done = 0;
    for (const char *found;
         status == LLM_OK && (found = memmem(text->text + done, text->length - done, mark, mark_length));) {
        size_t start = (size_t)(found - text->text);
        if (start > done) status = add_part(&s, done, start, false);
        if (status == LLM_OK) status = add_part(&s, start, start + mark_length, true);
        done = start + mark_length;
    }
    if (status == LLM_OK && done < text->length) status = add_part(&s, done, text->length, false);
    return status == LLM_OK ? release(&s) : status;
}

static llm_status split_metaspace(const run *r, size_t index, const normal_text *source) {
    const pretokenizer_step *step = &r->p->steps[index];
    char mark[4];
    size_t mark_length = utf8_encode(step->character, mark);
    buf *out = &r->scratch->texts[index];
    buf_clear(out);
    bool starts = source->text[0] == ' ' ||
                  (source->length >= mark_length && memcmp(source->text, mark, mark_length) == 0);
    bool wanted = step->scheme == PREPEND_ALWAYS || (step->scheme == PREPEND_FIRST && source->head);
    if (wanted && !starts) buf_append(out, mark, mark_length);
    append_marked(out, source->text, source->head, mark, mark_length);
    size_t head = source->head ? out->length : 0;
    append_marked(out, source->text + source->head, source->length - source->head, mark, mark_length);
    if (out->failed) return error_no_memory(r->err, "pre-tokenized text");
    normal_text text = {out->data, out->length, head};
    return step->split ? split_at_marks(r, index, &text, mark, mark_length)
                       : pass(r, index, &text, 0, text.length);
}

// A piece begins where the script changes. What comes before the first character with a script is lost, as in
// the Hugging Face library.
static llm_status split_scripts(const run *r, size_t index, const normal_text *text) {
    int script, last = 0;
    bool begun = false;
    size_t start = 0, bytes;
    llm_status status = LLM_OK;
    for (size_t i = 0; i < text->length && status == LLM_OK; i += bytes) {
        uint32_t c;
        bytes = utf8_decode(text->text + i, text->length - i, &c);
        if (!bytes) bytes = 1, c = 0xFFFD;
        script = unicode_script(c);
        if (script && script != last) {
            if (begun) status = pass(r, index, text, start, i);
            begun = true;
            start = i;
        }
        if (script) last = script;
    }
    return status == LLM_OK && begun ? pass(r, index, text, start, text->length) : status;
}

static llm_status split_fixed_length(const run *r, size_t index, const normal_text *text) {
    size_t start = 0, characters = 0, bytes;
    llm_status status = LLM_OK;
    for (size_t i = 0; i < text->length && status == LLM_OK; i += bytes) {
        uint32_t c;
        bytes = utf8_decode(text->text + i, text->length - i, &c);
        if (!bytes) bytes = 1;
        if (++characters < r->p->steps[index].length) continue;
        status = pass(r, index, text, start, i + bytes);
        start = i + bytes;
        characters = 0;
    }
    return status == LLM_OK ? pass(r, index, text, start, text->length) : status;
}

// Writes the text with a space before it, or in the byte alphabet.
static llm_status rewrite(const run *r, size_t index, const normal_text *source) {
    bool bytes = r->p->steps[index].kind == PRETOKENIZER_BYTES;
    if (!bytes && source->text[0] == ' ') return pass(r, index, source, 0, source->length);
    buf *out = &r->scratch->texts[index];
    normal_text text = {.head = source->head};
    buf_clear(out);
    if (bytes) {
        byte_level_append(out, source->text, source->head);
        text.head = out->length;
        byte_level_append(out, source->text + source->head, source->length - source->head);
    } else {
        buf_append_char(out, ' ');
        buf_append(out, source->text, source->length);
        if (text.head) text.head++;
    }
    if (out->failed) return error_no_memory(r->err, "pre-tokenized text");
    text.text = out->data;
    text.length = out->length;
    return pass(r, index, &text, 0, text.length);
}

static llm_status run_step(const run *r, size_t step, const normal_text *text) {
    switch (r->p->steps[step].kind) {
    case PRETOKENIZER_PATTERN: return split_by_pattern(r, step, text);
    case PRETOKENIZER_CHARACTERS: return split_by_class(r, step, text);
    case PRETOKENIZER_WORDS: return split_words(r, step, text);
    case PRETOKENIZER_METASPACE: return split_metaspace(r, step, text);
    case PRETOKENIZER_SCRIPTS: return split_scripts(r, step, text);
    case PRETOKENIZER_FIXED_LENGTH: return split_fixed_length(r, step, text);
    case PRETOKENIZER_PREFIX_SPACE:
    case PRETOKENIZER_BYTES: return rewrite(r, step, text);
    }
    return LLM_OK;
}

llm_status pretokenizer_apply(const pretokenizer *p, pretokenizer_scratch *scratch, const normal_text *text,
                              piece_receiver *receive, void *user, llm_error *err) {
    if (!text->length) return LLM_OK;
    if (!p->count) return receive(user, text->text, text->length, err);
    run r = {p, scratch, receive, user, err};
    return run_step(&r, 0, text);
}
