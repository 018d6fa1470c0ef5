/*
 * config_noted.c - the keys of RabbitMQ that have no effect here, and why
 *
 * A group is a prefix, a reason and the keys below the prefix, as one text of words:
 *
 *      tcp.port        the key PREFIX.tcp.port            .            PREFIX itself
 *      tcp.port:i      the same; its value is an integer  tcp.port:b   or a boolean
 *      signing.$id     "$id" is any one word              *            any words
 *      ssl.@tls        PREFIX.ssl. and each key of the list "tls"
 *
 * Each key of the configuration schemas of RabbitMQ 3.7 to 4.3 is either here or a row of
 * config_keys.c; tests/data/rabbitmq_keys.txt lists them all and a test compares. Lists that
 * RabbitMQ's schemas share (TLS, sockets, HTTP) are shared here too, although some of their users
 * lack a key or two of them.
 *
 * A group with a gate is about security: its keys refuse the start until the setting of the gate
 * says that the operator goes on without (config_security.c).
 */
#include <assert.h>

#include "server/config-internal.h"

#define NO_TLS "this version has no TLS"
#define NO_CERTIFICATES "this version has no TLS, so no client shows a certificate"
#define NO_LDAP "this version cannot ask an LDAP server about users"
#define NO_HTTP_BACKEND "this version cannot ask a web service about users"
#define NO_OAUTH2 "this version does not take OAuth 2 tokens"
#define NO_AUTH_CACHE "users are looked up in memory, without a cache"
#define NO_ANONYMOUS "no client can log in without a name and password"
#define NO_VALIDATOR "it sets up a validator of passwords, and none is switched on"
#define NO_DEFAULT_USERS "users are made by default_user and by definitions only"
#define NO_DEFAULT_POLICIES "policies are made by definitions only"
#define NO_DEFAULT_LIMITS "limits of virtual hosts are set by definitions only"
#define NO_LIMIT_OF_PARAMETERS "the number of parameters has no limit"
#define NO_LIMIT_HERE "connection_max limits connections; one listener has no limit of its own"
#define NO_SKIP "definitions are imported at every start"
#define NO_HTTPS_DEFINITIONS "definitions are read from a file only: load_definitions"
#define NO_HTTP "this version has no HTTP API and no management pages"
#define NO_METRICS "this version serves no metrics over HTTP"
#define NO_TRACING "this version does not trace messages into files"
#define NO_MQTT "this version does not speak MQTT"
#define NO_STOMP "this version does not speak STOMP"
#define NO_STREAMS "this version does not speak the stream protocol"
#define NO_AMQP_1_0 "this version does not speak AMQP 1.0"
#define NO_SHOVEL "this version runs no shovels and no federation"
#define NO_EVENT_EXCHANGE "this version has no exchange of events"
#define NO_DNS "peers are logged by their addresses"
#define ONE_NODE "a Leveret broker is one node, not a cluster"
#define NO_RAFT "quorum queues are kept in the broker's store, without a Raft log"
#define OWN_STORE "queues are kept in the broker's own store: see store.*"
#define LOG_ROTATION "log files are rotated from outside: rename the file and send SIGHUP"
#define LOG_COLOURS "lines have no colours"
#define LOG_FORM "lines have one form: see log.console.formatter"
#define LOG_CATEGORY "no line is about this category"
#define LOG_ONE_FILE "lines of all categories go to log.file"
#define NO_LOG_EXCHANGE "lines go to the console and to log.file, not to an exchange"
#define NO_SYSLOG "lines go to the console and to log.file, not to syslog"
#define NO_JOURNALD "lines go to the console, from where a service's lines reach the journal"
#define OF_ERLANGS_SOCKETS "it is about the sockets of Erlang"
#define OF_ERLANG "it is about the processes and the memory of Erlang"
#define NO_STATISTICS "figures are kept at no cost and shown nowhere yet"
#define NAMES_ONLY "it names things in pages and commands that this version does not have"
#define ALL_FEATURES "features are part of this broker or not; none is switched"
#define NO_INTERCEPTORS "messages pass unchanged"
#define OF_TANZU "it is about the standby replication of a commercial RabbitMQ"

