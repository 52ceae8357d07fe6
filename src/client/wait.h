// Waiting for a condition, with time limits by the monotonic clock (which nobody sets).
#ifndef CLIENT_WAIT_H
#define CLIENT_WAIT_H
#include "base/clock.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

static inline bool wait_init(pthread_cond_t *condition)
{
#ifdef __APPLE__
    return !pthread_cond_init(condition, NULL);
#else
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes)) return false;
    bool done = !pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) &&
                !pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return done;
#endif
}

// Waits once, at most until `deadline_ns`; like every condition it may wake for nothing.
static inline void wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_ns)
{
#ifdef __APPLE__
    int64_t left = deadline_ns - clock_nanoseconds();
    if (left <= 0) return;
    struct timespec time = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    pthread_cond_timedwait_relative_np(condition, lock, &time);
#else
    struct timespec time = {(time_t)(deadline_ns / 1000000000), (long)(deadline_ns % 1000000000)};
    pthread_cond_timedwait(condition, lock, &time);
#endif
}

#endif
