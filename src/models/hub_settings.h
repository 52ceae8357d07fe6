// What the environment says about the hub: where it is, where its cache is, who we are to it.
#ifndef MODELS_HUB_SETTINGS_H
#define MODELS_HUB_SETTINGS_H
#include "base/error.h"

typedef struct hub_settings {
    char *endpoint; // HF_ENDPOINT, without a slash at its end
    char *cache;    // HF_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub: holds models--owner--name
    char *token;    // HF_TOKEN, the file HF_TOKEN_PATH or $HF_HOME/token; NULL: none
    char *github;   // GITHUB_API_URL
    char *github_token; // GITHUB_TOKEN; NULL: none
    char *own_cache;    // $XDG_CACHE_HOME/llmlocal: what the hub's layout has no place for
    char *ca_file, *ca_folder; // SSL_CERT_FILE, REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE; SSL_CERT_DIR: whom TLS trusts; NULL: the system's
    bool offline;       // HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE
    int stall_seconds;  // HF_HUB_DOWNLOAD_TIMEOUT; 30: a transfer that brings nothing for so long is begun
                        // again
    int retry_ms;       // 1000: the first pause before another try; each further one is twice as long
    int max_tries;      // 6: tries in a row that brought nothing
    int max_parallel;   // 4: transfers at a time
    bool (*free_space)(const char *folder, uint64_t *bytes); // file_free_space; tests put their own here
} hub_settings;

// A value that cannot be used is LLM_INVALID_ARGUMENT; a token's value is never part of a message.
llm_status hub_settings_read(hub_settings *settings, llm_error *err);
void hub_settings_free(hub_settings *settings);

#endif
