/*
 * recovery.h - what the operator sees of a start that takes long
 */
#ifndef SERVER_RECOVERY_H
#define SERVER_RECOVERY_H

#include "store/store.h"

/** struct recovery - from recovery_begin() to recovery_end(); give @observer to store_open() */
struct recovery {
    struct store_observer observer;
    uint64_t begun_ms, told_ms;
    uint64_t (*now_ms)(void); /* monotonic */
};

/** recovery_begin() - log that the data in @path are opened; @now_ms as in struct recovery */
void recovery_begin(struct recovery *recovery, const char *path, uint64_t (*now_ms)(void));

/** recovery_end() - log what was recovered, and how long it took */
void recovery_end(const struct recovery *recovery, const struct store *store);

/** recovery_now_ms() - the machine's monotonic clock */
uint64_t recovery_now_ms(void);

#endif
