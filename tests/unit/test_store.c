/*
 * test_store.c - the store over an imaginary disk: packing, settling, recovery, failing writes
 *
 * The heart is a naive twin: an array of what every queue must hold after each commit. Random
 * histories run on both; the disk fails, the process "crashes" with any number of unreported
 * commits on the disk, and what is recovered has to equal the twin's state at that commit.
 */
#include <errno.h>

#include "store/backend_memory.h"
#include "unit.h"

/* ---- fixtures: one store on one disk, and what its events said ---- */

static struct store_disk *disk;
static struct store *store;
static struct store_options options;
static uint64_t durable;
static int stalled;
static unsigned n_stalls;

struct answer {
    int error;
    unsigned calls;
    size_t size;
    uint8_t data[200000];
};

static void on_durable(void *context, uint64_t commit)
{
    (void)context;
    ck_assert_uint_gt(commit, durable);
    durable = commit;
}

static void on_stalled(void *context, int error, const char *text)
{
    (void)context;
    ck_assert_ptr_nonnull(text);
    ck_assert_int_ne(error, stalled); /* told once, not at every attempt */
    stalled = error;
    n_stalls++;
}

static void on_read(void *context, void *request, int error, struct amqp_bytes message)
{
    struct answer *answer = request;

    (void)context;
    answer->calls++;
    answer->error = error;
    answer->size = message.size;
    if (!error)
        memcpy(answer->data, message.data, message.size);
}

static const struct store_events events = { on_durable, on_stalled, on_read };

static void open_store(void)
{
    durable = 0;
    stalled = 0;
    ck_assert_int_eq(store_open_memory(disk, &options, &events, NULL, &store), 0);
}

static void setup(void)
{
    options = store_options_default();
    disk = store_disk_new();
    ck_assert_ptr_nonnull(disk);
    n_stalls = 0;
    open_store();
}

static void teardown(void)
{
    if (store)
        ck_assert_int_eq(store_close(store), 0);
    store_disk_free(disk);
    store = NULL;
}

static struct amqp_bytes bytes(const char *text)
{
    return (struct amqp_bytes){ (const uint8_t *)text, strlen(text) };
}

static uint64_t append(const char *text)
{
    const struct iovec part = { (void *)(uintptr_t)text, strlen(text) };
    uint64_t location;

    ck_assert_int_eq(store_append(store, &part, 1, &location), 0);
    return location;
}

static void enqueue(uint64_t queue_id, uint64_t sequence, uint64_t location)
{
    const struct store_entry entry = {
        .queue_id = queue_id, .sequence = sequence, .location = location
    };

    ck_assert_int_eq(store_enqueue(store, &entry), 0);
}

static void settle(uint64_t queue_id, uint64_t sequence)
{
    ck_assert_int_eq(store_settle(store, queue_id, sequence, 0), 0);
}

static void commit(void)
{
    ck_assert_int_eq(store_seal(store), 0);
    store_poll(store);
}

/* ---- recovery into arrays ---- */

#define QUEUES 6
#define DEPTH 4096

struct contents {
    size_t n[QUEUES];
    struct store_entry entries[QUEUES][DEPTH];
    size_t n_meta;
    char meta[64][64];
};

static uint64_t queue_ids[QUEUES]; /* of living queues; 0 for none */
static struct contents recovered;

static size_t slot_of(uint64_t queue_id)
{
    size_t i;

    for (i = 0; i < QUEUES; i++)
        if (queue_ids[i] == queue_id)
            return i;
    ck_abort_msg("an entry of queue %llu, which is not there", (unsigned long long)queue_id);
    return 0;
}

static int visit_meta(void *context, enum store_kind kind, struct amqp_bytes key,
                      struct amqp_bytes value)
{
    (void)context;
    if (kind == STORE_KIND_QUEUE) {
        uint64_t id;

        ck_assert_uint_eq(value.size, sizeof id);
        memcpy(&id, value.data, sizeof id);
        return store_recover_queue(store, id);
    }
    (void)snprintf(recovered.meta[recovered.n_meta++], 64, "%d %.*s=%.*s", (int)kind,
                   (int)key.size, (const char *)key.data, (int)value.size,
                   (const char *)value.data);
    return 0;
}

static int visit_entry(void *context, const struct store_entry *entry)
{
    size_t q = slot_of(entry->queue_id);

    (void)context;
    ck_assert_uint_lt(recovered.n[q], DEPTH);
    recovered.entries[q][recovered.n[q]++] = *entry;
    return 0;
}

static const struct store_visitor visitor = { visit_meta, visit_entry };

static void recover(void)
{
    recovered.n_meta = 0;
    memset(recovered.n, 0, sizeof recovered.n);
    ck_assert_int_eq(store_recover(store, &visitor, NULL), 0);
}

