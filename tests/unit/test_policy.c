/*
 * test_policy.c - which policy applies, what it comes to together with arguments, and when
 *
 * Spec: extensions.md 1.3, 4.1, 4.10, 5. Texts are those of RabbitMQ 3.10 where it has the key.
 */
#include <errno.h>

#include "broker/policy.h"
#include "broker/vhost_limits.h"
#include "topology_fixture.h"
#include "unit.h"

static char text[1024];

/* --- definitions: keys, values, texts --- */

static const struct {
    const char *definition, *problem;
} bad[] = {
    { "{}", "no policy provided" },
    { "{\"message-ttl\":-1}", "-1 is not a valid message TTL" },
    { "{\"message-ttl\":\"a\"}", "<<\"a\">> is not a valid message TTL" },
    { "{\"message-ttl\":1.5}", "1.5 is not a valid message TTL" },
    { "{\"message-ttl\":1.0e10}", "1.0e10 is not a valid message TTL" },
    { "{\"message-ttl\":true}", "true is not a valid message TTL" },
    { "{\"message-ttl\":null}", "null is not a valid message TTL" },
    { "{\"message-ttl\":[1,\"a\"]}", "[1,<<\"a\">>] is not a valid message TTL" },
    { "{\"message-ttl\":{\"a\":1,\"b\":[]}}",
      "#{<<\"a\">> => 1,<<\"b\">> => []} is not a valid message TTL" },
    { "{\"message-ttl\":\"a\\\"b\"}", "<<\"a\\\"b\">> is not a valid message TTL" },
    { "{\"expires\":0}", "0 is not a valid queue expiry" },
    { "{\"max-length\":\"a\"}", "<<\"a\">> is not a valid maximum length" },
    { "{\"max-length-bytes\":-5}", "-5 is not a valid maximum length in bytes" },
    { "{\"max-in-memory-length\":-1}", "-1 is not a valid maximum memory in bytes" },
    { "{\"max-in-memory-bytes\":-1}", "-1 is not a valid maximum memory in bytes" },
    { "{\"overflow\":\"x\"}", "<<\"x\">> is not a valid overflow value" },
    { "{\"overflow\":\"drop\"}", "<<\"drop\">> is not a valid overflow value" },
    { "{\"overflow\":\"\"}", "<<>> is not a valid overflow value" },
    { "{\"dead-letter-exchange\":5}", "5 is not a valid dead letter exchange name" },
    { "{\"dead-letter-routing-key\":5}", "5 is not a valid dead letter routing key" },
    { "{\"dead-letter-strategy\":\"x\"}", "<<\"x\">> is not a valid dead letter strategy" },
    { "{\"delivery-limit\":\"a\"}", "<<\"a\">> is not a valid delivery limit" },
    { "{\"alternate-exchange\":5}", "5 is not a valid alternate exchange name" },
    { "{\"queue-mode\":\"a\"}", "<<\"a\">> is not a valid queue-mode value" },
    { "{\"queue-version\":3}", "3 is not a valid queue-version value" },
    { "{\"queue-leader-locator\":\"a\"}", "<<\"a\">> is not a valid queue leader locator value" },
    { "{\"queue-master-locator\":\"a\"}", "<<\"a\">> invalid queue-master-locator value" },
    { "{\"max-age\":\"1x\"}", "<<\"1x\">> is not a valid max age" },
    { "{\"max-age\":\"0h\"}", "<<\"0h\">> is not a valid max age" },
    { "{\"stream-max-segment-size-bytes\":3000000001}",
      "3000000001 is not a valid segment size" },
    { "{\"stream-filter-size-bytes\":15}",
      "15 is not a valid filter size. Valid range is 16-255" },
    { "{\"initial-cluster-size\":0}", "0 is not a valid cluster size" },
    { "{\"target-group-size\":0}", "0 is not a valid qq target count value" },
    { "{\"consumer-timeout\":-1}", "-1 is not a valid consumer timeout" },
    { "{\"delayed-retry-type\":\"x\"}", "<<\"x\">> is not a valid delayed retry type. Must be one "
                                        "of: all, failed, returned, disabled" },
    { "{\"delayed-retry-type\":\"all\"}",
      "delayed-retry-min is required when delayed-retry-type is all" },
    { "{\"delayed-retry-min\":5,\"delayed-retry-max\":4}",
      "delayed-retry-max (4) must not be smaller than delayed-retry-min (5)" },
    { "{\"federation-upstream\":\"a\",\"federation-upstream-set\":\"b\"}",
      "cannot specify federation-upstream, federation-upstream-set or "
      "federation-upstream-pattern together" },
    { "{\"foo\":1}", "[{<<\"foo\">>,1}] are not recognised policy settings" },
    { "{\"foo\":1,\"bar\":\"x\"}",
      "[{<<\"bar\">>,<<\"x\">>},{<<\"foo\">>,1}] are not recognised policy settings" },
    { "{\"foo\":1,\"message-ttl\":-1}", "-1 is not a valid message TTL" },
    { "{\"message-ttl\":-2,\"max-length\":-1}", "-1 is not a valid maximum length" },
    { "{\"max-priority\":3}", "[{<<\"max-priority\">>,3}] are not recognised policy settings" },
    { "{\"single-active-consumer\":true}",
      "[{<<\"single-active-consumer\">>,true}] are not recognised policy settings" },
};

