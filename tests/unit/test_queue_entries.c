/*
 * test_queue_entries.c - the deque and its heap against a sorted array that does the same
 */
#include "unit.h"

#include "broker/queue_entries.h"

enum { TWIN_MAX = 4096 };

struct twin {
    uint64_t sequences[TWIN_MAX];
    unsigned count;
};

static void twin_insert(struct twin *twin, uint64_t sequence)
{
    unsigned at = twin->count;

    while (at > 0 && twin->sequences[at - 1] > sequence) {
        twin->sequences[at] = twin->sequences[at - 1];
        at--;
    }
    twin->sequences[at] = sequence;
    twin->count++;
}

static uint64_t twin_take(struct twin *twin, unsigned at)
{
    uint64_t sequence = twin->sequences[at];

    twin->count--;
    for (; at < twin->count; at++)
        twin->sequences[at] = twin->sequences[at + 1];
    return sequence;
}

/* What an entry holds follows from its sequence; some stretches are in memory, others are not. */
static struct queue_entry make_entry(uint64_t sequence)
{
    uint64_t mixed = sequence * UINT64_C(0x9e3779b97f4a7c15);
    bool alike = sequence / 500 % 2;

    return (struct queue_entry){
        .sequence = sequence,
        .location = alike ? sequence : mixed,
        .expires_ms = alike ? 0 : mixed >> 20,
        .body_bytes = alike ? 100 : (uint32_t)mixed,
        .delivery_count = alike ? 0 : (uint16_t)(mixed >> 7),
        .priority = (uint8_t)(mixed % 3),
        .flags = (uint8_t)(ENTRY_STORED | (sequence / 200 % 3 == 0 ? ENTRY_RESIDENT : 0)),
    };
}

/* Asks Check only about a difference: each of its assertions writes to a pipe. */
static void check_entry(const struct queue_entry *entry)
{
    struct queue_entry expected = make_entry(entry->sequence);

    if (entry->location != expected.location || entry->expires_ms != expected.expires_ms ||
        entry->body_bytes != expected.body_bytes ||
        entry->delivery_count != expected.delivery_count || entry->priority != expected.priority ||
        entry->flags != expected.flags)
        ck_abort_msg("entry %llu has changed", (unsigned long long)entry->sequence);
}

static void check_same(struct queue_entries *entries, const struct twin *twin)
{
    struct queue_entries_walk walk = queue_entries_walk(entries);
    const struct queue_entry *first, *next;
    unsigned walked = 0;

    ck_assert_uint_eq(queue_entries_count(entries), twin->count);
    while ((next = queue_entries_walk_next(&walk))) {
        check_entry(next);
        walked++;
    }
    first = queue_entries_first(entries);
    ck_assert_uint_eq(walked, twin->count);
    if (twin->count)
        ck_assert_uint_eq(first->sequence, twin->sequences[0]);
    else
        ck_assert_ptr_null(first);
}

/* One random step on both; @out collects what was popped, to be put back later. */
static void step(struct queue_entries *entries, struct twin *twin, struct twin *out,
                 uint64_t *next_sequence)
{
    struct queue_entry entry = { 0 };
    struct queue_entry *found;
    unsigned at;

    switch (rand() % 8) {
    case 0:
    case 1:
    case 2:
        if (twin->count + out->count == TWIN_MAX)
            break;
        entry = make_entry((*next_sequence)++);
        ck_assert_int_eq(queue_entries_push(entries, &entry), 0);
        twin_insert(twin, entry.sequence);
        break;
    case 3:
    case 4:
        ck_assert(queue_entries_pop(entries, &entry) == (twin->count > 0));
        if (twin->count) {
            ck_assert_uint_eq(entry.sequence, twin_take(twin, 0));
            check_entry(&entry);
            twin_insert(out, entry.sequence);
        }
        break;
    case 5:
        if (!out->count)
            break;
        entry = make_entry(twin_take(out, (unsigned)rand() % out->count));
        ck_assert_int_eq(queue_entries_put_back(entries, &entry), 0);
        twin_insert(twin, entry.sequence);
        break;
    default:
        if (!twin->count)
            break;
        at = (unsigned)rand() % twin->count;
        found = queue_entries_find(entries, twin->sequences[at]);
        ck_assert_ptr_nonnull(found);
        check_entry(found);
        queue_entries_remove(entries, found, &entry);
        ck_assert_uint_eq(entry.sequence, twin_take(twin, at));
        ck_assert_ptr_null(queue_entries_find(entries, entry.sequence));
    }
}

