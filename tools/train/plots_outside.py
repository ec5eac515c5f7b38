"""Plots under the open sky: trees, water, snow, seeds, lost ways."""

from beats import arrives, day, ending, feel, interlude, lesson, meet_friend, opening, own_thing, thank, trait
from teller import plot


@plot
def stuck_in_tree(t):
    t.make_hero(avoid=("flies", "climbs"))
    t.make_friend(avoid=("slow",))
    t.make_thing("windy", without=("small",), also=("ball",))
    t.make_place(["park", "meadow", "garden", "orchard", "farm", "village"])
    opening(t, t.facts["place"])
    own_thing(t)
    day(t, "windy")
    t.para()
    t.say("""
        {Day} {H} took the {thing} and went {to}.
        {Day} {H} was {at} with {his} {fullthing}.
        {Day} {h} went {to} and took {his} {fullthing} along.""")
    interlude(t, 0.3)
    t.say("""
        Suddenly [a strong wind|a gust of wind] came and [took|carried off] the {thing}. It landed high in a tree.
        Then the wind [pulled|blew] the {thing} [out of {his} hands|away], up and up, into [a tall tree|the top of a tree].
        Whoosh! The wind took the {thing} and [threw|blew] it into a tall tree.""".replace("out of {his} hands|", "") if not t.hero.is_child else """
        Suddenly [a strong wind|a gust of wind] came and [took|carried off] the {thing}. It landed high in a tree.
        Then the wind [pulled|blew] the {thing} [out of {his} hands|away], up and up, into [a tall tree|the top of a tree].
        Whoosh! The wind took the {thing} and [threw|blew] it into a tall tree.""")
    t.say("""
        <H:Oh no! My {thing}!>
        <H:Come down, {thing}!> But the {thing} was stuck.
        "Now it is stuck," said {H}.""")
    t.say("""
        {S} jumped [as high as {h} could|up and down], but the tree was too tall.
        {S} [shook|pushed] the tree, but only leaves fell down.
        {S} threw a [stick|stone] at it, but [missed|it did not help].""")
    feel(t, "H", t.pick(["sad", "angry"]), 0.6)
    arrives(t)
    t.say("""
        <F:What happened?> <H:My {thing} is up in the tree!>
        <H:Please help me! My {thing} is stuck up there.>
        "Why do you look so [sad|unhappy]?" asked {F}. {H} pointed up at the {thing}.""")
    t.para()
    how = t.rng.randrange(4)
    if how == 0 and "climbs" not in t.friend.abilities:
        t.say("""
            <F:Climb on my back! Then you can reach it.>
            "If you stand on my shoulders, we are twice as tall," said {F}.""")
        t.say("""
            {H} climbed up, [higher and higher|very carefully], and stretched. There! {S} had the {thing}.
            {H} stood on {F} and reached up. A little more, and {h} [held|had] the {thing}!""")
    elif how == 1 or "climbs" in t.friend.abilities:
        t.say("""
            <F:I am good at climbing.> {T} climbed [from branch to branch|up and up], and soon {f} reached the {thing}.
            <F:Let me try!> {F} climbed up [slowly and carefully|quickly] and [pulled|shook] the {thing} free.""")
        t.say("Down fell the {thing}, right [in front of {him}|into the grass].\n{F} let it fall, and {H} caught it.\nThe {thing} fell down, and {H} ran to get it.")
    elif how == 2:
        t.say("""
            <F:Let us find a long stick.> They looked around and found [one under the tree|a very long one].
            {F} ran off and came back with a [ladder|long pole]. <F:This will help.>""")
        t.say("""
            Together they [pushed|poked] the {thing}, once, twice, three times. Then it fell down!
            They worked together, and after [a while|three tries] the {thing} was free.""")
    else:
        t.say("""
            <F:Let us shake the tree together.>
            "One of us is too weak," said {F}, "but two are strong." """)
        t.say("""
            They shook the tree, [one, two, three|once, twice, three times], and down came the {thing}!
            They pushed and shook until the {thing} fell [into the grass|on {F}'s head].""")
    feel(t, "H", "happy", 0.6)
    thank(t)
    t.say("""
        <H:Now you may have a turn too.> And {H} gave {F} the {thing}.
        {H} and {F} took turns with the {thing} [all afternoon|until the wind stopped].
        Then they played with the {thing} together, far away from the trees.""")
    lesson(t, t.pick(["two can do what one cannot", "it is good to ask for help", "friends are a great help"]), 0.7)
    ending(t, True)


