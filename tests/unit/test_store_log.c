/*
 * test_store_log.c - the write-ahead log: what a crash, a failed write and a bad disk leave of it
 *
 * Each test has a directory of its own under TMPDIR. Records say their own number, so that a replay
 * can check what it is given. A crash is imitated on the file: sectors of the last record are put
 * back to what they were, as they are when the machine stops while they are written.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "store/log.h"
#include "temp_directory.h"
#include "unit.h"

#define SEGMENT_BYTES (1u << 20)
#define SECTOR_BYTES 512u
#define RECORD_BYTES_MAX (3u << 20)
#define HEAD_BYTES 72u        /* of a segment */
#define RECORD_HEAD_BYTES 32u
#define LARGE_BYTES (SEGMENT_BYTES / 16) /* 15 of them fill a segment */

static char top[256];
static char directory[280]; /* of the log: files beside it belong to it, too */
static struct store_log *wal;
static struct store_fault fault;
static uint64_t n_replayed;
static uint64_t last_replayed;

static void setup(void)
{
    temp_directory_make_small(top, sizeof top);
    (void)snprintf(directory, sizeof directory, "%s/log", top);
}

static void teardown(void)
{
    store_log_close(wal);
    wal = NULL;
    temp_directory_remove(top);
}

/* ---- records that say their number ---- */

static uint8_t octet_of(uint64_t number, uint64_t generation, size_t at)
{
    return (uint8_t)(number * 31 + generation * 7 + at);
}

static void append_generation(uint64_t generation, size_t size)
{
    static uint8_t data[RECORD_BYTES_MAX];
    uint64_t number = store_log_next(wal);

    for (size_t i = 0; i < size; i++)
        data[i] = octet_of(number, generation, i);
    ck_assert_msg(store_log_append(wal, (struct amqp_bytes){ data, size }, &fault) == 0, "%s",
                  fault.text);
    ck_assert_int_eq(store_log_sync(wal, &fault), 0);
}

static void append(size_t size)
{
    append_generation(0, size);
}

struct expectation {
    uint64_t generation;
    uint64_t from; /* number of the first record of that generation; those before are of 0 */
};

static int on_record(void *context, uint64_t number, struct amqp_bytes record)
{
    const struct expectation *expected = context;
    uint64_t generation = expected && number >= expected->from ? expected->generation : 0;

    ck_assert(n_replayed == 0 || number == last_replayed + 1);
    for (size_t i = 0; i < record.size; i++)
        if (record.data[i] != octet_of(number, generation, i)) /* an assertion for each is slow */
            ck_abort_msg("octet %zu of record %llu", i, (unsigned long long)number);
    n_replayed++;
    last_replayed = number;
    return 0;
}

static int open_only(bool synced)
{
    const struct store_log_settings settings = { SEGMENT_BYTES, synced, NULL };

    return store_log_open(directory, &settings, &fault, &wal);
}

static int try_open(bool synced, uint64_t after, struct expectation *expected)
{
    int rc;

    store_log_close(wal);
    wal = NULL;
    n_replayed = 0;
    last_replayed = 0;
    rc = open_only(synced);
    return rc ? rc : store_log_replay(wal, after, on_record, expected, &fault);
}

static void open_log(uint64_t after)
{
    fault.text[0] = '\0';
    ck_assert_msg(try_open(true, after, NULL) == 0, "%s", fault.text);
}

/* ---- files ---- */

static unsigned count_files(const char *suffix)
{
    DIR *files = opendir(directory);
    struct dirent *file;
    unsigned n = 0;

    ck_assert_ptr_nonnull(files);
    while ((file = readdir(files)))
        if (strlen(file->d_name) > strlen(suffix) &&
            strcmp(file->d_name + strlen(file->d_name) - strlen(suffix), suffix) == 0)
            n++;
    (void)closedir(files);
    return n;
}

static void segment_path(char *path, size_t size, unsigned serial)
{
    (void)snprintf(path, size, "%s/%016x.log", directory, serial);
}

struct image {
    uint8_t *data;
    size_t size;
};

static struct image load(unsigned serial)
{
    char path[400];
    struct stat status;
    struct image image;
    int fd;

