"""Numbers as text for people, with enough digits to show a difference and no more, and always with their unit."""

import math

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EM DASH}"


def fixed(value: float, decimals: int) -> str:
    """-0.0312, 3 -> "−0.031"; what rounds to zero has no sign."""
    text = f"{value:,.{decimals}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("-")


def signed(value: float, decimals: int) -> str:
    """0.0312, 3 -> "+0.031"."""
    text = fixed(value, decimals)
    return text if text.startswith(MINUS) or not text.strip("0.") else f"+{text}"


def decimals(uncertainty: float | None) -> int:
    """The number of decimals of a loss in nats: 3, or 4 where the uncertainty would be rounded to zero otherwise."""
    return 4 if uncertainty and uncertainty < 0.002 else 3


def scaled(value: float, digits: int = 3) -> str:
    """8_020_000 -> "8.02 M", 512 -> "512": `digits` significant digits, with k, M, B (10^9) or T."""
    divisor, letter, places = unit(value, digits)
    return f"{fixed(value / divisor, places)} {letter}".rstrip()


def unit(value: float, digits: int = 3) -> tuple[float, str, int]:
    """Returns the divisor, its letter, and the decimals for `digits` significant digits: 8.02e6 -> 1e6, "M", 2."""
    size = float(f"{abs(value):.{digits - 1}e}")
    for power, letter in ((12, "T"), (9, "B"), (6, "M"), (3, "k")):
        if size >= 10**power:
            return 10.0**power, letter, max(digits - 1 - math.floor(math.log10(size / 10**power)), 0)
    return 1.0, "", 0


def tokens(value: float) -> str:
    return f"{scaled(value)} tokens"


def flops(value: float) -> str:
    """12_300_000 -> "12.3 M" (10^6 operations), 1.2e9 -> "1.20 G"."""
    return scaled(value).replace("B", "G")


def memory(value: float) -> str:
    """19_200_000 -> "19.2 MB" (10^6 bytes), 1.37e9 -> "1.37 GB"."""
    number, _, letter = scaled(value).partition(" ")
    return f"{number} {letter.replace('B', 'G')}B"


def seconds(value: float) -> str:
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def p_value(value: float) -> str:
    """0.0104 -> "= 0.010", 0.0002 -> "< 0.001"; near 0.05 never rounded onto the other side of it."""
    if value < 0.001:
        return "< 0.001"
    if 0.0495 <= value < 0.0505:
        return f"= {value:.4f}" if abs(value - 0.05) >= 5e-5 else f"{'<' if value < 0.05 else '='} 0.05"
    return f"= {value:.3f}" if value < 0.1 else f"= {value:.2f}"


def percent(fraction: float, places: int = 1) -> str:
    return f"{fixed(100 * fraction, places)} %"


def several(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(words: list[str]) -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
