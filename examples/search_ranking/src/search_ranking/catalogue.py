"""A shop's catalogue with judged queries, made from nothing but a seed.

python -m search_ranking.catalogue data/train.parquet

Titles come in English, German, French, Spanish and Japanese, with the marks that real titles have: dashes, curly
quotes, ™, ½, inch marks, accents, emoji. What a shopper means is a thing, not a word, so grades follow the thing, its
attribute, and a little of popularity and age; words alone go only so far.
"""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

SEED = 20_240_611
PRODUCTS_OF_A_THING = 92
QUERIES = 600
JUDGED = 22
COLUMNS = (
    "query_id",
    "query",
    "product_id",
    "product_title",
    "category",
    "price",
    "popularity",
    "days_ago",
    "user_age",
    "relevance",
    "judged_at",
)
DAY_ZERO = datetime(2026, 1, 1, tzinfo=UTC)

# category → thing → its names: English, German, French, Spanish, Japanese, and what people call it otherwise.
THINGS: dict[str, dict[str, list[str]]] = {
    "audio": {
        "headphones": ["headphones", "Kopfhörer", "casque audio", "auriculares", "ヘッドホン", "earphones"],
        "speaker": ["speaker", "Lautsprecher", "enceinte", "altavoz", "スピーカー", "boombox"],
        "microphone": ["microphone", "Mikrofon", "microphone à pied", "micrófono", "マイク", "mic"],
        "turntable": [
            "turntable",
            "Plattenspieler",
            "platine vinyle",
            "tocadiscos",
            "レコードプレーヤー",
            "record player",
        ],
        "soundbar": ["soundbar", "Klangleiste", "barre de son", "barra de sonido", "サウンドバー", "tv sound"],
    },
    "computers": {
        "laptop": ["laptop", "Notebook", "ordinateur portable", "portátil", "ノートパソコン", "macbook"],
        "monitor": ["monitor", "Bildschirm", "écran", "pantalla", "モニター", "display"],
        "keyboard": ["keyboard", "Tastatur", "clavier", "teclado", "キーボード", "keys"],
        "mouse": ["mouse", "Maus", "souris", "ratón", "マウス", "trackball"],
        "printer": ["printer", "Drucker", "imprimante", "impresora", "プリンター", "inkjet"],
        "router": ["router", "WLAN-Router", "routeur", "enrutador", "ルーター", "wifi box"],
    },
    "phones": {
        "smartphone": [
            "smartphone",
            "Mobiltelefon",
            "téléphone portable",
            "teléfono móvil",
            "スマートフォン",
            "cellphone",
        ],
        "charger": ["charger", "Ladegerät", "chargeur", "cargador", "充電器", "power adapter"],
        "case": ["phone case", "Handyhülle", "coque", "funda", "ケース", "cover"],
        "powerbank": [
            "power bank",
            "Zusatzakku",
            "batterie externe",
            "batería externa",
            "モバイルバッテリー",
            "portable battery",
        ],
    },
    "kitchen": {
        "kettle": ["kettle", "Wasserkocher", "bouilloire", "hervidor", "電気ケトル", "water boiler"],
        "toaster": ["toaster", "Röster", "grille-pain", "tostadora", "トースター", "bread roaster"],
        "blender": ["blender", "Standmixer", "mixeur", "licuadora", "ミキサー", "smoothie maker"],
        "knife": ["chef's knife", "Küchenmesser", "couteau de cuisine", "cuchillo de cocina", "包丁", "cooking knife"],
        "pan": ["frying pan", "Bratpfanne", "poêle", "sartén", "フライパン", "skillet"],
        "espresso": [
            "espresso machine",
            "Siebträger",
            "machine à expresso",
            "cafetera exprés",
            "エスプレッソマシン",
            "coffee maker",
        ],
    },
    "garden": {
        "hose": ["garden hose", "Gartenschlauch", "tuyau d'arrosage", "manguera", "ホース", "water pipe"],
        "mower": ["lawn mower", "Rasenmäher", "tondeuse", "cortacésped", "芝刈り機", "grass cutter"],
        "grill": ["grill", "Gasgrill", "barbecue à gaz", "barbacoa", "グリル", "bbq"],
        "chair": ["garden chair", "Gartenstuhl", "chaise de jardin", "silla de jardín", "ガーデンチェア", "patio seat"],
    },
    "sports": {
        "bicycle": ["bicycle", "Fahrrad", "vélo", "bicicleta", "自転車", "bike"],
        "helmet": [
            "bike helmet",
            "Fahrradhelm",
            "casque de vélo",
            "casco de bicicleta",
            "ヘルメット",
            "head protection",
        ],
        "tent": ["tent", "Zelt", "tente", "tienda de campaña", "テント", "camping shelter"],
        "backpack": ["backpack", "Rucksack", "sac à dos", "mochila", "リュック", "rucksack bag"],
        "dumbbell": ["dumbbell", "Hantel", "haltère", "mancuerna", "ダンベル", "weights"],
    },
    "toys": {
        "blocks": ["building blocks", "Bausteine", "briques de construction", "bloques", "ブロック", "bricks"],
        "doll": ["doll", "Puppe", "poupée", "muñeca", "人形", "dolly"],
        "puzzle": ["puzzle", "Puzzlespiel", "casse-tête", "rompecabezas", "パズル", "jigsaw"],
        "train": ["toy train", "Spielzeugeisenbahn", "petit train", "tren de juguete", "おもちゃの電車", "railway set"],
    },
    "clothing": {
        "jacket": ["rain jacket", "Regenjacke", "veste de pluie", "chubasquero", "レインジャケット", "waterproof coat"],
        "shoes": [
            "running shoes",
            "Laufschuhe",
            "chaussures de course",
            "zapatillas",
            "ランニングシューズ",
            "trainers",
        ],
        "socks": [
            "wool socks",
            "Wollsocken",
            "chaussettes en laine",
            "calcetines de lana",
            "ウールソックス",
            "warm stockings",
        ],
        "hat": ["sun hat", "Sonnenhut", "chapeau de soleil", "sombrero", "帽子", "summer cap"],
    },
    "home": {
        "lamp": [
            "desk lamp",
            "Schreibtischlampe",
            "lampe de bureau",
            "lámpara de escritorio",
            "デスクライト",
            "reading light",
        ],
        "vacuum": ["vacuum cleaner", "Staubsauger", "aspirateur", "aspiradora", "掃除機", "hoover"],
        "curtain": ["curtain", "Vorhang", "rideau", "cortina", "カーテン", "drapes"],
        "pillow": ["pillow", "Kopfkissen", "oreiller", "almohada", "枕", "cushion"],
        "clock": ["alarm clock", "Wecker", "réveil", "despertador", "目覚まし時計", "bedside clock"],
    },
    "tools": {
        "drill": ["cordless drill", "Akkuschrauber", "perceuse sans fil", "taladro", "電動ドリル", "power screwdriver"],
        "saw": ["hand saw", "Handsäge", "scie à main", "serrucho", "のこぎり", "wood cutter"],
        "hammer": ["hammer", "Zimmermannshammer", "marteau", "martillo", "ハンマー", "mallet"],
        "ladder": ["ladder", "Stehleiter", "échelle", "escalera", "はしご", "steps"],
        "tape": ["measuring tape", "Maßband", "mètre ruban", "cinta métrica", "メジャー", "tape rule"],
    },
    "books": {
        "atlas": ["atlas", "Weltatlas", "atlas mondial", "atlas universal", "地図帳", "map book"],
        "cookbook": ["cookbook", "Kochbuch", "livre de cuisine", "libro de cocina", "料理本", "recipes"],
        "novel": ["crime novel", "Kriminalroman", "roman policier", "novela negra", "推理小説", "thriller"],
    },
    "pets": {
        "leash": ["dog leash", "Hundeleine", "laisse pour chien", "correa", "リード", "dog lead"],
        "litter": ["cat litter", "Katzenstreu", "litière pour chat", "arena para gatos", "猫砂", "kitty litter"],
        "aquarium": ["aquarium", "Fischbecken", "bac à poissons", "acuario", "水槽", "fish tank"],
        "bowl": ["food bowl", "Futternapf", "gamelle", "comedero", "フードボウル", "feeding dish"],
    },
}
BRANDS = [
    "Nordlys",
    "Kestrel",
    "Ümlaut",
    "Café Noir",
    "Zephyr",
    "Håkan",
    "Señor Volt",
    "Blitz",
    "Soleil",
    "Mitsu",
    "O’Neary",
    "Grün&Co",
    "Arctica",
    "Piñata",
    "Tanuki",
    "Bélier",
    "Vega",
    "Øresund",
    "Quill",
    "Štika",
]
MARKS = ["™", "®", "", "", "", "", ""]
ATTRIBUTES = ["wireless", "foldable", "compact", "waterproof", "steel", "wooden", "kids", "pro", "silent", "eco"]
SIZES = ['15.6"', '27"', "½ inch", "1½ l", "2.4 GHz", "500 ml", "Ø 28 cm", "3 × 2 m", "10 µm", "20 V", "5 kg", "M/L"]
COLOURS = ["black", "schwarz", "bleu nuit", "rojo", "白", "white", "grün", "crème", "gris", "rosé"]
JOINERS = [" – ", " — ", ", ", " | ", " - ", ": "]
EXTRAS = [
    "“Limited”",
    "‘Classic’",
    "🎁",
    "⚡",
    "★★★",
    "(2-pack)",
    "№ 7",
    "für Zuhause",
    "pour la maison",
    "新品",
    "made in Japan 🇯🇵",
    "",
]


