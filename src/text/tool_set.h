// The tools an application declares: their names and schemas, and whether arguments fit them.
#ifndef TEXT_TOOL_SET_H
#define TEXT_TOOL_SET_H
#include "base/buf.h"
#include "base/json.h"

typedef struct tool_set tool_set; // immutable

// Copies what it needs. The parameters must be JSON objects, as the client layer has checked.
llm_status tool_set_create(const llm_tool *tools, int num_tools, tool_set **out, llm_error *err);
void tool_set_free(tool_set *set); // tool_set_free(NULL) does nothing

int tool_set_find(const tool_set *set, const char *name, size_t length); // -1: there is no such tool
bool tool_set_is_named(const tool_set *set, const char *text, size_t length); // the text holds a tool's name
// The schema of one argument; NULL: none is declared.
yyjson_val *tool_set_argument(const tool_set *set, int tool, const char *name, size_t length);

// Whether the arguments fit the tool's schema. Known are type, enum, const, properties, required,
// additionalProperties, items, anyOf, oneOf, allOf and the bounds minimum, maximum, minItems, maxItems, minLength and
// maxLength; everything else is accepted. When they do not fit, `why` names the place and the reason.
bool tool_set_check(const tool_set *set, int tool, yyjson_val *arguments, char *why, size_t size);

// Appends as JSON what a model wrote as bare text: of the type that the schema asks for, if the text can be read so;
// without a schema the JSON value that it is, else a string.
void tool_value_append(buf *out, yyjson_val *schema, const char *text, size_t length);

// Appends [{"type":"function","function":{"name",…}}], as chat templates expect it.
void tool_set_append_json(buf *out, const llm_tool *tools, int num_tools);

#endif
