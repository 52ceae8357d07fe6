// The command as its users meet it: arguments, streams, exit codes. LLMLOCAL_COMMAND says where it is.
#include "testing.h"
#include "base/file.h"
#include "base/json.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODEL GOLDEN_DIR "/models/chat"
#define MANUAL GOLDEN_DIR "/../../docs/llmlocal.1"

static llm_error err;

// ---- Running it -------------------------------------------------------------------------------------------

typedef struct outcome {
    int code; // of the exit; 128 + the signal that ended it
    char out[200000], errors[20000];
} outcome;

static outcome result;    // of the latest run
static bool nobody_reads; // the next run writes to a pipe that is closed at its other end

static const char *command_path(void)
{
    const char *path = getenv("LLMLOCAL_COMMAND");
    if (!path || access(path, X_OK)) fail_msg("LLMLOCAL_COMMAND is no program: %s", path ? path : "not set");
    return path;
}

static int exit_code(pid_t child)
{
    int status;
    pid_t ended;
    while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR) {}
    assert_int_equal(ended, child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Reads both until both have ended.
static void read_both(int out, int errors)
{
    struct pollfd sources[] = {{.fd = out, .events = POLLIN}, {.fd = errors, .events = POLLIN}};
    char *texts[] = {result.out, result.errors};
    const size_t sizes[] = {sizeof result.out, sizeof result.errors};
    size_t lengths[] = {0, 0};
    for (int open = 2; open;) {
        poll(sources, 2, -1);
        for (int i = 0; i < 2; i++) {
            if (!sources[i].revents) continue;
            ssize_t count = read(sources[i].fd, texts[i] + lengths[i], sizes[i] - 1 - lengths[i]);
            if (count <= 0) {
                close(sources[i].fd);
                sources[i].fd = -1;
                open--;
            } else {
                lengths[i] += (size_t)count;
            }
        }
    }
    for (int i = 0; i < 2; i++) texts[i][lengths[i]] = 0;
}

// Runs "llmlocal" with `words`, which a NULL ends, and gives it `input`.
static void run_words(const char *input, const char *const *words)
{
    int in[2], out[2], errors[2];
    const char *path = command_path();
    assert_int_equal(pipe(in) | pipe(out) | pipe(errors), 0);
    if (nobody_reads) close(out[0]), out[0] = open("/dev/null", O_RDONLY);
    pid_t child = fork();
    if (!child) {
        const char *argv[40] = {"llmlocal"};
        for (int i = 0; words[i]; i++) argv[i + 1] = words[i];
        dup2(in[0], 0), dup2(out[1], 1), dup2(errors[1], 2);
        for (int i = 0; i < 2; i++) close(in[i]), close(out[i]), close(errors[i]);
        signal(SIGPIPE, SIG_DFL);
        execv(path, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(in[0]), close(out[1]), close(errors[1]);
    if (write(in[1], input, strlen(input)) < 0) {} // it may not want any
    close(in[1]);
    read_both(out[0], errors[0]);
    result.code = exit_code(child);
}

#define run(input, ...) run_words(input, (const char *const[]){__VA_ARGS__, NULL})

#define assert_code(expected)                                                                                \
    do {                                                                                                     \
        if (result.code != (expected)) fail_msg("exit code %d: %s", result.code, result.errors);             \
    } while (0)
#define assert_in(text, part)                                                                                \
    do {                                                                                                     \
        if (!strstr(text, part)) fail_msg("\"%s\" is not in \"%s\"", part, text);                            \
    } while (0)

static yyjson_doc *parse_output(void)
{
    yyjson_doc *doc;
    assert_code(0);
    assert_ok(json_read(result.out, strlen(result.out), "output", &doc, &err));
    return doc;
}

static yyjson_val *member(yyjson_doc *doc, const char *key)
{
    yyjson_val *value = yyjson_obj_get(yyjson_doc_get_root(doc), key);
    if (!value) fail_msg("no \"%s\" in %s", key, result.out);
    return value;
}

// ---- Usage ------------------------------------------------------------------------------------------------

static const char *const names[] = {"run",      "chat",  "convert",    "show",  "tokenize",
                                    "template", "score", "perplexity", "bench", "engines",
                                    "pull",     "list",  "rm",         "prune", "models",
                                    "ps"};
#define NUM_NAMES (sizeof names / sizeof *names)

static void test_help(void **state)
{
    (void)state;
    run("", "--help");
    assert_code(0);
    for (size_t i = 0; i < NUM_NAMES; i++) assert_in(result.out, names[i]);
    assert_string_equal(result.errors, "");
    run("", "--version");
    assert_code(0);
    assert_string_equal(result.out, "llmlocal " LLM_VERSION "\n");
    for (size_t i = 0; i < NUM_NAMES; i++) {
        char usage[40];
        snprintf(usage, sizeof usage, "usage: llmlocal %s ", names[i]);
        run("", names[i], "--help");
        assert_code(0);
        assert_in(result.out, usage);
        run("", "help", names[i]);
        assert_code(0);
        assert_in(result.out, usage);
    }
}

// Every option that a help text lists is in the manual page, written as mdoc writes it.
static void test_the_manual_has_every_option(void **state)
{
    (void)state;
    char *manual;
    size_t length;
    assert_ok(file_read(MANUAL, 1 << 20, &manual, &length, &err));
    int count = 0;
    for (size_t i = 0; i < NUM_NAMES; i++) {
        run("", names[i], "--help");
        for (char *line = strtok(result.out, "\n"); line; line = strtok(NULL, "\n")) {
            char name[60], flag[70];
            char *dashes = strstr(line, "--");
            if (line[0] != ' ' || !dashes || sscanf(dashes, "--%50[a-z-]", name) != 1) continue;
            snprintf(flag, sizeof flag, "Fl -%s", name);
            assert_in(manual, flag);
            count++;
        }
    }
    assert_true(count > 50);
    free(manual);
}

static void test_wrong_usage_is_exit_code_2(void **state)
{
    (void)state;
    static const struct {
        const char *words[8];
        const char *text;
    } cases[] = {
        {{NULL}, "usage: llmlocal"},
        {{"frobnicate"}, "\"frobnicate\" is no subcommand"},
        {{"help", "frobnicate"}, "\"frobnicate\" is no subcommand"},
        {{"run"}, "arguments are missing"},
        {{"run", MODEL, "hello", "there"}, "no place for \"there\""},
        {{"run", "--no-such-option", MODEL}, "there is no option --no-such-option"},
        {{"run", "-Z", MODEL}, "there is no option -Z"},
        {{"run", MODEL, "x", "--top-k"}, "--top-k needs a value"},
        {{"run", MODEL, "x", "--top-k", "many"}, "--top-k: \"many\" is not a whole number"},
        {{"run", MODEL, "x", "--top-k=99999999999"}, "is too large"},
        {{"run", MODEL, "x", "--temperature=hot"}, "is not a number"},
        {{"run", MODEL, "x", "--temperature", "-1"}, "config.temperature is -1"},
        {{"run", MODEL, "x", "--top-p=nan"}, "config.top_p is nan"},
        {{"run", MODEL, "x", "--seed", "-4"}, "is not a whole number of 0 or more"},
        {{"run", MODEL, "x", "--stop", ""}, "config.stop[0] is empty"},
        {{"run", MODEL, "x", "--logit-bias", "5"}, "is not ID=X"},
        {{"run", MODEL, "x", "--logit-bias", "-5=1"}, "is not ID=X"},
        {{"run", MODEL, "x", "--precision", "rough"}, "neither exact nor fast"},
        {{"run", MODEL, "x", "--json=yes"}, "--json takes no value"},
        {{"run", MODEL, "x", "--raw", "--system", "s"}, "--raw has no system prompt"},
        {{"run", MODEL, "x", "--logprobs", "2"}, "--logprobs needs --json"},
        {{"run", MODEL, "x", "--template-json", "[]"}, "config.template_json must be a JSON object"},
        {{"run", MODEL, "x", "--threads", "-3"}, "-3"},
        {{"template", MODEL}, "--messages is missing"},
        {{"score", MODEL}, "either --text-file or --ids"},
        {{"score", MODEL, "--ids", "1,x"}, "is not a list of tokens"},
        {{"score", MODEL, "--ids", "1,2", "--text-file", "x"}, "either --text-file or --ids"},
        {{"score", MODEL, "--ids", "1,2", "--top", "-1"}, "--top is negative"},
        {{"perplexity", MODEL, "f", "--window", "1"}, "--window must be at least 2"},
        {{"perplexity", MODEL, "f", "--window", "8", "--stride", "9"}, "at most the window"},
        {{"bench", MODEL, "-r", "0"}, "must be at least 1"},
        {{"engines", "now"}, "no place for \"now\""},
        {{"convert", "only-one"}, "arguments are missing"},
        {{"run", "--adapter", "github:owner/name@v1", MODEL, "x"}, "which file of the GitHub release"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_words("", cases[i].words);
        if (result.code != 2 || !strstr(result.errors, cases[i].text))
            fail_msg("case %zu (%s): exit code %d: %s", i, cases[i].text, result.code, result.errors);
        assert_string_equal(result.out, "");
    }
}

static void test_failures_are_exit_code_1(void **state)
{
    (void)state;
    static const struct {
        const char *words[8];
        const char *text;
    } cases[] = {
        {{"run", "/no/such/model", "x"}, "/no/such/model"},
        {{"show", "/no/such/model"}, "/no/such/model"},
        {{"tokenize", "/no/such/model"}, "/no/such/model"},
        {{"bench", "/no/such/model"}, "/no/such/model"},
        {{"convert", "/no/such/file", "/tmp/llmlocal-no-such-place"}, "/no/such/file"},
        {{"template", MODEL, "--messages", "/no/such/file"}, "/no/such/file"},
        {{"score", MODEL, "--text-file", "/no/such/file"}, "/no/such/file"},
        {{"perplexity", MODEL, "/no/such/file"}, "/no/such/file"},
        {{"perplexity", MODEL, "/dev/null"}, "at least two tokens"},
        {{"run", "--adapter", "/no/such/adapter", MODEL, "x"}, "no adapter directory /no/such/adapter"},
        {{"run", "--adapter", "no-such-owner/adapter", MODEL, "x"}, "no-such-owner/adapter"},
        {{"run", "--adapter", "github:owner/name@v1/a.zip", MODEL, "x"}, "owner/name"},
        {{"fuse", "--adapter", GOLDEN_DIR "/adapters/qwen3-lora-wide", MODEL, "/tmp/llmlocal-no-such-place"}, "model.layers."},
    };
    setenv("HF_HUB_OFFLINE", "1", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_words("", cases[i].words);
        if (result.code != 1 || strncmp(result.errors, "llmlocal: ", 10) ||
            !strstr(result.errors, cases[i].text))
            fail_msg("case %zu: exit code %d: %s", i, result.code, result.errors);
    }
    unsetenv("HF_HUB_OFFLINE");
}

static void test_an_adapter_changes_the_answer(void **state)
{
    (void)state;
    char plain[4096];
    run_words("", (const char *[]){"run", "-q", "--temperature", "0", "--max-tokens", "12", MODEL, "Hi", NULL});
    assert_int_equal(result.code, 0);
    snprintf(plain, sizeof plain, "%s", result.out);
    run_words("", (const char *[]){"run", "-q", "--temperature", "0", "--max-tokens", "12", "--adapter",
                                   GOLDEN_DIR "/adapters/chat-lora", MODEL, "Hi", NULL});
    assert_int_equal(result.code, 0);
    assert_string_not_equal(result.out, plain);
}

// ---- Answers ----------------------------------------------------------------------------------------------

// What the reference says about the first conversation, which is one user message.
static yyjson_doc *read_expected(yyjson_val **first)
{
    yyjson_doc *doc;
    assert_ok(json_read_file(MODEL "/expected.json", 1 << 24, &doc, &err));
    *first = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "cases"));
    return doc;
}

static const char *first_prompt(yyjson_val *expected)
{
    yyjson_val *message = yyjson_arr_get_first(yyjson_obj_get(expected, "messages"));
    return yyjson_get_str(yyjson_obj_get(message, "content"));
}

static void assert_same_ids(yyjson_val *a, yyjson_val *b)
{
    assert_int_equal(yyjson_arr_size(a), yyjson_arr_size(b));
    for (size_t i = 0; i < yyjson_arr_size(a); i++)
        assert_int_equal(yyjson_get_int(yyjson_arr_get(a, i)), yyjson_get_int(yyjson_arr_get(b, i)));
}

static void test_run_answers_as_the_reference_does(void **state)
{
    (void)state;
    yyjson_val *expected;
    yyjson_doc *doc = read_expected(&expected), *answer;
    yyjson_val *greedy = yyjson_obj_get(expected, "greedy");
    char count[20];
    snprintf(count, sizeof count, "%zu", yyjson_arr_size(greedy));
    run("", "run", MODEL, first_prompt(expected), "--json", "--temperature", "0", "--ignore-end",
        "--max-tokens", count, "--precision", "exact");
    answer = parse_output();
    assert_same_ids(member(answer, "ids"), greedy);
    assert_string_equal(yyjson_get_str(member(answer, "finish_reason")), "length");
    yyjson_val *stats = member(answer, "stats");
    assert_int_equal(yyjson_get_int(yyjson_obj_get(stats, "generated_tokens")), yyjson_arr_size(greedy));
    assert_int_equal(yyjson_get_int(yyjson_obj_get(stats, "prompt_tokens")),
                     yyjson_arr_size(yyjson_obj_get(expected, "ids")));
    static const char *const numbers[] = {"load_seconds", "prefill_seconds", "decode_seconds",
                                          "first_token_seconds"};
    for (int i = 0; i < 4; i++) assert_true(yyjson_get_real(yyjson_obj_get(stats, numbers[i])) > 0);
    assert_in(result.errors, "answer: ");
    assert_int_equal(yyjson_get_int(yyjson_obj_get(stats, "proposed_tokens")), 0);
    json_free(answer);
    run("", "run", MODEL, first_prompt(expected), "--json", "--temperature", "0", "--ignore-end",
        "--max-tokens", count, "--precision", "exact", "--speculate", "7");
    answer = parse_output();
    assert_same_ids(member(answer, "ids"), greedy);
    stats = member(answer, "stats");
    assert_true(yyjson_get_int(yyjson_obj_get(stats, "proposed_tokens")) >= yyjson_get_int(yyjson_obj_get(stats, "accepted_tokens")));
    json_free(answer);
    json_free(doc);
}

static void test_run_takes_its_prompt_from_anywhere(void **state)
{
    (void)state;
    static char first[sizeof result.out];
    run("", "run", MODEL, "Say a word.", "-q", "--seed", "7", "--max-tokens", "10");
    assert_code(0);
    assert_string_equal(result.errors, "");
    assert_int_equal(result.out[strlen(result.out) - 1], '\n');
    strcpy(first, result.out);
    run("Say a word.\n", "run", MODEL, "-q", "--seed", "7", "--max-tokens", "10");
    assert_string_equal(result.out, first);
    run("Say a word.", "run", "-q", "--seed=7", "--max-tokens=10", "--", MODEL, "-");
    assert_string_equal(result.out, first);
    run("Say a word.", "chat", "-q", "--seed=7", "--max-tokens=10", MODEL);
    assert_code(0);
    assert_string_equal(result.out, first);
    run("\xFF\xFE", "run", MODEL);
    assert_code(2);
    assert_in(result.errors, "not valid UTF-8");
}

static void test_run_raw_and_its_settings(void **state)
{
    (void)state;
    yyjson_doc *doc;
    run("", "run", MODEL, "Once upon", "--raw", "--json", "--max-tokens", "4", "--ignore-end", "--logprobs",
        "3", "--logit-bias", "5=-inf", "--logit-bias", "77=100");
    doc = parse_output();
    yyjson_val *ids = member(doc, "ids"), *logprobs = member(doc, "logprobs");
    assert_int_equal(yyjson_arr_size(ids), 4);
    assert_int_equal(yyjson_get_int(yyjson_arr_get_first(ids)), 77); // the bias decides
    assert_int_equal(yyjson_arr_size(logprobs), 4);
    yyjson_val *first = yyjson_arr_get_first(logprobs);
    assert_int_equal(yyjson_get_int(yyjson_obj_get(first, "token")), 77);
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(first, "top")), 2);
    json_free(doc);
    run("", "run", MODEL, "x", "--json", "--max-tokens", "50", "--ignore-end", "--seed", "1", "--stop", "e",
        "--stop", "t");
    doc = parse_output();
    assert_null(strpbrk(yyjson_get_str(member(doc, "text")), "et"));
    json_free(doc);
}

