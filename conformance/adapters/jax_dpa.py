"""JAX on the CPU: jax.nn.dot_product_attention with is_causal, a window and lengths where they say it all, else a mask."""
import jax
import jax.numpy as jnp
import numpy as np

from unsupported import Unsupported

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_default_matmul_precision", "highest")
NAME = f"JAX {jax.__version__}, jax.nn.dot_product_attention"


def attention(case):
    if case.sinks is not None:
        raise Unsupported("sinks")
    if case.softcap:
        raise Unsupported("soft cap")
    m = case.mask
    q, k, v = (jnp.asarray(x.transpose(0, 2, 1, 3)) for x in (case.q, case.k, case.v))
    if case.v.shape[-1] != case.k.shape[-1]:
        raise Unsupported("values of another size than keys")
    keywords = {"scale": case.scale}
    others = (m.positions, m.q_segments, m.chunk, m.prefix, m.keep_first, m.bitmap, m.blocks, m.tree, m.bias, m.alibi, m.relative)
    native = all(x is None for x in others) and not m.q_pos.any() and (m.valid is None or not m.valid[:, 0].any())
    if native:
        keywords["is_causal"] = bool(m.causal)
        if m.left is not None and (m.right is not None or m.causal):
            keywords["local_window_size"] = (m.left, 0 if m.causal else m.right)
            native = m.left >= 0 and keywords["local_window_size"][1] >= 0
        elif m.left is not None or m.right is not None:
            native = False
        if m.valid is not None:
            keywords["key_value_seq_lengths"] = jnp.asarray(m.valid[:, 1].astype(np.int32))
    if not native:
        keywords = {"scale": case.scale, "mask": jnp.asarray(case.keep())}
        if case.value_bias() is not None:
            keywords["bias"] = jnp.asarray(case.value_bias())
    return {"out": np.asarray(jax.nn.dot_product_attention(q, k, v, **keywords)).transpose(0, 2, 1, 3)}
