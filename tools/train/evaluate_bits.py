"""Bits per byte of stories that training never saw."""

import math

import torch


@torch.no_grad()
def bits_per_byte(model, batches, mode):
    """batches: (tokens, targets, bytes of the target text)."""
    model.set_mode(mode)
    nats = sum(model.loss(tokens, targets).item() for tokens, targets, _ in batches)
    return nats / math.log(2) / sum(b[2] for b in batches)


@torch.no_grad()
def recalled(model, batches, names, mode):
    """Where a name follows that the story has told before: how often the likeliest of all names is one of the told."""
    model.set_mode(mode)
    ids = torch.tensor(sorted(names))
    right = count = 0
    for tokens, targets, _ in batches:
        logits = model.hidden(tokens) @ model.token_embd[ids].t()
        likeliest = ids[logits.argmax(-1)].view(targets.shape)
        told = torch.cummax((tokens[:, :, None] == ids).int(), 1).values.bool()  # [rows, length, names]
        asked = (targets[:, :, None] == ids) & told
        guess = (likeliest[:, :, None] == ids) & told
        right += int((asked.any(-1) & guess.any(-1)).sum())
        count += int(asked.any(-1).sum())
    return right / max(1, count)
