/*
 * table_writer.c - building a field table
 *
 * For server-properties, x-death and whatever else the broker itself says in a table. The buffer
 * doubles as it grows; the length of a nested table is filled in when it ends. A writer that could
 * not get memory swallows what follows, so that a caller asks `failed` once, at the end.
 *
 * Only types that every client reads correctly have a function of their own (amqp-0-9-1.md 3.2).
 */
#include <stdlib.h>

#include "amqp/bounds.h"
#include "amqp/table.h"
#include "amqp/wire.h"

enum { CAPACITY_MIN_BYTES = 128, LENGTH_BYTES = 4 };

void amqp_table_writer_release(struct amqp_table_writer *writer)
{
    free(writer->data);
    *writer = (struct amqp_table_writer){ 0 };
}

/* Room for @size more octets, or NULL and the writer has failed. */
static uint8_t *reserve(struct amqp_table_writer *writer, size_t size)
{
    size_t capacity = writer->capacity ? writer->capacity : CAPACITY_MIN_BYTES;
    uint8_t *data;

    if (writer->failed)
        return NULL;
    if (size <= writer->capacity - writer->size)
        return writer->data + writer->size;
    if (size > UINT32_MAX - writer->size) {
        writer->failed = true;
        return NULL;
    }
    while (capacity - writer->size < size)
        capacity *= 2;
    data = realloc(writer->data, capacity);
    if (!data) {
        writer->failed = true;
        return NULL;
    }
    writer->data = data;
    writer->capacity = capacity;
    return data + writer->size;
}

/*
 * Key and type octet of an entry; only the type for an element of an array, whose key has no data.
 * Returns where its value goes, with room for @value_bytes.
 */
static uint8_t *begin_value(struct amqp_table_writer *writer, struct amqp_str key, char type,
                            size_t value_bytes)
{
    size_t key_bytes = key.data ? 1 + key.size : 0;
    uint8_t *at;

    if (key.size > BOUND_SHORTSTR_BYTES || value_bytes > UINT32_MAX) {
        writer->failed = true;
        return NULL;
    }
    at = reserve(writer, key_bytes + 1 + value_bytes);
    if (!at)
        return NULL;
    writer->size += key_bytes + 1 + value_bytes;
    if (key.data)
        at = wire_store_shortstr(at, key);
    return wire_store8(at, (uint8_t)type);
}

static struct amqp_str key_from(const char *key)
{
    return key ? amqp_str_from(key) : (struct amqp_str){ NULL, 0 };
}

static void put_octets(struct amqp_table_writer *writer, struct amqp_str key, char type,
                       struct amqp_bytes octets)
{
    uint8_t *at;

    if (octets.size > UINT32_MAX - LENGTH_BYTES) {
        writer->failed = true;
        return;
    }
    at = begin_value(writer, key, type, LENGTH_BYTES + octets.size);
    if (!at)
        return;
    at = wire_store32(at, (uint32_t)octets.size);
    wire_store(at, octets.data, octets.size);
}

/* The last @width octets of @bits: every type of fixed width but 'D'. */
static void put_bits(struct amqp_table_writer *writer, struct amqp_str key, char type,
                     size_t width, uint64_t bits)
{
    uint8_t *at = begin_value(writer, key, type, width);

    if (!at)
        return;
    for (size_t i = 0; i < width; i++)
        at[i] = (uint8_t)(bits >> 8 * (width - 1 - i));
}

static uint64_t double_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint32_t float_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void amqp_table_put_str(struct amqp_table_writer *writer, const char *key, struct amqp_str value)
{
    put_octets(writer, key_from(key), 'S',
               (struct amqp_bytes){ (const uint8_t *)value.data, value.size });
}

void amqp_table_put_bool(struct amqp_table_writer *writer, const char *key, bool value)
{
    put_bits(writer, key_from(key), 't', 1, value);
}

void amqp_table_put_int(struct amqp_table_writer *writer, const char *key, int64_t value)
{
    put_bits(writer, key_from(key), 'l', 8, (uint64_t)value);
}

void amqp_table_put_double(struct amqp_table_writer *writer, const char *key, double value)
{
    put_bits(writer, key_from(key), 'd', 8, double_bits(value));
}

void amqp_table_put_timestamp(struct amqp_table_writer *writer, const char *key, uint64_t seconds)
{
    put_bits(writer, key_from(key), 'T', 8, seconds);
}

void amqp_table_put_void(struct amqp_table_writer *writer, const char *key)
{
    put_bits(writer, key_from(key), 'V', 0, 0);
}

static void put_decimal(struct amqp_table_writer *writer, struct amqp_str key,
                        const struct amqp_value *value)
{
    uint8_t *at = begin_value(writer, key, 'D', 5);

    if (!at)
        return;
    at = wire_store8(at, value->decimal.scale);
    wire_store32(at, value->decimal.value);
}

void amqp_table_put_value(struct amqp_table_writer *writer, struct amqp_str key,
                          const struct amqp_value *value)
{
    switch (value->type) {
    case 't':
        put_bits(writer, key, 't', 1, value->boolean);
        return;
    case 'b':
    case 'B':
        put_bits(writer, key, value->type, 1, (uint64_t)value->integer);
        return;
    case 's':
    case 'u':
    case 'U':
        put_bits(writer, key, value->type, 2, (uint64_t)value->integer);
        return;
    case 'I':
    case 'i':
        put_bits(writer, key, value->type, 4, (uint64_t)value->integer);
        return;
    case 'l':
    case 'L':
    case 'T':
        put_bits(writer, key, value->type, 8, (uint64_t)value->integer);
        return;
    case 'f':
        put_bits(writer, key, 'f', 4, float_bits((float)value->real));
        return;
    case 'd':
        put_bits(writer, key, 'd', 8, double_bits(value->real));
        return;
    case 'D':
        put_decimal(writer, key, value);
        return;
    case 'S':
    case 'x':
        put_octets(writer, key, value->type, value->bytes);
        return;
    case 'A':
    case 'F':
        put_octets(writer, key, value->type,
                   (struct amqp_bytes){ value->table.data, value->table.size });
        return;
    case 'V':
        put_bits(writer, key, 'V', 0, 0);
        return;
    }
    assert(false); /* no type that a check lets through */
}

static size_t begin_container(struct amqp_table_writer *writer, const char *key, char type)
{
    (void)begin_value(writer, key_from(key), type, LENGTH_BYTES); /* `failed` is asked in the end */
    return writer->size;
}

size_t amqp_table_begin_table(struct amqp_table_writer *writer, const char *key)
{
    return begin_container(writer, key, 'F');
}

size_t amqp_table_begin_array(struct amqp_table_writer *writer, const char *key)
{
    return begin_container(writer, key, 'A');
}

void amqp_table_end(struct amqp_table_writer *writer, size_t begun_at)
{
    if (writer->failed)
        return;
    assert(begun_at >= LENGTH_BYTES);
    assert(begun_at <= writer->size);
    wire_store32(writer->data + begun_at - LENGTH_BYTES, (uint32_t)(writer->size - begun_at));
}
