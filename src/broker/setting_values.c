/*
 * setting_values.c - which of two values counts
 *
 * Spec: extensions.md 1.3, 5.2, 5.3.
 */
#include "broker/setting_values.h"

enum rule {
    RULE_FIRST,   /* the argument; the user's policy */
    RULE_SECOND,  /* the policy; the operator's policy */
    RULE_LOWER,
    RULE_LIMIT,   /* the lower, but a negative one, which is no limit, gives way to any other */
    RULE_TIMEOUT, /* the lower, but 0, which is never, gives way to any other */
};

static const struct {
    enum rule with_operator; /* user's and operator's policy */
    enum rule with_argument[2]; /* argument and effective policy, by enum queue_type */
} rules[SETTINGS] = {
    [SETTING_MESSAGE_TTL] = { RULE_LOWER, { RULE_LOWER, RULE_LOWER } },
    [SETTING_EXPIRES] = { RULE_LOWER, { RULE_LOWER, RULE_LOWER } },
    [SETTING_MAX_LENGTH] = { RULE_LOWER, { RULE_LOWER, RULE_LOWER } },
    [SETTING_MAX_LENGTH_BYTES] = { RULE_LOWER, { RULE_LOWER, RULE_LOWER } },
    [SETTING_DELIVERY_LIMIT] = { RULE_LIMIT, { RULE_LIMIT, RULE_LIMIT } },
    [SETTING_CONSUMER_TIMEOUT] = { RULE_TIMEOUT, { RULE_TIMEOUT, RULE_TIMEOUT } },
    [SETTING_OVERFLOW] = { RULE_SECOND, { RULE_FIRST, RULE_SECOND } },
    [SETTING_DEAD_LETTER_EXCHANGE] = { RULE_FIRST, { RULE_FIRST, RULE_FIRST } },
    [SETTING_DEAD_LETTER_KEY] = { RULE_FIRST, { RULE_FIRST, RULE_FIRST } },
    [SETTING_ALTERNATE_EXCHANGE] = { RULE_FIRST, { RULE_FIRST, RULE_FIRST } },
};

static bool second_counts(enum rule rule, int64_t first, int64_t second)
{
    switch (rule) {
    case RULE_FIRST:
        return false;
    case RULE_SECOND:
        return true;
    case RULE_LOWER:
        return second < first;
    case RULE_LIMIT:
        return first < 0 || (second >= 0 && second < first);
    case RULE_TIMEOUT:
        return first == 0 || (second != 0 && second < first);
    }
    return false;
}

static void take_one(enum setting setting, const struct setting_values *from,
                     struct setting_values *ret)
{
    if (setting < SETTING_NUMBERS)
        setting_give_number(ret, setting, from->numbers[setting]);
    else
        setting_give_text(ret, setting, setting_text(from, setting));
}

static void join(enum setting setting, enum rule rule, const struct setting_values *first,
                 const struct setting_values *second, struct setting_values *ret)
{
    bool in_first = setting_is_given(first, setting), in_second = setting_is_given(second, setting);
    bool number = setting < SETTING_NUMBERS;

    if (in_first && in_second &&
        second_counts(rule, number ? first->numbers[setting] : 0,
                      number ? second->numbers[setting] : 0))
        in_first = false;
    if (in_first)
        take_one(setting, first, ret);
    else if (in_second)
        take_one(setting, second, ret);
}

void setting_values_merge(const struct setting_values *user, const struct setting_values *operator,
                          struct setting_values *ret)
{
    static const struct setting_values nothing;

    *ret = nothing;
    for (enum setting setting = 0; setting < SETTINGS; setting++)
        join(setting, rules[setting].with_operator, user ? user : &nothing,
             operator ? operator : &nothing, ret);
}

void setting_values_combine(enum queue_type type, const struct setting_values *arguments,
                            const struct setting_values *policy, struct setting_values *ret)
{
    *ret = (struct setting_values){ 0 };
    for (enum setting setting = 0; setting < SETTINGS; setting++)
        join(setting, rules[setting].with_argument[type], arguments, policy, ret);
}

bool setting_overflow_find(struct amqp_str word, enum queue_overflow *ret_overflow)
{
    static const char *const words[] = {
        [QUEUE_OVERFLOW_DROP_HEAD] = "drop-head",
        [QUEUE_OVERFLOW_REJECT_PUBLISH] = "reject-publish",
        [QUEUE_OVERFLOW_REJECT_PUBLISH_DLX] = "reject-publish-dlx",
    };

    for (size_t i = 0; i < N_ELEMENTS(words); i++) {
        if (amqp_str_equal(word, amqp_str_from(words[i]))) {
            *ret_overflow = (enum queue_overflow)i;
            return true;
        }
    }
    return false;
}
