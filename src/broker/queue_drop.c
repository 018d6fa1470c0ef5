/*
 * queue_drop.c - very many messages that are not wanted any more
 *
 * queue.purge, and the end of a queue, take the ready messages out of the queue in one step,
 * whatever their number. To let go of each is a task (task.h), for ten million take seconds.
 * The queue goes on without them at once; whoever purges is answered when the last is gone, so that
 * none of them comes back after a crash once the commit of that moment is durable.
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/channel.h"
#include "broker/connection-internal.h"
#include "broker/queue-internal.h"
#include "broker/task.h"

struct drop {
    struct task task;
    struct queue *queue;     /* referenced */
    struct ready ready;
    struct channel *channel; /* waits for purge-ok; NULL: nobody does */
    uint32_t count;
    bool waited_for;
};

static void release_first(struct queue *queue, struct ready *ready)
{
    struct queue_entry entry;

    if (!ready_pop(ready, &entry))
        return;
    queue_release_entry(queue, &entry);
}

static bool run_drop(struct task *task)
{
    struct drop *drop = CONTAINER_OF(task, struct drop, task);

    while (drop->ready.count && task_pay(task->broker, TASK_COST_SETTLE))
        release_first(drop->queue, &drop->ready);
    return drop->ready.count == 0;
}

static void end_drop(struct task *task)
{
    struct drop *drop = CONTAINER_OF(task, struct drop, task);
    struct channel *channel = drop->channel;

    if (channel) {
        channel->drop = NULL;
        if (drop->waited_for)
            connection_waited(channel->connection);
        channel_send(channel, &(struct amqp_queue_purge_ok){ .id = AMQP_ID_queue_purge_ok,
                                                             .message_count = drop->count });
    }
    ready_release(&drop->ready);
    queue_unref(drop->queue);
    free(drop);
}

void queue_drop_ready(struct queue *queue, struct channel *channel)
{
    struct broker *broker = queue_vhost(queue)->broker;
    struct drop *drop;

    if (queue->ready.count == 0 && !channel)
        return;
    drop = malloc(sizeof *drop);
    if (!drop) { /* then at once, in place */
        uint32_t count = queue->ready.count;

        while (queue->ready.count)
            release_first(queue, &queue->ready);
        expiry_release(&queue->expiry);
        if (channel)
            channel_send(channel, &(struct amqp_queue_purge_ok){ .id = AMQP_ID_queue_purge_ok,
                                                                 .message_count = count });
        return;
    }
    *drop = (struct drop){ .task = { .run = run_drop, .end = end_drop, .broker = broker },
                           .queue = queue_ref(queue),
                           .ready = queue->ready,
                           .channel = channel,
                           .count = queue->ready.count };
    ready_init(&queue->ready);
    expiry_release(&queue->expiry);
    if (channel)
        channel->drop = drop;
    if (task_start(&drop->task) || !channel)
        return;
    drop->waited_for = true;
    connection_wait(channel->connection);
}

void channel_abandon_drop(struct channel *channel)
{
    struct drop *drop = channel->drop;

    if (!drop)
        return;
    if (drop->waited_for)
        connection_waited(channel->connection);
    drop->channel = NULL;
    channel->drop = NULL;
}