@plot
def baby_bird(t):
    t.make_hero(avoid=("flies", "cat", "kitten"))
    t.make_elder()
    t.make_place(["forest", "garden", "park", "orchard", "meadow", "farm"])
    t.set_thing("baby bird", "little")
    opening(t, t.facts["place"])
    trait(t, "kind", 0.7)
    day(t)
    t.para()
    t.say("""
        {Day} {H} went for a walk {at}.
        {Day} {h} played {at}.
        {Day} {H} was alone {at}.""")
    interlude(t, 0.3)
    t.say("""
        "Peep, peep!" Something [called|cried] {spot1}.
        Then {h} heard a [tiny|soft] voice. "Peep! Peep!"
        Suddenly {h} heard a sound {spot1}. "Peep, peep!" """)
    t.say("""
        It was a baby bird. It had fallen out of its nest.
        There sat a baby bird with [wet feathers|almost no feathers]. It could not fly.
        {S} looked and saw a tiny bird. It was too small to fly.""")
    t.say("""
        <H:You poor little bird! Where is your mother?>
        <H:Do not be afraid. I will help you.>
        "You must be cold," said {H} softly.""")
    plan = t.rng.randrange(3)
    if plan == 0:
        t.say("""
            {S} looked up. High in the tree was a nest.
            {H} saw the nest, high up on a branch. It was too high for {him}.""")
        t.say("""
            {S} ran home and got {E}. {E} brought a [tall|long] ladder.
            So {h} called {E}, and {E} came with a ladder.""")
        t.say("""
            {E} held the ladder, and {H} climbed up with the bird in {his} [hat|scarf].
            Very slowly, {H} climbed up and put the bird back.""")
    elif plan == 1:
        t.say("""
            {S} took the bird home in {his} [hat|scarf] and made a nest of [wool|grass|soft leaves].
            {H} carried it home carefully. <E:Let us put it into a warm box.>""")
        t.say("""
            Every hour {h} gave it [a little water|a worm|some crumbs].
            {H} and {E} fed it day and night. The bird ate and grew.""")
        t.say("""
            After [two|three] weeks, the bird had [long|fine] feathers and began to flap its wings.
            Soon it was strong. It hopped [around the room|on the table] and sang.""")
        t.say("""
            Then {h} took the bird outside and opened {his} hands. It flew up into the sky!
            One morning they opened the window. The bird flew out, up and away.""" if t.hero.is_child else """
            Then {h} took the bird outside. It spread its wings and flew up into the sky!
            One morning they opened the window. The bird flew out, up and away.""")
    else:
        t.say("""
            {S} hid and waited, because the mother might come back.
            <H:I will stay with you until your mother comes.>""")
        t.say("""
            A [fox|cat] came near, but {H} [shouted|jumped up], and it ran away.
            It grew cold, and {H} covered the bird with {his} scarf.""" if t.hero.kind != "fox" else """
            A cat came near, but {H} jumped up, and it ran away.
            It grew cold, and {H} covered the bird with {his} scarf.""")
        t.say("""
            At last the mother came. It [sang for joy|flew around them] and fed its little one.
            Then a big bird flew down. "My baby!" it sang.""")
    t.para()
    feel(t, "H", t.pick(["happy", "proud"]), 0.7)
    t.say("""
        The next morning, a bird sat on {his} window sill and sang.
        Every morning after that, {h} heard a song from the tree. It was a thank you.
        From then on, the birds sang [a special song|their best songs] when {h} came by.
        In spring the bird came back and [sang|built a nest near the {home}].""")
    t.say("""
        <E:You did well, {H}.>
        <E:You have a kind heart.>
        {E} was very proud of {him}.""")
    lesson(t, t.pick(["even the smallest creature needs a friend", "a little help can save a life", "kindness comes back"]))
    ending(t) if t.chance(0.6) else None


