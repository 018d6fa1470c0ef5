/*
 * alarms.c - the look, once a second, and as memory grows
 *
 * A second is long: a publisher fills hundreds of megabytes in it. So the broker also asks for a
 * look after every BOUND_MEMORY_LOOK_BYTES that it has allocated (broker/memory.h). That one only
 * raises, so that an alarm goes up and down once a second at most.
 *
 * statvfs() asks the file system for numbers that it has in memory, so the loop may call it. Where
 * it fails, nothing is known and the alarm stays as it was; that is said once.
 *
 * The memory in use only the allocator can tell, and the C library's visits every free piece for it
 * (memory.h). The resident size costs nothing and is never less, so the allocator is asked only while
 * that is past a limit; between the seconds only if it was not asked past that limit before, or if the
 * process has grown by another BOUND_MEMORY_LOOK_BYTES.
 *
 * While the memory alarm is raised, unfinished messages are given up down to a part of the limit,
 * some connections at a time: their publishers are blocked and could never finish them.
 *
 * The same look gives back what a burst has left: free() keeps pages that lie below one in use, so
 * a queue of a million entries would leave its memory with the process for good. Where that is not
 * the allocator's own affair (memory.h) it takes as long as the question, so it waits for a quiet
 * second after TRIM_WORK_US of work, and for twice as much each time that it was of little use.
 */
#include "server/alarms.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/memory.h"

enum {
    ALARMS_PERIOD_MS = 1000,
    GIVE_UP_PERIOD_MS = 10, /* between the connections that are closed in one go */
    TRIM_WORK_US = 250 * 1000, /* of processor time since the last trim: worth one */
    TRIM_WORK_US_MAX = 8 * TRIM_WORK_US,
    TRIM_QUIET_US = 100 * 1000,     /* from look to look: nobody waits much */
    TRIM_USE_BYTES = 16 * 1024 * 1024, /* given back: it was of use */
};

struct alarms {
    struct loop *loop;
    struct broker *broker;
    struct alarms_settings settings;
    struct timer timer, give_up_timer;
    uint64_t asked_bytes; /* resident when the allocator was last asked; 0: within the limits */
    bool disk_raised, memory_raised, paging;
    bool disk_unknown;
    uint64_t worked_trim_us, worked_before_us; /* at the last trim, at the last look */
    uint64_t trim_work_us;                     /* until the next trim */
};

static int disk_free(const char *directory, uint64_t *ret_bytes)
{
    struct statvfs found;

    if (statvfs(directory, &found))
        return -errno;
    *ret_bytes = (uint64_t)found.f_bavail * found.f_frsize;
    return 0;
}

static void set_disk_alarm(struct alarms *alarms, bool raised, uint64_t free_bytes)
{
    if (alarms->disk_raised == raised)
        return;
    alarms->disk_raised = raised;
    log_write(LOG_DEFAULT, raised ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, NULL,
              "Free disk space is %s. Free bytes: %llu. Limit: %llu",
              raised ? "insufficient" : "sufficient", (unsigned long long)free_bytes,
              (unsigned long long)alarms->settings.disk_free_min_bytes);
    log_warning("disk resource limit alarm %s on node %s.%s", raised ? "set" : "cleared",
                alarms->settings.node_name,
                raised ? " *** Publishers will be blocked until this alarm clears ***" : "");
    broker_set_alarm(alarms->broker, BROKER_ALARM_DISK, raised);
}

static uint64_t processor_us(void)
{
    struct timespec used;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used); /* cannot fail with these arguments */
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static void trim(struct alarms *alarms, uint64_t resident_bytes)
{
    uint64_t left_bytes;

    alarms->settings.memory_trim();
    left_bytes = alarms->settings.memory_resident();
    if (left_bytes + TRIM_USE_BYTES <= resident_bytes)
        alarms->trim_work_us = TRIM_WORK_US;
    else if (alarms->trim_work_us < TRIM_WORK_US_MAX)
        alarms->trim_work_us *= 2;
    alarms->worked_trim_us = alarms->worked_before_us = alarms->settings.processor_us();
}

