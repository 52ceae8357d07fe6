// Presets: short names of models that `make chat` installs under LLMLOCAL_MODELS, or the user's data directory.
#include "models/resolve.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

static const struct preset {
    const char *name, *folder;
} presets[] = {
    {"default", "smollm2-135m-instruct"},
    {"smollm2", "smollm2-135m-instruct"},
};

static char *models_folder(void)
{
    const char *named = getenv("LLMLOCAL_MODELS"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    buf path = {0};
    if (named && *named) buf_append_string(&path, named);
    else if (data && *data) buf_printf(&path, "%s/llmlocal/models", data);
    else buf_printf(&path, "%s/.local/share/llmlocal/models", home ? home : "");
    return buf_take(&path);
}

static llm_status resolve_preset(const struct preset *preset, char **directory, llm_error *err)
{
    char *folder = models_folder();
    *directory = folder ? path_join(folder, preset->folder) : NULL;
    mem_free(folder);
    if (!*directory) return error_no_memory(err, "a path");
    if (file_is_directory(*directory)) return LLM_OK;
    llm_status status = error_set(err, LLM_LOAD_FAILED, "the preset \"%s\" is not installed: there is no %s (\"make chat\" makes it)",
                                  preset->name, *directory);
    mem_free(*directory);
    *directory = NULL;
    return status;
}

llm_status model_resolve_directory(const char *base, char **directory, llm_error *err)
{
    *directory = NULL;
    if (file_is_directory(base)) {
        *directory = mem_copy_string(base);
        return *directory ? LLM_OK : error_no_memory(err, "a path");
    }
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(base, presets[i].name) == 0) return resolve_preset(&presets[i], directory, err);
    if (file_exists(base)) return error_set(err, LLM_LOAD_FAILED, "%s is not a directory (\"llmlocal convert\" makes one of a GGUF file)", base);
    return error_set(err, LLM_LOAD_FAILED, "there is no model \"%s\": neither a directory nor a preset of that name", base);
}
