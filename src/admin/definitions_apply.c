/*
 * definitions_apply.c - the second pass: bring a checked file into the broker
 *
 * The file is in canonical form and its references hold, so only memory can fail here. Objects are
 * added in the order in which they need each other: vhosts, users, permissions, exchanges, queues,
 * bindings, policies, parameters. Everything goes to memory and to the store's open commit; nobody
 * seals it in between, as this is one turn of the loop.
 *
 * Queues are made with queue_new() and not declared: their arguments have been checked.
 *
 * Spec: operations.md 1.10.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/definitions-internal.h"
#include "admin/json_table.h"
#include "broker/meta.h"
#include "broker/queue_arguments.h"
#include "broker/vhost.h"

enum { PROBLEM_BYTES = 256 };

struct import {
    struct broker *broker;
    const char *source;
};

static const char *string_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static struct amqp_str text_of(const json_t *object, const char *name)
{
    return json_text(json_object_get(object, name));
}

static struct vhost *vhost_of(const struct import *import, const json_t *object)
{
    return broker_find_vhost(import->broker, text_of(object, "vhost"));
}

static int write_table(const json_t *object, const char *name, struct amqp_table_writer *writer)
{
    return definitions_write_table(json_object_get(object, name), writer);
}

/* --- vhosts, users, permissions --- */

/* What the file does not mention stays as it was. */
static void keep_metadata(struct amqp_table_writer *writer, struct amqp_table kept,
                          const json_t *metadata)
{
    struct amqp_table_iter iter = amqp_table_begin(kept);
    struct amqp_value value;
    struct amqp_str key;

    while (amqp_table_next(&iter, &key, &value)) {
        if (!json_object_getn(metadata, key.data, key.size))
            amqp_table_put_value(writer, key, &value);
    }
}

static int apply_vhost(struct import *import, json_t *object)
{
    struct vhost *vhost = broker_find_vhost(import->broker, text_of(object, "name"));
    json_t *metadata = json_object_get(object, "metadata");
    struct amqp_table_writer writer = { 0 };
    int rc = write_table(object, "metadata", &writer);

    if (!rc && vhost)
        keep_metadata(&writer, vhost->metadata, metadata);
    if (!rc && writer.failed)
        rc = -ENOMEM;
    if (!rc && !(vhost && amqp_table_equal(vhost->metadata, amqp_table_written(&writer))))
        rc = broker_put_vhost(import->broker, text_of(object, "name"),
                              amqp_table_written(&writer), &vhost);
    amqp_table_writer_release(&writer);
    return rc;
}

/* A limit of the file, or the one that the user has; -1: none. */
static int64_t limit_of(const json_t *limits, const char *name, int64_t current)
{
    json_t *value = json_object_get(limits, name);

    if (!limits)
        return current;
    if (!value || json_integer_value(value) < 0)
        return -1;
    return json_integer_value(value);
}

static int apply_user(struct import *import, json_t *object)
{
    const char *name = string_of(object, "name");
    json_int_t hashing = json_integer_value(json_object_get(object, "hashing_algorithm"));
    const struct user *user = auth_find_user(import->broker->auth, name);
    json_t *limits = json_object_get(object, "limits");

    return broker_put_user(import->broker, name, (enum auth_hashing)hashing,
                           string_of(object, "password_hash"), string_of(object, "tags"),
                           limit_of(limits, "max-connections", user ? user->max_connections : -1),
                           limit_of(limits, "max-channels", user ? user->max_channels : -1));
}

static int apply_permission(struct import *import, json_t *object)
{
    char text[256];

    return broker_put_permissions(import->broker, string_of(object, "user"),
                                  string_of(object, "vhost"), string_of(object, "configure"),
                                  string_of(object, "write"), string_of(object, "read"), text,
                                  sizeof text);
}

static int apply_topic_permission(struct import *import, json_t *object)
{
    char text[256];

    return broker_put_topic_permissions(import->broker, string_of(object, "user"),
                                        string_of(object, "vhost"),
                                        string_of(object, "exchange"),
                                        string_of(object, "write"), string_of(object, "read"),
                                        text, sizeof text);
}

