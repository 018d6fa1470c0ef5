/*
 * config_types.c - checking a value and storing it in its field
 *
 * One function for each type of value. A function changes its field only when the value is good,
 * and otherwise words the problem, quoting the value where that helps; texts, which may be
 * passwords, are never quoted.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/auth.h"
#include "server/config-internal.h"

int config_problem(struct config_value *value, int rc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(value->problem, sizeof value->problem, format, args); /* cut is fine */
    va_end(args);
    return rc;
}

/* The value is bad. */
#define refuse(value, ...) config_problem(value, -EINVAL, __VA_ARGS__)

static void *field(struct config *config, const struct config_row *row)
{
    return (char *)config + row->offset;
}

/* Stores a number in a field of any width; the row's bounds have been checked against it. */
static void store_number(struct config *config, const struct config_row *row, uint64_t number)
{
    void *at = row->width ? field(config, row) : NULL;

    if (row->width == sizeof(bool)) {
        *(bool *)at = number != 0;
    } else if (row->width == sizeof(uint32_t)) {
        assert(number <= UINT32_MAX);
        memcpy(at, &(uint32_t){ (uint32_t)number }, sizeof(uint32_t));
    } else if (row->width) {
        assert(row->width == sizeof number);
        memcpy(at, &number, sizeof number);
    }
}

int config_apply_bool(struct config *config, const struct config_row *row,
                      struct config_value *value)
{
    bool yes = strcmp(value->text, "true") == 0;

    if (!yes && strcmp(value->text, "false") != 0)
        return refuse(value, "'%.100s' is neither true nor false", value->text);
    store_number(config, row, yes);
    return 0;
}

int config_apply_choice(struct config *config, const struct config_row *row,
                        struct config_value *value)
{
    const char *at = row->choices;
    size_t size = strlen(value->text);

    for (uint64_t number = 0; *at; number++) {
        size_t word = strcspn(at, "|");

        if (word == size && memcmp(at, value->text, size) == 0) {
            store_number(config, row, number);
            return 0;
        }
        at += word;
        at += *at == '|';
    }
    return refuse(value, "'%.100s' is not one of %s", value->text, row->choices);
}

/* Reads decimal digits with an optional sign; `*ret_end` is where they end. */
static bool read_integer(const char *text, int64_t *ret, const char **ret_end)
{
    size_t sign = *text == '-' || *text == '+';
    char *end;

    if (text[sign] < '0' || text[sign] > '9')
        return false;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    *ret_end = end;
    return errno == 0;
}

static int store_bounded(struct config *config, const struct config_row *row,
                         struct config_value *value, int64_t number)
{
    if (!(number == 0 && row->zero) && (number < row->min || number > row->max))
        return refuse(value, "%s is not between %" PRId64 " and %" PRId64 "%s", value->text,
                      row->min, row->max, row->zero ? ", nor 0" : "");
    store_number(config, row, (uint64_t)number);
    return 0;
}

int config_apply_integer(struct config *config, const struct config_row *row,
                         struct config_value *value)
{
    const char *end;
    int64_t number;

    if (row->choices && strcmp(value->text, row->choices) == 0)
        return store_bounded(config, row, value, row->max);
    if (!read_integer(value->text, &number, &end) || *end)
        return refuse(value, "'%.100s' is not an integer", value->text);
    return store_bounded(config, row, value, number);
}

/*
 * RabbitMQ's information units, in any case, since 3.13: "2G" and "2GB" are decimal, "2Gi" and
 * "2GiB" binary. It accepts "2T" too but then fails to read it; here that is 2 TB. The few keys
 * that it reads as a "bytesize" have KB, MB and GB only, in one case, and these are binary.
 *
 * Writes the number of octets that `unit` stands for; false if it is no unit.
 */
