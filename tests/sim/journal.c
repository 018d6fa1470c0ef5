/*
 * journal.c - records, and the disk that they make
 */
#include "journal.h"

#include <stdlib.h>
#include <utlist.h>

#include "model.h"

static void add(struct sim *sim, const struct journal_record *record)
{
    struct journal *journal = &sim->journal;

    journal->records = sim_grow(journal->records, journal->n_records, &journal->records_capacity,
                                sizeof *journal->records);
    journal->records[journal->n_records] = *record;
    journal->records[journal->n_records++].commit = store_open_commit(sim->store);
}

void journal_queue(struct sim *sim, enum journal_what what, const struct m_queue *queue)
{
    if (queue->durable)
        add(sim, &(struct journal_record){ .what = what,
                                           .queue = queue->id,
                                           .copy = sim_duplicate(queue, sizeof *queue) });
}

void journal_exchange(struct sim *sim, enum journal_what what, const struct m_exchange *exchange)
{
    if (exchange->durable)
        add(sim, &(struct journal_record){ .what = what,
                                           .copy = sim_duplicate(exchange, sizeof *exchange) });
}

void journal_binding(struct sim *sim, enum journal_what what, const struct m_binding *binding)
{
    if (binding->durable)
        add(sim, &(struct journal_record){ .what = what,
                                           .copy = sim_duplicate(binding, sizeof *binding) });
}

void journal_policy(struct sim *sim, enum journal_what what, const struct m_policy *policy)
{
    add(sim, &(struct journal_record){ .what = what,
                                       .copy = sim_duplicate(policy, sizeof *policy) });
}

void journal_entry(struct sim *sim, enum journal_what what, const struct m_queue *queue,
                   const struct m_entry *entry)
{
    if (entry->stored)
        add(sim, &(struct journal_record){ .what = what,
                                           .queue = queue->id,
                                           .sequence = entry->sequence,
                                           .copy = sim_duplicate(entry, sizeof *entry) });
}

static struct m_queue *find_queue(struct journal *journal, uint32_t id)
{
    struct m_queue *queue;

    DL_FOREACH(journal->queues, queue)
        if (queue->id == id)
            break;
    return queue;
}

static void put_queue(struct journal *journal, const struct m_queue *like)
{
    struct m_queue *queue = sim_duplicate(like, sizeof *like);

    queue->entries = NULL;
    queue->n_entries = queue->capacity = 0;
    DL_APPEND(journal->queues, queue);
}

static void delete_queue(struct journal *journal, struct m_queue *queue)
{
    DL_DELETE(journal->queues, queue);
    free(queue->entries);
    free(queue);
}

static void delete_exchange(struct journal *journal, const char *name)
{
    struct m_exchange *exchange;

    DL_FOREACH(journal->exchanges, exchange) {
        if (strcmp(exchange->name, name) != 0)
            continue;
        DL_DELETE(journal->exchanges, exchange);
        free(exchange);
        return;
    }
}

static void delete_binding(struct journal *journal, const struct m_binding *like)
{
    struct m_binding *binding;

    DL_FOREACH(journal->bindings, binding) {
        if (strcmp(binding->source, like->source) != 0 ||
            strcmp(binding->destination, like->destination) != 0 ||
            strcmp(binding->key, like->key) != 0 || binding->to_exchange != like->to_exchange)
            continue;
        DL_DELETE(journal->bindings, binding);
        free(binding);
        return; /* @like may have been this one */
    }
}

static void enqueue(struct m_queue *queue, const struct m_entry *entry)
{
    queue->entries = sim_grow(queue->entries, queue->n_entries, &queue->capacity,
                              sizeof *queue->entries);
    queue->entries[queue->n_entries++] = *entry;
}

static void change_entry(struct m_queue *queue, const struct journal_record *record)
{
    struct m_entry *entry = model_entry(queue, record->sequence);

    if (!entry)
        return;
    if (record->what == JOURNAL_DELIVER || record->what == JOURNAL_COUNT) {
        entry->redelivered = SEEN_BEFORE;
        if (record->what == JOURNAL_COUNT)
            entry->returned = ((const struct m_entry *)record->copy)->returned;
        return;
    }
    queue->n_entries--;
    memmove(entry, entry + 1,
            (size_t)(queue->entries + queue->n_entries - entry) * sizeof *entry);
}

static void apply(struct journal *journal, const struct journal_record *record)
{
    struct m_queue *queue = find_queue(journal, record->queue);

    switch (record->what) {
    case JOURNAL_PUT_QUEUE:
        put_queue(journal, record->copy);
        return;
    case JOURNAL_DELETE_QUEUE:
        delete_queue(journal, queue);
        return;
    case JOURNAL_PUT_EXCHANGE: {
        struct m_exchange *exchange = sim_duplicate(record->copy, sizeof *exchange);

        DL_APPEND(journal->exchanges, exchange);
        return;
    }
    case JOURNAL_DELETE_EXCHANGE:
        delete_exchange(journal, ((struct m_exchange *)record->copy)->name);
        return;
    case JOURNAL_PUT_BINDING: {
        struct m_binding *binding = sim_duplicate(record->copy, sizeof *binding);

        DL_APPEND(journal->bindings, binding);
        return;
    }
    case JOURNAL_DELETE_BINDING:
        delete_binding(journal, record->copy);
        return;
    case JOURNAL_PUT_POLICY:
        model_put_policy(&journal->policies, record->copy);
        return;
    case JOURNAL_DELETE_POLICY:
        model_delete_policy(&journal->policies, record->copy);
        return;
    case JOURNAL_ENQUEUE:
        enqueue(queue, record->copy);
        return;
    case JOURNAL_SETTLE:
    case JOURNAL_DELIVER:
    case JOURNAL_COUNT:
        if (queue)
            change_entry(queue, record);
        return;
    }
}

void journal_apply(struct sim *sim, uint64_t commit)
{
    struct journal *journal = &sim->journal;
    size_t done = 0;

    while (done < journal->n_records && journal->records[done].commit <= commit) {
        apply(journal, &journal->records[done]);
        free(journal->records[done++].copy);
    }
    journal->n_records -= done;
    if (done && journal->n_records)
        memmove(journal->records, journal->records + done,
                journal->n_records * sizeof *journal->records);
}

void journal_forget(struct sim *sim)
{
    while (sim->journal.n_records)
        free(sim->journal.records[--sim->journal.n_records].copy);
}

void journal_release(struct sim *sim)
{
    struct journal *journal = &sim->journal;
    struct m_binding *binding;

    journal_forget(sim);
    free(journal->records);
    while (journal->queues)
        delete_queue(journal, journal->queues);
    while (journal->exchanges)
        delete_exchange(journal, journal->exchanges->name);
    while ((binding = journal->bindings))
        delete_binding(journal, binding);
    model_drop_policies(&journal->policies);
    *journal = (struct journal){ 0 };
}
