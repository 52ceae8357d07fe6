// Values: strings and containers in the arena of a render, and what Python says of any two of them.
#include "base/strmap.h"
#include "text/jinja_render.h"
#include "text/jinja_unicode.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- strings ----

bool jstring_equals(const jstring *a, const jstring *b)
{
    return a == b || (a->length == b->length && memcmp(a->data, b->data, a->length) == 0);
}

bool jstring_is(const jstring *a, const char *text)
{
    size_t length = strlen(text);
    return a->length == length && memcmp(a->data, text, length) == 0;
}

// UTF-8 sorts by bytes as by code points.
int jstring_compare(const jstring *a, const jstring *b)
{
    size_t common = a->length < b->length ? a->length : b->length;
    int order = common ? memcmp(a->data, b->data, common) : 0;
    if (order) return order < 0 ? -1 : 1;
    return (a->length > b->length) - (a->length < b->length);
}

size_t utf8_count(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

jvalue jinja_string_of(jrender *r, const char *data, size_t length)
{
    jstring *string = jinja_alloc(r, 1, sizeof *string);
    *string = (jstring){data, length, utf8_count(data, length), false};
    jinja_pass_over(r, length);
    return jstr(string);
}

jvalue jinja_string_part(jrender *r, const jstring *whole, size_t begin, size_t end)
{
    jstring *string = jinja_alloc(r, 1, sizeof *string);
    size_t length = end - begin;
    jinja_pass_over(r, length);
    *string = (jstring){whole->data + begin, length,
                        jis_ascii(whole) ? length : utf8_count(whole->data + begin, length), whole->markup};
    return jstr(string);
}

jvalue jinja_string_copy(jrender *r, const char *data, size_t length)
{
    char *copy = jinja_alloc(r, length + 1, 1);
    if (length) memcpy(copy, data, length);
    return jinja_string_of(r, copy, length);
}

jvalue jinja_literal(jrender *r, const char *text)
{
    return jinja_string_of(r, text, strlen(text));
}

jvalue jinja_character(jrender *r, const jstring *s, size_t byte, size_t *length)
{
    uint32_t c;
    *length = jinja_decode(s->data + byte, &c);
    return jinja_string_part(r, s, byte, byte + *length);
}

size_t jinja_offset(const jstring *s, size_t character)
{
    if (character >= s->chars) return s->length;
    if (jis_ascii(s)) return character;
    size_t byte = 0;
    for (; character; character--)
        for (byte++; byte < s->length && ((unsigned char)s->data[byte] & 0xC0) == 0x80;) byte++;
    return byte;
}

jvalue jinja_markup(jrender *r, jvalue string)
{
    jstring *copy = jinja_alloc(r, 1, sizeof *copy);
    *copy = *string.string;
    copy->markup = true;
    return jstr(copy);
}

jvalue jinja_escape(jrender *r, jvalue value)
{
    if (value.kind == J_STRING && value.string->markup) return value;
    const jstring *text = jinja_str(r, value);
    size_t begin = jtext_begin(r);
    for (size_t i = 0; i < text->length; i++) {
        char c = text->data[i];
        if (c == '&')
            jtext_literal(r, "&amp;");
        else if (c == '<')
            jtext_literal(r, "&lt;");
        else if (c == '>')
            jtext_literal(r, "&gt;");
        else if (c == '\'')
            jtext_literal(r, "&#39;");
        else if (c == '"')
            jtext_literal(r, "&#34;");
        else
            jtext_add(r, &c, 1);
    }
    return jinja_markup(r, jtext_end(r, begin));
}

jvalue jinja_concat(jrender *r, const jstring *a, const jstring *b)
{
    char *data = jinja_alloc(r, a->length + b->length + 1, 1);
    jstring *joined = jinja_alloc(r, 1, sizeof *joined);
    if (a->length) memcpy(data, a->data, a->length);
    if (b->length) memcpy(data + a->length, b->data, b->length);
    *joined = (jstring){data, a->length + b->length, a->chars + b->chars, false};
    return jstr(joined);
}

// ---- lists ----

jlist *jlist_new(jrender *r, size_t capacity)
{
    jlist *list = jinja_alloc(r, 1, sizeof *list);
    if (capacity) list->items = jinja_alloc(r, capacity, sizeof *list->items);
    list->capacity = capacity;
    return list;
}

void jlist_append(jrender *r, jlist *list, jvalue item)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        jvalue *larger = jinja_alloc(r, capacity, sizeof *larger);
        if (list->count) memcpy(larger, list->items, list->count * sizeof *larger);
        list->items = larger;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
}