static bool read_unit(const char *unit, bool bytesize, uint64_t *ret)
{
    static const char prefixes[] = "kmgtp";
    const char *prefix = strchr(prefixes, *unit | 0x20);
    bool binary = bytesize || (*unit && (unit[1] | 0x20) == 'i');
    const char *end;

    *ret = 1;
    if (!*unit)
        return true;
    if (!prefix)
        return false;
    end = unit + 1 + (binary && !bytesize);
    if (*end && (*end | 0x20) != 'b')
        return false;
    if (*end && end[1])
        return false;
    if (bytesize && (!*end || prefix - prefixes > 2 || (*unit & 0x20) != (*end & 0x20)))
        return false;
    for (const char *at = prefixes; at <= prefix; at++)
        *ret *= binary ? 1024 : 1000;
    return true;
}

/* Reads a size in octets; `example` shows a unit in the problem. */
static int apply_size(struct config *config, const struct config_row *row,
                      struct config_value *value, bool bytesize, const char *example)
{
    const char *end;
    uint64_t unit;
    int64_t number;

    if (!read_integer(value->text, &number, &end))
        return refuse(value, "'%.100s' is not a size in octets", value->text);
    if (!read_unit(end, bytesize, &unit))
        return refuse(value, "'%.100s' is not a size: digits, then nothing or a unit as in %s",
                      value->text, example);
    if (number < 0 || (uint64_t)number > INT64_MAX / unit)
        return refuse(value, "%.100s is not between %" PRId64 " and %" PRId64, value->text,
                      row->min, row->max);
    return store_bounded(config, row, value, number * (int64_t)unit);
}

int config_apply_bytes(struct config *config, const struct config_row *row,
                       struct config_value *value)
{
    return apply_size(config, row, value, false, "2GB (2000000000) or 2GiB");
}

int config_apply_bytesize(struct config *config, const struct config_row *row,
                          struct config_value *value)
{
    return apply_size(config, row, value, true, "128KB (131072)");
}

/* A decimal fraction, kept in thousandths, which is also what its bounds are in. */
int config_apply_ratio(struct config *config, const struct config_row *row,
                       struct config_value *value)
{
    char *end;
    double ratio = strtod(value->text, &end);

    if (end == value->text || *end || !(ratio >= (double)row->min / 1000) ||
        !(ratio <= (double)row->max / 1000))
        return refuse(value, "'%.100s' is not a number from %g to %g", value->text,
                      (double)row->min / 1000, (double)row->max / 1000);
    store_number(config, row, (uint64_t)(ratio * 1000 + 0.5));
    return 0;
}

int config_apply_text(struct config *config, const struct config_row *row,
                      struct config_value *value)
{
    size_t size = strlen(value->text);
    char **at = field(config, row);
    char *copy;

    if (size < (size_t)row->min)
        return refuse(value, "the value is empty");
    if (size > (size_t)row->max)
        return refuse(value, "the value is longer than %" PRId64 " octets", row->max);
    if (!row->width)
        return 0;
    copy = strdup(value->text);
    if (!copy)
        return -ENOMEM;
    free(*at);
    *at = copy;
    return 0;
}

/* A regular expression: set on a user of its own to see whether it compiles. */
int config_apply_pattern(struct config *config, const struct config_row *row,
                         struct config_value *value)
{
    struct auth *auth = auth_new();
    char error[200];
    int rc;

    if (!auth)
        return -ENOMEM;
    rc = auth_put_user(auth, "", AUTH_HASHING_SHA256, "", "");
    if (!rc)
        rc = auth_put_permissions(auth, "", "", value->text, "", "", error, sizeof error);
    auth_free(auth);
    if (rc == -EINVAL)
        return refuse(value, "not a regular expression: %s", error + strlen("configure: "));
    return rc ? rc : config_apply_text(config, row, value);
}

static bool is_one_of(const char *words, const char *word)
{
    size_t size = strlen(word);

    for (;;) {
        size_t next = strcspn(words, "|");

        if (next == size && memcmp(words, word, size) == 0)
            return true;
        if (!words[next])
            return false;
        words += next + 1;
    }
}

/* The words of RabbitMQ for a type, and the modules that it finds behind them. */
int config_apply_queue_type(struct config *config, const struct config_row *row,
                            struct config_value *value)
{
    static const char *const words[] = { "classic|rabbit_classic_queue",
                                         "quorum|rabbit_quorum_queue" };

