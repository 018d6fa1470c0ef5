/*
 * usage.h - what a server process has cost so far, as the kernel counts it
 *
 * A run takes one sample before and one after, and reports the difference. Processor time comes
 * from the process's CPU clock, which has nanoseconds where /proc/PID/stat has hundredths of a
 * second, and covers every thread, also those that ended. Several processes are summed.
 */
#ifndef PERF_USAGE_H
#define PERF_USAGE_H

#include <stdint.h>
#include <sys/types.h>

enum { USAGE_PIDS_MAX = 8 };

struct usage {
    double cpu_us, user_us, system_us; /* user and system in the kernel's ticks */
    uint64_t rss_kb, rss_peak_kb;      /* VmRSS, VmHWM */
    uint64_t bytes_written;            /* write_bytes of /proc/PID/io: pages dirtied */
    uint64_t writes;                   /* write system calls of every kind, sockets included */
    uint64_t flushes;                  /* cache flushes of the disk: of everyone who uses it */
};

struct usage_source {
    pid_t pids[USAGE_PIDS_MAX];
    unsigned pid_count;
    const char *data_dir; /* whose disk's flushes are counted; NULL for none */
};

/**
 * usage_sample() - read the counters of every process of a source
 *
 * Ends the process (wire_fail()) when a process is gone: its figures would be those of a crash.
 * Counters that the kernel does not show to this user stay 0.
 */
void usage_sample(const struct usage_source *source, struct usage *ret_usage);

/** usage_reset_peak() - start VmHWM again from the present size; needs root, else does nothing */
void usage_reset_peak(const struct usage_source *source);

/**
 * usage_measure_sync() - how long one fdatasync after a small append takes
 * @dir:         an existing directory on the disk in question; a file is made there and removed
 * @append_size: bytes appended before each sync
 *
 * Return: the median over 200 syncs, in microseconds.
 */
double usage_measure_sync(const char *dir, unsigned append_size);

/** usage_now_ns() - the monotonic clock; usage_self_cpu_us() - what this program has used */
uint64_t usage_now_ns(void);
double usage_self_cpu_us(void);

#endif
