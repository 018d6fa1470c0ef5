/*
 * definitions_check.c - the first pass: is this file right, and if not, where is it wrong
 *
 * Nothing of the broker is changed. Most of what can be wrong is a missing field or one of another
 * type, so the fields of each kind of object are rows; what rows cannot say is in
 * definitions_rules.c. Sections are checked in the order in which they may refer to one another:
 * vhosts and users, then what names them. A reference may also be to what the broker has already,
 * or to an earlier file of the same import.
 *
 * An object with a mistake is named all the same for those that refer to it, so that one mistake is
 * not reported twice.
 *
 * Spec: operations.md 1.1 to 1.10. Unknown members are ignored, as RabbitMQ does; at the top of the
 * file they are reported, or refused where they look like a section's name misspelt.
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
#include "server/edit_distance.h"

enum { PATH_BYTES = 512, LINE_BYTES = 1024, TAIL_BYTES = 160 };

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
    OPTIONAL("tags", ANY),
    OPTIONAL("limits", ANY), /* of no effect: parameters set them */
    OPTIONAL("tracing", ANY),
};

static const struct field user_fields[] = {
    REQUIRED("name", NAME),
    OPTIONAL("password_hash", STRING),
    OPTIONAL("hashing_algorithm", STRING),
    OPTIONAL("password", STRING),
    OPTIONAL("administrator", BOOL),
    OPTIONAL("limits", MAP),
    OPTIONAL("tags", ANY),
    OPTIONAL("permissions", ANY),
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
    OPTIONAL("pattern", ANY),
    OPTIONAL("apply-to", ANY),
    OPTIONAL("priority", ANY),
    OPTIONAL("definition", ANY),
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

struct definitions_section {
    const char *name;
    const char *kind; /* of one object, in front of its name */
    const struct field *fields;
    size_t n_fields;
    int (*check)(struct definitions_check *check, json_t *object);
};

#define SECTION(name, kind, word)                                \
    { name, word, kind##_fields, N_ELEMENTS(kind##_fields), definitions_check_##kind }

static const struct definitions_section sections[] = {
    SECTION("vhosts", vhost, "vhost"),
    SECTION("users", user, "user"),
    SECTION("permissions", permission, "permissions of user"),
    SECTION("topic_permissions", topic_permission, "topic permissions of user"),
    SECTION("exchanges", exchange, "exchange"),
    SECTION("queues", queue, "queue"),
    SECTION("bindings", binding, "binding of exchange"),
    SECTION("policies", policy, "policy"),
    SECTION("parameters", parameter, "parameter"),
    SECTION("global_parameters", global_parameter, "global parameter"),
};

/* Other members of a file, which say nothing that is to be imported. */
static const char *const other_members[] = {
    "rabbit_version", "rabbitmq_version", "product_name", "product_version",
    "rabbitmq_definition_format", "original_cluster_name", "original_vhost_name", "explanation",
    "metadata", "description", "limits", "default_queue_type", "tags",
};

/* --- lines for the operator --- */

/* One line more, if it fits and leaves room for what definitions_check_end() adds. */
static void add_problem(struct definitions_check *check, const char *line)
{
    struct amqp_text *problems = &check->problems;

    if (check->n_problems && strlen(line) + TAIL_BYTES >= problems->size - problems->length)
        check->n_unlisted++;
    else
        amqp_text_printf(problems, "%s%s", check->n_problems ? "\n" : "", line);
    check->n_problems++;
}

static const char *string_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* " (queue 'jobs' in vhost 'shop')"; nothing for an object without a name. */
static void name_object(const struct definitions_check *check, struct amqp_text *line)
{
    static const char *const names[] = { "name", "user", "source" };
    const char *vhost = string_of(check->object, "vhost");
    const char *destination = string_of(check->object, "destination");
    const char *name = NULL;

    for (size_t i = 0; i < N_ELEMENTS(names) && !name; i++)
        name = string_of(check->object, names[i]);
    if (!name || !*name)
        return;
    amqp_text_printf(line, " (%s '%.255s'", check->section->kind, name);
    if (destination)
        amqp_text_printf(line, " to '%.255s'", destination);
    if (vhost)
        amqp_text_printf(line, " in vhost '%.255s'", vhost);
    amqp_text_put(line, ')');
}

static void format_line(const struct definitions_check *check, char line[LINE_BYTES],
                        const char *format, va_list args)
{
    struct amqp_text text = amqp_text_over(line, LINE_BYTES);
    char what[PATH_BYTES];

    vsnprintf(what, sizeof what, format, args);
    amqp_text_printf(&text, "%s: %s[%zu]%s", check->source, check->section->name, check->index,
                     what);
    name_object(check, &text);
}

int definitions_refuse(struct definitions_check *check, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;

    va_start(args, format);
    format_line(check, line, format, args);
    va_end(args);
    add_problem(check, line);
    return -EINVAL;
}

int definitions_unsupported(struct definitions_check *check, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;

    va_start(args, format);
    format_line(check, line, format, args);
    va_end(args);
    if (check->request->skip_unsupported) {
        broker_log(check->broker, BROKER_LOG_WARNING, "%s: left out", line);
        return DEFINITIONS_LEFT_OUT;
    }
    add_problem(check, line);
    check->has_unsupported = true;
    return -EINVAL;
}

int definitions_note_without_effect(struct definitions_check *check, const char *what,
                                    const char *name)
{
    json_t *names = json_object_get(check->without_effect, what);
    json_int_t count = json_integer_value(json_object_get(names, name));

    if (!names && json_object_set_new(check->without_effect, what, names = json_object()))
        return definitions_no_memory(check->error);
    return json_object_set_new(names, name, json_integer(count + 1))
               ? definitions_no_memory(check->error)
               : 0;
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

int definitions_write_table(json_t *object, struct amqp_table_writer *writer)
{
    char where[1];
    struct amqp_text path = amqp_text_over(where, sizeof where);
    const char *problem;

    return object ? json_table_write(object, writer, &path, &problem) : 0;
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

static bool has_field(const struct definitions_section *section, const char *name)
{
    for (size_t i = 0; i < section->n_fields; i++) {
        if (strcmp(name, section->fields[i].name) == 0)
            return true;
    }
    return false;
}

/* A member that looks like a field's name misspelt: a limit in it must not be lost silently. */
static int check_spelling(struct definitions_check *check, const json_t *object)
{
    const struct definitions_section *section = check->section;
    const char *name;
    json_t *value;
    int rc = 0;

    json_object_foreach ((json_t *)object, name, value) {
        for (size_t i = 0; i < section->n_fields && !has_field(section, name); i++) {
            const char *field = section->fields[i].name;

            if (edit_distance(name, field) <= NEAR_MISS_MAX) {
                rc = definitions_refuse(check, ".%s: not known here; did you mean '%s'?", name,
                                        field);
                break;
            }
        }
    }
    return rc;
}

static int check_object(struct definitions_check *check, json_t *object)
{
    const struct definitions_section *section = check->section;
    int rc = 0;

    check->object = object;
    if (!json_is_object(object))
        return definitions_refuse(check, ": expected an object");
    rc = check_spelling(check, object);
    for (size_t i = 0; i < section->n_fields; i++) {
        int field_rc = check_field(check, &section->fields[i], object);

        if (field_rc == -ENOMEM)
            return -ENOMEM;
        if (field_rc)
            rc = field_rc;
    }
    return rc ? rc : section->check(check, object);
}

void definitions_name_key(bool queue, const char *vhost, const char *name,
                          char ret_key[DEFINITIONS_NAME_KEY_BYTES])
{
    (void)snprintf(ret_key, DEFINITIONS_NAME_KEY_BYTES, "%c%s/%s", queue ? 'q' : 'e', vhost, name);
}

/* Bindings may refer to it. */
static int note_end(struct definitions_check *check, const json_t *object)
{
    bool queue = strcmp(check->section->name, "queues") == 0;
    char key[DEFINITIONS_NAME_KEY_BYTES];

    if (!queue && strcmp(check->section->name, "exchanges") != 0)
        return 0;
    definitions_name_key(queue, string_of(object, "vhost"), string_of(object, "name"), key);
    return json_object_set_new(check->named, key, json_true()) ? definitions_no_memory(check->error)
                                                               : 0;
}

/* Others may refer to it: that it is wrong has been said. */
static int note_name(struct definitions_check *check, const json_t *object)
{
    const char *name = string_of(object, "name");
    int rc = 0;

    if (!name || !*name)
        return 0;
    if (strcmp(check->section->name, "vhosts") == 0)
        rc = json_object_set_new(check->vhosts, name, json_true());
    else if (strcmp(check->section->name, "users") == 0 && !auth_find_user(check->trial, name))
        rc = auth_put_user(check->trial, name, AUTH_HASHING_SHA256, "", "");
    return rc ? definitions_no_memory(check->error) : 0;
}

static int refuse_file(struct definitions_check *check, const char *member, const char *what)
{
    char line[LINE_BYTES];

    snprintf(line, sizeof line, "%s: %s%s%s", check->source, member, *member ? ": " : "", what);
    add_problem(check, line);
    return -EINVAL;
}

/* 0, with mistakes or without, or -ENOMEM. What is left out is removed from the array. */
static int check_section(struct definitions_check *check, json_t *root)
{
    json_t *array = json_object_get(root, check->section->name);
    size_t n = json_array_size(array), at = 0;

    if (!array || json_is_null(array))
        return 0;
    if (!json_is_array(array)) {
        (void)refuse_file(check, check->section->name, "expected an array"); /* it is noted */
        return 0;
    }
    for (check->index = 0; check->index < n; check->index++) {
        json_t *object = json_array_get(array, at);
        int rc = check_object(check, object);

        if (!rc)
            rc = note_end(check, object);
        if (rc == -EINVAL)
            rc = note_name(check, object);
        if (rc == DEFINITIONS_LEFT_OUT)
            (void)json_array_remove(array, at); /* it is there */
        else if (rc)
            return rc;
        else
            at++;
    }
    return 0;
}

/* --- the file as a whole --- */

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

static bool is_other_member(const char *name)
{
    for (size_t i = 0; i < N_ELEMENTS(other_members); i++) {
        if (strcmp(name, other_members[i]) == 0)
            return true;
    }
    return false;
}

static const char *section_name(size_t i)
{
    return i < N_ELEMENTS(sections) ? sections[i].name : NULL;
}

/* Members that nobody reads: a queue in "queus" must not be lost silently. */
static void check_members(struct definitions_check *check, const json_t *root)
{
    const char *name, *nearest;
    char what[PATH_BYTES];
    json_t *value;

    json_object_foreach ((json_t *)root, name, value) {
        nearest = nearest_word(name, section_name);
        if (is_other_member(name) || (nearest && strcmp(nearest, name) == 0))
            continue;
        if (!nearest) {
            broker_log(check->broker, BROKER_LOG_WARNING,
                       "%s: '%s' is not known here and has no effect", check->source, name);
            continue;
        }
        snprintf(what, sizeof what, "not known here; did you mean '%s'?", nearest);
        (void)refuse_file(check, name, what); /* it is noted */
    }
}

int definitions_check_file(struct definitions_check *check, json_t *root, const char *source)
{
    int rc = 0;

    check->source = source;
    if (!json_is_object(root)) {
        (void)refuse_file(check, "", "expected a JSON object"); /* it is noted */
        return 0;
    }
    check_members(check, root);
    if (is_single_vhost(root))
        rc = definitions_prepare_single_vhost(check, root);
    if (rc == -EINVAL) {
        (void)refuse_file(check, "",
                          "this is the export of a single vhost and does not say which: its name "
                          "has to be given with definitions.vhost"); /* it is noted */
        return 0;
    }
    check->hashing = default_hashing(root);
    for (size_t i = 0; i < N_ELEMENTS(sections) && !rc; i++) {
        check->section = &sections[i];
        rc = check_section(check, root);
    }
    return rc;
}

static void report_without_effect(const struct definitions_check *check, const char *what,
                                  json_t *names)
{
    char list[PATH_BYTES];
    struct amqp_text text = amqp_text_over(list, sizeof list);
    const char *name;
    json_t *count;

    json_object_foreach (names, name, count) {
        amqp_text_printf(&text, "%s%s", text.length ? ", " : "", name);
        if (json_integer_value(count) > 1)
            amqp_text_printf(&text, " (%" JSON_INTEGER_FORMAT ")", json_integer_value(count));
    }
    broker_log(check->broker, BROKER_LOG_WARNING,
               "definitions: %s that have no effect in this version: %s", what, list);
}

int definitions_check_end(struct definitions_check *check)
{
    const char *what;
    json_t *names;

    if (check->n_unlisted)
        amqp_text_printf(&check->problems, "\n... and %u more", check->n_unlisted);
    if (check->has_unsupported)
        amqp_text_printf(&check->problems, "\ndefinitions.skip_unsupported = true leaves out what "
                                           "this version cannot do");
    if (check->n_problems)
        return -EINVAL;
    json_object_foreach (check->without_effect, what, names)
        report_without_effect(check, what, names);
    return 0;
}

int definitions_check_init(struct definitions_check *check,
                           const struct definitions_request *request,
                           struct definitions_error error)
{
    *check = (struct definitions_check){
        .request = request, .broker = request->broker, .trial = auth_new(),
        .vhosts = json_object(), .named = json_object(), .without_effect = json_object(),
        .error = error,
        .problems = amqp_text_over(error.text, error.size)
    };
    return check->trial && check->vhosts && check->named && check->without_effect
               ? 0
               : definitions_no_memory(error);
}

void definitions_check_release(struct definitions_check *check)
{
    auth_free(check->trial);
    json_decref(check->vhosts);
    json_decref(check->named);
    json_decref(check->without_effect);
}
