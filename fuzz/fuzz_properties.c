/*
 * fuzz_properties.c - content properties: what is decoded encodes to the same octets
 *
 * Input: property flags and values. Bits 0 and 1 of the flags, which mean nothing, are not kept,
 * and nothing else may change.
 */
#include <assert.h>
#include <stdlib.h>

#include "amqp/properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct amqp_properties properties;
    uint8_t *again, *end;

    if (amqp_properties_decode((struct amqp_bytes){ data, size }, &properties))
        return 0;
    assert(amqp_properties_size(&properties) == size);
    again = malloc(size);
    assert(again);
    end = amqp_properties_encode(&properties, again);
    assert(end == again + size);
    assert(again[0] == data[0]);
    assert(again[1] == (data[1] & 0xFC));
    assert(memcmp(again + 2, data + 2, size - 2) == 0);
    free(again);
    return 0;
}
