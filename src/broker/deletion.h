/*
 * deletion.h - deleting what has very many parts takes several turns
 *
 * A queue with a million bindings, a long chain of auto-delete exchanges, or a million exclusive
 * queues of one connection would stop every other client while they are freed. So deleting is
 * counted in steps: a binding, a consumer, a few messages. What a client asks for is done at once
 * as long as the turn has steps left, as it nearly always has. If not, the queue or exchange is
 * hidden at once (it is not found, and nothing is routed to it), and its deletion is continued at
 * the end of each turn.
 *
 * Deletions are continued in the order in which they began. What one deletion causes (an
 * auto-delete exchange has lost its last binding) comes before those that began after it, so a
 * client that asked for a deletion can wait for one number: it is answered when all of it is gone.
 */
#ifndef BROKER_DELETION_H
#define BROKER_DELETION_H

#include "amqp/base.h"

struct broker;

/** struct deletion - what is being deleted has one of these; all zero while it is not */
struct deletion {
    /** do as much as there are steps for; true: it has ended, and @deletion is gone */
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
    size_t steps;           /* of this turn */
    bool at_end;            /* of the turn: all of its steps may be used */
    bool unlimited;         /* nobody waits for the end of the turn */
};

/**
 * deletion_steps_left() - that may still be done now
 *
 * Half of a turn's steps are for the end of the turn, so that many small deletions do not keep a
 * large one from going on.
 */
size_t deletion_steps_left(const struct broker *broker);

/** deletion_step() - take one; false: there is none left */
bool deletion_step(struct broker *broker);

/** deletion_begin() - @deletion, whose functions are set, goes on at the end of the turn */
void deletion_begin(struct broker *broker, struct deletion *deletion);

/**
 * deletion_run_begun() - advance now what has begun since deletions.begun was @since
 *
 * Does nothing while something that began earlier has not ended.
 */
void deletion_run_begun(struct broker *broker, uint64_t since);

/** deletion_run() - at the end of a turn: go on with what has begun */
void deletion_run(struct broker *broker);

/** deletion_finish_all() - before there are clients: whatever it takes */
void deletion_finish_all(struct broker *broker);

/** deletion_release_all() - at shutdown: free in memory what has not ended */
void deletion_release_all(struct broker *broker);

/** deletion_has_ended() - everything that had begun when deletions.begun was @number */
bool deletion_has_ended(const struct broker *broker, uint64_t number);

/** deletion_is_due() - something that has begun since deletions.begun was @since has not ended */
bool deletion_is_due(const struct broker *broker, uint64_t since);

/** deletion_pending() - something has not ended */
bool deletion_pending(const struct broker *broker);

/** deletion_wants_turn() - the broker is to have another turn for it, at once */
bool deletion_wants_turn(const struct broker *broker);

#endif
