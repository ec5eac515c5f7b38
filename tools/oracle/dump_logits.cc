// dump_logits MODEL IDS_FILE OUT.npy [--first N] [--window W --count C] [--activations int8|f32] [--kv-type f16|f32]
//             [--threads T] [--chunk N]
// Writes logits as NumPy arrays, for compare.py. IDS_FILE: token ids, any text between them (a JSON list, say).
//   --first N      one array [N, n_vocab]: all positions of the first N tokens
//   --window W     OUT.npy is a prefix: OUT_w00.npy ... [W/2 - 1, n_vocab], positions W/2 ... W-2 of consecutive
//                  windows, the first token of each replaced by BOS where the model adds one (what `rowmax score` scores)
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "rowmax/engine/session.h"

namespace {

using namespace rowmax;
using namespace rowmax::engine;

[[noreturn]] void die(const std::string& text) {
  std::fprintf(stderr, "dump_logits: %s\n", text.c_str());
  std::exit(1);
}

std::vector<TokenId> read_ids(const std::string& path) {
  std::ifstream file(path);
  if (!file) die(path + ": cannot be read");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < text.size();) {
    if (std::isdigit(static_cast<unsigned char>(text[i])) == 0) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
    ids.push_back(static_cast<TokenId>(std::atol(text.substr(i, end - i).c_str())));
    i = end;
  }
  return ids;
}

void write_npy(const std::string& path, const std::vector<float>& values, std::size_t columns) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(values.size() / columns) +
                       ", " + std::to_string(columns) + "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  const unsigned char magic[10] = {0x93,
                                   'N',
                                   'U',
                                   'M',
                                   'P',
                                   'Y',
                                   1,
                                   0,
                                   static_cast<unsigned char>(header.size() & 255),
                                   static_cast<unsigned char>(header.size() >> 8)};
  file.write(reinterpret_cast<const char*>(magic), sizeof magic);
  file << header;
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file) die(path + ": cannot be written");
}

// Logits of positions [first, tokens.size()) of one sequence.
std::vector<float> logits(Session& session, std::span<const TokenId> tokens, std::size_t first, std::size_t chunk) {
  auto sequence = session.open();
  if (!sequence.ok()) die(sequence.error().message);
  std::vector<float> all;
  for (std::size_t begin = 0; begin < tokens.size();) {
    const bool wanted = begin >= first;
    const std::size_t end = std::min(wanted ? tokens.size() : first, begin + chunk);
    const BatchItem item{*sequence, tokens.subspan(begin, end - begin), wanted ? LogitsFor::kAll : LogitsFor::kNone};
    const Status status = session.forward({&item, 1});
    if (!status.ok()) die(status.error().message);
    for (std::int64_t row = 0; row < session.n_logit_rows(); ++row) {
      all.insert(all.end(), session.logits(row).begin(), session.logits(row).end());
    }
    begin = end;
  }
  session.close(*sequence);
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) die("usage: dump_logits MODEL IDS_FILE OUT.npy [--first N | --window W --count C] ...");
  const auto flag = [&](const char* name, const char* fallback) {
    for (int i = 4; i + 1 < argc; i += 2) {
      if (std::strcmp(argv[i], name) == 0) return std::string(argv[i + 1]);
    }
    return std::string(fallback);
  };
  auto pool = make_thread_pool(std::atoi(flag("--threads", "1").c_str()));
  auto isa = fastest_isa();
  if (!pool.ok() || !isa.ok()) die("no threads or no instruction set");
  ModelOptions options;
  options.isa = *isa;
  options.activations = flag("--activations", "int8") == "f32" ? Activations::kF32 : Activations::kInt8;
  auto model = Model::load(argv[1], options, **pool);
  if (!model.ok()) die(model.error().message);
  SessionOptions session_options;
  session_options.kv_type = flag("--kv-type", "f16") == "f32" ? KvType::kF32 : KvType::kF16;
  auto session = Session::create(*model, session_options, **pool);
  if (!session.ok()) die(session.error().message);

  const std::vector<TokenId> ids = read_ids(argv[2]);
  const std::size_t chunk = static_cast<std::size_t>(std::atol(flag("--chunk", "64").c_str()));
  const std::size_t n_vocab = static_cast<std::size_t>(model->shape().n_vocab);
  const std::size_t window = static_cast<std::size_t>(std::atol(flag("--window", "0").c_str()));
  if (window == 0) {
    const std::size_t n = std::min(ids.size(), static_cast<std::size_t>(std::atol(flag("--first", "64").c_str())));
    write_npy(argv[3], logits(*session, std::span(ids).first(n), 0, chunk), n_vocab);
    return 0;
  }
  const std::size_t count =
      std::min(ids.size() / window, static_cast<std::size_t>(std::atol(flag("--count", "1").c_str())));
  for (std::size_t w = 0; w < count; ++w) {
    std::vector<TokenId> tokens(ids.begin() + static_cast<std::ptrdiff_t>(w * window),
                                ids.begin() + static_cast<std::ptrdiff_t>((w + 1) * window - 1));
    if (model->tokenizer().add_bos()) tokens[0] = model->tokenizer().bos();
    char suffix[32];
    std::snprintf(suffix, sizeof suffix, "_w%02zu.npy", w);
    std::string prefix = argv[3];
    if (prefix.ends_with(".npy")) prefix.resize(prefix.size() - 4);
    write_npy(prefix + suffix, logits(*session, tokens, window / 2, chunk), n_vocab);
  }
  return 0;
}
