"""What is broken on purpose, and which test must notice.

A mutation is a name, the tests expected to fail (a regular expression on Suite.Test), what it breaks in words, and edits:
(file, text as it stands there exactly once, text in its place).
"""
from dataclasses import dataclass

ATTEND = "attention/kernels/attend/"
KERNEL, FINISH, ENTRY = ATTEND + "attend_kernel.h", ATTEND + "finish.h", ATTEND + "entry.h"
WEIGHTS = ATTEND + "weights.h"
BLOCKS, TILES, MERGE = ATTEND + "blocks.h", ATTEND + "tiles.h", ATTEND + "merge.h"
ROWS, STREAM = "attention/kernels/rows.h", "attention/kernels/stream.h"
EXP = "attention/kernels/weight_exp.h"
PLAN, COMPILE, SCHEDULE = "attention/plan/plan.h", "attention/plan/compile.cc", "attention/schedule.cc"
FP_ENV = "base/fp_env.h"
OPS = "engine/model/cpu_ops"
MOE = "engine/model/blocks/moe_ffn/moe_ffn.cc"


@dataclass(frozen=True)
class Mutation:
    name: str
    caught_by: str
    what: str
    edits: tuple
    tree: str = "attention"  # or "engine": which sources are built, and which tests run


def one(name, caught_by, what, file, old, new):
    return Mutation(name, caught_by, what, ((file, old, new),))


def engine(name, caught_by, what, file, old, new):
    return Mutation(name, caught_by, what, ((file, old, new),), "engine")


