// Filters over text.
#include "text/jinja_builtin.h"
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <string.h>

static bool given(jvalue v)
{
    return v.kind != J_MISSING;
}
static bool given_some(jvalue v)
{
    return v.kind != J_MISSING && v.kind != J_NONE;
}

static int64_t integer_or(jrender *r, jvalue v, int64_t otherwise)
{
    return given(v) ? jinja_index(r, v, "'%s' object cannot be interpreted as an integer") : otherwise;
}

static jvalue filter_upper(jrender *r, jvalue *v)
{
    return jinja_change_case(r, jinja_soft_str(r, v[0]), JCASE_UPPER);
}
static jvalue filter_lower(jrender *r, jvalue *v)
{
    return jinja_change_case(r, jinja_soft_str(r, v[0]), JCASE_LOWER);
}
static jvalue filter_capitalize(jrender *r, jvalue *v)
{
    return jinja_change_case(r, jinja_soft_str(r, v[0]), JCASE_CAPITALIZE);
}
static jvalue filter_string(jrender *r, jvalue *v)
{
    return jstr(jinja_soft_str(r, v[0]));
}
static jvalue filter_escape(jrender *r, jvalue *v)
{
    return jinja_escape(r, v[0]);
}
static jvalue filter_force_escape(jrender *r, jvalue *v)
{
    return jinja_escape(r, jstr(jinja_str(r, v[0])));
}
static jvalue filter_safe(jrender *r, jvalue *v)
{
    return jinja_markup(r, jstr(jinja_str(r, v[0])));
}

static bool starts_word(uint32_t c)
{
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || jinja_is_space(c);
}

// Words begin after white space and opening brackets, so that "it's" stays one.
static jvalue filter_title(jrender *r, jvalue *v)
{
    const jstring *s = jinja_soft_str(r, v[0]);
    size_t begin = jtext_begin(r);
    for (size_t i = 0; i < s->length;) {
        uint32_t c;
        size_t bytes = jinja_decode(s->data + i, &c), end = i + bytes;
        bool separators = starts_word(c);
        while (end < s->length) {
            size_t more = jinja_decode(s->data + end, &c);
            if (starts_word(c) != separators) break;
            end += more;
        }
        const jstring *first = jinja_string_part(r, s, i, i + bytes).string,
                      *rest = jinja_string_part(r, s, i + bytes, end).string;
        jtext_string(r, jinja_change_case(r, first, JCASE_UPPER).string);
        jtext_string(r, jinja_change_case(r, rest, JCASE_LOWER).string);
        i = end;
    }
    return jtext_end(r, begin);
}

static jvalue filter_trim(jrender *r, jvalue *v)
{
    if (given_some(v[1]) && v[1].kind != J_STRING) jinja_raise(r, "strip arg must be None or str");
    return jinja_strip(r, jinja_soft_str(r, v[0]), given_some(v[1]) ? v[1].string : NULL, true, true);
}

static jvalue filter_center(jrender *r, jvalue *v)
{
    return jinja_center(r, jinja_soft_str(r, v[0]), integer_or(r, v[1], 80), JINJA_STRING(" "));
}

static jvalue filter_replace(jrender *r, jvalue *v)
{
    int64_t count = given_some(v[3]) ? integer_or(r, v[3], -1) : -1;
    if (!r->escapes)
        return jinja_replace(r, jinja_str(r, v[0]), jinja_str(r, v[1]), jinja_str(r, v[2]), count);
    const jstring *old = jinja_soft_str(r, v[1]), *fresh = jinja_soft_str(r, v[2]),
                  *s = jinja_soft_str(r, v[0]);
    if (old->markup || (fresh->markup && !s->markup)) s = jinja_escape(r, jstr(s)).string;
    if (s->markup) fresh = jinja_escape(r, jstr(fresh)).string;
    return jinja_replace(r, s, old, fresh, count);
}

static jvalue filter_format(jrender *r, jvalue value, const jarguments *a)
{
    const jstring *format = jinja_soft_str(r, value);
    if (a->count && a->num_keywords)
        jinja_raise(r, "can't handle positional and keyword arguments at the same time");
    if (a->num_keywords) {
        jdict *dict = jdict_new(r);
        for (size_t i = 0; i < a->num_keywords; i++)
            jdict_set(r, dict, jstr(a->keywords[i].name), a->keywords[i].value);
        return jinja_format_percent(r, format, (jvalue){.kind = J_DICT, .dict = dict});
    }
    jlist *tuple = jlist_new(r, a->count);
    for (size_t i = 0; i < a->count; i++) jlist_append(r, tuple, a->items[i]);
    return jinja_format_percent(r, format, jinja_tuple(tuple));
}