static int put(const char *name, const char *json)
{
    return broker_put_policy(broker, "v", name, json, text, sizeof text);
}

static void put_well(const char *name, const char *json)
{
    ck_assert_msg(put(name, json) == 0, "%s: %s", name, text);
}

static void put_operator(const char *name, const char *json)
{
    ck_assert_msg(broker_put_parameter(broker, "v", "operator_policy", name, json, text,
                                       sizeof text) == 0,
                  "%s: %s", name, text);
}

static void apply_all(void)
{
    while (policy_apply_some(broker, 1))
        ;
}

START_TEST(test_a_bad_definition_is_refused_with_rabbitmqs_text)
{
    char json[256];

    snprintf(json, sizeof json, "{\"pattern\":\"\",\"definition\":%s}", bad[_i].definition);
    ck_assert_int_eq(put("p", json), -EINVAL);
    ck_assert_str_eq(text, bad[_i].problem);
    ck_assert_ptr_null(vhost->policies);
    ck_assert_ptr_null(parameters_first(&broker->parameters, STORE_KIND_POLICY));
}
END_TEST

static const char *const good[] = {
    "{\"message-ttl\":0,\"expires\":1,\"max-length\":0,\"max-length-bytes\":0}",
    "{\"delivery-limit\":-1}",
    "{\"ha-mode\":\"all\",\"ha-sync-mode\":\"automatic\",\"ha-params\":[1]}",
    "{\"federation-upstream-set\":\"all\"}",
    "{\"queue-leader-locator\":\"balanced\",\"queue-master-locator\":\"min-masters\"}",
    "{\"max-age\":\"7D\",\"stream-max-segment-size-bytes\":3000000000}",
    "{\"delayed-retry-type\":\"all\",\"delayed-retry-min\":1,\"delayed-retry-max\":1}",
    "{\"overflow\":\"reject-publish-dlx\",\"dead-letter-strategy\":\"at-least-once\"}",
    "{\"queue-mode\":\"lazy\",\"queue-version\":2,\"alternate-exchange\":\"\"}",
    "{\"message-ttl\":9223372036854775807}",
};

START_TEST(test_a_good_definition_is_taken)
{
    char json[256];

    snprintf(json, sizeof json, "{\"pattern\":\"\",\"definition\":%s}", good[_i]);
    put_well("p", json);
    ck_assert_ptr_nonnull(vhost->policies);
}
END_TEST

static const struct {
    const char *policy, *problem;
} malformed[] = {
    { "{\"definition\":{\"expires\":1}}", "Key \"pattern\" not found in p" },
    { "{\"pattern\":\"\"}", "Key \"definition\" not found in p" },
    { "{\"pattern\":3,\"definition\":{\"expires\":1}}", "pattern should be a binary but was 3" },
    { "{\"pattern\":\"(\",\"definition\":{\"expires\":1}}",
      "pattern should be regular expression but is invalid: "
      "{\"missing closing parenthesis\",1}" },
    { "{\"pattern\":\"\",\"definition\":{\"expires\":1},\"priority\":\"a\"}",
      "priority should be a number, actually was <<\"a\">>" },
    { "{\"pattern\":\"\",\"definition\":{\"expires\":1},\"foo\":1}",
      "Unrecognised terms [{<<\"foo\">>,1}] in p" },
    { "{\"pattern\":\"\",\"definition\":3}",
      "parse error while reading policy definition: 3. Validator: policy_validator." },
    { "{\"pattern\":\"\",\"definition\":{\"expires\":1},\"apply-to\":\"foo\"}",
      "apply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues',  "
      "'quorum_queues', 'streams', 'exchanges', or 'all'" },
    { "{\"pattern\":\"(\",\"definition\":{\"max-length\":-3},\"apply-to\":\"foo\"}",
      "-3 is not a valid maximum length\n"
      "apply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues',  "
      "'quorum_queues', 'streams', 'exchanges', or 'all'\n"
      "pattern should be regular expression but is invalid: "
      "{\"missing closing parenthesis\",1}" },
};

START_TEST(test_a_malformed_policy_is_refused_with_all_its_problems)
{
    ck_assert_int_eq(put("p", malformed[_i].policy), -EINVAL);
    ck_assert_str_eq(text, malformed[_i].problem);
    ck_assert_ptr_null(vhost->policies);
}
END_TEST

START_TEST(test_an_operator_policy_has_fewer_keys)
{
    static const char *const refused[] = { "dead-letter-exchange", "dead-letter-routing-key",
                                           "alternate-exchange" };
    char json[256], problem[256];

    for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
        snprintf(json, sizeof json, "{\"pattern\":\"\",\"definition\":{\"%s\":\"x\"}}", refused[i]);
        snprintf(problem, sizeof problem,
                 "[{<<\"%s\">>,<<\"x\">>}] are not recognised policy settings", refused[i]);
        ck_assert_int_eq(broker_put_parameter(broker, "v", "operator_policy", "p", json, text,
                                              sizeof text),
                         -EINVAL);
        ck_assert_str_eq(text, problem);
    }
    put_operator("p", "{\"pattern\":\"\",\"definition\":{\"max-length\":1,"
                      "\"overflow\":\"reject-publish\",\"delivery-limit\":2}}");
}
END_TEST

