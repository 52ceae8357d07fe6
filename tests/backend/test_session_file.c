// Saved sessions: the answer after a restore is the answer without it, on both precisions and with windowed layers; and
// nothing in a file is believed.
#include "testing.h"
#include "backend/reading.h"
#include "backend/session_file.h"
#include "base/buf.h"
#include "base/mem.h"
#include "files.h"
#include <sys/stat.h>

static llm_error err;
static llm_backend *backend;
static llm_generation_config config;
static char *folder, log_text[1000];

static void keep_log(void *user, int level, const char *message)
{
    (void)user;
    if (level == 2) snprintf(log_text, sizeof log_text, "%s", message);
}

static int set_up(void **state)
{
    llm_generation_config_init(&config);
    config.temperature = 0;
    config.max_tokens = 20;
    config.ignore_end = true;
    log_text[0] = 0;
    llm_set_log(keep_log, NULL);
    if (make_folder(state)) return -1;
    folder = *state;
    return 0;
}

static int tear_down(void **state)
{
    llm_backend_free(backend);
    backend = NULL;
    llm_set_log(NULL, NULL);
    return remove_folder(state);
}

static void open_backend(const char *directory, llm_precision precision)
{
    llm_mlx_options options;
    llm_model_spec spec;
    llm_mlx_options_init(&options);
    options.precision = precision;
    options.num_threads = 2;
    llm_model_spec_init(&spec, directory);
    llm_backend_free(backend);
    backend = llm_mlx_backend_create(&options, &err);
    if (!backend) fail_msg("%s", err.message);
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
}

// The chat model with other settings in its config.json.
static const char *variant_of_chat(const char *name, const char *settings)
{
    static const char *const files[] = {"chat_template.jinja", "generation_config.json", "model.safetensors",
                                        "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"};
    const char *directory = path_in(folder, name);
    size_t length;
    buf text = {0};
    assert_ok(file_make_directory(directory, &err));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *data = read_bytes(path_in(golden("models/chat"), files[i]), &length);
        write_bytes(path_in(directory, files[i]), data, length);
        mem_free(data);
    }
    char *config_text = read_bytes(golden("models/chat/config.json"), &length);
    buf_printf(&text, "{%s,%s", settings, strchr(config_text, '{') + 1);
    write_bytes(path_in(directory, "config.json"), text.data, text.length);
    buf_free(&text);
    mem_free(config_text);
    return directory;
}

static const char *windowed_model(void)
{
    return variant_of_chat("windowed", "\"layer_types\":[\"sliding_attention\",\"full_attention\"],\"sliding_window\":24");
}

static answer ask(const char *prompt)
{
    return read_answer(llm_backend_generate(backend, prompt, &config, &err), &err);
}

static llm_session *own(void) { return llm_backend_session(backend); }
static const char *session_path(void) { return path_in(folder, "session"); }

static void save(void) { assert_ok(llm_session_save(own(), session_path(), &err)); }

static char *transcript(void)
{
    char *json = llm_session_messages_json_copy(own(), &err);
    if (!json) fail_msg("%s", err.message);
    return json;
}

// ---- What is restored -----------------------------------------------------------------------------------------

static void check_restore(const char *directory, llm_precision precision, float temperature)
{
    config.temperature = temperature;
    config.seed = 5;
    open_backend(directory, precision);
    assert_ok(llm_backend_set_system_prompt(backend, "You are brief.", &err));
    ask("Say a word.");
    ask("Who says what?");
    config.max_tokens = 1; // of a longer answer, other tokens may say the same text, and windowed layers cannot go back
    answer last = ask("Say more words.");
    config.max_tokens = 20;
    assert_true(last.stats.prompt_tokens > 100); // windowed layers have dropped blocks
    save();
    char *before = transcript();
    answer expected = ask("Again.");
    assert_int_equal(expected.status, LLM_END);
    answer after = ask("And again.");
    open_backend(directory, precision); // nothing of the process is left of it
    assert_ok(llm_session_load(own(), session_path(), &err));
    char *restored = transcript();
    assert_string_equal(restored, before);
    answer a = ask("Again.");
    assert_string_equal(a.text, expected.text);
    assert_int_equal(a.stats.prompt_tokens, expected.stats.prompt_tokens);
    assert_int_equal(a.stats.cached_prompt_tokens, expected.stats.cached_prompt_tokens);
    assert_true(a.stats.cached_prompt_tokens >= last.stats.prompt_tokens); // only what is new was read
    assert_string_equal(ask("And again.").text, after.text);
    assert_string_equal(log_text, "");
    llm_free(before);
    llm_free(restored);
}

