#include "engine/model/test_reference.h"

#include <cmath>

namespace rowmax::engine::reference {

Vector Blocks::mixer(std::size_t layer, std::int64_t position, const Vector& x) {
  const Layer l = at(layer);
  switch (l.layer.mixer) {
    case MixerKind::kAttention: return attention(l, layer, position, x, kv_);
    case MixerKind::kLatent: return latent_attention(l, position, x, kv_[layer]);
    case MixerKind::kShortConv: return short_conv(l, x, conv_[layer]);
    case MixerKind::kDeltaNet: break;
  }
  return delta_net(l, x, delta_[layer]);
}

Vector Blocks::ffn(std::size_t layer, const Vector& x, const Vector& stream) {
  const Layer l = at(layer);
  return l.layer.ffn.kind == FfnKind::kDense ? dense_ffn(l, x) : moe_ffn(l, x, stream, margin_);
}

Vector Model::next(TokenId token) {
  const auto n = static_cast<std::size_t>(spec_.shape.n_embd);
  Vector stream(weights_.embedding.begin() + token * spec_.shape.n_embd,
                weights_.embedding.begin() + (token + 1) * spec_.shape.n_embd);
  for (double& x : stream) x *= static_cast<double>(spec_.embedding_scale);
  const Vector numbers = spec_.layer_embd() == 0
                             ? Vector()
                             : layer_numbers(spec_, weights_.layer_embeddings, static_cast<std::size_t>(token), stream);
  std::vector<std::size_t> order = spec_.layer_order;
  for (std::size_t layer = order.size(); layer < spec_.layers.size(); ++layer) order.push_back(layer);
  const bool norm_first = spec_.norm_place == NormPlace::kInput;
  for (const std::size_t layer : order) {
    const LayerSpec& l = spec_.layers[layer];
    const auto add_block = [&](W norm, W post_norm, bool skip, const auto& block) {
      const Layer at{spec_, l, weights_.layers[layer]};
      Vector y = block(l.input_norms && norm_first ? at.normed(stream, at.weight(norm), n) : stream);
      if (l.input_norms && !norm_first) y = at.normed(y, at.weight(norm), n);
      if (l.post_norms) y = at.normed(y, at.weight(post_norm), n);
      for (double& value : y) value *= skip ? 0 : static_cast<double>(spec_.residual_scale);
      add(stream, y);
    };
    add_block(W::kAttnNorm, W::kPostAttnNorm, l.skip_mixer,
              [&](const Vector& x) { return blocks_.mixer(layer, position_, x); });
    add_block(W::kFfnNorm, W::kPostFfnNorm, l.skip_ffn, [&](const Vector& x) { return blocks_.ffn(layer, x, stream); });
    const Layer at{spec_, l, weights_.layers[layer]};
    if (l.n_layer_embd > 0) add(stream, layer_embedding(at, layer, stream, numbers));
    for (double& x : stream) x *= l.output_scale ? at.weight(W::kLayerOutputScale)[0] : 1;
  }
  const Vector final_norm =
      normed(stream, weights_.output_norm, n, spec_.norm_kind, static_cast<double>(spec_.rms_norm_eps));
  Vector logits = times(weights_.output, final_norm);
  for (double& x : logits) x *= static_cast<double>(spec_.logit_scale);
  const double cap = static_cast<double>(spec_.final_softcap);
  if (cap > 0) {
    for (double& x : logits) x = cap * std::tanh(x / cap);
  }
  ++position_;
  return logits;
}

}  // namespace rowmax::engine::reference
