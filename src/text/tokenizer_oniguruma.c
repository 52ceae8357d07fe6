// Oniguruma's syntax into PCRE2's. They differ in what \s, \w, \h, \v, ^, $ and {n,m}+ mean, in sets within
// sets, and in the version of Unicode; the rest is passed on as it is.
#include "text/tokenizer_regex.h"
#include "base/utf8.h"
#include "text/unicode_tables.h"
#include <ctype.h>
#include <string.h>

enum { DEEPEST = 64 };

#define SPACE_ITEMS                                                                                          \
    "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"

// Superscripts and fractions that \w and \b take for word characters, but only outside of sets.
#define LATIN1_WORD_ITEMS "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"

typedef struct group {
    size_t start; // of the group in the output, for quantifiers that need wrapping
    size_t extra; // parentheses opened by (?i) and the like, closed with the group
} group;

typedef struct translator {
    const char *source; // for messages
    const char *at, *end;
    buf *out;
    group groups[DEEPEST];
    size_t depth;
    int class_depth;
    llm_error *err;
} translator;

static llm_status unsupported(translator *t, const char *what) {
    return error_set(t->err, LLM_UNSUPPORTED_FORMAT, "the regular expression \"%.80s\" has %s", t->source,
                     what);
}

static bool more(const translator *t) {
    return t->at < t->end;
}
static bool next_is(const translator *t, const char *text) {
    size_t length = strlen(text);
    return (size_t)(t->end - t->at) >= length && memcmp(t->at, text, length) == 0;
}
static bool take(translator *t, const char *text) {
    bool found = next_is(t, text);
    if (found) t->at += strlen(text);
    return found;
}

// --- properties ---