    for (size_t i = 0; i < N_ELEMENTS(words); i++)
        if (is_one_of(words[i], value->text)) {
            store_number(config, row, i);
            return 0;
        }
    if (is_one_of("stream|rabbit_stream_queue", value->text))
        return refuse(value, "this version has no streams: classic and quorum are the types");
    return refuse(value, "'%.100s' is not one of classic|quorum", value->text);
}

int config_check_type(struct config_value *value, char type)
{
    static const struct config_row checked_only = { .width = 0 };
    const char *end;
    int64_t number;

    if (type == 'b')
        return config_apply_bool(NULL, &checked_only, value);
    if (type == 'i' && (!read_integer(value->text, &number, &end) || *end))
        return refuse(value, "'%.100s' is not an integer", value->text);
    return 0;
}

/* --- lists --- */

void config_clear_listeners(struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        free(config->listeners[i].name);
        free(config->listeners[i].address);
    }
    free(config->listeners);
    config->listeners = NULL;
    config->listener_count = 0;
}

void config_clear_names(struct config_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = (struct config_names){ 0 };
}

/* Whether `text` is an address in numbers; an IPv6 one may end in the %zone of an interface. */
static bool is_address(const char *text)
{
    char address[INET6_ADDRSTRLEN];
    size_t size = strcspn(text, "%");
    uint8_t octets[16];

    if (inet_pton(AF_INET, text, octets) == 1)
        return true;
    if (size >= sizeof address || (text[size] && !text[size + 1]))
        return false;
    memcpy(address, text, size);
    address[size] = '\0';
    return inet_pton(AF_INET6, address, octets) == 1;
}

/*
 * PORT, IP:PORT, [IPv6]:PORT, or IPv6:PORT split at the last colon. `*ret_address` is NULL for the
 * first form, else a copy. Return: 0, -EINVAL, -ENOMEM.
 */
static int parse_listener(struct config_value *value, char **ret_address, uint16_t *ret_port)
{
    const char *colon = strrchr(value->text, ':');
    const char *port_text = colon ? colon + 1 : value->text;
    const char *start = value->text;
    char *address = NULL;
    const char *end;
    int64_t port;

    if (strncmp(start, "local:", 6) == 0)
        return refuse(value, "this version does not listen at sockets of the file system");
    if (!read_integer(port_text, &port, &end) || *end || port < 1 || port > UINT16_MAX)
        return refuse(value, "'%.100s' is not PORT, IP:PORT or [IPv6]:PORT; ports are 1 to 65535",
                      value->text);
    if (colon) {
        bool bracketed = *start == '[' && colon - start >= 2 && colon[-1] == ']';

        address = bracketed ? strndup(start + 1, (size_t)(colon - start) - 2)
                            : strndup(start, (size_t)(colon - start));
        if (!address)
            return -ENOMEM;
        if (!is_address(address)) {
            int rc = refuse(value, "'%.100s' is not an IP address", address);

            free(address);
            return rc;
        }
    }
    *ret_address = address;
    *ret_port = (uint16_t)port;
    return 0;
}

static struct config_listener *find_listener(struct config *config, const char *name)
{
    for (size_t i = 0; i < config->listener_count; i++)
        if (strcmp(config->listeners[i].name, name) == 0)
            return &config->listeners[i];
    return NULL;
}

/* A listener without address at the end of the list. */
static struct config_listener *add_listener(struct config *config, const char *name)
{
    struct config_listener *grown =
        realloc(config->listeners, (config->listener_count + 1) * sizeof *grown);
    char *copy;

    if (!grown)
        return NULL;
    config->listeners = grown;
    copy = strdup(name);
    if (!copy)
        return NULL;
    grown += config->listener_count++;
    *grown = (struct config_listener){ .name = copy };
    return grown;
}

int config_apply_listener(struct config *config, const struct config_row *row,
                          struct config_value *value)
{
    struct config_listener *listener;
    char *address = NULL;
    uint16_t port = 0;
    int rc = parse_listener(value, &address, &port);