/* --- settings: arguments and policies together --- */

static struct queue *declare(const char *name, struct amqp_table_writer *writer, bool durable)
{
    struct queue_properties properties = { .name = amqp_str_from(name),
                                           .durable = durable,
                                           .arguments = amqp_table_written(writer) };
    struct queue *made = NULL;

    ck_assert_msg(queue_declare(vhost, &properties, &err, &made) == 0, "%s", err.text);
    amqp_table_writer_release(writer);
    return made;
}

static struct queue *plain(const char *name)
{
    return declare(name, &(struct amqp_table_writer){ 0 }, false);
}

static struct queue *quorum(const char *name)
{
    struct amqp_table_writer writer = { 0 };

    amqp_table_put_str(&writer, "x-queue-type", AMQP_STR("quorum"));
    return declare(name, &writer, true);
}

enum { ABSENT = -99 };

/* Numbers: each source may say one; what is in force afterwards. */
static const struct {
    const char *argument, *key;
    int64_t argued, policy, operator;
    bool quorum;
    int64_t in_force;
} merge[] = {
    { "x-message-ttl", "message-ttl", 5, ABSENT, ABSENT, false, 5 },
    { "x-message-ttl", "message-ttl", ABSENT, 3, ABSENT, false, 3 },
    { "x-message-ttl", "message-ttl", ABSENT, ABSENT, 3, false, 3 },
    { "x-message-ttl", "message-ttl", ABSENT, ABSENT, ABSENT, false, -1 },
    { "x-message-ttl", "message-ttl", 5, 3, ABSENT, false, 3 },
    { "x-message-ttl", "message-ttl", 2, 3, ABSENT, false, 2 },
    { "x-message-ttl", "message-ttl", 0, 3, 4, false, 0 },
    { "x-message-ttl", "message-ttl", 5, 3, 1, false, 1 },
    { "x-message-ttl", "message-ttl", ABSENT, 3, 4, false, 3 },
    { "x-message-ttl", "message-ttl", 9, 8, 7, true, 7 },
    { "x-expires", "expires", 5, 3, ABSENT, false, 3 },
    { "x-expires", "expires", 2, 3, 9, true, 2 },
    { "x-max-length", "max-length", 5, 3, ABSENT, false, 3 },
    { "x-max-length", "max-length", 2, 3, ABSENT, false, 2 },
    { "x-max-length", "max-length", 5, 3, 0, false, 0 },
    { "x-max-length", "max-length", 5, 3, 4, true, 3 },
    { "x-max-length-bytes", "max-length-bytes", 5, 3, ABSENT, false, 3 },
    { "x-max-length-bytes", "max-length-bytes", 5, ABSENT, 6, true, 5 },
    { "x-delivery-limit", "delivery-limit", ABSENT, ABSENT, ABSENT, true, 20 },
    { "x-delivery-limit", "delivery-limit", ABSENT, ABSENT, ABSENT, false, -1 },
    { "x-delivery-limit", "delivery-limit", 3, ABSENT, ABSENT, false, 3 },
    { "x-delivery-limit", "delivery-limit", -1, ABSENT, ABSENT, true, -1 },
    { "x-delivery-limit", "delivery-limit", -7, ABSENT, ABSENT, true, -1 },
    { "x-delivery-limit", "delivery-limit", -1, 5, ABSENT, true, 5 },
    { "x-delivery-limit", "delivery-limit", 5, -1, ABSENT, true, 5 },
    { "x-delivery-limit", "delivery-limit", 5, 0, ABSENT, true, 0 },
    { "x-delivery-limit", "delivery-limit", 5, 6, ABSENT, true, 5 },
    { "x-delivery-limit", "delivery-limit", ABSENT, 50, ABSENT, true, 50 },
    { "x-delivery-limit", "delivery-limit", ABSENT, -1, 4, true, 4 },
    { "x-delivery-limit", "delivery-limit", ABSENT, 4, -1, true, 4 },
    { "x-delivery-limit", "delivery-limit", ABSENT, -1, -1, true, -1 },
    { "x-delivery-limit", "delivery-limit", ABSENT, 5, 4, true, 4 },
    { "x-delivery-limit", "delivery-limit", ABSENT, 5, ABSENT, false, -1 }, /* not for classic */
    { "x-consumer-timeout", "consumer-timeout", ABSENT, ABSENT, ABSENT, false, -1 },
    { "x-consumer-timeout", "consumer-timeout", 5, 3, ABSENT, false, 3 },
    { "x-consumer-timeout", "consumer-timeout", 2, 3, ABSENT, true, 2 },
    { "x-consumer-timeout", "consumer-timeout", 0, 3, ABSENT, true, 3 },
    { "x-consumer-timeout", "consumer-timeout", 3, 0, ABSENT, false, 3 },
    { "x-consumer-timeout", "consumer-timeout", 0, 0, ABSENT, false, 0 },
};

