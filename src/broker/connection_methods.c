/*
 * connection_methods.c - class connection: logging in, tuning, opening, closing, blocking
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "auth/sasl.h"
#include "broker/connection-internal.h"
#include "broker/vhost_limits.h"

static const char *const capabilities[] = {
    "authentication_failure_close", "basic.nack",          "connection.blocked",
    "consumer_cancel_notify",       "consumer_priorities", "direct_reply_to",
    "exchange_exchange_bindings",   "per_consumer_qos",    "publisher_confirms",
};

/* Sorted by key, as RabbitMQ's (4.2). */
static void put_server_properties(const struct broker_settings *settings,
                                  struct amqp_table_writer *writer)
{
    size_t begun = amqp_table_begin_table(writer, "capabilities");

    for (size_t i = 0; i < N_ELEMENTS(capabilities); i++)
        amqp_table_put_bool(writer, capabilities[i], true);
    amqp_table_end(writer, begun);
    amqp_table_put_str(writer, "cluster_name", amqp_str_from(settings->cluster_name));
    amqp_table_put_str(writer, "copyright", AMQP_STR("Licensed under the Apache License 2.0"));
    amqp_table_put_str(writer, "information", AMQP_STR("Leveret, an AMQP 0-9-1 broker"));
    amqp_table_put_str(writer, "platform", AMQP_STR("Leveret " PACKAGE_VERSION));
    amqp_table_put_str(writer, "product", amqp_str_from(settings->product));
    amqp_table_put_str(writer, "version", amqp_str_from(settings->version));
}

static const char *offered_mechanisms(const struct connection *connection)
{
    const char *configured = connection->broker->settings.mechanisms;

    return configured ? configured : SASL_MECHANISMS;
}

void connection_send_start(struct connection *connection)
{
    const char *mechanisms = offered_mechanisms(connection);
    struct amqp_table_writer writer = { 0 };

    put_server_properties(&connection->broker->settings, &writer);
    if (writer.failed)
        connection_refuse(connection, "no memory for connection.start");
    else
        connection->ops->send_method(
            connection->peer, 0,
            &(struct amqp_connection_start){
                .id = AMQP_ID_connection_start,
                .version_major = 0,
                .version_minor = 9,
                .server_properties = amqp_table_written(&writer),
                .mechanisms = { (const uint8_t *)mechanisms, strlen(mechanisms) },
                .locales = { (const uint8_t *)"en_US", 5 } });
    amqp_table_writer_release(&writer);
}

static bool has_capability(struct amqp_table table, const char *name)
{
    struct amqp_value value;

    return amqp_table_get(table, amqp_str_from(name), &value) && value.type == 't' && value.boolean;
}

static int append_name(struct connection *connection, struct amqp_bytes given)
{
    size_t size = strlen(connection->name) + sizeof " - " + given.size;
    char *name = malloc(size);

    if (!name)
        return -ENOMEM;
    snprintf(name, size, "%s - %.*s", connection->name, (int)given.size,
             (const char *)given.data);
    free(connection->name);
    connection->name = name;
    return 0;
}

static int take_client_properties(struct connection *connection, struct amqp_table properties)
{
    struct amqp_value value;

    if (amqp_table_get(properties, AMQP_STR("capabilities"), &value) && value.type == 'F') {
        connection->knows_cancel_notify = has_capability(value.table, "consumer_cancel_notify");
        connection->knows_blocked = has_capability(value.table, "connection.blocked");
        connection->knows_authentication_failure_close =
            has_capability(value.table, "authentication_failure_close");
    }
    if (properties.size) {
        connection->client_properties = malloc(properties.size);
        if (!connection->client_properties)
            return -ENOMEM;
        memcpy(connection->client_properties, properties.data, properties.size);
        connection->client_properties_bytes = properties.size;
    }
    if (amqp_table_get(properties, AMQP_STR("connection_name"), &value) && value.type == 'S')
        return append_name(connection, value.bytes);
    return 0;
}

static int refuse_login(struct connection *connection, struct amqp_str mechanism,
                        const char *reason, struct amqp_error *err)
{
    if (!connection->knows_authentication_failure_close) {
        connection_refuse(connection, reason);
        return 0;
    }
    broker_log(connection->broker, BROKER_LOG_ERROR, "connection %s: %s", connection->name, reason);
    amqp_raise(err, AMQP_ACCESS_REFUSED,
               "Login was refused using authentication mechanism %.*s. For details see the broker "
               "logfile.",
               AMQP_STR_ARG(mechanism));
    err->method_id = 0;
    err->hard = true;
    return AMQP_ACCESS_REFUSED;
}

