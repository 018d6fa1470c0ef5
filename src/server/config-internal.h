/*
 * config-internal.h - what the files of the configuration share
 *
 *      config_file.c    lines of a file -> key, value       config_types.c   value -> field
 *      config.c         key -> row, reports, lifetime       config_keys.c    keys with an effect
 *      config_security.c  what must not be lost silently    config_noted.c   keys without
 */
#ifndef SERVER_CONFIG_INTERNAL_H
#define SERVER_CONFIG_INTERNAL_H

#include <errno.h>

#include "server/config.h"

enum {
    CONFIG_WORDS_MAX = 16,
    CONFIG_KEY_BYTES = 512,
    CONFIG_VALUE_BYTES = 65536, /* after replacement of $(NAME) */
    CONFIG_PROBLEM_BYTES = 320,
};

/** struct config_raw - a setting as it was read, for $(KEY) in later lines */
struct config_raw {
    char *key;
    char *value;
};

/**
 * enum config_gate - what an operator sets to go on without a part of security that is not here
 *
 * Until then the keys behind the gate refuse the start.
 */
enum config_gate {
    CONFIG_GATE_NONE,     /* nothing lifts the refusal but another value of the same key */
    CONFIG_GATE_TLS,      /* listeners.ssl = none */
    CONFIG_GATE_BACKENDS, /* auth_backends.N, which then has to be internal */
    CONFIG_GATE_ADVANCED, /* advanced_config = ignore */
};

/** struct config_refusal - a setting that cannot be honoured; another value of its key ends it */
struct config_refusal {
    char *key;
    char *where;
    char *text; /* behind "KEY: "; with a gate, the reason */
    enum config_gate gate;
};

struct config_internal {
    struct config_raw *raw;
    size_t raw_count;
    struct config_raw *mechanisms; /* auth_mechanisms.N, the last value of each */
    size_t mechanism_count;
    struct config_refusal *refusals;
    size_t refusal_count;
    unsigned lifted;   /* gates that are open, as bits */
    bool no_listeners; /* the source being read says listeners.tcp = none, which wins there */
    bool ignore_advanced;
    /* whether the lists of struct config hold their defaults, which the first setting drops */
    bool default_listeners;
    bool default_loopback;
    bool default_tags;
};

/** struct config_value - one value on its way into its field */
struct config_value {
    const char *text;
    const char *name;                   /* the word that the row's $name stands for, or NULL */
    const char *key;                    /* as it was written */
    char problem[CONFIG_PROBLEM_BYTES]; /* set with an error: continues "KEY: ..." */
};

/**
 * struct config_row - one key
 *
 * @key:     words joined by dots; "$name" is any one word, "*" at the end any number of words
 * @apply:   checks the value and stores it: 0; -ENOMEM; and with value->problem: -EINVAL for a bad
 *           value; -EPERM for a good one of RabbitMQ's that cannot be honoured, which refuses the
 *           start unless the gate is open; -ECANCELED for one that has no effect
 * @offset, @width: the field; width 0 for a value that is only checked
 * @min, @max:      of numbers; of the length of texts
 * @zero:    0 is good although it is below min
 * @choices: of enums, the words of the values 0, 1, ..., separated by '|'; of numbers, a word that
 *           stands for max
 */
struct config_row {
    const char *key;
    const char *initial;
    int (*apply)(struct config *config, const struct config_row *row, struct config_value *value);
    size_t offset;
    size_t width;
    int64_t min;
    int64_t max;
    bool zero;
    const char *choices;
    enum config_gate gate;
};

/** config_rows() - the table; where several rows match a key, the first counts */
const struct config_row *config_rows(size_t *ret_count);

/** struct config_group - keys without effect that share a prefix and the reason (config_noted.c) */
struct config_group {
    const char *prefix;
    enum config_gate gate;
    const char *reason;
    const char *keys;
};

/** struct config_noted - a walk over the keys without effect; start with {0} */
struct config_noted {
    char pattern[CONFIG_KEY_BYTES]; /* the key, as in config_row */
    const struct config_group *group;
    char type; /* 'b' boolean, 'i' integer, 'a' any */
    /* where the walk is */
    size_t next_group;
    const char *keys, *list;
    size_t list_prefix;
};

/** config_noted_next() - go to the next key; false behind the last */
bool config_noted_next(struct config_noted *noted);

/** config_check_type() - whether a value is of the type of a noted key: 0; -EINVAL with problem */
int config_check_type(struct config_value *value, char type);

/* --- config_security.c --- */

/** config_refuse() - remember that this setting cannot be honoured: 0 or -ENOMEM */
int config_refuse(struct config *config, const char *where, const char *key,
                  enum config_gate gate, const char *text);
/** config_unrefuse() - the key has a new value */
void config_unrefuse(struct config *config, const char *key);
void config_release_security(struct config_internal *internal);

/** config_apply() - find the key's row and apply the value; mistakes go to the report */
int config_apply(struct config *config, const char *where, const char *key, const char *value,
                 struct config_report *report);

typedef int config_apply_fn(struct config *, const struct config_row *, struct config_value *);
config_apply_fn config_apply_bool, config_apply_choice, config_apply_integer, config_apply_bytes,
    config_apply_bytesize, config_apply_ratio, config_apply_text, config_apply_pattern,
    config_apply_listener, config_apply_no_listeners, config_apply_loopback,
    config_apply_no_loopback, config_apply_tag, config_apply_log_file, config_apply_queue_type,
    config_apply_tls_listener, config_apply_no_tls, config_apply_backend, config_apply_mechanism,
    config_apply_only, config_apply_advanced;

/** config_problem() - word a problem of the value; returns @rc */
int config_problem(struct config_value *value, int rc, const char *format, ...) PRINTF_LIKE(3, 4);
/** config_same_endpoint() - whether two addresses to listen at get in each other's way */
bool config_same_endpoint(const struct config_listener *a, const struct config_listener *b);
/** config_put_raw() - set the value of a key in a list of them: 0 or -ENOMEM */
int config_put_raw(struct config_raw **list, size_t *count, const char *key, const char *value);

void config_clear_listeners(struct config *config);
void config_clear_names(struct config_names *names);

#endif
