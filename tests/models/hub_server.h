// The loopback hub (hub_server.py) for tests: starting it, giving it faults, reading what it was asked.
#ifndef HUB_SERVER_H
#define HUB_SERVER_H
#include "files.h"
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

typedef struct hub_server {
    pid_t process;
    int input; // its end ends the server
    int hub_port, cdn_port, proxy_port;
    const char *certificate, *key; // of a server that speaks TLS; NULL: it does not
    char root[300];
} hub_server;

static hub_server server;

// Everything a test needs, in a folder of its own: home/ (HF_HOME), xdg/ (XDG_CACHE_HOME), models/.
static inline void set_environment(const char *folder)
{
    static const char *const unwanted[] = {"HF_HUB_CACHE",
                                           "HUGGINGFACE_HUB_CACHE",
                                           "HF_TOKEN",
                                           "HUGGING_FACE_HUB_TOKEN",
                                           "HF_TOKEN_PATH",
                                           "HF_HUB_OFFLINE",
                                           "TRANSFORMERS_OFFLINE",
                                           "GITHUB_TOKEN",
                                           "http_proxy",
                                           "https_proxy",
                                           "HTTPS_PROXY",
                                           "ALL_PROXY",
                                           "all_proxy",
                                           "HF_HUB_DOWNLOAD_TIMEOUT",
                                           "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                                           "SSL_CERT_FILE",
                                           "SSL_CERT_DIR",
                                           "REQUESTS_CA_BUNDLE",
                                           "CURL_CA_BUNDLE"};
    char url[60];
    for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++) unsetenv(unwanted[i]);
    snprintf(url, sizeof url, "http%s://127.0.0.1:%d", server.certificate ? "s" : "", server.hub_port);
    setenv("HF_ENDPOINT", url, 1);
    setenv("GITHUB_API_URL", url, 1);
    setenv("HF_HOME", path_in(folder, "home"), 1);
    setenv("XDG_CACHE_HOME", path_in(folder, "xdg"), 1);
    setenv("LLMLOCAL_MODELS", path_in(folder, "models"), 1);
}

// cmocka group set-up and tear-down: one server for all tests of a program, over a folder of repositories.
static inline int start_server(void **state)
{
    int in[2], out[2];
    char *root;
    (void)state;
    if (make_folder((void **)&root)) return -1;
    assert_int_equal(pipe(in) | pipe(out), 0);
    server.process = fork();
    if (!server.process) {
        dup2(in[0], 0), dup2(out[1], 1);
        for (int fd = 3; fd < 64; fd++) close(fd);
        execlp("python3", "python3", HUB_SERVER, root, server.certificate, server.key, (char *)NULL);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    server.input = in[1];
    snprintf(server.root, sizeof server.root, "%s", root);
    FILE *ports = fdopen(out[0], "r");
    int ready = fscanf(ports, "%d %d %d", &server.hub_port, &server.cdn_port, &server.proxy_port);
    fclose(ports);
    free(root);
    return ready == 3 ? 0 : -1;
}

static inline int stop_server(void **state)
{
    (void)state;
    close(server.input);
    waitpid(server.process, NULL, 0);
    remove_tree(server.root);
    return 0;
}

// A request by hand; returns the body (free).
static inline char *server_ask(const char *method, const char *path, const char *body)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server.proxy_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    dprintf(fd, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", method,
            path, strlen(body), body);
    size_t length = 0, capacity = 1 << 16;
    char *text = malloc(capacity);
    for (ssize_t got; (got = read(fd, text + length, capacity - length - 1)) > 0;) {
        length += (size_t)got;
        if (length + 1 == capacity) text = realloc(text, capacity *= 2);
    }
    close(fd);
    text[length] = 0;
    char *content = strstr(text, "\r\n\r\n");
    assert_non_null(content);
    memmove(text, content + 4, strlen(content + 4) + 1);
    return text;
}

static inline void server_faults(const char *json)
{
    free(server_ask("POST", "/_control", json));
}

static inline char *server_log(void) // free
{
    return server_ask("GET", "/_log", "");
}

static inline int count_in(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) count++;
    return count;
}

// A new folder for a test, no repositories, no faults, an empty log.
static inline int start_fresh(char **folder)
{
    llm_error err;
    if (make_folder((void **)folder)) return -1;
    remove_tree(server.root);
    assert_ok(file_make_directory(server.root, &err));
    set_environment(*folder);
    server_faults("[]");
    free(server_log());
    return 0;
}

// ---- Repositories -----------------------------------------------------------------------------------------

static inline void put_file(const char *repository, const char *name, const void *data, size_t length)
{
    llm_error err;
    const char *path = path_in(path_in(server.root, repository), name);
    char *folder = mem_copy_bytes(path, (size_t)(path_base_name(path) - path - 1));
    assert_ok(file_make_directory(folder, &err));
    mem_free(folder);
    write_bytes(path, data, length);
}

static inline void put_text(const char *repository, const char *name, const char *text)
{
    put_file(repository, name, text, strlen(text));
}

// Bytes that differ everywhere, the same each time.
static inline char *make_noise(size_t length, uint64_t seed)
{
    char *bytes = malloc(length ? length : 1);
    for (size_t i = 0; i < length; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (char)(seed >> 56);
    }
    return bytes;
}

// A repository that looks like a model; its weights are noise of this length.
static inline void put_model(const char *repository, size_t weights)
{
    char *noise = make_noise(weights, strlen(repository) + weights);
    put_text(repository, "config.json", "{\"model_type\":\"llama\"}");
    put_text(repository, "tokenizer.json", "{}");
    put_text(repository, "chat_template.jinja", "{{ messages }}");
    put_text(repository, "README.md", "not wanted");
    put_text(repository, "pytorch_model.bin", "not wanted");
    put_text(repository, "original/params.json", "{\"not\":\"wanted\"}");
    put_file(repository, "model.safetensors", noise, weights);
    free(noise);
}

// The real tiny model of the golden data.
static inline void put_chat_model(const char *repository)
{
    static const char *const names[] = {
        "chat_template.jinja",          "config.json",    "generation_config.json", "model.safetensors",
        "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length;
        char *data = read_bytes(path_in(golden("models/chat"), names[i]), &length);
        put_file(repository, names[i], data, length);
        mem_free(data);
    }
}

static inline bool same_file(const char *a, const char *b)
{
    size_t x, y;
    char *first = read_bytes(a, &x), *second = read_bytes(b, &y);
    bool same = x == y && memcmp(first, second, x) == 0;
    mem_free(first);
    mem_free(second);
    return same;
}

#endif
