"""Plots of lights, music, markets and lost pets."""

from beats import day, ending, feel, interlude, lesson, meet_friend, opening, trait
from teller import plot


@plot
def lantern_fog(t):
    t.make_hero(avoid=("cold",))
    t.make_elder()
    t.make_friend()
    t.set_thing("lantern", t.pick(["little", "old", "golden", "small"]), "light", "lit")
    place = t.pick(["beach", "lake", "river"])
    t.make_place([place])
    opening(t, place)
    t.say("""
        {H} had {athing}.
        On {his} window sill stood {athing}.
        {S} had {athing} that {E} had given to {him}.""")
    t.say("""
        It was so small that everyone laughed at it.
        <F:What a tiny light! What is it good for?>
        It was not very bright, but {h} loved it.""")
    t.weather = "foggy"
    t.para()
    t.say("""
        One evening, thick fog came from the water.
        One night, the fog was so thick that one could not see one's own feet.
        Then came a foggy night. Everything was white and grey.""")
    t.set(who=t.facts["E"] if t.chance(0.5) else t.friend.name)
    t.say("""
        {who} was still out on the water in a little boat.
        {who} had gone fishing and had not come back.
        "Where is {who}?" somebody asked. "The boat is not back yet!" """)
    feel(t, "H", "scared", 0.6)
    t.say("""
        From far away {h} heard a voice. "Help! I cannot see the land!"
        A voice came out of the fog. "Where is the land?"
        {H} heard someone calling out there, very far away.""")
    t.say("""
        The big lamp at the pier [was broken|did not work|had gone out].
        Nobody had a light that was big enough.
        The others lit a fire, but the wind blew it out.""")
    t.para()
    t.say("""
        Then {H} thought of the {thing}. {S} ran home and lit it.
        <H:My {thing}!> {S} took it and ran down to the water.
        {S} took {his} {fullthing}, lit it and climbed onto a high rock.""")
    t.say("""
        {S} held it up as high as {h} could.
        {S} swung it left and right, left and right.
        {H} stood at the edge of the water and lifted the light.""")
    t.say("""
        {his} arms grew tired, and the wind was cold. But {H} did not let go.
        It was cold and wet, but {h} did not move.
        {S} called, "Come this way! Come to the light!" """.replace("{his} arms grew tired, and the", "The"))
    t.say("""
        For a long time nothing happened. Then there was a splash.
        At last {h} heard the sound of a paddle.
        Splash, splash! Something came nearer.""")
    t.say("""
        The boat came out of the fog, right to the light.
        There was the boat! {who} jumped out onto the land.
        Slowly, the boat came out of the white fog.""")
    t.say("""
        "I saw a tiny star," said {who}, "and I followed it."
        "Your little light saved me," said {who}.
        {who} hugged {him}. "Without your light I would still be out there." """)
    feel(t, "H", t.pick(["proud", "happy"]), 0.7)
    t.say("""
        From then on, nobody laughed at the {thing}.
        After that, the {thing} stood in the window every foggy night.
        The next day, everyone came to see the little {thing}.""".replace("the little {thing}", "the {thing}"))
    lesson(t, t.pick(["even a small light can show the way", "small things can do great things", "a little light is much in the dark"]))
    ending(t) if t.chance(0.5) else None


