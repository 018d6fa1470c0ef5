/*
 * client-internal.h - the layout of a client, for the files that are its parts
 *
 * client.c has the socket's life from accept to close, client_input.c the way in, client_send.c the
 * way out (struct channel_ops, encoded into the output), client_timer.c heartbeats and deadlines, client_paused.c
 * the end of one that is not read.
 */
#ifndef SERVER_CLIENT_INTERNAL_H
#define SERVER_CLIENT_INTERNAL_H

#include <event2/event_struct.h>

#include "broker/connection.h"
#include "server/client.h"
#include "server/foreign.h"
#include "server/linger.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/output.h"
#include "server/transport.h"

enum {
    CLIENT_OUTPUT_HIGH_BYTES = 1024 * 1024, /* more waiting: no deliveries */
    CLIENT_OUTPUT_FULL_BYTES = 2 * 1024 * 1024, /* more waiting: no reading, for answers pile up */
    CLIENT_OUTPUT_LOW_BYTES = 256 * 1024,   /* less waiting: both again */
    CLIENT_RECEIVE_BYTES = 256 * 1024,      /* of the buffer that all clients of a loop read into */
};

/* Why nothing that comes from the socket is handled; bits. */
enum client_stop {
    CLIENT_STOP_PAUSED = 1, /* the broker says so: alarm, overfull commit */
    CLIENT_STOP_FULL = 2,   /* it does not take our answers */
    CLIENT_STOP_HELD = 4,   /* octets that came before a stop are yet to be handled */
    CLIENT_STOP_CLOSED = 8, /* for ever: what comes is dropped, the end of it is looked for */
};

enum client_state {
    CLIENT_HANDSHAKE, /* until connection.open-ok */
    CLIENT_OPEN,
    CLIENT_LEAVING,   /* the broker said how: enum connection_close_how */
};

/**
 * struct client_input - what was received and could not be handled yet
 *
 * An unfinished frame, or with CLIENT_STOP_HELD anything. Nothing is allocated while it is empty.
 */
struct client_input {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

struct client_set {
    struct loop *loop;
    struct broker *broker;
    struct client_settings settings;
    struct client *clients; /* list */
    unsigned count;
    uint64_t accepted;      /* ever; numbers the next client */
    uint64_t accept_turn;   /* number of the loop's turn in which... */
    unsigned accepted_in_it; /* ...so many have been accepted */
    struct output_pool pool;
    uint8_t *receive_buffer; /* CLIENT_RECEIVE_BYTES, for whoever reads just now */
    struct linger_set lingering;
    struct foreign_log foreign;
};

struct client {
    struct connection *connection;
    struct output output;
    uint32_t frame_max;      /* for what we send; 0: no limit */
    unsigned stops;          /* enum client_stop bits */
    enum client_state state;
    enum connection_close_how how; /* when leaving */
    bool congested;          /* as told to the connection */
    bool write_blocked;      /* the socket took no more: wait for it */
    bool protocol_known;     /* the 8 octets of the protocol header have come */
    bool tuned;              /* tune-ok has come */
    bool refused;            /* leaving without ever having been open: the broker has said why */
    bool peer_ended;         /* leaving, and the peer has: it ends with the last octet written */
    struct loop_work flush_work, resume_work;
    struct client_set *set;
    struct transport transport;
    struct client_input input;
    size_t unit_bytes;       /* what the unfinished frame in `input` needs, as far as known */
    uint64_t received_bytes; /* ever */
    struct event read_event, write_event;
    bool read_event_on, write_event_on;
    /* times are the loop's; 0: none */
    struct timer timer;      /* the earliest of these */
    uint64_t deadline_ms;    /* of the handshake, or of leaving */
    uint64_t send_check_ms, receive_check_ms; /* heartbeats */
    uint64_t stall_check_ms; /* of the send timeout: while the socket takes no more */
    uint64_t sent_then, received_then, taken_then; /* octets at the last check */
    uint16_t heartbeat_s;
    uint8_t silent_checks;   /* checks in a row without a sign of life */
    uint8_t stalled_checks;  /* checks in a row in which the peer took nothing */
    struct timer paused_timer; /* looks at the socket while it is not read (client_paused.c) */
    bool paused_timer_on;
    uint8_t ended_looks;     /* that found the end of the stream */
    uint64_t number;
    struct client *next, *prev;
};

/** client_ops - how the broker answers a client. None of its functions frees the client. */
extern const struct channel_ops client_ops;

/* ---- client.c ---- */

/** client_log() - a line of the connection category: "VERB AMQP connection <0.N.0> (NAME)DETAIL" */
void client_log(const struct client *client, enum log_level level, const char *verb,
                const char *detail);
/** client_drop() - close the socket and free the client */
void client_drop(struct client *client);
/** client_give_up() - reset the socket of a peer that is taken for dead, and free the client */
void client_give_up(struct client *client);
/** client_end() - it leaves as the broker wanted */
void client_end(struct client *client);
/** client_lost() - the socket has ended by itself (@error 0 or -errno): say so, drop the client */
void client_lost(struct client *client, int error);
/** client_fail() - memory is out: it will be dropped at the end of the turn */
void client_fail(struct client *client);
/** client_update_events() - wait for what it can do next */
void client_update_events(struct client *client);
/** client_output_is_high() - at least CLIENT_OUTPUT_HIGH_BYTES wait */
void client_output_is_high(struct client *client);
void client_pause(void *peer, bool paused);
void client_leave(void *peer, enum connection_close_how how);

/** client_touch() - something waits in the output: write it at the end of the turn */
static inline void client_touch(struct client *client)
{
    if (!client->write_blocked && !loop_work_is_queued(&client->flush_work))
        loop_flush_later(client->set->loop, &client->flush_work);
    if (UNLIKELY(client->output.bytes >= CLIENT_OUTPUT_HIGH_BYTES))
        client_output_is_high(client);
}

/* ---- client_input.c ---- */

/** client_read() - handle what the socket has; may free the client */
void client_read(struct client *client);
/** client_resume() - reading may go on: what was set aside first */
void client_resume(struct loop_work *work);

/**
 * client_log_foreign() - it ends, and what it began with may not have been AMQP: name it in the log
 * @octets, @size: the beginning of its stream, 8 octets at most
 *
 * Return: false, and nothing is logged, when there is nothing to name.
 */
bool client_log_foreign(struct client *client, const uint8_t *octets, size_t size);

/* ---- client_send.c ---- */

/** client_send_heartbeat() - one heartbeat frame */
void client_send_heartbeat(struct client *client);

/* ---- client_timer.c ---- */

/** client_set_timer() - after any of its times was changed */
void client_set_timer(struct client *client);
void client_on_timer(struct timer *timer, uint64_t now_ms);
/** client_set_leaving_deadline() - as client->how asks for; @again: not later than it is already */
void client_set_leaving_deadline(struct client *client, bool again);
/** client_watch_output() - the socket takes no more: from now on the send timeout runs */
void client_watch_output(struct client *client);
/** client_expect_signs() - its silence until now does not count */
void client_expect_signs(struct client *client);
void client_tuned(void *peer, uint32_t frame_max, uint16_t heartbeat_s);
void client_opened(void *peer);

/* ---- client_paused.c ---- */

/** client_watch_paused() - its reading stops: see whether the peer goes meanwhile */
void client_watch_paused(struct client *client);
void client_on_paused_timer(struct timer *timer, uint64_t now_ms);

#endif