static int64_t in_force(const struct queue_settings *settings, const char *key)
{
    if (strcmp(key, "message-ttl") == 0)
        return settings->message_ttl_ms;
    if (strcmp(key, "expires") == 0)
        return settings->expires_ms;
    if (strcmp(key, "max-length") == 0)
        return settings->max_length;
    if (strcmp(key, "max-length-bytes") == 0)
        return settings->max_length_bytes;
    if (strcmp(key, "delivery-limit") == 0)
        return settings->delivery_limit;
    ck_assert_str_eq(key, "consumer-timeout");
    return settings->consumer_timeout_ms;
}

static const char *number_policy(const char *key, int64_t number)
{
    static char json[256];

    snprintf(json, sizeof json, "{\"pattern\":\"^q$\",\"definition\":{\"%s\":%lld}}", key,
             (long long)number);
    return json;
}

static struct queue *merged_queue(size_t row)
{
    struct amqp_table_writer writer = { 0 };

    if (merge[row].quorum)
        amqp_table_put_str(&writer, "x-queue-type", AMQP_STR("quorum"));
    if (merge[row].argued != ABSENT)
        amqp_table_put_int(&writer, merge[row].argument, merge[row].argued);
    return declare("q", &writer, merge[row].quorum);
}

static void put_merged(size_t row)
{
    if (merge[row].policy != ABSENT)
        put_well("p", number_policy(merge[row].key, merge[row].policy));
    if (merge[row].operator != ABSENT)
        put_operator("o", number_policy(merge[row].key, merge[row].operator));
}

START_TEST(test_numbers_of_arguments_and_policies_merge_at_declaration)
{
    put_merged((size_t)_i);
    ck_assert_int_eq(in_force(merged_queue((size_t)_i)->settings, merge[_i].key),
                     merge[_i].in_force);
}
END_TEST

START_TEST(test_numbers_of_arguments_and_policies_merge_for_existing_queues)
{
    struct queue *q = merged_queue((size_t)_i);

    put_merged((size_t)_i);
    apply_all();
    ck_assert_int_eq(in_force(q->settings, merge[_i].key), merge[_i].in_force);
}
END_TEST

/* Which of three sources decides on the overflow: 0 drop-head, 1 reject-publish. */
static const struct {
    const char *argued, *policy, *operator;
    bool quorum;
    enum queue_overflow in_force;
} overflow[] = {
    { NULL, NULL, NULL, false, QUEUE_OVERFLOW_DROP_HEAD },
    { NULL, "reject-publish", NULL, false, QUEUE_OVERFLOW_REJECT_PUBLISH },
    { "drop-head", "reject-publish", NULL, false, QUEUE_OVERFLOW_DROP_HEAD },
    { "drop-head", "reject-publish", NULL, true, QUEUE_OVERFLOW_REJECT_PUBLISH },
    { NULL, "reject-publish", "drop-head", false, QUEUE_OVERFLOW_DROP_HEAD },
    { NULL, "drop-head", "reject-publish", false, QUEUE_OVERFLOW_REJECT_PUBLISH },
    { "reject-publish-dlx", NULL, "drop-head", false, QUEUE_OVERFLOW_REJECT_PUBLISH_DLX },
    { "reject-publish-dlx", NULL, NULL, true, QUEUE_OVERFLOW_DROP_HEAD },
    { "reject-publish", NULL, "drop-head", true, QUEUE_OVERFLOW_DROP_HEAD },
};

START_TEST(test_overflow_is_decided_by_one_source)
{
    struct amqp_table_writer writer = { 0 };
    char json[256];

    if (overflow[_i].quorum)
        amqp_table_put_str(&writer, "x-queue-type", AMQP_STR("quorum"));
    if (overflow[_i].argued)
        amqp_table_put_str(&writer, "x-overflow", amqp_str_from(overflow[_i].argued));
    if (overflow[_i].policy) {
        snprintf(json, sizeof json, "{\"pattern\":\"\",\"definition\":{\"overflow\":\"%s\"}}",
                 overflow[_i].policy);
        put_well("p", json);
    }
    if (overflow[_i].operator) {
        snprintf(json, sizeof json, "{\"pattern\":\"\",\"definition\":{\"overflow\":\"%s\"}}",
                 overflow[_i].operator);
        put_operator("o", json);
    }
    ck_assert_int_eq(declare("q", &writer, overflow[_i].quorum)->settings->overflow,
                     overflow[_i].in_force);
}
END_TEST

/* Exchange and key of dead letters, from arguments and policy; NULL: not said. */
static const struct {
    const char *argued_exchange, *argued_key, *exchange, *key;
    const char *wanted_exchange, *wanted_key;
} dead[] = {
    { NULL, NULL, NULL, NULL, NULL, NULL },
    { "a", NULL, NULL, NULL, "a", NULL },
    { "a", "k", "b", "l", "a", "k" },
    { "a", NULL, "b", "l", "a", "l" },
    { "a", NULL, NULL, "l", "a", "l" },
    { NULL, NULL, "b", "l", "b", "l" },
    { NULL, NULL, "", NULL, "", NULL },
    { "", "", "b", NULL, "", "" },
    { NULL, NULL, NULL, "l", NULL, NULL },
};

