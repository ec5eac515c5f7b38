// Written for this purpose: plain prose, a children's story and a piece of code, each a few hundred bytes. A model that has
// read any text at all finds one of them much likelier than chance.
#include "doctor/patient.h"

namespace rowmax::doctor {

std::span<const TextPart> fixed_text() noexcept {
  static const TextPart kParts[] = {
      {"prose",
       "The river rises in the hills north of the town and runs for about two hundred miles before it reaches the sea. "
       "In the past, most people in the valley lived from farming and fishing, but today many of them work in the "
       "city. "
       "The old bridge was built in 1874 and is still in use. In winter, when the water is high, the road to the "
       "village "
       "is closed for several days, and the children cannot go to school.",
       {}},
      {"story",
       "Once upon a time, there was a young fox named Ben. He lived in a den at the foot of a green hill. Ben had a "
       "red "
       "kite. He liked to fly it every day.\n\nOne windy day, Ben was in the park with his red kite. Then the wind "
       "blew "
       "the kite away, up and up, into a tall tree. \"Oh no! My kite!\" he said. He felt very sad. His friend Mia came "
       "to see what was wrong. \"I am good at climbing,\" she said. Soon she reached the kite. Ben was so happy. "
       "\"Thank you, thank you!\" said Ben.",
       {}},
      {"code",
       "def largest(values):\n    \"\"\"Returns the largest of a list of numbers, or None.\"\"\"\n    if not values:\n"
       "        return None\n    result = values[0]\n    for value in values[1:]:\n        if value > result:\n"
       "            result = value\n    return result\n\n\nif __name__ == \"__main__\":\n    print(largest([1, 5, "
       "3]))\n",
       {}},
  };
  return kParts;
}

}  // namespace rowmax::doctor
