/*
 * values.c - reading the forms that option values take
 *
 * Nothing here prints or exits: options.c knows which option a bad value belongs to.
 */
#include "values.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARGUMENT_NAME_MAX = 128 };

bool value_number(const char *text, double least, double most, double *ret_number)
{
    char *end;
    double number = strtod(text, &end);

    if (end == text || *end || !(number >= least && number <= most))
        return false;
    *ret_number = number;
    return true;
}

static bool read_unsigned(const char **text, unsigned most, unsigned *ret_number)
{
    char *end;
    unsigned long number;

    if (!isdigit((unsigned char)**text))
        return false;
    errno = 0;
    number = strtoul(*text, &end, 10);
    if (errno || number > most)
        return false;
    *text = end;
    *ret_number = (unsigned)number;
    return true;
}

bool value_range(const char *text, unsigned most, struct range *ret_range)
{
    struct range range;

    if (!read_unsigned(&text, most, &range.least))
        return false;
    range.most = range.least;
    if (*text == '-') {
        text++;
        if (!read_unsigned(&text, most, &range.most))
            return false;
    }
    if (*text || range.least > range.most)
        return false;
    *ret_range = range;
    return true;
}

unsigned value_in(struct range range, uint64_t *random)
{
    uint64_t width = (uint64_t)range.most - range.least + 1;

    *random ^= *random << 13; /* xorshift: the same sizes in every run */
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return range.least + (unsigned)((*random >> 16) % width);
}

/* A new string: the percent-decoded text of @size bytes; NULL if an escape is malformed. */
static char *decode(const char *text, size_t size)
{
    char *out = malloc(size + 1), hex[3] = { 0 };
    size_t at, length = 0;

    if (!out)
        wire_fail("out of memory");
    for (at = 0; at < size; at++) {
        if (text[at] != '%') {
            out[length++] = text[at];
            continue;
        }
        if (size - at < 3 || !isxdigit((unsigned char)text[at + 1]) ||
            !isxdigit((unsigned char)text[at + 2])) {
            free(out);
            return NULL;
        }
        memcpy(hex, text + at + 1, 2);
        out[length++] = (char)strtoul(hex, NULL, 16);
        at += 2;
    }
    out[length] = '\0';
    return out;
}

static bool read_login(const char *text, const char *end, struct client_address *address)
{
    const char *colon = memchr(text, ':', (size_t)(end - text));

    address->user = decode(text, (size_t)((colon ? colon : end) - text));
    if (colon)
        address->password = decode(colon + 1, (size_t)(end - colon - 1));
    return address->user && address->password;
}

static bool read_host(const char *text, const char *end, struct client_address *address)
{
    const char *host_end = memchr(text, *text == '[' ? ']' : ':', (size_t)(end - text));
    const char *port = host_end;

    if (*text == '[') {
        if (!host_end)
            return false;
        text++;
        port = host_end + 1;
    }
    if (!host_end)
        host_end = port = end;
    if (host_end > text)
        address->host = decode(text, (size_t)(host_end - text));
    if (!address->host || (port < end && *port++ != ':'))
        return false;
    if (port < end && (!read_unsigned(&port, 65535, &address->port) || !address->port))
        return false;
    return port == end;
}

bool value_uri(const char *text, struct client_address *address)
{
    struct client_address parsed = *address;
    const char *path, *at;

    if (strncmp(text, "amqp://", 7))
        return false;
    text += 7;
    path = strchrnul(text, '/');
    at = memrchr(text, '@', (size_t)(path - text));
    if (at && !read_login(text, at, &parsed))
        return false;
    if (!read_host(at ? at + 1 : text, path, &parsed))
        return false;
    if (path[0] && path[1])
        parsed.vhost = decode(path + 1, strlen(path + 1));
    if (!parsed.vhost)
        return false;
    *address = parsed;
    return true;
}

bool value_argument(const char *text, struct wire_buf *table)
{
    const char *equals = strchr(text, '=');
    char name[ARGUMENT_NAME_MAX + 1], *end;
    long long number;

    if (!equals || equals == text || equals - text > ARGUMENT_NAME_MAX)
        return false;
    (void)snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    text = equals + 1;
    wire_put_shortstr(table, name);
    errno = 0;
    number = strtoll(text, &end, 10);
    if (!strcmp(text, "true") || !strcmp(text, "false")) {
        wire_put8(table, 't');
        wire_put8(table, *text == 't');
    } else if (*text && !isspace((unsigned char)*text) && !*end && !errno) {
        wire_put8(table, 'l');
        wire_put64(table, (uint64_t)number);
    } else {
        wire_put8(table, 'S');
        wire_put_longstr(table, text, strlen(text));
    }
    return true;
}

void value_name(const char *pattern, unsigned number, char *ret_name, size_t size)
{
    size_t length = 0;

    while (*pattern && length + 11 < size) {
        if (pattern[0] == '%' && pattern[1] == 'd') {
            length += (size_t)snprintf(ret_name + length, size - length, "%u", number);
            pattern += 2;
        } else {
            ret_name[length++] = *pattern++;
        }
    }
    ret_name[length] = '\0';
}
