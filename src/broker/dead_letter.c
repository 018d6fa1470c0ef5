/*
 * dead_letter.c - publishing again what queues have given up
 *
 * Each event is a node of a list until it is routed. Routing pushes to queues, and what they refuse
 * or drop for it is noted behind: the list ends because a message does not enter a queue twice
 * without somebody rejecting it in between (cycles). A turn does only so much of it, for a message
 * may go through a chain of queues as long as a client likes. What is left is done in later turns,
 * while whoever publishes waits; until then the store has it in its old queue.
 *
 * The exchange is looked up by name each time: it may be declared after the queue. When it is not
 * there the message is lost and the log is told, once a queue; the same for cycles.
 */
#include "broker/dead_letter.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/memory.h"
#include "broker/queue-internal.h"
#include "broker/sender_selected.h"

/* WORK_A_TURN: letters, their targets, and steps of matching: a few milliseconds. */
enum { WORK_A_TURN = 512, ROUTE_STEPS_PER_WORK = 2048 };

struct dead_letter {
    struct queue *queue; /* referenced: it may be deleted meanwhile */
    struct queue_entry entry;
    enum dead_letter_reason reason;
    struct dead_letter *next;
};

struct exchange *dead_letter_exchange(struct queue *queue)
{
    const struct vhost *vhost = queue_vhost(queue);
    struct amqp_str name = queue->settings->dead_letter_exchange;
    struct exchange *exchange;

    if (!queue->settings->dead_letters)
        return NULL;
    exchange = vhost_get_exchange(vhost, name);
    if (!exchange && !queue->told_of_missing_exchange) {
        queue->told_of_missing_exchange = true;
        broker_log(vhost->broker, BROKER_LOG_WARNING,
                   "dead letters of queue '%s' in vhost '%s' are lost: there is no exchange '%.*s'",
                   queue->destination.name.data, vhost->name, AMQP_STR_ARG(name));
    }
    return exchange;
}

/* The store keeps it, so it comes back after a restart; what is in memory only is lost. */
static void release_unsettled(struct queue *queue, struct queue_entry *entry, int error)
{
    broker_log(queue_vhost(queue)->broker, BROKER_LOG_ERROR,
               "a dead letter of queue '%s' in vhost '%s' could not be published: %s",
               queue->destination.name.data, queue_vhost(queue)->name, strerror(-error));
    entry->flags &= (uint8_t)~ENTRY_STORED;
    queue_release_entry(queue, entry);
}

void dead_letter_add(struct queue *queue, struct queue_entry *entry,
                     enum dead_letter_reason reason)
{
    struct broker *broker = queue_vhost(queue)->broker;
    struct dead_letter *letter;

    if (!dead_letter_exchange(queue)) {
        queue_release_entry(queue, entry);
        return;
    }
    letter = malloc(sizeof *letter);
    if (!letter) {
        release_unsettled(queue, entry, -ENOMEM);
        return;
    }
    *letter = (struct dead_letter){ queue_ref(queue), *entry, reason, NULL };
    if (broker->dead_letters)
        broker->dead_letters_last->next = letter;
    else
        broker->dead_letters = letter;
    broker->dead_letters_last = letter;
}

void dead_letter_refused(struct queue *queue, struct message *message)
{
    struct queue_entry entry = { .message = message_ref(message),
                                 .body_bytes = message->body_bytes,
                                 .flags = ENTRY_RESIDENT };

    dead_letter_add(queue, &entry, DEAD_LETTER_MAXLEN);
}

/* Fills broker->dead_letter_route for @message, which is on its way into @exchange. */
static int find_targets(struct exchange *exchange, const struct message *message)
{
    struct route *route = &exchange->destination.vhost->broker->dead_letter_route;
    OWNED(sender_keys_release) struct sender_keys *keys = &(struct sender_keys){ 0 };
    struct amqp_properties properties;
    int rc;

    if (amqp_properties_decode(message_properties(message), &properties))
        return -EBADMSG;
    rc = sender_keys_again(message, properties.headers, keys);
    if (rc)
        return rc;
    route->headers = properties.headers;
    route->has_headers = true;
    return route_message(route, exchange, keys->keys, keys->n_keys);
}

