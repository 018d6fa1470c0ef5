/*
 * queue_settings.c - compiling what a queue's arguments and policies come to
 *
 * Arguments have been checked when the queue was declared, except those of queues that were
 * imported: what has the wrong type there is as if it were not given. A quorum queue has a delivery
 * limit unless somebody says otherwise.
 */
#include "broker/queue_settings.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/policy.h"
#include "broker/queue.h"
#include "broker/vhost.h"

enum { QUORUM_DELIVERY_LIMIT = 20 };

const struct queue_settings queue_settings_default = {
    .message_ttl_ms = -1,
    .expires_ms = -1,
    .max_length = -1,
    .max_length_bytes = -1,
    .delivery_limit = -1,
    .consumer_timeout_ms = -1,
};

/* --- arguments --- */

static bool get_number(struct amqp_table arguments, const char *name, int64_t *ret_number)
{
    struct amqp_value value;

    if (!amqp_table_get(arguments, amqp_str_from(name), &value) || !amqp_value_is_integer(&value))
        return false;
    *ret_number = value.integer;
    return true;
}

static bool get_text(struct amqp_table arguments, const char *name, struct amqp_str *ret_text)
{
    struct amqp_value value;

    if (!amqp_table_get(arguments, amqp_str_from(name), &value) || value.type != 'S')
        return false;
    *ret_text = amqp_bytes_text(value.bytes);
    return true;
}

static void read_arguments(struct amqp_table arguments, struct setting_values *values)
{
    static const struct {
        const char *name;
        enum setting setting;
        int64_t min;
    } numbers[] = {
        { "x-message-ttl", SETTING_MESSAGE_TTL, 0 },
        { "x-expires", SETTING_EXPIRES, 1 },
        { "x-max-length", SETTING_MAX_LENGTH, 0 },
        { "x-max-length-bytes", SETTING_MAX_LENGTH_BYTES, 0 },
        { "x-delivery-limit", SETTING_DELIVERY_LIMIT, INT64_MIN },
        { "x-consumer-timeout", SETTING_CONSUMER_TIMEOUT, 0 },
    };
    enum queue_overflow overflow;
    struct amqp_str text;
    int64_t number;

    for (size_t i = 0; i < N_ELEMENTS(numbers); i++) {
        if (get_number(arguments, numbers[i].name, &number) && number >= numbers[i].min)
            setting_give_number(values, numbers[i].setting, number);
    }
    if (get_text(arguments, "x-overflow", &text) && setting_overflow_find(text, &overflow))
        setting_give_number(values, SETTING_OVERFLOW, overflow);
    if (get_text(arguments, "x-dead-letter-exchange", &text))
        setting_give_text(values, SETTING_DEAD_LETTER_EXCHANGE, text);
    if (get_text(arguments, "x-dead-letter-routing-key", &text))
        setting_give_text(values, SETTING_DEAD_LETTER_KEY, text);
}

static enum queue_type type_of(struct amqp_table arguments)
{
    struct amqp_str type;

    if (get_text(arguments, "x-queue-type", &type) && amqp_str_equal(type, AMQP_STR("quorum")))
        return QUEUE_TYPE_QUORUM;
    return QUEUE_TYPE_CLASSIC;
}

/* What no policy can say. */
static void take_own_arguments(struct amqp_table arguments, struct queue_settings *settings)
{
    struct amqp_value value;
    int64_t number;

    if (settings->type == QUEUE_TYPE_CLASSIC && get_number(arguments, "x-max-priority", &number) &&
        number > 0)
        settings->max_priority = (uint8_t)(number < UINT8_MAX ? number : UINT8_MAX);
    if (amqp_table_get(arguments, AMQP_STR("x-single-active-consumer"), &value) &&
        value.type == 't')
        settings->single_active = value.boolean;
}

/* --- the result --- */

static int64_t number_or(const struct setting_values *values, enum setting setting, int64_t none)
{
    return setting_is_given(values, setting) ? values->numbers[setting] : none;
}