static void reopen(void)
{
    ck_assert_int_eq(store_close(store), 0);
    open_store();
    recover();
}

static void declare(size_t q)
{
    char name[16];
    uint64_t id = store_new_queue_id(store);

    (void)snprintf(name, sizeof name, "%zu", q);
    queue_ids[q] = id;
    ck_assert_int_eq(store_put_meta(store, STORE_KIND_QUEUE, bytes(name),
                                    (struct amqp_bytes){ (const uint8_t *)&id, sizeof id }),
                     0);
}

static struct answer answer;

static void read_back(uint64_t location)
{
    answer.calls = 0;
    ck_assert_int_eq(store_read(store, location, &answer), 0);
    store_poll(store);
    ck_assert_uint_eq(answer.calls, 1);
}

/* ---- messages and records ---- */

START_TEST(test_messages_read_back_before_and_after_they_are_durable)
{
    uint64_t first, second;

    declare(0);
    first = append("first");
    second = append("");
    enqueue(queue_ids[0], 1, first);
    enqueue(queue_ids[0], 2, second);
    read_back(first);
    ck_assert_int_eq(answer.error, 0);
    ck_assert_mem_eq(answer.data, "first", 5);
    store_memory_hold(store, true);
    commit();
    ck_assert_uint_eq(durable, 0);
    read_back(first); /* from a commit that is sealed */
    ck_assert_uint_eq(answer.size, 5);
    store_memory_hold(store, false);
    commit();
    ck_assert_uint_eq(durable, 1);
    read_back(first);
    ck_assert_int_eq(answer.error, 0);
    ck_assert_mem_eq(answer.data, "first", 5);
    read_back(second);
    ck_assert_int_eq(answer.error, 0);
    ck_assert_uint_eq(answer.size, 0);
}
END_TEST

START_TEST(test_message_is_joined_from_its_parts_and_shares_a_record)
{
    const struct iovec parts[] = { { (char[]){ "abc" }, 3 }, { NULL, 0 }, { (char[]){ "de" }, 2 } };
    uint64_t first, second;

    declare(0);
    ck_assert_int_eq(store_append(store, parts, 3, &first), 0);
    second = append("fgh");
    ck_assert_uint_eq(first >> 16, second >> 16);
    ck_assert_uint_ne(first, second);
    enqueue(queue_ids[0], 1, first);
    enqueue(queue_ids[0], 2, second);
    commit();
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_MESSAGES), 1);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_QUEUES), 1);
    read_back(first);
    ck_assert_uint_eq(answer.size, 5);
    ck_assert_mem_eq(answer.data, "abcde", 5);
}
END_TEST

START_TEST(test_large_message_is_a_record_of_its_own_between_small_ones)
{
    static char large[STORE_LARGE_BYTES + 2];
    uint64_t small, alone, after;

    memset(large, 'x', sizeof large - 1);
    declare(0);
    small = append("small");
    alone = append(large);
    after = append("after");
    ck_assert_uint_eq(small >> 16, after >> 16);
    ck_assert_uint_ne(small >> 16, alone >> 16);
    enqueue(queue_ids[0], 1, small);
    enqueue(queue_ids[0], 2, alone);
    enqueue(queue_ids[0], 3, after);
    commit();
    reopen();
    ck_assert_uint_eq(recovered.n[0], 3);
    ck_assert_uint_eq(recovered.entries[0][1].location, alone);
    read_back(alone);
    ck_assert_uint_eq(answer.size, sizeof large - 1);
    ck_assert_uint_eq(answer.data[sizeof large - 2], 'x');
    read_back(after);
    ck_assert_mem_eq(answer.data, "after", 5);
}
END_TEST

START_TEST(test_record_is_full_by_octets_and_by_messages)
{
    uint64_t first, last;
    size_t i;

    options.record_bytes = 16;
    ck_assert_int_eq(store_close(store), 0);
    open_store();
    first = append("0123456789");
    last = append("0123456789");
    ck_assert_uint_eq(last >> 16, (first >> 16) + 1);
    options.record_bytes = 262144;
    ck_assert_int_eq(store_close(store), 0);
    open_store();
    first = append("");
    for (i = 1; i < STORE_RECORD_MESSAGES; i++)
        last = append("");
    ck_assert_uint_eq(last >> 16, first >> 16);
    last = append("");
    ck_assert_uint_eq(last >> 16, (first >> 16) + 1);
}
END_TEST

