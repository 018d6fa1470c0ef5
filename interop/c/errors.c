/*
 * errors.c - exceptions as rabbitmq-c reports them: code, text, failed method, and what survives
 *
 * A channel exception must leave the connection usable: every case below goes on with a channel
 * of the same number. A connection exception ends it, so those come last, a connection each.
 */
#include "libclient.h"

#include <stdio.h>

#define QUEUE "interop.c.errors"
#define EXCHANGE "interop.c.errors.x"
#define NAME(text) amqp_cstring_bytes(text)

static void report(amqp_connection_state_t conn, const char *what)
{
    client_print_reply(conn, 1, what, amqp_get_rpc_reply(conn));
    client_open_channel(conn, 1);
}

/* Asynchronous methods fail later: the exception arrives in place of the next answer. */
static void report_next(amqp_connection_state_t conn, const char *what)
{
    amqp_basic_qos(conn, 1, 0, 0, 0);
    report(conn, what);
}

static void queue_errors(amqp_connection_state_t conn)
{
    amqp_queue_declare(conn, 1, NAME("interop.c.missing"), 1, 0, 0, 0, amqp_empty_table);
    report(conn, "passive declare of a missing queue");
    amqp_queue_declare(conn, 1, NAME(QUEUE), 0, 1, 0, 0, amqp_empty_table);
    report(conn, "declare durable, is transient");
    amqp_queue_declare(conn, 1, NAME(QUEUE), 0, 0, 0, 1, amqp_empty_table);
    report(conn, "declare auto-delete, is not");
    amqp_queue_declare(conn, 1, NAME("amq.interop"), 0, 0, 0, 0, amqp_empty_table);
    report(conn, "declare with reserved prefix");
    amqp_queue_bind(conn, 1, NAME(QUEUE), NAME("interop.c.missing"), NAME("k"), amqp_empty_table);
    report(conn, "bind to a missing exchange");
    amqp_queue_bind(conn, 1, NAME("interop.c.missing"), NAME("amq.direct"), NAME("k"),
                    amqp_empty_table);
    report(conn, "bind a missing queue");
    amqp_queue_purge(conn, 1, NAME("interop.c.missing"));
    report(conn, "purge a missing queue");
    client_publish(conn, "", QUEUE, 0, NULL, "occupied");
    amqp_queue_delete(conn, 1, NAME(QUEUE), 0, 1);
    report(conn, "delete if-empty, is not");
}

static void exchange_errors(amqp_connection_state_t conn)
{
    amqp_exchange_declare(conn, 1, NAME("interop.c.missing"), NAME("direct"), 1, 0, 0, 0,
                          amqp_empty_table);
    report(conn, "passive declare of a missing exchange");
    amqp_exchange_declare(conn, 1, NAME(EXCHANGE), NAME("fanout"), 0, 0, 0, 0, amqp_empty_table);
    report(conn, "declare fanout, is direct");
    amqp_exchange_declare(conn, 1, NAME("amq.interop"), NAME("direct"), 0, 0, 0, 0,
                          amqp_empty_table);
    report(conn, "declare exchange with reserved prefix");
    amqp_exchange_delete(conn, 1, NAME("amq.direct"), 0);
    report(conn, "delete a system exchange");
    amqp_queue_bind(conn, 1, NAME(QUEUE), NAME(EXCHANGE), NAME("k"), amqp_empty_table);
    client_must(conn, "queue.bind");
    amqp_exchange_delete(conn, 1, NAME(EXCHANGE), 1);
    report(conn, "delete if-unused, is used");
    amqp_exchange_bind(conn, 1, NAME(""), NAME(EXCHANGE), NAME("k"), amqp_empty_table);
    report(conn, "bind the default exchange");
}

static void basic_errors(amqp_connection_state_t conn)
{
    client_publish(conn, "interop.c.missing", "k", 0, NULL, "lost");
    report_next(conn, "publish to a missing exchange");
    if (amqp_basic_ack(conn, 1, 5, 0) == AMQP_STATUS_OK)
        report_next(conn, "ack of an unknown tag");
    amqp_basic_consume(conn, 1, NAME("interop.c.missing"), NAME("t"), 0, 0, 0, amqp_empty_table);
    report(conn, "consume from a missing queue");
    client_print_reply(conn, 1, "get from a missing queue",
                       amqp_basic_get(conn, 1, NAME("interop.c.missing"), 1));
    client_open_channel(conn, 1);
    amqp_basic_consume(conn, 1, NAME(QUEUE), NAME("t"), 0, 0, 1, amqp_empty_table);
    client_must(conn, "basic.consume exclusive");
    client_open_channel(conn, 2);
    amqp_basic_consume(conn, 2, NAME(QUEUE), NAME("u"), 0, 0, 0, amqp_empty_table);
    client_print_reply(conn, 2, "consume beside an exclusive consumer", amqp_get_rpc_reply(conn));
    amqp_channel_close(conn, 1, AMQP_REPLY_SUCCESS);
    client_open_channel(conn, 1);
}

static void connection_error(const char *what, void (*provoke)(amqp_connection_state_t conn))
{
    amqp_connection_state_t conn = client_open();

    provoke(conn);
    client_print_reply(conn, 1, what, amqp_get_rpc_reply(conn));
    amqp_destroy_connection(conn);
}

static void reuse_consumer_tag(amqp_connection_state_t conn)
{
    amqp_basic_consume(conn, 1, NAME(QUEUE), NAME("twice"), 0, 1, 0, amqp_empty_table);
    amqp_basic_consume(conn, 1, NAME(QUEUE), NAME("twice"), 0, 1, 0, amqp_empty_table);
}

static void publish_immediate(amqp_connection_state_t conn)
{
    (void)amqp_basic_publish(conn, 1, NAME(""), NAME(QUEUE), 0, 1, NULL, NAME("now"));
    amqp_basic_qos(conn, 1, 0, 0, 0); /* its answer is the exception */
}

static void prefetch_size(amqp_connection_state_t conn)
{
    amqp_basic_qos(conn, 1, 10, 0, 0);
}

static void recover_without_requeue(amqp_connection_state_t conn)
{
    amqp_basic_recover(conn, 1, 0);
}

static void login_error(const char *what, struct client_login login)
{
    amqp_connection_state_t conn = client_socket();

    client_print_reply(conn, 0, what, client_login(conn, &login));
    amqp_destroy_connection(conn);
}

int main(void)
{
    amqp_connection_state_t conn = client_open();

    client_queue(conn, QUEUE, 0);
    amqp_exchange_delete(conn, 1, NAME(EXCHANGE), 0);
    amqp_exchange_declare(conn, 1, NAME(EXCHANGE), NAME("direct"), 0, 0, 0, 0, amqp_empty_table);
    client_must(conn, "exchange.declare");
    queue_errors(conn);
    exchange_errors(conn);
    basic_errors(conn);
    connection_error("consumer tag used twice", reuse_consumer_tag);
    connection_error("publish immediate", publish_immediate);
    connection_error("prefetch size", prefetch_size);
    connection_error("recover without requeue", recover_without_requeue);
    login_error("wrong password", (struct client_login){ "/", "guest", "wrong", 0 });
    login_error("unknown user", (struct client_login){ "/", "nobody", "x", 0 });
    login_error("unknown vhost", (struct client_login){ "interop-none", "guest", "guest", 0 });
    amqp_exchange_delete(conn, 1, NAME(EXCHANGE), 0);
    client_must(conn, "exchange.delete");
    client_delete_queue(conn, QUEUE);
    client_close(conn);
    return 0;
}
