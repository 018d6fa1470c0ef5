/*
 * timers.h - many deadlines, one clock
 *
 * A binary heap of deadlines whose elements know their place in it, so that moving or removing one
 * is as cheap as adding it. Ten thousand idle connections have ten thousand deadlines, yet the loop
 * asks libevent for one timer: the earliest. Time is a parameter; nothing here looks at a clock.
 *
 * A timer is embedded in what it belongs to. It is in one heap or in none; one that fires has been
 * removed before its function is called, which may set it again or free it.
 */
#ifndef BROKER_TIMERS_H
#define BROKER_TIMERS_H

#include "amqp/base.h"

struct timer {
    uint64_t due_ms;
    size_t place; /* in the heap, from 1; 0: not set */
    void (*fire)(struct timer *timer, uint64_t now_ms);
};

struct timers {
    struct timer **heap; /* heap[1] is the earliest */
    size_t count;
    size_t capacity;
};

/** timers_release() - free the heap; timers that are still set are forgotten */
void timers_release(struct timers *timers);

/**
 * timers_set() - fire @timer once at @due_ms; moves it when it is already set
 *
 * Return: 0, or -ENOMEM, which only a timer that was not set can get.
 */
int timers_set(struct timers *timers, struct timer *timer, uint64_t due_ms);

/** timers_cancel() - it will not fire; a timer that is not set is fine */
void timers_cancel(struct timers *timers, struct timer *timer);

/**
 * timers_run() - fire what is due at @now_ms, each once at most unless it is set to the past
 *
 * BOUND_TIMERS_A_TURN at most: timers_next() says that there are more.
 */
void timers_run(struct timers *timers, uint64_t now_ms);

/** timers_next() - when the earliest is due; UINT64_MAX when none is set */
static inline uint64_t timers_next(const struct timers *timers)
{
    return timers->count ? timers->heap[1]->due_ms : UINT64_MAX;
}

#endif
