#include "apps/cli/doctor_page.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>
#include <span>

#include "apps/cli/terminal.h"
#include "rowmax/doctor/portrait.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

using doctor::CheckResult;
using doctor::Portrait;
using doctor::Verdict;

constexpr const char* kText =
    "Once upon a time, there was a little girl named Lily. She lived in a small house near the forest. One day, her "
    "friend Tom came to the door. \"Let us play,\" said Tom.";

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>rowmax doctor</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #1c2430; background: #fff; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #d5dbe3; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .25em .8em .25em 0; vertical-align: top; }
th { font-weight: 600; border-bottom: 1px solid #aeb8c4; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.pass { color: #17703a; } .fail { color: #b3261e; font-weight: 600; } .inconclusive { color: #8a5a00; } .skipped { color: #6b7685; }
.cause { border-left: 4px solid #b3261e; padding: .2em 0 .2em 1em; margin: 1em 0; } code { background: #eef1f5; padding: .1em .3em; }
figure { display: inline-block; margin: .4em; } figcaption { font-size: .8em; color: #55606e; }
img.map { width: 144px; height: 144px; image-rendering: pixelated; border: 1px solid #d5dbe3; } svg text { font: 11px system-ui, sans-serif; fill: #55606e; }
@media (prefers-color-scheme: dark) { body { color: #dfe5ec; background: #14181e; } code { background: #242b35; } .pass { color: #6fcf8f; } .fail { color: #ff8a80; } .inconclusive { color: #e6b95c; } svg text { fill: #a8b3c1; } }
</style></head><body>
)";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string checks_html(const doctor::Report& report) {
  std::string out =
      "<h2>Checks</h2><table><tr><th>check</th><th>verdict</th><th>measured</th><th>bound</th><th>compared</th>"
      "<th></th></tr>\n";
  for (const CheckResult& check : report.checks) {
    const std::string word = doctor::verdict_name(check.verdict);
    out += "<tr><td>" + escaped(check.id) + "</td><td class=\"" + word + "\">" + word + "</td><td class=\"n\">" +
           figure(check.measured) + "</td><td class=\"n\">" + figure(check.threshold) + "</td><td class=\"n\">" +
           std::to_string(check.n_compared) + "</td><td>" + escaped(check.reason) + "</td></tr>\n";
  }
  return out + "</table>\n";
}

std::string causes_html(const doctor::Report& report) {
  if (report.causes.empty()) return {};
  std::string out = "<h2>Causes, most likely first</h2>\n";
  for (const doctor::Cause& cause : report.causes) {
    out += "<div class=\"cause\"><b>" + escaped(cause.id) + "</b> (confidence " + figure(cause.confidence, "%.2f") +
           ")<br>" + escaped(cause.text);
    if (!cause.command.empty()) out += "<br><code>" + escaped(cause.command) + "</code>";
    out += "</div>\n";
  }
  return out;
}

// The search: one bar a variant, what it loses; a line where the configured model is.
std::string search_html(const doctor::Report& report) {
  const auto check = std::ranges::find(report.checks, "conventions", &CheckResult::id);
  if (check == report.checks.end() || check->rows.size() < 2) return {};
  const std::size_t n = std::min<std::size_t>(check->rows.size(), 25);
  double most = 0;
  for (std::size_t i = 0; i < n; ++i) most = std::max(most, std::atof(check->rows[i][1].c_str()));
  if (!(most > 0) || !std::isfinite(most)) return {};
  const double configured = std::atof(check->rows[0][1].c_str());
  std::string out =
      "<h2>The convention search</h2><p>Loss on the fixed text, nat a token; shorter is better.</p><svg width=\"860\" "
      "height=\"" +
      std::to_string(18 * n + 8) + "\">";
  for (std::size_t i = 0; i < n; ++i) {
    const double loss = std::atof(check->rows[i][1].c_str());
    const double width = std::isfinite(loss) ? 480 * std::min(1.0, loss / most) : 480;
    const char* colour = i == 0 ? "#5b7fa6" : loss < configured - check->threshold ? "#b3261e" : "#aab6c4";
    const std::string y = std::to_string(18 * i + 4);
    out += "<text x=\"290\" y=\"" + std::to_string(18 * i + 15) + "\" text-anchor=\"end\">" +
           escaped(check->rows[i][0].substr(0, 48)) + "</text><rect x=\"300\" y=\"" + y + "\" height=\"13\" width=\"" +
           figure(width, "%.1f") + "\" fill=\"" + colour + "\"/><text x=\"" + figure(306 + width, "%.1f") + "\" y=\"" +
           std::to_string(18 * i + 15) + "\">" + escaped(check->rows[i][1]) + "</text>";
  }
  return out + "</svg>\n";
}

struct Line {
  const char* name;
  const char* colour;
  std::vector<double> values;
};

std::string plot(const std::string& title, const std::vector<Line>& lines, bool logarithmic) {
  constexpr double kWidth = 420, kHeight = 170, kLeft = 52, kBottom = 20;
  double low = 1e300, high = -1e300;
  std::size_t n = 0;
  const auto scaled = [&](double value) { return logarithmic ? std::log10(std::max(value, 1e-12)) : value; };
  for (const Line& line : lines) {
    n = std::max(n, line.values.size());
    for (const double value : line.values) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, scaled(value));
      high = std::max(high, scaled(value));
    }
  }
  if (n == 0 || low > high) return {};
  if (high - low < 1e-9) high = low + 1;
  const auto x_of = [&](std::size_t i) {
    return kLeft + (kWidth - kLeft - 8) * (n < 2 ? 0.0 : static_cast<double>(i) / static_cast<double>(n - 1));
  };
  const auto y_of = [&](double v) { return 8 + (kHeight - kBottom - 8) * (1 - (scaled(v) - low) / (high - low)); };
  const auto label = [&](double value) { return figure(logarithmic ? std::pow(10.0, value) : value, "%.3g"); };
  std::string out = "<figure><svg width=\"" + figure(kWidth) + "\" height=\"" + figure(kHeight) + "\">";
  out += "<text x=\"48\" y=\"16\" text-anchor=\"end\">" + label(high) + "</text><text x=\"48\" y=\"" +
         figure(kHeight - kBottom) + "\" text-anchor=\"end\">" + label(low) + "</text>";
  double legend = kLeft;
  for (const Line& line : lines) {
    std::string points;
    for (std::size_t i = 0; i < line.values.size(); ++i) {
      if (std::isfinite(line.values[i])) {
        points += figure(x_of(i), "%.1f") + "," + figure(y_of(line.values[i]), "%.1f") + " ";
      }
    }
    out += "<polyline fill=\"none\" stroke-width=\"1.6\" stroke=\"" + std::string(line.colour) + "\" points=\"" +
           points + "\"/><text x=\"" + figure(legend) + "\" y=\"" + figure(kHeight - 4) +
           "\" style=\"fill:" + line.colour + "\">" + line.name + "</text>";
    legend += 12 + 7 * static_cast<double>(std::string_view(line.name).size());
  }
  return out + "</svg><figcaption>" + title + "</figcaption></figure>\n";
}

// With a reference: how far each stage is from it, in the order of the computation.
std::string divergence_html(const doctor::Report& report) {
  const auto check = std::ranges::find(report.checks, "first_divergence", &CheckResult::id);
  if (check == report.checks.end() || check->rows.empty()) return {};
  std::vector<double> distance, bound;
  for (const std::vector<std::string>& row : check->rows) {
    distance.push_back(std::atof(row[1].c_str()));
    bound.push_back(std::atof(row[2].c_str()));
  }
  return "<h2>Beside the reference</h2><p>" + escaped(check->rows.front()[0]) + " to " +
         escaped(check->rows.back()[0]) + ": " + escaped(check->reason) + "</p>\n" +
         plot("relative L2 of each stage", {{"distance", "#b3261e", distance}, {"bound", "#8a96a5", bound}}, true);
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 3; ++j)
      word = word << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) out += i + j <= bytes.size() ? kDigits[word >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

// Weights as a picture of 256 shades: an 8-bit bitmap, the first row at the bottom as that format has it.
std::string map_html(const doctor::AttentionMap& map) {
  const auto n = static_cast<std::uint32_t>(map.n);
  const std::uint32_t stride = (n + 3) / 4 * 4;
  std::string bytes;
  const auto put = [&](std::uint32_t value, int size) {
    for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i) & 255);
  };
  constexpr std::uint32_t kPalette = 54, kPixels = kPalette + 1024;
  bytes += "BM";
  put(kPixels + stride * n, 4);
  put(0, 4);
  put(kPixels, 4);
  for (const std::uint32_t value : {40U, n, n}) put(value, 4);
  put(1, 2);
  put(8, 2);
  for (const std::uint32_t value : {0U, stride * n, 2835U, 2835U, 256U, 0U}) put(value, 4);
  for (std::uint32_t i = 0; i < 256; ++i) {  // white to dark blue
    put(255 - i / 3, 1);
    put(255 - i * 4 / 5, 1);
    put(255 - i, 1);
    put(0, 1);
  }
  for (std::uint32_t row = n; row-- > 0;) {
    for (std::uint32_t column = 0; column < stride; ++column) {
      const float weight = column < n ? map.weights[row * n + column] : 0.0F;
      put(static_cast<std::uint32_t>(255 * std::sqrt(std::clamp(weight, 0.0F, 1.0F))), 1);
    }
  }
  return "<figure><img class=\"map\" alt=\"attention weights\" src=\"data:image/bmp;base64," + base64(bytes) +
         "\"><figcaption>layer " + std::to_string(map.layer) + ", head " + std::to_string(map.head) +
         "</figcaption></figure>\n";
}