MUTATIONS = [
    # Rows without keys, and what hides keys.
    one("empty_row_unguarded", r"G3\.", "a row without visible keys is divided like any other", FINISH,
        "const bool empty = (flags & kRowSeen) == 0;", "const bool empty = false;"),
    one("lse_of_empty_rows_is_zero", r"G3\.", "an empty row's lse says sum 1 instead of none", FINISH,
        "if (sum.empty) return sum.m;", "if (sum.empty) return 0.0f;"),
    one("finite_sentinel_1e9", r"G1\.|Guard\.NoMasked", "-1e9 in place of -inf", WEIGHTS,
        "const F32x16 minus_infinity = simd::splat(-kInfinity);", "const F32x16 minus_infinity = simd::splat(-1e9f);"),
    one("finite_sentinel_5e4", r"G1\.|Guard\.NoMasked", "-5e4 in place of -inf", WEIGHTS,
        "const F32x16 minus_infinity = simd::splat(-kInfinity);", "const F32x16 minus_infinity = simd::splat(-5e4f);"),
    one("mask_added_not_selected", r"G2b\.", "the mask is added to the score: NaN and +inf stay", WEIGHTS,
        "x = simd::select(visible, x, minus_infinity);",
        "x = simd::add(x, simd::select(visible, simd::splat(0.0f), minus_infinity));"),
    one("value_guard_dropped", r"G2b\.", "weight 0 times a hidden NaN in V", KERNEL,
        "if (masked && finite == 0) {", "if (masked && finite == 2) {"),
    one("base_unguarded", r"G1\.|Guard\.AWholeTile", "-inf - -inf where a whole tile overflowed", WEIGHTS,
        "return simd::select(simd::equal(m, simd::splat(-kInfinity)), simd::splat(0.0f), m);", "return m;"),
    one("minus_infinity_bias_visible", r"G4\.|Guard\.BiasMinus", "a bias of -inf does not hide its pair", KERNEL,
        "return word & ~hidden;", "return (void)hidden, word;"),
    one("negative_zero_kept", r"Guard\.AnUnderflowed", "skipped and masked tiles differ in the sign of a zero", FINISH,
        "return simd::canonical_nan(simd::add(x, simd::splat(0.0f)));", "return simd::canonical_nan(x);"),
    # Geometry of masks.
    one("window_left_by_one", r"G4\.|G15\.", "the window loses its oldest key", PLAN,
        "max_i64(first, p - s.left)", "max_i64(first, p - s.left + 1)"),
    one("window_right_by_one", r"G4\.|G15\.", "causal loses the own key", PLAN,
        "min_i64(last, p + s.right + 1)", "min_i64(last, p + s.right)"),
    one("future_by_one", r"G4\.|G15\.", "causal shows the next key", PLAN,
        "min_i64(last, p + s.right + 1)", "min_i64(last, p + s.right + 2)"),
    one("aligned_top_left", r"G6\.", "positions ignore the keys that came before", PLAN,
        "return s.positions != nullptr ? s.positions[i] : s.q_pos + i;",
        "return s.positions != nullptr ? s.positions[i] : i;"),
    one("anchor_at_zero", r"G5\.", "tiles start at key 0 instead of the first valid key", COMPILE,
        "p.anchor = q.anchor < 0 ? p.kv_begin : q.anchor;", "p.anchor = q.anchor < 0 ? 0 : q.anchor;"),
    one("documents_share_a_grid", r"G5\.", "a packed document keeps the sequence's grid", COMPILE,
        "if (q.anchor < 0) p->anchor = p->kv_begin;", ""),
    one("bitmap_bytes_swapped", r"G4\.", "bits of a mask in another order", PLAN,
        "return bits & bit_range(0, n_kv - begin);", "return __builtin_bswap64(bits) & bit_range(0, n_kv - begin);"),
    one("bitmap_row_by_one", r"G4\.", "words of the next query's mask row", PLAN,
        "bits.words + divided(i, bits.q_block, bits.q_shift) * bits.row_stride",
        "bits.words + divided(i + 1, bits.q_block, bits.q_shift) * bits.row_stride"),
    one("tile_taken_for_full", r"G4\.|G6\.", "a tile that one row sees whole counts as full for all", ROWS,
        "begin0_max <= begin && end0_min >= end", "begin0_max <= begin && end0_max >= end"),
    one("tile_taken_for_empty", r"G4\.|G6\.", "a tile with its first key alone visible is skipped", ROWS,
        "(begin0_min < end && end0_max > begin) || (begin1_min < end && end1_max > begin)",
        "(begin0_min < end && end0_max > begin + 1) || (begin1_min < end && end1_max > begin + 1)"),
    # Memory.
    one("one_key_past_the_end", r"G2a\.|Guard\.Nothing", "the last tile reads one key more than there is", TILES,
        "static_cast<int>(end - begin)};", "static_cast<int>(end - begin) + 1};"),
    one("bitmap_read_past_the_row", r"G2a\.", "the word after a bitmap row's last is read", PLAN,
        "if (shift != 0 && word + 1 < n_words)", "if (shift != 0 && word < n_words)"),
    one("page_table_by_one", r"G5\.", "the next page's keys", STREAM,
        "pages != nullptr ? pages[index] : index", "pages != nullptr ? pages[index + 1] : index"),
    one("stride_32_bits", r"G14\.|Guard\.Strides", "offsets of keys cut to 32 bits", STREAM,
        "if (page_size == 0) return j * strides->key_stride;",
        "if (page_size == 0) return static_cast<std::int32_t>(j * strides->key_stride);"),
    one("heads_interleaved", r"G7\.", "a query head reads another group's keys", ROWS,
        "return {query, block.kv_head * call.group + (row - query * call.group)};",
        "return {query, (row - query * call.group) * call.args->kv.n_kv_head + block.kv_head};"),
    # One answer, whoever computes it.
    Mutation("split_by_threads", r"G6\.", "splits are merged only where threads computed them apart", (
        (KERNEL, "bool started = false;", "bool started = block.partials == nullptr && split != block.split_begin;"),
        (KERNEL, "if (started || block.partials != nullptr) close_split(call, block, split, scratch);",
         "if (block.partials != nullptr || (started && split + 1 == block.split_end)) {\n"
         "      close_split(call, block, split, scratch);\n    }"))),
    one("splits_merged_backwards", r"G6\.", "stored splits are merged in descending order", ENTRY,
        "block.partials + (split * block.n_rows + r) * call.partial_stride;",
        "block.partials + ((n_splits - 1 - split) * block.n_rows + r) * call.partial_stride;"),
    one("last_split_lost", r"G8\.|G12\.", "a sequence's last, incomplete split is not scheduled", SCHEDULE,
        "*end = divide_up(last - s.anchor, kSplitKeys);", "*end = max_i64(1, (last - s.anchor) / kSplitKeys);"),
    one("product_not_fused", r"G12\.|Attend\.GoldenBits", "a rounding between product and sum", BLOCKS,
        "const F32x16 y = simd::splat(p[r * kKeyTile + key]);\n      ROWMAX_UNROLL\n"
        "      for (int j = 0; j < kVectors; ++j) acc[r][j] = simd::fma(y, x[j], acc[r][j]);",
        "const F32x16 y = simd::splat(p[r * kKeyTile + key]);\n      ROWMAX_UNROLL\n"
        "      for (int j = 0; j < kVectors; ++j) acc[r][j] = simd::add(simd::mul(y, x[j]), acc[r][j]);"),
    one("denormals_flushed", r"G1\.|G2a\.|Guard\.Rounding", "flush to zero left on while computing", FP_ENV,
        "kDefault = 0x1F80;", "kDefault = 0x9FC0;"),
    # Arithmetic.
    one("rescale_dropped", r"G8\.|G6\.|Masks/", "o keeps its old maximum when the maximum grows", BLOCKS,
        "acc[r][j] = simd::mul(simd::load(o + r * o_stride + d + 16 * j), a);",
        "acc[r][j] = simd::mul(simd::load(o + r * o_stride + d + 16 * j), simd::splat(alpha[r] > 0.0f ? 1.0f : 0.0f));"),
    one("merge_without_maximum", r"G8\.|G16\.|Merge\.|Masks/", "merging keeps the later maximum, not the larger", KERNEL,
        "const float m_new = m_total > m ? m_total : m;", "const float m_new = m;"),
    one("merge_order_reversed", r"G16\.|Merge\.", "parts are merged from the last to the first", MERGE,
        "const PartRow part = part_row(view, row, head);",
        "const PartRow part = part_row(args.parts[args.parts.size() - 1 -\n"
        "        static_cast<std::size_t>(&view - args.parts.data())], row, head);"),
    one("scale_twice", r"G17\.|Masks/", "the scale is applied twice", WEIGHTS,
        "const F32x16 scale = simd::splat(static_cast<float>(call.args->scale));",
        "const F32x16 scale = simd::splat(static_cast<float>(call.args->scale * call.args->scale));"),
    Mutation("soft_cap_after_mask", r"G17\.|G3\.|Guard\.", "the cap turns a hidden score into -cap", (
        (WEIGHTS, "x = simd::select(visible, x, minus_infinity);",
         "x = simd::select(visible, x, minus_infinity);\n      if (softcap > 0.0f) {\n"
         "        x = simd::mul(simd::splat(softcap), simd::tanh(simd::div(x, simd::splat(softcap))));\n      }"),
        (WEIGHTS, "x = simd::mul(simd::splat(softcap), simd::tanh(simd::div(x, simd::splat(softcap))));\n      }\n"
                 "      if (bias", "}\n      if (bias"))),
    one("soft_cap_after_bias", r"G17\.|Guard\.BiasMinus|G12\.", "the bias ends up inside the cap", WEIGHTS,
        "if (bias != nullptr) x = simd::add(x, simd::load(bias + c));",
        "if (bias != nullptr) x = simd::add(x, simd::load(bias + c));\n"
        "      if (bias != nullptr && softcap > 0.0f) x = simd::min(x, simd::splat(softcap));"),
    one("sink_skipped", r"G3\.|Sinks\.", "the sink takes no share", ROWS,
        "return args.sinks != nullptr ? args.sinks[head] : -kInfinity;", "return (void)args, (void)head, -kInfinity;"),
    one("exp_above_one", r"G11\.", "e^0 is the next number above 1", EXP,
        "p = add(p, splat(1.0f));", "p = add(p, splat(0x1.000002p0f));"),
    one("exp_less_exact", r"G11\.", "a coefficient of the polynomial in its last bits", EXP,
        "splat(0x1.55549p-3f)", "splat(0x1.55569p-3f)"),
    one("exp_scalar_tail", r"G11\.", "the last lane of sixteen takes the library's exp", EXP,
        "return select(less(x, splat(kWeightFloor)), splat(0.0f), mul_power_of_2(p, n, shifted));",
        "float in[16], out[16];\n  store(in, x);\n"
        "  store(out, select(less(x, splat(kWeightFloor)), splat(0.0f), mul_power_of_2(p, n, shifted)));\n"
        "  if (in[15] >= kWeightFloor) out[15] = __builtin_expf(in[15]);\n  return load(out);"),
    # Trouble that must not be silent.
    one("nan_folded_to_zero", r"G13\.", "a NaN result leaves as 0", FINISH,
        "return simd::canonical_nan(simd::add(x, simd::splat(0.0f)));",
        "return simd::select(simd::is_nan(x), simd::splat(0.0f), simd::add(x, simd::splat(0.0f)));"),
    one("nan_payload_leaks", r"G13\.|Guard\.NaN", "a NaN keeps the bits it came with", FINISH,
        "return simd::canonical_nan(simd::add(x, simd::splat(0.0f)));", "return simd::add(x, simd::splat(0.0f));"),
    one("nan_not_reported", r"G13\.", "a NaN row says that all is well", FINISH,
        "if (lanes.nan != 0 || sum.l != sum.l) return RowStatus::kNonFinite;", ""),
    one("overflow_not_reported", r"G1\.", "an infinite score says that all is well", FINISH,
        "if (sum.overflow) return RowStatus::kOverflow;", ""),
    # The engine's blocks.
    engine("rope_of_the_other_pairing", r"Blocks/Attention|Forward", "RoPE turns i with 2i + 1 where it is i + n/2",
           OPS + "_attention.cc", "table->pairing() == RopePairing::kAdjacent ?", "table->pairing() == RopePairing::kHalves ?"),
    engine("norm_behind_rope", r"Blocks/Attention|Forward", "q and k are normed behind RoPE where it is before",
           OPS + "_attention.cc", "if (normed && !spec.norm_after_rope) norm_runs(first);", "if (normed && !spec.norm_after_rope && table == nullptr) norm_runs(first);"),
    engine("v_norm_left_out", r"Blocks/Attention.*v_norm", "V is used as it is", "engine/model/blocks/attention/attention.cc",
           "if (a.v_norm) ops.norm_plain(layer, b.v, a.head_dim);", ""),
    engine("sinks_left_out", r"Blocks/Attention.*sinks", "the heads' sinks take no share",
           OPS + "_attention.cc", "if (!sinks.empty()) args.sinks = sinks.data() + first;", "(void)sinks;"),
    engine("temperature_from_zero", r"Blocks/Attention.*temperature", "the first step of the temperature is ln 2",
           OPS + "_attention.cc", "base::log_f64(1.0 + steps)", "base::log_f64(2.0 + steps)"),
    engine("gate_before_query", r"Blocks/Attention.*output_gate", "of each head's pair the gate is taken for the query",
           OPS + "_attention.cc", "std::memcpy(data(q, row) + at, data(both, row) + 2 * at, n_bytes);",
           "std::memcpy(data(q, row) + at, data(both, row) + 2 * at + run, n_bytes);"),
    engine("silu_behind_conv_missing", r"Blocks/DeltaNet", "the convolution's outputs are used as they are",
           "engine/ops/delta/delta_kernels_body.h", "kSilu ? simd::silu(a) : a",
           "a"),
    engine("conv_state_lost", r"Blocks/DeltaNet",
           "the next chunk's convolution begins from nothing", "engine/ops/delta/delta_kernels_body.h",
           "ROWMAX_UNROLL for (int j = 0; j < kOld; ++j) store_lanes(state + j * in.n_channel + c, inputs[j], lanes);",
           "ROWMAX_UNROLL for (int j = 0; j < kOld; ++j) store_lanes(state + j * in.n_channel + c, simd::splat(0.0f), lanes);"),
    engine("value_heads_grouped", r"Blocks/DeltaNet", "value head j reads key head j / n in place of j mod n",
           OPS + "_delta.cc", "key_head = spec.key_head(h);", "key_head = h / (spec.n_value_head / spec.n_key_head);"),
    engine("delta_gate_by_sigmoid", r"Blocks/DeltaNet", "the output's gate is a sigmoid, not SiLU",
           OPS + "_delta.cc", "spec.gate_sigmoid ? kernels_->gate_sigmoid : kernels_->gate_silu", "kernels_->gate_sigmoid"),
    engine("short_conv_state_lost", r"Blocks/ShortConv|Models/Recurrent", "the next chunk's short convolution begins from nothing",
           "engine/ops/delta/delta_kernels_body.h",
           "ROWMAX_UNROLL for (int j = 0; j < kOld; ++j) store_lanes(state + j * in.n_channel + c, inputs[j], lanes);",
           "ROWMAX_UNROLL for (int j = 0; j < kOld; ++j) store_lanes(state + j * in.n_channel + c, kSilu ? inputs[j] : simd::splat(0.0f), lanes);"),
    engine("short_conv_gate_order", r"Blocks/ShortConv", "the product's first run multiplies the convolution's outputs, too",
           OPS + "_short_conv.cc", "gate = spec.gate_run * n;", "gate = (spec.gate_run + 2) % 3 * n;"),
    engine("short_conv_input_gate_missing", r"Blocks/ShortConv", "x is convolved without b",
           OPS + "_short_conv.cc", "kernels_->multiply(x, data(bcx, row) + first + begin, width, x);", "(void)x, (void)width, (void)first;"),
    engine("sum_offset_left_out", r"Blocks/MoeFfn.*sum_offset", "probabilities are divided by their sum as it is",
           OPS + "_experts.cc", "sum += spec.sum_offset;", "sum += 1e-20f;"),
    engine("experts_not_renormalised", r"Blocks/MoeFfn.*renormalised", "probabilities of the chosen stay as they are",
           OPS + "_experts.cc", "spec.renormalise ? p[experts[i]] / sum : p[experts[i]]", "p[experts[i]]"),
    engine("choice_bias_left_out", r"Blocks/MoeFfn.*choice_bias", "what biases the choice of experts is left out",
           OPS + "_experts.cc", "if (bias != nullptr) kernels_->add(scores, bias, spec.n_expert);", "(void)bias;"),
    engine("group_of_one_best", r"Blocks/MoeFfn.*groups", "a group counts as much as its best expert",
           OPS + "_experts.cc", "scores[best[0]] : scores[best[0]] + scores[best[1]];", "scores[best[0]] : scores[best[0]];"),
    engine("shared_gate_missing", r"Blocks/MoeFfn.*shared_expert", "the shared expert counts in full",
           OPS + "_experts.cc", "kernels_->gate_sigmoid(factor, &one, 1);", "*factor = one;"),
    engine("router_norm_left_out", r"Blocks/MoeFfn.*router_norm", "the router sees what the experts see",
           MOE, "ops.norm(stream, weights.vector(W::kRouterNorm), mixed);", "ops.copy(normed, mixed);"),
    engine("router_scale_left_out", r"Blocks/MoeFfn.*router_norm", "what the router sees is not divided by the root of its width",
           MOE, "ops.scale(mixed, 1.0f / std::sqrt(static_cast<float>(n_embd)));", ""),
    engine("experts_see_the_dense_norm", r"Blocks/MoeFfn.*beside", "experts beside a dense FFN see what it sees",
           MOE, "const Rows seen = ffn.beside ? mixed : normed;", "const Rows seen = normed;"),
    engine("branch_not_normed", r"Blocks/MoeFfn.*branch_norms", "what the experts give is not normed by itself",
           MOE, "if (ffn.branch_norms) ops.norm(output, weights.vector(W::kPostExpertsNorm), output);", ""),
    engine("expert_factors_left_out", r"Blocks/MoeFfn.*expert_factors", "experts count without their own factors",
           OPS + "_experts.cc", "probability * spec.expert_scale * factor", "probability * spec.expert_scale * (factor * 0 + 1)"),
    engine("expert_numbers_not_moved", r"TensorEdits\.AnOrder", "experts in another order keep the others' biases and factors",
           "engine/model/source_edits.cc", "for (WeightSource* of_them : numbers_of(sources, *use.source)) of_them->experts = use.source->experts;", "(void)numbers_of;"),
    # Facts that can be changed.
    engine("sinks_of_the_first_heads", r"Facts/SpecEdit.*head_mapping", "of interleaved heads each call has the first sinks",
           OPS + "_attention.cc", "args.sinks = sinks.data() + first;", "args.sinks = sinks.data();"),
    engine("biases_not_exchanged", r"Facts/SpecEdit.*kv_order", "k and v exchanged keep their own biases",
           "engine/model/blocks/attention/attention.cc", "weights.vector_if(a.biases, k.bias)", "weights.vector_if(a.biases, W::kAttnKBias)"),
    engine("mean_left_in", r"Facts/SpecEdit.*norm_kind", "LayerNorm without its mean",
           OPS + ".cc", "static_cast<float>(static_cast<double>(x[i]) - mean);", "x[i] + static_cast<float>(0 * mean);"),
    engine("state_rounded_once", r"Facts/SpecEdit.*state_type", "a state is rounded behind a batch, not behind a token",
           OPS + "_delta.cc", "spec.state == StateType::kF32 ? last - first : 1", "sequence.n_row"),
    engine("experts_shifted_back", r"Facts/SpecEdit.*expert_shift", "the router's expert e is the tensors' e - n",
           OPS + "_experts.cc", "(e + spec.expert_shift) % spec.n_expert", "(e + spec.n_expert - spec.expert_shift) % spec.n_expert"),
    engine("layers_in_their_places", r"Facts/SpecEdit.*layer_order", "layers in another order keep the others' weights",
           "engine/model/forward.cc", "weights_->layers[i]", "weights_->layers[n]"),
    engine("delta_norm_shifted", r"TensorEdits\.NormWeights", "weights of the delta nets' norm are read as the others'",
           "engine/model/source_edits.cc", "kNorms[] = {W::kAttnNorm,", "kNorms[] = {W::kDeltaNorm, W::kAttnNorm,"),
    engine("transposed_shared", r"TensorEdits\.ATransposed", "a matrix that is to be transposed is taken from the other model",
           "engine/model/weight_sources.h", " && transposed == other.transposed", ""),
    engine("lookup_without_factor", r"TensorEdits\.AFactor", "rows of the embedding are looked up without their factor",
           OPS + ".cc", "if (table.factor != 1.0f) kernels_->scale(x, table.factor, n);", ""),
    engine("shared_act_is_up", r"Models/Trace\.Shows", "the observer is shown the shared expert's up for what its down product sees",
           MOE, "ops.tap(Stage::kSharedAct, layer, gate);", "ops.tap(Stage::kSharedAct, layer, up);"),
    engine("kept_pages_not_counted", r"Models/Cost\.IsWhatTheCacheHolds", "a sequence's cost leaves out the pages that are kept",
           "engine/runtime/sequence_cost.cc", "options.reuse_prefixes ? (n_pages - held) * page_bytes : 0", "0"),
    engine("state_not_reset", r".*Recurrent\.", "a sequence that is opened again goes on from the last one's state",
           "engine/runtime/kv_cache_states.cc", "    std::memset(state(id), 0, n_bytes);\n", ""),
    engine("checkpoint_stale", r".*Recurrent\.|Checkpoints\.", "a page that is used again keeps its old checkpoint",
           "engine/runtime/kv_cache.cc", "    drop_checkpoints(id, n_tokens);  // of tokens that are gone\n", ""),
    engine("begun_page_shared", r".*Turns\.", "a page that has only its beginning in common is written, not copied",
           "engine/runtime/kv_cache.cc", "const std::int32_t copy = has_room ? take_block() : -1;\n  if (copy < 0) return false;",
           "const std::int32_t copy = -1;\n  if (copy < 0) return true;"),
    engine("row_too_many", r".*Turns\.", "one row more than both have in common is taken up",
           "engine/runtime/kv_cache_prefixes.cc", "      best = {id, n};", "      best = {id, std::min<std::int64_t>(n + 1, std::ssize(key.tokens))};"),
    engine("state_of_the_batch", r".*Turns\.", "a state is copied behind the batch, not behind its token",
           "engine/model/batch.h", "if (begin < each.n_row) run(begin, each.n_row);\n    copy(each.to);\n    begin = each.n_row;",
           "if (begin < sequence.n_row) run(begin, sequence.n_row);\n    copy(each.to);\n    begin = sequence.n_row;"),
    engine("owner_not_asked", r".*Turns\.", "rows of pages are taken up from anybody",
           "engine/runtime/kv_cache_prefixes.cc", "find_begun({parent, sequence.owner, rest})", "find_begun({parent, block(0).owner, rest})"),
    engine("fork_writes_a_shared_page", r".*Fork\.", "a fork goes on in the last page of its sequence",
           "engine/runtime/kv_cache.cc", "if (begun != 0 && !make_private(to, begun, true))", "if (begun != 0 && false)"),
    engine("wrong_sibling_accepted", r".*DraftTree\.", "a draft counts as right whatever was sampled",
           "engine/runtime/generation.cc", " && held[position] == tokens[position];", ";"),
    engine("fork_left_open", r".*DraftTree\.", "the forks of chains that were wrong stay open",
           "engine/runtime/generation.cc", "      session->close(fork.sequence);\n      return true;", "      return true;"),
    engine("wrong_sequence_kept", r".*DraftTree\.", "the accepted chain's sequence is closed with the others",
           "engine/runtime/generation.cc", "      ROWMAX_RETURN_IF_ERROR(session->swap(sequence, forks[i].sequence));\n", ""),
    engine("page_given_back_early", r"KvWindow|.*KvWindowLife", "a page is given back while the next token sees its last key",
           "engine/runtime/kv_pages.h", "(0, position - window + 1) / kKeyTile", "(0, position - window + 2) / kKeyTile"),
]
