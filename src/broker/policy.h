/*
 * policy.h - policies: settings for all queues and exchanges whose name matches
 *
 * A vhost has policies and operator policies, each a list with the highest priority first. One of
 * each applies to a queue, one policy to an exchange: the first whose pattern is found in the name,
 * that is meant for its kind, and that says nothing its queue type cannot do.
 *
 * A change takes effect at once on what is declared after it, and in slices on what exists
 * (policy_apply_some()), so that ten thousand queues are no pause for anybody. Settings keep a
 * reference to the policies they were made of, so that one that has been replaced lives on until
 * the last queue has been reached.
 *
 * Spec: extensions.md 1.3, 4.1, 5.
 */
#ifndef BROKER_POLICY_H
#define BROKER_POLICY_H

#include <jansson.h>

#include "amqp/text.h"
#include "auth/pattern.h"
#include "broker/setting_values.h"
#include "broker/vhost.h"

struct broker;
struct queue;

enum policy_kind {
    POLICY_USER,     /* a policy */
    POLICY_OPERATOR, /* an operator policy: a parameter of the component operator_policy */
};

/** What a policy may be meant for: bits */
enum policy_target {
    POLICY_CLASSIC_QUEUES = 1,
    POLICY_QUORUM_QUEUES = 2,
    POLICY_STREAMS = 4,
    POLICY_EXCHANGES = 8,
    POLICY_QUEUES = POLICY_CLASSIC_QUEUES | POLICY_QUORUM_QUEUES | POLICY_STREAMS,
    POLICY_ALL = POLICY_QUEUES | POLICY_EXCHANGES,
};

struct policy {
    uint32_t refs;
    char *name;
    double priority;
    unsigned targets;             /* apply-to, less the queue types that cannot do what it says */
    struct pattern pattern;
    json_t *json;                 /* the whole object, with its `definition` */
    struct setting_values values; /* texts borrowed from json */
    struct policy *next, *prev;   /* of the vhost's list */
};

/**
 * policy_new() - check a policy and compile it
 * @name:     copied
 * @value:    {"pattern", "definition", and perhaps "apply-to", "priority"}; kept
 * @problems: what is wrong, one line each, in RabbitMQ's words
 *
 * Return: 0; -EINVAL with problems; -ENOMEM.
 */
int policy_new(enum policy_kind kind, const char *name, json_t *value,
               const struct matcher *matcher, struct amqp_text *problems,
               struct policy **ret_policy);

static inline const struct policy *policy_ref(struct policy *policy)
{
    if (policy)
        policy->refs++;
    return policy;
}

/** policy_unref() - NULL is fine */
void policy_unref(const struct policy *policy);

/**
 * policy_definition_check() - the keys of a definition and their values
 * @ret_values: what it sets
 * @ret_targets: those that can do all of it
 *
 * Return: 0; -EINVAL with a problem.
 */
int policy_definition_check(enum policy_kind kind, const json_t *definition,
                            struct amqp_text *problems, struct setting_values *ret_values,
                            unsigned *ret_targets);

/** policy_key_is_known() - whether a definition may have it; policy_key_has_effect() - in this version */
bool policy_key_is_known(enum policy_kind kind, const char *name);
bool policy_key_has_effect(const char *name);
/** policy_key_name() - all keys in turn; NULL behind the last */
const char *policy_key_name(size_t i);

/**
 * policy_put() - give a vhost a policy, in place of one with its name; policy_remove() - the
 *                opposite, nothing happens where there is none
 * @policy: moved
 *
 * Existing queues and exchanges follow in policy_apply_some().
 */
void policy_put(struct vhost *vhost, enum policy_kind kind, struct policy *policy);
void policy_remove(struct vhost *vhost, enum policy_kind kind, const char *name);

/** policy_find() - the one that applies to a name; NULL for none */
struct policy *policy_find(const struct vhost *vhost, enum policy_kind kind,
                           enum policy_target target, struct amqp_str name);

/** policy_apply_to_exchange() - find the policy of an exchange, and its alternate exchange */
void policy_apply_to_exchange(struct exchange *exchange);

/**
 * policy_apply_some() - bring a slice of the queues and exchanges up to date
 * @max_queues: how many, less where finding their policies is much work
 *
 * Return: true while something is left to do. Without memory nothing more is done this time.
 */
bool policy_apply_some(struct broker *broker, unsigned max_queues);

/** policy_forget_queue(), policy_forget_exchange() - it is about to leave its vhost */
void policy_forget_queue(struct queue *queue);
void policy_forget_exchange(struct exchange *exchange);

/** policy_release_all() - free the policies of a vhost whose queues and exchanges are gone */
void policy_release_all(struct vhost *vhost);

#endif
