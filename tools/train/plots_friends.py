"""Plots between friends: sharing, quarrels, races, new neighbours, jokes that go wrong."""

from beats import arrives, day, ending, feel, interlude, lesson, meet_friend, opening, trait
from teller import plot


@plot
def sharing_food(t):
    t.make_hero()
    t.make_friend()
    t.make_place()
    t.make_food()
    t.make_elder()
    opening(t, t.facts["place"])
    day(t)
    t.para()
    t.say("""
        {Day} {E} gave {him} {afood}.
        {Day} {H} got {afood} from {E}.
        {Day} {H} [found|bought] {afood} at the market.""")
    t.say("""
        {S} took the {food} {to} and wanted to eat all of {it} alone.
        "I will eat all of this alone," {h} thought and went {to}.
        {S} went {to}, where nobody would see {him}. {S} did not want to share.""")
    interlude(t, 0.35)
    arrives(t)
    t.say("""
        <F:That smells so good! May I have some?>
        <F:What do you have there? I am so hungry.>
        <F:I had no breakfast today. May I have a little bit?>""")
    t.say("""
        <H:No! It is all mine!>
        "No," said {H} and hid the {food}. "It is only enough for me."
        {H} shook {his} head and turned away.""")
    feel(t, "F", "sad", 0.8)
    t.say("""
        {F} went away [slowly|without a word] and sat down {spot1}.
        {F} said nothing and walked away.
        <F:That is all right.> But {fhis} voice was very small.""")
    t.para()
    t.say("""
        {H} took a bite. But the {food} did not taste good any more.
        {H} ate alone. It was very quiet, and somehow {h} was not happy.
        {H} began to eat, but {h} had to think of {F} all the time.""")
    t.say("""
        "Why does it not taste good?" {h} wondered. Then {h} looked at {F}.
        {S} remembered how {F} had once [shared {fhis} bread|helped {him}|given {him} half an apple].
        {S} remembered that {F} had always been [kind|good] to {him}.""")
    feel(t, "H", "sorry", 0.7)
    t.say("""
        {H} stood up and went to {F}. <H:I am sorry. Please eat with me.>
        <H:I was not nice. Half of it is for you.>
        {S} ran after {F}. <H:Wait! There is enough for both of us.>""")
    t.say("""
        {F} smiled. <F:Thank you! I have some [milk|tea|juice] that we can share too.>
        {F} was [glad|happy] again. {T} had a [plum|pear] in {fhis} bag and gave half of it to {him}.
        <F:Thank you! Now we will have a feast!>""")
    t.say("""
        They sat {at} and ate together. Now it tasted [wonderful|better than ever].
        They ate and talked and laughed, and now the {food} tasted [twice as good|wonderful].
        Side by side they ate. It was the best meal of all.""")
    t.say("""
        A small bird came too, and they gave it the crumbs.
        There was even a bit left for the [birds|ants].
        In the end, they were both full.""", 0.6)
    lesson(t, t.pick(["food tastes better when it is shared", "sharing makes two happy", "a shared meal is the best meal", "sharing is better than having everything"]))
    ending(t, True)


