/*
 * main.c - leveretd: start everything in order, take turns, stop everything in order
 *
 *   options -> log -> broker -> store (recovery) -> definitions or defaults -> listeners -> turns
 *
 * The port opens last, so whoever can connect finds everything there. A stop goes the other way
 * round: no new clients, those that are there are told (320) and get a few seconds to leave, then
 * the store commits what was accepted. A second signal meanwhile ends the process at once, which is
 * as safe as a crash: only what was never confirmed is lost.
 *
 * Nothing is global: everything hangs on a struct server on main's stack.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/first_data.h"
#include "broker/broker.h"
#include "server/alarms.h"
#include "server/client.h"
#include "server/data_directory.h"
#include "server/listener.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/notify.h"
#include "server/options.h"
#include "server/recovery.h"
#include "store/store.h"

enum {
    STOP_BOUND_MS = 3000, /* what clients get to answer connection.close */
    ERROR_TEXT_BYTES = 16384,
    NODE_NAME_BYTES = 300,
    CONNECTIONS_EXPECTED = 10000, /* what room in the descriptor table is checked for */
    DESCRIPTORS_OWN = 64,         /* at most: store, log, listeners, the loop's */
};

/* What clients are told: they look for features of this product in this version. */
static const char product_told[] = "RabbitMQ", version_told[] = "3.10.8";

struct server {
    struct options options;
    struct broker *broker;
    struct store *store;
    struct recovery recovery; /* the store's observer, as long as it lives */
    struct loop *loop;
    struct client_set *clients;
    struct alarms *alarms;
    struct listener **listeners;
    size_t listener_count;
    struct timer stop_timer;
    bool stop_is_over; /* no client is waited for any longer */
    int stop_signal;   /* the one that asked for it; 0: none yet */
    bool running;      /* clients may be there */
    char node_name[NODE_NAME_BYTES];
    char error_text[ERROR_TEXT_BYTES];
};

/* ---- what the broker asks of us ---- */

/* The category of a line is told by whom it speaks of. */
static enum log_category category_of(const char *text)
{
    if (strncmp(text, "channel ", 8) == 0)
        return LOG_CHANNEL;
    if (strncmp(text, "connection ", 11) == 0 || strncmp(text, "closing AMQP ", 13) == 0)
        return LOG_CONNECTION;
    return LOG_DEFAULT;
}

static void log_for_broker(void *context, int level, const char *text)
{
    static const enum log_level levels[] = {
        [BROKER_LOG_DEBUG] = LOG_LEVEL_DEBUG,
        [BROKER_LOG_INFO] = LOG_LEVEL_INFO,
        [BROKER_LOG_WARNING] = LOG_LEVEL_WARNING,
        [BROKER_LOG_ERROR] = LOG_LEVEL_ERROR,
    };

    (void)context;
    log_write(category_of(text), levels[level], NULL, "%s", text);
}

static bool is_loopback_user(const void *context, const char *user)
{
    const struct config *config = context;

    for (size_t i = 0; i < config->loopback_users.count; i++) {
        if (strcmp(config->loopback_users.names[i], user) == 0)
            return true;
    }
    return false;
}

/* The broker's word for no limit is 0. */
static uint64_t limit_from(uint64_t configured)
{
    return configured == INT64_MAX ? 0 : configured;
}

static struct broker_settings broker_settings_from(const struct server *server)
{
    const struct config *config = server->options.config;

