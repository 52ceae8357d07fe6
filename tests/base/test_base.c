// Buffers, UTF-8, files, JSON access, maps and allocation failure.
#include "testing.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static llm_error err;

static void test_utf8_decodes_what_rfc3629_allows(void **state)
{
    (void)state;
    uint32_t c;
    assert_int_equal(utf8_decode("\xE2\x82\xAC", 3, &c), 3);
    assert_int_equal(c, 0x20AC);
    assert_int_equal(utf8_decode("\xF0\x9F\x98\x80", 4, &c), 4);
    assert_int_equal(c, 0x1F600);
    assert_int_equal(utf8_decode("\xC0\x80", 2, &c), 0);         // overlong
    assert_int_equal(utf8_decode("\xED\xA0\x80", 3, &c), 0);     // surrogate
    assert_int_equal(utf8_decode("\xF4\x90\x80\x80", 4, &c), 0); // too large
    assert_int_equal(utf8_decode("\xE2\x82", 2, &c), 0);         // cut off
    assert_false(utf8_valid("a\xFF", 2));
    assert_true(utf8_valid("a\xC3\xA9", 3));
}

static void test_utf8_round_trips_every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        char bytes[4];
        uint32_t back;
        size_t length = utf8_encode(c, bytes);
        if (utf8_decode(bytes, length, &back) != length || back != c) fail_msg("U+%04X", c);
    }
}

static void test_utf8_complete_prefix_holds_back_cut_characters_only(void **state)
{
    (void)state;
    assert_int_equal(utf8_complete_prefix("a\xF0\x9F\x98", 4), 1);
    assert_int_equal(utf8_complete_prefix("a\xF0\x9F\x98\x80", 5), 5);
    assert_int_equal(utf8_complete_prefix("a\xC3", 2), 1);
    assert_int_equal(utf8_complete_prefix("a\xFF", 2), 2);
    assert_int_equal(utf8_complete_prefix("\x80\x80\x80\x80", 4), 4);
    assert_int_equal(utf8_complete_prefix("\xE0\x80", 2), 2);
    assert_int_equal(utf8_complete_prefix("", 0), 0);
}

static void test_buffer_appends_and_escapes(void **state)
{
    (void)state;
    buf b = {0};
    buf_append_json_string(&b, "a\"\\\n\x01\xC3\xA9\xFF", 8);
    assert_string_equal(b.data, "\"a\\\"\\\\\\n\\u0001\xC3\xA9\xEF\xBF\xBD\"");
    buf_clear(&b);
    for (int i = 0; i < 1000; i++) buf_printf(&b, "%d,", i);
    assert_false(b.failed);
    assert_int_equal(b.length, 10 + 2 * 90 + 3 * 900 + 1000);
    buf_free(&b);
    buf limited = {.limit = 4};
    assert_true(buf_append_string(&limited, "four"));
    assert_false(buf_append_char(&limited, '5'));
    assert_null(buf_take(&limited));
}

static void test_errors_keep_the_reason_and_whole_characters(void **state)
{
    (void)state;
    char text[700];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xE2\x82\xAC", 3);
    text[699] = 0;
    error_set(&err, LLM_LOAD_FAILED, "%s", text);
    assert_true(utf8_valid(err.message, strlen(err.message)));
    error_set(&err, LLM_LOAD_FAILED, "the reason");
    assert_int_equal(error_prefix(&err, "%s", text), LLM_LOAD_FAILED);
    assert_non_null(strstr(err.message, ": the reason"));
    assert_int_equal(error_set(NULL, LLM_BUSY, "nobody reads this"), LLM_BUSY);
    for (int code = LLM_OK; code <= LLM_INTERNAL_ERROR; code++)
        assert_string_not_equal(llm_status_name((llm_status)code), "unknown status");
    assert_string_equal(llm_status_name((llm_status)999), "unknown status");
}

