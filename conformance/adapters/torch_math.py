"""PyTorch on the CPU, math backend: matrix products and a softmax, no fused kernel."""
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import torch_sdpa

NAME = f"PyTorch {torch.__version__.split('+')[0]}, scaled_dot_product_attention, math backend, boolean mask"


def attention(case):
    with sdpa_kernel(SDPBackend.MATH):
        return torch_sdpa.attention(case)
