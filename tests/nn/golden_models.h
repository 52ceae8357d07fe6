// The tiny models that MLX made, with the logits it computes: what families and engines are held against.
#ifndef TESTS_GOLDEN_MODELS_H
#define TESTS_GOLDEN_MODELS_H
#include "testing.h"
#include "nn/model.h"

enum { MAX_CASES = 200, MAX_TOKENS = 128 };

typedef struct golden {
    yyjson_doc *doc;
    yyjson_val *root; // of expected.json
    model_files files;
} golden;

int list_cases(char **names);                       // [MAX_CASES], each owned (mem_free); sorted
char *case_path(const char *name);                  // owned
void open_golden(const char *name, golden *g);      // fails the test if it cannot
void close_golden(golden *g);
int read_ids(yyjson_val *array, int32_t *ids, int used); // appends to ids [MAX_TOKENS]; returns the new count
double compare_logits(const golden *g, const float *logits); // [tokens, vocab]: largest difference over the largest logit
int largest_logit(const float *row, int vocab_size);

#endif
