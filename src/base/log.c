// Passes messages to the application's callback.
#include "base/log.h"
#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static llm_log_function current;
static void *current_user;

void llm_set_log(llm_log_function function, void *user)
{
    pthread_mutex_lock(&lock);
    current = function;
    current_user = user;
    pthread_mutex_unlock(&lock);
}

void log_message(log_level level, const char *format, ...)
{
    char text[1000];
    va_list args;
    pthread_mutex_lock(&lock);
    llm_log_function function = current;
    void *user = current_user;
    pthread_mutex_unlock(&lock);
    if (!function) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    function(user, (int)level, text);
}
