// The adapters that mlx-lm and PEFT made, beside the golden models that they are for.
#ifndef TESTS_GOLDEN_ADAPTERS_H
#define TESTS_GOLDEN_ADAPTERS_H
#include "testing.h"
#include "nn/adapter.h"

enum { MAX_ADAPTERS = 100, MAX_ADAPTER_TOKENS = 64 };

typedef struct golden_adapter {
    yyjson_doc *doc;
    yyjson_val *root;   // of the adapter's expected.json
    model_files files;  // of the base model
    adapter adapter;
    char *directory;    // of the adapter
    int32_t ids[MAX_ADAPTER_TOKENS];
    int num_ids;
} golden_adapter;

int list_adapters(char **names);                          // [MAX_ADAPTERS], each owned; sorted
void open_golden_adapter(const char *name, golden_adapter *g); // fails the test if it cannot
void close_golden_adapter(golden_adapter *g);
char *golden_base_path(const char *name);                  // of a golden model; owned
// The largest difference over the largest logit, of the rows that expected.json has under `key`.
double compare_rows(const golden_adapter *g, const char *key, const float *logits);

#endif
