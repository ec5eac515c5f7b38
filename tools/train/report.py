#!/usr/bin/env python3
"""Writes models/README.md from the training log and the evaluation.

    tools/train/report.py --work DIR --model models/stories.gguf --out models/README.md

What is special about this training (settings changed on the way, say) stands in DIR/note.txt and goes into the page.
"""

import argparse
import re
from pathlib import Path

import words
from corpus import VOCABULARY
from grammar import PLOTS, load_plots

TEXT = """# The embedded model: short stories

`stories.gguf` ({size:.2f} MB) is a ternary language model of our own, in the BitNet b1.58 graph and the I2_S format. It
writes short children's stories. It lies in the `rowmax` program, so that there is something true to run right after the
build, offline: `rowmax run`, `rowmax run "a story about a fox and a kite" --seed 7`.

## What it is, and what it is not
- It tells stories of one kind: a child or an animal, a friend, a thing, a small trouble, a good end. It knows {plots} plots
  and about {vocabulary} tokens. Give it the beginning of a story ("Once upon a time") or a title
  ("a story about a fox and a kite"); the title may name a character ("a girl", "a fox called Lily") and a thing.
- It learned from text that a grammar made (`tools/train/grammar.py`), not from books or the web. Its stories are made of that
  grammar's sentences: it composes them, it did not invent them.
- It is small and was trained for an hour and a half. Its sentences are whole, its stories have a beginning, a trouble and
  an end that follows from them, and who is who stays the same nearly always. Where it goes wrong, two plots run into one
  another or the thing of a title is left out: the checks below count what can be counted. Greedy stories (`--greedy`) keep to
  one plot more strictly than drawn ones.
- It knows no facts, follows no instructions, answers no questions and cannot chat. A title with things that the grammar
  does not know is ignored or bent into something that it knows.
- It is a test model as well: `tests/golden/stories.golden` holds logits that an engine must reproduce, `stories.txt` beside
  it a story that must come out on every machine.

## Size
{ternary} ternary weights (2 bits each, one scale a matrix), {other} others (F16 embedding, which is also the head; F32 norms).
{layers} layers of width {width}, {heads} heads of {head_dim} ({kv_heads} for keys and values), feed-forward {ffn}, context {context}, a byte-level BPE
vocabulary of {vocabulary}.

## Data
Stories of 100 to 235 words, each made from a seed alone: {plots} plots, {kinds} kinds of characters, {names} names,
{things} things, {foods} foods, {places} places. The state of a story is kept (who, which pronoun, what thing, where it lies), every beat has
several phrasings, some beats are left out, some come back in the end. One plot x character pair in twelve is held out:
training never sees a fox in a plot, say, that is held out for foxes.

## Training
One CPU thread, PyTorch; the first steps with float weights, then ternary weights and int8 activations with
straight-through gradients. {seen}
{note}
```
{log}
```

## Evidence
Computed in PyTorch with the exact rule that an engine must follow (F16 embedding, int8 activations a token, ternary
weights, f32).
"Longest run" counts words, names included. The checks are in `tools/train/story_checks.py`.
{figures}

## The logits
`tools/train/oracle.py` computes the file's logits in numpy fp64 from the definition. Against the PyTorch graph:
```
{oracle}
```
In f32 a value can lie so near to a tie of the int8 rounding that its code flips by one, which moves logits by some
hundredths; the golden prompt is one where no value does ("tie" is the smallest distance to a tie).

## Samples
Not chosen: the prompts are fixed, the first sample of each is shown.
{samples}

## Making it again
`tools/train/make_stories.sh WORK` makes the tokenizer and the stories, trains, exports, compares and writes this page. It goes on
from WORK's checkpoint where there is one. Bits may differ between machines and PyTorch versions.

## Licence
Apache-2.0, as the rest of this repository. The grammar and its sentences were written for it; no other text was used.
"""


def thin(lines, count):
    """About count lines, the first and the last among them."""
    if len(lines) <= count:
        return lines
    return [lines[round(i * (len(lines) - 1) / (count - 1))] for i in range(count)]


def last_of_each_step(log, pattern):
    """The lines that match, by step; where training went on from a checkpoint, what came last."""
    found = {}
    for line in log:
        match = re.search(pattern, line)
        if match:
            found[int(match.group(1))] = line
    return [found[step] for step in sorted(found)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="train.py's folder, with evaluation.txt and oracle.txt")
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args()
    load_plots()
    note = args.work / "note.txt"
    from export import load_model

    model, state = load_model(args.work)
    c = model.config
    log = (args.work / "train.log").read_text().splitlines()
    ternary, other = re.search(r"(\d+) ternary, (\d+) other", log[0]).groups()
    steps = last_of_each_step(log, r" step (\d+) (?:float|ternary) loss")
    heldout = last_of_each_step(log, r" step (\d+) heldout bits")
    shown = sorted(thin(steps, 14) + thin(heldout, 8), key=lambda line: (int(re.search(r"step (\d+)", line).group(1)), "heldout" in line))
    evaluation = (args.work / "evaluation.txt").read_text()
    figures, _, samples = evaluation.partition("\n\n---")
    blocks = []
    for block in ("---" + samples).split("\n\n---"):
        head, _, story = block.strip("- \n").partition("\n")
        blocks.append(f"**{head}**\n\n" + "\n".join("> " + line if line else ">" for line in story.strip().splitlines()))
    args.out.write_text(TEXT.format(
        size=args.model.stat().st_size / 1e6, plots=len(PLOTS), kinds=len(words.ANIMALS) + len(words.CHILDREN),
        names=len(words.GIRLS) + len(words.BOYS), things=len(words.THINGS), foods=len(words.FOODS), places=len(words.PLACES), vocabulary=VOCABULARY, ternary=ternary, other=other,
        layers=c.layers, width=c.width, heads=c.heads, head_dim=c.head_dim, kv_heads=c.kv_heads, ffn=c.ffn, context=c.context,
        seen=f"{state['step']} steps, {state['corpus']} stories, {state['tokens']} tokens, each story once.",
        log="\n".join(re.sub(r"^\S+ ", "", line) for line in shown),
        figures="\n".join("- " + line for line in figures.strip().splitlines()),
        note=note.read_text().strip() if note.exists() else "",
        oracle=(args.work / "oracle.txt").read_text().strip(), samples="\n\n".join(blocks)))
    print(args.out)


if __name__ == "__main__":
    main()
