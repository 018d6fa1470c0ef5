/*
 * broker.h - the whole of it: vhosts, users, the store, and the turn of the loop
 *
 * Driven, never driving. A turn: broker_begin(time); frames are given to connections; then
 * broker_end() hands messages to consumers, seals the store's open commit when somebody waits for
 * it, and sends the confirms that are due. Whoever drives writes out after that, so a confirm can
 * never overtake its sync. When the store has news, store_poll() is called inside a turn.
 *
 * No I/O, no clock, no locks: everything here belongs to one thread.
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "amqp/base.h"
#include "amqp/reply.h"
#include "auth/auth.h"
#include "broker/deletion.h"
#include "broker/parameters.h"
#include "broker/route.h"
#include "broker/timers.h"
#include "broker/vhost.h"
#include "store/store.h"

struct channel;
struct connection;
struct dead_letter;
struct direct_reply;
struct fetch;
struct task;
struct waiting_frame;

/** struct broker_settings - copied by broker_new(); strings borrowed for the broker's life */
struct broker_settings {
    const char *product;       /* "RabbitMQ" by default: kombu and others ask for the word */
    const char *version;       /* what clients are told: a RabbitMQ version */
    const char *cluster_name;
    const char *node_name;
    uint16_t channel_max;      /* 0: no limit */
    uint32_t frame_max;        /* octets; 0: no limit */
    uint16_t heartbeat_s;
    uint32_t handshake_frame_bytes;
    uint32_t message_bytes_max;
    uint32_t consumers_per_channel_max; /* 0: no limit */
    uint64_t consumer_timeout_ms;       /* unacknowledged deliveries; 0: never */
    uint32_t resident_messages_max;     /* of a queue, before stored ones leave memory; 0: BOUND_ */
    uint64_t resident_bytes_max;        /* the same for octets; 0: BOUND_RESIDENT_BYTES */
    uint64_t queue_memory_max;          /* octets of messages in memory, of a queue; then they leave
                                           it, stored or not; 0: BOUND_QUEUE_MEMORY_BYTES */
    uint32_t discards_max;              /* of a queue, being read; 0: BOUND_DISCARDS */
    uint32_t work_a_turn;               /* in units of task.h; 0: BOUND_WORK_A_TURN */
    uint32_t tx_messages_max;           /* of a transaction, for each queue; 0: no limit */
    uint64_t tx_bytes_max;              /* of their bodies and properties; 0: no limit */
    const char *default_queue_type;     /* where vhost and client name none; NULL: classic */
    uint64_t connections_max, channels_max; /* of the node; 0: no limit, as in all of these */
    uint64_t vhosts_max, queues_max, exchanges_max, bindings_max;
    const char *mechanisms;             /* offered to clients; NULL: all of SASL_MECHANISMS */
    enum auth_hashing password_hashing; /* of new passwords, unless they say which; not MD5 */
    bool (*is_loopback_user)(const void *context, const char *user);
    const void *loopback_context;
    void (*log)(void *context, int level, const char *text); /* enum broker_log; never on hot paths */
    void *log_context;
};

enum broker_log { BROKER_LOG_DEBUG, BROKER_LOG_INFO, BROKER_LOG_WARNING, BROKER_LOG_ERROR };

enum broker_alarm {
    BROKER_ALARM_MEMORY = 1, /* "low on memory" */
    BROKER_ALARM_DISK = 2,   /* "low on disk" */
    BROKER_ALARM_STORE = 4,  /* writes fail: also told as "low on disk" */
};

/** struct gather - publishers that have just been confirmed are given time to publish again */
struct gather {
    uint32_t open_waits;   /* publishes that wait for the open commit */
    uint32_t sealed_waits; /* and for the one that is being synced */
    uint32_t expected;     /* seal when so many wait; 0: not gathering */
    uint32_t limit_us;     /* or when the first of them has waited so long */
    uint64_t since_ms;
    uint64_t sync_us_total; /* as the store had it at the last commit */
    uint32_t rests, rests_next; /* commits not to gather for, as gathering did not pay */
};

