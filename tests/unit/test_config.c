/*
 * test_config.c - which key sets what, to which default, and which keys only leave a note
 *
 * The example configuration of the tree is checked against the table of keys; $srcdir names the
 * tree.
 */
#include "config_fixture.h"

START_TEST(test_defaults_are_those_of_rabbitmq)
{
    ck_assert_uint_eq(config->listener_count, 1);
    ck_assert_str_eq(config->listeners[0].name, "default");
    ck_assert_ptr_null(config->listeners[0].address);
    ck_assert_uint_eq(config->listeners[0].port, 5672);
    ck_assert_str_eq(config->default_user, "guest");
    ck_assert_str_eq(config->default_pass, "guest");
    ck_assert_str_eq(config->default_vhost, "/");
    ck_assert_str_eq(config->default_configure, ".*");
    ck_assert_str_eq(config->default_write, ".*");
    ck_assert_str_eq(config->default_read, ".*");
    ck_assert_uint_eq(config->default_tags.count, 1);
    ck_assert_str_eq(config->default_tags.names[0], "administrator");
    ck_assert_uint_eq(config->loopback_users.count, 1);
    ck_assert_str_eq(config->loopback_users.names[0], "guest");
    ck_assert_uint_eq(config->heartbeat_s, BOUND_HEARTBEAT_S);
    ck_assert_uint_eq(config->frame_max_bytes, BOUND_FRAME_MAX_BYTES);
    ck_assert_uint_eq(config->initial_frame_max_bytes, BOUND_HANDSHAKE_FRAME_BYTES);
    ck_assert_uint_eq(config->channel_max, BOUND_CHANNEL_MAX);
    ck_assert_uint_eq(config->consumers_per_channel_max, BOUND_CONSUMERS_PER_CHANNEL);
    ck_assert_uint_eq(config->handshake_timeout_ms, BOUND_HANDSHAKE_TIMEOUT_MS);
    ck_assert_uint_eq(config->send_timeout_ms, BOUND_SEND_TIMEOUT_MS);
    ck_assert_uint_eq(config->message_max_bytes, BOUND_MESSAGE_BYTES);
    ck_assert(config->log.console);
    ck_assert(!config->log_file);
    ck_assert_int_eq(config->log.console_level, LOG_LEVEL_INFO);
    ck_assert_int_eq(config->log.file_level, LOG_LEVEL_INFO);
    ck_assert_int_eq(config->store.sync, STORE_SYNC_COMMIT);
    ck_assert_uint_eq(config->store.sync_interval_ms, 1000);
    ck_assert_uint_eq(config->store.record_bytes, 262144);
    ck_assert_uint_eq(config->store.write_buffer_bytes, 16777216);
    ck_assert_ptr_null(config->definitions_path);
    ck_assert_ptr_null(config->cluster_name);
}
END_TEST

/* --- types --- */

static const struct {
    const char *value;
    const char *address;
    unsigned port;
} listener_case[] = {
    { "5673", NULL, 5673 },
    { "127.0.0.1:5672", "127.0.0.1", 5672 },
    { "0.0.0.0:1", "0.0.0.0", 1 },
    { "[::1]:5672", "::1", 5672 },
    { "::1:5672", "::1", 5672 },
    { "[::]:65535", "::", 65535 },
    { "[fe80::1%eth0]:5672", "fe80::1%eth0", 5672 },
};

START_TEST(test_listener_is_a_port_or_an_address_with_one)
{
    char setting[128];

    snprintf(setting, sizeof setting, "listeners.tcp.local=%s", listener_case[_i].value);
    ck_assert_int_eq(config_set(config, setting, &report), 0);
    check_clean();
    ck_assert_uint_eq(config->listener_count, 1); /* in place of the default */
    ck_assert_str_eq(config->listeners[0].name, "local");
    ck_assert_pstr_eq(config->listeners[0].address, listener_case[_i].address);
    ck_assert_uint_eq(config->listeners[0].port, listener_case[_i].port);
}
END_TEST

