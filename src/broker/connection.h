/*
 * connection.h - the protocol side of one client: handshake, tuning, channels, closing
 *
 * Fed with frames, answers through struct channel_ops. It knows no socket: whoever owns one makes
 * a connection for it, passes on what arrives and ends it with connection_free().
 *
 *   starting -> tuning -> opening -> running -> closing -> closed
 *
 * closing: we have sent connection.close and read only close and close-ok; closed: nothing more is
 * to be read; the owner flushes and closes the socket.
 */
#ifndef BROKER_CONNECTION_H
#define BROKER_CONNECTION_H

#include "amqp/frame.h"
#include "amqp/method.h"
#include "broker/broker.h"
#include "broker/message.h"

struct channel;

/** struct delivery - one basic.deliver; everything borrowed */
struct delivery {
    struct amqp_str consumer_tag;
    uint64_t delivery_tag;
    bool redelivered;
    struct message *message; /* take message_ref() to keep its octets beyond the call */
};

enum connection_close_how {
    CONNECTION_CLOSE_FLUSH,  /* write what is queued, then close */
    CONNECTION_CLOSE_SILENT, /* refuse quietly: read no more, close after 3 s (1.7) */
    CONNECTION_CLOSE_LINGER, /* connection.close is on its way: read on, force after the closing timeout */
    CONNECTION_CLOSE_LOST_SYNC, /* connection.close is on its way; read no more, close after 3 s */
};

/**
 * struct channel_ops - how the broker answers
 *
 * @peer is what connection_new() was given. No call may re-enter the broker. Methods and contents
 * of one channel are to be sent in the order of the calls; a content is never interleaved.
 */
struct channel_ops {
    void (*send_octets)(void *peer, const void *data, size_t size); /* the protocol header */
    void (*send_method)(void *peer, uint16_t channel, const void *method);
    /** basic.get-ok or basic.return with its content */
    void (*send_content)(void *peer, uint16_t channel, const void *method,
                         struct message *message);
    void (*deliver)(void *peer, uint16_t channel, const struct delivery *delivery);
    /** octets that wait to be written, bodies included */
    size_t (*unsent_bytes)(void *peer);
    /** tune-ok has come: frame_max for outgoing frames and heartbeat interval are settled */
    void (*tuned)(void *peer, uint32_t frame_max, uint16_t heartbeat_s);
    /** open-ok has been sent: the handshake timer ends */
    void (*opened)(void *peer);
    /** stop or resume reading (alarms, an overfull commit) */
    void (*pause)(void *peer, bool paused);
    void (*close)(void *peer, enum connection_close_how how);
};

/** struct connection_origin - strings are copied */
struct connection_origin {
    const char *peer_host; /* "127.0.0.1" */
    uint16_t peer_port;
    const char *host;      /* our side */
    uint16_t port;
    bool loopback;         /* the peer is this machine */
    bool tls;
};

/** connection_new() - for an accepted socket; counted in broker->connections. 0 or -ENOMEM */
int connection_new(struct broker *broker, const struct channel_ops *ops, void *peer,
                   const struct connection_origin *origin, struct connection **ret_connection);

/**
 * connection_free() - the transport is gone: requeue, delete exclusive queues, forget it
 *
 * Also the clean end: what connection.close has already done is not done twice.
 */
void connection_free(struct connection *connection);

/**
 * connection_receive_header() - the first 8 octets
 *
 * Return: false when they are anything but AMQP 0-9-1: the right header is the answer, and the
 *         owner logs what they were.
 */
bool connection_receive_header(struct connection *connection,
                               const uint8_t header[AMQP_PROTOCOL_HEADER_BYTES]);

/** connection_payload_max() - largest payload to accept now, for amqp_frame_scan(); 0: no limit */
uint32_t connection_payload_max(const struct connection *connection);

/** connection_receive() - one frame. Errors are answered through ops; nothing to return. */
void connection_receive(struct connection *connection, const struct amqp_frame *frame);

/**
 * connection_look_ahead() - prepare for frames that will be received soon; changes nothing
 * @received: they begin here
 *
 * Return: how many octets have been looked at; call it again when those have been handled.
 */
size_t connection_look_ahead(struct connection *connection, struct amqp_bytes received);

/** connection_receive_bad() - what amqp_frame_scan() refused: AMQP_SCAN_OVERSIZED or _BAD_END */
void connection_receive_bad(struct connection *connection, enum amqp_scan scan,
                            const struct amqp_frame *frame, uint8_t end_octet);

/** connection_resume_waiting() - frames whose deletions have ended go on (connection_wait.c) */
void connection_resume_waiting(struct broker *broker);

/** connection_is_closed() - nothing more is to be read from the socket */
bool connection_is_closed(const struct connection *connection);
/** connection_wants_input() - false while paused or closed */
bool connection_wants_input(const struct connection *connection);

/**
 * connection_set_congested() - the output is past its high-water mark, or has drained
 *
 * While congested its consumers get nothing.
 */
void connection_set_congested(struct connection *connection, bool congested);

/** connection_force_close() - e.g. 320 at shutdown: "CONNECTION_FORCED - text"; before open: drop */
void connection_force_close(struct connection *connection, int code, const char *text);

/** connection_name() - "127.0.0.1:1234 -> 127.0.0.1:5672", " - NAME" appended when given; borrowed */
const char *connection_name(const struct connection *connection);

/** connection_next() - for loops over broker->connections */
struct connection *connection_next(const struct connection *connection);

#endif
