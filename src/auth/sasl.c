/*
 * sasl.c - reading the response of connection.start-ok
 *
 *      PLAIN       NUL user NUL password    no authorisation identity, no other NUL
 *      AMQPLAIN    LOGIN and PASSWORD       as a field table without its length; types S or x
 *
 * A mechanism only finds name and password in the octets; one function judges them. Names may hold
 * any octets, so they are looked up by size: a name with a NUL in it is simply nobody's.
 */
#include "amqp/table.h"
#include "amqp/text.h"
#include "auth/auth-internal.h"
#include "auth/sasl.h"

struct credentials {
    struct amqp_str user;
    struct amqp_bytes password;
};

static bool parse_plain(struct amqp_bytes response, struct credentials *ret)
{
    const uint8_t *user, *separator, *end;

    if (response.size < 2 || response.data[0] != '\0')
        return false;
    user = response.data + 1;
    end = response.data + response.size;
    separator = memchr(user, '\0', (size_t)(end - user));
    if (!separator)
        return false;
    ret->user = (struct amqp_str){ (const char *)user, (size_t)(separator - user) };
    ret->password = (struct amqp_bytes){ separator + 1, (size_t)(end - separator - 1) };
    return ret->password.size == 0 || !memchr(ret->password.data, '\0', ret->password.size);
}

static bool get_octets(struct amqp_table table, struct amqp_str key, struct amqp_bytes *ret)
{
    struct amqp_value value;

    if (!amqp_table_get(table, key, &value) || (value.type != 'S' && value.type != 'x'))
        return false;
    *ret = value.bytes;
    return true;
}

static bool parse_amqplain(struct amqp_bytes response, struct credentials *ret)
{
    struct amqp_table table = { response.data, response.size };
    struct amqp_bytes user;

    if (amqp_table_check(table) != 0)
        return false;
    if (!get_octets(table, AMQP_STR("LOGIN"), &user) ||
        !get_octets(table, AMQP_STR("PASSWORD"), &ret->password))
        return false;
    ret->user = (struct amqp_str){ (const char *)user.data, user.size };
    return true;
}

static const struct {
    const char *name;
    bool (*parse)(struct amqp_bytes response, struct credentials *ret);
} mechanisms[] = {
    { "PLAIN", parse_plain },
    { "AMQPLAIN", parse_amqplain },
};

static bool is_offered(const char *offered, const char *name)
{
    size_t size = strlen(name);

    for (; *offered; offered += strspn(offered, " ")) {
        size_t next = strcspn(offered, " ");

        if (next == size && memcmp(offered, name, size) == 0)
            return true;
        offered += next;
    }
    return false;
}

enum sasl_outcome sasl_authenticate(struct auth *auth, const char *offered,
                                    struct amqp_str mechanism, struct amqp_bytes response,
                                    struct user **ret_user, char *reason, size_t reason_size)
{
    struct amqp_text text = amqp_text_over(reason, reason_size);
    struct credentials credentials;
    struct account *account;
    size_t i;

    for (i = 0; i < N_ELEMENTS(mechanisms); i++)
        if (amqp_str_equal(mechanism, amqp_str_from(mechanisms[i].name)) &&
            is_offered(offered, mechanisms[i].name))
            break;
    if (i == N_ELEMENTS(mechanisms)) {
        amqp_text_printf(&text, "unknown authentication mechanism '%.*s'", AMQP_STR_ARG(mechanism));
        return SASL_MALFORMED;
    }
    if (!mechanisms[i].parse(response, &credentials)) {
        amqp_text_printf(&text, "malformed response of authentication mechanism %s",
                         mechanisms[i].name);
        return SASL_MALFORMED;
    }
    account = account_find(auth, credentials.user);
    if (!auth_check_password(account ? &account->user : NULL, credentials.password)) {
        amqp_text_printf(&text, "%s login refused: user '", mechanisms[i].name);
        for (i = 0; i < credentials.user.size; i++) /* a NUL would end the line */
            amqp_text_put(&text, credentials.user.data[i] ? credentials.user.data[i] : '?');
        amqp_text_printf(&text, "' - invalid credentials");
        return SASL_REFUSED;
    }
    *ret_user = &account->user;
    return SASL_OK;
}
