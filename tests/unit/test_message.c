/*
 * test_message.c - messages: building, growing, and the stored form there and back
 */
#include <errno.h>

#include "broker/message.h"
#include "unit.h"

static const uint8_t properties[] = { 0x10, 0x00, 0x02 }; /* delivery-mode 2 */

static struct message *sample(const char *body)
{
    size_t size = strlen(body);
    struct message *message =
        message_new(AMQP_STR("orders"), AMQP_STR("eu.created"),
                    (struct amqp_bytes){ properties, sizeof properties }, (uint32_t)size);

    ck_assert_ptr_nonnull(message);
    memcpy(message_body_writable(message), body, size);
    return message;
}

static void assert_same(const struct message *message, const char *body)
{
    ck_assert(amqp_str_equal(message_exchange(message), AMQP_STR("orders")));
    ck_assert(amqp_str_equal(message_routing_key(message), AMQP_STR("eu.created")));
    ck_assert_uint_eq(message_properties(message).size, sizeof properties);
    ck_assert_mem_eq(message_properties(message).data, properties, sizeof properties);
    ck_assert_uint_eq(message->body_bytes, strlen(body));
    ck_assert_mem_eq(message_body(message), body, strlen(body));
}

/* The stored form in one piece; the caller frees it. */
static struct amqp_bytes stored(const struct message *message)
{
    uint8_t head[MESSAGE_STORED_HEAD_BYTES], *octets;
    struct iovec parts[MESSAGE_STORED_PARTS];

    message_stored_parts(message, head, parts);
    octets = malloc(parts[0].iov_len + parts[1].iov_len);
    ck_assert_ptr_nonnull(octets);
    memcpy(octets, parts[0].iov_base, parts[0].iov_len);
    memcpy(octets + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    return (struct amqp_bytes){ octets, parts[0].iov_len + parts[1].iov_len };
}

START_TEST(test_new_message_holds_copies)
{
    struct message *message = sample("hello");

    assert_same(message, "hello");
    ck_assert_int_eq(message->expiration_ms, -1);
    ck_assert_uint_eq(message->location, 0);
    ck_assert(!message->persistent);
    message_unref(message);
    message_unref(NULL);
}
END_TEST

START_TEST(test_empty_message_has_only_ends)
{
    struct message *message =
        message_new(AMQP_STR(""), AMQP_STR(""), (struct amqp_bytes){ NULL, 0 }, 0);

    ck_assert_uint_eq(message_exchange(message).size, 0);
    ck_assert_uint_eq(message_properties(message).size, 0);
    ck_assert_uint_eq(message->body_bytes, 0);
    message_unref(message);
}
END_TEST

START_TEST(test_message_lives_until_its_last_reference_goes)
{
    struct message *message = sample("x"), *other = message_ref(message);

    message_unref(message);
    assert_same(other, "x");
    message_unref(other);
}
END_TEST

START_TEST(test_grown_message_keeps_what_it_has)
{
    struct message *message = sample("begin");

    message = message_grow(message, 100000);
    ck_assert_ptr_nonnull(message);
    ck_assert_uint_eq(message->body_bytes, 100000);
    ck_assert_mem_eq(message_body(message), "begin", 5);
    memset(message_body_writable(message), 'z', 100000);
    message->body_bytes = 3; /* what a short content leaves */
    assert_same(message, "zzz");
    message_unref(message);
}
END_TEST

START_TEST(test_stored_message_comes_back_the_same)
{
    struct message *message = sample("body"), *back;
    struct amqp_bytes octets;

    message->priority = 7;
    message->persistent = true;
    message->expiration_ms = 60000;
    octets = stored(message);
    ck_assert_int_eq(message_from_stored(octets, 42, &back), 0);
    assert_same(back, "body");
    ck_assert_uint_eq(back->refs, 1);
    ck_assert_uint_eq(back->priority, 7);
    ck_assert(back->persistent);
    ck_assert_int_eq(back->expiration_ms, 60000);
    ck_assert_uint_eq(back->location, 42);
    message_unref(back);
    message_unref(message);
    free((uint8_t *)(uintptr_t)octets.data);
}
END_TEST

START_TEST(test_damaged_stored_message_is_refused)
{
    struct message *message = sample("body"), *back = NULL;
    struct amqp_bytes octets = stored(message);
    uint8_t *longer = malloc(octets.size + 1);

    for (size_t size = 0; size < octets.size; size++)
        ck_assert_int_eq(message_from_stored((struct amqp_bytes){ octets.data, size }, 1, &back),
                         -EBADMSG);
    memcpy(longer, octets.data, octets.size);
    longer[octets.size] = 0;
    ck_assert_int_eq(
        message_from_stored((struct amqp_bytes){ longer, octets.size + 1 }, 1, &back), -EBADMSG);
    longer[0] = 9; /* a format of the future */
    ck_assert_int_eq(message_from_stored((struct amqp_bytes){ longer, octets.size }, 1, &back),
                     -EBADMSG);
    ck_assert_ptr_null(back);
    free(longer);
    message_unref(message);
    free((uint8_t *)(uintptr_t)octets.data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("message");
    TCase *tcase = tcase_create("message");

    tcase_add_test(tcase, test_new_message_holds_copies);
    tcase_add_test(tcase, test_empty_message_has_only_ends);
    tcase_add_test(tcase, test_message_lives_until_its_last_reference_goes);
    tcase_add_test(tcase, test_grown_message_keeps_what_it_has);
    tcase_add_test(tcase, test_stored_message_comes_back_the_same);
    tcase_add_test(tcase, test_damaged_stored_message_is_refused);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
