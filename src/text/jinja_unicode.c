// Character classes and case mappings of Python 3.11 over utf8proc's categories.
#include "text/jinja_unicode.h"
#include <utf8proc.h>

typedef struct char_range {
    uint32_t first, last;
} char_range;

typedef struct char_mapping {
    uint32_t from, to[3];
} char_mapping;

#include "text/jinja_unicode_tables.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))
#define IN_RANGES(c, table) in_ranges(c, table, COUNT(table))
#define BIT(category) (1u << UTF8PROC_CATEGORY_##category)

static bool in_ranges(uint32_t c, const char_range *ranges, size_t count)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ranges[low].first <= c;
}

static bool has_category(uint32_t c, uint32_t bits)
{
    return bits >> utf8proc_category((utf8proc_int32_t)c) & 1;
}

bool jinja_is_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool jinja_is_line_end(uint32_t c)
{
    return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool jinja_is_alpha(uint32_t c)
{
    if (c < 0x80) return (c | 32) >= 'a' && (c | 32) <= 'z';
    return has_category(c, BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO));
}

bool jinja_is_decimal(uint32_t c)
{
    return c < 0x80 ? c >= '0' && c <= '9' : has_category(c, BIT(ND));
}
bool jinja_is_digit(uint32_t c)
{
    return jinja_is_decimal(c) || IN_RANGES(c, digits_beyond_decimal);
}

bool jinja_is_numeric(uint32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9';
    return has_category(c, BIT(ND) | BIT(NL) | BIT(NO)) || IN_RANGES(c, numeric_letters);
}

bool jinja_is_alnum(uint32_t c)
{
    return jinja_is_alpha(c) || jinja_is_numeric(c);
}
bool jinja_is_upper(uint32_t c)
{
    return has_category(c, BIT(LU)) || IN_RANGES(c, other_upper);
}
bool jinja_is_lower(uint32_t c)
{
    return has_category(c, BIT(LL)) || IN_RANGES(c, other_lower);
}
bool jinja_is_title(uint32_t c)
{
    return has_category(c, BIT(LT));
}
bool jinja_is_cased(uint32_t c)
{
    return jinja_is_upper(c) || jinja_is_lower(c) || jinja_is_title(c);
}

bool jinja_is_case_ignorable(uint32_t c)
{
    if (c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2018 || c == 0x2019 || c == 0x2024 ||
        c == 0x2027)
        return true;
    return has_category(c, BIT(MN) | BIT(ME) | BIT(CF) | BIT(LM) | BIT(SK));
}

bool jinja_is_printable(uint32_t c)
{
    if (c < 0x80) return c >= ' ' && c < 0x7F;
    return !has_category(c, BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO) | BIT(CN) | BIT(ZL) | BIT(ZP) | BIT(ZS));
}

// Decimal digits come in runs of ten whose first is a multiple of ten away from every other of the run.
int jinja_decimal_value(uint32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9' ? (int)(c - '0') : -1;
    if (!jinja_is_decimal(c)) return -1;
    uint32_t first = c;
    while (first > 0 && jinja_is_decimal(first - 1)) first--;
    return (int)((c - first) % 10);
}

bool jinja_is_identifier_start(uint32_t c)
{
    if (c < 0x80) return jinja_is_alpha(c) || c == '_';
    return has_category(c, BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO) | BIT(NL));
}

bool jinja_is_identifier_part(uint32_t c)
{
    return jinja_is_identifier_start(c) || jinja_is_decimal(c) ||
           has_category(c, BIT(MN) | BIT(MC) | BIT(PC));
}

static size_t map_long(uint32_t c, const char_mapping *table, size_t count, uint32_t out[3])
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (table[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == count || table[low].from != c) return 0;
    for (size_t i = 0; i < 3; i++) out[i] = table[low].to[i];
    return out[2] ? 3 : 2;
}

size_t jinja_to_upper(uint32_t c, uint32_t out[3])
{
    size_t length = c < 0x80 ? 0 : map_long(c, long_upper, COUNT(long_upper), out);
    if (length) return length;
    return out[0] = (uint32_t)utf8proc_toupper((utf8proc_int32_t)c), 1;
}

size_t jinja_to_title(uint32_t c, uint32_t out[3])
{
    size_t length = c < 0x80 ? 0 : map_long(c, long_title, COUNT(long_title), out);
    if (length) return length;
    return out[0] = (uint32_t)utf8proc_totitle((utf8proc_int32_t)c), 1;
}

size_t jinja_to_lower(uint32_t c, uint32_t out[3])
{
    if (c == 0x130) return out[0] = 'i', out[1] = 0x307, 2;
    return out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c), 1;
}

size_t jinja_to_folded(uint32_t c, uint32_t out[3])
{
    utf8proc_int32_t folded[4];
    int boundary = 0;
    utf8proc_ssize_t length =
        utf8proc_decompose_char((utf8proc_int32_t)c, folded, 4, UTF8PROC_CASEFOLD, &boundary);
    if (length < 1 || length > 3) return out[0] = c, 1;
    for (utf8proc_ssize_t i = 0; i < length; i++) out[i] = (uint32_t)folded[i];
    return (size_t)length;
}
