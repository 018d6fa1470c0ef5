#!/bin/sh
# Checks that includes follow the layers: amqp <- store <- auth <- broker <- server <- admin.
set -u
cd "$(dirname "$0")/.."
passed=0
failed=0

# forbid WHAT PATTERN FILES...: no line of the files may match
forbid() {
    what=$1 pattern=$2
    shift 2
    if found=$(grep -nE "$pattern" "$@" /dev/null); then
        echo "FAIL $what:"
        echo "$found"
        failed=$((failed + 1))
    else
        echo "ok $what"
        passed=$((passed + 1))
    fi
}

forbid "amqp sees nothing above it" '#include "(store|auth|broker|server|admin)/' amqp/*.[ch]
forbid "amqp does no I/O" '#include <(event2|rocksdb|sys/socket|unistd|fcntl)' amqp/*.[ch]
forbid "store sees only amqp" '#include "(auth|broker|server|admin)/|#include <event2' store/*.[ch] store/*.cc
forbid "auth sees only amqp" '#include "(store|broker|server|admin)/|#include <event2' src/auth/*.[ch]
forbid "broker is driven" '#include "(server|admin)/' src/broker/*.[ch]
forbid "broker does no I/O and has no clock" \
    '#include <(event2|rocksdb|sys/socket|unistd|fcntl|time|sys/time)|clock_gettime|gettimeofday|time\(NULL\)' \
    src/broker/*.[ch]
forbid "server headers do not know admin" '#include "admin/' src/server/*.h
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
