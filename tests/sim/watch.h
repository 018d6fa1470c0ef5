/*
 * watch.h - what the broker does that no client is told of
 *
 * Messages expire, are dropped for a limit, or move on as dead letters without a word to anybody,
 * and the order of such events decides what clients see later. So the calls of the broker's own
 * functions where they happen pass through here (the linker's --wrap), on their way, to the model,
 * which judges them like answers: the broker chooses the moment, the rules say what may happen and
 * what must have happened at the end of a turn.
 *
 * The names that the broker makes up pass here too: they come from the seed.
 */
#ifndef SIM_WATCH_H
#define SIM_WATCH_H

#include "model.h"

/** watch_begin() - from now on events belong to @sim; NULL: to nobody */
void watch_begin(struct sim *sim);

#endif
