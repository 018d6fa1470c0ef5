/*
 * definitions_rules.c - what each kind of object must obey beyond the types of its fields
 *
 * Called when the fields have been checked. Each rule also brings its object into the canonical
 * form of definitions-internal.h. Permissions are not judged here: they are put to the trial auth,
 * whose answer is the one that the broker's will give.
 *
 * What is deliberately let through: parameters of shovels and federation, and policy keys of mirroring
 * and cluster placement, which are kept and exported again. What this version cannot do is a mistake
 * unless the request leaves it out: streams, unknown exchange types, policy keys and components.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "admin/definitions-internal.h"
#include "admin/json_table.h"
#include "broker/exchange.h"
#include "broker/policy.h"
#include "broker/queue_arguments.h"
#include "broker/vhost_limits.h"
#include "server/edit_distance.h"

static void text_free(char *text)
{
    free(text);
}
DEFINE_OWNED(text_free, char *)

static const char *string_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static int set(struct definitions_check *check, json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) ? definitions_no_memory(check->error) : 0;
}

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(word, *words) == 0)
            return true;
    }
    return false;
}

/* A word that is not known: a known one misspelt is a mistake, any other is for another version.
 * @what: where it is and what it should have been, without the word */
static int unknown(struct definitions_check *check, const char *what, const char *word,
                   const char *(*name_at)(size_t i))
{
    const char *nearest = nearest_word(word, name_at);

    if (!nearest || strcmp(nearest, word) == 0)
        return definitions_unsupported(check, "%s '%s'", what, word);
    return definitions_refuse(check, "%s '%s'; did you mean '%s'?", what, word, nearest);
}

/* --- vhosts --- */

/* The words of "production, eu" as an array. */
static json_t *split_tags(const char *text)
{
    json_t *tags = json_array();

    while (*text) {
        size_t size;

        text += strspn(text, ", ");
        size = strcspn(text, ",");
        if (size && json_array_append_new(tags, json_stringn(text, size))) {
            json_decref(tags);
            return NULL;
        }
        text += size;
    }
    return tags;
}

static bool all_strings(json_t *array)
{
    json_t *element;
    size_t i;

    json_array_foreach (array, i, element) {
        if (!json_is_string(element))
            return false;
    }
    return json_is_array(array);
}

static int check_vhost_tags(struct definitions_check *check, json_t *metadata)
{
    json_t *tags = json_object_get(metadata, "tags");

    if (json_is_string(tags))
        return set(check, metadata, "tags", split_tags(json_string_value(tags)));
    if (tags && !all_strings(tags))
        return definitions_refuse(check, ".tags: expected an array of strings, or one string");
    return 0;
}

/* What a member of the vhost itself says goes to its metadata, where newer files have it. */
static int move_to_metadata(struct definitions_check *check, json_t *vhost, json_t *metadata,
                            const char *name)
{
    json_t *outer = json_object_get(vhost, name);

    if (!outer || json_is_null(outer) || json_object_get(metadata, name))
        return 0;
    return set(check, metadata, name, json_incref(outer));
}

static void drop_unset(json_t *metadata)
{
    const char *type = string_of(metadata, "default_queue_type");
    const char *key;
    json_t *value;
    void *next;

    if (type && strcmp(type, "undefined") == 0) /* 3.10's word for none */
        (void)json_object_del(metadata, "default_queue_type");
    json_object_foreach_safe (metadata, next, key, value) {
        if (json_is_null(value))
            (void)json_object_del(metadata, key);
    }
}

/* Durable queues of this vhost that say no type would be refused, or made with another one. */
static int check_default_type(struct definitions_check *check, json_t *metadata)
{
    static const char *const types[] = { "classic", "quorum", NULL };
    json_t *type = json_object_get(metadata, "default_queue_type");
    int rc;

    if (!json_is_string(type) || is_one_of(json_string_value(type), types))
        return 0;
    if (strcmp(json_string_value(type), "stream") != 0)
        return definitions_refuse(check, ".default_queue_type: expected classic, quorum or stream");
    rc = definitions_unsupported(check, ".default_queue_type: there are no streams in this version");
    if (rc != DEFINITIONS_LEFT_OUT)
        return rc;
    (void)json_object_del(metadata, "default_queue_type"); /* it is there */
    return 0;
}

