/*
 * sender_selected.c - collecting CC and BCC keys, and taking BCC out
 *
 * The few keys that messages have are kept inline; more go to the heap, as many as the header has.
 */
#include "broker/sender_selected.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/message_headers.h"

void sender_keys_release(struct sender_keys *keys)
{
    if (keys->keys != keys->inline_keys)
        free(keys->keys);
    keys->keys = NULL;
}

static int add_key(struct sender_keys *keys, struct amqp_str key)
{
    if (keys->n_keys == keys->capacity) {
        size_t capacity = keys->capacity * 2;
        struct amqp_str *grown = malloc(capacity * sizeof *grown);

        if (!grown)
            return -ENOMEM;
        memcpy(grown, keys->keys, keys->n_keys * sizeof *grown);
        sender_keys_release(keys);
        keys->keys = grown;
        keys->capacity = capacity;
    }
    keys->keys[keys->n_keys++] = key;
    return 0;
}

static int collect_header(struct amqp_table headers, const char *name, struct amqp_error *err,
                          struct sender_keys *keys, bool *ret_present)
{
    struct amqp_value value, element;
    struct amqp_table_iter iter;
    int rc;

    if (!amqp_table_get(headers, amqp_str_from(name), &value))
        return 0;
    *ret_present = true;
    if (value.type != 'A')
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "invalid message: {unacceptable_type_in_header,\"%s\",%s}", name,
                          amqp_value_type_name(&value));
    iter = amqp_table_begin(value.table);
    while (amqp_array_next(&iter, &element)) {
        if (element.type != 'S')
            continue;
        rc = add_key(keys, (struct amqp_str){ (const char *)element.bytes.data,
                                              element.bytes.size });
        if (rc)
            return rc;
    }
    return 0;
}

int sender_keys_collect(struct amqp_str routing_key, struct amqp_table headers,
                        struct amqp_error *err, struct sender_keys *keys)
{
    bool has_cc = false;
    int rc;

    keys->keys = keys->inline_keys;
    keys->capacity = SENDER_KEYS_INLINE;
    keys->keys[0] = routing_key;
    keys->n_keys = 1;
    if (headers.size == 0)
        return 0;
    rc = collect_header(headers, "CC", err, keys, &has_cc);
    if (!rc)
        rc = collect_header(headers, "BCC", err, keys, &keys->has_bcc);
    return rc;
}

int sender_keys_again(const struct message *message, struct amqp_table headers,
                      struct sender_keys *keys)
{
    struct amqp_error ignored; /* headers of the wrong type were refused at publish */
    int rc = sender_keys_collect(message_routing_key(message), headers, &ignored, keys);

    if (rc >= 0)
        rc = collect_header(message_bcc(message), "BCC", &ignored, keys, &keys->has_bcc);
    return rc < 0 ? rc : 0;
}

/* The table without BCC, and BCC alone. */
static void split_headers(struct amqp_table headers, struct amqp_table_writer *rest,
                          struct amqp_table_writer *bcc)
{
    struct amqp_table_iter iter = amqp_table_begin(headers);
    struct amqp_value value;
    struct amqp_str key;

    while (amqp_table_next(&iter, &key, &value)) {
        if (!amqp_str_equal(key, AMQP_STR("BCC")))
            amqp_table_put_value(rest, key, &value);
        else if (bcc->size == 0 && value.type == 'A' && value.table.size)
            amqp_table_put_value(bcc, key, &value);
    }
}

int message_without_bcc(const struct message *message, const struct amqp_properties *properties,
                        struct message **ret_message)
{
    struct amqp_table_writer rest = { 0 }, bcc = { 0 };
    struct message_parts parts = message_parts(message);
    struct amqp_properties changed = *properties;
    int rc = -ENOMEM;

    split_headers(properties->headers, &rest, &bcc);
    if (!rest.failed && !bcc.failed) {
        changed.headers = amqp_table_written(&rest);
        parts.bcc = amqp_table_written(&bcc);
        rc = message_with_properties(message, parts, &changed, ret_message);
    }
    amqp_table_writer_release(&rest);
    amqp_table_writer_release(&bcc);
    return rc;
}
