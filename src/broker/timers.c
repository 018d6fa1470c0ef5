/*
 * timers.c - the heap
 *
 * heap[1..count], heap[n] due no later than heap[2n] and heap[2n + 1], and heap[n]->place == n.
 * Index 0 is not used, so that a place of 0 can mean "not set".
 */
#include "broker/timers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "amqp/bounds.h"

enum { HEAP_FIRST_CAPACITY = 64 };

void timers_release(struct timers *timers)
{
    for (size_t i = 1; i <= timers->count; i++)
        timers->heap[i]->place = 0;
    free(timers->heap);
    *timers = (struct timers){ 0 };
}

static void heap_put(struct timers *timers, size_t place, struct timer *timer)
{
    timers->heap[place] = timer;
    timer->place = place;
}

static void heap_rise(struct timers *timers, size_t place, struct timer *timer)
{
    while (place > 1 && timers->heap[place / 2]->due_ms > timer->due_ms) {
        heap_put(timers, place, timers->heap[place / 2]);
        place /= 2;
    }
    heap_put(timers, place, timer);
}

static void heap_sink(struct timers *timers, size_t place, struct timer *timer)
{
    for (size_t child = 2 * place; child <= timers->count; child = 2 * place) {
        if (child < timers->count && timers->heap[child + 1]->due_ms < timers->heap[child]->due_ms)
            child++;
        if (timers->heap[child]->due_ms >= timer->due_ms)
            break;
        heap_put(timers, place, timers->heap[child]);
        place = child;
    }
    heap_put(timers, place, timer);
}

static int heap_make_room(struct timers *timers)
{
    size_t capacity = timers->capacity ? 2 * timers->capacity : HEAP_FIRST_CAPACITY;
    struct timer **heap;

    if (timers->count + 1 < timers->capacity)
        return 0;
    heap = realloc(timers->heap, capacity * sizeof(*heap));
    if (!heap)
        return -ENOMEM;
    timers->heap = heap;
    timers->capacity = capacity;
    return 0;
}

int timers_set(struct timers *timers, struct timer *timer, uint64_t due_ms)
{
    uint64_t before_ms = timer->due_ms;
    int rc;

    assert(timer->fire);
    if (!timer->place) {
        rc = heap_make_room(timers);
        if (rc)
            return rc;
        timer->due_ms = due_ms;
        timers->count++;
        heap_rise(timers, timers->count, timer);
        return 0;
    }
    assert(timers->heap[timer->place] == timer);
    timer->due_ms = due_ms;
    if (due_ms < before_ms)
        heap_rise(timers, timer->place, timer);
    else
        heap_sink(timers, timer->place, timer);
    return 0;
}

void timers_cancel(struct timers *timers, struct timer *timer)
{
    size_t place = timer->place;
    struct timer *last;

    if (!place)
        return;
    assert(timers->heap[place] == timer);
    last = timers->heap[timers->count--];
    timer->place = 0;
    if (last == timer)
        return;
    if (place > 1 && timers->heap[place / 2]->due_ms > last->due_ms)
        heap_rise(timers, place, last);
    else
        heap_sink(timers, place, last);
}

void timers_run(struct timers *timers, uint64_t now_ms)
{
    unsigned left = BOUND_TIMERS_A_TURN;

    while (left-- && timers->count && timers->heap[1]->due_ms <= now_ms) {
        struct timer *timer = timers->heap[1];

        timers_cancel(timers, timer);
        timer->fire(timer, now_ms);
    }
}
