/*
 * setting_values.h - what one source, be it arguments or a policy, says about a queue
 *
 * The arguments of a queue, its policy and its operator policy are three tables of the same shape,
 * which are then combined two by two under a rule for each setting.
 */
#ifndef BROKER_SETTING_VALUES_H
#define BROKER_SETTING_VALUES_H

#include "amqp/base.h"
#include "broker/queue_settings.h"

enum setting {
    /* numbers */
    SETTING_MESSAGE_TTL,       /* ms */
    SETTING_EXPIRES,           /* ms */
    SETTING_MAX_LENGTH,
    SETTING_MAX_LENGTH_BYTES,
    SETTING_DELIVERY_LIMIT,    /* negative: no limit */
    SETTING_CONSUMER_TIMEOUT,  /* ms; 0: never */
    SETTING_OVERFLOW,          /* enum queue_overflow */
    SETTING_NUMBERS,
    /* texts */
    SETTING_DEAD_LETTER_EXCHANGE = SETTING_NUMBERS,
    SETTING_DEAD_LETTER_KEY,
    SETTING_ALTERNATE_EXCHANGE,
    SETTINGS,
    SETTING_NONE = SETTINGS,   /* of arguments and keys that set nothing */
};

/** struct setting_values - starts as all zero; texts are borrowed from the source */
struct setting_values {
    uint32_t given; /* a bit for each setting */
    int64_t numbers[SETTING_NUMBERS];
    struct amqp_str texts[SETTINGS - SETTING_NUMBERS];
};

static inline bool setting_is_given(const struct setting_values *values, enum setting setting)
{
    return values->given & (UINT32_C(1) << setting);
}

static inline void setting_give_number(struct setting_values *values, enum setting setting,
                                       int64_t number)
{
    values->given |= UINT32_C(1) << setting;
    values->numbers[setting] = number;
}

static inline void setting_give_text(struct setting_values *values, enum setting setting,
                                     struct amqp_str text)
{
    values->given |= UINT32_C(1) << setting;
    values->texts[setting - SETTING_NUMBERS] = text;
}

static inline struct amqp_str setting_text(const struct setting_values *values,
                                           enum setting setting)
{
    return values->texts[setting - SETTING_NUMBERS];
}

/** setting_overflow_find() - "drop-head", "reject-publish", "reject-publish-dlx" */
bool setting_overflow_find(struct amqp_str word, enum queue_overflow *ret_overflow);

/** setting_values_merge() - a policy and an operator policy, either of which may be NULL (5.2) */
void setting_values_merge(const struct setting_values *user, const struct setting_values *operator,
                          struct setting_values *ret);

/** setting_values_combine() - a queue's arguments and its effective policy (1.3) */
void setting_values_combine(enum queue_type type, const struct setting_values *arguments,
                            const struct setting_values *policy, struct setting_values *ret);

#endif
