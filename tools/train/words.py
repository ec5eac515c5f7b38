"""What the stories are made of: names, characters, things, food, places, weather. Facts only; no sentences."""

# Enough of them that a name must be looked up in the story so far, and few enough for a token each.
GIRLS = ["Lily", "Mia", "Anna", "Nora", "Lucy", "Rosa"]
BOYS = ["Tom", "Ben", "Leo", "Max", "Sam", "Jack"]

# kind: (adjectives, home, what it can do by nature)
CHILDREN = {"girl": "she", "boy": "he"}
CHILD_HOMES = ["a small white house", "a little house with a red door", "a house with a blue roof", "a cosy cottage",
               "a tall yellow house", "a little stone house"]
ANIMALS = {
    "fox": (["red", "clever", "young"], "den", ()),
    "bear": (["brown", "big", "gentle"], "cave", ("big", "climbs")),
    "rabbit": (["white", "quick", "soft"], "burrow", ("hops",)),
    "mouse": (["grey", "tiny", "quiet"], "hole under an oak tree", ("tiny",)),
    "cat": (["black", "fluffy", "striped"], "basket by the fire", ("climbs",)),
    "dog": (["spotted", "friendly", "brown"], "kennel", ()),
    "frog": (["green", "jolly", "bouncy"], "house of reeds by the pond", ("swims", "hops")),
    "owl": (["brown", "sleepy", "wise"], "hollow tree", ("flies", "night")),
    "hedgehog": (["prickly", "shy", "brown"], "nest of leaves", ("tiny",)),
    "squirrel": (["red", "busy", "quick"], "hollow in a tall tree", ("climbs",)),
    "duck": (["yellow", "cheerful", "fluffy"], "nest by the pond", ("swims", "flies")),
    "pig": (["pink", "round", "muddy"], "little barn", ()),
    "turtle": (["green", "slow", "patient"], "hollow by the stream", ("swims", "slow")),
    "elephant": (["grey", "big", "kind"], "clearing in the jungle", ("big",)),
    "lion": (["golden", "brave", "proud"], "cave", ("big",)),
    "penguin": (["black and white", "playful", "round"], "snow house", ("swims", "cold")),
    "monkey": (["brown", "cheeky", "lively"], "tree house", ("climbs",)),
    "lamb": (["white", "woolly", "gentle"], "green field", ()),
    "goat": (["white", "stubborn", "lively"], "shed on the hill", ("climbs",)),
    "donkey": (["grey", "patient", "gentle"], "stable", ("big",)),
    "mole": (["black", "shy", "busy"], "tunnel under the grass", ("tiny", "digs")),
    "badger": (["striped", "sturdy", "careful"], "warm sett", ("digs",)),
    "otter": (["sleek", "playful", "brown"], "home on the river bank", ("swims",)),
    "dragon": (["green", "small", "friendly"], "cave", ("flies", "big")),
    "kitten": (["orange", "fluffy", "curious"], "basket by the stove", ("climbs", "tiny")),
    "puppy": (["brown", "bouncy", "happy"], "kennel", ()),
    "chick": (["yellow", "tiny", "cheerful"], "hen house", ("tiny",)),
    "pony": (["white", "gentle", "strong"], "stable", ("big",)),
    "raccoon": (["grey", "clever", "cheeky"], "hollow log", ("climbs",)),
    "deer": (["brown", "shy", "quick"], "quiet glade", ()),
    "panda": (["round", "sleepy", "gentle"], "bamboo grove", ("big", "climbs")),
    "koala": (["grey", "sleepy", "soft"], "gum tree", ("climbs",)),
}