@plot
def quarrel(t):
    t.make_hero()
    t.make_friend()
    t.make_place()
    t.make_thing("toy", without=("rolls",), also=("hat", "book", "drum", "wagon", "blanket", "umbrella"))
    opening(t, t.facts["place"])
    meet_friend(t)
    day(t)
    t.para()
    t.say("""
        {Day} the two friends found {athing} {at}.
        {Day} they saw {athing} {spot1}.
        {Day} {H} and {F} played {at}. There, {spot1}, lay {athing}.""")
    t.say("""
        <H:I saw it first!> <F:No, I did!>
        "It is mine!" cried {H}. "No, it is mine!" cried {F}.
        <F:I want it!> <H:But I want it too!>""")
    t.say("""
        {H} pulled on one side, and {F} pulled on the other.
        They both held the {thing} and pulled, [harder and harder|and nobody let go].
        {H} pulled to the left, and {F} pulled to the right.""")
    t.say("""
        Crack! The {thing} broke in two.
        And then, rip! The {thing} was broken.
        There was a loud crack. Now each of them had half of a {thing}.""".replace("half of a {thing}", "one half"))
    feel(t, "H", "angry", 0.5)
    t.say("""
        <H:That is your fault!> <F:No, it is yours!>
        "You broke it!" they both shouted.
        They did not look at each other any more.""")
    t.say("""
        {F} went home, and {H} went home too, each with one half.
        So they went home, one to the left and one to the right.
        {H} ran home, and {F} ran home as well.""")
    t.para()
    t.say("""
        {H} looked at {his} half. What can you do with half of a thing?
        At home it was boring. {H} had nobody to [play with|talk to].
        That night {h} could not sleep. {S} missed {F}.""")
    feel(t, "H", t.pick(["sorry", "lonely"]), 0.7)
    t.say("""
        "A friend is worth more than a {thing}," {h} thought.
        <H:I do not need a {thing}. I need my friend.>
        {S} thought about it for a long time. Then {h} knew what to do.""".replace("a {thing}", "an {thing}" if t.thing[0] in "aeiou" else "a {thing}"))
    t.say("""
        The next morning {h} took {his} half and went to {F}. Halfway there, they met.
        In the morning {h} went out, and there was {F}, on the way to see {him}.
        Early the next day, there was a knock. It was {F}, with the other half.""")
    t.say("""
        <H:I am sorry.> <F:I am sorry too.>
        They both said, "I am sorry," at the same time, and then they laughed.
        <F:Please forgive me.> <H:Please forgive me too.>""")
    t.say("""
        They put the two halves together with [glue|string|needle and thread] and worked all morning.
        Together they fixed the {thing}. {H} held it, and {F} tied the string.
        {F} brought [glue|string], and {H} put the parts together. Soon the {thing} was whole.""")
    t.say("""
        Then they took turns. {H} had it one day, and {F} had it the next day.
        From then on, the {thing} belonged to both of them.
        <F:Today it is your turn.> <H:And tomorrow it is yours.>""")
    lesson(t, t.pick(["a friend is worth more than any toy", "it is good to say sorry", "sharing is better than pulling"]))
    ending(t, True) if t.chance(0.7) else None


@plot
def new_neighbour(t):
    t.make_hero()
    t.make_friend()
    t.make_elder()
    t.make_food()
    t.make_thing("toy", also=("drum", "book"))
    opening(t)
    trait(t, "shy")
    t.para()
    day(t)
    t.set(afriend=("an " if t.friend.kind[0] in "aeiou" else "a ") + t.friend.kind)
    t.say("""
        {Day} somebody moved into the empty house next door. It was {afriend}.
        {Day} a cart stopped next door, and {afriend} got out.
        {Day} there was noise next door. {afriend} was moving in.""")
    t.say("""
        {H} watched from [the window|behind a tree|behind the fence].
        {H} hid behind the [curtain|bush] and looked.
        {H} wanted to say hello, but {his} [feet|legs] did not move.""")
    t.say("""
        <E:Why do you not go over and say hello?> <H:I do not know what to say.>
        "Go and say hello," said {E}. But {H} shook {his} head.
        <H:What if nobody likes me?> {E} smiled. <E:You never know until you try.>""")
    t.say("""
        The new neighbour sat alone on the [steps|grass] and looked [sad|lonely].
        The {fkind} played alone all day and sometimes looked over.
        Every day the {fkind} sat alone [by the gate|on the bench].""")
    t.say("""
        "Maybe the {fkind} is shy too," thought {H}.
        {H} knew how it feels to be alone.
        "Nobody should be so alone," {h} thought.""")
    t.para()
    t.say("""
        Then {h} had an idea. {S} put {afood} in a basket.
        {E} gave {him} {afood}. <E:Take this along.>
        With {afood} in {his} basket, {H} went next door.""")
    t.say("""
        {his} heart beat fast. {S} took one step, and then one more.
        {S} took a deep breath and [knocked|opened the gate].
        {S} wanted to turn back, but {h} went on.""")
    t.say("""
        <H:Hello. I am {H}. This is for you.>
        "I live next door," {H} said softly. "Do you like {food}?"
        <H:Hello,> """.replace(" <H:Hello,> ", ' "Hello," {H} whispered. "My name is {H}."'))
    t.say("""
        <F:Hello! I am {F}. I am so glad that you came.>
        The {fkind} smiled. <F:My name is {F}. I was too shy to come over.>
        <F:I am {F}. I do not know anybody here, and I was afraid to ask.>""")
    feel(t, "H", "surprised", 0.4)
    t.say("""
        They ate the {food} together. Then {F} brought {athing}.
        {F} had {athing}, and {f} showed it to {H}.
        After that, {F} said, "Look what I have!" It was {athing}.""")
    t.say("""
        They played with it until it got dark.
        They [laughed and played|played] all afternoon, and {H} forgot to be shy.
        Soon they talked and laughed as if they had known each other for years.""")
    lesson(t, t.pick(["a small hello can start a big friendship", "others can be shy too", "it takes only one brave step to make a friend"]))
    ending(t, True)
    t.topic = t.pick([t.topic, "a new friend", "a new neighbour"])


