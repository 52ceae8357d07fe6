// Small conversations that show what a template makes of tools.
#include "backend/template_traits.h"
#include <string.h>

#define USER "{\"role\":\"user\",\"content\":\"x\"}"
#define TOOL "[{\"type\":\"function\",\"function\":{\"name\":\"probe_tool\",\"description\":\"d\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"description\":\"d\"}},\"required\":[\"a\"]}}}]"
#define TURN(arguments) \
    "{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"probe0001\",\"type\":\"function\"," \
    "\"function\":{\"name\":\"probe_tool\",\"arguments\":" arguments "}}]},{\"role\":\"tool\",\"content\":\"y\"," \
    "\"name\":\"probe_tool\",\"tool_call_id\":\"probe0001\"}],\"add_generation_prompt\":true}"

// False: the template refuses this. Running out of memory goes to *status.
static bool renders(const chat_template *chat, const char *json, buf *out, llm_status *status, llm_error *err)
{
    yyjson_doc *doc;
    llm_error refusal;
    buf_clear(out);
    if (*status != LLM_OK || (*status = json_read(json, strlen(json), "a template's probe", &doc, err)) != LLM_OK) return false;
    llm_status rendered = chat_template_render(chat, yyjson_doc_get_root(doc), NULL, out, &refusal);
    json_free(doc);
    if (rendered == LLM_OUT_OF_MEMORY || out->failed) *status = error_no_memory(err, "a template's probe");
    return rendered == LLM_OK && *status == LLM_OK;
}

static bool shows(const buf *text) { return text->data && strstr(text->data, "probe_tool"); }

llm_status template_traits_find(const chat_template *chat, template_traits *traits, llm_error *err)
{
    llm_status status = LLM_OK;
    buf out = {0};
    if (traits->known) return LLM_OK;
    traits->shows_tools = renders(chat, "{\"messages\":[" USER "],\"tools\":" TOOL ",\"add_generation_prompt\":true}", &out, &status, err) && shows(&out);
    // The tools as a text in the message: this reads "[…]" where the template would loop over characters.
    if (!traits->shows_tools)
        traits->tools_in_system = renders(chat, "{\"messages\":[{\"role\":\"system\",\"content\":\"s\",\"tools\":\"probe_tool\"}," USER "]}", &out, &status, err) && shows(&out);
    traits->text_arguments = !renders(chat, TURN("{\"a\":1}"), &out, &status, err) && renders(chat, TURN("\"{\\\"a\\\": 1}\""), &out, &status, err);
    traits->known = status == LLM_OK;
    buf_free(&out);
    return status;
}