    return (struct broker_settings){
        .product = product_told,
        .version = version_told,
        .cluster_name = config->cluster_name ? config->cluster_name : server->node_name,
        .node_name = server->node_name,
        .channel_max = (uint16_t)config->channel_max,
        .frame_max = config->frame_max_bytes,
        .heartbeat_s = (uint16_t)config->heartbeat_s,
        .handshake_frame_bytes = config->initial_frame_max_bytes,
        .message_bytes_max = (uint32_t)config->message_max_bytes,
        .consumers_per_channel_max = config->consumers_per_channel_max,
        .tx_messages_max = config->tx_messages_max,
        .tx_bytes_max = config->tx_bytes_max,
        .consumer_timeout_ms = config->consumer_timeout_ms,
        .queue_memory_max = config->queue_memory_max_bytes ? config->queue_memory_max_bytes
                                                           : UINT64_MAX,
        .default_queue_type = config->default_queue_type ? "quorum" : NULL,
        .connections_max = limit_from(config->connections_max),
        .channels_max = limit_from(config->channels_max),
        .vhosts_max = limit_from(config->vhosts_max),
        .queues_max = limit_from(config->queues_max),
        .exchanges_max = limit_from(config->exchanges_max),
        .bindings_max = limit_from(config->bindings_max),
        .mechanisms = config->mechanisms,
        .password_hashing = config->password_hashing ? AUTH_HASHING_SHA512 : AUTH_HASHING_SHA256,
        .is_loopback_user = is_loopback_user,
        .loopback_context = config,
        .log = log_for_broker,
    };
}

/* ---- starting ---- */

/* A log line for each line of the text, all with the same beginning. */
static void log_lines(enum log_level level, const char *what, const char *text)
{
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, '\n');
        log_write(LOG_DEFAULT, level, NULL, "%s%.*s", what, (int)(end - text), text);
    }
}

/* Say why it cannot start, in the log and, if the log goes elsewhere, on standard error. */
static int start_failed(const struct server *server, const char *what)
{
    char begin[128];

    snprintf(begin, sizeof begin, "cannot start: %s", what);
    log_lines(LOG_LEVEL_ERROR, begin, *server->error_text ? server->error_text : " ");
    if (!server->options.config->log.console)
        fprintf(stderr, "leveretd: cannot start: %s%s\n", what, server->error_text);
    return -1;
}

static int start_failed_errno(struct server *server, const char *what, int error)
{
    snprintf(server->error_text, sizeof server->error_text, ": %s", strerror(-error));
    return start_failed(server, what);
}

static int open_log(const struct server *server)
{
    const struct config *config = server->options.config;
    struct log_settings settings = config->log;
    char *path = NULL;
    int rc = config_log_path(config, &path);

    if (!rc) {
        settings.file = path;
        rc = log_open(&settings);
    }
    if (rc)
        fprintf(stderr, "leveretd: cannot open the log%s%s: %s%s\n", path ? " " : "",
                path ? path : "", strerror(-rc),
                rc == -ENOENT ? "; make its directory, or set log.dir to another one" : "");
    free(path);
    for (size_t i = 0; !rc && i < server->options.report.note_count; i++)
        log_warning("%s", server->options.report.notes[i]);
    return rc;
}

/*
 * Ten thousand clients need as many descriptors: take what the system grants, and say so when it is
 * too little, for what an operator sees later is clients that wait to be accepted.
 */
static void raise_descriptor_limit(void)
{
    struct rlimit limit, wanted;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    wanted = (struct rlimit){ limit.rlim_max, limit.rlim_max };
    if (setrlimit(RLIMIT_NOFILE, &wanted))
        log_warning("the limit of open files cannot be raised: %s", strerror(errno));
    else
        limit = wanted;
    if (limit.rlim_cur < CONNECTIONS_EXPECTED + DESCRIPTORS_OWN)
        log_warning("the hard limit of open files is %llu: fewer than %d connections fit",
                    (unsigned long long)limit.rlim_cur, CONNECTIONS_EXPECTED);
}

static void name_node(struct server *server)
{
    char host[256] = "localhost";

    if (gethostname(host, sizeof host - 1))
        strcpy(host, "localhost");
    host[strcspn(host, ".")] = '\0';
    snprintf(server->node_name, sizeof server->node_name, "leveret@%s", host);
}

