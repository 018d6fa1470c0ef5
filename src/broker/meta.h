/*
 * meta.h - vhosts, users, exchanges, queues, bindings and policies as records of the store
 *
 * One small record each. A record's value is a field table (so that members can be added without
 * a new format); its key is made of length-prefixed names, because names may hold any octet. The
 * put and delete functions change the open commit only: memory is the caller's. Without an
 * attached store (a broker that is being built, some tests) they do nothing and succeed.
 */
#ifndef BROKER_META_H
#define BROKER_META_H

#include "broker/broker.h"
#include "broker/queue.h"

int meta_put_queue(struct queue *queue);
void meta_delete_queue(struct queue *queue);
int meta_put_exchange(struct exchange *exchange);
void meta_delete_exchange(struct exchange *exchange);
int meta_put_binding(struct binding *binding);
void meta_delete_binding(struct binding *binding);
int meta_put_vhost(struct vhost *vhost);

#endif
