#!/usr/bin/env python3
"""What quantised activations cost: the scores of a model when the input of every product is rounded, all else f32.

    activation_study.py MODEL.gguf --token-ids ids.json --logits-prefix REF --scheme 32:127 --scheme 16:127:exact-head

A scheme is BLOCK:LEVELS[:exact-head]: each BLOCK values share one f32 scale, absmax / LEVELS (127 is int8, 32767
int16; block 0 is a whole row). REF_wNN.npy are the unrounded logits (hf_perplexity.py --logits-prefix); all windows
found there are used. It tells what any engine with exact integer dots can reach, before one is written.
"""
import argparse
import json
import os

import numpy as np

import windows
from compare import LogitsComparison


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--token-ids", required=True)
    p.add_argument("--ctx", type=int, default=512)
    p.add_argument("--logits-prefix", required=True)
    p.add_argument("--max-windows", type=int, default=4)
    p.add_argument("--scheme", action="append", required=True)
    args = p.parse_args()

    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    folder, name = os.path.split(os.path.abspath(args.model))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32, attn_implementation="eager").eval()
    scheme = {}

    def rounded(module, inputs):
        x = inputs[0]
        if scheme["exact_head"] and module is model.lm_head:
            return inputs
        block = scheme["block"] if scheme["block"] and x.shape[-1] % scheme["block"] == 0 else x.shape[-1]
        y = x.reshape(*x.shape[:-1], -1, block)
        d = y.abs().amax(-1, keepdim=True) / scheme["levels"]
        return (torch.where(d > 0, torch.round(y / d) * d, y).reshape(x.shape),)

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(rounded)
    ids, bos = windows.load_ids(args.token_ids), windows.bos_of(args.model)
    rows = windows.scored_rows(args.ctx)
    for text in args.scheme:
        block, levels, *rest = text.split(":")
        scheme.update(block=int(block), levels=int(levels), exact_head=rest == ["exact-head"])
        compare, ours, ref = LogitsComparison(), windows.Score(args.ctx), windows.Score(args.ctx)
        for w, window in enumerate(windows.windows(ids, args.ctx, bos, args.max_windows)):
            path = f"{args.logits_prefix}_w{w:02d}.npy"
            if not os.path.exists(path):
                break
            with torch.no_grad():
                logits = model.lm_head(model.model(torch.from_numpy(window)[None]).last_hidden_state[0, rows]).numpy()
            exact = np.load(path, mmap_mode="r")
            compare.add(exact, logits)
            ours.add(window, logits)
            ref.add(window, exact)
        r = compare.result(0)
        print(json.dumps({"scheme": text, "windows": ours.n_windows, "kl_mean": r["kl_mean"],
                          "top1_agreement": r["top1_agreement"], "max_rel_delta": r["max_rel_delta"],
                          "perplexity_relative": ours.finish()["perplexity"] / ref.finish()["perplexity"] - 1}),
              flush=True)


if __name__ == "__main__":
    main()
