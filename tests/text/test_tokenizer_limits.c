// What a tokenizer refuses, what hostile texts and files cost, memory that runs out, and threads.
#include "testing.h"
#include "base/buf.h"
#include "base/mem.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static llm_error err;

#define BPE(members)                                                                                         \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<unk>\":3,"                           \
    "\"aa\":4,\"aaaa\":5,\" \":6},\"merges\":[\"a b\",[\"a\",\"a\"],[\"aa\",\"aa\"]]" members "}"

static llm_status load(const char *json, tokenizer **tok) {
    return tokenizer_load_json(json, strlen(json), "test", tok, &err);
}

static tokenizer *load_ok(const char *json) {
    tokenizer *tok;
    assert_ok(load(json, &tok));
    return tok;
}

static void test_what_is_not_supported_is_named(void **state) {
    (void)state;
    static const struct {
        const char *json, *text;
        llm_status status;
    } cases[] = {
        {"{", "not valid JSON", LLM_LOAD_FAILED},
        {"[]", "not a tokenizer", LLM_LOAD_FAILED},
        {"{}", "no model", LLM_LOAD_FAILED},
        {"{\"version\":\"2.0\"}", "version \"2.0\"", LLM_UNSUPPORTED_FORMAT},
        {"{\"model\":{\"type\":\"Neural\",\"vocab\":{}}}", "\"Neural\"", LLM_UNSUPPORTED_FORMAT},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "no usable id",
         LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999},\"merges\":[]}}", "no usable id",
         LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "merge 0", LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a  a\"]}}", "merge 0",
         LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "not in the vocabulary",
         LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "\"b\"", LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"c a\"]}}", "\"c\"", LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", "no merges", LLM_LOAD_FAILED},
        {"{" BPE(",\"dropout\":0.1") "}", "dropout", LLM_UNSUPPORTED_FORMAT},
        {"{" BPE(",\"continuing_subword_prefix\":\"###\"") "}", "too long or too short",
         LLM_UNSUPPORTED_FORMAT},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":7}}", "unknown token",
         LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "entry 0", LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"b\"]]}}", "no score", LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":1}}}", "another model", LLM_LOAD_FAILED},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":1},\"max_input_chars_per_word\":-1}}",
         "negative", LLM_LOAD_FAILED},
        {"{\"normalizer\":{\"type\":\"Magic\"}," BPE("") "}", "\"Magic\"", LLM_UNSUPPORTED_FORMAT},
        {"{\"normalizer\":{\"type\":\"Prepend\"}," BPE("") "}", "\"prepend\"", LLM_LOAD_FAILED},
        {"{\"normalizer\":{\"type\":\"Sequence\"}," BPE("") "}", "\"normalizers\"", LLM_LOAD_FAILED},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}," BPE("") "}",
         "damaged", LLM_LOAD_FAILED},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"!\"}," BPE("") "}", "damaged",
         LLM_LOAD_FAILED},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAAAAAAD/\"}," BPE("") "}",
         "not UTF-8", LLM_LOAD_FAILED},
        {"{\"normalizer\":{\"type\":\"Precompiled\"}," BPE("") "}", "precompiled_charsmap", LLM_LOAD_FAILED},
        {"{\"normalizer\":{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Glob\":\"*\"}}," BPE("") "}",
         "\"pattern\"", LLM_UNSUPPORTED_FORMAT},
        {"{\"pre_tokenizer\":{\"type\":\"Magic\"}," BPE("") "}", "\"Magic\"", LLM_UNSUPPORTED_FORMAT},
        {"{\"pre_tokenizer\":{\"type\":\"Sequence\"}," BPE("") "}", "\"pretokenizers\"", LLM_LOAD_FAILED},
        {"{\"pre_tokenizer\":{\"type\":\"Punctuation\",\"behavior\":\"Eaten\"}," BPE("") "}", "\"Eaten\"",
         LLM_UNSUPPORTED_FORMAT},
        {"{\"pre_tokenizer\":{\"type\":\"FixedLength\",\"length\":0}," BPE("") "}", "positive",
         LLM_LOAD_FAILED},
        {"{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}," BPE("") "}", "one character",
         LLM_LOAD_FAILED},
        {"{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}," BPE(
             "") "}",
         "\"last\"", LLM_UNSUPPORTED_FORMAT},
        {"{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false,"
         "\"prepend_scheme\":\"first\"}," BPE("") "}",
         "contradicts", LLM_LOAD_FAILED},
        {"{\"post_processor\":{\"type\":\"Magic\"}," BPE("") "}", "\"Magic\"", LLM_UNSUPPORTED_FORMAT},
        {"{\"post_processor\":{\"type\":\"Sequence\"}," BPE("") "}", "\"processors\"", LLM_LOAD_FAILED},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\"}," BPE("") "}", "\"single\"", LLM_LOAD_FAILED},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]"
         "}," BPE("") "}",
         "\"x\" has no ids", LLM_LOAD_FAILED},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}]}"
         "," BPE("") "}",
         "template", LLM_UNSUPPORTED_FORMAT},
        {"{\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\",-1]}," BPE("") "}", "usable id",
         LLM_LOAD_FAILED},
        {"{\"decoder\":{\"type\":\"Magic\"}," BPE("") "}", "\"Magic\"", LLM_UNSUPPORTED_FORMAT},
        {"{\"decoder\":{\"type\":\"Sequence\"}," BPE("") "}", "\"decoders\"", LLM_LOAD_FAILED},
        {"{\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1}," BPE("") "}", "fewer than none",
         LLM_LOAD_FAILED},
        {"{\"decoder\":{\"type\":\"Strip\",\"content\":\"\"}," BPE("") "}", "one character", LLM_LOAD_FAILED},
        {"{\"decoder\":{\"type\":\"BPEDecoder\",\"suffix\":\"\"}," BPE("") "}", "empty suffix",
         LLM_UNSUPPORTED_FORMAT},
        {"{\"decoder\":{\"type\":\"Replace\"}," BPE("") "}", "\"content\"", LLM_LOAD_FAILED},
        {"{\"added_tokens\":{}," BPE("") "}", "must be a list", LLM_LOAD_FAILED},
        {"{\"added_tokens\":[{}]," BPE("") "}", "\"content\"", LLM_LOAD_FAILED},
        {"{\"added_tokens\":[{\"content\":\"x\",\"special\":1}]," BPE("") "}", "\"special\"",
         LLM_LOAD_FAILED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer *tok;
        assert_error(load(cases[i].json, &tok), cases[i].status, cases[i].text);
        assert_null(tok);
    }
}

