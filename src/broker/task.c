/*
 * task.c - the list of what is not done yet
 *
 * Tasks take turns: each gets an equal part of what the turn has left, and goes to the end of the
 * list. Methods that were run in the same turn have taken from the same budget; a quarter of it is
 * the tasks' in any case, so that they come to their end.
 */
#include "broker/task.h"

#include <utlist.h>

#include "broker/dead_letter.h"

enum { TASKS_RESERVE_SHIFT = 2 };

bool task_start(struct task *task)
{
    struct broker *broker = task->broker;

    if (task->run(task)) {
        task->end(task);
        return true;
    }
    DL_APPEND(broker->tasks, task);
    broker->task_count++;
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
    uint32_t reserve = broker->settings.work_a_turn >> TASKS_RESERVE_SHIFT;
    uint32_t count = broker->task_count;

    if (broker->work_left <= reserve)
        broker->work_left = reserve + 1;
    while (broker->tasks && count) {
        uint32_t slice = broker->work_left / count, rest = broker->work_left - slice;

        broker->work_left = slice ? slice : 1;
        run_first(broker);
        broker->work_left += rest;
        count--;
    }
}

void task_finish_all(struct broker *broker)
{
    while (broker->tasks) {
        broker->work_left = UINT32_MAX;
        run_first(broker);
        dead_letter_run(broker);
    }
}