/* Keys that several groups have under a prefix of their own. */
static const struct {
    const char *name;
    const char *keys;
} lists[] = {
    { "tls",
      "bypass_pem_cache:b cacertfile cacerts.$name cert certfile ciphers.$cipher "
      "client_renegotiation:b crl_check depth dh dhfile fail_if_no_peer_cert:b "
      "honor_cipher_order:b honor_ecc_order:b hostname_verification key.DSAPrivateKey "
      "key.PrivateKeyInfo key.RSAPrivateKey keyfile log_alert:b log_level password psk_identity "
      "reuse_session:b reuse_sessions:b secure_renegotiate:b sni verify versions.$version" },
    { "socket",
      "backlog:i buffer:i delay_send:b dontroute:b exit_on_close:b fd:i high_msgq_watermark:i "
      "high_watermark:i keepalive:b linger.on:b linger.timeout:i low_msgq_watermark:i "
      "low_watermark:i nodelay:b port:i priority:i recbuf:i send_timeout:i send_timeout_close:b "
      "sndbuf:i tos:i" },
    { "http",
      "backlog:i compress:b idle_timeout:i inactivity_timeout:i ip listener max_connections "
      "max_keepalive:i port:i request_timeout:i shutdown_timeout:i" },
    { "websocket",
      "allow_origins allow_origins.$name cowboy_opts.idle_timeout:i "
      "cowboy_opts.max_empty_lines:i cowboy_opts.max_header_name_length:i "
      "cowboy_opts.max_header_value_length:i cowboy_opts.max_headers:i "
      "cowboy_opts.max_keepalive:i cowboy_opts.max_request_line_length:i cowboy_opts.timeout:i "
      "hsts.policy max_connections num_acceptors.ssl:i num_acceptors.tcp:i proxy_protocol:b "
      "use_file_handle_cache:b ws_opts.compress:b ws_opts.idle_timeout:i "
      "ws_opts.max_frame_size:i ws_path" },
    { "listeners",
      "listeners.ssl listeners.ssl.$name listeners.tcp listeners.tcp.$name num_acceptors.ssl:i "
      "num_acceptors.tcp:i proxy_protocol:b" },
    { "form",
      "json.field_map json.verbosity_map level_format plaintext.format single_line time_format" },
    { "rotation", "compress:b count:i date size" },
};