static void test_regular_expressions_that_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *source, *text;
    } cases[] = {
        {"(", "unfinished group"},
        {")", ") too many"},
        {"[a", "unfinished set"},
        {"*", "nothing before it"},
        {"\\\\p{Klingon}", "Klingon"},
        {"\\\\pL", "without braces"},
        {"\\\\p{L", "unfinished property"},
        {"\\\\p{}", "empty property"},
        {"\\\\p{L+}", "strange property"},
        {"(?x)a", "unknown group or option"},
        {"(?i", "unfinished option"},
        {"\\\\q", "unknown escape"},
        {"[\\\\q]", "unknown escape in a set"},
        {"[a-\\\\d]", "range to a class"},
        {"[[:what:]]", "unknown [: :]"},
        {"[[:alpha]", "unfinished [: :]"},
        {"(?#a", "unfinished comment"},
        {"(?~a)", "unknown group"},
        {"(?<n>a)\\\\k<n-1>", "strange name"},
        {"\\\\x{110000}", "unknown escape"},
        {"[\\\\x{zz}]", "unknown escape"},
        {"a{5,2}", "regular expression"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[1024];
        tokenizer *tok;
        snprintf(json, sizeof json,
                 "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"}},%s}",
                 cases[i].source, BPE(""));
        assert_error(load(json, &tok), LLM_UNSUPPORTED_FORMAT, cases[i].text);
    }
}

