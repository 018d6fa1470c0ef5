/*
 * test_exchange.c - declaring exchanges, binding, and what goes with what
 */
#include "topology_fixture.h"
#include "unit.h"

/* --- declaring --- */

START_TEST(test_vhost_has_its_exchanges_from_the_start)
{
    static const struct {
        const char *name, *type;
        bool internal;
    } rows[] = {
        { "", "direct", false },           { "amq.direct", "direct", false },
        { "amq.fanout", "fanout", false }, { "amq.topic", "topic", false },
        { "amq.headers", "headers", false }, { "amq.match", "headers", false },
        { "amq.rabbitmq.trace", "topic", true },
    };

    ck_assert_uint_eq(HASH_CNT(by_name, vhost->exchanges), N_ELEMENTS(rows));
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct exchange *made = get_exchange(rows[i].name);

        ck_assert_ptr_nonnull(made);
        ck_assert_str_eq(exchange_type_name(made), rows[i].type);
        ck_assert(made->durable && !made->auto_delete);
        ck_assert_int_eq(made->internal, rows[i].internal);
    }
    ck_assert_ptr_eq(vhost->default_exchange, get_exchange(""));
}
END_TEST

struct declaration {
    const char *name, *type;
    const char *flags;     /* letters of durable, auto-delete, internal */
    const char *alternate; /* NULL: none; "5": the number, as 'I' */
};

static int declare(const struct declaration *declaration)
{
    struct exchange_properties properties = {
        .name = amqp_str_from(declaration->name),
        .durable = strchr(declaration->flags, 'd') != NULL,
        .auto_delete = strchr(declaration->flags, 'a') != NULL,
        .internal = strchr(declaration->flags, 'i') != NULL,
    };
    struct amqp_value five = { .type = 'I', .integer = 5 };
    struct amqp_table_writer writer = { 0 };
    struct exchange *made;
    int rc;

    amqp_table_put_int(&writer, "unknown", 1);
    if (declaration->alternate && strcmp(declaration->alternate, "5") == 0)
        amqp_table_put_value(&writer, AMQP_STR("alternate-exchange"), &five);
    else if (declaration->alternate)
        amqp_table_put_str(&writer, "alternate-exchange", amqp_str_from(declaration->alternate));
    properties.arguments = amqp_table_written(&writer);
    rc = exchange_declare(vhost, &properties, amqp_str_from(declaration->type), &err, &made);
    amqp_table_writer_release(&writer);
    return rc;
}

#define INEQUIVALENT(arg, name, both)                                                              \
    "PRECONDITION_FAILED - inequivalent arg '" arg "' for exchange '" name "' in vhost 'v': " both

static const struct {
    struct declaration declaration;
    const char *text; /* NULL: fine */
} again[] = {
    /* there are: X, direct, with nothing; Y, fanout, durable, internal, with alternate ae1 */
    { { "X", "direct", "", NULL }, NULL },
    { { "Y", "fanout", "di", "ae1" }, NULL },
    { { "amq.topic", "topic", "d", NULL }, NULL },
    { { "X", "fanout", "", NULL },
      INEQUIVALENT("type", "X", "received 'fanout' but current is 'direct'") },
    { { "X", "direct", "d", NULL },
      INEQUIVALENT("durable", "X", "received 'true' but current is 'false'") },
    { { "X", "direct", "a", NULL },
      INEQUIVALENT("auto_delete", "X", "received 'true' but current is 'false'") },
    { { "Y", "fanout", "d", "ae1" },
      INEQUIVALENT("internal", "Y", "received 'false' but current is 'true'") },
    { { "X", "direct", "", "y" },
      INEQUIVALENT("alternate-exchange", "X",
                   "received the value 'y' of type 'longstr' but current is none") },
    { { "X", "direct", "", "5" },
      INEQUIVALENT("alternate-exchange", "X",
                   "received the value '5' of type 'signedint' but current is none") },
    { { "Y", "fanout", "di", NULL },
      INEQUIVALENT("alternate-exchange", "Y",
                   "received none but current is the value 'ae1' of type 'longstr'") },
    { { "Y", "fanout", "di", "ae2" },
      INEQUIVALENT("alternate-exchange", "Y", "received 'ae2' but current is 'ae1'") },
    { { "amq.topic", "topic", "", NULL },
      INEQUIVALENT("durable", "amq.topic", "received 'false' but current is 'true'") },
    /* new ones */
    { { "amq.foo", "direct", "", NULL },
      "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'" },
    { { "", "direct", "", NULL },
      "ACCESS_REFUSED - operation not permitted on the default exchange" },
    { { "Z", "x-unknown", "", NULL }, "PRECONDITION_FAILED - unknown exchange type 'x-unknown'" },
    { { "", "", "", NULL }, "PRECONDITION_FAILED - unknown exchange type ''" },
    { { "Z", "direct", "", "5" },
      "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange "
      "'Z' in vhost 'v'" },
};