static const char *const bad_listener[] = {
    "", "x", "65536", "-1", "127.0.0.1", "127.0.0.1:", ":5672", "[]:5672", "[::1]", "::1:x",
    "127.0.0.1:5672:x", "300.0.0.1:5672", "[::1%]:5672", "1.2.3.4%eth0:5672", "[::1]]:5672",
};

START_TEST(test_malformed_listener_is_refused)
{
    char setting[128];

    snprintf(setting, sizeof setting, "listeners.tcp.local=%s", bad_listener[_i]);
    ck_assert_int_eq(config_set(config, setting, &report), 0);
    ck_assert_uint_eq(report.error_count, 1);
    ck_assert_str_eq(config->listeners[0].name, "default");
}
END_TEST

START_TEST(test_listeners_add_up_by_name_and_none_empties_them)
{
    read_text("listeners.tcp.a = 1\nlisteners.tcp.b = 2\nlisteners.tcp.a = 127.0.0.1:3\n");
    check_clean();
    ck_assert_uint_eq(config->listener_count, 2);
    ck_assert_uint_eq(config->listeners[0].port, 3);
    ck_assert_str_eq(config->listeners[0].address, "127.0.0.1");
    ck_assert_uint_eq(config->listeners[1].port, 2);
    read_text("listeners.tcp = none\n");
    ck_assert_uint_eq(config->listener_count, 0);
    read_text("listeners.tcp.c = 4\n");
    ck_assert_uint_eq(config->listener_count, 1);
    check_clean();
}
END_TEST

START_TEST(test_loopback_users_replace_the_default)
{
    read_text("loopback_users.guest = false\n");
    ck_assert_uint_eq(config->loopback_users.count, 0);
    read_text("loopback_users.my\\.user = true\nloopback_users.bob = true\n"
              "loopback_users.bob = true\n");
    ck_assert_uint_eq(config->loopback_users.count, 2);
    ck_assert_str_eq(config->loopback_users.names[0], "my.user");
    ck_assert_str_eq(config->loopback_users.names[1], "bob");
    read_text("loopback_users.my\\.user = false\n");
    ck_assert_uint_eq(config->loopback_users.count, 1);
    ck_assert_str_eq(config->loopback_users.names[0], "bob");
    read_text("loopback_users = none\n");
    ck_assert_uint_eq(config->loopback_users.count, 0);
    check_clean();
}
END_TEST

START_TEST(test_tags_replace_the_default)
{
    read_text("default_user_tags.monitoring = true\ndefault_user_tags.policymaker = true\n");
    check_clean();
    ck_assert_uint_eq(config->default_tags.count, 2);
    ck_assert_str_eq(config->default_tags.names[0], "monitoring");
    ck_assert_str_eq(config->default_tags.names[1], "policymaker");
}
END_TEST

