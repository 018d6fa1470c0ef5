/*
 * config_keys.c - the keys that have an effect, one row each
 *
 * A row has the field that the key sets, or a function of its own where RabbitMQ has values that
 * cannot be honoured here (config_security.c). leveret.conf(5) describes each of them; the keys of
 * RabbitMQ without effect are in config_noted.c.
 */
#include "server/config-internal.h"

#define FIELD(member) \
    .offset = offsetof(struct config, member), .width = sizeof(((struct config *)NULL)->member)
#define BETWEEN(least, most) .min = (least), .max = (most)
#define ONE_OF(words) .choices = words

#define LIMIT BETWEEN(1, INT64_MAX), ONE_OF("infinity")
#define HUNDRED_YEARS_MS INT64_C(3155760000000) /* what "infinity" is of a time */
#define PATTERN BETWEEN(0, 16384) /* as src/auth bounds it */

#define SETS(name, default_text, type, ...) \
    { .key = name, .initial = default_text, .apply = config_apply_##type, __VA_ARGS__ }
static const struct config_row rows[] = {
    /* listeners and connections */
    SETS("listeners.tcp", NULL, no_listeners, FIELD(listeners)),
    SETS("listeners.tcp.$name", NULL, listener, FIELD(listeners)),
    SETS("listeners.ssl", NULL, no_tls),
    SETS("listeners.ssl.$name", NULL, tls_listener, .gate = CONFIG_GATE_TLS),
    SETS("proxy_protocol", "false", only, ONE_OF("false")),
    SETS("tcp_listen_options.backlog", "4096", integer, FIELD(tcp_backlog), BETWEEN(1, INT32_MAX)),
    SETS("tcp_listen_options.keepalive", "false", bool, FIELD(tcp_keepalive)),
    SETS("tcp_listen_options.nodelay", "true", bool, FIELD(tcp_nodelay)),
    SETS("tcp_listen_options.recbuf", NULL, integer, FIELD(tcp_recbuf_bytes),
         BETWEEN(1, INT32_MAX)),
    SETS("tcp_listen_options.sndbuf", NULL, integer, FIELD(tcp_sndbuf_bytes),
         BETWEEN(1, INT32_MAX)),
    SETS("heartbeat", "60", integer, FIELD(heartbeat_s), BETWEEN(0, 65535)),
    SETS("frame_max", "131072", bytesize, FIELD(frame_max_bytes),
         BETWEEN(BOUND_FRAME_MIN_BYTES, INT32_MAX), .zero = true),
    SETS("initial_frame_max", "8192", bytesize, FIELD(initial_frame_max_bytes),
         BETWEEN(BOUND_FRAME_MIN_BYTES, INT32_MAX)),
    SETS("channel_max", "2047", integer, FIELD(channel_max), BETWEEN(0, 65535)),
    SETS("max_channels_per_connection", NULL, integer, FIELD(channel_max), BETWEEN(0, 65535)),
    SETS("consumer_max_per_channel", "65535", integer, FIELD(consumers_per_channel_max),
         BETWEEN(1, BOUND_CONSUMERS_PER_CHANNEL), ONE_OF("infinity")),
    SETS("tx_message_limit", "100000", integer, FIELD(tx_messages_max), BETWEEN(0, INT32_MAX)),
    SETS("tx_bytes_limit", "64000000", bytes, FIELD(tx_bytes_max), BETWEEN(0, INT64_MAX)),
    SETS("consumer_timeout", "1800000", integer, FIELD(consumer_timeout_ms),
         BETWEEN(0, INT64_C(315360000000))),
    SETS("connection_max", "infinity", integer, FIELD(connections_max), LIMIT),
    SETS("max_connections", NULL, integer, FIELD(connections_max), LIMIT),
    SETS("channel_max_per_node", "infinity", integer, FIELD(channels_max), LIMIT),
    SETS("vhost_max", "infinity", integer, FIELD(vhosts_max), LIMIT),
    SETS("cluster_queue_limit", "infinity", integer, FIELD(queues_max), LIMIT),
    SETS("cluster_exchange_limit", "infinity", integer, FIELD(exchanges_max), LIMIT),
    SETS("cluster_binding_limit", "infinity", integer, FIELD(bindings_max), LIMIT),
    SETS("default_queue_type", "classic", queue_type, FIELD(default_queue_type)),
    SETS("handshake_timeout", "10000", integer, FIELD(handshake_timeout_ms),
         BETWEEN(1, HUNDRED_YEARS_MS), ONE_OF("infinity")),
    SETS("tcp_listen_options.send_timeout", "30000", integer, FIELD(send_timeout_ms),
         BETWEEN(1, INT32_MAX), ONE_OF("infinity")),
    /* Checked only: a stream with a hole is of no use, so it is closed either way. */
    SETS("tcp_listen_options.send_timeout_close", "true", bool),
    SETS("disk_free_limit.absolute", "50000000", bytes, FIELD(disk_free_min_bytes),
         BETWEEN(0, INT64_MAX)),
    SETS("disk_free_limit.relative", NULL, ratio, FIELD(disk_free_permille), BETWEEN(0, 1000000)),
    SETS("total_memory_available_override_value", NULL, bytes, FIELD(machine_memory_bytes),
         BETWEEN(1, INT64_MAX)),
    SETS("vm_memory_high_watermark.absolute", "0", bytes, FIELD(memory_max_bytes),
         BETWEEN(0, INT64_MAX)),
    SETS("vm_memory_high_watermark.relative", "0.6", ratio, FIELD(memory_max_permille),
         BETWEEN(0, 1000)),
    SETS("vm_memory_high_watermark_paging_ratio", "0.5", ratio, FIELD(memory_paging_permille),
         BETWEEN(0, 1000)),
    SETS("queue_memory_limit", "67108864", bytes, FIELD(queue_memory_max_bytes),
         BETWEEN(65536, INT64_MAX), .zero = true),
    SETS("max_message_size", "134217728", bytes, FIELD(message_max_bytes),
         BETWEEN(1, BOUND_MESSAGE_HARD_BYTES)),

    /* users of an empty data directory */
    SETS("default_user", "guest", text, FIELD(default_user), BETWEEN(1, BOUND_NAME_BYTES)),
    SETS("default_pass", "guest", text, FIELD(default_pass), BETWEEN(1, 4096)),
    SETS("default_vhost", "/", text, FIELD(default_vhost), BETWEEN(1, BOUND_NAME_BYTES)),
    SETS("default_permissions.configure", ".*", pattern, FIELD(default_configure), PATTERN),
    SETS("default_permissions.write", ".*", pattern, FIELD(default_write), PATTERN),
    SETS("default_permissions.read", ".*", pattern, FIELD(default_read), PATTERN),
    SETS("default_user_tags.$tag", NULL, tag, FIELD(default_tags)),
    SETS("loopback_users", NULL, no_loopback, FIELD(loopback_users)),
    SETS("loopback_users.$name", NULL, loopback, FIELD(loopback_users)),

    /* who may log in, and how */
    SETS("auth_backends.$n", NULL, backend),
    SETS("auth_backends.$n.authn", NULL, backend),
    SETS("auth_backends.$n.authz", NULL, backend),
    SETS("auth_cache.cached_backend", "internal", backend),
    SETS("auth_cache.cached_backend.authn", NULL, backend),
    SETS("auth_cache.cached_backend.authz", NULL, backend),
    SETS("auth_mechanisms.$n", NULL, mechanism),
    SETS("credential_validator.validation_backend", "rabbit_credential_validator_accept_everything",
         only, ONE_OF("rabbit_credential_validator_accept_everything")),
    SETS("password_hashing_module", "rabbit_password_hashing_sha256", choice,
         FIELD(password_hashing),
         ONE_OF("rabbit_password_hashing_sha256|rabbit_password_hashing_sha512")),
    SETS("advanced_config", "refuse", advanced, ONE_OF("refuse|ignore")),

    /* logging */
    SETS("log.dir", "/var/log/leveret", text, FIELD(log_directory), BETWEEN(1, 4096)),
    SETS("log.file", NULL, log_file, FIELD(log_file_name), BETWEEN(1, 4096)),
    SETS("log.file.level", "info", choice, FIELD(log.file_level), ONE_OF(LOG_LEVEL_NAMES)),
    SETS("log.file.formatter", "plaintext", choice, FIELD(log.file_format),
         ONE_OF("plaintext|json")),
    SETS("log.console", "true", bool, FIELD(log.console)),
    SETS("log.console.level", "info", choice, FIELD(log.console_level), ONE_OF(LOG_LEVEL_NAMES)),
    SETS("log.console.formatter", "plaintext", choice, FIELD(log.console_format),
         ONE_OF("plaintext|json")),
    SETS("log.console.stdio", "stderr", choice, FIELD(log.console_stdio), ONE_OF("stderr|stdout")),
    SETS("log.default.level", "debug", choice, FIELD(log.category_levels[LOG_DEFAULT]),
         ONE_OF(LOG_LEVEL_NAMES)),
    SETS("log.connection.level", "debug", choice, FIELD(log.category_levels[LOG_CONNECTION]),
         ONE_OF(LOG_LEVEL_NAMES)),
    SETS("log.channel.level", "debug", choice, FIELD(log.category_levels[LOG_CHANNEL]),
         ONE_OF(LOG_LEVEL_NAMES)),
    SETS("log.queue.level", "debug", choice, FIELD(log.category_levels[LOG_QUEUE]),
         ONE_OF(LOG_LEVEL_NAMES)),

    /* the store */
    SETS("store.sync", "commit", choice, FIELD(store.sync), ONE_OF("commit|interval|never")),
    SETS("store.sync_interval", "1000", integer, FIELD(store.sync_interval_ms),
         BETWEEN(1, 3600000)),
    SETS("store.record_size", "256KiB", bytes, FIELD(store.record_bytes), BETWEEN(4000, 16777216)),
    SETS("store.write_buffer_size", "16MiB", bytes, FIELD(store.write_buffer_bytes),
         BETWEEN(1000000, 4294967296)),
    SETS("store.reserve_size", "64MiB", bytes, FIELD(store.reserve_bytes),
         BETWEEN(0, 1099511627776)),

    /* definitions, names */
    SETS("load_definitions", NULL, text, FIELD(definitions_path), BETWEEN(1, 4096)),
    SETS("management.load_definitions", NULL, text, FIELD(definitions_path), BETWEEN(1, 4096)),
    SETS("definitions.import_backend", "local_filesystem", choice,
         ONE_OF("local_filesystem|local")),
    SETS("definitions.local.path", NULL, text, FIELD(definitions_path), BETWEEN(1, 4096)),
    SETS("definitions.skip_unsupported", "false", bool, FIELD(definitions_skip_unsupported)),
    SETS("definitions.vhost", NULL, text, FIELD(definitions_vhost), BETWEEN(1, BOUND_NAME_BYTES)),
    SETS("cluster_name", NULL, text, FIELD(cluster_name), BETWEEN(1, 255)),
};

const struct config_row *config_rows(size_t *ret_count)
{
    *ret_count = N_ELEMENTS(rows);
    return rows;
}
