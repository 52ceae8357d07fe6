// The table of presets, and where an installed one is.
#include "models/presets.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

static const model_preset presets[] = {
    {{.name = "smollm2", .hub_id = "mlx-community/SmolLM2-135M-Instruct"}, "smollm2-135m-instruct"},
    {{.name = "default", .hub_id = "mlx-community/SmolLM2-135M-Instruct"}, "smollm2-135m-instruct"},
};
enum { NUM_PRESETS = sizeof presets / sizeof *presets };

const model_preset *preset_find(const char *name)
{
    for (size_t i = 0; i < NUM_PRESETS; i++)
        if (strcmp(name, presets[i].about.name) == 0) return &presets[i];
    return NULL;
}

const llm_preset *llm_preset_at(int index)
{
    return index >= 0 && index < NUM_PRESETS ? &presets[index].about : NULL;
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

char *preset_directory(const model_preset *preset)
{
    char *folder = preset->folder ? models_folder() : NULL;
    char *directory = folder ? path_join(folder, preset->folder) : NULL;
    mem_free(folder);
    return directory;
}
