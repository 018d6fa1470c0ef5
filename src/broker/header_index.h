/*
 * header_index.h - the bindings of a headers exchange, found by the headers of a message
 *
 * Matching takes one step for each header of the message, for each binding that could match by a
 * header of its own that the message has, and for each of that binding's arguments that the message
 * has too. Bindings that ask for other headers cost nothing. It allocates nothing.
 */
#ifndef BROKER_HEADER_INDEX_H
#define BROKER_HEADER_INDEX_H

#include "broker/exchange.h"

struct header_index;

/** struct header_match - how a binding's arguments are to be read: its x-match */
struct header_match {
    bool any;    /* one argument is enough */
    bool with_x; /* arguments whose names begin with x- take part; x-match itself never does */
};

/** header_index_new() - an empty one; NULL on allocation failure */
struct header_index *header_index_new(void);
/** header_index_free() - all bindings have been removed; NULL is fine */
void header_index_free(struct header_index *index);

/** header_index_add() - uses binding->index; 0 or -ENOMEM */
int header_index_add(struct header_index *index, struct binding *binding, struct header_match how);
void header_index_remove(struct header_index *index, struct binding *binding);

/** header_index_match() - route_add() the destinations for route->headers; adds to route->work */
int header_index_match(struct header_index *index, struct route *route);

#endif