@plot
def market_coin(t):
    t.make_hero()
    t.make_elder()
    t.make_friend()
    t.make_thing("toy", without=("made",))
    wanted = dict(t.facts)
    topic = t.topic
    t.make_food(["bread", "pie", "soup", "apples", "muffins", "sandwich", "pears"])
    t.topic = topic
    t.set(coin=["silver coin", "gold coin", "shiny coin"])
    opening(t)
    t.say("""
        {H} wanted to have {athing}.
        In the shop window stood {athing}. {H} looked at it every day.
        There was one thing that {h} wished for. It was {athing}.""")
    t.say("""
        For [many weeks|a whole year], {h} worked hard. {S} [swept floors|carried wood] and saved.
        {S} helped {E} in the garden, and {E} gave {him} a {coin}.
        On {his} birthday, {E} gave {him} a {coin}.""")
    day(t, "sunny", "snowy", "windy")
    t.para()
    t.say("""
        {Day} {h} went to the market with a {coin} in {his} pocket.
        {Day} {H} had enough and ran to the market.
        {Day} it was market day. {H} took the {coin} and went to buy the {thing}.""")
    interlude(t, 0.4)
    t.set(afriend=("an " if t.friend.kind[0] in "aeiou" else "a ") + t.friend.kind)
    t.say("""
        Near the shop sat {afriend}, thin and pale.
        At the corner {h} saw {afriend} with torn shoes.
        There sat {afriend} who looked at the bread with big eyes.""".replace("with torn shoes", "who looked cold"))
    t.say("""
        <H:What is the matter?> <K:I have not eaten since yesterday.>
        <F:I am so hungry,> """.replace("<F:I am so hungry,>", '"I am so hungry," said the ' + t.friend.kind + '. "I have no money."') + """
        "Why are you sad?" asked {H}. <K:We have nothing to eat at home.>""")
    t.say("""
        {H} looked at the {thing}. Then {h} looked at the {coin}.
        {H} thought of the {thing}. {S} had waited so long for it!
        It was not easy. {H} held the {coin} tightly in {his} pocket.""")
    t.say("""
        <H:Wait here.> {S} bought {afood} and brought {it} back.
        {S} turned around and bought {afood} with the {coin}.
        Then {h} went to the baker and bought {afood}.""".replace("went to the baker", "went to a stall"))
    t.say("""
        <H:This is for you.>
        <H:Eat! It will make you strong.>
        {H} gave {fhim} all of {it}.""")
    t.say("""
        {F} was the name of the {fkind}. {T} ate and smiled. <F:Nobody was ever so kind to me.>
        <F:Thank you! My name is {F}.> And the {fkind} ate until nothing was left.
        The {fkind} ate and said, "My name is {F}. I will never forget this." """)
    t.para()
    t.say("""
        {H} went home without the {thing}, but with a warm heart.
        On the way home {H} had no {thing}, but {h} was not sad.
        {S} had no coin and no {thing}. But somehow {h} felt rich.""")
    t.say("""
        {E} heard about it. <E:I am so proud of you.>
        At home {h} told {E}. {E} gave {him} a long hug.
        <E:Where is the {thing}?> {H} told the whole story, and {E} smiled.""")
    t.say("""
        Some weeks later, there was a knock. It was {F}. <F:I made something for you.> It was {athing}!
        In spring, {F} came to visit and brought a present. It was {athing}, made by {F}.
        One day, {F} stood at the door with {athing}. <F:My family is well now. This is for you.>""")
    feel(t, "H", "happy", 0.7)
    lesson(t, t.pick(["giving can make you rich", "a kind heart is worth more than gold", "what you give comes back"]))
    ending(t, True) if t.chance(0.4) else None
    t.facts.update({k: wanted[k] for k in ("thing",)})


