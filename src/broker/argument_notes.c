/*
 * argument_notes.c - see argument_notes.h
 *
 * Names are remembered as hashes in a small array of the broker: clients choose them, so there may
 * be any number. That a destination has told of a difference is a flag of its own.
 */
#include "broker/argument_notes.h"

#include "broker/broker.h"
#include "broker/hash_table.h"

/* Whether the log has been told of a name; from now on it has. */
static bool is_listed(struct broker *broker, struct amqp_str name)
{
    uint64_t hash = hash_str(0, name);

    for (unsigned i = 0; i < broker->unknown_argument_count; i++) {
        if (broker->unknown_arguments[i] == hash)
            return true;
    }
    if (broker->unknown_argument_count == BOUND_UNKNOWN_ARGUMENTS)
        return true; /* that many have been listed: enough */
    broker->unknown_arguments[broker->unknown_argument_count++] = hash;
    return false;
}

void argument_notes_list(const struct vhost *vhost, const char *kind, struct amqp_str name,
                         struct amqp_table arguments, argument_filter *is_known)
{
    struct amqp_table_iter iter = amqp_table_begin(arguments);
    struct broker *broker = vhost->broker;
    struct amqp_value value;
    struct amqp_str key;

    while (amqp_table_next(&iter, &key, &value)) {
        if (is_known(NULL, key) || is_listed(broker, key))
            continue;
        broker_log(broker, BROKER_LOG_WARNING,
                   "%s '%.*s' in vhost '%s' has the argument '%.*s', which is not known here: it "
                   "is kept and has no effect (said once)",
                   kind, AMQP_STR_ARG(name), vhost->name, AMQP_STR_ARG(key));
        if (broker->unknown_argument_count == BOUND_UNKNOWN_ARGUMENTS)
            broker_log(broker, BROKER_LOG_WARNING,
                       "%d names of arguments that are not known here have been listed: no more "
                       "will be",
                       BOUND_UNKNOWN_ARGUMENTS);
    }
}

static void tell_difference(const struct destination *destination, struct amqp_str key,
                            const struct amqp_value *received, const struct amqp_value *current)
{
    char received_text[BOUND_REPLY_TEXT_BYTES] = "none";
    char current_text[BOUND_REPLY_TEXT_BYTES] = "none";
    int received_bytes = sizeof "none" - 1, current_bytes = sizeof "none" - 1;

    if (received)
        received_bytes = (int)amqp_value_print(received, received_text, sizeof received_text);
    if (current)
        current_bytes = (int)amqp_value_print(current, current_text, sizeof current_text);
    broker_log(destination->vhost->broker, BROKER_LOG_WARNING,
               "%s '%.*s' in vhost '%s' stays as it is: it was declared again with '%.*s' for the "
               "argument '%.*s' but has '%.*s', and this argument is not compared (said once)",
               destination->is_exchange ? "exchange" : "queue", AMQP_STR_ARG(destination->name),
               destination->vhost->name, received_bytes, received_text, AMQP_STR_ARG(key),
               current_bytes, current_text);
}

/* The first argument of @of that @other has not, or not like that. */
static bool find_difference(struct amqp_table of, struct amqp_table other,
                            argument_filter *is_compared, const void *context,
                            struct amqp_str *ret_key)
{
    struct amqp_table_iter iter = amqp_table_begin(of);
    struct amqp_value value, other_value;

    while (amqp_table_next(&iter, ret_key, &value)) {
        if (!is_compared(context, *ret_key) && !(amqp_table_get(other, *ret_key, &other_value) &&
                                                 amqp_value_equal(&value, &other_value)))
            return true;
    }
    return false;
}

void argument_notes_compare(struct destination *destination, struct amqp_table received,
                            struct amqp_table current, argument_filter *is_compared,
                            const void *context)
{
    struct amqp_value received_value, current_value;
    bool has_received, has_current;
    struct amqp_str key;

    if (destination->told_of_arguments ||
        (!find_difference(received, current, is_compared, context, &key) &&
         !find_difference(current, received, is_compared, context, &key)))
        return;
    destination->told_of_arguments = true;
    has_received = amqp_table_get(received, key, &received_value);
    has_current = amqp_table_get(current, key, &current_value);
    tell_difference(destination, key, has_received ? &received_value : NULL,
                    has_current ? &current_value : NULL);
}
