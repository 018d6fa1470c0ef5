/*
 * client.h - the sockets of one loop: each one an AMQP connection
 *
 * A client owns its socket, what waits to be written to it and what has come of an unfinished
 * frame. It feeds its connection (broker/connection.h) and turns the broker's answers into octets.
 * Clients free themselves when their socket is done; the set knows them all.
 */
#ifndef SERVER_CLIENT_H
#define SERVER_CLIENT_H

#include "amqp/base.h"

struct broker;
struct client_set;
struct loop;
struct sockaddr;

struct client_settings {
    uint64_t handshake_timeout_ms; /* from accept to connection.open-ok */
    unsigned send_timeout_ms;      /* a peer that takes nothing for so long is reset; 0: never */
    unsigned lingering_max;        /* sockets that wait for their peers to close; at least 1 */
    bool nodelay;                  /* TCP_NODELAY */
    bool keepalive;                /* SO_KEEPALIVE */
    uint32_t sndbuf_bytes;         /* SO_SNDBUF; 0: as the kernel has it */
    uint32_t recbuf_bytes;         /* SO_RCVBUF, likewise */
};

/** client_set_new() - no clients yet; @loop and @broker are borrowed. 0 or -ENOMEM */
int client_set_new(struct loop *loop, struct broker *broker,
                   const struct client_settings *settings, struct client_set **ret_set);

/** client_set_may_accept() - false: BOUND_ACCEPTS_A_TURN have been accepted in this turn */
bool client_set_may_accept(const struct client_set *set);

/** client_set_free() - drops the clients that are left, without a word to them */
void client_set_free(struct client_set *set);

/** client_set_count() - clients, without sockets that only linger */
unsigned client_set_count(const struct client_set *set);

/**
 * client_set_accept() - serve an accepted socket
 * @fd:    connected and non-blocking; moved, closed on failure too
 * @peer:  its far end
 *
 * Return: 0 or -errno.
 */
int client_set_accept(struct client_set *set, int fd, const struct sockaddr *peer);

/** client_set_force_close() - ask every client to leave, with connection.close where it is open */
void client_set_force_close(struct client_set *set, int code, const char *text);

#endif