std::string portrait_html(const Portrait& portrait) {
  std::vector<double> rms, largest, mixer, ffn, norm, low, mean, high, least_score, most_score;
  for (const doctor::LayerPortrait& layer : portrait.layers) {
    rms.push_back(layer.residual_rms);
    largest.push_back(layer.residual_max);
    mixer.push_back(layer.mixer_rms);
    ffn.push_back(layer.ffn_rms);
    norm.push_back(layer.norm_rms);
    const double none = std::nan("");
    low.push_back(layer.attends ? layer.entropy_min : none);
    mean.push_back(layer.attends ? layer.entropy_mean : none);
    high.push_back(layer.attends ? layer.entropy_max : none);
    least_score.push_back(layer.attends ? layer.score_min : none);
    most_score.push_back(layer.attends ? layer.score_max : none);
  }
  std::string out = "<h2>Inside</h2><p>While it reads " + std::to_string(portrait.tokens.size()) + " tokens: \"" +
                    escaped(kText) + "\"</p>\n";
  out += plot("the stream behind each layer", {{"rms", "#2f6fb2", rms}, {"largest", "#b3261e", largest}}, true);
  out += plot("what each layer adds (rms)",
              {{"mixer", "#2f6fb2", mixer}, {"ffn", "#c77700", ffn}, {"norm", "#5a8f3c", norm}}, true);
  out += plot("scores behind the mask", {{"least", "#2f6fb2", least_score}, {"most", "#b3261e", most_score}}, false);
  out += plot("entropy of the heads' rows, nat",
              {{"least", "#5a8f3c", low}, {"mean", "#2f6fb2", mean}, {"most", "#c77700", high}}, false);
  out += plot("each token: loss and entropy, nat",
              {{"loss", "#b3261e", portrait.nll}, {"entropy", "#2f6fb2", portrait.entropy}}, false);
  out += plot("probability of the likeliest token", {{"top", "#2f6fb2", portrait.top}}, false);
  if (portrait.maps.empty()) return out;
  out += "<h2>Attention</h2><p>Rows are queries, columns keys; dark is much (square root of the weight).</p>\n";
  for (const doctor::AttentionMap& map : portrait.maps) out += map_html(map);
  return out;
}

