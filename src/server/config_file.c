/*
 * config_file.c - the grammar of rabbitmq.conf
 *
 *      key = value             blanks around '=' may be left out; '#' begins a comment
 *      key = 'a # value'       quotes when '#' or blanks at an end belong to the value
 *      key = '''lines'''       a value of several lines
 *      key = $(NAME)           an environment variable, or the value of a key set above
 *      include other.conf      relative to this file; a pattern includes every file that it matches
 *
 * A file is read whole and scanned once with a cursor. A line that is wrong becomes an error and
 * the scan goes on behind it, so that one run shows every mistake. Lines are never quoted in
 * errors: they may hold a password.
 */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/config-internal.h"

enum {
    FILE_MAX_BYTES = 1 << 20,
    INCLUDE_DEPTH_MAX = 8,
    WHERE_BYTES = 4096 + 32,
};

/** struct reading - one file being scanned */
struct reading {
    struct config *config;
    struct config_report *report;
    const char *path;
    unsigned depth; /* of includes */
    char *at;       /* the cursor; the text ends in a NUL and holds no other */
    unsigned line;
};

static void text_free(char *text)
{
    free(text);
}

DEFINE_OWNED(text_free, char *)

static int read_file(struct config *config, const char *path, unsigned depth,
                     struct config_report *report);

static int line_error(struct reading *reading, unsigned line, const char *problem)
{
    return config_error(reading->report, "%s:%u: %s", reading->path, line, problem);
}

static void skip_blanks(struct reading *reading)
{
    reading->at += strspn(reading->at, " \t");
}

/* To the end of the line, the newline excluded. */
static void skip_line(struct reading *reading)
{
    reading->at += strcspn(reading->at, "\n");
}

/* Cuts blanks and a carriage return off the end of [start, end). */
static char *trim_end(char *start, char *end)
{
    while (end > start && strchr(" \t\r", end[-1]))
        end--;
    return end;
}

/* Whether only blanks and a comment are left on the line. */
static bool rest_is_blank(struct reading *reading)
{
    reading->at += strspn(reading->at, " \t\r");
    return !*reading->at || *reading->at == '\n' || *reading->at == '#';
}

/*
 * Reads a value in quotes; the cursor stands at the first. On success it stands behind the line's
 * last character that matters, and *ret is a copy. Return: 0, -EINVAL when reported, -ENOMEM.
 */
static int read_quoted(struct reading *reading, char **ret)
{
    bool lines = strncmp(reading->at, "'''", 3) == 0;
    char *start = reading->at + (lines ? 3 : 1);
    char *end = lines ? strstr(start, "'''") : start + strcspn(start, "'\n");
    unsigned first = reading->line;
    int rc;

    if (!end || (!lines && *end != '\'')) {
        rc = line_error(reading, first, "the quote at the start of the value is never closed");
        skip_line(reading);
        return rc ? rc : -EINVAL;
    }
    for (char *at = start; at < end; at++)
        reading->line += *at == '\n';
    reading->at = end + (lines ? 3 : 1);
    if (!rest_is_blank(reading)) {
        rc = line_error(reading, reading->line, "text behind the closing quote");
        return rc ? rc : -EINVAL;
    }
    *ret = strndup(start, (size_t)(end - start));
    return *ret ? 0 : -ENOMEM;
}

static int read_plain(struct reading *reading, char **ret)
{
    char *start = reading->at;
    char *end;
    int rc;

    reading->at += strcspn(start, "#\n");
    end = trim_end(start, reading->at);
    if (end == start) {
        rc = line_error(reading, reading->line, "the value is missing");
        return rc ? rc : -EINVAL;
    }
    *ret = strndup(start, (size_t)(end - start));
    return *ret ? 0 : -ENOMEM;
}

/* --- $(NAME) --- */

static const char *find_variable(const struct config *config, const char *name)
{
    const char *value = getenv(name);

    for (size_t i = config->internal->raw_count; !value && i > 0; i--)
        if (strcmp(config->internal->raw[i - 1].key, name) == 0)
            value = config->internal->raw[i - 1].value;
    return value;
}