@plot
def planting_seed(t):
    t.make_hero()
    t.make_elder()
    t.make_friend()
    plant, fruit = t.pick([("sunflower", "It was as tall as the {home} and turned its yellow head to the sun"), ("pumpkin", "It was so big that {h} could sit on it"),
                           ("bean", "It climbed up to the roof and was full of long green pods"), ("strawberry plant", "It was full of red, sweet berries"),
                           ("tomato plant", "It was full of round, red tomatoes"), ("rose", "It had one big red flower that smelled sweet"),
                           ("apple tree", "It was small, but it had one golden apple")])
    t.set_thing("seed", t.pick(["tiny", "little", "brown"]))
    t.set(plant=plant, fruit=fruit)
    opening(t)
    trait(t, "impatient")
    day(t)
    t.para()
    t.say("""
        {Day} {E} gave {him} {athing}.
        {Day} {H} got {athing} from {E}.
        {Day} {H} found {athing} in an old [box|pot], and {E} knew what it was.""")
    t.say("""
        <E:Plant it and take good care of it. It will become a {plant}.>
        <E:If you water it every day, it will grow into a {plant}.>
        <E:Inside this seed sleeps a {plant}.>""".replace(" a {plant}", " an {plant}" if plant[0] in "aeiou" else " a {plant}"))
    t.say("""
        {H} dug a hole, put the seed in, and gave it water.
        {S} planted the seed [beside the {home}|in the sun|in a pot] and watered it.
        So {h} put the seed into the [dark|soft] earth and watered it.""")
    t.say("""
        Then {h} sat down and waited. Nothing happened.
        {S} looked at the earth all day. It did not change.
        After an hour {h} came back to look. There was only earth.""")
    t.say("""
        <H:Why does it not grow?>
        <H:Grow, seed, grow!>
        "It is too slow," {h} said.""")
    t.say("""
        <E:Good things take time.>
        <E:Seeds work under the earth, where we cannot see it.>
        <E:Be patient. Sun and water will do their work.>""")
    t.para()
    t.say("""
        Every [day|morning] {H} brought water. Every [day|morning] {h} looked. One day, two days, five days.
        {H} watered it on Monday, on Tuesday and on all the other days.
        {H} did not want to wait, but {h} brought water every morning.""")
    t.say("""
        {his} friend {F} came by. <F:What are you waiting for?> <H:For my {plant}.>
        <F:Come and play!> <H:First I must water my seed.>
        {F} laughed. <F:There is nothing there!> But {H} [did not give up|went on].""", 0.7)
    t.say("""
        Then, one morning, there was a tiny green leaf!
        And after a week, something green [looked|peeped] out of the earth.
        At last {h} saw it. A [little|tiny] green sprout!""")
    feel(t, "H", "happy", 0.6)
    t.say("""
        The plant grew and grew, [day by day|in sun and rain].
        Week after week, it grew [taller|bigger].
        It had two leaves, then four, then [ten|many].""")
    t.say("""
        In [late summer|autumn], it was a {plant}. {fruit}.
        And at last there it stood, the {plant}. {fruit}.""".replace(" a {plant}", " an {plant}" if plant[0] in "aeiou" else " a {plant}")
          .replace("{fruit}", fruit))
    t.say("""
        {H} called {F} and {E}, and they [all looked at it|danced around it] together.
        <F:It was worth the wait!> said nobody louder than {E}.
        {F} came to see it. <F:I want to plant one too!> So {H} gave {fhim} a seed.""".replace("<F:It was worth the wait!> said nobody louder than {E}.", "<F:It was worth the wait!>"))
    lesson(t, t.pick(["good things take time", "patience makes things grow", "waiting can be worth it"]))
    ending(t) if t.chance(0.4) else None


