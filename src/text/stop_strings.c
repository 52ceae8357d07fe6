// Stop strings by an automaton over all of them (Aho and Corasick): constant work a byte. Its state is the
// longest end of the text so far that begins a stop string, and exactly that is held back.
#include "text/stop_strings.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <string.h>

enum { LONGEST_TOTAL = 1 << 14 };

typedef struct stop_node {
    uint32_t next[256]; // where a byte leads, failures included
    uint32_t failure;   // the longest proper end of this beginning that is a beginning too
    uint32_t depth;
    int match; // the longest string that ends here, -1: none
    uint32_t match_length;
} stop_node;

struct stop_strings {
    stop_node *nodes; // nodes[0]: nothing held
    size_t count;
    uint32_t state;
    int matched;
    buf held; // the bytes of the state, and before them what waits for a whole character
};

static void insert(stop_strings *s, const char *text, int index) {
    uint32_t node = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (!s->nodes[node].next[*c]) {
            s->nodes[s->count] = (stop_node){.depth = s->nodes[node].depth + 1, .match = -1};
            s->nodes[node].next[*c] = (uint32_t)s->count++;
        }
        node = s->nodes[node].next[*c];
    }
    if (s->nodes[node].match >= 0) return; // the same string twice: the first counts
    s->nodes[node].match = index;
    s->nodes[node].match_length = s->nodes[node].depth;
}

// Level by level: a node's failure and its missing edges come from nodes nearer to the root.
static bool link_failures(stop_strings *s) {
    uint32_t *queue = mem_alloc_zero(s->count, sizeof *queue);
    size_t head = 0, tail = 0;
    if (!queue) return false;
    for (int c = 0; c < 256; c++)
        if (s->nodes[0].next[c]) queue[tail++] = s->nodes[0].next[c];
    while (head < tail) {
        stop_node *node = &s->nodes[queue[head++]];
        const stop_node *failure = &s->nodes[node->failure];
        if (node->match < 0) {
            node->match = failure->match;
            node->match_length = failure->match_length;
        }
        for (int c = 0; c < 256; c++) {
            uint32_t child = node->next[c];
            if (!child) {
                node->next[c] = failure->next[c];
                continue;
            }
            s->nodes[child].failure = failure->next[c];
            queue[tail++] = child;
        }
    }
    mem_free(queue);
    return true;
}

llm_status stop_strings_create(const char *const *strings, size_t count, stop_strings **out, llm_error *err) {
    size_t total = 1;
    *out = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(strings[i]);
        if (!length) return error_set(err, LLM_INVALID_ARGUMENT, "a stop string is empty");
        if (!utf8_valid(strings[i], length))
            return error_set(err, LLM_INVALID_ARGUMENT, "a stop string is not valid UTF-8");
        if (length > LONGEST_TOTAL || (total += length) > LONGEST_TOTAL)
            return error_set(err, LLM_INVALID_ARGUMENT, "the stop strings have more than %d bytes",
                             LONGEST_TOTAL);
    }
    stop_strings *s = mem_alloc_zero(1, sizeof *s);
    if (!s || !(s->nodes = mem_alloc(total * sizeof *s->nodes))) {
        stop_strings_free(s);
        return error_no_memory(err, "stop strings");
    }
    s->matched = -1;
    s->nodes[s->count++] = (stop_node){.match = -1};
    for (size_t i = 0; i < count; i++) insert(s, strings[i], (int)i);
    if (!link_failures(s)) {
        stop_strings_free(s);
        return error_no_memory(err, "stop strings");
    }
    *out = s;
    return LLM_OK;
}

void stop_strings_free(stop_strings *s) {
    if (!s) return;
    mem_free(s->nodes);
    buf_free(&s->held);
    mem_free(s);
}

// Gives out the first bytes of what is held.
static void release(stop_strings *s, size_t length, buf *out) {
    if (!length) return;
    buf_append(out, s->held.data, length);
    memmove(s->held.data, s->held.data + length, s->held.length - length);
    s->held.length -= length;
}

llm_status stop_strings_push(stop_strings *s, const char *text, size_t length, buf *out, llm_error *err) {
    if (s->matched >= 0) return LLM_OK;
    size_t used = 0, before = s->held.length;
    while (used < length && s->nodes[s->state].match < 0)
        s->state = s->nodes[s->state].next[(unsigned char)text[used++]];
    if (!buf_append(&s->held, text, used)) return error_no_memory(err, "stop strings");
    const stop_node *node = &s->nodes[s->state];
    if (node->match >= 0) {
        s->matched = node->match;
        release(s, before + used - node->match_length, out);
        buf_clear(&s->held);
    } else {
        size_t certain = s->held.length - node->depth;
        release(s, utf8_complete_prefix(s->held.data ? s->held.data : "", certain), out);
    }
    return out->failed ? error_no_memory(err, "stop strings") : LLM_OK;
}

llm_status stop_strings_finish(stop_strings *s, buf *out, llm_error *err) {
    if (s->matched < 0) release(s, s->held.length, out);
    buf_clear(&s->held);
    s->state = 0;
    return out->failed ? error_no_memory(err, "stop strings") : LLM_OK;
}

int stop_strings_matched(const stop_strings *s) {
    return s->matched;
}

void stop_strings_reset(stop_strings *s) {
    buf_clear(&s->held);
    s->state = 0;
    s->matched = -1;
}
