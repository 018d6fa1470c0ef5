/*
 * listener.h - ports that clients connect to
 */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include "amqp/base.h"

struct client_set;
struct listener;
struct loop;

/**
 * listener_new() - listen, and give what is accepted to @clients
 * @address:     numeric IPv4 or IPv6, perhaps with %zone; NULL for every address of both
 * @port:        0 for one that the kernel chooses
 * @error_text:  on failure receives a sentence for the operator, which names address and port
 *
 * Return: 0 or -errno.
 */
int listener_new(struct loop *loop, struct client_set *clients, const char *address, uint16_t port,
                 char *error_text, size_t error_text_size, struct listener **ret_listener);
void listener_free(struct listener *listener);

/** listener_set_backlog() - how many connections may wait to be accepted; the kernel cuts it */
void listener_set_backlog(struct listener *listener, int backlog);

/** listener_name() - "[::]:5672", "127.0.0.1:5672"; borrowed */
const char *listener_name(const struct listener *listener);

#endif
