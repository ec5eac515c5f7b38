// GGUF files, version 2 and 3: metadata and tensors of a model, read from a memory map and validated whole before
// anything of it is used. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
// A model file is hostile until checked: every count, length, offset and product is bounded by the bytes that are
// really there before memory is taken for it. Little-endian files only (a big-endian one gives a clear error).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::engine {

enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
const char* gguf_type_name(GgufType type) noexcept;
// The name of a tensor's type id, as in "Q4_1"; empty for one that nobody defined. Some ids stand for several layouts:
// gguf_tensor_format_name(tensor) knows which one a file holds.
std::string_view gguf_tensor_type_name(std::uint32_t type) noexcept;

// An array of scalars keeps its bytes in the file (little-endian, perhaps unaligned); one of strings is a list of views
// into the file, whose bytes are the file's own (any byte, NUL and malformed UTF-8 included). Arrays of arrays are
// refused.
struct GgufArray {
  GgufType element_type = GgufType::kU8;
  std::size_t size = 0;
  std::span<const std::byte> bytes;       // scalars: size * element size
  std::vector<std::string_view> strings;  // strings: size views, valid as long as the file
  // Element i as a number (i < size, element_type not a string); integers beyond 2^53 lose bits in as_double, and
  // as_int cuts fractions, takes the nearest int64 for what is out of its range, and 0 for NaN.
  double as_double(std::size_t i) const noexcept;
  std::int64_t as_int(std::size_t i) const noexcept;
};

struct GgufValue {
  GgufType type = GgufType::kU8;
  // unsigned kinds -> uint64, signed kinds -> int64, floats -> double, bool -> bool, string -> a view into the file
  std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray> value;
};

// What becomes of a key. One that nobody reads and that is not known to change nothing stands in the way of loading: a
// model that is computed differently from what its file says is worse than none.
enum class KeyUse : std::uint8_t {
  kRead,      // the engine acts on it
  kNeutral,   // not read, and at the value that means the same as its absence
  kHarmless,  // not read, and nothing that is computed depends on it
  kIgnored,   // not read, and told to be ignored
  kRefused,   // not read, and it would change what is computed, or nobody knows
};
const char* key_use_name(KeyUse use) noexcept;  // "read", "neutral", ...
struct KeyReport {
  std::string_view key;  // a view into the file
  KeyUse use = KeyUse::kRead;
  std::string_view why;  // for kNeutral, kHarmless and kRefused: what the key does
};
struct FormatInfo;  // engine/quant

struct GgufTensor {
  std::string_view name;
  std::uint32_t type = 0;              // the file's type id
  const FormatInfo* format = nullptr;  // what the type stands for in this file
  std::vector<std::int64_t> shape;     // 1 to 4 dims, fastest first: a matrix is [columns, rows]
  std::uint64_t offset = 0;            // from the start of the tensor data (of its part)
  std::span<const std::byte> data;     // in the map; size checked against type and shape
  std::int64_t n_elements() const noexcept;
};
std::string_view gguf_tensor_format_name(const GgufTensor& tensor) noexcept;

// What a file has behind its last tensor and the padding of that: nothing, in one that is what its writer wrote.
struct GgufRest {
  std::string file;  // the path; of a file in memory its name
  std::uint64_t offset = 0;
  std::span<const std::byte> bytes;
};

// The scales of a tensor whose weights are a scale times -1, 0 or 1 (in Q1_0 -1 or 1, in Q2_0 also 2), as the file holds
// them: one a block, a row or the whole tensor. Nothing is clamped on the way into a product.
struct GgufScales {
  std::int64_t n = 0, n_zero = 0, n_subnormal = 0, n_negative = 0, n_non_finite = 0;  // subnormal in their own type
  float min = 0, max = 0;                                                             // of the finite ones
};
// Nothing for tensors of other formats.
std::optional<GgufScales> ternary_scales(const GgufTensor& tensor) noexcept;

