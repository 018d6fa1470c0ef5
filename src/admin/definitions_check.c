/*
 * definitions_check.c - the first pass: is this file right, and if not, where is it wrong
 *
 * Nothing of the broker is changed. Most of what can be wrong is a missing field or one of another
 * type, so the fields of each kind of object are rows; what rows cannot say is in
 * definitions_rules.c. Sections are checked in the order in which they may refer to one another:
 * vhosts and users, then what names them. A reference may also be to what the broker has already,
 * or to an earlier file of the same import.
 *
 * Spec: operations.md 1.1 to 1.10. Unknown keys are ignored, as RabbitMQ does.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "admin/definitions-internal.h"
#include "admin/json_table.h"
#include "amqp/bounds.h"
#include "broker/vhost.h"

enum { PATH_BYTES = 512 };

enum field_kind {
    FIELD_NAME,    /* a string of 1 to 255 octets */
    FIELD_KEY,     /* a string of at most 255 octets */
    FIELD_STRING,
    FIELD_BOOL,
    FIELD_MAP,
    FIELD_TABLE,   /* a map that makes a field table */
    FIELD_VHOST,   /* the name of one that exists or is in the files */
    FIELD_USER,
    FIELD_ANY,
};

struct field {
    const char *name;
    enum field_kind kind;
    bool required;
};

#define REQUIRED(name, kind) { name, FIELD_##kind, true }
#define OPTIONAL(name, kind) { name, FIELD_##kind, false }

static const struct field vhost_fields[] = {
    REQUIRED("name", NAME),
    OPTIONAL("metadata", MAP),
    OPTIONAL("description", STRING),
    OPTIONAL("default_queue_type", STRING),
};

static const struct field user_fields[] = {
    REQUIRED("name", NAME),
    OPTIONAL("password_hash", STRING),
    OPTIONAL("hashing_algorithm", STRING),
    OPTIONAL("password", STRING),
    OPTIONAL("administrator", BOOL),
    OPTIONAL("limits", MAP),
};

static const struct field permission_fields[] = {
    REQUIRED("user", USER),    REQUIRED("vhost", VHOST), REQUIRED("configure", STRING),
    REQUIRED("write", STRING), REQUIRED("read", STRING),
};

static const struct field topic_permission_fields[] = {
    REQUIRED("user", USER),    REQUIRED("vhost", VHOST), REQUIRED("exchange", KEY),
    REQUIRED("write", STRING), REQUIRED("read", STRING),
};

static const struct field exchange_fields[] = {
    REQUIRED("name", KEY),
    REQUIRED("vhost", VHOST),
    REQUIRED("type", NAME),
    REQUIRED("durable", BOOL),
    REQUIRED("auto_delete", BOOL),
    OPTIONAL("internal", BOOL),
    OPTIONAL("arguments", TABLE),
};

static const struct field queue_fields[] = {
    REQUIRED("name", NAME),
    REQUIRED("vhost", VHOST),
    REQUIRED("durable", BOOL),
    REQUIRED("auto_delete", BOOL),
    OPTIONAL("arguments", TABLE),
    OPTIONAL("type", STRING),
};

static const struct field binding_fields[] = {
    REQUIRED("source", KEY),
    REQUIRED("vhost", VHOST),
    REQUIRED("destination", NAME),
    REQUIRED("destination_type", STRING),
    REQUIRED("routing_key", KEY),
    OPTIONAL("arguments", TABLE),
};

static const struct field policy_fields[] = {
    REQUIRED("name", NAME),
    REQUIRED("vhost", VHOST),
};

static const struct field parameter_fields[] = {
    REQUIRED("vhost", VHOST),
    REQUIRED("component", NAME),
    REQUIRED("name", NAME),
    REQUIRED("value", ANY),
};

static const struct field global_parameter_fields[] = {
    REQUIRED("name", NAME),
    REQUIRED("value", ANY),
};

struct section {
    const char *name;
    const struct field *fields;
    size_t n_fields;
    int (*check)(struct definitions_check *check, json_t *object);
};