/* --- exchanges, queues, bindings --- */

/* Names that only the broker gives away: not imported (operations.md 1.7, 1.8). */
static bool is_reserved(const struct import *import, const char *kind, const json_t *object)
{
    struct amqp_str name = text_of(object, "name");

    if (name.size && !amqp_str_starts_with(name, AMQP_STR("amq.")))
        return false;
    broker_log(import->broker, BROKER_LOG_WARNING,
               "%s: %s '%s' in vhost '%s' was skipped: the name is the broker's own",
               import->source, kind, name.data, string_of(object, "vhost"));
    return true;
}

static bool is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static int make_exchange(struct vhost *vhost, const json_t *object, struct amqp_table arguments)
{
    const struct exchange_properties properties = {
        .name = text_of(object, "name"),
        .type = exchange_type_find(text_of(object, "type")),
        .durable = is_true(object, "durable"),
        .auto_delete = is_true(object, "auto_delete"),
        .internal = is_true(object, "internal"),
        .arguments = arguments,
    };
    struct exchange *exchange;
    int rc = exchange_new(vhost, &properties, &exchange);

    if (rc || !exchange->durable)
        return rc;
    rc = meta_put_exchange(exchange);
    if (rc)
        exchange_destroy(exchange);
    return rc;
}

static int apply_exchange(struct import *import, json_t *object)
{
    struct vhost *vhost = vhost_of(import, object);
    struct amqp_table_writer writer = { 0 };
    int rc;

    if (is_reserved(import, "exchange", object) ||
        vhost_get_exchange(vhost, text_of(object, "name")))
        return 0;
    rc = write_table(object, "arguments", &writer);
    if (!rc)
        rc = make_exchange(vhost, object, amqp_table_written(&writer));
    amqp_table_writer_release(&writer);
    return rc;
}

static int make_queue(struct vhost *vhost, const json_t *object, struct amqp_table arguments)
{
    const struct queue_properties properties = {
        .name = text_of(object, "name"),
        .durable = is_true(object, "durable"),
        .auto_delete = is_true(object, "auto_delete"),
        .arguments = arguments,
    };
    struct queue *queue;
    int rc = queue_new(vhost, &properties, &queue);

    if (rc)
        return rc;
    rc = queue->durable ? meta_put_queue(queue) : 0;
    if (rc)
        queue_destroy(queue);
    return rc;
}

static int apply_queue(struct import *import, json_t *object)
{
    struct vhost *vhost = vhost_of(import, object);
    struct amqp_table_writer writer = { 0 };
    int rc;

    if (is_reserved(import, "queue", object) || vhost_get_queue(vhost, text_of(object, "name")))
        return 0;
    rc = write_table(object, "arguments", &writer);
    if (!rc)
        rc = make_queue(vhost, object, amqp_table_written(&writer));
    amqp_table_writer_release(&writer);
    return rc;
}

static int drop_binding(const struct import *import, const json_t *object, const char *why)
{
    broker_log(import->broker, BROKER_LOG_WARNING,
               "%s: a binding from exchange '%s' to %s '%s' in vhost '%s' was dropped: %s",
               import->source, string_of(object, "source"), string_of(object, "destination_type"),
               string_of(object, "destination"), string_of(object, "vhost"), why);
    return 0;
}

static int add_binding(const struct import *import, const json_t *object,
                       struct binding_request *request)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_error err;
    int rc = write_table(object, "arguments", &writer);

    request->arguments = amqp_table_written(&writer);
    if (!rc)
        rc = binding_add(request, &err);
    amqp_table_writer_release(&writer);
    return rc > 0 ? drop_binding(import, object, err.text) : rc;
}

