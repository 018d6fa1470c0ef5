/*
 * equivalence.c - see equivalence.h
 */
#include "broker/equivalence.h"

#include "amqp/text.h"
#include "broker/vhost.h"

static int raise(const struct destination *destination, const char *name, const char *received,
                 const char *current, struct amqp_error *err)
{
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "inequivalent arg '%s' for %s '%.*s' in vhost '%s': received %s but current "
                      "is %s",
                      name, destination->is_exchange ? "exchange" : "queue",
                      AMQP_STR_ARG(destination->name), destination->vhost->name, received, current);
}

int equivalence_check_word(const struct destination *destination, const char *name,
                           const char *received, const char *current, struct amqp_error *err)
{
    char received_quoted[BOUND_REPLY_TEXT_BYTES], current_quoted[BOUND_REPLY_TEXT_BYTES];

    if (strcmp(received, current) == 0)
        return 0;
    snprintf(received_quoted, sizeof received_quoted, "'%s'", received);
    snprintf(current_quoted, sizeof current_quoted, "'%s'", current);
    return raise(destination, name, received_quoted, current_quoted, err);
}

int equivalence_check_flag(const struct destination *destination, const char *name, bool received,
                           bool current, struct amqp_error *err)
{
    return equivalence_check_word(destination, name, received ? "true" : "false",
                                  current ? "true" : "false", err);
}

/*
 * One side; the type is told only where the other side has nothing to compare with. A void that is
 * compared with something is "none" too: RabbitMQ's word for both is undefined.
 */
static void print_side(const struct amqp_value *value, bool other_present, char *out, size_t size)
{
    struct amqp_text text = amqp_text_over(out, size);
    char shown[BOUND_REPLY_TEXT_BYTES];
    struct amqp_str str = { shown, 0 };

    if (!value || (other_present && value->type == 'V')) {
        amqp_text_add(&text, AMQP_STR("none"));
        return;
    }
    str.size = amqp_value_print(value, shown, sizeof shown);
    amqp_text_add(&text, other_present ? AMQP_STR("'") : AMQP_STR("the value '"));
    amqp_text_add(&text, str);
    if (other_present)
        amqp_text_put(&text, '\'');
    else
        amqp_text_printf(&text, "' of type '%s'", amqp_value_type_name(value));
}

int equivalence_check_values(const struct destination *destination, const char *name,
                             const struct amqp_value *received, const struct amqp_value *current,
                             struct amqp_error *err)
{
    char received_text[2 * BOUND_REPLY_TEXT_BYTES], current_text[2 * BOUND_REPLY_TEXT_BYTES];

    if (received && current ? amqp_value_equal(received, current) : received == current)
        return 0;
    print_side(received, current != NULL, received_text, sizeof received_text);
    print_side(current, received != NULL, current_text, sizeof current_text);
    return raise(destination, name, received_text, current_text, err);
}
