/*
 * libclient.h - what every rabbitmq-c program of this folder needs
 *
 * The programs print a transcript that is compared with the checked-in one, so the helpers here
 * turn each outcome of the library into one line of text without times, ports or generated names.
 * Anything that a scenario did not foresee ends the program with status 1 and a line on stderr.
 */
#ifndef INTEROP_LIBCLIENT_H
#define INTEROP_LIBCLIENT_H

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>

#define CLIENT_WAIT_S 15 /* longest wait for anything that must come */

struct client_login {
    const char *vhost, *user, *password;
    int heartbeat_s;
};

/**
 * client_socket() - a connected TCP socket, no byte of AMQP exchanged yet
 *
 * Return: a connection to the broker on 127.0.0.1:$AMQP_PORT; the caller destroys it.
 */
amqp_connection_state_t client_socket(void);

/**
 * client_login() - run the handshake on a fresh socket
 *
 * Return: the library's reply, to be printed with client_print_reply() or checked by the caller.
 */
amqp_rpc_reply_t client_login(amqp_connection_state_t conn, const struct client_login *login);

/**
 * client_open() - connect as guest to "/" and open channel 1; ends the program if refused
 */
amqp_connection_state_t client_open(void);

/**
 * client_open_channel() - open a channel; ends the program if refused
 */
void client_open_channel(amqp_connection_state_t conn, amqp_channel_t channel);

/**
 * client_close() - close the connection properly and free it; ends the program if that fails
 */
void client_close(amqp_connection_state_t conn);

/**
 * client_must() - end the program unless the last call on @conn succeeded
 * @what: names the call in the message
 */
void client_must(amqp_connection_state_t conn, const char *what);

/**
 * client_print_reply() - one line for an outcome: ok, an exception with code and text, or an error
 * @channel: answered with close-ok if the broker closed it, so that its number can be used again
 */
void client_print_reply(amqp_connection_state_t conn, amqp_channel_t channel, const char *what,
                        amqp_rpc_reply_t reply);

/**
 * client_wait_frame() - the next frame from the broker; ends the program after CLIENT_WAIT_S
 */
amqp_frame_t client_wait_frame(amqp_connection_state_t conn);

/**
 * client_queue() - declare a queue, empty, whatever was left of it before
 * @durable: 1 for a durable queue
 */
void client_queue(amqp_connection_state_t conn, const char *name, amqp_boolean_t durable);

/**
 * client_delete_queue() - delete a queue and print how many ready messages it still held
 */
void client_delete_queue(amqp_connection_state_t conn, const char *name);

/**
 * client_publish() - publish text on channel 1
 * @properties: may be NULL
 */
void client_publish(amqp_connection_state_t conn, const char *exchange, const char *routing_key,
                    amqp_boolean_t mandatory, const amqp_basic_properties_t *properties,
                    const char *body);

/**
 * client_get() - basic.get on channel 1, printed with its body
 *
 * Return: the delivery tag, 0 if the queue was empty.
 */
uint64_t client_get(amqp_connection_state_t conn, const char *queue, amqp_boolean_t no_ack);

/**
 * client_print_count() - ready messages and consumers of a queue, asked with a passive declare
 * @ready: asked again, for CLIENT_WAIT_S at most, until so many messages are ready: RabbitMQ
 *         answers ahead of messages that are still on their way into the queue
 */
void client_print_count(amqp_connection_state_t conn, const char *queue, unsigned ready);

#endif