START_TEST(test_message_without_entry_is_not_kept)
{
    uint64_t kept, lost;

    declare(0);
    options.record_bytes = 8;
    lost = append("nobody");
    commit();
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_MESSAGES), 0);
    kept = append("wanted");
    enqueue(queue_ids[0], 1, kept);
    settle(queue_ids[0], 1); /* taken before it was sealed */
    commit();
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_MESSAGES), 0);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_QUEUES), 0);
    read_back(lost);
    ck_assert_int_eq(answer.error, -ENOENT);
}
END_TEST

START_TEST(test_record_lives_until_its_last_entry_in_any_queue)
{
    struct store_stats stats;
    uint64_t location;

    declare(0);
    declare(1);
    location = append("shared");
    enqueue(queue_ids[0], 1, location);
    enqueue(queue_ids[1], 1, location);
    commit();
    settle(queue_ids[0], 1);
    commit();
    read_back(location);
    ck_assert_int_eq(answer.error, 0);
    settle(queue_ids[1], 1);
    settle(queue_ids[1], 1); /* twice is once */
    commit();
    store_get_stats(store, &stats);
    ck_assert_uint_eq(stats.live_records, 0);
    ck_assert_uint_eq(stats.live_entries, 0);
    ck_assert_uint_eq(stats.commits, 3);
    read_back(location);
    ck_assert_int_eq(answer.error, -ENOENT);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_MESSAGES), 0);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_QUEUES), 0);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_SETTLED), 0);
}
END_TEST

START_TEST(test_live_message_may_be_enqueued_again_in_a_later_commit)
{
    uint64_t location;

    declare(0);
    declare(1);
    location = append("moved");
    enqueue(queue_ids[0], 1, location);
    commit();
    enqueue(queue_ids[1], 1, location);
    settle(queue_ids[0], 1);
    commit();
    reopen();
    ck_assert_uint_eq(recovered.n[0], 0);
    ck_assert_uint_eq(recovered.n[1], 1);
    read_back(recovered.entries[1][0].location);
    ck_assert_mem_eq(answer.data, "moved", 5);
}
END_TEST

/* ---- entries ---- */

START_TEST(test_entry_fields_survive_whatever_they_change_to)
{
    static const struct store_entry field[] = {
        { .sequence = 3, .expires_ms = 1700000000000, .body_bytes = 12, .priority = 0 },
        { .sequence = 4, .expires_ms = 1700000000010, .body_bytes = 12, .priority = 9 },
        { .sequence = 9, .expires_ms = 0, .body_bytes = UINT32_MAX, .priority = 255 },
        { .sequence = 10, .expires_ms = UINT64_MAX, .body_bytes = 0, .priority = 255 },
        { .sequence = 4099, .expires_ms = 1, .body_bytes = 1, .priority = 1 },
        { .sequence = 4000000000000, .expires_ms = 0, .body_bytes = 1, .priority = 1 },
    };
    uint64_t location[N_ELEMENTS(field)];
    size_t i;

    declare(0);
    for (i = 0; i < N_ELEMENTS(field); i++)
        location[i] = append("m");
    for (i = 0; i < N_ELEMENTS(field); i++) {
        struct store_entry entry = field[i];

        entry.queue_id = queue_ids[0];
        entry.location = location[N_ELEMENTS(field) - 1 - i]; /* indexes may go backwards */
        ck_assert_int_eq(store_enqueue(store, &entry), 0);
    }
    commit();
    reopen();
    ck_assert_uint_eq(recovered.n[0], N_ELEMENTS(field));
    for (i = 0; i < N_ELEMENTS(field); i++) {
        const struct store_entry *entry = &recovered.entries[0][i];

        ck_assert_uint_eq(entry->queue_id, queue_ids[0]);
        ck_assert_uint_eq(entry->sequence, field[i].sequence);
        ck_assert_uint_eq(entry->location, location[N_ELEMENTS(field) - 1 - i]);
        ck_assert_uint_eq(entry->expires_ms, field[i].expires_ms);
        ck_assert_uint_eq(entry->body_bytes, field[i].body_bytes);
        ck_assert_uint_eq(entry->priority, field[i].priority);
        ck_assert_uint_eq(entry->delivery_count, 0);
        ck_assert(!entry->delivered);
    }
}
END_TEST

START_TEST(test_settling_in_order_writes_a_watermark_and_no_page)
{
    uint64_t i;

    declare(0);
    for (i = 1; i <= 1000; i++)
        enqueue(queue_ids[0], i, append("m"));
    commit();
    for (i = 1; i <= 500; i++)
        settle(queue_ids[0], i);
    commit();
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_SETTLED), 1);
    reopen();
    ck_assert_uint_eq(recovered.n[0], 500);
    ck_assert_uint_eq(recovered.entries[0][0].sequence, 501);
}
END_TEST

