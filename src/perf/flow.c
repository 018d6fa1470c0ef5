/*
 * flow.c - producers and consumers in one thread, at as little cost as can be
 *
 * The program shares its machine with the broker, so what it spends distorts what it measures.
 * A producer encodes a block of messages once; sending is a write() from somewhere in that block,
 * and the number of bytes written says how many messages have left. A consumer walks the frames
 * in one large buffer that all connections share; only the partial frame at its end is set aside.
 *
 * Every body of 8 bytes or more begins with its producer's number and its place in the block.
 * Where a queue has one consumer, that is enough to see any message lost, doubled or overtaken,
 * at no cost to the producer. 8 more bytes carry a time, from which latency is counted. With a rate
 * it is when the message was due, so a stall is charged to every message that it held up. Without
 * one it is when the message was written, and one message of each write has it, drawn by chance;
 * the others have 0.
 *
 * The run is over when all is published, confirmed and consumed; then the last deliveries are
 * acknowledged and every channel is closed, which a broker answers only after it has handled
 * them, and the server's counters are read.
 */
#include "flow-internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 64 };

enum { QUIET_S = 1 }; /* without an expected number, deliveries have ended after this long */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    if (interrupted++)
        _exit(130); /* asked twice: without a summary, and without cleaning up */
}

bool flow_interrupted(void)
{
    return interrupted;
}

void flow_other_method(struct flow *flow, const struct wire_frame *frame)
{
    uint32_t id = frame->size >= 4 ? wire_get32(frame->payload) : 0;
    char text[320];

    switch (id) {
    case CHANNEL_CLOSE:
    case CONNECTION_CLOSE:
        wire_describe_close(frame, text, sizeof text);
        wire_fail("%s", text);
    case CONNECTION_BLOCKED:
        (void)snprintf(flow->blocked, sizeof flow->blocked, "; publishing is blocked: %.*s",
                       frame->size >= 5 ? (int)frame->payload[4] : 0,
                       (const char *)frame->payload + 5);
        return;
    case CONNECTION_UNBLOCKED:
        flow->blocked[0] = '\0';
        return;
    case BASIC_CANCEL:
        wire_fail("the broker cancelled a consumer");
    case BASIC_RETURN:
        wire_fail("a publish was returned: no queue takes it");
    default:
        wire_fail("unexpected method %u.%u", id >> 16, id & 0xffff);
    }
}

void flow_watch(struct flow *flow, struct link *link, uint32_t interest)
{
    struct epoll_event event = { .events = interest, .data.ptr = link };

    if (link->interest == interest)
        return;
    if (epoll_ctl(flow->epoll_fd, link->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, link->client.fd,
                  &event))
        wire_fail("epoll: %s", strerror(errno));
    link->interest = interest;
}

/* ---- the loop ---- */

static void link_receive(struct flow *flow, struct link *link)
{
    struct wire_buf *partial = &link->client.in;
    size_t at = 0, size = partial->size;
    struct wire_frame frame;
    enum wire_scan scan;
    uint64_t now_ns;
    ssize_t n;

    if (size)
        memcpy(flow->receive, partial->data, size);
    n = recv(link->client.fd, flow->receive + size, RECEIVE_BYTES, MSG_DONTWAIT);
    if (n == 0)
        wire_fail("the broker closed a connection without a word");
    if (n < 0 && errno != EAGAIN)
        wire_fail("receive: %s", strerror(errno));
    size += n > 0 ? (size_t)n : 0;
    flow->moved += n > 0 ? (size_t)n : 0;
    now_ns = usage_now_ns();
    while ((scan = wire_scan(flow->receive + at, size - at, &frame)) == WIRE_SCAN_FRAME) {
        if (link->role == ROLE_CONSUMER)
            consumer_frame(flow, (struct consumer *)link, &frame, now_ns);
        else
            producer_frame(flow, (struct producer *)link, &frame, now_ns);
        at += frame.size + WIRE_OVERHEAD;
    }
    if (scan == WIRE_SCAN_BAD)
        wire_fail("the broker sent a frame without its end octet");
    if (size - at >= PARTIAL_BYTES)
        wire_fail("the broker sent a frame larger than was agreed");
    partial->size = 0;
    wire_reserve(partial, size - at);
    if (size - at)
        memcpy(partial->data, flow->receive + at, size - at);
    partial->size = size - at;
}

static void link_event(struct flow *flow, struct link *link, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        link_receive(flow, link);
    if (link->role == ROLE_CONSUMER)
        consumer_flush(flow, (struct consumer *)link);
    else
        producer_send(flow, (struct producer *)link);
}

