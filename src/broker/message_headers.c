/*
 * message_headers.c - see message_headers.h
 *
 * Headers are sorted as references into the old table and then copied once. The sort is stable by
 * the place in that table, so that keys which come twice keep their order.
 */
#include "broker/message_headers.h"

#include <errno.h>
#include <stdlib.h>

struct header {
    struct amqp_str key;
    struct amqp_value value;
    size_t place;
};

static int compare_headers(const void *a, const void *b)
{
    const struct header *left = a, *right = b;
    size_t common = left->key.size < right->key.size ? left->key.size : right->key.size;
    int order = common ? memcmp(left->key.data, right->key.data, common) : 0;

    if (order)
        return order;
    if (left->key.size != right->key.size)
        return left->key.size < right->key.size ? -1 : 1;
    return left->place < right->place ? -1 : left->place > right->place;
}

static bool is_changed(struct amqp_str key, const struct header_change *changes, size_t n_changes)
{
    for (size_t i = 0; i < n_changes; i++)
        if (amqp_str_equal(key, changes[i].key))
            return true;
    return false;
}

static size_t count_headers(struct amqp_table headers)
{
    struct amqp_table_iter iter = amqp_table_begin(headers);
    struct amqp_value value;
    struct amqp_str key;
    size_t n = 0;

    while (amqp_table_next(&iter, &key, &value))
        n++;
    return n;
}

int headers_change(struct amqp_table headers, const struct header_change *changes,
                   size_t n_changes, struct amqp_table_writer *writer)
{
    struct amqp_table_iter iter = amqp_table_begin(headers);
    size_t capacity = count_headers(headers) + n_changes, n = 0;
    struct header *sorted = malloc((capacity + 1) * sizeof *sorted);
    struct amqp_value value;
    struct amqp_str key;

    if (!sorted)
        return -ENOMEM;
    while (amqp_table_next(&iter, &key, &value)) {
        if (is_changed(key, changes, n_changes))
            continue;
        sorted[n] = (struct header){ key, value, n };
        n++;
    }
    for (size_t i = 0; i < n_changes; i++) {
        if (!changes[i].value.type)
            continue;
        sorted[n] = (struct header){ changes[i].key, changes[i].value, n };
        n++;
    }
    qsort(sorted, n, sizeof *sorted, compare_headers);
    for (size_t i = 0; i < n; i++)
        amqp_table_put_value(writer, sorted[i].key, &sorted[i].value);
    free(sorted);
    return writer->failed ? -ENOMEM : 0;
}

int message_with_properties(const struct message *message, struct message_parts parts,
                            const struct amqp_properties *properties, struct message **ret_message)
{
    size_t raw_bytes = amqp_properties_size(properties);
    uint8_t *raw = malloc(raw_bytes);
    int rc;

    if (!raw)
        return -ENOMEM;
    amqp_properties_encode(properties, raw);
    parts.properties = (struct amqp_bytes){ raw, raw_bytes };
    rc = message_copy(message, &parts, ret_message);
    free(raw);
    return rc;
}

int message_with_delivery_count(const struct message *message, int64_t count,
                                struct message **ret_message)
{
    struct header_change change = { AMQP_STR("x-delivery-count"),
                                    { .type = 'l', .integer = count } };
    struct amqp_table_writer writer = { 0 };
    struct amqp_properties properties;
    int rc;

    if (amqp_properties_decode(message_properties(message), &properties))
        return -EBADMSG;
    rc = headers_change(properties.headers, &change, 1, &writer);
    if (!rc) {
        properties.headers = amqp_table_written(&writer);
        properties.flags |= AMQP_PROPERTY_HEADERS;
        rc = message_with_properties(message, message_parts(message), &properties, ret_message);
    }
    amqp_table_writer_release(&writer);
    return rc;
}
