/*
 * task.h - what one client asks for, and what may be too much for one turn
 *
 * Some methods, and the end of a connection, do as much as the client has arranged for before: a
 * million deliveries to put back, ten million messages to purge, a queue of a million bindings to
 * delete. Such work pays for each step from what a turn may do (broker->work_left). When that is
 * used up, it goes on as a *task*, a slice a turn, beside all other tasks, while the connection
 * that asked for it is not read. What fits into the turn, which is nearly everything, is done at
 * once, and no client sees the difference.
 *
 * Deletions are one task together, because each of them has its place in an order (deletion.h).
 *
 * The unit is about 0.1 us: a message settled.
 */
#ifndef BROKER_TASK_H
#define BROKER_TASK_H

#include "broker/broker.h"

enum {
    TASK_COST_LOOK = 1,    /* at a delivery, or a message freed */
    TASK_COST_SETTLE = 1,
    TASK_COST_DROP = 2,    /* a ready message of a queue that is purged or deleted */
    TASK_COST_REQUEUE = 3,
    TASK_COST_PUSH = 5,    /* a message to one queue */
    TASK_COST_CANCEL = 5,  /* a consumer */
    TASK_COST_DELETE = 32, /* a binding, an exchange or a queue, with its record */
};

/** task_begin_turn() - a new turn may do new work; a quarter of it is the tasks' in any case */
void task_begin_turn(struct broker *broker);

/** task_pay() - false: nothing more in this turn, go on in the next */
static inline bool task_pay(struct broker *broker, uint32_t cost)
{
    if (UNLIKELY(broker->work_left <= 0))
        return false;
    broker->work_left -= cost;
    return true;
}

/** task_affords() - so much can be paid for in this turn, so nothing has to be put off */
static inline bool task_affords(const struct broker *broker, uint64_t cost)
{
    return cost == 0 || (broker->work_left > 0 && cost <= (uint64_t)broker->work_left);
}

/** task_charge() - for what is done in any case; following work waits the longer */
static inline void task_charge(struct broker *broker, int64_t cost)
{
    broker->work_left -= cost;
}

/**
 * task_start() - run it now, and to its end if that is possible in this turn
 *
 * Return: true when task->end() has been called.
 */
bool task_start(struct task *task);

/** task_add() - it is first run at the end of the turn */
void task_add(struct task *task);
/** task_remove() - it is not run any more; its end is not called */
void task_remove(struct task *task);

/** task_run_some() - a turn's slice of those that are not done, one after another */
void task_run_some(struct broker *broker);

/** task_wants_turn() - the broker is to have another turn for them, at once */
bool task_wants_turn(const struct broker *broker);

/** task_finish_all() - at shutdown: all of them, to the end */
void task_finish_all(struct broker *broker);

#endif