static void assert_text(bool has, struct amqp_str has_text, const char *wanted)
{
    ck_assert(has == (wanted != NULL));
    if (wanted)
        ck_assert(amqp_str_equal(has_text, amqp_str_from(wanted)));
}

START_TEST(test_dead_letter_arguments_win_and_policies_complete_them)
{
    struct amqp_table_writer writer = { 0 };
    const struct queue_settings *settings;
    char json[256];

    if (dead[_i].argued_exchange)
        amqp_table_put_str(&writer, "x-dead-letter-exchange",
                           amqp_str_from(dead[_i].argued_exchange));
    if (dead[_i].argued_key)
        amqp_table_put_str(&writer, "x-dead-letter-routing-key",
                           amqp_str_from(dead[_i].argued_key));
    snprintf(json, sizeof json,
             "{\"pattern\":\"\",\"definition\":{\"queue-mode\":\"lazy\"%s%s%s%s%s%s}}",
             dead[_i].exchange ? ",\"dead-letter-exchange\":\"" : "",
             dead[_i].exchange ? dead[_i].exchange : "", dead[_i].exchange ? "\"" : "",
             dead[_i].key ? ",\"dead-letter-routing-key\":\"" : "",
             dead[_i].key ? dead[_i].key : "", dead[_i].key ? "\"" : "");
    put_well("p", json);
    settings = declare("q", &writer, false)->settings;
    assert_text(settings->dead_letters, settings->dead_letter_exchange, dead[_i].wanted_exchange);
    assert_text(settings->has_dead_letter_key, settings->dead_letter_key, dead[_i].wanted_key);
}
END_TEST

START_TEST(test_queues_without_anything_share_the_default)
{
    put_well("p", "{\"pattern\":\"^other\",\"definition\":{\"max-length\":1}}");
    ck_assert_ptr_eq(plain("q")->settings, &queue_settings_default);
}
END_TEST

/* --- which policy --- */

START_TEST(test_the_highest_priority_that_matches_applies_alone)
{
    struct queue *q = plain("orders");

    put_well("low", "{\"pattern\":\"\",\"priority\":1,\"definition\":{\"max-length\":1,"
                    "\"expires\":9}}");
    put_well("high", "{\"pattern\":\"^ord\",\"priority\":2,\"definition\":{\"max-length\":2}}");
    put_well("higher", "{\"pattern\":\"^x\",\"priority\":3,\"definition\":{\"max-length\":3}}");
    put_well("beta", "{\"pattern\":\"\",\"priority\":2,\"definition\":{\"max-length\":4}}");
    apply_all();
    ck_assert_int_eq(q->settings->max_length, 4); /* beta comes before high */
    ck_assert_int_eq(q->settings->expires_ms, -1);
    ck_assert_str_eq(q->settings->policy->name, "beta");
    ck_assert_int_eq(broker_delete_policy(broker, "v", "beta"), 0);
    apply_all();
    ck_assert_int_eq(q->settings->max_length, 2);
    ck_assert_int_eq(broker_delete_policy(broker, "v", "high"), 0);
    apply_all();
    ck_assert_int_eq(q->settings->max_length, 1);
    ck_assert_int_eq(broker_delete_policy(broker, "v", "low"), 0);
    ck_assert_int_eq(broker_delete_policy(broker, "v", "low"), -ENOENT);
    apply_all();
    ck_assert_ptr_eq(q->settings, &queue_settings_default);
}
END_TEST

static const struct {
    const char *apply_to;
    bool classic, quorum, exchange;
} targets[] = {
    { "all", true, true, true },             { "queues", true, true, false },
    { "classic_queues", true, false, false }, { "quorum_queues", false, true, false },
    { "exchanges", false, false, true },     { "streams", false, false, false },
};

START_TEST(test_apply_to_selects_the_kind)
{
    char json[256];

    snprintf(json, sizeof json,
             "{\"pattern\":\"^n\",\"apply-to\":\"%s\",\"definition\":{\"max-length\":1,"
             "\"alternate-exchange\":\"ae\"}}",
             targets[_i].apply_to);
    put_well("p", json);
    ck_assert(!!plain("nc")->settings->policy == targets[_i].classic);
    ck_assert(!!quorum("nq")->settings->policy == targets[_i].quorum);
    ck_assert(exchange("nx", "direct")->has_alternate == targets[_i].exchange);
    ck_assert_ptr_null(plain("other")->settings->policy);
}
END_TEST

static const struct {
    const char *key_and_value;
    bool classic, quorum;
} unsupported[] = {
    { "\"delivery-limit\":3", false, true },
    { "\"dead-letter-strategy\":\"at-most-once\"", false, true },
    { "\"max-in-memory-length\":3", false, true },
    { "\"max-in-memory-bytes\":3", false, true },
    { "\"target-group-size\":3", false, true },
    { "\"queue-mode\":\"lazy\"", true, false },
    { "\"queue-version\":2", true, false },
    { "\"ha-mode\":\"all\"", true, false },
    { "\"queue-master-locator\":\"random\"", true, false },
    { "\"max-age\":\"1h\"", false, false },
    { "\"stream-max-segment-size-bytes\":1", false, false },
    { "\"initial-cluster-size\":1", false, false },
    { "\"consumer-timeout\":1", true, true },
    { "\"queue-leader-locator\":\"balanced\"", true, true },
    { "\"alternate-exchange\":\"a\"", true, true },
};

