// The table of presets, and where an installed one is.
#include "models/presets.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/description.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { USUAL_CONTEXT = 4096, WORK_BYTES = 200000000 };

#define WEIGHTS(millions, bits) ((uint64_t)(millions)*1000000u * (bits) / 800u)
#define KV_BYTES(layers, kv_heads, head_dim) ((uint64_t)(layers) * (kv_heads) * (head_dim)*4u * USUAL_CONTEXT)
#define PRESET(preset_name, repository, model_type, licence_name, millions, bits, other_mb, layers, kv_heads, \
               head_dim, context, has_tools, does_reason, knows_japanese)                                    \
    {.name = preset_name,                                                                                    \
     .hub_id = "mlx-community/" repository,                                                                  \
     .family = model_type,                                                                                   \
     .licence = licence_name,                                                                                \
     .num_parameters = (uint64_t)(millions)*1000000u,                                                        \
     .download_bytes = WEIGHTS(millions, bits) + (uint64_t)(other_mb)*1000000u,                              \
     .memory_bytes = WEIGHTS(millions, bits) + KV_BYTES(layers, kv_heads, head_dim) + WORK_BYTES,           \
     .context_length = context,                                                                              \
     .tools = has_tools,                                                                                     \
     .reasoning = does_reason,                                                                               \
     .japanese = knows_japanese},

static llm_preset presets[] = {
    // but for `runs`, which the families say
#include "models/presets.def"
};
enum { NUM_PRESETS = sizeof presets / sizeof *presets };

static void ask_families(void)
{
    const char *names[100];
    int count = description_families(names, 100);
    for (int p = 0; p < NUM_PRESETS; p++)
        for (int i = 0; i < count && i < 100; i++)
            presets[p].runs |= strcmp(presets[p].family, names[i]) == 0;
}

// What `make chat` installs under LLMLOCAL_MODELS, and other names for presets.
static const struct installed_preset {
    const char *name, *preset, *folder;
} installed[] = {
    {"default", "smollm2", "smollm2-135m-instruct"},
    {"smollm2", "smollm2", "smollm2-135m-instruct"},
};

const llm_preset *llm_preset_at(int index)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ask_families);
    return index >= 0 && index < NUM_PRESETS ? &presets[index] : NULL;
}

static const struct installed_preset *find_installed(const char *name)
{
    for (size_t i = 0; i < sizeof installed / sizeof *installed; i++)
        if (strcmp(name, installed[i].name) == 0) return &installed[i];
    return NULL;
}

const llm_preset *preset_find(const char *name)
{
    const struct installed_preset *alias = find_installed(name);
    for (size_t i = 0; i < NUM_PRESETS; i++)
        if (strcmp(alias ? alias->preset : name, presets[i].name) == 0) return &presets[i];
    return NULL;
}

static char *models_folder(void)
{
    const char *named = getenv("LLMLOCAL_MODELS"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    buf path = {0};
    if (named && *named)
        buf_append_string(&path, named);
    else if (data && *data)
        buf_printf(&path, "%s/llmlocal/models", data);
    else
        buf_printf(&path, "%s/.local/share/llmlocal/models", home ? home : "");
    return buf_take(&path);
}

char *preset_installed(const char *name)
{
    const struct installed_preset *known = find_installed(name);
    char *folder = known ? models_folder() : NULL,
         *directory = folder ? path_join(folder, known->folder) : NULL;
    mem_free(folder);
    if (directory && file_is_directory(directory)) return directory;
    mem_free(directory);
    return NULL;
}
