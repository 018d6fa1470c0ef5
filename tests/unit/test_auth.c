/*
 * test_auth.c - users, password hashes, permissions, topic permissions
 *
 * Hashes are the worked examples of RabbitMQ's documentation and of an exported definitions file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "auth/auth.h"
#include "unit.h"

static struct auth *auth;
static char error_text[256];

static void setup(void)
{
    auth = auth_new();
    ck_assert_ptr_nonnull(auth);
    ck_assert_int_eq(auth_put_user(auth, "app", AUTH_HASHING_SHA256, "", ""), 0);
    error_text[0] = '\0';
}

static void teardown(void)
{
    auth_free(auth);
}

static struct amqp_bytes bytes(const char *text)
{
    return (struct amqp_bytes){ (const uint8_t *)text, strlen(text) };
}

static int permit(const char *vhost, const char *configure, const char *write, const char *read)
{
    return auth_put_permissions(auth, "app", vhost, configure, write, read, error_text,
                                sizeof error_text);
}

/* --- users and passwords --- */

#define TEST12_SHA256 "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
#define TEST12_MD5 "kI3GChNpte2FApYFXScl+0dIluk="
#define TEST12_SHA512                                                  \
    "kI3GChuNuIYf8lRbCCxZjgjKwsY19ns6+uFO0zcXRBGA/XGJPYD8OWMy7EB8TaOm" \
    "AzjP2azv84GbINYwX2cDWb4DHnc="

static const struct {
    enum auth_hashing hashing;
    const char *hash;
    const char *password;
    bool passes;
} password_case[] = {
    { AUTH_HASHING_SHA256, TEST12_SHA256, "test12", true },
    { AUTH_HASHING_SHA256, TEST12_SHA256, "test13", false },
    { AUTH_HASHING_SHA256, TEST12_SHA256, "test1", false },
    { AUTH_HASHING_SHA256, TEST12_SHA256, "", false },
    { AUTH_HASHING_SHA512, TEST12_SHA512, "test12", true },
    { AUTH_HASHING_SHA512, TEST12_SHA512, "Test12", false },
    { AUTH_HASHING_MD5, TEST12_MD5, "test12", true },
    { AUTH_HASHING_MD5, TEST12_MD5, "test", false },
    { AUTH_HASHING_SHA256, "8/ds9rQe3eUa7Fcef1GOi8Y/KxH+LkmnJxQEJ76SKbdIfT4x", "adminpw", true },
    { AUTH_HASHING_SHA256, "", "", false },
    { AUTH_HASHING_SHA256, "", "x", false },
};

START_TEST(test_password_is_checked_against_its_hash)
{
    struct user *user;

    ck_assert_int_eq(auth_put_user(auth, "u", password_case[_i].hashing, password_case[_i].hash,
                                   ""),
                     0);
    user = auth_find_user(auth, "u");
    ck_assert_int_eq(auth_check_password(user, bytes(password_case[_i].password)),
                     password_case[_i].passes);
}
END_TEST

