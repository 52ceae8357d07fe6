// Tokenizers against the Hugging Face library: what it encodes and decodes with small tokenizers of every
// kind (tools/make_tiny_tokenizers.py), whole and streamed.
#include "testing.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static llm_error err;

static void check_text(const char *name, const char *what, const char *source, yyjson_val *expected,
                       const buf *got) {
    const char *text = got->data ? got->data : "";
    if (got->length == yyjson_get_len(expected) && memcmp(text, yyjson_get_str(expected), got->length) == 0)
        return;
    fail_msg("%s: %s of \"%s\" is \"%s\", not \"%s\"", name, what, source, text, yyjson_get_str(expected));
}

static void check_ids(const char *name, yyjson_val *item, const token_list *got) {
    yyjson_val *ids = yyjson_obj_get(item, "ids");
    buf text = {0};
    bool same = got->count == yyjson_arr_size(ids);
    for (size_t i = 0; i < got->count; i++) buf_printf(&text, " %d", got->ids[i]);
    for (size_t i = 0; i < got->count && same; i++)
        same = yyjson_get_int(yyjson_arr_get(ids, i)) == got->ids[i];
    char *wanted = yyjson_val_write(ids, 0, NULL);
    if (!same)
        fail_msg("%s: ids of \"%s\" are%s, not %s", name, yyjson_get_str(yyjson_obj_get(item, "text")),
                 text.data, wanted);
    free(wanted);
    buf_free(&text);
}

static void decode_streaming(const tokenizer *tok, const token_list *ids, bool skip, buf *out) {
    detokenizer *d;
    assert_ok(detokenizer_create(tok, skip, &d, &err));
    for (int round = 0; round < 2; round++) { // a finished stream begins anew
        buf_clear(out);
        for (size_t i = 0; i < ids->count; i++) {
            assert_ok(detokenizer_push(d, ids->ids[i], out, &err));
            assert_true(utf8_valid(out->data ? out->data : "", out->length));
        }
        assert_ok(detokenizer_finish(d, out, &err));
    }
    detokenizer_free(d);
}

static void check_decode(const char *name, const tokenizer *tok, const token_list *ids, bool skip,
                         yyjson_val *expected, const char *source) {
    buf text = {0};
    assert_ok(tokenizer_decode(tok, ids->ids, ids->count, skip, &text, &err));
    check_text(name, skip ? "decode without special tokens" : "decode", source, expected, &text);
    decode_streaming(tok, ids, skip, &text);
    check_text(name, skip ? "streamed decode without special tokens" : "streamed decode", source, expected,
               &text);
    buf_free(&text);
}

static void check_case(const char *name, const tokenizer *tok, yyjson_val *item) {
    yyjson_val *text = yyjson_obj_get(item, "text"), *ids = yyjson_obj_get(item, "ids"), *id;
    yyjson_val *decoded = yyjson_obj_get(item, "decoded"), *skipped = yyjson_obj_get(item, "decoded_skip");
    const char *source = text ? yyjson_get_str(text) : "ids";
    token_list list = {0};
    size_t index, count;
    if (text) {
        assert_ok(tokenizer_encode(tok, source, yyjson_get_len(text), TOKENIZER_ADD_SPECIAL, &list, &err));
        check_ids(name, item, &list);
    }
    token_list_clear(&list);
    yyjson_arr_foreach(ids, index, count, id)
        assert_true(token_list_append(&list, &(int32_t){yyjson_get_int(id)}, 1));
    if (decoded) check_decode(name, tok, &list, false, decoded, source);
    if (decoded) check_decode(name, tok, &list, true, skipped ? skipped : decoded, source);
    token_list_free(&list);
}

static size_t check_file(const char *name, yyjson_val *root) {
    size_t index, count, length;
    yyjson_val *item;
    tokenizer *tok;
    char *json = yyjson_val_write(yyjson_obj_get(root, "tokenizer"), 0, &length);
    assert_non_null(json);
    if (tokenizer_load_json(json, length, name, &tok, &err) != LLM_OK) fail_msg("%s", err.message);
    yyjson_arr_foreach(yyjson_obj_get(root, "cases"), index, count, item) check_case(name, tok, item);
    tokenizer_free(tok);
    free(json);
    return count;
}

static void test_golden_tokenizers(void **state) {
    (void)state;
    DIR *directory = opendir(GOLDEN_DIR "/tokenizers");
    assert_non_null(directory);
    size_t files = 0, cases = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[512];
        yyjson_doc *doc;
        if (!strstr(entry->d_name, ".json")) continue;
        snprintf(path, sizeof path, GOLDEN_DIR "/tokenizers/%s", entry->d_name);
        assert_ok(json_read_file(path, 1 << 24, &doc, &err));
        cases += check_file(entry->d_name, yyjson_doc_get_root(doc));
        json_free(doc);
        files++;
    }
    closedir(directory);
    print_message("%zu tokenizers, %zu cases\n", files, cases);
    assert_true(files > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_tokenizers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
