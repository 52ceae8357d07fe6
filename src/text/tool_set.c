// Tools by name, and a bounded subset of JSON schema.
#include "text/tool_set.h"
#include "base/mem.h"
#include "text/reply_literal.h"
#include <stdio.h>
#include <string.h>

typedef struct declared_tool {
    char *name;
    yyjson_doc *parameters; // NULL: none
} declared_tool;

struct tool_set {
    declared_tool *tools;
    int count;
};

enum { MAX_SCHEMA_DEPTH = 100, MAX_SCHEMA_STEPS = 100000 };

void tool_set_free(tool_set *set)
{
    if (!set) return;
    for (int i = 0; i < set->count; i++) {
        mem_free(set->tools[i].name);
        json_free(set->tools[i].parameters);
    }
    mem_free(set->tools);
    mem_free(set);
}

llm_status tool_set_create(const llm_tool *tools, int num_tools, tool_set **out, llm_error *err)
{
    tool_set *set = *out = mem_alloc_zero(1, sizeof *set);
    if (set) set->tools = mem_alloc_zero((size_t)num_tools + 1, sizeof *set->tools);
    llm_status status = set && set->tools ? LLM_OK : error_no_memory(err, "the tools");
    for (int i = 0; i < num_tools && status == LLM_OK; i++) {
        declared_tool *tool = &set->tools[set->count++];
        const char *parameters = tools[i].parameters;
        if (!(tool->name = mem_copy_string(tools[i].name))) status = error_no_memory(err, "the tools");
        else if (parameters) status = json_read(parameters, strlen(parameters), tools[i].name, &tool->parameters, err);
    }
    if (status == LLM_OK) return LLM_OK;
    tool_set_free(set);
    *out = NULL;
    return status;
}

int tool_set_find(const tool_set *set, const char *name, size_t length)
{
    for (int i = 0; i < set->count; i++)
        if (strlen(set->tools[i].name) == length && memcmp(set->tools[i].name, name, length) == 0) return i;
    return -1;
}

bool tool_set_is_named(const tool_set *set, const char *text, size_t length)
{
    for (int i = 0; i < set->count; i++)
        if (memmem(text, length, set->tools[i].name, strlen(set->tools[i].name))) return true;
    return false;
}

static yyjson_val *schema_of(const tool_set *set, int tool) { return yyjson_doc_get_root(set->tools[tool].parameters); }

yyjson_val *tool_set_argument(const tool_set *set, int tool, const char *name, size_t length)
{
    return yyjson_obj_getn(yyjson_obj_get(schema_of(set, tool), "properties"), name, length);
}

void tool_set_append_json(buf *out, const llm_tool *tools, int num_tools)
{
    buf_append_char(out, '[');
    for (int i = 0; i < num_tools; i++) {
        const llm_tool *tool = &tools[i];
        const char *description = tool->description ? tool->description : "";
        buf_append_string(out, i > 0 ? ",{\"type\":\"function\",\"function\":{\"name\":" : "{\"type\":\"function\",\"function\":{\"name\":");
        buf_append_json_string(out, tool->name, strlen(tool->name));
        buf_append_string(out, ",\"description\":");
        buf_append_json_string(out, description, strlen(description));
        buf_append_string(out, ",\"parameters\":");
        buf_append_string(out, tool->parameters ? tool->parameters : "{\"type\":\"object\",\"properties\":{}}");
        buf_append_string(out, "}}");
    }
    buf_append_char(out, ']');
}

// ---- Types ------------------------------------------------------------------------------------------------

static bool is_whole(yyjson_val *value)
{
    double real = yyjson_get_real(value);
    return yyjson_is_int(value) || (yyjson_is_real(value) && real > -9e15 && real < 9e15 && real == (double)(int64_t)real);
}

// A type that is not JSON schema's fits everything.
static bool is_of_type(yyjson_val *value, const char *type)
{
    if (!strcmp(type, "string")) return yyjson_is_str(value);
    if (!strcmp(type, "integer")) return is_whole(value);
    if (!strcmp(type, "number")) return yyjson_is_num(value);
    if (!strcmp(type, "boolean")) return yyjson_is_bool(value);
    if (!strcmp(type, "object")) return yyjson_is_obj(value);
    if (!strcmp(type, "array")) return yyjson_is_arr(value);
    if (!strcmp(type, "null")) return yyjson_is_null(value);
    return true;
}

// ---- Checking ---------------------------------------------------------------------------------------------

typedef struct schema_check {
    char *why;
    size_t size;
    const char *name; // of the place: a member's, "" for the call itself
    size_t name_length;
    int steps, depth;
} schema_check;

static bool fits(schema_check *c, yyjson_val *schema, yyjson_val *value);

static bool misfit(schema_check *c, const char *what, const char *detail)
{
    int length = c->name_length > 60 ? 60 : (int)c->name_length;
    if (length > 0) snprintf(c->why, c->size, "\"%.*s\" %s%.200s", length, c->name, what, detail);
    else snprintf(c->why, c->size, "the call %s%.200s", what, detail);
    return false;
}

