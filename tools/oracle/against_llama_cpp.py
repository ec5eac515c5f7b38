#!/usr/bin/env python3
"""llama.cpp's word on the files of make_goldens.py and make_hf_folders.py. One JSON object a file; exit status 1 past a
limit.

    against_llama_cpp.py logits MODEL.gguf ... [--max-rel 2e-3]
        The rows of MODEL.golden beside MODEL.gguf, computed again by PyPI's xllamacpp (a build of llama.cpp). It tells
        log-probabilities, so those are compared; the differences are given in parts of the logits' range. --chunked:
        prompts in batches of 24 tokens.
    against_llama_cpp.py convert NAME ... --llama-cpp DIR [--folder]
        The case NAME of make_goldens.py (with --folder: of make_hf_folders.py) as save_pretrained writes it, converted
        by llama.cpp's own convert_hf_to_gguf.py in DIR, against the file of write_gguf: every tensor bit by bit, every
        key of the model. -exp(A_log) may be a rounding away (llama.cpp computes it in f32). Tokenizer keys are not
        compared; the converter knows a tokenizer by a hash, so its look-up is replaced.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

import make_goldens as goldens

CONVERT = """
import runpy, sys
root = sys.argv.pop(1)
sys.path[:0] = [root, root + "/gguf-py"]
import conversion.base, conversion.gemma
conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "smollm"
conversion.gemma.Gemma4Model.set_vocab = lambda self: self._set_vocab_gpt2()
sys.argv[0] = root + "/convert_hf_to_gguf.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def read_golden(path):
    with open(path, "rb") as f:
        assert f.read(8) == b"RMGOLD1\0"
        n_tokens, n_rows, n_vocab, _ = np.fromfile(f, "<u4", 4)
        tokens, rows = np.fromfile(f, "<i4", n_tokens), np.fromfile(f, "<u4", n_rows)
        return tokens, rows, np.fromfile(f, "<f4", n_rows * n_vocab).reshape(n_rows, n_vocab)


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def peer_logprobs(path, tokens, rows, n_vocab, batch):
    import xllamacpp as x

    p = x.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.n_gpu_layers, p.warmup = path, goldens.N_CTX, 1, 0, False
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.n_batch = p.n_ubatch = batch
    p.cache_type_k = p.cache_type_v = x.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = x.Server(p)
    # The probabilities told are those before the bias; a token that is no whole character would come without any.
    letter = len(goldens.SPECIALS) + ord("A")
    out = np.full((len(rows), n_vocab), -np.inf)
    for at, row in enumerate(rows):
        reply = server.handle_completions({"prompt": [int(t) for t in tokens[: row + 1]], "n_predict": 1, "temperature": 0,
                                           "n_probs": n_vocab, "cache_prompt": False, "logit_bias": [[letter, 1000.0]]})
        reply = json.loads(reply) if isinstance(reply, (str, bytes)) else reply
        for entry in reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            out[at, entry["id"]] = entry["logprob"]
    return out


def cmd_logits(args):
    for path in args.items:
        tokens, rows, logits = read_golden(path.removesuffix(".gguf") + ".golden")
        peer = peer_logprobs(path, tokens, rows, logits.shape[1], 24 if args.chunked else goldens.N_CTX)
        ref = log_softmax(logits)
        known = np.isfinite(peer) & (ref > -60)  # a probability that underflows has no logarithm over there
        delta = float(np.abs(ref - peer)[known].max() / np.ptp(logits))
        top1 = float((ref.argmax(axis=-1) == peer.argmax(axis=-1)).mean())
        yield {"file": path, "max_rel_delta": delta, "compared": float(known.mean()), "top1": top1}, delta > args.max_rel


def read_gguf(path):
    import gguf

    reader = gguf.GGUFReader(path)
    tensors = {}
    for t in reader.tensors:
        shape = tuple(int(n) for n in reversed(t.shape))
        tensors[t.name] = np.asarray(gguf.dequantize(t.data, t.tensor_type), np.float32).reshape(shape)
    keys = {k: f.contents() for k, f in reader.fields.items() if not k.startswith(("GGUF.", "general.", "tokenizer."))}
    return keys, tensors


def same(a, b):
    return np.allclose(a, b, rtol=1e-6, atol=0) if isinstance(a, float) else a == b


def cmd_convert(args):
    import make_hf_folders as folders

    for name in args.items:
        c, goldens.N_VOCAB = (folders.CASES[name], 280) if args.folder else (goldens.CASES[name], 288)
        with tempfile.TemporaryDirectory() as work:
            folder, ours, theirs = (os.path.join(work, part) for part in ("folder", "ours.gguf", "theirs.gguf"))
            os.makedirs(folder)
            weights = folders.write_folder(folder, c, full=not args.folder)
            folders.write_tokenizer(folder)
            with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
                json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": goldens.SPECIALS[1]}, f)
            goldens.write_gguf(ours, name, c, weights)
            mtp = ["--no-mtp"] if "delta" in c and not c.get("mtp") else []
            done = subprocess.run([sys.executable, "-c", CONVERT, os.path.abspath(args.llama_cpp), folder, "--outfile",
                                   theirs, "--outtype", "f32", *mtp], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            (our_keys, ours), (their_keys, theirs) = read_gguf(ours), read_gguf(theirs)
            our_keys.pop(f"{c['arch']}.vocab_size", None)
            if c.get("interval_only"):  # as older converters wrote it
                for key in ("attention.recurrent_layers", "full_attention_interval"):
                    our_keys.pop(f"{c['arch']}.{key}", None), their_keys.pop(f"{c['arch']}.{key}", None)
        tensors = sorted(k for k in ours.keys() | theirs.keys() if k not in ours or k not in theirs
                         or ours[k].shape != theirs[k].shape or not np.array_equal(ours[k], theirs[k])
                         and not (k.endswith("ssm_a") and np.allclose(ours[k], theirs[k], rtol=3e-7, atol=0)))
        keys = {k: [our_keys.get(k), their_keys.get(k)] for k in our_keys.keys() | their_keys.keys()
                if k not in our_keys or k not in their_keys or not same(our_keys[k], their_keys[k])}
        yield {"case": name, "tensors": len(theirs), "tensors_that_differ": tensors, "keys": len(their_keys),
               "keys_that_differ": keys}, bool(tensors or keys)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(required=True)
    for name, run in (("logits", cmd_logits), ("convert", cmd_convert)):
        s = sub.add_parser(name)
        s.add_argument("items", nargs="+")
        s.add_argument("--max-rel", type=float, default=2e-3)
        s.add_argument("--chunked", action="store_true")
        s.add_argument("--llama-cpp")
        s.add_argument("--folder", action="store_true")
        s.set_defaults(run=run)
    args = p.parse_args()
    failed = False
    for result, bad in args.run(args):
        print(json.dumps(result), flush=True)
        failed |= bad
    sys.exit(failed)


if __name__ == "__main__":
    main()
