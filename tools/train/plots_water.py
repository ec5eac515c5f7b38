"""Plots of water, snow and dry summers."""

from beats import arrives, day, ending, feel, interlude, lesson, meet_friend, opening, own_thing, trait
from teller import plot


@plot
def boat_away(t):
    t.make_hero(avoid=("swims", "flies"))
    t.make_elder()
    t.make_stranger()
    t.make_friend()
    t.set_thing("toy boat", t.pick(["little", "blue", "red", "wooden", "white"]), "sail", "sailed")
    t.make_place(["river"])
    opening(t, "river")
    day(t)
    t.say("""
        {H} and {E} had made {athing} out of [wood|bark and a leaf].
        {S} had {athing} with a [white|red] sail.
        {E} had helped {him} to make {athing}.""")
    t.para()
    t.say("""
        {Day} {h} put the boat on the water. It sailed [like a real ship|proudly on the waves].
        {Day} {H} went down to the river and let the boat swim.
        {Day} {H} took the boat to the river. <H:Sail, little boat!>""")
    t.say("""
        But the water was fast. The boat sailed away, and {h} could not reach it.
        Then the string broke, and the boat sailed away.
        A [strong wind|big wave] came and carried the boat away, far from the bank.""")
    t.say("""
        <H:Stop! Come back!>
        {S} ran along the bank as fast as {h} could.
        "My boat!" cried {H} and ran after it.""")
    t.say("""
        It went [under a bridge|around a stone] and past [the willows|two ducks].
        Past the old mill it went, and under the [stone|wooden] bridge.
        The boat danced over the waves and [turned|spun] around a rock.""")
    t.say("""
        Then it went around a bend, and {h} could not see it any more.
        At last {h} could not run any more, and the boat was gone.""")
    feel(t, "H", "sad")
    t.para()
    t.say("""
        On the bank {h} met {aX}. <X:Why do you cry?> <H:My boat sailed away.>
        {aX} was [resting|sitting] by the water. <X:What is the matter?> <H:I lost my boat.>
        There {h} saw {aX}. <H:Have you seen my boat?>""")
    t.say("""
        <X:Boats go where the water goes. Go on to the old dam.>
        <X:I saw something small by the big stone. Go and look there.>
        <X:The river takes everything to the quiet pool. Follow the water.>""")
    t.say("""
        {S} thanked {X} and walked on.
        So {h} went on, [step by step|over sand and stones].
        {H} felt hope again and [ran|went] on.""")
    t.set(afriend="a " + t.friend.kind if t.friend.kind[0] not in "aeiou" else "an " + t.friend.kind)
    t.say("""
        There stood {afriend} with the boat in {fhis} hands. <K:Is this yours?>
        And there was {afriend} who had pulled the boat out of the water. <K:I found it. Is it your boat?>
        By the water sat {afriend} and looked at the boat. <K:What a fine boat!>""".replace("with the boat in {fhis} hands", "beside the boat"))
    t.say("""
        <H:Yes! Thank you for saving it!>
        <H:That is my boat! I am so glad that you found it.>
        {H} [jumped for joy|could not stop smiling]. <H:Yes, it is mine!>""")
    t.say("""
        <F:My name is {F}. Shall we sail it together?>
        "I am {F}," said the {fkind}. "I have always wanted a boat."
        <F:I am {F}. May I play with you?>""")
    t.say("""
        They tied a long string to the boat, and it did not sail away again.
        {H} tied a new string to it, and they took turns.
        So they played together, and {H} held the string [tightly|very tightly].""")
    t.say("""
        {H} had lost a boat and found a friend.
        Without the fast water, {H} would never have met {F}.
        That day {H} got back {his} boat, and {h} got a friend too.""")
    ending(t, True)


