/*
 * expiration.c - reading the expiration property
 *
 * At most ten years. Digits past any limit are still read, so that the error can name the number,
 * up to what 64 bits hold; a longer one is shown as it was written.
 */
#include "broker/expiration.h"

#define EXPIRATION_MAX_MS INT64_C(315360000000)

static int raise_expiration(struct amqp_error *err, struct amqp_str text, const char *reason,
                            struct amqp_str detail)
{
    if (!detail.data)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "invalid expiration '%.*s': %s",
                          AMQP_STR_ARG(text), reason);
    return amqp_raise(err, AMQP_PRECONDITION_FAILED, "invalid expiration '%.*s': {%s,%.*s}",
                      AMQP_STR_ARG(text), reason, AMQP_STR_ARG(detail));
}

/* RabbitMQ shows what follows the digits as a string: {leftover_string,"x"}. */
static int raise_leftover(struct amqp_error *err, struct amqp_str text, struct amqp_str rest)
{
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "invalid expiration '%.*s': {leftover_string,\"%.*s\"}", AMQP_STR_ARG(text),
                      AMQP_STR_ARG(rest));
}

int expiration_parse(struct amqp_str text, struct amqp_error *err, int64_t *ret_ms)
{
    size_t at = 0, first;
    bool negative = false;
    int64_t value = 0;
    struct amqp_str number;

    if (at < text.size && (text.data[at] == '+' || text.data[at] == '-'))
        negative = text.data[at++] == '-';
    first = at;
    for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; at++)
        if (value <= EXPIRATION_MAX_MS)
            value = value * 10 + (text.data[at] - '0');
    if (at == first)
        return raise_expiration(err, text, "no_integer", (struct amqp_str){ NULL, 0 });
    if (at < text.size)
        return raise_leftover(err, text, (struct amqp_str){ text.data + at, text.size - at });
    number = text.data[0] == '+' ? (struct amqp_str){ text.data + 1, text.size - 1 } : text;
    if (negative && value > 0)
        return raise_expiration(err, text, "value_negative", number);
    if (value > EXPIRATION_MAX_MS)
        return raise_expiration(err, text, "value_too_large", number);
    *ret_ms = value;
    return 0;
}
