/*
 * generated_name.c - unguessable names
 */
#include "broker/generated_name.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

enum { RANDOM_BYTES = 16, ENCODED_BYTES = GENERATED_TOKEN_BYTES - 2 }; /* without the padding */

int generate_token(char out[GENERATED_TOKEN_BYTES + 1])
{
    unsigned char random[RANDOM_BYTES];
    int n_encoded;

    if (RAND_bytes(random, sizeof random) != 1)
        return -EIO;
    n_encoded = EVP_EncodeBlock((unsigned char *)out, random, sizeof random);
    assert(n_encoded == GENERATED_TOKEN_BYTES);
    return 0;
}

int generate_name(const char *prefix, char out[GENERATED_NAME_BYTES], struct amqp_str *ret_name)
{
    char encoded[GENERATED_TOKEN_BYTES + 1];
    size_t prefix_bytes = strlen(prefix);
    int rc;

    assert(prefix_bytes + ENCODED_BYTES < GENERATED_NAME_BYTES);
    rc = generate_token(encoded);
    if (rc)
        return rc;
    for (size_t i = 0; i < ENCODED_BYTES; i++) {
        if (encoded[i] == '+')
            encoded[i] = '-';
        else if (encoded[i] == '/')
            encoded[i] = '_';
    }
    memcpy(out, prefix, prefix_bytes);
    memcpy(out + prefix_bytes, encoded, ENCODED_BYTES);
    out[prefix_bytes + ENCODED_BYTES] = '\0';
    *ret_name = (struct amqp_str){ out, prefix_bytes + ENCODED_BYTES };
    return 0;
}
