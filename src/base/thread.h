// Threads of the library's own.
#ifndef BASE_THREAD_H
#define BASE_THREAD_H
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

// Starts a thread that takes no signals: they are for the application's threads. False: none could be started.
static inline bool thread_start(pthread_t *thread, void *(*body)(void *), void *user)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(thread, NULL, body, user) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

#endif
