// The environment variables are those of Hugging Face's Python library, so that both share one cache.
#include "models/hub_settings.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_true(const char *name)
{
    static const char *const words[] = {"1", "on", "yes", "true"};
    const char *value = variable(name);
    for (size_t i = 0; value && i < sizeof words / sizeof *words; i++)
        if (strcasecmp(value, words[i]) == 0) return true;
    return false;
}

// ---- Folders ----------------------------------------------------------------------------------------------

// A path from the environment, "~" at its start being the home folder; no slash at its end.
static char *expand(const char *path)
{
    const char *home = variable("HOME");
    buf b = {0};
    if (path[0] == '~' && (path[1] == '/' || !path[1]) && home) buf_append_string(&b, home), path++;
    buf_append_string(&b, path);
    while (!b.failed && b.length > 1 && b.data[b.length - 1] == '/') b.data[--b.length] = 0;
    return buf_take(&b);
}

static char *below(char *folder, const char *name) // takes folder
{
    char *path = folder ? path_join(folder, name) : NULL;
    mem_free(folder);
    return path;
}

static char *user_cache(const char *name)
{
    const char *named = variable("XDG_CACHE_HOME");
    return below(named ? expand(named) : expand("~/.cache"), name);
}

static char *hub_home(void)
{
    const char *named = variable("HF_HOME");
    return named ? expand(named) : user_cache("huggingface");
}

static char *hub_cache(void)
{
    const char *named = variable("HF_HUB_CACHE");
    if (!named) named = variable("HUGGINGFACE_HUB_CACHE"); // its old name
    return named ? expand(named) : below(hub_home(), "hub");
}

static char *without_slash(const char *url)
{
    size_t length = strlen(url);
    while (length > 0 && url[length - 1] == '/') length--;
    return mem_copy_bytes(url, length);
}

// ---- Tokens -----------------------------------------------------------------------------------------------

// A token becomes part of a header line: visible ASCII characters only.
static llm_status take_token(const char *text, const char *from, char **token, llm_error *err)
{
    while (*text && strchr(" \t\r\n", *text)) text++;
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1])) length--;
    if (!length) return LLM_OK;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return error_set(err, LLM_INVALID_ARGUMENT,
                             "%s holds no token: it has characters that no token has", from);
    *token = mem_copy_bytes(text, length);
    return *token ? LLM_OK : error_no_memory(err, "a token");
}

static llm_status read_token_file(char **token, llm_error *err)
{
    llm_error ignored;
    size_t length;
    char *text = NULL,
         *path = variable("HF_TOKEN_PATH") ? expand(variable("HF_TOKEN_PATH")) : below(hub_home(), "token");
    if (!path) return error_no_memory(err, "a path");
    llm_status status = file_exists(path) ? LLM_OK : LLM_END;
    if (status == LLM_OK && file_read(path, 10000, &text, &length, &ignored) == LLM_OK)
        status = take_token(text, path, token, err);
    mem_free(text);
    mem_free(path);
    return status == LLM_END ? LLM_OK : status;
}

static llm_status read_tokens(hub_settings *s, llm_error *err)
{
    static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    llm_status status = LLM_OK;
    if (variable("GITHUB_TOKEN"))
        status = take_token(variable("GITHUB_TOKEN"), "GITHUB_TOKEN", &s->github_token, err);
    if (is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return status;
    for (size_t i = 0; i < 2 && status == LLM_OK && !s->token; i++)
        if (variable(names[i])) status = take_token(variable(names[i]), names[i], &s->token, err);
    if (status == LLM_OK && !s->token) status = read_token_file(&s->token, err);
    return status;
}

// ---- All of it --------------------------------------------------------------------------------------------

static llm_status read_stall(hub_settings *s, llm_error *err)
{
    const char *value = variable("HF_HUB_DOWNLOAD_TIMEOUT");
    if (!value) return LLM_OK;
    char *end;
    errno = 0;
    long seconds = strtol(value, &end, 10);
    if (errno || *end || seconds < 1 || seconds > 3600)
        return error_set(err, LLM_INVALID_ARGUMENT,
                         "HF_HUB_DOWNLOAD_TIMEOUT is \"%.50s\"; it must be 1 to 3600 seconds", value);
    s->stall_seconds = (int)seconds;
    return LLM_OK;
}

// The certificate authorities, by the names that OpenSSL, Python's tools and curl have for that.
static bool read_authorities(hub_settings *s)
{
    static const char *const names[] = {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"};
    const char *file = NULL, *folder = variable("SSL_CERT_DIR");
    for (size_t i = 0; i < sizeof names / sizeof *names && !file; i++) file = variable(names[i]);
    s->ca_file = file ? expand(file) : NULL;
    s->ca_folder = folder ? expand(folder) : NULL;
    return (!file || s->ca_file) && (!folder || s->ca_folder);
}

static llm_status check_endpoint(const char *name, const char *url, llm_error *err)
{
    if (strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0) return LLM_OK;
    return error_set(err, LLM_INVALID_ARGUMENT, "%s is \"%.100s\"; it must begin with https:// or http://",
                     name, url);
}

llm_status hub_settings_read(hub_settings *s, llm_error *err)
{
    const char *endpoint = variable("HF_ENDPOINT"), *github = variable("GITHUB_API_URL");
    *s = (hub_settings){
        .stall_seconds = 30, .retry_ms = 1000, .max_tries = 6, .max_parallel = 4, .free_space = file_free_space};
    s->offline = is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE");
    s->endpoint = without_slash(endpoint ? endpoint : "https://huggingface.co");
    s->github = without_slash(github ? github : "https://api.github.com");
    s->cache = hub_cache();
    s->own_cache = user_cache("llmlocal");
    llm_status status = LLM_OK;
    if (!s->endpoint || !s->github || !s->cache || !s->own_cache || !read_authorities(s))
        status = error_no_memory(err, "the hub's settings");
    if (status == LLM_OK) status = check_endpoint("HF_ENDPOINT", s->endpoint, err);
    if (status == LLM_OK) status = check_endpoint("GITHUB_API_URL", s->github, err);
    if (status == LLM_OK) status = read_stall(s, err);
    if (status == LLM_OK) status = read_tokens(s, err);
    if (status != LLM_OK) hub_settings_free(s);
    return status;
}

void hub_settings_free(hub_settings *s)
{
    char *strings[] = {s->endpoint, s->cache, s->token, s->github, s->github_token, s->own_cache, s->ca_file, s->ca_folder};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) mem_free(strings[i]);
    *s = (hub_settings){0};
}
