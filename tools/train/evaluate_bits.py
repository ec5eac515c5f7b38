"""Bits per byte of stories that training never saw."""

import math

import torch


@torch.no_grad()
def bits_per_byte(model, batches, mode):
    """batches: (tokens, targets, bytes of the target text)."""
    model.set_mode(mode)
    nats = sum(model.loss(tokens, targets).item() for tokens, targets, _ in batches)
    return nats / math.log(2) / sum(b[2] for b in batches)
