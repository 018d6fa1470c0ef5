/*
 * test_listener.c - ports that are taken, addresses that are none, and running out of descriptors
 */
#include <sys/resource.h>

#include "tests/unit/client_fixture.h"

static char error_text[256];

static int listen_at(const char *address, uint16_t port, struct listener **ret_listener)
{
    return listener_new(loop, clients, address, port, error_text, sizeof error_text, ret_listener);
}

static uint16_t port_of(const struct listener *of)
{
    return (uint16_t)atoi(strrchr(listener_name(of), ':') + 1);
}

START_TEST(test_port_in_use_is_refused_with_a_sentence)
{
    struct listener *second = NULL;
    char expected[64];

    snprintf(expected, sizeof expected, "port %u of 127.0.0.1 is in use", port_of(listener));
    ck_assert_int_eq(listen_at("127.0.0.1", port_of(listener), &second), -EADDRINUSE);
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(strstr(error_text, expected));
}
END_TEST

START_TEST(test_address_that_is_not_ours_is_refused)
{
    struct listener *second = NULL;

    ck_assert_int_lt(listen_at("192.0.2.1", 0, &second), 0); /* reserved for documentation */
    ck_assert_int_lt(listen_at("localhost", 0, &second), 0); /* numbers only: no resolver */
    ck_assert_ptr_null(second);
}
END_TEST

START_TEST(test_listener_of_every_address_takes_ipv4_as_ipv4)
{
    struct sockaddr_in to = { .sin_family = AF_INET };
    unsigned before = connections_made;
    struct listener *every;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(listen_at(NULL, 0, &every), 0);
    to.sin_port = htons(port_of(every));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    WAIT_UNTIL(connections_made == before + 1);
    ck_assert(connection->origin.loopback);
    close(fd);
    listener_free(every);
}
END_TEST

/* A storm of connections: those that are there have a turn after each few that are accepted. */
START_TEST(test_a_turn_accepts_a_bounded_number)
{
    enum { STORM = 5 * BOUND_ACCEPTS_A_TURN };
    struct sockaddr_in to = { .sin_family = AF_INET };
    unsigned before = connections_made;
    int fds[STORM];

    to.sin_port = htons(port_of(listener));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (unsigned i = 0; i < STORM; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(connect(fds[i], (struct sockaddr *)&to, sizeof to), 0);
    }
    while (connections_made < before + STORM) {
        unsigned so_far = connections_made;

        turn();
        ck_assert_uint_le(connections_made - so_far, BOUND_ACCEPTS_A_TURN);
        ck_assert_uint_gt(connections_made, so_far);
    }
    for (unsigned i = 0; i < STORM; i++)
        close(fds[i]);
}
END_TEST

/* Uses up every descriptor; returns how many. */
static unsigned exhaust(int *fds)
{
    unsigned count = 0;
    int fd;

    while ((fd = dup(0)) >= 0)
        fds[count++] = fd;
    return count;
}

START_TEST(test_without_descriptors_old_clients_are_served_and_new_ones_wait)
{
    struct rlimit limit = { 64, 64 };
    struct sockaddr_in to = { .sin_family = AF_INET };
    int fds[64], fd = socket(AF_INET, SOCK_STREAM, 0);
    struct connection *old = connection;
    unsigned count;
    uint8_t frame[8];

    to.sin_port = htons(port_of(listener));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    count = exhaust(fds);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    for (unsigned i = 0; i < 100; i++)
        turn();
    ck_assert_uint_eq(connections_made, 1);
    open_client(4096, 0);
    make_frame(frame, AMQP_FRAME_METHOD, NULL, 0);
    peer_send(frame, sizeof frame);
    WAIT_UNTIL(old->frames == 1);
    while (count)
        close(fds[--count]);
    for (unsigned i = 0; i < 100; i++)
        turn();
    ck_assert_uint_eq(connections_made, 1); /* the listener still rests */
    move_time(1000);
    WAIT_UNTIL(connections_made == 2);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listener");
    TCase *tcase = tcase_create("listener");

    tcase_add_checked_fixture(tcase, client_setup, client_teardown);
    tcase_add_test(tcase, test_port_in_use_is_refused_with_a_sentence);
    tcase_add_test(tcase, test_address_that_is_not_ours_is_refused);
    tcase_add_test(tcase, test_listener_of_every_address_takes_ipv4_as_ipv4);
    tcase_add_test(tcase, test_a_turn_accepts_a_bounded_number);
    tcase_add_test(tcase, test_without_descriptors_old_clients_are_served_and_new_ones_wait);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
