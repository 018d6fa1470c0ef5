/*
 * world.h - the broker, its store, the disk and the clock
 *
 * The disk outlives the broker: a crash drops both broker and store, and the next pair is opened on
 * what is left.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "model.h"

void world_begin(struct sim *sim);
/** world_work() - the slices of what is too much for one turn */
void world_work(struct sim *sim);
void world_end(struct sim *sim);

/** world_flush_confirms() - what is due before the close-ok, which the model hears of afterwards */
void world_flush_confirms(const struct m_channel *channel);
/** world_turn() - end the turn of the loop, if one is open, and begin the next */
void world_turn(struct sim *sim);
/** world_wait() - nothing happens for a while; then the next turn begins */
void world_wait(struct sim *sim, unsigned ms);
/** world_poll() - let the store report, inside a turn */
void world_poll(struct sim *sim);
/** world_quiet() - heal the disk and turn until nobody waits for anything */
void world_quiet(struct sim *sim);
/** world_crash() - as SIGKILL would; the model goes back to what must be on the disk */
void world_crash(struct sim *sim);
/** world_restart() - a clean stop and a start */
void world_restart(struct sim *sim);
/** world_fail() - the next writes fail; @late: though they reach the disk */
void world_fail(struct sim *sim, unsigned writes, int error, bool late);
void world_hold(struct sim *sim, bool hold);

/** audit() - counters of the broker against a recount of the model (audit.c) */
void audit(struct sim *sim);

#endif
