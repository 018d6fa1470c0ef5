/*
 * config_keys.c - every key, one row each
 *
 * Rows come in three kinds: keys that have an effect, with the field they set; keys that RabbitMQ
 * has and this version does not give an effect yet, checked as far as their type is simple and
 * noted; and keys about clusters, Erlang or plugins, which are noted as ignored. leveret.conf(5)
 * describes the first kind.
 */
#include "server/config-internal.h"

#define FIELD(member) \
    .offset = offsetof(struct config, member), .width = sizeof(((struct config *)NULL)->member)
#define BETWEEN(least, most) .min = (least), .max = (most)
#define ONE_OF(words) .choices = words

#define LIMIT BETWEEN(1, INT64_MAX), ONE_OF("infinity")
#define PATTERN BETWEEN(0, 16384) /* as src/auth bounds it */

#define SETS(name, default_text, type, ...) \
    { .key = name, .initial = default_text, .effect = CONFIG_EFFECT, \
      .apply = config_apply_##type, __VA_ARGS__ }
#define LATER(name, type, ...) \
    { .key = name, .effect = CONFIG_NOT_YET, .apply = config_apply_##type, __VA_ARGS__ }
#define IGNORED(name) { .key = name, .effect = CONFIG_NOT_HERE, .apply = config_apply_any }

#define LATER_TEXT(name) LATER(name, text, BETWEEN(1, CONFIG_VALUE_BYTES))
#define LATER_COUNT(name) LATER(name, integer, BETWEEN(0, INT64_MAX), ONE_OF("infinity"))
#define LATER_PORT(name) LATER(name, integer, BETWEEN(1, 65535))

/* What an output of the log may be told about the form of its lines. */
#define LATER_LOG_FORM(output)                                                              \
    LATER(output ".formatter.time_format", choice,                                         \
          ONE_OF("rfc3339_space|rfc3339_T|epoch_usecs|epoch_secs|lager_default")),         \
    LATER(output ".formatter.level_format", choice, ONE_OF("lc|uc|lc3|uc3|lc4|uc4")),     \
    LATER(output ".formatter.single_line", choice, ONE_OF("on|off|true|false")),           \
    LATER_TEXT(output ".formatter.plaintext.format"),                                       \
    LATER_TEXT(output ".formatter.json.field_map"),                                         \
    LATER_TEXT(output ".formatter.json.verbosity_map")

#define LATER_TLS(prefix)                                                        \
    LATER_TEXT(prefix ".certfile"), LATER_TEXT(prefix ".keyfile"),               \
    LATER_TEXT(prefix ".cacertfile"), LATER(prefix ".password", any),            \
    LATER(prefix ".verify", choice, ONE_OF("verify_none|verify_peer")),          \
    LATER(prefix ".fail_if_no_peer_cert", bool),                                 \
    LATER(prefix ".depth", integer, BETWEEN(0, 255)),                            \
    LATER(prefix ".versions.$n", choice, ONE_OF("tlsv1.3|tlsv1.2|tlsv1.1|tlsv1")), \
    LATER_TEXT(prefix ".ciphers.$n"), LATER(prefix ".honor_cipher_order", bool), \
    LATER(prefix ".honor_ecc_order", bool),                                      \
    LATER(prefix ".client_renegotiation", bool),                                 \
    LATER(prefix ".secure_renegotiate", bool),                                   \
    LATER(prefix ".reuse_sessions", bool), LATER_TEXT(prefix ".dhfile"),         \
    LATER(prefix ".psk_identity", any), LATER(prefix ".crl_check", any),         \
    LATER(prefix ".log_alert", bool), LATER_TEXT(prefix ".log_level"),           \
    LATER(prefix ".bypass_pem_cache", bool), LATER_TEXT(prefix ".cacerts.$n"),   \
    LATER_TEXT(prefix ".cert"), LATER_TEXT(prefix ".key.$n"), LATER_TEXT(prefix ".dh")

#define LATER_HTTP(prefix)                                                               \
    LATER_PORT(prefix ".port"), LATER_TEXT(prefix ".ip"),                                \
    LATER_COUNT(prefix ".idle_timeout"), LATER_COUNT(prefix ".inactivity_timeout"),      \
    LATER_COUNT(prefix ".request_timeout"), LATER_COUNT(prefix ".shutdown_timeout"),     \
    LATER_COUNT(prefix ".max_keepalive"), LATER(prefix ".compress", bool)

static const struct config_row rows[] = {
    /* listeners and connections */
    SETS("listeners.tcp", NULL, no_listeners, FIELD(listeners)),
    SETS("listeners.tcp.$name", NULL, listener, FIELD(listeners)),
    LATER("listeners.ssl", no_listeners),
    LATER("listeners.ssl.$name", listener),
    SETS("heartbeat", "60", integer, FIELD(heartbeat_s), BETWEEN(0, 65535)),
    SETS("frame_max", "131072", bytes, FIELD(frame_max_bytes),
         BETWEEN(BOUND_FRAME_MIN_BYTES, INT32_MAX), .zero = true),
    SETS("initial_frame_max", "65536", bytes, FIELD(initial_frame_max_bytes),
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
    SETS("channel_max_per_node", "infinity", integer, FIELD(channels_max), LIMIT),
    SETS("vhost_max", "infinity", integer, FIELD(vhosts_max), LIMIT),
    SETS("cluster_queue_limit", "infinity", integer, FIELD(queues_max), LIMIT),
    SETS("cluster_exchange_limit", "infinity", integer, FIELD(exchanges_max), LIMIT),
    SETS("cluster_binding_limit", "infinity", integer, FIELD(bindings_max), LIMIT),
    SETS("default_queue_type", "classic", choice, FIELD(default_queue_type),
         ONE_OF("classic|quorum")),
    SETS("handshake_timeout", "10000", integer, FIELD(handshake_timeout_ms), BETWEEN(1, INT32_MAX)),
    SETS("disk_free_limit.absolute", "50000000", bytes, FIELD(disk_free_min_bytes),
         BETWEEN(0, INT64_MAX)),
    SETS("disk_free_limit.relative", NULL, ratio, FIELD(disk_free_permille), BETWEEN(0, 1000000)),
    SETS("vm_memory_high_watermark.absolute", "0", bytes, FIELD(memory_max_bytes),
         BETWEEN(0, INT64_MAX)),
    SETS("vm_memory_high_watermark.relative", "0.6", ratio, FIELD(memory_max_permille),
         BETWEEN(0, 1000)),
    SETS("vm_memory_high_watermark_paging_ratio", "0.5", ratio, FIELD(memory_paging_permille),
         BETWEEN(0, 1000)),
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
    SETS("store.record_size", "256KB", bytes, FIELD(store.record_bytes), BETWEEN(4096, 16777216)),
    SETS("store.write_buffer_size", "16MB", bytes, FIELD(store.write_buffer_bytes),
         BETWEEN(1048576, 4294967296)),

    /* definitions, names */
    SETS("load_definitions", NULL, text, FIELD(definitions_path), BETWEEN(1, 4096)),
    SETS("management.load_definitions", NULL, text, FIELD(definitions_path), BETWEEN(1, 4096)),
    SETS("definitions.import_backend", "local_filesystem", choice,
         ONE_OF("local_filesystem|local")),
    SETS("definitions.local.path", NULL, text, FIELD(definitions_path), BETWEEN(1, 4096)),
    SETS("cluster_name", NULL, text, FIELD(cluster_name), BETWEEN(1, 255)),

    /* known, without effect yet: connections */
    LATER("reverse_dns_lookups", bool),
    LATER("proxy_protocol", bool),
    LATER("ssl_handshake_timeout", integer, BETWEEN(1, INT32_MAX)),
    LATER_COUNT("max_connections"),
    LATER_COUNT("ranch_connection_max"),
    LATER("tcp_listen_options.backlog", integer, BETWEEN(1, INT32_MAX)),
    LATER("tcp_listen_options.nodelay", bool),
    LATER("tcp_listen_options.linger.on", bool),
    LATER("tcp_listen_options.linger.timeout", integer, BETWEEN(0, INT32_MAX)),
    LATER("tcp_listen_options.exit_on_close", bool),
    LATER("tcp_listen_options.keepalive", bool),
    LATER("tcp_listen_options.sndbuf", bytes, BETWEEN(1, INT32_MAX)),
    LATER("tcp_listen_options.recbuf", bytes, BETWEEN(1, INT32_MAX)),
    LATER("tcp_listen_options.buffer", bytes, BETWEEN(1, INT32_MAX)),
    LATER_COUNT("tcp_listen_options.send_timeout"),
    LATER("tcp_listen_options.send_timeout_close", bool),
    LATER_TLS("ssl_options"),
    LATER("ssl_cert_login_from", choice,
          ONE_OF("distinguished_name|common_name|subject_alternative_name")),
    LATER_TEXT("ssl_cert_login_san_type"),
    LATER_COUNT("ssl_cert_login_san_index"),

    /* users and authentication */
    LATER_TEXT("auth_mechanisms.$n"),
    LATER_TEXT("auth_backends.$n"),
    LATER_TEXT("auth_backends.$n.authn"),
    LATER_TEXT("auth_backends.$n.authz"),
    LATER_TEXT("anonymous_login_user"),
    LATER("anonymous_login_pass", any),
    LATER_TEXT("password_hashing_module"),
    LATER_TEXT("credential_validator.validation_backend"),
    LATER_COUNT("credential_validator.min_length"),
    LATER_TEXT("credential_validator.regexp"),
    LATER("default_users.$id.password", any),
    LATER_TEXT("default_users.$id.vhost_pattern"),
    LATER_TEXT("default_users.$id.configure"),
    LATER_TEXT("default_users.$id.write"),
    LATER_TEXT("default_users.$id.read"),
    LATER_TEXT("default_users.$id.tags"),
    LATER("default_policies.operator.$id.*", any),
    LATER_TEXT("default_limits.vhosts.$id.pattern"),
    LATER("default_limits.vhosts.$id.max_connections", integer, BETWEEN(-1, INT64_MAX)),
    LATER("default_limits.vhosts.$id.max_queues", integer, BETWEEN(-1, INT64_MAX)),
    LATER_COUNT("runtime_parameters.limits.$category"),

    /* queues and resources */
    LATER_TEXT("vm_memory_calculation_strategy"),
    LATER_TEXT("total_memory_available_override_value"),
    LATER_COUNT("memory_monitor_interval"),
    LATER("collect_statistics", choice, ONE_OF("none|coarse|fine")),
    LATER_COUNT("collect_statistics_interval"),
    LATER_COUNT("consumer_disconnected_timeout"),
    LATER("quorum_queue.property_equivalence.relaxed_checks_on_redeclaration", bool),
    LATER("message_interceptors.*", any),
    LATER_TEXT("cluster_tags.$tag"),
    LATER_TEXT("node_tags.$tag"),
    LATER_TEXT("product.name"),
    LATER_TEXT("product.version"),
    LATER_TEXT("motd_file"),
    LATER("definitions.skip_if_unchanged", bool),
    LATER_TEXT("definitions.hashing.algorithm"),
    LATER_TEXT("definitions.https.url"),
    LATER("definitions.tls.*", any),

    /* logging */
    LATER_TEXT("log.file.rotation.date"),
    LATER("log.file.rotation.size", bytes, BETWEEN(0, INT64_MAX)),
    LATER_COUNT("log.file.rotation.count"),
    LATER("log.file.rotation.compress", bool),
    LATER_LOG_FORM("log.file"),
    LATER_LOG_FORM("log.console"),
    LATER("log.console.use_colors", choice, ONE_OF("on|off|true|false")),
    LATER("log.exchange", bool),
    LATER("log.exchange.*", any),
    LATER("log.syslog", bool),
    LATER("log.syslog.*", any),
    LATER("log.journald", bool),
    LATER("log.journald.*", any),
    LATER("log.user.level", choice, ONE_OF(LOG_LEVEL_NAMES)),
    LATER("log.upgrade.level", choice, ONE_OF(LOG_LEVEL_NAMES)),
    LATER("log.federation.level", choice, ONE_OF(LOG_LEVEL_NAMES)),
    LATER("log.mirroring.level", choice, ONE_OF(LOG_LEVEL_NAMES)),
    LATER("log.ra.level", choice, ONE_OF(LOG_LEVEL_NAMES)),

    /* management and Prometheus */
    LATER_HTTP("management.tcp"),
    LATER_COUNT("management.tcp.max_connections"),
    LATER_HTTP("management.ssl"),
    LATER_TLS("management.ssl"),
    LATER_PORT("management.listener.port"),
    LATER_TEXT("management.listener.ip"),
    LATER("management.listener.ssl", bool),
    LATER_TEXT("management.path_prefix"),
    LATER("management.http.max_body_size", bytes, BETWEEN(1, INT64_MAX)),
    LATER_TEXT("management.http_log_dir"),
    LATER_COUNT("management.login_session_timeout"),
    LATER("management.rates_mode", choice, ONE_OF("none|basic|detailed")),
    LATER_COUNT("management.sample_retention_policies.$level.$period"),
    LATER_TEXT("management.cors.allow_origins.$n"),
    LATER_COUNT("management.cors.max_age"),
    LATER_TEXT("management.csp.policy"),
    LATER_TEXT("management.hsts.policy"),
    LATER("management.headers.*", any),
    LATER("management.disable_stats", bool),
    LATER("management.enable_queue_totals", bool),
    LATER("management.disable_basic_auth", bool),
    LATER("management.restrictions.operator_policy_changes.disabled", bool),
    LATER("management_agent.disable_metrics_collector", bool),
    LATER("prometheus.tcp.listener", listener),
    LATER_HTTP("prometheus.tcp"),
    LATER_HTTP("prometheus.ssl"),
    LATER_TLS("prometheus.ssl"),
    LATER_TEXT("prometheus.path"),
    LATER("prometheus.return_per_object_metrics", bool),
    LATER_TEXT("prometheus.filter_aggregated_queue_metrics_pattern"),
    LATER("prometheus.authentication.enabled", bool),

    /* of clusters, of Erlang, of plugins that are not part of this server */
    IGNORED("num_acceptors.tcp"),
    IGNORED("num_acceptors.ssl"),
    IGNORED("socket_writer.gc_threshold"),
    IGNORED("session_max_per_connection"),
    IGNORED("link_max_per_session"),
    IGNORED("queue_leader_locator"),
    IGNORED("queue_master_locator"),
    IGNORED("queue_index_embed_msgs_below"),
    IGNORED("vhost_restart_strategy"),
    IGNORED("deprecated_features.permit.$name"),
    IGNORED("management.db_cache_multiplier"),
    IGNORED("management.oauth_enabled"),
    IGNORED("management.oauth_client_id"),
    IGNORED("management.oauth_client_secret"),
    IGNORED("management.oauth_provider_url"),
    IGNORED("management.oauth_scopes"),
    IGNORED("cluster_partition_handling"),
    IGNORED("cluster_partition_handling.*"),
    IGNORED("cluster_keepalive_interval"),
    IGNORED("cluster_formation.*"),
    IGNORED("net_ticktime"),
    IGNORED("distribution.*"),
    IGNORED("mirroring_sync_batch_size"),
    IGNORED("mirroring_sync_max_throughput"),
    IGNORED("hipe_compile"),
    IGNORED("mnesia_table_loading_retry_timeout"),
    IGNORED("mnesia_table_loading_retry_limit"),
    IGNORED("background_gc_enabled"),
    IGNORED("background_gc_target_interval"),
    IGNORED("delegate_count"),
    IGNORED("default_worker_pool_size"),
    IGNORED("erlang.*"),
    IGNORED("sysmon_handler.*"),
    IGNORED("raft.*"),
    IGNORED("quorum_queue.*"),
    IGNORED("metadata_store.*"),
    IGNORED("stream.*"),
    IGNORED("message_store_shutdown_timeout"),
    IGNORED("prevent_startup_if_node_was_reset"),
    IGNORED("ssl_allow_poodle_attack"),
    IGNORED("classic_queue.*"),
    IGNORED("queue_types.*"),
    IGNORED("exchange_types.*"),
    IGNORED("amqp_client.*"),
    IGNORED("amqp10_client.*"),
    IGNORED("mqtt.*"),
    IGNORED("stomp.*"),
    IGNORED("web_mqtt.*"),
    IGNORED("web_stomp.*"),
    IGNORED("shovel.*"),
    IGNORED("auth_ldap.*"),
    IGNORED("auth_http.*"),
    IGNORED("auth_oauth2.*"),
    IGNORED("auth_cache.*"),
};

const struct config_row *config_rows(size_t *ret_count)
{
    *ret_count = N_ELEMENTS(rows);
    return rows;
}
