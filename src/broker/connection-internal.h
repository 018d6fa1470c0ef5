/*
 * connection-internal.h - the layout of a connection, for the files that are its parts
 */
#ifndef BROKER_CONNECTION_INTERNAL_H
#define BROKER_CONNECTION_INTERNAL_H

#include <errno.h>

#include "broker/channel.h"
#include "broker/connection.h"

enum connection_state {
    CONNECTION_EXPECT_HEADER, /* nothing but the protocol header may come */
    CONNECTION_STARTING,      /* connection.start is sent */
    CONNECTION_TUNING,
    CONNECTION_OPENING,
    CONNECTION_RUNNING,
    CONNECTION_CLOSING,       /* we sent close, close-ok is due */
    CONNECTION_CLOSED,
};

/* Why its input is paused; bits. */
enum connection_pause {
    CONNECTION_PAUSE_ALARM = 1, /* memory or disk */
    CONNECTION_PAUSE_STORE = 2, /* the open commit is overfull, or dead letters are */
    CONNECTION_PAUSE_GET = 4,   /* a basic.get waits for a read */
    CONNECTION_PAUSE_TASK = 8,  /* something that it has asked for takes more than a turn */
};

/* What a handler returns after connection_wait_for_deletions(). */
enum { CONNECTION_WAITS = -EINPROGRESS };

/** struct frame_wait - why the frame that is being received has to wait for a deletion */
struct frame_wait {
    bool performed;         /* what it asks for is being done: it is only to be answered */
    uint32_t message_count; /* for the answer */
};

struct connection {
    struct broker *broker;
    const struct channel_ops *ops;
    void *peer;
    enum connection_state state;
    unsigned paused;             /* enum connection_pause bits */
    bool congested;              /* the output is past its high-water mark */
    bool loopback;
    bool counted;                /* in vhost->connection_count and user->connections */
    bool shut_down;              /* its channels are going or gone: nothing is sent on them */
    bool leaving;                /* connection_shut_down() is on the stack */
    bool channels_left;          /* the last channel has gone since, exclusive queues are going */
    bool emptied;                /* and they are gone, but not what ends with them */
    bool gone;                   /* everything that it had is */
    bool close_ok_due;           /* when it is gone */
    bool orphan;                 /* its owner has freed it: that is done when it is gone */
    unsigned waits;              /* tasks that it waits for */
    bool blocked_told;           /* connection.blocked is sent, unblocked is due */
    /* capabilities of the client */
    bool knows_cancel_notify, knows_blocked, knows_authentication_failure_close;
    uint16_t channel_max;        /* as tuned; 0: no limit */
    uint16_t heartbeat_s;
    uint32_t frame_max;          /* as tuned; 0: no limit */
    uint32_t channel_count;
    uint64_t unfinished_bytes;   /* received of messages that are not complete (memory.c) */
    struct channel *channels;    /* uthash by_number */
    struct channel *last_channel; /* the last one looked up */
    struct channel *holding_channels; /* those that hold consumers back, by holding_next */
    struct user *user;
    char *user_name;             /* owned: the user may be deleted meanwhile */
    struct vhost *vhost;
    const struct permissions *permissions; /* valid while auth_generation is... */
    uint64_t permissions_generation;
    struct queue_rare *exclusive_queues; /* of them, by owned_next */
    struct deletion deletion;    /* of its exclusive queues, at its end */
    struct frame_wait frame_wait; /* of the frame that is being received */
    struct waiting_frame *waiting; /* NULL: none */
    char *name;
    uint8_t *client_properties;  /* the table as it came, for management; owned */
    size_t client_properties_bytes;
    struct connection *next, *prev; /* of broker->connections */
};

/** connection_check_permission() - 403 with RabbitMQ's text; the default exchange is amq.default */
int connection_check_permission(struct connection *connection, enum permission what,
                                bool is_exchange, struct amqp_str name, struct amqp_error *err);

/**
 * connection_shut_down() - channels and exclusive queues go, its place in the vhost is free
 *
 * Idempotent. Channels that have very much to give back (task.h) may still be there when this
 * returns. When the last channel has gone, no client finds the exclusive queues any more
 * (queue_is_orphan()), and they go, very many of them in later turns.
 */
void connection_shut_down(struct connection *connection);
/** connection_close() - shut down, enter closing or closed, tell the owner of the socket */
void connection_close(struct connection *connection, enum connection_close_how how);
/** connection_refuse() - end a handshake without a word; @reason is for the log */
void connection_refuse(struct connection *connection, const char *reason);
/** connection_send_start() - connection.start, after the protocol header */
void connection_send_start(struct connection *connection);
/** connection_block() - an alarm is raised and this connection publishes (4.7) */
void connection_block(struct connection *connection);
void connection_unblock(struct connection *connection);

/** connection_pause(), connection_resume() - one reason to stop reading comes or goes */
void connection_pause(struct connection *connection, enum connection_pause why);
void connection_resume(struct connection *connection, enum connection_pause why);

/** connection_wait(), connection_waited() - a task of it (task.h) begins or ends: no reading */
void connection_wait(struct connection *connection);
void connection_waited(struct connection *connection);

/**
 * connection_wait_for_deletions() - the frame that is being received waits until the deletions that
 *                                   have begun have ended; then it is received again
 *
 * Return: CONNECTION_WAITS, for the handler to return.
 */
int connection_wait_for_deletions(struct connection *connection, struct frame_wait wait);
/** connection_take_performed() - whether the frame is being received only to be answered */
bool connection_take_performed(struct connection *connection, uint32_t *ret_message_count);
/** connection_keep_frame() - a handler has returned CONNECTION_WAITS for it; 0 or -ENOMEM */
int connection_keep_frame(struct connection *connection, const struct amqp_frame *frame);
/** connection_drop_waiting() - the connection is freed */
void connection_drop_waiting(struct connection *connection);

/** connection_hold_back() - pause until the store, and the dead letters, have caught up */
void connection_hold_back(struct connection *connection);

/** connection_channel_left() - a channel has been freed; after the last one exclusive queues go */
void connection_channel_left(struct connection *connection);

/** connection_handle_close() - connection.close: close-ok when all that it had is gone */
void connection_handle_close(struct connection *connection);

/** connection_fail() - close the connection as the machine (@error: -errno) does not allow more */
void connection_fail(struct connection *connection, int error);

/** connection_raise() - close the connection for the peer's mistake */
void connection_raise(struct connection *connection, const struct amqp_error *err);

/** connection_receive_method() - class connection, on channel 0 (connection_methods.c) */
int connection_receive_method(struct connection *connection, const union amqp_method *method,
                              struct amqp_error *err);

#endif
