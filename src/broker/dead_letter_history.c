/*
 * dead_letter_history.c - the headers that tell what a message has been through
 *
 * x-death is an array of tables, one for each pair of queue and reason, the latest first:
 *
 *   count l, reason S, queue S, time T, exchange S, routing-keys A of S, original-expiration S
 *
 * That is the order in a message's first event. In later events RabbitMQ sorts the table that it
 * touches, and leaves the others as they are; a repeated event only counts up and moves to the
 * front, so `time` is that of the first. All of it is kept here to the octet.
 *
 * The header is a client's to forge, as in RabbitMQ 3: applications count their retries by
 * republishing it. So nothing about it is taken for granted but that the table is well formed. An
 * entry without queue or reason matches no event and is carried along; elements that are no tables
 * are left out. Several entries of one queue and reason (before 3.6 every event had its own) become
 * the first of them at the next event, whatever that is about, and a missing count then says how
 * many they were. Values are the same whatever type they came in: 5 as 'b' and 'l', text as 'S' and
 * 'x', nothing and a missing field. The others keep their order, where RabbitMQ 3.10 turns it round.
 * A client decides how many entries there are (BOUND_TABLE_ENTRIES), so they are sorted, not
 * compared pair by pair.
 *
 * x-last-death-* is of RabbitMQ 3.13 and later, written on every event.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/dead_letter.h"
#include "broker/message_headers.h"

enum { HEADER_CHANGES_MAX = 8 };

/* An entry of x-death; those of one queue and reason are a group, led by the first. */
struct death {
    struct amqp_value queue, reason; /* type 'V' where there is none */
    struct amqp_table entry;
    size_t place;
    int64_t n_group; /* entries in the group that it leads; 0: it leads none */
};

struct deaths {
    struct death *list; /* in their order */
    size_t n;
};

const char *dead_letter_reason_name(enum dead_letter_reason reason)
{
    switch (reason) {
    case DEAD_LETTER_REJECTED:
        return "rejected";
    case DEAD_LETTER_EXPIRED:
        return "expired";
    case DEAD_LETTER_MAXLEN:
        return "maxlen";
    case DEAD_LETTER_DELIVERY_LIMIT:
        return "delivery_limit";
    }
    assert(false);
    return "";
}

static bool has_text(struct amqp_table entry, const char *key, struct amqp_str text)
{
    struct amqp_value value;

    return amqp_table_get(entry, amqp_str_from(key), &value) && value.type == 'S' &&
           amqp_str_equal(amqp_bytes_text(value.bytes), text);
}

bool dead_letter_is_cycle(const struct message *message, enum dead_letter_reason reason,
                          struct amqp_str queue_name)
{
    struct amqp_properties properties;
    struct amqp_value deaths, death;
    struct amqp_table_iter iter;

    if (reason == DEAD_LETTER_REJECTED ||
        amqp_properties_decode(message_properties(message), &properties) ||
        !amqp_table_get(properties.headers, AMQP_STR("x-death"), &deaths) || deaths.type != 'A')
        return false;
    iter = amqp_table_begin(deaths.table);
    while (amqp_array_next(&iter, &death)) {
        if (death.type != 'F')
            continue;
        if (has_text(death.table, "reason", AMQP_STR("rejected")))
            return false;
        if (has_text(death.table, "queue", queue_name))
            return true;
    }
    return false;
}

static void put_routing_keys(struct amqp_table_writer *writer, const struct message *message,
                             struct amqp_table headers)
{
    size_t begun = amqp_table_begin_array(writer, "routing-keys");
    struct amqp_value cc, element;
    struct amqp_table_iter iter;

    amqp_table_put_str(writer, NULL, message_routing_key(message));
    if (amqp_table_get(headers, AMQP_STR("CC"), &cc) && cc.type == 'A') {
        iter = amqp_table_begin(cc.table);
        while (amqp_array_next(&iter, &element))
            if (element.type == 'S')
                amqp_table_put_str(writer, NULL, amqp_bytes_text(element.bytes));
    }
    amqp_table_end(writer, begun);
}

/* The fields of an entry for an event that has not happened to the message before. */
static void put_fresh(struct amqp_table_writer *writer, const struct message *message,
                      const struct amqp_properties *properties,
                      const struct dead_letter_event *event)
{
    amqp_table_put_int(writer, "count", 1);
    amqp_table_put_str(writer, "reason", amqp_str_from(dead_letter_reason_name(event->reason)));
    amqp_table_put_str(writer, "queue", event->queue_name);
    amqp_table_put_timestamp(writer, "time", event->wall_ms / 1000);
    amqp_table_put_str(writer, "exchange", message_exchange(message));
    put_routing_keys(writer, message, properties->headers);
    if (properties->flags & AMQP_PROPERTY_EXPIRATION)
        amqp_table_put_str(writer, "original-expiration", properties->expiration);
}

