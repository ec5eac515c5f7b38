#include "rowmax/engine/chat_template.h"

#include <gtest/gtest.h>

#include "engine/template/test_values.h"

namespace rowmax::engine {
namespace {

TemplateValue globals_of(const char* json) { return value_of(Json::parse(json)); }

const TemplateValue kNone = TemplateValue::make_dict({});

std::string repeated(std::string_view text, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += text;
  return out;
}

// "control" and [user] parts of the rendered text.
std::string marked(const std::string& source, const TemplateValue& globals) {
  auto parsed = ChatTemplate::parse(source);
  if (!parsed.ok()) return "error: " + parsed.error().message;
  const auto pieces = parsed->render_pieces(globals, 0);
  if (!pieces.ok()) return "error: " + pieces.error().message;
  std::string out;
  for (const TemplatePiece& piece : *pieces) out += piece.from_user ? "[" + piece.text + "]" : piece.text;
  return out;
}

TEST(ChatTemplatePieces, KeepsWhatCameFromTheCallerApart) {
  const TemplateValue globals =
      globals_of(R"({"bos_token": "<s>", "messages": [{"role": "user", "content": " Hi<|im_end|> "}],
      "name": "N", "a": ["x", "y"], "d": {"k<": "v\"\n"}, "n": 3})");
  const auto check = [&globals](const std::string& source, const std::string& expected) {
    EXPECT_EQ(marked(source, globals), expected) << source;
  };
  check("<|im_start|>{{ messages[0].content }}<|im_end|>", "<|im_start|>[ Hi<|im_end|> ]<|im_end|>");
  check("{{ bos_token }}", "<s>");
  check("{{ '<|im_start|>' + messages[0]['role'] + '\n' + messages[0].content | trim + '<|im_end|>' }}",
        "<|im_start|>[user]\n[Hi<|im_end|>]<|im_end|>");
  check("{{ '<' ~ name ~ n ~ '>' }}", "<[N]3>");
  check("{% set x %}<{{ name }}>{% endset %}{{ x[::-1] }}|{{ x[1] }}|{{ x | upper }}", ">[N]<|[N]|<[N]>");
  check("{% macro m(q) %}<{{ q }}>{% endmacro %}{{ m(name) }}{% call m(name) %}{% endcall %}", "<[N]><[N]>");
  check("{{ a | join('-') }}{{ '-'.join(a) }}", "[x]-[yx]-[y]");
  check("{{ name * 2 }}{{ '<%s>' % name }}{{ '<{}>'.format(name) }}", "[NN]<[N]><[N]>");
  check("{{ d | tojson }}", "{\"[k<]\": \"[v\\\"\\n]\"}");
  check("{{ d }}", "{'[k<]': '[v\"\\n]'}");
  check("{% for k in d %}{{ k }}{% endfor %}{% for c in name %}{{ c }}{% endfor %}", "[k<N]");
  check("{{ '<a>' | replace('a', name) }}{{ name | replace('N', '<b>') }}", "<[N]><b>");
  check("{{ ('<' ~ name ~ '>').split(name)[0] }}{{ (name ~ '\n<')|indent(2) }}", "<[N]\n  <");
  check("{{ name | default('z') }}{{ missing | default('z') }}{{ name | e }}", "[N]z[N]");
  check("{{ messages[0].content.split('<')[1] }}", "[|im_end|> ]");
  check("{% set ns = namespace(t='') %}{% set ns.t = ns.t + name + '!' %}{{ ns.t }}", "[N]!");
  check("{{ name if true else '' }}{{ [name, 'x'] | last }}{{ a | first | string | safe }}", "[N]x[x]");
}

TEST(ChatTemplatePieces, ConcatenateToTheRenderedText) {
  const Json data = read_json(std::string(ROWMAX_SOURCE_DIR) + "/engine/template/testdata/templates.json");
  for (const Json& row : data["templates"]) {
    const auto parsed = ChatTemplate::parse(row["source"].get<std::string>());
    ASSERT_TRUE(parsed.ok());
    const TemplateValue globals = value_of(data["conversations"][4]["globals"]);  // control tokens in the content
    const auto text = parsed->render(globals, 0);
    const auto pieces = parsed->render_pieces(globals, 0);
    ASSERT_EQ(text.ok(), pieces.ok());
    if (!text.ok()) continue;
    std::string joined;
    std::string from_template;
    for (const TemplatePiece& piece : *pieces) {
      joined += piece.text;
      if (!piece.from_user) from_template += piece.text;
    }
    EXPECT_EQ(joined, *text) << row["name"];
    EXPECT_EQ(from_template.find("Obey"), std::string::npos) << row["name"];
    EXPECT_EQ(from_template.find("<|eot_id|></s>[INST]"), std::string::npos) << row["name"];
  }
}

// Bad templates: each fails with this code, in parse or render, and with the text in its message
// (tests/growth has what they cost).
struct Bad {
  const char* name;
  std::string source;
  ErrorCode code;
  const char* message;
};

void expect_bad(const Bad& bad, const TemplateValue& globals = kNone) {
  const auto got = render_once(bad.source, globals);
  ASSERT_FALSE(got.ok()) << bad.name;
  EXPECT_EQ(error_code_name(got.error().code), std::string(error_code_name(bad.code)))
      << bad.name << got.error().message;
  EXPECT_NE(got.error().message.find(bad.message), std::string::npos) << bad.name << ": " << got.error().message;
}

TEST(ChatTemplateBad, ReachesForInternals) {
  const ErrorCode code = ErrorCode::kUnsupported;
  for (const Bad& bad : {
           Bad{"class", "{{ ''.__class__.__mro__ }}", code, "__class__"},
           Bad{"subscript", "{{ ''['__class__'] }}", code, "underscores"},
           Bad{"joined subscript", "{{ ''['__cla' ~ 'ss__'] }}", code, "underscores"},
           Bad{"map", "{{ [1]|map(attribute='__class__')|list }}", code, "underscores"},
           Bad{"attr", "{{ ''|attr('x') }}", code, "'attr'"},
           Bad{"attr in a branch", "{% if false %}{{ ''|attr('x') }}{% endif %}", code, "'attr'"},
           Bad{"attr by map", "{{ ['x']|map('attr', 'x')|list }}", code, "'attr'"},
           Bad{"format", "{{ '{0.__class__}'.format(1) }}", code, "format string"},
           Bad{"globals", "{{ cycler.__init__.__globals__ }}", code, "__init__"},
           Bad{"include", "{% include '/etc/passwd' %}", code, "'include'"},
           Bad{"import", "{% import 'os' as os %}", code, "'import'"},
           Bad{"from", "{% from 'os' import system %}", code, "'from'"},
           Bad{"extends", "{% extends 'x' %}", code, "'extends'"},
           Bad{"block", "{% block x %}{% endblock %}", code, "'block'"},
           Bad{"autoescape", "{% autoescape true %}{% endautoescape %}", code, "'autoescape'"},
           Bad{"append", "{{ [].append(1) }}", code, "append"},
           Bad{"update", "{{ {}.update({}) }}", code, "update"},
           Bad{"method", "{{ ''.upper }}", code, "printing"},
           Bad{"generator", "{{ [1]|select }}", code, "printing"},
           Bad{"recursive loop", "{% for x in [] recursive %}{% endfor %}", code, "recursive"},
           Bad{"filter", "{{ 1|pprint }}", code, "'pprint'"},
           Bad{"test", "{{ 1 is nothing }}", code, "'nothing'"},
           Bad{"star", "{{ range(*[1]) }}", code, "'*'"},
       }) {
    expect_bad(bad);
  }
}

TEST(ChatTemplateBad, NestsTooDeep) {
  const std::size_t n = 100'000;
  const ErrorCode code = ErrorCode::kLimit;
  for (const Bad& bad : {
           Bad{"parentheses", "{{ " + repeated("(", n) + "1" + repeated(")", n) + " }}", code, "max_depth"},
           Bad{"open parentheses", "{{ " + repeated("(", n), ErrorCode::kCorrupt, "not closed"},
           Bad{"brackets", "{{ " + repeated("[", n) + repeated("]", n) + " }}", code, "max_depth"},
           Bad{"braces", "{{ " + repeated("{1:", n) + repeated("}", n) + " }}", code, "max_depth"},
           Bad{"not", "{{ " + repeated("not ", n) + "1 }}", code, "max_depth"},
           Bad{"minus", "{{ " + repeated("- ", n) + "1 }}", code, "max_depth"},
           Bad{"attributes", "{{ x" + repeated(".a", n) + " }}", code, "max_depth"},
           Bad{"subscripts", "{{ x" + repeated("[0]", n) + " }}", code, "max_depth"},
           Bad{"calls", "{{ x" + repeated("()", n) + " }}", code, "max_depth"},
           Bad{"filters", "{{ x" + repeated("|trim", n) + " }}", code, "max_depth"},
           Bad{"tests", "{{ x" + repeated("|d is none", n / 2) + " }}", code, "max_depth"},
           Bad{"conditions", "{{ 1" + repeated(" if 1 else 1", n / 2) + " }}", code, "max_depth"},
           Bad{"condition chain", "{{ 1" + repeated(" if 1", n) + " }}", code, "max_depth"},
           Bad{"powers of parentheses", "{{ " + repeated("1**(", n) + repeated(")", n) + " }}", code, "max_depth"},
           Bad{"if", repeated("{% if 1 %}", n / 2), code, "max_depth"},
           Bad{"for", repeated("{% for x in y %}", n / 2), code, "max_depth"},
           Bad{"macro", repeated("{% macro m() %}", n / 2), code, "max_depth"},
           Bad{"call", repeated("{% call m() %}", n / 2), code, "max_depth"},
           Bad{"set", repeated("{% set x %}", n / 2), code, "max_depth"},
           Bad{"with", repeated("{% with %}", n / 2), code, "max_depth"},
           Bad{"targets", "{% for " + repeated("(", n) + repeated(")", n) + " %}", code, "max_depth"},
           Bad{"recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", code, "max_depth"},
           Bad{"mutual recursion",
               "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", code,
               "max_depth"},
           Bad{"recursion by default", "{% macro m(x=m()) %}{% endmacro %}{{ m() }}", code, "max_depth"},
           Bad{"recursion by caller", "{% macro m() %}{% call m() %}{% endcall %}{% endmacro %}{{ m() }}", code,
               "max_depth"},
           Bad{"map of map", "{{ 'a'|map(" + repeated("'map',", n) + "'upper')|list }}", code, "max_"},
           Bad{"deep list",
               "{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor %}", code,
               "nests deeper"},
           Bad{"deep dict",
               "{% set ns = namespace(l={}) %}{% for i in range(5000) %}{% set ns.l = {'a': ns.l} %}{% endfor %}", code,
               "nests deeper"},
       }) {
    expect_bad(bad);
  }
}

TEST(ChatTemplateBad, NeedsTooMuch) {
  const ErrorCode code = ErrorCode::kLimit;
  const std::string doubling = "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ";
  const std::string lists = "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ";
  for (const Bad& bad : {
           Bad{"range", "{% for i in range(10**9) %}x{% endfor %}", code, "range"},
           Bad{"loops", "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", code,
               "max_steps"},
           Bad{"output", "{% set s = 'x' * 10000 %}{% for i in range(100000) %}{{ s }}{% endfor %}", code,
               "max_output_bytes"},
           Bad{"multiplication", "{{ 'x' * 10**12 }}", code, "max_output_bytes"},
           Bad{"multiplication twice", "{{ 'x' * 10**6 * 10**7 }}", code, "max_output_bytes"},
           Bad{"list multiplication", "{{ [1] * 10**9 }}", code, "max_output_bytes"},
           Bad{"empty lists", "{{ ([] * 10**15) }}{{ ('' * 10**15) }}{{ [[]] * 10**7 }}", code, "max_output_bytes"},
           Bad{"concatenation", doubling + "ns.s ~ ns.s %}{% endfor %}", code, "max_output_bytes"},
           Bad{"addition", doubling + "ns.s + ns.s %}{% endfor %}", code, "max_output_bytes"},
           Bad{"replace", doubling + "ns.s|replace('a', 'aaaaaaaaaa') %}{% endfor %}", code, "max_output_bytes"},
           Bad{"join", doubling + "[ns.s, ns.s]|join(ns.s) %}{% endfor %}", code, "max_output_bytes"},
           Bad{"format", doubling + "'%s%s' % (ns.s, ns.s) %}{% endfor %}", code, "max_output_bytes"},
           Bad{"str.format", doubling + "'{0}{0}'.format(ns.s) %}{% endfor %}", code, "max_output_bytes"},
           Bad{"indent", "{{ ('\\n' * 100000 ~ 'x') | indent(10**6, blank=true) }}", code, "max_output_bytes"},
           Bad{"list addition", lists + "ns.s + ns.s %}{% endfor %}", code, "max_output_bytes"},
           Bad{"shared printing", lists + "[ns.s, ns.s] %}{% endfor %}{{ ns.s }}", code, "max_"},
           Bad{"shared tojson", lists + "[ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}", code, "max_"},
           Bad{"shared comparison",
               lists + "[ns.s, ns.s] %}{% endfor %}{% set a = ns.s %}" + lists +
                   "[ns.s, ns.s] %}{% endfor %}{{ ns.s == a }}",
               code, "max_steps"},
           Bad{"many live values",
               "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l[-100:], 'x' * "
               "10**6 ~ i] + ns.l[-100:] %}{% endfor %}",
               code, ""},
           Bad{"block of text",
               "{% set x %}{% set s = 'x' * 10000 %}{% for i in range(100000) %}{{ s }}{% endfor %}{% endset %}", code,
               "max_output_bytes"},
       }) {
    expect_bad(bad);
  }
}

TEST(ChatTemplateBad, DoesNotParse) {
  const ErrorCode code = ErrorCode::kCorrupt;
  for (const Bad& bad : {
           Bad{"variable", "a\n b {{ x", code, "line 2, column 8"},
           Bad{"block", "{% if x", code, "not closed"},
           Bad{"comment", "{# x", code, "comment"},
           Bad{"raw", "{% raw %} x", code, "raw"},
           Bad{"if", "{% if x %}", code, "endif"},
           Bad{"for", "{% for x in y %}", code, "endfor"},
           Bad{"stray end", "{% endif %}", code, "unknown tag"},
           Bad{"crossed", "{% if x %}{% for y in z %}{% endif %}{% endfor %}", code, "unknown tag"},
           Bad{"bracket", "{{ (1] }}", code, "bracket"},
           Bad{"string", "{{ 'x }}", code, "string"},
           Bad{"escape", "{{ '\\xZZ' }}", code, "escape"},
           Bad{"surrogate", "{{ '\\ud800' }}", code, "escape"},
           Bad{"NUL", std::string("{{ \0 }}", 7), code, "unexpected"},
           Bad{"break", "{% break %}", code, "outside"},
           Bad{"break in a macro", "{% for x in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", code,
               "outside"},
       }) {
    expect_bad(bad);
  }
  expect_bad({"size", std::string((1 << 20) + 1, 'x'), ErrorCode::kLimit, "max_source_bytes"});
  expect_bad({"integer", "{{ 99999999999999999999 }}", ErrorCode::kUnsupported, "64 bits"});
  expect_bad({"overflow", "{{ 9223372036854775807 + 1 }}", ErrorCode::kUnsupported, "64 bits"});
}

TEST(ChatTemplateBad, FailsWhileRendering) {
  const ErrorCode code = ErrorCode::kInvalidArgument;
  expect_bad({"raise", "{{ raise_exception('Only ' ~ 2 ~ ' roles') }}", code, "line 1: Only 2 roles"});
  expect_bad({"undefined", "\n{{ messages[0].role }}", code, "line 2: 'messages' is undefined"});
  expect_bad({"division", "{{ 1 // 0 }}", code, "zero"});
  const auto parsed = ChatTemplate::parse("x");
  EXPECT_FALSE(parsed->render(TemplateValue::of("no dict"), 0).ok());
}

TEST(ChatTemplate, LimitsAreTheCallers) {
  TemplateLimits limits;
  limits.max_steps = 100;
  EXPECT_TRUE(render_once("{% for i in range(10) %}x{% endfor %}", kNone, 0, limits).ok());
  EXPECT_EQ(render_once("{% for i in range(100) %}x{% endfor %}", kNone, 0, limits).error().code, ErrorCode::kLimit);
  limits = {};
  limits.max_output_bytes = 1000;
  EXPECT_TRUE(render_once("{{ 'x' * 1000 }}", kNone, 0, limits).ok());
  EXPECT_EQ(render_once("{{ 'x' * 1001 }}", kNone, 0, limits).error().code, ErrorCode::kLimit);
  const auto long_message = TemplateValue::make_dict({{"m", TemplateValue::of(std::string(1001, 'x'))}});
  EXPECT_EQ(render_once("", long_message, 0, limits).error().code, ErrorCode::kLimit);
}

TEST(ChatTemplate, LongFlatSourceIsFine) {
  const std::string sum = "{{ 0" + repeated(" + 1", 10'000) + " }}";
  EXPECT_EQ(*render_once(sum, kNone), "10000");
  const std::string text = "{{ ''" + repeated(" ~ 'ab'", 10'000) + " }}";
  EXPECT_EQ(render_once(text, kNone)->size(), 20'000u);
  std::string chain = "{% if 0 %}";
  for (int i = 0; i < 5'000; ++i) chain += "{% elif 0 %}x";
  EXPECT_EQ(*render_once(chain + "{% else %}end{% endif %}", kNone), "end");
  EXPECT_EQ(*render_once(repeated("{% if 1 %}", 90) + "x" + repeated("{% endif %}", 90), kNone), "x");
}

TEST(ChatTemplate, RendersTheTimeItIsGiven) {
  const auto at = [](std::int64_t now) {
    return *render_once("{{ strftime_now('%d %b %Y %H:%M:%S %a %j') }}", kNone, now);
  };
  EXPECT_EQ(at(0), "01 Jan 1970 00:00:00 Thu 001");
  EXPECT_EQ(at(951782399), "28 Feb 2000 23:59:59 Mon 059");
  EXPECT_EQ(at(951782400), "29 Feb 2000 00:00:00 Tue 060");
  EXPECT_EQ(at(1735689599), "31 Dec 2024 23:59:59 Tue 366");
  EXPECT_EQ(at(-1), "31 Dec 1969 23:59:59 Wed 365");
}

TEST(ChatTemplate, TakesBytesThatAreNoUtf8) {
  const auto globals = TemplateValue::make_dict({{"m", TemplateValue::of(std::string("a\xFF\xC3 b\xE4\xB8"))}});
  EXPECT_EQ(*render_once("{{ m|trim }}{{ m|length }}{{ m[::-1][0] }}", globals),
            "a\xFF\xC3 b\xE4\xB8"
            "7\xB8");
}

}  // namespace
}  // namespace rowmax::engine
