/*
 * origin.c - when, where and against which broker a run was made
 *
 * Figures outlive the terminal that they were printed in; a report that does not say where it comes
 * from cannot be compared with another. The broker is asked over a connection of its own, before
 * anything is measured.
 */
#include "perf.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* The processor's name, as /proc/cpuinfo has it; "" where it has none. */
static void read_processor(char *ret_name, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];
    char *value;

    ret_name[0] = '\0';
    while (file && !ret_name[0] && fgets(line, sizeof line, file)) {
        value = strstr(line, ": ");
        if (strncmp(line, "model name", 10) || !value)
            continue;
        value[strcspn(value, "\n")] = '\0';
        (void)snprintf(ret_name, size, ", %s", value + 2);
    }
    if (file)
        (void)fclose(file); /* it was only read */
}

static void note_machine(struct origin *origin)
{
    char processor[200];
    struct utsname name;

    read_processor(processor, sizeof processor);
    if (uname(&name))
        wire_fail("uname: %s", strerror(errno));
    (void)snprintf(origin->machine, sizeof origin->machine, "%.60s, %ld CPUs%.120s, %.20s %.60s",
                   name.nodename, sysconf(_SC_NPROCESSORS_ONLN), processor, name.sysname,
                   name.release);
}

static void note_time(struct origin *origin)
{
    time_t now = time(NULL);
    struct tm local;

    if (!localtime_r(&now, &local) ||
        !strftime(origin->begun, sizeof origin->begun, "%Y-%m-%dT%H:%M:%S%z", &local))
        wire_fail("the time of day cannot be read");
}

void origin_note(const struct client_address *address, struct origin *ret_origin)
{
    struct client client;

    *ret_origin = (struct origin){ 0 };
    note_time(ret_origin);
    note_machine(ret_origin);
    if (!address)
        return;
    client_open(&client, address);
    (void)snprintf(ret_origin->broker, sizeof ret_origin->broker, "%s %s (%s) at %.180s:%u",
                   client.product, client.version, client.platform, address->host, address->port);
    client_close(&client);
}
