// JSON documents, read by yyjson (included here, so that readers can walk values directly) and typed access
// with errors that name the key. Reading is iterative: nesting costs no stack.
#ifndef BASE_JSON_H
#define BASE_JSON_H
#include "base/buf.h"
#include "base/error.h"
#include <yyjson.h>

// A document owns its values; json_free ends them all. `name` (a path) is for error messages.
llm_status json_read_file(const char *path, size_t limit, yyjson_doc **doc, llm_error *err);
llm_status json_read(const char *text, size_t length, const char *name, yyjson_doc **doc, llm_error *err);
// What stands between the braces of `text`, which must have been read as an object; *length is 0 for an empty one.
// Lets objects be joined as text, which costs no stack however deep they nest. Borrows.
const char *json_members(const char *text, size_t *length);
bool json_append(buf *out, yyjson_val *value); // as text without white space; false (and out->failed) without memory
void json_free(yyjson_doc *doc); // json_free(NULL) does nothing

// Optional members of an object: absent or null gives the default; another type is LLM_LOAD_FAILED naming the
// key. `object` may be NULL (everything absent).
llm_status json_get_bool(yyjson_val *object, const char *key, bool fallback, bool *value, llm_error *err);
llm_status json_get_int(yyjson_val *object, const char *key, int64_t fallback, int64_t *value, llm_error *err);
llm_status json_get_double(yyjson_val *object, const char *key, double fallback, double *value, llm_error *err);
llm_status json_get_string(yyjson_val *object, const char *key, const char *fallback, const char **value, llm_error *err); // borrows
llm_status json_get_object(yyjson_val *object, const char *key, yyjson_val **value, llm_error *err); // NULL when absent
llm_status json_get_array(yyjson_val *object, const char *key, yyjson_val **value, llm_error *err);  // NULL when absent

#endif
