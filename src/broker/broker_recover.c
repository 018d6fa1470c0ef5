/*
 * broker_recover.c - building the broker from its store
 *
 * Records come kind by kind, so that whatever one refers to is there: vhosts, users, permissions,
 * exchanges, queues, bindings, policies. A record that cannot be understood stops the start with a
 * sentence: going on would lose what it stood for. The entries of queues follow, with ids in place
 * of queues; before them the policies are applied, so that entries meet the settings they had.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "broker/components.h"
#include "broker/exchange-internal.h"
#include "broker/meta-internal.h"
#include "broker/policy.h"
#include "broker/queue.h"

/* A queue by its id. */
struct recovered_queue {
    struct hash_link by_id;
    struct queue *queue;
    bool left_over; /* its deletion had begun */
    struct recovered_queue *next;
};

/* An exchange whose deletion had begun. */
struct left_over_exchange {
    struct exchange *exchange;
    struct left_over_exchange *next;
};

struct recovery {
    struct broker *broker;
    struct hash_table by_id;
    struct recovered_queue *queues;
    struct left_over_exchange *left_over_exchanges;
    struct queue *last; /* entries come queue by queue */
    char *error_text;
    size_t error_text_size;
};

/* A record: the names of its key, its value. */
struct record {
    struct meta_key key;
    struct amqp_table value;
};

PRINTF_LIKE(3, 4)
static int fail(struct recovery *recovery, int rc, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(recovery->error_text, recovery->error_text_size, format, arguments);
    va_end(arguments);
    return rc;
}

/* --- members of a record's value --- */

static bool get_member(const struct record *record, const char *name, char type,
                       struct amqp_value *ret_value)
{
    return amqp_table_get(record->value, amqp_str_from(name), ret_value) &&
           ret_value->type == type;
}

static bool get_bool(const struct record *record, const char *name, bool *ret_value)
{
    struct amqp_value value;

    if (!get_member(record, name, 't', &value))
        return false;
    *ret_value = value.boolean;
    return true;
}

static bool get_int(const struct record *record, const char *name, int64_t *ret_value)
{
    struct amqp_value value;

    if (!get_member(record, name, 'l', &value))
        return false;
    *ret_value = value.integer;
    return true;
}

static bool get_str(const struct record *record, const char *name, struct amqp_str *ret_value)
{
    struct amqp_value value;

    if (!get_member(record, name, 'S', &value))
        return false;
    *ret_value = amqp_bytes_text(value.bytes);
    return true;
}

static bool get_table(const struct record *record, const char *name, struct amqp_table *ret_value)
{
    struct amqp_value value;

    if (!get_member(record, name, 'F', &value))
        return false;
    *ret_value = value.table;
    return true;
}

/* Texts that end in NUL, for those who want them so. */
enum { TEXTS_MAX = 6 };

struct texts {
    char *text[TEXTS_MAX];
};

static void texts_free(struct texts *texts)
{
    for (size_t i = 0; i < TEXTS_MAX; i++)
        free(texts->text[i]);
    free(texts);
}
DEFINE_OWNED(texts_free, struct texts *)

/* The names of the key, then the members called @members. */
static int copy_texts(const struct record *record, const char *const *members, size_t n,
                      struct texts **ret_texts)
{
    OWNED(texts_free) struct texts *texts = calloc(1, sizeof *texts);
    size_t n_names = record->key.n;

    if (!texts)
        return -ENOMEM;
    for (size_t i = 0; i < n_names + n; i++) {
        struct amqp_str str;

        if (i < n_names)
            str = record->key.names[i];
        else if (!get_str(record, members[i - n_names], &str))
            return -EBADMSG;
        texts->text[i] = strndup(str.data, str.size);
        if (!texts->text[i])
            return -ENOMEM;
    }
    *ret_texts = TAKE(texts);
    return 0;
}

/* --- one function a kind: 0, -EBADMSG for what makes no sense, -ENOMEM --- */

static int recover_vhost(struct recovery *recovery, const struct record *record)
{
    struct amqp_table metadata;
    struct vhost *vhost;
    uint8_t *copy;
    int rc;

    if (!get_table(record, "metadata", &metadata))
        return -EBADMSG;
    rc = vhost_new(recovery->broker, record->key.names[0], &vhost);
    if (rc || !metadata.size)
        return rc;
    copy = malloc(metadata.size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, metadata.data, metadata.size);
    vhost->metadata = (struct amqp_table){ copy, metadata.size };
    return 0;
}

