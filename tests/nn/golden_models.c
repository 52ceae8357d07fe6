// Reads the golden models.
#include "nn/golden_models.h"
#include "base/file.h"
#include "base/mem.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>

static llm_error err;


char *case_path(const char *name) {
    char *models = path_join(GOLDEN_DIR, "models"), *path = path_join(models, name);
    mem_free(models);
    return path;
}

void open_golden(const char *name, golden *g) {
    char *directory = case_path(name), *expected = path_join(directory, "expected.json");
    if (model_files_open(directory, &g->files, &err) != LLM_OK) fail_msg("%s: %s", name, err.message);
    assert_ok(json_read_file(expected, 64 << 20, &g->doc, &err));
    g->root = yyjson_doc_get_root(g->doc);
    mem_free(expected);
    mem_free(directory);
}

void close_golden(golden *g) {
    json_free(g->doc);
    model_files_close(&g->files);
}

int read_ids(yyjson_val *array, int32_t *ids, int used) {
    size_t i, count;
    yyjson_val *item;
    yyjson_arr_foreach(array, i, count, item) {
        assert_true(used < MAX_TOKENS);
        ids[used++] = (int32_t)yyjson_get_int(item);
    }
    return used;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int list_cases(char **names) {
    char *models = path_join(GOLDEN_DIR, "models");
    DIR *directory = opendir(models);
    int count = 0;
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        const char *name = entry->d_name;
        if (name[0] == '.' || strcmp(name, "chat") == 0 || strcmp(name, "scripted") == 0) continue; // those are for sessions
        assert_true(count < MAX_CASES);
        names[count++] = mem_copy_string(entry->d_name);
    }
    closedir(directory);
    mem_free(models);
    qsort(names, (size_t)count, sizeof *names, compare_names);
    return count;
}

// The largest difference of a row from the expected one, relative to the row's largest logit.
static double row_error(const float *got, yyjson_val *expected, int vocab_size) {
    double worst = 0, largest = 0;
    size_t i, count;
    yyjson_val *item;
    assert_int_equal(yyjson_arr_size(expected), vocab_size);
    yyjson_arr_foreach(expected, i, count, item) {
        worst = fmax(worst, fabs(got[i] - yyjson_get_num(item)));
        largest = fmax(largest, fabs(yyjson_get_num(item)));
    }
    return worst / largest;
}

double compare_logits(const golden *g, const float *logits) {
    double worst = 0;
    size_t i, count;
    yyjson_val *position, *rows = yyjson_obj_get(g->root, "logits");
    yyjson_arr_foreach(yyjson_obj_get(g->root, "positions"), i, count, position) {
        const float *row = logits + (size_t)yyjson_get_int(position) * (size_t)g->files.desc.vocab_size;
        worst = fmax(worst, row_error(row, yyjson_arr_get(rows, i), g->files.desc.vocab_size));
    }
    assert_true(count > 0);
    return worst;
}

int largest_logit(const float *row, int vocab_size) {
    int best = 0;
    for (int i = 1; i < vocab_size; i++)
        if (row[i] > row[best]) best = i;
    return best;
}
