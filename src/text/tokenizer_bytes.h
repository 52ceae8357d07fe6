// GPT-2's byte alphabet: a printable character for each byte. Printable Latin-1 stands for itself, the other
// 68 bytes for U+0100 onwards.
#ifndef TEXT_TOKENIZER_BYTES_H
#define TEXT_TOKENIZER_BYTES_H
#include "base/buf.h"

static inline uint32_t byte_level_character(uint8_t byte) {
    if (byte <= ' ') return 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0) return 0x121u + byte - 0x7F;
    return byte == 0xAD ? 0x143 : byte;
}

static inline int byte_level_value(uint32_t c) // the byte that a character stands for, -1: none
{
    if (c >= 0x100)
        return c <= 0x120 ? (int)c - 0x100 : c <= 0x142 ? (int)c - 0x121 + 0x7F : c == 0x143 ? 0xAD : -1;
    return byte_level_character((uint8_t)c) == c ? (int)c : -1;
}

static inline size_t byte_level_encode(uint8_t byte, char out[2]) // UTF-8; returns the length
{
    uint32_t c = byte_level_character(byte);
    if (c < 0x80) return out[0] = (char)c, 1;
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
}

static inline void byte_level_append(buf *out, const char *text, size_t length) {
    if (!buf_reserve(out, 2 * length)) return;
    for (size_t i = 0; i < length; i++)
        out->length += byte_level_encode((uint8_t)text[i], out->data + out->length);
    out->data[out->length] = 0;
}

#endif
