// Chat templates against Python's jinja2: testdata/*.json hold what it rendered (tools/templates/render_oracle.py).
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "engine/template/test_values.h"

namespace rowmax::engine {
namespace {

const std::string kTestdata = std::string(ROWMAX_SOURCE_DIR) + "/engine/template/testdata/";

// Templates that jinja2 renders and this interpreter refuses with kUnsupported: stated differences, each with a reason
// in docs/chat_templates.md.
const std::set<std::string> kRefused = {
    "{{ '{0.__class__}'.format(1) }}",  // jinja2 renders nothing; reaching for internals is refused at once
    "{{ ''.__class__ }}",
    "{{ d['__class__'] }}",
    "{{ self is defined }}",                // template inheritance
    "{{ 0x10 }}",                           // only decimal literals
    "{{ s|nofilter if not t else 'ok' }}",  // jinja2 reports an unknown filter there only when it is reached
};
TEST(ChatTemplateOracle, SnippetsRenderLikeJinja2) {
  const Json data = read_json(kTestdata + "snippets.json");
  const TemplateValue globals = value_of(data["globals"]);
  ASSERT_GT(data["snippets"].size(), 400u);
  for (const Json& row : data["snippets"]) {
    const std::string source = row["source"];
    const auto got = render_once(source, globals, data["now"].get<std::int64_t>());
    if (kRefused.count(source) != 0) {
      ASSERT_FALSE(got.ok()) << source;
      EXPECT_EQ(got.error().code, ErrorCode::kUnsupported) << source;
    } else if (row.contains("text")) {
      EXPECT_EQ(got.ok() ? *got : "error: " + got.error().message, row["text"].get<std::string>()) << source;
    } else {
      EXPECT_FALSE(got.ok()) << source << "\n  rendered: " << (got.ok() ? *got : "") << "\n  jinja2: " << row["error"];
    }
  }
}

// {equal, both refuse, different} of one template over all conversations.
struct Tally {
  int equal = 0;
  int both_refuse = 0;
  int unsupported = 0;
  int different = 0;
  std::string first_problem;
};

Tally compare_template(const Json& row, const Json& data) {
  Tally tally;
  const auto parsed = ChatTemplate::parse(row["source"].get<std::string>());
  for (std::size_t i = 0; i < row["outputs"].size(); ++i) {
    const Json& expected = row["outputs"][i];
    const Json& conversation = data["conversations"][i];
    Result<std::string> got = parsed.ok()
                                  ? parsed->render(value_of(conversation["globals"]), data["now"].get<std::int64_t>())
                                  : Result<std::string>(parsed.error());
    if (expected.contains("text") == got.ok() && (!got.ok() || *got == expected["text"].get<std::string>())) {
      ++(got.ok() ? tally.equal : tally.both_refuse);
      continue;
    }
    const bool unsupported = !got.ok() && got.error().code == ErrorCode::kUnsupported;
    ++(unsupported ? tally.unsupported : tally.different);
    if (tally.first_problem.empty()) {
      tally.first_problem = conversation["name"].get<std::string>() + ": " +
                            (got.ok() ? "rendered " + *got : got.error().message) + " / jinja2: " + expected.dump();
    }
  }
  return tally;
}

TEST(ChatTemplateOracle, TemplatesOfModelsRenderLikeJinja2) {
  const Json data = read_json(kTestdata + "templates.json");
  ASSERT_GE(data["templates"].size(), 10u);
  ASSERT_GE(data["conversations"].size(), 12u);
  for (const Json& row : data["templates"]) {
    const Tally tally = compare_template(row, data);
    EXPECT_EQ(tally.different + tally.unsupported, 0) << row["name"] << ": " << tally.first_problem;
    EXPECT_GT(tally.equal, 4) << row["name"];
  }
}

// With ROWMAX_TEMPLATE_DIR: the file oracle.json in it, of render_oracle.py, over templates that this repository may
// not carry. ROWMAX_TEMPLATE_REPORT names a file that receives the figures of docs/chat_templates.md.
TEST(ChatTemplateOracle, TemplatesOfAFolderRenderLikeJinja2) {
  const char* folder = std::getenv("ROWMAX_TEMPLATE_DIR");
  if (folder == nullptr) GTEST_SKIP() << "ROWMAX_TEMPLATE_DIR is not set";
  const Json data = read_json(std::string(folder) + "/oracle.json");
  Json report = Json::array();
  for (const Json& row : data["templates"]) {
    const Tally tally = compare_template(row, data);
    EXPECT_EQ(tally.different, 0) << row["name"] << ": " << tally.first_problem;
    report.push_back({{"name", row["name"]},
                      {"equal", tally.equal},
                      {"both_refuse", tally.both_refuse},
                      {"unsupported", tally.unsupported},
                      {"different", tally.different},
                      {"problem", tally.first_problem.substr(0, 160)}});
  }
  if (const char* path = std::getenv("ROWMAX_TEMPLATE_REPORT")) {
    std::ofstream(path) << report.dump(1, ' ', false, Json::error_handler_t::replace) << "\n";
  }
}

}  // namespace
}  // namespace rowmax::engine
