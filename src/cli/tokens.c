// Token lists.
#include "cli/tokens.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

int tokens_of_file(const char *model, const char *path, int32_t **tokens, int *count)
{
    llm_error err;
    llm_model_spec spec;
    text content = {0};
    *tokens = NULL;
    int code = read_whole(path, &content);
    if (code != GO_ON) return text_free(&content), code;
    llm_model_spec_init(&spec, model);
    int32_t *encoded = NULL;
    llm_tokenizer *tokenizer = llm_tokenizer_create(&spec, &err);
    llm_status status = tokenizer ? llm_tokenizer_encode_copy(tokenizer, content.data, content.length, true,
                                                              &encoded, count, &err)
                                  : err.code;
    if (status != LLM_OK) code = fail(&err);
    if (status == LLM_OK && *count > 0) {
        *tokens = grow_or_exit(NULL, (size_t)*count, sizeof **tokens);
        memcpy(*tokens, encoded, (size_t)*count * sizeof **tokens);
    }
    llm_free(encoded);
    llm_tokenizer_free(tokenizer);
    text_free(&content);
    return code;
}

bool tokens_of_list(const char *list, int32_t **tokens, int *count)
{
    *tokens = NULL;
    for (*count = 0;; list++) {
        char *end;
        errno = 0;
        long value = strtol(list, &end, 10);
        if (end == list || errno || value < 0 || value > INT32_MAX) return false;
        *tokens = grow_or_exit(*tokens, (size_t)*count + 1, sizeof **tokens);
        (*tokens)[(*count)++] = (int32_t)value;
        list = end;
        if (!*list) return true;
        if (*list != ',') return false;
    }
}
