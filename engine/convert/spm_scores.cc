#include "engine/convert/spm_scores.h"

#include <map>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

// What merging makes a token: the place of its first merge among those of other tokens.
struct Product {
  std::size_t rank = 0;
  std::unordered_set<std::size_t> splits;  // bytes of the left part
};

bool is_boundary(std::string_view text, std::size_t at) {
  return (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
}

}  // namespace

Result<std::vector<float>> scores_from_merges(const std::vector<std::string>& tokens,
                                              const std::vector<bool>& mergeable,
                                              const std::vector<MergePair>& merges) {
  std::map<std::string_view, std::size_t> ids;  // the folder chooses the texts
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (mergeable[i]) ids.emplace(tokens[i], i);
  }
  std::unordered_map<std::size_t, Product> products;
  std::size_t last = tokens.size();
  for (const MergePair& merge : merges) {
    const auto id = ids.find(merge.left + merge.right);
    if (id == ids.end()) continue;  // of an added token, which is found before any merging
    const std::size_t token = id->second;
    const auto [place, is_new] = products.try_emplace(token);
    if (is_new) place->second.rank = products.size() - 1;
    if (!is_new && token != last) {
      return Error{ErrorCode::kUnsupported, concat("model.merges: the merges that make ", quote(tokens[token]),
                                                   " do not follow each other, so that no score stands for them")};
    }
    place->second.splits.insert(merge.left.size());
    last = token;
  }
  for (const auto& [text, token] : ids) {
    const auto product = products.find(token);
    for (std::size_t at = 1; at < text.size(); ++at) {
      if (!is_boundary(text, at)) continue;
      if (!ids.contains(text.substr(0, at)) || !ids.contains(text.substr(at))) continue;
      if (product != products.end() && product->second.splits.contains(at)) continue;
      return Error{ErrorCode::kUnsupported,
                   concat("model.merges: ", quote(text.substr(0, at)), " and ", quote(text.substr(at)),
                          " make a token, but are no merge; a scored vocabulary would merge them")};
    }
  }
  std::vector<float> scores(tokens.size(), 0.0f);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!mergeable[i]) continue;
    const auto product = products.find(i);
    scores[i] = -static_cast<float>(product != products.end() ? product->second.rank : products.size());
  }
  return scores;
}

}  // namespace rowmax::engine
