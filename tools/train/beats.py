"""Beats that many plots share: openings, traits, days, feelings, journeys, thanks, endings."""

import words
from teller import article

TRAITS = {
    "curious": """
        {S} was very curious and asked [questions|questions all day|about everything].
        {S} always wanted to know [why|how things worked|what was behind the next corner].
        {S} liked to [look into|peek into|explore] every [corner|hole|little place].""",
    "kind": """
        {S} had a [kind|warm|big] heart and [liked to help|helped others|was nice to everyone].
        {S} was always [kind|gentle|friendly] to [everyone|others|big and small].
        Everybody liked {H}, because {h} was so [kind|friendly|helpful].""",
    "shy": """
        {S} was [very|a little|rather] shy and [did not talk much|often hid behind {E}|liked to be alone].
        {S} was shy, and it was [hard|not easy] for {him} to [make friends|talk to others|say hello].
        When {h} met somebody new, {H} [looked at the ground|could not say a word|spoke very softly].""",
    "proud": """
        {S} was proud and liked to [boast|talk about {himself}|show off].
        {S} thought that {h} was the [best|fastest|cleverest] of all.
        "Nobody is as [good|fast|clever] as I am," {H} [often said|liked to say|said every day].""",
    "impatient": """
        {S} did not like to wait. {h} wanted everything [at once|right now|right away].
        Waiting was [very hard|not easy|the hardest thing] for {H}.
        {S} was always in a hurry and [never sat still|could not wait for anything].""",
    "brave": """
        {S} was small but [brave|very brave|full of courage].
        {S} was not afraid of [much|many things|wind or rain].
        {S} wanted to be [brave|as brave as a lion|the bravest of all].""",
    "afraid": """
        {S} was [a little|often|easily] afraid of [new things|loud noises|many things].
        {S} did not feel very brave.
        {S} wished that {h} [were|was] [braver|not so easily scared|as brave as the others].""",
    "messy": """
        {S} never put {his} things away.
        {S} liked to play, but {h} did not like to [tidy up|clean up|put things back].
        There were always [toys|socks and toys|things] all over {his} [floor|room].""",
    "lazy": """
        {S} liked to [sleep|lie in the sun|do nothing] all day.
        {S} did not like to work. {h} liked to [rest|nap|sing songs] instead.
        "I will do it tomorrow," {H} [always said|liked to say|said every day].""",
    "merry": """
        {S} liked to [laugh|sing|dance] [all day long|from morning to night|with the birds].
        {S} was a [merry|cheerful|happy] little soul who [sang all day|loved to play|smiled at everyone].
        Every morning {h} [sang a song|jumped out of bed|greeted the sun].""",
}