static int recover_user(struct recovery *recovery, const struct record *record)
{
    static const char *const members[] = { "hash", "tags" };
    OWNED(texts_free) struct texts *texts = NULL;
    int rc = copy_texts(record, members, N_ELEMENTS(members), &texts);
    int64_t max_connections, max_channels;
    struct amqp_str hashing_name;
    enum auth_hashing hashing;
    struct user *user;

    if (rc)
        return rc;
    if (!get_str(record, "hashing", &hashing_name) ||
        !meta_hashing_find(hashing_name, &hashing) ||
        !get_int(record, "max_connections", &max_connections) ||
        !get_int(record, "max_channels", &max_channels))
        return -EBADMSG;
    rc = auth_put_user(recovery->broker->auth, texts->text[0], hashing, texts->text[1],
                       texts->text[2]);
    if (rc)
        return rc;
    user = auth_find_user(recovery->broker->auth, texts->text[0]);
    user->max_connections = max_connections;
    user->max_channels = max_channels;
    return 0;
}

static int recover_permission(struct recovery *recovery, const struct record *record)
{
    static const char *const members[] = { "configure", "write", "read" };
    OWNED(texts_free) struct texts *texts = NULL;
    int rc = copy_texts(record, members, N_ELEMENTS(members), &texts);

    if (rc)
        return rc;
    return auth_put_permissions(recovery->broker->auth, texts->text[0], texts->text[1],
                                texts->text[2], texts->text[3], texts->text[4],
                                recovery->error_text, recovery->error_text_size);
}

static int recover_topic_permission(struct recovery *recovery, const struct record *record)
{
    static const char *const members[] = { "write", "read" };
    OWNED(texts_free) struct texts *texts = NULL;
    int rc = copy_texts(record, members, N_ELEMENTS(members), &texts);

    if (rc)
        return rc;
    return auth_put_topic_permissions(recovery->broker->auth, texts->text[0], texts->text[1],
                                      texts->text[2], texts->text[3], texts->text[4],
                                      recovery->error_text, recovery->error_text_size);
}

/* Its deletion had begun when the broker stopped. */
static bool is_left_over(const struct record *record)
{
    bool deleting;

    return get_bool(record, "deleting", &deleting) && deleting;
}

static int note_left_over(struct recovery *recovery, struct exchange *exchange)
{
    struct left_over_exchange *left_over = malloc(sizeof *left_over);

    if (!left_over)
        return -ENOMEM;
    *left_over = (struct left_over_exchange){ exchange, recovery->left_over_exchanges };
    recovery->left_over_exchanges = left_over;
    return 0;
}

static int recover_exchange(struct recovery *recovery, const struct record *record)
{
    struct vhost *vhost = broker_find_vhost(recovery->broker, record->key.names[0]);
    struct exchange_properties properties = { .name = record->key.names[1], .durable = true };
    struct exchange *exchange;
    struct amqp_str type;
    int rc;

    if (!vhost || !get_str(record, "type", &type) ||
        !get_bool(record, "auto_delete", &properties.auto_delete) ||
        !get_bool(record, "internal", &properties.internal) ||
        !get_table(record, "arguments", &properties.arguments))
        return -EBADMSG;
    properties.type = exchange_type_find(type);
    if (!properties.type)
        return fail(recovery, -EBADMSG, "exchange '%.*s' in vhost '%s' has the unknown type '%.*s'",
                    AMQP_STR_ARG(properties.name), vhost->name, AMQP_STR_ARG(type));
    rc = exchange_new(vhost, &properties, &exchange);
    return !rc && is_left_over(record) ? note_left_over(recovery, exchange) : rc;
}

static bool is_left_out(const struct record *record, const char *name)
{
    struct amqp_value value;

    return !amqp_table_get(record->value, amqp_str_from(name), &value);
}

static int remember_queue(struct recovery *recovery, struct queue *queue, bool left_over)
{
    struct recovered_queue *recovered = calloc(1, sizeof *recovered);

    if (!recovered)
        return -ENOMEM;
    if (hash_table_add(&recovery->by_id, &recovered->by_id, hash_mix(queue->id))) {
        free(recovered);
        return -ENOMEM;
    }
    recovered->queue = queue;
    recovered->left_over = left_over;
    recovered->next = recovery->queues;
    recovery->queues = recovered;
    return store_recover_queue(recovery->broker->store, queue->id);
}