    segment_path(path, sizeof path, serial);
    fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    image = (struct image){ malloc((size_t)status.st_size), (size_t)status.st_size };
    ck_assert_ptr_nonnull(image.data);
    ck_assert_int_eq(read(fd, image.data, image.size), (ssize_t)image.size);
    (void)close(fd);
    return image;
}

static void save(unsigned serial, struct image image)
{
    char path[400];
    int fd;

    segment_path(path, sizeof path, serial);
    fd = open(path, O_WRONLY | O_TRUNC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, image.data, image.size), (ssize_t)image.size);
    (void)close(fd);
}

static void flip(unsigned serial, size_t at)
{
    struct image image = load(serial);

    image.data[at] ^= 0x10;
    save(serial, image);
    free(image.data);
}

/* ---- the normal path ---- */

START_TEST(test_records_come_back_in_order_over_restarts)
{
    open_log(0);
    ck_assert_uint_eq(n_replayed, 0);
    ck_assert_uint_eq(store_log_next(wal), 1);
    for (size_t i = 0; i < 50; i++)
        append(i * 13);
    open_log(0);
    ck_assert_uint_eq(n_replayed, 50);
    ck_assert_uint_eq(store_log_next(wal), 51);
    for (size_t i = 0; i < 50; i++)
        append(1000);
    open_log(20);
    ck_assert_uint_eq(n_replayed, 80);
    ck_assert_uint_eq(last_replayed, 100);
    open_log(100);
    ck_assert_uint_eq(n_replayed, 0);
    ck_assert_uint_eq(store_log_next(wal), 101);
}
END_TEST

START_TEST(test_replaying_twice_in_one_process_gives_the_same)
{
    open_log(0);
    for (unsigned i = 0; i < 10; i++)
        append(100);
    n_replayed = 0;
    ck_assert_int_eq(store_log_replay(wal, 4, on_record, NULL, &fault), 0);
    ck_assert_uint_eq(n_replayed, 6);
    append(100);
    open_log(0);
    ck_assert_uint_eq(n_replayed, 11);
}
END_TEST

static int refuse(void *context, uint64_t number, struct amqp_bytes record)
{
    (void)context;
    (void)record;
    return number == 2 ? -ENOMEM : 0;
}

START_TEST(test_what_a_visitor_returns_ends_the_replay)
{
    open_log(0);
    for (unsigned i = 0; i < 3; i++)
        append(10);
    store_log_close(wal);
    ck_assert_int_eq(open_only(true), 0);
    ck_assert_int_eq(store_log_replay(wal, 0, refuse, NULL, &fault), -ENOMEM);
    ck_assert_int_eq(store_log_replay(wal, 2, refuse, NULL, &fault), 0);
    ck_assert_uint_eq(store_log_next(wal), 4);
}
END_TEST

/* Released segments become spares and are used again: there are never more files than needed. */
START_TEST(test_released_segments_are_used_again)
{
    open_log(0);
    for (unsigned i = 1; i <= 200; i++) {
        append(LARGE_BYTES - 100);
        if (i % 10 == 0)
            store_log_release(wal, store_log_next(wal) - 20);
        ck_assert_uint_le(count_files(".log"), 4);
        ck_assert_uint_le(count_files(".spare"), 3);
    }
    open_log(181);
    ck_assert_uint_eq(n_replayed, 19);
    ck_assert_uint_eq(last_replayed, 200);
    store_log_release(wal, 200);
    append(10);
    store_log_release(wal, 200);
    ck_assert_uint_eq(count_files(".log"), 1);
    open_log(200);
    ck_assert_uint_eq(n_replayed, 1);
}
END_TEST

/* A spare holds old records where the new ones end. */
START_TEST(test_old_records_of_a_used_segment_are_not_found)
{
    open_log(0);
    for (unsigned i = 0; i < 40; i++)
        append(LARGE_BYTES);
    store_log_release(wal, 39);
    ck_assert_uint_gt(count_files(".spare"), 0);
    for (unsigned i = 0; i < 14; i++)
        append(LARGE_BYTES);
    open_log(39);
    ck_assert_uint_eq(n_replayed, 15);
    ck_assert_uint_eq(last_replayed, 54);
}
END_TEST

