/*
 * definitions-internal.h - what the files of the definitions module share
 *
 * A file goes through four hands: definitions.c reads it, definitions_parse.c makes JSON of it,
 * definitions_check.c (with the rules of single kinds of objects in definitions_rules.c) checks it,
 * definitions_apply.c imports it. The check leaves the parsed text in *canonical form*, which the import then trusts:
 *
 *      maps          objects, never arrays of pairs
 *      users         tags: one comma-separated string; hashing_algorithm: an enum auth_hashing;
 *                    password_hash: there, perhaps empty; no password
 *      vhosts        metadata: the members to be set, tags in it an array of strings
 *      queues        arguments hold x-queue-type where the file says quorum or stream
 *      policies      pattern, apply-to, priority and definition are all there
 *      every object  says its vhost, also where the file is the export of a single one
 *
 * An object that is left out because this version cannot do it is gone from its array.
 */
#ifndef ADMIN_DEFINITIONS_INTERNAL_H
#define ADMIN_DEFINITIONS_INTERNAL_H

#include <jansson.h>

#include "admin/definitions.h"
#include "amqp/text.h"
#include "auth/auth.h"
#include "broker/broker.h"

enum {
    DEFINITIONS_NAME_KEY_BYTES = 520,
    DEFINITIONS_LEFT_OUT = 1, /* of a rule: the object is not to be imported, which was reported */
    DEFINITIONS_FILE_BYTES_MAX = 64 * 1024 * 1024,
    DEFINITIONS_PATTERN_BYTES_MAX = 16384, /* of a policy; permissions are bounded by src/auth */
};

/** struct definitions_error - where the lines for the operator go */
struct definitions_error {
    char *text;
    size_t size; /* at least 1 */
};

static inline void json_free(json_t *value)
{
    json_decref(value);
}
DEFINE_OWNED(json_free, json_t *)

/**
 * struct definitions_check - the check of one import, over all of its files
 *
 * `trial` is an auth of its own, to which users and permissions are put for real: what it takes,
 * the broker's takes too. Mistakes are gathered as lines of `problems`, one an object or field, so
 * that one run shows them all.
 */
struct definitions_check {
    const struct definitions_request *request;
    struct broker *broker;
    struct auth *trial;
    json_t *vhosts; /* named by the files so far: an object with their names as keys */
    struct definitions_error error;
    struct amqp_text problems; /* over the error's buffer */
    unsigned n_problems, n_unlisted; /* unlisted: did not fit */
    bool has_unsupported;            /* one of them could be left out */
    json_t *named;          /* queues and exchanges of the files, by definitions_name_key() */
    json_t *without_effect; /* what it is -> name -> number of objects that have it */
    /* of the file and object being checked */
    const char *source;
    const struct definitions_section *section;
    const json_t *object;
    size_t index;
    enum auth_hashing hashing; /* of users that do not name theirs */
};

/** definitions_check_init() - 0 or -ENOMEM; to be released in any case */
int definitions_check_init(struct definitions_check *check,
                           const struct definitions_request *request,
                           struct definitions_error error);
void definitions_check_release(struct definitions_check *check);

/** definitions_parse() - 0 and a new reference; -EINVAL or -ENOMEM with a text */
int definitions_parse(struct broker *broker, struct amqp_bytes json, const char *source,
                      struct definitions_error error, json_t **ret_root);

/**
 * definitions_check_file() - check a parsed file and bring it into canonical form
 * @source: borrowed until the next call
 *
 * Later files may refer to what earlier ones hold. Return: 0, mistakes or not; -ENOMEM with a text.
 */
int definitions_check_file(struct definitions_check *check, json_t *root, const char *source);

/**
 * definitions_check_end() - after the last file: 0, and what has no effect is reported; or -EINVAL,
 *                           with a line for each mistake in the error text
 */
int definitions_check_end(struct definitions_check *check);

/** definitions_refuse() - a line "source: section[index]", what follows, and the object; -EINVAL */
int definitions_refuse(struct definitions_check *check, const char *format, ...)
    PRINTF_LIKE(2, 3);

/**
 * definitions_unsupported() - the same for what this version cannot do
 *
 * Return: -EINVAL, or DEFINITIONS_LEFT_OUT when the request says so, after a line in the log.
 */
int definitions_unsupported(struct definitions_check *check, const char *format, ...)
    PRINTF_LIKE(2, 3);

/** definitions_note_without_effect() - for the report at the end; @what is a plural; 0 or -ENOMEM */
int definitions_note_without_effect(struct definitions_check *check, const char *what,
                                    const char *name);

/** definitions_no_memory() - the error text for it; -ENOMEM */
int definitions_no_memory(struct definitions_error error);

/** definitions_check_map() - replace a member by its object form; refused unless it is a map */
int definitions_check_map(struct definitions_check *check, json_t *object, const char *prefix,
                          const char *name);
/** definitions_name_key() - of a queue, or an exchange, of a vhost; cut at the key's size */
void definitions_name_key(bool queue, const char *vhost, const char *name,
                          char ret_key[DEFINITIONS_NAME_KEY_BYTES]);

/** definitions_write_table() - an object as a field table; NULL is an empty one; 0 or -ENOMEM */
int definitions_write_table(json_t *object, struct amqp_table_writer *writer);
/** definitions_check_table() - the same, and it must make a field table */
int definitions_check_table(struct definitions_check *check, json_t *object, const char *name);

/** definitions_prepare_single_vhost() - say in each object of such an export where it belongs */
int definitions_prepare_single_vhost(struct definitions_check *check, json_t *root);

/* The rules of one kind of object beyond the types of its fields: 0, -EINVAL, -ENOMEM, or
 * DEFINITIONS_LEFT_OUT. */
int definitions_check_vhost(struct definitions_check *check, json_t *vhost);
int definitions_check_user(struct definitions_check *check, json_t *user);
int definitions_check_permission(struct definitions_check *check, json_t *permission);
int definitions_check_topic_permission(struct definitions_check *check, json_t *permission);
int definitions_check_exchange(struct definitions_check *check, json_t *exchange);
int definitions_check_queue(struct definitions_check *check, json_t *queue);
int definitions_check_binding(struct definitions_check *check, json_t *binding);
int definitions_check_policy(struct definitions_check *check, json_t *policy);
int definitions_check_parameter(struct definitions_check *check, json_t *parameter);
int definitions_check_global_parameter(struct definitions_check *check, json_t *parameter);

/**
 * definitions_apply() - import a checked file
 *
 * Return: 0; -ENOMEM (or what the broker returned) with a text.
 */
int definitions_apply(struct broker *broker, json_t *root, const char *source,
                      struct definitions_error error);

#endif
