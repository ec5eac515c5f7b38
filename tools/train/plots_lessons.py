"""Plots in which somebody learns something: jokes, thorns, winters, schools."""

from beats import day, ending, feel, interlude, lesson, meet_friend, opening, trait
from teller import plot


@plot
def grumpy_thorn(t):
    big = t.pick(["lion", "bear", "wolf", "elephant", "bull", "giant"])
    t.make_hero(avoid=("big", big))
    t.make_elder()
    t.make_place(["forest", "hill", "meadow", "river"])
    t.set_thing(big, t.pick(["grumpy", "angry", "loud"]))
    opening(t, t.facts["place"])
    trait(t, t.pick(["brave", "kind"]))
    t.say("""
        {place_cap} lived {athing}. Everyone was afraid of it.
        Not far away lived {athing} that nobody liked.
        Everybody talked about the {fullthing}.""".replace("{place_cap}", t.facts["at"].capitalize()))
    t.say("""
        All day long, the {thing} roared and growled.
        It shouted at everyone who came near.
        "Do not go near the {thing}," said {E}.""")
    day(t)
    t.para()
    t.say("""
        {Day} {H} went {to} to pick [berries|flowers|mushrooms].
        {Day} {h} was walking {at}.
        {Day} {H} lost the way {at}.""")
    interlude(t, 0.3)
    t.say("""
        Suddenly {h} stood in front of the {thing}!
        Then the ground shook. There was the {thing}!
        Behind a rock {h} saw something big. It was the {thing}.""")
    t.say("""
        "Go away!" roared the {thing}.
        "Grrr! Leave me alone!" it shouted.
        The {thing} roared so loudly that the leaves fell from the trees.""")
    feel(t, "H", "scared")
    t.say("""
        {H} wanted to run away. But then {h} saw a tear on the {thing}'s face.
        But {h} saw that the {thing} walked strangely. It did not put one foot down.
        But {H} looked closely. The {thing} was holding its foot.""")
    t.para()
    t.say("""
        <H:Does something hurt?>
        <H:Why are you so angry?>
        "Are you in pain?" {H} asked softly.""")
    t.say("""
        "My foot hurts," said the {thing}. "It has hurt for a long time."
        The {thing} looked surprised. "Nobody ever asked me that. My foot hurts so much."
        The {thing} was quiet for a moment. Then it said, "There is something in my foot." """)
    t.say("""
        {H} looked at the foot. There was a long thorn in it.
        {S} came closer, step by step, and saw a big thorn.
        In the foot was a [sharp|thick|black] thorn.""")
    t.say("""
        <H:I will pull it out. Close your eyes.>
        <H:This will hurt a little, but then it will be better.>
        "Hold still," said {H}.""")
    t.say("""
        {S} took hold of the thorn and pulled. One, two, three! It was out.
        {S} pulled with all {his} strength. Plop! The thorn was out.""")
    t.say("""
        The {thing} put down its foot. It did not hurt any more!
        The {thing} gave a long sigh. The pain was gone.
        The {thing} smiled for the first time in years.""")
    t.say("""
        "Thank you, little one," said the {thing}. "I was only angry because it hurt."
        "You are so small and so brave," said the {thing}. "Will you be my friend?"
        "I am sorry that I shouted at you," said the {thing} [softly|gently].""")
    t.say("""
        {H} rode home on the {thing}'s back. Everybody was amazed.
        The {thing} carried {him} home, and {E} could not believe it.
        From then on, the {thing} [helped everyone|carried wood for everyone|played with the little ones].""")
    lesson(t, t.pick(["an angry face can hide a pain", "it is good to ask what is wrong", "kindness can make a friend of anyone"]))
    ending(t) if t.chance(0.4) else None