START_TEST(test_one_key_that_a_type_cannot_do_keeps_the_whole_policy_away)
{
    char json[256];

    snprintf(json, sizeof json,
             "{\"pattern\":\"\",\"priority\":1,\"definition\":{\"message-ttl\":5,%s}}",
             unsupported[_i].key_and_value);
    put_well("mixed", json);
    put_well("below", "{\"pattern\":\"\",\"definition\":{\"message-ttl\":6}}");
    ck_assert_int_eq(plain("c")->settings->message_ttl_ms, unsupported[_i].classic ? 5 : 6);
    ck_assert_int_eq(quorum("q")->settings->message_ttl_ms, unsupported[_i].quorum ? 5 : 6);
}
END_TEST

START_TEST(test_a_pattern_is_searched_for_and_bounded)
{
    put_well("p", "{\"pattern\":\"b+\",\"definition\":{\"max-length\":1}}");
    ck_assert_int_eq(plain("abc")->settings->max_length, 1);
    ck_assert_int_eq(plain("ABC")->settings->max_length, -1);
    put_well("p", "{\"pattern\":\"^(a+)+$\",\"definition\":{\"max-length\":1}}");
    ck_assert_int_eq(plain("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")
                         ->settings->max_length, -1);
}
END_TEST

/* --- exchanges --- */

START_TEST(test_alternate_exchange_of_the_argument_wins_over_the_policy)
{
    struct amqp_table_writer writer = { 0 };
    struct exchange *own, *other = exchange("other", "direct");

    amqp_table_put_str(&writer, "alternate-exchange", AMQP_STR("mine"));
    own = exchange_with("own", "direct",
                        (struct exchange_properties){ .arguments = amqp_table_written(&writer) });
    amqp_table_writer_release(&writer);
    exchange("ae", "fanout");
    add(to_queue("ae", "caught", ""));
    put_well("p", "{\"pattern\":\"\",\"definition\":{\"alternate-exchange\":\"ae\"}}");
    apply_all();
    ck_assert(amqp_str_equal(own->alternate, AMQP_STR("mine")));
    ck_assert(amqp_str_equal(other->alternate, AMQP_STR("ae")));
    ck_assert_str_eq(route("other", "k"), "caught");
    ck_assert_str_eq(route("amq.direct", "k"), "caught");
    ck_assert_str_eq(route("", "k"), "");
    ck_assert_int_eq(broker_delete_policy(broker, "v", "p"), 0);
    apply_all();
    ck_assert_str_eq(route("other", "k"), "");
    ck_assert(!other->has_alternate);
    ck_assert(own->has_alternate);
}
END_TEST

/* --- the sweep --- */

START_TEST(test_a_replaced_policy_lives_until_everything_has_the_new_one)
{
    struct queue *q = plain("q");

    put_well("p", "{\"pattern\":\"\",\"definition\":{\"dead-letter-exchange\":\"one\","
                  "\"alternate-exchange\":\"one\"}}");
    apply_all();
    put_well("p", "{\"pattern\":\"\",\"definition\":{\"dead-letter-exchange\":\"two\","
                  "\"alternate-exchange\":\"two\"}}");
    ck_assert(amqp_str_equal(q->settings->dead_letter_exchange, AMQP_STR("one")));
    ck_assert(amqp_str_equal(get_exchange("amq.topic")->alternate, AMQP_STR("one")));
    apply_all();
    ck_assert(amqp_str_equal(q->settings->dead_letter_exchange, AMQP_STR("two")));
    ck_assert(amqp_str_equal(get_exchange("amq.topic")->alternate, AMQP_STR("two")));
}
END_TEST

static unsigned with_length(int64_t length)
{
    struct queue *q, *next;
    unsigned n = 0;

    VHOST_EACH_QUEUE(vhost, q, next)
        n += q->settings->max_length == length;
    return n;
}

enum { MANY = 1000 };

static void declare_some(int from, int to)
{
    char name[16];

    for (int i = from; i < to; i++) {
        snprintf(name, sizeof name, "q%d", i);
        plain(name);
    }
}

static void declare_many(void)
{
    declare_some(0, MANY);
}

START_TEST(test_a_change_reaches_queues_in_slices)
{
    unsigned slices = 0, before = 0;

    declare_many();
    put_well("p", "{\"pattern\":\"\",\"definition\":{\"max-length\":7}}");
    while (policy_apply_some(broker, 50)) {
        unsigned now = with_length(7);

        ck_assert_uint_le(now - before, 50);
        before = now;
        slices++;
    }
    ck_assert_uint_eq(with_length(7), MANY);
    ck_assert_uint_ge(slices, MANY / 50);
    ck_assert(!policy_apply_some(broker, 50));
}
END_TEST

