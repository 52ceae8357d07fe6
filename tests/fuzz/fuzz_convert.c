// Any bytes as a GGUF model to convert: every failure leaves nothing behind, every success a model that
// opens.
#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"
#include "models/convert.h"
#include "memory_file.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_json(const char *folder, const char *name)
{
    char path[100];
    yyjson_doc *doc;
    llm_error err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (json_read_file(path, (size_t)1 << 28, &doc, &err) != LLM_OK) {
        fprintf(stderr, "%s: %s\n", name, err.message);
        abort();
    }
    json_free(doc);
}

static void check_and_remove(const char *folder)
{
    static const char *const names[] = {"config.json", "generation_config.json", "tokenizer.json",
                                        "tokenizer_config.json", "model.safetensors.index.json"};
    safetensors_model model;
    llm_error err;
    if (safetensors_model_open(folder, &model, &err) != LLM_OK) abort();
    safetensors_model_close(&model);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_json(folder, names[i]);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir) closedir(dir);
    rmdir(folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char folder[] = "/tmp/llmlocal-fuzz-XXXXXX";
    static bool made;
    char path[40], target[60];
    llm_error err;
    convert_report report;
    convert_options options = {.bits = size % 2 ? 4 : 0, .group_size = 32};
    if (!made && !mkdtemp(folder)) return 0;
    made = true;
    int fd = memory_file(data, size, path);
    if (fd < 0) return 0;
    snprintf(target, sizeof target, "%s/out", folder);
    llm_status status = convert_model(path, target, &options, &report, &err);
    if (status == LLM_OK)
        check_and_remove(target);
    else if (rmdir(folder) != 0 || !err.message[0] || mkdir(folder, 0700) != 0)
        abort(); // rmdir: nothing was in it
    convert_report_free(&report);
    close(fd);
    return 0;
}
