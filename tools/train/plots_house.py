"""Plots in the house: storms, mysteries, colours, teeth, rain."""

from beats import arrives, day, ending, feel, interlude, lesson, meet_friend, opening, trait
from teller import plot


@plot
def sick_friend(t):
    t.make_hero()
    t.make_friend()
    t.make_food(["soup", "cookies", "cake", "pie", "berries", "honey", "muffins", "pears"])
    t.make_elder()
    t.make_stranger()
    opening(t)
    meet_friend(t)
    t.para()
    day(t, "rainy", "sunny", "snowy")
    t.say("""
        {Day} {F} did not come [out to play|to play|to the door].
        {Day} {H} waited for {F}, but {f} did not come.
        {Day} {H} wanted to play, but {F} was in bed.""")
    t.say("""
        "{F} has a [bad cold|cold|fever]," said {E}.
        {E} told {him} that {F} was [sick|ill] and had to stay in bed.
        {F} had [a cold|a sore throat|a bad cough] and could not get up.""")
    feel(t, "H", "sad", 0.5)
    t.say("""
        <H:What can I do?>
        <H:I want to help {fhim} get well.>
        "I must do something," {H} thought.""")
    t.say("""
        {S} asked {E}, and together they made {afood}.
        {H} went to the kitchen and got {afood} ready, and {E} helped.
        {S} had an idea. {S} put {afood} in a basket.""")
    interlude(t, 0.6)
    if t.chance(0.5):
        t.say("""
            On the way {h} met {aX}. <X:That smells so good! May I have some?>
            {X} stopped {him}. <X:What is in your basket?>""")
        t.say("""
            "I am sorry," said {H}. "This is for my sick friend."
            <H:It is for {F}, who is sick.>""")
        t.say("""
            {X} nodded. <X:You are a good friend. Take these flowers too.>
            "Then tell {fhim} to get well soon," said {X} and gave {him} some [flowers|mint leaves].""")
    t.para()
    t.say("""
        {F} lay in bed [under two blankets|with a red nose|and looked pale].
        {S} knocked on {F}'s door. {F} was in bed and [sneezed|coughed]. "Achoo!"
        When {H} came in, {F} [tried to smile|opened one eye].""")
    t.say("""
        <H:Look, I brought you {afood}.>
        "This is for you," said {H} and gave {fhim} the {food}.
        {H} put the {food} beside the bed. <H:Eat, and you will feel better.>""")
    t.say("""
        {F} ate [slowly|a little, and then a little more]. <F:That is so good.>
        {T} tried the {food} and [smiled|sat up]. <F:I feel better already.>
        {F} ate [everything|it all up], and {fhis} cheeks turned pink.""".replace("it all up", "all of it"))
    t.say("""
        Then {H} [read {fhim} a story|told {fhim} a funny story|sang a song], and {F} [laughed|smiled|fell asleep].
        {H} sat beside {fhim} and [told stories|sang softly] until {f} fell asleep.
        {H} made funny faces, and {F} laughed so much that {f} forgot {fhis} cold.""")
    t.say("""
        [After three days|Two days later|Soon] {F} was well again, and they [played|ran and jumped] together.
        The next [day|week] {F} was [well|healthy] again. <F:You are the best friend of all.>
        And after some days, {F} could [run|jump|play] again.""")
    lesson(t, t.pick(["a kind friend is the best medicine", "a little kindness can help a lot", "friends take care of each other"]))
    ending(t, True) if t.chance(0.7) else None