/* Somebody has tidied up; or the spare was renamed, and only the sync of its directory failed. */
START_TEST(test_spare_that_is_gone_is_done_without)
{
    char command[400];

    open_log(0);
    for (unsigned i = 0; i < 60; i++)
        append(LARGE_BYTES);
    store_log_release(wal, 59);
    ck_assert_uint_eq(count_files(".spare"), 3);
    (void)snprintf(command, sizeof command, "rm %s/*.spare", directory);
    ck_assert_int_eq(system(command), 0);
    while (store_log_next(wal) < 80)
        append(LARGE_BYTES);
    open_log(59);
    ck_assert_uint_eq(last_replayed, 79);
}
END_TEST

START_TEST(test_huge_record_has_a_segment_of_its_own)
{
    open_log(0);
    append(10);
    append(RECORD_BYTES_MAX);
    append(10);
    append(RECORD_BYTES_MAX);
    open_log(0);
    ck_assert_uint_eq(n_replayed, 4);
}
END_TEST

START_TEST(test_other_files_are_left_alone)
{
    char path[400];
    int fd;

    open_log(0);
    (void)snprintf(path, sizeof path, "%s/notes.txt", directory);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    open_log(0);
    append(10);
    open_log(0);
    ck_assert_uint_eq(n_replayed, 1);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

/* ---- the machine stops ---- */

static const size_t torn_case[] = { 0, 1, 100, 488, 489, 2000, 100000 };

/* Any of the sectors that the last record touches may be new or old. */
START_TEST(test_torn_record_is_dropped_and_those_before_stay)
{
    struct image before, after, torn;
    size_t sectors[512];
    size_t n_sectors = 0;

    open_log(0);
    for (unsigned i = 0; i < 5; i++)
        append(300);
    before = load(1);
    append(torn_case[_i]);
    after = load(1);
    ck_assert_uint_eq(before.size, after.size);
    for (size_t at = 0; at < after.size; at += SECTOR_BYTES)
        if (memcmp(before.data + at, after.data + at, SECTOR_BYTES) != 0)
            sectors[n_sectors++] = at;
    ck_assert_uint_gt(n_sectors, 0);
    torn = (struct image){ malloc(after.size), after.size };
    ck_assert_ptr_nonnull(torn.data);
    for (unsigned round = 0; round < 64; round++) {
        bool whole = true;

        memcpy(torn.data, before.data, torn.size);
        for (size_t i = 0; i < n_sectors; i++) {
            bool written = round == 0 ? false : round == 1 ? true : rand() % 4 != 0;

            if (written)
                memcpy(torn.data + sectors[i], after.data + sectors[i], SECTOR_BYTES);
            whole = whole && written;
        }
        save(1, torn);
        open_log(0);
        ck_assert_uint_eq(n_replayed, whole ? 6 : 5);
    }
    append(50); /* goes to a new segment, whatever is left in the old one */
    open_log(0);
    ck_assert_uint_eq(last_replayed, store_log_next(wal) - 1);
    ck_assert_uint_ge(n_replayed, 6);
    free(before.data);
    free(after.data);
    free(torn.data);
}
END_TEST

/* An unsynced log may lose anything behind a point; nothing behind a hole is handed out. */
START_TEST(test_unsynced_log_ends_at_its_first_hole)
{
    ck_assert_int_eq(try_open(false, 0, NULL), 0);
    for (unsigned i = 0; i < 40; i++)
        append(LARGE_BYTES);
    flip(2, 500);
    ck_assert_int_eq(try_open(false, 0, NULL), 0);
    ck_assert_uint_eq(n_replayed, 15);
    ck_assert_uint_eq(store_log_next(wal), 16);
    append_generation(1, 77);
    ck_assert_int_eq(try_open(false, 0, &(struct expectation){ 1, 16 }), 0);
    ck_assert_uint_eq(n_replayed, 16);
}
END_TEST

/* ---- the disk lies ---- */

START_TEST(test_damaged_record_before_good_ones_is_told)
{
    const size_t record_bytes = RECORD_HEAD_BYTES + 40;
    struct image image;
    unsigned told = 0;

    open_log(0);
    for (unsigned i = 0; i < 3; i++)
        append(40);
    store_log_close(wal);
    wal = NULL;
    image = load(1);
    for (size_t at = HEAD_BYTES; at < HEAD_BYTES + 3 * record_bytes; at++) {
        int rc;

        flip(1, at);
        rc = try_open(true, 0, NULL);
        if (at < HEAD_BYTES + 2 * record_bytes) { /* the first or the second of three; the last one may be torn */
            ck_assert_int_eq(rc, -EBADMSG);
            ck_assert_ptr_nonnull(strstr(fault.text, "0000000000000001.log is damaged at record"));
            told++;
        } else {
            ck_assert_int_eq(rc, 0);
            ck_assert_uint_eq(n_replayed, 2);
        }
        save(1, image);
    }
    ck_assert_uint_eq(told, 2 * record_bytes);
    open_log(0);
    ck_assert_uint_eq(n_replayed, 3);
    free(image.data);
}
END_TEST

START_TEST(test_lost_end_of_a_segment_is_told)
{
    struct image image;

    open_log(0);
    for (unsigned i = 0; i < 40; i++)
        append(LARGE_BYTES);
    image = load(1);
    image.size /= 2;
    save(1, image);
    free(image.data);
    ck_assert_int_eq(try_open(true, 0, NULL), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(fault.text, "0000000000000001.log ends with record 7, but"));
    ck_assert_int_eq(try_open(true, 15, NULL), 0);
}
END_TEST

START_TEST(test_damaged_head_is_told)
{
    open_log(0);
    append(10);
    for (size_t at = 0; at < HEAD_BYTES; at++) {
        flip(1, at);
        ck_assert_int_eq(try_open(true, 0, NULL), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(fault.text, "0000000000000001.log has no valid head"));
        flip(1, at);
    }
    open_log(0);
    ck_assert_uint_eq(n_replayed, 1);
}
END_TEST

/* ---- something is missing ---- */

static void refused(uint64_t after, const char *text)
{
    ck_assert_int_eq(try_open(true, after, NULL), -EBADMSG);
    ck_assert_msg(strstr(fault.text, text) != NULL, "%s", fault.text);
    ck_assert_ptr_nonnull(strstr(fault.text, "log.accept-loss"));
}

static void close_log(void)
{
    store_log_close(wal);
    wal = NULL;
}

static void move(const char *from, const char *to)
{
    char source[400], target[400];

    (void)snprintf(source, sizeof source, "%s/%s", top, from);
    (void)snprintf(target, sizeof target, "%s/%s", top, to);
    ck_assert_int_eq(rename(source, target), 0);
}

static void accept_loss(void)
{
    char path[400];
    int fd;

    (void)snprintf(path, sizeof path, "%s.accept-loss", directory);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
}

/* What RocksDB has was in the log before; a log that was not synced may have lost its end. */
START_TEST(test_end_below_what_the_database_has_is_told)
{
    open_log(0);
    for (unsigned i = 0; i < 10; i++)
        append(100);
    open_log(10);
    refused(11, "0000000000000001.log is damaged at record 11, and record 11 was written");
    close_log();
    temp_directory_remove(top);
    ck_assert_int_eq(mkdir(top, 0700), 0);
    ck_assert_int_eq(try_open(false, 0, NULL), 0);
    append(100);
    ck_assert_int_eq(try_open(false, 11, NULL), 0);
    ck_assert_uint_eq(store_log_next(wal), 12);
}
END_TEST

/* The record that is damaged is not needed, but those behind it are. */
START_TEST(test_damaged_record_that_the_database_has_is_told)
{
    open_log(0);
    for (unsigned i = 0; i < 5; i++)
        append(40);
    close_log();
    flip(1, HEAD_BYTES + 80);
    refused(3, "0000000000000001.log is damaged at record 2, and record 5 was written");
}
END_TEST

START_TEST(test_lost_files_are_told)
{
    open_log(0);
    for (unsigned i = 0; i < 40; i++)
        append(LARGE_BYTES);
    close_log();
    move("log/0000000000000003.log", "aside");
    refused(0, "0000000000000003.log is missing");
    move("aside", "log/0000000000000003.log");
    move("log/0000000000000002.log", "aside");
    refused(15, "0000000000000001.log ends with record 15, but the next file begins with record 31");
    move("log/0000000000000001.log", "aside.first");
    refused(15, "0000000000000003.log begins with record 31, and the file with record 16 before it");
    open_log(30); /* they are not needed then */
    move("aside.first", "log/0000000000000001.log");
    move("aside", "log/0000000000000002.log");
    move("log", "aside");
    refused(0, "0000000000000003.log is missing");
    move("log.last", "aside.last");
    refused(1, "is missing, and so are all others, but record 1 was written");
    open_log(0); /* with nothing left, it is a new one */
}
END_TEST

/* Where a file ends tells something, too: it grows in steps, ahead of its records. */
START_TEST(test_file_that_is_cut_at_a_record_is_told)
{
    char path[400];

    open_log(0);
    for (unsigned i = 0; i < 5; i++)
        append(1000);
    close_log();
    segment_path(path, sizeof path, 1);
    ck_assert_int_eq(truncate(path, (off_t)(HEAD_BYTES + 3 * (RECORD_HEAD_BYTES + 1000))), 0);
    refused(0, "0000000000000001.log is damaged: it was longer");
}
END_TEST

START_TEST(test_orderly_end_is_noted)
{
    char path[400];

    open_log(0);
    for (unsigned i = 0; i < 5; i++)
        append(1000);
    store_log_finish(wal);
    close_log();
    segment_path(path, sizeof path, 1);
    ck_assert_int_eq(truncate(path, 0), 0);
    refused(3, "0000000000000001.log has no valid head");
    ck_assert_int_eq(unlink(path), 0);
    refused(3, "0000000000000001.log is missing");
    open_log(5); /* the database has everything */
    ck_assert_uint_eq(store_log_next(wal), 6);
    append(1000);
    close_log();
    segment_path(path, sizeof path, 2);
    ck_assert_int_eq(unlink(path), 0);
    refused(5, "0000000000000002.log is missing");
}
END_TEST

/* Its last records are overwritten with zeros, as if they had never been written. */
START_TEST(test_orderly_end_is_where_the_log_ends)
{
    struct image image;

    open_log(0);
    for (unsigned i = 0; i < 5; i++)
        append(1000);
    store_log_finish(wal);
    close_log();
    image = load(1);
    memset(image.data + HEAD_BYTES + 3 * (RECORD_HEAD_BYTES + 1000), 0, 2 * 1032);
    save(1, image);
    free(image.data);
    refused(0, "0000000000000001.log is damaged at record 4, and record 5 was written");
}
END_TEST

/* What is not on the disk for certain is not said to be there, before the database has it. */
START_TEST(test_end_is_noted_only_when_nothing_before_it_is_uncertain)
{
    struct image image;

    ck_assert_int_eq(try_open(false, 0, NULL), 0);
    for (unsigned i = 0; i < 5; i++)
        append(1000);
    store_log_restart(wal, 6); /* a sync has failed: records 1 to 5 may be missing */
    append(1000);
    store_log_finish(wal);
    close_log();
    image = load(2);
    memset(image.data + HEAD_BYTES, 0, 1032);
    save(2, image);
    free(image.data);
    ck_assert_msg(try_open(false, 0, NULL) == 0, "%s", fault.text);
    ck_assert_uint_eq(last_replayed, 5);

    append(1000);
    store_log_restart(wal, 7);
    store_log_release(wal, 5);
    append(1000);
    store_log_finish(wal); /* number 6 is uncertain */
    store_log_release(wal, 6);
    store_log_finish(wal);
    close_log();
    image = load(4);
    memset(image.data + HEAD_BYTES, 0, 1032);
    save(4, image);
    free(image.data);
    ck_assert_int_eq(try_open(false, 6, NULL), -EBADMSG);
    ck_assert_msg(strstr(fault.text, "is damaged at record 7, and record 7 was written"), "%s",
                  fault.text);
}
END_TEST

START_TEST(test_spares_are_given_back)
{
    open_log(0);
    for (unsigned i = 0; i < 50; i++)
        append(LARGE_BYTES);
    store_log_release(wal, 45);
    ck_assert_uint_gt(count_files(".spare"), 0);
    store_log_drop_spares(wal);
    ck_assert_uint_eq(count_files(".spare"), 0);
    for (unsigned i = 0; i < 50; i++)
        append(LARGE_BYTES);
    open_log(45);
    ck_assert_uint_eq(last_replayed, 100);
}
END_TEST

static unsigned n_notices;

static void on_notice(void *context, const char *text)
{
    (void)context;
    (void)text;
    n_notices++;
}

START_TEST(test_accepted_loss_keeps_what_can_be_read)
{
    static const struct store_observer observer = { NULL, NULL, on_notice };
    const struct store_log_settings settings = { SEGMENT_BYTES, true, &observer };

    open_log(0);
    for (unsigned i = 0; i < 50; i++)
        append(LARGE_BYTES);
    close_log();
    flip(2, HEAD_BYTES + 2 * (RECORD_HEAD_BYTES + LARGE_BYTES) + 100); /* in record 18 */
    refused(0, "0000000000000002.log is damaged at record 18");
    accept_loss();
    close_log();
    n_replayed = 0;
    ck_assert_int_eq(store_log_open(directory, &settings, &fault, &wal), 0);
    ck_assert_int_eq(store_log_replay(wal, 5, on_record, NULL, &fault), 0);
    ck_assert_uint_eq(last_replayed, 17);
    ck_assert_uint_eq(n_notices, 2);
    ck_assert_uint_eq(count_files(".log.damaged"), 2);
    open_log(0); /* once and for all */
    ck_assert_uint_eq(last_replayed, 17);
    append_generation(1, 100);
    ck_assert_int_eq(try_open(true, 0, &(struct expectation){ 1, 18 }), 0);
    ck_assert_uint_eq(last_replayed, 18);
    flip(1, HEAD_BYTES + 50);
    ck_assert_int_eq(try_open(true, 0, NULL), -EBADMSG); /* it counted once */
}
END_TEST

/* ---- the first format ---- */

static void put_u64le(uint8_t *to, uint64_t value)
{
    value = htole64(value);
    memcpy(to, &value, sizeof value);
}

/*
 * A segment of the first format with one record, and behind its end octets that anybody could have
 * put into a message: at each place a head that claims to hold the rest of the file.
 */
static struct image make_old_segment(size_t size)
{
    static const uint8_t body[16] = "from a former";
    const uint64_t seed[3] = { htole64(1), htole64(1), htole64(sizeof body) };
    struct image image = { calloc(1, size), size };
    uint8_t *data = image.data;

    ck_assert_ptr_nonnull(data);
    memcpy(data + 8, "LVLOG001", 8);
    put_u64le(data + 16, 1);
    put_u64le(data + 24, 1);
    put_u64le(data + 32, 1);
    put_u64le(data, XXH3_64bits(data + 8, 32));
    put_u64le(data + 48, 1);
    put_u64le(data + 56, sizeof body);
    memcpy(data + 64, body, sizeof body);
    put_u64le(data + 40, XXH3_64bits_withSeed(body, sizeof body, XXH3_64bits(seed, sizeof seed)));
    for (size_t at = 80; at + 8 <= size; at += 8)
        put_u64le(data + at, 3000);
    return image;
}

static int accept_any(void *context, uint64_t number, struct amqp_bytes record)
{
    (void)context;
    (void)number;
    (void)record;
    return 0;
}

static int count_record(void *context, uint64_t number, struct amqp_bytes record)
{
    ck_assert_uint_eq(number, 1);
    ck_assert_str_eq((const char *)record.data, "from a former");
    (*(unsigned *)context)++;
    return 0;
}

/* 500,000 false heads of 2 MB on average are a TB: minutes, without a bound. */
START_TEST(test_false_heads_of_the_first_format_cost_a_bounded_time)
{
    struct image image = make_old_segment(4 << 20);
    unsigned n = 0;
    clock_t begun;
    int fd;
    char path[400];

    for (size_t at = 80; at + 8 <= image.size; at += 8)
        put_u64le(image.data + at, at / 8 % 2 ? 3000 : image.size / 2);
    open_log(0);
    close_log();
    segment_path(path, sizeof path, 1);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    save(1, image);
    free(image.data);
    begun = clock();
    ck_assert_int_eq(open_only(true), 0);
    ck_assert_msg(store_log_replay(wal, 0, count_record, &n, &fault) == 0, "%s", fault.text);
    ck_assert_uint_eq(n, 1);
    ck_assert_int_lt((clock() - begun) / CLOCKS_PER_SEC, 5);
    append(10);
    close_log();
    ck_assert_int_eq(open_only(true), 0);
    ck_assert_int_eq(store_log_replay(wal, 0, accept_any, &n, &fault), 0);
    ck_assert_uint_eq(store_log_next(wal), 3);
}
END_TEST

/* ---- writing fails ---- */

static void limit_file_size(rlim_t bytes)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)temp_limit(RLIMIT_FSIZE, bytes);
}

