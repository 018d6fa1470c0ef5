/*
 * loop.c - libevent drives, turns give it a beginning and an end
 *
 * event_base_loop(EVLOOP_ONCE) waits once and calls back for everything that was ready; that is the
 * body of a turn. All deadlines share one libevent timer, which is moved only when the earliest
 * deadline moves. A gathering of the broker ends within a fraction of a millisecond, which epoll's
 * timeout cannot tell, so it has a descriptor of its own. Deferred work is run as one batch a turn:
 * what defers itself again waits for the next turn, so that nobody can hold the loop.
 *
 * Nobody is served while a turn is under way, so no turn may take long, whatever its clients do
 * (broker/task.h). At log level debug those that take more than TURN_LONG_US are logged, with
 * the processor time of this thread: bench/probe.py reads it.
 */
#include "server/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker.h"
#include "server/log.h"
#include "store/store.h"

enum { LOOP_SIGNALS_MAX = 8, TURN_LONG_US = 1000 };

struct loop_signal {
    struct loop *loop;
    struct event *event;
    void (*handle)(void *context, int number);
    void *context;
};

struct loop {
    struct event_base *base;
    struct broker *broker;
    struct store *store;
    struct event *store_event;
    bool poll_store; /* it has no descriptor */
    int gather_fd; /* timer: how long a commit waits for more */
    struct event *gather_event;
    bool gather_set;
    struct event *timer_event;
    uint64_t timer_ms; /* what timer_event is set to; UINT64_MAX: not set */
    struct timers timers;
    uint64_t broker_due_ms; /* when broker_end() wants to be called again */
    struct loop_work *deferred, *flushes; /* newest first: their order does not matter */
    struct loop_work *batch;              /* of one of these, being run */
    struct loop_signal signals[LOOP_SIGNALS_MAX];
    unsigned signal_count;
    uint64_t (*clock)(void);
    uint64_t now_ms;
    uint64_t turn_number;
    uint64_t turn_began_us; /* processor time; 0: not measured */
    bool in_turn, again, stopped;
};

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t monotonic_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

static uint64_t processor_us(void)
{
    struct timespec used;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used); /* cannot fail with these arguments */
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static void log_long_turn(const struct loop *loop)
{
    uint64_t took_us = processor_us() - loop->turn_began_us;

    if (took_us > TURN_LONG_US)
        log_write(LOG_DEFAULT, LOG_LEVEL_DEBUG, NULL, "a turn took %llu us of processor time",
                  (unsigned long long)took_us);
}

static void work_add(struct loop_work **list, struct loop_work *work)
{
    work->next = *list;
    work->link = list;
    if (work->next)
        work->next->link = &work->next;
    *list = work;
}

void loop_work_cancel(struct loop_work *work)
{
    if (!work->link)
        return;
    *work->link = work->next;
    if (work->next)
        work->next->link = work->link;
    work->link = NULL;
}

/* Run what is queued now; work may cancel other work of the batch, and queue more. */
static void work_run(struct loop *loop, struct loop_work **list)
{
    assert(!loop->batch);
    if (!*list)
        return;
    loop->batch = *list;
    loop->batch->link = &loop->batch;
    *list = NULL;
    while (loop->batch) {
        struct loop_work *work = loop->batch;

        loop_work_cancel(work);
        work->run(work);
    }
}

void loop_enter(struct loop *loop)
{
    if (loop->in_turn)
        return;
    loop->in_turn = true;
    loop->turn_number++;
    loop->turn_began_us = log_enabled(LOG_DEFAULT, LOG_LEVEL_DEBUG) ? processor_us() : 0;
    loop->now_ms = loop->clock();
    broker_begin(loop->broker, loop->now_ms, clock_ms(CLOCK_REALTIME));
    if (loop->poll_store)
        store_poll(loop->store);
}

/* A store that is lost ends the turns. */
static void poll_store(struct loop *loop)
{
    const char *text;

    store_poll(loop->store);
    if (store_lost(loop->store, &text))
        loop_stop(loop);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct loop *loop = context;

    (void)fd;
    (void)what;
    loop->timer_ms = UINT64_MAX;
    loop_enter(loop); /* the end of the turn runs what is due */
}

static void on_store(evutil_socket_t fd, short what, void *context)
{
    struct loop *loop = context;

    (void)fd;
    (void)what;
    loop_enter(loop);
    poll_store(loop);
}

static void on_gather(evutil_socket_t fd, short what, void *context)
{
    struct loop *loop = context;
    uint64_t times;

    (void)what;
    if (read(fd, &times, sizeof times) < 0)
        return; /* set anew meanwhile */
    loop_enter(loop);
    loop->gather_set = false;
    broker_gather_over(loop->broker);
}

/* Follow the broker: start the timer when a gathering begins, stop it when it has ended. */
static void loop_set_gather(struct loop *loop)
{
    uint32_t limit_us = broker_gather_us(loop->broker);
    struct itimerspec limit = { .it_value = { .tv_nsec = (long)limit_us * 1000 } };

    if (loop->gather_set == (limit_us != 0))
        return;
    loop->gather_set = limit_us != 0;
    (void)timerfd_settime(loop->gather_fd, 0, &limit, NULL); /* cannot fail with such a limit */
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct loop_signal *entry = context;

    (void)what;
    loop_enter(entry->loop);
    entry->handle(entry->context, (int)number);
}

