// Filters and tests: tables of functions with Python's signatures.
#ifndef TEXT_JINJA_BUILTIN_H
#define TEXT_JINJA_BUILTIN_H
#include "text/jinja_value.h"

enum { JBUILTIN_MAX_PARAMETERS = 8 };

typedef struct jbuiltin {
    const char *name;
    const char *python;     // the function's name in messages about arguments
    const char *parameters; // names, separated by spaces; the first is the value. NULL: takes whatever comes
    uint8_t required;       // how many must be given
    uint8_t hidden;         // arguments before them that the template does not see (they count in messages)
    jvalue (*call)(jrender *r, jvalue *arguments); // one a parameter, J_MISSING: not given
    jvalue (*call_any)(jrender *r, jvalue value, const jarguments *arguments);
} jbuiltin;

// Rows of the tables: a function with parameters, and one that takes whatever comes.
#define JINJA_BUILTIN(name, python, parameters, required, hidden, function)                                  \
    {                                                                                                        \
        name, python, parameters, required, hidden, function, NULL                                           \
    }
#define JINJA_BUILTIN_ANY(name, python, function)                                                            \
    {                                                                                                        \
        name, python, NULL, 0, 0, NULL, function                                                             \
    }

const jbuiltin *jinja_find_filter(const jstring *name);
const jbuiltin *jinja_find_test(const jstring *name);
jvalue jinja_call_builtin(jrender *r, const jbuiltin *builtin, jvalue value, const jarguments *arguments);

// Puts arguments in the order of parameters (a Python function's), J_MISSING where none was given.
void jinja_bind(jrender *r, const char *python, const char *parameters, size_t required, size_t hidden,
                const jarguments *arguments, jvalue *bound);

extern const jbuiltin jinja_text_filters[], jinja_sequence_filters[],
    jinja_value_filters[]; // end with a NULL name

// Filters in files of their own.
jvalue jinja_filter_batch(jrender *r, jvalue *arguments);
jvalue jinja_filter_items(jrender *r, jvalue *arguments);
jvalue jinja_filter_slice(jrender *r, jvalue *arguments);
jvalue jinja_filter_wordwrap(jrender *r, jvalue *arguments);

#endif