struct broker {
    struct broker_settings settings;
    struct store *store;       /* borrowed; NULL until broker_attach_store() */
    struct auth *auth;         /* owned */
    struct vhost *vhosts;      /* uthash by_name */
    struct parameters parameters; /* policies too; read them with parameters.h */
    struct connection *connections; /* list */
    uint32_t connection_count; /* without those that are closing */
    uint64_t now_ms;           /* monotonic, as given */
    uint64_t turn;             /* counts broker_begin() */
    uint64_t wall_ms;          /* milliseconds since 1970, as given */
    unsigned alarms;           /* enum broker_alarm bits */
    bool paging;               /* memory is low: queues keep few messages in it */
    uint64_t grown_bytes;      /* allocated since memory was looked at (memory.h) */
    void (*look_at_memory)(void *context); /* NULL: nobody watches */
    void *look_at_memory_context;
    struct route route;        /* scratch for the publish being routed */
    uint64_t route_generation;      /* of the last publish: see destination.visited */
    uint64_t topology_generation;   /* moves when a queue, exchange or permission goes away */
    /* everything below belongs to the broker's own files */
    struct queue *dispatch_first, *dispatch_last; /* queues with something to hand out */
    struct channel *offer_first;    /* with room for held consumers (channel_room.h) */
    struct channel *confirm_first;  /* channels with confirms to send at the end of the turn */
    struct channel *waiting_first;  /* channels that wait for a commit */
    uint64_t durable_commit;        /* every commit up to here is on disk */
    bool commit_wanted;             /* somebody waits for the open commit */
    struct gather gather;
    uint64_t open_since_ms;         /* when the open commit got its first change; 0: empty */
    struct timers timers;           /* queues' deadlines, by now_ms */
    size_t dead_letter_work;   /* done in this turn */
    int64_t work_left;         /* what methods and tasks may still do in this turn (task.h) */
    uint32_t hand_outs_left;   /* the same for deliveries, and entries given up for limits */
    struct task *tasks;        /* list: what goes on in the next turns */
    uint32_t task_count;
    unsigned seal_holds;       /* transactions of which a part is in the open commit */
    struct deletions deletions;
    uint32_t orphaning_count;  /* connections that have ended and have exclusive queues left */
    struct waiting_frame *waiting_frames; /* for the end of deletions (connection_wait.c) */
    struct fetch *fetches;     /* reads under way (queue_fetch.c) */
    struct dead_letter *dead_letters, *dead_letters_last; /* noted, to be routed (dead_letter.h) */
    struct route dead_letter_route; /* scratch, for dead letters */
    struct direct_reply *direct_replies; /* uthash by token (direct_reply.h) */
    struct timer consumer_timer;    /* looks for unacknowledged deliveries that are overdue */
    uint64_t consumer_look;         /* number of the look, which may take several turns */
    uint64_t consumer_timeout_ms;   /* smallest that is in force anywhere; UINT64_MAX: none */
    unsigned policy_sweeps;         /* vhosts where a change of policies is being applied */
    uint64_t policy_work;           /* spent on finding policies, to measure slices with */
    uint64_t unknown_arguments[BOUND_UNKNOWN_ARGUMENTS]; /* hashes of names the log has heard of */
    unsigned unknown_argument_count;
    char *cluster_name;             /* of the global parameter; NULL: as configured */
    const char *configured_cluster_name;
    bool store_held_back;           /* some publisher waits for the store, or for dead letters */
    uint64_t messages_published, messages_delivered, messages_acknowledged;
};

/** broker_new() - an empty broker: no vhosts, no users. 0 or -ENOMEM */
int broker_new(const struct broker_settings *settings, struct broker **ret_broker);
/** broker_free() - connections must be gone; the store is not closed */
void broker_free(struct broker *broker);

/** broker_store_events - give to store_open() with the broker as context */
extern const struct store_events broker_store_events;

/** broker_attach_store() - recover everything from @store; 0 or -errno; @error_text says why */
int broker_attach_store(struct broker *broker, struct store *store, char *error_text,
                        size_t error_text_size);

/** broker_is_blank() - no vhost and no user: the database is new */
bool broker_is_blank(const struct broker *broker);

void broker_begin(struct broker *broker, uint64_t now_ms, uint64_t wall_ms);
/**
 * broker_end() - end of a turn
 *
 * Return: milliseconds until broker_end() wants to be called again without any event (an open
 *         commit that nobody waits for), or -1.
 */
int broker_end(struct broker *broker);

/**
 * broker_set_paging() - memory is getting low, or is not any more
 *
 * While it is, messages that come to a queue that is not short leave memory, transient ones too.
 * Those that are there already stay. Source: RabbitMQ's vm_memory_high_watermark_paging_ratio.
 */