static void test_run_prints_calls_and_reasoning(void **state)
{
    (void)state;
    const char *scripted = GOLDEN_DIR "/models/scripted";
    char file[] = "/tmp/llmlocal-test-tools-XXXXXX";
    int fd = mkstemp(file);
    static const char tools[] = "[{\"name\":\"add\",\"parameters\":{\"required\":[\"a\",\"b\"]}}]";
    assert_int_equal(write(fd, tools, sizeof tools - 1), sizeof tools - 1);
    run("", "run", "-q", "--temperature", "0", "--tools", file, scripted, "call add {\"a\":1,\"b\":2}");
    assert_code(0);
    assert_in(result.out, "Let me see.\n{\"id\":\"");
    assert_in(result.out, "\",\"name\":\"add\",\"arguments\":{\"a\":1,\"b\":2}}\n");
    assert_string_equal(result.errors, "I will add them.\n"); // no colours: it is no terminal
    run("", "run", "-q", "--temperature", "0", "--no-reasoning", "--tools", file, scripted, "call nope {}");
    assert_code(0);
    assert_in(result.out, "\"error\":\"unknown tool: \\\"nope\\\"\",\"text\":\"{}\"}\n");
    assert_string_equal(result.errors, "");
    run("", "run", "-q", "--json", "--temperature", "0", "--tools", file, scripted, "call add {\"a\":1,\"b\":2}");
    yyjson_doc *doc = parse_output();
    yyjson_val *call = yyjson_arr_get_first(member(doc, "tool_calls"));
    assert_string_equal(yyjson_get_str(yyjson_obj_get(call, "name")), "add");
    assert_int_equal(yyjson_get_int(yyjson_obj_get(yyjson_obj_get(call, "arguments"), "b")), 2);
    assert_string_equal(yyjson_get_str(member(doc, "reasoning")), "I will add them.");
    assert_string_equal(yyjson_get_str(member(doc, "finish_reason")), "tool_call");
    json_free(doc);
    run("", "run", "--raw", "--tools", file, scripted, "x");
    assert_code(2);
    run("", "run", "--tools", file, GOLDEN_DIR "/models/chat", "x");
    assert_code(1);
    assert_in(result.errors, "does not know tools");
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "[{}]", 4, 0), 4);
    run("", "run", "--tools", file, scripted, "x");
    assert_code(1);
    assert_in(result.errors, "tool 1 has no name");
    unlink(file);
    close(fd);
}