static void test_deep_nesting_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *key, *list;
    } kinds[] = {
        {"normalizer", "normalizers"},
        {"pre_tokenizer", "pretokenizers"},
        {"decoder", "decoders"},
        {"post_processor", "processors"},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        buf json = {0};
        tokenizer *tok;
        buf_printf(&json, "{\"%s\":", kinds[k].key);
        for (int i = 0; i < 100; i++) buf_printf(&json, "{\"type\":\"Sequence\",\"%s\":[", kinds[k].list);
        for (int i = 0; i < 100; i++) buf_append_string(&json, "]}");
        buf_append_string(&json, "," BPE("") "}");
        assert_error(load(json.data, &tok), LLM_UNSUPPORTED_FORMAT, "too deep");
        buf_free(&json);
    }
    static const char *const open[] = {"(?:", "["}, *const closed[] = {")", "a]"};
    for (int k = 0; k < 2; k++) {
        buf json = {0};
        tokenizer *tok;
        buf_append_string(&json, "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"");
        for (int i = 0; i < 1000; i++) buf_append_string(&json, open[k]);
        for (int i = 0; i < 1000; i++) buf_append_string(&json, closed[k]);
        buf_append_string(&json, "\"}}," BPE("") "}");
        assert_error(load(json.data, &tok), LLM_UNSUPPORTED_FORMAT, "too deep");
        buf_free(&json);
    }
}

static void test_too_many_steps_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *key, *list, *step;
    } kinds[] = {
        {"normalizer", "normalizers", "{\"type\":\"NFC\"}"},
        {"pre_tokenizer", "pretokenizers", "{\"type\":\"Whitespace\"}"},
        {"decoder", "decoders", "{\"type\":\"Fuse\"}"},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        buf json = {0};
        tokenizer *tok;
        buf_printf(&json, "{\"%s\":{\"type\":\"Sequence\",\"%s\":[%s", kinds[k].key, kinds[k].list,
                   kinds[k].step);
        for (int i = 0; i < 100; i++) buf_printf(&json, ",%s", kinds[k].step);
        buf_append_string(&json, "]}," BPE("") "}");
        assert_error(load(json.data, &tok), LLM_UNSUPPORTED_FORMAT, "more than");
        buf_free(&json);
    }
}

static void test_texts_that_cannot_be_encoded(void **state) {
    (void)state;
    token_list ids = {0};
    tokenizer *tok = load_ok("{" BPE("") "}");
    assert_true(token_list_append(&ids, &(int32_t){7}, 1));
    assert_error(tokenizer_encode(tok, "a\xFF", 2, 0, &ids, &err), LLM_INVALID_ARGUMENT, "UTF-8");
    assert_ok(tokenizer_encode(tok, "axb", 3, 0, &ids, &err)); // without an unknown token, x is lost
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.ids[0], 7);
    assert_int_equal(ids.ids[1], 2);
    assert_ok(tokenizer_encode(tok, "", 0, 0, &ids, &err));
    tokenizer_free(tok);
    static const char *const without_unknown[] = {
        "{" BPE(",\"unk_token\":\"[UNK]\"") "}",
        "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]]}}",
        "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0},\"unk_token\":\"[UNK]\"}}",
        "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":\"[UNK]\"}}",
    };
    for (int i = 0; i < 4; i++) {
        tok = load_ok(without_unknown[i]);
        assert_error(tokenizer_encode(tok, "x", 1, 0, &ids, &err), LLM_INVALID_ARGUMENT, "unknown token");
        tokenizer_free(tok);
    }
    token_list_free(&ids);
}