void broker_set_paging(struct broker *broker, bool low);

/**
 * broker_watch_memory() - call @look after every BOUND_MEMORY_LOOK_BYTES that messages have taken
 *
 * It is called from within the handling of a frame or of a queue, and may call broker_set_paging()
 * and raise an alarm, which blocks the publisher of that very frame; it may clear none.
 */
void broker_watch_memory(struct broker *broker, void (*look)(void *context), void *context);

/**
 * broker_give_up_unfinished() - close connections whose unfinished messages fill memory
 * @keep_bytes: of all of them together, may stay
 *
 * Those that hold most, with 506, a few a call; not from within a call of the broker.
 *
 * Return: true when there are more to close: call it again soon.
 */
bool broker_give_up_unfinished(struct broker *broker, uint64_t keep_bytes);

/**
 * broker_gather_us() - how long a gathering may keep those who wait; 0: there is none, or nobody
 *
 * Asked after broker_end(). The caller then has a turn in which it calls broker_gather_over(),
 * unless broker_gather_us() has become 0 meanwhile. A caller without so fine a clock may do nothing.
 */
uint32_t broker_gather_us(const struct broker *broker);
void broker_gather_over(struct broker *broker);

/**
 * broker_dispatch() - hand out now what would be at the end of the turn
 *
 * For methods whose effect must come after that of earlier ones on the queues: what an
 * acknowledgement made room for is delivered before a basic.cancel behind it is answered.
 */
void broker_dispatch(struct broker *broker);

/** broker_set_alarm() - raise or clear one alarm: publishers are blocked while any is raised */
void broker_set_alarm(struct broker *broker, enum broker_alarm alarm, bool raised);

/** broker_has_users() - at least one */
bool broker_has_users(const struct broker *broker);
/** broker_free_parameters() - policies and parameters, in memory only */
void broker_free_parameters(struct broker *broker);

struct vhost *broker_find_vhost(const struct broker *broker, struct amqp_str name);

/* Changes to what is configured: in memory and in the open commit. 0 or -errno. */
/** broker_put_vhost() - -EDQUOT, and a line in the log, past vhosts_max */
int broker_put_vhost(struct broker *broker, struct amqp_str name, struct amqp_table metadata,
                     struct vhost **ret_vhost);
int broker_put_user(struct broker *broker, const char *name, enum auth_hashing hashing,
                    const char *hash, const char *tags, int64_t max_connections, int64_t max_channels);
int broker_put_permissions(struct broker *broker, const char *user, const char *vhost,
                           const char *configure, const char *write, const char *read,
                           char *error_text, size_t error_text_size);
int broker_put_topic_permissions(struct broker *broker, const char *user, const char *vhost,
                                 const char *exchange, const char *write, const char *read,
                                 char *error_text, size_t error_text_size);
/**
 * broker_put_policy(), broker_put_parameter(), broker_put_global_parameter() - set one
 * @json:       its value; kept
 * @error_text: what is wrong with it, one line each, in the words that RabbitMQ puts behind
 *              "Validation failed"
 *
 * In effect at once; for queues and exchanges that exist, within policy_apply_some().
 *
 * Return: 0; -EINVAL or -ENOENT (no such vhost) with a text, and nothing is changed; -ENOMEM.
 */
int broker_put_policy(struct broker *broker, const char *vhost, const char *name, const char *json,
                      char *error_text, size_t error_text_size);
int broker_put_parameter(struct broker *broker, const char *vhost, const char *component,
                         const char *name, const char *json, char *error_text,
                         size_t error_text_size);
int broker_put_global_parameter(struct broker *broker, const char *name, const char *json,
                                char *error_text, size_t error_text_size);
/** broker_check_parameter() - whether one of these would be refused, and why; nothing is changed */
int broker_check_parameter(struct broker *broker, const struct parameter_key *key,
                           const char *json, char *error_text, size_t error_text_size);
/** The opposite; -ENOENT when there is none */
int broker_delete_policy(struct broker *broker, const char *vhost, const char *name);
int broker_delete_parameter(struct broker *broker, const char *vhost, const char *component,
                            const char *name);
int broker_delete_global_parameter(struct broker *broker, const char *name);

void broker_log(const struct broker *broker, enum broker_log level, const char *format, ...)
    PRINTF_LIKE(3, 4);

#endif
