/*
 * link.h - one connection of the crash client: frames in and out, and an end that may come any time
 *
 * The broker at the other side is killed on purpose, so a lost connection is no error here: calls
 * return false and the caller goes on with what it knows.
 */
#ifndef CRASH_LINK_H
#define CRASH_LINK_H

#include "amqp/frame.h"
#include "amqp/method.h"

struct link {
    int fd; /* -1: none */
    uint8_t *in, *out;
    size_t in_size, in_at, in_capacity;
    size_t out_size, out_capacity;
};

/** link_open() - connect, log in as guest, open vhost and channel 1; false when it was cut short */
bool link_open(struct link *link, unsigned port);
/** link_close() - without a word; frees everything */
void link_close(struct link *link);

/** link_put() - append a method on channel 1 */
void link_put(struct link *link, const void *method);
/** link_put_message() - append a persistent message to a queue, through the default exchange */
void link_put_message(struct link *link, const char *queue, const uint8_t *body, size_t size);

/** link_flush() - write all that was appended, waiting for the socket */
bool link_flush(struct link *link);
/** link_write() - write what the socket takes now */
bool link_write(struct link *link);
/** link_read() - read what there is; false at the end of the connection */
bool link_read(struct link *link);
/** link_next() - the next whole frame that has been read; valid until the next link_read() */
bool link_next(struct link *link, struct amqp_frame *ret_frame);

/** link_call() - flush and wait for one method, which must be @answer; false when cut short */
bool link_call(struct link *link, uint32_t answer, union amqp_method *ret_method);

/** crash_fail() - "FAILED: ..." and exit(1) */
void crash_fail(const char *format, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

#endif
