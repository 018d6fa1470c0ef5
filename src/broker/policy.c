/*
 * policy.c - which policy applies to what, and telling those to whom another one applies now
 *
 * After a change a *sweep* goes over all exchanges and queues of the vhost, in slices. It stands
 * before the next exchange and the next queue to be looked at; one that leaves the vhost is stepped
 * over (policy_forget_queue()). A change during a sweep makes it begin again when it has ended,
 * instead of at once: however quickly changes follow each other, every queue is reached.
 *
 * Slices are measured in work, since what a queue costs depends on how many patterns are tried for
 * it, and on what they do: one that gives up at a limit has taken milliseconds.
 */
#include "broker/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/broker.h"
#include "broker/erlang_term.h"
#include "broker/queue.h"

/* In units of a search for a plain pattern. */
enum { WORK_OBJECT = 16, WORK_GIVEN_UP = 8192 };

/* --- compiling --- */

static void policy_free(struct policy *policy)
{
    pattern_release(&policy->pattern);
    json_decref(policy->json);
    free(policy->name);
    free(policy);
}
DEFINE_OWNED(policy_free, struct policy *)

void policy_unref(const struct policy *policy)
{
    struct policy *owned = (struct policy *)(uintptr_t)policy;

    if (owned && --owned->refs == 0)
        policy_free(owned);
}

static void add_line(struct amqp_text *problems)
{
    if (problems->length)
        amqp_text_put(problems, '\n');
}

static int refuse_missing(const char *key, const char *name, struct amqp_text *problems)
{
    add_line(problems);
    amqp_text_printf(problems, "Key \"%s\" not found in %s", key, name);
    return -EINVAL;
}

static const char *const members_known[] = { "pattern", "definition", "apply-to", "priority",
                                             "vhost",   "name",       NULL };

static int compile_definition(enum policy_kind kind, struct policy *policy,
                              struct amqp_text *problems)
{
    const json_t *definition = json_object_get(policy->json, "definition");
    size_t length = problems->length;
    struct setting_values values;
    unsigned targets;
    int rc;

    if (!definition)
        return refuse_missing("definition", policy->name, problems);
    add_line(problems);
    if (!json_is_object(definition)) {
        amqp_text_add(problems, AMQP_STR("parse error while reading policy definition: "));
        erlang_term_print(problems, definition);
        amqp_text_printf(problems, ". Validator: %s.",
                         kind == POLICY_USER ? "policy_validator" : "operator_policy_validator");
        return -EINVAL;
    }
    rc = policy_definition_check(kind, definition, problems, &values, &targets);
    if (rc)
        return rc;
    problems->length = length; /* without the line that was begun */
    problems->out[length] = '\0';
    policy->values = values;
    policy->targets = targets;
    return 0;
}

static int compile_apply_to(struct policy *policy, struct amqp_text *problems)
{
    static const struct {
        const char *word;
        unsigned targets;
    } words[] = {
        { "all", POLICY_ALL },
        { "queues", POLICY_QUEUES },
        { "exchanges", POLICY_EXCHANGES },
        { "classic_queues", POLICY_CLASSIC_QUEUES },
        { "quorum_queues", POLICY_QUORUM_QUEUES },
        { "streams", POLICY_STREAMS },
    };
    const json_t *value = json_object_get(policy->json, "apply-to");
    const char *word = json_is_string(value) ? json_string_value(value) : NULL;

    if (!value || json_is_null(value))
        return 0;
    for (size_t i = 0; i < N_ELEMENTS(words) && word; i++) {
        if (strcmp(words[i].word, word) == 0) {
            policy->targets &= words[i].targets;
            return 0;
        }
    }
    add_line(problems);
    amqp_text_add(problems, AMQP_STR("apply-to '"));
    if (word)
        amqp_text_printf(problems, "%s", word);
    else
        erlang_term_print(problems, value);
    /* The two blanks are RabbitMQ's. */
    amqp_text_add(problems, AMQP_STR("' unrecognised; should be one of: 'queues', "
                                     "'classic_queues',  'quorum_queues', 'streams', 'exchanges', "
                                     "or 'all'"));
    return -EINVAL;
}

static int compile_pattern(struct policy *policy, const struct matcher *matcher,
                           struct amqp_text *problems)
{
    const json_t *value = json_object_get(policy->json, "pattern");
    const char *regex = json_string_value(value);
    struct pattern_problem problem;
    int rc;