START_TEST(test_numbers_reach_their_fields)
{
    read_text("heartbeat = 0\nframe_max = 0\ninitial_frame_max = 64KB\nchannel_max = 65535\n"
              "consumer_max_per_channel = infinity\nhandshake_timeout = 500\n"
              "max_message_size = 512MiB\nstore.record_size = 64KiB\n"
              "store.write_buffer_size = 1GiB\nstore.sync = never\nstore.sync_interval = 5\n"
              "connection_max = 10\nchannel_max_per_node = 20\nvhost_max = 30\n"
              "cluster_queue_limit = infinity\ncluster_exchange_limit = 50\n"
              "cluster_binding_limit = 60\n"
              "default_queue_type = quorum\ntcp_listen_options.send_timeout = 1500\n"
              "tcp_listen_options.send_timeout_close = false\n"
              "tcp_listen_options.backlog = 128\ntcp_listen_options.nodelay = false\n"
              "tcp_listen_options.keepalive = true\ntcp_listen_options.sndbuf = 32768\n"
              "tcp_listen_options.recbuf = 16384\n"
              "total_memory_available_override_value = 2GiB\n"
              "password_hashing_module = rabbit_password_hashing_sha512\n");
    check_clean();
    ck_assert_uint_eq(config->tcp_backlog, 128);
    ck_assert(!config->tcp_nodelay);
    ck_assert(config->tcp_keepalive);
    ck_assert_uint_eq(config->tcp_sndbuf_bytes, 32768);
    ck_assert_uint_eq(config->tcp_recbuf_bytes, 16384);
    ck_assert_uint_eq(config->machine_memory_bytes, 2147483648);
    ck_assert_uint_eq(config->password_hashing, 1);
    ck_assert_uint_eq(config->connections_max, 10);
    ck_assert_uint_eq(config->channels_max, 20);
    ck_assert_uint_eq(config->vhosts_max, 30);
    ck_assert_uint_eq(config->queues_max, INT64_MAX);
    ck_assert_uint_eq(config->exchanges_max, 50);
    ck_assert_uint_eq(config->bindings_max, 60);
    ck_assert_uint_eq(config->default_queue_type, 1);
    ck_assert_uint_eq(config->heartbeat_s, 0);
    ck_assert_uint_eq(config->frame_max_bytes, 0);
    ck_assert_uint_eq(config->initial_frame_max_bytes, 65536);
    ck_assert_uint_eq(config->channel_max, 65535);
    ck_assert_uint_eq(config->consumers_per_channel_max, BOUND_CONSUMERS_PER_CHANNEL);
    ck_assert_uint_eq(config->handshake_timeout_ms, 500);
    ck_assert_uint_eq(config->send_timeout_ms, 1500);
    ck_assert_uint_eq(config->message_max_bytes, 536870912);
    ck_assert_uint_eq(config->store.record_bytes, 65536);
    ck_assert_uint_eq(config->store.write_buffer_bytes, 1073741824);
    ck_assert_int_eq(config->store.sync, STORE_SYNC_NEVER);
    ck_assert_uint_eq(config->store.sync_interval_ms, 5);
}
END_TEST

START_TEST(test_logging_reaches_its_fields)
{
    char *log_path = NULL;

    read_text("log.console = false\nlog.console.level = none\nlog.console.formatter = json\n"
              "log.console.stdio = stdout\nlog.file = a.log\nlog.file.level = debug\n"
              "log.file.formatter = json\nlog.dir = /var/log/x\nlog.connection.level = warning\n");
    check_clean();
    ck_assert(!config->log.console);
    ck_assert_int_eq(config->log.console_level, LOG_LEVEL_NONE);
    ck_assert_int_eq(config->log.console_format, LOG_FORMAT_JSON);
    ck_assert_int_eq(config->log.console_stdio, LOG_STDOUT);
    ck_assert_int_eq(config->log.file_level, LOG_LEVEL_DEBUG);
    ck_assert_int_eq(config->log.file_format, LOG_FORMAT_JSON);
    ck_assert_int_eq(config->log.category_levels[LOG_CONNECTION], LOG_LEVEL_WARNING);
    ck_assert_int_eq(config->log.category_levels[LOG_DEFAULT], LOG_LEVEL_DEBUG);
    ck_assert_int_eq(config_log_path(config, &log_path), 0);
    ck_assert_str_eq(log_path, "/var/log/x/a.log");
    free(log_path);
    read_text("log.file = /srv/b.log\n");
    ck_assert_int_eq(config_log_path(config, &log_path), 0);
    ck_assert_str_eq(log_path, "/srv/b.log");
    free(log_path);
    read_text("log.file = false\n");
    ck_assert_int_eq(config_log_path(config, &log_path), 0);
    ck_assert_ptr_null(log_path);
}
END_TEST

START_TEST(test_texts_reach_their_fields)
{
    read_text("default_user = u\ndefault_pass = p\ndefault_vhost = v\n"
              "default_permissions.configure = ''\ndefault_permissions.write = ^w\n"
              "default_permissions.read = ^r#\ncluster_name = rabbit@here\n"
              "definitions.import_backend = local_filesystem\n"
              "definitions.local.path = a.json\nload_definitions = b.json\n");
    check_clean();
    ck_assert_str_eq(config->default_user, "u");
    ck_assert_str_eq(config->default_pass, "p");
    ck_assert_str_eq(config->default_vhost, "v");
    ck_assert_str_eq(config->default_configure, "");
    ck_assert_str_eq(config->default_write, "^w");
    ck_assert_str_eq(config->default_read, "^r");
    ck_assert_str_eq(config->cluster_name, "rabbit@here");
    ck_assert_str_eq(config->definitions_path, "b.json");
}
END_TEST

