"""The teller: keeps the facts of a story and says them in many ways.

A beat is a block of lines, one of which is said. In a line [a|b] is a choice, {slot} a fact, <H:words> speech of the
hero (F: of the friend, K: of the friend while unnamed, E: of the elder, X: of the stranger). Hero and friend never share a pronoun, so "he" and "she"
are never in doubt; elders and strangers are named, not pronounced. Plots (plots_*.py) are functions of a teller.
"""

import re

import words

PLOTS = {}


def plot(function):
    PLOTS[function.__name__] = function
    return function


SPEECH = {
    "?": ["asked"],
    "!": ["said", "cried", "called", "shouted"],
    ".": ["said"],
}
SPEECH_VERB = re.compile(r"(?:(?:he|she|it|they|somebody|everyone|everybody|the [a-z ]+?) )?(?:said|asked|cried|called|shouted|answered|whispered|came|came back|and)\b")
OBJECTIVE = {"he": "him", "she": "her", "it": "it"}
POSSESSIVE = {"he": "his", "she": "her", "it": "its"}


class Character:
    def __init__(self, name, pronoun, kind):
        self.name, self.pronoun, self.kind = name, pronoun, kind
        self.is_child = kind in words.CHILDREN
        self.adjectives, self.home, self.abilities = ([], "house", ()) if self.is_child else words.ANIMALS[kind]


class Unsuited(Exception):
    """The plot does not suit the character."""


def article(phrase):
    return ("an " if phrase[0].lower() in "aeiou" and not phrase.startswith(("use", "one")) else "a ") + phrase


