/*
 * queue.c - the life of a queue, and of the entries in it
 *
 * Declaring is in queue_declare.c, handing out in queue_dispatch.c. Here: making, deleting,
 * pushing, requeueing, settling, purging. `unacked_count` changes only here and where entries go out
 * (queue_take(), channel_deliver()), always together with the entry that it counts.
 */
#include "broker/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/broker.h"
#include "broker/channel_room.h"
#include "broker/connection-internal.h"
#include "broker/consumer_timeout.h"
#include "broker/exchange-internal.h"
#include "broker/meta.h"
#include "broker/policy.h"
#include "broker/queue-internal.h"
#include "broker/task.h"
#include "broker/vhost.h"

/* The queue and what it is called and declared with are one allocation. */
static struct queue *allocate(const struct queue_properties *properties)
{
    struct amqp_table arguments = properties->arguments;
    struct amqp_str name = properties->name;
    struct queue *queue =
        calloc(1, offsetof(struct queue, octets) + name.size + 1 + arguments.size);

    if (!queue)
        return NULL;
    memcpy(queue->octets, name.data, name.size);
    queue->destination.name = (struct amqp_str){ queue->octets, name.size };
    if (arguments.size)
        memcpy(queue->octets + name.size + 1, arguments.data, arguments.size);
    queue->arguments_bytes = (uint32_t)arguments.size;
    return queue;
}

static void queue_free(struct queue *queue)
{
    queue_discards_release(queue);
    ready_release(&queue->ready);
    expiry_release(&queue->expiry);
    queue_settings_free(queue->settings);
    free(queue->rare);
    free(queue);
}
DEFINE_OWNED(queue_free, struct queue *)

struct queue_rare *queue_rare(struct queue *queue)
{
    struct queue_rare *rare = queue->rare;

    if (rare)
        return rare;
    rare = calloc(1, sizeof *rare);
    if (!rare)
        return NULL;
    rare->queue = queue;
    rare->timer.fire = queue_on_timer;
    queue->rare = rare;
    return rare;
}

int queue_new(struct vhost *vhost, const struct queue_properties *properties,
              struct queue **ret_queue)
{
    OWNED(queue_free) struct queue *queue = allocate(properties);
    struct store *store = vhost->broker->store;
    int rc;

    if (!queue)
        return -ENOMEM;
    ready_init(&queue->ready);
    expiry_init(&queue->expiry);
    queue->settings = &queue_settings_default;
    queue->destination.vhost = vhost;
    queue->refs = 1;
    queue->next_sequence = 1;
    queue->durable = properties->durable && !properties->exclusive;
    queue->exclusive = properties->exclusive;
    queue->auto_delete = properties->auto_delete;
    queue->last_used_ms = vhost->broker->now_ms;
    if (properties->owner && !queue_rare(queue))
        return -ENOMEM;
    rc = queue_settings_compile(queue, &queue->settings);
    if (!rc)
        rc = vhost_add_queue(vhost, queue);
    if (rc)
        return rc;
    queue->named = true;
    if (queue->durable && store)
        queue->id = properties->id ? properties->id : store_new_queue_id(store);
    if (properties->owner) {
        queue->rare->owner = properties->owner;
        DL_APPEND2(properties->owner->exclusive_queues, queue->rare, owned_prev, owned_next);
    }
    consumer_timeout_note(vhost->broker, queue->settings->consumer_timeout_ms);
    queue_set_timer(queue);
    *ret_queue = TAKE(queue);
    return 0;
}

void queue_unref(struct queue *queue)
{
    assert(queue->refs > 0);
    if (--queue->refs == 0)
        queue_free(queue);
}

/* The entry's message, and its place in the store, are given up. */
void queue_release_entry(struct queue *queue, struct queue_entry *entry)
{
    uint64_t location = entry->location;

    if (entry->flags & ENTRY_RESIDENT)
        location = entry->message->location;
    if ((entry->flags & (ENTRY_STORED | ENTRY_PAGED)) && queue_vhost(queue)->broker->store)
        /* A settlement lost to want of memory only redelivers after a restart. */
        (void)store_settle(queue_vhost(queue)->broker->store,
                           entry->flags & ENTRY_PAGED ? queue->rare->paging_id : queue->id,
                           entry->sequence, location);
    if (entry->flags & ENTRY_RESIDENT)
        message_unref(entry->message);
    entry->flags = 0;
}

