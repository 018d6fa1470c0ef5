/*
 * test_meta.c - what is declared comes back from the store; what is not durable never gets there
 */
#include <errno.h>

#include "broker/meta-internal.h"
#include "broker/meta.h"
#include "store/memory.h"
#include "topology_fixture.h"
#include "unit.h"

#define HASH_OF_TEST12 "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"

static struct store_disk *disk;
static struct store *store;
static char error_text[256];

static int attach(void)
{
    struct broker_settings settings = { .product = "test" };
    struct store_options options = store_options_default();

    ck_assert_int_eq(broker_new(&settings, &broker), 0);
    ck_assert_int_eq(store_open_memory(disk, &options, &broker_store_events, broker, &store), 0);
    return broker_attach_store(broker, store, error_text, sizeof error_text);
}

static void detach(void)
{
    broker_free(broker);
    ck_assert_int_eq(store_close(store), 0);
}

/* A clean end and a new start. */
static void restart(void)
{
    detach();
    ck_assert_msg(attach() == 0, "%s", error_text);
    vhost = broker_find_vhost(broker, AMQP_STR("v"));
}

static void setup(void)
{
    disk = store_disk_new();
    ck_assert_ptr_nonnull(disk);
    ck_assert_int_eq(attach(), 0);
    ck_assert(broker_is_blank(broker));
    ck_assert_int_eq(broker_put_vhost(broker, AMQP_STR("v"), (struct amqp_table){ NULL, 0 },
                                      &vhost),
                     0);
}

static void teardown(void)
{
    detach();
    store_disk_free(disk);
}

static struct exchange *durable_exchange(const char *name, const char *type)
{
    return exchange_with(name, type, (struct exchange_properties){ .durable = true });
}

static struct queue *durable_queue(const char *name)
{
    struct queue_properties properties = { .name = amqp_str_from(name), .durable = true };
    struct queue *made = NULL;

    ck_assert_msg(queue_declare(vhost, &properties, &err, &made) == 0, "%s", err.text);
    return made;
}

static struct queue *get_queue(const char *name)
{
    return vhost_get_queue(vhost, amqp_str_from(name));
}

/* --- vhosts, users, permissions --- */

START_TEST(test_vhost_comes_back_with_its_metadata)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_value value;

    amqp_table_put_str(&writer, "description", AMQP_STR("the shop"));
    ck_assert_int_eq(broker_put_vhost(broker, AMQP_STR("v"), amqp_table_written(&writer), &vhost),
                     0);
    amqp_table_writer_release(&writer);
    restart();
    ck_assert_ptr_nonnull(vhost);
    ck_assert_ptr_nonnull(get_exchange("amq.topic"));
    ck_assert(amqp_table_get(vhost->metadata, AMQP_STR("description"), &value));
    ck_assert(amqp_str_equal(amqp_bytes_text(value.bytes), AMQP_STR("the shop")));
    ck_assert(!broker_is_blank(broker));
}
END_TEST

START_TEST(test_user_comes_back_with_hash_tags_and_limits)
{
    struct user *user;

    ck_assert_int_eq(broker_put_user(broker, "app", AUTH_HASHING_SHA256, "", "none", 1, 2), 0);
    ck_assert_int_eq(broker_put_user(broker, "app", AUTH_HASHING_SHA256, HASH_OF_TEST12,
                                     "administrator,monitoring", 100, -1),
                     0);
    restart();
    user = auth_find_user(broker->auth, "app");
    ck_assert_ptr_nonnull(user);
    ck_assert_str_eq(user->tags, "administrator,monitoring");
    ck_assert_int_eq(user->max_connections, 100);
    ck_assert_int_eq(user->max_channels, -1);
    ck_assert(auth_check_password(user, (struct amqp_bytes){ (const uint8_t *)"test12", 6 }));
}
END_TEST

