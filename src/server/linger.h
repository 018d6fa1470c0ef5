/*
 * linger.h - sockets to which all has been written, until their peers close them too
 */
#ifndef SERVER_LINGER_H
#define SERVER_LINGER_H

#include "broker/timers.h"
#include "server/transport.h"

struct lingerer;
struct loop;

enum { LINGER_MS = 30000 }; /* how long a peer may take to close; RabbitMQ's closing timeout */

/** struct linger_set - the lingering sockets of one loop */
struct linger_set {
    struct loop *loop;
    struct lingerer *oldest; /* list, in the order of their deadlines */
    unsigned count, max;
    uint8_t *buffer; /* borrowed: what is read is not looked at */
    size_t buffer_bytes;
    struct timer timer; /* the deadline of the oldest */
};

/**
 * linger_init() - none yet
 * @max:     so many at once; the oldest is closed to make room for another
 * @buffer:  room to read into, borrowed; all readers of the loop may share it
 */
void linger_init(struct linger_set *set, struct loop *loop, unsigned max, uint8_t *buffer,
                 size_t buffer_bytes);

/** linger_release() - closes all of them */
void linger_release(struct linger_set *set);

/**
 * linger_take() - end our side of a socket, read on until the peer ends its own, then close
 * @transport:  all that was to be written has been; moved, closed at once if memory is out
 */
void linger_take(struct linger_set *set, struct transport *transport);

#endif
