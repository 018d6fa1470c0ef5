/*
 * readers.c - reading messages back, record by record
 *
 * Each reader has a list of its own and takes all of it at once, in order of place: a record is some
 * hundred KiB, so messages that are wanted in no order cost one record for each that is wanted, not
 * one for each message. What it reads it keeps until a message of another record is wanted; large
 * messages are handed over instead of copied. When the database is lost, readers wait for the end.
 *
 * The lists of reads themselves are used by the memory store too, which has no threads.
 */
#include "store/readers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#define RETRY_MS 100

struct reader {
    struct store_readers *readers;
    pthread_t thread;
    pthread_cond_t changed;
    struct store_readings waiting;
    /* the thread's own */
    uint64_t record; /* what `data` holds; 0: nothing (records count from 1) */
    uint8_t *data;
    size_t size;
};

struct store_readers {
    struct store_backend *backend;
    struct store_waker *waker;
    pthread_mutex_t lock;
    struct store_readings done;
    bool stop;
    unsigned n_threads;
    struct reader threads[];
};

void store_readings_push(struct store_readings *readings, struct store_reading *reading)
{
    reading->next = NULL;
    if (readings->first)
        readings->last->next = reading;
    else
        readings->first = reading;
    readings->last = reading;
}

void store_reading_free(struct store_reading *reading)
{
    free(reading->memory);
    free(reading);
}

void store_readings_free(struct store_readings *readings)
{
    while (readings->first) {
        struct store_reading *reading = readings->first;

        readings->first = reading->next;
        store_reading_free(reading);
    }
}

void store_reading_fetch(struct store_reading *reading, struct store_backend *backend)
{
    uint8_t key[STORE_KEY_RECORD_BYTES];
    size_t size;

    store_put_u64be(key, store_record_of(reading->location));
    reading->error = backend->ops->get(backend, STORE_FAMILY_MESSAGES,
                                       (struct amqp_bytes){ key, sizeof key }, &reading->memory,
                                       &size);
    if (reading->error == 0)
        reading->error = store_record_message((struct amqp_bytes){ reading->memory, size },
                                              store_index_of(reading->location),
                                              &reading->message);
}

static void reader_forget(struct reader *reader)
{
    free(reader->data);
    reader->data = NULL;
    reader->record = 0;
}

/* Get the record into the reader: 0 or -errno. Waits while the database is lost. */
static int reader_load(struct reader *reader, uint64_t record)
{
    struct store_readers *readers = reader->readers;
    const struct timespec pause = { .tv_nsec = RETRY_MS * 1000000 };
    uint8_t key[STORE_KEY_RECORD_BYTES];
    int rc;

    if (reader->record == record)
        return 0;
    reader_forget(reader);
    store_put_u64be(key, record);
    for (;;) {
        bool stop;

        rc = readers->backend->ops->get(readers->backend, STORE_FAMILY_MESSAGES,
                                        (struct amqp_bytes){ key, sizeof key }, &reader->data,
                                        &reader->size);
        if (rc != -EAGAIN)
            break;
        (void)pthread_mutex_lock(&readers->lock);
        stop = readers->stop;
        (void)pthread_mutex_unlock(&readers->lock);
        if (stop)
            return -EIO;
        (void)nanosleep(&pause, NULL); /* the process ends soon */
    }
    if (rc == 0)
        reader->record = record;
    else
        reader->data = NULL;
    return rc;
}

static int reader_fetch(struct reader *reader, struct store_reading *reading)
{
    int rc = reader_load(reader, store_record_of(reading->location));

    if (rc == 0)
        rc = store_record_message((struct amqp_bytes){ reader->data, reader->size },
                                  store_index_of(reading->location), &reading->message);
    if (rc)
        return rc;
    if (reading->message.size > STORE_LARGE_BYTES) {
        reading->memory = TAKE(reader->data);
        reader->record = 0;
        return 0;
    }
    reading->memory = malloc(reading->message.size ? reading->message.size : 1);
    if (!reading->memory)
        return -ENOMEM;
    if (reading->message.size > 0)
        memcpy(reading->memory, reading->message.data, reading->message.size);
    reading->message.data = reading->memory;
    return 0;
}