START_TEST(test_permissions_come_back)
{
    const struct permissions *permissions;

    ck_assert_int_eq(broker_put_user(broker, "app", AUTH_HASHING_SHA512, "", "", -1, -1), 0);
    ck_assert_int_eq(broker_put_permissions(broker, "app", "v", "^a", "^b", "", error_text,
                                            sizeof error_text),
                     0);
    ck_assert_int_eq(broker_put_topic_permissions(broker, "app", "v", "amq.topic", "^eu\\.", ".*",
                                                  error_text, sizeof error_text),
                     0);
    restart();
    permissions = auth_find_permissions(broker->auth, "app", "v");
    ck_assert_ptr_nonnull(permissions);
    ck_assert_str_eq(permissions_pattern(permissions, PERMISSION_CONFIGURE), "^a");
    ck_assert_str_eq(permissions_pattern(permissions, PERMISSION_WRITE), "^b");
    ck_assert_str_eq(permissions_pattern(permissions, PERMISSION_READ), "");
    ck_assert(!auth_topic_allows(broker->auth, "app", "v", AMQP_STR("amq.topic"),
                                 PERMISSION_WRITE, AMQP_STR("us.x")));
    ck_assert(auth_topic_allows(broker->auth, "app", "v", AMQP_STR("amq.topic"), PERMISSION_WRITE,
                                AMQP_STR("eu.x")));
}
END_TEST

static int put_policy(const char *vhost_name, const char *name, const char *json)
{
    return broker_put_policy(broker, vhost_name, name, json, error_text, sizeof error_text);
}

START_TEST(test_permissions_for_nobody_or_nowhere_are_refused)
{
    ck_assert_int_eq(broker_put_permissions(broker, "nobody", "v", "", "", "", error_text,
                                            sizeof error_text),
                     -ENOENT);
    ck_assert_str_eq(error_text, "there is no user 'nobody'");
    ck_assert_int_eq(broker_put_user(broker, "app", AUTH_HASHING_SHA256, "", "", -1, -1), 0);
    ck_assert_int_eq(broker_put_permissions(broker, "app", "w", "", "", "", error_text,
                                            sizeof error_text),
                     -ENOENT);
    ck_assert_str_eq(error_text, "there is no vhost 'w'");
    ck_assert_int_eq(broker_put_permissions(broker, "app", "v", "(", "", "", error_text,
                                            sizeof error_text),
                     -EINVAL);
    ck_assert_int_eq(put_policy("w", "p", "{}"), -ENOENT);
    ck_assert_str_eq(error_text, "there is no vhost 'w'");
    ck_assert_int_eq(broker_put_parameter(broker, "w", "c", "p", "{}", error_text,
                                          sizeof error_text),
                     -ENOENT);
    restart();
    ck_assert_ptr_null(auth_find_permissions(broker->auth, "app", "v"));
}
END_TEST

#define POLICY(limit) "{\"definition\":{\"max-length\":" limit "},\"pattern\":\"^q\"}"

START_TEST(test_policies_and_parameters_come_back_as_text)
{
    const struct parameter *parameter;

    ck_assert_int_eq(put_policy("v", "ttl", POLICY("1")), 0);
    ck_assert_int_eq(put_policy("v", "ttl", POLICY("2")), 0);
    ck_assert_int_eq(put_policy("v", "other", POLICY("3")), 0);
    ck_assert_int_eq(put_policy("v", "gone", POLICY("4")), 0);
    ck_assert_int_eq(broker_delete_policy(broker, "v", "gone"), 0);
    ck_assert_int_eq(broker_put_parameter(broker, "v", "shovel", "ttl", "[1]", error_text,
                                          sizeof error_text),
                     0);
    ck_assert_int_eq(broker_put_global_parameter(broker, "cluster_name", "\"rabbit\"", error_text,
                                                 sizeof error_text),
                     0);
    restart();
    ck_assert_str_eq(broker->settings.cluster_name, "rabbit");
    parameter = parameters_find(&broker->parameters, &(struct parameter_key){ STORE_KIND_POLICY,
                                                                              "v", "policy",
                                                                              "ttl" });
    ck_assert_ptr_nonnull(parameter);
    ck_assert_str_eq(parameter->json, POLICY("2"));
    parameter = parameters_first(&broker->parameters, STORE_KIND_POLICY);
    ck_assert_ptr_nonnull(parameter);
    ck_assert_ptr_nonnull(parameter_next(parameter));
    ck_assert_ptr_null(parameter_next(parameter_next(parameter)));
    parameter = parameters_first(&broker->parameters, STORE_KIND_PARAMETER);
    ck_assert_str_eq(parameter->component, "shovel");
    ck_assert_str_eq(parameter->json, "[1]");
    parameter = parameters_first(&broker->parameters, STORE_KIND_GLOBAL_PARAMETER);
    ck_assert_str_eq(parameter->name, "cluster_name");
    ck_assert_str_eq(parameter->json, "\"rabbit\"");
}
END_TEST