START_TEST(test_a_change_during_a_sweep_reaches_everything_too)
{
    declare_many();
    put_well("p", "{\"pattern\":\"\",\"definition\":{\"max-length\":7}}");
    for (int i = 0; i < 10; i++)
        ck_assert(policy_apply_some(broker, 20));
    put_well("p", "{\"pattern\":\"\",\"definition\":{\"max-length\":8}}");
    for (int i = 0; i < 3 * MANY; i += 20) {
        (void)policy_apply_some(broker, 20);
        if (i < MANY / 2)
            put_well("p", "{\"pattern\":\"\",\"definition\":{\"max-length\":8}}");
    }
    apply_all();
    ck_assert_uint_eq(with_length(8), MANY);
}
END_TEST

START_TEST(test_many_more_queues_during_a_sweep_hide_none)
{
    declare_some(0, 100);
    put_well("p", "{\"pattern\":\"\",\"definition\":{\"max-length\":7}}");
    for (int i = 100; i < MANY; i += 10) {
        (void)policy_apply_some(broker, 1);
        declare_some(i, i + 10);
    }
    apply_all();
    ck_assert_uint_eq(with_length(7), MANY);
}
END_TEST

START_TEST(test_queues_and_exchanges_may_go_and_come_during_a_sweep)
{
    struct queue *q, *next;
    unsigned left = 0;

    declare_many();
    exchange("x", "direct");
    put_well("p", "{\"pattern\":\"\",\"definition\":{\"max-length\":7}}");
    exchange_delete(get_exchange("x"));
    exchange_delete(get_exchange("amq.direct"));
    VHOST_EACH_QUEUE(vhost, q, next) {
        if (left++ % 3)
            queue_delete(q);
        (void)policy_apply_some(broker, 1);
    }
    plain("late");
    apply_all();
    ck_assert_uint_eq(with_length(7), vhost->queues.count);
    ck_assert_uint_eq(vhost->queues.count, (MANY + 2) / 3 + 1);
}
END_TEST