// A general category and its parts, by the names Oniguruma knows; the others are scripts or binary
// properties.
static const struct {
    const char *name, *category;
} categories[] = {
    {"letter", "L"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"number", "N"},
    {"punctuation", "P"},
    {"symbol", "S"},
    {"separator", "Z"},
    {"other", "C"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"decimalnumber", "Nd"},
    {"digit", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"control", "Cc"},
    {"cntrl", "Cc"},
    {"format", "Cf"},
    {"surrogate", "Cs"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
    {"l", "L"},
    {"m", "M"},
    {"n", "N"},
    {"p", "P"},
    {"s", "S"},
    {"z", "Z"},
    {"c", "C"},
    {"lu", "Lu"},
    {"ll", "Ll"},
    {"lt", "Lt"},
    {"lm", "Lm"},
    {"lo", "Lo"},
    {"mn", "Mn"},
    {"mc", "Mc"},
    {"me", "Me"},
    {"nd", "Nd"},
    {"nl", "Nl"},
    {"no", "No"},
    {"pc", "Pc"},
    {"pd", "Pd"},
    {"ps", "Ps"},
    {"pe", "Pe"},
    {"pi", "Pi"},
    {"pf", "Pf"},
    {"po", "Po"},
    {"sm", "Sm"},
    {"sc", "Sc"},
    {"sk", "Sk"},
    {"so", "So"},
    {"zs", "Zs"},
    {"zl", "Zl"},
    {"zp", "Zp"},
    {"cc", "Cc"},
    {"cf", "Cf"},
    {"cn", "Cn"},
    {"co", "Co"},
    {"cs", "Cs"},
};

static const char *const binary_properties[] = {
    "alphabetic",
    "uppercase",
    "lowercase",
    "whitespace",
    "ideographic",
    "emoji",
    "emojipresentation",
    "emojimodifier",
    "emojimodifierbase",
    "emojicomponent",
    "extendedpictographic",
    "math",
    "dash",
    "hexdigit",
    "asciihexdigit",
    "idstart",
    "idcontinue",
    "xidstart",
    "xidcontinue",
    "diacritic",
    "extender",
    "any",
};

// What newer versions of Unicode have of a property: its own rows, and for "L" those of "Lu", "Ll" and so on.
static void append_additions(buf *items, const char *property, bool is_category) {
    size_t length = is_category ? strlen(property) : sizeof unicode_additions->property;
    for (size_t i = 0; i < unicode_additions_count; i++) {
        const unicode_addition *row = &unicode_additions[i];
        bool row_is_category = strlen(row->property) == 2;
        bool same = is_category ? row_is_category && strncmp(row->property, property, length) == 0
                                : strcasecmp(row->property, property) == 0;
        if (same) buf_printf(items, "\\x{%X}-\\x{%X}", row->first, row->last);
    }
}

static void append_word(buf *items) {
    buf_append_string(items, "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}");
    append_additions(items, "M", true);
    append_additions(items, "Nd", true);
    append_additions(items, "Alphabetic", false);
}

static void append_category(buf *items, const char *category) {
    buf_printf(items, "\\p{%s}", category);
    append_additions(items, category, true);
}

static bool append_posix(buf *items, const char *name) {
    if (strcmp(name, "alpha") == 0)
        return append_additions(items, "Alphabetic", false), buf_append_string(items, "\\p{Alphabetic}");
    if (strcmp(name, "alnum") == 0) {
        append_additions(items, "Alphabetic", false);
        append_category(items, "Nd");
        return buf_append_string(items, "\\p{Alphabetic}");
    }
    if (strcmp(name, "upper") == 0)
        return append_additions(items, "Lu", true), buf_append_string(items, "\\p{Uppercase}");
    if (strcmp(name, "lower") == 0)
        return append_additions(items, "Ll", true), buf_append_string(items, "\\p{Lowercase}");
    if (strcmp(name, "space") == 0) return buf_append_string(items, SPACE_ITEMS);
    if (strcmp(name, "xdigit") == 0) return buf_append_string(items, "0-9A-Fa-f");
    if (strcmp(name, "blank") == 0) return buf_append_string(items, "\\p{Zs}\\t");
    if (strcmp(name, "word") == 0) return append_word(items), true;
    if (strcmp(name, "ascii") == 0) return buf_append_string(items, "\\x00-\\x7F");
    if (strcmp(name, "punct") == 0 || strcmp(name, "posixpunct") == 0) {
        append_category(items, "P");
        append_category(items, "S");
        return true;
    }
    return false;
}

// Appends the items of \p{name} to those of a set.
static llm_status append_property(translator *t, buf *items, const char *name) {
    if (append_posix(items, strcmp(name, "punct") == 0 ? "p" : name)) return LLM_OK;
    if (strcmp(name, "punct") == 0) return append_category(items, "P"), LLM_OK;
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        if (strcmp(name, categories[i].name) == 0)
            return append_category(items, categories[i].category), LLM_OK;
    for (size_t i = 0; i < sizeof binary_properties / sizeof *binary_properties; i++)
        if (strcmp(name, binary_properties[i]) == 0)
            return buf_printf(items, "\\p{%s}", name), append_additions(items, name, false), LLM_OK;
    if (!name[0]) return unsupported(t, "an empty property");
    buf_printf(items, "\\p{sc:%s}", name); // an unknown one fails when PCRE2 compiles it
    append_additions(items, name, false);
    return LLM_OK;
}

// Reads "{^Name}" or "{Name}" after \p; names match without case, spaces, hyphens and underscores.
static llm_status read_property_name(translator *t, char name[40], bool *negated) {
    size_t length = 0;
    if (!take(t, "{")) return unsupported(t, "a property without braces");
    if (take(t, "^")) *negated = !*negated;
    for (; more(t) && *t->at != '}'; t->at++) {
        if (*t->at == ' ' || *t->at == '_' || *t->at == '-') continue;
        if (length + 1 >= 40 || !isalnum((unsigned char)*t->at))
            return unsupported(t, "a strange property name");
        name[length++] = (char)tolower((unsigned char)*t->at);
    }
    name[length] = 0;
    return take(t, "}") ? LLM_OK : unsupported(t, "an unfinished property");
}

// A class escape (\d, \s, \w, \h, \p, or a negation of one) after the backslash: its items, and whether
// negated. *known is false, and nothing taken, when it is another escape.
static llm_status read_class_escape(translator *t, buf *items, bool *negated, bool *known) {
    char c = more(t) ? *t->at : 0;
    *known = c && strchr("dDsSwWhHpP", c) != NULL;
    if (!*known) return LLM_OK;
    t->at++;
    *negated = isupper((unsigned char)c) != 0;
    switch (tolower((unsigned char)c)) {
    case 'd': append_category(items, "Nd"); return LLM_OK;
    case 's': buf_append_string(items, SPACE_ITEMS); return LLM_OK;
    case 'w': append_word(items); return LLM_OK;
    case 'h': buf_append_string(items, "0-9A-Fa-f"); return LLM_OK;
    }
    char name[40];
    llm_status status = read_property_name(t, name, negated);
    return status == LLM_OK ? append_property(t, items, name) : status;
}

// --- single characters ---

static bool read_hex(translator *t, size_t most, uint32_t *value) {
    size_t digits = 0;
    *value = 0;
    for (; more(t) && digits < most && isxdigit((unsigned char)*t->at); t->at++, digits++) {
        int c = tolower((unsigned char)*t->at);
        *value = *value * 16 + (uint32_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
    }
    return digits > 0;
}

// A character escape after the backslash, as a code point; false when it is none.
static bool read_character_escape(translator *t, uint32_t *c) {
    static const char letters[] = "tnrfvae", values[] = "\t\n\r\f\v\a\x1B";
    if (!more(t)) return false;
    const char *place = strchr(letters, *t->at);
    if (*t->at && place) return t->at++, *c = (unsigned char)values[place - letters], true;
    if (take(t, "x{")) return read_hex(t, 8, c) && take(t, "}") && *c <= 0x10FFFF;
    if (take(t, "x")) return read_hex(t, 2, c);
    if (take(t, "u")) return read_hex(t, 4, c);
    if (isalnum((unsigned char)*t->at)) return false;
    size_t bytes = utf8_decode(t->at, (size_t)(t->end - t->at), c);
    t->at += bytes;
    return bytes > 0;
}

static void append_character(buf *out, uint32_t c) {
    if (c < 0x80 && !isalnum((int)c) && c != '_')
        buf_printf(out, "\\x{%X}", c);
    else
        buf_append_utf8(out, c);
}

// --- sets ---

// One operand of &&: what PCRE2 can say in one set, and the alternatives that it cannot.
typedef struct operand {
    buf items, alternatives;
} operand;

static llm_status read_set(translator *t, buf *out, buf *flat, bool *is_flat);

static void end_operand(operand *o, buf *conditions) {
    buf one = {0};
    if (o->items.length) buf_printf(&one, "[%s]", o->items.data);
    if (o->alternatives.length)
        buf_printf(&one, "%s%s", o->items.length ? "|" : "", o->alternatives.data + 1);
    if (!one.length) buf_append_string(&one, "(?!)");
    buf_printf(conditions, "(?=%s)", one.data ? one.data : "");
    conditions->failed |= one.failed || o->items.failed || o->alternatives.failed;
    buf_free(&one);
    buf_clear(&o->items);
    buf_clear(&o->alternatives);
}

static llm_status read_nested(translator *t, operand *o) {
    buf expression = {0}, flat = {0};
    bool is_flat = false;
    llm_status status = read_set(t, &expression, &flat, &is_flat);
    if (status == LLM_OK && is_flat)
        buf_append(&o->items, flat.data, flat.length);
    else if (status == LLM_OK)
        buf_printf(&o->alternatives, "|%s", expression.data ? expression.data : "");
    o->items.failed |= expression.failed || flat.failed;
    buf_free(&expression);
    buf_free(&flat);
    return status;
}

static llm_status read_posix_bracket(translator *t, operand *o) {
    char name[16];
    size_t length = 0;
    bool negated = take(t, "^");
    while (more(t) && *t->at != ':' && length + 1 < sizeof name) name[length++] = *t->at++;
    name[length] = 0;
    buf items = {0};
    if (!take(t, ":]")) return unsupported(t, "an unfinished [: :]");
    if (strcmp(name, "digit") == 0)
        append_category(&items, "Nd");
    else if (strcmp(name, "cntrl") == 0)
        append_category(&items, "Cc");
    else if (!append_posix(&items, name)) {
        buf_free(&items);
        return unsupported(t, "an unknown [: :] class");
    }
    if (negated)
        buf_printf(&o->alternatives, "|[^%s]", items.data ? items.data : "");
    else
        buf_append(&o->items, items.data, items.length);
    o->items.failed |= items.failed;
    buf_free(&items);
    return LLM_OK;
}

static llm_status read_set_escape(translator *t, operand *o, uint32_t *c, bool *is_character) {
    buf items = {0};
    bool negated = false, known = false;
    llm_status status = read_class_escape(t, &items, &negated, &known);
    *is_character = !known;
    if (known && status == LLM_OK) {
        if (negated)
            buf_printf(&o->alternatives, "|[^%s]", items.data ? items.data : "");
        else
            buf_append(&o->items, items.data, items.length);
    }
    o->items.failed |= items.failed;
    buf_free(&items);
    if (known || status != LLM_OK) return status;
    if (take(t, "b")) return *c = 8, LLM_OK;
    return read_character_escape(t, c) ? LLM_OK : unsupported(t, "an unknown escape in a set");
}

static llm_status read_set_character(translator *t, uint32_t *c) {
    if (take(t, "\\")) return read_character_escape(t, c) ? LLM_OK : unsupported(t, "a range to a class");
    size_t bytes = utf8_decode(t->at, (size_t)(t->end - t->at), c);
    t->at += bytes;
    return bytes ? LLM_OK : unsupported(t, "an unfinished set");
}

// One member of a set: a character or a range of them, a class, a nested set.
static llm_status read_member(translator *t, operand *o) {
    uint32_t first, last;
    bool is_character = true;
    llm_status status;
    if (take(t, "[:")) return read_posix_bracket(t, o);
    if (take(t, "[")) return read_nested(t, o);
    if (take(t, "\\"))
        status = read_set_escape(t, o, &first, &is_character);
    else
        status = read_set_character(t, &first);
    if (status != LLM_OK || !is_character) return status;
    bool is_range =
        next_is(t, "-") && t->end - t->at > 1 && t->at[1] != ']' && t->at[1] != '[' && !next_is(t, "-&&");
    append_character(&o->items, first);
    if (!is_range) return LLM_OK;
    t->at++;
    if ((status = read_set_character(t, &last)) != LLM_OK) return status;
    buf_append_char(&o->items, '-');
    append_character(&o->items, last);
    return LLM_OK;
}

// After '[': writes an expression for one character to `out`; a plain positive set also leaves its items in
// `flat`.
static llm_status read_set(translator *t, buf *out, buf *flat, bool *is_flat) {
    operand o = {0};
    buf conditions = {0};
    bool negated = take(t, "^"), first = true;
    llm_status status = LLM_OK;
    if (++t->class_depth > DEEPEST) status = unsupported(t, "sets nested too deep");
    for (; status == LLM_OK && more(t) && (first || *t->at != ']'); first = false) {
        if (take(t, "&&"))
            end_operand(&o, &conditions);
        else
            status = read_member(t, &o);
    }
    if (status == LLM_OK && !take(t, "]")) status = unsupported(t, "an unfinished set");
    *is_flat = status == LLM_OK && !negated && !conditions.length && !o.alternatives.length && o.items.length;
    if (*is_flat) buf_append(flat, o.items.data, o.items.length);
    if (status == LLM_OK && !conditions.length && !o.alternatives.length && o.items.length) {
        buf_printf(out, "[%s%s]", negated ? "^" : "", o.items.data);
    } else if (status == LLM_OK) {
        end_operand(&o, &conditions);
        buf_printf(out, negated ? "(?:(?!%s(?s:.))(?s:.))" : "(?:%s(?s:.))",
                   conditions.data ? conditions.data : "");
    }
    out->failed |= conditions.failed || o.items.failed || o.alternatives.failed;
    buf_free(&conditions);
    buf_free(&o.items);
    buf_free(&o.alternatives);
    t->class_depth--;
    return status;
}

// --- outside of sets ---

static llm_status read_boundary(translator *t, bool negated) {
    buf word = {0};
    append_word(&word);
    buf_append_string(&word, LATIN1_WORD_ITEMS);
    const char *w = word.data ? word.data : "";
    if (negated)
        buf_printf(t->out, "(?:(?<=[%s])(?=[%s])|(?<![%s])(?![%s]))", w, w, w, w);
    else
        buf_printf(t->out, "(?:(?<=[%s])(?![%s])|(?<![%s])(?=[%s]))", w, w, w, w);
    t->out->failed |= word.failed;
    buf_free(&word);
    return LLM_OK;
}

// The rest of "(?<name>" or "\\k<name>".
static llm_status read_name(translator *t) {
    while (more(t) && (isalnum((unsigned char)*t->at) || *t->at == '_')) buf_append_char(t->out, *t->at++);
    buf_append_char(t->out, '>');
    return take(t, ">") ? LLM_OK : unsupported(t, "a strange name");
}

static llm_status read_escape(translator *t) {
    buf items = {0};
    bool negated = false, known = false;
    llm_status status = read_class_escape(t, &items, &negated, &known);
    if (known && (t->at[-1] == 'w' || t->at[-1] == 'W')) buf_append_string(&items, LATIN1_WORD_ITEMS);
    if (known && status == LLM_OK)
        buf_printf(t->out, "[%s%s]", negated ? "^" : "", items.data ? items.data : "");
    t->out->failed |= items.failed;
    buf_free(&items);
    if (known || status != LLM_OK) return status;
    if (take(t, "b")) return read_boundary(t, false);
    if (take(t, "B")) return read_boundary(t, true);
    if (take(t, "k<")) return buf_append_string(t->out, "\\k<"), read_name(t);
    if (take(t, "O")) return buf_append_string(t->out, "(?s:.)"), LLM_OK;
    if (more(t) && strchr("AzZGKRXN123456789", *t->at)) return buf_printf(t->out, "\\%c", *t->at++), LLM_OK;
    uint32_t c;
    if (!read_character_escape(t, &c)) return unsupported(t, "an unknown escape");
    append_character(t->out, c);
    return LLM_OK;
}

// "(?im-im)" and "(?im-im:": Oniguruma's m is PCRE2's s; without a colon it holds to the end of the group.
static llm_status read_options(translator *t) {
    buf_append_string(t->out, "(?");
    for (; more(t) && *t->at != ':' && *t->at != ')'; t->at++) {
        if (!strchr("im-", *t->at)) return unsupported(t, "an unknown group or option");
        buf_append_char(t->out, *t->at == 'm' ? 's' : *t->at);
    }
    buf_append_char(t->out, ':');
    if (take(t, ":")) return LLM_OK;
    if (!take(t, ")")) return unsupported(t, "an unfinished option");
    t->depth--; // no group of its own: it closes with the one around it
    t->groups[t->depth - 1].extra++;
    return LLM_OK;
}

static llm_status read_group(translator *t) {
    static const char *const plain[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    if (t->depth == DEEPEST) return unsupported(t, "groups nested too deep");
    t->groups[t->depth++] = (group){t->out->length, 0};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (take(t, plain[i])) return buf_append_string(t->out, plain[i]), LLM_OK;
    if (take(t, "(?<")) return buf_append_string(t->out, "(?<"), read_name(t);
    if (take(t, "(?")) return read_options(t);
    t->at++;
    buf_append_char(t->out, '(');
    return LLM_OK;
}

// Inserts "(?:" at `start` and ")" at the end, around the last atom with its quantifiers.
static void wrap(buf *out, size_t start) {
    buf_append_string(out, "(?:)");
    if (out->failed) return;
    memmove(out->data + start + 3, out->data + start, out->length - 4 - start);
    memcpy(out->data + start, "(?:", 3);
    out->data[out->length - 1] = ')';
}

// "{n}", "{n,}", "{,m}" or "{n,m}", if that is what follows.
static bool take_interval(translator *t, char text[32], bool *fixed) {
    const char *at = t->at + 1;
    unsigned low = 0, high = 0;
    bool has_low = false, has_high = false;
    for (; at < t->end && isdigit((unsigned char)*at) && low < 100000; at++, has_low = true)
        low = low * 10 + (unsigned)(*at - '0');
    *fixed = at < t->end && *at == '}';
    if (!*fixed) {
        if (at >= t->end || *at != ',') return false;
        for (at++; at < t->end && isdigit((unsigned char)*at) && high < 100000; at++, has_high = true)
            high = high * 10 + (unsigned)(*at - '0');
        if (at >= t->end || *at != '}') return false;
    }
    if (!has_low && !has_high) return false;
    if (*fixed)
        snprintf(text, 32, "{%u}", low);
    else if (has_high)
        snprintf(text, 32, "{%u,%u}", low, high);
    else
        snprintf(text, 32, "{%u,}", low);
    t->at = at + 1;
    return true;
}

// The quantifiers after the atom that begins at `start` in the output. A quantifier on a quantified atom gets
// a group of its own; "{n,m}+" is one of those (not possessive), and so is "{n}?" (not lazy).
static void read_quantifiers(translator *t, size_t start) {
    for (bool quantified = false; more(t); quantified = true) {
        char interval[32];
        bool fixed = false, is_interval = *t->at == '{' && take_interval(t, interval, &fixed);
        if (!is_interval && !strchr("*+?", *t->at)) return;
        if (quantified) wrap(t->out, start);
        if (is_interval)
            buf_append_string(t->out, interval);
        else
            buf_append_char(t->out, *t->at++);
        if (!more(t)) return;
        if (*t->at == '?' && !(is_interval && fixed))
            buf_append_char(t->out, *t->at++);
        else if (*t->at == '+' && !is_interval)
            buf_append_char(t->out, *t->at++);
    }
}

static llm_status close_group(translator *t, size_t *start) {
    if (!t->depth) return unsupported(t, "a ) too many");
    group closed = t->groups[--t->depth];
    for (size_t i = 0; i <= closed.extra; i++) buf_append_char(t->out, ')');
    t->at++;
    *start = closed.start;
    return LLM_OK;
}

static llm_status read_comment(translator *t) {
    while (more(t) && *t->at != ')') t->at++;
    return take(t, ")") ? LLM_OK : unsupported(t, "an unfinished comment");
}

// One atom, with its quantifiers.
static llm_status read_atom(translator *t) {
    size_t start = t->out->length;
    bool is_flat;
    buf flat = {0};
    llm_status status = LLM_OK;
    if (take(t, "(?#")) return read_comment(t);
    if (*t->at == '(') return read_group(t);
    if (take(t, "|")) return buf_append_char(t->out, '|'), LLM_OK;
    if (*t->at == ')')
        status = close_group(t, &start);
    else if (take(t, "["))
        status = read_set(t, t->out, &flat, &is_flat);
    else if (take(t, "\\"))
        status = read_escape(t);
    else if (*t->at == '^' || *t->at == '$' || *t->at == '.')
        buf_append_char(t->out, *t->at++);
    else {
        uint32_t c;
        size_t bytes = utf8_decode(t->at, (size_t)(t->end - t->at), &c);
        if (!bytes) return unsupported(t, "invalid UTF-8");
        t->at += bytes;
        if (strchr("*+?", (int)c) && c) return unsupported(t, "a quantifier with nothing before it");
        append_character(t->out, c);
    }
    buf_free(&flat);
    if (status == LLM_OK) read_quantifiers(t, start);
    return status;
}

llm_status regex_translate(const char *source, size_t length, buf *out, llm_error *err) {
    translator t = {.source = source, .at = source, .end = source + length, .out = out, .err = err};
    llm_status status = LLM_OK;
    t.groups[t.depth++] = (group){out->length, 0}; // the whole, for options without a group
    buf_append_string(out, "(?:");
    while (status == LLM_OK && more(&t)) {
        if (*t.at == ')' && t.depth == 1) return unsupported(&t, "a ) too many");
        status = read_atom(&t);
    }
    if (status == LLM_OK && t.depth != 1) status = unsupported(&t, "an unfinished group");
    for (size_t i = 0; i <= t.groups[0].extra; i++) buf_append_char(out, ')');
    if (status != LLM_OK) return status;
    return out->failed ? error_no_memory(err, "a regular expression") : LLM_OK;
}
