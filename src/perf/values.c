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

/* What a unit behind a number multiplies it by, past which *@text is moved; 1 without a unit. */
static unsigned read_unit(const char **text)
{
    static const struct { const char *name; unsigned factor; } units[] = {
        { "ki", 1u << 10 }, { "Ki", 1u << 10 }, { "Mi", 1u << 20 }, { "Gi", 1u << 30 },
        { "k", 1000 }, { "K", 1000 }, { "M", 1000000 }, { "G", 1000000000 },
    };
    size_t i;

    for (i = 0; i < sizeof units / sizeof units[0]; i++)
        if (!strncmp(*text, units[i].name, strlen(units[i].name))) {
            *text += strlen(units[i].name);
            return units[i].factor;
        }
    return 1;
}

bool value_number(const char *text, double least, double most, double *ret_number)
{
    char *number_end;
    double number = strtod(text, &number_end);
    const char *end = number_end;

    if (end != text)
        number *= read_unit(&end);
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

static bool read_with_unit(const char **text, unsigned most, unsigned *ret_number)
{
    unsigned number, factor;

    if (!read_unsigned(text, most, &number))
        return false;
    factor = read_unit(text);
    if (number > most / factor)
        return false;
    *ret_number = number * factor;
    return true;
}

bool value_range(const char *text, unsigned most, struct range *ret_range)
{
    struct range range;

    if (!read_with_unit(&text, most, &range.least))
        return false;
    range.most = range.least;
    if (*text == '-') {
        text++;
        if (!read_with_unit(&text, most, &range.most))
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

/* The percent-decoded text of @size bytes, put at *@room; NULL if an escape is malformed. */
static char *decode(const char *text, size_t size, char **room)
{
    char *out = *room, hex[3] = { 0 };
    size_t at, length = 0;

    for (at = 0; at < size; at++) {
        if (text[at] != '%') {
            out[length++] = text[at];
            continue;
        }
        if (size - at < 3 || !isxdigit((unsigned char)text[at + 1]) ||
            !isxdigit((unsigned char)text[at + 2]))
            return NULL;
        memcpy(hex, text + at + 1, 2);
        out[length++] = (char)strtoul(hex, NULL, 16);
        at += 2;
    }
    out[length] = '\0';
    *room = out + length + 1;
    return out;
}

static bool read_login(const char *text, const char *end, struct client_address *address,
                       char **room)
{
    const char *colon = memchr(text, ':', (size_t)(end - text));

    address->user = decode(text, (size_t)((colon ? colon : end) - text), room);
    if (colon)
        address->password = decode(colon + 1, (size_t)(end - colon - 1), room);
    return address->user && address->password;
}

static bool read_host(const char *text, const char *end, struct client_address *address,
                      char **room)
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
        address->host = decode(text, (size_t)(host_end - text), room);
    if (!address->host || (port < end && *port++ != ':'))
        return false;
    if (port < end && (!read_unsigned(&port, 65535, &address->port) || !address->port))
        return false;
    return port == end;
}

/* @room: at least as many bytes as @text has. */
static bool read_uri(const char *text, struct client_address *parsed, char *room)
{
    const char *path, *at;

    path = strchrnul(text, '/');
    at = memrchr(text, '@', (size_t)(path - text));
    if (at && !read_login(text, at, parsed, &room))
        return false;
    if (!read_host(at ? at + 1 : text, path, parsed, &room))
        return false;
    if (path[0] && path[1])
        parsed->vhost = decode(path + 1, strlen(path + 1), &room);
    return parsed->vhost != NULL;
}

bool value_uri(const char *text, struct client_address *address, char **ret_memory)
{
    static const char scheme[] = "amqp://";
    struct client_address parsed = *address;
    char *memory;

    if (strncmp(text, scheme, strlen(scheme)))
        return false;
    memory = malloc(strlen(text));
    if (!memory)
        wire_fail("out of memory");
    if (!read_uri(text + strlen(scheme), &parsed, memory)) {
        free(memory);
        return false;
    }
    *address = parsed;
    *ret_memory = memory;
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

void value_grouped(double number, int decimals, char *ret_text, size_t size)
{
    char plain[64];
    int length = snprintf(plain, sizeof plain, "%.*f", decimals, number);
    int whole = (int)strcspn(plain, "."), i;
    size_t at = 0;

    for (i = 0; i < length && at + 2 < size; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0 && plain[i - 1] != '-')
            ret_text[at++] = ',';
        ret_text[at++] = plain[i];
    }
    ret_text[at] = '\0';
}
