/*
 * watch.c - the wrapped functions
 *
 * Most of them have no way to the simulation among their arguments, so it is kept in a static. The
 * declarations are made from the originals': one that changes its type does not compile here.
 */
#include "watch.h"

#include "broker/queue-internal.h"
#include "broker/vhost.h"
#include "client.h"

static struct sim *watched;

extern typeof(queue_push) __real_queue_push, __wrap_queue_push;
extern typeof(queue_discard) __real_queue_discard, __wrap_queue_discard;

void watch_begin(struct sim *sim)
{
    watched = sim;
}

static bool is_watched(void)
{
    return watched && !watched->deaf;
}

int __wrap_queue_push(struct queue *queue, struct message *message, struct push_outcome *outcome)
{
    struct push_outcome before = *outcome;
    int rc;

    outcome->refused = false;
    rc = __real_queue_push(queue, message, outcome);
    if (is_watched())
        model_arrive(watched, &(struct m_arrived){
                                  .queue = queue->destination.name.data,
                                  .sequence = queue->next_sequence - 1,
                                  .message = client_body_id(message_body(message),
                                                            message->body_bytes),
                                  .refused = outcome->refused });
    outcome->refused |= before.refused;
    return rc;
}

void __wrap_queue_discard(struct queue *queue, struct queue_entry *entry,
                          enum dead_letter_reason reason)
{
    struct m_discard discard = { .real = queue,
                                 .queue = queue->destination.name.data,
                                 .sequence = entry->sequence,
                                 .reason = reason,
                                 .was_read = (entry->flags & ENTRY_RESIDENT) != 0 };

    if (is_watched())
        model_discard(watched, &discard);
    __real_queue_discard(queue, entry, reason);
}