static const struct config_group groups[] = {
    { "ssl_options", CONFIG_GATE_TLS, NO_TLS,
      ". crl_sources.$index crl_sources.$index.path crl_sources.$index.timeout:i @tls" },
    { "", CONFIG_GATE_TLS, NO_CERTIFICATES,
      "ssl_cert_login_from ssl_cert_login_san_index:i ssl_cert_login_san_type" },
    { "auth_ldap", CONFIG_GATE_BACKENDS, NO_LDAP,
      "connection_pool_size:i dn_lookup_attribute dn_lookup_base dn_lookup_bind "
      "dn_lookup_bind.password dn_lookup_bind.user_dn group_lookup_base idle_timeout log "
      "other_bind other_bind.password other_bind.user_dn port:i queries.resource_access "
      "queries.tags queries.topic_access queries.vhost_access servers servers.$server "
      "ssl_options timeout use_ssl:b use_starttls:b user_bind_pattern user_dn_pattern "
      "ssl_options.@tls" },
    { "auth_http", CONFIG_GATE_BACKENDS, NO_HTTP_BACKEND,
      "authorization_failure_disclosure:b connection_timeout:i http_method request_timeout:i "
      "resource_path ssl_options topic_path user_path vhost_path ssl_options.@tls" },
    { "auth_oauth2", CONFIG_GATE_BACKENDS, NO_OAUTH2,
      "additional_scopes_key algorithms.$algorithm authorization_endpoint default_key "
      "default_oauth_provider discovery_endpoint_params.$param discovery_endpoint_path "
      "end_session_endpoint https.cacertfile https.crl_check https.depth:i "
      "https.fail_if_no_peer_cert:b https.hostname_verification https.peer_verification "
      "https.verify issuer jwks_uri jwks_url oauth_providers.$name.algorithms.$algorithm "
      "oauth_providers.$name.authorization_endpoint oauth_providers.$name.default_key "
      "oauth_providers.$name.discovery_endpoint_params.$param "
      "oauth_providers.$name.discovery_endpoint_path oauth_providers.$name.end_session_endpoint "
      "oauth_providers.$name.https.cacertfile oauth_providers.$name.https.crl_check "
      "oauth_providers.$name.https.depth:i oauth_providers.$name.https.hostname_verification "
      "oauth_providers.$name.https.verify oauth_providers.$name.issuer "
      "oauth_providers.$name.jwks_uri oauth_providers.$name.signing_keys.$id "
      "oauth_providers.$name.token_endpoint preferred_username_claims.$preferred_username_claims "
      "require_exp:b resource_server_id resource_server_type "
      "resource_servers.$name.additional_scopes_key resource_servers.$name.id "
      "resource_servers.$name.oauth_provider_id "
      "resource_servers.$name.preferred_username_claims.$preferred_username_claims "
      "resource_servers.$name.require_exp:b resource_servers.$name.resource_server_type "
      "resource_servers.$name.scope_aliases.$alias "
      "resource_servers.$name.scope_aliases.$index.alias "
      "resource_servers.$name.scope_aliases.$index.scope "
      "resource_servers.$name.scope_pattern_syntax resource_servers.$name.scope_prefix "
      "resource_servers.$name.verify_aud:b scope_aliases.$alias scope_aliases.$index.alias "
      "scope_aliases.$index.scope scope_pattern_syntax scope_prefix signing_keys.$name "
      "token_endpoint verify_aud:b" },
    { "auth_cache", CONFIG_GATE_NONE, NO_AUTH_CACHE,
      "cache_module cache_refusals:b cache_ttl:i" },
    { "", CONFIG_GATE_NONE, NO_ANONYMOUS,
      "anonymous_login_pass anonymous_login_user" },
    { "", CONFIG_GATE_NONE, NO_TLS,
      "num_acceptors.ssl:i ssl_allow_poodle_attack:b ssl_handshake_timeout:i" },
    { "trust_store", CONFIG_GATE_NONE, NO_TLS,
      "directory https_request_timeout:i providers.$name refresh_interval:i ssl_options url "
      "ssl_options.@tls" },
    { "credential_validator", CONFIG_GATE_NONE, NO_VALIDATOR,
      "min_length:i regexp" },
    { "default_users", CONFIG_GATE_NONE, NO_DEFAULT_USERS,
      "$name.configure $name.password $name.read $name.tags $name.vhost_pattern $name.write" },
    { "default_policies.operator", CONFIG_GATE_NONE, NO_DEFAULT_POLICIES,
      "$id.apply_to $id.classic_queues.ha_mode $id.classic_queues.ha_params "
      "$id.classic_queues.ha_sync_mode $id.classic_queues.queue_version:i $id.delivery_limit:i "
      "$id.expires $id.max_in_memory_bytes $id.max_in_memory_length:i $id.max_length:i "
      "$id.max_length_bytes $id.message_ttl $id.queue_pattern $id.vhost_pattern" },
    { "default_limits.vhosts", CONFIG_GATE_NONE, NO_DEFAULT_LIMITS,
      "$id.max_connections:i $id.max_queues:i $id.pattern" },
    { "", CONFIG_GATE_NONE, NO_LIMIT_OF_PARAMETERS,
      "runtime_parameters.limits.$category:i" },
    { "definitions", CONFIG_GATE_NONE, NO_SKIP,
      "hashing.algorithm skip_if_unchanged:b" },
    { "definitions", CONFIG_GATE_NONE, NO_HTTPS_DEFINITIONS,
      "https.url tls.@tls" },
    { "management_agent", CONFIG_GATE_NONE, NO_HTTP,
      "disable_metrics_collector:b filter_aggregated_queue_metrics_pattern" },
    { "management", CONFIG_GATE_NONE, NO_HTTP,
      "cors.allow_origins cors.allow_origins.$name cors.max_age:i credential_encryption_secret "
      "csp.policy db_cache_multiplier:i definitions.require_json_extension:b delegate_count:i "
      "disable_basic_auth:b disable_stats:b enable_queue_totals:b enable_uaa:b "
      "headers.content_type_options headers.frame_options headers.referrer_policy "
      "headers.xss_protection hsts.policy http.hide_allow_header:b http.max_body_size:i "
      "http_log_dir listener.ip listener.port:i listener.ssl:b listener.ssl_opts "
      "login_session_timeout:i oauth_authorization_endpoint_params.$name oauth_client_id "
      "oauth_client_secret oauth_disable_basic_auth:b oauth_enabled:b oauth_initiated_logon_type "
      "oauth_metadata_url oauth_provider_url oauth_resource_servers.$name.disabled:b "
      "oauth_resource_servers.$name.id oauth_resource_servers.$name.label "
      "oauth_resource_servers.$name.oauth_authorization_endpoint_params.$name "
      "oauth_resource_servers.$name.oauth_client_id "
      "oauth_resource_servers.$name.oauth_client_secret "
      "oauth_resource_servers.$name.oauth_initiated_logon_type "
      "oauth_resource_servers.$name.oauth_metadata_url "
      "oauth_resource_servers.$name.oauth_provider_url "
      "oauth_resource_servers.$name.oauth_response_type "
      "oauth_resource_servers.$name.oauth_scopes "
      "oauth_resource_servers.$name.oauth_token_endpoint_params.$name oauth_response_type "
      "oauth_scopes oauth_token_endpoint_params.$name path_prefix rates_mode "
      "require_auth_for_api_reference:b restrictions.operator_policy_changes.disabled:b "
      "restrictions.quorum_queue_replica_operations.disabled:b "
      "sample_retention_policies.$section.$interval:i uaa_client_id uaa_client_secret "
      "uaa_location listener.server.@http listener.ssl_opts.@tls ssl.@http ssl.@tls tcp.@http" },
    { "http_dispatch", CONFIG_GATE_NONE, NO_HTTP,
      "access_log_dir auth_backends.$num auth_backends.$num.authn auth_backends.$num.authz" },
    { "prometheus", CONFIG_GATE_NONE, NO_METRICS,
      "authentication.enabled:b filter_aggregated_queue_metrics_pattern path "
      "return_per_object_metrics:b ssl.@http ssl.@tls tcp.@http" },
    { "tracing", CONFIG_GATE_NONE, NO_TRACING,
      "dir password username" },
    { "aws", CONFIG_GATE_NONE, ONE_NODE,
      "prefer_imdsv2:b" },
    { "cluster_formation", CONFIG_GATE_NONE, ONE_NODE,
      "aws.access_key_id aws.ec2_instance_states.$state aws.hostname_path "
      "aws.hostname_path.$number aws.instance_tags aws.instance_tags.$name aws.region "
      "aws.secret_key aws.use_autoscaling_group:b aws.use_private_ip:b "
      "classic_config.nodes.$node consul.acl_token consul.cluster_name consul.deregister_after:i "
      "consul.domain_suffix consul.host consul.include_nodes_with_warnings:b consul.lock_prefix "
      "consul.lock_timeout:i consul.lock_wait_time:i consul.port:i consul.scheme "
      "consul.ssl_options consul.svc consul.svc_addr consul.svc_addr_auto:b consul.svc_addr_nic "
      "consul.svc_addr_use_nodename:b consul.svc_id consul.svc_meta consul.svc_meta.$name "
      "consul.svc_port:i consul.svc_tags consul.svc_tags.$name consul.svc_ttl:i "
      "consul.use_longname:b discovery_retry_interval:i discovery_retry_limit dns.hostname "
      "etcd.cluster_name etcd.endpoints etcd.endpoints.$index etcd.host etcd.key_prefix "
      "etcd.lock_timeout:i etcd.lock_wait_time:i etcd.node_ttl:i etcd.password etcd.port:i "
      "etcd.scheme etcd.ssl_options etcd.username internal_lock_retries:i k8s.address_type "
      "k8s.cert_path k8s.host k8s.hostname_suffix k8s.namespace_path k8s.ordinal_start:i "
      "k8s.port:i k8s.scheme k8s.seed_node k8s.service_name k8s.token_path lock_retry_limit:i "
      "lock_retry_timeout:i node_cleanup.interval:i node_cleanup.only_log_warning:b node_type "
      "peer_discovery_backend proxy.http_proxy proxy.https_proxy proxy.proxy_exclusions.$name "
      "randomized_startup_delay_range.max randomized_startup_delay_range.min "
      "registration.enabled:b target_cluster_size_hint:i consul.ssl_options.@tls "
      "etcd.ssl_options.@tls k8s.tls.@tls" },
    { "cluster_partition_handling", CONFIG_GATE_NONE, ONE_NODE,
      ". pause_if_all_down.nodes.$name pause_if_all_down.recover" },
    { "", CONFIG_GATE_NONE, ONE_NODE,
      "cluster_keepalive_interval:i distribution.listener.interface "
      "distribution.listener.port_range.max:i distribution.listener.port_range.min:i "
      "mirroring_sync_batch_size mirroring_sync_max_throughput net_ticktime:i "
      "prevent_startup_if_node_was_reset:b queue_leader_locator queue_master_locator" },
    { "raft", CONFIG_GATE_NONE, NO_RAFT,
      "adaptive_failure_detector.detection_threshold "
      "adaptive_failure_detector.heartbeat_interval:i adaptive_failure_detector.poll_interval:i "
      "adaptive_failure_detector.scaling_factor data_dir segment_max_entries "
      "snapshot_chunk_size:i wal_hibernate_after:i wal_max_batch_size:i wal_max_entries:i "
      "wal_max_size_bytes:i" },
    { "quorum_queue", CONFIG_GATE_NONE, NO_RAFT,
      "commands_soft_limit:i compress_mem_tables:b compute_checksums:b "
      "continuous_membership_reconciliation.auto_remove:b "
      "continuous_membership_reconciliation.enabled:b "
      "continuous_membership_reconciliation.interval:i "
      "continuous_membership_reconciliation.target_group_size:i "
      "continuous_membership_reconciliation.trigger_interval:i initial_cluster_size:i "
      "max_append_entries_rpc_batch_size:i member_placement_tag "
      "property_equivalence.relaxed_checks_on_redeclaration:b segment_compute_checksums:b "
      "segment_max_entries segment_max_size_bytes:i snapshot_chunk_size:i "
      "wal_compute_checksums:b wal_max_batch_size:i wal_max_entries:i wal_max_size_bytes:i" },
    { "metadata_store", CONFIG_GATE_NONE, NO_RAFT,
      "khepri.default_timeout:i khepri.snapshot_interval:i" },
    { "classic_queue", CONFIG_GATE_NONE, OWN_STORE,
      "default_version:i" },
    { "", CONFIG_GATE_NONE, OWN_STORE,
      "message_store_shutdown_timeout:i mnesia_table_loading_retry_limit:i "
      "mnesia_table_loading_retry_timeout:i queue_index_embed_msgs_below vhost_restart_strategy" },
    { "mqtt", CONFIG_GATE_NONE, NO_MQTT,
      "allow_anonymous:b default_pass default_user disconnect_on_unauthorized:b "
      "durable_queue_type exchange login_timeout:i mailbox_soft_limit:i max_connections "
      "max_packet_size_authenticated:i max_packet_size_unauthenticated:i "
      "max_session_expiry_interval_seconds message_interceptors.$stage.$name.$key:b prefetch:i "
      "retained_message_store retained_message_store.max_messages "
      "retained_message_store.max_size_bytes retained_message_store_dets_sync_interval:i "
      "sparkplug:b ssl_cert_client_id_from ssl_cert_login:b ssl_cert_login_san_index:i "
      "ssl_cert_login_san_type subscription_ttl tcp_listen_options topic_alias_maximum:i vhost "
      "@listeners tcp_listen_options.@socket" },
    { "web_mqtt", CONFIG_GATE_NONE, NO_MQTT,
      "@websocket ssl.@http ssl.@tls tcp.@http" },
    { "stomp", CONFIG_GATE_NONE, NO_STOMP,
      "default_nack_requeue:b default_pass default_topic_exchange default_user default_vhost "
      "hide_server_info:b implicit_connect:b login_timeout:i max_connections max_frame_size:i "
      "max_frame_size_unauthenticated:i ssl_cert_login:b tcp_listen_options @listeners "
      "tcp_listen_options.@socket" },
    { "web_stomp", CONFIG_GATE_NONE, NO_STOMP,
      "port:i use_http_auth:b ws_frame @websocket ssl.@http ssl.@tls tcp.@http" },
    { "stream", CONFIG_GATE_NONE, NO_STREAMS,
      "advertised_host advertised_port:i advertised_tls_host advertised_tls_port:i "
      "credits_required_for_unblocking:i data_dir frame_max:i heartbeat:i initial_credits:i "
      "initial_frame_max:i max_connections max_super_stream_partitions "
      "max_uncompressed_sub_entry_batch_size:i read_ahead read_ahead_limit "
      "replication.address_family replication.port_range.max:i replication.port_range.min:i "
      "ssl_cert_login:b tcp_listen_options @listeners tcp_listen_options.@socket" },
    { "amqp1_0", CONFIG_GATE_NONE, NO_AMQP_1_0,
      "convert_amqp091_headers_to_app_props:b convert_app_props_to_amqp091_headers:b "
      "default_user default_vhost protocol_strict_mode:b" },
    { "", CONFIG_GATE_NONE, NO_AMQP_1_0,
      "link_max_per_session session_max_per_connection" },
    { "amqp_client", CONFIG_GATE_NONE, NO_SHOVEL,
      "ssl_options ssl_options.@tls" },
    { "amqp10_client", CONFIG_GATE_NONE, NO_SHOVEL,
      "ssl_options ssl_options.@tls" },
    { "shovel", CONFIG_GATE_NONE, NO_SHOVEL,
      "delete_after_duration_floor:i local.max_credit:i operating_mode topology.predeclared:b" },
    { "federation", CONFIG_GATE_NONE, NO_SHOVEL,
      "exchanges.connection_close_timeout:i exchanges.shutdown.link_batch_size:i "
      "exchanges.shutdown.throttle_delay:i exchanges.shutdown.timeout:i "
      "queues.connection_close_timeout:i queues.shutdown.link_batch_size:i "
      "queues.shutdown.throttle_delay:i queues.shutdown.timeout:i shutdown.link_batch_size:i "
      "shutdown.throttle_delay:i shutdown.timeout:i" },
    { "event_exchange", CONFIG_GATE_NONE, NO_EVENT_EXCHANGE,
      "protocol vhost" },
    { "log.file", CONFIG_GATE_NONE, LOG_ROTATION,
      "rotation.@rotation" },
    { "log.exchange", CONFIG_GATE_NONE, NO_LOG_EXCHANGE,
      ".:b formatter level formatter.@form" },
    { "log.syslog", CONFIG_GATE_NONE, NO_SYSLOG,
      ".:b facility formatter host identity ip level multiline_mode:b port:i protocol transport "
      "formatter.@form ssl_options.@tls" },
    { "log.journald", CONFIG_GATE_NONE, NO_JOURNALD,
      ".:b fields level" },
    { "log.console", CONFIG_GATE_NONE, LOG_COLOURS,
      "color_esc_seqs.alert color_esc_seqs.critical color_esc_seqs.debug "
      "color_esc_seqs.emergency color_esc_seqs.error color_esc_seqs.info color_esc_seqs.notice "
      "color_esc_seqs.warning use_colors" },
    { "log", CONFIG_GATE_NONE, LOG_FORM,
      "error_logger_format_depth summarize_process_state:b console.formatter.@form "
      "file.formatter.@form" },
    { "log", CONFIG_GATE_NONE, LOG_CATEGORY,
      "federation.file federation.level mirroring.file mirroring.level ra.file ra.level "
      "upgrade.file upgrade.level user.file user.level federation.rotation.@rotation "
      "mirroring.rotation.@rotation ra.rotation.@rotation upgrade.rotation.@rotation "
      "user.rotation.@rotation" },
    { "log", CONFIG_GATE_NONE, LOG_ONE_FILE,
      "channel.file connection.file queue.file channel.rotation.@rotation "
      "connection.rotation.@rotation default.rotation.@rotation queue.rotation.@rotation" },
    { "tcp_listen_options", CONFIG_GATE_NONE, OF_ERLANGS_SOCKETS,
      ". buffer:i delay_send:b dontroute:b exit_on_close:b fd:i high_msgq_watermark:i "
      "high_watermark:i linger.on:b linger.timeout:i low_msgq_watermark:i low_watermark:i port:i "
      "priority:i send_timeout:i send_timeout_close:b tos:i" },
    { "", CONFIG_GATE_NONE, OF_ERLANG,
      "background_gc_enabled:b background_gc_target_interval:i default_worker_pool_size:i "
      "delegate_count:i erlang.K hipe_compile:b memory_monitor_interval:i num_acceptors.tcp:i "
      "socket_writer.gc_threshold sysmon_handler.thresholds.busy_ports:i "
      "sysmon_handler.thresholds.busy_processes:i sysmon_handler.triggers.distribution_port "
      "sysmon_handler.triggers.port sysmon_handler.triggers.process.garbage_collection "
      "sysmon_handler.triggers.process.heap_size "
      "sysmon_handler.triggers.process.long_scheduled_execution vm_memory_calculation_strategy" },
    { "", CONFIG_GATE_NONE, NO_STATISTICS,
      "collect_statistics collect_statistics_interval:i" },
    { "", CONFIG_GATE_NONE, NAMES_ONLY,
      "cluster_tags.$tag motd_file node_tags.$tag product.name product.version" },
    { "", CONFIG_GATE_NONE, ALL_FEATURES,
      "deprecated_features.permit.$name:b exchange_types.local_random.enabled:b "
      "queue_types.classic.enabled:b queue_types.quorum.enabled:b queue_types.stream.enabled:b" },
    { "", CONFIG_GATE_NONE, NO_INTERCEPTORS,
      "channel_interceptor.priorities.$name:i message_interceptors.$stage.$name.$key:b "
      "message_interceptors.incoming.$interceptor.overwrite:b" },
    { "", CONFIG_GATE_NONE, NO_LIMIT_HERE,
      "ranch_connection_max" },
    { "", CONFIG_GATE_NONE, NO_DNS,
      "reverse_dns_lookups:b" },
    { "", CONFIG_GATE_NONE, NO_RAFT,
      "consumer_disconnected_timeout:i" },
    { "schema_definition_sync", CONFIG_GATE_NONE, OF_TANZU, "*" },
    { "standby", CONFIG_GATE_NONE, OF_TANZU, "*" },
};