static void leave_owner(struct queue_rare *rare)
{
    if (rare->owner)
        DL_DELETE2(rare->owner->exclusive_queues, rare, owned_prev, owned_next);
    rare->owner = NULL;
}

bool queue_is_orphan(const struct queue *queue)
{
    return queue_vhost(queue)->broker->orphaning_count && queue_owner(queue) &&
           queue_owner(queue)->channels_left;
}

/* --- deleting --- */

static void free_name(struct queue *queue)
{
    if (!queue->named)
        return;
    queue->named = false;
    policy_forget_queue(queue);
    hash_table_remove(&queue_vhost(queue)->queues, &queue->by_name);
}

static void hide(struct queue *queue)
{
    struct broker *broker = queue_vhost(queue)->broker;

    assert(!queue->destination.deleted);
    queue->destination.deleted = true;
    broker->topology_generation++;
    if (!queue->rare)
        return;
    leave_owner(queue->rare);
    timers_cancel(&broker->timers, &queue->rare->timer);
}

/* The bindings are gone. Its record goes after theirs: none of them ever names a missing queue. */
static void finish_unlinking(struct queue *queue)
{
    struct store *store = queue_vhost(queue)->broker->store;

    assert(!queue->destination.bindings);
    if (queue->id) {
        meta_delete_queue(queue);
        if (store)
            (void)store_forget_queue(store, queue->id); /* else an orphan, dropped at start */
    }
    if (queue->rare && queue->rare->paging_id)
        (void)store_forget_queue(store, queue->rare->paging_id); /* likewise */
    free_name(queue);
    queue->unlinked = true;
}

/* False when the turn has no work left for more of them. */
static bool drop_messages(struct queue *queue, struct ready *ready)
{
    struct broker *broker = queue_vhost(queue)->broker;
    struct queue_entry entry;

    while (ready->count) {
        if (!task_pay(broker, TASK_COST_DROP))
            return false;
        ready_pop(ready, &entry);
        queue_release_entry(queue, &entry);
    }
    return true;
}

/* Likewise. */
static bool advance_emptying(struct queue *queue)
{
    if (!queue_cancel_consumers(queue) || !drop_messages(queue, &queue->ready))
        return false;
    queue_answer_gets(queue);
    return true;
}

static bool advance_deletion(struct deletion *deletion)
{
    struct queue *queue = CONTAINER_OF(deletion, struct queue_rare, deletion)->queue;

    if (!queue->unlinked) {
        if (!destination_unbind(&queue->destination))
            return false;
        finish_unlinking(queue);
        deletion->number = 0;
        deletion_begin_last(queue_vhost(queue)->broker, deletion); /* behind the answer */
        return true;
    }
    if (!advance_emptying(queue))
        return false;
    queue_unref(queue);
    return true;
}

static void release_deletion(struct deletion *deletion)
{
    queue_destroy(CONTAINER_OF(deletion, struct queue_rare, deletion)->queue);
}

/* The rest is done in later turns; false on allocation failure. */
static bool postpone(struct queue *queue)
{
    struct queue_rare *rare = queue_rare(queue);

    if (!rare)
        return false;
    rare->deletion.advance = advance_deletion;
    rare->deletion.release = release_deletion;
    deletion_begin(queue_vhost(queue)->broker, &rare->deletion);
    return true;
}

/*
 * The record of a queue whose bindings are deleted over several turns says so, and the next start
 * deletes the rest. One without a record gives its name up at once.
 */
static bool postpone_unlinking(struct queue *queue)
{
    if (queue->id && meta_put_queue(queue))
        return false;
    if (!postpone(queue))
        return false;
    if (!queue->id)
        free_name(queue);
    return true;
}

bool queue_unlink(struct queue *queue)
{
    struct broker *broker = queue_vhost(queue)->broker;
    size_t n_bindings = queue->destination.binding_count;
    uint64_t since = broker->deletions.begun;
    bool quick;

    hide(queue);
    quick = task_affords(broker, n_bindings * TASK_COST_DELETE) || !postpone_unlinking(queue);
    if (quick) {
        destination_unbind_all(&queue->destination);
        finish_unlinking(queue);
        deletion_run_begun(broker, since);
    }
    return quick;
}

void queue_empty(struct queue *queue)
{
    struct broker *broker = queue_vhost(queue)->broker;
    int64_t work_left = broker->work_left;

    assert(queue->unlinked);
    if (!advance_emptying(queue)) {
        if (postpone(queue))
            return;
        broker->work_left = INT64_MAX; /* no memory: all of it now */
        (void)advance_emptying(queue);
        broker->work_left = work_left;
    }
    queue_unref(queue);
}

