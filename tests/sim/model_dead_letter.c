/*
 * model_dead_letter.c - what becomes of a message that its queue gives up
 *
 * It is a *letter* from the moment it leaves until it has been published again: noted, or waiting
 * because the broker still has to read it, or one that left before it. Its place on the disk is
 * given up when it is published, in the commit in which it arrives elsewhere, so a crash before
 * that brings it back to its queue. When letters are published is the broker's choice, but those of
 * one queue for one reason keep their order.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <utlist.h>

#include "model.h"

/* Its place on the disk is free. */
static void settle(struct sim *sim, struct m_letter *letter)
{
    struct m_queue *queue = model_queue_by_id(sim, letter->queue);

    if (queue && letter->entry.sequence)
        journal_entry(sim, JOURNAL_SETTLE, queue, &letter->entry);
}

static void end_letter(struct sim *sim, struct m_letter *letter)
{
    settle(sim, letter);
    DL_DELETE(sim->letters, letter);
    free(letter);
}

/* Where it goes, by what its queue is told now; NULL: nowhere. */
static struct m_exchange *exchange_of(struct sim *sim, const struct m_letter *letter)
{
    if (!letter->settings.dead_letters)
        return NULL;
    return model_exchange(sim, letter->settings.dead_letter_exchange);
}

/* The broker has it in memory: it goes to the exchange, if there is one. */
static void note(struct sim *sim, struct m_letter *letter)
{
    letter->waiting = false;
    DL_DELETE(sim->letters, letter);
    DL_APPEND(sim->letters, letter);
    if (!exchange_of(sim, letter))
        end_letter(sim, letter);
}

void model_give_up(struct sim *sim, struct m_queue *queue, const struct m_letter *like)
{
    struct m_letter *letter = sim_duplicate(like, sizeof *like);

    letter->queue = queue->id;
    memcpy(letter->queue_name, queue->name, sizeof letter->queue_name);
    letter->settings = queue->settings;
    DL_APPEND(sim->letters, letter);
    if (!letter->waiting || !letter->settings.dead_letters)
        note(sim, letter);
}

static struct m_letter *find_waiting(struct sim *sim, const void *real, uint64_t sequence)
{
    struct m_letter *letter;

    DL_FOREACH(sim->letters, letter)
        if (letter->waiting && letter->real == real && letter->entry.sequence == sequence)
            break;
    return letter;
}

void model_letter_ready(struct sim *sim, const void *real, uint64_t sequence)
{
    struct m_letter *letter = find_waiting(sim, real, sequence);

    if (letter)
        note(sim, letter);
}

/* Its queue may have been deleted before the broker said that it has to wait. */
void model_letter_dropped(struct sim *sim, const void *real, uint64_t sequence, bool deleted)
{
    struct m_letter *letter = find_waiting(sim, real, sequence);

    if (!letter)
        return;
    if (!deleted && exchange_of(sim, letter))
        history_fail(&sim->history, "m%u of queue '%s' is dropped instead of dead-lettered",
                     letter->entry.message->id, letter->queue_name);
    end_letter(sim, letter);
}

void model_letter_waits(struct sim *sim, const struct m_discard *discard)
{
    struct m_letter *letter;

    DL_FOREACH(sim->letters, letter)
        if (!letter->waiting && letter->entry.sequence == discard->sequence &&
            strcmp(letter->queue_name, discard->queue) == 0)
            break;
    if (!letter)
        return;
    letter->waiting = true;
    letter->real = discard->real;
}

void model_letters_forget(struct sim *sim, const struct m_queue *queue)
{
    struct m_letter *letter, *next;

    DL_FOREACH_SAFE(sim->letters, letter, next)
        if (letter->waiting && letter->queue == queue->id)
            end_letter(sim, letter);
}

void model_letters_begin(struct sim *sim)
{
    struct m_letter *letter, *next;

    DL_FOREACH_SAFE(sim->letters, letter, next)
        if (!letter->waiting && !exchange_of(sim, letter))
            end_letter(sim, letter);
}

void model_letters_end(struct sim *sim)
{
    struct m_letter *letter;

    if (sim->expired_returns)
        history_fail(&sim->history, "a message that came back after its time did not expire");
    if (sim->arrivals.count)
        history_fail(&sim->history, "m%u did not arrive", sim->arrivals.list[0].message->id);
    if (dead_letter_pending(sim->broker))
        return; /* enough for one turn: the rest is for the next */
    DL_FOREACH(sim->letters, letter)
        if (!letter->waiting)
            history_fail(&sim->history, "m%u of queue '%s' was not dead-lettered",
                         letter->entry.message->id, letter->queue_name);
}

void model_letters_drop(struct sim *sim)
{
    struct m_letter *letter, *next;

    DL_FOREACH_SAFE(sim->letters, letter, next)
        free(letter);
    sim->letters = NULL;
}

/* --- what a letter says --- */

