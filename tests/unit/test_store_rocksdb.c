/*
 * test_store_rocksdb.c - the store on RocksDB: threads, files, locks, and what survives a kill
 *
 * Each test has a directory of its own under TMPDIR. Waiting is for the store's descriptor, with a
 * bound. The test that kills forks a child that reports over a pipe every commit it was told is
 * durable; what the parent then recovers must hold all of those, in order and without holes.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* nftw() */
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/backend_rocksdb.h"
#include "store/commit.h"
#include "temp_directory.h"
#include "unit.h"

#define WAIT_MS 30000

static char directory[256];
static struct store_options options;
static struct store *store;
static uint64_t durable;
static int stalled;
static unsigned n_stalls;
static unsigned n_read;
static int read_error;
static struct amqp_bytes read_message;

static void on_durable(void *context, uint64_t commit)
{
    (void)context;
    ck_assert_uint_gt(commit, durable);
    durable = commit;
}

static void on_stalled(void *context, int error, const char *text)
{
    (void)context;
    ck_assert_int_ne(error, stalled);
    if (error)
        ck_assert_uint_gt(strlen(text), 0);
    stalled = error;
    n_stalls++;
}

static void on_read(void *context, void *request, int error, struct amqp_bytes message)
{
    (void)context;
    free((void *)(uintptr_t)read_message.data);
    read_message = (struct amqp_bytes){ NULL, message.size };
    if (message.size > 0) {
        uint8_t *copy = malloc(message.size);

        ck_assert_ptr_nonnull(copy);
        read_message.data = memcpy(copy, message.data, message.size);
    }
    read_error = error;
    n_read++;
    *(unsigned *)request += 1;
}

static const struct store_events events = { on_durable, on_stalled, on_read };

static int try_open(char *text, size_t size)
{
    durable = 0;
    stalled = 0;
    return store_open(directory, &options, &events, NULL, text, size, &store);
}

static void open_store(void)
{
    char text[256] = "";
    int rc = try_open(text, sizeof text);

    ck_assert_msg(rc == 0, "store_open: %s", text);
}

static void setup(void)
{
    temp_directory_make(directory, sizeof directory);
    options = store_options_default();
    options.write_buffer_bytes = 4 << 20;
    n_stalls = 0;
    open_store();
}

static void teardown(void)
{
    if (store)
        ck_assert_int_eq(store_close(store), 0);
    store = NULL;
    free((void *)(uintptr_t)read_message.data);
    read_message = (struct amqp_bytes){ 0 };
    temp_directory_remove(directory);
}

static void wait_and_poll(void)
{
    struct pollfd fd = { .fd = store_fd(store), .events = POLLIN };

    ck_assert_int_eq(poll(&fd, 1, WAIT_MS), 1);
    store_poll(store);
}

static void wait_durable(void)
{
    uint64_t number = store_open_commit(store);

    ck_assert_int_eq(store_seal(store), 0);
    if (store_open_commit(store) == number)
        number--;
    while (durable < number)
        wait_and_poll();
}

