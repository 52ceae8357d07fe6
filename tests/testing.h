// What every cmocka test includes.
#ifndef TESTING_H
#define TESTING_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/error.h"

// Fails with the error's text when a call did not succeed.
#define assert_ok(call) \
    do { \
        llm_status status_ = (call); \
        if (status_ != LLM_OK) fail_msg("%s: %s", #call, err.message); \
    } while (0)

// The call must give this code, and the message must contain the text.
#define assert_error(call, expected_code, expected_text) \
    do { \
        llm_status status_ = (call); \
        if (status_ != (expected_code)) fail_msg("%s: got \"%s\"", #call, llm_status_name(status_)); \
        if (!strstr(err.message, (expected_text))) fail_msg("%s: the message is \"%s\"", #call, err.message); \
    } while (0)

#endif