static void test_single_tokens(void **state) {
    (void)state;
    size_t length;
    tokenizer *tok = load_ok(
        "{\"added_tokens\":[{\"content\":\"<s>\",\"special\":true},{\"content\":\"a\",\"special\":false},"
        "{\"content\":\"<s>\",\"special\":true,\"rstrip\":true}]," BPE("") "}");
    assert_int_equal(tokenizer_vocab_size(tok), 8);
    assert_int_equal(tokenizer_token_id(tok, "<s>", 3), 7);
    assert_int_equal(tokenizer_token_id(tok, "ab", 2), 2);
    assert_int_equal(tokenizer_token_id(tok, "none", 4), -1);
    assert_string_equal(tokenizer_token_text(tok, 7, &length), "<s>");
    assert_int_equal(length, 3);
    assert_string_equal(tokenizer_token_text(tok, 2, NULL), "ab");
    assert_null(tokenizer_token_text(tok, 8, NULL));
    assert_null(tokenizer_token_text(tok, -1, NULL));
    assert_true(tokenizer_is_special(tok, 7));
    assert_false(tokenizer_is_special(tok, 0));
    assert_false(tokenizer_is_special(tok, 1 << 30));
    token_list ids = {0};
    assert_ok(tokenizer_encode(tok, "<s>  b", 6, 0, &ids, &err)); // the last word on <s> is that it strips
    assert_int_equal(ids.count, 2);
    token_list_free(&ids);
    tokenizer_free(tok);
}

static double encode_seconds(const tokenizer *tok, const char *unit, size_t bytes) {
    struct timespec before, after;
    buf text = {0};
    token_list ids = {0};
    while (text.length < bytes) buf_append_string(&text, unit);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    assert_ok(tokenizer_encode(tok, text.data, text.length, 0, &ids, &err));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    buf_free(&text);
    token_list_free(&ids);
    return (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
}

// A megabyte without a space, in every model: seconds would mean that the time grows with the square.
static void test_long_words_take_linear_time(void **state) {
    (void)state;
    static const char *const files[] = {
        "{" BPE(",\"unk_token\":\"<unk>\"") "}",
        "{" BPE(
            ",\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":\"\",\"end_of_word_suffix\":\"b\"") "}",
        "{\"normalizer\":{\"type\":\"NFKD\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>"
        "\",0],[\"a\",-1],[\"aa\",-1.5],[\"aaaaaaaa\",-3]]}}",
        "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"a\",\"max_input_chars_per_word\":100000000,"
        "\"vocab\":{\"a\":0,\"##aa\":1,\"##a\":2}}}",
        "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}," BPE("") "}",
        "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+(?!\\\\S)|\\\\s*[\\\\r\\\\n]+|"
        "\\\\p{L}+\"}}," BPE("") "}",
    };
    static const char *const units[] = {"a", " ", "ab", "x", "\xCC\x81\xCC\xA3", "a\xE2\x96\x81"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        tokenizer *tok = load_ok(files[i]);
        for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
            double seconds = encode_seconds(tok, units[k], 1 << 20);
            if (seconds > 4) fail_msg("file %zu, \"%s\": %.1f s", i, units[k], seconds);
        }
        tokenizer_free(tok);
    }
}

