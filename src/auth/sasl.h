/*
 * sasl.h - the mechanisms a client may log in with
 *
 * PLAIN (RFC 4616) and AMQPLAIN (a field table without its length). One step each: the initial
 * response in connection.start-ok decides.
 */
#ifndef AUTH_SASL_H
#define AUTH_SASL_H

#include "auth/auth.h"

enum sasl_outcome {
    SASL_OK,        /* *ret_user is set */
    SASL_REFUSED,   /* wrong user or password: 403 when the client understands it */
    SASL_MALFORMED, /* not a response of this mechanism, or no such mechanism: silent close */
};

/** SASL_MECHANISMS - all that there are; connection.start offers them or some of them */
#define SASL_MECHANISMS "PLAIN AMQPLAIN"

/**
 * sasl_authenticate() - judge the response of connection.start-ok
 * @offered: those of SASL_MECHANISMS that connection.start offered; no other one is accepted
 * @reason:  receives one line for the log: why it was refused
 *
 * Spec: amqp-0-9-1.md 4.3, 4.4.
 */
enum sasl_outcome sasl_authenticate(struct auth *auth, const char *offered,
                                    struct amqp_str mechanism, struct amqp_bytes response,
                                    struct user **ret_user, char *reason, size_t reason_size);

#endif
