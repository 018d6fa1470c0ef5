/*
 * client.c - the life of one socket
 *
 *   accept -> handshake -> open -> leaving -> gone
 *
 * What comes in is handled by client_input.c, what goes out is put into the output by
 * client_send.c, and client_timer.c watches the clock. The output is flushed once at the end of a
 * turn. When the socket takes no more, the rest waits for it, and the bounds of client-internal.h
 * stop first the deliveries, then the reading. connection_set_congested(true) is called from within
 * deliver(): it only sets a flag that is looked at before the next delivery.
 *
 * There are four ways to leave (enum connection_close_how). Once all has been written, our side of
 * the socket ends and linger.c reads on until the peer's side does. While the broker still waits,
 * for an answer or for the end of a silence, input is handled or dropped, but always read: a peer
 * that has gone is noticed and does not hold a descriptor until the deadline.
 *
 * A client is freed only from its own events, its timer or its flush, never from within a call of
 * the broker.
 */
#include "server/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "server/client-internal.h"
#include "server/log.h"

/*
 * One line about a client, as RabbitMQ writes it: VERB <0.N.0> (NAME)DETAIL. Tools match the form
 * of an Erlang process id; N counts the connections.
 */
void client_log(const struct client *client, enum log_level level, const char *verb,
                       const char *detail)
{
    char who[32];

    if (!log_enabled(LOG_CONNECTION, level))
        return;
    snprintf(who, sizeof who, "<0.%llu.0>", (unsigned long long)client->number);
    log_write(LOG_CONNECTION, level, who, "%s AMQP connection %s (%s)%s", verb, who,
              connection_name(client->connection), detail);
}

/* All but the socket and the client itself: nothing calls it any more. */
static void client_detach(struct client *client)
{
    connection_free(client->connection); /* first: it may still call us */
    loop_cancel_timer(client->set->loop, &client->timer);
    loop_cancel_timer(client->set->loop, &client->paused_timer);
    loop_work_cancel(&client->flush_work);
    loop_work_cancel(&client->resume_work);
    if (client->read_event_on)
        event_del(&client->read_event);
    if (client->write_event_on)
        event_del(&client->write_event);
}

/* It is detached, and its socket closed or moved. */
static void client_free(struct client *client)
{
    struct client_set *set = client->set;

    output_clear(&client->output);
    free(client->input.data);
    DL_DELETE(set->clients, client);
    set->count--;
    loop_again(set->loop); /* what it held goes to others */
    free(client);
}

void client_drop(struct client *client)
{
    client_detach(client);
    transport_close(&client->transport);
    client_free(client);
}

void client_give_up(struct client *client)
{
    client_detach(client);
    transport_reset(&client->transport);
    client_free(client);
}

static void client_log_end(struct client *client)
{
    bool told = client->refused || client->how == CONNECTION_CLOSE_LOST_SYNC;

    client_log(client, told ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "closing", "");
}

void client_end(struct client *client)
{
    client_log_end(client);
    client_drop(client);
}

/* All has been written: only the socket stays, until the peer closes it too. */
static void client_linger(struct client *client)
{
    client_log_end(client);
    client_detach(client);
    linger_take(&client->set->lingering, &client->transport);
    client_free(client);
}

/* Leaving, and the peer has ended its stream: what is queued is written, nothing is waited for. */
static void client_peer_ended(struct client *client)
{
    if (!client->output.bytes) {
        client_end(client);
        return;
    }
    client->peer_ended = true;
    client_update_events(client);
}

void client_lost(struct client *client, int error)
{
    char detail[128] = ": client unexpectedly closed TCP connection";

    if (client->state == CLIENT_LEAVING) {
        if (error)
            client_end(client);
        else
            client_peer_ended(client);
        return;
    }
    if (error)
        snprintf(detail, sizeof detail, ": %s", strerror(-error));
    if (!client->protocol_known &&
        client_log_foreign(client, client->input.data, client->input.size)) {
        client_drop(client);
        return;
    }
    /* A probe of the port sends nothing; nobody wants to read of every one. */
    client_log(client, client->protocol_known ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "closing",
               detail);
    client_drop(client);
}

void client_fail(struct client *client)
{
    client->output.failed = true;
    client->stops |= CLIENT_STOP_CLOSED;
    loop_flush_later(client->set->loop, &client->flush_work);
    loop_again(client->set->loop);
}

static void set_event(struct client *client, struct event *event, bool *on, bool wanted)
{
    if (*on == wanted)
        return;
    if (wanted && event_add(event, NULL))
        client_fail(client); /* it would never be woken again */
    else if (!wanted)
        event_del(event);
    *on = wanted;
}

/* It waits for what comes: to handle it, or to drop it and see the end. */
static bool client_reads(const struct client *client)
{
    return !client->peer_ended && (!client->stops || (client->stops & CLIENT_STOP_CLOSED));
}

