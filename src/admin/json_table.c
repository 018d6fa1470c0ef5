/*
 * json_table.c - JSON values as field tables
 *
 * The walk is recursive, as the depth is bounded, and keeps the path of the value it looks at, so
 * that a refusal can name it. The bounds are those that every reader of a table relies on.
 */
#include "admin/json_table.h"

#include <errno.h>

#include "amqp/bounds.h"

struct walk {
    struct amqp_table_writer *writer;
    struct amqp_text *path;
    const char *problem;
    size_t entries;
    unsigned depth; /* tables and arrays that we are in, the outermost not counted */
};

static int put(struct walk *walk, const char *key, json_t *value);

static int refuse(struct walk *walk, const char *problem)
{
    walk->problem = problem;
    return -EINVAL;
}

static void shorten(struct amqp_text *path, size_t length)
{
    path->length = length;
    path->out[length] = '\0';
}

static int put_members(struct walk *walk, json_t *object)
{
    size_t length = walk->path->length;
    const char *key;
    json_t *value;
    int rc;

    json_object_foreach (object, key, value) {
        amqp_text_printf(walk->path, ".%s", key);
        if (strlen(key) > BOUND_SHORTSTR_BYTES)
            return refuse(walk, "a key of more than 255 octets");
        rc = put(walk, key, value);
        if (rc)
            return rc;
        shorten(walk->path, length);
    }
    return 0;
}

static int put_elements(struct walk *walk, json_t *array)
{
    size_t length = walk->path->length;
    json_t *value;
    size_t i;
    int rc;

    json_array_foreach (array, i, value) {
        amqp_text_printf(walk->path, "[%zu]", i);
        rc = put(walk, NULL, value);
        if (rc)
            return rc;
        shorten(walk->path, length);
    }
    return 0;
}

static int put_nested(struct walk *walk, const char *key, json_t *value)
{
    bool is_object = json_is_object(value);
    size_t begun_at;
    int rc;

    if (walk->depth == BOUND_TABLE_DEPTH)
        return refuse(walk, "nested too deeply");
    walk->depth++;
    begun_at = is_object ? amqp_table_begin_table(walk->writer, key)
                         : amqp_table_begin_array(walk->writer, key);
    rc = is_object ? put_members(walk, value) : put_elements(walk, value);
    if (rc)
        return rc;
    amqp_table_end(walk->writer, begun_at);
    walk->depth--;
    return 0;
}

static int put(struct walk *walk, const char *key, json_t *value)
{
    if (++walk->entries > BOUND_TABLE_ENTRIES)
        return refuse(walk, "too many entries");
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return put_nested(walk, key, value);
    case JSON_STRING:
        amqp_table_put_str(walk->writer, key, json_text(value));
        break;
    case JSON_INTEGER:
        amqp_table_put_int(walk->writer, key, json_integer_value(value));
        break;
    case JSON_REAL:
        amqp_table_put_double(walk->writer, key, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        amqp_table_put_bool(walk->writer, key, json_is_true(value));
        break;
    case JSON_NULL:
        amqp_table_put_void(walk->writer, key);
        break;
    }
    return walk->writer->failed ? -ENOMEM : 0;
}

int json_table_write(json_t *object, struct amqp_table_writer *writer, struct amqp_text *path,
                     const char **ret_problem)
{
    struct walk walk = { .writer = writer, .path = path };
    int rc = put_members(&walk, object);

    if (rc == -EINVAL)
        *ret_problem = walk.problem;
    if (!rc && writer->failed)
        rc = -ENOMEM;
    return rc;
}

struct amqp_str json_text(const json_t *string)
{
    return (struct amqp_str){ json_string_value(string), json_string_length(string) };
}

json_t *json_as_object(json_t *value)
{
    json_t *object, *pair;
    size_t i;

    if (json_is_object(value))
        return json_incref(value);
    if (!json_is_array(value))
        return NULL;
    object = json_object();
    json_array_foreach (value, i, pair) {
        if (json_array_size(pair) != 2 || !json_is_string(json_array_get(pair, 0)) ||
            json_object_set(object, json_string_value(json_array_get(pair, 0)),
                            json_array_get(pair, 1))) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}