static void check_both_precisions(const char *directory)
{
    for (int precision = LLM_PRECISION_FAST; precision <= LLM_PRECISION_EXACT; precision++) {
        check_restore(directory, (llm_precision)precision, 0);
        check_restore(directory, (llm_precision)precision, 1.5f);
    }
}

static void test_an_answer_after_a_restore_is_the_one_without(void **state)
{
    (void)state;
    check_both_precisions(golden("models/chat"));
}

static void test_windowed_layers_are_restored(void **state)
{
    (void)state;
    check_both_precisions(windowed_model());
}

static void test_an_empty_session_can_be_saved(void **state)
{
    (void)state;
    open_backend(golden("models/chat"), LLM_PRECISION_FAST);
    save();
    answer expected = ask("Say a word.");
    assert_ok(llm_session_load(own(), session_path(), &err));
    answer a = ask("Say a word.");
    assert_string_equal(a.text, expected.text);
    assert_int_equal(a.stats.cached_prompt_tokens, 0);
}

static void test_a_session_of_another_model_is_refused(void **state)
{
    (void)state;
    open_backend(golden("models/chat"), LLM_PRECISION_FAST);
    ask("Say a word.");
    save();
    open_backend(variant_of_chat("other", "\"note\":\"not the same\""), LLM_PRECISION_FAST);
    assert_error(llm_session_load(own(), session_path(), &err), LLM_INVALID_ARGUMENT, golden("models/chat"));
    assert_non_null(strstr(err.message, path_in(folder, "other")));
    char *json = transcript();
    assert_string_equal(json, "[]");
    llm_free(json);
}

// One bit of one weight's first bytes makes another model.
static void test_the_fingerprint_sees_weights(void **state)
{
    (void)state;
    const char *directory = variant_of_chat("tuned", "\"note\":1");
    open_backend(directory, LLM_PRECISION_FAST);
    save();
    safetensors_file file;
    assert_ok(safetensors_open(path_in(directory, "model.safetensors"), &file, &err));
    size_t length, at = (size_t)(file.tensors[3].data - file.map.data);
    safetensors_close(&file);
    char *data = read_bytes(path_in(directory, "model.safetensors"), &length);
    data[at + 1] ^= 1;
    write_bytes(path_in(directory, "model.safetensors"), data, length);
    mem_free(data);
    open_backend(directory, LLM_PRECISION_FAST);
    assert_error(llm_session_load(own(), session_path(), &err), LLM_INVALID_ARGUMENT, "is a session of the model");
}

static void test_another_precision_reads_the_conversation_again(void **state)
{
    (void)state;
    open_backend(golden("models/chat"), LLM_PRECISION_EXACT);
    assert_ok(llm_backend_set_system_prompt(backend, "You are brief.", &err));
    answer first = ask("Say a word.");
    save();
    answer expected = ask("Again.");
    open_backend(golden("models/chat"), LLM_PRECISION_FAST);
    assert_ok(llm_session_load(own(), session_path(), &err));
    assert_non_null(strstr(log_text, "another precision"));
    assert_non_null(strstr(log_text, session_path()));
    answer a = ask("Again.");
    assert_int_equal(a.stats.prompt_tokens, expected.stats.prompt_tokens); // transcript and system prompt are there
    assert_int_equal(a.stats.cached_prompt_tokens, 0);
    char *json = transcript();
    assert_non_null(strstr(json, "Say a word."));
    assert_true(strlen(first.text) > 0);
    llm_free(json);
}

// ---- What is refused ------------------------------------------------------------------------------------------

typedef struct parts {
    safetensors_file file;
    safetensors_entry entries[16];
    size_t count;
    char *text;
} parts;

