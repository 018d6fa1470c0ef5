/*
 * dead_letter.h - what becomes of a message that its queue gives up
 *
 * Arrival in the target queues and removal from the source fall into the same open commit of the
 * store, so a crash keeps a dead letter in exactly one place, whatever the queue types.
 *
 * A dead letter may be refused, dropped or dead-lettered again where it arrives, so nothing is
 * routed from within routing: dead_letter_add() notes it, dead_letter_run() works the list off,
 * which may grow meanwhile, in this turn and, if it is long, in later ones.
 */
#ifndef BROKER_DEAD_LETTER_H
#define BROKER_DEAD_LETTER_H

#include "broker/broker.h"
#include "broker/queue.h"

enum dead_letter_reason {
    DEAD_LETTER_REJECTED,
    DEAD_LETTER_EXPIRED,
    DEAD_LETTER_MAXLEN,
    DEAD_LETTER_DELIVERY_LIMIT,
};

/** dead_letter_exchange() - where dead letters of @queue go; NULL: nowhere, which is logged once */
struct exchange *dead_letter_exchange(struct queue *queue);

/**
 * dead_letter_add() - a message leaves @queue for @reason
 * @entry:  out of the queue's structures; moved: its message and its place in the store are given
 *          up here, or when dead_letter_run() has placed it elsewhere. ENTRY_RESIDENT.
 *
 * Without a dead-letter exchange, or one that does not exist, the entry is released at once.
 * Without memory to note it, it is released unsettled, so that it comes back after a restart.
 */
void dead_letter_add(struct queue *queue, struct queue_entry *entry,
                     enum dead_letter_reason reason);

/** dead_letter_refused() - as above, for a message that never was in @queue (reject-publish-dlx) */
void dead_letter_refused(struct queue *queue, struct message *message);

/**
 * dead_letter_run() - route what is noted, and what comes of it, until this turn has done enough
 *
 * What is left (dead_letter_pending()) is for the next turn: broker_end() asks for it at once.
 */
void dead_letter_run(struct broker *broker);

/** dead_letter_release_all() - at shutdown: forget what is noted; the store keeps what it has */
void dead_letter_release_all(struct broker *broker);

static inline bool dead_letter_pending(const struct broker *broker)
{
    return broker->dead_letters != NULL;
}

/**
 * dead_letter_message() - the message as it is published again: headers, keys, no expiration
 * @queue_name, @reason:  the event; @wall_ms: its time
 *
 * Writes x-death, x-first-death-*, x-last-death-*. The copy's exchange is @exchange and its routing
 * key @routing_key. Location 0.
 * Return: 0; -EBADMSG when the properties, read back from the store, are damaged; -ENOMEM.
 * Spec: extensions.md 2.2 to 2.6.
 */
struct dead_letter_event {
    struct amqp_str queue_name;
    enum dead_letter_reason reason;
    uint64_t wall_ms;
    struct amqp_str exchange;    /* where it goes */
    struct amqp_str routing_key; /* with what key */
    bool replaces_keys;          /* x-dead-letter-routing-key is set: CC goes */
};

int dead_letter_message(const struct message *message, const struct dead_letter_event *event,
                        struct message **ret_message);

/** dead_letter_is_cycle() - whether @message, just dead-lettered, must not enter the queue (2.5) */
bool dead_letter_is_cycle(const struct message *message, enum dead_letter_reason reason,
                          struct amqp_str queue_name);

/** dead_letter_reason_name() - "rejected", "expired", "maxlen", "delivery_limit" */
const char *dead_letter_reason_name(enum dead_letter_reason reason);

#endif
