// Sorted, disjoint ranges of code points; the data is generated (tools/make_unicode_tables.py).
#ifndef TEXT_UNICODE_TABLES_H
#define TEXT_UNICODE_TABLES_H
#include <stddef.h>
#include <stdint.h>

typedef struct unicode_range {
    uint32_t first, last;
} unicode_range;

typedef struct unicode_offset {
    uint32_t first, last;
    int32_t value;
} unicode_offset;

typedef struct unicode_addition {
    char property[12];
    uint32_t first, last;
} unicode_addition;

#define UNICODE_SETS(X)                                                                                      \
    X(numeric)                                                                                               \
    X(word) X(punctuation) X(control) X(nonspacing) X(combining) X(undecomposed) X(unordered)                \
        X(nfc_relevant)
#define UNICODE_DECLARE(name)                                                                                \
    extern const unicode_range unicode_##name[];                                                             \
    extern const size_t unicode_##name##_count;
UNICODE_SETS(UNICODE_DECLARE)

extern const unicode_addition unicode_additions[]; // grouped by property
extern const size_t unicode_additions_count;
extern const unicode_offset unicode_lower_offsets[], unicode_scripts[];
extern const size_t unicode_lower_offsets_count, unicode_scripts_count;

#endif
