// The template engine beyond what the golden files hold: bounds on hostile templates, the sandbox, messages
// with lines, threads, failing allocations and options. (test_chat_template.c compares with Jinja2 itself.)
#include "testing.h"
#include "base/mem.h"
#include "text/jinja.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static llm_error err;

static llm_status render(const char *source, const char *json, const jinja_options *options, buf *out)
{
    jinja_template *tmpl = NULL;
    yyjson_doc *doc = NULL;
    llm_status status = jinja_parse(source, strlen(source), &tmpl, &err);
    if (status == LLM_OK && json) status = json_read(json, strlen(json), "variables", &doc, &err);
    if (status == LLM_OK) status = jinja_render(tmpl, yyjson_doc_get_root(doc), options, out, &err);
    json_free(doc);
    jinja_template_free(tmpl);
    return status;
}

static void expect(const char *source, const char *json, const char *output)
{
    buf out = {0};
    if (render(source, json, NULL, &out) != LLM_OK) fail_msg("%.100s: %s", source, err.message);
    if (strcmp(out.data ? out.data : "", output) != 0) fail_msg("%.100s: gives \"%s\"", source, out.data);
    buf_free(&out);
}

static void expect_error(const char *source, const char *message)
{
    buf out = {0};
    buf_append_string(&out, "before");
    llm_status status = render(source, NULL, NULL, &out);
    if (status != LLM_TEMPLATE_ERROR)
        fail_msg("%.100s: %s", source, status == LLM_OK ? out.data : err.message);
    if (strcmp(err.message, message) != 0) fail_msg("%.100s: the message is \"%s\"", source, err.message);
    assert_string_equal(out.data, "before");
    buf_free(&out);
}

static void test_errors_are_pythons(void **state)
{
    (void)state;
    expect_error("{{ raise_exception('no ' ~ 1) }}", "no 1");
    expect_error("a\n{% if x %}\n{{ y.z }}\n{% endif %}{{ y.z }}", "'y' is undefined");
    expect_error("{{ {}.a.b }}", "'dict object' has no attribute 'a'");
    expect_error("{{ 'a' + none }}", "can only concatenate str (not \"NoneType\") to str");
    expect_error("a\n\n{% nothing %}", "line 3: Encountered unknown tag 'nothing'.");
    expect_error("{% if 1 %}\n{% for x in y %}",
                 "line 2: Unexpected end of template. Jinja was looking for the following tags: "
                 "'endfor' or 'else'. The innermost block that needs to be closed is 'for'.");
    expect_error("\n{{ 'abc }}", "line 2: unexpected char \"'\" at 4");
    expect_error("{{ x|nofilter }}", "line 1: No filter named 'nofilter'.");
    expect_error("{% for x in y %}{% endfor %}{% break %}", "line 1: 'break' outside loop");
    expect_error("{{ '\\N{DASH}' }}", "line 1: \\N escapes are not supported in templates");
    expect_error("{{ 99999999999999999999 }}",
                 "line 1: integer 99999999999999999999 is out of range: 64 bits are supported");
    expect_error("{{ 9223372036854775807 + 1 }}", "integer overflow: integers have 64 bits here");
    expect_error("{% autoescape x %}{% endautoescape %}",
                 "line 1: autoescape of anything but true and false is not supported");
    expect_error("{% include 'x' %}", "no loader for this environment specified");
    expect_error("{{ [1]|random }}", "the filter random is not supported: prompts are reproducible");
    expect_error("{{ 'x'|urlize }}", "the filter urlize is not supported");
    expect_error("{{ lipsum() }}", "the function lipsum is not supported: prompts are reproducible");
    expect_error("{{ 'x'.encode() }}", "str.encode() is not supported: templates have no bytes");
    expect_error("{{ 'x'.translate({}) }}", "str.translate() and str.maketrans() are not supported");
}

