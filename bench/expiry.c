/*
 * expiry.c - a million messages with a million different times to live: do they go on time?
 *
 * Usage: expiry PORT COUNT. Publishes COUNT persistent messages that live for 20 to 60 s each, at
 * random, to a durable queue, then asks for the queue's length every 5 ms until it is empty. The
 * due times are known, so the length tells which message is the oldest that is still there: how
 * long it has been due is the lateness. One line on standard output; status 1 when one look found
 * a message more than 50 ms late. The broker's memory is for the caller to look at meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "perf/wire.h"

enum { LIFE_MIN_MS = 20000, LIFE_SPREAD_MS = 40000, WINDOW = 2000, BURST = 200 };
enum { LOOK_EVERY_MS = 5, LATE_MS = 50, COUNT_MAX = 100000000 };

static const char queue[] = "bench.expiry";

static double now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with these arguments */
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void put(struct client *client, double *ret_due_ms)
{
    unsigned life_ms = LIFE_MIN_MS + (unsigned)(drand48() * LIFE_SPREAD_MS);
    uint8_t body[12] = { 0 };
    char expiration[16];

    (void)snprintf(expiration, sizeof expiration, "%u", life_ms);
    *ret_due_ms = now_ms() + life_ms;
    wire_put_message(&client->out,
                     &(struct wire_message){ .exchange = "",
                                             .routing_key = queue,
                                             .body = body,
                                             .body_size = sizeof body,
                                             .expiration = expiration,
                                             .priority = -1,
                                             .persistent = true },
                     client->frame_max);
}

static void fill(struct client *client, double *due_ms, uint64_t count)
{
    uint64_t sent = 0, confirmed = 0;
    struct wire_frame ack;

    client_put_confirm_select(client);
    client_call(client, CONFIRM_SELECT_OK);
    while (confirmed < count) {
        while (sent < count && sent - confirmed < WINDOW) {
            for (unsigned i = 0; i < BURST && sent < count; i++)
                put(client, &due_ms[sent++]);
            client_flush(client);
        }
        client_expect(client, BASIC_ACK, &ack);
        confirmed = wire_get64(ack.payload + 4);
    }
}

static uint64_t length(struct client *client)
{
    struct wire_frame ok;

    client_put_queue_declare(client, queue, &(struct wire_queue){ .durable = true });
    client_flush(client);
    client_expect(client, QUEUE_DECLARE_OK, &ok);
    return wire_get32(ok.payload + 5 + ok.payload[4]); /* behind the name */
}

int main(int argc, char **argv)
{
    const struct timespec pause = { .tv_nsec = LOOK_EVERY_MS * 1000000 };
    struct client_address address = { .host = "127.0.0.1", .user = "guest", .password = "guest",
                                      .vhost = "/", .timeout_s = 120 };
    uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0, left = count;
    double *due_ms, asked_ms, late_ms = 0, begun_ms = now_ms();
    struct client client;

    if (count == 0 || count > COUNT_MAX)
        wire_fail("usage: expiry PORT COUNT, with 1 to %d messages", COUNT_MAX);
    address.port = (unsigned)strtoul(argv[1], NULL, 10);
    due_ms = malloc(count * sizeof *due_ms);
    if (!due_ms)
        wire_fail("out of memory");
    client_open(&client, &address);
    (void)length(&client);
    fill(&client, due_ms, count);
    printf("%llu messages in %.1f s; ", (unsigned long long)count, (now_ms() - begun_ms) / 1e3);
    (void)fflush(stdout);
    qsort(due_ms, count, sizeof *due_ms, compare);
    while (left) {
        (void)nanosleep(&pause, NULL);
        asked_ms = now_ms();
        left = length(&client);
        if (left && asked_ms - due_ms[count - left] > late_ms)
            late_ms = asked_ms - due_ms[count - left];
    }
    printf("the latest was %.1f ms late\n", late_ms);
    client_put_queue_delete(&client, queue);
    client_call(&client, QUEUE_DELETE_OK);
    client_close(&client);
    free(due_ms);
    return late_ms > LATE_MS;
}
