// Assets of GitHub releases: which there are, and getting and unpacking one into our own cache:
//     <own cache>/github/<owner>/<repository>/<tag>/<asset>/       what was in it
//                                                  /<asset>.json   its size and digest then
//                                            /latest.json          the tag that was the newest one
#ifndef MODELS_GITHUB_H
#define MODELS_GITHUB_H
#include "models/hub.h"

typedef struct github_request {
    const char *repository; // "owner/repository"
    const char *tag;        // NULL: the newest release
    const char *asset;
    bool ask;                // whether there is something newer; else what is in the cache will do
    bool only_look;          // nothing else will
    const atomic_int *order; // as in hub_request
    bool (*progress)(void *user, const hub_progress *progress);
    void *user;
} github_request;

// *folder is that of the unpacked asset, owned (mem_free).
llm_status github_get(const hub_settings *settings, const github_request *request, char **folder,
                      llm_error *err);
// The tag of the newest release, owned (mem_free).
llm_status github_latest_tag(const hub_settings *settings, const char *repository, char **tag,
                             llm_error *err);

typedef struct github_release {
    char *tag;
    int64_t asset; // its id; -1: the release has no such asset
    uint64_t size;
    char sha256[65]; // "": not said
} github_release;
// Reads GitHub's answer about a release, as far as it is about this asset (NULL: about none). Frees nothing
// on an error.
llm_status github_release_read(const char *json, size_t length, const char *asset, github_release *release,
                               llm_error *err);
void github_release_free(github_release *release);

char *github_folder(const hub_settings *settings); // <own cache>/github, owned
// Every entry of every release's folder: `release` is "owner/repository@tag". An asset's folder has the
// asset's name.
void github_walk(const hub_settings *settings,
                 void (*on_entry)(void *user, const char *release, const char *path, const char *name),
                 void *user);

#endif
