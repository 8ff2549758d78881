# pytest, for the tests of clients/python, in a virtual environment of its own in .tools/pytest. Optional: where it cannot
# be had, these tests are left out, and scripts/test says so.
# shellcheck shell=bash

pytest_release=8.4.2

pytest_is_set_up() {
    [ "$("$tools/pytest/bin/python" -c 'import pytest; print(pytest.__version__)' 2>/dev/null)" = "$pytest_release" ] || return 1
    say_ready "pytest $pytest_release: ready"
}

pytest_set_up() {
    local log=$tools/pytest.log
    say "pytest $pytest_release: fetching it from the package index"
    rm -rf "$tools/pytest"
    if python3 -m venv "$tools/pytest" >"$log" 2>&1 &&
        "$tools/pytest/bin/pip" install --quiet --disable-pip-version-check "pytest==$pytest_release" >>"$log" 2>&1; then
        rm -f "$log"
    else
        rm -rf "$tools/pytest"
        say "  cannot be had: $(tail -n 1 "$log") (all of it is in ${log#"$root/"})"
    fi
}