void client_update_events(struct client *client)
{
    unsigned wants = transport_wants(&client->transport);
    bool write_needs_read = client->write_blocked && (wants & TRANSPORT_WANTS_READABLE);

    set_event(client, &client->read_event, &client->read_event_on,
              client_reads(client) || write_needs_read);
    set_event(client, &client->write_event, &client->write_event_on,
              (client->write_blocked && !write_needs_read) || (wants & TRANSPORT_WANTS_WRITABLE));
}

/* ---- writing ---- */

void client_output_is_high(struct client *client)
{
    if (!client->congested) {
        client->congested = true;
        connection_set_congested(client->connection, true);
    }
    if (client->output.bytes < CLIENT_OUTPUT_FULL_BYTES || (client->stops & CLIENT_STOP_FULL))
        return;
    client->stops |= CLIENT_STOP_FULL;
    client_update_events(client);
}

static void client_output_is_low(struct client *client)
{
    if (client->congested) {
        client->congested = false;
        connection_set_congested(client->connection, false);
        loop_again(client->set->loop); /* the broker may have more for it */
    }
    if (client->stops & CLIENT_STOP_FULL) {
        client->stops &= ~(unsigned)CLIENT_STOP_FULL;
        loop_defer(client->set->loop, &client->resume_work);
    }
}

/* False when the client is gone. */
static bool client_flush(struct client *client)
{
    int rc = client->output.failed ? -ENOMEM : output_flush(&client->output, &client->transport);

    client->write_blocked = rc == -EAGAIN;
    if (rc && rc != -EAGAIN) {
        client_lost(client, rc);
        return false;
    }
    if (rc == 0 && client->peer_ended) {
        client_end(client);
        return false;
    }
    if (rc == 0 && client->state == CLIENT_LEAVING && client->how == CONNECTION_CLOSE_FLUSH) {
        client_linger(client);
        return false;
    }
    if (client->write_blocked)
        client_watch_output(client);
    if (client->output.bytes <= CLIENT_OUTPUT_LOW_BYTES)
        client_output_is_low(client);
    client_update_events(client);
    return true;
}

static void on_flush(struct loop_work *work)
{
    client_flush(CONTAINER_OF(work, struct client, flush_work));
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;
    bool for_write = client->write_blocked &&
                     (transport_wants(&client->transport) & TRANSPORT_WANTS_READABLE);

    (void)fd;
    (void)what;
    loop_enter(client->set->loop);
    if (for_write && !client_flush(client))
        return;
    if (client_reads(client))
        client_read(client);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;
    bool for_read = transport_wants(&client->transport) & TRANSPORT_WANTS_WRITABLE;

    (void)fd;
    (void)what;
    loop_enter(client->set->loop);
    if (client->write_blocked && !client_flush(client))
        return;
    if (for_read && client_reads(client))
        client_read(client);
}

/* ---- what the broker wants ---- */

void client_pause(void *peer, bool paused)
{
    struct client *client = peer;

    if (client->state == CLIENT_LEAVING)
        return; /* nothing that it sends has an effect any more */
    if (paused) {
        client->stops |= CLIENT_STOP_PAUSED;
        client_watch_paused(client);
        client_update_events(client);
        return;
    }
    client->stops &= ~(unsigned)CLIENT_STOP_PAUSED;
    client_expect_signs(client);
    loop_defer(client->set->loop, &client->resume_work);
}

/* Close-ok is waited for, which may be behind what a pause has set aside. */
static void client_read_again(struct client *client)
{
    if (!(client->stops & CLIENT_STOP_PAUSED))
        return;
    client->stops &= ~(unsigned)CLIENT_STOP_PAUSED;
    loop_defer(client->set->loop, &client->resume_work);
}

void client_leave(void *peer, enum connection_close_how how)
{
    struct client *client = peer;
    bool again = client->state == CLIENT_LEAVING;

    client->refused = client->refused || client->state == CLIENT_HANDSHAKE;
    client->state = CLIENT_LEAVING;
    client->how = how;
    if (how == CONNECTION_CLOSE_LINGER) {
        client_read_again(client);
    } else {
        client->stops |= CLIENT_STOP_CLOSED;
        free(client->input.data);
        client->input = (struct client_input){ 0 };
    }
    client_set_leaving_deadline(client, again);
    client_update_events(client);
    if (!client->write_blocked)
        loop_flush_later(client->set->loop, &client->flush_work);
}

/* ---- accepting ---- */