START_TEST(test_settling_out_of_order_writes_a_page_that_goes_with_its_run)
{
    uint64_t i;

    declare(0);
    for (i = 1; i <= 100; i++)
        enqueue(queue_ids[0], i * 2, append("m")); /* odd sequences are never used */
    commit();
    for (i = 2; i <= 100; i++)
        settle(queue_ids[0], i * 2);
    commit();
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_SETTLED), 1); /* the page, no mark */
    reopen();
    ck_assert_uint_eq(recovered.n[0], 1);
    ck_assert_uint_eq(recovered.entries[0][0].sequence, 2);
    settle(queue_ids[0], 2);
    commit();
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_SETTLED), 0);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_QUEUES), 0);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_MESSAGES), 0);
}
END_TEST

START_TEST(test_marks_and_counts_are_recovered)
{
    uint64_t i;

    declare(0);
    for (i = 1; i <= 5; i++)
        enqueue(queue_ids[0], i, append("m"));
    store_mark_delivered(store, queue_ids[0], 2);
    ck_assert_int_eq(store_count_delivery(store, queue_ids[0], 4, 7), 0);
    ck_assert_int_eq(store_count_delivery(store, queue_ids[0], 4, 8), 0);
    ck_assert_int_eq(store_count_delivery(store, queue_ids[0], 5, 1), 0);
    settle(queue_ids[0], 5);
    commit();
    reopen();
    ck_assert_uint_eq(recovered.n[0], 4);
    for (i = 0; i < 4; i++) {
        ck_assert_int_eq(recovered.entries[0][i].delivered, i != 2);
        ck_assert_uint_eq(recovered.entries[0][i].delivery_count, i == 3 ? 8 : 0);
    }
    for (i = 1; i <= 4; i++)
        settle(queue_ids[0], i);
    commit();
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_SETTLED), 0);
}
END_TEST

START_TEST(test_delivered_mark_is_a_change_of_the_open_commit)
{
    declare(0);
    enqueue(queue_ids[0], 1, append("m"));
    enqueue(queue_ids[0], 2, append("m"));
    commit();
    store_mark_delivered(store, queue_ids[0], 1);
    ck_assert_uint_gt(store_open_bytes(store), 0);
    commit();
    ck_assert_uint_eq(durable, 2);
    reopen();
    ck_assert(recovered.entries[0][0].delivered);
    ck_assert(!recovered.entries[0][1].delivered);
}
END_TEST

START_TEST(test_delivered_mark_that_is_known_is_no_change)
{
    declare(0);
    enqueue(queue_ids[0], 1, append("m"));
    enqueue(queue_ids[0], 2, append("m"));
    store_mark_delivered(store, queue_ids[0], 2);
    commit();
    store_mark_delivered(store, queue_ids[0], 2);
    store_mark_delivered(store, queue_ids[0], 1);
    store_mark_delivered(store, queue_ids[1], 1); /* has no entries */
    ck_assert_uint_eq(store_open_bytes(store), 0);
}
END_TEST

START_TEST(test_sequences_of_settled_entries_may_be_used_again_after_recovery)
{
    uint64_t i;

    declare(0);
    for (i = 1; i <= 10; i++)
        enqueue(queue_ids[0], i, append("old"));
    store_mark_delivered(store, queue_ids[0], 10);
    for (i = 8; i <= 10; i++)
        settle(queue_ids[0], i);
    commit();
    reopen();
    ck_assert_uint_eq(recovered.n[0], 7);
    for (i = 8; i <= 10; i++)
        enqueue(queue_ids[0], i, append("new"));
    settle(queue_ids[0], 3);
    settle(queue_ids[0], 9);
    commit();
    reopen();
    ck_assert_uint_eq(recovered.n[0], 8);
    ck_assert_uint_eq(recovered.entries[0][6].sequence, 8);
    ck_assert_uint_eq(recovered.entries[0][7].sequence, 10);
    ck_assert(recovered.entries[0][5].delivered);
    ck_assert(!recovered.entries[0][6].delivered);
    for (i = 1; i <= 7; i++)
        settle(queue_ids[0], i);
    commit();
    reopen();
    ck_assert_uint_eq(recovered.n[0], 2);
    read_back(recovered.entries[0][0].location);
    ck_assert_mem_eq(answer.data, "new", 3);
}
END_TEST

START_TEST(test_one_straggler_does_not_collect_runs_behind_it)
{
    uint64_t i;

    options.record_bytes = 1;
    ck_assert_int_eq(store_close(store), 0);
    open_store();
    declare(0);
    enqueue(queue_ids[0], 1, append("s"));
    for (i = 2; i <= 5000; i++) {
        enqueue(queue_ids[0], i, append("m"));
        commit();
        settle(queue_ids[0], i);
    }
    ck_assert_uint_le(store_queue_find(store, queue_ids[0])->n_runs, 128);
    commit();
    reopen();
    ck_assert_uint_eq(recovered.n[0], 1);
    ck_assert_uint_eq(recovered.entries[0][0].sequence, 1);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_MESSAGES), 1);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_QUEUES), 1);
}
END_TEST

