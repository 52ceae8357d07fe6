// The thread that watches memory, and unloads when it gets short.
#include "base/clock.h"
#include "base/thread.h"
#include "client/wait.h"
#include "service/service.h"

bool monitor_init(monitor *m)
{
    return !pthread_mutex_init(&m->control, NULL) && !pthread_mutex_init(&m->lock, NULL) && wait_init(&m->wake);
}

void monitor_free(monitor *m)
{
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->control);
}

static llm_pressure look(llm_service *service)
{
    const llm_service_options *options = &service->options;
    if (options->pressure) return options->pressure(options->pressure_user);
    return pressure_look(&service->monitor.watch, "", clock_nanoseconds());
}

static void react(llm_service *service, llm_pressure pressure)
{
    const llm_service_options *options = &service->options;
    int count = service_unload_all(service);
    if (options->on_pressure) options->on_pressure(options->on_pressure_user, pressure, count);
}

// False: it is time to end.
static bool wait_for_next_look(monitor *m, int milliseconds)
{
    int64_t deadline = clock_nanoseconds() + (int64_t)milliseconds * 1000000;
    pthread_mutex_lock(&m->lock);
    while (!m->stop && clock_nanoseconds() < deadline) wait_until(&m->wake, &m->lock, deadline);
    bool go_on = !m->stop;
    pthread_mutex_unlock(&m->lock);
    return go_on;
}

// A pressure that stays is answered once: there is nothing more to give, and a model that was asked for since
// then was loaded because it fits.
static void *monitor_main(void *user)
{
    llm_service *service = user;
    llm_pressure last = LLM_PRESSURE_NONE;
    do {
        llm_pressure now = look(service);
        if (now > last) react(service, now);
        last = now;
    } while (wait_for_next_look(&service->monitor, service->options.pressure_interval_ms));
    return NULL;
}

llm_status llm_service_start_monitoring(llm_service *service, llm_error *err)
{
    if (!service) return error_set(err, LLM_INVALID_ARGUMENT, "the service is NULL");
    monitor *m = &service->monitor;
    pthread_mutex_lock(&m->control);
    if (!m->runs) {
        m->stop = false;
        m->watch = (pressure_watch){0};
        m->runs = thread_start(&m->thread, monitor_main, service);
    }
    bool runs = m->runs;
    pthread_mutex_unlock(&m->control);
    return runs ? LLM_OK : error_no_memory(err, "the thread that watches memory");
}

void llm_service_stop_monitoring(llm_service *service)
{
    if (!service) return;
    monitor *m = &service->monitor;
    pthread_mutex_lock(&m->control);
    if (m->runs) {
        pthread_mutex_lock(&m->lock);
        m->stop = true;
        pthread_cond_signal(&m->wake);
        pthread_mutex_unlock(&m->lock);
        pthread_join(m->thread, NULL);
        m->runs = false;
    }
    pthread_mutex_unlock(&m->control);
}
