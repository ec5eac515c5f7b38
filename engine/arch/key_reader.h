// Reads the metadata an architecture needs: typed, ranged, with overrides, and with a record of where every effective
// value came from. The first error is kept; later reads return harmless values, so that a reader stays straight-line.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/text.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/engine/types.h"

namespace rowmax::engine {

class KeyReader {
 public:
  // prefix: the architecture's name; keys are given without it ("rope.freq_base").
  KeyReader(const GgufFile& file, const KeyOverrides& overrides, std::string prefix);

  bool has(std::string_view key) const;
  // Required: an absent key is an error that names it and the override. Values outside [low, high] are errors; bound:
  // the keys that one of the two comes from, for the error.
  std::int64_t require_int(std::string_view key, std::int64_t low, std::int64_t high, const char* fact,
                           std::string_view bound = {});
  double require_float(std::string_view key, double low, double high, const char* fact);
  // Optional: the default is the architecture's documented one.
  std::int64_t int_or(std::string_view key, std::int64_t fallback, std::int64_t low, std::int64_t high,
                      const char* fact, std::string_view why, std::string_view bound = {});
  double float_or(std::string_view key, double fallback, double low, double high, const char* fact,
                  std::string_view why);
  // The same of a value that has two spellings. Where the file has both they must agree, unless one of them is
  // overridden.
  double float_of_two(std::string_view key, std::string_view other, double fallback, double low, double high,
                      const char* fact, std::string_view why);
  std::string string_or(std::string_view key, std::string_view fallback);
  bool bool_or(std::string_view key, bool fallback);
  // The numbers (or booleans, as 0 and 1) of an array or of one value; none where the key is absent. An override is
  // one value. Strings and more than `most` numbers are errors.
  std::optional<std::vector<std::int64_t>> ints(std::string_view key, std::size_t most);

  void fact(std::string name, std::string value, std::string source);
  void notice(std::string text) { notices_.push_back(std::move(text)); }
  void fail(ErrorCode code, std::string message);  // keeps the first one; adds the file's name

  const GgufFile& file() const noexcept { return file_; }
  const std::string& prefix() const noexcept { return prefix_; }
  std::string full_key(std::string_view key) const;
  // The source of a fact whose key is not there and needs no default.
  std::string no_key(std::string_view key) const { return "no key " + full_key(key); }
  bool failed() const noexcept { return error_.has_value(); }
  Error take_error() { return std::move(*error_); }
  std::vector<ModelFact>& facts() noexcept { return facts_; }
  std::vector<std::string>& notices() noexcept { return notices_; }
  // An override that no read has asked for is a typing error of the user: kInvalidArgument. Those of tokenizer keys are
  // the tokenizer's business.
  void check_overrides_used();
  // Every key under the prefix is read by now, at a value that changes nothing (unread_keys.h), or in `ignored` (a
  // notice); anything else is kUnsupported, one error that names all of them. tokenizer: the tokenizer's keys, of which
  // those that it refuses are named there too.
  void check_all_read(const IgnoredKeys& ignored, std::span<const KeyReport> tokenizer);
  // The same as a list. rules: of the keys that were not read.
  std::vector<KeyReport> report(const IgnoredKeys& ignored) const;

 private:
  const GgufFile& file_;
  const KeyOverrides& overrides_;
  std::vector<bool> override_used_;
  std::set<std::string, std::less<>> asked_;  // whole keys
  std::string prefix_;
  std::vector<ModelFact> facts_;
  std::vector<std::string> notices_;
  std::optional<Error> error_;

  const std::string* override_for(std::string_view full_key);
  std::optional<double> find_number(std::string_view key, bool integer, std::string* source);
  double checked(std::string_view key, double value, double low, double high, std::string_view bound = {});
};

}  // namespace rowmax::engine
