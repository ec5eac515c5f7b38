#!/usr/bin/env python3
"""Attention beside PyTorch on the CPU, in one run and in turns (A B A B): machines are noisy, ratios less so.

    bench/attention/run.py --bench build/release/rowmax_attend_bench --quick
    bench/attention/run.py --bench build/release/rowmax_attend_bench --json speed.json --plot roofline.svg

Needs torch (and matplotlib for --plot) in the Python it runs under, and the program rowmax_attend_bench (built with
-DROWMAX_BENCH=ON). Prefill is f32; GFLOP/s count visible pairs only (4 * head_dim operations each). Decode is one
query; GB/s count every byte of K and V once. Peak and read bandwidth are measured in the same run.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch then asks for huge pages, as our pool does

import torch  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention as sdpa  # noqa: E402

KV_HEADS, HEAD_DIM, WINDOW, KEEP, DOCUMENTS = 8, 128, 256, 4, 8


class Ours:
    """rowmax_attend_bench, asked case by case; it keeps its memory from one to the next."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, budget_ms, **case):
        line = " ".join(f"{key}={value}" for key, value in case.items())
        self.process.stdin.write(f"{line} ms={budget_ms}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"rowmax_attend_bench ended on: {line}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def repeat(threads, budget_ms, fn):
    clock = time.thread_time if threads == 1 else time.perf_counter
    fn()
    times = []
    while sum(times) * 1e3 < budget_ms or len(times) < 3:
        start = clock()
        fn()
        times.append(clock() - start)
    return times


def keep_matrix(mask, n):
    """The mask as PyTorch wants it: [n, n], True where visible."""
    q = torch.arange(n)[:, None]
    k = torch.arange(n)[None, :]
    keep = k <= q
    if mask in ("window", "keep"):
        keep &= (q - k < WINDOW) | (k < (KEEP if mask == "keep" else 0))
    if mask == "padding":
        keep &= k >= n // 2
    if mask == "documents":
        keep &= q * DOCUMENTS // n == k * DOCUMENTS // n
    return keep


def flex_peer(mask, n, q, k, v):
    """FlexAttention compiled for this CPU, or the reason why it does not run."""
    try:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        keep = keep_matrix(mask, n)
        blocks = create_block_mask(lambda b, h, i, j: keep[i, j], None, None, n, n, device="cpu")
        compiled = torch.compile(flex_attention)
        compiled(q, k, v, block_mask=blocks)
        return lambda: compiled(q, k, v, block_mask=blocks), None
    except Exception as error:  # whatever the compiler says is the answer
        return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"


class Run:
    def __init__(self, options):
        self.options = options
        self.ours = Ours(options.bench)
        self.budget = 40 if options.quick else 150
        self.rounds = 2 if options.quick else 4
        self.flex = not (options.quick or options.no_flex)
        self.rows = []
        self.notes = []

    def turns(self, case, peers):
        """Ours and the peers in turns. Work (operations or bytes) over time, in units of 1e9 a second."""
        samples = {"rowmax": [], **{name: [] for name in peers}}
        work = 0
        for _ in range(self.rounds):
            answer = self.ours.ask(self.budget, **case)
            work = answer["work"]
            samples["rowmax"] += answer["time_s"]
            torch.set_num_threads(case["threads"])
            for name, fn in peers.items():
                samples[name] += repeat(case["threads"], self.budget, fn)
        row = {"case": case, "work": work, "samples_s": samples}
        row["median"] = {name: work / statistics.median(times) * 1e-9 for name, times in samples.items()}
        row["best"] = {name: work / min(times) * 1e-9 for name, times in samples.items()}
        self.rows.append(row)
        return row

    def machine(self, threads):
        pool = 512 if self.options.quick else 2048
        peak = self.ours.ask(self.budget, op="peak", threads=threads)["best"]
        bandwidth = self.ours.ask(self.budget, op="bandwidth", threads=threads, pool_mib=pool)["best"]
        return {"threads": threads, "peak_gflops": peak, "read_gbs": bandwidth}

    def prefill(self, threads, peak):
        print(f"\n### Prefill f32, {threads} thread(s), GFLOP/s (peak {peak:.0f})\n")
        print("| d | n | mask | rowmax | PyTorch | ratio | of peak |\n|---|---|---|---|---|---|---|")
        sizes = [512, 2048] if self.options.quick else [512, 1024, 2048, 4096, 8192]
        for d in (64, 128):
            for n in sizes:
                heads = max(1, min(8, 8192 // n))
                q, k, v = (torch.rand(1, heads, n, d) for _ in range(3))
                for mask in ("full", "causal"):
                    case = {"op": "prefill", "d": d, "n": n, "heads": heads, "mask": mask, "threads": threads}
                    row = self.turns(case, {"torch": lambda: sdpa(q, k, v, is_causal=mask == "causal")})
                    ours, peer = row["median"]["rowmax"], row["median"]["torch"]
                    print(f"| {d} | {n} | {mask} | {ours:.0f} | {peer:.0f} | {ours / peer:.2f} | {100 * ours / peak:.0f} % |",
                          flush=True)

    def masks(self, threads, full_rate):
        n, d, heads = (2048 if self.options.quick else 4096), 128, 2
        print(f"\n### Masks, f32, d {d}, n {n}, {threads} thread(s), ms\n")
        print("| mask | rowmax | PyTorch bool | PyTorch additive | FlexAttention | ratio | cost of a pair, full = 1 |")
        print("|---|---|---|---|---|---|---|")
        q, k, v = (torch.rand(1, heads, n, d) for _ in range(3))
        for mask in ("window", "padding", "documents", "keep"):
            keep = keep_matrix(mask, n)
            additive = torch.zeros(n, n).masked_fill(~keep, float("-inf"))
            peers = {"bool": lambda: sdpa(q, k, v, attn_mask=keep), "additive": lambda: sdpa(q, k, v, attn_mask=additive)}
            torch.set_num_threads(threads)
            flex, reason = (None, None) if not self.flex else flex_peer(mask, n, q, k, v)
            if flex is not None:
                peers["flex"] = flex
            elif reason is not None:
                self.flex = False
                self.notes.append(f"FlexAttention, {mask}, {threads} thread(s): {reason}")
            case = {"op": "prefill", "d": d, "n": n, "heads": heads, "mask": mask, "threads": threads}
            row = self.turns(case, peers)
            ms = {name: row["work"] / rate * 1e-6 for name, rate in row["median"].items()}
            flex_ms = f"{ms['flex']:.1f}" if "flex" in ms else "-"
            best_peer = min(ms["bool"], ms["additive"])
            print(f"| {mask} | {ms['rowmax']:.1f} | {ms['bool']:.1f} | {ms['additive']:.1f} | {flex_ms} | "
                  f"{best_peer / ms['rowmax']:.1f} | {full_rate / row['median']['rowmax']:.2f} |", flush=True)

    def lowered(self):
        n, d = (2048 if self.options.quick else 4096), 128
        shape = {"d": d, "n": n, "heads": 2, "threads": 1}
        times = {"prefill": [], "compiled": []}
        for _ in range(2 * self.rounds):
            for op, samples in times.items():
                samples += self.ours.ask(self.budget, op=op, mask="causal", **shape)["time_s"]
        ratio = statistics.median(times["prefill"]) / statistics.median(times["compiled"])
        best = min(times["prefill"]) / min(times["compiled"])
        print(f"\nCausal from a plan against causal compiled into the kernel (n {n}, d {d}, 1 thread): "
              f"{100 * (ratio - 1):+.1f} % (medians), {100 * (best - 1):+.1f} % (best)")
        self.rows.append({"case": {"op": "lowered", **shape}, "ratio_median": ratio, "ratio_best": best})

    def full_rate(self, threads):
        n = 2048 if self.options.quick else 4096
        case = {"op": "prefill", "d": 128, "n": n, "heads": 2, "mask": "full", "threads": threads}
        return self.turns(case, {})["median"]["rowmax"]

    def decode(self, threads, machine):
        print(f"\n### Decode, one query, {KV_HEADS} KV heads, d {HEAD_DIM}, f16, {threads} thread(s), GB/s "
              f"(read bandwidth {machine['read_gbs']:.1f})\n")
        dtypes = {"f16": torch.float16} if self.options.quick else \
            {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
        print("| heads a KV head | keys | rowmax | of the limit | " + " | ".join(f"PyTorch {x}" for x in dtypes) + " |")
        print("|---|---|---|---|" + "---|" * len(dtypes))
        pool_mib = 512 if self.options.quick else 2048
        for group in (1, 4, 8):
            for n in ([4096] if self.options.quick else [4096, 16384, 65536]):
                limit = min(machine["read_gbs"], 0.7 * machine["peak_gflops"] / group)  # f16: one operation a byte a row
                peers = {name: self.torch_decode(group, n, dtype, pool_mib) for name, dtype in dtypes.items()}
                case = {"op": "decode", "d": HEAD_DIM, "n": n, "group": group, "kv_heads": KV_HEADS,
                        "pool_mib": pool_mib, "threads": threads}
                row = self.turns(case, peers)
                rates = row["median"]
                # PyTorch's bytes of f32 are twice ours for the same keys.
                shown = " | ".join(f"{rates[x] * (2 if x == 'f32' else 1):.1f}" for x in dtypes)
                print(f"| {group} | {n} | {rates['rowmax']:.1f} | {100 * rates['rowmax'] / limit:.0f} % | {shown} |",
                      flush=True)

    def torch_decode(self, group, n, dtype, pool_mib):
        """A step of decoding that goes round in the pool as ours does."""
        size = torch.empty(0, dtype=dtype).element_size()
        copies = max(1, (pool_mib << 20) // (2 * KV_HEADS * n * HEAD_DIM * size))
        pools = [torch.full((copies, 1, KV_HEADS, n, HEAD_DIM), 0.01, dtype=dtype) for _ in range(2)]
        q = torch.rand(1, KV_HEADS * group, 1, HEAD_DIM).to(dtype)
        turn = [0]

        def step():
            at = turn[0] % copies
            turn[0] += 1
            return sdpa(q, pools[0][at], pools[1][at], enable_gqa=group > 1)

        return step


def plot(path, machines, rows):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    intensity = [2**x for x in range(-1, 12)]
    for machine in machines:
        threads = machine["threads"]
        color = f"C{threads - 1}"
        roof = [min(machine["peak_gflops"], machine["read_gbs"] * x) for x in intensity]
        axes.plot(intensity, roof, color=color, label=f"measured limits, {threads} thread(s)")
        points = {"o": ([], []), "x": ([], [])}
        for row in rows:
            case = row["case"]
            if case.get("threads") != threads or "median" not in row:
                continue
            if case["op"] == "decode":
                x = case["group"]
                scale = case["group"]
            else:
                x = row["work"] / (8.0 * case["n"] * case["d"] * case["heads"])
                scale = 1
            for marker, name in (("o", "rowmax"), ("x", "torch"), ("x", "f16")):
                if name in row["median"]:
                    points[marker][0].append(x)
                    points[marker][1].append(row["median"][name] * scale)
        axes.scatter(*points["o"], marker="o", s=18, color=color, label=f"rowmax, {threads} thread(s)")
        axes.scatter(*points["x"], marker="x", s=18, color=color, label=f"PyTorch, {threads} thread(s)")
    axes.set(xscale="log", yscale="log", xlabel="operations a byte of K and V", ylabel="GFLOP/s (visible pairs)")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True, help="the program rowmax_attend_bench")
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer sizes, a smaller pool, fewer turns, without FlexAttention")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=["prefill", "masks", "lowered", "decode"])
    parser.add_argument("--no-flex", action="store_true", help="leave FlexAttention out (it needs a C++ compiler)")
    parser.add_argument("--json", metavar="FILE", help="write every sample")
    parser.add_argument("--plot", metavar="FILE", help="write a roofline chart (.svg or .png)")
    options = parser.parse_args()
    only = options.only or ["prefill", "masks", "lowered", "decode"]
    run = Run(options)
    print(f"{cpu_name()}, PyTorch {torch.__version__}")
    machines = []
    with torch.inference_mode():
        for threads in options.threads:
            machine = run.machine(threads)
            machines.append(machine)
            print(f"\n## {threads} thread(s): {machine['peak_gflops']:.0f} GFLOP/s, reads {machine['read_gbs']:.1f} GB/s")
            if "prefill" in only:
                run.prefill(threads, machine["peak_gflops"])
            if "masks" in only:
                run.masks(threads, run.full_rate(threads))
            if "lowered" in only and threads == 1:
                run.lowered()
            if "decode" in only:
                run.decode(threads, machine)
    run.ours.close()
    for note in run.notes:
        print(note)
    if options.json:
        report = {"cpu": cpu_name(), "torch": torch.__version__, "machine": machines, "rows": run.rows, "notes": run.notes}
        Path(options.json).write_text(json.dumps(report, indent=1))
    if options.plot:
        plot(options.plot, machines, run.rows)


if __name__ == "__main__":
    main()
