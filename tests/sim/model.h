/*
 * model.h - what a broker is, written down as plainly as possible
 *
 * A second, naive broker: arrays, lists and loops over all of them, made from the rules of AMQP
 * and not from the broker's code. It follows a history step by step. What a client does is applied
 * here first; then the real broker is asked, and each of its answers is held against the model
 * (accept.c) before it changes the model in turn. So where the rules leave a choice, as in which of
 * two queues is served first, the model takes the broker's; where they do not, any other answer
 * fails. What no client is told of, as that a message expires, is an answer too (watch.h): the
 * broker says when, the model whether it may, and at the end of a turn whether it should have.
 *
 * Every change that should survive is also told to a journal (journal.h) with the number of the
 * commit that it is part of. A crash is the model made again from the journal.
 *
 * To extend: a new property of queues or messages goes into the structs below (an argument or a key
 * of policies into model_settings.h) and into the `journal` when it is durable; its operations into
 * a row of ops.c, or a FEATURE of the histories that have it; its effect on answers into accept.c,
 * and on what happens silently into model_discard.c.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "broker/connection.h"
#include "broker/dead_letter.h"
#include "history.h"
#include "journal.h"
#include "model_settings.h"
#include "random.h"

enum {
    MODEL_CONNECTIONS = 4,
    MODEL_CHANNELS = 3, /* of a connection */
    MODEL_FRAME_BYTES = 512,
    MODEL_EXPECTED = 8,
    MODEL_CANCELS = 64,
    MODEL_LARGE_BYTES = 8 * 1024 * 1024, /* of the open commit: publishers may have to wait */
};

/* Something that made a message a dead letter: which queue gave it up, and why. */
struct m_event {
    char exchange[MODEL_NAME_BYTES], queue[MODEL_NAME_BYTES];
    enum dead_letter_reason reason;
};

/* An element of x-death. */
struct m_death {
    struct m_event event;
    enum dead_letter_reason reason;
    int64_t count;
    uint64_t time_s; /* of the first one */
    char key[MODEL_NAME_BYTES];
    int64_t expiration_ms;
};

struct m_past {
    struct m_event first, last;
    size_t n_deaths;
    struct m_death deaths[]; /* the newest first */
};

struct m_message {
    uint32_t id;
    char exchange[MODEL_NAME_BYTES], routing_key[MODEL_NAME_BYTES];
    bool persistent;
    uint8_t priority;
    int64_t expiration_ms; /* -1: none */
    uint8_t properties[32]; /* raw */
    size_t properties_bytes;
    size_t body_bytes;
    struct m_past *past; /* of a dead letter; else NULL */
};

enum m_seen { SEEN_NEVER, SEEN_BEFORE, SEEN_UNKNOWN };

struct m_entry {
    uint64_t sequence;
    struct m_message *message;
    bool out;              /* with a consumer, or got: not acknowledged */
    bool stored;           /* persistent in a durable queue */
    bool paged;            /* in the store, but only for want of memory */
    bool cold;             /* not handed out since it came: the broker may have to read it */
    bool handed;           /* has been out at least once in its life */
    uint64_t expires_ms;   /* wall clock: not gone before; 0: never */
    uint64_t gone_ms;      /* gone at the end of a turn at this time, never handed out after it */
    enum m_seen redelivered;
    uint8_t level;         /* priority in this queue */
    uint32_t returned;     /* how often it has come back */
};

struct m_queue {
    uint32_t id;
    char name[MODEL_NAME_BYTES];
    bool durable, exclusive, auto_delete;
    bool had_consumer;
    uint32_t active;          /* id of the single active consumer; 0: none */
    struct m_settings given;  /* arguments of queue.declare */
    struct m_settings settings; /* and what policies make of them */
    uint64_t used_ms;         /* by the monotonic clock: x-expires counts from here */
    unsigned long waits;      /* polls + 1 when a message that was being read has gone: the end
                                 of the read wakes the queue */
    struct m_connection *owner;
    struct m_entry *entries; /* ready and out ones, by sequence */
    size_t n_entries, capacity;
    struct m_queue *next, *prev;
};

struct m_exchange {
    char name[MODEL_NAME_BYTES];
    const char *type;
    bool durable, auto_delete, internal;
    char given_alternate[MODEL_NAME_BYTES]; /* argument of exchange.declare */
    char alternate[MODEL_NAME_BYTES];       /* that, or the one by policy */
    bool visited;
    struct m_exchange *next, *prev;
};

struct m_binding {
    char source[MODEL_NAME_BYTES], destination[MODEL_NAME_BYTES], key[MODEL_NAME_BYTES];
    bool to_exchange;
    bool durable;
    struct m_binding *next, *prev;
};

