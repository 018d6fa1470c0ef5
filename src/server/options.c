/*
 * options.c - getopt, twice
 *
 * The file named by -c is read before any --set takes effect, wherever they stand on the command
 * line; so the first pass looks for -c and for what can be answered at once, the second applies
 * settings in order. -p is short for a setting.
 *
 * getopt prints nothing: what is wrong is said here, with what to write instead.
 */
#include "server/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/edit_distance.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "development"
#endif

enum {
    OPTION_DEFINITIONS = 256,
    OPTION_SET,
    OPTION_CHECK_CONFIG,
    OPTION_VERSION,
    NEAR_EDITS = 3, /* between an unknown option and the one that is suggested */
};

static const char short_options[] = ":c:D:p:h"; /* the first ':' tells missing arguments apart */

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
    "      --check-config       check the configuration, say what has no effect, and exit:\n"
    "                           0 when it can be used, else 2\n"
    "      --version            print the version and exit\n"
    "  -h, --help               print this and exit\n"
    "\n"
    "SIGTERM stops it in order, SIGHUP reopens the log file. See leveretd(8), leveret.conf(5).\n";

/* --- mistakes --- */

/* The long option nearest to `name`, or NULL. */
static const char *nearest_option(const char *name)
{
    const char *found = NULL;
    size_t nearest = NEAR_EDITS + 1;

    for (const struct option *option = long_options; option->name; option++) {
        size_t apart = edit_distance(name, option->name);

        if (apart < nearest) {
            nearest = apart;
            found = option->name;
        }
    }
    return found;
}

static bool is_known(int letter)
{
    for (const struct option *option = long_options; option->name; option++)
        if (option->val == letter)
            return true;
    return false;
}

/* getopt said '?': for a long option, which is `word`, or else for the letter in optopt. */
static int refuse_option(const char *word)
{
    char name[64];
    const char *near;

    (void)snprintf(name, sizeof name, "%s", word + strspn(word, "-")); /* a cut one is unknown */
    name[strcspn(name, "=")] = '\0';
    near = nearest_option(name);
    if (optopt && is_known(optopt))
        fprintf(stderr, "leveretd: --%s takes no value; try --help\n", name);
    else if (optopt)
        fprintf(stderr, "leveretd: unknown option '-%c' (longer ones begin with --); try --help\n",
                optopt);
    else if (near)
        fprintf(stderr, "leveretd: unknown option '%s'; did you mean --%s?\n", word, near);
    else
        fprintf(stderr, "leveretd: unknown option '%s'; try --help\n", word);
    return OPTIONS_EXIT_CONFIG;
}

static int refuse_word(const char *word)
{
    if (access(word, F_OK) == 0)
        fprintf(stderr, "leveretd: '%s' stands without an option; a configuration file is given as "
                        "-c %s, a data directory as -D %s\n",
                word, word, word);
    else
        fprintf(stderr, "leveretd: '%s' is not an option; try --help\n", word);
    return OPTIONS_EXIT_CONFIG;
}

static int refuse_missing_value(const char *word)
{
    fprintf(stderr, "leveretd: a value is missing behind '%s'; try --help\n", word);
    return OPTIONS_EXIT_CONFIG;
}

/* --- the first pass --- */

/* An option whose two values cannot both hold. Return: -1, or the exit status. */
static int take_once(const char **field, const char *text)
{
    if (*field) {
        fprintf(stderr, "leveretd: two configuration files are given, '%s' and '%s'; let one of "
                        "them include the other\n",
                *field, text);
        return OPTIONS_EXIT_CONFIG;
    }
    *field = text;
    return -1;
}

/* First pass. Return: -1 to go on, or the exit status. */
static int look_for_file(struct options *options, int argc, char **argv, const char **ret_file)
{
    int option, status = -1;

    opterr = 0;
    while (status < 0 &&
           (option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            status = take_once(ret_file, optarg);
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
            return refuse_option(argv[optind - 1]);
        case ':':
            return refuse_missing_value(argv[optind - 1]);
        default:
            break; /* a setting, for the second pass */
        }
    }
    return status < 0 && optind < argc ? refuse_word(argv[optind]) : status;
}

/* --- the second pass --- */

static int apply_port(struct options *options, const char *port, bool *given)
{
    size_t digits = strspn(port, "0123456789");
    long number = digits && digits <= 5 && !port[digits] ? strtol(port, NULL, 10) : 0;

    if (*given)
        return config_error(&options->report, "-p is given twice; to listen at two ports, add "
                                              "--set listeners.tcp.second=PORT");
    *given = true;
    if (!strchr(port, ':') && (number < 1 || number > UINT16_MAX))
        return config_error(&options->report, "-p %.100s: a port is a number from 1 to 65535",
                            port);
    return config_set_key(options->config, "-p", "listeners.tcp.default", port, &options->report);
}

/* Second pass: 0 or -ENOMEM; mistakes go to the report. */
static int apply_settings(struct options *options, int argc, char **argv)
{
    bool port_given = false;
    int option, rc = 0;

    optind = 0; /* glibc: from the beginning */
    while (!rc && (option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
        if (option == 'p')
            rc = apply_port(options, optarg, &port_given);
        else if (option == OPTION_SET)
            rc = config_set(options->config, optarg, &options->report);
    }
    return rc;
}

/* The file of -c; what is in the way is told better here than by the reader of any file. */
static int read_main_file(struct options *options, const char *path)
{
    struct stat status;

    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return config_error(&options->report, "-c %s: this is a directory; give the file in it",
                            path);
    if (access(path, F_OK))
        return config_error(&options->report, "-c %s: %s; give the path of a configuration file, "
                                              "or leave -c out to have every default",
                            path, strerror(errno));
    return config_read_file(options->config, path, &options->report);
}

static int print_errors(const struct config_report *report)
{
    for (size_t i = 0; i < report->error_count; i++)
        fprintf(stderr, "leveretd: %s\n", report->errors[i]);
    return report->error_count ? OPTIONS_EXIT_CONFIG : -1;
}

void options_print_check(const struct options *options)
{
    const struct config_report *report = &options->report;

    for (size_t i = 0; i < report->note_count; i++)
        printf("%s\n", report->notes[i]);
    if (report->note_count)
        printf("the configuration can be used; %zu of its settings %s no effect\n",
               report->note_count, report->note_count == 1 ? "has" : "have");
    else
        puts("the configuration can be used; every setting in it has an effect");
}

int options_read(struct options *options, int argc, char **argv)
{
    int status, rc = 0;

    *options = (struct options){ .data_directory = "./data" };
    status = look_for_file(options, argc, argv, &options->config_file);
    if (status >= 0)
        return status;
    options->config = config_new();
    if (!options->config)
        rc = -ENOMEM;
    if (!rc && options->config_file)
        rc = read_main_file(options, options->config_file);
    if (!rc)
        rc = apply_settings(options, argc, argv);
    if (!rc)
        rc = config_check(options->config, &options->report);
    if (rc) {
        fprintf(stderr, "leveretd: %s\n", strerror(-rc));
        return OPTIONS_EXIT_FAILURE;
    }
    return print_errors(&options->report);
}

void options_release(struct options *options)
{
    config_free(options->config);
    config_report_release(&options->report);
}
