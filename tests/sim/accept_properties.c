/*
 * accept_properties.c - the properties of a message that comes back from the broker
 *
 * Mostly they are the octets that were published. A dead letter has lost its expiration and has a
 * history in its headers; a message of a queue with a delivery limit tells how often it has been
 * returned.
 */
#include <inttypes.h>
#include <stdio.h>

#include "amqp/properties.h"
#include "model.h"

#define FAIL(sim, ...) history_fail(&(sim)->history, __VA_ARGS__)

static void check_text(struct sim *sim, struct amqp_table table, const char *key, const char *text)
{
    struct amqp_value value;

    if (!amqp_table_get(table, amqp_str_from(key), &value) || value.type != 'S' ||
        !amqp_str_equal(amqp_bytes_text(value.bytes), amqp_str_from(text)))
        FAIL(sim, "%s is not '%s'", key, text);
}

static void check_number(struct sim *sim, struct amqp_table table, const char *key, int64_t number)
{
    struct amqp_value value;

    if (!amqp_table_get(table, amqp_str_from(key), &value) || !amqp_value_is_integer(&value) ||
        value.integer != number)
        FAIL(sim, "%s is not %" PRId64, key, number);
}

static unsigned count_entries(struct amqp_table table)
{
    struct amqp_table_iter iter = amqp_table_begin(table);
    struct amqp_value value;
    struct amqp_str key;
    unsigned count = 0;

    while (amqp_table_next(&iter, &key, &value))
        count++;
    return count;
}

static void check_keys(struct sim *sim, struct amqp_table death, const char *key)
{
    struct amqp_value keys, element;
    struct amqp_table_iter iter;

    if (!amqp_table_get(death, AMQP_STR("routing-keys"), &keys) || keys.type != 'A')
        FAIL(sim, "a death without routing-keys");
    iter = amqp_table_begin(keys.table);
    if (!amqp_array_next(&iter, &element) || element.type != 'S' ||
        !amqp_str_equal(amqp_bytes_text(element.bytes), amqp_str_from(key)) ||
        amqp_array_next(&iter, &element))
        FAIL(sim, "a death whose routing-keys are not '%s'", key);
}

static void check_death(struct sim *sim, struct amqp_table table, const struct m_death *death)
{
    struct amqp_value time;
    char expiration[24];

    check_text(sim, table, "queue", death->event.queue);
    check_text(sim, table, "reason", dead_letter_reason_name(death->reason));
    check_text(sim, table, "exchange", death->event.exchange);
    check_number(sim, table, "count", death->count);
    check_keys(sim, table, death->key);
    if (!amqp_table_get(table, AMQP_STR("time"), &time) || time.type != 'T' ||
        (uint64_t)time.integer != death->time_s)
        FAIL(sim, "a death at another time than %" PRIu64, death->time_s);
    if (death->expiration_ms >= 0) {
        snprintf(expiration, sizeof expiration, "%" PRId64, death->expiration_ms);
        check_text(sim, table, "original-expiration", expiration);
    }
    if (count_entries(table) != 6 + (death->expiration_ms >= 0))
        FAIL(sim, "a death with more to it");
}

static void check_event(struct sim *sim, struct amqp_table headers, const char *which,
                        const struct m_event *event)
{
    char key[40];

    snprintf(key, sizeof key, "x-%s-death-exchange", which);
    check_text(sim, headers, key, event->exchange);
    snprintf(key, sizeof key, "x-%s-death-queue", which);
    check_text(sim, headers, key, event->queue);
    snprintf(key, sizeof key, "x-%s-death-reason", which);
    check_text(sim, headers, key, dead_letter_reason_name(event->reason));
}

static void check_past(struct sim *sim, struct amqp_table headers, const struct m_past *past)
{
    struct amqp_value deaths, element;
    struct amqp_table_iter iter;
    size_t at = 0;

    check_event(sim, headers, "first", &past->first);
    check_event(sim, headers, "last", &past->last);
    if (!amqp_table_get(headers, AMQP_STR("x-death"), &deaths) || deaths.type != 'A')
        FAIL(sim, "a dead letter without x-death");
    iter = amqp_table_begin(deaths.table);
    while (amqp_array_next(&iter, &element)) {
        if (at == past->n_deaths || element.type != 'F')
            FAIL(sim, "x-death has more than %zu deaths", past->n_deaths);
        check_death(sim, element.table, &past->deaths[at++]);
    }
    if (at < past->n_deaths)
        FAIL(sim, "x-death has %zu of %zu deaths", at, past->n_deaths);
}

static void decode(struct sim *sim, struct amqp_bytes raw, struct amqp_properties *ret_properties)
{
    if (amqp_properties_decode(raw, ret_properties))
        FAIL(sim, "properties that cannot be read");
}

void accept_properties(struct sim *sim, struct amqp_bytes raw, const struct m_message *known,
                       uint32_t returned)
{
    struct amqp_bytes published = { known->properties, known->properties_bytes };
    struct amqp_properties is, was;
    uint16_t flags;

    if (!known->past && !returned) {
        if (raw.size != published.size || memcmp(raw.data, published.data, raw.size) != 0)
            FAIL(sim, "m%u has other properties than were published", known->id);
        return;
    }
    decode(sim, raw, &is);
    decode(sim, published, &was);
    flags = was.flags | AMQP_PROPERTY_HEADERS;
    if (known->past) {
        flags &= (uint16_t)~AMQP_PROPERTY_EXPIRATION;
        check_past(sim, is.headers, known->past);
    }
    if (returned)
        check_number(sim, is.headers, "x-delivery-count", returned);
    if (is.flags != flags || is.delivery_mode != was.delivery_mode || is.priority != was.priority ||
        !amqp_str_equal(is.correlation_id, was.correlation_id) ||
        ((flags & AMQP_PROPERTY_EXPIRATION) && !amqp_str_equal(is.expiration, was.expiration)))
        FAIL(sim, "m%u has other properties than it should have", known->id);
    if (count_entries(is.headers) != (known->past ? 7U : 0U) + (returned ? 1U : 0U))
        FAIL(sim, "m%u has other headers than it should have", known->id);
}