/* ---- queues and metadata ---- */

static const unsigned forget_case[] = { 1, 20, 300 }; /* key by key, and by range */

START_TEST(test_forgotten_queue_leaves_nothing_and_takes_nothing_of_others)
{
    uint64_t n = forget_case[_i];
    uint64_t kept = 0;
    uint64_t i;

    options.record_bytes = 1;
    ck_assert_int_eq(store_close(store), 0);
    open_store();
    declare(0);
    declare(1);
    for (i = 1; i <= n; i++) {
        kept = append("m");
        enqueue(queue_ids[0], i, kept);
    }
    enqueue(queue_ids[1], 1, kept);
    ck_assert_int_eq(store_count_delivery(store, queue_ids[0], 1, 2), 0);
    commit();
    settle(queue_ids[0], n);
    commit();
    enqueue(queue_ids[0], n + 1, append("unsealed"));
    ck_assert_int_eq(store_delete_meta(store, STORE_KIND_QUEUE, bytes("0")), 0);
    ck_assert_int_eq(store_forget_queue(store, queue_ids[0]), 0);
    settle(queue_ids[0], 1); /* late acks of a deleted queue */
    ck_assert_int_eq(store_forget_queue(store, queue_ids[0]), 0);
    commit();
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_MESSAGES), 1);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_QUEUES), 1);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_SETTLED), 0);
    queue_ids[0] = 0;
    reopen();
    ck_assert_uint_eq(recovered.n[1], 1);
    read_back(kept);
    ck_assert_int_eq(answer.error, 0);
}
END_TEST

START_TEST(test_orphans_of_a_deleted_queue_are_dropped_for_good)
{
    uint64_t shared;

    declare(0);
    declare(1);
    shared = append("shared");
    enqueue(queue_ids[0], 1, shared);
    enqueue(queue_ids[1], 1, shared);
    commit();
    enqueue(queue_ids[0], 2, append("alone"));
    commit();
    ck_assert_int_eq(store_delete_meta(store, STORE_KIND_QUEUE, bytes("0")), 0);
    commit();
    queue_ids[0] = 0;
    reopen();
    ck_assert_uint_eq(recovered.n[1], 1);
    commit();
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_MESSAGES), 1);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_QUEUES), 1);
}
END_TEST

START_TEST(test_metadata_comes_back_by_kind_and_key)
{
    ck_assert_int_eq(store_put_meta(store, STORE_KIND_EXCHANGE, bytes("b"), bytes("2")), 0);
    ck_assert_int_eq(store_put_meta(store, STORE_KIND_EXCHANGE, bytes("a"), bytes("1")), 0);
    ck_assert_int_eq(store_put_meta(store, STORE_KIND_VHOST, bytes("/"), bytes("")), 0);
    ck_assert_int_eq(store_put_meta(store, STORE_KIND_USER, bytes("u"), bytes("x")), 0);
    ck_assert_int_eq(store_put_meta(store, STORE_KIND_EXCHANGE, bytes("b"), bytes("3")), 0);
    ck_assert_int_eq(store_delete_meta(store, STORE_KIND_USER, bytes("u")), 0);
    commit();
    reopen();
    ck_assert_uint_eq(recovered.n_meta, 3);
    ck_assert_str_eq(recovered.meta[0], "1 /=");
    ck_assert_str_eq(recovered.meta[1], "5 a=1");
    ck_assert_str_eq(recovered.meta[2], "5 b=3");
}
END_TEST

START_TEST(test_numbers_are_never_given_out_twice)
{
    uint64_t id = store_new_queue_id(store);
    uint64_t location;

    queue_ids[0] = id;
    location = append("lost");
    enqueue(id, 1, location);
    ck_assert_int_eq(store_seal(store), 0);
    store_crash(store, 0); /* nothing of it reached the disk, but somebody may have seen the id */
    open_store();
    ck_assert_uint_gt(store_new_queue_id(store), id);
    ck_assert_uint_gt(append("new") >> 16, location >> 16);
    id = store_new_queue_id(store);
    ck_assert_int_eq(store_close(store), 0); /* a clean end wastes none */
    open_store();
    ck_assert_uint_eq(store_new_queue_id(store), id + 1);
}
END_TEST