/* Puts the value of the variable at `at`, "$(NAME)...", behind `out`; 0, -EINVAL when reported. */
static int expand_one(struct reading *reading, const char *at, size_t name_size, char *out,
                      size_t *used)
{
    char name[CONFIG_KEY_BYTES];
    char problem[CONFIG_KEY_BYTES + 64];
    const char *value;
    size_t size;
    int rc;

    (void)snprintf(name, sizeof name, "%.*s", (int)name_size, at + 2); /* a cut name is unknown */
    value = find_variable(reading->config, name);
    if (!value) {
        (void)snprintf(problem, sizeof problem,
                       "$(%.200s) is neither an environment variable nor a key set above", name);
        rc = line_error(reading, reading->line, problem);
        return rc ? rc : -EINVAL;
    }
    size = strlen(value);
    if (size >= CONFIG_VALUE_BYTES - *used) {
        rc = line_error(reading, reading->line, "the value becomes longer than 64 KiB");
        return rc ? rc : -EINVAL;
    }
    memcpy(out + *used, value, size);
    *used += size;
    return 0;
}

/* Replaces every $(NAME) of *value. Return: 0, -EINVAL when reported, -ENOMEM. */
static int expand_variables(struct reading *reading, char **value)
{
    OWNED(text_free) char *out = NULL;
    const char *at = *value;
    size_t used = 0;

    if (!strstr(at, "$("))
        return 0;
    out = malloc(CONFIG_VALUE_BYTES);
    if (!out)
        return -ENOMEM;
    while (*at) {
        const char *end = strncmp(at, "$(", 2) == 0 ? strchr(at, ')') : NULL;
        int rc;

        if (!end) {
            if (used + 1 == CONFIG_VALUE_BYTES) {
                rc = line_error(reading, reading->line, "the value becomes longer than 64 KiB");
                return rc ? rc : -EINVAL;
            }
            out[used++] = *at++;
            continue;
        }
        rc = expand_one(reading, at, (size_t)(end - at) - 2, out, &used);
        if (rc)
            return rc;
        at = end + 1;
    }
    out[used] = '\0';
    free(*value);
    *value = TAKE(out);
    return 0;
}

/* --- files --- */

/* Reads every file that `pattern` matches, in alphabetical order; none is `found` at none. */
static int read_matches(struct config *config, const char *pattern, unsigned depth,
                        struct config_report *report, bool *ret_found)
{
    glob_t matches;
    int rc = 0;

    switch (glob(pattern, 0, NULL, &matches)) {
    case 0:
        break;
    case GLOB_NOSPACE:
        return -ENOMEM;
    default:
        *ret_found = false;
        return 0;
    }
    *ret_found = true;
    for (size_t i = 0; i < matches.gl_pathc && !rc; i++)
        rc = read_file(config, matches.gl_pathv[i], depth, report);
    globfree(&matches);
    return rc;
}

/* The path of `name` in the directory of `path`; an absolute name stays. */
static char *path_beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    char *beside;

    if (*name == '/' || !slash)
        return strdup(name);
    if (asprintf(&beside, "%.*s/%s", (int)(slash - path), path, name) < 0)
        return NULL;
    return beside;
}

static int include(struct reading *reading, const char *name)
{
    OWNED(text_free) char *pattern = path_beside(reading->path, name);
    bool found;
    int rc;

    if (!pattern)
        return -ENOMEM;
    if (reading->depth == INCLUDE_DEPTH_MAX)
        return line_error(reading, reading->line, "files include each other more than 8 deep");
    rc = read_matches(reading->config, pattern, reading->depth + 1, reading->report, &found);
    if (!rc && !found)
        rc = line_error(reading, reading->line, "there is no such file to include");
    return rc;
}

/* --- lines --- */

/* Reads the value behind `key =` and applies it. Return: 0, also when reported; -ENOMEM. */
static int read_setting(struct reading *reading, const char *key)
{
    OWNED(text_free) char *value = NULL;
    char where[WHERE_BYTES];
    unsigned line = reading->line;
    int rc;

    skip_blanks(reading);
    rc = *reading->at == '\'' ? read_quoted(reading, &value) : read_plain(reading, &value);
    if (!rc)
        rc = expand_variables(reading, &value);
    if (rc)
        return rc == -EINVAL ? 0 : rc;
    rc = config_put_raw(&reading->config->internal->raw, &reading->config->internal->raw_count, key,
                        value);
    if (rc)
        return rc;
    (void)snprintf(where, sizeof where, "%s:%u", reading->path, line); /* a cut path still helps */
    return config_apply(reading->config, where, key, value, reading->report);
}

/* Reads `include NAME`, whose first word has been read. */
static int read_include(struct reading *reading)
{
    OWNED(text_free) char *name = NULL;
    int rc = *reading->at == '\'' ? read_quoted(reading, &name) : read_plain(reading, &name);

    if (rc)
        return rc == -EINVAL ? 0 : rc;
    return include(reading, name);
}

