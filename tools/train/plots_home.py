"""Plots at home: things lost and broken, nights, cooking, birthdays, rain."""

from beats import arrives, day, ending, feel, interlude, lesson, meet_friend, opening, own_thing, thank, trait
from teller import plot


@plot
def lost_thing(t):
    t.make_hero()
    t.make_friend()
    t.make_place()
    t.make_thing("toy", without=("big",), also=("hat", "scarf", "book", "drum", "bell", "blanket"))
    opening(t, t.facts["place"])
    own_thing(t)
    meet_friend(t) if t.chance(0.4) else None
    met = t.out[-1].find(t.friend.name) >= 0
    t.para()
    day(t)
    t.say("""
        {Day} the {thing} was [gone|not there|nowhere to be seen].
        {Day} {H} woke up and could not find the {thing}.
        {Day} {h} wanted to {use} the {thing}, but it was [gone|not there].
        But {Day} {H} [looked for|reached for] the {thing}, and it was not [there|in its place].""")
    t.say("""
        <H:Where is my {thing}?>
        <H:Oh no! My {thing} is gone!>
        <H:I cannot find my {thing} anywhere!>
        "Who has seen my {thing}?" asked {H}, but nobody answered.""")
    feel(t, "H", "sad", 0.6)
    t.say("""
        {S} looked {spot1}, but the {thing} was not there.
        First {h} looked {spot1}. No {thing}!
        {S} searched {spot1}, but found only [leaves|dust|an old shoe|a spider].""")
    if not met:
        arrives(t)
    else:
        t.say("""
            {F} [saw|heard] that {H} was [sad|in trouble] and came [quickly|at once|to help].
            {S} ran to {F} and told {fhim} [everything|what had happened].
            Then {h} asked {F} for help.""")
    t.say("""
        <F:I will help you look.> <F:When did you see it last?>
        <F:Do not worry. We will find it together.>
        <F:Let us think. Where did you play yesterday?>
        "[Two|Four eyes see more than] two eyes," said {F}. "I will help you."
        <F:Come on, let us look together!>""".replace("[Two|Four eyes see more than] two eyes", "Four eyes see more than two"))
    t.say("""
        <H:I was {at} yesterday!> So they went {to}.
        Then {H} remembered. Yesterday {h} had played {at}. They ran {to}.
        {H} thought hard. Yesterday, {h} had been {at}. So the two friends went {to}.""")
    interlude(t, 0.3)
    t.say("""
        They looked {spot2}, and there [it was|was the {thing}|lay the {thing}]!
        And what was that {spot2}? It was the {fullthing}!
        {T} looked {spot2} and [laughed|cried out]. There was the {thing}!
        Something {adj} was {spot2}. It was the {thing}!""".replace("Something {adj} was", "Something was"))
    t.say("""
        A [little bird|mouse|crow] had [carried|pulled] it there to [make|build] a nest.
        The wind had [blown|carried] it there in the night.
        {H} had [left|dropped|forgotten] it there [the day before|while playing].""")
    thank(t)
    feel(t, "H", "happy", 0.5)
    t.say("""
        From that day on, {h} always put the {thing} [back in its place|in a safe place|beside {his} bed] [at night|in the evening].
        {H} never [forgot|lost] the {thing} again.
        Now {h} takes good care of the {thing}.""".replace("Now {h} takes", "After that, {h} took"), 0.7)
    ending(t, True)


