"""Compares what a library returned with what a case expects. One finding per broken expectation, worst place first."""
from dataclasses import dataclass

import numpy as np

from oracle import BOUNDED, EMPTY, NAN, NUMBER, POISONED, RANGE


@dataclass
class Finding:
    where: str
    expected: str
    found: str
    rows: int  # how many rows broke it

    def text(self):
        more = f" (and {self.rows - 1} more rows)" if self.rows > 1 else ""
        return f"{self.where}: expected {self.expected}, found {self.found}{more}"


def place(row):
    return "batch {} head {} query {}".format(*row)


def compare(case, result):
    """Findings (none: all is well), and how many numbers were compared."""
    out = np.asarray(result["out"], np.float64)
    if out.shape != case.out.shape:
        return [Finding("out", f"shape {case.out.shape}", f"shape {out.shape}", 1)], 1
    findings, compared = [], out.size
    status = None if result.get("status") is None else np.asarray(result["status"])
    for kind, rule in RULES.items():
        rows = case.kind == kind
        if rows.any():
            findings += rule(case, out, rows, status)
    if result.get("lse") is not None:
        lse = np.asarray(result["lse"], np.float64)
        if lse.shape != case.lse.shape:
            return findings + [Finding("lse", f"shape {case.lse.shape}", f"shape {lse.shape}", 1)], compared
        compared += lse.size
        findings += check_lse(case, lse)
    if status is not None:
        compared += status.size
        findings += check_status(case, status)
    if case.out.size == 0:
        compared += 1  # the shape was all there was to get right
    return findings, compared


def first(bad, case, out, expected, found):
    """A finding for the rows (or elements) where `bad`, described at the first of them."""
    if not bad.any():
        return []
    at = tuple(np.argwhere(bad)[0])
    where = place(at[:3]) + (f" dim {at[3]}" if len(at) > 3 else "")
    rows = int(bad.any(axis=-1).sum()) if bad.ndim == 4 else int(bad.sum())
    return [Finding(where, expected(at), found(at), rows)]


def number(case, out, rows, status):
    with np.errstate(all="ignore"):
        error = np.abs(out - case.out)
        bad = rows[..., None] & ~((error <= case.out_tol[..., None]) | (out == case.out))
    if not bad.any():
        return []
    at = np.unravel_index(np.argmax(np.where(bad, np.nan_to_num(error, nan=np.inf, posinf=1e300), -1)), bad.shape)
    text = f"{case.out[at]:.7g} within {case.out_tol[at[:3]]:.2g}"
    hint = " (the unweighted mean of all keys)" if is_mean(case, out, at) else ""
    return [Finding(place(at[:3]) + f" dim {at[3]}", text, f"{out[at]:.7g}{hint}", int(bad.any(axis=-1).sum()))]


def is_mean(case, out, at):
    values = case.repeated(case.v)[at[0], at[1], :, at[3]]
    if values.size < 2 or not np.isfinite(values).all() or not np.isfinite(out[at]) or out[at] == 0:
        return False
    mean = values.astype(np.float64).mean()
    return abs(out[at] - mean) <= 1e-5 * abs(mean)


def empty(case, out, rows, status):
    bad = rows[..., None] & (out != 0)
    return first(bad, case, out, lambda at: "0 (no visible key)",
                 lambda at: f"{out[at]:.7g}" + (" (the unweighted mean of all keys)" if is_mean(case, out, at) else ""))


def not_a_number(case, out, rows, status):
    return first(rows[..., None] & ~np.isnan(out), case, out, lambda at: "NaN (a visible input is NaN)", lambda at: f"{out[at]:.7g}")


def poisoned(case, out, rows, status):
    with np.errstate(all="ignore"):
        fine = np.abs(out - case.out) <= case.out_tol[..., None]
    ok = np.where(np.isnan(case.out), np.isnan(out), np.where(np.isinf(case.out), ~np.isfinite(out), fine | np.isnan(out)))
    return first(rows[..., None] & ~ok, case, out, lambda at: f"{case.out[at]:.7g}", lambda at: f"{out[at]:.7g}")