START_TEST(test_reservation_moves_ahead_of_its_use)
{
    uint64_t last = 0;
    unsigned i;

    for (i = 0; i < 200000; i++)
        last = store_new_queue_id(store);
    ck_assert_int_eq(store_put_meta(store, STORE_KIND_VHOST, bytes("v"), bytes("")), 0);
    commit();
    store_crash(store, 0);
    open_store();
    ck_assert_uint_gt(store_new_queue_id(store), last);
}
END_TEST

/* ---- the failing disk ---- */

START_TEST(test_failing_write_stalls_once_and_then_nothing_is_lost)
{
    declare(0);
    enqueue(queue_ids[0], 1, append("a"));
    store_disk_fail(disk, 0, 3, ENOSPC);
    commit();
    ck_assert_int_eq(stalled, -ENOSPC);
    enqueue(queue_ids[0], 2, append("b"));
    commit();
    store_poll(store);
    ck_assert_uint_eq(durable, 0);
    ck_assert_uint_eq(store_in_flight(store), 2);
    ck_assert_uint_eq(n_stalls, 1);
    store_poll(store);
    ck_assert_int_eq(stalled, 0);
    ck_assert_uint_eq(n_stalls, 2);
    ck_assert_uint_eq(durable, 2);
    ck_assert_uint_eq(store_in_flight(store), 0);
    reopen();
    ck_assert_uint_eq(recovered.n[0], 2);
}
END_TEST

START_TEST(test_close_gives_up_on_a_disk_that_never_works)
{
    declare(0);
    enqueue(queue_ids[0], 1, append("a"));
    store_disk_fail(disk, 0, 1000, EIO);
    ck_assert_int_eq(store_close(store), -EIO);
    store_disk_fail(disk, 0, 0, 0);
    queue_ids[0] = 0;
    open_store();
    recover();
    ck_assert_uint_eq(recovered.n[0], 0);
}
END_TEST

START_TEST(test_damaged_run_is_refused)
{
    static const uint8_t key[16] = { 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1 };
    static const uint8_t good[] = { 1, 2, 0, 0 }; /* record 1, two entries */
    uint8_t value[sizeof good + 1];
    size_t size;
    unsigned bits;

    for (size = 0; size <= sizeof value; size++) {
        for (bits = 0; bits < 256; bits += 51) {
            struct store_run_reader reader;
            int rc;

            memcpy(value, good, sizeof good);
            value[sizeof value - 1] = 0;
            if (size > 0)
                value[size - 1] ^= (uint8_t)bits;
            rc = store_run_reader_init(&reader, 1, store_get_u64be(key + 8),
                                       (struct amqp_bytes){ value, size });
            while (rc == 0 && (rc = store_run_next(&reader)) > 0)
                rc = 0;
            if (size < sizeof good || size > sizeof good)
                ck_assert_int_eq(rc, size < sizeof good ? -EBADMSG : rc);
        }
    }
}
END_TEST

START_TEST(test_damaged_record_is_refused)
{
    static const uint8_t record[] = { 'a', 'b', 'c', 1, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0 };
    struct amqp_bytes message;
    uint8_t bad[sizeof record];
    size_t i;

    ck_assert_int_eq(store_record_message((struct amqp_bytes){ record, sizeof record }, 1,
                                          &message), 0);
    ck_assert_uint_eq(message.size, 2);
    ck_assert_mem_eq(message.data, "bc", 2);
    ck_assert_int_eq(store_record_message((struct amqp_bytes){ record, sizeof record }, 2,
                                          &message), -EBADMSG);
    for (i = 0; i < sizeof record; i++)
        ck_assert_int_eq(store_record_message((struct amqp_bytes){ record, i }, 1, &message),
                         -EBADMSG);
    for (i = 3; i < sizeof record; i++) {
        memcpy(bad, record, sizeof record);
        bad[i] ^= 0x80;
        ck_assert_int_eq(store_record_message((struct amqp_bytes){ bad, sizeof bad }, 1, &message),
                         -EBADMSG);
    }
}
END_TEST

/* ---- against the twin ---- */

struct twin_queue {
    uint64_t id; /* 0: not there */
    uint64_t next;
    size_t n;
    struct {
        uint64_t sequence;
        uint32_t count;
        char text[12];
    } entries[DEPTH];
};

struct twin {
    struct twin_queue queues[QUEUES];
};

#define COMMITS 64

static struct twin now;
static struct twin history[COMMITS]; /* state as of each commit, by number modulo COMMITS */
static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % n;
}

