#!/usr/bin/env python3
"""Greedy continuations by Hugging Face transformers in f32, for the same prompt ids as another engine's greedy file.

    hf_greedy.py MODEL.gguf --like greedy.json [--steps 32] --out hf_greedy.json [--threads 1]

greedy.json: peer_llama_cpp.py's output (its `runs[].prompt_tokens` and `eog` are used). The output has the same form:
the judge of `compare.py greedy REF CAND --judge`.
"""
import argparse
import json
import os

TOP = 10


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--like", required=True)
    p.add_argument("--steps", type=int, default=32)
    p.add_argument("--out", required=True)
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()

    import torch
    import transformers

    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    folder, name = os.path.split(os.path.abspath(args.model))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32, attn_implementation="eager").eval()
    with open(args.like, encoding="utf-8") as f:
        like = json.load(f)
    runs = []
    for r in like["runs"]:
        feed, cache, steps, stop = r["prompt_tokens"], None, [], "length"
        for _ in range(args.steps):
            with torch.no_grad():
                out = model(torch.tensor([feed]), past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, logits = out.past_key_values, out.logits[0, -1]
            order = torch.sort(logits, descending=True, stable=True).indices[:TOP]
            steps.append([[int(t), float(logits[t])] for t in order])
            feed = [steps[-1][0][0]]
            if feed[0] in like["eog"]:
                stop = "eos"
                break
        runs.append({"prompt": r["prompt"], "prompt_tokens": r["prompt_tokens"], "tokens": [s[0][0] for s in steps],
                     "steps": steps, "stop": stop})
    with open(args.out, "w", encoding="utf-8") as f:
        json.dump({"engine": "transformers f32", "eog": like["eog"], "runs": runs}, f)
    print(json.dumps({"runs": len(runs), "steps": args.steps, "out": args.out}))


if __name__ == "__main__":
    main()