def out_of_range(case, out, rows, status):
    with np.errstate(all="ignore"):
        right = (np.abs(out - case.out) <= case.out_tol[..., None] + 1e-5 * np.abs(case.out)).all(axis=-1)
    ok = right | ~np.isfinite(out).any(axis=-1)
    if status is not None:
        ok = ok | (status >= 2)
    return first(rows & ~ok, case, out, lambda at: f"{case.out[at][0]:.7g}, or no finite number", lambda at: f"{out[at][0]:.7g}, without a word")


def bounded(case, out, rows, status):
    keep, v = case.keep(), case.repeated(case.v).astype(np.float64)
    bad = np.zeros(rows.shape, bool)
    for at in np.argwhere(rows):
        seen = v[at[0], at[1]][keep[tuple(at)]]
        row, slack = out[tuple(at)], 1e-5 * np.abs(seen).max()
        bad[tuple(at)] = (row != 0).any() and not (np.isfinite(row).all() and (row >= seen.min(axis=0) - slack).all() and (row <= seen.max(axis=0) + slack).all())
    return first(bad, case, out, lambda at: "between the smallest and the largest value, or 0", lambda at: str(np.round(out[at][:3], 5)))


RULES = {NUMBER: number, EMPTY: empty, NAN: not_a_number, POISONED: poisoned, RANGE: out_of_range, BOUNDED: bounded}


def check_lse(case, lse):
    with np.errstate(all="ignore"):
        close = (np.abs(lse - case.lse) <= case.lse_tol) | (lse == case.lse)
    ok = np.select([case.kind == NAN, case.kind == POISONED, (case.kind == RANGE) | (case.kind == BOUNDED)],
                   [np.isnan(lse), close | np.isnan(lse), np.ones(lse.shape, bool)], close)
    return first(~ok, case, lse, lambda at: f"lse {case.lse[at]:.7g}" + (f" within {case.lse_tol[at]:.2g}" if case.lse_tol[at] else ""),
                 lambda at: f"lse {lse[at]:.7g}")


STATUS = ("ok", "empty", "not finite", "overflow")


def check_status(case, status):
    ok = np.select([case.kind == NUMBER, case.kind == EMPTY, (case.kind == NAN) | (case.kind == POISONED), case.kind == RANGE],
                   [status == 0, status == 1, status >= 2, status >= 2], True)
    expected = {NUMBER: "ok", EMPTY: "empty", NAN: "not finite", POISONED: "not finite", RANGE: "overflow"}
    return first(~ok, case, status, lambda at: f"status {expected[int(case.kind[at])]}", lambda at: f"status {STATUS[int(status[at])]}")


# ---- Groups of cases that must agree bit for bit.

def bit_members(case):
    """(group name, rows) of a case; rows: list of (batch, q_begin, q_end)."""
    return [(name, case.fields[f"bit_rows_{n}"].tolist()) for n, name in enumerate(bit_names(case))]


def bit_names(case):
    return [name for name in case.bits.split("|") if name]


def rows_of(array, rows):
    """The rows in order, [head, row, ...]; float32 bits with every NaN alike and -0 as 0."""
    parts = [np.asarray(array)[b, :, lo:hi] for b, lo, hi in rows]
    x = np.ascontiguousarray(np.concatenate(parts, axis=1), np.float32)
    return np.where(np.isnan(x), np.float32(np.nan), x + np.float32(0)).view(np.uint32)


def compare_bits(results):
    """results: list of (case name, rows, result) of one group. Findings against the first member."""
    findings = []
    base_name, base_rows, base = results[0]
    for name, rows, result in results[1:]:
        for what in ("out", "lse"):
            if base.get(what) is None or result.get(what) is None:
                continue
            a, b = rows_of(base[what], base_rows), rows_of(result[what], rows)
            differing = (a != b).reshape(a.shape[0], a.shape[1], -1).any(axis=2)
            if a.shape == b.shape and not differing.any():
                continue
            head, row = np.argwhere(differing)[0]
            x, y = a[head, row].reshape(-1).view(np.float32), b[head, row].reshape(-1).view(np.float32)
            i = int(np.argmax(x.view(np.uint32) != y.view(np.uint32)))
            findings.append(Finding(f"{name} against {base_name}, head {head} row {row}", f"{what} {x[i]:.9g}", f"{y[i]:.9g}", int(differing.sum())))
    return findings
