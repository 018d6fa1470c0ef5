/*
 * queue_settings.h - what a queue's arguments and the policies that match it come to
 *
 * Compiled once, when the queue is made, and again when a policy changes; hot paths read only this.
 * Queues without any share one constant.
 * Spec: extensions.md 1.3, 5.2, 5.3.
 */
#ifndef BROKER_QUEUE_SETTINGS_H
#define BROKER_QUEUE_SETTINGS_H

#include "amqp/base.h"
#include "amqp/table.h"

struct queue;
struct policy;

enum queue_type {
    QUEUE_TYPE_CLASSIC,
    QUEUE_TYPE_QUORUM,
};

enum queue_overflow {
    QUEUE_OVERFLOW_DROP_HEAD,
    QUEUE_OVERFLOW_REJECT_PUBLISH,
    QUEUE_OVERFLOW_REJECT_PUBLISH_DLX,
};

struct queue_settings {
    int64_t message_ttl_ms;      /* -1: none, as in all of these */
    int64_t expires_ms;
    int64_t max_length;
    int64_t max_length_bytes;
    int64_t delivery_limit;
    int64_t consumer_timeout_ms; /* -1: the broker's; 0: never */
    enum queue_type type;
    enum queue_overflow overflow;
    uint8_t max_priority;        /* 0: no priorities */
    bool single_active;
    bool dead_letters;           /* there is a dead-letter exchange; its name may be empty */
    bool has_dead_letter_key;
    struct amqp_str dead_letter_exchange; /* these two are owned by the settings */
    struct amqp_str dead_letter_key;
    bool limited;                /* max_length or max_length_bytes is set */
    const struct policy *policy, *operator_policy; /* for management; NULL: none */
};

extern const struct queue_settings queue_settings_default;

/** queue_settings_compile() - from queue->arguments and the vhost's policies. 0 or -ENOMEM */
int queue_settings_compile(const struct queue *queue, const struct queue_settings **ret_settings);

/** queue_settings_equal() - whether they have the same effect, whichever policies they are from */
bool queue_settings_equal(const struct queue_settings *a, const struct queue_settings *b);

/** queue_settings_free() - NULL and the default are fine */
void queue_settings_free(const struct queue_settings *settings);

#endif