static const struct {
    enum auth_hashing hashing;
    const char *hash;
} bad_hash[] = {
    { AUTH_HASHING_SHA512, TEST12_SHA256 },
    { AUTH_HASHING_MD5, TEST12_SHA256 },
    { AUTH_HASHING_SHA256, TEST12_MD5 },
    { AUTH_HASHING_SHA256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PO" },
    { AUTH_HASHING_SHA256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PO=" },
    { AUTH_HASHING_SHA256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2P!R" },
    { AUTH_HASHING_SHA256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR " },
    { AUTH_HASHING_SHA256, " kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR" },
    { AUTH_HASHING_SHA256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR====" },
    { AUTH_HASHING_SHA256, "====" },
    { AUTH_HASHING_SHA256, "test12" },
};

START_TEST(test_malformed_hash_is_refused_and_changes_nothing)
{
    uint64_t generation = auth_generation(auth);

    ck_assert_int_eq(auth_put_user(auth, "u", bad_hash[_i].hashing, bad_hash[_i].hash, "x"),
                     -EINVAL);
    ck_assert_ptr_null(auth_find_user(auth, "u"));
    ck_assert_int_eq(auth_put_user(auth, "app", bad_hash[_i].hashing, bad_hash[_i].hash, "x"),
                     -EINVAL);
    ck_assert_str_eq(auth_find_user(auth, "app")->tags, "");
    ck_assert_uint_eq(auth_generation(auth), generation);
}
END_TEST

START_TEST(test_made_hash_verifies_and_is_salted)
{
    enum auth_hashing hashing = _i ? AUTH_HASHING_SHA512 : AUTH_HASHING_SHA256;
    char *one = auth_hash_password(hashing, bytes("s3cret"));
    char *two = auth_hash_password(hashing, bytes("s3cret"));

    ck_assert_uint_eq(strlen(one), _i ? 92 : 48);
    ck_assert_str_ne(one, two);
    ck_assert_int_eq(auth_put_user(auth, "one", hashing, one, ""), 0);
    ck_assert_int_eq(auth_put_user(auth, "two", hashing, two, ""), 0);
    ck_assert(auth_check_password(auth_find_user(auth, "one"), bytes("s3cret")));
    ck_assert(auth_check_password(auth_find_user(auth, "two"), bytes("s3cret")));
    ck_assert(!auth_check_password(auth_find_user(auth, "two"), bytes("S3cret")));
    free(one);
    free(two);
}
END_TEST

START_TEST(test_blank_password_never_passes_even_with_its_own_hash)
{
    char *hash = auth_hash_password(AUTH_HASHING_SHA256, bytes(""));

    ck_assert_int_eq(auth_put_user(auth, "blank", AUTH_HASHING_SHA256, hash, ""), 0);
    ck_assert(!auth_check_password(auth_find_user(auth, "blank"), bytes("")));
    ck_assert(!auth_check_password(NULL, bytes("x")));
    free(hash);
}
END_TEST

START_TEST(test_putting_a_user_again_keeps_permissions_and_limits)
{
    struct user *user = auth_find_user(auth, "app");
    uint64_t generation;

    ck_assert_int_eq(user->max_connections, -1);
    ck_assert_int_eq(user->max_channels, -1);
    user->max_channels = 7;
    ck_assert_int_eq(permit("/", "a", "b", "c"), 0);
    generation = auth_generation(auth);
    ck_assert_int_eq(auth_put_user(auth, "app", AUTH_HASHING_MD5, TEST12_MD5,
                                   "monitoring"),
                     0);
    ck_assert_uint_gt(auth_generation(auth), generation);
    ck_assert_ptr_eq(auth_find_user(auth, "app"), user);
    ck_assert_int_eq(user->max_channels, 7);
    ck_assert_int_eq(user->hashing, AUTH_HASHING_MD5);
    ck_assert_str_eq(user->tags, "monitoring");
    ck_assert_ptr_nonnull(auth_find_permissions(auth, "app", "/"));
}
END_TEST

START_TEST(test_deleted_user_takes_its_rows_along)
{
    ck_assert_int_eq(permit("/", ".*", ".*", ".*"), 0);
    ck_assert_int_eq(auth_put_topic_permissions(auth, "app", "/", "t", "^$", "^$", error_text,
                                                sizeof error_text),
                     0);
    ck_assert_int_eq(auth_delete_user(auth, "app"), 0);
    ck_assert_int_eq(auth_delete_user(auth, "app"), -ENOENT);
    ck_assert_ptr_null(auth_find_permissions(auth, "app", "/"));
    ck_assert_int_eq(auth_put_user(auth, "app", AUTH_HASHING_SHA256, "", ""), 0);
    ck_assert_ptr_null(auth_find_permissions(auth, "app", "/"));
    ck_assert(auth_topic_allows(auth, "app", "/", AMQP_STR("t"), PERMISSION_WRITE, AMQP_STR("k")));
}
END_TEST

static const struct {
    const char *tags;
    const char *tag;
    bool has;
} tag_case[] = {
    { "administrator", "administrator", true },
    { "monitoring,policymaker", "policymaker", true },
    { "monitoring, policymaker", "policymaker", true },
    { "monitoring,policymaker", "policy", false },
    { "monitoring,policymaker", "maker", false },
    { "administrators", "administrator", false },
    { "", "administrator", false },
    { "a,,b", "", false },
    { "a,,b", "b", true },
};

START_TEST(test_tag_is_a_whole_word)
{
    struct user user = { .tags = strdup(tag_case[_i].tags) };

    ck_assert_int_eq(user_has_tag(&user, tag_case[_i].tag), tag_case[_i].has);
    free(user.tags);
}
END_TEST

/* --- permissions --- */

static const struct {
    const char *pattern;
    const char *name;
    bool allowed;
} pattern_case[] = {
    { ".*", "anything", true },        { ".*", "", true },
    { "", "q", false },                { "", "", true },
    { "^$", "q", false },              { "^$", "", true },
    { "y", "myq", true },              { "y", "mq", false },
    { "^y", "myq", false },            { "^(orders|amq\\.gen).*", "amq.gen-x", true },
    { "^(orders|amq\\.gen).*", "amq-gen", false },
    { "^amq\\.default$", "amq.default", true },
    { "(?i)^ORDERS$", "orders", true }, { "^[^/]+$", "a/b", false },
    { "^.$", "\xc3\xa9", false },      { "^..$", "\xc3\xa9", true }, /* octets, as re:run/3 */
    { "^a.b$", "a\nb", false },
};

START_TEST(test_pattern_is_searched_in_the_name)
{
    ck_assert_int_eq(permit("/", pattern_case[_i].pattern, "", ""), 0);
    ck_assert_int_eq(permissions_allow(auth_find_permissions(auth, "app", "/"),
                                       PERMISSION_CONFIGURE,
                                       amqp_str_from(pattern_case[_i].name)),
                     pattern_case[_i].allowed);
}
END_TEST

START_TEST(test_each_permission_has_its_own_pattern)
{
    const struct permissions *permissions;

    ck_assert_int_eq(permit("/", "^c", "^w", "^r"), 0);
    permissions = auth_find_permissions(auth, "app", "/");
    ck_assert_str_eq(permissions_pattern(permissions, PERMISSION_CONFIGURE), "^c");
    ck_assert_str_eq(permissions_pattern(permissions, PERMISSION_WRITE), "^w");
    ck_assert_str_eq(permissions_pattern(permissions, PERMISSION_READ), "^r");
    ck_assert(permissions_allow(permissions, PERMISSION_CONFIGURE, AMQP_STR("c")));
    ck_assert(permissions_allow(permissions, PERMISSION_WRITE, AMQP_STR("w")));
    ck_assert(permissions_allow(permissions, PERMISSION_READ, AMQP_STR("r")));
    ck_assert(!permissions_allow(permissions, PERMISSION_READ, AMQP_STR("w")));
}
END_TEST

START_TEST(test_invalid_pattern_is_named_and_changes_nothing)
{
    uint64_t generation;

    ck_assert_int_eq(permit("/", "a", "b", "c"), 0);
    generation = auth_generation(auth);
    ck_assert_int_eq(permit("/", "x", "(unclosed", "x"), -EINVAL);
    ck_assert_str_eq(error_text, "write: missing closing parenthesis at offset 9");
    ck_assert_int_eq(permit("/", "x", "x", "*"), -EINVAL);
    ck_assert_int_eq(strncmp(error_text, "read: ", 6), 0);
    ck_assert_int_eq(permit("/", "(*UTF8)x", "x", "x"), -EINVAL);
    ck_assert_str_eq(permissions_pattern(auth_find_permissions(auth, "app", "/"),
                                         PERMISSION_CONFIGURE),
                     "a");
    ck_assert_int_eq(permit("new", "*", "x", "x"), -EINVAL);
    ck_assert_ptr_null(auth_find_permissions(auth, "app", "new"));
    ck_assert_uint_eq(auth_generation(auth), generation);
}
END_TEST

START_TEST(test_pattern_longer_than_16_kib_is_refused)
{
    char *pattern = malloc(16384 + 2);

    memset(pattern, 'a', 16384 + 1);
    pattern[16384] = '\0';
    ck_assert_int_eq(permit("/", pattern, "", ""), 0);
    pattern[16384] = 'a';
    pattern[16384 + 1] = '\0';
    ck_assert_int_eq(permit("/", pattern, "", ""), -EINVAL);
    free(pattern);
}
END_TEST

/* Patterns that backtrack without end on the names below; an unbounded search takes minutes. */
static const char *const hostile_pattern[] = {
    "^(a+)+$",
    "^(a|aa)+$",
    "(a*)*b",
    "(?:a?){100}a{100}b",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(?R)?a(?R)?b",
    "((((((a*)*)*)*)*)*)*c",
};

START_TEST(test_hostile_pattern_costs_little_and_refuses)
{
    char name[256];
    clock_t begun;

    memset(name, 'a', 254);
    name[254] = '!';
    name[255] = '\0';
    ck_assert_int_eq(permit("/", hostile_pattern[_i], "", ""), 0);
    begun = clock();
    ck_assert(!permissions_allow(auth_find_permissions(auth, "app", "/"), PERMISSION_CONFIGURE,
                                 amqp_str_from(name)));
    ck_assert_int_lt((clock() - begun) / (CLOCKS_PER_SEC / 1000), 1000); /* ms of CPU time */
}
END_TEST

START_TEST(test_unknown_user_or_vhost_has_no_permissions)
{
    ck_assert_int_eq(auth_put_permissions(auth, "nobody", "/", "", "", "", error_text,
                                          sizeof error_text),
                     -ENOENT);
    ck_assert_ptr_null(auth_find_permissions(auth, "app", "/"));
    ck_assert_ptr_null(auth_find_permissions(auth, "nobody", "/"));
    ck_assert_int_eq(auth_delete_permissions(auth, "app", "/"), -ENOENT);
    ck_assert_int_eq(auth_delete_permissions(auth, "nobody", "/"), -ENOENT);
    ck_assert_int_eq(permit("/", "", "", ""), 0);
    ck_assert_int_eq(auth_delete_permissions(auth, "app", "/"), 0);
    ck_assert_ptr_null(auth_find_permissions(auth, "app", "/"));
}
END_TEST

/* --- topic permissions --- */

static bool may_publish(const char *user, const char *vhost, const char *key)
{
    return auth_topic_allows(auth, user, vhost, AMQP_STR("orders"), PERMISSION_WRITE,
                             amqp_str_from(key));
}

static int permit_topic(const char *user, const char *vhost, const char *write)
{
    return auth_put_topic_permissions(auth, user, vhost, "orders", write, "^r", error_text,
                                      sizeof error_text);
}

START_TEST(test_topic_permission_limits_routing_keys_of_its_exchange)
{
    ck_assert(may_publish("app", "/", "other.a"));
    ck_assert_int_eq(permit_topic("app", "/", "^{username}\\."), 0);
    ck_assert(may_publish("app", "/", "app.new"));
    ck_assert(!may_publish("app", "/", "other.a"));
    ck_assert(may_publish("app", "shop", "other.a"));
    ck_assert(auth_topic_allows(auth, "app", "/", AMQP_STR("orders"), PERMISSION_READ,
                                AMQP_STR("r")));
    ck_assert(!auth_topic_allows(auth, "app", "/", AMQP_STR("orders"), PERMISSION_READ,
                                 AMQP_STR("w")));
    ck_assert(auth_topic_allows(auth, "app", "/", AMQP_STR("order"), PERMISSION_WRITE,
                                AMQP_STR("other.a")));
    ck_assert_int_eq(permit_topic("app", "/", ""), 0);
    ck_assert(!may_publish("app", "/", "app.new"));
    ck_assert_int_eq(auth_delete_topic_permissions(auth, "app", "/", "orders"), 0);
    ck_assert_int_eq(auth_delete_topic_permissions(auth, "app", "/", "orders"), -ENOENT);
    ck_assert(may_publish("app", "/", "other.a"));
}
END_TEST

START_TEST(test_variables_in_topic_patterns_are_quoted)
{
    ck_assert_int_eq(auth_put_user(auth, ".*", AUTH_HASHING_SHA256, "", ""), 0);
    ck_assert_int_eq(permit_topic(".*", "a+b", "^{username}-{vhost}$"), 0);
    ck_assert(may_publish(".*", "a+b", ".*-a+b"));
    ck_assert(!may_publish(".*", "a+b", "xx-a+b"));
    ck_assert(!may_publish(".*", "a+b", ".*-aab"));
    ck_assert_int_eq(permit_topic(".*", "a+b", "{username}{username}{vhost}{vhost}"), 0);
    ck_assert(may_publish(".*", "a+b", ".*.*a+ba+b"));
    ck_assert_int_eq(permit_topic(".*", "a+b", "{client_id}"), 0);
    ck_assert(may_publish(".*", "a+b", "{client_id}"));
}
END_TEST

START_TEST(test_topic_permission_with_bad_arguments_is_refused)
{
    char vhost[2000];

    memset(vhost, 'v', sizeof vhost - 1);
    vhost[sizeof vhost - 1] = '\0';
    ck_assert_int_eq(permit_topic("nobody", "/", ""), -ENOENT);
    ck_assert_int_eq(permit_topic("app", "/", "["), -EINVAL);
    ck_assert_int_eq(strncmp(error_text, "write: ", 7), 0);
    ck_assert_int_eq(permit_topic("app", vhost, ""), -EINVAL);
    ck_assert(may_publish("app", vhost, "k"));
}
END_TEST

START_TEST(test_deleting_a_vhost_deletes_its_rows_only)
{
    ck_assert_int_eq(permit("a", "", "", ""), 0);
    ck_assert_int_eq(permit("b", "", "", ""), 0);
    ck_assert_int_eq(permit_topic("app", "a", ""), 0);
    ck_assert_int_eq(permit_topic("app", "b", ""), 0);
    auth_delete_vhost(auth, "a");
    ck_assert_ptr_null(auth_find_permissions(auth, "app", "a"));
    ck_assert_ptr_nonnull(auth_find_permissions(auth, "app", "b"));
    ck_assert(may_publish("app", "a", "k"));
    ck_assert(!may_publish("app", "b", "k"));
}
END_TEST

/* --- visiting --- */

static char visited[256];

static void visit_user(void *context, const struct user *user)
{
    ck_assert_ptr_eq(context, &visited);
    strcat(visited, user->name);
    strcat(visited, " ");
}

static void visit_permissions(void *context, const char *user, const char *vhost,
                              const struct permissions *permissions)
{
    ck_assert_ptr_eq(context, &visited);
    snprintf(visited + strlen(visited), sizeof visited - strlen(visited), "%s@%s:%s ", user, vhost,
             permissions_pattern(permissions, PERMISSION_READ));
}

static void visit_topic(void *context, const char *user, const char *vhost, const char *exchange,
                        const char *write, const char *read)
{
    ck_assert_ptr_eq(context, &visited);
    snprintf(visited + strlen(visited), sizeof visited - strlen(visited), "%s@%s/%s:%s,%s ", user,
             vhost, exchange, write, read);
}

START_TEST(test_visits_are_in_name_order)
{
    ck_assert_int_eq(auth_put_user(auth, "zoe", AUTH_HASHING_SHA256, "", ""), 0);
    ck_assert_int_eq(auth_put_user(auth, "adam", AUTH_HASHING_SHA256, "", ""), 0);
    auth_each_user(auth, visit_user, &visited);
    ck_assert_str_eq(visited, "adam app zoe ");

    visited[0] = '\0';
    ck_assert_int_eq(permit("w", "", "", "1"), 0);
    ck_assert_int_eq(permit("v", "", "", "2"), 0);
    ck_assert_int_eq(auth_put_permissions(auth, "adam", "w", "", "", "3", error_text,
                                          sizeof error_text),
                     0);
    auth_each_permissions(auth, visit_permissions, &visited);
    ck_assert_str_eq(visited, "adam@w:3 app@v:2 app@w:1 ");

    visited[0] = '\0';
    ck_assert_int_eq(permit_topic("zoe", "w", "{vhost}"), 0);
    ck_assert_int_eq(permit_topic("zoe", "v", ""), 0);
    auth_each_topic_permissions(auth, visit_topic, &visited);
    ck_assert_str_eq(visited, "zoe@v/orders:,^r zoe@w/orders:{vhost},^r ");
}
END_TEST

static void add_user_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_password_is_checked_against_its_hash, 0,
                        N_ELEMENTS(password_case));
    tcase_add_loop_test(tcase, test_malformed_hash_is_refused_and_changes_nothing, 0,
                        N_ELEMENTS(bad_hash));
    tcase_add_loop_test(tcase, test_made_hash_verifies_and_is_salted, 0, 2);
    tcase_add_test(tcase, test_blank_password_never_passes_even_with_its_own_hash);
    tcase_add_test(tcase, test_putting_a_user_again_keeps_permissions_and_limits);
    tcase_add_test(tcase, test_deleted_user_takes_its_rows_along);
    tcase_add_loop_test(tcase, test_tag_is_a_whole_word, 0, N_ELEMENTS(tag_case));
}

static void add_permission_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, test_pattern_is_searched_in_the_name, 0, N_ELEMENTS(pattern_case));
    tcase_add_test(tcase, test_each_permission_has_its_own_pattern);
    tcase_add_test(tcase, test_invalid_pattern_is_named_and_changes_nothing);
    tcase_add_test(tcase, test_pattern_longer_than_16_kib_is_refused);
    tcase_add_loop_test(tcase, test_hostile_pattern_costs_little_and_refuses, 0,
                        N_ELEMENTS(hostile_pattern));
    tcase_add_test(tcase, test_unknown_user_or_vhost_has_no_permissions);
    tcase_add_test(tcase, test_topic_permission_limits_routing_keys_of_its_exchange);
    tcase_add_test(tcase, test_variables_in_topic_patterns_are_quoted);
    tcase_add_test(tcase, test_topic_permission_with_bad_arguments_is_refused);
    tcase_add_test(tcase, test_deleting_a_vhost_deletes_its_rows_only);
    tcase_add_test(tcase, test_visits_are_in_name_order);
}

int main(void)
{
    Suite *suite = suite_create("auth");
    TCase *tcase = tcase_create("auth");

    tcase_add_checked_fixture(tcase, setup, teardown);
    add_user_tests(tcase);
    add_permission_tests(tcase);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