int definitions_check_vhost(struct definitions_check *check, json_t *vhost)
{
    static const char *const movable[] = { "description", "tags", "default_queue_type" };
    json_t *metadata = json_object_get(vhost, "metadata");
    int rc = 0;

    if (!metadata) {
        rc = set(check, vhost, "metadata", json_object());
        metadata = json_object_get(vhost, "metadata");
    }
    for (size_t i = 0; i < N_ELEMENTS(movable) && !rc; i++)
        rc = move_to_metadata(check, vhost, metadata, movable[i]);
    if (rc)
        return rc;
    drop_unset(metadata);
    rc = check_vhost_tags(check, metadata);
    if (!rc)
        rc = check_default_type(check, metadata);
    if (!rc && json_object_get(vhost, "limits"))
        rc = definitions_note_without_effect(check, "members of vhosts", "limits (they are set by "
                                                    "parameters of the component vhost-limits)");
    if (rc)
        return rc;
    for (size_t i = 0; i < N_ELEMENTS(movable); i += 2) {
        json_t *value = json_object_get(metadata, movable[i]);

        if (value && !json_is_string(value))
            return definitions_refuse(check, ".metadata.%s: expected a string", movable[i]);
    }
    rc = definitions_check_table(check, vhost, "metadata");
    return rc ? rc : set(check, check->vhosts, string_of(vhost, "name"), json_true());
}

/* --- users and permissions --- */

static int join_tags(struct definitions_check *check, json_t *user, json_t *array)
{
    size_t bytes = 1, i;
    json_t *tag;
    OWNED(text_free) char *joined = NULL;
    char *at;

    json_array_foreach (array, i, tag)
        bytes += json_string_length(tag) + 1;
    joined = malloc(bytes);
    if (!joined)
        return definitions_no_memory(check->error);
    at = joined;
    json_array_foreach (array, i, tag) {
        if (i)
            *at++ = ',';
        memcpy(at, json_string_value(tag), json_string_length(tag));
        at += json_string_length(tag);
    }
    *at = '\0';
    return set(check, user, "tags", json_string(joined));
}

static int check_user_tags(struct definitions_check *check, json_t *user)
{
    json_t *tags = json_object_get(user, "tags");
    json_t *administrator = json_object_get(user, "administrator");

    if (json_is_string(tags))
        return 0;
    if (all_strings(tags))
        return join_tags(check, user, tags);
    if (tags && !json_is_null(tags))
        return definitions_refuse(check, ".tags: expected an array of strings, or one string");
    if (!administrator)
        return definitions_refuse(check, ".tags: missing");
    return set(check, user, "tags",
               json_string(json_is_true(administrator) ? "administrator" : ""));
}

/* @ret: stays what it is where the user does not say */
static int check_hashing(struct definitions_check *check, json_t *user, enum auth_hashing *ret)
{
    static const struct {
        const char *name;
        enum auth_hashing hashing;
    } algorithms[] = {
        { "rabbit_password_hashing_sha256", AUTH_HASHING_SHA256 },
        { "rabbit_password_hashing_sha512", AUTH_HASHING_SHA512 },
        { "rabbit_password_hashing_md5", AUTH_HASHING_MD5 },
    };
    const char *name = string_of(user, "hashing_algorithm");

    if (!name)
        return 0;
    for (size_t i = 0; i < N_ELEMENTS(algorithms); i++) {
        if (strcmp(name, algorithms[i].name) == 0) {
            *ret = algorithms[i].hashing;
            return 0;
        }
    }
    return definitions_refuse(check, ".hashing_algorithm: unknown: '%s'", name);
}

/* A password becomes a hash: the one it has already where it is the same, so nothing changes. */
static int hash_password(struct definitions_check *check, json_t *user, enum auth_hashing *hashing)
{
    json_t *password = json_object_get(user, "password");
    struct amqp_bytes octets = { (const uint8_t *)json_string_value(password),
                                 json_string_length(password) };
    const struct user *known = auth_find_user(check->broker->auth, string_of(user, "name"));
    OWNED(text_free) char *hash = NULL;

    if (known && auth_check_password(known, octets)) {
        *hashing = known->hashing;
        return set(check, user, "password_hash", json_string(known->password_hash));
    }
    if (*hashing == AUTH_HASHING_MD5 || !json_object_get(user, "hashing_algorithm"))
        *hashing = check->broker->settings.password_hashing;
    hash = octets.size ? auth_hash_password(*hashing, octets) : strdup("");
    if (!hash)
        return definitions_no_memory(check->error);
    return set(check, user, "password_hash", json_string(hash));
}

