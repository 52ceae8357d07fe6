// A growable byte buffer with sticky failure.
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <stdio.h>
#include <string.h>

void buf_init(buf *b) { *b = (buf){0}; }

bool buf_reserve(buf *b, size_t extra)
{
    if (b->failed) return false;
    size_t needed;
    bool fits = mem_add(b->length, extra, &needed) && (!b->limit || needed <= b->limit) &&
                mem_add(needed, 1, &needed) && mem_grow((void **)&b->data, &b->capacity, needed, 1);
    b->failed = !fits;
    return fits;
}

bool buf_append(buf *b, const void *bytes, size_t length)
{
    if (!buf_reserve(b, length)) return false;
    if (length) memcpy(b->data + b->length, bytes, length);
    b->length += length;
    b->data[b->length] = 0;
    return true;
}

bool buf_append_string(buf *b, const char *text) { return buf_append(b, text, strlen(text)); }
bool buf_append_char(buf *b, char c) { return buf_append(b, &c, 1); }

bool buf_append_utf8(buf *b, uint32_t codepoint)
{
    char bytes[4];
    return buf_append(b, bytes, utf8_encode(codepoint, bytes));
}

bool buf_printf(buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) b->failed = true;
    if (length >= 0 && buf_reserve(b, (size_t)length)) {
        vsnprintf(b->data + b->length, (size_t)length + 1, format, again);
        b->length += (size_t)length;
    }
    va_end(again);
    return !b->failed;
}

void buf_append_json_string(buf *b, const char *text, size_t length)
{
    static const char escapes[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    buf_append_char(b, '"');
    for (size_t i = 0; i < length;) {
        unsigned char c = (unsigned char)text[i];
        uint32_t codepoint;
        size_t bytes = utf8_decode(text + i, length - i, &codepoint);
        if (c == '"' || c == '\\') buf_printf(b, "\\%c", c);
        else if (c < 0x20 && escapes[c]) buf_printf(b, "\\%c", escapes[c]);
        else if (c < 0x20) buf_printf(b, "\\u%04x", c);
        else if (!bytes) buf_append_string(b, "\xEF\xBF\xBD");
        else buf_append(b, text + i, bytes);
        i += bytes ? bytes : 1;
    }
    buf_append_char(b, '"');
}

void buf_clear(buf *b)
{
    b->length = 0;
    b->failed = false;
    if (b->data) b->data[0] = 0;
}

char *buf_take(buf *b)
{
    buf_append(b, "", 0);
    char *data = b->failed ? NULL : b->data;
    if (!data) mem_free(b->data);
    *b = (buf){.limit = b->limit};
    return data;
}

void buf_free(buf *b)
{
    mem_free(b->data);
    *b = (buf){0};
}
