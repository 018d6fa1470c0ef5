/*
 * edit_distance.h - how far apart two words are, for "did you mean"
 */
#ifndef SERVER_EDIT_DISTANCE_H
#define SERVER_EDIT_DISTANCE_H

#include <stddef.h>

/**
 * edit_distance() - how many letters to insert, delete or replace to make @b of @a
 *
 * Words of more than 511 octets are as far apart as nothing else: SIZE_MAX.
 */
size_t edit_distance(const char *a, const char *b);

#endif
