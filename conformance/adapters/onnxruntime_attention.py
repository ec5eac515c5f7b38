"""ONNX Runtime on the CPU: the standard operator Attention of opset 24, causal by attribute where the mask is nothing else."""
from functools import lru_cache

import onnxruntime
from onnx import TensorProto, helper

from unsupported import Unsupported

NAME = f"ONNX Runtime {onnxruntime.__version__}, Attention of opset 24"


@lru_cache(maxsize=None)
def session(scale, softcap, causal, mask_type):
    names, types = ["Q", "K", "V"], [TensorProto.FLOAT] * 3
    if mask_type:
        names, types = names + ["mask"], types + [mask_type]
    attributes = {"scale": scale, "is_causal": int(causal), **({"softcap": softcap} if softcap else {})}
    node = helper.make_node("Attention", names, ["out"], **attributes)
    values = [helper.make_tensor_value_info(n, t, [None] * 4) for n, t in zip(names, types)]
    graph = helper.make_graph([node], "attention", values, [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * 4)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def only_causal(case):
    m = case.mask
    others = (m.left, m.right, m.positions, m.valid, m.q_segments, m.chunk, m.prefix, m.bitmap, m.blocks, m.tree, m.bias, m.alibi, m.relative)
    return bool(m.causal) and not m.q_pos.any() and all(x is None for x in others)


def attention(case):
    if case.sinks is not None:
        raise Unsupported("sinks")
    inputs, mask_type = {"Q": case.q, "K": case.k, "V": case.v}, None
    if case.value_bias() is not None:
        inputs["mask"], mask_type = case.additive(), TensorProto.FLOAT
    elif case.has_mask() and not only_causal(case):
        inputs["mask"], mask_type = case.keep(), TensorProto.BOOL
    return {"out": session(case.scale, case.softcap, only_causal(case), mask_type).run(None, inputs)[0]}
