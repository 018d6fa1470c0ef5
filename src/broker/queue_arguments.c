/*
 * queue_arguments.c - one row for each argument that RabbitMQ knows
 *
 * The rows stand in the order in which RabbitMQ checks them. An argument that nobody knows is kept
 * and neither checked nor compared; the log tells of it (argument_notes.h). One that belongs to
 * another queue type is refused by name. Those of replicas have no meaning on one machine: they are
 * checked, kept and compared.
 */
#include "broker/queue_arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "broker/argument_notes.h"
#include "broker/broker.h"
#include "broker/equivalence.h"
#include "broker/vhost.h"
#include "broker/vhost_limits.h"

#define TEN_YEARS_MS INT64_C(315360000000)

/* Which queue types have the argument; the others refuse it by name. */
enum argument_types {
    ARGUMENT_NONE = 0,
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
    enum argument_types compared; /* on redeclaration of queues of these types */
    argument_check *check;        /* NULL: anything goes */
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
        return refuse(reason, size,
                      "queue type 'stream' is not supported by this version of Leveret");
    return refuse(reason, size, "\"unsupported queue type '%.*s'\"",
                  AMQP_STR_ARG(string_of(value)));
}

static int check_word(const struct amqp_value *value, const char *const *words,
                      const char *problem, char *reason, size_t size)
{
    if (check_string(value, reason, size))
        return -1;
    return is_one_of(string_of(value), words) ? 0 : refuse(reason, size, "%s", problem);
}

static int check_strategy(const struct queue_properties *properties,
                          const struct amqp_value *value, char *reason, size_t size)
{
    static const char *const words[] = { "at-most-once", "at-least-once", NULL };

    (void)properties;
    return check_word(value, words, "invalid_dlx_strategy", reason, size);
}

static int check_leader(const struct queue_properties *properties, const struct amqp_value *value,
                        char *reason, size_t size)
{
    static const char *const words[] = { "client-local",  "balanced",    "random",
                                         "least-leaders", "min-masters", NULL };

    (void)properties;
    return check_word(value, words, "invalid_queue_locator_arg", reason, size);
}

static int check_master(const struct queue_properties *properties, const struct amqp_value *value,
                        char *reason, size_t size)
{
    static const char *const words[] = { "min-masters", "client-local", "random", NULL };

    (void)properties;
    return check_word(value, words, "invalid_queue_locator_arg", reason, size);
}

static int check_placement(const struct queue_properties *properties,
                           const struct amqp_value *value, char *reason, size_t size)
{
    (void)properties;
    if (value->type == 'S' && value->bytes.size)
        return 0;
    return refuse(reason, size, "invalid_member_placement_tag_arg");
}

static int check_group_size(const struct queue_properties *properties,
                            const struct amqp_value *value, char *reason, size_t size)
{
    if (amqp_value_is_integer(value) && value->integer == 0)
        return refuse(reason, size, "{value_zero,0}");
    return check_count(properties, value, reason, size);
}

#define ANY ARGUMENT_ANY
#define CLASSIC ARGUMENT_CLASSIC
#define QUORUM ARGUMENT_QUORUM
#define STREAM ARGUMENT_STREAM
#define NONE ARGUMENT_NONE

static const struct argument arguments_known[] = {
    { "x-expires", ANY, ANY, check_expires },
    { "x-message-ttl", ANY, ANY, check_ttl },
    { "x-dead-letter-exchange", ANY, ANY, NULL }, /* checked before the others */
    { "x-dead-letter-routing-key", ANY, ANY, check_dead_letter_key },
    /* Dead letters move in one commit whatever the strategy: at least once, never twice. */
    { "x-dead-letter-strategy", QUORUM, QUORUM, check_strategy },
    { "x-max-length", ANY, ANY, check_count },
    { "x-max-length-bytes", ANY, ANY, check_count },
    { "x-max-in-memory-length", QUORUM, QUORUM, check_count },
    { "x-max-in-memory-bytes", QUORUM, QUORUM, check_count },
    { "x-max-priority", CLASSIC, CLASSIC, check_priority },
    { "x-overflow", ANY, ANY, check_overflow },
    /* A queue's messages leave memory by need, whatever its mode; there is one storage format. */
    { "x-queue-mode", CLASSIC, CLASSIC, check_mode },
    { "x-queue-version", CLASSIC, CLASSIC, check_version },
    { "x-single-active-consumer", ANY, ANY, check_single_active },
    /* RabbitMQ compared it nowhere before 4.3, and clients change it between two starts. */
    { "x-consumer-timeout", ANY, NONE, check_count },
    { "x-consumer-disconnected-timeout", ANY, NONE, check_count },
    { "x-queue-type", ANY, ANY, NULL }, /* checked before the others */
    { "x-quorum-initial-group-size", QUORUM, QUORUM, check_group_size },
    { "x-max-age", STREAM, NONE, NULL },
    { "x-stream-max-segment-size-bytes", STREAM, NONE, NULL },
    { "x-stream-filter-size-bytes", STREAM, NONE, NULL },
    { "x-initial-cluster-size", STREAM, NONE, NULL },
    { "x-queue-leader-locator", ANY, ANY, check_leader },
    { "x-member-placement-tag", ANY, QUORUM, check_placement },
    { "x-delivery-limit", ANY, ANY, NULL }, /* what is no integer is as if it were not there */
    { "x-queue-master-locator", CLASSIC, CLASSIC, check_master },
};

