/*
 * test_config_file.c - the grammar of the configuration file, its fragments and includes, and what
 * is said about mistakes
 */
#include <sys/stat.h>

#include "config_fixture.h"

static const struct {
    const char *line;
    const char *password; /* what default_pass becomes */
} grammar_case[] = {
    { "default_pass = secret", "secret" },
    { "default_pass=secret", "secret" },
    { "  \tdefault_pass\t =  secret \t ", "secret" },
    { "default_pass = a=b = c", "a=b = c" },
    { "default_pass = two words # a comment", "two words" },
    { "default_pass = a#b", "a" },
    { "default_pass = \"quoted\"", "\"quoted\"" },
    { "default_pass = 'a # b'", "a # b" },
    { "default_pass = ' blanks ' # a comment", " blanks " },
    { "default_pass = it's", "it's" },
    { "default_pass = '''one\ntwo's\n'''", "one\ntwo's\n" },
    { "default_pass = secret\r", "secret" },
    { "# default_pass = x\n\n \t\r\ndefault_pass = y", "y" },
    { "\xef\xbb\xbf" "default_pass = y", "y" },
    { "default_pass = x\ndefault_pass = y\n", "y" },
    { "default_pass = 100%", "100%" },
    { "default_pass = $(LEVERET_TEST_VARIABLE)", "from environment" },
    { "default_pass = '<$(LEVERET_TEST_VARIABLE)>'", "<from environment>" },
    { "default_user = u$er\ndefault_pass = $(default_user)-$(default_user)", "u$er-u$er" },
    { "default_pass = $(unclosed", "$(unclosed" },
    { "default_pass = cost $5", "cost $5" },
    { "default_pass = gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
};

START_TEST(test_value_is_read_from_its_line)
{
    setenv("LEVERET_TEST_VARIABLE", "from environment", 1);
    read_text(grammar_case[_i].line);
    check_clean();
    ck_assert_str_eq(config->default_pass, grammar_case[_i].password);
}
END_TEST

static const struct {
    const char *text;
    const char *error; /* behind DIRECTORY/ */
} mistake_case[] = {
    { "\n\nheartbeat\n", "leveret.conf:3: expected KEY = VALUE" },
    { "heartbeat 60\n", "leveret.conf:1: expected KEY = VALUE" },
    { "= 60\n", "leveret.conf:1: expected KEY = VALUE" },
    { "heartbeat =\n", "leveret.conf:1: the value is missing" },
    { "heartbeat = # 60\n", "leveret.conf:1: the value is missing" },
    { "% comment\n", "leveret.conf:1: a comment begins with '#', not '%'" },
    { "default_pass = 'secret\nheartbeat = 1\n",
      "leveret.conf:1: the quote at the start of the value is never closed" },
    { "default_pass = '''secret\nheartbeat = 1\n",
      "leveret.conf:1: the quote at the start of the value is never closed" },
    { "default_pass = 'a' b\n", "leveret.conf:1: text behind the closing quote" },
    { "default_pass = $(NO_SUCH_NAME_HERE)\n",
      "leveret.conf:1: $(NO_SUCH_NAME_HERE) is neither an environment variable nor a key set "
      "above" },
    { "default_pass = a\x01" "b\n",
      "leveret.conf:1: 'default_pass': a control character is in the value" },
    { "default_pass = encrypted:abc=\n",
      "leveret.conf:1: 'default_pass': encrypted values are not supported" },
    { "heart beat = 1\n", "leveret.conf:1: expected KEY = VALUE" },
    { "heart..beat = 1\n", "leveret.conf:1: 'heart..beat' is not a key: words of letters, digits, "
                           "'_' and '-' with dots between them" },
    { "include no-such-file.conf\n", "leveret.conf:1: there is no such file to include" },
    { "include\n", "leveret.conf:1: expected KEY = VALUE" },
    { "heartbet = 1\n", "leveret.conf:1: unknown key 'heartbet'; did you mean 'heartbeat'?" },
    { "loopback_user.bob = true\n",
      "leveret.conf:1: unknown key 'loopback_user.bob'; did you mean 'loopback_users.bob'?" },
    { "log.level = info\n",
      "leveret.conf:1: unknown key 'log.level'" }, /* not: did you mean log.ra.level */
    { "management.tcp.prt = 1\n",
      "leveret.conf:1: unknown key 'management.tcp.prt'; did you mean 'management.tcp.port'?" },
    { "mqtt.listenrs.tcp.default = 1883\n",
      "leveret.conf:1: unknown key 'mqtt.listenrs.tcp.default'; did you mean "
      "'mqtt.listeners.tcp.default'?" },
    { "ssl_options.certfiles = a\n",
      "leveret.conf:1: unknown key 'ssl_options.certfiles'; did you mean 'ssl_options.certfile'?" },
    { "auth_mechanisms.1 = PLIAN\n", "leveret.conf:1: 'auth_mechanisms.1': 'PLIAN' is not a "
                                     "mechanism: PLAIN AMQPLAIN are, in capitals" },
    { "completely_unknown = 1\n", "leveret.conf:1: unknown key 'completely_unknown'" },
    { "heartbeat = abc\n", "leveret.conf:1: 'heartbeat': 'abc' is not an integer" },
    { "heartbeat = 1.5\n", "leveret.conf:1: 'heartbeat': '1.5' is not an integer" },
    { "heartbeat = 60s\n", "leveret.conf:1: 'heartbeat': '60s' is not an integer" },
    { "heartbeat = 99999999999999999999\n",
      "leveret.conf:1: 'heartbeat': '99999999999999999999' is not an integer" },
    { "heartbeat = 65536\n", "leveret.conf:1: 'heartbeat': 65536 is not between 0 and 65535" },
    { "heartbeat = -1\n", "leveret.conf:1: 'heartbeat': -1 is not between 0 and 65535" },
    { "frame_max = 4095\n",
      "leveret.conf:1: 'frame_max': 4095 is not between 4096 and 2147483647, nor 0" },
    { "frame_max = 128KiB\n", "leveret.conf:1: 'frame_max': '128KiB' is not a size: digits, then "
                              "nothing or a unit as in 128KB (131072)" },
    { "disk_free_limit.absolute = 2Q\n",
      "leveret.conf:1: 'disk_free_limit.absolute': '2Q' is not a size: digits, then nothing or a "
      "unit as in 2GB (2000000000) or 2GiB" },
    { "max_message_size = 1GB\n",
      "leveret.conf:1: 'max_message_size': 1GB is not between 1 and 536870912" },
    { "max_message_size = 9223372036854775807GB\n",
      "leveret.conf:1: 'max_message_size': 9223372036854775807GB is not between 1 and 536870912" },
    { "log.console = yes\n", "leveret.conf:1: 'log.console': 'yes' is neither true nor false" },
    { "log.file.formatter = xml\n",
      "leveret.conf:1: 'log.file.formatter': 'xml' is not one of plaintext|json" },
    { "store.sync = com\n",
      "leveret.conf:1: 'store.sync': 'com' is not one of commit|interval|never" },
    { "default_permissions.read = (\n", "leveret.conf:1: 'default_permissions.read': not a regular "
                                        "expression: missing closing parenthesis at offset 1" },
    { "listeners.tcp.default = 0\n",
      "leveret.conf:1: 'listeners.tcp.default': '0' is not PORT, IP:PORT or [IPv6]:PORT; ports are "
      "1 to 65535" },
    { "listeners.tcp.default = localhost:5672\n",
      "leveret.conf:1: 'listeners.tcp.default': 'localhost' is not an IP address" },
    { "listeners.tcp.default = [127.0.0.1:5672\n",
      "leveret.conf:1: 'listeners.tcp.default': '[127.0.0.1' is not an IP address" },
    { "listeners.tcp = 5672\n", "leveret.conf:1: 'listeners.tcp': '5672' is not none; an address "
                                "needs a name: listeners.tcp.default" },
    { "loopback_users = guest\n",
      "leveret.conf:1: 'loopback_users': 'guest' is not none; a user is named in the key: "
      "loopback_users.guest = true" },
    { "loopback_users.guest = 1\n",
      "leveret.conf:1: 'loopback_users.guest': '1' is neither true nor false" },
    { "management.tcp.port = http\n",
      "leveret.conf:1: 'management.tcp.port': 'http' is not an integer" },
    { "definitions.import_backend = https\n",
      "leveret.conf:1: 'definitions.import_backend': 'https' is not one of "
      "local_filesystem|local" },
};

START_TEST(test_mistake_is_one_line_that_says_where_and_what)
{
    read_text(mistake_case[_i].text);
    ck_assert_uint_ge(report.error_count, 1);
    check_line(report.errors[0], mistake_case[_i].error);
    ck_assert_uint_eq(report.note_count, 0);
}
END_TEST

START_TEST(test_every_mistake_is_reported_and_good_lines_still_count)
{
    read_text("heartbeat = x\n"
              "channel_max = 7\n"
              "default_pass = 'a\n"
              "  nonsense\n"
              "default_user = '''two\nlines'''\n"
              "frame_max = 1\n"
              "default_vhost = shop\n");
    ck_assert_uint_eq(report.error_count, 4);
    check_line(report.errors[0], "leveret.conf:1: 'heartbeat': 'x' is not an integer");
    check_line(report.errors[1],
               "leveret.conf:3: the quote at the start of the value is never closed");
    check_line(report.errors[2], "leveret.conf:4: expected KEY = VALUE");
    check_line(report.errors[3],
               "leveret.conf:7: 'frame_max': 1 is not between 4096 and 2147483647, nor 0");
    ck_assert_uint_eq(config->heartbeat_s, 60);
    ck_assert_uint_eq(config->channel_max, 7);
    ck_assert_str_eq(config->default_user, "two\nlines");
    ck_assert_str_eq(config->default_vhost, "shop");
}
END_TEST

START_TEST(test_mistakes_never_quote_a_password)
{
    read_text("default_pass s3cret\n"
              "default_pass = 's3cret' s3cret\n"
              "default_pass = 's3cret\n"
              "default_pass = s3cret\x02\n"
              "default_pas = s3cret\n"
              "default_pass = encrypted:s3cret\n"
              "ssl_options.password = s3cret\n");
    ck_assert_uint_eq(report.error_count, 6);
    ck_assert_int_eq(config_check(config, &report), 0);
    ck_assert_uint_eq(report.error_count, 7);
    read_text("mqtt.default_pass = encrypted:s3cret\n");
    ck_assert_uint_eq(report.note_count, 1);
    for (size_t i = 0; i < report.error_count; i++)
        ck_assert_ptr_null(strstr(report.errors[i], "s3cret"));
    ck_assert_ptr_null(strstr(report.notes[0], "s3cret"));
    ck_assert_str_eq(config->default_pass, "guest");
}
END_TEST

START_TEST(test_values_that_feed_on_each_other_are_bounded)
{
    char text[4096] = "cluster_name = xxxxxxxxxxxxxxxx\n";

    for (int i = 0; i < 20; i++)
        strcat(text, "cluster_name = $(cluster_name)$(cluster_name)\n");
    read_text(text);
    ck_assert_uint_ge(report.error_count, 1);
    ck_assert_ptr_nonnull(strstr(report.errors[report.error_count - 1], "longer than 64 KiB"));
}
END_TEST

/* --- files --- */

START_TEST(test_missing_file_is_an_error)
{
    ck_assert_int_eq(config_read_file(config, main_path, &report), 0);
    ck_assert_uint_eq(report.error_count, 1);
    check_line(report.errors[0], "leveret.conf: No such file or directory");
}
END_TEST

START_TEST(test_directory_binary_and_huge_files_are_errors)
{
    char *huge = malloc((1 << 20) + 1);

    ck_assert_int_eq(config_read_file(config, directory, &report), 0);
    ck_assert_uint_eq(report.error_count, 1);
    write_bytes("leveret.conf", "heartbeat = 1\0\n", 15);
    ck_assert_int_eq(config_read_file(config, main_path, &report), 0);
    ck_assert_uint_eq(report.error_count, 2);
    check_line(report.errors[1], "leveret.conf: not a text: a NUL octet is in it");
    memset(huge, '#', (1 << 20) + 1);
    write_bytes("leveret.conf", huge, (1 << 20) + 1);
    ck_assert_int_eq(config_read_file(config, main_path, &report), 0);
    ck_assert_uint_eq(report.error_count, 3);
    check_line(report.errors[2], "leveret.conf: File too large");
    write_bytes("leveret.conf", huge, 1 << 20);
    ck_assert_int_eq(config_read_file(config, main_path, &report), 0);
    ck_assert_uint_eq(report.error_count, 3);
    free(huge);
}
END_TEST

START_TEST(test_fragments_follow_the_file_in_alphabetical_order)
{
    char path[128];

    snprintf(path, sizeof path, "%s/conf.d", directory);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    write_file("conf.d/20-b.conf", "heartbeat = 20\nchannel_max = x\n");
    write_file("conf.d/10-a.conf", "heartbeat = 10\ndefault_user = ten\n");
    write_file("conf.d/30-c.conf.bak", "heartbeat = 30\n");
    read_text("heartbeat = 1\ndefault_user = one\ndefault_vhost = one\n");
    ck_assert_uint_eq(config->heartbeat_s, 20);
    ck_assert_str_eq(config->default_user, "ten");
    ck_assert_str_eq(config->default_vhost, "one");
    ck_assert_uint_eq(report.error_count, 1);
    check_line(report.errors[0], "conf.d/20-b.conf:2: 'channel_max': 'x' is not an integer");
}
END_TEST

START_TEST(test_included_files_are_read_in_place)
{
    write_file("a.inc", "heartbeat = 10\n");
    write_file("b.inc", "heartbeat = 20\ndefault_user = b\n");
    read_text("heartbeat = 1\ninclude *.inc # both\ndefault_user = c\n");
    check_clean();
    ck_assert_uint_eq(config->heartbeat_s, 20);
    ck_assert_str_eq(config->default_user, "c");
}
END_TEST

START_TEST(test_files_that_include_themselves_end)
{
    read_text("include leveret.conf\n");
    ck_assert_uint_eq(report.error_count, 1);
    check_line(report.errors[0], "leveret.conf:1: files include each other more than 8 deep");
}
END_TEST

START_TEST(test_erlang_terms_beside_the_file_are_noted)
{
    char wanted[128];

    write_file("advanced.config", "[].");
    read_text("");
    ck_assert_uint_eq(report.error_count, 0);
    ck_assert_uint_eq(report.note_count, 1);
    snprintf(wanted, sizeof wanted, "%s/advanced.config: this file of Erlang terms is not read",
             directory);
    ck_assert_str_eq(report.notes[0], wanted);
}
END_TEST

/* --- security --- */

static const struct {
    const char *text;
    const char *error; /* of the whole, behind DIRECTORY/ if `in_file`; NULL: it can be used */
    bool in_file;
    unsigned notes;
} security_case[] = {
    /* TLS */
    { "listeners.ssl.default = 5671\n",
      "leveret.conf:1: 'listeners.ssl.default' cannot be honoured: this version has no TLS; set "
      "listeners.ssl = none to go on without", true, 0 },
    { "ssl_options.verify = verify_peer\n",
      "leveret.conf:1: 'ssl_options.verify' cannot be honoured: this version has no TLS; set "
      "listeners.ssl = none to go on without", true, 0 },
    { "ssl_cert_login_from = common_name\n",
      "leveret.conf:1: 'ssl_cert_login_from' cannot be honoured: this version has no TLS, so no "
      "client shows a certificate; set listeners.ssl = none to go on without", true, 0 },
    { "listeners.ssl.default = 5671\nssl_options.verify = verify_peer\nlisteners.ssl = none\n",
      NULL, false, 2 },
    { "listeners.ssl = none\n", NULL, false, 0 },
    /* backends */
    { "auth_backends.1 = ldap\n",
      "leveret.conf:1: 'auth_backends.1': this version cannot ask 'ldap' about users, only its own "
      "database: remove the line, or set it to internal", true, 0 },
    { "auth_backends.1 = internal\nauth_backends.2.authn = internal\n"
      "auth_backends.2.authz = rabbit_auth_backend_http\n",
      "leveret.conf:3: 'auth_backends.2.authz': this version cannot ask 'rabbit_auth_backend_http' "
      "about users, only its own database: remove the line, or set it to internal", true, 0 },
    { "auth_backends.1 = cache\nauth_cache.cached_backend = oauth2\n",
      "leveret.conf:2: 'auth_cache.cached_backend': this version cannot ask 'oauth2' about users, "
      "only its own database: remove the line, or set it to internal", true, 0 },
    { "auth_backends.1 = internal_loopback\n",
      "leveret.conf:1: 'auth_backends.1': this version cannot ask 'internal_loopback' about users, "
      "only its own database: remove the line, or set it to internal", true, 0 },
    { "auth_backends.1 = ldap\nauth_backends.1 = internal\n", NULL, false, 0 },
    { "auth_backends.1 = rabbit_auth_backend_internal\nauth_backends.2 = cache\n"
      "auth_cache.cached_backend = internal\n", NULL, false, 0 },
    { "auth_ldap.servers.1 = ldap.example\n",
      "leveret.conf:1: 'auth_ldap.servers.1' cannot be honoured: this version cannot ask an LDAP "
      "server about users; set auth_backends.1 = internal to go on without", true, 0 },
    { "auth_oauth2.resource_server_id = rabbitmq\n",
      "leveret.conf:1: 'auth_oauth2.resource_server_id' cannot be honoured: this version does not "
      "take OAuth 2 tokens; set auth_backends.1 = internal to go on without", true, 0 },
    { "auth_http.user_path = http://localhost/user\nauth_backends.1 = internal\n", NULL, false, 1 },
    /* mechanisms */
    { "auth_mechanisms.1 = EXTERNAL\n",
      "auth_mechanisms.1: no mechanism that is listed is part of this version: to let clients log "
      "in with name and password, set auth_mechanisms.1 = PLAIN", false, 0 },
    { "auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = RABBIT-CR-DEMO\n",
      "auth_mechanisms.1: no mechanism that is listed is part of this version: to let clients log "
      "in with name and password, set auth_mechanisms.1 = PLAIN", false, 0 },
    { "auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\n", NULL, false, 1 },
    { "auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.1 = PLAIN\n", NULL, false, 0 },
    /* others */
    { "proxy_protocol = true\n", "leveret.conf:1: 'proxy_protocol': this version has no 'true': "
                                 "remove the line, or set it to false", true, 0 },
    { "proxy_protocol = false\n", NULL, false, 0 },
    { "credential_validator.validation_backend = rabbit_credential_validator_password_regexp\n",
      "leveret.conf:1: 'credential_validator.validation_backend': this version has no "
      "'rabbit_credential_validator_password_regexp': remove the line, or set it to "
      "rabbit_credential_validator_accept_everything", true, 0 },
    { "password_hashing_module = rabbit_password_hashing_md5\n",
      "leveret.conf:1: 'password_hashing_module': 'rabbit_password_hashing_md5' is not one of "
      "rabbit_password_hashing_sha256|rabbit_password_hashing_sha512", true, 0 },
    /* listeners */
    { "listeners.tcp = none\n", "listeners.tcp: none is left, so no client could connect: set "
                                "listeners.tcp.default = 5672, or another port", false, 0 },
    { "listeners.tcp = none\nlisteners.tcp.a = 5673\n", /* RabbitMQ: none wins in any order */
      "listeners.tcp: none is left, so no client could connect: set listeners.tcp.default = 5672, "
      "or another port", false, 1 },
    { "listeners.tcp.a = 5673\nlisteners.tcp.b = 127.0.0.1:5673\n",
      "listeners.tcp.a and listeners.tcp.b are both port 5673 of the same address: remove one of "
      "them or change its port", false, 0 },
    { "listeners.tcp.a = 0.0.0.0:5673\nlisteners.tcp.b = 127.0.0.1:5673\n",
      "listeners.tcp.a and listeners.tcp.b are both port 5673 of the same address: remove one of "
      "them or change its port", false, 0 },
    { "listeners.tcp.a = [::1]:5673\nlisteners.tcp.b = 127.0.0.1:5673\n"
      "listeners.tcp.c = 127.0.0.2:5673\nlisteners.tcp.d = 127.0.0.1:5674\n", NULL, false, 0 },
};

START_TEST(test_security_that_cannot_be_honoured_refuses_the_start)
{
    read_text(security_case[_i].text);
    ck_assert_int_eq(config_check(config, &report), 0);
    ck_assert_uint_eq(report.note_count, security_case[_i].notes);
    ck_assert_uint_eq(report.error_count, security_case[_i].error ? 1 : 0);
    if (!security_case[_i].error)
        return;
    if (security_case[_i].in_file)
        check_line(report.errors[0], security_case[_i].error);
    else
        ck_assert_str_eq(report.errors[0], security_case[_i].error);
}
END_TEST

/* What the file refuses can be lifted by a fragment or by --set, as the last value counts. */
START_TEST(test_refused_setting_can_be_replaced_from_the_command_line)
{
    read_text("auth_backends.1 = ldap\nlisteners.ssl.default = 5671\nlisteners.tcp = none\n");
    ck_assert_int_eq(config_set(config, "auth_backends.1=internal", &report), 0);
    ck_assert_int_eq(config_set(config, "listeners.ssl=none", &report), 0);
    ck_assert_int_eq(config_set_key(config, "-p", "listeners.tcp.default", "5673", &report), 0);
    ck_assert_int_eq(config_check(config, &report), 0);
    ck_assert_uint_eq(report.error_count, 0);
    ck_assert_uint_eq(config->listeners[0].port, 5673);
}
END_TEST

START_TEST(test_listed_mechanisms_are_the_only_ones_offered)
{
    ck_assert_ptr_null(config->mechanisms);
    read_text("auth_mechanisms.1 = AMQPLAIN\nauth_mechanisms.2 = EXTERNAL\n");
    ck_assert_int_eq(config_check(config, &report), 0);
    ck_assert_str_eq(config->mechanisms, "AMQPLAIN");
    ck_assert_str_eq(report.notes[0], "'auth_mechanisms.2': EXTERNAL is not part of this version "
                                      "and is not offered");
    read_text("auth_mechanisms.2 = PLAIN\n");
    ck_assert_int_eq(config_check(config, &report), 0);
    ck_assert_str_eq(config->mechanisms, "PLAIN AMQPLAIN");
}
END_TEST

START_TEST(test_erlang_terms_that_say_something_refuse_the_start)
{
    write_file("advanced.config", "[{rabbit, [{auth_backends, [rabbit_auth_backend_ldap]}]}].");
    read_text("");
    ck_assert_int_eq(config_check(config, &report), 0);
    ck_assert_uint_eq(report.error_count, 1);
    check_line(report.errors[0], "advanced.config: 'advanced.config' cannot be honoured: it holds "
                                 "Erlang terms, which are not read, and may limit who has access; "
                                 "set advanced_config = ignore to go on without");
    ck_assert_int_eq(config_set(config, "advanced_config=ignore", &report), 0);
    ck_assert_int_eq(config_check(config, &report), 0);
    ck_assert_uint_eq(report.error_count, 1); /* no further one */
    ck_assert_uint_eq(report.note_count, 1);
}
END_TEST

START_TEST(test_erlang_terms_that_are_empty_are_noted)
{
    write_file("advanced.config", "%% nothing\n[ %% yet\n].\n%% end");
    read_text("");
    ck_assert_int_eq(config_check(config, &report), 0);
    ck_assert_uint_eq(report.error_count, 0);
    ck_assert_uint_eq(report.note_count, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config_file");
    TCase *tcase = tcase_create("config_file");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_value_is_read_from_its_line, 0, N_ELEMENTS(grammar_case));
    tcase_add_loop_test(tcase, test_mistake_is_one_line_that_says_where_and_what, 0,
                        N_ELEMENTS(mistake_case));
    tcase_add_test(tcase, test_every_mistake_is_reported_and_good_lines_still_count);
    tcase_add_test(tcase, test_mistakes_never_quote_a_password);
    tcase_add_test(tcase, test_values_that_feed_on_each_other_are_bounded);
    tcase_add_test(tcase, test_missing_file_is_an_error);
    tcase_add_test(tcase, test_directory_binary_and_huge_files_are_errors);
    tcase_add_test(tcase, test_fragments_follow_the_file_in_alphabetical_order);
    tcase_add_test(tcase, test_included_files_are_read_in_place);
    tcase_add_test(tcase, test_files_that_include_themselves_end);
    tcase_add_test(tcase, test_erlang_terms_beside_the_file_are_noted);
    tcase_add_test(tcase, test_erlang_terms_that_say_something_refuse_the_start);
    tcase_add_test(tcase, test_erlang_terms_that_are_empty_are_noted);
    tcase_add_loop_test(tcase, test_security_that_cannot_be_honoured_refuses_the_start, 0,
                        N_ELEMENTS(security_case));
    tcase_add_test(tcase, test_refused_setting_can_be_replaced_from_the_command_line);
    tcase_add_test(tcase, test_listed_mechanisms_are_the_only_ones_offered);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
