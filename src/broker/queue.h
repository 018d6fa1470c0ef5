/*
 * queue.h - queues and their consumers
 *
 * A queue holds ready entries (ready.h), counts those that are out with consumers, and is worked on
 * by queue_dispatch(), which runs once a turn for every queue that has something to do, and before
 * anything looks at the queue (get, purge, counts). It hands entries to consumers, then drops what
 * is over a length limit, then what has expired, in this order: a message for which a consumer
 * waits is handed over whatever the limits.
 *
 * Consumers stand in one of three lists: *ready* ones, highest priority first and round robin
 * within; *blocked* ones, which cannot take a message (prefetch, flow, a full socket); and, with
 * single active consumer, *waiting* ones. One that is found unable moves to blocked; it is ready again
 * when its own limit allows, or in its turn among the held ones of its channel (channel_room.h).
 *
 * References: an unacknowledged delivery holds its queue (queue_ref), so a deleted queue lives on
 * as a shell (destination.deleted) until the last is settled. A cancelled consumer likewise lives
 * until its last delivery is settled.
 *
 * There may be very many queues that do nothing, so a queue is small: what few have is made when
 * they need it (struct queue_rare, ready.h, expiry.h).
 *
 * Durable queues have an id in the store. A persistent message in a durable queue (any message in a
 * quorum queue) is a *stored* entry; everything else is in memory only, until the queue takes
 * queue_memory_max of it or memory runs low: then what comes to a long queue is *paged*, which is to
 * say stored under an id of its own, of which the metadata know nothing, so that the next start
 * drops it as entries of a deleted queue.
 */
#ifndef BROKER_QUEUE_H
#define BROKER_QUEUE_H

#include <uthash.h>

#include "amqp/base.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "broker/exchange.h"
#include "broker/expiry.h"
#include "broker/hash_table.h"
#include "broker/queue_settings.h"
#include "broker/ready.h"
#include "broker/timers.h"

struct broker;
struct store_entry;
struct channel;
struct connection;
struct consumer;

/**
 * struct queue_rare - what few queues have: made when the first of it is needed, kept to the end
 *
 * One queue in a thousand that expires must not make the others larger.
 */
struct queue_rare {
    struct queue *queue;            /* whose it is */
    struct timer timer;             /* a message or the queue itself expires (queue_upkeep.c) */
    uint64_t paging_id;             /* in the store, of paged entries; 0 until there are some */
    struct connection *owner;       /* of an exclusive queue */
    struct queue_rare *owned_next, *owned_prev; /* of the owner's exclusive queues */
    uint32_t discard_count;
    uint64_t discard_bytes;         /* of their bodies */
    struct discard *discards, *discards_last; /* wait to be dead-lettered (queue_discard.c) */
    struct consumer *waiting_consumers;
    struct consumer *active;        /* the single active consumer */
    struct pending_get *gets;       /* basic.get that wait for a read */
    struct deletion deletion;       /* it takes more than a turn */
};

struct queue {
    struct destination destination; /* first */
    uint64_t id;                    /* in the store; 0 when not durable */
    const struct queue_settings *settings; /* owned unless it is the default */
    struct queue_rare *rare;        /* owned; NULL: none of it */
    struct consumer *ready_consumers, *blocked_consumers;
    struct ready ready;
    struct expiry expiry;
    uint64_t next_sequence;
    uint64_t delivered_mark;        /* highest stored sequence handed out */
    struct queue *dispatch_next;
    uint64_t last_used_ms;          /* declared, got from, or left by its last consumer */
    struct hash_link by_name;       /* of vhost->queues */
    uint32_t refs;
    uint32_t unacked_count;
    uint32_t held;                  /* messages on their way back: nothing is handed out until then */
    uint32_t consumer_count;
    uint32_t arguments_bytes;       /* see queue_arguments() */
    bool durable : 1;
    bool exclusive : 1;
    bool auto_delete : 1;
    bool named : 1;                 /* in vhost->queues */
    bool unlinked : 1;              /* deleted, and its bindings and its record are gone */
    bool had_consumer : 1;          /* auto-delete waits for a first one */
    bool exclusive_consumer : 1;    /* one consumer has it alone */
    bool dispatching : 1;           /* in the broker's dispatch list */
    bool told_of_missing_exchange : 1, told_of_cycle : 1; /* by dead_letter.c, to the log */
    char octets[];                  /* the name, NUL, the arguments */
};

