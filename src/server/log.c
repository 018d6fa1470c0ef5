/*
 * log.c - formatting lines, and writing each with one system call
 *
 * A line is built in a buffer of fixed size. Text is copied character by character: what is not
 * printable UTF-8 becomes an escape, and a character is only begun when it fits whole, with room
 * left for the end of the line. So a line is valid (as UTF-8, as JSON) wherever it was cut.
 *
 * Writing is one write(2) on a descriptor opened for appending, without a buffer of our own: a line
 * is with the kernel when log_write() returns, also when the next instruction crashes.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/log.h"

enum {
    FILE_MODE = 0640,
    RENAME_CHECK_S = 5,
    TEXT_BYTES = BOUND_LOG_LINE_BYTES, /* before escaping; a longer text is cut in any case */
};

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",   [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_NOTICE] = "notice", [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_ERROR] = "error",   [LOG_LEVEL_CRITICAL] = "critical",
    [LOG_LEVEL_ALERT] = "alert",   [LOG_LEVEL_EMERGENCY] = "emergency",
};

static const char *const domain_names[LOG_CATEGORY_COUNT] = {
    [LOG_DEFAULT] = "rabbitmq",
    [LOG_CONNECTION] = "rabbitmq.connection",
    [LOG_CHANNEL] = "rabbitmq.channel",
    [LOG_QUEUE] = "rabbitmq.queue",
};

/* The one log of the process. */
static struct {
    struct log_settings settings; /* settings.file is owned */
    int file_fd;                  /* -1 for none */
    dev_t file_device;
    ino_t file_inode;
    time_t file_checked; /* when the file's name was last looked up */
    unsigned long lost;  /* lines that could not be written to the file */
} the_log = {
    .settings = { .console = true,
                  .console_level = LOG_LEVEL_WARNING,
                  .file_level = LOG_LEVEL_NONE },
    .file_fd = -1,
};

/* --- lines --- */

/** struct line - a line being built; `room` keeps its end free */
struct line {
    char *out;
    size_t size;
    size_t room; /* octets that text may fill in all */
    bool cut;
};

static void put(struct line *line, const char *octets, size_t size)
{
    if (line->cut || size > line->room - line->size) {
        line->cut = true;
        return;
    }
    memcpy(line->out + line->size, octets, size);
    line->size += size;
}

