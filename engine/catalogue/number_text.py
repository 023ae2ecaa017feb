"""Numbers as people and spreadsheets write them: with a currency, a decimal comma, or thousands separators.

A text is parsed only if it can mean one number: `12,50`, `1.234,56`, `1,234.56`, `€12` and `08`. `12,500` is twelve
and a half in one country and twelve thousand in another; it is rejected unless the caller names the decimal separator.
"""

from __future__ import annotations

import re
from typing import Literal

Decimal = Literal["comma", "point"]

# an integer of 19 or more digits is a code, not a number
PLAIN = r"^-?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
SHORT_ZERO = r"^-?0[0-9](?:\.[0-9]+)?$"  # 08 is eight; 007 and a postcode of more digits are codes
DECIMAL_COMMA = re.compile(r"-?(?:[0-9]+,(?:[0-9]{1,2}|[0-9]{4,})|0,[0-9]+|[0-9]{1,3}(?:[. '][0-9]{3})+,[0-9]+)")
DECIMAL_POINT = re.compile(r"-?(?:[0-9]{1,3}(?:[, '][0-9]{3})+\.[0-9]+|[0-9]+\.[0-9]+|[0-9]+)")
THOUSANDS = re.compile(r"-?(?:[0-9]{1,3}(?:\.[0-9]{3}){2,}|[0-9]{1,3}(?:,[0-9]{3}){2,}|[0-9]{1,3}(?:[ '][0-9]{3})+)")
EITHER = r"^-?[1-9][0-9]{0,2}[.,][0-9]{3}$"  # a decimal of three digits, or thousands
SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'", "\u2212": "-"})
SIGNS = "$€£¥₹₽₩₪₺₫₴₱฿₦₡₲₵₸₼₾"
CODES = (
    "AED|AUD|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HRK|HUF|IDR|ILS|INR|ISK|JPY|KRW|MXN|MYR|NOK|NZD|PEN|"
    "PHP|PLN|RON|RSD|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)
CURRENCY = rf"(?:{CODES}|[A-Z]{{0,2}}[{SIGNS}]|kr\.?|zł|Kč|Ft|lei|Fr\.|,-)"
# matches every number, and some texts that are not numbers
LOOSE = rf"^\s*[-\u2212]?\s*(?:{CURRENCY})?\s*[-\u2212]?[0-9][0-9.,'\u2019\s]*(?:{CURRENCY})?\s*$"
MONEY = re.compile(rf"(-?)\s*(?:{CURRENCY}\s*(-?[0-9.,' ]*[0-9])|(-?[0-9][0-9.,' ]*?)\s*{CURRENCY})")
_plain, _short_zero, _either = re.compile(PLAIN), re.compile(SHORT_ZERO), re.compile(EITHER)


def parse_number(text: str, decimal: Decimal | None = None) -> int | float | None:
    """The finite number that `text` means; None if it is not a number or is ambiguous.

    `decimal` resolves the ambiguity: with "comma", `12,500` is 12.5 and `1.234` is 1234; with "point" they are 12500
    and 1.234. Without it `12,500` is None, and `1.234` is 1.234 as programs write it.
    """
    text = text.translate(SPACES).strip()
    if (_plain.match(text) or _short_zero.match(text)) and not (decimal == "comma" and _either.match(text)):
        return _made(text)
    money = MONEY.fullmatch(text)
    if money:
        text = money[1] + (money[2] or money[3]).strip()
    return _grouped(text, decimal, bool(money))


def currency_of(text: str) -> str | None:
    """The currency sign or code of an amount of money; None without one."""
    money = MONEY.fullmatch(text.translate(SPACES).strip())
    return (money and re.sub(r"[-0-9.,' ]", "", money[0])) or None


def is_decimal_comma(text: str) -> bool:
    """Whether `text` is certainly a number with a decimal comma; then `1.234` in the same column is ambiguous."""
    text = text.translate(SPACES).strip()
    money = MONEY.fullmatch(text)
    return DECIMAL_COMMA.fullmatch((money[2] or money[3]).strip() if money else text) is not None


def _grouped(text: str, decimal: Decimal | None, is_money: bool) -> int | float | None:
    digits = text.replace(" ", "").replace("'", "")
    if _either.match(text):
        if decimal is None:
            return None
        comma, point = (".", "") if decimal == "comma" else ("", ".")
        return _made(text.replace(".", "p").replace(",", comma).replace("p", point))
    if THOUSANDS.fullmatch(text):
        return _made(digits.replace(".", "").replace(",", ""))
    if DECIMAL_COMMA.fullmatch(text):
        return _made(digits.replace(".", "").replace(",", "."))
    if DECIMAL_POINT.fullmatch(text) and (is_money or "," in text or " " in text or "'" in text):
        return _made(digits.replace(",", ""))
    return None


def _made(text: str) -> int | float | None:
    if text.lstrip("-").isdigit():
        return int(text) if len(text.lstrip("-")) <= 18 else None
    made = float(text)
    return made if made - made == 0 else None  # 1e999 is infinite