static void test_run_with_a_long_prompt_says_both_numbers(void **state)
{
    (void)state;
    static char words[5000];
    for (size_t i = 0; i + 1 < sizeof words; i++) words[i] = i % 3 == 2 ? ' ' : 'x';
    run(words, "run", MODEL);
    assert_code(1);
    assert_in(result.errors, "256");
}

static void test_output_that_cannot_be_written(void **state)
{
    (void)state;
    char line[1000];
    const char *path = command_path();
    snprintf(line, sizeof line, "%s run %s hi -q > /dev/full 2> /dev/null", path, MODEL);
    assert_int_equal(WEXITSTATUS(system(line)), 1);
    snprintf(line, sizeof line, "%s show %s > /dev/full 2> /dev/null", path, MODEL);
    assert_int_equal(WEXITSTATUS(system(line)), 1);
    nobody_reads = true;
    run("", "score", MODEL, "--ids", "1,2,3,4,5,6,7,8,9,10", "--top", "200");
    nobody_reads = false;
    assert_code(1);
    assert_string_equal(result.errors, ""); // there is nobody to tell
}

// ---- Tools on models --------------------------------------------------------------------------------------

static void test_template_and_tokenize_agree_with_the_reference(void **state)
{
    (void)state;
    yyjson_val *expected;
    yyjson_doc *doc = read_expected(&expected), *tokens;
    char *messages = yyjson_val_write(expected, 0, NULL); // has "messages"; the template ignores the rest
    run(messages, "template", MODEL, "--messages", "-");
    assert_code(0);
    assert_string_equal(result.out, yyjson_get_str(yyjson_obj_get(expected, "prompt")));
    free(messages);
    run(yyjson_get_str(yyjson_obj_get(expected, "prompt")), "tokenize", MODEL, "--json");
    tokens = parse_output();
    // The chat model's tokenizer adds nothing to plain text.
    assert_same_ids(yyjson_doc_get_root(tokens), yyjson_obj_get(expected, "ids"));
    json_free(tokens);
    json_free(doc);
    run("", "tokenize", MODEL, "--json");
    assert_code(0);
    assert_string_equal(result.out, "[]\n");
    run("{", "template", MODEL, "--messages", "-");
    assert_int_not_equal(result.code, 0);
    assert_in(result.errors, "JSON");
}