def products(rng: random.Random) -> list[dict[str, Any]]:
    """More than 5,000 products, each a thing with a name in one language, a brand, an attribute and marks."""
    made = []
    for category, things in THINGS.items():
        for thing, names in things.items():
            for _ in range(PRODUCTS_OF_A_THING):
                attribute = rng.choice(ATTRIBUTES)
                name = names[rng.choices(range(5), weights=[55, 15, 12, 10, 8])[0]]
                made.append(
                    {
                        "product_id": f"p{len(made):05d}",
                        "category": category,
                        "thing": thing,
                        "attribute": attribute,
                        "product_title": _title(rng, name, attribute),
                        "price": round(rng.lognormvariate(3.4, 0.9), 2),
                        "popularity": round(rng.betavariate(1.4, 4), 4),
                        "days_ago": int(rng.expovariate(1 / 220)),
                    }
                )
    return made


def _title(rng: random.Random, name: str, attribute: str) -> str:
    brand = rng.choice(BRANDS) + rng.choice(MARKS)
    core = f"{attribute} {name}" if rng.random() < 0.75 else f"{name} ({attribute})"
    parts = [f"{brand} {core}", rng.choice(SIZES), rng.choice(COLOURS)]
    if rng.random() < 0.25:  # an accessory's or a set's title names another thing
        parts.append(f"for {rng.choice(_all_names())}")
    title = rng.choice(JOINERS).join(parts)
    extra = rng.choice(EXTRAS)
    return f"{title} {extra}".strip()


