#!/bin/sh
# Runs every fuzz target over its seed corpus, each seed also cut and changed octet by octet.
# Usage: tests/fuzz_corpus.sh BUILD-DIRECTORY
set -u
build=$1
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT
passed=0
failed=0

"$build/fuzz/seeds" "$corpus" || exit 1
for target in "$build"/fuzz/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=${target##*/fuzz_}
    case $name in *.*) continue ;; esac
    if "$target" "$corpus/$name"/* >"$corpus/out" 2>&1; then
        echo "ok $name: $(ls "$corpus/$name" | wc -l) seeds"
        passed=$((passed + 1))
    else
        echo "FAIL $name:"
        tail -n 20 "$corpus/out"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
