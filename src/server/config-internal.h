/*
 * config-internal.h - what the files of the configuration share
 *
 *      config_file.c    lines of a file -> key, value       config_types.c   value -> field
 *      config.c         key -> row, reports, lifetime       config_keys.c    the rows
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

struct config_internal {
    struct config_raw *raw;
    size_t raw_count;
    /* whether the lists of struct config hold their defaults, which the first setting drops */
    bool default_listeners;
    bool default_loopback;
    bool default_tags;
};

/** struct config_value - one value on its way into its field */
struct config_value {
    const char *text;
    const char *name;                   /* the word that the row's $name stands for, or NULL */
    char problem[CONFIG_PROBLEM_BYTES]; /* set with -EINVAL: continues "KEY: ..." */
};

/**
 * struct config_row - one key
 *
 * @key:     words joined by dots; "$name" is any one word, "*" at the end any number of words
 * @apply:   checks the value and stores it: 0, -EINVAL with value->problem, -ENOMEM
 * @offset, @width: the field; width 0 for a value that is only checked
 * @min, @max:      of numbers; of the length of texts
 * @zero:    0 is good although it is below min
 * @choices: of enums, the words of the values 0, 1, ..., separated by '|'; of numbers, a word that
 *           stands for max
 */
struct config_row {
    const char *key;
    const char *initial;
    enum config_effect effect;
    int (*apply)(struct config *config, const struct config_row *row, struct config_value *value);
    size_t offset;
    size_t width;
    int64_t min;
    int64_t max;
    bool zero;
    const char *choices;
};

/** config_rows() - the table; where several rows match a key, the first counts */
const struct config_row *config_rows(size_t *ret_count);

/** config_apply() - find the key's row and apply the value; mistakes go to the report */
int config_apply(struct config *config, const char *where, const char *key, const char *value,
                 struct config_report *report);

int config_error(struct config_report *report, const char *format, ...) PRINTF_LIKE(2, 3);
int config_note(struct config_report *report, const char *format, ...) PRINTF_LIKE(2, 3);

typedef int config_apply_fn(struct config *, const struct config_row *, struct config_value *);
config_apply_fn config_apply_bool, config_apply_choice, config_apply_integer, config_apply_bytes,
    config_apply_ratio, config_apply_text, config_apply_pattern, config_apply_any,
    config_apply_listener, config_apply_no_listeners, config_apply_loopback,
    config_apply_no_loopback, config_apply_tag, config_apply_log_file;

void config_clear_listeners(struct config *config);
void config_clear_names(struct config_names *names);

#endif
