# Shared by all scripts: where things are, and how to speak. Sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# What set-up brings: unpacked packages, a sysroot, wrappers. Ignored by git, safe to delete.
# shellcheck disable=SC2034 # Not every script that sources this needs it.
tools=$root/.tools

# Progress goes to standard error: standard output belongs to what a script was asked for.
say() {
    printf '%s\n' "$*" >&2
}

# say_ready WORDS...: as `say`, about what was already there; nothing where `quiet` is set.
say_ready() {
    [ -n "${quiet:-}" ] || say "$*"
}

# die MESSAGE...: cannot go on. The last words of a message say what to do next.
die() {
    say "error: $1"
    shift
    [ $# -eq 0 ] || printf '%s\n' "$@" >&2
    exit 2
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# usage_of FILE: the comment block at the top of a script is its help text.
usage_of() {
    sed -n '2,/^[^#]/ { s/^# \{0,1\}//p }' "$1"
}

# version_at_least VERSION WANTED: compares dotted numbers.
version_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}