static uint64_t append_bytes(const void *data, size_t size)
{
    const struct iovec part = { (void *)(uintptr_t)data, size };
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

static void read_back(uint64_t location)
{
    unsigned calls = 0;

    ck_assert_int_eq(store_read(store, location, &calls), 0);
    while (calls == 0)
        wait_and_poll();
    ck_assert_uint_eq(calls, 1);
}

static void declare(uint64_t id)
{
    const struct amqp_bytes name = { (const uint8_t *)&id, sizeof id };

    ck_assert_int_eq(store_put_meta(store, STORE_KIND_QUEUE, name, name), 0);
}

/* ---- recovery ---- */

static struct store_entry recovered[200000];
static size_t n_recovered;

static int visit_meta(void *context, enum store_kind kind, struct amqp_bytes key,
                      struct amqp_bytes value)
{
    uint64_t id;

    (void)context;
    (void)key;
    if (kind != STORE_KIND_QUEUE)
        return 0;
    memcpy(&id, value.data, sizeof id);
    return store_recover_queue(store, id);
}

static int visit_entry(void *context, const struct store_entry *entry)
{
    (void)context;
    ck_assert_uint_lt(n_recovered, N_ELEMENTS(recovered));
    recovered[n_recovered++] = *entry;
    return 0;
}

static void recover(void)
{
    static const struct store_visitor visitor = { visit_meta, visit_entry };

    n_recovered = 0;
    ck_assert_int_eq(store_recover(store, &visitor, NULL), 0);
}

static void reopen(void)
{
    ck_assert_int_eq(store_close(store), 0);
    open_store();
    recover();
}

/* ---- tests ---- */

START_TEST(test_what_was_durable_is_there_after_reopening)
{
    uint64_t id = store_new_queue_id(store);
    uint64_t location;
    char text[32];
    unsigned i;

    declare(id);
    for (i = 1; i <= 5000; i++) {
        (void)snprintf(text, sizeof text, "message %u", i);
        enqueue(id, i, append_bytes(text, strlen(text)));
        if (i % 500 == 0)
            wait_durable();
    }
    for (i = 1; i <= 1000; i++)
        ck_assert_int_eq(store_settle(store, id, i, 0), 0);
    wait_durable();
    reopen();
    ck_assert_uint_eq(n_recovered, 4000);
    for (i = 0; i < 4000; i += 97) {
        ck_assert_uint_eq(recovered[i].sequence, 1001 + i);
        location = recovered[i].location;
        (void)snprintf(text, sizeof text, "message %u", 1001 + i);
        read_back(location);
        ck_assert_int_eq(read_error, 0);
        ck_assert_uint_eq(read_message.size, strlen(text));
        ck_assert_mem_eq(read_message.data, text, strlen(text));
    }
}
END_TEST

START_TEST(test_close_commits_what_is_open)
{
    uint64_t id = store_new_queue_id(store);

    declare(id);
    enqueue(id, 1, append_bytes("x", 1));
    reopen();
    ck_assert_uint_eq(n_recovered, 1);
}
END_TEST

/* Directories that were synced, by the store or for RocksDB: the linker leads fsync() here. */
static struct {
    ino_t directory;
    bool database_is_there;
} synced_names[100];
static size_t n_synced_names;
static char database_path[400];

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
    struct stat status;

    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) &&
        n_synced_names < N_ELEMENTS(synced_names)) {
        synced_names[n_synced_names].directory = status.st_ino;
        synced_names[n_synced_names++].database_is_there = access(database_path, F_OK) == 0;
    }
    return __real_fsync(fd);
}

static void check_synced(const char *path, bool with_database)
{
    struct stat status;
    bool found = false;

    ck_assert_int_eq(stat(path, &status), 0);
    for (size_t i = 0; i < n_synced_names; i++)
        found = found || (synced_names[i].directory == status.st_ino &&
                          (!with_database || synced_names[i].database_is_there));
    ck_assert_msg(found, "the names in %s were not synced", path);
}

/* A power cut after the first confirm must find every directory on the way to it. */
START_TEST(test_names_of_all_directories_are_synced_before_the_store_is_used)
{
    char top[sizeof directory];
    char data[sizeof directory + 16];

    ck_assert_int_eq(store_close(store), 0);
    memcpy(top, directory, sizeof top);
    (void)snprintf(data, sizeof data, "%.200s/a/data", top);
    (void)snprintf(directory, sizeof directory, "%.200s/a/data/store", top);
    (void)snprintf(database_path, sizeof database_path, "%s/rocksdb", directory);
    n_synced_names = 0;
    open_store();
    check_synced(directory, true);
    check_synced(data, false);
    *strrchr(data, '/') = '\0';
    check_synced(data, false);
    check_synced(top, false);
    memcpy(directory, top, sizeof directory);
}
END_TEST

