/*
 * seeds.c - writes the seed corpora of the fuzz targets: `seeds DIRECTORY`
 *
 *   DIRECTORY/frame/...   DIRECTORY/method/...   DIRECTORY/table/...   DIRECTORY/properties/...
 *
 * They come from the method table, so a method that is added there has its seed without being
 * named again. Nothing binary is kept in the tree.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "sample.h"

enum { PATH_BYTES_MAX = 4096 };

static void make_directory(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

static void write_seed(const char *directory, const char *target, const char *name,
                       struct amqp_bytes octets)
{
    char path[PATH_BYTES_MAX];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, target);
    make_directory(path);
    snprintf(path, sizeof path, "%s/%s/%s", directory, target, name);
    file = fopen(path, "wb");
    if (!file || fwrite(octets.data, 1, octets.size, file) != octets.size || fclose(file) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

/* A method as payload, and as a frame behind a payload limit of 4096. */
static void write_method(const char *directory, uint32_t id, struct amqp_table table)
{
    const struct amqp_method_info *info = amqp_method_find(id);
    uint8_t frame[2 + SAMPLE_BYTES_MAX] = { 0x00, 0x10 };
    union amqp_method method;
    size_t size;

    sample_method(info, table, &method);
    size = (size_t)(amqp_method_frame_encode(&method, 1, frame + 2) - frame);
    write_seed(directory, "frame", info->name, (struct amqp_bytes){ frame, size });
    write_seed(directory, "method", info->name,
               (struct amqp_bytes){ frame + 2 + AMQP_FRAME_HEAD_BYTES,
                                    size - 2 - AMQP_FRAME_OVERHEAD_BYTES });
}

/* One seed a type octet: a table with one entry or, for containers, the whole sample. */
static void write_tables(const char *directory, struct amqp_table whole)
{
    struct amqp_table_iter iter = amqp_table_begin(whole);
    const uint8_t *at = iter.at;
    struct amqp_value value;
    struct amqp_str key;
    char name[16];

    write_seed(directory, "table", "whole", (struct amqp_bytes){ whole.data, whole.size });
    while (amqp_table_next(&iter, &key, &value)) {
        snprintf(name, sizeof name, "type-%02x", (unsigned)value.type);
        write_seed(directory, "table", name, (struct amqp_bytes){ at, (size_t)(iter.at - at) });
        at = iter.at;
    }
}

static void write_nested(const char *directory, size_t depth)
{
    struct amqp_table_writer writer = { 0 };
    size_t begun[BOUND_TABLE_DEPTH + 1];
    char name[32];

    for (size_t i = 0; i < depth; i++)
        begun[i] = amqp_table_begin_table(&writer, "k");
    for (size_t i = depth; i-- > 0;)
        amqp_table_end(&writer, begun[i]);
    snprintf(name, sizeof name, "nested-%zu", depth);
    write_seed(directory, "table", name, (struct amqp_bytes){ writer.data, writer.size });
    amqp_table_writer_release(&writer);
}

/* None, each alone, all. */
static void write_properties(const char *directory, struct amqp_table table)
{
    uint8_t raw[SAMPLE_BYTES_MAX];
    char name[16];

    for (unsigned bit = 0; bit < 16; bit++) {
        unsigned flags = bit == 0 ? 0 : bit == 1 ? 0xFFFC : 1u << bit;
        struct amqp_properties properties = sample_properties((uint16_t)flags, table);
        size_t size = (size_t)(amqp_properties_encode(&properties, raw) - raw);

        snprintf(name, sizeof name, "flags-%04x", flags);
        write_seed(directory, "properties", name, (struct amqp_bytes){ raw, size });
    }
}

int main(int argc, char **argv)
{
#define METHOD_ID(c, m, name, ARGUMENTS) AMQP_ID_##name,
    static const uint32_t ids[] = { AMQP_METHODS(METHOD_ID) };
    struct amqp_table_writer table = { 0 };

    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    make_directory(argv[1]);
    sample_table(&table);
    if (table.failed)
        return EXIT_FAILURE;
    for (size_t i = 0; i < N_ELEMENTS(ids); i++)
        write_method(argv[1], ids[i], amqp_table_written(&table));
    write_tables(argv[1], amqp_table_written(&table));
    write_nested(argv[1], BOUND_TABLE_DEPTH);
    write_nested(argv[1], BOUND_TABLE_DEPTH + 1);
    write_properties(argv[1], amqp_table_written(&table));
    amqp_table_writer_release(&table);
    return EXIT_SUCCESS;
}
