"""PyTorch on the CPU with float masks that hold finfo.min where a pair is hidden, as many model codes do."""
import numpy as np
import torch

import torch_sdpa

NAME = f"PyTorch {torch.__version__.split('+')[0]}, scaled_dot_product_attention, finfo.min float mask"


def attention(case):
    return torch_sdpa.call(case, case.additive(masked=np.finfo(np.float32).min))
