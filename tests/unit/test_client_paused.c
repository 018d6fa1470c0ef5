/*
 * test_client_paused.c - the end of a peer whose octets are not read is noticed all the same
 */
#include <netinet/tcp.h>

#include "tests/unit/client_fixture.h"

enum { LOOK_MS_MAX = 2000 };

static void pause_client(void)
{
    open_client(BOUND_FRAME_MAX_BYTES, 0);
    connection->ops->pause(connection->peer, true);
}

/* Octets that nobody reads for now. */
static void send_unread_frame(void)
{
    uint8_t frame[64];
    size_t size = (size_t)(make_frame(frame, AMQP_FRAME_BODY, "0123456789", 10) - frame);

    peer_send(frame, size);
    ck_assert_uint_eq(connection->frames, 0);
}

static void reset_peer(void)
{
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    ck_assert_int_eq(setsockopt(peer_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(peer_fd);
    peer_fd = -1;
}

static void looks(unsigned count)
{
    while (count-- > 0)
        move_time(LOOK_MS_MAX);
}

START_TEST(test_reset_of_a_paused_client_is_noticed_at_the_next_look)
{
    pause_client();
    send_unread_frame();
    reset_peer();
    ck_assert_uint_eq(connections_freed, 0);
    looks(1);
    ck_assert_uint_eq(connections_freed, 1);
}
END_TEST

/* Closed, or only its sending side: that looks the same. */
START_TEST(test_end_of_a_paused_client_is_noticed_after_some_looks)
{
    pause_client();
    send_unread_frame();
    ck_assert_int_eq(shutdown(peer_fd, SHUT_WR), 0);
    if (_i) {
        close(peer_fd);
        peer_fd = -1;
    }
    looks(4);
    ck_assert_uint_eq(connections_freed, 0); /* the pause may end yet */
    looks(1);
    ck_assert_uint_eq(connections_freed, 1);
}
END_TEST

START_TEST(test_what_came_before_the_end_is_read_when_the_pause_is_short)
{
    pause_client();
    send_unread_frame();
    ck_assert_int_eq(shutdown(peer_fd, SHUT_WR), 0);
    looks(3);
    connection->pause_after = 1; /* so that the connection is still there to be looked at */
    connection->ops->pause(connection->peer, false);
    WAIT_UNTIL(connection->frames == 1);
    connection->ops->pause(connection->peer, false);
    WAIT_UNTIL(connections_freed == 1);
}
END_TEST

START_TEST(test_client_whose_peer_is_there_stays_paused)
{
    pause_client();
    looks(100);
    ck_assert_uint_eq(connections_freed, 0);
    send_unread_frame();
    looks(100);
    ck_assert_uint_eq(connections_freed, 0);
    connection->ops->pause(connection->peer, false);
    WAIT_UNTIL(connection->frames == 1);
    looks(2);
    ck_assert(!the_client()->paused_timer_on); /* nothing is looked at any more */
}
END_TEST

START_TEST(test_pauses_in_a_row_share_one_timer)
{
    uint64_t due_ms;

    pause_client();
    due_ms = the_client()->paused_timer.due_ms;
    ck_assert_uint_gt(due_ms, now_ms);
    for (unsigned i = 0; i < 10; i++) {
        connection->ops->pause(connection->peer, false);
        now_ms += 50;
        turn();
        connection->ops->pause(connection->peer, true);
        ck_assert_uint_eq(the_client()->paused_timer.due_ms, due_ms);
    }
}
END_TEST

static int socket_option(int level, int name)
{
    socklen_t size = sizeof(int);
    int value = -1;

    ck_assert_int_eq(getsockopt(the_client()->transport.fd, level, name, &value, &size), 0);
    return value;
}

START_TEST(test_without_heartbeats_the_kernel_probes_the_peer)
{
    open_client(BOUND_FRAME_MAX_BYTES, _i ? 60 : 0);
    ck_assert_int_eq(socket_option(SOL_SOCKET, SO_KEEPALIVE), _i ? 0 : 1);
    if (_i == 0)
        ck_assert_int_eq(socket_option(IPPROTO_TCP, TCP_KEEPIDLE), 60);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client_paused");
    TCase *tcase = tcase_create("client_paused");

    tcase_add_checked_fixture(tcase, client_setup, client_teardown);
    tcase_add_test(tcase, test_reset_of_a_paused_client_is_noticed_at_the_next_look);
    tcase_add_loop_test(tcase, test_end_of_a_paused_client_is_noticed_after_some_looks, 0, 2);
    tcase_add_test(tcase, test_what_came_before_the_end_is_read_when_the_pause_is_short);
    tcase_add_test(tcase, test_client_whose_peer_is_there_stays_paused);
    tcase_add_test(tcase, test_pauses_in_a_row_share_one_timer);
    tcase_add_loop_test(tcase, test_without_heartbeats_the_kernel_probes_the_peer, 0, 2);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