static void twin_publish(void)
{
    static unsigned serial;
    uint64_t location = 0;
    char text[12];
    size_t q;

    (void)snprintf(text, sizeof text, "m%u", serial++ % 1000000);
    for (q = 0; q < QUEUES; q++) {
        struct twin_queue *queue = &now.queues[q];

        if (!queue->id || queue->n == DEPTH || random_below(2))
            continue;
        if (random_below(8) == 0)
            queue->next += random_below(3) ? 1 : random_below(6000); /* transient ones */
        if (!location)
            location = append(text);
        enqueue(queue->id, queue->next, location);
        queue->entries[queue->n].sequence = queue->next++;
        queue->entries[queue->n].count = 0;
        memcpy(queue->entries[queue->n++].text, text, sizeof text);
    }
    if (!location)
        (void)append(text);
}

static void twin_settle(void)
{
    struct twin_queue *queue = &now.queues[random_below(QUEUES)];
    unsigned n = random_below(30);
    bool in_order = random_below(2);

    while (queue->id && queue->n > 0 && n-- > 0) {
        size_t i = in_order ? 0 : random_below((uint32_t)queue->n);

        settle(queue->id, queue->entries[i].sequence);
        memmove(&queue->entries[i], &queue->entries[i + 1],
                (--queue->n - i) * sizeof queue->entries[0]);
    }
}

static void twin_count(void)
{
    struct twin_queue *queue = &now.queues[random_below(QUEUES)];
    size_t i;

    if (!queue->id || queue->n == 0)
        return;
    i = random_below((uint32_t)queue->n);
    queue->entries[i].count++;
    ck_assert_int_eq(store_count_delivery(store, queue->id, queue->entries[i].sequence,
                                          queue->entries[i].count), 0);
}

static void twin_declare_or_delete(void)
{
    size_t q = random_below(QUEUES);
    struct twin_queue *queue = &now.queues[q];
    char name[16];

    if (!queue->id) {
        declare(q);
        *queue = (struct twin_queue){ .id = queue_ids[q], .next = 1 };
        return;
    }
    if (random_below(4))
        return;
    (void)snprintf(name, sizeof name, "%zu", q);
    ck_assert_int_eq(store_delete_meta(store, STORE_KIND_QUEUE, bytes(name)), 0);
    if (random_below(4)) /* otherwise an orphan */
        ck_assert_int_eq(store_forget_queue(store, queue->id), 0);
    queue->id = 0;
    queue->n = 0;
}

static void twin_seal(void)
{
    uint64_t number = store_open_commit(store);

    ck_assert_int_eq(store_seal(store), 0);
    if (store_open_commit(store) != number)
        history[number % COMMITS] = now;
}

static void check_against(const struct twin *twin)
{
    size_t q;
    size_t i;

    for (q = 0; q < QUEUES; q++) {
        const struct twin_queue *queue = &twin->queues[q];

        ck_assert_uint_eq(recovered.n[q], queue->n);
        for (i = 0; i < queue->n; i++) {
            const struct store_entry *entry = &recovered.entries[q][i];

            ck_assert_uint_eq(entry->sequence, queue->entries[i].sequence);
            ck_assert_uint_eq(entry->delivery_count, queue->entries[i].count);
            if (i % 7 != 0)
                continue;
            read_back(entry->location);
            ck_assert_int_eq(answer.error, 0);
            ck_assert_uint_eq(answer.size, strlen(queue->entries[i].text));
            ck_assert_mem_eq(answer.data, queue->entries[i].text, answer.size);
        }
    }
}

/* Some writes fail from now on, and perhaps reach the disk nevertheless. */
static bool fails_late;

static void twin_fail(void)
{
    if (stalled)
        return;
    fails_late = random_below(2);
    (fails_late ? store_disk_fail_late : store_disk_fail)(disk, random_below(3),
                                                          1 + random_below(3), EIO);
}

/* Crash with some of the unreported commits on the disk, and go on from what is there. */
static void twin_crash(void)
{
    unsigned kept = random_below(store_in_flight(store) + 1);
    uint64_t number;
    size_t q;

    if (stalled && fails_late && kept == 0)
        kept = 1; /* it is there although its write was reported as failed */
    number = durable + kept;
    store_disk_fail(disk, 0, 0, 0);
    now = history[number % COMMITS];
    store_crash(store, kept);
    for (q = 0; q < QUEUES; q++)
        queue_ids[q] = now.queues[q].id;
    open_store();
    history[0] = now; /* of a crash before the first commit */
    recover();
    check_against(&now);
    for (q = 0; q < QUEUES; q++) /* as the broker does: after the last that is there */
        now.queues[q].next = now.queues[q].n ?
            now.queues[q].entries[now.queues[q].n - 1].sequence + 1 : 1;
}