#define SECTION(name, kind)                                \
    { name, kind##_fields, N_ELEMENTS(kind##_fields), definitions_check_##kind }

static const struct section sections[] = {
    SECTION("vhosts", vhost),
    SECTION("users", user),
    SECTION("permissions", permission),
    SECTION("topic_permissions", topic_permission),
    SECTION("exchanges", exchange),
    SECTION("queues", queue),
    SECTION("bindings", binding),
    SECTION("policies", policy),
    SECTION("parameters", parameter),
    SECTION("global_parameters", global_parameter),
};

int definitions_refuse(struct definitions_check *check, const char *format, ...)
{
    struct amqp_text text = amqp_text_over(check->error.text, check->error.size);
    char what[PATH_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    amqp_text_printf(&text, "%s: %s[%zu]%s", check->source, check->section, check->index, what);
    return -EINVAL;
}

int definitions_no_memory(struct definitions_error error)
{
    snprintf(error.text, error.size, "definitions: out of memory");
    return -ENOMEM;
}

int definitions_check_map(struct definitions_check *check, json_t *object, const char *prefix,
                          const char *name)
{
    json_t *map = json_as_object(json_object_get(object, name));

    if (!map)
        return definitions_refuse(check, "%s.%s: expected an object", prefix, name);
    return json_object_set_new(object, name, map) ? definitions_no_memory(check->error) : 0;
}

int definitions_check_table(struct definitions_check *check, json_t *object, const char *name)
{
    struct amqp_table_writer writer = { 0 };
    char where[PATH_BYTES];
    struct amqp_text path = amqp_text_over(where, sizeof where);
    const char *problem;
    int rc = definitions_check_map(check, object, "", name);

    if (rc)
        return rc;
    rc = json_table_write(json_object_get(object, name), &writer, &path, &problem);
    amqp_table_writer_release(&writer);
    if (rc == -EINVAL)
        return definitions_refuse(check, ".%s%s: %s", name, where, problem);
    return rc ? definitions_no_memory(check->error) : 0;
}

static int check_string(struct definitions_check *check, const struct field *field, json_t *value)
{
    size_t size = json_string_length(value);

    if (!json_is_string(value))
        return definitions_refuse(check, ".%s: expected a string", field->name);
    if (field->kind == FIELD_STRING)
        return 0;
    if (size == 0 && field->kind != FIELD_KEY)
        return definitions_refuse(check, ".%s: must not be empty", field->name);
    if (size > BOUND_NAME_BYTES)
        return definitions_refuse(check, ".%s: longer than 255 octets", field->name);
    return 0;
}

static int check_vhost(struct definitions_check *check, const struct field *field, json_t *value)
{
    int rc = check_string(check, field, value);

    if (rc)
        return rc;
    if (json_object_get(check->vhosts, json_string_value(value)) ||
        broker_find_vhost(check->broker, json_text(value)))
        return 0;
    return definitions_refuse(check, ".%s: no such vhost: '%s'", field->name,
                              json_string_value(value));
}

static int check_user(struct definitions_check *check, const struct field *field, json_t *value)
{
    const char *name = json_string_value(value);
    int rc = check_string(check, field, value);

    if (rc || auth_find_user(check->trial, name))
        return rc;
    if (!auth_find_user(check->broker->auth, name))
        return definitions_refuse(check, ".%s: no such user: '%s'", field->name, name);
    rc = auth_put_user(check->trial, name, AUTH_HASHING_SHA256, "", "");
    return rc ? definitions_no_memory(check->error) : 0;
}

static int check_field(struct definitions_check *check, const struct field *field, json_t *object)
{
    json_t *value = json_object_get(object, field->name);

    if (json_is_null(value) && field->kind != FIELD_ANY) {
        (void)json_object_del(object, field->name); /* it is there */
        value = NULL;
    }
    if (!value)
        return field->required ? definitions_refuse(check, ".%s: missing", field->name) : 0;
    switch (field->kind) {
    case FIELD_NAME:
    case FIELD_KEY:
    case FIELD_STRING:
        return check_string(check, field, value);
    case FIELD_BOOL:
        if (json_is_boolean(value))
            return 0;
        return definitions_refuse(check, ".%s: expected true or false", field->name);
    case FIELD_MAP:
        return definitions_check_map(check, object, "", field->name);
    case FIELD_TABLE:
        return definitions_check_table(check, object, field->name);
    case FIELD_VHOST:
        return check_vhost(check, field, value);
    case FIELD_USER:
        return check_user(check, field, value);
    case FIELD_ANY:
        return 0;
    }
    assert(false);
    return -EINVAL;
}

static int check_object(struct definitions_check *check, const struct section *section,
                        json_t *object)
{
    int rc = 0;

    if (!json_is_object(object))
        return definitions_refuse(check, ": expected an object");
    for (size_t i = 0; i < section->n_fields && !rc; i++)
        rc = check_field(check, &section->fields[i], object);
    return rc ? rc : section->check(check, object);
}

static int refuse_file(struct definitions_check *check, const char *section, const char *what)
{
    snprintf(check->error.text, check->error.size, "%s: %s%s%s", check->source, section,
             *section ? ": " : "", what);
    return -EINVAL;
}

static int check_section(struct definitions_check *check, const struct section *section,
                         json_t *root)
{
    json_t *array = json_object_get(root, section->name);
    json_t *object;
    int rc = 0;

    if (!array || json_is_null(array))
        return 0;
    if (!json_is_array(array))
        return refuse_file(check, section->name, "expected an array");
    check->section = section->name;
    json_array_foreach (array, check->index, object) {
        rc = check_object(check, section, object);
        if (rc)
            return rc;
    }
    return 0;
}

/* The export of one vhost: its objects do not say where they belong. */
static bool is_single_vhost(json_t *root)
{
    static const char *const located[] = { "exchanges", "queues", "bindings" };
    const char *format = json_string_value(json_object_get(root, "rabbitmq_definition_format"));

    if (format && strcmp(format, "single_virtual_host") == 0)
        return true;
    if (json_object_get(root, "vhosts"))
        return false;
    for (size_t i = 0; i < N_ELEMENTS(located); i++) {
        json_t *first = json_array_get(json_object_get(root, located[i]), 0);

        if (json_is_object(first) && !json_object_get(first, "vhost"))
            return true;
    }
    return false;
}

/* Users of old files do not name their algorithm: MD5 before 3.6 (operations.md 1.2). */
static enum auth_hashing default_hashing(json_t *root)
{
    const char *version = json_string_value(json_object_get(root, "rabbitmq_version"));

    if (!version)
        version = json_string_value(json_object_get(root, "rabbit_version"));
    if (version && strncmp(version, "3.", 2) == 0 && version[2] >= '0' && version[2] <= '5' &&
        (version[3] == '.' || !version[3]))
        return AUTH_HASHING_MD5;
    return AUTH_HASHING_SHA256;
}

int definitions_check_file(struct definitions_check *check, json_t *root, const char *source)
{
    int rc = 0;

    check->source = source;
    if (!json_is_object(root))
        return refuse_file(check, "", "expected a JSON object");
    if (is_single_vhost(root))
        return refuse_file(check, "",
                           "this is the export of a single vhost: its queues and exchanges do not "
                           "say which vhost they belong to. Give the export of the whole broker, "
                           "or add a \"vhost\" to each object.");
    check->hashing = default_hashing(root);
    for (size_t i = 0; i < N_ELEMENTS(sections) && !rc; i++)
        rc = check_section(check, &sections[i], root);
    return rc;
}

int definitions_check_init(struct definitions_check *check, struct broker *broker,
                           struct definitions_error error)
{
    *check = (struct definitions_check){
        .broker = broker, .trial = auth_new(), .vhosts = json_object(), .error = error
    };
    return check->trial && check->vhosts ? 0 : definitions_no_memory(error);
}

void definitions_check_release(struct definitions_check *check)
{
    auth_free(check->trial);
    json_decref(check->vhosts);
}
