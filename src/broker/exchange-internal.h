/*
 * exchange-internal.h - what exchange.c and binding.c share
 */
#ifndef BROKER_EXCHANGE_INTERNAL_H
#define BROKER_EXCHANGE_INTERNAL_H

#include "broker/exchange.h"

/** binding_free() - out of every list and index, and freed; the store is not touched */
void binding_free(struct binding *binding);

/**
 * binding_drop() - free it, and delete its record
 *
 * A source that is auto-delete and loses its last binding begins to be deleted.
 */
void binding_drop(struct binding *binding);

/** exchange_begin_deletion() - hide it; the rest is done when deletions are run */
void exchange_begin_deletion(struct exchange *exchange);

#endif
