/*
 * channel.h - the state of one channel
 *
 * A channel assembles contents from frames, runs methods, numbers deliveries and publishes, and
 * remembers what is unacknowledged and unconfirmed. The handlers are in channel_*.c, one file a
 * class of work; channel.c has life cycle, content assembly and the dispatch table.
 *
 *   (first frame) -> starting -open-> running -error-> closing -close-ok-> (gone)
 *
 * closing: we have sent channel.close; contents are still parsed and dropped, methods ignored.
 */
#ifndef BROKER_CHANNEL_H
#define BROKER_CHANNEL_H

#include <uthash.h>

#include "amqp/frame.h"
#include "amqp/method.h"
#include "broker/broker.h"
#include "broker/confirm.h"
#include "broker/message.h"
#include "broker/queue.h"
#include "broker/task.h"
#include "broker/unacked.h"

struct connection;
struct direct_reply;
struct tx;

enum channel_state {
    CHANNEL_STARTING,
    CHANNEL_RUNNING,
    CHANNEL_CLOSING,
};

enum channel_mode {
    CHANNEL_PLAIN,
    CHANNEL_CONFIRM,
    CHANNEL_TX,
};

enum content_state {
    CONTENT_IDLE,
    CONTENT_HEADER, /* basic.publish has come, its header is due */
    CONTENT_BODY,
};

/** struct content - the publish being assembled */
struct content {
    enum content_state state;
    bool mandatory, immediate;
    bool drop;               /* closing, or too large: octets are counted, not kept */
    uint8_t exchange_bytes, routing_key_bytes;
    uint16_t property_flags;
    uint64_t body_bytes;     /* as announced */
    uint64_t received_bytes;
    uint64_t held_bytes;     /* of connection->unfinished_bytes */
    struct message *message; /* being filled; its body has `capacity` octets so far */
    char names[2 * BOUND_NAME_BYTES]; /* exchange, routing key */
};

/** enum settle_how - what becomes of a delivery */
enum settle_how {
    SETTLE_ACK,
    SETTLE_REJECT,  /* without requeue: dropped */
    SETTLE_REQUEUE,
};

/** struct settle_plan - deliveries that are settled in slices (channel_task.c) */
struct settle_plan {
    enum settle_how how;
    uint64_t up_to;     /* the last tag */
    bool newest_first;  /* from the last; else from the first */
    bool noted;         /* in the transaction: not now, but with tx.commit */
    struct consumer *consumer; /* only its own, which time out; NULL: everybody's */
    /* how far it has come; 0 at first */
    uint64_t at;
    bool holds;         /* queues hand out nothing until it is done */
    bool counting;      /* what each has to wait for */
    bool done;
    int error;          /* 0 or -ENOMEM */
};

/** enum channel_leave - why a channel gives back what it has; a later one goes further */
enum channel_leave {
    LEAVE_NOT,
    LEAVE_ERROR, /* channel.close is sent: it stays until close-ok */
    LEAVE_CLOSE, /* the client has closed it: close-ok, then it is freed */
    LEAVE_FREE,  /* it is freed */
};

struct channel {
    struct connection *connection;
    uint16_t number;
    enum channel_state state;
    enum channel_mode mode;
    bool flow_active;            /* the client wants deliveries (channel.flow) */
    uint16_t prefetch_default;   /* for consumers made from now on; 0: no limit */
    uint16_t prefetch_global;    /* shared by all consumers; 0: off */
    uint32_t global_unacked;     /* counts against prefetch_global */
    uint64_t counted_below;      /* so do the deliveries before this tag, whatever they were */
    uint32_t timed_out_count;    /* in `unacked` and noted in `tx`: they count nowhere */
    uint64_t next_delivery_tag;
    uint64_t delivery_turn;      /* of the broker, when it last delivered to a consumer... */
    uint64_t unseen_tag;         /* ...and the first tag of that turn */
    struct unacked unacked;
    struct consumer *consumers;  /* uthash by_tag */
    struct confirm_set confirms;
    struct tx *tx;               /* in tx mode; `confirms` then counts commits, not publishes */
    struct content content;
    struct amqp_str last_queue;  /* most recently declared; owned; data NULL: none */
    struct exchange *publish_exchange;   /* last one published to, permission checked... */
    uint64_t publish_generation;         /* ...while broker->route_generation's topology is this */
    struct task task;            /* something that takes more than a turn (channel_task.c) */
    void (*task_end)(struct channel *channel);
    struct settle_plan plan;
    bool busy;                   /* the task is not done; the connection is not read meanwhile */
    bool rests;                  /* and it gets no deliveries, as those it has are being settled */
    bool left;                   /* all is given back */
    enum channel_leave leaves;
    uint64_t overdue_from, overdue_look; /* how far the look for timeouts has come, and which */
    struct queue *get_queue;     /* a basic.get waits among its gets; NULL: none */
    struct direct_reply *direct_reply; /* consumes from amq.rabbitmq.reply-to; NULL: does not */
    struct consumer *held;       /* that wait for room (channel_room.h), by held_next */
    struct consumer *offered;    /* whose turn it is, while its queue hands out; else NULL */
    bool in_confirm_list, in_waiting_list;
    bool has_offer;              /* in broker->offer_first */
    struct channel *offer_next, *offer_prev;
    struct channel *holding_next, *holding_prev; /* of connection->holding_channels, while held */
    struct channel *confirm_next, *confirm_prev;
    struct channel *waiting_next, *waiting_prev;
    UT_hash_handle by_number;    /* of connection->channels */
};

/** channel_new() - for the first frame on a number; the connection has checked its limits */
int channel_new(struct connection *connection, uint16_t number, struct channel **ret_channel);