static void check_disk_is_minimal(void)
{
    size_t i;

    for (i = 0; i < QUEUES; i++) {
        char name[16];

        if (!now.queues[i].id)
            continue;
        (void)snprintf(name, sizeof name, "%zu", i);
        ck_assert_int_eq(store_delete_meta(store, STORE_KIND_QUEUE, bytes(name)), 0);
        while (now.queues[i].n > 0)
            settle(now.queues[i].id, now.queues[i].entries[--now.queues[i].n].sequence);
        now.queues[i].id = 0;
        queue_ids[i] = 0;
    }
    while (store_in_flight(store) > 0 || store_open_bytes(store) > 0) {
        ck_assert_int_eq(store_seal(store), 0);
        store_poll(store);
    }
    reopen(); /* orphans go */
    ck_assert_int_eq(store_close(store), 0);
    store = NULL;
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_MESSAGES), 0);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_QUEUES), 0);
    ck_assert_uint_eq(store_disk_count(disk, STORE_FAMILY_SETTLED), 0);
}

START_TEST(test_random_history_recovers_to_the_state_of_its_last_commit)
{
    unsigned step;

    random_state = (uint64_t)_i * 7919 + 1;
    memset(&now, 0, sizeof now);
    memset(queue_ids, 0, sizeof queue_ids);
    history[0] = now;
    options.record_bytes = random_below(2) ? 24 : 262144;
    ck_assert_int_eq(store_close(store), 0);
    open_store();
    for (step = 0; step < 1500; step++) {
        uint32_t dice = random_below(100);

        if (dice < 45)
            twin_publish();
        else if (dice < 65)
            twin_settle();
        else if (dice < 70)
            twin_count();
        else if (dice < 74)
            twin_declare_or_delete();
        else if (dice < 85)
            twin_seal();
        else if (dice < 97)
            store_poll(store);
        else if (dice < 98)
            twin_fail();
        else if (store_in_flight(store) > 20 || dice == 98)
            twin_crash();
        if (store_in_flight(store) > 40) {
            store_disk_fail(disk, 0, 0, 0);
            store_poll(store);
        }
    }
    store_disk_fail(disk, 0, 0, 0);
    check_disk_is_minimal();
}
END_TEST

static TCase *plain_case(void)
{
    TCase *tcase = tcase_create("plain");

    tcase_add_test(tcase, test_messages_read_back_before_and_after_they_are_durable);
    tcase_add_test(tcase, test_message_is_joined_from_its_parts_and_shares_a_record);
    tcase_add_test(tcase, test_large_message_is_a_record_of_its_own_between_small_ones);
    tcase_add_test(tcase, test_record_is_full_by_octets_and_by_messages);
    tcase_add_test(tcase, test_message_without_entry_is_not_kept);
    tcase_add_test(tcase, test_record_lives_until_its_last_entry_in_any_queue);
    tcase_add_test(tcase, test_live_message_may_be_enqueued_again_in_a_later_commit);
    tcase_add_test(tcase, test_entry_fields_survive_whatever_they_change_to);
    tcase_add_test(tcase, test_settling_in_order_writes_a_watermark_and_no_page);
    tcase_add_test(tcase, test_settling_out_of_order_writes_a_page_that_goes_with_its_run);
    tcase_add_test(tcase, test_marks_and_counts_are_recovered);
    tcase_add_test(tcase, test_delivered_mark_is_a_change_of_the_open_commit);
    tcase_add_test(tcase, test_delivered_mark_that_is_known_is_no_change);
    tcase_add_test(tcase, test_sequences_of_settled_entries_may_be_used_again_after_recovery);
    tcase_add_test(tcase, test_one_straggler_does_not_collect_runs_behind_it);
    tcase_add_loop_test(tcase, test_forgotten_queue_leaves_nothing_and_takes_nothing_of_others, 0,
                        N_ELEMENTS(forget_case));
    tcase_add_test(tcase, test_orphans_of_a_deleted_queue_are_dropped_for_good);
    tcase_add_test(tcase, test_metadata_comes_back_by_kind_and_key);
    tcase_add_test(tcase, test_numbers_are_never_given_out_twice);
    tcase_add_test(tcase, test_reservation_moves_ahead_of_its_use);
    tcase_add_test(tcase, test_failing_write_stalls_once_and_then_nothing_is_lost);
    tcase_add_test(tcase, test_close_gives_up_on_a_disk_that_never_works);
    tcase_add_test(tcase, test_damaged_run_is_refused);
    tcase_add_test(tcase, test_damaged_record_is_refused);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *plain = plain_case();
    TCase *twin = tcase_create("twin");

    tcase_add_checked_fixture(plain, setup, teardown);
    suite_add_tcase(suite, plain);
    tcase_add_checked_fixture(twin, setup, teardown);
    tcase_add_loop_test(twin, test_random_history_recovers_to_the_state_of_its_last_commit, 0, 60);
    tcase_set_timeout(twin, 60);
    suite_add_tcase(suite, twin);
    return unit_run(suite);
}
