/*
 * memory.c - the C library's allocator, or jemalloc
 */
#include "server/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#ifdef HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>

/* Read by jemalloc at its start. Pages that are free for two seconds go back, in its own thread. */
const char *malloc_conf = "background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0";
#endif

uint64_t memory_resident(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    (void)fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

#ifdef HAVE_JEMALLOC
static uint64_t ask_allocator(void)
{
    uint64_t epoch = 1;
    size_t allocated = 0, size = sizeof allocated;

    /* Writing the epoch makes the sums new. When either fails, nothing is known. */
    if (mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) ||
        mallctl("stats.allocated", &allocated, &size, NULL, 0))
        return 0;
    return allocated;
}

void memory_trim(void)
{
}
#else
static uint64_t ask_allocator(void)
{
    struct mallinfo2 info = mallinfo2();

    return (uint64_t)info.uordblks + (uint64_t)info.hblkhd;
}

void memory_trim(void)
{
    (void)malloc_trim(0); /* there may be nothing to give back: fine */
}
#endif

/* Another allocator (a preloaded one, a sanitizer's) leaves zeros. */
uint64_t memory_used(void)
{
    uint64_t used_bytes = ask_allocator();

    return used_bytes ? used_bytes : memory_resident();
}