START_TEST(test_entries_equal_a_sorted_array_over_random_histories)
{
    struct queue_entries entries;
    struct twin *twin = calloc(2, sizeof *twin);
    struct queue_entry entry;
    uint64_t next_sequence = 1;

    srand((unsigned)_i);
    queue_entries_init(&entries);
    while (next_sequence < 100u * (unsigned)_i) {
        entry = make_entry(next_sequence);
        ck_assert_int_eq(queue_entries_push(&entries, &entry), 0);
        twin_insert(&twin[0], next_sequence++);
    }
    for (unsigned i = 0; i < 5000; i++) {
        step(&entries, &twin[0], &twin[1], &next_sequence);
        if (i % 64 == 0)
            check_same(&entries, &twin[0]);
    }
    while (queue_entries_pop(&entries, &entry))
        ck_assert_uint_eq(entry.sequence, twin_take(&twin[0], 0));
    queue_entries_release(&entries);
    free(twin);
}
END_TEST

START_TEST(test_holes_do_not_keep_chunks)
{
    struct queue_entries entries;
    struct queue_entry entry = { 0 };

    queue_entries_init(&entries);
    for (entry.sequence = 1; entry.sequence <= 100 * ENTRY_CHUNK; entry.sequence++)
        ck_assert_int_eq(queue_entries_push(&entries, &entry), 0);
    for (uint64_t sequence = 2; sequence < 100 * ENTRY_CHUNK; sequence++)
        queue_entries_remove(&entries, queue_entries_find(&entries, sequence), &entry);
    ck_assert_uint_eq(queue_entries_count(&entries), 2);
    ck_assert_uint_eq(entries.chunk_count, 2);
    while (queue_entries_pop(&entries, &entry))
        ;
    queue_entries_release(&entries);
}
END_TEST

START_TEST(test_the_middle_of_a_long_queue_is_packed_and_back_in_order)
{
    const uint64_t last = 1000 * ENTRY_CHUNK;
    struct queue_entries entries;
    struct queue_entry entry = { .body_bytes = 100, .flags = ENTRY_STORED };

    queue_entries_init(&entries);
    for (entry.sequence = 1; entry.sequence <= last; entry.sequence++) {
        entry.location = UINT64_C(1) << 40 | entry.sequence;
        ck_assert_int_eq(queue_entries_push(&entries, &entry), 0);
    }
    ck_assert_uint_eq(entries.frozen_count, entries.chunk_count - 2);
    for (uint64_t sequence = last - 70; sequence > 70; sequence -= 70) {
        ck_assert_uint_eq(queue_entries_find(&entries, sequence)->location,
                          UINT64_C(1) << 40 | sequence);
        ck_assert_uint_ge(entries.frozen_count, entries.chunk_count - 3);
    }
    for (uint64_t sequence = 1; sequence <= last; sequence++)
        if (!queue_entries_pop(&entries, &entry) || entry.sequence != sequence)
            ck_abort_msg("%llu is missing", (unsigned long long)sequence);
    ck_assert_uint_eq(entries.frozen_count, 0);
    ck_assert_ptr_null(entries.spare);
    queue_entries_release(&entries);
}
END_TEST

START_TEST(test_a_packed_tail_that_becomes_the_last_takes_no_more)
{
    struct queue_entries entries;
    struct queue_entry entry = { .flags = ENTRY_STORED };

    queue_entries_init(&entries);
    for (entry.sequence = 1; entry.sequence <= 3 * ENTRY_CHUNK + 1; entry.sequence++)
        ck_assert_int_eq(queue_entries_push(&entries, &entry), 0);
    queue_entries_remove(&entries, queue_entries_find(&entries, 3 * ENTRY_CHUNK + 1), &entry);
    entry.sequence = 3 * ENTRY_CHUNK + 2;
    ck_assert_int_eq(queue_entries_push(&entries, &entry), 0);
    for (uint64_t i = 1; i <= 3 * ENTRY_CHUNK; i++) {
        ck_assert(queue_entries_pop(&entries, &entry));
        ck_assert_uint_eq(entry.sequence, i);
    }
    ck_assert(queue_entries_pop(&entries, &entry));
    ck_assert_uint_eq(entry.sequence, 3 * ENTRY_CHUNK + 2);
    queue_entries_release(&entries);
}
END_TEST