static const struct {
    const char *text;
    const char *error;
    uint32_t permille;
} ratio_case[] = {
    { "0", NULL, 0 },
    { "0.25", NULL, 250 },
    { "1.0", NULL, 1000 },
    { "1.01", "'1.01' is not a number from 0 to 1", 500 },
    { "-0.1", "'-0.1' is not a number from 0 to 1", 500 },
    { "nan", "'nan' is not a number from 0 to 1", 500 },
    { "0.5x", "'0.5x' is not a number from 0 to 1", 500 },
};

START_TEST(test_ratio_is_a_number_between_its_bounds)
{
    char setting[80], error[200];

    snprintf(setting, sizeof setting, "vm_memory_high_watermark_paging_ratio=%s",
             ratio_case[_i].text);
    (void)config_set(config, setting, &report);
    ck_assert_uint_eq(config->memory_paging_permille, ratio_case[_i].permille);
    ck_assert_uint_eq(report.error_count, ratio_case[_i].error ? 1 : 0);
    if (!ratio_case[_i].error)
        return;
    snprintf(error, sizeof error,
             "--set vm_memory_high_watermark_paging_ratio: "
             "'vm_memory_high_watermark_paging_ratio': %s",
             ratio_case[_i].error);
    ck_assert_str_eq(report.errors[0], error);
}
END_TEST

/* --- sizes --- */

#define SIZE_OF(text, octets) { "vm_memory_high_watermark.absolute=" text, octets }
#define NOT_A_SIZE(text) { "vm_memory_high_watermark.absolute=" text, 0 }

/* RabbitMQ's information units since 3.13: a letter alone, or with B, is decimal; i is binary. */
static const struct {
    const char *setting;
    uint64_t octets; /* 0: refused */
} size_case[] = {
    SIZE_OF("1024", 1024),
    SIZE_OF("2k", 2000), SIZE_OF("2K", 2000), SIZE_OF("2kB", 2000), SIZE_OF("2KB", 2000),
    SIZE_OF("2kb", 2000), SIZE_OF("2Kb", 2000), SIZE_OF("2ki", 2048), SIZE_OF("2Ki", 2048),
    SIZE_OF("2kiB", 2048), SIZE_OF("2KiB", 2048), SIZE_OF("2kib", 2048), SIZE_OF("2KIB", 2048),
    SIZE_OF("3m", 3000000), SIZE_OF("3M", 3000000), SIZE_OF("3MB", 3000000),
    SIZE_OF("3Mb", 3000000), SIZE_OF("3mb", 3000000), SIZE_OF("768MiB", 805306368),
    SIZE_OF("1Mi", 1048576), SIZE_OF("1mib", 1048576), SIZE_OF("1MIB", 1048576),
    SIZE_OF("2g", 2000000000), SIZE_OF("2G", 2000000000), SIZE_OF("2GB", 2000000000),
    SIZE_OF("2gb", 2000000000), SIZE_OF("2Gi", 2147483648), SIZE_OF("2GiB", 2147483648),
    SIZE_OF("1TB", 1000000000000), SIZE_OF("1tb", 1000000000000), SIZE_OF("1Ti", 1099511627776),
    SIZE_OF("1TiB", 1099511627776), SIZE_OF("1PB", 1000000000000000),
    SIZE_OF("1p", 1000000000000000), SIZE_OF("1PiB", 1125899906842624),
    SIZE_OF("2T", 2000000000000), SIZE_OF("1mi", 1048576), SIZE_OF("1mB", 1000000),
    SIZE_OF("8191PiB", UINT64_C(8191) << 50),
    NOT_A_SIZE(""), NOT_A_SIZE("G"), NOT_A_SIZE("1.5GB"), NOT_A_SIZE("1 GB"), NOT_A_SIZE("-1GB"),
    NOT_A_SIZE("1B"), NOT_A_SIZE("1EB"), NOT_A_SIZE("1GBB"), NOT_A_SIZE("1GiBB"),
    NOT_A_SIZE("1Gbi"), NOT_A_SIZE("1i"), NOT_A_SIZE("1GK"), NOT_A_SIZE("8192PiB"),
    NOT_A_SIZE("99999999999999999999"),
};

