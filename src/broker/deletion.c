/*
 * deletion.c - see deletion.h
 *
 * The list is worked off from its front. A deletion that is begun by another one goes in front of
 * the list with the number of the other. What the store has to be told is bounded too: while its
 * open commit is large, deletions wait for the disk.
 */
#include "broker/deletion.h"

#include <assert.h>

#include "broker/broker.h"

enum { OPEN_COMMIT_BYTES_MAX = 8 * 1024 * 1024 };

size_t deletion_steps_left(const struct broker *broker)
{
    const struct deletions *deletions = &broker->deletions;
    size_t steps = broker->settings.deletion_steps_max;

    if (deletions->unlimited)
        return SIZE_MAX;
    if (!deletions->at_end)
        steps /= 2;
    return steps > deletions->steps ? steps - deletions->steps : 0;
}

bool deletion_step(struct broker *broker)
{
    if (deletion_steps_left(broker) == 0)
        return false;
    broker->deletions.steps++;
    return true;
}

static void add_first(struct deletions *deletions, struct deletion *deletion)
{
    deletion->next = deletions->first;
    deletions->first = deletion;
    if (!deletion->next)
        deletions->last = deletion;
}

static void add_last(struct deletions *deletions, struct deletion *deletion)
{
    deletion->next = NULL;
    if (deletions->last)
        deletions->last->next = deletion;
    else
        deletions->first = deletion;
    deletions->last = deletion;
}

static struct deletion *take_first(struct deletions *deletions)
{
    struct deletion *deletion = deletions->first;

    deletions->first = deletion->next;
    if (!deletions->first)
        deletions->last = NULL;
    return deletion;
}

void deletion_begin(struct broker *broker, struct deletion *deletion)
{
    struct deletions *deletions = &broker->deletions;

    assert(deletion->advance && deletion->release && !deletion->number);
    if (deletions->running) {
        deletion->number = deletions->running;
        add_first(deletions, deletion);
    } else {
        deletion->number = ++deletions->begun;
        add_last(deletions, deletion);
    }
}

/* Each one that is looked at is a step: those with nothing to delete are not free. */
static void run(struct broker *broker)
{
    struct deletions *deletions = &broker->deletions;

    assert(!deletions->running);
    while (deletions->first && deletion_step(broker)) {
        struct deletion *deletion = take_first(deletions);

        deletions->running = deletion->number;
        if (!deletion->advance(deletion))
            add_first(deletions, deletion);
    }
    deletions->running = 0;
}

void deletion_run_begun(struct broker *broker, uint64_t since)
{
    struct deletions *deletions = &broker->deletions;

    if (!deletions->running && deletions->first && deletions->first->number > since)
        run(broker);
}

static bool store_is_behind(const struct broker *broker)
{
    return broker->store && store_open_bytes(broker->store) > OPEN_COMMIT_BYTES_MAX;
}

void deletion_run(struct broker *broker)
{
    if (!deletion_pending(broker) || store_is_behind(broker))
        return;
    broker->deletions.at_end = true;
    run(broker);
    broker->deletions.at_end = false;
}

void deletion_finish_all(struct broker *broker)
{
    broker->deletions.unlimited = true;
    run(broker);
    broker->deletions.unlimited = false;
}

void deletion_release_all(struct broker *broker)
{
    while (broker->deletions.first) {
        struct deletion *deletion = take_first(&broker->deletions);

        deletion->release(deletion);
    }
}

bool deletion_has_ended(const struct broker *broker, uint64_t number)
{
    const struct deletion *first = broker->deletions.first;

    return !first || first->number > number;
}

bool deletion_is_due(const struct broker *broker, uint64_t since)
{
    uint64_t begun = broker->deletions.begun;

    return begun > since && !deletion_has_ended(broker, begun);
}

bool deletion_pending(const struct broker *broker)
{
    return broker->deletions.first != NULL;
}

bool deletion_wants_turn(const struct broker *broker)
{
    return deletion_pending(broker) && !store_is_behind(broker);
}
