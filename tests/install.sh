#!/bin/sh
# tests/install.sh - what `make install` puts in place works as installed
#
# A build with a prefix of its own is installed, its unit's command line is run with a port and a data
# directory of the test's, and it must answer README's first client. Then it is installed again over
# an edited configuration, which stays, and uninstalled.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
prefix=$work/prefix
passed=0 failed=0 pid=
trap 'test -z "$pid" || kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT

check() { # name, command
    name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $name"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        tail -n 20 "$work/out"
    fi
}

free_port() {
    /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

build() {
    mkdir "$work/build" && cd "$work/build" &&
        "$top/configure" -q --prefix="$prefix" && make -j2 --no-print-directory && make install
}

# The command line that the unit has, without the data directory of the packaged service.
unit_command() {
    sed -n 's|^ExecStart=\(.*\) -D .*|\1|p' "$prefix/lib/systemd/system/leveretd.service"
}

started() {
    grep -q "startup complete" "$work/log"
}

start() {
    port=$(free_port)
    $(unit_command) -D "$work/data" -p "$port" >"$work/log" 2>&1 &
    pid=$!
    tries=0
    until started; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/log"; return 1; }
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { cat "$work/log"; return 1; }
        sleep 0.1
    done
}

first_message() { # README's example, against the port of the test
    sed -n '/^```python/,/^```/p' "$top/README.md" | sed '1d; /^```/,$d' |
        sed "s|ConnectionParameters(\"localhost\")|ConnectionParameters(\"localhost\", $port)|" >"$work/first.py"
    /usr/bin/python3 "$work/first.py" | grep -x "first order"
}

example() {
    /usr/bin/python3 "$prefix/share/doc/leveret/examples/work_queue.py" publish --jobs 2 \
        --uri "amqp://guest:guest@127.0.0.1:$port/%2F"
}

reload() {
    eval "$(sed -n 's|^ExecReload=||p' "$prefix/lib/systemd/system/leveretd.service" |
        sed "s|[$]MAINPID|$pid|")"
    kill -0 "$pid"
}

stop() {
    kill "$pid"
    wait "$pid"
    status=$?
    pid=
    return "$status"
}

man_names_the_path() {
    grep -q "$prefix/etc/leveret/leveret.conf" "$prefix/share/man/man8/leveretd.8"
}

edited_configuration_stays() {
    echo "heartbeat = 30" >>"$prefix/etc/leveret/leveret.conf"
    make -C "$work/build" install && grep -x "heartbeat = 30" "$prefix/etc/leveret/leveret.conf"
}

uninstalled() {
    make -C "$work/build" uninstall &&
        test "$(find "$prefix" -type f)" = "$prefix/etc/leveret/leveret.conf"
}

check "make install" build
check "the unit's command line starts the broker" start
check "README's first message" first_message
check "an installed example" example
check "the unit's reload command" reload
check "SIGTERM ends it with status 0" stop
check "the man page names the installed configuration" man_names_the_path
check "an edited configuration stays" edited_configuration_stays
check "make uninstall leaves only that" uninstalled
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