static const char *list_keys(const char *name, size_t size)
{
    for (size_t i = 0; i < N_ELEMENTS(lists); i++)
        if (strlen(lists[i].name) == size && memcmp(lists[i].name, name, size) == 0)
            return lists[i].keys;
    assert(!"a group names a list that there is");
    return "";
}

/* Appends to the pattern, with a dot between; the table has no key that does not fit. */
static void append(struct config_noted *noted, const char *text, size_t size)
{
    size_t used = strlen(noted->pattern);

    assert(size + 2 <= sizeof noted->pattern - used);
    if (used && noted->pattern[used - 1] != '.')
        noted->pattern[used++] = '.';
    memcpy(noted->pattern + used, text, size);
    noted->pattern[used + size] = '\0';
}

/* Takes the next word of *at, up to a blank or ':'; its type is the letter behind, or 'a'. */
static size_t take_word(const char **at, const char **ret_word, char *ret_type)
{
    size_t size = strcspn(*at, " :");

    *ret_word = *at;
    *ret_type = 'a';
    *at += size;
    if (**at == ':') {
        *ret_type = (*at)[1];
        *at += 2;
    }
    *at += strspn(*at, " ");
    return size;
}

bool config_noted_next(struct config_noted *noted)
{
    const char *word;
    size_t size;

    if (noted->list && *noted->list) {
        noted->pattern[noted->list_prefix] = '\0';
        size = take_word(&noted->list, &word, &noted->type);
        append(noted, word, size);
        return true;
    }
    noted->list = NULL;
    while (!noted->keys || !*noted->keys) {
        if (noted->next_group == N_ELEMENTS(groups))
            return false;
        noted->group = &groups[noted->next_group++];
        noted->keys = noted->group->keys;
    }
    strcpy(noted->pattern, noted->group->prefix);
    size = take_word(&noted->keys, &word, &noted->type);
    if (size == 1 && *word == '.')
        return true;
    if (!memchr(word, '@', size)) {
        append(noted, word, size);
        return true;
    }
    if (*word != '@')
        append(noted, word, (size_t)((const char *)memchr(word, '@', size) - word) - 1);
    noted->list_prefix = strlen(noted->pattern);
    size -= (size_t)((const char *)memchr(word, '@', size) + 1 - word);
    noted->list = list_keys(strchr(word, '@') + 1, size);
    return config_noted_next(noted);
}
