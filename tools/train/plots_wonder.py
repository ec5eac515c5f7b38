"""Plots with a little wonder, music or adventure: maps, stars, wishes, lanterns, echoes, new skills."""

from beats import arrives, day, ending, feel, interlude, lesson, meet_friend, opening, trait
from teller import Unsuited, plot


@plot
def treasure_map(t):
    t.make_hero()
    t.make_friend()
    t.make_place(["forest", "beach", "hill", "garden", "farm", "orchard", "lake"])
    t.make_food(["cookies", "nuts", "berries", "honey"])
    t.set_thing("map", t.pick(["old", "torn", "yellow"]))
    opening(t)
    meet_friend(t)
    day(t)
    t.para()
    t.say("""
        {Day} {H} found {athing} [in a bottle|under the stairs|in an old book].
        {Day} {h} opened an old [box|chest], and there lay {athing}.
        {Day} the wind blew {athing} right in front of {his} feet.""")
    t.say("""
        There was a red cross on it. <H:A treasure!>
        <H:Look, {F}! This is a treasure map!>
        {S} showed it to {F}. <F:There is a cross. A treasure must be there!>""")
    t.say("""
        They followed the map. First they went {to}.
        The map led them {to}.
        "We must start {at}," said {F}. So off they went.""")
    interlude(t, 0.35)
    t.set(n=["ten", "seven", "twelve", "twenty"])
    t.say("""
        <H:Now {n} steps to the north.> They counted every step.
        Then they walked {n} steps to the left and stopped.
        "{n_cap} steps from the big stone," {H} read. They counted together.""".replace("{n_cap}", t.facts["n"].capitalize()))
    t.say("""
        There was a [deep ditch|cold stream|thorn hedge] in the way. {F} [laid a plank over it|found a way around it].
        The way was [steep|muddy], but {H} pulled {F}, and {F} pushed {H}.
        Once they [went the wrong way|lost the path], but {F} turned the map around, and then it was right.""")
    t.para()
    t.say("""
        At last they came to the place with the cross, {spot1}.
        The cross was {spot1}. They began to dig.
        <F:Here it is!> They dug {spot1}.""")
    t.say("""
        They dug and dug. Clonk! There was a [box|wooden chest].
        Deep in the earth was an old [box|chest].
        Soon they hit something hard. It was a little chest.""")
    inside = t.rng.randrange(3)
    if inside == 0:
        t.say("""
            <H:Gold! It must be gold!> They opened it. There was no gold, only an old letter.
            With shaking hands they opened it. There was only a letter inside.""".replace("With shaking hands they", "Slowly they"))
        t.say("""
            "The real treasure is the friend who came with you," it said.
            It said, "If you did not come alone, you have already found the treasure." """)
        t.say("""
            {H} looked at {F}, and they both smiled.
            <F:Then I am your treasure!> {H} laughed.""")
    elif inside == 1:
        t.say("""
            It was full of [old coins|coloured stones|glass beads].
            They opened it, and everything inside sparkled. It was full of [glass beads|bright stones].""")
        t.say("""
            <H:We will share it.> One for {H}, one for {F}, until the box was empty.
            They shared everything, half for {H} and half for {F}.""")
        t.say("""
            With the last ones they made a [gift|necklace] for {F}'s mother.
            They put the prettiest one back for the next treasure hunter.""")
    else:
        t.say("""
            Inside were [old toys|a wooden horse and a top]. A child had hidden them long ago.
            They opened it. Inside was a little [drum|doll], very old.""")
        t.say("""
            "Who did it belong to?" they asked. An old neighbour began to cry with joy. "I hid it when I was small!"
            They took it to the oldest neighbour. "That is mine!" said the old one. "I lost it so long ago." """)
        t.say("""
            As a thank you they got {foods}, and they ate {it} together.
            The old neighbour gave them {foods} and told them stories all evening.""")
    t.say("""
        In its place they put a new treasure for the next one who would come.
        Then they drew a new map and hid it for somebody else.
        {H} kept the map in a safe place.""", 0.6)
    lesson(t, t.pick(["friends are the best treasure", "the way can be better than the gold", "an adventure is best with a friend"]), 0.7)
    ending(t, True)


