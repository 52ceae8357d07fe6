// UTF-8 decoding and encoding.
#include "base/utf8.h"

size_t utf8_decode(const char *text, size_t length, uint32_t *codepoint)
{
    const unsigned char *s = (const unsigned char *)text;
    if (length == 0) return 0;
    if (s[0] < 0x80) return *codepoint = s[0], 1;
    size_t bytes = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || length < bytes) return 0;
    uint32_t value = s[0] & (0x7Fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
        value = value << 6 | (s[i] & 0x3Fu);
    }
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < smallest[bytes] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return 0;
    *codepoint = value;
    return bytes;
}

size_t utf8_encode(uint32_t c, char out[4])
{
    unsigned char *bytes = (unsigned char *)out;
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = 0xFFFD;
    if (c < 0x80) return bytes[0] = (unsigned char)c, 1;
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, c >>= 6) bytes[i] = (unsigned char)(0x80 | (c & 0x3F));
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    bytes[0] = (unsigned char)(lead[length] | c);
    return length;
}

bool utf8_valid(const char *text, size_t length)
{
    uint32_t codepoint;
    for (size_t i = 0, bytes; i < length; i += bytes)
        if (!(bytes = utf8_decode(text + i, length - i, &codepoint))) return false;
    return true;
}

// Can `have` bytes beginning with a lead byte still become a character?
static bool is_cut_off(const unsigned char *s, size_t have)
{
    size_t bytes = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || have >= bytes) return false;
    if (have < 2) return true;
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool too_large = (s[0] == 0xED && s[1] >= 0xA0) || (s[0] == 0xF4 && s[1] >= 0x90);
    return !overlong && !too_large;
}

size_t utf8_complete_prefix(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        unsigned char c = s[length - back];
        if ((c & 0xC0) == 0x80) continue;
        return is_cut_off(s + length - back, back) ? length - back : length;
    }
    return length;
}
