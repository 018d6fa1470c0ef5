/*
 * test_foreign.c - what is not AMQP 0-9-1 is named, and not too often
 */
#include "server/foreign.h"
#include "tests/unit/unit.h"

#define OCTETS(text) (const uint8_t *)(text), sizeof(text) - 1

static const struct {
    const uint8_t *octets;
    size_t size;
    const char *named; /* NULL: nothing to name */
} foreign_case[] = {
    { OCTETS(""), NULL },
    { OCTETS("A"), NULL },
    { OCTETS("AMQP\0\0\x09"), NULL },
    { OCTETS("AMQP\0\0\x09\x01"), NULL },
    { OCTETS("AMQP\x01\x01\0\x09"), NULL },
    { OCTETS("GET / HT"), "looks like HTTP;" },
    { OCTETS("HEAD / H"), "looks like HTTP;" },
    { OCTETS("POST /ap"), "looks like HTTP;" },
    { OCTETS("PUT /api"), "looks like HTTP;" },
    { OCTETS("DELETE /"), "looks like HTTP;" },
    { OCTETS("OPTIONS "), "looks like HTTP;" },
    { OCTETS("CONNECT "), "looks like HTTP;" },
    { OCTETS("PRI * HT"), "looks like HTTP/2;" },
    { OCTETS("\x16\x03\x01\x02\0\x01\0\x01"), "looks like TLS; this listener is plain" },
    { OCTETS("\x16\x03\x03"), "looks like TLS; this listener is plain" },
    { OCTETS("\x10\x10\0\4MQTT"), "looks like MQTT;" },
    { OCTETS("\x10\x8a\x01\0\4MQT"), "looks like MQTT;" },   /* longer: a password, a will */
    { OCTETS("\x10\xff\xff\x7f\0\4MQ"), "looks like MQTT;" },
    { OCTETS("\x10\x12\0\6MQIs"), "looks like MQTT;" },      /* 3.1 */
    { OCTETS("\x10\x10\0\4MQ"), "looks like MQTT;" },
    { OCTETS("\x10\x10\0\4XY"), "does not speak AMQP" },
    { OCTETS("\x10\x10"), "does not speak AMQP" },
    { OCTETS("\x10\xff\xff\xff\xff\xff\xff\xff"), "does not speak AMQP" },
    { OCTETS("CONNECT\n"), "looks like STOMP;" },
    { OCTETS("CONNECT\r"), "looks like STOMP;" },
    { OCTETS("STOMP\nac"), "looks like STOMP;" },
    { OCTETS("STOMP\r\na"), "looks like STOMP;" },
    { OCTETS("AMQP\0\1\0\0"), "looks like AMQP 1.0;" },
    { OCTETS("AMQP\2\1\0\0"), "looks like AMQP 1.0;" },
    { OCTETS("AMQP\3\1\0\0"), "looks like AMQP 1.0;" },
    { OCTETS("AMQP\1\1\x08\0"), "looks like another version of AMQP;" },
    { OCTETS("AMQP\0\0\x0a\0"), "looks like another version of AMQP;" },
    { OCTETS("\0\0\0\x50\0\x11\0\1"), "looks like the RabbitMQ stream protocol;" },
    { OCTETS("PROXY TC"), "looks like the PROXY protocol" },
    { OCTETS("\r\n\r\n\0\r\nQ"), "looks like the PROXY protocol" },
    { OCTETS("SSH-2.0-"), "looks like SSH;" },
    { OCTETS("PING\r\n"), "looks like Redis;" },
    { OCTETS("*1\r\n$4\r\n"), "looks like Redis;" },
    { OCTETS("garbage!"), "does not speak AMQP: it begins with \"garbage!\"" },
    { OCTETS("a\"\\\n\xff"), "does not speak AMQP: it begins with \"a\\x22\\x5c\\x0a\\xff\"" },
    { OCTETS("\xff\xff\xff\xff\xff\xff\xff\xff"),
      "does not speak AMQP: it begins with \"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\"" },
};

START_TEST(test_first_octets_name_the_protocol)
{
    char text[FOREIGN_TEXT_BYTES] = "unchanged";
    const char *named = foreign_case[_i].named;
    const char *what = foreign_describe(foreign_case[_i].octets, foreign_case[_i].size, text);

    ck_assert_int_eq(what != NULL, named != NULL);
    ck_assert_msg(strncmp(text, named ? named : "unchanged", strlen(named ? named : text)) == 0,
                  "it is called: %s", text);
}
END_TEST

START_TEST(test_equal_protocols_have_equal_identifiers)
{
    char text[FOREIGN_TEXT_BYTES];

    ck_assert_ptr_eq(foreign_describe(OCTETS("GET / HT"), text),
                     foreign_describe(OCTETS("PUT /api"), text));
    ck_assert_ptr_eq(foreign_describe(OCTETS("garbage!"), text),
                     foreign_describe(OCTETS("rubbish!"), text));
    ck_assert_ptr_ne(foreign_describe(OCTETS("GET / HT"), text),
                     foreign_describe(OCTETS("SSH-2.0-"), text));
}
END_TEST

static struct foreign_log notes;
static unsigned suppressed;

static void setup(void)
{
    notes = (struct foreign_log){ 0 };
    suppressed = 0;
}

static bool admit(uint8_t host, const char *what, uint64_t now_ms)
{
    struct in6_addr address = { .s6_addr = { [15] = host } };

    return foreign_log_admit(&notes, &address, what, now_ms, &suppressed);
}

START_TEST(test_an_address_is_logged_once_a_minute_and_protocol)
{
    static const char tls[] = "tls", http[] = "http";

    ck_assert(admit(1, tls, 1000));
    ck_assert(!admit(1, tls, 1000));
    ck_assert(!admit(1, tls, 1000 + FOREIGN_QUIET_MS - 1));
    ck_assert(admit(2, tls, 1000));
    ck_assert(admit(1, http, 1000));
    ck_assert_uint_eq(suppressed, 0);
    ck_assert(admit(1, tls, 1000 + FOREIGN_QUIET_MS));
    ck_assert_uint_eq(suppressed, 2);
    ck_assert(!admit(1, tls, 1001 + FOREIGN_QUIET_MS));
}
END_TEST

START_TEST(test_all_addresses_together_are_bounded)
{
    static const char tls[] = "tls";
    unsigned admitted = 0;

    for (unsigned host = 0; host < 256; host++)
        admitted += admit((uint8_t)host, tls, 1000 + host);
    ck_assert_uint_eq(admitted, FOREIGN_PLACES);
    ck_assert(!admit(255, tls, 2000));
    ck_assert(admit(255, tls, 1000 + FOREIGN_QUIET_MS)); /* the first place is free again */
    ck_assert(!admit(254, tls, 1000 + FOREIGN_QUIET_MS));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("foreign");
    TCase *tcase = tcase_create("foreign");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_loop_test(tcase, test_first_octets_name_the_protocol, 0, N_ELEMENTS(foreign_case));
    tcase_add_test(tcase, test_equal_protocols_have_equal_identifiers);
    tcase_add_test(tcase, test_an_address_is_logged_once_a_minute_and_protocol);
    tcase_add_test(tcase, test_all_addresses_together_are_bounded);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
