/*
 * ready.c - levels, and which is the highest with something in it
 *
 * Invariant: bit p of `used` is set exactly when level p has entries. A level that has become empty
 * keeps its deque (one chunk at most) until the queue goes.
 */
#include "broker/ready.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { WORD_BITS = 64, WORDS = (READY_PRIORITY_MAX + 1) / WORD_BITS };

struct ready_levels {
    uint64_t used[WORDS];
    struct queue_entries *level[READY_PRIORITY_MAX + 1]; /* [0] is not used */
};

void ready_init(struct ready *ready)
{
    *ready = (struct ready){ 0 };
}

static void free_level(struct queue_entries *level)
{
    if (level)
        queue_entries_release(level);
    free(level);
}

void ready_release(struct ready *ready)
{
    assert(ready->count == 0 && ready->bytes == 0);
    assert(ready->heavy_bytes == 0);
    free_level(TAKE(ready->base));
    if (!ready->levels)
        return;
    for (size_t i = 1; i <= READY_PRIORITY_MAX; i++)
        free_level(ready->levels->level[i]);
    free(TAKE(ready->levels));
}

/* The deque of a level, made when it is missing; NULL without memory. */
static struct queue_entries *make_level(struct ready *ready, uint8_t priority)
{
    struct queue_entries **level = &ready->base;

    if (priority && !ready->levels) {
        ready->levels = calloc(1, sizeof *ready->levels);
        if (!ready->levels)
            return NULL;
    }
    if (priority)
        level = &ready->levels->level[priority];
    if (UNLIKELY(!*level)) {
        *level = malloc(sizeof **level);
        if (*level)
            queue_entries_init(*level);
    }
    return *level;
}

static struct queue_entries *level_of(struct ready *ready, uint8_t priority)
{
    if (priority == 0)
        return ready->base;
    return ready->levels ? ready->levels->level[priority] : NULL;
}

/* Level @priority, not 0, has something, or nothing any more. */
static void set_used(struct ready *ready, uint8_t priority, bool used)
{
    uint64_t bit = UINT64_C(1) << priority % WORD_BITS;

    if (used)
        ready->levels->used[priority / WORD_BITS] |= bit;
    else
        ready->levels->used[priority / WORD_BITS] &= ~bit;
}

static bool is_heavy(const struct queue_entry *entry)
{
    return (entry->flags & ENTRY_RESIDENT) && entry->message->heavy;
}

static uint64_t weight(const struct message *message)
{
    return message_memory_bytes(message) - message->body_bytes;
}

/* In line: a call of each of these would cost a message 2 % more. */
__attribute__((always_inline)) static inline void added(struct ready *ready,
                                                        const struct queue_entry *entry)
{
    ready->count++;
    ready->bytes += entry->body_bytes;
    if (UNLIKELY(is_heavy(entry)))
        ready->heavy_bytes += weight(entry->message);
    if (UNLIKELY(entry->priority))
        set_used(ready, entry->priority, true);
}

__attribute__((always_inline)) static inline void removed(struct ready *ready,
                                                          const struct queue_entries *level,
                                                          const struct queue_entry *entry)
{
    assert(ready->bytes >= entry->body_bytes);
    ready->count--;
    ready->bytes -= entry->body_bytes;
    if (UNLIKELY(is_heavy(entry)))
        ready->heavy_bytes -= weight(entry->message);
    if (UNLIKELY(entry->priority && queue_entries_count(level) == 0))
        set_used(ready, entry->priority, false);
}

int ready_push(struct ready *ready, const struct queue_entry *entry)
{
    struct queue_entries *level =
        LIKELY(ready->base && !entry->priority) ? ready->base : make_level(ready, entry->priority);
    int rc = level ? queue_entries_push(level, entry) : -ENOMEM;

    if (!rc)
        added(ready, entry);
    return rc;
}

int ready_put_back(struct ready *ready, const struct queue_entry *entry)
{
    struct queue_entries *level = make_level(ready, entry->priority);
    int rc = level ? queue_entries_put_back(level, entry) : -ENOMEM;

    if (!rc)
        added(ready, entry);
    return rc;
}

void ready_set_resident(struct ready *ready, struct queue_entry *entry, struct message *message)
{
    assert(!(entry->flags & ENTRY_RESIDENT));
    entry->message = message;
    entry->flags |= ENTRY_RESIDENT;
    if (message->heavy)
        ready->heavy_bytes += weight(message);
}

/* NULL when there was never a message. */
static struct queue_entries *highest_level(struct ready *ready)
{
    if (LIKELY(!ready->levels))
        return ready->base;
    for (int word = WORDS - 1; word >= 0; word--) {
        uint64_t used = ready->levels->used[word];

        if (used)
            return ready->levels->level[word * WORD_BITS + WORD_BITS - 1 - __builtin_clzll(used)];
    }
    return ready->base;
}

struct queue_entry *ready_first(struct ready *ready)
{
    return ready->count ? queue_entries_first(highest_level(ready)) : NULL;
}

bool ready_pop(struct ready *ready, struct queue_entry *ret_entry)
{
    struct queue_entries *level = highest_level(ready);

    if (ready->count == 0 || !queue_entries_pop(level, ret_entry))
        return false;
    removed(ready, level, ret_entry);
    return true;
}

struct queue_entry *ready_find(struct ready *ready, uint8_t priority, uint64_t sequence)
{
    struct queue_entries *level = level_of(ready, priority);

    return level ? queue_entries_find(level, sequence) : NULL;
}

void ready_remove(struct ready *ready, struct queue_entry *found, struct queue_entry *ret_entry)
{
    struct queue_entries *level = level_of(ready, found->priority);

    queue_entries_remove(level, found, ret_entry);
    removed(ready, level, ret_entry);
}

struct ready_walk ready_walk(struct ready *ready)
{
    struct ready_walk walk = { .ready = ready, .level = ready->levels ? READY_PRIORITY_MAX + 1 : 1 };

    walk.walk.entries = NULL;
    return walk;
}

struct queue_entry *ready_walk_next(struct ready_walk *walk)
{
    struct queue_entry *entry;

    for (;;) {
        if (walk->walk.entries && (entry = queue_entries_walk_next(&walk->walk)))
            return entry;
        do {
            if (walk->level == 0)
                return NULL;
            walk->walk.entries = level_of(walk->ready, (uint8_t)--walk->level);
        } while (!walk->walk.entries);
        walk->walk = queue_entries_walk(walk->walk.entries);
    }
}