# thing: (adjectives, what one does with it: infinitive, past; tags)
THINGS = {
    "kite": ("red blue yellow long-tailed", "fly", "flew", "toy windy"),
    "ball": ("red blue yellow striped", "kick", "kicked", "toy rolls floats"),
    "balloon": ("red blue green silver", "play with", "played with", "toy windy"),
    "toy boat": ("blue little wooden white", "sail", "sailed", "toy floats made"),
    "toy train": ("red little wooden green", "push", "pushed", "toy rolls made"),
    "toy car": ("red fast little blue", "race", "raced", "toy rolls"),
    "wagon": ("red old little green", "pull", "pulled", "toy rolls big made"),
    "teddy bear": ("brown soft old little", "hug", "hugged", "toy soft"),
    "doll": ("pretty little old soft", "dress up", "dressed up", "toy soft"),
    "spinning top": ("red shiny painted little", "spin", "spun", "toy rolls made"),
    "hoop": ("big yellow wooden blue", "roll", "rolled", "toy rolls"),
    "marble": ("green glass shiny blue", "roll", "rolled", "toy rolls small treasure"),
    "robot": ("silver funny little blue", "play with", "played with", "toy made"),
    "rocket": ("silver red paper shiny", "play with", "played with", "toy made"),
    "puppet": ("funny wooden little striped", "play with", "played with", "toy made soft"),
    "scooter": ("red fast shiny green", "ride", "rode", "toy big rolls"),
    "bicycle": ("red new shiny blue", "ride", "rode", "big ride"),
    "skates": ("", "", "", ""),
    "drum": ("red big little round", "beat", "beat", "toy music rolls"),
    "flute": ("silver wooden little long", "play", "played", "music small"),
    "bell": ("golden little shiny silver", "ring", "rang", "music small treasure"),
    "whistle": ("tin silver little shiny", "blow", "blew", "music small"),
    "trumpet": ("golden shiny loud little", "blow", "blew", "music"),
    "guitar": ("old brown little painted", "play", "played", "music"),
    "hat": ("green tall straw red", "wear", "wore", "wear windy"),
    "scarf": ("red long woolly striped", "wear", "wore", "wear windy soft"),
    "ribbon": ("pink blue silk yellow", "wear", "wore", "wear windy small"),
    "mitten": ("red woolly warm blue", "wear", "wore", "wear small soft"),
    "umbrella": ("yellow big spotted red", "carry", "carried", "windy"),
    "blanket": ("blue soft warm patchwork", "sleep under", "slept under", "soft"),
    "lantern": ("little old golden bright", "carry", "carried", "light"),
    "book": ("big old blue picture", "read", "read", "quiet"),
    "shell": ("pink white shiny curly", "look at", "looked at", "treasure small"),
    "pebble": ("round smooth white sparkling", "look at", "looked at", "treasure small"),
    "feather": ("blue long golden white", "look at", "looked at", "treasure small windy"),
    "key": ("golden old tiny silver", "look at", "looked at", "treasure small"),
    "button": ("silver red shiny big", "look at", "looked at", "treasure small rolls"),
    "coin": ("gold shiny old silver", "look at", "looked at", "treasure small rolls"),
    "acorn": ("brown shiny big golden", "look at", "looked at", "treasure small rolls"),
    "necklace": ("bead silver pretty blue", "wear", "wore", "wear treasure small"),
    "cup": ("blue white painted pretty", "drink from", "drank from", "fragile"),
    "vase": ("tall blue white pretty", "look at", "looked at", "fragile"),
    "plate": ("big white painted blue", "eat from", "ate from", "fragile"),
    "teapot": ("round blue pretty white", "pour from", "poured from", "fragile"),
    "jar": ("tall glass round little", "look at", "looked at", "fragile"),
    "clock": ("old wooden round little", "look at", "looked at", "fragile"),
    "lamp": ("little green old glass", "look at", "looked at", "fragile"),
    "picture": ("bright big pretty little", "look at", "looked at", "made"),
    "sled": ("wooden red fast long", "ride", "rode", "ride snow"),
    "raft": ("wooden little flat strong", "sail", "sailed", "big made"),
}
del THINGS["skates"]