@plot
def falling_star(t):
    t.make_hero()
    t.make_friend()
    t.make_elder()
    t.set_thing("star", t.pick(["bright", "little", "shining"]))
    t.make_place(["meadow", "hill", "garden", "beach", "lake"])
    opening(t, t.facts["place"])
    t.say("""
        {H} had no friends, because {h} was new there.
        {S} lived far from all the others and was often alone.
        There was nobody of {his} age to play with.""")
    feel(t, "H", "lonely", 0.6)
    t.para()
    t.say("""
        One night, {h} could not sleep and looked at the sky.
        One clear night, {H} sat at the window and looked at the stars.
        One evening {h} lay in the grass and counted stars.""")
    t.say("""
        Suddenly a star fell. It left a long, silver line.
        There! A bright star fell across the sky.
        Then {h} saw a falling star.""")
    t.say("""
        <H:I wish for a friend.>
        {S} closed {his} eyes and wished for a friend.
        "Please, star," {h} whispered, "bring me a friend." """)
    t.say("""
        <E:Wishes need a little help.>
        In the morning, {h} told {E} about it. <E:Go out. A friend will not come in through the chimney.>
        <E:Then keep your eyes open tomorrow.>""")
    day(t)
    t.para()
    t.set(afriend=("an " if t.friend.kind[0] in "aeiou" else "a ") + t.friend.kind)
    t.say("""
        The next day, {H} went {to} to look for the star.
        So the next morning, {h} went {to}. Maybe the star was there.
        <H:I will find the star.> And so {h} went {to}.""")
    interlude(t, 0.3)
    t.say("""
        {S} looked {spot1}. There was no star, but there was {afriend}!
        There was somebody {spot1}! It was {afriend}.
        {spot1_cap} sat {afriend} who was looking for something too.""".replace("{spot1_cap}", t.facts["spot1"].capitalize()))
    t.say("""
        <H:What are you doing here?> <K:I saw a star fall, and I am looking for it.>
        <K:Have you seen a star? It must be here.> <H:I am looking for it too!>
        "I am looking for a star," said the {fkind}. {H} laughed. <H:So am I!>""")
    t.say("""
        <F:I am {F}.> <H:And I am {H}.>
        "My name is {F}," said the {fkind}.
        The {fkind} was called {F}.""")
    t.say("""
        They searched together [all day|until noon], but they found only [pretty stones|flowers].
        Together they looked under every leaf and stone. There was no star.
        They looked here, and they looked there.""")
    t.say("""
        <F:What did you wish for?> <H:For a friend.> <F:So did I!>
        "I made a wish last night," said {H}. "I think it came true."
        {F} said softly, "I wished for somebody to play with." """)
    feel(t, "H", "happy", 0.7)
    t.say("""
        From then on, they looked at the stars together every [night|evening].
        That night they sat side by side and looked at the sky.
        They never found the star. But they did not need it any more.""")
    lesson(t, t.pick(["wishes can come true if you go out and look", "a friend shines brighter than a star"]), 0.6)
    ending(t, True) if t.chance(0.5) else None
    t.topic = t.pick(["a star", "a falling star", "a wish"])


