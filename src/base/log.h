// The one way out for messages that are not errors: the application's callback, or nowhere.
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/error.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING } log_level;

// The callback is set by the public llm_set_log.
void log_message(log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