struct m_consumer {
    uint32_t id;
    char tag[MODEL_NAME_BYTES];
    struct m_channel *channel;
    struct m_queue *queue;
    bool no_ack, exclusive;
    bool awaits_ok;       /* consume-ok is due: nothing may be delivered yet */
    int32_t priority;
    uint32_t prefetch, unacked;
    bool was_able;
    uint64_t turn_low, turn_high; /* since when it waits for its turn: between these two stamps */
    struct m_consumer *next, *prev;
};

struct m_delivery {
    uint64_t tag;
    uint32_t queue; /* id */
    uint64_t sequence;
    uint32_t consumer; /* id; 0: basic.get */
    bool counted;      /* against the prefetch limit of the channel */
};

enum m_settle { SETTLE_ACK_IT, SETTLE_DROP_IT, SETTLE_REQUEUE_IT };

struct m_tx_publish {
    struct m_message *message;
    uint32_t queues[16]; /* ids */
    unsigned n_queues;
    bool mandatory;
};

struct m_tx_settlement {
    struct m_delivery delivery;
    enum m_settle how;
};

enum m_channel_state { CHANNEL_IS_CLOSED, CHANNEL_IS_OPEN, CHANNEL_IS_CLOSING };
enum m_channel_mode { MODE_PLAIN, MODE_CONFIRM, MODE_TX };

struct m_publish { /* a content on its way */
    struct m_message *message; /* NULL: none */
    bool mandatory, immediate;
    bool started; /* basic.publish and the header have been sent */
    size_t sent_bytes;
};

struct m_confirm {
    uint64_t commit; /* that it waits for; 0: none */
    bool refused;    /* basic.nack, because a queue was full */
};

struct m_channel {
    struct m_connection *connection;
    uint16_t number;
    enum m_channel_state state;
    uint64_t opened; /* when: a stamp */
    enum m_channel_mode mode;
    bool flow;
    uint16_t prefetch_default, prefetch_global;
    bool had_to_wait; /* for room, perhaps earlier: its consumers' turns are the channel's affair */
    uint32_t global_unacked;
    uint64_t unseen_turn, unseen_tag; /* the first tag delivered in its last turn with deliveries */
    uint64_t next_delivery_tag;
    struct m_delivery *deliveries; /* by tag */
    size_t n_deliveries, deliveries_capacity;
    struct m_tx_publish *tx_publishes;
    size_t n_tx_publishes, tx_publishes_capacity;
    struct m_tx_settlement *tx_settlements;
    size_t n_tx_settlements, tx_settlements_capacity;
    struct m_confirm *confirms; /* of publish i + 1 */
    size_t n_confirms, confirms_capacity, n_confirmed;
    uint64_t commits[4];   /* tx.commit that wait for commit-ok: commit of the store; 0: none */
    unsigned n_commits;
    char last_queue[MODEL_NAME_BYTES];
    bool gets;             /* a basic.get waits... */
    uint32_t get_queue;    /* ...for this queue (id) */
    bool get_no_ack;
    bool get_waits;        /* it is known to wait for a read */
    struct m_publish content;
    /* what the broker owes right now */
    char cancels[MODEL_CANCELS][MODEL_NAME_BYTES]; /* basic.cancel, in any order */
    unsigned n_cancels;
    struct m_message *returns[64];
    unsigned n_returns;
    size_t return_tag; /* of the publish whose return is due; several only of a transaction */
};

enum m_connection_state { CONNECTION_IS_GONE, CONNECTION_IS_NEW, CONNECTION_IS_OPEN,
                          CONNECTION_IS_CLOSING };

struct m_connection {
    struct sim *sim;
    unsigned number;
    struct connection *real;
    enum m_connection_state state;
    uint32_t handshake;     /* id of the method that the broker has just sent */
    bool knows_cancel, knows_blocked;
    bool congested;
    bool paused;            /* the broker does not want to read */
    bool published;         /* content has been sent since the store stalled */
    bool told_blocked;
    bool closed;            /* the broker has said that it is done with the socket */
    struct m_channel channels[MODEL_CHANNELS];
};

struct expected {
    struct m_channel *channel; /* NULL: the connection itself, of @connection */
    struct m_connection *connection;
    uint8_t frame[MODEL_FRAME_BYTES];
    size_t frame_bytes;
};

/* A message on its way into a queue: the broker says when it is there (watch.h). */
struct m_arrival {
    struct m_message *message;
    uint32_t queue; /* id */
};

