#!/usr/bin/env python3
"""make_sdpa_vectors.py [OUT.npz]: what PyTorch's scaled_dot_product_attention gives on the CPU for the calls of
bindings/python/tests/sdpa_cases.py. Needs torch and numpy. Default: sdpa_torch.npz beside the cases.

names, counts: of each case, how many numbers its result has, -1 where torch raised; float32 and float64: the results one
after another, those of float64 calls in the latter.
"""
import io
import pathlib
import sys
import zipfile

import numpy as np
import torch

TESTS = pathlib.Path(__file__).resolve().parent.parent / "bindings/python/tests"
sys.path.insert(0, str(TESTS))
import sdpa_cases  # noqa: E402


def result(case):
    dtype = getattr(torch, case.dtype)
    *arrays, mask = case.numbers()
    # from_numpy keeps the strides; a change of type keeps them for what is dense.
    tensors = [torch.from_numpy(sdpa_cases.arranged(x, case.layout)).to(dtype) for x in arrays]
    options = dict(case.options)
    if mask is not None:
        options["attn_mask"] = torch.from_numpy(sdpa_cases.arranged(mask, case.layout)).to(getattr(torch, case.mask[2]))
    try:
        out = torch.nn.functional.scaled_dot_product_attention(*tensors, **options)
    except RuntimeError:
        return None
    return out.to(torch.float64 if dtype == torch.float64 else torch.float32).numpy()


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else TESTS / "sdpa_torch.npz"
    cases = list(sdpa_cases.cases())
    results = [result(case) for case in cases]
    arrays = {
        "torch": np.array(torch.__version__.split("+")[0]),
        "names": np.array([case.name for case in cases]),
        "counts": np.array([-1 if x is None else x.size for x in results], np.int32),
    }
    for dtype in (np.float32, np.float64):
        arrays[dtype.__name__] = np.concatenate([x.ravel() for x in results if x is not None and x.dtype == dtype])
    with zipfile.ZipFile(out, "w") as archive:  # as numpy.savez_compressed, but the same bytes every time
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), data.getvalue(),
                             zipfile.ZIP_DEFLATED)
    print(f"{out.name}: {len(cases)} cases, torch {torch.__version__}")


if __name__ == "__main__":
    main()
