/*
 * usage.c - reading /proc
 *
 * Flushes are those of the whole disk that holds the data directory (the sixteenth figure of
 * its line in /proc/diskstats), found by device number: on a quiet machine they are the broker's
 * syncs, on a busy one they are an upper bound. A file system with anonymous device numbers
 * (btrfs, overlay) has no such line, and then they stay 0.
 */
#include "usage.h"

#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { SYNC_ROUNDS = 200 };

static FILE *open_proc(pid_t pid, const char *name)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re");
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now))
        wire_fail("clock: %s", strerror(errno));
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void add_cpu(pid_t pid, struct usage *usage)
{
    FILE *stat = open_proc(pid, "stat");
    unsigned long user, system;
    char line[1024], *after_name;
    clockid_t clock;
    double tick_us = 1e6 / (double)sysconf(_SC_CLK_TCK);

    if (!stat || !fgets(line, sizeof line, stat) || clock_getcpuclockid(pid, &clock))
        wire_fail("server process %d is gone", (int)pid);
    fclose(stat);
    after_name = strrchr(line, ')');
    if (!after_name ||
        sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &system) != 2)
        wire_fail("/proc/%d/stat has an unknown form", (int)pid);
    usage->user_us += (double)user * tick_us;
    usage->system_us += (double)system * tick_us;
    usage->cpu_us += (double)clock_ns(clock) / 1e3;
}

static void add_named(pid_t pid, const char *file_name, const char *name, uint64_t *total)
{
    FILE *file = open_proc(pid, file_name);
    size_t length = strlen(name);
    char line[256];

    if (!file)
        return;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, name, length) && line[length] == ':')
            *total += strtoull(line + length + 1, NULL, 10);
    fclose(file);
}

static uint64_t disk_flushes(const char *dir)
{
    unsigned long long flushes = 0;
    unsigned disk_major, disk_minor;
    char line[512];
    struct stat info;
    FILE *stats;

    if (stat(dir, &info))
        wire_fail("%s: %s", dir, strerror(errno));
    stats = fopen("/proc/diskstats", "re");
    if (!stats)
        return 0;
    while (fgets(line, sizeof line, stats))
        if (sscanf(line, "%u %u %*s %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u "
                         "%llu", &disk_major, &disk_minor, &flushes) == 3 &&
            disk_major == major(info.st_dev) && disk_minor == minor(info.st_dev))
            break;
        else
            flushes = 0;
    fclose(stats);
    return flushes;
}

void usage_sample(const struct usage_source *source, struct usage *ret_usage)
{
    struct usage usage = { 0 };
    unsigned i;

    for (i = 0; i < source->pid_count; i++) {
        add_cpu(source->pids[i], &usage);
        add_named(source->pids[i], "status", "VmRSS", &usage.rss_kb);
        add_named(source->pids[i], "status", "VmHWM", &usage.rss_peak_kb);
        add_named(source->pids[i], "io", "write_bytes", &usage.bytes_written);
        add_named(source->pids[i], "io", "syscw", &usage.writes);
    }
    if (source->data_dir)
        usage.flushes = disk_flushes(source->data_dir);
    *ret_usage = usage;
}

void usage_reset_peak(const struct usage_source *source)
{
    char path[64];
    unsigned i;
    FILE *file;

    for (i = 0; i < source->pid_count; i++) {
        (void)snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)source->pids[i]);
        file = fopen(path, "we");
        if (!file)
            continue;
        (void)fputs("5", file);
        (void)fclose(file); /* without the right, the peak stays the peak since start */
    }
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

double usage_measure_sync(const char *dir, unsigned append_size)
{
    double took_us[SYNC_ROUNDS];
    char path[PATH_MAX];
    uint8_t *block = calloc(1, append_size ? append_size : 1);
    uint64_t before;
    int fd, i;

    (void)snprintf(path, sizeof path, "%s/sync.XXXXXX", dir);
    fd = mkstemp(path);
    if (fd < 0 || !block)
        wire_fail("%s: %s", path, strerror(errno));
    (void)unlink(path); /* the file lives as long as its descriptor */
    for (i = 0; i < SYNC_ROUNDS; i++) {
        before = usage_now_ns();
        if (write(fd, block, append_size) != (ssize_t)append_size || fdatasync(fd))
            wire_fail("%s: %s", path, strerror(errno));
        took_us[i] = (double)(usage_now_ns() - before) / 1e3;
    }
    close(fd);
    free(block);
    qsort(took_us, SYNC_ROUNDS, sizeof took_us[0], compare_doubles);
    return took_us[SYNC_ROUNDS / 2];
}

uint64_t usage_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

double usage_self_cpu_us(void)
{
    return (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e3;
}