static bool fits_type(schema_check *c, yyjson_val *type, yyjson_val *value)
{
    size_t i, count;
    yyjson_val *one;
    if (yyjson_is_str(type) && !is_of_type(value, yyjson_get_str(type))) {
        char detail[80];
        snprintf(detail, sizeof detail, "%.30s, not %s", yyjson_get_str(type), yyjson_get_type_desc(value));
        return misfit(c, "must be of type ", detail);
    }
    if (!yyjson_is_arr(type)) return true;
    yyjson_arr_foreach(type, i, count, one)
    {
        if (!yyjson_is_str(one) || is_of_type(value, yyjson_get_str(one))) return true;
    }
    return misfit(c, "is of none of the types that it may be", "");
}

static bool fits_enum(schema_check *c, yyjson_val *values, yyjson_val *value)
{
    size_t i, count;
    yyjson_val *one;
    buf list = {.limit = 200};
    if (!yyjson_is_arr(values)) return true;
    yyjson_arr_foreach(values, i, count, one)
    {
        if (yyjson_equals(one, value)) return true;
    }
    yyjson_arr_foreach(values, i, count, one)
    {
        if (i > 0) buf_append_string(&list, ", ");
        json_append(&list, one);
    }
    misfit(c, "must be one of ", list.data && !list.failed ? list.data : "the values that the schema lists");
    buf_free(&list);
    return false;
}

static bool fits_bounds(schema_check *c, yyjson_val *schema, yyjson_val *value)
{
    static const struct bound {
        const char *name, *what;
        bool (*applies)(yyjson_val *);
        bool upper;
    } bounds[] = {
        {"minimum", "must be at least ", yyjson_is_num, false},  {"maximum", "must be at most ", yyjson_is_num, true},
        {"minItems", "must have at least so many items: ", yyjson_is_arr, false},
        {"maxItems", "must have at most so many items: ", yyjson_is_arr, true},
        {"minLength", "must have at least so many characters: ", yyjson_is_str, false},
        {"maxLength", "must have at most so many characters: ", yyjson_is_str, true},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        yyjson_val *limit = yyjson_obj_get(schema, bounds[i].name);
        if (!yyjson_is_num(limit) || !bounds[i].applies(value)) continue;
        double amount = yyjson_is_num(value) ? yyjson_get_num(value) : (double)yyjson_arr_size(value);
        if (yyjson_is_str(value)) {
            const char *text = yyjson_get_str(value);
            amount = 0;
            for (size_t k = 0; k < yyjson_get_len(value); k++) amount += (text[k] & 0xC0) != 0x80;
        }
        char detail[40];
        snprintf(detail, sizeof detail, "%g", yyjson_get_num(limit));
        bool inside = bounds[i].upper ? amount <= yyjson_get_num(limit) : amount >= yyjson_get_num(limit);
        if (!inside) return misfit(c, bounds[i].what, detail);
    }
    return true;
}

static bool fits_member(schema_check *c, yyjson_val *schema, yyjson_val *key, yyjson_val *value)
{
    schema_check outer = *c;
    c->name = yyjson_get_str(key);
    c->name_length = yyjson_get_len(key);
    bool fit = fits(c, schema, value);
    c->name = outer.name;
    c->name_length = outer.name_length;
    return fit;
}

static bool fits_object(schema_check *c, yyjson_val *schema, yyjson_val *object)
{
    size_t i, count;
    yyjson_val *key, *value, *one, *properties = yyjson_obj_get(schema, "properties"), *more = yyjson_obj_get(schema, "additionalProperties");
    yyjson_val *required = yyjson_obj_get(schema, "required");
    char detail[80];
    yyjson_arr_foreach(required, i, count, one)
    {
        if (!yyjson_is_str(one) || yyjson_obj_getn(object, yyjson_get_str(one), yyjson_get_len(one))) continue;
        snprintf(detail, sizeof detail, "\"%.60s\"", yyjson_get_str(one));
        return misfit(c, "lacks ", detail);
    }
    yyjson_obj_foreach(object, i, count, key, value)
    {
        yyjson_val *declared = yyjson_obj_getn(properties, yyjson_get_str(key), yyjson_get_len(key));
        if (!declared && yyjson_is_false(more)) {
            snprintf(detail, sizeof detail, "\"%.60s\"", yyjson_get_str(key));
            return misfit(c, "has a member that is not declared: ", detail);
        }
        if (!fits_member(c, declared ? declared : more, key, value)) return false;
    }
    return true;
}

static bool fits_items(schema_check *c, yyjson_val *items, yyjson_val *array)
{
    size_t i, count;
    yyjson_val *one;
    if (!yyjson_is_obj(items)) return true;
    yyjson_arr_foreach(array, i, count, one)
    {
        if (!fits(c, items, one)) return false;
    }
    return true;
}

