/*
 * test_config_keys.c - every key that any RabbitMQ knows is known here, and does what a table says
 *
 * tests/data/rabbitmq_keys.txt lists the keys of RabbitMQ's configuration schemas with what this
 * broker does with each. A key is given one value after another until all kinds were tried; what is
 * best of what comes of them is what the key does.
 */
#include "config_fixture.h"

enum { KEY_COUNT = 1140 }; /* of the schemas when the table was made; more is fine */

/* One of them is good for every key. */
static const char *const values[] = {
    "internal", "PLAIN", "true", "false", "1", "5000", "none", "info", "plaintext", "stdout",
    "0.5", "classic", "local_filesystem", "rabbit_password_hashing_sha256",
    "rabbit_credential_validator_accept_everything",
};

enum outcome { UNKNOWN, BAD_VALUE, REFUSED, NOTED, EFFECTIVE };

static const char *const outcome_name[] = { "unknown", "without a good value", "refused", "noted",
                                            "effective" };

static bool mentions(char **lines, size_t count, const char *words)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(lines[i], words))
            return true;
    return false;
}

/* What comes of one setting in a configuration of its own. */
static enum outcome outcome_of(const char *key, const char *value)
{
    struct config *fresh = config_new();
    struct config_report found = { 0 };
    enum outcome outcome = EFFECTIVE;

    ck_assert_ptr_nonnull(fresh);
    ck_assert_int_eq(config_set_key(fresh, "", key, value, &found), 0);
    if (mentions(found.errors, found.error_count, "unknown key"))
        outcome = UNKNOWN;
    else if (found.error_count)
        outcome = BAD_VALUE;
    else if (found.note_count)
        outcome = NOTED;
    /* Without listeners nothing starts, which is another test's. */
    ck_assert_int_eq(config_set_key(fresh, "", "listeners.tcp.default", "5672", &found), 0);
    ck_assert_int_eq(config_check(fresh, &found), 0);
    if (outcome == EFFECTIVE && found.error_count)
        outcome = REFUSED;
    config_free(fresh);
    config_report_release(&found);
    return outcome;
}

static enum outcome best_outcome(const char *key)
{
    enum outcome best = UNKNOWN;

    for (size_t i = 0; i < N_ELEMENTS(values); i++) {
        enum outcome outcome = outcome_of(key, values[i]);

        if (outcome > best)
            best = outcome;
        if (best == EFFECTIVE || best == UNKNOWN)
            break;
    }
    return best;
}

/* The key with a word in place of each "$name". */
static void fill_in(const char *pattern, char key[512])
{
    while (*pattern) {
        if (*pattern == '$') {
            pattern += strcspn(pattern, ".");
            *key++ = '1';
        } else {
            *key++ = *pattern++;
        }
    }
    *key = '\0';
}

static FILE *open_table(void)
{
    const char *source = getenv("srcdir") ? getenv("srcdir") : ".";
    char path[1024];
    FILE *file;

    snprintf(path, sizeof path, "%s/tests/data/rabbitmq_keys.txt", source);
    file = fopen(path, "r");
    ck_assert_msg(file, "%s: %s", path, strerror(errno));
    return file;
}

START_TEST(test_every_key_of_rabbitmq_does_what_the_table_says)
{
    FILE *file = open_table();
    char line[256], pattern[200], versions[20], wanted[20], key[512];
    unsigned count = 0, wrong = 0;

    while (fgets(line, sizeof line, file)) {
        if (*line == '#')
            continue;
        ck_assert_int_eq(sscanf(line, "%199s %19s %19s", pattern, versions, wanted), 3);
        fill_in(pattern, key);
        if (strcmp(outcome_name[best_outcome(key)], wanted) != 0) {
            printf("%s is %s, wanted %s\n", pattern, outcome_name[best_outcome(key)], wanted);
            wrong++;
        }
        count++;
    }
    fclose(file);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_ge(count, KEY_COUNT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config_keys");
    TCase *tcase = tcase_create("config_keys");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_every_key_of_rabbitmq_does_what_the_table_says);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
