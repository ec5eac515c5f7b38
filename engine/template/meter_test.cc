// What an operation costs in steps grows with what it touches, so that a bound on steps is one on time. Steps are
// counted by what max_steps a rendering needs: nothing here looks at a clock.
#include "engine/template/meter.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "rowmax/engine/chat_template.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kBytes = 1 << 14;
constexpr std::int64_t kItems = 1 << 10;

TemplateValue repeated(const std::string& unit) {
  std::string text;
  while (static_cast<std::int64_t>(text.size()) < kBytes) text += unit;
  return TemplateValue::of(text);
}

const TemplateValue& globals() {
  static const TemplateValue all = [] {
    std::vector<TemplateValue> numbers, words, dicts;
    for (std::int64_t i = 0; i < kItems; ++i) {
      numbers.push_back(TemplateValue::of(i));
      words.push_back(TemplateValue::of("w" + std::to_string(i)));
      dicts.push_back(TemplateValue::make_dict({{"a", TemplateValue::of(i)}}));
    }
    const std::string key(kBytes, 'k');
    const TemplateValue dict = TemplateValue::make_dict({{key, TemplateValue::of("v")}});
    return TemplateValue::make_dict({{"x", repeated("x")},
                                     {"mixed", repeated("xA")},
                                     {"lines", repeated("a\n")},
                                     {"blank", repeated(" ")},
                                     {"accents", repeated("\xC3\xA9")},
                                     {"markup", repeated("<\"")},
                                     {"percents", repeated("%%")},
                                     {"braces", repeated("{{")},
                                     {"digits", repeated("1")},
                                     {"key", TemplateValue::of(key)},
                                     {"named", dict},
                                     {"same", dict},
                                     {"numbers", TemplateValue::make_list(numbers)},
                                     {"words", TemplateValue::make_list(words)},
                                     {"dicts", TemplateValue::make_list(dicts)}});
  }();
  return all;
}

bool renders(const std::string& source, std::int64_t max_steps) {
  TemplateLimits limits;
  limits.max_steps = max_steps;
  const auto parsed = ChatTemplate::parse(source, limits);
  EXPECT_TRUE(parsed.ok()) << source.substr(0, 200) << ": " << (parsed.ok() ? "" : parsed.error().message);
  return !parsed.ok() || parsed->render(globals(), 0).ok();
}

// The least max_steps with which the template renders. From below: what has too few steps ends early.
std::int64_t steps_of(const std::string& source) {
  std::int64_t high = 1;
  while (!renders(source, high)) {
    high *= 2;
    if (high > TemplateLimits().max_steps) {
      ADD_FAILURE() << source.substr(0, 200) << ": not in " << high / 2 << " steps";
      return 0;
    }
  }
  std::int64_t low = high / 2;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (renders(source, middle) ? high : low) = middle;
  }
  return high;
}

// Whether evaluating it once more takes at least so many steps.
bool costs(const std::string& expression, std::int64_t steps) {
  const std::string once = "{% set a = " + expression + " %}";
  return renders(once + once, TemplateLimits().max_steps) && !renders(once + once, steps_of(once) + steps - 1);
}

TEST(Meter, WorkOnTextCostsStepsByTheByte) {
  for (const char* expression : {
           "x|length",
           "accents|length",
           "x[5]",
           "accents[-1]",
           "x|first",
           "x|last",
           "x[1:3]",
           "mixed[::-1]",
           "mixed|upper",
           "accents|upper",
           "mixed|title",
           "mixed|capitalize",
           "mixed.lower()",
           "blank|trim",
           "x.strip('x')",
           "blank.isspace()",
           "digits.isdigit()",
           "x|replace('A', 'B')",
           "mixed|replace('A', 'BC')",
           "x|replace('', 'B')",
           "'abc'|replace(x, 'B')",
           "'A' in x",
           "x in 'abc'",
           "x.find('A')",
           "mixed.rfind('A')",
           "mixed.count('A')",
           "x.split('A')",
           "'abc'.split(x)",
           "blank.split()",
           "x.splitlines()",
           "x.partition('A')",
           "x.startswith(x)",
           "x.removeprefix('x')",
           "x|tojson",
           "markup|tojson",
           "accents|tojson(ensure_ascii=true)",
           "x|escape",
           "markup|escape",
           "lines|indent(2)",
           "'a'|indent(16384)",
           "'a'|indent(x)",
           "x ~ 'a'",
           "x + 'a'",
           "'x' * 16384",
           "x|safe",
           "'%s'|format(x)",
           "percents % ()",
           "'{}'.format(x)",
           "braces.format()",
           "strftime_now(x)",
           "digits|float",
           "(blank ~ '1')|int",
           "x is lower",
           "[x]|string",
           "[x]|join",
           "x == x",
           "x < x",
           "named[key]",
           "named.get(key)",
           "key in named",
           "named == same",
           "{key: 1}",
           "[named]|map(attribute=key)|list",
           "x|reverse",
           "x.join(['a', 'b'])",
           "','.join([x, x])",
       }) {
    EXPECT_TRUE(costs(expression, kBytes / 128)) << expression;
  }
}

TEST(Meter, WorkOnListsCostsStepsByTheElement) {
  for (const char* expression : {
           "numbers|list",
           "numbers + [1]",
           "[1] * 1024",
           "numbers[::2] + numbers[::2]",
           "numbers == numbers",
           "-1 in numbers",
           "numbers.count(5)",
           "numbers|sort",
           "words|sort",
           "([1] * 1024)|unique|list",
           "numbers|min",
           "numbers|sum",
           "numbers|reverse|list",
           "numbers|map('string')|list",
           "numbers|select('odd')|list",
           "words|map('upper')|list",
           "words|join(',')",
           "numbers|tojson",
           "numbers|string",
           "dicts|map(attribute='a')|list",
           "dicts|selectattr('a')|list",
           "range(1024)",
           "words|first",
           "words|last",
           "dicts == dicts",
       }) {
    EXPECT_TRUE(costs(expression, kItems / 8)) << expression;
  }
}

// Names are part of the source, which may be a megabyte: comparing them is work as well.
TEST(Meter, LongNamesCostSteps) {
  const std::string name(kBytes, 'n');
  const std::string set = "{% set " + name + " = 1 %}";
  EXPECT_GE(steps_of(set + set) - steps_of(set), kBytes / 128);
  const std::string read = "{% set a = " + name + " %}";
  EXPECT_GE(steps_of(set + read + read) - steps_of(set + read), kBytes / 128);
  EXPECT_TRUE(costs("named." + name, kBytes / 128));
  EXPECT_TRUE(costs("dict(" + name + "=1)", kBytes / 128));
}

}  // namespace
}  // namespace rowmax::engine