static void put_string(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/*
 * The size of the UTF-8 character at `at`, 0 if these octets are none. Overlong forms, surrogates
 * and what lies past U+10FFFF are none. The NUL behind the text ends every short sequence.
 */
static size_t utf8_size(const char *at)
{
    const unsigned char *octets = (const unsigned char *)at;
    unsigned char low = 0x80, high = 0xbf;
    size_t size;

    if (octets[0] < 0x80)
        return 1;
    if (octets[0] < 0xc2 || octets[0] > 0xf4)
        return 0;
    size = octets[0] < 0xe0 ? 2 : octets[0] < 0xf0 ? 3 : 4;
    if (octets[0] == 0xe0)
        low = 0xa0;
    else if (octets[0] == 0xed)
        high = 0x9f;
    else if (octets[0] == 0xf0)
        low = 0x90;
    else if (octets[0] == 0xf4)
        high = 0x8f;
    if (octets[1] < low || octets[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((octets[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

/* C0, DEL and, as two octets, C1: what could move a terminal's cursor or end a line. */
static bool is_control(const char *at, size_t size)
{
    unsigned char first = (unsigned char)at[0];

    return (size == 1 && (first < 0x20 || first == 0x7f)) ||
           (size == 2 && first == 0xc2 && (unsigned char)at[1] < 0xa0);
}

static void put_escape(struct line *line, const char *at, size_t size, enum log_format format)
{
    unsigned code = (unsigned char)at[size - 1]; /* C2 80-9F are U+0080-9F: the second octet */
    char escape[8];
    int length;

    if (*at == '\n' || *at == '\r' || *at == '\t')
        length = snprintf(escape, sizeof escape, "\\%c",
                          *at == '\n' ? 'n' : *at == '\r' ? 'r' : 't');
    else if (format == LOG_FORMAT_JSON)
        length = snprintf(escape, sizeof escape, "\\u%04x", code);
    else
        length = snprintf(escape, sizeof escape, "\\x%02x", code);
    put(line, escape, (size_t)length);
}

static void put_escaped(struct line *line, const char *at, enum log_format format)
{
    while (*at && !line->cut) {
        size_t size = utf8_size(at);

        if (size == 0 && format == LOG_FORMAT_JSON)
            put_string(line, "\xef\xbf\xbd"); /* U+FFFD: JSON cannot carry the octet */
        else if (size == 0 || is_control(at, size))
            put_escape(line, at, size ? size : 1, format);
        else if (format == LOG_FORMAT_JSON && (*at == '"' || *at == '\\'))
            put(line, (const char[]){ '\\', *at }, 2);
        else
            put(line, at, size);
        at += size ? size : 1;
    }
}

/* "2026-11-24 05:23:23.123456+00:00"; localtime_r() is asked once a second. */
static void put_time(struct line *line, struct timespec time)
{
    static time_t second = -1;
    static char date[32], zone[8];
    char text[64];
    int length;

    if (time.tv_sec != second) {
        struct tm local;
        char offset[8];

        second = time.tv_sec;
        (void)localtime_r(&second, &local); /* fails for years beyond int only */
        (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
        (void)strftime(offset, sizeof offset, "%z", &local);
        (void)snprintf(zone, sizeof zone, "%.3s:%.2s", offset, offset + 3);
    }
    length = snprintf(text, sizeof text, "%s.%06ld%s", date, time.tv_nsec / 1000, zone);
    put(line, text, (size_t)length);
}

static void put_end(struct line *line, const char *end)
{
    if (line->cut) {
        line->room += 3;
        line->cut = false;
        put_string(line, "...");
    }
    line->room = BOUND_LOG_LINE_BYTES;
    put_string(line, end);
    assert(!line->cut);
}

static void put_plaintext(struct line *line, const struct log_record *record, const char *who)
{
    line->room = BOUND_LOG_LINE_BYTES - strlen("...\n");
    put_time(line, record->time);
    put_string(line, " [");
    put_string(line, level_names[record->level]);
    put_string(line, "] ");
    put_escaped(line, who, LOG_FORMAT_PLAINTEXT);
    put_string(line, " ");
    put_escaped(line, record->text, LOG_FORMAT_PLAINTEXT);
    put_end(line, "\n");
}

/* The text comes last, so that a cut can only end it; the order of members means nothing. */
static void put_json(struct line *line, const struct log_record *record, const char *who)
{
    line->room = BOUND_LOG_LINE_BYTES - strlen("...\"}\n");
    put_string(line, "{\"time\":\"");
    put_time(line, record->time);
    put_string(line, "\",\"level\":\"");
    put_string(line, level_names[record->level]);
    put_string(line, "\",\"domain\":\"");
    put_string(line, domain_names[record->category]);
    put_string(line, "\",\"pid\":\"");
    put_escaped(line, who, LOG_FORMAT_JSON);
    put_string(line, "\",\"msg\":\"");
    put_escaped(line, record->text, LOG_FORMAT_JSON);
    put_end(line, "\"}\n");
}

size_t log_format_record(const struct log_record *record, enum log_format format,
                         char out[BOUND_LOG_LINE_BYTES])
{
    struct line line = { .out = out };
    const char *who = record->who ? record->who : "<0.0.0>";

    assert(record->level < LOG_LEVEL_NONE);
    assert(record->category < LOG_CATEGORY_COUNT);
    assert(strlen(who) < BOUND_LOG_LINE_BYTES / 8); /* ours, never a peer's */
    switch (format) {
    case LOG_FORMAT_PLAINTEXT:
        put_plaintext(&line, record, who);
        break;
    case LOG_FORMAT_JSON:
        put_json(&line, record, who);
        break;
    }
    return line.size;
}

/* --- outputs --- */

static int open_file(const char *path, int *ret_fd)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, FILE_MODE);

    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

/* Makes an open descriptor the log's file and remembers which file it is. */
static void adopt_file(int fd)
{
    struct stat status = { 0 };

    if (the_log.file_fd >= 0)
        (void)close(the_log.file_fd); /* every line has been written already */
    (void)fstat(fd, &status);         /* if it fails, the next check opens the file again */
    the_log.file_fd = fd;
    the_log.file_device = status.st_dev;
    the_log.file_inode = status.st_ino;
}

int log_open(const struct log_settings *settings)
{
    char *path = NULL;
    int fd = -1;

    if (settings->file) {
        int rc;

        path = strdup(settings->file);
        if (!path)
            return -ENOMEM;
        rc = open_file(path, &fd);
        if (rc) {
            free(path);
            return rc;
        }
    }
    log_close();
    the_log.settings = *settings;
    the_log.settings.file = path;
    if (fd >= 0)
        adopt_file(fd);
    return 0;
}

void log_close(void)
{
    if (the_log.file_fd >= 0)
        (void)close(the_log.file_fd);
    the_log.file_fd = -1;
    free((char *)the_log.settings.file);
    the_log.settings.file = NULL;
    the_log.settings.console = true;
    the_log.settings.console_stdio = LOG_STDERR;
    the_log.lost = 0;
}

int log_reopen(void)
{
    int fd = -1;
    int rc;

    if (!the_log.settings.file)
        return 0;
    rc = open_file(the_log.settings.file, &fd);
    if (rc)
        return rc;
    adopt_file(fd);
    return 0;
}

/* Follows a file that was renamed or deleted by whoever rotates logs. */
static void check_renamed(time_t now)
{
    struct stat status;

    if (now >= the_log.file_checked && now - the_log.file_checked < RENAME_CHECK_S)
        return;
    the_log.file_checked = now;
    if (stat(the_log.settings.file, &status) == 0 && status.st_dev == the_log.file_device &&
        status.st_ino == the_log.file_inode)
        return;
    (void)log_reopen(); /* on failure the old file still takes the lines; tried again later */
}

static bool write_record(int fd, const struct log_record *record, enum log_format format)
{
    char line[BOUND_LOG_LINE_BYTES];
    size_t size = log_format_record(record, format, line);
    size_t at = 0;

    while (at < size) {
        ssize_t written = write(fd, line + at, size - at);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        at += (size_t)written;
    }
    return true;
}

static void write_to_file(const struct log_record *record)
{
    const struct log_settings *settings = &the_log.settings;

    check_renamed(record->time.tv_sec);
    if (the_log.lost) {
        char text[64];
        struct log_record notice = *record;

        (void)snprintf(text, sizeof text, "%lu lines of this log could not be written",
                       the_log.lost);
        notice.category = LOG_DEFAULT;
        notice.level = LOG_LEVEL_WARNING;
        notice.who = NULL;
        notice.text = text;
        if (write_record(the_log.file_fd, &notice, settings->file_format))
            the_log.lost = 0;
    }
    if (!write_record(the_log.file_fd, record, settings->file_format))
        the_log.lost++;
}

bool log_enabled(enum log_category category, enum log_level level)
{
    const struct log_settings *settings = &the_log.settings;

    if (level < settings->category_levels[category])
        return false;
    return (settings->console && level >= settings->console_level) ||
           (the_log.file_fd >= 0 && level >= settings->file_level);
}

void log_write(enum log_category category, enum log_level level, const char *who,
               const char *format, ...)
{
    const struct log_settings *settings = &the_log.settings;
    char text[TEXT_BYTES];
    struct log_record record = { .category = category, .level = level, .who = who, .text = text };
    va_list args;

    if (!log_enabled(category, level))
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* what is cut here is cut again below */
    va_end(args);
    (void)clock_gettime(CLOCK_REALTIME, &record.time); /* cannot fail for this clock */
    if (settings->console && level >= settings->console_level)
        (void)write_record(settings->console_stdio == LOG_STDOUT ? STDOUT_FILENO : STDERR_FILENO,
                           &record, settings->console_format); /* nobody left to tell */
    if (the_log.file_fd >= 0 && level >= settings->file_level)
        write_to_file(&record);
}