static void readings_append(struct store_readings *to, struct store_readings *from)
{
    if (!from->first)
        return;
    if (to->first)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    *from = (struct store_readings){ 0 };
}

static int compare_places(const struct store_reading *a, const struct store_reading *b)
{
    return (a->location > b->location) - (a->location < b->location);
}

/* A queue that is read from its head asks in order of place already. */
static void sort_by_place(struct store_readings *readings)
{
    struct store_reading *reading = readings->first;

    while (reading->next && reading->location <= reading->next->location)
        reading = reading->next;
    if (!reading->next)
        return;
    LL_SORT(readings->first, compare_places);
    for (reading = readings->first; reading->next;)
        reading = reading->next;
    readings->last = reading;
}

static void *reader_main(void *argument)
{
    struct reader *reader = argument;
    struct store_readers *readers = reader->readers;

    (void)pthread_mutex_lock(&readers->lock);
    while (!readers->stop) {
        struct store_readings taken = reader->waiting;
        struct store_reading *reading;

        if (!taken.first) {
            (void)pthread_cond_wait(&reader->changed, &readers->lock);
            continue;
        }
        reader->waiting = (struct store_readings){ 0 };
        (void)pthread_mutex_unlock(&readers->lock);
        sort_by_place(&taken);
        for (reading = taken.first; reading; reading = reading->next)
            reading->error = reader_fetch(reader, reading);
        (void)pthread_mutex_lock(&readers->lock);
        readings_append(&readers->done, &taken);
        store_waker_wake(readers->waker);
    }
    (void)pthread_mutex_unlock(&readers->lock);
    reader_forget(reader);
    return NULL;
}

int store_readers_start(struct store_backend *backend, unsigned n_threads,
                        struct store_waker *waker, struct store_readers **ret_readers)
{
    struct store_readers *readers =
        calloc(1, sizeof *readers + n_threads * sizeof readers->threads[0]);
    int rc = 0;

    if (!readers)
        return -ENOMEM;
    readers->backend = backend;
    readers->waker = waker;
    (void)pthread_mutex_init(&readers->lock, NULL); /* glibc's cannot fail */
    while (readers->n_threads < n_threads) {
        struct reader *reader = &readers->threads[readers->n_threads];

        reader->readers = readers;
        (void)pthread_cond_init(&reader->changed, NULL); /* likewise */
        rc = pthread_create(&reader->thread, NULL, reader_main, reader);
        if (rc) {
            (void)pthread_cond_destroy(&reader->changed);
            store_readers_stop(readers);
            return -rc;
        }
        readers->n_threads++;
    }
    *ret_readers = readers;
    return 0;
}

void store_readers_submit(struct store_readers *readers, struct store_reading *reading)
{
    struct reader *reader =
        &readers->threads[store_record_of(reading->location) % readers->n_threads];

    (void)pthread_mutex_lock(&readers->lock);
    store_readings_push(&reader->waiting, reading);
    (void)pthread_mutex_unlock(&readers->lock);
    (void)pthread_cond_signal(&reader->changed);
}

void store_readers_collect(struct store_readers *readers, struct store_readings *readings)
{
    (void)pthread_mutex_lock(&readers->lock);
    readings_append(readings, &readers->done);
    (void)pthread_mutex_unlock(&readers->lock);
}

void store_readers_stop(struct store_readers *readers)
{
    unsigned i;

    (void)pthread_mutex_lock(&readers->lock);
    readers->stop = true;
    for (i = 0; i < readers->n_threads; i++)
        (void)pthread_cond_signal(&readers->threads[i].changed);
    (void)pthread_mutex_unlock(&readers->lock);
    for (i = 0; i < readers->n_threads; i++) {
        (void)pthread_join(readers->threads[i].thread, NULL);
        (void)pthread_cond_destroy(&readers->threads[i].changed);
        store_readings_free(&readers->threads[i].waiting);
    }
    store_readings_free(&readers->done);
    (void)pthread_mutex_destroy(&readers->lock);
    free(readers);
}
