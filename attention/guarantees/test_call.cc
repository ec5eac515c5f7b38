#include "attention/guarantees/test_call.h"

namespace rowmax::attention::test {

AttendArgs args_of(const RawCall& c, Output* output) {
  const std::int64_t n_row = c.n_row(), h = c.shape.n_head;
  output->out.assign(static_cast<std::size_t>(n_row * h * c.shape.v_dim), -77.0f);
  output->lse.assign(static_cast<std::size_t>(n_row * h), -77.0f);
  output->status.assign(static_cast<std::size_t>(n_row * h), static_cast<RowStatus>(99));
  AttendArgs args;
  args.q = packed_heads(c.q.data(), n_row, h, c.shape.k_dim);
  args.kv = c.view;
  args.sequences = c.kv;
  args.bias = c.bias;
  args.scale = c.scale;
  args.softcap = c.softcap;
  args.sinks = c.sinks;
  args.weights = c.weights;
  args.check_weights = WeightCheck::kOff;  // tests of bad numbers want the report
  args.out = packed_heads(output->out.data(), n_row, h, c.shape.v_dim);
  args.lse = output->lse.data();
  args.lse_row_stride = h;
  args.row_status = output->status.data();
  args.status_row_stride = h;
  return args;
}

Output run_raw(const RawCall& c, const MaskSpec& spec, Isa isa, int threads) {
  Output output;
  const AttendArgs args = args_of(c, &output);
  const Result<MaskPlan> plan = compile(
      spec, {c.sequences, static_cast<std::int32_t>(c.shape.n_head), static_cast<std::int32_t>(c.shape.n_kv_head)});
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().message);
  if (!plan.ok()) return output;
  const Result<AttendReport> report = attend_exact(args, *plan, pool(threads), isa);
  EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message);
  if (report.ok()) output.report = *report;
  return output;
}

}  // namespace rowmax::attention::test