static int open_store(struct server *server)
{
    const struct options *options = &server->options;
    struct store_options store_options = options->config->store;
    char path[PATH_MAX];
    int rc;

    if (snprintf(path, sizeof path, "%s/store", options->data_directory) >= (int)sizeof path)
        return start_failed_errno(server, "data directory", -ENAMETOOLONG);
    recovery_begin(&server->recovery, path, recovery_now_ms);
    store_options.observer = &server->recovery.observer;
    rc = store_open(path, &store_options, &broker_store_events, server->broker,
                    server->error_text, sizeof server->error_text, &server->store);
    if (rc)
        return start_failed(server, "");
    loop_enter(server->loop); /* recovery happens at a time */
    if (broker_attach_store(server->broker, server->store, server->error_text,
                            sizeof server->error_text))
        return start_failed(server, "");
    recovery_end(&server->recovery, server->store);
    rc = loop_watch_store(server->loop, server->store);
    return rc ? start_failed_errno(server, "store", rc) : 0;
}

/* From the command line before the configuration's; NULL: none. */
static const char *definitions_path(const struct server *server)
{
    return server->options.definitions ? server->options.definitions
                                       : server->options.config->definitions_path;
}

static struct first_data first_data_of(struct server *server)
{
    return (struct first_data){
        .broker = server->broker,
        .config = server->options.config,
        .definitions_path = definitions_path(server),
        .error_text = server->error_text,
        .error_text_size = sizeof server->error_text,
    };
}

static int fill_broker(struct server *server)
{
    const struct first_data data = first_data_of(server);

    return first_data_put(&data) ? start_failed(server, "") : 0;
}

static int open_listeners(struct server *server)
{
    const struct config *config = server->options.config;

    server->listeners = calloc(config->listener_count + 1, sizeof(*server->listeners));
    if (!server->listeners)
        return start_failed_errno(server, "listeners", -ENOMEM);
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];

        if (listener_new(server->loop, server->clients, listener->address, listener->port,
                         server->error_text, sizeof server->error_text, &server->listeners[i]))
            return start_failed(server, "");
        server->listener_count++;
        listener_set_backlog(server->listeners[i], (int)config->tcp_backlog);
        log_info("started TCP listener on %s", listener_name(server->listeners[i]));
    }
    return 0;
}

/* The clients' word for no limit is 0. */
static unsigned send_timeout_from(const struct config *config)
{
    return config->send_timeout_ms == INT32_MAX ? 0 : config->send_timeout_ms;
}

/* Sockets that only wait for their peers to close: never more than an eighth of the descriptors. */
static unsigned lingering_max(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur / 8 >= BOUND_LINGERING_SOCKETS)
        return BOUND_LINGERING_SOCKETS;
    return limit.rlim_cur >= 8 ? (unsigned)(limit.rlim_cur / 8) : 1;
}

static int make_parts(struct server *server)
{
    const struct config *config = server->options.config;
    struct client_settings clients = {
        .handshake_timeout_ms = config->handshake_timeout_ms,
        .send_timeout_ms = send_timeout_from(config),
        .lingering_max = lingering_max(),
        .nodelay = config->tcp_nodelay,
        .keepalive = config->tcp_keepalive,
        .sndbuf_bytes = config->tcp_sndbuf_bytes,
        .recbuf_bytes = config->tcp_recbuf_bytes,
    };
    struct broker_settings settings = broker_settings_from(server);
    int rc = broker_new(&settings, &server->broker);

    if (!rc)
        rc = loop_new(server->broker, &server->loop);
    if (!rc)
        rc = client_set_new(server->loop, server->broker, &clients, &server->clients);
    return rc ? start_failed_errno(server, "broker", rc) : 0;
}

/* A part of the machine's memory, or of what the configuration says that there is of it. */
static uint64_t memory_part(const struct config *config, uint32_t permille)
{
    uint64_t machine_bytes = config->machine_memory_bytes;

    if (!machine_bytes)
        machine_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

    return machine_bytes / 1000 * permille;
}

static int start_alarms(struct server *server)
{
    const struct config *config = server->options.config;
    uint64_t memory_max_bytes = config->memory_max_bytes
                                    ? config->memory_max_bytes
                                    : memory_part(config, config->memory_max_permille);
    struct alarms_settings settings = {
        .directory = server->options.data_directory,
        .node_name = server->node_name,
        .disk_free_min_bytes = config->disk_free_permille
                                   ? memory_part(config, config->disk_free_permille)
                                   : config->disk_free_min_bytes,
        .memory_max_bytes = memory_max_bytes,
        .memory_paging_bytes = memory_max_bytes / 1000 * config->memory_paging_permille,
    };
    int rc = alarms_new(server->loop, server->broker, &settings, &server->alarms);

    return rc ? start_failed_errno(server, "alarms", rc) : 0;
}

