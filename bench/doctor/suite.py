"""What run.py and the tests share: base models, planting, asking the doctor, judging its answer."""

import hashlib
import json
import subprocess
import time
from pathlib import Path

from faults import FAULTS, HEALTHY
from gguf_edit import Gguf

ROOT = Path(__file__).resolve().parents[2]
FAULTY, HEALTHY_EXIT, INCONCLUSIVE = 10, 0, 11


class Suite:
    def __init__(self, rowmax, models, work, budget=None, quick=False, more=None):
        self.rowmax, self.models, self.work = Path(rowmax), Path(models), Path(work)
        self.more = more and Path(more)
        self.budget, self.quick = budget, quick
        self.loaded = {}

    def program(self):
        """Which build answers: results of two are not mixed."""
        return hashlib.sha256(self.rowmax.read_bytes()).hexdigest()[:12]

    def base(self, name):
        """The file of a base model, or None where it is not there."""
        if name == "stories":
            return ROOT / "models" / "stories.gguf"
        path = self.models / f"{name}.gguf"
        if not path.exists() and self.more:
            path = self.more / f"{name}.gguf"
        if name == "stories_q2_0":
            path = self.work / "stories_q2_0.gguf"
            if not path.exists():
                self.run("quantize", self.base("stories"), path, "Q2_0", "-q", check=True)
        return path if path.exists() else None

    def gguf(self, name):
        """A copy that may be changed."""
        data = self.base(name).read_bytes()
        return data, Gguf.load(self.base(name))

    def plant(self, fault, path):
        data, model = self.gguf(fault.base)
        if fault.plant:
            fault.plant(model)
            data = model.bytes()
        if fault.raw:
            data = fault.raw(data)
        Path(path).write_bytes(data)

    def plant_healthy(self, name, path):
        base, change = HEALTHY[name]
        model = Gguf.load(self.base(base))
        change(model)
        model.write(path)

    def run(self, *arguments, **more):
        return subprocess.run([self.rowmax, *map(str, arguments)], capture_output=True, text=True, **more)

    def flags(self, fault):
        out = []
        for edit in fault.edits:
            out += ["--convention", edit]
        for name in fault.formats:
            out += ["--format", name]
        return out

    def file_of(self, fault):
        """The file that the doctor sees: for a fault of the graph the base itself."""
        if fault.kind == "graph":
            return self.base(fault.base)
        path = self.work / "planted.gguf"
        self.plant(fault, path)
        return path

    def loss(self, path, stories, *flags):
        """(mean nats a token, tokens) of the second halves of windows at the beginning of each story; None where the file
        is refused or a number is not finite."""
        total, count, n_tokens = 0.0, 0, 0
        for story in stories:
            said = self.run("score", "-m", path, "-f", story, "--ctx", 192, "--no-layout-check", "--json", "-q", "-t", 1, *flags)
            if said.returncode != 0:
                return None
            answer = json.loads(said.stdout)
            total += answer["nll"] * answer["n_scored"]
            count += answer["n_scored"]
            n_tokens += answer["n_tokens"]
        return total / count, n_tokens

    def ask(self, path, *flags):
        """The doctor's answer as {verdict, causes, seconds, exit, failed: [check ids]}."""
        arguments = ["doctor", "-m", path, "--json", *flags]
        if self.quick:
            arguments.append("--quick")
        if self.budget is not None:
            arguments += ["--budget", self.budget]
        began = time.time()
        try:
            said = self.run(*arguments, timeout=600)
        except subprocess.TimeoutExpired:
            return dict(verdict="timeout", causes=[], failed=[], exit=None, seconds=600)
        out = dict(exit=said.returncode, budget=self.budget, seconds=round(time.time() - began, 2))
        try:
            answer = json.loads(said.stdout)
        except ValueError:
            return out | dict(verdict="error", causes=[], failed=[], error=said.stderr[-300:])
        wanted = {"healthy": HEALTHY_EXIT, "faulty": FAULTY, "inconclusive": INCONCLUSIVE}
        if wanted.get(answer["verdict"]) != said.returncode:
            out["error"] = f"verdict {answer['verdict']} with exit code {said.returncode}"
        causes = [{k: c.get(k) for k in ("id", "place", "text", "confidence")} for c in answer["causes"]]
        failed = [c["id"] for c in answer["checks"] if c.get("verdict") == "fail"]
        cut = any("left out for want of time" in (c.get("reason") or "") for c in answer["checks"])
        return out | dict(verdict=answer["verdict"], causes=causes, failed=failed, cut=cut)


def place_named(wanted, cause):
    """A tensor, its layer ("blk.1") or a key, in the place that the cause names."""
    place = json.dumps(cause.get("place") or {})
    if wanted in place or wanted in (cause.get("text") or ""):
        return True
    layer = wanted.split(".")[1] if wanted.startswith("blk.") and wanted.count(".") == 1 else None
    return layer is not None and f'"layer": {layer}' in place


def judge(fault, answer):
    ids = [c["id"] for c in answer["causes"]]
    named = [c for c in answer["causes"] if c["id"] in fault.causes]
    return dict(detected=answer["verdict"] == "faulty", first=bool(ids) and ids[0] in fault.causes,
                top3=any(i in fault.causes for i in ids[:3]),
                place=bool(named) and place_named(fault.place, named[0]) if fault.place else None)


def changes(before, after):
    """What differs between two models: names of keys and tensors."""
    out = [k for k in before.keys.keys() | after.keys.keys() if before.keys.get(k) != after.keys.get(k)]
    tensors = [{t.name: (t.shape, t.type, t.data) for t in g.tensors} for g in (before, after)]
    return sorted(out) + sorted(n for n in tensors[0].keys() | tensors[1].keys() if tensors[0].get(n) != tensors[1].get(n))


__all__ = ["FAULTS", "HEALTHY", "ROOT", "Suite", "changes", "judge"]
