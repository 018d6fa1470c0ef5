/*
 * expiration.h - the expiration property: milliseconds as decimal text
 */
#ifndef BROKER_EXPIRATION_H
#define BROKER_EXPIRATION_H

#include "amqp/base.h"
#include "amqp/reply.h"

/**
 * expiration_parse() - read the property as RabbitMQ does: an optional sign, digits, nothing else
 *
 * Return: 0; 406 with RabbitMQ's text ("invalid expiration 'abc': no_integer").
 * Spec: amqp-0-9-1.md 6.9.
 */
int expiration_parse(struct amqp_str text, struct amqp_error *err, int64_t *ret_ms);

#endif
