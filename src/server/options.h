/*
 * options.h - the command line of leveretd, and the configuration that it leads to
 */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "amqp/base.h"
#include "server/config.h"

enum {
    OPTIONS_EXIT_FAILURE = 1, /* the machine or another process is in the way */
    OPTIONS_EXIT_CONFIG = 2,  /* the command line or the configuration is wrong, and stays so */
    OPTIONS_EXIT_LOST = 74,   /* the disk failed while running (EX_IOERR): to be started again */
};

/** struct options - strings are borrowed from argv */
struct options {
    const char *data_directory; /* "./data" by default */
    const char *config_file;    /* -c; NULL without */
    const char *definitions;    /* --definitions; NULL without */
    bool check_only;            /* --check-config */
    struct config *config;      /* owned */
    struct config_report report; /* owned; no errors in it */
};

/**
 * options_read() - read command line, configuration file and settings
 *
 * Settings from the command line win over the file, in the order given. Prints help, the version,
 * or what is wrong, each with where it stands.
 *
 * Return: -1 to go on; otherwise the status to exit with at once.
 */
int options_read(struct options *options, int argc, char **argv);
void options_release(struct options *options);

/** options_print_check() - what --check-config says of a configuration without errors */
void options_print_check(const struct options *options);

#endif
