// Finds and opens engine libraries.
#include "engine/plugin.h"
#include "base/file.h"
#include "base/mem.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <unistd.h>
#endif

#ifdef __APPLE__
#define LIBRARY_SUFFIX ".dylib"
#else
#define LIBRARY_SUFFIX ".so"
#endif
// Where `make install` puts plugins: whole, and as seen from bin.
#ifndef LLMLOCAL_PLUGIN_DIR
#define LLMLOCAL_PLUGIN_DIR "/usr/local/lib/llmlocal"
#endif
#ifndef LLMLOCAL_LIBDIR
#define LLMLOCAL_LIBDIR "lib"
#endif

enum { PATH_BYTES = 4096 };

// The folder of the program or library that this code is in; empty when the system does not say.
static void own_folder(char folder[PATH_BYTES])
{
    static const char here = 0;
    Dl_info info;
    folder[0] = 0;
    if (dladdr(&here, &info) && info.dli_fname && strchr(info.dli_fname, '/')) snprintf(folder, PATH_BYTES, "%s", info.dli_fname);
#ifdef __linux__
    // A program found along PATH: the loader knows only what it was called by.
    else {
        ssize_t length = readlink("/proc/self/exe", folder, PATH_BYTES - 1);
        folder[length > 0 ? length : 0] = 0;
    }
#endif
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    else folder[0] = 0;
}

static const char *plugin_path(void)
{
#ifdef __GLIBC__
    return secure_getenv("LLMLOCAL_PLUGIN_PATH"); // nobody else's code in programs that run as another user
#else
    return getenv("LLMLOCAL_PLUGIN_PATH");
#endif
}

static bool try_folder(const char *folder, size_t length, const char *file, char found[PATH_BYTES])
{
    int written = length ? snprintf(found, PATH_BYTES, "%.*s/%s", (int)length, folder, file) : 0;
    return written > 0 && written < PATH_BYTES && file_exists(found);
}

static bool find_file(const char *file, char found[PATH_BYTES])
{
    static const char *const beside[] = {"", "/llmlocal", "/../lib/llmlocal", "/../" LLMLOCAL_LIBDIR "/llmlocal"};
    char own[PATH_BYTES], folder[PATH_BYTES + 64];
    for (const char *path = plugin_path(); path && *path;) {
        size_t length = strcspn(path, ":");
        if (try_folder(path, length, file, found)) return true;
        path += length + (path[length] == ':');
    }
    own_folder(own);
    for (size_t i = 0; own[0] && i < sizeof beside / sizeof *beside; i++) {
        snprintf(folder, sizeof folder, "%s%s", own, beside[i]);
        if (try_folder(folder, strlen(folder), file, found)) return true;
    }
    return try_folder(LLMLOCAL_PLUGIN_DIR, strlen(LLMLOCAL_PLUGIN_DIR), file, found);
}

static llm_status open_file(const char *path, const engine_plugin **plugin, llm_error *err)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return error_set(err, LLM_UNSUPPORTED_FORMAT, "the plugin cannot be opened: %s", dlerror());
    *plugin = dlsym(library, "llm_engine_plugin");
    llm_status status = LLM_OK;
    if (!*plugin) status = error_set(err, LLM_UNSUPPORTED_FORMAT, "%s is no plugin of llmlocal", path);
    else if ((*plugin)->api_version != ENGINE_API_VERSION || strcmp((*plugin)->version, LLM_VERSION) != 0 ||
             (*plugin)->methods->api_version != ENGINE_API_VERSION)
        status = error_set(err, LLM_UNSUPPORTED_FORMAT, "the plugin %s is of llmlocal %s (interface %d); this is %s (interface %d)", path,
                           (*plugin)->version, (*plugin)->api_version, LLM_VERSION, ENGINE_API_VERSION);
    if (status != LLM_OK) dlclose(library);
    return status;
}

llm_status plugin_open(const char *name, const engine_methods **methods, llm_error *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        const char *name; // of the plugin's own
        const engine_methods *methods;
    } opened[4];
    char file[64], path[PATH_BYTES];
    const engine_plugin *plugin = NULL;
    llm_status status = LLM_OK;
    *methods = NULL;
    snprintf(file, sizeof file, "libllmlocal-%s" LIBRARY_SUFFIX, name);
    pthread_mutex_lock(&lock);
    size_t i = 0, capacity = sizeof opened / sizeof *opened;
    while (i < capacity && opened[i].name && strcmp(opened[i].name, name) != 0) i++;
    if (i < capacity && opened[i].name) *methods = opened[i].methods;
    else if (!find_file(file, path))
        status = error_set(err, LLM_UNSUPPORTED_FORMAT, "the plugin %s of this engine is not installed (LLMLOCAL_PLUGIN_PATH names further folders to look in)", file);
    else if ((status = open_file(path, &plugin, err)) == LLM_OK) {
        *methods = plugin->methods;
        if (i < capacity) opened[i].name = plugin->methods->name, opened[i].methods = plugin->methods;
    }
    pthread_mutex_unlock(&lock);
    return status;
}