static int check_user_password(struct definitions_check *check, json_t *user)
{
    json_t *hash = json_object_get(user, "password_hash");
    enum auth_hashing hashing = check->hashing;
    int rc = check_hashing(check, user, &hashing);

    if (rc)
        return rc;
    if (hash && json_object_get(user, "password"))
        return definitions_refuse(check, ": both password and password_hash are given");
    if (json_object_get(user, "password"))
        rc = hash_password(check, user, &hashing);
    else if (!hash)
        rc = set(check, user, "password_hash", json_string(""));
    if (rc)
        return rc;
    (void)json_object_del(user, "password"); /* there or not */
    return set(check, user, "hashing_algorithm", json_integer(hashing));
}

static int check_user_limits(struct definitions_check *check, json_t *user)
{
    static const char *const known[] = { "max-connections", "max-channels", NULL };
    const char *key;
    json_t *value;

    json_object_foreach (json_object_get(user, "limits"), key, value) {
        if (!is_one_of(key, known))
            return definitions_refuse(check, ".limits.%s: expected max-connections or max-channels",
                                      key);
        if (!json_is_integer(value))
            return definitions_refuse(check, ".limits.%s: expected an integer", key);
    }
    return 0;
}

int definitions_check_user(struct definitions_check *check, json_t *user)
{
    int rc = check_user_tags(check, user);

    if (!rc)
        rc = check_user_limits(check, user);
    if (!rc)
        rc = check_user_password(check, user);
    if (rc)
        return rc;
    rc = auth_put_user(check->trial, string_of(user, "name"),
                       (enum auth_hashing)json_integer_value(
                           json_object_get(user, "hashing_algorithm")),
                       string_of(user, "password_hash"), string_of(user, "tags"));
    if (rc == -EINVAL)
        return definitions_refuse(check, ".password_hash: not the base64 of a salt and a digest "
                                         "of its algorithm");
    return rc ? definitions_no_memory(check->error) : 0;
}

/* The text of a bad pattern begins with the name of its field. */
static int patterns_result(struct definitions_check *check, int rc, const char *text)
{
    if (rc == -EINVAL)
        return definitions_refuse(check, ".%s", text);
    return rc ? definitions_no_memory(check->error) : 0;
}

int definitions_check_permission(struct definitions_check *check, json_t *permission)
{
    char text[256];
    int rc = auth_put_permissions(check->trial, string_of(permission, "user"),
                                  string_of(permission, "vhost"),
                                  string_of(permission, "configure"),
                                  string_of(permission, "write"), string_of(permission, "read"),
                                  text, sizeof text);

    return patterns_result(check, rc, text);
}

int definitions_check_topic_permission(struct definitions_check *check, json_t *permission)
{
    char text[256];
    int rc = auth_put_topic_permissions(check->trial, string_of(permission, "user"),
                                        string_of(permission, "vhost"),
                                        string_of(permission, "exchange"),
                                        string_of(permission, "write"),
                                        string_of(permission, "read"), text, sizeof text);

    return patterns_result(check, rc, text);
}

/* --- exchanges, queues, bindings --- */

int definitions_check_exchange(struct definitions_check *check, json_t *exchange)
{
    json_t *type = json_object_get(exchange, "type");
    json_t *alternate = json_object_get(json_object_get(exchange, "arguments"),
                                        "alternate-exchange");

    const char *name;
    json_t *value;

    if (!exchange_type_find(json_text(type)))
        return unknown(check, ".type: unknown exchange type", json_string_value(type),
                       exchange_type_name_at);
    if (alternate && !json_is_string(alternate))
        return definitions_refuse(check, ".arguments.alternate-exchange: expected a string");
    json_object_foreach (json_object_get(exchange, "arguments"), name, value) {
        if (strcmp(name, "alternate-exchange") != 0 &&
            definitions_note_without_effect(check, "arguments of exchanges", name))
            return -ENOMEM;
    }
    return 0;
}

/* The known argument that an unknown one resembles is part of the report. */
static int note_argument(struct definitions_check *check, const char *name)
{
    const char *nearest = nearest_word(name, queue_argument_name);
    char text[640];

    if (queue_argument_is_known(amqp_str_from(name)))
        return 0;
    snprintf(text, sizeof text, nearest ? "%.255s (did you mean '%s'?)" : "%.255s", name, nearest);
    return definitions_note_without_effect(check, "arguments of queues", text);
}