@plot
def loose_tooth(t):
    t.make_hero(avoid=("flies", "chick"))
    t.make_elder()
    t.make_friend()
    t.set_thing("tooth", "loose")
    opening(t)
    day(t)
    t.para()
    t.say("""
        {Day} {H} felt something strange in {his} mouth. A tooth was loose!
        {Day} {h} bit into [an apple|a piece of bread], and a tooth began to wobble.
        {Day} {H} had a loose tooth. It wobbled when {h} [talked|laughed].""")
    t.say("""
        {S} pushed it with {his} tongue, [left and right|back and forth].
        It wobbled [here and there|this way and that way], but it did not come out.
        "Wobble, wobble," went the tooth.""")
    t.say("""
        <H:Will it hurt?>
        "I am afraid that it will hurt," {h} said.
        <H:I do not want to lose my tooth!>""")
    t.say("""
        <E:It will come out when it is ready. A new one will grow.>
        {E} smiled. "Every child loses teeth. That means you are growing."
        <E:Do not worry. Soon you will have a big new tooth.>""".replace("Every child loses", "Everyone loses"))
    t.say("""
        {F} wanted to help. <F:Tie it to the door!> But {H} [shook {his} head|said no].
        {his} friend {F} looked at it. <F:Mine came out when I ate a carrot.>
        {F} came to see. <F:Bite into something hard!>""")
    t.para()
    t.say("""
        So {H} took a [big red apple|crunchy carrot|crust of bread] and bit into it. Crack!
        Then {h} [laughed about a joke|sneezed very loud]. Plop!
        That evening {h} ate a [pear|carrot|piece of toast]. Suddenly there was a crack.""")
    t.say("""
        There was the tooth, small and white! And it did not hurt at all.
        The tooth was out! It lay in {his} hand like a [little pearl|grain of rice].
        Out came the tooth. <H:It did not hurt!>""" if t.hero.is_child else """
        There was the tooth, small and white! And it did not hurt at all.
        The tooth was out! It was as small as a [pearl|grain of rice].
        Out came the tooth. <H:It did not hurt!>""")
    feel(t, "H", t.pick(["proud", "surprised", "happy"]))
    t.say("""
        That night {h} put the tooth under {his} pillow.
        {E} said, "Put it under your pillow," and {h} did.
        Before {h} went to sleep, {h} put the tooth under the pillow.""")
    t.say("""
        In the morning, the tooth was gone. There was a [shiny coin|silver coin|little gold coin]!
        When {h} woke up, there was a [coin|shiny coin] where the tooth had been.
        The next morning {h} found a [coin|tiny letter and a coin] under the pillow.""")
    t.say("""
        {S} ran to show it to {F}. <F:How lucky you are!>
        {H} bought [two pears|a sweet bun|two cookies] with it, one for {him} and one for {F}.
        <H:Look, {F}!> And {h} smiled so that everyone could see the gap.""".replace("one for {him} and one", "one for {himself} and one"))
    lesson(t, t.pick(["there had been nothing to fear", "growing up is not so bad", "it is good to wait until things are ready"]), 0.6)
    ending(t) if t.chance(0.5) else None


