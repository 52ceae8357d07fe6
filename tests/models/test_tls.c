// Pulling over TLS from a hub on loopback: whom we trust, and that nobody else gets the token. The certificates are made here, by
// the command openssl; without it the tests are skipped, loudly.
#include "testing.h"
#include "base/clock.h"
#include "hub_server.h"
#include "models/hub.h"

#define ID "mlx-community/Tiny"
enum { WEIGHTS = 300000 };

static llm_error err;
static char *folder;       // of the running test
static char *certificates; // of all tests

// Two authorities; of the first a certificate for the servers, one for another host, and one of yesterday.
static const char script[] =
    "cd '%s' && exec >log 2>&1 && "
    "authority() { openssl req -x509 -newkey rsa:2048 -nodes -keyout $1.key -out $1.pem -days 30 -subj \"/CN=$1\"; } && "
    "sign() { openssl req -newkey rsa:2048 -nodes -keyout $1.key -out $1.csr -subj /CN=hub && echo \"subjectAltName=$2\" >$1.ext && "
    "openssl x509 -req -in $1.csr -CA ours.pem -CAkey ours.key -CAcreateserial -days $3 -extfile $1.ext -out $1.pem; } && "
    "authority ours && authority other && sign right IP:127.0.0.1,IP:127.0.0.2,DNS:hub.invalid 30 && sign elsewhere DNS:elsewhere.invalid 30 && "
    "sign old IP:127.0.0.1 -1";

static const char *pem(const char *name)
{
    return path_in(certificates, name);
}

static int make_certificates(void **state)
{
    char line[2000];
    (void)state;
    if (make_folder((void **)&certificates)) return -1;
    snprintf(line, sizeof line, script, certificates);
    if (system("command -v openssl >/dev/null") != 0) {
        print_message("SKIPPED: there is no openssl to make certificates with; `make test` installs it\n");
        remove_folder((void **)&certificates);
        certificates = NULL;
        return 0;
    }
    return system(line);
}

static int remove_certificates(void **state)
{
    (void)state;
    return certificates ? remove_folder((void **)&certificates) : 0;
}

// A server with this certificate, and everything else right. False: skipped.
static bool serve(const char *name)
{
    if (!certificates) return false;
    static char file[2][620];
    snprintf(file[0], sizeof file[0], "%s/%s.pem", certificates, name);
    snprintf(file[1], sizeof file[1], "%s/%s.key", certificates, name);
    server.certificate = file[0];
    server.key = file[1];
    assert_int_equal(start_server(NULL), 0);
    assert_int_equal(start_fresh(&folder), 0);
    put_model(ID, WEIGHTS);
    setenv("HF_TOKEN", "hf_right", 1);
    setenv("SSL_CERT_FILE", pem("ours.pem"), 1);
    return true;
}

static void end(void)
{
    unsetenv("https_proxy");
    remove_folder((void **)&folder);
    stop_server(NULL);
}

static double seconds; // of the latest pull
static llm_status pull(void)
{
    hub_settings settings;
    char *path = NULL;
    hub_request request = {.id = ID, .revision = "main"};
    llm_status status = hub_settings_read(&settings, &err);
    assert_int_equal(status, LLM_OK);
    seconds = clock_seconds();
    status = hub_pull(&settings, &request, &path, &err);
    seconds = clock_seconds() - seconds;
    if (status == LLM_OK) assert_true(same_file(path_in(path, "model.safetensors"), path_in(path_in(server.root, ID), "model.safetensors")));
    mem_free(path);
    hub_settings_free(&settings);
    return status;
}

static int requests_with(const char *part)
{
    char *log = server_log();
    int count = count_in(log, part);
    free(log);
    return count;
}

// Fails at once, in words, and before a byte of HTTP was said.
static void assert_refused(const char *words)
{
    assert_error(pull(), LLM_DOWNLOAD_FAILED, words);
    assert_non_null(strstr(err.message, "127.0.0.1"));
    assert_true(seconds < 2);
    assert_int_equal(requests_with("\"method\""), 0);
}

