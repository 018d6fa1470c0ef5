/*
 * confirm.h - remembering which publishes still owe a basic.ack
 *
 * A channel in confirm mode numbers its publishes 1, 2, 3... Each waits for a commit of the store
 * (or for none: 0) and is confirmed in order, so that one `multiple` ack covers everything that a
 * commit made durable. The set is a ring of runs of neighbours with the same outcome: as many runs
 * as commits are in flight, however many publishes.
 */
#ifndef BROKER_CONFIRM_H
#define BROKER_CONFIRM_H

#include "amqp/base.h"

struct confirm_run {
    uint64_t last;   /* highest tag of the run */
    uint64_t commit; /* durable once this commit is; 0: at once */
    bool refused;    /* basic.nack instead of basic.ack */
};

struct confirm_set {
    uint64_t next_tag;  /* of the next publish */
    uint64_t settled;   /* tags up to here have been answered */
    struct confirm_run *runs;
    uint32_t first, count, capacity; /* ring, capacity a power of two */
};

void confirm_init(struct confirm_set *set);
void confirm_release(struct confirm_set *set);

/** confirm_add() - number one more publish. 0 or -ENOMEM */
int confirm_add(struct confirm_set *set, uint64_t commit, bool refused);

struct confirm_answer {
    uint64_t tag;
    bool multiple;
    bool refused;
};

/** confirm_next() - the next answer that is due when commits up to @durable are; false: none */
bool confirm_next(struct confirm_set *set, uint64_t durable, struct confirm_answer *ret_answer);

static inline bool confirm_is_empty(const struct confirm_set *set)
{
    return set->count == 0;
}

#endif
