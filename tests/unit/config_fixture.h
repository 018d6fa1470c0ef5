/*
 * config_fixture.h - a configuration, its report, and files in a directory of their own
 *
 * For the programs that test src/server/config*.c; each test starts from the defaults.
 */
#ifndef TESTS_UNIT_CONFIG_FIXTURE_H
#define TESTS_UNIT_CONFIG_FIXTURE_H

#include <errno.h>

#include "server/config.h"
#include "unit.h"

static char directory[] = "test-config-XXXXXX";
static char main_path[64];
static struct config *config;
static struct config_report report;

static inline void setup(void)
{
    strcpy(directory, "test-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(main_path, sizeof main_path, "%s/leveret.conf", directory);
    config = config_new();
    ck_assert_ptr_nonnull(config);
}

static inline void teardown(void)
{
    char command[64];

    config_free(config);
    config_report_release(&report);
    snprintf(command, sizeof command, "rm -r %s", directory);
    ck_assert_int_eq(system(command), 0);
}

static inline void write_bytes(const char *name, const char *text, size_t size)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static inline void write_file(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

static inline void read_text(const char *text)
{
    write_file("leveret.conf", text);
    ck_assert_int_eq(config_read_file(config, main_path, &report), 0);
}

/* Compares an error or note with "DIRECTORY/" in front of what is wanted. */
static inline void check_line(const char *line, const char *wanted)
{
    char whole[1024];

    snprintf(whole, sizeof whole, "%s/%s", directory, wanted);
    ck_assert_str_eq(line, whole);
}

static inline void check_clean(void)
{
    if (report.error_count)
        ck_abort_msg("%s", report.errors[0]);
    if (report.note_count)
        ck_abort_msg("%s", report.notes[0]);
}

#endif
