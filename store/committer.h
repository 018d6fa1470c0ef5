/*
 * committer.h - the threads that write and apply sealed commits
 *
 * They alone write to the backend. One takes whatever is sealed, in order, writes it as one batch
 * and says up to where it is durable; so the slower the disk, the larger the batches. The other
 * applies what is written to the database. After a failure the same commits are written again, once
 * a second, until that works.
 */
#ifndef STORE_COMMITTER_H
#define STORE_COMMITTER_H

#include "store/store-internal.h"

struct store_committer;

/** struct store_committer_report - what has happened since the last collection */
struct store_committer_report {
    uint64_t durable; /* number of the last durable commit */
    uint64_t applied; /* and of the last that the backend hands out: they may be freed */
    bool stalled_changed;
    int stalled; /* -errno, or 0: writes work, and there is room */
    struct store_fault fault;
    int lost; /* -errno: the process has to end */
    struct store_fault lost_fault;
    uint64_t sync_us;
};

/** store_committer_start() - @backend and @waker are borrowed until store_committer_stop() */
int store_committer_start(struct store_backend *backend, const struct store_options *options,
                          struct store_waker *waker, struct store_committer **ret_committer);

/**
 * store_committer_submit() - hand over a sealed commit; it is borrowed until reported applied
 * @after: the commit sealed before it, if that is not yet freed: its `next` is set
 */
void store_committer_submit(struct store_committer *committer, struct store_commit *after,
                            struct store_commit *commit);

/** store_committer_collect() - what is new since the last call */
void store_committer_collect(struct store_committer *committer,
                             struct store_committer_report *ret_report);

/**
 * store_committer_stop() - write what was submitted, end the threads, free it
 * @ret_ended: false when a thread is in a call that does not return: then it and all that it was
 *             given must stay, and the process end without exit()
 *
 * Return: 0; -errno when writing failed for 5 s and the rest was given up.
 */
int store_committer_stop(struct store_committer *committer, bool *ret_ended);

#endif