    (void)row; /* there is one such list */
    if (rc)
        return rc;
    if (config->internal->no_listeners) {
        free(address);
        return config_problem(value, -ECANCELED, "listeners.tcp = none stands above");
    }
    if (config->internal->default_listeners)
        config_clear_listeners(config);
    config->internal->default_listeners = false;
    listener = find_listener(config, value->name);
    if (!listener)
        listener = add_listener(config, value->name);
    if (!listener) {
        free(address);
        return -ENOMEM;
    }
    free(listener->address);
    listener->address = address;
    listener->port = port;
    return 0;
}

int config_apply_no_listeners(struct config *config, const struct config_row *row,
                              struct config_value *value)
{
    if (strcmp(value->text, "none") != 0)
        return refuse(value, "'%.100s' is not none; an address needs a name: %s.default",
                      value->text, row->key);
    config_clear_listeners(config);
    config->internal->default_listeners = false;
    config->internal->no_listeners = true;
    return 0;
}

/* The address is checked, so that what is refused is one that RabbitMQ listens at. */
int config_apply_tls_listener(struct config *config, const struct config_row *row,
                              struct config_value *value)
{
    char *address = NULL;
    uint16_t port;
    int rc = parse_listener(value, &address, &port);

    (void)config;
    (void)row;
    free(address);
    return rc ? rc : config_problem(value, -EPERM, "this version has no TLS");
}

static bool is_any_address(const char *address)
{
    return !address || strcmp(address, "::") == 0 || strcmp(address, "0.0.0.0") == 0;
}

bool config_same_endpoint(const struct config_listener *a, const struct config_listener *b)
{
    if (a->port != b->port)
        return false;
    if (!a->address || !b->address)
        return true; /* a port alone takes every address of both families */
    if ((strchr(a->address, ':') == NULL) != (strchr(b->address, ':') == NULL))
        return false;
    return is_any_address(a->address) || is_any_address(b->address) ||
           strcmp(a->address, b->address) == 0;
}

/* Puts a name into a set, or takes it out. */
static int switch_name(struct config_names *names, const char *name, bool on)
{
    char **grown;
    size_t i;

    for (i = 0; i < names->count; i++)
        if (strcmp(names->names[i], name) == 0)
            break;
    if (on == (i < names->count))
        return 0;
    if (!on) {
        free(names->names[i]);
        names->count--;
        memmove(names->names + i, names->names + i + 1, (names->count - i) * sizeof *names->names);
        return 0;
    }
    grown = realloc(names->names, (names->count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    names->names = grown;
    grown[names->count] = strdup(name);
    if (!grown[names->count])
        return -ENOMEM;
    names->count++;
    return 0;
}

static int apply_name(struct config_names *names, bool *is_default, struct config_value *value)
{
    bool on = strcmp(value->text, "true") == 0;

    if (!on && strcmp(value->text, "false") != 0)
        return refuse(value, "'%.100s' is neither true nor false", value->text);
    if (*is_default)
        config_clear_names(names);
    *is_default = false;
    return switch_name(names, value->name, on);
}

int config_apply_loopback(struct config *config, const struct config_row *row,
                          struct config_value *value)
{
    (void)row; /* there is one such list */
    return apply_name(&config->loopback_users, &config->internal->default_loopback, value);
}

int config_apply_no_loopback(struct config *config, const struct config_row *row,
                             struct config_value *value)
{
    if (strcmp(value->text, "none") != 0)
        return refuse(value, "'%.100s' is not none; a user is named in the key: %s.guest = true",
                      value->text, row->key);
    config_clear_names(&config->loopback_users);
    config->internal->default_loopback = false;
    return 0;
}

int config_apply_tag(struct config *config, const struct config_row *row,
                     struct config_value *value)
{
    (void)row; /* there is one such list */
    return apply_name(&config->default_tags, &config->internal->default_tags, value);
}

/* log.file: a name, or false. */
int config_apply_log_file(struct config *config, const struct config_row *row,
                          struct config_value *value)
{
    int rc = 0;

    if (strcmp(value->text, "false") == 0) {
        config->log_file = false;
        return 0;
    }
    rc = config_apply_text(config, row, value);
    if (!rc)
        config->log_file = true;
    return rc;
}