static const enum store_sync sync_case[] = { STORE_SYNC_COMMIT, STORE_SYNC_INTERVAL,
                                             STORE_SYNC_NEVER };

START_TEST(test_every_way_of_syncing_reports_in_order)
{
    uint64_t id = store_new_queue_id(store);
    unsigned i;

    ck_assert_int_eq(store_close(store), 0);
    options.sync = sync_case[_i];
    options.sync_interval_ms = 20;
    open_store();
    declare(id);
    for (i = 1; i <= 200; i++) {
        enqueue(id, i, append_bytes("x", 1));
        ck_assert_int_eq(store_seal(store), 0);
    }
    wait_durable();
    ck_assert_uint_eq(durable, 200);
    ck_assert_uint_eq(store_in_flight(store), 0);
    reopen();
    ck_assert_uint_eq(n_recovered, 200);
}
END_TEST

START_TEST(test_directory_is_locked_with_a_sentence)
{
    struct store *first = store;
    char text[256] = "";

    ck_assert_int_eq(try_open(text, sizeof text), -EBUSY);
    ck_assert_ptr_nonnull(strstr(text, "in use by another process"));
    ck_assert_ptr_nonnull(strstr(text, directory));
    store = first;
}
END_TEST

START_TEST(test_data_of_another_version_is_refused)
{
    const struct amqp_bytes key = { (const uint8_t[]){ 0, 'f' }, 2 };
    const struct amqp_bytes version = { (const uint8_t[]){ 99 }, 1 };
    struct store_pool pool = { 0 };
    struct store_commit *commit = store_commit_new(&pool, 1, 1);
    struct store_backend *backend;
    struct store_fault fault;
    char text[256] = "";

    ck_assert_int_eq(store_commit_reserve(commit, &pool, 100), 0);
    (void)store_commit_add(commit, STORE_OP_PUT, STORE_FAMILY_META, key, version);
    ck_assert_int_eq(store_close(store), 0);
    store = NULL;
    ck_assert_int_eq(store_backend_rocksdb_open(directory, &options, &fault, &backend), 0);
    ck_assert_int_eq(backend->ops->write(backend,
                                          (const struct store_op *const[]){ commit->first_op }, 1,
                                          true, &fault),
                     0);
    backend->ops->close(backend);
    store_commit_free(commit, &pool);
    store_pool_release(&pool);
    ck_assert_int_eq(try_open(text, sizeof text), -EPROTO);
    ck_assert_ptr_nonnull(strstr(text, "version 99"));
    store = NULL;
}
END_TEST

START_TEST(test_directory_that_cannot_be_made_is_told)
{
    char saved[sizeof directory];
    struct store *first = store;
    char text[256] = "";

    memcpy(saved, directory, sizeof saved);
    (void)snprintf(directory, sizeof directory, "/proc/nowhere/store");
    ck_assert_int_eq(try_open(text, sizeof text), -ENOENT);
    ck_assert_ptr_nonnull(strstr(text, "/proc/nowhere"));
    memcpy(directory, saved, sizeof directory);
    store = first;
}
END_TEST

static const size_t big_case[] = { 65535, 65536, 65537, 262143, 262144, 262145, 3000000 };

START_TEST(test_big_messages_read_back_whole)
{
    size_t size = big_case[_i];
    uint64_t id = store_new_queue_id(store);
    uint8_t *data = malloc(size);
    uint64_t location;
    size_t i;

    ck_assert_ptr_nonnull(data);
    for (i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + i / 1000);
    declare(id);
    enqueue(id, 1, append_bytes("before", 6));
    location = append_bytes(data, size);
    enqueue(id, 2, location);
    enqueue(id, 3, append_bytes("after", 5));
    read_back(location);
    ck_assert_uint_eq(read_message.size, size);
    ck_assert_mem_eq(read_message.data, data, size);
    wait_durable();
    read_back(location);
    ck_assert_uint_eq(read_message.size, size);
    ck_assert_mem_eq(read_message.data, data, size);
    reopen();
    ck_assert_uint_eq(n_recovered, 3);
    ck_assert_uint_eq(recovered[1].location, location);
    read_back(location);
    ck_assert_uint_eq(read_message.size, size);
    ck_assert_mem_eq(read_message.data, data, size);
    read_back(recovered[2].location);
    ck_assert_mem_eq(read_message.data, "after", 5);
    free(data);
}
END_TEST

