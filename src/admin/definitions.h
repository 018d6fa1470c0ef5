/*
 * definitions.h - importing RabbitMQ's definition files
 *
 * A definitions file is a JSON export of everything but messages: vhosts, users, permissions,
 * exchanges, queues, bindings, policies, parameters. An import adds and overwrites, never deletes,
 * and may be repeated: existing queues and exchanges stay as they are, everything else takes the
 * file's value.
 *
 * All of the input is checked before anything is changed, so input with a mistake changes nothing
 * and the error text has a line for each mistake, which says where it is and in what ("rabbit.json:
 * queues[3].durable: expected true or false (queue 'jobs' in vhost 'shop')"). What has no effect in
 * this version is reported by name through broker_log().
 */
#ifndef ADMIN_DEFINITIONS_H
#define ADMIN_DEFINITIONS_H

#include "amqp/base.h"

struct broker;

/** struct definitions_request - what to import into, and how */
struct definitions_request {
    struct broker *broker;
    const char *vhost;     /* where the export of a single vhost goes; NULL: to the name it has */
    bool skip_unsupported; /* leave out, and report, what this version cannot do; else a mistake */
    bool check_only;       /* change nothing; the broker needs no store */
    char *error_text;      /* receives lines for the operator on failure, no newline at its end */
    size_t error_text_size;
};

/**
 * definitions_import_file() - import a file, or the files of a directory in order of their names
 * @path: in a directory, subdirectories and names that begin with a dot are left out; a mistake in
 *        one file means that none of them is imported
 *
 * Changes memory and the store's open commit.
 *
 * Return: 0; -EINVAL for mistakes in the input; -EFBIG for a file of more than 64 MiB; -ENOMEM,
 *         after which a part may be applied; another -errno when a file cannot be read.
 */
int definitions_import_file(const struct definitions_request *request, const char *path);

/**
 * definitions_import() - the same for a text in memory
 * @json:   borrowed; a byte order mark is skipped; nothing, or `null`, is an empty file
 * @source: how error texts and log lines call it
 */
int definitions_import(const struct definitions_request *request, struct amqp_bytes json,
                       const char *source);

#endif
