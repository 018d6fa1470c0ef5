/*
 * test_log.c - the octets of a line, and where lines go
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/log.h"
#include "unit.h"

static char directory[] = "test-log-XXXXXX";
static char path[64];
static char renamed[64];

static void setup(void)
{
    strcpy(directory, "test-log-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/a.log", directory);
    snprintf(renamed, sizeof renamed, "%s/a.log.1", directory);
    setenv("TZ", "UTC", 1);
    tzset();
}

static void teardown(void)
{
    log_close();
    (void)unlink(path);
    (void)unlink(renamed);
    ck_assert_int_eq(rmdir(directory), 0);
}

static const char *read_all(const char *name)
{
    static char text[65536];
    int fd = open(name, O_RDONLY);
    ssize_t size;

    ck_assert_int_ge(fd, 0);
    size = read(fd, text, sizeof text - 1);
    ck_assert_int_ge(size, 0);
    text[size] = '\0';
    close(fd);
    return text;
}

static void open_log(enum log_level level, enum log_format format)
{
    struct log_settings settings = { .file = path, .file_level = level, .file_format = format };

    ck_assert_int_eq(log_open(&settings), 0);
}

static const struct timespec moment = { 1795497803, 123456789 }; /* 2026-11-24 05:23:23 UTC */

static const char *format_text(const char *text, enum log_format format)
{
    struct log_record record = { moment, LOG_CONNECTION, LOG_LEVEL_INFO, "<0.12.0>", text };
    static char line[BOUND_LOG_LINE_BYTES + 1];
    size_t size = log_format_record(&record, format, line);

    ck_assert_uint_le(size, BOUND_LOG_LINE_BYTES);
    line[size] = '\0';
    ck_assert_uint_eq(strcspn(line, "\n"), size - 1);
    return line;
}

#define PLAIN_START "2026-11-24 05:23:23.123456+00:00 [info] <0.12.0> "
#define JSON_START                                                                       \
    "{\"time\":\"2026-11-24 05:23:23.123456+00:00\",\"level\":\"info\","                 \
    "\"domain\":\"rabbitmq.connection\",\"pid\":\"<0.12.0>\",\"msg\":\""