enum { SHUFFLED = 2000, SHUFFLED_BYTES = 1000 };

static uint64_t shuffled_location[SHUFFLED];
static unsigned shuffled_calls[SHUFFLED];

/* The request is the place in shuffled_calls, and the message begins with its number. */
static void on_shuffled_read(void *context, void *request, int error, struct amqp_bytes message)
{
    uint64_t number = (uint64_t)((unsigned *)request - shuffled_calls), found;

    (void)context;
    ck_assert_int_eq(error, 0);
    ck_assert_uint_eq(message.size, SHUFFLED_BYTES);
    memcpy(&found, message.data, sizeof found);
    ck_assert_uint_eq(found, number);
    shuffled_calls[number]++;
    n_read++;
}

START_TEST(test_messages_of_many_records_are_read_in_any_order)
{
    const struct store_events shuffled_events = { on_durable, on_stalled, on_shuffled_read };
    uint64_t data[SHUFFLED_BYTES / 8] = { 0 };
    uint64_t id = store_new_queue_id(store);
    char text[256] = "";

    declare(id);
    for (uint64_t i = 0; i < SHUFFLED; i++) {
        data[0] = i;
        shuffled_location[i] = append_bytes(data, sizeof data);
        enqueue(id, i + 1, shuffled_location[i]);
        if (i % 50 == 49)
            wait_durable();
    }
    ck_assert_int_eq(store_close(store), 0);
    ck_assert_int_eq(store_open(directory, &options, &shuffled_events, NULL, text, sizeof text,
                                &store),
                     0);
    memset(shuffled_calls, 0, sizeof shuffled_calls);
    n_read = 0;
    for (uint64_t i = 0; i < SHUFFLED; i++) { /* 77 has no factor in common with SHUFFLED */
        uint64_t number = i * 77 % SHUFFLED;

        ck_assert_int_eq(store_read(store, shuffled_location[number], &shuffled_calls[number]), 0);
    }
    while (n_read < SHUFFLED)
        wait_and_poll();
    for (unsigned i = 0; i < SHUFFLED; i++)
        ck_assert_uint_eq(shuffled_calls[i], 1);
}
END_TEST

START_TEST(test_settled_message_is_gone_and_reading_it_says_so)
{
    uint64_t id = store_new_queue_id(store);
    uint64_t location;

    declare(id);
    location = append_bytes("x", 1);
    enqueue(id, 1, location);
    wait_durable();
    ck_assert_int_eq(store_settle(store, id, 1, location), 0);
    wait_durable();
    declare(id);
    wait_durable(); /* the commit before this one has been applied, too */
    read_back(location);
    ck_assert_int_eq(read_error, -ENOENT);
    reopen();
    ck_assert_uint_eq(n_recovered, 0);
}
END_TEST

/* Enough of everything that memtables are flushed, blob files written and runs deleted. */
START_TEST(test_long_traffic_with_flushes_leaves_the_live_entries)
{
    static uint8_t body[1024];
    uint64_t id = store_new_queue_id(store);
    uint64_t sequence = 0;
    unsigned round;
    unsigned i;

    declare(id);
    for (round = 0; round < 60; round++) {
        for (i = 0; i < 500; i++) {
            memset(body, (int)(++sequence % 251), sizeof body);
            enqueue(id, sequence, append_bytes(body, sizeof body));
        }
        for (i = 0; i < 500 && sequence > 500; i++) /* all but every tenth */
            if ((sequence - 500 - i) % 10 != 0)
                ck_assert_int_eq(store_settle(store, id, sequence - 500 - i, 0), 0);
        wait_durable();
    }
    reopen();
    ck_assert_uint_eq(n_recovered, 59 * 50 + 500);
    for (i = 0; i < n_recovered; i += 37) {
        read_back(recovered[i].location);
        ck_assert_int_eq(read_error, 0);
        ck_assert_uint_eq(read_message.size, sizeof body);
        ck_assert_uint_eq(read_message.data[1023], recovered[i].sequence % 251);
    }
}
END_TEST