START_TEST(test_declaration_is_answered)
{
    unsigned before;
    int rc;

    ck_assert_int_eq(declare(&again[0].declaration), 0);
    ck_assert_int_eq(declare(&again[1].declaration), 0);
    before = HASH_CNT(by_name, vhost->exchanges);
    rc = declare(&again[_i].declaration);
    ck_assert_uint_eq(HASH_CNT(by_name, vhost->exchanges), before);
    if (!again[_i].text) {
        ck_assert_int_eq(rc, 0);
        return;
    }
    ck_assert_int_eq(rc, strncmp(again[_i].text, "ACCESS", 6) == 0 ? AMQP_ACCESS_REFUSED
                                                                    : AMQP_PRECONDITION_FAILED);
    ck_assert_str_eq(err.text, again[_i].text);
}
END_TEST

START_TEST(test_missing_names_are_not_found)
{
    struct exchange *found_exchange;
    struct queue *found_queue;

    ck_assert_int_eq(vhost_find_exchange(vhost, AMQP_STR("no"), &err, &found_exchange),
                     AMQP_NOT_FOUND);
    ck_assert_str_eq(err.text, "NOT_FOUND - no exchange 'no' in vhost 'v'");
    ck_assert_int_eq(vhost_find_queue(vhost, AMQP_STR("no"), &err, &found_queue), AMQP_NOT_FOUND);
    ck_assert_str_eq(err.text, "NOT_FOUND - no queue 'no' in vhost 'v'");
}
END_TEST

/* --- bindings --- */

START_TEST(test_binding_twice_is_one_binding)
{
    add(to_queue("amq.direct", "q", "k"));
    add(to_queue("amq.direct", "q", "k"));
    ck_assert_uint_eq(get_exchange("amq.direct")->binding_count, 1);
    ck_assert_uint_eq(queue("q")->destination.binding_count, 1);
    take_away(to_queue("amq.direct", "q", "k"));
    ck_assert_str_eq(route("amq.direct", "k"), "");
}
END_TEST

static struct amqp_table numbers(struct amqp_table_writer *writer, const char *order, char type)
{
    for (; *order; order++) {
        struct amqp_value value = { .type = type, .integer = *order };

        amqp_table_put_value(writer, (struct amqp_str){ order, 1 }, &value);
    }
    return amqp_table_written(writer);
}

START_TEST(test_arguments_belong_to_the_identity_of_a_binding)
{
    struct amqp_table_writer ab = { 0 }, ba = { 0 }, wide = { 0 };
    struct binding_request request = to_queue("amq.fanout", "q", "k");
    struct binding *binding;

    request.arguments = numbers(&ab, "ab", 'I');
    add(request);
    binding = binding_find(&request);
    request.arguments = numbers(&ba, "ba", 'I');
    ck_assert_ptr_eq(binding_find(&request), binding); /* in any order */
    request.arguments = numbers(&wide, "ab", 'l');
    ck_assert_ptr_null(binding_find(&request)); /* but with their types */
    request.arguments = (struct amqp_table){ NULL, 0 };
    ck_assert_ptr_null(binding_find(&request));
    add(request);
    ck_assert_uint_eq(queue("q")->destination.binding_count, 2);
    amqp_table_writer_release(&ab);
    amqp_table_writer_release(&ba);
    amqp_table_writer_release(&wide);
}
END_TEST

START_TEST(test_queue_and_exchange_of_one_name_are_two_destinations)
{
    struct binding_request request;

    exchange("same", "fanout");
    add(to_queue("amq.fanout", "same", ""));
    request = to_exchange("amq.fanout", "same", "");
    ck_assert_ptr_null(binding_find(&request));
    add(request);
    ck_assert_uint_eq(get_exchange("amq.fanout")->binding_count, 2);
}
END_TEST

START_TEST(test_hundred_thousand_bindings_of_one_queue_come_and_go)
{
    enum { N = 100000 };
    char key[16];

    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%d", i);
        add(to_queue("amq.direct", "q", key));
    }
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%d", (i + N / 2) % N);
        take_away(to_queue("amq.direct", "q", key));
    }
    ck_assert_uint_eq(queue("q")->destination.binding_count, 0);
}
END_TEST

/* --- deleting --- */