void queue_delete(struct queue *queue)
{
    if (queue_unlink(queue))
        queue_empty(queue);
}

void queue_destroy(struct queue *queue)
{
    struct queue_entry entry;

    while (queue->destination.bindings)
        binding_free(queue->destination.bindings);
    if (!queue->destination.deleted)
        hide(queue);
    free_name(queue);
    while (queue_pop(queue, &entry))
        if (entry.flags & ENTRY_RESIDENT)
            message_unref(entry.message);
    queue_unref(queue);
}

static bool is_stored(const struct queue *queue, const struct message *message)
{
    return queue->id && (message->persistent || queue->settings->type == QUEUE_TYPE_QUORUM);
}

static int store_entry(struct queue *queue, uint64_t store_id, struct message *message,
                       const struct queue_entry *entry)
{
    struct store *store = queue_vhost(queue)->broker->store;
    int rc;

    if (!message->location) {
        uint8_t head[MESSAGE_STORED_HEAD_BYTES];
        struct iovec parts[MESSAGE_STORED_PARTS];

        message_stored_parts(message, head, parts);
        rc = store_append(store, parts, MESSAGE_STORED_PARTS, &message->location);
        if (rc)
            return rc;
    }
    return store_enqueue(store, &(struct store_entry){ .queue_id = store_id,
                                                       .sequence = entry->sequence,
                                                       .location = message->location,
                                                       .expires_ms = entry->expires_ms,
                                                       .body_bytes = message->body_bytes,
                                                       .priority = entry->priority });
}

/* The smaller of the queue's TTL and the message's own; 0: never (extensions.md 1.5). */
static uint64_t expires_ms(const struct queue *queue, const struct message *message)
{
    int64_t ttl_ms = queue->settings->message_ttl_ms;

    if (message->expiration_ms >= 0 && (ttl_ms < 0 || message->expiration_ms < ttl_ms))
        ttl_ms = message->expiration_ms;
    if (ttl_ms < 0)
        return 0;
    /* The clock is cut to milliseconds: one more, so that nothing expires early. */
    return queue_vhost(queue)->broker->wall_ms + (uint64_t)ttl_ms + (ttl_ms > 0);
}

static bool is_over(const struct queue_settings *settings, uint64_t count, uint64_t bytes)
{
    return (settings->max_length >= 0 && count > (uint64_t)settings->max_length) ||
           (settings->max_length_bytes >= 0 && bytes > (uint64_t)settings->max_length_bytes);
}

/* Judged before the message goes in, after consumers have had what they can take. */
static bool refuses(struct queue *queue, const struct message *message)
{
    const struct queue_settings *settings = queue->settings;

    if (settings->overflow == QUEUE_OVERFLOW_DROP_HEAD ||
        !is_over(settings, queue->ready.count + 1, queue->ready.bytes + message->body_bytes))
        return false;
    broker_offer_rooms(queue_vhost(queue)->broker);
    queue_hand_out(queue);
    return is_over(settings, queue->ready.count + 1, queue->ready.bytes + message->body_bytes);
}

/*
 * A queue keeps so much in memory, whatever lies in it: this is never less than its messages take
 * there. It covers bodies that have left memory too, so a queue that is long stays on disk from
 * there on, in one piece, and its index can be packed.
 */
static bool is_full(const struct queue *queue)
{
    const struct ready *ready = &queue->ready;

    return ready->bytes + ready->heavy_bytes +
               (uint64_t)ready->count * BOUND_MESSAGE_OVERHEAD_BYTES >=
           queue_vhost(queue)->broker->settings.queue_memory_max;
}

/*
 * A message behind a long backlog does not stay in memory when the store has it, and when memory is
 * low it goes to the store for that: it is read back when its turn comes (queue_fetch.c). The store
 * serves it from the start, also while its commit is open.
 */
static bool is_long(const struct queue *queue)
{
    const struct broker *broker = queue_vhost(queue)->broker;
    unsigned shift = broker->paging ? BOUND_PAGING_SHIFT : 0;

    return queue->ready.count >= broker->settings.resident_messages_max >> shift ||
           queue->ready.bytes >= broker->settings.resident_bytes_max >> shift;
}

static bool leaves_memory(const struct queue *queue, bool stored)
{
    const struct broker *broker = queue_vhost(queue)->broker;

    return UNLIKELY(is_full(queue) || ((stored || broker->paging) && is_long(queue))) &&
           broker->store;
}

