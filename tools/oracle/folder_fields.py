#!/usr/bin/env python3
"""Writes engine/convert/testdata/folder_fields.jsonl: JSON files as transformers writes them, one a line.

    pip install torch transformers tokenizers
    python3 tools/oracle/folder_fields.py > engine/convert/testdata/folder_fields.jsonl

Every configuration class that rowmax converts, with each kind of RoPE scaling; generation_config.json with every field; what
save_pretrained of each tokenizer class leaves (vocabularies and merges cut off).
"""
import json
import os
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
TESTDATA = os.path.join(HERE, "../../engine/convert/testdata")
ROPE = {
    "linear": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32.0, "beta_slow": 1.0,
             "attention_factor": 1.0},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
}
LONG_ROPE = {"long_factor": [1.0, 30.0], "short_factor": [1.0, 3.0], "original_max_position_embeddings": 64,
             "attention_factor": 1.5}


# Of those whose fields count for them alone.
CLASSES = {"SmolLM3Config": "SmolLM3ForCausalLM", "GraniteConfig": "GraniteForCausalLM",
           "Ministral3Config": "Ministral3ForCausalLM", "HunYuanDenseV1Config": "HunYuanDenseV1ForCausalLM",
           "Lfm2Config": "Lfm2ForCausalLM", "Lfm2MoeConfig": "Lfm2MoeForCausalLM"}


def line(name, origin, value):
    print(json.dumps({"file": name, "of": origin, "json": value}, default=str))


def main():
    print(json.dumps({"source": f"transformers {transformers.__version__}, tools/oracle/folder_fields.py"}))
    for name in ("LlamaConfig", "MistralConfig", "Qwen2Config", "Qwen3Config", "Gemma2Config", "Gemma3TextConfig", "BitNetConfig", "Phi3Config",
                 "Qwen3MoeConfig", "SmolLM3Config", "GraniteConfig", "Ministral3Config", "HunYuanDenseV1Config", "Olmo2Config", "Lfm2Config", "Lfm2MoeConfig", "Qwen3_5Config", "Qwen3_5TextConfig", "Qwen3_5MoeConfig", "Qwen3_5MoeTextConfig"):
        make = getattr(transformers, name)
        fields = make().to_dict()
        if name in CLASSES:
            fields["architectures"] = [CLASSES[name]]
        line("config.json", name, fields)
        if name == "Phi3Config":  # has no other scaling
            config = make(rope_parameters=dict(LONG_ROPE, rope_type="longrope", rope_theta=10000.0), num_attention_heads=768)
            line("config.json", "Phi3Config longrope", {"rope_parameters": config.to_dict()["rope_parameters"]})
            continue
        for kind, values in ROPE.items():
            if name in ("Gemma3TextConfig", "Qwen3_5Config", "Qwen3_5MoeConfig"):
                continue
            if name == "Ministral3Config" and kind != "yarn":
                continue
            config = make(rope_parameters=dict(values, rope_type=kind, rope_theta=10000.0))
            line("config.json", f"{name} {kind}", {"rope_parameters": config.to_dict()["rope_parameters"]})
    generation = transformers.GenerationConfig()
    line("generation_config.json", "GenerationConfig", generation.to_dict())
    line("generation_config.json", "GenerationConfig, with usual values", transformers.GenerationConfig(
        do_sample=True, temperature=0.7, top_k=20, top_p=0.8, repetition_penalty=1.05, max_length=64, bos_token_id=1,
        eos_token_id=[1, 2], pad_token_id=0).to_dict())
    path = os.path.join(TESTDATA, "tokenizer.json")
    tokenizers = [transformers.PreTrainedTokenizerFast(
        tokenizer_file=path, bos_token="<|endoftext|>", eos_token="<|im_end|>", unk_token="<|endoftext|>",
        pad_token="<|im_end|>", additional_special_tokens=["<|im_start|>"], add_prefix_space=False, padding_side="left")]
    tokenizers += [getattr(transformers, name)() for name in ("LlamaTokenizer", "Qwen2Tokenizer", "GemmaTokenizer", "GPT2Tokenizer")]
    for tokenizer in tokenizers:
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)
            for name in sorted(os.listdir(folder)):
                with open(os.path.join(folder, name)) as file:
                    value = json.load(file)
                if name == "tokenizer.json":
                    value["model"]["vocab"] = {}
                    value["model"]["merges"] = []
                line(name, type(tokenizer).__name__, value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
