/*
 * client_paused.c - noticing that the peer of a client that is not read has gone
 *
 * While the broker has paused a client its socket is not read, so neither its end nor its silence is
 * seen. An alarm can pause a publisher for hours, and what it holds meanwhile (unfinished messages,
 * exclusive queues) may be what keeps the alarm raised. So a paused client's socket is looked at once
 * in a second or two, which costs no more than a system call, and none for short pauses.
 *
 * A connection that was reset is dropped at once: there is nothing to be read any more. After a mere
 * end of the stream (a half-closed peer looks the same) what came before it may still be read when
 * the pause ends soon; ENDED_LOOKS_MAX looks later it is dropped with that, of which nothing was
 * confirmed.
 *
 * A peer whose machine has gone leaves no trace on the socket. Heartbeats that we send find out (the
 * kernel gives up sending); without heartbeats the kernel probes the peer itself.
 */
#include <errno.h>

#include "server/client-internal.h"

enum {
    LOOK_MS = 1000,
    LOOK_SPREAD_MS = 1000, /* an alarm pauses all at once: they do not look all at once */
    ENDED_LOOKS_MAX = 5,
};

static void look_again(struct client *client)
{
    uint64_t due_ms =
        loop_now_ms(client->set->loop) + LOOK_MS + client->number % LOOK_SPREAD_MS;

    if (loop_set_timer(client->set->loop, &client->paused_timer, due_ms))
        client_fail(client); /* its end would never be seen */
}

void client_watch_paused(struct client *client)
{
    if (client->paused_timer_on)
        return;
    client->paused_timer_on = true;
    client->ended_looks = 0;
    look_again(client);
}

void client_on_paused_timer(struct timer *timer, uint64_t now_ms)
{
    struct client *client = CONTAINER_OF(timer, struct client, paused_timer);

    (void)now_ms;
    if (!(client->stops & CLIENT_STOP_PAUSED) || client->state == CLIENT_LEAVING) {
        client->paused_timer_on = false;
        return;
    }
    switch (transport_peer(&client->transport)) {
    case TRANSPORT_PEER_THERE:
        break;
    case TRANSPORT_PEER_ENDED:
        if (++client->ended_looks < ENDED_LOOKS_MAX)
            break;
        client_lost(client, 0);
        return;
    case TRANSPORT_PEER_LOST:
        client_lost(client, -ECONNRESET);
        return;
    }
    look_again(client);
}