static void test_hostile_expression_ends_as_an_error(void **state) {
    (void)state;
    token_list ids = {0};
    buf text = {0};
    tokenizer *tok = load_ok(
        "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:a|aa)+[b-z]\"}}," BPE("") "}");
    for (int i = 0; i < 5000; i++) buf_append_char(&text, 'a');
    assert_error(tokenizer_encode(tok, text.data, text.length, 0, &ids, &err), LLM_UNSUPPORTED_FORMAT,
                 "fails on this text");
    tokenizer_free(tok);
    tok = load_ok("{\"normalizer\":{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"(?:a|aa)+["
                  "b-z]\"}}," BPE("") "}");
    assert_error(tokenizer_encode(tok, text.data, text.length, 0, &ids, &err), LLM_UNSUPPORTED_FORMAT,
                 "fails on this text");
    tokenizer_free(tok);
    buf_free(&text);
    token_list_free(&ids);
}

static const char everything[] =
    "{\"added_tokens\":[{\"content\":\"<s>\",\"special\":true},{\"content\":\"B\",\"normalized\":true}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"Lowercase\"},{"
    "\"type\":\"Prepend\",\"prepend\":\"a\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s\"},\"content\":\" \"},"
    "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAAAAAABhAA==\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Metaspace\",\"replacement\":"
    "\"\xE2\x96\x81\"},"
    "{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},\"behavior\":\"MergedWithNext\"},{\"type\":"
    "\"ByteLevel\"},{\"type\":\"ByteLevel\"}]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},"
    "\"content\":\"c\"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"CTC\"},{\"type\":\"WordPiece\"},{\"type\":\"BPEDecoder\"},{"
    "\"type\":\"ByteLevel\"},"
    "{\"type\":\"Strip\",\"content\":\"c\",\"start\":1,\"stop\":1},{\"type\":\"Fuse\"}]},"
    "\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"a\",0],\"sep\":[\"b\",1]}," BPE(
        ",\"unk_token\":\"<unk>\"") "}";

static const char unigram_file[] = "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,"
                                   "\"vocab\":[[\"<unk>\",0],[\"a\",-1],[\"ab\",-1.5]]}}";

static llm_status use(const char *json) {
    tokenizer *tok = NULL;
    token_list ids = {0};
    buf text = {0};
    static const char source[] =
        "<s>A\xC3\xA9\xCC\xA3 b\tBaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    llm_status status = load(json, &tok);
    if (status == LLM_OK)
        status = tokenizer_encode(tok, source, sizeof source - 1, TOKENIZER_ADD_SPECIAL, &ids, &err);
    if (status == LLM_OK) status = tokenizer_decode(tok, ids.ids, ids.count, false, &text, &err);
    tokenizer_free(tok);
    token_list_free(&ids);
    buf_free(&text);
    return status;
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    static const char *const files[] = {everything, unigram_file};
    for (int i = 0; i < 2; i++) {
        assert_ok(use(files[i]));
        llm_status status = LLM_OUT_OF_MEMORY;
        long count = 0;
        for (; status != LLM_OK && count < 5000; count++) {
            mem_fail_after(count);
            status = use(files[i]);
            mem_fail_after(-1);
            if (status != LLM_OK && status != LLM_OUT_OF_MEMORY)
                fail_msg("allocation %ld: %s", count, err.message);
        }
        assert_int_equal(status, LLM_OK);
        assert_true(count > 10);
    }
}

static void *encode_in_thread(void *user) {
    const tokenizer *tok = user;
    token_list ids = {0}, again = {0};
    llm_error own;
    static const char *const texts[] = {"aab ab", "b <s> a", "aaaaaaaaaa b"};
    for (int i = 0; i < 3000; i++) {
        token_list_clear(&ids);
        if (tokenizer_encode(tok, texts[i % 3], strlen(texts[i % 3]), 0, &ids, &own) != LLM_OK) return user;
        if (i % 3 == 0 && again.count &&
            (again.count != ids.count || memcmp(again.ids, ids.ids, ids.count * sizeof *ids.ids)))
            return user;
        if (i == 0) token_list_append(&again, ids.ids, ids.count);
    }
    token_list_free(&ids);
    token_list_free(&again);
    return NULL;
}

static void test_threads_share_a_tokenizer(void **state) {
    (void)state;
    tokenizer *tok = load_ok(everything);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, encode_in_thread, tok), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    tokenizer_free(tok);
}

static void test_loading_from_files(void **state) {
    (void)state;
    tokenizer *tok;
    assert_ok(tokenizer_load(GOLDEN_DIR "/models/chat", &tok, &err));
    tokenizer_free(tok);
    assert_ok(tokenizer_load(GOLDEN_DIR "/models/chat/tokenizer.json", &tok, &err));
    tokenizer_free(tok);
    assert_error(tokenizer_load(GOLDEN_DIR "/models/llama-tied", &tok, &err), LLM_IO_ERROR, "tokenizer.json");
    assert_error(tokenizer_load(GOLDEN_DIR "/models/chat/config.json", &tok, &err), LLM_LOAD_FAILED,
                 "config.json: ");
    tokenizer_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_supported_is_named),
        cmocka_unit_test(test_regular_expressions_that_are_refused),
        cmocka_unit_test(test_deep_nesting_is_refused),
        cmocka_unit_test(test_too_many_steps_are_refused),
        cmocka_unit_test(test_texts_that_cannot_be_encoded),
        cmocka_unit_test(test_single_tokens),
        cmocka_unit_test(test_long_words_take_linear_time),
        cmocka_unit_test(test_hostile_expression_ends_as_an_error),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_threads_share_a_tokenizer),
        cmocka_unit_test(test_loading_from_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
