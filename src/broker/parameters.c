/*
 * parameters.c - see parameters.h
 */
#include "broker/parameters.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

static uint64_t hash_key(const struct parameter_key *key)
{
    uint64_t hash = hash_str((uint64_t)key->kind, amqp_str_from(key->vhost));

    hash = hash_str(hash, amqp_str_from(key->component));
    return hash_str(hash, amqp_str_from(key->name));
}

static struct parameter *find(const struct parameters *parameters, const struct parameter_key *key,
                              uint64_t hash)
{
    struct hash_link *link = hash_table_first(&parameters->by_key, hash);

    for (; link; link = hash_table_next(link)) {
        struct parameter *parameter = CONTAINER_OF(link, struct parameter, by_key);

        if (parameter->kind == key->kind && strcmp(parameter->vhost, key->vhost) == 0 &&
            strcmp(parameter->component, key->component) == 0 &&
            strcmp(parameter->name, key->name) == 0)
            return parameter;
    }
    return NULL;
}

static void parameter_free(struct parameter *parameter)
{
    free(parameter->json);
    free(parameter);
}

/* One allocation with the three names behind it, another for the JSON, which may be replaced. */
static struct parameter *parameter_new(const struct parameter_key *key, const char *json)
{
    size_t vhost_bytes = strlen(key->vhost) + 1, component_bytes = strlen(key->component) + 1;
    size_t name_bytes = strlen(key->name) + 1;
    struct parameter *parameter =
        calloc(1, sizeof *parameter + vhost_bytes + component_bytes + name_bytes);
    char *at;

    if (!parameter)
        return NULL;
    at = (char *)(parameter + 1);
    parameter->kind = key->kind;
    parameter->vhost = memcpy(at, key->vhost, vhost_bytes);
    parameter->component = memcpy(at + vhost_bytes, key->component, component_bytes);
    parameter->name = memcpy(at + vhost_bytes + component_bytes, key->name, name_bytes);
    parameter->json = strdup(json);
    if (!parameter->json) {
        free(parameter);
        return NULL;
    }
    return parameter;
}

int parameters_put(struct parameters *parameters, const struct parameter_key *key,
                   const char *json)
{
    uint64_t hash = hash_key(key);
    struct parameter *parameter = find(parameters, key, hash);

    if (parameter) {
        char *copy = strdup(json);

        if (!copy)
            return -ENOMEM;
        free(parameter->json);
        parameter->json = copy;
        return 0;
    }
    parameter = parameter_new(key, json);
    if (!parameter)
        return -ENOMEM;
    if (hash_table_add(&parameters->by_key, &parameter->by_key, hash)) {
        parameter_free(parameter);
        return -ENOMEM;
    }
    DL_APPEND(parameters->first, parameter);
    return 0;
}

bool parameters_remove(struct parameters *parameters, const struct parameter_key *key)
{
    struct parameter *parameter = find(parameters, key, hash_key(key));

    if (!parameter)
        return false;
    DL_DELETE(parameters->first, parameter);
    hash_table_remove(&parameters->by_key, &parameter->by_key);
    parameter_free(parameter);
    return true;
}

const struct parameter *parameters_find(const struct parameters *parameters,
                                        const struct parameter_key *key)
{
    return find(parameters, key, hash_key(key));
}

static const struct parameter *of_kind(const struct parameter *parameter, enum store_kind kind)
{
    while (parameter && parameter->kind != kind)
        parameter = parameter->next;
    return parameter;
}

const struct parameter *parameters_first(const struct parameters *parameters,
                                         enum store_kind kind)
{
    return of_kind(parameters->first, kind);
}

const struct parameter *parameter_next(const struct parameter *parameter)
{
    return of_kind(parameter->next, parameter->kind);
}

void parameters_release(struct parameters *parameters)
{
    struct parameter *parameter, *next;

    DL_FOREACH_SAFE(parameters->first, parameter, next) {
        DL_DELETE(parameters->first, parameter);
        hash_table_remove(&parameters->by_key, &parameter->by_key);
        parameter_free(parameter);
    }
}
