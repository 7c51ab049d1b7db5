"""Text that is the same on every machine: sentences drawn from word lists by a seed, in English and Chinese form.

The words are made of syllables and drawn as words of a language are, a few often and most seldom, so that a tokenizer
of 8,192 entries cuts the seldom ones into pieces. Nothing here means anything.
"""

from __future__ import annotations

import itertools
import random

WORDS = 12_000
_STARTS = "b bl br c ch cl d dr f fl g gr h j k l m n p pl pr qu r s sh sl sp st str t th tr v w"
_VOWELS = "a e i o u ai ea ee ie oa ou"
_ENDS = ("", "", "", "b", "ck", "d", "g", "l", "m", "n", "nd", "ng", "nt", "p", "r", "rd", "s", "st", "t", "th")
_JOINTS = (
    "the of and to a in is that it for was on are as with his they at be this from have or by one had not but what "
    "all were when we there can an your which their said if do will each about how up out them then she many some so"
)
_CHARACTERS = (
    "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如然作方"
    "成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从知使全外现部间理位合门口本政性系产图电管数据库算机网"
    "络系统结构设计程序语言经济贸易市场货币银行企业会计审计税收成本利润收入支出法律宪法民法刑法责任权利义务合同诉讼法院证据逻辑推理"
    "命题判断概念前提结论内存进程线程调度文件协议路由传输地址信号频率带宽"
)


class Writer:
    """Writes sentences; the same seed writes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        made = random.Random(0)  # all writers share one language
        words = dict.fromkeys(_made_word(made) for _ in range(WORDS))
        self._words = list(words)
        self._joints = _JOINTS.split()
        self._weights = list(itertools.accumulate(1 / (rank + 20) for rank in range(len(words))))
        pairs = dict.fromkeys("".join(made.choices(_CHARACTERS, k=2)) for _ in range(WORDS // 4))
        self._pairs = list(pairs)
        self._pair_weights = list(itertools.accumulate(1 / (rank + 20) for rank in range(len(pairs))))

    def word(self) -> str:
        return self._random.choices(self._words, cum_weights=self._weights)[0]

    def number(self, low: int, high: int) -> int:
        """low and high included."""
        return self._random.randint(low, high)

    def pick(self, *options: str) -> str:
        return self._random.choice(options)

    def phrase(self, low: int, high: int) -> str:
        """Between `low` and `high` words: joints of the language, names, and other words."""
        return " ".join(self._any_word() for _ in range(self.number(low, high)))

    def sentence(self, low: int = 7, high: int = 23) -> str:
        phrase = self.phrase(low, high)
        return f"{phrase[0].upper()}{phrase[1:]}."

    def _any_word(self) -> str:
        kind = self._random.random()
        if kind < 0.4:
            return self._random.choice(self._joints)
        return self.word().capitalize() if kind < 0.5 else self.word()

    def chinese(self, low: int, high: int) -> str:
        """Between `low` and `high` words of two characters, a comma among many."""
        count = self.number(low, high)
        words = self._random.choices(self._pairs, cum_weights=self._pair_weights, k=count)
        return "，".join("".join(words[i : i + 6]) for i in range(0, count, 6))


def _made_word(made: random.Random) -> str:
    syllables = made.choices((1, 2, 3, 4), weights=(2, 5, 3, 1))[0]
    return "".join(
        made.choice(_STARTS.split()) + made.choice(_VOWELS.split()) + made.choice(_ENDS) for _ in range(syllables)
    )


def training_texts(seed: int, count: int = 4000) -> list[str]:
    """What the benchmark's tokenizer learns from: texts of both languages, numbers and sums among them."""
    writer = Writer(seed)
    texts = []
    for number in range(count):
        a, b = writer.number(2, 99), writer.number(2, 99)
        chinese = f"以下是{writer.chinese(8, 30)}的单项选择题：A. {writer.chinese(2, 6)}。答案: B\n"
        english = (
            f"Question: {' '.join(writer.sentence() for _ in range(4))}\nA. {writer.phrase(2, 9)}\n"
            f"B. {writer.phrase(2, 9)}\nAnswer: {a} + {b} = <<{a}+{b}={a + b}>>{a + b}\n\n"
        )
        texts.append(english + chinese if number % 4 == 0 else english)
    return texts