@plot
def magic_wish(t):
    t.make_hero()
    t.make_friend()
    t.make_elder()
    t.make_thing("treasure", also=("lamp", "whistle", "bell", "drum"), without=("wear",))
    t.make_place()
    wish, good, bad, undo = t.pick([
        ("to be as big as a house", "{S} grew and grew. {S} could see over the trees.", "But {h} did not fit into the {home} any more, and nobody dared to come near.", "to be small again"),
        ("that it would always be summer", "The sun shone every day, and it was warm.", "But no rain fell. The flowers dried up, and everyone was thirsty.", "that the rain would come back"),
        ("for a mountain of sweets", "There was a mountain of sweets before the door. {S} ate and ate.", "But soon {his} stomach hurt, and {h} could not look at sweets any more.", "that the sweets would go away"),
        ("to fly like a bird", "{S} rose into the air, higher and higher. It was wonderful.", "But the wind carried {him} far away, and {h} could not get down.", "to be back on the ground"),
        ("that nobody could see {him}", "Nobody could see {him}. {S} played tricks on everyone.", "But nobody could play with {him}, and nobody said good night to {him}.", "that everyone could see {him} again"),
        ("that all animals could talk", "The cows talked, the hens talked, even the flies talked.", "But they talked day and night, and nobody could sleep.", "that it would be quiet again"),
        ("that everything {h} touched turned to gold", "The table turned to gold. The cup turned to gold.", "But the bread turned to gold too, and {h} was hungry. Even the flowers were hard and cold.", "that everything would be as before"),
    ])
    t.facts["wish"], t.facts["undo"] = t.expand(wish)[0].lower() + t.expand(wish)[1:], t.expand(undo)[0].lower() + t.expand(undo)[1:]
    opening(t, t.facts["place"])
    trait(t, t.pick(["curious", "impatient"]), 0.6)
    day(t)
    t.para()
    t.say("""
        {Day} {H} found {athing} {spot1}.
        {Day} {h} was {at}. {spot1_cap} lay {athing}.
        {Day} {H} went {to} and saw {athing} {spot1}.""".replace("{spot1_cap}", t.facts["spot1"].capitalize()))
    t.say("""
        When {h} touched it, it began to [glow|hum]. "You have two wishes," said a [small|soft] voice.
        "I am magic," said the {thing}. "I will give you two wishes."
        The {thing} [shone|sparkled] and spoke. "Make two wishes, but choose well." """)
    feel(t, "H", "surprised", 0.6)
    t.say("""
        {H} did not think for long. {S} wished {wish}.
        <H:I know what I want!> And {h} wished {wish}.
        At once, {h} wished {wish}.""")
    t.say(good)
    t.say("""
        At first {h} was very happy.
        <H:This is the best day of my life!>
        {H} [laughed|danced] with joy.""")
    t.para()
    t.say(bad)
    feel(t, "H", t.pick(["sad", "lonely", "sorry"]), 0.7)
    arrives(t) if t.chance(0.35) and "nobody" not in wish else t.say("{his} friend {F} saw what had happened.\nThen {his} friend {F} heard {him} cry.\n{F}, {his} best friend, heard about it.")
    t.say("""
        <F:You have one more wish!>
        <F:Did the {thing} not give you two wishes?>
        "Think well before you use the last wish," said {F}.""")
    t.say("""
        This time {H} thought for a long time. Then {h} wished {undo}.
        {H} took the {thing} and wished {undo}.
        <H:I do not want it any more.> And {h} wished {undo}.""")
    t.say("""
        There was a flash, and everything was as it had been before.
        The {thing} [glowed|shone] one last time, and all was well again.
        Puff! The magic was over.""")
    t.say("""
        {H} hugged {F}. <H:I have all that I need.>
        <H:I am so glad that it is over!>
        <H:From now on I will think before I wish.>""")
    t.say("""
        Now the {thing} was just an ordinary {thing}. {H} kept it to remember.
        {S} put the {thing} back {spot1}. Maybe somebody wiser would find it.
        The {thing} never spoke again, but {h} kept it on {his} shelf.""")
    t.say("""
        {E} asked about the {thing}. <H:That is a long story.>
        That evening {H} told {E} everything. <E:You are wiser now.>""", 0.5)
    lesson(t, t.pick(["not every wish is a good wish", "one should think before one wishes", "things are good as they are"]))
    ending(t) if t.chance(0.4) else None


