/*
 * config.h - the settings of the server: `leveret.conf` and `--set`
 *
 * The grammar and the names of keys are those of rabbitmq.conf, so that a file that runs RabbitMQ
 * today can be read unchanged. Every key that has an effect is a row of one table (config_keys.c)
 * that says its type, its bounds and where its value goes; a file, `--set` and the defaults all go
 * through the same rows. RabbitMQ's other keys are known with the reason why they have none
 * (config_noted.c), and a setting of security that cannot be honoured refuses the start
 * (config_security.c).
 *
 * Reading never stops at the first mistake: each bad line becomes one error in the report and the
 * rest is still read. What a setting had before a bad value, it keeps.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "amqp/base.h"
#include "server/log.h"
#include "store/store.h"

/** struct config_listener - one address to listen at: listeners.tcp.NAME */
struct config_listener {
    char *name;    /* "default" */
    char *address; /* numeric IPv4 or IPv6, perhaps with %zone; NULL: every address of both */
    uint16_t port;
};

/** struct config_names - a set of names, in the order they were set */
struct config_names {
    char **names;
    size_t count;
};

struct config {
    /* listeners.tcp.*; none is a valid number */
    struct config_listener *listeners;
    size_t listener_count;

    char *default_user;
    char *default_pass;
    char *default_vhost;
    char *default_configure; /* default_permissions.* */
    char *default_write;
    char *default_read;
    struct config_names default_tags;
    struct config_names loopback_users;
    char *mechanisms;          /* that clients are offered, "PLAIN AMQPLAIN"; NULL: all */
    unsigned password_hashing; /* 0: SHA-256; 1: SHA-512 */

    unsigned heartbeat_s;             /* 0: none */
    uint32_t frame_max_bytes;         /* 0: unlimited */
    uint32_t initial_frame_max_bytes; /* before tune-ok */
    unsigned channel_max;             /* 0: unlimited */
    unsigned consumers_per_channel_max;
    unsigned tx_messages_max; /* 0: no limit, as in the next */
    uint64_t tx_bytes_max;
    uint64_t consumer_timeout_ms;   /* unacknowledged deliveries; 0: never */
    uint64_t connections_max;         /* of the node; INT64_MAX: unlimited, as in all of these */
    uint64_t channels_max;
    uint64_t vhosts_max;
    uint64_t queues_max;              /* cluster_queue_limit */
    uint64_t exchanges_max;           /* cluster_exchange_limit */
    uint64_t bindings_max;            /* cluster_binding_limit */
    unsigned default_queue_type;      /* 0: classic; 1: quorum */
    uint64_t handshake_timeout_ms;
    unsigned send_timeout_ms; /* INT32_MAX: never */
    unsigned tcp_backlog;     /* connections that wait to be accepted */
    bool tcp_nodelay;
    bool tcp_keepalive;
    uint32_t tcp_sndbuf_bytes; /* of each socket; 0: as the kernel has it */
    uint32_t tcp_recbuf_bytes;
    uint64_t disk_free_min_bytes; /* below, publishers are blocked */
    uint32_t disk_free_permille;  /* the same as a part of the machine's memory; 0: not so given */
    uint64_t machine_memory_bytes; /* that parts of it are meant of; 0: as the machine says */
    uint64_t memory_max_bytes;    /* above, likewise; 0: memory_max_permille of the machine's */
    uint32_t memory_max_permille;
    uint32_t memory_paging_permille; /* of that limit: above, long queues leave memory */
    uint64_t queue_memory_max_bytes; /* of one queue's messages, then they leave memory; 0: no limit */
    uint64_t message_max_bytes;

    bool log_file; /* log.file is not false */
    char *log_directory;
    char *log_file_name;
    struct log_settings log; /* `file` is not set: see config_log_path() */

    struct store_options store;

    char *definitions_path; /* load_definitions: a file or a directory; NULL for none */
    char *definitions_vhost; /* where the export of a single vhost goes; NULL: to its own name */
    bool definitions_skip_unsupported;
    char *cluster_name;     /* NULL: the caller's choice */

    struct config_internal *internal;
};

/**
 * struct config_report - what reading found, one line of text each, without newline
 *
 * An error makes the configuration unusable; a note belongs in the log (a key that has no effect).
 * Both begin with where: "FILE:LINE: ..." or "--set KEY: ...". Start with {0}.
 */
struct config_report {
    char **errors;
    size_t error_count;
    char **notes;
    size_t note_count;
};

void config_report_release(struct config_report *report);

/** config_error(), config_note() - add a line: 0 or -ENOMEM */
int config_error(struct config_report *report, const char *format, ...) PRINTF_LIKE(2, 3);
int config_note(struct config_report *report, const char *format, ...) PRINTF_LIKE(2, 3);

/** config_new() - all defaults; NULL without memory */
struct config *config_new(void);
void config_free(struct config *config);

/**
 * config_read_file() - read a file, then the fragments `conf.d/NAME.conf` beside it
 *
 * Fragments come in alphabetical order; a later value replaces an earlier one. A file that cannot
 * be read is an error in the report.
 *
 * Return: 0, whatever the report says; -ENOMEM.
 */
int config_read_file(struct config *config, const char *path, struct config_report *report);

/**
 * config_set() - one setting from the command line
 * @setting: "KEY=VALUE"; the value is taken as it is: no comments, quotes or $(NAME) in it
 *
 * Return: 0, whatever the report says; -ENOMEM.
 */
int config_set(struct config *config, const char *setting, struct config_report *report);

/** config_set_key() - the same, with key and value apart; @where begins the lines of the report */
int config_set_key(struct config *config, const char *where, const char *key, const char *value,
                   struct config_report *report);

/**
 * config_check() - judge the whole, when everything is read
 *
 * Settings of security that cannot be honoured become errors, unless a later setting has replaced
 * them or says that the operator goes on without; so do listeners that collide and a list of
 * listeners that is empty.
 *
 * Return: 0, whatever the report says; -ENOMEM.
 */
int config_check(struct config *config, struct config_report *report);

/** config_log_path() - where log.file goes; *ret_path is NULL for nowhere. Return: 0 or -ENOMEM */
int config_log_path(const struct config *config, char **ret_path);

/** enum config_effect - what a key does in this server */
enum config_effect {
    CONFIG_EFFECT,  /* what its documentation says */
    CONFIG_NOTED,   /* nothing, and the log says why */
    CONFIG_REFUSED, /* it refuses the start until the operator says how to go on without */
};

/** config_each_key() - visit every known key: its pattern, default ("" for none) and effect */
void config_each_key(void (*visit)(void *context, const char *key, const char *initial,
                                   enum config_effect effect),
                     void *context);

#endif
