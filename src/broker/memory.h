/*
 * memory.h - a count of what is allocated for messages, so that the watermark is noticed in time
 */
#ifndef BROKER_MEMORY_H
#define BROKER_MEMORY_H

#include "broker/broker.h"

/** broker_look_at_memory() - have a look taken, and count from 0 again */
void broker_look_at_memory(struct broker *broker);

/**
 * broker_note_memory() - so much is being allocated; a look is taken when one is due
 *
 * What is freed is not noted. Alarms and paging may have changed when it returns.
 */
static inline void broker_note_memory(struct broker *broker, size_t bytes)
{
    broker->grown_bytes += bytes;
    if (UNLIKELY(broker->grown_bytes >= BOUND_MEMORY_LOOK_BYTES))
        broker_look_at_memory(broker);
}

#endif
