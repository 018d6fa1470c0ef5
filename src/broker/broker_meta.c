/*
 * broker_meta.c - changes to vhosts, users, permissions, policies and parameters
 *
 * Each is made in memory first, where it may be refused, then put into the open commit. Calling
 * again with the same values changes nothing, so that a caller who met a lack of memory between
 * the two may try again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "broker/components.h"
#include "broker/meta-internal.h"
#include "broker/meta.h"
#include "broker/vhost_limits.h"

static int replace_metadata(struct vhost *vhost, struct amqp_table metadata)
{
    uint8_t *copy = NULL;

    if (metadata.size) {
        copy = malloc(metadata.size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, metadata.data, metadata.size);
    }
    free((uint8_t *)(uintptr_t)vhost->metadata.data);
    vhost->metadata = (struct amqp_table){ copy, metadata.size };
    return 0;
}

int broker_put_vhost(struct broker *broker, struct amqp_str name, struct amqp_table metadata,
                     struct vhost **ret_vhost)
{
    struct vhost *vhost = broker_find_vhost(broker, name);
    char text[BOUND_LOG_LINE_BYTES];
    int rc = 0;

    if (!vhost) {
        rc = broker_check_vhost_limit(broker, name, text, sizeof text);
        if (rc)
            broker_log(broker, BROKER_LOG_WARNING, "%s", text);
    }
    if (!vhost && !rc)
        rc = vhost_new(broker, name, &vhost);
    if (!rc)
        rc = replace_metadata(vhost, metadata);
    if (!rc)
        rc = meta_put_vhost(vhost);
    if (!rc)
        *ret_vhost = vhost;
    return rc;
}

int broker_put_user(struct broker *broker, const char *name, enum auth_hashing hashing,
                    const char *hash, const char *tags, int64_t max_connections,
                    int64_t max_channels)
{
    struct amqp_table_writer writer = { 0 };
    int rc = auth_put_user(broker->auth, name, hashing, hash, tags);
    struct user *user;

    if (rc)
        return rc;
    broker->topology_generation++; /* cached decisions about the user are stale */
    user = auth_find_user(broker->auth, name);
    user->max_connections = max_connections;
    user->max_channels = max_channels;
    amqp_table_put_str(&writer, "hashing", amqp_str_from(meta_hashing_name(hashing)));
    amqp_table_put_str(&writer, "hash", amqp_str_from(hash));
    amqp_table_put_str(&writer, "tags", amqp_str_from(tags));
    amqp_table_put_int(&writer, "max_connections", max_connections);
    amqp_table_put_int(&writer, "max_channels", max_channels);
    return meta_put(broker, STORE_KIND_USER, META_KEY(amqp_str_from(name)), &writer);
}

static void note_user(void *context, const struct user *user)
{
    (void)user;
    *(bool *)context = true;
}

bool broker_has_users(const struct broker *broker)
{
    bool any = false;

    auth_each_user(broker->auth, note_user, &any);
    return any;
}

static int check_vhost(const struct broker *broker, const char *vhost, char *error_text,
                       size_t error_text_size)
{
    if (broker_find_vhost(broker, amqp_str_from(vhost)))
        return 0;
    snprintf(error_text, error_text_size, "there is no vhost '%s'", vhost);
    return -ENOENT;
}

/* -ENOENT of auth.h means the user. */
static int explain(int rc, const char *user, char *error_text, size_t error_text_size)
{
    if (rc == -ENOENT)
        snprintf(error_text, error_text_size, "there is no user '%s'", user);
    return rc;
}

int broker_put_permissions(struct broker *broker, const char *user, const char *vhost,
                           const char *configure, const char *write, const char *read,
                           char *error_text, size_t error_text_size)
{
    struct amqp_table_writer writer = { 0 };
    int rc = check_vhost(broker, vhost, error_text, error_text_size);

    if (rc)
        return rc;
    rc = auth_put_permissions(broker->auth, user, vhost, configure, write, read, error_text,
                              error_text_size);
    if (rc)
        return explain(rc, user, error_text, error_text_size);
    broker->topology_generation++;
    amqp_table_put_str(&writer, "configure", amqp_str_from(configure));
    amqp_table_put_str(&writer, "write", amqp_str_from(write));
    amqp_table_put_str(&writer, "read", amqp_str_from(read));
    return meta_put(broker, STORE_KIND_PERMISSION,
                    META_KEY(amqp_str_from(user), amqp_str_from(vhost)), &writer);
}