// ---- lines ----

static jvalue filter_indent(jrender *r, jvalue *v)
{
    jvalue width = given(v[1]) ? v[1] : jint(4);
    if (width.kind != J_STRING) width = jinja_binary(r, JO_MUL, jstr(JINJA_STRING(" ")), width);
    if (v[0].kind == J_UNDEFINED) jinja_raise_undefined(r, v[0].undefined);
    if (v[0].kind == J_LIST || v[0].kind == J_TUPLE || v[0].kind == J_DICT) {
        if (v[0].kind == J_LIST) jinja_raise(r, "'list' object has no attribute 'splitlines'");
        if (v[0].kind == J_TUPLE) jinja_raise(r, "can only concatenate tuple (not \"str\") to tuple");
    }
    if (v[0].kind != J_STRING)
        jinja_raise(r, "unsupported operand type(s) for +=: '%s' and 'str'", jinja_type_name(v[0]));
    const jstring *s = v[0].string;
    if (s->markup) width = jinja_escape(r, width.string->markup ? width : jinja_markup(r, width));
    jlist *lines = jinja_split_lines(r, jinja_concat(r, s, JINJA_STRING("\n")).string, false);
    bool first = given(v[2]) && jinja_truth(r, v[2]), blank = given(v[3]) && jinja_truth(r, v[3]);
    size_t begin = jtext_begin(r);
    for (size_t i = 0; i < lines->count; i++) {
        const jstring *line = lines->items[i].string;
        if (i) jtext_literal(r, "\n");
        if (i ? blank || line->length : first) jtext_string(r, width.string);
        jtext_string(r, line);
    }
    jvalue result = jtext_end(r, begin);
    return s->markup ? jinja_markup(r, result) : result;
}

static jvalue filter_truncate(jrender *r, jvalue *v)
{
    jvalue length = given(v[1]) ? v[1] : jint(255), leeway = given_some(v[4]) ? v[4] : jint(5);
    jvalue end = given(v[3]) ? v[3] : jstr(JINJA_STRING("...")), end_length = jint(jinja_length(r, end));
    if (!jinja_compare(r, JO_GE, length, end_length))
        jinja_raise(r, "expected length >= %lld, got %.*s", (long long)end_length.integer,
                    JFMT(jinja_str(r, length)));
    if (!jinja_compare(r, JO_GE, leeway, jint(0)))
        jinja_raise(r, "expected leeway >= 0, got %.*s", JFMT(jinja_str(r, leeway)));
    jvalue longest = jinja_binary(r, JO_ADD, length, leeway);
    if (jinja_compare(r, JO_LE, jint(jinja_length(r, v[0])), longest)) return v[0];
    jvalue cut = jinja_slice(r, v[0], jnone(), jinja_binary(r, JO_SUB, length, end_length), jnone());
    if (!(given(v[2]) && jinja_truth(r, v[2]))) {
        if (cut.kind != J_STRING)
            jinja_raise(r, "'%s' object has no attribute 'rsplit'", jinja_type_name(cut));
        const char *blank = memrchr(cut.string->data, ' ', cut.string->length);
        if (blank) cut = jinja_string_part(r, cut.string, 0, (size_t)(blank - cut.string->data));
    }
    return jinja_binary(r, JO_ADD, cut, end);
}

static bool is_word(uint32_t c)
{
    return c == '_' || jinja_is_alnum(c);
}

static jvalue filter_wordcount(jrender *r, jvalue *v)
{
    const jstring *s = jinja_soft_str(r, v[0]);
    int64_t count = 0;
    bool inside = false;
    for (size_t i = 0; i < s->length;) {
        uint32_t c;
        i += jinja_decode(s->data + i, &c);
        count += is_word(c) && !inside;
        inside = is_word(c);
    }
    return jint(count);
}

// ---- markup and URLs ----