struct consumer {
    struct channel *channel; /* NULL once cancelled */
    struct queue *queue;     /* referenced */
    int32_t priority;
    uint32_t prefetch;       /* 0: no limit */
    uint32_t unacked;
    bool no_ack;
    bool exclusive;
    bool blocked;            /* in queue->blocked_consumers */
    bool waiting;            /* in the queue's waiting_consumers */
    bool held;               /* in channel->held (channel_room.h) */
    int64_t timeout_ms;      /* x-consumer-timeout; -1: the queue's */
    struct consumer *next, *prev; /* of the queue's list */
    struct consumer *held_next, *held_prev;
    UT_hash_handle by_tag;   /* of channel->consumers */
    uint8_t tag_bytes;
    char tag[];
};

static inline struct vhost *queue_vhost(const struct queue *queue)
{
    return queue->destination.vhost;
}

/** queue_rare() - made if it is missing; NULL: no memory */
struct queue_rare *queue_rare(struct queue *queue);

/** queue_owner() - the connection of an exclusive queue; NULL for others, and once it is gone */
static inline struct connection *queue_owner(const struct queue *queue)
{
    return queue->rare ? queue->rare->owner : NULL;
}

/** queue_is_orphan() - exclusive, and its connection has ended: being deleted, not found */
bool queue_is_orphan(const struct queue *queue);

/** queue_arguments() - as it was declared with; borrowed */
static inline struct amqp_table queue_arguments(const struct queue *queue)
{
    const char *at = queue->octets + queue->destination.name.size + 1;

    return (struct amqp_table){ (const uint8_t *)at, queue->arguments_bytes };
}

/** struct queue_properties - as declared; @name and @arguments are copied */
struct queue_properties {
    struct amqp_str name;
    bool durable, exclusive, auto_delete;
    struct connection *owner;    /* of an exclusive one */
    struct amqp_table arguments; /* checked */
    uint64_t id;                 /* on recovery; 0: a new one is taken when durable */
};

/** queue_new() - make it and add it to its vhost; nothing is stored. 0 or -ENOMEM */
int queue_new(struct vhost *vhost, const struct queue_properties *properties,
              struct queue **ret_queue);

/**
 * queue_declare() - queue.declare after permissions and name rules
 *
 * Existing: exclusivity (405) and equivalence (406). New: arguments are validated (406), then it is
 * made, and a durable one put into the open commit.
 * Spec: amqp-0-9-1.md 6.5; extensions.md 1.1, 1.2, 1.4.
 */
int queue_declare(struct vhost *vhost, const struct queue_properties *properties,
                  struct amqp_error *err, struct queue **ret_queue);

/** queue_check_access() - 405 when the queue is exclusive to another connection */
int queue_check_access(const struct queue *queue, const struct connection *connection,
                       struct amqp_error *err);

/**
 * queue_delete() - bindings, messages, consumers and the queue go
 *
 * Consumers get basic.cancel where their client understands it. The queue is hidden at once; where
 * there is much to delete, the rest follows in later turns (deletion.h).
 */
void queue_delete(struct queue *queue);

/**
 * queue_unlink(), queue_empty() - the two halves of queue_delete(): first its name, bindings and
 * record, then its consumers and messages
 *
 * Return: false when the first half takes longer than this turn; the second then follows by itself.
 */
bool queue_unlink(struct queue *queue);
void queue_empty(struct queue *queue);

/** queue_release_all() - at shutdown: free entries and the queue without touching the store */
void queue_destroy(struct queue *queue);

static inline struct queue *queue_ref(struct queue *queue)
{
    queue->refs++;
    return queue;
}