static int page_entry(struct queue *queue, struct message *message,
                      const struct queue_entry *entry)
{
    struct queue_rare *rare = queue_rare(queue);

    if (!rare)
        return -ENOMEM;
    if (!rare->paging_id)
        rare->paging_id = store_new_queue_id(queue_vhost(queue)->broker->store);
    return store_entry(queue, rare->paging_id, message, entry);
}

/* Gives the message to the store, where it has to go there, and takes it out of memory. */
static int place(struct queue *queue, struct message *message, struct queue_entry *entry)
{
    bool stored = is_stored(queue, message);
    bool leaves = leaves_memory(queue, stored);
    int rc = 0;

    if (stored) {
        rc = store_entry(queue, queue->id, message, entry);
        entry->flags |= ENTRY_STORED;
    } else if (UNLIKELY(leaves)) {
        rc = page_entry(queue, message, entry);
        entry->flags |= ENTRY_PAGED;
    }
    if (rc)
        return rc;
    if (UNLIKELY(leaves)) {
        entry->flags &= (uint8_t)~ENTRY_RESIDENT;
        entry->location = message->location;
    } else {
        message_ref(message);
    }
    return 0;
}

static int push(struct queue *queue, struct message *message, struct push_outcome *outcome)
{
    struct queue_entry entry = { .sequence = queue->next_sequence,
                                 .message = message,
                                 .expires_ms = expires_ms(queue, message),
                                 .body_bytes = message->body_bytes,
                                 .flags = ENTRY_RESIDENT };
    int rc;

    if (queue->settings->max_priority)
        entry.priority = message->priority < queue->settings->max_priority
                             ? message->priority
                             : queue->settings->max_priority;
    rc = place(queue, message, &entry);
    if (rc)
        return rc;
    rc = expiry_admit(&queue->expiry, &entry, queue->ready.count == 0,
                      queue->settings->max_priority != 0);
    if (!rc)
        rc = ready_push(&queue->ready, &entry);
    if (rc) {
        queue_release_entry(queue, &entry);
        return rc;
    }
    queue->next_sequence++;
    if (entry.flags & ENTRY_STORED)
        outcome->stored = true;
    else if (UNLIKELY(entry.flags & ENTRY_PAGED))
        outcome->paged = true;
    queue_wake(queue);
    return 0;
}

int queue_push(struct queue *queue, struct message *message, struct push_outcome *outcome)
{
    if (LIKELY(!queue->settings->limited) || !refuses(queue, message))
        return push(queue, message, outcome);
    outcome->refused = true;
    if (queue->settings->overflow == QUEUE_OVERFLOW_REJECT_PUBLISH_DLX)
        dead_letter_refused(queue, message);
    return 0;
}

int queue_push_anyway(struct queue *queue, struct message *message, struct push_outcome *outcome)
{
    return push(queue, message, outcome);
}

int queue_recover_entry(struct queue *queue, const struct store_entry *stored)
{
    struct queue_entry entry = {
        .sequence = stored->sequence,
        .location = stored->location,
        .expires_ms = stored->expires_ms,
        .body_bytes = stored->body_bytes,
        .delivery_count = (uint16_t)(stored->delivery_count > UINT16_MAX ? UINT16_MAX
                                                                         : stored->delivery_count),
        .priority = stored->priority,
        .flags = (uint8_t)(ENTRY_STORED | (stored->delivered ? ENTRY_REDELIVERED : 0)),
    };
    int rc = expiry_admit(&queue->expiry, &entry, queue->ready.count == 0,
                          queue->settings->max_priority != 0);

    if (!rc)
        rc = ready_push(&queue->ready, &entry);
    if (!rc && queue->next_sequence <= entry.sequence)
        queue->next_sequence = entry.sequence + 1;
    return rc;
}

int queue_put_back(struct queue *queue, struct queue_entry *entry)
{
    int rc = 0;

    if (entry->expires_ms)
        rc = expiry_admit(&queue->expiry, entry, false, true);
    return rc ? rc : ready_put_back(&queue->ready, entry);
}

bool queue_pop(struct queue *queue, struct queue_entry *ret_entry)
{
    if (!ready_pop(&queue->ready, ret_entry))
        return false;
    expiry_leave(&queue->expiry, ret_entry);
    return true;
}

