// The kernels of AVX-VNNI with vpdpbusd as Intel's manual defines it, in AVX2: so that a machine without the instruction
// proves their bits (matmul_test.cc).
#include <immintrin.h>

namespace {

// Four products of an unsigned and a signed byte added to each lane of 32 bits, modulo 2^32 (Intel SDM, VPDPBUSD). None of
// its steps can saturate: products of a byte each fit 16 bits, four of them 32.
inline __m256i modelled_dpbusd(__m256i sum, __m256i unsigned_bytes, __m256i signed_bytes) noexcept {
  const __m256i even_u = _mm256_and_si256(unsigned_bytes, _mm256_set1_epi16(0xFF));
  const __m256i odd_u = _mm256_srli_epi16(unsigned_bytes, 8);
  const __m256i even_s = _mm256_srai_epi16(_mm256_slli_epi16(signed_bytes, 8), 8);
  const __m256i odd_s = _mm256_srai_epi16(signed_bytes, 8);
  const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(even_u, even_s), _mm256_madd_epi16(odd_u, odd_s));
  return _mm256_add_epi32(sum, products);
}

}  // namespace

#ifndef __AVXVNNI__
#define __AVXVNNI__ 1
#endif
#define _mm256_dpbusd_avx_epi32 modelled_dpbusd

#include "engine/ops/matmul/dot_avx2.h"

#include "engine/ops/matmul/all_kernels.h"

namespace rowmax::engine::panel {

const Kernels& kernels_avxvnni_model() noexcept { return kAllKernels; }

}  // namespace rowmax::engine::panel
