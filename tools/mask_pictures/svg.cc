#include "tools/mask_pictures/svg.h"

#include <algorithm>
#include <vector>

#include "rowmax/kv.h"

namespace {

using rowmax::MaskPlan;
using rowmax::MaskRule;

constexpr const char* kVisible = "#2b6cb0";
constexpr const char* kHidden = "#e8ecf1";
constexpr const char* kPadding = "#b9c0ca";
constexpr const char* kEmptyRow = "#f3b98b";

enum class Cell { kVisible, kHidden, kPadding, kEmptyRow };

const char* colour(Cell cell) {
  switch (cell) {
    case Cell::kVisible: return kVisible;
    case Cell::kPadding: return kPadding;
    case Cell::kEmptyRow: return kEmptyRow;
    default: return kHidden;
  }
}

std::string text_of(std::int64_t number) { return std::to_string(number); }

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

class Drawing {
 public:
  Drawing(const Picture& picture, const MaskPlan& plan)
      : picture_(picture), plan_(plan), n_q_(plan.n_query(0)), n_kv_(plan.n_key(0)), size_(picture.tiles ? 1 : 18) {}

  std::string draw() {
    look();
    const std::int64_t grid = n_kv_ * size_;
    const std::int64_t width = std::max<std::int64_t>({left_ + grid + 16, 420, 32 + 7 * code_length()});
    const std::int64_t height = top_ + n_q_ * size_ + 64;
    svg_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + text_of(width) + "\" height=\"" + text_of(height) +
           "\" viewBox=\"0 0 " + text_of(width) + " " + text_of(height) +
           "\" font-family=\"sans-serif\" font-size=\"12\">\n<title>" + escaped(picture_.title) +
           "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
    text(16, 22, picture_.title, "font-size=\"14\" font-weight=\"bold\"");
    text(16, 42, picture_.code, "font-family=\"monospace\" fill=\"#444444\"");
    text(left_ + grid / 2, top_ - (picture_.tiles ? 8 : 22), "keys", "text-anchor=\"middle\"");
    svg_ += "<text transform=\"translate(14," + text_of(top_ + n_q_ * size_ / 2) +
            ") rotate(-90)\" text-anchor=\"middle\">queries</text>\n";
    fields();
    if (picture_.tiles) {
      tile_lines();
    } else {
      grid_lines();
      numbers();
    }
    legend();
    return svg_ + "</svg>\n";
  }

 private:
  std::int64_t code_length() const { return static_cast<std::int64_t>(picture_.code.size()); }

  // Cells by what explain() says, and positions.
  void look() {
    for (std::int64_t i = 0; i < n_q_; ++i) {
      bool empty = true;
      for (std::int64_t j = 0; j < n_kv_; ++j) empty = empty && !plan_.visible(0, 0, i, j);
      for (std::int64_t j = 0; j < n_kv_; ++j) {
        const auto why = plan_.explain(0, 0, i, j);
        const Cell cell = why->visible()              ? Cell::kVisible
                          : why->by(MaskRule::kValid) ? Cell::kPadding
                          : empty                     ? Cell::kEmptyRow
                                                      : Cell::kHidden;
        cells_.push_back(cell);
        seen_[static_cast<int>(cell)] = true;
        if (j == 0) positions_.push_back(why->position);
      }
    }
    for (std::int64_t i = 0; i < n_q_; ++i) shows_positions_ |= positions_[static_cast<std::size_t>(i)] != i;
  }

  void rect(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height, const char* fill) {
    svg_ += "<rect x=\"" + text_of(x) + "\" y=\"" + text_of(y) + "\" width=\"" + text_of(width) + "\" height=\"" +
            text_of(height) + "\" fill=\"" + fill + "\"/>\n";
  }
  void text(std::int64_t x, std::int64_t y, const std::string& words, const char* style) {
    svg_ += "<text x=\"" + text_of(x) + "\" y=\"" + text_of(y) + "\" " + style + ">" + escaped(words) + "</text>\n";
  }
  void lines(const std::string& path, const char* stroke, const char* width) {
    svg_ += "<path d=\"" + path + "\" stroke=\"" + stroke + "\" stroke-width=\"" + width + "\" fill=\"none\"/>\n";
  }