static bool fits_one_of(schema_check *c, yyjson_val *schemas, yyjson_val *value)
{
    size_t i, count;
    yyjson_val *one;
    if (!yyjson_is_arr(schemas) || yyjson_arr_size(schemas) == 0) return true;
    yyjson_arr_foreach(schemas, i, count, one)
    {
        if (fits(c, one, value)) return true;
    }
    return misfit(c, "fits none of the forms that it may have", "");
}

static bool fits_all_of(schema_check *c, yyjson_val *schemas, yyjson_val *value)
{
    size_t i, count;
    yyjson_val *one;
    yyjson_arr_foreach(schemas, i, count, one)
    {
        if (!fits(c, one, value)) return false;
    }
    return true;
}

// The application's schema may be as large as it likes: beyond the bounds everything is accepted.
static bool fits(schema_check *c, yyjson_val *schema, yyjson_val *value)
{
    if (!yyjson_is_obj(schema) || ++c->steps > MAX_SCHEMA_STEPS || c->depth >= MAX_SCHEMA_DEPTH) return true;
    c->depth++;
    yyjson_val *constant = yyjson_obj_get(schema, "const");
    bool fit = fits_type(c, yyjson_obj_get(schema, "type"), value) && fits_enum(c, yyjson_obj_get(schema, "enum"), value) &&
               (!constant || yyjson_equals(constant, value) || misfit(c, "is not the only value that it may be", "")) &&
               fits_bounds(c, schema, value) && (!yyjson_is_obj(value) || fits_object(c, schema, value)) &&
               (!yyjson_is_arr(value) || fits_items(c, yyjson_obj_get(schema, "items"), value)) &&
               fits_one_of(c, yyjson_obj_get(schema, "anyOf"), value) && fits_one_of(c, yyjson_obj_get(schema, "oneOf"), value) &&
               fits_all_of(c, yyjson_obj_get(schema, "allOf"), value);
    c->depth--;
    return fit;
}

bool tool_set_check(const tool_set *set, int tool, yyjson_val *arguments, char *why, size_t size)
{
    schema_check c = {.why = why, .size = size, .name = ""};
    if (!yyjson_is_obj(arguments)) return misfit(&c, "must have an object of arguments, not ", yyjson_get_type_desc(arguments));
    return fits(&c, schema_of(set, tool), arguments);
}

// ---- Bare text --------------------------------------------------------------------------------------------

static bool may_be(yyjson_val *schema, const char *type, int depth)
{
    static const char *const choices[] = {"anyOf", "oneOf", "allOf"};
    size_t i, count;
    yyjson_val *one, *declared = yyjson_obj_get(schema, "type");
    if (yyjson_equals_str(declared, type)) return true;
    yyjson_arr_foreach(declared, i, count, one)
    {
        if (yyjson_equals_str(one, type)) return true;
    }
    yyjson_arr_foreach(yyjson_obj_get(schema, "enum"), i, count, one)
    {
        if (!declared && is_of_type(one, type)) return true;
    }
    for (size_t k = 0; k < 3 && depth < 8; k++)
        yyjson_arr_foreach(yyjson_obj_get(schema, choices[k]), i, count, one)
        {
            if (may_be(one, type, depth + 1)) return true;
        }
    return false;
}

// Whether the schema says anything of types.
static bool is_typed(yyjson_val *schema)
{
    static const char *const types[] = {"string", "integer", "number", "boolean", "object", "array", "null"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (may_be(schema, types[i], 0)) return true;
    return false;
}

// The value as JSON, and what it is; false: the text is no value.
static bool read_value(const char *text, size_t length, buf *json)
{
    literal_reader r = {.text = text, .length = length, .out = json};
    literal_result result = literal_read(&r);
    literal_skip_space(&r);
    buf_free(&r.scratch);
    return result == LITERAL_READ && r.at == length && json->length > 0;
}

static bool is_wanted(yyjson_val *schema, const char *json)
{
    bool number = strchr("-0123456789", *json);
    if (number) return may_be(schema, "number", 0) || may_be(schema, "integer", 0);
    return may_be(schema, *json == '{' ? "object" : *json == '[' ? "array" : *json == 'n' ? "null" : *json == '"' ? "" : "boolean", 0);
}

void tool_value_append(buf *out, yyjson_val *schema, const char *text, size_t length)
{
    buf json = {0};
    bool string = may_be(schema, "string", 0), is_value = read_value(text, length, &json);
    // A type that is not met is left for the check to complain of: as the value if it is one.
    bool as_value = is_value && (!is_typed(schema) ? *json.data != '"' || *text == '"' : is_wanted(schema, json.data) || !string);
    if (as_value) buf_append(out, json.data, json.length);
    else buf_append_json_string(out, text, length);
    if (json.failed) out->failed = true;
    buf_free(&json);
}