static struct amqp_value field_of(struct amqp_table entry, const char *key)
{
    struct amqp_value value;

    if (!amqp_table_get(entry, amqp_str_from(key), &value))
        value.type = 'V';
    return value;
}

static size_t count_elements(struct amqp_table array)
{
    struct amqp_table_iter iter = amqp_table_begin(array);
    struct amqp_value element;
    size_t n = 0;

    while (amqp_array_next(&iter, &element))
        n++;
    return n;
}

static int compare_groups(const void *a, const void *b)
{
    const struct death *left = a, *right = b;
    int order = amqp_value_compare(&left->queue, &right->queue);

    if (!order)
        order = amqp_value_compare(&left->reason, &right->reason);
    return order ? order : (left->place > right->place) - (left->place < right->place);
}

static int compare_places(const void *a, const void *b)
{
    const struct death *left = a, *right = b;

    return (left->place > right->place) - (left->place < right->place);
}

static bool same_group(const struct death *a, const struct death *b)
{
    return amqp_value_equal(&a->queue, &b->queue) && amqp_value_equal(&a->reason, &b->reason);
}

/* Finds the groups and who leads them. */
static void group(struct deaths *deaths)
{
    struct death *lead = NULL;

    if (deaths->n)
        qsort(deaths->list, deaths->n, sizeof *deaths->list, compare_groups);
    for (size_t i = 0; i < deaths->n; i++) {
        if (!lead || !same_group(lead, &deaths->list[i]))
            lead = &deaths->list[i];
        lead->n_group++;
    }
    if (deaths->n)
        qsort(deaths->list, deaths->n, sizeof *deaths->list, compare_places);
}

/* The tables of @array; *ret_deaths is freed by the caller. */
static int read_deaths(struct amqp_table array, struct deaths *ret_deaths)
{
    struct amqp_table_iter iter = amqp_table_begin(array);
    struct deaths deaths = { .list = calloc(count_elements(array) + 1, sizeof *deaths.list) };
    struct amqp_value element;

    if (!deaths.list)
        return -ENOMEM;
    while (amqp_array_next(&iter, &element)) {
        if (element.type != 'F')
            continue;
        deaths.list[deaths.n] = (struct death){ .queue = field_of(element.table, "queue"),
                                                .reason = field_of(element.table, "reason"),
                                                .entry = element.table,
                                                .place = deaths.n };
        deaths.n++;
    }
    group(&deaths);
    *ret_deaths = deaths;
    return 0;
}

static bool is_about(const struct death *death, const struct dead_letter_event *event)
{
    struct header_change queue = header_str("queue", event->queue_name);
    struct header_change reason =
        header_str("reason", amqp_str_from(dead_letter_reason_name(event->reason)));

    return amqp_value_equal(&death->queue, &queue.value) &&
           amqp_value_equal(&death->reason, &reason.value);
}

static const struct death *find_past(const struct deaths *deaths,
                                     const struct dead_letter_event *event)
{
    for (size_t i = 0; i < deaths->n; i++)
        if (deaths->list[i].n_group && is_about(&deaths->list[i], event))
            return &deaths->list[i];
    return NULL;
}

/* Entries that never counted stand for one event each, except, as in RabbitMQ, one all alone. */
static int64_t next_count(const struct deaths *deaths, const struct death *past)
{
    struct amqp_value count;

    if (!amqp_table_get(past->entry, AMQP_STR("count"), &count))
        return deaths->n > 1 ? past->n_group + 1 : 1;
    if (!amqp_value_is_integer(&count) && count.type != 'T')
        return 1;
    return count.integer < INT64_MAX ? count.integer + 1 : INT64_MAX;
}

/* The fields of the entry that goes in front of @deaths, sorted. */
static int put_front(struct amqp_table_writer *writer, const struct deaths *deaths,
                     const struct death *past, struct amqp_table fresh)
{
    struct header_change count = { AMQP_STR("count"), { .type = 'l' } };

    if (!past)
        return headers_change(fresh, NULL, 0, writer);
    count.value.integer = next_count(deaths, past);
    return headers_change(past->entry, &count, 1, writer);
}

