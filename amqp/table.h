/*
 * table.h - field tables: checked once, then read in place
 *
 * A table stays the octets that came. table_check() walks it once without recursion or allocation;
 * after that the iterator and the lookups may trust it. A struct amqp_table never includes the
 * 4-octet length in front of the entries.
 */
#ifndef AMQP_TABLE_H
#define AMQP_TABLE_H

#include "amqp/base.h"
#include "amqp/reply.h"

/** struct amqp_table - the entries of a field table (or of an array), borrowed */
struct amqp_table {
    const uint8_t *data;
    size_t size;
};

/** struct amqp_value - one field value; strings, tables and arrays borrow the table's octets */
struct amqp_value {
    char type; /* the octet on the wire, one of t b B s u U I i l L f d D S x T A F V */
    union {
        bool boolean;              /* t */
        int64_t integer;           /* b B s u U I i l L, and T (seconds, as signed) */
        double real;               /* f d */
        struct {
            uint8_t scale;
            uint32_t value;
        } decimal;                 /* D */
        struct amqp_bytes bytes;   /* S x */
        struct amqp_table table;   /* A F: entries without the length */
    };
};

struct amqp_table_iter {
    const uint8_t *at;
    const uint8_t *end;
};

/**
 * amqp_table_check() - whether octets are a well-formed table
 *
 * Up to BOUND_TABLE_DEPTH tables and arrays inside each other, up to BOUND_TABLE_ENTRIES entries
 * and elements. Unknown type octets, truncated values, infinities and NaN are errors; duplicate
 * keys are not. Keys and strings may hold any octets.
 *
 * Return: 0; AMQP_SYNTAX_ERROR (502) past depth or entries; AMQP_FRAME_ERROR (501) otherwise.
 *         The caller words the text.
 */
int amqp_table_check(struct amqp_table table);

/** amqp_table_begin() - iterate over a checked table */
static inline struct amqp_table_iter amqp_table_begin(struct amqp_table table)
{
    const uint8_t *end = table.size ? table.data + table.size : table.data;

    return (struct amqp_table_iter){ table.data, end };
}

/** amqp_table_next() - the next entry of a checked table; false at the end */
bool amqp_table_next(struct amqp_table_iter *iter, struct amqp_str *ret_key,
                     struct amqp_value *ret_value);

/** amqp_array_next() - the next element of a checked array; false at the end */
bool amqp_array_next(struct amqp_table_iter *iter, struct amqp_value *ret_value);

/** amqp_table_get() - the first entry named @key in a checked table; false if there is none */
bool amqp_table_get(struct amqp_table table, struct amqp_str key, struct amqp_value *ret_value);

/** amqp_value_is_integer() - one of the integer types (not 'T', not floats) */
bool amqp_value_is_integer(const struct amqp_value *value);

/**
 * amqp_value_equal() - equality of decoded values, as RabbitMQ's equivalence checks and headers
 * exchanges compare: integers of every width and 'T' by value, 'S' and 'x' by octets, floats with
 * floats; an integer never equals a float, a string or a boolean. Arrays and tables compare octet
 * for octet with the types of their elements.
 */
bool amqp_value_equal(const struct amqp_value *a, const struct amqp_value *b);

/** amqp_value_compare() - below, at or above 0: some total order; 0 where amqp_value_equal() */
int amqp_value_compare(const struct amqp_value *a, const struct amqp_value *b);

/** amqp_value_type_name() - RabbitMQ's word for the type in error texts: "longstr", "signedint" */
const char *amqp_value_type_name(const struct amqp_value *value);

/**
 * amqp_value_print() - a scalar as RabbitMQ's texts show it: 200, drop-head, 100.0, 1.0e3, true
 *
 * Tables and arrays are [] or [...]. Strings are copied as they are.
 *
 * Return: the length of the text; cut to @size with a NUL.
 */
size_t amqp_value_print(const struct amqp_value *value, char *out, size_t size);

/**
 * amqp_table_equal() - same keys with same types and values, in any order
 *
 * How bindings are identified: `z`=1 as 'l' is not `z`=1 as 'I' (amqp-0-9-1.md 6.4). Nested tables
 * and arrays compare octet for octet. Both tables are checked ones. Equal octets are one memcmp,
 * different sizes none; else n log n, with memory for a moment when there are many entries.
 */
bool amqp_table_equal(struct amqp_table a, struct amqp_table b);

/**
 * struct amqp_table_writer - builds a table in a growing buffer
 *
 * Starts as all zero. Errors stick: after a failed allocation, a key of more than 255 octets or a
 * table of 4 GiB, `failed` is set and puts do nothing. begin/end of nested tables and arrays are
 * paired by the caller. Values are put with a key in a table, with key NULL in an array.
 */
struct amqp_table_writer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool failed;
};

void amqp_table_writer_release(struct amqp_table_writer *writer);
void amqp_table_put_str(struct amqp_table_writer *writer, const char *key, struct amqp_str value);
void amqp_table_put_bool(struct amqp_table_writer *writer, const char *key, bool value);
void amqp_table_put_int(struct amqp_table_writer *writer, const char *key, int64_t value); /* 'l' */
void amqp_table_put_double(struct amqp_table_writer *writer, const char *key, double value);
void amqp_table_put_timestamp(struct amqp_table_writer *writer, const char *key, uint64_t seconds);
void amqp_table_put_void(struct amqp_table_writer *writer, const char *key);
/** amqp_table_put_value() - copy a value with its own type; @key.data is NULL in an array */
void amqp_table_put_value(struct amqp_table_writer *writer, struct amqp_str key,
                          const struct amqp_value *value);
/** amqp_table_begin_table(), _array() - what follows is nested; returns what end() is given */
size_t amqp_table_begin_table(struct amqp_table_writer *writer, const char *key);
size_t amqp_table_begin_array(struct amqp_table_writer *writer, const char *key);
void amqp_table_end(struct amqp_table_writer *writer, size_t begun_at);
/** amqp_table_written() - what has been built, borrowed from the writer */
static inline struct amqp_table amqp_table_written(const struct amqp_table_writer *writer)
{
    return (struct amqp_table){ writer->data, writer->size };
}

#endif
