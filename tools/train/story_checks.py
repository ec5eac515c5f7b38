"""Simple checks of a story's grammar and facts, as the story grammar defines them."""

import re

import words
from grammar import make_story

PERSONS = {**{n: "she" for n in words.GIRLS}, **{n: "he" for n in words.BOYS}}
KINDS = set(words.ANIMALS) | set(words.CHILDREN)
REFLEXIVE = {"himself": "he", "herself": "she"}


def known_words(stories=6000):
    """Every word that the grammar says, lower case."""
    known = set()
    for seed in range(stories):
        known.update(re.findall(r"[a-z']+", make_story(seed)[0].lower()))
    return known


def body_of(text):
    """-> (title line or None, story)."""
    first, _, rest = text.partition("\n\n")
    if re.match(r"(?i)(a|tell|write|a short|a tale)\b.*\b(story|tale)\b", first) and "." not in first.rstrip("."):
        return first, rest
    return None, text


def sentences(text):
    return [s for s in re.split(r'(?<=[.!?])["]? +|\n+|(?<=[.!?]")\s', text) if s]


def hero_of(story):
    """-> (name, pronoun) of the first character that is introduced."""
    found = re.search(r"\b(?:named|called|story of) ([A-Z][a-z]+)", story) or re.search(r"(?:^|[.!?] )([A-Z][a-z]+) was (?:a|an) ", story)
    name = found.group(1) if found else None
    return name, PERSONS.get(name)


def check(text, known):
    """-> names of the checks that fail."""
    title, story = body_of(text)
    failed = []
    name, pronoun = hero_of(story)
    if name is None:
        failed.append("hero introduced")
    if name and len(re.findall(rf"\b{name}\b", story)) < 3:
        failed.append("hero kept")
    persons = {w for w in re.findall(r"\b[A-Z][a-z]+\b", story) if w in PERSONS}
    if len(persons) > 2:
        failed.append("two characters at most")
    if pronoun:
        for sentence in sentences(re.sub(r'"[^"]*"', "", story)):
            if not re.match(rf"{name} ", sentence) or len({w for w in re.findall(r"[A-Z][a-z]+", sentence) if w in PERSONS}) > 1:
                continue
            wrong = "herself" if pronoun == "he" else "himself"
            if wrong in sentence.split():
                failed.append("reflexive")
        alone = len(persons) == 1 and not re.search(r"\b(Mama|Papa|Grandma|Grandpa|mother|it's|somebody)\b", story)
        if alone:
            other = {"he": r"\b(she|her|hers|herself)\b", "she": r"\b(he|him|his|himself)\b"}[pronoun]
            if re.search(other, re.sub(r'"[^"]*"', "", story).lower()):
                failed.append("pronoun")
    kind = re.search(rf"\b({'|'.join(KINDS)})\b", sentences(story)[0]) if sentences(story) else None
    if title and kind:
        asked = [k for k in KINDS if re.search(rf"\b{k}\b", title)]
        if asked and not any(re.search(rf"\b{k}\b", story) for k in asked):
            failed.append("title's character")
    if title:
        thing = re.search(r" and (?:an?|some) ([a-z ]+?)\.?$", title)
        if thing and thing.group(1).split()[-1] not in story:
            failed.append("title's thing")
    if story.count('"') % 2:
        failed.append("quotes closed")
    if re.search(r"(?:^|[.!?] )[a-z]", re.sub(r'"[^"]*"', '"', story)):
        failed.append("capital letters")
    if re.search(r"\b(a) [aeio][a-z]|\ban [bcdfgjklmnpqrstvwxyz]", story.replace("a one", "")):
        failed.append("a and an")
    if re.search(r"\b(\w+) \1\b", re.sub(r"\b(pulled and pulled|very very)\b", "", story)):
        failed.append("word twice")
    spoken = [s for s in sentences(story) if len(s.split()) > 4]
    if len(spoken) - len(set(spoken)) > 0:
        failed.append("sentence twice")
    unknown = {w for w in re.findall(r"[a-z']+", story.lower())} - known - {w.lower() for w in re.findall(r"[A-Z][a-z]+", title or "")}
    unknown -= {(name or "").lower(), (name or "").lower() + "'s"}
    if unknown:
        failed.append("known words")
    return failed