@plot
def proud_race(t):
    t.make_hero(avoid=("flies", "slow"))
    t.make_friend(avoid=("flies",))
    t.make_place()
    t.make_stranger()
    t.set_thing("race", t.pick(["big", "long", "great"]))
    opening(t, t.facts["place"])
    trait(t, "proud")
    day(t)
    t.para()
    t.say("""
        {Day} there was {athing} {at}.
        {Day} everyone came together for {athing} {at}.
        {Day} {X} called, "Who wants to run in the race?" """)
    t.say("""
        <H:I will win! Nobody is as fast as I am.>
        "You do not need to run," {H} told the others. "I have already won."
        {H} laughed at {F} the {fkind}. <H:You are so slow!>""".replace("{F} the {fkind}", "{F}"))
    t.say("""
        {F} ran too. <F:I will do my best.>
        {F} only smiled. <F:We will see.>
        {F} stood next to {him}. <F:Good luck to you.>""".replace("{F}", t.friend.name if t.friend.is_child else "{F} the " + t.friend.kind, 1))
    t.say("""
        <X:One, two, three, go!> They all ran.
        "Go!" called {X}, and off they went.
        {X} waved a flag, and the race began.""")
    t.say("""
        {H} was [soon|far] ahead. {S} looked back and laughed.
        At first {H} was the first of all, far in front.
        {H} ran like the wind, and the others were far behind.""")
    t.para()
    if t.chance(0.5):
        t.say("""
            <H:I have so much time!> {S} [lay down under a tree|stopped to eat berries] and fell asleep.
            "I can take a nap," {h} said and lay down in the grass.""")
        t.say("""
            {F} ran on, step by step, and passed {him} quietly.
            {F} came by, slow and steady, and did not stop.""")
        t.say("""
            When {H} woke up, the sun was low. {S} ran as fast as {h} could, but it was too late.
            Then {h} woke up and jumped to {his} feet. But {F} was already at the end!""")
        t.say("""
            {F} had won. Everybody cheered.
            <X:{F} is the winner!> Everyone clapped.""")
        feel(t, "H", t.pick(["sorry", "sad", "angry"]))
        t.say("""
            {H} went to {F}. <H:You were better today. I am sorry that I laughed at you.>
            <H:You never stopped. That was great.>""")
        t.say("""
            <F:You are very fast. Shall we run together tomorrow?>
            {F} smiled. <F:Let us share the prize.>""")
        lesson(t, t.pick(["slow and steady wins the race", "it is not good to boast", "one should never laugh at others"]))
    else:
        t.say("""
            Then {h} heard a cry. {F} had fallen and held {fhis} foot.
            Suddenly somebody cried, "Ouch!" It was {F}, who had fallen over a root.""")
        t.say("""
            {H} stopped. The end was so near! But {F} was crying.
            {H} looked at the goal. Then {h} looked back at {F}.""")
        t.say("""
            <H:Winning is not everything.> And {h} ran back.
            {S} turned around and ran back to {fhim}.""")
        t.say("""
            <H:Lean on me. We will go together.>
            {H} helped {fhim} up, and they walked on, arm in arm.""".replace(", arm in arm", ", side by side"))
        t.say("""
            All the others ran past them. They came in last of all.
            They were the last, but everybody clapped.""")
        t.say("""
            <X:The first prize goes to the fastest. But the prize for the best heart goes to {H}!>
            "{H} did not win the race," said {X}, "but {h} won a friend." """)
        feel(t, "H", t.pick(["proud", "happy"]))
        lesson(t, t.pick(["helping a friend is better than winning", "a good heart is worth more than a prize"]))
    t.say("""
        {H} never boasted again.
        After that, {H} was [kinder|not so proud any more].
        Nobody heard {him} boast after that.""", 0.6)
    ending(t, True) if t.chance(0.5) else None


