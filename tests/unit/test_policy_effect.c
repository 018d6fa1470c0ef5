/*
 * test_policy_effect.c - what a change of policies does to queues and exchanges that exist
 *
 * What a policy says is test_policy.c's matter. Here messages are dropped and queues expire by one,
 * the turns of the loop bring it to many queues while some of them are deleted, and everything is
 * in force again after a restart. And the default queue type of a vhost.
 */
#include <errno.h>
#include <stdarg.h>

#include "broker/policy.h"
#include "broker/queue_arguments.h"
#include "store/memory.h"
#include "topology_fixture.h"
#include "unit.h"

enum { MANY = 1234, TURNS_MAX = 10000 };

static char error_text[512];

/* --- policies --- */

static const char *print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *print(const char *format, ...) /* borrowed until the fourth call from now */
{
    static char texts[4][512];
    static unsigned turn;
    char *text = texts[turn++ % N_ELEMENTS(texts)];
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(text, sizeof texts[0], format, arguments);
    va_end(arguments);
    ck_assert_int_ge(n, 0);
    ck_assert_int_lt(n, (int)sizeof texts[0]);
    return text;
}

static void put(const char *name, const char *json)
{
    ck_assert_msg(broker_put_policy(broker, "v", name, json, error_text, sizeof error_text) == 0,
                  "%s: %s", name, error_text);
}

static void put_parameter(const char *component, const char *name, const char *json)
{
    ck_assert_msg(broker_put_parameter(broker, "v", component, name, json, error_text,
                                       sizeof error_text) == 0,
                  "%s: %s", name, error_text);
}

static void remove_policy(const char *name)
{
    ck_assert_int_eq(broker_delete_policy(broker, "v", name), 0);
}

static void remove_parameter(const char *component, const char *name)
{
    ck_assert_int_eq(broker_delete_parameter(broker, "v", component, name), 0);
}

/* The turns of a loop until nothing is left to do; returns how many. */
static unsigned settle(void)
{
    unsigned turns = 0;

    do {
        broker_begin(broker, broker->now_ms, broker->wall_ms);
        ck_assert_uint_lt(turns++, TURNS_MAX);
    } while (broker_end(broker) == 0);
    ck_assert_uint_eq(broker->policy_sweeps, 0);
    return turns;
}

/* A policy called p, for all queues, with these keys. */
static const char *for_all(const char *keys)
{
    return print("{\"pattern\":\"\",\"apply-to\":\"queues\",\"definition\":{%s}}", keys);
}

static void put_keys(const char *keys)
{
    put("p", for_all(keys));
}

/* --- queues --- */

/* "x-max-length=I5 x-overflow=Sdrop-head" as a table. */
static void write_arguments(struct amqp_table_writer *writer, const char *text)
{
    char name[64], word[64];
    int used;

    while (sscanf(text, " %63[^=]=%63s%n", name, word, &used) == 2) {
        if (word[0] == 'I')
            amqp_table_put_value(writer, amqp_str_from(name),
                                 &(struct amqp_value){ .type = 'l',
                                                       .integer = strtoll(word + 1, NULL, 10) });
        else
            amqp_table_put_str(writer, name, amqp_str_from(word + 1));
        text += used;
    }
}

/* As a channel declares it: with the default queue type. */
static struct queue *declare(struct queue_properties properties, const char *arguments)
{
    struct amqp_table_writer writer = { 0 }, typed = { 0 };
    struct queue *made = NULL;

    write_arguments(&writer, arguments);
    properties.arguments = amqp_table_written(&writer);
    ck_assert_int_eq(queue_arguments_add_default_type(vhost, &properties, &typed,
                                                      &properties.arguments),
                     0);
    ck_assert_msg(queue_declare(vhost, &properties, &err, &made) == 0, "%.*s: %s",
                  AMQP_STR_ARG(properties.name), err.text);
    amqp_table_writer_release(&writer);
    amqp_table_writer_release(&typed);
    return made;
}

static struct queue *declare_with(const char *name, const char *arguments)
{
    return declare((struct queue_properties){ .name = amqp_str_from(name), .durable = true },
                   arguments);
}

static void publish(struct queue *to, unsigned n)
{
    struct push_outcome outcome = { 0 };

    for (unsigned i = 0; i < n; i++) {
        struct message *message = message_new(AMQP_STR(""), to->destination.name,
                                              (struct amqp_bytes){ NULL, 0 }, 4);

        ck_assert_ptr_nonnull(message);
        memcpy(message_body_writable(message), "body", 4);
        message->expiration_ms = -1;
        message->persistent = true;
        ck_assert_int_eq(queue_push(to, message, &outcome), 0);
        message_unref(message);
    }
}