@plot
def spilled_paint(t):
    t.make_hero()
    t.make_friend()
    t.make_elder()
    t.set_thing("picture", t.pick(["big", "pretty", "bright"]), "paint", "painted")
    opening(t)
    t.say("""
        {H} loved to paint. {S} painted [trees and birds|suns and moons|houses and hills].
        Every day {h} painted [pictures|a picture] with [bright|many] colours.
        {S} liked colours more than anything. {S} had [red, blue and yellow|seven pots of] paint.""")
    t.para()
    day(t, "sunny", "rainy")
    t.set(what=["the sea", "a garden", "a castle", "the old tree", "a green hill", "a big ship"],
          colour=["blue", "red", "green", "yellow", "purple"])
    t.say("""
        {Day} {h} painted a picture of {what} for {E}.
        {Day} {H} wanted to make {athing} for {E}. It was a picture of {what}.
        {Day} {H} and {F} sat at the table. {H} painted {what}.""")
    t.say("""
        It was almost [done|finished]. Only [one cloud|a little bird|the sky] was missing.
        {S} worked [all morning|for a long time], and it was [beautiful|very fine].
        {S} painted slowly and carefully, with {his} tongue between {his} teeth.""")
    spiller = t.pick("FH")
    if spiller == "F":
        t.say("""
            Then {F} [came running in|reached for a brush|jumped up], and the {colour} paint fell over. Splash!
            But {his} friend {F} [bumped the table|turned around too fast]. Splash! {colour} paint ran over the picture.""")
        feel(t, "H", "angry", 0.6)
        t.say("""
            <F:Oh no! I am so sorry!>
            "I did not mean to do it," said {F}, and {fhis} eyes were full of tears.
            {F} looked at the floor. <F:Please do not be angry with me.>""")
        t.say("""
            {H} took a deep breath. <H:It was an accident.>
            {H} saw how sad {F} was. "I know that you did not want to do it," {h} said.
            {H} wanted to shout, but then {h} looked at {fhis} face and was quiet.""")
    else:
        t.say("""
            Then {h} moved {his} arm, and the {colour} paint fell over. Splash!
            But {h} turned around too fast. Splash! {colour} paint ran over the picture.""")
        feel(t, "H", "sad")
        t.say("""
            <H:It is ruined!>
            "All my work is lost," {h} cried.
            {S} wanted to throw it away.""")
        arrives(t) if t.chance(0.5) else t.say("{his} friend {F} looked at the picture.\nThen {his} friend {F} came closer.")
    t.para()
    t.say("""
        They looked at the {colour} spot. <F:It looks like a [dragon|whale|big bird|cloud].>
        {F} turned the paper [around|upside down]. <F:Look! It could be a [dragon|whale|giant].>
        "Wait," said {F}. "I can see a [dragon|butterfly|whale] in that spot." """)
    t.say("""
        {H} looked again and [smiled|began to smile]. {S} took a brush and gave the spot two eyes.
        <H:You are right!> {S} painted eyes and a [smile|tail|mouth].
        Yes, there it was! Together they painted eyes, [wings|a tail] and a [big smile|mouth].""")
    t.say("""
        Now the picture was even [better|more beautiful] than before.
        It was the [funniest|finest] picture {h} had ever made.
        The new picture was full of life.""")
    t.say("""
        {E} [loved it|put it on the wall|laughed and clapped]. <E:What a wonderful picture!>
        <E:I have never seen such a picture!> {E} hung it [over the table|by the door|on the wall].
        When {E} saw it, {E} said, "This is my favourite." """)
    lesson(t, t.pick(["a mistake can become something beautiful", "a spot can be the start of something new", "things need not be perfect"]))
    ending(t, True) if t.chance(0.6) else None


@plot
def thunder_storm(t):
    t.make_hero()
    t.make_friend()
    t.set_thing("storm", t.pick(["big", "loud", "dark"]))
    opening(t)
    trait(t, t.pick(["afraid", "merry"]), 0.7)
    t.para()
    t.say("""
        One evening, dark clouds came over the [hills|trees|sky].
        One night, a big storm came. The wind [howled|blew and blew].
        One afternoon the sky turned black, and the first [drops fell|rain came down].""")
    t.say("""
        Then there was a bright flash, and after it a loud boom!
        Flash! Boom! Thunder rolled over the {home}.
        The lightning flashed, and the thunder [roared|rolled like a drum].""")
    feel(t, "H", "scared")
    t.say("""
        {S} hid under the [bed|table|blanket].
        {S} put {his} paws over {his} ears.
        {S} crept into the [darkest corner|corner] and closed {his} eyes.""".replace("paws", "hands" if t.hero.is_child else "paws"))
    t.say("""
        Then somebody knocked at the door. It was {his} friend {F} the {fkind}, all wet.
        There was a knock. {F} the {fkind} stood at the door, wet from head to toe.
        Just then the door opened, and {his} friend {F}, a {fkind}, ran in.""".replace("{F} the {fkind}", "{F}" if t.friend.is_child else "{F} the {fkind}")
          .replace("a {fkind}", "the {fkind} from next door"))
    t.say("""
        <F:Can I stay here? I am afraid of the thunder.>
        <F:The storm is so loud! May I stay with you?>
        "I do not want to be alone," said {F} and [shivered|shook].""")
    t.say("""
        {H} saw that {F} was even more afraid. <H:Come in. I will take care of you.>
        When {H} saw how {f} shook, {h} forgot {his} own fear.
        {H} gave {fhim} a [dry blanket|warm towel]. <H:We will be brave together.>""")
    t.para()
    t.say("""
        "Let us count," said {H}. "One, two, three, boom! The storm is [far away|moving away]."
        <H:Let us sing louder than the thunder!> They sang at the top of their voices.
        They built a [tent|cave] out of blankets and told each other funny stories.""")
    t.say("""
        Each time it thundered, they [laughed|clapped|drummed on a pot]. Boom!
        Every time the thunder came, they shouted, "Boom!" and [giggled|laughed].
        Soon the thunder was only [a drum|a part of the game|music] for them.""")
    t.say("""
        Little by little, the storm [went away|grew quiet].
        After a while the rain stopped, and the moon came out.
        At last it was quiet. The clouds went away, and the stars shone.""")
    t.say("""
        <F:I was not afraid with you.> <H:I was not afraid with you either.>
        "You were so brave," said {F}. {H} smiled. "So were you."
        <F:Thank you for letting me in.>""")
    lesson(t, t.pick(["fear grows small when you share it", "you can be afraid and brave at the same time", "together nothing is so bad"]))
    ending(t, True)