/* The same checks as those of queue.declare, and unknown arguments are noted. */
static int check_queue_arguments(struct definitions_check *check, const json_t *queue)
{
    json_t *arguments = json_object_get(queue, "arguments"), *value;
    struct queue_properties properties = {
        .name = json_text(json_object_get(queue, "name")),
        .durable = json_is_true(json_object_get(queue, "durable")),
        .auto_delete = json_is_true(json_object_get(queue, "auto_delete")),
    };
    struct amqp_table_writer writer = { 0 };
    struct amqp_error err = { 0 };
    const char *name;
    int rc = definitions_write_table(arguments, &writer);

    properties.arguments = amqp_table_written(&writer);
    if (!rc)
        rc = queue_arguments_check_values(string_of(queue, "vhost"), &properties, &err);
    amqp_table_writer_release(&writer);
    if (rc > 0)
        return definitions_refuse(check, ": %s", err.text);
    if (rc)
        return definitions_no_memory(check->error);
    json_object_foreach (arguments, name, value) {
        if (note_argument(check, name))
            return -ENOMEM;
    }
    return 0;
}

/* The type of a queue, which a member or an argument says, becomes an argument. */
static int set_queue_type(struct definitions_check *check, json_t *queue, const char *type)
{
    json_t *arguments = json_object_get(queue, "arguments");

    if (json_object_get(arguments, "x-queue-type") || !type || strcmp(type, "classic") == 0)
        return 0;
    if (!arguments) {
        int rc = set(check, queue, "arguments", json_object());

        if (rc)
            return rc;
        arguments = json_object_get(queue, "arguments");
    }
    return set(check, arguments, "x-queue-type", json_string(type));
}

int definitions_check_queue(struct definitions_check *check, json_t *queue)
{
    static const char *const types[] = { "classic", "quorum", "stream", NULL };
    const char *type = string_of(queue, "type");
    json_t *arguments = json_object_get(queue, "arguments");
    json_t *argument = json_object_get(arguments, "x-queue-type");
    int rc;

    if (type && !is_one_of(type, types))
        return definitions_refuse(check, ".type: expected classic, quorum or stream");
    if (argument && !(json_is_string(argument) && is_one_of(json_string_value(argument), types)))
        return definitions_refuse(check,
                                  ".arguments.x-queue-type: expected classic, quorum or stream");
    if (argument)
        type = json_string_value(argument);
    if (type && strcmp(type, "stream") == 0)
        return definitions_unsupported(check, ": there are no streams in this version");
    rc = set_queue_type(check, queue, type);
    return rc ? rc : check_queue_arguments(check, queue);
}

/* Whether one of this name is in the files or in the broker. */
static bool exists(const struct definitions_check *check, bool queue, const json_t *object,
                   const char *member)
{
    const struct vhost *vhost = broker_find_vhost(check->broker,
                                                  json_text(json_object_get(object, "vhost")));
    struct amqp_str name = json_text(json_object_get(object, member));
    char key[DEFINITIONS_NAME_KEY_BYTES];

    definitions_name_key(queue, string_of(object, "vhost"), string_of(object, member), key);
    if (json_object_get(check->named, key) || amqp_str_starts_with(name, AMQP_STR("amq.")))
        return true;
    return vhost && (queue ? vhost_get_queue(vhost, name) != NULL
                           : vhost_get_exchange(vhost, name) != NULL);
}

/* What the import drops, as RabbitMQ does, a check alone reports. */
int definitions_check_binding(struct definitions_check *check, json_t *binding)
{
    static const char *const types[] = { "queue", "exchange", NULL };
    bool to_queue = strcmp(string_of(binding, "destination_type"), "queue") == 0;

    if (!is_one_of(string_of(binding, "destination_type"), types))
        return definitions_refuse(check, ".destination_type: expected queue or exchange");
    if (check->request->check_only &&
        (!exists(check, false, binding, "source") ||
         !exists(check, to_queue, binding, "destination")))
        broker_log(check->broker, BROKER_LOG_WARNING,
                   "%s: bindings[%zu]: would be dropped, as one of its ends does not exist "
                   "(exchange '%s' to %s '%s' in vhost '%s')",
                   check->source, check->index, string_of(binding, "source"),
                   string_of(binding, "destination_type"), string_of(binding, "destination"),
                   string_of(binding, "vhost"));
    return 0;
}

/* --- policies and parameters --- */