/* --- taking effect --- */

START_TEST(test_existing_queues_are_trimmed_at_once)
{
    struct queue *drops = declare_with("drops", "");
    struct queue *rejects = declare_with("rejects", "x-overflow=Sreject-publish");

    publish(drops, 10);
    publish(rejects, 10);
    put_keys("\"max-length\":3");
    (void)settle();
    ck_assert_uint_eq(queue_ready_count(drops), 3);
    ck_assert_uint_eq(queue_ready_count(rejects), 10); /* keeps what it has */
    put_parameter("operator_policy", "o", for_all("\"max-length\":1"));
    (void)settle();
    ck_assert_uint_eq(queue_ready_count(drops), 1);
    remove_policy("p");
    (void)settle();
    publish(drops, 5);
    (void)settle();
    ck_assert_uint_eq(queue_ready_count(drops), 1); /* the operator's is still there */
    remove_parameter("operator_policy", "o");
    (void)settle();
    publish(drops, 5);
    (void)settle();
    ck_assert_uint_eq(queue_ready_count(drops), 6);
}
END_TEST

START_TEST(test_a_queue_may_expire_by_policy)
{
    broker_begin(broker, 1000, 1000);
    (void)queue("q");
    put_keys("\"expires\":500");
    (void)settle();
    broker_begin(broker, 1500, 1500); /* that may be a fraction less than 500 ms later */
    (void)broker_end(broker);
    ck_assert_ptr_nonnull(vhost_get_queue(vhost, AMQP_STR("q")));
    broker_begin(broker, 1501, 1501);
    (void)broker_end(broker);
    ck_assert_ptr_null(vhost_get_queue(vhost, AMQP_STR("q")));
}
END_TEST

static unsigned count_with_policy(void)
{
    struct queue *one, *next;
    unsigned n = 0;

    VHOST_EACH_QUEUE(vhost, one, next)
        n += one->settings->policy != NULL;
    return n;
}

START_TEST(test_many_queues_follow_in_slices)
{
    unsigned turns;

    for (unsigned i = 0; i < MANY; i++)
        (void)queue(print("q%u", i));
    put_keys("\"max-length\":3");
    broker_begin(broker, 0, 0);
    ck_assert_int_eq(broker_end(broker), 0);
    ck_assert_uint_gt(count_with_policy(), 0);
    ck_assert_uint_lt(count_with_policy(), MANY);
    turns = settle();
    ck_assert_uint_ge(turns, 2);
    ck_assert_uint_eq(count_with_policy(), MANY);
}
END_TEST

/* Delete some behind and before the place where the sweep stands, and the one it stands at. */
START_TEST(test_queues_are_deleted_meanwhile)
{
    struct queue *one, *next;
    unsigned n = 0;

    for (unsigned i = 0; i < MANY; i++)
        (void)queue(print("q%u", i));
    put_keys("\"max-length\":3");
    while (policy_apply_some(broker, 10)) {
        unsigned seen = 0;

        if (vhost->policy_sweep.next_queue)
            queue_delete(vhost->policy_sweep.next_queue);
        VHOST_EACH_QUEUE(vhost, one, next) {
            if (seen++ % 97 == n % 97)
                queue_delete(one);
        }
        ck_assert_uint_lt(n++, TURNS_MAX);
    }
    ck_assert_uint_eq(count_with_policy(), vhost->queues.count);
    ck_assert_uint_gt(count_with_policy(), 0);
}
END_TEST

START_TEST(test_all_queues_and_exchanges_go_meanwhile)
{
    struct queue *one, *next;

    for (unsigned i = 0; i < 20; i++)
        (void)queue(print("q%u", i));
    (void)exchange("e1", "fanout");
    (void)exchange("e2", "fanout");
    put_keys("\"max-length\":3");
    while (vhost->policy_sweep.next_exchange != get_exchange("e1"))
        ck_assert(policy_apply_some(broker, 1));
    exchange_delete(get_exchange("e1"));
    exchange_delete(get_exchange("e2"));
    ck_assert_ptr_null(vhost->policy_sweep.next_exchange);
    ck_assert(policy_apply_some(broker, 1));
    VHOST_EACH_QUEUE(vhost, one, next)
        queue_delete(one);
    ck_assert(!policy_apply_some(broker, 10));
}
END_TEST