static void give_back_memory(struct alarms *alarms, uint64_t resident_bytes)
{
    uint64_t worked_us = alarms->settings.processor_us();
    bool quiet = worked_us - alarms->worked_before_us < TRIM_QUIET_US;

    alarms->worked_before_us = worked_us;
    if (quiet && worked_us - alarms->worked_trim_us >= alarms->trim_work_us)
        trim(alarms, resident_bytes);
}

static void set_paging(struct alarms *alarms, bool low, uint64_t used_bytes)
{
    if (alarms->paging == low)
        return;
    alarms->paging = low;
    log_info("Memory used: %llu. Messages of long queues %s", (unsigned long long)used_bytes,
             low ? "leave memory from now on" : "may stay in memory again");
    broker_set_paging(alarms->broker, low);
}

static void set_memory_alarm(struct alarms *alarms, bool raised, uint64_t used_bytes)
{
    uint64_t limit_bytes = alarms->settings.memory_max_bytes;

    if (alarms->memory_raised == raised)
        return;
    alarms->memory_raised = raised;
    log_write(LOG_DEFAULT, raised ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, NULL,
              "vm_memory_high_watermark %s. Memory used:%llu allowed:%llu",
              raised ? "set" : "clear", (unsigned long long)used_bytes,
              (unsigned long long)limit_bytes);
    log_warning("memory resource limit alarm %s on node %s.%s", raised ? "set" : "cleared",
                alarms->settings.node_name,
                raised ? " *** Publishers will be blocked until this alarm clears ***" : "");
    broker_set_alarm(alarms->broker, BROKER_ALARM_MEMORY, raised);
}

static bool is_past(uint64_t bytes, uint64_t limit_bytes)
{
    return limit_bytes && bytes > limit_bytes;
}

static uint64_t ask_allocator(struct alarms *alarms, uint64_t resident_bytes)
{
    alarms->asked_bytes = resident_bytes;
    return alarms->settings.memory_used();
}

/* Past a limit, and more so than when the allocator said that it was not in use. */
static bool is_worth_asking(const struct alarms *alarms, uint64_t resident_bytes,
                            uint64_t limit_bytes)
{
    return is_past(resident_bytes, limit_bytes) &&
           (alarms->asked_bytes <= limit_bytes ||
            resident_bytes >= alarms->asked_bytes + BOUND_MEMORY_LOOK_BYTES);
}

/* The broker has allocated much since the last look. */
static void on_growth(void *context)
{
    struct alarms *alarms = context;
    uint64_t limit_bytes = alarms->settings.memory_max_bytes;
    uint64_t paging_bytes = alarms->settings.memory_paging_bytes;
    uint64_t resident_bytes, used_bytes;

    if ((alarms->memory_raised || !limit_bytes) && (alarms->paging || !paging_bytes))
        return;
    resident_bytes = alarms->settings.memory_resident();
    if (!(!alarms->memory_raised && is_worth_asking(alarms, resident_bytes, limit_bytes)) &&
        !(!alarms->paging && is_worth_asking(alarms, resident_bytes, paging_bytes)))
        return;
    used_bytes = ask_allocator(alarms, resident_bytes);
    if (is_past(used_bytes, limit_bytes))
        set_memory_alarm(alarms, true, used_bytes);
    if (is_past(used_bytes, paging_bytes))
        set_paging(alarms, true, used_bytes);
}

static void on_give_up(struct timer *timer, uint64_t now_ms)
{
    struct alarms *alarms = CONTAINER_OF(timer, struct alarms, give_up_timer);
    uint64_t keep_bytes = alarms->settings.memory_max_bytes / BOUND_UNFINISHED_DIVISOR;

    if (alarms->memory_raised && broker_give_up_unfinished(alarms->broker, keep_bytes))
        /* Without memory for the timer, the next second goes on. */
        (void)loop_set_timer(alarms->loop, timer, now_ms + GIVE_UP_PERIOD_MS);
}