static parts take_apart(void)
{
    parts p = {0};
    assert_ok(safetensors_open(session_path(), &p.file, &err));
    assert_ok(safetensors_metadata_copy(&p.file, "llmlocal_session", &p.text, &err));
    assert_true(p.file.num_tensors == 5 || p.file.num_tensors == 9); // two layers, with scales in fast precision, and the tokens
    for (; p.count < p.file.num_tensors; p.count++) {
        const safetensors_tensor *tensor = &p.file.tensors[p.count];
        safetensors_entry *entry = &p.entries[p.count];
        *entry = (safetensors_entry){.name = tensor->name, .type = tensor->type, .num_dims = tensor->num_dims,
                                     .data = mem_copy_bytes(tensor->data, tensor->size)};
        memcpy(entry->shape, tensor->shape, sizeof entry->shape);
    }
    return p;
}

static safetensors_entry *find(parts *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->entries[i].name, name) == 0) return &p->entries[i];
    fail_msg("no %s", name);
    return NULL;
}

static void put_together(parts *p)
{
    assert_ok(safetensors_write_private(session_path(), "llmlocal_session", p->text, p->entries, p->count, &err));
    for (size_t i = 0; i < p->count; i++) mem_free((void *)(uintptr_t)p->entries[i].data);
    mem_free(p->text);
    safetensors_close(&p->file);
}

static void replace(parts *p, const char *from, const char *to)
{
    char *found = strstr(p->text, from);
    buf text = {0};
    if (!found) fail_msg("no %s in %s", from, p->text);
    buf_append(&text, p->text, (size_t)(found - p->text));
    buf_append_string(&text, to);
    buf_append_string(&text, found + strlen(from));
    mem_free(p->text);
    p->text = buf_take(&text);
}

// A chat of one turn, saved; what it would say next.
static answer prepare(void)
{
    assert_ok(llm_backend_reset(backend, &err));
    assert_ok(llm_backend_set_system_prompt(backend, "You are brief.", &err));
    ask("Say a word.");
    save();
    answer expected = ask("Again.");
    assert_ok(llm_backend_reset(backend, &err));
    ask("Something else.");
    return expected;
}

static void assert_untouched(void)
{
    char *json = transcript(), *prompt = llm_backend_system_prompt_copy(backend);
    assert_non_null(strstr(json, "Something else."));
    assert_null(strstr(json, "Say a word."));
    assert_string_equal(prompt, "You are brief.");
    llm_free(prompt);
    llm_free(json);
}

static void test_damaged_descriptions_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        llm_status status;
        const char *text;
    } cases[] = {
        {"{\"version\":1", "{\"version\":2", LLM_UNSUPPORTED_FORMAT, "version 2"},
        {"{\"version\":1", "{\"version\":\"1\"", LLM_LOAD_FAILED, "\"version\""},
        {"{\"version\":1", "[{\"version\":1", LLM_LOAD_FAILED, "JSON"},
        {"\"fingerprint\":\"", "\"fingerprint\":\"x", LLM_INVALID_ARGUMENT, "not of the loaded"},
        {"\"fingerprint\":", "\"finger\":", LLM_LOAD_FAILED, "\"fingerprint\" is missing"},
        {"\"model\":{", "\"model\":3,\"x\":{", LLM_LOAD_FAILED, "\"model\""},
        {"\"engine\":{", "\"motor\":{", LLM_LOAD_FAILED, "is missing"},
        {"\"messages\":[", "\"messages\":{},\"x\":[", LLM_LOAD_FAILED, "\"messages\""},
        {"\"messages\":[", "\"messages\":[1,", LLM_LOAD_FAILED, "message 0: it is not an object"},
        {"\"role\":\"assistant\"", "\"role\":7", LLM_LOAD_FAILED, "message 1: \"role\" is not a string"},
        {"\"role\":\"user\"", "\"role\":\"\"", LLM_LOAD_FAILED, "message 0: it has no role"},
        {"\"content\":\"Say", "\"tool_calls\":{},\"content\":\"Say", LLM_LOAD_FAILED, "\"tool_calls\" is not an array"},
        {"\"content\":\"Say", "\"content\":\"\\u0000Say", LLM_LOAD_FAILED, "NUL"},
        {"\"content\":\"Say", "\"contents\":\"Say", LLM_LOAD_FAILED, "neither content nor tool calls"},
        {"\"system_prompt\":\"", "\"system_prompt\":\"\\u0000", LLM_LOAD_FAILED, "NUL"},
        {"\"system_prompt\":\"", "\"system_prompt\":1,\"x\":\"", LLM_LOAD_FAILED, "\"system_prompt\""},
    };
    open_backend(golden("models/chat"), LLM_PRECISION_FAST);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        prepare();
        parts p = take_apart();
        replace(&p, cases[i].from, cases[i].to);
        put_together(&p);
        assert_error(llm_session_load(own(), session_path(), &err), cases[i].status, cases[i].text);
        assert_non_null(strstr(err.message, session_path()));
        assert_untouched();
    }
}