@plot
def broken_thing(t):
    t.make_hero()
    t.make_elder()
    t.make_thing("fragile")
    opening(t)
    t.say("""
        {E} had {athing} that [stood on the table|stood on a high shelf|was very old].
        On the shelf stood {athing}. It belonged to {E}.
        {E} loved {athing} [very much|more than anything], because it was [a gift|very old].""")
    t.say("""
        <E:Please be careful with the {thing}.>
        <E:Do not play near the {thing}.>
        {E} had told {H} not to touch the {thing}.""", 0.7)
    t.para()
    day(t, "rainy", "sunny")
    t.set(act=["ran around the table", "threw a ball", "danced on a chair", "jumped on the bed", "played with a stick", "chased a fly"])
    t.say("""
        {Day} {H} {act} inside the {home}.
        {Day} {E} was [out|in the garden|at the market]. {H} {act}.
        {Day} {h} forgot [all about|about] the {thing} and {act}.""")
    t.say("""
        Crash! The {thing} fell [down|to the floor] and broke [in two|into pieces].
        Suddenly there was a loud crash. The {thing} lay broken on the floor.
        Then [bump|oops]! {S} hit the {thing}, and it [fell and broke|broke into three pieces].""")
    feel(t, "H", "scared", 0.6)
    hid = t.chance(0.65)
    if hid:
        t.say("""
            {S} [hid|put|pushed] the pieces under the bed and [said nothing|told nobody].
            Quickly {h} hid the pieces behind the door.
            "Nobody must know," {h} thought, and hid the pieces in a box.""")
        t.say("""
            When {E} came home, {h} [could not eat|did not want to eat|was very quiet].
            All day long, {h} felt [bad|a stone in {his} heart|sick]. {S} could not [play|laugh|sing].
            That evening {h} could not sleep.""")
        t.say("""
            <E:What is wrong, {H}?>
            <E:You are so quiet today. What is the matter?>
            <E:Did something happen?>""")
    else:
        t.say("""
            {S} wanted to hide the pieces, but that did not feel right.
            Should {h} hide it? But no, that would be a lie.
            {S} waited by the door until {E} came home.""")
    t.para()
    t.say("""
        <H:I broke the {thing}. I am so sorry.>
        {H} took a deep breath. "I broke your {thing}," {h} said. "I am sorry."
        At last {h} told the truth. "It was me. I broke the {thing}."
        {H} began to cry and [told {E} everything|told the whole story].""")
    t.say("""
        {E} was quiet for a moment. <E:I am sad about the {thing}, but I am glad that you told me the truth.>
        {E} [hugged {him}|took {him} in a big hug]. <E:Thank you for being honest.>
        <E:A {thing} can be mended. The truth is much more important.>
        {E} did not [shout|scold]. <E:It was brave of you to tell me.>""")
    t.say("""
        Together they [put|fitted] the pieces together with glue.
        They [sat down|got some glue] and mended the {thing}, piece by piece.
        Then {H} and {E} glued the {thing} [slowly and carefully|together].""")
    t.say("""
        The {thing} had a crack now, but {E} liked it even more.
        It was not [perfect|like new], but it was [good again|whole again].
        You could see the cracks, but nobody minded.""")
    feel(t, "H", "happy", 0.4)
    lesson(t, t.pick(["the truth is better than a lie", "telling the truth makes the heart light", "it is good to be honest",
                      "a mistake is not so bad if you tell the truth"]))
    ending(t) if t.chance(0.6) else None


