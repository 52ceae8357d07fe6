// SentencePiece's precompiled character map. A grapheme cluster of up to five bytes is looked up first, then
// its characters; what counts is the shortest key that is a prefix, and it replaces the whole cluster. That
// is what the Hugging Face library does, and what models were trained against.
#include "text/normalizer_charsmap.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/unicode.h"
#include <string.h>

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool decode_base64(const char *text, size_t length, unsigned char *bytes, size_t *count) {
    uint32_t group = 0;
    size_t digits = 0, made = 0;
    while (length && text[length - 1] == '=') length--;
    for (size_t i = 0; i < length; i++) {
        int value = base64_value(text[i]);
        if (value < 0) return false;
        group = group << 6 | (uint32_t)value;
        if (++digits % 4 && i + 1 < length) continue;
        size_t have = (digits - 1) % 4 + 1;
        if (have == 1) return false;
        group <<= 6 * (4 - have);
        for (size_t k = 0; k + 1 < have; k++) bytes[made++] = (unsigned char)(group >> (16 - 8 * k));
        group = 0;
    }
    *count = made;
    return true;
}

static uint32_t read_u32(const unsigned char *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

llm_status charsmap_read(const char *base64, size_t length, charsmap *out, llm_error *err) {
    *out = (charsmap){0};
    unsigned char *bytes = mem_alloc(length / 4 * 3 + 3);
    size_t count = 0;
    llm_status status = LLM_OK;
    if (!bytes) return error_no_memory(err, "the character map");
    if (!decode_base64(base64, length, bytes, &count) || count < 8 || read_u32(bytes) > count - 4 ||
        read_u32(bytes) < 4) {
        status = error_set(err, LLM_LOAD_FAILED, "the precompiled character map is damaged");
        goto done;
    }
    out->count = read_u32(bytes) / 4;
    out->length = count - 4 - out->count * 4;
    out->units = mem_alloc_zero(out->count, sizeof *out->units);
    out->texts = mem_copy_bytes(bytes + 4 + out->count * 4, out->length);
    if (!out->units || !out->texts)
        status = error_no_memory(err, "the character map");
    else if (!utf8_valid(out->texts, out->length))
        status = error_set(err, LLM_LOAD_FAILED, "the precompiled character map is not UTF-8");
    for (size_t i = 0; status == LLM_OK && i < out->count; i++) out->units[i] = read_u32(bytes + 4 + 4 * i);
done:
    mem_free(bytes);
    if (status != LLM_OK) charsmap_free(out);
    return status;
}

void charsmap_free(charsmap *map) {
    mem_free(map->units);
    mem_free(map->texts);
    *map = (charsmap){0};
}

static bool has_leaf(uint32_t unit) {
    return unit >> 8 & 1;
}
static uint32_t unit_label(uint32_t unit) {
    return unit & (1u << 31 | 0xFF);
}
static uint32_t unit_offset(uint32_t unit) {
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}
static uint32_t unit_value(uint32_t unit) {
    return unit & ((1u << 31) - 1);
}

// The replacement of the shortest key that `text` begins with, NULL: none.
static const char *look_up(const charsmap *map, const char *text, size_t length) {
    uint32_t node = unit_offset(map->units[0]);
    for (size_t i = 0; i < length && text[i]; i++) {
        unsigned char c = (unsigned char)text[i];
        node ^= c;
        if (node >= map->count) return NULL;
        uint32_t unit = map->units[node];
        if (unit_label(unit) != c) return NULL;
        node ^= unit_offset(unit);
        if (node >= map->count) return NULL;
        if (!has_leaf(unit)) continue;
        uint32_t place = unit_value(map->units[node]);
        bool inside = place < map->length && ((unsigned char)map->texts[place] & 0xC0) != 0x80;
        return inside ? map->texts + place : NULL;
    }
    return NULL;
}

void charsmap_apply(const charsmap *map, const char *text, size_t length, buf *out) {
    enum { LONGEST_LOOKED_UP = 5 };
    for (size_t i = 0; i < length;) {
        size_t cluster = unicode_grapheme(text + i, length - i);
        const char *replacement = cluster <= LONGEST_LOOKED_UP ? look_up(map, text + i, cluster) : NULL;
        if (replacement) buf_append_string(out, replacement);
        for (size_t end = i + cluster, bytes; !replacement && i < end; i += bytes) {
            uint32_t c;
            bytes = utf8_decode(text + i, end - i, &c);
            if (!bytes) bytes = 1;
            const char *single = look_up(map, text + i, bytes);
            if (single)
                buf_append_string(out, single);
            else
                buf_append(out, text + i, bytes);
        }
        if (replacement) i += cluster;
    }
}
