// The pictures of docs/masks.md, drawn from compiled plans.
//
//   mask_pictures write FOLDER    writes one SVG a mask
//   mask_pictures check FOLDER    exits with 1 where a file there is not what would be written, or is one too many
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "tools/mask_pictures/svg.h"

namespace {

using namespace rowmax;

using Files = std::map<std::string, std::string>;

void add(Files* files, const Picture& picture, const MaskSpec& spec, const Sequence& sequence) {
  const Result<MaskPlan> plan = compile(spec, {{&sequence, 1}, 1, 1});
  if (!plan.ok()) {
    std::fprintf(stderr, "%s: %s\n", picture.name.c_str(), plan.error().message.c_str());
    std::exit(1);
  }
  (*files)[picture.name + ".svg"] = draw(picture, *plan);
}

void add_bounds(Files* files) {
  const Sequence square{0, 12, 0, 12}, chunk{0, 4, 8, 12}, one{0, 1, 11, 12};
  add(files, {"full", "No mask", "MaskSpec()"}, MaskSpec(), square);
  add(files, {"causal", "Causal", "MaskSpec().causal(), q_pos = 0"}, MaskSpec().causal(), square);
  add(files, {"causal_top_left", "Causal, aligned at the top left", "causal(), q_pos = 0"}, MaskSpec().causal(),
      {0, 5, 0, 12});
  add(files, {"causal_bottom_right", "Causal, aligned at the bottom right", "causal(), q_pos = n_kv - n_q"},
      MaskSpec().causal(), {0, 5, 7, 12});
  add(files, {"causal_cache", "Causal: four queries behind a cache of eight keys", "causal(), q_pos = n_past = 8"},
      MaskSpec().causal(), chunk);
  add(files, {"decode", "Decoding: one query, window of five keys", "causal().window(4, 0), q_pos = 11"},
      MaskSpec().causal().window(4, 0), one);
  add(files, {"window", "Sliding window of four keys, the own one included", "causal().window(3, 0)"},
      MaskSpec().causal().window(3, 0), square);
  add(files, {"window_both", "Window to both sides", "window(2, 1)"}, MaskSpec().window(2, 1), square);
  add(files, {"keep_first", "Window with the first two keys kept", "causal().window(3, 0).keep_first(2)"},
      MaskSpec().causal().window(3, 0).keep_first(2), square);
  add(files, {"chunk", "Chunks of four keys, causal", "causal().chunk(4)"}, MaskSpec().causal().chunk(4), square);
  const std::int64_t prefix = 5;
  add(files, {"prefix", "Prefix-LM: the first five keys are visible to all", "causal().prefix(5)"},
      MaskSpec().causal().prefix({&prefix, 1}), square);
  add(files, {"empty_rows", "More queries than keys, bottom right", "causal(), q_pos = n_kv - n_q = -4"},
      MaskSpec().causal(), {0, 12, -4, 8});
  const std::int64_t positions[] = {2, 9, 4, 11};
  add(files, {"positions", "Causal with positions of their own", "causal(), positions = {2, 9, 4, 11}"},
      MaskSpec().causal(), {0, 4, 0, 12, positions});
}

void add_spans(Files* files) {
  const Sequence square{0, 12, 0, 12};
  const KeySpan left{4, 12}, right{0, 9}, both{2, 10};
  add(files, {"padding_left", "Left padding, causal", "causal().valid({{4, 12}})"},
      MaskSpec().causal().valid({&left, 1}), square);
  add(files, {"padding_right", "Right padding, causal", "causal().valid({{0, 9}})"},
      MaskSpec().causal().valid({&right, 1}), square);
  add(files, {"padding_both", "Padding on both sides, not causal", "valid({{2, 10}})"}, MaskSpec().valid({&both, 1}),
      square);
  const std::int32_t ids[] = {0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2};
  const SegmentIds documents{ids, ids};
  add(files, {"documents", "Packed documents", "segments(ids)"}, MaskSpec().segments({&documents, 1}), square);
  add(files, {"documents_causal", "Packed documents, causal", "causal().segments(ids)"},
      MaskSpec().causal().segments({&documents, 1}), square);
  const Sequence last{0, 320, 0, 320};
  const KeySpan padded{40, 320};
  add(files,
      {"tiles", "Tiles of 64 keys start at the first valid key", "causal().window(127, 0).valid({{40, 320}})", true},
      MaskSpec().causal().window(127, 0).valid({&padded, 1}), last);
}

void add_bits(Files* files) {
  const Sequence square{0, 12, 0, 12};
  // Block rows 0..3 of 3 x 3 pairs: which block columns they see.
  const std::uint64_t words[] = {0b0001, 0b0011, 0b0101, 0b1101};
  const BlockMaskView blocks{words, 1, 0, 3, 3};
  add(files, {"blocks", "Block-sparse, blocks of 3 x 3", "blocks(bits)"}, MaskSpec().blocks({&blocks, 1}), square);
  add(files, {"blocks_causal", "Block-sparse and causal", "blocks(bits).causal()"},
      MaskSpec().blocks({&blocks, 1}).causal(), square);
  // A root, two answers to it, and answers to those.
  const std::int32_t parents[] = {-1, 0, 0, 1, 1, 2, 3};
  const TreeView tree{parents, 5};
  add(files, {"tree", "Speculation tree behind five keys", "tree(parents = {-1, 0, 0, 1, 1, 2, 3})"},
      MaskSpec().tree({&tree, 1}), {0, 7, 5, 12});
  std::uint64_t dilated[12] = {};
  for (int i = 0; i < 12; ++i) {
    for (int j = i % 3; j <= i; j += 3) dilated[i] |= std::uint64_t{1} << j;
  }
  const BitmapView bitmap{dilated, 1, 0};
  add(files, {"bitmap", "Any mask as bits: here every third key", "bitmap(bits)"}, MaskSpec().bitmap({&bitmap, 1}),
      square);
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int check(const Files& files, const std::filesystem::path& folder) {
  int n_wrong = 0;
  const auto wrong = [&](const std::string& name, const char* what) {
    std::printf("%s: %s\n", (folder / name).c_str(), what);
    ++n_wrong;
  };
  for (const auto& [name, content] : files) {
    if (content.size() > 20000) wrong(name, "more than 20 kB");
    if (!std::filesystem::exists(folder / name)) {
      wrong(name, "missing");
    } else if (read(folder / name) != content) {
      wrong(name, "not what mask_pictures writes");
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (files.count(entry.path().filename().string()) == 0)
      wrong(entry.path().filename().string(), "no picture of ours");
  }
  std::printf("%zu pictures, %d wrong\n", files.size(), n_wrong);
  return n_wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Files files;
  add_bounds(&files);
  add_spans(&files);
  add_bits(&files);
  const std::string command = argc == 3 ? argv[1] : "";
  if (command == "check") return check(files, argv[2]);
  if (command != "write") {
    std::fprintf(stderr, "usage: mask_pictures write|check FOLDER\n");
    return 2;
  }
  std::filesystem::create_directories(argv[2]);
  for (const auto& [name, content] : files) {
    std::ofstream file(std::filesystem::path(argv[2]) / name, std::ios::binary);
    file << content;
    if (!file.good()) {
      std::fprintf(stderr, "%s: cannot be written\n", name.c_str());
      return 1;
    }
  }
}
