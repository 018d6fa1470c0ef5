/*
 * journal.h - what must be on the disk after each commit
 *
 * The durable changes of the model, each with the number of the store's commit that it belongs to.
 * Commits become durable in order and whole, so what a crash leaves is what the records up to some
 * commit make of an empty disk, and that commit is known: the last one reported, or one that
 * reached the disk before anybody was told.
 */
#ifndef SIM_JOURNAL_H
#define SIM_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

struct sim;
struct m_binding;
struct m_exchange;
struct m_entry;
struct m_policy;
struct m_queue;

enum journal_what {
    JOURNAL_PUT_QUEUE,
    JOURNAL_DELETE_QUEUE,
    JOURNAL_PUT_EXCHANGE,
    JOURNAL_DELETE_EXCHANGE,
    JOURNAL_PUT_BINDING,
    JOURNAL_DELETE_BINDING,
    JOURNAL_PUT_POLICY,
    JOURNAL_DELETE_POLICY,
    JOURNAL_ENQUEUE,
    JOURNAL_SETTLE,
    JOURNAL_DELIVER, /* it was handed out: known to be redelivered */
    JOURNAL_COUNT, /* it was requeued: likewise, and how often */
};

struct journal_record {
    uint64_t commit;
    enum journal_what what;
    uint32_t queue; /* id */
    uint64_t sequence;
    void *copy; /* of the queue, exchange, binding, policy or entry; owned */
};

struct journal {
    struct journal_record *records; /* of commits that are not durable yet */
    size_t n_records, records_capacity;
    struct m_queue *queues; /* what is on the disk */
    struct m_exchange *exchanges;
    struct m_binding *bindings;
    struct m_policy *policies;
};

void journal_queue(struct sim *sim, enum journal_what what, const struct m_queue *queue);
void journal_exchange(struct sim *sim, enum journal_what what, const struct m_exchange *exchange);
void journal_binding(struct sim *sim, enum journal_what what, const struct m_binding *binding);
void journal_policy(struct sim *sim, enum journal_what what, const struct m_policy *policy);
void journal_entry(struct sim *sim, enum journal_what what, const struct m_queue *queue,
                   const struct m_entry *entry);

/** journal_apply() - every record up to this commit is on the disk */
void journal_apply(struct sim *sim, uint64_t commit);
/** journal_forget() - the records that are left never came to the disk */
void journal_forget(struct sim *sim);
/** journal_release() - free all of it */
void journal_release(struct sim *sim);

#endif
