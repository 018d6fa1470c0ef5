#!/bin/sh
# amqp_tools.sh - Debian's amqp-tools from a shell: declare, publish, get, consume, delete
#
# The tools are rabbitmq-c underneath; what they add is how people script a broker: exit codes,
# standard input a line a message, a command run for each message that is consumed. The
# connection's words go to standard error, where an exception's text is looked for.

set -u
queue=interop.tools.queue
url="amqp://guest:guest@127.0.0.1:${AMQP_PORT:?}"

# Runs a command; prints its output under a title.
try()
{
    title=$1
    shift
    echo "== $title"
    "$@" 2>&1
}

# The exit code of a command whose output does not matter.
code()
{
    "$@" >/dev/null 2>&1
    echo "exit code $?"
}

amqp-delete-queue -u "$url" -q "$queue" >/dev/null 2>&1

try 'declare' amqp-declare-queue -u "$url" -q "$queue" -d
named=$(amqp-declare-queue -u "$url" -q '')
echo "== declare, server-named"
echo "${named%%-*}"
amqp-delete-queue -u "$url" -q "$named"
try 'get from an empty queue' code amqp-get -u "$url" -q "$queue"

try 'publish' amqp-publish -u "$url" -r "$queue" -b 'from an argument'
printf 'from standard input' | amqp-publish -u "$url" -r "$queue" -p -C text/plain
printf 'line 1\nline 2\nline 3\n' | amqp-publish -u "$url" -r "$queue" -l -H 'origin: lines'
try 'get' amqp-get -u "$url" -q "$queue"
echo
try 'get' amqp-get -u "$url" -q "$queue"
echo
try 'consume three' amqp-consume -u "$url" -q "$queue" -c 3 -p 1 sed 's/^/consumed: /'
try 'nothing left' code amqp-get -u "$url" -q "$queue"

amqp-publish -u "$url" -r "$queue" -b 'kept: the command fails'
try 'a failing consumer' code \
    timeout 10 amqp-consume -u "$url" -q "$queue" -c 1 sh -c 'cat >/dev/null; exit 1'
try 'declare differently' amqp-declare-queue -u "$url" -q "$queue"
try 'publish to a missing exchange' code amqp-publish -u "$url" -e interop.tools.none -r k -b x
try 'consume from a missing queue' timeout 10 amqp-consume -u "$url" -q interop.tools.none cat
try 'wrong password' amqp-get -u "amqp://guest:wrong@127.0.0.1:$AMQP_PORT" -q "$queue"
try 'delete if empty' amqp-delete-queue -u "$url" -q "$queue" -e
try 'purge by taking' code amqp-get -u "$url" -q "$queue"
try 'delete' amqp-delete-queue -u "$url" -q "$queue"