static void test_the_sandbox_holds(void **state)
{
    (void)state;
    expect_error("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe.");
    expect_error("{{ [].append(1) }}", "access to attribute 'append' of 'list' object is unsafe.");
    expect_error("{{ {}.update(a=1) }}", "access to attribute 'update' of 'dict' object is unsafe.");
    expect_error("{{ '{0.__class__.x}'.format(1) }}",
                 "access to attribute '__class__' of 'int' object is unsafe.");
    expect_error("{{ range(100001) }}",
                 "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    expect_error("{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
                 "Chat templates cannot store underscore-prefixed attributes on a namespace, but got "
                 "'__class__'. Please "
                 "rename the attribute.");
    expect("{{ ''.__class__ }}{{ x._y is defined }}", "{\"x\":{}}", "False");
}

static char *repeated(const char *before, const char *part, size_t count, const char *after)
{
    buf text = {0};
    buf_append_string(&text, before);
    for (size_t i = 0; i < count; i++) buf_append_string(&text, part);
    buf_append_string(&text, after);
    return buf_take(&text);
}

static void expect_deep(const char *before, const char *part, const char *after)
{
    char *source = repeated(before, part, 20000, after);
    buf out = {0};
    assert_error(render(source, NULL, NULL, &out), LLM_TEMPLATE_ERROR, "nested too deeply");
    buf_free(&out);
    mem_free(source);
}

static void test_nesting_is_bounded(void **state)
{
    (void)state;
    expect_deep("{{ ", "(", "1");
    expect_deep("{{ ", "[", "1");
    expect_deep("{{ ", "{1:", "1");
    expect_deep("{{ ", "not ", "1 }}");
    expect_deep("{{ ", "-", "1 }}");
    expect_deep("{{ 1", "+1", " }}");
    expect_deep("{{ 1", " and 1", " }}");
    expect_deep("{{ a", ".b", " }}");
    expect_deep("{{ a", "|upper", " }}");
    expect_deep("{{ a", "[0]", " }}");
    expect_deep("{{ a", "()", " }}");
    expect_deep("{{ a", " if a", " }}");
    expect_deep("{{ a", "[a", " }}");
    expect_deep("", "{% if 1 %}", "");
    expect_deep("", "{% for x in y %}", "");
    expect_deep("", "{% macro m() %}", "");
    char *wide = repeated("{% if 0 %}", "{% elif 0 %}", 3000, "{% else %}x{% endif %}");
    expect(wide, NULL, "x");
    mem_free(wide);
    char *json = repeated("{\"x\":", "[", 100000, "");
    char *closed = repeated(json, "]", 100000, "}");
    buf out = {0};
    assert_error(render("{{ x }}", closed, NULL, &out), LLM_TEMPLATE_ERROR,
                 "maximum recursion depth exceeded");
    mem_free(json);
    mem_free(closed);
}

static void test_running_is_bounded(void **state)
{
    (void)state;
    static const char *const endless[] = {
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{{ 'x' * 1000000000000 }}",
        "{{ [1] * 100000000 }}",
        "{{ 'x'.center(99999999999) }}{{ 'x'.ljust(99999999999) }}",
        "{{ 'x'.zfill(9223372036854775807) }}",
        "{{ '%*d' % (2147483647, 1) }}",
        "{{ '{:2147483647}'.format(1) }}",
        "{{ '\t'.expandtabs(9223372036854775807) }}",
        "{{ [1]|slice(9223372036854775807)|list }}",
        "{{ [1]|batch(9223372036854775807, 1)|list }}",
        "{{ 'a'|indent(9223372036854775807) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set s = 'a' * 100000 %}{% for i in range(100000) %}{% if s ~ 'b' == s ~ 'c' %}{% endif %}{% "
        "endfor %}",
        "{% set s = 'a' * 1000000 %}{{ (s ~ 'b').rfind('b' ~ 'a' * 500000) }}{{ s.strip('b' * 999999 ~ 'a') "
        "}}"
        "{% for i in range(100000) %}{{ s.rfind('b' ~ 'a' * 500000) }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}",
        "{% block a %}{{ self.a() }}{% endblock %}",
    };
    jinja_options options;
    jinja_options_init(&options);
    options.max_steps = 2000000;
    options.max_output = 4 << 20;
    options.max_memory = 32 << 20;
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        buf out = {0};
        if (render(endless[i], NULL, &options, &out) != LLM_TEMPLATE_ERROR) fail_msg("%s", endless[i]);
        assert_true(strstr(err.message, "steps") || strstr(err.message, "bytes") ||
                    strstr(err.message, "recursion") || strstr(err.message, "width too big") ||
                    strstr(err.message, "Too many decimal digits"));
        buf_free(&out);
    }
}

