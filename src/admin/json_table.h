/*
 * json_table.h - JSON values as field tables
 *
 * RabbitMQ's mapping: an integer is 'l' (64 bits, signed), a real 'd', a string 'S', true and
 * false 't', null 'V', an object 'F', an array 'A'.
 */
#ifndef ADMIN_JSON_TABLE_H
#define ADMIN_JSON_TABLE_H

#include <jansson.h>

#include "amqp/base.h"
#include "amqp/table.h"
#include "amqp/text.h"

/**
 * json_table_write() - append an object's members to a table
 * @writer:      where they go; released by the caller, also on failure
 * @path:        what is appended to it on -EINVAL says where: ".x-list[2].name"
 * @ret_problem: set on -EINVAL: what is wrong there, a literal
 *
 * What it makes passes amqp_table_check(), if the table was empty before.
 *
 * Return: 0; -EINVAL past the depth, entries or key length of a field table; -ENOMEM.
 */
int json_table_write(json_t *object, struct amqp_table_writer *writer, struct amqp_text *path,
                     const char **ret_problem);

/** json_text() - a JSON string's octets, borrowed */
struct amqp_str json_text(const json_t *string);

/**
 * json_as_object() - an object as it is, or made of an array of [key, value] pairs
 *
 * RabbitMQ 3.10's command line tool writes some maps in the second form.
 *
 * Return: a new reference; NULL for anything else, or without memory.
 */
json_t *json_as_object(json_t *value);

#endif