@plot
def hide_and_seek(t):
    t.make_hero()
    t.make_friend()
    t.make_place()
    t.set_thing("hiding place", t.pick(["good", "secret", "new"]))
    opening(t, t.facts["place"])
    meet_friend(t)
    day(t)
    t.para()
    t.say("""
        {Day} they played hide and seek {at}.
        {Day} {F} said, "Let us play hide and seek {at}!"
        {Day} the two friends went {to}. <H:Let us play hide and seek!>""")
    t.say("""
        {F} closed {fhis} eyes and counted. "One, two, three, four, five!"
        <F:I will count to ten. Hide well!>
        {F} stood by a [tree|wall] and counted slowly to ten.""")
    t.say("""
        {H} ran here and there. Where could {h} hide?
        <H:This time {he} will never find me,> """.replace("<H:This time {he} will never find me,>", '"This time nobody will find me," thought {H}.'))
    t.say("""
        Then {h} found a very good hiding place {spot1}.
        {S} crept in {spot1} and was as quiet as a mouse.
        {S} hid {spot1} and did not make a sound.""".replace("crept in {spot1}", "hid {spot1}"))
    t.say("""
        It was [warm|soft] there, and {h} had to wait for a long time. Soon {his} eyes closed.
        It was so cosy that {H} fell asleep.
        {H} waited and waited. Then {h} fell fast asleep.""")
    t.para()
    t.say("""
        {F} looked {spot2}. {T} looked {spot3}. No {H}!
        {F} searched {spot2}, but found only [a beetle|an old hat|a frog].
        <F:Where are you, {H}?> Nobody answered.""".replace("|a frog", "|a worm"))
    t.say("""
        {T} called and called. <F:I give up! Come out!>
        <F:You have won! Please come out!> But it was quiet.
        After an hour, {F} was [worried|afraid].""")
    feel(t, "F", "scared", 0.4)
    t.say("""
        {T} called the others, and they all searched together.
        A [crow|robin] helped to look from above.
        {F} asked everyone who came by. <F:Have you seen {H}?>""")
    t.set(noise=["a loud snore", "a funny whistle", "a soft snoring sound"])
    t.say("""
        Then {F} heard {noise}. It came from {spot1_bare}!
        Suddenly there was {noise}. {F} stopped and listened.
        And then, what was that? It was {noise}!""".replace(". It came from {spot1_bare}!", ". What was that?"))
    t.say("""
        {F} looked {spot1}, and there lay {H}, fast asleep.
        There {h} was, {spot1}, and dreamed.
        {F} followed the sound and found {H} {spot1}.""")
    t.say("""
        {F} tickled {his} nose. "Achoo!" {H} woke up. <H:Did I win?>
        <F:Wake up, sleepy head!> {H} rubbed {his} eyes. <H:Have you found me already?>
        {H} opened one eye. <H:Is the game over?>""")
    t.say("""
        <F:You won. But I was so worried!>
        They both laughed until {their} sides hurt.
        {F} laughed. <F:You hid so well that even you got lost in your dreams.>""".replace("{their}", "their"))
    t.say("""
        <H:I am sorry. Next time I will stay awake.>
        <H:I heard you in my dream, but I thought you were a [cow|bee].>
        "Next time I will count, and you will hide," said {H}.""")
    ending(t, True)