jvalue jinja_list(jlist *list)
{
    return (jvalue){.kind = J_LIST, .list = list};
}
jvalue jinja_tuple(jlist *list)
{
    return (jvalue){.kind = J_TUPLE, .list = list};
}

jvalue jinja_pair(jrender *r, jvalue a, jvalue b)
{
    jlist *pair = jlist_new(r, 2);
    jlist_append(r, pair, a);
    jlist_append(r, pair, b);
    return jinja_tuple(pair);
}

// ---- dicts ----

enum { SMALL_DICT = 8 };

jdict *jdict_new(jrender *r)
{
    return jinja_alloc(r, 1, sizeof(jdict));
}

static bool key_matches(jrender *r, const jentry *entry, jvalue key, uint64_t hash)
{
    if (entry->hash != hash) return false;
    if (entry->key.kind == J_STRING && key.kind == J_STRING)
        return jstring_equals(entry->key.string, key.string);
    return jinja_identical(entry->key, key) || jinja_equal(r, entry->key, key);
}

static jentry *find_entry(jrender *r, const jdict *dict, jvalue key, uint64_t hash)
{
    if (!dict->index) {
        for (size_t i = 0; i < dict->count; i++)
            if (key_matches(r, &dict->entries[i], key, hash)) return &dict->entries[i];
        return NULL;
    }
    for (size_t i = hash & dict->mask; dict->index[i]; i = (i + 1) & dict->mask)
        if (key_matches(r, &dict->entries[dict->index[i] - 1], key, hash))
            return &dict->entries[dict->index[i] - 1];
    return NULL;
}

static void index_entry(jdict *dict, size_t number)
{
    size_t i = dict->entries[number].hash & dict->mask;
    while (dict->index[i]) i = (i + 1) & dict->mask;
    dict->index[i] = (uint32_t)(number + 1);
}

static void grow_dict(jrender *r, jdict *dict)
{
    size_t capacity = dict->capacity ? dict->capacity * 2 : 4;
    if (capacity > UINT32_MAX / 4)
        jinja_raise(r, "a dict of more than %zu entries is not supported", dict->count);
    jentry *larger = jinja_alloc(r, capacity, sizeof *larger);
    if (dict->count) memcpy(larger, dict->entries, dict->count * sizeof *larger);
    dict->entries = larger;
    dict->capacity = capacity;
    if (capacity <= SMALL_DICT) return;
    dict->index = jinja_alloc(r, capacity * 2, sizeof *dict->index);
    dict->mask = capacity * 2 - 1;
    for (size_t i = 0; i < dict->count; i++) index_entry(dict, i);
}

void jdict_set(jrender *r, jdict *dict, jvalue key, jvalue value)
{
    uint64_t hash = jinja_hash(r, key);
    jentry *entry = find_entry(r, dict, key, hash);
    if (entry) {
        entry->value = value;
        return;
    }
    if (dict->count == dict->capacity) grow_dict(r, dict);
    dict->entries[dict->count] = (jentry){key, value, hash};
    if (dict->index) index_entry(dict, dict->count);
    dict->count++;
}

bool jdict_get(jrender *r, const jdict *dict, jvalue key, jvalue *value)
{
    const jentry *entry = find_entry(r, dict, key, jinja_hash(r, key));
    if (entry) *value = entry->value;
    return entry != NULL;
}

bool jdict_find(const jdict *dict, const jstring *key, jvalue *value)
{
    const jentry *entry = find_entry(NULL, dict, jstr(key), hash_bytes(key->data, key->length));
    if (entry) *value = entry->value;
    return entry != NULL;
}

// ---- kinds ----