static void look_at_memory(struct alarms *alarms)
{
    uint64_t limit_bytes = alarms->settings.memory_max_bytes;
    uint64_t paging_bytes = alarms->settings.memory_paging_bytes;
    uint64_t resident_bytes = alarms->settings.memory_resident();
    uint64_t used_bytes = resident_bytes;

    alarms->asked_bytes = 0;
    if (!resident_bytes || is_past(resident_bytes, limit_bytes) ||
        is_past(resident_bytes, paging_bytes))
        used_bytes = ask_allocator(alarms, resident_bytes);
    set_memory_alarm(alarms, is_past(used_bytes, limit_bytes), used_bytes);
    set_paging(alarms, is_past(used_bytes, paging_bytes), used_bytes);
    give_back_memory(alarms, resident_bytes);
}

static void look_at_disk(struct alarms *alarms)
{
    uint64_t free_bytes;
    int rc = alarms->settings.disk_free(alarms->settings.directory, &free_bytes);

    if (rc && !alarms->disk_unknown)
        log_warning("free space of %s cannot be told: %s", alarms->settings.directory,
                    strerror(-rc));
    alarms->disk_unknown = rc != 0;
    if (!rc)
        set_disk_alarm(alarms, free_bytes < alarms->settings.disk_free_min_bytes, free_bytes);
}

static void on_timer(struct timer *timer, uint64_t now_ms)
{
    struct alarms *alarms = CONTAINER_OF(timer, struct alarms, timer);

    look_at_disk(alarms);
    look_at_memory(alarms);
    on_give_up(&alarms->give_up_timer, now_ms);
    /* It was set a moment ago, so there is room for it. */
    (void)loop_set_timer(alarms->loop, &alarms->timer, now_ms + ALARMS_PERIOD_MS);
}

int alarms_new(struct loop *loop, struct broker *broker, const struct alarms_settings *settings,
               struct alarms **ret_alarms)
{
    struct alarms *alarms = calloc(1, sizeof *alarms);
    int rc;

    if (!alarms)
        return -ENOMEM;
    alarms->loop = loop;
    alarms->broker = broker;
    alarms->settings = *settings;
    if (!alarms->settings.disk_free)
        alarms->settings.disk_free = disk_free;
    if (!alarms->settings.memory_resident)
        alarms->settings.memory_resident = memory_resident;
    if (!alarms->settings.processor_us)
        alarms->settings.processor_us = processor_us;
    if (!alarms->settings.memory_used)
        alarms->settings.memory_used = memory_used;
    if (!alarms->settings.memory_trim)
        alarms->settings.memory_trim = memory_trim;
    alarms->trim_work_us = TRIM_WORK_US;
    alarms->timer.fire = on_timer;
    alarms->give_up_timer.fire = on_give_up;
    rc = loop_set_timer(loop, &alarms->timer, loop_now_ms(loop) + ALARMS_PERIOD_MS);
    if (rc) {
        free(alarms);
        return rc;
    }
    log_info("Disk free limit set to %lluMB",
             (unsigned long long)(settings->disk_free_min_bytes / 1000000));
    if (settings->memory_max_bytes)
        log_info("Memory high watermark set to %llu MiB",
                 (unsigned long long)(settings->memory_max_bytes / (1024 * 1024)));
    look_at_disk(alarms);
    look_at_memory(alarms);
    broker_watch_memory(broker, on_growth, alarms);
    *ret_alarms = alarms;
    return 0;
}

void alarms_free(struct alarms *alarms)
{
    if (!alarms)
        return;
    broker_watch_memory(alarms->broker, NULL, NULL);
    loop_cancel_timer(alarms->loop, &alarms->timer);
    loop_cancel_timer(alarms->loop, &alarms->give_up_timer);
    free(alarms);
}