static void drop_tokens(parts *p) { find(p, "tokens")->name = "other"; }
static void tokens_of_another_type(parts *p) { find(p, "tokens")->type = DTYPE_F32; }
static void tokens_in_two_dimensions(parts *p) { find(p, "tokens")->num_dims = 2; }
static void a_token_too_large(parts *p) { ((int32_t *)(uintptr_t)find(p, "tokens")->data)[3] = 320; }
static void a_negative_token(parts *p) { ((int32_t *)(uintptr_t)find(p, "tokens")->data)[3] = -1; }
static void fewer_tokens(parts *p) { find(p, "tokens")->shape[0] -= 2; }
static void a_layer_is_missing(parts *p) { find(p, "layers.1.values")->name = "layers.2.values"; }
static void keys_of_another_type(parts *p) { find(p, "layers.0.keys")->type = DTYPE_BF16; }
static void keys_are_flat(parts *p)
{
    safetensors_entry *keys = find(p, "layers.0.keys");
    keys->shape[1] *= keys->shape[2];
    keys->num_dims = 2;
}
static void heads_are_swapped(parts *p)
{
    safetensors_entry *keys = find(p, "layers.0.keys");
    size_t heads = keys->shape[1];
    keys->shape[1] = keys->shape[2];
    keys->shape[2] = heads;
}
static void the_first_keys_are_missing(parts *p) { find(p, "layers.0.keys")->shape[0] -= 1; }
static void the_first_of_both_are_missing(parts *p)
{
    find(p, "layers.1.keys")->shape[0] -= 1;
    find(p, "layers.1.values")->shape[0] -= 1;
}
static void no_keys_at_all(parts *p)
{
    find(p, "layers.1.keys")->shape[0] = 0;
    find(p, "layers.1.values")->shape[0] = 0;
}

static void test_damaged_arrays_are_refused(void **state)
{
    (void)state;
    static const struct {
        void (*damage)(parts *p);
        const char *text;
    } cases[] = {
        {drop_tokens, "tokens"},
        {tokens_of_another_type, "tokens"},
        {tokens_in_two_dimensions, "tokens"},
        {a_token_too_large, "token 3 is 320"},
        {a_negative_token, "token 3 is -1"},
        {fewer_tokens, "another type or shape"},
        {a_layer_is_missing, "\"layers.1.values\" is missing"},
        {keys_of_another_type, "\"layers.0.keys\" has another type"},
        {keys_are_flat, "\"layers.0.keys\" has another type"},
        {heads_are_swapped, "\"layers.0.keys\" has another type"},
        {the_first_keys_are_missing, "layer 0"},
        {the_first_of_both_are_missing, "layer 1"},
        {no_keys_at_all, "layer 1"},
    };
    open_backend(golden("models/chat"), LLM_PRECISION_FAST);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        prepare();
        parts p = take_apart();
        cases[i].damage(&p);
        put_together(&p);
        assert_error(llm_session_load(own(), session_path(), &err), LLM_LOAD_FAILED, cases[i].text);
        assert_non_null(strstr(err.message, session_path()));
        assert_untouched();
    }
}

