// Stop strings, against a plain search over the whole text, however the text is cut.
#include "testing.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/stop_strings.h"
#include <stdlib.h>

static llm_error err;

// The match that ends first; of those, the longest. Returns where the text is cut.
static size_t search(const char *const *strings, size_t count, const char *text, size_t length, int *which) {
    for (size_t end = 1; end <= length; end++) {
        *which = -1;
        for (size_t i = 0; i < count; i++) {
            size_t n = strlen(strings[i]);
            bool longer = *which < 0 || n > strlen(strings[*which]);
            if (n <= end && longer && memcmp(text + end - n, strings[i], n) == 0) *which = (int)i;
        }
        if (*which >= 0) return end - strlen(strings[*which]);
    }
    return length;
}

static void check(const char *const *strings, size_t count, const char *text, size_t length, unsigned step) {
    stop_strings *stops;
    buf out = {0};
    int which = -1;
    size_t cut = search(strings, count, text, length, &which);
    assert_ok(stop_strings_create(strings, count, &stops, &err));
    for (int round = 0; round < 2; round++, stop_strings_reset(stops), buf_clear(&out)) {
        for (size_t i = 0, n; i < length; i += n) {
            n = step ? step : (unsigned)rand() % 4 + 1;
            if (n > length - i) n = length - i;
            assert_ok(stop_strings_push(stops, text + i, n, &out, &err));
            assert_true(!out.data || utf8_valid(out.data, out.length));
        }
        assert_ok(stop_strings_finish(stops, &out, &err));
        assert_int_equal(stop_strings_matched(stops), which);
        assert_int_equal(out.length, cut);
        assert_memory_equal(out.data ? out.data : "", text, cut);
    }
    stop_strings_free(stops);
    buf_free(&out);
}

static void test_random_texts(void **state) {
    (void)state;
    static const char *const strings[] = {"aba",
                                          "abab",
                                          "bb",
                                          "caa",
                                          "\xC3\xA9"
                                          "a",
                                          "\xE2\x82\xAC"};
    static const char *const letters[] = {"a", "b", "c", "\xC3\xA9", "\xE2\x82\xAC", "\xE2\x82\xAD"};
    srand(1);
    for (int i = 0; i < 3000; i++) {
        char text[64] = "";
        for (int k = rand() % 14; k >= 0; k--) strcat(text, letters[rand() % 6]);
        size_t first = (size_t)rand() % 6, count = (size_t)rand() % (7 - first);
        check(strings + first, count, text, strlen(text), (unsigned)rand() % 3);
    }
}

static void test_what_is_held_back(void **state) {
    (void)state;
    stop_strings *stops;
    buf out = {0};
    assert_ok(stop_strings_create((const char *const[]){"<|im_end|>", "STOP", "STOP"}, 3, &stops, &err));
    assert_ok(stop_strings_push(stops, "hello <|im", 10, &out, &err));
    assert_string_equal(out.data, "hello ");
    assert_ok(stop_strings_push(stops, "age> ST", 7, &out, &err));
    assert_string_equal(out.data, "hello <|image> ");
    assert_ok(stop_strings_push(stops, "OP and more", 11, &out, &err));
    assert_string_equal(out.data, "hello <|image> ");
    assert_int_equal(stop_strings_matched(stops), 1);
    assert_ok(stop_strings_push(stops, "swallowed", 9, &out, &err));
    assert_ok(stop_strings_finish(stops, &out, &err));
    assert_string_equal(out.data, "hello <|image> ");
    stop_strings_free(stops);
    buf_free(&out);
}

static void test_refusals(void **state) {
    (void)state;
    stop_strings *stops;
    char *huge = calloc(1, 20001);
    memset(huge, 'a', 20000);
    assert_error(stop_strings_create((const char *const[]){"a", ""}, 2, &stops, &err), LLM_INVALID_ARGUMENT,
                 "empty");
    assert_error(stop_strings_create((const char *const[]){"\xFF"}, 1, &stops, &err), LLM_INVALID_ARGUMENT,
                 "UTF-8");
    assert_error(stop_strings_create((const char *const[]){huge}, 1, &stops, &err), LLM_INVALID_ARGUMENT,
                 "more than");
    for (long i = 0; i < 3; i++) {
        mem_fail_after(i);
        assert_error(stop_strings_create((const char *const[]){"a"}, 1, &stops, &err), LLM_OUT_OF_MEMORY,
                     "stop strings");
        mem_fail_after(-1);
    }
    buf out = {0};
    assert_ok(stop_strings_create((const char *const[]){"ab"}, 1, &stops, &err));
    mem_fail_after(0);
    assert_error(stop_strings_push(stops, "xa", 2, &out, &err), LLM_OUT_OF_MEMORY, "");
    mem_fail_after(-1);
    stop_strings_free(stops);
    stop_strings_free(NULL);
    buf_free(&out);
    free(huge);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_texts),
        cmocka_unit_test(test_what_is_held_back),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
