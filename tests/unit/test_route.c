/*
 * test_route.c - from exchange to exchange to queues: cycles, alternates, several keys, memory
 */
#include "topology_fixture.h"
#include "unit.h"

static const char *const names[] = { "A", "B", "C", "D" };

/* Exchanges A to D of one type. */
static void exchanges(const char *type)
{
    for (size_t i = 0; i < N_ELEMENTS(names); i++)
        exchange(names[i], type);
}

static struct exchange *with_alternate(const char *name, const char *type, const char *alternate)
{
    struct amqp_table_writer writer = { 0 };
    struct exchange *made;

    amqp_table_put_str(&writer, "alternate-exchange", amqp_str_from(alternate));
    made = exchange_with(name, type,
                         (struct exchange_properties){ .arguments = amqp_table_written(&writer) });
    amqp_table_writer_release(&writer);
    return made;
}

START_TEST(test_default_exchange_routes_to_the_queue_of_that_name)
{
    queue("q");
    queue("other");
    ck_assert_str_eq(route("", "q"), "q");
    ck_assert_str_eq(route("", "missing"), "");
}
END_TEST

START_TEST(test_direct_key_is_compared_octet_by_octet)
{
    add(to_queue("amq.direct", "q1", "k"));
    add(to_queue("amq.direct", "q2", "k"));
    add(to_queue("amq.direct", "q3", ""));
    ck_assert_str_eq(route("amq.direct", "k"), "q1 q2");
    ck_assert_str_eq(route("amq.direct", "K"), "");
    ck_assert_str_eq(route("amq.direct", ""), "q3");
    take_away(to_queue("amq.direct", "q1", "k"));
    ck_assert_str_eq(route("amq.direct", "k"), "q2");
}
END_TEST

START_TEST(test_fanout_ignores_keys)
{
    add(to_queue("amq.fanout", "q1", "x"));
    add(to_queue("amq.fanout", "q2", ""));
    ck_assert_str_eq(route("amq.fanout", "anything"), "q1 q2");
}
END_TEST

START_TEST(test_queue_gets_one_copy_however_many_ways_lead_to_it)
{
    exchanges("topic");
    add(to_queue("A", "q", "#"));
    add(to_queue("A", "q", "a.*"));
    add(to_queue("A", "q", "a.b"));
    add(to_exchange("A", "B", "#"));
    add(to_exchange("A", "C", "#"));
    add(to_queue("B", "q", "#"));
    add(to_exchange("B", "D", "#"));
    add(to_exchange("C", "D", "#"));
    add(to_queue("D", "q", "#"));
    for (int again = 0; again < 2; again++) {
        ck_assert_str_eq(route("A", "a.b"), "q");
        ck_assert_uint_eq(broker->route.n_queues, 1);
    }
}
END_TEST

static const char *const type_case[] = { "direct", "fanout", "topic" };

START_TEST(test_cycles_end)
{
    exchanges(type_case[_i]);
    add(to_exchange("A", "A", "k"));
    add(to_exchange("A", "B", "k"));
    add(to_exchange("B", "C", "k"));
    add(to_exchange("C", "A", "k"));
    add(to_queue("C", "q", "k"));
    ck_assert_str_eq(route("A", "k"), "q");
    ck_assert_str_eq(route("B", "k"), "q");
    ck_assert_str_eq(route("C", "k"), "q");
    ck_assert_str_eq(route("D", "k"), "");
}
END_TEST

START_TEST(test_several_keys_give_the_union)
{
    static const struct amqp_str keys[] = { { "x", 1 }, { "k1", 2 }, { "k2", 2 } };

    exchange("T", "topic");
    for (size_t i = 0; i < 2; i++) {
        const char *source = i ? "T" : "amq.direct";

        add(to_queue(source, "q1", "k1"));
        add(to_queue(source, "q2", "k2"));
        add(to_queue(source, "q2", "k1"));
        add(to_queue(source, "q3", "k3"));
        ck_assert_int_eq(route_message(&broker->route, get_exchange(source), keys, 3), 0);
        ck_assert_str_eq(routed(), "q1 q2");
    }
}
END_TEST

START_TEST(test_alternate_takes_what_matches_nothing)
{
    exchange("alt", "fanout");
    with_alternate("X", type_case[_i], "alt");
    add(to_queue("alt", "lost", ""));
    ck_assert_str_eq(route("X", "k"), "lost");
    add(to_queue("X", "q", "k"));
    ck_assert_str_eq(route("X", "k"), "q");
    take_away(to_queue("X", "q", "k"));
    ck_assert_str_eq(route("X", "k"), "lost");
}
END_TEST

START_TEST(test_matching_exchange_that_leads_nowhere_is_no_reason_for_the_alternate)
{
    exchange("alt", "fanout");
    exchange("empty", "fanout");
    with_alternate("X", "direct", "alt");
    add(to_queue("alt", "lost", ""));
    add(to_exchange("X", "empty", "k"));
    ck_assert_str_eq(route("X", "k"), "");
    ck_assert_str_eq(route("X", "other"), "lost");
}
END_TEST