static void send_tune(struct connection *connection)
{
    const struct broker_settings *settings = &connection->broker->settings;

    connection->state = CONNECTION_TUNING;
    connection->ops->send_method(connection->peer, 0,
                                 &(struct amqp_connection_tune){
                                     .id = AMQP_ID_connection_tune,
                                     .channel_max = settings->channel_max,
                                     .frame_max = settings->frame_max,
                                     .heartbeat = settings->heartbeat_s });
}

static bool may_log_in_from_here(const struct connection *connection, const struct user *user)
{
    const struct broker_settings *settings = &connection->broker->settings;

    return connection->loopback || !settings->is_loopback_user ||
           !settings->is_loopback_user(settings->loopback_context, user->name);
}

static int handle_start_ok(struct connection *connection,
                           const struct amqp_connection_start_ok *start_ok, struct amqp_error *err)
{
    struct user *user = NULL;
    char reason[512];
    int rc = take_client_properties(connection, start_ok->client_properties);

    if (rc)
        return rc;
    switch (sasl_authenticate(connection->broker->auth, offered_mechanisms(connection),
                              start_ok->mechanism, start_ok->response, &user, reason,
                              sizeof reason)) {
    case SASL_MALFORMED:
        connection_refuse(connection, reason);
        return 0;
    case SASL_REFUSED:
        return refuse_login(connection, start_ok->mechanism, reason, err);
    case SASL_OK:
        break;
    }
    if (!may_log_in_from_here(connection, user)) {
        snprintf(reason, sizeof reason, "%.*s login refused: user '%s' can only connect via localhost",
                 AMQP_STR_ARG(start_ok->mechanism), user->name);
        return refuse_login(connection, start_ok->mechanism, reason, err);
    }
    connection->user = user;
    connection->user_name = strdup(user->name);
    if (!connection->user_name)
        return -ENOMEM;
    send_tune(connection);
    return 0;
}

static void handle_tune_ok(struct connection *connection,
                           const struct amqp_connection_tune_ok *tune_ok)
{
    const struct broker_settings *settings = &connection->broker->settings;
    uint16_t channel_max = tune_ok->channel_max;
    uint32_t frame_max = tune_ok->frame_max;
    char reason[160];

    if (settings->channel_max && (channel_max == 0 || channel_max > settings->channel_max)) {
        snprintf(reason, sizeof reason,
                 "negotiated channel_max = %u%s is higher than the maximum allowed value (%u)",
                 channel_max, channel_max ? "" : " (no limit)", settings->channel_max);
        connection_refuse(connection, reason);
    } else if (frame_max && frame_max < BOUND_FRAME_MIN_BYTES) {
        snprintf(reason, sizeof reason,
                 "negotiated frame_max = %u is lower than the minimum allowed value (%d)",
                 frame_max, BOUND_FRAME_MIN_BYTES);
        connection_refuse(connection, reason);
    } else if (settings->frame_max && (frame_max == 0 || frame_max > settings->frame_max)) {
        snprintf(reason, sizeof reason,
                 "negotiated frame_max = %u%s is higher than the maximum allowed value (%u)",
                 frame_max, frame_max ? "" : " (no limit)", settings->frame_max);
        connection_refuse(connection, reason);
    } else {
        connection->channel_max = channel_max;
        connection->frame_max = frame_max;
        connection->heartbeat_s = tune_ok->heartbeat;
        connection->state = CONNECTION_OPENING;
        connection->ops->tuned(connection->peer, frame_max, tune_ok->heartbeat);
    }
}

static const struct permissions *permissions_of(struct connection *connection)
{
    const struct auth *auth = connection->broker->auth;

    if (connection->permissions_generation != auth_generation(auth)) {
        connection->permissions =
            auth_find_permissions(auth, connection->user_name, connection->vhost->name);
        connection->permissions_generation = auth_generation(auth);
    }
    return connection->permissions;
}

static int check_open(struct connection *connection, struct amqp_str vhost_name,
                      struct amqp_error *err)
{
    const struct user *user = connection->user;

    int rc = broker_check_connection_limit(connection->broker, err);

    if (rc)
        return rc;
    connection->vhost = broker_find_vhost(connection->broker, vhost_name);
    if (!connection->vhost)
        return amqp_raise(err, AMQP_NOT_ALLOWED, "vhost %.*s not found", AMQP_STR_ARG(vhost_name));
    rc = vhost_check_connection_limit(connection->vhost, user->name, err);
    if (rc)
        return rc;
    if (user->max_connections >= 0 && user->connections >= user->max_connections)
        return amqp_raise(err, AMQP_NOT_ALLOWED,
                          "connection refused for user '%s': user connection limit (%lld) is "
                          "reached",
                          user->name, (long long)user->max_connections);
    connection->permissions_generation = UINT64_MAX;
    if (!permissions_of(connection))
        return amqp_raise(err, AMQP_NOT_ALLOWED, "access to vhost '%.*s' refused for user '%s'",
                          AMQP_STR_ARG(vhost_name), user->name);
    return 0;
}