FEELINGS = {
    "sad": """
        {A} felt [very|so] sad.
        A [big|little] tear rolled down {ahis} [cheek|face|nose].
        {A} sat down and [cried|began to cry|put {ahis} head down].
        {A} was so sad that {a} [did not want to play|could not smile|wanted to cry].
        {A} hung {ahis} head.""",
    "happy": """
        {A} was [so|very] happy.
        {A} [laughed|smiled|jumped] for joy.
        {A} smiled [a big smile|from ear to ear|all over {ahis} face].
        {A} felt [warm and happy|as light as a feather|happy inside].
        {A} was so happy that {a} [danced|sang a little song|clapped].""",
    "scared": """
        {A} was [very|so] scared.
        {ahis} heart beat [fast|very fast|like a drum].
        {A} began to [shake|tremble] [with fear|all over].
        {A} was so frightened that {a} [could not move|did not dare to breathe|wanted to run away].
        {A} felt [cold and small|very small|a cold shiver].""",
    "proud": """
        {A} felt [very|so] proud.
        {A} stood [tall|up tall] and smiled.
        {A} had never felt so proud [before|in all {ahis} life].
        {A} was proud of [what {a} had done|{ahis} work|{ahimself}].""",
    "sorry": """
        {A} felt [very|so] sorry.
        {A} looked at the [ground|floor] and felt [bad|ashamed|sorry].
        {A} knew that {a} had [done wrong|made a mistake|not been kind].
        {A} felt a [heavy stone|lump] in {ahis} [heart|throat].""",
    "angry": """
        {A} was [very|so] angry.
        {A} stamped {ahis} foot.
        {A} [frowned|grew red] and turned away.
        {A} was so cross that {a} [did not say a word|did not want to listen|walked away].""",
    "lonely": """
        {A} felt [very|so] lonely.
        There was nobody to [play with|talk to|laugh with], and {A} felt [sad|lonely|alone].
        {A} sighed and wished for [a friend|somebody to play with|company].
        {A} felt all alone in the [wide|big] world.""",
    "surprised": """
        {A} was [very|so] surprised.
        {A} could not believe {ahis} eyes.
        {ahis} eyes grew [big|wide|round].
        {A} stood still and [stared|blinked twice|opened {ahis} mouth].""",
    "tired": """
        {A} was [very|so] tired.
        {A} [yawned|gave a big yawn] and [rubbed {ahis} eyes|sat down].
        {A} could [hardly|barely] keep {ahis} eyes open.
        After all that work, {A} was [tired|very tired|sleepy].""",
}

GIFT = """
    It had been a [gift|present] from {E}.
    {E} had given it to {him} [on {his} birthday|last winter|when {h} was very small].
    {E} had [found|made] it for {him}."""


def opening(t, near=None):
    """Who the hero is and where the hero lives; near: a place of words.HOMES_NEAR."""
    hero = t.hero
    if hero.is_child:
        t.set(adesc=[f"a little {hero.kind}", f"a {hero.kind}", f"a young {hero.kind}", f"a small {hero.kind}"])
        home = t.pick(words.CHILD_HOMES)
    else:
        adjective = t.pick(hero.adjectives)
        t.set(adesc=[f"a little {hero.kind}", f"a young {hero.kind}", article(f"{adjective} {hero.kind}"), article(f"{adjective} little {hero.kind}")]
              if "big" not in hero.abilities else [f"a young {hero.kind}", article(f"{adjective} {hero.kind}")])
        home = article(hero.home)
    t.set(ahome=home)
    near = near or t.pick(list(words.HOMES_NEAR))
    if any(w in home for w in (" by ", " under ", " on ", " in ")):
        t.say("""
            Once upon a time, there was {adesc} named {H}. {h} lived in {ahome}.
            Once upon a time, there was {adesc} called {H}, and {his} home was {ahome}.
            Once upon a time, {adesc} named {H} lived in {ahome}.
            There once was {adesc} [named|called] {H}, who lived in {ahome}.
            {H} was {adesc}. {h} lived in {ahome}.
            [Long ago|Far, far away], there lived {adesc} named {H}. {his} home was {ahome}.""")
        return
    t.set(near=words.HOMES_NEAR[near])
    t.say("""
        Once upon a time, there was {adesc} named {H}. {h} lived in {ahome} {near}.
        Once upon a time, there was {adesc} [named|called] {H}, who lived {near}.
        Once upon a time, {adesc} named {H} lived in {ahome} {near}.
        Once upon a time, {near}, there lived {adesc} named {H}.
        Once there was {adesc} called {H}. {h} had {ahome} {near}.
        {near}, there lived {adesc} [named|called] {H}.
        There once was {adesc} named {H}. {his} home was {ahome} {near}.
        {H} was {adesc}. {h} lived in {ahome} {near}.
        Far away, {near}, lived {adesc} called {H}.
        This is the story of {H}, {adesc} who lived {near}.""")


def trait(t, name, p=1.0):
    t.say(TRAITS[name], p)