@plot
def big_turnip(t):
    t.make_hero()
    t.make_friend()
    t.make_elder()
    t.make_place(["farm", "garden"])
    veg = t.pick(["turnip", "carrot", "pumpkin", "beet", "radish", "potato"])
    t.set_thing(veg, t.pick(["huge", "giant"]))
    opening(t, t.facts["place"])
    t.say("""
        {H} helped {E} in the garden.
        {S} loved to work in the garden with {E}.
        In spring, {h} had planted a small {thing} seed.""")
    day(t)
    t.para()
    t.say("""
        {Day} {H} saw {athing}. It was bigger than {him}!
        {Day} {h} found {athing} in the garden. It had grown and grown.
        {Day} it was time to pull out the {thing}. But it was {athing}!""")
    t.say("""
        {S} pulled and pulled, but it did not move.
        {S} took hold of the leaves and pulled. Nothing happened.
        "One, two, three!" {S} pulled with all {his} strength. The {thing} stayed where it was.""")
    t.say("""
        So {h} called {E}. They pulled together, but it [did not move|stayed in the ground].
        <H:{E}, please help me!> {E} held on to {H}, and they pulled. No luck!
        {E} came and helped. They pulled and pulled, but the {thing} did not come out.""")
    arrives(t)
    t.say("""
        <H:Come and help us!> {F} held on to {E}, {E} held on to {H}, and they all pulled.
        <F:I am strong! I can help.> But even with {F} it did not work.
        {F} pulled too. It moved a little, but it did not come out.""")
    t.set(small=["a tiny ant", "a little mouse", "a small beetle", "a baby chick", "a little snail"])
    t.para()
    t.say("""
        Then {small} came by. "Can I help?"
        "May I help you?" asked {small}.
        Just then {small} wanted to help too.""")
    t.say("""
        <F:You are much too small!>
        They all laughed. "You are so small!"
        {F} laughed, but {H} did not. <H:Everybody may help.>""")
    t.say("""
        But {H} said, "Please help. Everyone counts."
        <H:Come, hold on. We need you.>
        So the little one held on too.""")
    t.say("""
        They pulled once more. One, two, three, pop! Out came the {thing}, and they all fell down.
        And they pulled, and pulled, and plop! The {thing} came out.
        "Pull!" called {H}. Crack! The {thing} jumped out of the earth, and everybody [fell|rolled] over.""")
    t.say("""
        They laughed and [laughed|shook off the earth].
        <H:We did it, all together!>
        {E} clapped. <E:That was hard work!>""")
    t.say("""
        That evening there was {thing} soup for everyone, and the smallest one got the [first|biggest] bowl.
        They made a big pot of {thing} soup. The little helper sat [in the middle|next to {H}].
        {E} cooked {thing} soup, and there was enough for the whole [village|neighbourhood].""")
    lesson(t, t.pick(["even the smallest can make the difference", "many little helpers are strong together", "nobody is too small to help"]))
    ending(t, True) if t.chance(0.5) else None