static void test_score_agrees_with_the_reference(void **state)
{
    (void)state;
    yyjson_val *expected;
    yyjson_doc *doc = read_expected(&expected), *scores;
    yyjson_val *ids = yyjson_obj_get(expected, "ids");
    char list[2000] = "";
    for (size_t i = 0; i < yyjson_arr_size(ids); i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d", i ? "," : "",
                 yyjson_get_int(yyjson_arr_get(ids, i)));
    run("", "score", MODEL, "--ids", list, "--top", "5", "--precision", "exact", "--json");
    scores = parse_output();
    assert_same_ids(member(scores, "ids"), ids);
    yyjson_val *positions = member(scores, "positions");
    assert_int_equal(yyjson_arr_size(positions), yyjson_arr_size(ids));
    yyjson_val *last = yyjson_arr_get_last(positions), *top = yyjson_obj_get(last, "top");
    assert_true(yyjson_is_null(yyjson_obj_get(last, "next_logprob")));
    assert_int_equal(yyjson_arr_size(top), 5);
    // The reference has the logits of the last position.
    yyjson_val *logits = yyjson_arr_get_last(yyjson_obj_get(expected, "logits"));
    double sum = 0;
    for (size_t i = 0; i < yyjson_arr_size(logits); i++)
        sum += exp(yyjson_get_num(yyjson_arr_get(logits, i)));
    for (size_t i = 0; i < 5; i++) {
        yyjson_val *pair = yyjson_arr_get(top, i);
        double wanted =
            yyjson_get_num(yyjson_arr_get(logits, yyjson_get_uint(yyjson_arr_get(pair, 0)))) - log(sum);
        assert_true(fabs(yyjson_get_num(yyjson_arr_get(pair, 1)) - wanted) < 1e-3);
    }
    json_free(scores);
    json_free(doc);
}