@plot
def winter_nuts(t):
    t.make_hero(avoid=("cold", "dragon", "lion", "elephant", "penguin", "cat", "dog", "kitten", "puppy"))
    t.make_friend()
    t.make_food(["nuts", "berries", "apples", "carrots", "pears", "honey"])
    t.make_place(["forest", "orchard", "meadow", "farm"])
    opening(t, t.facts["place"])
    trait(t, "lazy")
    meet_friend(t)
    t.para()
    t.say("""
        Autumn came, and the leaves turned red and yellow.
        It was autumn. The days grew short and cool.
        Summer was over, and the wind grew cold.""")
    t.say("""
        {F} worked all day and put {foods} in the cellar for the winter.
        Every day, {F} filled {fhis} cellar with {foods}.
        {F} gathered {foods} from morning to night.""")
    t.say("""
        <F:Come and help me. Winter is coming.> <H:Winter is far away.>
        <F:You should gather some {food} too.> <H:I will do it tomorrow.>
        "Why do you work so hard?" asked {H} and lay down in the sun.""")
    t.say("""
        {H} slept under a tree and sang songs.
        {H} played and danced and did not gather anything.
        Day after day went by, and {H} did nothing.""")
    t.para()
    t.say("""
        Then the snow came. Everything was white and cold.
        One morning there was deep snow everywhere.
        And then it was winter. The snow lay [high|deep] on the ground.""")
    t.say("""
        {H} was hungry, but there was nothing to eat.
        {S} looked for food {at}, but everything was under the snow.
        In {his} {home} there was not a single crumb.""")
    feel(t, "H", t.pick(["sorry", "sad"]))
    t.say("""
        <H:I should have listened to {F}.>
        "{F} was right," said {H}. "I was so lazy."
        {his} stomach growled, and {h} was cold.""")
    t.say("""
        At last {h} went to {F} and knocked at the door.
        Slowly {h} walked through the snow to {F}.
        That evening there was a knock at {F}'s door. It was {H}, thin and cold.""")
    t.say("""
        <H:I am so hungry. May I have a little bit? I will work for it.>
        <H:I was lazy, and now I have nothing. Can you help me?>
        "Please help me," said {H} in a small voice.""")
    t.say("""
        {F} opened the door wide. <F:Come in. There is enough for two.>
        <F:Of course. A friend does not let a friend go hungry.>
        {F} gave {him} a [warm blanket|big bowl] and {foods}.""")
    t.say("""
        All winter long they shared the {food}. {H} swept the floor, brought wood and [sang songs|told stories].
        {H} helped with the work every day, and in the evening {h} sang for {F}.
        So they spent the winter together, and {H} did half of the work.""")
    t.say("""
        The next autumn, {H} was the first one to gather {food}.
        When autumn came again, nobody worked harder than {H}.
        The next year, {H} filled two cellars, one for {himself} and one for {F}.""")
    lesson(t, t.pick(["it is wise to think of tomorrow", "work today means food tomorrow", "a good friend helps in hard times"]), 0.7)
    ending(t, True) if t.chance(0.4) else None


@plot
def school_day(t):
    t.make_hero(avoid=("dragon",))
    t.make_friend()
    t.make_elder()
    t.make_thing("small", without=("fragile",), also=("book", "hat", "teddy bear"))
    opening(t)
    t.say("""
        Tomorrow was the first day of school.
        It was the day before {his} first day of school.
        The summer was over, and {H} was going to start school.""")
    t.para()
    t.say("""
        <H:What if nobody plays with me?>
        <H:What if I do not know anything?>
        That night {h} could not sleep and thought of many questions.""")
    t.say("""
        {E} gave {him} {athing}. <E:When you are afraid, hold it and think of me.>
        <E:Take this {thing}. It will bring you luck.> It was {athing}.
        Then {E} put {athing} in {his} bag. <E:This will help you to be brave.>""")
    t.say("""
        In the morning, {E} walked {him} to school.
        The next morning, {H} put on {his} bag and went to school.
        The way to school was short, but {H} walked very slowly.""")
    interlude(t, 0.3)
    t.say("""
        There were so many others! They all talked and ran around.
        The school was big and full of noise.
        Everyone seemed to know each other.""")
    feel(t, "H", t.pick(["scared", "lonely"]))
    t.say("""
        {S} held the {thing} in {his} pocket and took a deep breath.
        {S} thought of the {thing} in {his} bag and went in.
        {S} put {his} hand on the {thing} and counted to five.""".replace("put {his} hand on", "held"))
    t.para()
    t.set(afriend=("an " if t.friend.kind[0] in "aeiou" else "a ") + t.friend.kind)
    t.say("""
        Next to {him} sat {afriend}. A tear ran down {fhis} nose.
        In the last row sat {afriend} with wet eyes.
        There was {afriend} who sat all alone and cried.""")
    t.say("""
        <H:What is your name?> <F:{F},> """.replace("<F:{F},>", '"{F}," was the answer. "I want to go home."'))
    t.say("""
        "Somebody else is afraid too," thought {H}.
        Now {H} was not the only one who was afraid.""")
    t.say("""
        {H} took out the {thing}. <H:This helps when you are afraid. You can hold it for a while.>
        <H:Look, this is my lucky {thing}. Hold it, and you will feel better.>""")
    t.say("""
        {F} held the {thing} and [smiled|dried {fhis} tears].
        {F} looked at the {thing}. <F:It is so pretty. Thank you.>""")
    t.say("""
        Then they learned a song together, and {H} [knew every word|sang loudly].
        They painted [the sun|letters] and counted to twenty.
        In the break they [ran around|played catch|shared an apple].""")
    t.say("""
        When {E} came to get {him}, {H} did not want to go home.
        <E:How was it?> <H:It was great! I have a new friend.>
        At noon {H} ran out. <H:{E}, may I go again tomorrow?>""")
    lesson(t, t.pick(["helping others makes you brave", "new things are only scary at first", "everyone is a little afraid on the first day"]), 0.7)
    ending(t, True)
    t.topic = t.pick([t.topic, "the first day of school", "school"])