static const char *entity(const char *text, size_t length, uint32_t *c)
{
    static const struct {
        const char *name;
        uint32_t c;
    } names[] = {{"amp;", '&'},     {"lt;", '<'},     {"gt;", '>'},        {"quot;", '"'},
                 {"apos;", '\''},   {"nbsp;", 0xA0},  {"copy;", 0xA9},     {"reg;", 0xAE},
                 {"raquo;", 0xBB},  {"laquo;", 0xAB}, {"hellip;", 0x2026}, {"mdash;", 0x2014},
                 {"ndash;", 0x2013}};
    size_t i = 1;
    if (length < 3 || text[0] != '#') {
        for (i = 0; i < sizeof names / sizeof *names; i++)
            if (length >= strlen(names[i].name) && memcmp(text, names[i].name, strlen(names[i].name)) == 0)
                return *c = names[i].c, text + strlen(names[i].name);
        return NULL;
    }
    bool hexadecimal = text[1] == 'x' || text[1] == 'X';
    size_t begin = i += hexadecimal;
    for (*c = 0; i < length && *c < 0x110000; i++) {
        int digit = text[i] >= '0' && text[i] <= '9'                 ? text[i] - '0'
                    : (text[i] | 32) >= 'a' && (text[i] | 32) <= 'f' ? (text[i] | 32) - 'a' + 10
                                                                     : 16;
        if (digit >= (hexadecimal ? 16 : 10)) break;
        *c = *c * (hexadecimal ? 16 : 10) + (uint32_t)digit;
    }
    if (i == begin) return NULL;
    return text + i + (i < length && text[i] == ';');
}

static jvalue filter_striptags(jrender *r, jvalue *v)
{
    const jstring *s = jinja_str(r, v[0]);
    size_t begin = jtext_begin(r), position = 0, i;
    for (;;) {
        const char *open = memchr(s->data + position, '<', s->length - position), *close;
        if (!open) break;
        i = (size_t)(open - s->data);
        bool comment = s->length - i >= 4 && memcmp(open, "<!--", 4) == 0;
        close = comment ? memmem(open + 4, s->length - i - 4, "-->", 3) : memchr(open, '>', s->length - i);
        if (!close) break;
        jtext_add(r, s->data + position, i - position);
        position = (size_t)(close - s->data) + (comment ? 3 : 1);
    }
    jtext_add(r, s->data + position, s->length - position);
    jlist *words = jinja_split_space(r, jtext_end(r, begin).string, -1);
    const jstring *text = jinja_join(r, JINJA_STRING(" "), words).string;
    for (i = 0; i < text->length;) {
        uint32_t c;
        const char *after =
            text->data[i] == '&' ? entity(text->data + i + 1, text->length - i - 1, &c) : NULL;
        if (after)
            jtext_char(r, c);
        else
            jtext_add(r, text->data + i, 1);
        i = after ? (size_t)(after - text->data) : i + 1;
    }
    return jtext_end(r, begin);
}

