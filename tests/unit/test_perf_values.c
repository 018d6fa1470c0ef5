/*
 * test_perf_values.c - the forms of leveret-perf's option values
 */
#include "perf/values.h"
#include "unit.h"

START_TEST(numbers_have_bounds)
{
    double number = 7;

    ck_assert(value_number("1.5", 0, 2, &number));
    ck_assert_double_eq(number, 1.5);
    ck_assert(!value_number("2.5", 0, 2, &number));
    ck_assert(!value_number("", 0, 2, &number));
    ck_assert(!value_number("1x", 0, 2, &number));
    ck_assert(!value_number("nan", 0, 2, &number));
    ck_assert_double_eq(number, 1.5);
    ck_assert(value_number("1.5k", 0, 2000, &number));
    ck_assert_double_eq(number, 1500);
    ck_assert(value_number("2Mi", 0, 1e9, &number));
    ck_assert_double_eq(number, 2 << 20);
    ck_assert(!value_number("3k", 0, 2000, &number));
    ck_assert(!value_number("1kk", 0, 1e9, &number));
    ck_assert(!value_number("k", 0, 1e9, &number));
}
END_TEST

START_TEST(grouped_numbers_have_commas_between_thousands)
{
    static const struct { double number; int decimals; const char *text; } cases[] = {
        { 0, 0, "0" }, { 999, 0, "999" }, { 1000, 0, "1,000" }, { 1234567.891, 2, "1,234,567.89" },
        { -1234, 0, "-1,234" }, { -123, 1, "-123.0" }, { 0.5, 1, "0.5" },
    };
    char text[32];
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        value_grouped(cases[i].number, cases[i].decimals, text, sizeof text);
        ck_assert_str_eq(text, cases[i].text);
    }
    value_grouped(1234567, 0, text, 5);
    ck_assert_str_eq(text, "1,2");
}
END_TEST

START_TEST(ranges_are_one_number_or_two)
{
    static const char *const bad[] = { "", "-", "-5", "5-", "9-5", "5-9-12", "5 - 9", "1001",
                                       "5-1001", "x", "99999999999999999999" };
    struct range range = { 1, 2 };
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!value_range(bad[i], 1000, &range), "'%s' was accepted", bad[i]);
    ck_assert(range.least == 1 && range.most == 2);
    ck_assert(value_range("12", 1000, &range));
    ck_assert(range.least == 12 && range.most == 12);
    ck_assert(value_range("0-1000", 1000, &range));
    ck_assert(range.least == 0 && range.most == 1000);
    ck_assert(value_range("1k", 1000, &range));
    ck_assert(range.least == 1000 && range.most == 1000);
    ck_assert(value_range("1ki-2Ki", 1u << 20, &range));
    ck_assert(range.least == 1024 && range.most == 2048);
    ck_assert(!value_range("5G", UINT32_MAX, &range));
}
END_TEST

START_TEST(drawn_values_reach_both_ends_evenly)
{
    struct range range = { 3, 6 };
    unsigned seen[4] = { 0 }, i, value;
    uint64_t random = 88172645463325252u;

    for (i = 0; i < 4000; i++) {
        value = value_in(range, &random);
        ck_assert(value >= 3 && value <= 6);
        seen[value - 3]++;
    }
    for (i = 0; i < 4; i++)
        ck_assert(seen[i] > 900 && seen[i] < 1100);
}
END_TEST

START_TEST(a_uri_has_all_parts)
{
    struct client_address address = { .port = 1 };
    char *memory, *memory_2;

    ck_assert(value_uri("amqp://us%40er:p%3aw@host.example:5673/a%2Fb", &address, &memory));
    ck_assert_str_eq(address.user, "us@er");
    ck_assert_str_eq(address.password, "p:w");
    ck_assert_str_eq(address.host, "host.example");
    ck_assert_uint_eq(address.port, 5673);
    ck_assert_str_eq(address.vhost, "a/b");
    ck_assert(value_uri("amqp://[::1]:99", &address, &memory_2));
    ck_assert_str_eq(address.host, "::1");
    ck_assert_uint_eq(address.port, 99);
    free(memory);
    free(memory_2);
}
END_TEST

START_TEST(what_a_uri_leaves_out_stays)
{
    struct client_address address = { .host = "h", .user = "u", .password = "p", .vhost = "v",
                                      .port = 5672 };
    char *memory;

    ck_assert(value_uri("amqp://other/", &address, &memory));
    ck_assert_str_eq(address.host, "other");
    ck_assert_str_eq(address.user, "u");
    ck_assert_str_eq(address.vhost, "v");
    ck_assert_uint_eq(address.port, 5672);
    free(memory);
}
END_TEST

START_TEST(bad_uris_are_refused)
{
    static const char *const bad[] = { "", "http://h", "amqp://h:0", "amqp://h:65536", "amqp://h:x",
                                       "amqp://h/%2", "amqp://u%zz@h", "amqp://[::1" };
    struct client_address address = { .host = "h", .vhost = "/", .port = 5672 };
    char *memory;
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!value_uri(bad[i], &address, &memory), "'%s' was accepted", bad[i]);
    ck_assert_uint_eq(address.port, 5672);
}
END_TEST

START_TEST(arguments_have_types)
{
    static const uint8_t expected[] = "\1bt\1" "\1nl\0\0\0\0\0\0\0\x0a" "\1sS\0\0\0\2ab";
    struct wire_buf table = { 0 };

    ck_assert(value_argument("b=true", &table));
    ck_assert(value_argument("n=10", &table));
    ck_assert(value_argument("s=ab", &table));
    ck_assert_uint_eq(table.size, sizeof expected - 1);
    ck_assert_mem_eq(table.data, expected, table.size);
    ck_assert(!value_argument("novalue", &table));
    ck_assert(!value_argument("=x", &table));
    wire_buf_release(&table);
}
END_TEST

START_TEST(names_take_their_number)
{
    char name[32];

    value_name("q-%d-%d%", 12, name, sizeof name);
    ck_assert_str_eq(name, "q-12-12%");
    value_name("plain", 1, name, sizeof name);
    ck_assert_str_eq(name, "plain");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("perf_values");
    TCase *tests = tcase_create("values");

    tcase_add_test(tests, numbers_have_bounds);
    tcase_add_test(tests, grouped_numbers_have_commas_between_thousands);
    tcase_add_test(tests, ranges_are_one_number_or_two);
    tcase_add_test(tests, drawn_values_reach_both_ends_evenly);
    tcase_add_test(tests, a_uri_has_all_parts);
    tcase_add_test(tests, what_a_uri_leaves_out_stays);
    tcase_add_test(tests, bad_uris_are_refused);
    tcase_add_test(tests, arguments_have_types);
    tcase_add_test(tests, names_take_their_number);
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}
