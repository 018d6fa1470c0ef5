/*
 * watch.c - the wrapped functions
 *
 * Most of them have no way to the simulation among their arguments, so it is kept in a static. The
 * declarations are made from the originals': one that changes its type does not compile here.
 */
#include "watch.h"

#include "broker/generated_name.h"
#include "broker/queue-internal.h"
#include "broker/vhost.h"
#include "client.h"

enum { WATCH_NAME_LETTERS = 22 }; /* of a generated name */

static struct sim *watched;

extern typeof(queue_push) __real_queue_push, __wrap_queue_push;
extern typeof(queue_push_anyway) __real_queue_push_anyway, __wrap_queue_push_anyway;
extern typeof(queue_discard) __real_queue_discard, __wrap_queue_discard;

extern typeof(dead_letter_add) __real_dead_letter_add, __wrap_dead_letter_add;
extern typeof(queue_release_entry) __real_queue_release_entry, __wrap_queue_release_entry;
extern typeof(dead_letter_run) __real_dead_letter_run, __wrap_dead_letter_run;
extern typeof(dead_letter_message) __real_dead_letter_message, __wrap_dead_letter_message;
extern typeof(queue_settings_changed) __real_queue_settings_changed, __wrap_queue_settings_changed;
extern typeof(generate_name) __real_generate_name, __wrap_generate_name;

void watch_begin(struct sim *sim)
{
    watched = sim;
}

static bool is_watched(void)
{
    return watched && !watched->deaf;
}

static uint32_t id_of(const struct message *message)
{
    return client_body_id(message_body(message), message->body_bytes);
}

/* Before the message that is the last one now came. */
static uint64_t heavy_before(struct queue *queue, const struct message *message, uint8_t priority)
{
    const struct queue_entry *entry =
        ready_find(&queue->ready, priority, queue->next_sequence - 1);
    uint64_t heavy_bytes = queue->ready.heavy_bytes;

    if (entry && (entry->flags & ENTRY_RESIDENT) && message->heavy)
        heavy_bytes -= message_memory_bytes(message) - message->body_bytes;
    return heavy_bytes;
}

/* The level that it has gone to. */
static uint8_t level_of(const struct queue *queue, const struct message *message)
{
    return message->priority < queue->settings->max_priority ? message->priority
                                                             : queue->settings->max_priority;
}

int __wrap_queue_push(struct queue *queue, struct message *message, struct push_outcome *outcome)
{
    struct push_outcome before = *outcome;
    int rc;

    outcome->refused = false;
    rc = __real_queue_push(queue, message, outcome);
    if (is_watched())
        model_arrive(watched, &(struct m_arrived){
                                  .queue = queue->destination.name.data,
                                  .sequence = queue->next_sequence - 1,
                                  .message = id_of(message),
                                  .heavy_bytes = heavy_before(queue, message,
                                                              level_of(queue, message)),
                                  .refused = outcome->refused });
    outcome->refused |= before.refused;
    return rc;
}

int __wrap_queue_push_anyway(struct queue *queue, struct message *message,
                             struct push_outcome *outcome)
{
    int rc = __real_queue_push_anyway(queue, message, outcome);

    if (is_watched())
        model_arrive(watched, &(struct m_arrived){ .queue = queue->destination.name.data,
                                                   .sequence = queue->next_sequence - 1,
                                                   .message = id_of(message),
                                                   .heavy_bytes = heavy_before(
                                                       queue, message, level_of(queue, message)),
                                                   .anyway = true });
    return rc;
}

void __wrap_queue_discard(struct queue *queue, struct queue_entry *entry,
                          enum dead_letter_reason reason)
{
    struct m_discard discard = { .real = queue,
                                 .queue = queue->destination.name.data,
                                 .sequence = entry->sequence,
                                 .reason = reason,
                                 .at_once = (entry->flags & ENTRY_RESIDENT) &&
                                            !queue_discards(queue),
                                 .deleted = queue->destination.deleted };

    if (is_watched())
        model_discard(watched, &discard);
    __real_queue_discard(queue, entry, reason);
}

void __wrap_dead_letter_add(struct queue *queue, struct queue_entry *entry,
                            enum dead_letter_reason reason)
{
    if (is_watched())
        model_letter_ready(watched, queue, entry->sequence);
    __real_dead_letter_add(queue, entry, reason);
}

void __wrap_queue_release_entry(struct queue *queue, struct queue_entry *entry)
{
    if (is_watched())
        model_letter_dropped(watched, queue, entry->sequence, queue->destination.deleted);
    __real_queue_release_entry(queue, entry);
}

void __wrap_dead_letter_run(struct broker *broker)
{
    if (is_watched())
        model_letters_begin(watched);
    __real_dead_letter_run(broker);
    if (is_watched())
        model_letters_end(watched);
    if (is_watched())
        model_go_on_closing(watched);
}

int __wrap_dead_letter_message(const struct message *message, const struct dead_letter_event *event,
                               struct message **ret_message)
{
    if (is_watched())
        model_dead_letter(watched, id_of(message), event);
    return __real_dead_letter_message(message, event, ret_message);
}

void __wrap_queue_settings_changed(struct queue *queue, const struct queue_settings *old)
{
    if (is_watched())
        model_settings_changed(watched, queue->destination.name.data);
    __real_queue_settings_changed(queue, old);
}

/* Of the same form, but from the seed: what is done in order of names differs from run to run. */
int __wrap_generate_name(const char *prefix, char out[GENERATED_NAME_BYTES],
                         struct amqp_str *ret_name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789-_";
    size_t size = strlen(prefix);

    if (!watched)
        return __real_generate_name(prefix, out, ret_name);
    memcpy(out, prefix, size);
    for (unsigned i = 0; i < WATCH_NAME_LETTERS; i++)
        out[size++] = letters[random_below(&watched->random, sizeof letters - 1)];
    out[size] = '\0';
    *ret_name = (struct amqp_str){ out, size };
    return 0;
}