/* ---- signals ---- */

static void on_stop(void *context, int number)
{
    struct server *server = context;

    if (server->stop_signal)
        _exit(128 + number);
    server->stop_signal = number;
    loop_stop(server->loop);
}

static void reopen_log(void)
{
    int rc = log_reopen();

    if (rc)
        log_error("the log file cannot be opened again: %s", strerror(-rc));
    else
        log_info("the log file was opened again");
}

/* A file with a mistake changes nothing, and the broker goes on as it was. */
static void import_definitions_again(struct server *server)
{
    const struct first_data data = first_data_of(server);

    if (first_data_import(&data))
        log_lines(LOG_LEVEL_ERROR, "definitions were not imported again: ", server->error_text);
    else if (data.definitions_path)
        log_info("definitions were imported again from %s", data.definitions_path);
}

static void on_hangup(void *context, int number)
{
    (void)number;
    reopen_log();
    import_definitions_again(context);
}

static int watch_signals(struct server *server)
{
    int rc = loop_on_signal(server->loop, SIGTERM, on_stop, server);

    if (!rc)
        rc = loop_on_signal(server->loop, SIGINT, on_stop, server);
    if (!rc)
        rc = loop_on_signal(server->loop, SIGHUP, on_hangup, server);
    signal(SIGPIPE, SIG_IGN);
    return rc ? start_failed_errno(server, "signals", rc) : 0;
}

/* ---- stopping ---- */

static void on_stop_bound(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    CONTAINER_OF(timer, struct server, stop_timer)->stop_is_over = true;
}

/* Tell the clients, and wait until they have gone or the time is over. */
static void send_clients_away(struct server *server)
{
    loop_turn(server->loop, true); /* what has come already is still served */
    loop_enter(server->loop);
    server->stop_timer.fire = on_stop_bound;
    if (loop_set_timer(server->loop, &server->stop_timer,
                       loop_now_ms(server->loop) + STOP_BOUND_MS))
        server->stop_is_over = true; /* without memory for a timer nobody is waited for */
    client_set_force_close(server->clients, AMQP_CONNECTION_FORCED,
                           "broker forced connection closure with reason 'shutdown'");
    loop_turn(server->loop, true);
    while (client_set_count(server->clients) && !server->stop_is_over)
        loop_turn(server->loop, false);
    loop_cancel_timer(server->loop, &server->stop_timer);
}

static void close_listeners(struct server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        listener_free(server->listeners[i]);
    server->listener_count = 0;
    free(TAKE(server->listeners));
}

/* 0, or 1 when something that was accepted could not be kept. */
static int server_stop(struct server *server)
{
    int rc = 0;

    close_listeners(server);
    if (server->running)
        send_clients_away(server);
    alarms_free(server->alarms);
    client_set_free(server->clients);
    if (server->running)
        loop_turn(server->loop, true); /* what the clients held is put back */
    if (server->loop)
        loop_forget_store(server->loop);
    if (server->broker)
        broker_free(server->broker);
    signal(SIGTERM, SIG_DFL); /* no turns any more: a second signal ends the wait for the disk */
    signal(SIGINT, SIG_DFL);
    if (server->store)
        rc = store_close(server->store);
    loop_free(server->loop);
    if (rc)
        log_error("not everything could be written: %s", strerror(-rc));
    return rc ? 1 : 0;
}

/* What an operator wants to know of a process before anything else. */
static void log_identity(const struct server *server)
{
    const char *config = server->options.config_file;
    char *directory = realpath(server->options.data_directory, NULL);

    log_info("Leveret " PACKAGE_VERSION " starts: pid %d, node %s, data directory %s, %s%s",
             (int)getpid(), server->node_name,
             directory ? directory : server->options.data_directory,
             config ? "configuration " : "no configuration file", config ? config : "");
    free(directory);
}

