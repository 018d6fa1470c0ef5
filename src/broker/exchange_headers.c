/*
 * exchange_headers.c - bindings that ask for headers and their values
 *
 * What a binding asks for is in its arguments, and x-match among them says how it is meant. Which
 * bindings match is found by header_index.c.
 *
 * Spec: amqp-0-9-1.md 9.5, 9.6; an integer never equals a float (12).
 */
#include <errno.h>

#include "amqp/text.h"
#include "broker/exchange_types.h"
#include "broker/header_index.h"
#include "broker/route.h"

/* --- x-match --- */

struct match_mode {
    const char *name;
    struct header_match how;
};

static const struct match_mode modes[] = {
    { "all", { .any = false } }, /* when there is no x-match */
    { "any", { .any = true } },
    { "all-with-x", { .any = false, .with_x = true } },
    { "any-with-x", { .any = true, .with_x = true } },
};

static const struct match_mode *find_mode(struct amqp_bytes name)
{
    for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
        if (amqp_str_equal(amqp_str_from(modes[i].name), amqp_bytes_text(name)))
            return &modes[i];
    }
    return NULL;
}

static const struct match_mode *mode_of(struct amqp_table arguments)
{
    struct amqp_value value;

    if (!amqp_table_get(arguments, AMQP_STR("x-match"), &value))
        return &modes[0];
    return find_mode(value.bytes); /* headers_check() has seen it */
}

/* As Erlang shows octets: <<"foo">> where all are printable, <<1,2,3>> else. */
static void print_octets(struct amqp_text *text, struct amqp_bytes octets)
{
    bool printable = true;

    for (size_t i = 0; i < octets.size; i++)
        printable = printable && octets.data[i] >= ' ' && octets.data[i] <= '~';
    amqp_text_printf(text, printable && octets.size ? "<<\"" : "<<");
    for (size_t i = 0; i < octets.size && !amqp_text_full(text); i++) {
        if (!printable)
            amqp_text_printf(text, "%s%u", i ? "," : "", octets.data[i]);
        else if (octets.data[i] == '"' || octets.data[i] == '\\')
            amqp_text_printf(text, "\\%c", octets.data[i]);
        else
            amqp_text_put(text, (char)octets.data[i]);
    }
    amqp_text_printf(text, printable && octets.size ? "\">>" : ">>");
}

static int headers_check(struct exchange *exchange, struct amqp_table arguments,
                         struct amqp_error *err)
{
    char shown[BOUND_REPLY_TEXT_BYTES];
    struct amqp_text text = amqp_text_over(shown, sizeof shown);
    struct amqp_value value;

    (void)exchange;
    if (!amqp_table_get(arguments, AMQP_STR("x-match"), &value))
        return 0;
    if (value.type == 'S') {
        if (find_mode(value.bytes))
            return 0;
        print_octets(&text, value.bytes);
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "Invalid x-match field value %s; expected all, any, all-with-x, "
                          "or any-with-x",
                          shown);
    }
    if (value.type == 'x')
        print_octets(&text, value.bytes);
    else
        amqp_value_print(&value, shown, sizeof shown);
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "Invalid x-match field type %s (value %s); expected longstr",
                      amqp_value_type_name(&value), shown);
}

/* --- the type --- */

static int headers_bind(struct exchange *exchange, struct binding *binding)
{
    if (!exchange->index)
        exchange->index = header_index_new();
    return exchange->index ? header_index_add(exchange->index, binding,
                                              mode_of(binding_arguments(binding))->how)
                           : -ENOMEM;
}

static void headers_unbind(struct exchange *exchange, struct binding *binding)
{
    header_index_remove(exchange->index, binding);
}

static int headers_match(struct exchange *exchange, struct amqp_str routing_key,
                         struct route *route)
{
    (void)routing_key;
    return exchange->index ? header_index_match(exchange->index, route) : 0;
}

static void headers_release(struct exchange *exchange)
{
    header_index_free(TAKE(exchange->index));
}

const struct exchange_type exchange_headers = {
    .name = "headers",
    .ignores_key = true,
    .check = headers_check,
    .bind = headers_bind,
    .unbind = headers_unbind,
    .match = headers_match,
    .release = headers_release,
};