@plot
def learning(t):
    t.make_hero()
    t.make_elder()
    t.make_friend()
    skill, past, thing, fail, hint, avoid = t.pick([
        ("swim", "swam", "pond", "{S} [sank|swallowed water] at once", "Kick your legs and breathe slowly.", "swims"),
        ("ride a bicycle", "rode", "bicycle", "{S} fell over after two meters", "Look ahead, not at your feet.", "flies"),
        ("whistle", "whistled", "whistle", "only air came out", "Make your mouth small and round.", "x"),
        ("skate", "skated", "pair of skates", "{S} fell on {his} bottom", "Bend your knees and take small steps.", "cold"),
        ("climb", "climbed", "tree", "{S} slid down again", "Go slowly, one branch after the other.", "climbs"),
        ("juggle", "juggled", "ball", "all the balls fell down", "Start with one ball, then take two.", "x"),
        ("play the flute", "played", "flute", "it sounded like a sick cow", "Blow softly, as if you cool your soup.", "x"),
        ("jump rope", "jumped", "rope", "{S} got tangled in the rope", "Listen to the beat and jump on it.", "x"),
        ("dance", "danced", "dance", "{S} stepped on everyone's toes", "Listen to the music first.", "x"),
        ("paddle a boat", "paddled", "boat", "it only went around in circles", "Left and right, one after the other.", "swims"),
    ])
    if avoid in t.hero.abilities:
        raise Unsuited
    t.set(skill=skill, past=past, fail=fail)
    t.facts["fail"] = t.expand(fail)
    t.facts["fail"] = t.facts["fail"] if t.facts["fail"].startswith(t.hero.name) else t.facts["fail"][0].lower() + t.facts["fail"][1:]
    t.facts["hint"] = hint
    t.topic = "a " + thing
    opening(t)
    t.say("""
        {H} wanted to learn to {skill}.
        More than anything, {h} wanted to {skill}.
        {S} had one big wish. {S} wanted to learn to {skill}.""")
    t.say("""
        {his} friend {F} could {skill} very well.
        {F}, {his} friend, could do it, and it looked so easy.
        All {his} friends could {skill}, and {F} was the best.""")
    day(t)
    t.para()
    t.say("""
        {Day} {h} tried it for the first time. But {fail}.
        {Day} {H} said, "Today I will do it!" But {fail}.
        {Day} {h} began. Oh no, {fail}!""")
    t.say("""
        {S} tried again, and {fail}.
        {S} tried it a second time. It was no better.
        The second time was even worse.""")
    t.say("""
        Some others [laughed|giggled].
        <H:Why is it so hard?>
        "I will never learn it," {h} said.""")
    feel(t, "H", t.pick(["sad", "angry"]))
    t.para()
    who = t.pick("EF")
    t.say("""
        <W:I fell many times too when I began.>
        <W:Nobody can do it the first time.>
        <W:Do not give up. You only need to practise.>""".replace("<W:", f"<{who}:").replace("fell many times", "could not do it" if who == "E" else "made many mistakes"))
    t.say("""
        <W:{hint}>
        <W:Let me show you. {hint}>
        "{hint} Then it will work," said {W}.""".replace("<W:", f"<{who}:").replace("{W}", "{" + who + "}"))
    t.say("""
        So {H} practised every day, in the morning and in the evening.
        {H} practised on Monday. {S} practised on Tuesday. {S} practised all week.
        Day after day, {h} tried again, and every day it went a little better.""")
    t.say("""
        {S} got a [bruise|scratch] or two, but {h} did not give up.
        When {h} wanted to stop, {h} remembered the words. "{hint}"
        Once {h} almost gave up, but {F} said, "Just one more time." """)
    t.say("""
        Then, one day, it worked!
        And one morning, {H} could do it!
        And then, all at once, it was easy.""")
    t.say("""
        <H:Look at me! I can {skill}!>
        <H:I can do it! I can do it!>
        "{E}! {F}! Look, I can {skill}!" {h} called.""")
    feel(t, "H", "proud", 0.7)
    t.say("""
        {E} clapped, and {F} [cheered|jumped for joy].
        Everyone cheered, and {F} was the loudest of all.
        <F:I knew that you could do it!>""")
    t.say("""
        A week later, a small [mouse|duckling|boy] wanted to learn it too. <H:Do not give up. {hint}>
        Soon {H} taught it to the little ones. <H:{hint}>""", 0.5)
    lesson(t, t.pick(["practice makes perfect", "it is good not to give up", "every master was once a beginner"]))
    ending(t, True) if t.chance(0.5) else None