START_TEST(test_a_change_during_a_change_reaches_everybody)
{
    struct queue *one, *next;

    for (unsigned i = 0; i < MANY; i++)
        (void)queue(print("q%u", i));
    for (unsigned i = 0; i < 50; i++) {
        put_keys(print("\"max-length\":%u", i));
        (void)policy_apply_some(broker, 100);
    }
    (void)queue("new");
    (void)settle();
    VHOST_EACH_QUEUE(vhost, one, next)
        ck_assert_int_eq(one->settings->max_length, 49);
}
END_TEST

START_TEST(test_a_vhost_goes_during_a_sweep)
{
    put_keys("\"max-length\":3");
    put_keys("\"max-length\":4");
    ck_assert_uint_eq(broker->policy_sweeps, 1);
    (void)queue("q");
    vhost_free(vhost);
    ck_assert_uint_eq(broker->policy_sweeps, 0);
    ck_assert(!policy_apply_some(broker, 10));
}
END_TEST

/* --- alternate exchanges --- */

START_TEST(test_alternate_exchange_by_policy)
{
    struct amqp_table_writer writer = { 0 };

    (void)exchange("spare", "fanout");
    (void)exchange("own", "fanout");
    (void)exchange("a1", "direct");
    amqp_table_put_str(&writer, "alternate-exchange", AMQP_STR("own"));
    (void)exchange_with("a2", "direct",
                        (struct exchange_properties){ .arguments = amqp_table_written(&writer) });
    amqp_table_writer_release(&writer);
    add(to_queue("spare", "spared", ""));
    add(to_queue("own", "owned", ""));
    ck_assert_str_eq(route("a1", "k"), "");
    put("p", "{\"pattern\":\"^(a|$)\",\"definition\":{\"alternate-exchange\":\"spare\"}}");
    (void)settle();
    ck_assert_str_eq(route("a1", "k"), "spared");
    ck_assert_str_eq(route("a2", "k"), "owned"); /* the argument wins */
    ck_assert_str_eq(route("amq.direct", "k"), "spared");
    ck_assert_str_eq(route("", "k"), ""); /* the default exchange cannot be changed */
    (void)exchange("a3", "topic");
    ck_assert_str_eq(route("a3", "k"), "spared");
    remove_policy("p");
    (void)settle();
    ck_assert_str_eq(route("a1", "k"), "");
    ck_assert_str_eq(route("a2", "k"), "owned");
}
END_TEST

/* --- the default queue type of a vhost --- */

START_TEST(test_default_queue_type)
{
    struct amqp_table_writer writer = { 0 };
    struct amqp_value value;
    struct queue *one;

    amqp_table_put_str(&writer, "default_queue_type", AMQP_STR("quorum"));
    ck_assert_int_eq(broker_put_vhost(broker, AMQP_STR("v"), amqp_table_written(&writer), &vhost),
                     0);
    amqp_table_writer_release(&writer);
    one = declare_with("a", "x-max-length=I5");
    ck_assert_int_eq(one->settings->type, QUEUE_TYPE_QUORUM);
    ck_assert_int_eq(one->settings->max_length, 5);
    ck_assert(amqp_table_get(queue_arguments(one), AMQP_STR("x-queue-type"), &value));
    ck_assert(amqp_str_equal(amqp_bytes_text(value.bytes), AMQP_STR("quorum")));
    ck_assert_ptr_eq(declare_with("a", "x-max-length=I5"), one); /* the same again */
    ck_assert_ptr_eq(declare_with("a", "x-max-length=I5 x-queue-type=Squorum"), one);
    one = declare_with("b", "x-queue-type=Sclassic");
    ck_assert_int_eq(one->settings->type, QUEUE_TYPE_CLASSIC);
    /* It is not for queues that cannot be of that type. */
    one = declare((struct queue_properties){ .name = AMQP_STR("c") }, "");
    ck_assert_int_eq(one->settings->type, QUEUE_TYPE_CLASSIC);
    ck_assert(!amqp_table_get(queue_arguments(one), AMQP_STR("x-queue-type"), &value) ||
              amqp_str_equal(amqp_bytes_text(value.bytes), AMQP_STR("classic")));
    one = declare((struct queue_properties){ .name = AMQP_STR("d"), .durable = true,
                                             .auto_delete = true },
                  "");
    ck_assert_int_eq(one->settings->type, QUEUE_TYPE_CLASSIC);
}
END_TEST

