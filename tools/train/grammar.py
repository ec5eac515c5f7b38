#!/usr/bin/env python3
"""The story grammar: short children's stories, each made from a seed alone.

    tools/train/grammar.py [--seed N] [--count N] [--plot NAME] [--kind KIND] [--list]

The state of a story (who, which pronoun, where, what thing, who has it, the weather) is chosen first; its plot
(plots_*.py) then says its beats with the teller (teller.py) and the beats that plots share (beats.py). Plot x character
pairs of the held-out set are never told in training (is_heldout).
"""

import argparse
import importlib
import random
import zlib

from teller import PLOTS, Teller, Unsuited, article


def load_plots():
    if not PLOTS:
        for part in ("home", "house", "outside", "water", "friends", "lessons", "wonder", "magic"):
            importlib.import_module("plots_" + part)  # fills PLOTS


def is_heldout(plot_name, kind):
    """About one plot x character pair in twelve."""
    return zlib.crc32(f"{plot_name} {kind}".encode()) % 12 == 0


TITLES = ["A story about {}.", "A story about {}.", "a story about {}", "a story about {}", "Tell me a story about {}.", "tell me a story about {}",
          "Write a story about {}.", "write a short story about {}", "A short story about {}.", "A tale of {}."]


def title(t):
    who = article(t.hero.kind)
    r = t.rng.random()
    if r < 0.2:
        who += t.pick([" named ", " called "]) + t.hero.name
    elif r < 0.28:
        who = t.hero.name
    subject = who
    r = t.rng.random()
    if r < 0.72 and t.topic:
        full = t.facts.get("athing") if t.thing and t.topic == article(t.thing) and t.chance(0.2) else t.topic
        subject = f"{who} and {full}"
    elif r < 0.8 and t.friend:
        subject = f"{who} and {article(t.friend.kind)}"
    elif r < 0.86 and t.topic:
        subject = t.topic
    return t.pick(TITLES).format(subject)


def make_story(seed, heldout=False, plot_name=None, kind=None):
    """-> (text, plot name, teller). Without heldout never a held-out pair, with it only such pairs."""
    load_plots()
    names = sorted(PLOTS)
    for attempt in range(1000):
        rng = random.Random(seed * 1009 + attempt)
        t = Teller(rng)
        name = plot_name or t.pick(names)
        t.forced_kind = kind
        try:
            PLOTS[name](t)
        except Unsuited:
            continue
        if plot_name is None and kind is None and is_heldout(name, t.hero.kind) != heldout:
            continue
        text = t.text()
        if not 100 <= len(text.split()) <= 235:
            continue
        if t.chance(0.6):
            text = title(t) + "\n\n" + text
        return text, name, t
    raise RuntimeError(f"no story from seed {seed}, plot {plot_name}, kind {kind}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--count", type=int, default=1)
    p.add_argument("--plot", help="one plot only")
    p.add_argument("--kind", help="one kind of hero only")
    p.add_argument("--list", action="store_true", help="names of the plots")
    args = p.parse_args()
    load_plots()
    if args.list:
        print("\n".join(sorted(PLOTS)))
        return
    for i in range(args.count):
        text, name, _ = make_story(args.seed + i, plot_name=args.plot, kind=args.kind)
        print(f"[{args.seed + i} {name}, {len(text.split())} words]\n{text}\n")


if __name__ == "__main__":
    main()