/* True when the entry has been returned too often for its queue. */
static bool past_delivery_limit(const struct queue *queue, const struct queue_entry *entry)
{
    int64_t limit = queue->settings->delivery_limit;

    return limit >= 0 && entry->delivery_count > limit;
}

void queue_requeue(struct queue *queue, struct queue_entry *entry)
{
    struct broker *broker = queue_vhost(queue)->broker;

    assert(queue->unacked_count > 0);
    if (queue->destination.deleted) {
        queue_settle(queue, entry);
        return;
    }
    queue->unacked_count--;
    entry->flags |= ENTRY_REDELIVERED;
    if (entry->delivery_count < UINT16_MAX)
        entry->delivery_count++;
    if (past_delivery_limit(queue, entry)) {
        queue_discard(queue, entry, DEAD_LETTER_DELIVERY_LIMIT);
        return;
    }
    /* Not back to a consumer that waits: a TTL of 0 allows one delivery, none after it. */
    if (queue_entry_is_due(entry, broker->wall_ms)) {
        queue_discard(queue, entry, DEAD_LETTER_EXPIRED);
        return;
    }
    if (queue_put_back(queue, entry)) {
        broker_log(broker, BROKER_LOG_ERROR, "no memory to requeue a message to queue '%s'",
                   queue->destination.name.data);
        entry->flags &= (uint8_t)~ENTRY_STORED; /* the store keeps it for the next start */
        queue_release_entry(queue, entry);
        return;
    }
    if (entry->flags & ENTRY_STORED)
        /* A count lost to want of memory is a count too low after a restart. */
        (void)store_count_delivery(broker->store, queue->id, entry->sequence,
                                   entry->delivery_count);
    queue_wake(queue);
}

void queue_settle(struct queue *queue, struct queue_entry *entry)
{
    assert(queue->unacked_count > 0);
    queue->unacked_count--;
    queue_release_entry(queue, entry);
}

void queue_reject(struct queue *queue, struct queue_entry *entry)
{
    assert(queue->unacked_count > 0);
    queue->unacked_count--;
    queue_discard(queue, entry, DEAD_LETTER_REJECTED);
}

/* --- purging --- */

/* Messages that are in no queue any more, but are still to be settled and freed. */
struct purge {
    struct deletion deletion;
    struct queue *queue; /* referenced */
    struct ready ready;
    struct expiry expiry;
};

static void purge_free(struct purge *purge)
{
    ready_release(&purge->ready);
    expiry_release(&purge->expiry);
    queue_unref(purge->queue);
    free(purge);
}

static bool advance_purge(struct deletion *deletion)
{
    struct purge *purge = CONTAINER_OF(deletion, struct purge, deletion);

    if (!drop_messages(purge->queue, &purge->ready))
        return false;
    purge_free(purge);
    return true;
}

static void release_purge(struct deletion *deletion)
{
    struct purge *purge = CONTAINER_OF(deletion, struct purge, deletion);
    struct queue_entry entry;

    while (ready_pop(&purge->ready, &entry))
        if (entry.flags & ENTRY_RESIDENT)
            message_unref(entry.message);
    purge_free(purge);
}

/* False on allocation failure. */
static bool purge_later(struct queue *queue)
{
    struct purge *purge = calloc(1, sizeof *purge);

    if (!purge)
        return false;
    purge->queue = queue_ref(queue);
    purge->ready = queue->ready;
    purge->expiry = queue->expiry;
    ready_init(&queue->ready);
    expiry_init(&queue->expiry);
    purge->deletion.advance = advance_purge;
    purge->deletion.release = release_purge;
    deletion_begin(queue_vhost(queue)->broker, &purge->deletion);
    return true;
}

uint32_t queue_purge(struct queue *queue)
{
    struct broker *broker = queue_vhost(queue)->broker;
    uint64_t since = broker->deletions.begun;
    struct queue_entry entry;
    uint32_t count;

    queue_dispatch(queue);
    count = queue_ready_count(queue);
    if (task_affords(broker, (uint64_t)count * TASK_COST_DROP) || !purge_later(queue)) {
        task_charge(broker, (int64_t)count * TASK_COST_DROP);
        while (queue_pop(queue, &entry))
            queue_release_entry(queue, &entry);
    }
    deletion_run_begun(broker, since);
    return count;
}

int queue_check_access(const struct queue *queue, const struct connection *connection,
                       struct amqp_error *err)
{
    if (!queue->exclusive || queue_owner(queue) == connection)
        return 0;
    return queue_raise_locked(queue, err);
}
