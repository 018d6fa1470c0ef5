/*
 * values.h - the forms that option values take
 *
 * All of these return false for a text that has not the form, and then leave their result alone.
 */
#ifndef PERF_VALUES_H
#define PERF_VALUES_H

#include "wire.h"

struct range { /* both ends included */
    unsigned least, most;
};

/**
 * value_number() - a decimal number from @least to @most
 *
 * A unit may follow, without a space: k, M, G for thousands, Ki (or ki), Mi, Gi for powers of 1,024.
 */
bool value_number(const char *text, double least, double most, double *ret_number);

/** value_range() - N or MIN-MAX, units as above, both from 0 to @most, MIN not above MAX */
bool value_range(const char *text, unsigned most, struct range *ret_range);

/** value_in() - a value of the range, uniform; @random is the state of the generator */
unsigned value_in(struct range range, uint64_t *random);

/**
 * value_uri() - amqp://user:password@host:port/vhost; all but the host may be missing
 *
 * @ret_memory: what the parts, percent-decoded, lie in; freed by the caller when @address is not
 *              used any more
 *
 * An empty vhost is "/". What is missing keeps its value in @address.
 */
bool value_uri(const char *text, struct client_address *address, char **ret_memory);

/**
 * value_argument() - NAME=VALUE, appended to a field table
 *
 * true and false are booleans, integers int64, all else long strings.
 */
bool value_argument(const char *text, struct wire_buf *table);

/** value_grouped() - the number with commas between its thousands; cut at @size bytes */
void value_grouped(double number, int decimals, char *ret_text, size_t size);

/** value_name() - a pattern with every %d replaced; @ret_name holds @size bytes */
void value_name(const char *pattern, unsigned number, char *ret_name, size_t size);

#endif
