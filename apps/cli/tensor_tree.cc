#include "apps/cli/tensor_tree.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string_view>
#include <vector>

#include "apps/cli/terminal.h"

namespace rowmax::cli {
namespace {

using engine::GgufTensor;

std::string type_text(std::uint32_t type) {
  const std::string_view name = engine::gguf_tensor_type_name(type);
  return name.empty() ? "type " + std::to_string(type) : std::string(name);
}

struct Leaf {
  std::string name;  // behind the branch's name
  const GgufTensor* tensor;
};

// The tensors of one numbered layer ("blk.7"), or a single tensor outside of layers (no leaves but itself).
struct Branch {
  std::string stem;          // "blk"; the whole name where there is no number
  std::int64_t number = -1;  // 7; -1 where there is none
  std::vector<Leaf> leaves;
};

// "blk.7.attn_q.weight" -> stem "blk", number 7, rest "attn_q.weight".
bool split_layer_name(std::string_view name, std::string& stem, std::int64_t& number, std::string& rest) {
  const std::size_t first = name.find('.');
  const std::size_t second = first == std::string_view::npos ? first : name.find('.', first + 1);
  if (second == std::string_view::npos) return false;
  const std::string_view digits = name.substr(first + 1, second - first - 1);
  constexpr std::size_t kMaxDigits = 9;
  if (digits.empty() || digits.size() > kMaxDigits) return false;
  number = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + (c - '0');
  }
  stem = name.substr(0, first);
  rest = name.substr(second + 1);
  return true;
}

std::vector<Branch> branches_of(std::span<const GgufTensor> tensors) {
  std::vector<Branch> branches;
  std::map<std::string, std::size_t> layers;  // "blk.7" -> index
  for (const GgufTensor& tensor : tensors) {
    Branch branch;
    std::string rest;
    if (!split_layer_name(tensor.name, branch.stem, branch.number, rest)) {
      branches.push_back({std::string(tensor.name), -1, {{"", &tensor}}});
      continue;
    }
    const auto [it, is_new] = layers.try_emplace(branch.stem + "." + std::to_string(branch.number), branches.size());
    if (is_new) branches.push_back(std::move(branch));
    branches[it->second].leaves.push_back({std::move(rest), &tensor});
  }
  // Layers in the order of their numbers, where the first of them stands; files list them in any order.
  for (auto begin = branches.begin(); begin != branches.end();) {
    auto end =
        std::find_if(begin, branches.end(), [&](const Branch& b) { return b.number < 0 || b.stem != begin->stem; });
    if (end == begin) {
      ++begin;
      continue;
    }
    std::sort(begin, end, [](const Branch& a, const Branch& b) { return a.number < b.number; });
    begin = end;
  }
  for (Branch& branch : branches) {
    std::sort(branch.leaves.begin(), branch.leaves.end(), [](const Leaf& a, const Leaf& b) { return a.name < b.name; });
  }
  return branches;
}

bool alike(const Branch& a, const Branch& b) {
  if (a.number < 0 || b.number < 0 || a.stem != b.stem || a.leaves.size() != b.leaves.size()) return false;
  return std::equal(a.leaves.begin(), a.leaves.end(), b.leaves.begin(), [](const Leaf& x, const Leaf& y) {
    return x.name == y.name && x.tensor->type == y.tensor->type && x.tensor->shape == y.tensor->shape;
  });
}

std::string row(const std::string& lead, const std::string& name, const GgufTensor& tensor) {
  char line[256];
  std::snprintf(line, sizeof line, "%s%-*s %-18s %-6s %9s\n", lead.c_str(), static_cast<int>(34 - lead.size() / 3),
                shown(name, STDOUT_FILENO).c_str(), shape_text(tensor.shape).c_str(), type_text(tensor.type).c_str(),
                human_bytes(static_cast<double>(tensor.data.size())).c_str());
  return line;
}

}  // namespace

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string tensor_tree(std::span<const GgufTensor> tensors, bool fold) {
  const std::vector<Branch> branches = branches_of(tensors);
  std::string out;
  for (std::size_t i = 0; i < branches.size();) {
    const Branch& first = branches[i];
    std::size_t end = i + 1;
    while (fold && end < branches.size() && alike(first, branches[end])) ++end;
    const Branch& last = branches[end - 1];
    i = end;
    if (first.number < 0) {
      out += row("", first.stem, *first.leaves[0].tensor);
      continue;
    }
    const std::string stem = shown(first.stem, STDOUT_FILENO);
    out += stem + "." + std::to_string(first.number);
    if (last.number != first.number) out += " to " + stem + "." + std::to_string(last.number) + ", alike";
    out += "\n";
    for (std::size_t leaf = 0; leaf < first.leaves.size(); ++leaf) {
      const bool is_last = leaf + 1 == first.leaves.size();
      out += row(is_last ? "└─ " : "├─ ", first.leaves[leaf].name, *first.leaves[leaf].tensor);
    }
  }
  return out;
}

std::string tensor_types(std::span<const GgufTensor> tensors) {
  struct Total {
    std::uint32_t type;
    std::size_t count;
    double bytes;
  };
  std::vector<Total> totals;
  for (const GgufTensor& tensor : tensors) {
    auto it = std::find_if(totals.begin(), totals.end(), [&](const Total& t) { return t.type == tensor.type; });
    if (it == totals.end()) it = totals.insert(it, {tensor.type, 0, 0});
    ++it->count;
    it->bytes += static_cast<double>(tensor.data.size());
  }
  std::stable_sort(totals.begin(), totals.end(), [](const Total& a, const Total& b) { return a.bytes > b.bytes; });
  std::string out;
  for (const Total& total : totals) {
    char line[128];
    std::snprintf(line, sizeof line, "%-6s %5zu tensors %9s\n", type_text(total.type).c_str(), total.count,
                  human_bytes(total.bytes).c_str());
    out += line;
  }
  return out;
}

}  // namespace rowmax::cli
