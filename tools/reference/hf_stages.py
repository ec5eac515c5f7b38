"""Which module of a transformers model gives which stage. A record is (path below the model, "in" or "out", values): what
hooks see, and what transformers' own debugger writes down."""
import re

import reference_file

# Of a layer.
OUTPUTS = {"input_layernorm": "attn_norm", "self_attn.q_proj": "q_raw", "self_attn.k_proj": "k_raw",
           "self_attn.v_proj": "v", "self_attn.o_proj": "mixer_out", "mlp.gate_proj": "gate", "mlp.up_proj": "up",
           "mlp.down_proj": "block_out"}
INPUTS = {"self_attn.o_proj": "attn_out", "mlp.down_proj": "act"}
for shared in ("mlp.shared_expert", "mlp.shared_experts"):  # qwen, deepseek
    OUTPUTS |= {f"{shared}.gate_proj": "shared.gate", f"{shared}.up_proj": "shared.up"}
    INPUTS[f"{shared}.down_proj"] = "shared.act"
LAYER = re.compile(r"(?:^|.*\.)layers\.(\d+)(?:\.(.*))?$")
# Converters reorder the rows of q and k for these, as their GGUF architectures have adjacent pairs.
ADJACENT = {"granite", "llama", "ministral3", "mistral", "smollm3"}


class Stages:
    def __init__(self, reference, config):
        self.reference, self.config = reference, config
        self.kind = config.get("model_type", "")
        heads = config["num_attention_heads"]
        self.head_dim = config.get("head_dim") or config["hidden_size"] // heads
        self.n_layer = config["num_hidden_layers"]
        self.ffn_norm = "pre_feedforward_layernorm" if self.kind.startswith("gemma") else "post_attention_layernorm"
        if self.kind == "olmo2":  # where that is the norm of what attention gives
            self.ffn_norm = None

    def add(self, stage, layer, values):
        if stage in ("q_raw", "k_raw", "q", "k") and self.kind in ADJACENT:
            values = reference_file.adjacent_pairs(values, len(self.reference.tokens), self.head_dim)
        self.reference.add(stage, layer, values)

    def record(self, path, side, values):
        """values: anything that an array of floats can be made of, a row a token."""
        if path.endswith("lm_head") and side == "out":
            # What comes behind it.
            if not self.config.get("final_logit_softcapping") and self.config.get("logits_scaling", 1) == 1:
                self.add("logits", None, values)
            return
        found = LAYER.match(path)
        if not found:
            if re.search(r"(^|\.)norm$", path):
                self.add(*(("output_norm", None) if side == "out" else ("residual", self.n_layer - 1)), values)
            return
        layer, part = int(found.group(1)), found.group(2)
        if part is None:
            if side == "in":  # what a layer gets is what the one before gave
                self.add(*(("embedding", None) if layer == 0 else ("residual", layer - 1)), values)
            return
        stage = INPUTS.get(part) if side == "in" else "ffn_norm" if part == self.ffn_norm else OUTPUTS.get(part)
        if stage:
            self.add(stage, layer, values)
