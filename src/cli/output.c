// Standard output, errors and interruptions.
#include "cli/cli.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- Errors -----------------------------------------------------------------------------------------------

int fail(const llm_error *err)
{
    if (err->code == LLM_CANCELLED && interrupted()) return EXIT_INTERRUPTED;
    fprintf(stderr, "llmlocal: %s\n", err->message);
    return err->code == LLM_INVALID_ARGUMENT ? EXIT_USAGE : EXIT_FAILED;
}

int fail_with(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "llmlocal: ");
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    return EXIT_FAILED;
}

// ---- Interruptions ----------------------------------------------------------------------------------------

static volatile sig_atomic_t interruptions;

static void on_interrupt(int number)
{
    (void)number;
    if (++interruptions > 1) _exit(EXIT_INTERRUPTED);
}

void interrupt_install(void)
{
    struct sigaction action = {.sa_handler = on_interrupt}; // without SA_RESTART: reading stops, too
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool interrupted(void)
{
    return interruptions > 0;
}
void interrupt_clear(void)
{
    interruptions = 0;
}

// ---- Output -----------------------------------------------------------------------------------------------

static int write_error; // errno of the first write that failed

static void note_failure(bool failed)
{
    if (failed && !write_error) write_error = errno ? errno : EIO;
}

bool out_failed(void)
{
    return write_error != 0;
}

// A model may say anything, but not move the cursor: control characters become their pictures.
static void write_harmless(FILE *file, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i], next = i + 1 < length ? (unsigned char)bytes[i + 1] : 0;
        if (c == 0xC2 && next >= 0x80 && next < 0xA0) // U+0080 to U+009F, which some terminals obey, too
            fputs("\xEF\xBF\xBD", file), i++;
        else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
            fprintf(file, "\xE2\x90%c", c == 0x7F ? 0xA1 : 0x80 + c);
        else
            putc(c, file);
    }
}

void out_text(const char *bytes, size_t length)
{
    static int terminal = -1;
    if (terminal < 0) terminal = isatty(STDOUT_FILENO);
    errno = 0;
    if (terminal)
        write_harmless(stdout, bytes, length);
    else
        fwrite(bytes, 1, length, stdout);
    note_failure(fflush(stdout) || ferror(stdout));
}

void err_text(const char *bytes, size_t length)
{
    if (isatty(STDERR_FILENO))
        write_harmless(stderr, bytes, length);
    else
        fwrite(bytes, 1, length, stderr);
    fflush(stderr);
}

void out_string(const char *string)
{
    errno = 0;
    note_failure(fputs(string, stdout) < 0);
}

void out_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    errno = 0;
    note_failure(vprintf(format, args) < 0);
    va_end(args);
}

void text_append_json(text *t, const char *bytes, size_t length)
{
    char escape[8];
    text_append(t, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\')
            text_append(t, escape, (size_t)snprintf(escape, sizeof escape, "\\%c", c));
        else if (c == '\n' || c == '\t')
            text_append(t, c == '\n' ? "\\n" : "\\t", 2);
        else if (c < 0x20 || c == 0x7F)
            text_append(t, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
        else
            text_append(t, bytes + i, 1);
    }
    text_append(t, "\"", 1);
}

void out_json_string(const char *bytes, size_t length)
{
    text json = {0};
    text_append_json(&json, bytes, length);
    out_string(json.data);
    text_free(&json);
}

void out_json_number(double value)
{
    if (isfinite(value))
        out_format("%.10g", value);
    else
        out_string("null");
}

void out_json_member(const char *name, const char *value)
{
    out_format("\"%s\":", name);
    if (value)
        out_json_string(value, strlen(value));
    else
        out_string("null");
    out_string(",");
}

void out_size(uint64_t bytes)
{
    if (bytes >= 1000000000)
        out_format("%7.2f GB", (double)bytes * 1e-9);
    else
        out_format("%7.1f MB", (double)bytes * 1e-6);
}

const char *fit_text(llm_memory_fit fit)
{
    return fit == LLM_FITS ? "fits here" : fit == LLM_FITS_LATER ? "not right now" : "does not fit";
}

int out_finish(int code)
{
    errno = 0;
    note_failure(fflush(stdout) || ferror(stdout));
    if (!write_error) return code;
    if (write_error != EPIPE)
        fail_with("standard output: %s", strerror(write_error)); // else nobody is there to care
    return code == EXIT_INTERRUPTED ? code : EXIT_FAILED;
}