static int handle_open(struct connection *connection, const struct amqp_connection_open *open,
                       struct amqp_error *err)
{
    int rc = check_open(connection, open->virtual_host, err);

    if (rc) {
        connection->vhost = NULL;
        return rc;
    }
    connection->vhost->connection_count++;
    connection->user->connections++;
    connection->counted = true;
    connection->state = CONNECTION_RUNNING;
    connection->ops->send_method(
        connection->peer, 0,
        &(struct amqp_connection_open_ok){ .id = AMQP_ID_connection_open_ok });
    connection->ops->opened(connection->peer);
    broker_log(connection->broker, BROKER_LOG_INFO,
               "connection %s: user '%s' authenticated and granted access to vhost '%s'",
               connection->name, connection->user_name, connection->vhost->name);
    return 0;
}

static int receive_running(struct connection *connection, const union amqp_method *method,
                           struct amqp_error *err)
{
    switch (method->id) {
    case AMQP_ID_connection_close:
        connection_handle_close(connection);
        return 0;
    case AMQP_ID_connection_update_secret:
        /* Users of our own have no credential that could expire (4.10). */
        connection->ops->send_method(connection->peer, 0,
                                     &(struct amqp_connection_update_secret_ok){
                                         .id = AMQP_ID_connection_update_secret_ok });
        return 0;
    default:
        return amqp_raise(err, AMQP_CHANNEL_ERROR, "unexpected method in connection state running");
    }
}

int connection_receive_method(struct connection *connection, const union amqp_method *method,
                              struct amqp_error *err)
{
    switch (connection->state) {
    case CONNECTION_STARTING:
        if (method->id == AMQP_ID_connection_start_ok)
            return handle_start_ok(connection, &method->connection_start_ok, err);
        break;
    case CONNECTION_TUNING:
        if (method->id == AMQP_ID_connection_tune_ok) {
            handle_tune_ok(connection, &method->connection_tune_ok);
            return 0;
        }
        break;
    case CONNECTION_OPENING:
        if (method->id == AMQP_ID_connection_open)
            return handle_open(connection, &method->connection_open, err);
        return amqp_raise(err, AMQP_CHANNEL_ERROR, "unexpected method in connection state opening");
    case CONNECTION_RUNNING:
        return receive_running(connection, method, err);
    case CONNECTION_EXPECT_HEADER:
    case CONNECTION_CLOSING:
    case CONNECTION_CLOSED:
        assert(false); /* methods are not passed on in these states */
    }
    connection_refuse(connection, "unexpected method in the handshake");
    return 0;
}

int connection_check_permission(struct connection *connection, enum permission what,
                                bool is_exchange, struct amqp_str name, struct amqp_error *err)
{
    static const char *const words[] = { "configure", "write", "read" };
    const struct permissions *permissions = permissions_of(connection);

    if (is_exchange && name.size == 0)
        name = AMQP_STR("amq.default");
    if (permissions && permissions_allow(permissions, what, name))
        return 0;
    return amqp_raise(err, AMQP_ACCESS_REFUSED,
                      "%s access to %s '%.*s' in vhost '%s' refused for user '%s'", words[what],
                      is_exchange ? "exchange" : "queue", AMQP_STR_ARG(name),
                      connection->vhost->name, connection->user_name);
}

static struct amqp_str alarm_reason(unsigned alarms)
{
    bool disk = alarms & (BROKER_ALARM_DISK | BROKER_ALARM_STORE);

    if ((alarms & BROKER_ALARM_MEMORY) && disk)
        return AMQP_STR("low on memory & low on disk");
    return disk ? AMQP_STR("low on disk") : AMQP_STR("low on memory");
}

void connection_block(struct connection *connection)
{
    if (connection->paused & CONNECTION_PAUSE_ALARM)
        return;
    if (connection->knows_blocked) {
        connection->ops->send_method(connection->peer, 0,
                                     &(struct amqp_connection_blocked){
                                         .id = AMQP_ID_connection_blocked,
                                         .reason = alarm_reason(connection->broker->alarms) });
        connection->blocked_told = true;
    }
    connection_pause(connection, CONNECTION_PAUSE_ALARM);
}

void connection_unblock(struct connection *connection)
{
    if (connection->blocked_told && connection->state == CONNECTION_RUNNING)
        connection->ops->send_method(
            connection->peer, 0,
            &(struct amqp_connection_unblocked){ .id = AMQP_ID_connection_unblocked });
    connection->blocked_told = false;
    connection_resume(connection, CONNECTION_PAUSE_ALARM);
}