int loop_new(struct broker *broker, struct loop **ret_loop)
{
    OWNED(loop_free) struct loop *loop = calloc(1, sizeof *loop);

    if (!loop)
        return -ENOMEM;
    loop->gather_fd = -1;
    loop->broker = broker;
    loop->timer_ms = UINT64_MAX;
    loop->broker_due_ms = UINT64_MAX;
    loop->clock = monotonic_ms;
    loop->now_ms = loop->clock();
    loop->base = event_base_new();
    if (!loop->base)
        return -ENOMEM;
    loop->timer_event = evtimer_new(loop->base, on_timer, loop);
    if (!loop->timer_event)
        return -ENOMEM;
    loop->gather_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->gather_fd < 0)
        return -errno;
    loop->gather_event =
        event_new(loop->base, loop->gather_fd, EV_READ | EV_PERSIST, on_gather, loop);
    if (!loop->gather_event || event_add(loop->gather_event, NULL))
        return -ENOMEM;
    *ret_loop = TAKE(loop);
    return 0;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    loop_forget_store(loop);
    for (unsigned i = 0; i < loop->signal_count; i++)
        event_free(loop->signals[i].event);
    if (loop->gather_event)
        event_free(loop->gather_event);
    if (loop->gather_fd >= 0)
        (void)close(loop->gather_fd);
    if (loop->timer_event)
        event_free(loop->timer_event);
    timers_release(&loop->timers);
    if (loop->base)
        event_base_free(loop->base);
    free(loop);
}

struct event_base *loop_base(const struct loop *loop)
{
    return loop->base;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

uint64_t loop_turn_number(const struct loop *loop)
{
    return loop->turn_number;
}

int loop_watch_store(struct loop *loop, struct store *store)
{
    int fd = store_fd(store);

    assert(!loop->store);
    loop->store = store;
    loop->poll_store = fd < 0;
    if (fd < 0)
        return 0;
    loop->store_event = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_store, loop);
    if (!loop->store_event)
        return -ENOMEM;
    return event_add(loop->store_event, NULL) ? -ENOMEM : 0;
}

void loop_forget_store(struct loop *loop)
{
    if (loop->store_event)
        event_free(loop->store_event);
    loop->store_event = NULL;
    loop->store = NULL;
    loop->poll_store = false;
}

int loop_on_signal(struct loop *loop, int number, void (*handle)(void *context, int number),
                   void *context)
{
    struct loop_signal *entry = &loop->signals[loop->signal_count];

    assert(loop->signal_count < LOOP_SIGNALS_MAX);
    *entry = (struct loop_signal){ .loop = loop, .handle = handle, .context = context };
    entry->event = evsignal_new(loop->base, number, on_signal, entry);
    if (!entry->event)
        return -ENOMEM;
    loop->signal_count++;
    return event_add(entry->event, NULL) ? -ENOMEM : 0;
}

/* Set libevent's timer to the earliest deadline, unless it already stands there. */
static void loop_set_alarm(struct loop *loop)
{
    uint64_t due_ms = timers_next(&loop->timers);
    uint64_t wait_ms;
    struct timeval wait;

    if (loop->broker_due_ms < due_ms)
        due_ms = loop->broker_due_ms;
    if (due_ms == loop->timer_ms)
        return;
    loop->timer_ms = due_ms;
    if (due_ms == UINT64_MAX) {
        evtimer_del(loop->timer_event);
        return;
    }
    wait_ms = due_ms > loop->now_ms ? due_ms - loop->now_ms : 0;
    wait = (struct timeval){ (time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000) };
    if (evtimer_add(loop->timer_event, &wait)) { /* without memory: look again every turn */
        loop->timer_ms = UINT64_MAX;
        loop->again = true;
    }
}

static void loop_end_turn(struct loop *loop)
{
    int wait_ms;

    timers_run(&loop->timers, loop->now_ms);
    work_run(loop, &loop->deferred);
    wait_ms = broker_end(loop->broker);
    loop->broker_due_ms = wait_ms < 0 ? UINT64_MAX : loop->now_ms + (uint64_t)wait_ms;
    loop_set_gather(loop);
    work_run(loop, &loop->flushes);
    if (UNLIKELY(loop->turn_began_us))
        log_long_turn(loop);
    loop->in_turn = false;
}

void loop_turn(struct loop *loop, bool poll)
{
    bool hurry;

    loop_set_alarm(loop);
    hurry = poll || loop->again || loop->deferred;
    loop->again = false;
    (void)event_base_loop(loop->base, EVLOOP_ONCE | (hurry ? EVLOOP_NONBLOCK : 0));
    loop_enter(loop);
    loop_end_turn(loop);
}

void loop_run(struct loop *loop)
{
    while (!loop->stopped)
        loop_turn(loop, false);
}

void loop_set_clock(struct loop *loop, uint64_t (*clock)(void))
{
    loop->clock = clock;
    loop->now_ms = clock();
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}

void loop_defer(struct loop *loop, struct loop_work *work)
{
    if (!work->link)
        work_add(&loop->deferred, work);
}

void loop_flush_later(struct loop *loop, struct loop_work *work)
{
    if (!work->link)
        work_add(&loop->flushes, work);
}

int loop_set_timer(struct loop *loop, struct timer *timer, uint64_t due_ms)
{
    return timers_set(&loop->timers, timer, due_ms);
}

void loop_cancel_timer(struct loop *loop, struct timer *timer)
{
    timers_cancel(&loop->timers, timer);
}