/**
 * channel_leave() - requeue what is unacknowledged, drop consumers, forget it
 *
 * Perhaps not at once (task.h). It may be freed when this returns, and its connection, when that
 * has been given up by its owner, with it.
 */
void channel_leave(struct channel *channel, enum channel_leave why);

/** channel_left() - all is given back: answer, or be freed, as channel->leaves says */
void channel_left(struct channel *channel);

/**
 * channel_begin_task() - do what may be too much for one turn
 * @run:  of task.h, for channel->task
 * @end:  called when it is done, unless the channel leaves then; may free the channel
 *
 * Until it is done the connection is not read.
 *
 * Return: true when it is done.
 */
bool channel_begin_task(struct channel *channel, bool (*run)(struct task *task),
                        void (*end)(struct channel *channel));

/** channel_carry_out() - settle the deliveries of @plan as such a task; it gets no new ones meanwhile */
bool channel_carry_out(struct channel *channel, const struct settle_plan *plan,
                       void (*end)(struct channel *channel));

/**
 * channel_receive() - a METHOD, HEADER or BODY frame of this channel
 *
 * Return: 0; a reply code, with @err, when the connection must be closed; -errno. A channel
 *         exception is answered here. *ret_gone is true when the channel has closed for good and
 *         the caller lets it leave (LEAVE_FREE).
 */
int channel_receive(struct channel *channel, const struct amqp_frame *frame,
                    struct amqp_error *err, bool *ret_gone);

/** channel_send() - a method to the client of this channel, behind the confirms that are due */
void channel_send(struct channel *channel, const void *method);

/** channel_raise() - close the channel for the peer's mistake */
void channel_raise(struct channel *channel, const struct amqp_error *err);

/** channel_can_deliver() - flow is active, the socket takes more, bounds are kept */
bool channel_can_deliver(const struct channel *channel);
/**
 * channel_queue_name() - the name, or that of the last declared queue when it is empty (5.5)
 *
 * Return: 0; 404 "no previously declared queue".
 */
int channel_queue_name(struct channel *channel, struct amqp_str name, struct amqp_error *err,
                       struct amqp_str *ret_name);
/** channel_abandon_get() - a waiting basic.get is forgotten */
void channel_abandon_get(struct channel *channel);

/** channel_drop_content() - an unfinished message is given up; what still comes of it is dropped */
void channel_drop_content(struct channel *channel);

/** channel_drop_content() - an unfinished message is given up; what still comes of it is dropped */
void channel_drop_content(struct channel *channel);

/** channel_settle_confirms() - send the confirms (and tx.commit-ok) that are due */
void channel_settle_confirms(struct channel *channel);
/** channel_wait_for_commit() - be called (settle_confirms) when the open commit is durable */
void channel_wait_for_commit(struct channel *channel);
/** channel_confirm_soon() - call channel_settle_confirms() at the end of the turn */
void channel_confirm_soon(struct channel *channel);

/** channel_deliver() - hand an entry to a consumer of this channel. 0, or -ENOMEM: nothing happened */
int channel_deliver(struct consumer *consumer, struct queue_entry *entry);

/**
 * channel_finish_get() - answer a basic.get that waited: with an entry that was taken, or NULL for
 * get-empty. The connection reads on.
 */
void channel_finish_get(struct channel *channel, struct queue *queue, struct queue_entry *entry,
                        bool no_ack);

/** channel_notify_cancel() - basic.cancel, if the client announced consumer_cancel_notify */
void channel_notify_cancel(struct channel *channel, struct amqp_str consumer_tag);

/* Handlers, one a method: 0, a reply code with @err, or -errno. In the dispatch table of channel.c. */
typedef int channel_handler(struct channel *channel, const union amqp_method *method,
                            struct amqp_error *err);

channel_handler handle_exchange_declare, handle_exchange_delete, handle_exchange_bind,
    handle_exchange_unbind, handle_queue_declare, handle_queue_bind, handle_queue_unbind,
    handle_queue_purge, handle_queue_delete, handle_basic_qos, handle_basic_consume,
    handle_basic_cancel, handle_basic_get, handle_basic_ack, handle_basic_reject,
    handle_basic_nack, handle_basic_recover, handle_basic_recover_async, handle_confirm_select,
    handle_tx_select, handle_tx_commit, handle_tx_rollback;

/**
 * channel_settle() - let go of one delivery: already taken out of channel->unacked
 */
void channel_settle(struct channel *channel, struct unacked_delivery *delivery,
                    enum settle_how how);

/** channel_push() - push a message to the queues it was routed to; @outcome as of queue_push() */
int channel_push(struct channel *channel, struct message *message, struct queue **queues,
                 size_t n_queues, struct push_outcome *outcome);
/** channel_hold_back() - the connection waits for the store if the open commit is overfull */
void channel_hold_back(struct channel *channel, const struct push_outcome *outcome);
/** channel_end_commit() - a transaction is applied: commit-ok when it is durable, or 406. 0, -ENOMEM */
int channel_end_commit(struct channel *channel, const struct push_outcome *outcome);
/** channel_run_dead_letters() - route them; the connection waits if that is too much for one turn */
void channel_run_dead_letters(struct channel *channel);
/** channel_return() - basic.return with 312 NO_ROUTE */
void channel_return(struct channel *channel, struct message *message);

/** channel_last_exchange() - where it published last; NULL: nowhere, or that may have changed */
struct exchange *channel_last_exchange(const struct channel *channel);

/** channel_publish() - the content is complete: route it. Takes channel->content.message. */
int channel_publish(struct channel *channel, struct amqp_error *err);

#endif