/* --- the store --- */

static struct store_disk *disk;
static struct store *store;

static void attach(void)
{
    struct broker_settings settings = { .product = "test" };
    struct store_options options = store_options_default();

    ck_assert_int_eq(broker_new(&settings, &broker), 0);
    ck_assert_int_eq(store_open_memory(disk, &options, &broker_store_events, broker, &store), 0);
    ck_assert_msg(broker_attach_store(broker, store, error_text, sizeof error_text) == 0, "%s",
                  error_text);
    vhost = broker_find_vhost(broker, AMQP_STR("v"));
}

static void detach(void)
{
    broker_free(broker);
    ck_assert_int_eq(store_close(store), 0);
}

static void setup_store(void)
{
    disk = store_disk_new();
    ck_assert_ptr_nonnull(disk);
    attach();
    ck_assert_int_eq(broker_put_vhost(broker, AMQP_STR("v"), (struct amqp_table){ NULL, 0 },
                                      &vhost),
                     0);
}

static void teardown_store(void)
{
    detach();
    store_disk_free(disk);
}

START_TEST(test_policies_and_limits_come_back)
{
    struct queue_properties another = { .name = AMQP_STR("another") };
    struct queue *one;

    (void)declare_with("q", "x-max-length=I9");
    (void)exchange_with("e", "fanout", (struct exchange_properties){ .durable = true });
    put_keys("\"max-length\":3,\"message-ttl\":70");
    put_parameter("operator_policy", "o", for_all("\"max-length\":2"));
    put("ae", "{\"pattern\":\"^e$\",\"apply-to\":\"exchanges\",\"definition\":"
              "{\"alternate-exchange\":\"other\"}}");
    put("gone", "{\"pattern\":\"\",\"priority\":9,\"definition\":{\"max-length\":0}}");
    remove_policy("gone");
    put_parameter("vhost-limits", "limits", "{\"max-queues\":1,\"max-connections\":5}");
    detach();
    attach();
    ck_assert_uint_eq(broker->policy_sweeps, 0);
    one = queue("q");
    ck_assert_int_eq(one->settings->max_length, 2);
    ck_assert_int_eq(one->settings->message_ttl_ms, 70);
    ck_assert_str_eq(one->settings->policy->name, "p");
    ck_assert_str_eq(one->settings->operator_policy->name, "o");
    ck_assert(get_exchange("e")->has_alternate);
    ck_assert(amqp_str_equal(get_exchange("e")->alternate, AMQP_STR("other")));
    ck_assert_int_eq(vhost->max_connections, 5);
    ck_assert_int_eq(queue_declare(vhost, &another, &err, &one), 406);
}
END_TEST

START_TEST(test_messages_over_a_limit_are_dropped_at_the_start)
{
    struct queue *one = declare_with("q", "");

    publish(one, 10);
    ck_assert_int_eq(store_seal(store), 0);
    put_keys("\"max-length\":3");
    detach(); /* before anything has come of it */
    attach();
    (void)settle();
    ck_assert_uint_eq(queue_ready_count(queue("q")), 3);
}
END_TEST

/* --- the suite --- */

int main(void)
{
    Suite *suite = suite_create("policy effect");
    TCase *plain = tcase_create("in memory"), *stored = tcase_create("with a store");

    tcase_add_checked_fixture(plain, topology_setup, topology_teardown);
    tcase_add_test(plain, test_existing_queues_are_trimmed_at_once);
    tcase_add_test(plain, test_a_queue_may_expire_by_policy);
    tcase_add_test(plain, test_many_queues_follow_in_slices);
    tcase_add_test(plain, test_queues_are_deleted_meanwhile);
    tcase_add_test(plain, test_all_queues_and_exchanges_go_meanwhile);
    tcase_add_test(plain, test_a_change_during_a_change_reaches_everybody);
    tcase_add_test(plain, test_a_vhost_goes_during_a_sweep);
    tcase_add_test(plain, test_alternate_exchange_by_policy);
    tcase_add_test(plain, test_default_queue_type);
    suite_add_tcase(suite, plain);
    tcase_add_checked_fixture(stored, setup_store, teardown_store);
    tcase_add_test(stored, test_policies_and_limits_come_back);
    tcase_add_test(stored, test_messages_over_a_limit_are_dropped_at_the_start);
    suite_add_tcase(suite, stored);
    return unit_run(suite);
}