const char *jinja_type_name(jvalue value)
{
    static const char *const names[] = {
        [J_MISSING] = "_MissingType",
        [J_UNDEFINED] = "Undefined",
        [J_NONE] = "NoneType",
        [J_BOOL] = "bool",
        [J_INT] = "int",
        [J_BIG] = "int",
        [J_FLOAT] = "float",
        [J_STRING] = "str",
        [J_LIST] = "list",
        [J_TUPLE] = "tuple",
        [J_DICT] = "dict",
        [J_RANGE] = "range",
        [J_MACRO] = "Macro",
        [J_LOOP] = "LoopContext",
        [J_NAMESPACE] = "TemplateNamespace",
        [J_CYCLER] = "Cycler",
        [J_JOINER] = "Joiner",
        [J_BLOCK] = "BlockReference",
        [J_SELF] = "TemplateReference",
    };
    static const char *const views[] = {
        [JVIEW_KEYS] = "dict_keys", [JVIEW_VALUES] = "dict_values", [JVIEW_ITEMS] = "dict_items"};
    switch (value.kind) {
    case J_STRING: return value.string->markup ? "Markup" : "str";
    case J_TUPLE: return value.list->is_group ? "_GroupTuple" : "tuple";
    case J_VIEW: return views[value.view->kind];
    case J_ITERATOR: return value.iterator->type;
    case J_FUNCTION: return value.function->type;
    case J_METHOD: return value.method->self.kind <= J_VIEW ? "builtin_function_or_method" : "method";
    default: return names[value.kind];
    }
}

const jstring *jinja_object_type(jrender *r, jvalue value)
{
    const char *module = "";
    if (value.kind == J_NONE) return JINJA_STRING("None");
    if (value.kind == J_UNDEFINED || value.kind == J_MACRO || value.kind == J_LOOP || value.kind == J_BLOCK ||
        value.kind == J_SELF)
        module = "jinja2.runtime.";
    if (value.kind == J_CYCLER || value.kind == J_JOINER) module = "jinja2.utils.";
    if (value.kind == J_NAMESPACE) module = "transformers.utils.chat_template_utils.";
    if (value.kind == J_FUNCTION && strcmp(value.function->type, "TemplateDict") == 0)
        module = "transformers.utils.chat_template_utils.";
    if (value.kind == J_STRING && value.string->markup) module = "markupsafe.";
    if (value.kind == J_TUPLE && value.list->is_group) module = "jinja2.filters.";
    size_t begin = jtext_begin(r);
    jtext_literal(r, module);
    jtext_literal(r, jinja_type_name(value));
    jtext_literal(r, " object");
    return jtext_end(r, begin).string;
}

bool jinja_truth(jrender *r, jvalue value)
{
    (void)r;
    switch (value.kind) {
    case J_UNDEFINED:
    case J_NONE: return false;
    case J_BOOL: return value.boolean;
    case J_INT: return value.integer != 0;
    case J_FLOAT: return value.real != 0;
    case J_STRING: return value.string->length != 0;
    case J_LIST:
    case J_TUPLE: return value.list->count != 0;
    case J_DICT: return value.dict->count != 0;
    case J_RANGE: return value.range->count != 0;
    case J_VIEW: return value.view->dict->count != 0;
    case J_LOOP: return jinja_length(r, value) != 0;
    default: return true;
    }
}

bool jinja_is_callable(jvalue value)
{
    switch (value.kind) {
    case J_UNDEFINED:
    case J_FUNCTION:
    case J_METHOD:
    case J_MACRO:
    case J_LOOP:
    case J_JOINER:
    case J_BLOCK: return true;
    default: return false;
    }
}

bool jinja_has_length(jvalue value)
{
    switch (value.kind) {
    case J_UNDEFINED:
    case J_STRING:
    case J_LIST:
    case J_TUPLE:
    case J_DICT:
    case J_RANGE:
    case J_VIEW:
    case J_LOOP: return true;
    default: return false;
    }
}

bool jinja_is_iterable(jvalue value)
{
    return jinja_has_length(value) || value.kind == J_ITERATOR || value.kind == J_SELF;
}

// ---- hashing ----

static uint64_t hash_integer(int64_t i)
{
    return hash_bytes(&i, sizeof i);
}

static uint64_t hash_double(double d)
{
    if (d == floor(d) && d >= -0x1p63 && d < 0x1p63) return hash_integer((int64_t)d);
    return hash_bytes(&d, sizeof d);
}