@plot
def noise_in_the_dark(t):
    t.make_hero(avoid=("night",))
    t.make_elder()
    t.set_thing("noise", "strange")
    opening(t)
    trait(t, "afraid", 0.7)
    t.say("""
        Most of all, {h} was afraid of the dark.
        At night, {h} did not like the dark at all.
        {S} always slept with a [little light|candle|small lamp] on, because of the dark.""")
    t.para()
    cause, sound, what = t.pick([
        ("a branch", "tap, tap, tap", "It was only a branch that tapped on the window in the wind."),
        ("a kitten", "scratch, scratch", "It was a tiny kitten that wanted to come in."),
        ("a mouse", "squeak, squeak", "It was a little mouse that was looking for crumbs."),
        ("the wind", "whoo, whoo", "It was only the wind in the chimney."),
        ("a shutter", "bang, bang", "It was only a loose shutter that moved in the wind."),
        ("rain", "drip, drop, drip", "It was only the rain that dripped from the roof."),
        ("an owl", "hoo, hoo", "It was only an owl in the old tree."),
        ("a hedgehog", "crunch, crunch", "It was a small hedgehog that was eating an apple."),
    ])
    t.set(sound=sound, cause=cause, what_it_was=what)
    t.say("""
        One [dark|cold|stormy] night, {H} heard a strange noise. "[Cap]!" it went.
        One night, {h} woke up. Something made a strange noise. "[Cap]!"
        In the middle of the night there was a noise [outside|near the window]. "[Cap]!" """.replace("[Cap]", sound.capitalize()))
    feel(t, "H", "scared")
    t.say("""
        <H:Is it a monster?>
        "Is there a [monster|ghost|giant] outside?" {h} whispered.
        {S} thought of [monsters|giants|a big wolf] and pulled the blanket over {his} head.""")
    if t.chance(0.6):
        t.say("""
            {S} called for {E}. {E} came with a [lamp|candle].
            <H:{E}! {E}!> {E} came at once and sat down on the bed.
            {S} ran to {E} and told {E} about the noise.""")
        t.say("""
            <E:Let us look together. Then we will know.>
            <E:Things are less scary when you look at them.>
            <E:Give me your hand. We will see what it is.>""")
        t.say("""
            Hand in hand they went to the window.
            Step by step, they went to the door and [looked out|opened it].
            {H} held {E}'s hand [tightly|very tightly], and they looked outside.""")
    else:
        t.say("""
            But then {h} thought, "I want to know what it is."
            {S} took a deep breath. "I can be brave," {h} said to {himself}.
            {S} counted to three. One, two, three! Then {h} got up.""")
        t.say("""
            {S} took a little lamp and went to the window.
            Slowly, {h} tiptoed to the door and opened it.
            With a candle, {h} went to see.""")
    t.para()
    t.say("""
        {what_it_was}
        And what was there? {what_it_was}
        {H} looked [closely|carefully]. {what_it_was}""")
    if cause in ("a kitten", "a mouse", "a hedgehog"):
        noun = cause.split()[-1]
        t.set(guest=noun)
        t.say("""
            <H:You are so small! Are you afraid too?>
            "Poor little {guest}," said {H}. "You must be [cold|hungry]."
            {H} laughed. "You are not a monster at all!" """)
        t.say("""
            {S} gave the {guest} some [milk|bread|cheese] and a [warm|soft] place to sleep.
            The {guest} ate [a bit of bread|some crumbs] and [was happy|fell asleep].
            From that night on, the {guest} came to visit {him} every [night|evening].""")
    else:
        t.say("""
            {H} [laughed|began to laugh]. "I was afraid of {cause}!"
            <H:It is only {cause}!> {S} laughed [and laughed|out loud].
            {H} felt [a bit silly|much better] and [smiled|laughed].""")
        t.say("""
            {S} went back to bed and listened to the sound. Now it was like a [song|lullaby].
            Now the noise did not sound scary any more. It sounded like [a song|music].
            {S} said good night to {cause} and closed {his} eyes.""")
    lesson(t, t.pick(["the dark is not so bad", "many scary things are harmless", "it helps to look closely", "there is nothing in the dark that is not there in the light"]))
    ending(t)


