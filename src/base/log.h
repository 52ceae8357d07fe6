// The one way out for messages that are not errors: the application's callback, or nowhere.
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/error.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING } log_level;
typedef void (*log_function)(void *user, int level, const char *message);

void log_set(log_function function, void *user);
void log_message(log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