@plot
def lost_in_woods(t):
    t.make_hero(avoid=("flies",))
    t.make_elder()
    t.make_stranger()
    lure = t.pick(["butterfly", "dragonfly", "bee", "rolling ball", "white feather in the wind", "firefly"])
    t.set(lure=lure)
    t.set_thing("forest", t.pick(["dark", "big", "deep"]))
    opening(t, t.pick(["meadow", "farm", "village", "garden", "hill"]))
    trait(t, "curious", 0.8)
    t.say("""
        <E:Do not go too far into the forest.>
        "Stay near the {home}," {E} always said.
        {E} had told {him} to stay on the path.""")
    day(t, "sunny")
    t.para()
    t.say("""
        {Day} {H} saw a {lure}. It was so pretty that {h} ran after it.
        {Day} a {lure} came by, and {H} followed it.
        {Day} {h} ran after a {lure}, on and on.""")
    t.say("""
        {S} ran [over a bridge|through the grass] and into the {fullthing}.
        It led {him} [left and right|here and there], into the {fullthing}.
        {S} did not look at the path, and soon {h} was deep in the forest.""")
    t.say("""
        Then the {lure} was gone. {H} looked around. All the trees looked the same.
        When {h} stopped, {h} did not know where {h} was.
        But then {h} lost sight of it. And where was the path?""")
    t.say("""
        <H:Where am I?>
        <H:I am lost!>
        "I should have listened to {E}," {h} said.""")
    feel(t, "H", t.pick(["scared", "lonely"]), 0.7)
    t.para()
    way = t.rng.randrange(3)
    if way == 0:
        t.say("""
            {S} sat down and thought. Then {h} heard [water|a stream]. <H:The stream flows past our {home}!>
            But {h} did not cry. {S} listened, and {h} heard the little stream that ran past the {home}.""")
        t.say("""
            {S} followed the water [over stones|around every bend], step by step.
            So {h} walked beside the stream, [on and on|for a long time].""")
    elif way == 1:
        t.say("""
            Then {h} met {aX}. <X:Why are you so sad?> <H:I cannot find my way home.>
            {aX} sat {on}. <X:Are you lost, little one?>""".replace("{on}", "on a branch" if any(b in t.facts["X"] for b in ("owl", "crow")) else "under a tree"))
        t.say("""
            <X:Follow me. I know every tree in this forest.>
            <X:I will show you the way.> And {X} went ahead.""")
        t.say("""
            {H} stayed close behind {X} until they saw light between the trees.
            Together they went [under|past] the old trees, and {H} was not afraid any more.""")
        t.say("<H:Thank you for your help!>\n{H} thanked {X} with a [hug|bow].", 0.7)
    else:
        t.say("""
            {S} looked at the sky. The sun was going down. <H:Our {home} is on the side where the sun sets.>
            {S} climbed on a [big rock|high stone] and looked around. Far away {h} saw smoke from a chimney.""")
        t.say("""
            So {h} walked that way, [step by step|on and on], and did not stop.
            {S} went straight ahead, over [roots|logs] and stones.""")
    interlude(t, 0.25)
    t.say("""
        At last {h} saw [the light of the {home}|the {home}]. {E} stood at the door with a lamp.
        And there was the {home}! {E} ran to meet {him}.
        When the stars came out, {h} saw {his} {home}. {E} was waiting.""")
    t.say("""
        <E:I was so worried!> {E} hugged {him} [tightly|for a long time].
        {E} took {him} in a big hug. <E:I am so glad that you are back.>
        {H} ran to {E}. <H:I will never go so far again.>""")
    t.say("""
        There was [hot soup|warm bread|hot milk] for supper.
        That evening {h} told {E} [everything|about the forest].
        They sat by the fire, and {H} told the whole story.""")
    lesson(t, t.pick(["it is wise to stay on the path", "it helps to stay calm and think", "good advice is worth hearing"]))
    ending(t) if t.chance(0.6) else None


@plot
def sand_castle(t):
    t.make_hero()
    t.make_friend()
    t.make_place(["beach"])
    t.set_thing("sandcastle", t.pick(["big", "fine", "tall"]))
    opening(t, "beach")
    meet_friend(t)
    day(t, "sunny", "windy", "hot")
    t.para()
    t.say("""
        {Day} {H} and {F} went to the beach with a [bucket|shovel and a bucket].
        {Day} the two friends ran to the beach. <H:Let us build a castle!>
        {Day} {H} said to {F}, "Today we will build the biggest sandcastle in the world." """)
    t.say("""
        They dug and dug. They built [four|three|five] towers and a [high|thick] wall.
        {H} made the walls, and {F} made the towers.
        First they made a [hill|wall], then a gate, and then [three|four] tall towers.""")
    t.set(deco=["shells", "white stones", "feathers", "sea grass"])
    t.say("""
        {F} put {deco} on top. <F:How pretty it looks!>
        They decorated it with {deco}.
        {H} brought {deco} for the [roof|towers|windows].""")
    t.say("""
        <H:It is perfect!>
        It was the [best|finest|biggest] castle on the whole beach.
        They stood beside it and were proud.""")
    t.para()
    t.say("""
        But then a big wave came. Swish! The castle was gone.
        But the sea came nearer and nearer. A wave ran over the wall, and the towers fell.
        Suddenly there was a wave, bigger than all the others. It washed the castle away.""")
    if t.chance(0.5):
        feel(t, "H", t.pick(["sad", "angry"]))
        t.say("""
            <H:All our work is gone!>
            <H:Bad sea!>
            "I will never build a castle again," said {H}.""")
        t.say("""
            <F:We can build a new one. We know how to do it now.>
            "Look," said {F}, "the sand is still here, and so are we."
            <F:Let us think. Why did the wave take it?>""")
    else:
        feel(t, "F", "sad")
        t.say("""
            <F:All our work is gone!>
            "Now it is all over," said {F}, and {fhis} eyes were wet.""")
        t.say("""
            <H:Do not cry. We will build a better one.>
            {H} put an arm around {fhim}. <H:We can do it again.>""")
    t.say("""
        <H:It was too close to the water.> They went [farther up|higher up] the beach.
        They looked for a new place, far from the waves.
        This time they built it higher up, where the waves could not come.""")
    t.say("""
        They dug a deep ditch around it, and the water ran into the ditch.
        They made a thick wall of stones in front of it.
        They put big stones around the new castle.""")
    t.say("""
        The next wave came, but it [stopped before the wall|could not reach them].
        They waited for the waves. One came, two came, but the castle stood.
        The waves came and went, and the castle [stood|did not fall].""")
    t.say("""
        <F:We did it!> They danced around the castle.
        {H} and {F} [cheered|jumped for joy].
        "Hooray!" they both shouted.""")
    lesson(t, t.pick(["one can learn from bad luck", "it is good to try again", "a good place is half the work"]))
    ending(t, True)