@plot
def broken_bridge(t):
    t.make_hero(avoid=("flies", "swims"))
    t.make_friend(avoid=("flies", "swims"))
    t.make_elder()
    t.make_food()
    t.set_thing("bridge", t.pick(["old", "little", "wooden"]))
    opening(t, t.pick(["river", "forest", "farm"]))
    day(t, "sunny", "rainy")
    t.say("""
        {E} lived on the other side of the river.
        On the other side of the river lived {E}.
        To visit {E}, {h} had to cross {athing}.""")
    t.para()
    t.say("""
        {Day} {H} wanted to bring {E} {afood}.
        {Day} {h} put {afood} in a basket to bring to {E}.
        {Day} {H} went to see {E}, with {afood} in a basket.""")
    interlude(t, 0.4)
    t.say("""
        But when {h} came to the river, the bridge was broken.
        But the storm had broken the bridge. Only [two|three] planks were left.
        At the river {h} stopped. The bridge was gone! The water had [washed|carried] it away.""")
    t.say("""
        <H:How can I get across?>
        "The water is deep and fast," {h} thought.
        <H:What shall I do now?>""")
    arrives(t)
    t.say("""
        <F:I want to go across too.>
        <F:My home is on the other side. I cannot get home!>
        <F:Oh no! The bridge!>""")
    bad = t.rng.randrange(3)
    t.say(["""
        {H} tried to jump from stone to stone, but {h} slipped and got wet feet.
        First {H} stepped on a stone in the water. It wobbled, and splash! {S} was wet.""", """
        {F} threw a small stick over the water, but it was too short.
        First they tried a thin branch. Crack! It broke.""", """
        They built a little raft, but it sank at once.
        First they made a raft of leaves and sticks. It turned over in the water."""][bad])
    t.para()
    t.say("""
        <F:We need something long and strong.> They looked around and saw a fallen tree.
        Then {H} saw a long log in the grass. <H:That could be our new bridge!>
        {H} had an idea. There was a big log on the bank.""")
    t.say("""
        {H} pushed, and {F} pulled. It was very heavy.
        They rolled it [slowly|bit by bit] to the water. It was hard work.
        Alone it would have been too heavy, but together they could move it.""")
    t.say("""
        Bump! The log lay across the river.
        At last it fell across the water, from one side to the other.
        With one last push, the log lay over the river like a bridge.""")
    t.say("""
        They put [stones|ropes] on both ends so that it would not roll.
        {F} tied a rope along it to hold on to.
        {H} tested it with one foot. It was [safe|strong].""")
    t.say("""
        Slowly they walked across, {H} first and {F} behind {him}.
        Step by step, they crossed the river.
        Hand in hand, the two of them walked over the log.""")
    t.say("""
        {E} was waiting on the other side. <E:What a fine new bridge!>
        {E} was [happy|glad] about the {food}, and {F} got some too.
        {E} gave them both [tea|a hug], and they all ate the {food} together.""")
    t.say("""
        From then on, everyone used the bridge that {H} and {F} had built.
        People called it the Friends' Bridge.
        The new bridge stayed there for many years.""", 0.7)
    lesson(t, t.pick(["every problem has an answer", "working together makes hard things easy", "two heads are better than one"]), 0.7)
    ending(t, True) if t.chance(0.5) else None