/* All that comes of one publish, one tx.commit or one dead letter. */
struct m_arrivals {
    struct m_arrival *list; /* in order of messages; the queues of one in any order */
    size_t count, capacity;
    struct m_channel *channel;
    void (*done)(struct sim *sim, struct m_channel *channel); /* what follows the last one */
    bool stored, refused;   /* some of them */
    struct m_message *refused_last;
};

/* The broker has put a message into a queue, or refused to. */
struct m_arrived {
    const char *queue;
    uint64_t sequence; /* the broker's choice: larger than those in the queue */
    uint32_t message;  /* id */
    bool refused;
    uint64_t heavy_bytes; /* of heavy messages that the broker has in memory (see audit.c) */
    bool anyway; /* it is a dead letter that was refused just before, and is taken all the same */
};

/* A message leaves a queue though no client has asked for it. */
struct m_discard {
    const void *real;  /* the broker's queue */
    const char *queue;
    uint64_t sequence;
    enum dead_letter_reason reason;
    bool at_once;     /* the broker has the message in memory */
    bool deleted;      /* the queue has been deleted meanwhile */
};

/* A message that has left its queue and is to be published again. */
struct m_letter {
    const void *real;    /* the broker's queue, while @waiting */
    bool waiting;        /* the broker reads it, or one that left before it */
    uint32_t queue;      /* id of the queue it leaves */
    char queue_name[MODEL_NAME_BYTES];
    struct m_settings settings; /* of that queue */
    struct m_entry entry; /* sequence 0: it was refused, not in the queue */
    enum dead_letter_reason reason;
    struct m_letter *next, *prev;
};

/* What can only be said once the broker has handed out what it can: counts. */
struct call {
    bool (*resolve)(struct sim *sim, struct call *call); /* NULL: none is open */
    struct m_channel *channel;
    union amqp_method method;
    char queue[MODEL_NAME_BYTES];
    struct m_settings settings; /* of a new queue */
};

struct sim {
    struct history history;
    struct random random;
    unsigned mistakes;      /* percent of the choices of this history that are wrong on purpose */
    unsigned weights[64];   /* of the operations in this history (ops.c) */
    unsigned features;      /* enum feature: what else it is about */
    unsigned burst;         /* messages in a row at most, when some are published in a row */
    uint32_t resident_messages, resident_bytes; /* of a queue; more of them leave memory */
    uint64_t queue_memory;                      /* the same, of what is not stored too */
    uint32_t discards;                          /* of a queue, being read */
    uint32_t work;                              /* of methods and tasks, in a turn */
    /* the real thing (world.c) */
    struct store_disk *disk;
    struct store *store;
    struct broker *broker;
    char *password_hash;
    uint64_t clock_ms;
    uint64_t durable;     /* commits that the store has reported */
    unsigned late_writes; /* commits after those that are on the disk all the same */
    bool late_failures;   /* failing writes reach the disk */
    bool held;
    bool stalled;
    bool in_turn;
    uint64_t turn;
    bool large;           /* the open commit has been */
    bool recovers;        /* queues whose deletion had begun are there until it has ended */
    bool deaf;            /* the broker is being dropped: its last words do not count */
    unsigned long events; /* that have come from store and broker */
    unsigned long polls;  /* how often the store has reported what has ended */
    /* the model */
    struct journal journal;
    struct m_connection connections[MODEL_CONNECTIONS];
    struct m_exchange *exchanges;
    struct m_queue *queues;
    struct m_binding *bindings;
    struct m_consumer *consumers;
    struct m_policy *policies;
    uint32_t next_queue_id, next_consumer_id;
    uint64_t stamp;
    struct m_message **messages; /* by id */
    size_t n_messages, messages_capacity;
    struct expected expected[MODEL_EXPECTED];
    unsigned n_expected;
    struct call call;
    bool paging;                 /* memory is low: transient messages may leave it */
    struct m_arrivals arrivals;
    struct m_connection *closing;
    unsigned expired_returns;    /* given back after their time; the broker is about to say so */
    struct m_letter *letters;    /* in the order in which they were noted */
    struct m_message **copies;   /* that are dead letters */
    size_t n_copies, copies_capacity;
};

/** sim_grow() - make room for one more element of a growing array */
void *sim_grow(void *array, size_t count, size_t *capacity, size_t element_bytes);
/** sim_duplicate() - the same octets in memory of their own; never NULL */
void *sim_duplicate(const void *data, size_t size);
/** sim_copy() - keep a name; one that is too long is a failure of the run */
void sim_copy(struct sim *sim, char out[MODEL_NAME_BYTES], struct amqp_str name);

