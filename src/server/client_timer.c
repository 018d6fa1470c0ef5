/*
 * client_timer.c - what happens to a client because time passes
 *
 * One timer a client, set to the earliest of four times: the deadline of its handshake or of its
 * leaving, and the three looks at its octet counters.
 *
 * Heartbeats (amqp-0-9-1.md 1.6). Every half interval: if nothing was put out since the last look,
 * a heartbeat is. Every interval: if nothing was received twice in a row, the peer is dead. While
 * the broker has paused the reading the second look finds nothing wrong; nor while the peer does
 * not take our answers, unless there is no send timeout: then taking some counts as a sign of life.
 *
 * The send timeout (tcp_listen_options.send_timeout) runs while output waits for the socket, even
 * if input arrives: a peer that sends heartbeats and reads nothing would hold its output for ever.
 * Progress is what the peer's TCP has acknowledged, for a slow reader may take long to empty a
 * large buffer of the kernel before the socket takes more. It is looked at STALL_CHECKS times a
 * timeout, and only while the socket is full; writing itself costs nothing.
 *
 * A peer that is given up is reset, so that its next write fails instead of looking good.
 */
#include <stdio.h>

#include "server/client-internal.h"
#include "server/log.h"

enum {
    REFUSAL_MS = 3000,  /* 1.7: silent close delay */
    CLOSING_MAX_S = 30, /* 1.7: closing timeout, without a shorter heartbeat */
    STALL_CHECKS = 10,  /* in a row without progress make a send timeout */
};

static const uint64_t SENT_NEVER = UINT64_MAX; /* the first heartbeat is sent whatever was sent */

static uint64_t earliest(uint64_t a_ms, uint64_t b_ms)
{
    if (!a_ms || !b_ms)
        return a_ms ? a_ms : b_ms;
    return a_ms < b_ms ? a_ms : b_ms;
}

void client_set_timer(struct client *client)
{
    uint64_t due_ms = earliest(earliest(client->deadline_ms, client->stall_check_ms),
                               earliest(client->send_check_ms, client->receive_check_ms));

    if (!due_ms)
        loop_cancel_timer(client->set->loop, &client->timer);
    else if (loop_set_timer(client->set->loop, &client->timer, due_ms))
        client_fail(client); /* it cannot be kept without */
}

static void check_sending(struct client *client, uint64_t now_ms)
{
    uint64_t sent = client->output.written_bytes + client->output.bytes;

    client->send_check_ms = now_ms + client->heartbeat_s * 500U;
    if (client->sent_then == SENT_NEVER || (client->sent_then == sent && !client->output.bytes)) {
        client_send_heartbeat(client);
        sent += AMQP_FRAME_OVERHEAD_BYTES;
    }
    client->sent_then = sent;
}

/* Heartbeats may wait in its socket: the send timeout judges a peer that takes no answers. */
static bool client_is_not_heard(const struct client *client)
{
    return (client->stops & CLIENT_STOP_PAUSED) ||
           ((client->stops & CLIENT_STOP_FULL) && client->set->settings.send_timeout_ms);
}

/* False when the peer has been silent for too long. */
static bool check_receiving(struct client *client, uint64_t now_ms)
{
    uint64_t signs = client->received_bytes;

    client->receive_check_ms = now_ms + client->heartbeat_s * 1000U;
    if (client->stops & CLIENT_STOP_FULL)
        signs += client->output.written_bytes;
    if (signs != client->received_then || client_is_not_heard(client)) {
        client->received_then = signs;
        client->silent_checks = 0;
        return true;
    }
    return ++client->silent_checks < 2;
}

static uint64_t taken_bytes(const struct client *client)
{
    return client->output.written_bytes - transport_unacknowledged(&client->transport);
}

static uint64_t next_stall_check(const struct client *client)
{
    unsigned interval_ms = client->set->settings.send_timeout_ms / STALL_CHECKS;

    return loop_now_ms(client->set->loop) + (interval_ms ? interval_ms : 1);
}

void client_watch_output(struct client *client)
{
    if (client->stall_check_ms || !client->set->settings.send_timeout_ms)
        return;
    client->taken_then = taken_bytes(client);
    client->stalled_checks = 0;
    client->stall_check_ms = next_stall_check(client);
    client_set_timer(client);
}

/* False when the peer has taken nothing for too long. */
static bool check_output(struct client *client)
{
    uint64_t taken = taken_bytes(client);

    if (!client->write_blocked) {
        client->stall_check_ms = 0;
        return true;
    }
    client->stall_check_ms = next_stall_check(client);
    if (taken != client->taken_then) {
        client->taken_then = taken;
        client->stalled_checks = 0;
        return true;
    }
    return ++client->stalled_checks < STALL_CHECKS;
}