    if (!value)
        return refuse_missing("pattern", policy->name, problems);
    if (!regex) {
        add_line(problems);
        amqp_text_add(problems, AMQP_STR("pattern should be a binary but was "));
        erlang_term_print(problems, value);
        return -EINVAL;
    }
    rc = pattern_compile(&policy->pattern, matcher, regex, regex, &problem);
    if (rc == -EINVAL) {
        add_line(problems);
        amqp_text_printf(problems,
                         "pattern should be regular expression but is invalid: {\"%s\",%zu}",
                         problem.text, problem.offset);
    }
    return rc;
}

static int compile_priority(struct policy *policy, struct amqp_text *problems)
{
    const json_t *value = json_object_get(policy->json, "priority");

    if (!value || json_is_null(value))
        return 0;
    if (!json_is_number(value)) {
        add_line(problems);
        amqp_text_add(problems, AMQP_STR("priority should be a number, actually was "));
        erlang_term_print(problems, value);
        return -EINVAL;
    }
    policy->priority = json_number_value(value);
    return 0;
}

/* The first failure; all of them are looked for, so that all problems are told. */
static int first_of(int first, int second)
{
    return first ? first : second;
}

int policy_new(enum policy_kind kind, const char *name, json_t *value,
               const struct matcher *matcher, struct amqp_text *problems,
               struct policy **ret_policy)
{
    OWNED(policy_free) struct policy *policy = calloc(1, sizeof *policy);
    int rc;

    if (!policy)
        return -ENOMEM;
    policy->refs = 1;
    policy->json = json_incref(value);
    policy->name = strdup(name);
    if (!policy->name)
        return -ENOMEM;
    if (!json_is_object(value)) {
        amqp_text_printf(problems, "%s not a list ", name);
        erlang_term_print(problems, value);
        return -EINVAL;
    }
    rc = erlang_term_check_keys(name, value, members_known, problems);
    rc = first_of(rc, compile_definition(kind, policy, problems));
    rc = first_of(rc, compile_apply_to(policy, problems));
    rc = first_of(rc, compile_pattern(policy, matcher, problems));
    rc = first_of(rc, compile_priority(policy, problems));
    if (rc)
        return rc;
    *ret_policy = TAKE(policy);
    return 0;
}

/* --- a vhost's lists --- */

static struct policy **list_of(struct vhost *vhost, enum policy_kind kind)
{
    return kind == POLICY_USER ? &vhost->policies : &vhost->operator_policies;
}

/* Highest priority first; with the same priority the name that comes first. */
static bool comes_before(const struct policy *a, const struct policy *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    return strcmp(a->name, b->name) < 0;
}

static bool drop(struct vhost *vhost, enum policy_kind kind, const char *name)
{
    struct policy **list = list_of(vhost, kind), *policy;

    DL_FOREACH(*list, policy) {
        if (strcmp(policy->name, name) == 0) {
            DL_DELETE(*list, policy);
            policy_unref(policy);
            return true;
        }
    }
    return false;
}

static void begin_queues(struct vhost *vhost)
{
    vhost->policy_sweep.next_queue = vhost_next_queue(vhost, NULL);
    vhost->policy_sweep.queues_mask = vhost->queues.mask;
}

static void begin_sweep(struct vhost *vhost)
{
    struct policy_sweep *sweep = &vhost->policy_sweep;

    if (sweep->running) {
        sweep->again = true;
        return;
    }
    sweep->running = true;
    sweep->next_exchange = vhost->exchanges;
    begin_queues(vhost);
    vhost->broker->policy_sweeps++;
}

void policy_put(struct vhost *vhost, enum policy_kind kind, struct policy *policy)
{
    struct policy **list = list_of(vhost, kind), *behind;

    (void)drop(vhost, kind, policy->name); /* there may be none */
    DL_FOREACH(*list, behind) {
        if (comes_before(policy, behind))
            break;
    }
    if (behind)
        DL_PREPEND_ELEM(*list, behind, policy);
    else
        DL_APPEND(*list, policy);
    begin_sweep(vhost);
}

void policy_remove(struct vhost *vhost, enum policy_kind kind, const char *name)
{
    if (drop(vhost, kind, name))
        begin_sweep(vhost);
}

struct policy *policy_find(const struct vhost *vhost, enum policy_kind kind,
                           enum policy_target target, struct amqp_str name)
{
    struct broker *broker = vhost->broker;
    const struct matcher *matcher = auth_matcher(broker->auth);
    struct policy *policy = kind == POLICY_USER ? vhost->policies : vhost->operator_policies;

    for (; policy; policy = policy->next) {
        if (!(policy->targets & target))
            continue;
        broker->policy_work++;
        switch (pattern_search(&policy->pattern, matcher, name)) {
        case PATTERN_FOUND:
            return policy;
        case PATTERN_NOT_FOUND:
            break;
        case PATTERN_GAVE_UP:
            broker->policy_work += WORK_GIVEN_UP;
            break;
        }
    }
    return NULL;
}

