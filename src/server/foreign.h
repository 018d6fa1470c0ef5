/*
 * foreign.h - telling what a client speaks that does not speak AMQP 0-9-1
 */
#ifndef SERVER_FOREIGN_H
#define SERVER_FOREIGN_H

#include <netinet/in.h>

#include "amqp/base.h"

enum {
    FOREIGN_PLACES = 64,      /* so many lines in FOREIGN_QUIET_MS, of all addresses together */
    FOREIGN_QUIET_MS = 60000, /* an address and protocol is logged once in that time */
    FOREIGN_TEXT_BYTES = 192,
};

/**
 * foreign_describe() - name the protocol that a stream begins with, and what to do
 * @octets, @size:  the first octets of the stream; borrowed
 * @text:           receives a sentence, "looks like TLS; ..."
 *
 * Return: an identifier of what it looks like, equal for equal protocols; NULL, and @text is not
 *         written, when it is AMQP 0-9-1 as far as it goes.
 */
const char *foreign_describe(const uint8_t *octets, size_t size, char text[FOREIGN_TEXT_BYTES]);

/** struct foreign_log - what the log has been told lately; zero-initialised is nothing */
struct foreign_log {
    struct foreign_place {
        struct in6_addr address;
        const char *what;     /* from foreign_describe(); NULL: free */
        uint64_t quiet_until_ms;
        unsigned suppressed;  /* since the last line */
    } places[FOREIGN_PLACES];
};

/**
 * foreign_log_admit() - may a line be written now?
 * @ret_suppressed:  how many were not, of this address and protocol, since its last line
 */
bool foreign_log_admit(struct foreign_log *log, const struct in6_addr *address, const char *what,
                       uint64_t now_ms, unsigned *ret_suppressed);

#endif