static double mean_of_scores(const char *path)
{
    double sum = 0;
    int count = 0;
    run("", "score", MODEL, "--text-file", path, "--precision", "exact", "--json");
    yyjson_doc *scores = parse_output();
    size_t i, n;
    yyjson_val *position;
    yyjson_arr_foreach(member(scores, "positions"), i, n, position)
    {
        if (yyjson_is_null(yyjson_obj_get(position, "next_logprob"))) continue;
        sum -= yyjson_get_num(yyjson_obj_get(position, "next_logprob"));
        count++;
    }
    json_free(scores);
    return sum / count;
}

static void test_perplexity_is_that_of_the_scores(void **state)
{
    (void)state;
    static const char text[] =
        "A small text, scored in one window and in several that overlap; they differ a little.";
    char path[] = "/tmp/llmlocal-test-XXXXXX";
    close(mkstemp(path));
    assert_ok(file_write(path, text, strlen(text), &err));
    double mean = mean_of_scores(path);
    run("", "perplexity", MODEL, path, "--precision", "exact", "--json");
    yyjson_doc *doc = parse_output();
    int count = yyjson_get_int(member(doc, "tokens"));
    assert_int_equal(yyjson_get_int(member(doc, "predicted")), count - 1);
    assert_true(fabs(yyjson_get_num(member(doc, "mean_nll")) - mean) < 1e-6);
    assert_true(fabs(yyjson_get_num(member(doc, "perplexity")) - exp(mean)) < 1e-3 * exp(mean));
    json_free(doc);
    run("", "perplexity", MODEL, path, "--window", "16", "--stride", "4", "--json");
    doc = parse_output();
    assert_int_equal(yyjson_get_int(member(doc, "predicted")), count - 1); // each token once
    json_free(doc);
    unlink(path);
}