START_TEST(test_failed_record_is_written_again_in_a_new_segment)
{
    static uint8_t data[200000];
    uint64_t failed;

    open_log(0);
    for (unsigned i = 0; i < 5; i++)
        append(1000);
    failed = store_log_next(wal);
    limit_file_size(100000);
    ck_assert_int_eq(store_log_append(wal, (struct amqp_bytes){ data, sizeof data }, &fault),
                     -EFBIG);
    ck_assert_ptr_nonnull(strstr(fault.text, "cannot write the log in"));
    store_log_restart(wal, failed);
    ck_assert_int_eq(store_log_append(wal, (struct amqp_bytes){ data, sizeof data }, &fault),
                     -EFBIG); /* now it is the new segment that cannot be made */
    ck_assert_ptr_nonnull(strstr(fault.text, "cannot begin a segment"));
    store_log_restart(wal, failed);
    limit_file_size(RLIM_INFINITY);
    append(1000);
    open_log(0);
    ck_assert_uint_eq(n_replayed, 6);
}
END_TEST

/* A sync that failed: the record is in the file all the same, and must not count any more. */
START_TEST(test_record_given_up_does_not_come_back)
{
    open_log(0);
    for (unsigned i = 0; i < 5; i++)
        append(1000);
    append_generation(3, 2000);
    store_log_restart(wal, 6);
    n_replayed = 0;
    ck_assert_int_eq(store_log_replay(wal, 0, on_record, NULL, &fault), 0);
    ck_assert_uint_eq(n_replayed, 5);
    append(500);
    append(500);
    open_log(0);
    ck_assert_uint_eq(n_replayed, 7);
}
END_TEST