static int check_pattern(struct definitions_check *check, const char *prefix, json_t *pattern)
{
    struct amqp_str text = json_text(pattern);
    char message[128];
    PCRE2_SIZE offset;
    pcre2_code *code;
    int error;

    if (!json_is_string(pattern))
        return definitions_refuse(check, "%s.pattern: %s", prefix,
                                  pattern ? "expected a string" : "missing");
    if (text.size > DEFINITIONS_PATTERN_BYTES_MAX)
        return definitions_refuse(check, "%s.pattern: longer than %d octets", prefix,
                                  DEFINITIONS_PATTERN_BYTES_MAX);
    code = pcre2_compile((PCRE2_SPTR)text.data, text.size, PCRE2_NEVER_UTF, &error, &offset, NULL);
    if (code) {
        pcre2_code_free(code);
        return 0;
    }
    if (error == PCRE2_ERROR_NOMEMORY)
        return definitions_no_memory(check->error);
    (void)pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof message);
    return definitions_refuse(check, "%s.pattern: %s at offset %zu", prefix, message,
                              (size_t)offset);
}

static int check_apply_to(struct definitions_check *check, const char *prefix, json_t *policy)
{
    static const char *const words[] = { "all", "queues", "exchanges", "classic_queues",
                                         "quorum_queues", "streams", NULL };
    json_t *apply_to = json_object_get(policy, "apply-to");

    if (!apply_to || json_is_null(apply_to))
        return set(check, policy, "apply-to", json_string("all"));
    if (json_is_string(apply_to) && is_one_of(json_string_value(apply_to), words))
        return 0;
    return definitions_refuse(check,
                              "%s.apply-to: expected all, queues, exchanges, classic_queues, "
                              "quorum_queues or streams",
                              prefix);
}

static int unknown_key(struct definitions_check *check, const char *prefix, enum policy_kind kind,
                       const char *key)
{
    char what[256];

    snprintf(what, sizeof what, "%s.definition: unknown %s key", prefix,
             kind == POLICY_USER ? "policy" : "operator policy");
    return unknown(check, what, key, policy_key_name);
}

/* Keys that are not known are refused or left out, each; of the others, those without effect noted. */
static int check_keys(struct definitions_check *check, const char *prefix, enum policy_kind kind,
                      json_t *definition)
{
    const char *key;
    json_t *value;
    void *next;
    int rc = 0;

    json_object_foreach_safe (definition, next, key, value) {
        int key_rc = 0;

        if (!policy_key_is_known(kind, key))
            key_rc = unknown_key(check, prefix, kind, key);
        else if (!policy_key_has_effect(key))
            key_rc = definitions_note_without_effect(check, "keys of policies", key);
        if (key_rc == -ENOMEM)
            return -ENOMEM;
        if (key_rc == DEFINITIONS_LEFT_OUT)
            (void)json_object_del(definition, key); /* it is there */
        else if (key_rc)
            rc = key_rc;
    }
    return rc ? rc : json_object_size(definition) == 0 ? DEFINITIONS_LEFT_OUT : 0;
}

static int check_definition(struct definitions_check *check, const char *prefix,
                            enum policy_kind kind, json_t *definition)
{
    char text[256];
    struct amqp_text problems = amqp_text_over(text, sizeof text);
    struct setting_values values;
    unsigned targets;
    int rc = check_keys(check, prefix, kind, definition);

    if (rc)
        return rc;
    if (!policy_definition_check(kind, definition, &problems, &values, &targets))
        return 0;
    return definitions_refuse(check, "%s.definition: %s", prefix, text);
}

/* @prefix: the path from the section's object to the policy, empty for a policy itself */
static int check_policy(struct definitions_check *check, const char *prefix, enum policy_kind kind,
                        json_t *policy)
{
    json_t *priority = json_object_get(policy, "priority");
    int rc = check_pattern(check, prefix, json_object_get(policy, "pattern"));

    if (!rc)
        rc = check_apply_to(check, prefix, policy);
    if (!rc)
        rc = definitions_check_map(check, policy, prefix, "definition");
    if (rc)
        return rc;
    if (json_object_size(json_object_get(policy, "definition")) == 0)
        return definitions_refuse(check, "%s.definition: must not be empty", prefix);
    if (priority && !json_is_null(priority) && !json_is_integer(priority))
        return definitions_refuse(check, "%s.priority: expected an integer", prefix);
    if (!priority || json_is_null(priority)) {
        rc = set(check, policy, "priority", json_integer(0));
        if (rc)
            return rc;
    }
    return check_definition(check, prefix, kind, json_object_get(policy, "definition"));
}

int definitions_check_policy(struct definitions_check *check, json_t *policy)
{
    return check_policy(check, "", POLICY_USER, policy);
}

