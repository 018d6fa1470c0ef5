/*
 * ledger.c - an octet per message
 */
#include "ledger.h"

#include <inttypes.h>
#include <stdlib.h>

#include "link.h"

uint64_t ledger_publish(struct ledger *ledger)
{
    if (ledger->count == ledger->capacity) {
        ledger->capacity = ledger->capacity ? ledger->capacity * 2 : 4096;
        ledger->states = realloc(ledger->states, ledger->capacity);
        ledger->seen = realloc(ledger->seen, ledger->capacity * sizeof *ledger->seen);
        if (!ledger->states || !ledger->seen)
            crash_fail("no memory");
    }
    ledger->states[ledger->count] = LEDGER_PUBLISHED;
    ledger->seen[ledger->count] = false;
    return ++ledger->count;
}

static uint8_t *state_of(struct ledger *ledger, uint64_t number)
{
    if (number == 0 || number > ledger->count)
        crash_fail("message %" PRIu64 " of %s was never published", number, ledger->queue);
    return &ledger->states[number - 1];
}

void ledger_confirm(struct ledger *ledger, uint64_t number)
{
    uint8_t *state = state_of(ledger, number);

    if (*state == LEDGER_PUBLISHED)
        *state = LEDGER_CONFIRMED;
}

void ledger_ack(struct ledger *ledger, uint64_t number)
{
    *state_of(ledger, number) = LEDGER_ACKED;
}

void ledger_settle(struct ledger *ledger, uint64_t number)
{
    *state_of(ledger, number) = LEDGER_SETTLED;
    while (ledger->low < ledger->count && ledger->states[ledger->low] >= LEDGER_SETTLED)
        ledger->low++;
}

uint64_t ledger_backlog(const struct ledger *ledger)
{
    return ledger->count - ledger->low;
}

void ledger_begin(struct ledger *ledger)
{
    ledger->last_seen = 0;
    for (uint64_t i = ledger->low; i < ledger->count; i++)
        ledger->seen[i] = false;
}

void ledger_deliver(struct ledger *ledger, uint64_t number)
{
    uint8_t *state = state_of(ledger, number);

    if (number <= ledger->last_seen)
        crash_fail("message %" PRIu64 " of %s comes after %" PRIu64, number, ledger->queue,
                   ledger->last_seen);
    if (*state == LEDGER_SETTLED)
        crash_fail("message %" PRIu64 " of %s returns although its ack was confirmed", number,
                   ledger->queue);
    if (*state == LEDGER_GONE)
        crash_fail("message %" PRIu64 " of %s returns after it was missing", number,
                   ledger->queue);
    ledger->last_seen = number;
    ledger->seen[number - 1] = true;
}

void ledger_end(struct ledger *ledger)
{
    for (uint64_t i = ledger->low; i < ledger->count; i++) {
        uint8_t *state = &ledger->states[i];

        if (ledger->seen[i]) {
            *state = LEDGER_CONFIRMED; /* it is on the disk; an ack of it was lost */
            continue;
        }
        if (*state == LEDGER_CONFIRMED)
            crash_fail("message %" PRIu64 " of %s was confirmed and is lost", i + 1,
                       ledger->queue);
        if (*state == LEDGER_PUBLISHED && i + 1 < ledger->last_seen)
            crash_fail("message %" PRIu64 " of %s is missing, but %" PRIu64 " is there", i + 1,
                       ledger->queue, ledger->last_seen);
        if (*state != LEDGER_SETTLED)
            *state = LEDGER_GONE;
    }
    while (ledger->low < ledger->count && ledger->states[ledger->low] >= LEDGER_SETTLED)
        ledger->low++;
}