@plot
def joke_too_often(t):
    t.make_hero(avoid=("swims",))
    t.make_friend()
    t.make_elder()
    danger = t.pick(["wolf", "bear", "snake", "monster", "giant"])
    if danger == t.hero.kind or danger == t.friend.kind:
        danger = "wolf"
    t.set(danger=danger)
    t.set_thing("joke", t.pick(["silly", "bad", "funny"]))
    t.make_place(["meadow", "hill", "forest", "farm", "orchard"])
    opening(t, t.facts["place"])
    t.say("""
        {H} liked to play jokes on others.
        {S} was always [full of tricks|up to some trick].
        Nothing made {him} laugh more than a good trick.""")
    day(t)
    t.para()
    t.say("""
        {Day} {h} was {at} and was bored.
        {Day} {H} sat {at}. There was nothing to do.
        {Day} {H} was {at} and thought of a new trick.""")
    t.say("""
        <H:Help! Help! There is a {danger}!>
        "A {danger}! A {danger}!" {h} shouted.
        <H:Help me! A {danger} wants to eat me!>""")
    t.say("""
        {F} and {E} came running [with sticks|as fast as they could]. But there was no {danger}.
        {F} heard it and ran to help. {E} came too. But they saw no {danger}.
        Everyone dropped everything and ran {to}. Where was the {danger}?""")
    t.say("""
        {H} laughed and laughed. <H:It was only a joke!>
        <H:I tricked you! There is no {danger}!>
        {H} rolled on the ground and laughed at them.""")
    t.say("""
        <F:That was not funny.>
        {E} was not happy. <E:Do not do that again.>
        <E:One day you will need help, and nobody will believe you.>""")
    t.say("""
        But the next day {h} did it again, and again they came.
        But {H} did it a second time, and a third time.
        {H} did not listen. The next morning {h} called for help again, and again it was only a joke.""")
    t.para()
    real = t.rng.randrange(3)
    t.say(["""
        Then, one day, {H} fell into a deep hole. {S} could not get out.
        A few days later, the ground broke under {his} feet, and {h} fell into an old pit.""", """
        Then, one evening, {h} got stuck in the mud. {S} sank deeper and deeper.
        A few days later, {H} stepped into the mud and could not move {his} feet.""", """
        Then, one day, {h} sat on a branch, and it began to break. {S} held on with all {his} strength.
        A few days later, {h} climbed onto a high rock and could not get down."""][real])
    t.say("""
        <H:Help! Please help me!>
        <H:Help! This time it is true!>
        "Help!" {h} cried. "This is no joke!" """)
    t.say("""
        {E} heard it but did not look up. "Another joke," {E} said.
        {F} heard {him}. <F:That is only a trick again.>
        But nobody came. They all thought it was a joke.""")
    feel(t, "H", "scared", 0.6)
    t.say("""
        {H} cried and waited. It got [dark|cold].
        The sun went down. {H} was alone and very sorry.
        <H:I will never lie again.>""")
    t.say("""
        At last {F} said, "{H} has been gone for too long," and went to look.
        When {H} did not come home for supper, {F} and {E} went to look for {him}.
        Late in the evening, {F} heard {him} cry. That did not sound like a joke.""")
    t.say("""
        They found {him} and pulled {him} out with a rope.
        {F} brought a rope, and together they saved {him}.""" if real != 2 else """
        They found {him} and helped {him} down with a ladder.
        {F} brought a ladder, and together they saved {him}.""")
    t.say("""
        <H:I am so sorry. I will not do it again.>
        <H:Thank you for coming. I will never trick you again.>""")
    lesson(t, t.pick(["nobody believes a liar, even when the truth is told", "help must never be a joke", "trust is easily lost"]))