START_TEST(test_patterns_that_give_up_make_a_slice_shorter)
{
    static const char name[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%db";
    char made[128];

    for (int i = 0; i < 50; i++) {
        snprintf(made, sizeof made, name, i);
        plain(made);
    }
    put_well("slow", "{\"pattern\":\"^(a+)+$\",\"apply-to\":\"queues\","
                     "\"definition\":{\"max-length\":1}}");
    while (vhost->policy_sweep.next_exchange)
        (void)policy_apply_some(broker, 1);
    broker->policy_work = 0;
    ck_assert(policy_apply_some(broker, 256));
    ck_assert_uint_gt(broker->policy_work, 0);
    ck_assert_ptr_nonnull(vhost->policy_sweep.next_queue);
}
END_TEST

/* --- limits and other parameters --- */

static int put_limits(const char *json)
{
    return broker_put_parameter(broker, "v", "vhost-limits", "limits", json, text, sizeof text);
}

START_TEST(test_limits_of_a_vhost_are_checked_when_set)
{
    ck_assert_int_eq(put_limits("{\"max-foo\":1}"), -EINVAL);
    ck_assert_str_eq(text, "Unrecognised terms [{<<\"max-foo\">>,1}] in limits");
    ck_assert_int_eq(put_limits("{\"max-queues\":\"a\"}"), -EINVAL);
    ck_assert_str_eq(text, "max-queues should be a number, actually was <<\"a\">>");
    ck_assert_int_eq(put_limits("{\"max-queues\":\"a\",\"max-foo\":3}"), -EINVAL);
    ck_assert_str_eq(text, "Unrecognised terms [{<<\"max-foo\">>,3}] in limits\n"
                           "max-queues should be a number, actually was <<\"a\">>");
    ck_assert_int_eq(put_limits("3"), -EINVAL);
    ck_assert_str_eq(text, "limits not a list 3");
    ck_assert_int_eq(vhost->max_queues, -1);
}
END_TEST

static int declare_rc(const char *name)
{
    struct queue_properties properties = { .name = amqp_str_from(name) };
    struct queue *made = NULL;

    return queue_declare(vhost, &properties, &err, &made);
}

START_TEST(test_max_queues_refuses_new_queues_only)
{
    ck_assert_int_eq(put_limits("{\"max-queues\":1}"), 0);
    ck_assert_int_eq(declare_rc("a"), 0);
    ck_assert_int_eq(declare_rc("a"), 0);
    ck_assert_int_eq(declare_rc("q"), AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in "
                               "vhost 'v' (1) is reached");
    ck_assert_int_eq(put_limits("{\"max-queues\":-1}"), 0);
    ck_assert_int_eq(declare_rc("q"), 0);
    ck_assert_int_eq(put_limits("{\"max-queues\":0}"), 0);
    ck_assert_int_eq(declare_rc("r"), AMQP_PRECONDITION_FAILED);
    ck_assert_int_eq(broker_delete_parameter(broker, "v", "vhost-limits", "limits"), 0);
    ck_assert_int_eq(declare_rc("r"), 0);
    broker->settings.queues_max = 3;
    ck_assert_int_eq(declare_rc("s"), AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, "PRECONDITION_FAILED - cannot declare queue 's': queue limit in "
                               "cluster (3) is reached");
}
END_TEST

START_TEST(test_max_connections_refuses_with_rabbitmqs_text)
{
    ck_assert_int_eq(put_limits("{\"max-connections\":1}"), 0);
    ck_assert_int_eq(vhost_check_connection_limit(vhost, "guest", &err), 0);
    vhost->connection_count = 1;
    ck_assert_int_eq(vhost_check_connection_limit(vhost, "guest", &err), AMQP_NOT_ALLOWED);
    ck_assert_str_eq(err.text, "NOT_ALLOWED - access to vhost 'v' refused for user 'guest': "
                               "connection limit (1) is reached");
    vhost->connection_count = 0;
}
END_TEST

START_TEST(test_components_that_nobody_knows_are_refused)
{
    ck_assert_int_eq(broker_put_parameter(broker, "v", "nocomp", "n", "{}", text, sizeof text),
                     -EINVAL);
    ck_assert_str_eq(text, "component nocomp not found");
    ck_assert_int_eq(broker_put_parameter(broker, "v", "policy", "n", "{}", text, sizeof text),
                     -EINVAL);
    ck_assert_str_eq(text, "policies may not be set using this method");
    ck_assert_int_eq(put("p", "{"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(text, "JSON decoding error. Reason: "));
    ck_assert_int_eq(broker_put_parameter(broker, "v", "shovel", "n", "[1]", text, sizeof text), 0);
}
END_TEST

START_TEST(test_the_cluster_name_is_a_global_parameter)
{
    ck_assert_int_eq(broker_put_global_parameter(broker, "cluster_name", "\"a\"", text,
                                                 sizeof text),
                     0);
    ck_assert_str_eq(broker->settings.cluster_name, "a");
    ck_assert_int_eq(broker_put_global_parameter(broker, "cluster_name", "3", text, sizeof text),
                     -EINVAL);
    ck_assert_str_eq(broker->settings.cluster_name, "a");
    ck_assert_int_eq(broker_delete_global_parameter(broker, "cluster_name"), 0);
    ck_assert_ptr_eq(broker->settings.cluster_name, broker->configured_cluster_name);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy");
    TCase *tests = tcase_create("policy");

    tcase_add_checked_fixture(tests, topology_setup, topology_teardown);
    tcase_add_loop_test(tests, test_a_bad_definition_is_refused_with_rabbitmqs_text, 0,
                        (int)N_ELEMENTS(bad));
    tcase_add_loop_test(tests, test_a_good_definition_is_taken, 0, (int)N_ELEMENTS(good));
    tcase_add_loop_test(tests, test_a_malformed_policy_is_refused_with_all_its_problems, 0,
                        (int)N_ELEMENTS(malformed));
    tcase_add_test(tests, test_an_operator_policy_has_fewer_keys);
    tcase_add_loop_test(tests, test_numbers_of_arguments_and_policies_merge_at_declaration, 0,
                        (int)N_ELEMENTS(merge));
    tcase_add_loop_test(tests, test_numbers_of_arguments_and_policies_merge_for_existing_queues, 0,
                        (int)N_ELEMENTS(merge));
    tcase_add_loop_test(tests, test_overflow_is_decided_by_one_source, 0,
                        (int)N_ELEMENTS(overflow));
    tcase_add_loop_test(tests, test_dead_letter_arguments_win_and_policies_complete_them, 0,
                        (int)N_ELEMENTS(dead));
    tcase_add_test(tests, test_queues_without_anything_share_the_default);
    tcase_add_test(tests, test_the_highest_priority_that_matches_applies_alone);
    tcase_add_loop_test(tests, test_apply_to_selects_the_kind, 0, (int)N_ELEMENTS(targets));
    tcase_add_loop_test(tests, test_one_key_that_a_type_cannot_do_keeps_the_whole_policy_away, 0,
                        (int)N_ELEMENTS(unsupported));
    tcase_add_test(tests, test_a_pattern_is_searched_for_and_bounded);
    tcase_add_test(tests, test_alternate_exchange_of_the_argument_wins_over_the_policy);
    tcase_add_test(tests, test_a_replaced_policy_lives_until_everything_has_the_new_one);
    tcase_add_test(tests, test_a_change_reaches_queues_in_slices);
    tcase_add_test(tests, test_a_change_during_a_sweep_reaches_everything_too);
    tcase_add_test(tests, test_many_more_queues_during_a_sweep_hide_none);
    tcase_add_test(tests, test_queues_and_exchanges_may_go_and_come_during_a_sweep);
    tcase_add_test(tests, test_patterns_that_give_up_make_a_slice_shorter);
    tcase_add_test(tests, test_limits_of_a_vhost_are_checked_when_set);
    tcase_add_test(tests, test_max_queues_refuses_new_queues_only);
    tcase_add_test(tests, test_max_connections_refuses_with_rabbitmqs_text);
    tcase_add_test(tests, test_components_that_nobody_knows_are_refused);
    tcase_add_test(tests, test_the_cluster_name_is_a_global_parameter);
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}
