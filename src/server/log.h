/*
 * log.h - lines for the operator, on the console and in a file
 *
 * The form is RabbitMQ's, because tools and people match it:
 *
 *      2026-11-24 05:23:23.123456+00:00 [info] <0.12.0> started TCP listener on [::]:5672
 *      {"time":"...","level":"info","msg":"...","domain":"rabbitmq.connection","pid":"<0.12.0>"}
 *
 * There is one log in a process, opened by main; until then, warnings and worse go to stderr. Only
 * the broker thread writes to it. Callers never pass passwords, tokens or message bodies.
 */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include <time.h>

#include "amqp/base.h"
#include "amqp/bounds.h"

enum log_level { /* in the order of log_level_names */
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_CRITICAL,
    LOG_LEVEL_ALERT,
    LOG_LEVEL_EMERGENCY,
    LOG_LEVEL_NONE, /* a threshold that nothing passes */
};

/* The names of levels as the configuration and the lines write them, separated by '|'. */
#define LOG_LEVEL_NAMES "debug|info|notice|warning|error|critical|alert|emergency|none"

/** enum log_category - what a line is about; each has a level of its own (log.CATEGORY.level) */
enum log_category {
    LOG_DEFAULT,
    LOG_CONNECTION,
    LOG_CHANNEL,
    LOG_QUEUE,
    LOG_CATEGORY_COUNT,
};

enum log_format { LOG_FORMAT_PLAINTEXT, LOG_FORMAT_JSON };
enum log_stdio { LOG_STDERR, LOG_STDOUT };

struct log_settings {
    bool console;
    enum log_stdio console_stdio;
    enum log_level console_level;
    enum log_format console_format;
    const char *file; /* path, copied; NULL for no file */
    enum log_level file_level;
    enum log_format file_format;
    enum log_level category_levels[LOG_CATEGORY_COUNT];
};

/**
 * log_open() - replace the log's settings
 *
 * Return: 0; -errno of opening the file, and the log stays as it was.
 */
int log_open(const struct log_settings *settings);

/** log_close() - close the file; lines go to stderr again */
void log_close(void);

/**
 * log_reopen() - open the file by its name again, after somebody renamed it (SIGHUP)
 *
 * A file that was renamed or deleted is also noticed without a signal, within five seconds.
 *
 * Return: 0; -errno, and lines still go to the old file.
 */
int log_reopen(void);

/** log_enabled() - whether a line would be written anywhere; to save the work of making it */
bool log_enabled(enum log_category category, enum log_level level);

/**
 * log_write() - write one line
 * @level: LOG_LEVEL_DEBUG to LOG_LEVEL_EMERGENCY
 * @who:   the connection or other subject, "<0.12.0>"; NULL for the broker itself
 *
 * Control characters and octets that are not UTF-8 are escaped, so that a peer's text stays within
 * its line; a line of more than BOUND_LOG_LINE_BYTES is cut and ends in "...". A line that cannot
 * be written (disk full) is lost; the number of lost lines is written when it works again.
 */
void log_write(enum log_category category, enum log_level level, const char *who,
               const char *format, ...) PRINTF_LIKE(4, 5);

#define log_debug(...) log_write(LOG_DEFAULT, LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)
#define log_info(...) log_write(LOG_DEFAULT, LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_DEFAULT, LOG_LEVEL_WARNING, NULL, __VA_ARGS__)
#define log_error(...) log_write(LOG_DEFAULT, LOG_LEVEL_ERROR, NULL, __VA_ARGS__)

/** struct log_record - what one line says */
struct log_record {
    struct timespec time;
    enum log_category category;
    enum log_level level;
    const char *who;
    const char *text;
};

/**
 * log_format_record() - one line, its newline included, in local time
 *
 * Return: its size; at most BOUND_LOG_LINE_BYTES. There is no NUL behind it.
 */
size_t log_format_record(const struct log_record *record, enum log_format format,
                         char line[BOUND_LOG_LINE_BYTES]);

#endif
