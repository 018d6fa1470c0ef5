/*
 * confirm.c - runs of publishes that become durable together
 *
 * Invariants: runs are in order of their tags and leave no gap from `settled` + 1 to
 * `next_tag` - 1; neighbours differ in commit or outcome. A run without a commit of its own
 * (transient, unroutable) that follows a waiting one waits with it: confirms stay in order, and
 * one basic.ack answers both.
 */
#include "broker/confirm.h"

#include <errno.h>
#include <stdlib.h>

void confirm_init(struct confirm_set *set)
{
    *set = (struct confirm_set){ .next_tag = 1 };
}

void confirm_release(struct confirm_set *set)
{
    free(set->runs);
    set->runs = NULL;
}

static struct confirm_run *run_at(const struct confirm_set *set, uint32_t index)
{
    return &set->runs[(set->first + index) & (set->capacity - 1)];
}

static int grow(struct confirm_set *set)
{
    uint32_t capacity = set->capacity ? set->capacity * 2 : 4;
    struct confirm_run *runs = malloc(capacity * sizeof *runs);

    if (!runs)
        return -ENOMEM;
    for (uint32_t i = 0; i < set->count; i++)
        runs[i] = *run_at(set, i);
    free(set->runs);
    set->runs = runs;
    set->first = 0;
    set->capacity = capacity;
    return 0;
}

int confirm_add(struct confirm_set *set, uint64_t commit, bool refused)
{
    struct confirm_run *last = set->count ? run_at(set, set->count - 1) : NULL;

    if (last && last->commit > commit)
        commit = last->commit;
    if (last && last->commit == commit && last->refused == refused) {
        last->last = set->next_tag++;
        return 0;
    }
    if (set->count == set->capacity) {
        int rc = grow(set);

        if (rc)
            return rc;
    }
    *run_at(set, set->count++) =
        (struct confirm_run){ .last = set->next_tag++, .commit = commit, .refused = refused };
    return 0;
}

bool confirm_next(struct confirm_set *set, uint64_t durable, struct confirm_answer *ret_answer)
{
    struct confirm_run *run;
    uint64_t before = set->settled;
    bool refused;

    if (set->count == 0 || run_at(set, 0)->commit > durable)
        return false;
    refused = run_at(set, 0)->refused;
    while (set->count) {
        run = run_at(set, 0);
        if (run->commit > durable || run->refused != refused)
            break;
        set->settled = run->last;
        set->first = (set->first + 1) & (set->capacity - 1);
        set->count--;
    }
    *ret_answer = (struct confirm_answer){ .tag = set->settled,
                                           .multiple = set->settled > before + 1,
                                           .refused = refused };
    return true;
}
