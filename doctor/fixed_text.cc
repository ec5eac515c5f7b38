// Written for this purpose, the stories but the first by the story model (models/README.md): plain prose, children's stories
// and code. A model that has read any text at all finds one of them much likelier than chance.
#include "doctor/patient.h"

namespace rowmax::doctor {

std::span<const TextPiece> fixed_text() noexcept {
  static const TextPiece kPieces[] = {
      {"prose",
       "The river rises in the hills north of the town and runs for about two hundred miles before it "
       "reaches the sea. In the past, most people in the valley lived from farming and fishing, but today "
       "many of them work in the city. The old bridge was built in 1874 and is still in use. In winter, "
       "when the water is high, the road to the village is closed for several days, and the children cannot "
       "go to school.",
       {}},
      {"prose",
       "Water is one of the most important things on earth. All plants and animals need it to live. When "
       "the sun warms the sea, some of the water turns into vapour and rises into the air. There it cools "
       "and forms clouds. The wind carries the clouds over the land, and the water falls as rain or snow. "
       "It flows through streams and rivers back into the sea, and the cycle begins again.",
       {}},
      {"prose",
       "The first railway in the country was opened in 1835. It was only four miles long, and the train "
       "needed fifteen minutes for the journey. Many people were afraid of the new machine, and some "
       "doctors warned that travelling at such a speed would make people ill. But within a few years there "
       "were railways between all large towns. Goods that had taken a week by horse and cart now arrived in "
       "a single day, and letters were delivered the next morning.",
       {}},
      {"prose",
       "A language is more than a list of words. To understand a sentence, one must know how its parts "
       "belong together, what was said before, and what the speaker wants. Children learn all of this in a "
       "few years without being taught. Nobody knows exactly how they do it. Adults who learn a second "
       "language usually find it much harder, and most of them never lose their accent.",
       {}},
      {"prose",
       "Bread is made from flour, water, salt and yeast. The dough must be kneaded for about ten minutes "
       "and then left in a warm place for an hour, until it is twice as large. After that it is formed into "
       "a loaf and baked in a hot oven for forty minutes. Fresh bread should cool down before it is cut. It "
       "tastes best on the same day, with butter and a little salt.",
       {}},
      {"prose",
       "In the northern part of the world, the days are long in summer and short in winter. This is because "
       "the axis of the earth is not upright. In June the northern half leans towards the sun, and in "
       "December it leans away from it. Near the pole the sun does not set at all for several weeks in "
       "summer, and in winter there are weeks in which it does not rise.",
       {}},
      {"story",
       "Once upon a time, there was a young fox named Ben. He lived in a den at the foot of a green hill. "
       "Ben had a red kite. He liked to fly it every day.\n"
       "\n"
       "One windy day, Ben was in the park with his red kite. Then the wind blew the kite away, up and up, "
       "into a tall tree. \"Oh no! My kite!\" he said. He felt very sad. His friend Mia came to see what "
       "was wrong. \"I am good at climbing,\" she said. Soon she reached the kite. Ben was so happy. "
       "\"Thank you, thank you!\" said Ben.",
       {}},
      {"story",
       "Once upon a time, there was a green little frog named Nora. She lived in a house of reeds by the "
       "pond. Nora was always friendly to big and small.\n"
       "\n"
       "One day, Nora was alone in the forest. Then she heard a tiny voice. \"Peep! Peep!\" There sat a "
       "baby bird with almost no feathers. It could not fly. \"You poor little bird! Where is your "
       "mother?\" Nora asked. \"I will stay with you until your mother comes,\" said Nora. A cat came near, "
       "but Nora jumped up, and it ran away. At last the mother came. It sang for joy and fed its little "
       "one.\n"
       "\n"
       "Nora was so happy that she sang a little song. In spring the bird came back and sang. \"You did "
       "well, Nora,\" Mama said.",
       {}},
      {"story",
       "Once upon a time, there was a clever little fox named Sam, who lived near a blue lake. His best "
       "friend was a small otter named Rosa.\n"
       "\n"
       "One morning Sam jumped out of bed. It was his birthday! He ran to Mama, but Mama did not say a word "
       "about it. Sam went to see Rosa. \"I have no time today,\" she said. Sam said, \"Everybody has "
       "forgotten my birthday.\" He was so sad that he wanted to cry. Sam walked down the road alone and "
       "kicked the leaves.\n"
       "\n"
       "At last he went home and opened the door. \"Surprise!\" Suddenly there were candles everywhere, and "
       "all his friends jumped out. His eyes grew wide. \"We wanted it to be a secret,\" said Mama. Rosa "
       "got a yellow kite from Rosa and hugged her. He smiled from ear to ear. They played games and ate "
       "two big cakes.\n"
       "\n"
       "And Sam and Rosa stayed friends for a long, long time.",
       {}},
      {"story",
       "Once upon a time, there was a little girl named Lucy. She lived in a cosy cottage near a blue lake. "
       "She had a golden lantern that Grandma had given to her. It was so small that everyone laughed at "
       "it.\n"
       "\n"
       "One night, the fog was so thick that one could not see one's own feet. \"Where is her friend Sam?\" "
       "somebody asked. \"The boat is not back yet!\" She was very scared. From far away she heard a voice. "
       "\"Help! I cannot see the land!\" The big lamp at the pier did not work.\n"
       "\n"
       "Lucy took her golden lantern, lit it and climbed onto a high rock. She swung it left and right, "
       "left and right. It was cold and wet, but she did not move. For a long time nothing happened. Then "
       "there was a splash. There was the boat! Sam jumped out onto the land. Sam hugged her. \"Without "
       "your light I would still be out there.\" Lucy was so happy that she sang a little song. After that, "
       "the lantern stood in the window every foggy night. That day, she learned that small things can do "
       "great things.",
       {}},
      {"story",
       "Once upon a time, there was a brown bear named Tom. He lived in a cave close to the sea. He had a "
       "kind heart and was nice to everyone.\n"
       "\n"
       "One afternoon, Tom left the cave early to fly a kite. He skipped along the path. On the road he met "
       "a wise old owl with a heavy bag. \"Oh, my poor back!\" cried the wise old owl. Tom wanted to play. "
       "But he could not just walk by. \"I am strong,\" said Tom. \"I will take the bag.\"\n"
       "\n"
       "They walked together, past the mill, up the hill and down again. When they arrived, the wise old "
       "owl opened the door. It smelled of honey! The wise old owl gave him some sticky honey. \"This is "
       "for your kind heart,\" said the wise old owl. Tom listened to stories of kings until it was late. "
       "He was very surprised. \"You have made me happy today,\" said the wise old owl. From then on, Tom "
       "visited the wise old owl every week. And so Tom found out that helping others brings joy.",
       {}},
      {"story",
       "Once upon a time, there was a tiny little mouse named Tom. He lived in a hole under an oak tree. "
       "Everybody liked Tom, because he was so friendly. By the river lived a loud giant. Everyone was "
       "afraid of it. All day long, the giant roared and growled.\n"
       "\n"
       "One lovely day, Tom lost the way by the river. Behind a rock he saw something big. It was the "
       "giant. The giant roared so loudly that the leaves fell from the trees. He was so scared. But Tom "
       "looked closely. The giant was holding its foot.\n"
       "\n"
       "\"Does something hurt?\" he asked. \"My foot hurts,\" said the giant. \"It has hurt for a long "
       "time.\" Tom looked at the foot. There was a long thorn in it. \"I will pull it out. Close your "
       "eyes,\" he said. He pulled with all his strength. Plop! The thorn was out. The giant put down its "
       "foot. It did not hurt any more! \"Thank you, little one,\" said the giant. \"I was only angry "
       "because it hurt.\" From then on, the giant carried wood for everyone.\n"
       "\n"
       "Tom smiled and thought, \"What a strange and lovely day!\"",
       {}},
      {"code",
       "def largest(values):\n"
       "    \"\"\"Returns the largest of a list of numbers, or None.\"\"\"\n"
       "    if not values:\n"
       "        return None\n"
       "    result = values[0]\n"
       "    for value in values[1:]:\n"
       "        if value > result:\n"
       "            result = value\n"
       "    return result\n"
       "\n"
       "\n"
       "def read_lines(path):\n"
       "    \"\"\"Returns the lines of a text file without their line ends.\"\"\"\n"
       "    with open(path, encoding=\"utf-8\") as file:\n"
       "        return [line.rstrip(\"\\n\") for line in file]",
       {}},
      {"code",
       "class Stack:\n"
       "    \"\"\"A list of items; the last one in is the first one out.\"\"\"\n"
       "\n"
       "    def __init__(self):\n"
       "        self.items = []\n"
       "\n"
       "    def push(self, item):\n"
       "        self.items.append(item)\n"
       "\n"
       "    def pop(self):\n"
       "        if not self.items:\n"
       "            raise IndexError(\"pop from an empty stack\")\n"
       "        return self.items.pop()\n"
       "\n"
       "    def __len__(self):\n"
       "        return len(self.items)",
       {}},
      {"code",
       "def count_words(text):\n"
       "    \"\"\"Returns a dictionary with the number of times each word occurs.\"\"\"\n"
       "    counts = {}\n"
       "    for word in text.lower().split():\n"
       "        word = word.strip(\".,;:!?\")\n"
       "        if word:\n"
       "            counts[word] = counts.get(word, 0) + 1\n"
       "    return counts",
       {}},
      {"code",
       "def is_prime(n):\n"
       "    if n < 2:\n"
       "        return False\n"
       "    for i in range(2, int(n ** 0.5) + 1):\n"
       "        if n % i == 0:\n"
       "            return False\n"
       "    return True\n"
       "\n"
       "\n"
       "if __name__ == \"__main__\":\n"
       "    print(largest([1, 5, 3]))\n"
       "    print([n for n in range(50) if is_prime(n)])\n"
       "    words = count_words(\"the cat and the dog and the bird\")\n"
       "    for word, count in sorted(words.items()):\n"
       "        print(word, count)\n",
       {}},
  };
  return kPieces;
}

}  // namespace rowmax::doctor