static bool is_cycle(struct queue *source, const struct message *message,
                     enum dead_letter_reason reason, const struct queue *target)
{
    if (!dead_letter_is_cycle(message, reason, target->destination.name))
        return false;
    if (!source->told_of_cycle) {
        source->told_of_cycle = true;
        broker_log(queue_vhost(source)->broker, BROKER_LOG_WARNING,
                   "dead letters of queue '%s' in vhost '%s' go round in a circle: they are not "
                   "let into queue '%s' again",
                   source->destination.name.data, queue_vhost(source)->name,
                   target->destination.name.data);
    }
    return true;
}

/*
 * A full target that refuses publishes takes a dead letter all the same: there is no publisher to
 * tell and no queue that it could stay in, so it would be lost. One that has a dead-letter exchange
 * for what it refuses has sent it there.
 */
static int push(struct queue *target, struct message *message)
{
    struct push_outcome outcome = { 0 };
    int rc = queue_push(target, message, &outcome);

    if (rc || !outcome.refused ||
        (target->settings->overflow == QUEUE_OVERFLOW_REJECT_PUBLISH_DLX &&
         dead_letter_exchange(target)))
        return rc;
    return queue_push_anyway(target, message, &outcome);
}

static int publish(struct dead_letter *letter, struct exchange *exchange, struct message *message)
{
    struct route *route = &queue_vhost(letter->queue)->broker->dead_letter_route;
    int rc = find_targets(exchange, message);

    queue_vhost(letter->queue)->broker->dead_letter_work +=
        route->n_queues + route->work / ROUTE_STEPS_PER_WORK;
    route->work = 0;
    for (size_t i = 0; i < route->n_queues && !rc; i++) {
        if (!is_cycle(letter->queue, message, letter->reason, route->queues[i]))
            rc = push(route->queues[i], message);
    }
    return rc;
}

static int publish_again(struct dead_letter *letter, struct exchange *exchange)
{
    const struct queue *queue = letter->queue;
    const struct queue_settings *settings = queue->settings;
    struct message *message = letter->entry.message;
    struct dead_letter_event event = {
        .queue_name = queue->destination.name,
        .reason = letter->reason,
        .wall_ms = queue_vhost(queue)->broker->wall_ms,
        .exchange = exchange->destination.name,
        .routing_key = settings->has_dead_letter_key ? settings->dead_letter_key
                                                     : message_routing_key(message),
        .replaces_keys = settings->has_dead_letter_key,
    };
    OWNED(message_unref) struct message *copy = NULL;
    int rc = dead_letter_message(message, &event, &copy);

    if (rc)
        return rc;
    broker_note_memory(queue_vhost(queue)->broker,
                       sizeof(struct queue_entry) + message_memory_bytes(copy));
    return publish(letter, exchange, copy);
}

static void forget_first(struct broker *broker)
{
    struct dead_letter *letter = broker->dead_letters;

    broker->dead_letters = letter->next;
    queue_unref(letter->queue);
    free(letter);
}

void dead_letter_run(struct broker *broker)
{
    struct dead_letter *letter;

    while ((letter = broker->dead_letters) && broker->dead_letter_work < WORK_A_TURN) {
        struct exchange *exchange = dead_letter_exchange(letter->queue);
        int rc = exchange ? publish_again(letter, exchange) : 0;

        if (rc)
            release_unsettled(letter->queue, &letter->entry, rc);
        else
            queue_release_entry(letter->queue, &letter->entry);
        broker->dead_letter_work++;
        forget_first(broker);
    }
}

void dead_letter_release_all(struct broker *broker)
{
    while (broker->dead_letters) {
        message_unref(broker->dead_letters->entry.message);
        forget_first(broker);
    }
}
