#!/usr/bin/env python3
"""Attention beside PyTorch on the CPU, in one run and in turns (A B A B): machines are noisy, ratios less so.

    bench/attention/run.py --bench build/release/rowmax_attend_bench --quick
    bench/attention/run.py --bench build/release/rowmax_attend_bench --json speed.json --plot roofline.svg

The first takes about two minutes, the second about ten. FlexAttention runs in a process of its own with a time limit
(its first compilation takes minutes; later runs find it in torch's cache); where it gives up, the reason is printed.

Needs torch (and matplotlib for --plot) in the Python it runs under, and the program rowmax_attend_bench (built with
-DROWMAX_BENCH=ON). Prefill is f32; GFLOP/s count visible pairs only (4 * head_dim operations each). Decode is one
query; GB/s count every byte of K and V once. Peak and read bandwidth are measured in the same run.
"""
import argparse
import json
import os
import platform
import selectors
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
    while not times or sum(times) * 1e3 < budget_ms:
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


class Flex:
    """FlexAttention in a process of its own: compiling it can take longer than anyone waits."""

    def __init__(self, threads, limit_s):
        self.limit_s = limit_s
        command = [sys.executable, os.path.abspath(__file__), "--bench", "", "--serve-flex", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.reason = None  # why it no longer runs

    def ask(self, mask, n, heads, budget_ms):
        """Times of some repetitions, or None."""
        if self.reason is None:
            try:
                self.process.stdin.write(f"{mask} {n} {heads} {budget_ms}\n")
                self.process.stdin.flush()
                with selectors.DefaultSelector() as selector:
                    selector.register(self.process.stdout, selectors.EVENT_READ)
                    ready = selector.select(self.limit_s)
                answer = json.loads(self.process.stdout.readline() or "{}") if ready else {}
                if "time_s" in answer:
                    return answer["time_s"]
                self.reason = answer.get("error", "its process ended") if ready else f"no answer within {self.limit_s} s"
            except OSError as error:
                self.reason = str(error)
            self.close()
        return None

    def close(self):
        self.process.kill()
        self.process.wait()


def serve_flex(threads):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    torch.set_num_threads(threads)
    compiled = torch.compile(flex_attention)
    ready = {}
    for line in sys.stdin:
        mask, n, heads, budget_ms = line.split()
        n = int(n)
        try:
            if mask not in ready:
                keep = keep_matrix(mask, n)
                blocks = create_block_mask(lambda b, h, i, j, keep=keep: keep[i, j], None, None, n, n, device="cpu")
                ready[mask] = (blocks, [torch.rand(1, int(heads), n, HEAD_DIM) for _ in range(3)])
            blocks, tensors = ready[mask]
            with torch.inference_mode():
                times = repeat(threads, float(budget_ms), lambda: compiled(*tensors, block_mask=blocks))
            answer = {"time_s": times}
        except Exception as error:  # whatever the compiler says is the answer
            text = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {text[0][:120]}"}
        print(json.dumps(answer), flush=True)


class Run:
    def __init__(self, options):
        self.options = options
        self.ours = Ours(options.bench)
        self.budget = 40 if options.quick else 120
        self.rounds = 3 if options.quick else 5
        self.rows = []
        self.notes = []

    def turns(self, case, peers, full=None):
        """Ours and the peers in turns. Work (operations or bytes) over time, in units of 1e9 a second.

        peers: name -> function that returns the times of some repetitions, or None. full: a case of ours to measure in
        the same turns."""
        samples = {"rowmax": []}
        work = {"tile": 0}
        for _ in range(self.rounds):
            answer = self.ours.ask(self.budget, min_reps=1, **case)
            work["rowmax"], work["tile"] = answer["work"], answer["tile_work"]
            samples["rowmax"] += answer["time_s"]
            if full is not None:
                answer = self.ours.ask(self.budget, min_reps=1, **full)
                work["full"] = answer["work"]
                samples.setdefault("full", []).extend(answer["time_s"])
            torch.set_num_threads(case["threads"])
            for name, measure in peers.items():
                times = measure()
                if times is not None:
                    samples.setdefault(name, []).extend(times)
        rate = {name: work.get(name, work["rowmax"]) * 1e-9 for name in samples}
        row = {"case": case, "work": work["rowmax"], "tile_work": work["tile"], "samples_s": samples}
        row["median"] = {name: rate[name] / statistics.median(times) for name, times in samples.items()}
        row["best"] = {name: rate[name] / min(times) for name, times in samples.items()}
        row["ms"] = {name: 1e3 * statistics.median(times) for name, times in samples.items()}
        self.rows.append(row)
        return row

    def torch_peer(self, threads, fn):
        return lambda: repeat(threads, self.budget, fn)

    def machine(self, threads):
        pool = 512 if self.options.quick else 2048
        limits = [{"op": "peak", "threads": threads}, {"op": "bandwidth", "threads": threads, "pool_mib": pool}]
        turns = [[self.ours.ask(self.budget, **limit)["best"] for limit in limits] for _ in range(self.rounds)]
        peak, bandwidth = (max(values) for values in zip(*turns))
        return {"threads": threads, "peak_gflops": peak, "read_gbs": bandwidth}

    def prefill(self, threads, peak):
        print(f"\n### Prefill f32, {threads} thread(s), GFLOP/s (peak {peak:.0f})\n")
        print("| d | n | mask | rowmax | PyTorch | ratio | of peak | causal faster than full |\n"
              "|---|---|---|---|---|---|---|---|")
        sizes = [512, 2048] if self.options.quick else [512, 1024, 2048, 4096, 8192]
        for d in (64, 128):
            for n in sizes:
                heads = max(1, min(8, 8192 // n))
                q, k, v = (torch.rand(1, heads, n, d) for _ in range(3))
                for mask in ("full", "causal"):
                    case = {"op": "prefill", "d": d, "n": n, "heads": heads, "mask": mask, "threads": threads}
                    causal = mask == "causal"
                    row = self.turns(case, {"torch": self.torch_peer(threads, lambda: sdpa(q, k, v, is_causal=causal))},
                                     full={**case, "mask": "full"} if causal else None)
                    ours, peer = row["median"]["rowmax"], row["median"]["torch"]
                    faster = f"{row['ms']['full'] / row['ms']['rowmax']:.2f}" if causal else "-"
                    print(f"| {d} | {n} | {mask} | {ours:.0f} | {peer:.0f} | {ours / peer:.2f} | "
                          f"{100 * ours / peak:.0f} % | {faster} |", flush=True)

    def masks(self, threads):
        n, d, heads = (2048 if self.options.quick else 4096), 128, 2
        print(f"\n### Masks, f32, d {d}, n {n}, {threads} thread(s), ms\n")
        print("Costs are times over full attention's in the same turns: of a visible pair, and of a tile of 64 queries by "
              "64 keys with a visible pair\n(what no blocked kernel can leave out; a tile on the edge of the mask counts "
              "whole).\n")
        print("| mask | rowmax | PyTorch bool | PyTorch additive | FlexAttention | ratio | of a pair | of a tile |")
        print("|---|---|---|---|---|---|---|---|")
        q, k, v = (torch.rand(1, heads, n, d) for _ in range(3))
        flex = None if self.options.quick or self.options.no_flex else Flex(threads, self.options.flex_limit)
        for mask in ("window", "padding", "documents", "keep"):
            keep = keep_matrix(mask, n)
            additive = torch.zeros(n, n).masked_fill(~keep, float("-inf"))
            peers = {"bool": self.torch_peer(threads, lambda: sdpa(q, k, v, attn_mask=keep)),
                     "additive": self.torch_peer(threads, lambda: sdpa(q, k, v, attn_mask=additive))}
            if flex is not None and flex.ask(mask, n, heads, 1) is not None:
                peers["flex"] = lambda: flex.ask(mask, n, heads, self.budget)
            case = {"op": "prefill", "d": d, "n": n, "heads": heads, "mask": mask, "threads": threads}
            row = self.turns(case, peers, full={**case, "mask": "full"})
            ms = row["ms"]
            flex_ms = f"{ms['flex']:.1f}" if "flex" in ms else "-"
            best_peer = min(ms["bool"], ms["additive"])
            pair = row["median"]["full"] / row["median"]["rowmax"]
            print(f"| {mask} | {ms['rowmax']:.1f} | {ms['bool']:.1f} | {ms['additive']:.1f} | {flex_ms} | "
                  f"{best_peer / ms['rowmax']:.1f} | {pair:.2f} | {pair * row['work'] / row['tile_work']:.2f} |",
                  flush=True)
        if flex is not None:
            flex.close()
            if flex.reason is not None:
                self.notes.append(f"FlexAttention, {threads} thread(s): {flex.reason}")

    def compare(self, title, **case):
        """Two ways of ours, repetition by repetition in turns."""
        pairs = []
        for _ in range(self.rounds):
            answer = self.ours.ask(400 if self.options.quick else 1500, threads=1, **case)
            pairs += list(zip(answer["time_s"], answer["other_s"]))
        difference = statistics.median(a / b for a, b in pairs) - 1
        best = min(a for a, _ in pairs) / min(b for _, b in pairs) - 1
        print(f"| {title} | {100 * difference:+.2f} % | {100 * best:+.2f} % | {len(pairs)} |", flush=True)
        self.rows.append({"case": case, "difference_median": difference, "difference_best": best, "pairs_s": pairs})

    def lowered(self):
        print("\n### What generality costs, f32, d 128, 1 thread\n")
        print("| | median of the ratios of neighbours | best against best | pairs |\n|---|---|---|---|")
        for n in (512, 2048):
            self.compare(f"causal from a plan, against compiled into the kernel, n {n}", op="lowered", d=128, n=n, heads=2)
        for mask in ("full", "causal"):
            self.compare(f"attend without probe and weights, against its kernel without any place for them, {mask}, n 512",
                         op="bare", d=128, n=512, heads=2, mask=mask)

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
                peers = {name: self.torch_peer(threads, self.torch_decode(group, n, dtype, pool_mib))
                         for name, dtype in dtypes.items()}
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
    parser.add_argument("--quick", action="store_true", help="fewer sizes, a smaller pool, fewer turns, without FlexAttention")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=["prefill", "masks", "lowered", "decode"])
    parser.add_argument("--no-flex", action="store_true", help="leave FlexAttention out (it needs a C++ compiler)")
    parser.add_argument("--flex-limit", type=float, default=300, help="seconds to wait for an answer of FlexAttention")
    parser.add_argument("--serve-flex", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="write every sample")
    parser.add_argument("--plot", metavar="FILE", help="write a roofline chart (.svg or .png)")
    options = parser.parse_args()
    if options.serve_flex is not None:
        return serve_flex(options.serve_flex)
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
                run.masks(threads)
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
