/*
 * meta.c - writing the records of what is declared
 *
 * Deleting a record may fail for want of memory. The thing itself is gone by then, so this is
 * logged and no more: at the next start it is there again.
 */
#include "broker/meta.h"

#include <errno.h>
#include <stdlib.h>

#include "amqp/wire.h"
#include "broker/exchange.h"
#include "broker/meta-internal.h"
#include "broker/vhost.h"

static void octets_free(uint8_t *octets)
{
    free(octets);
}
DEFINE_OWNED(octets_free, uint8_t *)

static uint8_t *encode_key(const struct meta_key *key, size_t *ret_size)
{
    uint8_t *octets, *at;
    size_t size = 0;

    for (size_t i = 0; i < key->n; i++)
        size += sizeof(uint32_t) + key->names[i].size;
    octets = at = malloc(size);
    if (!octets)
        return NULL;
    for (size_t i = 0; i < key->n; i++) {
        at = wire_store32(at, (uint32_t)key->names[i].size);
        at = wire_store(at, key->names[i].data, key->names[i].size);
    }
    *ret_size = size;
    return octets;
}

bool meta_key_decode(struct amqp_bytes octets, size_t n, struct meta_key *ret_key)
{
    struct wire_reader reader = wire_reader_over(octets.data, octets.size);
    struct amqp_bytes name;

    for (size_t i = 0; i < n; i++) {
        if (!wire_get_longstr(&reader, &name))
            return false;
        ret_key->names[i] = amqp_bytes_text(name);
    }
    ret_key->n = n;
    return wire_left(&reader) == 0;
}

int meta_put(struct broker *broker, enum store_kind kind, const struct meta_key *key,
             struct amqp_table_writer *value)
{
    OWNED(octets_free) uint8_t *octets = NULL;
    size_t size = 0;
    int rc = 0;

    if (broker->store) {
        octets = encode_key(key, &size);
        if (!octets || value->failed)
            rc = -ENOMEM;
        else
            rc = store_put_meta(broker->store, kind, (struct amqp_bytes){ octets, size },
                                (struct amqp_bytes){ value->data, value->size });
    }
    amqp_table_writer_release(value);
    return rc;
}

void meta_delete(struct broker *broker, enum store_kind kind, const struct meta_key *key)
{
    OWNED(octets_free) uint8_t *octets = NULL;
    size_t size;

    if (!broker->store)
        return;
    octets = encode_key(key, &size);
    if (!octets ||
        store_delete_meta(broker->store, kind, (struct amqp_bytes){ octets, size }) < 0)
        broker_log(broker, BROKER_LOG_ERROR,
                   "no memory to delete a record of kind %d: it is back after the next start",
                   (int)kind);
}

static void put_table(struct amqp_table_writer *writer, struct amqp_table table)
{
    struct amqp_value value = { .type = 'F', .table = table };

    amqp_table_put_value(writer, AMQP_STR("arguments"), &value);
}

int meta_put_vhost(struct vhost *vhost)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_value metadata = { .type = 'F', .table = vhost->metadata };

    amqp_table_put_value(&writer, AMQP_STR("metadata"), &metadata);
    return meta_put(vhost->broker, STORE_KIND_VHOST, META_KEY(vhost->name_str), &writer);
}

int meta_put_exchange(struct exchange *exchange)
{
    struct vhost *vhost = exchange->destination.vhost;
    struct amqp_table_writer writer = { 0 };

    amqp_table_put_str(&writer, "type", amqp_str_from(exchange_type_name(exchange)));
    amqp_table_put_bool(&writer, "auto_delete", exchange->auto_delete);
    amqp_table_put_bool(&writer, "internal", exchange->internal);
    put_table(&writer, exchange->arguments);
    if (exchange->destination.deleted)
        amqp_table_put_bool(&writer, "deleting", true);
    return meta_put(vhost->broker, STORE_KIND_EXCHANGE,
                    META_KEY(vhost->name_str, exchange->destination.name), &writer);
}

void meta_delete_exchange(struct exchange *exchange)
{
    struct vhost *vhost = exchange->destination.vhost;

    meta_delete(vhost->broker, STORE_KIND_EXCHANGE,
                META_KEY(vhost->name_str, exchange->destination.name));
}

int meta_put_queue(struct queue *queue)
{
    struct vhost *vhost = queue_vhost(queue);
    struct amqp_table_writer writer = { 0 };

    amqp_table_put_int(&writer, "id", (int64_t)queue->id);
    /* There may be very many of these, so what says nothing is left out. */
    if (queue->auto_delete)
        amqp_table_put_bool(&writer, "auto_delete", true);
    if (queue->arguments_bytes)
        put_table(&writer, queue_arguments(queue));
    if (queue->destination.deleted)
        amqp_table_put_bool(&writer, "deleting", true);
    return meta_put(vhost->broker, STORE_KIND_QUEUE,
                    META_KEY(vhost->name_str, queue->destination.name), &writer);
}

void meta_delete_queue(struct queue *queue)
{
    struct vhost *vhost = queue_vhost(queue);

    meta_delete(vhost->broker, STORE_KIND_QUEUE, META_KEY(vhost->name_str, queue->destination.name));
}

static struct meta_key binding_key(const struct binding *binding)
{
    struct amqp_table table = binding_arguments(binding);
    struct amqp_str arguments = { (const char *)table.data, table.size };

    return *META_KEY(binding->source->destination.vhost->name_str,
                     binding->source->destination.name,
                     binding->destination->is_exchange ? AMQP_STR("e") : AMQP_STR("q"),
                     binding->destination->name, binding->key, arguments);
}

int meta_put_binding(struct binding *binding)
{
    struct amqp_table_writer none = { 0 };
    struct meta_key key = binding_key(binding);

    return meta_put(binding->source->destination.vhost->broker, STORE_KIND_BINDING, &key, &none);
}

void meta_delete_binding(struct binding *binding)
{
    struct meta_key key = binding_key(binding);

    meta_delete(binding->source->destination.vhost->broker, STORE_KIND_BINDING, &key);
}

static const char *const hashing_names[] = {
    [AUTH_HASHING_SHA256] = "sha256",
    [AUTH_HASHING_SHA512] = "sha512",
    [AUTH_HASHING_MD5] = "md5",
};

const char *meta_hashing_name(enum auth_hashing hashing)
{
    return hashing_names[hashing];
}

bool meta_hashing_find(struct amqp_str name, enum auth_hashing *ret_hashing)
{
    for (size_t i = 0; i < N_ELEMENTS(hashing_names); i++) {
        if (amqp_str_equal(amqp_str_from(hashing_names[i]), name)) {
            *ret_hashing = (enum auth_hashing)i;
            return true;
        }
    }
    return false;
}