@plot
def echo_cave(t):
    t.make_hero()
    t.make_elder()
    t.set_thing("cave", t.pick(["dark", "deep", "big"]))
    t.make_place(["hill", "forest", "beach"])
    opening(t, t.facts["place"])
    trait(t, t.pick(["curious", "proud"]))
    day(t)
    t.para()
    t.say("""
        {Day} {H} found {athing} {at}.
        {Day} {h} went {to} and came to {athing}.
        {Day} {H} was {at}. There was {athing} that {h} had never seen before.""")
    interlude(t, 0.3)
    t.say("""
        <H:Hello!> "Hello!" somebody called back.
        "Is anybody there?" called {H}. "Anybody there?" came the answer.
        {S} called, "Hello!" And out of the cave came a voice. "Hello!" """)
    feel(t, "H", "surprised", 0.5)
    t.say("""
        <H:Who are you?> "Who are you?" said the voice.
        "Come out!" called {H}. "Come out!" called the voice.
        <H:What is your name?> "Your name?" the voice asked.""")
    t.say("""
        "Do not repeat what I say!" shouted {H}. "What I say!" the voice shouted.
        {H} got cross. "You are silly!" {h} shouted. "You are silly!" the voice shouted back.
        <H:Stop that!> "Stop that!" cried the voice, just as loud.""")
    t.say("""
        "I do not like you!" shouted {H}. "Like you! Like you!" it came back, again and again.
        "Go away!" {H} cried. "Go away! Go away!" answered the cave.
        {H} shouted bad words, and all the bad words came back.""")
    feel(t, "H", t.pick(["angry", "sad"]))
    t.para()
    t.say("""
        {H} ran home. <H:There is somebody in the cave who is rude to me!>
        At home {h} told {E} about it. <H:In the cave is somebody who does not like me.>
        {S} ran to {E} with tears in {his} eyes and told everything.""")
    t.say("""
        {E} smiled. <E:Go back and say something nice.>
        <E:Try it again, but speak kindly this time.>
        <E:What you call into the cave comes back. Try kind words.>""")
    t.say("""
        So {H} went back. <H:I am sorry!> "I am sorry!" said the voice.
        The next day {h} stood before the cave. "Good morning!" {h} called. "Good morning!" said the cave.
        {H} went back to the cave. "You are nice!" {h} called. "You are nice!" it came back.""")
    t.say("""
        "Will you be my friend?" called {H}. "Be my friend!" answered the voice.
        "I like you!" {h} called. "I like you!" said the voice softly.
        {H} sang a song, and the cave sang along.""")
    t.say("""
        Then {H} laughed, and the cave laughed too.
        <H:It is an echo! It is my own voice!>
        Now {h} understood. It had been {his} own voice all the time.""")
    feel(t, "H", "happy", 0.5)
    lesson(t, t.pick(["kind words come back", "others often speak to us as we speak to them", "a friendly word gets a friendly answer"]))
    t.say("""
        After that, {H} was friendly to everyone, and everyone was friendly to {him}.
        From then on {h} tried to use only kind words.
        {E} was proud of {him}.""", 0.6)
    ending(t) if t.chance(0.5) else None
    t.topic = t.pick(["a cave", "an echo"])


@plot
def firefly_jar(t):
    t.make_hero(avoid=("frog", "duck", "chick"))
    t.make_elder()
    t.make_place(["meadow", "garden", "forest", "lake", "orchard", "park"])
    t.set_thing("firefly", t.pick(["little", "bright", "tiny"]))
    opening(t, t.facts["place"])
    trait(t, t.pick(["curious", "afraid"]), 0.6)
    t.para()
    t.say("""
        One warm night, {H} saw small lights {at}.
        One summer evening, little lights danced {at}.
        It was a warm summer night. {at_cap} something was shining.""".replace("{at_cap}", t.facts["at"].capitalize()))
    t.say("""
        They were fireflies! They flew up and down like tiny stars.
        <H:Fireflies!> There were [ten|twenty|a hundred] of them.
        "How pretty!" said {H}. They were fireflies.""")
    t.say("""
        {S} caught one and put it in a jar.
        <H:I want one for my room.> {S} took a jar and caught {athing}.
        {S} ran after them and caught {athing} in a glass jar.""")
    t.say("""
        At home {h} put the jar beside {his} bed. It was as bright as a lamp.
        {S} carried it home. The whole room shone.
        That night the {thing} was {his} night light.""")
    t.say("""
        <H:Now I have my own star.>
        "You will stay with me forever," said {H}.
        {H} looked at the light until {his} eyes closed.""")
    t.para()
    t.say("""
        But the next evening, the light was weak.
        But the {thing} sat at the bottom of the jar, and its light grew weaker.
        The next day, the {thing} did not fly any more. Its light was almost gone.""")
    feel(t, "H", "sad", 0.6)
    t.say("""
        <H:{E}, why does it not shine?>
        {S} showed it to {E}. <H:What is wrong with it?>
        <H:Are you sick, little {thing}?> And {h} called {E}.""")
    t.say("""
        <E:It misses its friends.>
        <E:A light needs air and sky. It is not happy in a jar.>
        <E:How would you feel in a jar?>""")
    t.say("""
        {H} thought about it. {S} loved the light. But {h} did not want it to be sad.
        That made {him} think. {S} would not like to live in a jar.
        {H} was quiet for a while. Then {h} stood up and took the jar.""")
    t.say("""
        {S} went {to} and opened the jar. <H:Fly, little one.>
        They went {to} together, and {H} opened the lid.
        {S} carried the jar {to} and took off the lid.""")
    t.say("""
        The {thing} crept out, spread its wings and flew up. Its light was bright again!
        The {thing} flew around {his} head once, and then to its friends.
        Up it flew, and all the others came to meet it. How they shone!""")
    t.say("""
        From then on, {H} came every evening to look at the fireflies.
        On the way home, the fireflies flew ahead and showed {him} the way.
        Later that summer, {H} lost {his} way in the dark, and {athing} came and led {him} home.""")
    lesson(t, t.pick(["what we love must be free", "some things are most beautiful when they are free", "a friend is not a thing to keep in a jar"]))
    ending(t) if t.chance(0.5) else None


