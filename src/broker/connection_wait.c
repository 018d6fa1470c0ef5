/*
 * connection_wait.c - a client waits for what takes more than a turn
 *
 * A connection is not read while something that it has asked for is a task (task.h).
 *
 * A deletion that takes longer than a turn (deletion.h) is answered when it has ended. So the frame
 * that asked for it is kept, reading is paused, and afterwards the frame is received once more, now
 * only to be answered. A client that declares what is still being deleted waits in the same way,
 * but its frame is then received as if it came only now. So the client's later frames find what
 * they would find if deleting took no time.
 *
 * Frames wait in the order of the deletions that they wait for, so only the first is looked at.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/connection-internal.h"

/* In a list of the broker. */
struct waiting_frame {
    struct connection *connection;
    uint64_t deletion; /* the number of the last deletion that is waited for */
    struct frame_wait wait;
    struct waiting_frame *next, *prev;
    struct amqp_frame frame;
    uint8_t octets[]; /* its payload */
};

void connection_wait(struct connection *connection)
{
    connection->waits++;
    if (!connection->shut_down)
        connection_pause(connection, CONNECTION_PAUSE_TASK);
}

void connection_waited(struct connection *connection)
{
    assert(connection->waits > 0);
    if (--connection->waits == 0)
        connection_resume(connection, CONNECTION_PAUSE_TASK);
}

int connection_wait_for_deletions(struct connection *connection, struct frame_wait wait)
{
    connection->frame_wait = wait;
    return CONNECTION_WAITS;
}

bool connection_take_performed(struct connection *connection, uint32_t *ret_message_count)
{
    struct frame_wait wait = connection->frame_wait;

    connection->frame_wait = (struct frame_wait){ 0 };
    if (wait.performed && ret_message_count)
        *ret_message_count = wait.message_count;
    return wait.performed;
}

int connection_keep_frame(struct connection *connection, const struct amqp_frame *frame)
{
    struct broker *broker = connection->broker;
    struct waiting_frame *waiting = malloc(sizeof *waiting + frame->payload.size);

    assert(!connection->waiting);
    if (!waiting)
        return -ENOMEM;
    *waiting = (struct waiting_frame){ .connection = connection,
                                       .deletion = broker->deletions.begun,
                                       .wait = connection->frame_wait,
                                       .frame = *frame };
    connection->frame_wait = (struct frame_wait){ 0 };
    memcpy(waiting->octets, frame->payload.data, frame->payload.size);
    waiting->frame.payload.data = waiting->octets;
    connection->waiting = waiting;
    DL_APPEND(broker->waiting_frames, waiting);
    connection_wait(connection);
    return 0;
}

void connection_drop_waiting(struct connection *connection)
{
    struct waiting_frame *waiting = TAKE(connection->waiting);

    if (!waiting)
        return;
    DL_DELETE(connection->broker->waiting_frames, waiting);
    free(waiting);
    connection_waited(connection);
}

static void go_on(struct waiting_frame *waiting)
{
    struct connection *connection = waiting->connection;

    DL_DELETE(connection->broker->waiting_frames, waiting);
    connection->waiting = NULL;
    connection->frame_wait = waiting->wait;
    connection_receive(connection, &waiting->frame);
    connection->frame_wait = (struct frame_wait){ 0 };
    free(waiting);
    connection_waited(connection);
}

void connection_resume_waiting(struct broker *broker)
{
    struct waiting_frame *waiting;

    while ((waiting = broker->waiting_frames) && deletion_has_ended(broker, waiting->deletion))
        go_on(waiting);
}
