// Any bytes as a saved session: what opens has a transcript that can be written and read again, and arrays that fit what
// an engine asks for or are refused.
#include "backend/session_file.h"
#include "backend/transcript.h"
#include "base/mem.h"
#include "memory_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_transcript_again(const session_file *f)
{
    message_list again = {0};
    yyjson_doc *doc;
    buf json = {0};
    llm_error err;
    transcript_to_json(&f->transcript, &json);
    if (json.failed || json_read(json.data, json.length, "transcript", &doc, &err) != LLM_OK) abort();
    if (transcript_from_json(yyjson_doc_get_root(doc), &again, &err) != LLM_OK || again.count != f->transcript.count) abort();
    for (int i = 0; i < again.count; i++)
        if (strcmp(again.items[i].role, f->transcript.items[i].role) != 0) abort();
    message_list_free(&again);
    json_free(doc);
    buf_free(&json);
}

// As the CPU engine asks: room for all tokens, 2 heads of 4.
static void restore(const session_file *f)
{
    size_t row = 2 * 4 * dtype_size(DTYPE_I16), tokens = f->tokens.count < 1000 ? f->tokens.count : 1000;
    for (int layer = 0; layer < 3; layer++) {
        llm_error err = {0};
        engine_state_array array = {.type = DTYPE_I16, .shape = {(int64_t)tokens, 2, 4}, .data = mem_alloc_zero(tokens, row)};
        snprintf(array.name, sizeof array.name, "layers.%d.keys", layer);
        if (!array.data) return;
        if (session_file_array(f, &array, &err) == LLM_OK) {
            if (array.first_position < 0 || array.first_position > array.shape[0]) abort();
        } else if (!err.message[0])
            abort();
        mem_free(array.data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[40];
    session_file f;
    llm_error err = {0};
    int fd = memory_file(data, size, path);
    if (fd < 0) return 0;
    if (session_file_open(path, &f, &err) == LLM_OK) {
        read_transcript_again(&f);
        restore(&f);
        session_file_close(&f);
    } else if (!err.message[0])
        abort();
    close(fd);
    return 0;
}