/* Reads one line that is neither empty nor a comment. */
static int read_line(struct reading *reading)
{
    OWNED(text_free) char *key = NULL;
    size_t size = strcspn(reading->at, "= \t\r\n#");

    if (*reading->at == '%')
        return line_error(reading, reading->line, "a comment begins with '#', not '%'");
    key = strndup(reading->at, size);
    if (!key)
        return -ENOMEM;
    reading->at += size;
    skip_blanks(reading);
    if (*reading->at == '=' && size > 0) {
        reading->at++;
        return read_setting(reading, key);
    }
    if (strcmp(key, "include") == 0 && !rest_is_blank(reading))
        return read_include(reading);
    return line_error(reading, reading->line, "expected KEY = VALUE");
}

/* Scans the whole text; stops early only without memory. */
static int read_lines(struct reading *reading)
{
    if (strncmp(reading->at, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        reading->at += 3;
    for (;;) {
        int rc;

        if (!rest_is_blank(reading)) {
            rc = read_line(reading);
            if (rc)
                return rc;
        }
        skip_line(reading);
        if (!*reading->at)
            return 0;
        reading->at++;
        reading->line++;
    }
}

/*
 * Reads a descriptor to its end. Return: 0, the text with a NUL behind it; -errno; -EFBIG past the
 * bound; -EILSEQ when a NUL is in it.
 */
static int load_text(int fd, char **ret)
{
    OWNED(text_free) char *text = malloc(FILE_MAX_BYTES + 1);
    size_t size = 0;

    if (!text)
        return -ENOMEM;
    for (;;) {
        ssize_t got = read(fd, text + size, FILE_MAX_BYTES + 1 - size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        size += (size_t)got;
        if (size > FILE_MAX_BYTES)
            return -EFBIG;
    }
    if (memchr(text, '\0', size))
        return -EILSEQ;
    text[size] = '\0';
    *ret = TAKE(text);
    return 0;
}

static int read_file(struct config *config, const char *path, unsigned depth,
                     struct config_report *report)
{
    OWNED(text_free) char *text = NULL;
    struct reading reading = { config, report, path, depth, NULL, 1 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return config_error(report, "%s: %s", path, strerror(errno));
    rc = load_text(fd, &text);
    (void)close(fd); /* it was only read */
    if (rc == -ENOMEM)
        return rc;
    if (rc == -EILSEQ)
        return config_error(report, "%s: not a text: a NUL octet is in it", path);
    if (rc)
        return config_error(report, "%s: %s", path, strerror(-rc));
    reading.at = text;
    return read_lines(&reading);
}

/* Whether Erlang terms say nothing: "[]." between comments and blanks. */
static bool is_empty_list(const char *text)
{
    static const char empty[] = "[].";
    size_t found = 0;

    for (; *text; text++) {
        if (*text == '%')
            text += strcspn(text, "\n") - 1;
        else if (found < sizeof empty - 1 && *text == empty[found])
            found++;
        else if (!strchr(" \t\r\n", *text))
            return false;
    }
    return true;
}

/*
 * RabbitMQ reads advanced.config after the main file, and often it holds what is about security:
 * LDAP queries, backends, TLS. So one that says anything refuses the start until the operator has
 * looked at it.
 */
static int judge_advanced(struct config *config, const char *path, struct config_report *report)
{
    static const char reason[] = "it holds Erlang terms, which are not read, and may limit who has "
                                 "access";
    OWNED(text_free) char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return errno == ENOENT ? 0 : config_refuse(config, path, "advanced.config",
                                                   CONFIG_GATE_ADVANCED, reason);
    rc = load_text(fd, &text);
    (void)close(fd); /* it was only read */
    if (rc == -ENOMEM)
        return rc;
    if (rc || !is_empty_list(text))
        return config_refuse(config, path, "advanced.config", CONFIG_GATE_ADVANCED, reason);
    return config_note(report, "%s: this file of Erlang terms is not read", path);
}

int config_read_file(struct config *config, const char *path, struct config_report *report)
{
    OWNED(text_free) char *fragments = path_beside(path, "conf.d/*.conf");
    OWNED(text_free) char *advanced = path_beside(path, "advanced.config");
    bool found;
    int rc;

    if (!fragments || !advanced)
        return -ENOMEM;
    config->internal->no_listeners = false;
    rc = read_file(config, path, 0, report);
    if (!rc)
        rc = read_matches(config, fragments, 0, report, &found);
    if (!rc)
        rc = judge_advanced(config, advanced, report);
    return rc;
}