@plot
def music_band(t):
    t.make_hero()
    t.make_friend()
    t.make_thing("music")
    t.make_place(["village", "park", "forest", "farm", "garden", "meadow"])
    t.make_stranger()
    opening(t, t.facts["place"])
    t.say("""
        {H} had {athing} and {used} it from morning to night.
        {S} got {athing} for {his} birthday and {used} it all the time.
        {E} gave {him} {athing}, and {h} {used} it every day.""".replace("{E} gave {him} {athing}, and", "One day {h} got {athing}, and"))
    t.say("""
        It was very loud, and it did not sound good.
        It sounded [terrible|like a broken door|like an angry goose].
        What a noise it was!""")
    day(t)
    t.para()
    t.say("""
        {Day} {X} called, "Please be quiet! I want to sleep."
        {Day} {X} came and said, "That is too loud for my old ears."
        {Day} {X} closed all the windows. <X:What a terrible noise!>""")
    t.say("""
        Everybody put their hands over their ears.
        Wherever {H} went, somebody said, "Not here, please!"
        "Go away with your {thing}!" the others said.""")
    feel(t, "H", "sad")
    t.say("""
        {S} went {to}, where nobody could hear {him}.
        So {H} went away and sat {spot1}.
        {S} took the {thing} and went {to}, all alone.""")
    t.para()
    t.set(other=["singing", "humming a tune", "tapping on a pot", "clapping two sticks together"],
          afriend=("an " if t.friend.kind[0] in "aeiou" else "a ") + t.friend.kind)
    t.say("""
        There was {afriend} named {F} who was {other}.
        Then {h} heard something. {afriend} named {F} was {other}.
        But somebody was already there. It was {F}, {afriend}, who was {other}.""")
    t.say("""
        <F:Shall we play together? Listen to me, and I will listen to you.>
        <F:They sent me away too. Let us play together.>
        <F:One, two, three, four. Just follow the beat.>""")
    t.say("""
        {H} listened first, and then {h} played softly. It sounded nice!
        At first it did not fit. But they listened to each other, and slowly it became music.
        They tried again and again, until it sounded right.""")
    t.say("""
        Every day they met {at} and practised.
        They practised for [two|three] weeks, a bit better each day.
        Day by day it sounded better.""")
    t.para()
    t.say("""
        Then there was a feast in the village, but no music. <X:How can we dance without music?>
        One evening {X} had a birthday, and there was no music.
        On the day of the summer feast, the musicians did not come.""")
    t.say("""
        "We can play," said {H} and {F}.
        {H} and {F} came with the {thing} and began to play.
        <H:May we play for you?>""")
    t.say("""
        Everyone was surprised. It was so lovely that they all began to dance.
        The feet began to move, first two, then ten, then all of them.
        Even {X} [danced|clapped and danced].""")
    t.say("""
        <X:That was wonderful! Please play again!>
        "More, more!" they all called.
        <X:I am sorry that I sent you away.>""")
    feel(t, "H", t.pick(["proud", "happy"]), 0.6)
    lesson(t, t.pick(["good music begins with listening", "practice turns noise into music", "together it sounds better than alone"]))
    ending(t, True) if t.chance(0.5) else None
