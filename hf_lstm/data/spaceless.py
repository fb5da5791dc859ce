"""Scripts that put no space between words."""

import re

# Han with its extensions, kana, Thai, Lao, Burmese and Khmer.
SPACELESS_SCRIPTS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