/* Text and port of an address; IPv4 that came through an IPv6 socket is written as IPv4. */
static uint16_t address_print(const struct sockaddr *address, char text[INET6_ADDRSTRLEN],
                              bool *ret_loopback)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    struct in_addr mapped;

    if (address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN);
        *ret_loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
        return ntohs(v4->sin_port);
    }
    assert(address->sa_family == AF_INET6);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        memcpy(&mapped, v6->sin6_addr.s6_addr + 12, sizeof mapped);
        inet_ntop(AF_INET, &mapped, text, INET6_ADDRSTRLEN);
        *ret_loopback = ntohl(mapped.s_addr) >> 24 == 127;
    } else {
        inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
        *ret_loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    }
    return ntohs(v6->sin6_port);
}

static int client_make_connection(struct client *client, const struct sockaddr *peer)
{
    char peer_host[INET6_ADDRSTRLEN], host[INET6_ADDRSTRLEN];
    struct sockaddr_storage local = { 0 };
    socklen_t size = sizeof local;
    struct connection_origin origin = { .peer_host = peer_host, .host = host };
    bool ignored;

    if (getsockname(client->transport.fd, (struct sockaddr *)&local, &size))
        return -errno;
    origin.peer_port = address_print(peer, peer_host, &origin.loopback);
    origin.port = address_print((struct sockaddr *)&local, host, &ignored);
    return connection_new(client->set->broker, &client_ops, client, &origin, &client->connection);
}

static void set_buffer_size(int fd, int option, uint32_t bytes)
{
    int size = (int)bytes;

    if (size)
        (void)setsockopt(fd, SOL_SOCKET, option, &size, sizeof size); /* the kernel cuts it */
}

static void set_socket_options(const struct client_settings *settings, int fd)
{
    int on = 1;

    /* A socket that refuses an option still works, only slower to send or to notice a lost peer. */
    if (settings->nodelay)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (settings->keepalive)
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    set_buffer_size(fd, SO_SNDBUF, settings->sndbuf_bytes);
    set_buffer_size(fd, SO_RCVBUF, settings->recbuf_bytes);
}

static void count_accept(struct client_set *set)
{
    uint64_t turn = loop_turn_number(set->loop);

    if (set->accept_turn != turn)
        set->accepted_in_it = 0;
    set->accept_turn = turn;
    set->accepted_in_it++;
}

bool client_set_may_accept(const struct client_set *set)
{
    return set->accept_turn != loop_turn_number(set->loop) ||
           set->accepted_in_it < BOUND_ACCEPTS_A_TURN;
}

int client_set_accept(struct client_set *set, int fd, const struct sockaddr *peer)
{
    struct client *client = calloc(1, sizeof *client);
    int rc = -ENOMEM;

    loop_enter(set->loop);
    count_accept(set);
    if (!client) {
        close(fd);
        return -ENOMEM;
    }
    set_socket_options(&set->settings, fd);
    client->set = set;
    client->number = set->accepted + 1;
    client->timer.fire = client_on_timer;
    client->paused_timer.fire = client_on_paused_timer;
    client->flush_work.run = on_flush;
    client->resume_work.run = client_resume;
    transport_init_tcp(&client->transport, fd);
    output_init(&client->output, &set->pool);
    if (!event_assign(&client->read_event, loop_base(set->loop), fd, EV_READ | EV_PERSIST,
                      on_readable, client) &&
        !event_assign(&client->write_event, loop_base(set->loop), fd, EV_WRITE | EV_PERSIST,
                      on_writable, client))
        rc = client_make_connection(client, peer);
    if (rc) {
        transport_close(&client->transport);
        free(client);
        return rc;
    }
    set->accepted++;
    set->count++;
    DL_APPEND(set->clients, client);
    client->deadline_ms = loop_now_ms(set->loop) + set->settings.handshake_timeout_ms;
    client_set_timer(client);
    client_update_events(client);
    return 0;
}

/* ---- the set ---- */

int client_set_new(struct loop *loop, struct broker *broker,
                   const struct client_settings *settings, struct client_set **ret_set)
{
    struct client_set *set = calloc(1, sizeof *set);

    if (!set)
        return -ENOMEM;
    set->loop = loop;
    set->broker = broker;
    set->settings = *settings;
    set->receive_buffer = malloc(CLIENT_RECEIVE_BYTES);
    if (!set->receive_buffer) {
        free(set);
        return -ENOMEM;
    }
    linger_init(&set->lingering, loop, settings->lingering_max, set->receive_buffer,
                CLIENT_RECEIVE_BYTES);
    *ret_set = set;
    return 0;
}

void client_set_free(struct client_set *set)
{
    if (!set)
        return;
    if (set->clients)
        loop_enter(set->loop);
    while (set->clients)
        client_drop(set->clients);
    linger_release(&set->lingering);
    output_pool_release(&set->pool);
    free(set->receive_buffer);
    free(set);
}

unsigned client_set_count(const struct client_set *set)
{
    return set->count;
}

void client_set_force_close(struct client_set *set, int code, const char *text)
{
    struct client *client;

    loop_enter(set->loop);
    DL_FOREACH(set->clients, client)
        connection_force_close(client->connection, code, text);
}
