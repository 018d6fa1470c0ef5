/*
 * reserve.h - room on the disk that is kept for the day on which it is full
 *
 * A file of zeros. Acknowledgements and deletions have to be written before they free anything, so
 * a disk without a free octet could never be drained: then the file is removed, publishers stop,
 * and what it held is there for everything else. Calls may come from any thread.
 */
#ifndef STORE_RESERVE_H
#define STORE_RESERVE_H

#include "store/backend.h"

struct store_reserve;

/**
 * store_reserve_new() - the reserve of a directory, taken at once if there is room
 * @size_bytes: no more than a part (RESERVE_PART) of the file system is ever taken; 0: none
 *
 * Return: 0, also when there is no room; -errno.
 */
int store_reserve_new(const char *directory, uint64_t size_bytes,
                      struct store_reserve **ret_reserve);

/** store_reserve_give_up() - make its room free; false when it was free already, or is none */
bool store_reserve_give_up(struct store_reserve *reserve);

/** store_reserve_is_held() - also when none is to be held */
bool store_reserve_is_held(struct store_reserve *reserve);

/**
 * store_reserve_take() - hold it again, if twice its size is free
 *
 * So that what goes on then does not use it up in the next moment. It asks the file system, so the
 * caller decides how often.
 *
 * Return: whether it is held now.
 */
bool store_reserve_take(struct store_reserve *reserve);

/** store_reserve_bytes() - the size that it has when it is held */
uint64_t store_reserve_bytes(const struct store_reserve *reserve);

/** store_reserve_free() - the file stays. NULL is fine. */
void store_reserve_free(struct store_reserve *reserve);

#endif