std::optional<Portrait> portrait_of(const doctor::OpenFile& open, const doctor::DoctorOptions& options,
                                    Executor& executor) {
  engine::GgufOptions gguf = options.model.gguf;
  engine::TokenizerOptions ignored;
  if (!engine::edit_options(options.model.edits, gguf, ignored).ok()) return {};
  auto file = open(gguf);
  if (!file.ok()) return {};
  const auto model = engine::Model::load(std::move(file).value(), options.model, executor);
  if (!model.ok()) return {};
  auto portrait = doctor::portray(*model, kText, {}, executor);
  return portrait.ok() ? std::optional(std::move(portrait).value()) : std::nullopt;
}

}  // namespace

std::string figure(double value, const char* format) {
  if (std::isnan(value)) return "";
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

Status write_doctor_page(const doctor::Report& report, const std::string& model_name, const doctor::OpenFile& open,
                         const doctor::DoctorOptions& options, Executor& executor, engine::OutputFile& file) {
  const char* word = report.verdict == Verdict::kPass   ? "healthy"
                     : report.verdict == Verdict::kFail ? "faulty"
                                                        : "inconclusive";
  const std::string colour = doctor::verdict_name(report.verdict);
  std::string page = kHead;
  page += "<h1>" + escaped(model_name) + ": <span class=\"" + colour + "\">" + word + "</span></h1>\n<p>" +
          escaped(report.diagnosis) + "</p>\n";
  if (!report.load_error.empty()) page += "<p>The engine refuses it: " + escaped(report.load_error) + "</p>\n";
  page += causes_html(report) + checks_html(report) + search_html(report) + divergence_html(report);
  if (options.depth == doctor::Depth::kEngine) {
    const auto portrait = portrait_of(open, options, executor);
    page += portrait ? portrait_html(*portrait)
                     : "<h2>Inside</h2><p>No pictures: the model cannot be loaded, or a logit is not finite.</p>\n";
  }
  page += "</body></html>\n";
  ROWMAX_RETURN_IF_ERROR(file.append(std::as_bytes(std::span(page))));
  return file.commit();
}

}  // namespace rowmax::cli