START_TEST(test_match_seen_before_is_no_reason_for_the_alternate)
{
    exchange("alt", "fanout");
    exchange("F", "fanout");
    with_alternate("X", "direct", "alt");
    add(to_queue("alt", "lost", ""));
    add(to_exchange("F", "X", ""));
    add(to_queue("F", "q", ""));
    add(to_queue("X", "q", "k")); /* is there already when X is asked */
    ck_assert_str_eq(route("F", "k"), "q");
}
END_TEST

START_TEST(test_alternates_are_followed_and_cycles_of_them_end)
{
    with_alternate("X", "topic", "Y");
    with_alternate("Y", "direct", "Z");
    with_alternate("Z", "topic", "X");
    ck_assert_str_eq(route("X", "k"), "");
    add(to_queue("Z", "q", "#"));
    ck_assert_str_eq(route("X", "k"), "q");
}
END_TEST

START_TEST(test_alternate_may_come_and_go)
{
    with_alternate("X", "topic", "alt");
    ck_assert_str_eq(route("X", "k"), "");
    exchange("alt", "fanout");
    add(to_queue("alt", "q", ""));
    ck_assert_str_eq(route("X", "k"), "q");
    exchange_delete(get_exchange("alt"));
    ck_assert_str_eq(route("X", "k"), "");
}
END_TEST

START_TEST(test_default_exchange_as_alternate_leads_nowhere)
{
    with_alternate("X", "direct", "");
    queue("k");
    ck_assert_str_eq(route("X", "k"), "");
}
END_TEST

/* It is found, then found again and remembered, then recalled. */
static void expect_each_time(const char *queues)
{
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(route("A", "k"), queues);
}

START_TEST(test_route_is_remembered_until_a_binding_changes)
{
    exchanges("topic");
    add(to_queue("A", "q1", "k"));
    expect_each_time("q1");
    ck_assert_ptr_nonnull(get_exchange("A")->cache);
    add(to_queue("A", "q2", "*"));
    expect_each_time("q1 q2");
    take_away(to_queue("A", "q1", "k"));
    expect_each_time("q2");
    add(to_exchange("A", "B", "#"));
    expect_each_time("q2");
    add(to_queue("B", "q3", "#")); /* two steps away */
    expect_each_time("q2 q3");
    exchange_delete(get_exchange("B"));
    expect_each_time("q2");
    queue_delete(queue("q2"));
    expect_each_time("");
}
END_TEST

START_TEST(test_memory_of_very_many_keys_is_bounded_and_right)
{
    char key[32];

    add(to_queue("amq.topic", "even", "*.even"));
    add(to_queue("amq.topic", "all", "#"));
    for (int i = 0; i < 200000; i++) {
        snprintf(key, sizeof key, "%d.%s", i % 100000, i % 2 ? "odd" : "even");
        route("amq.topic", key);
        ck_assert_uint_eq(broker->route.n_queues, i % 2 ? 1 : 2);
    }
}
END_TEST

/* A queue with 5,000 bindings that all match: more than is worth remembering. */
START_TEST(test_very_wide_match_is_right_without_memory)
{
    struct amqp_table_writer writer = { 0 };
    struct binding_request request = to_queue("amq.topic", "q", "k");

    for (int i = 0; i < 5000; i++) {
        writer.size = 0;
        amqp_table_put_int(&writer, "n", i);
        request.arguments = amqp_table_written(&writer);
        add(request);
    }
    ck_assert_str_eq(route("amq.topic", "k"), "q");
    ck_assert_ptr_null(get_exchange("amq.topic")->cache);
    amqp_table_writer_release(&writer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route");
    TCase *tcase = tcase_create("route");

    tcase_add_checked_fixture(tcase, topology_setup, topology_teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_default_exchange_routes_to_the_queue_of_that_name);
    tcase_add_test(tcase, test_direct_key_is_compared_octet_by_octet);
    tcase_add_test(tcase, test_fanout_ignores_keys);
    tcase_add_test(tcase, test_queue_gets_one_copy_however_many_ways_lead_to_it);
    tcase_add_loop_test(tcase, test_cycles_end, 0, N_ELEMENTS(type_case));
    tcase_add_test(tcase, test_several_keys_give_the_union);
    tcase_add_loop_test(tcase, test_alternate_takes_what_matches_nothing, 0,
                        N_ELEMENTS(type_case));
    tcase_add_test(tcase, test_matching_exchange_that_leads_nowhere_is_no_reason_for_the_alternate);
    tcase_add_test(tcase, test_match_seen_before_is_no_reason_for_the_alternate);
    tcase_add_test(tcase, test_alternates_are_followed_and_cycles_of_them_end);
    tcase_add_test(tcase, test_alternate_may_come_and_go);
    tcase_add_test(tcase, test_default_exchange_as_alternate_leads_nowhere);
    tcase_add_test(tcase, test_route_is_remembered_until_a_binding_changes);
    tcase_add_test(tcase, test_memory_of_very_many_keys_is_bounded_and_right);
    tcase_add_test(tcase, test_very_wide_match_is_right_without_memory);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
