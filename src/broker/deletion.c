/*
 * deletion.c - see deletion.h
 *
 * The list is worked off from its front. A deletion that is begun by another one goes in front of
 * it, with its number: what has caused deletions ends after them. What the store has to be told is
 * bounded too: while its open commit is large, deletions wait for the disk.
 */
#include "broker/deletion.h"

#include <assert.h>

#include "broker/broker.h"
#include "broker/connection.h"
#include "broker/task.h"

enum { OPEN_COMMIT_BYTES_MAX = 8 * 1024 * 1024 };

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

static void wake_task(struct deletions *deletions)
{
    if (!deletions->task_runs)
        task_add(&deletions->task);
    deletions->task_runs = true;
}

void deletion_begin_last(struct broker *broker, struct deletion *deletion)
{
    struct deletions *deletions = &broker->deletions;

    assert(deletion->advance && deletion->release && !deletion->number);
    deletion->number = ++deletions->begun;
    add_last(deletions, deletion);
    wake_task(deletions);
}

void deletion_begin(struct broker *broker, struct deletion *deletion)
{
    struct deletions *deletions = &broker->deletions;

    if (!deletions->running) {
        deletion_begin_last(broker, deletion);
        return;
    }
    assert(deletion->advance && deletion->release && !deletion->number);
    deletion->number = deletions->running;
    add_first(deletions, deletion);
}

/* In front of @rest, behind what it has begun. */
static void put_back(struct deletions *deletions, struct deletion *deletion, struct deletion *rest)
{
    struct deletion **at = &deletions->first;

    while (*at != rest)
        at = &(*at)->next;
    *at = deletion;
    deletion->next = rest;
    if (!rest)
        deletions->last = deletion;
}

static void advance_first(struct broker *broker)
{
    struct deletions *deletions = &broker->deletions;
    struct deletion *deletion = take_first(deletions), *rest = deletions->first;

    deletions->running = deletion->number;
    if (!deletion->advance(deletion))
        put_back(deletions, deletion, rest);
    deletions->running = 0;
}

/*
 * Each one that is looked at is paid for: those with nothing to delete are not free. But what
 * little is left of the turn is all for the steps of the last one, so that it always gets on.
 */
static bool go_on(struct broker *broker, bool *last)
{
    if (!deletion_pending(broker) || broker->work_left <= 0 || *last)
        return false;
    *last = broker->work_left <= TASK_COST_DELETE;
    if (!*last)
        task_charge(broker, TASK_COST_DELETE);
    advance_first(broker);
    return true;
}

static void run(struct broker *broker)
{
    bool last = false;

    assert(!broker->deletions.running);
    while (go_on(broker, &last))
        ;
}

void deletion_run_begun(struct broker *broker, uint64_t since)
{
    struct deletions *deletions = &broker->deletions;

    if (!deletions->running && deletions->first && deletions->first->number > since)
        run(broker);
}

bool deletion_waits_for_store(const struct broker *broker)
{
    return deletion_pending(broker) && broker->store &&
           store_open_bytes(broker->store) > OPEN_COMMIT_BYTES_MAX;
}

/* Clients that wait for what has ended are answered before the next one goes on. */
static bool run_task(struct task *task)
{
    struct broker *broker = task->broker;
    bool last = false;

    while (!deletion_waits_for_store(broker) && go_on(broker, &last))
        connection_resume_waiting(broker);
    return !deletion_pending(broker);
}

static void end_task(struct task *task)
{
    task->broker->deletions.task_runs = false;
}

void deletion_init(struct broker *broker)
{
    broker->deletions.task = (struct task){ .run = run_task, .end = end_task, .broker = broker };
}

void deletion_finish_all(struct broker *broker)
{
    int64_t work_left = broker->work_left;

    broker->work_left = INT64_MAX;
    run(broker);
    broker->work_left = work_left;
}

void deletion_stop(struct broker *broker)
{
    if (broker->deletions.task_runs)
        task_remove(&broker->deletions.task);
    broker->deletions.task_runs = true;
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
