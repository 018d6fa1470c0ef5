/*
 * exchange_types.h - the built-in exchange types, one file each
 *
 * Those that need an index make it with the first binding; it is freed with the exchange.
 */
#ifndef BROKER_EXCHANGE_TYPES_H
#define BROKER_EXCHANGE_TYPES_H

#include "broker/exchange.h"

extern const struct exchange_type exchange_direct, exchange_fanout, exchange_topic,
    exchange_headers;

#endif