@plot
def salty_cake(t):
    t.make_hero()
    t.make_elder(("Mama", "Papa", "Grandma", "Grandpa"))
    t.make_food(["cake", "cookies", "muffins", "pancakes", "pie"])
    t.make_friend()
    opening(t)
    trait(t, "impatient", 0.6)
    day(t, "sunny", "rainy")
    t.para()
    t.set(why=["for {F}'s birthday", "for a party", "for the whole family", "for {his} friend {F}"])
    t.facts["why"] = t.expand(t.facts["why"])
    t.facts["why"] = t.facts["why"][0].lower() + t.facts["why"][1:]
    t.say("""
        {Day} {H} and {E} wanted to [bake|make] {afood} {why}.
        {Day} {H} asked {E}, "Can we make {afood}?" They wanted it {why}.
        {Day} {E} said, "Let us make {afood} {why}." """)
    t.say("""
        They put [flour|milk|butter] and eggs into a [big|blue|large] bowl.
        {E} got the flour and the eggs, and {H} got the [bowl|spoon|milk].
        {H} broke three eggs into a bowl, and {E} added the flour.""")
    t.say("""
        <E:Now we need sugar.> {H} took the [white|wrong|nearest] jar and put in [three|four|five] big spoons.
        {H} was in a hurry. {S} took a jar and [poured it all|put in a lot] without looking.
        "I will add the sugar!" said {H} and took the first jar {h} saw.""")
    t.say("""
        {H} stirred and stirred until the dough was [smooth|soft].
        Soon the [kitchen|{home}] smelled [sweet|warm and good|wonderful].
        They put it all in the [hot|warm] oven and waited.""")
    t.para()
    t.say("""
        At last the {food} {foodis} ready. {H} took a bite and made a [funny|terrible|sour] face.
        Then {H} tasted the {food}. "Yuck!" {h} cried.
        When the {food} {foodis} done, {h} took a [big|little] bite. Oh no!""")
    t.say("""
        It was [salt|not sugar but salt]! {H} had taken the wrong jar.
        The jar had been full of salt, not sugar!
        "Salt!" said {E}. "You took the salt, not the sugar." """)
    feel(t, "H", "sorry", 0.5)
    t.say("""
        But {E} began to laugh, and soon {H} laughed too.
        {E} tasted the {food} too, made a funny face and laughed.
        <E:Do not be sad. Everybody makes mistakes.>
        <E:I once did the same when I was small.>""")
    t.say("""
        <H:Let us try again.> This time {h} [tasted the sugar first|looked at the jar|read the name on the jar].
        So they made {it} [once more|again|a second time], and this time {h} was [careful|slow and careful].
        They washed the bowl and began again. {H} [looked twice|took the right jar|tasted the sugar first].""")
    t.say("""
        Now the {food} {foodis} [sweet|perfect|good]!
        This time the {food} {foodis} sweet and [soft|golden|tasty].
        The new {food} {foodis} the best {h} had ever [eaten|tasted].""".replace("The new {food} {foodis} the best {h} had ever [eaten|tasted].", "This time everything tasted [wonderful|as sweet as honey|just right]."))
    t.say("""
        {F} came and ate [two pieces|a big piece|everything on the plate]. <F:This is so good!>
        {F} got the first [piece|bite]. <F:How sweet and good!>
        They gave {F} [a big plate|the biggest piece]. <F:Did you make this?>""")
    lesson(t, t.pick(["it is good to look twice", "a mistake can be mended", "it is better to be slow and careful", "one can always try again"]), 0.7)
    ending(t, True)


@plot
def tidy_room(t):
    t.make_hero()
    t.make_elder()
    t.make_friend()
    t.make_thing("toy", also=("book", "hat", "drum"))
    opening(t)
    trait(t, "messy")
    t.say("""
        <E:Please tidy up, {H}.> <H:Later!>
        "Tidy your room," {E} said every day, but {h} [never did|always said, "Tomorrow!"].
        {E} asked {him} to clean up, but {h} always [forgot|ran out to play].""")
    t.para()
    day(t)
    t.say("""
        {Day} {F} [came to the door|came running|knocked at the door]. <F:Come out! Bring your {thing}!>
        {Day} {his} friend {F} came. "Let us play with your {thing}," {f} said.
        {Day} {H} wanted to {use} {his} {fullthing} with {his} friend {F}.""")
    t.say("""
        But where was the {thing}? {H} could not find it in the mess.
        {H} looked for the {thing}, but there were [socks|boxes|papers] and toys everywhere.
        But the {thing} was lost somewhere under all the things on the floor.""")
    t.say("""
        {S} looked under [the bed|the pillows|the clothes]. {S} looked [in the box|behind the door|on the shelf]. No {thing}!
        {S} threw things [left and right|here and there], and the mess grew bigger.
        {S} pulled out [this and that|one thing after another], but not the {thing}.""")
    t.say("""
        {S} stepped on a [block|spoon|button]. <H:Ouch!>
        Then {h} fell over a [shoe|box|cushion]. <H:Ouch!>""", 0.5)
    feel(t, "H", "sad", 0.5)
    t.para()
    t.say("""
        <F:I have an idea. If we tidy up, we will find it.>
        <F:Let us put everything in its place. Then we will see it.>
        <F:I will help you. We will make it a game!>""")
    t.say("""
        They put the [books|boxes] on the shelf and the [socks|clothes] in the [drawer|basket].
        {F} picked up the [books|clothes], and {H} picked up the toys.
        They sang a [song|funny song] and put away one thing after another.""")
    t.set(where=["under the very last sock", "behind a pile of books", "under the blanket", "in an old boot", "at the bottom of a basket"])
    t.say("""
        And there, {where}, was the {thing}!
        The {thing} was {where}!
        At last they found the {thing}. It had been {where} all the time.""")
    feel(t, "H", "happy", 0.6)
    t.say("""
        {E} looked in and [smiled|could not believe it]. <E:What a lovely room!>
        When {E} saw the clean room, {E} [clapped|smiled]. <E:How nice it looks!>
        <E:I can see the floor again!> {E} was very glad.""")
    t.say("""
        Then {H} and {F} went out to play with the {thing}.
        Now they could play at last. {H} let {F} have the first turn.
        The two friends took the {thing} outside and played [all afternoon|until dinner].""")
    lesson(t, t.pick(["a tidy room saves a lot of time", "things are easy to find when they are in their place", "tidying up can be fun with a friend"]))
    ending(t, True) if t.chance(0.5) else None


