/*
 * parameters.h - policies, parameters and global parameters, as the JSON that defined them
 *
 * Kept whole and in order of arrival; what they mean is the business of those who read them.
 */
#ifndef BROKER_PARAMETERS_H
#define BROKER_PARAMETERS_H

#include "amqp/base.h"
#include "broker/hash_table.h"
#include "store/store.h"

/** struct parameter - borrowed until parameters change */
struct parameter {
    enum store_kind kind;  /* STORE_KIND_POLICY, _PARAMETER or _GLOBAL_PARAMETER */
    const char *vhost;     /* "" for a global parameter */
    const char *component; /* "policy" for a policy, "" for a global parameter */
    const char *name;
    char *json;
    struct hash_link by_key;
    struct parameter *next, *prev;
};

/** struct parameters - starts as all zero */
struct parameters {
    struct hash_table by_key;
    struct parameter *first;
};

/** struct parameter_key - which one; strings borrowed */
struct parameter_key {
    enum store_kind kind;
    const char *vhost, *component, *name;
};

/** parameters_put() - add, or replace the JSON of one that is there; copies. 0 or -ENOMEM */
int parameters_put(struct parameters *parameters, const struct parameter_key *key,
                   const char *json);

/** parameters_remove() - false if there is none */
bool parameters_remove(struct parameters *parameters, const struct parameter_key *key);

/** parameters_find() - NULL if there is none */
const struct parameter *parameters_find(const struct parameters *parameters,
                                        const struct parameter_key *key);

/** parameters_first(), parameter_next() - for loops over one kind; NULL at the end */
const struct parameter *parameters_first(const struct parameters *parameters,
                                         enum store_kind kind);
const struct parameter *parameter_next(const struct parameter *parameter);

void parameters_release(struct parameters *parameters);

#endif