static uint64_t flow_expected(const struct flow *flow)
{
    const struct settings *settings = flow->settings;

    if (!settings->consumers)
        return 0;
    if (!settings->producers)
        return settings->count;
    return (flow->sent - flow->nacked) * flow->route.copies;
}

static bool flow_done(const struct flow *flow)
{
    const struct settings *settings = flow->settings;
    unsigned i;

    for (i = 0; i < settings->producers; i++) {
        const struct producer *producer = &flow->producers[i];

        if (producer->queued != producer->sent ||
            (!flow->stopped && producer->queued < producer->limit))
            return false;
    }
    if (settings->confirm_window && flow->confirmed < flow->sent)
        return false;
    if (!settings->producers)
        return flow->stopped || (settings->count && flow->consumed >= settings->count);
    if (settings->consumers && !flow->route.copies)
        return flow->now_ns - flow->progress_ns >= QUIET_S * UINT64_C(1000000000);
    return flow->consumed >= flow_expected(flow);
}

static void begin_measuring(struct flow *flow, uint64_t now_ns)
{
    flow->measuring = true;
    flow->base.sent = flow->sent;
    flow->base.confirmed = flow->confirmed;
    flow->base.nacked = flow->nacked;
    flow->base.consumed = flow->consumed;
    flow->base.consumed_bytes = flow->consumed_bytes;
    usage_reset_peak(&flow->settings->server);
    usage_sample(&flow->settings->server, &flow->result->before);
    flow->begin_cpu_us = usage_self_cpu_us();
    flow->begin_ns = now_ns;
    if (flow->settings->seconds > 0)
        flow->stop_ns = now_ns + (uint64_t)(flow->settings->seconds * 1e9);
}

static void check_clock(struct flow *flow, uint64_t start_ns)
{
    uint64_t now_ns = usage_now_ns();
    struct counters counters = { flow->sent, flow->confirmed, flow->consumed };

    flow->now_ns = now_ns;
    if (interrupted)
        flow->stopped = true;
    if (!flow->measuring && (double)(now_ns - start_ns) >= flow->settings->warmup_s * 1e9)
        begin_measuring(flow, now_ns);
    if (flow->stop_ns && now_ns >= flow->stop_ns)
        flow->stopped = true;
    if (flow->moved != flow->progress_moved) {
        flow->progress_moved = flow->moved;
        flow->progress_ns = now_ns;
    }
    meter_tick(flow->meter, &counters, now_ns, false);
    if (now_ns - flow->progress_ns > (uint64_t)flow->settings->address.timeout_s * 1000000000u)
        wire_fail("nothing moved for %u s: %llu published, %llu confirmed, %llu consumed of %llu%s",
                  flow->settings->address.timeout_s, (unsigned long long)flow->sent,
                  (unsigned long long)flow->confirmed, (unsigned long long)flow->consumed,
                  (unsigned long long)flow_expected(flow), flow->blocked);
}

static uint64_t shorter(uint64_t wait_ns, uint64_t due_ns, uint64_t now_ns)
{
    if (due_ns <= now_ns)
        return 0;
    return due_ns - now_ns < wait_ns ? due_ns - now_ns : wait_ns;
}

/* How long epoll may sleep: until a message or an acknowledgement is due, at most 100 ms. */
static struct timespec next_wait(struct flow *flow)
{
    uint64_t wait_ns = 100000000, now_ns = 0;
    unsigned i;

    if (flow->interval_ns || flow->work_ns)
        now_ns = usage_now_ns();
    for (i = 0; flow->interval_ns && !flow->stopped && i < flow->settings->producers; i++)
        if (producer_allowance(flow, &flow->producers[i]))
            wait_ns = shorter(wait_ns, flow->producers[i].due_ns, now_ns);
    for (i = 0; flow->work_ns && i < flow->settings->consumers; i++)
        if (flow->consumers[i].worked < flow->consumers[i].tag)
            wait_ns = shorter(wait_ns, flow->consumers[i].due_ns, now_ns);
    return (struct timespec){ .tv_nsec = (long)wait_ns };
}

static void send_due(struct flow *flow)
{
    uint64_t now_ns = usage_now_ns();
    unsigned i;

    for (i = 0; i < flow->settings->producers; i++) {
        struct producer *producer = &flow->producers[i];

        if (producer->due_ns > now_ns)
            continue;
        producer_release_due(flow, producer, now_ns);
        producer_send(flow, producer);
    }
}

