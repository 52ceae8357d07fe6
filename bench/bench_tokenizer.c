// Speed of a tokenizer in processor time of one thread: load, then encode and decode in MB/s (medians).
// usage: bench-tokenizer TOKENIZER TEXT_FILE [--ids OUT] [--repeat N] [--chunk BYTES]
#include "order.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static llm_error err;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void check(llm_status status) {
    if (status == LLM_OK) return;
    fprintf(stderr, "%s\n", err.message);
    exit(1);
}

static void report(const char *what, double *times, int count, size_t bytes) {
    qsort(times, (size_t)count, sizeof *times, by_value);
    printf("%s %.1f MB/s (median of %d)\n", what, (double)bytes / 1e6 / times[count / 2], count);
}

static void write_ids(const char *path, const token_list *list) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(list->ids, sizeof *list->ids, list->count, file) != list->count || fclose(file))
        exit(1);
}

// Encodes the text whole, or in chunks cut at line ends.
static void encode_all(const tokenizer *tok, const char *text, size_t length, size_t chunk, token_list *ids) {
    token_list_clear(ids);
    for (size_t start = 0; start < length;) {
        size_t end = chunk && length - start > chunk ? start + chunk : length;
        const char *line = end < length ? memchr(text + end, '\n', length - end) : NULL;
        if (end < length) end = line ? (size_t)(line - text) + 1 : length;
        check(tokenizer_encode(tok, text + start, end - start, 0, ids, &err));
        start = end;
    }
}

int main(int argc, char **argv) {
    enum { MOST = 100 };
    const char *out = NULL;
    int repeat = 5;
    size_t chunk = 0, length;
    char *text;
    double times[MOST];
    if (argc < 3)
        return fprintf(
                   stderr,
                   "usage: bench-tokenizer TOKENIZER TEXT_FILE [--ids OUT] [--repeat N] [--chunk BYTES]\n"),
               2;
    for (int i = 3; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--ids") == 0) out = argv[i + 1];
        if (strcmp(argv[i], "--repeat") == 0) repeat = atoi(argv[i + 1]);
        if (strcmp(argv[i], "--chunk") == 0) chunk = strtoul(argv[i + 1], NULL, 10);
    }
    if (repeat < 1 || repeat > MOST) repeat = 5;
    tokenizer *tok;
    double before = seconds();
    check(tokenizer_load(argv[1], &tok, &err));
    printf("load %.1f ms, %zu tokens\n", (seconds() - before) * 1e3, tokenizer_vocab_size(tok));
    check(file_read(argv[2], (size_t)1 << 32, &text, &length, &err));
    token_list ids = {0};
    for (int i = 0; i < repeat; i++) {
        before = seconds();
        encode_all(tok, text, length, chunk, &ids);
        times[i] = seconds() - before;
    }
    printf("%zu bytes, %zu ids\n", length, ids.count);
    report("encode", times, repeat, length);
    buf decoded = {0};
    for (int i = 0; i < repeat; i++) {
        buf_clear(&decoded);
        before = seconds();
        check(tokenizer_decode(tok, ids.ids, ids.count, false, &decoded, &err));
        times[i] = seconds() - before;
    }
    report("decode", times, repeat, decoded.length);
    printf("round trip: %s\n", decoded.length == length && memcmp(decoded.data, text, length) == 0
                                   ? "the same text"
                                   : "another text");
    if (out) write_ids(out, &ids);
    buf_free(&decoded);
    token_list_free(&ids);
    mem_free(text);
    tokenizer_free(tok);
    return 0;
}