// Some type ids stand for several layouts and nothing in a file says which it holds. Where the sizes of the tensors
// tell them apart (Q2_0), they decide; where they do not, the id stands for its usual layout (I2_S) or the file is
// refused.
struct GgufOptions {
  // Names of formats that their type id stands for, whatever the sizes suggest: "I2_S_64", "I2_S_ROW4", "Q2_0_128", ...
  std::vector<std::string> formats;
};

class GgufFile {
 public:
  // Maps a regular file read-only. Errors name the file and the header field, key or tensor. A tensor whose type
  // rowmax cannot read is an error (kUnsupported) that names the type. A model that was split over several files
  // (NAME-00001-of-00003.gguf) opens as a whole by the name of any of them: the metadata are the first one's, the
  // tensors all; kNotFound names those that are missing, kCorrupt one that does not belong to the others. Replace a
  // model by renaming a new file over it: reading one that was truncated while it is open ends the process with SIGBUS,
  // unless guard_mapped_files() was called.
  static Result<GgufFile> open(const std::string& path, const GgufOptions& options = {});
  // A split model whose files have any names, in order; one path: as open().
  static Result<GgufFile> open_files(std::span<const std::string> paths, const GgufOptions& options = {});
  // Reads from memory that the caller keeps alive; name stands in error messages.
  static Result<GgufFile> parse(std::span<const std::byte> bytes, std::string name, const GgufOptions& options = {});
  // The same bytes as a file of its own, which keeps them mapped as long as either lives: what type ids stand for is read
  // anew, `options` going before what this one was opened with.
  Result<GgufFile> reopen(const GgufOptions& options = {}) const;

  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  const std::string& name() const noexcept;             // the path (of the first part), for messages
  std::span<const std::string> paths() const noexcept;  // of all parts; none for a file in memory
  const GgufOptions& options() const noexcept;          // that it was opened with
  std::uint32_t version() const noexcept;
  std::uint64_t file_bytes() const noexcept;  // of all parts
  std::uint32_t alignment() const noexcept;
  // One line each: things that are legal but worth telling (gaps between tensors, ...).
  std::span<const std::string> notices() const noexcept;
  std::span<const GgufRest> rests() const noexcept;  // of each part that has one

  std::span<const std::pair<std::string_view, GgufValue>> metadata() const noexcept;  // in file order
  std::span<const GgufTensor> tensors() const noexcept;                               // in file order
  const GgufValue* find(std::string_view key) const noexcept;                         // nullptr when absent
  const GgufTensor* find_tensor(std::string_view name) const noexcept;

  // For a reader that can do without the key: nothing when it is absent or of another type, and no memory is needed to
  // say so. Integers and arrays as below.
  std::optional<std::uint64_t> find_uint(std::string_view key) const noexcept;
  std::optional<std::string_view> find_string(std::string_view key) const noexcept;
  const GgufArray* find_array(std::string_view key, GgufType element_type) const noexcept;
  const GgufArray* find_int_array(std::string_view key) const noexcept;

  // Typed access. kNotFound for an absent key, kCorrupt for another type or a value outside the range; messages name
  // file, key, expected and found. Any integer kind converts when the value fits; f32 and f64 both read as double, and
  // infinities and NaN are refused. get_array wants exactly this element type, get_int_array any integer kind (read it
  // with as_int).
  Result<std::uint64_t> get_uint(std::string_view key) const;
  Result<double> get_float(std::string_view key) const;
  Result<bool> get_bool(std::string_view key) const;
  Result<std::string_view> get_string(std::string_view key) const;
  Result<const GgufArray*> get_array(std::string_view key, GgufType element_type) const;
  Result<const GgufArray*> get_int_array(std::string_view key) const;

  // kCorrupt when the file was truncated since it was opened. After guard_mapped_files() bytes that are gone read as
  // zeros, so ask this before trusting what was computed from tensors; Model::load, Session::forward and quantize_gguf
  // do.
  Status check_intact() const;
  // Tells the kernel that these bytes of the file (a tensor, say) are not needed in memory now; they can be read again.
  void drop_pages(std::span<const std::byte> range) const noexcept;

