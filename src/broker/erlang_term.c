/*
 * erlang_term.c - see erlang_term.h
 *
 * Lines are not broken at 80 columns, as Erlang would: a text stays one line.
 */
#include "broker/erlang_term.h"

#include <errno.h>

#include "amqp/table.h"

static void print_character(struct amqp_text *text, char c)
{
    switch (c) {
    case '"':
    case '\\':
        amqp_text_printf(text, "\\%c", c);
        break;
    case '\n':
        amqp_text_add(text, AMQP_STR("\\n"));
        break;
    case '\r':
        amqp_text_add(text, AMQP_STR("\\r"));
        break;
    case '\t':
        amqp_text_add(text, AMQP_STR("\\t"));
        break;
    default:
        if ((unsigned char)c < 0x20 || c == 0x7f)
            amqp_text_printf(text, "\\x{%X}", (unsigned)(unsigned char)c);
        else
            amqp_text_put(text, c);
    }
}

static void print_string(struct amqp_text *text, struct amqp_str str)
{
    bool ascii = true;

    if (str.size == 0) {
        amqp_text_add(text, AMQP_STR("<<>>"));
        return;
    }
    amqp_text_add(text, AMQP_STR("<<\""));
    for (size_t i = 0; i < str.size && !amqp_text_full(text); i++) {
        ascii = ascii && (unsigned char)str.data[i] < 0x80;
        print_character(text, str.data[i]);
    }
    amqp_text_add(text, ascii ? AMQP_STR("\">>") : AMQP_STR("\"/utf8>>"));
}

static void print_real(struct amqp_text *text, double real)
{
    struct amqp_value value = { .type = 'd', .real = real };
    char shown[64];

    (void)amqp_value_print(&value, shown, sizeof shown);
    amqp_text_printf(text, "%s", shown);
}

static void print_array(struct amqp_text *text, const json_t *array)
{
    const json_t *element;
    size_t i;

    amqp_text_put(text, '[');
    json_array_foreach ((json_t *)(uintptr_t)array, i, element) {
        if (amqp_text_full(text))
            return;
        if (i)
            amqp_text_put(text, ',');
        erlang_term_print(text, element);
    }
    amqp_text_put(text, ']');
}

static void print_object(struct amqp_text *text, const json_t *object)
{
    const char *separator = "";
    const char *key;
    const json_t *value;

    amqp_text_add(text, AMQP_STR("#{"));
    json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
        if (amqp_text_full(text))
            return;
        amqp_text_printf(text, "%s", separator);
        print_string(text, amqp_str_from(key));
        amqp_text_add(text, AMQP_STR(" => "));
        erlang_term_print(text, value);
        separator = ",";
    }
    amqp_text_put(text, '}');
}

void erlang_term_print(struct amqp_text *text, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        print_object(text, value);
        break;
    case JSON_ARRAY:
        print_array(text, value);
        break;
    case JSON_STRING:
        print_string(text, (struct amqp_str){ json_string_value(value),
                                              json_string_length(value) });
        break;
    case JSON_INTEGER:
        amqp_text_printf(text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        print_real(text, json_real_value(value));
        break;
    case JSON_TRUE:
        amqp_text_add(text, AMQP_STR("true"));
        break;
    case JSON_FALSE:
        amqp_text_add(text, AMQP_STR("false"));
        break;
    case JSON_NULL:
        amqp_text_add(text, AMQP_STR("null"));
        break;
    }
}

void erlang_term_print_pair(struct amqp_text *text, const char *key, const json_t *value)
{
    amqp_text_put(text, '{');
    print_string(text, amqp_str_from(key));
    amqp_text_put(text, ',');
    erlang_term_print(text, value);
    amqp_text_put(text, '}');
}

static bool is_known(const char *key, const char *const *known)
{
    for (; *known; known++)
        if (strcmp(*known, key) == 0)
            return true;
    return false;
}

int erlang_term_check_keys(const char *name, const json_t *object, const char *const *known,
                           struct amqp_text *problems)
{
    const json_t *member;
    const char *key;
    bool found = false;

    json_object_foreach ((json_t *)(uintptr_t)object, key, member) {
        if (is_known(key, known))
            continue;
        if (found)
            amqp_text_put(problems, ',');
        else
            amqp_text_add(problems, AMQP_STR("Unrecognised terms ["));
        erlang_term_print_pair(problems, key, member);
        found = true;
    }
    if (found)
        amqp_text_printf(problems, "] in %s", name);
    return found ? -EINVAL : 0;
}