/* How many have left before the chunk grows, in turn. */
START_TEST(test_the_first_chunk_grows_with_what_is_in_it)
{
    static const uint32_t capacities[] = { ENTRY_CHUNK_FIRST, 16, ENTRY_CHUNK };
    struct queue_entries entries;
    struct queue_entry pushed = { .flags = ENTRY_STORED }, popped;
    uint64_t next = 1;

    queue_entries_init(&entries);
    for (size_t i = 0; i < N_ELEMENTS(capacities); i++) {
        while (pushed.sequence < capacities[i]) {
            pushed.sequence++;
            ck_assert_int_eq(queue_entries_push(&entries, &pushed), 0);
        }
        ck_assert_uint_eq(entries.chunk_count, 1);
        ck_assert_uint_eq(entries.chunks[0]->capacity, capacities[i]);
        for (int n = 0; n < _i; n++, next++) {
            ck_assert(queue_entries_pop(&entries, &popped));
            ck_assert_uint_eq(popped.sequence, next);
        }
    }
    pushed.sequence++;
    ck_assert_int_eq(queue_entries_push(&entries, &pushed), 0);
    ck_assert_uint_eq(entries.chunk_count, 2);
    for (; next <= pushed.sequence; next++) {
        ck_assert(queue_entries_pop(&entries, &popped));
        ck_assert_uint_eq(popped.sequence, next);
    }
    ck_assert(!queue_entries_pop(&entries, &popped));
    queue_entries_release(&entries);
}
END_TEST

START_TEST(test_an_emptied_chunk_starts_again_as_large_as_it_was)
{
    struct queue_entries entries;
    struct queue_entry entry = { .flags = ENTRY_STORED }, popped;

    queue_entries_init(&entries);
    while (entry.sequence++ < 1000) {
        ck_assert_int_eq(queue_entries_push(&entries, &entry), 0);
        ck_assert(queue_entries_pop(&entries, &popped));
        ck_assert_uint_eq(popped.sequence, entry.sequence);
        ck_assert_uint_eq(entries.chunks[0]->capacity, ENTRY_CHUNK_FIRST);
    }
    queue_entries_release(&entries);
}
END_TEST

/* As a client that is cut gives them back; then most of them expire, here and there. */
START_TEST(test_very_many_that_came_back_are_found_and_take_little_memory)
{
    enum { BACK = 100000, KEPT_EVERY = 20 };
    struct returned_entries back = { 0 };

    for (uint64_t sequence = BACK; sequence >= 1; sequence--)
        ck_assert_int_eq(returned_entries_add(&back, &(struct queue_entry){ .sequence = sequence }),
                         0);
    ck_assert_uint_le(back.chunk_count, BACK / 64 + 1);
    ck_assert_uint_eq(returned_entries_first(&back)->sequence, 1);
    for (uint64_t sequence = 1; sequence <= BACK; sequence++) {
        ck_assert_uint_eq(returned_entries_find(&back, sequence)->sequence, sequence);
        if (sequence % KEPT_EVERY)
            returned_entries_remove(&back, returned_entries_find(&back, sequence));
    }
    ck_assert_uint_eq(back.count, BACK / KEPT_EVERY);
    ck_assert_uint_le(back.chunk_count, BACK / KEPT_EVERY / 16 + 2);
    ck_assert_ptr_null(returned_entries_find(&back, 1));
    while (back.count)
        returned_entries_remove(&back, returned_entries_first(&back));
    ck_assert_ptr_null(back.chunks);
}
END_TEST

START_TEST(test_what_comes_back_in_any_order_is_sorted)
{
    enum { BACK = 5000 };
    struct returned_entries back = { 0 };
    uint64_t before = 0;

    for (uint64_t i = 0; i < BACK; i++) /* 7919 has no factor in common with 5000 */
        ck_assert_int_eq(returned_entries_add(&back, &(struct queue_entry){
                                                         .sequence = i * 7919 % BACK + 1 }),
                         0);
    for (; back.count; before++) {
        ck_assert_uint_eq(returned_entries_first(&back)->sequence, before + 1);
        returned_entries_remove(&back, returned_entries_first(&back));
    }
    ck_assert_uint_eq(before, BACK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue_entries");
    TCase *tcase = tcase_create("queue_entries");

    tcase_add_loop_test(tcase, test_entries_equal_a_sorted_array_over_random_histories, 0, 30);
    tcase_add_loop_test(tcase, test_the_first_chunk_grows_with_what_is_in_it, 0,
                        ENTRY_CHUNK_FIRST);
    tcase_add_test(tcase, test_an_emptied_chunk_starts_again_as_large_as_it_was);
    tcase_add_test(tcase, test_holes_do_not_keep_chunks);
    tcase_add_test(tcase, test_the_middle_of_a_long_queue_is_packed_and_back_in_order);
    tcase_add_test(tcase, test_a_packed_tail_that_becomes_the_last_takes_no_more);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_very_many_that_came_back_are_found_and_take_little_memory);
    tcase_add_test(tcase, test_what_comes_back_in_any_order_is_sorted);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