@plot
def fish_friend(t):
    t.make_hero(avoid=("swims", "cat", "kitten"))
    t.make_thing("treasure", without=("acorn", "feather"), also=("bell", "whistle"))
    t.make_place(["lake", "river"])
    opening(t, t.facts["place"])
    day(t)
    fish_place = t.facts["place"]
    t.set(water=fish_place)
    topic = t.topic
    t.para()
    t.say("""
        {Day} {H} went fishing {at}.
        {Day} {H} sat {at} with a fishing rod.
        {Day} {h} took a [net|fishing rod] and went {to}.""")
    t.say("""
        {S} waited [a long time|all morning]. Then something pulled!
        For a long time nothing happened. Then the water [moved|splashed].
        At last there was a [splash|pull].""")
    t.say("""
        It was a little [silver|golden] fish.
        {S} pulled out a fish with [silver|golden] scales.
        In the net was a small fish that [shone|sparkled] in the sun.""")
    t.say("""
        "Please let me go," said the fish. "I am still so [small|young]."
        The fish opened its mouth. "Please put me back. I have a family."
        To {his} surprise, the fish could speak. "Please let me go home." """)
    feel(t, "H", "surprised", 0.5)
    t.say("""
        {H} was hungry, but {h} felt sorry for the fish. <H:Swim home, little fish.>
        {H} thought of {his} own family and let the fish go.
        <H:I will not hurt you.> And {h} put the fish back [gently|carefully].""")
    t.say("""
        "I will not forget this," said the fish and swam away.
        "Thank you! One day I will help you," called the fish.
        The fish jumped once and was gone.""")
    t.para()
    t.say("""
        [Some days|A week] later, {H} came back {to} with {his} {fullthing}.
        [Some days|A month] later, {H} was {at} again. {S} had {athing}, which was very dear to {him}.
        One evening {h} played {at} with {athing} that {h} loved very much.""")
    t.say("""
        {S} slipped on a stone, and plop! The {thing} fell into the water.
        Then it slipped from {his} pocket. Plop! It sank [deep|to the bottom].
        Oh no! The {thing} fell into the deep water.""")
    feel(t, "H", "sad", 0.7)
    t.say("""
        <H:It is gone forever!>
        "I will never see my {thing} again," said {H}.
        {S} looked into the dark water but saw nothing.""")
    t.say("""
        Then there was a splash. It was the fish, and it had the {thing} in its mouth!
        Suddenly the little fish came up. It carried the {thing}!
        But something shone in the water. The fish had found the {thing}!""")
    t.say("""
        "You helped me," said the fish, "and now I help you."
        "I promised to help you," said the fish.
        "One good turn deserves another," said the fish.""")
    t.say("""
        <H:Thank you, dear fish!>
        {H} took the {thing} and [thanked the fish|kissed the fish on the nose].
        {H} was so happy that {h} [danced|jumped] on the bank.""")
    t.say("""
        After that {H} came every day with some bread for {his} friend the fish.
        From then on they were friends, and {H} never went fishing again.
        And every evening the fish jumped three times to say hello.""")
    lesson(t, t.pick(["kindness comes back", "a good deed is never lost", "even a small friend can be a great help"]), 0.6)
    t.topic = t.pick(["a fish", topic])


@plot
def sledding(t):
    t.make_hero(avoid=("flies",))
    t.make_friend()
    t.set_thing("sled", t.pick(["red", "wooden", "fast", "long"]), "ride", "rode")
    t.make_elder()
    opening(t, "hill")
    own_thing(t, 0.5)
    trait(t, t.pick(["proud", "brave"]), 0.6)
    t.weather = "snowy"
    t.para()
    t.say("""
        One snowy morning, {H} and {F} went up the hill.
        One cold day, {H} pulled the sled up the hill, and {his} friend {F} came along.
        When the first snow fell, {H} and {F} ran to the hill.""")
    t.say("""
        <F:Let us start from the middle. The top is too steep.>
        "It is very high," said {F}. "Let us go slowly."
        <F:Please be careful. There is a tree down there.>""")
    t.say("""
        <H:I am not afraid! I will start from the top.>
        "I want to go fast," said {H} and climbed to the top.
        But {H} did not listen. <H:Look how fast I am!>""")
    t.say("""
        Whoosh! The sled shot down the hill, faster and faster.
        Down {h} went. The wind whistled around {his} ears.
        At first it was [wonderful|great fun]. But then the sled went too fast.""")
    t.say("""
        <H:Help! I cannot stop!>
        {H} could not [stop|turn] the sled any more.""")
    t.say("""
        The sled hit a [bump|stone] and flew through the air. {H} landed head first in the snow.
        Bump! {S} fell off and rolled into a deep pile of snow.
        It missed the tree by a hair and turned over. {H} disappeared in the snow.""")
    t.say("""
        Only {his} [feet|legs] could be seen.
        There {h} sat, [white from head to toe|like a snowman].
        {S} had snow in {his} ears and in {his} nose.""")
    t.para()
    t.say("""
        {F} ran down. <F:Are you hurt?>
        {F} came as fast as {f} could and pulled {him} out. <F:Are you all right?>""")
    t.say("""
        <H:I am fine, but my sled is broken.>
        <H:Only my knee hurts. I should have listened to you.>
        {H} shook off the snow. <H:You were right. It was too steep.>""")
    feel(t, "H", "sorry", 0.5)
    t.say("""
        {F} did not laugh. {T} [helped {him} up|gave {him} {fhis} dry mittens].
        {F} took a [rope|ribbon] and fixed the sled. It was good again.
        <F:I am glad that nothing worse happened.>""")
    t.say("""
        Then they sat on the sled together and started from the middle.
        They tried again, together and from lower down.
        Now they both sat on the sled, {H} in front and {F} behind.""")
    t.say("""
        It was not so fast, but it was much more fun.
        They [laughed|sang] all the way down, again and again.
        Down they went, ten times and more, and nobody fell.""")
    t.say("""
        At home {E} had hot [milk|soup|cocoa] for them.
        When it got dark, they went home, and {E} gave them hot [milk|cocoa].
        {E} warmed their feet by the fire.""", 0.7)
    lesson(t, t.pick(["it is not brave to be careless", "a friend's advice is worth hearing", "fun is better when it is shared"]))
    ending(t, True) if t.chance(0.5) else None