/* In nanoseconds where the kernel can (Linux 5.11), else in milliseconds, rounded up. */
static int wait_events(struct flow *flow, struct epoll_event *events, const struct timespec *wait)
{
    int n = epoll_pwait2(flow->epoll_fd, events, EVENTS, wait, NULL);

    if (n < 0 && errno == ENOSYS)
        n = epoll_wait(flow->epoll_fd, events, EVENTS, (int)((wait->tv_nsec + 999999) / 1000000));
    return n;
}

static void run_loop(struct flow *flow)
{
    uint64_t start_ns = usage_now_ns();
    struct epoll_event events[EVENTS];
    struct timespec wait;
    int i, n;

    flow->progress_ns = start_ns;
    for (i = 0; i < (int)flow->settings->producers; i++)
        flow->producers[i].due_ns =
            start_ns + flow->interval_ns * (unsigned)i / flow->settings->producers;
    check_clock(flow, start_ns);
    for (i = 0; i < (int)flow->settings->consumers; i++) /* what came right behind consume-ok */
        link_event(flow, &flow->consumers[i].link, EPOLLIN);
    while (!flow_done(flow)) {
        wait = next_wait(flow);
        n = wait_events(flow, events, &wait);
        if (n < 0 && errno != EINTR)
            wire_fail("epoll: %s", strerror(errno));
        for (i = 0; i < n; i++)
            link_event(flow, events[i].data.ptr, events[i].events);
        if (flow->interval_ns)
            send_due(flow);
        for (i = 0; flow->work_ns && i < (int)flow->settings->consumers; i++)
            consumer_work(flow, &flow->consumers[i], usage_now_ns());
        check_clock(flow, start_ns);
    }
    if (!flow->measuring)
        wire_fail("the run ended during its warm-up");
    if (flow->route.copies && flow->consumed > flow_expected(flow))
        wire_fail("%llu deliveries of %llu messages", (unsigned long long)flow->consumed,
                  (unsigned long long)flow_expected(flow));
}

/* ---- before and after ---- */

/* From the blocking client to the loop: what was received behind the last answer stays. */
static void link_hand_over(struct flow *flow, struct link *link)
{
    struct wire_buf *in = &link->client.in;

    in->size -= link->client.in_at;
    if (in->size)
        memmove(in->data, in->data + link->client.in_at, in->size);
    link->client.in_at = 0;
    flow_watch(flow, link, link->role == ROLE_PRODUCER ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void flow_connect(struct flow *flow)
{
    const struct settings *settings = flow->settings;
    unsigned i;

    flow->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    flow->producers = calloc(settings->producers + 1u, sizeof *flow->producers);
    flow->consumers = calloc(settings->consumers + 1u, sizeof *flow->consumers);
    if (flow->epoll_fd < 0 || !flow->producers || !flow->consumers)
        wire_fail("out of memory or descriptors");
    for (i = 0; i < settings->consumers; i++)
        consumer_start(flow, i);
    for (i = 0; i < settings->producers; i++)
        producer_start(flow, i);
    for (i = 0; i < settings->consumers; i++)
        link_hand_over(flow, &flow->consumers[i].link);
    for (i = 0; i < settings->producers; i++)
        link_hand_over(flow, &flow->producers[i].link);
}

/* The broker answers channel.close after it has handled all that came before it. */
static void flow_settle(struct flow *flow)
{
    unsigned i;

    for (i = 0; i < flow->settings->consumers; i++) {
        struct consumer *consumer = &flow->consumers[i];
        struct wire_buf *out = &consumer->link.client.out;

        if (flow->settings->ack_every && consumer->tag > consumer->acked)
            consumer_append_ack(consumer, consumer->tag);
        out->size -= consumer->out_at;
        if (out->size)
            memmove(out->data, out->data + consumer->out_at, out->size);
        client_close_channel(&consumer->link.client);
    }
    for (i = 0; i < flow->settings->producers; i++)
        client_close_channel(&flow->producers[i].link.client);
}

static void flow_release(struct flow *flow)
{
    unsigned i;

    for (i = 0; i < flow->settings->consumers; i++) {
        client_close(&flow->consumers[i].link.client);
        free(flow->consumers[i].next_index);
    }
    for (i = 0; i < flow->settings->producers; i++) {
        client_close(&flow->producers[i].link.client);
        free(flow->producers[i].block);
        free(flow->producers[i].starts);
        free(flow->producers[i].body_starts);
        free(flow->producers[i].done);
        free(flow->producers[i].publishes);
    }
    free(flow->consumers);
    free(flow->producers);
    free(flow);
}

void flow_catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal }; /* no restart: calls must return */

    if (sigaction(SIGINT, &action, NULL) || sigaction(SIGTERM, &action, NULL))
        wire_fail("sigaction: %s", strerror(errno));
}

