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

#endif