static uint64_t hash_pointer(const void *pointer)
{
    return hash_bytes(&pointer, sizeof pointer);
}

static uint64_t hash_range(const jrange *range)
{
    int64_t parts[3] = {(int64_t)range->count, range->count ? range->start : 0,
                        range->count > 1 ? range->step : 0};
    return hash_bytes(parts, sizeof parts);
}

bool jinja_is_hashable(jrender *r, jvalue value)
{
    bool hashable = true;
    if (value.kind == J_VIEW) return value.view->kind == JVIEW_VALUES;
    if (value.kind != J_TUPLE) return value.kind != J_LIST && value.kind != J_DICT;
    jinja_enter(r);
    for (size_t i = 0; i < value.list->count; i++) hashable &= jinja_is_hashable(r, value.list->items[i]);
    jinja_leave(r);
    return hashable;
}

uint64_t jinja_hash(jrender *r, jvalue value)
{
    uint64_t hash = 0x345678;
    switch (value.kind) {
    case J_UNDEFINED: return 1;
    case J_NONE: return 2;
    case J_BOOL:
    case J_INT: return hash_integer(jinteger(value));
    case J_FLOAT: return hash_double(value.real);
    case J_BIG:
    case J_STRING:
        jinja_pass_over(r, value.string->length);
        return hash_bytes(value.string->data, value.string->length);
    case J_TUPLE:
        jinja_enter(r);
        for (size_t i = 0; i < value.list->count; i++)
            hash = hash * 1000003 ^ jinja_hash(r, value.list->items[i]);
        jinja_leave(r);
        return hash;
    case J_RANGE: return hash_range(value.range);
    case J_LIST:
    case J_DICT: jinja_raise(r, "unhashable type: '%s'", jinja_type_name(value));
    case J_VIEW:
        if (value.view->kind != JVIEW_VALUES) jinja_raise(r, "unhashable type: '%s'", jinja_type_name(value));
        return hash_pointer(value.view);
    default: return hash_pointer(value.pointer);
    }
}

// ---- equality ----

static bool is_number(jvalue v)
{
    return v.kind == J_BOOL || v.kind == J_INT || v.kind == J_FLOAT || v.kind == J_BIG;
}

// Sign of a - b for an integer and a double that is not NaN, exactly.
static int compare_mixed(int64_t a, double b)
{
    if (b >= 0x1p63) return -1;
    if (b < -0x1p63) return 1;
    int64_t whole = (int64_t)b;
    if (a != whole) return a < whole ? -1 : 1;
    double rest = b - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}

static int compare_big(jvalue a, jvalue b)
{
    bool a_negative = a.string->data[0] == '-', b_negative = b.string->data[0] == '-';
    if (a_negative != b_negative) return a_negative ? -1 : 1;
    int order = a.string->length != b.string->length ? (a.string->length < b.string->length ? -1 : 1)
                                                     : jstring_compare(a.string, b.string);
    return a_negative ? -order : order;
}

// Good enough to compare: a big integer is beyond every 64-bit one, and beyond most doubles that templates
// hold.
static double big_to_double(jvalue big)
{
    return strtod(big.string->data, NULL);
}

// Sign of a - b of two numbers; 2 when one is NaN.
static int compare_numbers(jvalue a, jvalue b)
{
    if (a.kind == J_BIG && b.kind == J_BIG) return compare_big(a, b);
    if (a.kind == J_BIG) a = jfloat(big_to_double(a));
    if (b.kind == J_BIG) b = jfloat(big_to_double(b));
    if ((a.kind == J_FLOAT && isnan(a.real)) || (b.kind == J_FLOAT && isnan(b.real))) return 2;
    if (a.kind == J_FLOAT && b.kind == J_FLOAT) return (a.real > b.real) - (a.real < b.real);
    if (a.kind == J_FLOAT) return -compare_mixed(jinteger(b), a.real);
    if (b.kind == J_FLOAT) return compare_mixed(jinteger(a), b.real);
    int64_t x = jinteger(a), y = jinteger(b);
    return (x > y) - (x < y);
}