START_TEST(test_size_is_read_as_rabbitmq_reads_it)
{
    ck_assert_int_eq(config_set(config, size_case[_i].setting, &report), 0);
    ck_assert_uint_eq(report.error_count, size_case[_i].octets ? 0 : 1);
    ck_assert_uint_eq(config->memory_max_bytes, size_case[_i].octets);
}
END_TEST

/* RabbitMQ reads the sizes of frames with another function, whose units are powers of 1024. */
START_TEST(test_size_of_a_frame_has_binary_units)
{
    read_text("frame_max = 128KB\ninitial_frame_max = 4kb\n");
    check_clean();
    ck_assert_uint_eq(config->frame_max_bytes, 131072);
    ck_assert_uint_eq(config->initial_frame_max_bytes, 4096);
    read_text("frame_max = 128Kb\nframe_max = 128k\nframe_max = 128KiB\nframe_max = 1TB\n");
    ck_assert_uint_eq(report.error_count, 4);
}
END_TEST

START_TEST(test_words_of_rabbitmq_stand_for_values)
{
    read_text("default_queue_type = rabbit_quorum_queue\nhandshake_timeout = infinity\n");
    check_clean();
    ck_assert_uint_eq(config->default_queue_type, 1);
    ck_assert_uint_ge(config->handshake_timeout_ms, UINT64_C(1000) * 3600 * 24 * 365);
    read_text("default_queue_type = rabbit_classic_queue\n");
    ck_assert_uint_eq(config->default_queue_type, 0);
    read_text("default_queue_type = stream\n");
    ck_assert_uint_eq(report.error_count, 1);
    check_line(report.errors[0], "leveret.conf:1: 'default_queue_type': this version has no "
                                 "streams: classic and quorum are the types");
}
END_TEST

/* --- effects --- */

START_TEST(test_keys_without_effect_leave_a_note)
{
    /* what the Kubernetes operator and the Docker image always write, and the HTTP ports */
    read_text("queue_master_locator = min-masters\n"
              "vm_memory_calculation_strategy = rss\n"
              "cluster_partition_handling = pause_minority\n"
              "cluster_formation.peer_discovery_backend = rabbit_peer_discovery_k8s\n"
              "cluster_name = rabbit\n"
              "total_memory_available_override_value = 1717986919\n"
              "log.console = true\n"
              "loopback_users.guest = false\n"
              "management_agent.disable_metrics_collector = true\n"
              "management.tcp.port = 15672\n"
              "prometheus.tcp.port = 15692\n"
              "num_acceptors.ssl = 10\n"
              "trust_store.directory = /etc/trusted\n");
    ck_assert_uint_eq(report.error_count, 0);
    ck_assert_uint_eq(report.note_count, 9);
    check_line(report.notes[0], "leveret.conf:1: 'queue_master_locator' has no effect: a Leveret "
                                "broker is one node, not a cluster");
    check_line(report.notes[5], "leveret.conf:10: 'management.tcp.port' has no effect: this "
                                "version has no HTTP API and no management pages");
    ck_assert_int_eq(config_check(config, &report), 0);
    ck_assert_uint_eq(report.error_count, 0);
    ck_assert_uint_eq(config->machine_memory_bytes, 1717986919);
}
END_TEST

static const struct {
    const char *setting;
    const char *error;
} set_case[] = {
    { "heartbeat", "--set heartbeat: expected KEY=VALUE" },
    { "", "--set : expected KEY=VALUE" },
    { "=1", "--set =1: expected KEY=VALUE" },
    { "heartbeat=", "--set heartbeat: 'heartbeat': '' is not an integer" },
    { "heartbeat=x", "--set heartbeat: 'heartbeat': 'x' is not an integer" },
    { "heartbet=1", "--set heartbet: unknown key 'heartbet'; did you mean 'heartbeat'?" },
};

START_TEST(test_mistake_on_the_command_line_names_its_key)
{
    ck_assert_int_eq(config_set(config, set_case[_i].setting, &report), 0);
    ck_assert_uint_eq(report.error_count, 1);
    ck_assert_str_eq(report.errors[0], set_case[_i].error);
}
END_TEST