@plot
def old_neighbour(t):
    t.make_hero()
    t.make_stranger()
    t.make_food()
    t.make_elder()
    opening(t)
    trait(t, t.pick(["kind", "merry"]), 0.7)
    day(t, "sunny", "windy", "rainy", "hot")
    t.para()
    t.set(load=["a heavy basket", "a big sack", "a heavy bag", "a large bundle of wood"])
    t.facts["loadnoun"] = {"a heavy basket": "basket", "a big sack": "sack", "a heavy bag": "bag", "a large bundle of wood": "wood"}[t.facts["load"]]
    t.set(plan=["to play ball", "to fly a kite", "to swim", "to the fair", "to see the ducks"])
    t.say("""
        {Day} {H} was on the way {plan}.
        {Day} {h} went out {plan}.
        {Day} {H} left the {home} early {plan}.""")
    interlude(t, 0.35)
    t.say("""
        On the road {h} met {aX} with {load}.
        There was {aX} who carried {load} up the hill.
        Then {h} saw {aX}. On the road beside {X} stood {load}.""".replace("On the road beside {X} stood {load}.", "{X} was carrying {load} and had to stop again and again."))
    t.say("""
        <X:Oh, my poor back!>
        "This {loadnoun} is so heavy," said {X}.
        {X} took three steps and had to rest.""")
    t.say("""
        {H} wanted to play. But {h} could not just walk by.
        {H} stopped. Playing could wait.
        {H} looked at the road, and then {h} looked at {X}.""")
    t.say("""
        <H:May I help you?>
        <H:Let me carry that for you.>
        "I am strong," said {H}. "I will take the {loadnoun}." """)
    t.para()
    t.say("""
        The {loadnoun} was heavy, and the way was long. But {H} did not stop.
        They walked together, [over the bridge|past the mill], up the hill and down again.
        {H} carried the {loadnoun} all the way, and {X} told {him} stories of the old days.""")
    t.say("""
        When they arrived, {X} opened the door. It smelled of {food}!
        At last they came to a little house with a green door.
        At the end of the road stood a small old house.""")
    t.say("""
        <X:Come in and rest. You must be hungry.> There was {afood} on the table.
        <X:Thank you, dear {H}. I have {afood} for you.>
        {X} gave {him} {afood}. <X:This is for your kind heart.>""")
    t.say("""
        They ate and talked. {X} had [seen the sea|sailed on a ship|been to many countries] and knew a hundred stories.
        {H} listened to stories of [pirates|kings|faraway lands] until it was late.
        While they ate, {X} told {him} about a [ship|treasure|castle] far away.""")
    feel(t, "H", t.pick(["happy", "surprised"]), 0.6)
    t.say("""
        <X:Nobody has visited me for a long time.>
        "You have made me happy today," said {X}.
        <X:Please come again.> """)
    t.say("""
        After that, {H} came every [week|Sunday] to help and to hear a story.
        From then on, {H} visited {X} [often|every week].
        <H:I will come again tomorrow!> And {h} did.""")
    t.say("""
        {E} asked, "Where have you been so long?" <H:I found a friend.>
        At home {H} told {E} about {his} new friend.
        <E:You are a good child.>""".replace("You are a good child.", "I am proud of you."), 0.6)
    lesson(t, t.pick(["helping others brings joy", "old neighbours have the best stories", "a little time is a great gift"]), 0.7)
    ending(t) if t.chance(0.5) else None
