// Checks of names. What is not allowed is refused, never repaired.
#include "models/hub_names.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <string.h>

static bool is_word_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

static bool is_edge(char c)
{
    return c == '-' || c == '.';
}

static bool is_id_part(const char *part, size_t length)
{
    if (length == 0 || length > 96 || is_edge(part[0]) || is_edge(part[length - 1])) return false;
    for (size_t i = 0; i < length; i++) {
        if (!is_word_character(part[i])) return false;
        if (i > 0 && part[i] == part[i - 1] && is_edge(part[i]))
            return false; // "--" is how the cache writes '/'
    }
    return true;
}

bool hub_is_id(const char *text)
{
    const char *slash = strchr(text, '/');
    return slash && is_id_part(text, (size_t)(slash - text)) && is_id_part(slash + 1, strlen(slash + 1));
}

bool hub_split_gguf(const char *text, char **id, const char **file)
{
    const char *slash = strchr(text, '/'), *second = slash ? strchr(slash + 1, '/') : NULL;
    size_t length = strlen(text);
    *id = NULL;
    if (!second || length < 6 || strcmp(text + length - 5, ".gguf") != 0 || !hub_is_safe_path(second + 1))
        return false;
    *id = mem_copy_bytes(text, (size_t)(second - text));
    *file = second + 1;
    if (*id && hub_is_id(*id)) return true;
    mem_free(*id);
    *id = NULL;
    return false;
}

bool hub_is_commit(const char *text)
{
    return strlen(text) == 40 && strspn(text, "0123456789abcdef") == 40;
}

bool hub_is_safe_path(const char *path)
{
    size_t length = strlen(path);
    if (length == 0 || length > 1000 || !utf8_valid(path, length)) return false;
    for (const char *part = path; part;) {
        const char *end = strchr(part, '/');
        size_t size = end ? (size_t)(end - part) : strlen(part);
        if (size == 0 || size > 255 || (size == 1 && part[0] == '.') ||
            (size == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        for (size_t i = 0; i < size; i++)
            if ((unsigned char)part[i] < ' ' || part[i] == 0x7F || part[i] == '\\') return false;
        part = end ? end + 1 : NULL;
    }
    return true;
}

llm_status hub_check_revision(const char *revision, llm_error *err)
{
    size_t length = strlen(revision);
    bool fine = hub_is_safe_path(revision) && length <= 200 && revision[0] != '-';
    for (size_t i = 0; fine && i < length; i++)
        fine = is_word_character(revision[i]) || revision[i] == '/' || revision[i] == '+';
    return fine ? LLM_OK
                : error_set(err, LLM_INVALID_ARGUMENT,
                            "\"%.100s\" is no revision: a branch, a tag or a commit", revision);
}

void url_append(buf *url, const char *text, bool keep_slashes)
{
    for (const char *c = text; *c; c++) {
        if ((is_word_character(*c) || *c == '~') || (*c == '/' && keep_slashes))
            buf_append_char(url, *c);
        else
            buf_printf(url, "%%%02X", (unsigned char)*c);
    }
}
