/*
 * test_reply.c - reply codes and the texts that go with them
 */
#include "amqp/method.h"
#include "amqp/reply.h"
#include "unit.h"

static const struct {
    int code;
    const char *name;
    bool hard;
} reply_case[] = {
    { 311, "CONTENT_TOO_LARGE", false },   { 312, "NO_ROUTE", false },
    { 313, "NO_CONSUMERS", false },        { 320, "CONNECTION_FORCED", true },
    { 402, "INVALID_PATH", true },         { 403, "ACCESS_REFUSED", false },
    { 404, "NOT_FOUND", false },           { 405, "RESOURCE_LOCKED", false },
    { 406, "PRECONDITION_FAILED", false }, { 501, "FRAME_ERROR", true },
    { 502, "SYNTAX_ERROR", true },         { 503, "COMMAND_INVALID", true },
    { 504, "CHANNEL_ERROR", true },        { 505, "UNEXPECTED_FRAME", true },
    { 506, "RESOURCE_ERROR", true },       { 530, "NOT_ALLOWED", true },
    { 540, "NOT_IMPLEMENTED", true },      { 541, "INTERNAL_ERROR", true },
};

START_TEST(test_codes_have_the_names_and_scope_of_the_spec)
{
    ck_assert_str_eq(amqp_reply_name(reply_case[_i].code), reply_case[_i].name);
    ck_assert_int_eq(amqp_reply_is_hard(reply_case[_i].code), reply_case[_i].hard);
}
END_TEST

START_TEST(test_other_numbers_are_no_codes)
{
    int known = 0;

    for (int code = -1; code < 1000; code++)
        known += amqp_reply_name(code) != NULL;
    ck_assert_int_eq(known, N_ELEMENTS(reply_case));
    ck_assert(!amqp_reply_is_hard(999));
}
END_TEST

START_TEST(test_raise_writes_name_and_explanation)
{
    struct amqp_error err;

    ck_assert_int_eq(amqp_raise(&err, AMQP_NOT_FOUND, "no queue '%s' in vhost '%s'", "q", "/"),
                     AMQP_NOT_FOUND);
    ck_assert_int_eq(err.code, 404);
    ck_assert(!err.hard);
    ck_assert_uint_eq(err.method_id, AMQP_ERROR_METHOD_UNSET);
    ck_assert_str_eq(err.text, "NOT_FOUND - no queue 'q' in vhost '/'");
}
END_TEST

START_TEST(test_raise_without_explanation_is_the_bare_name)
{
    struct amqp_error err;

    amqp_raise(&err, AMQP_INTERNAL_ERROR, NULL);
    ck_assert_str_eq(err.text, "INTERNAL_ERROR");
    ck_assert(err.hard);
}
END_TEST

START_TEST(test_text_of_255_octets_stays_whole)
{
    int room = 255 - (int)strlen("NOT_FOUND - ");
    struct amqp_error err;

    amqp_raise(&err, AMQP_NOT_FOUND, "%0*d", room, 0);
    ck_assert_uint_eq(strlen(err.text), 255);
    ck_assert_str_eq(err.text + 254, "0");
}
END_TEST

START_TEST(test_longer_text_keeps_252_octets_and_dots)
{
    struct amqp_error err;

    amqp_raise(&err, AMQP_NOT_FOUND, "%0*d", 256 - (int)strlen("NOT_FOUND - "), 0);
    ck_assert_uint_eq(strlen(err.text), 255);
    ck_assert_str_eq(err.text + 251, "0...");
    amqp_raise(&err, AMQP_NOT_FOUND, "%0*d", 100000, 0);
    ck_assert_uint_eq(strlen(err.text), 255);
    ck_assert_str_eq(err.text + 251, "0...");
}
END_TEST

START_TEST(test_cut_never_splits_a_character)
{
    static const char *const characters[] = { "\u00e9", "\u20ac", "\U0001f407" };
    struct amqp_error err;
    char text[400];

    for (size_t i = 0; i < N_ELEMENTS(characters); i++) {
        for (size_t shift = 0; shift < 4; shift++) {
            size_t size = strlen(characters[i]);

            memset(text, 'a', shift);
            for (size_t at = shift; at < 300; at += size)
                memcpy(text + at, characters[i], size + 1);
            amqp_raise(&err, AMQP_NOT_FOUND, "%s", text);
            ck_assert(amqp_utf8_valid(amqp_str_from(err.text)));
            ck_assert_ptr_null(strchr(err.text, '?'));
            ck_assert_uint_le(strlen(err.text), 255);
            ck_assert_uint_gt(strlen(err.text), 255 - 4);
            ck_assert_str_eq(err.text + strlen(err.text) - 3, "...");
        }
    }
}
END_TEST

START_TEST(test_octets_that_are_not_utf8_become_question_marks)
{
    struct amqp_error err;

    amqp_raise(&err, AMQP_NOT_FOUND, "no exchange '\xff\xfe\xc3\xa9\xc3' in vhost '/'");
    ck_assert_str_eq(err.text, "NOT_FOUND - no exchange '??\xc3\xa9?' in vhost '/'");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reply");
    TCase *codes = tcase_create("codes"), *texts = tcase_create("texts");

    tcase_add_loop_test(codes, test_codes_have_the_names_and_scope_of_the_spec, 0,
                        N_ELEMENTS(reply_case));
    tcase_add_test(codes, test_other_numbers_are_no_codes);
    suite_add_tcase(suite, codes);
    tcase_add_test(texts, test_raise_writes_name_and_explanation);
    tcase_add_test(texts, test_raise_without_explanation_is_the_bare_name);
    tcase_add_test(texts, test_text_of_255_octets_stays_whole);
    tcase_add_test(texts, test_longer_text_keeps_252_octets_and_dots);
    tcase_add_test(texts, test_cut_never_splits_a_character);
    tcase_add_test(texts, test_octets_that_are_not_utf8_become_question_marks);
    suite_add_tcase(suite, texts);
    return unit_run(suite);
}
