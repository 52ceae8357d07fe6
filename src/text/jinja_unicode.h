// Characters as Python's str methods see them.
#ifndef TEXT_JINJA_UNICODE_H
#define TEXT_JINJA_UNICODE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool jinja_is_space(uint32_t c);
bool jinja_is_alpha(uint32_t c);
bool jinja_is_decimal(uint32_t c);
bool jinja_is_digit(uint32_t c);
bool jinja_is_numeric(uint32_t c);
bool jinja_is_alnum(uint32_t c);
bool jinja_is_upper(uint32_t c);
bool jinja_is_lower(uint32_t c);
bool jinja_is_title(uint32_t c);
bool jinja_is_cased(uint32_t c);
bool jinja_is_case_ignorable(uint32_t c);
bool jinja_is_printable(uint32_t c);
bool jinja_is_line_end(uint32_t c); // of splitlines
int jinja_decimal_value(uint32_t c);
bool jinja_is_identifier_start(uint32_t c);
bool jinja_is_identifier_part(uint32_t c);

// Case mappings; one character may become three. Return how many.
size_t jinja_to_upper(uint32_t c, uint32_t out[3]);
size_t jinja_to_lower(uint32_t c, uint32_t out[3]); // not the final sigma
size_t jinja_to_title(uint32_t c, uint32_t out[3]);
size_t jinja_to_folded(uint32_t c, uint32_t out[3]);

// Decodes the character at `text`, which is valid UTF-8 with at least one byte left; returns its length.
static inline size_t jinja_decode(const char *text, uint32_t *c)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) return *c = s[0], 1;
    if (s[0] < 0xE0) return *c = (s[0] & 31u) << 6 | (s[1] & 63u), 2;
    if (s[0] < 0xF0) return *c = (s[0] & 15u) << 12 | (s[1] & 63u) << 6 | (s[2] & 63u), 3;
    return *c = (s[0] & 7u) << 18 | (s[1] & 63u) << 12 | (s[2] & 63u) << 6 | (s[3] & 63u), 4;
}

#endif