static const struct m_death *past_death(const struct m_past *past, const struct m_letter *letter)
{
    for (size_t i = 0; past && i < past->n_deaths; i++)
        if (past->deaths[i].reason == letter->reason &&
            strcmp(past->deaths[i].event.queue, letter->queue_name) == 0)
            return &past->deaths[i];
    return NULL;
}

static struct m_event event_of(const struct m_letter *letter)
{
    struct m_event event = { .reason = letter->reason };

    memcpy(event.exchange, letter->entry.message->exchange, sizeof event.exchange);
    memcpy(event.queue, letter->queue_name, sizeof event.queue);
    return event;
}

/* The newest first; one for each queue and reason, which counts (2.3). */
static struct m_past *new_past(struct sim *sim, const struct m_letter *letter)
{
    const struct m_message *message = letter->entry.message;
    const struct m_past *before = message->past;
    const struct m_death *again = past_death(before, letter);
    size_t n_before = before ? before->n_deaths : 0;
    struct m_past *past = calloc(1, sizeof *past + (n_before + 1) * sizeof past->deaths[0]);
    struct m_event event = event_of(letter);

    if (!past)
        abort();
    if (again) {
        past->deaths[0] = *again;
        past->deaths[0].count++;
    } else {
        past->deaths[0] = (struct m_death){ .event = event,
                                            .reason = letter->reason,
                                            .count = 1,
                                            .time_s = sim_wall_ms(sim) / 1000,
                                            .expiration_ms = message->expiration_ms };
        memcpy(past->deaths[0].key, message->routing_key, MODEL_NAME_BYTES);
    }
    past->n_deaths = 1;
    for (size_t i = 0; i < n_before; i++)
        if (&before->deaths[i] != again)
            past->deaths[past->n_deaths++] = before->deaths[i];
    past->first = before ? before->first : event;
    past->last = event;
    return past;
}

static struct m_message *new_message(struct sim *sim, const struct m_letter *letter)
{
    struct m_message *message = sim_duplicate(letter->entry.message, sizeof *message);
    const struct m_settings *settings = &letter->settings;

    message->past = new_past(sim, letter);
    memcpy(message->exchange, settings->dead_letter_exchange, sizeof message->exchange);
    if (settings->has_dead_letter_key)
        memcpy(message->routing_key, settings->dead_letter_key, sizeof message->routing_key);
    message->expiration_ms = -1;
    sim->copies = sim_grow(sim->copies, sim->n_copies, &sim->copies_capacity,
                           sizeof(struct m_message *));
    sim->copies[sim->n_copies++] = message;
    return message;
}

/* Unless somebody rejected it on the way, it has been there before (2.5). */
static bool is_cycle(const struct m_message *message, enum dead_letter_reason reason,
                     const struct m_queue *target)
{
    if (reason == DEAD_LETTER_REJECTED)
        return false;
    for (size_t i = 0; i < message->past->n_deaths; i++) {
        const struct m_death *death = &message->past->deaths[i];

        if (death->reason == DEAD_LETTER_REJECTED)
            return false;
        if (strcmp(death->event.queue, target->name) == 0)
            return true;
    }
    return false;
}

static struct m_letter *find_letter(struct sim *sim, uint32_t id,
                                    const struct dead_letter_event *event)
{
    struct m_letter *letter;

    DL_FOREACH(sim->letters, letter)
        if (!letter->waiting && letter->reason == event->reason &&
            amqp_str_equal(amqp_str_from(letter->queue_name), event->queue_name))
            break;
    if (!letter || letter->entry.message->id != id)
        history_fail(&sim->history, "m%u of queue '%.*s' is dead-lettered out of place", id,
                     AMQP_STR_ARG(event->queue_name));
    return letter;
}

void model_dead_letter(struct sim *sim, uint32_t id, const struct dead_letter_event *event)
{
    struct m_letter *letter = find_letter(sim, id, event);
    struct m_exchange *exchange = exchange_of(sim, letter);
    struct m_message *message = new_message(sim, letter);
    uint32_t queues[16];
    unsigned n_queues;

    sim->events++; /* more may be for the next turn */
    history_add(&sim->history, "  m%u of queue '%s' is dead-lettered to '%s', key '%s': %s", id,
                letter->queue_name, message->exchange, message->routing_key,
                dead_letter_reason_name(letter->reason));
    if (sim->arrivals.count)
        history_fail(&sim->history, "m%u did not arrive", sim->arrivals.list[0].message->id);
    if (!exchange || !amqp_str_equal(event->exchange, amqp_str_from(message->exchange)) ||
        !amqp_str_equal(event->routing_key, amqp_str_from(message->routing_key)))
        history_fail(&sim->history, "m%u goes to another exchange or with another key", id);
    n_queues = model_route(sim, exchange, message->routing_key, queues);
    for (unsigned i = 0; i < n_queues; i++)
        if (!is_cycle(message, letter->reason, model_queue_by_id(sim, queues[i])))
            (void)model_expect_arrival(sim, message, queues[i]);
    sim->arrivals.done = NULL;
    end_letter(sim, letter);
}
