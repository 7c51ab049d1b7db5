"""How replies declare a choice in English and Chinese, as patterns over a marked text (see letters.py)."""

from __future__ import annotations

import re

from llm_eval.extract.letters import ENCLOSED_MARK, MARK

# After each of these a label, or a choice's own text, is the reply's answer.
CUE = re.compile(
    rf"""\b(?:(?:answers?|ans|solution
            |(?:correct|right|best|final|my|appropriate)\s+(?:option|choice|statement|response|letter|one|selection))\b
          (?:(?!\bnot\b|n['’]t|\bcannot\b)[^.\n?!:;=]){{0,60}}?
          (?:\b(?:is|are|be|was)\b|[:=]|->|→|\s[-–—]\s)
        |(?:choose|select|pick|chose|selected|picked|choosing|selecting|go(?:ing)?\s+with|opt(?:ing)?\s+for)\b
        |not\s+{MARK},?\s+but\b(?:\s+rather\b)?)
      |^\W{{0,9}}(?:choice|option|selection)\s*[:=]
      |<answer>
      |\\boxed\b
      |答案(?:选项|应该|应当|应|就|显然|最终|可能|只能|依次|选择|即|则|是|为|选|的|=|:|】|[ \t]|(?<=[是为:】])\s)*
      |(?:选项|说法|一项)(?:应该|应)?(?:是|为|:)+
      |选(?:择|定)?(?!项)(?:的是|的|是|为|:)*
      |而是""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)

# A cue that stands behind one of these declares nothing.
NOT_MEANT = re.compile(
    r"""(?:\b(?:not|never|cannot)\s+|n['’]t\s+
          |\b(?:if|whether|suppose|assume|assuming|unless|should\s+(?:i|we))\b[^.,\n]{0,25}
          |(?:如果|假如|假设|是否)[^,。\n]{0,8}|(?:不|不能|不应|不应该|不可|不该|不会|不宜|没|没有|别|勿)
        )\Z""",
    re.IGNORECASE | re.VERBOSE,
)

# What may stand between a cue and its label.
FILLER = re.compile(
    r"""[\s:=,>{-]*
        (?:(?:the|to|be|is|it|it['’]s|option|choice|letter|statement|answer|definitely|clearly|probably|likely|most
             |therefore|thus|indeed|simply|either|both|just|only|correct|right|best)\b[\s:,{]*
          |(?:选项|选择|选|是|为|应该|应|就|即)[\s:]*){0,8}""",
    re.IGNORECASE | re.VERBOSE,
)

_WRONG = (
    r"(?:\s*(?:选项|项)?\s*(?:是|为)?(?:错|不(?:正确|对|选|符合|成立|合题意)|\?)"
    r"|\s*(?:(?:is|was)\s+)?(?:wrong|incorrect|false|cannot)\b|\s+(?:is|was|does|can)(?:\s+not|n['’]t)\b)"
)
_JOINT = r"\s*(?:[,、/&]|\band\b|\bor\b|和|与|或|及|以及)+\s*(?:(?:and|or)\s+)?(?:option\s+|选项)?"

# Nothing but a letter: "B", "(B).", "- b".
ONLY_LETTER = re.compile(r"""[\s(\[{"'“‘「【#>•-]*([A-Za-z])[\s)\]}"'”’」】.,:;!。]*""")

# "B", "B or C", "B、C"; not the second letter of "B, C is wrong", and nothing at all in "A is wrong" or "A?".
NAMED = re.compile(
    rf"""[\s"'“]*{MARK}
        (?:{_JOINT}{MARK}
           (?=\Z|\s*[.,;:!?)}}。、/\n]|\s*(?:and|or|are|both|together)\b|\s*(?:都|均|和|或)))*+
        (?!{_WRONG})""",
    re.VERBOSE,
)
# "B. " before the choice's own text, which may read like a verdict ("B. not possible").
LABELLED = re.compile(rf"""[\s"'“]*({MARK})[.):、\s]*""")
# Behind a cue only: a small letter that ends its line or is closed, "BCD", and a capital that is no label at all.
SMALL_LETTER = re.compile(r"""[\s"'(]*([a-z])(?=\s*(?:[.)\]}"'<]|$))""", re.MULTILINE)
RUN = re.compile(r"[A-Z]{2,}(?![A-Za-z0-9])")
ANY_LETTER = re.compile(r"""[\s"'({]*([A-Z])(?=[\s.)}"']*$)""", re.MULTILINE)

_PRAISE = r"(?:correct|right|best|most|appropriate|likely|accurate|suitable|final|only|logical|plausible|true)"
_IS = r"\s*(?:is|are|seems|appears|looks|(?:must|would|should)\s+be)\s+(?:(?:therefore|thus|clearly|indeed|also)\s+)?"

# Declarations whose label comes first, or that are nothing but a label at the end of a sentence.
CLOSING = re.compile(
    rf"""(?:\A|\n|[.!?。:]\s*)(?<!{MARK}\.)(?<!{MARK}\.\s)[\s\#>•-]*{MARK}[.。]?\s*\Z
      |(?:故|因此|所以|的是|应为|应是|应该是)[,:\s]{{0,2}}{MARK}(?=\s*(?:选项|项)?\s*(?:正确|对)?(?:的|答案)?\s*(?:[。.,;!\n]|\Z))
      |{MARK}{_IS}(?:the|my)\s+(?:{_PRAISE}\s+){{0,3}}(?:answer|option|choice|one)\b
      |{MARK}(?:选项|项)?\s*(?:是|为)\s*(?:本题)?的?(?:正确|最佳|标准)?的?(?:答案|选项|选择)""",
    re.VERBOSE,
)
# A line that begins with a label: "B. Paris", "(B) Paris", "B".
LEADING = re.compile(
    rf"^[ \t#>•-]*(?:(?:{ENCLOSED_MARK}|{MARK}(?=[.)、]))|{MARK}(?=[ \t]*$)|(?P<colon>{MARK}):)", re.MULTILINE
)
# "B is correct": weaker than a declaration, since statements within a question are called correct too.
PRAISED = re.compile(
    rf"""{MARK}(?:{_JOINT}{MARK})*
        (?:{_IS}(?:the\s+)?(?:most\s+)?(?:both\s+)?(?:correct|right|best|true|accurate|appropriate)\b(?!\s+(?:only|if|when))
        |\s*(?:选项|项)?(?:的?说法|的?表述)?\s*[都均]?(?:是|为)?(?:正确|对的|符合题意))""",
    re.VERBOSE,
)
DENIED = re.compile(rf"(?:\bnot\s+|不是|不选|排除){MARK}|{MARK}{_WRONG}")