static void test_the_right_authority(void **state)
{
    (void)state;
    static const char *const names[] = {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"};
    if (!serve("right")) return;
    unsetenv("SSL_CERT_FILE");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        setenv(names[i], pem("ours.pem"), 1);
        remove_tree(path_in(folder, "home"));
        assert_ok(pull());
        unsetenv(names[i]);
    }
    char *log = server_log();
    assert_true(count_in(log, "\"side\": \"cdn\"") >= 3); // TLS there, too
    const char *line = strstr(log, "\"side\": \"cdn\"");
    assert_non_null(strstr(log, "Bearer hf_right"));
    for (; line; line = strstr(line + 1, "\"side\": \"cdn\"")) assert_int_equal(strncmp(strstr(line, "authorization") + 16, "null", 4), 0);
    free(log);
    end();
}

static void test_an_unknown_authority(void **state)
{
    (void)state;
    if (!serve("right")) return;
    setenv("SSL_CERT_FILE", pem("other.pem"), 1);
    assert_refused("unable to get local issuer certificate (SSL_CERT_FILE may name");
    unsetenv("SSL_CERT_FILE"); // the system's
    assert_refused("certificate");
    setenv("SSL_CERT_FILE", pem("nothing.pem"), 1);
    assert_refused("nothing.pem");
    end();
}

static void test_another_host(void **state)
{
    (void)state;
    if (!serve("elsewhere")) return;
    assert_refused("no alternative certificate subject name matches");
    end();
}

static void test_an_expired_certificate(void **state)
{
    (void)state;
    if (!serve("old")) return;
    assert_refused("certificate has expired");
    end();
}

// Neither with the token nor without it.
static void test_encryption_is_not_given_up(void **state)
{
    (void)state;
    char faults[300];
    if (!serve("right")) return;
    snprintf(faults, sizeof faults, "[{\"on\":\"hub\",\"path\":\"model.safetensors\",\"redirect\":\"http://127.0.0.1:%d/stolen\",\"times\":9}]", server.proxy_port);
    server_faults(faults);
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "gives up encryption");
    assert_int_equal(requests_with("stolen"), 0);
    unsetenv("HF_TOKEN");
    server_faults(faults);
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "gives up encryption");
    assert_int_equal(requests_with("stolen"), 0);
    end();
}

static void test_a_redirect_to_another_port_has_no_token(void **state)
{
    (void)state;
    char faults[300];
    if (!serve("right")) return;
    snprintf(faults, sizeof faults, "[{\"on\":\"hub\",\"path\":\"/resolve/\",\"redirect\":\"https://127.0.0.2:%d/" ID "/config.json\",\"times\":1}]", server.cdn_port);
    server_faults(faults);
    pull();
    char *log = server_log();
    const char *line = strstr(log, "\"side\": \"cdn\"");
    assert_non_null(line);
    assert_int_equal(strncmp(strstr(line, "authorization") + 16, "null", 4), 0);
    free(log);
    end();
}

static void test_through_a_proxy(void **state)
{
    (void)state;
    char proxy[60];
    if (!serve("right")) return;
    snprintf(proxy, sizeof proxy, "http://user:secret@127.0.0.1:%d", server.proxy_port);
    setenv("HF_ENDPOINT", "https://hub.invalid", 1); // only the proxy knows it
    setenv("https_proxy", proxy, 1);
    assert_ok(pull());
    char *log = server_log();
    assert_true(count_in(log, "\"path\": \"hub.invalid:443\"") > 0 && count_in(log, "\"path\": \"127.0.0.2:") > 0);
    const char *line = log;
    while ((line = strstr(line, "\"CONNECT\""))) { // what the proxy sees
        const char *its_end = strchr(line, '\n');
        char text[1000];
        snprintf(text, sizeof text, "%.*s", (int)(its_end - line), line);
        assert_null(strstr(text, "hf_right"));
        assert_non_null(strstr(text, "Basic "));
        line = its_end;
    }
    free(log);
    // It says no: no use in trying again.
    remove_tree(path_in(folder, "home"));
    server_faults("[{\"on\":\"proxy\",\"path\":\"\",\"status\":407,\"times\":99}]");
    assert_error(pull(), LLM_DOWNLOAD_FAILED, "407");
    assert_true(seconds < 2);
    assert_null(strstr(err.message, "secret"));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_right_authority),       cmocka_unit_test(test_an_unknown_authority),
        cmocka_unit_test(test_another_host),              cmocka_unit_test(test_an_expired_certificate),
        cmocka_unit_test(test_encryption_is_not_given_up), cmocka_unit_test(test_a_redirect_to_another_port_has_no_token),
        cmocka_unit_test(test_through_a_proxy),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
