/*
 * queue_arguments.c - one row for each argument that RabbitMQ knows
 *
 * The rows stand in the order in which RabbitMQ checks them. An argument that nobody knows is kept
 * and neither checked nor compared. One that belongs to another queue type is refused by name.
 */
#include "broker/queue_arguments.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "broker/vhost.h"

#define TEN_YEARS_MS INT64_C(315360000000)

/* Which queue types have the argument; the others refuse it by name. */
enum argument_types {
    ARGUMENT_CLASSIC = 1,
    ARGUMENT_QUORUM = 2,
    ARGUMENT_STREAM = 4, /* only streams: there are none yet */
    ARGUMENT_ANY = ARGUMENT_CLASSIC | ARGUMENT_QUORUM,
};

typedef int argument_check(const struct queue_properties *properties,
                           const struct amqp_value *value, char *reason, size_t reason_size);

struct argument {
    const char *name;
    enum argument_types types;
    bool compared; /* on redeclaration */
    argument_check *check;
};

enum { REASON_BYTES = 160 };

static int refuse(char *reason, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);

static int refuse(char *reason, size_t size, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, size, format, arguments);
    va_end(arguments);
    return -1;
}

static int check_integer(const struct amqp_value *value, int64_t max, char *reason, size_t size)
{
    if (!amqp_value_is_integer(value))
        return refuse(reason, size, "\"expected integer, got %s\"", amqp_value_type_name(value));
    if (value->integer < 0)
        return refuse(reason, size, "{value_negative,%" PRId64 "}", value->integer);
    if (value->integer > max)
        return refuse(reason, size, "{value_too_large,%" PRId64 "}", value->integer);
    return 0;
}

static int check_expires(const struct queue_properties *properties, const struct amqp_value *value,
                         char *reason, size_t size)
{
    (void)properties;
    if (amqp_value_is_integer(value) && value->integer == 0)
        return refuse(reason, size, "{value_zero,0}");
    return check_integer(value, TEN_YEARS_MS, reason, size);
}

static int check_ttl(const struct queue_properties *properties, const struct amqp_value *value,
                     char *reason, size_t size)
{
    (void)properties;
    return check_integer(value, TEN_YEARS_MS, reason, size);
}

static int check_count(const struct queue_properties *properties, const struct amqp_value *value,
                       char *reason, size_t size)
{
    (void)properties;
    return check_integer(value, INT64_MAX, reason, size);
}

static int check_priority(const struct queue_properties *properties,
                          const struct amqp_value *value, char *reason, size_t size)
{
    int rc = check_count(properties, value, reason, size);

    if (!rc && value->integer > 255)
        return refuse(reason, size, "{max_value_exceeded,%" PRId64 "}", value->integer);
    return rc;
}

static int check_string(const struct amqp_value *value, char *reason, size_t size)
{
    if (value->type == 'S')
        return 0;
    return refuse(reason, size, "{unacceptable_type,%s}", amqp_value_type_name(value));
}

static struct amqp_str string_of(const struct amqp_value *value)
{
    return (struct amqp_str){ (const char *)value->bytes.data, value->bytes.size };
}

static bool is_one_of(struct amqp_str str, const char *const *words)
{
    for (; *words; words++)
        if (amqp_str_equal(str, amqp_str_from(*words)))
            return true;
    return false;
}

static int check_dead_letter_key(const struct queue_properties *properties,
                                 const struct amqp_value *value, char *reason, size_t size)
{
    struct amqp_value exchange;

    if (check_string(value, reason, size))
        return -1;
    if (!amqp_table_get(properties->arguments, AMQP_STR("x-dead-letter-exchange"), &exchange))
        return refuse(reason, size, "routing_key_but_no_dlx_defined");
    return 0;
}

static int check_overflow(const struct queue_properties *properties,
                          const struct amqp_value *value, char *reason, size_t size)
{
    static const char *const words[] = { "drop-head", "reject-publish", "reject-publish-dlx",
                                         NULL };

    (void)properties;
    if (check_string(value, reason, size))
        return -1;
    return is_one_of(string_of(value), words) ? 0 : refuse(reason, size, "invalid_overflow");
}

static int check_mode(const struct queue_properties *properties, const struct amqp_value *value,
                      char *reason, size_t size)
{
    static const char *const words[] = { "default", "lazy", NULL };

    (void)properties;
    if (check_string(value, reason, size))
        return -1;
    if (is_one_of(string_of(value), words))
        return 0;
    return refuse(reason, size, "\"unsupported queue mode '%.*s'\"",
                  AMQP_STR_ARG(string_of(value)));
}

static int check_version(const struct queue_properties *properties, const struct amqp_value *value,
                         char *reason, size_t size)
{
    if (check_count(properties, value, reason, size))
        return -1;
    if (value->integer == 1 || value->integer == 2)
        return 0;
    return refuse(reason, size, "\"unsupported queue version '%" PRId64 "'\"", value->integer);
}

