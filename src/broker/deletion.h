/*
 * deletion.h - deleting what has very many parts takes several turns
 *
 * A queue with a million bindings, a long chain of auto-delete exchanges, or a million exclusive
 * queues of one connection would stop every other client while they are freed. So deleting pays for
 * each binding, consumer and message from what a turn may do (task.h). What a client asks for is
 * done at once as long as the turn has work left, as it nearly always has. If not, the queue or
 * exchange is hidden at once (it is not found, and nothing is routed to it), and its deletion is
 * continued by the deletions' task. Purged messages go the same way.
 *
 * Deletions are continued in the order in which they began. What one deletion causes (an
 * auto-delete exchange has lost its last binding) comes before those that began after it, so a
 * client that asked for a deletion can wait for one number: it is answered when all of it is gone.
 * That order is why they are one task together, not one task each.
 */
#ifndef BROKER_DELETION_H
#define BROKER_DELETION_H

#include "amqp/base.h"

struct broker;

/** struct task - work that goes on, a slice a turn (task.h) */
struct task {
    /** goes on until it is done (true), or task_pay() has refused (false) */
    bool (*run)(struct task *task);
    /** it is done: answers; the task may be freed */
    void (*end)(struct task *task);
    struct broker *broker;
    struct task *next, *prev; /* of broker->tasks, while it is not done */
};

/** struct deletion - what is being deleted has one of these; all zero while it is not */
struct deletion {
    /** do as much as task_pay() allows; true: it has ended, and @deletion is gone */
    bool (*advance)(struct deletion *deletion);
    /** at shutdown: free it in memory only */
    void (*release)(struct deletion *deletion);
    struct deletion *next;
    uint64_t number;
};

static inline bool deletion_has_begun(const struct deletion *deletion)
{
    return deletion->advance != NULL;
}

/** struct deletions - of the broker */
struct deletions {
    struct deletion *first; /* by next, in the order of their numbers */
    struct deletion *last;
    uint64_t begun;         /* the last number given */
    uint64_t running;       /* the number of the one that is being advanced; 0: none */
    struct task task;       /* advances them */
    bool task_runs;         /* it is in broker->tasks, or is kept out for good (deletion_stop()) */
};

/** deletion_init() - of a new broker */
void deletion_init(struct broker *broker);

/** deletion_begin() - @deletion, whose functions are set, goes on at the end of the turn */
void deletion_begin(struct broker *broker, struct deletion *deletion);

/** deletion_begin_last() - what another one causes, but no client that waits for it waits for */
void deletion_begin_last(struct broker *broker, struct deletion *deletion);

/**
 * deletion_run_begun() - advance now what has begun since deletions.begun was @since
 *
 * Does nothing while something that began earlier has not ended.
 */
void deletion_run_begun(struct broker *broker, uint64_t since);

/** deletion_finish_all() - before there are clients: whatever it takes */
void deletion_finish_all(struct broker *broker);

/** deletion_stop() - at shutdown: nothing is deleted any more but what fits in at once */
void deletion_stop(struct broker *broker);

/** deletion_release_all() - at shutdown: free in memory what has not ended */
void deletion_release_all(struct broker *broker);

/** deletion_has_ended() - everything that had begun when deletions.begun was @number */
bool deletion_has_ended(const struct broker *broker, uint64_t number);

/** deletion_is_due() - something that has begun since deletions.begun was @since has not ended */
bool deletion_is_due(const struct broker *broker, uint64_t since);

/** deletion_pending() - something has not ended */
bool deletion_pending(const struct broker *broker);

/** deletion_waits_for_store() - nothing goes on until the open commit is smaller */
bool deletion_waits_for_store(const struct broker *broker);

#endif
