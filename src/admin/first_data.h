/*
 * first_data.h - what a start puts into the broker: definitions, and the first user
 *
 * With definitions, RabbitMQ makes no default user; a file without users then leaves a broker that
 * nobody can log in to. Here a new data directory always ends up with a user.
 */
#ifndef ADMIN_FIRST_DATA_H
#define ADMIN_FIRST_DATA_H

#include "admin/definitions.h"

struct broker;
struct config;

/** struct first_data - borrowed for the time of each call */
struct first_data {
    struct broker *broker;
    const struct config *config;
    const char *definitions_path; /* a file or a directory; NULL: none */
    char *error_text;             /* receives lines for the operator on failure */
    size_t error_text_size;
};

/**
 * first_data_put() - import the definitions, if any; make the default user, with its vhost and
 *                    permissions, where the data directory was empty and has no user now
 *
 * Says through broker_log() what it did, and when default_user has no effect.
 * Return: 0, or -errno with a text.
 */
int first_data_put(const struct first_data *data);

/** first_data_import() - import the definitions (again); 0 without any, or -errno with a text */
int first_data_import(const struct first_data *data);

/** first_data_check() - check the definitions only; what has no effect goes to broker_log() */
int first_data_check(const struct first_data *data);

#endif