def feel(t, who, feeling, p=1.0):
    """who: "H" or "F"."""
    c = t.hero if who == "H" else t.friend
    t.set(A=c.name if t.chance(0.6) else c.pronoun, a=c.pronoun, ahis=t.facts["his" if who == "H" else "fhis"],
          ahimself=t.facts["him" if who == "H" else "fhim"] + "self")
    t.say(FEELINGS[feeling], p)


def day(t, *weathers):
    """Sets the weather and {Day}, the words that begin a sentence."""
    t.weather = t.pick(weathers or ("sunny", "sunny", "windy"))
    word = t.pick(words.WEATHER[t.weather])
    t.set(Day=[f"one {word} [day|morning|afternoon],", f"one {word} [day|morning|afternoon],", f"on a {word} [day|morning|afternoon],",
               "one [day|morning|afternoon],"])
    t.facts["Day"] = t.expand(t.facts["Day"])


def own_thing(t, gift=0.4):
    t.say("""
        {H} had {athing}. {h} liked to {use} it [every day|all day long|after breakfast].
        {his} favourite thing was {athing}.
        More than anything, {h} loved {his} {fullthing}.
        {S} had {athing} and took it everywhere.
        Of all {his} things, {h} liked {his} {fullthing} best.
        {S} owned {athing}, and {h} {used} it [every morning|every day|whenever {h} could].""")
    if t.chance(gift):
        if "E" not in t.facts:
            t.make_elder()
        t.say(GIFT)


def meet_friend(t):
    """Who the friend is. A friend of another kind is named with it."""
    t.set(afriend=article(t.pick(["", "little ", "small "]) + t.friend.kind if t.friend.is_child or "big" not in t.friend.abilities
                          else t.friend.kind))
    t.say("""
        {his} best friend was {afriend} named {F}.
        {S} had a good friend, {afriend} called {F}.
        {H} often played with {his} friend {F}, {afriend}.
        {his} friend {F} was {afriend}. They [played together every day|did everything together|were always together].
        {H} and {F}, {afriend}, were [best|the best of|good] friends.
        Next door lived {F}, {afriend}, who was {his} best friend.""")


def arrives(t):
    """The friend comes along (and is named with the kind)."""
    t.set(afriend=article(t.friend.kind))
    t.say("""
        Just then, {his} friend {F} the {fkind} came [along|by|down the path].
        Soon {afriend} named {F} came [along|by|down the path].
        {afriend} called {F} was [passing by|walking past|on the way home] and stopped.
        At that moment {his} friend {F}, {afriend}, [came around the corner|walked by|came along].
        Then {h} met {his} friend {F}, {afriend}.
        {F}, {afriend} from next door, came to see what was [wrong|going on|the matter].""" if not t.friend.is_child else """
        Just then, {his} friend {F} came [along|by|down the path].
        Soon {afriend} named {F} came [along|by|down the path].
        {afriend} called {F} was [passing by|walking past|on the way home] and stopped.
        At that moment {his} friend {F} [came around the corner|walked by|came along].
        Then {h} met {F}, {afriend} from next door.
        {F}, {his} best friend, came to see what was [wrong|going on|the matter].""")


