// Tables of methods, and checks of their arguments.
#ifndef TEXT_JINJA_METHODS_H
#define TEXT_JINJA_METHODS_H
#include "text/jinja_value.h"

typedef struct jmethod_row {
    const char *name;
    jcallback call;
} jmethod_row;

extern const jmethod_row jmethods_of_string[]; // ends with a NULL name

// Each fails with the message of Python's C functions; `type` is the type's name.
void jmethod_no_keywords(jrender *r, const char *type, const char *name, const jarguments *arguments);
void jmethod_none(jrender *r, const char *type, const char *name, const jarguments *arguments);
jvalue jmethod_one(jrender *r, const char *type, const char *name, const jarguments *arguments);
void jmethod_between(jrender *r, const char *type, const char *name, const jarguments *arguments,
                     size_t least, size_t most);
// Functions that take keywords: at most two parameters; `second` NULL: one. J_MISSING where none was given.
void jmethod_keyworded(jrender *r, const char *name, const jarguments *arguments, const char *first,
                       const char *second, jvalue bound[2]);
int64_t jmethod_integer(jrender *r, jvalue value);
const jstring *jmethod_string(jrender *r, jvalue value, const char *message); // message: with %s for the type

const char *jmethod_find_last(jrender *r, const char *data, size_t length, const jstring *sub); // NULL: none

// Of strings, in a file of their own.
jvalue jmethod_str_split(jrender *r, jvalue self, const jarguments *arguments);
jvalue jmethod_str_rsplit(jrender *r, jvalue self, const jarguments *arguments);
jvalue jmethod_str_splitlines(jrender *r, jvalue self, const jarguments *arguments);
jvalue jmethod_str_partition(jrender *r, jvalue self, const jarguments *arguments);
jvalue jmethod_str_rpartition(jrender *r, jvalue self, const jarguments *arguments);
jvalue jmethod_str_join(jrender *r, jvalue self, const jarguments *arguments);

#endif
