/*
 * test_client_send.c - deliveries and contents as octets; back-pressure; heartbeats; ways to close
 */
#include "amqp/wire.h"
#include "tests/unit/client_fixture.h"

static uint8_t *received;

static void setup(void)
{
    client_setup();
    received = malloc(RECORD_BYTES);
}

static void teardown(void)
{
    client_teardown();
    free(received);
}

static const uint8_t properties[] = { 0x10, 0x00, 0x02 }; /* delivery-mode 2 */

static struct message *make_message(size_t body_bytes)
{
    struct message *message =
        message_new(AMQP_STR("ex"), AMQP_STR("key"),
                    (struct amqp_bytes){ properties, sizeof properties }, (uint32_t)body_bytes);

    for (size_t i = 0; i < body_bytes; i++)
        message_body_writable(message)[i] = (uint8_t)random();
    return message;
}

static struct delivery make_delivery(struct message *message)
{
    return (struct delivery){ .consumer_tag = AMQP_STR("tag"), .delivery_tag = 0x0102030405060708,
                              .redelivered = true, .message = message };
}

static void deliver(struct message *message)
{
    struct delivery delivery = make_delivery(message);

    loop_enter(loop);
    connection->ops->deliver(connection->peer, 5, &delivery);
}

/* Reads one frame of channel 5; returns its payload. */
static struct amqp_bytes expect_frame(uint8_t type)
{
    size_t size;

    peer_expect_octets(received, AMQP_FRAME_HEAD_BYTES);
    size = wire_load32(received + 3);
    ck_assert_uint_eq(received[0], type);
    ck_assert_uint_eq(wire_load16(received + 1), 5);
    peer_expect_octets(received, size + 1);
    ck_assert_uint_eq(received[size], AMQP_FRAME_END);
    return (struct amqp_bytes){ received, size };
}

/* Reads HEADER and BODY frames of a message; none of the bodies but the last may be short. */
static void expect_content(const struct message *message, size_t part_max)
{
    struct amqp_bytes payload = expect_frame(AMQP_FRAME_HEADER);

    ck_assert_uint_eq(payload.size, 12 + sizeof properties);
    ck_assert_mem_eq(payload.data, "\0\x3c\0\0", 4);
    ck_assert_uint_eq(wire_load64(payload.data + 4), message->body_bytes);
    ck_assert_mem_eq(payload.data + 12, properties, sizeof properties);
    for (size_t at = 0; at < message->body_bytes; at += payload.size) {
        size_t left = message->body_bytes - at;

        payload = expect_frame(AMQP_FRAME_BODY);
        ck_assert_uint_eq(payload.size, left < part_max ? left : part_max);
        ck_assert_mem_eq(payload.data, message_body(message) + at, payload.size);
    }
}

static void expect_delivery(const struct message *message, size_t part_max)
{
    struct amqp_bytes payload = expect_frame(AMQP_FRAME_METHOD);
    union amqp_method method;
    struct amqp_error err;

    ck_assert_int_eq(amqp_method_decode(payload, &method, &err), 0);
    ck_assert_uint_eq(method.id, AMQP_ID_basic_deliver);
    ck_assert(amqp_str_equal(method.basic_deliver.consumer_tag, AMQP_STR("tag")));
    ck_assert_uint_eq(method.basic_deliver.delivery_tag, 0x0102030405060708);
    ck_assert(method.basic_deliver.redelivered);
    ck_assert(amqp_str_equal(method.basic_deliver.exchange, AMQP_STR("ex")));
    ck_assert(amqp_str_equal(method.basic_deliver.routing_key, AMQP_STR("key")));
    expect_content(message, part_max);
}

static const struct {
    size_t body_bytes;
    uint32_t frame_max;
} delivery_case[] = {
    { 0, 4096 },        /* a HEADER frame only */
    { 1, 4096 },
    { 12, 0 },          /* 0: no limit */
    { 2048, 4096 },     /* the last that is copied */
    { 2049, 4096 },
    { 4088, 4096 },     /* a full frame */
    { 4089, 4096 },
    { 10000, 4096 },    /* 4088, 4088, 1824: amqp-0-9-1.md 1.4 */
    { 300000, 131072 },
    { 300000, 0 },
};

START_TEST(test_delivery_is_three_kinds_of_frames_as_tuned)
{
    uint32_t frame_max = delivery_case[_i].frame_max;
    struct message *message = make_message(delivery_case[_i].body_bytes);

    open_client(frame_max, 0);
    deliver(message);
    deliver(message);
    expect_delivery(message, frame_max ? frame_max - 8 : SIZE_MAX);
    expect_delivery(message, frame_max ? frame_max - 8 : SIZE_MAX);
    peer_expect_nothing();
    ck_assert_uint_eq(message->refs, 1);
    message_unref(message);
}
END_TEST

