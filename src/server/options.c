/*
 * options.c - getopt, twice
 *
 * The file named by -c is read before any --set takes effect, wherever they stand on the command
 * line; so the first pass looks for -c and for what can be answered at once, the second applies
 * settings in order. -p is short for a setting.
 */
#include "server/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "development"
#endif

enum {
    OPTION_DEFINITIONS = 256,
    OPTION_SET,
    OPTION_CHECK_CONFIG,
    OPTION_VERSION,
};

static const char short_options[] = "c:D:p:h";

static const struct option long_options[] = {
    { "config", required_argument, NULL, 'c' },
    { "data-dir", required_argument, NULL, 'D' },
    { "port", required_argument, NULL, 'p' },
    { "definitions", required_argument, NULL, OPTION_DEFINITIONS },
    { "set", required_argument, NULL, OPTION_SET },
    { "check-config", no_argument, NULL, OPTION_CHECK_CONFIG },
    { "version", no_argument, NULL, OPTION_VERSION },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

static const char help[] =
    "Usage: leveretd [OPTION]...\n"
    "Serve AMQP 0-9-1 clients.\n"
    "\n"
    "  -c, --config FILE        read settings from FILE (the grammar of rabbitmq.conf)\n"
    "  -D, --data-dir DIR       keep the data in DIR (./data)\n"
    "  -p, --port PORT          listen on PORT (5672)\n"
    "      --definitions FILE   import FILE, a definitions export of RabbitMQ\n"
    "      --set KEY=VALUE      set any key of the configuration file; repeatable\n"
    "      --check-config       check the configuration and exit: 0 when it is right, else 2\n"
    "      --version            print the version and exit\n"
    "  -h, --help               print this and exit\n"
    "\n"
    "SIGTERM stops it in order, SIGHUP reopens the log file. See leveretd(8), leveret.conf(5).\n";

/* First pass. Return: -1 to go on, or the exit status. */
static int look_for_file(struct options *options, int argc, char **argv, const char **ret_file)
{
    int option;

    while ((option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            *ret_file = optarg;
            break;
        case 'D':
            options->data_directory = optarg;
            break;
        case OPTION_DEFINITIONS:
            options->definitions = optarg;
            break;
        case OPTION_CHECK_CONFIG:
            options->check_only = true;
            break;
        case OPTION_VERSION:
            puts("leveretd " PACKAGE_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        case '?':
            fprintf(stderr, "leveretd: try --help\n");
            return OPTIONS_EXIT_CONFIG;
        default:
            break; /* a setting, for the second pass */
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "leveretd: '%s' is not an option; try --help\n", argv[optind]);
    return OPTIONS_EXIT_CONFIG;
}

static int set_port(struct config *config, const char *port, struct config_report *report)
{
    static const char key[] = "listeners.tcp.default=";
    size_t size = sizeof key + strlen(port);
    char *setting = malloc(size);
    int rc;

    if (!setting)
        return -ENOMEM;
    snprintf(setting, size, "%s%s", key, port);
    rc = config_set(config, setting, report);
    free(setting);
    return rc;
}

/* Second pass: 0 or -ENOMEM; mistakes go to the report. */
static int apply_settings(struct options *options, int argc, char **argv)
{
    int option, rc = 0;

    optind = 0; /* glibc: from the beginning */
    while (!rc && (option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
        if (option == 'p')
            rc = set_port(options->config, optarg, &options->report);
        else if (option == OPTION_SET)
            rc = config_set(options->config, optarg, &options->report);
    }
    return rc;
}

static int print_errors(const struct config_report *report)
{
    for (size_t i = 0; i < report->error_count; i++)
        fprintf(stderr, "leveretd: %s\n", report->errors[i]);
    return report->error_count ? OPTIONS_EXIT_CONFIG : -1;
}

static int print_check(const struct config_report *report)
{
    for (size_t i = 0; i < report->note_count; i++)
        printf("%s\n", report->notes[i]);
    puts("the configuration is right");
    return EXIT_SUCCESS;
}

int options_read(struct options *options, int argc, char **argv)
{
    const char *file = NULL;
    int status, rc = 0;

    *options = (struct options){ .data_directory = "./data" };
    status = look_for_file(options, argc, argv, &file);
    if (status >= 0)
        return status;
    options->config = config_new();
    if (!options->config)
        rc = -ENOMEM;
    if (!rc && file)
        rc = config_read_file(options->config, file, &options->report);
    if (!rc)
        rc = apply_settings(options, argc, argv);
    if (rc) {
        fprintf(stderr, "leveretd: %s\n", strerror(-rc));
        return OPTIONS_EXIT_FAILURE;
    }
    status = print_errors(&options->report);
    if (status < 0 && options->check_only)
        status = print_check(&options->report);
    return status;
}

void options_release(struct options *options)
{
    config_free(options->config);
    config_report_release(&options->report);
}
