/*
 * memory.h - what the allocator can tell, and give back
 *
 * The C library's allocator answers either by visiting every free piece it has: a quarter of a
 * second for 1.5 million of them, during which nobody is served. jemalloc keeps a sum, and gives freed
 * pages back by itself, a part of them at a time, in a thread of its own. So leveretd is linked with
 * jemalloc where configure finds it (--with-jemalloc); without it all works, but for such pauses.
 */
#ifndef SERVER_MEMORY_H
#define SERVER_MEMORY_H

#include "amqp/base.h"

/** memory_resident() - octets in memory, which costs little to tell; 0: unknown */
uint64_t memory_resident(void);

/** memory_used() - octets allocated and not freed; never 0 */
uint64_t memory_used(void);

/** memory_trim() - give back what is freed, unless the allocator does so by itself */
void memory_trim(void);

#endif