START_TEST(test_content_follows_its_method)
{
    struct amqp_basic_get_ok get_ok = { .id = AMQP_ID_basic_get_ok, .delivery_tag = 9,
                                        .exchange = AMQP_STR("ex"),
                                        .routing_key = AMQP_STR("key"), .message_count = 3 };
    struct message *message = make_message(5000);
    union amqp_method method;
    struct amqp_error err;

    open_client(4096, 0);
    loop_enter(loop);
    connection->ops->send_content(connection->peer, 5, &get_ok, message);
    ck_assert_int_eq(amqp_method_decode(expect_frame(AMQP_FRAME_METHOD), &method, &err), 0);
    ck_assert_uint_eq(method.id, AMQP_ID_basic_get_ok);
    ck_assert_uint_eq(method.basic_get_ok.message_count, 3);
    expect_content(message, 4088);
    message_unref(message);
}
END_TEST

START_TEST(test_large_properties_are_sent_whole)
{
    size_t size = 50000;
    uint8_t *large = calloc(1, size);
    struct message *message = message_new(AMQP_STR("ex"), AMQP_STR("key"),
                                          (struct amqp_bytes){ large, size }, 0);

    open_client(131072, 0);
    deliver(message);
    expect_frame(AMQP_FRAME_METHOD);
    ck_assert_uint_eq(expect_frame(AMQP_FRAME_HEADER).size, 12 + size);
    message_unref(message);
    free(large);
}
END_TEST

START_TEST(test_method_larger_than_a_chunk_is_sent_whole)
{
    size_t size = 40000;
    struct amqp_connection_secure secure = { .id = AMQP_ID_connection_secure,
                                             .challenge = { calloc(1, size), size } };

    open_client(131072, 0);
    loop_enter(loop);
    connection->ops->send_method(connection->peer, 5, &secure);
    ck_assert_uint_eq(expect_frame(AMQP_FRAME_METHOD).size, 4 + 4 + size);
    free((uint8_t *)secure.challenge.data);
}
END_TEST

START_TEST(test_idle_client_holds_no_buffers)
{
    struct message *message = make_message(100);

    open_client(4096, 0);
    for (unsigned i = 0; i < 50; i++)
        deliver(message);
    for (unsigned i = 0; i < 50; i++)
        expect_delivery(message, 4088);
    turn();
    ck_assert_ptr_null(the_client()->output.first);
    ck_assert_ptr_null(the_client()->output.open);
    ck_assert_ptr_null(the_client()->input.data);
    ck_assert_uint_lt(sizeof(struct client), 1024);
    message_unref(message);
}
END_TEST

/* ---- back-pressure ---- */

START_TEST(test_reader_that_does_not_read_is_congested_until_it_does)
{
    struct message *message = make_message(1000);
    unsigned sent = 0;

    open_client(4096, 0);
    while (!connection->congested) {
        for (unsigned i = 0; i < 1000 && !connection->congested; i++, sent++)
            deliver(message);
        turn();
        ck_assert_uint_lt(sent, 100000);
    }
    ck_assert_uint_lt(the_client()->output.bytes, CLIENT_OUTPUT_HIGH_BYTES + 2000);
    for (; sent; sent--)
        expect_delivery(message, 4088);
    ck_assert(!connection->congested);
    ck_assert_uint_ge(connection->congestions, 1);
    message_unref(message);
}
END_TEST

static void answer_at_length(struct connection *to, const struct amqp_frame *frame)
{
    static uint8_t answer[10000];

    (void)frame;
    to->ops->send_octets(to->peer, answer, sizeof answer);
}

START_TEST(test_caller_that_does_not_read_its_answers_is_not_read_either)
{
    uint8_t calls[1000 * 8], *end = calls;
    size_t answers_bytes = 0;
    unsigned frames = 0;

    connection->on_frame = answer_at_length;
    open_client(4096, 0);
    while (end < calls + sizeof calls)
        end = make_frame(end, AMQP_FRAME_METHOD, NULL, 0);
    while (!(the_client()->stops & CLIENT_STOP_FULL)) {
        ck_assert_int_eq(send(peer_fd, calls, sizeof calls, MSG_DONTWAIT), sizeof calls);
        frames += 1000;
        turn();
        ck_assert_uint_lt(frames, 100000);
    }
    ck_assert_uint_lt(connection->frames, frames);
    ck_assert_uint_lt(the_client()->output.bytes, CLIENT_OUTPUT_FULL_BYTES + 20000);
    while (answers_bytes < frames * 10000UL) {
        ssize_t got = peer_receive(received, RECORD_BYTES);

        ck_assert_int_ne(got, 0);
        answers_bytes += got > 0 ? (size_t)got : 0;
    }
    ck_assert_uint_eq(connection->frames, frames);
    peer_expect_nothing();
}
END_TEST