/* ---- the disk fails ---- */

START_TEST(test_full_disk_stalls_and_goes_on_when_there_is_room)
{
    static uint8_t body[20000];
    uint64_t id = store_new_queue_id(store);
    uint64_t number;
    unsigned i;

    (void)signal(SIGXFSZ, SIG_IGN);
    declare(id);
    enqueue(id, 1, append_bytes("first", 5));
    wait_durable();
    (void)temp_limit(RLIMIT_FSIZE, 100000);
    for (i = 2; i <= 30; i++) {
        enqueue(id, i, append_bytes(body, sizeof body));
        ck_assert_int_eq(store_seal(store), 0);
    }
    while (!stalled)
        wait_and_poll();
    ck_assert_int_eq(stalled, -EFBIG);
    number = store_open_commit(store);
    ck_assert_int_eq(store_settle(store, id, 1, 0), 0);
    ck_assert_int_eq(store_seal(store), 0);
    ck_assert_uint_lt(durable, number);
    (void)temp_limit(RLIMIT_FSIZE, RLIM_INFINITY);
    while (durable < number)
        wait_and_poll();
    ck_assert_int_eq(stalled, 0);
    ck_assert_uint_eq(n_stalls, 2);
    enqueue(id, 31, append_bytes("last", 4));
    ck_assert_int_eq(store_settle(store, id, 2, 0), 0);
    wait_durable();
    reopen();
    ck_assert_uint_eq(n_recovered, 29);
    for (i = 0; i < n_recovered; i++)
        ck_assert_uint_eq(recovered[i].sequence, i + 3);
    read_back(recovered[0].location);
    ck_assert_uint_eq(read_message.size, sizeof body);
}
END_TEST

/* RocksDB cannot flush, while the log can still be written: without descriptors, no new file. */
START_TEST(test_database_that_cannot_create_files_waits_and_goes_on)
{
    static uint8_t body[50000];
    uint64_t id = store_new_queue_id(store);
    uint64_t number;
    rlim_t before;
    uint64_t i;

    declare(id);
    wait_durable();
    before = temp_limit(RLIMIT_NOFILE, 5); /* fewer than are open */
    for (i = 1; !stalled; i++) {
        ck_assert_uint_lt(i, 1000);
        memset(body, (int)(i % 251), sizeof body);
        enqueue(id, i, append_bytes(body, sizeof body));
        ck_assert_int_eq(store_seal(store), 0);
        store_poll(store);
        while (store_in_flight(store) > 3 && !stalled)
            wait_and_poll();
    }
    number = store_open_commit(store);
    if (i > 2)
        ck_assert_int_eq(store_settle(store, id, 1, 0), 0);
    ck_assert_int_eq(store_seal(store), 0);
    (void)temp_limit(RLIMIT_NOFILE, before);
    while (durable < number || stalled)
        wait_and_poll();
    reopen();
    ck_assert_uint_eq(n_recovered, i - 2);
    for (size_t at = 0; at < n_recovered; at += 7) {
        ck_assert_uint_eq(recovered[at].sequence, at + 2);
        read_back(recovered[at].location);
        ck_assert_int_eq(read_error, 0);
        ck_assert_uint_eq(read_message.size, sizeof body);
        ck_assert_uint_eq(read_message.data[49999], recovered[at].sequence % 251);
    }
}
END_TEST