@plot
def dry_summer(t):
    t.make_hero()
    t.make_friend()
    t.make_place(["garden", "meadow", "farm", "orchard"])
    t.make_stranger()
    t.set_thing(t.pick(["flower", "tree", "bush", "rose"]), t.pick(["little", "young", "small"]))
    opening(t, t.facts["place"])
    t.say("""
        {H} had planted {athing} {at}.
        {At} stood {athing} that {H} loved.
        {S} had {athing} {at} and looked after it.""".replace("{At}", t.facts["at"].capitalize()))
    meet_friend(t)
    t.para()
    t.say("""
        That summer it did not rain for [many|five|three] weeks.
        Then came a hot, dry summer. No drop of rain fell.
        The sun burned every day, and the earth was dry and hard.""")
    t.say("""
        The {thing} grew weak, and its leaves [hung down|turned brown].
        The {thing} became [yellow|thin] and let its leaves hang.
        One by one, the leaves of the {thing} fell.""")
    t.say("""
        <H:It will die without water!>
        <H:We must do something!>
        "The poor {thing} is thirsty," said {H}.""")
    t.say("""
        <F:The well is far away, but we can carry water.>
        <F:Let us bring water from the river.>
        "I will help you," said {F} and got two buckets.""")
    t.para()
    t.say("""
        Every morning they walked to the water and back. The buckets were heavy.
        Day after day, they carried water, step by step.
        It was a long way. They carried the water in buckets and [spilled|lost] only a little.""")
    t.say("""
        {X} watched them. <X:Why do you work so hard for one {thing}?>
        {aX} shook its head. <X:It is only a {thing}. Come and rest.>
        <X:You could lie in the shade,> """.replace(" <X:You could lie in the shade,>", " <X:You could lie in the shade instead.>"))
    t.say("""
        <H:Because it needs us.>
        <H:It cannot walk to the water, but we can.>
        "It is our friend," said {H}.""")
    feel(t, "H", "tired", 0.5)
    t.say("""
        Some days they wanted to stop, but they [did not give up|went on].
        They had sore feet, but they did not stop.
        {F} sang a song, and that made the way shorter.""")
    t.say("""
        At last, one night, it began to rain.
        Then dark clouds came, and the rain fell and fell.
        One morning they heard a sound on the roof. Rain!""")
    t.say("""
        They ran out and danced in the rain.
        {H} and {F} put out their tongues and drank the rain.
        <F:Rain! Rain at last!>""")
    t.say("""
        The {thing} had new green leaves. It was alive, because they had helped.
        Soon the {thing} stood tall again, green and strong.
        The {thing} grew [new leaves|and grew], and even {X} came to [look at it|see it].""")
    t.say("""
        In the hot sun, they sat in its shade.
        The bees came, and the birds sang around it.
        <X:Now I understand.>""", 0.6)
    lesson(t, t.pick(["love means taking care", "many small steps can save a life", "it is worth not giving up"]))
    ending(t, True) if t.chance(0.5) else None