// Numbers that are none do no more than make a bad answer.
static void test_arrays_of_nonsense_do_no_harm(void **state)
{
    (void)state;
    for (int precision = LLM_PRECISION_FAST; precision <= LLM_PRECISION_EXACT; precision++) {
        open_backend(golden("models/chat"), (llm_precision)precision);
        for (int byte = 0x7E; byte <= 0xFF; byte += 0x81) {
            prepare();
            parts p = take_apart();
            for (size_t i = 0; i < p.count; i++)
                if (strcmp(p.entries[i].name, "tokens") != 0)
                    memset((void *)(uintptr_t)p.entries[i].data, byte, p.file.tensors[i].size);
            put_together(&p);
            assert_ok(llm_session_load(own(), session_path(), &err));
            config.temperature = byte == 0xFF ? 0 : 1;
            answer a = ask("Again.");
            assert_true(a.status == LLM_END || err.message[0]);
        }
        assert_ok(llm_backend_reset(backend, &err));
    }
}

static void test_cut_and_changed_files_are_refused_or_harmless(void **state)
{
    (void)state;
    size_t length, header = 0;
    open_backend(golden("models/chat"), LLM_PRECISION_FAST);
    prepare();
    char *data = read_bytes(session_path(), &length);
    for (size_t cut = 0; cut < length; cut += cut < 3000 ? 61 : 997) {
        write_bytes(session_path(), data, cut);
        llm_status status = llm_session_load(own(), session_path(), &err);
        if (status != LLM_LOAD_FAILED) fail_msg("cut at %zu of %zu: %s", cut, length, llm_status_name(status));
    }
    assert_untouched();
    for (int i = 7; i >= 0; i--) header = header << 8 | (uint8_t)data[i];
    int refused = 0;
    uint64_t random = 1;
    for (int i = 0; i < 600; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t at = (size_t)(random >> 33) % (header + 8);
        char old = data[at];
        data[at] = (char)(old ^ (1 << (random >> 20 & 7)));
        write_bytes(session_path(), data, length);
        data[at] = old;
        err = (llm_error){0};
        llm_status status = llm_session_load(own(), session_path(), &err);
        if (status != LLM_OK) refused++;
        if (status != LLM_OK && !err.message[0]) fail_msg("no message");
    }
    assert_true(refused > 300);
    answer a = ask("Again.");
    assert_true(a.status == LLM_END || a.status == LLM_CONTEXT_EXCEEDED);
    mem_free(data);
}

static void test_longer_than_the_context_is_read_again(void **state)
{
    (void)state;
    open_backend(golden("models/chat"), LLM_PRECISION_FAST);
    ask("Say a word.");
    ask("Say a word.");
    save();
    llm_model_spec spec;
    llm_model_spec_init(&spec, golden("models/chat"));
    spec.context_length = 32;
    assert_ok(llm_backend_load(backend, &spec, NULL, NULL, &err));
    assert_ok(llm_session_load(own(), session_path(), &err));
    assert_non_null(strstr(log_text, "longer than the context"));
    answer a = ask("x");
    assert_int_equal(a.status, LLM_CONTEXT_EXCEEDED);
}

static void test_only_the_owner_may_read_it(void **state)
{
    (void)state;
    struct stat info;
    open_backend(golden("models/chat"), LLM_PRECISION_FAST);
    ask("Say a word.");
    save();
    save(); // over the old one
    assert_int_equal(stat(session_path(), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(count_entries(folder), 1); // no temporary files
    assert_error(llm_session_save(own(), folder, &err), LLM_IO_ERROR, folder);
    assert_int_equal(count_entries(folder), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_answer_after_a_restore_is_the_one_without),
        TEST(test_windowed_layers_are_restored),
        TEST(test_an_empty_session_can_be_saved),
        TEST(test_a_session_of_another_model_is_refused),
        TEST(test_the_fingerprint_sees_weights),
        TEST(test_another_precision_reads_the_conversation_again),
        TEST(test_damaged_descriptions_are_refused),
        TEST(test_damaged_arrays_are_refused),
        TEST(test_arrays_of_nonsense_do_no_harm),
        TEST(test_cut_and_changed_files_are_refused_or_harmless),
        TEST(test_longer_than_the_context_is_read_again),
        TEST(test_only_the_owner_may_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
