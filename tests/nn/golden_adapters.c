// Reads the golden adapters.
#include "nn/golden_adapters.h"
#include "base/file.h"
#include "base/mem.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>

static llm_error err;

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int list_adapters(char **names)
{
    int count = 0;
    char *folder = path_join(GOLDEN_DIR, "adapters");
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && count < MAX_ADAPTERS) names[count++] = mem_copy_string(entry->d_name);
    closedir(dir);
    mem_free(folder);
    qsort(names, (size_t)count, sizeof *names, compare_names);
    return count;
}

char *golden_base_path(const char *name)
{
    char *models = path_join(GOLDEN_DIR, "models"), *path = path_join(models, name);
    mem_free(models);
    return path;
}

void open_golden_adapter(const char *name, golden_adapter *g)
{
    *g = (golden_adapter){0};
    char *folder = path_join(GOLDEN_DIR, "adapters");
    g->directory = path_join(folder, name);
    char *expected = path_join(g->directory, "expected.json");
    assert_ok(json_read_file(expected, 64 << 20, &g->doc, &err));
    g->root = yyjson_doc_get_root(g->doc);
    char *base = golden_base_path(yyjson_get_str(yyjson_obj_get(g->root, "base")));
    if (model_files_open(base, &g->files, &err) != LLM_OK) fail_msg("%s: %s", name, err.message);
    if (adapter_open(g->directory, &g->files, &g->adapter, &err) != LLM_OK) fail_msg("%s: %s", name, err.message);
    size_t i, count;
    yyjson_val *id;
    yyjson_arr_foreach(yyjson_obj_get(g->root, "ids"), i, count, id)
    {
        assert_true(i < MAX_ADAPTER_TOKENS);
        g->ids[g->num_ids++] = (int32_t)yyjson_get_int(id);
    }
    mem_free(base);
    mem_free(expected);
    mem_free(folder);
}

void close_golden_adapter(golden_adapter *g)
{
    adapter_close(&g->adapter);
    model_files_close(&g->files);
    json_free(g->doc);
    mem_free(g->directory);
}

double compare_rows(const golden_adapter *g, const char *key, const float *logits)
{
    double worst = 0;
    size_t i, count, k, vocab = (size_t)g->files.desc.vocab_size, width;
    yyjson_val *position, *rows = yyjson_obj_get(g->root, key), *item;
    assert_true(yyjson_arr_size(rows) > 0);
    yyjson_arr_foreach(yyjson_obj_get(g->root, "positions"), i, count, position)
    {
        double difference = 0, largest = 0;
        const float *row = logits + (size_t)yyjson_get_int(position) * vocab;
        assert_int_equal(yyjson_arr_size(yyjson_arr_get(rows, i)), vocab);
        yyjson_arr_foreach(yyjson_arr_get(rows, i), k, width, item)
        {
            if (!isfinite(row[k])) return INFINITY;
            difference = fmax(difference, fabs((double)row[k] - yyjson_get_num(item)));
            largest = fmax(largest, fabs(yyjson_get_num(item)));
        }
        worst = fmax(worst, difference / largest);
    }
    return worst;
}
