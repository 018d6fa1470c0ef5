/*
 * policy_keys.c - one row for each key that a policy's definition may have
 *
 * Keys of mirroring, federation and cluster placement are taken whatever they say: they have no
 * meaning on one machine, but a definition that has them must not be lost. A key that a queue type
 * cannot do keeps the whole policy from queues of that type (extensions.md 1.3).
 */
#include <errno.h>

#include "broker/erlang_term.h"
#include "broker/policy.h"

#define STREAM_SEGMENT_BYTES_MAX INT64_C(3000000000)

/* So that a time can be added to the clock; no queue notices the difference. */
#define TEN_YEARS_MS INT64_C(315360000000)

enum form {
    FORM_ANY,
    FORM_STRING,
    FORM_INTEGER,  /* between min and max */
    FORM_WORD,     /* one of words */
    FORM_AGE,      /* digits and a unit: 7D */
};

struct key {
    const char *name;
    const char *fault;      /* follows the value in the text of a refusal */
    enum form form;
    int64_t min, max;
    const char *words;      /* between bars: "|a|b|" */
    unsigned targets;       /* queue types that can do it */
    bool in_operator;
    enum setting setting;
};

#define BETWEEN(from, to) .form = FORM_INTEGER, .min = (from), .max = (to)
#define FROM(from) BETWEEN(from, INT64_MAX)
#define ONE_OF(text) .form = FORM_WORD, .words = "|" text "|"
#define SETS(which) .setting = SETTING_##which
#define NOTHING .setting = SETTING_NONE

#define CLASSIC POLICY_CLASSIC_QUEUES
#define QUORUM POLICY_QUORUM_QUEUES
#define STREAMS POLICY_STREAMS

