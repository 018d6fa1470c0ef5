/*
 * linger.c - closing without destroying what is on its way
 *
 * A socket that is closed while octets of its peer are unread, or still arrive, answers with a
 * reset. The reset fails the peer's next write, and on many systems it discards what the peer has
 * not read yet: connection.close-ok, or the protocol header that refuses it. So our side ends with
 * a FIN, and input is read and dropped until the peer ends too.
 *
 * The connection has been freed by then: it counts against no limit, and a lingering socket costs a
 * descriptor and some 200 octets. A peer that never ends is reset after LINGER_MS. The time is the
 * same for all, so the list is in the order of the deadlines and one timer serves it. The list has
 * at most `max` sockets, so that a flood cannot use up the descriptors.
 */
#include "server/linger.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <utlist.h>

#include "server/loop.h"

enum { RESETS_PER_TURN = 128 };

struct lingerer {
    struct transport transport;
    struct event event;
    struct linger_set *set;
    uint64_t deadline_ms;
    struct lingerer *next, *prev;
};

/* Its transport has been closed. */
static void lingerer_free(struct lingerer *lingerer)
{
    struct linger_set *set = lingerer->set;

    DL_DELETE(set->oldest, lingerer);
    set->count--;
    free(lingerer);
}

static void lingerer_close(struct lingerer *lingerer)
{
    event_del(&lingerer->event);
    transport_close(&lingerer->transport);
    lingerer_free(lingerer);
}

static void lingerer_reset(struct lingerer *lingerer)
{
    event_del(&lingerer->event);
    transport_reset(&lingerer->transport);
    lingerer_free(lingerer);
}

/* One read a wake-up: a peer that floods gets no more of a turn than one that is served. */
static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct lingerer *lingerer = context;
    struct iovec part = { lingerer->set->buffer, lingerer->set->buffer_bytes };
    ssize_t size = transport_read(&lingerer->transport, &part, 1);

    (void)fd;
    (void)what;
    if (size <= 0 && size != -EAGAIN)
        lingerer_close(lingerer);
}

/*
 * Set to the deadline of the oldest, unless it is set already, perhaps too early. On allocation
 * failure the next socket that comes tries again; until then the bound `max` holds.
 */
static void set_timer(struct linger_set *set, uint64_t earliest_ms)
{
    uint64_t due_ms = set->oldest->deadline_ms;

    if (set->timer.place == 0)
        (void)loop_set_timer(set->loop, &set->timer, due_ms > earliest_ms ? due_ms : earliest_ms);
}

/* A flood that came at once is not reset in one turn. */
static void on_deadline(struct timer *timer, uint64_t now_ms)
{
    struct linger_set *set = CONTAINER_OF(timer, struct linger_set, timer);

    for (unsigned i = 0; i < RESETS_PER_TURN; i++) {
        if (!set->oldest || set->oldest->deadline_ms > now_ms)
            break;
        lingerer_reset(set->oldest);
    }
    if (set->oldest)
        set_timer(set, now_ms + 1);
}

void linger_init(struct linger_set *set, struct loop *loop, unsigned max, uint8_t *buffer,
                 size_t buffer_bytes)
{
    assert(max > 0);
    *set = (struct linger_set){ .loop = loop, .max = max, .buffer = buffer,
                               .buffer_bytes = buffer_bytes, .timer.fire = on_deadline };
}

void linger_release(struct linger_set *set)
{
    loop_cancel_timer(set->loop, &set->timer);
    while (set->oldest)
        lingerer_close(set->oldest);
    assert(set->count == 0);
}

static struct lingerer *lingerer_new(struct linger_set *set, int fd)
{
    struct lingerer *lingerer = calloc(1, sizeof *lingerer);

    if (!lingerer)
        return NULL;
    if (event_assign(&lingerer->event, loop_base(set->loop), fd, EV_READ | EV_PERSIST,
                     on_readable, lingerer) ||
        event_add(&lingerer->event, NULL)) {
        free(lingerer);
        return NULL;
    }
    lingerer->set = set;
    lingerer->deadline_ms = loop_now_ms(set->loop) + LINGER_MS;
    return lingerer;
}

void linger_take(struct linger_set *set, struct transport *transport)
{
    struct lingerer *lingerer = NULL;

    if (transport_end(transport) == 0)
        lingerer = lingerer_new(set, transport->fd);
    if (!lingerer) { /* already gone, or memory is out: the peer may see a reset */
        transport_close(transport);
        return;
    }
    lingerer->transport = *transport;
    transport->fd = -1;
    DL_APPEND(set->oldest, lingerer);
    set->count++;
    if (set->count > set->max)
        lingerer_close(set->oldest);
    set_timer(set, 0);
}
