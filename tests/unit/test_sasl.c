/*
 * test_sasl.c - PLAIN and AMQPLAIN, octet by octet
 *
 * Each response is written out as a client sends it; what a real broker answered to the same octets
 * decides between refused and malformed (amqp-0-9-1 reference, mechanisms).
 */
#include "auth/sasl.h"
#include "unit.h"

static struct auth *auth;
static struct user *user;
static char reason[256];

static void setup(void)
{
    static const struct amqp_bytes password = { (const uint8_t *)"guest", 5 };
    char *hash = auth_hash_password(AUTH_HASHING_SHA256, password);

    auth = auth_new();
    ck_assert_ptr_nonnull(auth);
    ck_assert_int_eq(auth_put_user(auth, "guest", AUTH_HASHING_SHA256, hash, ""), 0);
    ck_assert_int_eq(auth_put_user(auth, "mute", AUTH_HASHING_SHA256, "", ""), 0);
    free(hash);
    user = NULL;
}

static void teardown(void)
{
    auth_free(auth);
}

static enum sasl_outcome answer_offer(const char *offered, const char *mechanism,
                                      const char *response, size_t size)
{
    /* A heap copy of the exact size lets a sanitizer see one octet too far. */
    uint8_t *copy = malloc(size ? size : 1);
    enum sasl_outcome outcome;

    if (size)
        memcpy(copy, response, size);
    outcome = sasl_authenticate(auth, offered, amqp_str_from(mechanism),
                                (struct amqp_bytes){ copy, size }, &user, reason, sizeof reason);
    free(copy);
    return outcome;
}

static enum sasl_outcome answer(const char *mechanism, const char *response, size_t size)
{
    return answer_offer(SASL_MECHANISMS, mechanism, response, size);
}

#define LOGIN(size, name) "\x05LOGINS\0\0\0" size name
#define PASSWORD(size, text) "\x08PASSWORDS\0\0\0" size text
#define CASE(mechanism, response, outcome, reason) \
    { mechanism, response, sizeof response - 1, outcome, reason }

#define MALFORMED(mechanism) "malformed response of authentication mechanism " mechanism
#define REFUSED(mechanism, name) mechanism " login refused: user '" name "' - invalid credentials"

static const struct {
    const char *mechanism;
    const char *response;
    size_t size;
    enum sasl_outcome outcome;
    const char *reason;
} response_case[] = {
    CASE("PLAIN", "\0guest\0guest", SASL_OK, NULL),
    CASE("PLAIN", "\0guest\0gues", SASL_REFUSED, REFUSED("PLAIN", "guest")),
    CASE("PLAIN", "\0guest\0guest2", SASL_REFUSED, REFUSED("PLAIN", "guest")),
    CASE("PLAIN", "\0nobody\0guest", SASL_REFUSED, REFUSED("PLAIN", "nobody")),
    CASE("PLAIN", "\0guest\0", SASL_REFUSED, REFUSED("PLAIN", "guest")),
    CASE("PLAIN", "\0mute\0", SASL_REFUSED, REFUSED("PLAIN", "mute")),
    CASE("PLAIN", "\0\0", SASL_REFUSED, REFUSED("PLAIN", "")),
    CASE("PLAIN", "guest\0guest\0guest", SASL_MALFORMED, MALFORMED("PLAIN")),
    CASE("PLAIN", "\0guest\0guest\0", SASL_MALFORMED, MALFORMED("PLAIN")),
    CASE("PLAIN", "\0guest", SASL_MALFORMED, MALFORMED("PLAIN")),
    CASE("PLAIN", "guest", SASL_MALFORMED, MALFORMED("PLAIN")),
    CASE("PLAIN", "\0", SASL_MALFORMED, MALFORMED("PLAIN")),
    CASE("PLAIN", "", SASL_MALFORMED, MALFORMED("PLAIN")),
    CASE("AMQPLAIN", LOGIN("\x05", "guest") PASSWORD("\x05", "guest"), SASL_OK, NULL),
    CASE("AMQPLAIN", PASSWORD("\x05", "guest") LOGIN("\x05", "guest"), SASL_OK, NULL),
    CASE("AMQPLAIN", "\x05LOGINx\0\0\0\x05guest\x08PASSWORDx\0\0\0\x05guest", SASL_OK, NULL),
    CASE("AMQPLAIN", LOGIN("\x05", "guest") "\1ot\1" PASSWORD("\x05", "guest"), SASL_OK, NULL),
    CASE("AMQPLAIN", LOGIN("\x05", "guest") PASSWORD("\x04", "gues"), SASL_REFUSED,
         REFUSED("AMQPLAIN", "guest")),
    CASE("AMQPLAIN", LOGIN("\x07", "guest\0x") PASSWORD("\x05", "guest"), SASL_REFUSED,
         REFUSED("AMQPLAIN", "guest?x")),
    CASE("AMQPLAIN", LOGIN("\x05", "guest") PASSWORD("\x07", "guest\0x"), SASL_REFUSED,
         REFUSED("AMQPLAIN", "guest")),
    CASE("AMQPLAIN", LOGIN("\0", "") PASSWORD("\0", ""), SASL_REFUSED, REFUSED("AMQPLAIN", "")),
    CASE("AMQPLAIN", LOGIN("\x05", "guest"), SASL_MALFORMED, MALFORMED("AMQPLAIN")),
    CASE("AMQPLAIN", PASSWORD("\x05", "guest"), SASL_MALFORMED, MALFORMED("AMQPLAIN")),
    CASE("AMQPLAIN", "\x05LOGINt\1" PASSWORD("\x05", "guest"), SASL_MALFORMED,
         MALFORMED("AMQPLAIN")),
    CASE("AMQPLAIN", "\0\0\0\x23" LOGIN("\x05", "guest") PASSWORD("\x05", "guest"), SASL_MALFORMED,
         MALFORMED("AMQPLAIN")),
    CASE("AMQPLAIN", "", SASL_MALFORMED, MALFORMED("AMQPLAIN")),
    CASE("FOO", "\0guest\0guest", SASL_MALFORMED, "unknown authentication mechanism 'FOO'"),
    CASE("plain", "\0guest\0guest", SASL_MALFORMED, "unknown authentication mechanism 'plain'"),
    CASE("", "", SASL_MALFORMED, "unknown authentication mechanism ''"),
};

