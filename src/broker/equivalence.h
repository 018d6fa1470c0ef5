/*
 * equivalence.h - whether a redeclaration asks for what there is
 *
 *   inequivalent arg 'durable' for queue 'Q' in vhost 'V': received 'true' but current is 'false'
 *
 * Spec: amqp-0-9-1.md 6.3, 6.5.2.
 */
#ifndef BROKER_EQUIVALENCE_H
#define BROKER_EQUIVALENCE_H

#include "broker/exchange.h"

/** equivalence_check_word() - 0 when both are the same text; else 406 that shows them */
int equivalence_check_word(const struct destination *destination, const char *name,
                           const char *received, const char *current, struct amqp_error *err);

/** equivalence_check_flag() - the same for true and false */
int equivalence_check_flag(const struct destination *destination, const char *name, bool received,
                           bool current, struct amqp_error *err);

/** equivalence_check_values() - the same for values of arguments; NULL: there is none */
int equivalence_check_values(const struct destination *destination, const char *name,
                             const struct amqp_value *received, const struct amqp_value *current,
                             struct amqp_error *err);

#endif
