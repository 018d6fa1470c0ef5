/*
 * output.c - the chain and its pool
 *
 * Invariants: `open`, when set, is the chunk that the last piece lies in, up to where the chunk is
 * used; every other chunk hangs on the last piece that needs it (`chunk`), so it is given back when
 * that piece has been written. Pieces may be empty. `bytes` is the sum of their sizes.
 *
 * The pool keeps what a busy thread needs again in the next turn and frees the rest. It is a stack:
 * the chunk that was used last is warm.
 */
#include "server/output.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum {
    POOL_CHUNKS_MAX = 256,  /* 4 MiB kept */
    POOL_PIECES_MAX = 1024, /* 40 KiB kept */
    FLUSH_PARTS = 64,
};

static_assert(sizeof(struct output_chunk) == OUTPUT_CHUNK_BYTES, "a chunk is what it says");
static_assert(sizeof(((struct output_chunk *)0)->data) >= OUTPUT_RESERVE_BYTES,
              "an empty chunk has room for any reservation");
static_assert(OUTPUT_COPY_BYTES < OUTPUT_RESERVE_BYTES, "what is copied fits into a chunk");

static struct output_chunk *pool_take_chunk(struct output_pool *pool)
{
    struct output_chunk *chunk = pool->chunks;

    if (!chunk) {
        chunk = malloc(sizeof *chunk);
        if (!chunk)
            return NULL;
    } else {
        pool->chunks = chunk->next;
        pool->chunk_count--;
    }
    chunk->next = NULL;
    chunk->used = 0;
    return chunk;
}

static void pool_give_chunk(struct output_pool *pool, struct output_chunk *chunk)
{
    if (pool->chunk_count >= POOL_CHUNKS_MAX) {
        free(chunk);
        return;
    }
    chunk->next = pool->chunks;
    pool->chunks = chunk;
    pool->chunk_count++;
}

static struct output_piece *pool_take_piece(struct output_pool *pool)
{
    struct output_piece *piece = pool->pieces;

    if (!piece) {
        piece = malloc(sizeof *piece);
        if (!piece)
            return NULL;
    } else {
        pool->pieces = piece->next;
        pool->piece_count--;
    }
    *piece = (struct output_piece){ 0 };
    return piece;
}

static void pool_give_piece(struct output_pool *pool, struct output_piece *piece)
{
    if (pool->piece_count >= POOL_PIECES_MAX) {
        free(piece);
        return;
    }
    piece->next = pool->pieces;
    pool->pieces = piece;
    pool->piece_count++;
}

void output_pool_release(struct output_pool *pool)
{
    while (pool->chunks) {
        struct output_chunk *chunk = pool->chunks;

        pool->chunks = chunk->next;
        free(chunk);
    }
    while (pool->pieces) {
        struct output_piece *piece = pool->pieces;

        pool->pieces = piece->next;
        free(piece);
    }
    *pool = (struct output_pool){ 0 };
}

/* Append an empty piece; NULL, and the output has failed, without memory. */
static struct output_piece *output_add_piece(struct output *output)
{
    struct output_piece *piece = pool_take_piece(output->pool);

    if (!piece) {
        output->failed = true;
        return NULL;
    }
    if (output->last)
        output->last->next = piece;
    else
        output->first = piece;
    output->last = piece;
    return piece;
}

/* Let the open chunk go: it ends with the last piece. */
static void output_end_chunk(struct output *output)
{
    if (!output->open)
        return;
    output->last->chunk = output->open;
    output->open = NULL;
}

/* The first piece has been written, or is dropped. */
static void output_drop_first(struct output *output)
{
    struct output_piece *piece = output->first;

    output->first = piece->next;
    if (!output->first)
        output->last = NULL;
    if (piece->chunk)
        pool_give_chunk(output->pool, piece->chunk);
    message_unref(piece->message);
    pool_give_piece(output->pool, piece);
}

void output_clear(struct output *output)
{
    output_end_chunk(output);
    while (output->first)
        output_drop_first(output);
    output->bytes = 0;
}

uint8_t *output_reserve_slow(struct output *output, size_t size)
{
    struct output_chunk *chunk;
    struct output_piece *piece;

    assert(size <= OUTPUT_RESERVE_BYTES);
    if (output->failed)
        return NULL;
    chunk = pool_take_chunk(output->pool);
    if (!chunk) {
        output->failed = true;
        return NULL;
    }
    output_end_chunk(output);
    piece = output_add_piece(output);
    if (!piece) {
        pool_give_chunk(output->pool, chunk);
        return NULL;
    }
    piece->data = chunk->data;
    output->open = chunk;
    return chunk->data;
}

void output_put(struct output *output, const void *data, size_t size)
{
    const uint8_t *from = data;

    while (size) {
        struct output_chunk *chunk = output->open;
        size_t room = chunk ? sizeof chunk->data - chunk->used : 0;
        size_t part = room ? room : OUTPUT_RESERVE_BYTES;
        uint8_t *at;

        if (part > size)
            part = size;
        at = output_reserve(output, part);
        if (!at)
            return;
        memcpy(at, from, part);
        output_commit(output, at + part);
        from += part;
        size -= part;
    }
}

/*
 * A piece of its own for octets of a message. The open chunk goes on behind it, as a further piece
 * that begins where the chunk is filled to: a body of many frames costs no chunk a frame.
 */
static void output_refer(struct output *output, struct message *message, const uint8_t *data,
                         size_t size)
{
    struct output_chunk *chunk = output->open;
    struct output_piece *piece;

    if (output->failed)
        return;
    if (chunk && chunk->used + OUTPUT_CHUNK_BYTES / 8 > sizeof chunk->data) {
        output_end_chunk(output);
        chunk = NULL;
    }
    piece = output_add_piece(output);
    if (!piece)
        return;
    piece->data = data;
    piece->size = size;
    piece->message = message_ref(message);
    output->bytes += size;
    if (!chunk)
        return;
    piece = output_add_piece(output);
    if (!piece) {
        output_end_chunk(output);
        return;
    }
    piece->data = chunk->data + chunk->used;
}

void output_put_message(struct output *output, struct message *message, const uint8_t *data,
                        size_t size)
{
    if (size > OUTPUT_COPY_BYTES)
        output_refer(output, message, data, size);
    else
        output_put(output, data, size);
}

static int output_gather(const struct output *output, struct iovec parts[FLUSH_PARTS])
{
    int n_parts = 0;

    for (struct output_piece *piece = output->first; piece && n_parts < FLUSH_PARTS;
         piece = piece->next) {
        if (!piece->size)
            continue;
        parts[n_parts++] = (struct iovec){ (void *)piece->data, piece->size };
    }
    return n_parts;
}

/* The first @size octets have been written. */
static void output_consume(struct output *output, size_t size)
{
    assert(size <= output->bytes);
    output->bytes -= size;
    output->written_bytes += size;
    if (output->bytes == 0) {
        output_clear(output);
        return;
    }
    while (size >= output->first->size) {
        size -= output->first->size;
        output_drop_first(output);
    }
    output->first->data += size;
    output->first->size -= size;
}

int output_flush(struct output *output, struct transport *transport)
{
    while (output->bytes) {
        struct iovec parts[FLUSH_PARTS];
        int n_parts = output_gather(output, parts);
        ssize_t size = transport_writev(transport, parts, n_parts);

        if (size < 0)
            return (int)size;
        output_consume(output, (size_t)size);
    }
    return 0;
}