/* ---- model.c: exchanges, queues, consumers ---- */

void model_begin(struct sim *sim);
void model_end(struct sim *sim);
/** model_rebuild() - after a crash: nothing but what the journal holds */
void model_rebuild(struct sim *sim);

struct m_exchange *model_exchange(struct sim *sim, const char *name);
struct m_exchange *model_add_exchange(struct sim *sim, const struct m_exchange *like);
void model_delete_exchange(struct sim *sim, struct m_exchange *exchange);
struct m_queue *model_queue(struct sim *sim, const char *name);
struct m_queue *model_queue_by_id(struct sim *sim, uint32_t id);
struct m_queue *model_add_queue(struct sim *sim, const struct m_queue *like);
void model_delete_queue(struct sim *sim, struct m_queue *queue);
struct m_binding *model_binding(struct sim *sim, const struct m_binding *like);
void model_add_binding(struct sim *sim, const struct m_binding *like);
void model_remove_binding(struct sim *sim, struct m_binding *binding);

uint32_t queue_ready(const struct m_queue *queue);
uint64_t queue_ready_bytes(const struct m_queue *queue);
uint32_t model_consumer_count(struct sim *sim, const struct m_queue *queue);
/** model_head() - the oldest ready one of the highest priority, or NULL */
struct m_entry *model_head(struct m_queue *queue);
struct m_entry *model_entry(struct m_queue *queue, uint64_t sequence);
/** model_take_entry() - it leaves the queue, but not the disk */
void model_take_entry(struct m_queue *queue, struct m_entry *entry);
void model_remove_entry(struct sim *sim, struct m_queue *queue, struct m_entry *entry);
void model_purge(struct sim *sim, struct m_queue *queue);
/** model_use_queue() - it was declared, got from, or has lost its last consumer */
static inline void model_use_queue(const struct sim *sim, struct m_queue *queue)
{
    queue->used_ms = sim->clock_ms;
}
/** model_expire_queues() - a turn is about to end: those that nobody has used go */
void model_expire_queues(struct sim *sim);

struct m_consumer *model_consumer(struct sim *sim, const struct m_channel *channel,
                                  const char *tag);
struct m_consumer *model_add_consumer(struct sim *sim, const struct m_consumer *like);
/** model_remove_consumer() - and its queue, if that is auto-delete and this was the last */
void model_remove_consumer(struct sim *sim, struct m_consumer *consumer);
/** model_able() - prefetch, flow and socket allow a delivery */
bool model_able(const struct m_consumer *consumer);
/** model_refresh() - note whose turn may have changed because it became able */
void model_refresh(struct sim *sim);

/* ---- model_channel.c: deliveries, settling, transactions, closing ---- */

/** model_deliver() - the entry goes out on a channel, to @consumer or (NULL) a basic.get */
void model_deliver(struct sim *sim, struct m_channel *channel, struct m_consumer *consumer,
                   struct m_queue *queue, struct m_entry *entry, bool no_ack);
/** model_settle() - false for an unknown delivery tag */
bool model_settle(struct sim *sim, struct m_channel *channel, uint64_t tag, bool multiple,
                  enum m_settle how);
/** model_last_seen() - the highest tag that tag 0, and basic.recover, stand for */
uint64_t model_last_seen(const struct sim *sim, const struct m_channel *channel);
void model_recover(struct sim *sim, struct m_channel *channel, uint64_t last);
void model_set_global_prefetch(struct m_channel *channel, uint16_t count);
/** model_settle_now() - whatever the mode of the channel, of which @delivery is none any more */
void model_settle_now(struct sim *sim, struct m_channel *channel,
                      const struct m_delivery *delivery, enum m_settle how);
void model_rollback(struct m_channel *channel);
/** model_open_channel() - as new */
void model_open_channel(struct sim *sim, struct m_channel *channel);
/** model_close_channel() - give everything back; the caller sets the state */
void model_close_channel(struct sim *sim, struct m_channel *channel);
/**
 * model_close_connection() - its channels and exclusive queues go
 *
 * One by one, in the order in which the channels were opened: after each of them its dead letters
 * are published, which the others still see.
 */
void model_close_connection(struct sim *sim, struct m_connection *connection);
/** model_go_on_closing() - the dead letters of a channel have been published */
void model_go_on_closing(struct sim *sim);
/** model_deliverable() - a consumer that should have the queue's first message by now, or NULL */
struct m_consumer *model_deliverable(struct sim *sim, struct m_queue *queue);
void model_raise(struct sim *sim, struct m_channel *channel, int code, uint32_t method_id,
                 const char *format, ...) PRINTF_LIKE(5, 6);