START_TEST(test_close_gives_up_while_the_disk_is_full)
{
    static uint8_t body[200000];
    uint64_t id = store_new_queue_id(store);

    (void)signal(SIGXFSZ, SIG_IGN);
    (void)temp_limit(RLIMIT_FSIZE, 100000);
    declare(id);
    enqueue(id, 1, append_bytes(body, sizeof body));
    ck_assert_int_lt(store_close(store), 0);
    (void)temp_limit(RLIMIT_FSIZE, RLIM_INFINITY);
    open_store();
    recover();
    ck_assert_uint_eq(n_recovered, 0);
}
END_TEST

/* ---- the process dies ---- */

enum { OPEN_FILES_MAX = 64 };

struct promise {
    uint64_t enqueued; /* durable up to this sequence */
    uint64_t settled;  /* likewise */
};

/* Publishes and settles until it is killed; tells over the pipe what it was promised. */
static void child_run(uint64_t id, uint64_t sequence, uint64_t settled, int out)
{
    struct promise sealed[256];
    struct promise told = { 0, 0 };

    recover();
    for (;;) {
        uint64_t number = store_open_commit(store);
        unsigned i;

        for (i = 0; i < 20; i++) {
            sequence++;
            enqueue(id, sequence, append_bytes(&sequence, sizeof sequence));
        }
        while (settled + 100 < sequence)
            ck_assert_int_eq(store_settle(store, id, ++settled, 0), 0);
        sealed[number % 256] = (struct promise){ sequence, settled };
        ck_assert_int_eq(store_seal(store), 0);
        while (store_in_flight(store) > 3)
            wait_and_poll();
        if (durable == 0 || told.enqueued == sealed[durable % 256].enqueued)
            continue;
        told = sealed[durable % 256];
        ck_assert_int_eq(write(out, &told, sizeof told), sizeof told);
    }
}

/*
 * Check notes each assertion in a file that this child shares with the test: killed in the middle of
 * a note, it would spoil it. Whatever is open here but @out is Check's.
 */
static void leave_check(int out)
{
    int nothing = open("/dev/null", O_WRONLY);

    for (int fd = STDERR_FILENO + 1; fd < OPEN_FILES_MAX; fd++)
        if (fd != out && fd != nothing && fcntl(fd, F_GETFD) >= 0)
            (void)dup2(nothing, fd);
}

static struct promise kill_round(uint64_t id, uint64_t sequence, uint64_t settled, unsigned after)
{
    struct promise promise = { sequence, settled };
    struct promise next;
    int fds[2], status;
    pid_t pid;

    ck_assert_int_eq(pipe(fds), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)close(fds[0]);
        leave_check(fds[1]);
        open_store();
        child_run(id, sequence, settled, fds[1]);
        _exit(1);
    }
    (void)close(fds[1]);
    while (after-- > 0 && read(fds[0], &next, sizeof next) == (ssize_t)sizeof next)
        promise = next;
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    while (read(fds[0], &next, sizeof next) == (ssize_t)sizeof next)
        promise = next; /* told before it died */
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status)); /* and not by an assertion of its own */
    (void)close(fds[0]);
    return promise;
}

START_TEST(test_killed_process_keeps_its_promises)
{
    uint64_t id = store_new_queue_id(store);
    uint64_t last = 0;
    uint64_t settled = 0;
    unsigned round;
    size_t i;

    declare(id);
    ck_assert_int_eq(store_close(store), 0);
    store = NULL;
    for (round = 0; round < 12; round++) {
        struct promise promise = kill_round(id, last, settled, round * 7 + 1);

        open_store();
        recover();
        ck_assert_uint_gt(n_recovered, 0);
        ck_assert_uint_le(recovered[0].sequence, promise.enqueued + 1);
        ck_assert_uint_gt(recovered[0].sequence, promise.settled);
        ck_assert_uint_ge(recovered[n_recovered - 1].sequence, promise.enqueued);
        for (i = 0; i < n_recovered; i++) {
            ck_assert_uint_eq(recovered[i].sequence, recovered[0].sequence + i);
            if (i % 50 != 0)
                continue;
            read_back(recovered[i].location);
            ck_assert_int_eq(read_error, 0);
            ck_assert_mem_eq(read_message.data, &recovered[i].sequence, 8);
        }
        last = recovered[n_recovered - 1].sequence;
        settled = recovered[0].sequence - 1;
        ck_assert_int_eq(store_close(store), 0);
        store = NULL;
    }
}
END_TEST