START_TEST(test_response_has_its_outcome_and_reason)
{
    ck_assert_int_eq(answer(response_case[_i].mechanism, response_case[_i].response,
                            response_case[_i].size),
                     response_case[_i].outcome);
    if (response_case[_i].outcome == SASL_OK) {
        ck_assert_ptr_eq(user, auth_find_user(auth, "guest"));
    } else {
        ck_assert_ptr_null(user);
        ck_assert_str_eq(reason, response_case[_i].reason);
    }
}
END_TEST

START_TEST(test_truncated_amqplain_is_never_accepted)
{
    static const char whole[] = LOGIN("\x05", "guest") PASSWORD("\x05", "guest");

    for (size_t size = 0; size < sizeof whole - 1; size++)
        ck_assert_int_eq(answer("AMQPLAIN", whole, size), SASL_MALFORMED);
    ck_assert_int_eq(answer("AMQPLAIN", whole, sizeof whole - 1), SASL_OK);
}
END_TEST

START_TEST(test_reason_is_cut_to_its_buffer)
{
    char response[2000] = { 0 };

    memset(response + 1, 'u', sizeof response - 3);
    ck_assert_int_eq(answer("PLAIN", response, sizeof response - 1), SASL_REFUSED);
    ck_assert_uint_eq(strlen(reason), sizeof reason - 1);
}
END_TEST

START_TEST(test_offered_mechanisms_are_known)
{
    char offered[] = SASL_MECHANISMS;

    for (char *name = strtok(offered, " "); name; name = strtok(NULL, " ")) {
        ck_assert_int_eq(answer(name, "", 0), SASL_MALFORMED);
        ck_assert_int_eq(strncmp(reason, "malformed", 9), 0);
    }
}
END_TEST

START_TEST(test_mechanism_that_is_not_offered_is_unknown)
{
    static const char response[] = LOGIN("\x05", "guest") PASSWORD("\x05", "guest");

    ck_assert_int_eq(answer_offer("PLAIN", "AMQPLAIN", response, sizeof response - 1),
                     SASL_MALFORMED);
    ck_assert_str_eq(reason, "unknown authentication mechanism 'AMQPLAIN'");
    ck_assert_int_eq(answer_offer("AMQPLAIN", "PLAIN", "\0guest\0guest", 12), SASL_MALFORMED);
    ck_assert_int_eq(answer_offer("PLAIN", "PLAIN", "\0guest\0guest", 12), SASL_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sasl");
    TCase *tcase = tcase_create("sasl");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_response_has_its_outcome_and_reason, 0,
                        N_ELEMENTS(response_case));
    tcase_add_test(tcase, test_truncated_amqplain_is_never_accepted);
    tcase_add_test(tcase, test_reason_is_cut_to_its_buffer);
    tcase_add_test(tcase, test_offered_mechanisms_are_known);
    tcase_add_test(tcase, test_mechanism_that_is_not_offered_is_unknown);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