START_TEST(test_policies_are_in_effect_before_the_first_turn)
{
    (void)durable_queue("q");
    (void)durable_queue("other");
    ck_assert_int_eq(put_policy("v", "p", POLICY("7")), 0);
    ck_assert_int_eq(broker_put_parameter(broker, "v", "vhost-limits", "limits",
                                          "{\"max-queues\":9}", error_text, sizeof error_text),
                     0);
    restart();
    ck_assert_int_eq(get_queue("q")->settings->max_length, 7);
    ck_assert_int_eq(get_queue("other")->settings->max_length, -1);
    ck_assert_int_eq(vhost->max_queues, 9);
    ck_assert_uint_eq(broker->policy_sweeps, 0);
}
END_TEST

START_TEST(test_a_policy_that_makes_no_sense_any_more_is_kept_without_effect)
{
    struct amqp_table_writer writer = { 0 };
    struct parameter_key key = { STORE_KIND_POLICY, "v", "policy", "odd" };

    amqp_table_put_str(&writer, "json", AMQP_STR("{\"pattern\":\"(\"}"));
    ck_assert_int_eq(meta_put(broker, STORE_KIND_POLICY,
                              META_KEY(AMQP_STR("v"), AMQP_STR("policy"), AMQP_STR("odd")),
                              &writer),
                     0);
    restart();
    ck_assert_ptr_nonnull(parameters_find(&broker->parameters, &key));
    ck_assert_ptr_null(vhost->policies);
}
END_TEST

/* --- exchanges, queues, bindings --- */

START_TEST(test_durable_exchange_comes_back_as_declared)
{
    struct amqp_table_writer writer = { 0 };
    struct exchange *back;

    amqp_table_put_str(&writer, "alternate-exchange", AMQP_STR("alt"));
    exchange_with("X", "headers",
                  (struct exchange_properties){ .durable = true,
                                                .auto_delete = true,
                                                .internal = true,
                                                .arguments = amqp_table_written(&writer) });
    restart();
    back = get_exchange("X");
    ck_assert_ptr_nonnull(back);
    ck_assert_str_eq(exchange_type_name(back), "headers");
    ck_assert(back->durable && back->auto_delete && back->internal && back->has_alternate);
    ck_assert(amqp_str_equal(back->alternate, AMQP_STR("alt")));
    ck_assert(amqp_table_equal(back->arguments, amqp_table_written(&writer)));
    amqp_table_writer_release(&writer);
}
END_TEST

START_TEST(test_durable_queue_comes_back_under_its_id)
{
    uint64_t id = durable_queue("q")->id, other;

    ck_assert_uint_gt(id, 0);
    restart();
    ck_assert_ptr_nonnull(get_queue("q"));
    ck_assert(get_queue("q")->durable);
    ck_assert_uint_eq(get_queue("q")->id, id);
    other = durable_queue("r")->id;
    ck_assert_uint_ne(other, id);
}
END_TEST

static void put_queue_record(struct amqp_table_writer *value)
{
    ck_assert_int_eq(meta_put(broker, STORE_KIND_QUEUE, META_KEY(AMQP_STR("v"), AMQP_STR("q")),
                              value),
                     0);
}

START_TEST(test_queue_comes_back_with_its_arguments_and_auto_delete)
{
    struct amqp_table_writer writer = { 0 };
    struct queue_properties properties = { .name = AMQP_STR("q"), .durable = true };
    struct queue *queue;

    if (_i & 1)
        amqp_table_put_int(&writer, "x-expires", 1000);
    properties.arguments = amqp_table_written(&writer);
    properties.auto_delete = _i & 2;
    ck_assert_int_eq(queue_declare(vhost, &properties, &err, &queue), 0);
    restart();
    ck_assert_int_eq(get_queue("q")->auto_delete, properties.auto_delete);
    ck_assert(amqp_table_equal(queue_arguments(get_queue("q")), amqp_table_written(&writer)));
    ck_assert_int_eq(get_queue("q")->settings->expires_ms, _i & 1 ? 1000 : -1);
    amqp_table_writer_release(&writer);
}
END_TEST

START_TEST(test_record_of_a_queue_may_say_what_goes_without_saying)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_value none = { .type = 'F' };

    amqp_table_put_int(&writer, "id", 7);
    amqp_table_put_bool(&writer, "auto_delete", false);
    amqp_table_put_value(&writer, AMQP_STR("arguments"), &none);
    put_queue_record(&writer);
    restart();
    ck_assert_uint_eq(get_queue("q")->id, 7);
    ck_assert(!get_queue("q")->auto_delete);
    ck_assert_uint_eq(get_queue("q")->arguments_bytes, 0);
}
END_TEST