@plot
def lost_puppy(t):
    pet = t.pick(["puppy", "kitten", "lamb", "duckling", "pony"])
    t.make_hero(avoid=(pet, "dog", "cat", "duck", "lion"))
    t.make_friend()
    t.make_elder()
    t.make_place(["park", "village", "meadow", "farm", "forest", "river"])
    t.set_thing(pet, t.pick(["little", "small", "lost"]))
    opening(t, t.facts["place"])
    trait(t, "kind", 0.6)
    t.say("""
        {S} had always wanted a pet.
        More than anything, {h} wanted to have a pet.
        Every night, {h} wished for an animal friend.""".replace("an animal friend", "a pet") if t.hero.is_child else """
        {S} liked to take care of little ones.
        {S} had no brothers or sisters, and often {h} was alone.
        More than anything, {h} wanted somebody to care for.""")
    day(t, "rainy", "sunny", "windy")
    t.para()
    t.say("""
        {Day} {H} heard a sound {spot1}.
        {Day} {h} was {at}. Something cried {spot1}.
        {Day} {H} found something {spot1}.""")
    t.say("""
        It was {athing}, [wet|cold] and alone.
        There sat {athing} and shook.
        {S} looked and saw {athing} with big, sad eyes.""")
    t.say("""
        <H:Where do you come from?>
        <H:Are you lost, little one?>
        "Do not be afraid," said {H} softly.""")
    t.say("""
        {S} took it home, dried it and gave it [milk|something to eat].
        {H} wrapped it in {his} scarf and carried it home.
        {E} helped {him} to make a warm bed for it.""")
    t.say("""
        They played all day. The {thing} followed {him} everywhere.
        The {thing} slept beside {him} and was happy.
        Soon the {thing} [licked {his} nose|ran in circles for joy].""".replace("[licked {his} nose|ran in circles for joy]", "ran in circles for joy"))
    t.say("""
        <H:May I keep it?> {E} looked at it. <E:It has a ribbon. It belongs to somebody.>
        But around its neck was a [bell|ribbon]. <E:Somebody is looking for it.>
        <E:Somebody may be very sad because it is gone.>""")
    feel(t, "H", "sad")
    t.para()
    t.say("""
        {H} knew that {E} was right. They went from door to door.
        It was hard, but {H} asked everyone {at}.
        {H} put up a sign. "{thing_cap} found!" it said.""".replace("{thing_cap}", pet.capitalize()))
    t.set(afriend=("an " if t.friend.kind[0] in "aeiou" else "a ") + t.friend.kind)
    t.say("""
        Then they met {afriend} with red eyes. <K:Have you seen my {thing}?>
        The next day, {afriend} came to the door. <K:I lost my {thing}. Is it here?>
        At the last door stood {afriend} who was crying. <K:My {thing} is gone!>""")
    t.say("""
        The {thing} saw {fhim} and jumped up. They belonged together.
        As soon as the {thing} heard {fhis} voice, it ran to {fhim}.
        {H} opened {his} coat, and the {thing} jumped out. How happy they were!""".replace("{H} opened {his} coat, and the {thing} jumped out.", "The {thing} ran to {fhim} at once."))
    t.say("""
        <F:Thank you! I am {F}. I looked everywhere.>
        "I am {F}," said the {fkind}. "How can I thank you?"
        <F:My name is {F}. You saved my best friend!>""")
    t.say("""
        {H} smiled, but there was a tear in {his} eye.
        {H} was happy for {fhim}, but also a bit sad.
        {H} stroked the {thing} one last time.""")
    t.say("""
        {F} saw it. <F:Come and visit us every day. It likes you so much.>
        <F:Will you come tomorrow and play with us?>
        <F:It can be your friend too. We can share.>""")
    t.say("""
        From then on, they went for walks together, {H}, {F} and the {thing}.
        So {H} lost a {thing} and found two friends.
        The next day, all three of them played {at}.""")
    lesson(t, t.pick(["doing the right thing can be hard, but it is good", "it is right to give back what is not ours", "honest hearts find good friends"]), 0.7)
    ending(t, True) if t.chance(0.6) else None