static void test_files_write_read_map_and_name_what_is_wrong(void **state)
{
    (void)state;
    char directory[] = "/tmp/llmlocal-test-XXXXXX", *data;
    size_t length;
    file_map map;
    assert_non_null(mkdtemp(directory));
    char *nested = path_join(directory, "a/b/"), *path = path_join(nested, "file");
    assert_ok(file_make_directory(nested, &err));
    assert_ok(file_make_directory(nested, &err));
    assert_ok(file_write(path, "hello", 5, &err));
    assert_ok(file_read(path, 5, &data, &length, &err));
    assert_string_equal(data, "hello");
    mem_free(data);
    assert_error(file_read(path, 4, &data, &length, &err), LLM_LOAD_FAILED, "too large");
    assert_ok(file_map_open(path, &map, &err));
    assert_memory_equal(map.data, "hello", 5);
    file_map_release(&map, 0, map.size);
    file_map_close(&map);
    assert_error(file_map_open(directory, &map, &err), LLM_IO_ERROR, "not a regular file");
    assert_error(file_map_open("/nonexistent/x", &map, &err), LLM_IO_ERROR, "No such file");
    assert_error(file_make_directory(path, &err), LLM_IO_ERROR, "in the way");
    assert_ok(file_write(path, "", 0, &err));
    assert_ok(file_map_open(path, &map, &err));
    assert_int_equal(map.size, 0);
    assert_string_equal(path_base_name(path), "file");
    assert_true(file_exists(path) && file_is_directory(nested) && !file_is_directory(path));
    unlink(path);
    rmdir(nested);
    mem_free(path);
    mem_free(nested);
}

static void test_json_getters_check_types_and_name_keys(void **state)
{
    (void)state;
    const char *text = "{\"i\":3,\"d\":1.5,\"s\":\"x\",\"b\":true,\"n\":null,\"o\":{},\"a\":[],\"w\":2.0}";
    yyjson_doc *doc;
    assert_ok(json_read(text, strlen(text), "test", &doc, &err));
    yyjson_val *root = yyjson_doc_get_root(doc), *value;
    int64_t i;
    double d;
    bool b;
    const char *s;
    assert_ok(json_get_int(root, "i", 0, &i, &err));
    assert_int_equal(i, 3);
    assert_ok(json_get_int(root, "w", 0, &i, &err));
    assert_int_equal(i, 2);
    assert_ok(json_get_int(root, "n", 7, &i, &err));
    assert_int_equal(i, 7);
    assert_ok(json_get_double(root, "d", 0, &d, &err));
    assert_true(d == 1.5);
    assert_ok(json_get_string(root, "s", NULL, &s, &err));
    assert_string_equal(s, "x");
    assert_ok(json_get_bool(NULL, "b", true, &b, &err));
    assert_true(b);
    assert_ok(json_get_object(root, "o", &value, &err));
    assert_ok(json_get_array(root, "a", &value, &err));
    assert_error(json_get_int(root, "d", 0, &i, &err), LLM_LOAD_FAILED, "\"d\" must be a whole number");
    assert_error(json_get_double(root, "s", 0, &d, &err), LLM_LOAD_FAILED, "must be a number");
    assert_error(json_get_string(root, "i", "", &s, &err), LLM_LOAD_FAILED, "must be a string");
    assert_error(json_get_bool(root, "i", false, &b, &err), LLM_LOAD_FAILED, "true or false");
    assert_error(json_get_object(root, "a", &value, &err), LLM_LOAD_FAILED, "must be an object");
    assert_error(json_get_array(root, "o", &value, &err), LLM_LOAD_FAILED, "must be an array");
    json_free(doc);
    assert_error(json_read("{\"a\":", 5, "test", &doc, &err), LLM_LOAD_FAILED, "not valid JSON");
    mem_fail_after(0);
    assert_error(json_read(text, strlen(text), "test", &doc, &err), LLM_OUT_OF_MEMORY, "no memory");
    mem_fail_after(-1);
}