@plot
def forgotten_birthday(t):
    t.make_hero()
    t.make_elder()
    t.make_friend()
    t.make_thing("toy", also=("hat", "drum", "book", "flute"))
    opening(t)
    meet_friend(t)
    t.para()
    t.say("""
        One morning {H} [woke up early|jumped out of bed]. It was {his} birthday!
        At last the day had come. It was {his} birthday!
        {H} had counted the days. Now it was {his} birthday.""")
    t.say("""
        But {E} only said, "Good morning," and [drank tea|went to work in the garden|swept the floor].
        {S} ran to {E}, but {E} did not say a word about it.
        There was no [cake|present|song] on the table. {E} was [busy|out].""")
    t.say("""
        {S} went to see {F}. <F:I have no time today.>
        Then {h} met {F}. "I must go," said {F} and [ran away|hurried off].
        {S} called {F}, but {F} [did not stop|only waved and ran on].""")
    t.say("""
        <H:Everybody has forgotten my birthday.>
        "Nobody knows what day it is," {h} thought.
        "They all forgot," {H} whispered.""")
    feel(t, "H", t.pick(["sad", "lonely"]))
    t.say("""
        {S} walked [down the road|around|up the hill] alone and kicked [a stone|the leaves].
        All day {h} sat [under a tree|on a stone|by the fence] alone.
        {S} [went for a long walk|sat by the water] and felt [small|forgotten].""")
    t.para()
    t.say("""
        In the evening {h} went [home|back to the {home}]. It was dark and quiet [inside|there].
        When the sun went down, {h} came home. There was no light.
        At last {h} went home and opened the door.""")
    t.say("""
        "Surprise!" Suddenly there were [lights|candles] everywhere, and all {his} friends jumped out.
        Then all the lamps went on. "Happy birthday, {H}!" everyone shouted.
        Suddenly everybody cried, "Happy birthday!" There were balloons and a big cake.""")
    feel(t, "H", "surprised")
    t.say("""
        <F:I was so busy because I made the cake.>
        "We wanted it to be a secret," said {E}.
        <F:We got everything ready while you were out.>
        <E:How could we forget you?>""")
    t.say("""
        {F} gave {him} {athing}. <H:That is just what I wanted!>
        {H} got {athing} from {F} and [hugged|kissed] {fhim}.
        There was a present too. It was {athing} from {F}!""")
    feel(t, "H", "happy")
    t.say("""
        They ate cake and danced [all evening|until late|until the moon was high].
        Everyone sang, and {H} blew out the candles.
        They played games and ate [two|three] big cakes.""")
    lesson(t, "{his} friends would never forget {him}".format(his=t.facts["his"], him=t.facts["him"]), 0.4)
    ending(t, True)
