#include "engine/convert/hf_quantization.h"

#include <string>

#include "engine/io/text.h"

namespace rowmax::engine {

void read_hf_quantization(JsonReader& config, HfModel& model, bool master_weights) {
  model.ternarise = model.architecture->ternary || master_weights;
  const Json found = config.find("quantization_config");
  if (!found && model.product_norms && !model.ternarise) {
    model.ternarise = true;
    model.notices.push_back(
        "each product has a norm of its own, as in BitNet's embedding models: float matrices are taken for master "
        "weights and rounded to ternary ones");
  }
  if (!found) return;
  JsonReader quantization(found, concat(config.where(), ": quantization_config"));
  const std::string method = quantization.string_or("quant_method", "");
  // Its tensors say what is packed: blocks and scales of experts.
  if (method == "mxfp4" && model.architecture->experts == HfExperts::kLimited) return;
  if (method != "bitnet") {
    quantization.fail(ErrorCode::kUnsupported, "quant_method", concat("expected 'bitnet', found ", quote(method)));
  }
  const std::string linear = quantization.string_or("linear_class", "bitlinear");
  const std::string mode = quantization.string_or("quantization_mode", "offline");
  if (linear != "bitlinear" && linear != "autobitlinear") {
    quantization.fail(ErrorCode::kUnsupported, "linear_class",
                      concat("expected bitlinear or autobitlinear, found ", quote(linear)));
  }
  if (mode != "offline" && mode != "online") {
    quantization.fail(ErrorCode::kUnsupported, "quantization_mode",
                      concat("expected offline or online, found ", quote(mode)));
  }
  if (quantization.bool_or("use_rms_norm", false)) {
    model.product_norms = true;
    const double eps = quantization.number_or("rms_norm_eps", 1e-6, 0, 1),
                 model_eps = config.number_or("rms_norm_eps", 0, 0, 1);
    if (eps != model_eps) {
      quantization.fail(
          ErrorCode::kUnsupported, "rms_norm_eps",
          concat("expected the ", number_text(model_eps), " of the other norms, found ", number_text(eps)));
    }
  }
  for (const Json& module : quantization.find("modules_to_not_convert").elements()) {
    if (module.is("lm_head")) continue;
    quantization.fail(ErrorCode::kUnsupported, "modules_to_not_convert",
                      concat("expected none but lm_head, found ", module.text()));
  }
  if (!quantization.status().ok()) return config.fail(quantization.status().error());
  model.divide_scales = linear == "bitlinear";
  model.ternarise = model.ternarise || mode == "online";
  model.float_codes = linear == "autobitlinear" && mode == "offline";
}

}  // namespace rowmax::engine