@plot
def tree_house(t):
    t.make_hero(avoid=("flies", "elephant", "pony", "donkey"))
    t.make_friend(avoid=("big",))
    t.make_elder()
    t.make_place(["garden", "forest", "farm", "meadow", "orchard"])
    t.set_thing("tree house", t.pick(["little", "fine", "secret"]))
    opening(t, t.facts["place"])
    meet_friend(t)
    day(t)
    t.para()
    t.say("""
        {Day} {H} had an idea. <H:Let us build a tree house!>
        {Day} {F} looked up at the big old tree {at}. <F:That is a good place for a tree house!>
        {Day} they wanted a place that was only for them. <F:We could build a tree house.>""")
    t.say("""
        {E} gave them old boards, nails and a [hammer|saw].
        They asked {E} for wood. <E:Take the boards behind the shed.>
        They looked for boards and found [ten|enough] behind the barn.""")
    t.say("""
        <H:I will be the boss.> <F:No, I want to be the boss!>
        {H} wanted a [round|red] roof, and {F} wanted a [flat|green] roof.
        {H} wanted two windows, and {F} wanted a balcony.""")
    t.say("""
        Each of them built alone. {H} built on the left, and {F} built on the right.
        They did not talk to each other and worked alone.
        "Then I will do it my way," said {H}. "And I will do it my way," said {F}.""")
    t.say("""
        But the two sides did not fit. Crash! Everything fell down.
        Then the wind came, and bump, all the boards fell to the ground.
        In the evening it was all crooked. Crack! It broke.""")
    feel(t, "H", t.pick(["sad", "angry", "sorry"]), 0.7)
    t.para()
    t.say("""
        <E:A house needs one plan.>
        {E} looked at the boards. <E:What if you talk first and build after that?>
        <E:Four hands can build a lot, if they do the same thing.>""")
    t.say("""
        They sat down and drew a plan together.
        <H:What do you want most?> <F:A window. And you?> <H:A rope ladder.>
        So they talked, and each of them got one wish.""")
    t.say("""
        {H} held the boards, and {F} hammered. Then they changed places.
        They carried, sawed and hammered, [side by side|hand in hand].
        One held, and the other one hammered. Knock, knock, knock!""".replace("[side by side|hand in hand]", "side by side"))
    t.say("""
        After [three|five] days, it was done. It had a window, a roof and a rope ladder.
        And then it stood, straight and strong, with a [blue|red] door.
        A week later the {fullthing} was ready.""")
    t.say("""
        {E} had to knock before coming in. <E:What a beautiful house!>
        They had their first supper up there, high above the ground.
        From the window they could see the whole [valley|village].""")
    t.say("""
        That night they slept in it and listened to the [wind|owls].
        In the evening they sat up there and looked at the moon.
        It rained in the night, but not a drop came in.""", 0.7)
    lesson(t, t.pick(["it is good to talk before you build", "one plan is better than two", "together they could build anything"]))
    ending(t, True)


@plot
def shy_singer(t):
    t.make_hero()
    t.make_friend()
    t.make_elder()
    t.set_thing("song", t.pick(["little", "soft", "beautiful"]), "sing", "sang")
    t.make_place(["village", "park", "meadow", "garden", "forest"])
    opening(t, t.facts["place"])
    trait(t, "shy", 0.8)
    t.say("""
        But {h} could sing very well. {S} sang only when {h} was alone.
        Nobody knew that {h} could sing.
        When nobody was near, {H} sang {athing}.""")
    day(t)
    t.para()
    t.say("""
        {Day} {H} sang {at} and thought that nobody was there.
        {Day} {h} was alone {at} and sang {his} song.
        {Day} {H} sat {spot1} and sang.""")
    t.set(afriend=("an " if t.friend.kind[0] in "aeiou" else "a ") + t.friend.kind)
    t.say("""
        But {F}, {afriend}, heard {him}. <F:Who sings so well?>
        {afriend} named {F} came by and stopped. <F:How lovely!>
        Behind a tree stood {F}, {afriend}, and listened.""")
    t.say("""
        {H} turned red and stopped at once.
        {H} wanted to run away.
        When {H} saw {fhim}, {h} could not make a sound.""")
    t.say("""
        <F:Please go on! You must sing at the feast.>
        <F:On Sunday is the big feast. Will you sing for us?>
        <F:Everyone should hear that!>""")
    t.say("""
        <H:No! Everybody would look at me.>
        <H:I cannot do that. I am too afraid.>
        {H} shook {his} head. "They will laugh at me," {h} said.""")
    t.para()
    t.say("""
        <F:Then look only at me. I will stand in the first row.>
        <F:I will be there with you. Sing only for me.>
        <E:Close your eyes and think of a place that you love.>""")
    t.say("""
        Every day {H} practised. First {h} sang for {F}, then for {F} and {E}.
        {H} sang for one friend, then for two, then for five.
        They practised together, a little louder every day.""")
    t.say("""
        Then the day came. So many had come! {his} knees shook.
        On the day of the feast, {H} stood on the stage. Everyone was quiet.
        At last it was Sunday. {H} looked at all the faces and wanted to run.""")
    feel(t, "H", "scared", 0.6)
    t.say("""
        Then {h} saw {F} in the first row, who smiled at {him}.
        {H} looked at {F}, and {F} nodded.
        But there was {F}, just as {f} had promised.""")
    t.say("""
        {H} took a deep breath and began, softly at first, then louder and louder.
        {S} closed {his} eyes and sang. {his} voice was clear and warm.
        {S} sang only for {F}, and all the fear went away.""")
    t.say("""
        When the {thing} was over, it was very quiet. Then everyone clapped and cheered.
        Some had tears in their eyes. "More!" they called. "Please sing again!"
        Everyone stood up and clapped. Even the birds had listened.""")
    feel(t, "H", t.pick(["proud", "happy", "surprised"]), 0.7)
    t.say("""
        {H} ran to {F}. <H:I did it!> <F:I knew it.>
        <H:Without you I would not have done it.>
        <F:You were wonderful!> {H} hugged {fhim}.""")
    lesson(t, t.pick(["a friend can make you brave", "it is good to show what you can do", "courage grows when somebody believes in you"]))
    ending(t, True) if t.chance(0.5) else None


