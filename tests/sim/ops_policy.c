/*
 * ops_policy.c - an operator sets and clears policies while clients are at work
 *
 * What they may say is what queues may be declared with, as far as it is a policy's to say.
 */
#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#include "ops.h"

enum { POLICY_JSON_BYTES = 600 };

static const struct m_pattern patterns[] = {
    { "", .all = true },
    { "^q", .queues = "abcdef" },
    { "^.[ab]$", .queues = "ab", .exchanges = "ab" },
    { "^q[c-f]$", .queues = "cdef" },
    { "^(qa|qe|xe)$", .queues = "ae", .exchanges = "e" },
    { "^x", .exchanges = "abcde" },
    { "^[qx].?$", .queues = "abcdef", .exchanges = "abcde" },
};

static const struct {
    const char *name;
    bool operator;
} names[] = { { "pa", false }, { "pb", false }, { "pc", false }, { "oa", true }, { "ob", true } };

/* Writes one member of the definition; returns the length so far. */
static size_t put_member(char *json, size_t at, const char *key, const char *value)
{
    return at + (size_t)snprintf(json + at, POLICY_JSON_BYTES - at, "%s\"%s\":%s",
                                 json[at - 1] == '{' ? "" : ",", key, value);
}

static size_t put_number(char *json, size_t at, const char *key, int64_t number)
{
    char value[24];

    if (number < 0)
        return at;
    snprintf(value, sizeof value, "%" PRId64, number);
    return put_member(json, at, key, value);
}

static size_t put_text(char *json, size_t at, const char *key, const char *text)
{
    char value[MODEL_NAME_BYTES + 2];

    snprintf(value, sizeof value, "\"%s\"", text);
    return put_member(json, at, key, value);
}

static void write_json(const struct m_policy *policy, char json[POLICY_JSON_BYTES])
{
    const struct m_settings *settings = &policy->settings;
    size_t at = (size_t)snprintf(json, POLICY_JSON_BYTES,
                                 "{\"pattern\":\"%s\",\"priority\":%d,\"apply-to\":\"%s\","
                                 "\"definition\":{",
                                 policy->pattern->text, policy->priority, policy->apply_to);

    at = put_number(json, at, "message-ttl", settings->ttl_ms);
    at = put_number(json, at, "expires", settings->expires_ms);
    at = put_number(json, at, "max-length", settings->max_length);
    at = put_number(json, at, "max-length-bytes", settings->max_length_bytes);
    at = put_number(json, at, "delivery-limit", settings->delivery_limit);
    if (settings->overflow)
        at = put_text(json, at, "overflow", settings_overflow_name(settings->overflow));
    if (settings->dead_letters)
        at = put_text(json, at, "dead-letter-exchange", settings->dead_letter_exchange);
    if (settings->has_dead_letter_key)
        at = put_text(json, at, "dead-letter-routing-key", settings->dead_letter_key);
    if (policy->has_alternate)
        at = put_text(json, at, "alternate-exchange", policy->alternate);
    (void)snprintf(json + at, POLICY_JSON_BYTES - at, "}}");
}

static bool says_something(const struct m_policy *policy)
{
    const struct m_settings *settings = &policy->settings;

    return settings->ttl_ms >= 0 || settings->expires_ms >= 0 || settings->max_length >= 0 ||
           settings->max_length_bytes >= 0 || settings->overflow || settings->dead_letters ||
           settings->has_dead_letter_key || settings->delivery_limit >= 0 || policy->has_alternate;
}

static void choose_target(struct sim *sim, struct m_policy *policy)
{
    static const struct {
        const char *apply_to;
        unsigned targets;
    } targets[] = { { "all", TO_CLASSIC | TO_QUORUM | TO_EXCHANGES },
                    { "all", TO_CLASSIC | TO_QUORUM | TO_EXCHANGES },
                    { "queues", TO_CLASSIC | TO_QUORUM },
                    { "classic_queues", TO_CLASSIC },
                    { "quorum_queues", TO_QUORUM },
                    { "exchanges", TO_EXCHANGES } };
    unsigned at = random_below(&sim->random, N_ELEMENTS(targets));

    policy->apply_to = targets[at].apply_to;
    policy->targets = targets[at].targets;
    if (policy->settings.delivery_limit >= 0)
        policy->targets &= ~(unsigned)TO_CLASSIC; /* they do not know it: nothing is for them */
}

static void choose_policy(struct sim *sim, struct m_policy *policy)
{
    policy->pattern = &patterns[random_below(&sim->random, N_ELEMENTS(patterns))];
    /* Never two of one priority: which of those counts nobody promises. */
    policy->priority = 10 * (int)random_below(&sim->random, 3) + policy->name[1];
    do {
        settings_choose_for_policy(sim, policy->operator, &policy->settings);
        policy->has_alternate = !policy->operator && chance(sim, 30);
    } while (!says_something(policy));
    if (policy->has_alternate)
        pick_exchange_name(sim, true, policy->alternate);
    choose_target(sim, policy);
}

static int put_policy(struct sim *sim, const struct m_policy *policy, const char *json)
{
    char text[256] = "";
    int rc = policy->operator
                 ? broker_put_parameter(sim->broker, "/", "operator_policy", policy->name, json,
                                        text, sizeof text)
                 : broker_put_policy(sim->broker, "/", policy->name, json, text, sizeof text);

    if (rc)
        history_add(&sim->history, "%s", text);
    return rc;
}

bool op_policy(struct sim *sim)
{
    unsigned at = random_below(&sim->random, N_ELEMENTS(names));
    struct m_policy policy = { .name = names[at].name, .operator = names[at].operator };
    char json[POLICY_JSON_BYTES];
    int rc;

    if (!(sim->features & FEATURE_POLICY))
        return false;
    if (model_policy(sim->policies, policy.name) && chance(sim, 35)) {
        history_add(&sim->history, "policy %s is cleared", policy.name);
        journal_policy(sim, JOURNAL_DELETE_POLICY, &policy);
        model_delete_policy(&sim->policies, &policy);
        rc = policy.operator
                 ? broker_delete_parameter(sim->broker, "/", "operator_policy", policy.name)
                 : broker_delete_policy(sim->broker, "/", policy.name);
    } else {
        choose_policy(sim, &policy);
        write_json(&policy, json);
        history_add(&sim->history, "policy %s: %s", policy.name, json);
        journal_policy(sim, JOURNAL_PUT_POLICY, &policy);
        model_put_policy(&sim->policies, &policy);
        rc = put_policy(sim, &policy, json);
    }
    if (rc)
        history_fail(&sim->history, "policy %s: error %d", policy.name, -rc);
    accept_end(sim);
    return true;
}