static void test_members_of_an_object_as_text(void **state)
{
    (void)state;
    size_t length;
    const char *text = " { \"a\": {\"b\": 1} , \"c\": \"}\" }\n";
    const char *members = json_members(text, &length);
    assert_int_equal(length, strlen("\"a\": {\"b\": 1} , \"c\": \"}\" "));
    assert_memory_equal(members, "\"a\"", 3);
    json_members("{}", &length);
    assert_int_equal(length, 0);
    json_members("\t{ \n } ", &length);
    assert_int_equal(length, 0);
}

static void test_map_and_arena_hold_many_things(void **state)
{
    (void)state;
    strmap map;
    arena memory;
    arena_init(&memory);
    assert_true(strmap_init(&map, 0));
    for (uint32_t i = 0; i < 20000; i++) {
        char key[32];
        int length = snprintf(key, sizeof key, "key-%u", i * 7919u);
        char *copy = arena_copy(&memory, key, (size_t)length);
        assert_true(strmap_put(&map, copy, (size_t)length, i));
    }
    uint32_t value;
    assert_int_equal(map.count, 20000);
    assert_true(strmap_get(&map, "key-7919", 8, &value));
    assert_int_equal(value, 1);
    assert_false(strmap_get(&map, "key-1", 5, &value));
    assert_null(arena_alloc_array(&memory, SIZE_MAX / 2, 4));
    strmap_free(&map);
    assert_false(strmap_get(&map, "key-1", 5, &value));
    arena_free(&memory);
}

static void test_failed_allocations_are_reported_not_fatal(void **state)
{
    (void)state;
    buf b = {0};
    strmap map;
    mem_fail_after(0);
    assert_false(buf_append_char(&b, 'x'));
    assert_null(buf_take(&b));
    assert_false(strmap_init(&map, 10));
    assert_null(path_join("a", "b"));
    mem_fail_after(-1);
    assert_null(mem_alloc_zero(SIZE_MAX / 2, 3));
    assert_null(mem_realloc(NULL, SIZE_MAX / 2, 3));
}

static void count_messages(void *user, int level, const char *message)
{
    (void)level;
    if (strcmp(message, "number 7") == 0) ++*(int *)user;
}

static void test_pages_come_cleared_and_may_fail(void **state)
{
    (void)state;
    size_t size = 300000;
    unsigned char *pages = mem_alloc_pages(size);
    assert_non_null(pages);
    for (size_t i = 0; i < size; i++) assert_int_equal(pages[i], 0);
    memset(pages, 7, size);
    mem_free_pages(pages, size);
    mem_free_pages(NULL, size);
    mem_fail_after(0);
    assert_null(mem_alloc_pages(size));
    mem_fail_after(-1);
}

static void test_log_and_processor(void **state)
{
    (void)state;
    int count = 0;
    char name[100];
    log_message(LOG_INFO, "nobody hears this");
    llm_set_log(count_messages, &count);
    log_message(LOG_WARNING, "number %d", 7);
    llm_set_log(NULL, NULL);
    assert_int_equal(count, 1);
    assert_true(cpu_count() >= 1);
    cpu_model_name(name, sizeof name);
    assert_true(name[0] != 0);
    (void)cpu_get_features();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_decodes_what_rfc3629_allows),
        cmocka_unit_test(test_utf8_round_trips_every_code_point),
        cmocka_unit_test(test_utf8_complete_prefix_holds_back_cut_characters_only),
        cmocka_unit_test(test_buffer_appends_and_escapes),
        cmocka_unit_test(test_errors_keep_the_reason_and_whole_characters),
        cmocka_unit_test(test_files_write_read_map_and_name_what_is_wrong),
        cmocka_unit_test(test_json_getters_check_types_and_name_keys),
        cmocka_unit_test(test_members_of_an_object_as_text),
        cmocka_unit_test(test_map_and_arena_hold_many_things),
        cmocka_unit_test(test_failed_allocations_are_reported_not_fatal),
        cmocka_unit_test(test_pages_come_cleared_and_may_fail),
        cmocka_unit_test(test_log_and_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
