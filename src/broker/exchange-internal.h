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
 * @doomed: a source that is auto-delete and loses its last binding is put in front of this list
 */
void binding_drop(struct binding *binding, struct exchange **doomed);

/** exchange_delete_doomed() - delete the exchanges of a list by deleted_next, and what follows */
void exchange_delete_doomed(struct exchange *doomed);

#endif
