/*
 * password.c - RabbitMQ's salted password hashes
 *
 *      base64( salt[4]  H(salt password) )        H = SHA-256, SHA-512 or MD5
 *
 * A fast hash by today's measure, but the one that every definitions file carries. Digests are
 * compared in constant time, and a login with an unknown name costs one digest like any other, so
 * that time tells nobody which users exist. OpenSSL does all of the arithmetic.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "auth/auth-internal.h"

enum {
    DIGEST_MAX_BYTES = 64,
    HASH_MAX_BYTES = PASSWORD_SALT_BYTES + DIGEST_MAX_BYTES,
    BASE64_MAX_CHARS = (HASH_MAX_BYTES + 2) / 3 * 4,
};

static_assert(DIGEST_MAX_BYTES <= EVP_MAX_MD_SIZE, "a digest fits OpenSSL's bound");

static const struct {
    const EVP_MD *(*md)(void);
    size_t digest_bytes;
} hashings[] = {
    [AUTH_HASHING_SHA256] = { EVP_sha256, 32 },
    [AUTH_HASHING_SHA512] = { EVP_sha512, 64 },
    [AUTH_HASHING_MD5] = { EVP_md5, 16 },
};

int password_hash_decode(enum auth_hashing hashing, const char *hash, uint8_t ret[HASH_MAX_BYTES])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t wanted = PASSWORD_SALT_BYTES + hashings[hashing].digest_bytes;
    uint8_t decoded[BASE64_MAX_CHARS / 4 * 3];
    size_t chars = strspn(hash, alphabet);
    size_t pads = strspn(hash + chars, "=");

    if (hash[chars + pads] || pads > 2 || (chars + pads) % 4)
        return -EINVAL;
    if ((chars + pads) / 4 * 3 != wanted + pads)
        return -EINVAL;
    assert(chars + pads <= BASE64_MAX_CHARS);
    if (EVP_DecodeBlock(decoded, (const uint8_t *)hash, (int)(chars + pads)) < 0)
        return -EINVAL;
    memcpy(ret, decoded, wanted);
    return 0;
}

/* Puts H(salt password) behind the salt; false when OpenSSL cannot (no memory, no MD5). */
static bool hash_salted(enum auth_hashing hashing, struct amqp_bytes password,
                        uint8_t salted[HASH_MAX_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done;

    if (!context)
        return false;
    done = EVP_DigestInit_ex(context, hashings[hashing].md(), NULL) == 1 &&
           EVP_DigestUpdate(context, salted, PASSWORD_SALT_BYTES) == 1 &&
           EVP_DigestUpdate(context, password.data, password.size) == 1 &&
           EVP_DigestFinal_ex(context, salted + PASSWORD_SALT_BYTES, NULL) == 1;
    EVP_MD_CTX_free(context);
    return done;
}

char *auth_hash_password(enum auth_hashing hashing, struct amqp_bytes password)
{
    size_t size = PASSWORD_SALT_BYTES + hashings[hashing].digest_bytes;
    uint8_t salted[HASH_MAX_BYTES];
    char *base64;

    assert(hashing != AUTH_HASHING_MD5);
    if (RAND_bytes(salted, PASSWORD_SALT_BYTES) != 1 || !hash_salted(hashing, password, salted))
        return NULL;
    base64 = malloc((size + 2) / 3 * 4 + 1);
    if (base64)
        (void)EVP_EncodeBlock((uint8_t *)base64, salted, (int)size); /* its length is known */
    return base64;
}

bool auth_check_password(const struct user *user, struct amqp_bytes password)
{
    enum auth_hashing hashing = user ? user->hashing : AUTH_HASHING_SHA256;
    uint8_t stored[HASH_MAX_BYTES] = { 0 };
    uint8_t given[HASH_MAX_BYTES];
    bool known = user && password_hash_decode(hashing, user->password_hash, stored) == 0;

    memcpy(given, stored, PASSWORD_SALT_BYTES);
    if (!hash_salted(hashing, password, given))
        return false;
    if (CRYPTO_memcmp(given, stored, PASSWORD_SALT_BYTES + hashings[hashing].digest_bytes) != 0)
        return false;
    return known && password.size > 0;
}
