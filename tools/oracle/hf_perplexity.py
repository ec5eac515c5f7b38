#!/usr/bin/env python3
"""Perplexity of a GGUF file by Hugging Face transformers in f32, in the windows of llama.cpp's perplexity tool.

    hf_perplexity.py MODEL.gguf --token-ids ids.json [--ctx 512] [--out scores.npz]
                     [--logits-prefix PATH --logits-windows 2] [--threads 1]

Prints one JSON object. --out holds `tokens`, `logprobs` (natural log), `top1` and `margin` (log-probability of the
first choice less that of the second) of the scored positions in order; --logits-prefix writes PATH_wNN.npy,
float32[ctx/2 - 1, n_vocab], the logits of the scored rows of the first windows.
Packages: transformers, torch, gguf, accelerate.
"""
import argparse
import json
import os
import sys

import windows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--token-ids", required=True)
    p.add_argument("--ctx", type=int, default=512)
    p.add_argument("--max-windows", type=int)
    p.add_argument("--out")
    p.add_argument("--logits-prefix")
    p.add_argument("--logits-windows", type=int, default=0)
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()

    import torch
    import transformers

    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    folder, name = os.path.split(os.path.abspath(args.model))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32, attn_implementation="eager").eval()
    ids = windows.load_ids(args.token_ids)
    score = windows.Score(args.ctx, args.logits_windows, args.logits_prefix)
    rows = windows.scored_rows(args.ctx)
    for window in windows.windows(ids, args.ctx, windows.bos_of(args.model), args.max_windows):
        with torch.no_grad():
            # Only the scored rows go through the head; position ctx-1 predicts nothing inside the window.
            hidden = model.model(torch.from_numpy(window)[None]).last_hidden_state[0, rows]
            logits = model.lm_head(hidden)
            cap = getattr(model.config, "final_logit_softcapping", None)
            logits = (torch.tanh(logits / cap) * cap if cap else logits).numpy()
        score.add(window, logits)
        print(f"window {score.n_windows}: perplexity so far {score.finish()['perplexity']:.4f}", file=sys.stderr)
    result = score.finish(args.out, len(ids))
    result |= {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