static int check_single_active(const struct queue_properties *properties,
                               const struct amqp_value *value, char *reason, size_t size)
{
    (void)properties;
    if (value->type == 't')
        return 0;
    return refuse(reason, size, "{unacceptable_type,%s}", amqp_value_type_name(value));
}

static int check_type(const struct queue_properties *properties, const struct amqp_value *value,
                      char *reason, size_t size)
{
    static const char *const words[] = { "classic", "quorum", NULL };

    (void)properties;
    if (check_string(value, reason, size))
        return -1;
    if (is_one_of(string_of(value), words))
        return 0;
    if (amqp_str_equal(string_of(value), AMQP_STR("stream")))
        return refuse(reason, size, "queue type 'stream' is not supported by this version of Leveret");
    return refuse(reason, size, "\"unsupported queue type '%.*s'\"",
                  AMQP_STR_ARG(string_of(value)));
}

static int check_strategy(const struct queue_properties *properties,
                          const struct amqp_value *value, char *reason, size_t size)
{
    static const char *const words[] = { "at-most-once", "at-least-once", NULL };

    (void)properties;
    if (value->type == 'S' && is_one_of(string_of(value), words))
        return 0;
    return refuse(reason, size, "invalid_dlx_strategy");
}

static int check_group_size(const struct queue_properties *properties,
                            const struct amqp_value *value, char *reason, size_t size)
{
    if (amqp_value_is_integer(value) && value->integer == 0)
        return refuse(reason, size, "{value_zero,0}");
    return check_count(properties, value, reason, size);
}

static const struct argument arguments_known[] = {
    { "x-expires", ARGUMENT_ANY, true, check_expires },
    { "x-message-ttl", ARGUMENT_ANY, true, check_ttl },
    { "x-dead-letter-exchange", ARGUMENT_ANY, true, NULL },
    { "x-dead-letter-routing-key", ARGUMENT_ANY, true, check_dead_letter_key },
    /* Dead letters move in one commit whatever the strategy: at least once, never twice. */
    { "x-dead-letter-strategy", ARGUMENT_QUORUM, true, check_strategy },
    { "x-max-length", ARGUMENT_ANY, true, check_count },
    { "x-max-length-bytes", ARGUMENT_ANY, true, check_count },
    { "x-max-in-memory-length", ARGUMENT_QUORUM, true, check_count },
    { "x-max-in-memory-bytes", ARGUMENT_QUORUM, true, check_count },
    { "x-max-priority", ARGUMENT_CLASSIC, true, check_priority },
    { "x-overflow", ARGUMENT_ANY, true, check_overflow },
    /* A queue's messages leave memory by need, whatever its mode; there is one storage format. */
    { "x-queue-mode", ARGUMENT_CLASSIC, true, check_mode },
    { "x-queue-version", ARGUMENT_CLASSIC, true, check_version },
    { "x-single-active-consumer", ARGUMENT_ANY, true, check_single_active },
    { "x-consumer-timeout", ARGUMENT_ANY, false, check_count },
    { "x-queue-type", ARGUMENT_ANY, true, check_type },
    { "x-quorum-initial-group-size", ARGUMENT_QUORUM, true, check_group_size },
    { "x-max-age", ARGUMENT_STREAM, false, NULL },
    { "x-stream-max-segment-size-bytes", ARGUMENT_STREAM, false, NULL },
    { "x-initial-cluster-size", ARGUMENT_STREAM, false, NULL },
};

static int raise_invalid(const struct vhost *vhost, const struct queue_properties *properties,
                         const char *name, const char *reason, struct amqp_error *err)
{
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "invalid arg '%s' for queue '%.*s' in vhost '%s': %s", name,
                      AMQP_STR_ARG(properties->name), vhost->name, reason);
}

static int check_dead_letter_exchange(const struct vhost *vhost,
                                      const struct queue_properties *properties,
                                      struct amqp_error *err)
{
    struct amqp_value value;

    if (!amqp_table_get(properties->arguments, AMQP_STR("x-dead-letter-exchange"), &value) ||
        value.type == 'S')
        return 0;
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "invalid type '%s' for arg 'x-dead-letter-exchange' in queue '%.*s' in "
                      "vhost '%s'",
                      amqp_value_type_name(&value), AMQP_STR_ARG(properties->name), vhost->name);
}

static bool is_quorum(struct amqp_table arguments)
{
    struct amqp_value value;

    return amqp_table_get(arguments, AMQP_STR("x-queue-type"), &value) && value.type == 'S' &&
           amqp_str_equal(string_of(&value), AMQP_STR("quorum"));
}

static int raise_property(const struct vhost *vhost, const struct queue_properties *properties,
                          const char *property, struct amqp_error *err)
{
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "invalid property '%s' for queue '%.*s' in vhost '%s'", property,
                      AMQP_STR_ARG(properties->name), vhost->name);
}