static void test_time_and_variables_come_from_the_caller(void **state)
{
    (void)state;
    jinja_options options;
    buf out = {0};
    jinja_options_init(&options);
    options.now = 86400 * 365;
    options.now_is_utc = true;
    assert_int_equal(render("{{ strftime_now('%Y-%m-%d %H:%M:%S.%f%z|') }}", NULL, &options, &out), LLM_OK);
    assert_string_equal(out.data, "1971-01-01 00:00:00.000000|");
    buf_clear(&out);
    assert_int_equal(render("{{ strftime_now('%Y') | int > 2024 }}{{ strftime_now('') }}", NULL, NULL, &out),
                     LLM_OK);
    assert_string_equal(out.data, "True");
    assert_error(render("x", "[1]", NULL, &out), LLM_TEMPLATE_ERROR, "must be an object");
    buf_free(&out);
    expect("{{ x }} {{ x > 5 }} {{ x is integer }} {{ -1 < x }} "
           "{{ [x]|tojson }}",
           "{\"x\":18446744073709551615}", "18446744073709551615 True True True [18446744073709551615]");
    expect("{{ range }}{{ x }}", "{\"range\":1}", "1");
    expect_error("\xFF", "the template is not valid UTF-8");
}

enum { NUM_THREADS = 4 };

static void *render_often(void *user)
{
    static const char expected[] = "0:a1.5;1:b2.25;";
    jinja_template *tmpl = user;
    llm_error mine;
    for (int i = 0; i < 300; i++) {
        yyjson_doc *doc;
        buf out = {0};
        static const char json[] = "{\"l\":[[\"a\",1.5],[\"b\",2.25]]}";
        if (json_read(json, sizeof json - 1, "variables", &doc, &mine) != LLM_OK) return user;
        llm_status status = jinja_render(tmpl, yyjson_doc_get_root(doc), NULL, &out, &mine);
        bool same = status == LLM_OK && strcmp(out.data, expected) == 0;
        buf_free(&out);
        json_free(doc);
        if (!same) return user;
    }
    return NULL;
}

static void test_threads_share_a_template(void **state)
{
    (void)state;
    static const char source[] = "{% macro m(x) %}{{ x }}{% endmacro %}{% for k, v in l %}{{ loop.index0 "
                                 "}}:{{ m(k) }}{{ v }};{% endfor %}";
    pthread_t threads[NUM_THREADS];
    jinja_template *tmpl;
    assert_ok(jinja_parse(source, sizeof source - 1, &tmpl, &err));
    for (int i = 0; i < NUM_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, tmpl), 0);
    for (int i = 0; i < NUM_THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    jinja_template_free(tmpl);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    static const char source[] =
        "{% macro m(x) %}{{ x|tojson(indent=2) }}{% endmacro %}{% for k, v in d|dictsort %}{{ m([k, v]) }}"
        "{{ '%s' % k ~ k.upper().split('-') }}{{ [1,2]|map('string')|join('\\n') }}{% endfor %}"
        "{{ 'x' * 5000 }}{{ '1.5'|float }}";
    yyjson_doc *doc;
    assert_ok(json_read("{\"d\":{\"b\":1,\"a-c\":[2.5]}}", 25, "variables", &doc, &err));
    int failures = 0;
    for (long allowed = 0;; allowed++) {
        jinja_template *tmpl = NULL;
        buf out = {0};
        mem_fail_after(allowed);
        llm_status status = jinja_parse(source, sizeof source - 1, &tmpl, &err);
        if (status == LLM_OK) status = jinja_render(tmpl, yyjson_doc_get_root(doc), NULL, &out, &err);
        mem_fail_after(-1);
        jinja_template_free(tmpl);
        buf_free(&out);
        if (status == LLM_OK) break;
        assert_int_equal(status, LLM_OUT_OF_MEMORY);
        failures++;
    }
    json_free(doc);
    assert_true(failures > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_are_pythons),
        cmocka_unit_test(test_the_sandbox_holds),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_running_is_bounded),
        cmocka_unit_test(test_time_and_variables_come_from_the_caller),
        cmocka_unit_test(test_threads_share_a_template),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