static void test_bench_show_and_engines(void **state)
{
    (void)state;
    static const char *const keys[] = {"engine",        "isa",        "threads",       "weights_bytes",
                                       "load_ms",       "ttft_ms",    "prompt_tokens", "prefill_tps",
                                       "gen_tokens",    "decode_tps", "decode_gbps",   "read_gbps",
                                       "peak_rss_bytes"};
    run("", "bench", MODEL, "-p", "32", "-n", "8", "-r", "2", "--json");
    yyjson_doc *doc = parse_output();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        yyjson_val *value = member(doc, keys[i]);
        assert_true(yyjson_is_str(value) || yyjson_get_num(value) > 0);
    }
    assert_int_equal(yyjson_get_int(member(doc, "prompt_tokens")), 32);
    assert_int_equal(yyjson_get_int(member(doc, "gen_tokens")), 8);
    json_free(doc);
    run("", "bench", MODEL, "-p32", "-n8", "-r1");
    assert_code(0);
    assert_in(result.out, "decode_tps");
    run("", "show", MODEL, "--json");
    doc = parse_output();
    assert_int_equal(yyjson_get_int(member(doc, "context_length")), 256);
    json_free(doc);
    run("", "show", MODEL);
    assert_code(0);
    assert_in(result.out, "family                    llama\n");
    run("", "engines", "--json");
    doc = parse_output();
    assert_true(yyjson_arr_size(yyjson_doc_get_root(doc)) >= 1);
    assert_in(result.out, "\"cpu\"");
    json_free(doc);
    run("", "engines");
    assert_code(0);
    assert_in(result.out, "cpu");
}

