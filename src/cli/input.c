// Reading files and standard input whole, growing texts, and walking the library's JSON.
#include "cli/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *grow_or_exit(void *block, size_t count, size_t size)
{
    void *grown = count <= SIZE_MAX / size ? realloc(block, count * size) : NULL;
    if (!grown) exit(fail_with("no memory"));
    return grown;
}

void text_append(text *t, const void *bytes, size_t length)
{
    if (length >= SIZE_MAX / 4 - t->length) exit(fail_with("no memory"));
    if (t->length + length + 1 > t->capacity) {
        t->capacity = (t->length + length + 1) * 2;
        t->data = grow_or_exit(t->data, t->capacity, 1);
    }
    if (length) memcpy(t->data + t->length, bytes, length);
    t->length += length;
    t->data[t->length] = 0;
}

void text_free(text *t)
{
    free(t->data);
    *t = (text){0};
}

int read_whole(const char *path, text *content)
{
    static char block[1 << 16];
    bool standard = !strcmp(path, "-");
    const char *name = standard ? "standard input" : path;
    int file = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = file < 0 ? -1 : 1;
    text_append(content, "", 0);
    while (file >= 0 && (count = read(file, block, sizeof block)) != 0) {
        if (count < 0 && errno == EINTR && !interrupted()) continue;
        if (count < 0) break;
        text_append(content, block, (size_t)count);
    }
    int why = errno;
    if (file >= 0 && !standard) close(file);
    if (count >= 0) return GO_ON;
    return interrupted() ? EXIT_INTERRUPTED : fail_with("%s: %s", name, strerror(why));
}

// ---- JSON -------------------------------------------------------------------------------------------------

// The end of the string whose opening quote is at `at`: behind its closing quote.
static const char *skip_string(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1]) at++;
    return *at ? at + 1 : at;
}

static const char *skip_value(const char *at)
{
    int depth = 0;
    for (; *at; at++) {
        if (*at == '"') {
            at = skip_string(at) - 1;
            continue;
        }
        if (!depth && (*at == ',' || *at == '}')) break;
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
    }
    return at;
}

bool json_next(const char **at, json_member *member)
{
    const char *p = *at + strspn(*at, " \t\r\n{,");
    if (*p != '"') return false;
    const char *end = skip_string(p);
    *member = (json_member){.key = p + 1, .key_length = (size_t)(end - p - 2)};
    p = end + strspn(end, " \t\r\n:");
    end = skip_value(p);
    member->value = p;
    member->value_length = (size_t)(end - p);
    *at = end;
    return true;
}

double json_number(const char *json, const char *key, double fallback)
{
    json_member member;
    for (const char *at = json; json_next(&at, &member);)
        if (member.key_length == strlen(key) && !strncmp(member.key, key, member.key_length))
            return strtod(member.value, NULL);
    return fallback;
}
