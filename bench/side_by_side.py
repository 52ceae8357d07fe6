#!/usr/bin/env python3
"""Runs llmlocal and llama.cpp by turns over the same models; prints a table and writes a CSV file.

    bench/side_by_side.py --peer DIR --model NAME=MLX_DIRECTORY,GGUF[,GGUF...] [--model ...]
                          [--llmlocal build/llmlocal] [--rounds 5] [--threads N] [-p 512] [-n 64] [--csv FILE]

DIR holds llama-bench, as tools/fetch_peer.sh leaves it. Each round runs every program once, so that all of them see the
same drifts of the machine; figures are medians over the rounds. The ratio is ours to the best of the peer's formats.
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


def run_ours(args, model):
    command = args.prefix + [args.llmlocal, "bench", model, "-p", str(args.p), "-n", str(args.n), "-r", "1", "--json"]
    result = json.loads(output_of(command + ["--threads", str(args.threads)]))
    return {"prefill": result["prefill_tps"], "decode": result["decode_tps"], "bytes": result["weights_bytes"],
            "read": result["read_gbps"], "isa": result["isa"], "version": args.version}


def run_peer(args, gguf):
    command = args.prefix + [os.path.join(args.peer, "llama-bench"), "-m", gguf, "-p", str(args.p), "-n", str(args.n),
                             "-r", "1", "-t", str(args.threads), "-o", "json"]
    tests = json.loads(output_of(command))
    speed = {("prefill" if test["n_prompt"] else "decode"): test["avg_ts"] for test in tests}
    first = tests[0]
    return {**speed, "bytes": first["model_size"], "read": None, "isa": "", "version": f"build {first['build_number']}"}


def median(rows, key):
    values = [row[key] for row in rows if row[key] is not None]
    return statistics.median(values) if values else None


def measure(args, name, ours, ggufs):
    runners = [("llmlocal", ours, run_ours)] + [("llama.cpp", gguf, run_peer) for gguf in ggufs]
    results = [[] for _ in runners]
    for _ in range(args.rounds):
        for (_, path, run), rows in zip(runners, results):
            rows.append(run(args, path))
    table = []
    for (program, path, _), rows in zip(runners, results):
        decode, read = median(rows, "decode"), median(rows, "read")
        gbps = decode * rows[0]["bytes"] * 1e-9
        table.append({"model": name, "program": program, "version": rows[0]["version"], "file": os.path.basename(path.rstrip("/")),
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


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--llmlocal", default="build/llmlocal")
    parser.add_argument("--peer", required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-p", type=int, default=512)
    parser.add_argument("-n", type=int, default=64)
    parser.add_argument("--csv", default="side_by_side.csv")
    parser.add_argument("--prefix", default="", help="put before every command, such as 'taskset -c 0'")
    args = parser.parse_args()
    args.prefix = args.prefix.split()
    args.version = output_of([args.llmlocal, "--version"]).strip()
    os.environ["LD_LIBRARY_PATH"] = args.peer
    rows = []
    for argument in args.model:
        name, paths = argument.split("=", 1)
        ours, *ggufs = paths.split(",")
        if not ggufs:
            parser.error(f"{argument}: no GGUF file to compare with")
        rows += measure(args, name, ours, ggufs)
    print(f"{machine()}, {args.threads} threads, {args.p} prompt and {args.n} generated tokens, medians of {args.rounds}\n")
    print(f"{'model':10} {'program':10} {'file':34} {'MB':>6} {'prefill':>9} {'ratio':>6} {'decode':>8} {'ratio':>6} {'GB/s':>6} {'reads':>6}  isa, version")
    for row in rows:
        read = f"{row['read_gbps']:6.1f}" if row["read_gbps"] else "     -"
        print(f"{row['model']:10} {row['program']:10} {row['file'][-34:]:34} {row['weights_mb']:6.1f} {row['prefill']:9.1f} {row['prefill_ratio']:6.2f} "
              f"{row['decode']:8.1f} {row['decode_ratio']:6.2f} {row['decode_gbps']:6.1f} {read}  {row['isa']} {row['version']}")
    with open(args.csv, "w", newline="") as file:
        writer = csv.DictWriter(file, ["machine", "threads", *rows[0]])
        writer.writeheader()
        writer.writerows({"machine": machine(), "threads": args.threads, **row} for row in rows)


main()
