/*
 * alarms.h - stop publishers before the machine is full
 *
 * Once a second the free space where the data lies and the memory in use are looked at, memory also
 * whenever the broker has allocated BOUND_MEMORY_LOOK_BYTES for messages. Past a
 * limit the broker's alarm is raised, within it is cleared: no hysteresis, as RabbitMQ
 * (operations.md 7.1). The log lines are RabbitMQ's too, since alerts match them.
 *
 * Memory in use is what has been allocated and not freed, not the resident size: an allocator keeps
 * freed memory, and an alarm must end when the queues have drained.
 */
#ifndef SERVER_ALARMS_H
#define SERVER_ALARMS_H

#include "amqp/base.h"

struct alarms;
struct broker;
struct loop;

struct alarms_settings {
    const char *directory;   /* on the file system to watch; borrowed for the life of the alarms */
    const char *node_name;   /* for the log; borrowed likewise */
    uint64_t disk_free_min_bytes;
    uint64_t memory_max_bytes; /* 0: no limit */
    uint64_t memory_paging_bytes; /* above it long queues leave memory; 0: never */
    /** free octets where @directory lies: 0 or -errno; NULL: ask the system */
    int (*disk_free)(const char *directory, uint64_t *ret_bytes);
    /** octets resident, which costs little to tell; 0: unknown; NULL: ask the system */
    uint64_t (*memory_resident)(void);
    /** octets in use, asked when those resident are past a limit; NULL: ask the allocator */
    uint64_t (*memory_used)(void);
    /** processor time of the process; NULL: ask the system */
    uint64_t (*processor_us)(void);
    /** give freed memory back to the system; NULL: tell the allocator to */
    void (*memory_trim)(void);
};

/** alarms_new() - look now, and every second from now on. 0 or -ENOMEM */
int alarms_new(struct loop *loop, struct broker *broker, const struct alarms_settings *settings,
               struct alarms **ret_alarms);
void alarms_free(struct alarms *alarms);

#endif
