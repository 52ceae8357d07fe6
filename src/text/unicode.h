// Character classes, lower case, normal forms and grapheme clusters, as the Hugging Face tokenizers library
// has them: its parts follow different versions of Unicode (see tools/make_unicode_tables.py).
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H
#include "base/buf.h"

bool unicode_is_space(uint32_t c);       // White_Space
bool unicode_is_numeric(uint32_t c);     // categories Nd, Nl, No
bool unicode_is_word(uint32_t c);        // \w
bool unicode_is_punctuation(uint32_t c); // category P, and the ASCII symbols
bool unicode_is_control(uint32_t c); // Cc, Cf, Co, NUL and U+FFFD, but not tab, line feed and carriage return
bool unicode_is_nonspacing(uint32_t c); // category Mn
bool unicode_is_combining(uint32_t c);  // category M
int unicode_script(uint32_t c); // a number; 0 goes with any script. Hiragana and Katakana count as Han

size_t unicode_lower(uint32_t c, uint32_t lower[2]); // returns how many

typedef enum unicode_form { UNICODE_NFC, UNICODE_NFD, UNICODE_NFKC, UNICODE_NFKD } unicode_form;

// Appends the normal form of `text` (valid UTF-8). Failure is in `out`.
void unicode_normalize(unicode_form form, const char *text, size_t length, buf *out);

size_t unicode_grapheme(const char *text,
                        size_t length); // bytes of the first grapheme cluster; 0 for no text

#endif
