/*
 * ledger.h - what is known about every message of one queue
 *
 * A queue has one publisher, whose messages are numbered 1, 2, 3... The ledger knows how far the
 * life of each is known to have come, and so what a look into the queue after a crash may show:
 *
 *   published   may be there or not; but if a later one is there, it must be
 *   confirmed   must be there
 *   acked       may be there or not: the acknowledgement may be lost
 *   settled     must not be there: the ack was followed by a confirmed publish on its channel
 *   gone        was not there after a crash: must not come back
 */
#ifndef CRASH_LEDGER_H
#define CRASH_LEDGER_H

#include "amqp/base.h"

enum ledger_state {
    LEDGER_PUBLISHED,
    LEDGER_CONFIRMED,
    LEDGER_ACKED,
    LEDGER_SETTLED,
    LEDGER_GONE,
};

struct ledger {
    char queue[16];
    uint64_t count;       /* messages published */
    uint64_t low;         /* all below are settled or gone */
    uint64_t last_seen;   /* in this look, or by this consumer */
    uint8_t *states;      /* of number i at i - 1 */
    bool *seen;
    size_t capacity;
};

uint64_t ledger_publish(struct ledger *ledger);
void ledger_confirm(struct ledger *ledger, uint64_t number);
void ledger_ack(struct ledger *ledger, uint64_t number);
void ledger_settle(struct ledger *ledger, uint64_t number);
/** ledger_backlog() - messages that may be in the queue */
uint64_t ledger_backlog(const struct ledger *ledger);

/** ledger_deliver() - a consumer has got it, in order and not against the ledger; else it fails */
void ledger_deliver(struct ledger *ledger, uint64_t number);

/** ledger_begin() - a new consumer, or a look at the whole queue, begins at its head */
void ledger_begin(struct ledger *ledger);
/** ledger_end() - the look is complete: nothing that must be there is missing */
void ledger_end(struct ledger *ledger);

#endif
