"""Words that the generated conversations are made of."""

NAMES = """Ada Alan Grace Linus Ken Dennis Barbara Edsger Donald Margaret Tim Radia Vint Leslie John
Mary Anna Ben Carla David Emma Felix Gina Hugo Ida Jack Kira Leo Mia Nora Oscar Paula Quinn Rosa
Sam Tara Uma Viktor Wendy Xenia Yara Zoe Omar Lena Ivan Priya Kofi Aiko Chen Diego""".split()
CITIES = """Paris London Berlin Madrid Rome Vienna Prague Oslo Lima Cairo Tokyo Delhi Dublin Lisbon
Athens Warsaw Helsinki Zurich Geneva Boston Denver Austin Toronto Sydney Nairobi Accra Seoul Hanoi
Quito Bogota Munich Hamburg Milan Porto Lyon Bern Turin Kyoto Perth Miami""".split()
NOUNS = (
    """apple table river stone lamp cloud bridge garden window pencil orange forest candle bottle
mirror basket ticket camera rocket engine dragon kitten turtle parrot castle island desert valley
planet comet guitar violin piano drum hammer ladder bucket wagon anchor compass""".split()
)
COLOURS = "red green blue yellow black white purple orange pink brown grey silver gold".split()
VERBS = (
    """get set find make send open close start stop play read write check list add remove show book
order call move count plan save load turn""".split()
)
OBJECTS = """weather timer alarm lamp door music email file note task event ticket hotel flight taxi
price stock report room table user photo song video page list heater fan map route""".split()