static const struct {
    const char *text;
    const char *plain;
    const char *json;
} text_case[] = {
    { "started TCP listener on [::]:5672", "started TCP listener on [::]:5672",
      "started TCP listener on [::]:5672" },
    { "", "", "" },
    { "a\nb\r\tc", "a\\nb\\r\\tc", "a\\nb\\r\\tc" },
    { "\x1b[31m\x7f\x01", "\\x1b[31m\\x7f\\x01", "\\u001b[31m\\u007f\\u0001" },
    { "say \"hi\" \\o/", "say \"hi\" \\o/", "say \\\"hi\\\" \\\\o/" },
    { "\xc3\xbc \xe2\x82\xac \xf0\x9f\x90\xb0", "\xc3\xbc \xe2\x82\xac \xf0\x9f\x90\xb0",
      "\xc3\xbc \xe2\x82\xac \xf0\x9f\x90\xb0" },
    { "\xc2\x9b" "1m", "\\x9b1m", "\\u009b1m" },       /* CSI in one C1 character */
    { "\xff.\xc3", "\\xff.\\xc3", "\xef\xbf\xbd.\xef\xbf\xbd" },
    { "\xc0\xaf", "\\xc0\\xaf", "\xef\xbf\xbd\xef\xbf\xbd" }, /* overlong '/' */
    { "\xed\xa0\x80", "\\xed\\xa0\\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* surrogate */
    { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80",
      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },   /* past U+10FFFF */
};

START_TEST(test_text_is_escaped_within_its_line)
{
    char wanted[512];

    snprintf(wanted, sizeof wanted, PLAIN_START "%s\n", text_case[_i].plain);
    ck_assert_str_eq(format_text(text_case[_i].text, LOG_FORMAT_PLAINTEXT), wanted);
    snprintf(wanted, sizeof wanted, JSON_START "%s\"}\n", text_case[_i].json);
    ck_assert_str_eq(format_text(text_case[_i].text, LOG_FORMAT_JSON), wanted);
}
END_TEST

START_TEST(test_levels_have_rabbitmq_names)
{
    static const char *const names[] = { "debug", "info",     "notice", "warning",
                                         "error", "critical", "alert",  "emergency" };
    char line[BOUND_LOG_LINE_BYTES + 1];
    char wanted[32];

    for (enum log_level level = LOG_LEVEL_DEBUG; level < LOG_LEVEL_NONE; level++) {
        struct log_record record = { moment, LOG_DEFAULT, level, NULL, "x" };
        size_t size = log_format_record(&record, LOG_FORMAT_PLAINTEXT, line);

        line[size] = '\0';
        snprintf(wanted, sizeof wanted, " [%s] <0.0.0> x\n", names[level]);
        ck_assert_str_eq(line + strlen("2026-11-24 05:23:23.123456+00:00"), wanted);
    }
}
END_TEST

START_TEST(test_time_has_the_local_offset)
{
    setenv("TZ", "XXX+3:30", 1); /* west of Greenwich */
    tzset();
    ck_assert_int_eq(strncmp(format_text("x", LOG_FORMAT_PLAINTEXT),
                             "2026-11-24 01:53:23.123456-03:30 [info]", 39),
                     0);
}
END_TEST

/* Every length around the bound, of texts that grow when escaped and of characters of 3 octets. */
START_TEST(test_long_line_is_cut_at_a_whole_character)
{
    static const char *const units[] = { "a", "\n", "\"", "\xff", "\xe2\x82\xac", "\x01" };
    const char *unit = units[_i];
    char text[BOUND_LOG_LINE_BYTES];

    for (size_t shift = 0; shift < 8; shift++) {
        size_t size = 0;
        const char *plain, *json;

        memset(text, 'x', shift);
        for (size = shift; size + strlen(unit) < sizeof text; size += strlen(unit))
            memcpy(text + size, unit, strlen(unit));
        text[size] = '\0';
        plain = format_text(text, LOG_FORMAT_PLAINTEXT);
        ck_assert_uint_gt(strlen(plain), BOUND_LOG_LINE_BYTES - 8);
        ck_assert_str_eq(plain + strlen(plain) - 4, "...\n");
        json = format_text(text, LOG_FORMAT_JSON);
        ck_assert_uint_gt(strlen(json), BOUND_LOG_LINE_BYTES - 16);
        ck_assert_str_eq(json + strlen(json) - 6, "...\"}\n");
        if (*unit == '\xe2')
            ck_assert_int_eq(json[strlen(json) - 7] & 0xc0, 0x80); /* ends a character */
    }
}
END_TEST

START_TEST(test_line_that_just_fits_is_whole)
{
    size_t room = BOUND_LOG_LINE_BYTES - strlen(PLAIN_START) - strlen("...\n");
    char text[BOUND_LOG_LINE_BYTES];
    const char *line;

    memset(text, 'a', sizeof text);
    text[room] = '\0';
    line = format_text(text, LOG_FORMAT_PLAINTEXT);
    ck_assert_uint_eq(strlen(line), strlen(PLAIN_START) + room + 1);
    ck_assert_str_eq(line + strlen(line) - 3, "aa\n");
}
END_TEST

START_TEST(test_levels_and_categories_filter_lines)
{
    struct log_settings settings = { .file = path, .file_level = LOG_LEVEL_WARNING };

    settings.category_levels[LOG_CONNECTION] = LOG_LEVEL_ERROR;
    ck_assert_int_eq(log_open(&settings), 0);
    ck_assert(!log_enabled(LOG_DEFAULT, LOG_LEVEL_INFO));
    ck_assert(log_enabled(LOG_DEFAULT, LOG_LEVEL_WARNING));
    ck_assert(!log_enabled(LOG_CONNECTION, LOG_LEVEL_WARNING));
    log_info("info");
    log_warning("warning %d", 1);
    log_write(LOG_CONNECTION, LOG_LEVEL_WARNING, "<0.1.0>", "connection warning");
    log_write(LOG_CONNECTION, LOG_LEVEL_ERROR, "<0.1.0>", "connection error");
    ck_assert_ptr_null(strstr(read_all(path), "info"));
    ck_assert_ptr_null(strstr(read_all(path), "connection warning"));
    ck_assert_ptr_nonnull(strstr(read_all(path), "+00:00 [warning] <0.0.0> warning 1\n"));
    ck_assert_ptr_nonnull(strstr(read_all(path), "+00:00 [error] <0.1.0> connection error\n"));
}
END_TEST

START_TEST(test_level_none_silences_the_file)
{
    open_log(LOG_LEVEL_NONE, LOG_FORMAT_PLAINTEXT);
    ck_assert(!log_enabled(LOG_DEFAULT, LOG_LEVEL_EMERGENCY));
    log_write(LOG_DEFAULT, LOG_LEVEL_EMERGENCY, NULL, "x");
    ck_assert_str_eq(read_all(path), "");
}
END_TEST

START_TEST(test_console_and_file_have_their_own_form)
{
    struct log_settings settings = { .console = true, .console_stdio = _i ? LOG_STDOUT : LOG_STDERR,
                                     .console_format = LOG_FORMAT_JSON, .file = path };
    int target = _i ? STDOUT_FILENO : STDERR_FILENO;
    int saved, fd;

    fflush(stdout);
    saved = dup(target);
    fd = open(renamed, O_WRONLY | O_CREAT, 0600);
    dup2(fd, target);
    ck_assert_int_eq(log_open(&settings), 0);
    log_info("both");
    dup2(saved, target);
    close(fd);
    close(saved);
    ck_assert_ptr_nonnull(strstr(read_all(path), "[info] <0.0.0> both\n"));
    ck_assert_ptr_nonnull(strstr(read_all(renamed), "\"msg\":\"both\"}\n"));
}
END_TEST

START_TEST(test_file_is_appended_to_and_private)
{
    struct stat status;

    open_log(LOG_LEVEL_INFO, LOG_FORMAT_PLAINTEXT);
    log_info("one");
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    log_info("two");
    ck_assert_ptr_nonnull(strstr(read_all(path), "one\n{\"time\":"));
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0027, 0);
}
END_TEST