static void take_values(const struct setting_values *values, struct queue_settings *settings)
{
    bool quorum = settings->type == QUEUE_TYPE_QUORUM;
    int64_t limit = number_or(values, SETTING_DELIVERY_LIMIT, quorum ? QUORUM_DELIVERY_LIMIT : -1);

    settings->message_ttl_ms = number_or(values, SETTING_MESSAGE_TTL, -1);
    settings->expires_ms = number_or(values, SETTING_EXPIRES, -1);
    settings->max_length = number_or(values, SETTING_MAX_LENGTH, -1);
    settings->max_length_bytes = number_or(values, SETTING_MAX_LENGTH_BYTES, -1);
    settings->delivery_limit = limit < 0 ? -1 : limit;
    settings->consumer_timeout_ms = number_or(values, SETTING_CONSUMER_TIMEOUT, -1);
    settings->overflow = (enum queue_overflow)number_or(values, SETTING_OVERFLOW,
                                                        QUEUE_OVERFLOW_DROP_HEAD);
    if (quorum && settings->overflow == QUEUE_OVERFLOW_REJECT_PUBLISH_DLX)
        settings->overflow = QUEUE_OVERFLOW_DROP_HEAD; /* as RabbitMQ does (1.7) */
    settings->limited = settings->max_length >= 0 || settings->max_length_bytes >= 0;
    settings->dead_letters = setting_is_given(values, SETTING_DEAD_LETTER_EXCHANGE);
    if (!settings->dead_letters)
        return;
    settings->dead_letter_exchange = setting_text(values, SETTING_DEAD_LETTER_EXCHANGE);
    settings->has_dead_letter_key = setting_is_given(values, SETTING_DEAD_LETTER_KEY);
    if (settings->has_dead_letter_key)
        settings->dead_letter_key = setting_text(values, SETTING_DEAD_LETTER_KEY);
}

/* One allocation with both names behind the struct; references to the policies. */
static struct queue_settings *keep(const struct queue_settings *draft, struct policy *policy,
                                   struct policy *operator_policy)
{
    size_t exchange_bytes = draft->dead_letter_exchange.size;
    size_t key_bytes = draft->dead_letter_key.size;
    struct queue_settings *settings = malloc(sizeof *settings + exchange_bytes + key_bytes);
    char *names = (char *)(settings + 1);

    if (!settings)
        return NULL;
    *settings = *draft;
    if (exchange_bytes)
        memcpy(names, draft->dead_letter_exchange.data, exchange_bytes);
    settings->dead_letter_exchange.data = names;
    if (key_bytes)
        memcpy(names + exchange_bytes, draft->dead_letter_key.data, key_bytes);
    settings->dead_letter_key.data = names + exchange_bytes;
    settings->policy = policy_ref(policy);
    settings->operator_policy = policy_ref(operator_policy);
    return settings;
}

int queue_settings_compile(const struct queue *queue, const struct queue_settings **ret_settings)
{
    const struct vhost *vhost = queue_vhost(queue);
    struct amqp_str name = queue->destination.name;
    struct setting_values arguments = { 0 }, effective, combined;
    struct queue_settings draft = queue_settings_default, *settings;
    struct policy *policy, *operator_policy;
    enum policy_target target;

    read_arguments(queue_arguments(queue), &arguments);
    draft.type = type_of(queue_arguments(queue));
    take_own_arguments(queue_arguments(queue), &draft);
    target = draft.type == QUEUE_TYPE_QUORUM ? POLICY_QUORUM_QUEUES : POLICY_CLASSIC_QUEUES;
    policy = policy_find(vhost, POLICY_USER, target, name);
    operator_policy = policy_find(vhost, POLICY_OPERATOR, target, name);
    setting_values_merge(policy ? &policy->values : NULL,
                         operator_policy ? &operator_policy->values : NULL, &effective);
    setting_values_combine(draft.type, &arguments, &effective, &combined);
    take_values(&combined, &draft);
    if (!policy && !operator_policy && queue_settings_equal(&draft, &queue_settings_default)) {
        *ret_settings = &queue_settings_default;
        return 0;
    }
    settings = keep(&draft, policy, operator_policy);
    if (!settings)
        return -ENOMEM;
    *ret_settings = settings;
    return 0;
}

bool queue_settings_equal(const struct queue_settings *a, const struct queue_settings *b)
{
    return a->message_ttl_ms == b->message_ttl_ms && a->expires_ms == b->expires_ms &&
           a->max_length == b->max_length && a->max_length_bytes == b->max_length_bytes &&
           a->delivery_limit == b->delivery_limit &&
           a->consumer_timeout_ms == b->consumer_timeout_ms && a->type == b->type &&
           a->overflow == b->overflow && a->max_priority == b->max_priority &&
           a->single_active == b->single_active && a->dead_letters == b->dead_letters &&
           a->has_dead_letter_key == b->has_dead_letter_key &&
           amqp_str_equal(a->dead_letter_exchange, b->dead_letter_exchange) &&
           amqp_str_equal(a->dead_letter_key, b->dead_letter_key);
}

void queue_settings_free(const struct queue_settings *settings)
{
    if (!settings || settings == &queue_settings_default)
        return;
    policy_unref(settings->policy);
    policy_unref(settings->operator_policy);
    free((struct queue_settings *)(uintptr_t)settings);
}