/* What a quorum queue cannot be (extensions.md 1.1, step 14). */
static int check_quorum_properties(const struct vhost *vhost,
                                   const struct queue_properties *properties,
                                   struct amqp_error *err)
{
    if (properties->auto_delete)
        return raise_property(vhost, properties, "auto-delete", err);
    if (properties->exclusive)
        return raise_property(vhost, properties, "exclusive-owner", err);
    if (!properties->durable)
        return raise_property(vhost, properties, "non-durable", err);
    return 0;
}

static int check_known(const struct vhost *vhost, const struct queue_properties *properties,
                       enum argument_types type, struct amqp_error *err)
{
    const struct argument *refused = NULL;
    struct amqp_value value;
    char reason[REASON_BYTES];

    for (size_t i = 0; i < N_ELEMENTS(arguments_known); i++) {
        const struct argument *argument = &arguments_known[i];

        if (!amqp_table_get(properties->arguments, amqp_str_from(argument->name), &value))
            continue;
        if (!(argument->types & type)) {
            if (!refused)
                refused = argument;
            continue;
        }
        if (argument->check && argument->check(properties, &value, reason, sizeof reason))
            return raise_invalid(vhost, properties, argument->name, reason, err);
    }
    if (!refused)
        return 0;
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "invalid arg '%s' for queue '%.*s' in vhost '%s' of queue type %s",
                      refused->name, AMQP_STR_ARG(properties->name), vhost->name,
                      type == ARGUMENT_QUORUM ? "rabbit_quorum_queue" : "rabbit_classic_queue");
}

int queue_arguments_check(const struct vhost *vhost, const struct queue_properties *properties,
                          struct amqp_error *err)
{
    bool quorum;
    int rc;

    if (properties->arguments.size == 0)
        return 0;
    quorum = is_quorum(properties->arguments);
    rc = check_dead_letter_exchange(vhost, properties, err);
    if (!rc)
        rc = check_known(vhost, properties, quorum ? ARGUMENT_QUORUM : ARGUMENT_CLASSIC, err);
    if (!rc && quorum)
        rc = check_quorum_properties(vhost, properties, err);
    return rc;
}

bool queue_arguments_are_quorum(struct amqp_table arguments)
{
    return is_quorum(arguments);
}

bool queue_arguments_unsupported(struct amqp_table_iter *iter, struct amqp_str *ret_name)
{
    struct amqp_value value;

    while (amqp_table_next(iter, ret_name, &value)) {
        if (amqp_str_equal(*ret_name, AMQP_STR("x-queue-type")) && value.type == 'S' &&
            amqp_str_equal(string_of(&value), AMQP_STR("stream")))
            return true;
        for (size_t i = 0; i < N_ELEMENTS(arguments_known); i++)
            if (arguments_known[i].types == ARGUMENT_STREAM &&
                amqp_str_equal(*ret_name, amqp_str_from(arguments_known[i].name)))
                return true;
    }
    return false;
}

/* One side of "received NEW but current is OLD" (6.5.2). */
static void print_side(const struct amqp_value *value, bool other_present, char *out, size_t size)
{
    char text[REASON_BYTES];

    if (!value || value->type == 'V') {
        snprintf(out, size, "none");
        return;
    }
    amqp_value_print(value, text, sizeof text);
    if (other_present)
        snprintf(out, size, "'%s'", text);
    else
        snprintf(out, size, "the value '%s' of type '%s'", text, amqp_value_type_name(value));
}

static int raise_inequivalent(const struct queue *queue, const char *key,
                              const struct amqp_value *received, const struct amqp_value *current,
                              struct amqp_error *err)
{
    char new[REASON_BYTES * 2], old[REASON_BYTES * 2];

    print_side(received, current != NULL, new, sizeof new);
    print_side(current, received != NULL, old, sizeof old);
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "inequivalent arg '%s' for queue '%.*s' in vhost '%s': received %s but "
                      "current is %s",
                      key, AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name, new,
                      old);
}

int queue_arguments_compare(const struct queue *queue, struct amqp_table arguments,
                            struct amqp_error *err)
{
    static const struct amqp_value classic = {
        .type = 'S', .bytes = { (const uint8_t *)"classic", 7 }
    };

    for (size_t i = 0; i < N_ELEMENTS(arguments_known); i++) {
        const char *name = arguments_known[i].name;
        struct amqp_value received, current;
        bool has_received, has_current;

        if (!arguments_known[i].compared)
            continue;
        has_received = amqp_table_get(arguments, amqp_str_from(name), &received);
        has_current = amqp_table_get(queue->arguments, amqp_str_from(name), &current);
        if (strcmp(name, "x-queue-type") == 0 && (has_received || has_current)) {
            if (!has_received)
                received = classic;
            if (!has_current)
                current = classic;
            has_received = has_current = true;
        }
        if (has_received != has_current ||
            (has_received && !amqp_value_equal(&received, &current)))
            return raise_inequivalent(queue, name, has_received ? &received : NULL,
                                      has_current ? &current : NULL, err);
    }
    return 0;
}
