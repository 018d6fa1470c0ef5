/*
 * sample.h - a valid example of everything on the wire, made from the rows of the method table
 *
 * For tests that break frames in every place, and for the seeds of the fuzz targets. Strings are of
 * lower-case letters: as lengths these are too large for any sample, so a length that is off by one
 * never ends up as another valid method.
 */
#ifndef TESTS_LIB_SAMPLE_H
#define TESTS_LIB_SAMPLE_H

#include "amqp/frame.h"
#include "amqp/method.h"
#include "amqp/properties.h"
#include "amqp/table.h"

enum { SAMPLE_BYTES_MAX = 1024 };

/** sample_value() - a value of a scalar type octet */
static inline struct amqp_value sample_value(char type)
{
    struct amqp_value value = { .type = type };

    if (type == 't')
        value.boolean = true;
    else if (type == 'f' || type == 'd')
        value.real = -1.5;
    else if (type == 'D')
        value.decimal.scale = 2, value.decimal.value = 314;
    else if (type == 'S' || type == 'x')
        value.bytes = (struct amqp_bytes){ (const uint8_t *)"octets", 6 };
    else
        value.integer = type == 'u' || type == 'i' || type == 'B' ? 100 : -100;
    return value;
}

/** sample_table() - a table with a value of every type, and containers in containers */
static inline void sample_table(struct amqp_table_writer *writer)
{
    static const char scalars[] = "tbBsuUIilLfdDSxTV";
    size_t array, table;

    for (const char *type = scalars; *type; type++) {
        struct amqp_value value = sample_value(*type);

        amqp_table_put_value(writer, (struct amqp_str){ type, 1 }, &value);
    }
    array = amqp_table_begin_array(writer, "array");
    amqp_table_put_str(writer, NULL, AMQP_STR("element"));
    table = amqp_table_begin_table(writer, NULL);
    amqp_table_put_int(writer, "inner", 1);
    amqp_table_end(writer, amqp_table_begin_array(writer, "empty"));
    amqp_table_end(writer, table);
    amqp_table_put_void(writer, NULL);
    amqp_table_end(writer, array);
}

/** sample_method() - any method with something in every field; @table is borrowed */
static inline void sample_method(const struct amqp_method_info *info, struct amqp_table table,
                                 union amqp_method *ret_method)
{
    memset(ret_method, 0, sizeof *ret_method);
    ret_method->id = info->id;
    for (size_t i = 0; i < info->n_fields; i++) {
        char *member = (char *)ret_method + info->fields[i].offset;

        switch (info->fields[i].wire) {
        case AMQP_WIRE_octet:
            *(uint8_t *)member = (uint8_t)(i + 1);
            break;
        case AMQP_WIRE_short:
            *(uint16_t *)member = (uint16_t)(0x0100 + i);
            break;
        case AMQP_WIRE_long:
            *(uint32_t *)member = (uint32_t)(0x01020300 + i);
            break;
        case AMQP_WIRE_longlong:
            *(uint64_t *)member = 0x0102030405060700 + i;
            break;
        case AMQP_WIRE_bit:
            *(bool *)member = i % 2 == 0;
            break;
        case AMQP_WIRE_shortstr:
            *(struct amqp_str *)member = AMQP_STR("shortstring");
            break;
        case AMQP_WIRE_longstr:
            *(struct amqp_bytes *)member = (struct amqp_bytes){ (const uint8_t *)"long", 4 };
            break;
        case AMQP_WIRE_table:
            *(struct amqp_table *)member = table;
            break;
        }
    }
}

/** sample_properties() - all members have values, @flags says which are set; @table is borrowed */
static inline struct amqp_properties sample_properties(uint16_t flags, struct amqp_table table)
{
    return (struct amqp_properties){
        .flags = flags,
        .delivery_mode = 2,
        .priority = 9,
        .timestamp = 1700000000,
        .content_type = AMQP_STR("text"),
        .content_encoding = AMQP_STR("gzip"),
        .headers = table,
        .correlation_id = AMQP_STR("correlation"),
        .reply_to = AMQP_STR("reply"),
        .expiration = AMQP_STR("expiration"),
        .message_id = AMQP_STR("message"),
        .type = AMQP_STR("type"),
        .user_id = AMQP_STR("guest"),
        .app_id = AMQP_STR("app"),
        .cluster_id = AMQP_STR("cluster"),
    };
}

/** sample_random() - the next number of a seeded sequence (xorshift64); *@state is not 0 */
static inline uint64_t sample_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/** sample_mutate() - change up to four octets at random places */
static inline void sample_mutate(uint8_t *data, size_t size, uint64_t *state)
{
    static const uint8_t odd[] = { 0, 1, 127, 128, 254, 255, 'F', 'A', 'S', 'V' };
    unsigned n = 1 + (unsigned)(sample_random(state) % 4);

    while (n-- && size) {
        uint8_t *at = &data[sample_random(state) % size];
        uint64_t choice = sample_random(state) % 3;

        if (choice == 0)
            *at = (uint8_t)sample_random(state);
        else if (choice == 1)
            *at = odd[sample_random(state) % N_ELEMENTS(odd)];
        else
            *at ^= (uint8_t)(1u << sample_random(state) % 8);
    }
}

#endif