START_TEST(test_set_takes_its_value_as_it_is)
{
    ck_assert_int_eq(config_set(config, "default_pass=a#b='$(HOME)'", &report), 0);
    ck_assert_int_eq(config_set(config, "heartbeat = 7", &report), 0);
    check_clean();
    ck_assert_str_eq(config->default_pass, "a#b='$(HOME)'");
    ck_assert_uint_eq(config->heartbeat_s, 7);
}
END_TEST

/* --- the example file --- */

static char *example;

/* Looks for "# KEY = ", up to a "$name" in it, at the start of a line; then for its default. */
static void check_example_has(void *context, const char *key, const char *initial,
                              enum config_effect effect)
{
    char wanted[256];

    (void)context;
    if (effect != CONFIG_EFFECT)
        return;
    snprintf(wanted, sizeof wanted, "\n# %.*s%s", (int)strcspn(key, "$"), key,
             strchr(key, '$') ? "" : " = ");
    if (*initial)
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s\n", initial);
    if (!strstr(example, wanted))
        ck_abort_msg("leveret.conf.example lacks '%s'", wanted + 1);
}

static char *load_example(void)
{
    const char *source = getenv("srcdir") ? getenv("srcdir") : ".";
    static char text[65536];
    char path[1024];
    FILE *file;

    snprintf(path, sizeof path, "%s/leveret.conf.example", source);
    file = fopen(path, "r");
    ck_assert_msg(file, "%s: %s", path, strerror(errno));
    text[0] = '\n';
    text[1 + fread(text + 1, 1, sizeof text - 2, file)] = '\0';
    fclose(file);
    return text;
}

START_TEST(test_example_names_every_key_that_has_an_effect_with_its_default)
{
    example = load_example();
    config_each_key(check_example_has, NULL);
}
END_TEST

START_TEST(test_example_reads_clean_with_every_line_switched_on)
{
    char *at = load_example();

    for (char *line = strstr(at, "\n# "); line; line = strstr(line + 1, "\n# ")) {
        size_t word = strspn(line + 3, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-");

        if (strncmp(line + 3 + word, " = ", 3) == 0)
            line[1] = ' '; /* no longer a comment */
    }
    read_text(at + 1);
    check_clean();
    ck_assert_uint_eq(config->heartbeat_s, 60);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_defaults_are_those_of_rabbitmq);
    tcase_add_loop_test(tcase, test_listener_is_a_port_or_an_address_with_one, 0,
                        N_ELEMENTS(listener_case));
    tcase_add_loop_test(tcase, test_malformed_listener_is_refused, 0, N_ELEMENTS(bad_listener));
    tcase_add_test(tcase, test_listeners_add_up_by_name_and_none_empties_them);
    tcase_add_test(tcase, test_loopback_users_replace_the_default);
    tcase_add_test(tcase, test_tags_replace_the_default);
    tcase_add_test(tcase, test_numbers_reach_their_fields);
    tcase_add_test(tcase, test_logging_reaches_its_fields);
    tcase_add_test(tcase, test_texts_reach_their_fields);
    tcase_add_loop_test(tcase, test_ratio_is_a_number_between_its_bounds, 0,
                        N_ELEMENTS(ratio_case));
    tcase_add_loop_test(tcase, test_size_is_read_as_rabbitmq_reads_it, 0, N_ELEMENTS(size_case));
    tcase_add_test(tcase, test_size_of_a_frame_has_binary_units);
    tcase_add_test(tcase, test_words_of_rabbitmq_stand_for_values);
    tcase_add_test(tcase, test_keys_without_effect_leave_a_note);
    tcase_add_loop_test(tcase, test_mistake_on_the_command_line_names_its_key, 0,
                        N_ELEMENTS(set_case));
    tcase_add_test(tcase, test_set_takes_its_value_as_it_is);
    tcase_add_test(tcase, test_example_names_every_key_that_has_an_effect_with_its_default);
    tcase_add_test(tcase, test_example_reads_clean_with_every_line_switched_on);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