static int recover_queue(struct recovery *recovery, const struct record *record)
{
    struct vhost *vhost = broker_find_vhost(recovery->broker, record->key.names[0]);
    struct queue_properties properties = { .name = record->key.names[1], .durable = true };
    struct queue *queue;
    int64_t id;
    int rc;

    if (!vhost || !get_int(record, "id", &id) || id <= 0)
        return -EBADMSG;
    if (!is_left_out(record, "auto_delete") &&
        !get_bool(record, "auto_delete", &properties.auto_delete))
        return -EBADMSG;
    if (!is_left_out(record, "arguments") &&
        !get_table(record, "arguments", &properties.arguments))
        return -EBADMSG;
    properties.id = (uint64_t)id;
    rc = queue_new(vhost, &properties, &queue);
    return rc ? rc : remember_queue(recovery, queue, is_left_over(record));
}

static int recover_binding(struct recovery *recovery, const struct record *record)
{
    const struct amqp_str *names = record->key.names;
    struct vhost *vhost = broker_find_vhost(recovery->broker, names[0]);
    struct binding_request request = { .key = names[4], .destination_durable = true };
    struct exchange *exchange;
    struct amqp_error err;
    struct queue *queue;
    int rc;

    request.arguments = (struct amqp_table){ (const uint8_t *)names[5].data, names[5].size };
    if (!vhost || names[4].size > BOUND_NAME_BYTES || amqp_table_check(request.arguments))
        return -EBADMSG;
    request.source = vhost_get_exchange(vhost, names[1]);
    exchange = vhost_get_exchange(vhost, names[3]);
    queue = vhost_get_queue(vhost, names[3]);
    if (amqp_str_equal(names[2], AMQP_STR("q")))
        request.destination = queue ? &queue->destination : NULL;
    else
        request.destination = exchange ? &exchange->destination : NULL;
    if (!request.source || !request.source->type || !request.destination)
        return -EBADMSG;
    rc = binding_restore(&request, &err);
    return rc > 0 ? fail(recovery, -EBADMSG, "a binding in vhost '%s': %s", vhost->name, err.text)
                  : rc;
}

/*
 * One that cannot be understood any more stays as it is and has no effect: it must not keep the
 * broker from starting.
 */
static int recover_effect(struct broker *broker, const struct parameter_key *key, const char *json)
{
    struct component_effect effect = { 0 };
    char text[BOUND_LOG_LINE_BYTES / 2];
    int rc = component_compile(broker, key, json, text, sizeof text, &effect);

    if (rc == -EINVAL) {
        broker_log(broker, BROKER_LOG_WARNING, "%s '%s' in vhost '%s' is kept without effect: %s",
                   key->component, key->name, key->vhost, text);
        return 0;
    }
    if (!rc)
        component_apply(broker, key, &effect);
    return rc;
}

static int recover_parameter(struct recovery *recovery, enum store_kind kind,
                             const struct record *record)
{
    static const char *const members[] = { "json" };
    OWNED(texts_free) struct texts *texts = NULL;
    int rc = copy_texts(record, members, N_ELEMENTS(members), &texts);
    struct parameter_key key;

    if (rc)
        return rc;
    key = (struct parameter_key){ kind, texts->text[0], texts->text[1], texts->text[2] };
    if (kind != STORE_KIND_GLOBAL_PARAMETER &&
        !broker_find_vhost(recovery->broker, record->key.names[0]))
        return -EBADMSG;
    rc = parameters_put(&recovery->broker->parameters, &key, texts->text[3]);
    return rc ? rc : recover_effect(recovery->broker, &key, texts->text[3]);
}

static int recover_a_policy(struct recovery *recovery, const struct record *record)
{
    return recover_parameter(recovery, STORE_KIND_POLICY, record);
}

static int recover_a_parameter(struct recovery *recovery, const struct record *record)
{
    return recover_parameter(recovery, STORE_KIND_PARAMETER, record);
}

static int recover_a_global_parameter(struct recovery *recovery, const struct record *record)
{
    return recover_parameter(recovery, STORE_KIND_GLOBAL_PARAMETER, record);
}

static const struct {
    const char *what;
    size_t n_names;
    int (*recover)(struct recovery *recovery, const struct record *record);
} kinds[] = {
    [STORE_KIND_VHOST] = { "vhost", 1, recover_vhost },
    [STORE_KIND_USER] = { "user", 1, recover_user },
    [STORE_KIND_PERMISSION] = { "permission", 2, recover_permission },
    [STORE_KIND_TOPIC_PERMISSION] = { "topic permission", 3, recover_topic_permission },
    [STORE_KIND_EXCHANGE] = { "exchange", 2, recover_exchange },
    [STORE_KIND_QUEUE] = { "queue", 2, recover_queue },
    [STORE_KIND_BINDING] = { "binding", 6, recover_binding },
    [STORE_KIND_POLICY] = { "policy", 3, recover_a_policy },
    [STORE_KIND_PARAMETER] = { "parameter", 3, recover_a_parameter },
    [STORE_KIND_GLOBAL_PARAMETER] = { "global parameter", 3, recover_a_global_parameter },
};