bool jinja_identical(jvalue a, jvalue b)
{
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case J_NONE:
    case J_MISSING: return true;
    case J_BOOL: return a.boolean == b.boolean;
    case J_INT: return a.integer == b.integer;
    case J_FLOAT: return a.real == b.real;
    case J_STRING: return a.string->markup == b.string->markup && jstring_equals(a.string, b.string);
    case J_LIST: return a.list == b.list;
    case J_TUPLE: return a.list == b.list || (!a.list->count && !b.list->count);
    default: return a.pointer == b.pointer;
    }
}

static bool same(jrender *r, jvalue a, jvalue b)
{
    return jinja_identical(a, b) || jinja_equal(r, a, b);
}

static bool equal_lists(jrender *r, const jlist *a, const jlist *b)
{
    if (a->count != b->count) return false;
    jinja_step(r, a->count);
    for (size_t i = 0; i < a->count; i++)
        if (!same(r, a->items[i], b->items[i])) return false;
    return true;
}

static bool equal_dicts(jrender *r, const jdict *a, const jdict *b)
{
    jvalue other;
    if (a->count != b->count) return false;
    jinja_step(r, a->count);
    for (size_t i = 0; i < a->count; i++) {
        const jentry *entry = find_entry(r, b, a->entries[i].key, a->entries[i].hash);
        if (!entry) return false;
        other = entry->value;
        if (!same(r, a->entries[i].value, other)) return false;
    }
    return true;
}

static bool equal_ranges(const jrange *a, const jrange *b)
{
    if (a->count != b->count) return false;
    return !a->count || (a->start == b->start && (a->count == 1 || a->step == b->step));
}

// Views of keys and items are sets.
static bool equal_views(jrender *r, const jview *a, const jview *b)
{
    if (a == b) return true;
    if (a->kind == JVIEW_VALUES || b->kind == JVIEW_VALUES || a->kind != b->kind ||
        a->dict->count != b->dict->count)
        return false;
    if (a->kind == JVIEW_ITEMS) return equal_dicts(r, a->dict, b->dict);
    for (size_t i = 0; i < a->dict->count; i++)
        if (!find_entry(r, b->dict, a->dict->entries[i].key, a->dict->entries[i].hash)) return false;
    return true;
}

bool jinja_equal(jrender *r, jvalue a, jvalue b)
{
    bool equal;
    if (is_number(a) && is_number(b)) return compare_numbers(a, b) == 0;
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case J_UNDEFINED:
    case J_NONE: return true;
    case J_STRING:
        if (r) jinja_pass_over(r, a.string->length);
        return jstring_equals(a.string, b.string);
    case J_LIST:
    case J_TUPLE:
    case J_DICT:
        if (r) jinja_enter(r), jinja_step(r, 1);
        equal = a.kind == J_DICT ? equal_dicts(r, a.dict, b.dict) : equal_lists(r, a.list, b.list);
        if (r) jinja_leave(r);
        return equal;
    case J_RANGE: return equal_ranges(a.range, b.range);
    case J_VIEW: return equal_views(r, a.view, b.view);
    case J_METHOD: return a.method->call == b.method->call && jinja_identical(a.method->self, b.method->self);
    default: return a.pointer == b.pointer;
    }
}

// ---- order ----

static bool accept(joperator op, int order)
{
    if (order == 2) return false; // NaN
    return op == JO_LT ? order < 0 : op == JO_LE ? order <= 0 : op == JO_GT ? order > 0 : order >= 0;
}

static bool compare_lists(jrender *r, joperator op, const jlist *a, const jlist *b)
{
    size_t i = 0;
    jinja_step(r, a->count);
    while (i < a->count && i < b->count && same(r, a->items[i], b->items[i])) i++;
    if (i == a->count || i == b->count) return accept(op, (a->count > b->count) - (a->count < b->count));
    return jinja_compare(r, op, a->items[i], b->items[i]);
}

static bool is_subset(jrender *r, const jview *a, const jview *b)
{
    for (size_t i = 0; i < a->dict->count; i++) {
        const jentry *mine = &a->dict->entries[i], *entry = find_entry(r, b->dict, mine->key, mine->hash);
        if (!entry || (a->kind == JVIEW_ITEMS && !same(r, mine->value, entry->value))) return false;
    }
    return true;
}

