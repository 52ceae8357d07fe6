#!/bin/sh
# Installs what building and testing need on Debian or Ubuntu, and fetches yyjson's source where the system
# has no package of it. Safe to run again: what is there already is left alone.
set -eu
cd "$(dirname "$0")/.."

packages="gcc make cmake pkg-config libc6-dev libpcre2-dev libutf8proc-dev libedit-dev libcmocka-dev python3 python3-pip unzip"
[ "${1:-}" = "--test" ] && packages="$packages clang libclang-rt-dev gcovr qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross"

missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    sudo=""
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    echo "setup: installing$missing"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

# yyjson 0.10.0 is in no package of Debian 12; its unmodified source travels in the sdist of a PyPI package.
yyjson_version=4.0.6
yyjson_sha256=fcd4dc15c1e39a30bf9fa85d56903029111506860fc3080ab0d81c6c6dacaa8c
if ! pkg-config --exists yyjson && [ ! -f .cache/yyjson/yyjson.c ]; then
    echo "setup: fetching the source of yyjson"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    echo "yyjson==$yyjson_version --hash=sha256:$yyjson_sha256" >"$work/requirements.txt"
    python3 -m pip download -q --no-deps --no-binary :all: -d "$work" -r "$work/requirements.txt"
    tar -xzf "$work/yyjson-$yyjson_version.tar.gz" -C "$work"
    mkdir -p .cache/yyjson
    mv "$work"/yyjson-*/yyjson/yyjson.h "$work"/yyjson-*/yyjson/yyjson.c "$work"/yyjson-*/LICENSE .cache/yyjson/
fi