START_TEST(test_lost_peer_with_unsent_output_is_noticed)
{
    struct message *message = make_message(100000);

    open_client(131072, 0);
    for (unsigned i = 0; i < 100; i++)
        deliver(message);
    turn();
    ck_assert_uint_gt(the_client()->output.bytes, 0);
    close(peer_fd);
    peer_fd = -1;
    WAIT_UNTIL(connections_freed == 1);
    ck_assert_uint_eq(message->refs, 1);
    message_unref(message);
}
END_TEST

/* ---- heartbeats: amqp-0-9-1.md 1.6 ---- */

static const uint8_t heartbeat[] = { 8, 0, 0, 0, 0, 0, 0, 0xce };

static void expect_heartbeat(void)
{
    peer_expect_octets(received, sizeof heartbeat);
    ck_assert_mem_eq(received, heartbeat, sizeof heartbeat);
}

START_TEST(test_heartbeat_is_sent_every_half_interval)
{
    open_client(4096, 2);
    for (unsigned i = 0; i < 5; i++) {
        move_time(999);
        peer_expect_nothing();
        move_time(1);
        expect_heartbeat();
        peer_send(heartbeat, sizeof heartbeat);
        turn();
    }
}
END_TEST

START_TEST(test_sending_anything_saves_the_next_heartbeat)
{
    struct message *message = make_message(1);

    open_client(4096, 10);
    move_time(5000);
    expect_heartbeat(); /* the first comes always */
    peer_send(heartbeat, sizeof heartbeat);
    deliver(message);
    expect_delivery(message, 4088);
    move_time(5000);
    peer_expect_nothing();
    move_time(5000);
    expect_heartbeat();
    message_unref(message);
}
END_TEST

START_TEST(test_silent_peer_is_dropped_after_three_intervals)
{
    open_client(4096, 2);
    for (unsigned i = 0; i < 11; i++)
        move_time(500);
    ck_assert_uint_eq(connections_freed, 0);
    move_time(500);
    ck_assert_uint_eq(connections_freed, 1);
    for (unsigned i = 0; i < 5; i++)
        expect_heartbeat(); /* no connection.close comes between or behind */
    WAIT_UNTIL(peer_sees_end());
}
END_TEST

START_TEST(test_any_octet_is_a_sign_of_life)
{
    uint8_t frame[100];
    size_t size = (size_t)(make_frame(frame, AMQP_FRAME_BODY, received, 60) - frame);

    memset(received, 'x', 60);
    open_client(4096, 2);
    for (size_t i = 0; i < 20; i++) {
        peer_send(frame + i % size, 1);
        WAIT_UNTIL(the_client()->received_bytes == 9 + i);
        move_time(1500);
    }
    ck_assert_uint_eq(connections_freed, 0);
}
END_TEST

START_TEST(test_paused_peer_is_not_called_silent)
{
    open_client(4096, 2);
    connection->ops->pause(connection->peer, true);
    for (unsigned i = 0; i < 40; i++) {
        move_time(1000);
        expect_heartbeat();
    }
    connection->ops->pause(connection->peer, false);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(connections_freed, 0);
        move_time(1999);
    }
    move_time(1000);
    move_time(1000);
    ck_assert_uint_eq(connections_freed, 1);
}
END_TEST

START_TEST(test_heartbeat_zero_means_none)
{
    open_client(4096, 0);
    move_time(3600 * 1000);
    peer_expect_nothing();
    ck_assert_uint_eq(connections_freed, 0);
}
END_TEST

/* ---- ends ---- */

START_TEST(test_handshake_that_takes_too_long_is_closed_silently)
{
    peer_send(protocol_header, (size_t)_i);
    turn();
    move_time(HANDSHAKE_TIMEOUT_MS - 1);
    ck_assert_uint_eq(connections_freed, 0);
    move_time(1);
    ck_assert_uint_eq(connections_freed, 1);
    WAIT_UNTIL(peer_sees_end());
}
END_TEST

START_TEST(test_open_client_may_take_its_time)
{
    open_client(4096, 0);
    move_time(10 * HANDSHAKE_TIMEOUT_MS);
    ck_assert_uint_eq(connections_freed, 0);
}
END_TEST

static const struct {
    enum connection_close_how how;
    bool tuned;
    uint16_t heartbeat_s;
    unsigned patience_ms; /* 0: at once */
    bool reads_on;
} close_case[] = {
    { CONNECTION_CLOSE_FLUSH, true, 0, 0, false },
    { CONNECTION_CLOSE_FLUSH, false, 0, 0, false },
    { CONNECTION_CLOSE_SILENT, false, 0, 3000, false },
    { CONNECTION_CLOSE_LOST_SYNC, true, 60, 3000, false },
    { CONNECTION_CLOSE_LINGER, true, 0, 30000, true },
    { CONNECTION_CLOSE_LINGER, true, 60, 30000, true },
    { CONNECTION_CLOSE_LINGER, true, 4, 4000, true },
    { CONNECTION_CLOSE_LINGER, false, 0, 3000, true }, /* a login that failed */
};

