// Test support: reads conformance/cases.bin (format: conformance/README.md) with the standard library alone.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "base/half.h"

namespace rowmax::attention::conformance {

// A tensor of the file; `real` holds f32, f16, bf16 and f64 elements, `whole` i64, u8 and single bits.
struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<double> real;
  std::vector<std::int64_t> whole;

  std::vector<float> floats() const { return {real.begin(), real.end()}; }
  // Index of an element of the tensor broadcast to four axes.
  std::size_t at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
    const std::int64_t index[4] = {a, b, c, d};
    std::int64_t at = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
      at = at * shape[axis] + (shape[axis] == 1 ? 0 : index[axis]);
    return static_cast<std::size_t>(at);
  }
  // Stride of an axis in elements, 0 where it is broadcast.
  std::int64_t stride(std::size_t axis) const {
    if (shape[axis] == 1) return 0;
    std::int64_t stride = 1;
    for (std::size_t later = axis + 1; later < shape.size(); ++later) stride *= shape[later];
    return stride;
  }
};

struct Case {
  std::map<std::string, std::string> text;
  std::map<std::string, std::int64_t> whole;
  std::map<std::string, double> real;
  std::map<std::string, Tensor> tensors;

  const std::string& name() const { return text.at("name"); }
  bool has(const std::string& key) const { return tensors.count(key) != 0; }
  const Tensor& tensor(const std::string& key) const { return tensors.at(key); }
  std::int64_t number(const std::string& key, std::int64_t otherwise) const {
    const auto found = whole.find(key);
    return found == whole.end() ? otherwise : found->second;
  }
  std::int64_t batch() const { return whole.at("batch"); }
  std::int64_t n_head() const { return tensor("q").shape[1]; }
  std::int64_t n_kv_head() const { return tensor("k").shape[1]; }
  std::int64_t n_q() const { return tensor("q").shape[2]; }
  std::int64_t n_kv() const { return tensor("k").shape[2]; }
  std::int64_t k_dim() const { return tensor("k").shape[3]; }
  std::int64_t v_dim() const { return tensor("v").shape[3]; }
  // Names of the groups of cases whose results must be the same bits; group n has its rows in bit_rows_<n>.
  std::vector<std::string> bit_groups() const {
    std::vector<std::string> groups;
    const std::string& names = text.at("bits");
    for (std::size_t begin = 0; begin < names.size();) {
      const std::size_t end = std::min(names.find('|', begin), names.size());
      groups.push_back(names.substr(begin, end - begin));
      begin = end + 1;
    }
    return groups;
  }
};

class CaseReader {
 public:
  // An empty list where the file is missing, of another kind or cut short.
  static std::vector<Case> read(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    CaseReader reader;
    reader.data_.assign(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    if (reader.string(8) != "ATTNCASE" || reader.number<std::uint32_t>() != 1) return {};
    std::vector<Case> cases(reader.number<std::uint32_t>());
    for (Case& c : cases) {
      const auto n_fields = reader.number<std::uint32_t>();
      for (std::uint32_t field = 0; field < n_fields; ++field) reader.field(&c);
    }
    if (reader.bad_ || reader.at_ != reader.data_.size()) return {};
    return cases;
  }

 private:
  enum Kind : std::uint8_t { kInt = 1, kFloat = 2, kText = 3, kTensor = 4 };
  enum Element : std::uint8_t { kF32, kF16, kBF16, kF64, kI64, kBits, kU8 };

  template <class T>
  T number() {
    T value{};
    if (data_.size() - at_ < sizeof(T)) {
      bad_ = true;
      return value;
    }
    std::memcpy(&value, data_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  std::string string(std::size_t n) {
    if (data_.size() - at_ < n) {
      bad_ = true;
      return {};
    }
    at_ += n;
    return std::string(data_.data() + at_ - n, n);
  }
  void field(Case* c) {
    const std::string key = string(number<std::uint8_t>());
    const auto kind = number<std::uint8_t>();
    if (kind == kInt) c->whole[key] = number<std::int64_t>();
    if (kind == kFloat) c->real[key] = number<double>();
    if (kind == kText) c->text[key] = string(number<std::uint32_t>());
    if (kind == kTensor) c->tensors[key] = tensor();
    bad_ = bad_ || kind < kInt || kind > kTensor;
  }
  Tensor tensor() {
    Tensor tensor;
    const auto element = number<std::uint8_t>();
    std::size_t n = 1;
    const auto rank = number<std::uint8_t>();
    for (int axis = 0; axis < rank; ++axis) {
      tensor.shape.push_back(number<std::uint32_t>());
      n *= static_cast<std::size_t>(tensor.shape.back());
    }
    if (n > data_.size() * 8) bad_ = true;
    for (std::size_t i = 0; i < n && !bad_; ++i) {
      if (element == kF32) tensor.real.push_back(number<float>());
      if (element == kF16) tensor.real.push_back(base::f16_to_f32(number<std::uint16_t>()));
      if (element == kBF16) tensor.real.push_back(base::bf16_to_f32(number<std::uint16_t>()));
      if (element == kF64) tensor.real.push_back(number<double>());
      if (element == kI64) tensor.whole.push_back(number<std::int64_t>());
      if (element == kU8) tensor.whole.push_back(number<std::uint8_t>());
      if (element == kBits) {
        if (i % 8 == 0) bits_ = number<std::uint8_t>();
        tensor.whole.push_back(bits_ >> (i % 8) & 1);
      }
      bad_ = bad_ || element > kU8;
    }
    return tensor;
  }

  std::string data_;
  std::size_t at_ = 0;
  std::uint8_t bits_ = 0;
  bool bad_ = false;
};

}  // namespace rowmax::attention::conformance