static const struct key keys[] = {
    { "alternate-exchange", "is not a valid alternate exchange name", FORM_STRING,
      .targets = POLICY_QUEUES, SETS(ALTERNATE_EXCHANGE) },
    { "message-ttl", "is not a valid message TTL", FROM(0), .targets = CLASSIC | QUORUM,
      .in_operator = true, SETS(MESSAGE_TTL) },
    { "expires", "is not a valid queue expiry", FROM(1), .targets = CLASSIC | QUORUM,
      .in_operator = true, SETS(EXPIRES) },
    { "max-length", "is not a valid maximum length", FROM(0), .targets = CLASSIC | QUORUM,
      .in_operator = true, SETS(MAX_LENGTH) },
    { "max-length-bytes", "is not a valid maximum length in bytes", FROM(0),
      .targets = POLICY_QUEUES, .in_operator = true, SETS(MAX_LENGTH_BYTES) },
    { "max-in-memory-length", "is not a valid maximum memory in bytes", FROM(0), .targets = QUORUM,
      .in_operator = true, NOTHING },
    { "max-in-memory-bytes", "is not a valid maximum memory in bytes", FROM(0), .targets = QUORUM,
      .in_operator = true, NOTHING },
    { "overflow", "is not a valid overflow value",
      ONE_OF("drop-head|reject-publish|reject-publish-dlx"), .targets = CLASSIC | QUORUM,
      .in_operator = true, SETS(OVERFLOW) },
    { "dead-letter-exchange", "is not a valid dead letter exchange name", FORM_STRING,
      .targets = CLASSIC | QUORUM, SETS(DEAD_LETTER_EXCHANGE) },
    { "dead-letter-routing-key", "is not a valid dead letter routing key", FORM_STRING,
      .targets = CLASSIC | QUORUM, SETS(DEAD_LETTER_KEY) },
    /* Every queue's dead letters arrive at least once. */
    { "dead-letter-strategy", "is not a valid dead letter strategy",
      ONE_OF("at-most-once|at-least-once"), .targets = QUORUM, NOTHING },
    { "delivery-limit", "is not a valid delivery limit", FROM(INT64_MIN), .targets = QUORUM,
      .in_operator = true, SETS(DELIVERY_LIMIT) },
    { "queue-mode", "is not a valid queue-mode value", ONE_OF("default|lazy"), .targets = CLASSIC,
      NOTHING },
    { "queue-version", "is not a valid queue-version value", BETWEEN(1, 2), .targets = CLASSIC,
      .in_operator = true, NOTHING },
    { "consumer-timeout", "is not a valid consumer timeout", FROM(0), .targets = POLICY_QUEUES,
      SETS(CONSUMER_TIMEOUT) },
    { "consumer-disconnected-timeout", "is not a valid consumer timeout", FROM(0),
      .targets = POLICY_QUEUES, NOTHING },
    { "delayed-retry-type", "is not a valid delayed retry type. Must be one of: all, failed, "
      "returned, disabled", ONE_OF("all|failed|returned|disabled"), .targets = POLICY_QUEUES,
      .in_operator = true, NOTHING },
    { "delayed-retry-min", "is not a valid delayed retry min", FROM(1), .targets = POLICY_QUEUES,
      .in_operator = true, NOTHING },
    { "delayed-retry-max", "is not a valid delayed retry max", FROM(1), .targets = POLICY_QUEUES,
      .in_operator = true, NOTHING },
    { "max-age", "is not a valid max age", FORM_AGE, .targets = STREAMS, NOTHING },
    { "stream-max-segment-size-bytes", "is not a valid segment size",
      BETWEEN(0, STREAM_SEGMENT_BYTES_MAX), .targets = STREAMS, NOTHING },
    { "stream-filter-size-bytes", "is not a valid filter size. Valid range is 16-255",
      BETWEEN(16, 255), .targets = STREAMS, NOTHING },
    { "initial-cluster-size", "is not a valid cluster size", FROM(1), .targets = STREAMS, NOTHING },
    { "queue-leader-locator", "is not a valid queue leader locator value",
      ONE_OF("client-local|balanced|random|least-leaders|min-masters"), .targets = POLICY_QUEUES,
      NOTHING },
    { "target-group-size", "is not a valid qq target count value", FROM(1), .targets = QUORUM,
      .in_operator = true, NOTHING },
    { "member-placement-tag", "is not a valid member placement tag", FORM_STRING,
      .targets = POLICY_QUEUES, .in_operator = true, NOTHING },
    { "queue-master-locator", "invalid queue-master-locator value",
      ONE_OF("min-masters|client-local|random"), .targets = CLASSIC, NOTHING },
    { "ha-mode", NULL, FORM_ANY, .targets = CLASSIC, .in_operator = true, NOTHING },
    { "ha-params", NULL, FORM_ANY, .targets = CLASSIC, .in_operator = true, NOTHING },
    { "ha-sync-mode", NULL, FORM_ANY, .targets = CLASSIC, .in_operator = true, NOTHING },
    { "ha-sync-batch-size", NULL, FORM_ANY, .targets = CLASSIC, NOTHING },
    { "ha-promote-on-shutdown", NULL, FORM_ANY, .targets = CLASSIC, NOTHING },
    { "ha-promote-on-failure", NULL, FORM_ANY, .targets = CLASSIC, NOTHING },
    { "federation-upstream", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
    { "federation-upstream-set", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
    { "federation-upstream-pattern", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
    { "shards-per-node", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
    { "routing-key", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
    { "delayed-message", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
    { "x-message-deduplication", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
    { "x-cache-size", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
    { "x-cache-ttl", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
    { "x-cache-persistence", NULL, FORM_ANY, .targets = POLICY_QUEUES, NOTHING },
};

static const struct key *find_key(enum policy_kind kind, const char *name)
{
    for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
        if (strcmp(keys[i].name, name) == 0)
            return kind == POLICY_USER || keys[i].in_operator ? &keys[i] : NULL;
    }
    return NULL;
}

bool policy_key_is_known(enum policy_kind kind, const char *name)
{
    return find_key(kind, name) != NULL;
}

bool policy_key_has_effect(const char *name)
{
    const struct key *key = find_key(POLICY_USER, name);

    return key && key->setting != SETTING_NONE;
}

const char *policy_key_name(size_t i)
{
    return i < N_ELEMENTS(keys) ? keys[i].name : NULL;
}

static bool is_word(const char *words, const char *word)
{
    size_t size = strlen(word);

    for (const char *at = words; at[1]; at = strchr(at + 1, '|')) {
        if (strncmp(at + 1, word, size) == 0 && at[1 + size] == '|')
            return true;
    }
    return false;
}

static bool is_age(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && strspn(text, "0") < digits && text[digits] &&
           strchr("YMDhms", text[digits]) && !text[digits + 1];
}

static bool is_good(const struct key *key, const json_t *value)
{
    switch (key->form) {
    case FORM_ANY:
        return true;
    case FORM_STRING:
        return json_is_string(value);
    case FORM_INTEGER:
        return json_is_integer(value) && json_integer_value(value) >= key->min &&
               json_integer_value(value) <= key->max;
    case FORM_WORD:
        return json_is_string(value) && is_word(key->words, json_string_value(value));
    case FORM_AGE:
        return json_is_string(value) && is_age(json_string_value(value));
    }
    return false;
}

static struct amqp_str text_of(const json_t *value)
{
    return (struct amqp_str){ json_string_value(value), json_string_length(value) };
}

static void give(const struct key *key, const json_t *value, struct setting_values *values)
{
    enum queue_overflow overflow;
    int64_t number = json_integer_value(value);

    switch (key->setting) {
    case SETTING_MESSAGE_TTL:
    case SETTING_EXPIRES:
    case SETTING_CONSUMER_TIMEOUT:
        setting_give_number(values, key->setting, number < TEN_YEARS_MS ? number : TEN_YEARS_MS);
        break;
    case SETTING_MAX_LENGTH:
    case SETTING_MAX_LENGTH_BYTES:
    case SETTING_DELIVERY_LIMIT:
        setting_give_number(values, key->setting, number);
        break;
    case SETTING_OVERFLOW:
        if (setting_overflow_find(text_of(value), &overflow))
            setting_give_number(values, key->setting, overflow);
        break;
    case SETTING_DEAD_LETTER_EXCHANGE:
    case SETTING_DEAD_LETTER_KEY:
    case SETTING_ALTERNATE_EXCHANGE:
        setting_give_text(values, key->setting, text_of(value));
        break;
    case SETTING_NONE:
        break;
    }
}

/* The first key in order of name, behind @after, that is known and has a bad value. */
static const char *first_bad(enum policy_kind kind, const json_t *definition)
{
    const char *found = NULL, *name;
    const json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)definition, name, value) {
        const struct key *key = find_key(kind, name);

        if (key && !is_good(key, value) && (!found || strcmp(name, found) < 0))
            found = name;
    }
    return found;
}

static const char *next_unknown(enum policy_kind kind, const json_t *definition, const char *after)
{
    const char *found = NULL, *name;
    const json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)definition, name, value) {
        if (!find_key(kind, name) && strcmp(name, after) > 0 &&
            (!found || strcmp(name, found) < 0))
            found = name;
    }
    return found;
}

/* RabbitMQ lists them all, sorted. */
static int refuse_unknown(enum policy_kind kind, const json_t *definition, const char *first,
                          struct amqp_text *problems)
{
    const char *name = first;

    amqp_text_put(problems, '[');
    while (name && !amqp_text_full(problems)) {
        erlang_term_print_pair(problems, name, json_object_get(definition, name));
        name = next_unknown(kind, definition, name);
        if (name)
            amqp_text_put(problems, ',');
    }
    amqp_text_add(problems, AMQP_STR("] are not recognised policy settings"));
    return -EINVAL;
}

/* What depends on two keys. */
static int check_delayed_retry(const json_t *definition, struct amqp_text *problems)
{
    const json_t *min = json_object_get(definition, "delayed-retry-min");
    const json_t *max = json_object_get(definition, "delayed-retry-max");
    const char *type = json_string_value(json_object_get(definition, "delayed-retry-type"));

    if (type && strcmp(type, "disabled") != 0 && !min) {
        amqp_text_printf(problems, "delayed-retry-min is required when delayed-retry-type is %s",
                         type);
        return -EINVAL;
    }
    if (min && max && json_integer_value(max) < json_integer_value(min)) {
        amqp_text_printf(problems,
                         "delayed-retry-max (%" JSON_INTEGER_FORMAT ") must not be smaller than "
                         "delayed-retry-min (%" JSON_INTEGER_FORMAT ")",
                         json_integer_value(max), json_integer_value(min));
        return -EINVAL;
    }
    return 0;
}

static int check_federation(const json_t *definition, struct amqp_text *problems)
{
    static const char *const exclusive[] = { "federation-upstream", "federation-upstream-set",
                                             "federation-upstream-pattern" };
    size_t n = 0;

    for (size_t i = 0; i < N_ELEMENTS(exclusive); i++)
        n += json_object_get(definition, exclusive[i]) != NULL;
    if (n < 2)
        return 0;
    amqp_text_add(problems, AMQP_STR("cannot specify federation-upstream, federation-upstream-set "
                                     "or federation-upstream-pattern together"));
    return -EINVAL;
}

int policy_definition_check(enum policy_kind kind, const json_t *definition,
                            struct amqp_text *problems, struct setting_values *ret_values,
                            unsigned *ret_targets)
{
    const char *name = first_bad(kind, definition);
    const json_t *value;
    int rc;

    if (json_object_size(definition) == 0) {
        amqp_text_add(problems, AMQP_STR("no policy provided"));
        return -EINVAL;
    }
    if (name) {
        erlang_term_print(problems, json_object_get(definition, name));
        amqp_text_printf(problems, " %s", find_key(kind, name)->fault);
        return -EINVAL;
    }
    name = next_unknown(kind, definition, "");
    if (name)
        return refuse_unknown(kind, definition, name, problems);
    rc = check_delayed_retry(definition, problems);
    if (!rc)
        rc = check_federation(definition, problems);
    if (rc)
        return rc;
    *ret_values = (struct setting_values){ 0 };
    *ret_targets = POLICY_ALL;
    json_object_foreach ((json_t *)(uintptr_t)definition, name, value) {
        const struct key *key = find_key(kind, name);

        *ret_targets &= key->targets | POLICY_EXCHANGES;
        give(key, value, ret_values);
    }
    return 0;
}