@plot
def missing_cake(t):
    t.make_hero()
    t.make_friend()
    t.make_elder()
    t.make_food(["cake", "pie", "cookies", "muffins", "cheese", "bread"])
    opening(t)
    trait(t, "curious")
    t.para()
    day(t)
    t.say("""
        {Day} {E} put {afood} on the [table|window sill] to cool.
        {Day} {E} made {afood}. {foodis_cap} for the evening.
        {Day} there {foodis} {afood} on the kitchen table.""".replace("{foodis_cap}", "The " + t.facts["food"] + " " + t.facts["foodis"]))
    t.say("""
        But when {H} came in, the plate was empty!
        An hour later the {food} {foodis} gone!
        Then {E} cried out. The {food} {foodis} gone!""")
    t.say("""
        <E:Who ate the {food}?>
        <E:Was it you, {H}?> "No!" said {H}. "But I will find out."
        <H:That is a mystery! I will solve it.>""")
    t.say("""
        {H} [looked at|studied] the floor. There were crumbs! They led [to the door|out of the window].
        {S} saw a [small|thin] trail of crumbs. It went out into the garden.
        On the floor {h} found crumbs and a [small feather|muddy footprint|tuft of hair].""".replace("and a [small feather|muddy footprint|tuft of hair]", "and a muddy footprint"))
    arrives(t)
    t.say("""
        <H:Help me, {F}! We must follow the crumbs.>
        "Did you eat the {food}?" asked {H}. "No," said {F}, "but I will help you search."
        {H} told {fhim} about the mystery. <F:Let us follow the crumbs!>""")
    t.para()
    t.set(way=["past the shed", "around the well", "along the fence", "behind the bushes", "across the grass"])
    t.say("""
        The crumbs went {way} and under a [big bush|hedge|wooden box].
        They followed the crumbs {way}, all the way to an old [tree|cart|wall].
        Step by step they went {way}. The crumbs led to a [hole|little cave|pile of wood].""")
    thief, many = t.pick([("a thin little puppy", 0), ("a hungry kitten", 0), ("three baby mice", 1), ("a family of ducklings", 1), ("a lost little lamb", 0),
                          ("two small raccoons", 1)])
    t.set(thief=thief, thieves="they" if many else "it", was="were" if many else "was", them="them" if many else "it")
    t.say("""
        There {was} {thief}, with crumbs all over [the nose|the face]!
        And who was there? It was {thief}!
        They looked in and saw {thief}. The rest of the {food} lay there too.""".replace("with crumbs all over [the nose|the face]", "with crumbs all around"))
    t.say("""
        {thieves} looked [very hungry|cold and hungry|sad and thin].
        <F:Look how thin {thieves} {was}!>
        "{thieves_cap} {was} only hungry," said {H} softly.""".replace("{thieves_cap}", t.facts["thieves"].capitalize())
          .replace("how thin {thieves} {was}", "how hungry they are" if many else "how hungry it is"))
    t.say("""
        {H} and {F} were not angry. They took {them} home, and {E} brought [milk and bread|some warm milk].
        {H} ran home and told {E}. <E:Nobody should be hungry. Bring {them} in!>
        <H:We must help.> And {E} gave {them} a [bowl of milk|warm dinner].""")
    t.say("""
        Then {E} made another {food2}, and this time there was enough for [everyone|all].
        Together they all had [a big dinner|supper] that evening.
        The mystery was solved, and {H} had a new [little friend|guest].""".replace("another {food2}, and this", "more {food}, and this").replace("had a new [little friend|guest]", "was very proud"))
    lesson(t, t.pick(["one should ask before being angry", "a hungry guest needs help, not anger", "every mystery has an answer"]), 0.6)
    ending(t, True) if t.chance(0.5) else None