static int check_limits(struct definitions_check *check, const json_t *parameter)
{
    json_t *limits = json_object_get(parameter, "value"), *value;
    struct vhost_limits parsed;
    char text[256];
    struct amqp_text problems = amqp_text_over(text, sizeof text);
    const char *key;

    if (strcmp(string_of(parameter, "name"), "limits") != 0)
        return definitions_refuse(check, ".name: expected limits");
    json_object_foreach (limits, key, value) {
        if (!json_is_integer(value))
            return definitions_refuse(check, ".value.%s: expected an integer", key);
    }
    if (!vhost_limits_parse("limits", limits, &problems, &parsed))
        return 0;
    return definitions_refuse(check, ".value: %s", text);
}

int definitions_check_parameter(struct definitions_check *check, json_t *parameter)
{
    static const char *const kept[] = { "shovel", "federation-upstream", "federation-upstream-set",
                                        NULL };
    const char *component = string_of(parameter, "component");
    bool operator_policy = strcmp(component, "operator_policy") == 0;
    int rc;

    if (is_one_of(component, kept))
        return definitions_note_without_effect(check, "parameters of components", component);
    if (!operator_policy && strcmp(component, "vhost-limits") != 0)
        return definitions_unsupported(check, ".component: component %s not found", component);
    rc = definitions_check_map(check, parameter, "", "value");
    if (rc)
        return rc;
    if (operator_policy)
        return check_policy(check, ".value", POLICY_OPERATOR,
                            json_object_get(parameter, "value"));
    return check_limits(check, parameter);
}

int definitions_check_global_parameter(struct definitions_check *check, json_t *parameter)
{
    json_t *value = json_object_get(parameter, "value");
    json_t *map;

    if (strcmp(string_of(parameter, "name"), "cluster_name") == 0 && !json_is_string(value))
        return definitions_refuse(check, ".value: expected a string");
    if (!json_is_array(value) || json_array_size(value) == 0)
        return 0; /* an empty array stays what it says */
    map = json_as_object(value);
    return map ? set(check, parameter, "value", map) : 0;
}

/* --- the export of a single vhost --- */

static int append(struct definitions_check *check, json_t *root, const char *section, json_t *object)
{
    json_t *array = json_object_get(root, section);

    if (!json_is_array(array)) {
        int rc = set(check, root, section, json_array());

        if (rc) {
            json_decref(object);
            return rc;
        }
        array = json_object_get(root, section);
    }
    return json_array_append_new(array, object) ? definitions_no_memory(check->error) : 0;
}

/* What the file says of the vhost itself, as an entry of `vhosts`. */
static int add_single_vhost(struct definitions_check *check, json_t *root, const char *vhost)
{
    static const char *const members[] = { "metadata", "description", "tags",
                                           "default_queue_type" };
    json_t *object = json_pack("{s:s}", "name", vhost);

    for (size_t i = 0; i < N_ELEMENTS(members); i++) {
        json_t *member = json_object_get(root, members[i]);

        if (member && json_object_set(object, members[i], member)) {
            json_decref(object);
            return definitions_no_memory(check->error);
        }
    }
    return append(check, root, "vhosts", object);
}

static int add_single_limits(struct definitions_check *check, json_t *root, const char *vhost)
{
    json_t *limits = json_as_object(json_object_get(root, "limits"));

    if (json_object_size(limits) == 0) {
        json_decref(limits);
        return 0;
    }
    return append(check, root, "parameters",
                  json_pack("{s:s, s:s, s:s, s:o}", "vhost", vhost, "component", "vhost-limits",
                            "name", "limits", "value", limits));
}

int definitions_prepare_single_vhost(struct definitions_check *check, json_t *root)
{
    static const char *const located[] = { "exchanges", "queues", "bindings", "policies",
                                           "parameters" };
    const char *vhost = check->request->vhost ? check->request->vhost
                                              : string_of(root, "original_vhost_name");
    int rc;

    if (!vhost)
        return -EINVAL;
    rc = add_single_vhost(check, root, vhost);
    if (!rc)
        rc = add_single_limits(check, root, vhost);
    for (size_t i = 0; i < N_ELEMENTS(located) && !rc; i++) {
        json_t *object;
        size_t at;

        json_array_foreach (json_object_get(root, located[i]), at, object) {
            if (json_is_object(object))
                rc = rc ? rc : set(check, object, "vhost", json_string(vhost));
        }
    }
    return rc;
}
