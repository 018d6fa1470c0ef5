/*
 * client.h - what a client puts on the wire
 *
 * Methods and contents become frames in memory of exactly their size, which the broker gets through
 * connection_receive(), so that a read past the end of a frame is found.
 */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "model.h"

enum { CLIENT_BODY_HEAD_BYTES = 8 }; /* every body starts with "m0000001", the number */

/** client_open() - make a connection and go through the handshake */
void client_open(struct sim *sim, struct m_connection *connection);

/** client_forget() - as if it had never been; the broker's side is the caller's */
void client_forget(struct m_connection *connection);
/** client_drop() - the socket is gone */
void client_drop(struct sim *sim, struct m_connection *connection);

/** client_send() - a method; the model has been told what it does */
void client_send(struct sim *sim, struct m_connection *connection, uint16_t channel,
                 const void *method);

/**
 * client_send_content() - go on with channel->content: basic.publish and header, or the body
 * @all: all that is left of it; else as little as may come in one go
 *
 * When the last octet is about to go, the model publishes the message.
 */
void client_send_content(struct sim *sim, struct m_channel *channel, bool all);

/** client_new_message() - with a number, random persistence, properties and size of body */
struct m_message *client_new_message(struct sim *sim, const char *exchange,
                                     const char *routing_key);

/** client_check_body() - whether these are the octets of the message's body */
bool client_check_body(const struct m_message *message, const uint8_t *body);
/** client_body_id() - the number in a body; 0 when it is none of ours */
uint32_t client_body_id(const uint8_t *body, size_t size);

#endif