int broker_put_topic_permissions(struct broker *broker, const char *user, const char *vhost,
                                 const char *exchange, const char *write, const char *read,
                                 char *error_text, size_t error_text_size)
{
    struct amqp_table_writer writer = { 0 };
    int rc = check_vhost(broker, vhost, error_text, error_text_size);

    if (rc)
        return rc;
    rc = auth_put_topic_permissions(broker->auth, user, vhost, exchange, write, read, error_text,
                                    error_text_size);
    if (rc)
        return explain(rc, user, error_text, error_text_size);
    broker->topology_generation++;
    amqp_table_put_str(&writer, "write", amqp_str_from(write));
    amqp_table_put_str(&writer, "read", amqp_str_from(read));
    return meta_put(broker, STORE_KIND_TOPIC_PERMISSION,
                    META_KEY(amqp_str_from(user), amqp_str_from(vhost), amqp_str_from(exchange)),
                    &writer);
}

static const struct meta_key *record_key(const struct parameter_key *key, struct meta_key *ret)
{
    *ret = *META_KEY(amqp_str_from(key->vhost), amqp_str_from(key->component),
                     amqp_str_from(key->name));
    return ret;
}

static int put_parameter(struct broker *broker, const struct parameter_key *key, const char *json,
                         char *error_text, size_t error_text_size)
{
    struct amqp_table_writer writer = { 0 };
    struct component_effect effect = { 0 };
    struct meta_key record;
    int rc = component_compile(broker, key, json, error_text, error_text_size, &effect);

    if (!rc)
        rc = parameters_put(&broker->parameters, key, json);
    if (rc) {
        component_release(&effect);
        return rc;
    }
    component_apply(broker, key, &effect);
    amqp_table_put_str(&writer, "json", amqp_str_from(json));
    return meta_put(broker, key->kind, record_key(key, &record), &writer);
}

static int delete_parameter(struct broker *broker, const struct parameter_key *key)
{
    struct meta_key record;

    component_clear(broker, key);
    meta_delete(broker, key->kind, record_key(key, &record));
    return parameters_remove(&broker->parameters, key) ? 0 : -ENOENT;
}

#define POLICY_KEY(vhost, name)                                                                    \
    (&(struct parameter_key){ STORE_KIND_POLICY, (vhost), "policy", (name) })
#define PARAMETER_KEY(vhost, component, name)                                                      \
    (&(struct parameter_key){ STORE_KIND_PARAMETER, (vhost), (component), (name) })
#define GLOBAL_KEY(name) (&(struct parameter_key){ STORE_KIND_GLOBAL_PARAMETER, "", "", (name) })

int broker_put_policy(struct broker *broker, const char *vhost, const char *name, const char *json,
                      char *error_text, size_t error_text_size)
{
    int rc = check_vhost(broker, vhost, error_text, error_text_size);

    return rc ? rc
              : put_parameter(broker, POLICY_KEY(vhost, name), json, error_text, error_text_size);
}

int broker_put_parameter(struct broker *broker, const char *vhost, const char *component,
                         const char *name, const char *json, char *error_text,
                         size_t error_text_size)
{
    int rc = check_vhost(broker, vhost, error_text, error_text_size);

    return rc ? rc
              : put_parameter(broker, PARAMETER_KEY(vhost, component, name), json, error_text,
                              error_text_size);
}

int broker_put_global_parameter(struct broker *broker, const char *name, const char *json,
                                char *error_text, size_t error_text_size)
{
    return put_parameter(broker, GLOBAL_KEY(name), json, error_text, error_text_size);
}

int broker_check_parameter(struct broker *broker, const struct parameter_key *key,
                           const char *json, char *error_text, size_t error_text_size)
{
    struct component_effect effect = { 0 };
    int rc = component_compile(broker, key, json, error_text, error_text_size, &effect);

    component_release(&effect);
    return rc;
}

int broker_delete_policy(struct broker *broker, const char *vhost, const char *name)
{
    if (!broker_find_vhost(broker, amqp_str_from(vhost)))
        return -ENOENT;
    return delete_parameter(broker, POLICY_KEY(vhost, name));
}

int broker_delete_parameter(struct broker *broker, const char *vhost, const char *component,
                            const char *name)
{
    if (!broker_find_vhost(broker, amqp_str_from(vhost)))
        return -ENOENT;
    return delete_parameter(broker, PARAMETER_KEY(vhost, component, name));
}

int broker_delete_global_parameter(struct broker *broker, const char *name)
{
    return delete_parameter(broker, GLOBAL_KEY(name));
}

void broker_free_parameters(struct broker *broker)
{
    free(TAKE(broker->cluster_name));
    parameters_release(&broker->parameters);
}
