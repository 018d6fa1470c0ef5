/*
 * model_discard.c - messages that leave their queues though nobody asked for them
 *
 * The broker chooses the moment. That a message may go, and that none has stayed at the end of a
 * turn that should have gone, is checked here.
 */
#include <inttypes.h>
#include <utlist.h>

#include "model.h"

bool queue_is_over(const struct m_queue *queue, uint32_t count, uint64_t bytes)
{
    const struct m_settings *settings = &queue->settings;

    return (settings->max_length >= 0 &&
            queue_ready(queue) + count > (uint64_t)settings->max_length) ||
           (settings->max_length_bytes >= 0 &&
            queue_ready_bytes(queue) + bytes > (uint64_t)settings->max_length_bytes);
}

static void check_reason(struct sim *sim, struct m_queue *queue, const struct m_entry *entry,
                         const struct m_discard *discard)
{
    switch (discard->reason) {
    case DEAD_LETTER_EXPIRED:
        if (!entry->expires_ms || entry->expires_ms > sim_wall_ms(sim))
            history_fail(&sim->history, "m%u of queue '%s' expires before its time",
                         entry->message->id, discard->queue);
        return;
    case DEAD_LETTER_MAXLEN:
        if (settings_refuse(&queue->settings) || !queue_is_over(queue, 0, 0))
            break;
        if (entry != model_head(queue))
            history_fail(&sim->history, "m%u of queue '%s' is dropped, but is not the first",
                         entry->message->id, discard->queue);
        return;
    case DEAD_LETTER_REJECTED:
    case DEAD_LETTER_DELIVERY_LIMIT:
        break;
    }
    history_fail(&sim->history, "m%u of queue '%s' is given up for no reason", entry->message->id,
                 discard->queue);
}

/* The model was told by what the client did: it rejected the message, or gave it back too late. */
static bool is_known(struct sim *sim, const struct m_entry *entry, enum dead_letter_reason reason)
{
    if (reason == DEAD_LETTER_EXPIRED && !entry && sim->expired_returns) {
        sim->expired_returns--;
        return true;
    }
    return reason == DEAD_LETTER_REJECTED || reason == DEAD_LETTER_DELIVERY_LIMIT;
}

void model_discard(struct sim *sim, const struct m_discard *discard)
{
    struct m_queue *queue = model_queue(sim, discard->queue);
    struct m_entry *entry = queue ? model_entry(queue, discard->sequence) : NULL;
    struct m_letter letter = { .real = discard->real,
                               .waiting = !discard->at_once,
                               .reason = discard->reason };

    sim->events++;
    if (discard->deleted)
        return;
    if (is_known(sim, entry, discard->reason)) {
        if (!discard->at_once)
            model_letter_waits(sim, discard);
        return;
    }
    if (!entry || entry->out)
        history_fail(&sim->history, "queue '%s' gives up %" PRIu64 ", which it does not have",
                     discard->queue, discard->sequence);
    history_add(&sim->history, "  m%u leaves queue '%s': %s", entry->message->id, discard->queue,
                dead_letter_reason_name(discard->reason));
    check_reason(sim, queue, entry, discard);
    if (!discard->at_once)
        queue->waits = sim->polls + 1;
    letter.entry = *entry;
    model_take_entry(queue, entry);
    model_give_up(sim, queue, &letter);
}

/* So many of its letters are being read that limits and times wait for the end of a read. */
static bool is_choked(struct sim *sim, const struct m_queue *queue)
{
    struct m_letter *letter;
    unsigned waiting = 0;

    DL_FOREACH(sim->letters, letter)
        waiting += letter->waiting && letter->queue == queue->id;
    return waiting >= sim->discards;
}

static void check_queue(struct sim *sim, const struct m_queue *queue)
{
    if (sim->letters && is_choked(sim, queue))
        return;
    if (!settings_refuse(&queue->settings) && queue_is_over(queue, 0, 0))
        history_fail(&sim->history, "queue '%s' is over its limit", queue->name);
    for (size_t i = 0; i < queue->n_entries; i++) {
        const struct m_entry *entry = &queue->entries[i];

        if (!entry->out && entry->expires_ms && entry->gone_ms <= sim_wall_ms(sim))
            history_fail(&sim->history, "m%u of queue '%s' should have expired",
                         entry->message->id, queue->name);
    }
}

void model_check_kept(struct sim *sim)
{
    struct m_queue *queue;

    model_letters_end(sim);
    model_check_policies(sim);
    DL_FOREACH(sim->queues, queue)
        check_queue(sim, queue);
}
