// A template and, after a zero byte, its variables as JSON.
#include "text/chat_template.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *source = (const char *)data, *json = size ? memchr(data, 0, size) : NULL;
    size_t length = json ? (size_t)(json - source) : size;
    chat_template *chat;
    yyjson_doc *doc = NULL;
    llm_error err;
    jinja_options options;
    jinja_options_init(&options);
    options.max_steps = 100000; // small bounds find the same faults sooner
    options.max_output = 1 << 20;
    options.max_memory = 8 << 20;
    if (json) json_read(json + 1, size - length - 1, "fuzz", &doc, &err);
    if (chat_template_create(source, length, yyjson_doc_get_root(doc), &chat, &err) == LLM_OK) {
        buf out = {0};
        chat_template_render(chat, yyjson_doc_get_root(doc), &options, &out, &err);
        buf_free(&out);
        chat_template_free(chat);
    }
    json_free(doc);
    return 0;
}
