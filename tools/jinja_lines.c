// Renders templates for compare_jinja.py: a line of JSON {"template", "context"} in, {"output"} or {"error"}
// out. cc -O1 -g -D_GNU_SOURCE -Iinclude -Isrc -I<yyjson> tools/jinja_lines.c src/text/jinja*.c src/base/*.c
// <yyjson>/yyjson.c
//    -lutf8proc -lpthread -lm -o jinja-lines      (add -fsanitize=address,undefined at will)
#include "text/jinja.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer(yyjson_val *question, buf *line)
{
    llm_error err;
    jinja_template *tmpl = NULL;
    buf out = {0};
    yyjson_val *source = yyjson_obj_get(question, "template");
    jinja_options options;
    jinja_options_init(&options);
    options.max_steps = 5000000;
    llm_status status = jinja_parse(yyjson_get_str(source), yyjson_get_len(source), &tmpl, &err);
    if (status == LLM_OK)
        status = jinja_render(tmpl, yyjson_obj_get(question, "context"), &options, &out, &err);
    buf_append_string(line, status == LLM_OK ? "{\"output\":" : "{\"error\":");
    if (status == LLM_OK)
        buf_append_json_string(line, out.data ? out.data : "", out.length);
    else
        buf_append_json_string(line, err.message, strlen(err.message));
    buf_append_string(line, "}\n");
    buf_free(&out);
    jinja_template_free(tmpl);
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, stdin)) > 0) {
        yyjson_doc *doc;
        llm_error err;
        buf reply = {0};
        if (json_read(line, (size_t)length, "a line", &doc, &err) != LLM_OK) return 1;
        answer(yyjson_doc_get_root(doc), &reply);
        fwrite(reply.data, 1, reply.length, stdout);
        fflush(stdout);
        buf_free(&reply);
        json_free(doc);
    }
    free(line);
    return 0;
}