# food: (one of it, more than one or a mass?, adjectives)
FOODS = {
    "cake": ("a", "sweet chocolate honey little"), "pie": ("a", "warm apple cherry big"), "bread": ("some", "fresh warm soft brown"),
    "berries": ("some", "red ripe sweet juicy"), "apples": ("some", "red ripe sweet juicy"), "pancakes": ("some", "warm golden sweet fluffy"),
    "cookies": ("some", "warm ginger sweet oat"), "nuts": ("some", "brown crunchy tasty fresh"), "honey": ("some", "golden sweet sticky fresh"),
    "soup": ("some", "hot carrot thick tomato"), "cheese": ("some", "yellow soft tasty fresh"), "carrots": ("some", "orange crunchy sweet fresh"),
    "muffins": ("some", "warm berry sweet soft"), "plums": ("some", "purple ripe sweet juicy"), "pears": ("some", "green ripe sweet juicy"),
    "sandwich": ("a", "big cheese tasty jam"),
}
PLURAL_FOODS = {"berries", "apples", "pancakes", "cookies", "nuts", "carrots", "muffins", "plums", "pears"}

# place: (where, whither, hiding places, what is there)
PLACES = {
    "forest": ("in the forest", "into the forest", ["under a fern", "behind a mossy log", "inside a hollow tree", "among the mushrooms"], "trees"),
    "meadow": ("in the meadow", "to the meadow", ["in the tall grass", "behind a haystack", "among the daisies", "under a thorn bush"], "flowers"),
    "garden": ("in the garden", "to the garden", ["under the rose bush", "behind the shed", "among the cabbages", "beside the old well"], "flowers"),
    "park": ("in the park", "to the park", ["under a bench", "behind the swings", "in a pile of leaves", "beside the fountain"], "trees"),
    "beach": ("on the beach", "to the beach", ["behind a big rock", "under some seaweed", "in a small cave", "beside an old boat"], "waves"),
    "farm": ("on the farm", "to the farm", ["under the hay", "behind the barn", "beside the old cart", "in the chicken yard"], "fields"),
    "hill": ("on the hill", "up the hill", ["behind a grey rock", "in the tall grass", "under a lonely tree", "beside a stone wall"], "clouds"),
    "village": ("in the village", "to the village", ["behind the bakery", "under a market stall", "beside the well", "near the old bridge"], "houses"),
    "orchard": ("in the orchard", "to the orchard", ["under an apple tree", "behind a wooden ladder", "in an empty basket", "beside the fence"], "trees"),
    "river": ("by the river", "down to the river", ["among the reeds", "under a willow tree", "between two stones", "behind a fallen log"], "water"),
    "lake": ("by the lake", "to the lake", ["among the reeds", "under the little pier", "behind a big stone", "beside an old boat"], "water"),
}
HOMES_NEAR = {
    "forest": "at the edge of the forest", "meadow": "beside a wide meadow", "garden": "behind a pretty garden",
    "park": "near a green park", "beach": "close to the sea", "farm": "on a busy farm", "hill": "at the foot of a green hill",
    "village": "in a small village", "orchard": "next to an old orchard", "river": "not far from a slow river",
    "lake": "near a blue lake",
}

ELDERS = {"Mama": "she", "Papa": "he", "Grandma": "she", "Grandpa": "he"}
# Strangers who appear in some plots: (noun phrase without article).
STRANGERS = ["old goat", "grey goose", "old badger", "kind hen", "big brown cow", "wise old owl", "old tortoise", "tall heron",
             "friendly crow", "old sheepdog", "white swan", "round toad"]

WEATHER = {
    "sunny": ["sunny", "bright", "warm", "lovely"], "windy": ["windy", "breezy"], "rainy": ["rainy", "wet", "grey"],
    "snowy": ["snowy", "cold", "frosty"], "foggy": ["foggy", "misty"], "hot": ["hot", "dry"],
}