#undef ANY
#undef CLASSIC
#undef QUORUM
#undef STREAM
#undef NONE

static const struct argument *find_argument(struct amqp_str name)
{
    for (size_t i = 0; i < N_ELEMENTS(arguments_known); i++) {
        if (amqp_str_equal(name, amqp_str_from(arguments_known[i].name)))
            return &arguments_known[i];
    }
    return NULL;
}

static int raise_invalid(const char *vhost_name, const struct queue_properties *properties,
                         const char *name, const char *reason, struct amqp_error *err)
{
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "invalid arg '%s' for queue '%.*s' in vhost '%s': %s", name,
                      AMQP_STR_ARG(properties->name), vhost_name, reason);
}

static int check_dead_letter_exchange(const char *vhost_name,
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
                      amqp_value_type_name(&value), AMQP_STR_ARG(properties->name), vhost_name);
}

bool queue_arguments_are_quorum(struct amqp_table arguments)
{
    struct amqp_value value;

    return amqp_table_get(arguments, AMQP_STR("x-queue-type"), &value) && value.type == 'S' &&
           amqp_str_equal(string_of(&value), AMQP_STR("quorum"));
}

static enum argument_types type_of(struct amqp_table arguments)
{
    return queue_arguments_are_quorum(arguments) ? ARGUMENT_QUORUM : ARGUMENT_CLASSIC;
}

static int raise_property(const char *vhost_name, const struct queue_properties *properties,
                          const char *property, struct amqp_error *err)
{
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "invalid property '%s' for queue '%.*s' in vhost '%s'", property,
                      AMQP_STR_ARG(properties->name), vhost_name);
}

/* What a quorum queue cannot be (extensions.md 1.1, step 14). */
static int check_quorum_properties(const char *vhost_name,
                                   const struct queue_properties *properties,
                                   struct amqp_error *err)
{
    if (properties->auto_delete)
        return raise_property(vhost_name, properties, "auto-delete", err);
    if (properties->exclusive)
        return raise_property(vhost_name, properties, "exclusive-owner", err);
    if (!properties->durable)
        return raise_property(vhost_name, properties, "non-durable", err);
    return 0;
}

static int check_queue_type(const char *vhost_name, const struct queue_properties *properties,
                            struct amqp_error *err)
{
    struct amqp_value value;
    char reason[REASON_BYTES];

    if (!amqp_table_get(properties->arguments, AMQP_STR("x-queue-type"), &value) ||
        !check_type(properties, &value, reason, sizeof reason))
        return 0;
    return raise_invalid(vhost_name, properties, "x-queue-type", reason, err);
}

static int check_values(const char *vhost_name, const struct queue_properties *properties,
                        enum argument_types type, struct amqp_error *err)
{
    struct amqp_value value;
    char reason[REASON_BYTES];

    for (size_t i = 0; i < N_ELEMENTS(arguments_known); i++) {
        const struct argument *argument = &arguments_known[i];

        if ((argument->types & type) && argument->check &&
            amqp_table_get(properties->arguments, amqp_str_from(argument->name), &value) &&
            argument->check(properties, &value, reason, sizeof reason))
            return raise_invalid(vhost_name, properties, argument->name, reason, err);
    }
    return 0;
}

/* Those of other types, in the order of the client. */
static int check_names(const char *vhost_name, const struct queue_properties *properties,
                       enum argument_types type, struct amqp_error *err)
{
    struct amqp_table_iter iter = amqp_table_begin(properties->arguments);
    struct amqp_value value;
    struct amqp_str name;

    while (amqp_table_next(&iter, &name, &value)) {
        const struct argument *argument = find_argument(name);

        if (argument && !(argument->types & type))
            return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                              "invalid arg '%s' for queue '%.*s' in vhost '%s' of queue type %s",
                              argument->name, AMQP_STR_ARG(properties->name), vhost_name,
                              type == ARGUMENT_QUORUM ? "rabbit_quorum_queue"
                                                      : "rabbit_classic_queue");
    }
    return 0;
}

bool queue_argument_is_known(struct amqp_str name)
{
    return find_argument(name) != NULL;
}

const char *queue_argument_name(size_t i)
{
    return i < N_ELEMENTS(arguments_known) ? arguments_known[i].name : NULL;
}

static bool is_known(const void *context, struct amqp_str name)
{
    (void)context;
    return queue_argument_is_known(name);
}

static int check_arguments(const char *vhost_name, const struct queue_properties *properties,
                           enum argument_types type, struct amqp_error *err)
{
    int rc = check_dead_letter_exchange(vhost_name, properties, err);

