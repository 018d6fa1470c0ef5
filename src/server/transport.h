/*
 * transport.h - octets to and from a peer: a few functions, so that TLS can stand where TCP stands,
 * and two that ask and tell the kernel's socket below either
 *
 * Results are counts or -errno; -EAGAIN means "not now": wait until transport_wants() comes true.
 * A transport is embedded in its client; it owns its descriptor.
 */
#ifndef SERVER_TRANSPORT_H
#define SERVER_TRANSPORT_H

#include <sys/uio.h>

#include "amqp/base.h"

struct transport;

/* What a transport must wait for, whatever its user wants; bits. */
enum transport_wants {
    TRANSPORT_WANTS_READABLE = 1, /* the descriptor, before a write can go on */
    TRANSPORT_WANTS_WRITABLE = 2, /* the descriptor, before a read can go on */
    TRANSPORT_WANTS_TURN = 4,     /* octets are buffered inside: read again without waiting */
};

struct transport_ops {
    /** fill @parts in order; octets read, 0 at the end of the stream, -EAGAIN, -errno */
    ssize_t (*read)(struct transport *transport, const struct iovec *parts, int n_parts);
    /** octets taken (perhaps fewer than given), -EAGAIN, -errno */
    ssize_t (*writev)(struct transport *transport, const struct iovec *parts, int n_parts);
    unsigned (*wants)(const struct transport *transport); /* enum transport_wants bits */
    /** nothing more will be written: the peer reads the end of the stream; 0 or -errno */
    int (*end)(struct transport *transport);
    void (*close)(struct transport *transport);
};

struct transport {
    const struct transport_ops *ops;
    int fd;
};

/** transport_init_tcp() - over a connected, non-blocking descriptor, which it owns from now on */
void transport_init_tcp(struct transport *transport, int fd);

enum transport_peer {
    TRANSPORT_PEER_THERE,
    TRANSPORT_PEER_ENDED, /* it has shut down its side, perhaps both; what came before can be read */
    TRANSPORT_PEER_LOST,  /* reset, or given up by the kernel */
};

/** transport_peer() - asked of the descriptor, without reading; also when TLS stands on it */
enum transport_peer transport_peer(const struct transport *transport);

/** transport_keep_alive() - the kernel probes a silent peer: lost after some two minutes */
void transport_keep_alive(const struct transport *transport);

static inline ssize_t transport_read(struct transport *transport, const struct iovec *parts,
                                     int n_parts)
{
    return transport->ops->read(transport, parts, n_parts);
}

static inline ssize_t transport_writev(struct transport *transport, const struct iovec *parts,
                                       int n_parts)
{
    return transport->ops->writev(transport, parts, n_parts);
}

static inline unsigned transport_wants(const struct transport *transport)
{
    return transport->ops->wants(transport);
}

static inline int transport_end(struct transport *transport)
{
    return transport->ops->end(transport);
}

static inline void transport_close(struct transport *transport)
{
    transport->ops->close(transport);
}

/**
 * transport_reset() - close, and drop what the kernel has not sent yet
 *
 * For a peer that is given up: its next write fails, and the kernel keeps no octets for it.
 */
void transport_reset(struct transport *transport);

/** transport_unacknowledged() - octets that were written and that the peer's TCP has not taken */
size_t transport_unacknowledged(const struct transport *transport);

#endif