static void client_lose_stalled(struct client *client)
{
    char detail[128];

    snprintf(detail, sizeof detail,
             ": the client reads nothing, %zu octets wait for it, send timeout: %u ms",
             client->output.bytes, client->set->settings.send_timeout_ms);
    client_log(client, LOG_LEVEL_ERROR, "closing", detail);
    client_give_up(client);
}

static void client_expire(struct client *client)
{
    if (client->state != CLIENT_LEAVING) {
        if (client->protocol_known ||
            !client_log_foreign(client, client->input.data, client->input.size))
            client_log(client, LOG_LEVEL_WARNING, "closing", ": the handshake took too long");
        client_give_up(client);
        return;
    }
    switch (client->how) {
    case CONNECTION_CLOSE_SILENT:
    case CONNECTION_CLOSE_LOST_SYNC:
        client_end(client); /* the peer owes nothing */
        break;
    case CONNECTION_CLOSE_FLUSH:
    case CONNECTION_CLOSE_LINGER:
        client_log(client, client->refused ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "closing",
                   client->how == CONNECTION_CLOSE_LINGER
                       ? ": the client did not answer connection.close in time"
                       : ": the client did not take the last answer in time");
        client_give_up(client);
        break;
    }
}

static void client_lose_silent(struct client *client)
{
    char detail[64];

    snprintf(detail, sizeof detail, ": missed heartbeats from client, timeout: %us",
             client->heartbeat_s);
    client_log(client, LOG_LEVEL_ERROR, "closing", detail);
    client_give_up(client);
}

void client_on_timer(struct timer *timer, uint64_t now_ms)
{
    struct client *client = CONTAINER_OF(timer, struct client, timer);

    if (client->deadline_ms && client->deadline_ms <= now_ms) {
        client_expire(client);
        return;
    }
    if (client->send_check_ms && client->send_check_ms <= now_ms)
        check_sending(client, now_ms);
    if (client->receive_check_ms && client->receive_check_ms <= now_ms &&
        !check_receiving(client, now_ms)) {
        client_lose_silent(client);
        return;
    }
    if (client->stall_check_ms && client->stall_check_ms <= now_ms && !check_output(client)) {
        client_lose_stalled(client);
        return;
    }
    client_set_timer(client);
}

static uint64_t closing_deadline(const struct client *client)
{
    unsigned seconds = CLOSING_MAX_S;

    if (!client->tuned)
        return loop_now_ms(client->set->loop) + REFUSAL_MS; /* 4.4: a login that failed */
    if (client->heartbeat_s && client->heartbeat_s < seconds)
        seconds = client->heartbeat_s;
    return loop_now_ms(client->set->loop) + seconds * 1000U;
}

void client_set_leaving_deadline(struct client *client, bool again)
{
    uint64_t before_ms = again ? client->deadline_ms : 0;

    switch (client->how) {
    case CONNECTION_CLOSE_SILENT:
    case CONNECTION_CLOSE_LOST_SYNC:
        client->deadline_ms = loop_now_ms(client->set->loop) + REFUSAL_MS;
        break;
    case CONNECTION_CLOSE_FLUSH:
    case CONNECTION_CLOSE_LINGER:
        client->deadline_ms = closing_deadline(client);
        break;
    }
    client->deadline_ms = earliest(client->deadline_ms, before_ms);
    if (client->stops & CLIENT_STOP_CLOSED)
        client->receive_check_ms = 0; /* nobody listens */
    client_set_timer(client);
}

void client_expect_signs(struct client *client)
{
    if (!client->receive_check_ms)
        return;
    client->receive_check_ms = loop_now_ms(client->set->loop) + client->heartbeat_s * 1000U;
    client->silent_checks = 0;
    client_set_timer(client);
}

void client_tuned(void *peer, uint32_t frame_max, uint16_t heartbeat_s)
{
    struct client *client = peer;
    uint64_t now_ms = loop_now_ms(client->set->loop);

    client->tuned = true;
    client->frame_max = frame_max;
    client->heartbeat_s = heartbeat_s;
    if (!heartbeat_s) {
        transport_keep_alive(&client->transport); /* nobody else would notice that it has gone */
        return;
    }
    client->sent_then = SENT_NEVER;
    client->received_then = 0; /* tune-ok itself is the first sign of life */
    client->send_check_ms = now_ms + heartbeat_s * 500U;
    client->receive_check_ms = now_ms + heartbeat_s * 1000U;
    client_set_timer(client);
}

void client_opened(void *peer)
{
    struct client *client = peer;

    client->state = CLIENT_OPEN;
    client->deadline_ms = 0;
    client_set_timer(client);
}