START_TEST(test_socket_is_closed_as_the_broker_says)
{
    unsigned patience_ms = close_case[_i].patience_ms;
    uint8_t frame[8];

    if (close_case[_i].tuned)
        open_client(4096, close_case[_i].heartbeat_s);
    else
        peer_send(protocol_header, sizeof protocol_header);
    WAIT_UNTIL(connection->headers == 1);
    loop_enter(loop);
    connection->ops->send_octets(connection->peer, "bye", 3);
    connection->ops->close(connection->peer, close_case[_i].how);
    peer_expect_octets(received, 3);
    ck_assert_mem_eq(received, "bye", 3);
    if (patience_ms) {
        make_frame(frame, AMQP_FRAME_METHOD, NULL, 0);
        peer_send(frame, sizeof frame);
        for (unsigned i = 0; i < 20; i++)
            turn();
        ck_assert_uint_eq(connection->frames, close_case[_i].reads_on);
        move_time(patience_ms - 1);
        ck_assert_uint_eq(connections_freed, 0);
        move_time(1);
    }
    turn();
    ck_assert_uint_eq(connections_freed, 1);
    ck_assert_uint_eq(client_set_count(clients), 0);
}
END_TEST

static void close_on_frame(struct connection *to, const struct amqp_frame *frame)
{
    (void)frame;
    to->ops->close(to->peer, CONNECTION_CLOSE_FLUSH);
}

START_TEST(test_frames_behind_the_end_are_dropped)
{
    uint8_t frames[10 * 8], *end = frames;

    connection->on_frame = close_on_frame;
    open_client(4096, 0);
    while (end < frames + sizeof frames)
        end = make_frame(end, AMQP_FRAME_METHOD, NULL, 0);
    ck_assert_int_eq(send(peer_fd, frames, sizeof frames, 0), sizeof frames);
    WAIT_UNTIL(connections_freed == 1); /* connection_receive() would have complained */
    WAIT_UNTIL(peer_sees_end());
}
END_TEST

START_TEST(test_force_close_reaches_every_connection)
{
    struct connection *first = connection;
    int other = connect_peer();

    client_set_force_close(clients, AMQP_CONNECTION_FORCED, "bye");
    ck_assert_uint_eq(first->forced, 1);
    ck_assert_uint_eq(connection->forced, 1);
    ck_assert_uint_eq(client_set_count(clients), 2);
    close(other);
    WAIT_UNTIL(connections_freed == 1);
}
END_TEST

static void add_sending_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_delivery_is_three_kinds_of_frames_as_tuned, 0,
                        N_ELEMENTS(delivery_case));
    tcase_add_test(tcase, test_content_follows_its_method);
    tcase_add_test(tcase, test_large_properties_are_sent_whole);
    tcase_add_test(tcase, test_method_larger_than_a_chunk_is_sent_whole);
    tcase_add_test(tcase, test_idle_client_holds_no_buffers);
    tcase_add_test(tcase, test_reader_that_does_not_read_is_congested_until_it_does);
    tcase_add_test(tcase, test_caller_that_does_not_read_its_answers_is_not_read_either);
    tcase_add_test(tcase, test_lost_peer_with_unsent_output_is_noticed);
}

static void add_time_tests(TCase *tcase)
{
    tcase_add_test(tcase, test_heartbeat_is_sent_every_half_interval);
    tcase_add_test(tcase, test_sending_anything_saves_the_next_heartbeat);
    tcase_add_test(tcase, test_silent_peer_is_dropped_after_three_intervals);
    tcase_add_test(tcase, test_any_octet_is_a_sign_of_life);
    tcase_add_test(tcase, test_paused_peer_is_not_called_silent);
    tcase_add_test(tcase, test_heartbeat_zero_means_none);
    tcase_add_loop_test(tcase, test_handshake_that_takes_too_long_is_closed_silently, 0, 9);
    tcase_add_test(tcase, test_open_client_may_take_its_time);
    tcase_add_loop_test(tcase, test_socket_is_closed_as_the_broker_says, 0,
                        N_ELEMENTS(close_case));
    tcase_add_test(tcase, test_frames_behind_the_end_are_dropped);
    tcase_add_test(tcase, test_force_close_reaches_every_connection);
}

int main(void)
{
    Suite *suite = suite_create("client_send");
    TCase *tcase = tcase_create("client_send");

    tcase_add_checked_fixture(tcase, setup, teardown);
    add_sending_tests(tcase);
    add_time_tests(tcase);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
