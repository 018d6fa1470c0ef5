/*
 * task.c - the list of what is not done yet
 *
 * Tasks take turns: each gets an equal part of what the turn has left, and goes to the end of the
 * list. Methods that were run in the same turn have taken from the same budget, all but the quarter
 * that is reserved for tasks, so that they come to their end.
 */
#include "broker/task.h"

#include <utlist.h>

#include "broker/dead_letter.h"

enum { TASKS_RESERVE_SHIFT = 2 };

static uint32_t reserve(const struct broker *broker)
{
    return broker->settings.work_a_turn >> TASKS_RESERVE_SHIFT;
}

void task_begin_turn(struct broker *broker)
{
    broker->work_left = (int64_t)broker->settings.work_a_turn - reserve(broker);
}

void task_add(struct task *task)
{
    DL_APPEND(task->broker->tasks, task);
    task->broker->task_count++;
}

void task_remove(struct task *task)
{
    DL_DELETE(task->broker->tasks, task);
    task->broker->task_count--;
}

bool task_start(struct task *task)
{
    if (task->run(task)) {
        task->end(task);
        return true;
    }
    task_add(task);
    return false;
}

static void run_first(struct broker *broker)
{
    struct task *task = broker->tasks;

    DL_DELETE(broker->tasks, task);
    if (task->run(task)) {
        broker->task_count--;
        task->end(task);
    } else {
        DL_APPEND(broker->tasks, task);
    }
}

void task_run_some(struct broker *broker)
{
    uint32_t count = broker->task_count;

    broker->work_left += reserve(broker);
    while (broker->tasks && count) {
        int64_t slice = broker->work_left > 0 ? broker->work_left / count : 0;
        int64_t rest = broker->work_left - slice;

        broker->work_left = slice ? slice : 1;
        run_first(broker);
        broker->work_left += rest;
        count--;
    }
}

bool task_wants_turn(const struct broker *broker)
{
    bool deletions_wait = deletion_waits_for_store(broker);

    return broker->task_count > (deletions_wait ? 1 : 0);
}

void task_finish_all(struct broker *broker)
{
    while (broker->tasks) {
        broker->work_left = INT64_MAX;
        run_first(broker);
        dead_letter_run(broker);
    }
}