class Teller:
    def __init__(self, rng):
        self.rng = rng
        self.out = []  # sentences and paragraph marks
        self.facts = {}
        self.thing = self.friend = self.hero = None
        self.topic = None  # what a title names beside the character
        self.weather = "sunny"
        self.keepsake = self.forced_kind = None
        self.known = set()  # "friend", "stranger": who has been introduced

    # -- chance

    def pick(self, options):
        return options[self.rng.randrange(len(options))]

    def chance(self, p):
        return self.rng.random() < p

    # -- state

    def choose_name(self, pronoun):
        return self.pick(words.GIRLS if pronoun == "she" else words.BOYS)

    def make_hero(self, kind=None, avoid=(), need=None):
        kind = kind or self.forced_kind or self.hero_kind()
        pronoun = words.CHILDREN.get(kind) or self.pick(["he", "she"])
        hero = Character(self.choose_name(pronoun), pronoun, kind)
        if set(avoid) & set(hero.abilities) or kind in avoid or (need and need not in hero.abilities):
            raise Unsuited
        self.hero = hero
        self.facts.update(H=hero.name, h=pronoun, him=OBJECTIVE[pronoun], his=POSSESSIVE[pronoun], himself=OBJECTIVE[pronoun] + "self",
                          kind=kind, home="house" if hero.is_child else hero.home.split(" ")[-1])
        if not hero.is_child:
            self.facts["home"] = {"hole under an oak tree": "hole", "house of reeds by the pond": "house", "basket by the fire": "basket",
                                  "nest of leaves": "nest", "hollow in a tall tree": "tree", "nest by the pond": "nest",
                                  "hollow by the stream": "hollow", "clearing in the jungle": "clearing", "shed on the hill": "shed",
                                  "tunnel under the grass": "tunnel", "home on the river bank": "home",
                                  "basket by the stove": "basket"}.get(hero.home, self.facts["home"])

    def hero_kind(self):
        return self.pick(["girl", "boy"]) if self.chance(0.35) else self.pick(list(words.ANIMALS))

    def make_friend(self, avoid=(), kind=None):
        """The friend has the other pronoun."""
        pronoun = "she" if self.hero.pronoun == "he" else "he"
        if kind is None:
            if self.hero.is_child and self.chance(0.6):
                kind = "girl" if pronoun == "she" else "boy"
            else:
                kind = self.pick([k for k in words.ANIMALS if k != self.hero.kind and not set(avoid) & set(words.ANIMALS[k][2])])
        friend = Character(self.choose_name(pronoun), pronoun, kind)
        self.friend = friend
        self.facts.update(F=friend.name, f=pronoun, fhim=OBJECTIVE[pronoun], fhis=POSSESSIVE[pronoun], fkind=kind)
        return friend

    def make_elder(self, options=("Mama", "Papa", "Grandma", "Grandpa")):
        self.facts["E"] = self.pick(list(options))

    def make_stranger(self):
        noun = self.pick([s for s in words.STRANGERS if self.hero.kind not in s and (not self.friend or self.friend.kind not in s)])
        self.facts["X"] = "the " + noun
        self.facts["aX"] = article(noun)

    def make_thing(self, tag, without=(), also=()):
        names = [n for n, t in words.THINGS.items() if (tag in t[3].split() or n in also) and not set(without) & set(t[3].split() + [n])]
        noun = self.pick(names)
        adjectives, infinitive, past, _ = words.THINGS[noun]
        self.set_thing(noun, self.pick(adjectives.split(" ")), infinitive, past)

    def set_thing(self, noun, adjective, infinitive="use", past="used"):
        full = f"{adjective} {noun}".strip()
        self.thing = noun
        self.topic = article(noun)
        self.facts.update(thing=noun, adj=adjective, athing=article(full), fullthing=full, use=infinitive, used=past)

    def make_food(self, only=None):
        noun = self.pick(only or list(words.FOODS))
        determiner, adjectives = words.FOODS[noun]
        adjective = self.pick(adjectives.split())
        plural = noun in words.PLURAL_FOODS
        full = f"{adjective} {noun}"
        self.facts.update(food=noun, foods=full, afood=article(full) if determiner == "a" else "some " + full,
                          foodis="were" if plural else "was", it="them" if plural else "it", they="they" if plural else "it")
        self.topic = article(noun) if determiner == "a" else "some " + noun

    def make_place(self, options=None):
        place = self.pick(options or list(words.PLACES))
        at, to, spots, features = words.PLACES[place]
        spots = spots[:]
        self.rng.shuffle(spots)
        self.facts.update(place=place, at=at, to=to, spot1=spots[0], spot2=spots[1], spot3=spots[2], features=features)

    def set(self, **facts):
        self.facts.update({k: self.pick(v) if isinstance(v, (list, tuple)) else v for k, v in facts.items()})

    # -- saying

    def para(self):
        if self.out and self.out[-1] != "\n\n":
            self.out.append("\n\n")

    def say(self, block, p=1.0):
        if p < 1.0 and not self.chance(p):
            return False
        lines = [s for s in (s.strip() for s in block.split("\n")) if s]
        self.out.append(self.vary_subject(self.introduce(self.expand(self.pick(lines)))))
        return True

    def vary_subject(self, text):
        """A second sentence in a row that begins with the same name begins with the pronoun, mostly."""
        if not self.out:
            return text
        for c in (self.hero, self.friend):
            if c and text.startswith(c.name + " ") and not re.match(c.name + " and [A-Z]", text) and self.chance(0.8):
                last = re.split(r'(?<=[.!?]) (?=[A-Z])', self.out[-1])[-1]
                if re.match(rf"{c.name} (?!and [A-Z])", last):
                    return c.pronoun.capitalize() + text[len(c.name):]
        return text

    def expand(self, line):
        while True:
            inner = re.search(r"\[([^\[\]]*)\]", line)
            if not inner:
                break
            line = line[: inner.start()] + self.pick(inner.group(1).split("|")) + line[inner.end():]
        line = re.sub(r"\{(\w+)\}", self.slot, line)
        line = re.sub(r"<([HFEXK]):([^<>]*)>", lambda m: self.speech(m.group(1), m.group(2)), line)
        line = re.sub(r" +", " ", line).strip()
        return capitalise(re.sub(r" ([.,!?])", r"\1", line))

    def slot(self, match):
        name = match.group(1)
        if name == "S":
            return self.facts["H"] if self.ambiguous() or self.chance(0.55) else self.facts["h"]
        if name == "T":
            return self.facts["F"] if "friend" not in self.known or self.chance(0.6) else self.facts["f"]
        return self.facts[name]

    def speech(self, who, said):
        said = said.strip()
        mark = said[-1]
        verb = self.pick(SPEECH[mark])
        name = "the " + self.facts["fkind"] if who == "K" else self.facts[who]
        quoted = said[:-1] + "," if mark == "." else said
        pronoun = {"H": "h", "F": "f", "K": "f"}.get(who)
        known = who == "H" and not self.ambiguous() or who == "K" or who == "F" and "friend" in self.known
        if pronoun and known and self.chance(0.4):
            return f'"{quoted}" {self.facts[pronoun]} {verb}.'
        form = self.rng.randrange(3)
        if form == 0:
            return f'{name} {verb}, "{said}"'
        softly = self.pick([" softly", " quietly"]) if verb == "said" and mark == "." and self.chance(0.08) else ""
        if form == 1:
            return f'"{quoted}" {name} {verb}{softly}.'
        return f'"{quoted}" {verb} {name}{softly}.'

    def ambiguous(self):
        """Whether the hero's pronoun could mean the elder of the sentences before."""
        elder = self.facts.get("E")
        return bool(elder and self.out and words.ELDERS[elder] == self.hero.pronoun and elder in self.out[-1])

    def introduce(self, text):
        """The first mention of the friend says that it is a friend, the first mention of a stranger has "a"."""
        if self.friend and "friend" not in self.known and self.friend.name in text:
            self.known.add("friend")
            if not re.search(rf"friend|name is|I am {self.friend.name}|called {self.friend.name}|named {self.friend.name}|\b{self.friend.kind}\b", text):
                kind = "" if self.friend.is_child or self.chance(0.4) else " the " + self.friend.kind
                text = text.replace(self.friend.name, f"{self.facts['his']} friend {self.friend.name}{kind}", 1)
        x = self.facts.get("X")
        if x and "stranger" not in self.known and re.search(x[4:], text):
            self.known.add("stranger")
            if self.facts["aX"] not in text.lower():
                text = re.sub("[Tt]he" + x[3:], self.facts["aX"], text, count=1)
        return capitalise(text)

    def text(self):
        text = ""
        for part in self.out:
            text += part if part == "\n\n" or not text or text.endswith("\n") else " " + part
        return text.strip()


def capitalise(text):
    """Capital letters at the start and after the end of a sentence, not before the verb of a speech."""
    text = re.sub(r'^(["]?)([a-z])', lambda m: m.group(1) + m.group(2).upper(), text)
    text = re.sub(r'([.!?] ["]?|\." ["]?)([a-z])', lambda m: m.group(1) + m.group(2).upper(), text)

    def after_quote(m):
        rest = text[m.start(2):]
        return m.group(0) if SPEECH_VERB.match(rest) else m.group(1) + m.group(2).upper()

    return re.sub(r'([!?]" ["]?)([a-z])', after_quote, text)
