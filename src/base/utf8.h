// UTF-8 as RFC 3629 defines it: no surrogates, no overlong forms, at most U+10FFFF.
#ifndef BASE_UTF8_H
#define BASE_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Decodes the character at `text`; returns its length in bytes, or 0 if the bytes are not one.
size_t utf8_decode(const char *text, size_t length, uint32_t *codepoint);
size_t utf8_encode(uint32_t codepoint, char bytes[4]); // returns the length; an invalid code point as U+FFFD
bool utf8_valid(const char *text, size_t length);

// Length of `text` without a character that is cut off at its end (bytes that more bytes could complete).
// Bytes that can never become valid count as complete.
size_t utf8_complete_prefix(const char *text, size_t length);

#endif
