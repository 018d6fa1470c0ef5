/*
 * model_route.c - where a message goes, by asking every binding
 *
 * Breadth first from the exchange it was published to; each exchange once, each queue once; an
 * exchange of which no binding matched hands on to its alternate exchange (amqp-0-9-1.md 9).
 */
#include <utlist.h>

#include "model.h"

/* The rest of a key behind its first word, or NULL when that was the last. */
static const char *next_word(const char *key)
{
    const char *dot = strchr(key, '.');

    return dot ? dot + 1 : NULL;
}

static bool same_word(const char *a, const char *b)
{
    size_t size = strcspn(a, ".");

    return size == strcspn(b, ".") && memcmp(a, b, size) == 0;
}

/* NULL: no words are left. */
static bool topic_matches(const char *pattern, const char *key)
{
    if (!pattern)
        return !key;
    if (same_word(pattern, "#")) {
        if (topic_matches(next_word(pattern), key))
            return true;
        return key && topic_matches(pattern, next_word(key));
    }
    if (!key || (!same_word(pattern, "*") && !same_word(pattern, key)))
        return false;
    return topic_matches(next_word(pattern), next_word(key));
}

static const char *words(const char *key)
{
    return *key ? key : NULL; /* the empty key has no words */
}

static bool binding_matches(const struct m_exchange *exchange, const struct m_binding *binding,
                            const char *key)
{
    if (strcmp(exchange->type, "fanout") == 0)
        return true;
    if (strcmp(exchange->type, "direct") == 0)
        return strcmp(binding->key, key) == 0;
    return topic_matches(words(binding->key), words(key));
}

static void add_queue(const struct m_queue *queue, uint32_t queues[16], unsigned *count)
{
    for (unsigned i = 0; i < *count; i++)
        if (queues[i] == queue->id)
            return;
    queues[(*count)++] = queue->id;
}

/* Takes @exchange into the walk unless it was in it already. */
static void reach(struct m_exchange *exchange, struct m_exchange *walk[32], unsigned *length)
{
    if (!exchange || exchange->visited)
        return;
    exchange->visited = true;
    walk[(*length)++] = exchange;
}

unsigned model_route(struct sim *sim, struct m_exchange *start, const char *key,
                     uint32_t ret_queues[16])
{
    struct m_exchange *walk[32], *exchange;
    unsigned length = 0, count = 0;
    struct m_queue *queue;

    DL_FOREACH(sim->exchanges, exchange)
        exchange->visited = false;
    reach(start, walk, &length);
    for (unsigned at = 0; at < length; at++) {
        struct m_binding *binding;
        bool matched = false;

        if (walk[at]->name[0] == '\0') {
            queue = model_queue(sim, key);
            if (queue)
                add_queue(queue, ret_queues, &count);
            continue;
        }
        DL_FOREACH(sim->bindings, binding) {
            if (strcmp(binding->source, walk[at]->name) != 0 ||
                !binding_matches(walk[at], binding, key))
                continue;
            matched = true;
            if (binding->to_exchange)
                reach(model_exchange(sim, binding->destination), walk, &length);
            else
                add_queue(model_queue(sim, binding->destination), ret_queues, &count);
        }
        if (!matched && walk[at]->alternate[0])
            reach(model_exchange(sim, walk[at]->alternate), walk, &length);
    }
    return count;
}
