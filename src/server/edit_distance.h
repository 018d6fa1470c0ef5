/*
 * edit_distance.h - how far apart two words are, for "did you mean ...?"
 */
#ifndef SERVER_EDIT_DISTANCE_H
#define SERVER_EDIT_DISTANCE_H

#include <stddef.h>

enum {
    EDIT_WORD_BYTES = 512,  /* longer words are infinitely far from any other */
    NEAR_MISS_MAX = 2,      /* a word that far from a known one is probably that one misspelt */
};

/**
 * nearest_word() - the known word that this one must have been meant to be, perhaps itself
 * @name_at: the known words, NULL behind the last
 *
 * Return: NULL when all are more than NEAR_MISS_MAX away.
 */
const char *nearest_word(const char *word, const char *(*name_at)(size_t i));

/** edit_distance() - octets to insert, delete or replace to make one of the other; SIZE_MAX */
size_t edit_distance(const char *a, const char *b);

#endif