START_TEST(test_reopen_follows_a_renamed_file)
{
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_PLAINTEXT);
    log_info("one");
    ck_assert_int_eq(rename(path, renamed), 0);
    log_info("two");
    ck_assert_int_eq(log_reopen(), 0);
    log_info("three");
    ck_assert_ptr_nonnull(strstr(read_all(renamed), "two\n"));
    ck_assert_ptr_null(strstr(read_all(renamed), "three\n"));
    ck_assert_ptr_nonnull(strstr(read_all(path), "three\n"));
}
END_TEST

START_TEST(test_file_that_cannot_be_opened_leaves_the_log_as_it_was)
{
    struct log_settings settings = { .file = "no-such-directory/a.log" };

    open_log(LOG_LEVEL_INFO, LOG_FORMAT_PLAINTEXT);
    ck_assert_int_eq(log_open(&settings), -ENOENT);
    log_info("still here");
    ck_assert_ptr_nonnull(strstr(read_all(path), "still here\n"));
}
END_TEST

START_TEST(test_lost_lines_are_counted)
{
    struct rlimit limit = { 0, RLIM_INFINITY };

    signal(SIGXFSZ, SIG_IGN);
    open_log(LOG_LEVEL_INFO, LOG_FORMAT_PLAINTEXT);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0); /* as on a full disk */
    log_info("lost");
    log_info("lost");
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_info("written");
    log_info("again");
    ck_assert_ptr_null(strstr(read_all(path), "lost\n"));
    ck_assert_ptr_nonnull(strstr(read_all(path), "2 lines of this log could not be written\n"));
    ck_assert_ptr_nonnull(strstr(read_all(path), "written\n"));
    ck_assert_ptr_eq(strstr(strstr(read_all(path), "not be") + 1, "not be"), NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_text_is_escaped_within_its_line, 0, N_ELEMENTS(text_case));
    tcase_add_test(tcase, test_levels_have_rabbitmq_names);
    tcase_add_test(tcase, test_time_has_the_local_offset);
    tcase_add_loop_test(tcase, test_long_line_is_cut_at_a_whole_character, 0, 6);
    tcase_add_test(tcase, test_line_that_just_fits_is_whole);
    tcase_add_test(tcase, test_levels_and_categories_filter_lines);
    tcase_add_test(tcase, test_level_none_silences_the_file);
    tcase_add_loop_test(tcase, test_console_and_file_have_their_own_form, 0, 2);
    tcase_add_test(tcase, test_file_is_appended_to_and_private);
    tcase_add_test(tcase, test_reopen_follows_a_renamed_file);
    tcase_add_test(tcase, test_file_that_cannot_be_opened_leaves_the_log_as_it_was);
    tcase_add_test(tcase, test_lost_lines_are_counted);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
