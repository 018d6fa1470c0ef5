/*
 * erlang_term.h - a JSON value as RabbitMQ prints it in the texts of refusals
 *
 * RabbitMQ tells what it was given as an Erlang term, and people search the web for these texts:
 * <<"a">>, 1.5, true, [1,2], #{<<"a">> => 1}.
 */
#ifndef BROKER_ERLANG_TERM_H
#define BROKER_ERLANG_TERM_H

#include <jansson.h>

#include "amqp/text.h"

/** erlang_term_print() - append a value; stops where the text is full */
void erlang_term_print(struct amqp_text *text, const json_t *value);

/** erlang_term_print_pair() - append {<<"key">>,value} */
void erlang_term_print_pair(struct amqp_text *text, const char *key, const json_t *value);

/**
 * erlang_term_check_keys() - whether an object has only known members
 * @name:     whose it is, for the text
 * @known:    ends with NULL
 * @problems: "Unrecognised terms [{<<"foo">>,1}] in NAME" is appended
 *
 * Return: 0; -EINVAL with the text.
 */
int erlang_term_check_keys(const char *name, const json_t *object, const char *const *known,
                           struct amqp_text *problems);

#endif
