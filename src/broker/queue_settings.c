/*
 * queue_settings.c - arguments become settings
 *
 * queue_arguments_check() has seen the arguments of every queue that a client declares. Those of an
 * imported definitions file were not checked, so each value is taken only if it has the right type
 * and range. A quorum queue has a delivery limit of 20 unless told otherwise.
 */
#include "broker/queue_settings.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/queue.h"

enum { QUORUM_DELIVERY_LIMIT = 20 };

const struct queue_settings queue_settings_default = {
    .message_ttl_ms = -1,
    .expires_ms = -1,
    .max_length = -1,
    .max_length_bytes = -1,
    .delivery_limit = -1,
    .consumer_timeout_ms = -1,
};

static void take_number(struct amqp_table arguments, const char *name, int64_t *number)
{
    struct amqp_value value;

    if (amqp_table_get(arguments, amqp_str_from(name), &value) && amqp_value_is_integer(&value) &&
        value.integer >= 0)
        *number = value.integer;
}

static bool get_string(struct amqp_table arguments, const char *name, struct amqp_str *ret_string)
{
    struct amqp_value value;

    if (!amqp_table_get(arguments, amqp_str_from(name), &value) || value.type != 'S')
        return false;
    *ret_string = (struct amqp_str){ (const char *)value.bytes.data, value.bytes.size };
    return true;
}

static void take_type(struct amqp_table arguments, struct queue_settings *settings)
{
    struct amqp_str word;

    if (get_string(arguments, "x-queue-type", &word) &&
        amqp_str_equal(word, AMQP_STR("quorum"))) {
        settings->type = QUEUE_TYPE_QUORUM;
        settings->delivery_limit = QUORUM_DELIVERY_LIMIT;
    }
}

static void take_overflow(struct amqp_table arguments, struct queue_settings *settings)
{
    struct amqp_str word;

    if (!get_string(arguments, "x-overflow", &word))
        return;
    if (amqp_str_equal(word, AMQP_STR("reject-publish")))
        settings->overflow = QUEUE_OVERFLOW_REJECT_PUBLISH;
    else if (amqp_str_equal(word, AMQP_STR("reject-publish-dlx")))
        settings->overflow = QUEUE_OVERFLOW_REJECT_PUBLISH_DLX;
}

/* Unlike the others it may be negative: no limit, also for a quorum queue. */
static void take_delivery_limit(struct amqp_table arguments, struct queue_settings *settings)
{
    struct amqp_value value;

    if (amqp_table_get(arguments, AMQP_STR("x-delivery-limit"), &value) &&
        amqp_value_is_integer(&value))
        settings->delivery_limit = value.integer < 0 ? -1 : value.integer;
}

static void take_max_priority(struct amqp_table arguments, struct queue_settings *settings)
{
    int64_t max = 0;

    take_number(arguments, "x-max-priority", &max);
    if (max > 0 && max <= UINT8_MAX && settings->type == QUEUE_TYPE_CLASSIC)
        settings->max_priority = (uint8_t)max;
}

static void take_single_active(struct amqp_table arguments, struct queue_settings *settings)
{
    struct amqp_value value;

    settings->single_active =
        amqp_table_get(arguments, AMQP_STR("x-single-active-consumer"), &value) &&
        value.type == 't' && value.boolean;
}

int queue_settings_compile(const struct queue *queue, const struct queue_settings **ret_settings)
{
    struct amqp_table arguments = queue->arguments;
    struct queue_settings *settings;

    if (arguments.size == 0) {
        *ret_settings = &queue_settings_default;
        return 0;
    }
    settings = malloc(sizeof *settings);
    if (!settings)
        return -ENOMEM;
    *settings = queue_settings_default;
    take_type(arguments, settings);
    take_number(arguments, "x-message-ttl", &settings->message_ttl_ms);
    take_number(arguments, "x-expires", &settings->expires_ms);
    take_number(arguments, "x-max-length", &settings->max_length);
    take_number(arguments, "x-max-length-bytes", &settings->max_length_bytes);
    take_number(arguments, "x-consumer-timeout", &settings->consumer_timeout_ms);
    take_delivery_limit(arguments, settings);
    take_overflow(arguments, settings);
    take_max_priority(arguments, settings);
    take_single_active(arguments, settings);
    /* Strings borrow the queue's own arguments, which live as long as the queue. */
    settings->dead_letters = get_string(arguments, "x-dead-letter-exchange",
                                        &settings->dead_letter_exchange);
    settings->has_dead_letter_key = get_string(arguments, "x-dead-letter-routing-key",
                                               &settings->dead_letter_key);
    settings->limited = settings->max_length >= 0 || settings->max_length_bytes >= 0;
    *ret_settings = settings;
    return 0;
}

void queue_settings_free(const struct queue_settings *settings)
{
    if (settings != &queue_settings_default)
        free((struct queue_settings *)settings);
}
