/*
 * generated_name.h - names that the broker makes up: amq.gen-..., amq.ctag-...
 */
#ifndef BROKER_GENERATED_NAME_H
#define BROKER_GENERATED_NAME_H

#include "amqp/base.h"

enum { GENERATED_NAME_BYTES = 48, GENERATED_TOKEN_BYTES = 24 };

/**
 * generate_token() - 16 random octets as base64 with its padding
 * @out:  room for the token and a NUL
 *
 * Return: 0; -EIO when there are no random octets to be had.
 */
int generate_token(char out[GENERATED_TOKEN_BYTES + 1]);

/**
 * generate_name() - @prefix and 16 random octets as 22 characters of base64url (6.5.1)
 * @out:  room for the name; *ret_name points into it
 *
 * Return: 0; -EIO when there are no random octets to be had.
 */
int generate_name(const char *prefix, char out[GENERATED_NAME_BYTES], struct amqp_str *ret_name);

#endif