static void test_convert_and_presets(void **state)
{
    (void)state;
    char folder[] = "/tmp/llmlocal-test-XXXXXX", made[100], line[200];
    assert_non_null(mkdtemp(folder));
    snprintf(made, sizeof made, "%s/smollm2-135m-instruct", folder);
    run("", "convert", MODEL, made, "--bits", "4", "--group-size", "32");
    assert_code(0);
    run("", "show", made, "--json");
    assert_code(0);
    assert_in(result.out, "\"bits\":4");
    assert_in(result.out, "\"group_size\":32");
    setenv("LLMLOCAL_MODELS", "/nonexistent", 1);
    setenv("HF_HUB_OFFLINE", "1", 1);
    setenv("HF_HOME", "/nonexistent", 1);
    run("", "run", "smollm2", "hi", "--max-tokens", "3");
    assert_code(1); // neither installed nor in the cache
    assert_in(result.errors, "HF_HUB_OFFLINE forbids");
    unsetenv("HF_HUB_OFFLINE");
    unsetenv("HF_HOME");
    setenv("LLMLOCAL_MODELS", folder, 1);
    run("", "run", "smollm2", "hi", "--max-tokens", "3");
    assert_code(0);
    run("", "run", "default", "hi", "--max-tokens", "3");
    assert_code(0);
    unsetenv("LLMLOCAL_MODELS");
    run("", "convert", MODEL, made, "--bits", "7");
    assert_int_not_equal(result.code, 0);
    snprintf(line, sizeof line, "rm -r %s", folder);
    assert_int_equal(system(line), 0);
}

// ---- Terminals and interruptions --------------------------------------------------------------------------

static int terminal; // the test's end of a pseudo-terminal

// Waits for `wanted` and takes what came up to its end; the next call looks behind it. result.out is what was not
// taken yet.
static void expect(const char *wanted)
{
    struct pollfd source = {.fd = terminal, .events = POLLIN};
    char *found;
    while (!(found = strstr(result.out, wanted))) {
        size_t length = strlen(result.out);
        if (poll(&source, 1, 10000) <= 0) fail_msg("\"%s\" does not come: \"%s\"", wanted, result.out);
        ssize_t count = read(terminal, result.out + length, sizeof result.out - 1 - length);
        if (count <= 0) fail_msg("the terminal is closed: \"%s\"", result.out);
        result.out[length + (size_t)count] = 0;
    }
    found += strlen(wanted);
    memmove(result.out, found, strlen(found) + 1);
}

// Sends `keys` and waits for `wanted` in what comes back.
static void type(const char *keys, const char *wanted)
{
    assert_int_equal(write(terminal, keys, strlen(keys)), strlen(keys));
    expect(wanted);
}

// Sends a line, waits for `wanted` and then for the next prompt: what is typed before it could still belong to the
// line before.
static void enter(const char *keys, const char *wanted)
{
    type(keys, wanted);
    expect("\n> ");
}

static void session_file_name(char *name, size_t size)
{
    snprintf(name, size, "/tmp/llmlocal-chat-%d", (int)getpid());
}