    if (!rc)
        rc = check_queue_type(vhost_name, properties, err);
    if (!rc)
        rc = check_values(vhost_name, properties, type, err);
    return rc ? rc : check_names(vhost_name, properties, type, err);
}

int queue_arguments_check_values(const char *vhost_name,
                                 const struct queue_properties *properties,
                                 struct amqp_error *err)
{
    enum argument_types type = type_of(properties->arguments);
    int rc = check_arguments(vhost_name, properties, type, err);

    if (!rc && type == ARGUMENT_QUORUM)
        rc = check_quorum_properties(vhost_name, properties, err);
    return rc;
}

int queue_arguments_check(const struct vhost *vhost, const struct queue_properties *properties,
                          struct amqp_error *err)
{
    enum argument_types type = type_of(properties->arguments);
    int rc = check_arguments(vhost->name, properties, type, err);

    if (!rc)
        rc = vhost_check_queue_limit(vhost, properties->name, err);
    if (!rc && type == ARGUMENT_QUORUM)
        rc = check_quorum_properties(vhost->name, properties, err);
    if (!rc)
        argument_notes_list(vhost, "queue", properties->name, properties->arguments, is_known);
    return rc;
}

int queue_arguments_check_server_named(struct amqp_table arguments, struct amqp_error *err)
{
    struct amqp_value value;
    const char *type = NULL;

    if (amqp_table_get(arguments, AMQP_STR("x-queue-type"), &value) && value.type == 'S') {
        if (amqp_str_equal(string_of(&value), AMQP_STR("quorum")))
            type = "rabbit_quorum_queue";
        else if (amqp_str_equal(string_of(&value), AMQP_STR("stream")))
            type = "rabbit_stream_queue";
    }
    if (!type)
        return 0;
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "Cannot declare a server-named queue for type %s", type);
}

/* --- the default queue type (1.9) --- */

static struct amqp_str default_type(const struct vhost *vhost)
{
    const char *configured = vhost->broker->settings.default_queue_type;
    struct amqp_value value;

    if (amqp_table_get(vhost->metadata, AMQP_STR("default_queue_type"), &value) &&
        value.type == 'S')
        return string_of(&value);
    return configured ? amqp_str_from(configured) : AMQP_STR("");
}

/* A name that is no queue type counts for nothing; the flags must fit the type. */
static bool default_applies(struct amqp_str type, const struct queue_properties *properties)
{
    static const char *const durable_only[] = { "quorum", "stream", NULL };

    if (amqp_str_equal(type, AMQP_STR("classic")))
        return true;
    return is_one_of(type, durable_only) && properties->durable && !properties->exclusive &&
           !properties->auto_delete;
}

int queue_arguments_add_default_type(const struct vhost *vhost,
                                     const struct queue_properties *properties,
                                     struct amqp_table_writer *writer,
                                     struct amqp_table *ret_arguments)
{
    struct amqp_table_iter iter = amqp_table_begin(properties->arguments);
    struct amqp_str type = default_type(vhost), name;
    struct amqp_value value;

    if (!default_applies(type, properties) ||
        amqp_table_get(properties->arguments, AMQP_STR("x-queue-type"), &value)) {
        *ret_arguments = properties->arguments;
        return 0;
    }
    while (amqp_table_next(&iter, &name, &value))
        amqp_table_put_value(writer, name.data ? name : AMQP_STR(""), &value);
    amqp_table_put_str(writer, "x-queue-type", type);
    if (writer->failed)
        return -ENOMEM;
    *ret_arguments = amqp_table_written(writer);
    return 0;
}

/* --- redeclaration --- */

/* None and classic are the same. */
static bool is_classic(bool present, const struct amqp_value *type)
{
    return !present ||
           (type->type == 'S' && amqp_str_equal(string_of(type), AMQP_STR("classic")));
}

static bool is_compared(const void *context, struct amqp_str name)
{
    const struct argument *argument = find_argument(name);

    return argument && (argument->compared & *(const enum argument_types *)context);
}

int queue_arguments_compare(struct queue *queue, struct amqp_table arguments,
                            struct amqp_error *err)
{
    enum argument_types type = type_of(queue_arguments(queue));

    for (size_t i = 0; i < N_ELEMENTS(arguments_known); i++) {
        const struct argument *argument = &arguments_known[i];
        struct amqp_str name = amqp_str_from(argument->name);
        struct amqp_value received, current;
        bool has_received, has_current;
        int rc;

        if (!(argument->compared & type))
            continue;
        has_received = amqp_table_get(arguments, name, &received);
        has_current = amqp_table_get(queue_arguments(queue), name, &current);
        if (amqp_str_equal(name, AMQP_STR("x-queue-type")) && is_classic(has_received, &received) &&
            is_classic(has_current, &current))
            continue;
        rc = equivalence_check_values(&queue->destination, argument->name,
                                      has_received ? &received : NULL,
                                      has_current ? &current : NULL, err);
        if (rc)
            return rc;
    }
    argument_notes_compare(&queue->destination, arguments, queue_arguments(queue), is_compared,
                           &type);
    return 0;
}
