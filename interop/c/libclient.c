/*
 * libclient.c - see libclient.h
 *
 * rabbitmq-c leaves closing to the application: after a channel exception the program has to send
 * close-ok itself, and until it does the broker ignores the channel. client_print_reply() does so.
 */
#include "libclient.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define POLL_MS 20

static _Noreturn void give_up(const char *what, const char *why)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

amqp_connection_state_t client_socket(void)
{
    const char *port = getenv("AMQP_PORT");
    amqp_connection_state_t conn = amqp_new_connection();
    amqp_socket_t *socket = conn ? amqp_tcp_socket_new(conn) : NULL;

    if (!port)
        give_up("AMQP_PORT", "not set");
    if (!socket)
        give_up("socket", "out of memory");
    if (amqp_socket_open(socket, "127.0.0.1", atoi(port)))
        give_up("socket", "cannot connect");
    return conn;
}

amqp_rpc_reply_t client_login(amqp_connection_state_t conn, const struct client_login *login)
{
    return amqp_login(conn, login->vhost, AMQP_DEFAULT_MAX_CHANNELS, AMQP_DEFAULT_FRAME_SIZE,
                      login->heartbeat_s, AMQP_SASL_METHOD_PLAIN, login->user, login->password);
}

void client_must(amqp_connection_state_t conn, const char *what)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(conn);

    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return;
    client_print_reply(conn, 1, what, reply);
    give_up(what, "refused");
}

void client_open_channel(amqp_connection_state_t conn, amqp_channel_t channel)
{
    amqp_channel_open(conn, channel);
    client_must(conn, "channel.open");
}

amqp_connection_state_t client_open(void)
{
    struct client_login guest = { .vhost = "/", .user = "guest", .password = "guest" };
    amqp_connection_state_t conn = client_socket();

    if (client_login(conn, &guest).reply_type != AMQP_RESPONSE_NORMAL)
        give_up("login", "refused");
    client_open_channel(conn, 1);
    return conn;
}

void client_close(amqp_connection_state_t conn)
{
    amqp_rpc_reply_t reply = amqp_connection_close(conn, AMQP_REPLY_SUCCESS);

    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        give_up("connection.close", "no close-ok");
    if (amqp_destroy_connection(conn) != AMQP_STATUS_OK)
        give_up("connection", "cannot be freed");
}

static void print_exception(const char *what, const char *level, uint16_t code, amqp_bytes_t text,
                            uint16_t class_id, uint16_t method_id)
{
    printf("%s: %s exception %u, method %u.%u\n    %.*s\n", what, level, code, class_id,
           method_id, (int)text.len, (const char *)text.bytes);
}

void client_print_reply(amqp_connection_state_t conn, amqp_channel_t channel, const char *what,
                        amqp_rpc_reply_t reply)
{
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        printf("%s: ok\n", what);
    } else if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        printf("%s: %s\n", what, amqp_error_string2(reply.library_error));
    } else if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_t *close = reply.reply.decoded;
        amqp_channel_close_ok_t close_ok = { 0 };

        print_exception(what, "channel", close->reply_code, close->reply_text, close->class_id,
                        close->method_id);
        if (amqp_send_method(conn, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok))
            give_up(what, "cannot send close-ok");
    } else if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        amqp_connection_close_t *close = reply.reply.decoded;

        print_exception(what, "connection", close->reply_code, close->reply_text,
                        close->class_id, close->method_id);
    } else {
        give_up(what, "unexpected method");
    }
}

amqp_frame_t client_wait_frame(amqp_connection_state_t conn)
{
    struct timeval limit = { .tv_sec = CLIENT_WAIT_S };
    amqp_frame_t frame;
    int status = amqp_simple_wait_frame_noblock(conn, &frame, &limit);

    if (status)
        give_up("frame", amqp_error_string2(status));
    return frame;
}

void client_queue(amqp_connection_state_t conn, const char *name, amqp_boolean_t durable)
{
    amqp_queue_delete(conn, 1, amqp_cstring_bytes(name), 0, 0);
    client_must(conn, "queue.delete");
    amqp_queue_declare(conn, 1, amqp_cstring_bytes(name), 0, durable, 0, 0, amqp_empty_table);
    client_must(conn, "queue.declare");
}

void client_delete_queue(amqp_connection_state_t conn, const char *name)
{
    amqp_queue_delete_ok_t *ok = amqp_queue_delete(conn, 1, amqp_cstring_bytes(name), 0, 0);

    client_must(conn, "queue.delete");
    printf("deleted %s: %u messages\n", name, ok->message_count);
}

void client_publish(amqp_connection_state_t conn, const char *exchange, const char *routing_key,
                    amqp_boolean_t mandatory, const amqp_basic_properties_t *properties,
                    const char *body)
{
    int status = amqp_basic_publish(conn, 1, amqp_cstring_bytes(exchange),
                                    amqp_cstring_bytes(routing_key), mandatory, 0, properties,
                                    amqp_cstring_bytes(body));

    if (status)
        give_up("basic.publish", amqp_error_string2(status));
}

uint64_t client_get(amqp_connection_state_t conn, const char *queue, amqp_boolean_t no_ack)
{
    amqp_rpc_reply_t reply = amqp_basic_get(conn, 1, amqp_cstring_bytes(queue), no_ack);
    amqp_basic_get_ok_t ok;
    amqp_message_t message;

    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        client_print_reply(conn, 1, "basic.get", reply);
        give_up("basic.get", "refused");
    }
    if (reply.reply.id == AMQP_BASIC_GET_EMPTY_METHOD) {
        printf("get %s: empty\n", queue);
        return 0;
    }
    ok = *(amqp_basic_get_ok_t *)reply.reply.decoded;
    printf("get %s: tag %llu, exchange '%.*s', key '%.*s', redelivered %d, %u left", queue,
           (unsigned long long)ok.delivery_tag, (int)ok.exchange.len,
           (const char *)ok.exchange.bytes, (int)ok.routing_key.len,
           (const char *)ok.routing_key.bytes, ok.redelivered, ok.message_count);
    if (amqp_read_message(conn, 1, &message, 0).reply_type != AMQP_RESPONSE_NORMAL)
        give_up("basic.get", "no content");
    printf(", body '%.*s'\n", (int)message.body.len, (const char *)message.body.bytes);
    amqp_destroy_message(&message);
    return ok.delivery_tag;
}

void client_print_count(amqp_connection_state_t conn, const char *queue, unsigned ready)
{
    const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
    amqp_queue_declare_ok_t *ok;
    int tries = CLIENT_WAIT_S * 1000 / POLL_MS;

    for (;;) {
        ok = amqp_queue_declare(conn, 1, amqp_cstring_bytes(queue), 1, 0, 0, 0, amqp_empty_table);
        client_must(conn, "queue.declare passive");
        if (ok->message_count == ready || !--tries)
            break;
        amqp_maybe_release_buffers(conn);
        nanosleep(&pause, NULL);
    }
    printf("queue %s: %u ready, %u consumers\n", queue, ok->message_count, ok->consumer_count);
}
