// Tools as people write them in files: the JSON array of chat completion requests.
#include "base/json.h"
#include "base/mem.h"
#include <string.h>

// Appends a text with its NUL. *at: 1 behind where it begins, 0: there is none.
static void keep_text(buf *texts, const char *text, size_t *at)
{
    *at = text ? texts->length + 1 : 0;
    if (!text) return;
    buf_append_string(texts, text);
    buf_append_char(texts, 0);
}

static llm_status read_tool(yyjson_val *tool, size_t index, buf *texts, size_t at[3], llm_error *err)
{
    buf schema = {0};
    yyjson_val *function = yyjson_obj_get(tool, "function");
    if (yyjson_is_obj(function)) tool = function;
    yyjson_val *name = yyjson_obj_get(tool, "name"), *parameters = yyjson_obj_get(tool, "parameters");
    if (!yyjson_is_str(name) || yyjson_get_len(name) == 0)
        return error_set(err, LLM_INVALID_ARGUMENT, "tool %zu has no name", index + 1);
    if (parameters && !yyjson_is_obj(parameters) && !yyjson_is_null(parameters))
        return error_set(err, LLM_INVALID_ARGUMENT, "the parameters of tool \"%s\" must be a JSON object", yyjson_get_str(name));
    if (yyjson_is_obj(parameters)) json_append(&schema, parameters);
    keep_text(texts, yyjson_get_str(name), &at[0]);
    keep_text(texts, yyjson_get_str(yyjson_obj_get(tool, "description")), &at[1]);
    keep_text(texts, schema.data, &at[2]);
    bool failed = texts->failed || schema.failed;
    buf_free(&schema);
    return failed ? error_no_memory(err, "the tools") : LLM_OK;
}

// The array, and behind it the texts.
static llm_tool *join(const size_t (*at)[3], size_t count, const buf *texts)
{
    llm_tool *tools = mem_alloc_zero(1, count * sizeof *tools + texts->length + 1);
    if (!tools) return NULL;
    char *begin = (char *)(tools + count);
    if (texts->length) memcpy(begin, texts->data, texts->length);
    for (size_t i = 0; i < count; i++) {
        tools[i].name = begin + at[i][0] - 1;
        tools[i].description = at[i][1] ? begin + at[i][1] - 1 : NULL;
        tools[i].parameters = at[i][2] ? begin + at[i][2] - 1 : NULL;
    }
    return tools;
}

static llm_tool *read_tools(yyjson_val *array, int *num_tools, llm_error *err)
{
    buf texts = {0};
    size_t i, count, total = yyjson_arr_size(array);
    yyjson_val *tool;
    llm_tool *tools = NULL;
    size_t(*at)[3] = mem_alloc_zero(total + 1, sizeof *at);
    llm_status status = at ? LLM_OK : error_no_memory(err, "the tools");
    yyjson_arr_foreach(array, i, count, tool)
    {
        if (status == LLM_OK) status = read_tool(tool, i, &texts, at[i], err);
    }
    if (status == LLM_OK && !(tools = join(at, total, &texts))) error_no_memory(err, "the tools");
    if (tools) *num_tools = (int)total;
    buf_free(&texts);
    mem_free(at);
    return tools;
}

llm_tool *llm_tools_from_json_copy(const char *json, int *num_tools, llm_error *err)
{
    yyjson_doc *doc;
    llm_tool *tools = NULL;
    if (!json || !num_tools) return error_set(err, LLM_INVALID_ARGUMENT, "the tools are NULL"), NULL;
    *num_tools = 0;
    llm_status status = json_read(json, strlen(json), "the tools", &doc, err);
    if (status == LLM_LOAD_FAILED && err) err->code = LLM_INVALID_ARGUMENT;
    if (status != LLM_OK) return NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_arr(root)) error_set(err, LLM_INVALID_ARGUMENT, "the tools must be a JSON array");
    else if (yyjson_arr_size(root) > 1024) error_set(err, LLM_INVALID_ARGUMENT, "there are %zu tools, more than 1024", yyjson_arr_size(root));
    else tools = read_tools(root, num_tools, err);
    json_free(doc);
    return tools;
}