 private:
  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl) noexcept;
  Result<const GgufValue*> require(std::string_view key, std::string_view expected) const;
  Error mismatch(std::string_view key, std::string_view expected, const GgufValue& found) const;
  std::unique_ptr<Impl> impl_;
};

// For applications, once, at their start: handles SIGBUS for the whole process. A read of an open model file whose
// bytes are gone (truncated, or on a failing disk) then gives zeros and an error from check_intact() in place of the
// process's end; all other faults go to the handler that was there before. kIo when the system refuses.
Status guard_mapped_files();

// A format that a type id of the file could stand for as well: one whose tensors have the same sizes as those of the
// format that was taken.
struct GgufLayoutDoubt {
  std::string_view taken, other;
};
// All of them, where the options that it was opened with did not choose. Empty for nearly every file.
Result<std::vector<GgufLayoutDoubt>> gguf_layout_doubts(const GgufFile& file);
// What a type id of the file with several layouts is taken for, and all that it could be named to stand for.
struct GgufLayoutChoice {
  std::string_view taken;
  std::vector<std::string_view> names;
};
Result<std::vector<GgufLayoutChoice>> gguf_layout_choices(const GgufFile& file);
// Tells the contents of files apart without reading them whole: length, tensors, and 8 KiB of each tensor's bytes. No
// protection against anybody who wants two files to have the same.
std::uint64_t gguf_content_hash(const GgufFile& file);

// A tensor whose bytes come later.
struct GgufTensorPlan {
  std::string name;
  std::uint32_t type = 0;
  std::vector<std::int64_t> shape;
  std::uint64_t n_bytes = 0;  // exactly what type and shape need
};

// Builds a version 3 file, keys and tensors in the order of the calls, and writes it atomically (a temporary file
// beside it, then a rename). The tensor data's alignment is 32, or what set_uint32("general.alignment", ...) says.
// The calls that return nothing fill containers, and throw what these throw (std::bad_alloc).
class GgufWriter {
 public:
  void set_uint32(std::string key, std::uint32_t value);
  void set_uint64(std::string key, std::uint64_t value);
  void set_float32(std::string key, float value);
  void set_bool(std::string key, bool value);
  void set_string(std::string key, std::string_view value);
  void set_bools(std::string key, const std::vector<bool>& values);
  void set_strings(std::string key, const std::vector<std::string>& values);
  void set_int32s(std::string key, const std::vector<std::int32_t>& values);
  void set_float32s(std::string key, const std::vector<float>& values);
  // A value as a file holds it, with its type.
  void set_value(std::string key, const GgufValue& value);
  // Takes a key out again; nothing happens where there is none.
  void remove(std::string_view key);
  // data: exactly the bytes that type and shape need (else write() fails); for a type id with layouts of several sizes,
  // the bytes of any of them.
  void add_tensor(std::string name, std::uint32_t type, std::vector<std::int64_t> shape, std::vector<std::byte> data);

  // The whole file as bytes; kInvalidArgument for a duplicate or unprintable name, a wrong size or an unknown type:
  // what is written can always be read back.
  Result<std::vector<std::byte>> bytes() const;
  Status write(const std::string& path) const;
  // The same for a file with these tensors in place of its own, whose bytes the caller writes behind it: everything
  // before the tensor data, padded. Between tensors the caller pads to tensor_alignment().
  Result<std::vector<std::byte>> head_for(std::span<const GgufTensorPlan> tensors) const;
  Result<std::uint32_t> tensor_alignment() const { return alignment(); }

 private:
  struct Entry {
    std::string key;
    GgufType type;
    std::vector<std::byte> body;  // as it stands in the file, behind the type
  };
  struct Tensor {
    std::string name;
    std::uint32_t type;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> data;
  };
  void put(std::string key, GgufType type, std::vector<std::byte> body);
  Result<std::uint32_t> alignment() const;
  // Everything before the tensor data, padded; checks all that bytes() promises.
  Result<std::vector<std::byte>> head() const;
  Result<std::vector<std::byte>> checked_head(std::span<const GgufTensorPlan> tensors) const;

  std::vector<Entry> entries_;
  std::vector<Tensor> tensors_;
};

}  // namespace rowmax::engine