void queue_unref(struct queue *queue);

/** struct push_outcome - what queue_push() has to tell; its user clears it before the first push */
struct push_outcome {
    bool stored;  /* some entry waits for the store's open commit */
    bool paged;   /* some transient entry went to the store: nothing waits for that */
    bool refused; /* some queue was full and does not drop its head: a confirm becomes a nack */
};

/**
 * queue_push() - append a message, unless the queue is full and refuses (outcome->refused)
 * @message: a reference is taken; appended to the store's open commit when that is its first
 *           durable queue
 *
 * Return: 0 or -ENOMEM.
 */
int queue_push(struct queue *queue, struct message *message, struct push_outcome *outcome);

/** queue_push_anyway() - the same, but a full queue takes it: for what has nowhere else to go */
int queue_push_anyway(struct queue *queue, struct message *message, struct push_outcome *outcome);

/** queue_recover_entry() - add a stored entry, in order of sequence. 0 or -ENOMEM */
int queue_recover_entry(struct queue *queue, const struct store_entry *entry);

/**
 * queue_requeue() - an entry that was out comes back to its position, marked redelivered
 *
 * Without memory for it a stored entry comes back only after a restart, another is lost; logged.
 */
void queue_requeue(struct queue *queue, struct queue_entry *entry);

/** queue_settle() - an entry that was out is done with: acknowledged */
void queue_settle(struct queue *queue, struct queue_entry *entry);

/** queue_reject() - an entry that was out is not wanted: dead-lettered or dropped */
void queue_reject(struct queue *queue, struct queue_entry *entry);

/** queue_purge() - drop the ready messages, many of them in later turns; returns how many */
uint32_t queue_purge(struct queue *queue);

static inline uint32_t queue_ready_count(const struct queue *queue)
{
    return queue->ready.count;
}

/** queue_wake() - it may have something to hand out: dispatched at the end of the turn at the latest */
void queue_wake(struct queue *queue);
/** queue_dispatch() - hand out what can be handed out now, then keep limits and times */
void queue_dispatch(struct queue *queue);

/** queue_touch() - it is in use: x-expires starts again */
void queue_touch(struct queue *queue);

/** queue_settings_changed() - queue->settings is new: limits and times apply at once */
void queue_settings_changed(struct queue *queue, const struct queue_settings *old);

enum queue_take {
    QUEUE_TAKE_ENTRY, /* *ret_entry is out: counted as unacknowledged unless no_ack */
    QUEUE_TAKE_EMPTY,
    QUEUE_TAKE_WAIT,  /* the next message is being read: try again from the `fetched` call */
};

/** queue_take() - for basic.get */
enum queue_take queue_take(struct queue *queue, struct queue_entry *ret_entry);

/** queue_fetched() - a read that queue_take() or queue_dispatch() had begun has ended */
void queue_fetched(void *request, int error, struct amqp_bytes stored);

/** queue_fetch_abandon_all() - at shutdown: nobody will tell of the reads under way */
void queue_fetch_abandon_all(struct broker *broker);

struct consumer_properties {
    struct amqp_str tag;
    bool no_ack, exclusive;
    int32_t priority;
    uint32_t prefetch;
    int64_t timeout_ms; /* x-consumer-timeout; -1 without */
};

/** consumer_new() - add a consumer to queue and channel; 403 for exclusive use; -ENOMEM */
int consumer_new(struct channel *channel, struct queue *queue,
                 const struct consumer_properties *properties, struct amqp_error *err,
                 struct consumer **ret_consumer);

/**
 * consumer_cancel() - it gets nothing more; its unacknowledged deliveries stay with the channel
 *
 * An auto-delete queue that loses its last consumer is deleted by queue_after_cancel(), which the
 * caller calls when its answer has been sent.
 */
void consumer_cancel(struct consumer *consumer);
void queue_after_cancel(struct queue *queue);


/** consumer_release_delivery() - one of its deliveries has been settled; may free a cancelled one */
void consumer_release_delivery(struct consumer *consumer);

#endif
