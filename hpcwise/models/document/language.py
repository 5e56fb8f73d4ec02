"""The language of a text, by a small model that lies in its package (py3langid)."""

from __future__ import annotations

import re

#: What the screenplay's questions and the voices are written for.
SPOKEN = "en"
#: Fewer characters than this say nothing certain.
_LEAST_CHARS = 120
_MOST_CHARS = 20_000
#: A guess that is less probable is none.
_CERTAIN = 0.9
_ENGLISH_TEXT = (
    "the of and to in is that for are with this by on we which from be as or was were have has it not"
)
_ENGLISH = frozenset(_ENGLISH_TEXT.split())
#: Share of those words from which on a text is English: papers have 0.25 to 0.4, other languages under 0.05.
_CLEARLY = 0.2
_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "gl": "Galician", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian",
    "lv": "Latvian", "nb": "Norwegian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish",
    "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_of(text: str) -> str:
    """ISO 639-1 code, "" where the text is too short or nothing is certain."""
    letters = re.sub(r"[\d\W_]+", " ", text[:_MOST_CHARS])
    if len(letters) < _LEAST_CHARS:
        return ""
    words = letters.lower().split()
    if sum(word in _ENGLISH for word in words) > _CLEARLY * len(words):
        return SPOKEN  # what every third word says need not be asked of the model, which takes 0.7 s to load
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    code, probability = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify(letters)
    # "Latin" is what the model makes of placeholder text, formulas and lists of names.
    return str(code) if float(probability) >= _CERTAIN and code != "la" else ""


def name_of(code: str) -> str:
    """The language's English name, its code where that is not known."""
    return _NAMES.get(code, f"the language {code!r}")
