/*
 * test_client_close.c - how sockets end: lingering, resets, the send timeout, peers that have gone
 */
#include "tests/unit/client_fixture.h"

enum { OUTPUT_BYTES = 16 * 1024 * 1024 };

static uint8_t octets[256 * 1024];

static void leave(enum connection_close_how how)
{
    loop_enter(loop);
    connection->ops->send_octets(connection->peer, "bye", 3);
    connection->ops->close(connection->peer, how);
    turn();
}

static void expect_bye(void)
{
    uint8_t bye[3];

    peer_expect_octets(bye, sizeof bye);
    ck_assert_mem_eq(bye, "bye", sizeof bye);
}

/* The peer has read all, and reads the end of the stream, not an error. */
static void expect_orderly_end(void)
{
    uint8_t octet;
    ssize_t got;

    do {
        got = peer_receive(&octet, 1);
    } while (got < 0 && errno == EAGAIN);
    ck_assert_int_eq(got, 0);
}

static int peer_error(void)
{
    int error = 0;
    socklen_t size = sizeof error;

    ck_assert_int_eq(getsockopt(peer_fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    return error;
}

static void close_peer(void)
{
    close(peer_fd);
    peer_fd = -1;
}

/* ---- lingering ---- */

START_TEST(test_peer_that_writes_behind_the_end_is_read_until_it_ends)
{
    open_client(4096, 0);
    leave(CONNECTION_CLOSE_FLUSH);
    ck_assert_uint_eq(connections_freed, 1); /* it counts against no limit any more */
    ck_assert_uint_eq(client_set_count(clients), 0);
    expect_bye();
    expect_orderly_end();
    for (unsigned i = 0; i < 40; i++) /* more than any buffer of the kernel holds */
        peer_send(octets, sizeof octets);
    ck_assert_int_eq(peer_error(), 0);
    ck_assert_uint_eq(clients->lingering.count, 1);
    close_peer();
    WAIT_UNTIL(clients->lingering.count == 0);
}
END_TEST

START_TEST(test_refused_protocol_is_answered_whatever_else_comes)
{
    uint8_t answer[AMQP_PROTOCOL_HEADER_BYTES];

    connection->refuses_header = true;
    memset(octets, 'x', sizeof octets);
    for (unsigned i = 0; i < 40; i++)
        peer_send(octets, sizeof octets);
    peer_expect_octets(answer, sizeof answer);
    ck_assert_mem_eq(answer, protocol_header, sizeof answer);
    expect_orderly_end();
    ck_assert_int_eq(peer_error(), 0);
}
END_TEST

START_TEST(test_peer_that_never_ends_is_reset_after_its_time)
{
    open_client(4096, 0);
    leave(CONNECTION_CLOSE_FLUSH);
    expect_bye();
    move_time(LINGER_MS - 1);
    ck_assert_uint_eq(clients->lingering.count, 1);
    move_time(1);
    ck_assert_uint_eq(clients->lingering.count, 0);
    WAIT_UNTIL(peer_error() == EPIPE); /* what a reset is to a socket that has read the end */
}
END_TEST

START_TEST(test_lingering_sockets_end_each_at_its_own_time)
{
    int first = peer_fd;

    open_client(4096, 0);
    leave(CONNECTION_CLOSE_FLUSH);
    move_time(1000);
    peer_fd = connect_peer();
    open_client(4096, 0);
    leave(CONNECTION_CLOSE_FLUSH);
    ck_assert_uint_eq(clients->lingering.count, 2);
    move_time(LINGER_MS - 1000);
    ck_assert_uint_eq(clients->lingering.count, 1);
    move_time(1000);
    ck_assert_uint_eq(clients->lingering.count, 0);
    close(first);
}
END_TEST

START_TEST(test_oldest_lingering_socket_makes_room)
{
    int fds[LINGERING_MAX + 2];

    for (unsigned i = 0; i < N_ELEMENTS(fds); i++) {
        fds[i] = peer_fd;
        open_client(4096, 0);
        leave(CONNECTION_CLOSE_FLUSH);
        expect_bye();
        ck_assert_uint_eq(clients->lingering.count, i < LINGERING_MAX ? i + 1 : LINGERING_MAX);
        peer_fd = connect_peer();
    }
    for (unsigned i = 0; i < N_ELEMENTS(fds); i++) {
        bool went = i < N_ELEMENTS(fds) - LINGERING_MAX;

        ck_assert_int_eq(send(fds[i], "x", 1, MSG_NOSIGNAL), 1); /* one that is gone answers it */
        turn();
        ck_assert_int_eq(send(fds[i], "x", 1, MSG_NOSIGNAL), went ? -1 : 1);
        close(fds[i]);
    }
    WAIT_UNTIL(clients->lingering.count == 0);
}
END_TEST

START_TEST(test_flood_of_deadlines_is_spread_over_turns)
{
    enum { SOCKETS = 300 };
    static int fds[SOCKETS];
    unsigned turns = 0;

    clients->lingering.max = SOCKETS;
    for (unsigned i = 0; i < SOCKETS; i++) {
        fds[i] = peer_fd;
        open_client(4096, 0);
        leave(CONNECTION_CLOSE_FLUSH);
        peer_fd = connect_peer();
    }
    now_ms += LINGER_MS;
    while (clients->lingering.count) {
        unsigned before = clients->lingering.count;

        move_time(1);
        turns++;
        ck_assert_uint_le(before - clients->lingering.count, 128);
    }
    ck_assert_uint_eq(turns, 3);
    for (unsigned i = 0; i < SOCKETS; i++)
        close(fds[i]);
}
END_TEST

START_TEST(test_output_that_waits_is_written_before_the_end)
{
    size_t got = 0;
    ssize_t part;

    open_client(4096, 0);
    loop_enter(loop);
    for (size_t sent = 0; sent < OUTPUT_BYTES; sent += sizeof octets)
        connection->ops->send_octets(connection->peer, octets, sizeof octets);
    connection->ops->close(connection->peer, CONNECTION_CLOSE_FLUSH);
    turn();
    if (_i) /* the peer has said all, and still reads */
        ck_assert_int_eq(shutdown(peer_fd, SHUT_WR), 0);
    do {
        part = peer_receive(octets, sizeof octets);
        got += part > 0 ? (size_t)part : 0;
    } while (part > 0 || (part < 0 && errno == EAGAIN));
    ck_assert_int_eq(part, 0);
    ck_assert_uint_eq(got, OUTPUT_BYTES);
    WAIT_UNTIL(connections_freed == 1);
    ck_assert_uint_eq(clients->lingering.count, _i ? 0 : 1);
}
END_TEST

/* ---- peers that have gone ---- */

static const enum connection_close_how waiting[] = {
    CONNECTION_CLOSE_SILENT,
    CONNECTION_CLOSE_LINGER,
    CONNECTION_CLOSE_LOST_SYNC,
};

START_TEST(test_peer_that_goes_is_not_waited_for)
{
    open_client(4096, 60);
    leave(waiting[_i]);
    memset(octets, 0xff, sizeof octets);
    peer_send(octets, sizeof octets); /* an oversized frame, where frames are still read */
    ck_assert_uint_eq(connections_freed, 0);
    close_peer();
    WAIT_UNTIL(connections_freed == 1);
    ck_assert_uint_eq(clients->lingering.count, 0);
}
END_TEST

START_TEST(test_broken_frame_behind_connection_close_shortens_the_wait)
{
    open_client(4096, 0);
    leave(CONNECTION_CLOSE_LINGER);
    move_time(1000);
    leave(CONNECTION_CLOSE_LOST_SYNC); /* what the broker makes of it */
    move_time(2999);
    ck_assert_uint_eq(connections_freed, 0);
    move_time(1);
    ck_assert_uint_eq(connections_freed, 1);
}
END_TEST

START_TEST(test_broken_frame_does_not_lengthen_the_wait)
{
    open_client(4096, 2);
    leave(CONNECTION_CLOSE_LINGER);
    move_time(1000);
    leave(CONNECTION_CLOSE_LOST_SYNC);
    move_time(1000);
    ck_assert_uint_eq(connections_freed, 1);
}
END_TEST

START_TEST(test_close_ok_of_a_paused_client_is_read)
{
    uint8_t frame[8];

    open_client(4096, 0);
    connection->pause_after = 1;
    make_frame(frame, AMQP_FRAME_METHOD, NULL, 0);
    peer_send(frame, sizeof frame);
    peer_send(frame, sizeof frame); /* waits in the socket */
    ck_assert_uint_eq(connection->frames, 1);
    leave(CONNECTION_CLOSE_LINGER);
    WAIT_UNTIL(connection->frames == 2);
}
END_TEST

/* ---- resets ---- */

START_TEST(test_peer_without_heartbeats_is_reset)
{
    open_client(4096, 1);
    for (unsigned i = 0; i < 6; i++)
        move_time(500);
    ck_assert_uint_eq(connections_freed, 1);
    WAIT_UNTIL(peer_error() == ECONNRESET);
    ck_assert_int_eq(send(peer_fd, "x", 1, MSG_NOSIGNAL), -1);
}
END_TEST

START_TEST(test_peer_that_does_not_finish_its_handshake_is_reset)
{
    move_time(HANDSHAKE_TIMEOUT_MS);
    ck_assert_uint_eq(connections_freed, 1);
    WAIT_UNTIL(peer_error() == ECONNRESET);
}
END_TEST

START_TEST(test_peer_that_does_not_answer_connection_close_is_reset)
{
    open_client(4096, 0);
    leave(CONNECTION_CLOSE_LINGER);
    move_time(30000);
    ck_assert_uint_eq(connections_freed, 1);
    WAIT_UNTIL(peer_error() == ECONNRESET);
}
END_TEST

/* ---- the send timeout ---- */

/* Output that neither the kernel nor the peer takes. */
static void fill(void)
{
    loop_enter(loop);
    for (size_t sent = 0; sent < OUTPUT_BYTES; sent += sizeof octets)
        connection->ops->send_octets(connection->peer, octets, sizeof octets);
    turn();
    ck_assert(the_client()->write_blocked);
    ck_assert_uint_ne(the_client()->stall_check_ms, 0);
}

/* Until the kernel moves nothing more between the two ends. */
static void settle(void)
{
    uint64_t written;
    size_t unacknowledged;

    do {
        written = the_client()->output.written_bytes;
        unacknowledged = transport_unacknowledged(&the_client()->transport);
        for (unsigned i = 0; i < 100; i++) {
            turn();
            usleep(100);
        }
    } while (written != the_client()->output.written_bytes ||
             unacknowledged != transport_unacknowledged(&the_client()->transport));
}

START_TEST(test_peer_that_reads_nothing_is_reset_although_its_heartbeats_come)
{
    static const uint8_t heartbeat[] = { 8, 0, 0, 0, 0, 0, 0, 0xce };
    uint64_t began;

    open_client(4096, 2);
    fill();
    settle();
    began = now_ms;
    while (!connections_freed) {
        ck_assert_int_eq(send(peer_fd, heartbeat, sizeof heartbeat, MSG_DONTWAIT),
                         sizeof heartbeat);
        move_time(SEND_TIMEOUT_MS / 20);
        ck_assert_uint_le(now_ms - began, SEND_TIMEOUT_MS / 10 * 12);
    }
    ck_assert_uint_ge(now_ms - began, SEND_TIMEOUT_MS);
    WAIT_UNTIL(peer_error() == ECONNRESET);
}
END_TEST

/* The peer reads until its TCP has told us of it. */
static void read_a_little(void)
{
    size_t unacknowledged = transport_unacknowledged(&the_client()->transport);
    unsigned turns_left = WAIT_TURNS;

    while (transport_unacknowledged(&the_client()->transport) == unacknowledged && --turns_left) {
        (void)recv(peer_fd, octets, 4096, MSG_DONTWAIT);
        turn();
        usleep(50);
    }
    ck_assert_uint_ne(turns_left, 0);
}

START_TEST(test_peer_that_reads_slowly_stays)
{
    int large = 4 * 1024 * 1024, small = 16 * 1024;
    uint64_t written;

    open_client(4096, 0);
    setsockopt(the_client()->transport.fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
    setsockopt(peer_fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    fill();
    settle();
    written = the_client()->output.written_bytes;
    for (unsigned i = 0; i < 30; i++) {
        read_a_little();
        move_time(SEND_TIMEOUT_MS / 10);
        ck_assert_uint_eq(connections_freed, 0);
    }
    /* The socket never took more: only the kernel knew of the progress. */
    ck_assert_uint_eq(written, the_client()->output.written_bytes);
}
END_TEST

START_TEST(test_peer_that_has_read_all_is_watched_no_more)
{
    open_client(4096, 0);
    fill();
    for (size_t got = 0; got < OUTPUT_BYTES;) {
        ssize_t part = peer_receive(octets, sizeof octets);

        got += part > 0 ? (size_t)part : 0;
    }
    move_time(SEND_TIMEOUT_MS / 10);
    ck_assert_uint_eq(the_client()->stall_check_ms, 0);
    for (unsigned i = 0; i < 30; i++)
        move_time(SEND_TIMEOUT_MS / 10);
    ck_assert_uint_eq(connections_freed, 0);
}
END_TEST

START_TEST(test_send_timeout_can_be_switched_off)
{
    clients->settings.send_timeout_ms = 0;
    open_client(4096, 0);
    loop_enter(loop);
    for (size_t sent = 0; sent < OUTPUT_BYTES; sent += sizeof octets)
        connection->ops->send_octets(connection->peer, octets, sizeof octets);
    turn();
    ck_assert(the_client()->write_blocked);
    for (unsigned i = 0; i < 100; i++)
        move_time(SEND_TIMEOUT_MS);
    ck_assert_uint_eq(connections_freed, 0);
}
END_TEST

static void add_ends(TCase *tcase)
{
    tcase_add_test(tcase, test_peer_that_writes_behind_the_end_is_read_until_it_ends);
    tcase_add_test(tcase, test_refused_protocol_is_answered_whatever_else_comes);
    tcase_add_test(tcase, test_peer_that_never_ends_is_reset_after_its_time);
    tcase_add_test(tcase, test_lingering_sockets_end_each_at_its_own_time);
    tcase_add_test(tcase, test_oldest_lingering_socket_makes_room);
    tcase_add_test(tcase, test_flood_of_deadlines_is_spread_over_turns);
    tcase_add_loop_test(tcase, test_output_that_waits_is_written_before_the_end, 0, 2);
    tcase_add_loop_test(tcase, test_peer_that_goes_is_not_waited_for, 0, N_ELEMENTS(waiting));
    tcase_add_test(tcase, test_broken_frame_behind_connection_close_shortens_the_wait);
    tcase_add_test(tcase, test_broken_frame_does_not_lengthen_the_wait);
    tcase_add_test(tcase, test_close_ok_of_a_paused_client_is_read);
}

static void add_resets(TCase *tcase)
{
    tcase_add_test(tcase, test_peer_without_heartbeats_is_reset);
    tcase_add_test(tcase, test_peer_that_does_not_finish_its_handshake_is_reset);
    tcase_add_test(tcase, test_peer_that_does_not_answer_connection_close_is_reset);
    tcase_add_test(tcase, test_peer_that_reads_nothing_is_reset_although_its_heartbeats_come);
    tcase_add_test(tcase, test_peer_that_reads_slowly_stays);
    tcase_add_test(tcase, test_peer_that_has_read_all_is_watched_no_more);
    tcase_add_test(tcase, test_send_timeout_can_be_switched_off);
}

int main(void)
{
    Suite *suite = suite_create("client_close");
    TCase *tcase = tcase_create("client_close");

    tcase_add_checked_fixture(tcase, client_setup, client_teardown);
    add_ends(tcase);
    add_resets(tcase);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