@plot
def moon_in_pond(t):
    t.make_hero(avoid=("swims", "owl"))
    t.make_friend()
    t.make_elder()
    t.set_thing("moon", t.pick(["round", "big", "silver"]))
    t.make_place(["lake", "garden", "forest", "farm", "meadow"])
    opening(t, t.facts["place"])
    trait(t, "curious", 0.8)
    t.para()
    t.say("""
        One night, {H} went to the [pond|well] to drink.
        One clear night, {h} walked past the [pond|well].
        One night {H} could not sleep and went out to the pond.""".replace("[pond|well]", "pond"))
    t.say("""
        In the water {h} saw the {fullthing}. <H:Oh no! The moon has fallen into the water!>
        There was the {fullthing}, deep in the water! <H:The moon fell down!>
        Something round shone in the water. "The moon!" cried {H}. "It will drown!" """)
    feel(t, "H", "scared", 0.4)
    t.say("""
        {S} ran to {his} friend {F} the {fkind}. <H:Come quickly! We must save the moon!>
        {S} woke up {F}, {his} friend. <H:Get up! The moon is in the pond!>
        {his} friend {F} came out. <H:Help me to get the moon out!>""".replace("{F} the {fkind}", "{F}" if t.friend.is_child else "{F} the {fkind}"))
    t.say("""
        They took a [net|bucket] and tried to catch it. The moon broke into a hundred pieces!
        {F} reached in with a [rake|net]. The moon shook and fell apart.
        {H} pulled with a rake, and the moon danced on the waves.""")
    t.say("""
        <F:Now we have broken it!>
        <H:Oh no! It is broken!>
        They were shocked. <F:What have we done?>""")
    t.say("""
        They waited, and the water grew still. The moon was whole again.
        But when the water was quiet, the moon was round as before.
        After a while, all the pieces swam together again.""")
    t.para()
    t.say("""
        They pulled once more, with all their strength. {H} fell backward into the grass.
        {H} bent down too far, and splash! {S} fell into the water.
        {F} leaned over too far. Splash! {T} sat in the cold water.""")
    where = "fell backward" in t.out[-1]
    t.say("""
        And there, high in the sky, {h} saw the moon.
        {S} looked up. There was the moon, high above the trees!""" if where else """
        They climbed out and looked up. There was the moon, high above the trees!
        Wet and cold, they looked up. The moon was in the sky!""")
    t.say("""
        <H:We did it! The moon is back in the sky!>
        <F:We saved the moon!>
        "It is back where it belongs," they said and were proud.""")
    t.say("""
        {E} had heard the noise and [laughed|smiled]. <E:The moon was never in the water. It was only its picture.>
        At home they told {E}. <E:That was a mirror, you two heroes.>
        In the morning, {E} said, "The water shows the sky like a mirror." """)
    t.say("""
        {H} laughed about it for a long time.
        {H} and {F} looked at each other and laughed.
        They laughed until they cried.""")
    t.say("""
        But every time the moon shone, {H} waved at it, just in case.
        And ever since, {H} thinks that the moon smiles at {him}.
        After that, they went to the pond on every clear night to see both moons.""".replace("And ever since, {H} thinks that the moon smiles at {him}.", "After that night, it seemed to {him} that the moon was smiling."))
    lesson(t, t.pick(["things are not always what they seem", "it is good to look up", "water can be a mirror"]), 0.6)
    ending(t, True) if t.chance(0.6) else None
