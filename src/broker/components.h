/*
 * components.h - what parameters mean: each component's checks and effects
 *
 * A parameter is kept as JSON (parameters.h). Before that it is compiled here, which may refuse it;
 * the compiled form is then brought into effect, which cannot fail.
 *
 * Spec: extensions.md 5.4; operations.md 1.5.
 */
#ifndef BROKER_COMPONENTS_H
#define BROKER_COMPONENTS_H

#include "broker/broker.h"

struct component;

/** struct component_effect - a parameter that has been compiled; starts as all zero */
struct component_effect {
    const struct component *component; /* NULL: no effect */
    void *compiled;
};

/**
 * component_compile() - check a parameter
 * @error_text: what is wrong, one line each, in RabbitMQ's words
 *
 * Return: 0; -EINVAL with a text; -ENOMEM.
 */
int component_compile(struct broker *broker, const struct parameter_key *key, const char *json,
                      char *error_text, size_t error_text_size,
                      struct component_effect *ret_effect);

/** component_apply() - bring a compiled parameter into effect; the effect is used up */
void component_apply(struct broker *broker, const struct parameter_key *key,
                     struct component_effect *effect);

/** component_clear() - what the parameter did is undone */
void component_clear(struct broker *broker, const struct parameter_key *key);

/** component_release() - free an effect that is not applied; used up ones are fine */
void component_release(struct component_effect *effect);

#endif
