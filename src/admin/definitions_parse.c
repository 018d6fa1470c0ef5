/*
 * definitions_parse.c - from a file's text to JSON, as leniently as RabbitMQ reads it
 *
 * RabbitMQ's parser (3.10, when it boots) passes over comments and commas behind the last element,
 * and of members with one name takes the last. Files that people have edited by hand rely on it, so
 * the same is done here, and the log says so: of two "queues" the first is lost. Comments and commas
 * are blanked out, all else is jansson's work, and its line numbers stay right.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/definitions-internal.h"

/* Without a byte order mark. */
static struct amqp_bytes skip_mark(struct amqp_bytes json)
{
    static const uint8_t mark[] = { 0xef, 0xbb, 0xbf };

    if (json.size < sizeof mark || memcmp(json.data, mark, sizeof mark) != 0)
        return json;
    return (struct amqp_bytes){ json.data + sizeof mark, json.size - sizeof mark };
}

static bool is_space(char c)
{
    return c && strchr(" \t\r\n", c);
}

static bool is_blank(struct amqp_bytes json)
{
    for (size_t i = 0; i < json.size; i++) {
        if (!is_space((char)json.data[i]))
            return false;
    }
    return true;
}

/* The octet behind a string that begins at @at, or the end. */
static size_t skip_string(const char *text, size_t size, size_t at)
{
    for (at++; at < size && text[at] != '"'; at++) {
        if (text[at] == '\\')
            at++;
    }
    return at < size ? at + 1 : size;
}

/* How many octets the comment at @at has; 0: there is none. */
static size_t comment_size(const char *text, size_t size, size_t at)
{
    const char *end;

    if (size - at < 2 || text[at] != '/')
        return 0;
    if (text[at + 1] == '/') {
        end = memchr(text + at, '\n', size - at);
        return end ? (size_t)(end - text) - at : size - at;
    }
    if (text[at + 1] != '*')
        return 0;
    end = memmem(text + at + 2, size - at - 2, "*/", 2);
    return end ? (size_t)(end + 2 - text) - at : 0;
}

static void blank_out(char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '\n')
            text[i] = ' ';
    }
}

/* Comments, and a comma between the last element and its bracket. Whether anything was there. */
static bool blank_out_extras(char *text, size_t size)
{
    size_t comma = size; /* one with nothing but space behind it so far; @size: none */
    char before = '[';   /* the last octet that was not space */
    bool found = false;

    for (size_t at = 0; at < size;) {
        size_t comment = comment_size(text, size, at);

        if (comment) {
            blank_out(text + at, comment);
            found = true;
            at += comment;
            continue;
        }
        if (comma < size && (text[at] == ']' || text[at] == '}')) {
            text[comma] = ' ';
            found = true;
        }
        if (text[at] == ',' && !strchr("[{,", before))
            comma = at;
        else if (!is_space(text[at]))
            comma = size;
        if (!is_space(text[at]))
            before = text[at];
        at = text[at] == '"' ? skip_string(text, size, at) : at + 1;
    }
    return found;
}

struct parse {
    struct broker *broker;
    const char *source;
    struct amqp_bytes json;
    char *copy; /* that json is over; NULL: as it came */
    json_error_t error;
};

/* Comments and commas too many are blanked out in a copy, which is then the text. */
static bool take_out_extras(struct parse *parse)
{
    parse->copy = malloc(parse->json.size);
    if (!parse->copy)
        return false;
    memcpy(parse->copy, parse->json.data, parse->json.size);
    parse->json.data = (const uint8_t *)parse->copy;
    if (!blank_out_extras(parse->copy, parse->json.size))
        return false;
    broker_log(parse->broker, BROKER_LOG_WARNING,
               "%s: comments, and commas behind the last element, are not JSON and are passed over",
               parse->source);
    return true;
}

static json_t *load_leniently(struct parse *parse)
{
    size_t flags = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES;

    for (;;) {
        json_t *root = json_loadb((const char *)parse->json.data, parse->json.size, flags,
                                  &parse->error);

        if (root)
            return root;
        if (json_error_code(&parse->error) == json_error_invalid_syntax && !parse->copy) {
            if (!take_out_extras(parse))
                return NULL;
        } else if (json_error_code(&parse->error) == json_error_duplicate_key) {
            broker_log(parse->broker, BROKER_LOG_WARNING,
                       "%s: line %d: %s: of members with one name the last counts",
                       parse->source, parse->error.line, parse->error.text);
            flags = JSON_DECODE_ANY;
        } else {
            return NULL;
        }
    }
}

int definitions_parse(struct broker *broker, struct amqp_bytes json, const char *source,
                      struct definitions_error error, json_t **ret_root)
{
    struct parse parse = { .broker = broker, .source = source, .json = skip_mark(json) };
    json_t *root = is_blank(parse.json) ? json_object() : load_leniently(&parse);

    free(parse.copy);
    if (!root && parse.error.line && json_error_code(&parse.error) != json_error_out_of_memory) {
        snprintf(error.text, error.size, "%s: line %d, column %d: %s", source, parse.error.line,
                 parse.error.column, parse.error.text);
        return -EINVAL;
    }
    if (json_is_null(root))
        root = json_object();
    if (!root)
        return definitions_no_memory(error);
    *ret_root = root;
    return 0;
}