START_TEST(test_member_of_another_type_in_the_record_of_a_queue_stops_the_start)
{
    struct amqp_table_writer writer = { 0 };

    amqp_table_put_int(&writer, "id", 7);
    amqp_table_put_int(&writer, _i ? "auto_delete" : "arguments", 1);
    put_queue_record(&writer);
    detach();
    ck_assert_int_eq(attach(), -EBADMSG);
}
END_TEST

START_TEST(test_durable_bindings_come_back_and_route)
{
    struct amqp_table_writer writer = { 0 };
    struct binding_request request;

    durable_exchange("A", "topic");
    durable_exchange("B", "fanout");
    durable_queue("q");
    durable_queue("h");
    add(to_exchange("A", "B", "a.#"));
    add(to_queue("B", "q", "anything"));
    add(to_queue("amq.direct", "q", ""));
    amqp_table_put_int(&writer, "n", 1);
    request = to_queue("amq.headers", "h", "k");
    request.arguments = amqp_table_written(&writer);
    add(request);
    restart();
    ck_assert_str_eq(route("A", "a.b"), "q");
    ck_assert_str_eq(route("A", "b"), "");
    ck_assert_str_eq(route("amq.direct", ""), "q");
    request = to_queue("amq.headers", "h", "k");
    request.arguments = amqp_table_written(&writer);
    ck_assert_ptr_nonnull(binding_find(&request));
    amqp_table_writer_release(&writer);
}
END_TEST

START_TEST(test_what_was_deleted_stays_away)
{
    durable_exchange("A", "topic");
    durable_queue("q");
    durable_queue("r");
    add(to_queue("A", "q", "#"));
    add(to_queue("amq.fanout", "q", ""));
    add(to_queue("amq.fanout", "r", ""));
    restart();
    exchange_delete(get_exchange("A"));
    take_away(to_queue("amq.fanout", "q", ""));
    queue_delete(get_queue("r"));
    restart();
    ck_assert_ptr_null(get_exchange("A"));
    ck_assert_ptr_null(get_queue("r"));
    ck_assert_ptr_nonnull(get_queue("q"));
    ck_assert_uint_eq(vhost->bindings.count, 0);
}
END_TEST

START_TEST(test_auto_delete_exchange_that_went_with_its_queue_stays_away)
{
    exchange_with("A", "fanout",
                  (struct exchange_properties){ .durable = true, .auto_delete = true });
    durable_queue("q");
    add(to_queue("A", "q", ""));
    restart();
    queue_delete(get_queue("q"));
    restart();
    ck_assert_ptr_null(get_exchange("A"));
}
END_TEST

START_TEST(test_what_is_not_durable_never_touches_the_store)
{
    struct exchange_properties transient = { 0 };

    durable_exchange("D", "fanout");
    durable_queue("dq");
    ck_assert_int_eq(store_seal(store), 0);
    ck_assert_uint_eq(store_open_bytes(store), 0);
    exchange_with("T", "fanout", transient);
    queue("tq");
    add(to_queue("T", "tq", ""));
    add(to_queue("T", "dq", ""));
    add(to_queue("D", "tq", ""));
    add(to_exchange("D", "T", ""));
    take_away(to_queue("D", "tq", ""));
    exchange_delete(get_exchange("T"));
    queue_delete(queue("tq"));
    ck_assert_uint_eq(store_open_bytes(store), 0);
}
END_TEST

START_TEST(test_changes_of_a_commit_that_was_lost_are_gone_together)
{
    durable_exchange("kept", "fanout");
    ck_assert_int_eq(store_seal(store), 0);
    store_poll(store);
    durable_exchange("lost", "fanout");
    durable_queue("lost");
    add(to_queue("lost", "lost", ""));
    exchange_delete(get_exchange("kept"));
    broker_free(broker);
    store_crash(store, 0);
    ck_assert_int_eq(attach(), 0);
    vhost = broker_find_vhost(broker, AMQP_STR("v"));
    ck_assert_ptr_nonnull(get_exchange("kept"));
    ck_assert_ptr_null(get_exchange("lost"));
    ck_assert_ptr_null(get_queue("lost"));
    ck_assert_uint_eq(vhost->bindings.count, 0);
}
END_TEST

/* --- messages --- */