/* --- bringing them into effect --- */

/* Where a message goes that finds no binding is asked after the bindings, so nothing that is
   remembered about routes depends on it. */
void policy_apply_to_exchange(struct exchange *exchange)
{
    const struct vhost *vhost = exchange->destination.vhost;
    const struct policy *old = exchange->policy;
    struct amqp_value argument;

    if (!exchange->type) /* the default exchange cannot be changed */
        return;
    exchange->policy = policy_ref(
        policy_find(vhost, POLICY_USER, POLICY_EXCHANGES, exchange->destination.name));
    policy_unref(old);
    exchange->has_alternate = false;
    exchange->alternate = (struct amqp_str){ NULL, 0 };
    if (amqp_table_get(exchange->arguments, AMQP_STR("alternate-exchange"), &argument) &&
        argument.type == 'S') {
        exchange->has_alternate = true;
        exchange->alternate = amqp_bytes_text(argument.bytes);
    } else if (exchange->policy &&
               setting_is_given(&exchange->policy->values, SETTING_ALTERNATE_EXCHANGE)) {
        exchange->has_alternate = true;
        exchange->alternate = setting_text(&exchange->policy->values, SETTING_ALTERNATE_EXCHANGE);
    }
}

static int apply_to_queue(struct queue *queue)
{
    const struct queue_settings *old = queue->settings;
    int rc = queue_settings_compile(queue, &queue->settings);

    if (rc)
        return rc;
    if (!queue_settings_equal(old, queue->settings))
        queue_settings_changed(queue, old);
    queue_settings_free(old);
    return 0;
}

void policy_forget_queue(struct queue *queue)
{
    struct vhost *vhost = queue_vhost(queue);
    struct policy_sweep *sweep = &vhost->policy_sweep;

    if (sweep->next_queue == queue)
        sweep->next_queue = vhost_next_queue(vhost, queue);
}

void policy_forget_exchange(struct exchange *exchange)
{
    struct policy_sweep *sweep = &exchange->destination.vhost->policy_sweep;

    if (sweep->next_exchange == exchange)
        sweep->next_exchange = exchange->by_name.next;
}

static void end_sweep(struct vhost *vhost)
{
    struct policy_sweep *sweep = &vhost->policy_sweep;
    bool again = sweep->again;

    *sweep = (struct policy_sweep){ 0 };
    vhost->broker->policy_sweeps--;
    if (again)
        begin_sweep(vhost);
}

/* 0, or -ENOMEM: where it stands, it stands still. */
static int sweep_step(struct vhost *vhost)
{
    struct policy_sweep *sweep = &vhost->policy_sweep;
    struct exchange *exchange = sweep->next_exchange;
    struct queue *queue;
    int rc;

    vhost->broker->policy_work += WORK_OBJECT;
    if (exchange) {
        sweep->next_exchange = exchange->by_name.next;
        policy_apply_to_exchange(exchange);
        return 0;
    }
    if (sweep->queues_mask != vhost->queues.mask)
        begin_queues(vhost); /* in another order now: some come twice, but none is left out */
    queue = sweep->next_queue;
    if (!queue) {
        end_sweep(vhost);
        return 0;
    }
    rc = queue->destination.deleted ? 0 : apply_to_queue(queue); /* it may be there still */
    if (!rc && sweep->next_queue == queue)
        sweep->next_queue = vhost_next_queue(vhost, queue);
    return rc;
}

bool policy_apply_some(struct broker *broker, unsigned max_queues)
{
    uint64_t end = broker->policy_work + (uint64_t)max_queues * WORK_OBJECT;
    struct vhost *vhost = broker->vhosts;

    while (vhost && broker->policy_sweeps) {
        if (!vhost->policy_sweep.running) {
            vhost = vhost->by_name.next;
            continue;
        }
        if (broker->policy_work >= end || sweep_step(vhost))
            break;
    }
    return broker->policy_sweeps > 0;
}

void policy_release_all(struct vhost *vhost)
{
    for (enum policy_kind kind = POLICY_USER; kind <= POLICY_OPERATOR; kind++) {
        struct policy **list = list_of(vhost, kind), *policy, *next;

        DL_FOREACH_SAFE(*list, policy, next) {
            DL_DELETE(*list, policy);
            policy_unref(policy);
        }
    }
    vhost->policy_sweep.again = false;
    if (vhost->policy_sweep.running)
        end_sweep(vhost);
}
