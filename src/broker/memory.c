/*
 * memory.c - when to look at the memory in use, and whose unfinished messages are given up
 *
 * Only the owner of the process can tell how much memory is in use, and a look costs some
 * microseconds: too much for each message, and once a second lets gigabytes pass. So the broker adds
 * up what it allocates for messages, as they arrive, enter queues, are copied, read back and
 * delivered, and asks for a look after every BOUND_MEMORY_LOOK_BYTES. What is freed is not taken off:
 * the sum says how much use can have grown at most, never that it has. So between two looks come
 * that many octets, and what one frame makes of itself: a publish, in all the queues that it is
 * routed to. An alarm that the look raises blocks the publisher of this very frame, and each other
 * one at its next.
 *
 * A publisher that is blocked in the middle of a message can neither finish it nor take it back. If
 * such messages are what fills memory, the alarm would never end. They are the first to go, with
 * their connections, because nobody was told that they are here.
 */
#include "broker/memory.h"

#include "broker/connection-internal.h"

enum { GIVE_UP_CONNECTIONS = 4 }; /* in one call: each may have thousands of channels */

void broker_watch_memory(struct broker *broker, void (*look)(void *context), void *context)
{
    broker->look_at_memory = look;
    broker->look_at_memory_context = context;
}

void broker_look_at_memory(struct broker *broker)
{
    broker->grown_bytes = 0;
    if (broker->look_at_memory)
        broker->look_at_memory(broker->look_at_memory_context);
}

/* The connection that holds most, and the sum of all. */
static struct connection *find_largest(const struct broker *broker, uint64_t *ret_total_bytes)
{
    struct connection *largest = NULL;
    uint64_t total_bytes = 0;

    for (struct connection *at = broker->connections; at; at = at->next) {
        total_bytes += at->unfinished_bytes;
        if (at->unfinished_bytes > (largest ? largest->unfinished_bytes : 0))
            largest = at;
    }
    *ret_total_bytes = total_bytes;
    return largest;
}

bool broker_give_up_unfinished(struct broker *broker, uint64_t keep_bytes)
{
    for (unsigned closed = 0;; closed++) {
        uint64_t total_bytes;
        struct connection *largest = find_largest(broker, &total_bytes);
        struct amqp_error err;

        if (!largest || total_bytes <= keep_bytes)
            return false;
        if (closed == GIVE_UP_CONNECTIONS)
            return true;
        amqp_raise(&err, AMQP_RESOURCE_ERROR,
                   "memory is low and unfinished messages of this connection take %llu octets",
                   (unsigned long long)largest->unfinished_bytes);
        err.method_id = AMQP_ID_basic_publish;
        connection_raise(largest, &err);
    }
}
