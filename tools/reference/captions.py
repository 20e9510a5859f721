"""Cleans captions with ftfy as Wan2.1 does and prints the cases of crates/soften/src/text/clean.rs.

pip install ftfy==6.3.1
"""

import html
import re

import ftfy

CAPTIONS = [
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，"
    "画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走",
    "  a\n\tb\u3000c ",
    "&amp;amp;amp; &lt;b&gt; &#39;",
    "\u201cit\u2019s\u201d\u0007 &ldquo;it&rsquo;s&rdquo;",
    "<b> &amp;lsquo;tag&rsquo;",
    "first &lsquo;\nthen < and &lsquo;",
    "cafe\u0301 &eacute; &EACUTE; &nTILDE;",
    "&#145;old&#146; &#x80; \x93text\x94",
    "fish &amp chips &copy 2024, this&not that &notit; &bogus;",
    "ＬＯＵＤ！？ Ｕﾀｰﾝ ﬁne ﬅ ŉ",
    "one\u2028two\r\nthree\ufeff\u00a0four",
    "&semi; &#59; &amp;semi; &copy&semi;",
    "a cat&#xFFFFFF;, 5 < 6 & 7 > 3; R&D",
    "\ufffctag\u206a &NotEqualTilde; &ThinSpace;x",
    "❄️ 雪 ½ ™ 10³ \u2026 \u2014",
    "",
]


def clean(text):
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return re.sub(r"\s+", " ", text).strip()


def quoted(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    visible = lambda c: c.isprintable() and not 0x300 <= ord(c) < 0x370 and c not in "\u201c\u201d\u2018\u2019"
    return '"' + "".join(c if visible(c) else f"\\u{{{ord(c):X}}}" for c in escaped) + '"'


for caption in CAPTIONS:
    print(f"({quoted(caption)}, {quoted(clean(caption))}),")
