// Global functions.
#include "text/jinja_builtin.h"
#include "text/jinja_render.h"
#include <string.h>
#include <time.h>

#define LOCALS "_cached_compile_jinja_template.<locals>."

static jvalue call_raise_exception(jrender *r, jvalue self, const jarguments *a)
{
    jvalue message;
    (void)self;
    jinja_bind(r, LOCALS "raise_exception", "message", 1, 0, a, &message);
    jinja_raise_text(r, jinja_str(r, message));
}

// ---- range ----

static size_t range_count(int64_t start, int64_t stop, int64_t step)
{
    __int128 distance = step > 0 ? (__int128)stop - start : (__int128)start - stop,
             stride = step > 0 ? step : -(__int128)step;
    if (distance <= 0) return 0;
    __int128 count = (distance - 1) / stride + 1;
    return count > INT64_MAX ? INT64_MAX : (size_t)count;
}

static jvalue call_range(jrender *r, jvalue self, const jarguments *a)
{
    enum { MAX_RANGE = 100000 };
    int64_t bounds[3] = {0, 0, 1};
    (void)self;
    if (a->num_keywords)
        jinja_raise(r, "safe_range() got an unexpected keyword argument '%.*s'", JFMT(a->keywords[0].name));
    if (a->count < 1) jinja_raise(r, "range expected at least 1 argument, got 0");
    if (a->count > 3) jinja_raise(r, "range expected at most 3 arguments, got %zu", a->count);
    for (size_t i = 0; i < a->count; i++)
        bounds[a->count == 1 ? 1 : i] =
            jinja_index(r, a->items[i], "'%s' object cannot be interpreted as an integer");
    if (bounds[2] == 0) jinja_raise(r, "range() arg 3 must not be zero");
    jrange *range = jinja_alloc(r, 1, sizeof *range);
    *range = (jrange){bounds[0], bounds[1], bounds[2], range_count(bounds[0], bounds[1], bounds[2])};
    if (range->count > MAX_RANGE)
        jinja_raise(r, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", MAX_RANGE);
    return (jvalue){.kind = J_RANGE, .range = range};
}

// ---- dict and namespace ----

static void add_pairs(jrender *r, jdict *dict, jvalue source)
{
    jiterator it;
    jvalue item;
    if (source.kind == J_UNDEFINED) jinja_raise_undefined(r, source.undefined);
    if (source.kind == J_DICT) {
        for (size_t i = 0; i < source.dict->count; i++)
            jdict_set(r, dict, source.dict->entries[i].key, source.dict->entries[i].value);
        return;
    }
    jiterator_begin(r, source, &it);
    for (size_t number = 0; jiterator_next(r, &it, &item); number++) {
        if (!jinja_is_iterable(item))
            jinja_raise(r, "cannot convert dictionary update sequence element #%zu to a sequence", number);
        const jlist *pair = jinja_collect(r, item);
        if (pair->count != 2)
            jinja_raise(r, "dictionary update sequence element #%zu has length %zu; 2 is required", number,
                        pair->count);
        jdict_set(r, dict, pair->items[0], pair->items[1]);
    }
}

static jdict *new_dict(jrender *r, const jarguments *a)
{
    jdict *dict = jdict_new(r);
    if (a->count > 1) jinja_raise(r, "dict expected at most 1 argument, got %zu", a->count);
    if (a->count) add_pairs(r, dict, a->items[0]);
    for (size_t i = 0; i < a->num_keywords; i++)
        jdict_set(r, dict, jstr(a->keywords[i].name), a->keywords[i].value);
    return dict;
}

static jvalue call_dict(jrender *r, jvalue self, const jarguments *a)
{
    (void)self;
    return (jvalue){.kind = J_DICT, .dict = new_dict(r, a)};
}

static jvalue call_namespace(jrender *r, jvalue self, const jarguments *a)
{
    (void)self;
    jdict *dict = new_dict(r, a);
    for (size_t i = 0; i < dict->count; i++) {
        jvalue key = dict->entries[i].key;
        if (key.kind == J_STRING && key.string->length && key.string->data[0] == '_')
            jinja_raise(r,
                        "Chat templates cannot store underscore-prefixed attributes on a namespace, but got "
                        "%.*s. Please rename the attribute.",
                        JFMT(jinja_repr(r, key)));
    }
    return (jvalue){.kind = J_NAMESPACE, .dict = dict};
}

// ---- cycler, joiner, lipsum ----

static jvalue call_cycler(jrender *r, jvalue self, const jarguments *a)
{
    (void)self;
    if (a->num_keywords)
        jinja_raise(r, "Cycler.__init__() got an unexpected keyword argument '%.*s'",
                    JFMT(a->keywords[0].name));
    if (!a->count) jinja_raise(r, "at least one item has to be provided");
    jcycler *cycler = jinja_alloc(r, 1, sizeof *cycler);
    cycler->items = jlist_new(r, a->count);
    for (size_t i = 0; i < a->count; i++) jlist_append(r, cycler->items, a->items[i]);
    return (jvalue){.kind = J_CYCLER, .cycler = cycler};
}

static jvalue call_joiner(jrender *r, jvalue self, const jarguments *a)
{
    jvalue separator;
    (void)self;
    jinja_bind(r, "Joiner.__init__", "sep", 0, 1, a, &separator);
    jjoiner *joiner = jinja_alloc(r, 1, sizeof *joiner);
    joiner->separator = separator.kind == J_MISSING ? jstr(JINJA_STRING(", ")) : separator;
    return (jvalue){.kind = J_JOINER, .joiner = joiner};
}

static jvalue call_lipsum(jrender *r, jvalue self, const jarguments *a)
{
    (void)self, (void)a;
    jinja_raise(r, "the function lipsum is not supported: prompts are reproducible");
}

// ---- strftime_now ----

// Fields that Python fills itself: microseconds, and the time zone, which a naive time does not have.
static const jstring *python_fields(jrender *r, const jstring *format, long microseconds)
{
    size_t begin = jtext_begin(r);
    for (size_t i = 0; i < format->length; i++) {
        char c = format->data[i], next = i + 1 < format->length ? format->data[i + 1] : 0;
        if (c == '%' && next == 'f')
            buf_printf(&r->text, "%06ld", microseconds);
        else if (c == '%' && (next == 'z' || next == 'Z'))
            buf_append(&r->text, "", 0);
        else if (c == '%' && next)
            jtext_add(r, format->data + i, 2);
        else
            jtext_add(r, &c, 1);
        i += c == '%' && next;
    }
    return jtext_end(r, begin).string;
}

static jvalue call_strftime_now(jrender *r, jvalue self, const jarguments *a)
{
    jvalue format;
    struct timespec now = {.tv_sec = (time_t)r->options.now};
    struct tm fields;
    (void)self;
    jinja_bind(r, LOCALS "strftime_now", "format", 1, 0, a, &format);
    if (format.kind != J_STRING)
        jinja_raise(r, "strftime() argument 1 must be str, not %s", jinja_type_name(format));
    if (r->options.now < 0) clock_gettime(CLOCK_REALTIME, &now);
    if (!(r->options.now_is_utc ? gmtime_r(&now.tv_sec, &fields) : localtime_r(&now.tv_sec, &fields)))
        jinja_raise(r, "the time %lld is out of range", (long long)now.tv_sec);
    const jstring *pattern =
        jinja_concat(r, python_fields(r, format.string, now.tv_nsec / 1000), JINJA_STRING(" ")).string;
    for (size_t capacity = pattern->length * 16 + 64;;
         capacity *= 2) { // the final blank tells an empty result from a failure
        char *text = jinja_alloc(r, capacity, 1);
        size_t length = strftime(text, capacity, pattern->data, &fields);
        if (length) return jinja_string_of(r, text, length - 1);
        if (capacity > pattern->length * 512 + 65536) jinja_raise(r, "strftime() gave no text");
    }
}

static const jfunction functions[] = {
    {"range", "<function safe_range>", "function", call_range},
    {"dict", "<TemplateDict object>", "TemplateDict", call_dict},
    {"namespace", "<class 'TemplateNamespace'>", "type", call_namespace},
    {"cycler", "<class 'jinja2.utils.Cycler'>", "type", call_cycler},
    {"joiner", "<class 'jinja2.utils.Joiner'>", "type", call_joiner},
    {"lipsum", "<function generate_lorem_ipsum>", "function", call_lipsum},
    {"raise_exception", "<function raise_exception>", "function", call_raise_exception},
    {"strftime_now", "<function strftime_now>", "function", call_strftime_now},
};

jvalue jinja_global(const jstring *name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (jstring_is(name, functions[i].name))
            return (jvalue){.kind = J_FUNCTION, .function = &functions[i]};
    return jmissing();
}