def _all_names() -> list[str]:
    return [names[0] for things in THINGS.values() for names in things.values()]


def judgements(rng: random.Random, catalogue: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """600 queries with about 22 judged products each: right ones, near ones, look-alikes and strangers."""
    by_thing: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for product in catalogue:
        by_thing.setdefault((product["category"], product["thing"]), []).append(product)
    rows = []
    asked: set[str] = set()
    for number in range(QUERIES):
        category, thing, attribute, query = _new_search(rng, asked)
        shown = _shown(rng, by_thing, catalogue, category, thing, THINGS[category][thing][0])
        judged_at = DAY_ZERO + timedelta(minutes=7 * number)
        age = None if rng.random() < 0.1 else rng.randint(16, 88)
        asker = {"query_id": f"q{number:04d}", "query": query, "user_age": age, "judged_at": judged_at}
        for product in shown:
            shown_as = {name: value for name, value in product.items() if name not in {"thing", "attribute"}}
            grade = _grade(rng, product, category, thing, attribute)
            rows.append(asker | shown_as | {"relevance": grade})
    return rows


def _new_search(rng: random.Random, asked: set[str]) -> tuple[str, str, str | None, str]:
    """Category, thing, attribute and words of a search that nobody made yet."""
    while True:
        category, thing = rng.choice([(category, thing) for category, things in THINGS.items() for thing in things])
        attribute = rng.choice(ATTRIBUTES) if rng.random() < 0.6 else None
        query = _query(rng, THINGS[category][thing], attribute)
        if query not in asked:
            asked.add(query)
            return category, thing, attribute, query


def _query(rng: random.Random, names: list[str], attribute: str | None) -> str:
    name = names[rng.choices(range(6), weights=[50, 9, 7, 6, 6, 22])[0]].lower()
    if rng.random() < 0.12 and len(name) > 5 and name.isascii():
        cut = rng.randrange(1, len(name) - 1)
        name = name[:cut] + name[cut + 1 :]
    return f"{attribute} {name}" if attribute else name


def _shown(
    rng: random.Random,
    by_thing: dict[tuple[str, str], list[dict[str, Any]]],
    catalogue: list[dict[str, Any]],
    category: str,
    thing: str,
    name: str,
) -> list[dict[str, Any]]:
    near = [p for (c, t), found in by_thing.items() if c == category and t != thing for p in found]
    alike = [p for p in catalogue if p["thing"] != thing and f"for {name}" in p["product_title"]]
    chosen = rng.sample(by_thing[category, thing], 8) + rng.sample(near, 6)
    chosen += rng.sample(alike, min(3, len(alike))) + rng.sample(catalogue, JUDGED)
    unique = {product["product_id"]: product for product in chosen}
    return list(unique.values())[:JUDGED]


def _grade(rng: random.Random, product: dict[str, Any], category: str, thing: str, attribute: str | None) -> int:
    if product["category"] != category:
        return 0
    worth = 0.5
    if product["thing"] == thing:
        worth = 1.9 + 0.7 * (attribute is not None and product["attribute"] == attribute) + 0.3 * (attribute is None)
    worth += 1.1 * (product["popularity"] - 0.26) - 0.25 * min(product["days_ago"] / 365, 2) + rng.gauss(0, 0.3)
    return max(0, min(3, round(worth)))


def table(seed: int = SEED) -> pd.DataFrame:
    """The judged rows; the same on every machine."""
    rng = random.Random(seed)
    rows = pd.DataFrame(judgements(rng, products(rng)))
    return rows.astype({"user_age": "float64", "relevance": "int64", "days_ago": "float64"})[list(COLUMNS)]


def main(out: str) -> None:
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    rows = table()
    rows.to_parquet(out, index=False)
    print(f"{out}: {len(rows):,} judged products of {rows['query_id'].nunique()} queries")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data/train.parquet")