START_TEST(test_deleted_exchange_takes_its_bindings_along)
{
    uint64_t generation;

    exchange("X", "topic");
    exchange("Y", "fanout");
    add(to_exchange("Y", "X", ""));
    add(to_exchange("X", "X", "self"));
    add(to_exchange("X", "Y", "a.#"));
    add(to_queue("X", "q", "*"));
    generation = broker->topology_generation;
    exchange_delete(get_exchange("X"));
    ck_assert_ptr_null(get_exchange("X"));
    ck_assert_uint_gt(broker->topology_generation, generation);
    ck_assert_uint_eq(get_exchange("Y")->binding_count, 0);
    ck_assert_uint_eq(get_exchange("Y")->destination.binding_count, 0);
    ck_assert_uint_eq(queue("q")->destination.binding_count, 0);
    ck_assert_uint_eq(vhost->bindings.count, 0);
}
END_TEST

static void auto_delete(const char *name)
{
    exchange_with(name, "fanout", (struct exchange_properties){ .auto_delete = true });
}

START_TEST(test_auto_delete_exchange_goes_with_its_last_binding)
{
    auto_delete("X");
    add(to_queue("X", "q1", ""));
    add(to_queue("X", "q2", ""));
    take_away(to_queue("X", "q1", ""));
    ck_assert_ptr_nonnull(get_exchange("X"));
    queue_delete(queue("q2"));
    ck_assert_ptr_null(get_exchange("X"));
}
END_TEST

START_TEST(test_auto_delete_exchange_stays_while_it_never_had_a_binding)
{
    auto_delete("X");
    add(to_exchange("amq.fanout", "X", ""));
    take_away(to_exchange("amq.fanout", "X", "")); /* one *to* it does not count */
    ck_assert_ptr_nonnull(get_exchange("X"));
}
END_TEST

START_TEST(test_auto_delete_cascades_to_the_end_of_a_long_chain)
{
    enum { N = 20000 };
    char name[16] = "0", next[16];

    auto_delete(name);
    for (int i = 1; i < N; i++) {
        snprintf(next, sizeof next, "%d", i);
        auto_delete(next);
        add(to_exchange(name, next, ""));
        memcpy(name, next, sizeof name);
    }
    add(to_queue(name, "q", ""));
    ck_assert_str_eq(route("0", "k"), "q");
    take_away(to_queue(name, "q", ""));
    ck_assert_ptr_null(get_exchange(name));
    end_deletions();
    ck_assert_ptr_null(get_exchange("0"));
    ck_assert_uint_eq(vhost->bindings.count, 0);
    ck_assert_ptr_nonnull(get_exchange("amq.fanout"));
}
END_TEST

START_TEST(test_auto_delete_exchanges_in_a_cycle_go_once)
{
    auto_delete("A");
    auto_delete("B");
    add(to_exchange("A", "B", ""));
    add(to_exchange("B", "A", ""));
    take_away(to_exchange("A", "B", ""));
    ck_assert_ptr_null(get_exchange("A"));
    ck_assert_ptr_null(get_exchange("B"));
}
END_TEST

START_TEST(test_deleting_the_destination_ends_the_auto_delete_source)
{
    auto_delete("A");
    exchange("B", "fanout");
    add(to_exchange("A", "B", ""));
    exchange_delete(get_exchange("B"));
    ck_assert_ptr_null(get_exchange("A"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exchange");
    TCase *tcase = tcase_create("exchange");

    tcase_add_checked_fixture(tcase, topology_setup, topology_teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_vhost_has_its_exchanges_from_the_start);
    tcase_add_loop_test(tcase, test_declaration_is_answered, 0, N_ELEMENTS(again));
    tcase_add_test(tcase, test_missing_names_are_not_found);
    tcase_add_test(tcase, test_binding_twice_is_one_binding);
    tcase_add_test(tcase, test_arguments_belong_to_the_identity_of_a_binding);
    tcase_add_test(tcase, test_queue_and_exchange_of_one_name_are_two_destinations);
    tcase_add_test(tcase, test_hundred_thousand_bindings_of_one_queue_come_and_go);
    tcase_add_test(tcase, test_deleted_exchange_takes_its_bindings_along);
    tcase_add_test(tcase, test_auto_delete_exchange_goes_with_its_last_binding);
    tcase_add_test(tcase, test_auto_delete_exchange_stays_while_it_never_had_a_binding);
    tcase_add_test(tcase, test_auto_delete_cascades_to_the_end_of_a_long_chain);
    tcase_add_test(tcase, test_auto_delete_exchanges_in_a_cycle_go_once);
    tcase_add_test(tcase, test_deleting_the_destination_ends_the_auto_delete_source);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