@plot
def snow_man(t):
    t.make_hero()
    t.make_friend()
    t.make_elder()
    t.set_thing("snowman", t.pick(["big", "funny", "tall"]))
    opening(t)
    t.para()
    t.say("""
        One winter morning, {H} looked out of the window. Everything was white!
        One night it snowed, and in the morning the whole world was white.
        When {H} woke up, there was snow [everywhere|on every roof and tree].""")
    t.say("""
        <H:Snow! Snow!> {S} put on {his} [boots|scarf] and ran outside.
        {S} ran out [at once|without breakfast] and jumped into the snow.
        <H:I must go out at once!>""")
    arrives(t)
    t.say("""
        <F:Let us build a snowman!>
        <H:Will you build a snowman with me?> <F:Yes!>
        "I know what we can do," said {F}. "We can make a snowman." """)
    t.say("""
        They rolled a big ball, a [middle|smaller] ball and a small one.
        They pushed and rolled the snow until they had three [round|white] balls.
        {H} made the body, and {F} made the head.""")
    t.say("""
        A carrot was the nose, and two [stones|nuts|buttons] were the eyes.
        They gave him a carrot nose and [black stone|shiny button] eyes.
        {F} found a carrot for his nose, and {H} made a [big|wide] smile out of [pebbles|small stones].""")
    t.para()
    t.say("""
        <F:He looks cold.> {H} gave him {his} own scarf.
        "Something is missing," said {H}. {S} ran in and came back with an old hat from {E}.
        The snowman had no hat, so {H} put [a pot|a bucket|an old hat] on his head.""")
    if t.chance(0.5):
        t.say("""
            But in the afternoon the sun came out, and the snowman began to [melt|drip].
            After [three|some] days it grew warm. Drip, drop! The snowman became smaller and smaller.
            Then the warm wind came, and the snowman grew thin.""")
        feel(t, "H", "sad", 0.8)
        t.say("""
            <H:Please do not go!>
            <H:Our snowman is going away!>""")
        t.say("""
            <E:The snow will come back next winter, and so will your snowman.>
            <E:He becomes water, and the water helps the flowers grow.>""")
        t.say("""
            In spring a [white|blue|yellow] flower grew where the snowman had stood.
            When spring came, snowdrops grew on that very place.""")
        t.say("""
            <F:Look! The snowman left us a flower.> {H} [smiled|was happy].
            {H} smiled and gave the flower some water.""")
        lesson(t, t.pick(["things change but do not get lost", "every winter has a spring", "nothing lovely is ever quite lost"]), 0.7)
    else:
        t.say("""
            In the night, {H} looked out of the window. Did the snowman wave?
            When the moon came out, the snowman seemed to smile at {him}.""")
        t.say("""
            The next day, a [hungry rabbit|thin deer] came and [wanted to eat|ate] the carrot nose.
            In the morning the nose was gone. A hungry [deer|bird] had eaten it.""")
        t.say("""
            {H} was not angry. {S} put out more carrots for the hungry animals, and a [red apple|stick] became the new nose.
            <H:It was hungry. We can find a new nose.> They used a [stick|fir cone].""")
        t.say("""
            All winter long, the snowman stood there, and the animals came to visit him.
            {H} and {F} said good morning to him every day.""")
        lesson(t, t.pick(["there is enough for everyone if we share", "winter is warm when you have friends"]), 0.7)
    ending(t, True)