static void push(struct queue *to, const char *body)
{
    struct message *message =
        message_new(AMQP_STR(""), AMQP_STR("k"), (struct amqp_bytes){ NULL, 0 },
                    (uint32_t)strlen(body));
    struct push_outcome outcome = { 0 };

    memcpy(message_body_writable(message), body, strlen(body));
    message->persistent = true;
    ck_assert_int_eq(queue_push(to, message, &outcome), 0);
    ck_assert(outcome.stored && !outcome.refused);
    message_unref(message);
}

START_TEST(test_entries_come_back_to_their_queues_in_order)
{
    uint64_t next;

    durable_queue("a");
    durable_queue("b");
    for (int i = 0; i < 100; i++) {
        push(get_queue("a"), "to a");
        if (i % 3 == 0)
            push(get_queue("b"), "xx");
    }
    next = get_queue("a")->next_sequence;
    restart();
    ck_assert_uint_eq(queue_ready_count(get_queue("a")), 100);
    ck_assert_uint_eq(queue_ready_count(get_queue("b")), 34);
    ck_assert_uint_eq(get_queue("a")->ready.bytes, 400);
    ck_assert_uint_eq(get_queue("b")->ready.bytes, 68);
    ck_assert_uint_ge(get_queue("a")->next_sequence, next);
    ck_assert_uint_eq(ready_first(&get_queue("a")->ready)->sequence, 1);
}
END_TEST

/* --- damage --- */

static const struct {
    enum store_kind kind;
    const char *key;
    size_t key_bytes;
    const char *text; /* how the refusal begins */
} damage[] = {
    { STORE_KIND_EXCHANGE, "\0\0\0\1v\0\0\0\1x", 10, "the record of exchange 'x' cannot be used" },
    { STORE_KIND_EXCHANGE, "\0\0\0\1v\0\0\0\2x", 10, "a record of kind exchange is damaged" },
    { STORE_KIND_QUEUE, "\0\0\0\1w\0\0\0\1x", 10, "the record of queue 'x' cannot be used" },
    { STORE_KIND_BINDING, "", 0, "a record of kind binding is damaged" },
    { (enum store_kind)99, "x", 1, "there is a record of the unknown kind 99" },
};

START_TEST(test_record_that_makes_no_sense_stops_the_start)
{
    struct amqp_bytes key = { (const uint8_t *)damage[_i].key, damage[_i].key_bytes };

    ck_assert_int_eq(store_put_meta(store, damage[_i].kind, key, (struct amqp_bytes){ NULL, 0 }),
                     0);
    detach();
    ck_assert_int_eq(attach(), -EBADMSG);
    ck_assert_msg(strncmp(error_text, damage[_i].text, strlen(damage[_i].text)) == 0, "%s",
                  error_text);
    ck_assert_ptr_null(broker->store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("meta");
    TCase *tcase = tcase_create("meta");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_vhost_comes_back_with_its_metadata);
    tcase_add_test(tcase, test_user_comes_back_with_hash_tags_and_limits);
    tcase_add_test(tcase, test_permissions_come_back);
    tcase_add_test(tcase, test_permissions_for_nobody_or_nowhere_are_refused);
    tcase_add_test(tcase, test_policies_and_parameters_come_back_as_text);
    tcase_add_test(tcase, test_policies_are_in_effect_before_the_first_turn);
    tcase_add_test(tcase, test_a_policy_that_makes_no_sense_any_more_is_kept_without_effect);
    tcase_add_test(tcase, test_durable_exchange_comes_back_as_declared);
    tcase_add_test(tcase, test_durable_queue_comes_back_under_its_id);
    tcase_add_loop_test(tcase, test_queue_comes_back_with_its_arguments_and_auto_delete, 0, 4);
    tcase_add_test(tcase, test_record_of_a_queue_may_say_what_goes_without_saying);
    tcase_add_loop_test(tcase, test_member_of_another_type_in_the_record_of_a_queue_stops_the_start,
                        0, 2);
    tcase_add_test(tcase, test_durable_bindings_come_back_and_route);
    tcase_add_test(tcase, test_what_was_deleted_stays_away);
    tcase_add_test(tcase, test_auto_delete_exchange_that_went_with_its_queue_stays_away);
    tcase_add_test(tcase, test_what_is_not_durable_never_touches_the_store);
    tcase_add_test(tcase, test_changes_of_a_commit_that_was_lost_are_gone_together);
    tcase_add_test(tcase, test_entries_come_back_to_their_queues_in_order);
    tcase_add_loop_test(tcase, test_record_that_makes_no_sense_stops_the_start, 0,
                        N_ELEMENTS(damage));
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