  Cell cell(std::int64_t i, std::int64_t j) const { return cells_[static_cast<std::size_t>(i * n_kv_ + j)]; }
  std::int64_t run_end(std::int64_t i, std::int64_t begin) const {
    std::int64_t end = begin + 1;
    while (end < n_kv_ && cell(i, end) == cell(i, begin)) ++end;
    return end;
  }
  bool has_run(std::int64_t i, std::int64_t begin, std::int64_t end, Cell which) const {
    return i >= 0 && i < n_q_ && cell(i, begin) == which && (begin == 0 || cell(i, begin - 1) != which) &&
           run_end(i, begin) == end;
  }
  // All cells but hidden ones, a path a colour: rectangles of equal runs in rows one after another.
  void fields() {
    std::string paths[4];
    for (std::int64_t i = 0; i < n_q_; ++i) {
      for (std::int64_t j = 0, end = 0; j < n_kv_; j = end) {
        end = run_end(i, j);
        const Cell which = cell(i, j);
        if (has_run(i - 1, j, end, which)) continue;  // drawn with the row above
        std::int64_t height = 1;
        while (has_run(i + height, j, end, which)) ++height;
        const std::string width = text_of((end - j) * size_);
        paths[static_cast<int>(which)] += "M" + text_of(left_ + j * size_) + " " + text_of(top_ + i * size_) + "h" +
                                          width + "v" + text_of(height * size_) + "h-" + width + "z";
      }
    }
    rect(left_, top_, n_kv_ * size_, n_q_ * size_, kHidden);
    for (const Cell which : {Cell::kVisible, Cell::kPadding, Cell::kEmptyRow}) {
      const std::string& path = paths[static_cast<int>(which)];
      if (!path.empty()) svg_ += "<path d=\"" + path + "\" fill=\"" + colour(which) + "\"/>\n";
    }
  }

  void grid_lines() {
    std::string path;
    for (std::int64_t j = 0; j <= n_kv_; ++j) {
      path += "M" + text_of(left_ + j * size_) + " " + text_of(top_) + "v" + text_of(n_q_ * size_);
    }
    for (std::int64_t i = 0; i <= n_q_; ++i) {
      path += "M" + text_of(left_) + " " + text_of(top_ + i * size_) + "h" + text_of(n_kv_ * size_);
    }
    lines(path, "#ffffff", "1");
  }
  void tile_lines() {
    std::string path;
    for (std::int64_t j = plan_.anchor(0, 0); j <= n_kv_; j += rowmax::kKeyTile) {
      path += "M" + text_of(left_ + j * size_) + " " + text_of(top_ - 4) + "v" + text_of(n_q_ * size_ + 8);
      if (j + rowmax::kKeyTile > n_kv_) continue;
      text(left_ + j * size_ + rowmax::kKeyTile / 2, top_ + n_q_ * size_ + 16, "tile",
           "font-size=\"10\" text-anchor=\"middle\"");
    }
    lines(path, "#c53030", "1");
  }

  void numbers() {
    for (std::int64_t j = 0; j < n_kv_; ++j) {
      text(left_ + j * size_ + size_ / 2, top_ - 6, text_of(j), "font-size=\"10\" text-anchor=\"middle\"");
    }
    for (std::int64_t i = 0; i < n_q_; ++i) {
      std::string label = text_of(i);
      if (shows_positions_) label += ", at " + text_of(positions_[static_cast<std::size_t>(i)]);
      text(left_ - 6, top_ + i * size_ + 13, label, "font-size=\"10\" text-anchor=\"end\"");
    }
  }

  void legend() {
    const char* const words[] = {"visible", "hidden", "not valid (padding)", "query that sees nothing"};
    std::int64_t x = 16;
    const std::int64_t y = top_ + n_q_ * size_ + 30;
    for (int c = 0; c < 4; ++c) {
      if (!seen_[c]) continue;
      rect(x, y, 12, 12, colour(static_cast<Cell>(c)));
      text(x + 17, y + 10, words[c], "font-size=\"11\"");
      x += 34 + 6 * static_cast<std::int64_t>(std::string(words[c]).size());
    }
  }

  const Picture& picture_;
  const MaskPlan& plan_;
  std::int64_t n_q_, n_kv_, size_;
  std::int64_t left_ = 78, top_ = 84;
  std::vector<Cell> cells_;
  std::vector<std::int64_t> positions_;
  bool shows_positions_ = false;
  bool seen_[4] = {};
  std::string svg_;
};

}  // namespace

std::string draw(const Picture& picture, const MaskPlan& plan) { return Drawing(picture, plan).draw(); }
