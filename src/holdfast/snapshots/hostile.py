"""The hostile corpus: inputs that have broken feature code, by kind of column. Every snapshot holds them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

# What each text is for stands beside it; invisible characters are written as escapes.
TEXTS: tuple[tuple[str, str], ...] = (
    ("empty", ""),
    ("a blank", " "),
    ("blanks of many kinds", "\t a\u2003b\u2009c \n"),
    ("no-break space", "10\u00a0kg\u202fnet"),
    ("plain", "usb cable"),
    ("upper case", "USB CABLE"),
    ("em dash between words", "usb cable \u2014 white"),
    ("em dash inside a word", "phone\u2014case"),
    ("en dash", "AA\u2013AAA 2\u20134"),
    ("hyphen, minus, non-breaking hyphen", "wi-fi wi\u2212fi wi\u2011fi"),
    ("soft hyphen", "head\u00adphones"),
    ("horizontal bar and double hyphen", "a\u2015b a--b"),
    ("curly double quotes", "\u201climited\u201d edition"),
    ("curly single quotes", "\u2018classic\u2019 o\u2019neary"),
    ("low and angle quotes", "\u201eKabel\u201c \u00abcâble\u00bb \u2039x\u203a"),
    ("straight quotes and inches", "15.6\" screen 6' long"),
    ("primes", "27\u2033 5\u2032"),
    ("apostrophe, backtick, acute", "don't don`t don´t"),
    ("composed", "caf\u00e9 na\u00efve \u00fcber"),
    ("decomposed", "cafe\u0301 nai\u0308ve u\u0308ber"),
    ("stacked combining marks", "z\u0351\u036b\u0343a\u0321l\u0334g\u0321o\u0328"),
    ("Hangul composed and not", "\ud55c\uae00 \u1112\u1161\u11ab\u1100\u1173\u11af"),
    ("zero-width space", "usb\u200bcable"),
    ("zero-width joiner and non-joiner", "a\u200db a\u200cb"),
    ("byte order mark inside", "\ufeffusb cable\ufeff"),
    ("right to left", "\u05de\u05d7\u05e9\u05d1 \u05e0\u05d9\u05d9\u05d3"),
    ("Arabic with digits", "\u0647\u0627\u062a\u0641 \u0661\u0662\u0663"),
    ("override of direction", "abc \u202egnirts\u202c def"),
    ("emoji", "fast \u26a1 phone \U0001f4f1"),
    ("emoji with skin tone", "\U0001f44d\U0001f3fd \U0001f44d"),
    ("family joined by zero width", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
    ("flag and keycap", "\U0001f1ef\U0001f1f5 1\ufe0f\u20e3"),
    ("variation selectors", "\u2764\ufe0f \u2764\ufe0e"),
    ("Japanese", "\u30ce\u30fc\u30c8\u30d1\u30bd\u30b3\u30f3 \u65b0\u54c1"),
    ("half-width kana", "\uff89\uff70\uff84\uff8a\uff9f\uff7f\uff7a\uff9d"),
    ("full-width Latin", "\uff35\uff33\uff22\u3000\uff13\uff0e\uff10"),
    ("Chinese without blanks", "\u65e0\u7ebf\u84dd\u7259\u8033\u673a"),
    ("Chinese with an ideographic stop", "\u7b14\u8bb0\u672c\u3002\u7535\u8111\uff0c\u65b0"),
    ("Korean", "\ub178\ud2b8\ubd81 \ucef4\ud4e8\ud130"),
    ("Thai without blanks", "\u0e2b\u0e39\u0e1f\u0e31\u0e07\u0e44\u0e23\u0e49\u0e2a\u0e32\u0e22"),
    ("Devanagari", "\u0932\u0948\u092a\u091f\u0949\u092a"),
    ("ligatures", "\ufb01ne \ufb00ect \u0153uvre"),
    ("fractions", "\u00bd 1\u00bd \u215b 1/2"),
    ("micro sign and Greek mu", "10\u00b5m 10\u03bcm"),
    ("ohm, angstrom, kelvin signs", "\u2126 \u03a9 \u212b \u00c5 \u212a K"),
    ("superscripts and roman numerals", "m\u00b2 x\u2079 \u2163 \u2460"),
    ("trade marks", "Brand\u2122 \u00ae \u00a9 \u2116"),
    ("currency", "\u20ac10 \u00a310 $1,000.00 10 \u20bd"),
    ("Cyrillic that looks Latin", "\u0421\u0410\u0421\u041e\u0415 case"),
    ("sharp s and dotted i", "stra\u00dfe \u1e9e \u0130stanbul \u0131"),
    ("final sigma", "\u039f\u0394\u039f\u03a3 \u03bf\u03b4\u03cc\u03c2"),
    ("ellipsis and bullets", "more\u2026 \u2022 \u00b7 \u2027"),
    ("arrows and mathematics", "a \u2192 b \u2264 c \u00d7 d \u00f7 e \u2260"),
    ("numbers in many forms", "1000 1,000 1.000 1 000 1e3 0x1F 007"),
    ("dates in many forms", "2024-02-29 29/02/2024 02/29/24 29. Feb. 2024"),
    ("times with zones", "2024-03-31T02:30:00+01:00 12:00 a.m. 24:00"),
    ("a version and an address", "v1.2.3-rc1 user@example.com https://example.com/a?b=c&d"),
    ("markup and entities", "<b>bold</b> &amp; &quot;x&quot;"),
    ("code", "{} %s \\n ${x} '; DROP TABLE x; --"),
    ("the words null and nan", "null NaN None undefined true"),
    ("control characters", "a\x00b\x1bc\x7f"),
    ("line and paragraph separators", "a\u2028b\u2029c\r\nd\x85e"),
    ("private use and noncharacter", "\ue000 \uffff \U0010ffff"),
    ("replacement character", "caf\ufffd"),
    ("a character newer than many tables", "\U0001fae8 \U0001f6dc"),
    ("one word repeated", "cable " * 200),
    ("one long word", "x" * 2_000),
    ("punctuation only", "!?.,;:-_()[]/\\|&%#*+=~^"),
)

FLOATS: tuple[float, ...] = (
    *(0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, 120.0, 121.0, -5.0, 1e-9, 1e9, 1e16 + 2, 2.0**53 + 2, 1e-300, 5e-324),
    *(1.7976931348623157e308, -1.7976931348623157e308, math.inf, -math.inf, math.nan),
)
INTEGERS: tuple[int, ...] = (
    *(0, 1, -1, 2, 7, 59, 60, 119, 120, 121, 255, 256, 365, 999, 1000, 2359, 2400, 65_535, 65_536),
    *(2**31 - 1, -(2**31), 2**53, 2**53 + 1, 2**62),
)
TIMES: tuple[datetime, ...] = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(2000, 2, 29, 12, tzinfo=UTC),
    datetime(2023, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 3, 31, 2, 30, tzinfo=timezone(timedelta(hours=1))),  # an hour that Berlin's clocks skip
    datetime(2024, 11, 3, 1, 30, tzinfo=timezone(timedelta(hours=-4))),  # an hour that New York's clocks repeat
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime(2200, 1, 1, tzinfo=UTC),
)