static void test_chat_goes_on_with_a_session(void **state)
{
    (void)state;
    char file[100];
    session_file_name(file, sizeof file);
    remove(file);
    for (int i = 0; i < 2; i++) {
        run("Say a word.", "chat", "--max-tokens=5", "--ignore-end", "--session", file, MODEL);
        assert_code(0);
        if (i == 0) assert_null(strstr(result.errors, "goes on"));
        else assert_in(result.errors, "goes on]");
    }
    assert_in(result.errors, "of them kept"); // the second prompt has the first turn in it
    run("Say a word.", "chat", "--precision=exact", "--max-tokens=5", "--session", file, MODEL);
    assert_code(0);
    assert_in(result.errors, "warning: ");
    assert_in(result.errors, "another precision");
    run("Say a word.", "chat", "--session", file, GOLDEN_DIR "/models/llama-tied");
    assert_code(1);
    run("Say a word.", "chat", "--session", "/nowhere/at/all", "--max-tokens=5", MODEL);
    assert_code(1);
    assert_in(result.errors, "cannot write /nowhere/at/all");
    remove(file);
}

static void test_chat_at_a_terminal(void **state)
{
    (void)state;
    const char *path = command_path();
    char file[100], line[200];
    session_file_name(file, sizeof file);
    setenv("TERM", "xterm", 1);
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    if (child < 0) {
        print_message("SKIPPED: this system gives no pseudo-terminal (is /dev/pts mounted?)\n");
        skip();
    }
    if (!child) {
        execl(path, "llmlocal", "chat", MODEL, "--seed", "3", "--max-tokens", "10", "--ignore-end", NULL);
        _exit(127);
    }
    result.out[0] = 0;
    expect("> ");
    enter("/stats\n", "there was no answer yet");
    type("Hello.\n", "\n> ");
    enter("/stats\n", "answer: 10 tokens");
    type("typed and thought better of", "better of");
    type("\003", "\n> ");
    enter("/save\n", "path is missing");
    snprintf(line, sizeof line, "/save %s\n", file);
    enter(line, "[saved]");
    enter("/load /nowhere/at/all\n", "cannot open /nowhere/at/all");
    snprintf(line, sizeof line, "/load %s\n", file);
    enter(line, "goes on]");
    enter("/system Be brief.\n", "the system prompt is set");
    enter("/system\n", "there is no system prompt now");
    enter("/reset\n", "begins anew");
    enter("/unknown\n", "there is no command /unknown");
    enter("/help\n", "/quit");
    type("\033[A", "/help"); // the history
    type("\025/quit\n", "quit");
    assert_int_equal(exit_code(child), 0);
    close(terminal);
    assert_int_equal(remove(file), 0);
}

static void test_interruptions_are_exit_code_130(void **state)
{
    (void)state;
    int in[2];
    const char *path = command_path();
    assert_int_equal(pipe(in), 0);
    pid_t child = fork();
    if (!child) {
        dup2(in[0], 0);
        close(in[0]), close(in[1]);
        execl(path, "llmlocal", "run", MODEL, NULL); // waits for its prompt
        _exit(127);
    }
    usleep(250000);
    kill(child, SIGINT);
    assert_int_equal(exit_code(child), 130);
    close(in[0]), close(in[1]);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_the_manual_has_every_option),
        cmocka_unit_test(test_wrong_usage_is_exit_code_2),
        cmocka_unit_test(test_failures_are_exit_code_1),
        cmocka_unit_test(test_an_adapter_changes_the_answer),
        cmocka_unit_test(test_run_answers_as_the_reference_does),
        cmocka_unit_test(test_run_takes_its_prompt_from_anywhere),
        cmocka_unit_test(test_run_raw_and_its_settings),
        cmocka_unit_test(test_run_prints_calls_and_reasoning),
        cmocka_unit_test(test_run_with_a_long_prompt_says_both_numbers),
        cmocka_unit_test(test_output_that_cannot_be_written),
        cmocka_unit_test(test_template_and_tokenize_agree_with_the_reference),
        cmocka_unit_test(test_score_agrees_with_the_reference),
        cmocka_unit_test(test_perplexity_is_that_of_the_scores),
        cmocka_unit_test(test_bench_show_and_engines),
        cmocka_unit_test(test_convert_and_presets),
        cmocka_unit_test(test_chat_goes_on_with_a_session),
        cmocka_unit_test(test_chat_at_a_terminal),
        cmocka_unit_test(test_interruptions_are_exit_code_130),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
