// Where the time of a token goes in the MLX engine: building the graph, MLX's launches, waiting for the device; and which
// operations the token is made of. LLMLOCAL_PLUGIN_PATH names the folder of the plugin.
//     bench-mlx MODEL [TOKENS]
#include "bench.h"
#include "base/clock.h"
#include "base/mem.h"
#include "engine/mlx/shim.h"
#include <dlfcn.h>
#include <string.h>

enum { PROMPT = 16, WARM_UP = 32, MAX_KINDS = 100 };

static engine_model *model;
static engine_seq *seq;
static float *logits;
static int32_t token;
static int vocab_size;

// The plugin's hooks.
static void *hook(const char *name)
{
    char path[1000];
    const char *folder = getenv("LLMLOCAL_PLUGIN_PATH");
    snprintf(path, sizeof path, "%s/" MLX_PLUGIN_FILE, folder ? folder : ".");
    void *plugin = dlopen(path, RTLD_NOW), *symbol = plugin ? dlsym(plugin, name) : NULL;
    if (!symbol) fprintf(stderr, "%s\n", dlerror()), exit(1);
    return symbol;
}

static void open_model(const char *directory)
{
    engine *device;
    engine_info info;
    vocab_size = load_model("mlx", directory, &(engine_options){.cache_limit = 20 << 20}, &device, &model);
    check(engine_seq_create(model, &seq, &err));
    engine_get_info(device, &info);
    logits = mem_alloc_zero((size_t)vocab_size, sizeof *logits);
    if (!logits) exit(1);
    printf("MLX %s on %s (%s)\n", info.version, info.device, info.isa);
}

static void forward(const int32_t *tokens, int count)
{
    engine_batch_item item = {seq, tokens, count, 1, false};
    check(engine_forward(model, &item, 1, logits, &err));
}

static void choose(void)
{
    int best = 0;
    for (int i = 1; i < vocab_size; i++)
        if (logits[i] > logits[best]) best = i;
    token = best;
}

static void measure(int count)
{
    void (*get_costs)(mx_costs *) = (void (*)(mx_costs *))(uintptr_t)hook("mx_get_costs");
    mx_costs before, after;
    double forwards = 0, choosing = 0;
    get_costs(&before);
    for (int i = 0; i < count; i++) {
        double begin = clock_seconds();
        forward(&token, 1);
        double middle = clock_seconds();
        choose();
        forwards += middle - begin;
        choosing += clock_seconds() - middle;
    }
    get_costs(&after);
    double launching = after.begin_seconds - before.begin_seconds, waiting = after.wait_seconds - before.wait_seconds;
    printf("of %d tokens, each: %.3f ms (%.1f tokens/s)\n", count, (forwards + choosing) * 1e3 / count, count / (forwards + choosing));
    printf("  %8.3f ms building the graph, and handing over between threads\n", (forwards - launching - waiting) * 1e3 / count);
    printf("  %8.3f ms in MLX until the work is launched\n", launching * 1e3 / count);
    printf("  %8.3f ms waiting for the device, and copying the logits\n", waiting * 1e3 / count);
    printf("  %8.3f ms choosing the token from them\n", choosing * 1e3 / count);
}

// ---- What a token is made of

typedef struct tally {
    struct {
        char name[64]; // a copy: MLX's goes with the operation
        int count;
    } kinds[MAX_KINDS];
    int num_kinds, total;
} tally;

static void add(void *user, const char *name)
{
    tally *t = user;
    int i = 0;
    while (i < t->num_kinds && strncmp(t->kinds[i].name, name, sizeof t->kinds->name - 1) != 0) i++;
    if (i == MAX_KINDS) return;
    if (i == t->num_kinds) snprintf(t->kinds[t->num_kinds++].name, sizeof t->kinds->name, "%s", name);
    t->kinds[i].count++;
    t->total++;
}

static void print_operations(void)
{
    // Changes of shape alone, for which MLX launches nothing.
    static const char *const views[] = {"Broadcast", "ExpandDims", "Flatten", "Reshape", "Slice", "Squeeze", "Transpose", "Unflatten", "View"};
    void (*visit)(mx_visit, void *) = (void (*)(mx_visit, void *))(uintptr_t)hook("mx_visit_operations");
    static tally t;
    int views_seen = 0;
    visit(add, &t);
    forward(&token, 1);
    visit(NULL, NULL);
    for (int i = 0; i < t.num_kinds; i++)
        for (size_t j = 0; j < sizeof views / sizeof *views; j++)
            if (!strcmp(t.kinds[i].name, views[j])) views_seen += t.kinds[i].count;
    printf("%d operations, %d of them views:", t.total, views_seen);
    for (int i = 0; i < t.num_kinds; i++) printf(" %s %d%s", t.kinds[i].name, t.kinds[i].count, i + 1 < t.num_kinds ? "," : "\n");
}

int main(int argc, char **argv)
{
    int32_t prompt[PROMPT];
    int count = argc > 2 ? atoi(argv[2]) : 100;
    if (argc < 2 || count < 1) return fprintf(stderr, "usage: bench-mlx MODEL [TOKENS]\n"), 2;
    open_model(argv[1]);
    for (int i = 0; i < PROMPT; i++) prompt[i] = (7 + i * 37) % vocab_size;
    forward(prompt, PROMPT);
    for (int i = 0; i < (count < WARM_UP ? count : WARM_UP); i++) {
        choose();
        forward(&token, 1);
    }
    choose();
    measure(count);
    print_operations();
    return 0;
}
