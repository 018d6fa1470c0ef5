/*
 * edit_distance.c - see edit_distance.h
 *
 * Levenshtein's, one row of the matrix at a time.
 */
#include "server/edit_distance.h"

#include <stdint.h>
#include <string.h>

size_t edit_distance(const char *a, const char *b)
{
    size_t costs[EDIT_WORD_BYTES];
    size_t b_size = strlen(b);

    if (b_size >= EDIT_WORD_BYTES || strlen(a) >= EDIT_WORD_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++)
        costs[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = costs[0];

        costs[0] = i + 1;
        for (size_t j = 0; j < b_size; j++) {
            size_t best = diagonal + (a[i] != b[j]);

            if (costs[j] + 1 < best)
                best = costs[j] + 1;
            if (costs[j + 1] + 1 < best)
                best = costs[j + 1] + 1;
            diagonal = costs[j + 1];
            costs[j + 1] = best;
        }
    }
    return costs[b_size];
}

const char *nearest_word(const char *word, const char *(*name_at)(size_t i))
{
    size_t best = NEAR_MISS_MAX + 1;
    const char *nearest = NULL, *name;

    for (size_t i = 0; (name = name_at(i)); i++) {
        size_t apart = edit_distance(word, name);

        if (apart < best) {
            best = apart;
            nearest = name;
        }
    }
    return nearest;
}
