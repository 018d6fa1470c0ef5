/*
 * task.h - what one client asks for, and what may be too much for one turn
 *
 * Some methods, and the end of a connection, do as much as the client has arranged for before: a
 * million deliveries to put back, ten million messages to purge. Such work pays for each step from
 * what a turn may do (broker->work_left). When that is used up, it goes on as a *task*, a slice a
 * turn, beside all others that there are, while the connection that asked for it is not read. What
 * fits into the turn, which is nearly everything, is done at once, and nobody sees the difference.
 *
 * The unit is about 0.1 us: a message settled.
 */
#ifndef BROKER_TASK_H
#define BROKER_TASK_H

#include "broker/broker.h"

enum {
    TASK_COST_LOOK = 1,    /* at a delivery, or a message freed */
    TASK_COST_SETTLE = 1,
    TASK_COST_REQUEUE = 3,
    TASK_COST_PUSH = 5,    /* a message to one queue */
    TASK_COST_CANCEL = 5,  /* a consumer */
};

struct task {
    /** goes on until it is done (true), or task_pay() has refused (false) */
    bool (*run)(struct task *task);
    /** it is done: answers; the task may be freed */
    void (*end)(struct task *task);
    struct broker *broker;
    struct task *next, *prev; /* of broker->tasks, while it is not done */
};

/** task_pay() - false: nothing more in this turn, go on in the next */
static inline bool task_pay(struct broker *broker, uint32_t cost)
{
    if (UNLIKELY(broker->work_left == 0))
        return false;
    broker->work_left -= cost < broker->work_left ? cost : broker->work_left;
    return true;
}

/**
 * task_start() - run it now, and to its end if that is possible in this turn
 *
 * Return: true when task->end() has been called.
 */
bool task_start(struct task *task);

/** task_run_some() - a turn's slice of those that are not done, one after another */
void task_run_some(struct broker *broker);

/** task_finish_all() - at shutdown: all of them, to the end */
void task_finish_all(struct broker *broker);

#endif