def interlude(t, p=0.45):
    """A small thing on the way, some of which comes back in the ending."""
    if not t.chance(p):
        return
    kind = t.rng.randrange(5)
    if kind == 0 and t.keepsake is None:
        names = [n for n in ("shell", "pebble", "feather", "button", "acorn") if n != t.thing]
        noun = t.pick(names)
        adjective = t.pick(words.THINGS[noun][0].split())
        t.keepsake = noun
        t.set(keep=noun, akeep=article(f"{adjective} {noun}"))
        t.say("""
            On the way, {h} found {akeep} and [kept it|took it along|picked it up].
            Beside the path lay {akeep}. {H} [picked it up|put it into {his} pocket|took it with {him}].
            {S} saw {akeep} on the ground and [picked it up|kept it].""")
    elif kind == 1 and t.weather in ("sunny", "windy"):
        t.say("""
            The birds [sang|were singing] [in the trees|above {him}|a merry song].
            White clouds [sailed|drifted|moved] across the [blue|wide] sky.
            A [butterfly|bee|ladybird] flew [past|by|around {his} head].
            The grass was [green and soft|still wet|full of flowers].""")
    elif kind == 2:
        t.say("""
            {S} [hummed|sang|whistled] a [little|merry|funny] [song|tune] on the way.
            {S} counted [{his} steps|the trees|the stones] as {h} went. One, two, three, four!
            {S} skipped [all the way|along the path|over the stones].""")
    elif kind == 3:
        t.set(aY=[article(s) for s in words.STRANGERS if s not in t.facts.get("X", "") and t.hero.kind not in s])
        t.say("""
            "Good day, little one!" called {aY}. {H} [waved and went on|said good day and went on|waved back].
            {aY} looked up and nodded as {h} went by.
            On the way, {h} greeted {aY}.""")
    else:
        t.say("""
            It was [a fine day|quiet all around|a good day for an adventure].
            {S} [took a deep breath|looked all around|was in a good mood].
            {S} was [ready for anything|full of hope|in a hurry].""")


def thank(t, who="F"):
    """The hero thanks the friend or another."""
    t.set(whom=t.facts[who])
    t.say("""
        <H:Thank you!> [{H} gave {whom} a big hug.|{H} hugged {whom}.]
        {H} thanked {whom} [again and again|with all {his} heart|with a big smile].
        "Thank you, thank you!" said {H}[ with a smile|, and gave {whom} a hug|].
        <H:Thank you for your help!>
        "You are [so kind|the best|wonderful]!" {H} told {whom}.
        {H} smiled at {whom} and said, "[Thank you|Thank you so much|I will never forget this]." """)


def ending(t, together=False):
    """The last sentences; a thing found on the way comes back."""
    t.para()
    if t.keepsake and t.chance(0.85):
        t.say("""
            That night, {h} put the {keep} from the path [beside {his} bed|on the window sill|next to {his} pillow] [and slept well|and smiled|to remember the day].
            Before {h} fell asleep, {H} looked at the {keep} that {h} had found and [smiled|thought of the day].
            The {keep} that {h} had found [got a place beside {his} bed|stayed with {him} for a long time].""")
        t.say("What a day it had been!\nIt had been a [good|wonderful|special] day.", 0.5)
    elif together and t.chance(0.6):
        t.say("""
            {H} and {F} [laughed and played|played together|sat side by side] until the sun went down.
            From then on, {H} and {F} were [always together|the best of friends|better friends than ever].
            {H} and {F} [smiled at each other|hugged each other|held hands and danced]. It had been a [good|wonderful|special] day.
            And {H} and {F} stayed friends [forever|for a long, long time|all their lives].
            When the stars came out, {H} and {F} [said good night|went home happily|walked home together].""")
    else:
        t.say("""
            That [night|evening], {H} fell asleep with a smile [on {his} face|].
            {H} went [home|to bed] [happy|tired but happy|with a smile].
            When the [moon rose|stars came out|sun went down], {H} was [fast asleep|happy|dreaming sweet dreams].
            It had been a [good|wonderful|long and happy] day for {H}.
            And {H} [lived happily ever after|was happy for a long time|never forgot that day].
            {H} smiled and thought, "What a [wonderful|good|strange and lovely] day!"
            And that was the end of a [very good|wonderful|long] day.""")


def lesson(t, what, p=0.8):
    """what: words after "that", in the past tense or general."""
    t.set(what=what)
    t.say("""
        {H} had learned that {what}.
        From that day on, {H} knew that {what}.
        Now {h} knew that {what}.
        {H} never forgot that {what}.
        That day, {h} learned that {what}.
        And so {H} found out that {what}.""", p)