static int apply_binding(struct import *import, json_t *object)
{
    struct vhost *vhost = vhost_of(import, object);
    struct amqp_str name = text_of(object, "destination");
    struct binding_request request = { .key = text_of(object, "routing_key") };

    if (text_of(object, "source").size == 0)
        return drop_binding(import, object, "the default exchange has only bindings of its own");
    request.source = vhost_get_exchange(vhost, text_of(object, "source"));
    if (!request.source)
        return drop_binding(import, object, "there is no such exchange");
    if (strcmp(string_of(object, "destination_type"), "exchange") == 0) {
        struct exchange *exchange = vhost_get_exchange(vhost, name);

        if (!exchange)
            return drop_binding(import, object, "the destination does not exist");
        request.destination = &exchange->destination;
        request.destination_durable = exchange->durable;
    } else {
        struct queue *queue = vhost_get_queue(vhost, name);

        if (!queue)
            return drop_binding(import, object, "the destination does not exist");
        request.destination = &queue->destination;
        request.destination_durable = queue->durable;
    }
    return add_binding(import, object, &request);
}

/* --- policies and parameters: handed over as JSON text --- */

static char *dump(json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

static int apply_policy(struct import *import, json_t *object)
{
    static const char *const members[] = { "pattern", "apply-to", "priority", "definition" };
    OWNED(json_free) json_t *policy = json_object();
    char *json, text[PROBLEM_BYTES]; /* the check has seen to it that there is none */
    int rc;

    for (size_t i = 0; i < N_ELEMENTS(members); i++) {
        if (json_object_set(policy, members[i], json_object_get(object, members[i])))
            return -ENOMEM;
    }
    json = dump(policy);
    if (!json)
        return -ENOMEM;
    rc = broker_put_policy(import->broker, string_of(object, "vhost"), string_of(object, "name"),
                           json, text, sizeof text);
    free(json);
    return rc;
}

static int apply_parameter(struct import *import, json_t *object)
{
    char *json = dump(json_object_get(object, "value")), text[PROBLEM_BYTES];
    int rc;

    if (!json)
        return -ENOMEM;
    rc = broker_put_parameter(import->broker, string_of(object, "vhost"),
                              string_of(object, "component"), string_of(object, "name"), json, text, sizeof text);
    free(json);
    return rc;
}

static int apply_global_parameter(struct import *import, json_t *object)
{
    char *json = dump(json_object_get(object, "value")), text[PROBLEM_BYTES];
    int rc;

    if (!json)
        return -ENOMEM;
    rc = broker_put_global_parameter(import->broker, string_of(object, "name"), json, text,
                                     sizeof text);
    free(json);
    return rc;
}

/* --- the whole file --- */

static const struct {
    const char *name;
    int (*apply)(struct import *import, json_t *object);
} sections[] = {
    { "vhosts", apply_vhost },
    { "users", apply_user },
    { "permissions", apply_permission },
    { "topic_permissions", apply_topic_permission },
    { "exchanges", apply_exchange },
    { "queues", apply_queue },
    { "bindings", apply_binding },
    { "policies", apply_policy },
    { "parameters", apply_parameter },
    { "global_parameters", apply_global_parameter },
};

static void report(const struct import *import, json_t *root)
{
    broker_log(import->broker, BROKER_LOG_INFO,
               "%s: imported a file of %zu vhosts, %zu users, %zu exchanges, %zu queues and %zu "
               "bindings",
               import->source, json_array_size(json_object_get(root, "vhosts")),
               json_array_size(json_object_get(root, "users")),
               json_array_size(json_object_get(root, "exchanges")),
               json_array_size(json_object_get(root, "queues")),
               json_array_size(json_object_get(root, "bindings")));
}

static int apply_sections(struct import *import, json_t *root, struct definitions_error error)
{
    for (size_t i = 0; i < N_ELEMENTS(sections); i++) {
        json_t *array = json_object_get(root, sections[i].name);
        json_t *object;
        size_t at;

        json_array_foreach (array, at, object) {
            int rc = sections[i].apply(import, object);

            if (!rc)
                continue;
            snprintf(error.text, error.size, "%s: %s[%zu]: %s", import->source, sections[i].name,
                     at, strerror(-rc));
            return rc;
        }
    }
    return 0;
}

int definitions_apply(struct broker *broker, json_t *root, const char *source,
                      struct definitions_error error)
{
    struct import import = { .broker = broker, .source = source };
    int rc = apply_sections(&import, root, error);

    if (!rc)
        report(&import, root);
    return rc;
}
