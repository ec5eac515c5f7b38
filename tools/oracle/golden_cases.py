"""What make_goldens.py makes: the facts of each tiny model, by the name of its file in tests/golden."""

# The sizes are odd on purpose: widths that no vector length divides, heads whose size is not width / heads.
CASES = {
    "llama3rope": dict(arch="llama", seed=11, n_embd=48, n_layer=2, n_head=3, n_kv_head=1, head_dim=16, n_ff=56,
                       eps=1e-5, base=100.0, llama3=dict(factor=8.0, low=1.0, high=4.0, original=64)),
    "llama_bias": dict(arch="llama", seed=12, n_embd=40, n_layer=2, n_head=4, n_kv_head=2, head_dim=10, n_ff=72,
                       eps=1e-5, base=10000.0, bias="qkvo", tied=True),
    "qwen2": dict(arch="qwen2", seed=13, n_embd=48, n_layer=2, n_head=4, n_kv_head=2, head_dim=12, n_ff=72, eps=1e-6,
                  base=1000000.0, bias="qkv", tied=True),
    "qwen3": dict(arch="qwen3", seed=14, n_embd=40, n_layer=2, n_head=3, n_kv_head=1, head_dim=32, n_ff=72, eps=1e-6,
                  base=1000000.0, qk_norm=True, tied=True),
    "gemma2": dict(arch="gemma2", seed=15, n_embd=40, n_layer=3, n_head=4, n_kv_head=2, head_dim=16, n_ff=56, eps=1e-6,
                   base=10000.0, window=24, attn_softcap=8.0, final_softcap=10.0, tied=True),
    "gemma3": dict(arch="gemma3", seed=16, n_embd=32, n_layer=7, n_head=2, n_kv_head=1, head_dim=24, n_ff=40, eps=1e-6,
                   base=1000000.0, window=24, qk_norm=True, linear=8.0, tied=True),
    "qwen3_yarn": dict(arch="qwen3", seed=17, n_embd=40, n_layer=2, n_head=3, n_kv_head=1, head_dim=32, n_ff=72,
                       eps=1e-6, base=10000.0, qk_norm=True, tied=True, yarn=dict(factor=4.0, original=64)),
    "bitnet": dict(arch="bitnet-b1.58", seed=18, n_embd=48, n_layer=3, n_head=4, n_kv_head=2, head_dim=12, n_ff=72,
                   eps=1e-5, base=500000.0, tied=True),
    # Fused projections, three quarters of a head turned. Sequences of 160 tokens: past the original context in the
    # first, within it in the second (the short divisors), which also has a window.
    "phi3": dict(arch="phi3", seed=22, n_embd=48, n_layer=3, n_head=3, n_kv_head=1, head_dim=16, n_ff=56, eps=1e-5,
                 base=10000.0, tied=True, rotary=0.75, longrope=dict(original=64)),
    "phi3_short": dict(arch="phi3", seed=23, n_embd=48, n_layer=2, n_head=4, n_kv_head=2, head_dim=12, n_ff=40, eps=1e-5,
                       base=10000.0, window=24, rotary=1.0, longrope=dict(original=256)),
    # BitNet's embedding models: a norm in front of each product, which gemma does not store less one. Norms in F16, as
    # their converter writes them. NAME.states.golden: the final norm's output in place of logits.
    "bitnet_embed_qwen3": dict(arch="qwen3", seed=24, n_embd=40, n_layer=2, n_head=3, n_kv_head=1, head_dim=32, n_ff=72,
                               eps=1e-6, base=1000000.0, qk_norm=True, tied=True, product_norms=True, pooling=3),
    "bitnet_embed_gemma3": dict(arch="gemma3", seed=25, n_embd=32, n_layer=7, n_head=2, n_kv_head=1, head_dim=24, n_ff=40,
                                eps=1e-6, base=10000.0, window=24, qk_norm=True, linear=1.0, tied=True,
                                product_norms=True, pooling=1),
    # Experts: E of them, `used` a token, width `ff`. Delta rule: n_k and n_v heads of sizes d_k and d_v.
    "qwen3moe": dict(arch="qwen3moe", seed=190, n_embd=40, n_layer=2, n_head=3, n_kv_head=1, head_dim=32, n_ff=56,
                     eps=1e-6, base=1000000.0, qk_norm=True, tied=True, experts=dict(E=5, used=2, ff=24)),
    "qwen35": dict(arch="qwen35", seed=109, n_embd=24, n_layer=8, n_head=3, n_kv_head=1, head_dim=24, n_ff=28, eps=1e-6,
                   base=10000.0, delta=dict(n_k=2, n_v=4, d_k=10, d_v=10, kernel=4), rotary=0.25, sections=[1, 1, 1]),
    # Layers by the list, which the interval (4) contradicts; three value heads a key head: there and back differ.
    "qwen35_tied": dict(arch="qwen35", seed=68, n_embd=28, n_layer=5, n_head=4, n_kv_head=2, head_dim=16, n_ff=36,
                        eps=1e-6, base=1000000.0, delta=dict(n_k=2, n_v=6, d_k=8, d_v=8, kernel=4), rotary=0.25,
                        sections=[1, 1, 0], layers="rarra", tied=True),
    # As many key heads as value heads; a block that predicts a further token, which the logits do not use.
    "qwen35_equal": dict(arch="qwen35", seed=38, n_embd=28, n_layer=4, n_head=2, n_kv_head=1, head_dim=32, n_ff=36,
                         eps=1e-6, base=10000.0, delta=dict(n_k=3, n_v=3, d_k=8, d_v=8, kernel=4), rotary=0.25,
                         sections=[2, 1, 1], tied=True, mtp=True),
    # Values of another size than keys, another kernel, the layers by an interval of 2.
    "qwen35_uneven": dict(arch="qwen35", seed=45, n_embd=28, n_layer=4, n_head=2, n_kv_head=2, head_dim=20, n_ff=36,
                          eps=1e-6, base=10000.0, delta=dict(n_k=2, n_v=6, d_k=12, d_v=6, kernel=3), rotary=0.4,
                          sections=[2, 1, 1], interval=2, interval_only=True,
                          tied=True),
    # Matrices turned (prism.hadamard): ssm_out keeps its columns in the order of Hugging Face.
    "qwen35_turned": dict(arch="qwen35", seed=26, n_embd=32, n_layer=3, n_head=2, n_kv_head=1, head_dim=24, n_ff=64,
                          eps=1e-6, base=10000.0, delta=dict(n_k=2, n_v=6, d_k=8, d_v=8, kernel=4), rotary=0.25,
                          sections=[1, 1, 1], interval=2, hadamard=16),
    "qwen35moe": dict(arch="qwen35moe", seed=63, n_embd=24, n_layer=4, n_head=3, n_kv_head=1, head_dim=24, eps=1e-6,
                      base=10000.0, delta=dict(n_k=2, n_v=4, d_k=8, d_v=8, kernel=4), rotary=0.25, sections=[1, 1, 1],
                      experts=dict(E=5, used=2, ff=16, shared=20), tied=True),
    # NoPE in layers 3 and 7, as files without a list have it; YaRN past the original context.
    "smollm3": dict(arch="smollm3", seed=201, n_embd=48, n_layer=8, n_head=4, n_kv_head=2, head_dim=12, n_ff=56, eps=1e-6,
                    base=2000000.0, tied=True, yarn=dict(factor=4.0, original=64)),
    # Which layers turn is listed: neither every fourth nor the last.
    "smollm3_listed": dict(arch="smollm3", seed=202, n_embd=40, n_layer=5, n_head=4, n_kv_head=1, head_dim=10, n_ff=72,
                           eps=1e-5, base=10000.0, bias="qkvo", tied=True, turns=[0, 1, 0, 0, 1]),
    "granite": dict(arch="granite", seed=203, n_embd=48, n_layer=3, n_head=4, n_kv_head=2, head_dim=12, n_ff=56, eps=1e-5,
                    base=10000.0, bias="qkvo", tied=True,
                    scales=dict(attention=0.125, embedding=1.75, residual=0.22, logits=6.0)),
    # Past the original context of 48 three times, so with three temperatures; the magnitude is not YaRN's own.
    "mistral3": dict(arch="mistral3", seed=204, n_embd=40, n_layer=3, n_head=4, n_kv_head=2, head_dim=16, n_ff=56, eps=1e-5,
                     base=10000.0, tied=False,
                     yarn=dict(factor=16.0, original=48, beta_fast=16.0, beta_slow=2.0, all_dim=0.5, temperature=0.75)),
    # transformers has no MiniCPM; its Granite has all that it has, and 1/sqrt(head_dim) for the scores.
    "minicpm": dict(arch="minicpm", seed=205, n_embd=40, n_layer=3, n_head=4, n_kv_head=2, head_dim=10, n_ff=56, eps=1e-5,
                    base=10000.0, tied=True,
                    scales=dict(attention=10**-0.5, embedding=2.5, residual=1.4 / 3**0.5, logits=2.5)),
    # LongRoPE, past the original context.
    "minicpm_long": dict(arch="minicpm", seed=209, n_embd=48, n_layer=2, n_head=4, n_kv_head=2, head_dim=12, n_ff=56, eps=1e-5,
                         base=10000.0, tied=True, rotary=1.0, longrope=dict(original=64),
                         scales=dict(attention=12**-0.5, embedding=2.5, residual=1.4 / 2**0.5, logits=3.0)),
    # The scales that files without them mean.
    "minicpm_old": dict(arch="minicpm", seed=206, n_embd=64, n_layer=2, n_head=4, n_kv_head=4, head_dim=16, n_ff=56, eps=1e-5,
                        base=10000.0, tied=False, scales_written=False,
                        scales=dict(attention=0.25, embedding=12.0, residual=1.4 / 2**0.5, logits=0.25)),
    "hunyuan": dict(arch="hunyuan-dense", seed=207, n_embd=40, n_layer=3, n_head=3, n_kv_head=1, head_dim=16, n_ff=56, eps=1e-5,
                    base=100.0, alpha=7.0, tied=True),
    "olmo2": dict(arch="olmo2", seed=208, n_embd=48, n_layer=3, n_head=4, n_kv_head=2, head_dim=12, n_ff=56, eps=1e-5,
                  base=500000.0, tied=False),
    # As E2B and E4B: keys and values of layers 1 and 2 again in the last three, whose FFNs are twice as wide; 16 numbers for
    # each layer; heads of 16 and 24, of which a quarter turns. As 12B and 31B: V is K in layers 2 and 4, with one head.
    "gemma4": dict(arch="gemma4", seed=402, n_embd=32, n_layer=6, n_head=4, n_kv_head=2, head_dim=16, global_dim=24, n_ff=36,
                   eps=1e-6, base=1000000.0, local_base=10000.0, window=24, local="110110", shared=3, wide=True, side=16,
                   final_softcap=20.0, rotary=0.25, tied=True),
    "gemma4_vk": dict(arch="gemma4", seed=402, n_embd=40, n_layer=5, n_head=4, n_kv_head=2, head_dim=12, global_dim=32, n_ff=52,
                      eps=1e-6, base=1000000.0, local_base=10000.0, window=24, local="11010", global_kv=1, rotary=0.5,
                      tied=True),
    # Short convolutions (c) between layers that attend (a).
    "lfm2": dict(arch="lfm2", seed=501, n_embd=40, n_layer=5, n_head=4, n_kv_head=2, head_dim=10, n_ff=56, eps=1e-5,
                 base=10000.0, tied=True, layers="ccaca", taps=3),
    "lfm2_taps": dict(arch="lfm2", seed=502, n_embd=48, n_layer=4, n_head=4, n_kv_head=1, head_dim=12, n_ff=40, eps=1e-5,
                      base=10000.0, tied=False, layers="acca", taps=5, yarn=dict(factor=4.0, original=64)),
    "lfm2moe": dict(arch="lfm2moe", seed=503, n_embd=32, n_layer=5, n_head=4, n_kv_head=2, head_dim=8, n_ff=40, eps=1e-5,
                    base=10000.0, tied=True, layers="caccc", taps=3, dense=2, experts=dict(E=6, used=2, ff=20)),
    # Weights of experts that are not made to sum to one, and scaled: what llama.cpp's files cannot say.
    "lfm2moe_scaled": dict(arch="lfm2moe", seed=504, n_embd=32, n_layer=4, n_head=2, n_kv_head=1, head_dim=16, n_ff=40,
                           eps=1e-5, base=10000.0, tied=True, layers="cacc", taps=4, dense=0,
                           experts=dict(E=5, used=3, ff=16, normed=False, scale=1.75)),
    # As 26B-A4B: experts beside the FFN in every layer, and V is K in layers 1 and 3, with one head.
    "gemma4_moe": dict(arch="gemma4", seed=501, n_embd=40, n_layer=4, n_head=4, n_kv_head=2, head_dim=16, global_dim=24,
                       n_ff=52, eps=1e-6, base=1000000.0, local_base=10000.0, window=24, local="1010", global_kv=1,
                       final_softcap=20.0, rotary=0.25, tied=True, experts=dict(E=7, used=3, ff=20)),
    # Biases everywhere; a window of 20 on layers 0 and 2; YaRN's ramp from 0.6 to 3.4 pairs of 12.
    "gptoss": dict(arch="gpt-oss", seed=303, n_embd=32, n_layer=3, n_head=4, n_kv_head=2, head_dim=24, n_ff=20, eps=1e-5,
                   base=10000.0, window=20, bias="qkvo", yarn=dict(factor=8.0, original=64, beta_fast=6.5, beta_slow=0.75),
                   experts=dict(E=5, used=2, ff=20)),
    # Attention over latents. Experts: `best` of `groups` groups can be chosen. As files of DeepSeek V2 were first written: one
    # matrix for k and v of all heads, keys of the heads alone; q is one product.
    "deepseek2_v2": dict(arch="deepseek2", cls="DeepseekV2", seed=604, n_embd=36, n_layer=3, n_head=3, n_kv_head=3, head_dim=6,
                         nope=10, v_dim=14, rank=12, n_ff=40, eps=1e-6, base=10000.0, together=True,
                         experts=dict(E=8, used=3, ff=12, shared=2, dense=1, groups=4, best=2, scale=1.5)),
    "deepseek2_v3": dict(arch="deepseek2", cls="DeepseekV3", seed=603, n_embd=40, n_layer=3, n_head=4, n_kv_head=4, head_dim=8,
                         nope=12, v_dim=10, rank=20, q_rank=18, n_ff=40, eps=1e-6, base=10000.0,
                         yarn=dict(factor=8.0, original=48, beta_fast=4.0, beta_slow=1.0, mscale=0.8),
                         experts=dict(E=8, used=2, ff=12, shared=1, dense=1, groups=4, best=2, scale=2.5)),
    # A block that predicts a further token; files without a word of the sigmoid, which follows from the bias.
    "glm47_flash": dict(arch="deepseek2", cls="Glm4MoeLite", seed=604, n_embd=44, n_layer=3, n_head=5, n_kv_head=5, head_dim=10,
                        nope=18, v_dim=24, rank=28, q_rank=22, n_ff=52, eps=1e-6, base=1000000.0, mtp=True, silent=True,
                        experts=dict(E=6, used=2, ff=16, shared=1, dense=1, groups=1, best=1, scale=1.8)),
}
