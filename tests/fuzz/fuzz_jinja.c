// A template and, after a zero byte, its variables as JSON: rendered as a chat where there are messages,
// plainly else.
#include "text/chat_template.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void render_chat(const char *source, size_t length, yyjson_val *variables,
                        const jinja_options *options, buf *out)
{
    chat_template *chat;
    llm_error err;
    if (chat_template_create(source, length, variables, &chat, &err) != LLM_OK) return;
    chat_template_render(chat, variables, options, out, &err);
    chat_template_free(chat);
}

static void render(const char *source, size_t length, yyjson_val *variables, const jinja_options *options,
                   buf *out)
{
    jinja_template *tmpl;
    llm_error err;
    if (jinja_parse(source, length, &tmpl, &err) != LLM_OK) return;
    jinja_render(tmpl, variables, options, out, &err);
    jinja_template_free(tmpl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *source = (const char *)data, *json = size ? memchr(data, 0, size) : NULL;
    size_t length = json ? (size_t)(json - source) : size;
    yyjson_doc *doc = NULL;
    llm_error err;
    buf out = {0};
    jinja_options options;
    jinja_options_init(&options);
    options.max_steps = 100000; // small bounds find the same faults sooner
    options.max_output = 1 << 20;
    options.max_memory = 8 << 20;
    if (json) json_read(json + 1, size - length - 1, "fuzz", &doc, &err);
    yyjson_val *variables = yyjson_doc_get_root(doc);
    if (yyjson_obj_get(variables, "messages"))
        render_chat(source, length, variables, &options, &out);
    else
        render(source, length, variables, &options, &out);
    buf_free(&out);
    json_free(doc);
    return 0;
}
