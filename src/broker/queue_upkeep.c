/*
 * queue_upkeep.c - length limits, messages that expire, queues that expire
 *
 * A queue has at most one deadline: the earliest of its next message to expire and of its own
 * expiry. It stands in the broker's timers by the monotonic clock, while messages carry wall clock
 * times (they survive a restart), so a deadline is only a hint to look. It is moved when it gets
 * earlier, not when it gets later: then it fires for nothing and is set again.
 *
 * What a turn cannot give up, because very many expire at once or a limit has been set on a long
 * backlog, is for the next turn (queue_may_step()).
 */
#include "broker/broker.h"
#include "broker/consumer_timeout.h"
#include "broker/queue-internal.h"
#include "broker/vhost.h"

static bool is_over(const struct queue *queue)
{
    const struct queue_settings *settings = queue->settings;

    return (settings->max_length >= 0 && queue->ready.count > (uint64_t)settings->max_length) ||
           (settings->max_length_bytes >= 0 &&
            queue->ready.bytes > (uint64_t)settings->max_length_bytes);
}

static void drop_heads(struct queue *queue)
{
    struct queue_entry entry;

    if (queue->held)
        return; /* the head is not the oldest yet */
    while (is_over(queue) && !queue_discards_are_many(queue) && queue_may_step(queue) &&
           queue_pop(queue, &entry))
        queue_discard(queue, &entry, DEAD_LETTER_MAXLEN);
}

/* One that has expired: the head, the oldest that never came back, or of the order (expiry.h). */
static bool take_expired(struct queue *queue, uint64_t wall_ms, struct queue_entry *ret_entry)
{
    const struct queue_entry *first = ready_first(&queue->ready);
    struct queue_entry *oldest = ready_oldest(&queue->ready);

    if (first && queue_entry_is_due(first, wall_ms))
        return queue_pop(queue, ret_entry);
    if (!oldest || !queue_entry_is_due(oldest, wall_ms))
        return expiry_take_due(&queue->expiry, &queue->ready, wall_ms, ret_entry);
    ready_remove(&queue->ready, oldest, ret_entry);
    expiry_leave(&queue->expiry, ret_entry);
    return true;
}

static void drop_expired(struct queue *queue)
{
    uint64_t wall_ms = queue_vhost(queue)->broker->wall_ms;
    struct queue_entry entry;

    while (!queue_discards_are_many(queue) && queue_may_step(queue) &&
           take_expired(queue, wall_ms, &entry))
        queue_discard(queue, &entry, DEAD_LETTER_EXPIRED);
}

void queue_keep_limits(struct queue *queue)
{
    if (!queue_upkeep_needed(queue))
        return;
    if (queue->settings->limited && queue->settings->overflow == QUEUE_OVERFLOW_DROP_HEAD)
        drop_heads(queue);
    if (!expiry_is_idle(&queue->expiry)) {
        drop_expired(queue);
        queue_set_timer(queue);
    }
}

/* When the queue itself expires; UINT64_MAX: not while it is used. */
static uint64_t queue_due_ms(const struct queue *queue)
{
    if (queue->settings->expires_ms < 0 || queue->consumer_count)
        return UINT64_MAX;
    /* The clock is cut to milliseconds: one more, so that it is not early. */
    return queue->last_used_ms + (uint64_t)queue->settings->expires_ms + 1;
}

/* When the next message expires, by the monotonic clock. */
static uint64_t message_due_ms(struct queue *queue)
{
    const struct broker *broker = queue_vhost(queue)->broker;
    const struct queue_entry *oldest = ready_oldest(&queue->ready);
    uint64_t expires_ms = expiry_next_ms(&queue->expiry);

    if (queue_discards_are_many(queue) || broker->hand_outs_left == 0)
        return UINT64_MAX; /* the end of a read wakes the queue, or it is woken for the next turn */
    if (oldest && oldest->expires_ms && oldest->expires_ms < expires_ms)
        expires_ms = oldest->expires_ms;
    if (expires_ms == UINT64_MAX)
        return UINT64_MAX;
    return broker->now_ms + (expires_ms > broker->wall_ms ? expires_ms - broker->wall_ms : 0);
}

void queue_set_timer(struct queue *queue)
{
    struct timers *timers = &queue_vhost(queue)->broker->timers;
    uint64_t due_ms = queue_due_ms(queue), message_ms = message_due_ms(queue);
    struct queue_rare *rare = queue->rare;

    if (message_ms < due_ms)
        due_ms = message_ms;
    if (due_ms == UINT64_MAX || (rare && rare->timer.place && rare->timer.due_ms <= due_ms))
        return;
    rare = queue_rare(queue);
    if (!rare || timers_set(timers, &rare->timer, due_ms))
        queue_wake(queue); /* no memory: look again at the end of the turn */
}

void queue_on_timer(struct timer *timer, uint64_t now_ms)
{
    struct queue *queue = CONTAINER_OF(timer, struct queue_rare, timer)->queue;

    if (now_ms >= queue_due_ms(queue)) {
        queue_delete(queue);
        return;
    }
    queue_dispatch(queue);
    queue_set_timer(queue);
}

void queue_touch(struct queue *queue)
{
    if (queue->settings->expires_ms < 0 || queue->destination.deleted)
        return;
    queue->last_used_ms = queue_vhost(queue)->broker->now_ms;
    queue_set_timer(queue);
}

void queue_settings_changed(struct queue *queue, const struct queue_settings *old)
{
    if (old->expires_ms != queue->settings->expires_ms)
        queue_touch(queue);
    consumer_timeout_note(queue_vhost(queue)->broker, queue->settings->consumer_timeout_ms);
    queue_wake(queue);
}
