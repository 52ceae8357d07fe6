#!/usr/bin/env python3
"""Runs llmlocal and llama.cpp by turns over the same models; prints a table and writes a CSV file.

    bench/side_by_side.py --peer DIR --model NAME=MLX_DIRECTORY,GGUF[,GGUF...] [--model ...] [--llmlocal build/llmlocal]
                          [--rounds 5] [--threads N[,N...]] [-p 512[,2048...]] [-n 64] [--csv FILE] [--prefix COMMAND]

DIR holds llama-bench, as tools/fetch_peer.sh leaves it; LLMLOCAL_ISA=avx2 with its build without AVX-512. Each round runs
every program once, so that all of them see the same drifts of the machine; figures are medians over the rounds. Both
decode after the prompt's tokens. The ratio is ours to the best of the peer's formats.
"""
import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys


def output_of(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"side_by_side: {' '.join(command)}: {done.stderr.strip()[-500:]}")
    return done.stdout


def run_ours(args, model, p, threads):
    command = args.prefix + [args.llmlocal, "bench", model, "-p", str(p), "-n", str(args.n), "-r", "1", "--json"]
    result = json.loads(output_of(command + ["--threads", str(threads)]))
    return {"prefill": result["prefill_tps"], "decode": result["decode_tps"], "bytes": result["weights_bytes"],
            "read": result["read_gbps"], "isa": result["isa"], "version": args.version}


def run_peer(args, gguf, p, threads):
    command = args.prefix + [os.path.join(args.peer, "llama-bench"), "-m", gguf, "-r", "1", "-t", str(threads), "-o", "json"]
    prefill, = json.loads(output_of(command + ["-p", str(p), "-n", "0"]))
    decode, = json.loads(output_of(command + ["-p", "0", "-n", str(args.n), "-d", str(p)]))
    return {"prefill": prefill["avg_ts"], "decode": decode["avg_ts"], "bytes": prefill["model_size"], "read": None,
            "isa": args.peer_isa, "version": f"llama.cpp {args.peer_version}"}


def median(rows, key):
    values = [row[key] for row in rows if row[key] is not None]
    return statistics.median(values) if values else None


def measure(args, name, ours, ggufs, p, threads):
    runners = [("llmlocal", ours, run_ours)] + [("llama.cpp", gguf, run_peer) for gguf in ggufs]
    results = [[] for _ in runners]
    for _ in range(args.rounds):
        for (_, path, run), rows in zip(runners, results):
            rows.append(run(args, path, p, threads))
    table = []
    for (program, path, _), rows in zip(runners, results):
        decode, read = median(rows, "decode"), median(rows, "read")
        gbps = decode * rows[0]["bytes"] * 1e-9
        table.append({"threads": threads, "prompt": p, "generated": args.n, "model": name, "program": program, "version": rows[0]["version"], "file": os.path.basename(path.rstrip("/")),
                      "prefill": median(rows, "prefill"), "decode": decode, "weights_mb": rows[0]["bytes"] / 1e6,
                      "decode_gbps": gbps, "read_gbps": read, "isa": rows[0]["isa"]})
    for kind in ("prefill", "decode"):
        best = max(row[kind] for row in table[1:])
        for row in table:
            row[kind + "_ratio"] = row[kind] / best
    return table


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                 platform.processor()) if os.path.exists("/proc/cpuinfo") else platform.processor()
    return f"{model}, {platform.system()} {platform.machine()}"


# What the peer's processor library was built for: a build without AVX-512 has no instruction on its registers.
def isa_of(directory):
    library = os.path.join(directory, "libggml-cpu.so.0")
    if platform.machine() != "x86_64" or not os.path.exists(library):
        return ""
    listing = subprocess.run(["objdump", "-d", library], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return "" if not listing else "avx512" if "%zmm" in listing else "avx2" if "%ymm" in listing else "sse"


def numbers(text):
    return [int(part) for part in text.split(",")]


def print_table(args, rows):
    print(f"{machine()}, {args.n} tokens generated after the prompt, medians of {args.rounds}\n")
    print(f"{'model':10} {'threads':>7} {'prompt':>6} {'program':10} {'file':34} {'MB':>6} {'prefill':>9} {'ratio':>6} {'decode':>8} {'ratio':>6} {'GB/s':>6} {'reads':>6}  isa, version")
    for row in rows:
        read = f"{row['read_gbps']:6.1f}" if row["read_gbps"] else "     -"
        print(f"{row['model']:10} {row['threads']:7} {row['prompt']:6} {row['program']:10} {row['file'][-34:]:34} {row['weights_mb']:6.1f} "
              f"{row['prefill']:9.1f} {row['prefill_ratio']:6.2f} {row['decode']:8.1f} {row['decode_ratio']:6.2f} {row['decode_gbps']:6.1f} {read}  "
              f"{row['isa']} {row['version']}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--llmlocal", default="build/llmlocal")
    parser.add_argument("--peer", required=True)
    parser.add_argument("--peer-version", default="11434", help="of the package that tools/fetch_peer.sh builds")
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=numbers, default=[len(os.sched_getaffinity(0))])
    parser.add_argument("-p", type=numbers, default=[512])
    parser.add_argument("-n", type=int, default=64)
    parser.add_argument("--csv", default="side_by_side.csv")
    parser.add_argument("--prefix", default="", help="put before every command, such as 'taskset -c 0'")
    args = parser.parse_args()
    args.prefix = args.prefix.split()
    args.version = output_of([args.llmlocal, "--version"]).strip()
    args.peer_isa = isa_of(args.peer)
    os.environ["LD_LIBRARY_PATH"] = args.peer
    models = []
    for argument in args.model:
        name, paths = argument.split("=", 1)
        ours, *ggufs = paths.split(",")
        if not ggufs:
            parser.error(f"{argument}: no GGUF file to compare with")
        models.append((name, ours, ggufs))
    rows = []
    for name, ours, ggufs in models:
        for threads in args.threads:
            for p in args.p:
                rows += measure(args, name, ours, ggufs, p, threads)
    print_table(args, rows)
    with open(args.csv, "w", newline="") as file:
        writer = csv.DictWriter(file, ["machine", *rows[0]])
        writer.writeheader()
        writer.writerows({"machine": machine(), **row} for row in rows)


main()
