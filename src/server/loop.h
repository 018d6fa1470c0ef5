/*
 * loop.h - one thread's turns
 *
 * A turn is one wake-up: whatever is ready is handled, then the broker ends the turn, then every
 * socket that got something to say is written once.
 *
 *   wait -> broker_begin(time) -> sockets, store, timers, deferred work -> broker_end() -> flushes
 *
 * So one wait, one sealed commit and one write a socket serve as many messages as came meanwhile,
 * and no confirm is written before its commit was reported. Whatever calls into the broker from an
 * event calls loop_enter() first.
 */
#ifndef SERVER_LOOP_H
#define SERVER_LOOP_H

#include "amqp/base.h"
#include "broker/timers.h"

struct broker;
struct event_base;
struct loop;
struct store;

/** struct loop_work - something to be done later in a turn; embedded in its owner */
struct loop_work {
    struct loop_work *next, **link; /* link: who points here; NULL when not queued */
    void (*run)(struct loop_work *work);
};

/** loop_new() - 0 or -errno. @broker is borrowed and outlives the loop's turns */
int loop_new(struct broker *broker, struct loop **ret_loop);
void loop_free(struct loop *loop);
DEFINE_OWNED(loop_free, struct loop *)

struct event_base *loop_base(const struct loop *loop);

/** loop_watch_store() - poll @store, within turns, when it has news. 0 or -errno */
int loop_watch_store(struct loop *loop, struct store *store);
/** loop_forget_store() - before the store is closed */
void loop_forget_store(struct loop *loop);

/**
 * loop_on_signal() - call @handle in a turn when the process gets @number
 *
 * Return: 0 or -ENOMEM.
 */
int loop_on_signal(struct loop *loop, int number, void (*handle)(void *context, int number),
                   void *context);

/** loop_enter() - a turn begins now, unless it already has */
void loop_enter(struct loop *loop);

/** loop_now_ms() - monotonic time of this turn */
uint64_t loop_now_ms(const struct loop *loop);

/** loop_turn_number() - of this turn, for what has a bound a turn */
uint64_t loop_turn_number(const struct loop *loop);

/** loop_set_clock() - for tests: turns begin at the time that @clock says */
void loop_set_clock(struct loop *loop, uint64_t (*clock)(void));

/** loop_run() - take turns until loop_stop() */
void loop_run(struct loop *loop);
/** loop_turn() - one turn; does not wait for events if @poll */
void loop_turn(struct loop *loop, bool poll);
/** loop_stop() - loop_run() returns at the end of this turn */
void loop_stop(struct loop *loop);

/** loop_again() - the next turn shall not wait: the broker has something to do */
void loop_again(struct loop *loop);

/** loop_defer() - run @work before broker_end(): in this turn, or in the next, without waiting */
void loop_defer(struct loop *loop, struct loop_work *work);
/** loop_flush_later() - run @work once at the end of this turn, after broker_end() */
void loop_flush_later(struct loop *loop, struct loop_work *work);
/** loop_work_cancel() - it will not run; fine when it is not queued */
void loop_work_cancel(struct loop_work *work);

static inline bool loop_work_is_queued(const struct loop_work *work)
{
    return work->link != NULL;
}

/** loop_set_timer() - 0 or -ENOMEM; see timers_set() */
int loop_set_timer(struct loop *loop, struct timer *timer, uint64_t due_ms);
void loop_cancel_timer(struct loop *loop, struct timer *timer);

#endif
