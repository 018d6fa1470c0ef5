/*
 * queue_fetch.c - reading messages back from the store
 *
 * An entry of which only the location is known is read when it comes to the head, together with its
 * followers, or when it is to be dead-lettered. A read finds its entry again by sequence, because
 * anything may have happened to the queue meanwhile; its end wakes the queue.
 */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/broker.h"
#include "broker/memory.h"
#include "broker/queue-internal.h"
#include "broker/vhost.h"

enum {
    FETCH_ENTRIES = 256,       /* read ahead at most so many messages of a queue... */
    FETCH_BYTES = 1024 * 1024, /* ...or bodies of so many octets */
};

/* A read under way, of broker->fetches. */
struct fetch {
    struct fetch *next, *prev;
    struct queue *queue; /* referenced */
    struct queue_entry entry; /* as it was when the read began */
    struct discard *discard; /* the entry has left its queue: for queue_discard.c; else NULL */
};

static int begin(struct queue *queue, const struct fetch *proto)
{
    struct broker *broker = queue_vhost(queue)->broker;
    struct fetch *fetch = malloc(sizeof *fetch);
    int rc;

    if (!fetch)
        return -ENOMEM;
    *fetch = *proto;
    rc = store_read(broker->store, fetch->entry.location, fetch);
    if (rc) {
        free(fetch);
        return rc;
    }
    DL_APPEND(broker->fetches, fetch);
    queue_ref(queue);
    return 0;
}

static void end(struct fetch *fetch)
{
    DL_DELETE(queue_vhost(fetch->queue)->broker->fetches, fetch);
    queue_unref(fetch->queue);
    free(fetch);
}

void queue_fetch_abandon_all(struct broker *broker)
{
    while (broker->fetches)
        end(broker->fetches);
}

int queue_fetch_for_discard(struct queue *queue, const struct queue_entry *entry,
                            struct discard *discard)
{
    return begin(queue,
                 &(struct fetch){ .queue = queue, .entry = *entry, .discard = discard });
}

/* Begins reads for what is next in the queue and not in memory. */
static void fetch_ahead(struct queue *queue)
{
    struct ready_walk walk = ready_walk(&queue->ready);
    size_t entries = 0, octets = 0;
    struct queue_entry *entry;

    while (entries < FETCH_ENTRIES && octets < FETCH_BYTES && (entry = ready_walk_next(&walk))) {
        entries++;
        octets += entry->body_bytes;
        if (entry->flags & (ENTRY_RESIDENT | ENTRY_FETCHING | ENTRY_LOST))
            continue;
        if (begin(queue, &(struct fetch){ .queue = queue, .entry = *entry }))
            return; /* no memory now: the reads under way will wake the queue again */
        entry->flags |= ENTRY_FETCHING;
    }
}

struct queue_entry *queue_head(struct queue *queue)
{
    struct queue_entry *head;
    struct queue_entry lost;

    while ((head = ready_first(&queue->ready))) {
        if (LIKELY(head->flags & ENTRY_RESIDENT))
            return head;
        if (!(head->flags & ENTRY_LOST)) {
            fetch_ahead(queue);
            return NULL;
        }
        queue_pop(queue, &lost); /* not settled: it stays in the store */
    }
    return NULL;
}

static void log_unreadable(const struct queue *queue, const struct fetch *fetch, int error)
{
    broker_log(queue_vhost(queue)->broker, BROKER_LOG_ERROR,
               "message %llu of queue '%s' in vhost '%s' cannot be read back (%s): it is passed "
               "over and left in the store",
               (unsigned long long)fetch->entry.sequence, queue->destination.name.data,
               queue_vhost(queue)->name, strerror(-error));
}

/* The read was for an entry that is still in the queue, unless it has been taken out meanwhile. */
static void give_back(struct fetch *fetch, struct message *message, int error)
{
    struct queue *queue = fetch->queue;
    struct queue_entry *entry =
        ready_find(&queue->ready, fetch->entry.priority, fetch->entry.sequence);

    if (!entry || (entry->flags & ENTRY_RESIDENT)) {
        message_unref(message);
        return;
    }
    entry->flags &= (uint8_t)~ENTRY_FETCHING;
    if (message) {
        ready_set_resident(&queue->ready, entry, message);
    } else {
        log_unreadable(queue, fetch, error);
        entry->flags |= ENTRY_LOST;
    }
}

static void give_to_discard(struct fetch *fetch, struct message *message, int error)
{
    if (!message && !fetch->queue->destination.deleted)
        log_unreadable(fetch->queue, fetch, error);
    queue_discard_fetched(fetch->queue, fetch->discard, message);
}

void queue_fetched(void *request, int error, struct amqp_bytes stored)
{
    struct fetch *fetch = request;
    struct queue *queue = fetch->queue;
    struct message *message = NULL;

    if (!error)
        error = message_from_stored(stored, fetch->entry.location, &message);
    if (message)
        broker_note_memory(queue_vhost(queue)->broker, message_memory_bytes(message));
    if (fetch->discard)
        give_to_discard(fetch, message, error);
    else if (queue->destination.deleted)
        message_unref(message);
    else
        give_back(fetch, message, error);
    queue_wake(queue);
    end(fetch);
}
