/*
 * queue-internal.h - what the files of the queue module share
 */
#ifndef BROKER_QUEUE_INTERNAL_H
#define BROKER_QUEUE_INTERNAL_H

#include "broker/queue.h"

#include "broker/dead_letter.h"

struct discard;

/** struct pending_get - a basic.get that waits for its message to be read from the store */
struct pending_get {
    struct channel *channel;
    bool no_ack;
    struct pending_get *next;
};

/** queue_gets() - those that wait; NULL: none */
static inline struct pending_get *queue_gets(const struct queue *queue)
{
    return queue->rare ? queue->rare->gets : NULL;
}

/** queue_release_entry() - let go of an entry that is in no structure any more */
void queue_release_entry(struct queue *queue, struct queue_entry *entry);

/** queue_discard() - an entry that is in no structure any more is dead-lettered, or dropped */
void queue_discard(struct queue *queue, struct queue_entry *entry, enum dead_letter_reason reason);

/** queue_put_back() - to its own position among the ready ones. 0 or -ENOMEM */
int queue_put_back(struct queue *queue, struct queue_entry *entry);

/** queue_pop() - remove the first ready entry, whatever its state; false when there is none */
bool queue_pop(struct queue *queue, struct queue_entry *ret_entry);

/** queue_head() - the first ready entry if it is in memory; else NULL, and reading it has begun */
struct queue_entry *queue_head(struct queue *queue);

/** queue_discards() - those that wait; NULL: none */
static inline struct discard *queue_discards(const struct queue *queue)
{
    return queue->rare ? queue->rare->discards : NULL;
}

/** queue_discards_are_many() - limits and times wait for the end of a read, which wakes the queue */
bool queue_discards_are_many(const struct queue *queue);

/** queue_discards_release() - at the queue's end: those that wait stay in the store */
void queue_discards_release(struct queue *queue);

/** queue_discard_fetched() - the read for it has ended; @message moved, NULL: cannot be read */
void queue_discard_fetched(struct queue *queue, struct discard *discard, struct message *message);

/** queue_fetch_for_discard() - read @entry's message for queue_discard_fetched(); 0 or -ENOMEM */
int queue_fetch_for_discard(struct queue *queue, const struct queue_entry *entry,
                            struct discard *discard);

/** queue_may_step() - false: this turn has handed out, or given up, enough; the queue is woken */
bool queue_may_step(struct queue *queue);
/** queue_hand_out() - give entries to consumers and waiting gets */
void queue_hand_out(struct queue *queue);

/** queue_entry_is_due() - the time of @entry has come, as RabbitMQ judges what nobody is given */
static inline bool queue_entry_is_due(const struct queue_entry *entry, uint64_t wall_ms)
{
    return entry->expires_ms && entry->expires_ms <= wall_ms;
}

/** queue_keep_limits() - length limits, expired messages, the timer */
void queue_keep_limits(struct queue *queue);
/** queue_upkeep_needed() - whether queue_keep_limits() could have something to do */
static inline bool queue_upkeep_needed(const struct queue *queue)
{
    return queue->settings->limited || !expiry_is_idle(&queue->expiry);
}
/** queue_on_timer() - the function of its timer */
void queue_on_timer(struct timer *timer, uint64_t now_ms);
/** queue_set_timer() - to the next message or the queue itself that expires */
void queue_set_timer(struct queue *queue);

/**
 * queue_cancel_consumers() - cancel all, with basic.cancel to clients that understand it
 *
 * Return: true when none is left; false when the turn has no work left for more (task.h).
 */
bool queue_cancel_consumers(struct queue *queue);
/** consumer_block() - it cannot take a message now; held unless its own limit is the reason */
void consumer_block(struct consumer *consumer);
/** consumer_make_ready() - it is blocked, not held, and gets a turn */
void consumer_make_ready(struct consumer *consumer);
/** consumer_can_take() - prefetch, flow and socket allow one more delivery */
bool consumer_can_take(const struct consumer *consumer);
/** consumer_rotate() - the served consumer goes behind its equals */
void consumer_rotate(struct consumer *consumer);
/** queue_answer_gets() - waiting gets whose message is there, or that find the queue empty */
void queue_answer_gets(struct queue *queue);
/** queue_raise_locked() - 405 with RabbitMQ's text */
int queue_raise_locked(const struct queue *queue, struct amqp_error *err);

#endif
