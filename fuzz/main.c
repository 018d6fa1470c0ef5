/*
 * main.c - runs a fuzz target over the files named on the command line
 *
 * For builds without libFuzzer: with gcc the corpus becomes a regression test. Each input is an
 * exact copy on the heap, so that a sanitizer sees a read past its end. Each is also run cut in
 * half and with each of its first octets changed, which makes a small corpus go further.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_BYTES_MAX = 1 << 20, CHANGED_OCTETS_MAX = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t read_file(const char *path, uint8_t *data, size_t room)
{
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    size = fread(data, 1, room, file);
    fclose(file);
    return size;
}

static void run_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_changed(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size && i < CHANGED_OCTETS_MAX; i++) {
        for (int by = -1; by <= 1; by += 2) {
            data[i] = (uint8_t)(data[i] + by);
            run_copy(data, size);
            data[i] = (uint8_t)(data[i] - by);
        }
    }
}

int main(int argc, char **argv)
{
    static uint8_t data[INPUT_BYTES_MAX];

    for (int i = 1; i < argc; i++) {
        size_t size = read_file(argv[i], data, sizeof data);

        run_copy(data, size);
        run_copy(data, size / 2);
        run_changed(data, size);
    }
    printf("%d passed, 0 failed\n", argc - 1);
    return argc > 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
