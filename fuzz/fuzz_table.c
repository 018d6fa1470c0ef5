/*
 * fuzz_table.c - field tables: a checked table reads to its end, copies to the same size, equals it
 *
 * Input: the entries of a table, without the length in front.
 */
#include <assert.h>
#include <stdlib.h>

#include "amqp/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const struct amqp_value *value);

static void walk(struct amqp_table table, bool array)
{
    struct amqp_table_iter iter = amqp_table_begin(table);
    struct amqp_value value;
    struct amqp_str key;

    while (array ? amqp_array_next(&iter, &value) : amqp_table_next(&iter, &key, &value))
        check_value(&value);
    assert(iter.at == iter.end);
}

/* As deep as the check allows, so recursion is bounded here. */
static void check_value(const struct amqp_value *value)
{
    char text[40];

    assert(amqp_value_equal(value, value));
    assert(strcmp(amqp_value_type_name(value), "unknown") != 0);
    amqp_value_print(value, text, sizeof text);
    if (value->type == 'A' || value->type == 'F')
        walk(value->table, value->type == 'A');
}

static void check_copy(struct amqp_table table)
{
    struct amqp_table_iter iter = amqp_table_begin(table);
    struct amqp_table_writer writer = { 0 };
    struct amqp_value value, found;
    struct amqp_str key;
    int rc;

    while (amqp_table_next(&iter, &key, &value)) {
        bool there = amqp_table_get(table, key, &found);

        assert(there);
        amqp_table_put_value(&writer, key, &value);
    }
    assert(!writer.failed);
    assert(writer.size == table.size);
    rc = amqp_table_check(amqp_table_written(&writer));
    assert(rc == 0);
    amqp_table_writer_release(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct amqp_table table = { data, size };
    struct amqp_value value;
    bool equal;

    if (amqp_table_check(table)) {
        (void)amqp_table_get(table, AMQP_STR("k"), &value); /* may find something, must not crash */
        return 0;
    }
    walk(table, false);
    if (size < 4096) /* looks every key up */
        check_copy(table);
    equal = amqp_table_equal(table, table);
    assert(equal);
    return 0;
}