static void write_quoted(jrender *r, jvalue value, bool for_query)
{
    static const char hex[] = "0123456789ABCDEF";
    const jstring *s = jinja_str(r, value);
    for (size_t i = 0; i < s->length; i++) {
        unsigned char c = (unsigned char)s->data[i];
        bool safe = c < 0x80 && (jinja_is_alnum(c) || strchr("_.-~", c)) && c;
        if (safe || (c == '/' && !for_query))
            jtext_add(r, s->data + i, 1);
        else if (c == ' ' && for_query)
            jtext_add(r, "+", 1);
        else
            jtext_add(r, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

static jvalue filter_urlencode(jrender *r, jvalue *v)
{
    size_t begin = jtext_begin(r), count = 0;
    if (v[0].kind == J_STRING || !jinja_is_iterable(v[0])) {
        write_quoted(r, v[0], false);
        return jtext_end(r, begin);
    }
    jvalue pairs = v[0], pair;
    if (pairs.kind == J_DICT) {
        jview *view = jinja_alloc(r, 1, sizeof *view);
        *view = (jview){pairs.dict, JVIEW_ITEMS};
        pairs = (jvalue){.kind = J_VIEW, .view = view};
    }
    jiterator it;
    jiterator_begin(r, pairs, &it);
    while (jiterator_next(r, &it, &pair)) {
        if (!jinja_is_iterable(pair))
            jinja_raise(r, "cannot unpack non-iterable %s object", jinja_type_name(pair));
        const jlist *parts = jinja_collect(r, pair);
        if (parts->count < 2)
            jinja_raise(r, "not enough values to unpack (expected 2, got %zu)", parts->count);
        if (parts->count > 2) jinja_raise(r, "too many values to unpack (expected 2)");
        if (count++) jtext_literal(r, "&");
        write_quoted(r, parts->items[0], true);
        jtext_literal(r, "=");
        write_quoted(r, parts->items[1], true);
    }
    return jtext_end(r, begin);
}

static jvalue filter_xmlattr(jrender *r, jvalue *v)
{
    size_t begin = jtext_begin(r), count = 0;
    if (v[0].kind == J_UNDEFINED) jinja_raise_undefined(r, v[0].undefined);
    if (v[0].kind != J_DICT) jinja_raise(r, "'%s' object has no attribute 'items'", jinja_type_name(v[0]));
    for (size_t i = 0; i < v[0].dict->count; i++) {
        const jentry *entry = &v[0].dict->entries[i];
        if (entry->value.kind == J_NONE || entry->value.kind == J_UNDEFINED) continue;
        if (entry->key.kind != J_STRING)
            jinja_raise(r, "expected string or bytes-like object, got '%s'", jinja_type_name(entry->key));
        for (size_t k = 0; k < entry->key.string->length; k++)
            if (strchr(" \t\n\r\f\v/>=", entry->key.string->data[k]) && entry->key.string->data[k])
                jinja_raise(r, "Invalid character in attribute name: %.*s", JFMT(jinja_repr(r, entry->key)));
        if (count++ || !given(v[1]) || jinja_truth(r, v[1])) jtext_literal(r, " ");
        jtext_string(r, jinja_escape(r, entry->key).string);
        jtext_literal(r, "=\"");
        jtext_string(r, jinja_escape(r, entry->value).string);
        jtext_literal(r, "\"");
    }
    return r->escapes ? jinja_markup(r, jtext_end(r, begin)) : jtext_end(r, begin);
}

static jvalue filter_urlize(jrender *r, jvalue value, const jarguments *a)
{
    (void)value, (void)a;
    jinja_raise(r, "the filter urlize is not supported");
}

const jbuiltin jinja_text_filters[] = {
    JINJA_BUILTIN("capitalize", "do_capitalize", "s", 1, 0, filter_capitalize),
    JINJA_BUILTIN("center", "do_center", "value width", 1, 0, filter_center),
    JINJA_BUILTIN("e", "escape", "s", 1, 0, filter_escape),
    JINJA_BUILTIN("escape", "escape", "s", 1, 0, filter_escape),
    JINJA_BUILTIN("forceescape", "do_forceescape", "value", 1, 0, filter_force_escape),
    JINJA_BUILTIN_ANY("format", "do_format", filter_format),
    JINJA_BUILTIN("indent", "do_indent", "s width first blank", 1, 0, filter_indent),
    JINJA_BUILTIN("lower", "do_lower", "s", 1, 0, filter_lower),
    JINJA_BUILTIN("replace", "do_replace", "s old new count", 3, 1, filter_replace),
    JINJA_BUILTIN("safe", "do_mark_safe", "value", 1, 0, filter_safe),
    JINJA_BUILTIN("string", "soft_str", "s", 1, 0, filter_string),
    JINJA_BUILTIN("striptags", "do_striptags", "value", 1, 0, filter_striptags),
    JINJA_BUILTIN("title", "do_title", "s", 1, 0, filter_title),
    JINJA_BUILTIN("trim", "do_trim", "value chars", 1, 0, filter_trim),
    JINJA_BUILTIN("truncate", "do_truncate", "s length killwords end leeway", 1, 1, filter_truncate),
    JINJA_BUILTIN("upper", "do_upper", "s", 1, 0, filter_upper),
    JINJA_BUILTIN("urlencode", "do_urlencode", "value", 1, 0, filter_urlencode),
    JINJA_BUILTIN_ANY("urlize", "do_urlize", filter_urlize),
    JINJA_BUILTIN("wordcount", "do_wordcount", "s", 1, 0, filter_wordcount),
    JINJA_BUILTIN("wordwrap", "do_wordwrap", "s width break_long_words wrapstring break_on_hyphens", 1, 1,
                  jinja_filter_wordwrap),
    JINJA_BUILTIN("xmlattr", "do_xmlattr", "d autospace", 1, 1, filter_xmlattr),
    {0},
};