START_TEST(test_directory_that_cannot_be_made_is_told)
{
    (void)snprintf(directory, sizeof directory, "/proc/nowhere/log");
    ck_assert_int_eq(open_only(true), -ENOENT);
    ck_assert_ptr_nonnull(strstr(fault.text, "/proc/nowhere/log"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_records_come_back_in_order_over_restarts);
    tcase_add_test(tcase, test_replaying_twice_in_one_process_gives_the_same);
    tcase_add_test(tcase, test_what_a_visitor_returns_ends_the_replay);
    tcase_add_test(tcase, test_released_segments_are_used_again);
    tcase_add_test(tcase, test_old_records_of_a_used_segment_are_not_found);
    tcase_add_test(tcase, test_spare_that_is_gone_is_done_without);
    tcase_add_test(tcase, test_huge_record_has_a_segment_of_its_own);
    tcase_add_test(tcase, test_other_files_are_left_alone);
    tcase_add_loop_test(tcase, test_torn_record_is_dropped_and_those_before_stay, 0,
                        N_ELEMENTS(torn_case));
    tcase_add_test(tcase, test_unsynced_log_ends_at_its_first_hole);
    tcase_add_test(tcase, test_damaged_record_before_good_ones_is_told);
    tcase_add_test(tcase, test_lost_end_of_a_segment_is_told);
    tcase_add_test(tcase, test_damaged_head_is_told);
    tcase_add_test(tcase, test_end_below_what_the_database_has_is_told);
    tcase_add_test(tcase, test_damaged_record_that_the_database_has_is_told);
    tcase_add_test(tcase, test_lost_files_are_told);
    tcase_add_test(tcase, test_file_that_is_cut_at_a_record_is_told);
    tcase_add_test(tcase, test_orderly_end_is_noted);
    tcase_add_test(tcase, test_orderly_end_is_where_the_log_ends);
    tcase_add_test(tcase, test_end_is_noted_only_when_nothing_before_it_is_uncertain);
    tcase_add_test(tcase, test_spares_are_given_back);
    tcase_add_test(tcase, test_accepted_loss_keeps_what_can_be_read);
    tcase_add_test(tcase, test_false_heads_of_the_first_format_cost_a_bounded_time);
    tcase_add_test(tcase, test_failed_record_is_written_again_in_a_new_segment);
    tcase_add_test(tcase, test_record_given_up_does_not_come_back);
    tcase_add_test(tcase, test_directory_that_cannot_be_made_is_told);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