/* An entry that the event is not about: as it came, but for a count that is missing among others. */
static void put_other(struct amqp_table_writer *writer, const struct deaths *deaths,
                      const struct death *death)
{
    struct amqp_table_iter iter = amqp_table_begin(death->entry);
    size_t begun = amqp_table_begin_table(writer, NULL);
    struct amqp_value value;
    struct amqp_str key;

    if (deaths->n > 1 && !amqp_table_get(death->entry, AMQP_STR("count"), &value))
        amqp_table_put_int(writer, "count", death->n_group);
    while (amqp_table_next(&iter, &key, &value))
        amqp_table_put_value(writer, key, &value);
    amqp_table_end(writer, begun);
}

/* The elements of x-death after the event, into @writer. */
static int put_deaths(struct amqp_table_writer *writer, struct amqp_table array,
                      struct amqp_table fresh, const struct dead_letter_event *event)
{
    const struct death *past;
    struct deaths deaths;
    size_t begun;
    int rc = read_deaths(array, &deaths);

    if (rc)
        return rc;
    past = find_past(&deaths, event);
    begun = amqp_table_begin_table(writer, NULL);
    rc = put_front(writer, &deaths, past, fresh);
    amqp_table_end(writer, begun);
    for (size_t i = 0; i < deaths.n; i++)
        if (deaths.list[i].n_group && &deaths.list[i] != past)
            put_other(writer, &deaths, &deaths.list[i]);
    free(deaths.list);
    return rc;
}

/* A single event: its fields as they are. */
static void put_only(struct amqp_table_writer *writer, struct amqp_table fresh)
{
    struct amqp_value death = { .type = 'F', .table = fresh };

    amqp_table_put_value(writer, (struct amqp_str){ NULL, 0 }, &death);
}

/* Names and values of x-first-death-* or x-last-death-*. */
static size_t note_event(struct header_change *changes, const char *const names[3],
                         const struct message *message, const struct dead_letter_event *event)
{
    const char *reason = dead_letter_reason_name(event->reason);

    changes[0] = header_str(names[0], message_exchange(message));
    changes[1] = header_str(names[1], event->queue_name);
    changes[2] = header_str(names[2], amqp_str_from(reason));
    return 3;
}

/* The message's headers with this event in them, into @headers. */
static int write_headers(const struct message *message, const struct amqp_properties *properties,
                         const struct dead_letter_event *event, struct amqp_table_writer *headers)
{
    static const char *const first[] = { "x-first-death-exchange", "x-first-death-queue",
                                         "x-first-death-reason" };
    static const char *const last[] = { "x-last-death-exchange", "x-last-death-queue",
                                        "x-last-death-reason" };
    struct header_change changes[HEADER_CHANGES_MAX];
    struct amqp_table_writer fresh = { 0 }, deaths = { 0 };
    struct amqp_value old;
    bool had = amqp_table_get(properties->headers, AMQP_STR("x-death"), &old);
    size_t n = 0;
    int rc = 0;

    put_fresh(&fresh, message, properties, event);
    if (had && old.type == 'A')
        rc = put_deaths(&deaths, old.table, amqp_table_written(&fresh), event);
    else
        put_only(&deaths, amqp_table_written(&fresh));
    changes[n++] = (struct header_change){
        AMQP_STR("x-death"), { .type = 'A', .table = amqp_table_written(&deaths) }
    };
    if (!had) /* forged, of whatever type, it keeps them away: as RabbitMQ 3 does */
        n += note_event(changes + n, first, message, event);
    n += note_event(changes + n, last, message, event);
    if (event->replaces_keys)
        changes[n++] = (struct header_change){ .key = AMQP_STR("CC") };
    if (!rc)
        rc = fresh.failed || deaths.failed
                 ? -ENOMEM
                 : headers_change(properties->headers, changes, n, headers);
    amqp_table_writer_release(&fresh);
    amqp_table_writer_release(&deaths);
    return rc;
}

int dead_letter_message(const struct message *message, const struct dead_letter_event *event,
                        struct message **ret_message)
{
    struct message_parts parts = message_parts(message);
    struct amqp_table_writer headers = { 0 };
    struct amqp_properties properties;
    struct message *copy;
    int rc;

    if (amqp_properties_decode(message_properties(message), &properties))
        return -EBADMSG;
    rc = write_headers(message, &properties, event, &headers);
    if (!rc) {
        properties.headers = amqp_table_written(&headers);
        properties.flags |= AMQP_PROPERTY_HEADERS;
        properties.flags &= (uint16_t)~AMQP_PROPERTY_EXPIRATION;
        parts.exchange = event->exchange;
        parts.routing_key = event->routing_key;
        if (event->replaces_keys)
            parts.bcc = (struct amqp_table){ NULL, 0 };
        rc = message_with_properties(message, parts, &properties, &copy);
    }
    amqp_table_writer_release(&headers);
    if (rc)
        return rc;
    copy->expiration_ms = -1;
    *ret_message = copy;
    return 0;
}
