// A growable byte buffer. Failure is sticky: append freely, check `failed` once at the end.
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct buf {
    char *data;             // NUL after `length` bytes once anything was appended
    size_t length, capacity;
    size_t limit;           // 0: none; appending past it fails (untrusted output)
    bool failed;
} buf;

void buf_init(buf *b); // or = {0}
bool buf_append(buf *b, const void *bytes, size_t length);
bool buf_append_string(buf *b, const char *text);
bool buf_append_char(buf *b, char c);
bool buf_append_utf8(buf *b, uint32_t codepoint);
bool buf_printf(buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool buf_reserve(buf *b, size_t extra);      // room for `extra` more bytes and a NUL
void buf_append_json_string(buf *b, const char *text, size_t length); // quoted and escaped, invalid UTF-8 as U+FFFD
void buf_clear(buf *b);                      // keeps the memory
char *buf_take(buf *b);                      // returns owned (mem_free), NUL-terminated; NULL if it failed; resets b
void buf_free(buf *b);

#endif