/* How many messages a block has: what fits, in whole cycles of the routing keys. */
static unsigned block_messages(const struct settings *settings, struct route route)
{
    uint64_t mean = ((uint64_t)settings->body_bytes.least + settings->body_bytes.most) / 2;
    unsigned count = (unsigned)(BLOCK_BYTES / (mean + 64));

    if (count < VARIED_MESSAGES && settings->body_bytes.least < settings->body_bytes.most)
        count = VARIED_MESSAGES; /* a range of sizes takes some, however large */
    count += route.stride - 1;
    count -= count % route.stride;
    return count ? count : 1;
}

static void flow_init(struct flow *flow, const struct settings *settings,
                      struct flow_result *result, struct meter *meter)
{
    flow->settings = settings;
    flow->result = result;
    flow->meter = meter;
    flow->route = topology_route(settings);
    flow->block_messages = block_messages(settings, flow->route);
    for (flow->span = 2; flow->span < 4 * settings->confirm_window;)
        flow->span *= 2;
    if (settings->rate > 0)
        flow->interval_ns = (uint64_t)(1e9 * settings->producers / settings->rate);
    flow->stamped = settings->producers && settings->body_bytes.least >= BODY_STAMPED;
    flow->body_checked = settings->body_bytes.least >= BODY_INDEXED &&
                         (flow->route.ordered || flow->stamped);
    flow->body_least = flow->route.copies ? settings->body_bytes.least : 0;
    flow->body_most = flow->route.copies ? settings->body_bytes.most : UINT64_MAX;
    if (settings->consumer_rate > 0)
        flow->work_ns = (uint64_t)(1e9 * settings->consumers / settings->consumer_rate);
}

/* When the run was over: not when the quiet was that showed it. */
static uint64_t end_of(const struct flow *flow)
{
    const struct settings *settings = flow->settings;
    bool quiet_end = settings->producers && settings->consumers && !flow->route.copies;

    return quiet_end && flow->progress_ns > flow->begin_ns ? flow->progress_ns : usage_now_ns();
}

void flow_run(const struct settings *settings, struct flow_result *ret_result)
{
    static struct meter meter;
    struct flow *flow = calloc(1, sizeof *flow);
    struct counters counters;
    uint64_t end_ns;

    if (!flow)
        wire_fail("out of memory");
    flow_init(flow, settings, ret_result, &meter);
    (void)prctl(PR_SET_TIMERSLACK, 1L, 0L, 0L, 0L); /* only a rate's evenness depends on it */
    flow_catch_signals();
    flow_connect(flow);
    meter = (struct meter){
        .unit = "published", .interval_s = settings->interval_s, .quiet = settings->quiet,
        .latency_ns = &ret_result->deliver_ns, .fallback_ns = &ret_result->confirm_ns,
        .series = &ret_result->series, .start_ns = usage_now_ns(),
    };
    meter.last_ns = meter.start_ns;
    run_loop(flow);
    end_ns = end_of(flow);
    ret_result->client_cpu_us = usage_self_cpu_us() - flow->begin_cpu_us;
    counters = (struct counters){ flow->sent, flow->confirmed, flow->consumed };
    meter_tick(&meter, &counters, end_ns > meter.last_ns ? end_ns : meter.last_ns, true);
    flow_settle(flow);
    if (!settings->consumers && !settings->confirm_window)
        end_ns = usage_now_ns(); /* only the channel's end shows that all has been taken in */
    usage_sample(&settings->server, &ret_result->after);
    ret_result->wall_s = (double)(end_ns - flow->begin_ns) / 1e9;
    ret_result->interrupted = interrupted;
    ret_result->published = flow->sent - flow->base.sent;
    ret_result->confirmed = flow->confirmed - flow->base.confirmed;
    ret_result->nacked = flow->nacked - flow->base.nacked;
    ret_result->consumed = flow->consumed - flow->base.consumed;
    ret_result->consumed_bytes = flow->consumed_bytes - flow->base.consumed_bytes;
    if (settings->producers)
        ret_result->body_bytes = (double)flow->block_body_bytes /
                                 ((double)flow->block_messages * settings->producers);
    flow_release(flow);
}
