/*
 * model_policy.c - what queues are told by policies
 *
 * One policy and one operator policy at most speak to a queue: those of the highest priority whose
 * pattern matches, and that say nothing the type of the queue cannot do. Their keys meet each
 * other, then the queue's arguments (extensions.md 1.3, 5.2). An exchange without an alternate
 * exchange of its own may have one by policy. The broker brings the queues that exist up to date
 * when it likes, but by the end of the turn; exchanges are brought up to date when it ends.
 */
#include <stdlib.h>
#include <utlist.h>

#include "model.h"

enum { QUORUM_RETURNS = 20 }; /* a quorum queue's delivery limit when nobody names one */

static bool finds(const char *letters, const char *name)
{
    return letters && name[1] && !name[2] && strchr(letters, name[1]);
}

static bool matches(const struct m_policy *policy, const char *name, enum m_target target)
{
    const struct m_pattern *pattern = policy->pattern;

    if (!(policy->targets & target))
        return false;
    return pattern->all || (name[0] == 'q' && finds(pattern->queues, name)) ||
           (name[0] == 'x' && finds(pattern->exchanges, name));
}

static const struct m_policy *find_policy(struct sim *sim, bool operator, const char *name,
                                          enum m_target target)
{
    const struct m_policy *policy, *found = NULL;

    DL_FOREACH(sim->policies, policy)
        if (policy->operator == operator && matches(policy, name, target) &&
            (!found || policy->priority > found->priority))
            found = policy;
    return found;
}

void model_apply_to_exchange(struct sim *sim, struct m_exchange *exchange)
{
    const struct m_policy *policy = find_policy(sim, false, exchange->name, TO_EXCHANGES);

    memcpy(exchange->alternate, exchange->given_alternate, MODEL_NAME_BYTES);
    if (exchange->name[0] && !exchange->given_alternate[0] && policy && policy->has_alternate)
        memcpy(exchange->alternate, policy->alternate, MODEL_NAME_BYTES);
}

void model_apply_to_exchanges(struct sim *sim)
{
    struct m_exchange *exchange;

    DL_FOREACH(sim->exchanges, exchange)
        model_apply_to_exchange(sim, exchange);
}

static int64_t lower(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Where both say something: the lower number, the first name, and @overflow's side. */
static void join(const struct m_settings *first, const struct m_settings *second,
                 enum m_overflow overflow, struct m_settings *ret)
{
    struct m_settings joined = *first;

    joined.ttl_ms = lower(first->ttl_ms, second->ttl_ms);
    joined.expires_ms = lower(first->expires_ms, second->expires_ms);
    joined.delivery_limit = lower(first->delivery_limit, second->delivery_limit);
    joined.max_length = lower(first->max_length, second->max_length);
    joined.max_length_bytes = lower(first->max_length_bytes, second->max_length_bytes);
    joined.overflow = overflow ? overflow : first->overflow ? first->overflow : second->overflow;
    if (!first->dead_letters && second->dead_letters) {
        joined.dead_letters = true;
        memcpy(joined.dead_letter_exchange, second->dead_letter_exchange, MODEL_NAME_BYTES);
    }
    if (!first->has_dead_letter_key && second->has_dead_letter_key) {
        joined.has_dead_letter_key = true;
        memcpy(joined.dead_letter_key, second->dead_letter_key, MODEL_NAME_BYTES);
    }
    *ret = joined;
}

void model_effective(struct sim *sim, const struct m_queue *queue, struct m_settings *ret_settings)
{
    const bool quorum = queue->given.quorum;
    const enum m_target target = quorum ? TO_QUORUM : TO_CLASSIC;
    const struct m_policy *user = find_policy(sim, false, queue->name, target);
    const struct m_policy *operator = find_policy(sim, true, queue->name, target);
    struct m_settings effective = settings_none;

    if (user)
        effective = user->settings;
    if (operator)
        join(&effective, &operator->settings, operator->settings.overflow, &effective);
    join(&queue->given, &effective, quorum ? effective.overflow : queue->given.overflow,
         ret_settings);
    if (!quorum)
        return;
    if (ret_settings->overflow == OVERFLOW_REJECT_DLX)
        ret_settings->overflow = OVERFLOW_DROP_HEAD; /* 1.7 */
    if (ret_settings->delivery_limit < 0)
        ret_settings->delivery_limit = QUORUM_RETURNS;
}

static bool equal(const struct m_settings *a, const struct m_settings *b)
{
    return a->ttl_ms == b->ttl_ms && a->expires_ms == b->expires_ms &&
           a->max_length == b->max_length && a->max_length_bytes == b->max_length_bytes &&
           a->overflow == b->overflow && a->delivery_limit == b->delivery_limit &&
           a->dead_letters == b->dead_letters && a->has_dead_letter_key == b->has_dead_letter_key &&
           strcmp(a->dead_letter_exchange, b->dead_letter_exchange) == 0 &&
           strcmp(a->dead_letter_key, b->dead_letter_key) == 0;
}

void model_settings_changed(struct sim *sim, const char *name)
{
    struct m_queue *queue = model_queue(sim, name);
    struct m_letter *letter;
    int64_t expires_ms;

    if (!queue && sim->recovers)
        return;
    if (!queue)
        history_fail(&sim->history, "a policy changes queue '%s', which is not there", name);
    history_add(&sim->history, "  the settings of queue '%s' change", name);
    expires_ms = queue->settings.expires_ms;
    model_effective(sim, queue, &queue->settings);
    if (queue->settings.expires_ms != expires_ms)
        model_use_queue(sim, queue); /* the new period starts now */
    DL_FOREACH(sim->letters, letter)
        if (letter->queue == queue->id)
            letter->settings = queue->settings;
}

/* An overflow without a limit says nothing, nor does a key without an exchange. */
static void leave_out_idle(struct m_settings *settings)
{
    if (settings->overflow == OVERFLOW_DROP_HEAD)
        settings->overflow = OVERFLOW_NONE;
    if (!settings->dead_letters) {
        settings->has_dead_letter_key = false;
        settings->dead_letter_key[0] = '\0';
    }
}

void model_check_policies(struct sim *sim)
{
    struct m_queue *queue;

    DL_FOREACH(sim->queues, queue) {
        struct m_settings is = queue->settings, should;

        model_effective(sim, queue, &should);
        leave_out_idle(&is);
        leave_out_idle(&should);
        if (!equal(&is, &should))
            history_fail(&sim->history, "queue '%s' does not know its policy", queue->name);
    }
}

struct m_policy *model_policy(struct m_policy *policies, const char *name)
{
    struct m_policy *policy;

    DL_FOREACH(policies, policy)
        if (strcmp(policy->name, name) == 0)
            break;
    return policy;
}

static void replace(struct m_policy **policies, const struct m_policy *like, bool remove)
{
    struct m_policy *policy = model_policy(*policies, like->name);

    if (policy) {
        DL_DELETE(*policies, policy);
        free(policy);
    }
    if (remove)
        return;
    policy = sim_duplicate(like, sizeof *like);
    DL_APPEND(*policies, policy);
}

void model_put_policy(struct m_policy **policies, const struct m_policy *like)
{
    replace(policies, like, false);
}

void model_delete_policy(struct m_policy **policies, const struct m_policy *like)
{
    replace(policies, like, true);
}

void model_drop_policies(struct m_policy **policies)
{
    struct m_policy *policy, *next;

    DL_FOREACH_SAFE(*policies, policy, next)
        free(policy);
    *policies = NULL;
}