/* --- what the store calls --- */

static int on_meta(void *context, enum store_kind kind, struct amqp_bytes key,
                   struct amqp_bytes value)
{
    struct recovery *recovery = context;
    struct record record = { .value = { value.data, value.size } };
    size_t at = (size_t)kind;
    int rc;

    if (at >= N_ELEMENTS(kinds) || !kinds[at].recover)
        return fail(recovery, -EBADMSG, "there is a record of the unknown kind %zu", at);
    if (!meta_key_decode(key, kinds[at].n_names, &record.key) || amqp_table_check(record.value))
        return fail(recovery, -EBADMSG, "a record of kind %s is damaged", kinds[at].what);
    rc = kinds[at].recover(recovery, &record);
    if (rc && !recovery->error_text[0])
        return fail(recovery, rc, "the record of %s '%.*s' cannot be used: %s", kinds[at].what,
                    AMQP_STR_ARG(record.key.names[record.key.n > 1 ? 1 : 0]), strerror(-rc));
    return rc;
}

static struct queue *find_queue(const struct recovery *recovery, uint64_t id)
{
    struct hash_link *link = hash_table_first(&recovery->by_id, hash_mix(id));

    for (; link; link = hash_table_next(link)) {
        struct recovered_queue *recovered = CONTAINER_OF(link, struct recovered_queue, by_id);

        if (recovered->queue->id == id)
            return recovered->queue;
    }
    return NULL;
}

/* Everything that waits; false without memory. */
static bool apply_policies(struct broker *broker)
{
    return !policy_apply_some(broker, UINT_MAX);
}

static int on_entry(void *context, const struct store_entry *entry)
{
    struct recovery *recovery = context;

    if (recovery->broker->policy_sweeps && !apply_policies(recovery->broker))
        return -ENOMEM;
    if (!recovery->last || recovery->last->id != entry->queue_id)
        recovery->last = find_queue(recovery, entry->queue_id);
    if (!recovery->last)
        return fail(recovery, -EBADMSG, "there is a message of an unknown queue");
    return queue_recover_entry(recovery->last, entry);
}

/* @usable: everything has been recovered */
static void finish_exchanges(struct recovery *recovery, bool usable)
{
    while (recovery->left_over_exchanges) {
        struct left_over_exchange *left_over = recovery->left_over_exchanges;

        if (usable)
            exchange_begin_deletion(left_over->exchange);
        recovery->left_over_exchanges = left_over->next;
        free(left_over);
    }
}

static void finish_queues(struct recovery *recovery, bool usable)
{
    while (recovery->queues) {
        struct recovered_queue *recovered = recovery->queues;
        struct queue *queue = recovered->queue;
        uint64_t next = store_next_sequence(recovery->broker->store, queue->id);

        if (queue->next_sequence < next)
            queue->next_sequence = next;
        if (recovered->left_over && usable)
            queue_delete(queue);
        else
            queue_wake(queue); /* what has expired meanwhile leaves in the first turn */
        recovery->queues = recovered->next;
        hash_table_remove(&recovery->by_id, &recovered->by_id);
        free(recovered);
    }
}

int broker_attach_store(struct broker *broker, struct store *store, char *error_text,
                        size_t error_text_size)
{
    static const struct store_visitor visitor = { .meta = on_meta, .entry = on_entry };
    struct recovery recovery = { .broker = broker,
                                 .error_text = error_text,
                                 .error_text_size = error_text_size };
    int rc;

    error_text[0] = '\0';
    broker->store = store;
    rc = store_recover(store, &visitor, &recovery);
    if (rc && !error_text[0])
        (void)fail(&recovery, rc, "cannot read the store: %s", strerror(-rc));
    finish_exchanges(&recovery, rc == 0);
    finish_queues(&recovery, rc == 0);
    deletion_finish_all(broker);
    if (!rc && !apply_policies(broker))
        rc = fail(&recovery, -ENOMEM, "no memory to apply the policies");
    if (rc)
        broker->store = NULL;
    return rc;
}
