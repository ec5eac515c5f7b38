"""PyTorch on the CPU with float masks: the bias where visible, -inf elsewhere."""
import torch

import torch_sdpa

NAME = f"PyTorch {torch.__version__.split('+')[0]}, scaled_dot_product_attention, -inf float mask"


def attention(case):
    return torch_sdpa.call(case, case.additive())