/* The newest segment of the log: what was not synced may be cut anywhere. */
static void newest_log(char *path, size_t size)
{
    char folder[300];
    unsigned long newest = 0;
    struct dirent *file;
    DIR *files;

    (void)snprintf(folder, sizeof folder, "%s/log", directory);
    files = opendir(folder);
    ck_assert_ptr_nonnull(files);
    while ((file = readdir(files))) {
        unsigned long number = strtoul(file->d_name, NULL, 16);

        if (strstr(file->d_name, ".log") && number > newest)
            newest = number;
    }
    (void)closedir(files);
    (void)snprintf(path, size, "%s/%016lx.log", folder, newest);
}

/* Ten commits of one message each, and no orderly end. */
static void write_and_die(void)
{
    uint64_t id;
    unsigned i;

    leave_check(-1);
    open_store();
    id = store_new_queue_id(store);
    declare(id);
    for (i = 1; i <= 10; i++) {
        enqueue(id, i, append_bytes("torn or not", 11));
        wait_durable();
    }
    _exit(0);
}

START_TEST(test_torn_tail_of_the_log_costs_only_the_last_commit)
{
    static uint8_t data[1 << 20];
    char path[400];
    ssize_t end;
    int status;
    pid_t pid;
    int fd;

    ck_assert_int_eq(store_close(store), 0);
    store = NULL;
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        write_and_die();
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    newest_log(path, sizeof path);
    fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    end = pread(fd, data, sizeof data, 0);
    ck_assert_int_gt(end, 100);
    while (data[end - 1] == 0)
        end--;
    ck_assert_int_eq(pwrite(fd, (const char[40]){ 0 }, 40, end - 40), 40);
    (void)close(fd);
    open_store();
    recover();
    ck_assert_uint_eq(n_recovered, 9);
    ck_assert_uint_eq(recovered[8].sequence, 9);
    read_back(recovered[8].location);
    ck_assert_uint_eq(read_message.size, 11);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_rocksdb");
    TCase *tcase = tcase_create("rocksdb");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_what_was_durable_is_there_after_reopening);
    tcase_add_test(tcase, test_close_commits_what_is_open);
    tcase_add_test(tcase, test_names_of_all_directories_are_synced_before_the_store_is_used);
    tcase_add_loop_test(tcase, test_every_way_of_syncing_reports_in_order, 0,
                        N_ELEMENTS(sync_case));
    tcase_add_test(tcase, test_directory_is_locked_with_a_sentence);
    tcase_add_test(tcase, test_data_of_another_version_is_refused);
    tcase_add_test(tcase, test_directory_that_cannot_be_made_is_told);
    tcase_add_loop_test(tcase, test_big_messages_read_back_whole, 0, N_ELEMENTS(big_case));
    tcase_add_test(tcase, test_messages_of_many_records_are_read_in_any_order);
    tcase_add_test(tcase, test_settled_message_is_gone_and_reading_it_says_so);
    tcase_add_test(tcase, test_long_traffic_with_flushes_leaves_the_live_entries);
    tcase_add_test(tcase, test_full_disk_stalls_and_goes_on_when_there_is_room);
    tcase_add_test(tcase,
                   test_database_that_cannot_create_files_waits_and_goes_on);
    tcase_add_test(tcase, test_close_gives_up_while_the_disk_is_full);
    tcase_add_test(tcase, test_killed_process_keeps_its_promises);
    tcase_add_test(tcase, test_torn_tail_of_the_log_costs_only_the_last_commit);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