static int server_start(struct server *server)
{
    name_node(server);
    log_identity(server);
    raise_descriptor_limit();
    if (make_parts(server) || open_store(server) || fill_broker(server) || start_alarms(server) ||
        watch_signals(server) || open_listeners(server))
        return -1;
    loop_turn(server->loop, true); /* ends the turn that the start was part of */
    return 0;
}

/* Stop after the last turn; returns the exit status. */
static int run_down(struct server *server)
{
    const char *text;
    bool lost = !server->stop_signal && store_lost(server->store, &text);
    int status;

    if (lost)
        log_error("the database cannot be used any more: %s. What was confirmed is in the log; "
                  "this process ends, to be started again.",
                  text);
    else
        log_info("stopping after signal %d", server->stop_signal);
    notify_manager("STOPPING=1");
    status = server_stop(server);
    if (!status && server->stop_signal == SIGINT)
        status = 128 + SIGINT;
    if (store_is_left_open())
        log_warning("the database waits for the disk and was left as it is; the log has the rest");
    log_info("stopped");
    return lost ? OPTIONS_EXIT_LOST : status;
}

static void print_for_check(void *context, int level, const char *text)
{
    (void)context;
    if (level >= BROKER_LOG_WARNING)
        puts(text);
}

/* Definitions are checked against an empty broker: what they may refer to must be in them. */
static int check_definitions(struct server *server)
{
    struct broker_settings settings = broker_settings_from(server);
    struct first_data data;
    int rc;

    settings.log = print_for_check;
    rc = broker_new(&settings, &server->broker);
    if (rc) {
        fprintf(stderr, "leveretd: %s\n", strerror(-rc));
        return OPTIONS_EXIT_FAILURE;
    }
    data = first_data_of(server);
    rc = first_data_check(&data);
    broker_free(server->broker);
    server->broker = NULL;
    if (rc) {
        fprintf(stderr, "%s\n", server->error_text);
        return OPTIONS_EXIT_CONFIG;
    }
    printf("the definitions in %s can be imported\n", data.definitions_path);
    return EXIT_SUCCESS;
}

/* --check-config: nothing is opened. Return: the status to exit with. */
static int check_only(struct server *server)
{
    int status = definitions_path(server) ? check_definitions(server) : EXIT_SUCCESS;

    if (status == EXIT_SUCCESS)
        options_print_check(&server->options);
    return status;
}

/* What a disk or a machine does, and may not do the next time. */
static bool may_pass(int error)
{
    return error == -EIO || error == -ENOSPC || error == -EDQUOT || error == -ENOMEM ||
           error == -EMFILE || error == -ENFILE;
}

/* A directory that cannot be used will not be usable at the next try: the status is that. */
static int prepare_data(struct server *server)
{
    int rc = data_directory_prepare(server->options.data_directory, server->error_text,
                                    sizeof server->error_text);

    if (!rc)
        return -1;
    (void)start_failed(server, "");
    return may_pass(rc) ? OPTIONS_EXIT_FAILURE : OPTIONS_EXIT_CONFIG;
}

int main(int argc, char **argv)
{
    struct server server = { .stop_signal = 0 };
    int status = options_read(&server.options, argc, argv);

    if (status < 0 && server.options.check_only)
        status = check_only(&server);
    if (status < 0 && open_log(&server))
        status = OPTIONS_EXIT_FAILURE;
    if (status < 0)
        status = prepare_data(&server);
    if (status >= 0) {
        options_release(&server.options);
        return status;
    }
    if (server_start(&server)) {
        status = OPTIONS_EXIT_FAILURE;
        (void)server_stop(&server); /* the reason has been given */
    } else {
        log_info("Server startup complete; 0 plugins started. Ready for clients.");
        notify_manager("READY=1");
        server.running = true;
        loop_run(server.loop);
        status = run_down(&server);
    }
    log_close();
    options_release(&server.options);
    if (store_is_left_open())
        _exit(status); /* its threads may still run */
    return status;
}