static bool compare_views(jrender *r, joperator op, const jview *a, const jview *b)
{
    if (op == JO_GT || op == JO_GE) return compare_views(r, op == JO_GT ? JO_LT : JO_LE, b, a);
    if (a->kind != b->kind) return a->dict->count == 0 && (op == JO_LE || b->dict->count);
    return is_subset(r, a, b) && (op == JO_LE || a->dict->count < b->dict->count);
}

bool jinja_compare(jrender *r, joperator op, jvalue a, jvalue b)
{
    static const char *const signs[] = {[JO_LT] = "<", [JO_LE] = "<=", [JO_GT] = ">", [JO_GE] = ">="};
    if (is_number(a) && is_number(b)) return accept(op, compare_numbers(a, b));
    if (a.kind == J_STRING) jinja_pass_over(r, a.string->length);
    if (a.kind == J_STRING && b.kind == J_STRING) return accept(op, jstring_compare(a.string, b.string));
    if (a.kind == b.kind && (a.kind == J_LIST || a.kind == J_TUPLE)) {
        jinja_enter(r);
        bool result = compare_lists(r, op, a.list, b.list);
        jinja_leave(r);
        return result;
    }
    if (a.kind == J_VIEW && b.kind == J_VIEW && a.view->kind != JVIEW_VALUES && b.view->kind != JVIEW_VALUES)
        return compare_views(r, op, a.view, b.view);
    if (a.kind == J_UNDEFINED) jinja_raise_undefined(r, a.undefined);
    if (b.kind == J_UNDEFINED) jinja_raise_undefined(r, b.undefined);
    jinja_raise(r, "'%s' not supported between instances of '%s' and '%s'", signs[op], jinja_type_name(a),
                jinja_type_name(b));
}

// ---- from JSON ----

static jvalue number_from_json(jrender *r, yyjson_val *json)
{
    if (yyjson_is_sint(json)) return jint(yyjson_get_sint(json));
    if (yyjson_is_real(json)) return jfloat(yyjson_get_real(json));
    uint64_t number = yyjson_get_uint(json);
    if (number <= INT64_MAX) return jint((int64_t)number);
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    jvalue big = jinja_string_copy(r, digits, (size_t)length);
    big.kind = J_BIG;
    return big;
}

// A number kept as text (YYJSON_READ_BIGNUM_AS_RAW).
static jvalue raw_from_json(jrender *r, yyjson_val *json)
{
    jvalue number = jinja_string_copy(r, yyjson_get_raw(json), yyjson_get_len(json));
    const char *text = number.string->data;
    if (strpbrk(text, ".eE")) return jfloat(strtod(text, NULL));
    errno = 0;
    long long small = strtoll(text, NULL, 10);
    if (!errno) return jint(small);
    number.kind = J_BIG;
    return number;
}

static jvalue container_from_json(jrender *r, yyjson_val *json)
{
    size_t i, count;
    yyjson_val *key, *item;
    jinja_enter(r);
    if (yyjson_is_arr(json)) {
        jlist *list = jlist_new(r, yyjson_arr_size(json));
        yyjson_arr_foreach(json, i, count, item) jlist_append(r, list, jinja_from_json(r, item));
        jinja_leave(r);
        return jinja_list(list);
    }
    jdict *dict = jdict_new(r);
    yyjson_obj_foreach(json, i, count, key, item) jdict_set(
        r, dict, jinja_string_of(r, yyjson_get_str(key), yyjson_get_len(key)), jinja_from_json(r, item));
    jinja_leave(r);
    return (jvalue){.kind = J_DICT, .dict = dict};
}

jvalue jinja_from_json(jrender *r, yyjson_val *json)
{
    switch (yyjson_get_type(json)) {
    case YYJSON_TYPE_BOOL: return jbool(yyjson_get_bool(json));
    case YYJSON_TYPE_NUM: return number_from_json(r, json);
    case YYJSON_TYPE_RAW: return raw_from_json(r, json);
    case YYJSON_TYPE_STR: return jinja_string_of(r, yyjson_get_str(json), yyjson_get_len(json));
    case YYJSON_TYPE_ARR:
    case YYJSON_TYPE_OBJ: return container_from_json(r, json);
    default: return jnone();
    }
}