/* ---- model_publish.c: into the queues ---- */

void model_publish(struct sim *sim, struct m_channel *channel, const struct m_publish *publish);
void model_commit(struct sim *sim, struct m_channel *channel);
/** model_expect_arrival() - the message must come to that queue, unless it is gone: then false */
bool model_expect_arrival(struct sim *sim, struct m_message *message, uint32_t queue);
void model_arrive(struct sim *sim, const struct m_arrived *arrived);

/* ---- model_discard.c: out of the queues, or not even in ---- */

/** queue_is_over() - whether a limit is passed, with @count and @bytes more */
bool queue_is_over(const struct m_queue *queue, uint32_t count, uint64_t bytes);

/** sim_wall_ms() - the wall clock that the broker is given */
static inline uint64_t sim_wall_ms(const struct sim *sim)
{
    return UINT64_C(1700000000000) + sim->clock_ms;
}

/** model_discard() - the broker gives up a message */
void model_discard(struct sim *sim, const struct m_discard *discard);
/** model_check_kept() - at the end of a turn: nothing is left that should have gone */
void model_check_kept(struct sim *sim);

/* ---- model_policy.c ---- */

/** model_effective() - what arguments and policies come to for a queue */
void model_effective(struct sim *sim, const struct m_queue *queue, struct m_settings *ret_settings);
/** model_apply_to_exchange() - find the alternate exchange that it has by policy */
void model_apply_to_exchange(struct sim *sim, struct m_exchange *exchange);
/** model_apply_to_exchanges() - a turn is about to end */
void model_apply_to_exchanges(struct sim *sim);
/** model_settings_changed() - the broker has brought a queue up to date */
void model_settings_changed(struct sim *sim, const char *queue);
/** model_check_policies() - at the end of a turn: every queue is up to date */
void model_check_policies(struct sim *sim);
/* Of a list: those in force, or those on the disk. */
struct m_policy *model_policy(struct m_policy *policies, const char *name);
void model_put_policy(struct m_policy **policies, const struct m_policy *like);
void model_delete_policy(struct m_policy **policies, const struct m_policy *like);
void model_drop_policies(struct m_policy **policies);

/* ---- model_dead_letter.c ---- */

/** model_give_up() - an entry has left the queue: to be dead-lettered, or settled */
void model_give_up(struct sim *sim, struct m_queue *queue, const struct m_letter *like);
/** model_letter_ready() - if it is a letter that waits, it does not any more */
void model_letter_ready(struct sim *sim, const void *real, uint64_t sequence);
/** model_letter_dropped() - if it is a letter that waits, it goes nowhere */
void model_letter_dropped(struct sim *sim, const void *real, uint64_t sequence, bool deleted);
/** model_letter_waits() - a letter that was given up by a client has to wait */
void model_letter_waits(struct sim *sim, const struct m_discard *discard);
/** model_letters_forget() - the queue goes, and those that are being read with it */
void model_letters_forget(struct sim *sim, const struct m_queue *queue);
/** model_letters_begin(), model_letters_end() - around the publishing of all that are noted */
void model_letters_begin(struct sim *sim);
void model_letters_end(struct sim *sim);
/** model_dead_letter() - the broker publishes one again */
void model_dead_letter(struct sim *sim, uint32_t id, const struct dead_letter_event *event);
/** model_letters_drop() - after a crash: those on the disk are back in their queues */
void model_letters_drop(struct sim *sim);

/* ---- model_route.c ---- */

/** model_route() - ids of the queues that a message goes to */
unsigned model_route(struct sim *sim, struct m_exchange *exchange, const char *key,
                     uint32_t ret_queues[16]);

/* ---- accept.c: the broker's answers ---- */

/** expect_method() - the broker must send exactly this next on the channel */
void expect_method(struct sim *sim, struct m_channel *channel, const void *method);
void expect_on_connection(struct sim *sim, struct m_connection *connection, const void *method);
/** accept_begin(), accept_end() - around what a client does: everything owed has come */
void accept_end(struct sim *sim);
/** accept_turn_end() - after broker_end(): nothing that could have been done is left */
void accept_turn_end(struct sim *sim);
/** accept_quiet() - after the store has caught up: nobody waits any more */
void accept_quiet(struct sim *sim);
extern const struct channel_ops accept_ops;

/* ---- accept_properties.c ---- */

/**
 * accept_properties() - @raw must be what the message has now
 * @returned: what x-delivery-count must say; 0: it must not be there
 */
void accept_properties(struct sim *sim, struct amqp_bytes raw, const struct m_message *known,
                       uint32_t returned);

#endif
