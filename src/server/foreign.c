/*
 * foreign.c - naming what is not AMQP 0-9-1
 *
 * A browser, an AMQP 1.0 library or a TLS client that connects to the port gets RabbitMQ's answer,
 * the protocol header, which says little. The log says what the first octets look like and what to
 * do about it. At most eight octets are looked at: that is what the server waits for.
 *
 * A health check may come every second, and a hostile peer more often: an address is logged once a
 * minute for each protocol, and all addresses together FOREIGN_PLACES times.
 */
#include "server/foreign.h"

#include <stdio.h>
#include <string.h>

#define NOT_AMQP_HERE "; this port speaks AMQP 0-9-1: "

static const char http[] = "looks like HTTP" NOT_AMQP_HERE "check the port in the URL";
static const char http2[] = "looks like HTTP/2" NOT_AMQP_HERE "check the port in the URL";
static const char tls[] =
    "looks like TLS; this listener is plain: connect without TLS, amqp:// instead of amqps://";
static const char mqtt[] = "looks like MQTT" NOT_AMQP_HERE "use an AMQP 0-9-1 client";
static const char stomp[] = "looks like STOMP" NOT_AMQP_HERE "use an AMQP 0-9-1 client";
static const char amqp_1_0[] = "looks like AMQP 1.0" NOT_AMQP_HERE "use an AMQP 0-9-1 client";
static const char amqp_other[] =
    "looks like another version of AMQP" NOT_AMQP_HERE "use an AMQP 0-9-1 client";
static const char stream[] =
    "looks like the RabbitMQ stream protocol" NOT_AMQP_HERE "use an AMQP 0-9-1 client";
static const char proxy[] =
    "looks like the PROXY protocol of a load balancer; it is not supported: switch it off there";
static const char ssh[] = "looks like SSH" NOT_AMQP_HERE "check the port";
static const char redis[] = "looks like Redis" NOT_AMQP_HERE "check the port";
static const char unknown[] = "unknown";

static const struct {
    const char *begins;
    size_t size;
    const char *what;
} signatures[] = {
#define ROW(octets, what) { octets, sizeof octets - 1, what }
    ROW("GET ", http), ROW("HEAD ", http), ROW("POST ", http), ROW("PUT ", http),
    ROW("DELETE ", http), ROW("OPTIONS ", http), ROW("PATCH ", http), ROW("TRACE ", http),
    ROW("CONNECT ", http), ROW("PRI * HT", http2),
    ROW("\x16\x03", tls),
    ROW("CONNECT\n", stomp), ROW("CONNECT\r", stomp), ROW("STOMP\n", stomp),
    ROW("STOMP\r", stomp),
    /* plain, TLS and SASL */
    ROW("AMQP\0\1\0\0", amqp_1_0), ROW("AMQP\2\1\0\0", amqp_1_0), ROW("AMQP\3\1\0\0", amqp_1_0),
    ROW("PROXY ", proxy), ROW("\r\n\r\n\0\r\nQ", proxy),
    ROW("SSH-", ssh),
    ROW("PING\r\n", redis), ROW("*1\r\n", redis), ROW("*2\r\n", redis), ROW("*3\r\n", redis),
#undef ROW
};

/* CONNECT: 0x10, one to four octets of length, then a length of two octets and the name. */
static bool is_mqtt(const uint8_t *octets, size_t size)
{
    static const char *const names[] = { "\0\4MQTT", "\0\6MQIs" };
    size_t at = 1;

    if (size < 2 || octets[0] != 0x10)
        return false;
    while (at < size && at < 4 && (octets[at] & 0x80))
        at++;
    at++;
    if (at + 3 > size)
        return false; /* not even the name has begun */
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        size_t seen = size - at < 6 ? size - at : 6;

        if (memcmp(octets + at, names[i], seen) == 0)
            return true;
    }
    return false;
}

/* Its first frame is PeerProperties: size, key 17, version 1. */
static bool is_stream(const uint8_t *octets, size_t size)
{
    return size == 8 && octets[0] == 0 && memcmp(octets + 4, "\0\x11\0\1", 4) == 0;
}

static const char *foreign_name(const uint8_t *octets, size_t size)
{
    for (size_t i = 0; i < N_ELEMENTS(signatures); i++) {
        if (size >= signatures[i].size &&
            memcmp(octets, signatures[i].begins, signatures[i].size) == 0)
            return signatures[i].what;
    }
    if (is_mqtt(octets, size))
        return mqtt;
    if (is_stream(octets, size))
        return stream;
    if (size >= 4 && memcmp(octets, "AMQP", 4) == 0)
        return amqp_other;
    return unknown;
}

/* "it begins with ..."; what cannot be printed as \xNN */
static void quote_octets(const uint8_t *octets, size_t size, char text[FOREIGN_TEXT_BYTES])
{
    size_t at = (size_t)snprintf(text, FOREIGN_TEXT_BYTES,
                                 "does not speak AMQP: it begins with \"");

    for (size_t i = 0; i < size && i < 8; i++) {
        bool plain = octets[i] >= ' ' && octets[i] < 0x7f && octets[i] != '"' && octets[i] != '\\';

        at += (size_t)snprintf(text + at, FOREIGN_TEXT_BYTES - at, plain ? "%c" : "\\x%02x",
                               octets[i]);
    }
    snprintf(text + at, FOREIGN_TEXT_BYTES - at, "\"");
}

const char *foreign_describe(const uint8_t *octets, size_t size, char text[FOREIGN_TEXT_BYTES])
{
    static const uint8_t amqp_0_9_1[] = { 'A', 'M', 'Q', 'P', 0, 0, 9, 1 };
    static const uint8_t amqp_0_9[] = { 'A', 'M', 'Q', 'P', 1, 1, 0, 9 };
    size_t seen = size < sizeof amqp_0_9_1 ? size : sizeof amqp_0_9_1;
    const char *what;

    if (seen == 0 || memcmp(octets, amqp_0_9_1, seen) == 0 || memcmp(octets, amqp_0_9, seen) == 0)
        return NULL;
    what = foreign_name(octets, size);
    if (what == unknown)
        quote_octets(octets, size, text);
    else
        snprintf(text, FOREIGN_TEXT_BYTES, "%s", what);
    return what;
}

/* The place of an address and protocol, or one that can be taken for it; NULL: none is left. */
static struct foreign_place *find_place(struct foreign_log *log, const struct in6_addr *address,
                                        const char *what, uint64_t now_ms)
{
    struct foreign_place *free_place = NULL;

    for (size_t i = 0; i < FOREIGN_PLACES; i++) {
        struct foreign_place *place = &log->places[i];

        if (place->what == what && memcmp(&place->address, address, sizeof *address) == 0)
            return place;
        if (!free_place && (!place->what || place->quiet_until_ms <= now_ms))
            free_place = place;
    }
    if (free_place)
        *free_place = (struct foreign_place){ .address = *address, .what = what };
    return free_place;
}

bool foreign_log_admit(struct foreign_log *log, const struct in6_addr *address, const char *what,
                       uint64_t now_ms, unsigned *ret_suppressed)
{
    struct foreign_place *place = find_place(log, address, what, now_ms);

    if (!place)
        return false;
    if (now_ms < place->quiet_until_ms) {
        place->suppressed++;
        return false;
    }
    *ret_suppressed = place->suppressed;
    place->suppressed = 0;
    place->quiet_until_ms = now_ms + FOREIGN_QUIET_MS;
    return true;
}
