// Two or more versions of the engine in one process, by turns: what one machine's drift does to one, it does to the others.
// A version is the shared object libbench-version.so that a build of it leaves in bench/.
//     bench-versions MODEL TOKENS ROUNDS TEXT_FILE|- VERSION.so...
#include "order.h"
#include "version.h"
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_VERSIONS = 8, MAX_ROUNDS = 1001, DECODED = 8, PREFILL_EVERY = 8 };

typedef struct loaded {
    const char *name;
    void *version;
    prefill_version_function *prefill;
    decode_version_function *decode;
    double token[MAX_ROUNDS], prompt[MAX_ROUNDS]; // seconds
    double ratio[2][MAX_ROUNDS];                  // of them to the first version's of the same round
} loaded;

static loaded versions[MAX_VERSIONS];

static void *symbol(void *object, const char *name)
{
    void *address = dlsym(object, name);
    if (!address) fprintf(stderr, "bench-versions: %s\n", dlerror()), exit(1);
    return address;
}

static void load(loaded *l, const char *file, char **args)
{
    void *object = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!object) fprintf(stderr, "bench-versions: %s\n", dlerror()), exit(1);
    open_version_function *open = (open_version_function *)symbol(object, "open_version");
    l->name = file;
    l->prefill = (prefill_version_function *)symbol(object, "prefill_version");
    l->decode = (decode_version_function *)symbol(object, "decode_version");
    l->version = open(args[1], strcmp(args[4], "-") ? args[4] : NULL, atoi(args[2]), 0);
}

static double at(double *values, int count, double share)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[(int)(share * (count - 1) + 0.5)];
}

// Each round begins with another version.
static int run(int num_versions, int rounds)
{
    int prompts = 0;
    for (int round = 0; round < rounds; round++) {
        bool with_prompt = round % PREFILL_EVERY == 0;
        for (int i = 0; i < num_versions; i++) {
            loaded *l = &versions[(i + round) % num_versions];
            l->token[round] = l->decode(l->version, DECODED);
            if (with_prompt) l->prompt[prompts] = l->prefill(l->version);
        }
        for (int i = 0; i < num_versions; i++) {
            versions[i].ratio[0][round] = versions[i].token[round] / versions[0].token[round];
            if (with_prompt) versions[i].ratio[1][prompts] = versions[i].prompt[prompts] / versions[0].prompt[prompts];
        }
        prompts += with_prompt;
    }
    return prompts;
}

int main(int argc, char **argv)
{
    int num_versions = argc - 5, rounds = argc > 3 ? atoi(argv[3]) : 0;
    if (num_versions < 1 || num_versions > MAX_VERSIONS || rounds < 1 || rounds > MAX_ROUNDS || atoi(argv[2]) < 1)
        return fprintf(stderr, "usage: bench-versions MODEL TOKENS ROUNDS TEXT_FILE|- VERSION.so...\n"), 2;
    for (int i = 0; i < num_versions; i++) load(&versions[i], argv[i + 5], argv);
    int prompts = run(num_versions, rounds);
    printf("%s, %s tokens: a token behind them, median (10th percentile) of %d times %d, us; prompt, median of %d, ms; median ratios of a round's times to the first's\n",
           argv[1], argv[2], rounds, DECODED, prompts);
    for (int i = 0; i < num_versions; i++) {
        loaded *l = &versions[i];
        printf("%-40s token %7.0f (%7.0f) %.3f   prompt %8.1f %.3f\n", l->name, 1e6 * at(l->token, rounds, 0.5), 1e6 * at(l->token, rounds, 0.1),
               at(l->ratio[0], rounds, 0.5), 1e3 * at(l->prompt, prompts, 0.5), at(l->ratio[1], prompts, 0.5));
    }
    return 0;
}
