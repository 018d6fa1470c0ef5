/*
 * wire.h - big-endian integers and bounded cursors over octets
 *
 * The reader never runs past its end: every get says whether the octets were there, by comparing
 * with what remains. The writer has room by contract: its user has computed the size before.
 */
#ifndef AMQP_WIRE_H
#define AMQP_WIRE_H

#include <assert.h>

#include "amqp/base.h"

static inline uint16_t wire_load16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t wire_load32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}

static inline uint64_t wire_load64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

static inline uint8_t *wire_store8(uint8_t *at, uint8_t value)
{
    *at = value;
    return at + 1;
}

static inline uint8_t *wire_store16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static inline uint8_t *wire_store32(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static inline uint8_t *wire_store64(uint8_t *at, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static inline uint8_t *wire_store(uint8_t *at, const void *data, size_t size)
{
    if (size)
        memcpy(at, data, size);
    return at + size;
}

/** wire_store_shortstr() - length octet and text; @str.size <= 255 */
static inline uint8_t *wire_store_shortstr(uint8_t *at, struct amqp_str str)
{
    assert(str.size <= 255);
    at = wire_store8(at, (uint8_t)str.size);
    return wire_store(at, str.data, str.size);
}

/** struct wire_reader - a cursor over borrowed octets */
struct wire_reader {
    const uint8_t *at;
    const uint8_t *end;
};

static inline struct wire_reader wire_reader_over(const void *data, size_t size)
{
    return (struct wire_reader){ data, size ? (const uint8_t *)data + size : data };
}

static inline size_t wire_left(const struct wire_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static inline bool wire_get8(struct wire_reader *reader, uint8_t *ret_value)
{
    if (wire_left(reader) < 1)
        return false;
    *ret_value = *reader->at++;
    return true;
}

static inline bool wire_get16(struct wire_reader *reader, uint16_t *ret_value)
{
    if (wire_left(reader) < 2)
        return false;
    *ret_value = wire_load16(reader->at);
    reader->at += 2;
    return true;
}

static inline bool wire_get32(struct wire_reader *reader, uint32_t *ret_value)
{
    if (wire_left(reader) < 4)
        return false;
    *ret_value = wire_load32(reader->at);
    reader->at += 4;
    return true;
}

static inline bool wire_get64(struct wire_reader *reader, uint64_t *ret_value)
{
    if (wire_left(reader) < 8)
        return false;
    *ret_value = wire_load64(reader->at);
    reader->at += 8;
    return true;
}

static inline bool wire_get_bytes(struct wire_reader *reader, size_t size,
                                  struct amqp_bytes *ret_bytes)
{
    if (size > wire_left(reader))
        return false;
    *ret_bytes = (struct amqp_bytes){ reader->at, size };
    reader->at += size;
    return true;
}

static inline bool wire_get_shortstr(struct wire_reader *reader, struct amqp_str *ret_str)
{
    uint8_t size;

    if (!wire_get8(reader, &size) || size > wire_left(reader))
        return false;
    *ret_str = (struct amqp_str){ (const char *)reader->at, size };
    reader->at += size;
    return true;
}

static inline bool wire_get_longstr(struct wire_reader *reader, struct amqp_bytes *ret_bytes)
{
    uint32_t size;

    return wire_get32(reader, &size) && wire_get_bytes(reader, size, ret_bytes);
}

#endif