@plot
def rainy_day(t):
    t.make_hero()
    t.make_friend()
    t.make_thing("toy", without=("soft", "floats"), also=("kite", "scooter"))
    opening(t)
    meet_friend(t) if t.chance(0.5) else None
    t.para()
    day(t, "rainy")
    if t.chance(0.6):
        t.set(Day=["one day", "one morning", "one afternoon", "one Sunday"])
    t.say("""
        {Day} {H} wanted to {use} {his} {fullthing} outside, but it began to rain.
        {Day} {h} took {his} {fullthing} and ran to the door. But it was raining!
        {Day} {H} and {F} wanted to play outside with {his} {fullthing}. Then the rain came.""")
    t.say("""
        The rain fell [on the roof|on the grass] and made big puddles.
        Drip, drop, drip! The rain did not stop.
        It rained [and rained|cats and dogs|harder and harder].""")
    feel(t, "H", t.pick(["sad", "angry"]))
    t.say("""
        <H:The whole day is spoiled!>
        <H:Now we cannot play.>
        "I do not like rain," said {H} and looked out of the window.""")
    if t.out and not any(t.friend.name in s for s in t.out):
        t.say("Then {his} friend {F} came in with wet [feet|hair].\nAt that moment {F} came to visit, wet but [happy|smiling].\n{his} friend {F} came to see {him}, with an umbrella.")
    game, lines = t.pick([
        ("a ship", "They turned [the table|a big box] upside down, and it was a ship. {H} was the captain, and {F} looked for land."),
        ("a castle", "They made a castle out of [chairs and blankets|pillows]. {H} was the king of the castle, and {F} was the dragon."),
        ("a tent", "They hung a blanket over two chairs. It was a tent in the jungle, and they heard [lions|tigers] everywhere."),
        ("a train", "They put all the chairs in a row. It was a train, and it went to the end of the world."),
        ("a shop", "They made a shop. {H} sold [stones and spoons|buttons and hats], and {F} paid with leaves."),
        ("a band", "They took pots and spoons and made music. {H} was the drummer, and {F} sang."),
    ])
    if t.hero.pronoun == "she":
        lines = lines.replace("the king of the castle", "the queen of the castle")
    t.facts["game"] = game
    t.facts["gameline"] = t.expand(lines)
    t.para()
    t.say("""
        <F:We can play inside. Let us make {game}!>
        <F:I know what we can do. We can make {game}!>
        {F} had an idea. <F:Let us make {game}!>""")
    t.say("{gameline}")
    t.say("""
        The {thing} was part of the game too.
        Even the {thing} [had a place in the game|came along].
        They [laughed|played] so much that they [forgot the rain|did not hear the rain any more].""")
    t.say("""
        They played for hours, and the time [flew|went by] quickly.
        {H} had never [laughed|played] so much.
        "This is better than outside!" {H} [said|laughed].""")
    t.para()
    t.say("""
        Then {F} looked out. <F:The rain has stopped!>
        When they looked out of the window, the sun was shining.
        At last the rain stopped, and the sun came out.""")
    t.say("""
        There was a [big|beautiful] rainbow over the [hills|trees|houses].
        A rainbow stood in the sky, red and yellow and blue.
        And high above them was a rainbow with all its colours.""")
    t.say("""
        They ran out and jumped in the puddles. Splash!
        They went out and [danced|jumped] in the puddles until they were wet.
        <H:Without the rain, there would be no rainbow.>""")
    lesson(t, t.pick(["a rainy day can be a good day", "there is always something to play", "rain can be fun with a friend"]), 0.7)
    ending(t, True)
