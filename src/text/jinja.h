// Jinja2 templates as Hugging Face's transformers configures them for chat templates: immutable sandbox,
// trim_blocks, lstrip_blocks, break/continue, {% generation %}, raise_exception, strftime_now, plain tojson.
// Output and error messages are those of Jinja2 3.1 under Python 3.11, byte for byte. Not there, each refused
// by name: a loader (include, import, extends), what is random or of no use in a prompt (random, lipsum,
// urlize, str.encode, str.translate, \N escapes), pprint over several lines, autoescape by a variable.
// Integers have 64 bits and arithmetic that overflows is an error; larger ones from the caller can be printed
// and compared.
#ifndef TEXT_JINJA_H
#define TEXT_JINJA_H
#include "base/buf.h"
#include "base/json.h"

typedef struct jinja_template
    jinja_template; // immutable once parsed: any number of threads may render it at once

// Bounds of one render. Passing one is LLM_TEMPLATE_ERROR with a message that names it.
typedef struct jinja_options {
    int64_t now;        // seconds since 1970 for strftime_now; negative: the clock
    bool now_is_utc;    // strftime_now shows UTC instead of local time (tests)
    uint64_t max_steps; // nodes evaluated and items produced
    size_t max_output;  // bytes
    size_t max_memory;  // bytes of values alive during the render, output not counted
} jinja_options;

void jinja_options_init(
    jinja_options *options); // the clock, 200 million steps, 64 MB of output, 256 MB of values

// Parses `source` (copied). A syntax error is LLM_TEMPLATE_ERROR with Jinja2's message, prefixed by "line N:
// ".
llm_status jinja_parse(const char *source, size_t length, jinja_template **tmpl, llm_error *err);
void jinja_template_free(jinja_template *tmpl); // NULL is fine

// Appends the rendered text to `out`. `context` is an object (or NULL: empty) whose members are the
// template's variables; it is only read. On an error, LLM_TEMPLATE_ERROR with the exception's message as
// Python's str() gives it, `out` is back at its length before the call. `options` NULL: the defaults.
llm_status jinja_render(const jinja_template *tmpl, yyjson_val *context, const jinja_options *options,
                        buf *out, llm_error *err);

#endif
