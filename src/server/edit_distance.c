/*
 * edit_distance.c - the distance of Levenshtein, one row of the matrix at a time
 */
#include "server/edit_distance.h"

#include <stdint.h>
#include <string.h>

enum { WORD_BYTES = 512 };

size_t edit_distance(const char *a, const char *b)
{
    size_t costs[WORD_BYTES];
    size_t b_size = strlen(b);

    if (b_size >= WORD_BYTES || strlen(a) >= WORD_BYTES)
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
